"""U-Net, SegNet, SegNet-basic and regressors: sizes as published,
maps and points where they belong."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from augmint.core import streams
from augmint.core.errors import UsageError
from augmint.core.registry import ARCHITECTURES
from augmint.networks.regressors import IntegralNetwork, IntegralRegressor, VarRegressor
from augmint.networks.segnet import SegNet, SegNetBasic
from augmint.networks.unet import UNet, UNetwork


def count(network: nn.Module, kind: type[nn.Module] | tuple[type[nn.Module], ...] = ()) -> int:
    """Weights of all layers, or of one kind."""
    modules = [m for m in network.modules() if isinstance(m, kind)] if kind else [network]
    return sum(p.numel() for m in modules for p in m.parameters())


def test_unet_has_the_papers_size() -> None:
    network = UNet(channels=64, depth=4, normalisation=False).build((1, 32, 32), 2)
    # two 3x3 convolutions a level, 1024 wide at the bottom, 2x2 up, 1x1 out, all with biases
    widths, total, before = [64, 128, 256, 512, 1024], 0, 1
    for w in widths:
        total += (9 * before + 1) * w + (9 * w + 1) * w
        before = w
    for w in widths[:-1]:
        total += (4 * 2 * w + 1) * w + (9 * 2 * w + 1) * w + (9 * w + 1) * w
    assert count(network) == total + (64 + 1) * 2 == 31_030_658


def test_segnet_is_vgg16_and_its_mirror() -> None:
    network = SegNet().build((3, 64, 64), 12)
    encoder = [m for m in network.encoder.modules() if isinstance(m, nn.Conv2d)]  # type: ignore[union-attr]
    assert [m.out_channels for m in encoder] == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    assert count(network.encoder, nn.Conv2d) == 14_710_464  # VGG-16's, without biases  # type: ignore[arg-type]
    decoder = [m for m in network.decoder.modules() if isinstance(m, nn.Conv2d)]  # type: ignore[union-attr]
    mirrored = [(m.out_channels, m.in_channels) for m in encoder[1:]][::-1]
    assert [(m.in_channels, m.out_channels) for m in decoder] == mirrored
    assert network.head.out_channels == 12  # type: ignore[union-attr]


def test_segnet_basic_has_the_published_size() -> None:
    network = SegNetBasic().build((3, 64, 64), 11)
    assert round(count(network) / 1e6, 2) == 1.42
    assert count(network, nn.Conv2d) == 49 * 64 * 3 + 7 * 49 * 64 * 64 + 65 * 11


def test_maxima_return_to_their_places() -> None:
    """With blocks that change nothing, what comes back is each 2x2 maximum in place, else 0."""
    network = SegNetBasic(channels=1).build((1, 16, 16), 1)
    identity = nn.ModuleList([nn.Identity()])
    network.encoder, network.decoder, network.head = identity, identity, nn.Identity()
    for size in (16, 17):  # an odd side loses a row on the way down, and gets it back
        images = torch.rand(2, 1, size, size)
        got = network(images)
        assert got.shape == images.shape
        for i in range(0, size - 1, 2):
            for j in range(0, size - 1, 2):
                block = images[:, 0, i : i + 2, j : j + 2].flatten(1)
                kept = torch.where(block == block.amax(1, keepdim=True), block, 0.0)
                torch.testing.assert_close(got[:, 0, i : i + 2, j : j + 2].flatten(1), kept)


def test_a_unets_skip_is_local_and_its_bottom_is_not() -> None:
    """A changed pixel reaches far through the bottom; a level without it stays where it is."""
    network = UNet(channels=4, depth=3, normalisation=False).build((1, 32, 32), 2).eval()
    images = torch.rand(1, 1, 32, 32)
    changed = images.clone()
    changed[..., 16, 16] += 1.0

    def reach() -> int:
        with torch.no_grad():
            moved = (network(changed) - network(images)).abs().amax((0, 1)) > 1e-7
        return int(moved.any(0).sum())

    wide = reach()
    for up in network.up:  # type: ignore[union-attr]
        nn.init.zeros_(up.weight)
    assert reach() == 9  # four 3x3 convolutions at full size
    assert wide > 20


@pytest.mark.parametrize("size", [(8, 8), (9, 15), (28, 28), (37, 21)])
def test_unets_take_odd_sizes(size: tuple[int, int]) -> None:
    network = UNet(channels=2).build((2, *size), 3)
    assert network(torch.zeros(2, 2, *size)).shape == (2, 3, *size)


def test_var_regressor_is_table_1() -> None:
    network = VarRegressor().build((3, 48, 48), 98)
    dense = (64 * 12 * 12 + 1) * 1024 + 1025 * 98
    assert count(network) == (27 + 1) * 64 + (9 * 64 + 1) * 64 + dense == 9_577_378
    wild = 100 * torch.randn(3, 3, 48, 48)
    assert float(network(wild).detach().abs().max()) <= 1.0
    free = VarRegressor(bounded=False).build((3, 48, 48), 98)
    assert float(free(wild).detach().abs().max()) > 1.0
    released = VarRegressor(released=True).build((3, 48, 48), 98)
    # 48 - 2 = 46, 23 - 2 = 21, 10 - 2 = 8
    dense = (64 * 8 * 8 + 1) * 1024 + 1025 * 98
    assert count(released) == (27 + 1) * 64 + 2 * (9 * 64 + 1) * 64 + dense
    assert [m.p for m in released.modules() if isinstance(m, nn.Dropout)] == [0.5, 0.5]


class Given(UNetwork):
    """Says the maps that it is shown."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images


@pytest.mark.parametrize("cell", [1, 2, 4])
def test_integral_regressors_read_the_mean_place_of_each_map(cell: int) -> None:
    height, width = 9, 14
    reader = IntegralNetwork(nn.Identity(), Given(), (3, cell * height, cell * width), cell)
    x, y = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    wanted = torch.tensor([[[4.2, 3.7], [9.6, 5.1]], [[7.0, 4.5], [6.3, 4.9]]])  # x, y in pixels
    # the exponential of a parabola is a Gaussian, whose mean is its centre, up to the frame
    far = (x - wanted[..., 0, None, None]) ** 2 + (y[:, None] - wanted[..., 1, None, None]) ** 2
    read = reader(-0.5 * far).unflatten(1, (-1, 2))
    pixels = (read + 1.0) / 2.0 * torch.tensor([width, height])
    torch.testing.assert_close(pixels, wanted, atol=0.01, rtol=0)
    # one pixel that stands out is the point, at its centre; a map that says nothing, the middle
    sharp = torch.zeros(1, 2, height, width)
    sharp[0, 0, 2, 11] = 1000.0
    centre = [2 * 11.5 / width - 1, 2 * 2.5 / height - 1, 0.0, 0.0]
    torch.testing.assert_close(reader(sharp), torch.tensor([centre]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("largest", [32, 16])
def test_integral_regressors_move_with_what_they_see(largest: int) -> None:
    with streams.scope(0, "build"):
        network = IntegralRegressor(channels=4, depth=1, largest=largest).build((3, 32, 32), 6)
    assert len(network.across) == largest
    image = torch.zeros(1, 3, 32, 32)  # of which all maps are 0 where nothing is, up to the edges
    image[:, :, 12:17, 10:14] = 1.0
    maps = network.mapper(network.stem(image)).detach()
    assert float(maps.max()) > 0
    network.mapper.head.weight.data *= 1000.0 / float(maps.max())
    before, after = (network(i).view(3, 2) for i in (image, image.roll((4, 8), (2, 3))))
    found = maps.amax((0, 2, 3)) > 0.1 * maps.max()
    moved = torch.tensor([2 * 8 / 32, 2 * 4 / 32]).expand(3, 2)
    torch.testing.assert_close((after - before)[found], moved[found], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("shape", "cell"), [((3, 64, 64), 1), ((1, 65, 40), 2), ((3, 256, 192), 4), ((1, 500, 24), 2)]
)
def test_large_images_are_halved_first(shape: tuple[int, int, int], cell: int) -> None:
    network = IntegralRegressor(channels=2).build(shape, 4)
    maps = network.mapper(network.stem(torch.zeros(1, *shape)))
    assert maps.shape == (1, 2, shape[1] // cell, shape[2] // cell)
    assert network(torch.zeros(1, *shape)).shape == (1, 4)
    # cells lie where the pixels are that they pool, also where a side is odd
    assert float(network.down[0]) == pytest.approx(cell / shape[1] - 1)


def test_an_integral_regressor_gives_x_and_y() -> None:
    with pytest.raises(UsageError, match="x and y of each point; got 5 numbers"):
        IntegralRegressor().build((3, 32, 32), 5)


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "unet", "depth": 7},
        {"name": "integral-regressor", "depth": 0},
        {"name": "integral-regressor", "largest": 4},
        {"name": "unet", "channels": 0},
        {"name": "segnet", "channels": 0},
        {"name": "var-regressor", "hidden": 0},
    ],
    ids=str,
)
def test_wrong_fields(spec: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        ARCHITECTURES.create(spec)

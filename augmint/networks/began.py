"""The BEGAN networks: a decoder that generates, and an auto-encoder that is the critic.

Both decode alike: a dense layer without non-linearity to a small grid, then pairs of 3x3
convolutions with ELU between doublings by repetition (Berthelot et al. 2017, 1703.10717, figure 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn

from augmint.core.errors import UsageError
from augmint.core.registry import ARCHITECTURES
from augmint.core.types import CriticOutput, OutputKind
from augmint.networks.base import CriticArchitecture, GeneratorArchitecture
from augmint.networks.blocks import UpsampleConv, channels_last, flattened, initialise_glorot
from augmint.networks.dcgan import check_width, doublings
from augmint.networks.maps import chain, entries
from augmint.networks.sizes import check_size, refuse_condition

if TYPE_CHECKING:
    from augmint.core.types import FloatImages, Latents, Shape

SMALLEST_GRID, LARGEST_GRID = 6, 15


def grid_of(shape: Shape) -> tuple[int, int, int]:
    """Return the grid's height and width and how often it is doubled to reach the image.

    The image is halved while its smaller side stays at least 6: 7x7 twice for 28 px, 6x6 three
    times for 48, 8x8 three times for 64, 6x6 four times for 96, 8x8 four times for 128.

    Example:
        >>> grid_of((1, 28, 28)), grid_of((3, 48, 48)), grid_of((1, 96, 128))
        ((7, 7, 2), (6, 6, 3), (6, 8, 4))
    """
    _, height, width = shape
    k = doublings(height, width, SMALLEST_GRID)
    return height // 2**k, width // 2**k, k


def check_grid(name: str, channels: int, shape: Shape) -> None:
    """Raise `UsageError` for a width below 1 or a size that leaves no grid of 6 to 15."""

    def fits(height: int, width: int) -> bool:
        k = doublings(height, width, SMALLEST_GRID)
        return min(height, width) // 2**k <= LARGEST_GRID

    check_width(channels)
    rule = (
        f"{name} takes sizes whose smaller side, halved as often as it goes, is "
        f"{SMALLEST_GRID} to {LARGEST_GRID}, from 8 to 256 px"
    )
    check_size(shape, rule, fits)


class Decoder(nn.Module):
    """A code, `(N, width)`, to an image `(N, C, H, W)` in the range that training gives it.

    dense to the grid (linear), [3x3 ELU, 3x3 ELU], then for each doubling [repeat x2 and 3x3 ELU,
    3x3 ELU], and a last 3x3 without non-linearity. Repetition and the convolution after it run as
    one transposed convolution with the same result (`UpsampleConv`).

    Args:
        width: of the code.
        channels: of every hidden map.
        shape: of the image.
        planes: of the condition maps that enter every convolution (`networks.maps`).

    Example:
        >>> Decoder(5, 4, (3, 16, 24))(torch.zeros(2, 5)).shape
        torch.Size([2, 3, 16, 24])
    """

    def __init__(self, width: int, channels: int, shape: Shape, planes: int = 0) -> None:
        super().__init__()
        outputs, _, _ = shape
        rows, columns, k = grid_of(shape)
        self.grid = (rows, columns)
        self.project = nn.Linear(width, rows * columns * channels)
        layers: list[nn.Module] = []
        for i in range(k + 1):
            first = nn.Conv2d(channels, channels, 3, padding=1)
            layers += [UpsampleConv(channels, channels) if i else first, nn.ELU(inplace=True)]
            layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.ELU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, outputs, 3, padding=1))
        self.entries = entries(self.layers, planes)

    def forward(self, code: Tensor, condition: Tensor | None = None) -> FloatImages:
        # pixel-major order of the dense layer's outputs: the grid is born in channels_last
        flat = self.project(code).view(len(code), *self.grid, -1)
        return chain(self.layers, self.entries, flat.permute(0, 3, 1, 2), condition)


class Encoder(nn.Module):
    """An image to a code, `(N, width)`.

    3x3 ELU three times, then for each halving l = 2, 3, … [1x1 to l · channels (linear), mean
    pooling by 2, 3x3 ELU, 3x3 ELU], and a dense layer without non-linearity. (The papers' texts
    name strides or pooling; the pooled form is that of the authors' program.)

    Example:
        >>> encoder = Encoder(5, 4, (3, 16, 24))
        >>> encoder.code.in_features  # 2 · 4 maps of 8x12
        768
        >>> encoder(torch.zeros(2, 3, 16, 24)).shape
        torch.Size([2, 5])
    """

    def __init__(self, width: int, channels: int, shape: Shape) -> None:
        super().__init__()
        inputs, _, _ = shape
        rows, columns, k = grid_of(shape)
        layers: list[nn.Module] = []
        for i in range(3):
            layers += [nn.Conv2d(channels if i else inputs, channels, 3, padding=1)]
            layers += [nn.ELU(inplace=True)]
        wide = channels
        for stage in range(2, k + 2):
            layers += [nn.Conv2d(wide, stage * channels, 1), nn.AvgPool2d(2)]
            wide = stage * channels
            for _ in range(2):
                layers += [nn.Conv2d(wide, wide, 3, padding=1), nn.ELU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.code = nn.Linear(wide * rows * columns, width)

    def forward(self, images: FloatImages) -> Tensor:
        code: Tensor = self.code(flattened(self.layers(images)))
        return code


@ARCHITECTURES.register("began-generator")
@dataclass(frozen=True)
class BeganGenerator(GeneratorArchitecture):
    """The decoder of BEGAN as a generator, `(N, latent_width)` to images.

    Its last convolution has no non-linearity: images leave [-1, 1] a little until they are written
    (Berthelot et al. 2017). Glorot's uniform weights, biases 0. `channels=64` and 48 px give
    446 915 parameters, 128 px 637 251 (3 channels, 64 latents). Condition maps ("maps") enter every
    convolution (`networks.maps`).

    Args:
        channels: of every hidden map.

    Example:
        >>> network = BeganGenerator(channels=64).build(64, (3, 48, 48))
        >>> sum(p.numel() for p in network.parameters())
        446915
    """

    channels: int = 64
    channels_last: ClassVar[bool] = True
    condition_modes: ClassVar[frozenset[str]] = frozenset({"maps"})
    bounded: ClassVar[bool] = False

    def check_shape(self, shape: Shape) -> None:
        check_grid("began-generator", self.channels, shape)

    def build(self, latent_width: int, shape: Shape, condition_width: int = 0) -> nn.Module:
        self.check_shape(shape)
        return _built(_Generator(Decoder(latent_width, self.channels, shape, condition_width)))


class _Generator(nn.Module):
    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, latent: Latents, condition: Tensor | None = None) -> FloatImages:
        images: Tensor = self.decoder(latent, condition)
        return images


@ARCHITECTURES.register("began-critic")
@dataclass(frozen=True)
class BeganCritic(CriticArchitecture):
    """An auto-encoder whose reconstruction error is the energy of an image.

        L(v) = mean over pixels and channels of |v - D(v)|^p,   p = 1 ("l1") or 2 ("squared")

    one value a sample. The papers' text squares; their program and Berthelot et al.'s experiments
    take the absolute value. Only the image's own channels are rebuilt; channels that conditioning
    appends to it are seen by the encoder, and the code of the decoder carries what it needs of
    them. Features and embedding are the code, `(N, code)`.

    Args:
        channels: N, the width of the decoder and of the encoder's first stage.
        code: width of the code, 64 in the papers.
        energy: which error.

    Example:
        >>> for energy in ("l1", "squared"):
        ...     critic = BeganCritic(channels=4, energy=energy).build((1, 8, 8))
        ...     for weight in critic.parameters():  # without weights, D(v) is 0
        ...         _ = nn.init.zeros_(weight)
        ...     print(critic(torch.full((2, 1, 8, 8), 0.5)).value.tolist())
        [0.5, 0.5]
        [0.25, 0.25]
    """

    channels: int = 64
    code: int = 64
    energy: Literal["l1", "squared"] = "l1"
    channels_last: ClassVar[bool] = True
    output: ClassVar[OutputKind] = "energy"

    def check_shape(self, shape: Shape) -> None:
        check_grid("began-critic", self.channels, shape)
        if self.code < 1:
            raise UsageError("a code has at least one value", self.code, "set code: 64")

    def feature_width(self, shape: Shape) -> int:
        return self.code

    def build(self, shape: Shape, condition_width: int = 0, appended: int = 0) -> nn.Module:
        refuse_condition("began-critic", condition_width)
        self.check_shape(shape)
        own = (shape[0] - appended, *shape[1:])
        encoder = Encoder(self.code, self.channels, shape)
        return _built(_AutoEncoder(encoder, Decoder(self.code, self.channels, own), self.energy))


class _AutoEncoder(nn.Module):
    def __init__(self, encoder: Encoder, decoder: Decoder, energy: str) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.squared = energy == "squared"

    def forward(self, images: FloatImages, condition: Tensor | None = None) -> CriticOutput:
        code = self.encoder(images)
        rebuilt = self.decoder(code)
        error = images[:, : rebuilt.shape[1]] - rebuilt
        error = error.square() if self.squared else error.abs()
        return CriticOutput(error.flatten(1).mean(1), "energy", code, code)


def _built(network: nn.Module) -> nn.Module:
    initialise_glorot(network)
    for module in network.modules():
        if isinstance(module, UpsampleConv):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
    return channels_last(network)

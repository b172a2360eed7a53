"""Networks of many styles are read and rebuilt to identical outputs;
what cannot be read is named."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augmint.core.errors import UsageError
from augmint.merging.build import build, load
from augmint.merging.inheritance import inherit
from augmint.merging.merge import merge_networks
from augmint.merging.network import Network
from augmint.merging.read import read
from augmint.networks.blocks import InstanceNorm, UpsampleConv
from augmint.networks.classifiers import FerSimple, FerSurreal, SmallCnn
from augmint.networks.vac import VacMnistGenerator

SHAPE = (3, 16, 16)


def unit(a: int, b: int, k: int = 3, s: int = 1, groups: int = 1) -> nn.Sequential:
    """Return convolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(a, b, k, s, k // 2, groups=groups, bias=False), nn.BatchNorm2d(b), nn.ReLU()
    )


class Residual(nn.Module):
    """A basic residual block; a projection where the width or size changes."""

    def __init__(self, a: int, b: int, s: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(a, b, 3, s, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU(),
            nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b),
        )  # fmt: skip
        plain = a == b and s == 1
        self.short = (
            nn.Identity() if plain else nn.Sequential(nn.Conv2d(a, b, 1, s), nn.BatchNorm2d(b))
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.short(x))


class PreActivation(nn.Module):
    """Normalisation and activation before each convolution."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.n1, self.c1 = nn.BatchNorm2d(c), nn.Conv2d(c, c, 3, padding=1)
        self.n2, self.c2 = nn.BatchNorm2d(c), nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.c1(F.relu(self.n1(x)))
        return x.add(self.c2(torch.relu(self.n2(y))))


class Inception(nn.Module):
    """Four branches side by side."""

    def __init__(self, a: int) -> None:
        super().__init__()
        self.one = unit(a, 4, 1)
        self.three = nn.Sequential(unit(a, 4, 1), unit(4, 6, 3))
        self.five = nn.Sequential(unit(a, 4, 1), unit(4, 6, 5))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), unit(a, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], dim=1)


class Dense(nn.Module):
    """Densely connected layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(8 + 4 * i), nn.ReLU(), nn.Conv2d(8 + 4 * i, 4, 3, padding=1)
            )
            for i in range(3)
        )
        self.head = nn.Linear(20, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = torch.cat((x, layer(x)), 1)
        return self.head(x.mean((2, 3)))


class UShape(nn.Module):
    """Down twice, up twice, concatenated skips."""

    def __init__(self, up: str) -> None:
        super().__init__()
        self.a, self.b, self.c = unit(3, 6), unit(6, 12), unit(12, 24)
        if up == "transposed":
            self.up1: nn.Module = nn.ConvTranspose2d(24, 12, 2, 2)
            self.up2: nn.Module = nn.ConvTranspose2d(12, 6, 4, 2, 1)
        else:
            self.up1 = nn.Sequential(nn.Upsample(scale_factor=2, mode=up), nn.Conv2d(24, 12, 1))
            self.up2 = nn.Sequential(nn.Upsample(scale_factor=2, mode=up), nn.Conv2d(12, 6, 1))
        self.d, self.e = unit(24, 12), unit(12, 6)
        self.out = nn.Conv2d(6, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        b = self.b(F.max_pool2d(a, 2))
        c = self.c(F.max_pool2d(b, 2))
        d = self.d(torch.cat([self.up1(c), b], 1))
        e = self.e(torch.cat([self.up2(d), a], 1))
        return torch.sigmoid(self.out(e))


class SegNet(nn.Module):
    """Un-pooling by the indices of the pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = unit(3, 8, 7), unit(8, 8, 7)
        self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
        self.up2, self.up1 = unit(8, 8, 7), unit(8, 8, 7)
        self.out = nn.Conv2d(8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, first = self.pool(self.down1(x))
        x, second = self.pool(self.down2(x))
        x = self.up2(self.unpool(x, second))
        return self.out(self.up1(self.unpool(x, first)))


class Mobile(nn.Module):
    """Depthwise separable convolutions with an inverted residual."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = unit(3, 8, 3, 2)
        self.block = nn.Sequential(
            nn.Conv2d(8, 24, 1), nn.BatchNorm2d(24), nn.ReLU6(),
            nn.Conv2d(24, 24, 3, padding=1, groups=24), nn.BatchNorm2d(24), nn.ReLU6(),
            nn.Conv2d(24, 8, 1), nn.BatchNorm2d(8),
        )  # fmt: skip
        self.wide = nn.Sequential(unit(8, 16, 3, 1, 8), unit(16, 16, 3, 1, 4))
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.wide(x + self.block(x))
        x = F.adaptive_avg_pool2d(x, 1)
        return self.head(x.view(x.size(0), -1))


class Functional(nn.Module):
    """Activations and poolings as functions, arithmetic with numbers, odd padding."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 6, 5, 2, 1, dilation=2)
        self.b = nn.Conv2d(6, 6, (3, 1), padding=(1, 0), padding_mode="reflect")
        self.c = nn.Conv2d(6, 8, 4, padding="same")
        self.head = nn.Linear(8 * 6 * 6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.a(2 * x - 1), 0.2)
        x = F.elu(self.b(x)) / 3
        x = F.avg_pool2d(F.pad(x, (1, 0, 1, 0)), 2, 1, padding=1)
        x = F.gelu(self.c(x)) + 0.5
        x = F.dropout(x, 0.3, training=False)
        x = torch.flatten(F.max_pool2d(x, 2, 1), 1)
        return F.log_softmax(self.head(x), dim=1)


def sequential(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers)


def vgg() -> nn.Module:
    return sequential(
        *unit(3, 8), *unit(8, 8), nn.MaxPool2d(2), *unit(8, 16), *unit(16, 16), nn.MaxPool2d(2),
        nn.Dropout(0.5), nn.Flatten(), nn.Linear(256, 32), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(32, 5),
    )  # fmt: skip


def alex() -> nn.Module:
    return sequential(
        nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.LocalResponseNorm(5),
        nn.MaxPool2d(3, 2, ceil_mode=True), nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.PReLU(8),
        nn.AdaptiveAvgPool2d((2, 3)), nn.Flatten(), nn.Linear(48, 5), nn.Softmax(1),
    )  # fmt: skip


def normalised() -> nn.Module:
    return sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(4, 8), nn.SiLU(), nn.ReflectionPad2d(1),
        nn.Conv2d(8, 8, 3), nn.InstanceNorm2d(8, affine=True), nn.Mish(), nn.AvgPool2d(2),
        nn.LayerNorm((8, 8, 8)), nn.Hardswish(), nn.Dropout2d(0.2), nn.Conv2d(8, 5, 1),
        nn.Softplus(), nn.AdaptiveMaxPool2d(1), nn.Flatten(),
    )  # fmt: skip


def resnet() -> nn.Module:
    return sequential(
        unit(3, 8), Residual(8, 8), Residual(8, 16, 2), Residual(16, 16), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(16, 5),
    )  # fmt: skip


def auto_encoder() -> nn.Module:
    return sequential(
        unit(3, 8, 3, 2), nn.Flatten(), nn.Linear(512, 10), nn.Tanh(), nn.Linear(10, 128),
        nn.Unflatten(1, (2, 8, 8)), nn.UpsamplingNearest2d(scale_factor=2),
        nn.ConvTranspose2d(2, 4, 3, 1, 1, bias=False), nn.SELU(), nn.Conv2d(4, 3, 1), nn.Sigmoid(),
    )  # fmt: skip


def resize_generator() -> nn.Module:
    return sequential(
        nn.Linear(16, 128), nn.Unflatten(1, (8, 4, 4)), UpsampleConv(8, 8), InstanceNorm(8),
        nn.ReLU(), UpsampleConv(8, 4, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 3, 3, padding=1), nn.Tanh(),
    )  # fmt: skip


@dataclass(frozen=True)
class Style:
    """A network to read."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...] = SHAPE
    exact: bool = True


STYLES: dict[str, Style] = {
    "small-cnn": Style(lambda: SmallCnn(8).build(SHAPE, 5)),
    "small-cnn-group": Style(lambda: SmallCnn(8, "group").build((1, 28, 28), 5), (1, 28, 28)),
    "fer-simple": Style(lambda: FerSimple().build((1, 24, 24), 7), (1, 24, 24)),
    "fer-surreal": Style(lambda: FerSurreal().build(SHAPE, 7)),
    # a folded upsampling is read as the two operations that it stands for: equal up to rounding
    "resize-generator": Style(resize_generator, (16,), exact=False),
    "vac-mnist-generator": Style(lambda: VacMnistGenerator().build(10, (1, 8, 8)), (10,)),
    "vgg": Style(vgg),
    "alex": Style(alex),
    "normalised": Style(normalised),
    "resnet": Style(resnet),
    "pre-activation": Style(
        lambda: sequential(
            nn.Conv2d(3, 8, 3, padding=1), PreActivation(8), PreActivation(8), nn.Conv2d(8, 2, 1)
        )
    ),
    "inception": Style(
        lambda: sequential(
            Inception(3), nn.MaxPool2d(2), Inception(20), nn.Flatten(), nn.Linear(1280, 5)
        )
    ),
    "dense-net": Style(Dense),
    "u-shape-transposed": Style(lambda: UShape("transposed")),
    "u-shape-nearest": Style(lambda: UShape("nearest")),
    "u-shape-bilinear": Style(lambda: UShape("bilinear")),
    "seg-net": Style(SegNet),
    "mobile": Style(Mobile),
    "functional": Style(Functional),
    "auto-encoder": Style(auto_encoder),
    "perceptron": Style(
        lambda: sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, 3)), (12,)
    ),
}  # fmt: skip


def settled(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> nn.Module:
    """Return a network whose running statistics are not the first ones."""
    torch.manual_seed(3)
    network = make()
    network.train()
    with torch.no_grad():
        network(torch.randn(8, *shape))
    return network.eval()


def test_there_are_twenty() -> None:
    assert len(STYLES) >= 20


@pytest.mark.parametrize("name", STYLES)
def test_rebuilt_to_identical_outputs(name: str) -> None:
    style = STYLES[name]
    network = settled(style.make, style.shape)
    found = read(network, style.shape, name)
    rebuilt = found.rebuild().eval()
    x = torch.randn(4, *style.shape)
    with torch.no_grad():
        expected, given = network(x), rebuilt(x)
    if style.exact:
        assert torch.equal(expected, given)
    else:
        assert torch.allclose(expected, given, atol=2e-6)
    own = sum(p.numel() for p in network.parameters())
    assert sum(p.numel() for p in rebuilt.parameters()) == own


@pytest.mark.parametrize("name", STYLES)
def test_rebuilt_to_identical_training(name: str) -> None:
    """In training mode too: batch statistics, running statistics and gradients."""
    style = STYLES[name]
    network = settled(style.make, style.shape)
    rebuilt = read(network, style.shape, name).rebuild()
    network.train()
    rebuilt.train()
    x, grads = torch.randn(4, *style.shape), []
    for module in (network, rebuilt):
        y = x.clone().requires_grad_()
        torch.manual_seed(5)  # dropout draws the same for both: same order of operations
        module(y).square().sum().backward()
        grads.append(y.grad)
    assert torch.allclose(grads[0], grads[1], rtol=1e-4, atol=1e-5 * float(grads[0].abs().max()))
    buffers = [sorted(float(b.double().sum()) for b in m.buffers()) for m in (network, rebuilt)]
    assert buffers[0] == pytest.approx(buffers[1], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", STYLES)
def test_description_is_json_and_builds_the_same(name: str) -> None:
    import json

    style = STYLES[name]
    found = read(settled(style.make, style.shape), style.shape, name)
    text = json.dumps(found.network.to_json())
    again = Network.from_json(json.loads(text))
    assert again == found.network
    module = load(json.loads(text))
    module.load_state_dict(found.state)
    x = torch.randn(2, *style.shape)
    with torch.no_grad():
        given, expected = module.eval()(x), found.rebuild().eval()(x)
    assert torch.allclose(
        given, expected, atol=1e-5
    )  # memory formats differ, and rounding with them


def test_shared_weights_stay_shared() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(F.relu(self.conv(x)))

    network = Twice()
    rebuilt = read(network, SHAPE).rebuild()
    x = torch.randn(2, *SHAPE)
    assert torch.equal(network(x), rebuilt(x))
    assert len(list(rebuilt.parameters())) == 2


def test_deep_copy_has_weights_of_its_own() -> None:
    module = build(read(vgg(), SHAPE).network)
    twin = copy.deepcopy(module).eval()
    x = torch.randn(2, *SHAPE)
    before = twin(x)
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()
    assert torch.equal(twin(x), before)


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * torch.sigmoid(self.gate(x))


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.conv(x), x


class Parameter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.shift = nn.Conv2d(3, 3, 1), nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + self.shift


UNREADABLE = {
    "a product": (Gated, r"mul.*product of two values"),
    "a branch on a value": (Branching, r"traceable by torch\.fx"),
    "two outputs": (Pair, "not one tensor"),
    "a loose parameter": (Parameter, "shift.*outside a layer"),
    "a recurrent layer": (
        lambda: sequential(nn.Flatten(2), nn.LSTM(256, 4)), r"layer 0 \(Flatten\)"
    ),
    "a 3-d convolution": (lambda: sequential(nn.Conv3d(3, 3, 1)), r"layer 0 \(Conv3d\)"),
    "a pixel shuffle": (
        lambda: sequential(nn.Conv2d(3, 4, 1), nn.PixelShuffle(2)), r"1 \(PixelShuffle\)"
    ),
    "a bicubic resize": (
        lambda: sequential(nn.Upsample(scale_factor=2, mode="bicubic")), r"0 \(Upsample\).*bicubic"
    ),
    "shapes that do not fit": (
        lambda: sequential(nn.Conv2d(3, 4, 20), nn.Flatten(), nn.Linear(4, 2)),
        r"layer '0' \(conv\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_named(name: str) -> None:
    make, message = UNREADABLE[name]
    with pytest.raises(UsageError, match=message):
        read(make(), SHAPE, "mine")


def test_wrong_images_are_refused_before_running() -> None:
    module = read(vgg(), SHAPE).rebuild()
    with pytest.raises(
        UsageError, match=r"made for images of shape \(3, 16, 16\); got \(3, 8, 8\)"
    ):
        module(torch.zeros(1, 3, 8, 8))


def test_wrong_channels_are_named() -> None:
    with pytest.raises(
        UsageError, match=r"layer '0' \(conv\) of mine takes 3 channels; got \(1, 16, 16\)"
    ):
        read(vgg(), (1, 16, 16), "mine")


@pytest.mark.parametrize("name", STYLES)
def test_merged_with_itself_it_computes_the_same(name: str) -> None:
    """Graph, contraction, lowering and inherited weights give the parent back, style by style."""
    style = STYLES[name]
    network = settled(style.make, style.shape)
    parents = {n: read(network, style.shape, n) for n in ("one", "two")}
    merge = merge_networks([p.network for p in parents.values()])
    module = build(merge.network).eval()
    copied, total = inherit(
        module, merge.plan, merge.lowered, {n: p.state for n, p in parents.items()}
    )
    assert copied == total
    x = torch.randn(3, *style.shape)
    with torch.no_grad():
        assert torch.allclose(module(x), network(x), rtol=1e-4, atol=2e-5)


PAIRS = [
    ("resnet", "vgg"), ("resnet", "inception"), ("mobile", "dense-net"), ("vgg", "alex"),
    ("u-shape-transposed", "u-shape-nearest"), ("u-shape-bilinear", "seg-net"),
    ("resnet", "mobile"), ("functional", "vgg"),
]  # fmt: skip


@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
def test_two_styles_merge_and_train(pair: tuple[str, str]) -> None:
    torch.manual_seed(1)
    found = [read(STYLES[n].make(), SHAPE, n).network for n in pair]
    merge = merge_networks(found, "1.0x")
    assert merge.allocation.within
    module = build(merge.network)
    module(torch.randn(4, *SHAPE)).square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in module.parameters())


def segmenter(kernel: int) -> nn.Module:
    net = SegNet()
    net.down2, net.up2 = unit(8, 8, kernel), unit(8, 8, kernel)
    return net


def test_indices_are_recalled_where_the_pooled_value_is_the_same() -> None:
    nets = [read(segmenter(k), SHAPE, f"k{k}").network for k in (3, 5)]
    merge = merge_networks(nets, "1.0x")
    unpools = [y for y in merge.network if y.kind == "unpool"]
    assert {y.attributes["mode"] for y in unpools} == {"indices"}
    module = build(merge.network)
    assert module(torch.randn(2, *SHAPE)).shape == (2, 1, 16, 16)
    # the widths at both ends of a pair are one width
    widths = {merge.lowered.names[n]: w for n, w in merge.allocation.widths.items()}
    pools = {y.name: y for y in merge.network if y.kind == "pool"}
    for unpool in unpools:
        both = unpool.inputs[0], pools[unpool.attributes["of"]].inputs[0]
        source = [max((n for n in widths if name.startswith(f"{n}-")), key=len) for name in both]
        assert widths[source[0]] == widths[source[1]]

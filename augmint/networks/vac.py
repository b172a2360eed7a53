"""The networks of VAC+GAN: MNIST, CIFAR-10 and binary (Bazrafkan and Corcoran 2018).

Batch normalisation stands between the linear map and its nonlinearity, which therefore has no bias
of its own; epsilon 1e-4, running statistics move by 0.1 a step. Weights are Glorot-uniform, those
of the MNIST transposed convolutions orthogonal. All networks are built in channels_last.

The 5x5 transposed convolutions have stride 2, padding 2 and output padding 1: they double the
image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from augmint.core.errors import UsageError
from augmint.core.registry import ARCHITECTURES
from augmint.core.types import CriticOutput
from augmint.networks.base import (
    ClassifierArchitecture,
    CriticArchitecture,
    GeneratorArchitecture,
)
from augmint.networks.blocks import BatchNorm2d, channels_last, initialise_glorot
from augmint.networks.classifiers import Classifier
from augmint.networks.sizes import check_size, refuse_condition
from augmint.networks.stochastic import GaussianNoise, MinibatchDiscrimination

if TYPE_CHECKING:
    from augmint.core.types import FloatImages, Latents, Shape

KERNELS, DIMENSIONS = 50, 30


def _norm(channels: int) -> BatchNorm2d:
    return BatchNorm2d(channels, eps=1e-4, momentum=0.1)


def _norm_dense(width: int) -> nn.BatchNorm1d:
    return nn.BatchNorm1d(width, eps=1e-4, momentum=0.1)


def _narrowed(widths: tuple[int, ...], factor: float) -> list[int]:
    """Return widths times a factor, rounded, at least 1."""
    if not 0.0 < factor <= 1.0:
        raise UsageError("a factor on widths is above 0 and at most 1", factor, "set width: 1.0")
    return [max(round(factor * w), 1) for w in widths]


def _double(inputs: int, outputs: int, bias: bool = False) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 5, 2, 2, output_padding=1, bias=bias)


def _multiples(n: int, smallest: int, name: str, shape: Shape) -> None:
    rule = f"{name} takes sizes that are multiples of {n}, from {smallest} to 256 px"
    check_size(shape, rule, lambda h, w: h % n == w % n == 0, smallest)


class _Generator(nn.Module):
    """Dense layers, a grid, doublings; `unit` maps a sigmoid's [0, 1] to [-1, 1]."""

    def __init__(self, dense: nn.Module, grid: Shape, maps: nn.Module, unit: bool) -> None:
        super().__init__()
        self.dense, self.grid, self.maps, self.unit = dense, grid, maps, unit

    def forward(self, latent: Latents, condition: Tensor | None = None) -> FloatImages:
        images: Tensor = self.maps(self.dense(latent).view(-1, *self.grid))
        return 2 * images - 1 if self.unit else images


class _Critic(nn.Module):
    def __init__(self, trunk: nn.Module, features: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.score = nn.Linear(features, 1)

    def forward(self, images: FloatImages, condition: Tensor | None = None) -> CriticOutput:
        features = self.trunk(images)
        return CriticOutput(self.score(features).squeeze(1), "score", features)


@ARCHITECTURES.register("vac-mnist-generator")
@dataclass(frozen=True)
class VacMnistGenerator(GeneratorArchitecture):
    """MNIST generator of VAC+GAN (multi-class paper, table 1).

    Dense 1024, dense 128·7·7, 5x5 transposed convolutions to 64 and to the image. The paper's
    images lie in [0, 1) and its generator ends in a sigmoid; images are [-1, 1] here, so that the
    output is 2 · sigmoid - 1 (and the critic sees 2x - 1). Sizes that are multiples of 4.

    Example:
        >>> import torch
        >>> network = VacMnistGenerator().build(100, (1, 12, 8))
        >>> network.grid  # 7x7 at 28 px
        (128, 3, 2)
        >>> images = network(torch.randn(2, 100))
        >>> images.shape, bool((images.abs() <= 1.0).all())
        (torch.Size([2, 1, 12, 8]), True)
    """

    channels_last: ClassVar[bool] = True
    batch_coupled: ClassVar[bool] = True
    smallest_batch: ClassVar[int] = 2

    def check_shape(self, shape: Shape) -> None:
        _multiples(4, 8, "vac-mnist-generator", shape)

    def build(self, latent_width: int, shape: Shape, condition_width: int = 0) -> nn.Module:
        refuse_condition("vac-mnist-generator", condition_width)
        self.check_shape(shape)
        grid = (128, shape[1] // 4, shape[2] // 4)
        cells = grid[0] * grid[1] * grid[2]
        dense = nn.Sequential(
            nn.Linear(latent_width, 1024, bias=False), _norm_dense(1024), nn.ReLU(),
            nn.Linear(1024, cells, bias=False), _norm_dense(cells), nn.ReLU(),
        )  # fmt: skip
        maps = nn.Sequential(
            _double(128, 64), _norm(64), nn.ReLU(), _double(64, shape[0], bias=True), nn.Sigmoid()
        )
        network = _Generator(dense, grid, maps, unit=True)
        initialise_glorot(network)
        for module in maps:
            if isinstance(module, nn.ConvTranspose2d):
                nn.init.orthogonal_(module.weight)
        return channels_last(network)


@ARCHITECTURES.register("vac-mnist-critic")
@dataclass(frozen=True)
class VacMnistCritic(CriticArchitecture):
    """MNIST critic of VAC+GAN (multi-class paper, table 2): its sigmoid is left to the objective.

    5x5 convolutions of stride 2 to 64 and 128 with batch norm and leaky ReLU 0.2, dense 1024,
    dense 1. Sizes that are multiples of 4.

    Args:
        dense_normalisation: also normalise the dense layer, as the authors' program does and the
            paper's table does not.

    Example:
        >>> import torch
        >>> output = VacMnistCritic().build((1, 8, 8))(torch.zeros(2, 1, 8, 8))
        >>> output.value.shape, output.features.shape
        (torch.Size([2]), torch.Size([2, 1024]))
    """

    dense_normalisation: bool = False
    channels_last: ClassVar[bool] = True
    batch_coupled: ClassVar[bool] = True

    @property
    def smallest_batch(self) -> int:  # type: ignore[override]
        return 2 if self.dense_normalisation else 1

    def check_shape(self, shape: Shape) -> None:
        _multiples(4, 8, "vac-mnist-critic", shape)

    def feature_width(self, shape: Shape) -> int:
        return 1024

    def build(self, shape: Shape, condition_width: int = 0, appended: int = 0) -> nn.Module:
        refuse_condition("vac-mnist-critic", condition_width)
        self.check_shape(shape)
        cells = 128 * (shape[1] // 4) * (shape[2] // 4)
        layers: list[nn.Module] = []
        for a, b in ((shape[0], 64), (64, 128)):
            layers += [nn.Conv2d(a, b, 5, 2, 2, bias=False), _norm(b), nn.LeakyReLU(0.2)]
        layers += [nn.Flatten(), nn.Linear(cells, 1024, bias=not self.dense_normalisation)]
        layers += [_norm_dense(1024)] if self.dense_normalisation else []
        network = _Critic(nn.Sequential(*layers, nn.LeakyReLU(0.2)), 1024)
        initialise_glorot(network)
        return channels_last(network)


def _two_convolutions(shape: Shape, outputs: int, pool: int) -> nn.Module:
    """Two valid 3x3 convolutions with pooling, dense 1024; dropout 0.5 before both dense layers."""
    layers: list[nn.Module] = []
    height, width = shape[1:]
    for a, b in ((shape[0], 16), (16, 8)):
        layers += [nn.Conv2d(a, b, 3), nn.ReLU(), nn.MaxPool2d(pool)]
        height, width = (height - 2) // pool, (width - 2) // pool
    layers += [nn.Flatten(), nn.Dropout(0.5), nn.Linear(8 * height * width, 1024), nn.ReLU()]
    network = Classifier(nn.Sequential(*layers, nn.Dropout(0.5)), nn.Linear(1024, outputs))
    initialise_glorot(network)
    return channels_last(network)


@ARCHITECTURES.register("vac-mnist-classifier")
@dataclass(frozen=True)
class VacMnistClassifier(ClassifierArchitecture):
    """MNIST classifier of VAC+GAN (multi-class paper, table 3): 217 394 parameters at 28x28x1.

    Valid 3x3 convolutions to 16 and 8 with ReLU and 2x2 max-pooling, dense 1024, dense classes;
    dropout 0.5 before both dense layers. Sizes 10 to 256 px.

    Example:
        >>> network = VacMnistClassifier().build((1, 28, 28), 10)
        >>> sum(p.numel() for p in network.parameters())
        217394
    """

    channels_last: ClassVar[bool] = True

    def check_shape(self, shape: Shape) -> None:
        rule = "vac-mnist-classifier takes sizes from 10 to 256 px"
        check_size(shape, rule, smallest=10)

    def build(self, shape: Shape, outputs: int) -> nn.Module:
        self.check_shape(shape)
        return _two_convolutions(shape, outputs, pool=2)


@ARCHITECTURES.register("vac-binary-classifier")
@dataclass(frozen=True)
class VacBinaryClassifier(ClassifierArchitecture):
    """Gender classifier of the binary paper: the MNIST one, pooled 3x3 from 96 px on.

    With one output (whose sigmoid is the probability) 822 857 parameters at 48x48x3 and 1 388 105
    at 128x128x3; with two outputs the soft-max is the same function of their difference. Sizes
    10 to 256 px.

    Example:
        >>> plan = VacBinaryClassifier()
        >>> networks = [plan.build((3, side, side), 1) for side in (48, 128)]
        >>> [sum(p.numel() for p in network.parameters()) for network in networks]
        [822857, 1388105]
    """

    channels_last: ClassVar[bool] = True

    def check_shape(self, shape: Shape) -> None:
        rule = "vac-binary-classifier takes sizes from 10 to 256 px"
        check_size(shape, rule, smallest=10)

    def build(self, shape: Shape, outputs: int) -> nn.Module:
        self.check_shape(shape)
        return _two_convolutions(shape, outputs, pool=3 if min(shape[1:]) >= 96 else 2)


@ARCHITECTURES.register("vac-cifar-generator")
@dataclass(frozen=True)
class VacCifarGenerator(GeneratorArchitecture):
    """CIFAR-10 generator of VAC+GAN (multi-class paper, table 4).

    Dense 384·4·4 with ReLU (the table prints 384·4), 5x5 transposed convolutions to 192 and 96
    with batch norm and ReLU, and to the image with tanh. Sizes that are multiples of 8. At 32x32x3
    with 10 latents 2 379 363 parameters.

    Args:
        width: factor on all widths; 1 is the paper's.

    Example:
        >>> network = VacCifarGenerator().build(10, (3, 32, 32))
        >>> sum(p.numel() for p in network.parameters())
        2379363
    """

    width: float = 1.0
    channels_last: ClassVar[bool] = True
    batch_coupled: ClassVar[bool] = True

    def check_shape(self, shape: Shape) -> None:
        _multiples(8, 16, "vac-cifar-generator", shape)

    def build(self, latent_width: int, shape: Shape, condition_width: int = 0) -> nn.Module:
        refuse_condition("vac-cifar-generator", condition_width)
        self.check_shape(shape)
        first, second, third = _narrowed((384, 192, 96), self.width)
        grid = (first, shape[1] // 8, shape[2] // 8)
        dense = nn.Sequential(nn.Linear(latent_width, grid[0] * grid[1] * grid[2]), nn.ReLU())
        maps = nn.Sequential(
            _double(first, second), _norm(second), nn.ReLU(),
            _double(second, third), _norm(third), nn.ReLU(),
            _double(third, shape[0], bias=True), nn.Tanh(),
        )  # fmt: skip
        network = _Generator(dense, grid, maps, unit=False)
        initialise_glorot(network)
        return channels_last(network)


@ARCHITECTURES.register("vac-cifar-critic")
@dataclass(frozen=True)
class VacCifarCritic(CriticArchitecture):
    """CIFAR-10 critic of VAC+GAN (multi-class paper, table 5):
    its sigmoid is left to the objective.

    Gaussian noise 0.05; 3x3 convolutions to 16 (stride 2), 32, 64 (2), 128, 256 (2), 512, batch
    norm on all but the first, leaky ReLU 0.2, dropout 0.5; minibatch discrimination with 50
    kernels of 30 dimensions; dense 1. Couples the samples of a batch. Sizes that are multiples
    of 8.

    Args:
        width: factor on all widths and on the number of kernels; 1 is the paper's.

    Example:
        >>> VacCifarCritic().feature_width((3, 32, 32))  # 512 maps of 4x4, 50 kernels
        8242
        >>> import torch
        >>> network = VacCifarCritic(width=0.1).build((3, 16, 16))
        >>> network(torch.zeros(2, 3, 16, 16)).value.shape
        torch.Size([2])
    """

    width: float = 1.0
    channels_last: ClassVar[bool] = True
    batch_coupled: ClassVar[bool] = True

    def check_shape(self, shape: Shape) -> None:
        _multiples(8, 16, "vac-cifar-critic", shape)

    def feature_width(self, shape: Shape) -> int:
        return self._widths()[-1] * (shape[1] // 8) * (shape[2] // 8) + self._kernels()

    def _widths(self) -> list[int]:
        return _narrowed((16, 32, 64, 128, 256, 512), self.width)

    def _kernels(self) -> int:
        return _narrowed((KERNELS,), self.width)[0]

    def build(self, shape: Shape, condition_width: int = 0, appended: int = 0) -> nn.Module:
        refuse_condition("vac-cifar-critic", condition_width)
        self.check_shape(shape)
        layers: list[nn.Module] = [GaussianNoise(0.05)]
        inputs = shape[0]
        for i, width in enumerate(self._widths()):
            layers += [nn.Conv2d(inputs, width, 3, 2 - i % 2, 1, bias=i == 0)]
            layers += [_norm(width)] if i > 0 else []
            layers += [nn.LeakyReLU(0.2), nn.Dropout(0.5)]
            inputs = width
        features, kernels = self.feature_width(shape), self._kernels()
        layers += [
            nn.Flatten(),
            MinibatchDiscrimination(features - kernels, kernels, DIMENSIONS),
        ]
        network = _Critic(nn.Sequential(*layers), features)
        initialise_glorot(network)
        return channels_last(network)


@ARCHITECTURES.register("vac-cifar-classifier")
@dataclass(frozen=True)
class VacCifarClassifier(ClassifierArchitecture):
    """CIFAR-10 classifier of VAC+GAN (multi-class paper, table 6, as the authors' program has it).

    Valid 5x5 convolutions to 128 and 256, each with batch norm, ReLU and 2x2 max-pooling, and to
    512 with ReLU, which leaves 1x1 at 32 px; dropout 0.5, dense 512, dense classes. The table also
    normalises and pools after the third, where there is nothing left to pool. Sizes 32 to 128 px.

    Args:
        width: factor on all widths; 1 is the paper's.

    Example:
        >>> network = VacCifarClassifier().build((3, 32, 32), 10)
        >>> sum(p.numel() for p in network.parameters())
        4374666
        >>> [m.in_features for m in network.modules() if isinstance(m, nn.Linear)]
        [512, 512]
    """

    width: float = 1.0
    channels_last: ClassVar[bool] = True
    batch_coupled: ClassVar[bool] = True

    def check_shape(self, shape: Shape) -> None:
        rule = "vac-cifar-classifier takes sizes from 32 to 128 px"
        check_size(shape, rule, smallest=32, largest=128)

    def build(self, shape: Shape, outputs: int) -> nn.Module:
        self.check_shape(shape)
        layers: list[nn.Module] = []
        first, second, third, dense = _narrowed((128, 256, 512, 512), self.width)
        for a, b in ((shape[0], first), (first, second)):
            layers += [nn.Conv2d(a, b, 5, bias=False), _norm(b), nn.ReLU(), nn.MaxPool2d(2)]
        left = [((side - 4) // 2 - 4) // 2 - 4 for side in shape[1:]]
        layers += [nn.Conv2d(second, third, 5), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5)]
        layers += [nn.Linear(third * left[0] * left[1], dense), nn.ReLU()]
        network = Classifier(nn.Sequential(*layers), nn.Linear(dense, outputs))
        initialise_glorot(network)
        return channels_last(network)

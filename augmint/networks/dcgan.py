"""DCGAN: convolutional generator and critic for small images (Radford et al. 2015, 1511.06434)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal

from torch import Tensor, nn

from augmint.core.errors import UsageError
from augmint.core.registry import ARCHITECTURES
from augmint.core.types import CriticOutput
from augmint.networks.base import GeneratorArchitecture
from augmint.networks.blocks import (
    BatchNorm2d,
    SpectralConv2d,
    SpectralLinear,
    UpsampleConv,
    channels_last,
    flattened,
    initialise,
)
from augmint.networks.maps import chain, entries
from augmint.networks.sizes import check_size, refuse_condition
from augmint.networks.stochastic import (
    ComparingCritic,
    MinibatchDeviation,
    check_minibatch,
    compares,
)

if TYPE_CHECKING:
    from augmint.core.types import FloatImages, Latents, Shape

WIDEST_BASE = 15


def doublings(height: int, width: int, base: int = 4) -> int:
    """Return how often both sides can be halved while the smaller one stays at least `base`.

    Example:
        >>> [doublings(s, s) for s in (8, 28, 32, 48, 64, 128)]
        [1, 2, 3, 3, 4, 5]
    """
    k = 0
    while height % 2 == width % 2 == 0 and min(height, width) // 2 >= base:
        height, width, k = height // 2, width // 2, k + 1
    return k


def check_width(channels: int) -> None:
    """Raise `UsageError` for a base width below 1."""
    if channels < 1:
        raise UsageError("the base width is at least 1", channels, "set channels=64 (channels: 64)")


@ARCHITECTURES.register("dcgan-generator")
@dataclass(frozen=True)
class DcganGenerator(GeneratorArchitecture):
    """DCGAN generator: dense to a small grid, doubled k times, tanh.

    The grid is the image size / 2^k with k as large as its smaller side allows (`base` or more):
    4x4 for 8, 16, 32, 64 and 128 px, 6x6 for 48, 7x7 for 28, 5x9 for 20x36. At that k the smaller
    side must lie in `base`…15 and k >= 1. The grid is channels · 2^(k-1) wide (at most
    8 · channels) and widths halve with each doubling, so that the map of half the image size is
    `channels` wide.

    `upsampling="transposed"` is the original: 4x4 transposed convolutions of stride 2, the last of
    which gives the image. `upsampling="resize"` doubles by nearest neighbour and a 3x3 convolution
    (folded into one exact, cheaper transposed convolution), up to a map of the full size,
    channels / 2 wide, on which a last 3x3 convolution draws the image: no checkerboard and finer
    detail, at about twice the time (Odena et al. 2016, "Deconvolution and checkerboard artifacts").

    Weights from N(0, 0.02²). Built in channels_last. Latents `(N, latent_width)`, images in
    [-1, 1]. Condition maps ("maps") enter every convolution (`networks.maps`).

    Args:
        channels: width of the map of half the image size.
        normalisation: "batch" couples the samples of a training batch; "none" does not.
        upsampling: how the image is doubled.
        base: smallest allowed side of the grid.
        widths: explicit widths from the grid on, k of them (k + 1 for "resize"); empty follows
            `channels`. `base=8, widths=(128, 128, 64)` at 32 px is the network of many tutorials.

    Example:
        >>> plan = DcganGenerator(channels=128, upsampling="transposed")
        >>> plan.map_widths((3, 64, 64))  # figure 1 of the paper: 4x4, 8x8, 16x16, 32x32
        [1024, 512, 256, 128]
        >>> import torch
        >>> DcganGenerator(channels=4).build(10, (3, 20, 36))(torch.zeros(2, 10)).shape
        torch.Size([2, 3, 20, 36])
    """

    channels: int = 64
    normalisation: Literal["batch", "none"] = "batch"
    upsampling: Literal["transposed", "resize"] = "resize"
    base: int = 4
    widths: tuple[int, ...] = ()
    channels_last: ClassVar[bool] = True
    condition_modes: ClassVar[frozenset[str]] = frozenset({"maps"})

    @property
    def batch_coupled(self) -> bool:  # type: ignore[override]
        return self.normalisation == "batch"

    def check_shape(self, shape: Shape) -> None:
        def fits(h: int, w: int) -> bool:
            k = doublings(h, w, self.base)
            return k >= 1 and min(h, w) // 2**k <= WIDEST_BASE

        rule = (
            f"dcgan-generator makes sizes whose smaller side, halved k >= 1 times, is "
            f"{self.base} to {WIDEST_BASE}, from 8 to 256 px"
        )
        check_width(self.channels)
        check_size(shape, rule, fits)
        self.map_widths(shape)

    def map_widths(self, shape: Shape) -> list[int]:
        """Return the widths of the hidden maps, from the grid on.

        Raises:
            UsageError: if `widths` are given, but not as many as the size needs.

        Example:
            >>> DcganGenerator(channels=64).map_widths((3, 32, 32))  # 4x4, 8x8, 16x16, 32x32
            [256, 128, 64, 32]
        """
        k = doublings(shape[1], shape[2], self.base)
        maps = k if self.upsampling == "transposed" else k + 1
        if not self.widths:
            return [max(self.channels * min(2**k, 16) // 2 ** (i + 1), 1) for i in range(maps)]
        if len(self.widths) != maps or min(self.widths) < 1:
            raise UsageError(
                f"{self.upsampling} upsampling to {shape[1]}x{shape[2]} has {maps} hidden maps",
                f"widths {self.widths}",
                f"give {maps} widths of at least 1, or none",
            )
        return list(self.widths)

    def build(self, latent_width: int, shape: Shape, condition_width: int = 0) -> nn.Module:
        self.check_shape(shape)
        network = _Generator(self, latent_width, shape, condition_width)
        initialise(network)
        return channels_last(network)


class _Generator(nn.Module):
    def __init__(self, plan: DcganGenerator, latent_width: int, shape: Shape, planes: int) -> None:
        super().__init__()
        outputs, height, width = shape
        k = doublings(height, width, plan.base)
        normed = plan.normalisation == "batch"
        self.grid = (height // 2**k, width // 2**k)
        widths = plan.map_widths(shape)
        self.base_width = widths[0]
        cells = self.grid[0] * self.grid[1]
        self.project = nn.Linear(latent_width, cells * self.base_width, bias=not normed)
        transposed = plan.upsampling == "transposed"
        layers: list[nn.Module] = [*_norm_relu(self.base_width, normed)]
        for a, b in pairwise(widths):
            if transposed:
                layers += [nn.ConvTranspose2d(a, b, 4, 2, 1, bias=not normed)]
            else:
                layers += [UpsampleConv(a, b, bias=not normed)]
            layers += _norm_relu(b, normed)
        if transposed:
            layers += [nn.ConvTranspose2d(widths[-1], outputs, 4, 2, 1)]
        else:
            layers += [nn.Conv2d(widths[-1], outputs, 3, padding=1)]
        self.layers = nn.Sequential(*layers, nn.Tanh())
        self.entries = entries(self.layers, planes)

    def forward(self, latent: Latents, condition: Tensor | None = None) -> FloatImages:
        # pixel-major order of the dense layer's outputs: the grid is born in channels_last
        flat = self.project(latent).view(-1, *self.grid, self.base_width)
        return chain(self.layers, self.entries, flat.permute(0, 3, 1, 2), condition)


def _norm_relu(channels: int, normed: bool) -> list[nn.Module]:
    relu = nn.ReLU(inplace=True)
    return [BatchNorm2d(channels), relu] if normed else [relu]


@ARCHITECTURES.register("dcgan-critic")
@dataclass(frozen=True)
class DcganCritic(ComparingCritic):
    """DCGAN critic: 4x4 convolutions of stride 2, leaky ReLU 0.2, one dense score.

    Halves the image until its smaller side is 4 to 7 (odd sides are rounded down), doubling the
    width from `channels` up to 8 · channels; gives `CriticOutput(value (N,), "score",
    features (N, F))` with F the flattened last map. Any size from 8 to 256 px fits.

    `normalisation="spectral"` (Miyato et al. 2018) bounds each layer's spectral norm and leaves
    samples apart; "batch" is the original (no normalisation in the first layer) and couples
    them, as `batch_coupled` says; "none" suits the gradient penalty. Weights from N(0, 0.02²).
    Built in channels_last. What compares the samples of a batch (`minibatch_…`) couples them too;
    its weight is not normalised.

    Args:
        channels: width of the first layer.
        normalisation: of all layers.
        minibatch_discrimination: kernels appended to the features (Salimans et al. 2016); 0: none.
        minibatch_dimensions: of each kernel.
        minibatch_deviation: samples of a group whose standard deviation is one more map before the
            last convolution (Karras et al. 2018); 0: none.

    Example:
        >>> import torch
        >>> output = DcganCritic(channels=4).build((1, 28, 28))(torch.zeros(2, 1, 28, 28))
        >>> output.value.shape, output.features.shape  # 8 maps of 7x7
        (torch.Size([2]), torch.Size([2, 392]))
        >>> [DcganCritic(normalisation=n).batch_coupled for n in ("spectral", "batch", "none")]
        [False, True, False]
    """

    channels: int = 64
    normalisation: Literal["spectral", "batch", "none"] = "spectral"
    minibatch_discrimination: int = 0
    minibatch_dimensions: int = 5
    minibatch_deviation: int = 0
    channels_last: ClassVar[bool] = True

    @property
    def batch_coupled(self) -> bool:  # type: ignore[override]
        compared = self.minibatch_discrimination + self.minibatch_deviation > 0
        return self.normalisation == "batch" or compared

    @property
    def spectral(self) -> bool:  # type: ignore[override]
        return self.normalisation == "spectral"

    def check_shape(self, shape: Shape) -> None:
        check_width(self.channels)
        check_minibatch(
            self.minibatch_discrimination, self.minibatch_dimensions, self.minibatch_deviation
        )
        check_size(shape, "dcgan-critic takes sizes from 8 to 256 px")

    def feature_width(self, shape: Shape) -> int:
        return self._map_width(shape) + self.minibatch_discrimination

    def build(self, shape: Shape, condition_width: int = 0, appended: int = 0) -> nn.Module:
        refuse_condition("dcgan-critic", condition_width)
        self.check_shape(shape)
        network = _Critic(self, shape[0], self._widths(shape), self._map_width(shape))
        initialise(network)
        return channels_last(network)

    def _widths(self, shape: Shape) -> list[int]:
        return [self.channels * min(2**i, 8) for i in range(halvings(shape))]

    def _map_width(self, shape: Shape) -> int:
        """Return the numbers of the last map."""
        k = halvings(shape)
        return self._widths(shape)[-1] * (shape[1] // 2**k) * (shape[2] // 2**k)


def halvings(shape: Shape) -> int:
    """Return how often both sides are halved, rounded down, until the smaller one is 4 to 7.

    Example:
        >>> [halvings((3, side, side)) for side in (8, 28, 32, 100)]  # to 4, 7, 4, 6
        [1, 2, 3, 4]
    """
    return (min(shape[1:]) // 4).bit_length() - 1


class _Critic(nn.Module):
    def __init__(self, plan: DcganCritic, inputs: int, widths: list[int], features: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        spectral = plan.spectral
        for i, outputs in enumerate(widths):
            normed = plan.normalisation == "batch" and i > 0
            if plan.minibatch_deviation and i == len(widths) - 1:
                layers += [MinibatchDeviation(plan.minibatch_deviation)]
                inputs += 1
            if spectral:
                layers += [SpectralConv2d(inputs, outputs, 4, 2, 1)]
            else:
                layers += [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=not normed)]
            layers += [BatchNorm2d(outputs)] if normed else []
            layers += [nn.LeakyReLU(0.2, inplace=True)]
            inputs = outputs
        self.layers = nn.Sequential(*layers)
        kernels = plan.minibatch_discrimination
        self.compare = compares(features, kernels, plan.minibatch_dimensions)
        features += kernels
        self.score = SpectralLinear(features, 1) if spectral else nn.Linear(features, 1)

    def forward(self, images: FloatImages, condition: Tensor | None = None) -> CriticOutput:
        features = self.compare(flattened(self.layers(images)))
        return CriticOutput(self.score(features).squeeze(1), "score", features)

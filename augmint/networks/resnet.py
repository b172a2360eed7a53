"""Residual generator and critic, with self-attention where it is asked for.

Without attention and with a normalised critic they are SNGAN's (Miyato et al. 2018, 1802.05957,
appendix B.3); with both networks normalised and attention, SAGAN's (Zhang et al. 2019, 1805.08318).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augmint.core.registry import ARCHITECTURES
from augmint.core.types import CriticOutput
from augmint.networks.base import GeneratorArchitecture
from augmint.networks.blocks import (
    BatchNorm2d,
    SpectralConv2d,
    SpectralLinear,
    SpectralUpsampleConv,
    UpsampleConv,
    channels_last,
    initialise_glorot,
    initialise_orthogonal,
)
from augmint.networks.dcgan import WIDEST_BASE, check_width, doublings, halvings
from augmint.networks.sizes import check_size, refuse_condition
from augmint.networks.stochastic import (
    ComparingCritic,
    MinibatchDeviation,
    check_minibatch,
    compares,
)

if TYPE_CHECKING:
    from augmint.core.types import FloatImages, Latents, Shape

SMALLEST_GRID = 4
_SPECTRAL = SpectralConv2d | SpectralLinear | SpectralUpsampleConv


class ConditionalBatchNorm2d(nn.Module):
    """Batch normalisation whose scale and shift are affine functions of a condition.

        y = (x - mean) / sqrt(var + epsilon) · (1 + A c) + B c

    With a one-hot condition this is one scale and shift a class (de Vries et al. 2017, 1707.00683;
    Miyato and Koyama 2018, 1802.05637). A and B begin at zero: at first classes look alike; not so
    with `spectral`, where their norm is always 1. With no condition it is plain batch normalisation
    with a learned scale and shift.

    Args:
        channels: of the images.
        condition: width of c; 0 for none.
        spectral: divide A and B by their spectral norm.

    Example:
        >>> layer, images = ConditionalBatchNorm2d(2, 3), torch.rand(2, 2, 4, 4)
        >>> layer.settle()
        >>> one, other = torch.eye(3)[[0, 0]], torch.eye(3)[[1, 2]]
        >>> torch.equal(layer(images, one), layer(images, other))
        True
    """

    def __init__(self, channels: int, condition: int, spectral: bool = False) -> None:
        super().__init__()
        self.norm = BatchNorm2d(channels, affine=not condition)
        self.gain = dense(condition, channels, spectral, bias=False) if condition else None
        self.shift = dense(condition, channels, spectral, bias=False) if condition else None

    def settle(self) -> None:
        """Let conditions make no difference yet; called once weights are drawn."""
        for layer in (self.gain, self.shift):
            if layer is not None and not isinstance(layer, SpectralLinear):
                nn.init.zeros_(layer.weight)

    def forward(self, images: FloatImages, condition: Tensor | None = None) -> FloatImages:
        normed: Tensor = self.norm(images)
        if self.gain is None or self.shift is None:
            return normed
        gain, shift = self.gain(condition), self.shift(condition)
        return normed * (1.0 + gain[:, :, None, None]) + shift[:, :, None, None]


class SelfAttention(nn.Module):
    """Lets every position look at every other one.

        o = v(softmax_j(f(x)_i · g(x)_j) h(x)_j),   y = x + gamma o,   gamma = 0 at first

    with f and g 1x1 convolutions to C / 8 channels, h to C / 2 and v back to C; g and h are
    max-pooled by 2 where the sides are even, as in the authors' program (Zhang et al. 2019,
    1805.08318, section 3). Time and memory grow with (H W)².

    Args:
        channels: C, at least 1.
        spectral: divide weights by their spectral norm.

    Example:
        >>> images = torch.rand(2, 8, 4, 4)
        >>> torch.equal(SelfAttention(8)(images), images)  # as long as gamma is 0
        True
    """

    def __init__(self, channels: int, spectral: bool = True) -> None:
        super().__init__()
        inner, half = max(channels // 8, 1), max(channels // 2, 1)
        self.query = conv(channels, inner, 1, spectral)
        self.key = conv(channels, inner, 1, spectral)
        self.value = conv(channels, half, 1, spectral)
        self.out = conv(half, channels, 1, spectral)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, images: FloatImages) -> FloatImages:
        n, _, height, width = images.shape
        pool = 2 if height % 2 == width % 2 == 0 else 1
        query = self.query(images).flatten(2).transpose(1, 2)
        key = F.max_pool2d(self.key(images), pool).flatten(2).transpose(1, 2)
        value = F.max_pool2d(self.value(images), pool).flatten(2).transpose(1, 2)
        # scores are not divided by the root of the width in the paper
        seen = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        maps = seen.transpose(1, 2).reshape(n, -1, height, width)
        result: Tensor = images + self.gamma * self.out(maps)
        return result


def dense(inputs: int, outputs: int, spectral: bool, bias: bool = True) -> nn.Linear:
    """Return a dense layer, its weight divided by its spectral norm where that is asked for.

    Example:
        >>> [type(dense(3, 2, spectral)).__name__ for spectral in (False, True)]
        ['Linear', 'SpectralLinear']
    """
    kind = SpectralLinear if spectral else nn.Linear
    return kind(inputs, outputs, bias=bias)


def conv(inputs: int, outputs: int, kernel: int, spectral: bool) -> nn.Module:
    """Return a convolution that keeps the size, as `dense`.

    Example:
        >>> conv(2, 5, 3, spectral=True)(torch.zeros(1, 2, 7, 9)).shape
        torch.Size([1, 5, 7, 9])
    """
    padding = kernel // 2
    if spectral:
        return SpectralConv2d(inputs, outputs, kernel, 1, padding)
    return nn.Conv2d(inputs, outputs, kernel, padding=padding)


class UpBlock(nn.Module):
    """A residual block that doubles the image.

    norm, ReLU, repeat x2 and 3x3, norm, ReLU, 3x3; beside it a 1x1 convolution, then repeat x2 (in
    this order, which commutes, at a quarter of the work).

    Args:
        inputs, outputs: channels.
        condition: width of what the normalisations are told; 0 for none.
        spectral: divide all weights by their spectral norm.

    Example:
        >>> UpBlock(4, 2, 0)(torch.zeros(1, 4, 3, 5)).shape
        torch.Size([1, 2, 6, 10])
    """

    def __init__(self, inputs: int, outputs: int, condition: int, spectral: bool = False) -> None:
        super().__init__()
        doubling = SpectralUpsampleConv if spectral else UpsampleConv
        self.norm1 = ConditionalBatchNorm2d(inputs, condition, spectral)
        self.conv1 = doubling(inputs, outputs)
        self.norm2 = ConditionalBatchNorm2d(outputs, condition, spectral)
        self.conv2 = conv(outputs, outputs, 3, spectral)
        self.skip = conv(inputs, outputs, 1, spectral)

    def forward(self, images: FloatImages, condition: Tensor | None = None) -> FloatImages:
        x = self.conv1(F.relu(self.norm1(images, condition)))
        x = self.conv2(F.relu(self.norm2(x, condition)))
        doubled: Tensor = F.interpolate(self.skip(images), scale_factor=2.0, mode="nearest")
        return x + doubled


class DownBlock(nn.Module):
    """A residual block of a critic: [ReLU,] 3x3, ReLU, 3x3, and mean pooling by 2 where it halves.

    The side branch is a 1x1 convolution where the width or size changes (pooled first, which
    commutes). The first block of a critic has no ReLU before it.

    Example:
        >>> block = DownBlock(2, 4, halves=True, first=True, spectral=False)
        >>> block(torch.zeros(1, 2, 6, 10)).shape
        torch.Size([1, 4, 3, 5])
    """

    def __init__(
        self, inputs: int, outputs: int, halves: bool, first: bool, spectral: bool
    ) -> None:
        super().__init__()
        self.halves, self.first = halves, first
        self.conv1 = conv(inputs, outputs, 3, spectral)
        self.conv2 = conv(outputs, outputs, 3, spectral)
        changes = inputs != outputs or halves
        self.skip = conv(inputs, outputs, 1, spectral) if changes else nn.Identity()

    def forward(self, images: FloatImages) -> FloatImages:
        x = self.conv1(images if self.first else F.relu(images))
        x = self.conv2(F.relu(x))
        beside = images
        if self.halves:
            x, beside = F.avg_pool2d(x, 2), F.avg_pool2d(beside, 2)
        result: Tensor = x + self.skip(beside)
        return result


def check_residual(name: str, channels: int, shape: Shape, attention: int = 0) -> None:
    """Raise `UsageError` for a width below 1 or a size that leaves no grid of 4 to 15.

    With `attention`, also for a size of which no map has that smaller side.
    """

    def fits(height: int, width: int) -> bool:
        sides = map_sides((1, height, width))
        reached = not attention or attention in sides
        return len(sides) > 1 and sides[0] <= WIDEST_BASE and reached

    check_width(channels)
    looks = f" and passes {attention} (attention: {attention}, 0 for none)" if attention else ""
    rule = (
        f"{name} takes sizes whose smaller side, halved k >= 1 times, is "
        f"{SMALLEST_GRID} to {WIDEST_BASE}{looks}, from 8 to 256 px"
    )
    check_size(shape, rule, fits)


def map_sides(shape: Shape) -> list[int]:
    """Return the smaller side of each map, from the grid to the full size.

    Example:
        >>> map_sides((3, 28, 28)), map_sides((3, 128, 128))
        ([7, 14, 28], [4, 8, 16, 32, 64, 128])
    """
    k = doublings(shape[1], shape[2], SMALLEST_GRID)
    return [min(shape[1:]) // 2 ** (k - i) for i in range(k + 1)]


def block_widths(channels: int, k: int) -> list[int]:
    """Return the widths of the k + 1 maps from the grid to the full size.

    `channels` everywhere for up to three doublings, as SNGAN at 32 px; each further one doubles
    the width of the coarser maps, as at 128 px.

    Example:
        >>> block_widths(256, 3), block_widths(64, 5)
        ([256, 256, 256, 256], [256, 256, 128, 64, 64, 64])
    """
    return [channels * 2 ** max(0, min(k, 5) - 3 - max(i - 1, 0)) for i in range(k + 1)]


@ARCHITECTURES.register("resnet-generator")
@dataclass(frozen=True)
class ResnetGenerator(GeneratorArchitecture):
    """A dense layer to a small grid, k doubling residual blocks, norm, ReLU, 3x3, tanh.

    The grid and k are those of DCGAN: 4x4 for 8 to 128 px, 7x7 for 28. `channels=256` at 32 px is
    SNGAN's. A condition enters every normalisation ("conditional-norm"). Glorot's uniform weights.

    Args:
        channels: width of the maps (of the finest three above 32 px).
        attention: a self-attention layer before the last block, where the map has half the size.
        spectral: divide all weights by their spectral norm, as in SAGAN (attention always does).

    Example:
        >>> network = ResnetGenerator(channels=256).build(128, (3, 32, 32))  # SNGAN's
        >>> sum(p.numel() for p in network.parameters())
        4276739
    """

    channels: int = 64
    attention: bool = False
    spectral: bool = False
    batch_coupled: ClassVar[bool] = True
    channels_last: ClassVar[bool] = True
    condition_modes: ClassVar[frozenset[str]] = frozenset({"conditional-norm"})

    def check_shape(self, shape: Shape) -> None:
        check_residual("resnet-generator", self.channels, shape)

    def build(self, latent_width: int, shape: Shape, condition_width: int = 0) -> nn.Module:
        self.check_shape(shape)
        return built(_Generator(self, latent_width, shape, condition_width))


class _Generator(nn.Module):
    def __init__(self, plan: ResnetGenerator, latent: int, shape: Shape, condition: int) -> None:
        super().__init__()
        outputs, height, width = shape
        k = doublings(height, width, SMALLEST_GRID)
        widths = block_widths(plan.channels, k)
        self.grid = (height // 2**k, width // 2**k)
        spectral = plan.spectral
        self.project = dense(latent, self.grid[0] * self.grid[1] * widths[0], spectral)
        self.blocks = nn.ModuleList(UpBlock(a, b, condition, spectral) for a, b in pairwise(widths))
        self.attention = SelfAttention(widths[-2]) if plan.attention else nn.Identity()
        self.norm = BatchNorm2d(widths[-1])
        self.out = conv(widths[-1], outputs, 3, spectral)

    def forward(self, latent: Latents, condition: Tensor | None = None) -> FloatImages:
        # pixel-major order of the dense layer's outputs: the grid is born in channels_last
        x = self.project(latent).view(len(latent), *self.grid, -1).permute(0, 3, 1, 2)
        *early, last = self.blocks
        for block in early:
            x = block(x, condition)
        x = last(self.attention(x), condition)
        images: Tensor = torch.tanh(self.out(F.relu(self.norm(x))))
        return images


@ARCHITECTURES.register("resnet-critic")
@dataclass(frozen=True)
class ResnetCritic(ComparingCritic):
    """Residual blocks, ReLU, sum over positions, a dense score.

    With the plan "sngan" blocks halve while the smaller side exceeds 8, at least once, and two at
    the end keep the size, as SNGAN's at 32 px: 16, 8, 8, 8. With "biggan" blocks halve while the
    smaller side is at least 8, to 4 to 7, each doubling the width up to 16 · channels, and one
    keeps the size, as BigGAN's at 128 px (Brock et al. 2018, 1809.11096, table 4). Features are the
    sums, `(N, channels of the last block)`; the score is a dense layer on them. What compares the
    samples of a batch (`minibatch_…`) couples them; its weight is not normalised.

    Args:
        channels: width of the first block (of the first two with "sngan"), doubled by each that
            halves after; 128 for SNGAN at 32 px, 96 for BigGAN.
        normalisation: "spectral" or "none".
        attention: a self-attention layer after the first block.
        plan: which blocks.
        initialisation: Glorot's uniform weights, or orthogonal ones as BigGAN's.
        minibatch_discrimination: kernels appended to the features (Salimans et al. 2016); 0: none.
        minibatch_dimensions: of each kernel.
        minibatch_deviation: samples of a group whose standard deviation is one more map before the
            last block (Karras et al. 2018); 0: none.

    Example:
        >>> sngan, biggan = ResnetCritic(128), ResnetCritic(96, plan="biggan")
        >>> sngan.feature_width((3, 32, 32)), biggan.feature_width((3, 128, 128))
        (128, 1536)
        >>> ResnetCritic(4).build((1, 8, 8))(torch.zeros(2, 1, 8, 8)).value.shape
        torch.Size([2])
    """

    channels: int = 64
    normalisation: Literal["spectral", "none"] = "spectral"
    attention: bool = False
    plan: Literal["sngan", "biggan"] = "sngan"
    initialisation: Literal["glorot", "orthogonal"] = "glorot"
    minibatch_discrimination: int = 0
    minibatch_dimensions: int = 5
    minibatch_deviation: int = 0
    channels_last: ClassVar[bool] = True

    @property
    def batch_coupled(self) -> bool:  # type: ignore[override]
        return self.minibatch_discrimination + self.minibatch_deviation > 0

    @property
    def spectral(self) -> bool:  # type: ignore[override]
        return self.normalisation == "spectral"

    def check_shape(self, shape: Shape) -> None:
        check_width(self.channels)
        check_minibatch(
            self.minibatch_discrimination, self.minibatch_dimensions, self.minibatch_deviation
        )
        check_size(shape, "resnet-critic takes sizes from 8 to 256 px")

    def feature_width(self, shape: Shape) -> int:
        return self._widths(shape)[-1] + self.minibatch_discrimination

    def build(self, shape: Shape, condition_width: int = 0, appended: int = 0) -> nn.Module:
        refuse_condition("resnet-critic", condition_width)
        self.check_shape(shape)
        return built(_Critic(self, shape[0], self._widths(shape)), self.initialisation)

    def _widths(self, shape: Shape) -> list[int]:
        """Return the width after each halving block; the plain blocks keep the last."""
        if self.plan == "biggan":
            return [self.channels * min(2**i, 16) for i in range(halvings(shape))]
        count = max(((min(shape[1:]) - 1) // 8).bit_length(), 1)
        return [self.channels * 2 ** max(0, i - 1) for i in range(count)]


class _Critic(nn.Module):
    def __init__(self, plan: ResnetCritic, inputs: int, widths: list[int]) -> None:
        super().__init__()
        spectral = plan.spectral
        blocks: list[nn.Module] = []
        for i, outputs in enumerate(widths):
            blocks += [DownBlock(inputs, outputs, True, i == 0, spectral)]
            if plan.attention and i == 0:
                blocks += [SelfAttention(outputs, spectral)]
            inputs = outputs
        if plan.plan == "sngan":
            blocks += [DownBlock(inputs, inputs, False, False, spectral)]
        more, kernels = bool(plan.minibatch_deviation), plan.minibatch_discrimination
        if more:
            blocks += [MinibatchDeviation(plan.minibatch_deviation)]
        blocks += [DownBlock(inputs + more, inputs, False, False, spectral)]
        self.blocks = nn.Sequential(*blocks)
        self.compare = compares(inputs, kernels, plan.minibatch_dimensions)
        self.score = dense(inputs + kernels, 1, spectral)

    def forward(self, images: FloatImages, condition: Tensor | None = None) -> CriticOutput:
        features = self.compare(F.relu(self.blocks(images)).sum((2, 3)))
        return CriticOutput(self.score(features).squeeze(1), "score", features)


def built(
    network: nn.Module, initialisation: Literal["glorot", "orthogonal"] = "glorot"
) -> nn.Module:
    """Return the network with its weights drawn and its state settled, in channels_last.

    Example:
        >>> bool(built(ConditionalBatchNorm2d(2, 3)).gain.weight.any())  # settled
        False
    """
    if initialisation == "orthogonal":
        initialise_orthogonal(network)
        return channels_last(network)
    initialise_glorot(network)
    for module in network.modules():
        if isinstance(module, UpsampleConv):
            nn.init.xavier_uniform_(module.weight)
        if isinstance(module, ConditionalBatchNorm2d | _SPECTRAL):
            module.settle()
    return channels_last(network)

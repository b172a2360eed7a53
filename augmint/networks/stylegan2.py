"""StyleGAN2: a mapping to styles, convolutions that styles modulate, images summed over scales.

Written from Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN"
(1912.04958), configuration F, in plain torch: no compiled extension, any device. Weights are drawn
from N(0, 1) and scaled at run time by 1 / sqrt(fan_in) (equalised learning rate, Karras et al.
2018, 1710.10196, section 4.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augmint.core.errors import UsageError
from augmint.core.registry import ARCHITECTURES
from augmint.core.types import CriticOutput
from augmint.networks.base import CriticArchitecture, GeneratorArchitecture
from augmint.networks.blocks import Embeds, Filtering, channels_last, flattened
from augmint.networks.dcgan import doublings
from augmint.networks.resnet import SMALLEST_GRID, check_residual
from augmint.networks.sizes import refuse_condition
from augmint.networks.stochastic import MinibatchDeviation

if TYPE_CHECKING:
    from augmint.core.types import FloatImages, Latents, Shape

GAIN = 2.0**0.5
"""Keeps the variance through a leaky ReLU of slope 0.2, nearly."""

GROUP = 4
"""Samples of a group whose standard deviation the critic may see."""


def activate(x: Tensor) -> Tensor:
    """Return `sqrt(2) · leaky_relu(x, 0.2)`.

    Example:
        >>> activate(torch.tensor([-5.0, 1.0]))
        tensor([-1.4142,  1.4142])
    """
    return F.leaky_relu(x, 0.2) * GAIN


class EqualLinear(Filtering, nn.Module):
    """A dense layer whose weight is N(0, 1) / rate at first and multiplied by rate / sqrt(fan_in).

    `rate` below 1 slows the layer's learning by that factor (Karras et al. 2019, 1812.04948).

    Example:
        >>> layer = EqualLinear(4, 1, bias=1.0)
        >>> _ = nn.init.ones_(layer.weight)
        >>> layer(torch.ones(1, 4)).item()  # 4 / sqrt(4) + 1
        3.0
    """

    def __init__(self, inputs: int, outputs: int, rate: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.rate = rate
        self.scale = rate / inputs**0.5
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias * self.rate)


class EqualEmbedding(Embeds, EqualLinear):
    """An `EqualLinear` of a code.

    Example:
        >>> from augmint.networks.blocks import filters
        >>> [len(filters(kind(3, 2))) for kind in (EqualLinear, EqualEmbedding)]
        [1, 0]
    """


class EqualConv2d(Filtering, nn.Module):
    """A convolution that keeps the size (or halves it, blurred first), with equalised weights.

    Example:
        >>> images = torch.zeros(1, 2, 8, 6)
        >>> EqualConv2d(2, 3, 3)(images).shape, EqualConv2d(2, 3, 3, halves=True)(images).shape
        (torch.Size([1, 3, 8, 6]), torch.Size([1, 3, 4, 3]))
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, halves: bool = False) -> None:
        super().__init__()
        self.kernel, self.halves = kernel, halves
        self.scale = (inputs * kernel**2) ** -0.5
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))

    def forward(self, images: FloatImages) -> FloatImages:
        weight = self.weight * self.scale
        if not self.halves:
            return F.conv2d(images, weight, padding=self.kernel // 2)
        # the blur's padding leaves room for the kernel, so that the side is halved exactly
        room = self.kernel - 1
        return F.conv2d(blur(images, 1 + (room + 1) // 2, 1 + room // 2), weight, stride=2)


def blur(images: FloatImages, before: int, after: int, gain: float = 1.0) -> FloatImages:
    """Filter with the kernel [1, 3, 3, 1] / 8 in both directions, after padding with zeros.

    Args:
        images: `(N, C, H, W)`.
        before, after: zeros added on the top and left, and on the bottom and right.
        gain: factor.

    Returns:
        `(N, C, H + before + after - 3, W + before + after - 3)`.

    Example:
        >>> blur(torch.full((1, 1, 1, 1), 64.0), 3, 3)[0, 0, :2]
        tensor([[1., 3., 3., 1.],
                [3., 9., 9., 3.]])
    """
    channels = images.shape[1]
    taps = images.new_tensor([1.0, 3.0, 3.0, 1.0]) / 8.0
    kernel = (torch.outer(taps, taps) * gain).expand(channels, 1, 4, 4)
    padded = F.pad(images, (before, after, before, after))
    return F.conv2d(padded, kernel, groups=channels)


def doubled(images: FloatImages) -> FloatImages:
    """Return images of twice the size: zeros between pixels, then the blur with gain 4.

    Example:
        >>> doubled(torch.ones(1, 1, 2, 2))[0, 0, 1]  # zeros lie beyond the edge
        tensor([0.7500, 1.0000, 1.0000, 0.7500])
    """
    n, channels, height, width = images.shape
    spread = images.new_zeros(n, channels, height, 2, width, 2)
    spread[:, :, :, 0, :, 0] = images
    return blur(spread.view(n, channels, 2 * height, 2 * width), 2, 1, 4.0)


class ModulatedConv2d(Filtering, nn.Module):
    """A convolution whose weight a style scales for each sample.

        w'_oik = s_i w_oik,   w''_oik = w'_oik / sqrt(Σ_ik w'_oik² + 1e-8)

    (Karras et al. 2020, eq. 1 and 3). Computed as `d_o · conv(s · x)` with d_o the divisor's
    inverse: the same numbers up to rounding, without a weight for each sample.

    Args:
        inputs, outputs: channels.
        kernel: side.
        style: width of a style.
        demodulates: divide; the layers that draw images do not.
        doubles: a transposed convolution of stride 2, then the blur.

    Example:
        >>> layer = ModulatedConv2d(8, 3, 1, style=4)
        >>> weights = layer(torch.eye(8).view(8, 8, 1, 1), torch.ones(8, 4))
        >>> torch.allclose(weights.square().sum(0).flatten(), torch.ones(3), atol=1e-4)
        True
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        style: int,
        demodulates: bool = True,
        doubles: bool = False,
    ) -> None:
        super().__init__()
        self.kernel, self.demodulates, self.doubles = kernel, demodulates, doubles
        self.scale = (inputs * kernel**2) ** -0.5
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.affine = EqualLinear(style, inputs, bias=1.0)

    def forward(self, images: FloatImages, style: Tensor) -> FloatImages:
        weight, scales = self.weight * self.scale, self.affine(style)
        x = images * scales[:, :, None, None]
        if self.doubles:
            x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
            x = blur(x, 1, 1, 4.0)
        else:
            x = F.conv2d(x, weight, padding=self.kernel // 2)
        if not self.demodulates:
            return x
        norms = scales.square() @ weight.square().sum((2, 3)).T
        return x * (norms + 1e-8).rsqrt()[:, :, None, None]


class StyledLayer(nn.Module):
    """A modulated convolution, noise of a learned strength, a bias, a leaky ReLU.

    The noise is one N(0, 1) number a pixel, new for each image in training and the same for all in
    evaluation, so that an image depends on its latent alone.

    Example:
        >>> layer = StyledLayer(4, 2, 3, (6, 8), doubles=True)
        >>> layer(torch.zeros(1, 4, 3, 4), torch.zeros(1, 3)).shape
        torch.Size([1, 2, 6, 8])
    """

    noise: Tensor

    def __init__(
        self, inputs: int, outputs: int, style: int, size: tuple[int, int], doubles: bool
    ) -> None:
        super().__init__()
        self.convolution = ModulatedConv2d(inputs, outputs, 3, style, doubles=doubles)
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("noise", torch.randn(1, 1, *size))

    def forward(self, images: FloatImages, style: Tensor) -> FloatImages:
        x = self.convolution(images, style)
        noise = self.noise
        if self.training:
            noise = torch.randn(len(x), *noise.shape[1:], device=x.device, dtype=x.dtype)
        return activate(x + self.strength * noise + self.bias[:, None, None])


class Mapping(nn.Module):
    """Latent and condition to a style, `(N, width)`.

    The latent is scaled to unit mean square; a condition passes through a dense layer, is scaled
    likewise and joins it; then `depth` dense layers with leaky ReLU, learning at a hundredth of the
    rate.

    Example:
        >>> mapping, latent = Mapping(4, 8, 2, 0), torch.tensor([[1.0, 2.0, 0.0, -2.0]])
        >>> torch.allclose(mapping(latent), mapping(5.0 * latent), atol=1e-5)
        True
    """

    def __init__(self, latent: int, width: int, depth: int, condition: int) -> None:
        super().__init__()
        self.embedding = EqualEmbedding(condition, width) if condition else None
        widths = [latent + (width if condition else 0), *[width] * depth]
        self.layers = nn.ModuleList(EqualLinear(a, b, rate=0.01) for a, b in pairwise(widths))

    def forward(self, latent: Latents, condition: Tensor | None = None) -> Tensor:
        x = unit(latent)
        if self.embedding is not None:
            x = torch.cat((x, unit(self.embedding(condition))), 1)
        for layer in self.layers:
            x = activate(layer(x))
        return x


def unit(x: Tensor) -> Tensor:
    """Scale rows to a mean square of 1.

    Example:
        >>> unit(torch.tensor([[1.0, 7.0]]))  # the mean square was 25
        tensor([[0.2000, 1.4000]])
    """
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def widths_of(channels: int, widest: int, k: int) -> list[int]:
    """Return the widths of the maps from the grid to the full size: doubled with each halving.

    Example:
        >>> widths_of(32, 128, 3)
        [128, 128, 64, 32]
    """
    return [min(channels * 2 ** (k - i), widest) for i in range(k + 1)]


def _check_widest(widest: int) -> None:
    if widest < 1:
        raise UsageError("the widest map is at least 1 wide", f"widest={widest}", "set widest: 256")


@ARCHITECTURES.register("stylegan2-generator")
@dataclass(frozen=True)
class StyleGan2Generator(GeneratorArchitecture):
    """StyleGAN2's generator: mapping, a learned constant, modulated layers, images summed up.

    A constant map on DCGAN's grid (4x4 for 8 to 128 px, 7x7 for 28) passes one styled layer; each
    doubling has two. After each size a 1x1 modulated convolution draws an image, which is added to
    the doubled one before it. A condition joins the mapping ("modulation"). In training, with
    probability `mixing`, the layers after a random one get the style of another latent (mixing
    regularisation, Karras et al. 2019, 1812.04948, section 3.1): of other noise and, where a latent
    is noise and code, the same code. The last image is not squashed.

    Args:
        channels: width of the map of the full size; each halving doubles it.
        widest: at most; 512 in the paper.
        style: width of a style; 512 in the paper.
        mapping_layers: 8 in the paper.
        mixing: probability, 0.9 in the paper; above 0 it takes latents with N(0, I) noise.

    Example:
        >>> network = StyleGan2Generator(channels=4, style=16).build(10, (1, 8, 8)).eval()
        >>> latent = torch.randn(2, 10)
        >>> styles = network.styles(latent)
        >>> styles.shape  # three layers, and the one that only draws
        torch.Size([2, 4, 16])
        >>> torch.equal(network.synthesise(styles), network(latent))
        True
    """

    channels: int = 32
    widest: int = 256
    style: int = 128
    mapping_layers: int = 8
    mixing: float = 0.9
    channels_last: ClassVar[bool] = True
    bounded: ClassVar[bool] = False
    gives: ClassVar[frozenset[str]] = frozenset({"styles"})
    condition_modes: ClassVar[frozenset[str]] = frozenset({"modulation"})

    @property
    def redraws(self) -> bool:  # type: ignore[override]
        return self.mixing > 0.0

    def check_shape(self, shape: Shape) -> None:
        check_residual("stylegan2-generator", self.channels, shape)
        _check_widest(self.widest)
        if self.style < 1 or self.mapping_layers < 1 or not 0.0 <= self.mixing <= 1.0:
            raise UsageError(
                "a style has a width, a mapping a layer, and mixing is a probability",
                f"style={self.style}, mapping_layers={self.mapping_layers}, mixing={self.mixing}",
                "set style: 128, mapping_layers: 8, mixing: 0.9",
            )

    def build(self, latent_width: int, shape: Shape, condition_width: int = 0) -> nn.Module:
        self.check_shape(shape)
        return channels_last(_Generator(self, latent_width, shape, condition_width))


class _Generator(nn.Module):
    def __init__(self, plan: StyleGan2Generator, latent: int, shape: Shape, condition: int) -> None:
        super().__init__()
        outputs, height, width = shape
        k = doublings(height, width, SMALLEST_GRID)
        widths = widths_of(plan.channels, plan.widest, k)
        grid = (height // 2**k, width // 2**k)
        self.mixing = plan.mixing
        self.redrawn = latent
        self.mapping = Mapping(latent, plan.style, plan.mapping_layers, condition)
        self.constant = nn.Parameter(torch.randn(1, widths[0], *grid))
        layers = [StyledLayer(widths[0], widths[0], plan.style, grid, False)]
        for i in range(1, k + 1):
            size = (grid[0] * 2**i, grid[1] * 2**i)
            layers += [StyledLayer(widths[i - 1], widths[i], plan.style, size, True)]
            layers += [StyledLayer(widths[i], widths[i], plan.style, size, False)]
        self.layers = nn.ModuleList(layers)
        self.draws = nn.ModuleList(
            ModulatedConv2d(w, outputs, 1, plan.style, demodulates=False) for w in widths
        )
        self.biases = nn.ParameterList(torch.zeros(outputs, 1, 1) for _ in widths)

    def styles(self, latent: Latents, condition: Tensor | None = None) -> Tensor:
        """Return a style for each layer, `(N, layers + 1, width)`; the last one draws only."""
        count = len(self.layers) + 1
        style = self.mapping(latent, condition)
        styles: Tensor = style[:, None].expand(-1, count, -1)
        if not self.training or self.mixing == 0.0:
            return styles
        noise = torch.randn_like(latent)[:, : self.redrawn]
        # the rest of the latent says what the image shows, which holds for all of its layers
        other = self.mapping(torch.cat((noise, latent[:, self.redrawn :]), 1), condition)
        mixed = torch.rand(len(latent), 1, device=latent.device) < self.mixing
        first = torch.randint(1, count, (len(latent), 1), device=latent.device)
        later = torch.arange(count, device=latent.device) >= first
        return torch.where((mixed & later)[:, :, None], other[:, None], styles)

    def synthesise(self, styles: Tensor) -> FloatImages:
        """Return the images of styles."""
        x = self.layers[0](self.constant.expand(len(styles), -1, -1, -1), styles[:, 0])
        images: Tensor = self.draws[0](x, styles[:, 1]) + self.biases[0]
        for i in range(1, len(self.draws)):
            x = self.layers[2 * i - 1](x, styles[:, 2 * i - 1])
            x = self.layers[2 * i](x, styles[:, 2 * i])
            images = doubled(images) + self.draws[i](x, styles[:, 2 * i + 1]) + self.biases[i]
        return images

    def forward(self, latent: Latents, condition: Tensor | None = None) -> FloatImages:
        return self.synthesise(self.styles(latent, condition))


@ARCHITECTURES.register("stylegan2-critic")
@dataclass(frozen=True)
class StyleGan2Critic(CriticArchitecture):
    """StyleGAN2's residual critic.

    A 1x1 convolution from the image, residual blocks that halve down to DCGAN's grid, a 3x3
    convolution, a dense layer (the features) and a dense score. With `deviation` one more map
    before the last convolution holds the standard deviation over groups of 4 samples, averaged over
    maps and positions (Karras et al. 2018, 1710.10196, section 3): the paper has it. It couples
    the samples of a batch, so that R1 has to be asked for with `coupled: true`. Without it nothing
    tells the critic that the images of a class are all alike.

    Args:
        channels: width of the map of the full size; each halving doubles it.
        widest: at most.
        deviation: append the standard deviation of the batch.

    Example:
        >>> output = StyleGan2Critic(channels=4).build((1, 16, 16))(torch.zeros(2, 1, 16, 16))
        >>> output.value.shape, output.features.shape  # 4 · 2² wide at 4x4
        (torch.Size([2]), torch.Size([2, 16]))
        >>> [StyleGan2Critic(deviation=deviation).batch_coupled for deviation in (False, True)]
        [False, True]
    """

    channels: int = 32
    widest: int = 256
    deviation: bool = False
    channels_last: ClassVar[bool] = True

    @property
    def batch_coupled(self) -> bool:  # type: ignore[override]
        return self.deviation

    @property
    def smallest_batch(self) -> int:  # type: ignore[override]
        return 2 if self.deviation else 1

    @property
    def compared(self) -> int:  # type: ignore[override]
        return GROUP if self.deviation else 1

    def check_shape(self, shape: Shape) -> None:
        check_residual("stylegan2-critic", self.channels, shape)
        _check_widest(self.widest)

    def feature_width(self, shape: Shape) -> int:
        k = doublings(shape[1], shape[2], SMALLEST_GRID)
        return widths_of(self.channels, self.widest, k)[0]

    def build(self, shape: Shape, condition_width: int = 0, appended: int = 0) -> nn.Module:
        refuse_condition("stylegan2-critic", condition_width)
        self.check_shape(shape)
        return channels_last(_Critic(self, shape))


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = EqualConv2d(inputs, inputs, 3)
        self.conv2 = EqualConv2d(inputs, outputs, 3, halves=True)
        self.skip = EqualConv2d(inputs, outputs, 1, halves=True)
        self.bias1 = nn.Parameter(torch.zeros(inputs, 1, 1))
        self.bias2 = nn.Parameter(torch.zeros(outputs, 1, 1))

    def forward(self, images: FloatImages) -> FloatImages:
        x = activate(self.conv1(images) + self.bias1)
        x = activate(self.conv2(x) + self.bias2)
        result: Tensor = (x + self.skip(images)) / GAIN
        return result


class _Critic(nn.Module):
    def __init__(self, plan: StyleGan2Critic, shape: Shape) -> None:
        super().__init__()
        inputs, height, width = shape
        k = doublings(height, width, SMALLEST_GRID)
        widths = widths_of(plan.channels, plan.widest, k)[::-1]
        cells = (height // 2**k) * (width // 2**k)
        self.read = EqualConv2d(inputs, widths[0], 1)
        self.read_bias = nn.Parameter(torch.zeros(widths[0], 1, 1))
        self.blocks = nn.Sequential(*(_Block(a, b) for a, b in pairwise(widths)))
        self.deviation = MinibatchDeviation(GROUP) if plan.deviation else nn.Identity()
        self.last = EqualConv2d(widths[-1] + plan.deviation, widths[-1], 3)
        self.last_bias = nn.Parameter(torch.zeros(widths[-1], 1, 1))
        self.dense = EqualLinear(widths[-1] * cells, widths[-1])
        self.score = EqualLinear(widths[-1], 1)

    def forward(self, images: FloatImages, condition: Tensor | None = None) -> CriticOutput:
        x = self.blocks(activate(self.read(images) + self.read_bias))
        x = activate(self.last(self.deviation(x)) + self.last_bias)
        features = activate(self.dense(flattened(x)))
        return CriticOutput(self.score(features).squeeze(1), "score", features)

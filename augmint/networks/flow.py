"""A flow generator: a small U-net gives a velocity,
whose ordinary differential equation makes images.

    dx/dt = v(x, t, c),   x(0) = z ~ N(0, I),   the image is x(1)

(Lipman et al. 2022, 2210.02747; Liu, Gong and Liu 2022, 2209.03003). The latent has one number a
pixel and decides the image: nothing is drawn on the way. The network is trained by the objective
`flow-matching`, without a critic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augmint.core.errors import UsageError
from augmint.core.registry import ARCHITECTURES
from augmint.networks.base import GeneratorArchitecture
from augmint.networks.blocks import UpsampleConv
from augmint.networks.dcgan import check_width, doublings
from augmint.networks.sizes import SMALLEST, check_size

if TYPE_CHECKING:
    from augmint.core.types import FloatImages, Latents, Shape

Method = Literal["euler", "midpoint", "heun"]
LARGEST = 64
FREQUENCIES = 16
SMALL = 0.1
"""Factor on the weights of each layer that ends a residual branch, and of the one that draws."""


def integrate(
    velocity: Callable[[Tensor, float], Tensor], start: Tensor, steps: int, method: Method
) -> Tensor:
    """Return x(1) of dx/dt = v(x, t) from x(0) = `start`, by equal steps of length h = 1 / steps.

    | method | a step from (x, t) | order | evaluations |
    |---|---|---|---|
    | euler | x + h v(x, t) | 1 | 1 |
    | midpoint | x + h v(x + h/2 v(x, t), t + h/2) | 2 | 2 |
    | heun | x + h/2 (v(x, t) + v(x + h v(x, t), t + h)) | 2 | 2 |

    Example:
        >>> integrate(lambda x, t: x, torch.ones(1), 2, "midpoint")  # (1 + h + h²/2)²
        tensor([2.6406])
    """
    h, x = 1.0 / steps, start
    reach = {"euler": 0.0, "midpoint": 0.5, "heun": 1.0}[method]
    for i in range(steps):
        slope = velocity(x, i * h)
        if reach:
            further = velocity(x + reach * h * slope, (i + reach) * h)
            share = 0.5 / reach
            slope = (1.0 - share) * slope + share * further if share < 1.0 else further
        x = x + h * slope
    return x


class Residual(nn.Module):
    """A residual block whose second normalisation an embedding e scales and shifts.

        y = x' + conv(silu((1 + A e) · norm(conv(silu(norm(x)))) + B e)),   x' = x or a 1x1 of it

    Normalisation is over groups of channels of one image (Wu and He 2018, 1803.08494).

    Args:
        inputs, outputs: channels.
        embedding: width of e; 0 for none.

    Example:
        >>> Residual(4, 8, 3)(torch.zeros(2, 4, 6, 6), torch.zeros(2, 3)).shape
        torch.Size([2, 8, 6, 6])
    """

    def __init__(self, inputs: int, outputs: int, embedding: int) -> None:
        super().__init__()
        self.norm1 = group_norm(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.film = nn.Linear(embedding, 2 * outputs) if embedding else None
        self.norm2 = group_norm(outputs)
        self.conv2 = small(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, images: FloatImages, embedding: Tensor | None = None) -> FloatImages:
        x = self.norm2(self.conv1(F.silu(self.norm1(images))))
        if self.film is not None:
            gain, shift = self.film(embedding)[:, :, None, None].chunk(2, 1)
            x = torch.addcmul(shift, x, 1.0 + gain)
        result: Tensor = self.skip(images) + self.conv2(F.silu(x))
        return result


class Residuals(nn.ModuleList):
    """Residual blocks in a row, which an embedding reaches.

    Args:
        channels: of what they give.
        inputs: of what each takes, as multiples of that.
        embedding: its width.

    Example:
        >>> blocks = Residuals(4, [2, 1], 0)
        >>> blocks(torch.zeros(2, 8, 6, 6)).shape
        torch.Size([2, 4, 6, 6])
    """

    def __init__(self, channels: int, inputs: Sequence[int], embedding: int) -> None:
        super().__init__(Residual(n * channels, channels, embedding) for n in inputs)

    def forward(self, images: FloatImages, embedding: Tensor | None = None) -> FloatImages:
        for block in self:
            images = block(images, embedding)
        return images


class Attend(nn.Module):
    """Every position looks at every other: y = x + W softmax(q k^T / sqrt(d)) v, after a norm.

    Example:
        >>> layer, images = Attend(4), torch.rand(2, 4, 3, 5)
        >>> torch.allclose(layer(images).flip(3), layer(images.flip(3)), atol=1e-5)
        True
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.mixed = nn.Conv2d(channels, 3 * channels, 1)
        self.out = small(nn.Conv2d(channels, channels, 1))

    def forward(self, images: FloatImages) -> FloatImages:
        query, key, value = self.mixed(self.norm(images)).flatten(2).transpose(1, 2).chunk(3, 2)
        seen = F.scaled_dot_product_attention(query, key, value)
        result: Tensor = images + self.out(seen.transpose(1, 2).reshape(images.shape))
        return result


def group_norm(channels: int) -> nn.GroupNorm:
    """Return a normalisation over groups of four channels or more, eight groups at most.

    Fewer than four channels are one group.

    Example:
        >>> [group_norm(channels).num_groups for channels in (3, 8, 48, 100)]
        [1, 2, 8, 5]
    """
    groups = next(g for g in range(min(8, max(channels // 4, 1)), 0, -1) if channels % g == 0)
    return nn.GroupNorm(groups, channels)


def small(layer: nn.Conv2d) -> nn.Conv2d:
    """Scale a layer's first weights by `SMALL`, so that what it adds begins small.

    Example:
        >>> layer = nn.Conv2d(1, 1, 1)
        >>> _ = nn.init.ones_(layer.weight)
        >>> round(small(layer).weight.item(), 6)
        0.1
    """
    with torch.no_grad():
        layer.weight.mul_(SMALL)
    return layer


def patches(patch: int | None, shape: Shape) -> tuple[int, int]:
    """Return the side of the blocks of pixels, and how often their map can be halved.

    Example:
        >>> patches(None, (1, 28, 28)), patches(None, (1, 8, 8)), patches(1, (3, 64, 64))
        ((2, 1), (1, 1), (1, 4))
    """
    _, height, width = shape
    side = patch or (1 if min(height, width) < 16 else 2)
    return side, doublings(height // side, width // side, 4)


def check_patched(name: str, patch: int | None, shape: Shape) -> None:
    """Raise `UsageError` for blocks of pixels that do not fit a size, or leave a map too small."""
    if patch is not None and not 1 <= patch <= 8:
        raise UsageError(f"patch of {name} is 1 to 8", patch, "set patch: 2")

    def fits(height: int, width: int) -> bool:
        side, halvings = patches(patch, (1, height, width))
        return height % side == width % side == 0 and halvings >= 1

    rule = (
        f"{name} makes sizes of {SMALLEST} to {LARGEST} px whose map of patches can be halved and "
        "keeps 4 rows and columns"
    )
    check_size(shape, rule, fits, largest=LARGEST)


@ARCHITECTURES.register("flow-unet")
@dataclass(frozen=True)
class FlowUnet(GeneratorArchitecture):
    """A U-net that gives the velocity of a flow; images are made by following it from noise.

    Blocks of `patch` x `patch` pixels become channels; the map is then halved k times, as often as
    both sides are even and the smaller one stays at least 4 (28 px: 14x14, 7x7), and doubled back
    with concatenated skips. Widths are `channels` at the finest map and twice that below. Time and
    condition join in one embedding that scales and shifts every block ("conditional-norm"). Sizes
    8 to 64 px with k >= 1.

    The latent has one number for each pixel and channel. An image costs `steps` evaluations of the
    network with "euler", twice as many with the others, and twice these again with guidance.

    Guidance w follows v(x, t, ∅) + w (v(x, t, c) - v(x, t, ∅)) (Ho and Salimans 2022, 2207.12598):
    above 1 the condition weighs more and images vary less. It needs an objective that drops
    conditions in training.

    Args:
        channels: width of the finest map.
        blocks: residual blocks for each map, down and up.
        attention: a layer of self-attention at the coarsest map.
        patch: side of the blocks of pixels; None: 1 below 16 px, else 2.
        method: how the equation is solved (`integrate`).
        steps: of the solution.
        guidance: w.

    Example:
        >>> network = FlowUnet(channels=4, steps=2).build(64, (1, 8, 8))
        >>> for weight in network.unet.draw.parameters():  # v = 0: nothing moves
        ...     _ = nn.init.zeros_(weight)
        >>> latent = torch.randn(2, 64)
        >>> torch.equal(network(latent), latent.view(2, 1, 8, 8))
        True
    """

    channels: int = 48
    blocks: int = 1
    attention: bool = True
    patch: int | None = None
    method: Method = "midpoint"
    steps: int = 8
    guidance: float = 1.0
    bounded: ClassVar[bool] = False
    adversarial: ClassVar[bool] = False
    truncates: ClassVar[bool] = False
    gives: ClassVar[frozenset[str]] = frozenset({"velocity"})
    condition_modes: ClassVar[frozenset[str]] = frozenset({"conditional-norm"})

    @property
    def asks(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset({"dropped conditions"} if self.guidance != 1.0 else ())

    def check_shape(self, shape: Shape) -> None:
        check_width(self.channels)
        for name, value, most in (("blocks", self.blocks, 16), ("steps", self.steps, 1000)):
            if not 1 <= value <= most:
                raise UsageError(f"{name} of flow-unet is 1 to {most}", value, f"set {name}: 2")
        if not 0.0 <= self.guidance <= 100.0:
            raise UsageError("guidance is 0 to 100", self.guidance, "set guidance: 1.0")

        check_patched("flow-unet", self.patch, shape)

    def latent_needed(self, shape: Shape) -> int | None:
        return math.prod(shape)

    def build(self, latent_width: int, shape: Shape, condition_width: int = 0) -> nn.Module:
        self.check_shape(shape)
        self.check_latent("flow-unet", latent_width, shape)
        return _Flow(self, shape, condition_width)


class _Flow(nn.Module):
    def __init__(self, plan: FlowUnet, shape: Shape, condition: int) -> None:
        super().__init__()
        self.plan, self.shape = plan, shape
        self.side, k = patches(plan.patch, shape)
        width = 4 * plan.channels
        self.time = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.condition = nn.Linear(condition, width) if condition else None
        self.unet = _Unet(plan, shape[0] * self.side**2, k, width)
        # not a buffer: it is a constant of the formula
        self.frequencies = [64.0 ** (i / (FREQUENCIES - 1)) for i in range(FREQUENCIES)]

    def velocity(
        self,
        images: FloatImages,
        times: Tensor,
        condition: Tensor | None = None,
        kept: Tensor | None = None,
    ) -> FloatImages:
        """Return v(x, t, c), of the images' shape.

        Args:
            images: x, `(N, C, H, W)`.
            times: t in [0, 1], `(N,)`.
            condition: c, `(N, condition_width)`.
            kept: `(N,)`, 1 where the condition is heeded and 0 where it is not; None: everywhere.
        """
        angles = times[:, None] * times.new_tensor(self.frequencies)
        embedding: Tensor = self.time(torch.cat((angles.sin(), angles.cos()), 1))
        if self.condition is not None:
            told = self.condition(condition)
            embedding = embedding + (told if kept is None else told * kept[:, None])
        maps = self.unet(F.pixel_unshuffle(images, self.side), F.silu(embedding))
        return F.pixel_shuffle(maps, self.side).to(images.dtype)

    def forward(self, latent: Latents, condition: Tensor | None = None) -> FloatImages:
        plan = self.plan
        start = latent.reshape(len(latent), *self.shape)

        def field(images: Tensor, time: float) -> Tensor:
            times = images.new_full((len(images),), time)
            if plan.guidance == 1.0 or self.condition is None or condition is None:
                return self.velocity(images, times, condition)
            kept = torch.cat((torch.zeros_like(times), torch.ones_like(times)))
            both, again = torch.cat((images, images)), torch.cat((times, times))
            asked = torch.cat((condition, condition))
            free, told = self.velocity(both, again, asked, kept).chunk(2)
            return free + plan.guidance * (told - free)

        return integrate(field, start, plan.steps, plan.method)


class _Unet(nn.Module):
    def __init__(self, plan: FlowUnet, channels: int, k: int, embedding: int) -> None:
        super().__init__()
        widths = [plan.channels, *[2 * plan.channels] * k]
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        pairs = list(pairwise(widths))
        once = [1] * plan.blocks
        self.downs = nn.ModuleList(Residuals(fine, once, embedding) for fine, _ in pairs)
        self.halves = nn.ModuleList(nn.Conv2d(fine, coarse, 3, 2, 1) for fine, coarse in pairs)
        pairs.reverse()
        twice = [2, *once[1:]]
        self.doubles = nn.ModuleList(UpsampleConv(coarse, fine) for fine, coarse in pairs)
        self.ups = nn.ModuleList(Residuals(fine, twice, embedding) for fine, _ in pairs)
        self.before = Residual(widths[-1], widths[-1], embedding)
        self.attend = Attend(widths[-1]) if plan.attention else nn.Identity()
        self.after = Residual(widths[-1], widths[-1], embedding)
        self.norm = group_norm(widths[0])
        self.draw = small(nn.Conv2d(widths[0], channels, 3, padding=1))

    def forward(self, maps: Tensor, embedding: Tensor) -> Tensor:
        x, skips = self.stem(maps), []
        for blocks, halve in zip(self.downs, self.halves, strict=True):
            skips.append(blocks(x, embedding))
            x = halve(skips[-1])
        x = self.after(self.attend(self.before(x, embedding)), embedding)
        for double, blocks in zip(self.doubles, self.ups, strict=True):
            x = blocks(torch.cat((double(x), skips.pop()), 1), embedding)
        drawn: Tensor = self.draw(F.silu(self.norm(x)))
        return drawn

"""Adaptive discriminator augmentation: as much change as the critic needs not to overfit.

Each change is applied to each image with one probability p. As long as p is below 1 the share of
unchanged images lets the generator find the unchanged distribution (Karras et al. 2020, arXiv
2006.06676, section 2.2): with probability p a change is drawn that has an inverse, or whose
distribution has one, and the mean over both cases is invertible.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from augmint.aspects.base import CoordinateMap
from augmint.augmentation.base import AdaptiveAugmenter, moved
from augmint.augmentation.geometric import affine_map, check_range, warp_images
from augmint.core.errors import UsageError
from augmint.core.registry import AUGMENTERS

if TYPE_CHECKING:
    from torch import Tensor

    from augmint.aspects.base import Schema
    from augmint.core.streams import Stream
    from augmint.core.types import AspectValues, Logs, State

Kind = Literal["blit", "geometry", "colour"]

SHIFT, SCALE, FRACTION = 0.125, 0.2, 0.125
BRIGHTNESS, CONTRAST, SATURATION = 0.2, 0.5, 1.0
"""Strengths of the paper's appendix B; scale, contrast and saturation are powers of 2."""


@dataclass(frozen=True)
class Draws:
    """One row an image: which changes are on, and how strong each would be.

    Args:
        on: booleans `(N, 13)`, the columns in the order of `NAMES`.
        unit: `(N, 8)` uniform in [0, 1).
        normal: `(N, 7)` from N(0, 1).

    Example:
        >>> on = torch.arange(26).view(2, 13) == NAMES["luma"]
        >>> draws = Draws(on, torch.zeros(2, 8), torch.zeros(2, 7))
        >>> draws.drawn("luma", torch.tensor([-1.0, -1.0]), rest=1.0).tolist()
        [-1.0, 1.0]
    """

    on: Tensor
    unit: Tensor
    normal: Tensor

    def drawn(self, name: str, value: Tensor, rest: float) -> Tensor:
        """Return the value where the change `name` is on, and `rest` where it is off."""
        on = self.on[:, NAMES[name]]
        on = on if value.ndim == 1 else on[:, None]
        return torch.where(on, value, torch.full_like(value, rest))


NAMES = {
    name: i
    for i, name in enumerate(
        (
            *("mirror", "quarter", "shift"),
            *("scale", "turn", "stretch", "turn_again", "fraction"),
            *("brightness", "contrast", "luma", "hue", "saturation"),
        )
    )
}
_GROUPS: dict[Kind, slice] = {"blit": slice(0, 3), "geometry": slice(3, 8), "colour": slice(8, 13)}


@AUGMENTERS.register("ada")
@dataclass(frozen=True)
class Ada(AdaptiveAugmenter):
    """Changes what the critic sees with a probability p that follows how much it overfits (Karras
    et al. 2020, arXiv 2006.06676).

        r_t = E sign(D(x) - b),    p <- clip(p + sign(r_t - target) · shown / (1000 · kimg), 0, 1)

    every `interval` critic steps, with x the (augmented) real images since the last time and b
    the objective's `boundary` between real and generated. Changes, each with probability p for
    each image: mirrored, turned by quarters, shifted by whole pixels ("blit"); scaled, turned,
    stretched, shifted ("geometry"; each of two turns with 1 - sqrt(1 - p)); brightness, contrast,
    luma flip and, of RGB, hue and saturation ("colour", not clipped). All moves are one bilinear
    resampling with mirrored edges, where the paper filters by a wavelet at twice the size; rows
    that nothing moves are not resampled.

    Args:
        groups: which are on; the three are the paper's best set, bgc.
        p: a fixed probability, 0 to 1, instead of one that adapts from 0.
        target: r_t that is aimed at, -1 to 1; higher values augment less.
        interval: critic steps between two changes of p.
        kimg: thousands of real images shown in which p can go from 0 to 1.

    Example:
        >>> ada = Ada(interval=1, kimg=1.0)
        >>> state, _ = ada.adapt(torch.ones(8), 250, ada.init_state())
        >>> state, _ = ada.adapt(torch.ones(8), 250, state)
        >>> state["p"].item()
        0.25
    """

    differentiable: ClassVar[bool] = True
    groups: tuple[Kind, ...] = ("blit", "geometry", "colour")
    p: float | None = None
    target: float = 0.6
    interval: int = 4
    kimg: float = 500.0

    def __post_init__(self) -> None:
        if not self.groups or len(set(self.groups)) != len(self.groups):
            raise UsageError(
                "ada names at least one group, each once",
                ", ".join(self.groups) or "none",
                "set groups to some of blit, geometry, colour, or augment: none",
            )
        if self.p is not None:
            check_range("ada p", self.p, 0.0, 1.0)
        check_range("ada target", self.target, -1.0, 1.0)
        if self.interval < 1 or self.kimg <= 0:
            raise UsageError(
                "ada adapts every 1 or more steps, over more than 0 images",
                f"interval={self.interval}, kimg={self.kimg:g}",
                "set interval: 4 and kimg: 500",
            )

    @property
    def adapts(self) -> bool:  # type: ignore[override]
        return self.p is None

    @property
    def mirrors(self) -> bool:  # type: ignore[override]
        return "blit" in self.groups

    def init_state(self) -> State:
        """Return p, the sum of the signs' means since it moved, and the number of steps of it."""
        return {"p": torch.zeros(()), "signs": torch.zeros(()), "seen": 0}

    def adapt(self, real: Tensor, shown: int, state: State) -> tuple[State, Logs]:
        """Move p if `interval` steps were counted, then count this one.

        What was counted is read at the next step's call: by then processes that share a batch
        have agreed on its mean.

        Args:
            real: what the critic says of real images, less the boundary.
            shown: images of a step, over all processes.
            state: of `init_state`.
        """
        p, signs, seen = state["p"], state["signs"], state["seen"]
        if seen == self.interval:
            step = self.interval * shown / (1000.0 * self.kimg)
            p = (p + (signs / seen - self.target).sign() * step).clamp(0.0, 1.0)
            signs, seen = torch.zeros_like(signs), 0
        sign = real.detach().float().sign().mean()
        return (
            {"p": p, "signs": signs + sign, "seen": seen + 1},
            {"augment_p": p, "real_sign": sign},
        )

    def __call__(
        self,
        images: Tensor,
        aspects: AspectValues,
        schema: Schema,
        stream: Stream,
        state: State | None = None,
    ) -> tuple[Tensor, AspectValues]:
        draws = self.draw(stream, self._probability(state), images.device)
        if "colour" in self.groups:
            images = recolour(images, *colours(draws, images.shape[1]))
        if "blit" in self.groups or "geometry" in self.groups:
            size = (images.shape[-2], images.shape[-1])
            coordinates = movement(draws, size, self.groups)
            still = ~draws.on[:, : _GROUPS["geometry"].stop].any(1)
            warped = warp_images(images, coordinates, "reflection")
            images = torch.where(still[:, None, None, None], images, warped)
            aspects = moved(aspects, schema, coordinates)
        return images, aspects

    def _probability(self, state: State | None) -> float | Tensor:
        if self.p is not None:
            return self.p
        if not state:
            raise UsageError(
                "ada adapts to a critic, and there is none here",
                "p: none",
                "set a fixed p (p: 0.2), or take diff-augment",
            )
        p: Tensor = state["p"]
        return p

    def draw(self, stream: Stream, p: float | Tensor, device: torch.device | str = "cpu") -> Draws:
        """Draw which changes are on, with probability p, and their strengths.

        All numbers are always drawn: rows depend on their id alone, and switching a group on
        leaves the draws of the others as they were.
        """
        unit = stream.uniform(21).to(device, non_blocking=True)
        normal = stream.normal(7).to(device, non_blocking=True)
        limits = unit.new_zeros(len(NAMES)) + p
        # two turns are one with probability p: 1 - (1 - q)^2 = p
        turns = slice(NAMES["turn"], NAMES["turn_again"] + 1, 2)
        limits[turns] = 1.0 - (1.0 - limits[turns]).sqrt()
        on = unit[:, : len(NAMES)] < limits
        for kind, columns in _GROUPS.items():
            if kind not in self.groups:
                on[:, columns] = False
        return Draws(on, unit[:, len(NAMES) :], normal)


def movement(draws: Draws, size: tuple[int, int], groups: tuple[Kind, ...]) -> CoordinateMap:
    """Return blitting and geometry as one map: quarter turns and whole shifts first.

    The paper's order is mirror, quarter turn, whole shift, scale, turn, stretch, turn, shift.

    Example:
        >>> on = torch.arange(13)[None] == NAMES["mirror"]
        >>> mirrored = movement(Draws(on, torch.zeros(1, 8), torch.zeros(1, 7)), (8, 8), ("blit",))
        >>> mirrored.forward_points(torch.tensor([[[1.0, 2.0]]])).tolist()
        [[[7.0, 2.0]]]
    """
    unit, normal = draws.unit, draws.normal
    height, width = size
    maps = []
    if "blit" in groups:
        mirror = torch.where(unit[:, 0] < 0.5, -1.0, 1.0)
        reach = (unit[:, 2:4] * 2.0 - 1.0) * SHIFT
        shift = torch.stack((reach[:, 0] * width, reach[:, 1] * height), 1).round()
        maps.append(
            affine_map(
                size,
                draws.drawn("quarter", (unit[:, 1] * 4.0).floor() * 90.0, 0.0),
                shift=draws.drawn("shift", shift, 0.0),
                mirror=draws.drawn("mirror", mirror, 1.0),
            )
        )
    if "geometry" in groups:
        scale = draws.drawn("scale", torch.exp2(normal[:, 0] * SCALE), 1.0)
        turn = draws.drawn("turn", unit[:, 4] * 360.0 - 180.0, 0.0)
        maps.append(affine_map(size, turn, scale=scale[:, None].expand(-1, 2)))
        slide = torch.stack((normal[:, 2] * width, normal[:, 3] * height), 1) * FRACTION
        stretch = draws.drawn("stretch", torch.exp2(normal[:, 1] * SCALE), 1.0)
        maps.append(
            affine_map(
                size,
                draws.drawn("turn_again", unit[:, 5] * 360.0 - 180.0, 0.0),
                scale=torch.stack((stretch, 1.0 / stretch), 1),
                shift=draws.drawn("fraction", slide, 0.0),
            )
        )
    matrix = maps[0].matrix
    for later in maps[1:]:
        # maps run from output to input: what is done last is looked up first
        linear = matrix[:, :, :2] @ later.matrix
        matrix = torch.cat((linear[:, :, :2], linear[:, :, 2:] + matrix[:, :, 2:]), 2)
    return CoordinateMap(matrix, size)


def colours(draws: Draws, channels: int) -> tuple[Tensor, Tensor]:
    """Return the matrix `(N, C, C)` and the shift `(N,)` of the drawn changes of colour.

    With m the mean over channels, `x' = f c (m + b) + c s R (x - m)`: brightness b, contrast c,
    f = -1 where luma flips, saturation s and hue R of RGB only.

    Example:
        >>> on = torch.arange(13)[None] == NAMES["luma"]
        >>> matrix, _ = colours(Draws(on, torch.zeros(1, 8), torch.zeros(1, 7)), channels=1)
        >>> matrix.item()
        -1.0
    """
    unit, normal = draws.unit, draws.normal
    b = draws.drawn("brightness", normal[:, 4] * BRIGHTNESS, 0.0)
    c = draws.drawn("contrast", torch.exp2(normal[:, 5] * CONTRAST), 1.0)
    f = draws.drawn("luma", torch.where(unit[:, 6] < 0.5, -1.0, 1.0), 1.0)
    eye = torch.eye(channels, dtype=unit.dtype, device=unit.device)
    along, across = torch.ones_like(c), torch.zeros_like(eye)
    if channels == 3:
        angle = draws.drawn("hue", (unit[:, 7] * 2.0 - 1.0) * math.pi, 0.0)
        s = draws.drawn("saturation", torch.exp2(normal[:, 6] * SATURATION), 1.0)
        along = s * angle.cos()
        # Rodrigues' formula about the grey axis (1, 1, 1) / sqrt 3
        turned = (eye.roll(-1, 0) - eye.roll(1, 0)).T / math.sqrt(3.0)
        across = (s * angle.sin())[:, None, None] * turned
    # in this form nothing drawn is the identity to the last bit
    grey = (f - along)[:, None, None] / channels
    matrix = c[:, None, None] * (along[:, None, None] * eye + grey + across)
    return matrix, f * c * b


def recolour(images: Tensor, matrix: Tensor, shift: Tensor) -> Tensor:
    """Return `matrix @ pixel + shift`, not clipped.

    Example:
        >>> recolour(torch.ones(1, 1, 1, 1), torch.tensor([[[-1.0]]]), torch.tensor([0.25])).item()
        -0.75
    """
    matrix, shift = matrix.to(images.dtype), shift.to(images.dtype)
    if images.shape[1] == 1:
        return torch.addcmul(shift[:, None, None, None], images, matrix[:, :, :, None])
    return (matrix @ images.flatten(2) + shift[:, None, None]).view_as(images)

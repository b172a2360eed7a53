"""Shift, affine and flip: one coordinate map a batch, one pass of resampling.

Conventions are those of `augmint.aspects.base`: pixel centres, `align_corners=False`, maps from
output to input. Angles are degrees counter-clockwise as an image is looked at (y points down),
shifts are shares of the side, positive to the right and downwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn import functional

from augmint.aspects.base import CoordinateMap
from augmint.augmentation.base import GeometricAugmenter
from augmint.core.errors import UsageError
from augmint.core.registry import AUGMENTERS

if TYPE_CHECKING:
    from torch import Tensor

    from augmint.core.streams import Stream

Padding = Literal["border", "reflection", "fill"]
"""What lies outside the frame: the nearest pixel, the mirrored image, or the value `fill`."""


def affine_map(
    size: tuple[int, int],
    angle: Tensor,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    shear: Tensor | None = None,
    mirror: Tensor | None = None,
) -> CoordinateMap:
    """Return the map of `p_out = R K S F (p_in - c) + c + t`, inverted and normalised.

    F mirrors x, S scales, K = [[1, k_x], [k_y, 1]] shears, R rotates, t shifts, all about the
    centre c of the frame. With d = (2 / W, 2 / H), the map's linear part is
    `diag(d) (R K S F)^-1 diag(d)^-1` and its shift `-diag(d) (R K S F)^-1 t`.

    Args:
        size: height and width of the frame.
        angle: `(N,)` degrees, counter-clockwise as seen.
        scale: `(N, 2)` factors of x and y, above 0; above 1 enlarges.
        shift: `(N, 2)` pixels to the right and down.
        shear: `(N, 2)` the slopes k_x and k_y; k_x k_y is not 1.
        mirror: `(N,)` -1 where x is mirrored, else 1.

    Example:
        >>> right = affine_map((4, 4), torch.zeros(1), shift=torch.tensor([[2.0, 0.0]]))
        >>> right.matrix[0, 0, 2].item()
        -1.0
    """
    height, width = size
    radians = angle * (math.pi / 180.0)
    cos, sin = torch.cos(radians), torch.sin(radians)
    a, b, c, d = cos, -sin, sin, cos  # R^-1, row by row
    if shear is not None:
        kx, ky = shear.unbind(1)
        a, b, c, d = a - kx * c, b - kx * d, c - ky * a, d - ky * b
        determinant = 1.0 - kx * ky
        a, b, c, d = a / determinant, b / determinant, c / determinant, d / determinant
    if scale is not None:
        sx, sy = scale.unbind(1)
        a, b, c, d = a / sx, b / sx, c / sy, d / sy
    if mirror is not None:
        a, b = a * mirror, b * mirror
    if shift is None:
        tx = ty = torch.zeros_like(angle)
    else:
        tx, ty = shift.unbind(1)
        tx, ty = (a * tx + b * ty) * (-2.0 / width), (c * tx + d * ty) * (-2.0 / height)
    rows = (a, b * (height / width), tx, c * (width / height), d, ty)
    return CoordinateMap(torch.stack(rows, 1).view(-1, 2, 3), size)


def warp_images(
    images: Tensor,
    coordinates: CoordinateMap,
    padding: Padding = "border",
    fill: float = -1.0,
    mode: Literal["bilinear", "nearest"] = "bilinear",
) -> Tensor:
    """Return images `(N, C, H, W)` resampled through the map; differentiable in the images.

    Raises:
        UsageError: if images and map differ in size.

    Example:
        >>> right = affine_map((1, 4), torch.zeros(1), shift=torch.tensor([[1.0, 0.0]]))
        >>> row = torch.tensor([[[[0.0, 0.25, 0.5, 0.75]]]])
        >>> warp_images(row, right, "fill", mode="nearest").flatten().tolist()
        [-1.0, 0.0, 0.25, 0.5]
    """
    if tuple(images.shape[-2:]) != tuple(coordinates.size):
        raise UsageError(
            "a coordinate map has the size of its images",
            f"{coordinates.size} for {tuple(images.shape[-2:])}",
            "draw the map for this size",
        )
    grid = coordinates.grid().to(images.dtype)
    if padding != "fill":
        return functional.grid_sample(images, grid, mode, padding, align_corners=False)
    # zeros outside of `images - fill` are `fill` outside of the images
    return functional.grid_sample(images - fill, grid, mode, "zeros", align_corners=False).add(fill)


def spread(unit: Tensor, strength: float) -> Tensor:
    """Map draws in [0, 1) to [-strength, strength).

    Example:
        >>> spread(torch.tensor([0.0, 0.5, 0.75]), 3.0).tolist()
        [-3.0, 0.0, 1.5]
    """
    return unit.mul(2.0 * strength).sub(strength)


@AUGMENTERS.register("shift")
@dataclass(frozen=True)
class Shift(GeometricAugmenter):
    """Shifts by whole pixels, up to a share of each side; no pixel value is blended.

    Args:
        share: the largest shift over the side, 0 to 0.5, rounded to pixels (0.1 of 28: 3).
        padding: what comes in from outside.
        fill: the value outside, for padding "fill".

    Example:
        >>> from augmint.core.streams import stream
        >>> maps = Shift(share=0.25).draw(stream(0, "train", ids=100), (8, 8))
        >>> moved = maps.forward_points(torch.full((100, 1, 2), 4.0)) - 4.0
        >>> sorted({int(pixels) for pixels in moved.flatten().tolist()})
        [-2, -1, 0, 1, 2]
    """

    share: float = 0.1
    padding: Padding = "border"
    fill: float = -1.0

    def __post_init__(self) -> None:
        check_range("shift share", self.share, 0.0, 0.5)

    def draw(self, stream: Stream, size: tuple[int, int]) -> CoordinateMap:
        height, width = size
        reach = torch.tensor([round(self.share * width), round(self.share * height)])
        steps = (stream.uniform(2) * (2 * reach + 1)).floor() - reach
        return affine_map(size, torch.zeros(len(steps)), shift=steps)

    def resample(self, images: Tensor, coordinates: CoordinateMap) -> Tensor:
        return warp_images(images, coordinates, self.padding, self.fill, mode="nearest")


@AUGMENTERS.register("affine")
@dataclass(frozen=True)
class Affine(GeometricAugmenter):
    """Rotates, scales, shears and shifts by uniform draws, in one bilinear resampling.

    Args:
        rotation: largest angle either way, degrees, 0 to 180.
        scale: largest relative change; factors are exp(U(-s, s)) with s = log(1 + scale), so
            that enlarging and shrinking are equally likely.
        shift: largest shift over the side, 0 to 0.5.
        shear: largest slope of the x shear, 0 to 1.
        flip: probability of a horizontal flip before the rest, 0 to 1.
        padding: what comes in from outside.
        fill: the value outside, for padding "fill".

    Example:
        Without a shift the centre of the frame stays where it is.

        >>> from augmint.core.streams import stream
        >>> maps = Affine(rotation=180.0, shift=0.0).draw(stream(0, "train", ids=2), (8, 8))
        >>> maps.forward_points(torch.full((2, 1, 2), 4.0)).tolist()
        [[[4.0, 4.0]], [[4.0, 4.0]]]
    """

    rotation: float = 12.0
    scale: float = 0.1
    shift: float = 0.1
    shear: float = 0.1
    flip: float = 0.0
    padding: Padding = "border"
    fill: float = -1.0

    def __post_init__(self) -> None:
        check_range("affine rotation", self.rotation, 0.0, 180.0)
        check_range("affine scale", self.scale, 0.0, 1.0)
        check_range("affine shift", self.shift, 0.0, 0.5)
        check_range("affine shear", self.shear, 0.0, 1.0)
        check_range("affine flip", self.flip, 0.0, 1.0)

    @property
    def mirrors(self) -> bool:  # type: ignore[override]
        return self.flip > 0

    def draw(self, stream: Stream, size: tuple[int, int]) -> CoordinateMap:
        height, width = size
        unit = stream.uniform(6)
        factor = torch.exp(spread(unit[:, 1:2], math.log1p(self.scale)))
        shear = spread(unit[:, 4], self.shear)
        return affine_map(
            size,
            spread(unit[:, 0], self.rotation),
            scale=factor.expand(-1, 2),
            shift=spread(unit[:, 2:4], self.shift) * torch.tensor([width, height]),
            shear=torch.stack((shear, torch.zeros_like(shear)), 1) if self.shear else None,
            mirror=1.0 - 2.0 * (unit[:, 5] < self.flip).float() if self.flip else None,
        )

    def resample(self, images: Tensor, coordinates: CoordinateMap) -> Tensor:
        return warp_images(images, coordinates, self.padding, self.fill)


@AUGMENTERS.register("flip")
@dataclass(frozen=True)
class Flip(GeometricAugmenter):
    """Mirrors an image from left to right with a probability; pixel values stay exact.

    Args:
        probability: 0 to 1.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.core.streams import stream
        >>> row = torch.tensor([[[[0.0, 0.25, 0.5, 1.0]]]])
        >>> mirrored, _ = Flip(probability=1.0)(row, {}, Schema(()), stream(0, "train"))
        >>> mirrored.flatten().tolist()
        [1.0, 0.5, 0.25, 0.0]
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        check_range("flip probability", self.probability, 0.0, 1.0)

    @property
    def mirrors(self) -> bool:  # type: ignore[override]
        return self.probability > 0

    def draw(self, stream: Stream, size: tuple[int, int]) -> CoordinateMap:
        mirror = 1.0 - 2.0 * (stream.uniform(1)[:, 0] < self.probability).float()
        return affine_map(size, torch.zeros_like(mirror), mirror=mirror)

    def resample(self, images: Tensor, coordinates: CoordinateMap) -> Tensor:
        # centres fall on centres: nearest is exact, and quicker than a flip and a select
        return warp_images(images, coordinates, mode="nearest")


def check_range(what: str, value: float, low: float, high: float) -> None:
    """Raise `UsageError` unless `low <= value <= high`."""
    if not low <= value <= high:
        raise UsageError(f"{what} lies in {low:g} to {high:g}", value, "choose a value inside")

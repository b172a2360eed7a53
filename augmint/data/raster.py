"""Antialiased shapes for whole blocks of images at once: what `faces` and `eyes` draw with.

A shape is a signed distance, negative inside, in the frame of what is drawn; `scale` is how many
pixels a unit of that frame is long. All arrays are float32 `(n, pixels)`, parameters `(n, 1)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from augmint.core.types import ByteArray

Array = npt.NDArray[np.float32]


def cover(distance: Array, scale: Array) -> Array:
    """Share of a pixel that lies inside: `clip(0.5 - scale * distance, 0, 1)`.

    Example:
        >>> cover(np.array([-1.0, 0.0, 1.0], np.float32), np.float32(1.0)).tolist()
        [1.0, 0.5, 0.0]
    """
    out = distance * -scale
    out += 0.5
    return np.clip(out, 0, 1, out=out).astype(np.float32, copy=False)


def line_cover(distance: Array, half: Array, scale: Array) -> Array:
    """Share of a pixel that a line covers, also where the line is thinner than a pixel.

        overlap of [-1/2, 1/2] with scale * [distance - half, distance + half]

    Args:
        distance: to the line's middle.
        half: half its width; 0 or less covers nothing.
        scale: pixels a unit.

    Example:
        >>> line_cover(np.zeros(1), np.array([0.25]), np.ones(1)).tolist()
        [0.5]
    """
    low = np.maximum((distance - half) * scale, -0.5)
    high = np.minimum((distance + half) * scale, 0.5)
    return np.clip(high - low, 0, 1)


def ellipse(u: Array, v: Array, a: Array, b: Array, stretch: Array | float = 1.0) -> Array:
    """Distance to an ellipse, to first order: `(k - 1) k / |gradient|`, `k = |(u/a, v/b)|`.

    Args:
        u: to the right of the centre.
        v: below it.
        a: half axis along u.
        b: half axis along v.
        stretch: how much faster u moves than the picture does (a surface seen from the side).

    Example:
        >>> ellipse(np.array([5.0]), np.zeros(1), np.array([2.0]), np.array([2.0])).tolist()
        [3.0]
    """
    p, q = u / a, v / b
    k = np.sqrt(p * p + q * q)
    gradient = np.sqrt(np.square(p / a * stretch) + np.square(q / b))
    return k * (k - 1) / np.maximum(gradient, 1e-6)


def segment(u: Array, v: Array, half: float, slope: Array) -> Array:
    """Distance to the segment from (-half, -slope * half) to (half, slope * half).

    Example:
        >>> segment(np.array([0.0, 4.0]), np.array([3.0, 4.0]), 1.0, np.zeros(2)).tolist()
        [3.0, 5.0]
    """
    along = np.clip((u + slope * v) / (1 + slope * slope), -half, half)
    return np.hypot(u - along, v - slope * along)


def between(palette: Array, position: Array) -> Array:
    """Colours `(n, 3)` of a palette `(colours, 3)` at positions `(n, 1)` from 0 to 1.

    Example:
        >>> between(np.array([[0.0, 0.0, 0.0], [200.0, 100.0, 0.0]]), np.array([[0.25]])).tolist()
        [[50.0, 25.0, 0.0]]
    """
    place = position[:, 0] * (len(palette) - 1)
    low = np.minimum(place.astype(np.int64), len(palette) - 2)
    share = (place - low)[:, None].astype(np.float32)
    return palette[low] * (1 - share) + palette[low + 1] * share


class Canvas:
    """Planes `(n, pixels)`, one a channel, painted over from back to front.

    Args:
        ground: what is there first, `(n, channels)`.
        shade: factor of the ground, `(n, pixels)`.
        frame: height and width.

    Example:
        >>> canvas = Canvas(np.zeros((1, 1)), np.ones((1, 2)), (1, 2))
        >>> canvas.add(np.array([[0.0, 0.5]]), colour=np.array([[100.0]]))
        >>> canvas.images().tolist()
        [[[[0, 50]]]]
    """

    def __init__(self, ground: Array, shade: Array, frame: tuple[int, int]) -> None:
        self._frame = frame
        self._planes = [
            (ground[:, c : c + 1] * shade).astype(np.float32, copy=False)
            for c in range(ground.shape[1])
        ]

    def add(self, share: Array, colour: Array, shade: Array | None = None) -> None:
        """Blend a colour `(n, channels)`, times a shade `(n, pixels)`, over what is there."""
        for c, plane in enumerate(self._planes):
            tone = colour[:, c : c + 1]
            difference = (tone if shade is None else tone * shade) - plane
            difference *= share
            plane += difference

    def multiply(self, factor: Array) -> None:
        """Multiply every plane by a factor `(n, pixels)`."""
        for plane in self._planes:
            plane *= factor

    def images(self) -> ByteArray:
        """Return uint8 `(n, channels, height, width)`, rounded, clipped to 0 … 255."""
        n = len(self._planes[0])
        out = np.empty((n, len(self._planes), *self._frame), np.uint8)
        for c, plane in enumerate(self._planes):
            np.clip(plane, 0, 255, out=plane)
            plane += 0.5
            out[:, c] = plane.astype(np.uint8).reshape(n, *self._frame)
        return out

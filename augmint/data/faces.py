"""Draws faces whose expression, landmarks and masks are known exactly: the toy world's rasteriser.

A face is drawn in its own frame (u to the right, v down, the head about 0.7 wide and 0.9 high) and
placed in the image by a similarity: pixel = centre + s R(angle) (u, v). Every part is a signed
distance; its coverage of a pixel is `clip(0.5 - s * distance, 0, 1)`, so edges are antialiased
without supersampling and all images of a block are drawn at once.

Pixel coordinates follow `augmint.aspects.base`: pixel (row i, column j) has its centre at
(x, y) = (j + 0.5, i + 0.5). Left and right are those of the picture, not of the person.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from augmint.core.errors import UsageError
from augmint.core.streams import stream

if TYPE_CHECKING:
    from augmint.core.types import ByteArray, IntArray

Array = npt.NDArray[np.float32]

EXPRESSIONS = ("neutral", "happy", "sad", "surprised", "angry")
MASK_CLASSES = ("background", "face", "eyes", "mouth")
LANDMARKS = (
    "left_eye_outer",
    "left_eye_center",
    "left_eye_inner",
    "right_eye_inner",
    "right_eye_center",
    "right_eye_outer",
    "left_brow_outer",
    "left_brow_inner",
    "right_brow_inner",
    "right_brow_outer",
    "nose_tip",
    "mouth_left",
    "mouth_right",
    "mouth_top",
    "mouth_bottom",
)
SMALLEST = 24
"""Smallest side at which eyes still cover pixels."""

_BLOCK_PIXELS = 1 << 16
_DRAWS = 40

# eye height, brow lift, brow tilt (inner end down), mouth half width, upper lip, lower lip
_NEUTRAL = (0.105, 0.0, 0.0, 0.25, -0.02, 0.035)
_FULL = {
    "neutral": _NEUTRAL,
    "happy": (0.09, 0.03, -0.02, 0.34, 0.10, 0.27),
    "sad": (0.09, 0.02, -0.11, 0.24, -0.15, -0.09),
    "surprised": (0.15, 0.12, -0.01, 0.17, -0.15, 0.19),
    "angry": (0.075, -0.06, 0.12, 0.23, -0.08, 0.005),
}
_SKIN = np.array(
    [
        [255, 224, 196],
        [241, 194, 155],
        [224, 172, 125],
        [198, 134, 90],
        [141, 85, 50],
        [92, 58, 38],
    ],
    np.float32,
)
_HAIR = np.array(
    [[35, 25, 20], [70, 45, 25], [120, 80, 40], [200, 160, 90], [150, 60, 30], [140, 140, 145]],
    np.float32,
)
_WHITE = np.array([[250, 250, 250]], np.float32)
_PUPIL = np.array([[12, 12, 14]], np.float32)
_THROAT = np.array([[60, 20, 24]], np.float32)


@dataclass(frozen=True)
class _Faces:
    """Drawn parameters of a block of faces, each `(n, 1)` unless said otherwise."""

    expression: IntArray
    centre: Array  # (n, 2), pixels
    turn: Array  # (n, 2), cosine and sine
    scale: Array
    head: Array  # (n, 2), half axes
    eye_x: Array
    eye_y: Array
    eye_width: Array
    eye_height: Array
    gaze: Array  # (n, 2)
    brow_lift: Array
    brow_tilt: Array
    nose: Array
    mouth_y: Array
    mouth_width: Array
    upper: Array
    lower: Array
    colours: dict[str, Array]  # (n, 3)
    light: Array  # (n, 2)


def draw_faces(
    n: int, size: int, seed: int, channels: int = 3, first: int = 0
) -> dict[str, npt.NDArray[Any]]:
    """Draw `n` faces of `size` x `size` pixels; image i depends on (seed, first + i) alone.

    Args:
        n: how many.
        size: height and width, at least 24.
        seed: of the stream.
        channels: 3, or 1 for luma.
        first: id of the first face.

    Returns:
        images: uint8 `(n, channels, size, size)`;
        expression: int64 `(n,)`, index into `EXPRESSIONS`, in turn;
        intensity: float32 `(n,)`, 0.35 to 1, how strong the expression is;
        landmarks: float32 `(n, K, 2)`, (x, y) in pixels, in the order of `LANDMARKS`;
        masks: uint8 `(n, size, size)`, index into `MASK_CLASSES`.

    Raises:
        UsageError: for a size under 24, or channels other than 1 and 3.

    Example:
        >>> faces = draw_faces(5, 32, seed=0)
        >>> faces["images"].shape, faces["landmarks"].shape
        ((5, 3, 32, 32), (5, 15, 2))
    """
    if size < SMALLEST:
        raise UsageError(
            f"toy faces are at least {SMALLEST} px", size, "pass size=(32, 32) (--size 32)"
        )
    if channels not in (1, 3):
        raise UsageError("toy faces have 1 or 3 channels", channels, "pass channels=3")
    from augmint.data.decoding import to_channels

    out: dict[str, npt.NDArray[Any]] = {
        "images": np.empty((n, channels, size, size), np.uint8),
        "expression": np.empty(n, np.int64),
        "intensity": np.empty(n, np.float32),
        "landmarks": np.empty((n, len(LANDMARKS), 2), np.float32),
        "masks": np.empty((n, size, size), np.uint8),
    }
    step = max(1, _BLOCK_PIXELS // (size * size))
    for start in range(0, n, step):
        ids = np.arange(start, min(n, start + step), dtype=np.int64)
        faces, intensity = _draw_parameters(ids + first, size, seed)
        images, masks = _paint(faces, size)
        out["images"][ids] = to_channels(images, channels)
        out["expression"][ids] = faces.expression
        out["intensity"][ids] = intensity
        out["landmarks"][ids] = _landmarks(faces)
        out["masks"][ids] = masks
    return out


def _draw_parameters(ids: IntArray, size: int, seed: int) -> tuple[_Faces, Array]:
    words = stream(seed, "toy.faces", ids=ids).words(_DRAWS)
    unit = iter(((words >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)).T[..., None])

    def draw(low: float, high: float) -> Array:
        return next(unit) * np.float32(high - low) + np.float32(low)

    expression = ids % len(EXPRESSIONS)
    intensity = draw(0.35, 1.0)
    full = np.asarray([_FULL[e] for e in EXPRESSIONS], np.float32)[expression]
    mixed = np.asarray(_NEUTRAL, np.float32) * (1 - intensity) + full * intensity
    eye, lift, tilt, wide, upper, lower = (mixed[:, i : i + 1] for i in range(6))
    angle = draw(-0.3, 0.3)
    colours = {
        "skin": _between(_SKIN, draw(0, 1)) * draw(0.85, 1.05),
        "hair": _between(_HAIR, draw(0, 1)) * draw(0.8, 1.1),
        "ground": np.concatenate([draw(30, 230) for _ in range(3)], axis=1),
        "iris": np.concatenate([draw(20, 110), draw(40, 120), draw(30, 160)], axis=1),
        "lips": np.concatenate([draw(120, 200), draw(40, 80), draw(45, 85)], axis=1),
    }
    faces = _Faces(
        expression=expression,
        centre=np.concatenate([draw(0.44, 0.56), draw(0.48, 0.58)], axis=1) * size,
        turn=np.concatenate([np.cos(angle), np.sin(angle)], axis=1),
        scale=draw(0.36, 0.46) * size,
        head=np.concatenate([draw(0.66, 0.78), draw(0.86, 0.98)], axis=1),
        eye_x=draw(0.28, 0.34),
        eye_y=draw(-0.2, -0.1),
        eye_width=draw(0.15, 0.18),
        eye_height=eye * draw(0.95, 1.1),
        gaze=np.concatenate([draw(-0.05, 0.05), draw(-0.02, 0.02)], axis=1),
        brow_lift=lift + draw(-0.015, 0.015),
        brow_tilt=tilt + draw(-0.015, 0.015),
        nose=draw(0.14, 0.2),
        mouth_y=draw(0.42, 0.48),
        mouth_width=wide * draw(0.9, 1.1),
        upper=upper + draw(-0.01, 0.01),
        lower=lower + draw(-0.01, 0.01),
        colours=colours,
        light=np.concatenate([draw(-0.25, 0.25), draw(-0.25, 0.1)], axis=1),
    )
    return faces, intensity[:, 0]


def _between(palette: Array, position: Array) -> Array:
    place = position[:, 0] * (len(palette) - 1)
    low = np.minimum(place.astype(np.int64), len(palette) - 2)
    share = (place - low)[:, None].astype(np.float32)
    return palette[low] * (1 - share) + palette[low + 1] * share


def _landmarks(f: _Faces) -> Array:
    """Points in pixels; each is a position (u, v) of the face's frame, placed in the image."""
    zero = np.zeros_like(f.eye_x)
    brow = f.eye_y - 0.2 - f.brow_lift
    half = 0.16
    # the parabola of a lip has its summit in the middle and passes through both corners
    points = [
        (-f.eye_x - f.eye_width, f.eye_y),
        (-f.eye_x, f.eye_y),
        (-f.eye_x + f.eye_width, f.eye_y),
        (f.eye_x - f.eye_width, f.eye_y),
        (f.eye_x, f.eye_y),
        (f.eye_x + f.eye_width, f.eye_y),
        (-f.eye_x - half, brow - f.brow_tilt),
        (-f.eye_x + half, brow + f.brow_tilt),
        (f.eye_x - half, brow + f.brow_tilt),
        (f.eye_x + half, brow - f.brow_tilt),
        (zero, f.nose),
        (-f.mouth_width, f.mouth_y),
        (f.mouth_width, f.mouth_y),
        (zero, f.mouth_y + f.upper),
        (zero, f.mouth_y + f.lower),
    ]
    u = np.concatenate([p[0] for p in points], axis=1)
    v = np.concatenate([p[1] for p in points], axis=1)
    cosine, sine = f.turn[:, :1], f.turn[:, 1:]
    x = f.centre[:, :1] + f.scale * (cosine * u - sine * v)
    y = f.centre[:, 1:] + f.scale * (sine * u + cosine * v)
    return np.stack((x, y), axis=-1).astype(np.float32)


def _paint(f: _Faces, size: int) -> tuple[ByteArray, ByteArray]:
    grid = np.arange(size, dtype=np.float32) + 0.5
    x = np.tile(grid, size)[None] - f.centre[:, :1]
    y = np.repeat(grid, size)[None] - f.centre[:, 1:]
    cosine, sine = f.turn[:, :1] / f.scale, f.turn[:, 1:] / f.scale
    u = (cosine * x + sine * y).astype(np.float32)
    v = (cosine * y - sine * x).astype(np.float32)
    w = np.abs(u)  # the face is symmetric: one eye and one brow serve for both

    hair = _cover(_ellipse(u, v + 0.16, f.head[:, :1] + 0.1, f.head[:, 1:] + 0.02), f.scale)
    outline = _ellipse(u, v, f.head[:, :1], f.head[:, 1:])
    head = _cover(outline, f.scale)
    # wider than the head by more than a pixel, or skin would shine through along the edge
    fringe = _cover(np.maximum(outline - 0.06, v + 0.52 + 0.25 * u * u), f.scale)
    eye_v = v - f.eye_y
    eyes = _cover(_ellipse(w - f.eye_x, eye_v, f.eye_width, f.eye_height), f.scale)
    side = np.sign(u)
    iris_u = w - f.eye_x - f.gaze[:, :1] * side
    radius = np.hypot(iris_u, eye_v - f.gaze[:, 1:])
    iris, pupil = _cover(radius - 0.085, f.scale), _cover(radius - 0.045, f.scale)
    brow_centre = f.eye_y - 0.2 - f.brow_lift
    brows = _cover(
        _segment(w - f.eye_x, v - brow_centre, 0.16, -f.brow_tilt / 0.16) - 0.035, f.scale
    )
    nose = _cover(
        np.hypot(w - 0.035 * np.clip((v + 0.05) / 0.2, 0, 1), v - np.clip(v, -0.05, f.nose)) - 0.02,
        f.scale,
    )
    lips, inside = _mouth(f, u, v)

    shade = 1.0 + f.light[:, :1] * u + f.light[:, 1:] * v
    canvas = _Canvas(f.colours["ground"], (1.0 + 0.25 * (y / size)).astype(np.float32), size)
    canvas.add(hair, f.colours["hair"])
    canvas.add(head, f.colours["skin"], shade)
    canvas.add(fringe, f.colours["hair"])
    canvas.add(0.45 * nose, f.colours["skin"] * 0.45)
    canvas.add(eyes, _WHITE)
    canvas.add(eyes * iris, f.colours["iris"])
    canvas.add(eyes * pupil, _PUPIL)
    canvas.add(brows, f.colours["hair"] * 0.7)
    canvas.add(lips, f.colours["lips"])
    canvas.add(inside, _THROAT)
    masks = np.where(head >= 0.5, np.uint8(1), np.uint8(0))
    masks[eyes >= 0.5] = 2
    masks[np.maximum(lips, inside) >= 0.5] = 3
    return canvas.images(), masks.reshape(-1, size, size)


def _mouth(f: _Faces, u: Array, v: Array) -> tuple[Array, Array]:
    """Coverage of the lips and of the opening, between two parabolas through the corners."""
    share = u / f.mouth_width
    bend = 1 - share * share
    top = f.mouth_y + f.upper * bend
    bottom = f.mouth_y + f.lower * bend
    lip = np.float32(0.045)
    # |gradient| of v - parabola turns a vertical difference into a distance
    slope_top = 1 / np.sqrt(1 + np.square(2 * f.upper * share / f.mouth_width))
    slope_bottom = 1 / np.sqrt(1 + np.square(2 * f.lower * share / f.mouth_width))
    gap = np.maximum((top - v) * slope_top, (v - bottom) * slope_bottom)
    ends = np.abs(u) - f.mouth_width
    lips = _cover(np.maximum(gap - lip, ends - lip), f.scale)
    inside = _cover(np.maximum(gap + 0.01, ends), f.scale)
    return lips, inside


def _cover(distance: Array, scale: Array) -> Array:
    """Share of a pixel that lies inside, from the signed distance in the face's frame."""
    out = distance * -scale
    out += 0.5
    return np.clip(out, 0, 1, out=out).astype(np.float32, copy=False)


def _ellipse(u: Array, v: Array, a: Array, b: Array) -> Array:
    """Distance to an ellipse, to first order: (k - 1) k / |gradient|, k = |(u/a, v/b)|."""
    p, q = u / a, v / b
    k = np.sqrt(p * p + q * q)
    gradient = np.sqrt(np.square(p / a) + np.square(q / b))
    return k * (k - 1) / np.maximum(gradient, 1e-6)


def _segment(u: Array, v: Array, half: float, slope: Array) -> Array:
    """Distance to the segment from (-half, -slope * half) to (half, slope * half)."""
    along = np.clip((u + slope * v) / (1 + slope * slope), -half, half)
    return np.hypot(u - along, v - slope * along)


class _Canvas:
    """Colour planes `(3, n, pixels)`, painted over from back to front."""

    def __init__(self, ground: Array, shade: Array, size: int) -> None:
        self._size = size
        self._planes = [
            (ground[:, c : c + 1] * shade).astype(np.float32, copy=False) for c in range(3)
        ]

    def add(self, cover: Array, colour: Array, shade: Array | None = None) -> None:
        """Blend a colour `(n, 3)`, times a shade `(n, pixels)`, over what is there."""
        for c, plane in enumerate(self._planes):
            tone = colour[:, c : c + 1]
            difference = (tone if shade is None else tone * shade) - plane
            difference *= cover
            plane += difference

    def images(self) -> ByteArray:
        """Return uint8 `(n, 3, size, size)`."""
        n = len(self._planes[0])
        out = np.empty((n, 3, self._size, self._size), np.uint8)
        for c, plane in enumerate(self._planes):
            np.clip(plane, 0, 255, out=plane)
            plane += 0.5
            out[:, c] = plane.astype(np.uint8).reshape(n, self._size, self._size)
        return out

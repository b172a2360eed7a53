"""Draws faces whose expression, pose, landmarks and masks are known exactly.

A face is drawn in its own frame (u to the right, v down, the head about 0.7 wide and 0.9 high) and
placed in the image by a similarity: pixel = centre + s R(roll) (u, v). Every part is a signed
distance; its coverage of a pixel is `clip(0.5 - s * distance, 0, 1)`, so edges are antialiased
without supersampling and all images of a block are drawn at once.

Turned heads are ellipsoids with half axes a, b and depth c = (a + b) / 2 that carry the features on
their surface, seen from infinitely far. With yaw t, the surface point (u, v, w) appears at

    u' = u cos t + w sin t,    w = c sqrt(1 - (u / a)^2 - (v / b)^2)

and is hidden where its normal looks away. The outline keeps the half axis b; the other becomes
sqrt((a cos t)^2 + (c sin t)^2). The nose stands out of the surface.

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
from augmint.data.raster import Array, Canvas, between, cover, ellipse, segment

if TYPE_CHECKING:
    from augmint.core.types import ByteArray, IntArray

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
LANDMARK_PAIRS = (
    ("left_eye_outer", "right_eye_outer"),
    ("left_eye_center", "right_eye_center"),
    ("left_eye_inner", "right_eye_inner"),
    ("left_brow_outer", "right_brow_outer"),
    ("left_brow_inner", "right_brow_inner"),
    ("mouth_left", "mouth_right"),
)
"""Landmarks that a mirrored picture swaps."""
SKELETON = (
    ("left_brow_outer", "left_brow_inner"),
    ("right_brow_inner", "right_brow_outer"),
    ("left_eye_outer", "left_eye_center"),
    ("left_eye_center", "left_eye_inner"),
    ("right_eye_inner", "right_eye_center"),
    ("right_eye_center", "right_eye_outer"),
    ("mouth_left", "mouth_top"),
    ("mouth_top", "mouth_right"),
    ("mouth_right", "mouth_bottom"),
    ("mouth_bottom", "mouth_left"),
)
INTER_OCULAR = ("left_eye_outer", "right_eye_outer")
"""The two points whose distance is 1 in errors of landmarks: the outer corners of the eyes."""
LARGEST_ROLL = 0.3
"""Radians."""
LARGEST_YAW = 60.0
"""Degrees; the far eye is all but hidden there."""
SMALLEST = 24
"""Smallest side at which eyes still cover pixels."""

_BLOCK_PIXELS = 1 << 16
_DRAWS = 40
_NOSE_LIFT = 0.16

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
    turn: Array  # (n, 2), cosine and sine of the roll
    yaw: Array  # radians
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
    n: int,
    size: int | tuple[int, int],
    seed: int,
    channels: int = 3,
    first: int = 0,
    yaw: float = 0.0,
) -> dict[str, npt.NDArray[Any]]:
    """Draw `n` faces; image i depends on (seed, first + i) alone, not on the others.

    Args:
        n: how many.
        size: height and width, or one number for both; at least 24.
        seed: of the stream.
        channels: 3, or 1 for luma.
        first: id of the first face.
        yaw: largest turn of the head to either side in degrees, 0 to 60. Nothing else about a face
            depends on it.

    Returns:
        images: uint8 `(n, channels, height, width)`;
        expression: int64 `(n,)`, index into `EXPRESSIONS`, in turn;
        intensity: float32 `(n,)`, 0.35 to 1, how strong the expression is;
        pose: float32 `(n, 2)`, degrees: yaw, positive where the nose points to the picture's right,
            and roll, positive where the head leans clockwise;
        landmarks: float32 `(n, K, 2)`, (x, y) in pixels, in the order of `LANDMARKS`;
        visible: bool `(n, K)`, false where the head hides the point;
        masks: uint8 `(n, height, width)`, index into `MASK_CLASSES`.

    Raises:
        UsageError: for a side under 24, channels other than 1 and 3, or a yaw out of range.

    Example:
        >>> faces = draw_faces(5, 32, seed=0, yaw=30.0)
        >>> faces["images"].shape, faces["landmarks"].shape
        ((5, 3, 32, 32), (5, 15, 2))
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < SMALLEST:
        raise UsageError(
            f"toy faces are at least {SMALLEST} px", size, "pass size=(32, 32) (--size 32)"
        )
    if channels not in (1, 3):
        raise UsageError("toy faces have 1 or 3 channels", channels, "pass channels=3")
    if not 0 <= yaw <= LARGEST_YAW:
        raise UsageError(f"yaw is 0 to {LARGEST_YAW:g} degrees", yaw, "pass yaw=45")
    from augmint.data.decoding import to_channels

    out: dict[str, npt.NDArray[Any]] = {
        "images": np.empty((n, channels, height, width), np.uint8),
        "expression": np.empty(n, np.int64),
        "intensity": np.empty(n, np.float32),
        "pose": np.empty((n, 2), np.float32),
        "landmarks": np.empty((n, len(LANDMARKS), 2), np.float32),
        "visible": np.empty((n, len(LANDMARKS)), np.bool_),
        "masks": np.empty((n, height, width), np.uint8),
    }
    step = max(1, _BLOCK_PIXELS // (height * width))
    for start in range(0, n, step):
        ids = np.arange(start, min(n, start + step), dtype=np.int64)
        faces, intensity = _draw_parameters(ids + first, (height, width), seed, yaw)
        images, masks = _paint(faces, (height, width))
        out["images"][ids] = to_channels(images, channels)
        out["expression"][ids] = faces.expression
        out["intensity"][ids] = intensity
        out["pose"][ids] = np.degrees(np.concatenate([faces.yaw, _roll(faces)], axis=1))
        out["landmarks"][ids], out["visible"][ids] = _landmarks(faces)
        out["masks"][ids] = masks
    return out


def _draw_parameters(
    ids: IntArray, frame: tuple[int, int], seed: int, yaw: float
) -> tuple[_Faces, Array]:
    words = stream(seed, "toy.faces", ids=ids).words(_DRAWS)
    unit = iter(((words >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)).T[..., None])

    def draw(low: float, high: float) -> Array:
        return next(unit) * np.float32(high - low) + np.float32(low)

    expression = ids % len(EXPRESSIONS)
    intensity = draw(0.35, 1.0)
    full = np.asarray([_FULL[e] for e in EXPRESSIONS], np.float32)[expression]
    mixed = np.asarray(_NEUTRAL, np.float32) * (1 - intensity) + full * intensity
    eye, lift, tilt, wide, upper, lower = (mixed[:, i : i + 1] for i in range(6))
    angle = draw(-LARGEST_ROLL, LARGEST_ROLL)
    colours = {
        "skin": between(_SKIN, draw(0, 1)) * draw(0.85, 1.05),
        "hair": between(_HAIR, draw(0, 1)) * draw(0.8, 1.1),
        "ground": np.concatenate([draw(30, 230) for _ in range(3)], axis=1),
        "iris": np.concatenate([draw(20, 110), draw(40, 120), draw(30, 160)], axis=1),
        "lips": np.concatenate([draw(120, 200), draw(40, 80), draw(45, 85)], axis=1),
    }
    faces = _Faces(
        expression=expression,
        centre=np.concatenate([draw(0.44, 0.56), draw(0.48, 0.58)], axis=1)
        * np.array(frame[::-1], np.float32),
        turn=np.concatenate([np.cos(angle), np.sin(angle)], axis=1),
        scale=draw(0.36, 0.46) * min(frame),
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
        # the last draw: a yaw of 0 leaves every other parameter as it is
        yaw=np.radians(draw(-yaw, yaw)),
    )
    return faces, intensity[:, 0]


def _roll(f: _Faces) -> Array:
    return np.arctan2(f.turn[:, 1:], f.turn[:, :1])


def _depth(f: _Faces) -> Array:
    return f.head.mean(1, keepdims=True)


def _landmarks(f: _Faces) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Points in pixels; each is a position (u, v) on the head's front, placed in the image."""
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
    front = np.concatenate([p[0] for p in points], axis=1)
    v = np.concatenate([p[1] for p in points], axis=1)
    a, b, c = f.head[:, :1], f.head[:, 1:], _depth(f)
    w = c * np.sqrt(np.maximum(1 - np.square(front / a) - np.square(v / b), 0))
    lift = np.zeros_like(w)
    lift[:, LANDMARKS.index("nose_tip")] = _NOSE_LIFT
    u = front * np.cos(f.yaw) + (w + lift) * np.sin(f.yaw)
    visible = w / c**2 * np.cos(f.yaw) - front / a**2 * np.sin(f.yaw) > 0
    cosine, sine = f.turn[:, :1], f.turn[:, 1:]
    x = f.centre[:, :1] + f.scale * (cosine * u - sine * v)
    y = f.centre[:, 1:] + f.scale * (sine * u + cosine * v)
    return np.stack((x, y), axis=-1).astype(np.float32), visible | (f.yaw == 0)


@dataclass(frozen=True)
class _Surface:
    """What each pixel of a block shows of the heads.

    Args:
        u: the head's own coordinate there.
        stretch: how much faster it moves than the picture does.
        seen: share of the pixel in which features of the front can be seen.
    """

    u: Array
    stretch: Array | float
    seen: Array | float


def _surface(f: _Faces, u: Array, v: Array, head: Array) -> _Surface:
    """From the picture to the surface: on a circle of latitude, u' = r R sin(angle + shift)."""
    if not f.yaw.any():
        return _Surface(u, 1.0, 1.0)
    a, b, c = f.head[:, :1], f.head[:, 1:], _depth(f)
    along, across = a * np.cos(f.yaw), c * np.sin(f.yaw)
    radius = np.hypot(along, across)
    cosine, sine = along / radius, across / radius
    latitude = np.sqrt(np.maximum(1 - np.square(v / b), 1e-6))
    s = np.clip(u / (radius * latitude), -1, 1)
    k = np.sqrt(1 - s * s)
    front = k * cosine + s * sine
    stretch = a * np.maximum(front, 0.05) / (radius * np.maximum(k, 0.05))
    return _Surface(a * latitude * (s * cosine - k * sine), stretch, np.where(front > 0, head, 0))


def _round(u: Array, v: Array, radius: float, stretch: Array | float) -> Array:
    """Distance to a circle on a surface that is stretched along u."""
    apart = np.hypot(u, v)
    distance = np.asarray(apart - radius, np.float32)
    if isinstance(stretch, float):
        return distance
    return distance * np.maximum(apart, 1e-6) / np.maximum(np.hypot(u * stretch, v), 1e-6)


def _paint(f: _Faces, frame: tuple[int, int]) -> tuple[ByteArray, ByteArray]:
    height, width = frame
    x = np.tile(np.arange(width, dtype=np.float32) + 0.5, height)[None] - f.centre[:, :1]
    y = np.repeat(np.arange(height, dtype=np.float32) + 0.5, width)[None] - f.centre[:, 1:]
    cosine, sine = f.turn[:, :1] / f.scale, f.turn[:, 1:] / f.scale
    u = (cosine * x + sine * y).astype(np.float32)
    v = (cosine * y - sine * x).astype(np.float32)
    outline, hair = _outlines(f, u, v)
    head = cover(outline, f.scale)
    on = _surface(f, u, v, head)
    w = np.abs(on.u)  # the face is symmetric: one eye and one brow serve for both

    # wider than the head by more than a pixel, or skin would shine through along the edge
    fringe = cover(np.maximum(outline - 0.06, v + 0.52 + 0.25 * on.u * on.u), f.scale)
    eye_v = v - f.eye_y
    eyes = cover(ellipse(w - f.eye_x, eye_v, f.eye_width, f.eye_height, on.stretch), f.scale)
    iris_u = w - f.eye_x - f.gaze[:, :1] * np.sign(on.u)
    iris_v = eye_v - f.gaze[:, 1:]
    iris = cover(_round(iris_u, iris_v, 0.085, on.stretch), f.scale)
    pupil = cover(_round(iris_u, iris_v, 0.045, on.stretch), f.scale)
    brow_centre = f.eye_y - 0.2 - f.brow_lift
    brows = cover(segment(w - f.eye_x, v - brow_centre, 0.16, -f.brow_tilt / 0.16) - 0.035, f.scale)
    lips, inside = _mouth(f, on, v)

    shade = 1.0 + f.light[:, :1] * u + f.light[:, 1:] * v
    canvas = Canvas(f.colours["ground"], (1.0 + 0.25 * (y / height)).astype(np.float32), frame)
    canvas.add(cover(hair, f.scale), f.colours["hair"])
    canvas.add(head, f.colours["skin"], shade)
    _paint_side(canvas, f, u, v, outline)
    canvas.add(fringe, f.colours["hair"])
    canvas.add(0.45 * cover(_nose(f, u, v), f.scale), f.colours["skin"] * 0.45)
    canvas.add(eyes * on.seen, _WHITE)
    canvas.add(eyes * iris * on.seen, f.colours["iris"])
    canvas.add(eyes * pupil * on.seen, _PUPIL)
    canvas.add(brows * on.seen, f.colours["hair"] * 0.7)
    canvas.add(lips * on.seen, f.colours["lips"])
    canvas.add(inside * on.seen, _THROAT)
    masks = np.where(head >= 0.5, np.uint8(1), np.uint8(0))
    front = np.greater_equal(on.seen, 0.5)
    masks[(eyes >= 0.5) & front] = 2
    masks[(np.maximum(lips, inside) >= 0.5) & front] = 3
    return canvas.images(), masks.reshape(-1, *frame)


def _outlines(f: _Faces, u: Array, v: Array) -> tuple[Array, Array]:
    """Distances to the head and to the hair, whose middle lies behind the head's."""
    a, b, c = f.head[:, :1], f.head[:, 1:], _depth(f)
    cosine, sine = np.cos(f.yaw), np.sin(f.yaw)
    head = np.sqrt(np.square(a * cosine) + np.square(c * sine))
    hair = np.sqrt(np.square((a + 0.1) * cosine) + np.square((c + 0.1) * sine))
    across = np.asarray(u + 0.15 * sine, np.float32)
    return ellipse(u, v, head, b), ellipse(across, v + 0.16, hair, b + np.float32(0.02))


def _paint_side(canvas: Canvas, f: _Faces, u: Array, v: Array, outline: Array) -> None:
    """Hair and ear behind the temple that a turn brings into view."""
    if not f.yaw.any():
        return
    a, b = f.head[:, :1], f.head[:, 1:]
    out = np.sign(f.yaw) * u
    edge = a * np.cos(f.yaw) * np.sqrt(np.maximum(1 - np.square(v / b), 0))
    temple = np.maximum(np.maximum(out + edge, v - 0.3), outline - 0.06)
    turned = np.abs(np.sin(f.yaw))
    # what is thinner than a pixel fades in, or the smallest turn would draw half of it
    shown = np.clip(8 * turned, 0, 1)
    canvas.add(shown * cover(temple, f.scale), f.colours["hair"])
    out = np.asarray(out + a * np.cos(f.yaw) + 0.06 * turned, np.float32)
    lobe = np.maximum(np.float32(0.13) * turned, np.float32(1e-3))
    for size, opacity, tone in ((1.0, 1.0, 0.9), (0.5, 0.4, 0.45)):
        tall = np.full_like(a, 0.17 * size)
        # the distance to a thin ellipse is far too short beyond its ends
        down = v - np.float32(0.03)
        ear = np.maximum(ellipse(out, down, lobe * np.float32(size), tall), np.abs(down) - tall)
        canvas.add(opacity * shown * cover(ear, f.scale), f.colours["skin"] * tone)


def _nose(f: _Faces, u: Array, v: Array) -> Array:
    """Distance to the nose's two sides, a thin wedge that stands out of a turned head."""
    rise = np.clip((v + 0.05) / 0.2, 0, 1)
    off = v - np.clip(v, -0.05, f.nose)
    if not f.yaw.any():
        return np.hypot(np.abs(u) - 0.035 * rise, off) - 0.02
    along = np.clip((v + 0.05) / (f.nose + 0.05), 0, 1)
    depth = _depth(f) * np.sqrt(np.maximum(1 - np.square(v / f.head[:, 1:]), 0))
    middle = np.sin(f.yaw) * (depth + _NOSE_LIFT * along)
    return np.hypot(np.abs(u - middle) - 0.035 * rise * np.cos(f.yaw), off) - 0.02


def _mouth(f: _Faces, on: _Surface, v: Array) -> tuple[Array, Array]:
    """Coverage of the lips and of the opening, between two parabolas through the corners."""
    share = on.u / f.mouth_width
    bend = 1 - share * share
    top = f.mouth_y + f.upper * bend
    bottom = f.mouth_y + f.lower * bend
    lip = np.float32(0.045)
    # |gradient| of v - parabola turns a vertical difference into a distance
    slope_top = 1 / np.sqrt(1 + np.square(2 * f.upper * share / f.mouth_width))
    slope_bottom = 1 / np.sqrt(1 + np.square(2 * f.lower * share / f.mouth_width))
    gap = np.maximum((top - v) * slope_top, (v - bottom) * slope_bottom)
    ends = np.abs(on.u) - f.mouth_width
    lips = cover(np.maximum(gap - lip, (ends - lip) / on.stretch), f.scale)
    inside = cover(np.maximum(gap + 0.01, ends / on.stretch), f.scale)
    return lips, inside

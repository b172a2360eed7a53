"""Parameters of drawn eyes and where they put iris, pupil and lids: the geometry of `eyes`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from augmint.core.streams import stream
from augmint.data.raster import Array, between

if TYPE_CHECKING:
    from augmint.core.types import IntArray

GAZE = ("yaw", "pitch", "dilation")
GAZE_LOW = (-30.0, -20.0, 0.25)
GAZE_HIGH = (30.0, 20.0, 0.6)

IRIS_RADIUS = 0.39
"""Half the distance of the corners is 1; about 11.7 mm of 30 mm."""
IRIS_DEPTH = 0.7
LASHES = 40
"""On a lid."""

_DRAWS = 64
# powers of two: the noise repeats them
_SKIN_LATTICE = (16, 16)
_IRIS_LATTICE = (8, 64)
_SKIN = np.array(
    [
        [246, 214, 188],
        [232, 186, 150],
        [205, 152, 112],
        [160, 106, 72],
        [112, 70, 48],
        [78, 48, 34],
    ],
    np.float32,
)
_IRIS = np.array(
    [
        [62, 38, 22],
        [98, 60, 30],
        [128, 92, 46],
        [104, 112, 66],
        [84, 122, 104],
        [92, 132, 160],
        [128, 150, 168],
        [146, 156, 160],
    ],
    np.float32,
)


@dataclass(frozen=True)
class Eyes:
    """Drawn parameters of a block of eyes, each `(n, 1)` unless said otherwise."""

    side: Array  # 1: the nose is at the left of the picture, -1: at the right
    centre: Array  # (n, 2), pixels
    turn: Array  # (n, 2), cosine and sine
    scale: Array
    gaze: Array  # (n, 3), radians, radians, share
    offset: Array  # (n, 2), pupil's middle in the plane of the iris
    upper: Array  # height of the summit
    lower: Array
    skew: Array  # (n, 2), of the upper and of the lower lid
    crease: Array
    light: Array  # (n, 2)
    glints: Array  # (n, 3, 4): u, v, half width, half height
    strength: Array  # (n, 3)
    lashes: Array  # (n, 6): up, down, below, fan, thickness, opacity
    each_lash: Array  # (n, lashes, 3): place, lean, length
    skin_lattice: Array  # (n, rows, columns)
    iris_lattice: Array
    tones: dict[str, Array]  # (n, planes)


def draw_parameters(ids: IntArray, frame: tuple[int, int], seed: int, infrared: bool) -> Eyes:
    """Draw the parameters of the eyes `ids` for a frame of (height, width) pixels.

    Example:
        >>> both = draw_parameters(np.array([3, 5]), (48, 64), seed=0, infrared=True)
        >>> alone = draw_parameters(np.array([5]), (48, 64), seed=0, infrared=True)
        >>> both.gaze.shape, np.allclose(both.gaze[1], alone.gaze[0])
        ((2, 3), True)
    """
    numbers = stream(seed, "toy.eyes", ids=ids)
    unit = iter(_unit(numbers.words(_DRAWS)).T[..., None])

    def draw(low: float, high: float) -> Array:
        return next(unit) * np.float32(high - low) + np.float32(low)

    side = np.where(draw(0, 1) < 0.5, np.float32(-1), np.float32(1))
    angle = draw(-0.14, 0.14)
    gaze = np.concatenate(
        [
            np.radians(draw(GAZE_LOW[0], GAZE_HIGH[0])),
            np.radians(draw(GAZE_LOW[1], GAZE_HIGH[1])),
            draw(GAZE_LOW[2], GAZE_HIGH[2]),
        ],
        axis=1,
    )
    centre = np.concatenate([draw(0.48, 0.52), draw(0.48, 0.58)], axis=1)
    eyes = Eyes(
        side=side,
        centre=centre * np.array(frame[::-1], np.float32),
        turn=np.concatenate([np.cos(angle), np.sin(angle)], axis=1),
        scale=draw(0.41, 0.46) * np.float32(min(frame[1], frame[0] * 4 / 3)),
        gaze=gaze,
        offset=np.concatenate([draw(-0.025, 0.025), draw(-0.025, 0.025)], axis=1),
        upper=draw(0.5, 1.25),
        lower=draw(0.85, 1.15),
        skew=np.concatenate([draw(0.0, 0.3), draw(-0.35, -0.05)], axis=1),
        crease=draw(0.12, 0.26),
        light=np.concatenate([draw(-0.15, 0.15), draw(-0.1, 0.1)], axis=1),
        glints=np.stack(
            [
                np.concatenate(
                    [draw(-0.2, 0.2), draw(-0.2, 0.1), draw(0.02, 0.07), draw(0.6, 1.8)], axis=1
                )
                for _ in range(3)
            ],
            axis=1,
        ),
        strength=np.concatenate([draw(0.8, 1.0), draw(-0.8, 0.9), draw(-2, 0.8)], axis=1),
        lashes=np.concatenate(
            [
                draw(0.1, 0.3),
                draw(-0.1, 0.42),
                draw(0.06, 0.15),
                draw(0.7, 1.7),
                draw(0.009, 0.016),
                draw(0.6, 0.95),
            ],
            axis=1,
        ),
        each_lash=_unit(numbers.words(LASHES * 3)).reshape(-1, LASHES, 3),
        skin_lattice=_unit(numbers.words(_SKIN_LATTICE[0] * _SKIN_LATTICE[1])).reshape(
            -1, *_SKIN_LATTICE
        ),
        iris_lattice=_unit(numbers.words(_IRIS_LATTICE[0] * _IRIS_LATTICE[1])).reshape(
            -1, *_IRIS_LATTICE
        ),
        tones=_tones([draw(0, 1) for _ in range(8)], infrared),
    )
    shown = np.where(eyes.strength > 0, np.float32(0.7) + np.float32(0.3) * eyes.strength, 0)
    return _opened(dataclasses.replace(eyes, strength=shown.astype(np.float32)))


def _unit(words: npt.NDArray[np.uint32]) -> Array:
    return (words >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def _tones(unit: list[Array], infrared: bool) -> dict[str, Array]:
    """Colours of the parts, one column a plane."""
    if infrared:
        skin = 135 + 65 * unit[0]
        return {
            "skin": skin,
            "sclera": skin * 0.35 + 105 + 25 * unit[1],
            "pink": skin * 0.95,
            "rim": skin * 1.15,
            "iris": 80 + 60 * unit[2],
            "ring": 55 + 30 * unit[2],
            "pupil": 18 + 22 * unit[3],
            "lash": 35 + 40 * unit[4],
            "brow": 60 + 40 * unit[4],
        }
    skin = between(_SKIN, unit[0]) * (0.85 + 0.2 * unit[5])
    iris = between(_IRIS, unit[2]) * (0.8 + 0.35 * unit[6])
    hair = np.array([[28, 20, 16]], np.float32) + np.array([[50, 34, 20]], np.float32) * unit[4]
    return {
        "skin": skin,
        "sclera": np.array([[206, 200, 194]], np.float32) + 30 * unit[1],
        "pink": np.array([[196, 122, 112]], np.float32) * (0.75 + 0.3 * unit[1]),
        "rim": skin * 0.6 + np.array([[98, 70, 66]], np.float32),
        "iris": iris,
        "ring": iris * 0.45,
        "pupil": np.array([[12, 10, 10]], np.float32) + 8 * unit[3],
        "lash": hair * 0.7,
        "brow": hair,
    }


def _opened(e: Eyes) -> Eyes:
    """Turn how far the lids leave the iris free, in its radii, into the heights of their summits.

    The upper lid thereby follows the gaze; the pupil's middle is never covered.
    """
    iris = _iris_centre(e)
    above, below = (arc(iris[:, :1], e.skew[:, i : i + 1])[0] for i in range(2))
    upper = (e.upper * IRIS_RADIUS - iris[:, 1:]) / above
    lower = (e.lower * IRIS_RADIUS + iris[:, 1:]) / below
    return dataclasses.replace(e, upper=np.clip(upper, 0.2, 0.62), lower=np.clip(lower, 0.16, 0.46))


def direction(e: Eyes) -> Array:
    """Where the eye looks, `(n, 3)`: x and y of the picture, and towards the viewer.

    Example:
        >>> eyes = draw_parameters(np.arange(1), (48, 64), seed=0, infrared=True)
        >>> ahead = dataclasses.replace(eyes, gaze=np.zeros((1, 3), np.float32))
        >>> np.abs(direction(ahead)).tolist()
        [[0.0, 0.0, 1.0]]
    """
    yaw, pitch = e.gaze[:, :1], e.gaze[:, 1:2]
    out = (np.sin(yaw) * np.cos(pitch), -np.sin(pitch), np.cos(yaw) * np.cos(pitch))
    return np.concatenate(out, axis=1)


def _iris_centre(e: Eyes) -> Array:
    """Middle of the iris in the eye's frame, `(n, 2)`."""
    return into_frame(e, IRIS_DEPTH * direction(e)[:, :2])


def into_frame(e: Eyes, place: Array) -> Array:
    """From the picture's axes, around the eyeball's centre, to the eye's frame, `(n, ..., 2)`.

    Example:
        >>> eyes = draw_parameters(np.arange(1), (48, 64), seed=0, infrared=True)
        >>> own = into_frame(eyes, np.array([[3.0, 4.0]], np.float32))
        >>> own.shape, round(float(np.linalg.norm(own)), 4)
        ((1, 2), 5.0)
    """
    shape = (-1, *[1] * (place.ndim - 2))
    cosine, sine, side = (p.reshape(shape) for p in (e.turn[:, 0], e.turn[:, 1], e.side))
    x, y = place[..., 0], place[..., 1]
    return np.stack((side * (cosine * x + sine * y), cosine * y - sine * x), axis=-1)


def arc(u: Array, skew: Array) -> tuple[Array, Array]:
    """A lid's height over its summit's, 0 at both corners, and its slope.

        B = (1 - u^2) / (1 + m u) * (1 + k) / 2,   k = sqrt(1 - m^2),   summit at u = -m / (1 + k)

    made fuller: B (1 + 0.4 (1 - B)).

    Example:
        >>> height, _ = arc(np.array([-1.0, 0.0, 1.0]), np.zeros(3))
        >>> height.round(6).tolist()
        [0.0, 1.0, 0.0]
    """
    inside = np.clip(u, -1.6, 1.6)
    half = (1 + np.sqrt(1 - skew * skew)) / 2
    below = 1 + skew * inside
    plain = half * (1 - inside * inside) / below
    slope = -half * (2 * inside * below + skew * (1 - inside * inside)) / (below * below)
    return plain * (1.4 - 0.4 * plain), slope * (1.4 - 0.8 * plain)


def _summit(skew: Array) -> Array:
    return -skew / (1 + np.sqrt(1 - skew * skew))


def landmarks(e: Eyes) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Return points in pixels, `(n, K, 2)`, and whether no lid covers them, `(n, K)`.

    Example:
        >>> points, visible = landmarks(draw_parameters(np.arange(2), (48, 64), 0, infrared=True))
        >>> points.shape, visible.shape, bool(visible[:, :4].all())
        ((2, 10, 2), (2, 10), True)
    """
    g = direction(e)
    x, y, z = (g[:, i : i + 1] for i in range(3))
    iris = IRIS_DEPTH * g[:, :2]
    # the plane's axes as the picture shows them: I - g g' / (1 + z) maps the disc onto its ellipse
    bend = (e.offset * g[:, :2]).sum(1, keepdims=True) / (1 + z)
    pupil = iris + e.offset - bend * g[:, :2]
    # extremes of {centre + p : p' (I - g g')^-1 p = r^2}
    wide, tall = np.sqrt(1 - x * x), np.sqrt(1 - y * y)
    right = IRIS_RADIUS * np.concatenate((wide, -x * y / wide), axis=1)
    down = IRIS_RADIUS * np.concatenate((-x * y / tall, tall), axis=1)
    seen = np.stack((iris, pupil, iris - right, iris + right, iris - down, iris + down), axis=1)

    tops = [_summit(e.skew[:, i : i + 1]) for i in range(2)]
    zero = np.zeros_like(e.side)
    lids = [(-e.side, zero), (e.side, zero), (tops[0], -e.upper), (tops[1], e.lower)]
    frame = np.stack([np.concatenate(p, axis=1) for p in lids], axis=1)
    across = e.side * frame[..., 0]
    cosine, sine = e.turn[:, :1], e.turn[:, 1:]
    fixed = np.stack(
        (cosine * across - sine * frame[..., 1], sine * across + cosine * frame[..., 1]), axis=-1
    )
    places = np.concatenate((fixed, seen), axis=1)
    own = into_frame(e, seen)
    visible = np.ones(places.shape[:2], np.bool_)
    visible[:, len(lids) :] = _opening(e, own[..., 0], own[..., 1]) <= 0
    points = e.centre[:, None] + e.scale[:, :, None] * places
    return points.astype(np.float32), visible


def lids_at(e: Eyes, u: Array, v: Array) -> tuple[Array, Array]:
    """Distances to both lids, positive on the skin.

    Example:
        >>> eyes = draw_parameters(np.arange(1), (48, 64), seed=0, infrared=True)
        >>> upper, lower = lids_at(eyes, np.zeros((1, 2)), np.array([[0.0, 1.0]]))
        >>> (upper > 0).tolist(), (lower > 0).tolist()
        ([[False, False]], [[False, True]])
    """
    high, high_slope = arc(u, e.skew[:, :1])
    low, low_slope = arc(u, e.skew[:, 1:])
    upper = (-e.upper * high - v) / np.sqrt(1 + np.square(e.upper * high_slope))
    lower = (v - e.lower * low) / np.sqrt(1 + np.square(e.lower * low_slope))
    return upper, lower


def _opening(e: Eyes, u: Array, v: Array) -> Array:
    return np.maximum(*lids_at(e, u, v))

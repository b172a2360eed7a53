"""Paints drawn eyes: skin, brow, eyeball, iris, reflections, lashes, from back to front."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from augmint.data.eye_geometry import IRIS_DEPTH, IRIS_RADIUS, LASHES, Eyes, arc, direction, lids_at
from augmint.data.raster import Array, Canvas, cover, ellipse, line_cover

if TYPE_CHECKING:
    from augmint.core.types import ByteArray, IntArray


def paint(
    e: Eyes, frame: tuple[int, int]
) -> tuple[ByteArray, ByteArray, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return images, masks, whole irises and what is veiled, of one block of eyes.

    Shapes: `(n, planes, height, width)`, the others `(n, height, width)`.

    Example:
        >>> from augmint.data.eye_geometry import draw_parameters
        >>> eyes = draw_parameters(np.arange(2), (48, 64), seed=0, infrared=True)
        >>> images, masks, _, _ = paint(eyes, (48, 64))
        >>> images.shape, np.unique(masks).tolist()
        ((2, 1, 48, 64), [0, 1, 2, 3])
    """
    height, width = frame
    x = np.tile(np.arange(width, dtype=np.float32) + 0.5, height)[None] - e.centre[:, :1]
    y = np.repeat(np.arange(height, dtype=np.float32) + 0.5, width)[None] - e.centre[:, 1:]
    x, y = x / e.scale, y / e.scale
    cosine, sine = e.turn[:, :1], e.turn[:, 1:]
    u = e.side * (cosine * x + sine * y)
    v = cosine * y - sine * x

    g = direction(e)
    away = np.hypot(g[:, :1], g[:, 1:2])
    # any axis will do for an eye that looks straight at the viewer
    gx = np.where(away > 1e-6, g[:, :1] / np.maximum(away, 1e-6), 1)
    gy = np.where(away > 1e-6, g[:, 1:2] / np.maximum(away, 1e-6), 0)
    dx, dy = x - IRIS_DEPTH * g[:, :1], y - IRIS_DEPTH * g[:, 1:2]
    along, across = dx * gx + dy * gy, dy * gx - dx * gy
    z = g[:, 2:]
    shift = e.offset[:, :1] * gx + e.offset[:, 1:] * gy, e.offset[:, 1:] * gx - e.offset[:, :1] * gy
    radius = np.full_like(z, IRIS_RADIUS)
    small = IRIS_RADIUS * e.gaze[:, 2:]
    iris = ellipse(along, across, radius * z, radius)
    pupil = ellipse(along - z * shift[0], across - shift[1], small * z, small)
    upper, lower = lids_at(e, u, v)
    opening = np.maximum(upper, lower)

    canvas = Canvas(e.tones["skin"], _skin(e, (x, y), (u, v), (upper, lower)), frame)
    _paint_brow(canvas, e, u, v)
    eye = cover(opening, e.scale)
    _paint_ball(canvas, e, (u, v), (upper, lower), eye)
    _paint_iris(canvas, e, (along / z, across), cover(iris, e.scale) * eye)
    canvas.add(cover(pupil, e.scale) * eye, e.tones["pupil"])
    canvas.multiply(1 - eye * _shadow(upper, lower))
    veil = _paint_glints(canvas, e, (x, y), eye)
    veil = np.maximum(veil, _paint_lashes(canvas, e, (u, v), (upper, lower), eye))

    inside = opening <= 0
    masks = inside.astype(np.uint8)
    masks[inside & (iris <= 0)] = 2
    masks[inside & (iris <= 0) & (pupil <= 0)] = 3
    planes = (p.reshape(-1, *frame) for p in (masks, iris <= 0, veil >= 0.5))
    return (canvas.images(), *planes)  # type: ignore[return-value]


def _shadow(upper: Array, lower: Array) -> Array:
    """What both lids take of the light on the eyeball."""
    above, below = np.exp(np.minimum(upper, 0) / 0.09), np.exp(np.minimum(lower, 0) / 0.05)
    return np.asarray(0.45 * above + 0.12 * below, np.float32)


def _noise(lattice: Array, row: Array, column: Array, rows: IntArray | None = None) -> Array:
    """Smooth noise from 0 to 1: a lattice `(n, rows, columns)` that repeats, interpolated.

    Places are `(n, pixels)`, or `(points,)` with the lattice of each point in `rows`.
    """
    _, height, width = lattice.shape
    whole_row, whole_column = np.floor(row), np.floor(column)
    r, c = row - whole_row, column - whole_column
    r *= r * (3 - 2 * r)
    c *= c * (3 - 2 * c)
    line, left = whole_row.astype(np.int32), whole_column.astype(np.int32) & (width - 1)
    right = (left + 1) & (width - 1)
    base = np.arange(len(lattice))[:, None] if rows is None else rows
    base = (base * (height * width)).astype(np.int32)
    flat = lattice.reshape(-1)
    out = []
    for each in (line, line + 1):
        start = base + (each & (height - 1)) * width
        first = flat.take(start + left)
        out.append(first + (flat.take(start + right) - first) * c)
    return np.asarray(out[0] + (out[1] - out[0]) * r, np.float32)


def _skin(
    e: Eyes, at: tuple[Array, Array], own: tuple[Array, Array], lids: tuple[Array, Array]
) -> Array:
    """Brightness of the skin: light, mottling, the hollow beside the nose, folds of both lids."""
    (x, y), (u, v), (upper, lower) = at, own, lids
    shade = 1 + e.light[:, :1] * x + e.light[:, 1:] * y
    shade += 0.10 * (_noise(e.skin_lattice, 4 * y + 6, 4 * x + 8) - 0.5)
    shade += 0.06 * (_noise(e.skin_lattice, 11 * y + 3, 11 * x + 5) - 0.5)
    shade -= 0.28 * np.exp(-np.square((u + 1.2) / 0.4) - np.square((v + 0.12) / 0.5))
    shade -= 0.10 * np.exp(-np.square((u - 1.15) / 0.35) - np.square(v / 0.35))
    lid, _ = arc(u, e.skew[:, :1])
    fold = -(e.upper + 0.6 * e.crease) * lid - 0.4 * e.crease - v
    ends = np.clip(1.5 - 1.3 * np.abs(u), 0, 1)
    shade -= ends * 0.3 * np.exp(-np.square(fold / 0.035))
    shade += ends * 0.08 * np.exp(-np.square((upper - 0.5 * e.crease) / (0.4 * e.crease)))
    shade -= ends * 0.09 * np.exp(-np.square((lower - 0.24) / 0.07))
    shade += ends * 0.07 * np.exp(-np.square((lower - 0.10) / 0.06))
    return np.maximum(shade, 0.1).astype(np.float32)


def _paint_brow(canvas: Canvas, e: Eyes, u: Array, v: Array) -> None:
    """The brow, which only frames higher than 4:3 show much of."""
    arch = v + 1.08 + 0.12 * (1 - np.square(u - 0.25))
    thick = 0.13 * np.clip(1.25 - 0.6 * (u + 0.6), 0.2, 1) * np.clip(4 * (u + 1.25), 0, 1)
    soft = np.clip((thick - np.abs(arch)) / 0.08, 0, 1) * np.clip(6 * (1.3 - u), 0, 1)
    rows, pixels = np.nonzero(soft > 0)
    at, down = u[rows, pixels], v[rows, pixels]
    hair = _noise(e.skin_lattice, 5 * down + 9 * at, 26 * at - 12 * down, rows)
    soft[rows, pixels] *= 0.45 + 0.5 * hair
    canvas.add(soft, e.tones["brow"])


def _paint_ball(
    canvas: Canvas,
    e: Eyes,
    own: tuple[Array, Array],
    lids: tuple[Array, Array],
    eye: Array,
) -> None:
    """Sclera, redder towards the corners, the caruncle beside the nose and the lids' wet edges."""
    u, v = own
    upper, lower = lids
    round_off = 0.7 + 0.32 * np.sqrt(np.clip(1.15 - u * u - 0.7 * v * v, 0, 1))
    edge = np.exp(-np.square(np.maximum(upper, lower) / 0.04))
    canvas.add(np.where(lower > upper, np.float32(0.55) * edge, 0), e.tones["rim"])
    canvas.add(eye, e.tones["sclera"], round_off)
    canvas.add(eye * 0.5 * np.clip((np.abs(u) - 0.55) / 0.5, 0, 1), e.tones["pink"])
    half = np.full_like(e.side, 0.12)
    canvas.add(0.9 * eye * cover(ellipse(u + 0.95, v, half, 0.75 * half), e.scale), e.tones["pink"])


def _paint_iris(canvas: Canvas, e: Eyes, plane: tuple[Array, Array], share: Array) -> None:
    """Fibres from the pupil outwards, a brighter collarette, a dark ring at the limbus."""
    rows, pixels = np.nonzero(share > 0)
    along, across = (p[rows, pixels] / IRIS_RADIUS for p in plane)
    rho = np.hypot(along, across)
    angle = np.arctan2(across, along) * np.float32(0.5 / np.pi)
    columns = e.iris_lattice.shape[2]
    coarse = _noise(e.iris_lattice, 2.2 * rho, columns * angle, rows)
    fine = _noise(e.iris_lattice, 1.4 * rho + 3, 2 * columns * angle + 11, rows)
    spots = _noise(e.iris_lattice, 5 * rho + 1, columns / 4 * angle, rows)
    pupil = e.gaze[rows, 2]
    collarette = pupil + 0.33 * (1 - pupil)
    tone = 0.92 + 0.55 * (coarse - 0.5) + 0.4 * (fine - 0.5) + 0.25 * (spots - 0.5)
    tone += 0.22 * np.exp(-np.square((rho - collarette) / 0.09))
    tone -= 0.25 * np.exp(-np.square((rho - pupil) / 0.06))
    shade = np.ones_like(share)
    shade[rows, pixels] = tone
    canvas.add(share, e.tones["iris"], shade)
    ring = np.zeros_like(share)
    ring[rows, pixels] = np.square(np.clip((rho - 0.78) / 0.22, 0, 1))
    canvas.add(share * ring * 0.8, e.tones["ring"])


def _paint_glints(canvas: Canvas, e: Eyes, at: tuple[Array, Array], eye: Array) -> Array:
    """Reflections of one to three lamps on the cornea,
    which turns half as far as the iris moves."""
    x, y = at
    g = direction(e)
    white = np.full_like(e.tones["skin"], 252)
    most = np.zeros_like(eye)
    for i in range(e.glints.shape[1]):
        place = 0.6 * IRIS_DEPTH * g[:, :2] + e.glints[:, i, :2]
        wide = e.glints[:, i, 2:3]
        spot = ellipse(x - place[:, :1], y - place[:, 1:], wide, wide * e.glints[:, i, 3:])
        share = eye * cover(spot, e.scale) * e.strength[:, i : i + 1]
        canvas.add(share, white)
        most = np.maximum(most, share)
    return most


def _paint_lashes(
    canvas: Canvas, e: Eyes, own: tuple[Array, Array], lids: tuple[Array, Array], eye: Array
) -> Array:
    """Lashes above the upper lid, those that hang across the eye, those below; their opacity."""
    u, v = own
    upper, _ = lids
    root = np.exp(-np.square(np.clip(upper, -1, 1) / 0.028)) * (np.abs(u) < 1.02) * (v < 0.1)
    canvas.add(0.7 * root, e.tones["lash"])
    up, down, below, _, _, opacity = (e.lashes[:, i : i + 1] for i in range(6))
    top, _ = arc(u, e.skew[:, :1])
    bottom, _ = arc(u, e.skew[:, 1:])
    rise = -e.upper * top - v
    layers = ((rise, up, 1.0), (-rise, down, 0.8 * eye), (v - e.lower * bottom, below, 0.5))
    most = np.zeros_like(u)
    for height, length, weight in layers:
        most = np.maximum(most, opacity * weight * _layer(e, u, height, length))
    canvas.add(most, e.tones["lash"])
    return most


def _layer(e: Eyes, u: Array, height: Array, length: Array) -> Array:
    """Coverage by lashes that rise from a lid and fan out, each looked up from its foot.

    Lash i stands at foot_i and passes u = foot_i (1 + fan (h + h^2)) + lean_i h at height h.
    """
    out = np.zeros_like(u)
    rows, pixels = np.nonzero((height > 0) & (height < 1.3 * length) & (np.abs(u) < 1.4))
    h, at = height[rows, pixels], u[rows, pixels]
    fan = e.lashes[rows, 3] * (h + h * h)
    guess = np.floor((at / (1 + fan) + 1) * (LASHES / 2)).astype(np.int64)
    best = np.zeros_like(h)
    lashes, start = e.each_lash.reshape(-1, 3), rows * LASHES
    for i in (guess + step for step in (-2, -1, 0, 1, 2)):
        known = (i >= 0) & (i < LASHES)
        lash = lashes.take(start + np.clip(i, 0, LASHES - 1), axis=0)
        foot = (i.astype(np.float32) + 0.2 + 0.6 * lash[:, 0]) * np.float32(2 / LASHES) - 1
        lean = 0.5 * (lash[:, 1] - 0.5)
        taper = np.sqrt(np.clip(1 - foot * foot, 0, 1)) * (0.85 + 0.3 * foot)
        reach = length[rows, 0] * (0.45 + 0.8 * lash[:, 2]) * taper
        slope = e.lashes[rows, 3] * foot * (1 + 2 * h) + lean
        distance = (at - foot * (1 + fan) - lean * h) / np.sqrt(1 + slope * slope)
        thin = e.lashes[rows, 4] * (1 - np.square(h / np.maximum(reach, 1e-3)))
        share = line_cover(distance, np.where(known, thin, 0), e.scale[rows, 0])
        best = np.maximum(best, share)
    out[rows, pixels] = best
    return out

"""Polygons to masks and masks to polygons, exact for what one side wrote and the other reads.

Filling follows the rule of COCO's own tools, so that masks agree with theirs pixel for pixel: the
boundary is sampled on a grid five times as fine, a column of pixels is crossed where the boundary
passes the column's centre, and a pixel is inside where the crossings above it are odd in number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from augmint.core.types import FloatArray
    from augmint.data.formats.rle import Bits

MOST_VERTICES = 8192
"""Of one polygon."""

MOST_SAMPLES = 1 << 24
"""Of one polygon's boundary, on the fine grid."""

_FINE = 5
_BLOCK = 256

Point = tuple[int, int]
Loop = list[Point]


def fill(points: FloatArray, size: tuple[int, int]) -> Bits:
    """Return the mask `(H, W)` of a polygon.

    Args:
        points: `(K, 2)`, x and y in pixels of the frame; the last is joined to the first.
        size: height and width.

    Raises:
        ValueError: for a boundary of more than 16.7 million samples.

    Example:
        >>> fill(np.array([[1, 0], [3, 0], [3, 1], [1, 1]]), (2, 4)).astype(int).tolist()
        [[0, 1, 1, 0], [0, 0, 0, 0]]
    """
    height, width = size
    u, v = _boundary(np.asarray(points, dtype=np.float64))
    steps = np.flatnonzero(u[1:] != u[:-1])
    low_u = np.minimum(u[steps], u[steps + 1])
    low_v = np.minimum(v[steps], v[steps + 1])
    x, off = np.divmod(low_u - _FINE // 2, _FINE)
    crossed = (off == 0) & (x >= 0) & (x < width)
    y = np.ceil(np.clip((low_v[crossed] + 0.5) / _FINE - 0.5, 0, height)).astype(np.int64)
    toggles = np.bincount(x[crossed] * height + y, minlength=height * width + 1)
    inside = (np.cumsum(toggles[: height * width]) & 1).astype(bool)
    return inside.reshape(width, height).T


def _boundary(points: FloatArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Samples of the closed boundary on the fine grid, edge by edge, both ends of each."""
    corners = (_FINE * points + 0.5).astype(np.int64)
    start, end = corners, np.roll(corners, -1, axis=0)
    reach = np.abs(end - start)
    flat = reach[:, 0] >= reach[:, 1]  # as wide as high, or wider: walks along x
    along = np.where(flat, 0, 1)
    rows = np.arange(len(corners))
    flip = start[rows, along] > end[rows, along]
    first = np.where(flip[:, None], end, start)
    last = np.where(flip[:, None], start, end)
    length = reach.max(1)
    total = int((length + 1).sum())
    if total > MOST_SAMPLES:
        raise ValueError(f"a polygon's boundary is at most {MOST_SAMPLES // _FINE} pixels long")
    rise = (last - first)[rows, 1 - along]
    slope = np.divide(rise, length, out=np.zeros(len(rows)), where=length > 0)
    edge = np.repeat(rows, length + 1)
    step = np.arange(total) - np.repeat(np.cumsum(length + 1) - (length + 1), length + 1)
    t = np.where(flip[edge], length[edge] - step, step)
    walked = t + first[edge, along[edge]]
    # towards zero, as a conversion to a whole number is in C
    climbed = (first[edge, 1 - along[edge]] + slope[edge] * t + 0.5).astype(np.int64)
    wide = flat[edge]
    return np.where(wide, walked, climbed), np.where(wide, climbed, walked)


def crossing(points: FloatArray) -> tuple[int, int] | None:
    """Return two edges of a polygon that cross, by the numbers of their first points, or None.

    Edges that touch, end on each other or lie in one line do not cross.

    Raises:
        ValueError: for more than 8192 points.

    Example:
        >>> crossing(np.array([[0.0, 0], [2, 2], [2, 0], [0, 2]]))
        (0, 2)
    """
    if len(points) > MOST_VERTICES:
        raise ValueError(f"a polygon has at most {MOST_VERTICES} points")
    a = np.asarray(points, dtype=np.float64)
    b = np.roll(a, -1, axis=0)
    low, high = np.minimum(a, b), np.maximum(a, b)
    order = np.argsort(low[:, 0], kind="stable")
    a, b, low, high = a[order], b[order], low[order], high[order]
    for start in range(0, len(a), _BLOCK):
        stop = min(len(a), start + _BLOCK)
        # sorted by their left ends: those further right begin behind all of this block
        end = int(np.searchsorted(low[:, 0], high[start:stop, 0].max(), side="right"))
        block, rest = slice(start, stop), slice(start, max(stop, end))
        crossed = _cross(a[block], b[block], a[rest], b[rest])
        found = np.argwhere(crossed)
        if len(found):
            pairs = [
                tuple(sorted((int(order[start + i]), int(order[start + j])))) for i, j in found
            ]
            first, second = min(pairs)
            return first, second
    return None


def _cross(a: FloatArray, b: FloatArray, c: FloatArray, d: FloatArray) -> Bits:
    """Whether the segments a-b and c-d cross, each pair; both ends of one on two sides each."""

    def side(p: FloatArray, q: FloatArray, r: FloatArray) -> FloatArray:
        return np.sign(
            (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1])
            - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0])
        )

    a, b, c, d = a[:, None], b[:, None], c[None], d[None]
    return (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)


def outlines(mask: Bits) -> list[FloatArray]:
    """Return one polygon `(K, 2)` for each connected part of a mask `(H, W)`.

    Pixels that share a side are connected. The polygon runs along pixel edges; a hole is joined to
    it by a line that is walked there and back, so `fill` gives the same pixels again.

    Example:
        >>> outlines(np.array([[False, True, True]]))[0].tolist()
        [[1.0, 0.0], [3.0, 0.0], [3.0, 1.0], [1.0, 1.0]]
    """
    from scipy.ndimage import find_objects, label

    parts, _ = label(np.asarray(mask, dtype=bool))
    found = []
    for number, place in enumerate(find_objects(parts), start=1):
        outer, *holes = _loops(parts[place] == number)
        joined = outer
        for hole in holes:
            joined = _joined(joined, hole)
        shift = (place[1].start, place[0].start)
        found.append(np.asarray(_corners(joined), dtype=np.float64) + shift)
    return found


def _loops(part: Bits) -> list[Loop]:
    """Boundary loops of one connected part, the outer one first, then holes from the top down.

    A loop walks from pixel corner to pixel corner with the part at its right hand, and turns right
    where it can: where two of its pixels meet at a corner only, they stay apart.
    """
    padded = np.pad(part, 1)
    ahead: dict[Point, list[Point]] = {}
    # (shift to the neighbour, from which corner of the pixel, to which), clockwise on the screen
    sides = (
        ((-1, 0), (0, 0), (1, 0)),
        ((0, 1), (1, 0), (1, 1)),
        ((1, 0), (1, 1), (0, 1)),
        ((0, -1), (0, 1), (0, 0)),
    )
    height, width = part.shape
    for (down, right), begin, end in sides:
        beside = padded[1 + down : 1 + down + height, 1 + right : 1 + right + width]
        for row, column in np.argwhere(part & ~beside).tolist():
            a = (column + begin[0], row + begin[1])
            ahead.setdefault(a, []).append((column + end[0], row + end[1]))
    loops = []
    for start in sorted(ahead, key=lambda p: (p[1], p[0])):
        while ahead.get(start):
            loops.append(_walk(ahead, start))
    return loops


def _walk(ahead: dict[Point, list[Point]], start: Point) -> Loop:
    """Follow the boundary once round; no loop comes through its own first corner twice."""
    loop, place = [start], ahead[start].pop(0)
    while place != start:
        before = loop[-1]
        loop.append(place)
        turn = (place[0] - (place[1] - before[1]), place[1] + (place[0] - before[0]))
        choices = ahead[place]
        place = choices.pop(choices.index(turn) if turn in choices else 0)
    return loop


def _joined(outer: Loop, hole: Loop) -> Loop:
    """Walk left from the hole's first corner to the nearest corner of `outer`, and join there."""
    x, y = hole[0]
    at = {point: i for i, point in enumerate(outer)}
    reach = x
    while (reach, y) not in at:
        reach -= 1
    i = at[(reach, y)]
    return [*outer[: i + 1], *hole, hole[0], *outer[i:]]


def _corners(loop: Loop) -> Loop:
    """The loop without the points in the middle of a straight line."""
    kept = []
    for before, point, after in zip(
        [loop[-1], *loop[:-1]], loop, [*loop[1:], loop[0]], strict=True
    ):
        one = (np.sign(point[0] - before[0]), np.sign(point[1] - before[1]))
        two = (np.sign(after[0] - point[0]), np.sign(after[1] - point[1]))
        if one != two:
            kept.append(point)
    return kept

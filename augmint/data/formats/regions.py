"""A mask that is given as regions: polygons or run lengths, each of a class.

Where regions overlap, the smaller one wins (in pixels); of two of equal size, the later one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from augmint.core.errors import DataError
from augmint.data.formats import polygons, rle
from augmint.data.formats.annotation import bad, number, of_one_size

if TYPE_CHECKING:
    from augmint.core.types import FloatArray, IntArray
    from augmint.data.archives import Files

SLACK = 1.0
"""Pixels by which a polygon may reach over the frame; that part is cut off."""


@dataclass(frozen=True)
class Region:
    """One object's pixels.

    Args:
        index: what is painted: a class, or void.
        where: what says so, for messages.
        polygons: each `(K, 2)`, x and y in pixels, or shares of the frame if `shares`.
        counts: run lengths, packed as text or as numbers; used where there are no polygons.
        size: the height and width that run lengths claim.
        shares: whether polygons are given as shares of the frame.

    Example:
        >>> square = np.array([[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]])
        >>> Region(1, "line 1", (square,), shares=True).runs((2, 4), crossed=False).tolist()
        [0, 4, 4]
    """

    index: int
    where: str
    polygons: tuple[FloatArray, ...] = ()
    counts: str | tuple[int, ...] = ""
    size: tuple[int, int] = (0, 0)
    shares: bool = False

    def runs(self, size: tuple[int, int], crossed: bool) -> IntArray:
        """Return the run lengths of the region in a frame.

        Raises:
            ValueError: for a polygon that crosses itself (unless `crossed`) or leaves the frame,
                and run lengths of another frame.
        """
        if self.polygons:
            inside = np.zeros(size, dtype=bool)
            for points in self.polygons:
                inside |= self._filled(points, size, crossed)
            return rle.encode(inside)
        try:
            of_one_size(self.size, size, "a mask of run lengths")
            counts = rle.unpack(self.counts) if isinstance(self.counts, str) else self.counts
            return rle.encode(rle.decode(np.asarray(counts, dtype=np.int64), size))
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{self.where}: {error}") from None

    def _filled(self, points: FloatArray, size: tuple[int, int], crossed: bool) -> rle.Bits:
        frame = np.array([size[1], size[0]], dtype=np.float64)
        placed = points * frame if self.shares else points
        off = ((placed < -SLACK) | (placed > frame + SLACK)).any(1)
        if off.any():
            x, y = placed[int(off.argmax())]
            raise ValueError(
                f"{self.where}: a polygon's points lie in the frame of {size[1]} x {size[0]}; got "
                f"{x:g}, {y:g}: correct the point"
            )
        try:
            pair = None if crossed else polygons.crossing(placed)
            if pair is not None:
                raise ValueError(
                    f"a polygon's edges do not cross; got the edges from points {pair[0] + 1} and "
                    f"{pair[1] + 1}: correct it, or fill it where crossings are odd (crossed: true)"
                )
            return polygons.fill(placed, size)
        except ValueError as error:
            raise ValueError(f"{self.where}: {error}") from None


@dataclass(frozen=True)
class Painted:
    """The mask of one image.

    Args:
        regions: in the order of the file.
        crossed: whether polygons may cross themselves; they are filled where crossings are odd.

    Example:
        >>> large = Region(1, "line 1", counts=(0, 4), size=(1, 4))
        >>> small = Region(2, "line 2", counts=(1, 1, 2), size=(1, 4))
        >>> Painted((small, large)).load(files=None, size=(1, 4)).tolist()
        [[1, 2, 1, 1]]
    """

    regions: tuple[Region, ...]
    crossed: bool = False

    def load(self, files: Files, size: tuple[int, int]) -> npt.NDArray[Any]:
        """Return the mask, uint8 `(H, W)`; 0 where no region lies."""
        runs = [region.runs(size, self.crossed) for region in self.regions]
        areas = [int(counts[1::2].sum()) for counts in runs]
        out = np.zeros(size, np.uint8)
        for i in sorted(range(len(runs)), key=lambda i: -areas[i]):
            out[rle.decode(runs[i], size)] = self.regions[i].index
        return out


@dataclass(frozen=True)
class Refused:
    """An annotation that cannot be used: its image is left out.

    Args:
        reason: with the place where it stands, and a remedy.
    """

    reason: str

    def load(self, files: Files, size: tuple[int, int]) -> npt.NDArray[Any]:
        """Raise ValueError."""
        raise ValueError(self.reason)


@dataclass(frozen=True)
class Framed:
    """Landmarks of an image whose file says how large it is.

    Args:
        points: `(K, 3)`, or x and y as shares of the frame if `shares`.
        size: height and width that the file says, or None.
        shares: whether points are given as shares of the frame.
        box: what says so, where they are the corners of a box; it must meet the frame.

    Example:
        >>> middle = Framed(np.array([[0.5, 0.5, 2.0]]), shares=True)
        >>> middle.load(files=None, size=(4, 8)).tolist()
        [[4.0, 2.0, 2.0]]
    """

    points: npt.NDArray[Any]
    size: tuple[int, int] | None = None
    shares: bool = False
    box: str = ""

    def load(self, files: Files, size: tuple[int, int]) -> npt.NDArray[Any]:
        """Return the points, float32 `(K, 3)`."""
        if self.size is not None:
            of_one_size(self.size, size, "the annotated frame")
        scale = [size[1], size[0], 1.0] if self.shares else [1.0, 1.0, 1.0]
        placed = (self.points * np.array(scale)).astype(np.float32)
        if self.box and not meets(placed, size):
            shown = ", ".join(f"{v:g}" for v in box_of(placed))
            raise ValueError(
                f"{self.box}: a box meets the frame of {size[1]} x {size[0]}; got {shown} (left, "
                "top, right, bottom): correct the box, or remove the object"
            )
        return placed


def polygon(numbers: Any, where: str) -> FloatArray:
    """Return the points `(K, 2)` of a flat list x1, y1, x2, y2 …

    Raises:
        DataError: for fewer than three points, half a point, or what is no finite number.

    Example:
        >>> polygon([0, 0, 2, 0, 2, 1], "line 1").tolist()
        [[0.0, 0.0], [2.0, 0.0], [2.0, 1.0]]
    """
    if not isinstance(numbers, list) or len(numbers) < 6 or len(numbers) % 2:
        raise _length(numbers, where)
    flat = np.array([number(v, where, "a polygon's number") for v in numbers])
    if (np.abs(flat) > 1e9).any():
        raise bad(
            "a polygon lies in its image", f"{np.abs(flat).max():g}", where, "correct the number"
        )
    return flat.reshape(-1, 2)


def _length(numbers: Any, where: str) -> DataError:
    found = f"{len(numbers)} numbers" if isinstance(numbers, list) else f"{type(numbers).__name__}"
    rule = "a polygon is a list x1, y1, x2, y2, … of at least three points"
    return bad(rule, found, where, "correct it, or remove the object")


CORNERS = ("top_left", "top_right", "bottom_right", "bottom_left")
"""A box as landmarks, which move with the image, and are swapped by a flip."""

CORNER_PAIRS = (("top_left", "top_right"), ("bottom_left", "bottom_right"))


def corners(x0: float, y0: float, x1: float, y1: float) -> npt.NDArray[np.float64]:
    """Return a box as landmarks `(4, 3)`, all visible.

    Example:
        >>> corners(1, 2, 3, 4)[:, :2].tolist()
        [[1.0, 2.0], [3.0, 2.0], [3.0, 4.0], [1.0, 4.0]]
    """
    return np.array([[x0, y0, 2], [x1, y0, 2], [x1, y1, 2], [x0, y1, 2]], dtype=np.float64)


def box_of(points: npt.NDArray[Any]) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of labelled landmarks; zeros where there are none.

    Example:
        >>> box_of(corners(1, 2, 3, 4))
        (1.0, 2.0, 3.0, 4.0)
    """
    seen = np.asarray(points, dtype=np.float64)[points[:, 2] > 0]
    if not len(seen):
        return 0.0, 0.0, 0.0, 0.0
    (x0, y0), (x1, y1) = seen[:, :2].min(0).tolist(), seen[:, :2].max(0).tolist()
    return x0, y0, x1, y1


def meets(points: npt.NDArray[Any], size: tuple[int, int]) -> bool:
    """Return whether the box of labelled landmarks `(K, 3)` has a part in a frame.

    Example:
        >>> meets(corners(-2, 0, 1, 1), (4, 4)), meets(corners(-2, 0, 0, 1), (4, 4))
        (True, False)
    """
    x0, y0, x1, y1 = box_of(points)
    return x0 < size[1] and y0 < size[0] and x1 > 0 and y1 > 0


def is_box(points: npt.NDArray[Any]) -> bool:
    """Return whether landmarks `(N, 4, 3)` are upright boxes, as `corners` gives them.

    Example:
        >>> box = corners(1, 2, 3, 4)[None]
        >>> is_box(box), is_box(box[:, ::-1])
        (True, False)
    """
    top_left, bottom_right = points[:, 0], points[:, 2]
    known = points.copy()
    known[:, 1, 0], known[:, 1, 1] = bottom_right[:, 0], top_left[:, 1]
    known[:, 3, 0], known[:, 3, 1] = top_left[:, 0], bottom_right[:, 1]
    forward = (bottom_right[:, :2] >= top_left[:, :2]).all()
    return bool(forward and (points == known).all() and (points[..., 2] == 2).all())

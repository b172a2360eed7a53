"""How near two images are, in pixels: for telling minted images that are nearly the same."""

from __future__ import annotations

import tempfile
from typing import IO, TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from augmint.core.types import ByteArray, FloatArray, IntArray, Shape

SIDE = 32
"""Images are averaged down to at most this many pixels a side before they are compared."""

_CHUNK = 512


def descriptors(images: ByteArray) -> FloatArray:
    """Return float32 `(N, D)` whose Euclidean distances are root mean square pixel differences.

    `|d(a) - d(b)| = sqrt(mean((a - b)^2)) / 255`, 0 to 1, on images averaged down to at most
    32 pixels a side.

    Example:
        >>> black, white = np.zeros((1, 1, 8, 8), np.uint8), np.full((1, 1, 8, 8), 255, np.uint8)
        >>> round(float(np.linalg.norm(descriptors(black) - descriptors(white))), 6)
        1.0
    """
    size = (min(images.shape[2], SIDE), min(images.shape[3], SIDE))
    parts = []
    for start in range(0, len(images), _CHUNK):
        part = torch.from_numpy(np.ascontiguousarray(images[start : start + _CHUNK])).float()
        if size != tuple(part.shape[2:]):
            part = torch.nn.functional.adaptive_avg_pool2d(part, size)
        parts.append(part.flatten(1))
    flat = torch.cat(parts) if parts else torch.zeros(0, images.shape[1] * size[0] * size[1])
    return (flat / (255.0 * flat.shape[1] ** 0.5)).numpy()


def distances(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return Euclidean distances `(len(a), len(b))`, float64.

    Example:
        >>> distances(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
        [[5.0, 0.0]]
    """
    # float64: |a|² + |b|² - 2ab cancels, and near-duplicates are what is looked for
    x, y = a.astype(np.float64), b.astype(np.float64)
    squared = (x * x).sum(1)[:, None] + (y * y).sum(1)[None] - 2.0 * (x @ y.T)
    return np.sqrt(np.maximum(squared, 0.0))


def nearest_other(views: FloatArray) -> FloatArray:
    """Return each row's distance to the nearest other row, `(N,)`; infinite for a single row.

    Example:
        >>> nearest_other(np.array([[0.0], [1.0], [5.0]])).tolist()
        [1.0, 1.0, 4.0]
    """
    nearest = np.full(len(views), np.inf)
    for start in range(0, len(views), _CHUNK):
        block = distances(views[start : start + _CHUNK], views)
        rows = np.arange(len(block))
        block[rows, start + rows] = np.inf
        if len(views) > 1:
            nearest[start : start + _CHUNK] = block.min(1)
    return nearest


class Kept:
    """What has been kept of a class, to tell quickly which further images are too near to it.

    Descriptors are first compared by some 48 of their lowest frequencies: a projection on
    orthonormal cosines never lengthens a difference, so pairs that are near enough in all pixels
    are near enough here, and only those are compared in full. The answer is that of comparing
    everything with everything.

    Memory: 4 bytes times the frequencies times the images kept (some 20 MB for 100 000); the full
    descriptors lie in a temporary file where `on_disk` is set.

    Args:
        shape: of the images.
        least: distance (root mean square difference) below which two count as the same.
        on_disk: keep full descriptors in a file.

    Example:
        >>> kept, black = Kept((1, 8, 8), least=0.5), descriptors(np.zeros((1, 1, 8, 8), np.uint8))
        >>> kept.add(black)
        >>> kept.size, kept.new(black).tolist()
        (1, [False])
    """

    def __init__(self, shape: Shape, least: float, on_disk: bool = False) -> None:
        channels, height, width = shape[0], min(shape[1], SIDE), min(shape[2], SIDE)
        self.least = least
        self.size = 0
        self._basis = _low_frequencies(channels, height, width)
        self._low = np.zeros((0, len(self._basis)), np.float32)
        self._width = channels * height * width
        self._file: IO[bytes] | None = tempfile.TemporaryFile() if on_disk else None  # noqa: SIM115
        self._full = np.zeros((0, self._width), np.float32)

    def new(self, views: FloatArray) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Tell which rows, taken in order, are at least `least` from what is kept
        and from each other.

        Args:
            views: descriptors `(N, D)`, see `descriptors`.

        Example:
            >>> images = np.zeros((3, 1, 8, 8), np.uint8)
            >>> images[2] = 255
            >>> Kept((1, 8, 8), 0.5).new(descriptors(images)).tolist()
            [True, False, True]
        """
        fresh = np.ones(len(views), bool)
        if self.least <= 0 or not len(views):
            return fresh
        low = (views @ self._basis.T).astype(np.float32)
        for start in range(0, self.size, _KEPT_CHUNK):
            kept = self._low[start : min(start + _KEPT_CHUNK, self.size)]
            rows = np.flatnonzero(fresh)
            near = _maybe_near(low[rows], kept, self.least)
            for row in np.flatnonzero(near.any(1)):
                fresh[rows[row]] = not self._any_near(
                    views[rows[row]], start + np.flatnonzero(near[row])
                )
        near = _maybe_near(low, low, self.least)
        for row in np.flatnonzero(fresh):
            if fresh[row]:
                later = row + 1 + np.flatnonzero(near[row, row + 1 :])
                later = later[_exact(views[row], views[later]) < self.least]
                fresh[later] = False
        return fresh

    def add(self, views: FloatArray) -> None:
        """Keep rows; they need not be new."""
        if self.least <= 0 or not len(views):
            return
        end = self.size + len(views)
        self._low = _grown(self._low, end)
        self._low[self.size : end] = views @ self._basis.T
        if self._file is None:
            self._full = _grown(self._full, end)
            self._full[self.size : end] = views
        else:
            self._file.seek(self.size * self._width * 4)
            self._file.write(np.ascontiguousarray(views, np.float32).tobytes())
        self.size = end

    def _any_near(self, view: FloatArray, rows: IntArray) -> bool:
        return any(
            bool((_exact(view, self._rows(rows[i : i + _CHUNK])) < self.least).any())
            for i in range(0, len(rows), _CHUNK)
        )

    def _rows(self, rows: IntArray) -> FloatArray:
        if self._file is None:
            return self._full[rows]
        parts = []
        for row in rows:
            self._file.seek(int(row) * self._width * 4)
            parts.append(np.frombuffer(self._file.read(self._width * 4), np.float32))
        return np.stack(parts)


_KEPT_CHUNK = 4096
_ROUNDING = 4e-6  # of squared distances of float32 rows of norm 1 at most
_FREQUENCIES = 48


def _low_frequencies(channels: int, height: int, width: int) -> FloatArray:
    """Orthonormal rows `(K, D)`: the lowest cosines of each channel."""
    each = max(1, round((_FREQUENCIES / channels) ** 0.5))
    rows, columns = _cosines(height, min(each, height)), _cosines(width, min(each, width))
    plane = np.einsum("ay,bx->abyx", rows, columns).reshape(len(rows) * len(columns), -1)
    return np.kron(np.eye(channels), plane).astype(np.float32)


def _cosines(n: int, count: int) -> FloatArray:
    angles = np.pi * (np.arange(n) + 0.5) * np.arange(count)[:, None] / n
    scale = np.where(np.arange(count) == 0, 1.0, 2.0) / n
    return np.cos(angles) * np.sqrt(scale)[:, None]


def _maybe_near(a: FloatArray, b: FloatArray, least: float) -> np.ndarray:
    """Pairs that may be nearer than `least`; those left out are not."""
    squared = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2.0 * (a @ b.T)
    return np.asarray(squared < least * least + _ROUNDING)


def _exact(view: FloatArray, rows: FloatArray) -> FloatArray:
    difference = rows.astype(np.float64) - view.astype(np.float64)
    return np.sqrt((difference * difference).sum(1))


def _grown(array: FloatArray, needed: int) -> FloatArray:
    if needed <= len(array):
        return array
    larger = np.zeros((max(needed, 2 * len(array), 1024), array.shape[1]), array.dtype)
    larger[: len(array)] = array
    return larger

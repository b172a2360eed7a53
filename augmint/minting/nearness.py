"""How near two images are, in pixels: for telling minted images that are nearly the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from augmint.core.types import ByteArray, FloatArray

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
    """Return Euclidean distances `(len(a), len(b))`, float64."""
    # float64: |a|² + |b|² - 2ab cancels, and near-duplicates are what is looked for
    x, y = a.astype(np.float64), b.astype(np.float64)
    squared = (x * x).sum(1)[:, None] + (y * y).sum(1)[None] - 2.0 * (x @ y.T)
    return np.sqrt(np.maximum(squared, 0.0))


def nearest_other(views: FloatArray) -> FloatArray:
    """Return each row's distance to the nearest other row, `(N,)`; infinite for a single row."""
    nearest = np.full(len(views), np.inf)
    for start in range(0, len(views), _CHUNK):
        block = distances(views[start : start + _CHUNK], views)
        rows = np.arange(len(block))
        block[rows, start + rows] = np.inf
        if len(views) > 1:
            nearest[start : start + _CHUNK] = block.min(1)
    return nearest


def first_of_each(
    views: FloatArray, kept: FloatArray, least: float
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Tell which rows, taken in order, are at least `least` from `kept` and from those taken before.

    Example:
        >>> rows = np.array([[0.0], [0.1], [1.0], [1.05]])
        >>> first_of_each(rows, np.array([[2.0]]), 0.5).tolist()
        [True, False, True, False]
    """
    taken = np.ones(len(views), bool)
    if least <= 0 or not len(views):
        return taken
    if len(kept):
        for start in range(0, len(views), _CHUNK):
            part = distances(views[start : start + _CHUNK], kept)
            taken[start : start + _CHUNK] = part.min(1) >= least
    among = distances(views, views)
    for row in np.flatnonzero(taken):
        if taken[row]:
            later = among[row, row + 1 :] < least
            taken[row + 1 :][later] = False
    return taken

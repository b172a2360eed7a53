"""The pictures of a comparison: the same images of every class,
and what they claim drawn over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from augmint.core.pictures import as_rgb, grid, png_bytes, scale_of

if TYPE_CHECKING:
    from augmint.aspects.base import Aspect
    from augmint.core.types import ByteArray, IntArray

SHOWN = 10
"""Images of each class in a picture, and images in a row."""

ALONE = 2 * SHOWN
"""Images in a picture of a set without classes."""

CLASSES = 20
"""Classes shown, at most."""


def shown_of(classes: int) -> int:
    """Return how many images of each class a picture shows, of a set with so many classes.

    Example:
        >>> shown_of(10), shown_of(1)
        (10, 20)
    """
    return SHOWN if classes > 1 else ALONE


def rows_of_classes(labels: IntArray) -> IntArray:
    """Return the rows of a picture, class by class, repeated where a class has fewer.

    Example:
        >>> rows_of_classes(np.array([1, 0, 1])).tolist() == [1] * 10 + [0, 2] * 5
        True
    """
    found = np.unique(labels)
    return np.concatenate(
        [np.resize(np.flatnonzero(labels == c), shown_of(len(found))) for c in found]
    )


def drawn(aspect: Aspect, images: ByteArray, values: np.ndarray) -> ByteArray:
    """Return images, enlarged, with what they claim drawn over them, uint8 `(N, 3, sH, sW)`.

    Args:
        aspect: what is claimed; it is `spatial`.
        images: uint8 `(N, C, H, W)`.
        values: stored, N rows.

    Example:
        >>> from augmint.aspects.landmarks import Landmarks
        >>> eye, images = Landmarks("eye", ("pupil",), (8, 8)), np.zeros((2, 1, 8, 8), np.uint8)
        >>> drawn(eye, images, np.full((2, 1, 3), 4.0)).shape
        (2, 3, 48, 48)
    """
    scale = _enlarged(images)
    large = images.repeat(scale, axis=2).repeat(scale, axis=3)
    return np.stack([aspect.draw(i, v) for i, v in zip(large, values, strict=True)])


def grid_of(images: ByteArray, annotated: Sequence[ByteArray] = ()) -> bytes:
    """Return a picture of images in rows, each row above what `drawn` gave of it, as PNG bytes."""
    most = SHOWN * CLASSES  # of a hundred classes the first twenty
    if not annotated:
        scale = max(1, scale_of(images.shape[-1]) // 2)
        return png_bytes(grid(images[:most], SHOWN, scale=scale, gap=1))
    scale = _enlarged(images)
    large = images[:most].repeat(scale, axis=2).repeat(scale, axis=3)
    layers = [np.stack([as_rgb(i) for i in large]), *(a[:most] for a in annotated)]
    rows = [layer[i : i + SHOWN] for i in range(0, len(large), SHOWN) for layer in layers]
    return png_bytes(grid(np.concatenate(rows), SHOWN, gap=1))


def _enlarged(images: ByteArray) -> int:
    """Return the factor at which lines and points can be told apart."""
    return max(2, scale_of(images.shape[-1]))

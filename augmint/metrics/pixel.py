"""Pixel measures of masks, from counts: every measure is a function of one confusion matrix.

With T the truth and P the prediction of a class, TP = |P ∩ T|, FP = |P \\ T|, FN = |T \\ P| and TN
the rest. Void pixels (no truth) are never counted. A ratio whose denominator is empty is undefined
and NaN: it is left out of a mean over images, never taken as 0 or 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from augmint.core.errors import UsageError

if TYPE_CHECKING:
    import numpy.typing as npt

    from augmint.core.types import ByteArray, FloatArray, IntArray

_BLOCK = 1 << 22


def confusion(
    predicted: ByteArray, truth: ByteArray, classes: int, void: int | None = None
) -> IntArray:
    """Return the pixels of each image by true and predicted class, int64 `(N, true, predicted)`.

    Args:
        predicted: uint8 `(N, H, W)`, 0 to classes - 1.
        truth: uint8 `(N, H, W)`, 0 to classes - 1, or `void`.
        classes: their number.
        void: the number that says "no truth here", or None.

    Raises:
        UsageError: for other shapes, or a class out of range.

    Example:
        >>> confusion(np.array([[[0, 1, 1]]]), np.array([[[0, 0, 255]]]), 2, void=255).tolist()
        [[[1, 1], [0, 0]]]
    """
    if predicted.ndim != 3 or predicted.shape != truth.shape:
        raise UsageError(
            "masks and truth are (N, H, W) of one shape",
            f"{predicted.shape} and {truth.shape}",
            "resample the prediction to the size of the truth",
        )
    counts = np.zeros((len(truth), classes, classes), np.int64)
    step = max(1, _BLOCK // max(1, truth[:1].size))
    for start in range(0, len(truth), step):
        t, p = (np.asarray(a[start : start + step], dtype=np.int64) for a in (truth, predicted))
        kept = np.ones(t.shape, dtype=bool) if void is None else t != void
        for what, values in (("truth", t), ("predicted mask", p)):
            if kept.any() and values[kept].max() >= classes:
                raise UsageError(
                    f"classes of a {what} are 0 to {classes - 1}",
                    int(values[kept].max()),
                    "name all classes, or the number that means void",
                )
        image = np.arange(len(t))[:, None, None]
        place = ((image * classes + t) * classes + p)[kept]
        found = np.bincount(place, minlength=len(t) * classes * classes)
        counts[start : start + step] = found.reshape(len(t), classes, classes)
    return counts


def class_iou(counts: IntArray) -> FloatArray:
    """Return `TP / (TP + FP + FN)` of each class, `(…, C)`; NaN where neither holds the class.

    Example:
        >>> class_iou(np.array([[3, 1, 0], [0, 1, 0], [0, 0, 0]])).tolist()
        [0.75, 0.5, nan]
    """
    both, true, said = _sums(counts)
    return _ratio(both, true + said - both)


def class_dice(counts: IntArray) -> FloatArray:
    """Return `2 TP / (2 TP + FP + FN)` of each class, `(…, C)`; NaN where neither holds it.

    Example:
        >>> class_dice(np.array([[1, 2], [0, 1]])).tolist()
        [0.5, 0.5]
    """
    both, true, said = _sums(counts)
    return _ratio(2 * both, true + said)


def pixel_accuracy(counts: IntArray) -> FloatArray:
    """Return the share of pixels whose class is right, `(…,)`; NaN where all are void.

    Example:
        >>> pixel_accuracy(np.array([[[3, 1], [0, 4]]])).tolist()
        [0.875]
    """
    return _ratio(_sums(counts)[0].sum(-1), counts.sum((-2, -1)))


def mean_over_classes(values: FloatArray) -> FloatArray:
    """Return the mean over the last axis of what is defined, NaN where nothing is.

    Example:
        >>> mean_over_classes(np.array([[0.75, 0.5, np.nan]])).tolist()
        [0.625]
    """
    there = ~np.isnan(values)
    return _ratio(np.where(there, values, 0.0).sum(-1), there.sum(-1))


@dataclass(frozen=True, eq=False)
class Binary:
    """Pixels of one class against all others, each `(…,)`.

    Args:
        tp: true and said.
        fp: said, not true.
        fn: true, not said.
        tn: neither.

    Example:
        >>> b = Binary.of(np.array([[5, 1], [2, 4]]))
        >>> [float(pixels) for pixels in (b.tp, b.fp, b.fn, b.tn)]
        [4.0, 1.0, 2.0, 5.0]
    """

    tp: FloatArray
    fp: FloatArray
    fn: FloatArray
    tn: FloatArray

    @classmethod
    def of(cls, counts: IntArray, positive: int = 1) -> Binary:
        """Return the four counts of the class `positive`, from `confusion`."""
        exact = np.asarray(counts, dtype=np.float64)
        both, true, said = (a[..., positive] for a in _sums(exact))
        return cls(both, said - both, true - both, exact.sum((-2, -1)) - true - said + both)


def sensitivity(b: Binary) -> FloatArray:
    """Return `TP / (TP + FN)`, the recall.

    Example:
        >>> float(sensitivity(Binary.of(np.array([[3, 2], [1, 3]]))))
        0.75
    """
    return _ratio(b.tp, b.tp + b.fn)


def specificity(b: Binary) -> FloatArray:
    """Return `TN / (FP + TN)`.

    Example:
        >>> float(specificity(Binary.of(np.array([[3, 2], [1, 3]]))))
        0.6
    """
    return _ratio(b.tn, b.fp + b.tn)


def precision(b: Binary) -> FloatArray:
    """Return `TP / (TP + FP)`.

    Example:
        >>> float(precision(Binary.of(np.array([[3, 2], [1, 3]]))))
        0.6
    """
    return _ratio(b.tp, b.tp + b.fp)


def negative_predictive_value(b: Binary) -> FloatArray:
    """Return `TN / (TN + FN)`.

    Example:
        >>> float(negative_predictive_value(Binary.of(np.array([[3, 2], [1, 3]]))))
        0.75
    """
    return _ratio(b.tn, b.tn + b.fn)


def matthews(b: Binary) -> FloatArray:
    """Return `(TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN))`.

    Source: Matthews 1975; -1 to 1.

    Example:
        >>> counts = np.array([[[3, 2], [1, 3]], [[5, 0], [0, 4]], [[0, 5], [4, 0]]])
        >>> matthews(Binary.of(counts)).round(9).tolist()
        [0.35, 1.0, -1.0]
    """
    roots = [np.sqrt(s) for s in (b.tp + b.fp, b.tp + b.fn, b.tn + b.fp, b.tn + b.fn)]
    return _ratio(b.tp * b.tn - b.fp * b.fn, roots[0] * roots[1] * roots[2] * roots[3])


BINARY: Mapping[str, Callable[[Binary], FloatArray]] = {
    "accuracy": lambda b: _ratio(b.tp + b.tn, b.tp + b.fp + b.fn + b.tn),
    "sensitivity": sensitivity,
    "specificity": specificity,
    "precision": precision,
    "npv": negative_predictive_value,
    "f1": lambda b: _ratio(2 * b.tp, 2 * b.tp + b.fp + b.fn),
    "mcc": matthews,
    "informedness": lambda b: sensitivity(b) + specificity(b) - 1.0,
    "markedness": lambda b: precision(b) + negative_predictive_value(b) - 1.0,
    "fpr": lambda b: 1.0 - specificity(b),
    "fnr": lambda b: 1.0 - sensitivity(b),
}
"""The nine measures of a two-class mask and the two rates of error, by name (Powers 2011)."""


@dataclass(frozen=True)
class Spread:
    """A measure over images.

    Args:
        mean: over the images where it is defined; None where it is nowhere.
        sd: its standard deviation over them, over n - 1; 0 where there is one.
        n: their number.
    """

    mean: float | None
    sd: float | None
    n: int


def over_images(values: FloatArray) -> Spread:
    """Return mean and standard deviation of a measure `(N,)` over the images that define it.

    Example:
        >>> over_images(np.array([0.5, np.nan, 1.0])).mean
        0.75
    """
    there = values[~np.isnan(values)]
    if not len(there):
        return Spread(None, None, 0)
    sd = float(there.std(ddof=1)) if len(there) > 1 else 0.0
    return Spread(float(there.mean()), sd, len(there))


def binary_measures(counts: IntArray, positive: int = 1) -> dict[str, Spread]:
    """Return all measures of `BINARY`, taken image by image, then over images.

    Args:
        counts: `(N, C, C)` from `confusion`.
        positive: the class that is asked about; all others are its background.

    Example:
        >>> found = binary_measures(np.array([[[3, 2], [1, 3]], [[5, 0], [0, 4]]]))
        >>> len(found), found["sensitivity"].mean, found["sensitivity"].n
        (11, 0.875, 2)
    """
    of = Binary.of(counts, positive)
    return {name: over_images(measure(of)) for name, measure in BINARY.items()}


def _sums(counts: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], ...]:
    """Return right pixels, true pixels and predicted pixels of each class, `(…, C)`."""
    return np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1), counts.sum(-2)


def _ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> FloatArray:
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)

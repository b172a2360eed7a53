"""Label truth: does a judge trained on real images agree with what each minted image claims?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from augmint.core.config import to_plain
from augmint.core.errors import UsageError
from augmint.core.registry import METRICS
from augmint.metrics.base import Inputs, Metric, Values, check_labels

if TYPE_CHECKING:
    from augmint.core.types import FloatArray, IntArray


@dataclass(frozen=True)
class LabelTruth:
    """What the judge says of claimed labels.

    Args:
        agreement: share of images whose most probable class is the claimed one, [0, 1].
        claimed_probability: mean probability of the claimed class, [0, 1].
        per_class: agreement by claimed class; None where a class has no images.
        confusion: counts `[claimed][judged]`.
        counts: images by claimed class.
    """

    agreement: float
    claimed_probability: float
    per_class: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...]
    counts: tuple[int, ...]

    def to_plain(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        plain: dict[str, Any] = to_plain(self)
        return plain


def label_truth(probabilities: FloatArray, labels: IntArray) -> LabelTruth:
    """Return how far a judge's class probabilities bear out the claimed labels.

    Args:
        probabilities: `(N, K)`, rows sum to 1 (within 1e-3).
        labels: claimed classes, int `(N,)`, 0 to K-1.

    Raises:
        UsageError: for other shapes, rows that are no probabilities, or labels out of range.

    Example:
        >>> label_truth(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 1])).per_class
        (1.0, 0.0)
    """
    _check(probabilities, labels)
    classes = probabilities.shape[1]
    judged = probabilities.argmax(1)
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (labels, judged), 1)
    counts = confusion.sum(1)
    per_class = tuple(
        float(confusion[c, c] / counts[c]) if counts[c] else None for c in range(classes)
    )
    claimed = probabilities[np.arange(len(labels)), labels]
    return LabelTruth(
        agreement=float(np.mean(judged == labels)),
        claimed_probability=float(np.mean(claimed, dtype=np.float64)),
        per_class=per_class,
        confusion=tuple(tuple(int(v) for v in row) for row in confusion),
        counts=tuple(int(v) for v in counts),
    )


def _check(probabilities: FloatArray, labels: IntArray) -> None:
    if probabilities.ndim != 2 or not len(probabilities):
        raise UsageError(
            "probabilities must be (N, K) with N at least 1",
            str(probabilities.shape),
            "pass the judge's probabilities of all images",
        )
    check_labels(labels, len(probabilities))
    sums = probabilities.sum(1)
    if not np.allclose(sums, 1.0, atol=1e-3) or (probabilities < -1e-6).any():
        row = int(np.abs(sums - 1.0).argmax())
        raise UsageError(
            "probabilities must be non-negative rows that sum to 1",
            f"sum {sums[row]:.4f} in row {row}",
            "apply a soft-max to logits first",
        )
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise UsageError(
            f"labels must be 0 to {probabilities.shape[1] - 1}",
            f"{labels.min()} to {labels.max()}",
            "use the judge's class order",
        )


@METRICS.register("label-truth")
@dataclass(frozen=True)
class LabelTruthMetric(Metric):
    """Share of images whose claimed label a judge trained on real images confirms.

    Example:
        >>> LabelTruthMetric()(np.array([[0.75, 0.25], [0.75, 0.25]]), np.array([0, 1]))
        {'agreement': 0.5, 'claimed_probability': 0.5, 'worst_class': 0.0}
    """

    inputs: ClassVar[Inputs] = "probabilities"
    title: ClassVar[str] = "label-truth"

    def __call__(self, probabilities: FloatArray, labels: IntArray) -> Values:
        """Return agreement, mean claimed probability and the worst class' agreement."""
        result = label_truth(probabilities, labels)
        return {
            "agreement": result.agreement,
            "claimed_probability": result.claimed_probability,
            "worst_class": min(v for v in result.per_class if v is not None),
        }

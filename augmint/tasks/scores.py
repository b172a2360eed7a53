"""What every task's scores have in common; scores of a classifier,
from probabilities and labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from augmint.core.errors import UsageError

if TYPE_CHECKING:
    import numpy.typing as npt

    from augmint.core.types import ByteArray, FloatArray, IntArray

BINS = 15
"""Equal-width bins of the expected calibration error."""


QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of an error's distribution."""


@dataclass(frozen=True)
class Measure:
    """What a task's deciding score is called, and how it is read.

    A study compares *points*: higher is better, 100 is a perfect network.

    Args:
        name: of the score, in a sentence ("accuracy of small-cnn").
        key: of the raw number in `Scores.plain()`.
        unit: of the raw number ("of the reference distance").
        lower_is_better: of the raw number; never of points.
        points: how points follow from the raw number ("100 (1 - NME)").

    Example:
        >>> Measure("mIoU", "miou", "share of the union", False, "100 mIoU").error
        '1 - mIoU'
    """

    name: str
    key: str
    unit: str
    lower_is_better: bool
    points: str

    @property
    def error(self) -> str:
        """What `1 - points / 100` is called, of which 0 is right ("NME", "1 - mIoU")."""
        return self.name if self.lower_is_better else f"1 - {self.name}"


class Scores(ABC):
    """What a network scores on real images: the part that studies use without knowing the task.

    `per_image` is one number an image, 1 where the answer is perfect; differences of two networks
    on the same images are paired by it. `points` is its mean in points.
    """

    measure: ClassVar[Measure]
    """What the deciding score is called."""

    @property
    @abstractmethod
    def per_image(self) -> FloatArray:
        """Return the deciding score of each image, float64 `(N,)`, at most 1; higher is better."""

    @property
    def points(self) -> float:
        """The score that decides: `100 mean(per_image)`; higher is better, 100 is perfect."""
        return 100.0 * float(np.mean(self.per_image, dtype=np.float64))

    @property
    def name(self) -> str:
        """What the raw score is called in reports ("accuracy", "NME")."""
        return self.measure.name

    @property
    def unit(self) -> str:
        """Its unit, or an empty text."""
        return self.measure.unit

    @abstractmethod
    def plain(self) -> dict[str, Any]:
        """Return plain JSON values; `measure.key` is the raw number that points follow from."""

    def parts(self) -> dict[str, float | None]:
        """Return scores of parts of the answer by dotted name ("mae.yaw"), None where undefined.

        The last word is the measure or the component; words between name a class.
        """
        return {}


ACCURACY = Measure("accuracy", "accuracy", "share of the images", False, "100 accuracy")


@dataclass(frozen=True, eq=False)
class ClassificationScores(Scores):
    """What a classifier scores on real images; this, and nothing else, may decide.

    Args:
        accuracy: share of right answers, 0 to 1.
        balanced_accuracy: mean over the classes present of each one's accuracy.
        macro_f1: mean F1 over the classes that are present or predicted.
        nll: mean negative log-likelihood of the true class, in nats.
        ece: expected calibration error of the first choice, 15 bins.
        worst_class: accuracy of the worst class present.
        per_class: accuracy of each class; NaN where it has no image.
        counts: images of each class.
        correct: uint8 `(N,)`, 1 where the answer is right, in the order of the rows.
        classes: their names.
    """

    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    nll: float
    ece: float
    worst_class: float
    per_class: tuple[float, ...]
    counts: tuple[int, ...]
    correct: ByteArray
    classes: tuple[str, ...] = ()
    measure: ClassVar[Measure] = ACCURACY

    @property
    def per_image(self) -> FloatArray:
        return self.correct.astype(np.float64)

    def plain(self) -> dict[str, Any]:
        """Return plain JSON values; a class without images has None for its accuracy."""
        numbers = {
            name: getattr(self, name)
            for name in ("accuracy", "balanced_accuracy", "macro_f1", "nll", "ece", "worst_class")
        }
        return {
            **numbers,
            "per_class": [None if np.isnan(v) else v for v in self.per_class],
            "counts": list(self.counts),
            "correct": self.correct.tolist(),
            "classes": list(self.classes),
        }


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The same numbers on any images (minted ones, say): they explain and never decide.

    Args:
        agreement: share of images whose claimed class is the network's first choice.
        nll: mean negative log-likelihood of the claimed class, in nats.
        confidence: mean probability of the claimed class.
        per_class: agreement of each class; NaN where it has no image.
        counts: images of each class.
        agrees: uint8 `(N,)`.
    """

    agreement: float
    nll: float
    confidence: float
    per_class: tuple[float, ...]
    counts: tuple[int, ...]
    agrees: ByteArray

    def plain(self) -> dict[str, Any]:
        """Return plain JSON values, without the vector over images."""
        return {
            "agreement": self.agreement,
            "nll": self.nll,
            "confidence": self.confidence,
            "per_class": [None if np.isnan(v) else v for v in self.per_class],
            "counts": list(self.counts),
        }


@dataclass(frozen=True, eq=False)
class Errors:
    """How far images are from what they claim, by a network trained on real images.

    Args:
        mean: of the errors; 0 is right, the unit is that of the aspect's error.
        quantiles: at `QUANTILES`.
        per_image: float64 `(N,)`.
    """

    mean: float
    quantiles: tuple[float, ...]
    per_image: FloatArray

    def plain(self) -> dict[str, Any]:
        """Return plain JSON values, without the vector over images."""
        named = {
            f"q{round(100 * q):02d}": v for q, v in zip(QUANTILES, self.quantiles, strict=True)
        }
        return {"mean": self.mean, "quantiles": named, "n": len(self.per_image)}


def error_distribution(errors: FloatArray) -> Errors:
    """Return mean and quantiles of errors `(N,)`.

    Raises:
        UsageError: if there are none, or one is not finite.

    Example:
        >>> error_distribution(np.array([0.1, 0.3])).plain()["quantiles"]["q50"]
        0.2
    """
    given = np.asarray(errors, dtype=np.float64)
    if given.ndim != 1 or not len(given) or not np.isfinite(given).all():
        raise UsageError(
            "errors are finite numbers, one an image, at least one",
            f"{given.shape}",
            "pass the errors of all images",
        )
    found = np.quantile(given, QUANTILES)
    return Errors(float(given.mean()), tuple(found.tolist()), given)


def classification_scores(
    probabilities: FloatArray, labels: IntArray, classes: Sequence[str] = ()
) -> ClassificationScores:
    """Return all scores of probabilities `(N, K)` against labels `(N,)`.

    Raises:
        UsageError: if there are no rows, or their numbers differ.

    Example:
        >>> p = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
        >>> s = classification_scores(p, np.array([0, 1, 1]))
        >>> round(s.accuracy, 3), s.per_class, s.worst_class
        (0.667, (1.0, 0.5), 0.5)
    """
    _check(probabilities, labels)
    width = probabilities.shape[1]
    predicted = probabilities.argmax(1)
    correct = (predicted == labels).astype(np.uint8)
    counts = np.bincount(labels, minlength=width)
    right = np.bincount(labels, weights=correct, minlength=width)
    per_class = _share(right, counts)
    present = per_class[counts > 0]
    return ClassificationScores(
        accuracy=float(correct.mean()),
        balanced_accuracy=float(present.mean()),
        macro_f1=macro_f1(right, counts, np.bincount(predicted, minlength=width)),
        nll=negative_log_likelihood(probabilities, labels),
        ece=calibration_error(probabilities.max(1), correct),
        worst_class=float(present.min()),
        per_class=tuple(per_class.tolist()),
        counts=tuple(counts.tolist()),
        correct=correct,
        classes=tuple(classes),
    )


def diagnosis(probabilities: FloatArray, labels: IntArray) -> Diagnosis:
    """Return what a network says of images that claim the classes `labels`.

    Example:
        >>> found = diagnosis(np.array([[0.75, 0.25], [0.75, 0.25]]), np.array([0, 1]))
        >>> found.agreement, found.confidence, found.per_class
        (0.5, 0.5, (1.0, 0.0))
    """
    _check(probabilities, labels)
    width = probabilities.shape[1]
    agrees = (probabilities.argmax(1) == labels).astype(np.uint8)
    counts = np.bincount(labels, minlength=width)
    per_class = _share(np.bincount(labels, weights=agrees, minlength=width), counts)
    claimed = probabilities[np.arange(len(labels)), labels]
    return Diagnosis(
        agreement=float(agrees.mean()),
        nll=negative_log_likelihood(probabilities, labels),
        confidence=float(claimed.mean(dtype=np.float64)),
        per_class=tuple(per_class.tolist()),
        counts=tuple(counts.tolist()),
        agrees=agrees,
    )


def macro_f1(
    right: npt.NDArray[Any], counts: npt.NDArray[Any], predicted: npt.NDArray[Any]
) -> float:
    """Return the mean of `2 right / (counts + predicted)` over classes present or predicted.

    Example:
        >>> macro_f1(np.array([1, 1, 0]), np.array([1, 3, 0]), np.array([3, 1, 0]))
        0.5
    """
    both = counts + predicted
    return float((2.0 * right[both > 0] / both[both > 0]).mean())


def negative_log_likelihood(probabilities: FloatArray, labels: IntArray) -> float:
    """Return `-mean log p_label`, probabilities held above the smallest normal float32.

    Example:
        >>> found = negative_log_likelihood(np.full((3, 4), 0.25), np.array([0, 1, 3]))
        >>> round(float(np.exp(found)), 9)
        4.0
    """
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(chosen, np.finfo(np.float32).tiny)).mean())


def calibration_error(
    confidence: npt.NDArray[Any], correct: npt.NDArray[Any], bins: int = BINS
) -> float:
    """Return `sum_b n_b / N |mean correct - mean confidence|` over bins ((b-1)/B, b/B].

    Source: Guo et al. 2017, arXiv 1706.04599, eq. 3.

    Example:
        >>> calibration_error(np.array([0.75, 0.75]), np.array([1, 0]))
        0.25
    """
    index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = np.bincount(index, weights=correct - confidence.astype(np.float64), minlength=bins)
    return float(np.abs(gap).sum() / len(confidence))


def _share(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _check(probabilities: FloatArray, labels: IntArray) -> None:
    if len(labels) == 0 or probabilities.shape[0] != len(labels):
        raise UsageError(
            "scores need one row of probabilities for each label, and at least one",
            f"{probabilities.shape[0]} rows for {len(labels)} labels",
            "pass arrays of one length",
        )

"""What a judge says of candidates: which carry what they claim, by class or by an error's bound."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from augmint.core.errors import DataError, UsageError

if TYPE_CHECKING:
    from augmint.aspects.base import Aspect
    from augmint.aspects.category import Category
    from augmint.core.types import ByteArray, FloatArray, Judge

Values = Mapping[str, np.ndarray]
Found = tuple[np.ndarray, dict[str, "FloatArray"]]
"""Why each image is rejected, `(N,)` texts, "" for none; and scores, `(N,)` each."""


class Measurer(Protocol):
    """A network trained on real images that measures what an image carries."""

    def errors(self, images: ByteArray, values: np.ndarray) -> FloatArray:
        """Return the aspect's error of its predictions against values, `(N,)`; 0 is right."""
        ...


class Review(ABC):
    """Looks at candidates with the values that they claim."""

    @abstractmethod
    def __call__(self, images: ByteArray, values: Values) -> Found:
        """Return why each image is rejected ("" for none) and what was measured."""


@dataclass(frozen=True)
class ByClass(Review):
    """Keeps images in which a classifier sees the class they claim.

    Args:
        judge: gives class probabilities.
        category: what is claimed.
        threshold: least probability of the claimed class.
        agreement: the claimed class must also be the judge's first choice.

    Example:
        >>> from types import SimpleNamespace
        >>> from augmint.aspects.category import Category
        >>> said = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]])
        >>> judge = SimpleNamespace(probabilities=lambda images: said)
        >>> review = ByClass(judge, Category("label", ("cat", "dog")), 0.8, agreement=True)
        >>> review(np.zeros((3, 1, 8, 8), np.uint8), {"label": np.zeros(3, int)})[0].tolist()
        ['', 'disagrees', 'unsure']
    """

    judge: Judge
    category: Category
    threshold: float
    agreement: bool

    def __call__(self, images: ByteArray, values: Values) -> Found:
        p = np.asarray(self.judge.probabilities(images), np.float64)
        labels = np.asarray(values[self.category.name])
        if p.shape != (len(images), self.category.width):
            raise UsageError(
                f"a judge knows the {self.category.width} classes of {self.category.name}",
                f"probabilities of shape {p.shape}",
                "give a judge trained on this schema",
            )
        _finite(p, "probabilities")
        rows = np.arange(len(p))
        claimed = p[rows, labels]
        others = p.copy()
        others[rows, labels] = -np.inf
        margin = claimed - (others.max(1) if self.category.width > 1 else 0.0)
        reason = np.full(len(images), "", "U9")
        if self.agreement:
            reason[margin < 0] = "disagrees"
        reason[(reason == "") & (claimed < self.threshold)] = "unsure"
        return reason, {"probability": claimed, "margin": margin}


@dataclass(frozen=True)
class ByError(Review):
    """Keeps images whose claimed value lies near what a network measures in them.

    An image that claims nothing cannot err, and is rejected as unsure.

    Args:
        judge: measures the aspect.
        aspect: what is claimed.
        limit: the largest error that passes.

    Example:
        >>> from types import SimpleNamespace
        >>> from augmint.aspects.vector import Vector
        >>> judge = SimpleNamespace(errors=lambda images, values: np.array([0.1, 0.5]))
        >>> review = ByError(judge, Vector("age", ("years",)), limit=0.2)
        >>> claimed = {"age": np.array([[20.0], [40.0]])}
        >>> review(np.zeros((2, 1, 8, 8), np.uint8), claimed)[0].tolist()
        ['', 'disagrees']
    """

    judge: Measurer
    aspect: Aspect
    limit: float

    def __call__(self, images: ByteArray, values: Values) -> Found:
        claimed = values[self.aspect.name]
        error = np.asarray(self.judge.errors(images, claimed), np.float64)
        _finite(error, "errors")
        reason = np.full(len(images), "", "U9")
        reason[error > self.limit] = "disagrees"
        reason[~self.aspect.told(claimed)] = "unsure"
        return reason, {"error": error}


def _finite(found: np.ndarray, what: str) -> None:
    if not np.isfinite(found).all():
        raise DataError(f"a judge's {what} are finite", "nan or inf", "train the judge again")

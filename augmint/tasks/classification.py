"""Classification: which of several classes an image shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from augmint.core.registry import TASKS
from augmint.tasks.base import Task, stored
from augmint.tasks.rows import RealRows
from augmint.tasks.scores import (
    ACCURACY,
    ClassificationScores,
    Diagnosis,
    Measure,
    classification_scores,
    diagnosis,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from augmint.core.types import ByteArray
    from augmint.tasks.trained import TrainedTask


@TASKS.register("classification")
@dataclass(frozen=True)
class ClassificationTask(Task):
    """Predicts one category.

    Loss: the category's cross-entropy, soft labels included. Optimiser: AdamW, decoupled decay,
    one cycle. All arms of a study differ in sources, policy and stream name only.

    Example:
        >>> task = TASKS.create("classification")
        >>> task.configured().network, task.role, task.measure.points
        ('small-cnn', 'classifier', '100 accuracy')
    """

    kinds: ClassVar[frozenset[str]] = frozenset({"category"})
    measure: ClassVar[Measure] = ACCURACY

    def score(self, trained: TrainedTask, real: RealRows) -> ClassificationScores:
        return self._scores(trained, real.images, self.truth(trained, real))

    def diagnose(
        self, trained: TrainedTask, images: ByteArray, values: npt.NDArray[Any]
    ) -> Diagnosis:
        claimed = stored(trained.aspect, trained.shape, values)
        return diagnosis(trained.probabilities(images), claimed)

    def _scores(
        self, trained: TrainedTask, images: ByteArray, values: npt.NDArray[Any]
    ) -> ClassificationScores:
        classes = getattr(trained.aspect, "classes", ())
        return classification_scores(trained.probabilities(images), values, classes)

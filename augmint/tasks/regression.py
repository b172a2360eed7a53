"""Vector regression: numbers that an image stands for, such as a pose or an age."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from augmint.core.errors import UsageError
from augmint.core.registry import TASKS
from augmint.metrics.aspects import component_errors, determination, median_spread
from augmint.tasks.base import Task, stored
from augmint.tasks.scores import Measure, Scores

if TYPE_CHECKING:
    import numpy.typing as npt

    from augmint.core.types import ByteArray, FloatArray
    from augmint.tasks.trained import TrainedTask

MAE = Measure("MAE", "relative", "of the spread of the true values", True, "100 (1 - MAE / spread)")


@dataclass(frozen=True, eq=False)
class VectorScores(Scores):
    """What a network scores that predicts numbers.

    The error of a component is taken relative to its spread, `mean |t - median t|` over the scored
    images, which is the error of the best constant: 100 points are perfect, 0 are no better than
    always saying the median. Components whose true values are all alike are left out of points.

    Args:
        mae: mean absolute error of each component, in its unit.
        r2: `1 - Σ (t - p)² / Σ (t - mean t)²` of each; NaN where all true values are alike.
        spread: of each, in its unit.
        relative: mean over images and components of |t - p| / spread.
        errors: its mean over the components of each image, float64 `(N,)`.
        components: their names.
        units: of each; empty where not known.
    """

    mae: tuple[float, ...]
    r2: tuple[float, ...]
    spread: tuple[float, ...]
    relative: float
    errors: FloatArray
    components: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    measure: ClassVar[Measure] = MAE

    @property
    def per_image(self) -> FloatArray:
        return 1.0 - self.errors

    def plain(self) -> dict[str, Any]:
        return {
            "relative": self.relative,
            "mae": list(self.mae),
            "r2": [None if np.isnan(v) else v for v in self.r2],
            "spread": list(self.spread),
            "components": list(self.components),
            "units": list(self.units),
            "n": len(self.errors),
        }

    def parts(self) -> dict[str, float | None]:
        names = self.components or tuple(str(k) for k in range(len(self.mae)))
        return {f"mae.{name}": value for name, value in zip(names, self.mae, strict=True)}


def vector_scores(
    predicted: FloatArray,
    truth: FloatArray,
    components: tuple[str, ...] = (),
    units: tuple[str, ...] = (),
) -> VectorScores:
    """Return all scores of predicted vectors `(N, K)` against true ones.

    Raises:
        UsageError: for other shapes, or if the true values of every component are all alike.

    Example:
        >>> scores = vector_scores(np.array([[1.0], [3.0]]), np.array([[0.0], [4.0]]))
        >>> scores.mae, scores.spread, scores.points
        ((1.0,), (2.0,), 50.0)
    """
    if truth.ndim != 2 or predicted.shape != truth.shape or not len(truth):
        raise UsageError(
            "vectors are (N, K) beside (N, K), N at least 1",
            f"{predicted.shape} and {truth.shape}",
            "pass stored values of one aspect",
        )
    spread = median_spread(truth)
    if not (spread > 0).any():
        raise UsageError(
            "the true values of at least one component differ between images",
            f"{len(truth)} images, all alike",
            "score on images that differ",
        )
    errors = spread_errors(predicted, truth, spread)
    return VectorScores(
        mae=tuple(component_errors(predicted, truth).tolist()),
        r2=tuple(determination(predicted, truth).tolist()),
        spread=tuple(spread.tolist()),
        relative=float(errors.mean()),
        errors=errors,
        components=components,
        units=units,
    )


def spread_errors(predicted: FloatArray, truth: FloatArray, spread: FloatArray) -> FloatArray:
    """Return `mean_k |p_k - t_k| / s_k` of each row, `(N,)`, over the components with s above 0.

    Args:
        predicted, truth: `(N, K)`.
        spread: s, `(K,)`, one above 0 at least.

    Example:
        >>> predicted, truth = np.array([[1.0, 5.0]]), np.array([[0.0, 7.0]])
        >>> spread_errors(predicted, truth, spread=np.array([2.0, 0.0])).tolist()
        [0.5]
    """
    varied = spread > 0
    difference = np.abs(predicted.astype(np.float64) - truth.astype(np.float64))
    found: FloatArray = (difference[:, varied] / spread[varied]).mean(1)
    return found


@TASKS.register("regression")
@dataclass(frozen=True)
class RegressionTask(Task):
    """Predicts a vector of numbers.

    Loss: the aspect's, mean squared difference of the encodings. The score that decides is the mean
    absolute error relative to the spread of the true values.

    Example:
        >>> task = TASKS.create("regression")
        >>> task.configured().network["name"], task.role, task.measure.points
        ('var-regressor', 'classifier', '100 (1 - MAE / spread)')
    """

    kinds: ClassVar[frozenset[str]] = frozenset({"vector"})
    measure: ClassVar[Measure] = MAE
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"network": {"name": "var-regressor", "bounded": False}}
    )

    def claim_errors(
        self,
        trained: TrainedTask,
        images: ByteArray,
        values: npt.NDArray[Any],
        real: npt.NDArray[Any],
    ) -> npt.NDArray[Any]:
        claimed = stored(trained.aspect, trained.shape, values)
        return spread_errors(trained.predictions(images), claimed, median_spread(real))

    def _scores(
        self, trained: TrainedTask, images: ByteArray, values: npt.NDArray[Any]
    ) -> VectorScores:
        aspect: Any = trained.aspect
        predicted = trained.predictions(images)
        return vector_scores(predicted, values, tuple(aspect.components), tuple(aspect.units))

"""Dense regression: numbers for every pixel, such as a depth or a paired image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from augmint.core.errors import UsageError
from augmint.core.registry import TASKS
from augmint.networks.base import Role
from augmint.tasks.base import Task
from augmint.tasks.scores import Measure, Scores

if TYPE_CHECKING:
    import numpy.typing as npt

    from augmint.core.types import ByteArray, FloatArray
    from augmint.tasks.trained import TrainedTask

MAP_MAE = Measure("MAE", "relative", "of the range", True, "100 (1 - MAE / range)")


@dataclass(frozen=True, eq=False)
class DenseScores(Scores):
    """What a network scores that predicts a map; missing numbers count nowhere.

    Args:
        mae: mean over images of the mean absolute difference, in the aspect's unit.
        rmse: mean over images of the root of the mean squared difference, in the unit.
        relative: `mae` over the range high - low.
        errors: mean absolute difference of each image over the range, float64 `(N,)`.
        unit_of_map: the aspect's unit; "" where not known.
    """

    mae: float
    rmse: float
    relative: float
    errors: FloatArray
    unit_of_map: str = ""
    measure: ClassVar[Measure] = MAP_MAE

    @property
    def per_image(self) -> FloatArray:
        return 1.0 - self.errors

    def plain(self) -> dict[str, Any]:
        numbers = {name: getattr(self, name) for name in ("mae", "rmse", "relative")}
        return {**numbers, "unit": self.unit_of_map, "n": len(self.errors)}


def dense_scores(
    predicted: FloatArray, truth: FloatArray, extent: float, unit: str = ""
) -> DenseScores:
    """Return all scores of predicted maps `(N, channels, H, W)` against true ones.

    Args:
        predicted: without missing numbers.
        truth: NaN where missing, at least one number an image.
        extent: of the map's range, high - low, above 0.
        unit: of its numbers.

    Raises:
        UsageError: for other shapes.

    Example:
        >>> truth = np.array([[[[0.0, np.nan, 4.0]]]])
        >>> dense_scores(np.full((1, 1, 1, 3), 1.0), truth, extent=10.0).mae
        2.0
    """
    if truth.ndim != 4 or predicted.shape != truth.shape:
        raise UsageError(
            "maps are (N, channels, H, W) beside the same",
            f"{predicted.shape} and {truth.shape}",
            "pass stored values of one aspect",
        )
    absolute, squared = np.empty(len(truth)), np.empty(len(truth))
    for row, (said, true) in enumerate(zip(predicted, truth, strict=True)):
        difference = (said.astype(np.float64) - true)[~np.isnan(true)]
        absolute[row], squared[row] = np.abs(difference).mean(), np.square(difference).mean()
    return DenseScores(
        mae=float(absolute.mean()),
        rmse=float(np.sqrt(squared).mean()),
        relative=float(absolute.mean() / extent),
        errors=absolute / extent,
        unit_of_map=unit,
    )


@TASKS.register("dense")
@dataclass(frozen=True)
class DenseTask(Task):
    """Predicts numbers for every pixel.

    Loss: the aspect's, mean absolute difference of the encodings over what is not missing. The
    score that decides is the mean absolute difference as a share of the range.

    Example:
        >>> task = TASKS.create("dense")
        >>> task.configured().network, task.role, task.measure.points
        ('unet', 'mapper', '100 (1 - MAE / range)')
    """

    kinds: ClassVar[frozenset[str]] = frozenset({"map"})
    role: ClassVar[Role] = "mapper"
    measure: ClassVar[Measure] = MAP_MAE
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType({"network": "unet"})

    def _scores(
        self, trained: TrainedTask, images: ByteArray, values: npt.NDArray[Any]
    ) -> DenseScores:
        aspect: Any = trained.aspect
        predicted = trained.predictions(images)
        return dense_scores(predicted, values, aspect.high - aspect.low, aspect.unit)

"""Landmark regression: where the named points of an image lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from augmint.core.registry import TASKS
from augmint.metrics.aspects import (
    correct_points,
    error_auc,
    failure_rate,
    mean_error,
    point_errors,
)
from augmint.tasks.base import Task
from augmint.tasks.scores import Measure, Scores

if TYPE_CHECKING:
    import numpy.typing as npt

    from augmint.core.types import ByteArray, FloatArray
    from augmint.tasks.trained import TrainedTask

NME = Measure("NME", "nme", "of the reference distance", True, "100 (1 - NME)")


@dataclass(frozen=True, eq=False)
class LandmarkScores(Scores):
    """What a landmark network scores on real images.

    `per_image` is 1 - NME, which is below 0 where points miss by more than the reference distance.

    Args:
        nme: mean over images of the normalised mean error; the reference distance (inter-ocular,
            or what the aspect says) is 1.
        pck_05: share of labelled points within 0.05 of it.
        pck_10: within 0.1.
        failure_rate: share of images with an error above 0.08.
        auc: area under the cumulative error distribution up to 0.08, 0 to 1.
        per_point: mean error of each point; NaN where it is never labelled.
        errors: the NME of each image, float64 `(N,)`.
        points_named: names of the points.
    """

    nme: float
    pck_05: float
    pck_10: float
    failure_rate: float
    auc: float
    per_point: tuple[float, ...]
    errors: FloatArray
    points_named: tuple[str, ...] = ()
    measure: ClassVar[Measure] = NME

    @property
    def per_image(self) -> FloatArray:
        return 1.0 - self.errors

    def plain(self) -> dict[str, Any]:
        numbers = {
            name: getattr(self, name) for name in ("nme", "pck_05", "pck_10", "failure_rate", "auc")
        }
        return {
            **numbers,
            "per_point": [None if np.isnan(v) else v for v in self.per_point],
            "points_named": list(self.points_named),
            "n": len(self.errors),
        }


def landmark_scores(
    predicted: FloatArray, truth: FloatArray, distances: FloatArray, names: tuple[str, ...] = ()
) -> LandmarkScores:
    """Return all scores of predicted points against true ones.

    Args:
        predicted: `(N, K, 2 or 3)`, pixels.
        truth: `(N, K, 3)`, at least one labelled point an image.
        distances: `(N,)` pixels that are 1 in the error.
        names: of the points.

    Example:
        >>> truth = np.array([[[0.0, 0.0, 2.0], [8.0, 0.0, 2.0]]])
        >>> scores = landmark_scores(truth + [0.0, 4.0, 0.0], truth, distances=np.array([100.0]))
        >>> scores.nme, scores.pck_05, scores.auc, scores.points
        (0.04, 1.0, 0.5, 96.0)
    """
    errors = point_errors(predicted, truth, distances)
    means = mean_error(errors)
    there = ~np.isnan(errors)
    totals, counts = np.where(there, errors, 0.0).sum(0), there.sum(0)
    per_point = np.divide(totals, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return LandmarkScores(
        nme=float(means.mean()),
        pck_05=correct_points(errors, 0.05),
        pck_10=correct_points(errors, 0.1),
        failure_rate=failure_rate(means),
        auc=error_auc(means),
        per_point=tuple(per_point.tolist()),
        errors=means,
        points_named=names,
    )


@TASKS.register("landmarks")
@dataclass(frozen=True)
class LandmarkTask(Task):
    """Predicts where named points lie.

    Loss: the aspect's, mean absolute difference of normalised coordinates over labelled points.
    The score that decides is the NME.

    Example:
        >>> task = TASKS.create("landmarks")
        >>> task.configured().network, task.role, task.measure.points
        ('integral-regressor', 'classifier', '100 (1 - NME)')
    """

    kinds: ClassVar[frozenset[str]] = frozenset({"landmarks"})
    measure: ClassVar[Measure] = NME
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType({"network": "integral-regressor"})
    # shown where points belong, a generator puts them there more exactly than it draws its own
    asks: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "conditioning": {
                "name": "vac-var",
                "enters": "maps",
                "regressor": {"network": "integral-regressor", "zeta": 30.0, "loss": "l1"},
            },
            "fake_aspects": "mixed",
            "auxiliary_rate": 2e-3,
        }
    )

    def _scores(
        self, trained: TrainedTask, images: ByteArray, values: npt.NDArray[Any]
    ) -> LandmarkScores:
        import torch

        aspect: Any = trained.aspect
        distances = aspect.distances(torch.from_numpy(values)).double().numpy()
        predicted = trained.predictions(images)
        return landmark_scores(predicted, values, distances, tuple(aspect.points))

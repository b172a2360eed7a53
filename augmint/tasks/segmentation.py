"""Segmentation: the class of every pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from augmint.core.config import to_plain
from augmint.core.registry import TASKS
from augmint.metrics.pixel import (
    Spread,
    binary_measures,
    class_dice,
    class_iou,
    confusion,
    mean_over_classes,
    pixel_accuracy,
)
from augmint.networks.base import Role
from augmint.tasks.base import Task
from augmint.tasks.scores import Measure, Scores

if TYPE_CHECKING:
    import numpy.typing as npt

    from augmint.core.types import ByteArray, FloatArray, IntArray
    from augmint.tasks.trained import TrainedTask

MIOU = Measure("mIoU", "miou", "share of the union", False, "100 mIoU")


@dataclass(frozen=True, eq=False)
class SegmentationScores(Scores):
    """What a segmenter scores on real images; void pixels count nowhere.

    `miou`, which decides, is taken image by image over the classes that prediction or truth hold,
    then over images; `pooled_miou` adds up all images' pixels first, as segmentation contests do.

    Args:
        miou: mean intersection over union, 0 to 1.
        pooled_miou: of all images' pixels together.
        dice: mean Dice coefficient, taken as `miou`.
        pixel_accuracy: share of right pixels, mean over images.
        per_class: pooled intersection over union of each class; NaN where nothing holds it.
        nine: for two classes, the measures of `metrics.pixel.BINARY` with the second class as the
            positive one, mean and deviation over images; else empty.
        by_class: the same measures of every class but the first, the background, against the rest.
        each: mean intersection over union of each image, float64 `(N,)`.
        classes: their names.
    """

    miou: float
    pooled_miou: float
    dice: float
    pixel_accuracy: float
    per_class: tuple[float, ...]
    nine: Mapping[str, Spread]
    each: FloatArray
    classes: tuple[str, ...] = ()
    by_class: Mapping[str, Mapping[str, Spread]] = field(default_factory=dict)
    measure: ClassVar[Measure] = MIOU

    @property
    def per_image(self) -> FloatArray:
        return self.each

    def plain(self) -> dict[str, Any]:
        numbers = {
            name: getattr(self, name) for name in ("miou", "pooled_miou", "dice", "pixel_accuracy")
        }
        return {
            **numbers,
            "per_class": [None if np.isnan(v) else v for v in self.per_class],
            "classes": list(self.classes),
            "nine": to_plain(dict(self.nine)),
            "n": len(self.each),
        }

    def parts(self) -> dict[str, float | None]:
        return {
            f"nine.{name}.{key}": found.mean
            for name, measures in self.by_class.items()
            for key, found in measures.items()
        }


def segmentation_scores(counts: IntArray, classes: tuple[str, ...] = ()) -> SegmentationScores:
    """Return all scores from the counts of `metrics.pixel.confusion`, `(N, C, C)`.

    Each image has at least one pixel that is not void.

    Example:
        >>> scores = segmentation_scores(np.array([[[3, 1], [0, 1]]]), ("outside", "inside"))
        >>> scores.per_class, scores.points, scores.nine["sensitivity"].mean
        ((0.75, 0.5), 62.5, 1.0)
    """
    each = mean_over_classes(class_iou(counts))
    pooled = class_iou(counts.sum(0))
    names = classes or tuple(str(c) for c in range(counts.shape[-1]))
    by_class = {name: binary_measures(counts, c) for c, name in enumerate(names) if c}
    return SegmentationScores(
        miou=float(each.mean()),
        pooled_miou=float(mean_over_classes(pooled)),
        dice=float(mean_over_classes(class_dice(counts)).mean()),
        pixel_accuracy=float(pixel_accuracy(counts).mean()),
        per_class=tuple(pooled.tolist()),
        nine=by_class[names[1]] if len(names) == 2 else {},
        each=each,
        classes=classes,
        by_class=by_class,
    )


@TASKS.register("segmentation")
@dataclass(frozen=True)
class SegmentationTask(Task):
    """Predicts the class of every pixel.

    Loss: the aspect's, cross-entropy over pixels that are not void. The score that decides is the
    mean intersection over union. Both are taken at the stored size, to which the logits of a
    network that sees another one are resampled.

    Example:
        >>> task = TASKS.create("segmentation")
        >>> task.configured().network, task.role, task.measure.points
        ('unet', 'mapper', '100 mIoU')
    """

    kinds: ClassVar[frozenset[str]] = frozenset({"mask"})
    role: ClassVar[Role] = "mapper"
    measure: ClassVar[Measure] = MIOU
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType({"network": "unet"})
    asks: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"conditioning": {"name": "concatenation", "enters": "maps"}}
    )

    def _scores(
        self, trained: TrainedTask, images: ByteArray, values: npt.NDArray[Any]
    ) -> SegmentationScores:
        aspect: Any = trained.aspect
        counts = confusion(trained.predictions(images), values, aspect.width, aspect.void)
        return segmentation_scores(counts, tuple(aspect.classes))

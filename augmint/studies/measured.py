"""How generators are measured, and the rows of a report that say it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from augmint.aspects.category import LABEL
from augmint.core.errors import UsageError
from augmint.core.registry import Spec
from augmint.tasks.config import TaskConfig

if TYPE_CHECKING:
    from augmint.aspects.base import Schema


@dataclass(frozen=True)
class Measures:
    """How every generator of a comparison is measured.

    Args:
        task: the small network, and its budget, of the judge and of what learns from generated or
            from real images. Networks that read annotations share the budget.
        policy: its augmentation.
        per_class: images generated of each class; of a set without classes, in all.
        diverse_per_class: of which so many, of each class, are compared in pairs.
        pairs: pairs compared, within and between classes each.
        probe_rows: real training images that a linear classifier learns from, at most.
        annotations: by aspect, the fields of the task that reads it and learns it which differ from
            that task's own defaults and from the budget of `task`.
        requests: real test images whose annotations are asked for again and again, of a generator
            that is asked for them.
        each: images of every such request, 2 or more.
    """

    task: TaskConfig = field(default_factory=TaskConfig)
    policy: Spec = "affine"
    per_class: int = 1000
    diverse_per_class: int = 80
    pairs: int = 2000
    probe_rows: int = 5000
    annotations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    requests: int = 40
    each: int = 20

    def __post_init__(self) -> None:
        for name, low in (("requests", 1), ("each", 2)):
            if getattr(self, name) < low:
                raise UsageError(
                    f"measures.{name} is at least {low}",
                    getattr(self, name),
                    f"set measures.{name}=20 (--set measures.{name}=20)",
                )


Unit = Literal["share", "number", "nats", "seconds", "rate", "count"]


@dataclass(frozen=True)
class Measure:
    """One row of the report.

    Args:
        key: of its numbers.
        title: what it is called.
        group: the section that it stands in.
        unit: how it is written; shares as percentages.
        better: "higher", "lower", or "" where neither is.
        real: key of the same number of real images, or of its floor, if there is one.
        headline: it stands in the summary and on the terminal.
        protocol: key of the words that say how it was taken, its own where empty.
        classes: it needs a set with classes.
        instead_of: key of a measure that it stands for where some generator lacks that one; it is
            shown nowhere else.
        optional: it is left out where no generator has it.
    """

    key: str
    title: str
    group: str
    unit: Unit = "share"
    better: str = "higher"
    real: str = ""
    headline: bool = False
    protocol: str = ""
    classes: bool = False
    instead_of: str = ""
    optional: bool = False


of_classes = partial(Measure, classes=True)

MEANS = ("mse", "rmse", "mae", "uqi", "ssim")
"""What pairs of images are compared by."""


def _distances() -> Iterator[Measure]:
    for key, title in (("frechet", "Fréchet distance"), ("kid", "KID")):
        yield Measure(key, title, "distribution", "number", "lower", f"{key}_floor", True)
    for key in ("precision", "recall", "density", "coverage"):
        yield Measure(
            key, key.capitalize(), "distribution", "number" if key == "density" else "share",
            real=f"{key}_floor", headline=key == "coverage",
            protocol="precision-recall-density-coverage",
        )  # fmt: skip


def _diversities() -> Iterator[Measure]:
    for place in ("within", "between"):
        for name in MEANS:
            key = f"{place}_{name}"
            title = f"{name.upper()} {place} classes"
            yield of_classes(
                key, title, "diversity", "number", "", f"{key}_real", protocol="within_mse"
            )
    for name in MEANS:
        key = f"any_{name}"
        yield Measure(
            key, f"{name.upper()} of any two images", "diversity", "number", "", f"{key}_real",
            protocol="any_mse", instead_of=f"within_{name}",
        )  # fmt: skip


def _measures() -> Iterator[Measure]:
    yield of_classes(
        "conditional_accuracy", "Conditional accuracy", "classes", real="judge_accuracy",
        headline=True,
    )  # fmt: skip
    yield of_classes(
        "conditional_worst_class", "Conditional accuracy, worst class", "classes",
        real="judge_worst_class", protocol="conditional_accuracy",
    )  # fmt: skip
    yield from _distances()
    yield of_classes(
        "divergence", "Divergence among classes, at least (judge)", "apart", "nats",
        real="divergence_real",
    )  # fmt: skip
    yield of_classes(
        "divergence_own", "Divergence among classes, at least (own classifier)", "apart", "nats"
    )
    yield from _diversities()
    yield of_classes(
        "learnt", "Learning from generated images alone (CAS)", "use",
        real="learnt_real", headline=True,
    )  # fmt: skip
    yield of_classes(
        "probe", "Linear classifier on the critic's features", "critic", real="probe_real"
    )
    yield of_classes(
        "probe_untrained", "The same on the untrained critic's features", "critic",
        real="probe_real", better="", protocol="probe",
    )  # fmt: skip
    yield of_classes("probe_gain", "Gained by training the critic", "critic", protocol="probe")
    yield of_classes("own_accuracy", "Its own classifier on real test images", "critic")
    yield of_classes(
        "own_alone", "That classifier trained alone on real images", "critic",
        better="", protocol="own_accuracy",
    )  # fmt: skip
    yield of_classes(
        "own_gain", "Gained by training beside the generator", "critic", protocol="own_accuracy"
    )
    yield Measure("processor_seconds", "Processor time of training", "cost", "seconds", "")
    yield Measure("images_per_second", "Real images a processor second", "cost", "rate", "")
    yield Measure("seconds", "Time of training", "cost", "seconds", "")
    yield Measure("parameters", "Parameters of the generator", "cost", "count", "")


MEASURES = tuple(_measures())
"""Every row of a comparison that no annotation adds, in the order of the report."""


def annotation_measures(aspect: str, error: str) -> list[Measure]:
    """Return the rows of one annotation.

    The error's median and ratio have no direction: they are the error again, and would be tested
    again.

    Args:
        aspect: its name.
        error: what its error is called ("NME", "1 - mIoU").

    Example:
        >>> [row.key for row in annotation_measures("eyes", "NME")]
        ['error_eyes', 'median_eyes', 'ratio_eyes', 'learnt_eyes']
    """
    told, group = f"error_{aspect}", "annotations"
    return [
        Measure(
            told, f"Error of {aspect} ({error})", group, "number", "lower", f"{told}_real", True
        ),
        Measure(
            f"median_{aspect}", f"Error of {aspect}, median", group, "number", "",
            f"median_{aspect}_real", protocol=told,
        ),
        Measure(
            f"ratio_{aspect}", f"Error of {aspect} over that on real images", group, "number", "",
            protocol=told,
        ),
        Measure(
            f"learnt_{aspect}", f"Error of {aspect} learnt from generated images ({error})", "use",
            "number", "lower", f"learnt_{aspect}_real", True,
        ),
    ]  # fmt: skip


REQUESTED = Measure(
    "request_mse", "MSE of two images of one request", "diversity", "number", "", optional=True
)
"""The diversity that is left once annotations are asked for."""


def rows_for(schema: Schema, errors: Mapping[str, str]) -> list[Measure]:
    """Return the rows of a comparison, in the order of the report.

    Args:
        schema: of the data; what needs classes is left out where it has none.
        errors: the annotations that are measured, each with what its error is called.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> rows = rows_for(Schema(()), {"eyes": "NME"})
        >>> rows[0].title, any(row.classes for row in rows)
        ('Error of eyes (NME)', False)
    """
    told = [m for m in MEASURES if LABEL in schema or not m.classes]
    for aspect, error in errors.items():
        told += annotation_measures(aspect, error)
    told += [REQUESTED] if errors else []
    places = list(GROUPS)
    return sorted(told, key=lambda m: places.index(m.group))


GROUPS = {
    "classes": "Do images carry the class asked for?",
    "annotations": "Do images carry the annotations they claim?",
    "distribution": "Distance to real images",
    "apart": "How far classes lie apart",
    "diversity": "Diversity",
    "use": "Learning from generated images alone",
    "critic": "What the critic and the classifier have learnt",
    "cost": "Cost",
}
"""Titles of the report's sections by group."""

"""Do minted images carry the annotations that they claim? By networks cross-fitted on real images.

Of each annotation that both sets hold two networks of its task learn, each from one half of the
labelled real images. Each reads the other half, which gives the networks' own error, and all minted
images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from augmint.core.errors import DataError
from augmint.data.splits import folds
from augmint.metrics.aspects import annotation_truth
from augmint.studies.materials import real_source
from augmint.studies.measured import Measures
from augmint.studies.reading import Reading, ReadingConfig, labelled, network_of, readable
from augmint.tasks.config import TaskConfig
from augmint.tasks.rows import RealRows

if TYPE_CHECKING:
    from augmint.aspects.base import Aspect
    from augmint.core.types import IntArray
    from augmint.data.table import Table

FEWEST = 8
"""Labelled real images that networks on halves need at least."""

NAMED = ("classes", "points", "components")
"""Fields of an aspect that name its parts."""


@dataclass(frozen=True)
class Half:
    """A network that learnt an annotation from one half of the real images, and the other half."""

    reading: Reading
    held: RealRows


def shared_annotations(real: Table, minted: Table) -> list[str]:
    """Return the names of the annotations that both sets hold and a task predicts.

    Raises:
        DataError: if one of them is of other things in the two sets.
    """
    shared = [a for a in readable(real.schema) if a.name in minted.schema]
    for aspect in shared:
        other = minted.schema[aspect.name]
        if _told(aspect, real) != _told(other, minted):
            raise DataError(
                f"{aspect.name} is the same annotation in real and minted images",
                f"{aspect.words} and {other.words}",
                "give minted images of a generator that learnt from such real ones",
            )
    return [a.name for a in shared]


def _told(aspect: Aspect, table: Table) -> tuple[Any, ...]:
    parts = tuple(getattr(aspect, name, None) for name in NAMED)
    return (aspect.kind, aspect.storage(table.shape), parts)


def plan_of(real: Table, rows: IntArray, name: str, steps: int, seed: int) -> ReadingConfig:
    """Return how an annotation is read, once network, images and policy are known to fit.

    Raises:
        DataError: for too few labelled images.
        IncompatibleError, UsageError: for parts that do not fit.
    """
    there = len(labelled(real, name, rows))
    if there < FEWEST:
        raise DataError(
            f"at least {FEWEST} real images have some of {name} labelled", there, "label more"
        )
    how = Measures(TaskConfig(steps=steps))
    plan = ReadingConfig.of(how, real.schema[name], seed)
    plan.check(real)
    return plan


def halves(
    plan: ReadingConfig, real: Table, rows: IntArray, done: Callable[[], None]
) -> list[Half]:
    """Return networks that learnt from one half of the labelled real rows each.

    Args:
        plan: how they learn.
        real: the real images.
        rows: that may be learnt from.
        done: is called after each.
    """
    there, found = labelled(real, plan.task.aspect, rows), []
    for i, (fit, held) in enumerate(folds(real.strata(), there, 2, plan.seed)):
        reading = plan.learn(real, real_source(real, fit), f"half.{i}")
        found.append(Half(reading, RealRows.of(real, held)))
        done()
    return found


def claims_row(read: Sequence[Half], minted: Table) -> dict[str, Any]:
    """Return how far minted images are from what they claim, beside the networks' own error.

    Args:
        read: both halves' networks; the error of an image is the mean of theirs.
        minted: the images; those whose claim says nothing are left out.

    Returns:
        What `metrics.aspects.AnnotationTruth` holds (absent where no image claims anything), with
        `aspect`, `unit` of the error, and `protocol` in words.
    """
    first = read[0].reading
    aspect, config = first.trained.aspect, first.trained.config
    given = np.asarray(minted.values[aspect.name])
    row = {"aspect": aspect.name, "unit": first.unit}
    told = np.flatnonzero(aspect.told(given))
    if not len(told):
        return {**row, "n": 0, "protocol": f"no image claims anything of {aspect.name}"}
    images = np.ascontiguousarray(minted.images[told])
    errors = [
        half.reading.task.claim_errors(
            half.reading.trained, images, given[told], half.held.values[aspect.name]
        )
        for half in read
    ]
    own = np.concatenate([half.reading.errors(half.held) for half in read])
    truth = annotation_truth(np.mean(errors, axis=0), own)
    words = (
        f"{network_of(config)}, {config.steps} steps, cross-fitted on halves of the labelled real "
        "images"
    )
    return {**row, **truth.to_plain(), "protocol": words}

"""Which images a seed may use, and for what: training, held out, pool, test.

The test rows are fixed for the whole study; everything else is drawn again for each seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from augmint.core.errors import DataError, UsageError
from augmint.core.streams import derive, permutation
from augmint.data.check import grouping
from augmint.data.splits import long_tailed, per_class, stratified
from augmint.data.table import Table
from augmint.studies.arms import ScoredOn
from augmint.studies.gap import Gap
from augmint.tasks.base import task_of
from augmint.tasks.config import TaskConfig

if TYPE_CHECKING:
    from augmint.core.types import IntArray

PILOT = 1_000_000
"""Repetitions from here on are pilots: they choose and estimate, and never decide."""

HELD_OUT = 2000
"""Images held out of a pool, at most."""

HELD_BACK = 0.25
"""Share of the training images that a study scores on where its test set stays closed."""

MOST_HELD_BACK = 10_000
"""And how many images that is, at most."""

SMALLEST_GAP = 20
"""Images in a gap that score, and that are held back, at least."""


@dataclass(frozen=True)
class Rows:
    """Disjoint rows of a table.

    Args:
        train: the labelled images of this seed; generators, judges and networks see these only.
        held_out: real images that nothing was trained on, to calibrate the copy detector and to
            score pilots: drawn from the pool, or kept back from training where there is no pool.
        pool: real images that the study pretends not to have (empty without `per_class`).
        test: the fixed images that score: the test set, or training images held back in its place.
        alike: held-back images like those that score, where `held_out` is not: those in a gap. They
            score pilots and stand beside minted images. Empty in a study without a gap.
        outside: images of the test set outside a gap; empty without one.
    """

    train: IntArray
    held_out: IntArray
    pool: IntArray
    test: IntArray
    alike: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    outside: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))

    def save(self, path: Path) -> None:
        """Write all rows to one npz file."""
        np.savez(path, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Rows:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as archive:
            return cls(**{f.name: archive[f.name] for f in fields(cls)})


def opened(inputs: Mapping[str, Path]) -> tuple[Table, Rows]:
    """Return the table and the rows that a stage was given among its inputs."""
    return Table.open(inputs["table"]), Rows.load(inputs["split"] / "rows.npz")


def judge_rows(rows: Rows) -> IntArray:
    """Return the real images that a comparison's judges learn from and no generator sees.

    Example:
        >>> train, held_out, pool, test = (np.array(rows) for rows in ([0, 1], [5], [3, 4], [9]))
        >>> judge_rows(Rows(train, held_out, pool, test)).tolist()
        [3, 4, 5]
    """
    return np.sort(np.concatenate([rows.held_out, rows.pool]))


def seed_of(study_seed: int, index: int) -> int:
    """Return the seed of the index-th repetition (pilots count from `PILOT`).

    Example:
        >>> seed_of(0, 1) == seed_of(0, 1), seed_of(0, 1) == seed_of(0, PILOT)
        (True, False)
    """
    return derive(study_seed, f"study.seed.{index}")


@dataclass(frozen=True)
class SplitConfig:
    """What the rows of one repetition depend on, besides the table.

    Args:
        seed: of the study.
        index: of the repetition; the rows that score do not depend on it.
        per_class: labelled images a class; None: all.
        test_share: of a set without a test part.
        held_out_share: of the training images, where no pool is left.
        dropped: rows never trained on (duplicates of test images).
        scored_on: "held-back": a fixed sample of the training images scores, the same for every
            repetition, nothing else uses it, and no test row is given out.
        long_tail: labelled images of the first class over those of the last, which fall
            exponentially in between; None: as many of each.
        level: share of the labelled images that is trained on; smaller ones are subsets.
        validation: share of the labelled images taken out of training, to score in place of the
            test images; 0: none.
        gap: a range that labelled images lack and that scores; None: none.
        unlabelled: rows in which nothing is labelled of what is predicted (`unlabelled_rows`): they
            take no part, in training or scoring.
    """

    seed: int
    index: int
    per_class: int | None
    test_share: float
    held_out_share: float
    dropped: tuple[int, ...] = ()
    scored_on: ScoredOn = "test"
    long_tail: float | None = None
    level: float = 1.0
    validation: float = 0.0
    gap: Gap | None = None
    unlabelled: tuple[int, ...] = ()


def unlabelled_rows(table: Table, task: TaskConfig) -> tuple[int, ...]:
    """Return the rows of a table that hold no truth about the aspect that a task predicts."""
    aspect = task_of(task).aspect(task, table.schema)
    return tuple(np.flatnonzero(~aspect.told(table.values[aspect.name])).tolist())


def test_rows(table: Table, config: SplitConfig) -> tuple[IntArray, IntArray]:
    """Return (rows that may be trained on, fixed rows that score).

    A set with its own test part keeps it; otherwise a stratified share becomes it, once, with the
    images of one subject, and identical images, on one side. A
    validation part of the set is left alone: its images would count as labelled ones. In a study
    scored on held-back images a quarter of the rest scores, drawn once in the same way. Images in
    which nothing is labelled leave a part that was drawn with them, so that the draw of the others
    does not depend on them.

    Raises:
        DataError: if no labelled image is left to train or to score on.
    """
    groups: IntArray | None = None
    if "test" not in table.parts or config.scored_on == "held-back":
        groups = grouping(table)
        groups = None if len(np.unique(groups)) == len(groups) else groups
    if "test" in table.parts:
        others = [rows for name, rows in table.parts.items() if name in ("train", "all")]
        rest, taken = np.sort(np.concatenate(others)), table.parts["test"]
    else:
        labels, share = table.strata(), config.test_share
        rest, taken = stratified(labels, share, config.seed, "study.test", groups)
    rest = np.setdiff1d(rest, np.array([*config.dropped, *config.unlabelled], np.int64))
    taken = taken[~np.isin(taken, config.unlabelled)]
    if not len(rest) or not len(taken):
        raise DataError(
            "a study trains and scores on images in which something is labelled",
            f"{len(rest)} to train and {len(taken)} to score",
            "label more images, or name an aspect that is labelled (--set task.aspect=NAME)",
        )
    if config.scored_on == "test":
        return rest, taken
    share = min(HELD_BACK, MOST_HELD_BACK / len(rest))
    of_rest = None if groups is None else groups[rest]
    kept, scored = stratified(table.strata()[rest], share, config.seed, "study.held-back", of_rest)
    return rest[kept], rest[scored]


def draw(table: Table, config: SplitConfig) -> Rows:
    """Return the rows of one repetition.

    Raises:
        UsageError: if a class has too few images, or none would be held back.
    """
    rows, seed = _drawn(table, config), seed_of(config.seed, config.index)
    labels, train = table.strata(), rows.train
    if config.level < 1.0:
        n = max(1, round(config.level * labelled_per_class(rows, labels)))
        train = per_class(labels, train, n, seed, "study.level")[0]
    if not config.validation:
        return replace(rows, train=train)
    groups = None if table.groups is None else table.groups[train]
    share = config.validation
    fit, scored = stratified(labels[train], share, seed, "study.validation", groups)
    return replace(rows, train=train[fit], test=train[scored])


def _drawn(table: Table, config: SplitConfig) -> Rows:
    allowed, test = test_rows(table, config)
    labels, seed = table.strata(), seed_of(config.seed, config.index)
    if config.per_class is None:
        groups = None if table.groups is None else table.groups[allowed]
        share = config.held_out_share
        rest, held = stratified(labels[allowed], share, seed, "study.held-out", groups)
        return Rows(allowed[rest], allowed[held], np.zeros(0, dtype=np.int64), test)
    inside = np.zeros(len(table), bool) if config.gap is None else config.gap.inside(table)
    there, allowed = allowed[inside[allowed]], allowed[~inside[allowed]]
    if lost := np.setdiff1d(labels[there], labels[allowed]).tolist():
        raise UsageError(
            "a gap leaves images of every class outside it",
            f"none of {', '.join(str(table.strata_names()[c]) for c in lost[:4])}",
            "make the range narrower",
        )
    train, pool = per_class(labels, allowed, config.per_class, seed, "study.train")
    if config.long_tail is not None:
        train = long_tailed(labels, train, config.long_tail, seed)
        pool = np.setdiff1d(allowed, train)
    if len(pool) < 4 * len(np.unique(labels[allowed])):
        raise UsageError(
            "a study with a number of images a class holds others back",
            f"{len(pool)} left after {config.per_class} a class",
            "pass a smaller per_class (--per-class), or none to use all images",
        )
    share = min(0.5, HELD_OUT / len(pool))
    rest, held = stratified(labels[pool], share, seed, "study.held-out")
    found = Rows(train, pool[held], pool[rest], test)
    if config.gap is None:
        return found
    return _around(found, config.gap, inside, there, seed)


def _around(
    rows: Rows, gap: Gap, inside: np.ndarray[Any, np.dtype[np.bool_]], there: IntArray, seed: int
) -> Rows:
    """Return the rows of a study with a gap, given those of its images outside.

    Of the images inside (`there`) some are labelled, the others are held back, half in the pool.
    """
    order = there[permutation(seed, "study.gap", len(there))]
    kept, held = order[: gap.keep], order[gap.keep :]
    scored, outside = rows.test[inside[rows.test]], rows.test[~inside[rows.test]]
    if len(held) < SMALLEST_GAP or len(scored) < SMALLEST_GAP:
        raise UsageError(
            f"a gap has at least {SMALLEST_GAP} images that score, and as many held back",
            f"{len(scored)} and {len(held)} from {gap.low:g} to {gap.high:g}",
            "make the range wider, or gap.keep smaller",
        )
    if not len(outside):
        raise UsageError(
            "a gap leaves test images outside it, which stand beside those that score",
            f"none outside {gap.low:g} to {gap.high:g}",
            "make the range narrower",
        )
    half = len(held) // 2
    return Rows(
        np.sort(np.concatenate([rows.train, kept])),
        rows.held_out,
        np.sort(np.concatenate([rows.pool, held[half:]])),
        scored,
        np.sort(held[:half]),
        outside,
    )


def labelled_per_class(rows: Rows, labels: IntArray) -> int:
    """Return the training images of the smallest class present.

    Example:
        >>> none, labels = np.zeros(0, np.int64), np.array([0, 0, 0, 2, 2])
        >>> labelled_per_class(Rows(np.arange(5), none, none, none), labels)
        2
    """
    counts = np.bincount(labels[rows.train])
    return int(counts[counts > 0].min())


def class_counts(rows: Rows, labels: IntArray, classes: int) -> IntArray:
    """Return the training images of each class, `(classes,)`.

    Example:
        >>> none, labels = np.zeros(0, np.int64), np.array([0, 0, 0, 2, 2])
        >>> class_counts(Rows(np.arange(5), none, none, none), labels, classes=3).tolist()
        [3, 0, 2]
    """
    return np.bincount(labels[rows.train], minlength=classes)

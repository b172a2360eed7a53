"""Which images a seed may use, and for what: training, held out, pool, test.

The test rows are fixed for the whole study; everything else is drawn again for each seed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from augmint.core.errors import UsageError
from augmint.core.streams import derive
from augmint.data.check import grouping
from augmint.data.splits import per_class, stratified

if TYPE_CHECKING:
    from augmint.core.types import IntArray
    from augmint.data.table import Table

PILOT = 1_000_000
"""Repetitions from here on are pilots: they choose and estimate, and never decide."""

HELD_OUT = 2000
"""Images held out of a pool, at most."""


@dataclass(frozen=True)
class Rows:
    """Disjoint rows of a table.

    Args:
        train: the labelled images of this seed; generators, judges and networks see these only.
        held_out: real images that nothing was trained on, to calibrate the copy detector and to
            score pilots: drawn from the pool, or kept back from training where there is no pool.
        pool: real images that the study pretends not to have (empty without `per_class`).
        test: the fixed test set.
    """

    train: IntArray
    held_out: IntArray
    pool: IntArray
    test: IntArray

    def save(self, path: Path) -> None:
        """Write all rows to one npz file."""
        np.savez(path, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Rows:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as archive:
            return cls(**{f.name: archive[f.name] for f in fields(cls)})


def seed_of(study_seed: int, index: int) -> int:
    """Return the seed of the index-th repetition (pilots count from `PILOT`)."""
    return derive(study_seed, f"study.seed.{index}")


@dataclass(frozen=True)
class SplitConfig:
    """What the rows of one repetition depend on, besides the table.

    Args:
        seed: of the study.
        index: of the repetition; the test rows do not depend on it.
        per_class: labelled images a class; None: all.
        test_share: of a set without a test part.
        held_out_share: of the training images, where no pool is left.
        dropped: rows never trained on (duplicates of test images).
    """

    seed: int
    index: int
    per_class: int | None
    test_share: float
    held_out_share: float
    dropped: tuple[int, ...] = ()


def test_rows(table: Table, config: SplitConfig) -> tuple[IntArray, IntArray]:
    """Return (rows that may be trained on, fixed test rows).

    A set with its own test part keeps it; otherwise a stratified share becomes it, once, with the
    images of one subject, and identical images, on one side. A
    validation part of the set is left alone: its images would count as labelled ones.
    """
    if "test" in table.parts:
        others = [rows for name, rows in table.parts.items() if name in ("train", "all")]
        rest, taken = np.sort(np.concatenate(others)), table.parts["test"]
    else:
        labels, groups = table.labels(), grouping(table)
        alone = len(np.unique(groups)) == len(groups)
        rest, taken = stratified(
            labels, config.test_share, config.seed, "study.test", None if alone else groups
        )
    return np.setdiff1d(rest, np.array(config.dropped, np.int64)), taken


def draw(table: Table, config: SplitConfig) -> Rows:
    """Return the rows of one repetition.

    Raises:
        UsageError: if a class has too few images, or none would be held back.
    """
    allowed, test = test_rows(table, config)
    labels, seed = table.labels(), seed_of(config.seed, config.index)
    if config.per_class is None:
        groups = None if table.groups is None else table.groups[allowed]
        share = config.held_out_share
        rest, held = stratified(labels[allowed], share, seed, "study.held-out", groups)
        return Rows(allowed[rest], allowed[held], np.zeros(0, dtype=np.int64), test)
    train, pool = per_class(labels, allowed, config.per_class, seed, "study.train")
    if len(pool) < 4 * len(np.unique(labels[allowed])):
        raise UsageError(
            "a study with a number of images a class holds others back",
            f"{len(pool)} left after {config.per_class} a class",
            "pass a smaller per_class (--per-class), or none to use all images",
        )
    share = min(0.5, HELD_OUT / len(pool))
    rest, held = stratified(labels[pool], share, seed, "study.held-out")
    return Rows(train, pool[held], pool[rest], test)


def labelled_per_class(rows: Rows, labels: IntArray) -> int:
    """Return the training images of the smallest class present."""
    counts = np.bincount(labels[rows.train])
    return int(counts[counts > 0].min())

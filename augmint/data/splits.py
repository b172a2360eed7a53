"""Splits as pure functions of arrays: labels and groups in, sorted row numbers out.

Every random choice is a `permutation` of a named stream, so a split is a function of (labels,
seed, purpose) alone. Taking 20 of a class contains the 10 that the same seed and purpose take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from augmint.core.errors import UsageError
from augmint.core.streams import permutation

if TYPE_CHECKING:
    from augmint.core.types import IntArray


def stratified(
    labels: IntArray, share: float, seed: int, purpose: str, groups: IntArray | None = None
) -> tuple[IntArray, IntArray]:
    """Split rows so that every class gives the same share; rows of a group stay together.

    Without groups each class c with n_c rows gives floor or ceil of `share * n_c`, at least one
    and not all where it has two or more, and the total is `round(share * N)` where that allows.
    With groups, whole groups are taken, largest first, while they bring the class counts closer
    (in squares) to those shares.

    Args:
        labels: int64 `(N,)`.
        share: of the rows to take, in (0, 1).
        seed: of the study.
        purpose: names the split ("split.test").
        groups: int64 `(N,)`, or None.

    Returns:
        (rest, taken), sorted int64 rows, disjoint, together all.

    Raises:
        UsageError: for a share outside (0, 1), or a single group.

    Example:
        >>> rest, taken = stratified(np.array([0, 0, 0, 0, 1, 1, 1, 1]), 0.25, 0, "split")
        >>> len(rest), len(taken)
        (6, 2)
    """
    if not 0 < share < 1:
        raise UsageError("a share lies between 0 and 1", share, "pass for example 0.2")
    labels = np.asarray(labels, dtype=np.int64)
    if groups is not None:
        return _by_groups(labels, share, seed, purpose, np.asarray(groups))
    classes, counts = np.unique(labels, return_counts=True)
    quota = _quotas(counts, share)
    taken = [
        _members(labels, None, c, seed, purpose)[:n] for c, n in zip(classes, quota, strict=True)
    ]
    return _complement(len(labels), np.concatenate(taken or [np.empty(0, np.int64)]))


def _members(labels: IntArray, rows: IntArray | None, c: int, seed: int, purpose: str) -> IntArray:
    """The rows of one class in random order."""
    chosen = np.flatnonzero(labels == c) if rows is None else rows[labels[rows] == c]
    return np.sort(chosen)[permutation(seed, f"{purpose}/{c}", len(chosen))].astype(np.int64)


def _quotas(counts: IntArray, share: float) -> IntArray:
    exact = counts * share
    quota = np.floor(exact + 1e-9).astype(np.int64)
    room = np.where(counts > 1, np.minimum(np.ceil(exact - 1e-9), counts - 1), quota).astype(
        np.int64
    )
    quota = np.minimum(quota, room)
    quota = np.where((quota == 0) & (counts > 1), np.minimum(1, room), quota)
    missing = int(np.rint(exact.sum())) - int(quota.sum())
    order = np.argsort(-(exact - quota), kind="stable")
    for index in order:
        if missing <= 0:
            break
        if quota[index] < room[index]:
            quota[index] += 1
            missing -= 1
    return quota


def _complement(n: int, taken: IntArray) -> tuple[IntArray, IntArray]:
    mask = np.zeros(n, dtype=bool)
    mask[taken] = True
    return np.flatnonzero(~mask), np.flatnonzero(mask)


def _by_groups(
    labels: IntArray, share: float, seed: int, purpose: str, groups: IntArray
) -> tuple[IntArray, IntArray]:
    names, index = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise UsageError("a grouped split needs two groups", len(names), "split without groups")
    classes, label_index = np.unique(labels, return_inverse=True)
    table = np.zeros((len(names), len(classes)))
    np.add.at(table, (index, label_index), 1)
    target = table.sum(0) * share
    shuffled = permutation(seed, f"{purpose}/groups", len(names))
    # large groups first: the small ones then even out what is left
    order = shuffled[np.argsort(-table.sum(1)[shuffled], kind="stable")]
    missing = target.copy()
    taken = []
    for group in order:
        row = table[group]
        # |missing - row|^2 < |missing|^2, without the squares that cancel
        if row @ (row - 2 * missing) < 0:
            taken.append(group)
            missing -= row
    if not taken:
        taken = [order[-1]]
    if len(taken) == len(names):
        taken = taken[:-1]
    return _complement(len(labels), np.flatnonzero(np.isin(index, taken)))


def per_class(
    labels: IntArray, rows: IntArray, n: int, seed: int, purpose: str
) -> tuple[IntArray, IntArray]:
    """Take `n` rows of every class that occurs in `rows`.

    Returns:
        (taken, rest), sorted int64 rows; a larger `n` takes a superset.

    Raises:
        UsageError: if a class has fewer than `n` rows, naming the class, or `n` is below 1.

    Example:
        >>> labels = np.array([0, 1, 0, 1, 0])
        >>> taken, rest = per_class(labels, np.arange(5), 1, seed=0, purpose="level")
        >>> sorted(labels[taken].tolist()), len(rest)
        ([0, 1], 3)
    """
    if n < 1:
        raise UsageError("n per class must be at least 1", n, "pass n=10 (--per-class 10)")
    rows = np.asarray(rows, dtype=np.int64)
    classes, counts = np.unique(labels[rows], return_counts=True)
    if len(counts) and counts.min() < n:
        least = int(counts.min())
        raise UsageError(
            f"every class needs {n} images here",
            f"{least} of class {int(classes[counts.argmin()])}",
            f"pass at most {least} per class (--per-class {least})",
        )
    taken = [_members(labels, rows, int(c), seed, purpose)[:n] for c in classes]
    chosen = np.sort(np.concatenate(taken)) if taken else np.empty(0, np.int64)
    return chosen, np.sort(rows[~np.isin(rows, chosen)])


def long_tailed(labels: IntArray, rows: IntArray, factor: float, seed: int) -> IntArray:
    """Return rows whose class counts fall exponentially by `factor` from first to last class.

    Class c of C keeps `n * factor^(-c / (C - 1))` rows, rounded, at least one, where n is the
    largest number for which every class has enough (the class size, in a balanced set).

    Args:
        labels: int64, of all rows.
        rows: to choose from.
        factor: count of the first class over count of the last, at least 1.
        seed: of the study.

    Raises:
        UsageError: if the factor is below 1.

    Source: Cui, Jia, Lin, Song and Belongie, 2019, arXiv:1901.05555, section 5.1.

    Example:
        >>> labels = np.repeat(np.arange(3), 100)
        >>> np.bincount(labels[long_tailed(labels, np.arange(300), 100.0, seed=0)]).tolist()
        [100, 10, 1]
    """
    if not factor >= 1:
        raise UsageError("an imbalance factor is at least 1", factor, "pass factor=10.0")
    rows = np.asarray(rows, dtype=np.int64)
    classes, counts = np.unique(labels[rows], return_counts=True)
    profile = float(factor) ** (-np.arange(len(classes)) / max(1, len(classes) - 1))
    head = float((counts / profile).min()) if len(classes) else 0.0
    keep = np.maximum(1, np.rint(head * profile)).astype(np.int64)
    kept = [
        _members(labels, rows, int(c), seed, "long-tailed")[:n]
        for c, n in zip(classes, keep, strict=True)
    ]
    return np.sort(np.concatenate(kept)) if kept else rows


def folds(labels: IntArray, rows: IntArray, k: int, seed: int) -> list[tuple[IntArray, IntArray]]:
    """Return k stratified folds of `rows` as (train, held) pairs.

    Held sets are disjoint and together all rows; their sizes differ by at most one, and so do the
    counts of each class in them.

    Raises:
        UsageError: if k is below 2 or above the number of rows.

    Example:
        >>> pairs = folds(np.array([0, 0, 1, 1]), np.arange(4), k=2, seed=0)
        >>> [len(held) for _, held in pairs]
        [2, 2]
    """
    rows = np.asarray(rows, dtype=np.int64)
    if not 2 <= k <= len(rows):
        raise UsageError(f"folds are 2 to {len(rows)} (the rows)", k, "pass k=5")
    dealt = np.concatenate(
        [_members(labels, rows, int(c), seed, "folds") for c in np.unique(labels[rows])]
    )
    held = [np.sort(dealt[i::k]) for i in range(k)]
    return [(np.sort(rows[~np.isin(rows, h)]), h) for h in held]

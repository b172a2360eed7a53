from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augmint.core.errors import UsageError
from augmint.data.splits import folds, long_tailed, per_class, stratified

LABELS = st.lists(st.integers(0, 4), min_size=2, max_size=120).map(np.array)
SEEDS = st.integers(0, 2**31)


def exhaustive(n: int, *pieces: np.ndarray) -> None:
    """The pieces are sorted, disjoint and together 0 … n-1."""
    assert all((np.diff(p) > 0).all() for p in pieces)
    assert np.array_equal(np.sort(np.concatenate(pieces)), np.arange(n))


@settings(max_examples=60, deadline=None)
@given(LABELS, st.floats(0.02, 0.98), SEEDS)
def test_stratified(labels: np.ndarray, share: float, seed: int) -> None:
    rest, taken = stratified(labels, share, seed, "split")
    exhaustive(len(labels), rest, taken)
    for c in np.unique(labels):
        n, t = (labels == c).sum(), (labels[taken] == c).sum()
        assert abs(t - share * n) < 1 or n == 1
        if n > 1:
            assert 0 < t < n
    again = stratified(labels, share, seed, "split")
    assert all(np.array_equal(a, b) for a, b in zip((rest, taken), again, strict=True))


def test_total_is_the_share_where_classes_allow() -> None:
    labels = np.repeat(np.arange(10), 33)
    _, taken = stratified(labels, 0.15, 0, "split")
    assert len(taken) == round(0.15 * 330)


def test_seed_and_purpose_matter() -> None:
    labels = np.zeros(200, np.int64)
    draws = [stratified(labels, 0.5, s, p)[1] for s, p in ((0, "a"), (1, "a"), (0, "b"))]
    assert len({d.tobytes() for d in draws}) == 3


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 40), st.floats(0.05, 0.95), SEEDS)
def test_groups_stay_together(count: int, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = np.concatenate([np.arange(count), rng.integers(0, count, 3 * count)])
    labels = rng.integers(0, 3, len(groups))
    rest, taken = stratified(labels, share, seed, "split", groups)
    exhaustive(len(labels), rest, taken)
    assert len(rest)
    assert len(taken)
    assert not set(groups[rest]) & set(groups[taken])


def test_grouped_split_is_stratified_when_groups_are_small() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 3000)
    groups = rng.integers(0, 1000, 3000)
    _, taken = stratified(labels, 0.2, 0, "split", groups)
    for c in range(4):
        n = (labels == c).sum()
        assert abs((labels[taken] == c).sum() - 0.2 * n) < 0.02 * n


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, float("nan")])
def test_shares_that_cannot_be(share: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        stratified(np.array([0, 1]), share, 0, "split")


def test_one_group_cannot_be_split() -> None:
    with pytest.raises(UsageError, match="two groups"):
        stratified(np.array([0, 1]), 0.5, 0, "split", np.array([7, 7]))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), SEEDS)
def test_per_class_is_nested(n: int, seed: int) -> None:
    labels = np.tile(np.arange(3), 12)
    rows = np.arange(3, 33)
    taken, rest = per_class(labels, rows, n, seed, "level")
    assert np.array_equal(np.sort(np.concatenate((taken, rest))), rows)
    assert np.bincount(labels[taken]).tolist() == [n] * 3
    more, _ = per_class(labels, rows, n + 2, seed, "level")
    assert set(taken) < set(more)


def test_per_class_does_not_depend_on_the_order_of_rows() -> None:
    labels = np.tile(np.arange(3), 12)
    rows = np.arange(36)
    assert np.array_equal(
        per_class(labels, rows, 4, 0, "level")[0], per_class(labels, rows[::-1], 4, 0, "level")[0]
    )


def test_a_class_with_too_few_is_named() -> None:
    with pytest.raises(UsageError, match="1 of class 1"):
        per_class(np.array([0, 0, 1]), np.arange(3), 2, 0, "level")


@pytest.mark.parametrize("factor", [1.0, 10.0, 100.0])
def test_long_tail_follows_its_formula(factor: float) -> None:
    classes, n = 10, 500
    labels = np.repeat(np.arange(classes), n)
    kept = long_tailed(labels, np.arange(len(labels)), factor, 0)
    expected = [round(n * factor ** (-c / (classes - 1))) for c in range(classes)]
    assert np.bincount(labels[kept]).tolist() == expected
    assert len(set(kept)) == len(kept)


def test_long_tail_of_an_unbalanced_set_keeps_the_factor() -> None:
    labels = np.repeat([0, 1, 2], [300, 50, 400])
    counts = np.bincount(labels[long_tailed(labels, np.arange(750), 9.0, 0)])
    assert counts.tolist() == [150, 50, 17]  # 50 * 3, 50, 50 / 3


@settings(max_examples=40, deadline=None)
@given(LABELS, st.integers(2, 6), SEEDS)
def test_folds(labels: np.ndarray, k: int, seed: int) -> None:
    rows = np.arange(len(labels))
    if k > len(rows):
        with pytest.raises(UsageError):
            folds(labels, rows, k, seed)
        return
    pairs = folds(labels, rows, k, seed)
    exhaustive(len(labels), *(held for _, held in pairs))
    sizes = [len(held) for _, held in pairs]
    assert max(sizes) - min(sizes) <= 1
    for train, held in pairs:
        exhaustive(len(labels), train, held)
    for c in np.unique(labels):
        counts = [(labels[held] == c).sum() for _, held in pairs]
        assert max(counts) - min(counts) <= 1

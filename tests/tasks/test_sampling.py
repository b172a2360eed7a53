"""Batches of exact shares, rows seen equally often, no history."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augmint.tasks.sampling import SamplingPlan, composition, epochs


@settings(max_examples=60, deadline=None)
@given(
    weights=st.lists(st.integers(1, 50), min_size=1, max_size=5),
    batch=st.integers(2, 70),
    steps=st.integers(1, 300),
)
def test_batches_are_full_and_shares_hold(weights: list[int], batch: int, steps: int) -> None:
    shares = np.array(weights) / sum(weights)
    counts = composition(shares.tolist(), batch, steps)
    assert counts.shape == (steps, len(weights))
    assert (counts.sum(1) == batch).all()
    assert (np.abs(counts - batch * shares) < 1 + 1e-6).all()
    # systematic places with golden-ratio offsets: the sum strays by a few images, never by steps
    assert np.abs(counts.sum(0) - steps * batch * shares).max() < 4 + np.log2(steps)


def test_whole_shares_never_vary() -> None:
    assert (composition([0.75, 0.25], 64, 500) == [48, 16]).all()


def test_more_steps_keep_the_first_ones() -> None:
    shares = [0.37, 0.33, 0.3]
    assert np.array_equal(composition(shares, 10, 50), composition(shares, 10, 200)[:50])
    assert np.array_equal(epochs(3, "o", 13, 40), epochs(3, "o", 13, 400)[:40])


def test_rows_come_equally_often() -> None:
    for draws in (1, 12, 13, 14, 100, 1300):
        seen = np.bincount(epochs(0, "o", 13, draws), minlength=13)
        assert seen.max() - seen.min() <= 1
    orders = epochs(0, "o", 13, 13 * 50).reshape(50, 13)
    assert (np.sort(orders, axis=1) == np.arange(13)).all()
    assert len({tuple(o) for o in orders}) == 50, "epochs are shuffled anew"


def test_plan_joins_sources() -> None:
    plan = SamplingPlan.make([5, 3], [0.5, 0.5], 4, 30, seed=1)
    rows = np.concatenate([plan.rows(s) for s in range(30)])
    assert ((rows < 5).sum(), (rows >= 5).sum()) == (60, 60)
    assert np.bincount(rows).tolist() == [12] * 5 + [20] * 3
    assert plan.views([5, 3]) == [12.0, 20.0]
    assert all(((plan.rows(s) < 5).sum()) == 2 for s in range(30))


@pytest.mark.parametrize("other", [(2, ""), (1, "repeat")])
def test_seed_and_name_choose_the_order(other: tuple[int, str]) -> None:
    one = SamplingPlan.make([50], [1.0], 10, 5, 1, "")
    two = SamplingPlan.make([50], [1.0], 10, 5, *other)
    again = SamplingPlan.make([50], [1.0], 10, 5, 1, "")
    assert np.array_equal(one.rows(3), again.rows(3))
    assert not np.array_equal(one.rows(3), two.rows(3))


def test_a_source_keeps_its_order_when_others_join() -> None:
    """The real images of an arm come in one order, whatever else is in its batches."""
    alone = SamplingPlan.make([20], [1.0], 8, 10, 4).order[0]
    beside = SamplingPlan.make([20, 9], [0.5, 0.5], 8, 10, 4).order[0]
    assert np.array_equal(alone[: len(beside)], beside)

"""Philox against its published vectors; draws against their distributions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from augmint.core.streams import derive, permutation, philox, scope, stream

# known-answer vectors of the Random123 library, philox 4x32 with 10 rounds: counter, key, output
VECTORS = [
    ((0,) * 4, (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
def test_known_answers(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    words = philox(tuple(np.array([c], np.uint32) for c in counter), key)  # type: ignore[arg-type]
    assert tuple(int(w[0]) for w in words) == expected


def test_numpy_has_the_same_generator() -> None:
    """numpy's Philox is the 64-bit sibling; uniformity is compared on equal sample sizes."""
    ours = stream(1, "u", ids=4000).uniform(5).numpy().ravel()
    theirs = np.random.Generator(np.random.Philox(1)).random(20000)
    assert stats.ks_2samp(ours, theirs).pvalue > 1e-3


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-2.0, 3.0)])
def test_uniform(low: float, high: float) -> None:
    drawn = stream(2, "u", ids=5000).uniform(4, low, high).numpy()
    assert low <= drawn.min()
    assert drawn.max() < high
    assert stats.kstest(drawn.ravel(), stats.uniform(low, high - low).cdf).pvalue > 1e-3


def test_normal() -> None:
    drawn = stream(3, "n", ids=5000).normal(5).numpy().astype(np.float64)
    assert stats.kstest(drawn.ravel(), "norm").pvalue > 1e-3
    correlation = np.corrcoef(drawn.T) - np.eye(5)
    # 1 / sqrt(5000) = 0.014 is one standard deviation; ten pairs
    assert np.abs(correlation).max() < 5 * 0.0142


def test_integers() -> None:
    drawn = stream(4, "i", ids=7000).integers(3, 7).numpy().ravel()
    assert drawn.dtype == np.int64
    assert stats.chisquare(np.bincount(drawn, minlength=7)).pvalue > 1e-3


def test_a_row_depends_on_its_own_id_alone() -> None:
    whole = stream(5, "x", step=9, ids=np.arange(100))
    part = stream(5, "x", step=9, ids=[41, 7])
    for draw in ("normal", "uniform", "normal"):
        assert torch.equal(getattr(whole, draw)(5)[[41, 7]], getattr(part, draw)(5))


def test_seed_purpose_step_id_and_position_all_count() -> None:
    base = stream(1, "a", 1, [1]).words(8)
    others = [
        stream(2, "a", 1, [1]),
        stream(1, "b", 1, [1]),
        stream(1, "a", 2, [1]),
        stream(1, "a", 1, [2**40 + 1]),
    ]
    assert all(not np.intersect1d(base, o.words(8)).size for o in others)
    again = stream(1, "a", 1, [1])
    assert not np.intersect1d(again.words(4), again.words(4)).size


def test_permutations() -> None:
    orders = [permutation(1, "p", 50, s) for s in range(20)]
    assert all(sorted(o) == list(range(50)) for o in orders)
    assert len({tuple(o) for o in orders}) == 20
    assert np.array_equal(permutation(1, "p", 50, 3), orders[3])


def test_scope_seeds_and_restores() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    with scope(1, "dropout", 2):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with scope(1, "dropout", 2):
        assert torch.equal(torch.rand(3), inside)
    with scope(1, "dropout", 3):
        assert not torch.equal(torch.rand(3), inside)
    assert 0 <= derive(1, "x") < 2**63

"""Precision, recall, density, coverage: by hand, by loops, and with a mode that is missing."""

from __future__ import annotations

import numpy as np
import pytest

from augmint.core.errors import UsageError
from augmint.metrics import coverage
from augmint.metrics.coverage import precision_recall_density_coverage as prdc


def by_loops(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float, float, float]:
    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.sqrt(((a - b) ** 2).sum()))

    def radius(rows: np.ndarray, i: int) -> float:
        return sorted(distance(rows[i], rows[j]) for j in range(len(rows)) if j != i)[k - 1]

    n = len(real)
    balls_r = [radius(real, i) for i in range(n)]
    balls_g = [radius(fake, i) for i in range(n)]
    hit = [[distance(real[i], fake[j]) <= balls_r[i] for j in range(n)] for i in range(n)]
    back = [[distance(real[i], fake[j]) <= balls_g[j] for j in range(n)] for i in range(n)]
    precision = sum(any(hit[i][j] for i in range(n)) for j in range(n)) / n
    recall = sum(any(row) for row in back) / n
    return precision, recall, sum(map(sum, hit)) / (k * n), sum(any(row) for row in hit) / n


@pytest.mark.parametrize("k", [1, 3, 5])
def test_equals_the_loops(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "CHUNK", 7)
    rng = np.random.default_rng(k)
    real, fake = rng.normal(size=(25, 3)), 0.7 * rng.normal(size=(25, 3)) + 0.4
    result = prdc(real, fake, k)
    found = (result.precision, result.recall, result.density, result.coverage)
    assert found == pytest.approx(by_loops(real, fake, k))


def test_by_hand_on_a_line() -> None:
    # k = 1: real 0, 1, 10 have radii 1, 1, 9; fake 0.5, 0.6, 30 have radii 0.1, 0.1, 29.4
    real, fake = np.array([[0.0], [1.0], [10.0]]), np.array([[0.5], [0.6], [30.0]])
    result = prdc(real, fake, k=1)
    # 0.5 lies in the balls of 0 and 1; 0.6 in those of 0 and 1; 10 - 0.6 > 9 for both
    assert result.precision == pytest.approx(2 / 3)
    assert result.density == pytest.approx(4 / 3)
    assert result.coverage == pytest.approx(2 / 3)
    # 30's ball reaches down to 0.6, so it holds 1 and 10, not 0
    assert result.recall == pytest.approx(2 / 3)


def test_a_missing_mode_lowers_recall_and_coverage_not_precision() -> None:
    rng = np.random.default_rng(0)
    centres = np.where(np.arange(200) % 2, 20.0, 0.0)[:, None]
    real = rng.normal(size=(200, 2)) + centres
    fake = rng.normal(size=(200, 2))
    result = prdc(real, fake)
    assert result.precision > 0.9
    assert result.density > 0.9
    assert 0.4 < result.recall < 0.6
    assert 0.4 < result.coverage < 0.6


def test_wrong_images_lower_precision_not_recall() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(200, 2))
    fake = np.concatenate([rng.normal(size=(100, 2)), rng.normal(size=(100, 2)) + 50])
    result = prdc(real, fake)
    assert 0.4 < result.precision < 0.6
    assert result.recall > 0.9


def test_equal_distributions_score_near_one() -> None:
    rng = np.random.default_rng(0)
    result = prdc(rng.normal(size=(500, 4)), rng.normal(size=(500, 4)))
    # E[density] = 1 for equal distributions; E[coverage] = 1 - prod (n-i)/(2n-i) ~ 1 - 2^-5
    assert result.density == pytest.approx(1.0, abs=0.1)
    assert result.coverage == pytest.approx(1 - 2**-5, abs=0.03)


def test_sizes_and_k_are_checked() -> None:
    with pytest.raises(UsageError, match="as many fake"):
        prdc(np.zeros((9, 2)), np.zeros((8, 2)))
    with pytest.raises(UsageError, match="k must be 1 to 8"):
        prdc(np.zeros((9, 2)), np.zeros((9, 2)), k=9)

"""KID against a double loop, its zero mean under the null, and another library."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from augmint.core.errors import UsageError
from augmint.metrics.kernel import kid, mmd2


def by_loops(x: np.ndarray, y: np.ndarray) -> float:
    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((np.dot(a, b) / len(a) + 1.0) ** 3)

    n, m = len(x), len(y)
    xx = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    xy = sum(k(a, b) for a in x for b in y) / (n * m)
    return xx + yy - 2 * xy


def test_equals_the_double_loop() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(13, 5)), rng.normal(size=(17, 5)) + 0.5
    assert mmd2(x, y) == pytest.approx(by_loops(x, y), rel=1e-12)


def test_is_unbiased_under_the_null() -> None:
    rng = np.random.default_rng(1)
    values = [mmd2(rng.normal(size=(20, 4)), rng.normal(size=(20, 4))) for _ in range(400)]
    # the mean of 400 draws lies within 4 standard errors of 0
    assert abs(np.mean(values)) < 4 * np.std(values) / 20
    assert min(values) < 0 < max(values)


def test_subsets_mean_spread_and_seed() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(100, 6)), rng.normal(size=(80, 6)) + 1.0
    first, again, other = (kid(x, y, seed=s) for s in (1, 1, 2))
    assert first == again
    assert first != other
    assert (first.subsets, first.subset_size) == (50, 40)
    assert first.sd > 0
    assert first.mean == pytest.approx(mmd2(x, y), rel=0.1)


def test_a_subset_that_is_all_there_is_is_taken_once() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(30, 6)), rng.normal(size=(30, 6))
    result = kid(x, y, seed=0, subset_size=30)
    assert (result.subsets, result.sd) == (1, 0.0)
    assert result.mean == pytest.approx(mmd2(x, y), rel=1e-12, abs=1e-15)


def test_equals_torchmetrics_on_the_same_features() -> None:
    image = pytest.importorskip("torchmetrics.image.kid")

    class Flat(torch.nn.Module):
        num_features = 8

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1)

    rng = np.random.default_rng(4)
    a, b = (rng.normal(size=(40, 8)).astype(np.float32) for _ in range(2))
    other = image.KernelInceptionDistance(feature=Flat(), subsets=1, subset_size=40, normalize=True)
    other.update(torch.from_numpy(a).view(-1, 2, 2, 2), real=True)
    other.update(torch.from_numpy(b).view(-1, 2, 2, 2), real=False)
    # float32 there
    assert mmd2(a, b) == pytest.approx(float(other.compute()[0]), abs=1e-5)


def test_subset_sizes_are_checked() -> None:
    with pytest.raises(UsageError, match="2 to 10"):
        kid(np.zeros((10, 2)), np.zeros((10, 2)), seed=0, subset_size=11)

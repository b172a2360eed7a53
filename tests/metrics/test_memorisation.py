"""DCR share, authenticity and C_T: hand-made cases, expectations under independence, copies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import mannwhitneyu
from sklearn.neighbors import NearestNeighbors

from augmint.metrics import memorisation
from augmint.metrics.memorisation import (
    authenticity,
    copying_statistic,
    dcr_share,
    kmeans,
    nearest_rows,
)


def normal(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 5))


def test_nearest_rows_equal_another_library() -> None:
    queries, rows = normal(50, 0), normal(70, 1)
    distance, index = NearestNeighbors(n_neighbors=1).fit(rows).kneighbors(queries)
    found, by = nearest_rows(queries, rows)
    assert np.array_equal(found, index[:, 0])
    np.testing.assert_allclose(by, distance[:, 0])


def test_dcr_share_is_half_for_strangers_and_one_for_copies() -> None:
    train, held_out = normal(300, 0), normal(200, 1)
    # sd of one share of 1000 dependent rows is some 0.03
    assert dcr_share(train, held_out, normal(1000, 2), seed=0) == pytest.approx(0.5, abs=0.1)
    assert dcr_share(train[:200], held_out, train[:200] + 1e-6, seed=0) == 1.0
    assert dcr_share(held_out, held_out, normal(10, 2), seed=0) == 0.5


def test_authenticity_by_hand() -> None:
    train = np.array([[0.0], [1.0], [5.0]])
    # nearest of 0.4 is 0 (whose own neighbour is 1 away, so 0.4 is not authentic);
    # nearest of 2.5 is 1 (own neighbour 1 away, 1.5 > 1: authentic); 5.5: 4 > 0.5, not
    assert authenticity(train, np.array([[0.4], [2.5], [5.5]])) == pytest.approx(1 / 3)
    assert authenticity(train, train) == 0.0


def test_the_copying_statistic_has_its_sign_and_scale() -> None:
    train, held_out = normal(300, 0), normal(200, 1)
    fair = [copying_statistic(train, held_out, normal(200, s), seed=0) for s in range(2, 12)]
    assert all(abs(c) < 4 for c in fair if c is not None)
    noise = 0.01 * normal(200, 20)
    copied = copying_statistic(train, held_out, train[:200] + noise, seed=0)
    assert copied is not None
    assert copied < -5
    far = copying_statistic(train, held_out, 4 * normal(200, 21), seed=0)
    assert far is not None
    assert far > 3


def test_the_copying_statistic_of_one_cell_is_the_mann_whitney_z() -> None:
    train, held_out, minted = normal(80, 0), normal(60, 1), 1.1 * normal(50, 2)
    g, h = nearest_rows(minted, train)[1], nearest_rows(held_out, train)[1]
    u = mannwhitneyu(g, h, method="asymptotic", use_continuity=False).statistic
    z = (u - 50 * 60 / 2) / np.sqrt(50 * 60 * 111 / 12)
    found = copying_statistic(train, held_out, minted, seed=0, cells=1)
    assert found == pytest.approx(z)


def test_tiny_cells_leave_nothing() -> None:
    assert copying_statistic(normal(30, 0), normal(30, 1), normal(10, 2), seed=0) is None


def test_kmeans_finds_clear_clusters_and_is_seeded() -> None:
    rows = np.concatenate([normal(50, s) * 0.1 + 10 * s for s in range(3)])
    centres = kmeans(rows, 3, seed=0)
    assert sorted(np.round(centres[:, 0] / 10).tolist()) == [0, 1, 2]
    assert np.array_equal(centres, kmeans(rows, 3, seed=0))
    # fewer distinct rows than centres
    assert np.isfinite(kmeans(np.ones((5, 2)), 3, seed=0)).all()


def test_nearest_rows_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    rows = rng.random((40, 5))
    rows[31] = rows[4]  # equal rows in two blocks: the first is found
    own = np.arange(40)
    whole = memorisation.nearest_rows(rows, rows), memorisation.nearest_rows(rows, rows, own=own)
    monkeypatch.setattr(memorisation, "BLOCK", 7)
    parts = memorisation.nearest_rows(rows, rows), memorisation.nearest_rows(rows, rows, own=own)
    for (index, distance), (other, same) in zip(whole, parts, strict=True):
        assert np.array_equal(index, other)
        assert np.array_equal(distance, same)
    assert whole[0][0][31] == 4
    between = cdist(rows, rows)
    np.fill_diagonal(between, np.inf)
    assert np.allclose(whole[1][1], between.min(1))

"""Three numbers from the literature that ask whether minted images lie too near the training set.

All take features of training, held-out and minted images, `(n, D)`, `(H, D)` and `(M, D)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from augmint.core.errors import UsageError
from augmint.core.streams import permutation, stream
from augmint.metrics.base import check_pair

if TYPE_CHECKING:
    from augmint.core.types import FloatArray, IntArray

ENTRIES, BLOCK = 2**22, 2**13
"""Distances held at once, and rows held in double precision at once."""
CANDIDATES = 8
CELLS, COMPONENTS, LEAST_IN_CELL = 3, 64, 20


def nearest_rows(
    queries: FloatArray, rows: FloatArray, own: IntArray | None = None
) -> tuple[IntArray, FloatArray]:
    """Return index and Euclidean distance `(N,)` of the nearest of `rows` to each query.

    The matrix form, `|q|^2 - 2 q·r + |r|^2`, finds a few candidates; their distances are taken from
    the differences, because the matrix form leaves 1e-8 where equal rows must give 0.

    Args:
        queries, rows: `(N, D)` and `(n, D)`.
        own: the row of `rows`, `(N,)`, that each query may not find: itself.

    Example:
        >>> rows = np.array([[0.0], [1.0], [5.0]])
        >>> index, distance = nearest_rows(np.array([[3.5]]), rows)
        >>> index.tolist(), distance.tolist()
        ([2], [1.5])
        >>> nearest_rows(rows, rows, own=np.arange(3))[0].tolist()
        [1, 0, 1]
    """
    import torch

    check_pair(queries, rows)
    if not len(rows):
        raise UsageError("nearest neighbours need at least one row", 0, "give more images")
    index = np.zeros(len(queries), dtype=np.int64)
    distance = np.full(len(queries), np.inf)
    for base in range(0, len(rows), BLOCK):
        bank = torch.from_numpy(np.asarray(rows[base : base + BLOCK], dtype=np.float64))
        squares = bank.square().sum(1)
        chunk = max(1, ENTRIES // len(bank))
        for start in range(0, len(queries), chunk):
            part = slice(start, start + chunk)
            asked = torch.from_numpy(np.asarray(queries[part], dtype=np.float64))
            near = torch.addmm(squares, asked, bank.T, alpha=-2.0)
            if own is not None:
                here = torch.from_numpy(own[part] - base)
                inside = torch.nonzero((here >= 0) & (here < len(bank)))[:, 0]
                near[inside, here[inside]] = torch.inf
            # sorted: of equal rows the first is found
            found = near.topk(min(CANDIDATES, len(bank)), largest=False).indices.sort(1).values
            exact = (bank[found] - asked[:, None]).norm(dim=2)
            exact[near.gather(1, found).isinf()] = torch.inf
            best = exact.min(1)
            rows_of_best = found.gather(1, best.indices[:, None])[:, 0].numpy() + base
            nearer = best.values.numpy() < distance[part]
            index[part] = np.where(nearer, rows_of_best, index[part])
            distance[part] = np.where(nearer, best.values.numpy(), distance[part])
    return index, distance


def dcr_share(train: FloatArray, held_out: FloatArray, minted: FloatArray, seed: int) -> float:
    """Return the share of minted rows nearer to training rows than to as many held-out rows.

    share = mean_g (1[d(g, T') < d(g, H')] + 1[equal] / 2), T' and H' random rows of the same
    count min(n, H). About 0.5 where training rows are not favoured; towards 1 for copies.

    Source: distance to closest record, as used for synthetic tables.

    Example:
        >>> train, held_out = np.array([[0.0], [1.0]]), np.array([[10.0], [11.0]])
        >>> [dcr_share(train, held_out, minted, seed=0) for minted in (train, train + 5.0)]
        [1.0, 0.5]
    """
    count = min(len(train), len(held_out))
    own = train[permutation(seed, "metrics.dcr.train", len(train))[:count]]
    other = held_out[permutation(seed, "metrics.dcr.held-out", len(held_out))[:count]]
    near, far = nearest_rows(minted, own)[1], nearest_rows(minted, other)[1]
    return float(np.mean((near < far) + 0.5 * (near == far)))


def authenticity(train: FloatArray, minted: FloatArray) -> float:
    """Return the share of minted rows that are authentic, [0, 1]; low for copies.

    g with nearest training row r is authentic if r has another training row nearer than g:
    d(r, T without r) < d(g, r).

    Source: Alaa et al. 2022 (arXiv 2102.08921), section 3.3.

    Raises:
        UsageError: for fewer than 2 training rows.

    Example:
        >>> train = np.array([[0.0], [1.0], [2.0]])
        >>> authenticity(train, train), authenticity(train, np.array([[9.0]]))
        (0.0, 1.0)
    """
    if len(train) < 2:
        raise UsageError("authenticity needs at least 2 training rows", len(train), "give more")
    index, distance = nearest_rows(minted, train)
    asked, place = np.unique(index, return_inverse=True)  # only these are ever looked up
    between = nearest_rows(train[asked], train, own=asked)[1]
    return float(np.mean(between[place] < distance))


def copying_statistic(
    train: FloatArray, held_out: FloatArray, minted: FloatArray, seed: int, cells: int = CELLS
) -> float | None:
    """Return C_T: far below 0 (under -3, say) where minted rows crowd the training rows.

    In each of the k-means cells of T (after PCA to at most 64), Z compares d(g, T) with d(h, T)
    by the Mann-Whitney U statistic with ties counted half, and

        Z = (U - m n / 2) / sqrt(m n (m + n + 1) / 12),   C_T = sum_c P(c) Z_c / sum_c P(c)

    where m minted and n held-out rows lie in the cell, U counts the pairs with d(g) > d(h), and
    P(c) is the cell's share of held-out rows. Cells with fewer than 20 minted rows, or without
    held-out rows, are left out; None where none is left.

    Source: Meehan, Chaudhuri and Dasgupta 2020 (arXiv 2004.05675), eq. 2; the cells are seeded.

    Example:
        >>> train, held_out = np.random.default_rng(0).normal(size=(2, 50, 2))
        >>> copying_statistic(train, held_out, held_out, seed=0, cells=1)
        0.0
        >>> copying_statistic(train, held_out, train, seed=0, cells=1) < -3
        True
    """
    from scipy.stats import rankdata

    centre = train.mean(0)
    _, axes = np.linalg.eigh(np.atleast_2d(np.cov(train, rowvar=False)))
    components = axes[:, ::-1][:, :COMPONENTS]
    t, h, g = ((x - centre) @ components for x in (train, held_out, minted))
    centres = kmeans(t, min(cells, len(t)), seed)
    cell_t, cell_h, cell_g = (nearest_rows(x, centres)[0] for x in (t, h, g))
    total, weight = 0.0, 0.0
    for cell in range(len(centres)):
        own, of_h, of_g = t[cell_t == cell], h[cell_h == cell], g[cell_g == cell]
        m, n = len(of_g), len(of_h)
        if m < LEAST_IN_CELL or n == 0 or len(own) == 0:
            continue
        distances = np.concatenate([nearest_rows(of_g, own)[1], nearest_rows(of_h, own)[1]])
        u = rankdata(distances)[:m].sum() - m * (m + 1) / 2
        z = (u - m * n / 2) / np.sqrt(m * n * (m + n + 1) / 12)
        total, weight = total + n * z, weight + n
    return float(total / weight) if weight else None


def kmeans(rows: FloatArray, k: int, seed: int, steps: int = 50) -> FloatArray:
    """Return k centres `(k, D)` by Lloyd's algorithm from k-means++ starts, both seeded.

    Source: Arthur and Vassilvitskii 2007.

    Example:
        >>> centres = kmeans(np.array([[0.0], [1.0], [10.0], [11.0]]), 2, seed=0)
        >>> sorted(centres.flatten().tolist())
        [0.5, 10.5]
    """
    draws = stream(seed, "metrics.kmeans", ids=k).uniform(1).double().numpy()[:, 0]
    centres = rows[[int(draws[0] * len(rows))]]
    for draw in draws[1:]:
        mass = np.cumsum(nearest_rows(rows, centres)[1] ** 2)
        pick = int(np.searchsorted(mass, draw * mass[-1], side="right"))
        centres = np.concatenate([centres, rows[[min(pick, len(rows) - 1)]]])
    for _ in range(steps):
        cell = nearest_rows(rows, centres)[0]
        moved = np.stack(
            [rows[cell == c].mean(0) if (cell == c).any() else centres[c] for c in range(k)]
        )
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres

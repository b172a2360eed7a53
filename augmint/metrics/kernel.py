"""Kernel distance (KID): the unbiased squared maximum mean discrepancy of a cubic kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from augmint.core.errors import UsageError
from augmint.core.registry import METRICS
from augmint.core.streams import permutation
from augmint.metrics.base import FeatureMetric, Values, check_pair

if TYPE_CHECKING:
    from augmint.core.types import FloatArray

LARGEST_SUBSET = 1000


@dataclass(frozen=True)
class KernelDistance:
    """KID over subsets.

    Args:
        mean: mean over subsets; unbiased, so it may be negative.
        sd: standard deviation over subsets (0 for one subset); the subsets overlap, so it is no
            standard error.
        subsets: how many.
        subset_size: rows of each side in a subset.
    """

    mean: float
    sd: float
    subsets: int
    subset_size: int


def mmd2(first: FloatArray, second: FloatArray) -> float:
    """Return the unbiased squared MMD with the kernel `k(x, y) = (x·y / D + 1)^3`.

    MMD2 = sum_{i≠j} k(x_i, x_j) / n(n-1) + sum_{i≠j} k(y_i, y_j) / m(m-1) - 2 mean k(x_i, y_j)

    Args:
        first, second: `(n, D)` and `(m, D)`, at least 2 rows each.

    Raises:
        UsageError: for other shapes.

    Source: Gretton et al. 2012, eq. 3; Bińkowski et al. 2018 (arXiv 1801.01401).

    Example:
        >>> mmd2(np.zeros((2, 1)), np.ones((2, 1)))
        7.0
    """
    check_pair(first, second)
    n, m, width = len(first), len(second), first.shape[1]
    if min(n, m) < 2:
        raise UsageError("MMD needs at least 2 rows a side", f"{n} and {m}", "give more images")
    x, y = (np.asarray(s, dtype=np.float64) for s in (first, second))
    kxx, kyy, kxy = ((a @ b.T / width + 1.0) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    within_x = (kxx.sum() - np.trace(kxx)) / (n * (n - 1))
    within_y = (kyy.sum() - np.trace(kyy)) / (m * (m - 1))
    return float(within_x + within_y - 2.0 * kxy.mean())


def kid(
    first: FloatArray,
    second: FloatArray,
    *,
    seed: int,
    subsets: int = 50,
    subset_size: int | None = None,
) -> KernelDistance:
    """Return KID: mean and spread of `mmd2` over random subsets of both sides.

    Args:
        first, second: features `(n, D)` and `(m, D)`.
        seed: chooses the subsets.
        subsets: how many; one where a subset is all there is.
        subset_size: rows a side; None takes half of the smaller side, at most 1000.

    Raises:
        UsageError: if a subset is larger than a side or smaller than 2.

    Example:
        >>> kid(np.zeros((4, 1)), np.ones((4, 1)), seed=0, subsets=3)
        KernelDistance(mean=7.0, sd=0.0, subsets=3, subset_size=2)
    """
    check_pair(first, second)
    smaller = min(len(first), len(second))
    size = min(LARGEST_SUBSET, max(2, smaller // 2)) if subset_size is None else subset_size
    if not 2 <= size <= smaller:
        raise UsageError(
            f"a KID subset has 2 to {smaller} rows here", size, "lower subset_size or give None"
        )
    if subsets < 1:
        raise UsageError("KID needs at least one subset", subsets, "set subsets >= 1")
    count = 1 if size == len(first) == len(second) else subsets
    values = [
        mmd2(
            first[permutation(seed, "metrics.kid.first", len(first), step)[:size]],
            second[permutation(seed, "metrics.kid.second", len(second), step)[:size]],
        )
        for step in range(count)
    ]
    sd = float(np.std(values, ddof=1)) if count > 1 else 0.0
    return KernelDistance(float(np.mean(values)), sd, count, size)


@METRICS.register("kid")
@dataclass(frozen=True)
class Kid(FeatureMetric):
    """KID on features, mean and sd over subsets; unbiased in n, so the first to read at small n.

    Args:
        subsets: random subsets whose mean and sd are given.
        subset_size: images in each; None: half of the smaller side, at most 1000.

    Example:
        >>> x = np.array([[0.0], [1.0]])
        >>> Kid(subset_size=2)(x, x)["kid"]
        -3.5
    """

    subsets: int = 50
    subset_size: int | None = None
    title: ClassVar[str] = "kid"

    def refusal(self, n: int, width: int) -> str | None:
        least = self.subset_size or 4
        return None if n >= least else f"needs at least {least} images a side, has {n}"

    def __call__(self, reference: FloatArray, sample: FloatArray, seed: int = 0) -> Values:
        result = kid(
            reference, sample, seed=seed, subsets=self.subsets, subset_size=self.subset_size
        )
        return {
            "kid": result.mean,
            "kid_sd": result.sd,
            "kid_subset_size": float(result.subset_size),
        }

"""Precision, recall, density and coverage: fidelity and diversity from nearest-neighbour balls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from augmint.core.errors import UsageError
from augmint.core.registry import METRICS
from augmint.metrics.base import FeatureMetric, Values, check_pair

if TYPE_CHECKING:
    from torch import Tensor

    from augmint.core.types import FloatArray

CHUNK = 256


@dataclass(frozen=True)
class Coverage:
    """The four numbers, of fake against real.

    Args:
        precision: share of fake rows inside the real support, [0, 1]; low when images look wrong.
        recall: share of real rows inside the fake support, [0, 1]; low when modes are missing.
        density: how many real balls hold a fake row, over k; about 1 at best, not bounded by it.
        coverage: share of real balls that hold a fake row, [0, 1].
    """

    precision: float
    recall: float
    density: float
    coverage: float


def precision_recall_density_coverage(real: FloatArray, fake: FloatArray, k: int = 5) -> Coverage:
    """Return precision, recall, density and coverage with k-nearest-neighbour balls.

    B_k(x) is the closed ball about x that reaches its k-th nearest other row of x's own set:

        precision = mean_g 1[g in U_r B_k(r)]          recall = mean_r 1[r in U_g B_k(g)]
        density = sum_g sum_r 1[g in B_k(r)] / (k M)   coverage = mean_r 1[some g in B_k(r)]

    Args:
        real, fake: features `(n, D)`, the same n (all four depend on it), n > k.

    Raises:
        UsageError: if the sizes differ, or n is not above k.

    Source: Kynkäänniemi et al. 2019 (arXiv 1904.06991); Naeem et al. 2020 (arXiv 2002.09797).

    Example:
        >>> x = np.arange(10.0)[:, None]
        >>> precision_recall_density_coverage(x, x + 100, k=2)
        Coverage(precision=0.0, recall=0.0, density=0.0, coverage=0.0)
    """
    import torch

    check_pair(real, fake)
    if len(real) != len(fake):
        raise UsageError(
            "precision and recall need as many fake as real rows",
            f"{len(real)} real and {len(fake)} fake",
            "draw the same number of both",
        )
    if not 1 <= k < len(real):
        raise UsageError(f"k must be 1 to {len(real) - 1} for {len(real)} rows", k, "lower k")
    r = torch.from_numpy(np.asarray(real, dtype=np.float64))
    g = torch.from_numpy(np.asarray(fake, dtype=np.float64))
    radius_r, radius_g = _radii(r, k), _radii(g, k)
    inside, covered, recalled = 0, 0, 0
    precise = torch.zeros(len(g), dtype=torch.bool)
    for start in range(0, len(r), CHUNK):
        distances = torch.cdist(r[start : start + CHUNK], g)
        in_real = distances <= radius_r[start : start + CHUNK, None]
        inside += int(in_real.sum())
        covered += int(in_real.any(1).sum())
        precise |= in_real.any(0)
        recalled += int((distances <= radius_g[None]).any(1).sum())
    n = len(r)
    return Coverage(int(precise.sum()) / n, recalled / n, inside / (k * n), covered / n)


def _radii(rows: Tensor, k: int) -> Tensor:
    """Return `(n,)`: the distance of each row to its k-th nearest other row."""
    import torch

    parts = []
    for start in range(0, len(rows), CHUNK):
        distances = torch.cdist(rows[start : start + CHUNK], rows)
        own = torch.arange(len(distances))
        distances[own, own + start] = torch.inf
        parts.append(distances.kthvalue(k, dim=1).values)
    return torch.cat(parts)


@METRICS.register("precision-recall-density-coverage")
@dataclass(frozen=True)
class PrecisionRecallDensityCoverage(FeatureMetric):
    """Precision, recall, density and coverage of features with k-nearest-neighbour balls.

    Args:
        k: a ball reaches to its k-th nearest neighbour.

    Example:
        >>> x = np.arange(10.0)[:, None]
        >>> PrecisionRecallDensityCoverage(k=2)(x, x)
        {'precision': 1.0, 'recall': 1.0, 'density': 1.5, 'coverage': 1.0}
    """

    k: int = 5
    title: ClassVar[str] = "precision-recall-density-coverage"

    def refusal(self, n: int, width: int) -> str | None:
        return None if n > self.k else f"needs more than k = {self.k} images a side, has {n}"

    def __call__(self, reference: FloatArray, sample: FloatArray, seed: int = 0) -> Values:
        result = precision_recall_density_coverage(reference, sample, self.k)
        return {
            "precision": result.precision,
            "recall": result.recall,
            "density": result.density,
            "coverage": result.coverage,
        }

"""Fréchet distance between two sets of feature vectors.

    FD = ||mu_1 - mu_2||^2 + tr(S_1) + tr(S_2) - 2 tr((S_1 S_2)^(1/2))

It is the squared 2-Wasserstein distance between the Gaussians with these moments. The trace of
the square root is taken from symmetric problems only: with S_1 = L L^T, S_1 S_2 and L^T S_2 L
share their eigenvalues; below full rank, the singular values of X_1 X_2^T (centred rows) are the
square roots that are wanted, at the cost of an n x n problem.
"""

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


def frechet(first: FloatArray, second: FloatArray) -> float:
    """Return the Fréchet distance of two samples, in float64.

    Args:
        first, second: `(n, D)` and `(m, D)`, at least 2 rows each; the n x m Gram form is used
            where n or m does not exceed D.

    Raises:
        UsageError: for other shapes.

    Source: Dowson and Landau 1982; Heusel et al. 2017 (arXiv 1706.08500), eq. 6. Biased upwards
    at small n: compare at equal n only, beside a floor.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> round(frechet(x, x + 2.0), 6)
        12.0
    """
    import torch

    check_pair(first, second)
    if min(len(first), len(second)) < 2:
        raise UsageError(
            "a Fréchet distance needs at least 2 rows a side",
            f"{len(first)} and {len(second)}",
            "give more images",
        )
    a = torch.from_numpy(np.asarray(first, dtype=np.float64))
    b = torch.from_numpy(np.asarray(second, dtype=np.float64))
    mean_a, mean_b = a.mean(0), b.mean(0)
    a, b = a - mean_a, b - mean_b
    n, m, width = len(a) - 1, len(b) - 1, a.shape[1]
    if min(n, m) >= width:
        return _from_moments(mean_a, a.T @ a / n, mean_b, b.T @ b / m)
    root = float(torch.linalg.svdvals(a @ b.T).sum()) / (n * m) ** 0.5
    spread = float((a * a).sum() / n + (b * b).sum() / m)
    return max(float((mean_a - mean_b).square().sum()) + spread - 2.0 * root, 0.0)


def frechet_from_moments(
    mean_1: FloatArray, covariance_1: FloatArray, mean_2: FloatArray, covariance_2: FloatArray
) -> float:
    """Return the Fréchet distance of two Gaussians given by means `(D,)` and covariances `(D, D)`.

    Example:
        >>> one, four = np.eye(2), 4 * np.eye(2)
        >>> frechet_from_moments(np.zeros(2), one, np.zeros(2), four)
        2.0
    """
    import torch

    return _from_moments(
        *(
            torch.from_numpy(np.asarray(x, dtype=np.float64))
            for x in (mean_1, covariance_1, mean_2, covariance_2)
        )
    )


def _from_moments(mean_1: Tensor, cov_1: Tensor, mean_2: Tensor, cov_2: Tensor) -> float:
    import torch

    factor, failed = torch.linalg.cholesky_ex(cov_1)
    if failed:
        # singular (pixels that never change): any factor F with F F^T = S_1 does as well
        values, vectors = torch.linalg.eigh(cov_1)
        factor = vectors * values.clamp_min(0.0).sqrt()
    eigenvalues = torch.linalg.eigvalsh(factor.T @ cov_2 @ factor)
    root = float(eigenvalues.clamp_min(0.0).sqrt().sum())
    trace = float(cov_1.trace() + cov_2.trace())
    return max(float((mean_1 - mean_2).square().sum()) + trace - 2.0 * root, 0.0)


@METRICS.register("frechet")
@dataclass(frozen=True)
class Frechet(FeatureMetric):
    """Fréchet distance of features; refused where n does not exceed the feature dimension.

    Example:
        >>> Frechet().refusal(n=9, width=64)
        'n = 9 images a side do not determine a 64 x 64 covariance; needs more than 64, see kid'
    """

    title: ClassVar[str] = "frechet"

    def refusal(self, n: int, width: int) -> str | None:
        if n > width:
            return None
        return (
            f"n = {n} images a side do not determine a {width} x {width} covariance; "
            f"needs more than {width}, see kid"
        )

    def __call__(self, reference: FloatArray, sample: FloatArray, seed: int = 0) -> Values:
        return {"frechet": frechet(reference, sample)}

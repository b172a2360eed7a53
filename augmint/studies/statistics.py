"""What a study computes from paired differences: intervals, power, multiplicity.

Differences are treatment minus baseline, one for each seed, in the score's own unit (accuracy is a
fraction, so half a point is 0.005) and oriented so that more is better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from augmint.core.errors import UsageError

if TYPE_CHECKING:
    import numpy.typing as npt

    from augmint.core.types import FloatArray


@dataclass(frozen=True)
class Interval:
    """A mean difference, its two-sided t interval and its p-value against zero.

    Args:
        mean: the mean of the differences.
        low: lower end of the interval.
        high: upper end.
        p: two-sided p-value of "the mean difference is 0", in [0, 1].
        sd: standard deviation of the differences (J-1 in the denominator).
        df: degrees of freedom, J-1.
        error: standard error of the mean.
        confidence: nominal coverage, for example 0.95.
        method: the rule that made it, "paired t".
    """

    mean: float
    low: float
    high: float
    p: float
    sd: float
    df: int
    error: float
    confidence: float
    method: str

    @property
    def seeds(self) -> int:
        """J, the number of paired differences."""
        return self.df + 1

    def p_against(self, value: float) -> float:
        """Return the two-sided p-value of "the mean difference is `value`".

        Example:
            >>> interval = paired_t([0.01, 0.02, 0.03])
            >>> interval.p_against(interval.mean)
            1.0
        """
        return _two_sided(self.mean - value, self.error, self.df)

    def at(self, confidence: float) -> Interval:
        """Return the interval of the same differences at another confidence.

        Example:
            >>> interval = paired_t([0.01, 0.02, 0.03])
            >>> wider = interval.at(0.99)
            >>> wider.low < interval.low, wider.mean == interval.mean
            (True, True)
        """
        half = t_quantile(0.5 + confidence / 2, self.df) * self.error
        return replace(self, low=self.mean - half, high=self.mean + half, confidence=confidence)


def t_quantile(probability: float, df: int) -> float:
    """Return the quantile of Student's t with `df` degrees of freedom.

    Example:
        >>> round(t_quantile(0.975, 4), 4)
        2.7764
    """
    from scipy.special import stdtrit

    return float(stdtrit(df, probability))


def _two_sided(difference: float, error: float, df: int) -> float:
    from scipy.special import stdtr

    if error == 0:
        return 1.0 if difference == 0 else 0.0
    return float(min(1.0, 2.0 * stdtr(df, -abs(difference) / error)))


def _checked(differences: npt.ArrayLike) -> FloatArray:
    values = np.asarray(differences, dtype=np.float64).reshape(-1)
    if len(values) < 2:
        raise UsageError(
            "an interval needs paired differences of at least 2 seeds",
            len(values),
            "pass more seeds (seeds=5, --seeds 5)",
        )
    if not np.isfinite(values).all():
        raise UsageError(
            "paired differences must be finite",
            f"{values[~np.isfinite(values)][0]} for seed {int(np.argmin(np.isfinite(values)))}",
            "look at the arm of that seed: its training failed",
        )
    return values


def paired_t(differences: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """Return the paired t interval of J differences on one fixed test set.

    `mean(d) ± t_{(1+confidence)/2, J-1} · s_d / sqrt(J)`. When all differences are equal
    (s_d = 0) the interval is that point, and p is 1 if it is 0 and 0 otherwise.

    Raises:
        UsageError: with fewer than 2 differences, or one that is not finite.

    Example:
        >>> interval = paired_t([0.01, 0.02, 0.03])
        >>> round(interval.low, 4), round(interval.high, 4)
        (-0.0048, 0.0448)
    """
    values = _checked(differences)
    if not 0 < confidence < 1:
        raise UsageError("a confidence lies between 0 and 1", confidence, "pass confidence=0.95")
    mean, df = float(values.mean()), len(values) - 1
    spread = float(np.ptp(values))
    # differences that are equal but for the last bits of their subtraction have no variance
    if spread <= 1e-12 * float(np.abs(values).max()):
        mean, sd = float(np.median(values)), 0.0
    else:
        sd = float(values.std(ddof=1))
    error = math.sqrt(1.0 / len(values)) * sd
    half = t_quantile(0.5 + confidence / 2, df) * error
    p = _two_sided(mean, error, df)
    return Interval(mean, mean - half, mean + half, p, sd, df, error, confidence, "paired t")


def minimum_detectable_effect(
    sd: float, seeds: int, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Return the true effect that J seeds find with the stated power.

    `(t_{1-alpha/2, J-1} + t_{power, J-1}) · s_d / sqrt(J)`, in the unit of `sd`.

    Raises:
        UsageError: with fewer than 2 seeds.

    Example:
        >>> [round(minimum_detectable_effect(1.5, seeds), 1) for seeds in (3, 5, 8, 10)]
        [4.6, 2.5, 1.7, 1.5]
    """
    if seeds < 2:
        raise UsageError("an effect is detected by at least 2 seeds", seeds, "pass --seeds 5")
    quantiles = t_quantile(1 - alpha / 2, seeds - 1) + t_quantile(power, seeds - 1)
    return quantiles * sd / math.sqrt(seeds)


def seeds_to_settle(
    mean: float, sd: float, delta: float, confidence: float = 0.95, limit: int = 100_000
) -> int | None:
    """Return the smallest number of seeds whose expected interval is not inconclusive.

    The rule: were the true mean and standard deviation the observed ones, the interval of J' seeds
    would be expected at `mean ± h`, with `h = t_{J'-1} · sd / sqrt(J')`. It settles when it leaves
    zero out (`h < |mean|`) or lies inside ±delta (`|mean| + h <= delta`). An expected interval is
    the typical one, so a study of J' seeds settles in about half of the cases; and since seeds
    added later decide on themselves alone, J' counts the seeds of a new study.

    Returns:
        J' >= 2, or None if more than `limit` seeds would be needed.

    Example:
        >>> seeds_to_settle(mean=0.01, sd=0.02, delta=0.005)
        18
    """
    room = max(abs(mean), delta - abs(mean))
    if room <= 0:
        return None

    def settles(seeds: int) -> bool:
        half = t_quantile(0.5 + confidence / 2, seeds - 1) * sd / math.sqrt(seeds)
        return half < abs(mean) or abs(mean) + half <= delta

    if not settles(limit):
        return None
    low, high = 1, limit  # the half width falls with the number of seeds
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if middle >= 2 and settles(middle) else (middle, high)
    return max(high, 2)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number, in the order given.

    In ascending order `p'_(i) = max_{k <= i} min(1, (m - k + 1) · p_(k))`; the family-wise error
    stays at alpha whatever the dependence.

    Raises:
        UsageError: if a value is not in [0, 1].

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    if values.size and not ((values >= 0) & (values <= 1)).all():
        raise UsageError("a p-value lies in [0, 1]", list(p_values), "pass p-values")
    order = np.argsort(values, kind="stable")
    factors = len(values) - np.arange(len(values))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * factors))
    return [float(p) for p in adjusted]


def accuracy_error(accuracy: float, n_test: int) -> float:
    """Return one standard error of an accuracy on `n_test` images: `sqrt(a (1 - a) / n)`.

    Raises:
        UsageError: if the accuracy is not a fraction, or there is no test image.

    Example:
        >>> accuracy_error(0.8, 1600)
        0.01
    """
    if not 0 <= accuracy <= 1:
        raise UsageError("an accuracy is a fraction", accuracy, "divide percentages by 100")
    if n_test < 1:
        raise UsageError("a test set has at least one image", n_test, "check the split")
    return math.sqrt(accuracy * (1 - accuracy) / n_test)

"""What a treatment is worth in real images, read off the curve of real-only errors.

The curve is `e(n) = a + b · n^-c` with a >= 0, b >= 0 and 0 < c <= 2, where n counts real training
images; the treatment, tried at `n_now`, is worth the images that would bring the real-only error
down to its own: `worth = e^-1(error) - n_now`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from augmint.core.errors import UsageError
from augmint.studies.statistics import paired_t, t_quantile

if TYPE_CHECKING:
    import numpy.typing as npt

    from augmint.core.types import FloatArray

FEWEST_LEVELS = 3
_EXPONENTS = (0.02, 2.0)  # a smaller c cannot be told from a logarithm
_GRID, _ZOOMS = 101, 6  # each zoom narrows the exponent fifty times


@dataclass(frozen=True)
class PowerLaw:
    """`e(n) = a + b · n^-c`.

    Example:
        >>> curve = PowerLaw(a=0.1, b=1.0, c=0.5)
        >>> round(curve.error(100), 6), round(curve.images(0.2), 6)
        (0.2, 100.0)
    """

    a: float
    b: float
    c: float

    def error(self, n: float) -> float:
        """Return the error with n images."""
        return self.a + self.b * n**-self.c

    def images(self, error: float) -> float:
        """Return the images that give an error: `((error - a) / b)^(-1/c)`, infinite below a."""
        if error <= self.a or self.b == 0:
            return float("inf")
        return float(((error - self.a) / self.b) ** (-1.0 / self.c))


def fit_power_law(n: npt.ArrayLike, errors: npt.ArrayLike) -> PowerLaw:
    """Fit the curve by bounded least squares, deterministically and without a starting point.

    For each exponent c the best a >= 0 and b >= 0 are exact (a non-negative linear problem of two
    unknowns); c is searched on a grid over [0.02, 2] and then on ever finer ones around the best.

    Args:
        n: `(levels,)` counts of images.
        errors: `(levels,)` mean errors.

    Example:
        >>> law = fit_power_law([4, 16, 64, 256], [0.6, 0.35, 0.225, 0.1625])
        >>> round(law.a, 3), round(law.b, 3), round(law.c, 3)
        (0.1, 1.0, 0.5)
    """
    counts, values = np.asarray(n, np.float64), np.asarray(errors, np.float64)
    # counts relative to their mean keep b well scaled for every exponent
    scale = float(np.exp(np.log(counts).mean()))
    logs = np.log(counts / scale)

    low, high = _EXPONENTS
    for _ in range(_ZOOMS):
        c = np.linspace(low, high, _GRID)
        a, b, squares = _non_negative(np.exp(-c[:, None] * logs), values)
        best = int(squares.argmin())
        low, high = float(c[max(best - 1, 0)]), float(c[min(best + 1, _GRID - 1)])
    exponent = float(c[best])
    return PowerLaw(float(a[best]), float(b[best]) * scale**exponent, exponent)


def _non_negative(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Best `y ≈ a + b x` with a, b >= 0, and its sum of squares, for each row of x."""
    centred = x - x.mean(1, keepdims=True)
    b = np.maximum(centred @ y / (centred**2).sum(1), 0.0)
    a = y.mean() - b * x.mean(1)
    through_zero = np.maximum(x @ y / (x**2).sum(1), 0.0)
    b = np.where(a < 0, through_zero, b)
    a = np.maximum(a, 0.0)
    return a, b, ((y - a[:, None] - b[:, None] * x) ** 2).sum(1)


@dataclass(frozen=True)
class Equivalence:
    """What a treatment is worth, or why that cannot be said.

    Args:
        n_now: real images that the treatment had.
        worth: further real images of the same effect (negative if it does harm); None if refused.
        low: lower end of the interval.
        high: upper end.
        confidence: nominal coverage of the interval.
        clipped: the interval reaches an end of the measured range and is cut there.
        curve: the fitted curve; None if the measurements do not allow one.
        refused: the reason, empty if the worth is given.
    """

    n_now: int
    worth: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float = 0.95
    clipped: bool = False
    curve: PowerLaw | None = None
    refused: str = ""


def real_equivalent(
    curve: Sequence[tuple[int, npt.ArrayLike]],
    treatment: npt.ArrayLike,
    n_now: int,
    confidence: float = 0.95,
) -> Equivalence:
    """Return how many further real images a treatment is worth, with a delta-method interval.

    The interval is taken on `log e^-1`: its gradient with respect to every level's mean and to the
    treatment's mean comes from refitting at slightly moved means; a seed's influence is the sum of
    gradient times deviation over all of them, so that what the seeds share cancels; then
    `exp(log n ± t_{J-1} · s / sqrt(J))`. A bootstrap over so few seeds would be too short.

    Args:
        curve: (images, errors of J seeds) for each level of real data alone.
        treatment: `(J,)` errors of the treatment, the same seeds in the same order.
        n_now: real images that the treatment had; one of the levels, or between them.
        confidence: nominal coverage.

    Returns:
        The worth, or the reason why it is refused: fewer than 3 levels, a curve that does not
        fall, or a treatment whose error lies outside the errors measured.

    Raises:
        UsageError: if levels and treatment have other numbers of seeds, or fewer than 2.

    Example:
        >>> curve = [(n, [0.1 + n**-0.5] * 2) for n in (4, 16, 64, 256)]
        >>> found = real_equivalent(curve, treatment=[0.225, 0.225], n_now=16)
        >>> round(found.worth, 2)
        48.0
    """
    levels = sorted(curve, key=lambda level: level[0])
    counts = np.array([n for n, _ in levels], np.float64)
    seeds = [np.asarray(e, np.float64).reshape(-1) for _, e in levels]
    seeds.append(np.asarray(treatment, np.float64).reshape(-1))
    if len({len(s) for s in seeds}) > 1 or len(seeds[-1]) < 2:
        raise UsageError(
            "levels and treatment share at least 2 seeds",
            [len(s) for s in seeds],
            "pass the errors of the same seeds everywhere",
        )
    if len(set(counts)) < FEWEST_LEVELS:
        reason = f"{len(set(counts))} sub-levels were measured, {FEWEST_LEVELS} are needed"
        return Equivalence(n_now, refused=reason)
    return _worth(counts, np.stack(seeds), n_now, confidence)


def _worth(counts: FloatArray, errors: FloatArray, n_now: int, confidence: float) -> Equivalence:
    means = errors.mean(1)
    law = fit_power_law(counts, means[:-1])
    fall = paired_t(errors[0] - errors[-2], confidence)
    if law.b == 0 or fall.low <= 0:
        reason = (
            f"the real-only error does not fall measurably from {counts[0]:.0f} to "
            f"{counts[-1]:.0f} images (by {fall.mean:.4f}, interval {fall.low:.4f} to "
            f"{fall.high:.4f})"
        )
        return Equivalence(n_now, curve=law, refused=reason)
    least, most = float(counts[0]), float(counts[-1])
    if not law.error(most) <= means[-1] <= law.error(least):
        reason = (
            f"the treatment's error {means[-1]:.4f} lies outside those measured with {least:.0f} "
            f"to {most:.0f} real images ({law.error(least):.4f} to {law.error(most):.4f})"
        )
        return Equivalence(n_now, curve=law, refused=reason)
    centre = float(np.log(law.images(means[-1])))
    influence = _gradient(counts, means) @ (errors - means[:, None])
    half = t_quantile(0.5 + confidence / 2, len(influence) - 1) * float(
        influence.std(ddof=1) / np.sqrt(len(influence))
    )
    low, high = float(np.exp(centre - half)), float(np.exp(centre + half))
    kept = max(low, least), min(high, most)
    return Equivalence(
        n_now,
        worth=float(np.exp(centre)) - n_now,
        low=kept[0] - n_now,
        high=kept[1] - n_now,
        confidence=confidence,
        clipped=kept != (low, high),
        curve=law,
    )


def _gradient(counts: FloatArray, means: FloatArray) -> FloatArray:
    """Central differences of `log e^-1(treatment)` in each of the means."""

    def log_images(values: FloatArray) -> float:
        law = fit_power_law(counts, values[:-1])
        # moved means may cross the asymptote: the end of the range bounds the slope there
        return float(np.log(min(law.images(values[-1]), 1e3 * counts[-1])))

    step = 1e-3 * float(means[0] - means[-2])
    moved = np.eye(len(means)) * step
    return np.array([(log_images(means + m) - log_images(means - m)) / (2 * step) for m in moved])

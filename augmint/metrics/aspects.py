"""Measures of annotations: errors of points and numbers, truth of what minted images claim.

Points are float `(N, K, 3)`: x, y in pixels and a visibility that is above 0 where a point is
labelled. What is not labelled is never counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from augmint.core.config import to_plain
from augmint.core.errors import UsageError
from augmint.core.streams import permutation
from augmint.metrics.frechet import frechet

if TYPE_CHECKING:
    from augmint.core.types import FloatArray

FAILED = 0.08
"""Normalised error above which an image counts as failed, and to which the AUC is taken."""


def point_errors(predicted: FloatArray, truth: FloatArray, distances: FloatArray) -> FloatArray:
    """Return `|p - t| / d` of each point, float64 `(N, K)`; NaN where it is not labelled.

    Args:
        predicted: `(N, K, 2 or 3)`, x and y in pixels.
        truth: `(N, K, 3)`.
        distances: `(N,)`, pixels that are 1 in each image (inter-ocular), above 0.

    Raises:
        UsageError: for other shapes, or a distance that is not above 0.

    Example:
        >>> truth = np.array([[[0.0, 0.0, 2.0], [9.0, 9.0, 0.0]]])
        >>> point_errors(np.array([[[3.0, 4.0], [0.0, 0.0]]]), truth, np.array([10.0])).tolist()
        [[0.5, nan]]
    """
    if truth.ndim != 3 or truth.shape[2] != 3 or predicted.shape[:2] != truth.shape[:2]:
        raise UsageError(
            "points are (N, K, 3), predicted ones beside them (N, K, 2 or 3)",
            f"{predicted.shape} and {truth.shape}",
            "pass stored values of one aspect",
        )
    if distances.shape != (len(truth),) or not (distances > 0).all():
        raise UsageError(
            "each image has a reference distance above 0",
            f"{distances.shape}, smallest {distances.min(initial=0):g}",
            "take aspect.distances(values)",
        )
    difference = predicted[..., :2].astype(np.float64) - truth[..., :2].astype(np.float64)
    errors = np.linalg.norm(difference, axis=-1) / distances[:, None]
    return np.where(truth[..., 2] > 0, errors, np.nan)


def mean_error(errors: FloatArray) -> FloatArray:
    """Return the normalised mean error of each image, `NME = mean_k |p_k - t_k| / d`, `(N,)`.

    NaN where no point is labelled.

    Example:
        >>> mean_error(np.array([[0.25, 0.75], [0.5, np.nan], [np.nan, np.nan]])).tolist()
        [0.5, 0.5, nan]
    """
    there = ~np.isnan(errors)
    total = np.where(there, errors, 0.0).sum(1)
    return np.divide(total, there.sum(1), out=np.full(len(errors), np.nan), where=there.any(1))


def correct_points(errors: FloatArray, threshold: float) -> float:
    """Return PCK: the share of labelled points within `threshold` reference distances, [0, 1].

    Source: Yang and Ramanan 2013.

    Example:
        >>> correct_points(np.array([[0.02, 0.2, np.nan]]), 0.1)
        0.5
    """
    labelled = errors[~np.isnan(errors)]
    return float((labelled <= threshold).mean()) if len(labelled) else float("nan")


def failure_rate(errors: FloatArray, limit: float = FAILED) -> float:
    """Return the share of images whose normalised mean error `(N,)` is above `limit`.

    Example:
        >>> failure_rate(np.array([0.01, 0.07, 0.08, 0.3]))
        0.25
    """
    return float((errors > limit).mean())


def error_auc(errors: FloatArray, limit: float = FAILED) -> float:
    """Return the area under the cumulative error distribution up to `limit`, over `limit`.

    `1 / l ∫_0^l F(e) de = mean max(0, 1 - e / l)`, F the share of images with an error up to e:
    exact, without bins; 1 where all errors are 0, 0 where all are beyond the limit.

    Args:
        errors: normalised mean errors `(N,)`.
        limit: l, above 0.

    Example:
        >>> error_auc(np.array([0.0, 0.04, 0.5]), 0.08)
        0.5
    """
    return float(np.clip(1.0 - np.asarray(errors, dtype=np.float64) / limit, 0.0, None).mean())


def component_errors(predicted: FloatArray, truth: FloatArray) -> FloatArray:
    """Return the mean absolute error of each component in its own unit, `(K,)`, of `(N, K)`.

    Example:
        >>> truth = np.array([[0.0, 10.0], [4.0, 30.0]])
        >>> component_errors(np.array([[1.0, 10.0], [3.0, 10.0]]), truth).tolist()
        [1.0, 10.0]
    """
    found: FloatArray = np.abs(_exact(predicted) - _exact(truth)).mean(0)
    return found


def determination(predicted: FloatArray, truth: FloatArray) -> FloatArray:
    """Return `R² = 1 - Σ (t - p)² / Σ (t - mean t)²` of each component, `(K,)`; at most 1.

    NaN where all true values are alike.

    Example:
        >>> truth = np.array([[0.0, 0.0], [2.0, 2.0]])
        >>> determination(np.array([[0.0, 1.0], [2.0, 1.0]]), truth).tolist()
        [1.0, 0.0]
    """
    t = _exact(truth)
    left = np.square(t - _exact(predicted)).sum(0)
    all_of = np.square(t - t.mean(0)).sum(0)
    return 1.0 - np.divide(left, all_of, out=np.full(len(left), np.nan), where=all_of > 0)


def median_spread(truth: FloatArray) -> FloatArray:
    """Return `mean |t - median t|` of each component, `(K,)`: the error of the best constant.

    Example:
        >>> median_spread(np.array([[0.0, 7.0], [4.0, 7.0]])).tolist()
        [2.0, 0.0]
    """
    t = _exact(truth)
    found: FloatArray = np.abs(t - np.median(t, axis=0)).mean(0)
    return found


@dataclass(frozen=True)
class AnnotationTruth:
    """How far images are from what they claim, by a network that was trained on real images alone.

    Args:
        error: mean error of its predictions on the images against their claims.
        median: of the same.
        worst: its 95 % quantile.
        own: its mean error on real images that it never saw: what no claim can beat reliably.
        ratio: error / own; 1 where minted annotations are as true as the network can tell.
        n: images.
        real: real images behind `own`.
    """

    error: float
    median: float
    worst: float
    own: float
    ratio: float
    n: int
    real: int

    def to_plain(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        plain: dict[str, Any] = to_plain(self)
        return plain


def annotation_truth(errors: FloatArray, own: FloatArray) -> AnnotationTruth:
    """Return how true the claims of images are.

    Args:
        errors: the network's error on each image against its claim, `(N,)` (NME, 1 - IoU …).
        own: its errors on real images that neither it nor the generator was trained on, `(M,)`.

    Raises:
        UsageError: if either is empty or holds numbers that are not finite.

    Example:
        >>> annotation_truth(np.array([0.03, 0.05]), np.array([0.02])).ratio
        2.0
    """
    given, real = _exact(errors), _exact(own)
    for what, values in (("images", given), ("real images", real)):
        if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
            raise UsageError(
                f"errors of {what} are finite numbers, at least one",
                str(values.shape),
                "pass one error an image",
            )
    mean, own_mean = float(given.mean()), float(real.mean())
    ratio = mean / own_mean if own_mean > 0 else float("inf") if mean > 0 else 1.0
    median, worst = (float(np.quantile(given, q)) for q in (0.5, 0.95))
    return AnnotationTruth(mean, median, worst, own_mean, ratio, len(given), len(real))


@dataclass(frozen=True)
class Smoothness:
    """How evenly something moves along paths of T positions.

    Args:
        largest_step: largest distance of two neighbours over the mean one, at least 1; 1 is even.
        bend: largest length of a second difference over the mean step; 0 is straight and even.
        detour: length of the way over the distance of its ends, at least 1; 1 is straight.
    """

    largest_step: float
    bend: float
    detour: float


def smoothness(paths: FloatArray) -> Smoothness:
    """Return means over paths of largest step, bend and detour.

    With steps `s_t = x_{t+1} - x_t` and m their mean length:
    `max |s_t| / m`, `max |s_{t+1} - s_t| / m`, `Σ |s_t| / |x_T - x_1|`.

    Args:
        paths: `(P, T, …)`, T at least 3 positions (encoded aspects, features) on each of P paths;
            paths that do not move are left out, as are those that return from the detour.

    Raises:
        UsageError: for fewer positions, or if no path moves.

    Example:
        >>> smoothness(np.array([[[0.0], [1.0], [2.0]]]))
        Smoothness(largest_step=1.0, bend=0.0, detour=1.0)
    """
    if paths.ndim < 3 or paths.shape[1] < 3:
        raise UsageError("paths are (P, T, …) with T at least 3", str(paths.shape), "add positions")
    x = _exact(paths).reshape(*paths.shape[:2], -1)
    steps = np.diff(x, axis=1)
    lengths = np.linalg.norm(steps, axis=-1)
    moving = lengths.mean(1) > 0
    if not moving.any():
        raise UsageError("a path moves", f"{len(x)} that do not", "pass other ends")
    steps, lengths, x = steps[moving], lengths[moving], x[moving]
    mean = lengths.mean(1)
    bends = np.linalg.norm(np.diff(steps, axis=1), axis=-1)
    ends = np.linalg.norm(x[:, -1] - x[:, 0], axis=-1)
    away = ends > 1e-12 * lengths.sum(1)
    detours = lengths.sum(1)[away] / ends[away]
    return Smoothness(
        largest_step=float((lengths.max(1) / mean).mean()),
        bend=float((bends.max(1) / mean).mean()),
        detour=float(detours.mean()) if away.any() else float("inf"),
    )


@dataclass(frozen=True)
class LatentGap:
    """How far inverted latents lie from those that a generator is asked with.

    Args:
        distance: Fréchet distance of n inverted and n drawn latents.
        floor: of n drawn ones and n others.
        n: latents a side.
    """

    distance: float
    floor: float
    n: int


def latent_gap(inverted: FloatArray, drawn: FloatArray, seed: int = 0) -> LatentGap:
    """Return the Fréchet distance of inverted to drawn latents, beside its floor at the same n.

    `n = min(len(inverted), len(drawn) // 2)`; random rows of the inverted ones, disjoint random
    halves of the drawn ones, as for every distance (`metrics.base`).

    Args:
        inverted: `(N, D)`.
        drawn: `(M, D)`, M at least 4.
        seed: chooses the rows.

    Raises:
        UsageError: for other shapes or fewer than two rows a side.

    Example:
        >>> drawn = np.random.default_rng(0).normal(size=(200, 2))
        >>> gap = latent_gap(drawn[:100] + 3.0, drawn)
        >>> gap.n, gap.distance > 10.0 * gap.floor
        (100, True)
    """
    n = min(len(inverted), len(drawn) // 2)
    halves = permutation(seed, "metrics.drawn-halves", len(drawn))
    first, second = drawn[halves[:n]], drawn[halves[n : 2 * n]]
    rows = permutation(seed, "metrics.inverted-rows", len(inverted))[:n]
    return LatentGap(frechet(first, inverted[rows]), frechet(first, second), n)


def _exact(values: FloatArray) -> FloatArray:
    return np.asarray(values, dtype=np.float64)

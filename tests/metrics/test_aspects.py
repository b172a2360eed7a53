"""Measures of annotations against loops, closed forms and another library."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score

from augmint.core.errors import UsageError
from augmint.metrics.aspects import (
    annotation_truth,
    component_errors,
    correct_points,
    determination,
    error_auc,
    failure_rate,
    latent_gap,
    mean_error,
    median_spread,
    point_errors,
    smoothness,
)


def points(seed: int = 0, n: int = 20, k: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.concatenate([rng.uniform(0, 32, (n, k, 2)), rng.integers(0, 3, (n, k, 1))], 2)
    truth[:, 0, 2] = 2  # something is labelled in each
    predicted = truth[..., :2] + rng.normal(size=(n, k, 2))
    return predicted.astype(np.float32), truth.astype(np.float32), rng.uniform(5, 9, n)


def test_point_errors_by_a_loop() -> None:
    predicted, truth, distances = points()
    errors, means = point_errors(predicted, truth, distances), []
    for i in range(len(truth)):
        own = []
        for k in range(truth.shape[1]):
            dx, dy = predicted[i, k] - truth[i, k, :2]
            if truth[i, k, 2] == 0:
                assert math.isnan(errors[i, k])
                continue
            own.append(math.hypot(dx, dy) / distances[i])
            assert errors[i, k] == pytest.approx(own[-1], rel=1e-5)
        means.append(sum(own) / len(own))
    np.testing.assert_allclose(mean_error(errors), means, rtol=1e-5)
    labelled = [e for e in errors.ravel() if e == e]
    for limit in (0.05, 0.1, 0.3):
        wanted = sum(e <= limit for e in labelled) / len(labelled)
        assert correct_points(errors, limit) == pytest.approx(wanted)
        assert failure_rate(np.array(means), limit) == sum(m > limit for m in means) / len(means)


def test_nothing_labelled_has_no_error() -> None:
    predicted, truth, distances = points()
    truth[3, :, 2] = 0
    errors = mean_error(point_errors(predicted, truth, distances))
    assert math.isnan(errors[3])
    assert np.isfinite(np.delete(errors, 3)).all()


def test_auc_is_the_area_under_the_curve() -> None:
    errors = np.random.default_rng(1).gamma(2.0, 0.03, 50)
    grid = np.linspace(0, 0.08, 200_001)
    curve = np.searchsorted(np.sort(errors), grid, side="right") / len(errors)
    area = np.trapezoid(curve, grid) if hasattr(np, "trapezoid") else np.trapz(curve, grid)
    assert error_auc(errors, 0.08) == pytest.approx(area / 0.08, abs=1e-4)
    assert error_auc(np.zeros(3)) == 1.0
    assert error_auc(np.ones(3)) == 0.0


def test_vectors_against_sklearn() -> None:
    rng = np.random.default_rng(2)
    truth = rng.normal(size=(40, 3)) * [1, 10, 0.1]
    predicted = truth + rng.normal(size=(40, 3))
    raw = "raw_values"
    np.testing.assert_allclose(
        component_errors(predicted, truth), mean_absolute_error(truth, predicted, multioutput=raw)
    )
    np.testing.assert_allclose(
        determination(predicted, truth), r2_score(truth, predicted, multioutput=raw)
    )
    constants = np.linspace(truth.min(0), truth.max(0), 4001)
    least = np.abs(truth[None] - constants[:, None]).mean(1).min(0)
    np.testing.assert_allclose(median_spread(truth), least, rtol=1e-3)
    assert np.isnan(determination(predicted, np.zeros((40, 3)))).all()


def test_annotation_truth_compares_with_the_networks_own_error() -> None:
    rng = np.random.default_rng(3)
    own = rng.gamma(2.0, 0.01, 200)
    result = annotation_truth(3 * own, own)
    assert result.ratio == pytest.approx(3.0)
    assert result.median == pytest.approx(3 * np.median(own))
    assert (result.n, result.real) == (200, 200)
    assert annotation_truth(np.zeros(2), np.zeros(2)).ratio == 1.0
    assert annotation_truth(np.ones(2), np.zeros(2)).ratio == math.inf
    with pytest.raises(UsageError, match="real images"):
        annotation_truth(own, np.zeros(0))
    with pytest.raises(UsageError, match="finite"):
        annotation_truth(np.array([np.nan]), own)


def test_smoothness_closed_forms() -> None:
    even = np.linspace([0.0, 0.0], [3.0, 4.0], 8)[None]
    found = smoothness(even)
    assert found.largest_step == pytest.approx(1.0)
    assert found.bend == pytest.approx(0.0, abs=1e-12)
    assert found.detour == pytest.approx(1.0)
    # n even steps along half a circle: chords 2 sin(pi / 2n), turned by pi / n each
    n = 12
    angles = np.linspace(0, np.pi, n + 1)
    circle = smoothness(np.stack((np.cos(angles), np.sin(angles)), 1)[None])
    assert circle.largest_step == pytest.approx(1.0)
    assert circle.bend == pytest.approx(2 * math.sin(math.pi / (2 * n)))
    assert circle.detour == pytest.approx(n * math.sin(math.pi / (2 * n)))
    jump = even.copy()
    jump[0, 4:] += [30.0, 40.0]
    # the step of 5/7 + 50 against the mean of (5 + 50) / 7
    assert smoothness(jump).largest_step == pytest.approx((5 / 7 + 50) / (55 / 7))
    back = np.array([[[0.0], [1.0], [0.0]]])
    assert smoothness(back).detour == math.inf
    assert smoothness(np.concatenate((even, even * 0))).detour == pytest.approx(1.0)
    with pytest.raises(UsageError, match="moves"):
        smoothness(even * 0)
    with pytest.raises(UsageError, match="at least 3"):
        smoothness(even[:, :2])


def test_latent_gap_sees_shift_and_shrinkage() -> None:
    rng = np.random.default_rng(4)
    drawn = rng.uniform(-1, 1, (4000, 4))
    same = latent_gap(rng.uniform(-1, 1, (1500, 4)), drawn)
    assert same.n == 1500
    assert same.distance < 3 * same.floor + 0.01
    shifted = latent_gap(rng.uniform(-1, 1, (1500, 4)) + 0.5, drawn)
    assert shifted.distance == pytest.approx(4 * 0.25, abs=0.1)
    # deviations of U(-1, 1) and of half of it: (1 / sqrt 3)² (1 - 1/2)² a dimension
    shrunk = latent_gap(0.5 * rng.uniform(-1, 1, (1500, 4)), drawn)
    assert shrunk.distance == pytest.approx(4 * 0.25 / 3, abs=0.05)


def test_refusals() -> None:
    predicted, truth, distances = points()
    with pytest.raises(UsageError, match="beside them"):
        point_errors(predicted[:, :3], truth, distances)
    with pytest.raises(UsageError, match="above 0"):
        point_errors(predicted, truth, distances * 0)

"""Scores of points, numbers, masks and maps against loops and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from augmint.core.errors import UsageError
from augmint.metrics.pixel import confusion
from augmint.tasks.dense import dense_scores
from augmint.tasks.landmarks import landmark_scores
from augmint.tasks.regression import vector_scores
from augmint.tasks.scores import error_distribution
from augmint.tasks.segmentation import segmentation_scores


def test_landmarks_by_hand() -> None:
    truth = np.zeros((2, 3, 3), np.float32)
    truth[..., 2] = 2
    truth[0, 2, 2] = 0
    predicted = truth.copy()
    predicted[0, 0, :2] = (3.0, 4.0)  # 5 px of 10: 0.5
    predicted[0, 2, :2] = 99.0  # not labelled
    predicted[1, 1, :2] = (0.0, 1.5)  # 1.5 px of 20: 0.075
    scores = landmark_scores(predicted, truth, np.array([10.0, 20.0]), ("a", "b", "c"))
    np.testing.assert_allclose(scores.errors, [0.25, 0.025])
    assert scores.nme == pytest.approx(0.1375)
    assert scores.points == pytest.approx(86.25)
    assert scores.pck_05 == pytest.approx(3 / 5)
    assert scores.pck_10 == pytest.approx(4 / 5)
    assert scores.failure_rate == 0.5
    assert scores.auc == pytest.approx((1 - 0.025 / 0.08) / 2)
    np.testing.assert_allclose(scores.per_point, [0.25, 0.0375, 0.0])
    # a hopeless network is below 0 points, and said to be
    assert landmark_scores(truth + 100, truth, np.array([10.0, 20.0])).points < 0


def test_vectors_against_sklearn_and_the_best_constant() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(50, 2)) * [1, 30]
    predicted = truth + rng.normal(size=(50, 2)) * [0.1, 3]
    scores = vector_scores(predicted, truth, ("a", "b"), ("px", "m"))
    raw = {"multioutput": "raw_values"}
    np.testing.assert_allclose(scores.mae, metrics.mean_absolute_error(truth, predicted, **raw))
    np.testing.assert_allclose(scores.r2, metrics.r2_score(truth, predicted, **raw))
    relative = np.array(scores.mae) / np.array(scores.spread)
    assert scores.points == pytest.approx(100 * (1 - relative.mean()))
    constant = np.broadcast_to(np.median(truth, 0), truth.shape)
    assert vector_scores(constant, truth).points == pytest.approx(0.0, abs=1e-9)
    assert vector_scores(constant + 0.1, truth).points < 0
    assert vector_scores(truth, truth).points == 100.0


def test_components_that_never_vary_do_not_count() -> None:
    truth = np.array([[0.0, 5.0], [2.0, 5.0]])
    predicted = np.array([[0.5, 9.0], [1.5, 9.0]])
    scores = vector_scores(predicted, truth)
    assert scores.points == pytest.approx(50.0)
    assert scores.plain()["r2"][1] is None
    with pytest.raises(UsageError, match="differ between images"):
        vector_scores(predicted[:, 1:], truth[:, 1:])


@pytest.mark.parametrize("classes", [2, 4])
def test_masks_against_sklearn(classes: int) -> None:
    rng = np.random.default_rng(classes)
    truth = rng.integers(0, classes, (5, 6, 6), dtype=np.uint8)
    predicted = np.where(
        rng.random(truth.shape) < 0.3, rng.integers(0, classes, truth.shape), truth
    )
    scores = segmentation_scores(confusion(predicted.astype(np.uint8), truth, classes))
    pairs = [(t.ravel(), p.ravel()) for t, p in zip(truth, predicted, strict=True)]
    each = [metrics.jaccard_score(t, p, average="macro") for t, p in pairs]
    np.testing.assert_allclose(scores.per_image, each)
    assert scores.points == pytest.approx(100 * np.mean(each))
    assert scores.dice == pytest.approx(
        np.mean([metrics.f1_score(t, p, average="macro") for t, p in pairs])
    )
    pooled = metrics.jaccard_score(truth.ravel(), predicted.ravel(), average=None)
    np.testing.assert_allclose(scores.per_class, pooled)
    assert scores.pooled_miou == pytest.approx(pooled.mean())
    assert bool(scores.nine) == (classes == 2)
    if scores.nine:
        wanted = np.mean([metrics.matthews_corrcoef(t, p) for t, p in pairs])
        assert scores.nine["mcc"].mean == pytest.approx(wanted)
    parts = scores.parts()
    assert {k.split(".")[1] for k in parts} == {str(c) for c in range(1, classes)}
    for c in range(1, classes):
        wanted = np.mean([metrics.matthews_corrcoef(t == c, p == c) for t, p in pairs])
        assert parts[f"nine.{c}.mcc"] == pytest.approx(wanted)


def test_maps_by_a_loop() -> None:
    rng = np.random.default_rng(1)
    truth = rng.uniform(2, 8, (4, 2, 5, 5))
    truth[rng.random(truth.shape) < 0.2] = np.nan
    predicted = np.nan_to_num(truth) + rng.normal(size=truth.shape)
    scores = dense_scores(predicted, truth, extent=6.0, unit="m")
    absolute, squared = [], []
    for p, t in zip(predicted, truth, strict=True):
        kept = [(a, b) for a, b in zip(p.ravel(), t.ravel(), strict=True) if b == b]
        absolute.append(sum(abs(a - b) for a, b in kept) / len(kept))
        squared.append((sum((a - b) ** 2 for a, b in kept) / len(kept)) ** 0.5)
    assert scores.mae == pytest.approx(np.mean(absolute))
    assert scores.rmse == pytest.approx(np.mean(squared))
    np.testing.assert_allclose(scores.per_image, 1 - np.array(absolute) / 6)
    assert scores.plain()["unit"] == "m"


def test_error_distribution() -> None:
    errors = np.random.default_rng(2).gamma(2, size=101)
    found = error_distribution(errors)
    assert found.mean == pytest.approx(errors.mean())
    assert found.plain()["quantiles"]["q25"] == pytest.approx(np.sort(errors)[25])
    with pytest.raises(UsageError, match="finite"):
        error_distribution(np.array([np.nan]))

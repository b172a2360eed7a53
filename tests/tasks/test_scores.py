"""Scores against scikit-learn and torchmetrics."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics
from torch import from_numpy
from torchmetrics.functional.classification import multiclass_calibration_error

from augmint.core.errors import UsageError
from augmint.tasks.scores import classification_scores, diagnosis


def answers(seed: int, classes: int, absent: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, 400)
    labels = labels[labels != absent] if absent is not None else labels
    logits = generator.normal(size=(len(labels), classes)) * 1.5
    logits[np.arange(len(labels)), labels] += 1.0
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return p.astype(np.float32), labels


@pytest.mark.parametrize(("classes", "absent"), [(2, None), (5, None), (7, 3)])
def test_against_sklearn(classes: int, absent: int | None) -> None:
    p, labels = answers(classes, classes, absent)
    predicted = p.argmax(1)
    scores = classification_scores(p, labels)
    assert scores.accuracy == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert scores.balanced_accuracy == pytest.approx(
        metrics.recall_score(labels, predicted, average="macro", labels=np.unique(labels))
    )
    assert scores.macro_f1 == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))
    exact = p.astype(float) / p.astype(float).sum(1, keepdims=True)
    loss = metrics.log_loss(labels, exact, labels=np.arange(classes))
    assert scores.nll == pytest.approx(loss, rel=1e-5)
    error = multiclass_calibration_error(from_numpy(p), from_numpy(labels), classes, n_bins=15)
    assert scores.ece == pytest.approx(float(error), abs=1e-6)
    recall = metrics.recall_score(
        labels, predicted, average=None, labels=np.arange(classes), zero_division=np.nan
    )
    np.testing.assert_allclose(scores.per_class, recall)
    assert scores.worst_class == pytest.approx(np.nanmin(recall))
    assert scores.counts == tuple(np.bincount(labels, minlength=classes))
    assert np.array_equal(scores.correct, predicted == labels)


def test_perfect_and_sure() -> None:
    labels = np.array([0, 1, 2, 1])
    scores = classification_scores(np.eye(3, dtype=np.float32)[labels], labels)
    assert (scores.accuracy, scores.nll, scores.ece, scores.worst_class) == (1.0, 0.0, 0.0, 1.0)
    wrong = classification_scores(np.eye(3, dtype=np.float32)[(labels + 1) % 3], labels)
    assert wrong.accuracy == 0
    assert wrong.ece == 1
    assert np.isfinite(wrong.nll)


def test_plain_is_json() -> None:
    p, labels = answers(0, 4, 2)
    plain = classification_scores(p, labels, ("a", "b", "c", "d")).plain()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["per_class"][2] is None
    json.dumps(diagnosis(p, labels).plain(), allow_nan=False)


def test_diagnosis_counts_what_is_claimed() -> None:
    p = np.array([[0.7, 0.3], [0.4, 0.6]], dtype=np.float32)
    result = diagnosis(p, np.array([0, 0]))
    assert result.agreement == 0.5
    assert result.confidence == pytest.approx(0.55)
    assert result.counts == (2, 0)


def test_refusals() -> None:
    with pytest.raises(UsageError, match="at least one"):
        classification_scores(np.zeros((0, 3), np.float32), np.zeros(0, np.int64))
    with pytest.raises(UsageError, match="2 rows for 3"):
        classification_scores(np.zeros((2, 3), np.float32), np.zeros(3, np.int64))

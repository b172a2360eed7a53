"""Pixel measures against scikit-learn, and what is undefined stays so."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import metrics

from augmint.core.errors import UsageError
from augmint.metrics.pixel import (
    BINARY,
    Binary,
    binary_measures,
    class_dice,
    class_iou,
    confusion,
    mean_over_classes,
    over_images,
    pixel_accuracy,
)

VOID = 255


def masks(
    classes: int, seed: int = 0, void: bool = False, images: int = 6
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, (images, 9, 7), dtype=np.uint8)
    wrong = rng.random(truth.shape) < 0.4
    predicted = np.where(wrong, rng.integers(0, classes, truth.shape), truth).astype(np.uint8)
    if void:
        truth[rng.random(truth.shape) < 0.2] = VOID
    return predicted, truth


@pytest.mark.parametrize(("classes", "void"), [(2, False), (2, True), (5, True)])
def test_counts_and_shares_are_sklearns(classes: int, void: bool) -> None:
    predicted, truth = masks(classes, classes, void)
    counts = confusion(predicted, truth, classes, VOID if void else None)
    known = range(classes)
    for i, (p, t) in enumerate(zip(predicted, truth, strict=True)):
        p, t = p[t != VOID], t[t != VOID]
        np.testing.assert_array_equal(counts[i], metrics.confusion_matrix(t, p, labels=known))
        jaccard = metrics.jaccard_score(t, p, labels=known, average=None)
        np.testing.assert_allclose(class_iou(counts)[i], jaccard)
        np.testing.assert_allclose(
            class_dice(counts)[i], metrics.f1_score(t, p, labels=known, average=None)
        )
        assert pixel_accuracy(counts)[i] == pytest.approx(metrics.accuracy_score(t, p))
    # all pixels at once
    p, t = predicted[truth != VOID], truth[truth != VOID]
    pooled = metrics.jaccard_score(t, p, labels=known, average="macro")
    assert mean_over_classes(class_iou(counts.sum(0))) == pytest.approx(pooled)


SKLEARN = {
    "accuracy": metrics.accuracy_score,
    "sensitivity": metrics.recall_score,
    "specificity": lambda t, p: metrics.recall_score(t, p, pos_label=0),
    "precision": metrics.precision_score,
    "npv": lambda t, p: metrics.precision_score(t, p, pos_label=0),
    "f1": metrics.f1_score,
    "mcc": metrics.matthews_corrcoef,
    "informedness": lambda t, p: metrics.balanced_accuracy_score(t, p, adjusted=True),
    "markedness": lambda t, p: (
        metrics.precision_score(t, p) + metrics.precision_score(t, p, pos_label=0) - 1
    ),
    "fpr": lambda t, p: 1 - metrics.recall_score(t, p, pos_label=0),
    "fnr": lambda t, p: 1 - metrics.recall_score(t, p),
}


@pytest.mark.parametrize("name", sorted(BINARY))
def test_the_nine_are_sklearns(name: str) -> None:
    predicted, truth = masks(2, 7, void=True, images=30)
    counts = confusion(predicted, truth, 2, VOID)
    wanted = [
        SKLEARN[name](t[t != VOID], p[t != VOID]) for p, t in zip(predicted, truth, strict=True)
    ]
    np.testing.assert_allclose(BINARY[name](Binary.of(counts)), wanted)
    found = binary_measures(counts)[name]
    assert found.mean == pytest.approx(np.mean(wanted))
    assert found.sd == pytest.approx(np.std(wanted, ddof=1))
    assert found.n == 30


def test_one_class_against_all_others() -> None:
    predicted, truth = masks(4, 3)
    of = Binary.of(confusion(predicted, truth, 4), positive=2)
    np.testing.assert_array_equal(of.tp, ((predicted == 2) & (truth == 2)).sum((1, 2)))
    np.testing.assert_array_equal(of.tn, ((predicted != 2) & (truth != 2)).sum((1, 2)))
    np.testing.assert_array_equal(of.fp, ((predicted == 2) & (truth != 2)).sum((1, 2)))
    np.testing.assert_array_equal(of.fn, ((predicted != 2) & (truth == 2)).sum((1, 2)))


def test_what_has_no_denominator_is_undefined() -> None:
    """An empty image predicted empty: right pixels, but nothing to find or to say."""
    nothing = np.zeros((1, 4, 4), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = binary_measures(confusion(nothing, nothing, 2))
        only_void = confusion(nothing, nothing + VOID, 2, VOID)
        assert np.isnan(pixel_accuracy(only_void)).all()
    assert found["accuracy"].mean == found["specificity"].mean == 1.0
    for name in ("sensitivity", "precision", "mcc", "informedness", "f1"):
        assert found[name].mean is None
        assert found[name].n == 0
    iou = class_iou(confusion(nothing, nothing, 2))
    assert iou[0, 0] == 1.0
    assert np.isnan(iou[0, 1])
    assert mean_over_classes(iou)[0] == 1.0  # the absent class is left out, not taken as 0
    assert over_images(np.array([np.nan, 0.25])).sd == 0.0


def test_large_sets_are_counted_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    predicted, truth = masks(3, 1, images=5)
    whole = confusion(predicted, truth, 3)
    monkeypatch.setattr("augmint.metrics.pixel._BLOCK", 64)
    np.testing.assert_array_equal(confusion(predicted, truth, 3), whole)


def test_refusals() -> None:
    predicted, truth = masks(3)
    with pytest.raises(UsageError, match="one shape"):
        confusion(predicted[:, :4], truth, 3)
    with pytest.raises(UsageError, match="0 to 1"):
        confusion(predicted, truth, 2)
    with pytest.raises(UsageError, match="predicted mask"):
        confusion(truth + 3, truth, 3)

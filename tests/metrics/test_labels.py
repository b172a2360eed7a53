"""Label truth by hand, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from augmint.core.errors import UsageError
from augmint.metrics.labels import LabelTruthMetric, label_truth


def test_equals_counts_by_another_library() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), size=200)
    claimed = rng.integers(0, 3, 200)  # class 3 is never claimed
    result = label_truth(p, claimed)
    matrix = confusion_matrix(claimed, p.argmax(1), labels=range(4))
    assert np.array_equal(result.confusion, matrix)
    assert result.agreement == pytest.approx(np.trace(matrix) / 200)
    assert result.per_class[3] is None
    assert result.per_class[1] == pytest.approx(matrix[1, 1] / matrix[1].sum())
    assert result.claimed_probability == pytest.approx(
        np.mean([row[c] for row, c in zip(p, claimed, strict=True)])
    )
    assert result.counts == (*np.bincount(claimed), 0)
    assert LabelTruthMetric()(p, claimed)["agreement"] == result.agreement
    assert result.to_plain()["counts"][3] == 0


def test_logits_and_foreign_labels_are_refused() -> None:
    with pytest.raises(UsageError, match="sum to 1"):
        label_truth(np.array([[2.0, 1.0]]), np.array([0]))
    with pytest.raises(UsageError, match="0 to 1"):
        label_truth(np.array([[0.5, 0.5]]), np.array([2]))
    with pytest.raises(UsageError, match="one integer"):
        label_truth(np.array([[0.5, 0.5]]), np.array([0, 1]))

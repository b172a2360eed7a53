from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from augmint.core.errors import UsageError
from augmint.studies import null
from augmint.studies.null import NullConfig, clopper_pearson, measure_null

SMALL = NullConfig(studies=300, steps=15, test=200, train=60)


def test_false_verdicts_are_about_as_rare_as_promised() -> None:
    found = measure_null(SMALL)
    # one standard error of a 5 % share of 300 is 1.3 points; the share may be lower, not higher
    assert found["false_share"] <= 0.05 + 4 * 0.013
    assert found["bootstrap_share"] > 2 * found["false_share"]
    assert sum(found["verdicts"].values()) == 300
    assert found["accuracy"] > 0.4
    assert found["sd"] > 0


def test_the_measurement_repeats_and_does_not_depend_on_its_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = NullConfig(studies=7, steps=5, test=100, train=40)
    whole = np.concatenate(list(null._accuracies(config)))
    monkeypatch.setattr(null, "_STUDIES_AT_ONCE", 3)
    pieces = np.concatenate(list(null._accuracies(config)))
    np.testing.assert_array_equal(whole, pieces)
    assert whole.shape == (7, 5, 2)
    assert (whole[..., 0] != whole[..., 1]).mean() > 0.5  # the arms' streams differ


@pytest.mark.long
def test_two_thousand_nulls_give_at_most_six_in_a_hundred() -> None:
    found = measure_null(NullConfig(studies=2000))
    assert found["false_share"] <= 0.06


@pytest.mark.parametrize(("hits", "n"), [(0, 20), (20, 20), (3, 40), (100, 2000)])
def test_clopper_pearson_agrees_with_scipy(hits: int, n: int) -> None:
    oracle = stats.binomtest(hits, n).proportion_ci(method="exact")
    assert clopper_pearson(hits, n) == pytest.approx((oracle.low, oracle.high), abs=1e-12)


def test_a_null_has_studies_and_seeds() -> None:
    for config in (NullConfig(studies=0), NullConfig(seeds=1)):
        with pytest.raises(UsageError):
            measure_null(config)

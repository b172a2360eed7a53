from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from augmint.core.errors import UsageError
from augmint.studies.statistics import (
    accuracy_error,
    holm,
    minimum_detectable_effect,
    paired_t,
    seeds_to_settle,
)


@pytest.mark.parametrize("seeds", [2, 3, 5, 30])
def test_paired_t_agrees_with_scipy(seeds: int) -> None:
    generator = np.random.default_rng(seeds)
    treatment, baseline = generator.normal(0.8, 0.02, (2, seeds))
    oracle = stats.ttest_rel(treatment, baseline)
    ends = oracle.confidence_interval(0.9)
    found = paired_t(treatment - baseline, confidence=0.9)
    assert found.p == pytest.approx(oracle.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high), rel=1e-9)
    assert (found.df, found.seeds) == (seeds - 1, seeds)


def test_paired_t_by_hand() -> None:
    # mean 2, s_d 1, J = 3: t_{0.975, 2} = 4.302653 and 4.302653 / sqrt(3) = 2.484138
    found = paired_t([1.0, 2.0, 3.0])
    assert found.sd == pytest.approx(1.0)
    assert (found.low, found.high) == pytest.approx((2 - 2.484138, 2 + 2.484138), abs=1e-6)
    assert found.at(0.5).high < found.high


def test_p_against_agrees_with_scipy() -> None:
    values = np.random.default_rng(1).normal(0.02, 0.01, 6)
    oracle = stats.ttest_1samp(values, 0.005)
    assert paired_t(values).p_against(0.005) == pytest.approx(oracle.pvalue, rel=1e-9)


def test_an_interval_ends_where_its_p_is_one_minus_the_confidence() -> None:
    found = paired_t([0.01, 0.03, -0.01, 0.02])
    assert found.p_against(found.low) == pytest.approx(0.05, rel=1e-9)
    assert found.p_against(found.high) == pytest.approx(0.05, rel=1e-9)


@pytest.mark.parametrize(("value", "p"), [(0.0, 1.0), (0.1, 0.0), (-0.3, 0.0)])
def test_equal_differences_give_a_point(value: float, p: float) -> None:
    found = paired_t([value] * 5)
    assert (found.low, found.mean, found.high, found.sd) == (value, value, value, 0.0)
    assert found.p == p


def test_rounding_is_not_variance() -> None:
    # the same difference of 0.1, reached from other accuracies
    values = [0.9 - 0.8, 0.8 - 0.7, 0.5 - 0.4, 0.3 - 0.2]
    assert len(set(values)) > 1
    assert paired_t(values).sd == 0.0


@pytest.mark.parametrize("values", [[], [0.1], [0.1, float("nan")], [0.1, float("inf"), 0.2]])
def test_differences_that_cannot_decide_are_refused(values: list[float]) -> None:
    with pytest.raises(UsageError):
        paired_t(values)


def test_paired_t_covers_at_its_nominal_rate() -> None:
    # 4000 nulls: one standard error of a 5 % share is 0.34 points; four of them are allowed
    draws = np.random.default_rng(3).normal(0, 0.02, (4000, 5))
    share = np.mean([paired_t(d).p < 0.05 for d in draws])
    assert abs(share - 0.05) < 4 * 0.0035


def test_minimum_detectable_effect_has_its_power() -> None:
    # the textbook sum of quantiles is an approximation of the noncentral t; near 0.8 for J >= 5
    for seeds in (5, 10, 30):
        effect = minimum_detectable_effect(1.0, seeds)
        shift = effect * np.sqrt(seeds)
        power = stats.nct.sf(stats.t.ppf(0.975, seeds - 1), seeds - 1, shift)
        assert power == pytest.approx(0.8, abs=0.04)
    with pytest.raises(UsageError):
        minimum_detectable_effect(1.0, 1)


@pytest.mark.parametrize(
    ("mean", "sd", "delta"), [(0.01, 0.02, 0.005), (0.001, 0.02, 0.005), (0.0, 0.01, 0.005)]
)
def test_seeds_to_settle_is_the_smallest(mean: float, sd: float, delta: float) -> None:
    def conclusive(seeds: int) -> bool:
        half = stats.t.ppf(0.975, seeds - 1) * sd / np.sqrt(seeds)
        return bool(half < abs(mean) or abs(mean) + half <= delta)

    found = seeds_to_settle(mean, sd, delta)
    assert found == next(j for j in range(2, 10_000) if conclusive(j))


def test_what_no_number_of_seeds_settles() -> None:
    assert seeds_to_settle(mean=1e-9, sd=1.0, delta=1e-8) is None


def test_holm_on_a_worked_example() -> None:
    # sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, then a running maximum
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    with pytest.raises(UsageError):
        holm([0.5, float("nan")])


def test_holm_lies_between_no_adjustment_and_bonferroni() -> None:
    p = np.random.default_rng(5).uniform(0, 0.2, 20)
    adjusted = np.array(holm(list(p)))
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(1, p * 20) + 1e-15).all()
    assert (np.argsort(adjusted, kind="stable")[:1] == np.argsort(p)[:1]).all()


def test_accuracy_error_is_the_binomial_one() -> None:
    oracle = stats.binom(200, 0.7).std() / 200
    assert accuracy_error(0.7, 200) == pytest.approx(oracle)
    for accuracy, n in ((70.0, 200), (0.7, 0)):
        with pytest.raises(UsageError):
            accuracy_error(accuracy, n)

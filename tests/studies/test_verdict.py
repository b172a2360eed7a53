from __future__ import annotations

import numpy as np
import pytest

from augmint.core.errors import UsageError
from augmint.studies.statistics import Interval, accuracy_error, paired_t
from augmint.studies.verdict import (
    Comparison,
    Setting,
    decide,
    default_delta,
    secondary,
    sentence,
)

SETTING = Setting("small-cnn", "random initialisation", (28, 32), "MNIST", 10_000, 20)


def interval(low: float, high: float, seeds: int = 5) -> Interval:
    """The t interval of made-up differences with these ends."""
    shape = np.linspace(-1, 1, seeds)
    unit = paired_t(shape)
    return paired_t((low + high) / 2 + shape * (high - low) / (unit.high - unit.low))


@pytest.mark.parametrize(
    ("low", "high", "verdict", "beyond", "within"),
    [
        (0.001, 0.02, "helps", False, False),
        (0.006, 0.02, "helps", True, False),
        (0.001, 0.004, "helps", False, True),  # above zero comes before inside delta
        (-0.02, -0.001, "hurts", False, False),
        (-0.02, -0.006, "hurts", True, False),
        (-0.004, -0.001, "hurts", False, True),
        (-0.004, 0.004, "no practical difference", False, True),
        (-0.004, 0.006, "inconclusive", False, False),
        (-0.02, 0.02, "inconclusive", False, False),
    ],
)
def test_the_four_verdicts(
    low: float, high: float, verdict: str, beyond: bool, within: bool
) -> None:
    decision = decide(interval(low, high), delta=0.005)
    assert decision.verdict == verdict
    assert decision.by_more_than_delta is beyond
    assert decision.within_delta is within
    assert (decision.settled_by is not None) == (verdict == "inconclusive")


def test_every_interval_has_a_verdict_and_its_mirror_the_opposite() -> None:
    opposite = {"helps": "hurts", "hurts": "helps"}
    for d in np.random.default_rng(0).normal(0.002, 0.01, (300, 4)):
        there, back = decide(paired_t(d), 0.005), decide(paired_t(-d), 0.005)
        assert back.verdict == opposite.get(there.verdict, there.verdict)


def test_no_difference_at_all_is_no_practical_difference() -> None:
    assert decide(paired_t([0.0, 0.0, 0.0]), 0.005).verdict == "no practical difference"


def test_more_seeds_like_these_settle_it() -> None:
    decision = decide(interval(-0.005, 0.02), delta=0.005)
    needed = decision.settled_by
    assert needed is not None
    assert needed > 5
    sd = decision.interval.sd
    again = np.linspace(-1, 1, needed)
    again = decision.interval.mean + again * sd / again.std(ddof=1)
    assert decide(paired_t(again), 0.005).verdict == "helps"


@pytest.mark.parametrize("delta", [0.0, -0.01, float("nan"), float("inf")])
def test_delta_is_positive(delta: float) -> None:
    with pytest.raises(UsageError, match="--delta"):
        decide(interval(-1, 1), delta)


def test_default_delta_is_half_a_point_or_the_test_sets_error() -> None:
    assert default_delta(accuracy_error(0.9, 100)) == pytest.approx(0.03)
    assert default_delta(accuracy_error(0.99, 10_000)) == 0.005
    assert default_delta(accuracy_error(1.0, 50)) == 0.005


def test_a_negative_control_fails_only_by_more_than_delta_after_holm() -> None:
    controls = {"below": (0.001, 0.004), "above": (0.02, 0.04), "near": (0.0052, 0.03)}
    found = {
        o.name: o
        for o in secondary(
            [Comparison(n, interval(*ends), "negative control") for n, ends in controls.items()],
            delta=0.005,
        )
    }
    assert found["below"].passed is True
    assert found["above"].passed is False
    assert found["above"].verdict == "helps"
    # its own interval lies above delta, but not once it is one of three
    assert found["near"].p < 0.05 < found["near"].adjusted_p
    assert found["near"].passed is True


def test_a_negative_control_that_hurts_has_not_failed() -> None:
    (outcome,) = secondary(
        [Comparison("shuffled", interval(-0.1, -0.05), "negative control")], 0.01
    )
    assert outcome.passed is True
    assert outcome.p == 1.0


def test_a_positive_control_passes_above_zero() -> None:
    passes, fails = secondary(
        [
            Comparison("more", interval(0.001, 0.02), "positive control"),
            Comparison("little", interval(-0.001, 0.02), "positive control"),
        ],
        delta=0.005,
    )
    assert (passes.passed, fails.passed) == (True, False)


def test_secondary_arms_speak_after_holm() -> None:
    barely = interval(0.0001, 0.02)
    (alone,) = secondary([Comparison("arm", barely)], 0.005)
    assert alone.verdict == "helps"
    assert alone.passed is None
    many = secondary([Comparison(f"arm{i}", barely) for i in range(4)], 0.005)
    assert {o.verdict for o in many} == {"inconclusive"}
    with pytest.raises(UsageError):
        secondary([Comparison("arm", barely)] * 2, 0.005)


@pytest.mark.parametrize(
    ("ends", "says"),
    [
        ((0.006, 0.02), "Minted images help small-cnn"),
        ((-0.02, -0.001), "Minted images hurt small-cnn"),
        ((-0.004, 0.004), "no practical difference to small-cnn"),
        ((-0.01, 0.02), "seeds would settle it"),
        ((0.001, 0.004), "by less than the smallest effect of interest"),
    ],
)
def test_the_sentence_names_all_it_depends_on(ends: tuple[float, float], says: str) -> None:
    text = sentence(decide(interval(*ends), 0.005), SETTING)
    assert says in text
    for part in (
        "random initialisation",
        "32x28 px",
        "20 real images a class",
        "10000 real test images of MNIST",
        "classic augmentation",
        "95 % interval",
        "5 seeds",
        "delta 0.5 points",
    ):
        assert part in text
    assert text.count(". ") == 0
    assert text.endswith(".")

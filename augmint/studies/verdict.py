"""The decision: helps, hurts, no practical difference or inconclusive, and its one sentence.

Only the t intervals of `statistics` over paired seeds enter here. Differences are oriented so that
more is better; a study of errors passes baseline minus treatment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from augmint.core.errors import UsageError
from augmint.studies.arms import Role
from augmint.studies.statistics import Interval, holm, seeds_to_settle

Verdict = Literal["helps", "hurts", "no practical difference", "inconclusive"]

SMALLEST_DELTA = 0.005
"""Half a point: the least effect that a study calls interesting by default."""


@dataclass(frozen=True)
class Decision:
    """A verdict with what it rests on.

    Args:
        verdict: one of the four.
        interval: of the paired differences.
        delta: the smallest effect of interest, in the unit of the interval.
        by_more_than_delta: the whole interval lies beyond delta (helps) or -delta (hurts).
        within_delta: the whole interval lies inside ±delta, which also a (small) help can.
        settled_by: seeds of a new study that would be expected to settle it; None unless
            inconclusive, or if no number below the limit would.
    """

    verdict: Verdict
    interval: Interval
    delta: float
    by_more_than_delta: bool
    within_delta: bool
    settled_by: int | None = None


def default_delta(error: float) -> float:
    """Return the larger of half a point and one standard error of the score on the test set.

    Example:
        >>> default_delta(0.03), default_delta(0.001)
        (0.03, 0.005)
    """
    return max(SMALLEST_DELTA, error)


def decide(interval: Interval, delta: float) -> Decision:
    """Return the verdict of one comparison.

    In this order: *helps* if the interval lies above 0 ("by more than delta" if above delta),
    *hurts* if it lies below 0, *no practical difference* if it lies inside ±delta, else
    *inconclusive*. The order matters where an interval leaves zero out and yet lies inside ±delta:
    that is a help (or a hurt) too small to be of interest, and `within_delta` says so.

    Raises:
        UsageError: if delta is not positive and finite.

    Example:
        >>> from augmint.studies.statistics import paired_t
        >>> decide(paired_t([0.02, 0.03, 0.025, 0.02, 0.03]), delta=0.005).verdict
        'helps'
        >>> decide(paired_t([-0.02, 0.03, 0.0]), delta=0.005).settled_by
        222
    """
    if not 0 < delta < float("inf"):
        raise UsageError(
            "the smallest effect of interest is a positive number",
            delta,
            "pass delta=0.005 (--delta 0.005)",
        )
    inside = -delta <= interval.low and interval.high <= delta
    if interval.low > 0:
        return Decision("helps", interval, delta, interval.low > delta, inside)
    if interval.high < 0:
        return Decision("hurts", interval, delta, interval.high < -delta, inside)
    if inside:
        return Decision("no practical difference", interval, delta, False, True)
    # the observed variance factor per seed is kept, whichever rule made the interval
    sd = interval.error * interval.seeds**0.5
    settled = seeds_to_settle(interval.mean, sd, delta, interval.confidence)
    return Decision("inconclusive", interval, delta, False, False, settled)


@dataclass(frozen=True)
class Comparison:
    """A secondary comparison with the baseline: its name, its interval and what it is for."""

    name: str
    interval: Interval
    role: Role = "arm"


@dataclass(frozen=True)
class Outcome:
    """What a secondary comparison says once Holm has counted them all.

    Args:
        name: of the arm.
        role: arm, negative control or positive control.
        verdict: as in `decide`, with *helps* and *hurts* only where the adjusted p allows them.
        p: before adjustment; of a negative control against delta, else against 0.
        adjusted_p: after Holm over all secondary comparisons.
        passed: whether a control did what it must; None for other arms.
    """

    name: str
    role: Role
    verdict: Verdict
    p: float
    adjusted_p: float
    passed: bool | None


def secondary(
    comparisons: Sequence[Comparison], delta: float, alpha: float = 0.05
) -> list[Outcome]:
    """Judge every comparison but the primary one, with Holm's adjustment over all of them.

    A negative control fails only if it helps by more than delta after Holm: its p-value tests
    "the effect is delta" and it fails when the mean lies above delta and that p, adjusted, is below
    alpha. A positive control passes if its own (unadjusted) interval lies above 0.

    Raises:
        UsageError: if two comparisons share a name, or delta is not positive.

    Example:
        >>> from augmint.studies.statistics import paired_t
        >>> helps = paired_t([0.02, 0.03, 0.025, 0.02])
        >>> shuffled = Comparison("shuffled", helps, "negative control")
        >>> more_real = Comparison("more-real", helps, "positive control")
        >>> [(found.name, found.passed) for found in secondary([shuffled, more_real], delta=0.005)]
        [('shuffled', False), ('more-real', True)]
    """
    names = [c.name for c in comparisons]
    if len(set(names)) < len(names):
        raise UsageError("secondary comparisons have names of their own", names, "rename one")
    raw = [_p(c, delta) for c in comparisons]
    adjusted = holm(raw)
    return [
        Outcome(c.name, c.role, _adjusted(c, delta, q < alpha), p, q, _passed(c, q < alpha))
        for c, p, q in zip(comparisons, raw, adjusted, strict=True)
    ]


def _p(comparison: Comparison, delta: float) -> float:
    if comparison.role != "negative control":
        return comparison.interval.p
    above = comparison.interval.mean > delta
    return comparison.interval.p_against(delta) if above else 1.0


def _adjusted(comparison: Comparison, delta: float, significant: bool) -> Verdict:
    decision = decide(comparison.interval, delta)
    if significant or decision.verdict not in ("helps", "hurts"):
        return decision.verdict
    return "no practical difference" if decision.within_delta else "inconclusive"


def _passed(comparison: Comparison, significant: bool) -> bool | None:
    if comparison.role == "negative control":
        return not significant
    return comparison.interval.low > 0 if comparison.role == "positive control" else None


@dataclass(frozen=True)
class Setting:
    """What a verdict holds for; every part of it is named in the sentence.

    Args:
        network: the user's or one of ours ("small-cnn").
        initialisation: "random initialisation", or the file of weights.
        size: height and width of the images that the network takes.
        data: name of the data set and of its test set ("digits, its own test split").
        test_images: how many real images decide.
        test_closed: they were held back from training, and the test set was not opened.
        per_class: real training images a class; of the largest one, in a long tail; in all, where
            images have no class.
        classes: images have classes.
        rarest: real training images of the smallest class of a long tail.
        treatment: what was added ("minted images").
        baseline: what it was compared with ("classic augmentation").

    Example:
        >>> network = ("small-cnn", "random initialisation", (8, 8))
        >>> setting = Setting(*network, "digits", test_images=597, per_class=40, rarest=2)
        >>> setting.labelled, setting.scored
        ('40 to 2 real images a class', 'the 597 real test images of digits')
    """

    network: str
    initialisation: str
    size: tuple[int, int]
    data: str
    test_images: int
    per_class: int
    treatment: str = "minted images"
    baseline: str = "classic augmentation"
    test_closed: bool = False
    rarest: int | None = None
    classes: bool = True

    @property
    def labelled(self) -> str:
        """How many real images there are, in words."""
        if not self.classes:
            return f"{self.per_class} real images"
        number = self.per_class if self.rarest is None else f"{self.per_class} to {self.rarest}"
        return f"{number} real images a class"

    @property
    def scored(self) -> str:
        """What decided, in words."""
        if self.test_closed:
            return (
                f"{self.test_images} held-back training images of {self.data} "
                "(the test set was not opened)"
            )
        return f"the {self.test_images} real test images of {self.data}"


_PREDICATES: Mapping[Verdict, str] = {
    "helps": "help",
    "hurts": "hurt",
    "no practical difference": "make no practical difference to",
    "inconclusive": "have an inconclusive effect on",
}


def sentence(decision: Decision, setting: Setting, measure: str = "accuracy") -> str:
    """Return the verdict as one plain sentence that names everything it depends on.

    Differences are fractions and are printed in points (hundredths).

    Example:
        >>> from augmint.studies.statistics import paired_t
        >>> setting = Setting("small-cnn", "random initialisation", (8, 8), "digits", 597, 10)
        >>> said = sentence(decide(paired_t([0.02, 0.03, 0.025, 0.03]), 0.005), setting)
        >>> print(said)  # doctest: +NORMALIZE_WHITESPACE
        Minted images help small-cnn (random initialisation, 8x8 px, 10 real images a class) by more
        than the smallest effect of interest: accuracy on the 597 real test images of digits changes
        by +2.6 points against classic augmentation (95 % interval +1.9 to +3.4, 4 seeds, delta 0.5
        points).
    """
    interval, delta = decision.interval, decision.delta
    height, width = setting.size
    start = setting.treatment[:1].upper() + setting.treatment[1:]
    text = (
        f"{start} {_PREDICATES[decision.verdict]} {setting.network} ({setting.initialisation}, "
        f"{width}x{height} px, {setting.labelled})"
        f"{_magnitude(decision)}: {measure} on {setting.scored} "
        f"changes by {_points(interval.mean)} points against {setting.baseline} "
        f"({interval.confidence:.0%} interval {_points(interval.low)} to {_points(interval.high)}, "
        f"{interval.seeds} seeds, delta {delta * 100:.2g} points)"
    ).replace("% interval", " % interval")
    return f"{text}{_remedy(decision)}."


def _magnitude(decision: Decision) -> str:
    if decision.verdict not in ("helps", "hurts"):
        return ""
    if decision.by_more_than_delta:
        return " by more than the smallest effect of interest"
    return " by less than the smallest effect of interest" if decision.within_delta else ""


def _remedy(decision: Decision) -> str:
    if decision.verdict != "inconclusive":
        return ""
    if decision.settled_by is None:
        return "; no feasible number of seeds would settle it"
    return f"; a new study of about {decision.settled_by} seeds would settle it"


def _points(value: float) -> str:
    # one digit more where a tenth of a point would read as nothing
    shown = f"{value * 100:+.1f}"
    return shown if float(shown) or value == 0 else f"{value * 100:+.2f}"

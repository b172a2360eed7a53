"""What comparisons at equal size make of their trainings: paired differences, convergence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from augmint.studies.statistics import Interval, paired_t
from augmint.studies.verdict import Comparison, Decision, decide, default_delta, secondary

if TYPE_CHECKING:
    import numpy.typing as npt

    from augmint.core.types import FloatArray


def best_on_validation(validation: Mapping[str, Sequence[float]], names: Sequence[str]) -> str:
    """Return the name with the highest mean validation score over the seeds; the first of equals.

    Example:
        >>> best_on_validation({"a": [0.8, 0.9], "b": [0.9, 0.9], "c": [0.99, 0.99]}, ["a", "b"])
        'b'
    """
    return max(names, key=lambda n: float(np.mean(validation[n])))


@dataclass(frozen=True)
class Judgement:
    """Merged against the best parent (the decision), and against everything else.

    Args:
        sentence: the decision in words.
        verdict: the decision.
        best: the parent that validation images chose.
        rows: one a comparison: `against`, `mean`, `low`, `high`, `p`, `adjusted_p`, `verdict`.
        delta: the smallest effect of interest.
    """

    sentence: str
    verdict: str
    best: str
    rows: list[dict[str, Any]]
    delta: float


@dataclass(frozen=True)
class Scale:
    """What scores are, and how exact a test set makes them.

    Args:
        measure: what they are called ("accuracy").
        images: of the test set.
        spread: standard deviation of the score over them, of the best parent.

    Example:
        >>> Scale("accuracy", images=100, spread=0.5).error
        0.05
    """

    measure: str
    images: int
    spread: float

    @property
    def error(self) -> float:
        """One standard error of the score on the test set."""
        return float(self.spread / np.sqrt(self.images))


def judge(
    test: Mapping[str, Sequence[float]],
    merged: str,
    best: str,
    scale: Scale,
) -> Judgement:
    """Judge paired differences of test scores, merged minus each other, seed by seed.

    Args:
        test: scores by network, one a seed; shares, higher is better.
        merged: the network that is judged.
        best: the primary baseline; the rest is secondary and adjusted by Holm.
        scale: of the scores.

    Example:
        >>> test = {"merged": [0.91, 0.92, 0.93], "a": [0.81, 0.83, 0.82], "b": [0.95, 0.97, 0.97]}
        >>> found = judge(test, "merged", "a", Scale("accuracy", images=10_000, spread=0.3))
        >>> found.verdict, [(row["against"], round(row["mean"], 3)) for row in found.rows]
        ('helps', [('a', 0.1), ('b', -0.043)])
    """
    differences = {
        name: np.subtract(test[merged], scores) for name, scores in test.items() if name != merged
    }
    intervals = {name: paired_t(d) for name, d in differences.items()}
    delta = default_delta(scale.error)
    decision = decide(intervals[best], delta)
    others = [Comparison(n, i) for n, i in intervals.items() if n != best]
    outcomes = {o.name: o for o in secondary(others, delta)}
    rows = []
    for name, interval in intervals.items():
        outcome = outcomes.get(name)
        rows.append(
            {
                "against": name,
                "role": "primary" if outcome is None else "secondary",
                "differences": differences[name].tolist(),
                **_plain(interval),
                "adjusted_p": interval.p if outcome is None else outcome.adjusted_p,
                "verdict": decision.verdict if outcome is None else outcome.verdict,
            }
        )
    return Judgement(_sentence(decision, best, scale), decision.verdict, best, rows, delta)


def _sentence(decision: Decision, best: str, scale: Scale) -> str:
    interval = decision.interval
    text = (
        f"Merging, {decision.verdict}: against the best parent of equal size ({best}, chosen on "
        f"validation images) {scale.measure} on {scale.images} test images changes by "
        f"{100 * interval.mean:+.2f} points (95 % interval {100 * interval.low:+.2f} to "
        f"{100 * interval.high:+.2f}, {interval.seeds} seeds, delta {100 * decision.delta:.2g} "
        "points)"
    )
    if decision.settled_by is not None:
        text += f"; a new study of about {decision.settled_by} seeds would settle it"
    return text + "."


def steps_to(losses: npt.ArrayLike, target: float, window: int) -> int | None:
    """Return the step at which the mean loss of a window is first at or below a target.

    Windows lie side by side from the first step; an incomplete one at the end is left out.

    Example:
        >>> steps_to([4, 3, 2, 2, 1, 1], 2.0, 2), steps_to([4, 3], 1.0, 2)
        (4, None)
    """
    means = windows(losses, window)
    reached = np.flatnonzero(means <= target)
    return int(reached[0] + 1) * window if len(reached) else None


def windows(losses: npt.ArrayLike, window: int) -> FloatArray:
    """Return the means of windows side by side.

    Example:
        >>> windows([1, 3, 5, 7, 9], 2)
        array([2., 6.])
    """
    values = np.asarray(losses, dtype=np.float64)
    count = len(values) // window
    return values[: count * window].reshape(count, window).mean(1)


def fluctuation(losses: npt.ArrayLike, share: float = 0.2) -> float:
    """Return the standard deviation of the last losses around their straight trend.

    `sqrt(sum(r^2) / (n - 2))` with r the residuals of a least-squares line.

    Args:
        losses: one a step, or a reading.
        share: of them, at the end; at least 3.

    Example:
        >>> fluctuation([9.0, 5.0, 4.0, 3.0, 2.0], share=0.8) < 1e-12
        True
    """
    values = np.asarray(losses, dtype=np.float64)
    values = values[-max(3, round(share * len(values))) :]
    at = np.arange(len(values)) - (len(values) - 1) / 2
    residuals = values - values.mean() - at * (at @ values) / (at @ at)
    return float(np.sqrt((residuals**2).sum() / (len(values) - 2)))


def convergence(
    losses: Mapping[str, Sequence[Sequence[float]]],
    validation_losses: Mapping[str, Sequence[Sequence[float]]],
    best: str,
    window: int,
) -> list[dict[str, Any]]:
    """Return how soon and how steadily each network trained, beside the best parent.

    The target of a seed is the best parent's mean training loss over its last window. Steps of a
    seed that never reached it count as the whole run. Differences are best parent minus network,
    seed by seed, so that more is better (sooner, steadier).

    Args:
        losses: by network, seed and step.
        validation_losses: by network, seed and reading.
        best: the parent that sets the target.
        window: steps that losses are averaged over.

    Example:
        >>> losses = {"best": [[4.0, 4.0, 2.0, 2.0]] * 2, "sooner": [[2.0, 2.0, 1.0, 1.0]] * 2}
        >>> rows = convergence(losses, losses, "best", window=2)
        >>> [row["steps"] for row in rows], rows[1]["steps_gain"]["mean"]
        ([4.0, 2.0], 2.0)
    """
    targets = [float(windows(line, window)[-1]) for line in losses[best]]
    steps = {
        name: [steps_to(line, t, window) for line, t in zip(lines, targets, strict=True)]
        for name, lines in losses.items()
    }
    counted = {
        name: [
            float(len(line) if s is None else s)
            for s, line in zip(found, losses[name], strict=True)
        ]
        for name, found in steps.items()
    }
    rough = {name: [fluctuation(x) for x in lines] for name, lines in losses.items()}
    held = {name: [fluctuation(x, 0.5) for x in v] for name, v in validation_losses.items()}
    rows = []
    for name in losses:
        row: dict[str, Any] = {
            "network": name,
            "seeds_that_reached_it": sum(s is not None for s in steps[name]),
            "final_loss": float(np.mean([windows(x, window)[-1] for x in losses[name]])),
        }
        for key, values in (
            ("steps", counted),
            ("fluctuation", rough),
            ("validation_fluctuation", held),
        ):
            row[key] = float(np.mean(values[name]))
            against = np.subtract(values[best], values[name])
            row[f"{key}_gain"] = None if name == best else _plain(paired_t(against))
        rows.append(row)
    return rows


def _plain(interval: Interval) -> dict[str, float]:
    return {
        "mean": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "p": interval.p,
    }

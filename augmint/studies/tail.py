"""What a long-tailed study says beyond its verdict: do minted images help the rare classes?

Four secondary comparisons, named before anything is measured: the worst class's accuracy and the
mean accuracy of the rare third of the classes, each of the treatment against `classic` and against
`balanced`. Differences are paired over seeds, intervals are Student's t, and Holm counts all four.
Against `classic` a gain may be owed to classes that come equally often; against `balanced`, which
has that too, it is owed to the minted images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from augmint.studies.arms import BALANCED, BASELINE, TREATMENT
from augmint.studies.statistics import Interval, paired_t
from augmint.studies.verdict import Comparison, secondary

if TYPE_CHECKING:
    from augmint.core.types import FloatArray

Values = Sequence[Mapping[str, Any]]


def rare_third(counts: Sequence[int]) -> list[int]:
    """Return the rarest third of the classes that have training images, rounded down, one at least.

    Of classes with equal numbers the later one counts as rarer.

    Example:
        >>> rare_third([100, 50, 20, 8, 2, 2])
        [4, 5]
    """
    present = [c for c, n in enumerate(counts) if n > 0]
    order = sorted(present, key=lambda c: (counts[c], -c))
    return sorted(order[: max(1, len(present) // 3)])


def worst_class(values: Values) -> FloatArray:
    """Return each seed's lowest accuracy of a class, whichever class that is.

    Example:
        >>> worst_class([{"worst_class": 0.5}, {"worst_class": 0.25}]).tolist()
        [0.5, 0.25]
    """
    return np.array([v["worst_class"] for v in values], dtype=float)


def mean_over(values: Values, classes: Sequence[int]) -> FloatArray:
    """Return each seed's mean accuracy over some classes that have images to score.

    Example:
        >>> mean_over([{"per_class": [1.0, 0.75, 0.25, None]}], classes=[1, 2, 3]).tolist()
        [0.5]
    """
    rows = [[v["per_class"][c] for c in classes if v["per_class"][c] is not None] for v in values]
    return np.array([np.mean(row) for row in rows], dtype=float)


def tail_rows(
    arms: Mapping[str, Values],
    counts: Sequence[int],
    minted: Sequence[int],
    classes: Sequence[str],
    factor: float,
    delta: float,
) -> dict[str, Any]:
    """Return the four comparisons, and what each class had.

    Args:
        arms: one value a seed, as `steps.arm` returns it, by arm.
        counts: real training images by class.
        minted: minted images kept by class, mean over seeds.
        classes: their names.
        factor: of the long tail.
        delta: smallest effect of interest, a fraction.
    """
    rare = rare_third(counts)
    measures = {
        "worst class": {name: worst_class(v) for name, v in arms.items()},
        "rare third": {name: mean_over(v, rare) for name, v in arms.items()},
    }
    against = [n for n in (BASELINE.name, BALANCED.name) if n in arms]
    intervals: dict[tuple[str, str], Interval] = {
        (measure, other): paired_t(found[TREATMENT.name] - found[other])
        for measure, found in measures.items()
        for other in against
    }
    outcomes = secondary([Comparison(f"{m}/{o}", i) for (m, o), i in intervals.items()], delta)
    rows = []
    for ((measure, other), interval), outcome in zip(intervals.items(), outcomes, strict=True):
        found = measures[measure]
        rows.append(
            {
                "measure": measure,
                "against": other,
                "baseline": 100.0 * float(found[other].mean()),
                "treatment": 100.0 * float(found[TREATMENT.name].mean()),
                "difference": 100.0 * interval.mean,
                "low": 100.0 * interval.low,
                "high": 100.0 * interval.high,
                "p": interval.p,
                "p_holm": outcome.adjusted_p,
                "verdict": outcome.verdict,
                "scores": [100.0 * float(s) for s in found[TREATMENT.name]],
                "baseline_scores": [100.0 * float(s) for s in found[other]],
            }
        )
    return {
        "factor": factor,
        "rare": [classes[c] for c in rare],
        "classes": [
            {"class": classes[c], "real": int(counts[c]), "minted": float(minted[c])}
            for c in range(len(classes))
        ],
        "rows": rows,
        "text": _text(counts, factor, [classes[c] for c in rare]),
    }


def _text(counts: Sequence[int], factor: float, rare: Sequence[str]) -> str:
    present = [n for n in counts if n > 0]
    return (
        f"the classes have {max(present)} to {min(present)} real images (factor {factor:g}, in the "
        f"order of the classes), the rare third is {', '.join(rare)}; each class is minted up to "
        f"{max(present)} images, and in every arm that adds images every class comes equally "
        "often, within a class every image, real or added"
    )

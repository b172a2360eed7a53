"""From the values of a study's stages to the one mapping that is `report.json` and the report.

Nothing is computed here that a stage could have computed: only statistics over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from augmint.core.config import to_plain
from augmint.core.registry import split_spec
from augmint.studies.arms import ARMS, BALANCED, BASELINE, POSITIVE_CONTROL, TREATMENT
from augmint.studies.equivalence import real_equivalent
from augmint.studies.statistics import Interval, holm, minimum_detectable_effect, paired_t
from augmint.studies.verdict import (
    Comparison,
    Decision,
    Outcome,
    Setting,
    decide,
    default_delta,
    secondary,
    sentence,
)

if TYPE_CHECKING:
    from augmint.studies.study import StudyConfig

NOT_SECONDARY = frozenset(
    (
        "score",
        "outside",
        "spread",
        "n",
        "views",
        "images_shown",
        "seconds",
        "parameters",
        "real_per_class",
    )
)
"""Numbers of an arm's value that are no score, or the one that decides."""

ARROW_MINIMUM = 20
"""No arrow for a class with fewer test images than this."""


@dataclass(frozen=True)
class StudyValues:
    """What the stages returned, in the order of the seeds that decide.

    Args:
        arms: arm name to one value a seed (scores of the test set, see `steps.arm`).
        levels: labelled images a class to the baseline's values at that number, one a seed.
        pilots: one value a pilot seed.
        mints, diagnoses, generators: one value a seed.
        policy: what was chosen, and the scores of all candidates.
        grid: the treatment's values by (labelled images a class, minted ratio).
        tuning: what was tuned; None where nothing was.
        splits: one value a seed.
    """

    arms: Mapping[str, Sequence[Mapping[str, Any]]]
    levels: Mapping[int, Sequence[Mapping[str, Any]]]
    pilots: Sequence[Mapping[str, Any]]
    mints: Sequence[Mapping[str, Any]]
    diagnoses: Sequence[Mapping[str, Any]]
    generators: Sequence[Mapping[str, Any]]
    policy: Mapping[str, Any]
    grid: Mapping[tuple[int, float], Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    tuning: Mapping[str, Any] | None = None
    splits: Sequence[Mapping[str, Any]] = ()


def scored(values: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Return the deciding score of each seed, as a fraction: accuracy, 1 - NME, mIoU …

    Example:
        >>> scored([{"score": 0.75}, {"score": 0.5}]).tolist()
        [0.75, 0.5]
    """
    return np.array([v["score"] for v in values], dtype=float)


def primary(values: StudyValues, delta: float | None, n_test: int) -> Decision:
    """Return the one comparison that decides: the treatment against the baseline."""
    seeds = values.arms[BASELINE.name]
    interval = paired_t(scored(values.arms[TREATMENT.name]) - scored(seeds))
    error = float(np.sqrt(np.mean([s["spread"] ** 2 for s in seeds]) / n_test))
    smallest = default_delta(error) if delta is None else delta / 100.0
    return decide(interval, smallest)


def headline(values: StudyValues, decision: Decision, setting: Setting) -> dict[str, Any]:
    """Return verdict, sentence and uplift, in points."""
    metric = metric_of(values)
    differences = scored(values.arms[TREATMENT.name]) - scored(values.arms[BASELINE.name])
    interval = decision.interval
    return {
        "verdict": decision.verdict,
        "sentence": sentence(decision, setting, metric),
        "by_more_than_delta": decision.by_more_than_delta,
        "metric": metric,
        "unit": "points",
        "baseline": BASELINE.name,
        "treatment": TREATMENT.name,
        "uplift": {
            **in_points(interval),
            "sd": 100.0 * interval.sd,
            "seeds": interval.seeds,
            "delta": 100.0 * decision.delta,
            "method": interval.method,
            "seeds_to_settle": decision.settled_by,
            "differences": [100.0 * float(d) for d in differences],
        },
    }


def in_points(interval: Interval) -> dict[str, float]:
    """Return mean, low and high in points, and p.

    Example:
        >>> round(in_points(paired_t([0.01, 0.03]))["mean"], 9)
        2.0
    """
    return {
        "mean": 100.0 * interval.mean,
        "low": 100.0 * interval.low,
        "high": 100.0 * interval.high,
        "p": interval.p,
    }


def arm_table(
    values: StudyValues, delta: float, long_tail: bool = False
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return every arm's scores with its comparison under Holm, and how the controls came out.

    In a long-tailed study controls are compared with `balanced`: what they add balances the
    classes as well, which is not what they test.
    """
    baseline = scored(values.arms[BASELINE.name])
    opponents = {
        name: BALANCED.name if long_tail and ARMS[name].role != "arm" else BASELINE.name
        for name in values.arms
    }
    comparisons = [
        Comparison(
            name,
            paired_t(scored(seeds) - scored(values.arms[opponents[name]])),
            ARMS[name].role,
        )
        for name, seeds in values.arms.items()
        if name not in (BASELINE.name, TREATMENT.name)
    ]
    outcomes = {o.name: o for o in secondary(comparisons, delta)}
    intervals = {c.name: c.interval for c in comparisons}
    intervals[TREATMENT.name] = paired_t(scored(values.arms[TREATMENT.name]) - baseline)
    rows: dict[str, Any] = {}
    for name, seeds in values.arms.items():
        scores = 100.0 * scored(seeds)
        against = None
        if name in intervals:
            outcome = outcomes.get(name)
            adjusted = outcome.adjusted_p if outcome else intervals[name].p
            against = {**in_points(intervals[name]), "p_holm": adjusted, "arm": opponents[name]}
        rows[name] = {
            "answers": ARMS[name].answers,
            "mean": float(scores.mean()),
            "sd": float(scores.std(ddof=1)),
            "scores": [float(s) for s in scores],
            "training": seeds[0]["training"],
            "views_of_each_real_image": float(np.mean([s["views"] for s in seeds])),
            "secondary": _secondary(seeds),
            "against": against,
        }
    return rows, [
        _control(outcomes[n], intervals[n], opponents[n])
        for n in outcomes
        if outcomes[n].passed is not None
    ]


def _secondary(seeds: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Return the means of the other scores of an arm, those of parts by dotted names.

    A score that is undefined in some seeds is the mean of the others; in all, None.
    """
    first = seeds[0]
    own = NOT_SECONDARY | {first["measure"]["key"]}
    names = [k for k, v in first.items() if isinstance(v, int | float) and k not in own]
    found = {k: [s[k] for s in seeds] for k in names}
    found |= {k: [s["parts"][k] for s in seeds] for k in first["parts"]}
    known = {k: [v for v in values if v is not None] for k, values in found.items()}
    return {k: float(np.mean(v)) if v else None for k, v in known.items()}


def units(values: StudyValues) -> dict[str, str]:
    """Return the units of scores of parts, where they have one: "mae.yaw" to "degrees"."""
    first = values.arms[BASELINE.name][0]
    named = zip(first.get("components", ()), first.get("units", ()), strict=False)
    return {f"mae.{name}": unit for name, unit in named if unit}


def _control(outcome: Outcome, interval: Interval, opponent: str) -> dict[str, Any]:
    expectation = (
        "must help" if outcome.role == "positive control" else "must not help by more than delta"
    )
    row = in_points(interval)
    return {
        "name": outcome.name,
        "expectation": expectation,
        "passed": bool(outcome.passed),
        "text": (
            f"{expectation}: {'passed' if outcome.passed else 'FAILED'}, {row['mean']:+.2f} points "
            f"[{row['low']:+.2f}, {row['high']:+.2f}] against {opponent}"
        ),
    }


def per_class(values: StudyValues, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the treatment's effect class by class, with Holm over the classes.

    Empty where images have no class of their own that was predicted.
    """
    if "counts" not in values.arms[BASELINE.name][0]:
        return []
    baseline = np.array([v["per_class"] for v in values.arms[BASELINE.name]], dtype=float)
    treatment = np.array([v["per_class"] for v in values.arms[TREATMENT.name]], dtype=float)
    counts = values.arms[BASELINE.name][0]["counts"]
    tested = [c for c in range(len(classes)) if counts[c] > 0]
    # accuracies are ratios of counts: what differs by rounding alone is equal
    gaps = np.round(treatment - baseline, 12)
    intervals = {c: paired_t(gaps[:, c]) for c in tested}
    adjusted = dict(zip(tested, holm([intervals[c].p for c in tested]), strict=True))
    rows = []
    for c in tested:
        few = counts[c] < ARROW_MINIMUM
        clear = not few and adjusted[c] < 0.05
        rows.append(
            {
                "class": classes[c],
                "test_images": int(counts[c]),
                "baseline": float(100.0 * baseline[:, c].mean()),
                "treatment": float(100.0 * treatment[:, c].mean()),
                "difference": 100.0 * intervals[c].mean,
                "low": 100.0 * intervals[c].low,
                "high": 100.0 * intervals[c].high,
                "p_holm": adjusted[c],
                "arrow": ("up" if intervals[c].mean > 0 else "down") if clear else "none",
                "note": f"under {ARROW_MINIMUM} test images" if few else "",
            }
        )
    return rows


def equivalent(values: StudyValues, labelled: int) -> dict[str, Any]:
    """Return how many more real images a class the minted ones are worth, where it was measured."""
    if not values.levels:
        return {
            "assessed": False,
            "reason": (
                "no learning curve was measured (presets standard and full measure it, where "
                "every class has as many images)"
            ),
            "images": None,
            "low": None,
            "high": None,
            "curve": [],
        }
    curve = {n: [1.0 - v["score"] for v in seeds] for n, seeds in values.levels.items()}
    curve[labelled] = [1.0 - v["score"] for v in values.arms[BASELINE.name]]
    if POSITIVE_CONTROL.name in values.arms:
        more = values.arms[POSITIVE_CONTROL.name]
        curve[more[0]["real_per_class"]] = [1.0 - v["score"] for v in more]
    treated = [1.0 - v["score"] for v in values.arms[TREATMENT.name]]
    found = real_equivalent(sorted(curve.items()), treated, labelled)
    return {
        "assessed": found.worth is not None,
        "reason": found.refused,
        "images": found.worth,
        "low": found.low,
        "high": found.high,
        "clipped": found.clipped,
        "curve": [
            {"n": n, "error_mean": float(np.mean(e)), "errors": e} for n, e in sorted(curve.items())
        ],
        "fit": to_plain(found.curve),
    }


def grid(values: StudyValues, labelled: int, decided: float) -> list[dict[str, Any]]:
    """Return the treatment against the baseline at every level and ratio, with Holm over them.

    The cell of the study's own verdict (all labelled images, the ratio that decided) is shown
    beside them and counted apart.
    """
    rows, family = [], []
    for (n, ratio), seeds in sorted(values.grid.items()):
        baseline = scored(values.levels[n] if n in values.levels else values.arms[BASELINE.name])
        interval = paired_t(scored(seeds) - baseline)
        rows.append(
            {
                "per_class": n,
                "ratio": ratio,
                "baseline": 100.0 * float(baseline.mean()),
                "treatment": 100.0 * float(scored(seeds).mean()),
                **in_points(interval),
                "decides": n == labelled and ratio == decided,
            }
        )
        if not rows[-1]["decides"]:
            family.append(rows[-1])
    for row, adjusted in zip(family, holm([r["p"] for r in family]), strict=True):
        row["p_holm"] = adjusted
    return [{"p_holm": row["p"], **row} for row in rows]


def tuning(values: StudyValues, config: StudyConfig) -> dict[str, Any] | None:
    """Return what was tuned, over which values, and in words."""
    if values.tuning is None:
        return None
    found, plan = values.tuning, config.tuning
    axes = {"ratio": plan.ratios, "threshold": plan.thresholds, "checkpoint": plan.checkpoints}
    tried = "; ".join(f"{name} {', '.join(map(str, v))}" for name, v in axes.items() if v)
    chosen = ", ".join(f"{name} {value}" for name, value in found["chosen"].items())
    text = (
        f"{chosen}: the best of {len(found['candidates'])} combinations ({tried}) by "
        f"{metric_of(values)} on {found['validation_images']} validation images taken out of the "
        "labelled ones, over "
        f"{plan.pilot_seeds} pilot draw{'s' if plan.pilot_seeds > 1 else ''}"
    )
    return {**found, "text": text}


def metric_of(values: StudyValues) -> str:
    """Return what is compared, higher being better: "accuracy", "mIoU", "1 - NME" …"""
    points = str(values.arms[BASELINE.name][0]["measure"]["points"])
    return points.removeprefix("100 ").removeprefix("(").removesuffix(")")


def distribution(values: StudyValues) -> list[dict[str, Any]]:
    """Return each distance and coverage, averaged over seeds, with its floor and protocol."""
    rows = []
    for group in zip(*(d["distribution"] for d in values.diagnoses), strict=True):
        kept = [g["value"] for g in group if g["value"] is not None]
        floors = [g["floor"] for g in group if g["floor"] is not None]
        rows.append(
            {
                **group[0],
                "value": float(np.mean(kept)) if kept else None,
                "floor": float(np.mean(floors)) if floors else None,
                "seeds": kept,
            }
        )
    return rows


def copying(values: StudyValues) -> dict[str, Any]:
    """Return the copy check over all seeds:
    pooled counts, the worst seed's recall, Bonferroni's p."""
    reports = [m["copying"] for m in values.mints]
    worst = min(reports, key=lambda r: r["recall"])
    flagged, minted = sum(r["flagged"] for r in reports), sum(r["minted"] for r in reports)
    expected = sum(r["expected_flags"] for r in reports)
    assessed = all(r["assessed"] for r in reports)
    lead = min(r["p"] for r in reports) * len(reports)  # Bonferroni over the seeds
    return {
        **worst,
        "flagged": flagged,
        "minted": minted,
        "share": flagged / max(minted, 1),
        "expected_flags": expected,
        "p": min(1.0, lead),
        "assessed": assessed,
        "recall_by_seed": [r["recall"] for r in reports],
        "text": (
            f"{flagged} of {minted} minted images were flagged and removed; chance alone would "
            f"flag at most {expected:.1f}. The detector found {worst['recall']:.0%} of planted "
            f"copies in its worst seed"
            + ("." if assessed else ", under 95 %: copying is not assessed.")
        ),
    }


def power(pilots: Sequence[Mapping[str, Any]], seeds: int) -> dict[str, Any]:
    """Return the smallest effect that `seeds` repetitions could detect, from the pilots.

    Example:
        >>> found = power([{"difference": 0.01}, {"difference": -0.01}], seeds=5)
        >>> round(found["pilot_sd"], 6), round(found["mde"], 2)
        (1.0, 1.66)
    """
    differences = np.array([p["difference"] for p in pilots])
    # classic against repeat has mean 0 by design, so its spread is taken about 0
    sd = float(np.sqrt(np.mean(differences**2)))
    mde = 100.0 * minimum_detectable_effect(sd, seeds)
    return {
        "mde": mde,
        "pilot_sd": 100.0 * sd,
        "pilot_seeds": len(differences),
        "text": (
            f"with {seeds} seeds an effect of {mde:.2f} points would be found with 80 % power "
            f"(spread of {len(differences)} pilot differences of classic against repeat: "
            f"{100.0 * sd:.2f} points)"
        ),
    }


def curation(values: StudyValues) -> dict[str, Any]:
    """Return what was drawn, kept and rejected over all seeds."""
    rows = [m["curation"] for m in values.mints]
    reasons = {r: sum(c["rejected"].get(r, 0) for c in rows) for r in rows[0]["rejected"]}
    return {
        **{k: sum(c[k] for c in rows) for k in ("requested", "drawn", "accepted")},
        "rejected": reasons,
        "threshold": rows[0]["threshold"],
        "shortfall": [c["shortfall"] for c in rows if c["shortfall"]],
    }


def diversity(values: StudyValues) -> dict[str, Any]:
    """Return each measure within and between classes, minted beside real."""
    mean = mean_of([d["diversity"] for d in values.diagnoses])
    return side_by_side(mean, values.diagnoses[0]["pairs"])


def side_by_side(found: Mapping[str, Any], pairs: int) -> dict[str, Any]:
    """Return diversity by kind and measure, minted beside real, of diversity by origin.

    Example:
        >>> found = {"minted": {"within": {"mse": 0.1}}, "real": {"within": {"mse": 0.2}}}
        >>> side_by_side(found, pairs=50)
        {'within': {'mse': {'minted': 0.1, 'real': 0.2}}, 'pairs': 50}
    """
    rows = {
        kind: {
            measure: {"minted": value, "real": found["real"].get(kind, {}).get(measure)}
            for measure, value in measures.items()
        }
        for kind, measures in found["minted"].items()
    }
    return {**rows, "pairs": pairs}


def generator_row(config: StudyConfig, values: StudyValues) -> dict[str, Any]:
    """Return what was trained, in words and numbers."""
    gan, first = config.generator, values.generators[0]
    names = {
        axis: split_spec(spec, axis)[0] if spec else "no critic"
        for axis, spec in (
            ("generator", gan.generator),
            ("critic", gan.critic),
            ("objective", gan.objective),
            ("conditioning", gan.conditioning),
        )
    }
    versus = "with" if gan.critic is None else "against"
    return {
        **names,
        "text": (
            f"{names['generator']} {versus} {names['critic']}, {names['objective']} objective, "
            f"conditioning {names['conditioning']}, {gan.steps} steps of {gan.batch}"
        ),
        "steps": gan.steps,
        "parameters": first["parameters"],
        "losses": first["logs"],
        "stopped": [g["stopped"] for g in values.generators],
    }


def mean_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average equal nested mappings of numbers leaf by leaf; other leaves are the first's.

    Example:
        >>> mean_of([{"mse": {"within": 1}, "of": "pairs"}, {"mse": {"within": 2}, "of": "pairs"}])
        {'mse': {'within': 1.5}, 'of': 'pairs'}
    """
    first = rows[0]
    result: dict[str, Any] = {}
    for key, value in first.items():
        if isinstance(value, Mapping):
            result[key] = mean_of([r[key] for r in rows])
        elif isinstance(value, int | float) and not isinstance(value, bool):
            result[key] = float(np.mean([r[key] for r in rows]))
        else:
            result[key] = value
    return result

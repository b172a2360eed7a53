"""From the stages of a comparison to its report: means, intervals, differences, words, pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from augmint.aspects.category import LABEL
from augmint.core.registry import split_spec
from augmint.studies.measured import GROUPS, Measure, rows_for
from augmint.studies.reading import DRAWN, network_of
from augmint.studies.showing import grid_of
from augmint.studies.statistics import holm, paired_t
from augmint.studies.telling import recognised
from augmint.tasks.base import task_of

if TYPE_CHECKING:
    from augmint.core.types import ByteArray
    from augmint.studies.compare import ComparisonConfig, Plan
    from augmint.studies.stages import StageResult


def assemble(
    config: ComparisonConfig, plan: Plan, results: Mapping[str, StageResult]
) -> dict[str, Any]:
    """Return all that a report says of the stages' results."""
    values, readers = _values(plan, results), _readers(plan, results)
    real = _real(plan, results, values)
    told = rows_for(plan.table.schema, {r["aspect"]: r["error"] for r in readers})
    rows = [_row(m, values, real, config) for m in told if _shown(m, values)]
    _adjust(rows)
    classes = list(plan.table.strata_names()) if LABEL in plan.table.schema else []
    judge, split = _judge(config, plan, results), results[plan.split.name].value
    report: dict[str, Any] = {
        "title": Path(config.data).name or config.data,
        "headline": _headline(len(config.generators)),
        "baseline": config.baseline,
        "generators": list(config.generators),
        "seeds": config.seeds,
        "images": config.images,
        "groups": GROUPS,
        "measures": rows,
        "classes": classes,
        "confusion": _confusion(plan, results),
        "most": math.log(len(classes)) if classes else None,
        "failed": _failed(plan, results),
        "trained": _trained(config, plan, results),
        "judge": judge,
        "readers": readers,
        "learner_images": split["train"],
        "data": {
            "source": config.data,
            **recognised(plan.table),
            "images": len(plan.table),
            "shape": list(plan.table.shape),
            "classes": len(classes),
            "train": split["train"],
            "judge": judge["trained_on"],
            "test": split["test"],
            "digest": plan.table.digest,
        },
    }
    report["facts"] = _facts(report)
    report["sentence"] = _sentence(report)
    report["warnings"] = _warnings(report)
    return report


def _judge(
    config: ComparisonConfig, plan: Plan, results: Mapping[str, StageResult]
) -> dict[str, Any]:
    """Return what is said of the network on whose features distances are taken."""
    judged = results[plan.judge.name].value
    if LABEL in plan.table.schema:
        return {
            "trained_on": judged["trained_on"],
            "accuracy": judged["numbers"]["judge_accuracy"],
            "digest": judged["digest"],
            "network": split_spec(config.measures.task.network, "architecture")[0],
            "steps": config.measures.task.steps,
        }
    task = plan.judge.config.task
    return {
        "trained_on": judged["trained_on"],
        "reads": task.aspect,
        "digest": judged["digest"],
        "network": network_of(task),
        "steps": task.steps,
    }


def _readers(plan: Plan, results: Mapping[str, StageResult]) -> list[dict[str, Any]]:
    """Return what is said of the networks that read annotations."""
    rows = []
    for name, stage in plan.readers.items():
        value, task = results[stage.name].value, stage.config.task
        rows.append(
            {
                "aspect": name,
                "error": task_of(task).measure.error,
                "network": network_of(task),
                "steps": task.steps,
                "trained_on": value["trained_on"],
                "on_real": value["numbers"][f"error_{name}_real"],
                "digest": value["digest"],
            }
        )
    return rows


def _shown(measure: Measure, values: Values) -> bool:
    """Whether a row stands in the report: what stands in for another only where that is missing."""
    if not (measure.instead_of or measure.optional):
        return True
    every = [value["numbers"] for line in values.values() for value in line]
    return any(measure.key in found and measure.instead_of not in found for found in every)


def _headline(generators: int) -> str:
    return "one generator" if generators == 1 else f"{generators} generators on the same images"


Values = dict[str, list[dict[str, Any]]]
"""By generator, one mapping a seed: numbers, refused, protocols, confusion."""


def _values(plan: Plan, results: Mapping[str, StageResult]) -> Values:
    found: Values = {}
    for name, line in plan.measures.items():
        found[name] = []
        for measured, trained in zip(line, plan.generators[name], strict=True):
            value = dict(results[measured.name].value)
            made = results[trained.name].value
            numbers = {**value["numbers"], **_costs(made)}
            for gain, minuend, start in (
                ("probe_gain", "probe", "probe_untrained"),
                ("own_gain", "own_accuracy", "own_alone"),
            ):
                if minuend in numbers and start in numbers:
                    numbers[gain] = numbers[minuend] - numbers[start]
                elif minuend in value["refused"]:
                    value["refused"][gain] = value["refused"][minuend]
            found[name].append({**value, "numbers": numbers})
    return found


def _costs(made: Mapping[str, Any]) -> dict[str, float]:
    if made["failed"] is not None:
        return {}
    seconds = float(made["processor_seconds"])
    rate = {"images_per_second": made["images_shown"] / seconds} if seconds > 0 else {}
    return {
        "processor_seconds": seconds,
        "seconds": float(made["seconds"]),
        "parameters": float(made["parameters"]),
        **rate,
    }


def _real(plan: Plan, results: Mapping[str, StageResult], values: Values) -> dict[str, float]:
    """Return real images' numbers and floors by key; floors are the same for all generators."""
    reference = results[plan.reference.name].value["numbers"]
    found = {f"{key}_real": float(value) for key, value in reference.items()}
    for learner in plan.learners.values():
        told = results[learner.name].value["numbers"]
        found |= {f"{key}_real": float(value) for key, value in told.items()}
    for judge in (plan.judge, *plan.readers.values()):
        found |= results[judge.name].value["numbers"]
    for line in values.values():
        for value in line:
            found |= {k: v for k, v in value["numbers"].items() if k.endswith("_floor")}
    return found


def _row(
    measure: Measure, values: Values, real: Mapping[str, float], config: ComparisonConfig
) -> dict[str, Any]:
    """Return one measure of every generator, and what the others differ from the baseline by."""
    lines = {n: [v["numbers"].get(measure.key) for v in line] for n, line in values.items()}
    protocols = [
        v["protocols"][measure.protocol or measure.key]
        for line in values.values()
        for v in line
        if (measure.protocol or measure.key) in v.get("protocols", {})
    ]
    base = lines[config.baseline]
    return {
        "key": measure.key,
        "title": measure.title,
        "group": measure.group,
        "unit": measure.unit,
        "better": measure.better,
        "headline": measure.headline,
        "real": real.get(measure.real) if measure.real else None,
        "protocol": protocols[0] if protocols else None,
        "rows": [
            {"generator": n, **summary(v), "refused": _refused(measure.key, values[n])}
            for n, v in lines.items()
        ],
        "differences": [
            {"generator": n, **summary(paired(v, base))}
            for n, v in lines.items()
            if n != config.baseline and measure.group != "cost"
        ],
    }


def paired(values: Sequence[float | None], base: Sequence[float | None]) -> list[float | None]:
    """Return differences by seed; None where either is missing.

    Example:
        >>> paired([3.0, None, 5.0], [1.0, 2.0, 5.0])
        [2.0, None, 0.0]
    """
    both = zip(values, base, strict=True)
    return [None if a is None or b is None else a - b for a, b in both]


def summary(values: Sequence[float | None]) -> dict[str, Any]:
    """Return values by seed with their mean and its 95 % t interval, None where it has none.

    Example:
        >>> summary([0.5]) | {"values": 0}
        {'values': 0, 'mean': 0.5, 'low': None, 'high': None, 'sd': None, 'p': None, 'seeds': 1}
    """
    there = [float(v) for v in values if v is not None]
    empty = {"low": None, "high": None, "sd": None, "p": None, "seeds": len(there)}
    if len(there) < 2:
        mean = there[0] if there else None
        return {"values": list(values), "mean": mean, **empty}
    found = paired_t(there)
    return {
        "values": list(values),
        "mean": found.mean,
        "low": found.low,
        "high": found.high,
        "sd": found.sd,
        "p": found.p,
        "seeds": len(there),
    }


def _refused(key: str, line: Sequence[Mapping[str, Any]]) -> str | None:
    reasons = [v["refused"].get("", v["refused"].get(key)) for v in line]
    told = list(dict.fromkeys(r for r in reasons if r))
    return "; ".join(told) if told else None


def _adjust(rows: list[dict[str, Any]]) -> None:
    """Correct the p values of all differences of measures that have a direction, as one family."""
    family = [d for row in rows if row["better"] for d in row["differences"] if d["p"] is not None]
    for difference, p in zip(family, holm([d["p"] for d in family]), strict=True):
        difference["p_holm"] = p


def _confusion(plan: Plan, results: Mapping[str, StageResult]) -> dict[str, list[list[int]]]:
    """Return counts [asked][judged] by generator, all seeds together."""
    found = {}
    for name, line in plan.measures.items():
        tables = [results[s.name].value["confusion"] for s in line]
        tables = [t for t in tables if t is not None]
        if tables:
            found[name] = np.sum(tables, axis=0).tolist()
    return found


def _failed(plan: Plan, results: Mapping[str, StageResult]) -> list[dict[str, Any]]:
    """Return the trainings that ended early or never were good."""
    found = []
    for name, line in plan.generators.items():
        for index, stage in enumerate(line):
            made = results[stage.name].value
            if made["failed"] is not None:
                found.append({"generator": name, "seed": index, "why": made["failed"]})
            elif made["stopped"] != "done":
                why = f"{made['stopped']}; the weights of step {made['step']} are measured"
                found.append({"generator": name, "seed": index, "why": why})
    return found


def _trained(
    config: ComparisonConfig, plan: Plan, results: Mapping[str, StageResult]
) -> list[dict[str, Any]]:
    rows = []
    for name, gan in config.generators.items():
        made = [results[s.name].value for s in plan.generators[name]]
        shown = [m["images_shown"] for m in made if m["failed"] is None]
        parts = (gan.generator, gan.critic, gan.objective, gan.conditioning)
        words = [split_spec(part, "part")[0] for part in parts if part]
        words += [f"draws {name}" for name in gan.joint]
        rows.append(
            {
                "generator": name,
                "parts": words,
                "batch": gan.batch,
                "steps": gan.steps,
                "images_shown": shown[0] if shown else None,
            }
        )
    return rows


def _facts(report: Mapping[str, Any]) -> dict[str, str]:
    data, judge = report["data"], report["judge"]
    test = _thousands(data["test"])
    facts = {
        "Real images shown to each": _thousands(report["images"]),
        "Seeds": str(report["seeds"]),
        "Generators' real images": _thousands(data["train"]),
        "Judge's, shown to no generator": _thousands(judge["trained_on"]),
    }
    if "accuracy" in judge:
        facts["Judge on real test images"] = f"{100 * judge['accuracy']:.1f} % of {test}"
    for r in report["readers"]:
        facts[f"{r['aspect']} on real test images"] = f"{r['error']} {r['on_real']:.3g}, of {test}"
    return facts


def _thousands(value: int) -> str:
    return f"{value:,}".replace(",", "\u202f")


def _sentence(report: Mapping[str, Any]) -> str:
    by_key = {m["key"]: m for m in report["measures"]}
    told = []
    if report["classes"]:
        told.append(_of_classes(by_key["conditional_accuracy"]))
    for r in report["readers"]:
        row = by_key[f"error_{r['aspect']}"]
        if parts := _means(row):
            told.append(
                f"By a network that has seen none of their training images the error of the "
                f"{r['aspect']} that images claim ({r['error']}) is: {parts}; of real images "
                f"{r['on_real']:.3g}."
            )
    return " ".join(told) or "No generator was asked for anything, or none could be trained."


def _means(row: Mapping[str, Any]) -> str:
    told = [r for r in row["rows"] if r["mean"] is not None]
    return ", ".join(f"{r['generator']} {written(r, row['unit'])}" for r in told)


def _of_classes(row: Mapping[str, Any]) -> str:
    parts = _means(row)
    if not parts:
        return "No generator was asked for classes, or none could be trained."
    return (
        f"A judge that has seen none of their training images recognises the class asked for in: "
        f"{parts}.".replace(" %", "\u00a0%")
    )


def _warnings(report: Mapping[str, Any]) -> list[str]:
    told = [
        "Intervals are over seeds of training, with one judge, one split and one test set: another "
        "judge or other images would move all numbers."
    ]
    if report["seeds"] < 2:
        told.append("With one seed there are no intervals and no tests: pass --seeds 3 or more.")
    if not report["classes"]:
        told.append(
            "The set has no classes: what is measured by them is left out, and distances are taken "
            f"on the features of the network that reads {report['judge']['reads']}."
        )
    told += [f"{f['generator']}, seed {f['seed']}: {f['why']}" for f in report["failed"]]
    return told


# on a terminal -----------------------------------------------------------------------------------

FORMATS: Mapping[str, Callable[[float], str]] = {
    "share": lambda v: f"{100 * v:.1f} %",
    "points": lambda v: f"{100 * v:.1f}",
    "number": lambda v: f"{v:.3g}",
    "nats": lambda v: f"{v:.3f}",
    "seconds": lambda v: f"{v:,.0f} s".replace(",", " ") if v >= 10 else f"{v:.1f} s",
    "rate": lambda v: f"{v:,.0f}".replace(",", " "),
    "count": lambda v: f"{v:,.0f}".replace(",", " "),
}
"""How a number of each unit is written in words."""


def written(row: Mapping[str, Any], unit: str, sign: bool = False) -> str:
    """Return a mean with its interval in words.

    Example:
        >>> written({"mean": 0.5, "low": 0.25, "high": 0.75}, "share", sign=True)
        '+50.0 % (25.0 % to 75.0 %)'
    """
    mean = row["mean"]
    if mean is None:
        return "–"
    write = FORMATS[unit]
    plus = "+" if sign and mean > 0 else ""
    if row["low"] is None:
        return plus + write(mean)
    return f"{plus}{write(mean)} ({write(row['low'])} to {write(row['high'])})"


def lines(report: Mapping[str, Any]) -> list[str]:
    """Return a comparison as lines for a terminal."""
    shown = [m for m in report["measures"] if m["headline"] or m["key"] in ALSO]
    names = report["generators"]
    table = [["", "real / floor", *names]]
    for m in shown:
        real = "" if m["real"] is None else FORMATS[m["unit"]](m["real"])
        cells = [_cell(r, m["unit"], len(names) <= ACROSS) for r in m["rows"]]
        table.append([TERMINAL.get(m["key"], m["title"]), real, *cells])
    if len(names) > ACROSS:  # a row a generator, and only the main measures
        kept = [table[0], *(table[i + 1] for i, m in enumerate(shown) if m["headline"])]
        table = [list(line) for line in zip(*kept, strict=True)]
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    told = [
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in table
    ]
    for m in (m for m in shown if m["group"] in TRUTHS):
        title = m["title"][:1].lower() + m["title"][1:]
        of = f"points {title}" if m["unit"] == "share" else title
        unit = "points" if m["unit"] == "share" else m["unit"]
        for d in (d for d in m["differences"] if d["mean"] is not None):
            against = f"{d['generator']} minus {report['baseline']}"
            told.append(f"{against}: {written(d, unit, True)} {of}")
    reasons: dict[str, list[str]] = {}
    for m in shown:
        for r in m["rows"]:
            if r["refused"] and r["mean"] is None:
                known = reasons.setdefault(r["refused"], [])
                known += [r["generator"]] if r["generator"] not in known else []
    told += [f"refused: {', '.join(who)}: {why}" for why, who in reasons.items()]
    return [*told, *(f"note: {w}" for w in report["warnings"])]


def _cell(row: Mapping[str, Any], unit: str, long: bool) -> str:
    if row["mean"] is None:
        return "refused" if row["refused"] else "–"
    if long or row["low"] is None:
        return written(row, unit)
    half = FORMATS["points" if unit == "share" else unit]((row["high"] - row["low"]) / 2.0)
    return f"{FORMATS[unit](row['mean'])} ± {half}"


ACROSS = 4
"""Generators that stand side by side on a terminal, at most."""

TRUTHS = ("classes", "annotations")
"""Groups of whose headlines the terminal also shows the differences."""

ALSO = ("divergence", "probe", "own_accuracy", "own_alone", "images_per_second")
"""Measures that the terminal shows beside the headlines."""

TERMINAL = {
    "learnt": "CAS, from generated alone",
    "probe": "linear classifier: pixels, critic",
    "divergence": "divergence among classes, nats",
    "own_accuracy": "its own classifier on real",
    "own_alone": "  the same trained alone",
    "images_per_second": "real images a processor second",
}
"""Shorter titles for the terminal."""


# pictures ----------------------------------------------------------------------------------------


def pictures_of(plan: Plan, results: Mapping[str, StageResult]) -> dict[str, bytes]:
    """Return a picture of every generator, and of real images: one row a class.

    Below each row stands the same with the annotations that lie in the image.
    """
    real = [results[s.name].folder / DRAWN for s in plan.learners.values()]
    read = [_array(path) for path in real if path.is_file()]
    found = {"real": grid_of(_array(results[plan.reference.name].folder / "shown.npy"), read)}
    for name, line in plan.measures.items():
        folder = results[line[0].name].folder
        if results[line[0].name].value["numbers"]:
            told = folder / DRAWN
            layers = list(_array(told)) if told.is_file() else []
            found[name] = grid_of(_array(folder / "shown.npy"), layers)
    return found


def _array(path: Path) -> ByteArray:
    found: ByteArray = np.load(path, allow_pickle=False)
    return found

"""The result of a comparison at equal size as lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from augmint.recipes.spdnn_judging import Judgement

Row = Mapping[str, Any]


def score_table(rows: Sequence[Row], found: Judgement, measure: str) -> str:
    """Return parameters and score of every network, and the merged one against it.

    Args:
        rows: one a network.
        found: the comparisons.
        measure: what the score is called.
    """
    against = {row["against"]: row for row in found.rows}
    wide = _width(rows)
    lines = [
        f"{'network':<{wide}} {'parameters':>10} {measure:>8} {'sd':>5}  "
        f"{'merged minus it':<24} {'p':>6}  verdict"
    ]
    for row in rows:
        name = row["network"]
        line = f"{name:<{wide}} {row['parameters']:>10} {100 * row['score']:>8.2f} "
        line += f"{100 * row['sd']:>5.2f}  "
        if name in against:
            other = against[name]
            mark = " *" if other["role"] == "primary" else ""
            line += f"{_span(other, 2, 100):<24} {other['adjusted_p']:>6.3f}  "
            line += f"{other['verdict']}{mark}"
        lines.append(line.rstrip())
    return "\n".join(
        [
            *lines,
            "",
            f"Scores ({measure}) and differences in points, with 95 % intervals; sd over seeds.",
            "* the best parent on validation images. All other p are adjusted by Holm.",
            "Each verdict is of the merged network against the one in its row.",
            "",
        ]
    )


def convergence_table(trend: Sequence[Row], best: str) -> str:
    """Return how soon and how steadily each network trained, beside the best parent."""
    lines, wide = [], _width(trend)
    for key, digits, told in (
        ("steps", 0, "steps until the training loss is at the best parent's last"),
        ("fluctuation", 4, "scatter of the training loss around its trend, last fifth"),
        ("validation_fluctuation", 4, "scatter of the validation loss, last half of the readings"),
    ):
        lines.append(f"{told}; gain over {best}:")
        for row in trend:
            gain = "" if row[f"{key}_gain"] is None else _span(row[f"{key}_gain"], digits)
            seeds = f"  reached in {row['seeds_that_reached_it']} seeds" if key == "steps" else ""
            line = f"  {row['network']:<{wide}} {row[key]:>8.{digits}f}  {gain:<30}{seeds}"
            lines.append(line.rstrip())
        lines.append("")
    lines.append(
        "A gain above 0 is sooner or steadier. A seed that never gets there counts in full."
    )
    return "\n".join(lines) + "\n"


def measure_table(rows: Sequence[Row]) -> str:
    """Return all that a task measures of every network, means over seeds, one measure a line."""
    every = dict.fromkeys(name for row in rows for name in row["measures"])
    names = [name for name in every if name.rpartition(".")[2] != "n"]  # counts of images
    wide, column = max(map(len, names)), _width(rows)
    lines = ["  ".join([f"{'':<{wide}}", *(f"{row['network']:>{column}}" for row in rows)])]
    for name in names:
        shown = [row["measures"].get(name) for row in rows]
        cells = ["" if v is None else f"{v:.4g}" for v in shown]
        lines.append(
            "  ".join([f"{name:<{wide}}", *(f"{cell:>{column}}" for cell in cells)]).rstrip()
        )
    return "\n".join([*lines, "", "On test images, means over seeds."]) + "\n"


def _width(rows: Sequence[Row]) -> int:
    return max(len(row["network"]) for row in rows)


def _span(interval: Row, digits: int, factor: float = 1.0) -> str:
    mean, low, high = (factor * interval[k] for k in ("mean", "low", "high"))
    return f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"

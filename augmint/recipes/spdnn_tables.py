"""The classifier recipe's result as lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from augmint.recipes.spdnn_judging import Judgement

Row = Mapping[str, Any]


def accuracy_table(rows: Sequence[Row], found: Judgement) -> str:
    """Return parameters and accuracy of every network, and the merged one against it."""
    against = {row["against"]: row for row in found.rows}
    lines = [
        f"{'network':<10} {'parameters':>10} {'accuracy':>8} {'sd':>5}  "
        f"{'merged minus it':<24} {'p':>6}  verdict"
    ]
    for row in rows:
        name = row["network"]
        line = f"{name:<10} {row['parameters']:>10} {100 * row['accuracy']:>8.2f} "
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
            "Accuracy and differences in points, with 95 % intervals; sd over seeds.",
            "* the best parent on validation images. All other p are adjusted by Holm.",
            "Each verdict is of the merged network against the one in its row.",
            "",
        ]
    )


def convergence_table(trend: Sequence[Row], best: str) -> str:
    """Return how soon and how steadily each network trained, beside the best parent."""
    lines = []
    for key, digits, told in (
        ("steps", 0, "steps until the training loss is at the best parent's last"),
        ("fluctuation", 4, "scatter of the training loss around its trend, last fifth"),
        ("validation_fluctuation", 4, "scatter of the validation loss, last half of the readings"),
    ):
        lines.append(f"{told}; gain over {best}:")
        for row in trend:
            gain = "" if row[f"{key}_gain"] is None else _span(row[f"{key}_gain"], digits)
            seeds = f"  reached in {row['seeds_that_reached_it']} seeds" if key == "steps" else ""
            line = f"  {row['network']:<10} {row[key]:>8.{digits}f}  {gain:<30}{seeds}"
            lines.append(line.rstrip())
        lines.append("")
    lines.append(
        "A gain above 0 is sooner or steadier. A seed that never gets there counts in full."
    )
    return "\n".join(lines) + "\n"


def _span(interval: Row, digits: int, factor: float = 1.0) -> str:
    mean, low, high = (factor * interval[k] for k in ("mean", "low", "high"))
    return f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"

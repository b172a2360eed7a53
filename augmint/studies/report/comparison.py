"""Writes a comparison of generators as one HTML file, in the style of a study's report."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from augmint.studies.report import plots
from augmint.studies.report.formats import (
    FILTERS,
    MISSING,
    count,
    duration,
    is_number,
    number,
    percent,
    visible,
)
from augmint.studies.report.render import Pictures, Report, page, to_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGEST_TABLE = 12
"""Classes of a confusion matrix that is shown as a table; a larger one is a picture."""

_UNITS = {"share": percent, "seconds": duration, "count": count, "rate": count}


def render_comparison(report: Report, pictures: Pictures) -> str:
    """Return a comparison as one self-contained HTML page.

    Args:
        report: what `compare.json` holds.
        pictures: PNG bytes by generator, and "real".
    """
    shown = visible(to_json(report))
    measures = shown.get("measures") or []
    groups = [
        {
            "id": key,
            "title": title,
            "measures": [m for m in measures if m["group"] == key],
            "notes": notes(key, shown),
        }
        for key, title in (shown.get("groups") or {}).items()
    ]
    groups = [g for g in groups if g["measures"]]
    confusion = shown.get("confusion") or {}
    contents = {"result": "Summary", "pictures": "Pictures"}
    contents |= {g["id"]: SHORT.get(g["id"], g["title"]) for g in groups}
    if confusion:
        contents["confusion"] = "Confusion"
    contents |= {"data": "Data and judge", "repeat": "To repeat it"}
    return page(
        "compare.html.j2",
        r=shown,
        contents=contents,
        groups=groups,
        charts=[c for m in measures if m["headline"] if (c := _chart(m)) is not None],
        headline=[m for m in measures if m["headline"]],
        confusion={name: _cells(table) for name, table in confusion.items()},
        as_table=len(shown.get("classes") or []) <= LARGEST_TABLE,
        pictures=pictures,
        write=write,
        write_difference=write_difference,
        beside=BESIDE,
    )


BESIDE = {"distribution": "Floor", "critic": "Raw pixels", "cost": None}
"""Heading of the column of real images' numbers, where it is another than "Real images"."""

SHORT = {
    "classes": "Class asked for",
    "annotations": "Annotations",
    "distribution": "Distances",
    "apart": "Classes apart",
    "use": "Learning from it",
    "critic": "Critic and classifier",
}
"""Shorter titles for the contents."""


def write(value: Any, measure: Mapping[str, Any]) -> str:
    """Write a number in its measure's unit, with the decimals of the largest of the measure."""
    known = _UNITS.get(measure["unit"])
    if known is not None:
        return known(value)
    nats = measure["unit"] == "nats"
    return number(value, 3 if nats else _places([r["mean"] for r in measure["rows"]]))


def write_difference(value: Any, difference: Mapping[str, Any], unit: str) -> str:
    """Write a difference, or an end of its interval, with its sign; of shares in points."""
    if not is_number(value):
        return MISSING
    if unit == "share":
        return FILTERS["signed"](100.0 * value, 2)
    ends = [difference[k] for k in ("mean", "low", "high")]
    return FILTERS["signed"](value, 3 if unit == "nats" else _places(ends))


def _places(values: Sequence[Any]) -> int:
    """Return the decimals that give the largest value three digits."""
    largest = max((abs(v) for v in values if is_number(v)), default=0.0)
    return min(max(2 - math.floor(math.log10(largest)), 0), 6) if largest > 0 else 2


def notes(group: str, report: Report) -> Sequence[str]:
    """Return what a reader needs to know to read a group's numbers."""
    most = report.get("most")
    judge = report.get("judge") or {}
    learners = report.get("learner_images")
    reads = judge.get("reads")
    features = (
        f"the features of the network that reads {reads}" if reads else "the judge's features"
    )
    annotated = bool(report.get("readers"))
    request = " Images of one request are asked for the same annotations." if annotated else ""
    scores = " Of classes this is an accuracy, of annotations an error." if annotated else ""
    told: Mapping[str, Sequence[str]] = {
        "classes": (
            f"The judge, a {judge.get('network')}, learnt from {judge.get('trained_on')} real "
            "images that no generator was shown. Its own accuracy on real test images is about the "
            "most that can be expected.",
        ),
        "annotations": (
            "Networks of each annotation's own task learnt from real images that no generator was "
            "shown, and read generated images. The error is between what they read and what the "
            "image claims: what it was asked for, or was drawn with it. It is 0 where both agree; "
            "on real test images, whose annotations are true, it is what the network itself errs, "
            "so that a ratio of 1 is about the best that can be expected. A generator that makes "
            "easy images alone can go below it: read diversity and learning beside it.",
        ),
        "distribution": (
            f"On {features}, against the real test images. The floor is what one half of "
            "the real images scores against the other at the same count.",
        ),
        "apart": (
            "The papers' theorem: of N classes, the best classifier of generated images has the "
            "cross-entropy log N − JSD, where JSD is the Jensen-Shannon divergence among the "
            "classes' images. Any other classifier's is larger, so log N minus it is a lower "
            f"bound of the divergence, in nats. Here log N is {_three(most)}: classes without any "
            "overlap. A bound below 0 says nothing.",
        ),
        "diversity": (
            "Over pairs of images. More diverse: higher MSE, RMSE and MAE, lower UQI and SSIM. "
            "Noise is diverse too: read them beside the real images' numbers and the class asked "
            f"for.{request}",
        ),
        "use": (
            "A small network learns from generated images alone and is scored on real test "
            f"images; beside it the same network, which learnt from the {learners} real images "
            f"that the generators learnt from.{scores}",
        ),
        "critic": (
            "A linear classifier learns from real training images and is scored on real test "
            "images, from raw pixels and from the critic's last features. A generator's own "
            "classifier (VAC's network or ACGAN's head) is scored as it is; trained alone, it is "
            "the same network from the same start, shown as many real images, without the "
            "generator.",
        ),
        "cost": ("Of training alone. Processor time counts every thread; time is by the clock.",),
    }
    return told.get(group, ())


def _three(value: Any) -> str:
    return f"{value:.3f}" if is_number(value) else MISSING


def _chart(measure: Mapping[str, Any]) -> Markup | None:
    figure = _dots(measure, plots.NARROW)
    if figure is None:
        return None
    label = f"{measure['title']}: every seed, mean and interval; see the table"
    # names of aspects may be any text
    prefix = re.sub("[^a-z0-9_]", "-", f"dots-{measure['key']}".lower())
    svg = plots.to_svg(figure, prefix, label)
    return Markup('<figure><h3>{}</h3><div class="chart">{}</div></figure>').format(
        measure["title"], Markup(svg)
    )


def _dots(measure: Mapping[str, Any], width: float) -> Figure | None:
    """Draw a measure's seeds, mean and interval, a row a generator; dashed: real images."""
    rows = [r for r in measure.get("rows") or [] if is_number(r.get("mean"))]
    if not rows:
        return None
    factor = 100.0 if measure["unit"] == "share" else 1.0
    names = [plots.short(r["generator"], 18) for r in rows]
    left = min(0.3 + 0.078 * max(len(n) for n in names), 0.36 * width)
    figure, axes = plots.canvas(width, 0.34 * len(rows) + 0.66, left)
    span: list[float] = []
    for at, row in enumerate(rows):
        values = [factor * v for v in row["values"] if is_number(v)]
        span += values
        offsets = [at + 0.14 * math.sin(2.4 * (i + 1)) for i in range(len(values))]
        paint: Any = {"facecolor": plots.CARD, "edgecolor": plots.BASE, "linewidth": 1.2}
        axes.scatter(values, offsets, s=20, zorder=4, **paint)
        if is_number(row.get("low")) and is_number(row.get("high")):
            low, high = factor * row["low"], factor * row["high"]
            span += [low, high]
            axes.hlines([at], [low], [high], color=plots.ACCENT, linewidth=3.0, zorder=3)
        mean = factor * row["mean"]
        axes.scatter([mean], [at], s=46, marker="D", color=plots.ACCENT, zorder=5)
    real = measure.get("real")
    if is_number(real):
        span.append(factor * real)
        dashes: Any = (0, (4, 3))
        axes.axvline(factor * real, color=plots.MUTED, linewidth=1.1, linestyle=dashes, zorder=1)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.set_xlim(*plots.limits(span))
    axes.locator_params(axis="x", nbins=4)  # numbers such as 0.0025 are wide
    axes.set_yticks(range(len(rows)), names)
    for label in axes.get_yticklabels():
        label.set_color(plots.INK)
    arrow = {"higher": "better →", "lower": "← better"}.get(measure["better"], "")
    axes.set_xlabel(", ".join(w for w in ("%" if factor > 1 else "", arrow) if w), size=8.5)
    return figure


def _cells(table: Sequence[Sequence[int]]) -> list[list[dict[str, Any]]]:
    """Return the cells of a confusion matrix: share of the row, and how dark it is."""
    found = []
    for at, row in enumerate(table):
        total = sum(row) or 1
        found.append(
            [
                {
                    "share": n / total,
                    "tone": round(70.0 * math.sqrt(n / total)),
                    "right": at == column,
                    "text": f"{100.0 * n / total:.0f}" if n else "",
                }
                for column, n in enumerate(row)
            ]
        )
    return found

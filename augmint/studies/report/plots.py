"""The charts of a report, drawn by matplotlib as SVG that takes its colours from the page.

Each chart is drawn twice, wide and narrow, and the page shows the one that fits. Colours are
placeholders that become the style sheet's variables, so that light, dark and print all fit; every
distinction is also made by shape or position. The same numbers always give the same bytes.
"""

from __future__ import annotations

import io
import itertools
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from augmint.studies.report.formats import decimals, is_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Report = Mapping[str, Any]
Draw = Callable[[Report, float], "Figure | None"]

INK, MUTED, RULE, ACCENT = "#010101", "#020202", "#030303", "#040404"
BASE, BAND, CARD, GOOD, BAD = "#050505", "#060606", "#070707", "#080808", "#090909"
_VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    RULE: "rule",
    ACCENT: "accent",
    BASE: "base",
    BAND: "band",
    CARD: "card",
    GOOD: "good",
    BAD: "bad",
}
WIDE, NARROW = 8.4, 3.9
"""Widths of the two versions, in inches; text has the same size in both."""

SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "augmint",
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}


def both(name: str, draw: Draw, report: Report, label: str) -> Markup | None:
    """Return the wide and the narrow version of a chart as inline SVG, or None if it has no data.

    Args:
        name: prefix of every id inside the SVG, so that ids are unique on the page.
        draw: draws the report on a figure of a given width in inches; None where data lack.
        label: what the chart shows, for those who cannot see it.
    """
    parts = []
    for kind, width in (("wide", WIDE), ("narrow", NARROW)):
        figure = draw(report, width)
        if figure is None:
            return None
        parts.append(f'<div class="{kind}">{to_svg(figure, f"{name}-{kind}", label)}</div>')
    return Markup("\n".join(parts))


def to_svg(figure: Figure, prefix: str, label: str) -> str:
    """Return a figure as inline SVG: no namespaces, metadata or comments; colours as variables."""
    plain = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", drawn(figure), flags=re.DOTALL)
    head, rest = plain.split(">", 1)
    box = re.search(r'viewBox="([^"]*)"', head)
    view = box.group(1) if box else "0 0 600 300"
    rest = rest.replace("xlink:href=", "href=")
    rest = re.sub(r'\bid="', f'id="{prefix}-', rest)
    rest = re.sub(r'href="#', f'href="#{prefix}-', rest)
    rest = rest.replace("url(#", f"url(#{prefix}-")
    rest = re.sub(r"font: ((?:\w+ )*)([\d.]+)px [^;\"]*", _font, rest)
    for colour, variable in _VARIABLES.items():
        rest = rest.replace(colour, f"var(--{variable})")
    opening = f'<svg viewBox="{view}" role="img" aria-label="{escape(label)}">'
    return opening + re.sub(r"\n\s*", "\n", rest).strip()


def drawn(figure: Figure, transparent: bool = True) -> str:
    """Return a figure as SVG, from `<svg` on, with the placeholders of its colours."""
    import matplotlib
    from matplotlib.text import Text

    for text in figure.findobj(Text):  # names of the user's are no formulas
        text.set_parse_math(False)
    buffer = io.StringIO()
    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that the measuring font lacks: browsers have it
        figure.savefig(buffer, format="svg", transparent=transparent, metadata={"Date": None})
    found = buffer.getvalue()
    return found[found.index("<svg") :]


def _font(match: re.Match[str]) -> str:
    weight = "; font-weight: 600" if re.search(r"bold|[67]00", match.group(1)) else ""
    return f"font-size: {match.group(2)}px{weight}"


def canvas(width: float, height: float, left: float, bottom: float = 0.44) -> tuple[Figure, Axes]:
    """Return a figure with one frameless plot; margins in inches, so text never moves the plot."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(width, height))
        right, top = 0.16, 0.1
        axes = figure.add_axes(
            (
                left / width,
                bottom / height,
                (width - left - right) / width,
                (height - bottom - top) / height,
            )
        )
        axes.patch.set_visible(False)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.tick_params(length=0, pad=5, labelsize=8.5)
        axes.grid(axis="x", color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, axes


def short(text: object, limit: int = 22) -> str:
    """Return a name on one line, cut at `limit` characters."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _left(names: Sequence[str], width: float) -> float:
    longest = max((len(n) for n in names), default=0)
    return min(0.3 + 0.078 * longest, 0.36 * width)


def _numbers(values: Any) -> list[float]:
    listed = values if isinstance(values, Sequence) and not isinstance(values, str) else ()
    return [float(v) for v in listed if is_number(v)]


def limits(values: Sequence[float], margin: float = 0.09) -> tuple[float, float]:
    """Return ends of an axis that leave a margin beside all values."""
    low, high = min(values), max(values)
    space = (high - low) * margin or max(abs(high) * margin, 0.5)
    return low - space, high + space


def differences(report: Report, width: float) -> Figure | None:
    """Draw each seed's paired difference, the mean, its interval, the delta band and zero."""
    uplift = report.get("uplift") or {}
    found = _numbers(uplift.get("differences"))
    if not found:
        return None
    many = len(found) > 12
    unit = 0.37 if many else 1.0
    positions = [1.35 + unit * i for i in range(len(found))]
    bottom_row = positions[-1] + 1.25
    left = 0.95 if width > 6 else 0.72
    figure, axes = canvas(width, 0.27 * (bottom_row + 1.15) + 0.54, left)
    low, high, mean = uplift.get("low"), uplift.get("high"), uplift.get("mean")
    delta = uplift.get("delta")
    span = [0.0, *found, *(float(v) for v in (low, high, mean) if is_number(v))]
    if is_number(delta):
        span += [delta * 1.15, -delta * 1.15]
        axes.axvspan(-delta, delta, facecolor=BAND, edgecolor="none", zorder=0)
        for edge in (-delta, delta):
            axes.axvline(edge, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2.5)), zorder=1)
    axes.axvline(0.0, color=INK, linewidth=1.2, zorder=2)
    axes.hlines(positions, 0.0, found, color=BASE, linewidth=0.9, zorder=2)
    axes.scatter(found, positions, s=34, facecolor=CARD, edgecolor=BASE, linewidth=1.5, zorder=4)
    _mean_row(axes, uplift, 0.15)
    axes.set_ylim(bottom_row, -1.15)
    axes.set_xlim(*limits(span))
    if is_number(delta):
        _delta_label(axes, float(delta), bottom_row - 0.42, width)
    ticks = [0.15, *positions] if not many else [0.15]
    names = ["mean", *(f"seed {i + 1}" for i in range(len(found)))] if not many else ["mean"]
    axes.set_yticks(ticks, names)
    axes.get_yticklabels()[0].set(color=INK, fontweight="bold")
    unit_name = str(report.get("unit") or "points")
    treatment, baseline = (short(report.get(k) or d, 14) for k, d in _SIDES)
    axes.set_xlabel(
        f"{treatment} minus {baseline}, in {short(unit_name, 14)}", size=8.5, labelpad=4
    )
    _towards(axes, treatment, width)
    return figure


_SIDES = (("treatment", "minted"), ("baseline", "classic"))


def _mean_row(axes: Axes, uplift: Report, row: float) -> None:
    low, high, mean = uplift.get("low"), uplift.get("high"), uplift.get("mean")
    if is_number(low) and is_number(high):
        axes.hlines([row], [low], [high], color=ACCENT, linewidth=4.2, zorder=3)
        axes.vlines([low, high], row - 0.26, row + 0.26, color=ACCENT, linewidth=1.6, zorder=3)
    if is_number(mean):
        axes.scatter(
            [mean],
            [row],
            s=92,
            marker="D",
            facecolor=ACCENT,
            edgecolor=CARD,
            linewidth=1.4,
            zorder=5,
        )


def _delta_label(axes: Axes, delta: float, row: float, width: float) -> None:
    low, high = axes.get_xlim()
    side = 1.0 if high > -low else -1.0  # where there is more room
    text = f"±{decimals(delta, 2)}" + (", smallest effect of interest" if width > 6 else " band")
    place = 0.012 * side * (high - low)
    align = "left" if side > 0 else "right"
    axes.text(place, row, text, ha=align, va="center", size=8.2, color=MUTED, zorder=6)


def _towards(axes: Axes, treatment: str, width: float) -> None:
    low, high = axes.get_xlim()
    worse, better = (
        ("← worse", "better →") if width < 6 else (f"← {treatment} worse", f"{treatment} better →")
    )
    if low < 0:
        axes.text(
            0.0, 1.0, worse, transform=axes.transAxes, ha="left", va="top", size=8.5, color=MUTED
        )
    if high > 0:
        axes.text(
            1.0, 1.0, better, transform=axes.transAxes, ha="right", va="top", size=8.5, color=MUTED
        )


def scores(report: Report, width: float) -> Figure | None:
    """Draw every arm's scores as dots and its mean as a bar, with the baseline's mean as a line."""
    arms = [
        (name, _numbers(arm.get("scores")), arm.get("mean"))
        for name, arm in (report.get("arms") or {}).items()
        if isinstance(arm, Mapping)
    ]
    arms = [a for a in arms if a[1] or is_number(a[2])]
    if not arms:
        return None
    names = [short(a[0], 18) for a in arms]
    figure, axes = canvas(width, 0.36 * len(arms) + 0.6, _left(names, width))
    baseline, treatment = report.get("baseline"), report.get("treatment")
    every: list[float] = []
    for row, (name, values, mean) in enumerate(arms):
        every += values
        colour = ACCENT if name == treatment else BASE
        offsets = [0.16 * math.sin(2.4 * i) for i in range(len(values))]
        axes.scatter(
            values,
            [row + o for o in offsets],
            s=24,
            facecolor=CARD,
            edgecolor=colour,
            linewidth=1.3,
            zorder=3,
        )
        if is_number(mean):
            every.append(mean)
            axes.vlines([mean], row - 0.32, row + 0.32, color=colour, linewidth=3, zorder=4)
        if name == baseline and is_number(mean):
            axes.axvline(mean, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.set_xlim(*limits(every, 0.06))
    axes.set_yticks(range(len(arms)), names)
    for label, (name, _, _) in zip(axes.get_yticklabels(), arms, strict=True):
        label.set(color=INK, fontweight="bold" if name in (baseline, treatment) else "normal")
    held_back = (report.get("data") or {}).get("scored_on") == "held-back"
    scored = "held-back training images" if held_back else "real test images"
    axes.set_xlabel(f"{report.get('metric') or 'score'}, on {scored}", size=8.5)
    return figure


def classes(report: Report, width: float, most: int = 40) -> Figure | None:
    """Draw each class's difference with its interval; hollow where no arrow is given."""
    rows = [r for r in report.get("per_class") or [] if is_number(r.get("difference"))]
    if not rows or len(rows) > most:
        return None
    names = [short(r.get("class"), 18) for r in rows]
    figure, axes = canvas(width, 0.27 * len(rows) + 0.62, _left(names, width))
    span = [0.0]
    for row, item in enumerate(rows):
        difference, low, high = (item.get(k) for k in ("difference", "low", "high"))
        told = item.get("arrow") in ("up", "down")
        span.append(difference)
        if is_number(low) and is_number(high):
            span += [low, high]
            axes.hlines([row], [low], [high], color=ACCENT if told else BASE, linewidth=1.6)
        axes.scatter(
            [difference],
            [row],
            s=36,
            marker={"up": "^", "down": "v"}.get(item.get("arrow"), "o"),
            facecolor=ACCENT if told else CARD,
            edgecolor=ACCENT if told else BASE,
            linewidth=1.4,
            zorder=3,
        )
    axes.axvline(0.0, color=INK, linewidth=1.2, zorder=1)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(*limits(span, 0.05))
    axes.set_yticks(range(len(rows)), names)
    for label in axes.get_yticklabels():
        label.set_color(INK)
    gap = "\u2003"
    axes.set_xlabel(f"← worse{gap}difference{gap}better →", size=8.5)
    return figure


def curve(report: Report, width: float) -> Figure | None:
    """Draw error against the number of real images, with the fitted power law a + b n^-c."""
    from matplotlib.ticker import FixedLocator, NullLocator

    equivalent = report.get("equivalent") or {}
    points = [p for p in equivalent.get("curve") or [] if is_number(p.get("n")) and p["n"] > 0]
    points = [p for p in points if is_number(p.get("error_mean"))]
    if len(points) < 2:
        return None
    figure, axes = canvas(width, 3.1 if width > 6 else 2.7, 0.72)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    for point in points:
        errors = _numbers(point.get("errors"))
        axes.scatter([point["n"]] * len(errors), errors, s=10, color=BASE, zorder=3)
    sizes = [float(p["n"]) for p in points]
    means = [float(p["error_mean"]) for p in points]
    axes.scatter(sizes, means, s=58, facecolor=CARD, edgecolor=ACCENT, linewidth=1.8, zorder=4)
    fit = equivalent.get("fit") or {}
    if all(is_number(fit.get(k)) for k in "abc"):
        low, high = math.log(min(sizes)), math.log(max(sizes))
        xs = [math.exp(low + (high - low) * i / 60) for i in range(61)]
        ys = [fit["a"] + fit["b"] * x ** -fit["c"] for x in xs]
        axes.plot(xs, ys, color=ACCENT, linewidth=1.6, zorder=2)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sorted(set(sizes))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([decimals(round(s), 0) for s in sorted(set(sizes))])
    axes.set_xlabel("real images a class (logarithmic scale)", size=8.5)
    axes.set_ylabel("error", size=8.5)
    return figure


def losses(report: Report, width: float) -> Figure | None:
    """Draw what was logged while the generator trained, one line a name, told apart by dashes."""
    logs = [
        e for e in (report.get("generator") or {}).get("losses") or [] if is_number(e.get("step"))
    ]
    names = [k for k in dict.fromkeys(itertools.chain(*logs)) if k != "step"][:6]
    lines = {k: [(e["step"], e[k]) for e in logs if is_number(e.get(k))] for k in names}
    lines = {k: v for k, v in lines.items() if len(v) > 1}
    if not lines:
        return None
    figure, axes = canvas(width, 2.9, 0.62)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    styles: list[Any] = ["-", (0, (5, 2)), (0, (1.2, 1.8)), (0, (6, 2, 1.2, 2)), (0, (9, 3)), "-"]
    colours = [ACCENT, INK, BASE, ACCENT, BASE, MUTED]
    for (name, line), style, colour in zip(lines.items(), styles, colours, strict=False):
        xs, ys = zip(*line, strict=True)
        axes.plot(xs, ys, linestyle=style, color=colour, linewidth=1.5, label=short(name))
    axes.set_xlabel("step", size=8.5)
    axes.margins(x=0.01)
    axes.legend(
        frameon=False,
        fontsize=8.5,
        ncols=3 if width > 6 else 2,
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        borderaxespad=0.0,
        labelcolor=INK,
    )
    box = axes.get_position()
    axes.set_position(
        (
            box.x0,
            box.y0,
            box.width,
            box.height - 0.13 - (0.07 if len(lines) > 2 and width < 6 else 0.0),
        )
    )
    return figure


def charts(report: Report) -> dict[str, Markup | None]:
    """Return every chart of a study's report by name; None where the report has no data for it."""
    uplift = report.get("uplift") or {}
    shown = ", ".join(decimals(v, 2) for v in _numbers(uplift.get("differences")))
    return {
        "differences": both("diff", differences, report, f"Paired differences by seed: {shown}"),
        "scores": both("score", scores, report, "Scores of every seed in every arm; see the table"),
        "classes": both("class", classes, report, "Difference by class; see the table"),
        "curve": both("curve", curve, report, "Error against the number of real images"),
        "losses": both("loss", losses, report, "Logged values while the generator trained"),
    }

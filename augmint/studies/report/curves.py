"""Drawings of their own, as SVG files: training losses, intervals, diversity over error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from augmint.studies.report.plots import ACCENT, BASE, INK, MUTED, RULE, SETTINGS, canvas, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {
    INK: "#1d2933",
    MUTED: "#5b6975",
    RULE: "#d5dce2",
    ACCENT: "#0f6b8f",
    BASE: "#8a98a5",
}
"""What the placeholders of `plots` become where no page gives them a colour."""

_STYLES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.2, 1.8)), (0, (6, 2, 1.2, 2)), (0, (9, 3)))


def training_svg(lines: Mapping[str, Sequence[float]], window: int, accent: str) -> str:
    """Return training losses over steps, on a logarithmic scale.

    Args:
        lines: mean losses of windows of steps, by network.
        window: steps of each.
        accent: the network that stands out.
    """
    import matplotlib
    from matplotlib.ticker import FuncFormatter, NullFormatter

    with matplotlib.rc_context(SETTINGS):
        figure, axes = _canvas(8.4, 4.2)
        for i, (name, values) in enumerate(lines.items()):
            steps = [window * (j + 1) for j in range(len(values))]
            told = name == accent
            axes.plot(
                steps,
                values,
                color=ACCENT if told else (BASE, INK)[i // len(_STYLES) % 2],
                linestyle="-" if told else _STYLES[i % len(_STYLES)],
                linewidth=2.4 if told else 1.3,
                label=name,
                zorder=4 if told else 2,
            )
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        axes.set_xlabel("step")
        axes.set_ylabel("training loss, mean over seeds")
        axes.legend(frameon=False, ncols=4, fontsize=8.5, loc="lower left")
        return _svg(figure)


def intervals_svg(
    rows: Sequence[Mapping[str, Any]], delta: float, primary: str, measure: str
) -> str:
    """Return differences of a score with their intervals, in points, one a row.

    Args:
        rows: each with `against`, `mean`, `low`, `high`.
        delta: the smallest effect of interest, as a fraction; drawn as a band.
        primary: the comparison that decides.
        measure: what the score is called.
    """
    import matplotlib

    with matplotlib.rc_context(SETTINGS):
        figure, axes = _canvas(8.4, 0.9 + 0.36 * len(rows), left=1.5)
        axes.axvspan(-100 * delta, 100 * delta, color=RULE, alpha=0.5, zorder=0)
        axes.axvline(0.0, color=INK, linewidth=1.0, zorder=1)
        for at, row in enumerate(rows):
            colour = ACCENT if row["against"] == primary else BASE
            axes.hlines([at], [100 * row["low"]], [100 * row["high"]], color=colour, linewidth=2.2)
            axes.scatter([100 * row["mean"]], [at], s=36, color=colour, zorder=3)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_yticks(range(len(rows)), [str(r["against"]) for r in rows])
        axes.set_xlabel(f"merged minus it, in points of test {measure}; the band is ± delta")
        return _svg(figure)


def trade_svg(curves: Mapping[str, Mapping[str, tuple[float, float]]], error: str) -> str:
    """Return what images asked for something vary by, over how far they miss it.

    Args:
        curves: by method; each its (error, diversity) by weight. The first stands out.
        error: what the error is.
    """
    import matplotlib

    with matplotlib.rc_context(SETTINGS):
        figure, axes = _canvas(8.4, 4.2)
        for i, (method, points) in enumerate(curves.items()):
            colour, order = (BASE, 2) if i else (ACCENT, 3)
            in_order = sorted(points.values())
            axes.plot(
                [e for e, _ in in_order],
                [d for _, d in in_order],
                color=colour,
                linestyle=_STYLES[i % len(_STYLES)],
                marker="o",
                label=method,
                zorder=order,
            )
            for weight, (x, y) in points.items():
                axes.annotate(
                    weight, (x, y), xytext=(5, 5), textcoords="offset points", fontsize=8.5
                )
        axes.margins(0.06, 0.12)
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        axes.set_xlabel(error)
        axes.set_ylabel("MSE between images of one request")
        axes.legend(frameon=False, fontsize=8.5, loc="best")
        return _svg(figure)


def _canvas(width: float, height: float, left: float = 0.85) -> tuple[Figure, Axes]:
    figure, axes = canvas(width, height, left, bottom=0.55)
    figure.set_facecolor("#ffffff")
    axes.grid(visible=False)
    axes.tick_params(which="minor", length=0)
    return figure, axes


def _svg(figure: Figure) -> str:
    text = drawn(figure, transparent=False)
    for placeholder, colour in _COLOURS.items():
        text = text.replace(placeholder, colour)
    return text

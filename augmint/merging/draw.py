"""Pictures of a merge as SVG: parents, parallel graph, each contraction, merged network.

Boxes are layers, from left (input) to right (output). A letter is a label: layers with one letter
are joined in the next step. `×3` says that a layer stands for three; a bar at the left edge of a
box that its inputs are concatenated. Colours go by kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from augmint.merging.contraction import Step
from augmint.merging.graph import INPUT, OUTPUT, Chain, Node, layer_graph
from augmint.merging.layout import Layout, arrange
from augmint.merging.merge import Merge
from augmint.merging.network import Network

BOX_HEIGHT, ROW, GAP, MARGIN, CHARACTER, TITLE = 36.0, 54.0, 46.0, 20.0, 7.2, 34.0
HUES = {"dense": 35, "add": 0, "pool": 0, "unpool": 0}
STYLE = (
    "text{font-family:system-ui,sans-serif;fill:#1c2733}"
    ".h{font-size:15px;font-weight:600}.n{font-size:12px;fill:#5b6875}"
    ".a{font-size:13px;font-weight:600;text-anchor:middle}"
    ".b{font-size:11.5px;text-anchor:middle}"
    ".e{font-size:10.5px;text-anchor:middle;fill:#39505f}"
    ".m{font-size:10px;font-weight:600;text-anchor:end;fill:#5b6875}"
    "path{fill:none;stroke:#8a98a5;stroke-width:1.4}"
)


@dataclass(frozen=True)
class Box:
    """What is written in a box: a bold line, a second line, a corner mark."""

    first: str
    second: str = ""
    corner: str = ""
    fill: str = "#f2f4f6"
    joins: bool = False


@dataclass(frozen=True)
class Picture:
    """A drawn graph without its frame: SVG elements, width, height."""

    body: str
    width: float
    height: float


def draw_merge(merge: Merge) -> dict[str, str]:
    """Return file name to SVG: `parents`, one a step, `merged`.

    Example:
        >>> from augmint.merging.merge import merge_networks
        >>> from augmint.merging.notation import chain
        >>> a, b = (chain(n, (1, 8, 8), f"{k}C:4 3C:1") for n, k in (("a", 3), ("b", 5)))
        >>> sorted(draw_merge(merge_networks([a, b])))
        ['1-parents.svg', '2-parallel.svg', '3-forward.svg', '4-backward.svg', '5-merged.svg']
    """
    steps = merge.contraction.steps
    pictures = {"parents": draw_parents(merge.contraction.as_given)}
    for step in steps:
        pictures[step.name.replace(" ", "-")] = draw_step(
            step, merge.contraction.end, step is steps[-1]
        )
    pictures["merged"] = draw_merged(merge)
    return {f"{i}-{name}.svg": svg for i, (name, svg) in enumerate(pictures.items(), 1)}


def draw_parents(parents: Sequence[Network]) -> str:
    """Return all parents, one below the other.

    Example:
        >>> from augmint.merging.notation import chain
        >>> svg = draw_parents([chain("a", (1, 8, 8), "3C:4 2P 10F")])
        >>> [text in svg for text in (">3C<", ">4 ch<", ">2P<", ">10F<")]
        [True, True, True, True]
    """
    pictures = []
    for parent in parents:
        graph = layer_graph(parent)
        boxes = {
            n: _layer_box(d["node"], f"{d['node'].width}") if d else Box(str(n))
            for n, d in graph.nodes(data=True)
        }
        edges = {(u, v): _edge_text(d["chains"]) for u, v, d in graph.edges(data=True)}
        pictures.append((parent.name, _draw(boxes, edges)))
    return _stack(f"{len(parents)} parents", "below each kernel: its channels", pictures)


def draw_step(step: Step, end: int | None = None, last: bool = False) -> str:
    """Return one step: every layer with its letter and label.

    Example:
        >>> from augmint.merging.contraction import contract
        >>> from augmint.merging.notation import chain
        >>> merged = contract([chain(k, (1, 8, 8), f"3C:4 {k}C:4 3C:1") for k in "57"])
        >>> "After the forward pass: 3 layers" in draw_step(merged.steps[1])
        True
    """
    boxes = {}
    for n, data in step.graph.nodes(data=True):
        if n in step.labels:
            label = step.labels[n]
            count = len(data["members"])
            boxes[n] = Box(
                label.letter, str(label), f"×{count}" if count > 1 else "", _fill(data["node"])
            )
        elif n == end:
            boxes[n] = _layer_box(data["node"], "output layer")
        else:
            boxes[n] = Box(str(n))
    edges = dict.fromkeys(step.graph.edges, "")
    titles = {"parallel": "All parents with one input and one output"}
    title = titles.get(step.name, f"After the {step.name} pass")
    side = "input" if step.direction == "forward" else "output"
    note = f"letters: (structure, distance from the {side})"
    note += "" if last else "; equal letters are joined next where the guard allows it"
    return _stack(f"{title}: {step.nodes} layers", note, [("", _draw(boxes, edges))])


def draw_merged(merge: Merge) -> str:
    """Return the merged network: kernels, channels, what is concatenated and pooled where.

    Example:
        >>> from augmint.merging.merge import merge_networks
        >>> from augmint.merging.notation import chain
        >>> twins = [chain(name, (1, 8, 8), "3C:4 3C:2", norm="none") for name in "ab"]
        >>> "merged: 2 layers, 114 parameters" in draw_merged(merge_networks(twins))
        True
    """
    plan, widths = merge.plan, merge.allocation.widths
    boxes: dict[Any, Box] = {INPUT: Box(INPUT, "×".join(map(str, merge.network.shape)))}
    for n in plan.order:
        node = plan.layers[n].node
        many = sum(1 for _ in plan.sources(n)) > 1 and node.kind != "add"
        boxes[n] = _layer_box(node, f"{widths[n]}", many, widths[n])
    edges = {
        (u, v): _edge_text(d["chains"]) for u, v, d in plan.graph.edges(data=True) if v != OUTPUT
    }
    if plan.head is None:
        boxes[OUTPUT] = Box(OUTPUT, "×".join(map(str, plan.outputs)))
        edges |= {(u, OUTPUT): "" for u in plan.graph.predecessors(OUTPUT)}
    else:
        kernel = plan.head.attributes.get("kernel")
        name = f"{kernel[0]}C" if kernel else f"{plan.outputs[0]}F"
        boxes["head"] = Box(name, f"{plan.outputs[0]}", joins=True)
        boxes[OUTPUT] = Box(OUTPUT, "×".join(map(str, plan.outputs)))
        for u, v, d in plan.graph.in_edges(OUTPUT, data=True):
            edges[u, "head" if v == OUTPUT else v] = _edge_text(d["chains"])
        edges["head", OUTPUT] = ""
    count = f"{merge.allocation.count:,}".replace(",", " ")
    title = f"{merge.network.name}: {len(plan.order) + (plan.head is not None)} layers, "
    note = "below each kernel: its channels; a bar: inputs are concatenated"
    return _stack(f"{title}{count} {merge.allocation.measure}", note, [("", _draw(boxes, edges))])


def _layer_box(node: Node, second: str, joins: bool = False, width: int | None = None) -> Box:
    first = node.structure() if node.kind != "dense" else f"{width or node.width}F"
    unit = "" if node.kind == "dense" or not second.isdigit() else " ch"
    second = "" if node.kind == "dense" and second.isdigit() else second + unit
    return Box(first, second, "", _fill(node), joins)


def _fill(node: Node) -> str:
    if node.kind == "conv":
        kernel = max(node.attributes["kernel"])
        return f"hsl({(190 + 26 * (kernel // 2)) % 360},58%,91%)"
    return f"hsl({HUES[node.kind]},{60 if HUES[node.kind] else 0}%,91%)"


def _edge_text(chains: Sequence[Chain]) -> str:
    texts = []
    for chain in chains:
        parts = []
        for op in chain:
            a = op.attributes
            if op.kind == "pool":
                parts.append(_pool_text(a))
            elif op.kind == "unpool":
                parts.append(f"{a['factor'][0]}U" if "factor" in a else f"→{a['size'][0]}")
        texts.append(" ".join(parts))
    return ", ".join(t for t in texts if t)


def _pool_text(a: Mapping[str, Any]) -> str:
    """Return `2P`; `3P/1` where kernel and stride differ; `→1` for pooling to a size."""
    if "stride" not in a:
        return f"→{a['size'][0] or 'all'}"
    kernel, stride = a["kernel"][0], a["stride"][0]
    return f"{stride}P" if kernel == stride else f"{kernel}P/{stride}"


def _draw(boxes: Mapping[Any, Box], edges: Mapping[tuple[Any, Any], str]) -> Picture:
    layout = arrange(list(boxes), list(edges))
    columns = 1 + max(layout.column.values())
    widths = [0.0] * columns
    for n, box in boxes.items():
        length = max(len(box.first), len(box.second))
        widths[layout.column[n]] = max(widths[layout.column[n]], 22 + CHARACTER * length, 46.0)
    lefts = [MARGIN]
    for i, width in enumerate(widths[:-1]):
        texts = [len(t) for (u, _), t in edges.items() if t and layout.column[u] == i]
        room = 30 + 5.5 * max(texts, default=0) * min(len(texts), 6)
        lefts.append(lefts[-1] + width + max(GAP, room))
    lines = _lines(edges, layout, lefts, widths)
    parts = [line.path() for line in lines]
    parts += [
        _box(box, lefts[layout.column[n]], widths[layout.column[n]], layout.height[n])
        for n, box in boxes.items()
    ]
    parts += [line.label() for line in lines]
    places = [y for route in layout.routes.values() for _, y in route]
    tallest = max([*layout.height.values(), *places])
    return Picture("".join(parts), lefts[-1] + widths[-1] + MARGIN, tallest * ROW + BOX_HEIGHT)


@dataclass(frozen=True)
class _Line:
    """An edge: where it begins, the level stretches it passes, its text and where that stands."""

    start: tuple[float, float]
    stops: tuple[tuple[float, float, float], ...]
    text: str
    at: float

    def path(self) -> str:
        """Draw it: level in columns, curved between them."""
        x, y = self.start
        path = [f"M{x:.1f},{y:.1f}"]
        for left, right, level in self.stops:
            bend = (x + left) / 2
            path.append(f"C{bend:.1f},{y:.1f} {bend:.1f},{level:.1f} {left:.1f},{level:.1f}")
            path.append(f"L{right:.1f},{level:.1f}")
            x, y = right, level
        return f'<path marker-end="url(#tip)" d="{" ".join(path)}"/>'

    def label(self) -> str:
        """Write its text on its first curve."""
        if not self.text:
            return ""
        (x, y), (left, _, level), t = self.start, self.stops[0], self.at
        ahead = 3 * t * (1 - t) * 0.5 + t**3  # how far along both axes a cubic with level ends is
        across = 3 * t**2 * (1 - t) + t**3
        at, on = x + (left - x) * ahead, y + (level - y) * across
        width = 6.5 * len(self.text) + 6
        return (
            f'<rect x="{at - width / 2:.1f}" y="{on - 7.5:.1f}" width="{width:.1f}" height="15" '
            f'rx="3" fill="#ffffff" fill-opacity="0.9"/>'
            f'<text class="e" x="{at:.1f}" y="{on + 3.5:.1f}">{escape(self.text)}</text>'
        )


def _lines(
    edges: Mapping[tuple[Any, Any], str], layout: Layout, lefts: list[float], widths: list[float]
) -> list[_Line]:
    """Route all edges; several at one box spread over its side, their texts over the gap."""

    def first(edge: tuple[Any, Any]) -> float:
        route = layout.routes[edge]
        return route[0][1] if route else layout.height[edge[1]]

    def last(edge: tuple[Any, Any]) -> float:
        route = layout.routes[edge]
        return route[-1][1] if route else layout.height[edge[0]]

    leaving = {e: _port(e, [x for x in edges if x[0] == e[0]], first) for e in edges}
    coming = {e: _port(e, [x for x in edges if x[1] == e[1]], last) for e in edges}
    lines = []
    half = BOX_HEIGHT / 2
    for edge, text in edges.items():
        u, v = edge
        c = layout.column[u]
        start = (lefts[c] + widths[c], layout.height[u] * ROW + half + leaving[edge])
        stops = [
            (lefts[int(i)], lefts[int(i)] + widths[int(i)], y * ROW + half)
            for i, y in layout.routes[edge]
        ]
        end = lefts[layout.column[v]]
        stops.append((end, end, layout.height[v] * ROW + half + coming[edge]))
        beside = [e for e, t in edges.items() if t and layout.column[e[0]] == c]
        beside.sort(key=lambda e: (layout.height[e[1]], layout.height[e[0]]))
        place = beside.index(edge) if text else 0
        at = 0.5 if len(beside) < 2 else 0.25 + 0.5 * place / (len(beside) - 1)
        lines.append(_Line(start, tuple(stops), text, at))
    return lines


def _port(edge: Any, all_of_them: list[Any], height: Callable[[Any], float]) -> float:
    """Return how far from the middle of its box an edge ends."""
    ordered = sorted(all_of_them, key=height)
    step = min(7.0, 22.0 / max(len(ordered) - 1, 1))
    return (ordered.index(edge) - (len(ordered) - 1) / 2) * step


def _box(box: Box, left: float, width: float, row: float) -> str:
    top, middle = row * ROW, left + width / 2
    parts = [
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{BOX_HEIGHT}" rx="5" '
        f'fill="{box.fill}" stroke="#7c8b99"/>'
    ]
    if box.joins:
        parts.append(
            f'<rect x="{left - 2:.1f}" y="{top + 3:.1f}" width="4" height="{BOX_HEIGHT - 6}" '
            'fill="#39505f"/>'
        )
    y = top + (15 if box.second else 23)
    parts.append(f'<text class="a" x="{middle:.1f}" y="{y:.1f}">{escape(box.first)}</text>')
    if box.second:
        parts.append(
            f'<text class="b" x="{middle:.1f}" y="{top + 29:.1f}">{escape(box.second)}</text>'
        )
    if box.corner:
        parts.append(
            f'<text class="m" x="{left + width - 4:.1f}" y="{top + 11:.1f}">'
            f"{escape(box.corner)}</text>"
        )
    return "".join(parts)


def _stack(title: str, note: str, pictures: Sequence[tuple[str, Picture]]) -> str:
    """Put pictures below each other, under a title."""
    y = 2 * MARGIN + TITLE
    parts = []
    for name, picture in pictures:
        if name:
            parts.append(f'<text class="n" x="{MARGIN}" y="{y:.1f}">{escape(name)}</text>')
            y += 10
        parts.append(f'<g transform="translate(0,{y:.1f})">{picture.body}</g>')
        y += picture.height + 1.6 * MARGIN
    width = max(max(p.width for _, p in pictures), 8.0 * len(title) + 40, 6.5 * len(note) + 40)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{y:.0f}" '
        f'viewBox="0 0 {width:.0f} {y:.0f}" role="img"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style><defs>"
        '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0,0.5 L7,4 L0,7.5 Z" style="fill:#8a98a5;stroke:none"/></marker>'
        "</defs>"
        f'<rect width="100%" height="100%" fill="#ffffff"/>'
        f'<text class="h" x="{MARGIN}" y="{MARGIN + 8}">{escape(title)}</text>'
        f'<text class="n" x="{MARGIN}" y="{MARGIN + 27}">{escape(note)}</text>'
        f"{''.join(parts)}</svg>\n"
    )

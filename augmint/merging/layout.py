"""A layered layout: where the boxes of a graph stand, and how its edges run.

Nodes stand in columns by their longest way from a source; an edge that passes columns is held by a
place in each. Within columns the order is swept to few crossings (Sugiyama et al. 1981), then
heights are the least-squares nearest to the neighbours' mean that keep the distances.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Node = Hashable
Point = tuple[float, float]
SWEEPS, RELAXATIONS = 12, 80


@dataclass(frozen=True)
class Layout:
    """Column and height of every node, and the points through which each edge runs.

    Args:
        column: 0 for sources.
        height: in rows; neighbours in a column are at least 1 apart.
        routes: (column, height) of the places that hold a long edge, ends excluded.
    """

    column: dict[Node, int]
    height: dict[Node, float]
    routes: dict[tuple[Node, Node], list[Point]]


def arrange(nodes: Sequence[Node], edges: Sequence[tuple[Node, Node]]) -> Layout:
    """Return a layout of a graph without cycles.

    Args:
        nodes: in a preferred order from top to bottom.
        edges: (from, to).

    Example:
        >>> found = arrange("abc", [("a", "b"), ("b", "c"), ("a", "c")])
        >>> found.column, [len(r) for r in found.routes.values()]
        ({'a': 0, 'b': 1, 'c': 2}, [0, 0, 1])
    """
    column = _columns(nodes, edges)
    ranks: list[list[Node]] = [[] for _ in range(1 + max(column.values(), default=0))]
    for node in nodes:
        ranks[column[node]].append(node)
    pieces, held = _hold(ranks, column, edges)
    _sweep(ranks, pieces)
    height = _heights(ranks, pieces, set(nodes))
    routes = {
        edge: [(float(column[edge[0]] + 1 + i), height[place]) for i, place in enumerate(places)]
        for edge, places in held.items()
    }
    return Layout(column, {n: height[n] for n in nodes}, routes)


def _columns(nodes: Sequence[Node], edges: Sequence[tuple[Node, Node]]) -> dict[Node, int]:
    before: dict[Node, list[Node]] = {n: [] for n in nodes}
    for u, v in edges:
        before[v].append(u)
    column: dict[Node, int] = {}
    todo = list(nodes)
    while todo:
        ready = [n for n in todo if all(u in column for u in before[n])]
        for n in ready:
            column[n] = max((column[u] + 1 for u in before[n]), default=0)
        todo = [n for n in todo if n not in column]
    return column


def _hold(
    ranks: list[list[Node]], column: Mapping[Node, int], edges: Sequence[tuple[Node, Node]]
) -> tuple[list[tuple[Node, Node]], dict[tuple[Node, Node], list[Node]]]:
    """Cut long edges into pieces of one column each."""
    pieces: list[tuple[Node, Node]] = []
    held: dict[tuple[Node, Node], list[Node]] = {}
    for edge in edges:
        u, v = edge
        places: list[Node] = [("hold", u, v, c) for c in range(column[u] + 1, column[v])]
        for c, place in enumerate(places, column[u] + 1):
            ranks[c].append(place)
        held[edge] = places
        way = [u, *places, v]
        pieces += list(pairwise(way))
    return pieces, held


def _sweep(ranks: list[list[Node]], pieces: Sequence[tuple[Node, Node]]) -> None:
    """Order each column by the mean place of its neighbours, to and fro; keep the best order."""
    before: dict[Node, list[Node]] = {}
    after: dict[Node, list[Node]] = {}
    for u, v in pieces:
        after.setdefault(u, []).append(v)
        before.setdefault(v, []).append(u)
    best, fewest = [r[:] for r in ranks], _crossings(ranks, after)
    for sweep in range(SWEEPS):
        towards = before if sweep % 2 == 0 else after
        order = range(len(ranks)) if sweep % 2 == 0 else reversed(range(len(ranks)))
        place = {n: i for rank in ranks for i, n in enumerate(rank)}
        for r in order:
            mean = {
                n: sum(place[m] for m in towards[n]) / len(towards[n]) if n in towards else place[n]
                for n in ranks[r]
            }
            ranks[r].sort(key=lambda n, mean=mean: mean[n])  # type: ignore[misc]
            place |= {n: i for i, n in enumerate(ranks[r])}
        found = _crossings(ranks, after)
        if found < fewest:
            best, fewest = [r[:] for r in ranks], found
        if fewest == 0:
            break
    ranks[:] = best


def _crossings(ranks: list[list[Node]], after: Mapping[Node, Sequence[Node]]) -> int:
    count = 0
    for left, right in pairwise(ranks):
        place = {n: i for i, n in enumerate(right)}
        ends = [place[v] for u in left for v in sorted(after.get(u, ()), key=place.__getitem__)]
        count += sum(a > b for i, a in enumerate(ends) for b in ends[i + 1 :])
    return count


def _heights(
    ranks: list[list[Node]], pieces: Sequence[tuple[Node, Node]], real: set[Node]
) -> dict[Node, float]:
    near: dict[Node, list[Node]] = {n: [] for rank in ranks for n in rank}
    for u, v in pieces:
        near[u].append(v)
        near[v].append(u)
    height = {n: float(i) for rank in ranks for i, n in enumerate(rank)}
    for turn in range(RELAXATIONS):
        for rank in ranks if turn % 2 == 0 else reversed(ranks):
            wish = [
                sum(height[m] for m in near[n]) / len(near[n]) if near[n] else height[n]
                for n in rank
            ]
            gaps = [1.0 if a in real and b in real else 0.7 for a, b in pairwise(rank)]
            for n, y in zip(rank, _spread(wish, gaps), strict=True):
                height[n] = y
    lowest = min(height.values(), default=0.0)
    return {n: y - lowest for n, y in height.items()}


def _spread(wish: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """Return the nearest values (least squares) that keep the order and the gaps."""
    offset = [0.0]
    for gap in gaps:
        offset.append(offset[-1] + gap)
    blocks: list[tuple[float, int]] = []
    for w, o in zip(wish, offset, strict=False):
        mean, size = w - o, 1
        while blocks and blocks[-1][0] > mean:
            other, n = blocks.pop()
            mean, size = (mean * size + other * n) / (size + n), size + n
        blocks.append((mean, size))
    flat = [mean for mean, size in blocks for _ in range(size)]
    return [y + o for y, o in zip(flat, offset, strict=False)]

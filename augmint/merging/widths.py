"""Channels for a budget: relative widths are kept, one scale is searched.

With relative widths w_l (those of the parents) every free layer gets

    c_l = m_l · max(1, round(s · w_l / m_l))

channels, where m_l is 1 or what its groups need. The parameters

    Σ_l k_l² · c_l · Σ_{p before l} c_p / groups_l + biases + normalisation

(or the multiplications) grow with s; the largest s within the budget is found by bisection, then
single layers are moved step by step while that comes closer, no further than a fifth of their width
(or one step). Dense layers keep their relative width
too, unless their values become a map.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

from augmint.core.errors import UsageError
from augmint.merging.graph import INPUT, OUTPUT, Chain
from augmint.merging.network import Layer, Network
from augmint.merging.plan import Plan, arriving
from augmint.merging.shapes import parameters, totals

Measure = Literal["parameters", "multiplications"]
TOLERANCE, CLOSE = 0.01, 0.0025
LARGEST_SCALE = 2.0**20


@dataclass(frozen=True)
class Allocation:
    """Widths, and how close they come.

    Args:
        widths: channels by node.
        count: what the widths cost.
        budget: what was asked for; None if the widths are the parents'.
        measure: what is counted.
        scale: s.

    Example:
        >>> near = Allocation({}, 1009, 1000, "parameters", 1.0)
        >>> round(near.deviation, 3), near.within
        (0.009, True)
    """

    widths: dict[int, int]
    count: int
    budget: int | None
    measure: Measure
    scale: float

    @property
    def deviation(self) -> float:
        """`count / budget - 1`."""
        return 0.0 if self.budget is None else self.count / self.budget - 1.0

    @property
    def within(self) -> bool:
        """Whether the count lies within 1 % of the budget."""
        return abs(self.deviation) <= TOLERANCE


def parse_budget(
    text: str | float | None, parents: Sequence[Network], measure: Measure = "parameters"
) -> int | None:
    """Return the number that a budget means: "1.0x" of the mean parent, "80000", "80k", "1.2M".

    Raises:
        UsageError: if it is none of these.

    Example:
        >>> parse_budget("80k", []), parse_budget(1200, []), parse_budget(None, [])
        (80000, 1200, None)
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([xkMG]?)", str(text).strip())
    if match is None or float(match[1]) <= 0:
        raise UsageError(
            "a budget is a multiple of the mean parent or a number",
            text,
            "pass budget='1.0x' or budget=80000 (--budget 1.0x, --budget 80k)",
        )
    unit = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
    if match[2] == "x":
        counts = [totals(parent)[measure] for parent in parents]
        return round(float(match[1]) * sum(counts) / len(counts))
    return round(float(match[1]) * unit[match[2]])


class Cost:
    """Counts parameters or multiplications of a plan for given widths, quickly.

    Everything is a sum of terms a · c_u · c_v, a · c_u and constants, worked out once.

    Example:
        >>> from augmint.merging.merge import merge_networks
        >>> from augmint.merging.notation import chain
        >>> merge = merge_networks([chain(k, (1, 8, 8), f"{k}C:4 2P 3C:1") for k in "35"])
        >>> groups = {merge.plan.layers[n].group: w for n, w in merge.allocation.widths.items()}
        >>> Cost(merge.plan).count(groups) == totals(merge.network)["parameters"]
        True
    """

    def __init__(self, plan: Plan, measure: Measure = "parameters") -> None:
        self.plan, self.measure = plan, measure
        self.rows = [self._row(name) for name in plan.order]
        self.constant = 0
        self.linear: dict[int | str, int] = {INPUT: 0, **dict.fromkeys(plan.order, 0)}
        if measure == "parameters":
            self._trailing()

    def _row(self, name: int) -> tuple[int, str, int, int, tuple[tuple[Any, float], ...]]:
        node = self.plan.layers[name].node
        a = node.attributes
        branches = self._branches(name)
        if node.kind not in ("conv", "dense"):
            return name, node.kind, 0, 0, branches
        area = 1
        if node.kind == "conv" and self.measure == "multiplications":
            area = prod(node.size_in[0] if a.get("transposed") else node.size_out)
        kernel = prod(a["kernel"]) * area if node.kind == "conv" else 1
        bias = int(a["bias"]) if self.measure == "parameters" else 0
        if node.depthwise:
            return name, "depthwise", kernel * a["multiplier"], bias * a["multiplier"], branches
        return name, "free", kernel, bias, branches

    def _branches(self, name: int | str) -> tuple[tuple[Any, float], ...]:
        """Return what each branch brings: (node, channels a channel) or (None, channels)."""
        found: list[tuple[Any, float]] = []
        for u, chain in self.plan.sources(name):
            known = u == INPUT or any(op.kind == "reshape" for op in chain)
            width = self.plan.layers[int(u)].relative if u != INPUT else 0
            arrived = arriving(self.plan, u, chain, width if known else 1)[0]
            found.append((None if known else u, arrived))
        return tuple(found)

    def _trailing(self) -> None:
        """Add up scales and shifts behind layers and on edges; equal beginnings are shared."""
        seen: set[tuple[int | str, Chain]] = set()
        for name in self.plan.order:
            self._add(name, self.plan.layers[name].node.post, self.plan.layers[name].fixed, name)
        targets: list[int | str] = [*self.plan.order, OUTPUT]
        for v in targets:
            for u, chain in self.plan.sources(v):
                for i in range(1, len(chain) + 1):
                    if (u, chain[:i]) not in seen:
                        seen.add((u, chain[:i]))
                        self._add(u, chain[:i], u == INPUT or self.plan.layers[int(u)].fixed, None)

    def _add(self, u: int | str, chain: Chain, fixed: bool, whole: int | None) -> None:
        """Add the last operation of a chain, or all of them behind a layer (`whole`)."""
        ends = range(1, len(chain) + 1) if whole is not None else (len(chain),)
        for end in ends:
            op = chain[end - 1]
            layer = Layer("x", op.kind, ("y",), op.attributes)

            def count(width: int, end: int = end, layer: Layer = layer) -> int:
                return parameters(layer, [arriving(self.plan, u, chain[: end - 1], width)])

            if op.kind not in ("norm", "activation"):
                continue
            if fixed:
                width = self.plan.layers[int(u)].relative if u != INPUT else 0
                self.constant += count(width)
                continue
            slope = count(2) - count(1)
            self.linear[u] += slope
            self.constant += count(1) - slope

    def widths(self, groups: dict[int, int]) -> dict[int | str, int]:
        """Return the width of every node, those that follow from others included."""
        found: dict[int | str, int] = {}
        for name, kind, _, _, branches in self.rows:
            planned = self.plan.layers[name]
            if kind in ("free", "add") and planned.group is not None:
                found[name] = groups[planned.group]
                continue
            arrived = sum(int(a if u is None else found[u] * a) for u, a in branches)
            many = planned.node.attributes["multiplier"] if kind == "depthwise" else 1
            found[name] = arrived * many
        return found

    def count(self, groups: dict[int, int]) -> int:
        """Return the total for the widths of the groups."""
        found = self.widths(groups)
        total = self.constant
        for name, kind, kernel, bias, branches in self.rows:
            if kernel:
                arrived = sum(int(a if u is None else found[u] * a) for u, a in branches)
                if kind == "depthwise":
                    total += (kernel + bias) * arrived
                else:
                    grouped = self.plan.layers[name].node.attributes.get("groups", 1)
                    total += (kernel * arrived // grouped + bias) * found[name]
            if not self.plan.layers[name].fixed:
                total += self.linear[name] * found[name]
        return total + self._head(found)

    def _head(self, found: dict[int | str, int]) -> int:
        head = self.plan.head
        if head is None:
            return 0
        kernel = prod(head.attributes.get("kernel", (1,)))
        area = 1 if self.measure == "parameters" else prod(self.plan.outputs[1:])
        arrived = 0
        for u, chain in self.plan.sources(OUTPUT):
            width = found[u] if u != INPUT else 0
            arrived += arriving(self.plan, u, chain, width)[0]
        outputs = self.plan.outputs[0]
        post = parameters_of(self.plan.head_post, self.plan.outputs)
        extra = outputs + post if self.measure == "parameters" else 0
        return kernel * area * arrived * outputs + extra


def parameters_of(chain: Chain, shape: tuple[int, ...]) -> int:
    """Return the parameters of operations that keep the shape.

    Example:
        >>> from augmint.merging.graph import Op
        >>> parameters_of((Op("norm", (("affine", True), ("mode", "batch"))),), (4, 8, 8))
        8
    """
    return sum(parameters(Layer("x", op.kind, ("y",), op.attributes), [shape]) for op in chain)


def allocate(plan: Plan, budget: int | None, measure: Measure = "parameters") -> Allocation:
    """Return widths whose cost comes closest to the budget.

    Args:
        plan: of the merged network.
        budget: parameters or multiplications; None keeps the parents' widths.
        measure: what the budget counts.

    Raises:
        UsageError: if even the narrowest widths cost more than 1 % above the budget.

    Example:
        >>> from augmint.merging.merge import merge_networks
        >>> from augmint.merging.notation import chain
        >>> twins = [chain(name, (1, 8, 8), "3C:4 3C:8 3C:1", norm="none") for name in "ab"]
        >>> plan = merge_networks(twins).plan
        >>> [list(allocate(plan, budget).widths.values()) for budget in (None, 80 + 1168 + 145)]
        [[4, 8, 1], [8, 16, 1]]
    """
    cost = Cost(plan, measure)
    search = _Search(plan, cost)
    if budget is None:
        groups = search.at(1.0)
        return Allocation(_plain(cost, groups), cost.count(groups), None, measure, 1.0)
    least = search.at(0.0)
    smallest = cost.count(least)
    if smallest > (1 + TOLERANCE) * budget:
        raise UsageError(
            f"the merged network has at least {smallest} {measure}, with one channel a layer",
            f"a budget of {budget}",
            f"give a budget of {smallest} or more (--budget {smallest})",
        )
    scale = search.scale(budget)
    groups = search.closer(search.at(scale), scale, budget)
    return Allocation(_plain(cost, groups), cost.count(groups), budget, measure, scale)


def _plain(cost: Cost, groups: dict[int, int]) -> dict[int, int]:
    return {int(k): v for k, v in cost.widths(groups).items()}


def slack(width: int, step: int) -> int:
    """Return how far a width may be moved from the one that its scale gives.

    Example:
        >>> slack(8, 1), slack(32, 1), slack(8, 4)
        (1, 6, 4)
    """
    return max(width // 5, step)


class _Search:
    """Looks for the widths."""

    def __init__(self, plan: Plan, cost: Cost) -> None:
        self.cost, self.steps = cost, plan.steps
        self.fixed: dict[int, int] = {}
        self.relative: dict[int, int] = {}
        for planned in plan.layers.values():
            if planned.group is None:
                continue
            table = self.fixed if planned.fixed else self.relative
            table[planned.group] = max(table.get(planned.group, 0), planned.relative)

    def at(self, scale: float) -> dict[int, int]:
        """Return the widths at a scale."""
        free = {
            g: m * max(1, round(scale * w / m))
            for g, w in self.relative.items()
            for m in (self.steps[g],)
        }
        return free | self.fixed

    def scale(self, budget: int) -> float:
        """Return the largest scale within the budget (0 if there is none)."""
        high = 1.0
        while self.cost.count(self.at(high)) <= budget and high < LARGEST_SCALE:
            high *= 2
        low = 0.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (
                (middle, high) if self.cost.count(self.at(middle)) <= budget else (low, middle)
            )
            if self.at(low) == self.at(high):
                break
        return low

    def closer(self, groups: dict[int, int], scale: float, budget: int) -> dict[int, int]:
        """Move single widths by one step at a time, within `slack`, until the budget is close."""
        start = dict(groups)
        best = abs(self.cost.count(groups) - budget)
        while best > CLOSE * budget:
            moves = []
            for g in self.relative:
                for way in (self.steps[g], -self.steps[g]):
                    moved = groups[g] + way
                    if moved >= 1 and abs(moved - start[g]) <= slack(start[g], self.steps[g]):
                        trial = groups | {g: moved}
                        miss = abs(self.cost.count(trial) - budget)
                        # of equal gains the one that stays nearer to the relative widths
                        moves.append((miss, abs(moved - scale * self.relative[g]), g, trial))
            if not moves or min(moves, key=_first)[0] >= best:
                break
            best, _, _, groups = min(moves, key=_first)
        return groups


def _first(move: tuple[int, float, int, dict[int, int]]) -> tuple[int, float, int]:
    return move[:3]

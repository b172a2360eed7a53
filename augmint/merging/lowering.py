"""The contracted graph, with widths, as a list of operations again.

A layer with several branches gets their concatenation, in the order of the graph. Each branch
passes through the pooling, un-pooling and flattening that it had in its parent ("recalled"); what
two branches share is done once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from augmint.merging.graph import INPUT, OUTPUT, Chain, Node, Op
from augmint.merging.network import Layer, Network
from augmint.merging.plan import Plan

NAMES = {"norm": "norm", "activation": "act", "flatten": "flat", "dropout": "drop"}


@dataclass
class Lowered:
    """A merged network and where its layers come from.

    Args:
        network: the operations.
        names: node to the name of its operation.
        branches: operation to its inputs in order: where from, and the name of the value.
        passes: operation on an edge to the node whose value passes through it.
        origins: operation behind a layer or on an edge to the parents' operations that it stands
            for, as (parent, operation).
    """

    network: Network
    names: dict[int | str, str]
    branches: dict[str, list[tuple[int | str, str]]]
    passes: dict[str, int | str]
    origins: dict[str, list[tuple[str, str]]]


@dataclass
class _Writer:
    plan: Plan
    widths: dict[int, int]
    layers: list[Layer] = field(default_factory=list)
    ends: dict[int | str, str] = field(default_factory=dict)
    names: dict[int | str, str] = field(default_factory=dict)
    branches: dict[str, list[tuple[int | str, str]]] = field(default_factory=dict)
    passes: dict[str, int | str] = field(default_factory=dict)
    origins: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    values: dict[tuple[int | str, Chain], str] = field(default_factory=dict)

    def write(self, name: str) -> Lowered:
        self._add(INPUT, "input", (), {})
        self.ends[INPUT] = INPUT
        for number, node in enumerate(self.plan.order, 1):
            self._layer(node, number)
        if self.plan.head is not None:
            self._head(self.plan.head)
        else:
            (branch,) = self.plan.sources(OUTPUT)
            last = self._value(*branch)
            if last != self.layers[-1].name:
                self._move_last(last)
        parent = self.plan.contraction.parents[0]
        network = Network(name, tuple(parent.shape), tuple(self.layers))
        return Lowered(network, self.names, self.branches, self.passes, self.origins)

    def _move_last(self, last: str) -> None:
        """The output stands last; values nothing takes are left out."""
        needed: set[str] = set()
        todo = [last]
        by_name = {layer.name: layer for layer in self.layers}
        while todo:
            name = todo.pop()
            if name not in needed:
                needed.add(name)
                layer = by_name[name]
                todo += [*layer.inputs, *filter(None, [layer.attributes.get("of")])]
        kept = [layer for layer in self.layers if layer.name in needed and layer.name != last]
        self.layers = [*kept, by_name[last]]

    def _add(
        self, name: str, kind: str, inputs: tuple[str, ...], attributes: dict[str, Any]
    ) -> str:
        base, count = name, 2
        while name in self.taken:
            name, count = f"{base}:{count}", count + 1
        self.taken.add(name)
        self.layers.append(Layer(name, kind, inputs, attributes))
        return name

    def _layer(self, node: int, number: int) -> None:
        planned = self.plan.layers[node]
        own = planned.node
        base = f"{number}-{_title(own, self.widths[node])}"
        attributes = {k: v for k, v in own.attributes.items() if k not in ("multiplier", "tag")}
        if own.kind in ("conv", "dense"):
            attributes["outputs"] = self.widths[node]
            if own.depthwise:
                attributes["groups"] = self.widths[node] // own.attributes["multiplier"]
        inputs = tuple(self._value(u, chain) for u, chain in self.plan.sources(node))
        if own.kind != "add" and len(inputs) > 1:
            inputs = (self._add(f"{base}-concat", "concat", inputs, {}),)
        self._add(base, own.kind, inputs, attributes)
        self.names[node] = base
        self.branches[base] = [(u, self._value(u, c)) for u, c in self.plan.sources(node)]
        members = self.plan.graph.nodes[node]["members"]
        self.ends[node] = self._post(base, own.post, [m.post for m in members])

    def _post(self, base: str, post: Chain, members: Sequence[Chain] = ()) -> str:
        last = base
        for i, op in enumerate(post):
            name = f"{base}-{NAMES.get(op.kind, op.kind)}"
            last = self._add(name, op.kind, (last,), op.attributes)
            self.origins[last] = [m[i].origin for m in members if m == post]
        return last

    def _value(self, u: int | str, chain: Chain) -> str:
        if not chain:
            return self.ends[u]
        if (u, chain) not in self.values:
            before = self._value(u, chain[:-1])
            self.values[u, chain] = self._op(u, chain, before)
        return self.values[u, chain]

    def _op(self, u: int | str, chain: Chain, before: str) -> str:
        op: Op = chain[-1]
        attributes = {k: v for k, v in op.attributes.items() if k != "recalled"}
        name = f"{before}-{NAMES.get(op.kind, op.kind)}"
        if op.kind == "pool" and "stride" in attributes:
            name += str(attributes["stride"][0])
        if (u, chain) in self.plan.recalled:
            attributes["of"] = self._value(*self.plan.recalled[u, chain])
        name = self._add(name, op.kind, (before,), attributes)
        self.origins[name] = [op.origin]
        self.passes[name] = u
        return name

    def _head(self, head: Layer) -> None:
        inputs = tuple(self._value(u, chain) for u, chain in self.plan.sources(OUTPUT))
        self.branches[head.name] = [(u, self._value(u, c)) for u, c in self.plan.sources(OUTPUT)]
        if len(inputs) > 1:
            inputs = (self._add("head-concat", "concat", inputs, {}),)
        self._add(head.name, head.kind, inputs, dict(head.attributes))
        self.names[OUTPUT] = head.name
        self._post(head.name, self.plan.head_post)


def _title(node: Node, width: int) -> str:
    if node.kind == "dense":
        return f"{width}F"
    return node.structure().replace("/", "s").replace("+", "sum")


def lower(plan: Plan, widths: dict[int, int], name: str = "merged") -> Lowered:
    """Return the merged network as operations.

    Args:
        plan: of the contracted graph.
        widths: channels by node, as `widths.allocate` gives them.
        name: of the network.

    Example:
        >>> from augmint.merging.merge import merge_networks
        >>> from augmint.merging.notation import chain
        >>> merge = merge_networks([chain(k, (1, 8, 8), f"{k}C:4 3C:1", "none") for k in "35"])
        >>> [layer.name for layer in lower(merge.plan, merge.allocation.widths).network]
        ['input', '1-3C', '1-3C-act', '2-5C', '2-5C-act', '3-3C-concat', '3-3C']
    """
    return _Writer(plan, widths).write(name)

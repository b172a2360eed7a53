"""What a contracted graph still needs before widths can be chosen and a network be written.

Which layers end the network, which widths are free, which must be equal (what a sum adds; what is
un-pooled by recalled indices) or a multiple of something (groups), and where indices are recalled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import lcm
from typing import TYPE_CHECKING

from augmint.merging.contraction import Contraction
from augmint.merging.graph import INPUT, OUTPUT, Chain, Node, Op, shape_after
from augmint.merging.network import Layer
from augmint.merging.notation import convolution
from augmint.merging.shapes import Shape, infer

if TYPE_CHECKING:
    import networkx as nx

HEAD_KERNEL = 3
Prefix = tuple[int | str, Chain]
"""A value on an edge: the node it comes from, and the operations up to it."""


@dataclass
class Planned:
    """One layer of the merged network, its width still open.

    Args:
        node: the layer; what it is joined from lies in the graph.
        relative: its width in the parents (the largest).
        group: which layers share its width; None where its inputs decide.
        fixed: whether the width must stay as it is.
    """

    node: Node
    relative: int
    group: int | None = None
    fixed: bool = False


@dataclass
class Plan:
    """A contracted graph, ready for widths.

    Args:
        contraction: where it comes from.
        graph: the contracted graph; sums whose branches are concatenated are taken out.
        order: layers, each after its inputs.
        layers: by node.
        outputs: shape of the network's output.
        head: the last layer where several branches reach the output, else None.
        tail: what the one branch passes through before the output, where there is no head.
        steps: group to the number that its width must be a multiple of.
        recalled: un-pooling on an edge to the pooled value whose indices it takes.
        notes: what was decided along the way, in words.
    """

    contraction: Contraction
    graph: nx.DiGraph
    order: list[int]
    layers: dict[int, Planned]
    outputs: Shape
    head: Layer | None = None
    head_post: Chain = ()
    tail: Chain = ()
    steps: dict[int, int] = field(default_factory=dict)
    recalled: dict[Prefix, Prefix] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def sources(self, name: int | str) -> Iterator[tuple[int | str, Chain]]:
        """Yield each branch that a layer takes: its origin and the operations on the way."""
        for u in sorted(self.graph.predecessors(name), key=_rank):
            for chain in self.graph.edges[u, name]["chains"]:
                yield u, chain

    def shape(self, name: int | str, width: int) -> Shape:
        """Return the shape of a node's value if it had `width` channels."""
        if name == INPUT:
            return tuple(self.contraction.parents[0].shape)
        return (width, *self.layers[int(name)].node.size_out)


def make_plan(contraction: Contraction, keep_dense: bool = False) -> Plan:
    """Return the plan of a contraction.

    Args:
        contraction: what was contracted.
        keep_dense: dense layers keep their neurons in place of a width for the budget.

    Example:
        >>> from augmint.merging.contraction import contract
        >>> from augmint.merging.notation import chain
        >>> nets = [chain(n, (1, 8, 8), f"{k}C:4 {k}C:1") for n, k in (("a", 3), ("b", 5))]
        >>> make_plan(contract(nets)).head.attributes["kernel"]
        (3, 3)
    """
    import networkx as nx

    graph = contraction.graph.copy()
    first = contraction.parents[0]
    order = [n for n in nx.lexicographical_topological_sort(graph, key=_rank) if _is_layer(n)]
    layers = {
        n: Planned(graph.nodes[n]["node"], max(m.width for m in graph.nodes[n]["members"]))
        for n in order
    }
    plan = Plan(contraction, graph, order, layers, infer(first)[first.output])
    _take_out_wide_sums(plan)
    _find_end(plan)
    if keep_dense:
        for planned in layers.values():
            planned.fixed |= planned.node.kind == "dense"
    ties = _Ties()
    _group(plan, ties)
    _recall(plan, ties)
    _number(plan, ties)
    return plan


def _is_layer(name: int | str) -> bool:
    return name not in (INPUT, OUTPUT)


def _rank(name: int | str) -> tuple[int, int]:
    return (-1, 0) if name == INPUT else (1, 0) if name == OUTPUT else (0, int(name))


class _Ties:
    """Sets of layers with one width."""

    def __init__(self) -> None:
        self.parent: dict[int, int] = {}

    def find(self, name: int) -> int:
        self.parent.setdefault(name, name)
        while self.parent[name] != name:
            name = self.parent[name]
        return name

    def tie(self, a: int, b: int) -> None:
        a, b = sorted((self.find(a), self.find(b)))
        self.parent[b] = a


def _take_out_wide_sums(plan: Plan) -> None:
    """Replace sums of branches whose widths follow from others by concatenation.

    A convolution of the concatenation with the weights of each branch equal is the convolution of
    the sum: nothing that the parent could compute is lost.
    """
    for origin in plan.graph.graph.get("dissolved", []):
        plan.notes.append(f"the sum {origin} became a concatenation")
    for name in list(plan.order):
        node = plan.layers[name].node
        if node.kind != "add" or all(_own_width(plan, u) for u in plan.graph.predecessors(name)):
            continue
        _bypass(plan.graph, name, node.post)
        plan.order.remove(name)
        del plan.layers[name]
        plan.notes.append(f"the sum {':'.join(node.origin)} became a concatenation")


def _own_width(plan: Plan, name: int | str) -> bool:
    """Whether the width of a branch is its own choice, or that of one other layer."""
    if name == INPUT:
        return False
    planned = plan.layers[int(name)]
    if planned.node.kind in ("conv", "dense") and not planned.node.depthwise:
        return True
    if planned.node.kind == "add":
        return True
    before = list(plan.graph.predecessors(name))
    chains = [c for u in before for c in plan.graph.edges[u, name]["chains"]]
    same = not planned.node.depthwise or planned.node.attributes["multiplier"] == 1
    return len(chains) == 1 and same and _own_width(plan, before[0])


def _bypass(graph: nx.DiGraph, name: int, post: Chain) -> None:
    """Connect what leads to a node with what it leads to."""
    for u, _, before in list(graph.in_edges(name, data=True)):
        for _, v, after in list(graph.out_edges(name, data=True)):
            chains = tuple((*b, *post, *a) for b in before["chains"] for a in after["chains"])
            known = graph.edges[u, v]["chains"] if graph.has_edge(u, v) else ()
            graph.add_edge(u, v, chains=known + tuple(c for c in chains if c not in known))
    graph.remove_node(name)


def _find_end(plan: Plan) -> None:
    branches = list(plan.sources(OUTPUT))
    if len(branches) == 1 and branches[0][0] != INPUT:
        name, plan.tail = branches[0]
        if _own_width(plan, name):
            plan.layers[_root(plan, int(name))].fixed = True
            return
    posts = []
    for name in sorted({n for n, _ in branches if n != INPUT}):
        planned = plan.layers[int(name)]
        posts.append(planned.node.post)
        _hide(plan, int(name), planned)
    vector = len(plan.outputs) == 1
    attributes = {"outputs": plan.outputs[0], "bias": True} if vector else convolution(
        HEAD_KERNEL, plan.outputs[0], True
    )  # fmt: skip
    plan.head = Layer("head", "dense" if vector else "conv", (), attributes)
    plan.head_post = posts[0]
    plan.tail = ()
    plan.notes.append(f"{len(branches)} branches reach the output: one more layer maps them to it")
    if len(set(posts)) > 1:
        plan.notes.append("the parents end differently: the output ends as the first one does")


def _root(plan: Plan, name: int) -> int:
    """Return the layer whose width a depthwise layer or a pooling has."""
    if _root_of_width(plan.layers[name].node):
        return name
    return _root(plan, int(next(iter(plan.graph.predecessors(name)))))


def _hide(plan: Plan, name: int, planned: Planned) -> None:
    """Make a parent's last layer a hidden one: width and ending of the layer before it."""
    before = [plan.layers[int(u)] for u in plan.graph.predecessors(name) if u != INPUT]
    alike = [p for p in before if p.node.kind == planned.node.kind] or before
    if planned.node.kind not in ("conv", "dense") or not alike:
        return
    planned.relative = max(planned.relative, *(p.relative for p in alike))
    post = alike[0].node.post
    items = dict(planned.node.items)
    if any(op.kind == "norm" for op in post):
        items["bias"] = False
    planned.node = replace(planned.node, post=post, items=tuple(sorted(items.items())))


def _group(plan: Plan, ties: _Ties) -> None:
    for name, planned in plan.layers.items():
        if planned.node.kind == "add":
            for u in plan.graph.predecessors(name):
                ties.tie(name, _root(plan, int(u)))
        elif planned.node.kind in ("conv", "dense") and not planned.node.depthwise:
            ties.find(name)
    for u, _, data in plan.graph.edges(data=True):
        if u != INPUT and any(op.kind == "reshape" for c in data["chains"] for op in c):
            for root in _roots(plan, u):
                plan.layers[root].fixed = True


def _root_of_width(node: Node) -> bool:
    """Whether the width of a node is chosen, and does not follow from what it takes."""
    return node.kind in ("conv", "dense", "add") and not node.depthwise


def _roots(plan: Plan, name: int | str) -> set[int]:
    """Return the layers whose widths make up the width of a node."""
    if name == INPUT:
        return set()
    if _root_of_width(plan.layers[int(name)].node):
        return {int(name)}
    return {r for u in plan.graph.predecessors(name) for r in _roots(plan, u)}


def _number(plan: Plan, ties: _Ties) -> None:
    for name in ties.parent:
        plan.layers[name].group = ties.find(name)
        plan.steps.setdefault(ties.find(name), 1)
    for planned in plan.layers.values():
        if planned.fixed and planned.group is not None:
            for other in plan.layers.values():
                if other.group == planned.group:
                    other.fixed, other.relative = True, planned.relative
    for name, planned in plan.layers.items():
        _divide_groups(plan, name, planned)
        post = tuple(_divide_norm(plan, name, op) for op in planned.node.post)
        planned.node = replace(planned.node, post=post)
    for u, _, data in plan.graph.edges(data=True):
        data["chains"] = tuple(
            tuple(_divide_norm(plan, u, op) for op in chain) for chain in data["chains"]
        )


def _divide_groups(plan: Plan, name: int, planned: Planned) -> None:
    """Let a grouped convolution and what it takes have multiples of its groups, or no groups."""
    groups = planned.node.attributes.get("groups", 1)
    if groups in (1, "all"):
        return
    before = list(plan.graph.predecessors(name))
    if all(_divides(plan, u, groups) for u in before):
        for u in (name, *before):
            _need(plan, u, groups)
        return
    items = tuple(sorted({**planned.node.attributes, "groups": 1}.items()))
    planned.node = replace(planned.node, items=items)
    text = f"{':'.join(planned.node.origin)} has no groups any more"
    plan.notes.append(f"{text}: not every branch has a multiple of {groups} channels")


def _divide_norm(plan: Plan, name: int | str, op: Op) -> Op:
    """The same for a normalisation in groups."""
    groups = op.attributes.get("groups", 1) if op.kind == "norm" else 1
    if groups == 1:
        return op
    if _divides(plan, name, groups):
        _need(plan, name, groups)
        return op
    text = f"the normalisation {':'.join(op.origin)} has one group now"
    plan.notes.append(f"{text}: its channels are no multiple of {groups}")
    return replace(op, items=tuple(sorted({**op.attributes, "groups": 1}.items())))


def _divides(plan: Plan, name: int | str, groups: int) -> bool:
    """Whether what is fixed of a node's width, the input's channels too, falls into groups."""
    if name == INPUT:
        return plan.contraction.parents[0].shape[0] % groups == 0
    planned = plan.layers[int(name)]
    if _root_of_width(planned.node):
        return not planned.fixed or planned.relative % groups == 0
    return all(_divides(plan, u, groups) for u in plan.graph.predecessors(name))


def _need(plan: Plan, name: int | str, multiple: int) -> None:
    for root in _roots(plan, name):
        group = plan.layers[root].group
        if group is not None:
            plan.steps[group] = lcm(plan.steps[group], multiple)


def _recall(plan: Plan, ties: _Ties) -> None:
    """Find the pooled value for every un-pooling by indices; without one, values are repeated."""
    pooled = _pooled(plan)
    for u, v, data in list(plan.graph.edges(data=True)):
        chains = []
        for chain in data["chains"]:
            kept: list[Op] = []
            for op in chain:
                if op.kind == "unpool" and op.attributes["mode"] == "indices":
                    place = pooled.get(op.origin)
                    if place is not None and _same_width(plan, ties, u, place[0]):
                        plan.recalled[u, (*kept, op)] = place
                    else:
                        text = (
                            f"{':'.join(op.origin)} has no indices of its own: values are repeated"
                        )
                        plan.notes.append(text)
                        op = _repeating(op)
                kept.append(op)
            chains.append(tuple(kept))
        plan.graph.edges[u, v]["chains"] = tuple(chains)


def _repeating(op: Op) -> Op:
    return Op("unpool", (("mode", "repeat"), ("size", op.attributes["size"])), op.origin)


def _same_width(plan: Plan, ties: _Ties, u: int | str, v: int | str) -> bool:
    if not (_own_width(plan, u) and _own_width(plan, v)):
        return False
    ties.tie(_root(plan, int(u)), _root(plan, int(v)))
    return True


def _pooled(plan: Plan) -> dict[tuple[str, str], Prefix]:
    """Return, for every pooling of a parent, where the merged graph has it."""
    merged = {
        member.origin: name for name in plan.layers for member in plan.graph.nodes[name]["members"]
    }
    there = {
        (u, chain[: i + 1])
        for u, _, data in plan.graph.edges(data=True)
        for chain in data["chains"]
        for i in range(len(chain))
    }
    found: dict[tuple[str, str], Prefix] = {}
    parallel = plan.contraction.steps[0].graph
    for u, _, data in parallel.edges(data=True):
        if u == INPUT or parallel.nodes[u]["node"].origin not in merged:
            continue
        place = merged[parallel.nodes[u]["node"].origin]
        for chain in data["chains"]:
            for i, op in enumerate(chain):
                if op.kind == "pool" and (place, chain[: i + 1]) in there:
                    found[op.origin] = (place, chain[: i + 1])
    return found


def arriving(plan: Plan, u: int | str, chain: Chain, width: int) -> Shape:
    """Return the shape of a branch where it arrives.

    Example:
        >>> from augmint.merging.contraction import contract
        >>> from augmint.merging.notation import chain
        >>> plan = make_plan(contract([chain(name, (1, 8, 8), "3C:4 2P 10F") for name in "ab"]))
        >>> [arriving(plan, u, way, width=6) for u, way in plan.sources(plan.order[-1])]
        [(96,)]
    """
    return shape_after(chain, plan.shape(u, width))

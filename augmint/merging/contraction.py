"""Contraction: layers with equal labels become one layer, from the input on, then from the output.

A label is (structure, distance): what the layer is, with the pooling its input has undergone, and
how many layers lie between it and the input (first pass) or, at least, the output (second pass).
Equal labels are joined, all connections kept, parallel connections deleted.

Two rules are ours, because the published ones are not enough (`Rules`):

* `guard`: taken literally, the second pass joins a layer with its own ancestor as soon as two
  parents share their beginning, and the result has a cycle. A layer is therefore joined with the
  first layer of its label that it neither reaches nor is reached from; else it stays for itself.
  Two layers of one parent are not joined either: in a chain one leads to the other anyway, and
  side branches of a parent keep their widths.
* `key`: published labels hold kernel, pooling and neurons. By default stride, padding, dilation,
  groups, bias, normalisation, activation and the size of the map must be equal too.

Which layers the greedy guard joins may depend on the order of the parents; they are put in an order
of their own first (`canonical_order`), so that the order in which they are given is no matter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from augmint.core.errors import IncompatibleError
from augmint.merging.graph import INPUT, OUTPUT, Node, Pooling, layer_graph
from augmint.merging.network import Network
from augmint.merging.shapes import infer

if TYPE_CHECKING:
    import networkx as nx

Letters = Literal["distance", "parent"]
Rule = Literal["ancestor", "sibling", "operator"]
PASSES: dict[str, tuple[str, ...]] = {
    "both": ("forward", "backward"),
    "forward": ("forward",),
    "none": (),
}


@dataclass(frozen=True)
class Rules:
    """How labels are made and joined.

    Args:
        pooling: "mark" (the depth paper): pooling only marks the layers behind it; "node" (the
            thesis' main chapter): it is a layer too, and counts in distances.
        resolution: the mark is the "product" of the pooling factors, or their "stack".
        passes: "both" (the main chapter), "forward" alone (the magazine and depth papers), or
            "none": the parents side by side, as a baseline.
        output: "layer": the parents' last layers are layers like others, and where several remain
            they are concatenated and mapped to the output by one more; "node": they are the
            output node, joined from the start; "auto": "node" where they are alike.
        key: what must be equal: the "operator", or only the published "structure".
        guard: never join a layer with its ancestor, nor two layers of one parent. False is the
            published rule; it raises `CycleError` where it fails.
        to_fixpoint: repeat the passes until nothing more can be joined (published: once each).
        distance: from the input, where a parent has several ways: "smallest" or "largest".
        letters: letters go by "distance" and then parent, or by "parent" and then distance;
            parents count in the order in which they are given.

    Example:
        >>> from augmint.merging.notation import chain
        >>> nets = [chain(w, (1, 8, 8), w) for w in ("3C:4 5C:4 3C:1", "7C:4 3C:4 5C:4 3C:1")]
        >>> [contract(nets, Rules(passes=p)).counts[-1] for p in ("none", "forward", "both")]
        [5, 5, 3]
    """

    pooling: Pooling = "mark"
    resolution: Literal["product", "stack"] = "product"
    passes: Literal["both", "forward", "none"] = "both"
    output: Literal["auto", "layer", "node"] = "auto"
    key: Literal["operator", "structure"] = "operator"
    guard: bool = True
    to_fixpoint: bool = False
    distance: Literal["smallest", "largest"] = "smallest"
    letters: Letters = "distance"


@dataclass(frozen=True)
class Label:
    """A letter for a structure at a distance."""

    letter: str
    structure: str
    distance: int

    def __str__(self) -> str:
        return f"({self.structure},{self.distance})"


@dataclass(frozen=True)
class Refusal:
    """Two layers with one label that were not joined.

    Args:
        step: the pass.
        label: the label both have.
        layers: the two, as "parent:layer".
        rule: "ancestor" or "sibling" (the guard), or "operator" (the label hides a difference).
        reason: in words.
    """

    step: str
    label: str
    layers: tuple[str, str]
    rule: Rule
    reason: str


@dataclass(frozen=True)
class Step:
    """The graph before or after a pass, with the labels of the pass that comes next.

    Args:
        name: "parallel", "forward", "backward", or "forward 2" … to the fixed point.
        graph: its nodes are `INPUT`, `OUTPUT` and numbers.
        labels: of the layers, by node.
        direction: from which side distances were counted.
    """

    name: str
    graph: nx.DiGraph
    labels: dict[int, Label]
    direction: str

    @property
    def nodes(self) -> int:
        """Layers in the graph; the input, the output and a shared output layer are not counted."""
        return len(self.labels)


class CycleError(IncompatibleError):
    """The published rule without the guard joined layers into a cycle.

    Args:
        steps: the graphs up to the one with the cycle.
        cycle: its labels, in order.
    """

    def __init__(self, steps: tuple[Step, ...], cycle: tuple[str, ...]) -> None:
        self.steps, self.cycle = steps, cycle
        super().__init__(
            "a merged network has no cycle; joined without the guard",
            f"{steps[-1].nodes} layers with the cycle {' → '.join((*cycle, cycle[0]))}",
            "keep the guard (guard=True)",
        )


@dataclass
class Contraction:
    """All steps of a contraction.

    Args:
        parents: in canonical order.
        rules: by which it was made.
        given: names of the parents in the order in which they were given.
        steps: from the parallel graph to the result.
        refused: joins that were not made, with reasons.
        end: the node that is the shared output layer, or None where the output is a node of its
            own behind the last layers.
    """

    parents: tuple[Network, ...]
    rules: Rules
    given: tuple[str, ...] = ()
    end: int | None = None
    steps: list[Step] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)

    @property
    def graph(self) -> nx.DiGraph:
        """The contracted graph."""
        return self.steps[-1].graph

    @property
    def as_given(self) -> tuple[Network, ...]:
        """The parents in the order in which they were given."""
        return tuple(sorted(self.parents, key=lambda n: self.given.index(n.name)))

    @property
    def counts(self) -> list[int]:
        """Layers at every step."""
        return [step.nodes for step in self.steps]

    def place(self, parent: str, layer: str) -> int:
        """Return the node of the contracted graph that a parent's layer has become."""
        for name, data in self.graph.nodes(data=True):
            if any(m.origin == (parent, layer) for m in data.get("members", ())):
                return int(name)
        raise KeyError((parent, layer))


def canonical_order(parents: Iterable[Network]) -> tuple[Network, ...]:
    """Return the parents in an order that depends on their layers, not on how they were given.

    Example:
        >>> from augmint.merging.notation import chain
        >>> a, b = (chain(f"{k}", (1, 8, 8), f"{k}C:4 3C:1") for k in (3, 5))
        >>> canonical_order([a, b]) == canonical_order([b, a])
        True
    """
    return tuple(sorted(parents, key=lambda n: (len(n), n.canonical(), n.name)))


def contract(parents: Sequence[Network], rules: Rules | None = None) -> Contraction:
    """Contract the graphs of several networks into one.

    Args:
        parents: two or more networks with unique names, the same input and output shapes.
        rules: default: `Rules()`.

    Raises:
        IncompatibleError: parents with different inputs or outputs.
        CycleError: without the guard, where the published rule makes a cycle.

    Example:
        >>> from augmint.merging.notation import chain
        >>> a = chain("a", (1, 8, 8), "3C:4 5C:4 3C:1")
        >>> b = chain("b", (1, 8, 8), "3C:4 7C:4 3C:1")
        >>> contract([a, b]).counts
        [4, 3, 3]
    """
    rules = rules or Rules()
    check_parents(parents)
    ordered = canonical_order(parents)
    work = _Work(Contraction(ordered, rules, tuple(n.name for n in parents)))
    work.run()
    return work.result


def check_parents(parents: Sequence[Network]) -> None:
    """Raise `IncompatibleError` unless there are two or more, alike at both ends, named apart."""
    if len(parents) < 2:
        raise IncompatibleError(
            "merging takes at least two networks", len(parents), "give two or more"
        )
    names = [n.name for n in parents]
    if len(set(names)) < len(names):
        raise IncompatibleError("parents have different names", ", ".join(names), "rename one")
    for what, of in (
        ("input", [tuple(n.shape) for n in parents]),
        ("output", [infer(n)[n.output] for n in parents]),
    ):
        if len(set(of)) > 1:
            listed = ", ".join(f"{name} {shape}" for name, shape in zip(names, of, strict=True))
            raise IncompatibleError(
                f"parents have the same {what} shape",
                listed,
                f"change the networks until their {what}s agree (--shape, --outputs)",
            )


def contract_randomly(
    parents: Sequence[Network], layers: int, stream: Random, rules: Rules | None = None
) -> Contraction:
    """Join random layers of different parents until so many are left: a baseline of equal size.

    Joined layers are of one kind, with inputs and outputs of one size each, and neither leads to
    the other; the layer that is kept gives its operator.

    Args:
        parents: as for `contract`.
        layers: how many to leave; more are left if no further two can be joined.
        stream: where the choices come from.
        rules: of them only `output` is used.

    Example:
        >>> from augmint.merging.notation import chain
        >>> nets = [chain(w, (1, 8, 8), w) for w in ("3C:4 5C:4 3C:1", "7C:4 9C:4 3C:1")]
        >>> contract_randomly(nets, 2, Random(0)).counts
        [4, 2]
    """
    check_parents(parents)
    chosen = replace(rules or Rules(), passes="none")
    ordered = canonical_order(parents)
    work = _Work(Contraction(ordered, chosen, tuple(n.name for n in parents)))
    work.run()
    work.join_randomly(layers, stream)
    return work.result


class _Work:
    """One contraction in progress."""

    def __init__(self, result: Contraction) -> None:
        self.result = result
        self.rules = result.rules
        self.graph = _parallel(result.parents, result.rules, result.given)
        result.end = self._join_ends()

    def run(self) -> None:
        passes = PASSES[self.rules.passes]
        self._record("parallel", "forward")
        round_number = 1
        while passes:
            before = self.graph.number_of_nodes()
            for i, direction in enumerate(passes):
                self._contract(direction, round_number)
                suffix = f" {round_number}" if round_number > 1 else ""
                following = passes[(i + 1) % len(passes)]
                self._record(direction + suffix, following)
            round_number += 1
            if not self.rules.to_fixpoint or self.graph.number_of_nodes() == before:
                return

    def join_randomly(self, layers: int, stream: Random) -> None:
        """Join random pairs until `layers` are left, and record the result."""
        pairs = [(a, b) for a in self._layers() for b in self._layers() if a < b]
        stream.shuffle(pairs)
        for a, b in pairs:
            if len(self._layers()) <= layers:
                break
            if a in self.graph and b in self.graph:
                one, two = (self.graph.nodes[n]["node"] for n in (a, b))
                alike = (one.kind, one.size_in, one.size_out) == (
                    two.kind,
                    two.size_in,
                    two.size_out,
                )
                if alike and one.kind != "add" and self._refusal(a, b) is None:
                    join(self.graph, a, b)
        _join_sums(self.graph)
        self._record("random", "forward")

    def _join_ends(self) -> int | None:
        ends = sorted(self.graph.predecessors(OUTPUT))
        alike = {_end_key(self.graph, n) for n in ends}
        whole = len(ends) == len(self.result.parents) and INPUT not in ends
        if self.rules.output == "layer" or not whole:
            return None
        if len(alike) > 1:
            if self.rules.output == "node":
                raise IncompatibleError(
                    "with output='node' the parents' last layers are alike",
                    f"{len(alike)} different ones",
                    "take output='layer'",
                )
            return None
        for other in ends[1:]:
            join(self.graph, ends[0], other)
        return int(ends[0])

    def _distances(self, direction: str) -> dict[int, int]:
        if direction == "backward":
            return distances(self.graph.reverse(copy=False), OUTPUT, min, self.result.end)
        pick = min if self.rules.distance == "smallest" else max
        return distances(self.graph, INPUT, pick, self.result.end)

    def _record(self, name: str, direction: str) -> None:
        snapshot = self.graph.copy()
        loop = _cycle(snapshot)
        if loop is not None:
            labels = {n: Label("", self._structure(n), 0) for n in self._layers()}
            self.result.steps.append(Step(name, snapshot, labels, direction))
            found = tuple(self._structure(n) for n in loop)
            raise CycleError(tuple(self.result.steps), found)
        labels = self._labels(self._distances(direction))
        self.result.steps.append(Step(name, snapshot, labels, direction))

    def _layers(self) -> list[int]:
        return [n for n in self.graph if n not in (INPUT, OUTPUT, self.result.end)]

    def _structure(self, name: int) -> str:
        node: Node = self.graph.nodes[name]["node"]
        return node.structure(self.rules.resolution)

    def _labels(self, distance: dict[int, int]) -> dict[int, Label]:
        parent = {n: self.graph.nodes[n]["order"][0] for n in self._layers()}
        by_parent = self.rules.letters == "parent"
        order = sorted(
            self._layers(),
            key=lambda n: (parent[n], distance[n], n) if by_parent else (distance[n], parent[n], n),
        )
        letters: dict[Any, str] = {}
        for n in order:
            letters.setdefault(self._key(n, distance[n]), letter(len(letters)))
        return {
            n: Label(letters[self._key(n, distance[n])], self._structure(n), distance[n])
            for n in order
        }

    def _key(self, name: int, distance: int) -> tuple[Any, ...]:
        node: Node = self.graph.nodes[name]["node"]
        own = node.key(self.rules.resolution, self.rules.key == "operator")
        alone = (name,) if node.kind == "add" else ()  # sums are joined by what they add
        return (*own, *alone, distance)

    def _contract(self, direction: str, round_number: int) -> None:
        step = direction if round_number == 1 else f"{direction} {round_number}"
        distance = self._distances(direction)
        groups: dict[Any, list[int]] = defaultdict(list)
        heads: dict[str, int] = {}
        for name in sorted(self._layers(), key=lambda n: (distance[n], n)):
            node: Node = self.graph.nodes[name]["node"]
            if node.kind == "add":
                continue
            group = groups[self._key(name, distance[name])]
            label = f"({self._structure(name)},{distance[name]})"
            if not group:
                self._note_operator(step, label, heads, name)
            self._place(step, label, group, name)
        if self.rules.guard:
            _join_sums(self.graph)

    def _place(self, step: str, label: str, group: list[int], name: int) -> None:
        for head in group:
            if not self.rules.guard:
                join(self.graph, head, name)
                return
            refusal = self._refusal(head, name)
            if refusal is None:
                join(self.graph, head, name)
                return
            layers = (_origin(self.graph, head), _origin(self.graph, name))
            self.result.refused.append(Refusal(step, label, layers, *refusal))
        group.append(name)

    def _refusal(self, head: int, name: int) -> tuple[Rule, str] | None:
        """Return why two layers with one label are not joined, if there is a reason."""
        way = _related(self.graph, head, name)
        if way is not None:
            above, below = (head, name) if way == "above" else (name, head)
            return "ancestor", f"{_origin(self.graph, above)} leads to {_origin(self.graph, below)}"
        parents = [{m.origin[0] for m in self.graph.nodes[n]["members"]} for n in (head, name)]
        both = sorted(parents[0] & parents[1])
        return ("sibling", f"both hold a layer of {both[0]}") if both else None

    def _note_operator(self, step: str, label: str, heads: dict[str, int], name: int) -> None:
        head = heads.setdefault(label, name)
        if head == name:
            return
        a, b = (self.graph.nodes[n]["node"] for n in (head, name))
        layers = (_origin(self.graph, head), _origin(self.graph, name))
        reason = f"they differ in {', '.join(differences(a, b))}"
        self.result.refused.append(Refusal(step, label, layers, "operator", reason))


def _parallel(parents: Sequence[Network], rules: Rules, given: Sequence[str]) -> nx.DiGraph:
    """Return all parents side by side, with one input and one output."""
    import networkx as nx

    whole: nx.DiGraph = nx.DiGraph()
    whole.add_nodes_from((INPUT, OUTPUT))
    start = 0
    for parent in parents:
        order = (given.index(parent.name),)
        graph = layer_graph(parent, rules.pooling)
        shift = {n: n if n in (INPUT, OUTPUT) else n + start for n in graph}
        for n, data in graph.nodes(data=True):
            if data:
                whole.add_node(shift[n], node=data["node"], members=(data["node"],), order=order)
        for u, v, data in graph.edges(data=True):
            _connect(whole, shift[u], shift[v], data["chains"], same=True)
        whole.graph.setdefault("dissolved", []).extend(graph.graph.get("dissolved", []))
        start += graph.number_of_nodes()
    return whole


def _connect(graph: nx.DiGraph, u: Any, v: Any, chains: tuple[Any, ...], same: bool) -> None:
    """Add an edge; a parallel one is deleted, but for the ways of one parent (`same`)."""
    if not graph.has_edge(u, v):
        graph.add_edge(u, v, chains=chains)
    elif same or u == INPUT or v == OUTPUT:
        known = graph.edges[u, v]["chains"]
        graph.edges[u, v]["chains"] = known + tuple(c for c in chains if c not in known)


def join(graph: nx.DiGraph, kept: int, other: int) -> None:
    """Join a node into another: all connections are kept, parallel ones deleted."""
    for u, _, data in list(graph.in_edges(other, data=True)):
        _connect(graph, kept if u == other else u, kept, data["chains"], same=u == INPUT)
    for _, v, data in list(graph.out_edges(other, data=True)):
        if v != other:
            _connect(graph, kept, v, data["chains"], same=v == OUTPUT)
    mine, theirs = graph.nodes[kept], graph.nodes[other]
    mine["members"] += theirs["members"]
    mine["order"] = tuple(sorted((*mine["order"], *theirs["order"])))
    graph.remove_node(other)


def distances(graph: nx.DiGraph, start: str, pick: Any, end: int | None) -> dict[int, int]:
    """Return how many layers a node is away from `start`, itself counted, sums not.

    Args:
        graph: directed away from `start`, without cycles.
        start: `INPUT`, or `OUTPUT` of the reversed graph.
        pick: `min` or `max` over the ways.
        end: the shared output layer, which counts as the output and not as a layer.
    """
    import networkx as nx

    found: dict[Any, int] = {start: 0}
    for name in nx.topological_sort(graph):
        before = [found[u] for u in graph.predecessors(name) if u in found]
        if before and name != start:
            node = graph.nodes[name].get("node")
            counts = node is not None and node.counts and name != end
            found[name] = pick(before) + int(counts)
    return found


def letter(index: int) -> str:
    """Return A to Z, AA, AB …

    Example:
        >>> [letter(i) for i in (0, 25, 26, 701, 702)]
        ['A', 'Z', 'AA', 'ZZ', 'AAA']
    """
    text = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        text = chr(65 + rest) + text
    return text


def differences(a: Node, b: Node) -> list[str]:
    """Return in which respects two layers with one label differ."""
    mine, theirs = a.attributes, b.attributes
    named = [k.replace("_", " ") for k in sorted({*mine, *theirs}) if mine.get(k) != theirs.get(k)]
    for what, x, y in (
        ("the operations behind them", a.post, b.post),
        ("the operations before them", a.pre, b.pre),
        ("the size of their input", a.size_in, b.size_in),
        ("the size of their output", a.size_out, b.size_out),
    ):
        named += [what] if x != y else []
    return named or ["the order of pooling"]


def _join_sums(graph: nx.DiGraph) -> None:
    """Join sums that add the same values, until there are none."""
    import networkx as nx

    while True:
        seen: dict[Any, int] = {}
        for name in nx.topological_sort(graph):
            node = graph.nodes[name].get("node")
            if node is None or node.kind != "add":
                continue
            given = frozenset((u, d["chains"]) for u, _, d in graph.in_edges(name, data=True))
            head = seen.setdefault((given, node.post), name)
            if head != name:
                join(graph, head, name)
                break
        else:
            return


def _related(graph: nx.DiGraph, a: int, b: int) -> str | None:
    """Return "above" if a leads to b, "below" if b leads to a, else None."""
    if _reaches(graph, a, b):
        return "above"
    return "below" if _reaches(graph, b, a) else None


def _reaches(graph: nx.DiGraph, a: int, b: int) -> bool:
    todo, seen = [a], {a}
    while todo:
        for v in graph.adj[todo.pop()]:
            if v == b:
                return True
            if v not in seen:
                seen.add(v)
                todo.append(v)
    return False


def _cycle(graph: nx.DiGraph) -> list[int] | None:
    import networkx as nx

    if nx.is_directed_acyclic_graph(graph):
        return None
    return [u for u, _ in nx.find_cycle(graph)]


def _origin(graph: nx.DiGraph, name: int) -> str:
    node: Node = graph.nodes[name]["node"]
    return ":".join(node.origin)


def _end_key(graph: nx.DiGraph, name: Any) -> Any:
    if name == INPUT:
        return None
    node: Node = graph.nodes[name]["node"]
    tail = graph.edges[name, OUTPUT]["chains"]
    return (node.kind, node.items, node.width, node.post, node.size_out, tail, node.pre)

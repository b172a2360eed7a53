"""The layers of a network as a labelled graph.

A node is a layer with weights (convolution, dense), a sum, or, by the first convention of the
papers, a pooling. Normalisation and activation behind a layer belong to it; what else lies
between two layers (pooling, dropout, flattening …) lies on the edge. Concatenation
needs no node: a layer that takes several branches takes them concatenated.

Pooling is *sticky*: pooling by p pushes p on a stack, un-pooling by u takes u off, a dense layer
clears it. The mark of a layer is the product of its stack, or the stack itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING, Any, Literal

from augmint.core.errors import UsageError
from augmint.merging.network import FOLLOWING, TRAILING, Layer, Network
from augmint.merging.shapes import Shape, infer

if TYPE_CHECKING:
    import networkx as nx

INPUT, OUTPUT = "input", "output"
ONE = (Fraction(1), Fraction(1))
Stack = tuple[tuple[Fraction, Fraction], ...]
Pooling = Literal["mark", "node"]


@dataclass(frozen=True)
class Op:
    """An operation without weights of its own layer: behind a layer, or on an edge.

    Args:
        kind: as in `Network`.
        items: its attributes, sorted.
        origin: the parent and the operation it comes from; not compared.

    Example:
        >>> Op("flatten", (), ("a", "flat")) == Op("flatten", (), ("b", "3-flat"))
        True
    """

    kind: str
    items: tuple[tuple[str, Any], ...]
    origin: tuple[str, str] = field(default=("", ""), compare=False)

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes as a mapping."""
        return dict(self.items)


Chain = tuple[Op, ...]


@dataclass(frozen=True)
class Node:
    """One layer of one parent.

    Args:
        kind: "conv", "dense", "add", "pool" or "unpool".
        items: attributes but for the width, sorted.
        width: channels or neurons in the parent.
        post: what follows and belongs to it.
        pre: what lies before it besides pooling and flattening, over all its edges.
        stack: the pooling factors (height, width) that its input has undergone.
        size_in, size_out: height and width before and after; `()` for vectors.
        origin: parent and layer.

    Example:
        >>> from augmint.merging.notation import chain
        >>> node = layer_graph(chain("n", (1, 8, 8), "3C:4 2P 5C:6")).nodes[2]["node"]
        >>> node.structure(), node.width, node.size_in
        ('5C2P', 6, ((4, 4),))
    """

    kind: str
    items: tuple[tuple[str, Any], ...]
    width: int
    post: Chain
    pre: frozenset[Chain]
    stack: Stack
    size_in: tuple[Any, ...]
    size_out: tuple[int, ...]
    origin: tuple[str, str] = field(compare=False)

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes as a mapping, the width excepted."""
        return dict(self.items)

    @property
    def depthwise(self) -> bool:
        """Whether every output channel sees one input channel, so that the width is no choice."""
        return self.kind == "conv" and "multiplier" in self.attributes

    @property
    def counts(self) -> bool:
        """Whether it counts in distances."""
        return self.kind != "add"

    def structure(self, resolution: str = "product") -> str:
        """Return `3C`, `3C2P`, `30F`, `2P`: what the papers write in a label."""
        a = self.attributes
        match self.kind:
            case "conv":
                own = f"{_sides(a['kernel'])}C"
                own += f"/{_sides(a['stride'])}" if max(a["stride"]) > 1 else ""
                own = f"T{own}" if a.get("transposed") else own
                own = f"{own}d" if self.depthwise else own
            case "dense":
                return f"{self.width}F"
            case "pool" | "unpool":
                return _factor_text(op_factor(self.kind, a, self.size_in, self.size_out))
            case _:
                own = "+"
        return own + mark_text(self.stack, resolution)

    def key(self, resolution: str, operator: bool) -> tuple[Any, ...]:
        """Return what must be equal for two layers to be joined, the distance excepted.

        Args:
            resolution: "product" or "stack" of the pooling factors.
            operator: compare every attribute, not the kernel (neurons, factor) alone.

        Example:
            >>> from augmint.merging.notation import chain
            >>> nets = [chain(a, (1, 8, 8), "3C:4 3C:1", activation=a) for a in ("relu", "tanh")]
            >>> relu, tanh = (layer_graph(net).nodes[1]["node"] for net in nets)
            >>> [relu.key("product", o) == tanh.key("product", o) for o in (False, True)]
            [True, False]
        """
        mark = product(self.stack) if resolution == "product" else self.stack
        width = self.width if self.kind == "dense" else 0
        if operator:
            same = (self.kind, self.items, self.post, self.pre, self.size_in, self.size_out)
            return (*same, mark, width)
        own = replace(self, stack=()).structure()
        return (self.kind, own, self.size_in, self.size_out, mark, width)


def product(stack: Stack) -> tuple[Fraction, Fraction]:
    """Return the product of the factors, for each side.

    Example:
        >>> two = (Fraction(2), Fraction(2))
        >>> product((two, two))
        (Fraction(4, 1), Fraction(4, 1))
    """
    return prod((f[0] for f in stack), start=Fraction(1)), prod(
        (f[1] for f in stack), start=Fraction(1)
    )


def push(stack: Stack, factor: tuple[Fraction, Fraction]) -> Stack:
    """Return the stack after pooling by `factor` (un-pooling where it is below 1).

    Un-pooling takes the newest pooling off; what it takes too little or too much stays or goes on
    to the next. On an empty stack un-pooling sticks itself.

    Example:
        >>> two, half, eighth = ((Fraction(n), Fraction(n)) for n in ("2", "1/2", "1/8"))
        >>> push(push((two,), half), eighth)
        ((Fraction(1, 8), Fraction(1, 8)),)
    """
    if factor == ONE:
        return stack
    opposite = bool(stack) and (
        max(factor) < 1 < max(stack[-1]) or max(stack[-1]) < 1 < max(factor)
    )
    if not opposite:
        return (*stack, factor)
    left = (stack[-1][0] * factor[0], stack[-1][1] * factor[1])
    same_side = (max(left) > 1) == (max(stack[-1]) > 1)
    return (*stack[:-1], left) if same_side and left != ONE else push(stack[:-1], left)


def mark_text(stack: Stack, resolution: str = "product") -> str:
    """Return the mark as labels write it: `8P`, `8U`, `2P4P` for a stack.

    Example:
        >>> four = (Fraction(4), Fraction(4))
        >>> mark_text((four, four)), mark_text((four, four), "stack")
        ('16P', '4P4P')
    """
    factors = (product(stack),) if resolution == "product" else stack
    return "".join(_factor_text(f) for f in factors if f != ONE)


def _factor_text(factor: tuple[Fraction, Fraction]) -> str:
    down = max(factor) >= 1
    h, w = factor if down else (1 / factor[0], 1 / factor[1])
    return f"{h if h == w else f'{h}x{w}'}{'P' if down else 'U'}"


def _sides(pair: tuple[int, int]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"


def op_factor(
    kind: str, attributes: Mapping[str, Any], size_in: tuple[int, ...], size_out: tuple[int, ...]
) -> tuple[Fraction, Fraction]:
    """Return by how much an operation shrinks each side (below 1 where it grows).

    Example:
        >>> op_factor("pool", {"stride": (2, 1)}, (8, 8), (4, 8))
        (Fraction(2, 1), Fraction(1, 1))
        >>> op_factor("unpool", {}, (4, 4), (8, 8))
        (Fraction(1, 2), Fraction(1, 2))
    """
    if kind in ("conv", "pool", "unpool") and len(size_in) == len(size_out) == 2:
        if "stride" in attributes and kind != "unpool":
            h, w = (Fraction(n) for n in attributes["stride"])
            return (1 / h, 1 / w) if attributes.get("transposed") else (h, w)
        return Fraction(size_in[0], size_out[0]), Fraction(size_in[1], size_out[1])
    return Fraction(1), Fraction(1)


@dataclass(frozen=True)
class _Source:
    """A branch that arrives somewhere: from which node, through what, with which mark and size."""

    node: int | str
    chain: Chain
    stack: Stack
    size: tuple[int, ...]


class _Reader:
    """Walks over the operations of a network and draws its graph."""

    def __init__(self, network: Network, pooling: Pooling) -> None:
        import networkx as nx

        self.network, self.pooling = network, pooling
        self.shapes = infer(network)
        self.consumers = network.consumers()
        self.graph: nx.DiGraph = nx.DiGraph()
        self.where: dict[str, tuple[_Source, ...]] = {}

    def read(self) -> nx.DiGraph:
        self.graph.add_node(INPUT)
        for layer in self.network:
            if layer.module:
                raise UsageError(
                    "networks are merged layer by layer, each with weights of its own",
                    f"layer {layer.name!r} of {self.network.name} uses those of {layer.module!r}",
                    "give it its own weights",
                )
            self.where[layer.name] = self._read(layer)
        self.graph.add_node(OUTPUT)
        for source in self.where[self.network.output]:
            self._connect(source, OUTPUT)
        if list(self.graph.predecessors(OUTPUT)) == [INPUT]:
            raise UsageError(
                "a network to merge has layers with weights",
                f"{self.network.name} has none",
                "add one",
            )
        return self.graph

    def _read(self, layer: Layer) -> tuple[_Source, ...]:
        if layer.kind == "input":
            return (_Source(INPUT, (), (), tuple(self.network.shape[1:])),)
        given = tuple(s for name in layer.inputs for s in self.where[name])
        if layer.kind in ("conv", "dense") or (
            self.pooling == "node" and layer.kind in ("pool", "unpool")
        ):
            return (self._node(layer, given),)
        if layer.kind == "concat":
            return given
        if layer.kind == "add":
            plain = all(len(self.where[n]) == 1 for n in layer.inputs)
            distinct = len({s.node for s in given}) == len(given)
            # a sum of branches whose widths are no free choice is replaced by a concatenation
            joined = plain and distinct and all(s.node != INPUT for s in given)
            if joined:
                return (self._node(layer, given),)
            self.graph.graph.setdefault("dissolved", []).append(f"{self.network.name}:{layer.name}")
            return given
        if layer.kind in FOLLOWING and self._belongs(layer, given):
            self._append(given[0].node, self._op(layer))
            return given
        return tuple(self._extend(source, layer) for source in given)

    def _belongs(self, layer: Layer, given: tuple[_Source, ...]) -> bool:
        alone = len(given) == 1 and not given[0].chain and given[0].node != INPUT
        return alone and self.consumers[layer.inputs[0]] == 1

    def _op(self, layer: Layer) -> Op:
        items = {k: v for k, v in layer.attributes.items() if k != "of"}
        if "of" in layer.attributes:
            items["recalled"] = True
        origin = (self.network.name, str(layer.attributes.get("of", layer.name)))
        return Op(layer.kind, tuple(sorted(items.items())), origin)

    def _append(self, name: int | str, op: Op) -> None:
        node: Node = self.graph.nodes[name]["node"]
        self.graph.nodes[name]["node"] = replace(node, post=(*node.post, op))

    def _extend(self, source: _Source, layer: Layer) -> _Source:
        shape = self.shapes[layer.name]
        size, stack = source.size, source.stack
        if layer.kind in ("pool", "unpool", "pad", "reshape"):
            before = self.shapes[layer.inputs[0]]
            size = tuple(shape[1:])
            stack = push(stack, op_factor(layer.kind, layer.attributes, before[1:], size))
        return _Source(source.node, (*source.chain, self._op(layer)), stack, size)

    def _node(self, layer: Layer, given: tuple[_Source, ...]) -> _Source:
        name = self.graph.number_of_nodes()
        shape, before = self.shapes[layer.name], self.shapes[layer.inputs[0]]
        a = dict(layer.attributes)
        width = a.pop("outputs", shape[0])
        if layer.kind == "conv" and a["groups"] == before[0] > 1:
            a |= {"groups": "all", "multiplier": width // before[0]}
        sizes = tuple(sorted({s.size for s in given}))
        pre = frozenset(tuple(op for op in s.chain if op.kind in TRAILING | {"pad"}) for s in given)
        size = tuple(shape[1:])
        stack = given[0].stack
        node = Node(
            layer.kind, tuple(sorted(a.items())), width, (), pre, stack, sizes, size,
            (self.network.name, layer.name),
        )  # fmt: skip
        if layer.kind in ("pool", "unpool"):
            node = replace(node, size_in=sizes[0], items=self._op(layer).items)
        self.graph.add_node(name, node=node)
        for source in given:
            self._connect(source, name)
        after = push(stack, op_factor(layer.kind, layer.attributes, before[1:], size))
        return _Source(name, (), () if layer.kind == "dense" else after, size)

    def _connect(self, source: _Source, target: int | str) -> None:
        if self.graph.has_edge(source.node, target):
            chains = self.graph.edges[source.node, target]["chains"]
            if source.chain not in chains:
                self.graph.edges[source.node, target]["chains"] = (*chains, source.chain)
            return
        self.graph.add_edge(source.node, target, chains=(source.chain,))


def layer_graph(network: Network, pooling: Pooling = "mark") -> nx.DiGraph:
    """Return the graph of a network: nodes `INPUT`, `OUTPUT` and one number a layer.

    Each layer's node has the attribute `node` (a `Node`); each edge `chains`, the operations on
    it (several where one layer reaches another in several ways).

    Args:
        network: what to draw.
        pooling: "mark": pooling only marks the layers behind it; "node": it is a node too.

    Raises:
        UsageError: for shapes that do not fit, shared weights, or no layer with weights.

    Example:
        >>> from augmint.merging.notation import chain
        >>> graph = layer_graph(chain("n", (1, 8, 8), "3C:4 2P 3C:8 10F"))
        >>> [data["node"].structure() for _, data in graph.nodes(data=True) if data]
        ['3C', '3C2P', '10F']
    """
    return _Reader(network, pooling).read()


def shape_after(chain: Chain, shape: Shape) -> Shape:
    """Return the shape of a value behind the operations of an edge.

    Example:
        >>> pool = Op("pool", (("mode", "average"), ("size", (2, 2))))
        >>> shape_after((pool, Op("flatten", ())), (4, 8, 8))
        (16,)
    """
    from augmint.merging.shapes import shape_of

    for op in chain:
        shape = shape_of(Layer(op.origin[1] or op.kind, op.kind, ("x",), op.attributes), [shape])
    return shape

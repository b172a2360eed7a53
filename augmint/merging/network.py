"""A network as a list of operations: what is read from a module, merged, written and built.

Shapes have no batch axis: `(C, H, W)` for maps, `(F,)` for vectors. Attributes are JSON values
(sequences as tuples), so that two layers are equal exactly if their attributes are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from augmint.core.errors import UsageError, nearest

FORMAT, VERSION = "augmint-network", 1
KINDS = frozenset(
    (
        "input", "conv", "dense", "pool", "unpool", "norm", "activation", "dropout", "pad",
        "flatten", "reshape", "add", "concat",
    )
)  # fmt: skip
FOLLOWING = frozenset(("norm", "activation"))
"""Kinds that belong to the layer they follow."""
TRAILING = FOLLOWING | {"dropout"}
"""Kinds that keep the shape. Dropout belongs to the layer that takes its value."""


@dataclass(frozen=True)
class Layer:
    """One operation.

    Args:
        name: unique in its network.
        kind: one of `KINDS`.
        inputs: names of the operations it takes, in order.
        attributes: what the operation needs, see `augmint.merging.modules`.
        module: whose weights it has, where several operations share them; default: its own.

    Example:
        >>> Layer("y", "dense", ("x",)).weights, Layer("z", "dense", ("y",), module="y").weights
        ('y', 'y')
    """

    name: str
    kind: str
    inputs: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    module: str = ""

    @property
    def weights(self) -> str:
        """The name under which its parameters are kept."""
        return self.module or self.name


@dataclass(frozen=True)
class Network:
    """Operations in an order in which each comes after its inputs; the last gives the output.

    Raises:
        UsageError: for an unknown kind, a name used twice, or an input that does not come before.

    Example:
        >>> net = Network("n", (1, 8, 8), (Layer("x", "input"), Layer("y", "flatten", ("x",))))
        >>> net.output, len(net)
        ('y', 2)
    """

    name: str
    shape: tuple[int, ...]
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for i, layer in enumerate(self.layers):
            where = f"layer {layer.name!r} of {self.name}"
            if layer.kind not in KINDS:
                raise UsageError(
                    f"{where} must be of a known kind", layer.kind, nearest(layer.kind, KINDS)
                )
            if layer.name in seen:
                raise UsageError("names of layers are unique", where, "rename one of the two")
            if (layer.kind == "input") != (i == 0):
                raise UsageError("a network has one input, its first layer", where, "put it first")
            unknown = [name for name in layer.inputs if name not in seen]
            if unknown or (i > 0 and not layer.inputs):
                found = unknown[0] if unknown else "nothing"
                raise UsageError(
                    f"{where} takes layers that come before it", found, nearest(found, seen)
                )
            seen.add(layer.name)
        if len(self.layers) < 2:
            raise UsageError(f"{self.name} must have at least one layer", "none", "add a layer")

    @property
    def output(self) -> str:
        """The name of the operation that gives the output."""
        return self.layers[-1].name

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def consumers(self) -> dict[str, int]:
        """Return how many operations take each operation's value.

        Example:
            >>> flat, twice = Layer("y", "flatten", ("x",)), Layer("z", "add", ("y", "y"))
            >>> Network("n", (1, 8, 8), (Layer("x", "input"), flat, twice)).consumers()
            {'x': 1, 'y': 2, 'z': 0}
        """
        counts = {layer.name: 0 for layer in self.layers}
        for layer in self.layers:
            for name in layer.inputs:
                counts[name] += 1
        return counts

    def canonical(self) -> str:
        """Return a text that is equal for networks that differ only in names.

        Example:
            >>> first = Layer("x", "input")
            >>> a, b = (Network(y, (4,), (first, Layer(y, "flatten", ("x",)))) for y in "ab")
            >>> a.canonical() == b.canonical()
            True
        """
        position = {layer.name: i for i, layer in enumerate(self.layers)}
        rows = [
            [layer.kind, [position[n] for n in layer.inputs], _named(layer, position)]
            for layer in self.layers
        ]
        return json.dumps([self.shape, rows], sort_keys=True)

    def to_json(self) -> dict[str, Any]:
        """Return the description: plain JSON, read back by `from_json`.

        Example:
            >>> net = Network("n", (4,), (Layer("x", "input"), Layer("y", "flatten", ("x",))))
            >>> net.to_json()["layers"][1]
            {'name': 'y', 'kind': 'flatten', 'inputs': ['x']}
        """
        rows: list[dict[str, Any]] = []
        for layer in self.layers:
            row = {"name": layer.name, "kind": layer.kind, "inputs": list(layer.inputs)}
            row |= {"attributes": _plain(layer.attributes)} if layer.attributes else {}
            row |= {"module": layer.module} if layer.module else {}
            rows.append(row)
        return {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "shape": list(self.shape),
            "layers": rows,
        }

    @staticmethod
    def from_json(description: Any) -> Network:
        """Return the network that `to_json` described.

        Raises:
            UsageError: if it is no such description, or a broken one.

        Example:
            >>> y = Layer("y", "reshape", ("x",), {"shape": (1, 2, 2)})
            >>> net = Network("n", (4,), (Layer("x", "input"), y))
            >>> Network.from_json(json.loads(json.dumps(net.to_json()))) == net
            True
        """
        if not isinstance(description, Mapping) or description.get("format") != FORMAT:
            raise UsageError(
                f'a description says "format": "{FORMAT}"',
                str(description)[:60],
                "pass network.json of a merge",
            )
        if description.get("version") != VERSION:
            raise UsageError(
                f"descriptions of version {VERSION} are read",
                description.get("version"),
                "write it again with this version of augmint",
            )
        try:
            layers = tuple(
                Layer(
                    str(row["name"]),
                    str(row["kind"]),
                    tuple(str(n) for n in row["inputs"]),
                    freeze(row.get("attributes", {})),
                    str(row.get("module", "")),
                )
                for row in description["layers"]
            )
            shape = tuple(int(n) for n in description["shape"])
            return Network(str(description["name"]), shape, layers)
        except (KeyError, TypeError, ValueError) as error:
            text = f"{type(error).__name__}: {error}"
            raise UsageError("a description must be whole", text, "write it again") from None


def freeze(value: Any) -> Any:
    """Return `value` with sequences as tuples, mappings as plain dicts.

    Example:
        >>> freeze({"kernel": [3, 3]})
        {'kernel': (3, 3)}
    """
    if isinstance(value, Mapping):
        return {str(k): freeze(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return tuple(freeze(v) for v in value)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value


def _named(layer: Layer, position: Mapping[str, int]) -> Any:
    """Attributes that name another layer name its position instead."""
    plain = _plain(layer.attributes)
    if "of" in plain:
        plain["of"] = position.get(plain["of"], -1)
    return plain

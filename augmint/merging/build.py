"""A network description as a torch module.

The module runs its operations one after the other; values are dropped when nothing needs them any
more. Shapes are worked out and checked before anything is made, and the input's before it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augmint.core.errors import UsageError
from augmint.core.runs import read_json
from augmint.merging.modules import make
from augmint.merging.network import Layer, Network
from augmint.merging.shapes import infer

Slots = list[Any]


class Built(nn.Module):
    """The module of a `Network`: `(N, *network.shape)` to `(N, *output shape)`.

    The parts are children named after their operations, dots as underscores.

    Args:
        network: what to build.

    Raises:
        UsageError: for shapes that do not fit together, naming the layer and the numbers.

    Example:
        >>> from augmint.merging.notation import chain
        >>> net = Built(chain("n", (1, 8, 8), "3C:4 2P 10F"))
        >>> net.get_parameter("3-F.weight").shape
        torch.Size([10, 64])
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        shapes = infer(network)
        recalled = {layer.attributes["of"] for layer in network if "of" in layer.attributes}
        steps = []
        slot = {layer.name: i for i, layer in enumerate(network)}
        for layer in network.layers[1:]:
            module = make(layer, shapes[layer.inputs[0]], layer.name in recalled)
            if module is not None and not layer.module:
                self.add_module(child(layer.name), module)
            steps.append(_step(layer, slot, layer.name in recalled))
        self._steps = _forgetting(steps, len(network) - 1)
        self._slots = 2 * len(network)  # the second half holds indices

    def forward(self, images: Tensor) -> Tensor:
        if tuple(images.shape[1:]) != self.network.shape:
            raise UsageError(
                f"the network was made for images of shape {self.network.shape}",
                str(tuple(images.shape[1:])),
                "resample the images, or make it again for their shape (--shape CxHxW)",
            )
        values: Slots = [None] * self._slots
        values[0] = images
        modules = self._modules
        at = 0
        for at, run, name, inputs, done in self._steps:
            if run is None:
                values[at] = modules[name](values[inputs[0]])  # type: ignore[misc]
            else:
                run(values, at, inputs, modules[name] if name else None)
            for i in done:
                values[i] = None
        result: Tensor = values[at]
        return result


Run = Callable[[Slots, int, Sequence[int], Any], None]
Step = tuple[int, Run | None, str, tuple[int, ...], tuple[int, ...]]


def child(name: str) -> str:
    """Return the name of the child module of an operation.

    Example:
        >>> child("features.0")
        'features_0'
    """
    return name.replace(".", "_")


def _concat(values: Slots, at: int, inputs: Sequence[int], _: Any) -> None:
    values[at] = torch.cat([values[i] for i in inputs], 1)


def _add(values: Slots, at: int, inputs: Sequence[int], _: Any) -> None:
    total = values[inputs[0]]
    for i in inputs[1:]:
        total = total + values[i]
    values[at] = total


def _pool(values: Slots, at: int, inputs: Sequence[int], module: Any) -> None:
    values[at], values[inputs[1]] = module(values[inputs[0]])


def _unpool(layer: Layer) -> Run:
    a = layer.attributes

    def run(values: Slots, at: int, inputs: Sequence[int], _: Any) -> None:
        given, indices = values[inputs[0]], values[inputs[1]]
        size = list(a["size"])
        values[at] = F.max_unpool2d(given, indices, a["kernel"], a["stride"], a["padding"], size)

    return run


def _step(layer: Layer, slot: Mapping[str, int], recalled: bool) -> Step:
    at = slot[layer.name]
    inputs = tuple(slot[name] for name in layer.inputs)
    if layer.kind == "concat":
        return at, _concat, "", inputs, ()
    if layer.kind == "add":
        return at, _add, "", inputs, ()
    if recalled:
        return at, _pool, child(layer.weights), (*inputs, at + len(slot)), ()
    if layer.kind == "unpool" and layer.attributes["mode"] == "indices":
        return at, _unpool(layer), "", (*inputs, slot[layer.attributes["of"]] + len(slot)), ()
    return at, None, child(layer.weights), inputs, ()


def _forgetting(steps: Sequence[Step], last: int) -> list[Step]:
    """Let each value go after the step that needs it last."""
    final = {i: number for number, step in enumerate(steps) for i in step[3]}
    return [
        (at, run, name, inputs, tuple(i for i in set(inputs) if final[i] == number and i != last))
        for number, (at, run, name, inputs, _) in enumerate(steps)
    ]


def build(network: Network, state: Mapping[str, Tensor] | None = None) -> Built:
    """Return the module of a network, with weights if they are given.

    Weights are drawn as torch draws them, from its global generator: call inside `streams.scope`.

    Args:
        network: what to build.
        state: a state dict of the module, as `read.read` gives it.

    Example:
        >>> from augmint.merging.notation import chain
        >>> build(chain("n", (1, 8, 8), "3C:4 2P 10F"))(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """
    module = Built(network)
    if state is not None:
        # assigned, not copied: weights keep their memory format,
        # and with it every bit of the output
        module.load_state_dict({k: v.clone() for k, v in state.items()}, assign=True)
    return module


def load(description: Mapping[str, Any] | str | Path) -> Built:
    """Return the module of a description: `network.json` of a merge, or what it holds.

    Raises:
        DataError: if the file cannot be read.
        UsageError: if it is no description of a network.

    Example:
        >>> from augmint.merging.notation import chain
        >>> net = chain("n", (1, 8, 8), "3C:4 2P 10F")
        >>> load(net.to_json()).network == net
        True
    """
    known = isinstance(description, Mapping)
    return Built(Network.from_json(description if known else read_json(Path(str(description)))))

"""A network in one line: `3C:16 2P 3C:32 2U 3C:1`.

| word | layer |
|---|---|
| `kC:n` | k x k convolution to n channels, the size kept; `kC` takes the width before |
| `pP`, `pU` | p x p max-pooling; p x p un-pooling by repetition |
| `nF` | dense layer of n neurons (maps are flattened first) |
| `RCxHxW` | vector to map |
| `Dp` | dropout with probability p |
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from augmint.core.errors import UsageError
from augmint.merging.network import Layer, Network

_WORD = re.compile(
    r"(?P<conv>\d+)C(?::(?P<width>\d+))?|(?P<pool>\d+)P|(?P<unpool>\d+)U|(?P<dense>\d+)F"
    r"|R(?P<reshape>\d+x\d+x\d+)|D(?P<dropout>0?\.\d+)"
)


@dataclass
class _Writer:
    """Collects layers, each on top of the one before."""

    layers: list[Layer] = field(default_factory=lambda: [Layer("input", "input")])
    index: int = 0

    def add(self, kind: str, letter: str, attributes: dict[str, Any]) -> None:
        name = f"{self.index}-{letter}"
        self.layers.append(Layer(name, kind, (self.layers[-1].name,), attributes))


def convolution(kernel: int, outputs: int, bias: bool) -> dict[str, Any]:
    """Return the attributes of a square convolution that keeps the size (odd kernels).

    Example:
        >>> convolution(3, 8, True)["padding"], convolution(4, 8, True)["padding"]
        ((1, 1), 'same')
    """
    return {
        "outputs": outputs,
        "kernel": (kernel, kernel),
        "stride": (1, 1),
        "padding": (kernel // 2, kernel // 2) if kernel % 2 else "same",
        "dilation": (1, 1),
        "groups": 1,
        "bias": bias,
        "padding_mode": "zeros",
        "transposed": False,
    }


def max_pooling(factor: int) -> dict[str, Any]:
    """Return the attributes of p x p max-pooling with stride p.

    Example:
        >>> max_pooling(2)["kernel"], max_pooling(2)["stride"]
        ((2, 2), (2, 2))
    """
    return {
        "mode": "max",
        "kernel": (factor, factor),
        "stride": (factor, factor),
        "padding": (0, 0),
        "dilation": (1, 1),
        "ceil": False,
    }


BATCH_NORM = {"mode": "batch", "eps": 1e-5, "momentum": 0.1, "affine": True, "track": True}


def chain(
    name: str,
    shape: tuple[int, ...],
    words: str,
    norm: Literal["batch", "none"] = "batch",
    activation: str = "relu",
    last: str = "none",
    tags: tuple[str, ...] = (),
) -> Network:
    """Return the network that `words` describe.

    Every convolution but the last is followed by batch normalisation (and has no bias then) and
    the activation; dense layers by the activation; the last layer has a bias and `last`.

    Args:
        name: of the network.
        shape: of one input image, `(C, H, W)`.
        words: see the table above.
        norm: behind convolutions.
        activation: behind all layers but the last.
        last: activation behind the last layer.
        tags: marks of the weighted layers in order; layers with different tags are never merged.

    Raises:
        UsageError: for a word that is not in the table.

    Example:
        >>> [layer.kind for layer in chain("n", (1, 8, 8), "3C:4 2P 5F")]
        ['input', 'conv', 'norm', 'activation', 'pool', 'flatten', 'dense']
    """
    writer, flat, width = _Writer(), len(shape) == 1, shape[0]
    split = words.split()
    weighted = [i for i, word in enumerate(split) if word[-1] == "F" or "C" in word]
    for i, word in enumerate(split):
        writer.index = i + 1
        found = _WORD.fullmatch(word)
        if found is None:
            raise UsageError(
                f"{name} is written in words kC:n, pP, pU, nF, RCxHxW, Dp", word, "mend it"
            )
        part = found.lastgroup if found.lastgroup != "width" else "conv"
        final = bool(weighted) and i == weighted[-1]
        tag = {"tag": tags[weighted.index(i)]} if i in weighted[: len(tags)] else {}
        match part:
            case "conv":
                width = int(found["width"] or width)
                bias = final or norm == "none"
                writer.add("conv", "C", convolution(int(found["conv"]), width, bias) | tag)
                if not bias:
                    writer.add("norm", "norm", dict(BATCH_NORM))
            case "dense":
                if not flat:
                    writer.add("flatten", "flat", {})
                flat, width = True, int(found["dense"])
                writer.add("dense", "F", {"outputs": width, "bias": True} | tag)
            case "pool":
                writer.add("pool", "P", max_pooling(int(found["pool"])))
            case "unpool":
                factor = int(found["unpool"])
                writer.add("unpool", "U", {"mode": "repeat", "factor": (factor, factor)})
            case "reshape":
                sides = tuple(int(n) for n in found["reshape"].split("x"))
                flat, width = False, sides[0]
                writer.add("reshape", "R", {"shape": sides})
            case _:
                writer.add("dropout", "D", {"mode": "elements", "p": float(found["dropout"])})
        ending = last if final else activation
        if i in weighted and ending != "none":
            writer.add("activation", "act", {"mode": ending})
    return Network(name, shape, tuple(writer.layers))

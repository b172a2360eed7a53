"""Random parents: chains, skips, sums, side branches, pooling up and down, dense ends."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from augmint.merging.network import Layer, Network
from augmint.merging.notation import BATCH_NORM, convolution, max_pooling

WIDTHS = (2, 3, 4, 6, 8, 12)


class Draw:
    """Builds one random network on 8x8 or 16x16 images with a given kind of output."""

    def __init__(self, rng: random.Random, name: str, side: int, classes: int) -> None:
        self.rng, self.name, self.classes = rng, name, classes
        self.shape = (rng.choice((1, 2)), side, side)
        self.layers = [Layer("x", "input")]
        self.at, self.width, self.side = "x", self.shape[0], side

    def add(self, kind: str, attributes: dict[str, Any], *inputs: str) -> str:
        name = f"{kind}{len(self.layers)}"
        self.layers.append(Layer(name, kind, inputs or (self.at,), attributes))
        return name

    def conv(self, width: int | None = None, kernel: int | None = None) -> None:
        rng = self.rng
        style = rng.random()
        width = width or rng.choice(WIDTHS)
        bias = rng.random() < 0.3
        a = convolution(kernel or rng.choice((1, 3, 3, 3, 5, 5, 7)), width, bias)
        if style < 0.08 and self.at != "x":
            a |= {"groups": self.width, "outputs": self.width}
            width = self.width
        elif style < 0.14 and self.width % 2 == width % 2 == 0:
            a |= {"groups": 2}
        elif style < 0.2 and self.side > 3:
            a |= {"stride": (2, 2)}
            self.side = (self.side + 1) // 2
        elif style < 0.25:
            a |= {"dilation": (2, 2), "padding": tuple(2 * p for p in a["padding"])}
        self.at, self.width = self.add("conv", a), width
        if rng.random() < 0.6:
            self.at = self.add("norm", dict(BATCH_NORM))
        if rng.random() < 0.9:
            self.at = self.add("activation", {"mode": rng.choice(("relu", "relu", "relu", "tanh"))})

    def pool(self) -> None:
        if self.side >= 4 and self.side % 2 == 0:
            self.at = self.add("pool", max_pooling(2))
            self.side //= 2

    def unpool(self) -> None:
        if self.side <= 8:
            self.at = self.add("unpool", {"mode": "repeat", "factor": (2, 2)})
            self.side *= 2

    def skip(self) -> None:
        """Two or three convolutions, joined with what went in: a sum or a concatenation."""
        start, width, side = self.at, self.width, self.side
        for _ in range(self.rng.choice((1, 2))):
            self.conv()
        if self.side != side:
            return
        if self.rng.random() < 0.5 and start != "x":
            if self.width != width:
                self.conv(width, 1)
            if self.width == width and self.side == side:
                self.at = self.add("add", {}, start, self.at)
            return
        self.at = self.add("concat", {}, start, self.at)
        self.width += width

    def network(self, length: int) -> Network:
        """Return the network, ended as a classifier or as a map of the input's size."""
        rng = self.rng
        for _ in range(length):
            part = rng.random()
            if part < 0.62:
                self.conv()
            elif part < 0.75:
                self.pool()
            elif part < 0.8:
                self.unpool()
            else:
                self.skip()
            if rng.random() < 0.05:
                self.at = self.add("dropout", {"mode": "elements", "p": 0.2})
        if self.classes:
            self.classifier()
        else:
            self.map()
        return Network(self.name, self.shape, tuple(self.layers))

    def classifier(self) -> None:
        if self.rng.random() < 0.5:
            self.at = self.add("pool", {"mode": "average", "size": (1, 1)})
        self.at = self.add("flatten", {})
        if self.rng.random() < 0.4:
            self.at = self.add("dense", {"outputs": self.rng.choice((6, 10)), "bias": True})
            self.at = self.add("activation", {"mode": "relu"})
        self.at = self.add("dense", {"outputs": self.classes, "bias": True})

    def map(self) -> None:
        if self.at == "x":
            self.conv()
        if self.side != self.shape[1]:
            self.at = self.add("unpool", {"mode": "repeat", "size": self.shape[1:]})
            self.side = self.shape[1]
        self.at = self.add("conv", convolution(self.rng.choice((1, 3)), 1, True))
        if self.rng.random() < 0.5:
            self.at = self.add("activation", {"mode": "sigmoid"})


def _parents(seed: int) -> list[Network]:
    rng = random.Random(seed)
    side, classes = rng.choice((8, 16)), rng.choice((0, 3))
    channels = rng.choice((1, 2))
    found = []
    for i in range(rng.choice((2, 2, 3, 3, 4, 5))):
        draw = Draw(rng, f"p{i}", side, classes)
        draw.shape = (channels, side, side)
        draw.width = channels
        found.append(draw.network(rng.randint(1, 7)))
    if rng.random() < 0.1:  # a twin of another name
        found.append(Network("twin", found[0].shape, found[0].layers))
    return found


@pytest.fixture(scope="session")
def random_parents() -> Callable[[int], list[Network]]:
    """Return a random set of parents by its seed."""
    return _parents

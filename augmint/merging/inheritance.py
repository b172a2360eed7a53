"""Weights of the parents in the merged network, where the shapes allow it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from augmint.merging.build import Built, child
from augmint.merging.graph import INPUT, Node
from augmint.merging.network import Network
from augmint.merging.shapes import infer

if TYPE_CHECKING:
    from augmint.merging.lowering import Lowered
    from augmint.merging.plan import Plan

States = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True)
class _Branch:
    """What a parent's layer takes: whose value, and which of its input channels that is."""

    origin: str
    start: int
    channels: int

    def moved(self, by: int, times: int = 1) -> _Branch:
        """Return the branch further on, each channel as many."""
        return _Branch(self.origin, by + self.start * times, self.channels * times)


class _Parent:
    """A parent, asked which branches its layers take, in order."""

    def __init__(self, network: Network, merged: Mapping[tuple[str, str], int]) -> None:
        self.network, self.merged = network, merged
        self.shapes = infer(network)
        self.by_name = {layer.name: layer for layer in network}

    def taken(self, layer: str) -> list[_Branch]:
        """Return the branches of a layer."""
        return self._value(self.by_name[layer].inputs[0])

    def _value(self, name: str) -> list[_Branch]:
        layer = self.by_name[name]
        shape = self.shapes[name]
        if layer.kind == "input":
            return [_Branch(INPUT, 0, shape[0])]
        if (self.network.name, name) in self.merged:
            return [_Branch(name, 0, shape[0])]
        if layer.kind == "concat":
            found, start = [], 0
            for given in layer.inputs:
                found += [b.moved(start) for b in self._value(given)]
                start += self.shapes[given][0]
            return found
        # a sum that became a concatenation: each of its branches is seen by the same weights
        below = [b for given in layer.inputs for b in self._value(given)]
        if layer.kind == "flatten":
            return [b.moved(0, prod(self.shapes[layer.inputs[0]][1:])) for b in below]
        if layer.kind == "reshape":
            return [_Branch(b.origin, 0, shape[0]) for b in below]
        return below

    def part(self, layer: str, here: int | str) -> slice | None:
        """Return which channels of an operation's value come from a node of the merged graph."""
        for b in self.taken(layer):
            place = INPUT if b.origin == INPUT else self.merged[self.network.name, b.origin]
            if place == here:
                return slice(b.start, b.start + b.channels)
        return None


def inherit(merged: Built, plan: Plan, lowered: Lowered, parents: States) -> tuple[int, int]:
    """Copy weights from the parents where the shapes allow it.

    The weights of a layer fall into blocks, one a branch that it takes. A block is copied from the
    first parent that has this branch with the same number of channels at both ends; a bias, a scale
    or a shift from the first parent of the same width. What is left stays as it was drawn.

    Args:
        merged: the built merged network; changed.
        plan, lowered: from which it was made.
        parents: state dicts of the parents' own built networks, by name.

    Returns:
        Numbers copied, and numbers in all.

    Example:
        >>> from augmint.merging.build import build
        >>> from augmint.merging.merge import merge_networks
        >>> from augmint.merging.notation import chain
        >>> twins = [chain(name, (1, 8, 8), "3C:4 3C:2", norm="none") for name in "ab"]
        >>> merge = merge_networks(twins)
        >>> states = {twin.name: build(twin).state_dict() for twin in twins}
        >>> inherit(build(merge.network), merge.plan, merge.lowered, states)
        (114, 114)
    """
    places = {m.origin: n for n in plan.order for m in plan.graph.nodes[n]["members"]}
    networks = {n.name: _Parent(n, places) for n in plan.contraction.parents}
    state = dict(merged.named_children())
    shapes = infer(lowered.network)
    total = 0
    with torch.no_grad():
        for node in plan.order:
            name = lowered.names[node]
            members: tuple[Node, ...] = plan.graph.nodes[node]["members"]
            if plan.layers[node].node.kind not in ("conv", "dense"):
                continue
            module = state[child(name)]
            branches = [(u, shapes[value][0]) for u, value in lowered.branches[name]]
            total += _layer(module, branches, members, networks, places, parents)
        for name, origins in lowered.origins.items():
            if child(name) not in state:
                continue
            for parent, layer in origins:
                here = lowered.passes.get(name)
                part = None if here is None else networks[parent].part(layer, here)
                found = _trailing(state[child(name)], parents[parent], layer, part)
                if found:
                    total += found
                    break
    return total, sum(p.numel() for p in merged.parameters())


def _layer(
    module: nn.Module,
    branches: list[tuple[int | str, int]],
    members: tuple[Node, ...],
    networks: Mapping[str, _Parent],
    places: Mapping[tuple[str, str], int],
    parents: States,
) -> int:
    """Copy the blocks of a convolution or dense layer, and its bias."""
    weight, bias = module.get_parameter("weight"), getattr(module, "bias", None)
    transposed = isinstance(module, nn.ConvTranspose2d)
    grouped = getattr(module, "groups", 1) > 1
    mine = weight.transpose(0, 1) if transposed else weight
    done: set[int] = set()
    copied, biased = 0, False
    for parent, layer in (m.origin for m in members):
        theirs = parents[parent].get(f"{child(layer)}.weight")
        if theirs is None:
            continue
        if grouped:
            if theirs.shape == weight.shape and not done:
                weight.copy_(theirs)
                copied, done = copied + weight.numel(), {0}
        else:
            source = theirs.transpose(0, 1) if transposed else theirs
            copied += _blocks(mine, source, branches, networks[parent], layer, places, done)
        own = parents[parent].get(f"{child(layer)}.bias")
        if bias is not None and not biased and own is not None and own.shape == bias.shape:
            bias.copy_(own)
            copied, biased = copied + bias.numel(), True
    return copied


def _blocks(
    mine: Tensor,
    theirs: Tensor,
    branches: list[tuple[int | str, int]],
    parent: _Parent,
    layer: str,
    places: Mapping[tuple[str, str], int],
    done: set[int],
) -> int:
    if theirs.shape[0] != mine.shape[0]:
        return 0
    copied = 0
    used: set[int] = set()
    for branch in parent.taken(layer):
        here = INPUT if branch.origin == INPUT else places[parent.network.name, branch.origin]
        at = 0
        for i, (u, channels) in enumerate(branches):
            fits = u == here and channels == branch.channels and i not in used
            if fits:
                used.add(i)
                if i not in done:
                    block = theirs[:, branch.start : branch.start + channels]
                    mine[:, at : at + channels] = block
                    copied += block.numel()
                    done.add(i)
                break
            at += channels
    return copied


def _trailing(
    module: nn.Module, state: Mapping[str, Tensor], layer: str, part: slice | None
) -> int:
    """Copy a normalisation or activation with its running statistics, or the part of a branch."""
    own = module.state_dict()
    if not own:
        return 0
    found: dict[str, Tensor] = {}
    for key, mine in own.items():
        theirs = state.get(f"{child(layer)}.{key}")
        if theirs is not None and theirs.shape != mine.shape and part is not None and theirs.ndim:
            theirs = theirs[part]
        if theirs is None or theirs.shape != mine.shape:
            return 0
        found[key] = theirs
    module.load_state_dict(found)
    return sum(p.numel() for p in module.parameters())

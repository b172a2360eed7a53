"""The networks that the classifier recipe compares, all of one size."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from augmint.core.streams import derive
from augmint.merging.contraction import Rules, contract_randomly
from augmint.merging.merge import Merge, finish, merge_networks, resized
from augmint.merging.network import Layer, Network
from augmint.merging.notation import BATCH_NORM, chain, convolution, max_pooling
from augmint.merging.shapes import totals

MERGED, PARALLEL, INCEPTION, VOTES = "merged", "parallel", "inception", "votes"
Shape = tuple[int, int, int]


def parents_of(words: Mapping[str, str], shape: Shape, outputs: int) -> list[Network]:
    """Return the parents, with a last dense layer of `outputs` behind their words.

    Example:
        >>> parents_of({"a": "3C:4 2P"}, (1, 8, 8), 5)[0].layers[-1].attributes["outputs"]
        5
    """
    return [chain(name, shape, f"{text} {outputs}F") for name, text in words.items()]


def networks_of(
    words: Mapping[str, str],
    shape: Shape,
    outputs: int,
    rules: Rules,
    random_merges: int,
) -> tuple[Merge, dict[str, Network]]:
    """Return the merge, and every network by name with as many parameters as the mean parent.

    The parents at that size come first, under their own names; then the merged network, the
    parents side by side (`parallel`), an Inception-like network, and random merges with as many
    layers as the merged one (`random-1` …).

    Args:
        words: of each parent, by name, without the last layer.
        shape: of one image.
        outputs: classes.
        rules: of the merge.
        random_merges: how many are drawn; their streams have fixed seeds.
    """
    parents = parents_of(words, shape, outputs)
    budget = round(sum(totals(p)["parameters"] for p in parents) / len(parents))
    merge = merge_networks(parents, budget, rules, name=MERGED)
    beside = merge_networks(parents, budget, Rules(passes="none"), name=PARALLEL)
    found = {p.name: resized(p, budget) for p in parents}
    found |= {MERGED: merge.network, PARALLEL: beside.network}
    found[INCEPTION] = resized(inception(shape, outputs), budget)
    for i in range(1, random_merges + 1):
        stream = Random(derive(i, "recipe.random-merge"))
        drawn = contract_randomly(parents, merge.contraction.counts[-1], stream, rules)
        found[f"random-{i}"] = finish(drawn, budget, name=f"random-{i}").network
    return merge, found


def inception(shape: Shape, outputs: int) -> Network:
    """Return a network of two blocks in the manner of Inception (Szegedy et al. 2015).

    A 3x3 convolution, then twice pooling and a block: 1x1; 1x1 and 3x3; 1x1 and 5x5; 3x3
    max-pooling and 1x1; concatenated. Then pooling and a dense layer.
    """
    layers = [Layer("input", "input")]

    def add(
        name: str, kind: str, source: str | tuple[str, ...], attributes: dict[str, object]
    ) -> str:
        inputs = source if isinstance(source, tuple) else (source,)
        layers.append(Layer(name, kind, inputs, attributes))
        return name

    def conv(name: str, kernel: int, width: int, source: str) -> str:
        made = add(name, "conv", source, convolution(kernel, width, bias=False))
        normal = add(f"{name}-norm", "norm", made, dict(BATCH_NORM))
        return add(f"{name}-act", "activation", normal, {"mode": "relu"})

    at = conv("stem", 3, 8, "input")
    for i, width in enumerate((8, 16)):
        at = add(f"pool-{i}", "pool", at, max_pooling(2))
        near = {**max_pooling(3), "stride": (1, 1), "padding": (1, 1)}
        branches = (
            conv(f"{i}-one", 1, width, at),
            conv(f"{i}-three", 3, 2 * width, conv(f"{i}-to-three", 1, width, at)),
            conv(f"{i}-five", 5, width, conv(f"{i}-to-five", 1, width // 2, at)),
            conv(f"{i}-pooled", 1, width, add(f"{i}-near", "pool", at, near)),
        )
        at = add(f"block-{i}", "concat", branches, {})
    at = add("flat", "flatten", add("pool-2", "pool", at, max_pooling(2)), {})
    add("classes", "dense", at, {"outputs": outputs, "bias": True})
    return Network(INCEPTION, shape, tuple(layers))

"""The networks that comparisons of a merge with its parents train, all of one size."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from augmint.core.streams import derive
from augmint.merging.contraction import Rules, contract_randomly
from augmint.merging.merge import Merge, finish, merge_networks, resized
from augmint.merging.network import Layer, Network
from augmint.merging.notation import BATCH_NORM, chain, convolution, max_pooling
from augmint.merging.shapes import totals
from augmint.recipes.spdnn_candidates import KERNEL, Ending

MERGED, PARALLEL, INCEPTION, VOTES = "merged", "parallel", "inception", "votes"
Shape = tuple[int, int, int]


def parents_of(words: Mapping[str, str], shape: Shape, ending: Ending) -> list[Network]:
    """Return the parents, with the last layer behind their words.

    Example:
        >>> parents_of({"a": "3C:4 2P"}, (1, 8, 8), Ending(5, True))[0].layers[-1].kind
        'dense'
    """
    return [chain(name, shape, f"{text} {ending.word}") for name, text in words.items()]


def mean_size(parents: list[Network]) -> int:
    """Return the parameters of the mean parent.

    Example:
        >>> mean_size([chain("n", (1, 8, 8), f"3C:{n}", norm="none") for n in (2, 4)])
        30
    """
    return round(sum(totals(p)["parameters"] for p in parents) / len(parents))


def random_names(count: int) -> list[str]:
    """Return the names of random merges.

    Example:
        >>> random_names(2)
        ['random-1', 'random-2']
    """
    return [f"random-{i}" for i in range(1, count + 1)]


def networks_of(
    parents: list[Network],
    ending: Ending,
    budget: int,
    rules: Rules,
    random_merges: int,
) -> tuple[Merge, dict[str, Network]]:
    """Return the merge, and every network by name with as many parameters as the budget.

    The parents at that size come first, under their own names; then the merged network, the
    parents side by side (`parallel`), an Inception-like network, and random merges with as many
    layers as the merged one (`random-1` …).

    Args:
        parents: with their last layers.
        ending: what all networks give.
        budget: parameters.
        rules: of the merge.
        random_merges: how many are drawn; their streams have fixed seeds.

    Example:
        >>> ending = Ending(5, flat=True)
        >>> parents = parents_of({"a": "3C:4 2P", "b": "5C:4 2P"}, (1, 8, 8), ending)
        >>> _, found = networks_of(parents, ending, 1000, Rules(), random_merges=1)
        >>> list(found)
        ['a', 'b', 'merged', 'parallel', 'inception', 'random-1']
    """
    merge = merge_networks(parents, budget, rules, name=MERGED)
    beside = merge_networks(parents, budget, Rules(passes="none"), name=PARALLEL)
    found = {p.name: resized(p, budget) for p in parents}
    found |= {MERGED: merge.network, PARALLEL: beside.network}
    channels, height, width = parents[0].shape
    found[INCEPTION] = resized(inception((channels, height, width), ending), budget)
    for i, name in enumerate(random_names(random_merges), 1):
        stream = Random(derive(i, "recipe.random-merge"))
        drawn = contract_randomly(parents, merge.contraction.counts[-1], stream, rules)
        found[name] = finish(drawn, budget, name=name).network
    return merge, found


def inception(shape: Shape, ending: Ending) -> Network:
    """Return a network of two blocks in the manner of Inception (Szegedy et al. 2015).

    A 3x3 convolution, then twice a block: 1x1; 1x1 and 3x3; 1x1 and 5x5; 3x3 max-pooling and 1x1;
    concatenated. For numbers, 2x2 max-pooling stands before each block and before the dense layer
    at the end; for maps nothing is pooled, and the end is a convolution.

    Example:
        >>> from augmint.merging.shapes import infer
        >>> [infer(inception((1, 8, 8), Ending(4, flat)))["classes"] for flat in (True, False)]
        [(4,), (4, 8, 8)]
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

    def halved(name: str, source: str) -> str:
        return add(name, "pool", source, max_pooling(2)) if ending.flat else source

    at = conv("stem", 3, 8, "input")
    for i, width in enumerate((8, 16)):
        at = halved(f"pool-{i}", at)
        near = {**max_pooling(3), "stride": (1, 1), "padding": (1, 1)}
        branches = (
            conv(f"{i}-one", 1, width, at),
            conv(f"{i}-three", 3, 2 * width, conv(f"{i}-to-three", 1, width, at)),
            conv(f"{i}-five", 5, width, conv(f"{i}-to-five", 1, width // 2, at)),
            conv(f"{i}-pooled", 1, width, add(f"{i}-near", "pool", at, near)),
        )
        at = add(f"block-{i}", "concat", branches, {})
    at = halved("pool-2", at)
    if ending.flat:
        at = add("flat", "flatten", at, {})
        add("classes", "dense", at, {"outputs": ending.outputs, "bias": True})
    else:
        add("classes", "conv", at, convolution(KERNEL, ending.outputs, bias=True))
    return Network(INCEPTION, shape, tuple(layers))

"""Shapes, parameters and multiplications of operations, from their attributes alone.

With kernel k, stride s, padding p and dilation d, per side,

    convolution, pooling   n' = floor((n + 2p - d (k - 1) - 1) / s) + 1
    transposed convolution n' = (n - 1) s - 2p + d (k - 1) + output padding + 1

A convolution has k² · c_in / groups · c_out weights; a multiplication count is weights x output
positions. Shapes are without batch axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor, prod
from typing import Any

from augmint.core.errors import UsageError
from augmint.merging.network import Layer, Network

Shape = tuple[int, ...]


class ShapeError(UsageError):
    """Shapes that do not fit together."""


def infer(network: Network) -> dict[str, Shape]:
    """Return the shape of every operation's value.

    Raises:
        UsageError: naming the layer and the numbers that do not fit together.

    Example:
        >>> from augmint.merging.notation import chain
        >>> infer(chain("n", (1, 8, 8), "3C:4 2P 10F"))["3-F"]
        (10,)
    """
    shapes: dict[str, Shape] = {}
    for layer in network:
        if layer.kind == "input":
            shapes[layer.name] = tuple(network.shape)
            continue
        given = [shapes[name] for name in layer.inputs]
        shapes[layer.name] = shape_of(layer, given, network.name)
    return shapes


def shape_of(layer: Layer, given: Sequence[Shape], owner: str = "the network") -> Shape:
    """Return what one operation makes of the given shapes.

    Example:
        >>> shape_of(Layer("y", "concat", ("a", "b")), [(2, 8, 8), (3, 8, 8)])
        (5, 8, 8)
    """
    a = layer.attributes
    first = given[0]
    match layer.kind:
        case "conv" | "pool" | "pad":
            _need_map(layer, first, owner)
            sides = _sides(layer, first)
            channels = a["outputs"] if layer.kind == "conv" else first[0]
            result: Shape = (channels, *sides)
            _check_groups(layer, first, owner)
        case "unpool":
            _need_map(layer, first, owner)
            result = (first[0], *_unpooled(layer, first))
        case "dense":
            result = (*first[:-1], a["outputs"])
        case "flatten":
            result = (prod(first),)
        case "reshape":
            result = tuple(a["shape"])
            if prod(result) != prod(first):
                _misfit(layer, owner, "keeps the number of values", f"{first} for {result}")
        case "concat":
            if len({s[1:] for s in given}) > 1:
                _misfit(layer, owner, "joins maps of one size", " and ".join(map(str, given)))
            result = (sum(s[0] for s in given), *first[1:])
        case "add":
            if len(set(given)) > 1:
                _misfit(layer, owner, "adds equal shapes", " and ".join(map(str, given)))
            result = first
        case _:
            result = first
    if min(result) < 1:
        _misfit(layer, owner, "must leave at least one pixel", f"{first} to {result}")
    return result


def parameters(layer: Layer, given: Sequence[Shape]) -> int:
    """Return the number of trained parameters of one operation.

    Example:
        >>> from augmint.merging.notation import convolution
        >>> parameters(Layer("y", "conv", ("x",), convolution(3, 4, bias=True)), [(2, 8, 8)])
        76
    """
    a = layer.attributes
    if layer.kind == "conv":
        return weights(layer, given) + (a["outputs"] if a["bias"] else 0)
    if layer.kind == "dense":
        return weights(layer, given) + (a["outputs"] if a["bias"] else 0)
    if layer.kind == "norm":
        return norm_parameters(a, given[0])
    if layer.kind == "activation" and a["mode"] == "prelu":
        return given[0][0] if a["channelwise"] else 1
    return 0


def norm_parameters(attributes: Mapping[str, Any], shape: Shape) -> int:
    """Return the number of scales and shifts of a normalisation.

    Example:
        >>> [norm_parameters({"mode": m, "affine": True}, (4, 8, 8)) for m in ("batch", "layer")]
        [8, 512]
    """
    if not attributes.get("affine", False):
        return 0
    return 2 * (prod(shape) if attributes["mode"] == "layer" else shape[0])


def weights(layer: Layer, given: Sequence[Shape]) -> int:
    """Return the number of weights (no biases) of a convolution or dense layer, else 0.

    Example:
        >>> from augmint.merging.notation import convolution
        >>> weights(Layer("y", "conv", ("x",), convolution(3, 4, bias=True)), [(2, 8, 8)])
        72
    """
    a = layer.attributes
    if layer.kind == "conv":
        return prod(a["kernel"]) * given[0][0] // a["groups"] * a["outputs"]
    return given[0][-1] * a["outputs"] if layer.kind == "dense" else 0


def multiplications(layer: Layer, given: Sequence[Shape], result: Shape) -> int:
    """Return the multiplications of a convolution or dense layer for one image, else 0.

    Example:
        >>> from augmint.merging.notation import convolution
        >>> conv = Layer("y", "conv", ("x",), convolution(3, 4, bias=True))
        >>> multiplications(conv, [(2, 8, 8)], (4, 8, 8)) == 72 * 64
        True
    """
    count = weights(layer, given)
    if layer.kind == "conv":
        return count * prod(given[0][1:] if layer.attributes.get("transposed") else result[1:])
    return count


def totals(network: Network) -> dict[str, int]:
    """Return parameters, weights of convolutions, weights, multiplications for one image.

    Example:
        >>> from augmint.merging.notation import chain
        >>> totals(chain("n", (1, 8, 8), "3C:4 10F", norm="none"))["parameters"]
        2610
    """
    shapes = infer(network)
    sums = {"parameters": 0, "convolution_weights": 0, "weights": 0, "multiplications": 0}
    for layer in network.layers[1:]:
        given = [shapes[name] for name in layer.inputs]
        if not layer.module:  # a layer that borrows its weights has none of its own
            sums["parameters"] += parameters(layer, given)
            sums["weights"] += weights(layer, given)
            if layer.kind == "conv":
                sums["convolution_weights"] += weights(layer, given)
        sums["multiplications"] += multiplications(layer, given, shapes[layer.name])
    return sums


def _sides(layer: Layer, given: Shape) -> tuple[int, int]:
    a = layer.attributes
    if layer.kind == "pad":
        left, right, top, bottom = a["sizes"]
        return given[1] + top + bottom, given[2] + left + right
    if "size" in a:  # adaptive pooling
        return a["size"][0] or given[1], a["size"][1] or given[2]
    if a.get("padding") == "same":
        return given[1], given[2]
    h, w = (_side(a, given[1 + i], i) for i in (0, 1))
    return h, w


def _side(a: Mapping[str, Any], n: int, i: int) -> int:
    k, s, p = a["kernel"][i], a["stride"][i], a["padding"][i]
    d = a.get("dilation", (1, 1))[i]
    if a.get("transposed"):
        return int((n - 1) * s - 2 * p + d * (k - 1) + a["output_padding"][i] + 1)
    room = (n + 2 * p - d * (k - 1) - 1) / s
    if not a.get("ceil"):
        return floor(room) + 1
    sides = ceil(room) + 1
    # a last window that would begin in the padding is left out
    return sides - 1 if (sides - 1) * s >= n + p else sides


def _unpooled(layer: Layer, given: Shape) -> tuple[int, int]:
    a = layer.attributes
    if "size" in a:
        return int(a["size"][0]), int(a["size"][1])
    return floor(given[1] * a["factor"][0]), floor(given[2] * a["factor"][1])


def _need_map(layer: Layer, given: Shape, owner: str) -> None:
    if len(given) != 3:
        _misfit(layer, owner, "takes maps (C, H, W)", str(given))


def _check_groups(layer: Layer, given: Shape, owner: str) -> None:
    a = layer.attributes
    groups = a.get("groups", 1)
    if given[0] % groups or a.get("outputs", groups) % groups:
        found = f"{given[0]} to {a.get('outputs')} channels"
        _misfit(layer, owner, f"has channels in {groups} equal groups", found)


def _misfit(layer: Layer, owner: str, rule: str, found: str) -> None:
    raise ShapeError(
        f"layer {layer.name!r} ({layer.kind}) of {owner} {rule}",
        found,
        "check the layers before it and the input's shape (--shape CxHxW)",
    )

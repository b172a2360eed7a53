"""Condition maps, which every convolution of a generator sees at its own size.

A plane that a convolution sees beside its input adds to its output a convolution of the plane:
concatenating `planes` of a condition c to the input h of each convolution W is

    W * h + V * pool(c)

with V a 3x3 convolution and pool the mean over the pixels that one of the output covers. That is
how a generator is asked for what lies in the image plane, such as points and masks: what is wanted
here is said here (Ma, Jia, Sun, Schiele, Tuytelaars and Van Gool 2017, arXiv 1705.09368, give
points so, at the input of a U-Net).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from augmint.core.errors import UsageError
from augmint.networks.blocks import UpsampleConv

if TYPE_CHECKING:
    from augmint.core.types import FloatImages

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d, UpsampleConv)


def entries(layers: nn.Sequential, planes: int) -> nn.ModuleDict:
    """Return the convolutions V of condition maps, by the place of the layer that each adds to.

    Example:
        >>> layers = nn.Sequential(nn.Conv2d(8, 4, 3), nn.ReLU(), nn.Conv2d(4, 1, 3))
        >>> [(place, v.in_channels, v.out_channels) for place, v in entries(layers, 2).items()]
        [('0', 2, 4), ('2', 2, 1)]
    """
    if not planes:
        return nn.ModuleDict()
    found = {
        str(place): nn.Conv2d(planes, layer.out_channels, 3, padding=1, bias=False)
        for place, layer in enumerate(layers)
        if isinstance(layer, CONVOLUTIONS)
    }
    return nn.ModuleDict(found)


def chain(
    layers: nn.Sequential, entered: nn.ModuleDict, maps: FloatImages, condition: Tensor | None
) -> FloatImages:
    """Return what the layers make of maps, with the condition `(N, planes, H, W)` entering.

    Raises:
        UsageError: if a condition is given to a network without entries, or the reverse.

    Example:
        >>> import torch
        >>> layers, maps = nn.Sequential(nn.Conv2d(3, 1, 3, padding=1)), torch.ones(1, 3, 4, 4)
        >>> entered = entries(layers, 2)
        >>> made = chain(layers, entered, maps, torch.ones(1, 2, 8, 8))
        >>> torch.allclose(made, layers(maps) + entered["0"](torch.ones(1, 2, 4, 4)), atol=1e-5)
        True
    """
    if (condition is None) == bool(entered):
        raise UsageError(
            "condition maps are given to a generator that was built for them",
            "none" if condition is None else tuple(condition.shape),
            "pass `condition` where condition_width is above 0",
        )
    if condition is None:
        plain: FloatImages = layers(maps)
        return plain
    pooled = {(condition.shape[2], condition.shape[3]): condition}
    for place, layer in enumerate(layers):
        maps = layer(maps)
        if str(place) in entered:
            size = (maps.shape[2], maps.shape[3])
            if size not in pooled:
                pooled[size] = functional.adaptive_avg_pool2d(condition, size)
            maps = maps + entered[str(place)](pooled[size])
    return maps

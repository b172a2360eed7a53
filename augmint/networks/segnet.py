"""SegNet and SegNet-basic: maxima go up to the places that they came from."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn
from torch.nn import functional

from augmint.core.errors import UsageError
from augmint.core.registry import ARCHITECTURES
from augmint.networks.base import MapperArchitecture
from augmint.networks.blocks import BatchNorm2d, channels_last, initialise_he
from augmint.networks.sizes import check_size

if TYPE_CHECKING:
    from augmint.core.types import Features, FloatImages, Shape


class PooledNetwork(nn.Module):
    """Encoder blocks with max-pooling, decoder blocks behind max-unpooling with its indices.

    Args:
        encoder: blocks, the finest first, each with 2x2 max-pooling behind it.
        decoder: blocks, the coarsest first, each behind an unpooling: values go to the places of
            the maxima, zeros elsewhere.
        head: convolution to the outputs.

    Example:
        >>> import torch
        >>> same = nn.ModuleList([nn.Identity()])
        >>> network = PooledNetwork(same, same, nn.Identity())
        >>> network(torch.tensor([[[[1.0, 2.0], [4.0, 3.0]]]]))
        tensor([[[[0., 0.],
                  [4., 0.]]]])
    """

    def __init__(self, encoder: nn.ModuleList, decoder: nn.ModuleList, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.head = head

    def features(self, images: FloatImages) -> Features:
        """Return `(N, F)`: the maps behind the last pooling, averaged over their pixels."""
        return self._encoded(images)[0].mean((2, 3))

    def forward(self, images: FloatImages) -> FloatImages:
        maps, pooled = self._encoded(images)
        for block, (indices, size) in zip(self.decoder, reversed(pooled), strict=True):
            maps = block(functional.max_unpool2d(maps, indices, [2, 2], output_size=size))
        result: Tensor = self.head(maps)
        return result

    def _encoded(self, images: FloatImages) -> tuple[Tensor, list[tuple[Tensor, list[int]]]]:
        maps, pooled = images, []
        for block in self.encoder:
            maps = block(maps)
            size = list(maps.shape[-2:])  # odd sides lose a row, and get it back
            maps, indices = functional.max_pool2d(maps, 2, return_indices=True)
            pooled.append((indices, size))
        return maps, pooled


@dataclass(frozen=True)
class _Pooled(MapperArchitecture):
    """What both have in common."""

    channels: int = 64
    channels_last: ClassVar[bool] = True
    batch_coupled: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise UsageError("the base width is at least 1", self.channels, "set channels: 64")


@ARCHITECTURES.register("segnet")
@dataclass(frozen=True)
class SegNet(_Pooled):
    """SegNet (Badrinarayanan, Kendall and Cipolla 2017, arXiv 1511.00561): VGG-16 and its mirror.

    Thirteen 3x3 convolutions with batch normalisation and ReLU, in blocks of 2, 2, 3, 3, 3 and
    widths 64, 128, 256, 512, 512, each with 2x2 max-pooling; the decoder mirrors them behind
    max-unpooling, and the last convolution gives the classes: 29.4 million weights. Sides 32 to
    512 px. He initialisation, channels_last.

    Args:
        channels: width of the first block (64 in the paper); the others scale with it.

    Example:
        >>> network = SegNet(channels=1).build((3, 32, 32), 12)
        >>> layers = [m for m in network.encoder.modules() if isinstance(m, nn.Conv2d)]
        >>> [layer.out_channels for layer in layers]  # VGG-16's, over 64
        [1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 8, 8, 8]
    """

    def check_shape(self, shape: Shape) -> None:
        check_size(shape, "segnet takes sizes from 32 to 512 px", smallest=32, largest=512)

    def build(self, shape: Shape, outputs: int) -> nn.Module:
        self.check_shape(shape)
        widths = [self.channels * k for k in (1, 2, 4, 8, 8)]
        counts = (2, 2, 3, 3, 3)
        encoder, decoder = nn.ModuleList(), nn.ModuleList()
        for inputs, width, count in zip((shape[0], *widths), widths, counts, strict=False):
            encoder.append(_convolutions([inputs] + [width] * count, 3))
        after = [*widths[:-1][::-1], self.channels]
        for width, narrower, count in zip(widths[::-1], after, counts[::-1], strict=True):
            # the very last convolution of the mirror is the head
            steps = [width] * count + [narrower]
            decoder.append(_convolutions(steps[:-1] if width == self.channels else steps, 3))
        head = nn.Conv2d(self.channels, outputs, 3, padding=1)
        network = PooledNetwork(encoder, decoder, head)
        initialise_he(network)
        return channels_last(network)


@ARCHITECTURES.register("segnet-basic")
@dataclass(frozen=True)
class SegNetBasic(_Pooled):
    """SegNet-basic, the small one of the same paper: 1.4 million weights.

    Four 7x7 convolutions to 64 with batch normalisation, ReLU and 2x2 max-pooling; four behind
    max-unpooling, with batch normalisation and no ReLU; a 1x1 convolution to the classes. Sides 16
    to 512 px. He initialisation, channels_last.

    Args:
        channels: width of all layers.

    Example:
        >>> import torch
        >>> network = SegNetBasic().build((3, 64, 64), 12)
        >>> round(sum(p.numel() for p in network.parameters()) / 1e6, 1)
        1.4
        >>> SegNetBasic(channels=4).build((3, 19, 16), 12)(torch.zeros(2, 3, 19, 16)).shape
        torch.Size([2, 12, 19, 16])
    """

    def check_shape(self, shape: Shape) -> None:
        check_size(shape, "segnet-basic takes sizes from 16 to 512 px", smallest=16, largest=512)

    def build(self, shape: Shape, outputs: int) -> nn.Module:
        self.check_shape(shape)
        width = self.channels
        encoder = nn.ModuleList(
            _convolutions([inputs, width], 7) for inputs in (shape[0], width, width, width)
        )
        decoder = nn.ModuleList(_convolutions([width, width], 7, active=False) for _ in range(4))
        network = PooledNetwork(encoder, decoder, nn.Conv2d(width, outputs, 1))
        initialise_he(network)
        return channels_last(network)


def _convolutions(widths: list[int], kernel: int, active: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)]
        layers += [BatchNorm2d(outputs)]
        layers += [nn.ReLU(inplace=True)] if active else []
    return nn.Sequential(*layers)

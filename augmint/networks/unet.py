"""U-Net: a map of the image's size, from what is far (few, wide maps) and near (skips)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from augmint.core.errors import UsageError
from augmint.core.registry import ARCHITECTURES
from augmint.networks.base import MapperArchitecture
from augmint.networks.blocks import BatchNorm2d, channels_last, initialise_he
from augmint.networks.sizes import check_size

if TYPE_CHECKING:
    from augmint.core.types import Features, FloatImages, Shape


class UNetwork(nn.Module):
    """Blocks down, one at the bottom, blocks up that see the skip of their size.

    Args:
        down: blocks of each level, the finest first; halved by 2x2 max-pooling between them.
        bottom: the block at the lowest resolution.
        up: transposed convolutions that double the size, the coarsest first.
        joined: blocks behind each of them.
        head: 1x1 convolution to the outputs.
    """

    def __init__(
        self,
        down: nn.ModuleList,
        bottom: nn.Module,
        up: nn.ModuleList,
        joined: nn.ModuleList,
        head: nn.Module,
    ) -> None:
        super().__init__()
        self.down = down
        self.bottom = bottom
        self.up = up
        self.joined = joined
        self.head = head

    def features(self, images: FloatImages) -> Features:
        """Return `(N, F)`: the maps at the bottom, averaged over their pixels."""
        return self._lowered(images)[0].mean((2, 3))

    def forward(self, images: FloatImages) -> FloatImages:
        maps, skips = self._lowered(images)
        for raise_, join, skip in zip(self.up, self.joined, reversed(skips), strict=True):
            maps = raise_(maps)
            below, beside = (s - m for s, m in zip(skip.shape[-2:], maps.shape[-2:], strict=True))
            if below or beside:  # an odd side lost its last row by pooling
                maps = nn.functional.pad(maps, (0, beside, 0, below), mode="replicate")
            maps = join(torch.cat((skip, maps), 1))
        result: Tensor = self.head(maps)
        return result

    def _lowered(self, images: FloatImages) -> tuple[Tensor, list[Tensor]]:
        maps, skips = images, []
        for block in self.down:
            maps = block(maps)
            skips.append(maps)
            maps = nn.functional.max_pool2d(maps, 2)
        return self.bottom(maps), skips


@ARCHITECTURES.register("unet")
@dataclass(frozen=True)
class UNet(MapperArchitecture):
    """U-Net (Ronneberger, Fischer and Brox 2015, arXiv 1505.04597), with padded convolutions.

    On each level two 3x3 convolutions with ReLU, 2x2 max-pooling down, transposed 2x2 convolutions
    of stride 2 up, skips joined by concatenation; widths channels, 2 · channels … 2^depth ·
    channels. The paper's is depth 4 and 64 channels without padding and normalisation, so that its
    map is smaller than the image. Sides from 2^depth, at least 8, to 512 px; where a side is odd,
    the last row is repeated on the way up. He initialisation (not of the transposed convolutions,
    which torch draws), channels_last.

    Args:
        channels: width of the first level.
        depth: how often sides are halved, 1 to 6.
        normalisation: batch normalisation behind each convolution.

    Example:
        >>> network, images = UNet(channels=2).build((1, 9, 13), 5), torch.zeros(2, 1, 9, 13)
        >>> network(images).shape, network.features(images).shape  # 2 · 2³ wide at the bottom
        (torch.Size([2, 5, 9, 13]), torch.Size([2, 16]))
    """

    channels: int = 16
    depth: int = 3
    normalisation: bool = True
    channels_last: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise UsageError("the base width is at least 1", self.channels, "set channels: 16")
        if not 1 <= self.depth <= 6:
            raise UsageError("a U-Net's depth is 1 to 6", self.depth, "set depth: 3")

    @property
    def batch_coupled(self) -> bool:  # type: ignore[override]
        return self.normalisation

    @property
    def smallest_batch(self) -> int:  # type: ignore[override]
        return 2 if self.normalisation else 1  # of one pixel a map at the bottom

    def check_shape(self, shape: Shape) -> None:
        smallest = max(8, 2**self.depth)
        rule = f"a U-Net of depth {self.depth} takes sizes from {smallest} to 512 px"
        check_size(shape, rule, smallest=smallest, largest=512)

    def build(self, shape: Shape, outputs: int) -> UNetwork:
        self.check_shape(shape)
        widths = [self.channels * 2**level for level in range(self.depth + 1)]
        down, up, joined = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for before, width in zip((shape[0], *widths), widths[:-1], strict=False):
            down.append(self._block(before, width))
        bottom = self._block(widths[-2], widths[-1])
        for width in reversed(widths[:-1]):
            up.append(nn.ConvTranspose2d(2 * width, width, 2, stride=2))
            joined.append(self._block(2 * width, width))
        head = nn.Conv2d(self.channels, outputs, 1)
        network = UNetwork(down, bottom, up, joined, head)
        initialise_he(network)
        return channels_last(network)

    def _block(self, inputs: int, outputs: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for before in (inputs, outputs):
            layers += [nn.Conv2d(before, outputs, 3, padding=1, bias=not self.normalisation)]
            layers += [BatchNorm2d(outputs)] if self.normalisation else []
            layers += [nn.ReLU(inplace=True)]
        return nn.Sequential(*layers)

"""Regressors: networks for numbers of an image that lie in [-1, 1], such as landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from augmint.core.errors import UsageError
from augmint.core.registry import ARCHITECTURES
from augmint.networks.base import ClassifierArchitecture
from augmint.networks.blocks import channels_last, initialise_glorot, initialise_he
from augmint.networks.classifiers import Classifier
from augmint.networks.sizes import check_size
from augmint.networks.unet import UNet, UNetwork

if TYPE_CHECKING:
    from augmint.core.types import Features, FloatImages, Shape


@ARCHITECTURES.register("var-regressor")
@dataclass(frozen=True)
class VarRegressor(ClassifierArchitecture):
    """The regressor of VAR+GAN (Bazrafkan and Corcoran 2018, arXiv 1805.10864, Table 1).

    3x3 convolution to `channels`, ReLU, 2x2 max-pooling; the same again; dense `hidden`, ReLU;
    dense outputs, tanh: 9 577 378 weights at 48x48x3 with 98 outputs. Sizes 8 to 256 px, `released`
    18 to 256. The table says nothing of padding; ours keeps the size (48 → 24 → 12). The released
    code has no padding, a third convolution behind the second pooling, and dropout 0.5 before both
    dense layers (`released`). Glorot initialisation, channels_last.

    Args:
        channels: width of the convolutions.
        hidden: width of the first dense layer.
        bounded: end with tanh, for encodings within [-1, 1]; False gives any number, as logits and
            standardised vectors need.
        released: the layers of the released code.

    Example:
        >>> network = VarRegressor().build((3, 48, 48), 98)
        >>> sum(p.numel() for p in network.parameters())
        9577378
    """

    channels: int = 64
    hidden: int = 1024
    bounded: bool = True  # type: ignore[misc]
    released: bool = False
    channels_last: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("channels", "hidden"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is at least 1", getattr(self, name), f"set {name}: 64")

    def check_shape(self, shape: Shape) -> None:
        smallest = 18 if self.released else 8
        check_size(shape, f"var-regressor takes sizes from {smallest} to 256 px", smallest=smallest)

    def build(self, shape: Shape, outputs: int) -> nn.Module:
        self.check_shape(shape)
        padding, width = int(not self.released), self.channels
        layers: list[nn.Module] = []
        height, breadth, inputs = shape[1], shape[2], shape[0]
        for pooled in (True, True, False)[: 3 if self.released else 2]:
            layers += [nn.Conv2d(inputs, width, 3, padding=padding), nn.ReLU(inplace=True)]
            layers += [nn.MaxPool2d(2)] if pooled else []
            height, breadth = (
                (side - 2 * self.released) // (2 if pooled else 1) for side in (height, breadth)
            )
            inputs = width
        share = 0.5 if self.released else 0.0
        layers += [nn.Flatten(), nn.Dropout(share)]
        layers += [nn.Linear(width * height * breadth, self.hidden), nn.ReLU(inplace=True)]
        layers += [nn.Dropout(share)]
        last: nn.Module = nn.Linear(self.hidden, outputs)
        head = nn.Sequential(last, nn.Tanh()) if self.bounded else last
        network = Classifier(nn.Sequential(*layers), head)
        initialise_glorot(network)
        return channels_last(network)


class IntegralNetwork(nn.Module):
    """Maps of where each point may lie, and the mean place of each.

    Args:
        stem: images to what the mapper sees, its sides those of the images over `cell`.
        mapper: to one map a point, `(N, K, H // cell, W // cell)`.
        shape: of the images.
        cell: side of what one cell of the maps covers, in pixels.

    Example:
        >>> network = IntegralNetwork(nn.Identity(), nn.Identity(), (1, 4, 4))
        >>> maps = torch.zeros(2, 1, 4, 4)
        >>> maps[1, 0, 0, 3] = 100.0  # nowhere in particular; the upper right corner
        >>> network(maps).tolist()
        [[0.0, 0.0], [0.75, -0.75]]
    """

    across: Tensor
    down: Tensor

    def __init__(self, stem: nn.Module, mapper: UNetwork, shape: Shape, cell: int = 1) -> None:
        super().__init__()
        self.stem = stem
        self.mapper = mapper
        for name, side in (("down", shape[1]), ("across", shape[2])):
            centres = (torch.arange(side // cell) + 0.5) * (2.0 * cell / side) - 1.0
            self.register_buffer(name, centres, persistent=False)

    def features(self, images: FloatImages) -> Features:
        """Return `(N, F)`: the maps at the bottom, averaged over their pixels."""
        return self.mapper.features(self.stem(images))

    def forward(self, images: FloatImages) -> Features:
        maps = self.mapper(self.stem(images)).float()  # bf16 has no thousandth of a frame
        shares = maps.flatten(2).softmax(2).view_as(maps)
        x = (shares.sum(2) * self.across).sum(2)
        y = (shares.sum(3) * self.down).sum(2)
        return torch.stack((x, y), 2).flatten(1)


@ARCHITECTURES.register("integral-regressor")
@dataclass(frozen=True)
class IntegralRegressor(ClassifierArchitecture):
    """A U-Net's map for each point, read by its mean place: integral regression, or soft-argmax.

    With S_k the map of point k and c the centres of pixels, in [-1, 1] over the frame,

        p_k = Σ_c c · exp(S_k(c)) / Σ_c exp(S_k(c))

    (Sun, Xiao, Wei, Liang and Wei 2018, arXiv 1711.08229, equation 2; the maps learn from the
    points alone here). A point is where something looks like it, not a number for a whole image:
    few images teach that, and means are finer than pixels. Points lie within the frame, and
    half a cell from its edge; for landmarks alone.

    The U-Net is `unet` without normalisation, and takes its sizes. While sides are above
    `largest`, a 3x3 convolution, ReLU and 2x2 max-pooling before it halve them, so that large
    images cost little more than their first layers. He initialisation, channels_last.

    Args:
        channels: width of the U-Net's first level, and of what is before it.
        depth: how often its sides are halved, 1 to 6.
        largest: side of the maps, at most, unless the shorter side would be too small for `depth`.

    Example:
        >>> network = IntegralRegressor(channels=2, largest=16).build((1, 32, 32), 10)
        >>> network(torch.zeros(2, 1, 32, 32)).shape
        torch.Size([2, 10])
        >>> network.mapper.head.out_channels, len(network.across)  # 5 maps of 16x16
        (5, 16)
    """

    channels: int = 16
    depth: int = 3
    largest: int = 64
    bounded: ClassVar[bool] = True
    kinds: ClassVar[frozenset[str]] = frozenset({"landmarks"})
    channels_last: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._mapper()
        if self.largest < 8:
            raise UsageError("maps have sides of 8 and more", self.largest, "set largest: 64")

    def check_shape(self, shape: Shape) -> None:
        self._mapper().check_shape(shape)

    def build(self, shape: Shape, outputs: int) -> nn.Module:
        if outputs < 2 or outputs % 2:
            raise UsageError(
                "integral-regressor gives x and y of each point", f"{outputs} numbers", "use 2 K"
            )
        self.check_shape(shape)
        unet, stem = self._mapper(), nn.Sequential()
        (inputs, *sides), cell = shape, 1
        while max(sides) > self.largest and min(sides) >= 2 * max(8, 2**self.depth):
            stem.extend((nn.Conv2d(inputs, self.channels, 3, padding=1), nn.ReLU(inplace=True)))
            stem.append(nn.MaxPool2d(2))
            inputs, cell = self.channels, 2 * cell
            sides = [side // 2 for side in sides]
        mapper = unet.build((inputs, sides[0], sides[1]), outputs // 2)
        # what is added to a whole map moves no mean
        mapper.head.register_parameter("bias", None)
        initialise_he(stem)
        return channels_last(IntegralNetwork(stem, mapper, shape, cell))

    def _mapper(self) -> UNet:
        return UNet(self.channels, self.depth, normalisation=False)

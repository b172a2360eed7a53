"""Regressors: networks for numbers of an image that lie in [-1, 1], such as landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import nn

from augmint.core.errors import UsageError
from augmint.core.registry import ARCHITECTURES
from augmint.networks.base import ClassifierArchitecture
from augmint.networks.blocks import channels_last, initialise_glorot
from augmint.networks.classifiers import Classifier
from augmint.networks.sizes import check_size

if TYPE_CHECKING:
    from augmint.core.types import Shape


@ARCHITECTURES.register("var-regressor")
@dataclass(frozen=True)
class VarRegressor(ClassifierArchitecture):
    """The regressor of VAR+GAN (Bazrafkan and Corcoran 2018, arXiv 1805.10864, Table 1).

    3x3 convolution to `channels`, ReLU, 2x2 max-pooling; the same again; dense `hidden`, ReLU;
    dense outputs, tanh: 9 577 378 weights at 48x48x3 with 98 outputs. Sizes 8 to 256 px, `released` 18 to 256. The table
    says nothing of padding; ours keeps the size (48 → 24 → 12). The released code has no padding, a
    third convolution behind the second pooling, and dropout 0.5 before both dense layers
    (`released`). Glorot initialisation, channels_last.

    Args:
        channels: width of the convolutions.
        hidden: width of the first dense layer.
        bounded: end with tanh, for encodings within [-1, 1]; False gives any number, as logits and
            standardised vectors need.
        released: the layers of the released code.
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

"""Classifiers: tasks train them, and VAC puts one beside the critic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from torch import nn

from augmint.core.errors import UsageError
from augmint.core.registry import ARCHITECTURES
from augmint.networks.base import ClassifierArchitecture
from augmint.networks.blocks import BatchNorm2d, channels_last, initialise_glorot, initialise_he
from augmint.networks.sizes import check_size

if TYPE_CHECKING:
    from augmint.core.types import Features, FloatImages, Shape


class Classifier(nn.Module):
    """A trunk, which gives features, and a head of dense layers on them.

    `features(images)` is `(N, F)`, what the last dense layer sees in evaluation mode;
    `forward(images)` is `(N, outputs)`.

    Args:
        trunk: images to features.
        head: features to outputs, one linear layer.

    Example:
        >>> import torch
        >>> network = Classifier(nn.Flatten(), nn.Linear(64, 10))
        >>> images = torch.zeros(2, 1, 8, 8)
        >>> network.features(images).shape, network(images).shape
        (torch.Size([2, 64]), torch.Size([2, 10]))
    """

    def __init__(self, trunk: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head

    def features(self, images: FloatImages) -> Features:
        """Return `(N, F)`, the layer before the last."""
        result: Features = self.trunk(images)
        return result

    def forward(self, images: FloatImages) -> Features:
        result: Features = self.head(self.features(images))
        return result


@ARCHITECTURES.register("small-cnn")
@dataclass(frozen=True)
class SmallCnn(ClassifierArchitecture):
    """Three blocks of 3x3 convolution, normalisation, ReLU and 2x2 max-pooling; one dense layer.

    Widths channels, 2 · channels, 4 · channels; sizes 8 to 256 px. What is left of the map (3x3
    at 28 px, 4x4 at 32) is flattened up to 4x4 and average-pooled to 4x4 above, so that the head
    stays small. He initialisation, channels_last.

    `normalisation="batch"` learns most from few images. "group" and "none" keep samples apart and
    have no running statistics: take "none" for a network beside the critic, where it is also the
    fastest.

    Args:
        channels: width of the first block.
        normalisation: of the three blocks.
        dropout: share of features dropped before the head, in training.

    Example:
        >>> plan = SmallCnn(channels=8)  # 32 maps behind the third block, of 3x3, 4x4, 4x4
        >>> [plan.build((1, side, side), 10).head.in_features for side in (28, 32, 64)]
        [288, 512, 512]
    """

    channels: int = 32
    normalisation: Literal["batch", "group", "none"] = "batch"
    dropout: float = 0.5
    channels_last: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise UsageError("the base width is at least 1", self.channels, "set channels: 32")
        if not 0.0 <= self.dropout < 1.0:
            raise UsageError("dropout is in [0, 1)", self.dropout, "set dropout: 0.5")

    @property
    def batch_coupled(self) -> bool:  # type: ignore[override]
        return self.normalisation == "batch"

    def check_shape(self, shape: Shape) -> None:
        check_size(shape, "small-cnn takes sizes from 8 to 256 px")

    def build(self, shape: Shape, outputs: int) -> nn.Module:
        self.check_shape(shape)
        widths = (self.channels, 2 * self.channels, 4 * self.channels)
        layers: list[nn.Module] = []
        for a, b in zip((shape[0], *widths), widths, strict=False):
            layers += [nn.Conv2d(a, b, 3, padding=1, bias=self.normalisation == "none")]
            layers += self._norm(b)
            layers += [nn.ReLU(inplace=True), nn.MaxPool2d(2)]
        grid = (min(shape[1] // 8, 4), min(shape[2] // 8, 4))
        layers += [] if grid == (shape[1] // 8, shape[2] // 8) else [nn.AdaptiveAvgPool2d(grid)]
        layers += [nn.Flatten(), nn.Dropout(self.dropout)]
        features = widths[-1] * grid[0] * grid[1]
        network = Classifier(nn.Sequential(*layers), nn.Linear(features, outputs))
        initialise_he(network)
        return channels_last(network)

    def _norm(self, channels: int) -> list[nn.Module]:
        if self.normalisation == "batch":
            return [BatchNorm2d(channels)]
        if self.normalisation == "group":
            groups = next(g for g in (8, 4, 2, 1) if channels % g == 0)
            return [nn.GroupNorm(groups, channels)]
        return []


@ARCHITECTURES.register("fer-simple")
@dataclass(frozen=True)
class FerSimple(ClassifierArchitecture):
    """The eight-convolution network for FER2013 faces, 5 905 863 numbers at 48x48x1, 7 classes.

    Blocks of width 64, 128, 256, 512, each two 3x3 convolutions with ReLU and batch norm after
    them (the very first is unpadded and has no norm), 2x2 max-pooling and dropout 0.5; then dense
    512, 256, 128 with dropout 0.4, 0.4, 0.5. The count holds running means and variances, as
    Keras counts; 5 902 151 are trained. Sizes 18 to 256 px. Public FER2013 network known for 65 to
    66 % accuracy; its first convolution carries an L2 penalty of 0.01 there, which is the
    optimiser's business here. Glorot initialisation, channels_last.

    Example:
        >>> network = FerSimple().build((1, 48, 48), 7)
        >>> sum(p.numel() for p in network.parameters())
        5902151
    """

    channels_last: ClassVar[bool] = True
    batch_coupled: ClassVar[bool] = True

    def check_shape(self, shape: Shape) -> None:
        rule = "fer-simple takes sizes from 18 to 256 px"
        check_size(shape, rule, smallest=18)

    def build(self, shape: Shape, outputs: int) -> nn.Module:
        self.check_shape(shape)
        layers: list[nn.Module] = []
        inputs = shape[0]
        for i, width in enumerate((64, 128, 256, 512)):
            layers += [nn.Conv2d(inputs, width, 3, padding=int(i > 0)), nn.ReLU(inplace=True)]
            layers += [BatchNorm2d(width)] if i > 0 else []
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True)]
            layers += [BatchNorm2d(width), nn.MaxPool2d(2), nn.Dropout(0.5)]
            inputs = width
        layers += [nn.Flatten()]
        inputs = 512 * ((shape[1] - 2) // 16) * ((shape[2] - 2) // 16)
        for width, dropout in ((512, 0.4), (256, 0.4), (128, 0.5)):
            layers += [nn.Linear(inputs, width), nn.ReLU(inplace=True), nn.Dropout(dropout)]
            inputs = width
        network = Classifier(nn.Sequential(*layers), nn.Linear(inputs, outputs))
        initialise_glorot(network)
        return channels_last(network)


@ARCHITECTURES.register("fer-surreal")
@dataclass(frozen=True)
class FerSurreal(ClassifierArchitecture):
    """The "Surreal" network for FER2013 faces, which its report marks as not working.

    3x3 convolution to 64, ReLU, 3x3 max-pooling of stride 2, normalisation; the same to 128; two
    dense layers of 256; the classes. "Normalisation" is not explained there; local response
    normalisation (Krizhevsky et al. 2012) over 9 channels is our reconstruction, as are the
    padding (which keeps 48 → 24 → 12) and Glorot's initialisation. Sizes 8 to 256 px.

    Example:
        >>> network = FerSurreal().build((1, 48, 48), 7)
        >>> dense = [m for m in network.modules() if isinstance(m, nn.Linear)]
        >>> [layer.in_features for layer in dense]  # the first sees 128 maps of 12x12
        [18432, 256, 256]
    """

    channels_last: ClassVar[bool] = True

    def check_shape(self, shape: Shape) -> None:
        check_size(shape, "fer-surreal takes sizes from 8 to 256 px")

    def build(self, shape: Shape, outputs: int) -> nn.Module:
        self.check_shape(shape)
        layers: list[nn.Module] = []
        for a, b in ((shape[0], 64), (64, 128)):
            layers += [nn.Conv2d(a, b, 3, padding=1), nn.ReLU(inplace=True)]
            layers += [nn.MaxPool2d(3, 2, padding=1)]
            layers += [nn.LocalResponseNorm(9, alpha=0.001, beta=0.75)]
        # pooling with padding 1 rounds odd sides up, twice
        inputs = 128 * ((shape[1] + 3) // 4) * ((shape[2] + 3) // 4)
        layers += [nn.Flatten(), nn.Linear(inputs, 256), nn.ReLU(inplace=True)]
        layers += [nn.Linear(256, 256), nn.ReLU(inplace=True)]
        network = Classifier(nn.Sequential(*layers), nn.Linear(256, outputs))
        initialise_glorot(network)
        return channels_last(network)

"""Changes of light, colour and noise, and erased boxes: no aspect moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from augmint.augmentation import operations
from augmint.augmentation.base import PhotometricAugmenter
from augmint.augmentation.geometric import check_range, spread
from augmint.core.errors import UsageError
from augmint.core.registry import AUGMENTERS

if TYPE_CHECKING:
    from torch import Tensor

    from augmint.core.streams import Stream


@dataclass(frozen=True)
class Factor(PhotometricAugmenter):
    """Base of those that draw one factor in [1 - strength, 1 + strength) an image.

    Args:
        strength: 0 to 1.
    """

    strength: float = 0.3

    def __post_init__(self) -> None:
        check_range("a photometric strength", self.strength, 0.0, 1.0)

    def draw(self, stream: Stream, images: Tensor) -> Tensor:
        return spread(stream.uniform(1)[:, 0], self.strength) + 1.0


@AUGMENTERS.register("brightness")
@dataclass(frozen=True)
class Brightness(Factor):
    """Scales the light of an image: `u' = f u`, u in [0, 1].

    Example:
        Mid-grey, u = 0.5, becomes 0.25 to 0.75.

        >>> from augmint.aspects.base import Schema
        >>> from augmint.core.streams import stream
        >>> half, middle = Brightness(strength=0.5), torch.zeros(100, 1, 2, 2)
        >>> changed, _ = half(middle, {}, Schema(()), stream(0, "train", ids=100))
        >>> bool((changed.abs() <= 0.5).all()), len(changed.unique())
        (True, 100)
    """

    def change(self, images: Tensor, parameters: Tensor) -> Tensor:
        return operations.brightness(images, parameters)


@AUGMENTERS.register("contrast")
@dataclass(frozen=True)
class Contrast(Factor):
    """Stretches an image about its mean grey: `x' = m + f (x - m)`.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.core.streams import stream
        >>> images = torch.tensor([0.0, 0.5]).expand(2, 1, 2, 2)
        >>> changed, _ = Contrast()(images, {}, Schema(()), stream(0, "train", ids=2))
        >>> [round(mean, 4) for mean in changed.mean((1, 2, 3)).tolist()]
        [0.25, 0.25]
    """

    def change(self, images: Tensor, parameters: Tensor) -> Tensor:
        return operations.contrast(images, parameters)


@AUGMENTERS.register("saturation")
@dataclass(frozen=True)
class Saturation(Factor):
    """Stretches RGB about each pixel's grey; images of other channel counts stay.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.core.streams import stream
        >>> grey = torch.linspace(-1.0, 1.0, 4).view(1, 1, 2, 2)
        >>> changed, _ = Saturation()(grey, {}, Schema(()), stream(0, "train"))
        >>> torch.equal(changed, grey)
        True
    """

    def change(self, images: Tensor, parameters: Tensor) -> Tensor:
        return operations.saturation(images, parameters)


@AUGMENTERS.register("gamma")
@dataclass(frozen=True)
class Gamma(Factor):
    """Bends the tone curve: `u' = u^g`, g = exp(U(-strength, strength)).

    Example:
        Black and white stay; what lies between moves.

        >>> from augmint.aspects.base import Schema
        >>> from augmint.core.streams import stream
        >>> images = torch.tensor([-1.0, 0.0, 1.0]).expand(1, 1, 3, 3)
        >>> changed, _ = Gamma()(images, {}, Schema(()), stream(0, "train"))
        >>> [abs(change) < 1e-6 for change in (changed - images)[0, 0, 0].tolist()]
        [True, False, True]
    """

    def draw(self, stream: Stream, images: Tensor) -> Tensor:
        return torch.exp(spread(stream.uniform(1)[:, 0], self.strength))

    def change(self, images: Tensor, parameters: Tensor) -> Tensor:
        return operations.gamma(images, parameters)


@AUGMENTERS.register("colour")
@dataclass(frozen=True)
class Colour(PhotometricAugmenter):
    """Brightness, contrast, saturation (RGB only) and gamma in turn, clipped once at the end.

    Args:
        brightness, contrast, saturation: half-widths of the factors about 1, 0 to 1.
        gamma: half-width of the exponent's logarithm, 0 to 1.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.core.streams import stream
        >>> only_contrast = Colour(brightness=0.0, saturation=0.0, gamma=0.0)
        >>> plain = torch.full((2, 3, 2, 2), 0.25)
        >>> changed, _ = only_contrast(plain, {}, Schema(()), stream(0, "train", ids=2))
        >>> torch.allclose(changed, plain)
        True
    """

    brightness: float = 0.2
    contrast: float = 0.3
    saturation: float = 0.3
    gamma: float = 0.2

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation", "gamma"):
            check_range(f"colour {name}", getattr(self, name), 0.0, 1.0)

    def draw(self, stream: Stream, images: Tensor) -> Tensor:
        strengths = torch.tensor([self.brightness, self.contrast, self.saturation, self.gamma])
        return (stream.uniform(4) * 2.0 - 1.0) * strengths

    def change(self, images: Tensor, parameters: Tensor) -> Tensor:
        images = operations.brightness(images, parameters[:, 0] + 1.0)
        images = operations.contrast(images, parameters[:, 1] + 1.0)
        images = operations.saturation(images, parameters[:, 2] + 1.0)
        return operations.gamma(images, parameters[:, 3].exp()) if self.gamma else images


@AUGMENTERS.register("noise")
@dataclass(frozen=True)
class Noise(PhotometricAugmenter):
    """Adds white noise: `x' = x + s n`, n ~ N(0, 1), s ~ U(0, strength) an image.

    Args:
        strength: the largest standard deviation on the scale of [-1, 1], 0 to 1.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.core.streams import stream
        >>> middle = torch.zeros(4, 1, 32, 32)
        >>> noisy, _ = Noise(strength=0.1)(middle, {}, Schema(()), stream(0, "train", ids=4))
        >>> bool((noisy.std((1, 2, 3)) < 0.11).all())
        True
    """

    strength: float = 0.1

    def __post_init__(self) -> None:
        check_range("noise strength", self.strength, 0.0, 1.0)

    def draw(self, stream: Stream, images: Tensor) -> Tensor:
        channels, height, width = images.shape[1:]
        deviation = stream.uniform(1) * self.strength
        noise = stream.normal(channels * height * width) * deviation
        return noise.view(-1, channels, height, width)

    def change(self, images: Tensor, parameters: Tensor) -> Tensor:
        return images + parameters.to(images.dtype)


@AUGMENTERS.register("erase")
@dataclass(frozen=True)
class Erase(PhotometricAugmenter):
    """Fills one box an image with a constant (DeVries and Taylor 2017, arXiv 1708.04552; Zhong
    et al. 2017, arXiv 1708.04896).

    The box covers a share U(smallest, largest) of the frame's area before it is cut by the
    frame, its sides differ by a factor exp(U(-elongation, elongation)), its centre is uniform.

    Args:
        probability: of erasing at all, 0 to 1.
        smallest, largest: shares of the area, 0 to 1.
        elongation: logarithm of the largest ratio of the sides, 0 to 2; 0 gives the frame's own.
        fill: the value put in, -1 to 1.

    Example:
        A box in the middle with half of the frame's sides: 4 x 4 of 8 x 8 pixels.

        >>> box = torch.tensor([[0.5, 0.5, 0.5, 0.5]])
        >>> int(Erase(fill=-1.0).change(torch.ones(1, 1, 8, 8), box).eq(-1.0).sum())
        16
    """

    probability: float = 0.5
    smallest: float = 0.02
    largest: float = 0.2
    elongation: float = 0.7
    fill: float = 0.0

    def __post_init__(self) -> None:
        check_range("erase probability", self.probability, 0.0, 1.0)
        check_range("erase largest", self.largest, 0.0, 1.0)
        check_range("erase elongation", self.elongation, 0.0, 2.0)
        check_range("erase fill", self.fill, -1.0, 1.0)
        if not 0.0 <= self.smallest <= self.largest:
            raise UsageError(
                "erase smallest is at most largest",
                f"{self.smallest:g} and {self.largest:g}",
                "lower smallest",
            )

    def draw(self, stream: Stream, images: Tensor) -> Tensor:
        unit = stream.uniform(5)
        area = self.smallest + (self.largest - self.smallest) * unit[:, 0]
        ratio = torch.exp(spread(unit[:, 1], self.elongation / 2.0))
        area = area * (unit[:, 4] < self.probability)
        side = area.sqrt()
        return torch.stack((unit[:, 2], unit[:, 3], side * ratio, side / ratio), 1)

    def change(self, images: Tensor, parameters: Tensor) -> Tensor:
        inside = boxes(parameters, (images.shape[-2], images.shape[-1]))
        return images.masked_fill(inside, self.fill)


def boxes(parameters: Tensor, size: tuple[int, int]) -> Tensor:
    """Return `(N, 1, H, W)` booleans: which pixel centres lie in each row's box.

    Args:
        parameters: `(N, 4)` centre x, centre y, width, height, as shares of the frame.
        size: height and width.

    Example:
        >>> boxes(torch.tensor([[0.25, 0.5, 0.5, 1.0]]), (2, 4)).int().tolist()
        [[[[1, 1, 0, 0], [1, 1, 0, 0]]]]
    """
    height, width = size
    device = parameters.device
    x = (torch.arange(width, device=device) + 0.5) / width
    y = (torch.arange(height, device=device) + 0.5) / height
    along_x = (x - parameters[:, 0:1]).abs() < parameters[:, 2:3] / 2.0
    along_y = (y - parameters[:, 1:2]).abs() < parameters[:, 3:4] / 2.0
    return (along_y[:, :, None] & along_x[:, None, :])[:, None]

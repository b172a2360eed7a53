"""The baseline that joins image and aspect: a generator whose images carry the aspect as channels.

Masks are one channel a class, maps their own channels, landmarks one blurred spot a point. The
images that train it are the real ones with these channels behind their own; what it generates is
split again. (One network for both is what Bazrafkan, Javidnia and Corcoran 2018 argue against.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from augmint.aspects.base import Aspect, Schema
from augmint.aspects.landmarks import Landmarks
from augmint.core.errors import IncompatibleError
from augmint.core.types import to_uint8
from augmint.latent.aspect_map import ONE_HOT
from augmint.training.batches import TrainingImages

if TYPE_CHECKING:
    from augmint.core.types import ByteArray, Shape

_CHUNK = 256


@dataclass(frozen=True)
class Joint:
    """How the aspects of a schema lie behind the channels of an image.

    Args:
        schema: aspects that are images, or landmarks.
        channels: of the images themselves.
        spread: standard deviation of a landmark's spot, in pixels.

    Raises:
        IncompatibleError: for an aspect of another kind.

    Example:
        >>> from augmint.aspects.mask import Mask
        >>> Joint(Schema((Mask("iris", ("ground", "iris")),)), channels=1).shape((1, 8, 8))
        (3, 8, 8)
    """

    schema: Schema
    channels: int = 3
    spread: float = 1.5

    def __post_init__(self) -> None:
        for aspect in self.schema:
            if aspect.flat and not isinstance(aspect, Landmarks):
                raise IncompatibleError(
                    "a joint generator carries masks, maps and landmarks as channels",
                    f"{aspect.name}, a {aspect.kind}",
                    "learn it by an aspect map",
                )

    def shape(self, shape: Shape) -> Shape:
        """Return the shape of a joint image, for images of `shape`."""
        return shape[0] + sum(_planes(a) for a in self.schema), shape[1], shape[2]

    def join(self, data: TrainingImages) -> TrainingImages:
        """Return the training images with their aspects as further channels, and no values.

        What is not known (points without a label, void pixels, missing depths) is an empty spot or
        the middle of the range: a joint generator learns the gaps as well.
        """
        joined = np.empty((len(data), *self.shape(data.shape)), np.uint8)
        joined[:, : self.channels] = data.images
        first = self.channels
        for aspect in self.schema:
            stop = first + _planes(aspect)
            for i in range(0, len(data), _CHUNK):
                rows = slice(i, i + _CHUNK)
                values = torch.from_numpy(np.array(data.values[aspect.name][rows]))
                joined[rows, first:stop] = self._drawn(aspect, values).numpy()
            first = stop
        return TrainingImages(joined, {}, data.ids)

    def split(self, joined: ByteArray) -> tuple[ByteArray, Mapping[str, np.ndarray[Any, Any]]]:
        """Return the images, and the stored values that their further channels say."""
        images, first = np.ascontiguousarray(joined[:, : self.channels]), self.channels
        values: dict[str, np.ndarray[Any, Any]] = {}
        for aspect in self.schema:
            stop = first + _planes(aspect)
            found = [
                self._read(aspect, torch.from_numpy(np.array(joined[i : i + _CHUNK, first:stop])))
                for i in range(0, len(joined), _CHUNK)
            ]
            values[aspect.name] = torch.cat(found).numpy()
            first = stop
        return images, values

    def _drawn(self, aspect: Aspect, values: Tensor) -> Tensor:
        if isinstance(aspect, Landmarks):
            return (255.0 * spots(aspect, values, self.spread)).round_().to(torch.uint8)
        encoded = aspect.encode(values)
        return to_uint8(2.0 * encoded - 1.0 if aspect.kind in ONE_HOT else encoded)

    def _read(self, aspect: Aspect, planes: Tensor) -> Tensor:
        if isinstance(aspect, Landmarks):
            return from_spots(aspect, planes.float() / 255.0)
        shares = planes.float() / 255.0
        return aspect.decode(shares if aspect.kind in ONE_HOT else 2.0 * shares - 1.0)


def spots(aspect: Landmarks, values: Tensor, spread: float) -> Tensor:
    """Return one plane a point, `(N, K, H, W)`: exp(-|p - t_k|² / (2 spread²)), 0 where unlabelled.

    Args:
        aspect: whose frame it is.
        values: stored landmarks `(N, K, 3)`.
        spread: in pixels.
    """
    height, width = aspect.size
    x = torch.arange(width, dtype=torch.float32) + 0.5
    y = torch.arange(height, dtype=torch.float32) + 0.5
    across = torch.exp(-((x - values[..., :1]) ** 2) / (2.0 * spread**2))
    down = torch.exp(-((y - values[..., 1:2]) ** 2) / (2.0 * spread**2))
    labelled = (values[..., 2] > 0)[..., None, None]
    return down[..., :, None] * across[..., None, :] * labelled


def from_spots(aspect: Landmarks, planes: Tensor) -> Tensor:
    """Return stored landmarks `(N, K, 3)`: the centre of each plane's brightest part.

    The mean position is weighted by what exceeds half of the plane's maximum; exact for a spot that
    lies in the frame, up to the grid.
    """
    height, width = aspect.size
    top = planes.amax((2, 3), keepdim=True)
    weight = (planes - 0.5 * top).clamp_min(0.0) + 1e-9
    total = weight.sum((2, 3))
    x = torch.arange(width, dtype=torch.float32) + 0.5
    y = torch.arange(height, dtype=torch.float32) + 0.5
    points = torch.stack(
        ((weight.sum(2) * x).sum(2) / total, (weight.sum(3) * y).sum(2) / total), -1
    )
    return torch.cat((points, torch.full_like(points[..., :1], 2.0)), -1)


def _planes(aspect: Aspect) -> int:
    return len(aspect.points) if isinstance(aspect, Landmarks) else aspect.width

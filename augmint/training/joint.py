"""Which aspects generated images carry: those asked for, and those drawn with the image.

A *joint* generator draws an aspect itself, as further channels behind those of the image: masks one
channel a class, maps their own channels and one of where they are known, landmarks one blurred spot
a point. The images that train it are the real ones with these channels; what it generates is split
again. Nothing is asked for, so new annotations appear with new images. (Bazrafkan, Javidnia and
Corcoran 2018 argue for two networks on one latent in its place; `latent.aspect_map`.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from augmint.aspects.base import Schema
from augmint.conditioning.base import Conditioning, ConditioningContext
from augmint.core.errors import IncompatibleError
from augmint.core.registry import CONDITIONING
from augmint.training.batches import TrainingImages

if TYPE_CHECKING:
    from augmint.core.types import ByteArray, Shape
    from augmint.training.config import GanConfig

_CHUNK = 256


@dataclass(frozen=True)
class Joint:
    """How the aspects of a schema lie behind the channels of an image.

    Args:
        schema: aspects that are images, or landmarks.
        channels: of the images themselves.

    Raises:
        IncompatibleError: for an aspect that does not lie in the image plane.

    Example:
        >>> from augmint.aspects.mask import Mask
        >>> Joint(Schema((Mask("iris", ("ground", "iris")),)), channels=1).shape((1, 8, 8))
        (3, 8, 8)
    """

    schema: Schema
    channels: int = 3

    def __post_init__(self) -> None:
        for aspect in self.schema:
            if not aspect.spatial:
                raise IncompatibleError(
                    "a joint generator carries masks, maps and landmarks as channels",
                    f"{aspect.name}, a {aspect.kind}",
                    "ask for it (--set generator.conditioning=vac-var)",
                )

    @classmethod
    def of(cls, config: GanConfig, schema: Schema, channels: int) -> Joint:
        """Return the aspects of a schema that a configuration draws; perhaps none."""
        return cls(Schema(tuple(schema[name] for name in config.joint)), channels)

    def shape(self, shape: Shape) -> Shape:
        """Return the shape of a joint image, for images of `shape`."""
        return shape[0] + sum(a.planes for a in self.schema), shape[1], shape[2]

    def join(self, data: TrainingImages) -> TrainingImages:
        """Return the training images with their aspects as further channels.

        What is not known (points without a label, void pixels, missing depths) is drawn as such: a
        joint generator learns the gaps as well.
        """
        if not len(self.schema):
            return data
        joined = np.empty((len(data), *self.shape(data.shape)), np.uint8)
        joined[:, : self.channels] = data.images
        first = self.channels
        for aspect in self.schema:
            stop = first + aspect.planes
            for i in range(0, len(data), _CHUNK):
                rows = slice(i, i + _CHUNK)
                values = torch.from_numpy(np.array(data.values[aspect.name][rows]))
                joined[rows, first:stop] = (255.0 * aspect.to_planes(values)).round().numpy()
            first = stop
        rest = {name: v for name, v in data.values.items() if name not in self.schema}
        return TrainingImages(joined, rest, data.ids)

    def seen(self, joined: Tensor) -> Tensor:
        """Return the image channels of joint images `(N, C + K, H, W)`."""
        return joined[:, : self.channels]

    def split(self, joined: ByteArray) -> tuple[ByteArray, Mapping[str, np.ndarray[Any, Any]]]:
        """Return the images, and the stored values that their further channels say."""
        if not len(self.schema):
            return joined, {}
        images, first = np.ascontiguousarray(joined[:, : self.channels]), self.channels
        values: dict[str, np.ndarray[Any, Any]] = {}
        for aspect in self.schema:
            stop = first + aspect.planes
            found = [
                aspect.from_planes(
                    torch.from_numpy(np.array(joined[i : i + _CHUNK, first:stop])).float() / 255.0
                )
                for i in range(0, len(joined), _CHUNK)
            ]
            values[aspect.name] = torch.cat(found).numpy()
            first = stop
        return images, values


def asked(config: GanConfig, schema: Schema) -> Schema:
    """Return the aspects that a configuration's images are asked for.

    Raises:
        UsageError: for a name that the schema does not hold.
        IncompatibleError: for an aspect that conditioning cannot carry.

    Example:
        >>> from augmint.aspects.category import Category
        >>> from augmint.aspects.vector import Vector
        >>> from augmint.training.config import GanConfig
        >>> schema = Schema((Category("label", ("a", "b")), Vector("pose", ("yaw",))))
        >>> [[a.name for a in asked(GanConfig(conditioning=c), schema)] for c in ("vac", "var")]
        [['label'], ['pose']]
    """
    conditioning: Conditioning = CONDITIONING.create(config.conditioning)
    able = conditioning.carried(schema)
    names = [a.name for a in able] if config.carries is None else config.carries
    for name in names:
        if name not in able:
            raise IncompatibleError(
                f"conditioning {config.conditioning} carries "
                f"{' or '.join(sorted(conditioning.kinds)) or 'nothing'}",
                f"{name}, a {schema[name].kind}",
                "choose one that does (--set generator.conditioning=vac-var)",
            )
    return Schema(tuple(a for a in able if a.name in names and a.name not in config.joint))


def carried(config: GanConfig, schema: Schema) -> Schema:
    """Return the aspects that a configuration's images carry, asked for or drawn.

    Raises:
        UsageError, IncompatibleError: as `asked`.

    Example:
        >>> from augmint.aspects.category import Category
        >>> from augmint.aspects.mask import Mask
        >>> from augmint.training.config import GanConfig
        >>> schema = Schema((Category("eye", ("left", "right")), Mask("iris", ("ground", "iris"))))
        >>> [[a.name for a in carried(GanConfig(joint=j), schema)] for j in ((), ("iris",))]
        [['eye'], ['eye', 'iris']]
    """
    names = {*(a.name for a in asked(config, schema)), *config.joint}
    return Schema(tuple(a for a in schema if a.name in names))


def context_of(config: GanConfig, schema: Schema, shape: Shape) -> ConditioningContext:
    """Return what conditioning is told: what is asked for, and the shape that networks see.

    Args:
        config: of the training.
        schema: of the images, with all that they carry.
        shape: (C, H, W) of the images alone.

    Example:
        >>> from augmint.aspects.mask import Mask
        >>> from augmint.training.config import GanConfig
        >>> schema = Schema((Mask("iris", ("ground", "iris")),))
        >>> context = context_of(GanConfig(joint=("iris",)), schema, (1, 8, 8))
        >>> context.shape, len(context.schema)
        ((3, 8, 8), 0)
    """
    seen = Joint.of(config, schema, shape[0]).shape(shape)
    return ConditioningContext(asked(config, schema), seen, config.latent_dim)

"""The classic policies, from which the baseline of every claim is chosen on validation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from augmint.augmentation.base import ExpertAugmenter
from augmint.augmentation.geometric import Affine
from augmint.augmentation.photometric import Colour
from augmint.core.registry import AUGMENTERS

if TYPE_CHECKING:
    from torch import Tensor

    from augmint.aspects.base import Schema
    from augmint.core.streams import Stream
    from augmint.core.types import AspectValues

CLASSIC_POLICIES: tuple[str, ...] = (
    "none",
    "shift",
    "affine",
    "flip-affine",
    "colour",
    "affine-colour",
    "trivial-augment",
    "rand-augment",
    "mixup",
    "cutmix",
)
"""Names of the augmenters, with their default fields, that the arm `classic` chooses from."""


@AUGMENTERS.register("none")
@dataclass(frozen=True)
class Identity(ExpertAugmenter):
    """Leaves images and aspects as they are.

    Example:
        >>> import torch
        >>> from augmint.aspects.base import Schema
        >>> from augmint.core.streams import stream
        >>> images = torch.zeros(1, 1, 8, 8)
        >>> Identity()(images, {}, Schema(()), stream(0, "train"))[0] is images
        True
    """

    def __call__(
        self, images: Tensor, aspects: AspectValues, schema: Schema, stream: Stream
    ) -> tuple[Tensor, AspectValues]:
        return images, aspects


@AUGMENTERS.register("flip-affine")
@dataclass(frozen=True)
class FlipAffine(Affine):
    """An affine that mirrors half of the images first, still in one resampling.

    Example:
        >>> from augmint.core.streams import stream
        >>> maps = FlipAffine().draw(stream(0, "train", ids=1000), (8, 8))
        >>> round(maps.mirrors.float().mean().item(), 1)
        0.5
    """

    flip: float = 0.5


@AUGMENTERS.register("affine-colour")
@dataclass(frozen=True)
class AffineColour(ExpertAugmenter):
    """An affine, then changes of light and colour.

    Args:
        affine: fields of the affine.
        colour: fields of the colour set.

    Example:
        >>> AffineColour().mirrors, AffineColour(affine=Affine(flip=0.5)).mirrors
        (False, True)
    """

    affine: Affine = field(default_factory=Affine)
    colour: Colour = field(default_factory=Colour)

    @property
    def mirrors(self) -> bool:  # type: ignore[override]
        return self.affine.mirrors

    def __call__(
        self, images: Tensor, aspects: AspectValues, schema: Schema, stream: Stream
    ) -> tuple[Tensor, AspectValues]:
        images, aspects = self.affine(images, aspects, schema, stream)
        return self.colour(images, aspects, schema, stream)

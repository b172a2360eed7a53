"""TrivialAugment and RandAugment: operations drawn an image, applied in groups.

Both draw from one list of operations with one range of strengths (the space of RandAugment,
shifts as a share of the side, for images are small here). Geometric operations of a batch become
one coordinate map and one resampling; a pixel operation runs once, on the rows that drew it.
The draws are on the CPU, so grouping by them waits for no device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from augmint.aspects.base import CoordinateMap
from augmint.augmentation import operations
from augmint.augmentation.base import ExpertAugmenter, moved, on_device
from augmint.augmentation.geometric import affine_map, check_range, warp_images
from augmint.core.errors import UsageError
from augmint.core.registry import AUGMENTERS

if TYPE_CHECKING:
    from torch import Tensor

    from augmint.aspects.base import Schema
    from augmint.core.streams import Stream
    from augmint.core.types import AspectValues

ROTATION, SHEAR, TRANSLATION, ENHANCEMENT = 30.0, 0.3, 0.3, 0.9
"""Largest angle (degrees), slope, shift (share of the side) and change of a factor."""

GEOMETRIC = ("rotate", "shear-x", "shear-y", "translate-x", "translate-y")
"""The first operations of the list, in the order of the columns of their parameters."""


def _enhanced(
    operation: Callable[[Tensor, Tensor], Tensor],
) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda images, strength: operation(images, 1.0 + ENHANCEMENT * strength)


PIXEL: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": _enhanced(operations.brightness),
    "contrast": _enhanced(operations.contrast),
    "saturation": _enhanced(operations.saturation),
    "sharpness": _enhanced(operations.sharpness),
    "posterise": lambda images, strength: operations.posterise(
        images, 8.0 - (4.0 * strength.abs()).round()
    ),
    "solarise": lambda images, strength: operations.solarise(images, 1.0 - 2.0 * strength.abs()),
    "auto-contrast": lambda images, _: operations.auto_contrast(images),
    "equalise": lambda images, _: operations.equalise(images),
}
"""Operations of (rows of images, signed strength in [-1, 1]); saturation leaves grey as it is."""

OPERATIONS = (*GEOMETRIC, *PIXEL, "identity")


def apply_drawn(
    images: Tensor, aspects: AspectValues, schema: Schema, choice: Tensor, strength: Tensor
) -> tuple[Tensor, AspectValues]:
    """Apply to each row the operation it drew.

    Args:
        choice: `(N,)` indices into `OPERATIONS`, on the CPU.
        strength: `(N,)` signed, in [-1, 1], on the CPU.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> choice = torch.tensor([OPERATIONS.index("solarise"), OPERATIONS.index("identity")])
        >>> images = torch.full((2, 1, 2, 2), 0.5)
        >>> changed, _ = apply_drawn(images, {}, Schema(()), choice, torch.ones(2))
        >>> changed[:, 0, 0, 0].tolist()
        [-0.5, 0.5]
    """
    rows = (choice < len(GEOMETRIC)).nonzero()[:, 0]
    result = images.clone()
    if len(rows):
        coordinates = on_device(
            drawn_map((images.shape[-2], images.shape[-1]), choice, strength), images
        )
        where = rows.to(images.device)
        part = CoordinateMap(coordinates.matrix[where], coordinates.size)
        result[where] = warp_images(images[where], part)
        aspects = moved(aspects, schema, coordinates)
    for index, operation in enumerate(PIXEL.values(), start=len(GEOMETRIC)):
        rows = (choice == index).nonzero()[:, 0]
        if len(rows):
            where = rows.to(images.device)
            changed = operation(images[where], strength[rows].to(images.device))
            result[where] = changed.clamp(-1.0, 1.0)
    return result, aspects


def drawn_map(size: tuple[int, int], choice: Tensor, strength: Tensor) -> CoordinateMap:
    """Return the map of every row; the identity for rows that drew a pixel operation.

    Example:
        >>> choice = torch.tensor([OPERATIONS.index("translate-x"), OPERATIONS.index("equalise")])
        >>> right = drawn_map((10, 10), choice, torch.ones(2))
        >>> right.forward_points(torch.full((2, 1, 2), 5.0))[:, 0].round().tolist()
        [[8.0, 5.0], [5.0, 5.0]]
    """
    columns = torch.zeros(len(choice), len(GEOMETRIC))
    rows = (choice < len(GEOMETRIC)).nonzero()[:, 0]
    columns[rows, choice[rows]] = strength[rows]
    pixels = columns.new_tensor([size[1] * TRANSLATION, size[0] * TRANSLATION])
    return affine_map(
        size,
        columns[:, 0] * ROTATION,
        shear=columns[:, 1:3] * SHEAR,
        shift=columns[:, 3:5] * pixels,
    )


@AUGMENTERS.register("trivial-augment")
@dataclass(frozen=True)
class TrivialAugment(ExpertAugmenter):
    """One operation an image, uniform, at a uniform strength (Müller and Hutter 2021, arXiv
    2103.10158).

    The list is `OPERATIONS`; strengths are m ~ U(0, strength) with a random sign.

    Args:
        strength: the largest, 0 to 1; 1 is the full range.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.core.streams import stream
        >>> black = torch.full((64, 1, 8, 8), -1.0)
        >>> changed, _ = TrivialAugment()(black, {}, Schema(()), stream(0, "train", ids=64))
        >>> len(OPERATIONS), torch.allclose(changed, black)
        (14, True)
    """

    strength: float = 1.0

    def __post_init__(self) -> None:
        check_range("trivial-augment strength", self.strength, 0.0, 1.0)

    def __call__(
        self, images: Tensor, aspects: AspectValues, schema: Schema, stream: Stream
    ) -> tuple[Tensor, AspectValues]:
        unit = stream.uniform(2)
        choice = (unit[:, 0] * len(OPERATIONS)).long()
        signed = (unit[:, 1] * 2.0 - 1.0) * self.strength
        return apply_drawn(images, aspects, schema, choice, signed)


@AUGMENTERS.register("rand-augment")
@dataclass(frozen=True)
class RandAugment(ExpertAugmenter):
    """N operations an image in turn, all at one strength M of 30 with random signs (Cubuk et al.
    2020, arXiv 1909.13719).

    Args:
        operations: N, 1 to 5.
        magnitude: M, 0 to 30.

    Example:
        At M = 10 of 30 brightness is scaled by 0.7 or 1.3; nothing else shows in a plain image.

        >>> from augmint.aspects.base import Schema
        >>> from augmint.core.streams import stream
        >>> one, plain = RandAugment(operations=1, magnitude=10), torch.full((200, 1, 8, 8), 0.2)
        >>> changed, _ = one(plain, {}, Schema(()), stream(0, "train", ids=200))
        >>> sorted({round(value, 1) for value in changed[:, 0, 0, 0].tolist()})
        [-0.2, 0.2, 0.6]
    """

    operations: int = 2
    magnitude: int = 9

    def __post_init__(self) -> None:
        if not 1 <= self.operations <= 5:
            raise UsageError(
                "rand-augment applies 1 to 5 operations", self.operations, "set operations: 2"
            )
        check_range("rand-augment magnitude", self.magnitude, 0, 30)

    def __call__(
        self, images: Tensor, aspects: AspectValues, schema: Schema, stream: Stream
    ) -> tuple[Tensor, AspectValues]:
        unit = stream.uniform(2 * self.operations)
        for layer in range(self.operations):
            choice = (unit[:, 2 * layer] * len(OPERATIONS)).long()
            sign = 1.0 - 2.0 * (unit[:, 2 * layer + 1] < 0.5).float()
            strength = sign * (self.magnitude / 30.0)
            images, aspects = apply_drawn(images, aspects, schema, choice, strength)
        return images, aspects

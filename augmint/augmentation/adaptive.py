"""Augmentation of a critic's input: differentiable in the images, the same on real and generated.

Real and generated batches pass through the same distribution of changes with draws of their own,
so the critic never sees an image unchanged and the generator still learns unchanged ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from augmint.augmentation.base import ExpertAugmenter, moved, on_device
from augmint.augmentation.geometric import Padding, affine_map, check_range, spread, warp_images
from augmint.augmentation.photometric import boxes
from augmint.core.errors import UsageError
from augmint.core.registry import AUGMENTERS

if TYPE_CHECKING:
    from torch import Tensor

    from augmint.aspects.base import CoordinateMap, Schema
    from augmint.core.streams import Stream
    from augmint.core.types import AspectValues

Kind = Literal["color", "translation", "affine", "cutout"]


@AUGMENTERS.register("diff-augment")
@dataclass(frozen=True)
class DiffAugment(ExpertAugmenter):
    """Colour, translation, affine and cut-out, each with gradients (Zhao et al. 2020, arXiv
    2006.10738; the affine is an addition).

    By default it is weaker than the paper's policy, without cut-out and with an affine.
    Translation, by fractions of a pixel too, and affine share one resampling. Colour is
    `x' = k (s x + (1 - s) m_c) + (1 - k) m + b` in one fused form (`recolour`), not clipped.
    Second derivatives through the resampling do not exist: penalties differentiate by the
    critic's input behind the augmentation.

    Args:
        policy: which are on, of "color", "translation", "affine", "cutout". Cut-out is off unless
            named: on small sets it kept generated images from taking shape.
        brightness: largest shift b of the values, 0 to 1 (the paper: 0.5).
        saturation: factor s in 1 ± this, 0 to 1 (the paper: 1); RGB only.
        contrast: factor k in 1 ± this, 0 to 1 (the paper: 0.5).
        translation: largest shift over the side, 0 to 0.5 (the paper: 0.125).
        rotation: largest angle of the affine, degrees, 0 to 180.
        scale: largest relative change of size of the affine, 0 to 1.
        cutout: side of the erased square over the frame's, 0 to 1 (the paper: 0.5); erased is 0.
        padding: what comes in from outside: the nearest pixel, or 0 ("fill", the paper's).

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.core.streams import stream
        >>> erasing = DiffAugment(policy=("cutout",), cutout=0.5)
        >>> images = torch.ones(1, 1, 8, 8, requires_grad=True)
        >>> seen, _ = erasing(images, {}, Schema(()), stream(0, "critic"))
        >>> torch.equal(torch.autograd.grad(seen.sum(), images)[0], seen)
        True
    """

    differentiable: ClassVar[bool] = True
    policy: tuple[Kind, ...] = ("color", "translation", "affine")
    brightness: float = 0.2
    saturation: float = 0.5
    contrast: float = 0.3
    translation: float = 0.1
    rotation: float = 12.0
    scale: float = 0.1
    cutout: float = 0.4
    padding: Padding = "border"

    def __post_init__(self) -> None:
        if len(set(self.policy)) != len(self.policy):
            raise UsageError(
                "diff-augment names each change once", ", ".join(self.policy), "remove doubles"
            )
        for name in ("brightness", "saturation", "contrast", "scale", "cutout"):
            check_range(f"diff-augment {name}", getattr(self, name), 0.0, 1.0)
        check_range("diff-augment translation", self.translation, 0.0, 0.5)
        check_range("diff-augment rotation", self.rotation, 0.0, 180.0)

    def draw(self, stream: Stream) -> Tensor:
        """Return `(N, 9)` uniforms: 3 colour, 2 translation, 2 affine, 2 cut-out (always all, so
        that switching one change on leaves the draws of the others as they were)."""
        return stream.uniform(9)

    def coordinates(self, unit: Tensor, size: tuple[int, int]) -> CoordinateMap:
        """Return translation and affine as one map."""
        height, width = size
        slide = self.translation if "translation" in self.policy else 0.0
        turn, grow = (self.rotation, self.scale) if "affine" in self.policy else (0.0, 0.0)
        factor = torch.exp(spread(unit[:, 6:7], math.log1p(grow)))
        return affine_map(
            size,
            spread(unit[:, 5], turn),
            scale=factor.expand(-1, 2),
            shift=spread(unit[:, 3:5], slide) * torch.tensor([width, height]),
        )

    def __call__(
        self, images: Tensor, aspects: AspectValues, schema: Schema, stream: Stream
    ) -> tuple[Tensor, AspectValues]:
        unit = self.draw(stream)
        size = (images.shape[-2], images.shape[-1])
        if "color" in self.policy:
            strengths = torch.tensor([self.brightness, self.saturation, self.contrast])
            drawn = (unit[:, :3] * 2.0 - 1.0) * strengths + torch.tensor([0.0, 1.0, 1.0])
            images = recolour(images, drawn.to(images.device))
        if "translation" in self.policy or "affine" in self.policy:
            coordinates = on_device(self.coordinates(unit, size), images)
            images = warp_images(images, coordinates, self.padding, fill=0.0)
            aspects = moved(aspects, schema, coordinates)
        if "cutout" in self.policy:
            side = torch.full((len(unit), 2), self.cutout)
            box = boxes(torch.cat((unit[:, 7:9], side), 1).to(images.device), size)
            images = images.masked_fill(box, 0.0)
        return images, aspects


def recolour(images: Tensor, parameters: Tensor) -> Tensor:
    """Shift brightness by b, stretch saturation by s and contrast by k, in that order.

    With m_c the pixel's mean over channels and m the image's mean,
    `x' = k s x + k (1 - s) m_c + (1 - k) m + b`; s is 1 unless there are 3 channels.

    Args:
        images: float `(N, C, H, W)`.
        parameters: `(N, 3)`: b, s, k.

    Example:
        >>> recolour(torch.zeros(1, 1, 2, 2), torch.tensor([[0.25, 1.0, 2.0]])).unique().tolist()
        [0.25]
    """
    b, s, k = parameters.to(images.dtype)[:, :, None, None, None].unbind(1)
    rest = torch.addcmul(b, images.mean((1, 2, 3), keepdim=True), 1.0 - k)
    if images.shape[1] != 3:
        return torch.addcmul(rest, images, k)
    rest = torch.addcmul(rest, images.mean(1, keepdim=True), k * (1.0 - s))
    return torch.addcmul(rest, images, k * s)

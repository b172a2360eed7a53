"""MixUp and CutMix: a row joins a second row of its batch, and its label becomes soft.

The partner is drawn as a random order of the batch. The share follows Beta(a, a), drawn by the
inverse of its distribution function (one uniform number a draw, so the count of numbers read
never varies). Only categories have a meaning between two classes here; other aspects refuse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from augmint.aspects.category import Category
from augmint.augmentation.base import ExpertAugmenter
from augmint.augmentation.photometric import boxes
from augmint.core.errors import IncompatibleError, UsageError
from augmint.core.registry import AUGMENTERS

if TYPE_CHECKING:
    from torch import Tensor

    from augmint.aspects.base import Schema
    from augmint.core.streams import Stream
    from augmint.core.types import AspectValues


def symmetric_beta(unit: Tensor, concentration: float) -> Tensor:
    """Return Beta(a, a) values for uniform ones: the inverse of the distribution function.

    Args:
        unit: any shape, in [0, 1).
        concentration: a, above 0; 1 is uniform, small values lie near 0 and 1.

    Example:
        >>> round(float(symmetric_beta(torch.tensor([0.5]), 0.2)), 6)
        0.5
    """
    if concentration == 1.0:
        return unit
    from scipy.special import betaincinv

    values = betaincinv(concentration, concentration, unit.double().numpy())
    return torch.from_numpy(values).to(unit.dtype)


def soft_labels(
    aspects: AspectValues, schema: Schema, part: Tensor, partner: Tensor
) -> AspectValues:
    """Return categories as `part * own + (1 - part) * partner's`, float `(N, classes)`.

    Raises:
        IncompatibleError: for an aspect that is no category.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> schema = Schema((Category("label", ("cat", "dog")),))
        >>> labels, part = {"label": torch.tensor([0, 1])}, torch.tensor([0.75, 0.5])
        >>> soft_labels(labels, schema, part, partner=torch.tensor([1, 0]))["label"].tolist()
        [[0.75, 0.25], [0.5, 0.5]]
    """
    mixed = {}
    for name, values in aspects.items():
        aspect = schema[name]
        if not isinstance(aspect, Category):
            raise IncompatibleError(
                "mixing augmenters take categories only",
                f"{name} ({aspect.kind})",
                "choose another policy, such as affine or colour",
            )
        encoded = values if values.is_floating_point() else aspect.encode(values)
        mixed[name] = torch.lerp(encoded[partner], encoded, part[:, None])
    return mixed


@dataclass(frozen=True)
class Mixer(ExpertAugmenter):
    """Base of both: draws a partner and a share for every row.

    Args:
        concentration: a of Beta(a, a), 0.01 to 10.
    """

    mixes: ClassVar[bool] = True
    kinds: ClassVar[frozenset[str] | None] = frozenset({Category.kind})
    concentration: float = 1.0

    def __post_init__(self) -> None:
        if not 0.01 <= self.concentration <= 10:
            raise UsageError(
                "a mixing concentration lies in 0.01 to 10",
                self.concentration,
                "set concentration: 0.2",
            )

    def draw(self, stream: Stream) -> tuple[Tensor, Tensor, Tensor]:
        """Return partners `(N,)`, shares `(N,)` and two spare uniforms `(N, 2)`, on the CPU."""
        unit = stream.uniform(4)
        partner = unit[:, 0].argsort(stable=True)
        return partner, symmetric_beta(unit[:, 1], self.concentration), unit[:, 2:]


@AUGMENTERS.register("mixup")
@dataclass(frozen=True)
class MixUp(Mixer):
    """Averages two images and their labels (Zhang et al. 2018, arXiv 1710.09412).

    `x' = l x_i + (1 - l) x_j`, `y' = l y_i + (1 - l) y_j`, l ~ Beta(a, a). Nothing else is
    changed: chain it behind an affine for both.

    Args:
        concentration: a; 0.2 as in the paper's ImageNet runs.

    Example:
        A black cat and a white dog: how bright a pixel is, is how much of a dog it is.

        >>> from augmint.aspects.base import Schema
        >>> from augmint.core.streams import stream
        >>> schema = Schema((Category("label", ("cat", "dog")),))
        >>> images, labels = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1), {"label": torch.arange(2)}
        >>> mixed, soft = MixUp()(images, labels, schema, stream(0, "mix", ids=2))
        >>> torch.allclose(mixed.flatten(), soft["label"][:, 1])
        True
    """

    concentration: float = 0.2

    def __call__(
        self, images: Tensor, aspects: AspectValues, schema: Schema, stream: Stream
    ) -> tuple[Tensor, AspectValues]:
        partner, part, _ = (t.to(images.device) for t in self.draw(stream))
        mixed = torch.lerp(images[partner], images, part[:, None, None, None])
        return mixed, soft_labels(aspects, schema, part, partner)


@AUGMENTERS.register("cutmix")
@dataclass(frozen=True)
class CutMix(Mixer):
    """Pastes a box of a second image; labels mix by area (Yun et al. 2019, arXiv 1905.04899).

    The box has sides `sqrt(1 - l)` of the frame's, l ~ Beta(a, a), and a uniform centre; the
    label's share is the area really kept. Nothing else is changed: chain it behind an affine for
    both.

    Args:
        concentration: a; 1 as in the paper.

    Example:
        The label's share is that of the pixels, also where the frame cuts the box.

        >>> from augmint.aspects.base import Schema
        >>> from augmint.core.streams import stream
        >>> schema = Schema((Category("label", ("cat", "dog")),))
        >>> images, labels = torch.eye(2)[1].view(2, 1, 1, 1).expand(2, 1, 8, 8), torch.arange(2)
        >>> mixed, soft = CutMix()(images, {"label": labels}, schema, stream(0, "train", ids=2))
        >>> torch.allclose(mixed.mean((1, 2, 3)), soft["label"][:, 1])
        True
    """

    def __call__(
        self, images: Tensor, aspects: AspectValues, schema: Schema, stream: Stream
    ) -> tuple[Tensor, AspectValues]:
        partner, part, centre = (t.to(images.device) for t in self.draw(stream))
        side = (1.0 - part).sqrt()[:, None]
        box = boxes(torch.cat((centre, side, side), 1), (images.shape[-2], images.shape[-1]))
        kept = 1.0 - box.float().mean((1, 2, 3))
        mixed = torch.where(box, images[partner], images)
        return mixed, soft_labels(aspects, schema, kept, partner)

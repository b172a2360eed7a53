"""VAC and VAR together, and masks: all that is known of an image asked for at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from augmint.aspects.base import Aspect
from augmint.conditioning.auxiliary import Auxiliary, TrainsOn, check_weights
from augmint.conditioning.base import ConditioningContext
from augmint.conditioning.vac import Classifier, Classifies
from augmint.conditioning.var import CodesValues, Regressor
from augmint.core.errors import UsageError
from augmint.core.registry import CONDITIONING, Spec
from augmint.core.types import AspectValues
from augmint.networks.base import Role


def _narrow_mapper() -> dict[str, Any]:
    return {"name": "unet", "channels": 8, "depth": 3, "normalisation": False}


@dataclass(frozen=True)
class Segmenter(Auxiliary):
    """Draws masks and maps: the aspects' own losses (cross-entropy; absolute difference).

    Args:
        network, zeta, trains_on: see `Auxiliary`; the network gives maps of the image's size.

    Example:
        >>> from augmint.aspects.mask import Mask
        >>> iris, drawn = Mask("iris", ("ground", "iris")), torch.zeros(1, 4, 4, dtype=torch.uint8)
        >>> Segmenter().losses([iris], torch.zeros(1, 2, 4, 4), {"iris": drawn})  # log 2
        tensor([0.6931])
    """

    network: Spec = field(default_factory=_narrow_mapper)
    zeta: float = 1.0
    trains_on: TrainsOn = "real"
    kinds: ClassVar[frozenset[str]] = frozenset({"mask", "map"})
    role: ClassVar[Role] = "mapper"
    key: ClassVar[str] = "segmenter"
    taught: ClassVar[str] = "mask_loss"

    def __post_init__(self) -> None:
        check_weights(zeta=self.zeta)

    def losses(self, aspects: Sequence[Aspect], outputs: Tensor, values: AspectValues) -> Tensor:
        pieces = outputs.split([a.width for a in aspects], 1)
        losses = [a.loss(p, values[a.name]) for a, p in zip(aspects, pieces, strict=True)]
        return torch.stack(losses).sum(0)


@CONDITIONING.register("vac-var")
@dataclass(frozen=True)
class VacVar(CodesValues, Classifies):
    """A classifier, a regressor and a segmenter in parallel with the critic.

        generator: theta · adversarial + zeta_C · CE(C(G), y_C)
                   + zeta_R · L_R(R(G), y_R) + zeta_S · L_S

    Every category of the schema is the classifier's, every vector and every landmark the
    regressor's, every mask and map the segmenter's; a network without aspects is not built, so
    that with categories alone this is `vac`, with values alone `var`. VAC and VAR in one are the
    future work that their papers name.

    The generator's code holds all of them. A mask enters it coarsely, by the share of each of its
    classes but the first in each cell of a grid, a map by its mean in each cell; the segmenter's
    loss is at full size. `enters: maps` gives the generator both at full size, and points as spots.

    Args:
        classifier: C's network, weight and what trains it; see `vac`.
        regressor: R's, and its loss; see `var`.
        segmenter: S's.
        theta: weight of the adversarial loss on the generator.
        grid: rows and columns of cells by which masks and maps enter the code.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.aspects.category import Category
        >>> from augmint.aspects.mask import Mask
        >>> schema = Schema((Category("eye", ("left", "right")), Mask("iris", ("ground", "iris"))))
        >>> context, both = ConditioningContext(schema, (1, 8, 8), latent_dim=4), VacVar(grid=2)
        >>> [member.key for member, _ in both.at_work(context)], both.code_width(context)
        (['classifier', 'segmenter'], 6)
    """

    classifier: Classifier = field(default_factory=Classifier)
    regressor: Regressor = field(default_factory=Regressor)
    segmenter: Segmenter = field(default_factory=Segmenter)
    theta: float = 1.0
    grid: int = 8
    kinds: ClassVar[frozenset[str]] = Classifier.kinds | Regressor.kinds | Segmenter.kinds
    title: ClassVar[str] = "vac-var"

    def __post_init__(self) -> None:
        check_weights(theta=self.theta, gain=self.gain)
        if self.grid < 1:
            raise UsageError("a grid has at least one cell", self.grid, "set grid: 8")

    def members(self) -> Sequence[Auxiliary]:
        return (self.classifier, self.regressor, self.segmenter)

    def adversarial_weight(self) -> float:
        return self.theta

    def code_width(self, context: ConditioningContext) -> int:
        return sum(self._width(aspect) for aspect in self.as_code(context))

    def code_of(self, aspect: Aspect, values: Tensor) -> Tensor:
        if aspect.flat:
            return super().code_of(aspect, values)
        encoded = aspect.encode(values)
        # what the other classes leave over is the first's
        told = encoded[:, 1:] if aspect.one_hot else encoded
        return functional.adaptive_avg_pool2d(told, self.grid).flatten(1)

    def _width(self, aspect: Aspect) -> int:
        if aspect.flat:
            return aspect.width
        channels = aspect.width - 1 if aspect.one_hot else aspect.width
        return channels * self.grid**2

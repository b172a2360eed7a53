"""VAC: a versatile auxiliary classifier beside the critic.

The classifier C has its own optimiser and the critic is left alone, so that the method attaches to
any objective. With V the adversarial game, the whole is

    critic: V,    C: L_ce(C),    generator: theta · V + zeta · L_ce(C on generated images)

**Theorems.** With N equally frequent classes, p_i the images of class i, p̄ their mean, and

    L_cce(C) = -Σ_i E_{x~p_i} log C_i(x)     (a sum over classes)

the best classifier is C*_i = p_i / Σ_j p_j, and there

    L_cce(C*) = N log N - Σ_i KL(p_i ‖ p̄) = N log N - N · JSD(p_1, …, p_N)

(JSD with equal weights): it is N log N at most, reached only where all classes look the same, and 0
where they are disjoint; a generator that lowers it drives the classes apart. For two classes this
is log 4 - 2 JSD(p_1, p_2). The code uses the *mean* over the batch, `L_cce / N` for balanced
classes, hence log N - JSD.

**Misprints of the papers, put right here** (Bazrafkan and Corcoran 2018; multi-class unless said):
equation 2 prints E[1 - log C(G(z))] for E[log(1 - C(G(z)))]; equations 3 and 4 lack the minus sign
of a loss; equation 11 lacks the factor N before the bracket (13 has it); the second line of 15 is
the critic's loss, not the generator's; "the maximum of L_ce(C)" is that over (p_i) of the value at
C*, as over C it has none; the binary paper's MSE (16) prints a norm that is not squared.

**Against the authors' program.** It trains C on generated and real images with the same labels
(`trains_on="both"`), and adds to the generator's loss the mean over *both* halves, in which the
real half gives no gradient: its zeta is twice the one meant here (its 0.8 is `zeta=0.4`). Its
classifier keeps dropout on when it teaches the generator; here C is then in evaluation mode.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from augmint.aspects.base import Aspect
from augmint.conditioning.auxiliary import (
    Auxiliary,
    BesideCritic,
    TrainsOn,
    check_weights,
    narrow_network,
)
from augmint.conditioning.base import ConditioningContext
from augmint.conditioning.encoding import by_category, carried
from augmint.core.errors import IncompatibleError
from augmint.core.registry import CONDITIONING, Spec
from augmint.core.types import AspectValues, CriticOutput, Shape


@dataclass(frozen=True)
class Classifier(Auxiliary):
    """Tells classes apart: cross-entropy, one group of logits for each category.

    Args:
        network, zeta, trains_on: see `Auxiliary`.

    Example:
        >>> from augmint.aspects.category import Category
        >>> label = Category("label", ("a", "b", "c", "d"))
        >>> Classifier().losses([label], torch.zeros(1, 4), {"label": torch.tensor([2])})  # log 4
        tensor([1.3863])
    """

    network: Spec = field(default_factory=narrow_network)
    zeta: float = 0.3
    trains_on: TrainsOn = "real"
    kinds: ClassVar[frozenset[str]] = frozenset({"category"})
    key: ClassVar[str] = "classifier"
    taught: ClassVar[str] = "class_loss"

    def __post_init__(self) -> None:
        check_weights(zeta=self.zeta)

    def check(self, owner: str, aspects: Collection[Aspect], shape: Shape) -> None:
        super().check(owner, aspects, shape)
        if self.architecture(owner).bounded:
            raise IncompatibleError(
                f"the classifier of {owner} gives logits, which are any numbers",
                f"{self.network}, whose outputs lie in [-1, 1]",
                "set network: small-cnn",
            )
        for category in aspects:
            if category.width < 2:
                raise IncompatibleError(
                    f"conditioning {owner} needs at least two classes",
                    f"{category.width} in {category.name}",
                    "use conditioning='none' (--set generator.conditioning=none)",
                )

    def losses(self, aspects: Sequence[Aspect], outputs: Tensor, values: AspectValues) -> Tensor:
        pieces = outputs.split([c.width for c in aspects], 1)
        losses = [c.loss(p, values[c.name]) for c, p in zip(aspects, pieces, strict=True)]
        return torch.stack(losses).sum(0)


class Classifies(BesideCritic):
    """A conditioning with a classifier among its networks: it can say of what class images are."""

    def class_logits(
        self,
        context: ConditioningContext,
        auxiliaries: Mapping[str, nn.Module],
        heads: Mapping[str, nn.Module],
        images: Tensor,
        judge: Callable[[Tensor], CriticOutput],
    ) -> Mapping[str, Tensor]:
        categories = carried(context.schema, Classifier.kinds)
        if not categories:
            return {}
        return by_category(categories, auxiliaries[Classifier.key](images))


@CONDITIONING.register("vac")
@dataclass(frozen=True)
class Vac(Classifies):
    """An auxiliary classifier in parallel with the critic (Bazrafkan and Corcoran 2018).

    Generator loss `theta · adversarial + zeta · CE(C(G(z, y)), y)`; classifier loss
    `CE(C(x), y)`, both means over the batch, summed over the categories of the schema (one network
    with one group of logits each). C's weights are frozen by the loop in the generator's phase.

    **Mode.** In the generator's phase C is switched to evaluation and back: dropout is off and
    running statistics are used, never moved by generated images. The default network has neither.
    With `trains_on="both"` real and generated images form one batch.

    **Latent.** `latent="sign"` is the paper's; "one-hot" appends a code to Gaussian noise.

    Args:
        network: architecture of C, a classifier.
        zeta: weight of the class loss on the generator.
        theta: weight of the adversarial loss on the generator.
        trains_on: what trains C. "both" is the authors' program. The default leaves it: "real"
            keeps the labels' meaning the data's own, and in `docs/results.md` ("What trains VAC's
            classifier") 92 % of digits are those asked for, against 72 % with "both" and 12 % with
            "generated", which lets the classes drift to arbitrary clusters.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.aspects.category import Category
        >>> from augmint.core.streams import stream
        >>> label = Category("label", ("a", "b", "c"))
        >>> context, asked = ConditioningContext(Schema((label,)), (1, 8, 8), 4), torch.tensor([1])
        >>> Vac(latent="sign").sample_latent(context, {"label": asked}, stream(0, "latent")).sign()
        tensor([[-1.,  1., -1.]])
    """

    network: Spec = field(default_factory=narrow_network)
    zeta: float = 0.3
    theta: float = 1.0
    trains_on: TrainsOn = "real"
    kinds: ClassVar[frozenset[str]] = frozenset({"category"})
    title: ClassVar[str] = "vac"

    def __post_init__(self) -> None:
        check_weights(zeta=self.zeta, theta=self.theta)

    def members(self) -> Sequence[Auxiliary]:
        return (Classifier(self.network, self.zeta, self.trains_on),)

    def adversarial_weight(self) -> float:
        return self.theta

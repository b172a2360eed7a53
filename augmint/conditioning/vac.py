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

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from augmint.aspects.base import Aspect
from augmint.conditioning.base import ConditioningContext
from augmint.conditioning.encoding import by_category, require
from augmint.conditioning.generator_side import GeneratorSide
from augmint.core.errors import IncompatibleError, UsageError
from augmint.core.registry import ARCHITECTURES, CONDITIONING, Spec
from augmint.core.types import AspectValues, CriticOutput, Logs
from augmint.networks.base import ClassifierArchitecture

NAME = "classifier"


def _default_network() -> dict[str, Any]:
    # narrow and plain: it runs twice a step, and twice the width costs a third of the whole step
    return {"name": "small-cnn", "channels": 16, "normalisation": "none", "dropout": 0.0}


@CONDITIONING.register("vac")
@dataclass(frozen=True)
class Vac(GeneratorSide):
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
        trains_on: what trains C. "real" keeps its labels the data's own; "both" is the authors'
            program; "generated" alone lets the classes drift to arbitrary clusters.
    """

    network: Spec = field(default_factory=_default_network)
    zeta: float = 0.3
    theta: float = 1.0
    trains_on: Literal["real", "generated", "both"] = "real"
    kinds: ClassVar[frozenset[str]] = frozenset({"category"})

    def __post_init__(self) -> None:
        for name in ("zeta", "theta"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} is not negative", getattr(self, name), f"set {name}: 0.3")

    def check(self, context: ConditioningContext) -> None:
        super().check(context)
        categories = self.coded(context)
        self._architecture().check_shape(context.shape)
        for category in categories:
            if category.width < 2:
                raise IncompatibleError(
                    "conditioning vac needs at least two classes",
                    f"{category.width} in {category.name}",
                    "use conditioning='none' (--set generator.conditioning=none)",
                )

    # 4. beside the critic
    def auxiliaries(self, context: ConditioningContext) -> Mapping[str, nn.Module]:
        return {NAME: self._architecture().build(context.shape, self.code_width(context))}

    def auxiliary_sees_fake(self) -> bool:
        return self.trains_on != "real"

    def auxiliary_loss(
        self,
        context: ConditioningContext,
        auxiliaries: Mapping[str, nn.Module],
        real: Tensor,
        fake: Tensor | None,
        real_aspects: AspectValues,
        fake_aspects: AspectValues,
    ) -> tuple[Tensor | None, Logs]:
        categories = self.coded(context)
        parts = [] if self.trains_on == "generated" else [(real, real_aspects)]
        if self.trains_on != "real":
            if fake is None:
                raise UsageError(
                    "the classifier trains on generated images", "none", "pass fake=images"
                )
            parts.append((fake.detach(), fake_aspects))
        logits = auxiliaries[NAME](torch.cat([images for images, _ in parts]))
        pieces = logits.split([len(images) for images, _ in parts])
        sums = [
            self._losses(categories, piece, values).sum()
            for piece, (_, values) in zip(pieces, parts, strict=True)
        ]
        loss = torch.stack(sums).sum() / len(logits)
        return loss, {"classifier_loss": loss.detach()}

    def generator_terms(
        self,
        context: ConditioningContext,
        auxiliaries: Mapping[str, nn.Module],
        heads: Mapping[str, nn.Module],
        fake: Tensor,
        output: CriticOutput,
        aspects: AspectValues,
        latent: Tensor,
    ) -> tuple[Tensor | None, Logs]:
        categories = self.coded(context)
        logits = _evaluate(auxiliaries[NAME], fake)
        loss = self._losses(categories, logits, aspects).mean()
        return self.zeta * loss, {"class_loss": loss.detach()}

    def class_logits(
        self,
        context: ConditioningContext,
        auxiliaries: Mapping[str, nn.Module],
        heads: Mapping[str, nn.Module],
        images: Tensor,
        judge: Callable[[Tensor], CriticOutput],
    ) -> Mapping[str, Tensor]:
        return by_category(self.coded(context), auxiliaries[NAME](images))

    def adversarial_weight(self) -> float:
        return self.theta

    def coded(self, context: ConditioningContext) -> list[Aspect]:
        return require(context.schema, self.kinds, "vac")

    def _architecture(self) -> ClassifierArchitecture:
        architecture = ARCHITECTURES.create(self.network)
        if not isinstance(architecture, ClassifierArchitecture):
            raise IncompatibleError(
                "the auxiliary network of vac is a classifier",
                f"{self.network} ({architecture.role})",
                "set network: small-cnn",
            )
        return architecture

    def _losses(self, categories: list[Aspect], logits: Tensor, values: AspectValues) -> Tensor:
        """Cross-entropy of each sample, `(N,)`, summed over the categories."""
        pieces = logits.split([c.width for c in categories], 1)
        losses = [c.loss(p, values[c.name]) for c, p in zip(categories, pieces, strict=True)]
        return torch.stack(losses).sum(0)


def _evaluate(network: nn.Module, images: Tensor) -> Tensor:
    """Return `network(images)` in evaluation mode, leaving its modes as they were."""
    modes = [(module, module.training) for module in network.modules()]
    # The backward pass of batch norm in evaluation reads the running statistics when it runs, and
    # torch does not notice if they have moved since: with one update of all players that would be
    # after C's own step, so the forward pass gets copies.
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    network.eval()
    try:
        logits: Tensor = functional_call(network, buffers, (images,))
        return logits
    finally:
        for module, training in modes:
            module.training = training

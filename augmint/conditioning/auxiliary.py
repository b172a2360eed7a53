"""Networks beside the critic: each learns an aspect and teaches it to the generator.

With V the adversarial game and A_i the auxiliary networks with their losses L_i, the whole is

    critic: V,    A_i: L_i(A_i(x), y),    generator: theta · V + Σ_i zeta_i · L_i(A_i(G(z, y)), y)

means over the batch. The critic is left alone, so that the method attaches to any objective.
`Auxiliary` is one such network and its loss, `BesideCritic` a conditioning made of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from augmint.aspects.base import Aspect
from augmint.conditioning.base import ConditioningContext
from augmint.conditioning.encoding import carried, require
from augmint.conditioning.generator_side import GeneratorSide
from augmint.core.errors import IncompatibleError, UsageError
from augmint.core.registry import ARCHITECTURES, Spec
from augmint.core.types import AspectValues, CriticOutput, Logs, Shape
from augmint.networks.base import ClassifierArchitecture, MapperArchitecture, Role

TrainsOn = Literal["real", "generated", "both"]


def narrow_network() -> dict[str, Any]:
    """Return the default network of a classifier or regressor beside a critic.

    Narrow and plain: it runs twice a step, and twice the width costs a third of the whole step.
    """
    return {"name": "small-cnn", "channels": 16, "normalisation": "none", "dropout": 0.0}


def check_weights(**weights: float) -> None:
    """Raise `UsageError` for a negative weight."""
    for name, value in weights.items():
        if value < 0:
            raise UsageError(f"{name} is not negative", value, f"set {name}: 0.3")


@dataclass(frozen=True)
class Auxiliary(ABC):
    """One network beside the critic: which aspects it learns, by which loss, from which images.

    Args:
        network: its architecture.
        zeta: weight of its loss on the generator; 0 trains it, and teaches nothing.
        trains_on: what trains it. "real" keeps the meaning of the aspects the data's own; "both"
            is the authors' program; "generated" alone lets it drift.
    """

    network: Spec
    zeta: float
    trains_on: TrainsOn
    kinds: ClassVar[frozenset[str]]
    role: ClassVar[Role] = "classifier"
    """What its architecture plays: a classifier (or regressor), or a mapper."""
    key: ClassVar[str]
    """Its name: of the network, of its optimiser, of its loss in the logs."""
    taught: ClassVar[str]
    """Name in the logs of its loss on generated images."""

    def check(self, owner: str, aspects: Collection[Aspect], shape: Shape) -> None:
        """Raise `IncompatibleError` if it cannot learn the aspects of images of `shape`."""
        architecture = self.architecture(owner)
        architecture.check_shape(shape)
        for aspect in aspects:
            architecture.check_kind(f"{self.network} of {owner}", aspect.name, aspect.kind)

    def architecture(self, owner: str) -> ClassifierArchitecture | MapperArchitecture:
        """Return what its network is built from.

        Raises:
            IncompatibleError: if that plays another role; `owner` names the conditioning.
        """
        found = ARCHITECTURES.create(self.network)
        built = isinstance(found, ClassifierArchitecture | MapperArchitecture)
        if not built or found.role != self.role:
            raise IncompatibleError(
                f"the auxiliary network of {owner} is a {self.key}",
                f"{self.network} ({found.role})",
                f"set network: {'small-cnn' if self.role == 'classifier' else 'unet'}",
            )
        return found

    def build(self, aspects: Collection[Aspect], shape: Shape) -> nn.Module:
        """Return the network, its weights from the global generator."""
        return self.architecture(self.key).build(shape, sum(a.width for a in aspects))

    @abstractmethod
    def losses(self, aspects: Sequence[Aspect], outputs: Tensor, values: AspectValues) -> Tensor:
        """Return the loss of each sample, `(N,)`, summed over the aspects."""

    def training_loss(
        self,
        aspects: Sequence[Aspect],
        network: nn.Module,
        real: tuple[Tensor, AspectValues],
        fake: tuple[Tensor | None, AspectValues],
    ) -> Tensor:
        """Return the mean loss of the images that train it, real and generated in one batch."""
        parts = [] if self.trains_on == "generated" else [real]
        if self.trains_on != "real":
            images, wanted = fake
            if images is None:
                raise UsageError(
                    f"the {self.key} trains on generated images", "none", "pass fake=images"
                )
            parts.append((images.detach(), wanted))
        outputs = network(torch.cat([images for images, _ in parts]))
        pieces = outputs.split([len(images) for images, _ in parts])
        sums = [
            self.losses(aspects, piece, values).sum()
            for piece, (_, values) in zip(pieces, parts, strict=True)
        ]
        return torch.stack(sums).sum() / len(outputs)


@dataclass(frozen=True)
class BesideCritic(GeneratorSide):
    """Conditioning by networks in parallel with the critic, and the aspects' code in the generator.

    The code of all that they learn goes to the generator (`GeneratorSide`); a network is there if
    the schema has aspects for it.
    """

    title: ClassVar[str]
    """What errors call it."""

    @abstractmethod
    def members(self) -> Sequence[Auxiliary]:
        """Return the networks that it can have."""

    def coded(self, context: ConditioningContext) -> list[Aspect]:
        return require(context.schema, self.kinds, self.title)

    def at_work(self, context: ConditioningContext) -> list[tuple[Auxiliary, list[Aspect]]]:
        """Return the networks for which the schema has aspects, with these."""
        found = [(m, carried(context.schema, m.kinds)) for m in self.members()]
        return [(member, aspects) for member, aspects in found if aspects]

    def check(self, context: ConditioningContext) -> None:
        super().check(context)
        for member, aspects in self.at_work(context):
            member.check(self.title, aspects, context.shape)

    @property
    def smallest_batch(self) -> int:  # type: ignore[override]
        return max(m.architecture(self.title).smallest_batch for m in self.members())

    def auxiliaries(self, context: ConditioningContext) -> Mapping[str, nn.Module]:
        return {m.key: m.build(aspects, context.shape) for m, aspects in self.at_work(context)}

    def auxiliary_sees_fake(self) -> bool:
        return any(member.trains_on != "real" for member in self.members())

    def auxiliary_loss(
        self,
        context: ConditioningContext,
        auxiliaries: Mapping[str, nn.Module],
        real: Tensor,
        fake: Tensor | None,
        real_aspects: AspectValues,
        fake_aspects: AspectValues,
    ) -> tuple[Tensor | None, Logs]:
        losses = {
            member.key: member.training_loss(
                aspects, auxiliaries[member.key], (real, real_aspects), (fake, fake_aspects)
            )
            for member, aspects in self.at_work(context)
        }
        logs = {f"{key}_loss": loss.detach() for key, loss in losses.items()}
        return torch.stack(list(losses.values())).sum(), logs

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
        terms: list[Tensor] = []
        logs: Logs = {}
        for member, learnt in self.at_work(context):
            outputs = evaluate(auxiliaries[member.key], fake)
            loss = member.losses(learnt, outputs, aspects).mean()
            terms.append(member.zeta * loss)
            logs[member.taught] = loss.detach()
        return torch.stack(terms).sum(), logs


def evaluate(network: nn.Module, images: Tensor) -> Tensor:
    """Return `network(images)` in evaluation mode, leaving its modes as they were.

    Dropout is off, and running statistics are used but never moved by generated images.

    Example:
        >>> network = nn.Dropout(0.5)
        >>> evaluate(network, torch.ones(1, 4)).tolist(), network.training
        ([[1.0, 1.0, 1.0, 1.0]], True)
    """
    modes = [(module, module.training) for module in network.modules()]
    # The backward pass of batch norm in evaluation reads the running statistics when it runs, and
    # torch does not notice if they have moved since: with one update of all players that would be
    # after the network's own step, so the forward pass gets copies.
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    network.eval()
    try:
        outputs: Tensor = functional_call(network, buffers, (images,))
        return outputs
    finally:
        for module, training in modes:
            module.training = training

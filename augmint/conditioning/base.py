"""What conditioning promises: the four places where aspects enter a GAN.

1. the latent (`sample_latent`); 2. the generator's side (`generator_inputs`); 3. the critic's side
(`critic_inputs`, `heads`); 4. auxiliary networks beside the critic, with their own optimisers.
A method that leaves a place alone inherits the neutral default.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor, nn

    from augmint.aspects.base import Schema
    from augmint.core.streams import Stream
    from augmint.core.types import AspectValues, CriticOutput, Logs, Shape


@dataclass(frozen=True)
class ConditioningContext:
    """What every method is told once: the schema it conditions on, the image shape, z's width."""

    schema: Schema
    shape: Shape
    latent_dim: int


@dataclass(frozen=True)
class Conditioning(ABC):
    """How aspects enter; subclasses override the places they use."""

    kinds: ClassVar[frozenset[str]] = frozenset()
    """Kinds of aspect it can carry; the schema must hold at least one where this is not empty."""
    generator_mode: ClassVar[str | None] = None
    """A member of the generator's `condition_modes` that it needs, if any."""
    critic_mode: ClassVar[str | None] = None
    """A member of the critic's `condition_modes` that it needs, if any."""
    accepts: ClassVar[frozenset[str]] = frozenset({"score", "map", "energy"})
    """The kinds of `CriticOutput` it can live with."""
    needs_features: ClassVar[bool] = False
    """Reads `CriticOutput.features`."""
    smallest_batch: ClassVar[int] = 1
    """Images of a batch below which networks of its own cannot train."""
    generator_alone: ClassVar[bool] = False
    """Acts in places 1 and 2 only, so that no critic need be there."""
    labels_generated: ClassVar[bool] = True
    """The generated image is meant to carry the aspects asked for (False for `none`)."""

    def carried(self, schema: Schema) -> Schema:
        """Return the aspects that generated images are asked for; classes, where it asks nothing.

        What an image was not asked for, nobody can say of it. (`labels_generated` tells whether the
        classes of a generator that asks nothing mean anything.)
        """
        from augmint.aspects.base import Schema

        kinds = self.kinds or {"category"}
        return Schema(tuple(a for a in schema if a.kind in kinds))

    def check(self, context: ConditioningContext) -> None:
        """Raise `IncompatibleError` if the schema or the latent cannot be used."""

    # 1. the latent
    def latent_width(self, context: ConditioningContext) -> int:
        """Return the width of what the generator takes as its latent."""
        return context.latent_dim

    def noise_width(self, context: ConditioningContext) -> int:
        """Return how many entries of a latent are N(0, I), drawn by `stream.normal` (0: none)."""
        return context.latent_dim

    def sample_latent(
        self, context: ConditioningContext, aspects: AspectValues, stream: Stream
    ) -> Tensor:
        """Return latents `(N, latent_width)`; default z ~ N(0, I)."""
        return stream.normal(context.latent_dim)

    # 2. the generator's side
    def condition_width(self, context: ConditioningContext) -> int:
        """Return the width of the separate condition vector (0: none)."""
        return 0

    def generator_inputs(
        self, context: ConditioningContext, latent: Tensor, aspects: AspectValues
    ) -> tuple[Tensor, Tensor | None]:
        """Return the generator's positional inputs (latent, condition)."""
        return latent, None

    # 3. the critic's side
    def critic_channels(self, context: ConditioningContext) -> int:
        """Return how many channels `critic_inputs` appends to the image."""
        return 0

    def critic_inputs(
        self, context: ConditioningContext, images: Tensor, aspects: AspectValues
    ) -> tuple[Tensor, Tensor | None]:
        """Return the critic's positional inputs (images, condition)."""
        return images, None

    def heads(
        self, context: ConditioningContext, feature_width: int, spectral: bool = False
    ) -> Mapping[str, nn.Module]:
        """Return modules on the critic's features, trained with the critic (ACGAN, InfoGAN's Q).

        Args:
            context: see `ConditioningContext`.
            feature_width: F.
            spectral: the critic's weights are divided by their spectral norm, and so is what is
                added to its score.
        """
        return {}

    def critic_terms(
        self,
        context: ConditioningContext,
        heads: Mapping[str, nn.Module],
        real: CriticOutput,
        fake: CriticOutput,
        real_aspects: AspectValues,
        fake_aspects: AspectValues,
    ) -> tuple[Tensor | None, Logs]:
        """Return a term added to the critic's loss (class loss of ACGAN), or None."""
        return None, {}

    def critic_value(
        self,
        context: ConditioningContext,
        heads: Mapping[str, nn.Module],
        output: CriticOutput,
        aspects: AspectValues,
    ) -> CriticOutput:
        """Return the output with the condition's share added to its value (projection)."""
        return output

    def generator_phase_critic(
        self, heads: Mapping[str, nn.Module], critic: nn.Module
    ) -> list[Tensor]:
        """Return the critic-side parameters that the generator phase trains (InfoGAN's Q)."""
        return []

    # 4. beside the critic
    def auxiliaries(self, context: ConditioningContext) -> Mapping[str, nn.Module]:
        """Return auxiliary networks by name; each gets its own optimiser."""
        return {}

    def auxiliary_loss(
        self,
        context: ConditioningContext,
        auxiliaries: Mapping[str, nn.Module],
        real: Tensor,
        fake: Tensor | None,
        real_aspects: AspectValues,
        fake_aspects: AspectValues,
    ) -> tuple[Tensor | None, Logs]:
        """Return the loss that trains the auxiliaries; `fake` is detached, None if not wanted."""
        return None, {}

    def auxiliary_sees_fake(self) -> bool:
        """Whether `auxiliary_loss` wants generated images."""
        return False

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
        """Return a term added to the generator's loss, or None."""
        return None, {}

    def class_logits(
        self,
        context: ConditioningContext,
        auxiliaries: Mapping[str, nn.Module],
        heads: Mapping[str, nn.Module],
        images: Tensor,
        judge: Callable[[Tensor], CriticOutput],
    ) -> Mapping[str, Tensor]:
        """Return what its own classifier says of images: category to logits `(N, classes)`.

        Empty where the method has none; `judge` gives what the critic says of images.
        """
        return {}

    def adversarial_weight(self) -> float:
        """Return the factor on the adversarial part of the generator's loss (theta in VAC)."""
        return 1.0

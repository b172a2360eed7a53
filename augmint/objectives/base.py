"""What an objective promises: losses of a critic and a generator, or of a generator alone.

An `Objective` is adversarial: the pair of losses of two players. A `DirectObjective` compares a
generator with real images itself, and no critic plays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    from augmint.core.streams import Stream
    from augmint.core.types import CriticOutput, Logs, State


@dataclass(frozen=True)
class AnyObjective(ABC):
    """What both kinds declare. Nothing is kept on the object: all state is explicit."""

    batch_coupled: ClassVar[bool] = False
    """Losses or state of a batch are not the means of those of its parts."""
    smallest_batch: ClassVar[int] = 1
    """Images of a batch that its losses compare at least."""
    converges: ClassVar[str | None] = None
    """A log that falls as the run gets better; the state where it was least is kept."""
    accepts: ClassVar[frozenset[str]] = frozenset()
    """The kinds of `CriticOutput` it can use; none without a critic."""
    boundary: ClassVar[float | None] = None
    """The score between real and generated, where the critic's scores have such a place."""
    needs: ClassVar[str] = ""
    """What the generator's module must have,
    a member of `GeneratorArchitecture.gives`; "": nothing."""
    gives: ClassVar[frozenset[str]] = frozenset()
    """What it does besides, that a generator may ask for (`GeneratorArchitecture.asks`)."""

    def init_state(self) -> State:
        """Return the state before the first step (BEGAN's k, say); empty for most."""
        return {}


@dataclass(frozen=True)
class DirectObjective(AnyObjective):
    """The loss of a generator on real images, without a critic.

    Training shows it every real image with its own aspects. What it draws comes from a stream, so
    that a batch can be shared out and a run resumed.
    """

    generates: ClassVar[bool] = True
    """Latents drawn from N(0, I) give images like the real ones; False for an auto-encoder."""

    @abstractmethod
    def loss(
        self,
        network: Any,
        real: Tensor,
        latent: Tensor,
        condition: Tensor | None,
        numbers: Stream,
        state: State,
    ) -> tuple[Tensor, State, Logs]:
        """Return `(loss, new_state, logs)`; the loss is a scalar, a mean over the batch.

        Args:
            network: the generator, which has what `needs` names.
            real: images `(N, C, H, W)` in [-1, 1].
            latent: N(0, I), `(N, latent_dim)`, drawn for this step.
            condition: of the real images, `(N, condition_width)`, or None.
            numbers: for whatever else is drawn, one row an image.
            state: explicit state.
        """


@dataclass(frozen=True)
class Objective(AnyObjective):
    """The losses of D and G, as functions of what the critic says and of explicit state.

    Both return `(loss, new_state, logs)`; losses are scalars to be minimised, means over the
    batch (and over the map, where the critic gives one). Nothing is kept on the object.
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"score", "map"})
    real_in_generator: ClassVar[bool] = False
    """The generator's loss needs the critic on real images (relativistic); under no_grad."""
    needs_features: ClassVar[bool] = False
    """Needs `CriticOutput.features` or `.embedding`."""

    @abstractmethod
    def critic_loss(
        self, real: CriticOutput, fake: CriticOutput, state: State
    ) -> tuple[Tensor, State, Logs]:
        """Return the critic's loss."""

    @abstractmethod
    def generator_loss(
        self, real: CriticOutput | None, fake: CriticOutput, state: State
    ) -> tuple[Tensor, State, Logs]:
        """Return the generator's loss; `real` is given only where `real_in_generator`."""

"""What an adversarial objective promises: the pair of losses of the critic and the generator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    from augmint.core.types import CriticOutput, Logs, State


@dataclass(frozen=True)
class Objective(ABC):
    """The losses of D and G, as functions of what the critic says and of explicit state.

    Both return `(loss, new_state, logs)`; losses are scalars to be minimised, means over the
    batch (and over the map, where the critic gives one). Nothing is kept on the object.
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"score", "map"})
    """The kinds of `CriticOutput` it can use."""
    real_in_generator: ClassVar[bool] = False
    """The generator's loss needs the critic on real images (relativistic); under no_grad."""
    needs_features: ClassVar[bool] = False
    """Needs `CriticOutput.features` or `.embedding`."""
    batch_coupled: ClassVar[bool] = False
    """Losses or state of a batch are not the means of those of its parts."""
    converges: ClassVar[str | None] = None
    """A log of `critic_loss` that falls as the run gets better; the state where it was least is kept."""

    def init_state(self) -> State:
        """Return the state before the first step (BEGAN's k, say); empty for most."""
        return {}

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

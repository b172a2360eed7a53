"""The phase of a generator that learns from real images without a critic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from augmint.core.types import Logs
from augmint.training.batches import Batches
from augmint.training.game import Game
from augmint.training.phases import Group, Phase


class DirectPhase(Phase):
    """Trains the generator by its direct objective on the step's real images and their aspects."""

    def __init__(self, game: Game, batches: Batches, groups: Sequence[Group]) -> None:
        super().__init__("generator", groups)
        self.game = game
        self.batches = batches

    def losses(self, step: int) -> tuple[Mapping[str, Tensor], Logs]:
        """Return the objective's loss and logs."""
        with self.game.chance(self.name, step):
            loss, logs = self.game.learn(*self.batches.real(step), step)
        return {"generator": loss}, logs

"""Phases and groups: what one step of any training is made of.

A *group* is some parameters and the optimiser that owns them. A *phase* computes one loss for each
of its groups; all gradients are taken before any optimiser steps, so that simultaneous updates and
shared forward passes are possible. Hooks (clipping, EMA) follow the step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from augmint.core.types import Logs
    from augmint.training.team import Team


@dataclass(frozen=True)
class Group:
    """Parameters and the optimiser that owns them; `name` keys losses and checkpoints."""

    name: str
    parameters: Sequence[Tensor]
    optimiser: Optimizer


@dataclass
class Phase(ABC):
    """One update of one or several groups.

    Args:
        name: in logs ("critic", "generator").
        groups: what it trains.
        interval: it runs on steps that are multiples of this (several critic steps are a
            generator phase with an interval).
        after: hooks called with the step number once the optimisers have stepped.
        team: the processes that share its batches, this one among them, if there are several.
    """

    name: str
    groups: Sequence[Group]
    interval: int = 1
    after: list[Callable[[int], None]] = field(default_factory=list)
    team: Team | None = None

    @abstractmethod
    def losses(self, step: int) -> tuple[Mapping[str, Tensor], Logs]:
        """Return one scalar loss for each group, by its name, and detached logs."""

"""Relativistic pairing: the critic scores a real image against a generated one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from augmint.core.errors import UsageError
from augmint.core.registry import OBJECTIVES
from augmint.core.types import CriticOutput, Logs, State
from augmint.objectives.base import Objective


@OBJECTIVES.register("relativistic")
@dataclass(frozen=True)
class Relativistic(Objective):
    """Both players see the difference of a real and a generated score, pair by pair.

        critic:     E sp(-(r_i - f_i))        generator:  E sp(-(f_i - r_i))

    with sp(a) = log(1 + e^a). The critic need not push all generated images to one side, so that
    a mode that is missing keeps its pull (Jolicoeur-Martineau 2018, 1807.00734, section 4.1; with
    R1 and R2 it converges locally: Huang et al. 2024, 2501.05441, eq. 2). Pairs are made in the
    order of the batch. The generator's gradient flows through f alone.

    Example:
        >>> import torch
        >>> low, high = CriticOutput(torch.tensor([1.0])), CriticOutput(torch.tensor([31.0]))
        >>> right, _, _ = Relativistic().critic_loss(high, low, {})
        >>> wrong, _, _ = Relativistic().critic_loss(low, high, {})
        >>> round(right.item(), 6), wrong.item()
        (0.0, 30.0)
    """

    real_in_generator: ClassVar[bool] = True

    def critic_loss(
        self, real: CriticOutput, fake: CriticOutput, state: State
    ) -> tuple[Tensor, State, Logs]:
        r, f = real.value, fake.value
        logs = {"real_score": r.detach().mean(), "fake_score": f.detach().mean()}
        return F.softplus(f - r).mean(), state, logs

    def generator_loss(
        self, real: CriticOutput | None, fake: CriticOutput, state: State
    ) -> tuple[Tensor, State, Logs]:
        if real is None:
            raise UsageError(
                "the relativistic generator compares with real images",
                "no critic output of real images",
                "pass real=critic(real images) without gradients",
            )
        return F.softplus(real.value.detach() - fake.value).mean(), state, {}

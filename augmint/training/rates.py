"""What happens to rates and weights beside the optimisers' own steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from augmint.training.phases import Phase

if TYPE_CHECKING:
    from augmint.training.config import GanConfig


def auxiliary_optimiser(parameters: Sequence[Tensor], config: GanConfig) -> Optimizer:
    """Return the optimiser of an auxiliary network.

    "adam" has betas (0.9, 0.999); "nesterov" is stochastic gradient descent with Nesterov's
    momentum of 0.9, as Bazrafkan and Corcoran train the classifier of VAC (rate 0.01).

    Example:
        >>> from augmint.training.config import GanConfig
        >>> config = GanConfig(auxiliary_optimiser="nesterov", auxiliary_rate=0.01)
        >>> found = auxiliary_optimiser([torch.zeros(1)], config).defaults
        >>> found["lr"], found["momentum"], found["nesterov"]
        (0.01, 0.9, True)
    """
    if config.auxiliary_optimiser == "adam":
        return Adam(parameters, config.auxiliary_rate, (0.9, 0.999), fused=True)
    return SGD(parameters, config.auxiliary_rate, momentum=0.9, nesterov=True)


def lazy_rates(
    rate: float, betas: tuple[float, float], interval: int
) -> tuple[float, tuple[float, float]]:
    """Return Adam's rate and betas beside a penalty that comes every n steps.

        c = n / (n + 1) for n > 1, else 1;    rate · c,  beta_1^c,  beta_2^c

    The paper's rule for n steps of the loss and one further step of the penalty. Here the penalty
    is part of the loss of its step, n steps in all, so that c is a slightly lower rate and no more.

    Source: Karras et al. 2020, arXiv:1912.04958, appendix B.

    Example:
        >>> lazy_rates(1.0, (0.0, 0.25), 1)
        (1.0, (0.0, 0.25))
    """
    c = interval / (interval + 1) if interval > 1 else 1.0
    return rate * c, (betas[0] ** c, betas[1] ** c)


def linear_factor(step: int, steps: int, share: float) -> float:
    """Return the factor on the rates at a step:
    1, then falling in a line to 1 / (T - s) at the end.

        f(t) = min(1, (T - t + 1) / (T - s)),   s = share · T

    Example:
        >>> [linear_factor(t, 8, 0.5) for t in (1, 4, 5, 6, 8)]
        [1.0, 1.0, 1.0, 0.75, 0.25]
    """
    last = steps - int(share * steps)
    return min(1.0, (steps - step + 1) / last)


class LinearDecay:
    """Lets the rates of a phase's groups fall in a line; a hook of that phase.

    Rates are multiplied step by step, so that what else lowers them (the guard) keeps its effect.

    Args:
        phase: whose groups.
        steps: T, of the run.
        share: of the run that keeps the full rates.
    """

    def __init__(self, phase: Phase, steps: int, share: float) -> None:
        self.phase, self.steps, self.share = phase, steps, share

    def __call__(self, step: int) -> None:
        """Go from the rates of this step to those of the phase's next."""
        following = min(step + self.phase.interval, self.steps)
        now = linear_factor(step, self.steps, self.share)
        ratio = linear_factor(following, self.steps, self.share) / now
        for group in self.phase.groups:
            for settings in group.optimiser.param_groups:
                settings["lr"] *= ratio


class Clip:
    """Keeps every weight within ±bound after each step (Arjovsky et al. 2017, 1701.07875: 0.01).

    Example:
        >>> weight = torch.tensor([-1.0, 0.25, 2.0])
        >>> Clip([weight], bound=0.5)(step=1)
        >>> weight.tolist()
        [-0.5, 0.25, 0.5]
    """

    def __init__(self, parameters: Sequence[Tensor], bound: float) -> None:
        self.parameters, self.bound = [p.detach() for p in parameters], bound

    def __call__(self, step: int) -> None:
        """Clip; a hook of the critic's phase."""
        torch._foreach_clamp_min_(self.parameters, -self.bound)
        torch._foreach_clamp_max_(self.parameters, self.bound)

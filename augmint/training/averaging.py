"""The exponential moving average of a network's weights: the generator that is kept."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """A copy of a network whose parameters follow the original's by a moving average.

        w_ema <- d w_ema + (1 - d) w,    d = decay, or min(decay, (1 + t) / (10 + t)) on ramp-up

    Buffers (running statistics) are copied. The copy stays in evaluation mode, without gradients.
    Source: Yazıcı et al. 2019, arXiv:1806.04498; the ramp is that
    of TensorFlow's `ExponentialMovingAverage` with `num_updates`.

    Args:
        module: the network that trains.
        decay: d, 0 to below 1; 0 copies.
        ramp: begin with a short memory, so that early weights are forgotten.

    Example:
        >>> network = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.zeros_(network.weight)
        >>> average = Average(network, decay=0.75, ramp=False)
        >>> _ = nn.init.ones_(network.weight)
        >>> average.update(step=1)
        >>> average.module.weight.item()
        0.25
    """

    def __init__(self, module: nn.Module, decay: float, ramp: bool = True) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay
        self.ramp = ramp
        self._source = [p.detach() for p in module.parameters()]
        self._target = [p.detach() for p in self.module.parameters()]
        self._buffers = list(zip(self.module.buffers(), module.buffers(), strict=True))

    def rate(self, step: int) -> float:
        """Return d at a step.

        Example:
            >>> average = Average(nn.Identity(), decay=0.5)
            >>> [average.rate(step) for step in (0, 2, 10_000)]
            [0.1, 0.25, 0.5]
        """
        return min(self.decay, (1 + step) / (10 + step)) if self.ramp else self.decay

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the network's present weights; a hook for `Phase.after`."""
        torch._foreach_lerp_(self._target, self._source, 1.0 - self.rate(step))
        for target, source in self._buffers:
            target.copy_(source)

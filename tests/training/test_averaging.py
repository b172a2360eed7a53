from __future__ import annotations

import torch
from torch import nn

from augmint.training.averaging import Average


def test_closed_form() -> None:
    """With weights w_t = t the average after T steps is sum over t of (1 - d) d^(T - t) t."""
    module = nn.Linear(3, 2)
    nn.init.zeros_(module.weight)
    average = Average(module, 0.8, ramp=False)
    for t in range(1, 11):
        nn.init.constant_(module.weight, float(t))
        average.update(t)
    expected = sum(0.2 * 0.8 ** (10 - t) * t for t in range(1, 11))
    torch.testing.assert_close(average.module.weight, torch.full((2, 3), expected))


def test_ramp_forgets_early_weights() -> None:
    average = Average(nn.Linear(1, 1), 0.999)
    rates = [average.rate(t) for t in (0, 10, 100, 10**6)]
    assert rates == [0.1, 11 / 20, 101 / 110, 0.999]


def test_buffers_are_copied_and_nothing_requires_gradients() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).to(
        memory_format=torch.channels_last
    )
    average = Average(module, 0.9)
    module(torch.randn(4, 1, 5, 5))
    average.update(0)
    assert torch.equal(average.module[1].running_mean, module[1].running_mean)
    assert int(average.module[1].num_batches_tracked) == 1
    assert not average.module.training
    assert not any(p.requires_grad for p in average.module.parameters())
    assert average.module[0].weight.stride() == module[0].weight.stride()

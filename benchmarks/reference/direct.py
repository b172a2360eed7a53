"""Plain loops of generators that learn without a critic, over augmint's own networks."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn, optim


class _Plain(ABC):
    """Adam on one loss, and an average of the weights, tensor by tensor."""

    def __init__(self, network: nn.Module, rate: float = 2e-4) -> None:
        self.network, self.average = network, copy.deepcopy(network)
        self.optimiser = optim.Adam(network.parameters(), lr=rate, betas=(0.5, 0.999))

    @abstractmethod
    def loss(self, real: Tensor) -> Tensor:
        """Return the loss of a batch."""

    def step(self, real: Tensor) -> Tensor:
        """Update the network; return the loss."""
        self.optimiser.zero_grad()
        loss = self.loss(real)
        loss.backward()
        self.optimiser.step()
        with torch.no_grad():
            averaged = zip(self.average.parameters(), self.network.parameters(), strict=True)
            for kept, now in averaged:
                kept.mul_(0.999).add_(now, alpha=0.001)
        return loss.detach()


class Flow(_Plain):
    """Flow matching: |v((1 - t) x_0 + t x_1, t) - (x_1 - x_0)|² (Lipman et al. 2022)."""

    def loss(self, real: Tensor) -> Tensor:
        noise, times = torch.randn_like(real), torch.rand(len(real))
        share = times[:, None, None, None]
        found = self.network.velocity((1 - share) * noise + share * real, times, None, None)
        return (found - (real - noise)).square().mean()


class Vae(_Plain):
    """A Gaussian of the batch's own variance, and the KL divergence (Kingma and Welling 2013)."""

    def loss(self, real: Tensor) -> Tensor:
        mean, log_variance = self.network.posterior(real)
        drawn = self.network(mean + (0.5 * log_variance).exp() * torch.randn_like(mean))
        wrong = (real - drawn).square().flatten(1)
        variance = wrong.detach().mean()
        told = 0.5 * (wrong / variance + (2 * math.pi * variance).log()).sum(1).mean()
        divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()
        return told + divergence

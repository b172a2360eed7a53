"""A plain loop over two given networks, for those that nobody would write out twice.

What it measures is the loop and its surroundings alone: default allocator, memory format and Adam,
gradients for the critic's weights in the generator's update, averaged weights tensor by tensor.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F


class Plain:
    """The step of a non-saturating game, with a classifier beside the critic where one is given.

    Args:
        generator, critic: called as augmint calls them.
        classifier: teaches the generator labels (VAC), or None.
        rate: of the players' optimisers.
    """

    def __init__(
        self,
        generator: nn.Module,
        critic: nn.Module,
        classifier: nn.Module | None = None,
        rate: float = 2e-4,
    ) -> None:
        self.generator, self.critic, self.classifier = generator, critic, classifier
        self.average = copy.deepcopy(generator)
        self.players = [
            optim.Adam(network.parameters(), lr=rate, betas=(0.5, 0.999))
            for network in (critic, generator)
        ]
        self.beside = None
        if classifier is not None:
            self.beside = optim.Adam(classifier.parameters(), lr=1e-3)

    def step(
        self, real: Tensor, labels: Tensor, inputs: tuple[Any, ...], wanted: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update the critic, the classifier and the generator; return the players' losses."""
        critic_optimiser, generator_optimiser = self.players
        fake = self.generator(*inputs)
        critic_optimiser.zero_grad()
        critic_loss = F.softplus(-self.critic(real).value).mean()
        critic_loss = critic_loss + F.softplus(self.critic(fake.detach()).value).mean()
        critic_loss.backward()
        critic_optimiser.step()
        if self.classifier is not None and self.beside is not None:
            self.beside.zero_grad()
            F.cross_entropy(self.classifier(real), labels).backward()
            self.beside.step()
        generator_optimiser.zero_grad()
        loss = F.softplus(-self.critic(fake).value).mean()
        if self.classifier is not None:
            loss = loss + F.cross_entropy(self.classifier(fake), wanted)
        loss.backward()
        generator_optimiser.step()
        with torch.no_grad():
            averaged = zip(self.average.parameters(), self.generator.parameters(), strict=True)
            for kept, now in averaged:
                kept.mul_(0.999).add_(now, alpha=0.001)
        return critic_loss.detach(), loss.detach()

"""A plain ACGAN loop for 32 px grey images: the networks of `dcgan32.py` and a class head.

Written as tutorials write it; see `dcgan64.py` for what that means.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from reference import dcgan32
from torch import Tensor, nn, optim
from torch.nn import functional as F


class Critic(nn.Module):
    """Images to logits `(N, 1)` and class logits `(N, classes)`."""

    def __init__(self, width: int, colours: int, classes: int) -> None:
        super().__init__()
        layers = dcgan32.make_critic(width, colours)
        self.trunk, self.score = layers[:-1], layers[-1]
        self.classes = nn.Linear(self.score.in_features, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(images)
        return self.score(features), self.classes(features)


class Plain:
    """Two networks, two optimisers and the step.

    Args:
        width: of the generator's last hidden map; the critic's first is half as wide.
        latent: width of z.
        classes: of the labels, which join z one-hot.
        rate: of both optimisers.
    """

    def __init__(
        self, width: int = 64, latent: int = 100, classes: int = 10, rate: float = 2e-4
    ) -> None:
        self.count = classes
        self.generator = dcgan32.make_generator(latent + classes, width, 1)
        self.critic = Critic(width // 2, 1, classes)
        self.criterion = nn.BCEWithLogitsLoss()
        self.class_criterion = nn.CrossEntropyLoss()
        self.generator_optimiser = optim.Adam(
            self.generator.parameters(), lr=rate, betas=(0.5, 0.999)
        )
        self.critic_optimiser = optim.Adam(self.critic.parameters(), lr=rate, betas=(0.5, 0.999))

    def step(
        self, real: Tensor, labels: Tensor, latent: Tensor, wanted: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update the critic, then the generator; return their losses."""
        ones = torch.ones(len(real), 1, dtype=real.dtype)
        zeros = torch.zeros(len(real), 1, dtype=real.dtype)

        fake = self.generator(torch.cat((latent, F.one_hot(wanted, self.count).to(latent)), 1))
        self.critic_optimiser.zero_grad()
        score, classes = self.critic(real)
        critic_loss = self.criterion(score, ones) + self.class_criterion(classes, labels)
        score, classes = self.critic(fake.detach())
        critic_loss = critic_loss + self.criterion(score, zeros)
        critic_loss = critic_loss + self.class_criterion(classes, wanted)
        critic_loss.backward()
        self.critic_optimiser.step()

        self.generator_optimiser.zero_grad()
        score, classes = self.critic(fake)
        loss = self.criterion(score, ones) + self.class_criterion(classes, wanted)
        loss.backward()
        self.generator_optimiser.step()
        return critic_loss.detach(), loss.detach()


generator_layout = dcgan32.generator_layout


def critic_layout(ours: Sequence[Tensor]) -> list[Tensor]:
    """Return augmint's critic parameters, the head's last, in this network's shapes: they agree."""
    return list(ours)

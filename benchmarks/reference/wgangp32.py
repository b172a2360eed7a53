"""A plain WGAN-GP loop for 32 px grey images: the generator of `dcgan32.py`,
a critic without norms.

Written as tutorials write it (see `dcgan64.py`): the critic's loss is back-propagated into the
generator as well, whose gradients are then thrown away.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from reference import dcgan32
from torch import Tensor, nn, optim

CRITIC_STEPS = 5


def make_critic(width: int) -> nn.Sequential:
    """Images `(N, 1, 32, 32)` to scores `(N, 1)`."""
    return nn.Sequential(
        nn.Conv2d(1, width, 4, 2, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(width, width * 2, 4, 2, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(width * 2, width * 4, 4, 2, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Flatten(),
        nn.Linear(width * 4 * 4 * 4, 1),
    )


class Plain:
    """Two networks, two optimisers and the step.

    Args:
        width: of the generator's last hidden map; the critic's first is half as wide.
        latent: width of z.
        penalty: weight of the gradient penalty.
        rate: of both optimisers.
    """

    def __init__(
        self, width: int = 64, latent: int = 100, penalty: float = 10.0, rate: float = 2e-4
    ) -> None:
        self.generator = dcgan32.make_generator(latent, width, 1)
        self.critic = make_critic(width // 2)
        self.penalty = penalty
        self.generator_optimiser = optim.Adam(
            self.generator.parameters(), lr=rate, betas=(0.5, 0.999)
        )
        self.critic_optimiser = optim.Adam(self.critic.parameters(), lr=rate, betas=(0.5, 0.999))

    def critic_step(self, real: Tensor, latent: Tensor, share: Tensor) -> Tensor:
        """Update the critic; `share` `(N, 1)` says where between real and generated it is held."""
        self.critic_optimiser.zero_grad()
        fake = self.generator(latent)
        share = share[:, :, None, None]
        mixed = (share * real.data + (1.0 - share) * fake.data).requires_grad_(True)
        scores = self.critic(mixed)
        gradients = torch.autograd.grad(
            outputs=scores,
            inputs=mixed,
            grad_outputs=torch.ones_like(scores),
            create_graph=True,
            retain_graph=True,
            only_inputs=True,
        )[0]
        slopes = gradients.view(len(real), -1).norm(2, dim=1)
        loss = -torch.mean(self.critic(real)) + torch.mean(self.critic(fake))
        loss = loss + self.penalty * ((slopes - 1.0) ** 2).mean()
        loss.backward()
        self.critic_optimiser.step()
        return loss.detach()

    def generator_step(self, latent: Tensor) -> Tensor:
        """Update the generator."""
        self.generator_optimiser.zero_grad()
        loss = -torch.mean(self.critic(self.generator(latent)))
        loss.backward()
        self.generator_optimiser.step()
        return loss.detach()


generator_layout = dcgan32.generator_layout


def critic_layout(ours: Sequence[Tensor]) -> list[Tensor]:
    """The same for the critic, whose shapes agree."""
    return list(ours)

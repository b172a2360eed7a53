"""A plain GAN loop for 32 px grey images: nearest upsampling and 3x3 convolutions.

Written as tutorials write it; see `dcgan64.py` for what that means.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn, optim


def make_generator(latent: int, width: int, colours: int) -> nn.Sequential:
    """Latents `(N, latent)` to images `(N, colours, 32, 32)` in [-1, 1]."""
    return nn.Sequential(
        nn.Linear(latent, 2 * width * 8 * 8, bias=False),
        nn.Unflatten(1, (2 * width, 8, 8)),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(inplace=True),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(inplace=True),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(2 * width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, colours, 3, padding=1),
        nn.Tanh(),
    )


def make_critic(width: int, colours: int) -> nn.Sequential:
    """Images `(N, colours, 32, 32)` to logits `(N, 1)`."""
    return nn.Sequential(
        nn.Conv2d(colours, width, 4, 2, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(width, width * 2, 4, 2, 1, bias=False),
        nn.BatchNorm2d(width * 2),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(width * 2, width * 4, 4, 2, 1, bias=False),
        nn.BatchNorm2d(width * 4),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Flatten(),
        nn.Linear(width * 4 * 4 * 4, 1),
    )


class Plain:
    """Two networks, two optimisers and the step.

    Args:
        width: of the generator's last hidden map; the critic's first is half as wide.
        latent: width of z.
        colours: channels of the images.
        rate: of both optimisers.
    """

    def __init__(
        self, width: int = 64, latent: int = 100, colours: int = 1, rate: float = 2e-4
    ) -> None:
        self.generator = make_generator(latent, width, colours)
        self.critic = make_critic(width // 2, colours)
        for network in (self.generator, self.critic):
            network.apply(_draw_weights)
        self.criterion = nn.BCEWithLogitsLoss()
        self.generator_optimiser = optim.Adam(
            self.generator.parameters(), lr=rate, betas=(0.5, 0.999)
        )
        self.critic_optimiser = optim.Adam(self.critic.parameters(), lr=rate, betas=(0.5, 0.999))

    def step(self, real: Tensor, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Update the critic, then the generator; return their losses."""
        ones = torch.ones(len(real), 1, dtype=real.dtype)
        zeros = torch.zeros(len(real), 1, dtype=real.dtype)

        fake = self.generator(latent)
        self.critic_optimiser.zero_grad()
        critic_loss = self.criterion(self.critic(real), ones)
        critic_loss = critic_loss + self.criterion(self.critic(fake.detach()), zeros)
        critic_loss.backward()
        self.critic_optimiser.step()

        self.generator_optimiser.zero_grad()
        generator_loss = self.criterion(self.critic(fake), ones)
        generator_loss.backward()
        self.generator_optimiser.step()
        return critic_loss.detach(), generator_loss.detach()


def generator_layout(ours: Sequence[Tensor]) -> list[Tensor]:
    """Return augmint's generator parameters (or gradients) in this network's shapes.

    Its dense first layer gives row, column, channel; here it is channel, row, column.
    """
    dense = ours[0]
    moved = dense.view(8, 8, -1, dense.shape[1]).permute(2, 0, 1, 3)
    return [moved.reshape(dense.shape), *ours[1:]]


def critic_layout(ours: Sequence[Tensor]) -> list[Tensor]:
    """The same for the critic, whose shapes agree."""
    return list(ours)


def _draw_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)

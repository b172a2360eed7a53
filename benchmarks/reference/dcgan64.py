"""A plain DCGAN loop for 64 px colour images, written as tutorials write it.

Nothing here is tuned: default allocator and memory format, `optim.Adam` as it comes, two separate
passes of the critic, gradients for the critic's weights in the generator's update too. It is what
`step_speed.py` measures augmint against, and what the equivalence tests compare it with.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn, optim


def make_generator(latent: int, width: int, colours: int) -> nn.Sequential:
    """Latents `(N, latent, 1, 1)` to images `(N, colours, 64, 64)` in [-1, 1]."""
    return nn.Sequential(
        nn.ConvTranspose2d(latent, width * 8, 4, 1, 0, bias=False),
        nn.BatchNorm2d(width * 8),
        nn.ReLU(True),
        nn.ConvTranspose2d(width * 8, width * 4, 4, 2, 1, bias=False),
        nn.BatchNorm2d(width * 4),
        nn.ReLU(True),
        nn.ConvTranspose2d(width * 4, width * 2, 4, 2, 1, bias=False),
        nn.BatchNorm2d(width * 2),
        nn.ReLU(True),
        nn.ConvTranspose2d(width * 2, width, 4, 2, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(True),
        nn.ConvTranspose2d(width, colours, 4, 2, 1),
        nn.Tanh(),
    )


def make_critic(width: int, colours: int) -> nn.Sequential:
    """Images `(N, colours, 64, 64)` to logits `(N, 1, 1, 1)`."""
    return nn.Sequential(
        nn.Conv2d(colours, width, 4, 2, 1),
        nn.LeakyReLU(0.2, True),
        nn.Conv2d(width, width * 2, 4, 2, 1, bias=False),
        nn.BatchNorm2d(width * 2),
        nn.LeakyReLU(0.2, True),
        nn.Conv2d(width * 2, width * 4, 4, 2, 1, bias=False),
        nn.BatchNorm2d(width * 4),
        nn.LeakyReLU(0.2, True),
        nn.Conv2d(width * 4, width * 8, 4, 2, 1, bias=False),
        nn.BatchNorm2d(width * 8),
        nn.LeakyReLU(0.2, True),
        nn.Conv2d(width * 8, 1, 4, 1, 0),
    )


class Plain:
    """Two networks, two optimisers and the step.

    Args:
        width: of the widest map.
        latent: width of z.
        colours: channels of the images.
        rate: of both optimisers.
    """

    def __init__(
        self, width: int = 64, latent: int = 100, colours: int = 3, rate: float = 2e-4
    ) -> None:
        self.generator = make_generator(latent, width, colours)
        self.critic = make_critic(width, colours)
        for network in (self.generator, self.critic):
            network.apply(_draw_weights)
        self.criterion = nn.BCEWithLogitsLoss()
        self.generator_optimiser = optim.Adam(
            self.generator.parameters(), lr=rate, betas=(0.5, 0.999)
        )
        self.critic_optimiser = optim.Adam(self.critic.parameters(), lr=rate, betas=(0.5, 0.999))

    def step(self, real: Tensor, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Update the critic, then the generator; return their losses."""
        latent = latent[:, :, None, None]
        ones = torch.ones(len(real), dtype=real.dtype)
        zeros = torch.zeros(len(real), dtype=real.dtype)

        self.critic.zero_grad()
        loss_real = self.criterion(self.critic(real).view(-1), ones)
        loss_real.backward()
        fake = self.generator(latent)
        loss_fake = self.criterion(self.critic(fake.detach()).view(-1), zeros)
        loss_fake.backward()
        self.critic_optimiser.step()

        self.generator.zero_grad()
        loss = self.criterion(self.critic(fake).view(-1), ones)
        loss.backward()
        self.generator_optimiser.step()
        return (loss_real + loss_fake).detach(), loss.detach()


def generator_layout(ours: Sequence[Tensor]) -> list[Tensor]:
    """Return augmint's generator parameters (or gradients) in this network's shapes.

    Its dense first layer, outputs in the order row, column, channel, is the first transposed
    convolution here.
    """
    dense = ours[0]
    return [dense.view(4, 4, -1, dense.shape[1]).permute(3, 2, 0, 1), *ours[1:]]


def critic_layout(ours: Sequence[Tensor]) -> list[Tensor]:
    """The same for the critic: its dense last layer is the last convolution here."""
    return [*ours[:-2], ours[-2].view(1, -1, 4, 4), ours[-1]]


def _draw_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)

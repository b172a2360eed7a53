"""A plain BEGAN loop for 32 px grey images, with the published networks.

Written as tutorials write it; see `dcgan64.py` for what that means.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn, optim

GRID, DOUBLINGS = 8, 2


def make_decoder(code: int, width: int) -> nn.Sequential:
    """Codes `(N, code)` to images `(N, 1, 32, 32)`."""
    layers: list[nn.Module] = [
        nn.Linear(code, width * GRID * GRID),
        nn.Unflatten(1, (width, GRID, GRID)),
    ]
    for i in range(DOUBLINGS + 1):
        layers += [nn.Upsample(scale_factor=2)] if i else []
        for _ in range(2):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ELU(True)]
    return nn.Sequential(*layers, nn.Conv2d(width, 1, 3, padding=1))


def make_encoder(code: int, width: int) -> nn.Sequential:
    """Images to codes."""
    layers: list[nn.Module] = []
    inputs = 1
    for _ in range(3):
        layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ELU(True)]
        inputs = width
    for stage in range(2, DOUBLINGS + 2):
        wide = stage * width
        layers += [nn.Conv2d(inputs, wide, 1), nn.AvgPool2d(2)]
        for _ in range(2):
            layers += [nn.Conv2d(wide, wide, 3, padding=1), nn.ELU(True)]
        inputs = wide
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(inputs * GRID * GRID, code))


class Plain:
    """A decoder that generates, an auto-encoder that is the critic, and the step.

    Args:
        width: of every hidden map of the decoders.
        latent: width of z and of the code.
        gamma: ratio of the energies that k keeps.
        rate: of both optimisers.
    """

    def __init__(
        self, width: int = 32, latent: int = 64, gamma: float = 0.5, rate: float = 1e-4
    ) -> None:
        self.generator = make_decoder(latent, width)
        self.critic = nn.Sequential(make_encoder(latent, width), make_decoder(latent, width))
        self.gamma, self.k = gamma, 0.0
        self.generator_optimiser = optim.Adam(
            self.generator.parameters(), lr=rate, betas=(0.5, 0.999)
        )
        self.critic_optimiser = optim.Adam(self.critic.parameters(), lr=rate, betas=(0.5, 0.999))

    def step(self, real: Tensor, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Update the critic, then the generator; return their losses."""
        fake = self.generator(latent)
        self.critic_optimiser.zero_grad()
        shown = fake.detach()
        real_energy = torch.mean(torch.abs(self.critic(real) - real))
        fake_energy = torch.mean(torch.abs(self.critic(shown) - shown))
        critic_loss = real_energy - self.k * fake_energy
        critic_loss.backward()
        self.critic_optimiser.step()
        balance = (self.gamma * real_energy - fake_energy).item()
        self.k = min(max(self.k + 1e-3 * balance, 0.0), 1.0)

        self.generator_optimiser.zero_grad()
        loss = torch.mean(torch.abs(self.critic(fake) - fake))
        loss.backward()
        self.generator_optimiser.step()
        return critic_loss.detach(), loss.detach()


def generator_layout(ours: Sequence[Tensor]) -> list[Tensor]:
    """Return augmint's generator parameters (or gradients) in this network's shapes.

    Its dense first layer gives row, column, channel; here it is channel, row, column.
    """
    weight, bias, *rest = ours
    cells = (GRID, GRID, -1)
    moved = weight.view(*cells, weight.shape[1]).permute(2, 0, 1, 3).reshape(weight.shape)
    return [moved, bias.view(cells).permute(2, 0, 1).flatten(), *rest]


def critic_layout(ours: Sequence[Tensor]) -> list[Tensor]:
    """The same for the critic: its decoder starts with such a layer."""
    encoder = 2 * (3 + 3 * DOUBLINGS + 1)
    return [*ours[:encoder], *generator_layout(ours[encoder:])]

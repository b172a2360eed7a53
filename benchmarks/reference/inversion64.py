"""A plain loop that inverts a BEGAN generator at 64 px, one image after another.

Written as tutorials write it; see `dcgan64.py` for what that means.
"""

from __future__ import annotations

from torch import Tensor, nn, optim

GRID, DOUBLINGS = 8, 3


class Generator(nn.Module):
    """Codes `(N, code)` to images `(N, 3, 64, 64)`."""

    def __init__(self, code: int = 64, width: int = 64) -> None:
        super().__init__()
        self.width = width
        self.project = nn.Linear(code, width * GRID * GRID)
        layers: list[nn.Module] = []
        for i in range(DOUBLINGS + 1):
            layers += [nn.Upsample(scale_factor=2)] if i else []
            for _ in range(2):
                layers += [nn.Conv2d(width, width, 3, padding=1), nn.ELU(True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, code: Tensor) -> Tensor:
        images: Tensor = self.layers(self.project(code).view(-1, self.width, GRID, GRID))
        return images


def invert_one(generator: nn.Module, image: Tensor, latent: Tensor, steps: int) -> Tensor:
    """Return the latent `(1, code)` after some steps towards an image `(1, 3, 64, 64)`."""
    latent = latent.clone().requires_grad_(True)
    optimiser = optim.Adam([latent], lr=0.1, betas=(0.9, 0.999))
    for _ in range(steps):
        optimiser.zero_grad()
        loss = (generator(latent) - image).abs().mean()
        loss.backward()
        optimiser.step()
    return latent.detach()

"""The plain loop of the inversion benchmark does what ours does."""

from __future__ import annotations

import torch

from augmint.core.types import to_float
from augmint.latent.inversion import InversionConfig, invert
from augmint.networks.began import BeganGenerator


def test_both_sides_invert_the_same_generator_in_the_same_way() -> None:
    from reference.inversion64 import GRID, Generator, invert_one

    code, width = 6, 4
    ours = BeganGenerator(width).build(code, (3, 64, 64)).double()
    plain = Generator(code, width).double()
    weights = list(ours.parameters())
    with torch.no_grad():
        for theirs, own in zip(plain.parameters(), weights, strict=True):
            if own.ndim == 2:  # the dense layer's outputs are pixel by pixel on our side
                own = own.view(GRID * GRID, width, code).transpose(0, 1).reshape_as(own)
            theirs.copy_(own)
    z = torch.rand(3, code, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(plain(z), ours(z), atol=1e-12)
    numbers = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=numbers)
    config = InversionConfig(latent_dim=code, steps=4, look=1, restarts=0, keep="last")
    found = invert(ours, images.numpy(), config, start=z)
    for i in range(3):
        target = to_float(images[i : i + 1]).double()
        start = z[i : i + 1].float().double()  # starts are kept in single precision
        alone = invert_one(plain, target, start, 4)
        assert torch.allclose(found.latents[i].double(), alone[0], atol=1e-6)

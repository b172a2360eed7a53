"""The baseline that needs no inversion: an aspect map taught by a teacher on generated images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from augmint.core.machine import resolve_device
from augmint.core.streams import scope, stream
from augmint.core.types import to_uint8
from augmint.latent.slots import Prior, draw

if TYPE_CHECKING:
    from augmint.core.types import ByteArray


class Teacher(Protocol):
    """Tells an aspect of an image: a trained network, a detector, a person."""

    def __call__(self, images: ByteArray) -> np.ndarray[Any, Any]:
        """Return stored values, N rows, of uint8 images `(N, C, H, W)`."""
        ...


def drawn_pairs(
    generator: nn.Module,
    teacher: Teacher,
    count: int,
    latent_dim: int,
    prior: Prior = "uniform",
    seed: int = 0,
    given: Sequence[Tensor] = (),
    device: str = "cpu",
) -> tuple[Tensor, np.ndarray[Any, Any]]:
    """Return latents from the prior and what a teacher says of their images: (z, T(G(z))).

    An aspect map of these pairs is T distilled through G: it is right where T is right on generated
    images, and it is trained on the very latents that minting draws.

    Args:
        generator: G(z, *given), images in [-1, 1].
        teacher: T, on uint8 images.
        count: pairs.
        latent_dim: width of z.
        prior: z's distribution.
        seed: of the latents.
        given: further inputs of G; pair i takes row i modulo their number.
        device: "auto", "cpu" or "cuda".

    Returns:
        latents `(count, latent_dim)` and the teacher's stored values.

    Example:
        >>> generator = nn.Unflatten(1, (1, 2, 2))  # the latent is the image
        >>> latents, told = drawn_pairs(generator, lambda images: images.max((1, 2, 3)), 5, 4)
        >>> latents.shape, np.array_equal(told, to_uint8(latents.amax(1)))
        (torch.Size([5, 4]), True)
    """
    where = resolve_device(device)
    generator.to(where).eval()
    latents = draw(stream(seed, "latent.distil", 0, count), latent_dim, prior)
    values = []
    with torch.no_grad(), scope(seed, "distil.noise"):
        for i in range(0, count, 256):
            part = latents[i : i + 256].to(where)
            rows = torch.arange(i, i + len(part))
            held = tuple(g[rows % len(g)].to(where) for g in given)
            images = to_uint8(generator(part, *held).float()).cpu().numpy()
            values.append(np.asarray(teacher(images)))
    return latents, np.concatenate(values)

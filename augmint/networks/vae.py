"""A variational auto-encoder: the generator is its decoder, and the encoder travels with it.

(Kingma and Welling 2013, 1312.6114.) The objective `vae` trains both, without a critic.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augmint.core.registry import ARCHITECTURES
from augmint.networks.base import GeneratorArchitecture
from augmint.networks.blocks import UpsampleConv
from augmint.networks.dcgan import check_width
from augmint.networks.flow import Residual, check_patched, group_norm, patches

if TYPE_CHECKING:
    from augmint.core.types import FloatImages, Latents, Shape


@ARCHITECTURES.register("vae")
@dataclass(frozen=True)
class Vae(GeneratorArchitecture):
    """Residual encoder to the mean and log variance of a latent, residual decoder to images, tanh.

    Blocks of `patch` x `patch` pixels become channels; the map is then halved k times, as often as
    both sides are even and the smaller one stays at least 4, each time after a residual block, and
    a dense layer gives mean and log variance. The decoder is its mirror. An embedding of the
    condition scales and shifts every block of both ("conditional-norm") and is an input of both
    dense layers: without that, decoders were slow to heed it. Sizes 8 to 64 px with k >= 1.

    Args:
        channels: width of the finest map; twice that below.
        patch: side of the blocks of pixels; None: 1 below 16 px, else 2.

    Example:
        >>> network = Vae(channels=4).build(3, (1, 8, 8))
        >>> mean, log_variance = network.posterior(torch.zeros(2, 1, 8, 8))
        >>> mean.shape, log_variance.shape, network(mean).shape
        (torch.Size([2, 3]), torch.Size([2, 3]), torch.Size([2, 1, 8, 8]))
    """

    channels: int = 32
    patch: int | None = None
    adversarial: ClassVar[bool] = False
    gives: ClassVar[frozenset[str]] = frozenset({"posterior"})
    condition_modes: ClassVar[frozenset[str]] = frozenset({"conditional-norm"})

    def check_shape(self, shape: Shape) -> None:
        check_width(self.channels)
        check_patched("vae", self.patch, shape)

    def build(self, latent_width: int, shape: Shape, condition_width: int = 0) -> nn.Module:
        self.check_shape(shape)
        return _Vae(self, latent_width, shape, condition_width)


class _Vae(nn.Module):
    def __init__(self, plan: Vae, latent: int, shape: Shape, condition: int) -> None:
        super().__init__()
        self.side, k = patches(plan.patch, shape)
        channels, height, width = shape
        divided = self.side * 2**k
        widths = [plan.channels, *[2 * plan.channels] * k]
        self.grid = (widths[-1], height // divided, width // divided)
        cells = self.grid[0] * self.grid[1] * self.grid[2]
        embedding = 4 * plan.channels if condition else 0
        self.embed_seen = nn.Linear(condition, embedding) if condition else None
        self.embed_drawn = nn.Linear(condition, embedding) if condition else None
        self.read = nn.Conv2d(channels * self.side**2, widths[0], 3, padding=1)
        pairs = list(pairwise(widths))
        self.downs = nn.ModuleList(Residual(fine, fine, embedding) for fine, _ in pairs)
        self.halves = nn.ModuleList(nn.Conv2d(fine, coarse, 3, 2, 1) for fine, coarse in pairs)
        pairs.reverse()
        self.ups = nn.ModuleList(Residual(coarse, coarse, embedding) for _, coarse in pairs)
        self.doubles = nn.ModuleList(UpsampleConv(coarse, fine) for fine, coarse in pairs)
        self.encode = nn.Linear(cells + embedding, 2 * latent)
        self.decode = nn.Linear(latent + embedding, cells)
        self.last = Residual(widths[0], widths[0], embedding)
        self.norm = group_norm(widths[0])
        self.draw = nn.Conv2d(widths[0], channels * self.side**2, 3, padding=1)

    def posterior(
        self, images: FloatImages, condition: Tensor | None = None
    ) -> tuple[Latents, Latents]:
        """Return mean and log variance of q(z | x, c), `(N, latent_width)` each."""
        embedding = None if self.embed_seen is None else F.silu(self.embed_seen(condition))
        x = self.read(F.pixel_unshuffle(images, self.side))
        for block, halve in zip(self.downs, self.halves, strict=True):
            x = halve(block(x, embedding))
        maps = F.silu(x).flatten(1)
        found = self.encode(maps if embedding is None else torch.cat((maps, embedding), 1))
        mean, log_variance = found.chunk(2, 1)
        return mean, log_variance.clamp(-20.0, 10.0)

    def forward(self, latent: Latents, condition: Tensor | None = None) -> FloatImages:
        embedding = None if self.embed_drawn is None else F.silu(self.embed_drawn(condition))
        given = latent if embedding is None else torch.cat((latent, embedding), 1)
        x = self.decode(given).view(-1, *self.grid)
        for block, double in zip(self.ups, self.doubles, strict=True):
            x = double(block(x, embedding))
        x = self.draw(F.silu(self.norm(self.last(x, embedding))))
        return torch.tanh(F.pixel_shuffle(x, self.side))

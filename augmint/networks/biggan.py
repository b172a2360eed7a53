"""BigGAN's generator: the latent enters every block, beside one embedding of the class.

Written from Brock, Donahue and Simonyan 2018, "Large scale GAN training for high fidelity natural
image synthesis" (1809.11096), appendix B, the network that is not called deep. Its critic is
`resnet-critic` with `plan="biggan"` and `initialisation="orthogonal"`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augmint.core.errors import UsageError
from augmint.core.registry import ARCHITECTURES
from augmint.networks.base import GeneratorArchitecture
from augmint.networks.blocks import BatchNorm2d, Embedding
from augmint.networks.resnet import (
    SelfAttention,
    UpBlock,
    built,
    check_residual,
    conv,
    dense,
    map_sides,
)
from augmint.networks.stylegan2 import widths_of

if TYPE_CHECKING:
    from augmint.core.types import FloatImages, Latents, Shape

WIDEST = 16
"""The widest map, as a multiple of the width of the full size."""


@ARCHITECTURES.register("biggan-generator")
@dataclass(frozen=True)
class BigGanGenerator(GeneratorArchitecture):
    """BigGAN's generator: a dense layer to a small grid, k doubling residual blocks, tanh.

    The grid and k are those of DCGAN: 4x4 for 8 to 128 px, 7x7 for 28. The latent is cut into k + 1
    chunks z_0 … z_k of equal width (the first ones are one wider where it does not divide) and the
    condition c, one-hot for a class, is embedded once for all layers, e = E c:

        grid = W z_0,   block i:  norm(x) · (1 + A_i (z_i, e)) + B_i (z_i, e)

    with maps A_i and B_i of each normalisation's own and no bias. Without a condition there is no e
    ("conditional-norm" takes it). A last normalisation with a plain scale and shift, ReLU and a 3x3
    convolution draw the image. The map of the full size is `channels` wide, each halving doubles
    that, up to 16 · channels. Orthogonal weights.

    The paper's network at 128 px is `channels=96, attention=64` with `latent_dim=120`. Its table
    also gives e to the dense layer; the published number of parameters leaves no room for that.

    Args:
        channels: width of the map of the full size.
        embedding: width of e.
        skip_z: cut the latent; False gives all of it to the dense layer and e alone to the blocks.
        attention: smaller side of the map on which a self-attention layer stands; 0 for none.
        spectral: divide all weights but E by their spectral norm.

    Example:
        >>> plan = BigGanGenerator(channels=2)
        >>> network = plan.build(120, (3, 128, 128), condition_width=10)
        >>> [block.norm1.gain.in_features for block in network.blocks]  # 20 of z and 128 of e
        [148, 148, 148, 148, 148]
        >>> network(torch.zeros(2, 120), torch.eye(10)[:2]).shape
        torch.Size([2, 3, 128, 128])
    """

    channels: int = 32
    embedding: int = 128
    skip_z: bool = True
    attention: int = 0
    spectral: bool = True
    batch_coupled: ClassVar[bool] = True
    channels_last: ClassVar[bool] = True
    condition_modes: ClassVar[frozenset[str]] = frozenset({"conditional-norm"})

    def check_shape(self, shape: Shape) -> None:
        check_residual("biggan-generator", self.channels, shape, self.attention)
        if self.embedding < 1:
            raise UsageError("a class embedding has a width", self.embedding, "set embedding: 128")

    def check_latent(self, name: str, latent_width: int, shape: Shape) -> None:
        blocks = len(map_sides(shape)) - 1
        if self.skip_z and latent_width < blocks + 1:
            raise UsageError(
                f"skip_z of {name} cuts the latent for the dense layer and {blocks} blocks",
                f"a latent of width {latent_width}",
                f"set latent_dim={blocks + 1} or more (--set generator.latent_dim=64), or "
                "skip_z: false (--set generator.generator.skip_z=false)",
            )

    def build(self, latent_width: int, shape: Shape, condition_width: int = 0) -> nn.Module:
        self.check_shape(shape)
        self.check_latent("biggan-generator", latent_width, shape)
        return built(_Generator(self, latent_width, shape, condition_width), "orthogonal")


def chunks_of(width: int, count: int) -> list[int]:
    """Return `count` widths that differ by at most one and add up to `width`, wider ones first.

    Example:
        >>> chunks_of(120, 6), chunks_of(8, 3)
        ([20, 20, 20, 20, 20, 20], [3, 3, 2])
    """
    return [width // count + (i < width % count) for i in range(count)]


class _Generator(nn.Module):
    def __init__(self, plan: BigGanGenerator, latent: int, shape: Shape, condition: int) -> None:
        super().__init__()
        outputs, height, width = shape
        sides, spectral = map_sides(shape), plan.spectral
        k = len(sides) - 1
        widths = widths_of(plan.channels, WIDEST * plan.channels, k)
        self.grid = (height // 2**k, width // 2**k)
        self.chunks = chunks_of(latent, k + 1) if plan.skip_z else [latent, *[0] * k]
        self.embedding = Embedding(condition, plan.embedding) if condition else None
        told = plan.embedding if condition else 0
        cells = self.grid[0] * self.grid[1]
        self.project = dense(self.chunks[0], cells * widths[0], spectral)
        self.blocks = nn.ModuleList(
            UpBlock(a, b, chunk + told, spectral)
            for (a, b), chunk in zip(pairwise(widths), self.chunks[1:], strict=True)
        )
        self.looks = sides.index(plan.attention) if plan.attention else None
        here = widths[self.looks] if self.looks is not None else 1
        self.attention = SelfAttention(here, spectral) if plan.attention else nn.Identity()
        self.norm = BatchNorm2d(widths[-1])
        self.out = conv(widths[-1], outputs, 3, spectral)

    def forward(self, latent: Latents, condition: Tensor | None = None) -> FloatImages:
        first, *parts = latent.split(self.chunks, 1)
        if self.embedding is not None:
            embedded = self.embedding(condition)
            parts = [torch.cat((part, embedded), 1) for part in parts]
        # pixel-major order of the dense layer's outputs: the grid is born in channels_last
        x = self.project(first).view(len(latent), *self.grid, -1).permute(0, 3, 1, 2)
        for i, (block, part) in enumerate(zip(self.blocks, parts, strict=True)):
            x = block(self.attention(x) if i == self.looks else x, part)
        x = self.attention(x) if self.looks == len(self.blocks) else x
        images: Tensor = torch.tanh(self.out(F.relu(self.norm(x))))
        return images

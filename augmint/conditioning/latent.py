"""Conditioning that leaves the networks as they are: none at all, or labels as extra inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from augmint.conditioning.base import Conditioning, ConditioningContext
from augmint.conditioning.encoding import carried, require, vector
from augmint.core.registry import CONDITIONING
from augmint.core.streams import Stream
from augmint.core.types import AspectValues


@CONDITIONING.register("none")
@dataclass(frozen=True)
class Unconditional(Conditioning):
    """No conditioning: z ~ N(0, I) and nothing else; generated images carry no aspect."""

    labels_generated: ClassVar[bool] = False


@CONDITIONING.register("concatenation")
@dataclass(frozen=True)
class Concatenation(Conditioning):
    """The conditional GAN: aspects are further inputs of both players.

    The latent is `(z, e)`, z ~ N(0, I), of width latent_dim + Σ width; the critic sees the image
    with e as Σ width constant channels. e holds the encodings of all vector-like aspects, a
    category one-hot (Mirza and Osindero 2014, 1411.1784).
    """

    kinds: ClassVar[frozenset[str]] = frozenset({"category", "vector", "landmarks"})

    def check(self, context: ConditioningContext) -> None:
        require(context.schema, self.kinds, "concatenation")

    def latent_width(self, context: ConditioningContext) -> int:
        return context.latent_dim + self.critic_channels(context)

    def sample_latent(
        self, context: ConditioningContext, aspects: AspectValues, stream: Stream
    ) -> Tensor:
        code = vector(carried(context.schema, self.kinds), aspects)
        return torch.cat((stream.normal(context.latent_dim).to(code.device), code), 1)

    def critic_channels(self, context: ConditioningContext) -> int:
        return sum(aspect.width for aspect in carried(context.schema, self.kinds))

    def critic_inputs(
        self, context: ConditioningContext, images: Tensor, aspects: AspectValues
    ) -> tuple[Tensor, Tensor | None]:
        code = vector(carried(context.schema, self.kinds), aspects).to(images)
        maps = code[:, :, None, None].expand(-1, -1, *images.shape[2:])
        joined = torch.cat((images, maps), 1)
        if images.is_contiguous(memory_format=torch.channels_last):
            joined = joined.contiguous(memory_format=torch.channels_last)
        return joined, None

"""Conditioning that leaves the networks as they are: none at all, or labels as extra inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from augmint.conditioning.base import Conditioning, ConditioningContext
from augmint.conditioning.generator_side import GeneratorSide
from augmint.core.registry import CONDITIONING
from augmint.core.types import AspectValues

if TYPE_CHECKING:
    from augmint.core.streams import Stream


@CONDITIONING.register("none")
@dataclass(frozen=True)
class Unconditional(Conditioning):
    """No conditioning: z and nothing else; generated images carry no aspect.

    Args:
        latent: "normal", z ~ N(0, I), or "uniform", each entry of z uniform in [-1, 1), as in
            Berthelot et al. 2017, 1703.10717. What learns without a critic takes "normal".

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.core.streams import stream
        >>> context, numbers = ConditioningContext(Schema(()), (1, 8, 8), 4), stream(0, "z", ids=99)
        >>> latent = Unconditional("uniform").sample_latent(context, {}, numbers)
        >>> tuple(latent.shape), bool((latent.abs() <= 1.0).all())
        ((99, 4), True)
    """

    latent: Literal["normal", "uniform"] = "normal"
    labels_generated: ClassVar[bool] = False

    @property
    def generator_alone(self) -> bool:  # type: ignore[override]
        return self.latent == "normal"

    def noise_width(self, context: ConditioningContext) -> int:
        return context.latent_dim if self.latent == "normal" else 0

    def sample_latent(
        self, context: ConditioningContext, aspects: AspectValues, stream: Stream
    ) -> Tensor:
        if self.latent == "uniform":
            return stream.uniform(context.latent_dim, -1.0, 1.0)
        return stream.normal(context.latent_dim)


@CONDITIONING.register("concatenation")
@dataclass(frozen=True)
class Concatenation(GeneratorSide):
    """The conditional GAN: aspects are further inputs of both players.

    The generator gets (z, e); the critic sees the image with e as Σ width constant channels. e
    holds the encodings of all vector-like aspects, a category one-hot (Mirza and Osindero 2014,
    1411.1784). What enters the generator as maps, the critic sees as the same maps; then masks and
    maps are carried too, as pairs of a mask and its image are in image-to-image translation (Isola
    et al. 2017, 1611.07004, with noise in place of dropout).

    Args:
        critic: False leaves the critic without the aspects, as some printed losses have it: then
            nothing asks the generator to heed them, unless its objective does without a critic.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.aspects.category import Category
        >>> label = Category("label", ("a", "b", "c"))
        >>> context = ConditioningContext(Schema((label,)), (1, 2, 2), latent_dim=4)
        >>> images, asked = -torch.ones(1, 1, 2, 2), {"label": torch.tensor([1])}
        >>> seen, _ = Concatenation().critic_inputs(context, images, asked)
        >>> seen[0, :, 0, 0].tolist(), Concatenation().latent_width(context)
        ([-1.0, 0.0, 1.0, 0.0], 7)
    """

    critic: bool = True

    @property
    def kinds(self) -> frozenset[str]:  # type: ignore[override]
        return GeneratorSide.kinds | ({"mask", "map"} if self.enters == "maps" else set())

    @property
    def generator_alone(self) -> bool:  # type: ignore[override]
        return not self.critic

    def critic_channels(self, context: ConditioningContext) -> int:
        return self.code_width(context) + self.map_count(context) if self.critic else 0

    def critic_inputs(
        self, context: ConditioningContext, images: Tensor, aspects: AspectValues
    ) -> tuple[Tensor, Tensor | None]:
        if not self.critic:
            return images, None
        code = self.code(context, aspects).to(images)
        joined = torch.cat((images, code[:, :, None, None].expand(-1, -1, *images.shape[2:])), 1)
        if self.enters == "maps":
            joined = torch.cat((joined, self.maps(context, aspects).to(images)), 1)
        if images.is_contiguous(memory_format=torch.channels_last):
            joined = joined.contiguous(memory_format=torch.channels_last)
        return joined, None

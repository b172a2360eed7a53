"""Mints pairs: one latent gives an image by G and what is known about it by aspect maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from augmint.core.errors import IncompatibleError, UsageError
from augmint.core.types import AspectValues
from augmint.latent.aspect_map import AspectMap

if TYPE_CHECKING:
    from augmint.core.types import ByteArray, IntArray


class LatentSampler(Protocol):
    """A sampler that says which latents its images are made of."""

    def latents(self, aspects: AspectValues, ids: IntArray, seed: int) -> Tensor:
        """Return the latents `(N, d)` of ids."""
        ...

    def complete(self, aspects: AspectValues, ids: IntArray, seed: int) -> dict[str, Tensor]:
        """Return all aspects that the generator is asked for."""
        ...

    def sample(self, aspects: AspectValues, ids: IntArray, seed: int) -> ByteArray:
        """Return uint8 images `(N, C, H, W)`, one for each id."""
        ...


@dataclass(frozen=True)
class PairSampler:
    """A sampler whose images come with aspects that are told by their latents.

        z = latent of (seed, id);    image = G(z),    aspect = G_a(z)

    The two networks never see each other. What an aspect map tells is not asked for: it follows
    from the image. Satisfies `core.types.Sampler`; `pairs` gives the values too, so that whatever
    writes minted images writes them. The image must be a function of the latent that the
    sampler names: truncated styles are not.

    Args:
        sampler: of images, by latents that it can name.
        maps: one for each aspect that is told.

    Raises:
        UsageError: if two maps tell the same aspect.
        IncompatibleError: for a sampler that truncates styles.
    """

    sampler: LatentSampler
    maps: Sequence[AspectMap]

    def __post_init__(self) -> None:
        names = [m.aspect.name for m in self.maps]
        if len(set(names)) != len(names):
            raise UsageError("one map tells an aspect", ", ".join(names), "leave one out")
        truncated = getattr(self.sampler, "truncation", None) is not None
        if truncated and getattr(self.sampler, "truncates", "latents") != "latents":
            raise IncompatibleError(
                "an aspect map knows the image of a latent, not that of a truncated style",
                f"truncation of {getattr(self.sampler, 'truncates', '')}",
                "truncate latents, or mint without (drop --truncation)",
            )

    def sample(self, aspects: AspectValues, ids: IntArray, seed: int) -> ByteArray:
        """Return uint8 images `(N, C, H, W)`; values of told aspects are not looked at."""
        return self.sampler.sample(self._asked(aspects), ids, seed)

    def complete(self, aspects: AspectValues, ids: IntArray, seed: int) -> dict[str, Tensor]:
        """Return the aspects asked for, completed, and those that the maps tell of the same ids.

        Raises:
            UsageError: if an aspect is asked for that a map tells.
        """
        told = {m.aspect.name for m in self.maps}
        wrong = [name for name in aspects if name in told]
        if wrong:
            raise UsageError(
                "what an aspect map tells follows from the image and cannot be asked for",
                ", ".join(wrong),
                "leave it out, or condition the generator on it",
            )
        asked = self.sampler.complete(aspects, ids, seed)
        latents = self.sampler.latents(asked, ids, seed)
        return asked | {m.aspect.name: torch.from_numpy(m.values(latents)) for m in self.maps}

    def pairs(
        self, aspects: AspectValues, ids: IntArray, seed: int
    ) -> tuple[ByteArray, dict[str, np.ndarray[Any, Any]]]:
        """Return images and stored values of all aspects, one of each for each id."""
        values = self.complete(aspects, ids, seed)
        images = self.sample(values, ids, seed)
        return images, {name: value.numpy() for name, value in values.items()}

    def _asked(self, aspects: AspectValues) -> dict[str, Tensor]:
        told = {m.aspect.name for m in self.maps}
        return {name: v for name, v in aspects.items() if name not in told}

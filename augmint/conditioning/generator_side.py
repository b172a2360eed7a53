"""The generator's side, shared by the methods that ask for classes or values by a plain code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from augmint.aspects.base import Aspect
from augmint.conditioning.base import Conditioning, ConditioningContext
from augmint.conditioning.encoding import require, vector
from augmint.core.streams import Stream
from augmint.core.types import AspectValues


@dataclass(frozen=True)
class GeneratorSide(Conditioning):
    """Gives the generator z ~ N(0, I) and the code e of the aspects, in one of three places.

    e holds the encodings of all aspects of the method's kinds side by side, a category one-hot.

    | `enters` | the generator gets | source |
    |---|---|---|
    | latent | (z, e) as its latent | Mirza and Osindero 2014, 1411.1784 |
    | conditional-norm | z, and e sets scale and shift of every normalisation | de Vries et al. 2017, 1707.00683; Miyato and Koyama 2018 |
    | modulation | z, and e joins the style that modulates every convolution | Karras et al. 2020, 2006.06676 |

    Args:
        enters: where the code goes; the generator must take it there.
    """

    enters: Literal["latent", "conditional-norm", "modulation"] = "latent"
    kinds: ClassVar[frozenset[str]] = frozenset({"category", "vector", "landmarks"})

    @property
    def generator_mode(self) -> str | None:  # type: ignore[override]
        return None if self.enters == "latent" else self.enters

    def check(self, context: ConditioningContext) -> None:
        self.coded(context)

    def coded(self, context: ConditioningContext) -> list[Aspect]:
        """Return the aspects that the code holds.

        Raises:
            IncompatibleError: if there is none.
        """
        return require(context.schema, self.kinds, "by labels or values")

    def code_width(self, context: ConditioningContext) -> int:
        """Return the width of e."""
        return sum(aspect.width for aspect in self.coded(context))

    def code(self, context: ConditioningContext, aspects: AspectValues) -> Tensor:
        """Return e, `(N, code_width)`."""
        return vector(self.coded(context), aspects)

    def latent_width(self, context: ConditioningContext) -> int:
        inside = self.code_width(context) if self.enters == "latent" else 0
        return context.latent_dim + inside

    def sample_latent(
        self, context: ConditioningContext, aspects: AspectValues, stream: Stream
    ) -> Tensor:
        code = self.code(context, aspects)
        noise = stream.normal(context.latent_dim).to(code.device)
        return torch.cat((noise, code), 1) if self.enters == "latent" else noise

    def condition_width(self, context: ConditioningContext) -> int:
        return 0 if self.enters == "latent" else self.code_width(context)

    def generator_inputs(
        self, context: ConditioningContext, latent: Tensor, aspects: AspectValues
    ) -> tuple[Tensor, Tensor | None]:
        if self.enters == "latent":
            return latent, None
        return latent, self.code(context, aspects).to(latent)

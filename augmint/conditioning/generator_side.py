"""The generator's side, shared by the methods that ask for classes or values by a plain code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from augmint.aspects.base import Aspect
from augmint.conditioning.base import Conditioning, ConditioningContext
from augmint.conditioning.encoding import require, vector
from augmint.core.errors import IncompatibleError
from augmint.core.streams import Stream
from augmint.core.types import AspectValues


@dataclass(frozen=True)
class GeneratorSide(Conditioning):
    """Gives the generator noise z and the code e of the aspects.

    **Latent.** "one-hot": z ~ N(0, I) of width latent_dim, and e in one of three places.
    "uniform": the same with each entry of z uniform in [-1, 1), as BEGAN has it. "sign": the
    partition of Bazrafkan and Corcoran (2018), for one category of N classes, whose latent is
    noise and code at once. N > 2: the whole latent has N dimensions (latent_dim is not used),
    z_c ~ U(0, 1) for the class c and z_j ~ U(-1, 0) for the others. N = 2: latent_dim dimensions,
    z_0 ~ U(0, 1) for class 0 and U(-1, 0) for class 1, the others ~ U(-1, 1).

    e holds the encodings of all aspects of the method's kinds side by side, a category one-hot.

    What the generator gets, by `enters`, with the source:

    - latent: (z, e) as its latent. Mirza and Osindero 2014, 1411.1784.
    - conditional-norm: z, and e sets scale and shift of every normalisation. de Vries et al. 2017,
      1707.00683; Miyato and Koyama 2018.
    - modulation: z, and e joins the style that modulates every convolution. Karras et al. 2020,
      2006.06676.
    - maps: (z, e) as its latent, e without what lies in the image plane: points (a spot each),
      masks and maps, which every convolution sees at its own size. Ma et al. 2017, 1705.09368, for
      points.

    Args:
        enters: where the code goes; the generator must take it there.
        latent: how noise and code are drawn.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.aspects.category import Category
        >>> label = Category("label", ("a", "b", "c"))
        >>> context = ConditioningContext(Schema((label,)), (1, 8, 8), latent_dim=4)
        >>> sides = GeneratorSide("latent"), GeneratorSide("conditional-norm")
        >>> [(side.latent_width(context), side.condition_width(context)) for side in sides]
        [(7, 0), (4, 3)]
    """

    enters: Literal["latent", "conditional-norm", "modulation", "maps"] = "latent"
    latent: Literal["one-hot", "sign", "uniform"] = "one-hot"
    kinds: ClassVar[frozenset[str]] = frozenset({"category", "vector", "landmarks"})

    @property
    def generator_mode(self) -> str | None:  # type: ignore[override]
        return None if self.enters == "latent" else self.enters

    def check(self, context: ConditioningContext) -> None:
        coded = self.coded(context)
        if self.enters == "maps" and not self.as_maps(context):
            raise IncompatibleError(
                "what enters by maps lies in the image plane: landmarks, masks, maps",
                ", ".join(f"{a.name} ({a.kind})" for a in coded),
                "set enters: latent",
            )
        single = len(coded) == 1 and coded[0].kind == "category"
        if self.latent == "sign" and not (single and self.enters == "latent"):
            raise IncompatibleError(
                "the latent 'sign' partitions the latent by exactly one category",
                f"{', '.join(a.name for a in coded)}, entering by {self.enters}",
                "set latent: one-hot",
            )

    def coded(self, context: ConditioningContext) -> list[Aspect]:
        """Return the aspects that the code holds.

        Raises:
            IncompatibleError: if there is none.
        """
        return require(context.schema, self.kinds, "by labels or values")

    def as_maps(self, context: ConditioningContext) -> list[Aspect]:
        """Return the aspects that enter as maps."""
        return [a for a in self.coded(context) if a.spatial] if self.enters == "maps" else []

    def as_code(self, context: ConditioningContext) -> list[Aspect]:
        """Return the aspects of the code, which are all that do not enter as maps."""
        mapped = self.as_maps(context)
        return [a for a in self.coded(context) if a not in mapped]

    def code_width(self, context: ConditioningContext) -> int:
        """Return the width of e."""
        return sum(aspect.width for aspect in self.as_code(context))

    def code(self, context: ConditioningContext, aspects: AspectValues) -> Tensor:
        """Return e, `(N, code_width)`."""
        return vector(self.as_code(context), aspects)

    def map_count(self, context: ConditioningContext) -> int:
        """Return the number of planes of what enters as maps."""
        return sum(aspect.planes for aspect in self.as_maps(context))

    def maps(self, context: ConditioningContext, aspects: AspectValues) -> Tensor:
        """Return what enters as maps, `(N, map_count, H, W)` in [0, 1]."""
        return torch.cat([a.to_planes(aspects[a.name]) for a in self.as_maps(context)], 1)

    def latent_width(self, context: ConditioningContext) -> int:
        width = self.code_width(context)
        if self.latent == "sign":
            return context.latent_dim if width == 2 else width
        return context.latent_dim + (width if self._in_latent else 0)

    def noise_width(self, context: ConditioningContext) -> int:
        return context.latent_dim if self.latent == "one-hot" else 0

    def sample_latent(
        self, context: ConditioningContext, aspects: AspectValues, stream: Stream
    ) -> Tensor:
        code = self.code(context, aspects)
        if self.latent == "sign":
            unit = stream.uniform(self.latent_width(context)).to(code.device)
            side = 2.0 * code - 1.0
            if code.shape[1] > 2:
                return side * unit
            return torch.cat((side[:, :1] * unit[:, :1], 2.0 * unit[:, 1:] - 1.0), 1)
        if self.latent == "uniform":
            noise = stream.uniform(context.latent_dim, -1.0, 1.0).to(code.device)
        else:
            noise = stream.normal(context.latent_dim).to(code.device)
        return torch.cat((noise, code), 1) if self._in_latent else noise

    def condition_width(self, context: ConditioningContext) -> int:
        if self._in_latent:
            return self.map_count(context)
        return self.code_width(context)

    def generator_inputs(
        self, context: ConditioningContext, latent: Tensor, aspects: AspectValues
    ) -> tuple[Tensor, Tensor | None]:
        if self.enters == "latent":
            return latent, None
        given = self.maps if self.enters == "maps" else self.code
        return latent, given(context, aspects).to(latent)

    @property
    def _in_latent(self) -> bool:
        return self.enters in ("latent", "maps")

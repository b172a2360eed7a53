"""Truncation: less variety for more typical images, at sampling only.

| of | what moves | source |
|---|---|---|
| latents | entries that are N(0, I) lie within ±tau | Brock et al. 2018, 1809.11096, section 3.1 |
| styles | w' = m + psi (w - m), m the mean style | Karras et al. 2019, 1812.04948, appendix B |

The mean is taken for each set of aspects, not over all of them: psi = 0 then gives one image a
class, where a mean over classes would give every class the same one under different labels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn

from augmint.core.errors import IncompatibleError, UsageError
from augmint.core.registry import CONDITIONING

if TYPE_CHECKING:
    from augmint.conditioning.base import Conditioning, ConditioningContext
    from augmint.core.types import AspectValues, FloatImages, IntArray

Of = Literal["latents", "styles"]
Inputs = Callable[["AspectValues", "IntArray"], tuple[Tensor, Tensor | None]]

MEAN_OVER = 1024
"""Latents whose mean style is the centre, of ids 0 to 1023 of a stream of their own."""

_REMEMBERED = 4096  # sets of aspects whose mean is kept


def check_truncation(
    value: float | None, of: Of, conditioning: Conditioning, context: ConditioningContext
) -> None:
    """Refuse a value out of range, and a bound on latents that hold no N(0, I) noise.

    Raises:
        UsageError: unless tau > 0, or 0 <= psi <= 1.
        IncompatibleError: if all entries of the latent are of another distribution.
    """
    if value is None:
        return
    if of == "styles":
        if not 0.0 <= value <= 1.0:
            raise UsageError(
                "truncation of styles is a share from 0 to 1", value, "pass 0.7 (--truncation 0.7)"
            )
        return
    if not 0.0 < value < float("inf"):
        raise UsageError(
            "truncation of latents is a positive bound", value, "pass 1.0 (--truncation 1.0)"
        )
    if not conditioning.noise_width(context):
        raise IncompatibleError(
            "truncation bounds the entries of a latent that are N(0, I) noise",
            f"the conditioning {CONDITIONING.name_of(conditioning)}, whose latent has none: its "
            "entries are uniform, and in a partitioned one their signs say the class",
            "mint without (drop --truncation)",
        )


class PulledStyles:
    """Makes images of styles that are pulled towards their mean.

    The mean of a set of aspects is taken over `MEAN_OVER` fixed latents, so that an image still
    depends on seed, id and aspects alone.

    Args:
        generator: a module with `styles(latent, condition)` and `synthesise(styles)`, in
            evaluation mode.
        inputs: gives the generator's inputs for aspects and the ids of noise of its own.
        psi: 0 to 1; at 1 styles are left as they are.

    Example:
        >>> from types import SimpleNamespace
        >>> plain = SimpleNamespace(styles=lambda z, condition: z, synthesise=lambda styles: styles)
        >>> noise = lambda aspects, ids: (torch.from_numpy(ids)[:, None] % 2.0, None)
        >>> pulled = PulledStyles(plain, noise, psi=0.5)  # the mean of these styles is 0.5
        >>> pulled(torch.tensor([[1.5]]), None, {"label": torch.tensor([0])})
        tensor([[1.]])
    """

    def __init__(self, generator: nn.Module, inputs: Inputs, psi: float) -> None:
        self.generator, self.inputs, self.psi = generator, inputs, psi
        self._means: dict[bytes, Tensor] = {}

    def __call__(
        self, latent: Tensor, condition: Tensor | None, aspects: AspectValues
    ) -> FloatImages:
        """Return the images of a batch, all tensors on the generator's device."""
        styles = self.generator.styles(latent, condition)  # type: ignore[operator]
        means = self.means(aspects)
        # lerp returns the styles' own bits at psi = 1
        images: Tensor = self.generator.synthesise(means.lerp(styles, self.psi))  # type: ignore[operator]
        return images

    def means(self, aspects: AspectValues) -> Tensor:
        """Return the mean style of each row of aspects, as `styles` returns styles."""
        rows = len(next(iter(aspects.values())))
        found = []
        for row, key in enumerate(self._keys(aspects, rows)):
            if key not in self._means:
                if len(self._means) >= _REMEMBERED:
                    self._means.clear()
                self._means[key] = self._mean({n: v[row : row + 1] for n, v in aspects.items()})
            found.append(self._means[key])
        return torch.stack(found)

    def _keys(self, aspects: AspectValues, rows: int) -> list[bytes]:
        """What the generator is told with the same noise in all rows: equal for equal aspects."""
        told = [x for x in self.inputs(aspects, np.zeros(rows, np.int64)) if x is not None]
        return [row.tobytes() for row in torch.cat(told, 1).cpu().numpy()]

    def _mean(self, one: AspectValues) -> Tensor:
        same = {n: v.expand(MEAN_OVER, *v.shape[1:]) for n, v in one.items()}
        latent, condition = self.inputs(same, np.arange(MEAN_OVER))
        styles: Tensor = self.generator.styles(latent, condition)  # type: ignore[operator]
        return styles.double().mean(0).to(styles.dtype)

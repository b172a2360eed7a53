"""Top-k training: the generator learns from those of its images that the critic takes for real."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from augmint.core.types import CriticOutput


@dataclass(frozen=True)
class TopK:
    """How many of a batch's generated images the adversarial loss of the generator keeps.

        k = ceil(max(share, decay^epoch) · batch),   epoch = number of real images shown // all

    (Sinha et al. 2020, 2002.06224, section 3: decay 0.99 an epoch down to half the batch.)

    Args:
        share: what is left in the end, above 0; 1 keeps all.
        decay: factor of an epoch, above 0; 1 keeps all, too.

    Example:
        >>> [TopK(0.5, 0.8).count(10, epoch) for epoch in (0, 1, 2, 50)]
        [10, 8, 7, 5]
    """

    share: float = 1.0
    decay: float = 0.99

    def count(self, rows: int, epoch: int) -> int:
        """Return k for a batch of `rows` images after `epoch` passes over the real ones."""
        # less than a rounding error above a whole number is that number
        return max(1, math.ceil(max(self.share, self.decay**epoch) * rows - 1e-9))

    def __call__(
        self, real: CriticOutput | None, fake: CriticOutput, epoch: int
    ) -> tuple[CriticOutput | None, CriticOutput]:
        """Return what the generator's adversarial loss is given of a batch.

        Where it compares pairs, those of the generated images that are left are left.
        """
        k = self.count(len(fake.value), epoch)
        if k == len(fake.value):
            return real, fake
        rows = best(fake, k)
        return None if real is None else taken(real, rows), taken(fake, rows)


def best(output: CriticOutput, k: int) -> Tensor:
    """Return the k rows `(k,)` that the critic takes most for real, best first.

    These have the highest scores (means over a map), or the lowest energies.

    Example:
        >>> import torch
        >>> said = torch.tensor([1.0, 3.0, 2.0])
        >>> best(CriticOutput(said), 2).tolist(), best(CriticOutput(said, "energy"), 2).tolist()
        ([1, 2], [0, 2])
    """
    rows: Tensor = output.per_sample().detach().topk(k, largest=output.kind != "energy").indices
    return rows


def taken(output: CriticOutput, rows: Tensor) -> CriticOutput:
    """Return what the critic said of some rows, with gradients.

    Example:
        >>> import torch
        >>> taken(CriticOutput(torch.tensor([1.0, 3.0, 2.0])), torch.tensor([1, 2])).value
        tensor([3., 2.])
    """
    return output.map(lambda told: told[rows])

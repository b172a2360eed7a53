"""Which rows a training step sees: exact shares of the batch, every row of a source equally often.

Both are pure functions of their arguments, so step s needs no history. The composition of the
batches of a run is found for all steps at once (a table of steps x sources), the order of each
source likewise (epochs of permutations, joined).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from augmint.core.streams import stream

if TYPE_CHECKING:
    import numpy.typing as npt

_GOLDEN = (5.0**0.5 - 1.0) / 2.0


def composition(shares: Sequence[float], batch: int, steps: int) -> npt.NDArray[np.int64]:
    """Return `(steps, sources)`: how many images of each source a batch holds; rows sum to `batch`.

    Source k has the whole part of `batch * share_k` in each batch. The places that are left, R of
    them, go by systematic sampling: with F the cumulative fractional parts, k gets one more where
    an integer lies in (F_{k-1} + u_s, F_k + u_s], u_s = frac(s * golden ratio). Every batch is
    full, no count is off by one or more, and the mean count tends to `batch * share_k`.

    Args:
        shares: above 0, summing to 1.
        batch: images a step.
        steps: of the run.

    Example:
        >>> composition([0.75, 0.25], 8, 2).tolist()
        [[6, 2], [6, 2]]
        >>> composition([0.5, 0.5], 3, 4).sum(0).tolist()
        [6, 6]
    """
    exact = np.asarray(shares, dtype=np.float64) * (batch / float(np.sum(shares)))
    whole = np.floor(exact + 1e-9)
    left = batch - whole.sum()
    edges = np.concatenate(([0.0], np.cumsum(np.clip(exact - whole, 0.0, None))))
    edges[-1] = left  # free of rounding, so that the counts always fill the batch
    offsets = np.mod(np.arange(steps) * _GOLDEN, 1.0)[:, None]
    extra = np.diff(np.floor(edges[None, :] + offsets), axis=1)
    return (whole[None, :] + extra).astype(np.int64)


def epochs(seed: int, purpose: str, rows: int, draws: int) -> npt.NDArray[np.int64]:
    """Return `draws` row numbers: permutations of 0 … rows-1, one after the other.

    After any number of draws two rows differ by at most one in how often they came.

    Args:
        seed, purpose: name the random stream.
        rows: of the source.
        draws: how many are wanted; asking for more keeps the first ones.

    Example:
        >>> sorted(epochs(0, "order", 3, 6).tolist())
        [0, 0, 1, 1, 2, 2]
    """
    count = -(-draws // rows)
    words: npt.NDArray[Any] = stream(seed, purpose, 0, count * rows).words(2).astype(np.uint64)
    keys = (words[:, 0] << np.uint64(32)) | words[:, 1]
    return np.argsort(keys.reshape(count, rows), axis=1, kind="stable").reshape(-1)[:draws]


@dataclass(frozen=True, eq=False)
class SamplingPlan:
    """The rows of every batch of a run, in one joined array of all sources.

    Args:
        counts: `(steps, sources)`, from `composition`.
        order: for each source its row numbers in the order of drawing, offset by its first row.
        starts: `(steps + 1, sources)`, draws of each source before each step.

    Example:
        >>> plan = SamplingPlan.make([4, 2], [0.5, 0.5], batch=4, steps=3, seed=0)
        >>> len(plan.rows(0)), plan.views([4, 2])
        (4, [1.5, 3.0])
    """

    counts: npt.NDArray[np.int64]
    order: tuple[npt.NDArray[np.int64], ...]
    starts: npt.NDArray[np.int64]

    @classmethod
    def make(
        cls,
        sizes: Sequence[int],
        shares: Sequence[float],
        batch: int,
        steps: int,
        seed: int,
        stream_name: str = "",
    ) -> SamplingPlan:
        """Plan a run over sources of the given sizes; source k has the stream of its number."""
        counts = composition(shares, batch, steps)
        starts = np.concatenate((np.zeros((1, len(sizes)), np.int64), counts.cumsum(0)))
        first = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        order = tuple(
            epochs(seed, f"task.order.{k}{stream_name}", size, int(starts[-1, k])) + int(first[k])
            for k, size in enumerate(sizes)
        )
        return cls(counts, order, starts)

    def rows(self, step: int) -> npt.NDArray[np.int64]:
        """Return the `batch` row numbers of a step (0 is the first), source by source."""
        return np.concatenate(
            [o[self.starts[step, k] : self.starts[step + 1, k]] for k, o in enumerate(self.order)]
        )

    def views(self, sizes: Sequence[int]) -> list[float]:
        """Return how often each image of each source is seen in the run."""
        return [float(n) / size for n, size in zip(self.starts[-1], sizes, strict=True)]

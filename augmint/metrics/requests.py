"""Does a conditional generator give what it is asked for, and how varied is it then?

For each of T targets n images are drawn. Their mean error by an independent measurer, and their
mean squared difference in pairs, are one point of a curve; a weight of the method moves along it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from augmint.core.errors import UsageError

if TYPE_CHECKING:
    from augmint.core.types import AspectValues, ByteArray, FloatArray, Sampler

    Measurer = Callable[[ByteArray, AspectValues], FloatArray]
    """Images and the values asked for to the error of each, `(N,)`."""

SHARED = 101
"""Errors at which two curves are compared."""


@dataclass(frozen=True)
class Requested:
    """What came of each target.

    Args:
        errors: `(T,)`, mean error of the images of a target (NME, or what the measurer gives).
        diversity: `(T,)`, mean over pairs of images of a target of their MSE, pixels in [0, 1].

    Example:
        >>> found = Requested(errors=np.array([0.25, 0.75]), diversity=np.array([0.0, 0.5]))
        >>> found.error, found.spread
        (0.5, 0.25)
    """

    errors: FloatArray
    diversity: FloatArray

    @property
    def error(self) -> float:
        """The mean over the targets."""
        return float(self.errors.mean())

    @property
    def spread(self) -> float:
        """The mean diversity over the targets."""
        return float(self.diversity.mean())


def requested(
    sampler: Sampler,
    targets: AspectValues,
    measurer: Measurer,
    each: int = 80,
    seed: int = 0,
) -> Requested:
    """Ask for every target `each` times and measure what comes.

    Args:
        sampler: of the generator.
        targets: stored values, T rows an aspect.
        measurer: gives the error of each image; it never taught the generator.
        each: images a target, 2 or more; 80 in Bazrafkan et al. 2018, arXiv:1805.00316.
        seed: of the latents.

    Raises:
        UsageError: without targets, or for one image a target.

    Example:
        >>> import torch
        >>> from types import SimpleNamespace
        >>> blank = np.zeros((3, 1, 8, 8), np.uint8)
        >>> sampler = SimpleNamespace(sample=lambda wanted, ids, seed: blank)
        >>> ages = {"age": torch.tensor([[10.0], [20.0]])}
        >>> found = requested(sampler, ages, lambda images, wanted: wanted["age"].numpy(), each=3)
        >>> found.errors.tolist(), found.diversity.tolist()
        ([10.0, 20.0], [0.0, 0.0])
    """
    errors, diversity = [], []
    for wanted, images in answers(sampler, targets, each, seed):
        errors.append(float(np.mean(measurer(images, wanted))))
        diversity.append(mean_pair_difference(images))
    return Requested(np.array(errors), np.array(diversity))


def answers(
    sampler: Sampler, targets: AspectValues, each: int, seed: int
) -> Iterator[tuple[AspectValues, ByteArray]]:
    """Yield each target, `each` times over, with the images that come of it; see `requested`.

    Raises:
        UsageError: without targets, or for one image a target.

    Example:
        >>> import torch
        >>> from types import SimpleNamespace
        >>> sampler = SimpleNamespace(sample=lambda wanted, ids, seed: ids)
        >>> asked = answers(sampler, {"age": torch.tensor([[10.0], [20.0]])}, each=2, seed=0)
        >>> [(wanted["age"].flatten().tolist(), ids.tolist()) for wanted, ids in asked]
        [([10.0, 10.0], [0, 1]), ([20.0, 20.0], [2, 3])]
    """
    count = min((len(v) for v in targets.values()), default=0)
    if count < 1 or each < 2:
        raise UsageError(
            "targets are asked for at least twice", f"{count} targets, each={each}", "pass each=80"
        )
    for row in range(count):
        wanted = {n: v[row : row + 1].expand(each, *v.shape[1:]) for n, v in targets.items()}
        yield wanted, sampler.sample(wanted, np.arange(row * each, (row + 1) * each), seed)


def mean_pair_difference(images: ByteArray) -> float:
    """Return the MSE of two images, mean over all pairs, pixels in [0, 1].

        2 / (n (n - 1)) Σ_{i<j} mean (f_i - f_j)² = 2 n / (n - 1) · mean over pixels of the variance

    Args:
        images: uint8 `(n, C, H, W)`, n at least 2.

    Example:
        >>> mean_pair_difference(np.array([0, 255], np.uint8).reshape(2, 1, 1, 1))
        1.0
    """
    values = images.reshape(len(images), -1).astype(np.float64)
    return float(2.0 * values.var(0, ddof=1).mean() / 255.0**2)


def above(first: tuple[FloatArray, FloatArray], second: tuple[FloatArray, FloatArray]) -> float:
    """Return by how much the first curve's diversity is above the second's at equal error.

    Each curve is (errors, diversity), one point a weight; between points it is a straight line. The
    mean is taken over the errors that both reach; NaN where they share none.

    Example:
        >>> errors = np.array([0.1, 0.2, 0.3])
        >>> float(round(above((errors, errors + 1.0), (errors, errors)), 9))
        1.0
    """
    curves = []
    for errors, diversity in (first, second):
        order = np.argsort(errors, kind="stable")
        curves.append((np.asarray(errors)[order], np.asarray(diversity)[order]))
    low = max(e[0] for e, _ in curves)
    high = min(e[-1] for e, _ in curves)
    if not low <= high:
        return float("nan")
    at = np.linspace(low, high, SHARED)
    heights = [np.interp(at, e, d) for e, d in curves]
    return float((heights[0] - heights[1]).mean())

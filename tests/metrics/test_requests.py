"""Requests: errors and diversity of a sampler whose answers are known."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from augmint.core.errors import UsageError
from augmint.core.streams import stream
from augmint.metrics.image import pairwise_diversity
from augmint.metrics.requests import above, mean_pair_difference, requested

if TYPE_CHECKING:
    from augmint.core.types import AspectValues, ByteArray, IntArray


class Known:
    """Grey images: the value asked for plus noise of a deviation that the value decides."""

    def sample(self, aspects: AspectValues, ids: IntArray, seed: int) -> ByteArray:
        noise = stream(seed, "known", 0, ids).normal(64).numpy()
        value = aspects["grey"].numpy()
        levels = 128 + value * (1 + noise / 4)
        return levels.round().clip(0, 255).astype(np.uint8).reshape(-1, 1, 8, 8)


TARGETS = {"grey": torch.tensor([[0.0], [20.0], [40.0]])}


def error(images: ByteArray, wanted: AspectValues) -> np.ndarray:
    return np.abs(images.mean((1, 2, 3)) - 128 - wanted["grey"][:, 0].numpy())


def test_errors_and_diversity_of_each_target() -> None:
    found = requested(Known(), TARGETS, error, each=80)
    assert found.errors[0] == found.diversity[0] == 0.0
    # two images differ by sqrt 2 deviations of a quarter of the value; plus 2 · 1/12 of rounding
    for value, diversity in zip((20.0, 40.0), found.diversity[1:], strict=True):
        assert diversity == pytest.approx((2 * (value / 4) ** 2 + 1 / 6) / 255**2, rel=0.06)
    # |mean of 64 pixels|: a half-normal of deviation value / 32
    assert found.errors[2] == pytest.approx(40 / 32 * np.sqrt(2 / np.pi), rel=0.3)
    assert found.error == pytest.approx(found.errors.mean())
    assert found.spread == pytest.approx(found.diversity.mean())


def test_mean_pair_difference_is_that_of_all_pairs() -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 3, 8, 8), dtype=np.uint8)
    pairs = [
        ((images[i] / 255.0 - images[j] / 255.0) ** 2).mean() for i, j in combinations(range(9), 2)
    ]
    assert mean_pair_difference(images) == pytest.approx(np.mean(pairs), rel=1e-12)
    sampled = pairwise_diversity(images, np.zeros(9, np.int64), pairs=2000)["within"]["mse"]
    # 2000 pairs with repetition; pairs of these images differ by 4 % among each other
    assert mean_pair_difference(images) == pytest.approx(sampled, rel=5 * 0.04 / 2000**0.5)


def test_curves_are_compared_at_equal_error() -> None:
    first = np.array([0.3, 0.1, 0.2]), np.array([6.0, 2.0, 4.0])
    second = np.array([0.2, 0.4]), np.array([1.0, 5.0])
    # shared errors 0.2 to 0.3: 20 e against 20 e - 3
    assert above(first, second) == pytest.approx(3.0)
    assert above(second, first) == pytest.approx(-3.0)
    assert np.isnan(above(first, (np.array([0.5, 0.6]), np.ones(2))))


def test_bad_requests_are_refused() -> None:
    for targets, each in ((TARGETS, 1), ({}, 80), ({"grey": torch.zeros(0, 1)}, 80)):
        with pytest.raises(UsageError, match="at least twice"):
            requested(Known(), targets, error, each=each)

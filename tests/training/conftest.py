from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.training.batches import TrainingImages
from augmint.training.config import GanConfig


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def schema() -> Schema:
    return Schema((Category("label", ("a", "b", "c")),))


@pytest.fixture
def data() -> TrainingImages:
    rng = np.random.default_rng(3)
    return TrainingImages(
        rng.integers(0, 256, (20, 1, 12, 12), dtype=np.uint8),
        {"label": np.arange(20) % 3},
        np.arange(20) + 100,
    )


@pytest.fixture
def tiny() -> Callable[..., GanConfig]:
    """A configuration of tiny networks; keyword arguments replace fields."""

    def make(**changes: Any) -> GanConfig:
        fields: dict[str, Any] = {
            "generator": {"name": "dcgan-generator", "channels": 4},
            "critic": {"name": "dcgan-critic", "channels": 4},
            "conditioning": {
                "name": "vac",
                "network": {"name": "small-cnn", "channels": 4, "dropout": 0.0},
            },
            "latent_dim": 8,
            "batch": 6,
            "steps": 12,
        }
        return GanConfig(**{**fields, **changes})

    return make

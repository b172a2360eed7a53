"""A small generator with batch norm, a sampler whose truth is known, and judges that can see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.conditioning.base import Conditioning, ConditioningContext
from augmint.core.streams import scope, stream
from augmint.core.types import AspectValues


@dataclass(frozen=True)
class OneHot(Conditioning):
    """Puts the class, one-hot, before z."""

    def latent_width(self, context: ConditioningContext) -> int:
        return context.latent_dim + context.schema["label"].width

    def sample_latent(
        self, context: ConditioningContext, aspects: AspectValues, stream: Any
    ) -> Tensor:
        z = stream.normal(context.latent_dim)
        return torch.cat((context.schema["label"].encode(aspects["label"]), z), 1)


class Generator(nn.Module):
    def __init__(self, width: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape
        self.first = nn.Linear(width, 32)
        self.norm = nn.BatchNorm1d(32)
        self.last = nn.Linear(32, int(np.prod(shape)))

    def forward(self, z: Tensor) -> Tensor:
        hidden = torch.relu(self.norm(self.first(z)))
        return torch.tanh(self.last(hidden)).reshape(-1, *self.shape)


class Truthful:
    """Images whose brightness says their class, except for every `wrong`-th id of a class.

    Class c of K fills the image with the level 255 (c + 0.5) / K, plus noise keyed by the id.
    """

    def __init__(self, classes: int, wrong: int = 0, repeat: int = 0) -> None:
        self.classes, self.wrong, self.repeat = classes, wrong, repeat
        self.drawn = 0

    def sample(self, aspects: AspectValues, ids: np.ndarray, seed: int) -> np.ndarray:
        self.drawn += len(ids)
        labels = np.asarray(aspects["label"]).copy()
        counters = ids // self.classes
        if self.wrong:
            labels = np.where(counters % self.wrong == 0, (labels + 1) % self.classes, labels)
        source = ids % (self.repeat * self.classes) if self.repeat else ids
        noise = stream(seed, "test.noise", 0, source).integers(36, 20).numpy() - 10
        level = 255 * (labels + 0.5) / self.classes
        return (level[:, None] + noise).clip(0, 255).astype(np.uint8).reshape(-1, 1, 6, 6)


class Brightness:
    """Judges by brightness, 0.9 for the nearest class, the rest shared."""

    def __init__(self, classes: int, sure: float = 0.9) -> None:
        self.classes, self.sure = classes, sure

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        level = images.reshape(len(images), -1).mean(1) / 255 * self.classes - 0.5
        best = level.round().astype(int).clip(0, self.classes - 1)
        p = np.full((len(images), self.classes), (1 - self.sure) / (self.classes - 1))
        p[np.arange(len(p)), best] = self.sure
        return p


@pytest.fixture
def schema() -> Schema:
    return Schema((Category("label", ("ant", "bee", "cat")),))


@pytest.fixture
def context(schema: Schema) -> ConditioningContext:
    return ConditioningContext(schema, (1, 8, 8), 6)


@pytest.fixture
def generator() -> Generator:
    with scope(0, "test.generator"):
        made = Generator(9, (1, 8, 8))
        with torch.no_grad():
            made.norm.running_mean.normal_()
            made.norm.running_var.uniform_(0.5, 2.0)
    return made


@pytest.fixture
def one_hot() -> OneHot:
    return OneHot()


@pytest.fixture
def truthful() -> type[Truthful]:
    return Truthful


@pytest.fixture
def brightness() -> type[Brightness]:
    return Brightness

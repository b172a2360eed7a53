"""What recipes of one conditional generator share: their configuration, training and measuring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from augmint.core.errors import UsageError
from augmint.core.machine import resolve_device
from augmint.core.registry import CONDITIONING
from augmint.recipes.base import Outcome, Recipe, Surroundings
from augmint.recipes.measuring import Measuring
from augmint.training.config import GanConfig

if TYPE_CHECKING:
    from PIL.Image import Image

    from augmint.core.types import ByteArray, IntArray
    from augmint.data.table import Table


@dataclass(frozen=True)
class ConditionalConfig:
    """Everything that the numbers depend on, besides data and seed.

    Args:
        gan: the generator's training.
        measuring: how it is measured.
        size: height and width that images are scaled to; None: as they are.
        test_share: of a set without a test part.
    """

    gan: GanConfig
    measuring: Measuring = field(default_factory=Measuring)
    size: tuple[int, int] | None = None
    test_share: float = 0.3


@dataclass(frozen=True)
class ConditionalRecipe(Recipe[ConditionalConfig]):
    """Trains one conditional generator and measures it; members give the configuration."""

    def run(self, config: ConditionalConfig, surroundings: Surroundings) -> Outcome:
        """Train generator and judge on the training part, measure against the test part."""
        return _run(config, surroundings)


def _run(config: ConditionalConfig, surroundings: Surroundings) -> Outcome:
    """Train a conditional generator and a judge on the training part; measure on the test part."""
    from augmint.data.ingest import ingest
    from augmint.minting.sampler import GanSampler
    from augmint.recipes.measuring import draw_raw, measure_generator, train_judge
    from augmint.tasks.base import RealRows
    from augmint.training.gan import TrainingImages, train_gan

    seed, out = surroundings.seed, surroundings.out
    device = str(resolve_device(surroundings.device))
    table = ingest(surroundings.data, out / "cache", size=config.size, channels=1)
    train, test = _parts(table, config.test_share, seed)
    images = np.ascontiguousarray(table.images[train])
    values = {name: v[train] for name, v in table.values.items()}
    data = TrainingImages(images, values, train)
    trained = train_gan(config.gan, data, table.schema, seed, out / "gan", device)
    conditioning = CONDITIONING.create(config.gan.conditioning)
    sampler = GanSampler(trained.generator, conditioning, trained.context, device)
    minted = draw_raw(sampler, table, config.measuring.per_class, seed)
    judge = train_judge(config.measuring, table, train, seed, device)
    real = RealRows.of(table, test)
    numbers, protocols = measure_generator(config.measuring, judge, minted, real, seed)
    warnings = [] if trained.stopped == "done" else [f"training stopped: {trained.stopped}"]
    classes = getattr(table.schema["label"], "classes", ())
    pictures = {
        "generated": _by_class(minted.images, minted.values["label"], classes),
        "real": _by_class(real.images, real.values["label"], classes),
    }
    return Outcome(numbers, protocols, pictures, trained.images_shown, warnings)


def _parts(table: Table, test_share: float, seed: int) -> tuple[IntArray, IntArray]:
    """Return training and test rows: the set's own parts, or a stratified share."""
    from augmint.data.splits import stratified

    if "train" in table.parts and "test" in table.parts:
        return table.parts["train"], table.parts["test"]
    if "all" not in table.parts:
        raise UsageError(
            "a recipe needs training and test images",
            ", ".join(table.parts),
            "give both parts, or a set without split folders",
        )
    return stratified(table.labels(), test_share, seed, "recipe.test")


def _by_class(images: ByteArray, labels: IntArray, classes: Sequence[str], n: int = 10) -> Image:
    from augmint.core.pictures import rows

    here = [np.flatnonzero(labels == c)[:n] for c in range(len(classes))]
    kept = [(images[r], classes[c]) for c, r in enumerate(here) if len(r)]
    return rows([i for i, _ in kept], [c for _, c in kept], scale=2)

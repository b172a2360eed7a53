"""What recipes of one conditional generator share: their configuration, training and measuring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from augmint.core.errors import UsageError
from augmint.core.machine import resolve_device
from augmint.core.registry import CONDITIONING
from augmint.core.streams import derive
from augmint.recipes.base import Outcome, Recipe, Surroundings
from augmint.recipes.measuring import Measuring
from augmint.training.config import GanConfig

if TYPE_CHECKING:
    from PIL.Image import Image

    from augmint.core.types import ByteArray, IntArray
    from augmint.data.table import Table
    from augmint.studies.critics import Players
    from augmint.tasks.base import RealRows
    from augmint.training.batches import TrainingImages


@dataclass(frozen=True)
class ConditionalConfig:
    """Everything that the numbers depend on, besides data and seed.

    Args:
        gan: the generator's training.
        measuring: how it is measured.
        size: height and width that images are scaled to; None: as they are.
        channels: 1 for grey, 3 for colour.
        test_share: of a set without a test part.
        alone: also train the generator's own classifier without the generator.
    """

    gan: GanConfig
    measuring: Measuring = field(default_factory=Measuring)
    size: tuple[int, int] | None = None
    channels: int = 1
    test_share: float = 0.3
    alone: bool = False


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
    from augmint.recipes.measuring import measure_generator, train_judge
    from augmint.studies.comparing import drawn_evenly
    from augmint.studies.critics import Players
    from augmint.studies.steps import training_images
    from augmint.tasks.base import RealRows
    from augmint.training.gan import GanTraining

    seed, out = surroundings.seed, surroundings.out
    device = str(resolve_device(surroundings.device))
    table = ingest(surroundings.data, out / "cache", size=config.size, channels=config.channels)
    train, test = parts_of(table, config.test_share, seed)
    data = training_images(table, train)
    training = GanTraining(config.gan, data, table.schema, seed, out / "gan", device)
    trained = training.run()
    conditioning = CONDITIONING.create(config.gan.conditioning)
    sampler = GanSampler(trained.generator, conditioning, trained.context, device)
    minted = drawn_evenly(
        sampler, table.schema, config.measuring.per_class, derive(seed, "recipe.draw")
    )
    judge = train_judge(config.measuring, table, train, seed, device)
    real = RealRows.of(table, test)
    numbers, protocols = measure_generator(config.measuring, judge, minted, real, seed)
    players = Players(training.game, config.gan.batch)
    own, told = _own_classifier(config, players, data, real, seed)
    warnings = [] if trained.stopped == "done" else [f"training stopped: {trained.stopped}"]
    classes = table.classes()
    pictures = {
        "generated": by_class(minted.images, minted.values["label"], classes),
        "real": by_class(real.images, real.values["label"], classes),
    }
    return Outcome(numbers | own, protocols | told, pictures, trained.images_shown, warnings)


def _own_classifier(
    config: ConditionalConfig, players: Players, data: TrainingImages, real: RealRows, seed: int
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Return the accuracy of the generator's own classifier on real images, and of it alone.

    Nothing where the method has none.
    """
    from augmint.studies.critics import classifier_accuracy, has_classifier, train_classifier

    game = players.game
    if not has_classifier(game.parts.conditioning):
        return {}, {}
    labels = real.values["label"]
    shown = f"{len(real)} real test images"
    numbers: dict[str, float | None] = {
        "classifier_accuracy": classifier_accuracy(players, real.images, labels)
    }
    protocols = {"classifier_accuracy": f"the classifier that taught the generator, on {shown}"}
    if config.alone:
        schema, device = game.context.schema, str(game.device)
        alone = train_classifier(config.gan, data, schema, seed, device)
        name = "classifier_alone_accuracy"
        numbers[name] = classifier_accuracy(alone, real.images, labels)
        protocols[name] = (
            f"the same network from the same start, with the same optimiser and "
            f"{config.gan.steps * config.gan.batch} real images, without a generator, on {shown}"
        )
    return numbers, protocols


def parts_of(table: Table, test_share: float, seed: int) -> tuple[IntArray, IntArray]:
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


def by_class(images: ByteArray, labels: IntArray, classes: Sequence[str], n: int = 10) -> Image:
    """Return a picture of the first n images of each class, one class a row."""
    from augmint.core.pictures import rows

    here = [np.flatnonzero(labels == c)[:n] for c in range(len(classes))]
    kept = [(images[r], classes[c]) for c, r in enumerate(here) if len(r)]
    return rows([i for i, _ in kept], [c for _, c in kept], scale=2)

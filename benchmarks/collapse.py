"""Print what the guard keeps of runs that are made to collapse, beside the best of each run.

python benchmarks/collapse.py

Trains small networks on the built-in digits at 16 px, in set-ups that are known to fail. At every
look of the guard the averaged generator's Fréchet distance to the real images is taken, in the
features of a classifier trained on them. The run goes on to its end; beside it the guard looks as
it would in training, so that one run shows the best distance, that of the state the guard keeps,
and what came after.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from augmint.core.machine import set_allocator, single_thread
from augmint.core.registry import DATASETS
from augmint.core.streams import derive, stream
from augmint.core.types import to_uint8
from augmint.data.decoding import resize
from augmint.metrics.frechet import frechet
from augmint.tasks.classification import ClassificationTask, TaskConfig
from augmint.tasks.rows import Source
from augmint.training.gan import GanConfig, GanTraining, TrainingImages
from augmint.training.guard import Guard, GuardRules

if TYPE_CHECKING:
    from augmint.core.types import ByteArray, FloatArray

SIDE, SAMPLES = 16, 1000
SMALL: dict[str, Any] = {
    "generator": {"name": "dcgan-generator", "channels": 16},
    "critic": {"name": "dcgan-critic", "channels": 16, "normalisation": "none"},
    "augment": None,
    "auxiliary_augment": None,
    "latent_dim": 32,
    "batch": 64,
    "steps": 3000,
}
UNNORMALISED = {"name": "dcgan-generator", "channels": 16, "normalisation": "none"}
RECIPES: dict[str, dict[str, Any]] = {
    "unbounded critic": {
        "objective": "wasserstein",
        "conditioning": "none",
        "critic_rate": 4e-3,
        "generator_rate": 4e-3,
        "betas": (0.9, 0.999),
        "steps": 1500,
    },
    "small batches": {
        "objective": "non-saturating",
        "conditioning": "none",
        "generator": UNNORMALISED,
        "critic_rate": 4e-3,
        "generator_rate": 4e-3,
        "betas": (0.9, 0.999),
        "batch": 16,
        "steps": 1500,
    },
    "ACGAN on BEGAN": {
        "objective": "began",
        "conditioning": "acgan",
        "generator": {"name": "began-generator", "channels": 8},
        "critic": {"name": "began-critic", "channels": 8, "code": 32},
        "critic_rate": 2e-3,
        "generator_rate": 2e-3,
        "steps": 1500,
    },
    "fast critic": {
        "objective": "non-saturating",
        "conditioning": "none",
        "critic_rate": 4e-3,
        "generator_rate": 1e-3,
        "betas": (0.5, 0.9),
    },
}
"""Set-ups that fail: a Wasserstein critic without bound and with momentum, whose generator comes to
give one image; small batches without any normalisation, which never give another; classes told from
the code of an energy critic, of which the papers report one image for all; and a critic ten times
as fast as is usual, beside which images get slowly worse once they were good."""


@dataclass
class Watched:
    """What was seen at the looks of one run.

    Args:
        steps, distances, diversity, sketched: one value a look; the last two are the guard's.
        stopped: the step at which the guard ends the run, or None.
        kept: the step whose state it keeps.
        varied: whether that state's images differ; a run whose never did ends with an error.
        seconds: processor seconds of training and looking.
    """

    steps: list[int] = field(default_factory=list)
    distances: list[float] = field(default_factory=list)
    diversity: list[float] = field(default_factory=list)
    sketched: list[float] = field(default_factory=list)
    stopped: int | None = None
    kept: int = 0
    varied: bool = False
    seconds: float = 0.0

    def at(self, step: int) -> float:
        """Return the distance at a look."""
        return self.distances[self.steps.index(step)] if step in self.steps else math.inf

    @property
    def best(self) -> float:
        """The least distance that any look before the guard's end saw."""
        looked = zip(self.steps, self.distances, strict=True)
        return min(d for s, d in looked if self.stopped is None or s <= self.stopped)


def digits() -> TrainingImages:
    """Return the built-in digits at 16 px."""
    content = DATASETS.create("digits").build(None, None)
    images = resize(content.images, (SIDE, SIDE))
    return TrainingImages(images, dict(content.values), np.arange(len(images)))


def schema() -> Any:
    """Return the digits' aspects."""
    return DATASETS.create("digits").build(None, None).schema


def judge(data: TrainingImages, steps: int = 600) -> Callable[[ByteArray], FloatArray]:
    """Return the features of a classifier trained on the images."""
    source = Source(data.images, data.values, data.ids, 1.0)
    config = TaskConfig(network={"name": "small-cnn", "channels": 8}, steps=steps)
    trained = ClassificationTask().train(config, schema(), data.shape, [source], "affine", 0, "cpu")
    return trained.feature_net()


def watch(
    config: GanConfig,
    data: TrainingImages,
    features: Callable[[ByteArray], FloatArray],
    rules: GuardRules | None = None,
    seed: int = 0,
) -> Watched:
    """Train to the end and let a guard look on."""
    begun = time.process_time()
    # the run's own guard keeps off: strikes never suffice
    never = replace(rules or GuardRules(), strikes=10**9)
    training = GanTraining(config, data, schema(), seed, rules=never)
    own = training.guard
    guard = Guard(
        own.parts, [], rules, own.diversity, own.real_diversity, own.converges, own.distance
    )
    guard.start(0)
    real, found = features(data.images), Watched()

    def look(step: int, numbers: Mapping[str, float]) -> None:
        found.steps.append(step)
        found.distances.append(frechet(real, features(generated(training))))
        if own.diversity is not None and own.distance is not None:
            found.diversity.append(own.diversity() / own.real_diversity)
            found.sketched.append(own.distance())
        if found.stopped is None and guard.look(step, numbers) == "collapsed":
            found.stopped = step
        found.kept, found.varied = guard.good_step, guard.varied

    training.recorder.on_read = look
    training.run(progress=False)
    found.seconds = time.process_time() - begun
    return found


def generated(training: GanTraining) -> ByteArray:
    """Return images of the averaged generator, classes in equal parts."""
    conditioning, context = training.game.parts.conditioning, training.context
    aspects = {"label": torch.arange(SAMPLES) % 10}
    latent = conditioning.sample_latent(context, aspects, stream(0, "looks", 0, SAMPLES))
    inputs = conditioning.generator_inputs(context, latent, aspects)
    with torch.no_grad():
        images = training.average.module(*(i for i in inputs if i is not None))
    return to_uint8(images.float()).numpy()


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description="What the guard keeps of runs that collapse.")
    parser.add_argument("--recipes", default=",".join(RECIPES), help="some of: %(default)s")
    parser.add_argument("--steps", type=int, help="instead of each recipe's own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--looks", action="store_true", help="print every look")
    given = parser.parse_args()
    set_allocator()
    with single_thread():
        data = digits()
        features = judge(data)
        real = features(data.images)
        half = stream(derive(0, "halves"), "halves", 0, len(real)).uniform(1)[:, 0].numpy() < 0.5
        print(
            "Fréchet distance of two halves of the real images: "
            f"{frechet(real[half], real[~half]):.1f}"
        )
        print(f"{'recipe':16} {'best':>9} {'kept':>9} {'last':>9}  what the guard does")
        for name in given.recipes.split(","):
            changes = {} if given.steps is None else {"steps": given.steps}
            config = GanConfig(**{**SMALL, **RECIPES[name], **changes})
            found = watch(config, data, features, seed=given.seed)
            told = "nothing" if found.stopped is None else f"stops at step {found.stopped}"
            told += f", keeps step {found.kept}" if found.varied else ", says that nothing was good"
            print(
                f"{name:16} {found.best:9.1f} {found.at(found.kept):9.1f} "
                f"{found.distances[-1]:9.1f}  {told}; {found.seconds:.0f} s"
            )
            if given.looks:
                rows = zip(
                    found.steps, found.distances, found.diversity, found.sketched, strict=True
                )
                print("\n".join(f"  {s:6} {d:9.1f} {v:6.3f} {f:9.4f}" for s, d, v, f in rows))


if __name__ == "__main__":
    main()

"""Print what other ways to use minted images are worth against classic, on held-back images.

augmint prove mnist/ --per-class 20 --preset standard --out study
python benchmarks/ideas.py study --ideas eighth,anneal

Takes generators, judges and curated images from a finished study with --per-class, and trains its
task again under its budget and its classic policy. What scores is 5 000 training images that no
repetition and no pilot trained on or held out, so the test set stays closed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from augmint.core.config import build, read_yaml
from augmint.core.machine import set_allocator, single_thread
from augmint.core.streams import derive, stream
from augmint.core.types import AspectValues
from augmint.data.splits import stratified
from augmint.data.table import Table
from augmint.metrics.image import pairwise_diversity
from augmint.minting.bundle import Bundle
from augmint.minting.curation import CurationConfig, Minted, mint
from augmint.minting.nearness import distances
from augmint.minting.sampler import GanSampler
from augmint.studies.graph import PAIRS
from augmint.studies.materials import load_minted, real_source, subset
from augmint.studies.rows import Rows, seed_of
from augmint.studies.stages import read_result
from augmint.studies.statistics import paired_t
from augmint.studies.verdict import SMALLEST_DELTA, Comparison, secondary
from augmint.tasks import sampling
from augmint.tasks.classification import ClassificationTask
from augmint.tasks.config import TaskConfig
from augmint.tasks.rows import RealRows, Source
from augmint.tasks.trained import TrainedTask

TASK = ClassificationTask()
SHARE = 0.25
SCORED = 5000


class Study:
    """A finished study, opened for reading."""

    def __init__(self, folder: Path) -> None:
        self.stages = folder / "stages"
        config = read_yaml(folder / "config.yaml")
        self.seed, self.task = config["seed"], build(TaskConfig, config["task"], where="task")
        self.curation = build(CurationConfig, config["curation"], where="curation")
        (table,) = (self.stages / "tables").glob("table-*")
        self.table = Table.open(table)
        self.policy = read_result(self.stage("policy")).value["chosen"]

    def stage(self, name: str) -> Path:
        """Return the one committed stage of a name."""
        committed = (path.parent for path in self.stages.glob(f"{name}-*/result.json"))
        (found,) = (folder for folder in committed if folder.name.rpartition("-")[0] == name)
        return found

    def scored(self) -> RealRows:
        """Return images that nothing in the study was trained or calibrated on."""
        rows = [Rows.load(path) for path in sorted(self.stages.glob("split-*/rows.npz"))]
        used = np.concatenate([part for r in rows for part in (r.train, r.held_out)])
        free = np.setdiff1d(np.unique(np.concatenate([r.pool for r in rows])), used)
        share = min(0.5, SCORED / len(free))
        _, taken = stratified(self.table.labels()[free], share, 0, "ideas.validation")
        return RealRows.of(self.table, free[taken])


class Repetition:
    """One seed of a study: its rows, its minted images, its judge."""

    def __init__(self, study: Study, index: int) -> None:
        self.study, self.index, self.table = study, index, study.table
        self.seed = seed_of(study.seed, index)
        self.train = Rows.load(study.stage(f"split-{index}") / "rows.npz").train
        self.labels = self.table.labels()[self.train]
        folder = study.stage(f"mint-{index}")
        self.minted = load_minted(folder / "curated")
        self.wanted = read_result(folder).value["curation"]["classes"][0]["quota"]
        self.judge = TrainedTask.load(folder / "judge.safetensors")

    @cached_property
    def classic(self) -> TrainedTask:
        """The network of the arm `classic`; the judge is just that where the networks agree."""
        if self.judge.config == self.study.task:
            return self.judge
        return self.fit(Trial([real_source(self.table, self.train)]), self.seed)

    @cached_property
    def others(self) -> list[TrainedTask]:
        """Three more networks of the same training images, from other seeds."""
        seeds = [derive(self.seed, f"ideas.ensemble.{k}") for k in range(3)]
        return [self.fit(Trial([real_source(self.table, self.train)]), seed) for seed in seeds]

    def fit(self, trial: Trial, seed: int) -> TrainedTask:
        """Train the task on what a trial says."""
        fixed = sampling.composition
        mixed = fixed if trial.counts is None else lambda *_: trial.counts
        with patch.object(sampling, "composition", mixed):
            c = self.study
            return TASK.train(
                c.task, self.table.schema, self.table.shape, trial.sources, c.policy, seed
            )

    def mint(self, name: str, per_class: int, raw: bool = False, scale: float = 1.0) -> Minted:
        """Mint further images, z drawn `scale` times as wide."""
        bundle = Bundle.open(self.study.stage(f"generator-{self.index}") / "bundle")
        plain = bundle.sampler()
        sampler = Wide(**{f.name: getattr(plain, f.name) for f in fields(plain)})
        sampler.scale = scale
        quotas = dict.fromkeys(np.unique(self.labels).tolist(), per_class)
        judge, seed = None if raw else self.judge, derive(self.seed, f"ideas.{name}")
        return mint(sampler, judge, self.table.schema, quotas, self.study.curation, seed, False)


class Wide(GanSampler):
    """Draws z ~ N(0, scale^2)."""

    scale = 1.0

    def latents(self, aspects: AspectValues, ids: np.ndarray, seed: int) -> torch.Tensor:
        latent = super().latents(aspects, ids, seed)
        latent[:, : self.context.latent_dim] *= self.scale
        return latent


@dataclass(frozen=True)
class Trial:
    """What a training sees: sources, the minted one last, and counts that replace their shares."""

    sources: list[Source]
    counts: np.ndarray | None = None


def added(r: Repetition, minted: Minted, share: float = SHARE) -> Trial:
    """Return the real images and minted ones with the labels that they claim."""
    labels = {"label": np.asarray(minted.values["label"])}
    source = Source(np.asarray(minted.images), labels, minted.ids, share, "minted")
    return Trial([real_source(r.table, r.train, 1.0 - share), source])


def minted(r: Repetition) -> Trial:
    """The study's own treatment: a quarter of each batch."""
    return added(r, r.minted)


def eighth(r: Repetition) -> Trial:
    """An eighth of each batch."""
    return added(r, r.minted, SHARE / 2)


def anneal(r: Repetition) -> Trial:
    """From half of the batch to none, linearly over the steps: a quarter of all images."""
    steps, batch = r.study.task.steps, r.study.task.batch
    exact = batch * 2 * SHARE * (1 - np.arange(steps) / (steps - 1))
    # the golden ratio's multiples spread the roundings evenly
    offsets = np.mod(np.arange(steps) * (5**0.5 - 1) / 2, 1.0)
    counts = np.minimum(np.floor(exact + offsets), batch).astype(np.int64)
    return Trial(added(r, r.minted).sources, np.stack([batch - counts, counts], 1))


def wide(r: Repetition) -> Trial:
    """Latents half as wide again, then curated: more variety within a class."""
    return added(r, r.mint("wide", r.wanted, scale=1.5))


def spread(r: Repetition) -> Trial:
    """Of four times as many, those farthest from the real ones and from each other.

    Greedy farthest points of each class in the judge's features, the real images being the first.
    """
    pool = r.mint("pool", 4 * r.wanted)
    real, features = r.judge.features(r.table.images[r.train]), r.judge.features(pool.images)
    kept: list[int] = []
    for label in np.unique(r.labels):
        rows = np.flatnonzero(pool.values["label"] == label)
        nearest = distances(features[rows], real[r.labels == label]).min(1)
        among = distances(features[rows], features[rows])
        for _ in range(min(r.wanted, len(rows))):
            best = int(nearest.argmax())
            kept.append(int(rows[best]))
            nearest = np.minimum(nearest, among[best])
            nearest[best] = -1.0
    return added(r, subset(pool, np.array(kept)))


def hard(r: Repetition) -> Trial:
    """Of four times as many, those that three other judges accept and `classic` is worst at."""
    pool = r.mint("rawpool", 4 * r.wanted, raw=True)
    labels, rows = np.asarray(pool.values["label"]), np.arange(len(pool))
    said = np.mean([judge.probabilities(pool.images) for judge in r.others], 0)
    accepted = (said.argmax(1) == labels) & (said[rows, labels] >= 0.5)
    order = np.argsort(r.classic.probabilities(pool.images)[rows, labels], kind="stable")
    order = order[accepted[order]]
    kept = [order[labels[order] == label][: r.wanted] for label in np.unique(r.labels)]
    return added(r, subset(pool, np.concatenate(kept)))


def between(r: Repetition) -> Trial:
    """Images between two classes (mixed codes), labelled by the mean of three other judges."""
    width, count = r.table.schema["label"].width, 4 * r.wanted * len(np.unique(r.labels))
    draws = stream(r.seed, "ideas.between", 0, count)
    first, step, part = draws.integers(1, width), draws.integers(1, width - 1), draws.uniform(1)
    second, eye = (first + 1 + step) % width, torch.eye(width)
    code = part * eye[first[:, 0]] + (1 - part) * eye[second[:, 0]]
    sampler = Bundle.open(r.study.stage(f"generator-{r.index}") / "bundle").sampler()
    images = sampler.sample({"label": code}, np.arange(count), derive(r.seed, "ideas.between"))
    soft = np.mean([judge.probabilities(images) for judge in r.others], 0).astype(np.float32)
    real = real_source(r.table, r.train)
    sure = {"label": np.eye(width, dtype=np.float32)[r.labels]}
    return Trial(
        [
            Source(real.images, sure, r.train, 1.0 - SHARE),
            Source(images, {"label": soft}, np.arange(count), SHARE, "minted"),
        ]
    )


IDEAS: dict[str, Callable[[Repetition], Trial]] = {
    idea.__name__: idea for idea in (minted, eighth, anneal, wide, spread, hard, between)
}


def variety(r: Repetition, source: Source) -> float:
    """Return the mean squared difference of minted pairs within a class."""
    labels = source.values["label"]
    labels = labels.argmax(1) if labels.ndim > 1 else labels
    seed = derive(r.seed, "diagnosis")
    return pairwise_diversity(source.images, labels, PAIRS, seed)["within"]["mse"]


def main() -> None:
    """Train, score, compare and print, a line an idea."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--ideas", default=",".join(IDEAS))
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    set_allocator()
    study, names = Study(given.study), given.ideas.split(",")
    real = study.scored()
    gains: dict[str, list[float]] = {name: [] for name in names}
    within: dict[str, list[float]] = {name: [] for name in names}
    with single_thread():
        for r in (Repetition(study, index) for index in range(given.seeds)):
            baseline = TASK.score(r.classic, real).accuracy
            for name in names:
                trial = IDEAS[name](r)
                score = TASK.score(r.fit(trial, r.seed), real).accuracy
                gains[name].append(score - baseline)
                within[name].append(variety(r, trial.sources[-1]))
                print(f"seed {r.index} {name}: {score:.2%}, classic {baseline:.2%}", flush=True)
    found = [Comparison(name, paired_t(values)) for name, values in gains.items()]
    print(f"{len(real)} held-back images, points against classic, Holm over {len(names)}")
    for one, told in zip(found, secondary(found, SMALLEST_DELTA), strict=True):
        mean, low, high = (
            100 * v for v in (one.interval.mean, one.interval.low, one.interval.high)
        )
        print(
            f"{one.name:8} {mean:+.2f} [{low:+.2f}, {high:+.2f}] p {told.adjusted_p:.3f} "
            f"{told.verdict}; within-class MSE {np.mean(within[one.name]):.3f}"
        )


if __name__ == "__main__":
    main()

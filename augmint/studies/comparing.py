"""The stages of a comparison of generators: judge, reference, generator, classifier, measures.

Like all stages they are pure functions `(config, inputs, folder, work) -> value`; the inputs are
the table and committed folders. Numbers are flat, by the keys of `compared.MEASURES`; what cannot
be measured stands under `refused` with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from augmint.core.errors import AugmintError, TrainingDivergedError
from augmint.core.registry import CONDITIONING, METRICS, Spec, split_spec
from augmint.core.streams import derive, permutation
from augmint.data.table import Table
from augmint.metrics.base import extract, measure_features
from augmint.metrics.image import MEASURES as IMAGE_MEASURES
from augmint.metrics.image import pairwise_diversity
from augmint.metrics.labels import label_truth
from augmint.minting.bundle import Bundle
from augmint.minting.curation import CurationConfig, Minted, mint
from augmint.studies import steps
from augmint.studies.critics import (
    Players,
    classifier_accuracy,
    classifier_refusal,
    save_players,
    train_classifier,
)
from augmint.studies.judging import DISTANCES
from augmint.studies.materials import real_source
from augmint.studies.probing import divergence_bound, linear_probe
from augmint.studies.rows import Rows
from augmint.studies.stages import read_result
from augmint.studies.steps import Inputs, Value, training_images
from augmint.tasks.base import RealRows, Source, TaskConfig
from augmint.tasks.classification import ClassificationTask
from augmint.tasks.trained import TrainedTask
from augmint.training.config import GanConfig

if TYPE_CHECKING:
    from augmint.aspects.base import Schema
    from augmint.core.types import ByteArray, IntArray, Sampler

SHOWN = 10
"""Images of each class in a picture."""

ASPECT = "label"

GIVES = {"precision-recall-density-coverage": ("precision", "recall", "density", "coverage")}
"""Metrics whose numbers have names of their own."""


@dataclass(frozen=True)
class Measures:
    """How every generator of a comparison is measured.

    Args:
        task: the small network, and its budget, of the judge and of what learns from generated or
            from real images.
        policy: its augmentation.
        per_class: images generated of each class.
        diverse_per_class: of which so many, of each class, are compared in pairs.
        pairs: pairs compared, within and between classes each.
        probe_rows: real training images that a linear classifier learns from, at most.
    """

    task: TaskConfig = field(default_factory=TaskConfig)
    policy: Spec = "affine"
    per_class: int = 1000
    diverse_per_class: int = 80
    pairs: int = 2000
    probe_rows: int = 5000


@dataclass(frozen=True)
class JudgeConfig:
    """The judge of a comparison, and what real images alone measure.

    Args:
        measures: see there.
        seed: of trainings, subsets and pairs.
        device: where networks run.
    """

    measures: Measures
    seed: int
    device: str = "cpu"


def judge_rows(rows: Rows) -> IntArray:
    """Return the real images that the judge learns from and no generator sees."""
    return np.sort(np.concatenate([rows.held_out, rows.pool]))


def judge(config: JudgeConfig, inputs: Inputs, folder: Path, work: Path) -> Value:
    """Train the judge on real images that no generator sees."""
    table, rows = _opened(inputs)
    own = judge_rows(rows)
    trained = _learn(config, table, [real_source(table, own)], "judge")
    trained.save(folder / "judge.safetensors")
    np.save(folder / "rows.npy", own)
    scores = ClassificationTask().score(trained, RealRows.of(table, rows.test))
    return {
        "digest": trained.digest,
        "trained_on": len(own),
        "numbers": {
            "judge_accuracy": scores.accuracy,
            "judge_worst_class": scores.worst_class,
        },
    }


def reference(config: JudgeConfig, inputs: Inputs, folder: Path, work: Path) -> Value:
    """Measure real images alone, as generated ones are measured."""
    table, rows = _opened(inputs)
    how, real = config.measures, RealRows.of(table, rows.test)
    network = TrainedTask.load(inputs["judge"] / "judge.safetensors", config.device)
    learner = _learn(config, table, [real_source(table, rows.train)], "learner")
    numbers = {"learnt": ClassificationTask().score(learner, real).accuracy}
    probabilities = network.probabilities(real.images)
    numbers["divergence"] = divergence_bound(probabilities, real.values[ASPECT]).bound
    numbers |= _diversity(how, real.images, real.values[ASPECT], config.seed)
    taken = probed_rows(rows.train, how.probe_rows, config.seed)
    flat = [np.asarray(table.images[r]).reshape(len(r), -1) / 255.0 for r in (taken, rows.test)]
    labels = table.labels()
    found = linear_probe(flat[0], labels[taken], flat[1], labels[rows.test], config.seed)
    numbers["probe"] = found.accuracy
    np.save(folder / "shown.npy", first_of_classes(real.images, real.values[ASPECT]))
    return {"numbers": numbers, "probe_rows": found.rows, "learner_images": len(rows.train)}


def generator(config: steps.GeneratorConfig, inputs: Inputs, folder: Path, work: Path) -> Value:
    """Train a generator as a study does; one that never was good is a result too."""
    try:
        return {"failed": None, **steps.generator(config, inputs, folder, work)}
    except TrainingDivergedError as error:
        return {"failed": str(error)}


@dataclass(frozen=True)
class ClassifierConfig:
    """A generator's own classifier, trained alone on real images.

    Args:
        gan: whose classifier.
        seed: of the generator's training.
        device: where it runs.
    """

    gan: GanConfig
    seed: int
    device: str = "cpu"


def classifier(config: ClassifierConfig, inputs: Inputs, folder: Path, work: Path) -> Value:
    """Train a generator's own classifier without the generator: the control of its accuracy."""
    table, rows = _opened(inputs)
    data = training_images(table, rows.train)
    alone = train_classifier(config.gan, data, table.schema, config.seed, config.device)
    save_players(alone.game, folder / "players.safetensors")
    real = RealRows.of(table, rows.test)
    accuracy = classifier_accuracy(alone, real.images, real.values[ASPECT])
    return {"accuracy": accuracy, "images_shown": config.gan.steps * config.gan.batch}


@dataclass(frozen=True)
class GeneratedConfig:
    """What is measured of one trained generator.

    Args:
        gan: how it was trained.
        measures: see there.
        seed: of the comparison: halves, subsets, pairs, and the images of pictures.
        own_seed: of the generator's training; what is drawn and learnt depends on `drawn`.
        drawn: of the images, and of what learns from them; shared by the generators of a seed.
        device: where networks run.
    """

    gan: GanConfig
    measures: Measures
    seed: int
    own_seed: int
    drawn: int
    device: str = "cpu"


def measure(config: GeneratedConfig, inputs: Inputs, folder: Path, work: Path) -> Value:
    """Measure one trained generator with the judge, against real test images."""
    made = read_result(inputs["generator"]).value
    if made["failed"] is not None:
        return {"numbers": {}, "refused": {"": made["failed"]}, "confusion": None}
    table, rows = _opened(inputs)
    found = _Measured(config, table, rows, inputs)
    numbers, refused = dict[str, float](), dict[str, str]()
    for group in (_label_truth, _distances, _divergences, _varied, _learnt, _probed, _own_classes):
        for key, value in group(found):
            if isinstance(value, str):
                refused[key] = value
            else:
                numbers[key] = float(value)
    np.save(folder / "shown.npy", found.shown())
    truth = found.truth
    return {
        "numbers": numbers,
        "refused": refused,
        "protocols": found.protocols,
        "confusion": None if truth is None else [list(row) for row in truth.confusion],
        "per_class": None if truth is None else list(truth.per_class),
        "generated": len(found.minted),
    }


class _Measured:
    """A trained generator, what it drew, and all that measures it."""

    def __init__(self, config: GeneratedConfig, table: Table, rows: Rows, inputs: Inputs) -> None:
        self.config, self.table, self.rows, self.inputs = config, table, rows, inputs
        self.how, self.labels = config.measures, table.labels()
        self.network = TrainedTask.load(inputs["judge"] / "judge.safetensors", config.device)
        self.real = RealRows.of(table, rows.test)
        self.sampler = Bundle.open(inputs["generator"] / "bundle").sampler(config.device)
        self.minted = drawn_evenly(
            self.sampler, table.schema, config.measures.per_class, config.drawn
        )
        self.conditioning = CONDITIONING.create(config.gan.conditioning)
        self.unlabelled = (
            None if self.conditioning.labels_generated else "the generator is not asked for classes"
        )
        self.claimed = self.minted.values[ASPECT]
        self.judged = self.network.probabilities(self.minted.images)
        self.truth = None if self.unlabelled else label_truth(self.judged, self.claimed)
        self.protocols: dict[str, str] = {}
        self.players = self._built()

    def _built(self) -> Players:
        """Return the networks that trained the generator, as they were at its start."""
        c, table = self.config, self.table
        return Players.build(c.gan, table.schema, table.shape, c.own_seed, c.device)

    @cached_property
    def trained(self) -> Players:
        """The networks that trained the generator, as they were at its end."""
        return self._built().load(self.inputs["generator"] / "players.safetensors")

    def shown(self) -> ByteArray:
        """Return some images of every class, of the same latents' numbers in every generator."""
        drawn = drawn_evenly(
            self.sampler, self.table.schema, SHOWN, derive(self.config.seed, "shown")
        )
        return first_of_classes(drawn.images, drawn.values[ASPECT])


Found = Iterator[tuple[str, float | str]]
"""Keys with numbers, or with reasons why there is none."""


def _label_truth(of: _Measured) -> Found:
    keys = ("conditional_accuracy", "conditional_worst_class")
    if of.truth is None:
        yield from ((key, str(of.unlabelled)) for key in keys)
        return
    yield keys[0], of.truth.agreement
    yield keys[1], min(s for s in of.truth.per_class if s is not None)
    of.protocols[keys[0]] = (
        f"{len(of.minted)} generated images, {of.how.per_class} a class, none rejected; judge "
        f"{of.network.digest[:12]}"
    )


def _distances(of: _Measured) -> Found:
    features = of.network.feature_net("judge")
    inner, outer = extract(features, of.real.images), extract(features, of.minted.images)
    for name in DISTANCES:
        found = measure_features(
            METRICS.create(name),
            inner,
            outer,
            features=features,
            split="test",
            seed=of.config.seed,
        )
        of.protocols[name] = found.protocol.text()
        if found.value is None or found.floor is None:
            yield from ((key, str(found.refused)) for key in GIVES.get(name, (name,)))
            continue
        for key, value in found.value.items():
            if not key.startswith(f"{name}_"):
                yield key, value
                yield f"{key}_floor", found.floor[key]


def _divergences(of: _Measured) -> Found:
    if of.unlabelled:
        yield "divergence", of.unlabelled
    else:
        yield "divergence", divergence_bound(of.judged, of.claimed).bound
    reason = classifier_refusal(of.config.gan)
    if reason is not None:
        yield "divergence_own", reason
    else:
        own = of.trained.class_probabilities(of.minted.images, ASPECT)
        yield "divergence_own", divergence_bound(own, of.claimed).bound


def _varied(of: _Measured) -> Found:
    how = of.how
    if of.unlabelled:
        keys = (f"{place}_{name}" for place in ("within", "between") for name in IMAGE_MEASURES)
        yield from ((key, of.unlabelled) for key in keys)
        return
    yield from _diversity(how, of.minted.images, of.claimed, of.config.seed).items()
    of.protocols["within_mse"] = (
        f"{how.pairs} pairs of {how.diverse_per_class} images of each class, within and between "
        "classes each"
    )


def _learnt(of: _Measured) -> Found:
    """A network that learns from generated images alone, scored on real ones (CAS, TSTR)."""
    if of.unlabelled:
        yield "learnt", of.unlabelled
        return
    minted = of.minted
    source = Source(minted.images, minted.values, minted.ids, origin="minted")
    as_judge = JudgeConfig(of.how, of.config.drawn, of.config.device)
    learner = _learn(as_judge, of.table, [source], "learner")
    yield "learnt", ClassificationTask().score(learner, of.real).accuracy
    of.protocols["learnt"] = (
        f"{split_spec(of.how.task.network, 'architecture')[0]}, {of.how.task.steps} steps on {len(minted)} generated images, "
        f"policy {of.how.policy}; {len(of.real)} real test images"
    )


def _probed(of: _Measured) -> Found:
    """A linear classifier on the critic's features, before and after training."""
    reason = of.players.refusal()
    if reason is not None:
        yield "probe", reason
        yield "probe_untrained", reason
        return
    config, rows = of.config, of.rows
    taken = probed_rows(rows.train, of.how.probe_rows, config.seed)

    def accuracy(players: Players) -> float:
        inner = players.features(np.ascontiguousarray(of.table.images[taken]))
        outer = players.features(of.real.images)
        labels = of.labels
        found = linear_probe(inner, labels[taken], outer, labels[rows.test], config.seed)
        of.protocols["probe"] = (
            f"least squares with a ridge chosen on a fifth of {found.rows} real training images, "
            f"{found.width} features of the critic's last layer; {len(rows.test)} real test images"
        )
        return found.accuracy

    try:
        untrained = accuracy(of.players)
        yield "probe", accuracy(of.trained)
        yield "probe_untrained", untrained
    except AugmintError as error:
        yield "probe", error.rule + ": " + str(error.value)


def _own_classes(of: _Measured) -> Found:
    """The accuracy of the run's own classifier on real test images, and of it trained alone."""
    reason = classifier_refusal(of.config.gan)
    if reason is not None:
        yield "own_accuracy", reason
        yield "own_alone", reason
        return
    yield "own_accuracy", classifier_accuracy(of.trained, of.real.images, of.real.values[ASPECT])
    yield "own_alone", float(read_result(of.inputs["classifier"]).value["accuracy"])
    of.protocols["own_accuracy"] = (
        f"{len(of.real)} real test images; alone: the same network, start, optimiser and "
        f"augmentation, {of.config.gan.steps * of.config.gan.batch} real images and no generator"
    )


def _opened(inputs: Inputs) -> tuple[Table, Rows]:
    return Table.open(inputs["table"]), Rows.load(inputs["split"] / "rows.npz")


def _learn(config: JudgeConfig, table: Table, sources: list[Source], purpose: str) -> TrainedTask:
    how, seed = config.measures, derive(config.seed, f"compare.{purpose}")
    return ClassificationTask().train(
        how.task, table.schema, table.shape, sources, how.policy, seed, config.device
    )


def drawn_evenly(sampler: Sampler, schema: Schema, per_class: int, seed: int) -> Minted:
    """Return `per_class` generated images of every class, none rejected."""
    quotas = dict.fromkeys(range(schema[ASPECT].width), per_class)
    return mint(sampler, None, schema, quotas, CurationConfig(), seed, progress=False)


def _diversity(how: Measures, images: ByteArray, labels: IntArray, seed: int) -> dict[str, float]:
    rows = first_rows(labels, how.diverse_per_class)
    found = pairwise_diversity(np.asarray(images)[rows], labels[rows], how.pairs, seed)
    return {f"{k}_{m}": value for k, values in found.items() for m, value in values.items()}


def first_rows(labels: IntArray, n: int) -> IntArray:
    """Return the first n rows of each class, sorted by class.

    Example:
        >>> first_rows(np.array([1, 0, 1, 1, 0]), 2).tolist()
        [1, 4, 0, 2]
    """
    return np.concatenate([np.flatnonzero(labels == c)[:n] for c in np.unique(labels)])


def first_of_classes(images: ByteArray, labels: IntArray, n: int = SHOWN) -> ByteArray:
    """Return n images of each class, class by class, repeated where a class has fewer."""
    rows = [np.resize(np.flatnonzero(labels == c), n) for c in np.unique(labels)]
    return np.ascontiguousarray(np.asarray(images)[np.concatenate(rows)])


def probed_rows(train: IntArray, most: int, seed: int) -> IntArray:
    """Return the training rows that a linear classifier learns from."""
    return np.sort(train[permutation(seed, "probe.rows", len(train))[:most]])

"""The stages of a comparison of generators: judge, reference, generator, classifier, measures.

Those of networks that read annotations are in `reading`.

Like all stages they are pure functions `(config, inputs, folder, work) -> value`; the inputs are
the table and committed folders. Numbers are flat, by the keys of `measured.MEASURES`; what cannot
be measured stands under `refused` with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from augmint.aspects.base import Schema
from augmint.aspects.category import LABEL
from augmint.core.errors import AugmintError, TrainingDivergedError
from augmint.core.registry import METRICS, split_spec
from augmint.core.streams import derive, permutation
from augmint.metrics.base import extract, measure_features
from augmint.metrics.image import MEASURES as IMAGE_MEASURES
from augmint.metrics.image import pairwise_diversity
from augmint.metrics.labels import LabelTruth, label_truth
from augmint.metrics.requests import answers, mean_pair_difference
from augmint.minting.bundle import Bundle
from augmint.minting.curation import CurationConfig, Minted, class_names, mint
from augmint.studies import steps
from augmint.studies.critics import (
    Players,
    classifier_accuracy,
    classifier_refusal,
    save_players,
    train_classifier,
)
from augmint.studies.judging import DISTANCES
from augmint.studies.materials import minted_source, real_source, strata_of
from augmint.studies.measured import Measures
from augmint.studies.probing import divergence_bound, linear_probe
from augmint.studies.reading import (
    DRAWN,
    ERRORS,
    JUDGE,
    Reading,
    ReadingConfig,
    claimed,
    labelled,
    network_of,
    readable,
    reader_role,
)
from augmint.studies.rows import Rows, judge_rows, opened
from augmint.studies.showing import drawn, rows_of_classes, shown_of
from augmint.studies.stages import read_result
from augmint.studies.steps import Inputs, Value, training_images
from augmint.tasks.classification import ClassificationTask
from augmint.tasks.rows import RealRows, Source
from augmint.tasks.trained import TrainedTask
from augmint.training.config import GanConfig
from augmint.training.joint import asked

if TYPE_CHECKING:
    from augmint.core.types import ByteArray, FloatArray, IntArray, Sampler
    from augmint.data.table import Table

GIVES = {"precision-recall-density-coverage": ("precision", "recall", "density", "coverage")}
"""Metrics whose numbers have names of their own."""


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


def judge(config: JudgeConfig, inputs: Inputs, folder: Path, work: Path) -> Value:
    """Train the judge on real images that no generator sees."""
    table, rows = opened(inputs)
    own = judge_rows(rows)
    trained = _learn(config, table, [real_source(table, own)], "judge")
    trained.save(folder / JUDGE)
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
    table, rows = opened(inputs)
    real, labels = RealRows.of(table, rows.test), table.strata()[rows.test]
    classes = LABEL in table.schema
    found = _diversity(config.measures, real.images, labels, config.seed, classes)
    value: Value = {"numbers": found}
    if classes:
        value = _reference_of_classes(config, inputs, table, rows, value)
    np.save(folder / "shown.npy", np.ascontiguousarray(real.images[rows_of_classes(labels)]))
    return value


def _reference_of_classes(
    config: JudgeConfig, inputs: Inputs, table: Table, rows: Rows, value: Value
) -> Value:
    """Add what needs classes: real images' divergence, learning from them, reading their pixels."""
    how, real = config.measures, RealRows.of(table, rows.test)
    network = TrainedTask.load(inputs["judge"] / JUDGE, config.device)
    learner = _learn(config, table, [real_source(table, rows.train)], "learner")
    numbers = {"learnt": ClassificationTask().score(learner, real).accuracy, **value["numbers"]}
    probabilities = network.probabilities(real.images)
    numbers["divergence"] = divergence_bound(probabilities, real.values[LABEL]).bound
    taken = probed_rows(rows.train, how.probe_rows, config.seed)
    flat = [np.asarray(table.images[r]).reshape(len(r), -1) / 255.0 for r in (taken, rows.test)]
    labels = table.labels()
    found = linear_probe(flat[0], labels[taken], flat[1], labels[rows.test], config.seed)
    numbers["probe"] = found.accuracy
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
    table, rows = opened(inputs)
    data = training_images(table, rows.train)
    alone = train_classifier(config.gan, data, table.schema, config.seed, config.device)
    save_players(alone.game, folder / "players.safetensors")
    real = RealRows.of(table, rows.test)
    accuracy = classifier_accuracy(alone, real.images, real.values[LABEL])
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
    table, rows = opened(inputs)
    found = _Measured(config, table, rows, inputs)
    numbers, refused = dict[str, float](), dict[str, str]()
    for group in (*(OF_CLASSES if LABEL in table.schema else ()), *OF_ALL):
        for key, value in group(found):
            if isinstance(value, str):
                refused[key] = value
            else:
                numbers[key] = float(value)
    found.show(folder)
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
        self.how, self.labels = config.measures, table.strata()
        self.network = TrainedTask.load(inputs["judge"] / JUDGE, config.device)
        self.real = RealRows.of(table, rows.test)
        self.sampler = Bundle.open(inputs["generator"] / "bundle").sampler(config.device)
        self.minted = drawn_evenly(
            self.sampler, table.schema, config.measures.per_class, config.drawn
        )
        self.carries = claimed(config.gan, table.schema)
        self.unlabelled = (
            None if LABEL in self.carries else "the generator is not asked for classes"
        )
        self.claimed = strata_of(self.minted)
        self.protocols: dict[str, str] = {}

    @cached_property
    def judged(self) -> FloatArray:
        """What the judge says of the classes of generated images."""
        return self.network.probabilities(self.minted.images)

    @cached_property
    def truth(self) -> LabelTruth | None:
        """Whether they are the classes asked for; None where none was."""
        return None if self.unlabelled else label_truth(self.judged, self.claimed)

    @cached_property
    def players(self) -> Players:
        """The networks that trained the generator, as they were at its start."""
        return self._built()

    @cached_property
    def trained(self) -> Players:
        """The networks that trained the generator, as they were at its end."""
        return self._built().load(self.inputs["generator"] / "players.safetensors")

    def _built(self) -> Players:
        c, table = self.config, self.table
        return Players.build(c.gan, table.schema, table.shape, c.own_seed, c.device)

    def show(self, folder: Path) -> None:
        """Write some images of every class, of the same latents' numbers in every generator."""
        schema = self.table.schema
        many = shown_of(len(self.table.strata_names()))
        shown = drawn_evenly(self.sampler, schema, many, derive(self.config.seed, "shown"))
        rows = rows_of_classes(strata_of(shown))
        images = np.ascontiguousarray(shown.images[rows])
        np.save(folder / "shown.npy", images)
        told = [a for a in schema if a.spatial and a.name in self.carries]
        if told:
            values = {a.name: shown.values[a.name][rows] for a in told}
            np.save(folder / DRAWN, np.stack([drawn(a, images, values[a.name]) for a in told]))


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
    reason = classifier_refusal(of.config.gan, of.table.schema)
    if reason is not None:
        yield "divergence_own", reason
    else:
        own = of.trained.class_probabilities(of.minted.images, LABEL)
        yield "divergence_own", divergence_bound(own, of.claimed).bound


def _varied(of: _Measured) -> Found:
    how, apart = of.how, of.unlabelled is None
    yield from _diversity(how, of.minted.images, of.claimed, of.config.seed, apart).items()
    of.protocols["any_mse"] = f"{how.pairs} pairs of generated images"
    if apart:
        of.protocols["within_mse"] = (
            f"{how.pairs} pairs of {how.diverse_per_class} images of each class, within and "
            "between classes each"
        )
        return
    keys = (f"{place}_{name}" for place in ("within", "between") for name in IMAGE_MEASURES)
    yield from ((key, str(of.unlabelled)) for key in keys)


def _learnt(of: _Measured) -> Found:
    """A network that learns from generated images alone, scored on real ones (CAS, TSTR)."""
    if of.unlabelled:
        yield "learnt", of.unlabelled
        return
    minted = of.minted
    as_judge = JudgeConfig(of.how, of.config.drawn, of.config.device)
    learner = _learn(as_judge, of.table, [minted_source(minted)], "learner")
    yield "learnt", ClassificationTask().score(learner, of.real).accuracy
    of.protocols["learnt"] = (
        f"{split_spec(of.how.task.network, 'architecture')[0]}, {of.how.task.steps} steps on "
        f"{len(minted)} generated images, policy {of.how.policy}; {len(of.real)} real test images"
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
    reason = classifier_refusal(of.config.gan, of.table.schema)
    if reason is not None:
        yield "own_accuracy", reason
        yield "own_alone", reason
        return
    yield "own_accuracy", classifier_accuracy(of.trained, of.real.images, of.real.values[LABEL])
    yield "own_alone", float(read_result(of.inputs["classifier"]).value["accuracy"])
    of.protocols["own_accuracy"] = (
        f"{len(of.real)} real test images; alone: the same network, start, optimiser and "
        f"augmentation, {of.config.gan.steps * of.config.gan.batch} real images and no generator"
    )


def _claims(of: _Measured) -> Found:
    """Whether images carry the annotations they claim, and what a network learns from them."""
    c, table = of.config, of.table
    for aspect in readable(table.schema):
        name = aspect.name
        if name not in of.carries:
            why = f"its images carry no {name}: it is neither asked for nor drawn"
            yield from ((f"{key}_{name}", why) for key in ("error", "median", "ratio", "learnt"))
            continue
        place = of.inputs[reader_role(table.schema, name)]
        reading = Reading.load(place, c.device)
        real = RealRows.of(table, labelled(table, name, of.rows.test))
        found = reading.truth(of.minted, real, np.load(place / ERRORS, allow_pickle=False))
        if isinstance(found, str):
            yield from ((f"{key}_{name}", found) for key in ("error", "median", "ratio"))
        else:
            yield f"error_{name}", found.error
            yield f"median_{name}", found.median
            perfect = f"the network that reads {name} makes no error on real images"
            yield f"ratio_{name}", found.ratio if np.isfinite(found.ratio) else perfect
            of.protocols[f"error_{name}"] = reading.words(found.n)
        learner = ReadingConfig.of(c.measures, aspect, c.drawn, c.device).learn(
            table, minted_source(of.minted), "learner"
        )
        yield f"learnt_{name}", float(learner.errors(real).mean())
        of.protocols[f"learnt_{name}"] = (
            f"{learner.unit}; {network_of(learner.trained.config)}, "
            f"{learner.trained.config.steps} steps on {len(of.minted)} generated images with what "
            f"they claim, policy {c.measures.policy}; {len(real)} real test images"
        )


def _requested(of: _Measured) -> Found:
    """The diversity of images of one request, where more than a class is asked for."""
    how, schema = of.how, asked(of.config.gan, of.table.schema)
    names = [a.name for a in schema if a.name in of.carries]
    if not set(names) - {LABEL}:
        yield "request_mse", "no annotation is asked of the generator"
        return
    rows = permutation(of.config.seed, "compare.requests", len(of.real))[: how.requests]
    targets = {n: torch.as_tensor(of.real.values[n][rows]) for n in names}
    seed = derive(of.config.drawn, "compare.requests")
    found = answers(of.sampler, targets, how.each, seed)
    yield "request_mse", float(np.mean([mean_pair_difference(images) for _, images in found]))
    of.protocols["request_mse"] = (
        f"all pairs of {how.each} images that are asked for {', '.join(names)} of one real test "
        f"image, mean over {len(rows)} of them"
    )


OF_CLASSES = (_label_truth, _divergences, _learnt, _probed, _own_classes)
"""What needs a set with classes."""

OF_ALL = (_distances, _varied, _claims, _requested)


def _learn(config: JudgeConfig, table: Table, sources: list[Source], purpose: str) -> TrainedTask:
    how, seed = config.measures, derive(config.seed, f"compare.{purpose}")
    return ClassificationTask().train(
        how.task, table.schema, table.shape, sources, how.policy, seed, config.device
    )


def drawn_evenly(sampler: Sampler, schema: Schema, per_class: int, seed: int) -> Minted:
    """Return `per_class` generated images of every class, or in all of none; none is rejected.

    Example:
        >>> from types import SimpleNamespace
        >>> from augmint.aspects.category import Category
        >>> blank, label = np.zeros((9, 1, 8, 8), np.uint8), Category("label", ("cat", "dog"))
        >>> sampler = SimpleNamespace(sample=lambda wanted, ids, seed: blank[ids])
        >>> drawn_evenly(sampler, Schema((label,)), per_class=2, seed=0).values["label"].tolist()
        [0, 0, 1, 1]
    """
    classes = Schema(tuple(a for a in schema if a.name == LABEL))
    names = class_names(classes, LABEL)
    quotas = dict.fromkeys(range(len(names)), per_class)
    return mint(sampler, None, classes, quotas, CurationConfig(), seed, progress=False)


def _diversity(
    how: Measures, images: ByteArray, labels: IntArray, seed: int, apart: bool
) -> dict[str, float]:
    """Return the means over any pairs of images; `apart`: also within and between classes."""
    rows = first_rows(labels, how.diverse_per_class)
    taken, of = np.asarray(images)[rows], labels[rows]
    found = dict(pairwise_diversity(taken, of, how.pairs, seed)) if apart else {}
    found["any"] = pairwise_diversity(taken, np.zeros_like(of), how.pairs, seed).get("within", {})
    return {f"{k}_{m}": value for k, values in found.items() for m, value in values.items()}


def first_rows(labels: IntArray, n: int) -> IntArray:
    """Return the first n rows of each class, sorted by class.

    Example:
        >>> first_rows(np.array([1, 0, 1, 1, 0]), 2).tolist()
        [1, 4, 0, 2]
    """
    return np.concatenate([np.flatnonzero(labels == c)[:n] for c in np.unique(labels)])


def probed_rows(train: IntArray, most: int, seed: int) -> IntArray:
    """Return the training rows that a linear classifier learns from.

    Example:
        >>> found = probed_rows(np.arange(100, 200), most=5, seed=0)
        >>> len(found), bool((np.diff(found) > 0).all())
        (5, True)
    """
    return np.sort(train[permutation(seed, "probe.rows", len(train))[:most]])

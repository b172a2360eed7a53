"""What recipes of conditional generators measure: label truth, distance, diversity."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from augmint.core.registry import METRICS, TASKS, Spec
from augmint.core.streams import derive
from augmint.metrics.base import FeatureMetric, measure
from augmint.metrics.image import pairwise_diversity
from augmint.metrics.labels import label_truth
from augmint.minting.curation import Minted
from augmint.studies.comparing import first_rows
from augmint.tasks.base import RealRows, Source, Task, TaskConfig

if TYPE_CHECKING:
    from augmint.core.types import IntArray
    from augmint.data.table import Table
    from augmint.tasks.trained import TrainedTask


@dataclass(frozen=True)
class Measuring:
    """How a conditional generator is measured.

    Args:
        judge: the independent classifier, trained on real images alone.
        policy: its augmentation.
        per_class: generated images of each class.
        diverse_per_class: of which so many, of each class, are compared in pairs.
        pairs: pairs compared, within and between classes each.
    """

    judge: TaskConfig = field(default_factory=TaskConfig)
    policy: Spec = "affine"
    per_class: int = 1000
    diverse_per_class: int = 80
    pairs: int = 2000


Numbers = dict[str, float | None]


def train_judge(
    config: Measuring, table: Table, train: IntArray, seed: int, device: str
) -> TrainedTask:
    """Return a classifier of the category "label", trained on real rows alone."""
    task: Task = TASKS.create("classification")
    values = {name: v[train] for name, v in table.values.items()}
    source = Source(np.ascontiguousarray(table.images[train]), values, train)
    return task.train(
        config.judge,
        table.schema,
        table.shape,
        [source],
        config.policy,
        derive(seed, "recipe.judge"),
        device,
    )


def measure_generator(
    config: Measuring,
    judge: TrainedTask,
    minted: Minted,
    real: RealRows,
    seed: int,
) -> tuple[Numbers, dict[str, str]]:
    """Return numbers and, by the same names, the protocol of each or why it was refused.

    `conditional_accuracy`: share of generated images that the judge assigns to the class asked
    for, and the worst class'; `judge_accuracy`: the judge on the real test images; `frechet`,
    `kid`: distance to the test images on the judge's features, beside the floor of real half
    against real half; `within_*`, `between_*`: mean over pairs of images of one or of two classes,
    generated beside real.
    """
    numbers: Numbers = {}
    protocols: dict[str, str] = {}
    labels = minted.values["label"]
    truth = label_truth(judge.probabilities(minted.images), labels)
    numbers["conditional_accuracy"] = truth.agreement
    shares = [s for s in truth.per_class if s is not None]
    numbers["conditional_accuracy_worst_class"] = min(shares)
    numbers["claimed_probability"] = truth.claimed_probability
    task: Task = TASKS.create("classification")
    numbers["judge_accuracy"] = task.score(judge, real).accuracy
    told = f"judge {judge.digest[:12]} trained on real images, {len(labels)} generated images"
    protocols["conditional_accuracy"] = told
    protocols["judge_accuracy"] = f"{len(real)} real test images"
    features = judge.feature_net("judge")
    for name in ("frechet", "kid"):
        metric: FeatureMetric = METRICS.create(name)
        found = measure(metric, real.images, minted.images, features, split="test", seed=seed)
        value, floor = found.value or {}, found.floor or {}
        numbers[name] = value.get(name)
        numbers[f"{name}_floor"] = floor.get(name)
        text = found.protocol.text()
        protocols[name] = f"refused: {found.refused}; {text}" if found.refused else text
        if numbers[f"{name}_floor"] is None:
            protocols[f"{name}_floor"] = protocols[name] if found.refused else f"refused; {text}"
    return numbers | _diversity(config, minted, real, seed), protocols


def _diversity(config: Measuring, minted: Minted, real: RealRows, seed: int) -> Numbers:
    numbers: Numbers = {}
    for side, images, labels in (
        ("generated", minted.images, minted.values["label"]),
        ("real", real.images, real.values["label"]),
    ):
        rows = first_rows(labels, config.diverse_per_class)
        found = pairwise_diversity(images[rows], labels[rows], config.pairs, seed)
        for place, values in found.items():
            numbers |= {f"{place}_{name}_{side}": value for name, value in values.items()}
    return numbers

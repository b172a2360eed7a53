"""Which weights of a generator mint: the last, or the best of those kept along the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from augmint.core.registry import METRICS
from augmint.core.runs import load_tensors, tensors_digest
from augmint.core.streams import derive, permutation
from augmint.metrics.base import extract, measure_features
from augmint.minting.bundle import Bundle
from augmint.studies.stages import read_result
from augmint.studies.tuning import LAST, CheckpointRule

if TYPE_CHECKING:
    from torch import Tensor

    from augmint.tasks.rows import RealRows
    from augmint.tasks.trained import TrainedTask

COMPARED = 1000
"""Training images, and as many generated ones, that a kernel distance is taken on, at most."""


def bundle_at(generator: Path, step: int) -> Bundle:
    """Return the bundle of a generator's stage with the weights of a step that it kept."""
    bundle = Bundle.open(generator / "bundle")
    snapshot = generator / f"snapshot-{step:08d}.safetensors"
    if not snapshot.is_file():
        return bundle
    bundle.generator.load_state_dict(load_tensors(snapshot)[0])
    facts = {**bundle.provenance, "step": step}
    facts["generator"] = tensors_digest(bundle.generator.state_dict())
    return replace(bundle, provenance=facts)


def checkpoint_of(
    rule: CheckpointRule,
    generator: Path,
    judge: TrainedTask,
    real: RealRows,
    seed: int,
    device: str = "cpu",
) -> tuple[int, dict[str, float]]:
    """Return the step whose weights mint, and the kernel distance of each step compared.

    Args:
        rule: "last" compares nothing.
        generator: the folder of the generator's stage.
        judge: gives the features.
        real: the training images; as many are generated, of the same classes.
        seed: of the subset and of the images compared.
        device: where images are made.
    """
    last = int(read_result(generator).value["step"])
    kept = [int(p.stem.partition("-")[2]) for p in sorted(generator.glob("snapshot-*"))]
    if rule == LAST or not kept:
        return last, {}
    rows = np.sort(permutation(seed, "checkpoint.rows", len(real))[:COMPARED])
    features = judge.feature_net("curating judge")
    inner = extract(features, real.images[rows])
    metric, found = METRICS.create("kid"), dict[int, float]()
    for step in (*kept, last):
        sampler = bundle_at(generator, step).sampler(device)
        labels = {name: _tensor(column[rows]) for name, column in real.values.items()}
        images = sampler.sample(labels, np.arange(len(rows)), derive(seed, "checkpoint"))
        measured = measure_features(
            metric, inner, extract(features, images), features=features, split="train", seed=seed
        )
        if measured.value is None:
            return last, {}
        found[step] = float(measured.value["kid"])
    best = min(found, key=lambda step: (found[step], -step))
    return best, {str(step): value for step, value in found.items()}


def _tensor(column: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(column))

"""One network of the classifier recipe, trained and scored: a stage."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from augmint.core.registry import Spec
from augmint.core.streams import scope
from augmint.studies.rows import Rows, SplitConfig, draw, seed_of
from augmint.tasks.base import RealRows, TaskConfig

if TYPE_CHECKING:
    from torch import nn

    from augmint.core.types import FloatArray
    from augmint.data.table import Table

PROBABILITIES = "probabilities.npz"


@dataclass(frozen=True)
class Training:
    """How every network is trained.

    Args:
        steps, batch, learning_rate, weight_decay: as of a task; AdamW, one cycle.
        policy: augmentation of every batch.
        readings: how often the loss on validation images is taken.
    """

    steps: int = 1500
    batch: int = 64
    learning_rate: float = 5e-3
    weight_decay: float = 1e-2
    policy: Spec = "none"
    readings: int = 30

    def task(self) -> TaskConfig:
        """Return the task of these numbers.

        Its network is not built; it is one of ours that runs channels-last, as all here do.
        """
        return TaskConfig(
            network="small-cnn",
            steps=self.steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
        )


@dataclass(frozen=True)
class RunConfig:
    """One training.

    Args:
        network: a description, as `Network.to_json` gives it.
        training: the same for all networks.
        split: which images, by the repetition.
        device: "cpu" or "cuda".
    """

    network: Mapping[str, Any]
    training: Training
    split: SplitConfig
    device: str = "cpu"


def rows_of(table: Table, split: SplitConfig) -> tuple[Rows, RealRows, RealRows]:
    """Return the rows of a repetition, its validation images and the test images.

    `Rows.test` holds the validation rows here; test rows are those of the set or, where it has
    none, the same share in every repetition.
    """
    from augmint.studies.rows import test_rows

    rows = draw(table, split)
    _, test = test_rows(table, split)
    return rows, RealRows.of(table, rows.test), RealRows.of(table, test)


def train_network(
    config: RunConfig, inputs: dict[str, Path], folder: Path, work: Path
) -> dict[str, Any]:
    """Train a network on the images of its repetition; keep losses, scores and probabilities.

    All networks of a repetition see the same images in the same order.
    """
    import torch

    from augmint.data.table import Table
    from augmint.merging.build import build
    from augmint.merging.network import Network
    from augmint.studies.materials import real_source
    from augmint.tasks.phase import TaskPhase
    from augmint.tasks.trained import TrainedTask
    from augmint.training.loop import run_phases
    from augmint.training.recorder import Recorder

    table = Table.open(inputs["table"])
    rows, validation, test = rows_of(table, config.split)
    seed, settings = seed_of(config.split.seed, config.split.index), config.training
    with scope(seed, "task.init"):
        network = build(Network.from_json(config.network))
    network = network.to(config.device).train()
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    recorder, readings = Recorder(1), _Readings(network, validation, settings, config.device)
    sources = [real_source(table, rows.train)]
    phase = TaskPhase.of(network, settings.task(), table.schema, sources, settings.policy, seed)
    phase.after.append(readings)
    start = time.process_time()
    with scope(seed, "task.dropout"):
        run_phases([phase], settings.steps, recorder=recorder)
    seconds = time.process_time() - start
    trained = TrainedTask(network.eval(), settings.task(), table.schema, table.shape, config.device)
    parts = {"validation": validation, "test": test}
    found = {name: trained.probabilities(real.images) for name, real in parts.items()}
    np.savez(folder / PROBABILITIES, validation=found["validation"], test=found["test"])
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "train": len(rows.train),
        **{name: accuracy(p, parts[name]) for name, p in found.items()},
        "losses": [round(float(h["loss/network"]), 6) for h in recorder.history],
        "validation_losses": readings.losses,
        "processor_seconds": round(seconds, 3),
    }


def accuracy(probabilities: FloatArray, real: RealRows) -> float:
    """Return the share of real images whose class is the most probable, the first of equals."""
    return float((probabilities.argmax(1) == np.asarray(real.values["label"])).mean())


@dataclass
class _Readings:
    """A hook that takes the mean cross-entropy on validation images at even intervals."""

    network: nn.Module
    real: RealRows
    settings: Training
    device: str
    losses: list[float] = field(default_factory=list)

    def __call__(self, step: int) -> None:
        due, steps = self.settings.readings, self.settings.steps
        if step * due // steps == (step - 1) * due // steps:
            return
        import torch
        from torch.nn.functional import cross_entropy

        from augmint.core.types import to_float

        self.network.eval()
        total = 0.0
        with torch.inference_mode():
            for at in range(0, len(self.real), 256):
                images = torch.from_numpy(np.array(self.real.images[at : at + 256]))
                labels = torch.from_numpy(np.array(self.real.values["label"][at : at + 256]))
                given = to_float(images.to(self.device)).contiguous(
                    memory_format=torch.channels_last
                )
                logits = self.network(given)
                total += float(
                    cross_entropy(logits, labels.long().to(self.device), reduction="sum")
                )
        self.network.train()
        self.losses.append(round(total / len(self.real), 6))


def read_probabilities(folder: Path) -> dict[str, FloatArray]:
    """Return the probabilities of a committed stage, `(N, classes)` of "validation" and "test"."""
    with np.load(folder / PROBABILITIES, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}

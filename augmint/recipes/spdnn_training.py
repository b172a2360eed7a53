"""One network of a comparison at equal size, trained and scored, and votes of several: stages."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from augmint.core.registry import TASKS, Spec
from augmint.core.runs import load_tensors, save_tensors
from augmint.core.streams import scope
from augmint.recipes.spdnn_candidates import Candidate
from augmint.studies.rows import Rows, SplitConfig, draw, seed_of
from augmint.tasks.base import task_of
from augmint.tasks.config import TaskConfig
from augmint.tasks.rows import RealRows

if TYPE_CHECKING:
    from torch import nn

    from augmint.aspects.base import Aspect
    from augmint.data.table import Table

WEIGHTS = "network.safetensors"


@dataclass(frozen=True)
class Training:
    """How every network is trained.

    Args:
        steps, batch, learning_rate, weight_decay: as of a task; AdamW, one cycle.
        policy: augmentation of every batch.
        readings: how often the loss on validation images is taken.
        precision: "bf16" trains under autocast; scores are always taken in fp32.
    """

    steps: int = 1500
    batch: int = 64
    learning_rate: float = 5e-3
    weight_decay: float = 1e-2
    policy: Spec = "none"
    readings: int = 30
    precision: Literal["fp32", "bf16"] = "fp32"

    def task(self, kind: str) -> TaskConfig:
        """Return the task of these numbers.

        Its own network is not built; like all here it is one that runs channels-last.

        Args:
            kind: a name of the axis `tasks`.

        Example:
            >>> config = Training(steps=9).task("segmentation")
            >>> config.kind, config.steps, config.batch
            ('segmentation', 9, 64)
        """
        fields = ("steps", "batch", "learning_rate", "weight_decay", "precision")
        config: TaskConfig = TASKS.get(kind).configured(
            {"kind": kind, **{name: getattr(self, name) for name in fields}}
        )
        return config


@dataclass(frozen=True)
class Repetition:
    """What all networks of a seed share.

    Args:
        task: what is predicted, its aspect by name, and how it is learnt.
        policy: augmentation of every batch.
        readings: how often the loss on validation images is taken.
        split: which images, by the repetition.
        device: "cpu" or "cuda".
    """

    task: TaskConfig
    policy: Spec
    readings: int
    split: SplitConfig
    device: str = "cpu"

    @property
    def seed(self) -> int:
        """Of initialisation, order, augmentation and dropout."""
        return seed_of(self.split.seed, self.split.index)


@dataclass(frozen=True)
class RunConfig:
    """One training.

    Args:
        candidate: the network.
        repetition: all else.
    """

    candidate: Candidate
    repetition: Repetition


@dataclass(frozen=True)
class VoteConfig:
    """Votes of trained networks.

    Args:
        members: by the roles under which the stage is given their folders.
        repetition: in which they were trained.
    """

    members: Mapping[str, Candidate]
    repetition: Repetition


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
    """Train a network on the images of its repetition; keep its losses, scores and weights.

    All networks of a repetition see the same images in the same order.
    """
    import torch

    from augmint.data.table import Table
    from augmint.studies.materials import real_source
    from augmint.tasks.phase import TaskPhase
    from augmint.training.loop import run_phases
    from augmint.training.recorder import Recorder

    shared = config.repetition
    table = Table.open(inputs["table"])
    rows, validation, _ = rows_of(table, shared.split)
    network = config.candidate.build(shared.seed).to(shared.device).train()
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    aspect = table.schema[shared.task.aspect]
    recorder = Recorder(1)
    readings = _Readings(network, aspect, validation, shared)
    sources = [real_source(table, rows.train)]
    phase = TaskPhase.of(network, shared.task, table.schema, sources, shared.policy, shared.seed)
    phase.after.append(readings)
    start = time.process_time()
    with scope(shared.seed, "task.dropout"):
        run_phases([phase], shared.task.steps, recorder=recorder)
    seconds = time.process_time() - start
    weights = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    save_tensors(folder / WEIGHTS, weights)
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "train": len(rows.train),
        **scored(network, shared, table),
        "losses": [round(float(h["loss/network"]), 6) for h in recorder.history],
        "validation_losses": readings.losses,
        "processor_seconds": round(seconds, 3),
    }


def vote(config: VoteConfig, inputs: dict[str, Path], folder: Path, work: Path) -> dict[str, Any]:
    """Score the mean of the probabilities that trained networks give."""
    from augmint.data.table import Table
    from augmint.recipes.spdnn_votes import Votes

    shared = config.repetition
    members = [trained(m, shared, inputs[role]) for role, m in config.members.items()]
    return scored(Votes(members).eval(), shared, Table.open(inputs["table"]))


def trained(candidate: Candidate, repetition: Repetition, folder: Path) -> nn.Module:
    """Return the network that a committed training left, in evaluation mode."""
    import torch

    network = candidate.build(repetition.seed)
    network.load_state_dict(load_tensors(folder / WEIGHTS)[0])
    network = network.to(repetition.device).eval()
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def scored(network: nn.Module, repetition: Repetition, table: Table) -> dict[str, Any]:
    """Return how well a network does on images that it was not trained on.

    `validation` and `test` are the means of the task's deciding score, 1 where all is right;
    `spread` is its standard deviation over the `n` test images, and `measures` all that the task
    measures on these.
    """
    from augmint.tasks.trained import TrainedTask

    device, config = repetition.device, repetition.task
    done = TrainedTask(network.eval(), config, table.schema, table.shape, device)
    _, validation, test = rows_of(table, repetition.split)
    task = task_of(config)
    chosen, found = task.score(done, validation), task.score(done, test)
    return {
        "validation": float(chosen.per_image.mean()),
        "test": float(found.per_image.mean()),
        "spread": float(found.per_image.std()),
        "n": len(test),
        "measures": numbers(found.plain()),
    }


def numbers(plain: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a score by name; those of parts by a dotted one, lists left out.

    `per_class` is taken apart by the names of the classes.

    Example:
        >>> numbers({"a": 0.5, "per_class": [1.0, None], "classes": ["x", "y"], "p": {"q": 2}})
        {'a': 0.5, 'p.q': 2.0, 'per_class.x': 1.0}
    """
    found: dict[str, float] = {}
    for name, value in plain.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{k}": v for k, v in numbers(value).items()}
        elif isinstance(value, int | float):
            found[name] = float(value)
    named = zip(plain.get("classes", ()), plain.get("per_class", ()), strict=True)
    return found | {f"per_class.{name}": float(v) for name, v in named if v is not None}


@dataclass
class _Readings:
    """A hook that takes the loss on validation images at even intervals.

    It is the mean cross-entropy of all that is labelled, images or pixels.
    """

    network: nn.Module
    aspect: Aspect
    real: RealRows
    shared: Repetition
    losses: list[float] = field(default_factory=list)

    def __call__(self, step: int) -> None:
        due, steps = self.shared.readings, self.shared.task.steps
        if step * due // steps == (step - 1) * due // steps:
            return
        import torch
        from torch.nn.functional import cross_entropy

        from augmint.core.types import to_float

        void = getattr(self.aspect, "void", None)
        ignored = -1 if void is None else void
        self.network.eval()
        total, count = 0.0, 0
        with torch.inference_mode():
            for at in range(0, len(self.real), 256):
                images = torch.from_numpy(np.array(self.real.images[at : at + 256]))
                truth = np.array(self.real.values[self.aspect.name][at : at + 256])
                values = torch.from_numpy(truth).long().to(self.shared.device)
                given = to_float(images.to(self.shared.device)).contiguous(
                    memory_format=torch.channels_last
                )
                logits = self.network(given)
                total += float(cross_entropy(logits, values, reduction="sum", ignore_index=ignored))
                count += int((truth != ignored).sum())
        self.network.train()
        self.losses.append(round(total / count, 6))

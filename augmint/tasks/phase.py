"""How any network is trained on any aspect: AdamW with a one-cycle rate,
batches of exact shares."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from augmint.core.registry import AUGMENTERS, Spec
from augmint.core.streams import scope, stream
from augmint.core.types import to_float
from augmint.tasks.config import TaskConfig
from augmint.tasks.rows import Source
from augmint.tasks.sampling import SamplingPlan
from augmint.tasks.trained import TrainedTask, at_size, gathered, joined, memory_format
from augmint.training.loop import run_phases
from augmint.training.phases import Group, Phase

if TYPE_CHECKING:
    from augmint.aspects.base import Schema
    from augmint.augmentation.base import ExpertAugmenter
    from augmint.core.types import Logs, Shape


@dataclass(frozen=True)
class OneCycle:
    """A rate that rises and falls once, each way along half a cosine (Smith and Topin 2017, arXiv
    1708.07120).

    `rate(s) = a + (b - a) (1 - cos(pi u)) / 2`, from peak / 25 to the peak over the first
    `rise` of the steps, then to peak / 250000; u runs from 0 to 1 in each part.

    Args:
        peak: the highest rate.
        steps: of the run, at least 1.
        rise: share of the steps before the peak, 0 to 1.

    Example:
        >>> cycle = OneCycle(1.0, 101, rise=0.3)
        >>> [round(cycle(s), 3) for s in (0, 30, 100)]
        [0.04, 1.0, 0.0]
    """

    peak: float
    steps: int
    rise: float = 0.3
    start: ClassVar[float] = 1.0 / 25.0
    end: ClassVar[float] = 1.0 / 250_000.0

    def __call__(self, step: int) -> float:
        """Return the rate of a step; the first is 0."""
        top = self.rise * self.steps - 1.0
        last = max(self.steps - 1.0, 1.0)
        if step <= top:
            return self._between(self.start, 1.0, step / top if top > 0 else 1.0)
        return self._between(1.0, self.end, (step - top) / (last - top))

    def _between(self, low: float, high: float, share: float) -> float:
        return self.peak * (low + (high - low) * (1.0 - math.cos(math.pi * share)) / 2.0)


@dataclass
class TaskPhase(Phase):
    """One step: rows by the plan, one augmentation of the whole batch, the aspect's loss.

    Args:
        network: is trained.
        images: uint8, all sources joined, on the device.
        labels: stored values of the aspect, all sources joined, at the stored size.
        plan: rows of every step.
        augmenter: applied to every batch.
        schema: of the aspects.
        config: of the task.
        seed: of the augmentation's stream.
        stream_name: suffix of its name.
    """

    network: nn.Module = field(kw_only=True)
    images: Tensor = field(kw_only=True)
    labels: Tensor = field(kw_only=True)
    plan: SamplingPlan = field(kw_only=True)
    augmenter: ExpertAugmenter = field(kw_only=True)
    schema: Schema = field(kw_only=True)
    config: TaskConfig = field(kw_only=True)
    seed: int = field(kw_only=True)
    stream_name: str = field(kw_only=True, default="")

    def __post_init__(self) -> None:
        self.layout = memory_format(self.config)
        self.rate = OneCycle(self.config.learning_rate, self.config.steps)

    @classmethod
    def of(
        cls,
        network: nn.Module,
        config: TaskConfig,
        schema: Schema,
        sources: Sequence[Source],
        augmenter: Spec,
        seed: int,
        stream_name: str = "",
    ) -> TaskPhase:
        """Return the phase that trains a network, where its parameters lie, by AdamW."""
        parameters = [p for p in network.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(
            parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        sizes, shares = [len(s) for s in sources], [s.share for s in sources]
        device = str(parameters[0].device)
        return cls(
            "task",
            [Group("network", parameters, optimiser)],
            network=network,
            images=joined([s.images for s in sources], config.size, device),
            labels=gathered([s.values for s in sources], config.aspect, device),
            plan=SamplingPlan.make(sizes, shares, config.batch, config.steps, seed, stream_name),
            augmenter=AUGMENTERS.create(augmenter),
            schema=schema,
            config=config,
            seed=seed,
            stream_name=stream_name,
        )

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Return augmented float images and the aspect's (perhaps soft) values; 0 is the first.

        Images have the size that the network sees, values the one that they are stored at: a
        coordinate map is normalised, so that it moves both alike.
        """
        device = self.images.device
        rows = torch.from_numpy(self.plan.rows(step)).to(device, non_blocking=True)
        # keyed by the place in the batch: an image that comes twice is augmented in two ways
        draws = stream(self.seed, f"task.augment{self.stream_name}", step, len(rows))
        values = {self.config.aspect: self.labels[rows]}
        images, values_out = self.augmenter(to_float(self.images[rows]), values, self.schema, draws)
        return images.contiguous(memory_format=self.layout), values_out[self.config.aspect]

    def losses(self, step: int) -> tuple[Mapping[str, Tensor], Logs]:
        """Return the mean loss of the batch of a step; 1 is the first, as the loop counts."""
        group = self.groups[0]
        for parameters in group.optimiser.param_groups:
            parameters["lr"] = self.rate(step - 1)
        images, values = self.batch(step - 1)
        half = self.config.precision == "bf16"
        with torch.autocast(images.device.type, torch.bfloat16) if half else nullcontext():
            prediction = self.network(images)
        aspect = self.schema[self.config.aspect]
        prediction = prediction.float() if half else prediction
        if not aspect.flat:
            prediction = at_size(prediction, (values.shape[-2], values.shape[-1]))
        return {group.name: aspect.loss(prediction, values).mean()}, {}


def train_network(
    network: nn.Module,
    config: TaskConfig,
    schema: Schema,
    shape: Shape,
    sources: Sequence[Source],
    augmenter: Spec,
    seed: int,
    stream_name: str = "",
) -> TrainedTask:
    """Train a network where it lies, and return it as the rest of the package sees it.

    Args:
        network: freshly initialised, in training mode.
        config: of the task; `aspect` is the name of one of the schema.
        schema: the aspects; one that learns its scale has learnt it.
        shape: (C, H, W) of the stored images.
        sources: what each batch is composed of, by shares.
        augmenter: applied to every batch.
        seed: of order, augmentation and dropout.
        stream_name: suffix of the names of their streams.
    """
    phase = TaskPhase.of(network, config, schema, sources, augmenter, seed, stream_name)
    with scope(seed, f"task.dropout{stream_name}"):
        result = run_phases([phase], config.steps)
    views = [
        {"origin": s.origin, "images": len(s), "views": v}
        for s, v in zip(sources, phase.plan.views([len(s) for s in sources]), strict=True)
    ]
    device = str(next(network.parameters()).device)
    return TrainedTask(network.eval(), config, schema, shape, device, result.history, views)

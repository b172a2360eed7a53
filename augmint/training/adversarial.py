"""The frame of every adversarial run: exact resumption, guard, clock, and what it became."""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from augmint.aspects.base import Schema
from augmint.conditioning.base import ConditioningContext
from augmint.core.config import fingerprint
from augmint.core.errors import TrainingDivergedError
from augmint.core.machine import resolve_device
from augmint.core.progress import Progress
from augmint.core.registry import CONDITIONING
from augmint.core.runs import EventLog, lock_folder, tensors_digest
from augmint.core.streams import permutation, scope, stream
from augmint.core.types import Shape, to_float, to_uint8
from augmint.metrics.frechet import frechet
from augmint.training.averaging import Average
from augmint.training.batches import Batches, TrainingImages
from augmint.training.checkpointer import Checkpointer
from augmint.training.config import GanConfig
from augmint.training.game import call
from augmint.training.guard import Guard, GuardRules, batch_diversity
from augmint.training.joint import Joint, context_of
from augmint.training.loop import LoopResult, run_phases
from augmint.training.phases import Group, Phase
from augmint.training.recorder import Recorder
from augmint.training.sketch import sketch
from augmint.training.state import DictPart, ModulePart, OptimiserPart, Part, Parts

if TYPE_CHECKING:
    from augmint.core.types import ByteImages
    from augmint.training.team import Team

SKETCHED = 512
"""Generated images of which the guard takes a distance to the real ones."""


@dataclass(frozen=True)
class TrainedGan:
    """A trained generator and all that sampling from it needs.

    Args:
        generator: the averaged weights, in evaluation mode, without gradients.
        generator_digest: SHA-256 of its parameters and buffers.
        config, shape, context: what it was trained with and on; the context's shape has the
            channels of what is drawn with the image.
        schema: the aspects that its images carry, fitted to the training values.
        logs: means of losses and the like, one mapping an interval.
        events: what the guard did.
        images_shown: real images shown, repeats counted.
        seconds: spent in training, over all resumptions.
        processor_seconds: of this process, over all its threads, likewise.
        step: the step whose weights these are: the last that the guard called good.
        stopped: "done", or "collapsed".
    """

    generator: nn.Module
    generator_digest: str
    config: GanConfig
    schema: Schema
    shape: Shape
    context: ConditioningContext
    logs: list[dict[str, float]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    images_shown: int = 0
    seconds: float = 0.0
    processor_seconds: float = 0.0
    step: int = 0
    stopped: str = "done"


class AdversarialTraining(ABC):
    """A run of phases against a guard, exactly resumable; subclasses say what is trained.

    A subclass sets `average`, `groups` and `phases` in its constructor and ends that with `_begin`.

    Args:
        config: how the generator is built, asked and sampled, and for how long it is trained.
        data: the training split.
        schema: the aspects that generated images carry.
        seed: of everything random.
        folder: for checkpoints and events; None keeps none.
        device: "auto", "cpu" or "cuda".
        team: the processes that share the run, if several do.
    """

    title: ClassVar[str]
    """What the progress bar calls the run."""
    slower: ClassVar[str]
    """How its critic is slowed down, as an error advises."""

    average: Average
    groups: dict[str, Group]
    phases: Sequence[Phase]

    def __init__(
        self,
        config: GanConfig,
        data: TrainingImages,
        schema: Schema,
        seed: int,
        folder: Path | None,
        device: str,
        team: Team | None = None,
    ) -> None:
        for aspect in schema:
            aspect.check(data.values[aspect.name])
        self.gan, self.shape, self.seed = config, data.shape, seed
        self.folder, self.team = folder, team
        self.schema = schema.fitted(data.values)
        self.joint = Joint.of(config, self.schema, self.shape[0])
        self.context = context_of(config, self.schema, self.shape)
        self.data = self.joint.join(data)
        self.device = resolve_device(device)
        self.share = None if team is None else team.share(config.batch)
        self.conditioning = CONDITIONING.create(config.conditioning)
        self.batches = Batches(
            self.data, self.context.schema, config, seed, self.device, self.share
        )
        self.recorder = Recorder()
        self.clock: dict[str, Any] = {"seconds": 0.0, "processor_seconds": 0.0}

    @abstractmethod
    def _plan(self) -> dict[str, Any]:
        """Return the configuration as plain data; runs of different ones share no checkpoint.

        A number of steps on which no step depends is left out: then a longer run goes on from a
        shorter one.
        """

    def _begin(
        self,
        parts: Mapping[str, Part],
        rules: GuardRules | None,
        converges: str | None = None,
        measurable: bool = True,
    ) -> None:
        """Put a guard on the run.

        Args:
            parts: what a checkpoint holds besides the average and the optimisers.
            rules: of the guard; None: its defaults.
            converges: the log that falls as the run gets better, or None.
            measurable: images are cheap enough to be measured now and then.
        """
        rows = permutation(self.seed, "guard.rows", len(self.data))[:1024]
        real = to_float(torch.from_numpy(self.data.images[rows]))
        kept = Parts(
            **parts,
            average=ModulePart(self.average.module),
            **{f"adam.{n}": OptimiserPart(g.optimiser) for n, g in self.groups.items()},
        )
        self.guard = Guard(
            kept,
            [g.optimiser for g in self.groups.values()],
            rules,
            diversity=self._diversity,
            real_diversity=batch_diversity(real),
            converges=converges,
            distance=self._distance_to(real) if measurable and len(rows) > 1 else None,
        )

    def run(
        self,
        progress: bool = True,
        stop: Callable[[], bool] | None = None,
        on_sample: Callable[[int, ByteImages], None] | None = None,
        sample_interval: int = 1000,
    ) -> TrainedGan:
        """Train what is left.

        Args:
            progress: show it.
            stop: asked after each step.
            on_sample: given the step and uint8 images `(batch, C, H, W)` of fixed latents.
            sample_interval: steps between two calls of `on_sample`.

        Raises:
            InterruptedRunError: after Ctrl-C, SIGTERM or `stop`.
            TrainingDivergedError: if no state of the run was good.
        """
        steps, batch = self.gan.steps, self.gan.batch
        with contextlib.ExitStack() as stack:
            checkpoint, events, start = None, None, 0
            leads = self.team is None or self.team.leads
            if self.folder is not None:
                if leads:
                    stack.enter_context(lock_folder(self.folder))
                    events = EventLog(self.folder / "events.jsonl")
                checkpoint = self._checkpointer(self.folder)
                checkpoint.writes = leads
                start = checkpoint.resume()
            shared = self._joined(start, progress)
            if events is not None:
                events.write("started", step=start, steps=steps, seed=self.seed, **shared)
            bar = None
            if progress and start < steps:
                bar = stack.enter_context(Progress(steps * batch, self.title, each=batch))
                bar.resume(start * batch)
            stack.enter_context(self._sampling(on_sample, sample_interval))
            stack.enter_context(self._timing())
            result = run_phases(
                self.phases,
                steps,
                start=start,
                recorder=self.recorder,
                checkpoint=checkpoint,
                guard=self.guard,
                progress=bar,
                stop=stop,
            )
            if events is not None:
                events.write("ended", step=result.step, kept=result.kept, stopped=result.stopped)
        return self._trained(result)

    def _joined(self, start: int, progress: bool) -> dict[str, int]:
        """Agree with the other processes, if there are any,
        and return what the log says of them."""
        return {}

    def sample(self) -> ByteImages:
        """Return images of the averaged generator for fixed latents, uint8 `(batch, C, H, W)`."""
        return to_uint8(self.joint.seen(self._fixed_images()))

    def _fixed_images(self, which: int = 0) -> Tensor:
        aspects = self.batches.fake_aspects("fixed", which, whole=True)
        numbers = stream(self.seed, "latent.fixed", which, self.gan.batch)
        latent = self.conditioning.sample_latent(self.context, aspects, numbers).to(self.device)
        inputs = self.conditioning.generator_inputs(self.context, latent, aspects)
        with torch.no_grad(), scope(self.seed, "noise.fixed", which):
            images: Tensor = call(self.average.module, *inputs)
        return images.float()

    def _diversity(self) -> float:
        found = batch_diversity(self._fixed_images())
        return found if self.team is None else self.team.mean(found)

    def _distance_to(self, real: Tensor) -> Callable[[], float]:
        """Return what measures the Fréchet distance of sketches to those of real images."""
        wanted, batch = sketch(real), self.gan.batch
        rounds = -(-SKETCHED // batch)

        def measure() -> float:
            made = [sketch(self._fixed_images(i)) for i in range(rounds)]
            found = frechet(wanted, np.concatenate(made)[:SKETCHED])
            return found if self.team is None else self.team.mean(found)

        return measure

    def _checkpointer(self, folder: Path) -> Checkpointer:
        parts = Parts(
            **self.guard.parts.parts,
            recorder=self.recorder,
            guard=self.guard,
            clock=DictPart(self.clock),
        )
        identity = fingerprint(
            {
                "config": self._plan(),
                "schema": self.schema.to_plain(),
                "seed": self.seed,
                "data": self.data.digest(),
            }
        )
        return Checkpointer(folder / "checkpoints", parts, identity)

    @contextlib.contextmanager
    def _timing(self) -> Iterator[None]:
        """Count seconds step by step, so that every checkpoint knows them."""
        last = time.monotonic(), time.process_time()

        def count(_: int) -> None:
            nonlocal last
            now = time.monotonic(), time.process_time()
            for name, a, b in zip(("seconds", "processor_seconds"), last, now, strict=True):
                self.clock[name] = self.clock.get(name, 0.0) + b - a
            last = now

        self.phases[0].after.append(count)
        try:
            yield
        finally:
            self.phases[0].after.remove(count)

    @contextlib.contextmanager
    def _sampling(
        self, on_sample: Callable[[int, ByteImages], None] | None, interval: int
    ) -> Iterator[None]:
        def show(step: int) -> None:
            if on_sample is not None and step % interval == 0:
                on_sample(step, self.sample())

        self.phases[-1].after.append(show)
        try:
            yield
        finally:
            self.phases[-1].after.remove(show)

    def _trained(self, result: LoopResult) -> TrainedGan:
        if result.stopped == "collapsed" and not self.guard.varied:
            raise TrainingDivergedError(
                "generated images must vary",
                f"a collapse from the beginning to step {result.step}",
                f"take another objective, or {self.slower}",
            )
        generator = self.average.module
        return TrainedGan(
            generator=generator,
            generator_digest=tensors_digest(generator.state_dict()),
            config=self.gan,
            schema=self.schema,
            shape=self.shape,
            context=self.context,
            logs=result.history,
            events=list(result.events),
            images_shown=result.step * self.gan.batch,
            seconds=self.clock["seconds"],
            processor_seconds=self.clock.get("processor_seconds", 0.0),
            step=result.kept,
            stopped=result.stopped,
        )

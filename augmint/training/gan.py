"""Trains a generative adversarial network from a configuration, resumably and exactly."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam

from augmint.aspects.base import Schema
from augmint.conditioning.base import ConditioningContext
from augmint.core.config import fingerprint, to_plain
from augmint.core.errors import TrainingDivergedError
from augmint.core.machine import resolve_device
from augmint.core.progress import Progress
from augmint.core.runs import EventLog, lock_folder, tensors_digest
from augmint.core.streams import permutation, scope, stream
from augmint.core.types import Shape, to_float, to_uint8
from augmint.metrics.frechet import frechet
from augmint.training.averaging import Average
from augmint.training.batches import Batches, TrainingImages
from augmint.training.checkpointer import Checkpointer
from augmint.training.compatibility import check_compatible, coupled_parts
from augmint.training.config import GanConfig
from augmint.training.direct_phase import DirectPhase
from augmint.training.game import Game, build_game, build_generator, choose
from augmint.training.gan_phases import (
    AUXILIARY,
    GENERATOR_HEADS,
    BothPhase,
    CriticPhase,
    GeneratorPhase,
)
from augmint.training.guard import Guard, GuardRules, batch_diversity
from augmint.training.joint import Joint, carried, context_of
from augmint.training.loop import LoopResult, run_phases
from augmint.training.phases import Group, Phase
from augmint.training.rates import Clip, LinearDecay, auxiliary_optimiser, lazy_rates
from augmint.training.recorder import Recorder
from augmint.training.sketch import sketch
from augmint.training.state import DictPart, ModulePart, OptimiserPart, Parts

if TYPE_CHECKING:
    from augmint.core.types import ByteImages
    from augmint.training.parallel import Team

SKETCHED = 512
"""Generated images of which the guard takes a distance to the real ones."""

__all__ = [
    "GanConfig",
    "GanTraining",
    "TrainedGan",
    "TrainingImages",
    "build_generator",
    "check_compatible",
    "train_gan",
]


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


def train_gan(
    config: GanConfig,
    data: TrainingImages,
    schema: Schema,
    seed: int,
    folder: Path | None = None,
    device: str = "cpu",
    progress: bool = True,
    stop: Callable[[], bool] | None = None,
) -> TrainedGan:
    """Train a generator, going on from the folder's newest valid checkpoint if there is one.

    The result is a pure function of (config, data, schema, seed) on one machine and thread count,
    however often the run was killed and started again.

    Args:
        config: what is trained, and how.
        data: the training split, and nothing else.
        schema: the aspects in `data.values`.
        seed: of initialisation, order, latents and augmentation.
        folder: for checkpoints and events; None keeps nothing.
        device: "auto", "cpu" or "cuda".
        progress: show it.
        stop: asked after each step; True saves and raises as Ctrl-C does.

    Raises:
        IncompatibleError, UsageError: before anything is trained.
        InterruptedRunError: after Ctrl-C, SIGTERM or `stop`.
        TrainingDivergedError: if no state of the run was good.
    """
    training = GanTraining(config, data, schema, seed, folder, device)
    return training.run(progress=progress, stop=stop)


class GanTraining:
    """One training run, built and ready: `run` trains what is left of it.

    With a `team` it is one process's side of a run that several share (`parallel.together`).
    """

    def __init__(
        self,
        config: GanConfig,
        data: TrainingImages,
        schema: Schema,
        seed: int,
        folder: Path | None = None,
        device: str = "cpu",
        rules: GuardRules | None = None,
        team: Team | None = None,
    ) -> None:
        check_compatible(config, schema, data.shape)
        schema = carried(config, schema).fitted(data.values)
        self.joint = Joint.of(config, schema, data.shape[0])
        self.context = context_of(config, schema, data.shape)
        self.shape, data = data.shape, self.joint.join(data)
        self.config, self.data, self.schema, self.seed = config, data, schema, seed
        self.folder, self.team = folder, team
        self.device = resolve_device(device)
        share = None if team is None else team.share(config.batch)
        self.game = build_game(choose(config), self.context, config, seed, self.device, share)
        self.batches = Batches(data, self.context.schema, config, seed, self.device, share)
        self.game.find_chance(self.batches.fake_aspects("trial", 0))
        self.average = Average(self.game.generator, config.ema)
        self.groups = _groups(self.game, config)
        self.phases = self._phases()
        self.clock: dict[str, Any] = {"seconds": 0.0, "processor_seconds": 0.0}
        self.recorder = Recorder()
        self.guard = self._guard(rules)
        if team is not None:
            team.also = self._changed_by_a_slice

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
            InterruptedRunError, TrainingDivergedError: see `train_gan`.
        """
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
            shared = {} if self.team is None else self._joined(start, progress)
            if events is not None:
                plan = {"steps": self.config.steps, "seed": self.seed}
                events.write("started", step=start, **plan, **shared)
            bar = None
            if progress and start < self.config.steps:
                total = self.config.steps * self.config.batch
                bar = stack.enter_context(Progress(total, "generator", each=self.config.batch))
                bar.resume(start * self.config.batch)
            stack.enter_context(self._sampling(on_sample, sample_interval))
            stack.enter_context(self._timing())
            result = run_phases(
                self.phases,
                self.config.steps,
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

    def sample(self) -> ByteImages:
        """Return images of the averaged generator for fixed latents, uint8 `(batch, C, H, W)`."""
        return to_uint8(self.joint.seen(self._fixed_images()))

    def _fixed_images(self, which: int = 0) -> Tensor:
        conditioning = self.game.parts.conditioning
        aspects = self.batches.fake_aspects("fixed", which, whole=True)
        numbers = stream(self.seed, "latent.fixed", which, self.config.batch)
        latent = conditioning.sample_latent(self.context, aspects, numbers).to(self.device)
        inputs = conditioning.generator_inputs(self.context, latent, aspects)
        with torch.no_grad(), scope(self.seed, "noise.fixed", which):
            images: Tensor = self.average.module(*(i for i in inputs if i is not None))
        return images.float()

    def _joined(self, start: int, progress: bool) -> dict[str, int]:
        """Check that all processes begin alike, and say how they share the work."""
        if self.team is None:
            return {}
        self.team.agree(start, self.guard.parts)
        size = self.team.size
        before = self.clock.get("processes", 1) if start else size
        self.clock["processes"] = size
        if progress and self.team.leads:
            print(self._sharing(size, before), file=sys.stderr, flush=True)
        return {"processes": size}

    def _sharing(self, size: int, before: int) -> str:
        text = f"generator on {size} processes, {torch.get_num_threads()} threads each"
        if coupled := coupled_parts(self.config, self.game):
            text += (
                f"; numbers are not those of one process: each takes its own {self.config.batch // size}"
                f" images of a batch for a whole one in {', '.join(coupled)}"
            )
        if before != size:
            text += f"; begun on {before}: from here on equal to that up to rounding only"
        return text

    def _changed_by_a_slice(self) -> list[Tensor]:
        """Tensors besides weights that depend on the rows a process sees."""
        tensors, _ = DictPart(self.game.state).save()
        game = self.game
        networks = (game.generator, game.critic, game.heads, game.auxiliaries)
        return [*tensors.values(), *(b for n in networks for b in n.buffers())]

    def _phases(self) -> list[Phase]:
        game, groups = self.game, self.groups
        phases: list[Phase]
        if game.parts.critic is None:
            phases = [DirectPhase(game, self.batches, list(groups.values()))]
        elif self.config.simultaneous:
            phases = [BothPhase(game, self.batches, list(groups.values()))]
        else:
            owned = {"generator", GENERATOR_HEADS}
            critic = [g for name, g in groups.items() if name not in owned]
            generator = [g for name, g in groups.items() if name in owned]
            interval = self.config.generator_interval
            shared = 0 if self.config.fresh_latents else interval
            phases = [
                CriticPhase(game, self.batches, critic, shared),
                GeneratorPhase(game, self.batches, generator, interval),
            ]
        if self.config.critic_clip:
            phases[0].after.append(Clip(game.critic_parameters, self.config.critic_clip))
        phases[-1].after.append(self.average.update)
        for phase in phases:
            phase.team = self.team
            if self.config.decay_from < 1.0:
                phase.after.append(LinearDecay(phase, self.config.steps, self.config.decay_from))
        return phases

    def _guard(self, rules: GuardRules | None) -> Guard:
        rows = permutation(self.seed, "guard.rows", len(self.data))[:1024]
        real = to_float(torch.from_numpy(self.data.images[rows]))
        game = self.game
        # images of a generator that no critic trains may take many passes each
        measurable = game.parts.critic is not None and len(rows) > 1
        parts = Parts(
            generator=ModulePart(game.generator),
            critic=ModulePart(game.critic),
            heads=ModulePart(game.heads),
            auxiliaries=ModulePart(game.auxiliaries),
            average=ModulePart(self.average.module),
            state=DictPart(game.state, self.device),
            **{f"adam.{n}": OptimiserPart(g.optimiser) for n, g in self.groups.items()},
        )
        return Guard(
            parts,
            [g.optimiser for g in self.groups.values()],
            rules,
            diversity=self._diversity,
            real_diversity=batch_diversity(real),
            converges=game.parts.objective.converges,
            distance=self._distance_to(real) if measurable else None,
        )

    def _diversity(self) -> float:
        found = batch_diversity(self._fixed_images())
        return found if self.team is None else self.team.mean(found)

    def _distance_to(self, real: Tensor) -> Callable[[], float]:
        """Return what measures the Fréchet distance of sketches to those of real images."""
        wanted, batch = sketch(real), self.config.batch
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
        plan = to_plain(self.config)
        if self.config.decay_from == 1.0:
            del plan["steps"]  # a longer run goes on from a shorter one: no step depends on it
        identity = fingerprint(
            {
                "config": plan,
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
                "take another objective, or lower critic_rate (--set generator.critic_rate=1e-4)",
            )
        generator = self.average.module
        return TrainedGan(
            generator=generator,
            generator_digest=tensors_digest(generator.state_dict()),
            config=self.config,
            schema=self.schema,
            shape=self.shape,
            context=self.context,
            logs=result.history,
            events=list(result.events),
            images_shown=result.step * self.config.batch,
            seconds=self.clock["seconds"],
            processor_seconds=self.clock.get("processor_seconds", 0.0),
            step=result.kept,
            stopped=result.stopped,
        )


def _groups(game: Game, config: GanConfig) -> dict[str, Group]:
    """Every group of parameters with its optimiser, by name."""
    generator = list(game.generator.parameters())
    groups = {"generator": _group("generator", generator, config.generator_rate, config, game)}
    if game.parts.critic is not None:
        critic = _group("critic", game.critic_parameters, config.critic_rate, config, game)
        groups = {"critic": critic, **groups}
    if game.trained_by_generator:
        groups[GENERATOR_HEADS] = _group(
            GENERATOR_HEADS, game.trained_by_generator, config.generator_rate, config, game
        )
    for name, network in game.auxiliary_map.items():
        parameters = [p for p in network.parameters() if p.requires_grad]
        if parameters:
            full = AUXILIARY + name
            groups[full] = Group(full, parameters, auxiliary_optimiser(parameters, config))
    return groups


def _group(
    name: str, parameters: Sequence[Tensor], rate: float, config: GanConfig, game: Game
) -> Group:
    intervals = [p.interval for p in game.parts.penalties if p.player == name]
    rate, betas = lazy_rates(rate, config.betas, max(intervals, default=1))
    return Group(name, parameters, Adam(list(parameters), rate, betas, fused=True))

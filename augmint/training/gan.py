"""Trains a generative adversarial network from a configuration, resumably and exactly."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Adam

from augmint.aspects.base import Schema
from augmint.core.config import to_plain
from augmint.training.adversarial import AdversarialTraining, TrainedGan
from augmint.training.averaging import Average
from augmint.training.batches import TrainingImages
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
from augmint.training.guard import GuardRules
from augmint.training.joint import carried
from augmint.training.phases import Group, Phase
from augmint.training.rates import Clip, LinearDecay, auxiliary_optimiser, lazy_rates
from augmint.training.state import DictPart, ModulePart, Part

if TYPE_CHECKING:
    from augmint.training.team import Team

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
        DataError: likewise, for a value out of its aspect's range.
        InterruptedRunError: after Ctrl-C, SIGTERM or `stop`.
        TrainingDivergedError: if no state of the run was good.
    """
    training = GanTraining(config, data, schema, seed, folder, device)
    return training.run(progress=progress, stop=stop)


class GanTraining(AdversarialTraining):
    """One training run, built and ready: `run` trains what is left of it.

    With a `team` it is one process's side of a run that several share (`parallel.together`).
    """

    title = "generator"
    slower = "lower critic_rate (--set generator.critic_rate=1e-4)"

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
        schema = carried(config, schema)
        super().__init__(config, data, schema, seed, folder, device, team)
        self.config = config
        self.game = build_game(choose(config), self.context, config, seed, self.device, self.share)
        self.game.find_chance(self.batches.fake_aspects("trial", 0))
        self.average = Average(self.game.generator, config.ema)
        self.groups = _groups(self.game, config)
        self.phases = self._phases()
        game = self.game
        parts: dict[str, Part] = {
            "generator": ModulePart(game.generator),
            "critic": ModulePart(game.critic),
            "heads": ModulePart(game.heads),
            "auxiliaries": ModulePart(game.auxiliaries),
            "state": DictPart(game.state, self.device),
        }
        # images of a generator that no critic trains may take many passes each
        measurable = game.parts.critic is not None
        self._begin(parts, rules, game.parts.objective.converges, measurable)
        if team is not None:
            team.also = self._changed_by_a_slice

    def _plan(self) -> dict[str, Any]:
        plan: dict[str, Any] = to_plain(self.config)
        if self.config.decay_from == 1.0:
            del plan["steps"]  # no step depends on it
        return plan

    def _joined(self, start: int, progress: bool) -> dict[str, int]:
        # all processes begin alike, and the user is told how they share the work
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
                "; numbers are not those of one process: each takes its own "
                f"{self.config.batch // size} images of a batch for a whole one in "
                f"{', '.join(coupled)}"
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

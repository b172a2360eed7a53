"""The phases of adversarial training: critic (with auxiliaries), generator, or both at once.

No generator graph is recorded while the critic trains alone, and no critic or auxiliary gradients
while the generator does, except those that conditioning declares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from augmint.aspects.base import CoordinateMap
from augmint.augmentation.base import moved
from augmint.core.types import AspectValues, CriticOutput, Logs
from augmint.networks.blocks import filters
from augmint.penalties.base import Penalty, PenaltyContext, Player
from augmint.training.batches import Batches
from augmint.training.game import Fakes, Game
from augmint.training.phases import Group, Phase

GENERATOR_HEADS = "generator_heads"
AUXILIARY = "auxiliary."


@dataclass(frozen=True)
class Seen:
    """What the critic was shown, and what it said."""

    images: Tensor
    aspects: AspectValues
    output: CriticOutput


class CriticPhase(Phase):
    """Trains the critic with its heads, and the auxiliaries beside it.

    Args:
        game, batches, groups: of the run.
        shared: on steps that are multiples of this the generator's images are kept, with their
            graph, for the generator's phase; 0 never.
    """

    def __init__(
        self, game: Game, batches: Batches, groups: Sequence[Group], shared: int = 0
    ) -> None:
        super().__init__("critic", groups)
        self.game = game
        self.batches = batches
        self.shared = shared

    def losses(self, step: int) -> tuple[Mapping[str, Tensor], Logs]:
        """Return the losses of critic and auxiliaries; generated images carry no graph."""
        game = self.game
        with game.chance(self.name, step):
            fakes = self._fakes(step)
            real, real_aspects = self.batches.real(step)
            seen_real = _show(game, real, real_aspects, "real", step)
            seen_fake = _show(game, fakes.images, fakes.aspects, "fake", step)
            loss, logs = _critic_loss(game, step, seen_real, seen_fake)
            beside, more = _auxiliary_losses(self, game, step, (real, real_aspects), fakes)
        return {"critic": loss, **beside}, {**logs, **more}

    def _fakes(self, step: int) -> Fakes:
        game = self.game
        if self.shared and step % self.shared == 0:
            game.kept = game.generate(
                self.batches.fake_aspects("generator", step), "generator", step
            )
            return game.kept.detached()
        with torch.no_grad():
            return game.generate(self.batches.fake_aspects("critic", step), "critic", step)


class GeneratorPhase(Phase):
    """Trains the generator, and what conditioning declares on the critic's side (InfoGAN's Q)."""

    def __init__(
        self, game: Game, batches: Batches, groups: Sequence[Group], interval: int = 1
    ) -> None:
        super().__init__("generator", groups, interval)
        self.game = game
        self.batches = batches

    def losses(self, step: int) -> tuple[Mapping[str, Tensor], Logs]:
        """Return the generator's loss; the critic's weights are outside the graph."""
        game = self.game
        with game.chance(self.name, step), game.frozen_for_generator():
            fakes, game.kept = game.kept, None
            if fakes is None:
                wanted = self.batches.fake_aspects("generator", step)
                fakes = game.generate(wanted, "generator", step)
            seen = _show(game, fakes.images, fakes.aspects, "generator", step)
            real = None
            if _compares(game):
                with torch.no_grad():
                    real = _show(game, *self.batches.real(step), "real", step).output
            epoch = self.batches.epoch(step)
            due = _due(game, "generator", step // self.interval)
            return _generator_losses(game, step, fakes, seen, real, epoch, due)


class BothPhase(Phase):
    """Updates critic, auxiliaries and generator at once, from one forward pass of each."""

    def __init__(self, game: Game, batches: Batches, groups: Sequence[Group]) -> None:
        super().__init__("both", groups)
        self.game = game
        self.batches = batches

    def losses(self, step: int) -> tuple[Mapping[str, Tensor], Logs]:
        """Return all losses; each group's gradients are taken through its own parameters only."""
        game = self.game
        with game.chance(self.name, step):
            wanted = self.batches.fake_aspects("generator", step)
            fakes = game.generate(wanted, "generator", step)
            real, real_aspects = self.batches.real(step)
            seen_real = _show(game, real, real_aspects, "real", step)
            seen_fake = _show(game, fakes.images, fakes.aspects, "fake", step)
            loss, logs = _critic_loss(game, step, seen_real, seen_fake)
            compared = seen_real.output.map(Tensor.detach) if _compares(game) else None
            epoch = self.batches.epoch(step)
            due = _due(game, "generator", step)
            losses, more = _generator_losses(game, step, fakes, seen_fake, compared, epoch, due)
            beside, rest = _auxiliary_losses(
                self, game, step, (real, real_aspects), fakes.detached()
            )
        return {"critic": loss, **losses, **beside}, {**logs, **more, **rest}


def _compares(game: Game) -> bool:
    """Whether anything of the generator's reads what the critic says of real images."""
    return game.parts.adversaries[0].real_in_generator or any(
        p.real_in_generator for p in game.parts.penalties
    )


def _show(game: Game, images: Tensor, aspects: AspectValues, purpose: str, step: int) -> Seen:
    shown, carried = game.augment(images, aspects, purpose, step)
    return Seen(shown, carried, game.judge(shown, carried))


def _critic_loss(game: Game, step: int, real: Seen, fake: Seen) -> tuple[Tensor, Logs]:
    loss, game.state["objective"], logs = game.parts.adversaries[0].critic_loss(
        real.output, fake.output, game.state["objective"]
    )
    term, more = game.parts.conditioning.critic_terms(
        game.context, game.head_map, real.output, fake.output, real.aspects, fake.aspects
    )
    if term is not None:
        loss = loss + term
    logs = {**logs, **more, **game.adapt(real.output)}
    for i, penalty in _due(game, "critic", step):
        context = PenaltyContext(
            network=lambda images: game.judge(images, real.aspects),
            fake_network=lambda images: game.judge(images, fake.aspects),
            along=lambda images, maps: game.judge(images, _along(game, real.aspects, maps)),
            fake_along=lambda images, maps: game.judge(images, _along(game, fake.aspects, maps)),
            stream=game.numbers(f"penalty.{i}", step),
            real=real.images.detach() if "inputs" in penalty.needs else None,
            fake=fake.images.detach() if "inputs" in penalty.needs else None,
            filters=filters(game.critic) if "filters" in penalty.needs else (),
            real_output=real.output if "outputs" in penalty.needs else None,
            fake_output=fake.output if "outputs" in penalty.needs else None,
        )
        loss = loss + _apply(game, i, penalty, context, logs)
    return loss, logs


def _generator_losses(
    game: Game,
    step: int,
    fakes: Fakes,
    seen: Seen,
    real: CriticOutput | None,
    epoch: int,
    due: Sequence[tuple[int, Penalty]],
) -> tuple[dict[str, Tensor], Logs]:
    conditioning = game.parts.conditioning
    loss, game.state["objective"], logs = game.parts.adversaries[0].generator_loss(
        *game.top_k(real, seen.output, epoch), game.state["objective"]
    )
    weight = conditioning.adversarial_weight()
    loss = loss if weight == 1.0 else weight * loss
    term, more = conditioning.generator_terms(
        game.context,
        game.auxiliary_map,
        game.head_map,
        fakes.images,
        seen.output,
        fakes.aspects,
        fakes.latent,
    )
    logs = {**logs, **more}
    losses = {}
    if term is not None:
        loss = loss + term
        if game.trained_by_generator:
            losses[GENERATOR_HEADS] = term
    for i, penalty in due:
        context = PenaltyContext(
            network=lambda images: game.judge(images, fakes.aspects),
            stream=game.numbers(f"penalty.{i}", step),
            fake=fakes.images,
            filters=filters(game.generator) if "filters" in penalty.needs else (),
            latents=fakes.latent if "latents" in penalty.needs else None,
            styles=fakes.styles if "styles" in penalty.needs else None,
            real_output=real if "outputs" in penalty.needs else None,
            fake_output=seen.output if "outputs" in penalty.needs else None,
        )
        loss = loss + _apply(game, i, penalty, context, logs)
    return {**losses, "generator": loss}, logs


def _along(game: Game, aspects: AspectValues, maps: Tensor) -> AspectValues:
    """The aspects of images that were moved by maps."""
    height, width = game.context.shape[1:]
    return moved(aspects, game.context.schema, CoordinateMap(maps, (height, width)))


def _due(game: Game, player: Player, update: int) -> list[tuple[int, Penalty]]:
    """The penalties of a player that fall on its update of this number, with their places."""
    return [
        (i, p)
        for i, p in enumerate(game.parts.penalties)
        if p.player == player and update % p.interval == 0
    ]


def _apply(game: Game, i: int, penalty: Penalty, context: PenaltyContext, logs: Logs) -> Tensor:
    value, game.state["penalties"][i], more = penalty(context, game.state["penalties"][i])
    logs.update(more)
    return value if penalty.interval == 1 else penalty.interval * value


def _auxiliary_losses(
    phase: Phase,
    game: Game,
    step: int,
    real: tuple[Tensor, AspectValues],
    fakes: Fakes,
) -> tuple[dict[str, Tensor], Logs]:
    """One loss, given to every auxiliary's group."""
    names = [g.name for g in phase.groups if g.name.startswith(AUXILIARY)]
    if not names:
        return {}, {}
    images, aspects = real
    if game.parts.auxiliary_augment is not None:
        numbers = game.numbers("augment.auxiliary", step)
        images, aspects = game.parts.auxiliary_augment(
            images, aspects, game.context.schema, numbers
        )
    conditioning = game.parts.conditioning
    loss, logs = conditioning.auxiliary_loss(
        game.context,
        game.auxiliary_map,
        images,
        fakes.images if conditioning.auxiliary_sees_fake() else None,
        aspects,
        fakes.aspects,
    )
    return ({} if loss is None else dict.fromkeys(names, loss)), logs

"""What is left of a critic when its generator is trained: features, and its own classifier.

A generator's stage may keep the networks that trained it (`save_players`). `Players` puts them
together again, trained or as they were at the start, and reads real images with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam

from augmint.aspects.category import LABEL
from augmint.conditioning.base import Conditioning
from augmint.core.errors import UsageError
from augmint.core.machine import resolve_device
from augmint.core.registry import CONDITIONING
from augmint.core.runs import load_tensors, save_tensors
from augmint.core.streams import permutation, scope
from augmint.core.types import CriticOutput, to_float
from augmint.training.batches import Batches, TrainingImages
from augmint.training.game import Game, build_game, choose
from augmint.training.joint import asked, context_of
from augmint.training.loop import run_phases
from augmint.training.phases import Group, Phase
from augmint.training.rates import LinearDecay, auxiliary_optimiser

if TYPE_CHECKING:
    from augmint.aspects.base import Schema
    from augmint.core.types import AspectValues, ByteArray, FloatArray, IntArray, Logs, Shape
    from augmint.training.config import GanConfig

_CHUNK = 256
NO_CRITIC = "the generator learns without a critic"
SEES_MORE = "is given the annotation that is drawn beside the image"
_PARTS = ("critic", "heads", "auxiliaries")


def save_players(game: Game, path: Path) -> None:
    """Write critic, heads and auxiliary networks to one safetensors file."""
    tensors = {
        f"{part}.{name}": value.detach().cpu().contiguous()
        for part in _PARTS
        for name, value in getattr(game, part).state_dict().items()
    }
    save_tensors(path, tensors, {})


def has_classifier(conditioning: Conditioning) -> bool:
    """Return whether a method has a classifier of its own, such as VAC's or the head of ACGAN.

    Example:
        >>> [has_classifier(CONDITIONING.create(name)) for name in ("vac", "acgan", "projection")]
        [True, True, False]
    """
    return type(conditioning).class_logits is not Conditioning.class_logits


def classifier_refusal(gan: GanConfig, schema: Schema, aspect: str = LABEL) -> str | None:
    """Return why a configuration has no classifier of a category of its own, or None if it has.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.aspects.category import Category
        >>> from augmint.training.config import GanConfig
        >>> schema = Schema((Category("label", ("cat", "dog")),))
        >>> classifier_refusal(GanConfig(conditioning="projection"), schema)
        'the generator has no classifier of its own'
    """
    has = has_classifier(CONDITIONING.create(gan.conditioning))
    if not has or aspect not in asked(gan, schema):
        return "the generator has no classifier of its own"
    if gan.critic is None:
        return NO_CRITIC
    return f"its own classifier {SEES_MORE}" if gan.joint else None


@dataclass(frozen=True)
class Players:
    """The networks of one training run, for reading images.

    Args:
        game: the networks, in evaluation mode while they read.
        batch: images that the critic saw at once.
        joint: they see aspects drawn beside the image, as further channels.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.aspects.category import Category
        >>> from augmint.training.config import GanConfig
        >>> schema = Schema((Category("label", ("cat", "dog")),))
        >>> players = Players.build(GanConfig(), schema, (1, 16, 16), seed=0)
        >>> players.class_probabilities(np.zeros((3, 1, 16, 16), np.uint8), "label").shape
        (3, 2)
    """

    game: Game
    batch: int
    joint: bool = False

    @classmethod
    def build(
        cls, gan: GanConfig, schema: Schema, shape: Shape, seed: int, device: str = "cpu"
    ) -> Players:
        """Return the networks as they were before the first step of a run with this seed."""
        context = context_of(gan, schema, shape)
        game = build_game(choose(gan), context, gan, seed, resolve_device(device))
        return cls(game, gan.batch, bool(gan.joint))

    def load(self, path: Path) -> Players:
        """Take the weights that `save_players` wrote."""
        tensors = load_tensors(path)[0]
        for part in _PARTS:
            start = f"{part}."
            own = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
            getattr(self.game, part).load_state_dict(own)
        return self

    def refusal(self) -> str | None:
        """Return why the critic gives no features of an image alone, or None if it does."""
        game = self.game
        if game.parts.critic is None:
            return NO_CRITIC
        conditioning = game.parts.conditioning
        if conditioning.critic_mode is not None or conditioning.critic_channels(game.context):
            return "the critic is given the class beside the image"
        return f"the critic {SEES_MORE}" if self.joint else None

    def features(self, images: ByteArray) -> FloatArray:
        """Return the critic's features `(N, F)` of uint8 images, or an auto-encoder's code.

        Raises:
            UsageError: where it has neither (`refusal` names the other reasons).
        """
        return self._read(images, lambda x: _features(self._judge(x)))

    def class_probabilities(self, images: ByteArray, aspect: str) -> FloatArray:
        """Return what the run's own classifier says of uint8 images, `(N, classes)`."""
        return self._read(images, lambda x: self.logits(x)[aspect].float().softmax(1))

    def logits(self, images: Tensor) -> Mapping[str, Tensor]:
        """Return the logits of the run's own classifier for float images, by category."""
        game = self.game
        return game.parts.conditioning.class_logits(
            game.context, game.auxiliary_map, game.head_map, images, self._judge
        )

    def _judge(self, images: Tensor) -> CriticOutput:
        game: Any = self.game
        inputs = game.parts.conditioning.critic_inputs(game.context, images, {})
        output: CriticOutput = game.critic(*(i for i in inputs if i is not None))
        return output

    def _read(self, images: ByteArray, call: Callable[[Tensor], Tensor]) -> FloatArray:
        """Call on chunks, in evaluation mode; coupled samples meet others at random, as trained."""
        game: Any = self.game
        coupled = game.parts.critic is not None and game.parts.critic.batch_coupled
        size = min(self.batch if coupled else _CHUNK, len(images))
        order = permutation(0, "critic.chunks", len(images)) if coupled else np.arange(len(images))
        found: list[Any] = [None] * len(images)
        with _evaluating(game), torch.inference_mode():
            for start in range(0, len(images), size):
                start = min(start, len(images) - size)  # the last chunk is whole as well
                rows = order[start : start + size]
                seen = to_float(
                    torch.from_numpy(np.ascontiguousarray(images[rows])).to(game.device)
                )
                for row, answer in zip(rows, call(seen).float().cpu().numpy(), strict=True):
                    found[row] = answer
        return np.stack(found)


@contextmanager
def _evaluating(game: Any) -> Iterator[None]:
    networks = (game.critic, game.heads, game.auxiliaries)
    modes = [(m, m.training) for n in networks for m in n.modules()]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _features(output: CriticOutput) -> Tensor:
    found = output.embedding if output.features is None else output.features
    if found is None:
        raise UsageError(
            "a linear classifier reads the critic's features",
            "a critic without any",
            "take an architecture that gives features",
        )
    return found.flatten(1)


class _Alone(Phase):
    """Trains a run's own classifier on real images, and nothing else."""

    def __init__(self, players: Players, batches: Batches, groups: list[Group]) -> None:
        super().__init__("classifier", groups)
        self.players, self.batches = players, batches
        inside = {id(p) for g in groups for p in g.parameters}
        auxiliaries = players.game.auxiliaries.parameters()
        self.beside = any(id(p) in inside for p in auxiliaries)

    def losses(self, step: int) -> tuple[Mapping[str, Tensor], Logs]:
        """Return the cross-entropy on the step's real images, warped as the run warps them."""
        game = self.players.game
        aspects: AspectValues
        images, aspects = self.batches.real(step)
        if not self.beside:
            images, aspects = game.augment(images, aspects, "real", step)
        elif game.parts.auxiliary_augment is not None:
            numbers = game.numbers("augment.auxiliary", step)
            schema = game.context.schema
            images, aspects = game.parts.auxiliary_augment(images, aspects, schema, numbers)
        with scope(game.seed, "noise.classifier", step):
            loss = _class_loss(self.players, images, aspects)
        return dict.fromkeys((g.name for g in self.groups), loss), {"class_loss": loss.detach()}


def _class_loss(players: Players, images: Tensor, aspects: AspectValues) -> Tensor:
    schema = players.game.context.schema
    found = players.logits(images)
    losses = [schema[name].loss(logits, aspects[name]).mean() for name, logits in found.items()]
    return torch.stack(losses).sum()


def train_classifier(
    gan: GanConfig, data: TrainingImages, schema: Schema, seed: int, device: str = "cpu"
) -> Players:
    """Return a run's networks with its own classifier trained alone on real images.

    It starts from the run's own initialisation and has its optimiser, rate, order of images and
    augmentation, one batch of real images a step, so that it sees as many real images as the run
    shows. For a head on the critic's features the critic's trunk is trained with it.
    """
    players = Players.build(gan, schema, data.shape, seed, device)
    batches = Batches(data, players.game.context.schema, gan, seed, players.game.device)
    groups = trained_groups(players, batches, gan)
    phase = _Alone(players, batches, groups)
    if gan.decay_from < 1.0:
        phase.after.append(LinearDecay(phase, gan.steps, gan.decay_from))
    run_phases([phase], gan.steps)
    return players


def trained_groups(players: Players, batches: Batches, gan: GanConfig) -> list[Group]:
    """Return the parameters that a class loss reaches, each network with its own optimiser."""
    game = players.game
    modules: list[tuple[str, nn.Module]] = [(p, getattr(game, p)) for p in _PARTS]
    kept = {part: {k: v.clone() for k, v in m.state_dict().items()} for part, m in modules}
    images, aspects = batches.real(0)
    with scope(game.seed, "trial"):
        _class_loss(players, images, aspects).backward()
    groups = []
    for part, module in modules:
        reached = [p for p in module.parameters() if p.grad is not None]
        module.zero_grad(set_to_none=True)
        module.load_state_dict(kept[part])  # running statistics have moved
        if reached:
            adam = partial(Adam, lr=gan.critic_rate, betas=gan.betas)
            beside = part == "auxiliaries"
            optimiser = auxiliary_optimiser(reached, gan) if beside else adam(reached)
            groups.append(Group(part, reached, optimiser))
    return groups


def classifier_accuracy(
    players: Players, images: ByteArray, labels: IntArray, aspect: str = LABEL
) -> float:
    """Return the share of images whose class the run's own classifier names, in [0, 1]."""
    found = players.class_probabilities(images, aspect).argmax(1)
    return float((found == np.asarray(labels)).mean())

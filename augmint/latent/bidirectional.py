"""cBiGAN: a generator and an encoder that one critic of (values, image) pairs makes meet.

The baseline of VAR (Wang et al.'s hierarchical eye synthesis, as Bazrafkan and Corcoran 2018,
arXiv:1805.10864, equations 17-18, print it). With y the values asked for, G the generator, E the
encoder, s = E(x) and D's probability that a pair is real,

    p_r = D(y, x),    p_I = D(y, G(z, y)),    p_s = D(s, x)
    D maximises  log p_r + log(1 - p_I) + log(1 - p_s)
    G maximises  log p_I
    E            log p_s + theta · |s - y|²

**Signs of E.** As printed the last mixes a term to raise and one to lower. "consistent" lowers
-log p_s + theta |s - y|²: E deceives D and stays near y. "literal" lowers what is printed: E then
helps D, and stays near y.

**Ours**, where the paper is silent: |s - y|² is the mean over the labelled components; y enters D
as one further channel, a dense layer of it, or landmarks as maps, a spot each, as they then enter
G; the vectors and landmarks of the schema are y; G and E move at once, after D, each with images of
its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam

from augmint.aspects.base import Aspect, Schema
from augmint.conditioning.base import ConditioningContext
from augmint.conditioning.encoding import vector
from augmint.conditioning.generator_side import GeneratorSide
from augmint.core.config import to_plain
from augmint.core.errors import UsageError
from augmint.core.registry import Spec
from augmint.core.streams import scope, stream
from augmint.core.types import AspectValues, Logs
from augmint.networks.began import Encoder, check_grid
from augmint.networks.blocks import channels_last, initialise_glorot
from augmint.training.adversarial import AdversarialTraining
from augmint.training.averaging import Average
from augmint.training.batches import Batches, TrainingImages
from augmint.training.compatibility import check_mode
from augmint.training.config import GanConfig
from augmint.training.game import build_generator, call, choose, frozen
from augmint.training.guard import GuardRules
from augmint.training.phases import Group, Phase
from augmint.training.state import ModulePart

Signs = Literal["consistent", "literal"]


@dataclass(frozen=True)
class BidirectionalConfig:
    """What is trained, and for how long; the defaults are the paper's, and 2400 steps an epoch.

    Args:
        generator: architecture of G.
        channels: width of the first stage of D and E, both the encoder of BEGAN's critic.
        theta: weight of |s - y|² on E.
        signs: how E's loss is read.
        enters: how y enters G, as in `var`, and D: "maps" draws landmarks for both.
        gain: factor on y in G's latent, as in `var`; the noise beside it is uniform.
        latent_dim: numbers of noise beside y.
        batch, steps, rate, betas: of Adam, for all three.
        ema: decay of the averaged generator; 0 keeps the last.
        fake_aspects: how y is drawn for generated images, as in `GanConfig`.

    Raises:
        UsageError: for a value out of range.

    Example:
        >>> gan = BidirectionalConfig(rate=2e-4, enters="maps").gan()
        >>> gan.conditioning["name"], gan.conditioning["enters"], gan.critic_rate
        ('var', 'maps', 0.0002)
    """

    generator: Spec = "began-generator"
    channels: int = 64
    theta: float = 0.8
    signs: Signs = "consistent"
    enters: Literal["latent", "maps"] = "latent"
    gain: float = 4.0
    latent_dim: int = 30
    batch: int = 16
    steps: int = 100 * 2400
    rate: float = 1e-4
    betas: tuple[float, float] = (0.5, 0.999)
    ema: float = 0.0
    fake_aspects: Literal["balanced", "mixed", "data", "batch"] = "data"

    def __post_init__(self) -> None:
        if self.theta < 0 or self.channels < 1:
            raise UsageError(
                "theta is not negative, and channels are at least 1",
                f"theta {self.theta}, channels {self.channels}",
                "set theta: 0.8 and channels: 64",
            )
        self.gan()

    def gan(self) -> GanConfig:
        """Return a configuration with the same generator: it rebuilds, samples and bundles it."""
        return GanConfig(
            generator=self.generator,
            conditioning={
                "name": "var",
                "latent": "uniform",
                "enters": self.enters,
                "gain": self.gain,
            },
            augment=None,
            auxiliary_augment=None,
            latent_dim=self.latent_dim,
            batch=self.batch,
            steps=self.steps,
            generator_rate=self.rate,
            critic_rate=self.rate,
            betas=self.betas,
            ema=self.ema,
            fake_aspects=self.fake_aspects,
        )


class PairCritic(nn.Module):
    """D: the logit that values y `(N, Σ width)` and an image belong together and are real.

    Args:
        aspects: of y.
        drawn: those of them that enter as maps; all others enter by one dense layer.
        channels: of the first stage.
        shape: of the image.

    Example:
        >>> from augmint.aspects.vector import Vector
        >>> critic = PairCritic([Vector("age", ("years",))], [], 4, (1, 8, 8))
        >>> values, images = torch.zeros(2, 1), torch.zeros(2, 1, 8, 8)
        >>> critic(values, torch.ones(2, 1, dtype=torch.bool), images).shape
        torch.Size([2])
    """

    def __init__(
        self,
        aspects: Sequence[Aspect],
        drawn: Sequence[Aspect],
        channels: int,
        shape: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.aspects, self.drawn = list(aspects), list(drawn)
        planes, height, breadth = shape
        width = sum(a.width for a in aspects if a not in drawn)
        self.plane = nn.Linear(width, height * breadth) if width else None
        planes += (self.plane is not None) + sum(a.planes for a in drawn)
        self.encoder = Encoder(1, channels, (planes, height, breadth))

    def forward(self, values: Tensor, known: Tensor, images: Tensor) -> Tensor:
        """Return `(N,)`; what is not `known`, booleans as values, is 0 and drawn nowhere."""
        widths = [a.width for a in self.aspects]
        layers, dense = [images], []
        for aspect, said, told in zip(
            self.aspects, values.split(widths, 1), known.split(widths, 1), strict=True
        ):
            if aspect in self.drawn:
                there = told.unflatten(1, (aspect.planes, -1)).any(2)
                layers.append(aspect.to_planes(aspect.decode(said)) * there[..., None, None])
            else:
                dense.append(said)
        if self.plane is not None:
            layers.append(self.plane(torch.cat(dense, 1)).view(-1, 1, *images.shape[2:]))
        logit: Tensor = self.encoder(torch.cat(layers, 1)).squeeze(1)
        return logit


class ValueEncoder(nn.Module):
    """E: an image to encoded values; tanh where the encoding lies in [-1, 1].

    Example:
        >>> from augmint.aspects.vector import Vector
        >>> age = Vector("age", ("years",), low=(0.0,), high=(100.0,))
        >>> values = ValueEncoder([age], 4, (1, 8, 8))(50.0 * torch.randn(3, 1, 8, 8))
        >>> values.shape, bool((values.abs() <= 1.0).all())
        (torch.Size([3, 1]), True)
    """

    def __init__(
        self, aspects: Sequence[Aspect], channels: int, shape: tuple[int, int, int]
    ) -> None:
        super().__init__()
        self.encoder = Encoder(sum(a.width for a in aspects), channels, shape)
        inside = torch.cat([torch.full((a.width,), a.bounded) for a in aspects])
        self.register_buffer("inside", inside, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        values = self.encoder(images)
        return torch.where(self.get_buffer("inside"), values.tanh(), values)


def critic_loss(real: Tensor, fake: Tensor, encoded: Tensor) -> Tensor:
    """Return -mean[log p_r + log(1 - p_I) + log(1 - p_s)], of logits `(N,)` each.

    Example:
        >>> unsure = torch.zeros(2)
        >>> critic_loss(unsure, unsure, unsure)  # 3 log 2
        tensor(2.0794)
    """
    return F.softplus(-real).mean() + F.softplus(fake).mean() + F.softplus(encoded).mean()


def encoder_loss(encoded: Tensor, distance: Tensor, theta: float, signs: Signs) -> Tensor:
    """Return E's loss of logits `(N,)` and mean squared distances `(N,)`; see the module.

    Example:
        >>> unsure, apart = torch.zeros(2), torch.ones(2)
        >>> encoder_loss(unsure, apart, 2.0, "consistent")  # log 2 + 2
        tensor(2.6931)
        >>> encoder_loss(unsure, apart, 2.0, "literal")  # -log 2 + 2
        tensor(1.3069)
    """
    log_p = -F.softplus(-encoded).mean()
    return (log_p if signs == "literal" else -log_p) + theta * distance.mean()


@dataclass
class _Players:
    """The three networks, and what the phases share."""

    config: BidirectionalConfig
    context: ConditioningContext
    conditioning: GeneratorSide
    seed: int
    generator: nn.Module
    critic: nn.Module
    encoder: nn.Module

    def __post_init__(self) -> None:
        self.aspects = [a for a in self.context.schema if a.kind in self.conditioning.kinds]

    def values(self, aspects: AspectValues) -> Tensor:
        return vector(self.aspects, aspects)

    def known(self, aspects: AspectValues) -> Tensor:
        return torch.cat([a.labelled(aspects[a.name]) for a in self.aspects], 1)

    def belong(self, values: Tensor, aspects: AspectValues, images: Tensor) -> Tensor:
        """Return D's logits of values, known where the aspects are, and images."""
        logits: Tensor = self.critic(values, self.known(aspects), images)
        return logits

    def generate(self, aspects: AspectValues, purpose: str, step: int) -> Tensor:
        numbers = stream(self.seed, f"latent.{purpose}", step, self.config.batch)
        like = next(self.generator.parameters())
        latent = self.conditioning.sample_latent(self.context, aspects, numbers).to(like)
        inputs = self.conditioning.generator_inputs(self.context, latent, aspects)
        images: Tensor = call(self.generator, *inputs)
        return images

    def chance(self, phase: str, step: int) -> contextlib.AbstractContextManager[None]:
        """Seed the global generator, which a network's noise or dropout may read."""
        return scope(self.seed, f"noise.{phase}", step)

    def encode(self, images: Tensor, known: Tensor) -> Tensor:
        """Return s; 0 where y is 0 because nothing is labelled, or D would know s by that."""
        encoded: Tensor = self.encoder(images)
        return encoded * known


class _CriticPhase(Phase):
    def __init__(self, players: _Players, batches: Batches, groups: Sequence[Group]) -> None:
        super().__init__("critic", groups)
        self.players, self.batches = players, batches

    def losses(self, step: int) -> tuple[Mapping[str, Tensor], Logs]:
        players = self.players
        real, aspects = self.batches.real(step)
        wanted = self.batches.fake_aspects("critic", step)
        with players.chance("critic", step):
            with torch.no_grad():
                fake = players.generate(wanted, "critic", step)
                encoded = players.encode(real, players.known(aspects))
            loss = critic_loss(
                players.belong(players.values(aspects), aspects, real),
                players.belong(players.values(wanted), wanted, fake),
                players.belong(encoded, aspects, real),
            )
        return {"critic": loss}, {}


class _PlayersPhase(Phase):
    def __init__(self, players: _Players, batches: Batches, groups: Sequence[Group]) -> None:
        super().__init__("players", groups)
        self.players, self.batches = players, batches

    def losses(self, step: int) -> tuple[Mapping[str, Tensor], Logs]:
        players, config = self.players, self.players.config
        real, aspects = self.batches.real(step)
        wanted = self.batches.fake_aspects("generator", step)
        with players.chance("players", step), frozen(list(players.critic.parameters())):
            fake = players.generate(wanted, "generator", step)
            deceived = F.softplus(-players.belong(players.values(wanted), wanted, fake)).mean()
            known = players.known(aspects)
            encoded = players.encode(real, known)
            apart = (encoded - players.values(aspects) * known).square().sum(1)
            distance = apart / known.sum(1).clamp_min(1)
            pairs = players.belong(encoded, aspects, real)
            loss = encoder_loss(pairs, distance, config.theta, config.signs)
        logs = {"value_distance": distance.mean().detach()}
        return {"generator": deceived, "encoder": loss}, logs


class BidirectionalTraining(AdversarialTraining):
    """One training run, built and ready: `run` trains what is left of it.

    Args:
        config: what is trained, and how.
        data: the training split.
        schema: of `data.values`; its vectors and landmarks are asked for.
        seed: of everything random.
        folder: for checkpoints and events; None keeps none.
        device: "auto", "cpu" or "cuda".
        rules: of the guard; None: its defaults.

    Raises:
        IncompatibleError: if the schema has neither vector nor landmarks, or values enter as maps
            and the schema has no landmarks or the generator takes none.
        UsageError: for a size that a network cannot reach.
    """

    title = "cBiGAN"
    slower = "lower its rate"

    def __init__(
        self,
        config: BidirectionalConfig,
        data: TrainingImages,
        schema: Schema,
        seed: int,
        folder: Path | None = None,
        device: str = "cpu",
        rules: GuardRules | None = None,
    ) -> None:
        gan = config.gan()
        parts = choose(gan)
        schema = parts.conditioning.carried(schema)
        super().__init__(gan, data, schema, seed, folder, device)
        parts.conditioning.check(self.context)
        mode = parts.conditioning.generator_mode
        check_mode("of cBiGAN", "generator", gan.generator, parts.generator, mode)
        parts.generator.check_shape(data.shape)
        check_grid("the encoder of cBiGAN", config.channels, data.shape)
        self.config = config
        self.players = self._players()
        self.average = Average(self.players.generator, config.ema)
        networks = {n: getattr(self.players, n) for n in ("critic", "generator", "encoder")}
        self.groups = {n: self._group(n, network) for n, network in networks.items()}
        critic, *rest = self.groups.values()
        self.phases = [
            _CriticPhase(self.players, self.batches, [critic]),
            _PlayersPhase(self.players, self.batches, rest),
        ]
        self.phases[-1].after.append(self.average.update)
        self._begin({name: ModulePart(network) for name, network in networks.items()}, rules)

    @property
    def encoder(self) -> nn.Module:
        """E: images `(N, C, H, W)` to encoded values `(N, Σ width)`;
        as good as the run has come."""
        return self.players.encoder

    def _plan(self) -> dict[str, Any]:
        plan: dict[str, Any] = to_plain(self.config)
        del plan["steps"]  # no step depends on it
        return plan

    def _players(self) -> _Players:
        aspects = [a for a in self.schema if a.kind in self.conditioning.kinds]
        channels, shape = self.config.channels, self.shape
        with scope(self.seed, "init.generator"):
            generator = build_generator(self.gan, self.schema, shape)
        with scope(self.seed, "init.critic"):
            drawn = self.conditioning.as_maps(self.context)
            critic = PairCritic(aspects, drawn, channels, shape)
            initialise_glorot(critic)
        with scope(self.seed, "init.encoder"):
            encoder = ValueEncoder(aspects, channels, shape)
            initialise_glorot(encoder)
        for network in (generator, critic, encoder):
            channels_last(network.to(self.device).train())
        return _Players(
            self.config, self.context, self.conditioning, self.seed, generator, critic, encoder
        )

    def _group(self, name: str, network: nn.Module) -> Group:
        parameters = list(network.parameters())
        return Group(
            name, parameters, Adam(parameters, self.config.rate, self.config.betas, fused=True)
        )

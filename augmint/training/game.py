"""The two players and everything around them, built from a configuration's parts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from augmint.conditioning.base import Conditioning, ConditioningContext
from augmint.core.errors import UsageError
from augmint.core.registry import (
    ARCHITECTURES,
    AUGMENTERS,
    CONDITIONING,
    OBJECTIVES,
    PENALTIES,
    Spec,
)
from augmint.core.streams import scope, stream
from augmint.core.types import AspectValues, CriticOutput, Logs, Shape
from augmint.networks.base import CriticArchitecture, GeneratorArchitecture
from augmint.objectives.base import DirectObjective, Objective
from augmint.penalties.base import Penalty
from augmint.training.joint import context_of
from augmint.training.selection import TopK

if TYPE_CHECKING:
    from augmint.aspects.base import Schema
    from augmint.augmentation.base import AdaptiveAugmenter, ExpertAugmenter
    from augmint.training.config import GanConfig


@dataclass(frozen=True)
class Chosen:
    """The parts that a configuration names, without any network built."""

    generator: GeneratorArchitecture
    critic: CriticArchitecture | None
    objective: Objective | DirectObjective
    penalties: tuple[Penalty, ...]
    conditioning: Conditioning
    augment: ExpertAugmenter | None
    auxiliary_augment: ExpertAugmenter | None

    @property
    def adversaries(self) -> tuple[Objective, CriticArchitecture]:
        """The game's rules and the critic that plays it.

        Raises:
            UsageError: if there is none.
        """
        if isinstance(self.objective, DirectObjective) or self.critic is None:
            raise UsageError("a game has a critic", "none", "set critic: dcgan-critic")
        return self.objective, self.critic


def choose(config: GanConfig) -> Chosen:
    """Create the parts that a configuration names.

    Raises:
        UsageError: for an unknown name or field.

    Example:
        >>> from augmint.training.config import GanConfig
        >>> parts = choose(GanConfig(objective="hinge", penalties=({"name": "r1", "weight": 2.0},)))
        >>> parts.objective, parts.penalties[0].weight
        (Hinge(), 2.0)
    """

    def augmenter(spec: Spec | None) -> Any:
        return None if spec is None else AUGMENTERS.create(spec)

    return Chosen(
        ARCHITECTURES.create(config.generator),
        None if config.critic is None else ARCHITECTURES.create(config.critic),
        OBJECTIVES.create(config.objective),
        tuple(PENALTIES.create(p) for p in config.penalties),
        CONDITIONING.create(config.conditioning),
        augmenter(config.augment),
        augmenter(config.auxiliary_augment),
    )


@dataclass(frozen=True)
class Fakes:
    """Generated images with what made them; `latent` may require gradients."""

    images: Tensor
    aspects: AspectValues
    latent: Tensor
    styles: Tensor | None = None

    def detached(self) -> Fakes:
        """The same without a graph, and without styles."""
        return Fakes(self.images.detach(), self.aspects, self.latent.detach())


@dataclass
class Game:
    """Networks, losses and state of one run, with the few operations that phases share."""

    parts: Chosen
    context: ConditioningContext
    generator: nn.Module
    critic: nn.Module
    heads: nn.ModuleDict
    auxiliaries: nn.ModuleDict
    seed: int
    device: torch.device
    batch: int
    half: bool
    state: dict[str, Any]
    stochastic: bool = False
    share: slice | None = None
    """The rows of each batch that this process has, where several share it."""
    top_k: TopK = field(default_factory=TopK)
    kept: Fakes | None = None
    """Images of this step's critic phase that the generator's phase goes on from."""

    def __post_init__(self) -> None:
        self.head_map: dict[str, nn.Module] = dict(self.heads.items())
        self.auxiliary_map: dict[str, nn.Module] = dict(self.auxiliaries.items())
        self.trained_by_generator = self.parts.conditioning.generator_phase_critic(
            self.head_map, self.critic
        )
        trained = {id(p) for p in self.trained_by_generator}
        own = [*self.critic.parameters(), *self.heads.parameters()]
        # one update of all players would else move the generator's share twice
        self.critic_parameters = [p for p in own if id(p) not in trained]
        self._frozen_for_generator = [*self.critic_parameters, *self.auxiliaries.parameters()]

    def numbers(self, purpose: str, step: int) -> Any:
        """Return the stream of a purpose and a step, one row a sample of the batch
        (of our share)."""
        if self.share is None:
            return stream(self.seed, purpose, step, self.batch)
        return stream(self.seed, purpose, step, range(self.share.start, self.share.stop))

    def chance(self, phase: str, step: int) -> contextlib.AbstractContextManager[None]:
        """Seed the global generator for dropout and noise, where a network has any."""
        if not self.stochastic:
            return contextlib.nullcontext()
        own = f".{self.share.start}" if self.share else ""  # else all slices had the same noise
        return scope(self.seed, f"noise.{phase}{own}", step)

    def generate(self, aspects: AspectValues, purpose: str, step: int) -> Fakes:
        """Draw latents for a phase and generate; gradients as the caller has set them."""
        conditioning = self.parts.conditioning
        latent = conditioning.sample_latent(
            self.context, aspects, self.numbers(f"latent.{purpose}", step)
        ).to(self.device)
        if purpose == "generator" and self.needs("generator", "latents"):
            latent.requires_grad_(True)
        inputs = conditioning.generator_inputs(self.context, latent, aspects)
        styles = None
        with self._precision(self.parts.generator.bf16):
            if purpose == "generator" and self.needs("generator", "styles"):
                network: Any = self.generator
                styles = call(network.styles, *inputs)
                images = network.synthesise(styles)
            else:
                images = call(self.generator, *inputs)
        return Fakes(images.float() if self.half else images, aspects, latent, styles)

    def augment(
        self, images: Tensor, aspects: AspectValues, purpose: str, step: int
    ) -> tuple[Tensor, AspectValues]:
        """Pass what the critic will see through the augmenter."""
        if self.parts.augment is None:
            return images, aspects
        numbers = self.numbers(f"augment.{purpose}", step)
        if self.follower is not None:
            state = self.state["augment"]
            return self.follower(images, aspects, self.context.schema, numbers, state)
        return self.parts.augment(images, aspects, self.context.schema, numbers)

    @property
    def follower(self) -> AdaptiveAugmenter | None:
        """The augmenter, if it follows what the critic says of real images."""
        augment = self.parts.augment
        return cast("AdaptiveAugmenter", augment) if augment and augment.adapts else None

    def adapt(self, real: CriticOutput) -> Logs:
        """Let the augmenter follow what the critic said of real images; no gradients."""
        boundary = self.parts.adversaries[0].boundary
        if self.follower is None or boundary is None:
            return {}
        said = real.value.detach() - boundary
        self.state["augment"], logs = self.follower.adapt(said, self.batch, self.state["augment"])
        return logs

    def judge(self, images: Tensor, aspects: AspectValues) -> CriticOutput:
        """What the critic says of images that carry aspects, conditioning's share included."""
        conditioning = self.parts.conditioning
        inputs = conditioning.critic_inputs(self.context, images, aspects)
        with self._precision(self.parts.adversaries[1].bf16):
            output = call(self.critic, *inputs)
        if self.half:
            output = output.map(Tensor.float)
        return conditioning.critic_value(self.context, self.head_map, output, aspects)

    def learn(self, real: Tensor, aspects: AspectValues, step: int) -> tuple[Tensor, Logs]:
        """Return the loss and logs of a direct objective on real images; its state goes on."""
        objective, conditioning = self.parts.objective, self.parts.conditioning
        if not isinstance(objective, DirectObjective):
            raise UsageError("only a direct objective learns alone", objective, "add a critic")
        latent = conditioning.sample_latent(
            self.context, aspects, self.numbers("latent.generator", step)
        ).to(self.device)
        inputs = conditioning.generator_inputs(self.context, latent, aspects)
        numbers, state = self.numbers("objective", step), self.state["objective"]
        with self._precision(self.parts.generator.bf16):
            loss, self.state["objective"], logs = objective.loss(
                self.generator, real, *inputs, numbers, state
            )
        return loss, logs

    def needs(self, player: str, need: str) -> bool:
        """Whether any penalty of a player declares a need."""
        return any(p.player == player and need in p.needs for p in self.parts.penalties)

    def frozen_for_generator(self) -> contextlib.AbstractContextManager[None]:
        """No gradients for critic, heads and auxiliaries, but for what conditioning declares."""
        return frozen(self._frozen_for_generator)

    def find_chance(self, aspects: AspectValues) -> None:
        """Run every network once: does any read the global generator? All state is put back."""
        networks = nn.ModuleList([self.generator, self.critic, self.heads, self.auxiliaries])
        kept = {k: v.clone() for k, v in networks.state_dict().items()}
        with scope(0, "trial"), torch.no_grad():
            before = self._global_state()
            self._try(aspects)
            self.stochastic = not torch.equal(before, self._global_state())
        networks.load_state_dict(kept)

    def _try(self, aspects: AspectValues) -> None:
        if isinstance(self.parts.objective, DirectObjective):
            rows = range(self.batch)[self.share or slice(None)]
            self.learn(torch.zeros(len(rows), *self.context.shape).to(self.device), aspects, 0)
            self.state["objective"] = self.parts.objective.init_state()
            return
        images = self.generate(aspects, "trial", 0).images
        output = self.judge(images, aspects)
        self.parts.conditioning.critic_terms(
            self.context, self.head_map, output, output, aspects, aspects
        )
        self.parts.conditioning.auxiliary_loss(
            self.context, self.auxiliary_map, images, images, aspects, aspects
        )

    def _global_state(self) -> Tensor:
        if self.device.type == "cuda":
            return torch.cuda.get_rng_state(self.device)
        return torch.get_rng_state()

    def _precision(self, allowed: bool) -> Any:
        if not (self.half and allowed):
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)


def call(network: Callable[..., Any], images: Tensor, condition: Tensor | None) -> Any:
    """Call a network with its condition only where there is one.

    Example:
        >>> call(torch.neg, torch.ones(1), None), call(torch.add, torch.ones(1), torch.ones(1))
        (tensor([-1.]), tensor([2.]))
    """
    return network(images) if condition is None else network(images, condition)


@contextlib.contextmanager
def frozen(parameters: Sequence[Tensor]) -> Iterator[None]:
    """Take the parameters out of the graphs that the block records.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> with frozen(list(layer.parameters())):
        ...     layer(torch.zeros(1, 2)).requires_grad
        False
        >>> layer(torch.zeros(1, 2)).requires_grad
        True
    """
    before = [p.requires_grad for p in parameters]
    for p in parameters:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p, required in zip(parameters, before, strict=True):
            p.requires_grad_(required)


def build_generator(config: GanConfig, schema: Schema, shape: Shape) -> nn.Module:
    """Return the generator of a configuration, its weights from the global generator.

    Args:
        config: names the architecture and the conditioning.
        schema: the aspects it carries.
        shape: channels, height and width of its images, without what is drawn beside them.

    Raises:
        UsageError: if the architecture is no generator, or cannot reach the shape.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.training.config import GanConfig
        >>> small = {"name": "dcgan-generator", "channels": 4}
        >>> config = GanConfig(generator=small, conditioning="none", latent_dim=5)
        >>> build_generator(config, Schema(()), (1, 8, 8))(torch.zeros(2, 5)).shape
        torch.Size([2, 1, 8, 8])
    """
    parts = choose(config)
    return generator_of(parts, context_of(config, schema, shape))


def generator_of(parts: Chosen, context: ConditioningContext) -> nn.Module:
    """Return the generator of chosen parts, its weights from the global generator."""
    width = parts.conditioning.latent_width(context)
    condition = parts.conditioning.condition_width(context)
    generator: Any = parts.generator.build(width, context.shape, condition)
    if parts.generator.redraws:
        generator.redrawn = parts.conditioning.noise_width(context)
    return cast("nn.Module", generator)


def build_game(
    parts: Chosen,
    context: ConditioningContext,
    config: GanConfig,
    seed: int,
    device: torch.device,
    share: slice | None = None,
) -> Game:
    """Build all networks of a run, each initialised from a stream of its own;
    `share`: see `Game`."""
    conditioning, shape = parts.conditioning, context.shape
    seen = (shape[0] + conditioning.critic_channels(context), *shape[1:])
    with scope(seed, "init.generator"):
        generator = generator_of(parts, context)
    with scope(seed, "init.critic"):
        condition = conditioning.condition_width(context) if conditioning.critic_mode else 0
        critic, features = nn.Module(), 0
        if parts.critic is not None:
            critic = parts.critic.build(seen, condition, seen[0] - shape[0])
            features = parts.critic.feature_width(seen)
    with scope(seed, "init.heads"):
        heads = nn.ModuleDict()
        if parts.critic is not None:
            heads.update(conditioning.heads(context, features, parts.critic.spectral))
    with scope(seed, "init.auxiliaries"):
        auxiliaries = nn.ModuleDict(conditioning.auxiliaries(context))
    networks = [generator, critic, heads, auxiliaries]
    for network in networks:
        network.to(device).train()
    formats = ((parts.generator, generator), (parts.critic, critic))
    for network in (n for p, n in formats if p is not None and p.channels_last):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = {
        "objective": parts.objective.init_state(),
        "penalties": [p.init_state() for p in parts.penalties],
    }
    game = Game(
        parts=parts,
        context=context,
        generator=generator,
        critic=critic,
        heads=heads,
        auxiliaries=auxiliaries,
        seed=seed,
        device=device,
        batch=config.batch,
        half=config.precision == "bf16",
        state=state,
        share=share,
        top_k=TopK(config.top_k, config.top_k_decay),
    )
    if game.follower is not None:
        state["augment"] = game.follower.init_state()
    return game

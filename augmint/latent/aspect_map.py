"""The aspect generator: a network from a generator's latent to what is known about its image."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam

from augmint.aspects.base import Aspect, Schema
from augmint.core.config import build, to_plain
from augmint.core.errors import IncompatibleError, UsageError
from augmint.core.machine import resolve_device
from augmint.core.progress import Progress
from augmint.core.registry import ARCHITECTURES, Spec
from augmint.core.runs import load_network, save_network, tensors_digest
from augmint.core.streams import Orders, scope
from augmint.networks.blocks import initialise_glorot
from augmint.training.loop import run_phases
from augmint.training.phases import Group, Phase
from augmint.training.rates import LinearDecay

if TYPE_CHECKING:
    from augmint.core.types import Logs, Shape

Output = Literal["sigmoid", "linear", "tanh"]

_CHUNK = 256
_KIND = "aspect_map"


@dataclass(frozen=True)
class AspectMapConfig:
    """The network G_a and its training.

    Args:
        hidden: widths of the dense layers, with ReLU, for aspects that are vectors.
        decoder: generator architecture for aspects that are images; it must end without a
            non-linearity.
        output: "linear" gives encoded values; "tanh" bounds them by ±1; "sigmoid" is the paper's,
            on coordinates divided by the image's size: in encoded values 2 sigmoid(a) - 1, and
            sigmoid(a) where the encoding is one-hot.
        loss: "squared", the paper's: mean (o - t)² over encoded values that are known; or
            "aspect", the aspect's own (a mask's cross-entropy), which takes linear outputs.
        steps, batch: of training.
        rate: of Adam, betas 0.9 and 0.999.
        decay_from: share of the steps after which the rate falls in a line; 1 keeps it.

    Raises:
        UsageError: for a value out of range.
    """

    hidden: tuple[int, ...] = (128, 128, 128)
    decoder: Spec = field(default_factory=lambda: {"name": "began-generator", "channels": 64})
    output: Output = "sigmoid"
    loss: Literal["squared", "aspect"] = "squared"
    steps: int = 20_000
    batch: int = 16
    rate: float = 3e-4
    decay_from: float = 1.0

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise UsageError(
                    f"an aspect map's {name} is at least 1",
                    getattr(self, name),
                    f"raise it (--set map.{name}=16)",
                )
        if self.rate <= 0 or not 0 <= self.decay_from <= 1 or min(self.hidden, default=1) < 1:
            raise UsageError(
                "an aspect map has a rate above 0, decay_from 0 to 1 and widths of at least 1",
                f"{self.rate}, {self.decay_from}, {self.hidden}",
                "set those that are not (--set map.rate=0.0003)",
            )
        if self.loss == "aspect" and self.output != "linear":
            raise IncompatibleError(
                "an aspect's own loss takes linear outputs", self.output, "set output: linear"
            )


@dataclass(frozen=True, eq=False)
class AspectMap:
    """A trained G_a: latents to the values of one aspect.

    Args:
        network: in evaluation mode; raw outputs `(N, width, …)`.
        aspect: what it tells.
        config: how it was trained.
        latent_dim: width of the latents.
        shape: of the generator's images.
        history: readings of the loss.

    Example:
        >>> from augmint.aspects.vector import Vector
        >>> age = Vector("age", ("years",), low=(0.0,), high=(100.0,))
        >>> network = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.ones_(network.weight)  # G_a(z) = z
        >>> told = AspectMap(network, age, AspectMapConfig(output="linear"), 1, (1, 8, 8))
        >>> told.values(torch.tensor([[-0.5], [1.0]])).tolist()
        [[25.0], [100.0]]
    """

    network: nn.Module
    aspect: Aspect
    config: AspectMapConfig
    latent_dim: int
    shape: Shape
    history: list[dict[str, float]] = field(default_factory=list)

    @torch.no_grad()
    def __call__(self, latents: Tensor) -> Tensor:
        """Return encoded values, float32 `(N, width, …)`, on the CPU, of latents `(N, latent_dim)`.

        Raises:
            UsageError: for latents of another width.
        """
        if latents.ndim != 2 or latents.shape[1] != self.latent_dim:
            raise UsageError(
                f"this aspect map takes latents of {self.latent_dim} entries",
                tuple(latents.shape),
                "give the generator's latents",
            )
        device = next(self.network.parameters()).device
        parts = [self._part(p.float().to(device)).cpu() for p in latents.split(_CHUNK)]
        return torch.cat(parts)

    def _part(self, latents: Tensor) -> Tensor:
        return squash(self.network(latents).float(), self.config.output, self.aspect)

    def values(self, latents: Tensor) -> np.ndarray[Any, Any]:
        """Return stored values, N rows, of latents `(N, latent_dim)`."""
        return np.concatenate([self.aspect.decode(self(p)).numpy() for p in latents.split(_CHUNK)])

    @torch.no_grad()
    def errors(self, latents: Tensor, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the aspect's error of each row against stored values, `(N,)`; 0 is right."""
        found = [
            self.aspect.error(self(part), torch.from_numpy(np.array(values[i : i + _CHUNK])))
            for i, part in zip(range(0, len(latents), _CHUNK), latents.split(_CHUNK), strict=True)
        ]
        return torch.cat(found).numpy()

    @property
    def digest(self) -> str:
        """SHA-256 (64 hex digits) of the weights."""
        return tensors_digest(self.network.state_dict())

    def save(self, path: Path) -> str:
        """Write weights and description to one safetensors file; return its SHA-256."""
        plain = {
            "aspect": Schema((self.aspect,)).to_plain(),
            "config": to_plain(self.config),
            "latent_dim": self.latent_dim,
            "shape": list(self.shape),
            "history": self.history,
        }
        return save_network(path, _KIND, self.network, plain)

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> AspectMap:
        """Read what `save` wrote.

        Raises:
            DataError: if the file is damaged or does not fit the network.
        """
        place = resolve_device(device)

        def rebuilt(plain: dict[str, Any]) -> AspectMap:
            aspect = next(iter(Schema.from_plain(plain["aspect"])))
            config = build(AspectMapConfig, plain["config"], where="aspect map")
            channels, height, width = plain["shape"]
            shape, latent_dim = (channels, height, width), int(plain["latent_dim"])
            network = _network(config, aspect, latent_dim, shape).to(place)
            return cls(network, aspect, config, latent_dim, shape, list(plain["history"]))

        return load_network(path, _KIND, rebuilt)


def train_aspect_map(
    latents: Tensor,
    values: np.ndarray[Any, Any],
    aspect: Aspect,
    shape: Shape,
    config: AspectMapConfig,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> AspectMap:
    """Learn an aspect as a function of the latent.

        L = mean over batch and known entries of (G_a(z) - e(t))²

    with e the aspect's encoding. An entry is known where the aspect's own loss depends on it: not
    at points without a label, void pixels, missing depths.

    Args:
        latents: `(N, d)`; of real images by inversion, or drawn.
        values: stored values of the aspect, N rows.
        aspect: what is learned.
        shape: of the images; aspects that are images have its height and width.
        config: how.
        seed: of initialisation and order.
        device: "auto", "cpu" or "cuda".
        progress: show it.

    Raises:
        UsageError: if rows do not agree in number, or the decoder cannot make the size.
        DataError: for values that the aspect refuses.
        IncompatibleError: for a decoder that bounds its outputs, or bounded outputs for an aspect
            without bounds.

    Source: Bazrafkan, Javidnia and Corcoran 2018 (Pattern Recognition Letters 116), section 3.

    Example:
        >>> from augmint.aspects.vector import Vector
        >>> age = Vector("age", ("years",), low=(0.0,), high=(100.0,))
        >>> latents = torch.linspace(-1.0, 1.0, 16)[:, None]
        >>> config = AspectMapConfig(hidden=(), output="linear", steps=150, rate=0.1)
        >>> told = train_aspect_map(latents, 50.0 * (latents.numpy() + 1.0), age, (1, 8, 8), config)
        >>> told.values(torch.tensor([[-0.5]])).round().tolist()
        [[25.0]]
    """
    if len(latents) != len(values) or not len(latents):
        raise UsageError(
            "every latent has its value, and there is at least one",
            f"{len(latents)} latents, {len(values)} values",
            "give as many rows of both",
        )
    aspect.check(values)
    aspect = aspect.fitted(values) if aspect.unfitted else aspect
    if config.output != "linear" and not (aspect.bounded or aspect.one_hot):
        raise IncompatibleError(
            f"the output {config.output} has bounds",
            f"{aspect.name}, a {aspect.kind} without",
            "set output: linear (--set map.output=linear), or give the aspect bounds",
        )
    where = resolve_device(device)
    with scope(seed, "init.aspect-map"):
        network = _network(config, aspect, latents.shape[1], shape).to(where).train()
    parameters = list(network.parameters())
    group = Group("map", parameters, Adam(parameters, config.rate, fused=True))
    stored = torch.from_numpy(np.array(values))
    phase = AspectMapPhase(
        "aspect map", [group], network=network, latents=latents.float().to(where),
        values=stored.to(where), aspect=aspect, config=config, seed=seed,
    )  # fmt: skip
    if config.decay_from < 1.0:
        phase.after.append(LinearDecay(phase, config.steps, config.decay_from))
    shown = Progress(config.steps, f"map to {aspect.name}", "steps") if progress else None
    with shown or contextlib.nullcontext():
        result = run_phases([phase], config.steps, progress=shown)
    return AspectMap(network.eval(), aspect, config, latents.shape[1], shape, result.history)


@dataclass
class AspectMapPhase(Phase):
    """One step: a batch of pairs, in one random order after another."""

    network: nn.Module = field(kw_only=True)
    latents: Tensor = field(kw_only=True)
    values: Tensor = field(kw_only=True)
    aspect: Aspect = field(kw_only=True)
    config: AspectMapConfig = field(kw_only=True)
    seed: int = field(kw_only=True)

    def __post_init__(self) -> None:
        self.orders = Orders(self.seed, "aspect-map.rows", len(self.values), self.config.batch)
        chunks = self.values.split(_CHUNK)
        self.whole = all(bool(known(self.aspect, part).all()) for part in chunks)

    def losses(self, step: int) -> tuple[Mapping[str, Tensor], Logs]:
        """Return the loss of a step's batch."""
        rows = torch.from_numpy(self.orders(step - 1)).to(self.values.device)
        values, raw = self.values[rows], self.network(self.latents[rows])
        if self.config.loss == "aspect":
            return {"map": self.aspect.loss(raw, values).mean()}, {}
        outputs = squash(raw, self.config.output, self.aspect)
        gap = (outputs - self.aspect.encode(values)).square()
        if self.whole:
            return {"map": gap.mean()}, {}
        counted = known(self.aspect, values)
        return {"map": (gap * counted).sum() / counted.sum().clamp_min(1)}, {}


def known(aspect: Aspect, values: Tensor) -> Tensor:
    """Return which entries of the encoding the aspect's own loss depends on, booleans.

    Example:
        >>> from augmint.aspects.map import Map
        >>> depth = Map("depth", high=2.0)
        >>> known(depth, torch.tensor([[[[1.0, float("nan")]]]]))
        tensor([[[[ True, False]]]])
    """
    with torch.enable_grad():
        beside = (aspect.encode(values) + 1.0).requires_grad_(True)
        (slope,) = torch.autograd.grad(aspect.loss(beside, values).sum(), beside)
    return slope != 0


def squash(raw: Tensor, output: Output, aspect: Aspect) -> Tensor:
    """Return encoded values of raw outputs (`AspectMapConfig.output`).

    Example:
        >>> from augmint.aspects.category import Category
        >>> from augmint.aspects.vector import Vector
        >>> age, label = Vector("age", ("years",)), Category("label", ("cat", "dog"))
        >>> [squash(torch.zeros(1), "sigmoid", aspect).item() for aspect in (age, label)]
        [0.0, 0.5]
    """
    return _SQUASHES[output](raw, aspect.one_hot)


_SQUASHES: Mapping[Output, Callable[[Tensor, bool], Tensor]] = {
    "linear": lambda raw, _: raw,
    "tanh": lambda raw, _: raw.tanh(),
    "sigmoid": lambda raw, one_hot: raw.sigmoid() if one_hot else 2.0 * raw.sigmoid() - 1.0,
}


def _network(config: AspectMapConfig, aspect: Aspect, latent_dim: int, shape: Shape) -> nn.Module:
    if aspect.flat:
        layers: list[nn.Module] = []
        for a, b in pairwise((latent_dim, *config.hidden)):
            layers += [nn.Linear(a, b), nn.ReLU(inplace=True)]
        last = config.hidden[-1] if config.hidden else latent_dim
        network: nn.Module = nn.Sequential(*layers, nn.Linear(last, aspect.width))
        initialise_glorot(network)
        return network
    architecture = ARCHITECTURES.create(config.decoder)
    if architecture.role != "generator" or architecture.bounded:
        raise IncompatibleError(
            f"the decoder of {aspect.name} is a generator that ends without a non-linearity",
            str(config.decoder),
            "set decoder: began-generator",
        )
    wanted = (aspect.width, *shape[1:])
    architecture.check_shape(wanted)
    built: nn.Module = architecture.build(latent_dim, wanted)
    return built

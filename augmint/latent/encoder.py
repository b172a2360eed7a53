"""The inverse of a generator by a network: it starts the optimisation, or replaces it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam

from augmint.core.config import build, to_plain
from augmint.core.errors import UsageError
from augmint.core.machine import resolve_device
from augmint.core.progress import Progress
from augmint.core.runs import load_network, save_network
from augmint.core.streams import scope, stream
from augmint.core.types import to_float
from augmint.latent.inversion import Inversion, errors
from augmint.latent.slots import Prior, draw
from augmint.networks.began import Encoder, check_grid
from augmint.networks.blocks import channels_last, initialise_glorot
from augmint.training.game import frozen
from augmint.training.loop import run_phases
from augmint.training.phases import Group, Phase
from augmint.training.rates import LinearDecay

if TYPE_CHECKING:
    from augmint.core.types import ByteArray, Logs, Shape

_CHUNK = 256
_KIND = "encoder"


@dataclass(frozen=True)
class EncoderConfig:
    """The encoder and its training.

    Args:
        latent_dim, prior: of the generator's latents.
        channels: width of the first stage; the network is the encoder of BEGAN's critic.
        steps, batch, rate: of Adam (betas 0.9 and 0.999); the rate falls in a line from half way.
        latent_weight: of mean (E(G(z)) - z)² on drawn latents.
        image_weight: of mean |x - G(E(x))| on given images, or on G(z) where none are given.

    Raises:
        UsageError: for a value out of range.
    """

    latent_dim: int = 64
    prior: Prior = "uniform"
    channels: int = 32
    steps: int = 3000
    batch: int = 64
    rate: float = 1e-3
    latent_weight: float = 1.0
    image_weight: float = 0.0

    def __post_init__(self) -> None:
        for name in ("latent_dim", "channels", "steps", "batch"):
            if getattr(self, name) < 1:
                raise UsageError(
                    f"an encoder's {name} is at least 1",
                    getattr(self, name),
                    f"raise it (--set encoder.{name}=64)",
                )
        weights = (self.latent_weight, self.image_weight)
        if self.rate <= 0 or min(weights) < 0 or max(weights) == 0:
            raise UsageError(
                "an encoder's rate is above 0, its weights are not negative and not both 0",
                f"rate {self.rate}, weights {weights}",
                "leave them at their defaults, or set one (--set encoder.latent_weight=1)",
            )


@dataclass(frozen=True, eq=False)
class LatentEncoder:
    """A trained encoder, images to latents.

    Args:
        network: in evaluation mode.
        config: how it was trained.
        shape: of the images it takes.
        history: readings of the losses.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
        >>> _ = nn.init.eye_(network[1].weight)
        >>> encoder = LatentEncoder(network, EncoderConfig(latent_dim=2), (1, 1, 2))
        >>> images = np.array([[[[0, 255]]]], np.uint8)
        >>> encoder(images).tolist(), encoder.invert(nn.Unflatten(1, (1, 1, 2)), images).l1.tolist()
        ([[-1.0, 1.0]], [0.0])
    """

    network: nn.Module
    config: EncoderConfig
    shape: Shape
    history: list[dict[str, float]] = field(default_factory=list)

    @torch.no_grad()
    def __call__(self, images: ByteArray) -> Tensor:
        """Return latents, float32 `(N, latent_dim)`, of uint8 images `(N, C, H, W)`.

        Raises:
            UsageError: for images of another shape.
        """
        if tuple(images.shape[1:]) != tuple(self.shape):
            raise UsageError(
                f"this encoder takes images of shape {tuple(self.shape)}",
                tuple(images.shape[1:]),
                "scale the images",
            )
        device = next(self.network.parameters()).device
        found = [torch.zeros(0, self.config.latent_dim)]
        for i in range(0, len(images), _CHUNK):
            part = torch.from_numpy(np.array(images[i : i + _CHUNK])).to(device)
            found.append(self.network(_laid_out(to_float(part))).float().cpu())
        return torch.cat(found)

    def invert(
        self, generator: nn.Module, images: ByteArray, given: Sequence[Tensor] = ()
    ) -> Inversion:
        """Return the inversion without any optimisation: the encoder in its place."""
        device = str(next(self.network.parameters()).device)
        latents, none = self(images), np.zeros(len(images), np.int64)
        l1, psnr = errors(generator.eval(), images, latents, given, device=device)
        return Inversion(latents, l1, psnr, none, none.copy())

    def save(self, path: Path) -> str:
        """Write weights and description to one safetensors file; return its SHA-256."""
        plain = {
            "config": to_plain(self.config),
            "shape": list(self.shape),
            "history": self.history,
        }
        return save_network(path, _KIND, self.network, plain)

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> LatentEncoder:
        """Read what `save` wrote.

        Raises:
            DataError: if the file is damaged or does not fit the network.
        """
        place = resolve_device(device)

        def rebuilt(plain: dict[str, Any]) -> LatentEncoder:
            config = build(EncoderConfig, plain["config"], where="encoder")
            channels, height, width = plain["shape"]
            network = _network(config, (channels, height, width)).to(place)
            return cls(network, config, (channels, height, width), list(plain["history"]))

        return load_network(path, _KIND, rebuilt)


def train_encoder(
    generator: nn.Module,
    shape: Shape,
    config: EncoderConfig,
    seed: int = 0,
    images: ByteArray | None = None,
    given: Sequence[Tensor] = (),
    device: str = "cpu",
    progress: bool = False,
) -> LatentEncoder:
    """Train an encoder on pairs (G(z), z) that are drawn anew at every step.

        L = latent_weight · mean (E(G(z)) - z)² + image_weight · mean |x - G(E(x))|

    Args:
        generator: G(z, *given), images in [-1, 1]; its parameters stay as they are.
        shape: of its images.
        config: how.
        seed: of initialisation, latents and order.
        images: uint8 `(N, C, H, W)`, for the second term; None: generated ones.
        given: further inputs of G, rows beside `images`; drawn pairs take random rows of them.
        device: "auto", "cpu" or "cuda".
        progress: show it.

    Raises:
        UsageError: if the encoder cannot take the shape, or rows do not agree in number.

    Example:
        >>> config = EncoderConfig(latent_dim=64, channels=2, steps=2, batch=4)
        >>> encoder = train_encoder(nn.Unflatten(1, (1, 8, 8)), (1, 8, 8), config)
        >>> encoder(np.zeros((3, 1, 8, 8), np.uint8)).shape
        torch.Size([3, 64])
    """
    rows = {len(g) for g in given} | ({len(images)} if images is not None else set())
    if len(rows) > 1 or 0 in rows:
        raise UsageError(
            "images and given inputs have one row each", sorted(rows), "give as many of each"
        )
    where = resolve_device(device)
    with scope(seed, "init.encoder"):
        network = _network(config, shape).to(where).train()
    parameters = list(network.parameters())
    group = Group("encoder", parameters, Adam(parameters, config.rate, fused=True))
    real = None if images is None else torch.from_numpy(np.array(images)).to(where)
    held = tuple(g.to(where) for g in given)
    phase = EncoderPhase(
        "encoder", [group], network=network, generator=generator.to(where).eval(),
        config=config, seed=seed, real=real, given=held,
    )  # fmt: skip
    phase.after.append(LinearDecay(phase, config.steps, 0.5))
    shown = Progress(config.steps, "encoder", "steps") if progress else None
    with (
        frozen(list(generator.parameters())),
        scope(seed, "encoder.noise"),
        shown or contextlib.nullcontext(),
    ):
        result = run_phases([phase], config.steps, progress=shown)
    return LatentEncoder(network.eval(), config, shape, result.history)


@dataclass
class EncoderPhase(Phase):
    """One step: drawn latents, their images, and what the encoder makes of them."""

    network: nn.Module = field(kw_only=True)
    generator: nn.Module = field(kw_only=True)
    config: EncoderConfig = field(kw_only=True)
    seed: int = field(kw_only=True)
    real: Tensor | None = field(kw_only=True, default=None)
    given: tuple[Tensor, ...] = field(kw_only=True, default=())

    def losses(self, step: int) -> tuple[Mapping[str, Tensor], Logs]:
        """Return the weighted sum of both terms, and each."""
        c = self.config
        total, logs = torch.zeros(()), {}
        made: Tensor | None = None
        given: tuple[Tensor, ...] = ()
        if c.latent_weight or self.real is None:
            made, latents, given = self._drawn(step)
            code = self.network(made)
            loss = (code - latents).square().mean()
            logs["latent"] = loss.detach()
            total = total.to(loss) + c.latent_weight * loss
        if c.image_weight:
            if self.real is not None:
                rows = self._rows("encoder.images", step, len(self.real))
                made = _laid_out(to_float(self.real[rows]))
                given = tuple(g[rows] for g in self.given)
                code = self.network(made)
            loss = (self.generator(code, *given) - made).abs().mean()
            logs["image"] = loss.detach()
            total = total.to(loss) + c.image_weight * loss
        return {"encoder": total}, logs

    def _drawn(self, step: int) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        c, device = self.config, next(self.network.parameters()).device
        numbers = stream(self.seed, "encoder.latent", step, c.batch)
        latents = draw(numbers, c.latent_dim, c.prior).to(device)
        given: tuple[Tensor, ...] = ()
        if self.given:
            rows = self._rows("encoder.given", step, len(self.given[0]))
            given = tuple(g[rows] for g in self.given)
        with torch.no_grad():
            made = self.generator(latents, *given).clamp(-1.0, 1.0)
        return made, latents, given

    def _rows(self, purpose: str, step: int, count: int) -> Tensor:
        drawn = stream(self.seed, purpose, step, self.config.batch).integers(1, count)[:, 0]
        return drawn.to(next(self.network.parameters()).device)


def _network(config: EncoderConfig, shape: Shape) -> nn.Module:
    check_grid("a latent encoder", config.channels, shape)
    network = Encoder(config.latent_dim, config.channels, shape)
    initialise_glorot(network)
    return channels_last(network)


def _laid_out(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)

"""The inverse of a generator by optimisation:
the latent whose image comes nearest to a given one."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from augmint.core.errors import DataError, TrainingDivergedError, UsageError
from augmint.core.machine import resolve_device
from augmint.core.progress import Progress
from augmint.core.runs import load_tensors, save_tensors
from augmint.core.streams import scope
from augmint.core.types import to_float
from augmint.latent.slots import Prior, Slots
from augmint.training.game import frozen

if TYPE_CHECKING:
    from augmint.core.types import ByteArray, FloatArray, IntArray

_LEAST_ERROR = 1e-12  # mean squared error below which PSNR stops growing: 126 dB


@dataclass(frozen=True)
class InversionConfig:
    """How latents are searched for. The defaults are those of Bazrafkan, Javidnia and Corcoran.

    Args:
        latent_dim: width of z.
        steps: of one attempt.
        rate, betas: of Adam on z.
        loss: "l1", mean |x - G(z)| (the paper), or "l2", mean (x - G(z))² (its program); images
            are in [-1, 1].
        prior: what latents are drawn from: uniform in [-1, 1) or N(0, I).
        bound: weight of the penalty on leaving the prior (`inversion.invert`); 0 for none, as in
            the paper.
        batch: images optimised at a time; it changes no result beyond rounding.
        restarts: how often an image may begin again from another latent.
        restart_after, restart_above: it does so if after so many steps its loss is above this.
        stop_below: an image is done when its loss is at most this.
        patience: an image is done when its loss fell by less than 1 % in so many steps; 0: never.
        look: steps between two looks at the losses, which is when images end.
        keep: "best", the latent of least loss; or "last", which the program keeps.
        precision: "bf16" runs the generator under autocast.

    Raises:
        UsageError: for a value out of range.
    """

    latent_dim: int = 64
    steps: int = 500
    rate: float = 0.1
    betas: tuple[float, float] = (0.9, 0.999)
    loss: Literal["l1", "l2"] = "l1"
    prior: Prior = "uniform"
    bound: float = 0.0
    batch: int = 64
    restarts: int = 3
    restart_after: int = 20
    restart_above: float = 0.4
    stop_below: float = 0.0
    patience: int = 0
    look: int = 20
    keep: Literal["best", "last"] = "best"
    precision: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        least = {"latent_dim": 1, "steps": 1, "batch": 1, "restart_after": 1, "look": 1}
        least |= {"rate": 0, "bound": 0, "restarts": 0, "patience": 0}
        for name, low in least.items():
            value = getattr(self, name)
            if value < low or (name == "rate" and value <= 0):
                rule = "above 0" if name == "rate" else f"at least {low}"
                raise UsageError(
                    f"an inversion's {name} is {rule}",
                    value,
                    f"raise it (--set inversion.{name}=...)",
                )


@dataclass(frozen=True, eq=False)
class Inversion:
    """Latents of images, and how near their images come.

    Args:
        latents: float32 `(N, latent_dim)`.
        l1: `(N,)`, mean |x - G(z)| over pixels, images in [-1, 1], G(z) clipped to it, fp32.
        psnr: `(N,)`, 10 log10(4 / mean (x - G(z))²), in dB.
        steps: `(N,)`, optimisation steps spent, over all attempts.
        restarts: `(N,)`, attempts beyond the first.
    """

    latents: Tensor
    l1: FloatArray
    psnr: FloatArray
    steps: IntArray
    restarts: IntArray

    def __len__(self) -> int:
        return len(self.latents)

    def save(self, path: Path) -> str:
        """Write everything as one safetensors file; return its SHA-256."""
        arrays = {n: torch.from_numpy(getattr(self, n)) for n in _ARRAYS}
        return save_tensors(path, {"latents": self.latents, **arrays}, {"kind": "inversion"})

    @classmethod
    def load(cls, path: Path) -> Inversion:
        """Read what `save` wrote.

        Raises:
            DataError: if the file is damaged or is something else.
        """
        tensors, metadata = load_tensors(path)
        if metadata.get("kind") != "inversion" or set(tensors) != {"latents", *_ARRAYS}:
            raise DataError("an inversion is read back", str(path), "invert the images again")
        return cls(tensors["latents"], *(tensors[n].numpy() for n in _ARRAYS))


_ARRAYS = ("l1", "psnr", "steps", "restarts")


def invert(
    generator: nn.Module,
    images: ByteArray,
    config: InversionConfig,
    seed: int = 0,
    start: Tensor | None = None,
    given: Sequence[Tensor] = (),
    device: str = "cpu",
    progress: bool = False,
) -> Inversion:
    """Search for the latents whose images are nearest to the given ones, many at a time.

        z* = argmin_z  mean |x - G(z)| + bound · p(z)
        p(z) = mean_j max(0, |z_j| - 1)²  (uniform),   max(0, mean_j z_j² - 1)²  (normal)

    Losses of images are summed, so that each is optimised as if it were alone; moments, restarts
    and ends are its own. An image that ends makes room for the next. The generator runs in
    evaluation mode with its parameters frozen: gradients of weights are never computed. It may lie
    in any float type; latents are of the same.

    Args:
        generator: G(z, *given), images in [-1, 1].
        images: uint8 `(N, C, H, W)`.
        config: how.
        seed: of the first latents; that of row i depends on (seed, i, attempt) alone.
        start: `(N, latent_dim)`, first latents of the first attempts (`encoder` gives good ones).
        given: further inputs of G, N rows each, which stay as they are.
        device: "auto", "cpu" or "cuda".
        progress: show it.

    Raises:
        UsageError: for images that G does not make, or rows that do not agree in number.
        TrainingDivergedError: if an error is not finite.

    Source: Bazrafkan, Javidnia and Corcoran 2018 (Pattern Recognition Letters 116), equation 4.

    Example:
        >>> images = np.array([[[[0, 255]]]], np.uint8)
        >>> config = InversionConfig(latent_dim=2, steps=100, loss="l2")
        >>> found = invert(nn.Unflatten(1, (1, 1, 2)), images, config)
        >>> found.latents.round(decimals=1).tolist()
        [[-1.0, 1.0]]
    """
    where = resolve_device(device)
    _check(images, config, start, given)
    training = generator.training
    generator.to(where).eval()
    shown = Progress(len(images), "invert", "images") if progress else None
    try:
        with frozen(list(generator.parameters())), scope(seed, "invert.noise"):
            slots = Slots(generator, images, config, seed, start, given, where)
            with shown or contextlib.nullcontext():
                while slots.live:
                    ended = slots.run()
                    if shown is not None:
                        shown.advance(ended)
            l1, psnr = errors(generator, images, slots.found, given, config.batch, device)
    finally:
        generator.train(training)
    bad = np.flatnonzero(~np.isfinite(l1))
    if len(bad):
        raise TrainingDivergedError(
            "the error of an inversion is finite",
            f"{len(bad)} images, the first is row {bad[0]}",
            "lower the rate, or take a generator that trained well",
        )
    return Inversion(slots.found, l1, psnr, slots.steps, slots.restarts)


def errors(
    generator: nn.Module,
    images: ByteArray,
    latents: Tensor,
    given: Sequence[Tensor] = (),
    batch: int = 64,
    device: str = "cpu",
) -> tuple[FloatArray, FloatArray]:
    """Return mean absolute error and PSNR (dB), `(N,)` each, of the images of latents.

    Args:
        generator: G(z, *given), in evaluation mode.
        images: uint8 `(N, C, H, W)`, what the latents stand for.
        latents: `(N, latent_dim)`.
        given: further inputs of G.
        batch: images a forward pass.
        device: "auto", "cpu" or "cuda".

    Example:
        >>> black, grey = np.zeros((1, 1, 2, 2), np.uint8), torch.zeros(1, 4)
        >>> l1, psnr = errors(nn.Unflatten(1, (1, 2, 2)), black, grey)
        >>> l1.item(), round(psnr.item(), 2)  # 10 log10(4)
        (1.0, 6.02)
    """
    where, dtype = resolve_device(device), _dtype(generator)
    found = np.zeros((2, len(images)), np.float64)
    with torch.no_grad():
        for i in range(0, len(images), batch):
            rows = slice(i, i + batch)
            target = to_float(torch.from_numpy(np.array(images[rows])).to(where)).to(dtype)
            made = generator(latents[rows].to(where, dtype), *(g[rows].to(where) for g in given))
            gap = (made.clamp(-1.0, 1.0) - target).flatten(1).double()
            found[0, rows] = gap.abs().mean(1).cpu().numpy()
            found[1, rows] = gap.square().mean(1).cpu().numpy()
    with np.errstate(invalid="ignore"):
        psnr = 10.0 * np.log10(4.0 / np.maximum(found[1], _LEAST_ERROR))
    return found[0].astype(np.float32), psnr.astype(np.float32)


def _dtype(generator: nn.Module) -> torch.dtype:
    kinds = {p.dtype for p in generator.parameters() if p.is_floating_point()}
    return kinds.pop() if len(kinds) == 1 else torch.float32


def _check(
    images: ByteArray, config: InversionConfig, start: Tensor | None, given: Sequence[Tensor]
) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or not len(images):
        raise UsageError(
            "images to invert are uint8 (N, C, H, W) with N above 0",
            f"{images.dtype} {images.shape}",
            "convert with augmint.core.types.to_uint8",
        )
    rows: dict[str, Any] = {f"given[{i}]": g for i, g in enumerate(given)}
    if start is not None:
        rows["start"] = start
        if start.shape[1:] != (config.latent_dim,):
            raise UsageError(
                f"first latents have {config.latent_dim} entries",
                tuple(start.shape),
                "set latent_dim to the width of the generator's latent",
            )
    for name, values in rows.items():
        if len(values) != len(images):
            raise UsageError(
                f"every image has its row of {name}",
                f"{len(values)} for {len(images)} images",
                "give as many rows as images",
            )

"""A trained generator as inversion and sampling see it: z in, images out, all else given."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from augmint.core.errors import IncompatibleError, UsageError
from augmint.core.streams import stream
from augmint.latent.inversion import Inversion, InversionConfig, invert
from augmint.latent.slots import Prior
from augmint.training.game import call, choose

if TYPE_CHECKING:
    import numpy as np

    from augmint.conditioning.base import Conditioning, ConditioningContext
    from augmint.core.types import ByteArray, FloatImages
    from augmint.training.gan import TrainedGan


class Conditioned(nn.Module):
    """G behind its conditioning: `forward(z, *given)`, what conditioning puts into G being given.

    z is the noise of the latent. Where conditioning appends the aspects' code to the noise, that
    code is the first of `given`; the values of the aspects that it carries follow.

    Args:
        generator: G.
        conditioning: how aspects enter it.
        context: what it was trained with.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.aspects.category import Category
        >>> from augmint.conditioning.base import ConditioningContext
        >>> from augmint.core.registry import CONDITIONING
        >>> context = ConditioningContext(Schema((Category("label", ("a", "b")),)), (1, 8, 8), 4)
        >>> network = Conditioned(nn.Identity(), CONDITIONING.create("concatenation"), context)
        >>> network(torch.zeros(1, network.free), *network.given({"label": torch.tensor([1])}, 1))
        tensor([[0., 0., 0., 0., 0., 1.]])
    """

    def __init__(
        self, generator: nn.Module, conditioning: Conditioning, context: ConditioningContext
    ) -> None:
        super().__init__()
        self.generator, self.conditioning, self.context = generator, conditioning, context
        self.names = [a.name for a in context.schema if a.kind in conditioning.kinds]
        noise, width = conditioning.noise_width(context), conditioning.latent_width(context)
        self.free = noise or width
        self.appended = width - self.free

    def given(self, values: Mapping[str, np.ndarray | Tensor], rows: int) -> tuple[Tensor, ...]:
        """Return what `forward` takes besides z, for stored values of `rows` rows.

        Raises:
            UsageError: if an aspect that the generator is asked for is missing.
        """
        missing = [n for n in self.names if n not in values]
        if missing:
            raise UsageError(
                "a conditioned generator is given the aspects of its images",
                f"no values of {', '.join(missing)}",
                "pass values={...}",
            )
        held = {n: torch.as_tensor(values[n]) for n in self.names}
        code: tuple[Tensor, ...] = ()
        if self.appended:
            numbers = stream(0, "latent.code", 0, rows)
            whole = self.conditioning.sample_latent(self.context, held, numbers)
            code = (whole[:, self.free :],)
        return (*code, *held.values())

    def forward(self, latent: Tensor, *given: Tensor) -> FloatImages:
        """Return G's images."""
        codes = 1 if self.appended else 0
        appended, values = given[:codes], given[codes:]
        whole = torch.cat((latent, appended[0].to(latent)), 1) if appended else latent
        aspects = dict(zip(self.names, values, strict=True))
        images: Tensor = call(
            self.generator, *self.conditioning.generator_inputs(self.context, whole, aspects)
        )
        return images


def invert_gan(
    trained: TrainedGan,
    images: ByteArray,
    config: InversionConfig,
    values: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
    start: Tensor | None = None,
    device: str = "cpu",
    progress: bool = False,
) -> Inversion:
    """Invert a trained generator: `inversion.invert`, with what its configuration declares.

    Width and prior of the latent are those of its conditioning. Only the noise is searched for;
    the aspects stay as they are given.

    Args:
        trained: what `train_gan` returned.
        images: uint8 `(N, C, H, W)`.
        config: how; `latent_dim` and `prior` are replaced.
        values: stored values of the aspects that it was conditioned on, N rows each.
        seed, start, device, progress: as for `invert`.

    Raises:
        IncompatibleError: if images are of another shape, or bf16 does not suit the generator.
        UsageError: if values are missing.
    """
    network, settled = of_gan(trained, config)
    if tuple(images.shape[1:]) != tuple(trained.shape):
        raise IncompatibleError(
            f"the generator makes images of shape {tuple(trained.shape)}",
            tuple(images.shape[1:]),
            "scale the images as those it was trained on",
        )
    given = network.given(values or {}, len(images))
    return invert(network, images, settled, seed, start, given, device, progress)


def of_gan(trained: TrainedGan, config: InversionConfig) -> tuple[Conditioned, InversionConfig]:
    """Return a trained generator behind its conditioning, and a configuration that suits it.

    Raises:
        IncompatibleError: if bf16 does not suit the generator.
    """
    parts = choose(trained.config)
    network = Conditioned(trained.generator, parts.conditioning, trained.context)
    if config.precision == "bf16" and not parts.generator.bf16:
        raise IncompatibleError(
            "this generator does not run in bf16", str(parts.generator), "set precision: fp32"
        )
    if parts.generator.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    noise = parts.conditioning.noise_width(trained.context)
    prior: Prior = "normal" if noise else "uniform"
    return network, dataclasses.replace(config, latent_dim=network.free, prior=prior)

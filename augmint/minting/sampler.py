"""Draws images from a generator: one id, one seed and one set of aspects always give one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from augmint.aspects.base import Schema
from augmint.core.errors import LISTED, DataError, UsageError
from augmint.core.streams import stream
from augmint.core.types import AspectValues, to_uint8
from augmint.minting.truncation import Of, PulledStyles, check_truncation
from augmint.training.between import between

if TYPE_CHECKING:
    from augmint.conditioning.base import Conditioning, ConditioningContext
    from augmint.core.types import ByteArray, IntArray
    from augmint.training.joint import Joint


@runtime_checkable
class PairingSampler(Protocol):
    """A sampler whose images come with values that follow from them."""

    def pairs(
        self, aspects: AspectValues, ids: IntArray, seed: int
    ) -> tuple[ByteArray, dict[str, np.ndarray]]:
        """Return images, and stored values of all that they carry; one of each for each id."""
        ...


@dataclass
class GanSampler:
    """Samples `G(z, aspects)` with z keyed by (seed, id), in evaluation mode.

    An image depends on (seed, id, aspects) and not on the batch it travels in: latents come from
    `stream(seed, "mint.latent", 0, ids)`, and the generator always runs on batches of `chunk`
    (the last is filled up by repetition), so that not even float rounding follows the request.

    Truncation (`minting.truncation`) bounds the Gaussian entries of latents by tau, or pulls styles
    to their mean by psi; what says the aspects stays. The image of an id moves with the value: it
    is the same draw, moved within the bound, not another.

    Args:
        generator: G; set to evaluation mode and moved to `device`.
        conditioning: how aspects enter.
        context: schema, image shape and latent width it was trained with.
        device: "cpu" or "cuda".
        chunk: images a forward pass.
        truncation: None; tau > 0 for latents, psi from 0 to 1 for styles.
        bank: training values of the schema's aspects, rows aligned, from which aspects that a
            request leaves open are drawn (rows of the same category).
        mixed: draw them between those of two such rows, as the generator was trained to.
        truncates: what truncation acts on; styles need a generator that gives them.
        joint: what its images carry as further channels; None: nothing.

    Raises:
        UsageError: if chunk is not positive, or truncation is out of range or has nothing to act
            on.

    Example:
        >>> from augmint.conditioning.base import ConditioningContext
        >>> from augmint.core.registry import CONDITIONING
        >>> context = ConditioningContext(Schema(()), (1, 8, 8), latent_dim=4)
        >>> generator = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))
        >>> draw = GanSampler(generator, CONDITIONING.create("none"), context).sample
        >>> np.array_equal(draw({}, np.array([5, 9]), seed=0)[1:], draw({}, np.array([9]), seed=0))
        True
    """

    generator: nn.Module
    conditioning: Conditioning
    context: ConditioningContext
    device: str = "cpu"
    chunk: int = 64
    truncation: float | None = None
    bank: Mapping[str, np.ndarray] = field(default_factory=dict)
    truncates: Of = "latents"
    joint: Joint | None = None
    mixed: bool = False

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise UsageError("a chunk holds at least one image", self.chunk, "pass chunk=64")
        check_truncation(self.truncation, self.truncates, self.conditioning, self.context)
        self.generator.eval().to(self.device)
        self._pulled: PulledStyles | None = None
        if self.truncation is not None and self.truncates == "styles":
            self._pulled = PulledStyles(self.generator, self._mean_inputs, self.truncation)

    def latents(self, aspects: AspectValues, ids: IntArray, seed: int) -> Tensor:
        """Return the latents `(N, width)` of ids, bounded where that is asked for."""
        bound = self.truncation if self.truncates == "latents" else None
        numbers = stream(seed, "mint.latent", 0, ids, bound)
        return self.conditioning.sample_latent(self.context, aspects, numbers)

    def _mean_inputs(self, aspects: AspectValues, ids: IntArray) -> tuple[Tensor, Tensor | None]:
        """Return the generator's inputs for noise that belongs to no seed."""
        part = {name: rows.cpu() for name, rows in aspects.items()}
        numbers = stream(0, "mint.mean", 0, ids)
        latent = self.conditioning.sample_latent(self.context, part, numbers).to(self.device)
        return self.conditioning.generator_inputs(self.context, latent, aspects)

    def complete(self, aspects: AspectValues, ids: IntArray, seed: int) -> dict[str, Tensor]:
        """Return values for every aspect that is asked for, those missing drawn from the bank.

        A row of the bank is drawn for each id among the rows that agree with every category
        asked for; if `mixed`, two that agree in every category, and a place between them.

        Raises:
            UsageError: for a class that there is not, if an aspect is missing and the bank does not
                hold it, or if no row of the bank agrees with a category.
            DataError: for another value out of range.
        """
        schema = self.context.schema
        complete = {name: torch.as_tensor(v) for name, v in aspects.items()}
        _check_asked(schema, complete)
        open_names = [a.name for a in schema if a.name not in complete]
        if not open_names:
            return complete
        for name in open_names:
            if name not in self.bank:
                known = ", ".join(complete) or "none"
                raise UsageError(
                    f"minting needs values for the aspect {name}",
                    f"values for {known}",
                    "give them, or a bank of training values (bank={...})",
                )
        drawn = self._of_bank(open_names, complete, ids, seed, "mint.aspects")
        if self.mixed:
            other = self._of_bank(open_names, complete | drawn, ids, seed, "mint.others")
            share = stream(seed, "mint.between", 0, ids).uniform(1)[:, 0]
            drawn = between(Schema(tuple(schema[n] for n in open_names)), drawn, other, share)
        return complete | drawn

    def _of_bank(
        self,
        names: Sequence[str],
        asked: Mapping[str, Tensor],
        ids: IntArray,
        seed: int,
        purpose: str,
    ) -> dict[str, Tensor]:
        chosen = self._bank_rows(asked, ids, seed, purpose)
        return {n: torch.as_tensor(self.bank[n][chosen]) for n in names}

    def _bank_rows(
        self, asked: Mapping[str, Tensor], ids: IntArray, seed: int, purpose: str
    ) -> IntArray:
        keys = [a.name for a in self.context.schema.of_kind("category") if a.name in asked]
        size = len(next(iter(self.bank.values())))
        chance = stream(seed, purpose, 0, ids).uniform(1).numpy()[:, 0].astype(np.float64)
        wanted = np.stack([np.asarray(asked[k]) for k in keys] or [np.zeros(len(ids), np.int64)])
        held = np.stack([self.bank[k] for k in keys] or [np.zeros(size, np.int64)])
        rows = np.zeros(len(ids), np.int64)
        for value in np.unique(wanted, axis=1).T:
            here = (wanted == value[:, None]).all(0)
            pool = np.flatnonzero((held == value[:, None]).all(0))
            if not len(pool):
                raise UsageError(
                    "a category's other aspects are drawn from its training rows",
                    f"no row for {dict(zip(keys, value.tolist(), strict=True))}",
                    "ask for a category that the generator was trained on",
                )
            rows[here] = pool[(chance[here] * len(pool)).astype(np.int64)]
        return rows

    def sample(self, aspects: AspectValues, ids: IntArray, seed: int) -> ByteArray:
        """Return uint8 images `(N, C, H, W)`, one for each id; arguments and errors as `pairs`."""
        return self.pairs(aspects, ids, seed)[0]

    def pairs(
        self, aspects: AspectValues, ids: IntArray, seed: int
    ) -> tuple[ByteArray, dict[str, np.ndarray]]:
        """Return uint8 images `(N, C, H, W)` and all that they carry, one for each id.

        Args:
            aspects: stored values, N rows each; missing ones are completed from the bank.
            ids: int64 `(N,)`.
            seed: any integer.

        Raises:
            UsageError: if an aspect has another number of rows than `ids`, names a class that there
                is not, or cannot be completed.
            DataError: for another value out of range.
        """
        ids = np.asarray(ids, np.int64)
        values = self.complete(aspects, ids, seed)
        for name, rows in values.items():
            if len(rows) != len(ids):
                raise UsageError(
                    "every id has one value of each aspect",
                    f"{len(rows)} of {name} for {len(ids)} ids",
                    "give arrays of one length",
                )
        drawn = self._drawn(values, ids, seed)
        told = {name: rows.numpy() for name, rows in values.items()}
        if self.joint is None:
            return drawn, told
        images, seen = self.joint.split(drawn)
        return images, {**told, **seen}

    @torch.no_grad()
    def _drawn(self, values: Mapping[str, Tensor], ids: IntArray, seed: int) -> ByteArray:
        """Return what the generator gives, with the channels of what is drawn beside the image."""
        images = np.empty((len(ids), *self.context.shape), np.uint8)
        for start in range(0, len(ids), self.chunk):
            here = np.arange(start, start + self.chunk).clip(max=len(ids) - 1)
            taken = min(self.chunk, len(ids) - start)
            part = {name: rows[here] for name, rows in values.items()}
            latent = self.latents(part, ids[here], seed).to(self.device)
            on_device = {name: rows.to(self.device) for name, rows in part.items()}
            z, condition = self.conditioning.generator_inputs(self.context, latent, on_device)
            if self._pulled is not None:
                made = self._pulled(z, condition, on_device)
            else:
                made = self.generator(z) if condition is None else self.generator(z, condition)
            images[start : start + taken] = to_uint8(made[:taken].float()).cpu().numpy()
        return images


def _check_asked(schema: Schema, asked: AspectValues) -> None:
    for name, values in asked.items():
        if name not in schema:
            continue
        try:
            schema[name].check(values.cpu().numpy())
        except DataError as error:
            classes = getattr(schema[name], "classes", None)
            if classes is None:
                raise
            shown = ", ".join(f"{i} {c}" for i, c in enumerate(classes[:LISTED]))
            more = f" and {len(classes) - LISTED} more" if len(classes) > LISTED else ""
            raise UsageError(error.rule, error.value, f"known: {shown}{more}") from None

"""The places of an inversion's batch: each holds the latent of one image
until that image is done."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from augmint.core.streams import stream
from augmint.core.types import to_float

if TYPE_CHECKING:
    from augmint.core.streams import Stream
    from augmint.core.types import ByteArray, FloatArray, IntArray
    from augmint.latent.inversion import InversionConfig

Prior = Literal["uniform", "normal"]

_EPSILON = 1e-8
_GAIN = 0.99  # a loss that fell below this share of its least has moved


def draw(numbers: Stream, width: int, prior: Prior) -> Tensor:
    """Return latents `(ids, width)` from a prior: uniform in [-1, 1) or N(0, I).

    Example:
        >>> draw(stream(0, "latent", 0, ids=[7, 9]), 4, "uniform").shape
        torch.Size([2, 4])
        >>> bool((draw(stream(0, "latent", 0, 1000), 4, "uniform").abs() <= 1.0).all())
        True
    """
    if prior == "uniform":
        return numbers.uniform(width, -1.0, 1.0)
    return numbers.normal(width)


def outside(latents: Tensor, prior: Prior) -> Tensor:
    """Return how far latents `(N, d)` lie outside their prior, `(N,)`, smooth, 0 inside.

        uniform: mean_j max(0, |z_j| - 1)²;    normal: max(0, mean_j z_j² - 1)²

    Example:
        >>> outside(torch.tensor([[0.5, 3.0]]), "uniform")
        tensor([2.])
    """
    if prior == "uniform":
        return (latents.abs() - 1.0).clamp_min(0.0).square().mean(1)
    return (latents.square().mean(1) - 1.0).clamp_min(0.0).square()


class Slots:
    """Adam on the latents of a batch, every row with its own age, moments and attempts.

    A look at the losses falls on ages that are the row's own (multiples of `look`,
    `restart_after`, `steps`), so that what happens to an image does not depend on its neighbours.

    Args:
        generator: G(z, *given), frozen, on the device.
        images: uint8 `(N, C, H, W)`.
        config: how.
        seed: of first latents.
        start: first latents of first attempts, or None.
        given: further inputs of G.
        device: where it runs.

    Attributes:
        found: `(N, latent_dim)`, latents of images that are done.
        steps, restarts: `(N,)`, of images that are done.
    """

    def __init__(
        self,
        generator: nn.Module,
        images: ByteArray,
        config: InversionConfig,
        seed: int,
        start: Tensor | None,
        given: Sequence[Tensor],
        device: torch.device,
    ) -> None:
        self.generator, self.images, self.config = generator, images, config
        self.seed, self.start, self.given, self.device = seed, start, given, device
        self.dtype = next((p.dtype for p in generator.parameters()), torch.float32)
        count = len(images)
        self.found = torch.zeros(count, config.latent_dim)
        self.steps: IntArray = np.zeros(count, np.int64)
        self.restarts: IntArray = np.zeros(count, np.int64)
        self._next = min(config.batch, count)
        self.rows: IntArray = np.arange(self._next)
        self.attempts: IntArray = np.zeros(self._next, np.int64)
        self.ages: IntArray = np.zeros(self._next, np.int64)
        self._state = self._fresh(self.rows, self.attempts)
        self._given = self._given_of(self.rows)
        self._powers = self._bias_powers()

    @property
    def live(self) -> int:
        """Images under way."""
        return len(self.rows)

    @property
    def losses(self) -> FloatArray:
        """The least loss of each place's attempt so far, `(live,)`."""
        found: FloatArray = self._state["low"].double().cpu().numpy()
        return found

    def run(self) -> int:
        """Optimise up to the next look, end what is done, fill its places;
        return how many ended."""
        count = int(min(self._until_look(age) for age in self.ages))
        for _ in range(count):
            self._step()
        self.ages = self.ages + count
        low = self.losses
        moved = self._state["moved"].cpu().numpy()
        done, again = self._decide(low, moved)
        if again.any():
            self._keep_least(again)
            self._restart(np.flatnonzero(again))
        if done.any():
            self._keep_least(done)
            self._end(np.flatnonzero(done))
        return int(done.sum())

    def _until_look(self, age: int) -> int:
        c = self.config
        ends = [c.look - age % c.look, c.steps - age]
        if age < c.restart_after and c.restarts:
            ends.append(c.restart_after - age)
        return min(ends)

    def _step(self) -> None:
        c, s = self.config, self._state
        z = s["z"].detach().requires_grad_(True)
        half = c.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16) if half else contextlib.nullcontext():
            made = self.generator(z, *self._given)
        gap = (made.float() if half else made) - s["target"]
        errors = (gap.abs() if c.loss == "l1" else gap.square()).flatten(1).mean(1)
        total = errors.sum()
        if c.bound:
            total = total + c.bound * outside(z, c.prior).sum()
        torch.autograd.backward(total, inputs=[z])
        with torch.no_grad():
            s["z"] = z.detach()
            self._note(errors.detach())
            self._adam(torch.zeros_like(z) if z.grad is None else z.grad)

    def _note(self, errors: Tensor) -> None:
        """Keep the least loss of each attempt and its latent."""
        s = self._state
        less, gain = errors < s["low"], errors < s["moved_from"] * _GAIN
        s["moved"] = torch.where(gain, s["age"], s["moved"])
        s["moved_from"] = torch.where(gain, errors, s["moved_from"])
        s["low"] = torch.where(less, errors, s["low"])
        s["low_z"] = torch.where(less[:, None], s["z"], s["low_z"])

    def _adam(self, gradient: Tensor) -> None:
        s, (b1, b2) = self._state, self.config.betas
        s["age"] = s["age"] + 1
        s["first"].lerp_(gradient, 1.0 - b1)
        s["second"].mul_(b2).addcmul_(gradient, gradient, value=1.0 - b2)
        first, second = (p[s["age"]][:, None] for p in self._powers)
        root = (s["second"] / second).sqrt_().add_(_EPSILON)
        s["z"] = s["z"] - self.config.rate * (s["first"] / first) / root

    def _bias_powers(self) -> tuple[Tensor, ...]:
        """1 - beta^t for t = 0 … steps, of both betas."""
        t = torch.arange(self.config.steps + 1, dtype=torch.float64)
        powers = [1.0 - b**t for b in self.config.betas]
        return tuple(p.to(self.device, self.dtype) for p in powers)

    def _decide(self, low: FloatArray, moved: IntArray) -> tuple[Any, Any]:
        """Which places are done, and which begin again."""
        c = self.config
        done = (self.ages >= c.steps) | (low <= c.stop_below)
        if c.patience:
            done |= self.ages - moved > c.patience
        again = (self.ages == c.restart_after) & (self.attempts < c.restarts)
        again &= low > c.restart_above
        # what is not finite stays so: another latent, or the end
        lost = ~np.isfinite(low) & (self.ages >= c.look)
        again |= lost & (self.attempts < c.restarts)
        return (done | lost) & ~again, again

    def _keep_least(self, which: np.ndarray[Any, Any]) -> None:
        """Take an attempt that ended into account for the least over all attempts."""
        s = self._state
        last = self.config.keep == "last"
        chosen = torch.from_numpy(which).to(self.device)
        better = chosen & (torch.ones_like(chosen) if last else s["low"] < s["least"])
        s["least"] = torch.where(better, s["low"], s["least"])
        kept = s["z"] if last else s["low_z"]
        s["least_z"] = torch.where(better[:, None], kept, s["least_z"])

    def _restart(self, places: IntArray) -> None:
        self.steps[self.rows[places]] += self.ages[places]
        self.attempts[places] += 1
        self.ages[places] = 0
        fresh = self._fresh(self.rows[places], self.attempts[places])
        self._put(places, {k: v for k, v in fresh.items() if not k.startswith("least")})

    def _end(self, places: IntArray) -> None:
        """Write down what is done; the next images take the places, or the batch shrinks."""
        rows = self.rows[places]
        index = torch.from_numpy(places).to(self.device)
        self.found[rows] = self._state["least_z"][index].float().cpu()
        self.steps[rows] += self.ages[places]
        self.restarts[rows] = self.attempts[places]
        count = min(len(places), len(self.images) - self._next)
        taken, left = places[:count], places[count:]
        if count:
            fresh = np.arange(self._next, self._next + count)
            self._next += count
            self.rows[taken], self.attempts[taken], self.ages[taken] = fresh, 0, 0
            self._put(taken, self._fresh(fresh, self.attempts[taken]))
        if len(left):
            stay = np.setdiff1d(np.arange(len(self.rows)), left)
            self.rows, self.attempts = self.rows[stay], self.attempts[stay]
            self.ages = self.ages[stay]
            kept = torch.from_numpy(stay).to(self.device)
            self._state = {k: v[kept] for k, v in self._state.items()}
        if count or len(left):
            self._given = self._given_of(self.rows)

    def _put(self, places: IntArray, values: dict[str, Tensor]) -> None:
        index = torch.from_numpy(places).to(self.device)
        for name, value in values.items():
            self._state[name][index] = value

    def _fresh(self, rows: IntArray, attempts: IntArray) -> dict[str, Tensor]:
        """The state of images that begin an attempt."""
        z = self._first_latents(rows, attempts).to(self.device, self.dtype)
        n, like = len(rows), {"device": self.device, "dtype": self.dtype}
        images = torch.from_numpy(np.array(self.images[rows])).to(self.device)
        target = to_float(images).to(self.dtype)
        if self.device.type == "cpu":
            target = target.contiguous(memory_format=torch.channels_last)
        infinite = torch.full((n,), float("inf"), **like)  # type: ignore[call-overload]
        zeros = torch.zeros(n, dtype=torch.int64, device=self.device)
        return {
            "z": z,
            "first": torch.zeros_like(z),
            "second": torch.zeros_like(z),
            "age": zeros,
            "moved": zeros.clone(),
            "moved_from": infinite,
            "low": infinite.clone(),
            "low_z": z.clone(),
            "least": infinite.clone(),
            "least_z": z.clone(),
            "target": target,
        }

    def _first_latents(self, rows: IntArray, attempts: IntArray) -> Tensor:
        c = self.config
        z = torch.empty(len(rows), c.latent_dim)
        for attempt in np.unique(attempts):
            here = attempts == attempt
            which = torch.from_numpy(np.flatnonzero(here))
            if attempt == 0 and self.start is not None:
                z[which] = self.start[rows[here]].float().cpu()
                continue
            numbers = stream(self.seed, "invert.start", int(attempt), rows[here])
            z[which] = draw(numbers, c.latent_dim, c.prior)
        return z

    def _given_of(self, rows: IntArray) -> tuple[Tensor, ...]:
        index = torch.from_numpy(rows)
        return tuple(g[index.to(g.device)].to(self.device) for g in self.given)

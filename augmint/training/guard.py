"""The guard: finds runs that are no longer finite or that collapsed, and keeps what was good."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from augmint.core.errors import TrainingDivergedError
from augmint.training.state import Parts, Saved

Look = Literal["good", "doubtful", "restored", "collapsed"]


@dataclass(frozen=True)
class GuardRules:
    """When the guard acts; looks happen at log intervals.

    Args:
        restores: how often a run that is not finite goes back to its last good snapshot, at half
            the rate each time, before it is given up.
        fraction: diversity below this fraction of the real images' is a strike.
        strikes: so many strikes in a row are a collapse.
        warm_up: strikes count from this step on (a generator begins with one grey image).
        lost: a distance to the real images above this multiple of the run's least is a strike.
        slack: a state is kept if its distance is above the run's least by at most this share.

    Example:
        >>> rules = GuardRules(strikes=2, warm_up=0)
        >>> guard = Guard(Parts(), (), rules, diversity=lambda: 0.0, real_diversity=1.0)
        >>> [guard.look(step, {}) for step in (100, 200)]
        ['doubtful', 'collapsed']
    """

    restores: int = 2
    fraction: float = 0.2
    strikes: int = 5
    warm_up: int = 1000
    lost: float = 2.0
    slack: float = 0.05


class Guard:
    """Looks at a run at intervals; keeps a snapshot of all its parts as of the last good look.

    A look is good if all numbers and all tensors are finite and generated images are as varied, and
    as near to real ones, as the rules ask. What a run gives in the end is the last snapshot that
    was good and as near to the real images as any before it, up to `slack`; where the objective
    measures its own convergence, the one with least of that. Images that are alike replace no
    varied ones.

    Args:
        parts: what is watched and restored.
        optimisers: their rates are halved by a restore.
        rules: when to act.
        diversity: measures generated images (`batch_diversity` of a fixed batch), or None.
        real_diversity: the same of real images.
        converges: the log that falls as the run gets better, or None.
        distance: measures how far generated images are from real ones, or None.

    Attributes:
        varied: whether images of the kept state were; False until any were.

    Example:
        >>> from augmint.training.state import DictPart
        >>> weights = {"w": torch.tensor(1.0)}
        >>> guard = Guard(Parts(weights=DictPart(weights)), optimisers=())
        >>> guard.start(step=0)
        >>> weights["w"] = torch.tensor(float("nan"))
        >>> guard.look(100, {"loss": 0.5}), weights["w"].item()
        ('restored', 1.0)
    """

    def __init__(
        self,
        parts: Parts,
        optimisers: Sequence[Optimizer],
        rules: GuardRules | None = None,
        diversity: Callable[[], float] | None = None,
        real_diversity: float = 0.0,
        converges: str | None = None,
        distance: Callable[[], float] | None = None,
    ) -> None:
        self.parts = parts
        self.optimisers = optimisers
        self.rules = rules or GuardRules()
        self.diversity = diversity
        self.real_diversity = real_diversity
        self.converges = converges
        self.distance = distance
        self.best = self.least = float("inf")
        self.good_step = 0
        self.varied = False
        self.restores = 0
        self.strikes = 0
        self.events: list[dict[str, Any]] = []
        self.step = 0
        self._good: tuple[dict[str, Tensor], dict[str, Any]] | None = None

    def start(self, step: int) -> None:
        """Begin (or go on) at a step; the first snapshot is taken if there is none."""
        self.step = step
        if self._good is None:
            self._keep(step)

    @property
    def collapsed(self) -> bool:
        """Whether a look found a collapse; the run then stays ended, resumed or not."""
        return self.strikes >= self.rules.strikes

    def look(self, step: int, numbers: Mapping[str, float]) -> Look:
        """Judge the run after a step, given its logged numbers; restore it if it must be.

        Returns:
            "good" (a snapshot was taken, unless an earlier one is better where that is measured),
            "doubtful" (a strike), "restored" (go on from `good_step`), "collapsed" (stop).

        Raises:
            TrainingDivergedError: if it was restored as often as the rules allow.
        """
        self.step = step
        wrong = self._not_finite(numbers)
        if wrong:
            self._restore(step, wrong)
            return "restored"
        alike = self.diversity is not None and (
            self.diversity() < self.rules.fraction * self.real_diversity
        )
        far = self._how_far(alike)
        if not (alike or far > self.rules.lost):
            self.strikes = 0
        elif step >= self.rules.warm_up:
            self.strikes += 1
        if self.collapsed:
            self.events.append({"event": "collapsed", "step": step, "kept": self.good_step})
            return "collapsed"
        if self.strikes:
            return "doubtful"
        better = far <= 1.0 + self.rules.slack
        if self.converges is not None:
            better = numbers[self.converges] < self.best
        # a warm-up begins with images that are alike: the first that vary replace them
        if (better and not (alike and self.varied)) or not (alike or self.varied):
            self._keep(step)
            self.varied = not alike
            if self.converges is not None:
                self.best = numbers[self.converges]
        return "good"

    def _how_far(self, alike: bool) -> float:
        """Return the distance over the least so far of images that vary, this look's included."""
        if self.distance is None:
            return 1.0
        measured = self.distance()
        self.least = self.least if alike else min(self.least, measured)
        return measured / self.least if 0.0 < self.least < float("inf") else 1.0

    def rewind(self) -> int:
        """Put the last good snapshot back and return its step."""
        if self._good is None or self.good_step == self.step:
            return self.step
        self.parts.load(*self._good)
        self.step = self.good_step
        return self.good_step

    def _keep(self, step: int) -> None:
        tensors, plain = self.parts.save()
        self._good = {k: v.detach().clone() for k, v in tensors.items()}, plain
        self.good_step = step

    def _restore(self, step: int, wrong: str) -> None:
        if self.restores >= self.rules.restores:
            raise TrainingDivergedError(
                f"losses and weights must stay finite (restored {self.restores} times)",
                f"{wrong} at step {step}",
                "lower generator_rate and critic_rate (--set generator.critic_rate=1e-4), or take "
                "precision fp32",
            )
        rates = [[g["lr"] for g in o.param_groups] for o in self.optimisers]
        self.restores += 1
        self.step = step
        kept = self.rewind()
        for optimiser, before in zip(self.optimisers, rates, strict=True):
            for group, rate in zip(optimiser.param_groups, before, strict=True):
                group["lr"] = rate / 2
        self.strikes = 0
        self.events.append({"event": "restored", "step": step, "kept": kept, "reason": wrong})

    def _not_finite(self, numbers: Mapping[str, float]) -> str:
        """Name what is not finite, or return an empty string."""
        for name, value in numbers.items():
            if not -float("inf") < value < float("inf"):
                return f"the loss or log {name} is {value}"
        tensors, _ = self.parts.save()
        floating = {k: v for k, v in tensors.items() if v.is_floating_point() and v.numel()}
        if not floating:
            return ""
        norms = torch._foreach_norm(list(floating.values()), float("inf"))
        finite = torch.isfinite(torch.stack([n.float().cpu() for n in norms]))
        if bool(finite.all()):
            return ""
        return f"the tensor {list(floating)[int(finite.int().argmin())]} is not finite"

    def save(self) -> Saved:
        """Return the counters, and the snapshot where it differs from the present state."""
        plain: dict[str, Any] = {
            "good_step": self.good_step,
            "step": self.step,
            "restores": self.restores,
            "strikes": self.strikes,
            "varied": self.varied,
            "events": list(self.events),
            "best": None if self.converges is None else self.best,
            "least": None if self.least == float("inf") else self.least,
            "snapshot": None,
        }
        if self._good is None or self.good_step == self.step:
            return {}, plain
        return dict(self._good[0]), {**plain, "snapshot": self._good[1]}

    def load(self, tensors: Mapping[str, Tensor], plain: Any) -> None:
        """Take the state back; called after the watched parts have theirs."""
        for name in ("good_step", "step", "restores", "strikes"):
            setattr(self, name, int(plain[name]))
        self.varied = bool(plain["varied"])
        self.events = list(plain["events"])
        self.best = float("inf") if plain["best"] is None else plain["best"]
        self.least = float("inf") if plain["least"] is None else float(plain["least"])
        if plain["snapshot"] is None:
            self._keep(self.good_step)
        else:
            self._good = {k: v.clone() for k, v in tensors.items()}, plain["snapshot"]


def batch_diversity(images: Tensor) -> float:
    """Return the standard deviation over the batch, averaged over pixels and channels.

    Args:
        images: float `(N, C, H, W)`, N at least 2; 0 means that all are the same.

    Example:
        >>> batch_diversity(torch.zeros(4, 1, 2, 2))
        0.0
    """
    return float(images.float().std(dim=0, correction=0).mean())

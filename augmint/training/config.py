"""The configuration of one GAN training run; readable without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from augmint.core.errors import UsageError
from augmint.core.registry import Spec


@dataclass(frozen=True)
class GanConfig:
    """What is trained, against what, and for how long. Defaults suit some tens of images a class.

    Args:
        generator, critic: architectures; no critic (None) for an objective that learns without one.
        objective: the adversarial pair of losses, or the loss of a generator alone.
        penalties: regularisers of the critic or the generator.
        conditioning: where aspects enter.
        carries: aspects that generated images are asked for; None: all that conditioning can carry.
        joint: aspects that the generator draws itself, as further channels of the image: masks,
            maps, landmarks. They are not asked for.
        augment: what every image the critic sees passes through, or None.
        auxiliary_augment: what the real images that train auxiliaries pass through, or None.
        latent_dim: width of z.
        batch: images a step.
        steps: updates of the critic, or of the generator where none plays.
        generator_rate, critic_rate, auxiliary_rate: Adam's rates.
        betas: Adam's betas for generator and critic; auxiliaries use (0.9, 0.999).
        auxiliary_optimiser: "adam", or "nesterov", gradient descent with momentum 0.9.
        decay_from: share of the steps after which all rates fall in a line; 1 keeps them.
        critic_clip: bound of every weight of the critic after each step; 0 for none. With the
            wasserstein objective this is the first WGAN.
        ema: decay of the averaged generator, which is the one that is kept.
        precision: "bf16" runs the networks that allow it under autocast.
        generator_interval: critic updates for each generator update; a generator's penalty counts
            the latter.
        simultaneous: one update of both players from one forward pass.
        fresh_latents: the generator's update draws latents of its own; False lets it go on from the
            very images that the critic was just shown, as many loops do, which saves a pass.
        top_k: share of a batch's generated images, those that the critic takes most for real, that
            the generator's adversarial loss is left with in the end; 1 keeps all.
        top_k_decay: factor of that share for each pass over the real images, down to `top_k`.
        fake_aspects: what generated images are asked to carry: "balanced" (classes uniformly,
            everything else as in a random real image of that class), "mixed" (so, but vectors and
            landmarks anywhere between those of two such images), "data" (as in a random real
            image), "batch" (as in the real batch of the step).

    Raises:
        UsageError: for a value out of range.
    """

    generator: Spec = field(default_factory=lambda: {"name": "dcgan-generator", "channels": 32})
    critic: Spec | None = field(default_factory=lambda: {"name": "dcgan-critic", "channels": 32})
    objective: Spec = "hinge"
    penalties: tuple[Spec, ...] = ()
    conditioning: Spec = "vac"
    carries: tuple[str, ...] | None = None
    joint: tuple[str, ...] = ()
    augment: Spec | None = "diff-augment"
    auxiliary_augment: Spec | None = "affine"
    latent_dim: int = 64
    batch: int = 64
    steps: int = 6000
    generator_rate: float = 4e-4
    critic_rate: float = 4e-4
    auxiliary_rate: float = 1e-3
    betas: tuple[float, float] = (0.0, 0.9)
    auxiliary_optimiser: Literal["adam", "nesterov"] = "adam"
    decay_from: float = 1.0
    critic_clip: float = 0.0
    ema: float = 0.99
    precision: Literal["fp32", "bf16"] = "fp32"
    generator_interval: int = 1
    simultaneous: bool = False
    fresh_latents: bool = True
    top_k: float = 1.0
    top_k_decay: float = 0.99
    fake_aspects: Literal["balanced", "mixed", "data", "batch"] = "balanced"

    def __post_init__(self) -> None:
        for name in ("latent_dim", "batch", "steps", "generator_interval"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("generator_rate", "critic_rate", "auxiliary_rate"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "above 0")
        _require(self.critic_clip >= 0, "critic_clip", self.critic_clip, "at least 0")
        _require(0.0 <= self.decay_from <= 1.0, "decay_from", self.decay_from, "0 to 1")
        for name in ("top_k", "top_k_decay"):
            value = getattr(self, name)
            _require(0.0 < value <= 1.0, name, value, "above 0 and at most 1")
        _require(0.0 <= self.ema < 1.0, "ema", self.ema, "0 to below 1")
        _require(all(0.0 <= b < 1.0 for b in self.betas), "betas", self.betas, "0 to below 1")
        if self.simultaneous and self.generator_interval != 1:
            raise UsageError(
                "simultaneous updates move both players every step",
                f"generator_interval={self.generator_interval}",
                "pass generator_interval=1 (--set generator.generator_interval=1) or "
                "simultaneous=False",
            )


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise UsageError(
            f"{name} must be {rule}", value, f"change {name} (--set generator.{name}=VALUE)"
        )

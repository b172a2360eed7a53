"""Objectives of generators that learn from real images alone: flow matching, the VAE's bound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor

from augmint.core.errors import UsageError
from augmint.core.registry import OBJECTIVES
from augmint.core.streams import Stream
from augmint.core.types import Logs, State
from augmint.objectives.base import DirectObjective


@OBJECTIVES.register("flow-matching")
@dataclass(frozen=True)
class FlowMatching(DirectObjective):
    """Teaches a velocity to carry noise to images in straight lines.

        x_t = (1 - t) x_0 + t x_1,    L = E |v(x_t, t, c) - (x_1 - x_0)|² / pixels

    with x_0 ~ N(0, I), x_1 a real image and c its condition. The best v is the conditional
    expectation E[x_1 - x_0 | x_t, c], whose flow carries N(0, I) to the distribution of images
    (Lipman et al. 2022, 2210.02747, eq. 23 with sigma_min = 0; Liu et al. 2022, 2209.03003, eq. 1).

    Args:
        times: t ~ U(0, 1), or "logit-normal": t = 1 / (1 + exp(-n)), n ~ N(0, 1), which looks at
            the middle more often (Esser et al. 2024, 2403.03206).
        drop: probability with which an image's condition is left out, so that the network also
            learns the velocity of all images, which guidance needs (Ho and Salimans 2022,
            2207.12598).

    Example:
        >>> import torch
        >>> from types import SimpleNamespace
        >>> from augmint.core.streams import stream
        >>> to_zero = SimpleNamespace(velocity=lambda x, t, c, kept: -x / (1 - t.view(2, 1, 1, 1)))
        >>> real, noise, numbers = torch.zeros(2, 1, 4, 4), torch.ones(2, 16), stream(0, "t", ids=2)
        >>> round(FlowMatching().loss(to_zero, real, noise, None, numbers, {})[0].item(), 6)
        0.0
    """

    times: Literal["uniform", "logit-normal"] = "uniform"
    drop: float = 0.1
    needs: ClassVar[str] = "velocity"

    def __post_init__(self) -> None:
        if not 0.0 <= self.drop < 1.0:
            raise UsageError("drop is a probability below 1", self.drop, "set drop: 0.1")

    @property
    def gives(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset({"dropped conditions"} if self.drop else ())

    def loss(
        self,
        network: Any,
        real: Tensor,
        latent: Tensor,
        condition: Tensor | None,
        numbers: Stream,
        state: State,
    ) -> tuple[Tensor, State, Logs]:
        uniform = self.times == "uniform"
        drawn = (numbers.uniform(1) if uniform else numbers.normal(1).sigmoid()).to(real)[:, 0]
        kept = (numbers.uniform(1)[:, 0] >= self.drop).to(real) if self.drop else None
        noise = latent.view_as(real)
        way = real - noise
        found = network.velocity(
            noise + drawn[:, None, None, None] * way,
            drawn,
            condition,
            None if condition is None else kept,
        )
        loss = (found - way).square().mean()
        return loss, state, {}


SMALLEST_SCALE = 1e-3


@OBJECTIVES.register("vae")
@dataclass(frozen=True)
class Vae(DirectObjective):
    """The bound of the variational auto-encoder, in nats an image (Kingma and Welling 2013).

        L = E_{z ~ q(z|x,c)} [-log p(x|z,c)] + beta KL(q(z|x,c) ‖ N(0, I)) >= -log p(x|c) at beta 1

        KL = -1/2 Σ_j (1 + log s_j² - m_j² - s_j²),    z = m + s · e,  e ~ N(0, I)

    with one z an image. Both terms are sums, over pixels and over latents.

    | `reconstruction` | -log p(x given z), x̂ = G(z, c), over D pixels |
    |---|---|
    | gaussian | D/2 log(2π s²) + Σ(x - x̂)² / (2 s²) |
    | laplace | D log(2 s) + Σ abs(x - x̂) / s |
    | bernoulli | cross-entropy of (x + 1) / 2 and (x̂ + 1) / 2: no density unless x is ±1 |

    The scale s that suits the data best is the batch's own root mean square (or mean absolute)
    error (Rybkin, Daniilidis and Levine 2021, 2006.13202, eq. 6).

    **Auto-encoders.** `beta=0` is the plain one: its code is the mean and nothing is known of how
    codes are distributed, so that it does not generate, and training refuses it. Linear and with
    fewer codes than pixels it finds the subspace of the principal components. `corruption` shows
    the encoder images with noise and compares with the clean ones: the denoising auto-encoder
    (Vincent et al. 2008), or its variational form (Im et al. 2017, 1511.06406).

    Args:
        beta: weight of the KL divergence; above 1 latents are used less (Higgins et al. 2017).
        reconstruction: what is assumed of a pixel given the latent.
        scale: s in units of pixels in [-1, 1]; None: the best for each batch.
        corruption: standard deviation of noise on what the encoder sees.

    Example:
        >>> import torch
        >>> rules = Vae(reconstruction="laplace", scale=0.5)
        >>> rules.surprise(torch.ones(1, 4), torch.zeros(1, 4))
        tensor([8.])
        >>> rules.generates, Vae(beta=0.0).generates
        (True, False)
    """

    beta: float = 1.0
    reconstruction: Literal["gaussian", "laplace", "bernoulli"] = "gaussian"
    scale: float | None = None
    corruption: float = 0.0
    needs: ClassVar[str] = "posterior"

    def __post_init__(self) -> None:
        if self.beta < 0 or self.corruption < 0:
            raise UsageError(
                "beta and corruption are not negative",
                f"beta={self.beta}, corruption={self.corruption}",
                "set beta: 1.0, corruption: 0.0",
            )
        if self.scale is not None and self.scale < SMALLEST_SCALE:
            raise UsageError(f"scale is at least {SMALLEST_SCALE}", self.scale, "set scale: null")

    @property
    def generates(self) -> bool:  # type: ignore[override]
        return self.beta > 0

    @property
    def batch_coupled(self) -> bool:  # type: ignore[override]
        return self.scale is None and self.reconstruction != "bernoulli"

    def loss(
        self,
        network: Any,
        real: Tensor,
        latent: Tensor,
        condition: Tensor | None,
        numbers: Stream,
        state: State,
    ) -> tuple[Tensor, State, Logs]:
        seen = real
        if self.corruption:
            noise = numbers.normal(real[0].numel()).to(real).view_as(real)
            seen = real + self.corruption * noise
        mean, log_variance = network.posterior(seen, condition)
        code = mean + (0.5 * log_variance).exp() * latent if self.beta else mean
        drawn = network(code) if condition is None else network(code, condition)
        told = self.surprise(real.flatten(1), drawn.flatten(1)).mean()
        divergence = divergence_from_normal(mean, log_variance).mean()
        loss = told + self.beta * divergence if self.beta else told
        return loss, state, {"reconstruction": told.detach(), "divergence": divergence.detach()}

    def surprise(self, real: Tensor, drawn: Tensor) -> Tensor:
        """Return -log p(x given z), `(N,)`, of flat images `(N, D)` in [-1, 1]."""
        if self.reconstruction == "bernoulli":
            chances = 0.5 * (drawn + 1.0)
            return F.binary_cross_entropy(chances, 0.5 * (real + 1.0), reduction="none").sum(1)
        gaussian = self.reconstruction == "gaussian"
        wrong = (real - drawn).square() if gaussian else (real - drawn).abs()
        # the slope through the best scale is zero there, so that it need not be followed
        best = wrong.detach().mean().clamp_min(SMALLEST_SCALE ** (2 if gaussian else 1))
        if gaussian:
            variance = best if self.scale is None else best.new_tensor(self.scale**2)
            return 0.5 * (wrong / variance + (2.0 * math.pi * variance).log()).sum(1)
        scale = best if self.scale is None else best.new_tensor(self.scale)
        return (wrong / scale + (2.0 * scale).log()).sum(1)


def divergence_from_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(m, diag s²) ‖ N(0, I)) of each row, `(N,)`.

    Example:
        >>> import torch
        >>> divergence_from_normal(torch.tensor([[2.0, 0.0]]), torch.zeros(1, 2))
        tensor([2.])
    """
    return -0.5 * (1.0 + log_variance - mean.square() - log_variance.exp()).sum(1)

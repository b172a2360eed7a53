"""Penalties on the gradient of the critic's score by its input image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from augmint.core.errors import UsageError
from augmint.core.registry import PENALTIES
from augmint.penalties.base import Penalty, PenaltyContext

if TYPE_CHECKING:
    from augmint.core.types import CriticOutput, FloatImages, Logs, State

Network = Callable[[Tensor], "CriticOutput"]


def input_gradients(network: Network, images: FloatImages) -> Tensor:
    """Return `(N, C·H·W)`, the gradient of each sample's score (map: its mean) by its own image.

    The graph is kept, so that the result can be differentiated by the critic's parameters. Taken
    of the sum over the batch: each sample's own only in a critic that does not couple samples.

    Example:
        >>> from augmint.core.types import CriticOutput
        >>> critic = lambda x: CriticOutput(x.square().flatten(1).sum(1))
        >>> input_gradients(critic, torch.full((1, 1, 1, 2), 3.0)).tolist()
        [[6.0, 6.0]]
    """
    images = images.detach().requires_grad_(True)
    with torch.enable_grad():
        score = network(images).per_sample().sum()
        (gradient,) = torch.autograd.grad(score, images, create_graph=True)
    return gradient.flatten(1)


def _given(images: FloatImages | None, what: str) -> FloatImages:
    if images is None:
        raise UsageError(
            f"a gradient penalty needs the critic's {what} inputs", "none", f"pass {what}=images"
        )
    return images


@PENALTIES.register("gradient-penalty")
@dataclass(frozen=True)
class GradientPenalty(Penalty):
    """Keeps the slope of the critic near 1 between real and generated images (WGAN-GP).

        weight · E (‖∇_x̂ D(x̂)‖₂ - 1)²,   x̂ = ε x + (1 - ε) G(z),   ε ~ U(0, 1), one a sample

    (Gulrajani et al. 2017, 1704.00028, eq. 3). The norm is over all pixels and channels of a
    sample. `ε` is the first draw of the context's stream.

    A critic that is told of aspects judges x̂ with those of x, although G(z) was asked for others:
    with `fake_aspects: balanced` mostly so. `fake_aspects: batch` asks for those of x, and x̂ then
    lies between two images of one class.

    Args:
        weight: lambda, 10 in the paper.
        one_sided: penalise slopes above 1 only.

    Example:
        >>> from augmint.core.streams import stream
        >>> from augmint.core.types import CriticOutput
        >>> slope_3 = lambda x: CriticOutput(3.0 * x[:, 0, 0, 0])
        >>> real, fake = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
        >>> context = PenaltyContext(slope_3, stream(0, "penalty", ids=2), real, fake)
        >>> GradientPenalty(weight=10.0)(context, {})[0].item()
        40.0
    """

    weight: float = 10.0
    one_sided: bool = False
    per_sample: ClassVar[bool] = True
    double_backward: ClassVar[bool] = True

    def __call__(self, context: PenaltyContext, state: State) -> tuple[Tensor, State, Logs]:
        real, fake = _given(context.real, "real"), _given(context.fake, "fake")
        share = context.stream.uniform(1).to(real)[:, :, None, None]
        mixed = share * real.detach() + (1.0 - share) * fake.detach()
        slope = torch.linalg.vector_norm(input_gradients(context.network, mixed), dim=1)
        excess = slope - 1.0
        if self.one_sided:
            excess = excess.relu()
        return self.weight * excess.square().mean(), state, {"slope": slope.detach().mean()}


@dataclass(frozen=True)
class _Flat(Penalty):
    """What R1 and R2 share."""

    interval: int = 16
    coupled: bool = False
    double_backward: ClassVar[bool] = True

    @property
    def per_sample(self) -> bool:  # type: ignore[override]
        return not self.coupled

    @property
    def batch_coupled(self) -> bool:  # type: ignore[override]
        return self.coupled


@PENALTIES.register("r1")
@dataclass(frozen=True)
class R1(_Flat):
    """Keeps the critic flat on real images.

        weight / 2 · E ‖∇_x D(x)‖²

    (Mescheder et al. 2018, 1801.04406, eq. 9: weight is gamma). The norm is over all pixels and
    channels of a sample, so that gamma grows with the number of pixels for the same slope a
    pixel. Needs real images only. Every 16th step by default, as in Karras et al. 2020; the loop
    multiplies by the interval (see `Penalty` for what that does to the rate).

    **Coupled critics.** Where a critic compares the samples of a batch (minibatch deviation), D(x)
    is no function of one image. `coupled` takes the gradient of the batch's sum,
    ∂ Σ_j D(x)_j / ∂x_i, which also holds what an image does to the scores of the others: what
    StyleGAN2's program does (Karras et al. 2020, 1912.04958). Without it such critics are refused.

    Args:
        weight: gamma.
        interval: steps from one evaluation to the next; 1 is the paper's.
        coupled: take critics that couple samples, by the gradient of the sum.

    Example:
        >>> from augmint.core.streams import stream
        >>> from augmint.core.types import CriticOutput
        >>> slope_3 = lambda x: CriticOutput(3.0 * x[:, 0, 0, 0])
        >>> context = PenaltyContext(slope_3, stream(0, "penalty"), real=torch.zeros(1, 1, 2, 2))
        >>> R1(weight=2.0)(context, {})[0].item()
        9.0
    """

    def __call__(self, context: PenaltyContext, state: State) -> tuple[Tensor, State, Logs]:
        gradient = input_gradients(context.network, _given(context.real, "real"))
        square = gradient.square().sum(1).mean()
        return 0.5 * self.weight * square, state, {"squared_slope": square.detach()}


@PENALTIES.register("r2")
@dataclass(frozen=True)
class R2(_Flat):
    """Keeps the critic flat on generated images.

        weight / 2 · E ‖∇_x D(G(z))‖²

    The companion of R1 (Mescheder et al. 2018, 1801.04406, eq. 9); with relativistic pairing both
    are needed to converge (Huang et al. 2024, 2501.05441).

    Args:
        weight: gamma.
        interval: steps from one evaluation to the next.
        coupled: see R1.

    Example:
        >>> from augmint.core.streams import stream
        >>> from augmint.core.types import CriticOutput
        >>> bowl = lambda x: CriticOutput(x.square().flatten(1).sum(1))
        >>> real, fake = torch.zeros(1, 1, 1, 2), torch.ones(1, 1, 1, 2)
        >>> context = PenaltyContext(bowl, stream(0, "penalty"), real, fake)
        >>> [penalty(context, {})[0].item() for penalty in (R1(weight=2.0), R2(weight=2.0))]
        [0.0, 8.0]
    """

    def __call__(self, context: PenaltyContext, state: State) -> tuple[Tensor, State, Logs]:
        network = context.fake_network or context.network
        square = input_gradients(network, _given(context.fake, "fake")).square().sum(1).mean()
        return 0.5 * self.weight * square, state, {"squared_slope_fake": square.detach()}


@PENALTIES.register("dragan")
@dataclass(frozen=True)
class Dragan(Penalty):
    """Keeps the slope of the critic near 1 around real images.

        weight · E (‖∇_x̂ D(x̂)‖₂ - 1)²,   x̂ = x + α · spread · sd(x) · u

    with u ~ U(0, 1) for each pixel, α ~ U(0, 1) for each sample, and sd(x) the standard deviation
    of the whole real batch (Kodali et al. 2017, 1705.07215, section 2.4, in the form of its
    authors' program: a point on the way from x to a disturbed x). Needs real images only.

    Args:
        weight: lambda, 10 in the paper.
        spread: at least 0; 0.5 in the program.

    Raises:
        UsageError: for a negative spread.

    Example:
        >>> from augmint.core.streams import stream
        >>> from augmint.core.types import CriticOutput
        >>> slope_3 = lambda x: CriticOutput(3.0 * x[:, 0, 0, 0])
        >>> real = torch.eye(2).expand(3, 1, 2, 2)
        >>> context = PenaltyContext(slope_3, stream(0, "penalty", ids=3), real)
        >>> Dragan(weight=10.0)(context, {})[0].item()
        40.0
    """

    weight: float = 10.0
    spread: float = 0.5
    per_sample: ClassVar[bool] = True
    batch_coupled: ClassVar[bool] = True
    double_backward: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.spread < 0:
            raise UsageError("dragan's spread is not negative", self.spread, "set spread: 0.5")

    def __call__(self, context: PenaltyContext, state: State) -> tuple[Tensor, State, Logs]:
        real = _given(context.real, "real").detach()
        noise = context.stream.uniform(real[0].numel()).to(real).view_as(real)
        share = context.stream.uniform(1).to(real)[:, :, None, None]
        moved = real + share * self.spread * real.std() * noise
        slope = torch.linalg.vector_norm(input_gradients(context.network, moved), dim=1)
        return self.weight * (slope - 1.0).square().mean(), state, {"slope": slope.detach().mean()}

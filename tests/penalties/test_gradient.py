"""Gradient penalties against closed forms on linear and quadratic critics."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from augmint.core import streams
from augmint.core.errors import UsageError
from augmint.core.registry import ARCHITECTURES, PENALTIES
from augmint.core.types import CriticOutput
from augmint.penalties.base import Penalty, PenaltyContext
from augmint.penalties.gradient import R1, GradientPenalty, input_gradients

SHAPE = (2, 3, 4)


def images(purpose: str, n: int = 5) -> Tensor:
    return streams.stream(0, purpose, ids=n).normal(24).double().reshape(n, *SHAPE)


class Linear(nn.Module):
    """D(x) = <a, x>, whose gradient is a everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(images("a", 1)[0])

    def forward(self, x: Tensor) -> CriticOutput:
        return CriticOutput((self.a * x).flatten(1).sum(1))


class Quadratic(nn.Module):
    """D(x) = s/2 |x|², whose gradient is s x."""

    def __init__(self) -> None:
        super().__init__()
        self.s = nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

    def forward(self, x: Tensor) -> CriticOutput:
        return CriticOutput(0.5 * self.s * x.square().flatten(1).sum(1))


def context(network: nn.Module, step: int = 0) -> PenaltyContext:
    real, fake = images("real"), images("fake")
    return PenaltyContext(network, streams.stream(4, "penalty", step, 5), real, fake)


def value(penalty: Penalty, network: nn.Module, step: int = 0) -> Tensor:
    loss, state, _ = penalty(context(network, step), {})
    assert state == {}
    return loss


def test_both_on_a_linear_critic() -> None:
    critic = Linear()
    norm = critic.a.detach().norm()
    expected = 10 * (norm - 1) ** 2
    torch.testing.assert_close(value(GradientPenalty(), critic).detach(), expected)
    torch.testing.assert_close(value(R1(weight=3.0), critic).detach(), 1.5 * norm**2)
    (gradient,) = torch.autograd.grad(value(R1(weight=3.0), critic), critic.a)
    torch.testing.assert_close(gradient, 3.0 * critic.a.detach())
    (gradient,) = torch.autograd.grad(value(GradientPenalty(), critic), critic.a)
    torch.testing.assert_close(gradient, 20 * (norm - 1) * critic.a.detach() / norm)


def test_gradient_penalty_on_a_quadratic_critic() -> None:
    critic = Quadratic()
    share = streams.stream(4, "penalty", 0, 5).uniform(1).double()[:, :, None, None]
    mixed = share * images("real") + (1 - share) * images("fake")
    slope = 0.7 * mixed.flatten(1).norm(dim=1)
    expected = 10 * (slope - 1).square().mean()
    torch.testing.assert_close(value(GradientPenalty(), critic).detach(), expected)


def test_r1_on_a_quadratic_critic_needs_real_images_only() -> None:
    critic = Quadratic()
    alone = PenaltyContext(critic, streams.stream(4, "penalty", 0, 5), real=images("real"))
    loss, _, _ = R1(weight=2.0)(alone, {})
    square = images("real").square().flatten(1).sum(1).mean()
    torch.testing.assert_close(loss.detach(), 0.49 * square)
    (gradient,) = torch.autograd.grad(loss, critic.s)
    torch.testing.assert_close(gradient, 2 * 0.7 * square)


def test_one_sided_penalty_ignores_gentle_slopes() -> None:
    critic = Linear()
    with torch.no_grad():
        critic.a.mul_(0.5 / critic.a.norm())
    assert value(GradientPenalty(one_sided=True), critic).item() == 0.0
    assert value(GradientPenalty(), critic).item() == pytest.approx(2.5)


def test_a_flat_critic_gives_finite_gradients() -> None:
    critic = Linear()
    with torch.no_grad():
        critic.a.zero_()
    (gradient,) = torch.autograd.grad(value(GradientPenalty(), critic), critic.a)
    assert torch.isfinite(gradient).all()


def test_the_mixture_is_a_pure_function_of_the_stream() -> None:
    critic = Quadratic()
    assert torch.equal(value(GradientPenalty(), critic, 1), value(GradientPenalty(), critic, 1))
    assert not torch.equal(value(GradientPenalty(), critic, 1), value(GradientPenalty(), critic, 2))


def test_a_map_is_averaged_before_its_gradient() -> None:
    def patches(x: Tensor) -> CriticOutput:
        return CriticOutput(x[:, :1], "map")

    with_map = PenaltyContext(patches, streams.stream(0, "p", ids=5), real=images("real"))
    assert input_gradients(patches, images("real")).shape == (5, 24)
    loss, _, _ = R1(weight=2.0)(with_map, {})
    # twelve cells, each of slope 1/12
    assert loss.item() == pytest.approx(1 / 12)


@pytest.mark.parametrize("normalisation", ["spectral", "none"])
@pytest.mark.parametrize("name", ["gradient-penalty", "r1"])
def test_parameter_gradients_match_finite_differences(name: str, normalisation: str) -> None:
    """Double backward through the real critic, in double precision, along one direction."""
    with streams.scope(0, "critic"):
        spec = {"name": "dcgan-critic", "channels": 4, "normalisation": normalisation}
        critic = ARCHITECTURES.create(spec).build((1, 8, 8)).double().eval()
    x = streams.stream(0, "x", ids=5).normal(64).double().reshape(5, 1, 8, 8)

    def penalty() -> Tensor:
        stream = streams.stream(4, "penalty", 0, 5)

        # initial weights of 0.02 make slopes tiny: scale the score
        def network(images: Tensor) -> CriticOutput:
            return CriticOutput(1e3 * critic(images).value)

        return PENALTIES.create(name)(PenaltyContext(network, stream, x, -x.flip(0)), {})[0]

    weight = critic.layers[0].weight
    (gradient,) = torch.autograd.grad(penalty(), weight)
    direction = torch.ones_like(weight)
    step = 1e-6
    with torch.no_grad():
        weight.add_(step * direction)
        above = penalty().item()
        weight.sub_(2 * step * direction)
        below = penalty().item()
    slope = (above - below) / (2 * step)
    assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-4)


@pytest.mark.parametrize(("name", "side"), [("r1", "real"), ("r2", "fake")])
def test_of_coupled_samples_the_gradient_of_the_sum_is_taken(name: str, side: str) -> None:
    """D(x)_j = Σ_k x_j · x_k: ∂ Σ_j D_j / ∂x_i = 2 Σ_k x_k for every i,
    so that E ‖·‖² = ‖2 Σ x‖²."""

    def coupled(given: Tensor) -> CriticOutput:
        flat = given.flatten(1)
        return CriticOutput(flat @ flat.sum(0))

    shown = images(side)
    penalty = PENALTIES.create({"name": name, "weight": 2.0, "coupled": True})
    assert not penalty.per_sample
    assert penalty.batch_coupled
    context = PenaltyContext(coupled, streams.stream(0, "p", ids=5), shown, shown)
    expected = (2.0 * shown.flatten(1).sum(0)).square().sum()
    assert penalty(context, {})[0].item() == pytest.approx(expected.item(), rel=1e-5)


def test_declarations_and_limits() -> None:
    for name in ("gradient-penalty", "r1"):
        penalty = PENALTIES.create(name)
        assert penalty.per_sample
        assert penalty.double_backward
        assert penalty.player == "critic"
    assert PENALTIES.create("r1").interval == 16
    with pytest.raises(UsageError, match="weight"):
        PENALTIES.create({"name": "r1", "weight": -1.0})
    with pytest.raises(UsageError, match="fake"):
        GradientPenalty()(
            PenaltyContext(Linear(), streams.stream(0, "p", ids=5), real=images("real")), {}
        )

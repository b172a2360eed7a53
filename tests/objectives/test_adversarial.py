"""Adversarial objectives against their values at known points and an independent formula."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from augmint.core.errors import UsageError
from augmint.core.registry import OBJECTIVES
from augmint.core.types import CriticOutput, OutputKind
from augmint.objectives.adversarial import (
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    Wasserstein,
)
from augmint.objectives.base import Objective

ADVERSARIAL = ["minimax", "non-saturating", "least-squares", "wasserstein", "hinge"]


def score(*values: float) -> CriticOutput:
    return CriticOutput(torch.tensor(values, dtype=torch.float64))


def critic(objective: Objective, real: CriticOutput, fake: CriticOutput) -> float:
    return float(objective.critic_loss(real, fake, {})[0])


def generator(objective: Objective, fake: CriticOutput) -> float:
    return float(objective.generator_loss(None, fake, {})[0])


def test_minimax_at_the_equilibrium() -> None:
    undecided = score(0.0, 0.0)
    assert critic(Minimax(), undecided, undecided) == pytest.approx(2 * math.log(2))
    assert generator(Minimax(), undecided) == pytest.approx(-math.log(2))
    assert generator(NonSaturating(), undecided) == pytest.approx(math.log(2))


def test_log_losses_are_binary_cross_entropies() -> None:
    real, fake = score(-1.3, 0.4, 2.0), score(0.7, -0.2, -3.0)
    one, zero = torch.ones(3).double(), torch.zeros(3).double()
    entropy = F.binary_cross_entropy_with_logits
    expected = entropy(real.value, one) + entropy(fake.value, zero)
    for objective in (Minimax(), NonSaturating()):
        assert critic(objective, real, fake) == pytest.approx(float(expected))
    smooth = entropy(real.value, 0.9 * one) + entropy(fake.value, zero)
    assert critic(NonSaturating(real_label=0.9), real, fake) == pytest.approx(float(smooth))
    assert generator(NonSaturating(), fake) == pytest.approx(
        float(-fake.value.sigmoid().log().mean())
    )
    assert generator(Minimax(), fake) == pytest.approx(
        float((1 - fake.value.sigmoid()).log().mean())
    )


def test_the_best_discrete_critic_is_stationary_and_gives_the_divergence() -> None:
    """Goodfellow et al., theorem 1: the value at D* is log 4 - 2 JSD, with D* = p / (p + q)."""
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    q = torch.tensor([0.1, 0.3, 0.6], dtype=torch.float64)
    logit = (p / q).log().requires_grad_()
    # ten draws of each symbol's probability make the batch mean the expectation
    rows_p = torch.repeat_interleave(torch.arange(3), (10 * p).round().long())
    rows_q = torch.repeat_interleave(torch.arange(3), (10 * q).round().long())
    loss, _, _ = Minimax().critic_loss(CriticOutput(logit[rows_p]), CriticOutput(logit[rows_q]), {})
    m = (p + q) / 2
    divergence = 0.5 * (p * (p / m).log()).sum() + 0.5 * (q * (q / m).log()).sum()
    assert loss.item() == pytest.approx(math.log(4) - 2 * divergence.item(), abs=1e-12)
    (gradient,) = torch.autograd.grad(loss, logit)
    assert float(gradient.abs().max()) < 1e-12


def test_minimax_saturates_and_its_alternative_does_not() -> None:
    for objective, expected in ((Minimax(), 0.0), (NonSaturating(), -1.0)):
        sure = torch.tensor([-40.0], requires_grad=True)
        loss, _, _ = objective.generator_loss(None, CriticOutput(sure), {})
        (gradient,) = torch.autograd.grad(loss, sure)
        assert gradient.item() == pytest.approx(expected, abs=1e-6)


def test_extreme_scores_stay_finite() -> None:
    for name in ADVERSARIAL:
        objective = OBJECTIVES.create(name)
        far = CriticOutput(torch.tensor([1e4, -1e4]))
        assert math.isfinite(critic(objective, far, far))
        assert math.isfinite(generator(objective, far))


def test_least_squares() -> None:
    assert critic(LeastSquares(), score(1.0), score(0.0)) == 0.0
    assert critic(LeastSquares(), score(3.0, 1.0), score(0.5, -1.5)) == pytest.approx(2 + 1.25)
    assert generator(LeastSquares(), score(1.0)) == 0.0
    assert generator(LeastSquares(), score(-1.0, 2.0)) == pytest.approx(2.5)
    pearson = LeastSquares(fake_label=-1.0, real_label=1.0, generator_label=0.0)
    assert critic(pearson, score(1.0), score(-1.0)) == generator(pearson, score(0.0)) == 0.0


def test_wasserstein_is_the_difference_of_means() -> None:
    real, fake = score(3.0, 1.0), score(-1.0, 2.0)
    assert critic(Wasserstein(), real, fake) == pytest.approx(0.5 - 2.0)
    assert generator(Wasserstein(), fake) == pytest.approx(-0.5)


def test_hinge_gives_no_gradient_beyond_the_margin() -> None:
    real = torch.tensor([1.5, 0.5, -1.0], requires_grad=True)
    fake = torch.tensor([-1.5, -0.5, 1.0], requires_grad=True)
    loss, _, _ = Hinge().critic_loss(CriticOutput(real), CriticOutput(fake), {})
    assert loss.item() == pytest.approx((0 + 0.5 + 2.0) / 3 + (0 + 0.5 + 2.0) / 3)
    g_real, g_fake = torch.autograd.grad(loss, [real, fake])
    torch.testing.assert_close(g_real, torch.tensor([0.0, -1 / 3, -1 / 3]))
    torch.testing.assert_close(g_fake, torch.tensor([0.0, 1 / 3, 1 / 3]))
    assert generator(Hinge(), score(2.0, 4.0)) == -3.0


def random_map(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_maps_are_averaged_over_their_cells(name: str) -> None:
    objective = OBJECTIVES.create(name)
    real, fake = random_map(0, 4, 1, 3, 2), random_map(1, 4, 1, 3, 2)
    as_map = critic(objective, CriticOutput(real, "map"), CriticOutput(fake, "map"))
    flat = critic(objective, CriticOutput(real.flatten()), CriticOutput(fake.flatten()))
    assert as_map == pytest.approx(flat)
    assert generator(objective, CriticOutput(fake, "map")) == pytest.approx(
        generator(objective, CriticOutput(fake.flatten()))
    )


def said(kind: OutputKind, seed: int) -> CriticOutput:
    """What a critic of a kind might say of five images, features and codes included."""
    value = random_map(seed, 5, 1, 2, 3) if kind == "map" else random_map(seed, 5)
    value = value.abs() if kind == "energy" else value
    code = random_map(seed + 10, 5, 4).requires_grad_()
    return CriticOutput(value.requires_grad_(), kind, code, code)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name in OBJECTIVES.names()
        if issubclass(OBJECTIVES.get(name), Objective)
        for kind in sorted(OBJECTIVES.get(name).accepts)
    ],
)
def test_losses_are_scalars_and_given_state_is_left_alone(name: str, kind: OutputKind) -> None:
    objective = OBJECTIVES.create(name)
    state = objective.init_state()
    kept = dict(state)
    real, fake = said(kind, 0), said(kind, 1)
    for loss, new, logs in (
        objective.critic_loss(real, fake, state),
        objective.generator_loss(real if objective.real_in_generator else None, fake, state),
    ):
        assert loss.ndim == 0
        assert loss.requires_grad
        assert new.keys() == kept.keys()
        assert state == kept
        assert all(not value.requires_grad for value in logs.values())


def test_a_label_that_smooths_too_much_is_refused() -> None:
    with pytest.raises(UsageError, match="real label"):
        OBJECTIVES.create({"name": "minimax", "real_label": 0.4})

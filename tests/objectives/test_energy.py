"""Energy objectives against closed forms, and the controller of BEGAN against its fixed point."""

from __future__ import annotations

import itertools

import pytest
import torch

from augmint.core import streams
from augmint.core.errors import UsageError
from augmint.core.types import CriticOutput
from augmint.objectives.energy import Began, Ebgan, pulling_away
from augmint.objectives.relativistic import Relativistic


def energy(*values: float, code: torch.Tensor | None = None) -> CriticOutput:
    return CriticOutput(torch.tensor(values, dtype=torch.float64), "energy", code, code)


def test_ebgan_leaves_energies_beyond_the_margin_alone() -> None:
    plain = Ebgan(margin=1.0, pulling=0.0)
    fake = energy(0.25, 3.0)
    fake.value.requires_grad_()
    loss, state, _ = plain.critic_loss(energy(0.1, 0.3), fake, {})
    assert state == {}
    assert loss.item() == pytest.approx(0.2 + 0.75 / 2)
    (gradient,) = torch.autograd.grad(loss, fake.value)
    assert gradient.tolist() == [-0.5, 0.0]
    assert plain.generator_loss(None, fake, {})[0].item() == pytest.approx(1.625)
    assert not plain.needs_features
    assert Ebgan().needs_features


def test_pulling_away_is_the_sum_over_ordered_pairs() -> None:
    codes = streams.stream(0, "codes", ids=5).normal(7).double()
    cosines = [
        float(torch.dot(a, b) / (a.norm() * b.norm())) ** 2
        for a, b in itertools.permutations(codes, 2)
    ]
    assert pulling_away(codes).item() == pytest.approx(sum(cosines) / 20)
    assert pulling_away(3.0 * codes).item() == pytest.approx(pulling_away(codes).item())
    with_codes = Ebgan(pulling=0.5).generator_loss(None, energy(0.2, 0.4, code=codes[:2]), {})[0]
    assert with_codes.item() == pytest.approx(0.3 + 0.5 * pulling_away(codes[:2]).item())
    with pytest.raises(UsageError, match="batch=2"):
        Ebgan().generator_loss(None, energy(0.2, code=codes[:1]), {})


def test_began_weighs_generated_energies_by_k_without_a_gradient_to_it() -> None:
    objective = Began(gamma=0.5, rate=0.1)
    state = {"k": torch.tensor(0.4, dtype=torch.float64)}
    loss, new, logs = objective.critic_loss(energy(1.0, 3.0), energy(0.5, 0.7), state)
    assert loss.item() == pytest.approx(2.0 - 0.4 * 0.6)
    assert new["k"].item() == pytest.approx(0.4 + 0.1 * (1.0 - 0.6))
    assert logs["convergence"].item() == pytest.approx(2.0 + 0.4)
    assert objective.generator_loss(None, energy(0.5, 0.7), state)[0].item() == pytest.approx(0.6)


def test_k_stays_in_bounds_only_when_clipped() -> None:
    state = {"k": torch.zeros(())}
    inside, outside = energy(0.1), energy(1.0)
    assert Began(rate=1.0).critic_loss(inside, outside, state)[1]["k"] == 0.0
    literal = Began(rate=1.0, clip=False).critic_loss(inside, outside, state)[1]["k"]
    assert literal.item() == pytest.approx(0.05 - 1.0)
    full = {"k": torch.ones(())}
    assert Began(rate=1.0).critic_loss(energy(9.0), energy(0.0), full)[1]["k"] == 1.0


def test_the_controller_settles_where_the_energies_have_the_ratio_gamma() -> None:
    """The critic lifts generated energies more as k rises: the fixed point is L(G) = gamma L(x)."""
    objective = Began(gamma=0.7, rate=0.05)
    state = objective.init_state()
    for _ in range(2000):
        fake = energy(0.2 + 0.8 * float(state["k"]))
        _, state, _ = objective.critic_loss(energy(1.0), fake, state)
    assert 0.2 + 0.8 * float(state["k"]) == pytest.approx(0.7, abs=1e-6)


@pytest.mark.parametrize("wrong", [{"gamma": 0.0}, {"gamma": 1.5}, {"rate": 0.0}])
def test_began_refuses(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="gamma"):
        Began(**wrong)


def test_ebgan_refuses() -> None:
    with pytest.raises(UsageError, match="margin"):
        Ebgan(margin=0.0)


def test_relativistic_players_see_the_same_difference() -> None:
    real = CriticOutput(torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64, requires_grad=True))
    fake = CriticOutput(torch.tensor([1.3, 0.5, -2.0], dtype=torch.float64, requires_grad=True))
    critic = Relativistic().critic_loss(real, fake, {})[0]
    generator = Relativistic().generator_loss(real, fake, {})[0]
    difference = (real.value - fake.value).detach()
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    assert critic.item() == pytest.approx(entropy(difference, torch.ones(3).double()).item())
    assert generator.item() == pytest.approx(entropy(difference, torch.zeros(3).double()).item())
    # the critic's gradient for a pair is antisymmetric; the generator's reaches f alone
    by_real, by_fake = torch.autograd.grad(critic, (real.value, fake.value))
    torch.testing.assert_close(by_real, -by_fake)
    generator.backward()
    assert real.value.grad is None
    assert fake.value.grad is not None
    with pytest.raises(UsageError, match="real"):
        Relativistic().generator_loss(None, fake, {})

"""Objectives without a critic, against closed forms: conditional expectations, likelihoods, PCA."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from augmint.core import streams
from augmint.core.errors import UsageError
from augmint.objectives.direct import FlowMatching, Vae, divergence_from_normal

N = 100_000


class Velocity(nn.Module):
    """v(x, t) = exact or other + weights · features, at weights 0; keeps what it was given."""

    def __init__(self, times_wrong: float = 1.0) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(6, dtype=torch.float64))
        self.times_wrong = times_wrong
        self.given: list[Any] = []

    def velocity(self, x: Tensor, t: Tensor, condition: Any, kept: Any) -> Tensor:
        self.given.append((t, condition, kept))
        t = t[:, None, None, None]
        # of the points ±1: E[x_1 | x_t] = tanh(t x / (1 - t)²), and x_0 = (x_t - t x_1) / (1 - t)
        mean = torch.tanh(t * x / (1 - t) ** 2)
        exact = self.times_wrong * (mean - x) / (1 - t)
        features = torch.stack((torch.ones_like(x), x, x**2, t + 0 * x, t * x, (3 * x).sin()))
        return exact + torch.einsum("k,kabcd->abcd", self.weights, features)


def two_points(
    network: nn.Module, objective: FlowMatching, condition: Tensor | None = None
) -> Tensor:
    real = streams.stream(0, "sign", ids=N).uniform(1).round().double().mul(2).sub(1)
    latent = streams.stream(0, "latent", ids=N).normal(1).double()
    numbers = streams.stream(0, "numbers", ids=N)
    loss, state, logs = objective.loss(
        network, real.view(N, 1, 1, 1), latent, condition, numbers, {}
    )
    assert (state, logs) == ({}, {})
    return loss


@pytest.mark.parametrize("times", ["uniform", "logit-normal"])
def test_the_best_velocity_is_the_conditional_expectation(times: Any) -> None:
    """There no direction lowers the loss: all slopes vanish, up to the spread of a mean of N."""
    objective = FlowMatching(times=times)
    slopes = []
    for network in (Velocity(), Velocity(times_wrong=0.5)):
        two_points(network, objective).backward()
        assert network.weights.grad is not None
        slopes.append(network.weights.grad.abs().max().item())
    # 2 (error) · (feature) has a standard deviation below 4, hence 5 · 4 / sqrt(N)
    assert slopes[0] < 20 / math.sqrt(N) < 0.1 < slopes[1]


def test_the_loss_of_no_velocity_is_the_length_of_the_way() -> None:
    class Still(nn.Module):
        def velocity(self, x: Tensor, t: Tensor, condition: Any, kept: Any) -> Tensor:
            return torch.zeros_like(x)

    # E (x_1 - x_0)² = 1 + 1
    assert float(two_points(Still(), FlowMatching())) == pytest.approx(2.0, abs=0.03)


def test_times_and_dropped_conditions_have_their_distributions() -> None:
    condition = torch.ones(N, 2)
    for times in ("uniform", "logit-normal"):
        network = Velocity()
        two_points(network, FlowMatching(times=times, drop=0.2), condition)  # type: ignore[arg-type]
        drawn, given, kept = network.given[0]
        assert given is condition
        assert set(kept.unique().tolist()) == {0.0, 1.0}
        assert float(kept.mean()) == pytest.approx(0.8, abs=0.01)
        bent = drawn if times == "uniform" else torch.logit(drawn)
        mean, spread = (0.5, 12**-0.5) if times == "uniform" else (0.0, 1.0)
        assert float(bent.mean()) == pytest.approx(mean, abs=0.01)
        assert float(bent.std()) == pytest.approx(spread, abs=0.01)
    network = Velocity()
    two_points(network, FlowMatching())
    two_points(network, FlowMatching(drop=0.0), condition)
    assert [kept for _, _, kept in network.given] == [None, None]


def test_only_dropping_teaches_the_free_velocity() -> None:
    assert FlowMatching().gives == {"dropped conditions"}
    assert FlowMatching(drop=0.0).gives == frozenset()
    with pytest.raises(UsageError, match="drop"):
        FlowMatching(drop=1.0)


# the variational auto-encoder --------------------------------------------------------------------
def test_the_divergence_is_that_of_torch_distributions() -> None:
    mean, log_variance = streams.stream(1, "kl", ids=5).normal(6).double().chunk(2, 1)
    own = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    standard = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    expected = torch.distributions.kl_divergence(own, standard).sum(1)
    torch.testing.assert_close(divergence_from_normal(mean, log_variance), expected)


@pytest.mark.parametrize("kind", ["gaussian", "laplace", "bernoulli"])
def test_reconstruction_is_the_likelihood_of_torch_distributions(kind: Any) -> None:
    real = streams.stream(2, "real", ids=3).uniform(4, -1.0, 1.0).double()
    drawn = streams.stream(2, "drawn", ids=3).uniform(4, -0.9, 0.9).double()
    if kind == "bernoulli":
        told, target = torch.distributions.Bernoulli(0.5 * (drawn + 1)), real.sign()
        expected = -told.log_prob(0.5 * (target + 1)).sum(1)
        torch.testing.assert_close(Vae(reconstruction=kind).surprise(target, drawn), expected)
        return
    family = {"gaussian": torch.distributions.Normal, "laplace": torch.distributions.Laplace}[kind]
    fixed = Vae(reconstruction=kind, scale=0.3)
    expected = -family(drawn, 0.3).log_prob(real).sum(1)
    torch.testing.assert_close(fixed.surprise(real, drawn), expected)
    # no other scale explains the batch better than its own
    best = Vae(reconstruction=kind).surprise(real, drawn).sum()
    wrong = [Vae(reconstruction=kind, scale=s).surprise(real, drawn).sum() for s in SCALES]
    assert min(wrong) >= best
    assert min(wrong) == pytest.approx(float(best), rel=1e-3)


SCALES = torch.linspace(0.2, 1.2, 200).tolist()


class LinearGaussian(nn.Module):
    """x = W z + b + s ε, with orthogonal columns, so that the posterior has no covariances."""

    scale = 0.4

    def __init__(self, narrower: float = 1.0, shifted: float = 0.0) -> None:
        super().__init__()
        draw = streams.stream(3, "linear", ids=5).normal(3).double()
        self.weight = torch.linalg.qr(draw[:, :2])[0] * torch.tensor([1.5, 0.7])
        self.bias = draw[:, 2]
        self.narrower, self.shifted = narrower, shifted

    def posterior(self, images: Tensor, condition: Any) -> tuple[Tensor, Tensor]:
        """N(M^-1 W^T (x - b), s² M^-1), M = W^T W + s² (Bishop 2006, 12.42)."""
        spread = self.weight.square().sum(0) + self.scale**2
        mean = (images.flatten(1) - self.bias) @ self.weight / spread
        variance = self.scale**2 / spread * self.narrower
        return mean + self.shifted, variance.log().expand_as(mean)

    def forward(self, latent: Tensor) -> Tensor:
        return (latent @ self.weight.T + self.bias).view(-1, 1, 1, 5)

    def likelihood(self, images: Tensor) -> Tensor:
        covariance = self.weight @ self.weight.T + self.scale**2 * torch.eye(5)
        return torch.distributions.MultivariateNormal(self.bias, covariance).log_prob(images)


def test_the_bound_is_the_likelihood_at_the_exact_posterior_and_below_it_elsewhere() -> None:
    x = streams.stream(4, "x", ids=7).normal(5).double()
    # mean 0 and covariance I: with these the mean of a quadratic form is exact
    points = math.sqrt(2.0) * torch.cat((torch.eye(2), -torch.eye(2))).double()
    images = x.repeat_interleave(4, 0).view(-1, 1, 1, 5)
    latent = points.repeat(7, 1)

    def bound(network: LinearGaussian, beta: float = 1.0) -> float:
        objective = Vae(beta=beta, scale=network.scale)
        loss, _, logs = objective.loss(
            network, images, latent, None, streams.stream(0, "", ids=28), {}
        )
        assert float(loss) == pytest.approx(
            float(logs["reconstruction"] + beta * logs["divergence"])
        )
        return -float(loss)

    exact = LinearGaussian()
    likelihood = float(exact.likelihood(x).mean())
    assert bound(exact) == pytest.approx(likelihood, rel=1e-5)
    for other in (LinearGaussian(narrower=0.5), LinearGaussian(shifted=0.1)):
        assert bound(other) < likelihood - 1e-3
    assert bound(exact, beta=2.0) < likelihood


class Linear(nn.Module):
    """A linear auto-encoder of 6 pixels by 2 codes; its variance must not be used."""

    def __init__(self) -> None:
        super().__init__()
        with streams.scope(5, "linear"):
            self.encode = nn.Linear(6, 2).double()
            self.decode = nn.Linear(2, 6).double()

    def posterior(self, images: Tensor, condition: Any) -> tuple[Tensor, Tensor]:
        self.seen = images
        return self.encode(images.flatten(1)), torch.full((len(images), 2), torch.nan)

    def forward(self, latent: Tensor) -> Tensor:
        return self.decode(latent).view(-1, 1, 2, 3)


def test_a_linear_auto_encoder_spans_the_principal_components() -> None:
    spread = torch.tensor([2.0, 1.5, 0.8, 0.5, 0.3, 0.1]).double()
    turn = torch.linalg.qr(streams.stream(6, "turn", ids=6).normal(6).double())[0]
    data = streams.stream(6, "data", ids=200).normal(6).double() * spread @ turn.T
    network, objective = Linear(), Vae(beta=0.0, scale=1.0)
    optimiser = torch.optim.LBFGS(
        network.parameters(), max_iter=300, line_search_fn="strong_wolfe",
        tolerance_grad=1e-10, tolerance_change=1e-14,
    )  # fmt: skip
    images, latent = data.view(-1, 1, 2, 3), torch.full((200, 2), torch.nan)

    def closure() -> Tensor:
        optimiser.zero_grad()
        numbers = streams.stream(0, "", ids=200)
        loss = objective.loss(network, images, latent, None, numbers, {})[0]
        loss.backward()
        return loss

    optimiser.step(closure)
    centred = data - data.mean(0)
    principal = torch.linalg.svd(centred, full_matrices=False)[2][:2].T
    spanned = torch.linalg.qr(network.decode.weight.detach())[0]
    cosines = torch.linalg.svdvals(principal.T @ spanned)
    angles = cosines.clamp(max=1.0).acos()
    assert float(angles.max()) < 1e-3
    assert not objective.generates


def test_corruption_hides_the_clean_image_from_the_encoder_only() -> None:
    network = Linear()
    images = streams.stream(7, "x", ids=500).uniform(6, -1.0, 1.0).double().view(-1, 1, 2, 3)
    latent, numbers = torch.zeros(500, 2), streams.stream(7, "numbers", ids=500)
    objective = Vae(beta=0.0, corruption=0.5, scale=1.0)
    with torch.no_grad():
        loss = objective.loss(network, images, latent, None, numbers, {})[0]
        drawn = network(network.encode(network.seen.flatten(1)))
    assert float((network.seen - images).std()) == pytest.approx(0.5, abs=0.03)
    expected = objective.surprise(images.flatten(1), drawn.flatten(1)).mean()
    assert float(loss) == pytest.approx(float(expected))


def test_values_out_of_range() -> None:
    for wrong in ({"beta": -1.0}, {"corruption": -0.1}, {"scale": 0.0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            Vae(**wrong)  # type: ignore[arg-type]
    assert Vae().batch_coupled
    assert not Vae(scale=0.1).batch_coupled
    assert not Vae(reconstruction="bernoulli").batch_coupled

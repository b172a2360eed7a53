"""Print what VAR's weight does to the entropy of its outputs,
and to the divergence between targets.

python benchmarks/var_theorem.py                      # 5 seeds, six weights
python benchmarks/var_theorem.py --loss squared --weights 0,1

The paper argues that lowering the regression loss lowers the entropy of what is generated for a
target and raises the Jensen-Shannon divergence between what is generated for two. Its proof does
not hold (`augmint.conditioning.var`), so this measures both where they can be measured: points of
the plane around an arc whose angle is the target, dense networks, a non-saturating game with R1.
Entropies are Kozachenko and Leonenko's (1987) estimates from distances to the k-th nearest
neighbour, `H = psi(n) - psi(k) + log V_d + d / n · Σ log r_i`, of each of six targets; divergences
`JSD = H(mixture) - (H_1 + H_2) / 2`, of neighbouring targets, at most log 2. Errors are exact: the
angle of a point says the target it carries. Intervals: Student's t over seeds, 95 %.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial import cKDTree
from scipy.special import digamma
from torch import Tensor, nn
from torch.optim import Adam

from augmint.aspects.base import Schema
from augmint.aspects.vector import Vector
from augmint.conditioning.base import ConditioningContext
from augmint.conditioning.var import Loss, Var
from augmint.core.machine import single_thread
from augmint.core.streams import scope, stream
from augmint.core.types import CriticOutput
from augmint.studies.statistics import paired_t

if TYPE_CHECKING:
    from augmint.core.types import FloatArray

TARGETS = np.linspace(-0.75, 0.75, 6)
NOISE, WIDTH, LATENT, BATCH, SAMPLES = 0.25, 64, 4, 128, 2000
WEIGHTS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)
TURN = 0.75 * math.pi
"""Angle of the arc at a target of 1."""
ANGLE = Vector("angle", ("share",), low=(-1.0,), high=(1.0,))
CONTEXT = ConditioningContext(Schema((ANGLE,)), (2, 8, 8), LATENT)


@dataclass(frozen=True)
class Measured:
    """Means over the targets: entropy (nats), divergence of neighbours (nats),
    error of the target."""

    entropy: float
    divergence: float
    error: float


def entropy(points: FloatArray, k: int = 4) -> float:
    """Return Kozachenko and Leonenko's estimate in nats, of points `(n, d)`, all different."""
    n, d = points.shape
    radius = cKDTree(points).query(points, k + 1)[0][:, k]
    ball = 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d + 1.0)
    return float(digamma(n) - digamma(k) + ball + d * np.log(np.maximum(radius, 1e-12)).mean())


def divergence(first: FloatArray, second: FloatArray) -> float:
    """Return the Jensen-Shannon divergence of two samples of one size, in nats."""
    mixture = np.concatenate((first[::2], second[::2]))
    return entropy(mixture) - 0.5 * (entropy(first) + entropy(second))


def real_points(target: Tensor, numbers: Tensor) -> Tensor:
    """Return points `(n, 2)` around the arc: radius 1 and angle TURN · target, plus noise."""
    angle = TURN * target[:, 0]
    return torch.stack((angle.cos(), angle.sin()), 1) + NOISE * numbers


def carried(points: Tensor) -> Tensor:
    """Return the target that points carry: their angle over TURN."""
    return torch.atan2(points[:, 1], points[:, 0]) / TURN


def dense(inputs: int, outputs: int) -> nn.Module:
    """Return three dense layers."""
    return nn.Sequential(
        nn.Linear(inputs, WIDTH), nn.LeakyReLU(0.2), nn.Linear(WIDTH, WIDTH), nn.LeakyReLU(0.2),
        nn.Linear(WIDTH, outputs),
    )  # fmt: skip


def train(var: Var, seed: int, steps: int) -> nn.Module:
    """Return the generator of one game; real points and targets are drawn afresh."""
    with scope(seed, "var_theorem"):
        generator, critic, regressor = dense(LATENT + 1, 2), dense(2, 1), dense(2, 1)
    players = [
        Adam(n.parameters(), 1e-3, (0.5, 0.9), fused=True) for n in (generator, critic, regressor)
    ]
    beside = {"regressor": regressor}
    nothing = CriticOutput(torch.zeros(1))
    for step in range(steps):
        numbers = stream(seed, "points", step, BATCH)
        target = {"angle": numbers.uniform(1, -1.0, 1.0)}
        real = real_points(target["angle"], numbers.normal(2)).requires_grad_()
        wanted = {"angle": numbers.uniform(1, -1.0, 1.0)}
        latent = var.sample_latent(CONTEXT, wanted, stream(seed, "latent", step, BATCH))
        fake = generator(latent)
        said = critic(real)
        (slope,) = torch.autograd.grad(said.sum(), real, create_graph=True)
        loss = F.softplus(-said).mean() + F.softplus(critic(fake.detach())).mean()
        loss = loss + 0.05 * slope.square().sum(1).mean()
        beside_loss, _ = var.auxiliary_loss(
            CONTEXT, beside, real.detach(), fake.detach(), target, wanted
        )
        term, _ = var.generator_terms(CONTEXT, beside, {}, fake, nothing, wanted, latent)
        if beside_loss is None or term is None:
            raise RuntimeError("VAR gives both losses")
        losses = (F.softplus(-critic(fake)).mean() + term, loss, beside_loss)
        networks = (generator, critic, regressor)
        gradients = [
            torch.autograd.grad(value, list(network.parameters()), retain_graph=True)
            for value, network in zip(losses, networks, strict=True)
        ]
        for player, network, found in zip(players, networks, gradients, strict=True):
            for parameter, gradient in zip(network.parameters(), found, strict=True):
                parameter.grad = gradient
            player.step()
    return generator


def measure(generator: nn.Module, var: Var, samples: int = SAMPLES) -> Measured:
    """Return entropy, divergence and error of a generator's outputs."""

    def made(i: int, wanted: Tensor) -> Tensor:
        numbers = stream(0, "measured", i, samples)
        outputs: Tensor = generator(var.sample_latent(CONTEXT, {"angle": wanted}, numbers))
        return outputs

    return _measured(made, samples)


def truth(samples: int = SAMPLES) -> Measured:
    """Return the same of real points."""
    return _measured(
        lambda i, wanted: real_points(wanted, stream(0, "truth", i, samples).normal(2)), samples
    )


@torch.no_grad()
def _measured(made: Callable[[int, Tensor], Tensor], samples: int) -> Measured:
    outputs, errors = [], []
    for i, target in enumerate(TARGETS.tolist()):
        points = made(i, torch.full((samples, 1), target))
        errors.append(float((carried(points) - target).abs().mean()))
        outputs.append(points.double().numpy())
    apart = [divergence(a, b) for a, b in pairwise(outputs)]
    entropies = [entropy(o) for o in outputs]
    return Measured(*(float(np.mean(x)) for x in (entropies, apart, errors)))


def interval(values: Sequence[float]) -> str:
    """Return the mean and the half width of its 95 % interval as text."""
    if len(values) < 2:
        return f"{values[0]:.3f}"
    found = paired_t(values)
    return f"{np.mean(values):6.3f} ± {(found.high - found.low) / 2:.3f}"


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--loss", default="authors", help="of one component")
    parser.add_argument("--weights", default=",".join(map(str, WEIGHTS)))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1000)
    given = parser.parse_args()
    loss: Loss = given.loss
    with single_thread():
        found = truth()
        print(f"loss {loss}, {given.steps} steps, {given.seeds} seeds")
        print(f"{'zeta':>6}  {'entropy':>16}  {'divergence':>16}  {'error':>16}")
        print(f"{'real':>6}  {found.entropy:16.3f}  {found.divergence:16.3f}  {found.error:16.3f}")
        for weight in map(float, given.weights.split(",")):
            var = Var(zeta=weight, loss=loss, gain=1.0)
            rows = [measure(train(var, seed, given.steps), var) for seed in range(given.seeds)]
            texts = [
                interval([getattr(row, name) for row in rows])
                for name in ("entropy", "divergence", "error")
            ]
            print(f"{weight:6g}  " + "  ".join(f"{t:>16}" for t in texts), flush=True)


if __name__ == "__main__":
    main()

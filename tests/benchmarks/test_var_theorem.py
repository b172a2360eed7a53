"""The estimates behind the table on VAR's theorem: known entropies, divergences and errors."""

from __future__ import annotations

import importlib
import math
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid


@pytest.fixture(scope="module")
def theorem() -> ModuleType:
    return importlib.import_module("var_theorem")


def gaussian(centre: float, deviation: float = 1.0, n: int = 4000) -> np.ndarray:
    return np.random.default_rng(int(centre * 10) + 3).normal(centre, deviation, (n, 2))


@pytest.mark.parametrize("deviation", [0.01, 1.0, 7.0])
def test_entropy_of_gaussians(theorem: ModuleType, deviation: float) -> None:
    exact = math.log(2 * math.pi * math.e * deviation**2)
    # the estimate's deviation at n = 4000, k = 4 is about sqrt((1 + psi'(4)) / n) = 0.018
    assert theorem.entropy(gaussian(0.0, deviation)) == pytest.approx(exact, abs=0.06)


def test_divergence_runs_from_none_to_that_of_disjoint_sets(theorem: ModuleType) -> None:
    first = gaussian(0.0)
    assert theorem.divergence(first, gaussian(0.1)) == pytest.approx(0.0, abs=0.06)
    assert theorem.divergence(first, gaussian(30.0)) == pytest.approx(math.log(2), abs=0.06)
    # unit Gaussians at distance d: numerical integral over the line between them
    x = np.linspace(-12, 16, 20001)
    p, q = (np.exp(-((x - m) ** 2) / 2) / math.sqrt(2 * math.pi) for m in (0.0, 2 * math.sqrt(2)))
    mean = (p + q) / 2
    parts = [np.where(f > 0, f * np.log(np.maximum(f, 1e-300) / mean), 0.0) for f in (p, q)]
    exact = 0.5 * sum(trapezoid(part, x) for part in parts)
    assert theorem.divergence(first, gaussian(2.0)) == pytest.approx(exact, abs=0.06)


def test_points_carry_their_target(theorem: ModuleType) -> None:
    target = torch.linspace(-0.9, 0.9, 7)[:, None]
    exact = theorem.real_points(target, torch.zeros(7, 2))
    torch.testing.assert_close(theorem.carried(exact), target[:, 0])


def test_a_heavy_weight_narrows_and_parts_the_outputs(theorem: ModuleType) -> None:
    """Measured, not proved: 150 steps are enough to see it."""
    from augmint.conditioning.var import Var

    free, bound = (Var(zeta=z, gain=1.0) for z in (0.0, 3.0))
    without, with_it = (theorem.measure(theorem.train(v, 0, 150), v, 500) for v in (free, bound))
    assert with_it.entropy < without.entropy
    assert with_it.divergence > without.divergence + 0.2
    assert with_it.error < 0.5 * without.error

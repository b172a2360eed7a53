"""Fréchet distance against scipy's matrix square root, closed forms and another library."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from augmint.core.errors import UsageError
from augmint.metrics.frechet import Frechet, frechet, frechet_from_moments


def by_scipy(a: np.ndarray, b: np.ndarray) -> float:
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.real(scipy.linalg.sqrtm(s1 @ s2))
    return float(np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(s1 + s2 - 2 * root))


@pytest.fixture
def samples() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(12, 12))
    return rng.normal(size=(300, 12)), rng.normal(size=(200, 12)) @ mix + 0.5


def test_equals_the_matrix_square_root(samples: tuple[np.ndarray, np.ndarray]) -> None:
    assert frechet(*samples) == pytest.approx(by_scipy(*samples), rel=1e-9)


def test_closed_form_of_commuting_gaussians() -> None:
    # diagonal covariances commute: sum over axes of (m1 - m2)^2 + (s1 - s2)^2
    m1, m2 = np.array([0.0, 1.0]), np.array([3.0, 1.0])
    s1, s2 = np.array([1.0, 2.0]), np.array([2.0, 0.5])
    expected = np.sum((m1 - m2) ** 2) + np.sum((s1 - s2) ** 2)
    value = frechet_from_moments(m1, np.diag(s1**2), m2, np.diag(s2**2))
    assert value == pytest.approx(expected, rel=1e-12)


def test_a_sample_of_known_gaussians_tends_to_the_closed_form() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(200_000, 2)), 2.0 * rng.normal(size=(200_000, 2)) + [1.0, 0.0]
    assert frechet(a, b) == pytest.approx(1.0 + 2.0, abs=0.03)


def test_identity_symmetry_and_shift(samples: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = samples
    shift = np.linspace(-1, 1, 12)
    assert frechet(a, a) == pytest.approx(0.0, abs=1e-9)
    assert frechet(a, b) == pytest.approx(frechet(b, a), rel=1e-9)
    assert frechet(a, a + shift) == pytest.approx(np.sum(shift**2), rel=1e-9)


def test_the_gram_form_below_full_rank() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(9, 30)), rng.normal(size=(11, 30)) + 0.3
    # a vanishing ridge makes the moments regular, so both forms can be compared
    s1, s2 = (np.cov(x, rowvar=False) + 1e-10 * np.eye(30) for x in (a, b))
    regular = frechet_from_moments(a.mean(0), s1, b.mean(0), s2)
    # sqrt(1e-10) in each of 30 directions bounds the difference
    assert frechet(a, b) == pytest.approx(regular, abs=30 * 1e-5 * 4)
    assert frechet(a, a) == pytest.approx(0.0, abs=1e-9)


def test_dead_features_are_no_obstacle(samples: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = (np.concatenate([x, np.zeros((len(x), 3))], 1) for x in samples)
    assert frechet(a, b) == pytest.approx(frechet(*samples), rel=1e-7)


def test_equals_torchmetrics_on_the_same_features() -> None:
    image = pytest.importorskip("torchmetrics.image.fid")

    class Flat(torch.nn.Module):
        num_features = 8

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1).double()

    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(60, 8)), rng.normal(size=(70, 8)) * 1.5
    other = image.FrechetInceptionDistance(
        feature=Flat(), input_img_size=(2, 2, 2), normalize=True
    ).set_dtype(torch.float64)
    other.update(torch.from_numpy(a).view(-1, 2, 2, 2), real=True)
    other.update(torch.from_numpy(b).view(-1, 2, 2, 2), real=False)
    assert frechet(a, b) == pytest.approx(float(other.compute()), rel=1e-4)


def test_the_registered_metric_refuses_small_samples() -> None:
    assert "2048" in (Frechet().refusal(500, 2048) or "")
    assert Frechet().refusal(17, 16) is None
    assert Frechet().refusal(16, 16) is not None


def test_shapes_are_checked() -> None:
    with pytest.raises(UsageError, match="same D"):
        frechet(np.zeros((4, 2)), np.zeros((4, 3)))
    with pytest.raises(UsageError, match="at least 2 rows"):
        frechet(np.zeros((1, 2)), np.zeros((4, 2)))

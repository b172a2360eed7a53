"""Pair measures against scikit-image, naive windows and torchmetrics; the sampling of pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from augmint.core.errors import UsageError
from augmint.metrics.image import (
    PairwiseDiversity,
    Window,
    compare_pairs,
    pairwise_diversity,
    sample_pairs,
)


@pytest.fixture
def images() -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (6, 2, 17, 13), dtype=np.uint8)
    x[0, :, :10] = 0  # blank windows, all zero
    x[1, :, :10] = 0
    x[2, :, :10] = 90  # blank windows, not zero
    x[3] = x[2] // 2 + 40
    return x


def uqi_by_windows(f: np.ndarray, g: np.ndarray) -> float:
    values = []
    for a, b in zip(f.astype(float), g.astype(float), strict=True):
        for i in range(a.shape[0] - 7):
            for j in range(a.shape[1] - 7):
                u, v = a[i : i + 8, j : j + 8], b[i : i + 8, j : j + 8]
                mu, mv, spread = u.mean(), v.mean(), u.var() + v.var()
                level = mu**2 + mv**2
                if spread == 0:
                    values.append(2 * mu * mv / level if level else 1.0)
                else:
                    c = ((u - mu) * (v - mv)).mean()
                    values.append(4 * c * mu * mv / (spread * level))
    return float(np.mean(values))


def ssim_by_skimage(f: np.ndarray, g: np.ndarray, window: Window) -> float:
    options = (
        {"win_size": 7}
        if window == "uniform"
        else {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    )
    return float(structural_similarity(f, g, channel_axis=0, data_range=255, **options))


@pytest.mark.parametrize("window", ["uniform", "gaussian"])
def test_pairs_equal_the_oracles(images: np.ndarray, window: Window) -> None:
    pairs = np.array([[i, j] for i in range(6) for j in range(6)])
    found = compare_pairs(images, pairs, window)
    for row, (i, j) in enumerate(pairs):
        f, g = images[i], images[j]
        difference = (f.astype(float) - g) / 255
        assert found["mse"][row] == pytest.approx((difference**2).mean())
        assert found["rmse"][row] == pytest.approx(np.sqrt((difference**2).mean()))
        assert found["mae"][row] == pytest.approx(np.abs(difference).mean())
        assert found["uqi"][row] == pytest.approx(uqi_by_windows(f, g), abs=1e-10)
        assert found["ssim"][row] == pytest.approx(ssim_by_skimage(f, g, window), abs=1e-9)


def test_uqi_equals_torchmetrics_where_no_window_is_blank() -> None:
    functional = pytest.importorskip("torchmetrics.functional.image")
    rng = np.random.default_rng(1)
    f, g = rng.integers(0, 256, (2, 1, 1, 24, 24)).astype(np.float64)
    # torchmetrics weighs by a Gaussian; a very wide one is the uniform window of Wang and Bovik
    other = functional.universal_image_quality_index(
        torch.from_numpy(f), torch.from_numpy(g), kernel_size=(9, 9), sigma=(1e4, 1e4)
    )
    both = np.concatenate([f, g]).astype(np.uint8)
    import augmint.metrics.image as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "UQI_SIDE", 9)
        mine = compare_pairs(both, np.array([[0, 1]]))["uqi"][0]
    # its window is odd, and its border windows reach over the edge before they are cut off
    assert mine == pytest.approx(float(other), abs=5e-3)


def test_pairs_are_distinct_rows_of_the_right_classes_and_uniform() -> None:
    labels = np.array([2, 0, 2, 1, 0, 2, 7])
    within, between = sample_pairs(labels, 20_000, seed=3)
    assert (within[:, 0] != within[:, 1]).all()
    assert (labels[within[:, 0]] == labels[within[:, 1]]).all()
    assert (labels[between[:, 0]] != labels[between[:, 1]]).all()
    # rows 1 and 4 (class 0) and 0, 2, 5 (class 2) have partners; each is drawn first alike
    assert set(within[:, 0]) == {0, 1, 2, 4, 5}
    assert np.bincount(within[:, 0])[[0, 1, 2, 4, 5]] == pytest.approx(4000, rel=0.1)
    partners = within[within[:, 0] == 0, 1]
    assert np.bincount(partners)[[2, 5]] == pytest.approx(2000, rel=0.15)
    others = between[between[:, 0] == 3, 1]
    assert sorted(set(others)) == [0, 1, 2, 4, 5, 6]


def test_diversity_is_seeded_and_absent_kinds_are_absent(images: np.ndarray) -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    first = pairwise_diversity(images, labels, 50, seed=1)
    assert first == pairwise_diversity(images, labels, 50, seed=1)
    assert first != pairwise_diversity(images, labels, 50, seed=2)
    assert set(pairwise_diversity(images, np.zeros(6, np.int64), 5)) == {"within"}
    assert set(pairwise_diversity(images, np.arange(6), 5)) == {"between"}
    assert "within/ssim" in PairwiseDiversity(pairs=5)(images, labels)


def test_the_mean_of_samples_tends_to_the_mean_of_all_pairs(images: np.ndarray) -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    found = pairwise_diversity(images, labels, 20_000, seed=0)["between"]
    every = compare_pairs(images, np.array([[i, j] for i in range(3) for j in range(3, 6)]))
    for name, value in found.items():
        assert value == pytest.approx(every[name].mean(), rel=0.03, abs=2e-3)


def test_small_images_are_refused() -> None:
    small = np.zeros((2, 1, 8, 8), np.uint8)
    assert compare_pairs(small, np.array([[0, 1]]))["ssim"][0] == pytest.approx(1.0)
    with pytest.raises(UsageError, match="at least 11 px"):
        compare_pairs(small, np.array([[0, 1]]), "gaussian")
    with pytest.raises(UsageError, match="rows 0 to 1"):
        compare_pairs(small, np.array([[0, 2]]))

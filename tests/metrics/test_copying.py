"""The copy check: what it finds, how often it is wrong, and that it says when it cannot tell."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import nbinom
from sklearn.datasets import load_digits

from augmint.core.errors import UsageError
from augmint.metrics import copying
from augmint.metrics.copying import (
    Copying,
    assess,
    excess_probability,
    false_flag_rule,
    nearest,
    planted_copies,
)
from augmint.metrics.registration import CopySearch


def blobs(n: int, seed: int, side: int = 16, channels: int = 1) -> np.ndarray:
    """Images of five random bright blobs on a dim ground."""
    rng = np.random.default_rng(seed)
    x, y, width = (rng.uniform(a, b, (n, 5, 1, 1)) for a, b in ((0, side), (0, side), (1.5, 4)))
    grid = np.arange(side)
    bumps = np.exp(-((grid - x) ** 2 + (grid[:, None] - y) ** 2) / (2 * width**2))
    colours = rng.uniform(0.2, 1.0, (n, channels, 5))
    sums = np.einsum("nchw,nkc->nkhw", bumps, colours)
    return np.clip(20 + 120 * sums, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    images = np.round(load_digits().images * (255 / 16)).astype(np.uint8)[:, None]
    return images[np.random.default_rng(0).permutation(len(images))]


def test_planted_copies_on_digits_are_found_and_the_rest_left_alone(digits: np.ndarray) -> None:
    report = assess(digits[:150], digits[150:650], digits[650:1050], seed=1, planted=60)
    assert report.assessed
    assert report.overall_recall >= 0.95
    assert report.outcome == "no excess of near copies"
    assert not report.excess
    assert set(report.recall) == {"exact", "flip", "jpeg", "crop", "jitter"}
    assert report.counts["planted"] == 300


@pytest.mark.parametrize("channels", [1, 3])
def test_planted_copies_on_blobs_are_found(channels: int) -> None:
    images = blobs(450, 0, side=16, channels=channels)
    report = assess(images[:100], images[100:300], images[300:], seed=0, planted=40)
    assert min(report.recall.values()) >= 0.9
    assert report.assessed
    assert not report.excess


def test_more_than_a_tenth_of_copies_is_an_excess(digits: np.ndarray) -> None:
    train, held_out, minted = digits[:150], digits[150:650], digits[650:950].copy()
    copies = planted_copies(train[:8], seed=9)
    minted[:40] = np.concatenate(list(copies.values()))
    report = assess(train, held_out, minted, seed=1, planted=20)
    assert report.outcome == "near copies found"
    assert report.excess_p < 1e-6
    assert len(set(report.flagged) & set(range(40))) >= 36
    assert len(set(report.flagged) - set(range(40))) <= 3
    assert report.dcr_share > 0.5
    rows = {i: row for i, row, _ in report.pairs(8)}
    assert all(row == i % 8 for i, row in rows.items() if i < 40)


def test_a_mirrored_and_shifted_copy_names_its_original() -> None:
    train = blobs(60, 0)
    rows, distances = nearest(train[[7, 31], :, :, ::-1].copy(), train)
    assert rows.tolist() == [7, 31]
    assert distances == pytest.approx(0.0, abs=1e-5)
    crops = planted_copies(train, seed=4)["crop"]
    rows, distances = nearest(crops, train)
    assert np.array_equal(rows, np.arange(60))
    assert distances.max() < 0.01


def test_independent_images_are_flagged_at_most_as_often_as_alpha_says() -> None:
    # one search, scores of many independent images, then 400 redraws of who calibrates
    scores = CopySearch(blobs(60, 0, side=8))(blobs(900, 1, side=8)).scores
    rng = np.random.default_rng(0)
    rates = {}
    for held_out, alpha in ((99, None), (199, 0.05)):
        bound, rank = false_flag_rule(held_out, alpha)
        shares = []
        for _ in range(400):
            order = rng.permutation(len(scores))
            threshold = np.sort(scores[order[:held_out]])[rank - 1]
            shares.append(np.mean(scores[order[held_out:]] < threshold))
        rates[bound] = np.mean(shares)
        # rank / (H + 1) is the expectation; the mean of 400 has a few per cent of it as error
        assert rates[bound] == pytest.approx(bound, rel=0.25)
    assert list(rates) == [0.01, 0.05]


def test_the_excess_probability_is_exact_for_exchangeable_scores() -> None:
    rng = np.random.default_rng(0)
    held_out, minted, rank, draws = 30, 50, 2, 20_000
    scores = rng.random((draws, held_out + minted))
    threshold = np.sort(scores[:, :held_out], axis=1)[:, rank - 1]
    counts = (scores[:, held_out:] < threshold[:, None]).sum(1)
    for count in (1, 5, 10, 15):
        expected = np.mean(counts >= count)
        # 4 standard errors of a share of 20 000
        tolerance = 4 * np.sqrt(expected * (1 - expected) / draws) + 1e-4
        found = excess_probability(count, minted, rank, held_out)
        assert found == pytest.approx(expected, abs=tolerance)
    # as both sets grow the count below the k-th tends to a negative binomial
    limit = nbinom.sf(9, rank, 0.5)
    assert excess_probability(10, 100_000, rank, 100_000) == pytest.approx(limit, rel=1e-2)


def test_a_blind_detector_says_not_assessed() -> None:
    train = blobs(40, 0)
    # held-out images that are all but copies leave no room for a threshold
    held_out = np.clip(train.astype(int) + 1, 0, 255).astype(np.uint8)
    report = assess(train, held_out, blobs(50, 5), seed=0)
    assert not report.assessed
    assert all(own == row for own, row, _ in report.closest_held_out)
    assert report.outcome == "not assessed"
    assert "not assessed" in report.text()


def test_duplicates_are_kept_out_of_the_calibration() -> None:
    train = blobs(40, 0)
    held_out = np.concatenate([blobs(60, 1), train[:3]])
    report = assess(train, held_out, blobs(50, 2), seed=0, planted=20)
    assert report.counts["held_out_duplicates"] == 3
    assert report.counts["held_out"] == 60
    assert report.assessed
    with pytest.raises(UsageError, match="differ from training"):
        assess(train, train[:5], blobs(5, 2), seed=0)


def test_the_report_is_repeatable_json_and_promises_nothing() -> None:
    sets = blobs(40, 0), blobs(60, 1), blobs(30, 2)
    first, again = assess(*sets, seed=3, planted=10), assess(*sets, seed=3, planted=10)
    assert first.to_plain() == again.to_plain()
    text = json.dumps(first.to_plain(), allow_nan=False)
    assert "private" not in text.lower()
    assert len(first.to_plain(pairs=5)["pairs"]) == 5
    metric = Copying(planted=10)(*sets, seed=3)
    assert metric["recall"] == first.overall_recall


def test_scores_do_not_depend_on_the_company_an_image_keeps() -> None:
    search, images = CopySearch(blobs(150, 0)), blobs(300, 1)
    whole, part = search(images), search(images[200:210])
    assert np.array_equal(whole.rows[200:210], part.rows)
    np.testing.assert_allclose(whole.scores[200:210], part.scores, rtol=1e-4, atol=1e-5)


def test_brightness_and_contrast_do_not_matter() -> None:
    train = blobs(50, 0)
    dim = (train // 2 + 30).astype(np.uint8)
    rows, distances = nearest(dim, train)
    assert np.array_equal(rows, np.arange(50))
    # what is left is the rounding of a halved grey level
    assert distances.max() < 1e-3


def test_planted_copies_are_what_they_say() -> None:
    images = blobs(6, 0, side=20, channels=3)
    copies = planted_copies(images, seed=1)
    assert np.array_equal(copies["exact"], images)
    assert np.array_equal(copies["flip"][..., ::-1], images)
    for name in ("jpeg", "crop", "jitter"):
        assert copies[name].shape == images.shape
        assert copies[name].dtype == np.uint8
        assert not np.array_equal(copies[name], images)
    again, first = planted_copies(images, seed=1), planted_copies(images[:2], seed=1)
    assert all(np.array_equal(copies[k], again[k]) for k in copies)
    assert all(np.array_equal(copies[k][:2], first[k]) for k in copies)
    four = planted_copies(blobs(2, 0, channels=4), seed=1)
    assert all(v.shape == (2, 4, 16, 16) for v in four.values())


def test_flat_images_are_no_trouble() -> None:
    flat = np.full((5, 1, 8, 8), 7, np.uint8)
    matches = CopySearch(np.concatenate([flat, blobs(5, 0, side=8)]))(flat)
    assert np.isfinite(matches.scores).all()


def test_what_cannot_be_used_is_refused() -> None:
    few = blobs(9, 0)
    with pytest.raises(UsageError, match="at least 999 held-out"):
        false_flag_rule(100, 0.001)
    with pytest.raises(UsageError, match="shape"):
        assess(few, blobs(9, 1), blobs(4, 1, side=8), seed=0)
    with pytest.raises(UsageError, match="at least 2 training"):
        assess(few[:1], few, few, seed=0)
    with pytest.raises(UsageError, match="minted images"):
        assess(few, few, few[:0], seed=0)
    assert copying.NEEDED_RECALL == 0.95

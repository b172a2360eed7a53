from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from augmint.core.errors import DataCheckError
from augmint.data import near as near_module
from augmint.data.check import blocking, check, grouping, pixel_codes, training_rows_without
from augmint.data.near import correlation, describe, find_near
from augmint.data.splits import stratified
from augmint.data.table import TableNotes

from .conftest import noise

PARTS = {"train": np.arange(60), "validation": np.arange(60, 80), "test": np.arange(80, 100)}


@pytest.fixture
def planted(make_table):
    """A hundred images with known faults."""
    images, labels = noise(100, 1, 8, 8), np.arange(100) % 3
    images[85] = images[10]  # across, labels 1 and 1
    images[62] = images[11]  # across, labels 2 and 2
    images[90] = images[65]  # validation and test
    images[21] = images[20]  # within, labels differ (2 and 0)
    images[33] = images[30]  # within, labels agree
    images[36] = images[30]
    images[40] = 7  # constant
    labels[85], labels[62] = labels[10], labels[11]
    return make_table(images, labels, PARTS)


def test_planted_duplicates_are_found(planted) -> None:
    report = check(planted, near=False)
    assert report.exact_across == [[10, 85], [11, 62], [65, 90]]
    assert report.exact_within == [[20, 21], [30, 33, 36]]
    assert [20, 21] in report.conflicts
    assert report.constant == [40]
    assert report.across_counts == {"train/validation": 1, "train/test": 1, "validation/test": 1}
    assert report.parts == {"train": 60, "validation": 20, "test": 20}
    assert sum(report.class_counts["train"].values()) == 60
    assert ("image-10", "image-85") in report.examples


def test_duplicates_across_parts_stop_a_study(planted) -> None:
    with pytest.raises(DataCheckError) as caught:
        blocking(check(planted, near=False))
    text = str(caught.value)
    assert caught.value.exit_code == 3
    assert "3 images" in text
    assert "image-10 = image-85" in text
    assert "--drop-duplicates" in text


def test_files_that_are_left_out_are_named(make_table) -> None:
    rules = {"ignored_count": 7, "ignored": [f"notes/{i}.txt" for i in range(7)]}
    table = make_table(noise(9, 1, 8, 8), np.arange(9) % 3, notes=TableNotes(rules=rules))
    names = ", ".join(rules["ignored"][:5])
    sentence = f"7 files are no part of the data set and were left out: {names} and 2 more"
    assert f"warning: {sentence}" in check(table, near=False).text()


def test_a_clean_set_passes(make_table) -> None:
    report = check(make_table(noise(100, 1, 8, 8), np.arange(100) % 3, PARTS))
    blocking(report)
    assert not report.exact_across
    assert not report.exact_within
    assert not report.near_across
    assert (
        len(
            training_rows_without(
                report, make_table(noise(100, 1, 8, 8), np.arange(100) % 3, PARTS)
            )
        )
        == 60
    )


def test_what_dropping_cannot_mend_is_said(make_table) -> None:
    images = noise(100, 1, 8, 8)
    images[90] = images[65]
    with pytest.raises(DataCheckError, match="cannot help"):
        blocking(check(make_table(images, np.arange(100) % 3, PARTS), near=False))


def test_dropping_is_from_training_only(planted) -> None:
    report = check(planted, near=False)
    kept = training_rows_without(report, planted)
    assert sorted(set(range(60)) - set(kept.tolist())) == [10, 11, 20, 21, 33, 36]


def test_parts_made_afterwards(planted) -> None:
    parts = {"train": np.array([30, 1, 2]), "test": np.array([33, 5])}
    report = check(planted, near=False, parts=parts)
    assert report.exact_across == [[30, 33]]
    assert report.images == 5
    assert training_rows_without(report, planted, parts=parts).tolist() == [1, 2]


def test_codes_are_equal_exactly_where_pixels_are() -> None:
    images = noise(3000, 1, 1, 2) // 64
    codes = pixel_codes(images)
    flat = images.reshape(len(images), -1).astype(np.int64) @ np.array([256, 1])
    expected = np.unique(flat, return_inverse=True)[1]
    pairs = set(zip(codes.tolist(), expected.tolist(), strict=True))
    assert len(pairs) == len(set(codes.tolist())) == len(set(expected.tolist()))
    slow = {hashlib.sha256(i.tobytes()).hexdigest() for i in images}
    assert len(slow) == codes.max() + 1


def test_splitting_by_grouping_cannot_leak(make_table) -> None:
    images = noise(90, 1, 4, 4)
    images[60:90] = images[0:30]
    subjects = np.arange(90) // 2
    table = make_table(images, np.arange(90) % 3, notes=TableNotes(groups=subjects))
    groups = grouping(table)
    assert (groups[60:90] == groups[0:30]).all()
    assert (groups[0::2] == groups[1::2]).all()
    assert len(set(groups.tolist())) == 30
    rest, taken = stratified(table.labels(), 0.3, 0, "split", groups)
    report = check(table, near=False, parts={"train": rest, "test": taken})
    blocking(report)
    assert not set(subjects[rest]) & set(subjects[taken])


def smooth(n: int, side: int, seed: int) -> np.ndarray:
    """Images with structure: random fields of low frequency."""
    coarse = np.random.default_rng(seed).normal(size=(n, 5, 5))
    axis = np.linspace(0, 4, side)
    tents = np.maximum(0, 1 - np.abs(axis[:, None] - np.arange(5)))
    fields = tents @ coarse @ tents.T
    return np.clip(128 + 45 * fields, 0, 255).astype(np.uint8)[:, None]


def test_near_duplicates_are_found_and_nothing_else(make_table) -> None:
    images = smooth(500, 24, 0)
    parts = {
        "train": np.arange(300),
        "validation": np.arange(300, 400),
        "test": np.arange(400, 500),
    }
    rng = np.random.default_rng(1)
    brighter = np.clip(images[5].astype(int) + 9, 0, 255)
    noisy = np.clip(images[7].astype(int) + rng.integers(-4, 5, images[7].shape), 0, 255)
    images[310], images[420], images[430] = brighter, noisy, images[350]
    images[430, 0, 0, 0] ^= 8
    report = check(make_table(images, np.arange(500) % 3, parts))
    assert {(a, b) for a, b, _, _ in report.near_across} == {(310, 5), (420, 7), (430, 350)}
    assert all(r >= 0.99 for *_, r in report.near_across)
    assert not report.exact_across
    table = make_table(images, np.arange(500) % 3, parts, name="again")
    kept = training_rows_without(report, table, near=True)
    assert sorted(set(range(300)) - set(kept.tolist())) == [5, 7]


def test_the_fence_survives_copies_within_training() -> None:
    images = smooth(400, 16, 0)
    images[100:200] = images[:100]
    images[100:200, 0, 0, 0] ^= 1  # two thirds of training have a near copy
    images[350] = images[250]
    images[350, 0, 3, 3] ^= 4
    parts = {"train": np.arange(300), "test": np.arange(300, 400)}
    found = find_near(images, parts, pixel_codes(images))
    assert [(a, b) for a, b, _, _ in found.pairs] == [(350, 250)]


def test_identical_images_are_left_to_the_exact_check() -> None:
    images = smooth(400, 16, 0)
    images[350] = images[250]
    parts = {"train": np.arange(300), "test": np.arange(300, 400)}
    assert find_near(images, parts, pixel_codes(images)).pairs == []


def test_sampling_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_module, "LIMIT_PRODUCTS", 300 * 40)
    images = smooth(400, 16, 0)
    parts = {"train": np.arange(300), "test": np.arange(300, 400)}
    found = find_near(images, parts, pixel_codes(images))
    assert "40 of 100 test images sampled" in found.protocol


def test_descriptors_are_area_means() -> None:
    images = noise(3, 3, 32, 48)
    grey = images.mean(1).reshape(3, 16, 2, 16, 3).mean((2, 4)).reshape(3, -1)
    grey -= grey.mean(1, keepdims=True)
    grey /= np.linalg.norm(grey, axis=1, keepdims=True)
    assert np.allclose(describe(images, np.arange(3)), grey, atol=1e-5)
    assert not describe(np.full((1, 1, 20, 20), 9, np.uint8), np.arange(1)).any()


def test_correlation_is_pearsons() -> None:
    a, b = noise(2, 3, 6, 6)
    assert correlation(a, b) == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1])
    assert correlation(a, np.full_like(a, 3)) == 0.0


def test_the_report_is_plain_and_escaped(make_table) -> None:
    notes = TableNotes(
        quarantined=[{"name": "x\x1b[31m.png", "reason": "cut"}],
        origins={"real": np.arange(99), "minted": np.array([99])},
    )
    images = np.repeat(noise(100, 1, 8, 8), 3, axis=1)
    labels = np.arange(100) % 2
    labels[5] = 2
    report = check(make_table(images, labels, PARTS, notes=notes))
    text = "\n".join(report.text())
    assert "\x1b" not in text
    assert json.loads(json.dumps(report.to_plain(), allow_nan=False))["images"] == 100
    for said in (
        "test has no image of owl",
        "train has under 20 images of owl (1)",
        "test holds 1 minted images",
        "all channels look equal",
        "1 file could not be read",
    ):
        assert any(said in w for w in report.warnings), said

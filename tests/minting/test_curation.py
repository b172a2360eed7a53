"""Curation keeps what passes, counts everything else, and depends on seed and quotas alone."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from augmint.aspects.landmarks import Landmarks
from augmint.aspects.map import Map
from augmint.aspects.mask import Mask
from augmint.aspects.vector import Vector
from augmint.core.errors import DataError, UsageError
from augmint.minting.curation import CurationConfig, mint, mint_parts
from augmint.minting.nearness import Kept, descriptors, distances, nearest_other
from augmint.minting.review import ByError


def test_kept_images_are_what_they_claim_and_counts_add_up(
    schema: Any, truthful: Any, brightness: Any
) -> None:
    sampler, judge = truthful(3, wrong=4), brightness(3)
    quotas = {0: 30, 1: 10, 2: 0}
    minted = mint(sampler, judge, schema, quotas, CurationConfig(), 7, progress=False)
    assert np.bincount(minted.values["label"], minlength=3).tolist() == [30, 10, 0]
    assert (judge.probabilities(minted.images).argmax(1) == minted.values["label"]).all()
    assert (minted.scores["probability"] == 0.9).all()
    assert np.allclose(minted.scores["margin"], 0.9 - 0.05)
    for count in minted.counts:
        assert count.drawn == count.accepted + sum(count.rejected.values())
        # counters 0, 4, 8, … are wrong: the k-th good one has counter k + ceil(k / 3) + …
        assert count.rejected["disagrees"] == -(-count.drawn // 4)
    assert [c.name for c in minted.counts] == ["ant", "bee"]
    assert minted.summary()["accepted"] == 40


def test_every_image_can_be_drawn_again(schema: Any, truthful: Any, brightness: Any) -> None:
    sampler = truthful(3, wrong=5)
    minted = mint(sampler, brightness(3), schema, {0: 9, 2: 9}, CurationConfig(), 3, False)
    assert len(set(minted.ids.tolist())) == 18
    assert (minted.ids % 3 == minted.values["label"]).all()
    again = sampler.sample({"label": minted.values["label"]}, minted.ids, int(minted.seeds[0]))
    assert np.array_equal(again, minted.images)


def test_more_images_keep_the_earlier_ones_and_other_classes_change_nothing(
    schema: Any, truthful: Any, brightness: Any
) -> None:
    def ids(quotas: dict[int, int], label: int) -> list[int]:
        sampler = truthful(3, wrong=3, repeat=200)
        minted = mint(sampler, brightness(3), schema, quotas, CurationConfig(), 3, False)
        return minted.ids[minted.values["label"] == label].tolist()

    few, many = ids({1: 10}, 1), ids({0: 50, 1: 60}, 1)
    assert many[:10] == few
    assert many == sorted(many)


def test_unsure_and_disagreeing_images_are_told_apart(
    schema: Any, truthful: Any, brightness: Any
) -> None:
    config = CurationConfig(threshold=0.95, max_draws=2)
    sampler, judge = truthful(3, wrong=2), brightness(3)
    with pytest.raises(DataError, match="keeps at least one"):
        mint(sampler, judge, schema, {0: 8}, config, 1, False)
    loose = CurationConfig(threshold=0.0, agreement=False)
    minted = mint(sampler, judge, schema, {0: 8}, loose, 1, False)
    assert minted.counts[0].drawn == 8
    assert (minted.scores["margin"] < 0).sum() == 4


def test_a_shortfall_is_stated_and_draws_are_bounded(
    schema: Any, truthful: Any, brightness: Any
) -> None:
    sampler = truthful(3, repeat=5)  # only five different images a class
    config = CurationConfig(max_draws=4)
    minted = mint(sampler, brightness(3), schema, {0: 20, 1: 4}, config, 1, False)
    short, full = minted.counts
    assert (short.drawn, short.accepted, short.shortfall) == (80, 5, 15)
    assert short.rejected["duplicate"] == 75
    assert full.shortfall == 0
    assert sampler.drawn <= 4 * 24
    assert any("short of 15 of 20 images of ant" in line for line in minted.lines())
    assert minted.summary()["shortfall"] == {"ant": 15}


def test_near_duplicates_go_and_the_first_stays(
    schema: Any, truthful: Any, brightness: Any
) -> None:
    config = CurationConfig(duplicate_distance=0.03)
    minted = mint(truthful(3), brightness(3), schema, {0: 12}, config, 1, False)
    pixels = minted.images.reshape(len(minted), -1).astype(float) / 255
    gaps = np.sqrt(((pixels[:, None] - pixels[None]) ** 2).mean(2)) + np.eye(len(pixels)) * 9
    assert gaps.min() >= 0.03
    assert np.allclose(minted.scores["nearest"], gaps.min(1), atol=1e-6)
    assert minted.ids[0] == 0


def test_copies_are_dropped_and_only_the_rest_is_asked(
    schema: Any, truthful: Any, brightness: Any
) -> None:
    asked = []

    def is_copy(images: np.ndarray) -> np.ndarray:
        asked.append(len(images))
        return images[:, 0, 0, 0] % 2 == 0

    sampler = truthful(3, wrong=2)
    minted = mint(sampler, brightness(3), schema, {0: 20}, CurationConfig(), 1, False, is_copy)
    assert (minted.images[:, 0, 0, 0] % 2 == 1).all()
    assert minted.rejected["copy"] > 0
    assert sum(asked) < sampler.drawn


def test_raw_keeps_the_first_of_everything(schema: Any, truthful: Any) -> None:
    minted = mint(truthful(3, wrong=2, repeat=3), None, schema, {1: 9}, CurationConfig(), 1, False)
    assert (minted.ids // 3).tolist() == list(range(9))
    assert minted.curation is None
    assert set(minted.scores) == {"nearest"}
    assert minted.scores["nearest"][0] == pytest.approx(0, abs=1e-6)


def test_wrong_requests_are_refused(schema: Any, truthful: Any, brightness: Any) -> None:
    sampler, config = truthful(3), CurationConfig()
    with pytest.raises(UsageError, match="0 to 2"):
        mint(sampler, None, schema, {3: 1}, config, 1, False)
    with pytest.raises(UsageError, match="negative"):
        mint(sampler, None, schema, {0: -1}, config, 1, False)
    with pytest.raises(UsageError, match="shape"):
        mint(sampler, brightness(4), schema, {0: 1}, config, 1, False)
    with pytest.raises(UsageError, match="aspect of this name"):
        mint(sampler, None, schema, {0: 1}, CurationConfig(aspect="age"), 1, False)
    with pytest.raises(DataError, match="at least one"):
        mint(sampler, None, schema, {}, config, 1, False)


@pytest.mark.parametrize(
    "bad", [{"threshold": 1.1}, {"duplicate_distance": -0.1}, {"max_draws": 0.5}]
)
def test_configuration_out_of_range(bad: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        CurationConfig(**bad)


def test_distances_agree_with_the_slow_way_and_pooling_is_area_averaging() -> None:
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (5, 3, 7, 9)).astype(np.uint8)
    views = descriptors(small)
    slow = [[np.sqrt(((a / 255 - b / 255) ** 2).mean()) for b in small * 1.0] for a in small * 1.0]
    assert np.allclose(distances(views, views), slow, atol=1e-6)
    large = random.integers(0, 256, (2, 1, 64, 96)).astype(np.uint8)
    pooled = large.reshape(2, 1, 32, 2, 32, 3).mean((3, 5)).reshape(2, -1) / 255 / 32
    assert np.allclose(descriptors(large), pooled, atol=1e-6)


def test_nearest_agrees_with_the_slow_way() -> None:
    points = np.random.default_rng(1).normal(size=(700, 2)).astype(np.float32)
    gaps = np.linalg.norm(points[:, None] - points[None], axis=2) + np.eye(700) * 1e9
    assert np.allclose(nearest_other(points), gaps.min(1), atol=1e-5)
    assert np.isinf(nearest_other(points[:1])).all()


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("shape", [(1, 12, 10), (3, 40, 36)])
def test_the_quick_greedy_choice_is_the_slow_one(
    shape: tuple[int, int, int], on_disk: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("augmint.minting.nearness._KEPT_CHUNK", 37)
    random = np.random.default_rng(2)
    bases = random.normal(size=(25, *shape)) * 40 + 128
    # near pairs of every kind: equal, a little apart at the threshold, apart in one frequency
    images = bases[random.integers(0, 25, 400)] + random.normal(size=(400, *shape)) * (
        random.choice([0.0, 2.0, 3.6, 12.0], (400, 1, 1, 1))
    )
    views = descriptors(images.clip(0, 255).astype(np.uint8))
    least = 0.02
    kept: list[np.ndarray] = []
    slow = []
    for view in views.astype(np.float64):
        slow.append(all(float(np.linalg.norm(view - k)) >= least for k in kept))
        kept += [view] * slow[-1]
    assert 30 < sum(slow) < 370
    known, quick = Kept(shape, least, on_disk), []
    for start in range(0, 400, 90):
        part = views[start : start + 90]
        quick += known.new(part).tolist()
        known.add(part[quick[start:]])
    assert quick == slow
    assert known.size == sum(slow)
    assert Kept(shape, 0.0).new(views).all(), "nothing is too near where nothing is asked"


def test_parts_are_the_whole(
    schema: Any, truthful: Any, brightness: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    quotas = {0: 300, 1: 7, 2: 2500}
    config = CurationConfig(duplicate_distance=0.0)
    asked = (truthful(3, wrong=4), brightness(3), schema, quotas, config, 7, False)
    whole = mint(*asked)
    monkeypatch.setattr("augmint.minting.curation.TOGETHER", 500)
    parts = list(mint_parts(*asked))
    assert len(parts[0]) == 307
    assert len(parts) == 3, "the large class comes in several"
    assert max(len(p) for p in parts) < 500 + 2048 + 1
    for name in ("images", "ids", "seeds"):
        joined = np.concatenate([getattr(p, name) for p in parts])
        assert np.array_equal(joined, getattr(whole, name)), name
    labels = np.concatenate([p.values["label"] for p in parts])
    assert np.array_equal(labels, whole.values["label"])
    assert tuple(c for p in parts for c in p.counts) == whole.counts
    assert "nearest" in parts[0].scores
    assert "nearest" not in parts[-1].scores
    again = mint(*asked)
    assert np.array_equal(again.images, whole.images)
    assert "nearest" not in again.scores


SILENT = {
    "points": (
        Landmarks("points", ("a", "b"), (4, 4)),
        np.array([[[1, 1, 2], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]], np.float32),
    ),
    "mask": (
        Mask("mask", ("skin", "hair"), 255),
        np.stack([np.eye(4, dtype=np.uint8), np.full((4, 4), 255, np.uint8)]),
    ),
    "depth": (
        Map("depth", 1, 0.0, 1.0),
        np.stack([np.full((1, 4, 4), 0.5), np.full((1, 4, 4), np.nan)]).astype(np.float32),
    ),
    "pose": (Vector("pose", ("yaw",)), np.zeros((1, 1), np.float32)),
}


@pytest.mark.parametrize("name", sorted(SILENT))
def test_an_image_that_claims_nothing_does_not_pass_as_perfect(name: str) -> None:
    aspect, values = SILENT[name]
    assert aspect.told(values).tolist() == [True, False][: len(values)]

    class Blind:
        """Finds no error anywhere."""

        def errors(self, images: np.ndarray, values: np.ndarray) -> np.ndarray:
            return np.zeros(len(images))

    images = np.zeros((len(values), 1, 4, 4), np.uint8)
    reasons, _ = ByError(Blind(), aspect, 0.1)(images, {name: values})
    assert reasons.tolist() == ["", "unsure"][: len(values)]


@pytest.mark.parametrize(
    ("field", "value"),
    [("threshold", 2), ("duplicate_distance", -1), ("quantile", 0), ("max_draws", 0.5)],
)
def test_a_remedy_is_a_setting_that_works(field: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"curation.{field} is") as caught:
        CurationConfig(**{field: value})
    spelt = re.search(rf"--set curation\.{field}=([\d.]+)\)", caught.value.remedy)
    assert spelt is not None
    CurationConfig(**{field: float(spelt.group(1))})

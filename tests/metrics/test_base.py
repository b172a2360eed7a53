"""Protocols, floors at the same n, refusals, feature maps, and every registered metric."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from augmint.core.errors import UsageError
from augmint.core.registry import METRICS
from augmint.metrics.base import FeatureMetric, measure, measure_features
from augmint.metrics.features import PixelFeatures, named
from augmint.metrics.frechet import Frechet
from augmint.metrics.kernel import Kid


def noise(n: int, seed: int, side: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 1, side, side), dtype=np.uint8)


def test_every_metric_is_a_frozen_dataclass_of_its_constants() -> None:
    assert METRICS.names() == [
        "copying",
        "frechet",
        "kid",
        "label-truth",
        "pairwise-diversity",
        "precision-recall-density-coverage",
    ]
    for name in METRICS.names():
        metric = METRICS.create(name)
        assert dataclasses.is_dataclass(metric)
        assert metric.title == name
        assert METRICS.describe(name)["name"] == name
        json.dumps(metric.settings())


def test_every_feature_metric_has_a_value_a_floor_and_a_protocol() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(200, 4)), rng.normal(size=(90, 4)) + 3.0
    for name in METRICS.names():
        metric = METRICS.create(name)
        if not isinstance(metric, FeatureMetric):
            continue
        result = measure_features(
            metric, real, fake, features=PixelFeatures(), split="test", seed=1
        )
        assert result.refused is None
        assert result.value is not None
        assert result.floor is not None
        assert result.value.keys() == result.floor.keys()
        assert result.protocol.n == 90
        json.dumps(result.to_plain(), allow_nan=False)
        assert "split test" in result.protocol.text()
        none = measure_features(metric, real[:2], fake, features=PixelFeatures(), split="x", seed=1)
        assert none.value is None
        assert none.refused


def test_value_and_floor_agree_for_a_perfect_generator() -> None:
    real, fake = noise(2000, 0, side=2), noise(1000, 1, side=2)
    result = measure(Frechet(), real, fake, PixelFeatures(), split="test", seed=0)
    assert result.value is not None
    assert result.floor is not None
    assert result.value["frechet"] < 3 * result.floor["frechet"]
    far = measure(Frechet(), real, fake // 2, PixelFeatures(), split="test", seed=0)
    assert far.value is not None
    assert far.value["frechet"] > 20 * result.floor["frechet"]


def test_a_refusal_keeps_its_protocol() -> None:
    result = measure(Frechet(), noise(20, 0), noise(20, 1), PixelFeatures(), split="test", seed=0)
    assert result.value is None
    assert "64" in str(result.refused)
    assert result.protocol.digest == PixelFeatures().digest
    ok = measure(Kid(), noise(20, 0), noise(20, 1), PixelFeatures(), split="test", seed=0)
    assert ok.value is not None


def test_pixel_features_are_box_averages() -> None:
    x = noise(3, 0, side=32)
    found = PixelFeatures(side=16)(x)
    boxes = x.reshape(3, 16, 2, 16, 2).mean((2, 4)).reshape(3, -1) / 255
    np.testing.assert_allclose(found, boxes, atol=1e-12)
    assert PixelFeatures(16).digest != PixelFeatures(8).digest


def test_user_features_get_a_digest_and_are_checked() -> None:
    def flat(x: np.ndarray) -> np.ndarray:
        return x.reshape(len(x), -1) / 255.0

    first, again = named(flat, "flat", (1, 8, 8)), named(flat, "flat", (1, 8, 8))
    other = named(lambda x: 2 * flat(x), "flat", (1, 8, 8))
    assert first.digest == again.digest != other.digest
    with pytest.raises(UsageError, match="finite"):
        named(lambda x: flat(x) * np.nan, "broken", (1, 8, 8))
    with pytest.raises(UsageError, match="one vector"):
        named(lambda x: x, "images", (1, 8, 8))

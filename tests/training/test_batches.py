from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.core.errors import DataError
from augmint.training.batches import Batches, TrainingImages
from augmint.training.config import GanConfig

CPU = torch.device("cpu")


def batches(data: TrainingImages, schema: Schema, batch: int, **changes: object) -> Batches:
    config = replace(GanConfig(batch=batch), **changes)  # type: ignore[arg-type]
    return Batches(data, schema, config, 7, CPU)


@pytest.mark.parametrize("batch", [3, 7, 20, 50])
def test_every_epoch_shows_every_row_once(data: TrainingImages, schema: Schema, batch: int) -> None:
    drawn = np.concatenate([batches(data, schema, batch).rows(s) for s in range(40)])
    epochs = drawn[: len(drawn) // 20 * 20].reshape(-1, 20)
    assert all(sorted(e) == list(range(20)) for e in epochs)
    assert len({tuple(e) for e in epochs}) == len(epochs)


def test_rows_are_a_pure_function_of_the_step(data: TrainingImages, schema: Schema) -> None:
    one = batches(data, schema, 7)
    forwards = [one.rows(s) for s in range(9)]
    for step in (8, 2, 5, 0):
        assert np.array_equal(batches(data, schema, 7).rows(step), forwards[step])
        assert np.array_equal(one.rows(step), forwards[step])


def test_images_and_aspects_stay_together(data: TrainingImages, schema: Schema) -> None:
    made = batches(data, schema, 6)
    images, aspects = made.real(3)
    rows = made.rows(3)
    np.testing.assert_allclose(images.numpy(), data.images[rows] / 127.5 - 1.0, atol=1e-6)
    assert np.array_equal(aspects["label"], data.values["label"][rows])


def _skewed(n: int) -> TrainingImages:
    labels = np.where(np.arange(n) < n - 2, 0, 2)
    return TrainingImages(
        np.zeros((n, 1, 4, 4), np.uint8), {"label": labels, "side": labels // 2}, np.arange(n)
    )


def test_balanced_asks_for_each_class_present_equally_often() -> None:
    schema = Schema((Category("label", ("a", "b", "c")),))
    made = batches(_skewed(40), schema, 5)
    asked = torch.cat([made.fake_aspects("generator", s)["label"] for s in range(20)])
    assert torch.bincount(asked, minlength=3).tolist() == [50, 0, 50]


def test_balanced_takes_other_aspects_from_a_row_of_the_class() -> None:
    schema = Schema((Category("label", ("a", "b", "c")), Category("side", ("left", "right"))))
    made = batches(_skewed(40), schema, 5)
    for step in range(10):
        drawn = made.fake_aspects("generator", step)
        assert torch.equal(drawn["side"], drawn["label"] // 2)


def test_data_follows_the_marginal_and_batch_the_batch() -> None:
    schema = Schema((Category("label", ("a", "b", "c")),))
    made = batches(_skewed(40), schema, 100, fake_aspects="data")
    asked = torch.cat([made.fake_aspects("generator", s)["label"] for s in range(50)])
    # 5000 draws at 5 %: standard deviation 0.3 points, five of them allowed
    assert abs(float((asked == 2).double().mean()) - 0.05) < 5 * 0.0031
    same = batches(_skewed(40), schema, 10, fake_aspects="batch")
    assert torch.equal(same.fake_aspects("critic", 4)["label"], same.real(4)[1]["label"])


def test_purposes_are_independent(data: TrainingImages, schema: Schema) -> None:
    made = batches(data, schema, 20)
    critic, generator = (made.fake_aspects(p, 1)["label"] for p in ("critic", "generator"))
    assert not torch.equal(critic, generator)


def test_bad_rows_are_refused_and_digests_see_one_pixel(data: TrainingImages) -> None:
    with pytest.raises(DataError, match="uint8"):
        TrainingImages(data.images.astype(np.float32), data.values, data.ids)
    with pytest.raises(DataError, match="3 rows of label"):
        TrainingImages(data.images, {"label": np.arange(3)}, data.ids)
    again = TrainingImages(data.images.copy(), dict(data.values), data.ids.copy())
    assert again.digest() == data.digest()
    images = data.images.copy()
    images[0, 0, 0, 0] ^= 1
    assert TrainingImages(images, data.values, data.ids).digest() != data.digest()

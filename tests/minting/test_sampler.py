"""An image is a function of (seed, id, aspects), in whatever batch it is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.aspects.vector import Vector
from augmint.conditioning.base import ConditioningContext
from augmint.core.errors import DataError, UsageError
from augmint.core.types import Sampler
from augmint.minting.sampler import GanSampler, PairingSampler

AGE = Vector("age", ("years",))
IDS = np.arange(100, 170)
LABELS = torch.from_numpy(IDS % 3)


def test_it_keeps_the_protocols(generator: Any, one_hot: Any, context: Any) -> None:
    sampler = GanSampler(generator, one_hot, context)
    assert isinstance(sampler, Sampler)
    assert isinstance(sampler, PairingSampler)
    images = sampler.sample({"label": LABELS}, IDS, 1)
    assert (images.dtype, images.shape) == (np.uint8, (70, 1, 8, 8))
    assert images.std() > 10


def test_an_image_does_not_depend_on_its_batch(generator: Any, one_hot: Any, context: Any) -> None:
    sampler = GanSampler(generator.train(), one_hot, context, chunk=16)
    whole = sampler.sample({"label": LABELS}, IDS, 1)
    assert np.array_equal(whole, sampler.sample({"label": LABELS}, IDS, 1))
    order = np.random.default_rng(0).permutation(len(IDS))
    shuffled = sampler.sample({"label": LABELS[order]}, IDS[order], 1)
    assert np.array_equal(shuffled, whole[order])
    for row in (0, 33, 69):
        alone = sampler.sample({"label": LABELS[row : row + 1]}, IDS[row : row + 1], 1)
        assert np.array_equal(alone[0], whole[row])


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_other_chunks_differ_by_rounding_at_most(
    generator: Any, one_hot: Any, context: Any, chunk: int
) -> None:
    one = GanSampler(generator, one_hot, context, chunk=16).sample({"label": LABELS}, IDS, 1)
    two = GanSampler(generator, one_hot, context, chunk=chunk).sample({"label": LABELS}, IDS, 1)
    # float32 rounding, about 1e-6 of the range, moves a level only within 1e-6 x 127 of its border
    difference = np.abs(one.astype(int) - two.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.002


def test_seed_id_and_label_each_change_the_image(
    generator: Any, one_hot: Any, context: Any
) -> None:
    sampler = GanSampler(generator, one_hot, context)
    first = sampler.sample({"label": LABELS}, IDS, 1)
    for aspects, ids, seed in [
        ({"label": LABELS}, IDS, 2),
        ({"label": LABELS}, IDS + 1000, 1),
        ({"label": (LABELS + 1) % 3}, IDS, 1),
    ]:
        other = sampler.sample(aspects, ids, seed)
        assert (np.abs(first.astype(int) - other).reshape(70, -1).max(1) > 0).all()


def test_open_aspects_come_from_rows_of_the_same_class(generator: Any, one_hot: Any) -> None:
    schema = Schema((Category("label", ("ant", "bee", "cat")), Category("age", ("old", "young"))))
    context = ConditioningContext(schema, (1, 8, 8), 6)
    bank = {"label": np.array([0, 0, 1, 1, 2]), "age": np.array([0, 1, 1, 1, 0])}
    sampler = GanSampler(generator, one_hot, context, bank=bank)
    ids = np.arange(600)
    values = sampler.complete({"label": torch.from_numpy(ids % 3)}, ids, 1)
    assert (values["age"][ids % 3 == 1] == 1).all()
    assert (values["age"][ids % 3 == 2] == 0).all()
    share = float((values["age"][ids % 3 == 0] == 0).float().mean())
    assert abs(share - 0.5) < 5 * 0.5 / 200**0.5  # five standard errors
    again = sampler.complete({"label": torch.tensor([0])}, np.array([300]), 1)
    assert again["age"][0] == values["age"][300]
    with pytest.raises(UsageError, match="no row"):
        GanSampler(generator, one_hot, context, bank={k: v[:4] for k, v in bank.items()}).complete(
            {"label": torch.tensor([2])}, np.array([0]), 1
        )
    with pytest.raises(UsageError, match="aspect age"):
        GanSampler(generator, one_hot, context).sample(
            {"label": torch.tensor([0])}, np.array([0]), 1
        )


def test_mixed_values_lie_between_those_of_two_rows_that_agree_in_every_category(
    generator: Any, one_hot: Any
) -> None:
    schema = Schema((Category("label", ("ant", "bee")), Category("sex", ("f", "m")), AGE))
    context = ConditioningContext(schema, (1, 8, 8), 6)
    bank = {
        "label": np.array([0, 0, 0, 1, 1]),
        "sex": np.array([0, 0, 1, 0, 0]),
        "age": np.array([[10.0], [20.0], [50.0], [70.0], [90.0]], np.float32),
    }
    sampler = GanSampler(generator, one_hot, context, bank=bank, mixed=True)
    ids = np.arange(4000)
    values = sampler.complete({"label": torch.from_numpy(ids % 2)}, ids, 1)
    age, sex, label = values["age"][:, 0], values["sex"], values["label"]
    assert (age[(label == 0) & (sex == 1)] == 50.0).all(), "one row alone: nothing lies beside it"
    assert (sex[label == 1] == 0).all()
    for of, low in ((0, 10.0), (1, 70.0)):
        here = age[(label == of) & (sex == 0)]
        width = 10.0 * (1 + of)
        assert bool(((here >= low) & (here <= low + width)).all())
        # half the pairs are of one row twice, the others lie anywhere between the two
        inside = (here > low) & (here < low + width)
        assert float(inside.float().mean()) == pytest.approx(0.5, abs=0.06)
        assert float(here[inside].mean()) == pytest.approx(low + width / 2, abs=0.05 * width)
    alone = sampler.complete({"label": torch.tensor([1])}, np.array([301]), 1)
    assert torch.equal(alone["age"][0], values["age"][301])


@pytest.mark.parametrize("chunk", [0, -1])
def test_options_out_of_range(generator: Any, one_hot: Any, context: Any, chunk: int) -> None:
    with pytest.raises(UsageError, match="chunk"):
        GanSampler(generator, one_hot, context, chunk=chunk)


def test_rows_must_agree(generator: Any, one_hot: Any, context: Any) -> None:
    with pytest.raises(UsageError, match="one value"):
        GanSampler(generator, one_hot, context).sample({"label": LABELS[:3]}, IDS, 1)


@pytest.mark.parametrize("label", [-1, 99])
def test_a_class_that_there_is_not_is_refused_in_one_line(
    generator: Any, one_hot: Any, context: Any, label: int
) -> None:
    with pytest.raises(UsageError, match=f"got {label} in row 0: known: 0 ant, 1") as caught:
        GanSampler(generator, one_hot, context).sample({"label": np.array([label])}, IDS[:1], 1)
    assert "\n" not in str(caught.value)


def test_other_values_out_of_range_are_refused(generator: Any, one_hot: Any, context: Any) -> None:
    wide = Schema((*context.schema, Vector("age", ("years",), (0.0,), (9.0,))))
    told = replace(context, schema=wide)
    asked = {"label": LABELS[:1], "age": np.array([[99.0]], np.float32)}
    with pytest.raises(DataError, match="age"):
        GanSampler(generator, one_hot, told).sample(asked, IDS[:1], 1)

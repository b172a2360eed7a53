"""Joint generators: what is drawn with an image is told apart from what is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.aspects.landmarks import Landmarks
from augmint.aspects.map import Map
from augmint.aspects.mask import Mask
from augmint.aspects.vector import Vector
from augmint.core.errors import IncompatibleError, UsageError
from augmint.minting.bundle import Bundle
from augmint.minting.curation import CurationConfig, mint
from augmint.training.batches import TrainingImages
from augmint.training.compatibility import check_compatible
from augmint.training.config import GanConfig
from augmint.training.gan import GanTraining
from augmint.training.joint import Joint, asked, carried, context_of

SIDE, N = 16, 24
SCHEMA = Schema(
    (
        Category("label", ("a", "b")),
        Landmarks("points", ("p", "q"), (SIDE, SIDE), pairs=()),
        Mask("mask", ("out", "in", "edge")),
        Map("depth", 1, 0.0, 4.0),
        Vector("age", ("years",)),
    )
)
TINY: dict[str, Any] = {
    "generator": {"name": "dcgan-generator", "channels": 4},
    "critic": {"name": "dcgan-critic", "channels": 4},
    "conditioning": {"name": "vac", "network": {"name": "small-cnn", "channels": 4}},
    "auxiliary_augment": None,
    "latent_dim": 6,
    "batch": 8,
    "steps": 4,
    "joint": ("points", "mask", "depth"),
}


def data(seed: int = 0) -> TrainingImages:
    random = np.random.default_rng(seed)
    points = np.concatenate((random.uniform(2, 14, (N, 2, 2)), np.full((N, 2, 1), 2)), -1)
    values = {
        "label": np.arange(N) % 2,
        "points": points.astype(np.float32),
        "mask": random.integers(0, 3, (N, SIDE, SIDE)).astype(np.uint8),
        "depth": random.uniform(0, 4, (N, 1, SIDE, SIDE)).astype(np.float32),
        "age": random.uniform(0, 90, (N, 1)).astype(np.float32),
    }
    images = random.integers(0, 256, (N, 3, SIDE, SIDE)).astype(np.uint8)
    return TrainingImages(images, values, np.arange(N))


def test_what_is_drawn_is_not_asked_for() -> None:
    config = GanConfig(**TINY)
    assert [a.name for a in asked(config, SCHEMA)] == ["label"]
    assert [a.name for a in carried(config, SCHEMA)] == ["label", "points", "mask", "depth"]
    context = context_of(config, SCHEMA, (3, SIDE, SIDE))
    assert context.shape == (3 + 2 + 3 + 2, SIDE, SIDE)
    plain = context_of(GanConfig(), SCHEMA, (3, SIDE, SIDE))
    assert plain.shape == (3, SIDE, SIDE)


def test_joint_images_split_into_what_they_were_joined_from() -> None:
    config, given = GanConfig(**TINY), data()
    joint = Joint.of(config, SCHEMA, 3)
    joined = joint.join(given)
    assert set(joined.values) == {"label", "age"}
    images, values = joint.split(joined.images)
    np.testing.assert_array_equal(images, given.images)
    np.testing.assert_array_equal(values["mask"], given.values["mask"])
    assert np.abs(values["depth"] - given.values["depth"]).max() < 4 / 255
    assert np.abs(values["points"] - given.values["points"])[..., :2].max() < 0.35
    none = Joint.of(GanConfig(), SCHEMA, 3)
    assert none.join(given) is given
    assert none.split(given.images) == (given.images, {})


def test_what_is_not_known_stays_so() -> None:
    """Neither a point in the middle, nor the first class, nor a mean depth stands for a gap."""
    schema = Schema((SCHEMA["points"], Mask("mask", ("out", "in"), void=255), SCHEMA["depth"]))
    given = data()
    values = {name: given.values[name].copy() for name in ("points", "mask", "depth")}
    values["points"][:, 1] = 0.0
    values["points"][0, 0] = (SIDE + 8.0, 4.0, 2.0)  # labelled, but beside the image
    values["mask"] = np.where(values["mask"] == 2, 255, values["mask"]).astype(np.uint8)
    values["depth"][..., :5] = np.nan
    joint = Joint(schema)
    _, back = joint.split(joint.join(TrainingImages(given.images, values, given.ids)).images)
    np.testing.assert_array_equal(back["points"][:, 1], values["points"][:, 1])
    np.testing.assert_array_equal(back["points"][0, 0], np.zeros(3))
    assert (back["points"][1:, 0, 2] == 2).all()
    np.testing.assert_array_equal(back["mask"], values["mask"])
    np.testing.assert_array_equal(np.isnan(back["depth"]), np.isnan(values["depth"]))


def test_training_bundle_and_mint_carry_it_along(tmp_path: Path) -> None:
    training = GanTraining(GanConfig(**TINY), data(), SCHEMA, 3, tmp_path / "run")
    assert training.sample().shape == (8, 3, SIDE, SIDE)
    trained = training.run(progress=False)
    assert trained.shape == (3, SIDE, SIDE)
    Bundle.from_training(trained, data()).save(tmp_path / "bundle")
    bundle = Bundle.open(tmp_path / "bundle")
    assert [a.name for a in bundle.schema] == ["label", "points", "mask", "depth"]
    assert set(bundle.bank) == set()  # the class says all that is asked for
    sampler = bundle.sampler()
    wanted = {"label": torch.tensor([1, 0, 1])}
    ids = np.array([4, 9, 2])
    images, values = sampler.pairs(wanted, ids, 5)
    for name, column in values.items():
        bundle.schema[name].check(column)
        np.testing.assert_array_equal(
            sampler.pairs({"label": wanted["label"][1:]}, ids[1:], 5)[1][name], column[1:]
        )
    np.testing.assert_array_equal(sampler.sample(wanted, ids, 5), images)
    minted = mint(sampler, None, bundle.schema, {0: 3, 1: 2}, CurationConfig(), 1, False)
    again, told = sampler.pairs({"label": torch.from_numpy(minted.values["label"])}, minted.ids, 1)
    np.testing.assert_array_equal(again, minted.images)
    for name, column in told.items():
        np.testing.assert_array_equal(column, minted.values[name])


def test_a_joint_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    def digest(folder: str, steps: int) -> str:
        config = GanConfig(**{**TINY, "steps": steps})
        training = GanTraining(config, data(), SCHEMA, 3, tmp_path / folder)
        return training.run(progress=False).generator_digest

    whole = digest("whole", 4)
    assert digest("parts", 2) != whole
    assert digest("parts", 4) == whole


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(IncompatibleError, match="age, a vector"):
        check_compatible(GanConfig(**{**TINY, "joint": ("age",)}), SCHEMA, (3, SIDE, SIDE))
    with pytest.raises(UsageError, match="no aspect of this name"):
        check_compatible(GanConfig(**{**TINY, "joint": ("maks",)}), SCHEMA, (3, SIDE, SIDE))
    with pytest.raises(IncompatibleError, match="carries category"):
        check_compatible(GanConfig(**{**TINY, "carries": ("age",)}), SCHEMA, (3, SIDE, SIDE))

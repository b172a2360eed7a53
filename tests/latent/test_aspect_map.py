"""Aspect maps against aspects that are known functions of the latent,
and the three ways to pairs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from augmint.aspects.base import Aspect, Schema
from augmint.aspects.category import Category
from augmint.aspects.landmarks import SPOT, Landmarks
from augmint.aspects.map import Map
from augmint.aspects.mask import Mask
from augmint.aspects.vector import Vector
from augmint.conditioning.base import ConditioningContext
from augmint.core.errors import DataError, IncompatibleError, UsageError
from augmint.core.registry import CONDITIONING
from augmint.core.streams import stream
from augmint.core.types import Sampler, to_uint8
from augmint.latent.aspect_map import AspectMap, AspectMapConfig, known, train_aspect_map
from augmint.latent.distilled import drawn_pairs
from augmint.latent.pairs import PairSampler
from augmint.minting.sampler import GanSampler, PairingSampler
from augmint.training.batches import TrainingImages
from augmint.training.joint import Joint

SHAPE = (3, 16, 16)
POINTS = Landmarks("points", ("a", "b"), (16, 16), pairs=(("a", "b"),))
MASK = Mask("mask", ("ground", "left", "top"), void=255)
DEPTH = Map("depth", 1, 0.0, 4.0)
POSE = Vector("pose", ("yaw", "roll"), (-1.0, -2.0), (1.0, 2.0))


def _latents(count: int, width: int = 4) -> Tensor:
    return stream(0, "test", 0, count).uniform(width, -1.0, 1.0)


def _points(z: Tensor) -> np.ndarray:
    xy = 8.0 + 5.0 * z.unflatten(1, (2, 2))
    return torch.cat((xy, torch.full_like(xy[..., :1], 2.0)), -1).numpy()


def _pose(z: Tensor) -> np.ndarray:
    return torch.stack((0.5 * z[:, 0] - 0.25 * z[:, 2], 1.5 * z[:, 1]), 1).numpy()


def _masks(z: Tensor) -> np.ndarray:
    """A left half that begins where z says, under a band at the top."""
    x = torch.arange(16) + 0.5
    left = (x < 8 + 6 * z[:, :1])[:, None, :].expand(-1, 16, -1)
    top = (x < 5 + 4 * z[:, 1:2])[:, :, None].expand(-1, -1, 16)
    return torch.where(top, 2, left.long()).to(torch.uint8).numpy()


LINEAR = AspectMapConfig(hidden=(), output="linear", steps=800, batch=64, rate=2e-2, decay_from=0.3)


def test_a_linear_aspect_is_learned_exactly() -> None:
    z = _latents(500)
    for aspect, values in ((POINTS, _points(z)), (POSE, _pose(z))):
        found = train_aspect_map(z[:400], values[:400], aspect, SHAPE, LINEAR)
        assert np.abs(found.values(z[400:]) - values[400:]).max() < 1e-3
        assert found.errors(z[400:], values[400:]).max() < 1e-3


@pytest.mark.parametrize("output", ["sigmoid", "tanh"])
def test_the_sheets_network_learns_a_smooth_aspect(output: Any) -> None:
    z = _latents(900)
    config = AspectMapConfig(output=output, steps=900, batch=64, rate=3e-3, decay_from=0.3)
    found = train_aspect_map(z[:800], _points(z)[:800], POINTS, SHAPE, config)
    widths = [m.out_features for m in found.network.modules() if isinstance(m, nn.Linear)]
    assert widths == [128, 128, 128, 4]
    # a tenth of a pixel of 16, on latents it has not seen
    assert np.abs(found.values(z[800:])[..., :2] - _points(z)[800:, :, :2]).mean() < 0.1
    assert bool((found(100 * z).abs() <= 1).all())


@pytest.mark.parametrize(
    ("output", "loss"), [("linear", "aspect"), ("linear", "squared"), ("sigmoid", "squared")]
)
def test_masks_are_learned_by_a_decoder(output: Any, loss: Any) -> None:
    z = _latents(360)
    decoder = {"name": "began-generator", "channels": 8}
    config = AspectMapConfig(
        decoder=decoder, output=output, loss=loss, steps=260, batch=32, rate=5e-3, decay_from=0.5
    )
    found = train_aspect_map(z[:300], _masks(z)[:300], MASK, SHAPE, config)
    assert found(z[300:]).shape == (60, 3, 16, 16)
    assert found.values(z[300:]).dtype == np.uint8
    # 1 - mean IoU; the most frequent class everywhere has 0.8
    assert found.errors(z[300:], _masks(z)[300:]).mean() < 0.2


def test_what_is_not_known_teaches_nothing() -> None:
    z = _latents(400)
    points = _points(z)
    points[::2, 0] = (15.0, 15.0, 0.0)  # a wrong place that is marked as not labelled
    found = train_aspect_map(z, points, POINTS, SHAPE, LINEAR)
    assert np.abs(found.values(z)[..., :2] - _points(z)[..., :2]).max() < 1e-3


@pytest.mark.parametrize(
    ("aspect", "values", "wanted"),
    [
        (Category("c", ("a", "b")), [1], [[True, True]]),
        (POSE, [[0.5, 0.5]], [[True, True]]),
        (POINTS, [[[1.0, 1, 2], [3, 3, 0]]], [[True, True, False, False]]),
        (
            Mask("m", ("a", "b"), void=255),
            [[[0, 255]]],
            [[[[True, False]], [[True, False]]]],
        ),
        (DEPTH, [[[[1.0, float("nan")]]]], [[[[True, False]]]]),
    ],
)
def test_known_entries_are_those_with_a_truth(aspect: Aspect, values: Any, wanted: Any) -> None:
    kind = aspect.storage(SHAPE)[1]
    stored = torch.from_numpy(np.array(values, kind))
    assert known(aspect, stored).tolist() == wanted


def test_maps_are_saved_and_read_back(tmp_path: Path) -> None:
    z = _latents(20)
    depth = np.broadcast_to(z[:, :1, None, None].numpy() + 2, (20, 1, 16, 16)).copy()
    decoder = {"name": "began-generator", "channels": 4}
    config = AspectMapConfig(decoder=decoder, steps=3)
    for aspect, values in ((POINTS, _points(z)), (DEPTH, depth)):
        found = train_aspect_map(z, values, aspect, SHAPE, config)
        found.save(tmp_path / "map.safetensors")
        back = AspectMap.load(tmp_path / "map.safetensors")
        assert torch.equal(found(z), back(z))
        assert back.digest == found.digest
        assert (back.aspect, back.config, back.shape) == (aspect, config, SHAPE)
    (tmp_path / "map.safetensors").write_bytes(b"\0" * 64)
    with pytest.raises(DataError):
        AspectMap.load(tmp_path / "map.safetensors")


def test_wrong_uses_are_refused() -> None:
    z = _latents(20)
    with pytest.raises(UsageError, match="20 latents, 19 values"):
        train_aspect_map(z, _points(z)[1:], POINTS, SHAPE, LINEAR)
    with pytest.raises(DataError, match=r"points\.a"):
        train_aspect_map(z, 9 * _points(z), POINTS, SHAPE, LINEAR)
    with pytest.raises(IncompatibleError, match="linear outputs"):
        AspectMapConfig(loss="aspect", output="tanh")
    bounded = dataclasses.replace(LINEAR, decoder="dcgan-generator")
    with pytest.raises(IncompatibleError, match="without a non-linearity"):
        train_aspect_map(z, _masks(z), MASK, SHAPE, bounded)
    found = train_aspect_map(z, _pose(z), POSE, SHAPE, dataclasses.replace(LINEAR, steps=1))
    with pytest.raises(UsageError, match="4 entries"):
        found(z[:, :3])


class Spots(nn.Module):
    """G: an image whose red and green brightest places are those of `_points`."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        planes = POINTS.to_planes(torch.from_numpy(_points(latent)))
        return 2.0 * torch.cat((planes, torch.zeros_like(planes[:, :1])), 1) - 1.0


def _teacher(images: np.ndarray) -> np.ndarray:
    return POINTS.from_planes(torch.from_numpy(images[:, :2]).float()).numpy()


def test_a_teacher_is_distilled_through_the_generator() -> None:
    z, values = drawn_pairs(Spots(), _teacher, 400, 4, seed=2)
    # every pair is what the teacher says of that latent's image
    images = to_uint8(Spots()(z)).numpy()
    assert np.array_equal(values, _teacher(images))
    found = train_aspect_map(z, values, POINTS, SHAPE, LINEAR)
    other = _latents(50)
    assert np.abs(found.values(other)[..., :2] - _points(other)[..., :2]).mean() < 0.15
    again, _ = drawn_pairs(Spots(), _teacher, 300, 4, seed=2)
    assert torch.equal(again, z[:300])


def test_pairs_are_of_one_latent_and_go_where_samplers_go() -> None:
    z = _latents(300)
    told = train_aspect_map(z, _points(z), POINTS, SHAPE, LINEAR)
    context = ConditioningContext(Schema(()), SHAPE, 4)
    conditioning = CONDITIONING.create({"name": "none", "latent": "uniform"})
    plain = GanSampler(Spots(), conditioning, context, chunk=8)
    pairs = PairSampler(plain, [told])
    assert isinstance(pairs, Sampler)
    assert isinstance(pairs, PairingSampler)
    ids = np.arange(100, 120)
    images, values = pairs.pairs({}, ids, seed=5)
    # the truth is read off the images themselves
    assert np.abs(values["points"][..., :2] - _teacher(images)[..., :2]).max() < 0.2
    assert np.array_equal(images, plain.sample({}, ids, 5))
    some, few = pairs.pairs({}, ids[3:5], seed=5)
    assert np.array_equal(some, images[3:5])
    assert np.allclose(few["points"], values["points"][3:5], atol=1e-5)
    with pytest.raises(UsageError, match="cannot be asked"):
        pairs.complete({"points": torch.zeros(20, 2, 3)}, ids, 5)
    with pytest.raises(UsageError, match="one map"):
        PairSampler(plain, [told, told])
    plain.truncation, plain.truncates = 0.5, "styles"
    with pytest.raises(IncompatibleError, match="truncated style"):
        PairSampler(plain, [told])


def test_joint_images_are_split_into_what_was_joined() -> None:
    z = _latents(30)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, *SHAPE), dtype=np.uint8)
    depth = rng.uniform(0, 4, (30, 1, 16, 16)).astype(np.float32)
    mask = Mask("mask", ("ground", "left", "top"))
    schema = Schema((mask, DEPTH, POINTS))
    points = _points(0.4 * z)
    values = {"mask": _masks(z), "depth": depth, "points": points}
    joint = Joint(schema, channels=3)
    joined = joint.join(TrainingImages(images, values, np.arange(30)))
    assert joined.shape == joint.shape(SHAPE) == (3 + 3 + 2 + 2, 16, 16)
    assert not joined.values
    back, told = joint.split(joined.images)
    assert np.array_equal(back, images)
    assert np.array_equal(told["mask"], values["mask"])
    assert np.abs(told["depth"] - depth).max() <= 4 / 255 / 2 + 1e-6
    assert np.abs(told["points"] - points)[..., :2].max() < 0.1
    with pytest.raises(IncompatibleError, match="pose"):
        Joint(Schema((POSE,)))


def test_values_without_bounds_take_linear_outputs() -> None:
    """A sigmoid would clip them to one deviation about their mean."""
    age, years = Vector("age", ("years",)), np.linspace(14, 68, 40, dtype=np.float32)[:, None]
    z = _latents(40)
    with pytest.raises(IncompatibleError, match="output: linear"):
        train_aspect_map(z, years, age, SHAPE, AspectMapConfig(steps=1))
    config = AspectMapConfig(steps=400, batch=40, hidden=(64,), output="linear", rate=3e-3)
    told = train_aspect_map(z, years, age, SHAPE, config).values(z)
    assert np.abs(told - years).mean() < 3.0


def test_spots_have_their_peak_at_the_point() -> None:
    values = torch.tensor([[[4.5, 10.5, 2.0], [1.0, 1.0, 0.0]]])
    planes = POINTS.to_planes(values)
    assert planes[0, 0, 10, 4] == 1.0
    assert not planes[0, 1].any()
    assert float(planes[0, 0, 10, 6]) == pytest.approx(np.exp(-4 / (2 * SPOT**2)))

"""Errors and losses of aspects against closed forms and slow loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from augmint.aspects.base import Schema
from augmint.aspects.landmarks import Landmarks
from augmint.aspects.map import Map
from augmint.aspects.mask import Mask
from augmint.aspects.vector import Vector
from augmint.augmentation.geometric import affine_map
from augmint.core.errors import DataError


def test_nme_by_hand() -> None:
    face = Landmarks("f", ("l", "r", "m"), (10, 10), pairs=(), reference=("l", "r"))
    truth = torch.tensor([[[2.0, 2.0, 2.0], [6.0, 5.0, 2.0], [4.0, 8.0, 2.0]]])
    claimed = truth.clone()
    claimed[0, 0, 0] += 3.0
    claimed[0, 2, 1] -= 1.0
    # the reference is 5 px: (3 + 0 + 1) / 3 / 5
    assert face.error(face.encode(claimed), truth).item() == pytest.approx(4 / 15, abs=1e-6)
    truth[0, 2, 2] = 0  # not labelled: does not count
    assert face.error(face.encode(claimed), truth).item() == pytest.approx(3 / 10, abs=1e-6)
    truth[0, 1, 2] = 0  # half of the reference is missing, one point has no box: pixels
    assert face.error(face.encode(claimed), truth).item() == pytest.approx(3.0, abs=1e-6)


def test_without_a_reference_the_box_is_the_scale() -> None:
    shape = Landmarks("s", ("a", "b", "c"), (20, 20), pairs=())
    truth = torch.tensor([[[2.0, 3.0, 2.0], [11.0, 3.0, 2.0], [4.0, 7.0, 1.0]]])
    assert shape.distances(truth).item() == pytest.approx(math.hypot(9.0, 4.0))
    truth[0, 2, 2] = 0  # points on a line have a diagonal too
    assert shape.distances(truth).item() == pytest.approx(9.0)
    truth[0, :, 2] = 0
    assert shape.distances(truth).item() == 1.0


def test_the_box_replaces_a_reference_that_is_not_known() -> None:
    face = Landmarks("f", ("a", "b", "c"), (20, 20), pairs=(), reference=("a", "b"))
    truth = torch.tensor([[[2.0, 3.0, 2.0], [11.0, 3.0, 2.0], [5.0, 7.0, 1.0]]])
    assert face.distances(truth).item() == pytest.approx(9.0)
    truth[0, 1, 2] = 0
    assert face.distances(truth).item() == pytest.approx(5.0)
    truth[0, 1] = truth[0, 0]
    assert face.distances(truth).item() == pytest.approx(5.0)


def test_points_move_as_the_image_does() -> None:
    generator = torch.Generator().manual_seed(0)
    n, h, w = 1000, 40, 64
    # a bright spot is found again where its landmark went, to within interpolation
    from augmint.augmentation.geometric import warp_images

    place = torch.rand(n, 2, generator=generator) * torch.tensor([w / 3, h / 3]) + torch.tensor(
        [w / 3, h / 3]
    )
    y, x = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
    away = (x - place[:, 0, None, None]) ** 2 + (y - place[:, 1, None, None]) ** 2
    spots = torch.exp(-away / 8)[:, None]
    drawn = affine_map(
        (h, w),
        torch.rand(n, generator=generator) * 60 - 30,
        scale=torch.rand(n, 2, generator=generator) * 0.4 + 0.8,
        shift=torch.rand(n, 2, generator=generator) * 6 - 3,
        mirror=torch.randint(0, 2, (n,), generator=generator) * 2.0 - 1,
    )
    seen = warp_images(spots, drawn, padding="fill", fill=0.0)[:, 0]
    total = seen.flatten(1).sum(1)
    found = torch.stack(((seen * x).flatten(1).sum(1), (seen * y).flatten(1).sum(1)), 1)
    aspect = Landmarks("p", ("p",), (h, w), pairs=())
    points = torch.cat((place, torch.full((n, 1), 2.0)), 1)[:, None]
    moved = aspect.warp(points, drawn)[:, 0, :2]
    assert (found / total[:, None] - moved).abs().max() < 0.05


def test_mask_error_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    mask = Mask("m", ("a", "b", "c", "d"), void=9)
    truth = rng.integers(0, 3, (5, 8, 8)).astype(np.uint8)  # class d is never there
    truth[:, 0] = 9
    said = rng.integers(0, 3, (5, 8, 8))
    logits = torch.from_numpy(np.eye(4)[said].transpose(0, 3, 1, 2).copy()).float()
    found = mask.error(logits, torch.from_numpy(truth))
    for n in range(5):
        kept = truth[n] != 9
        shares = []
        for c in range(4):
            p, t = (said[n] == c) & kept, (truth[n] == c) & kept
            if (p | t).any():
                shares.append((p & t).sum() / (p | t).sum())
        assert found[n].item() == pytest.approx(1 - np.mean(shares), abs=1e-6)


def test_a_vector_learns_its_scale_from_training_rows() -> None:
    plain = Vector("v", ("a", "b"))
    rows = np.array([[1, 10], [3, 10], [5, 10]], np.float32)
    fitted = plain.fitted(rows)
    encoded = fitted.encode(torch.from_numpy(rows))
    assert encoded[:, 0].mean().item() == pytest.approx(0, abs=1e-6)
    assert encoded[:, 0].std(unbiased=False).item() == pytest.approx(1, abs=1e-6)
    assert (encoded[:, 1] == 0).all()  # all alike: nothing is divided by 0
    bounded = Vector("v", ("a",), (0.0,), (1.0,))
    assert bounded.fitted(rows[:, :1]) is bounded
    assert Schema((plain,)).fitted({"v": rows})["v"] == fitted


def test_a_turned_angle_follows_two_points_of_its_axis() -> None:
    generator = torch.Generator().manual_seed(1)
    n, h, w = 500, 40, 64
    degrees = torch.rand(n, generator=generator) * 178 - 89
    centre = torch.tensor([w / 2, h / 2])
    away = 7.0 * torch.stack((torch.deg2rad(degrees).cos(), torch.deg2rad(degrees).sin()), 1)
    points = torch.stack((centre - away, centre + away), 1)
    drawn = affine_map(
        (h, w),
        torch.rand(n, generator=generator) * 180 - 90,
        scale=(torch.rand(n, 1, generator=generator) + 0.5).expand(-1, 2),
        mirror=torch.randint(0, 2, (n,), generator=generator) * 2.0 - 1,
    )
    pose = Vector("pose", ("yaw", "roll"), mirrored=("yaw",), turned=("roll",))
    found = pose.warp(torch.stack((degrees, degrees), 1), drawn)
    moved = drawn.forward_points(points)
    slope = torch.rad2deg(torch.atan2(*(moved[:, 1] - moved[:, 0]).flip(1).unbind(1)))
    gap = (found[:, 1] - slope + 90).remainder(180) - 90
    assert gap.abs().max() < 1e-2
    assert torch.equal(found[:, 0], degrees * (1 - 2 * drawn.mirrors.float()))
    turn = affine_map((h, w), torch.full((1,), 30.0))
    # counter-clockwise as seen is from y towards x
    assert pose.warp(torch.tensor([[0.0, 0.0]]), turn)[0, 1].item() == pytest.approx(-30, abs=1e-3)


def test_a_map_interpolates_between_what_is_there() -> None:
    depth = Map("d", 1, 0.0, 8.0)
    values = torch.tensor([[[[2.0, 4.0, float("nan"), float("nan")]]]])
    half = affine_map((1, 4), torch.zeros(1), shift=torch.tensor([[0.5, 0.0]]))
    found = depth.warp(values, half)[0, 0, 0]
    assert found[1].item() == pytest.approx(3.0)
    assert found[2].item() == pytest.approx(4.0)  # half of it is there
    assert found[3].isnan()


def test_wrong_fields_are_refused() -> None:
    for make in (
        lambda: Vector("v", ("a", "a")),
        lambda: Vector("v", ("a",), (1.0,), (1.0,)),
        lambda: Vector("v", ("a",), low=(1.0,)),
        lambda: Vector("v", ("a",), mirrored=("b",)),
        lambda: Vector("v", ("a",), mirrored=("a",), turned=("a",)),
        lambda: Landmarks("l", ("a",), (4, 4), reference=("a", "b")),
        lambda: Landmarks("l", ("a", "b", "c"), (4, 4), pairs=(("a", "b"), ("b", "c"))),
        lambda: Mask("m", ("a",)),
        lambda: Mask("m", ("a", "b"), void=1),
        lambda: Mask("m", ("a", "b"), pairs=(("a", "c"),)),
        lambda: Map("d", low=1.0, high=1.0),
    ):
        with pytest.raises(DataError):
            make()

"""Maps against closed forms: slices, mirrored arrays, quarter turns, points that follow pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from augmint.aspects.base import CoordinateMap, Schema
from augmint.aspects.category import Category
from augmint.augmentation.geometric import (
    Affine,
    Flip,
    Shift,
    affine_map,
    warp_images,
)
from augmint.core.errors import UsageError
from augmint.core.streams import stream

SCHEMA = Schema((Category("label", ("a", "b")),))
ZERO = torch.zeros(1)


def noise(*shape: int) -> torch.Tensor:
    return stream(0, "test", 0, shape[0]).uniform(int(np.prod(shape[1:])), -1, 1).view(shape)


@pytest.mark.parametrize(("right", "down"), [(2, 0), (0, 3), (-1, 2), (-3, -3)])
def test_whole_pixel_shift_is_a_slice(right: int, down: int) -> None:
    images = noise(1, 2, 7, 9)
    shifted = affine_map((7, 9), ZERO, shift=torch.tensor([[float(right), float(down)]]))
    padded = functional.pad(images, (3, 3, 3, 3), mode="replicate")
    expected = padded[:, :, 3 - down : 10 - down, 3 - right : 12 - right]
    torch.testing.assert_close(warp_images(images, shifted, mode="nearest"), expected)
    # bilinear weights come from float32 positions: an error of 9 px * 2^-23 a weight
    torch.testing.assert_close(warp_images(images, shifted), expected, atol=1e-5, rtol=0)


def test_fill_comes_in_from_outside() -> None:
    images = noise(1, 1, 6, 6)
    shifted = affine_map((6, 6), ZERO, shift=torch.tensor([[2.0, 0.0]]))
    warped = warp_images(images, shifted, "fill", fill=0.25)
    torch.testing.assert_close(warped[..., :2], torch.full((1, 1, 6, 2), 0.25), atol=1e-5, rtol=0)
    torch.testing.assert_close(warped[..., 2:], images[..., :4], atol=1e-5, rtol=0)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_are_rot90(turns: int) -> None:
    images = noise(1, 3, 8, 8)
    warped = warp_images(images, affine_map((8, 8), torch.tensor([90.0 * turns])))
    torch.testing.assert_close(warped, torch.rot90(images, turns, (2, 3)), atol=1e-5, rtol=0)


def test_doubling_keeps_the_middle_quarter() -> None:
    ramp = torch.linspace(-1, 1, 16).expand(1, 1, 16, 16)
    larger = warp_images(ramp, affine_map((16, 16), ZERO, scale=torch.full((1, 2), 2.0)))
    torch.testing.assert_close(larger[0, 0, 0], torch.linspace(-0.5, 0.5, 16), atol=1e-5, rtol=0)


def test_flip_is_exact() -> None:
    images = noise(5, 3, 7, 10)
    flipped, _ = Flip(1.0)(images, {}, SCHEMA, stream(0, "flip", 0, 5))
    assert torch.equal(flipped, images.flip(-1))
    some, _ = Flip(0.5)(noise(200, 1, 4, 4), {}, SCHEMA, stream(0, "flip", 0, 200))
    share = (some == noise(200, 1, 4, 4).flip(-1)).all(-1).all(-1).float().mean()
    assert abs(share - 0.5) < 0.15  # 4 standard deviations of 200 coins


def test_map_is_the_inverse_of_the_stated_product() -> None:
    """R K S F in pixels about the centre, against numpy's own inverse."""
    height, width = 20, 31
    angle, sx, sy, tx, ty, kx, ky = 23.0, 1.3, 0.8, 2.5, -1.5, 0.2, -0.1
    a = math.radians(angle)
    turn = np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]])
    linear = turn @ np.array([[1, kx], [ky, 1]]) @ np.diag([sx, sy]) @ np.diag([-1, 1])
    centre = np.array([width / 2, height / 2])
    points = np.array([[3.0, 4.0], [30.0, 1.0], [15.5, 10.0]])
    expected = (points - centre) @ linear.T + centre + np.array([tx, ty])
    drawn = affine_map(
        (height, width),
        torch.tensor([angle]),
        scale=torch.tensor([[sx, sy]]),
        shift=torch.tensor([[tx, ty]]),
        shear=torch.tensor([[kx, ky]]),
        mirror=torch.tensor([-1.0]),
    )
    moved = drawn.forward_points(torch.from_numpy(points)[None].float())
    np.testing.assert_allclose(moved[0].numpy(), expected, atol=1e-4)
    assert bool(drawn.mirrors[0])


def test_points_move_as_pixels_do() -> None:
    """The centroid of a drawn spot lands where its landmark lands."""
    height, width = 40, 56
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    spot = torch.exp(-((x - 34.2) ** 2 + (y - 16.7) ** 2) / 8.0)[None, None].expand(16, 1, -1, -1)
    affine = Affine(rotation=25, scale=0.1, shift=0.1, shear=0.2, flip=0.5)
    drawn = affine.draw(stream(3, "spot", 0, 16), (height, width))
    seen = warp_images(spot, drawn, "fill", fill=0.0)[:, 0]
    mass = seen.sum((1, 2))
    centroid = torch.stack(((seen * x).sum((1, 2)), (seen * y).sum((1, 2))), 1) / mass[:, None]
    points = drawn.forward_points(torch.tensor([[[34.2, 16.7]]]).expand(16, 1, 2))[:, 0]
    # bilinear interpolation of a smooth spot moves its centroid by well under a tenth of a pixel
    torch.testing.assert_close(centroid, points, atol=0.05, rtol=0)


def test_grid_equals_the_matrix_product() -> None:
    drawn = Affine().draw(stream(1, "grid", 0, 4), (9, 14))
    expected = functional.affine_grid(drawn.matrix, [4, 1, 9, 14], align_corners=False)
    torch.testing.assert_close(drawn.grid(), expected, atol=1e-6, rtol=0)


def test_shift_blends_nothing_and_reaches_both_ends() -> None:
    images = noise(400, 1, 10, 10)
    drawn = Shift(0.2).draw(stream(0, "shift", 0, 400), (10, 10))
    steps = drawn.matrix[:, :, 2] * -5
    assert sorted({round(v) for v in steps[:, 0].tolist()}) == [-2, -1, 0, 1, 2]
    shifted, _ = Shift(0.2)(images, {}, SCHEMA, stream(0, "shift", 0, 400))
    assert torch.isin(shifted[0], images[0]).all()


def test_draws_fill_their_ranges() -> None:
    drawn = Affine(rotation=30, scale=0.0, shift=0.0, shear=0.0).draw(
        stream(0, "range", 0, 4000), (8, 8)
    )
    angle = torch.rad2deg(torch.atan2(-drawn.matrix[:, 0, 1], drawn.matrix[:, 0, 0]))
    assert 29 < angle.max() <= 30
    assert -30 <= angle.min() < -29
    assert abs(angle.mean()) < 4 * 30 / math.sqrt(3 * 4000)  # 4 standard errors


def test_errors_name_the_value() -> None:
    with pytest.raises(UsageError, match="got 200"):
        Affine(rotation=200)
    with pytest.raises(UsageError, match="size of its images"):
        warp_images(noise(1, 1, 4, 4), CoordinateMap(torch.eye(2, 3)[None], (5, 5)))

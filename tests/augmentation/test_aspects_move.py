"""Every geometric augmenter moves points and masks as it moves pixels: 1 000 draws each."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from augmint.aspects.base import Schema
from augmint.aspects.landmarks import Landmarks
from augmint.aspects.mask import Mask
from augmint.augmentation.base import GeometricAugmenter
from augmint.core.registry import AUGMENTERS
from augmint.core.streams import stream

H, W, N = 12, 16, 1000
GEOMETRIC = [n for n in AUGMENTERS.names() if issubclass(AUGMENTERS.get(n), GeometricAugmenter)]
SCHEMA = Schema(
    (
        Landmarks("points", ("left", "right", "top"), (H, W), pairs=(("left", "right"),)),
        Mask("mask", ("ground", "left", "right"), void=9, pairs=(("left", "right"),)),
    )
)


def test_there_are_such_augmenters() -> None:
    assert {"flip", "shift", "affine"} <= set(GEOMETRIC)


@pytest.mark.parametrize("name", [*GEOMETRIC, {"name": "affine", "flip": 0.5, "rotation": 90.0}])
def test_points_and_masks_move_as_pixels_do(name: object) -> None:
    augmenter = AUGMENTERS.create(name)
    random = np.random.default_rng(0)
    points = np.concatenate(
        (random.uniform(0, 1, (N, 3, 2)) * (W, H), random.integers(0, 3, (N, 3, 1))), -1
    ).astype(np.float32)
    mask = random.integers(0, 3, (N, H, W)).astype(np.uint8)
    given = {"points": torch.from_numpy(points), "mask": torch.from_numpy(mask)}
    images = torch.zeros(N, 1, H, W)
    _, found = augmenter(images, given, SCHEMA, stream(3, "test.move", 0, N))
    # the same draws again, as plain matrices over pixels, in double precision
    drawn = augmenter.draw(stream(3, "test.move", 0, N), (H, W)).matrix.double().numpy()
    scale, half = np.diag([W / 2, H / 2]), np.array([W / 2, H / 2])
    linear = scale @ drawn[:, :, :2] @ np.linalg.inv(scale)  # output to input, about the centre
    shift = drawn[:, :, 2] * half
    mirrored = np.linalg.det(linear) < 0
    placed = np.linalg.solve(linear, (points[..., :2] - half - shift[:, None]).transpose(0, 2, 1))
    wanted = points.copy()
    wanted[..., :2] = placed.transpose(0, 2, 1) + half
    wanted[mirrored] = wanted[mirrored][:, [1, 0, 2]]
    np.testing.assert_allclose(found["points"].numpy(), wanted, atol=1e-3)
    x, y = np.meshgrid(np.arange(W) + 0.5, np.arange(H) + 0.5)
    target = np.stack((x, y), -1).reshape(-1, 2) - half
    source = target @ linear.transpose(0, 2, 1) + shift[:, None] + half
    column, row = (np.floor(source[..., i]).astype(int) for i in (0, 1))
    inside = (column >= 0) & (column < W) & (row >= 0) & (row < H)
    taken = mask[np.arange(N)[:, None], row.clip(0, H - 1), column.clip(0, W - 1)]
    swapped = np.array([0, 2, 1, *range(3, 256)], np.uint8)[taken]
    expected = np.where(mirrored[:, None], swapped, taken)
    expected = np.where(inside, expected, 9)
    # where a source lies on the border of two pixels either is nearest
    edge = np.abs(source - np.round(source)).min(-1) < 1e-3
    got = found["mask"].numpy().reshape(N, -1)
    assert (got == expected)[~edge].all()
    assert (~edge).mean() > 0.9

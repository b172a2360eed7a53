"""Paths against their closed forms, and the mirror experiment on a world that is symmetric."""

from __future__ import annotations

import dataclasses
import io
import math

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from torch import Tensor, nn

from augmint.aspects.landmarks import SPOT, Landmarks
from augmint.core.errors import UsageError
from augmint.core.streams import stream
from augmint.latent.aspect_map import AspectMap, AspectMapConfig, train_aspect_map
from augmint.latent.inversion import InversionConfig, invert
from augmint.latent.paths import (
    MIRROR_STEPS,
    Walk,
    arithmetic,
    frames,
    gif,
    linear,
    mirror_walks,
    spherical,
    strip,
    truncation,
    walk,
    with_mirrors,
)

SHAPE = (1, 16, 16)
EYES = Landmarks("eyes", ("left", "right"), (16, 16), pairs=(("left", "right"),))


def test_the_straight_path_is_the_papers_formula() -> None:
    z = stream(0, "test", 0, 2).normal(5)
    path = linear(z[0], z[1])
    assert path.shape == (MIRROR_STEPS + 2, 5)
    for i in range(16):
        assert torch.allclose(path[i], (1 - i / 15) * z[0] + (i / 15) * z[1], atol=1e-6)


def test_the_great_circle_keeps_length_and_turns_evenly() -> None:
    a, b = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0.0, 2.0, 0.0])
    path = spherical(a, b, 2)
    for i, angle in enumerate((0.0, math.pi / 6, math.pi / 3, math.pi / 2)):
        wanted = torch.tensor([2 * math.cos(angle), 2 * math.sin(angle), 0.0])
        assert torch.allclose(path[i], wanted, atol=1e-6)
    longer = spherical(a, 2 * b, 3).norm(dim=-1)
    assert torch.allclose(longer, torch.tensor([2.0, 2.5, 3.0, 3.5, 4.0]))
    assert torch.allclose(spherical(a, 3 * a, 1)[1], 2 * a)
    assert torch.isfinite(spherical(a, -a, 3)).all()
    many = stream(0, "test", 0, 8).normal(5).view(2, 4, 5)
    together = spherical(many[0], many[1], 3)
    assert together.shape == (4, 5, 5)
    assert torch.allclose(together[2], spherical(many[0, 2], many[1, 2], 3), atol=1e-6)
    with pytest.raises(UsageError, match="inner"):
        linear(a, b, -1)


def test_arithmetic_and_truncation_are_their_equations() -> None:
    z = stream(0, "test", 0, 9).normal(4)
    moved = arithmetic(z[:2], z[2:5], z[5:], 0.5)
    assert torch.allclose(moved, z[:2] + 0.5 * (z[5:].mean(0) - z[2:5].mean(0)))
    assert torch.allclose(arithmetic(arithmetic(z, z[:3], z[3:]), z[3:], z[:3]), z, atol=1e-6)
    assert torch.equal(truncation(z[0], (0.0, 0.5, 1.0)), torch.stack((0 * z[0], z[0] / 2, z[0])))


class Faces(nn.Module):
    """Two spots at heights z0 (left) and z1 (right): the mirror image swaps the two."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, latent: Tensor) -> Tensor:
        planes = EYES.to_planes(_eyes(latent)) ** (SPOT / 2.5) ** 2  # wider spots
        return 2 * planes.amax(1, keepdim=True) * self.scale - 1


def _eyes(z: Tensor) -> Tensor:
    height = 8 + 4 * z
    x = torch.tensor([4.0, 12.0]).expand_as(height)
    return torch.stack((x, height, torch.full_like(x, 2.0)), -1)


@pytest.fixture(scope="module")
def told() -> AspectMap:
    z = stream(0, "test", 0, 300).uniform(2, -1.0, 1.0)
    config = AspectMapConfig(
        hidden=(), output="linear", steps=500, batch=64, rate=2e-2, decay_from=0.3
    )
    return train_aspect_map(z, _eyes(z).numpy(), EYES, SHAPE, config)


def test_the_mirror_experiment_is_symmetric_where_the_world_is(told: AspectMap) -> None:
    generator = Faces()
    z = torch.tensor([[-0.8, 0.7], [0.1, -0.6]])
    images = walk(generator, z).images
    doubled = with_mirrors(images)
    assert np.array_equal(doubled[2:], images[..., ::-1])
    config = InversionConfig(latent_dim=2, steps=150, rate=0.05, restart_above=0.05)
    inverted = invert(generator, doubled, config)
    assert torch.allclose(inverted.latents[2:], z.flip(1), atol=0.02)
    walks, numbers = mirror_walks(generator, inverted, [told])
    assert len(walks) == 2
    assert len(walks[0].images) == 16
    assert numbers["midpoint_asymmetry"] < 0.02 < 0.1 < numbers["end_asymmetry"]
    assert numbers["mirrored_frames"] < 0.02
    assert numbers["eyes_midpoint_asymmetry"] < 0.01
    # heights move in a line: no step differs from another
    assert numbers["eyes_bend"] < 1e-2
    assert numbers["eyes_largest_step"] == pytest.approx(1, abs=0.02)
    assert numbers["eyes_detour"] < 1.02 < numbers["image_detour"]


def test_the_mirror_experiment_finds_asymmetry(told: AspectMap) -> None:
    generator = Faces()
    z = torch.tensor([[-0.8, 0.7], [-0.8, -0.1]])  # the second is no mirror image of the first
    images = walk(generator, z).images
    found = invert(generator, images, InversionConfig(latent_dim=2, steps=80, rate=0.05))
    with pytest.raises(UsageError, match="as many mirror images"):
        mirror_walks(generator, dataclasses.replace(found, latents=found.latents[:1]), [told])
    _, numbers = mirror_walks(generator, found, [told])
    assert numbers["midpoint_asymmetry"] > 0.1
    assert numbers["eyes_midpoint_asymmetry"] > 0.1


def test_walks_are_drawn_as_strips_and_animations(told: AspectMap) -> None:
    path = walk(Faces(), linear(torch.tensor([-1.0, 1.0]), torch.tensor([1.0, -1.0]), 3), [told])
    plain, drawn = frames(path, None, 2), frames(path, "eyes", 2)
    assert plain.shape == drawn.shape == (5, 3, 32, 32)
    # marks lie where the points are and nowhere else
    changed = (plain != drawn).any(1)
    for here, value in zip(changed, path.values["eyes"], strict=True):
        rows, columns = np.nonzero(here)
        far = np.hypot(
            columns[:, None] + 0.5 - 2 * value[:, 0], rows[:, None] + 0.5 - 2 * value[:, 1]
        )
        assert 0 < here.sum() < 40
        assert far.min(1).max() < 2.5
    picture = strip(path, scale=2)
    assert picture.width > 5 * 32
    assert picture.height > 2 * 32
    animation = Pillow.open(io.BytesIO(gif(drawn)))
    assert animation.format == "GIF"
    assert animation.n_frames == 5 + 3
    assert animation.info["loop"] == 0
    assert animation.info["duration"] == 120
    for i in (0, 3):
        animation.seek(i)
        shown = np.asarray(animation.convert("RGB"), np.int64).transpose(2, 0, 1)
        assert np.abs(shown - drawn[i]).mean() < 3  # of 255: a palette of 256 colours
    with pytest.raises(UsageError, match="2 RGB frames"):
        gif(drawn[:1])


def test_a_walk_takes_the_inputs_that_are_given() -> None:
    class Shifted(nn.Module):
        def forward(self, latent: Tensor, shift: Tensor) -> Tensor:
            return (latent[:, :1] + shift).view(-1, 1, 1, 1).expand(-1, *SHAPE)

    found = walk(Shifted(), torch.zeros(3, 2), given=(torch.tensor([[-1.0], [0.0], [1.0]]),))
    assert isinstance(found, Walk)
    assert found.images[:, 0, 0, 0].tolist() == [0, 128, 255]

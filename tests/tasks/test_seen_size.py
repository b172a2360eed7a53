"""A network may see images of another size than the stored one; truth stays where it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from task_worlds import SHAPE, faces, schema
from torch.nn import functional

from augmint.core.errors import UsageError
from augmint.core.registry import TASKS
from augmint.tasks.phase import TaskPhase
from augmint.tasks.trained import TrainedTask, build_network

SEEN = (24, 40)
NET = """\
import torch.nn as nn

def make_net(outputs, channels, height, width, pooled=True):
    assert (height, width) == (24, 40)
    last = nn.Conv2d(6, outputs, 3, padding=1)
    body = [nn.Conv2d(channels, 6, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*body, last)

def make_vector(outputs, channels, height, width):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, outputs))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NET)
    return tmp_path / "net.py"


def phase(name: str, policy: Any, model: str, steps: int = 1) -> TaskPhase:
    world, task = dataclasses.replace(faces(), schema=schema(pairs=())), TASKS.create(name)
    fields = {"model": model, "size": SEEN, "steps": steps, "batch": 16}
    config = task.configured(fields)
    aspect = task.aspect(config, world.schema)
    config = dataclasses.replace(config, aspect=aspect.name)
    network = build_network(config, SHAPE, aspect.width, flat=aspect.flat)
    source = world.source(slice(0, 40))
    return TaskPhase.of(network, config, world.schema, [source], policy, 0)


@pytest.mark.parametrize("name", ["segmentation", "dense"])
def test_logits_come_back_to_the_stored_size(name: str, file: Path) -> None:
    made = phase(name, "none", f"{file}:make_net")
    images, values = made.batch(0)
    assert images.shape[-2:] == SEEN
    assert values.shape[-2:] == SHAPE[1:]
    loss = made.losses(1)[0]["network"]
    aspect = made.schema[made.config.aspect]
    wanted = functional.interpolate(made.network(images), SHAPE[1:], mode="bilinear")
    torch.testing.assert_close(loss, aspect.loss(wanted, values).mean())
    trained = TrainedTask(made.network, made.config, made.schema, SHAPE)
    found = trained.logits(faces().images[:3])
    assert found.shape == (3, aspect.width, *SHAPE[1:])
    task = TASKS.create(name)
    assert 0 <= task.score(trained, faces().real(slice(0, 9))).per_image.max() <= 1


@pytest.mark.parametrize("policy", ["flip", {"name": "affine", "rotation": 40.0, "shift": 0.2}])
def test_truth_moves_as_the_image_moves(policy: Any, file: Path) -> None:
    """The landmark of a bright spot is where the spot is, in a frame of other proportions."""
    made = phase("landmarks", policy, f"{file}:make_vector")
    aspect = made.schema["points"]
    height, width = 8 * SEEN[0], 8 * SEEN[1]  # finely drawn, so that a centroid is exact
    rng = np.random.default_rng(0)
    spots = torch.from_numpy(rng.uniform(0.35, 0.65, (16, 2)).astype(np.float32))
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    away = (x - width * spots[:, :1, None]) ** 2 + (y - height * spots[:, 1:, None]) ** 2
    drawn = torch.exp(-away / 40.0)[:, None]
    values = torch.full((16, len(aspect.points), 3), 2.0)  # type: ignore[attr-defined]
    values[..., :2] = (spots * torch.tensor([SHAPE[2], SHAPE[1]]))[:, None]
    from augmint.core.streams import stream

    moved, after = made.augmenter(
        drawn * 2 - 1, {"points": values}, made.schema, stream(0, "x", 0, 16)
    )
    light = (moved[:, 0] + 1).clamp_min(0)
    total = light.sum((1, 2))
    centre = torch.stack(((light * x).sum((1, 2)), (light * y).sum((1, 2))), 1) / total[:, None]
    found = after["points"][:, 0, :2] / torch.tensor([SHAPE[2], SHAPE[1]])
    wanted = centre / torch.tensor([width, height])
    torch.testing.assert_close(found, wanted, atol=2e-3, rtol=0)
    assert (found - spots).abs().max() > 0.02


def test_masks_move_as_the_image_moves(file: Path) -> None:
    """A mask at the stored size and its own picture at the seen size stay one picture."""
    made = phase("segmentation", {"name": "affine", "rotation": 40.0}, f"{file}:make_net")
    from augmint.core.streams import stream

    mask = torch.zeros(16, *SHAPE[1:], dtype=torch.uint8)
    mask[:, 10:22, 8:20] = 1
    picture = functional.interpolate(mask[:, None].float(), SEEN, mode="nearest") * 2 - 1
    moved, after = made.augmenter(picture, {"parts": mask}, made.schema, stream(0, "x", 0, 16))
    seen = functional.interpolate(moved, SHAPE[1:], mode="bilinear", antialias=True)[:, 0] > 0
    true = (after["parts"] == 1) & (after["parts"] != 255)
    overlap = (seen & true).sum((1, 2)) / (seen | true).sum((1, 2))
    assert overlap.min() > 0.85
    untouched = (mask == 1).logical_and(true).sum((1, 2)) / (mask == 1).logical_or(true).sum((1, 2))
    assert untouched.min() < 0.8


def test_a_users_network_is_checked_for_its_outputs(file: Path) -> None:
    world = faces()
    task = TASKS.create("segmentation")
    for name, words in (("make_vector", r"\(2, 4, 24, 40\).*\(2, 4\).*channel"),):
        config = task.configured({"model": f"{file}:{name}", "size": SEEN, "steps": 1})
        with pytest.raises(UsageError, match=words):
            task.train(config, world.schema, SHAPE, [world.source(slice(0, 9))], "none", 0)
    task = TASKS.create("regression")
    config = task.configured({"model": f"{file}:make_net", "size": SEEN, "steps": 1})
    with pytest.raises(UsageError, match=r"\(2, 3\).*\(2, 3, 24, 40\).*column"):
        task.train(config, world.schema, SHAPE, [world.source(slice(0, 9))], "none", 0)
    config = task.configured({"model": f"{file}:make_vector", "size": SEEN, "steps": 2})
    task.train(config, world.schema, SHAPE, [world.source(slice(0, 9))], "none", 0)

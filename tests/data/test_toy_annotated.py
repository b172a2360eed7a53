"""`toy-faces` and `toy-eyes` as data sets: schemas, sizes, and what is stored is what was drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from augmint.core.errors import UsageError
from augmint.core.registry import DATASETS
from augmint.data.base import Content
from augmint.data.eyes import draw_eyes
from augmint.data.faces import EXPRESSIONS, draw_faces
from augmint.data.ingest import ingest


def content(
    name: str, size: tuple[int, int] | None = None, channels: int | None = None, **fields: object
) -> Content:
    return DATASETS.create({"name": name, "images": 60, **fields}).build(size, channels)


@pytest.mark.parametrize("name", ["toy-faces", "toy-eyes"])
@pytest.mark.parametrize("size", [None, (48, 48), (40, 56), (16, 24)])
@pytest.mark.parametrize("channels", [None, 1, 3])
def test_content_fits_its_schema(name: str, size, channels) -> None:
    made = content(name, size, channels)
    n, planes, height, width = made.images.shape
    assert n == len(made.names) == 60
    if size is not None:
        assert (height, width) == size
    if channels is not None:
        assert planes == channels
    assert [a.name for a in made.schema] == list(made.values)
    for aspect in made.schema:
        values = made.values[aspect.name]
        shape, dtype = aspect.storage((planes, height, width))
        assert values.shape == (n, *shape)
        assert values.dtype == dtype
        aspect.check(values)
        assert aspect.mirrors


def test_faces_are_stored_as_drawn() -> None:
    made = content("toy-faces", (40, 56), yaw=30.0, seed=4)
    drawn = draw_faces(60, (40, 56), seed=4, yaw=30.0)
    assert np.array_equal(made.images, drawn["images"])
    assert np.array_equal(made.values["label"], drawn["expression"])
    assert np.array_equal(made.values["pose"], drawn["pose"])
    assert np.array_equal(made.values["landmarks"][..., :2], drawn["landmarks"])
    assert np.array_equal(made.values["landmarks"][..., 2] == 2, drawn["visible"])
    assert np.array_equal(made.values["mask"], drawn["masks"])
    assert made.schema["pose"].low[0] == -30.0


def test_eyes_are_stored_as_drawn() -> None:
    made = content("toy-eyes", seed=4)
    drawn = draw_eyes(60, 48, 64, seed=4)
    assert np.array_equal(made.images, drawn["images"])
    assert np.array_equal(made.values["gaze"], drawn["gaze"])
    assert np.array_equal(made.values["landmarks"][..., :2], drawn["landmarks"])
    assert set(np.unique(made.values["landmarks"][..., 2])) == {1.0, 2.0}
    assert np.array_equal(made.values["mask"], drawn["masks"])


@pytest.mark.parametrize("name", ["toy-faces", "toy-eyes"])
def test_small_frames_keep_points_and_masks_in_step(name: str) -> None:
    """Below the smallest drawing everything is scaled: the eyes' mask stays around its points."""
    small, large = content(name, (12, 16)), content(name, (48, 64))
    points = small.values["landmarks"] * np.float32([4, 4, 1])
    assert np.allclose(points, large.values["landmarks"], atol=1e-2)
    wide = large.values["mask"].reshape(60, 12, 4, 16, 4)
    share = (wide > 0).mean((2, 4))
    sure = (share == 0) | (share == 1)
    assert ((small.values["mask"] > 0) == (share > 0.5))[sure].mean() > 0.99


def test_sets_are_read_like_any_other(cache: Path) -> None:
    faces = ingest("toy-faces", cache, size=(24, 24))
    assert faces.shape == (3, 24, 24)
    assert faces.classes() == EXPRESSIONS
    assert faces.values["landmarks"].shape == (3000, 15, 3)
    assert [a.kind for a in faces.schema] == ["category", "vector", "landmarks", "mask"]


def test_settings_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="at least one image a class"):
        content("toy-faces", images=4)
    for yaw in (0.0, 61.0):
        with pytest.raises(UsageError, match="above 0, at most 60"):
            content("toy-faces", yaw=yaw)
    with pytest.raises(UsageError, match="at least one image"):
        content("toy-eyes", images=0)

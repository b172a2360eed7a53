"""Published sets, where AUGMINT_DATA names a folder that holds them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from augmint.core.errors import DataCheckError
from augmint.data.check import blocking, check, training_rows_without
from augmint.data.ingest import ingest

pytestmark = pytest.mark.realdata


def published(name: str) -> Path:
    """The set's path, or a skip that says what is missing."""
    root = os.environ.get("AUGMINT_DATA")
    if not root:
        pytest.skip("AUGMINT_DATA is not set")
    path = Path(root) / name
    if not path.exists():
        pytest.skip(f"{name} is not in AUGMINT_DATA")
    return path


def test_mnist(cache: Path) -> None:
    table = ingest(published("mnist"), cache)
    assert {p: len(r) for p, r in table.parts.items()} == {"train": 60000, "test": 10000}
    assert np.bincount(table.labels()[table.parts["test"]]).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    report = check(table)
    blocking(report)
    assert len(report.near_across) < 10


def test_fer2013_holds_duplicates_across_parts(cache: Path) -> None:
    table = ingest(published("fer2013.zip"), cache)
    assert {p: len(r) for p, r in table.parts.items()} == {
        "train": 28709,
        "validation": 3589,
        "test": 3589,
    }
    assert table.shape == (1, 48, 48)
    report = check(table)
    assert report.across_counts["train/test"] > 100
    with pytest.raises(DataCheckError, match="--drop-duplicates"):
        blocking(report)
    kept = training_rows_without(report, table)
    pixels = {i.tobytes() for i in np.asarray(table.images[kept])}
    for part in ("validation", "test"):
        assert not any(table.images[r].tobytes() in pixels for r in table.parts[part])


def test_faces_with_68_landmarks(cache: Path) -> None:
    table = ingest(published("face_landmarks68.zip"), cache, size=(64, 64))
    assert table.rules["format"] == "csv"
    assert {p: len(r) for p, r in table.parts.items()} == {"train": 2222, "test": 548}
    assert table.groups is not None
    assert len(np.unique(table.groups)) == 347
    assert not set(table.groups[table.parts["train"]]) & set(table.groups[table.parts["test"]])
    points = table.values["landmarks"][..., :2]
    # the chin below the eyes, the subject's right eye at the left, in the frame of the new size
    assert (points[:, 8, 1] > points[:, 36, 1]).mean() > 0.99
    assert (points[:, 36, 0] < points[:, 45, 0]).mean() > 0.99
    assert 25 < points.mean() < 39
    mirrored = dict(getattr(table.schema["landmarks"], "pairs", ()))
    assert mirrored["left_eye_outer"] == "right_eye_outer"


def test_membranes(cache: Path) -> None:
    table = ingest(published("isbi2012_em.zip"), cache)
    assert table.shape == (1, 512, 512)
    assert getattr(table.schema["mask"], "classes", None) == ("background", "foreground")
    # cell interiors are the larger and the brighter part
    inside = table.values["mask"] == 1
    assert 0.7 < inside.mean() < 0.85
    images = np.asarray(table.images[:])[:, 0]
    assert images[inside].mean() > images[~inside].mean() + 20


def test_facades(cache: Path) -> None:
    table = ingest(published("facades.zip"), cache)
    assert {p: len(r) for p, r in table.parts.items()} == {"train": 400, "test": 100}
    assert getattr(table.schema["mask"], "classes", None) == tuple(str(i) for i in range(12))
    assert np.unique(table.values["mask"]).tolist() == list(range(12))


def test_depth_and_motion(cache: Path) -> None:
    table = ingest(published("sevenscenes_rgbd.zip"), cache, size=(60, 80))
    depth = table.values["depth"]
    assert depth.shape == (67, 1, 60, 80)
    assert 500 < np.nanmin(depth) < np.nanmax(depth) < 5000
    asked = "{name: mask-folders, void: 170}"
    motion = ingest(published("cdnet_highway.zip"), cache, size=(60, 80), format=asked)
    assert getattr(motion.schema["mask"], "classes", None) == ("0", "50", "255")
    assert set(np.unique(motion.values["mask"])) == {0, 1, 2, 170}


def test_ages_and_genders(cache: Path) -> None:
    asked = "{name: csv, vector: [age], label: gender, mirrored: []}"
    table = ingest(published("utkface.zip"), cache, size=(32, 32), format=asked)
    assert {p: len(r) for p, r in table.parts.items()} == {"train": 2400, "test": 600}
    assert table.classes() == ("female", "male")
    # the file's name begins with the age
    ages = [int(name.rsplit("/", 1)[1].split("_")[0]) for name in table.names]
    assert table.values["vector"][:, 0].tolist() == ages


def test_written_and_read_again(cache: Path, tmp_path: Path) -> None:
    from augmint.core.registry import FORMATS

    faces = ingest(published("face_landmarks68.zip"), cache, size=(16, 16))
    walls = ingest(published("facades.zip"), cache, size=(24, 24))
    cells = ingest(published("isbi2012_em.zip"), cache, size=(96, 96))
    written = ((faces, "csv"), (faces, "coco"), (faces, "manifest"), (walls, "coco"))
    for i, (table, format) in enumerate((*written, (cells, "yolo"), (cells, "mask-folders"))):
        FORMATS.create(format).write(table, tmp_path / f"out{i}")
        again = ingest(tmp_path / f"out{i}", cache)
        assert again.rules["format"] == format
        assert again.digest == table.digest

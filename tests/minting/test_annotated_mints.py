"""Mints with annotations of every kind are read back as they were minted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.aspects.landmarks import Landmarks
from augmint.aspects.map import Map
from augmint.aspects.mask import Mask
from augmint.aspects.vector import Vector
from augmint.data.ingest import ingest
from augmint.minting.curation import ClassCount, Minted
from augmint.minting.writer import read_summary, write_minted

N, SIZE = 6, (5, 7)


@pytest.mark.parametrize("classes", [(), ("annotations", "mask")])
def test_what_was_minted_reads_back(tmp_path: Path, classes: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 5, (N, 2, 3)).astype(np.float32)
    points[..., 2] = rng.integers(1, 3, (N, 2))
    values = {
        "label": rng.integers(0, 2, N),
        "points": points,
        "mask": rng.choice(np.array([0, 1, 255], np.uint8), (N, *SIZE)),
        "depth": rng.normal(size=(N, 1, *SIZE)).astype(np.float32),
        "pose": rng.normal(size=(N, 2)).astype(np.float32),
    }
    aspects = (
        Landmarks("points", ("left_eye", "right_eye"), SIZE, (("left_eye", "right_eye"),)),
        Mask("mask", ("skin", "hair"), 255),
        Map("depth", 1, -9.0, 9.0, "m"),
        Vector("pose", ("yaw", "pitch"), mirrored=("yaw",)),
    )
    schema = Schema((*((Category("label", classes),) if classes else ()), *aspects))
    held = {a.name: values[a.name] for a in schema}
    images = rng.integers(0, 256, (N, 3, *SIZE)).astype(np.uint8)
    rows = np.arange(N)
    count = ClassCount(classes[0] if classes else "all", N, N, N, {})
    minted = Minted(images, held, rows, rows * 0 + 3, {}, [count], None)
    folder = write_minted(minted, tmp_path / "mint", schema, {"generator": "ab" * 32})
    read_summary(folder)
    table = ingest(folder, tmp_path / "cache")
    assert table.schema == schema
    assert table.origins["minted"].tolist() == rows.tolist()
    assert np.array_equal(np.asarray(table.images), images)
    for name, found in held.items():
        assert np.array_equal(table.values[name], found), name
    fields = json.loads((folder / "croissant.json").read_text())["recordSet"][0]["field"]
    told = {f["name"]: f["dataType"] for f in fields}
    assert (told["mask"], told["points"]) == ("sc:Text", "sc:Float")

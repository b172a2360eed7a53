"""Minted images in other formats read back as they were minted, and say that they are synthetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from augmint.aspects.base import Aspect, Schema
from augmint.aspects.category import Category
from augmint.aspects.landmarks import Landmarks
from augmint.aspects.mask import Mask
from augmint.core.errors import UsageError
from augmint.core.runs import read_json
from augmint.data.ingest import ingest
from augmint.minting.curation import ClassCount, Minted
from augmint.studies.minted_as import write_as

N, SIZE = 6, (5, 7)
RNG = np.random.default_rng(0)
LABEL = Category("label", ("ant", "bee", "never minted"))
EYES = Landmarks("points", ("left_eye", "right_eye"), SIZE, (("left_eye", "right_eye"),))
MASK = Mask("mask", ("skin", "hair", "eye"))
VALUES: dict[str, Any] = {
    "label": np.arange(N) % 2,
    "points": np.dstack((RNG.uniform(0, 5, (N, 2, 2)), np.full((N, 2, 1), 2.0))).astype("f4"),
    "mask": RNG.integers(0, 3, (N, *SIZE)).astype(np.uint8),
}


def minted(*aspects: Aspect) -> tuple[Minted, Schema]:
    images = RNG.integers(0, 256, (N, 3, *SIZE)).astype(np.uint8)
    held = {a.name: VALUES[a.name] for a in aspects}
    count = ClassCount("all", N, N, N, {})
    rows = np.arange(N)
    return Minted(images, held, rows, rows * 0 + 3, {}, [count], None), Schema(aspects)


@pytest.mark.parametrize(
    ("format", "aspects"),
    [
        ("yolo", (MASK,)),
        ("yolo", (EYES, LABEL)),
        ("mask-folders", (MASK,)),
        ({"name": "coco", "packed": False}, (MASK, EYES)),
        ("csv", (EYES, LABEL)),
    ],
)
def test_what_was_minted_reads_back(
    tmp_path: Path, format: Any, aspects: tuple[Aspect, ...]
) -> None:
    made, schema = minted(*aspects)
    folder = write_as(format, [made], tmp_path / "out", schema, {"generator": "ab"})
    assert [p.name for p in tmp_path.iterdir()] == ["out"], "no temporary folder is left"
    table = ingest(folder, tmp_path / "cache")
    assert table.schema == schema
    assert table.origins["minted"].tolist() == list(range(N))
    assert np.array_equal(np.asarray(table.images), made.images)
    for aspect in schema:
        assert np.array_equal(table.values[aspect.name], VALUES[aspect.name])
    assert read_json(folder / "minted.json")["accepted"] == N
    for path in folder.rglob("*.png"):
        with Image.open(path) as picture:
            packet = picture.info["XML:com.adobe.xmp"]
        assert "trainedAlgorithmicMedia" in packet
        assert "generator ab" in packet


def test_nothing_accepted_and_folders_in_use_are_refused(tmp_path: Path) -> None:
    made, schema = minted(MASK)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(UsageError, match="a new or an empty folder"):
        write_as("yolo", [made], tmp_path / "full", schema, {})
    none = Minted(
        made.images[:0], {"mask": VALUES["mask"][:0]}, made.ids[:0], made.seeds[:0], {},
        [ClassCount("all", N, 9, 0, {})], None,
    )  # fmt: skip
    with pytest.raises(UsageError, match="none of 9 that were drawn"):
        write_as("yolo", [none], tmp_path / "none", schema, {})
    assert [p.name for p in tmp_path.iterdir()] == ["full"]

"""Formats with annotations: written, read and written again, nothing changes."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from augmint.core.errors import DataError
from augmint.core.registry import FORMATS
from augmint.data.ingest import ingest
from augmint.data.table import Table

from .conftest import encoded, noise
from .random_tables import (
    Maker,
    boxes,
    field,
    label,
    mask,
    plain_mask,
    points,
    points_within,
    random_table,
    vector,
    whole_field,
)

HELD: dict[str, tuple[tuple[Maker, ...], ...]] = {
    "coco": (
        (mask,),
        (points,),
        (points, label),
        (mask, points),
        (label, points, mask),
        (boxes,),
        (label, boxes),
    ),
    "yolo": ((plain_mask,), (points_within,), (points_within, label), (boxes,), (label, boxes)),
    "csv": ((points,), (label, points)),
    "mask-folders": ((mask,), (whole_field,), (mask, whole_field)),
    "manifest": (
        (label, points, mask, vector, field),
        (vector,),
        (mask,),
        (field,),
        (points, label),
    ),
}
"""Format to the kinds of annotation that it holds together."""

CASES, ROWS = 500, 20


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def same(a: Table, b: Table) -> None:
    assert a.schema == b.schema
    assert np.array_equal(np.asarray(a.images), np.asarray(b.images))
    for name, values in a.values.items():
        assert values.dtype == b.values[name].dtype
        assert np.array_equal(values, b.values[name], equal_nan=values.dtype.kind == "f"), name
    assert a.part_of().tolist() == b.part_of().tolist()
    assert {o: r.tolist() for o, r in a.origins.items()} == {
        o: r.tolist() for o, r in b.origins.items()
    }
    assert (a.groups is None) == (b.groups is None)
    if a.groups is not None and b.groups is not None:
        assert a.groups.tolist() == b.groups.tolist()
    assert a.digest == b.digest


@pytest.mark.parametrize("format", sorted(HELD))
def test_written_read_and_written_again_is_identical(tmp_path: Path, format: str) -> None:
    rng = np.random.default_rng(sum(format.encode()))
    held = itertools.cycle(HELD[format])
    for case in range(CASES // ROWS):
        place = tmp_path / str(case)
        table = random_table(rng, place / "t", next(held), ROWS, True)
        member = FORMATS.create(format)
        member.write(table, place / "one")
        again = ingest(place / "one", place / "cache")
        assert again.rules["format"] == format
        assert not again.quarantined
        same(table, again)
        member.write(again, place / "two")
        assert content(place / "one") == content(place / "two")


@pytest.mark.parametrize("format", sorted(set(HELD) - {"manifest"}))
def test_other_programs_need_no_schema(tmp_path: Path, format: str) -> None:
    """The annotations themselves stand in the layout's own files."""
    rng = np.random.default_rng(3)
    for case, makers in enumerate(HELD[format]):
        place = tmp_path / str(case)
        table = random_table(rng, place / "t", makers, 8)
        FORMATS.create(format).write(table, place / "out")
        (place / "out" / "schema.json").unlink()
        void = getattr(table.schema["mask"], "void", None) if "mask" in table.schema else None
        asked = {"name": format, "void": void} if format == "mask-folders" else None
        again = ingest(place / "out", place / "cache", format=asked)
        for aspect in table.schema:
            found = next(a for a in again.schema if a.kind == aspect.kind)
            values, read = table.values[aspect.name], again.values[found.name]
            if aspect.kind == "mask" and void is not None:
                stored = getattr(found, "void", None)
                values = np.where(values == void, -1, values.astype(int))
                read = np.where(read == stored, -1, read.astype(int))
            if aspect.kind == "category":  # classes in their own order
                names = np.array(getattr(aspect, "classes", ()))[values]
                assert names.tolist() == np.array(getattr(found, "classes", ()))[read].tolist()
                continue
            assert np.array_equal(values, read, equal_nan=values.dtype.kind == "f"), makers


@pytest.mark.parametrize("format", sorted(HELD))
def test_annotations_scale_with_their_images(tmp_path: Path, format: str) -> None:
    rng = np.random.default_rng(5)
    makers = next(m for m in HELD[format] if {points, points_within, mask, plain_mask} & set(m))
    table = random_table(rng, tmp_path / "t", makers, 6)
    FORMATS.create(format).write(table, tmp_path / "out")
    height, width = table.shape[1:]
    again = ingest(tmp_path / "out", tmp_path / "cache", size=(3 * height, 2 * width))
    for aspect in table.schema:
        values, read = table.values[aspect.name], again.values[aspect.name]
        if aspect.kind == "mask":
            assert np.array_equal(read, values.repeat(3, 1).repeat(2, 2))
        elif aspect.kind == "landmarks":
            assert np.allclose(read, values * [2, 3, 1], rtol=1e-6)
            assert getattr(again.schema[aspect.name], "size", None) == (3 * height, 2 * width)
        else:
            assert aspect.kind != "category" or np.array_equal(read, values)


def test_images_of_several_sizes(tmp_path: Path) -> None:
    """Points and masks are in the frame of their own image, whatever the others' are."""
    lines = []
    for i, (height, width) in enumerate(((4, 6), (8, 6), (12, 18))):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{i}.png").write_bytes(encoded(noise(1, 1, height, width)[0, 0]))
        half = np.zeros((height, width), np.uint8)
        half[:, : width // 2] = 1
        (tmp_path / "in" / f"m{i}.png").write_bytes(encoded(half))
        told = {"landmarks": [[width / 2, height / 4]], "mask": f"m{i}.png"}
        lines.append(json.dumps({"file_name": f"{i}.png", **told}))
    (tmp_path / "in" / "metadata.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError, match="--size 8"):
        ingest(tmp_path / "in", tmp_path / "cache")
    table = ingest(tmp_path / "in", tmp_path / "cache", size=(4, 6))
    assert table.values["landmarks"].tolist() == [[[3, 1, 2]]] * 3
    assert (table.values["mask"] == [1, 1, 1, 0, 0, 0]).all()


def tagged(pixels: np.ndarray, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(pixels, exif=exif)


TOLD = {"landmarks": [[1, 2]], "mask": "m.png"}


@pytest.mark.parametrize(
    ("fields", "image", "mask", "reason"),
    [
        ((), 6, 1, None),
        (("landmarks",), 6, 1, "landmarks goes with an upright image; got EXIF orientation 6"),
        (("mask",), 3, 3, "mask goes with an upright image; got EXIF orientation 3"),
        (("mask",), 1, 3, "m7.png: its numbers stand upright; got EXIF orientation 3"),
    ],
)
def test_turned_images_keep_a_class_and_no_place(
    tmp_path: Path, fields: tuple[str, ...], image: int, mask: int, reason: str | None
) -> None:
    """Whoever annotated saw the image turned, or not: nothing says which."""
    pixels, half = noise(120, 1, 6, 6), np.tri(6, dtype=np.uint8)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "m.png").write_bytes(encoded(half))
    (tmp_path / "in" / "m7.png").write_bytes(tagged(half, mask))
    lines = []
    for i, shown in enumerate(pixels):
        (tmp_path / "in" / f"{i}.png").write_bytes(tagged(shown[0], image if i == 7 else 1))
        told = {name: TOLD[name] for name in fields}
        if i == 7 and fields == ("mask",):
            told["mask"] = "m7.png"
        lines.append(json.dumps({"file_name": f"{i}.png", "label": "ab"[i % 2], **told}))
    (tmp_path / "in" / "metadata.jsonl").write_text("\n".join(lines))
    table = ingest(tmp_path / "in", tmp_path / "cache")
    if reason is None:
        assert not table.quarantined
        assert np.array_equal(table.images[7, 0], np.rot90(pixels[7, 0], -1))
        return
    assert [q["name"] for q in table.quarantined] == ["7.png"]
    assert reason in table.quarantined[0]["reason"]
    assert "remove the tag" in table.quarantined[0]["reason"]


def test_class_folders_keep_subjects_and_origins(tmp_path: Path) -> None:
    table = random_table(np.random.default_rng(1), tmp_path / "t", (label,), 8, True)
    while table.groups is None:
        place = tmp_path / f"t{len(list(tmp_path.iterdir()))}"
        table = random_table(np.random.default_rng(len(place.name)), place, (label,), 8, True)
    FORMATS.create("imagefolder").write(table, tmp_path / "out")
    again = ingest(tmp_path / "out", tmp_path / "cache")
    assert again.rules["ignored_count"] == 0
    rows = [int(Path(name).stem) for name in again.names]
    assert again.groups is not None
    assert again.groups.tolist() == table.groups[rows].tolist()
    assert np.isin(rows, table.origins["minted"]).nonzero()[0].tolist() == (
        again.origins["minted"].tolist()
    )


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("[]", "its origin"),
        ('{"x.png": {"origin": "minted"}}', "x.png, which is no image of the set"),
        ('{"images/0000000.png": {"origin": "found"}}', "found"),
        ('{"images/0000000.png": {"origin": "real", "id": 3}}', "'id': 3"),
        ('{"images/0000000.png": {"group": 3}}', "'group': 3"),
        ('{"images/0000000.png": "minted"}', "'minted' in origins.json"),
    ],
)
def test_broken_origins(tmp_path: Path, told: str, message: str) -> None:
    rng = np.random.default_rng(0)
    table = random_table(rng, tmp_path / "t", (plain_mask,), 2)
    FORMATS.create("mask-folders").write(table, tmp_path / "out")
    (tmp_path / "out" / "origins.json").write_text(told)
    with pytest.raises(DataError, match=message):
        ingest(tmp_path / "out", tmp_path / "cache")


@pytest.mark.parametrize("format", ["coco", "yolo"])
def test_boxes_that_would_not_be_read_are_not_written(tmp_path: Path, format: str) -> None:
    def moved(*arguments: Any) -> Any:
        aspect, values = boxes(*arguments)
        values[3, :, 0] -= arguments[2][1]
        return aspect, values

    table = random_table(np.random.default_rng(0), tmp_path / "t", (moved,), 4)
    with pytest.raises(DataError, match=r"row 3.* beside it"):
        FORMATS.create(format).write(table, tmp_path / "out")


@pytest.mark.parametrize(
    ("format", "makers"),
    [
        ("imagefolder", (label, points)),
        ("idx", (label, mask)),
        ("cifar", (label, vector)),
        ("celeba", (points,)),
        ("coco", (vector,)),
        ("coco", (label,)),
        ("coco", (mask, label)),
        ("coco", (field,)),
        ("yolo", (mask, points)),
        ("yolo", (points,)),
        ("yolo", (label,)),
        ("yolo", (vector, points)),
        ("csv", (label,)),
        ("csv", (mask, points)),
        ("mask-folders", (points,)),
        ("mask-folders", (mask, label)),
    ],
)
def test_what_a_format_cannot_hold_is_refused(tmp_path: Path, format: str, makers) -> None:
    table = random_table(np.random.default_rng(0), tmp_path / "t", makers, 4)
    with pytest.raises(DataError, match="manifest"):
        FORMATS.create(format).write(table, tmp_path / "out")
    assert not (tmp_path / "out").exists()

"""A written mint reads back pixel by pixel, appears whole or not at all,
and is never overwritten."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.core.errors import DataError, UsageError
from augmint.data.ingest import ingest
from augmint.minting.curation import CurationConfig, Minted, mint, mint_parts
from augmint.minting.naming import folder_name, folder_names, original_name
from augmint.minting.writer import read_summary, write_minted, write_parts

AWKWARD = ("../up", "Straße", "strasse/")
PROVENANCE = {"generator": "ab" * 32, "parents": {"data": "cd"}, "augmint": "test"}


@pytest.fixture
def minted(schema: Any, truthful: Any, brightness: Any) -> Minted:
    quotas = {0: 4, 1: 3, 2: 1}
    return mint(truthful(3, wrong=4), brightness(3), schema, quotas, CurationConfig(), 7, False)


@pytest.mark.parametrize("classes", [("ant", "bee", "cat"), AWKWARD, ("a", "A", "")])
def test_what_is_written_reads_back(
    tmp_path: Path, minted: Minted, classes: tuple[str, ...]
) -> None:
    schema = Schema((Category("label", classes),))
    folder = write_minted(minted, tmp_path / "mint", schema, PROVENANCE)
    lines = [json.loads(t) for t in (folder / "metadata.jsonl").read_text("utf-8").splitlines()]
    assert len(lines) == len(minted)
    for row, line in enumerate(lines):
        path = folder / line["file_name"]
        assert path.resolve().is_relative_to(folder.resolve())
        with Image.open(path) as picture:
            assert np.array_equal(np.asarray(picture)[None], minted.images[row])
        assert line["label"] == classes[minted.values["label"][row]]
        assert (line["origin"], line["seed"]) == ("minted", 7)
        assert line["id"] == minted.ids[row]
        assert line["generator"] == "ab" * 32
        assert line["scores"]["probability"] == 0.9
    assert lines[-1]["scores"]["nearest"] is None, "the only one of its class has no other"
    summary = read_summary(folder)
    assert summary["parents"] == {"data": "cd"}
    assert summary["accepted"] == 8
    assert summary["drawn"] == 8 + sum(summary["rejected"].values())
    assert Schema.from_plain(summary["schema"]) == schema


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_channel_count_is_kept(
    tmp_path: Path, minted: Minted, schema: Any, channels: int
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, channels, 5, 6)).astype(np.uint8)
    folder = write_minted(
        Minted(pixels, minted.values, minted.ids, minted.seeds, {}, minted.counts, minted.curation),
        tmp_path / "mint",
        schema,
        PROVENANCE,
    )
    line = json.loads((folder / "metadata.jsonl").read_text().splitlines()[0])
    with Image.open(folder / line["file_name"]) as picture:
        back = np.asarray(picture).reshape(5, 6, channels).transpose(2, 0, 1)
    assert np.array_equal(back, pixels[0])


def test_the_same_mint_is_not_done_twice(tmp_path: Path, minted: Minted, schema: Any) -> None:
    folder = write_minted(minted, tmp_path / "mint", schema, PROVENANCE)
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}
    assert write_minted(minted, folder, schema, PROVENANCE) == folder
    assert before == {
        p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()
    }
    assert [p.name for p in tmp_path.iterdir()] == ["mint"], "no temporary folder is left"
    other = write_minted(minted, tmp_path / "again", schema, PROVENANCE)
    assert {p.name: c for p, (_, c) in before.items()} == {
        p.name: p.read_bytes() for p in other.rglob("*") if p.is_file()
    }


def test_anything_else_there_is_refused(tmp_path: Path, minted: Minted, schema: Any) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="other files"):
        write_minted(minted, tmp_path / "notes", schema, PROVENANCE)
    assert (tmp_path / "notes" / "mine.txt").read_text() == "keep"
    folder = write_minted(minted, tmp_path / "mint", schema, PROVENANCE)
    with pytest.raises(UsageError, match="other minted images"):
        write_minted(minted, folder, schema, {"generator": "other"})
    with pytest.raises(UsageError, match="other files"):
        write_minted(minted, tmp_path / "notes" / "mine.txt", schema, PROVENANCE)
    with pytest.raises(UsageError, match="can be written"):
        write_minted(minted, tmp_path / "notes" / "mine.txt" / "deep", schema, PROVENANCE)
    (tmp_path / "empty").mkdir()
    write_minted(minted, tmp_path / "empty", schema, PROVENANCE)


def test_a_damaged_mint_is_seen(tmp_path: Path, minted: Minted, schema: Any) -> None:
    folder = write_minted(minted, tmp_path / "mint", schema, PROVENANCE)
    next(folder.glob("ant/*.png")).unlink()
    with pytest.raises(DataError, match="every minted image"):
        read_summary(folder)
    with pytest.raises(UsageError, match="other files"):
        write_minted(minted, folder, schema, PROVENANCE)
    manifest = folder / "metadata.jsonl"
    manifest.write_text(manifest.read_text().replace("ant", "bee"))
    with pytest.raises(DataError, match="as it was written"):
        read_summary(folder)


def test_large_classes_get_folders_and_read_back(
    tmp_path: Path, truthful: Any, brightness: Any, schema: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    quotas = {0: 25, 1: 3}
    config = CurationConfig(duplicate_distance=0.0)
    asked = (truthful(3), brightness(3), schema, quotas, config, 7, False)
    monkeypatch.setattr("augmint.minting.writer.FOLDER", 10)
    one = write_minted(mint(*asked), tmp_path / "one", schema, PROVENANCE)
    found = {d.relative_to(one).as_posix(): len(list(d.glob("*.png"))) for d in one.rglob("*/")}
    assert {k: n for k, n in found.items() if n} == {
        "ant": 10,
        "ant/001": 10,
        "ant/002": 5,
        "bee": 3,
    }
    table = ingest(str(one), tmp_path / "tables", workers=1)
    assert np.bincount(table.labels()).tolist() == [25, 3]
    assert len(table.origins["minted"]) == 28
    monkeypatch.setattr("augmint.minting.curation.TOGETHER", 9)
    two = write_parts(mint_parts(*asked), tmp_path / "two", schema, PROVENANCE)
    summaries = [read_summary(f) for f in (one, two)]
    assert summaries[0]["digest"] == summaries[1]["digest"]
    assert summaries[0]["classes"] == summaries[1]["classes"]
    assert write_parts(mint_parts(*asked), one, schema, PROVENANCE) == one
    paths = [sorted(p.relative_to(f) for p in f.rglob("*.png")) for f in (one, two)]
    assert paths[0] == paths[1]


def test_a_folder_in_use_is_refused_before_minting(tmp_path: Path, schema: Any) -> None:
    def never() -> Iterator[Minted]:
        raise AssertionError("minted all the same")
        yield

    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="other files"):
        write_parts(never(), tmp_path, schema, PROVENANCE)


def test_a_failure_leaves_nothing(
    tmp_path: Path, minted: Minted, schema: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(image: np.ndarray, texts: object) -> bytes:
        raise OSError("disk full")

    monkeypatch.setattr("augmint.minting.writer.stored_png", broken)
    with pytest.raises(UsageError, match="disk full"):
        write_minted(minted, tmp_path / "mint", schema, PROVENANCE)
    assert list(tmp_path.iterdir()) == []


@given(st.text(max_size=60))
def test_any_class_name_comes_back_from_its_folder(name: str) -> None:
    folder = folder_name(name)
    assert folder
    assert folder.isascii()
    assert not set(folder) & set('/\\:*?"<>|\0\n')
    assert folder not in (".", "..")
    assert folder[0] not in ". "
    assert folder[-1] not in ". "
    assert len(folder) <= 120
    if "%~" not in folder:
        assert original_name(folder) == name


@given(st.lists(st.text(alphabet="aAbB%/.é", max_size=3), unique=True, max_size=12))
def test_folders_differ_even_without_case(names: list[str]) -> None:
    folders = folder_names(names)
    assert len({f.lower() for f in folders}) == len(names)
    for name, folder in zip(names, folders, strict=True):
        assert original_name(folder) in (name, None)


@pytest.mark.parametrize("name", ["CON", "nul.txt", "lpt1", " x", "x.", "..", "a" * 500])
def test_names_that_systems_reserve_are_escaped(name: str) -> None:
    assert folder_name(name) != name

"""kill -9 in the middle of every kind of write: nothing half written is read, and again works."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stage_functions as functions
import torch
from killing import survive
from PIL import Image

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.core import runs
from augmint.core.errors import DataError
from augmint.core.streams import scope
from augmint.data.ingest import ingest
from augmint.data.table import Table
from augmint.minting.bundle import Bundle
from augmint.minting.curation import CurationConfig, Minted
from augmint.minting.writer import read_summary, write_minted
from augmint.studies import stages
from augmint.studies.gallery import anew
from augmint.studies.report import render
from augmint.studies.runner import run_stages
from augmint.studies.stages import Stage, execute, job, load
from augmint.training.config import GanConfig
from augmint.training.gan import build_generator

SCHEMA = Schema((Category("label", ("ant", "bee")),))


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGMINT_QUIET", "1")
    monkeypatch.setattr(stages, "code_digest", lambda: "pinned")


@pytest.fixture
def place(tmp_path: Path) -> Any:
    def make(at: int) -> Path:
        folder = tmp_path / f"{at:03d}"
        folder.mkdir()
        return folder

    return make


def visible(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


# single files -------------------------------------------------------------------------------------


def test_a_file(place: Any) -> None:
    def begin(at: int) -> Path:
        runs.write_atomic((path := place(at) / "a.txt"), "old")
        return path

    def finish(path: Path) -> None:
        runs.write_atomic(path, "new" * 1000)
        runs.sweep(path.parent)
        assert visible(path.parent) == ["a.txt"]
        assert path.read_text() == "new" * 1000

    def check(path: Path) -> None:
        assert path.read_text() in ("old", "new" * 1000)

    kills = survive(4, begin, lambda p: runs.write_atomic(p, "new" * 1000), check, finish)
    assert kills <= 10


def test_tensors(place: Any) -> None:
    old, new = {"a": torch.zeros(200)}, {"a": torch.ones(200)}

    def begin(at: int) -> Path:
        runs.save_tensors((path := place(at) / "t.safetensors"), old)
        return path

    def check(path: Path) -> None:
        assert float(runs.load_tensors(path)[0]["a"].std()) == 0.0

    def finish(path: Path) -> None:
        runs.save_tensors(path, new)
        assert runs.load_tensors(path)[0]["a"].equal(new["a"])

    survive(4, begin, lambda p: runs.save_tensors(p, new), check, finish)


def test_checkpoints(place: Any) -> None:
    def save(folder: Path, step: int) -> None:
        runs.save_checkpoint(folder, step, {"a": torch.full((50,), float(step))}, {"s": step})

    def begin(at: int) -> Path:
        folder = place(at)
        for step in (10, 20):
            save(folder, step)
        return folder

    def newest(folder: Path) -> int:
        told: list[str] = []
        found = runs.load_checkpoint(folder, told.append)
        assert found is not None
        assert told == [], "no checkpoint is damaged"
        assert float(found.tensors["a"][0]) == found.step == found.state["s"]
        return found.step

    def check(folder: Path) -> None:
        assert newest(folder) in (20, 30)

    def finish(folder: Path) -> None:
        save(folder, 30)
        runs.sweep(folder)
        assert newest(folder) == 30
        assert len(visible(folder)) == 2

    survive(5, begin, lambda folder: save(folder, 30), check, finish)


def test_a_line_of_events_cut_short_costs_itself_only(tmp_path: Path) -> None:
    log = runs.EventLog(tmp_path / "looks.jsonl")
    log.write("opened", seeds=[0, 1])
    whole = log.path.read_bytes()
    for cut in range(len(whole)):
        log.path.write_bytes(whole + whole[:cut])
        log.write("opened", seeds=[2, 3])
        found = [e["seeds"] for e in runs.EventLog.read(log.path)]
        # all but its line break may have been written: then it is whole
        assert found == [[0, 1], [2, 3]] or (cut == len(whole) - 1 and len(found) == 3)


# folders ------------------------------------------------------------------------------------------


def test_a_stage(place: Any, tmp_path: Path) -> None:
    config = {"calls": str(tmp_path / "calls"), "steps": 2, "seed": 1, "pause": 0.0}
    first = Stage("number", functions.number, {"n": 3, "calls": config["calls"]})
    slow = Stage("steps", functions.steps, config, (first,))

    def begin(at: int) -> Path:
        root = place(at)
        execute(job(first, root))
        return root

    def check(root: Path) -> None:
        found = load(slow, root)
        assert found is None or found.value == {"value": (1 * 31 + 1) * 31 + 1}

    def finish(root: Path) -> None:
        found = run_stages([slow], root)
        assert found["steps"].value == {"value": (1 * 31 + 1) * 31 + 1}
        names = {Path(n).name for n in visible(root)}
        assert names <= {"result.json", "number.txt"}
        assert len(visible(root)) == 3

    survive(10, begin, lambda root: execute(job(slow, root)), check, finish)


def test_a_table(place: Any, tmp_path: Path) -> None:
    source = tmp_path / "source"
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 6)).astype(np.uint8)
    for i, image in enumerate(pixels):
        path = source / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    known = ingest(source, tmp_path / "known").digest

    def check(root: Path) -> None:
        for found in (root / "tables").glob("table-*"):
            table = Table.open(found)
            table.verify()
            assert table.digest == known

    def finish(root: Path) -> None:
        runs.sweep(root, root / "tables")
        assert ingest(source, root / "tables").digest == known
        assert len(list((root / "tables").iterdir())) == 1

    survive(10, place, lambda root: ingest(source, root / "tables"), check, finish)


def mint(level: int) -> Minted:
    images = np.full((3, 1, 6, 6), level, np.uint8)
    rest: dict[str, Any] = {"scores": {}, "counts": (), "curation": {}}
    return Minted(
        images, {"label": np.array([0, 0, 1])}, np.arange(3), np.zeros(3, np.int64), **rest
    )


def test_minted_images(place: Any) -> None:
    made = mint(7)

    def check(root: Path) -> None:
        if (root / "minted").exists():
            read_summary(root / "minted")

    def finish(root: Path) -> None:
        write_minted(made, root / "minted", SCHEMA, {})
        read_summary(root / "minted")
        assert os.listdir(root) == ["minted"], "what a kill left is gone"

    def action(root: Path) -> None:
        write_minted(made, root / "minted", SCHEMA, {})

    survive(8, place, action, check, finish)


def bundle(seed: int) -> Bundle:
    gan = GanConfig(generator={"name": "dcgan-generator", "channels": 4}, latent_dim=4, steps=1)
    with scope(seed, "test.bundle"):
        generator = build_generator(gan, SCHEMA, (1, 8, 8))
    return Bundle(
        generator=generator.eval(),
        gan=gan,
        schema=SCHEMA,
        shape=(1, 8, 8),
        judge=None,
        features=None,
        copy_distance=None,
        curation=CurationConfig(threshold=0.0, agreement=False, duplicate_distance=0.0),
        missing={"judge": "none", "features": "none"},
        provenance={},
    )


def test_a_bundle_in_place_of_an_earlier_one(place: Any) -> None:
    old, new = bundle(1), bundle(2)

    def begin(at: int) -> Path:
        old.save((root := place(at)) / "bundle")
        return root

    def check(root: Path) -> None:
        with contextlib.suppress(DataError):  # gone, or going: refused, never half of it
            assert Bundle.open(root / "bundle").digest in (old.digest, new.digest)

    def finish(root: Path) -> None:
        anew(root / "bundle", new.save)
        assert Bundle.open(root / "bundle").digest == new.digest
        assert os.listdir(root) == ["bundle"]

    survive(8, begin, lambda root: anew(root / "bundle", new.save), check, finish)


def test_a_report(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    page = "<html>" + "{0} " * 500 + "</html>"  # drawing it takes seconds, and writes nothing
    monkeypatch.setattr(render, "render", lambda report, _: page.format(report["title"]))

    def begin(at: int) -> Path:
        render.write_report((root := place(at)), {"title": "old"}, {})
        return root

    def check(root: Path) -> None:
        assert runs.read_json(root / "report.json")["title"] in ("old", "new")
        assert (root / "report.html").read_text() in (page.format("old"), page.format("new"))

    def finish(root: Path) -> None:
        render.write_report(root, {"title": "new"}, {})
        runs.sweep(root)
        assert runs.read_json(root / "report.json")["title"] == "new"
        assert (root / "report.html").read_text() == page.format("new")
        assert visible(root) == ["report.html", "report.json"]

    def action(root: Path) -> None:
        render.write_report(root, {"title": "new"}, {})

    survive(8, begin, action, check, finish)

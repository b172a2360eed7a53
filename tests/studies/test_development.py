"""A study scored on held-back training images: the test set stays closed, and it says so."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import augmint
from augmint.core.runs import EventLog
from augmint.data.check import grouping
from augmint.data.ingest import ingest
from augmint.data.table import Table
from augmint.studies.graph import Plan
from augmint.studies.rows import PILOT, SplitConfig, draw
from augmint.studies.stages import read_result
from augmint.studies.study import ProveOptions, resolve

ALL = (0, 1, 2, PILOT, PILOT + 1)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return ingest("digits", tmp_path_factory.mktemp("tables"), workers=1)


def rows_of(table: Table, index: int, per_class: int | None, scored_on: Any, seed: int = 3) -> Any:
    return draw(table, SplitConfig(seed, index, per_class, 0.5, 0.15, (), scored_on))


@pytest.mark.parametrize("per_class", [10, None])
def test_the_scored_sample_is_fixed_and_apart(digits: Table, per_class: int | None) -> None:
    tested = rows_of(digits, 0, per_class, "test").test
    held = [rows_of(digits, i, per_class, "held-back") for i in ALL]
    scored = held[0].test
    assert not np.intersect1d(scored, tested).size, "no test image scores"
    counts = np.bincount(digits.labels()[scored])
    assert counts.min() > 0.5 * counts.max(), "stratified"
    for rows in held:
        assert np.array_equal(rows.test, scored), "the same for all repetitions"
        parts = [rows.train, rows.held_out, rows.pool, scored, tested]
        for a, b in itertools.combinations(parts, 2):
            assert not np.intersect1d(a, b).size
        assert sum(map(len, parts)) == len(digits), "everything but the test set has a place"
    assert not np.array_equal(rows_of(digits, 0, per_class, "held-back", 4).test, scored)


def test_one_subject_stays_on_one_side(digits: Table) -> None:
    from dataclasses import replace

    grouped = replace(digits, groups=np.arange(len(digits)) // 6)
    rows = rows_of(grouped, 0, 10, "held-back")
    groups = grouping(grouped)
    others = np.concatenate([rows.train, rows.held_out, rows.pool])
    assert not np.intersect1d(groups[rows.test], groups[others]).size


def test_a_set_with_a_test_part_keeps_it_closed(digits: Table) -> None:
    from dataclasses import replace

    order = np.random.default_rng(0).permutation(len(digits))
    parts = {"train": np.sort(order[400:]), "test": np.sort(order[:400])}
    rows = rows_of(replace(digits, parts=parts), 0, 10, "held-back")
    every = np.concatenate([rows.train, rows.held_out, rows.pool, rows.test])
    assert np.array_equal(np.sort(every), parts["train"])
    assert len(rows.test) == pytest.approx(0.25 * len(parts["train"]), abs=1)


def test_the_study_says_that_the_test_set_stayed_closed(
    tmp_path: Path, tiny_settings: Callable[[], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUGMINT_QUIET", "1")
    settings = {**tiny_settings(), "scored_on": "held-back", "policy.candidates": ["none"]}
    settings["arms"] = ["classic", "minted"]
    report = augmint.prove("digits", tmp_path / "s", seeds=2, workers=1, settings=settings)
    n = report["data"]["scored"]
    assert (
        f"on {n} held-back training images of digits (the test set was not opened)"
        in (report["sentence"])
    )
    assert report["data"]["test"] == 0
    assert report["test_openings"] == []
    (note,) = EventLog.read(tmp_path / "s" / "looks.jsonl")
    assert note["kind"] == "closed"
    page = (tmp_path / "s" / "report.html").read_text()
    assert "The test set was not opened." in page
    assert "on held-back training images; the bar" in page
    (table,) = (tmp_path / "s" / "stages" / "tables").iterdir()
    config = resolve("digits", ProveOptions(seeds=2, settings=settings))
    rows = draw(Table.open(table), Plan.of(config, Table.open(table), (), "cpu").split_config(0))
    (folder,) = (tmp_path / "s" / "stages").glob("arm-classic-0-*")
    labels = Table.open(table).labels()[rows.test]
    counts = read_result(folder).value["counts"]
    assert counts == np.bincount(labels, minlength=10).tolist()


def test_the_command_line_says_it_too() -> None:
    said = resolve("digits", ProveOptions(scored_on="held-back"))
    assert said.scored_on == "held-back"
    assert said == resolve("digits", ProveOptions(settings=["scored_on=held-back"]))
    with pytest.raises(augmint.core.errors.UsageError, match="scored_on"):
        resolve("digits", ProveOptions(scored_on="tets"))

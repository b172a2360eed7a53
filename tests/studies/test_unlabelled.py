"""Images in which nothing is labelled neither stop a study nor count as right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_annotated import TINY, lenient

import augmint
from augmint.aspects.base import Schema
from augmint.core.errors import DataError
from augmint.core.registry import FORMATS
from augmint.data.ingest import ingest
from augmint.data.table import Table
from augmint.studies import rows as parts
from augmint.studies.graph import Plan
from augmint.studies.judging import claims_score, told
from augmint.studies.pipeline import fitted_to
from augmint.studies.rows import Rows, draw
from augmint.studies.steps import bounded
from augmint.studies.study import ProveOptions, resolve
from augmint.tasks.config import TaskConfig
from augmint.tasks.rows import RealRows

GONE = 9
"""Every so many rows have no point labelled."""


@pytest.fixture(scope="module")
def partly(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Table]:
    """A folder of faces of which some have no point labelled, and its table."""
    root = tmp_path_factory.mktemp("partly")
    whole = ingest("{name: toy-faces, images: 180}", root / "first", size=(24, 32))
    points = np.array(whole.values["landmarks"])
    points[::GONE] = 0
    schema = Schema((whole.schema["landmarks"],))
    less = replace(whole, schema=schema, values={"landmarks": points})
    FORMATS.create("manifest").write(less, root / "data")
    return root / "data", ingest(root / "data", root / "second")


def blank(table: Table) -> np.ndarray:
    return np.flatnonzero(~(np.asarray(table.values["landmarks"])[..., 2] > 0).any(1))


@pytest.mark.parametrize("per_class", [None, 20])
@pytest.mark.parametrize("scored_on", ["test", "held-back"])
def test_no_part_holds_an_unlabelled_image_and_the_draw_of_others_stays(
    partly: tuple[Path, Table], per_class: int | None, scored_on: str
) -> None:
    data, table = partly
    options = ProveOptions(task="landmarks", per_class=per_class, scored_on=scored_on)
    config = fitted_to(resolve(str(data), options), table)
    split = Plan.of(config, table, (), "cpu").split_config(0)
    assert split.unlabelled == tuple(blank(table).tolist())
    assert len(split.unlabelled) == 180 // GONE
    rows = draw(table, split)
    for name in ("train", "held_out", "pool", "test"):
        assert not np.isin(getattr(rows, name), blank(table)).any()
    if scored_on == "test":
        before = parts.test_rows(table, replace(split, unlabelled=()))[1]
        assert rows.test.tolist() == np.setdiff1d(before, blank(table)).tolist()


def test_of_nothing_labelled_there_is_no_study(partly: tuple[Path, Table]) -> None:
    data, table = partly
    empty = replace(table, values={"landmarks": np.zeros_like(table.values["landmarks"])})
    config = fitted_to(resolve(str(data), ProveOptions(task="landmarks")), empty)
    with pytest.raises(DataError, match="something is labelled"):
        draw(empty, Plan.of(config, empty, (), "cpu").split_config(0))


def test_prove_ends_and_says_how_many_were_left_out(
    partly: tuple[Path, Table],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lenient(monkeypatch)
    settings = {
        **{k: v for k, v in TINY.items() if k != "size"},
        "task.kind": "landmarks",
        "task.network": {"name": "small-cnn", "channels": 4},
        "arms": ["classic", "minted"],
        "minted_per_class": 12,
    }
    report = augmint.prove(partly[0], tmp_path, seeds=2, workers=1, settings=settings)
    assert report["data"]["unlabelled"] == 20
    assert report["data"]["scored"] == len(
        Rows.load(next((tmp_path / "stages").glob("split-0-*")) / "rows.npz").test
    )
    assert "20 of 180 images have nothing of landmarks labelled" in capsys.readouterr().out


class Level:
    """Errs by the mean of an image; of an unlabelled one it says 0, as an aspect does."""

    config = TaskConfig(kind="landmarks", aspect="landmarks")

    def __init__(self, table: Table) -> None:
        self.aspect = table.schema["landmarks"]

    def errors(self, images: np.ndarray, values: np.ndarray) -> np.ndarray:
        there = (values[..., 2] > 0).any(1)
        return np.where(there, images.reshape(len(images), -1).mean(1), 0.0)


def test_means_and_bounds_are_over_what_is_labelled(partly: tuple[Path, Table]) -> None:
    _, table = partly
    judge: Any = Level(table)
    real = RealRows.of(table, np.arange(len(table)))
    there = np.setdiff1d(np.arange(len(table)), blank(table))
    light = np.asarray(table.images).reshape(len(table), -1).mean(1)
    assert claims_score(judge, real.images, real.values) == pytest.approx(1 - light[there].mean())
    assert bounded(judge, real, 0.2).limit == pytest.approx(np.quantile(light[there], 0.2))
    with pytest.raises(DataError, match="claim something of landmarks"):
        told(judge, real.values["landmarks"][blank(table)])

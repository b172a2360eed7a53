"""Levels x ratios and tuning: what is trained on what, and what the report says of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import augmint
from augmint.core.errors import UsageError
from augmint.core.runs import load_tensors, read_json
from augmint.data.table import Table
from augmint.minting.bundle import Bundle
from augmint.studies.checkpoints import bundle_at
from augmint.studies.graph import Graph, Plan
from augmint.studies.rows import PILOT, Rows, draw
from augmint.studies.stages import in_order, read_result
from augmint.studies.study import ProveOptions, StudyConfig, resolve
from augmint.studies.tuning import TuningConfig

TUNED = {"ratios": [0.25, 0.5], "thresholds": [0.0], "checkpoints": ["last", "best-kid"]}


def settings_of(tiny: dict[str, Any]) -> dict[str, Any]:
    more = {"policy.candidates": ["none"], "arms": ["classic", "minted", "minted-raw"]}
    more |= {"levels": [0.1, 0.5], "ratios": [0.25, 0.5], "tuning": TUNED, "per_class": 12}
    return {**tiny, **more, "generator.steps": 16}


@pytest.fixture(scope="module")
def study(
    tmp_path_factory: pytest.TempPathFactory, tiny_settings: Callable[[], dict[str, Any]]
) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("full") / "study"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUGMINT_QUIET", "1")
        settings = settings_of(tiny_settings())
        return folder, augmint.prove("digits", folder, seeds=2, workers=1, settings=settings)


def place(folder: Path, name: str) -> Path:
    (found,) = (p for p in (folder / "stages").iterdir() if p.name.rpartition("-")[0] == name)
    return found


def value_of(folder: Path, name: str) -> Any:
    return read_result(place(folder, name)).value


def rows_at(folder: Path, name: str) -> Rows:
    return Rows.load(place(folder, name) / "rows.npz")


def table_of(folder: Path) -> Table:
    (found,) = (folder / "stages" / "tables").iterdir()
    return Table.open(found)


def test_levels_have_generators_of_their_own(study: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = study
    labels = table_of(folder).labels()
    for i in range(2):
        whole, half = rows_at(folder, f"split-{i}"), rows_at(folder, f"grid-split-0.5-{i}")
        assert np.isin(half.train, whole.train).all()
        assert np.bincount(labels[half.train]).tolist() == [6] * 10
        assert np.array_equal(half.test, whole.test)
        assert np.array_equal(half.pool, whole.pool), "the rest of N is not held-back real data"
        record = read_json(place(folder, f"grid-generator-0.5-{i}") / "result.json")["stage"]
        assert record["inputs"]["split"].startswith(f"grid-split-0.5-{i}-")
        assert "6" in value_of(folder, f"grid-arm-minted-0.25-0.5-{i}")["training"]
    assert not list((folder / "stages").glob("grid-*-0.1-*")), "under 2 images a class"


def test_the_grid_follows_from_the_scores(study: tuple[Path, dict[str, Any]]) -> None:
    folder, report = study
    assert [(r["per_class"], r["ratio"]) for r in report["grid"]] == [
        (6, 0.25),
        (6, 0.5),
        (12, 0.25),
        (12, 0.5),
    ]
    chosen = report["tuning"]["chosen"]["ratio"]
    assert [r["decides"] for r in report["grid"]] == [
        r["per_class"] == 12 and r["ratio"] == chosen for r in report["grid"]
    ]
    others = []
    for row in report["grid"]:
        level = "-0.5" if row["per_class"] == 6 else ""
        minted = [
            value_of(folder, f"grid-arm-minted-{row['ratio']:g}{level}-{i}") for i in range(2)
        ]
        base = "grid-arm-classic-0.5" if level else "arm-classic"
        classic = [value_of(folder, f"{base}-{i}") for i in range(2)]
        a, b = ([v["accuracy"] for v in arm] for arm in (minted, classic))
        assert 100 * (np.mean(a) - np.mean(b)) == pytest.approx(row["mean"])
        p = stats.ttest_rel(a, b).pvalue
        assert row["p"] == pytest.approx(p if np.isfinite(p) else 1.0, abs=1e-6)
        others += [] if row["decides"] else [row]
    assert all(r["p_holm"] >= r["p"] for r in others)
    assert min(r["p_holm"] for r in others) == pytest.approx(
        min(1.0, 3 * min(r["p"] for r in others))
    )
    decided = next(r for r in report["grid"] if r["decides"])
    assert decided["mean"] == pytest.approx(report["uplift"]["mean"]), "the same training"
    assert report["equivalent"]["curve"][0]["n"] == 6


def test_tuning_sees_no_test_image_and_no_pool(study: tuple[Path, dict[str, Any]]) -> None:
    folder, report = study
    rows, whole = (rows_at(folder, n) for n in ("tuning-split-pilot0", "split-pilot0"))
    both = np.sort(np.concatenate([rows.train, rows.test]))
    assert np.array_equal(both, whole.train), "validation images come out of the N a class"
    assert not np.intersect1d(rows.train, rows.test).size
    assert len(rows.test) == report["tuning"]["validation_images"] == 30
    for path in (folder / "stages").glob("tuning-*"):
        inputs = read_json(path / "result.json")["stage"]["inputs"]
        assert inputs.get("split", "tuning-split-pilot0").startswith("tuning-split-pilot0")
    table = table_of(folder)
    for path in (folder / "stages").glob("tuning-arm-*"):
        counts = np.bincount(table.labels()[rows.test], minlength=10)
        assert read_result(path).value["counts"] == counts.tolist()


def test_the_best_on_validation_is_used(study: tuple[Path, dict[str, Any]]) -> None:
    folder, report = study
    tuning = report["tuning"]
    assert len(tuning["candidates"]) == 4
    best = max(tuning["candidates"], key=lambda row: row["mean"])
    assert tuning["chosen"] == {k: best[k] for k in ("ratio", "threshold", "checkpoint")}
    for row in tuning["candidates"]:
        name = f"tuning-arm-{row['ratio']:g}-{row['threshold']:g}-{row['checkpoint']}-pilot0"
        assert value_of(folder, name)["accuracy"] == row["mean"]
    for i in range(2):
        mint = value_of(folder, f"mint-{i}")
        assert mint["checkpoint"]["rule"] == tuning["chosen"]["checkpoint"]
        share = f"minted images in {tuning['chosen']['ratio']:.0%}"
        assert share in value_of(folder, f"arm-minted-{i}")["training"]
        assert share in value_of(folder, f"arm-minted-raw-{i}")["training"]
    page = (folder / "report.html").read_text()
    assert tuning["text"][1:] in page.replace("&#39;", "'")
    assert tuning["seconds"] > 0
    costs = {row["stage"] for row in report["cost"]}
    assert {"tuning", "grid"} <= costs


def test_the_best_checkpoint_has_the_smallest_distance(
    study: tuple[Path, dict[str, Any]],
) -> None:
    folder, report = study
    generator = place(folder, "tuning-generator-pilot0")
    mint = place(folder, "tuning-mint-0-best-kid-pilot0")
    told = read_result(mint).value["checkpoint"]
    steps = [int(p.stem.partition("-")[2]) for p in sorted(generator.glob("snapshot-*"))]
    assert steps == [4, 8, 12]
    assert sorted(map(int, told["kid"])) == [4, 8, 12, 16]
    assert told["step"] == min(map(int, told["kid"]), key=lambda s: told["kid"][str(s)])
    digests = {bundle_at(generator, step).digest for step in (4, 8, 12, 16)}
    assert len(digests) == 4
    last = Bundle.open(generator / "bundle")
    assert bundle_at(generator, 16).digest == last.digest
    state = load_tensors(generator / "snapshot-00000008.safetensors")[0]
    kept = bundle_at(generator, 8).generator.state_dict()
    assert all(torch.equal(kept[name], state[name]) for name in state)
    # what is published mints the images that were minted
    step = value_of(folder, "mint-0")["checkpoint"]["step"]
    wanted = bundle_at(place(folder, "generator-0"), step).digest
    assert Bundle.open(folder / "bundle").digest == wanted
    assert report["config_yaml"].count("best-kid") >= 1


def test_the_full_preset_has_it_all() -> None:
    config = resolve("digits", ProveOptions(preset="full"))
    assert config.tuning.active
    assert len(config.ratios) > 1
    assert len(config.levels) > 1
    trials = list(config.tuning.combinations(config.ratio, config.curation.threshold))
    assert len(trials) == len({t.label for t in trials}) == 12
    assert not TuningConfig().active
    assert not TuningConfig(ratios=(0.5,)).active, "nothing to choose from"
    with pytest.raises(UsageError, match="between 0 and 1"):
        TuningConfig(ratios=(1.5,))


def test_nothing_is_tuned_unless_asked(tmp_path: Path) -> None:
    from augmint.data.ingest import ingest

    table = ingest("digits", tmp_path, workers=1)
    config = StudyConfig("digits", per_class=10)
    plan = Plan.of(config, table, (), "cpu")
    graph = Graph.of(plan, [0, 1], 10)
    assert graph.tuning is None
    names = {stage.name for stage in in_order(graph.stages())}
    assert not any(name.startswith(("grid", "tuning")) for name in names)
    full = resolve("digits", ProveOptions(preset="full"))
    plan = Plan.of(full, table, (), "cpu")
    stages = in_order(Graph.of(plan, [0, 1], 10).stages())
    pilots = in_order(plan.pilots())
    assert not any(s.name.startswith("tuning") for s in pilots), "a dry run trains no generator"
    (tuning,) = (s for s in stages if s.name == "tuning")
    for stage in in_order([tuning]):
        assert not stage.name.endswith(("-0", "-1")), "no deciding repetition"
    assert draw(table, plan.split_config(PILOT)).train.size == 100

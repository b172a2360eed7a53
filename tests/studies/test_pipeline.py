"""One tiny study from images to verdict: what it promises, looked at from outside."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from PIL import Image
from scipy import stats

import augmint
from augmint.core.config import build, to_plain
from augmint.core.errors import DataError, UsageError
from augmint.core.machine import single_thread
from augmint.core.runs import EventLog, load_tensors, read_json, tensors_digest
from augmint.data.ingest import ingest
from augmint.data.table import Table
from augmint.minting.bundle import Bundle
from augmint.studies import steps
from augmint.studies.arms import ARMS
from augmint.studies.gallery import by_class
from augmint.studies.materials import Store, sources_of
from augmint.studies.rows import PILOT, Rows
from augmint.studies.stages import read_result
from augmint.studies.study import StudyConfig
from augmint.tasks.rows import RealRows

if TYPE_CHECKING:
    from tests.conftest import TinyStudy

VERDICTS = {"helps", "hurts", "no practical difference", "inconclusive"}
CLOCKS = ("created", "wall_seconds")


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AUGMINT_QUIET", "1")
    return


def stage(study: TinyStudy | Path, name: str) -> Path:
    """Return the committed folder of a stage."""
    folder = study if isinstance(study, Path) else study.folder
    (found,) = (p for p in (folder / "stages").iterdir() if p.name.rpartition("-")[0] == name)
    return found


def committed(folder: Path) -> dict[str, int]:
    """Return when each stage of a study was committed."""
    results = (folder / "stages").glob("*/result.json")
    return {p.parent.name: p.stat().st_mtime_ns for p in results}


def timeless(report: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in report.items() if k not in CLOCKS}


def again(study: TinyStudy, folder: Path, **changes: Any) -> dict[str, Any]:
    settings = {**study.settings, **changes.pop("settings", {})}
    asked = {"data": "digits", "seeds": 2, "workers": 1, **changes}
    return augmint.prove(out=folder, settings=settings, **asked)


def table_of(study: TinyStudy) -> Table:
    (folder,) = (study.folder / "stages" / "tables").iterdir()
    return Table.open(folder)


# the report ---------------------------------------------------------------------------------------


def test_the_report_holds_everything(tiny_study: TinyStudy) -> None:
    report = read_json(tiny_study.folder / "report.json")
    assert report == json.loads(json.dumps(tiny_study.report))
    assert report["verdict"] in VERDICTS
    assert report["sentence"].endswith(".")
    assert report["metric"] == "accuracy"
    assert (report["baseline"], report["treatment"]) == ("classic", "minted")
    assert {"mean", "low", "high", "p", "seeds", "delta"} <= set(report["uplift"])
    assert report["uplift"]["seeds"] == 2
    assert report["uplift"]["low"] <= report["uplift"]["mean"] <= report["uplift"]["high"]
    assert list(report["arms"]) == ["classic", "minted", "shuffled", "more-real"]
    for arm in report["arms"].values():
        assert len(arm["scores"]) == 2
        assert arm["mean"] == pytest.approx(np.mean(arm["scores"]))
        assert arm["sd"] == pytest.approx(np.std(arm["scores"], ddof=1))
        assert all(0 <= s <= 100 for s in arm["scores"])
    assert [row["class"] for row in report["per_class"]] == [str(c) for c in range(10)]
    assert {"assessed", "images", "low", "high"} <= set(report["equivalent"])
    assert len(report["distribution"]) >= 6
    for row in report["distribution"]:
        assert {"metric", "n", "split", "features", "digest"} <= set(row["protocol"])
        assert (row["floor"] is None) == (row["value"] is None) == (row["refused"] is not None)
    assert {"recall", "flagged", "assessed"} <= set(report["copying"])
    assert report["copying"]["assessed"] == (report["copying"]["recall"] >= 0.95)
    assert report["power"]["mde"] >= 0
    assert report["seconds"] > 0
    assert report["images_shown"] >= 2 * 30 * 16 + 8 * 15 * 32


def test_the_page_shows_the_same_numbers(tiny_study: TinyStudy) -> None:
    report, page = tiny_study.report, (tiny_study.folder / "report.html").read_text()
    assert "http://" not in page
    assert "https://" not in page
    exact = set(re.findall(r'<data value="([^"]*)">', page))
    minus = re.sub(r"</?data[^>]*>", "", page)
    minus = minus.replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", " ")
    for key in ("mean", "low", "high", "p", "delta"):
        assert json.dumps(report["uplift"][key]) in exact, key
    assert report["sentence"] in minus
    for arm in report["arms"].values():
        assert f"{arm['mean']:.2f}" in minus
        assert f"{arm['sd']:.2f}" in minus
    assert f"{report['uplift']['mean']:+.2f}" in minus
    assert f"{report['uplift']['low']:+.2f} to {report['uplift']['high']:+.2f}" in minus
    for row in report["per_class"]:
        for key in ("baseline", "treatment", "difference", "low", "high"):
            assert json.dumps(row[key]) in exact, (row["class"], key)
    assert f"{report['power']['mde']:.2f}" in minus
    seed = report["distribution"][0]["protocol"]["seed"]
    assert str(seed) in minus, "whole numbers keep their digits"
    assert f"{seed:,}".replace(",", " ") not in minus


def test_the_verdict_follows_from_the_scores(tiny_study: TinyStudy) -> None:
    report = tiny_study.report
    minted, classic = (np.array(report["arms"][a]["scores"]) for a in ("minted", "classic"))
    test = stats.ttest_rel(minted, classic)
    interval = test.confidence_interval(0.95)
    uplift = report["uplift"]
    assert uplift["mean"] == pytest.approx((minted - classic).mean())
    assert uplift["p"] == pytest.approx(test.pvalue)
    assert (uplift["low"], uplift["high"]) == pytest.approx((interval.low, interval.high))
    accuracy = classic / 100
    error = 100 * np.sqrt((accuracy * (1 - accuracy)).mean() / report["data"]["test"])
    assert uplift["delta"] == pytest.approx(max(0.5, error))
    wanted = "inconclusive"
    if interval.low > 0:
        wanted = "helps"
    elif interval.high < 0:
        wanted = "hurts"
    elif max(-interval.low, interval.high) <= uplift["delta"]:
        wanted = "no practical difference"
    assert report["verdict"] == wanted
    assert f"{uplift['mean']:+.1f} points" in report["sentence"]


def test_scores_are_those_of_the_kept_predictions(tiny_study: TinyStudy) -> None:
    for name, arm in tiny_study.report["arms"].items():
        for i, score in enumerate(arm["scores"]):
            correct = np.load(stage(tiny_study, f"arm-{name}-{i}") / "per_image.npy")
            assert len(correct) == tiny_study.report["data"]["test"]
            assert 100 * correct.mean() == pytest.approx(score)


def test_the_configuration_round_trips(tiny_study: TinyStudy, tmp_path: Path) -> None:
    text = (tiny_study.folder / "config.yaml").read_text()
    config = build(StudyConfig, yaml.safe_load(text), "study")
    assert config.task.steps == 15
    assert config.curation.threshold == 0
    assert yaml.safe_load(text) == json.loads(json.dumps(to_plain(config)))
    assert tiny_study.report["config_yaml"] == text


# rows and the firewall ----------------------------------------------------------------------------


def test_rows_are_disjoint_and_the_test_rows_fixed(tiny_study: TinyStudy) -> None:
    table, tests, trains = table_of(tiny_study), [], []
    for name in ("0", "1", "pilot0", "pilot1"):
        rows = Rows.load(stage(tiny_study, f"split-{name}") / "rows.npz")
        parts = [rows.train, rows.held_out, rows.pool, rows.test]
        for a, b in itertools.combinations(parts, 2):
            assert not np.intersect1d(a, b).size
        assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(table)))
        assert np.bincount(table.labels()[rows.train]).tolist() == [10] * 10
        tests.append(rows.test)
        trains.append(rows.train.tolist())
    assert all(np.array_equal(t, tests[0]) for t in tests)
    assert len(set(map(tuple, trains))) == 4, "each repetition draws its own images"


@pytest.fixture(scope="module")
def poisoned(
    tiny_study: TinyStudy, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Return a table like the study's, where some parts of a repetition show nothing."""
    table = table_of(tiny_study)
    rows = Rows.load(stage(tiny_study, "split-0") / "rows.npz")

    def make(*parts: str) -> Path:
        images = np.array(table.images)
        for part in parts:
            images[getattr(rows, part)] = 255
        folder = tmp_path_factory.mktemp("poisoned") / "table"
        shutil.copytree(table.folder, folder)
        np.save(folder / "images.npy", images)
        assert np.array_equal(Table.open(folder).images, images)
        return folder

    return make


def rerun(study: TinyStudy, name: str, config: type, place: Path, table: Path) -> tuple[Any, Path]:
    """Call a stage's function again, with another table; return its value and its folder."""
    record = read_json(stage(study, name) / "result.json")["stage"]
    function = getattr(steps, record["function"].rpartition(".")[2])
    inputs = {role: study.folder / "stages" / f for role, f in record["inputs"].items()}
    folder, work = place / "folder", place / "work"
    folder.mkdir(parents=True)
    work.mkdir()
    built = build(config, record["config"], "stage")
    with single_thread():  # as the runner does: bits depend on the number of threads
        return function(built, {**inputs, "table": table}, folder, work), folder


def test_the_generator_sees_training_images_only(
    tiny_study: TinyStudy, poisoned: Callable[..., Path], tmp_path: Path
) -> None:
    table = poisoned("test", "pool", "held_out")
    value, _ = rerun(tiny_study, "generator-0", steps.GeneratorConfig, tmp_path / "a", table)
    known = read_result(stage(tiny_study, "generator-0")).value
    assert value["digest"] == known["digest"]
    other, _ = rerun(
        tiny_study, "generator-0", steps.GeneratorConfig, tmp_path / "b", poisoned("train")
    )
    assert other["digest"] != known["digest"], "the poison works"


def test_judges_and_copies_never_see_test_images(
    tiny_study: TinyStudy, poisoned: Callable[..., Path], tmp_path: Path
) -> None:
    table = poisoned("test")
    value, folder = rerun(tiny_study, "mint-0", steps.MintConfig, tmp_path / "m", table)
    known = stage(tiny_study, "mint-0")
    assert json.loads(json.dumps(to_plain(value))) == read_result(known).value
    judges = [load_tensors(f / "judge.safetensors")[0] for f in (folder, known)]
    judges = [tensors_digest(tensors) for tensors in judges]
    assert judges[0] == judges[1]
    told, _ = rerun(tiny_study, "diagnosis-0", steps.DiagnosisConfig, tmp_path / "d", table)
    known_told = read_result(stage(tiny_study, "diagnosis-0")).value
    assert json.loads(json.dumps(to_plain(told))) == known_told


def test_pilots_and_policies_never_see_test_images(
    tiny_study: TinyStudy, poisoned: Callable[..., Path], tmp_path: Path
) -> None:
    table = poisoned("test")  # the test rows of pilots are those of every repetition
    for name, config in (
        ("pilot-0", steps.ArmConfig),
        ("policy-shift-pilot0", steps.PolicyConfig),
    ):
        value, _ = rerun(tiny_study, name, config, tmp_path / name, table)
        known = read_result(stage(tiny_study, name)).value
        scores = [v["difference"] if "difference" in v else v["scores"] for v in (value, known)]
        assert scores[0] == scores[1]


def test_what_is_not_real_says_so(tiny_study: TinyStudy) -> None:
    table = table_of(tiny_study)
    rows = Rows.load(stage(tiny_study, "split-0") / "rows.npz")
    store = Store(table, rows, stage(tiny_study, "mint-0"), 1)
    for name, origins in (
        ("classic", ["real"]),
        ("minted", ["real", "minted"]),
        ("shuffled", ["real", "minted"]),
        ("minted-only", ["minted"]),
        ("copies", ["real", "minted"]),
        ("more-real", ["real", "real"]),
    ):
        sources = sources_of(ARMS[name], store, 0.25)
        assert [s.origin for s in sources] == origins, name
        assert sum(s.share for s in sources) == pytest.approx(1)
        for source in sources:
            if source.origin == "real":
                assert not np.intersect1d(source.ids, rows.test).size
    minted, shuffled = (sources_of(ARMS[a], store, 0.25)[1] for a in ("minted", "shuffled"))
    assert np.array_equal(minted.images, shuffled.images)
    labels = minted.values["label"], shuffled.values["label"]
    assert np.array_equal(np.sort(labels[0]), np.sort(labels[1]))
    assert (labels[0] != labels[1]).mean() > 0.5


# what is left behind ------------------------------------------------------------------------------


def test_minted_images_are_data_that_cannot_be_scored(
    tiny_study: TinyStudy, tmp_path: Path
) -> None:
    table = ingest(str(tiny_study.folder / "minted"), tmp_path)
    assert len(table) == 80
    assert set(table.origins) == {"minted"}
    assert len(table.origins["minted"]) == len(table)
    assert table.classes() == tuple(str(c) for c in range(10))
    with pytest.raises(UsageError, match="real images only"):
        RealRows.of(table, [0, 1])
    summary = read_json(tiny_study.folder / "minted" / "minted.json")
    mint = read_result(stage(tiny_study, "mint-0")).value["curation"]
    assert summary["accepted"] == mint["accepted"] == len(table)
    assert summary["requested"] == mint["requested"]
    assert summary["drawn"] == mint["drawn"]
    assert summary["curation"]["threshold"] == 0


def test_minted_images_are_no_data_for_a_study(tiny_study: TinyStudy, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="real images"):
        again(tiny_study, tmp_path / "o", data=str(tiny_study.folder / "minted"))
    assert not list((tmp_path / "o" / "stages").glob("policy*")), "no policy is chosen on them"


def test_the_bundle_mints_the_same_images_without_the_data(
    tiny_study: TinyStudy, tmp_path: Path
) -> None:
    import torch

    shutil.copytree(tiny_study.folder / "bundle", tmp_path / "bundle")
    bundle = Bundle.open(tmp_path / "bundle")
    sampler = bundle.sampler()
    lines = (tiny_study.folder / "minted" / "metadata.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    (seed,) = {row["seed"] for row in rows}
    ids = np.array([row["id"] for row in rows])
    labels = torch.tensor([int(row["label"]) for row in rows])
    images = sampler.sample({"label": labels}, ids, seed)
    for row, image in zip(rows, images, strict=True):
        with Image.open(tiny_study.folder / "minted" / row["file_name"]) as picture:
            assert np.array_equal(np.asarray(picture), image[0])
    few = sampler.sample({"label": labels[5:8]}, ids[5:8], seed)
    assert np.array_equal(few, images[5:8]), "an image depends on its own id alone"
    assert (bundle.curation.threshold, bundle.curation.agreement) == (0, False)
    more = bundle.mint({"3": 9}, seed, progress=False)
    known = [row["file_name"] for row in rows if row["label"] == "3"]
    assert [f"3/{i}.png" for i in more.ids[: len(known)]] == known, "more keeps what was minted"


# the same folder again ----------------------------------------------------------------------------


def test_again_reruns_nothing_and_reports_the_same(tiny_study: TinyStudy, tmp_path: Path) -> None:
    folder = tiny_study.copy(tmp_path / "study")
    before = committed(folder)
    tables = {p: p.stat().st_mtime_ns for p in (folder / "stages" / "tables").rglob("*")}
    report = again(tiny_study, folder)
    assert committed(folder) == before
    assert {p: p.stat().st_mtime_ns for p in (folder / "stages" / "tables").rglob("*")} == tables
    said = {"command": report["command"]}  # names the folder
    assert timeless(report) == timeless(tiny_study.report) | said
    assert len(EventLog.read(folder / "looks.jsonl")) == 1


def test_what_a_kill_leaves_is_cleaned_away(tiny_study: TinyStudy, tmp_path: Path) -> None:
    folder = tiny_study.copy(tmp_path / "study")
    (folder / ".config.yaml-k1ll3d.tmp").write_text("half")
    (folder / "pictures" / ".real.png-k1ll3d.tmp").write_bytes(b"half")
    made = stage(folder, "generator-0").name
    for place in (
        f"stages/.work/{made}/checkpoints",  # killed between the commit and the cleaning
        "stages/tables/.table-0123-k1ll3d",
        "stages/tables/.decode-k1ll3d",
        ".bundle.1234.part",
        ".minted.1234.part",
    ):
        (folder / place).mkdir(parents=True)
        (folder / place / "half").write_text("half")
    before = committed(folder)
    again(tiny_study, folder)
    assert committed(folder) == before
    hidden = {p.relative_to(folder).as_posix() for p in folder.rglob(".*")}
    assert hidden <= {".lock", "stages/.work"}
    assert not list((folder / "stages" / ".work").iterdir())


def test_another_configuration_is_refused(tiny_study: TinyStudy, tmp_path: Path) -> None:
    folder = tiny_study.copy(tmp_path / "study")
    before = (folder / "config.yaml").read_bytes(), committed(folder)
    for changes, told in (
        ({"settings": {"task.steps": 16}}, "task.steps"),
        ({"settings": {"generator.latent_dim": 8}}, "generator.latent_dim"),
        ({"per_class": 12}, "per_class"),
    ):
        with pytest.raises(UsageError, match=f"one study.*{told} differ"):
            again(tiny_study, folder, **changes)
    assert (folder / "config.yaml").read_bytes() == before[0]
    assert committed(folder) == before[1]


def test_seeds_added_later_decide_alone(tiny_study: TinyStudy, tmp_path: Path) -> None:
    folder = tiny_study.copy(tmp_path / "study")
    before = committed(folder)
    with pytest.raises(UsageError, match="at least 2 are added"):
        again(tiny_study, folder, seeds=3)
    report = again(tiny_study, folder, seeds=4)
    kept = committed(folder)
    assert before.items() <= kept.items()
    assert report["uplift"]["seeds"] == 2
    assert not set(report["arms"]["minted"]["scores"]) & set(
        tiny_study.report["arms"]["minted"]["scores"]
    )
    looks = [look["seeds"] for look in EventLog.read(folder / "looks.jsonl")]
    assert looks == [[0, 1], [2, 3]]
    assert [look["seeds"] for look in report["test_openings"]] == looks
    assert any("decide on themselves alone" in w for w in report["warnings"])
    # what is shown is what decided: the third repetition's images, not the first's
    rows, table = Rows.load(stage(folder, "split-2") / "rows.npz"), table_of(tiny_study)
    shown = by_class(table.images, table.labels(), rows.train)
    assert (folder / "pictures" / "real.png").read_bytes() == shown
    assert read_json(folder / "bundle" / "bundle.json") != read_json(
        tiny_study.folder / "bundle" / "bundle.json"
    )
    third = again(tiny_study, folder, seeds=4)
    assert timeless(third) == timeless(report)
    with pytest.raises(UsageError, match="one study"):
        again(tiny_study, folder, seeds=2)


def test_a_refused_number_of_seeds_leaves_no_trace(tiny_study: TinyStudy, tmp_path: Path) -> None:
    folder = tiny_study.copy(tmp_path / "study")
    with pytest.raises(UsageError, match="at least 2 are added"):
        again(tiny_study, folder, seeds=3)
    report = again(tiny_study, folder)
    assert report["uplift"] == tiny_study.report["uplift"]


def test_arms_that_cannot_run_say_why(tiny_study: TinyStudy, tmp_path: Path) -> None:
    arms = ["classic", "minted", "smart", "translated", "more-real"]
    changes = {"arms": arms, "policy.candidates": ["none"], "per_class": None, "size": [8, 8]}
    with pytest.raises(KeyError, match="verdict"):
        _ = again_dry(tiny_study, tmp_path / "study", changes)["verdict"]
    from augmint.studies.graph import Plan
    from augmint.studies.study import ProveOptions, resolve

    config = resolve("digits", ProveOptions(settings=changes))
    plan = Plan.of(config, table_of(tiny_study), (), "cpu")
    assert plan.arms == ("classic", "minted")
    assert set(plan.left_out) == {"smart", "translated", "more-real"}
    assert all(len(reason.split()) > 3 for reason in plan.left_out.values())


def again_dry(study: TinyStudy, folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    from augmint.studies.pipeline import prove
    from augmint.studies.study import ProveOptions

    both = {**study.settings, **settings}
    report = prove("digits", folder, ProveOptions(settings=both, dry_run=True, workers=1, seeds=2))
    names = {p.name for p in (folder / "stages").iterdir()}
    assert not any(n.startswith(("generator", "mint", "arm")) for n in names)
    assert not (folder / "looks.jsonl").exists()
    assert not (folder / "report.json").exists()
    return report


def test_two_workers_give_the_same_scores(tiny_study: TinyStudy, tmp_path: Path) -> None:
    report = again(tiny_study, tmp_path / "study", workers=2)
    assert report["arms"] == tiny_study.report["arms"]
    assert report["uplift"] == tiny_study.report["uplift"]
    assert report["copying"] == tiny_study.report["copying"]
    assert report["distribution"] == tiny_study.report["distribution"]
    assert committed(tmp_path / "study").keys() == committed(tiny_study.folder).keys()
    assert PILOT > 4

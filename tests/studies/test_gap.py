"""Studies with a gap: what is labelled, what is asked for, what scores."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from tiny_annotated import TINY, lenient

import augmint
from augmint.core.errors import IncompatibleError, UsageError
from augmint.data.ingest import ingest
from augmint.data.table import Table
from augmint.studies.gap import Gap, gap_rows
from augmint.studies.materials import load_minted
from augmint.studies.pipeline import _validate, fitted_to
from augmint.studies.rows import Rows, SplitConfig, _around, draw
from augmint.studies.stages import read_result
from augmint.studies.study import ProveOptions, resolve

GAP = Gap("pose", 15.0, 45.0, "yaw")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Table:
    folder = tmp_path_factory.mktemp("tables")
    return ingest("{name: toy-faces, images: 600}", folder, size=(32, 32), workers=1)


def rows_of(table: Table, index: int, gap: Gap | None = GAP, n: int = 12) -> Rows:
    return draw(table, SplitConfig(1, index, n, 0.5, 0.15, gap=gap))


def test_labelled_images_lack_the_gap_and_nothing_is_lost(faces: Table) -> None:
    yaw = np.asarray(faces.values["pose"])[:, 0]
    inside = (yaw >= 15) & (yaw <= 45)
    rows, even = rows_of(faces, 0), rows_of(faces, 0, None)
    assert not inside[rows.train].any()
    assert np.bincount(faces.labels()[rows.train]).tolist() == [12] * 5
    assert not inside[rows.held_out].any()
    assert inside[rows.test].all()
    assert inside[rows.alike].all()
    assert np.array_equal(np.union1d(rows.test, rows.outside), even.test), "the test set stays"
    parts = [rows.train, rows.held_out, rows.pool, rows.test, rows.alike, rows.outside]
    for a, b in itertools.combinations(parts, 2):
        assert not np.intersect1d(a, b).size
    assert sum(map(len, parts)) == len(faces)
    assert inside[rows.pool].any(), "the positive control has what is lacking"
    assert not np.array_equal(rows_of(faces, 1).train, rows.train)


def test_some_of_the_gap_may_be_kept(faces: Table) -> None:
    kept, none = rows_of(faces, 0, Gap("pose", 15.0, 45.0, "yaw", keep=7)), rows_of(faces, 0)
    more = np.setdiff1d(kept.train, none.train)
    assert len(more) == 7
    assert np.isin(none.train, kept.train).all()
    assert GAP.inside(faces)[more].all()


def test_a_gap_without_images_is_refused(faces: Table) -> None:
    with pytest.raises(UsageError, match="images that score"):
        rows_of(faces, 0, Gap("pose", 44.9, 45.0, "yaw"))
    with pytest.raises(UsageError, match="images that score"):
        rows_of(faces, 0, Gap("pose", 15.0, 45.0, "yaw", keep=10_000))


def test_a_gap_leaves_images_of_every_class_and_of_the_test_set(faces: Table) -> None:
    with pytest.raises(UsageError, match="every class outside it; got none of neutral, happy"):
        rows_of(faces, 0, Gap("pose", -45.0, 45.0, "yaw"))
    rows = rows_of(faces, 0)
    inside = np.ones(len(faces), bool)
    with pytest.raises(UsageError, match="test images outside"):
        _around(rows, GAP, inside, rows.pool, 0)


def test_requests_fill_the_range_and_leave_the_rest(faces: Table) -> None:
    bank = {n: np.asarray(faces.values[n]) for n in ("label", "pose")}
    asked = GAP.requests(bank, faces.schema, 3)
    yaw = asked["pose"][:, 0]
    assert stats.kstest(yaw, stats.uniform(15, 30).cdf).pvalue > 1e-3
    assert np.array_equal(asked["pose"][:, 1], bank["pose"][:, 1])
    assert np.array_equal(asked["label"], bank["label"])
    assert not np.array_equal(GAP.requests(bank, faces.schema, 4)["pose"], asked["pose"])


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("pose.yaw", "LOW..HIGH"),
        ("pose.yaw=20", "LOW..HIGH"),
        ("=1..2", "LOW..HIGH"),
        ("pose.yaw=a..b", "LOW..HIGH"),
        ("pose.yaw=1..2..3", "LOW..HIGH"),
        ("pose.yaw=45..20", "to a larger one"),
        ("pose.yaw=nan..20", "to a larger one"),
    ],
)
def test_what_is_no_range_is_refused(text: str, rule: str) -> None:
    with pytest.raises(UsageError, match=rule):
        Gap.parse(text)


def test_a_gap_is_in_a_number_that_the_set_has(faces: Table) -> None:
    assert GAP.words(faces.schema) == "pose.yaw from 15 to 45 degrees"
    assert Gap.parse("age=-5..5.5") == Gap("age", -5.0, 5.5)
    for gap, rule in (
        (Gap("age", 1.0, 2.0), "vectors here: pose"),
        (Gap("pose", 1.0, 2.0), "none"),
        (Gap("pose", 1.0, 2.0, "jaw"), "did you mean .yaw"),
        (Gap("pose", 20.0, 90.0, "yaw"), "bounds of pose, -45 to 45.*reach from 20 to 45"),
    ):
        with pytest.raises(UsageError, match=rule):
            gap.words(faces.schema)


def test_options_and_limits(faces: Table) -> None:
    for preset in ("quick", "standard", "full"):
        said = ProveOptions(preset=preset, task="landmarks", per_class=12, gap="pose.yaw=15..45")
        config = resolve("toy-faces", said)
        assert config.gap == GAP
        assert (config.levels, config.ratios, config.tuning.active) == ((), (), False)
        fitted = fitted_to(config, faces)
        assert fitted.generator.joint == ("landmarks",), "drawn: nobody knows them in the gap"
        assert fitted.generator.carries == ("label", "pose")
        _validate(fitted, faces)
    mapping = {"aspect": "pose", "component": "yaw", "low": 15, "high": 45, "keep": 3}
    told = resolve("toy-faces", ProveOptions(settings={"gap": mapping}))
    assert told.gap == Gap("pose", 15.0, 45.0, "yaw", 3)
    assert told.generator.conditioning == "vac-var"
    for settings, rule in (
        ({"per_class": None, "gap": mapping}, "the same of each class"),
        ({"gap": mapping, "levels": [0.5]}, "at one level"),
        ({"gap": mapping, "tuning.thresholds": [0.5, 0.8]}, "lack the gap"),
        ({"gap": {**mapping, "keep": -1}}, "not negative"),
    ):
        with pytest.raises(UsageError, match=rule):
            resolve("toy-faces", ProveOptions(settings=settings))
    with pytest.raises(UsageError, match="no long tail"):
        resolve("toy-faces", ProveOptions(gap="pose.yaw=15..45", long_tail=5.0))
    for change in ({"generator.conditioning": "vac"}, {"generator.carries": ["pose", "landmarks"]}):
        said = ProveOptions(task="segm", per_class=12, gap="pose.yaw=15..45", settings=change)
        with pytest.raises(IncompatibleError, match="asks its generator for pose"):
            _validate(fitted_to(resolve("toy-faces", said), faces), faces)


def test_what_a_report_says_of_both_sides() -> None:
    numbers = np.random.default_rng(0)
    scores = {n: numbers.normal(0.8, 0.05, (2, 5)) for n in ("classic", "minted", "more-real")}
    arms = {n: [{"score": a, "outside": b} for a, b in s.T] for n, s in scores.items()}
    found = gap_rows(arms, GAP, "pose.yaw from 15 to 45", 321)
    assert [r["arm"] for r in found["rows"]] == list(scores)
    assert [r.get("primary") for r in found["rows"]] == [None, True, False]
    for row in found["rows"][1:]:
        test = stats.ttest_rel(scores[row["arm"]][1], scores["classic"][1])
        wanted = test.confidence_interval(0.95)
        assert (row["low"], row["high"]) == pytest.approx((100 * wanted.low, 100 * wanted.high))
        assert row["inside"] == pytest.approx(100 * scores[row["arm"]][0].mean())
    assert "321 test images outside" in found["text"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("gap") / "study"
    settings = {
        **TINY,
        "task.kind": "landmarks",
        "task.network": {"name": "small-cnn", "channels": 8},
        "size": None,
        "gap": {"aspect": "pose", "component": "yaw", "low": 15, "high": 45},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUGMINT_QUIET", "1")
        lenient(patch)
        data = "{name: toy-faces, images: 300}"
        report = augmint.prove(data, folder, per_class=8, seeds=2, workers=1, settings=settings)
        return folder, report


def test_a_study_with_a_gap_ends_in_a_report(study: tuple[Path, dict[str, Any]]) -> None:
    folder, report = study
    stages = {p.name.rpartition("-")[0]: p for p in (folder / "stages").iterdir()}
    for i in range(2):
        minted = load_minted(stages[f"mint-{i}"] / "curated")
        assert len(minted) > 0
        yaw = minted.values["pose"][:, 0]
        assert yaw.min() >= 15
        assert yaw.max() <= 45
        rows = Rows.load(stages[f"split-{i}"] / "rows.npz")
        assert len(rows.alike) > 0
    rows = {r["arm"]: r for r in report["gap"]["rows"]}
    outside = [read_result(stages[f"arm-minted-{i}"]).value["outside"] for i in range(2)]
    assert rows["minted"]["outside"] == pytest.approx(100 * np.mean(outside))
    assert "with pose.yaw from 15 to 45 degrees" in report["sentence"]
    assert {row["protocol"]["split"] for row in report["distribution"]} == {
        "held back, inside the gap"
    }
    page = (folder / "report.html").read_text()
    assert "Inside and outside the gap" in page

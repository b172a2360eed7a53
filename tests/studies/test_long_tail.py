"""Long-tailed studies: who gets how many images, what a batch holds, what the report compares."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import augmint
from augmint.core.errors import UsageError
from augmint.data.ingest import ingest
from augmint.data.table import Table
from augmint.studies.arms import ARMS
from augmint.studies.materials import Store, evened, real_source, sources_of
from augmint.studies.rows import Rows, SplitConfig, draw
from augmint.studies.stages import read_result
from augmint.studies.study import ProveOptions, resolve
from augmint.studies.tail import rare_third, tail_rows
from augmint.tasks.rows import Source
from augmint.tasks.sampling import SamplingPlan


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return ingest("digits", tmp_path_factory.mktemp("tables"), workers=1)


def rows_of(table: Table, index: int, factor: float | None = 20.0, n: int = 40) -> Rows:
    return draw(table, SplitConfig(1, index, n, 0.5, 0.15, long_tail=factor))


def test_classes_fall_from_n_by_the_factor(digits: Table) -> None:
    labels, rows = digits.labels(), rows_of(digits, 0)
    counts = np.bincount(labels[rows.train])
    assert counts.tolist() == [round(40 * 20 ** (-c / 9)) for c in range(10)]
    even = rows_of(digits, 0, None)
    assert np.isin(rows.train, even.train).all(), "of the N images that an even study has"
    assert np.array_equal(rows.test, even.test), "the test set stays as it is"
    parts = [rows.train, rows.held_out, rows.pool, rows.test]
    for a, b in itertools.combinations(parts, 2):
        assert not np.intersect1d(a, b).size
    assert sum(map(len, parts)) == len(digits), "what the tail leaves out is held back"
    assert not np.array_equal(rows_of(digits, 1).train, rows.train)


def test_every_class_comes_equally_often(digits: Table) -> None:
    rows = rows_of(digits, 0)
    real = real_source(digits, rows.train)
    counts = np.bincount(real.values["label"])
    extra = np.repeat(np.arange(10), counts.max() - counts)
    minted = Source(
        np.zeros((len(extra), *digits.shape), np.uint8),
        {"label": extra},
        np.arange(len(extra)),
        origin="minted",
    )
    parts = evened([real, minted])
    assert sum(s.share for s in parts) == pytest.approx(1)
    steps, batch = 200, 64
    plan = SamplingPlan.make([len(s) for s in parts], [s.share for s in parts], batch, steps, 0)
    labels = np.concatenate([s.values["label"] for s in parts])
    every = np.concatenate([plan.rows(step) for step in range(steps)])
    shares = np.bincount(labels[every], minlength=10) / (steps * batch)
    assert np.abs(shares - 0.1).max() < 0.002
    views = np.bincount(every, minlength=len(labels))
    # 40 images of every class, real or minted: each is seen alike
    assert np.abs(views / views.mean() - 1).max() < 0.15
    alone = evened([real])
    assert {int(s.values["label"][0]): round(s.share, 9) for s in alone} == dict.fromkeys(
        range(10), 0.1
    )
    assert len(evened([real, minted])[-1]) == counts.max() - counts.min()


def test_arms_without_images_keep_the_long_tail(digits: Table) -> None:
    store = Store(digits, rows_of(digits, 0), None, 1)
    (source,) = sources_of(ARMS["classic"], store, 0.25, fill_up=True)
    assert np.array_equal(np.sort(source.ids), np.sort(store.rows.train))
    assert len(sources_of(ARMS["balanced"], store, 0.25, fill_up=True)) == 10
    copies = sources_of(ARMS["copies"], store, 0.25, fill_up=True)
    assert {s.origin for s in copies} == {"real", "minted"}
    by_class = np.zeros(10)
    for s in copies:
        by_class[int(s.values["label"][0])] += s.share
    assert by_class == pytest.approx(np.full(10, 0.1))


def test_a_long_tail_brings_its_arm_and_its_limits() -> None:
    for preset in ("quick", "standard", "full"):
        config = resolve("digits", ProveOptions(preset=preset, long_tail=5.0))
        assert config.long_tail == 5
        assert config.arms[:2] == ("classic", "balanced")
        assert config.arms.count("balanced") == 1
        assert (config.levels, config.ratios, config.tuning.ratios) == ((), (), ())
    said = resolve("digits", ProveOptions(settings={"long_tail": 5.0}))
    assert said == resolve("digits", ProveOptions(long_tail=5.0))
    assert resolve("digits", ProveOptions(settings=["long_tail=null"])).long_tail is None
    for settings, rule in (
        ({"per_class": None, "long_tail": 5}, "from a number"),
        ({"long_tail": 1.01}, "fewer images"),
        ({"long_tail": 0.5}, "fewer images"),
        ({"long_tail": 5, "levels": [0.5]}, "at one level"),
        ({"long_tail": 5, "arms": ["classic", "minted"]}, "has the arm balanced"),
    ):
        with pytest.raises(UsageError, match=rule):
            resolve("digits", ProveOptions(settings=settings))


def test_the_rare_third() -> None:
    assert rare_third([9, 8, 7]) == [2]
    assert rare_third([1, 5, 5, 1, 9, 9, 9, 0]) == [0, 3]
    assert rare_third([4, 4]) == [1]


def test_worst_and_rare_classes_follow_from_the_scores() -> None:
    generator, seeds = np.random.default_rng(0), 5
    counts = [100, 40, 20, 8, 4, 2]
    arms: dict[str, Any] = {}
    for arm, gain in (("classic", 0.0), ("balanced", 0.1), ("minted", 0.3)):
        rows = np.clip(
            np.linspace(0.9, 0.2, 6) + gain + generator.normal(0, 0.03, (seeds, 6)), 0, 1
        )
        arms[arm] = [{"worst_class": r.min(), "per_class": r.tolist()} for r in rows]
    table = tail_rows(arms, counts, [0.0] * 6, list("abcdef"), 50.0, 0.005)
    assert table["rare"] == ["e", "f"]
    found = {(r["measure"], r["against"]): r for r in table["rows"]}
    assert list(found) == [
        ("worst class", "classic"),
        ("worst class", "balanced"),
        ("rare third", "classic"),
        ("rare third", "balanced"),
    ]
    raw = []
    for (measure, against), row in found.items():
        pick = np.min if measure == "worst class" else (lambda r: np.mean(r[-2:]))
        a, b = ([pick(v["per_class"]) for v in arms[n]] for n in ("minted", against))
        test = stats.ttest_rel(a, b)
        interval = test.confidence_interval(0.95)
        assert row["p"] == pytest.approx(test.pvalue)
        assert (row["low"], row["high"]) == pytest.approx((100 * interval.low, 100 * interval.high))
        assert row["treatment"] - row["baseline"] == pytest.approx(row["difference"])
        raw.append(test.pvalue)
    ranked = np.sort(raw)
    for row in table["rows"]:
        rank = int(np.searchsorted(ranked, row["p"] * (1 - 1e-9)))
        least = max(min(1.0, (4 - i) * ranked[i]) for i in range(rank + 1))
        assert row["p_holm"] == pytest.approx(least), "Holm over the four"
        assert row["verdict"] == ("helps" if least < 0.05 else "inconclusive")


@pytest.fixture(scope="module")
def study(
    tmp_path_factory: pytest.TempPathFactory, tiny_settings: Callable[[], dict[str, Any]]
) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("tail") / "study"
    settings = {**tiny_settings(), "long_tail": 20, "policy.candidates": ["none"]}
    settings["arms"] = ["classic", "balanced", "minted", "minted-only", "shuffled", "more-real"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUGMINT_QUIET", "1")
        return folder, augmint.prove("digits", folder, seeds=2, workers=1, settings=settings)


def value_of(folder: Path, name: str) -> Any:
    (found,) = (p for p in (folder / "stages").iterdir() if p.name.rpartition("-")[0] == name)
    return read_result(found).value


def test_a_long_tailed_study_ends_in_a_report(study: tuple[Path, dict[str, Any]]) -> None:
    folder, report = study
    counts = [round(max(1, 10 * 20 ** (-c / 9))) for c in range(10)]
    assert counts[-1] == 1, "a class of one image"
    assert value_of(folder, "split-0")["train_counts"] == counts
    assert [row["real"] for row in report["long_tail"]["classes"]] == counts
    assert "10 to 1 real images a class" in report["sentence"]
    assert "minted-only" in report["arms_left_out"]
    for i in range(2):
        mint = value_of(folder, f"mint-{i}")
        quotas = {c["name"]: c["quota"] for c in mint["curation"]["classes"]}
        assert quotas == {str(c): 10 - n for c, n in enumerate(counts) if n < 10}
        kept = np.array(mint["accepted_by_class"])
        assert "every class equally often" in value_of(folder, f"arm-minted-{i}")["training"]
        more = value_of(folder, f"arm-more-real-{i}")
        assert more["real_per_class"] == (sum(counts) + kept.sum()) / 10
    rows = report["long_tail"]["rows"]
    for row in rows:
        scores = np.array(row["scores"]) - np.array(row["baseline_scores"])
        assert scores.mean() == pytest.approx(row["difference"])
    worst = [min(value_of(folder, f"arm-minted-{i}")["per_class"]) for i in range(2)]
    assert rows[0]["scores"] == pytest.approx([100 * w for w in worst])
    for control in report["controls"]:
        assert control["text"].endswith("against balanced")
    page = (folder / "report.html").read_text()
    assert report["arms"]["shuffled"]["against"]["arm"] == "balanced"
    assert page.count("against balanced</span>") == len(report["controls"])
    assert "worst class" in page
    assert "rare third" in page


def test_distances_compare_like_with_like(study: tuple[Path, dict[str, Any]]) -> None:
    _, report = study
    splits = {row["protocol"]["split"] for row in report["distribution"]}
    assert splits == {"held out, classes as in the minted images"}

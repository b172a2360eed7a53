"""Comparisons of tiny generators: fair, resumed,
and with numbers that can be taken again by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from augmint.core.errors import UsageError
from augmint.core.registry import ARCHITECTURES
from augmint.core.runs import load_tensors
from augmint.core.streams import derive
from augmint.core.types import to_float
from augmint.data.table import Table
from augmint.minting.bundle import Bundle
from augmint.studies.compare import CompareOptions, Measures, Plan, compare, resolve
from augmint.studies.compared import lines, paired, summary
from augmint.studies.measured import MEASURES
from augmint.studies.report.comparison import render_comparison
from augmint.studies.rows import Rows, seed_of
from augmint.tasks.config import TaskConfig
from augmint.tasks.trained import TrainedTask
from augmint.training.config import GanConfig

CRITIC: dict[str, Any] = {"name": "dcgan-critic", "channels": 4}
CLASSIFIER: dict[str, Any] = {"name": "small-cnn", "channels": 4, "normalisation": "batch"}
COMMON = GanConfig(
    generator={"name": "dcgan-generator", "channels": 4},
    critic=CRITIC,
    objective="non-saturating",
    augment=None,
    auxiliary_augment=None,
    latent_dim=8,
    steps=100,
    batch=32,
)
GENERATORS = {
    "beside": replace(COMMON, conditioning={"name": "vac", "network": CLASSIFIER}),
    "head": replace(COMMON, conditioning="acgan", batch=24),
    "blind": replace(COMMON, conditioning="none"),
}
HOW = Measures(
    TaskConfig(network={"name": "small-cnn", "channels": 4}, steps=30),
    "none",
    per_class=12,
    diverse_per_class=5,
    pairs=20,
    probe_rows=200,
)
OPTIONS = CompareOptions(images=128, seeds=2, measures=HOW, workers=1, device="cpu")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("compare") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUGMINT_QUIET", "1")
        return out, compare(GENERATORS, "digits", out, OPTIONS)


def stage(out: Path, name: str) -> Path:
    (found,) = (out / "stages").glob(f"{name}-????????????????")
    return found


def row(report: Mapping[str, Any], key: str) -> dict[str, Any]:
    (found,) = (m for m in report["measures"] if m["key"] == key)
    return dict(found)


def values(report: Mapping[str, Any], key: str, generator: str) -> list[Any]:
    (found,) = (r for r in row(report, key)["rows"] if r["generator"] == generator)
    return list(found["values"])


def table_of(out: Path) -> Table:
    (found,) = (out / "stages" / "tables").glob("table-*")
    return Table.open(found)


def test_the_page_and_the_file_hold_the_same_numbers(done: tuple[Path, dict[str, Any]]) -> None:
    out, report = done
    assert json.loads((out / "compare.json").read_text(encoding="utf-8")) == report
    page = (out / "compare.html").read_text(encoding="utf-8")
    assert "http" not in page.split("</head>")[1]
    assert page.count("data:image/png") == 4
    shown = row(report, "within_mse")["rows"][0]["mean"]
    assert f'value="{json.dumps(shown)}"' in page
    assert {m["key"] for m in report["measures"]} == {m.key for m in MEASURES}
    for line in lines(report):
        assert line.isprintable()


def test_all_are_shown_the_same_images_and_the_judge_others(
    done: tuple[Path, dict[str, Any]],
) -> None:
    out, report = done
    for made in report["trained"]:
        assert 0 <= made["images_shown"] - 128 < made["batch"]
    rows = Rows.load(stage(out, "split") / "rows.npz")
    own = np.load(stage(out, "judge") / "rows.npy")
    assert not set(own) & set(rows.train)
    assert not set(rows.test) & (set(own) | set(rows.train))
    assert report["judge"]["trained_on"] == len(own) > 200
    for name in GENERATORS:
        told = Bundle.open(stage(out, f"generator-{name}-1") / "bundle").provenance
        assert told["training_images"] == len(rows.train)
    judge = TrainedTask.load(stage(out, "judge") / "judge.safetensors")
    assert [v["images"] for v in judge.views] == [len(own)]


def test_conditional_accuracy_by_hand(done: tuple[Path, dict[str, Any]]) -> None:
    """Ids are `counter · classes + class`: the images are drawn again from the bundle."""
    out, report = done
    judge = TrainedTask.load(stage(out, "judge") / "judge.safetensors")
    right = []
    for index in range(2):
        sampler = Bundle.open(stage(out, f"generator-head-{index}") / "bundle").sampler()
        labels = np.repeat(np.arange(10), 12)
        ids = np.tile(np.arange(12), 10) * 10 + labels
        seed = derive(seed_of(0, index), "compare.drawn")
        images = sampler.sample({"label": torch.from_numpy(labels)}, ids, seed)
        judged = judge.probabilities(images)
        right.append(float((judged.argmax(1) == labels).mean()))
        bound = math.log(10) + np.log(judged[np.arange(120), labels].astype(np.float64)).mean()
        assert values(report, "divergence", "head")[index] == pytest.approx(bound)
    assert values(report, "conditional_accuracy", "head") == right
    confusion = np.array(report["confusion"]["head"])
    assert confusion.sum(1).tolist() == [24] * 10
    assert confusion.trace() / 240 == pytest.approx(np.mean(right))


@pytest.mark.parametrize("name", ["beside", "head"])
def test_a_generators_own_classifier_scored_by_hand(
    done: tuple[Path, dict[str, Any]], name: str
) -> None:
    out, report = done
    rows, table = Rows.load(stage(out, "split") / "rows.npz"), table_of(out)
    images = to_float(torch.from_numpy(np.array(table.images[rows.test])))
    folders = [stage(out, f"{kind}-{name}-0") for kind in ("generator", "classifier")]
    for folder, key in zip(folders, ("own_accuracy", "own_alone"), strict=True):
        tensors = load_tensors(folder / "players.safetensors")[0]

        def part(start: str, of: dict[str, Any] = tensors) -> dict[str, Any]:
            return {k.removeprefix(start): v for k, v in of.items() if k.startswith(start)}

        if name == "beside":
            network = ARCHITECTURES.create(CLASSIFIER).build(table.shape, 10)  # type: ignore[attr-defined]
            network.load_state_dict(part("auxiliaries.classifier."))
            logits = network.eval()(images)
        else:
            critic = ARCHITECTURES.create(CRITIC).build(table.shape)  # type: ignore[attr-defined]
            critic.load_state_dict(part("critic."))
            head = part("heads.class_head.")
            logits = critic.eval()(images).features @ head["weight"].T + head["bias"]
        accuracy = (logits.argmax(1).numpy() == table.labels()[rows.test]).mean()
        assert values(report, key, name)[0] == pytest.approx(accuracy, abs=1e-12)
    gain = values(report, "own_accuracy", name)[0] - values(report, "own_alone", name)[0]
    assert values(report, "own_gain", name)[0] == pytest.approx(gain)


def test_what_cannot_be_measured_says_why(done: tuple[Path, dict[str, Any]]) -> None:
    _, report = done
    for key in ("conditional_accuracy", "learnt", "divergence", "between_uqi"):
        (blind,) = (r for r in row(report, key)["rows"] if r["generator"] == "blind")
        assert blind["mean"] is None
        assert "not asked for classes" in blind["refused"]
    (own,) = (r for r in row(report, "own_gain")["rows"] if r["generator"] == "blind")
    assert "no classifier of its own" in own["refused"]
    assert "blind" not in report["confusion"]
    frechet = row(report, "frechet")["rows"][0]
    assert frechet["mean"] is not None or "covariance" in frechet["refused"]


def test_intervals_and_differences_against_scipy(done: tuple[Path, dict[str, Any]]) -> None:
    _, report = done
    for key in ("kid", "probe", "precision"):
        found = row(report, key)
        assert found["real"] is not None
        mean = {}
        for one in found["rows"]:
            v = np.array(one["values"])
            low, high = (
                stats.t.interval(0.95, 1, v.mean(), stats.sem(v)) if v.std() else (v[0],) * 2
            )
            assert (one["low"], one["high"]) == pytest.approx((low, high))
            mean[one["generator"]] = v
        for one in found["differences"]:
            apart = mean[one["generator"]] - mean["beside"]
            assert one["values"] == pytest.approx(apart.tolist())
            if apart.std():
                assert one["p"] == pytest.approx(stats.ttest_1samp(apart, 0).pvalue)
    every = [d for m in report["measures"] if m["better"] for d in m["differences"]]
    raw = [d for d in every if d["p"] is not None]
    assert all(d["p_holm"] >= d["p"] for d in raw)
    smallest = min(d["p"] for d in raw)
    assert min(d["p_holm"] for d in raw) == pytest.approx(min(1.0, smallest * len(raw)))


def test_again_does_nothing_and_more_is_added(
    done: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUGMINT_QUIET", "1")
    out, report = done
    before = {p: p.stat().st_mtime_ns for p in (out / "stages").rglob("result.json")}
    assert len(before) == 3 + 3 * 2 * 2 + 2 * 2
    alone = compare(GENERATORS, "digits", out, replace(OPTIONS, seeds=1))
    assert {p: p.stat().st_mtime_ns for p in (out / "stages").rglob("result.json")} == before
    told = row(alone, "kid")["rows"][0]
    assert told["low"] is None
    assert told["mean"] == values(report, "kid", "beside")[0]
    assert any("no intervals" in w for w in alone["warnings"])
    more = {**GENERATORS, "other": replace(COMMON, conditioning="concatenation")}
    config = resolve(more, "digits", replace(OPTIONS, seeds=3))
    labels = {s.label for s in Plan.of(config, table_of(out), "cpu").stages}
    assert {p.parent.name for p in before} < labels
    with pytest.raises(UsageError, match=r"images differ.*--out"):
        compare(GENERATORS, "digits", out, replace(OPTIONS, images=256))


def test_parts_that_do_not_fit_are_refused_by_the_generators_name(tmp_path: Path) -> None:
    unfit = {**GENERATORS, "odd": replace(COMMON, critic="vac-mnist-critic")}
    with pytest.raises(UsageError, match="in odd"):
        compare(unfit, "digits", tmp_path, replace(OPTIONS, size="10"))
    assert not list((tmp_path / "stages").glob("split-*"))


def test_many_generators_stand_one_below_the_other(done: tuple[Path, dict[str, Any]]) -> None:
    """In tables and on the terminal, with the same numbers."""
    names = ["beside", "head", "blind"] * 2
    measures = [m | {"rows": m["rows"] * 2} for m in done[1]["measures"]]
    many = done[1] | {"generators": names, "measures": measures}
    told = lines(many)
    assert [line.split()[0] for line in told[2:8]] == names
    mean = row(done[1], "kid")["rows"][0]["mean"]
    assert f"{mean:.3g} ± " in told[2]
    page = render_comparison(many, {})
    assert '<tr><th scope="row">blind</th>' in page
    assert f'value="{json.dumps(mean)}"' in page


def test_names_are_escaped(done: tuple[Path, dict[str, Any]]) -> None:
    hostile = "<script>alert(1)</script>"
    named = {"sentence": hostile, "title": hostile, "classes": [hostile] * 10, "command": hostile}
    page = render_comparison(done[1] | named, {})
    assert hostile not in page
    assert page.count("&lt;script&gt;") > 10


def test_a_summary_leaves_out_what_is_missing() -> None:
    assert summary([None, 0.25])["mean"] == 0.25
    assert summary([None, None])["mean"] is None
    assert paired([1.0, None, 3.0], [0.5, 1.0, None]) == [0.5, None, None]


@pytest.mark.parametrize(
    ("generators", "change", "message"),
    [
        ({}, {}, "has generators"),
        (GENERATORS, {"baseline": "bside"}, "did you mean 'beside'"),
        (GENERATORS, {"images": 8}, "at least one batch .32 images."),
        (GENERATORS, {"seeds": 0}, "--seeds 3"),
        ({**GENERATORS, "A name": COMMON}, {}, "lower-case"),
    ],
)
def test_wrong_uses_are_refused_in_one_line(
    generators: dict[str, GanConfig], change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        compare(generators, "digits", tmp_path / "out", replace(OPTIONS, **change))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()

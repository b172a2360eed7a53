"""Comparisons of generators that carry annotations, asked for or drawn,
with and without classes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_compare import COMMON, row, stage, table_of, values

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.aspects.landmarks import Landmarks
from augmint.aspects.mask import Mask
from augmint.aspects.vector import Vector
from augmint.core.errors import AugmintError, DataError, UsageError
from augmint.core.streams import derive, permutation
from augmint.minting.bundle import Bundle
from augmint.studies.compare import CompareOptions, Plan, compare, resolve
from augmint.studies.compared import lines
from augmint.studies.critics import Players, classifier_refusal
from augmint.studies.measured import MEASURES, Measures
from augmint.studies.reading import ReadingConfig, claimed, judging_aspect, readable
from augmint.studies.report.comparison import render_comparison
from augmint.studies.rows import Rows, seed_of
from augmint.studies.showing import SHOWN
from augmint.tasks.config import TaskConfig
from augmint.tasks.regression import RegressionTask
from augmint.tasks.rows import Source
from augmint.tasks.segmentation import SegmentationTask
from augmint.tasks.trained import TrainedTask

SMALL: dict[str, Any] = {"network": {"name": "small-cnn", "channels": 4}}
UNET: dict[str, Any] = {"network": {"name": "unet", "channels": 4, "depth": 2}}
HOW = Measures(
    TaskConfig(**SMALL, steps=5, batch=16),
    "none",
    per_class=24,
    diverse_per_class=12,
    pairs=2000,
    annotations={"mask": UNET, "gaze": SMALL, "landmarks": {**SMALL, "steps": 6}},
    requests=3,
    each=4,
)
OPTIONS = CompareOptions(images=64, seeds=2, size="12x16", measures=HOW, workers=1, device="cpu")
GENERATORS = {
    "asked": replace(COMMON, conditioning="vac-var", carries=("mask", "gaze")),
    "drawn": replace(COMMON, conditioning="none", joint=("mask", "landmarks")),
    "plain": replace(COMMON, conditioning="none"),
}
NUMBERS = ("error", "median", "ratio", "learnt")
Done = tuple[Path, dict[str, Any]]


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Done:
    out = tmp_path_factory.mktemp("eyes") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUGMINT_QUIET", "1")
        return out, compare(GENERATORS, "toy-eyes", out, OPTIONS)


def place(out: Path, aspect: str) -> int:
    return [a.name for a in table_of(out).schema].index(aspect)


def judge_of(out: Path, aspect: str) -> TrainedTask:
    return TrainedTask.load(stage(out, f"judge-{place(out, aspect)}") / "judge.safetensors")


def pairs_of(out: Path, name: str, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """What a generator of a set without classes is measured on, drawn again from its bundle."""
    sampler = Bundle.open(stage(out, f"generator-{name}-{index}") / "bundle").sampler()
    return sampler.pairs({}, np.arange(24), derive(seed_of(0, index), "compare.drawn"))


def slow_iou(said: np.ndarray, true: np.ndarray) -> float:
    """The mean over the classes that either holds, pixel by pixel."""
    shares = []
    for c in np.union1d(said, true):
        hits = [(a == c, b == c) for a, b in zip(said.flat, true.flat, strict=True)]
        shares.append(sum(a and b for a, b in hits) / sum(a or b for a, b in hits))
    return float(np.mean(shares))


def test_errors_by_hand(eyes: Done) -> None:
    out, report = eyes
    table, rows = table_of(out), Rows.load(stage(out, "split") / "rows.npz")
    for index, name in itertools.product(range(2), ("asked", "drawn")):
        images, told = pairs_of(out, name, index)
        said = judge_of(out, "mask").predictions(images)
        own = [1.0 - slow_iou(a, b) for a, b in zip(said, told["mask"], strict=True)]
        assert values(report, "error_mask", name)[index] == pytest.approx(np.mean(own), abs=1e-6)
        assert values(report, "median_mask", name)[index] == pytest.approx(np.median(own), abs=1e-6)
    images, told = pairs_of(out, "drawn", 1)
    said, points = judge_of(out, "landmarks").predictions(images), told["landmarks"]
    aspect: Any = table.schema["landmarks"]
    a, b = (aspect.points.index(n) for n in aspect.reference)
    apart = np.linalg.norm(points[:, a, :2] - points[:, b, :2], axis=-1)
    box = np.sqrt(np.prod(np.ptp(points[..., :2], axis=1), axis=-1))
    unit = np.where(apart > 1, apart, np.where(box > 1, box, 1.0))
    nme = np.linalg.norm(said[..., :2] - points[..., :2], axis=-1).mean(1) / unit
    assert values(report, "error_landmarks", "drawn")[1] == pytest.approx(nme.mean(), rel=1e-5)
    images, told = pairs_of(out, "asked", 0)
    truth = table.values["gaze"][rows.test].astype(np.float64)
    spread = np.abs(truth - np.median(truth, 0)).mean(0)
    apart = np.abs(judge_of(out, "gaze").predictions(images) - told["gaze"])
    found = (apart / spread).mean()
    assert values(report, "error_gaze", "asked")[0] == pytest.approx(found, rel=1e-5)


def test_the_ratio_is_to_the_error_on_real_test_images(eyes: Done) -> None:
    out, report = eyes
    table, rows = table_of(out), Rows.load(stage(out, "split") / "rows.npz")
    said = judge_of(out, "mask").predictions(table.images[rows.test[:40]])
    own = np.load(stage(out, f"judge-{place(out, 'mask')}") / "errors.npy")
    by_hand = [
        1.0 - slow_iou(a, b) for a, b in zip(said, table.values["mask"][rows.test], strict=False)
    ]
    np.testing.assert_allclose(own[:40], by_hand, atol=1e-6)
    error = row(report, "error_mask")
    assert error["real"] == pytest.approx(own.mean())
    assert error["better"] == "lower"
    for name in ("asked", "drawn"):
        ratio = np.array(values(report, "error_mask", name)) / own.mean()
        assert values(report, "ratio_mask", name) == pytest.approx(ratio.tolist())
    assert row(report, "ratio_mask")["better"] == row(report, "median_mask")["better"] == ""
    (told,) = (d for d in error["differences"] if d["generator"] == "drawn")
    assert told["p_holm"] >= told["p"]


def test_learning_from_generated_pairs_by_hand(eyes: Done) -> None:
    """The same training, of a task that is given the images and what they claim."""
    out, report = eyes
    table, rows = table_of(out), Rows.load(stage(out, "split") / "rows.npz")
    images, told = pairs_of(out, "asked", 1)
    drawn = derive(seed_of(0, 1), "compare.drawn")
    common: dict[str, Any] = {"steps": 5, "batch": 16}
    for task, aspect, fields in (
        (SegmentationTask(), "mask", UNET),
        (RegressionTask(), "gaze", SMALL),
    ):
        source = Source(images, told, np.arange(24), origin="minted")
        config = task.configured({**common, **fields, "aspect": aspect})
        seed = derive(drawn, f"compare.learner.{aspect}")
        made = task.train(config, table.schema, table.shape, [source], "none", seed)
        said, truth = made.predictions(table.images[rows.test]), table.values[aspect][rows.test]
        if aspect == "mask":
            errors = [1.0 - slow_iou(a, b) for a, b in zip(said[:30], truth[:30], strict=True)]
            known = 1.0 - task.score(made, _rows(table, rows.test[:30])).per_image
            np.testing.assert_allclose(known, errors, atol=1e-6)
        points = task.score(made, _rows(table, rows.test)).points
        assert values(report, f"learnt_{aspect}", "asked")[1] == pytest.approx(1 - points / 100)
    assert row(report, "learnt_mask")["real"] > 0


def _rows(table: Any, rows: np.ndarray) -> Any:
    from augmint.tasks.rows import RealRows

    return RealRows.of(table, rows)


def test_nobody_learns_from_what_it_is_judged_by(eyes: Done) -> None:
    out, report = eyes
    rows = Rows.load(stage(out, "split") / "rows.npz")
    for told in report["readers"]:
        folder = stage(out, f"judge-{place(out, told['aspect'])}")
        own = set(np.load(folder / "rows.npy"))
        assert len(own) == told["trained_on"] == report["judge"]["trained_on"]
        assert not own & set(rows.train)
        assert not own & set(rows.test)
        assert [v["images"] for v in judge_of(out, told["aspect"]).views] == [len(own)]


def test_without_classes_what_needs_them_is_left_out(eyes: Done) -> None:
    _, report = eyes
    keys = {m["key"] for m in report["measures"]}
    assert keys & {m.key for m in MEASURES} == {m.key for m in MEASURES if not m.classes}
    assert report["classes"] == []
    assert report["confusion"] == {}
    assert report["judge"]["reads"] == judging_aspect(table_of(eyes[0]).schema) == "gaze"
    assert all(r["mean"] is not None for r in row(report, "kid")["rows"])
    assert any("no classes" in w for w in report["warnings"])
    assert "mask that images claim (1 - mIoU)" in report["sentence"]
    told = lines(report)
    assert any(line.startswith("drawn minus asked") and "error of mask" in line for line in told)
    assert all(line.isprintable() for line in told)


def test_what_a_generator_does_not_carry_is_refused(eyes: Done) -> None:
    _, report = eyes
    carried = {
        name: {"asked": ("mask", "gaze"), "drawn": ("mask", "landmarks")}.get(name, ())
        for name in GENERATORS
    }
    for aspect, number in itertools.product(("mask", "gaze", "landmarks"), NUMBERS):
        for found in row(report, f"{number}_{aspect}")["rows"]:
            there = aspect in carried[found["generator"]]
            assert (found["mean"] is not None) == there
            assert there or f"carry no {aspect}" in found["refused"]
    asked = {r["generator"]: r for r in row(report, "request_mse")["rows"]}
    assert asked["asked"]["mean"] is not None
    assert "no annotation is asked" in asked["drawn"]["refused"]


def test_diversity_of_any_images_and_of_one_request(eyes: Done) -> None:
    out, report = eyes
    table, rows = table_of(out), Rows.load(stage(out, "split") / "rows.npz")

    def apart(images: np.ndarray) -> np.ndarray:
        x = images.reshape(len(images), -1) / 255.0
        return np.array([np.square(a - b).mean() for a, b in itertools.combinations(x, 2)])

    real = apart(table.images[rows.test[:12]])
    error = real.std() / np.sqrt(HOW.pairs)  # pairs are drawn, with replacement
    assert row(report, "any_mse")["real"] == pytest.approx(real.mean(), abs=4 * error)
    chosen = rows.test[permutation(0, "compare.requests", len(rows.test))[:3]]
    for index in range(2):
        sampler = Bundle.open(stage(out, f"generator-asked-{index}") / "bundle").sampler()
        seed = derive(derive(seed_of(0, index), "compare.drawn"), "compare.requests")
        found = []
        for i, test in enumerate(chosen):
            one = {n: torch.as_tensor(table.values[n][[test] * 4]) for n in ("gaze", "mask")}
            found.append(apart(sampler.sample(one, np.arange(4 * i, 4 * i + 4), seed)).mean())
        assert values(report, "request_mse", "asked")[index] == pytest.approx(np.mean(found))


def test_more_generators_join_without_a_stage_done_again(eyes: Done) -> None:
    out, _ = eyes
    table = table_of(out)

    def labels(*names: str) -> set[str]:
        chosen = {n: GENERATORS[n] for n in names}
        return {s.label for s in Plan.of(resolve(chosen, "toy-eyes", OPTIONS), table, "cpu").stages}

    every = labels(*GENERATORS)
    for name in GENERATORS:
        assert labels(name) < every
    there = {p.name for p in (out / "stages").iterdir()}
    assert every <= there


def test_pictures_show_what_images_claim(eyes: Done) -> None:
    out, report = eyes
    sizes = {n: Image.open(out / "pictures" / f"{n}.png").size for n in ("real", *GENERATORS)}
    line = 12 * 3 + 1  # 16 px wide images three times as large
    rows = {"real": 2 * 3, "asked": 2 * 2, "drawn": 2 * 3}
    assert {n: sizes[n][1] for n in rows} == {n: many * line + 1 for n, many in rows.items()}
    folder, schema = stage(out, "measure-drawn-0"), table_of(out).schema
    shown, layers = (np.load(folder / f"{n}.npy") for n in ("shown", "drawn"))
    sampler = Bundle.open(stage(out, "generator-drawn-0") / "bundle").sampler()
    images, told = sampler.pairs({}, np.arange(2 * SHOWN), derive(0, "shown"))
    np.testing.assert_array_equal(shown, images)
    large = images[7].repeat(3, 1).repeat(3, 2)
    for layer, name in zip(layers, ("landmarks", "mask"), strict=True):
        np.testing.assert_array_equal(layer[7], schema[name].draw(large, told[name][7]))
    page = (out / "compare.html").read_text(encoding="utf-8")
    assert "Below each row" in page
    assert page.count("data:image/png") == 4
    assert f'value="{json.dumps(row(report, "error_mask")["rows"][0]["mean"])}"' in page


def test_names_of_aspects_are_escaped(eyes: Done) -> None:
    hostile = '"><script>alert(1)</script>'
    text = json.dumps(eyes[1]).replace("mask", json.dumps(hostile)[1:-1])
    page = render_comparison(json.loads(text), {})
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


SCHEMA = Schema(
    (
        Category("label", ("a", "b")),
        Vector("pose", ("yaw",), low=(-1.0,), high=(1.0,)),
        Landmarks("points", ("nose",), (16, 16)),
        Mask("mask", ("ground", "face")),
    )
)


@pytest.mark.parametrize(
    ("fields", "carries"),
    [
        ({"conditioning": "vac"}, ("label",)),
        ({"conditioning": "none"}, ()),
        ({"conditioning": "none", "joint": ("mask",)}, ("mask",)),
        ({"conditioning": "var"}, ("pose", "points")),
        ({"conditioning": "vac-var"}, ("label", "pose", "points", "mask")),
        ({"conditioning": "vac-var", "carries": ("pose",)}, ("pose",)),
        ({"conditioning": "vac", "joint": ("points", "mask")}, ("label", "points", "mask")),
    ],
)
def test_what_images_are_meant_to_carry(
    fields: Mapping[str, Any], carries: tuple[str, ...]
) -> None:
    gan = replace(COMMON, **fields)
    assert claimed(gan, SCHEMA) == carries
    if "label" not in carries or gan.joint:
        assert classifier_refusal(gan, SCHEMA) is not None
    players = Players.build(gan, SCHEMA, (1, 16, 16), 0)
    assert (players.refusal() is not None) == bool(gan.joint)
    assert [a.name for a in readable(SCHEMA)] == ["pose", "points", "mask"]


def test_a_network_that_reads_has_the_common_budget_and_its_tasks_defaults() -> None:
    how = Measures(TaskConfig(steps=7, batch=9), annotations={"mask": {"steps": 3}})
    found = {a.name: ReadingConfig.of(how, a, 0).task for a in readable(SCHEMA)}
    assert {n: (t.kind, t.steps, t.batch) for n, t in found.items()} == {
        "pose": ("regression", 7, 9),
        "points": ("landmarks", 7, 9),
        "mask": ("segmentation", 3, 9),
    }
    assert found["mask"].network == SegmentationTask.defaults["network"]
    with pytest.raises(UsageError, match="did you mean 'steps'"):
        ReadingConfig.of(replace(how, annotations={"mask": {"step": 3}}), SCHEMA["mask"], 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotations": {"masks": {}}}, "did you mean 'mask'"),
        ({"annotations": {"mask": {"network": "small-cnn"}}}, "unet"),
        ({"policy": "trivial-augmnt"}, "did you mean"),
    ],
)
def test_wrong_measures_are_refused_before_training(
    eyes: Done, change: dict[str, Any], message: str
) -> None:
    options = replace(OPTIONS, measures=replace(HOW, **change))
    config = resolve(GENERATORS, "toy-eyes", options)
    with pytest.raises(AugmintError, match=message) as caught:
        Plan.of(config, table_of(eyes[0]), "cpu")
    assert "\n" not in str(caught.value)


def test_images_of_which_nothing_is_known_are_refused(eyes: Done) -> None:
    table = replace(table_of(eyes[0]), schema=Schema(()), values={})
    config = resolve({"plain": GENERATORS["plain"]}, "toy-eyes", CompareOptions(images=64))
    with pytest.raises(DataError, match="classes or annotations"):
        Plan.of(config, table, "cpu")


@pytest.mark.long
def test_classes_and_annotations_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGMINT_QUIET", "1")
    how = replace(HOW, annotations={"mask": UNET, "pose": SMALL, "landmarks": SMALL}, per_class=12)
    options = replace(OPTIONS, seeds=1, size="16", channels=1, measures=how)
    generators = {
        "both": replace(COMMON, conditioning="vac", joint=("mask",)),
        "values": replace(COMMON, conditioning="var"),
        "classes": replace(COMMON, conditioning="acgan"),
    }
    report = compare(generators, "toy-faces", tmp_path / "out", options)
    found = {m["key"]: {r["generator"]: r for r in m["rows"]} for m in report["measures"]}
    assert [found["conditional_accuracy"][n]["mean"] is not None for n in generators] == [
        True,
        False,
        True,
    ]
    assert "not asked for classes" in found["conditional_accuracy"]["values"]["refused"]
    for key in ("probe", "own_accuracy", "divergence_own"):
        assert "drawn beside the image" in found[key]["both"]["refused"]
        assert found[key]["classes"]["mean"] is not None
    assert found["error_mask"]["both"]["mean"] is not None
    assert found["error_pose"]["values"]["mean"] is not None
    assert found["any_mse"]["classes"]["mean"] is not None, "beside one that has no classes"
    assert "recognises the class" in report["sentence"]
    assert "pose that images claim" in report["sentence"]

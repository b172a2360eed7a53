"""Studies of points, masks and numbers: from annotated images to a verdict,
and nothing misplaced."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_annotated import TINY, lenient

import augmint
from augmint.core.errors import IncompatibleError, UsageError
from augmint.data.ingest import ingest
from augmint.data.table import Table
from augmint.minting.bundle import Bundle
from augmint.minting.curation import class_names
from augmint.minting.review import ByError
from augmint.studies.arms import ARMS
from augmint.studies.materials import Store, load_minted, sources_of
from augmint.studies.pipeline import fitted_to
from augmint.studies.rows import Rows
from augmint.studies.stages import read_result
from augmint.studies.steps import bounded
from augmint.studies.study import ProveOptions, resolve
from augmint.tasks.rows import RealRows
from augmint.training.compatibility import check_compatible

CASES: dict[str, tuple[str, int, dict[str, Any]]] = {
    "landmarks": ("toy-faces", 8, {"task.network": {"name": "small-cnn", "channels": 8}}),
    # asked for, where landmarks are drawn with the image
    "segmentation": (
        "toy-eyes",
        40,
        {
            "task.network": {"name": "unet", "channels": 4, "depth": 2},
            "generator.conditioning": "vac-var",
        },
    ),
    "regression": ("toy-eyes", 40, {"task.network": {"name": "small-cnn", "channels": 8}}),
}
METRICS = {"landmarks": "1 - NME", "segmentation": "mIoU", "regression": "1 - MAE / spread"}


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AUGMINT_QUIET", "1")
    return


@pytest.fixture(scope="module", params=sorted(CASES))
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    data, count, more = CASES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    settings = {**TINY, **more, "task.kind": request.param}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUGMINT_QUIET", "1")
        lenient(patch)
        report = augmint.prove(data, folder, per_class=count, seeds=2, workers=1, settings=settings)
    return request.param, folder, report


def stage(folder: Path, name: str) -> Path:
    (found,) = (p for p in (folder / "stages").iterdir() if p.name.rpartition("-")[0] == name)
    return found


def names_of(bundle: Bundle) -> tuple[str, ...]:
    return class_names(bundle.schema, bundle.curation.aspect)


def opened(folder: Path) -> tuple[Table, Rows]:
    (tables,) = (folder / "stages" / "tables").iterdir()
    return Table.open(tables), Rows.load(stage(folder, "split-0") / "rows.npz")


def test_it_ends_in_a_verdict_about_the_tasks_own_score(study: Any) -> None:
    kind, folder, report = study
    assert report["metric"] == METRICS[kind]
    assert METRICS[kind] in report["sentence"]
    assert report["claims"]["recognised"] is False
    assert report["per_class"] == []
    assert set(report["arms"]) == {"classic", "minted", "shuffled", "more-real"}
    page = (folder / "report.html").read_text()
    assert "carry their label" not in page
    assert f"against their {report['claims']['aspect']}" in page
    classes = "real images a class" in report["sentence"]
    assert classes == (kind == "landmarks")  # toy-eyes has no classes


def test_scores_of_parts_reach_the_report(study: Any) -> None:
    kind, folder, report = study
    table, _ = opened(folder)
    aspect: Any = table.schema[report["claims"]["aspect"]]
    page = (folder / "report.html").read_text()
    parts = {
        "landmarks": set,
        "segmentation": lambda: {f"nine.{c}.mcc" for c in aspect.classes[1:]},
        "regression": lambda: {f"mae.{c}" for c in aspect.components},
    }
    for arm in report["arms"].values():
        assert parts[kind]() <= set(arm["secondary"])
    assert ("MCC" in page) == (kind == "segmentation")
    if kind == "regression":
        key = f"mae.{aspect.components[0]}"
        wanted = np.mean([value["parts"][key] for value in _values(folder, "classic")])
        assert report["arms"]["classic"]["secondary"][key] == pytest.approx(wanted)
        assert report["units"]


def _values(folder: Path, arm: str) -> list[dict[str, Any]]:
    paths = (folder / "stages").glob(f"arm-{arm}-[0-9]-*")
    return [read_result(path).value for path in sorted(paths)]


def test_minted_images_carry_the_aspect_and_nothing_they_were_not_asked_for(study: Any) -> None:
    _, folder, report = study
    table, _ = opened(folder)
    aspect = report["claims"]["aspect"]
    minted = load_minted(stage(folder, "mint-0") / "curated")
    assert set(minted.values) == {aspect} | ({"label"} & {a.name for a in table.schema})
    table.schema[aspect].check(minted.values[aspect])
    bundle = Bundle.open(folder / "bundle")
    assert {a.name for a in bundle.schema} == set(minted.values)
    judge = bundle.judge
    assert judge is not None
    assert judge.aspect == aspect
    assert judge.limit == 1e9
    again = bundle.mint(dict.fromkeys(names_of(bundle), 3), 9, progress=False)
    assert set(again.scores) >= {"error"}
    said = judge.review(bundle.schema[aspect]).judge.errors(again.images, again.values[aspect])  # type: ignore[union-attr]
    np.testing.assert_allclose(said, again.scores["error"], rtol=1e-4)


def test_what_is_written_is_read_again_in_the_same_order(study: Any, tmp_path: Path) -> None:
    _, folder, report = study
    minted = load_minted(stage(folder, "mint-0") / "curated")
    found = ingest(folder / "minted", tmp_path)
    aspect = report["claims"]["aspect"]
    assert len(found) == len(minted)
    rows = [json.loads(s) for s in (folder / "minted" / "metadata.jsonl").read_text().splitlines()]
    ids = np.array([row["id"] for row in rows])
    order = np.argsort(minted.ids)[np.argsort(np.argsort(ids))]
    np.testing.assert_array_equal(found.images, minted.images[order])
    np.testing.assert_allclose(found.values[aspect], minted.values[aspect][order], atol=1e-3)


def test_shuffled_gives_annotations_of_other_images(study: Any) -> None:
    _, folder, report = study
    table, rows = opened(folder)
    store = Store(table, rows, stage(folder, "mint-0"), 3)
    aspect = report["claims"]["aspect"]
    real, true = sources_of(ARMS["minted"], store, 0.25)
    _, shuffled = sources_of(ARMS["shuffled"], store, 0.25)
    assert real.origin == "real"
    np.testing.assert_array_equal(true.images, shuffled.images)
    moved = [
        not np.array_equal(a, b)
        for a, b in zip(true.values[aspect], shuffled.values[aspect], strict=True)
    ]
    assert np.mean(moved) > 0.5


def test_curation_bounds_the_error_by_real_images(study: Any) -> None:
    _, folder, report = study
    table, rows = opened(folder)
    real = RealRows.of(table, rows.held_out)

    class Level:
        """Errs by the mean brightness of an image."""

        aspect = table.schema[report["claims"]["aspect"]]

        def errors(self, images: np.ndarray, values: np.ndarray) -> np.ndarray:
            return images.reshape(len(images), -1).mean(1)

    review = bounded(Level(), real, 0.9)  # type: ignore[arg-type]
    assert isinstance(review, ByError)
    reasons, scores = review(real.images, real.values)
    assert np.mean(reasons == "") == pytest.approx(0.9, abs=0.01)
    assert ((scores["error"] > review.limit) == (reasons == "disagrees")).all()


def test_policies_that_may_mirror_unknown_pairs_are_left_out(tmp_path: Path) -> None:
    from dataclasses import replace

    from augmint.aspects.base import Schema

    table = ingest("toy-faces", tmp_path)
    unnamed = replace(table.schema["landmarks"], pairs=None)  # type: ignore[type-var]
    blind = replace(table, schema=Schema((unnamed,)))
    config = resolve("toy-faces", ProveOptions(task="landmarks"))
    assert "flip-affine" in fitted_to(config, table).policy.candidates
    found = fitted_to(config, blind).policy.candidates
    assert "flip-affine" not in found
    assert "affine" in found


@pytest.mark.parametrize(
    ("task", "aspect", "by"),
    [("landmarks", "landmarks", "vac-var"), ("segmentation", "mask", "concatenation")],
)
def test_points_and_masks_are_asked_for_as_maps_or_drawn_if_that_is_wanted(
    task: str, aspect: str, by: str, tmp_path: Path
) -> None:
    table = ingest("toy-faces", tmp_path)
    assert aspect in table.schema
    asked = fitted_to(resolve("toy-faces", ProveOptions(task=task)), table).generator
    assert (asked.conditioning["name"], asked.conditioning["enters"]) == (by, "maps")  # type: ignore[index]
    assert (asked.carries, asked.joint) == (("label", aspect), ())
    settings = {"generator.joint": [aspect], "generator.conditioning": "vac"}
    told = resolve("toy-faces", ProveOptions(task=task, settings=settings))
    drawn = fitted_to(told, table).generator
    assert (drawn.carries, drawn.joint) == (("label",), (aspect,))
    for gan in (asked, drawn):
        check_compatible(gan, table.schema, table.images.shape[1:])


def test_a_task_is_named_by_its_beginning_or_by_a_setting() -> None:
    options = [ProveOptions(task="segment"), ProveOptions(settings={"task.kind": "segmentation"})]
    first, second = (resolve("toy-eyes", o) for o in options)
    assert first == second
    assert first.task.network == "unet"
    with pytest.raises(UsageError, match="did you mean 'landmarks'"):
        resolve("toy-faces", ProveOptions(task="landmark-s"))


def test_a_task_that_is_no_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("task: {kind: [segmentation]}\n")
    with pytest.raises(UsageError, match="set one of classification"):
        resolve("toy-eyes", ProveOptions(config=str(tmp_path / "study.yaml")))


def test_a_generator_that_does_not_carry_the_aspect_is_refused(tmp_path: Path) -> None:
    settings = {**TINY, "task.kind": "regression", "generator.conditioning": "vac"}
    with pytest.raises(IncompatibleError, match="must carry pose"):
        augmint.prove("toy-faces", tmp_path / "a", seeds=2, workers=1, settings=settings)
    with pytest.raises(IncompatibleError, match="kind mask, and the set has none"):
        augmint.prove(
            "digits", tmp_path / "b", seeds=2, workers=1, settings={"task.kind": "segmentation"}
        )


@pytest.mark.parametrize("name", ["toy-eyes", "toy-faces", "digits"])
def test_a_built_in_set_takes_few_labels_however_it_is_named(name: str) -> None:
    wanted = resolve(name, ProveOptions()).per_class
    assert wanted is not None
    assert resolve(f"{{name: {name}}}", ProveOptions()).per_class == wanted
    assert resolve(f"./{name}", ProveOptions()).per_class is None

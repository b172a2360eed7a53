"""Every registered task: it learns, scores, saves, and refuses what it cannot do."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from task_worlds import SHAPE, VOID, World, faces, schema

from augmint.aspects.base import Schema
from augmint.core.errors import IncompatibleError, UsageError
from augmint.core.registry import ASPECTS, TASKS
from augmint.tasks.base import Task
from augmint.tasks.config import TaskConfig
from augmint.tasks.phase import TaskPhase
from augmint.tasks.scores import Errors, Measure, Scores
from augmint.tasks.trained import TrainedTask

TRAIN, TEST = slice(0, 220), slice(220, 300)
SMALL: dict[str, dict[str, Any]] = {
    "classification": {"network": {"name": "small-cnn", "channels": 8}, "steps": 60},
    "landmarks": {"network": {"name": "var-regressor", "channels": 8, "hidden": 64}},
    "regression": {
        "network": {"name": "var-regressor", "channels": 8, "hidden": 64, "bounded": False}
    },
    "segmentation": {
        "network": {"name": "unet", "channels": 8, "depth": 2},
        "steps": 120,
        "learning_rate": 1e-2,
    },
    "dense": {"network": {"name": "unet", "channels": 4, "depth": 2}, "steps": 60},
}
"""Narrow networks and few steps; a task that is not named here is run as it is configured."""
NAMES = TASKS.names()


def config(name: str, **fields: Any) -> TaskConfig:
    common = {"steps": 80, "batch": 32, **SMALL.get(name, {}), **fields}
    return TASKS.get(name).configured(common)


def train(
    name: str, policy: Any = "none", of: World | None = None, **fields: Any
) -> tuple[Task, TrainedTask]:
    world, task = of or faces(), TASKS.create(name)
    made = task.train(config(name, **fields), world.schema, SHAPE, [world.source(TRAIN)], policy, 0)
    return task, made


@pytest.fixture(scope="module", params=NAMES)
def trained(request: pytest.FixtureRequest) -> tuple[str, Task, TrainedTask]:
    return (request.param, *train(request.param))


def test_every_kind_of_aspect_has_a_task() -> None:
    kinds = {kind for name in NAMES for kind in TASKS.get(name).kinds}
    assert kinds == set(ASPECTS.names())


def constant(world: World, name: str) -> Any:
    """The best answer that looks at no image: the mean, the median or the most frequent value."""
    values = world.values[name][TRAIN]
    kind = world.schema[name].kind
    if kind == "category":
        return np.bincount(values).argmax()
    if kind == "mask":
        return np.apply_along_axis(lambda v: np.bincount(v).argmax(), 0, values)
    return np.median(np.where(np.isnan(values), 0.0, values), axis=0)


def test_learns_more_than_a_constant(trained: tuple[str, Task, TrainedTask]) -> None:
    name, task, made = trained
    world, aspect = faces(), made.aspect
    scores = task.score(made, world.real(TEST))
    answer = np.broadcast_to(
        constant(world, aspect.name), world.values[aspect.name][TEST].shape
    ).copy()

    class Constant(TrainedTask):
        def predictions(self, images: np.ndarray) -> np.ndarray:
            return answer

        def probabilities(self, images: np.ndarray) -> np.ndarray:
            return np.eye(aspect.width, dtype=np.float32)[answer]

    fields = {f.name: getattr(made, f.name) for f in dataclasses.fields(made)}
    dull = task.score(Constant(**fields), world.real(TEST))
    assert scores.points > dull.points + 2, name
    assert scores.points < 100


def test_scores_keep_the_promise_to_studies(trained: tuple[str, Task, TrainedTask]) -> None:
    _, task, made = trained
    scores = task.score(made, faces().real(TEST))
    assert isinstance(scores, Scores)
    assert isinstance(task.measure, Measure)
    assert scores.measure is task.measure
    assert scores.name == task.measure.name
    each = scores.per_image
    assert each.shape == (80,)
    assert each.dtype == np.float64
    assert each.max() <= 1.0
    assert scores.points == pytest.approx(100 * each.mean())
    plain = scores.plain()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    raw = plain[task.measure.key]
    wanted = 1.0 - raw if task.measure.lower_is_better else raw
    assert scores.points == pytest.approx(100 * wanted)


def test_images_are_paired_by_row(trained: tuple[str, Task, TrainedTask]) -> None:
    """The score of an image does not depend on the others; the best come where they stand."""
    name, task, made = trained
    if name == "regression":
        return  # the spread that errors are relative to is that of all scored images
    whole = task.score(made, faces().real(TEST)).per_image
    part = task.score(made, faces().real(slice(250, 260))).per_image
    np.testing.assert_allclose(part, whole[30:40], atol=1e-5)


def test_points_are_one_minus_the_aspects_error(trained: tuple[str, Task, TrainedTask]) -> None:
    """Two implementations of the error: on arrays of predictions, and the aspect's own."""
    name, task, made = trained
    world, aspect = faces(), made.aspect
    each = task.score(made, world.real(TEST)).per_image
    errors = made.errors(world.images[TEST], world.values[aspect.name][TEST])
    if name == "regression":
        deviation = np.array(aspect.deviation)  # type: ignore[attr-defined]
        truth = world.values[aspect.name][TEST].astype(np.float64)
        own = np.abs(made.predictions(world.images[TEST]) - truth)
        np.testing.assert_allclose((own / deviation).mean(1), errors, rtol=1e-4)
        spread = np.abs(truth - np.median(truth, 0)).mean(0)
        np.testing.assert_allclose(1 - (own / spread).mean(1), each, rtol=1e-4)
        return
    np.testing.assert_allclose(1.0 - errors, each, atol=1e-4)


def test_what_images_claim_is_measured_in_the_unit_of_the_score(
    trained: tuple[str, Task, TrainedTask],
) -> None:
    """Of real images with their own values it is one minus the score; of others' it is larger."""
    name, task, made = trained
    real, own = faces().real(TEST), faces().values[made.aspect.name][TEST]
    found = task.claim_errors(made, real.images, own, own)
    np.testing.assert_allclose(found, 1.0 - task.score(made, real).per_image, atol=1e-4)
    others = task.claim_errors(made, real.images, np.roll(own, 7, axis=0), own)
    assert others.mean() > found.mean()
    few = task.claim_errors(made, real.images[:9], own[:9], own)
    np.testing.assert_allclose(few, found[:9], atol=1e-5, err_msg=name)


def test_predictions_are_stored_values(trained: tuple[str, Task, TrainedTask]) -> None:
    _, _, made = trained
    world, aspect = faces(), made.aspect
    found = made.predictions(world.images[TEST])
    shape, dtype = aspect.storage(SHAPE)
    assert found.shape == (80, *shape)
    assert found.dtype == dtype
    decoded = aspect.decode(torch.from_numpy(made.logits(world.images[TEST]))).numpy()
    np.testing.assert_array_equal(found, decoded)
    if hasattr(aspect, "classes"):
        p = made.probabilities(world.images[TEST])
        assert p.shape == (80, aspect.width, *(() if aspect.flat else SHAPE[1:]))
        np.testing.assert_allclose(p.sum(1), 1.0, atol=1e-5)
        np.testing.assert_array_equal(p.argmax(1), found)
    else:
        with pytest.raises(IncompatibleError, match="those of classes"):
            made.probabilities(world.images[TEST])
    assert made.features(world.images[:5]).ndim == 2


def test_no_images_have_answers_of_the_same_form(trained: tuple[str, Task, TrainedTask]) -> None:
    _, _, made = trained
    world, values = faces(), faces().values[made.aspect.name]
    none, one = world.images[:0], world.images[:1]
    for answer in (made.logits, made.predictions, made.features):
        found, form = answer(none), answer(one)
        assert found.shape == (0, *form.shape[1:])
        assert found.dtype == form.dtype
    assert made.errors(none, values[:0]).shape == (0,)


def test_saved_and_loaded(trained: tuple[str, Task, TrainedTask], tmp_path: Path) -> None:
    _, task, made = trained
    made.save(tmp_path / "task.safetensors")
    again = TrainedTask.load(tmp_path / "task.safetensors")
    assert again.digest == made.digest
    assert again.schema == made.schema
    world = faces()
    np.testing.assert_array_equal(again.logits(world.images[:9]), made.logits(world.images[:9]))
    assert task.score(again, world.real(TEST)).points == task.score(made, world.real(TEST)).points


def test_diagnosis_takes_what_is_claimed(trained: tuple[str, Task, TrainedTask]) -> None:
    name, task, made = trained
    world = faces()
    images, claimed = world.images[TEST], world.values[made.aspect.name][TEST]
    true = task.diagnose(made, images, claimed)
    false = task.diagnose(made, images, claimed[::-1])
    json.dumps(true.plain(), allow_nan=False)
    if isinstance(true, Errors):
        assert isinstance(false, Errors)
        assert 0 < true.mean < false.mean
        assert true.quantiles[0] <= true.quantiles[2] <= true.quantiles[4]
    else:
        assert name == "classification"
        assert true.agreement > false.agreement  # type: ignore[union-attr]


def test_repeats_bit_for_bit() -> None:
    for name in NAMES:
        one, two = (train(name, "affine", steps=3)[1].digest for _ in range(2))
        assert one == two, name


def test_a_task_configures_itself() -> None:
    assert TASKS.get("classification").configured() == TaskConfig()
    for name in NAMES:
        task = TASKS.get(name)
        found = task.configured({"steps": 7})
        assert found.steps == 7
        assert found.network == task.defaults.get("network", TaskConfig.network)
        with pytest.raises(UsageError, match="no field"):
            task.configured({"step": 7})


@pytest.mark.parametrize("name", NAMES)
def test_the_only_aspect_of_a_kind_is_meant(name: str) -> None:
    task = TASKS.create(name)
    assert task.aspect(config(name), schema()).kind in task.kinds
    first = task.aspect(config(name), schema())
    twice = Schema((*schema().aspects, dataclasses.replace(first, name="other")))
    with pytest.raises(UsageError, match=rf"several.*{first.name}, other"):
        task.aspect(config(name), twice)
    assert task.aspect(config(name, aspect="other"), twice).name == "other"
    # one that is called so is meant, whatever else there is
    called = Schema((*twice.aspects, dataclasses.replace(first, name="label")))
    assert task.aspect(config(name), called).name == "label"
    foreign = next(a for a in schema() if a.kind not in task.kinds)
    with pytest.raises(IncompatibleError, match=rf"{foreign.name}, a {foreign.kind}"):
        task.aspect(config(name, aspect=foreign.name), schema())
    with pytest.raises(IncompatibleError, match="and the set has none"):
        task.aspect(config(name), Schema((foreign,)))


@pytest.mark.parametrize("name", NAMES)
def test_a_network_of_another_role_is_refused(name: str) -> None:
    wrong = "small-cnn" if TASKS.get(name).role == "mapper" else "unet"
    with pytest.raises(UsageError, match=r"--set task\.network="):
        train(name, network=wrong)


def test_bounded_networks_are_for_bounded_aspects() -> None:
    for name in ("classification", "regression"):
        with pytest.raises(IncompatibleError, match=r"within \[-1, 1\]"):
            train(name, network="var-regressor")


def test_networks_that_read_points_read_nothing_else() -> None:
    with pytest.raises(IncompatibleError, match="reads landmarks off images"):
        train("regression", network="integral-regressor")
    with pytest.raises(IncompatibleError, match="reads landmarks"):
        train("classification", network="integral-regressor")


MIRRORING: list[Any] = [
    "flip",
    "flip-affine",
    {"name": "affine", "flip": 0.1},
    {"name": "affine-colour", "affine": {"flip": 0.5}},
    {"name": "chain", "steps": ["colour", "flip"]},
]


@pytest.mark.parametrize("policy", MIRRORING, ids=str)
def test_flips_of_unknown_pairs_are_refused_before_training(
    policy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("a step was made")

    with monkeypatch.context() as patch:
        patch.setattr(TaskPhase, "losses", never)
        with pytest.raises(IncompatibleError, match="left and right"):
            train("landmarks", policy)
    known = dataclasses.replace(faces(), schema=schema(pairs=()))
    train("landmarks", policy, known, steps=1)
    train("segmentation", policy, steps=1)


@pytest.mark.parametrize("policy", ["flip", "affine", "colour"])
def test_policies_that_never_mirror_are_not(policy: str) -> None:
    chosen = {"name": "flip", "probability": 0.0} if policy == "flip" else policy
    train("landmarks", chosen, steps=1)


@pytest.mark.parametrize("policy", ["mixup", "cutmix", {"name": "chain", "steps": ["mixup"]}])
def test_mixing_is_for_categories(policy: Any) -> None:
    train("classification", policy, steps=1)
    for name in NAMES:
        if "category" not in TASKS.get(name).kinds:
            with pytest.raises(IncompatibleError, match="category only"):
                train(name, policy)


@pytest.mark.parametrize("name", ["landmarks", "segmentation", "dense"])
def test_rows_without_truth_cannot_be_scored(name: str) -> None:
    world = faces()
    task, made = train(name, steps=1)
    empty = {"landmarks": 0.0, "segmentation": VOID, "dense": np.nan}[name]
    column = world.values[made.aspect.name][TEST].copy()
    column[3] = empty
    values = {**world.real(TEST).values, made.aspect.name: column}
    rows = dataclasses.replace(world.real(TEST), values=values)
    assert made.aspect.told(column).tolist() == [i != 3 for i in range(80)]
    with pytest.raises(UsageError, match="the first is row 3"):
        task.score(made, rows)


def test_values_of_another_form_are_refused() -> None:
    world = faces()
    task, made = train("segmentation", steps=1)
    with pytest.raises(UsageError, match="stored form"):
        task.diagnose(made, world.images[:2], np.zeros((2, 8, 8), np.uint8))


def test_a_vector_learns_its_scale_from_real_rows_once() -> None:
    world = faces()
    task = TASKS.create("regression")
    far = {"place": world.values["place"][:40] + 100}
    minted = world.source(slice(0, 40), values=far, share=0.5, origin="minted")
    sources = [world.source(TRAIN, share=0.5), minted]
    made = task.train(config("regression", steps=1), world.schema, SHAPE, sources, "none", 0)
    np.testing.assert_allclose(
        made.aspect.mean,
        world.values["place"][TRAIN].mean(0),
        rtol=1e-5,  # type: ignore[attr-defined]
    )
    fitted = world.schema.fitted({**world.values, "place": world.values["place"] * 2})
    again = task.train(config("regression", steps=1), fitted, SHAPE, sources, "none", 0)
    assert again.aspect == fitted["place"]

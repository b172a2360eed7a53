"""The iris networks as segmenters: the published merge, one size, scores of masks, precision."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from augmint.aspects.base import Schema
from augmint.aspects.mask import Mask
from augmint.core.errors import IncompatibleError, UsageError
from augmint.core.registry import ARCHITECTURES, RECIPES
from augmint.core.types import to_float
from augmint.data.ingest import ingest
from augmint.data.table import Table
from augmint.merging.contraction import Rules
from augmint.merging.merge import merge_networks
from augmint.merging.notation import chain
from augmint.metrics.pixel import BINARY
from augmint.recipes.base import RecipeOptions, run_recipe
from augmint.recipes.spdnn_candidates import Ending, Operations, Scaled
from augmint.recipes.spdnn_equal_size import (
    EqualSizeRecipe,
    candidates_of,
    split_of,
    stages_of,
)
from augmint.recipes.spdnn_eyes import BUDGET, PARENTS, SIZE
from augmint.recipes.spdnn_networks import inception, parents_of
from augmint.recipes.spdnn_training import (
    Repetition,
    RunConfig,
    Training,
    rows_of,
    train_network,
    trained,
)
from augmint.studies.rows import SplitConfig
from augmint.studies.stages import Stage, read_result

KERNELS = [3, 5, 7, 9, 11, 13, 15, 13, 11, 9, 7, 5, 3]
RIVALS = ["merged", "parallel", "inception", "random-1", "random-2", "segnet-basic", "unet"]
SHAPE = (1, 24, 32)


@dataclass(frozen=True)
class Run:
    """A finished debug run."""

    out: Path
    result: dict[str, Any]
    table: Table
    stages: dict[str, list[Stage]]
    candidates: dict[str, Any]


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("eyes") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUGMINT_QUIET", "1")
        result = run_recipe("spdnn-eyes", out, RecipeOptions(debug=True, device="cpu"))
    table = ingest("toy-eyes", out / "cache", size=SIZE, channels=1)
    recipe: Any = RECIPES.create("spdnn-eyes")
    config = recipe.configure("text", True)
    task, aspect = recipe.checked(config, table)
    _, _, candidates = candidates_of(config, table, aspect)
    splits = [split_of(config, 0, i) for i in range(config.seeds)]
    stages = stages_of(config, candidates, task, table, splits, "auto")
    return Run(out, result, table, stages, candidates)


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Forty images of noise with a bright half, which is the mask; some pixels are void."""
    draw = np.random.default_rng(0)
    masks = (np.arange(16)[None, None, :] < draw.integers(4, 12, (40, 16, 1))).astype(np.uint8)
    images = (100 * masks + draw.integers(0, 90, masks.shape)).astype(np.uint8)[:, None]
    masks[:, 0, :3] = 255
    schema = Schema((Mask("half", ("dark", "bright"), void=255),))
    names, parts = [str(i) for i in range(40)], {"all": np.arange(40)}
    folder = tmp_path_factory.mktemp("halves") / "table"
    return Table.write(folder, images, {"half": masks}, schema, names, parts)


def repetition(table: Table, training: Training) -> Repetition:
    recipe: Any = RECIPES.create("spdnn-eyes")
    config = replace(recipe.configure("text"), training=training)
    task, _ = recipe.checked(config, table)
    split = SplitConfig(0, 0, 20, 0.25, 0.0, validation=0.25)
    return Repetition(task, training.policy, training.readings, split)


def convolutions(network: Any) -> list[tuple[int, int]]:
    return [
        (layer.attributes["kernel"][0], layer.attributes["outputs"])
        for layer in network
        if layer.kind == "conv"
    ]


def test_the_merge_is_the_published_one() -> None:
    shape = (1, 96, 128)
    merge = merge_networks(parents_of(PARENTS, shape, Ending(1, False)), None)
    # the released network's channels, sheet by sheet of its program
    channels = [10, 10, 20, 20, 30, 30, 40, 30, 30, 20, 20, 10, 1]
    assert convolutions(merge.network) == list(zip(KERNELS, channels, strict=True))
    assert merge.report()["merged"]["convolution_weights"] == 1_101_580
    # its rule joins the last layers in the passes, ours from the start: one and the same network
    parents = parents_of(PARENTS, SHAPE, Ending(4, False))
    published = merge_networks(parents, BUDGET, Rules(output="layer"))
    assert published.contraction.counts == [40, 25, 13]
    assert merge_networks(parents, BUDGET).network.canonical() == published.network.canonical()


def test_all_networks_of_the_full_version_are_of_one_size(eyes: Run) -> None:
    recipe: Any = RECIPES.create("spdnn-eyes")
    config = recipe.configure("text")
    _, budget, candidates = candidates_of(config, eyes.table, eyes.table.schema["mask"])
    assert list(candidates) == [*PARENTS, *RIVALS]
    assert budget == config.budget
    for name, candidate in candidates.items():
        network = candidate.build(0)
        count = sum(p.numel() for p in network.parameters())
        assert candidate.parameters == count == pytest.approx(budget, rel=0.01), name
        assert network.eval()(torch.zeros(2, *SHAPE)).shape == (2, 4, 24, 32)
    merged = [kernel for kernel, _ in convolutions(candidates["merged"].network)]
    assert merged == KERNELS


@pytest.mark.parametrize(("name", "budget"), [("segnet-basic", 9_000), ("unet", 40_000)])
def test_a_scaled_architecture_is_the_nearest_of_all_widths(name: str, budget: int) -> None:
    found = Scaled.of({"name": name}, SHAPE, Ending(3, False), budget)
    sizes = {}
    for channels in range(1, 12):
        network = ARCHITECTURES.create({"name": name, "channels": channels}).build(SHAPE, 3)
        sizes[channels] = sum(p.numel() for p in network.parameters())
    assert found.spec["channels"] == min(sizes, key=lambda c: abs(sizes[c] - budget))
    assert found.parameters == sizes[found.spec["channels"]]


def test_the_smallest_width_is_taken_where_all_are_too_large() -> None:
    found = Scaled.of("segnet-basic", SHAPE, Ending(3, False), 10)
    assert found.spec["channels"] == 1


def test_multiplications_against_a_count_by_hand() -> None:
    width, outputs, pixels = 5, 4, 24 * 32
    found = Scaled.of("segnet-basic", SHAPE, Ending(outputs, False), 8_924)
    assert found.spec["channels"] == width
    first = 49 * width * pixels
    inner = sum(49 * width**2 * pixels // 4**level for level in (1, 2, 3, 3, 2, 1, 0))
    assert found.multiplications == first + inner + width * outputs * pixels
    merged = Operations.of(chain("n", SHAPE, "3C:2 3C:4"))
    assert merged.multiplications == (9 * 2 + 9 * 2 * 4) * pixels


def test_an_inception_block_for_maps_pools_nothing_away() -> None:
    network = inception(SHAPE, Ending(4, False))
    assert sum(layer.kind == "conv" for layer in network) == 14
    strides = {layer.attributes["stride"] for layer in network if layer.kind == "pool"}
    assert strides == {(1, 1)}
    assert Operations.of(network).build(0)(torch.zeros(2, *SHAPE)).shape == (2, 4, 24, 32)


def test_the_debug_version_compares_all(eyes: Run) -> None:
    details = eyes.result["details"]
    names = [row["network"] for row in details["networks"]]
    assert names == [*PARENTS, *RIVALS, "votes"]
    assert {row["against"] for row in details["comparisons"]} == set(names) - {"merged"}
    assert details["best_parent"] in PARENTS
    assert "mIoU on 90 test images" in details["sentence"]
    assert {f"miou_{name}" for name in names} <= set(eyes.result["metrics"])
    for row in details["networks"]:
        assert row["measures"]["miou"] == pytest.approx(row["score"])
        assert not any(key.startswith("nine") for key in row["measures"]), "of two classes only"
    far = eyes.result["protocols"]["parameters_merged"]
    unet = next(r["parameters"] for r in details["networks"] if r["network"] == "unet")
    assert f"unet, {100 * (unet / details['budget'] - 1):+.2f} %" in far
    table = (eyes.out / "table.txt").read_text()
    assert "mIoU" in table
    assert all(f"\n{name} " in table for name in names)
    assert "per_class.pupil" in (eyes.out / "measures.txt").read_text()


def test_all_predict_every_class_of_the_same_images(eyes: Run) -> None:
    kept = [stage.config for line in eyes.stages.values() for stage in line]
    for index in (0, 1):
        shared = {repr(c.repetition) for c in kept if c.repetition.split.index == index}
        assert len(shared) == 1
    assert all(c.build(0)(torch.zeros(2, *SHAPE)).shape[1] == 4 for c in eyes.candidates.values())


def predicted(eyes: Run, name: str, images: Any) -> Any:
    """Return the logits of a network of the first seed, from its weights."""
    stage = eyes.stages[name][0]
    folder = eyes.out / "stages" / stage.label
    network = trained(eyes.candidates[name], stage.config.repetition, folder)
    with torch.inference_mode():
        return network(to_float(torch.from_numpy(np.array(images)))).double()


@pytest.mark.parametrize("name", ["merged", "unet", "votes"])
def test_scores_against_a_slow_reference(name: str, eyes: Run) -> None:
    stage = eyes.stages[name][0]
    _, _, test = rows_of(eyes.table, stage.config.repetition.split)
    members = PARENTS if name == "votes" else [name]
    chances = sum(predicted(eyes, m, test.images).softmax(1) for m in members)
    said, truth = chances.argmax(1).numpy(), test.values["mask"]  # type: ignore[union-attr]
    each = []
    for p, t in zip(said, truth, strict=True):
        shares = []
        for c in range(4):
            a, b = ({i for i, v in enumerate(x.ravel()) if v == c} for x in (p, t))
            shares += [len(a & b) / len(a | b)] if a | b else []
        each.append(sum(shares) / len(shares))
    value = read_result(eyes.out / "stages" / stage.label).value
    assert value["test"] == pytest.approx(sum(each) / len(each), abs=1e-6)
    assert value["spread"] == pytest.approx(float(np.std(each)), abs=1e-6)
    assert value["n"] == len(each) == 90


def test_the_last_reading_is_the_loss_of_the_last_weights(eyes: Run) -> None:
    stage = eyes.stages["merged"][1]
    repetition = stage.config.repetition
    _, validation, _ = rows_of(eyes.table, repetition.split)
    folder = eyes.out / "stages" / stage.label
    network = trained(eyes.candidates["merged"], repetition, folder)
    with torch.inference_mode():
        logits = network(to_float(torch.from_numpy(np.array(validation.images))))
    total, count = 0.0, 0
    for image, mask in zip(logits.tolist(), validation.values["mask"].tolist(), strict=True):
        for row, line in enumerate(mask):
            for column, c in enumerate(line):
                values = [image[k][row][column] for k in range(4)]
                total += math.log(sum(math.exp(v) for v in values)) - values[c]
                count += 1
    readings = read_result(folder).value["validation_losses"]
    assert len(readings) == repetition.readings
    assert readings[-1] == pytest.approx(total / count, abs=2e-6)


def test_two_classes_have_the_nine_measures_and_void_counts_nowhere(
    two_classes: Table, tmp_path: Path
) -> None:
    shared = repetition(two_classes, Training(steps=60, batch=8, readings=2))
    candidate = Operations.of(chain("n", two_classes.shape, "3C:4 3C:2"))
    value = train_network(
        RunConfig(candidate, shared), {"table": two_classes.folder}, tmp_path, tmp_path
    )
    for name in BINARY:
        assert {f"nine.{name}.mean", f"nine.{name}.sd", f"nine.{name}.n"} <= set(value["measures"])
    assert set(value["measures"]) >= {"per_class.dark", "per_class.bright"}
    assert 0.5 < value["test"] < 1
    rows, validation, test = rows_of(two_classes, shared.split)
    assert (len(rows.train), len(validation), len(test)) == (15, 5, 10)
    network = trained(candidate, shared, tmp_path)
    with torch.inference_mode():
        logits = network(to_float(torch.from_numpy(np.array(validation.images)))).double()
    chances, truth = logits.softmax(1).numpy(), validation.values["half"]
    kept = [
        -math.log(chances[i, truth[i, y, x], y, x])
        for i, y, x in zip(*np.nonzero(truth != 255), strict=True)
    ]
    assert len(kept) == truth.size - 3 * len(truth)
    assert value["validation_losses"][-1] == pytest.approx(sum(kept) / len(kept), abs=2e-6)


def test_precision_reaches_the_training_alone(two_classes: Table, tmp_path: Path) -> None:
    assert Training().task("classification").precision == "fp32"
    candidate = Operations.of(chain("n", two_classes.shape, "3C:4 3C:2"))
    values = {}
    for precision in ("fp32", "bf16"):
        training = Training(steps=4, batch=8, readings=2, precision=precision)  # type: ignore[arg-type]
        shared = repetition(two_classes, training)
        folder = tmp_path / precision
        folder.mkdir()
        values[precision] = train_network(
            RunConfig(candidate, shared), {"table": two_classes.folder}, folder, folder
        )["losses"]
    assert values["bf16"] != values["fp32"]
    # bf16 keeps 8 bits: a relative rounding of 2^-9 an operation, of few operations
    assert values["bf16"][0] == pytest.approx(values["fp32"][0], rel=0.02)


def test_a_set_without_a_mask_is_refused(tmp_path: Path) -> None:
    options = RecipeOptions(debug=True, data="digits", settings=["size=null"])
    with pytest.raises(IncompatibleError, match="kind mask"):
        run_recipe("spdnn-eyes", tmp_path / "a", options)


def test_two_networks_of_one_name_are_refused(eyes: Run) -> None:
    recipe: Any = RECIPES.create("spdnn-eyes")
    config = replace(recipe.configure("text", True), architectures=("unet", {"name": "unet"}))
    with pytest.raises(UsageError, match="names of their own"):
        candidates_of(config, eyes.table, eyes.table.schema["mask"])


def test_both_members_share_one_mechanism_and_say_data_alone() -> None:
    for name in ("spdnn-classifier", "spdnn-eyes"):
        member = RECIPES.get(name)
        assert issubclass(member, EqualSizeRecipe)
        assert member.run is EqualSizeRecipe.run
        own = {k for k, v in vars(member).items() if callable(v) and not k.startswith("_")}
        assert own == {"configure", "deviations"}
    config: Any = RECIPES.create("spdnn-eyes").configure("text")
    assert split_of(config, 0, 3).per_class == config.per_class + config.validation_per_class

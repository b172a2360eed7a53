"""The recipes of merges: the published structure; equal size, votes, choice and convergence."""

from __future__ import annotations

import json
import random
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from augmint.cli import main
from augmint.core.errors import UsageError
from augmint.core.registry import RECIPES
from augmint.core.types import to_float
from augmint.data.ingest import ingest
from augmint.merging.build import load
from augmint.merging.contraction import Rules
from augmint.merging.shapes import totals
from augmint.recipes import spdnn_outcome
from augmint.recipes.base import RecipeOptions, run_recipe
from augmint.recipes.spdnn_candidates import Ending
from augmint.recipes.spdnn_classifier import PARENTS
from augmint.recipes.spdnn_equal_size import candidates_of, split_of, stages_of
from augmint.recipes.spdnn_judging import (
    Scale,
    best_on_validation,
    convergence,
    fluctuation,
    judge,
    steps_to,
)
from augmint.recipes.spdnn_networks import inception, mean_size, networks_of, parents_of
from augmint.recipes.spdnn_training import rows_of, trained
from augmint.recipes.spdnn_votes import Votes

RIVALS = ["merged", "parallel", "inception", "random-1", "random-2"]


@pytest.fixture(scope="module")
def classified(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("spdnn") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUGMINT_QUIET", "1")
        return out, run_recipe("spdnn-classifier", out, RecipeOptions(debug=True, device="cpu"))


def test_the_iris_recipe_states_the_published_numbers(tmp_path: Path) -> None:
    out = tmp_path / "iris"
    result = run_recipe("spdnn-iris", out, RecipeOptions(debug=True))
    metrics = result["metrics"]
    steps = [metrics[f"nodes_{name}"] for name in ("parallel", "forward", "backward")]
    assert steps == [40, 25, 13]
    # the released network's table: kernel, channels, channels that come in
    table = [(3, 10, 1), (5, 10, 10), (7, 20, 10), (9, 20, 20), (11, 30, 20), (13, 30, 30)]
    table += [(15, 40, 30), (13, 30, 40), (11, 30, 60), (9, 20, 60), (7, 20, 40), (5, 10, 20)]
    weights = sum(k * k * n * m for k, n, m in [*table, (3, 1, 10)])
    parents = (924_480, 451_680, 190_680, 69_480)
    assert metrics["convolution_weights_merged"] == weights
    assert metrics["convolution_weights_saved"] == pytest.approx(1 - weights / sum(parents))
    assert metrics["parameters_built"] == metrics["parameters_merged"] == 1_102_121
    assert len(list(out.glob("*.svg"))) == 5
    for drawing in out.glob("*.svg"):
        ElementTree.parse(drawing)
    built = load(out / "network.json")
    assert sum(p.numel() for p in built.parameters()) == 1_102_121
    page = (out / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 5
    assert "convolution weights saved: 32.7 %" in page


@pytest.mark.parametrize(
    ("name", "variant", "expected"),
    [
        ("spdnn-magazine", "text", {"nodes_parallel": 19, "nodes_forward": 17}),
        ("spdnn-depth", "text", {"nodes_parallel": 60, "nodes_forward": 20}),
        ("spdnn-depth", "released", {"parameters_merged": 254_517, "parameters_built": 254_517}),
    ],
)
def test_published_numbers(
    name: str, variant: str, expected: dict[str, float], tmp_path: Path
) -> None:
    result = run_recipe(name, tmp_path / "a", RecipeOptions(debug=True, variant=variant))
    assert {k: result["metrics"][k] for k in expected} == expected
    assert json.loads((tmp_path / "a" / "merge.json").read_text())["nodes"] == {
        step.removeprefix("nodes_"): n
        for step, n in result["metrics"].items()
        if step.startswith("nodes_")
    }


def test_merged_and_parents_of_the_magazine_are_of_one_size(tmp_path: Path) -> None:
    found = run_recipe("spdnn-magazine", tmp_path / "a", RecipeOptions(debug=True))["details"]
    mean = np.mean([p["parameters"] for p in found["parents"]])
    assert found["merged"]["parameters"] == pytest.approx(mean, rel=0.01)


def test_structural_recipes_refuse_data(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes no data"):
        run_recipe("spdnn-iris", tmp_path / "a", RecipeOptions(data="digits"))


@pytest.mark.parametrize(
    ("shape", "outputs"), [((1, 28, 28), 10), ((1, 48, 48), 7), ((3, 8, 8), 4)]
)
def test_all_networks_are_of_one_size(shape: tuple[int, int, int], outputs: int) -> None:
    ending = Ending(outputs, True)
    parents = parents_of(PARENTS, shape, ending)
    budget = np.mean([totals(p)["parameters"] for p in parents])
    merge, networks = networks_of(parents, ending, mean_size(parents), Rules(), 2)
    assert list(networks) == [*PARENTS, *RIVALS]
    for name, network in networks.items():
        assert totals(network)["parameters"] == pytest.approx(budget, rel=0.01), name
    assert merge.contraction.counts[0] > merge.contraction.counts[-1]
    assert merge.contraction.counts[-1] > max(
        len(w.split()) - w.count("P") + 1 for w in PARENTS.values()
    )
    assert networks["random-1"].canonical() != networks["random-2"].canonical()
    assert networks["merged"].canonical() != networks["parallel"].canonical()
    assert sum(layer.kind == "conv" for layer in inception(shape, ending)) == 13


def test_the_debug_version_of_the_classifier(classified: tuple[Path, dict[str, Any]]) -> None:
    out, result = classified
    details, config = result["details"], result["config"]
    assert config["seeds"] == 2
    names = [row["network"] for row in details["networks"]]
    assert names == [*PARENTS, *RIVALS, "votes"]
    rows = {row["network"]: row for row in details["networks"]}
    sizes = [row["parameters"] for name, row in rows.items() if name != "votes"]
    assert max(sizes) / min(sizes) < 1.02
    assert rows["votes"]["parameters"] == sum(rows[p]["parameters"] for p in PARENTS)
    against = {row["against"]: row for row in details["comparisons"]}
    assert set(against) == set(names) - {"merged"}
    assert [n for n, r in against.items() if r["role"] == "primary"] == [details["best_parent"]]
    for name, row in against.items():
        paired = np.subtract(rows["merged"]["scores"], rows[name]["scores"])
        assert np.allclose(row["differences"], paired)
    assert {row["network"] for row in details["convergence"]} == set(names) - {"votes"}
    for name in ("losses.svg", "differences.svg", "5-merged.svg"):
        ElementTree.parse(out / name)
    text = (out / "table.txt").read_text()
    assert all(f"\n{name} " in text for name in names)
    text = (out / "convergence.txt").read_text()
    assert all(text.count(f"\n  {name} ") == 3 for name in names if name != "votes")
    assert details["sentence"] in (out / "report.html").read_text().replace("&#39;", "'")


def test_networks_of_a_seed_see_the_same_images_and_no_test_image(
    classified: tuple[Path, dict[str, Any]],
) -> None:
    out, _ = classified
    table = ingest("digits", out / "cache")
    config = RECIPES.create("spdnn-classifier").configure("text", True)
    both = []
    for index in (0, 1):
        rows, validation, test = rows_of(table, split_of(config, 0, index))
        sets = [set(rows.train.tolist()), set(validation.ids.tolist()), set(test.ids.tolist())]
        assert len(set.union(*sets)) == sum(map(len, sets)), "disjoint"
        labels = table.labels()
        assert np.bincount(labels[rows.train]).tolist() == [config.per_class] * 10
        assert np.bincount(labels[rows.test]).tolist() == [config.validation_per_class] * 10
        both.append(sets)
    assert both[0][2] == both[1][2], "one test set"
    assert both[0][0] != both[1][0], "other training images"


def test_votes_against_a_slow_reference(classified: tuple[Path, dict[str, Any]]) -> None:
    out, result = classified
    table = ingest("digits", out / "cache")
    recipe: Any = RECIPES.create("spdnn-classifier")
    config = recipe.configure("text", True)
    task, aspect = recipe.checked(config, table)
    _, _, candidates = candidates_of(config, table, aspect)
    splits = [split_of(config, 0, i) for i in range(config.seeds)]
    stages = stages_of(config, candidates, task, table, splits, "auto")
    votes = next(r for r in result["details"]["networks"] if r["network"] == "votes")
    for index in (0, 1):
        _, _, test = rows_of(table, split_of(config, 0, index))
        images = to_float(torch.from_numpy(np.array(test.images)))
        members = []
        for parent in PARENTS:
            stage = stages[parent][index]
            folder = out / "stages" / stage.label
            network = trained(candidates[parent], stage.config.repetition, folder)
            with torch.inference_mode():
                members.append(network(images).softmax(1).tolist())
        right = 0
        for i, label in enumerate(test.values["label"].tolist()):
            sums = [0.0] * 10
            for member in members:
                for c in range(10):
                    sums[c] += member[i][c]
            right += sums.index(max(sums)) == label
        assert votes["scores"][index] == pytest.approx(right / len(test))


class Says(torch.nn.Module):
    """Gives the same logits for every image."""

    def __init__(self, probabilities: list[float]) -> None:
        super().__init__()
        self.logits = torch.tensor([probabilities]).log()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(images), -1)


def test_a_vote_takes_means_and_not_majorities() -> None:
    votes = Votes([Says([0.05, 0.95]), Says([0.6, 0.4]), Says([0.6, 0.4])])
    found = votes(torch.zeros(2, 1, 4, 4))
    assert found.argmax(1).tolist() == [1, 1]
    assert found.softmax(1)[0].tolist() == pytest.approx([1.25 / 3, 1.75 / 3])


def test_the_best_parent_is_chosen_without_the_test_set() -> None:
    validation = {"a": [0.7, 0.9], "b": [0.85, 0.8], "c": [0.1, 0.2], "merged": [1.0, 1.0]}
    assert best_on_validation(validation, ["a", "b", "c"]) == "b"
    test = {"a": [0.9, 0.91], "b": [0.5, 0.52], "merged": [0.7, 0.71]}
    found = judge(test, "merged", "b", Scale("accuracy", 100, 0.5))
    primary = [r for r in found.rows if r["role"] == "primary"]
    assert [r["against"] for r in primary] == ["b"]
    assert found.verdict == "helps"
    assert primary[0]["mean"] == pytest.approx(0.195)
    assert found.delta == pytest.approx(0.05), "one standard error of 100 images"
    assert "b, chosen on validation" in found.sentence


def test_secondary_comparisons_are_adjusted_and_the_primary_is_not() -> None:
    draw = random.Random(0)
    test = {n: [0.8 + draw.gauss(0, 0.01) for _ in range(5)] for n in ("merged", "x", "y", "z")}
    found = {r["against"]: r for r in judge(test, "merged", "x", Scale("accuracy", 1000, 0.4)).rows}
    assert found["x"]["adjusted_p"] == found["x"]["p"]
    ordered = sorted((found["y"], found["z"]), key=lambda r: r["p"])
    assert ordered[0]["adjusted_p"] == pytest.approx(min(1.0, 2 * ordered[0]["p"]))
    assert ordered[1]["adjusted_p"] >= ordered[0]["adjusted_p"]


def test_steps_and_fluctuation_against_slow_references() -> None:
    draw = random.Random(1)
    losses = [3.0 * 0.97**i + draw.random() for i in range(60)]
    for target in (0.0, 0.7, 1.5, 5.0):
        slow = next(
            (at + 5 for at in range(0, 60, 5) if sum(losses[at : at + 5]) / 5 <= target),
            None,
        )
        assert steps_to(losses, target, 5) == slow
    last = np.array(losses[-12:])
    line = np.polyval(np.polyfit(np.arange(12), last, 1), np.arange(12))
    assert fluctuation(losses) == pytest.approx(np.sqrt(((last - line) ** 2).sum() / 10))


def test_convergence_is_oriented_so_that_more_is_better() -> None:
    wave = np.tile([0.0, 0.02], 20)
    slow = [np.linspace(2, 1 + s, 40) + wave for s in (0.0, 0.1)]
    fast = [np.linspace(2, 0.5 + s, 40) + wave / 4 for s in (0.0, 0.13)]
    stuck = [np.full(40, 3.0) + 3 * wave for _ in (0, 1)]
    lines = {n: [v.tolist() for v in x] for n, x in (("p", slow), ("m", fast), ("s", stuck))}
    rows = {r["network"]: r for r in convergence(lines, lines, "p", 4)}
    assert rows["p"]["steps_gain"] is None
    assert rows["p"]["seeds_that_reached_it"] == 2
    assert rows["m"]["steps_gain"]["mean"] > 0
    assert rows["m"]["fluctuation_gain"]["mean"] > 0
    assert rows["s"]["seeds_that_reached_it"] == 0
    assert rows["s"]["steps"] == 40
    assert rows["s"]["fluctuation_gain"]["mean"] < 0


def test_the_same_command_trains_nothing_again_and_the_test_set_chooses_nothing(
    classified: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, result = classified
    (out / "result.json").unlink()
    monkeypatch.setattr(torch.optim, "AdamW", None)
    asked: list[dict[str, list[float]]] = []

    def spy(validation: dict[str, list[float]], names: list[str]) -> str:
        asked.append(validation)
        return best_on_validation(validation, names)

    monkeypatch.setattr(spdnn_outcome, "best_on_validation", spy)
    again = run_recipe("spdnn-classifier", out, RecipeOptions(debug=True, device="cpu"))
    assert again["metrics"] == result["metrics"]
    rows = {row["network"]: row for row in again["details"]["networks"]}
    for parent in PARENTS:
        told = asked[0][parent]
        assert np.mean(told) == pytest.approx(rows[parent]["validation"])
        assert told != rows[parent]["scores"], "chosen on validation images"


def test_one_seed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="2 seeds"):
        run_recipe("spdnn-classifier", tmp_path, RecipeOptions(debug=True, settings=["seeds=1"]))


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "depth"
    assert main(["run", "spdnn-depth", "--debug", "--workers", "1", "--out", str(out)]) == 0
    assert '"nodes_forward": 20,' in capsys.readouterr().out

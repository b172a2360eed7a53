"""Every recipe configures all its variants and its debug version runs to a result on a CPU."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from augmint.core.config import build, to_plain
from augmint.core.errors import AugmintError, DataCheckError, UsageError
from augmint.core.registry import RECIPES
from augmint.recipes.base import Recipe, RecipeOptions, configured, run_recipe
from augmint.studies.comparing import first_rows

NAMES = RECIPES.names()


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_every_variant_has_a_complete_configuration_and_says_how_it_deviates(
    name: str, debug: bool
) -> None:
    recipe: Recipe[Any] = RECIPES.create(name)
    assert recipe.title
    assert recipe.source
    assert recipe.expected
    plain = []
    for variant in recipe.variants:
        config = recipe.configure(variant, debug)
        assert dataclasses.is_dataclass(config)
        assert config == recipe.configure(variant, debug)
        assert build(type(config), to_plain(config), "recipe") == config
        plain.append(json.dumps(to_plain(config)))
        assert all(recipe.deviations(variant, debug))
    assert len(set(plain)) == len(recipe.variants), "variants differ"


def scalars(plain: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, Any]]:
    """Give the dotted name and the value of every field that is no list."""
    for key, value in plain.items():
        if isinstance(value, Mapping):
            yield from scalars(value, f"{under}{key}.")
        elif not isinstance(value, list) and "." not in key:
            yield f"{under}{key}", value


@pytest.mark.parametrize("name", NAMES)
def test_any_field_can_be_set(name: str) -> None:
    recipe: Recipe[Any] = RECIPES.create(name)
    variant = recipe.variants[0]
    config = recipe.configure(variant, debug=True)
    assert configured(recipe, variant, True, ()) == config
    before = dict(scalars(to_plain(config)))
    key, value = next((k, v) for k, v in before.items() if isinstance(v, int))
    other = (not value) if isinstance(value, bool) else value + 1
    found = configured(recipe, variant, True, [f"{key}={json.dumps(other)}"])
    after = dict(scalars(to_plain(found)))
    assert type(found) is type(config)
    assert {k for k in before if before[k] != after[k]} == {key}
    assert after[key] == other
    with pytest.raises(UsageError, match="no field of this name; got nonsense"):
        configured(recipe, variant, True, ["nonsense=1"])


def test_a_refused_try_leaves_the_folder_to_the_next(tmp_path: Path) -> None:
    out = tmp_path / "a"
    with pytest.raises(UsageError, match="at least 2 seeds"):
        run_recipe("spdnn-eyes", out, RecipeOptions(debug=True, settings=["seeds=1"]))
    with pytest.raises(AugmintError, match="does not exist"):
        run_recipe("spdnn-eyes", out, RecipeOptions(debug=True, data=str(tmp_path / "none")))
    assert not (out / "asked.json").exists()


LEAKY = ("vac-mnist", "spdnn-classifier")


@pytest.mark.parametrize("name", LEAKY)
def test_images_in_two_parts_stop_a_recipe(name: str, tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for part, count in (("train", 80), ("test", 20)):
        for label in ("a", "b"):
            folder = tmp_path / "photos" / part / label
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 255, (28, 28), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    original = tmp_path / "photos" / "train" / "a" / "0.png"
    (tmp_path / "photos" / "test" / "a" / "again.png").write_bytes(original.read_bytes())
    data = str(tmp_path / "photos")
    options = RecipeOptions(debug=True, data=data, device="cpu")
    with pytest.raises(DataCheckError, match="no image may be in two parts"):
        run_recipe(name, tmp_path / "a", options)
    dropped = dataclasses.replace(options, drop_duplicates=True)
    assert run_recipe(name, tmp_path / "a", dropped)["drop_duplicates"] is True


def test_what_is_set_stands_among_the_deviations(tmp_path: Path) -> None:
    options = RecipeOptions(debug=True, settings=["case.rules.to_fixpoint=true"])
    result = run_recipe("spdnn-iris", tmp_path / "a", options)
    assert "set: case.rules.to_fixpoint=true" in result["deviations"]
    assert result["config"]["case"]["rules"]["to_fixpoint"] is True
    with pytest.raises(UsageError, match="holds one run of one recipe"):
        run_recipe("spdnn-iris", tmp_path / "a", RecipeOptions(debug=True))


@pytest.mark.parametrize("name", NAMES)
def test_debug_runs_to_a_result_and_is_not_done_twice(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUGMINT_QUIET", "1")
    out = tmp_path / "run"
    result = run_recipe(name, out, RecipeOptions(debug=True, seed=1, device="cpu"))
    assert result == json.loads((out / "result.json").read_text())
    assert {"recipe", "variant", "metrics", "expected", "seconds", "deviations"} <= set(result)
    assert result["variant"] == RECIPES.create(name).variants[0]
    assert result["metrics"]
    for measure, value in result["metrics"].items():
        assert value is None or np.isfinite(value), measure
        assert value is not None or "refused" in result["protocols"][measure]
    assert list((out / "pictures").glob("*.png")) or list(out.glob("*.svg"))
    # with its colon: the letters alone also occur in encoded pictures
    assert not re.search("https?:", (out / "report.html").read_text().split("</head>")[1])
    assert yaml.safe_load((out / "config.yaml").read_text()) == result["config"]
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and p.name != ".lock"}
    assert run_recipe(name, out, RecipeOptions(debug=True, seed=1, device="cpu")) == result
    after = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and p.name != ".lock"}
    assert before == after
    with pytest.raises(UsageError, match="one run of one recipe"):
        run_recipe(name, out, RecipeOptions(debug=True, seed=2, device="cpu"))


@pytest.mark.parametrize("name", NAMES)
def test_wrong_calls_are_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    variants = RECIPES.create(name).variants
    with pytest.raises(UsageError, match=f"did you mean '{variants[0]}'"):
        run_recipe(name, tmp_path / "a", RecipeOptions(debug=True, variant=variants[0][:-1]))
    needless = "needless" if not RECIPES.create(name).needs_data else None
    with pytest.raises(UsageError, match="--data"):
        run_recipe(name, tmp_path / "a", RecipeOptions(data=needless))
    with pytest.raises(UsageError, match="known"):
        run_recipe("no-such-recipe", tmp_path / "a", RecipeOptions(debug=True))
    assert not (tmp_path / "a").exists()


def test_the_vac_recipe_follows_its_sheet() -> None:
    recipe: Recipe[Any] = RECIPES.create("vac-mnist")
    text, released = recipe.configure("text").gan, recipe.configure("released").gan
    for gan in (text, released):
        assert (gan.generator_rate, gan.critic_rate, gan.betas) == (2e-4, 2e-4, (0.5, 0.999))
        assert (gan.batch, gan.latent_dim, gan.objective) == (16, 10, "non-saturating")
        assert gan.conditioning["theta"] == 0.2
        assert gan.conditioning["latent"] == "sign"
        assert gan.steps == 55 * 3750
    assert (text.conditioning["trains_on"], text.conditioning["zeta"]) == ("generated", 0.8)
    # mean over real and generated halves: the generated half weighs 0.8 / 2
    assert (released.conditioning["trains_on"], released.conditioning["zeta"]) == ("both", 0.4)


def test_the_first_rows_of_each_class() -> None:
    labels = np.array([2, 0, 2, 2, 0, 5])
    assert first_rows(labels, 2).tolist() == [1, 4, 0, 2, 5]


@pytest.mark.parametrize(("variant", "batch"), [("curve", 16), ("curve-dcgan", 64)])
def test_one_number_of_steps_for_all_trainings(
    variant: str, batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUGMINT_QUIET", "1")
    options = RecipeOptions(debug=True, variant=variant, settings=["steps=2"])
    result = run_recipe("var-began-faces", tmp_path / "a", options)
    assert result["images_shown"] == 4 * 2 * batch, "two of VAR and two of cBiGAN"
    drawing = ElementTree.parse(tmp_path / "a" / "curve.svg")
    words = {"".join(e.itertext()).strip() for e in drawing.iter() if e.tag.endswith("text")}
    assert {"VAR", "cBiGAN", "0.03", "0.1", "0.8"} <= words, "methods, and weights at their points"
    with pytest.raises(UsageError, match="steps must be at least 1"):
        run_recipe(
            "var-began-faces", tmp_path / "b", dataclasses.replace(options, settings=["steps=0"])
        )


@pytest.mark.parametrize("name", ["var-began-faces", "cbigan-faces", "began-faces-landmarks"])
def test_slow_critics_are_given_time(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the papers' rates a BEGAN gives images that are alike for longer than the guard allows."""
    from augmint.training.guard import Guard

    monkeypatch.setenv("AUGMINT_QUIET", "1")
    found, built = [], Guard.__init__

    def noted(self: Guard, parts: Any, optimisers: Any, rules: Any = None, **more: Any) -> None:
        built(self, parts, optimisers, rules, **more)
        found.append(self.rules.warm_up)

    monkeypatch.setattr(Guard, "__init__", noted)
    run_recipe(name, tmp_path / "a", RecipeOptions(debug=True))
    assert found
    assert min(found) >= 4000

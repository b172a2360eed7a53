"""`augmint compare` from recipes' names to its report."""

from __future__ import annotations

from pathlib import Path

import pytest

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.aspects.landmarks import Landmarks
from augmint.aspects.mask import Mask
from augmint.cli import main
from augmint.core.config import fingerprint, load_yaml
from augmint.core.errors import UsageError
from augmint.core.registry import RECIPES
from augmint.core.runs import read_json
from augmint.data.eyes import EYE_CLASSES
from augmint.recipes.comparing import Choice, choose, comparable, compare_recipes
from augmint.recipes.conditional import ConditionalRecipe
from augmint.studies.compare import CompareOptions
from augmint.training.compatibility import check_compatible
from augmint.training.config import GanConfig


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["vac-mnist", "vac-mnst"], "did you mean 'vac-mnist'"),
        (["vac-mnist", "spdnn-iris"], "train one conditional generator; got spdnn-iris"),
        (["vac-mnist"], "at least 2 generators"),
        (["vac-mnist", "vac-mnist"], "each once"),
    ],
)
def test_wrong_names_are_told_in_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["compare", *words, "--debug", "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not out.exists()


def test_data_are_needed_and_sizes_are_the_recipes_own(tmp_path: Path) -> None:
    pair = sorted(n for n in comparable() if n.endswith("mnist"))[:2]
    assert len(pair) == 2, "two recipes on the same images"
    with pytest.raises(UsageError, match="--data DIR"):
        compare_recipes(Choice(pair), None, tmp_path, CompareOptions())
    found = choose(Choice(pair, debug=True))
    assert list(found.generators) == pair
    assert (found.size, found.channels) == ((16, 16), 1)
    assert all(issubclass(RECIPES.get(n), ConditionalRecipe) for n in comparable())
    assert "spdnn-iris" not in comparable()


EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "comparisons").glob("*.yaml"))


DIGITS = (Schema((Category("label", tuple("0123456789")),)), (1, 28, 28))
EYES = (Schema((Mask("mask", EYE_CLASSES),)), (1, 48, 64))
FACES = (Schema((Landmarks("landmarks", ("left", "right"), (32, 32)),)), (3, 32, 32))
BOTH = (Schema((*FACES[0], Category("label", ("calm", "glad")))), FACES[1])
IMAGES = {"annotations": EYES, "var": FACES, "requests": BOTH}
"""What an example is made for, where not digits."""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_every_generator_of_an_example_fits_together(path: Path) -> None:
    schema, shape = IMAGES.get(path.stem, DIGITS)
    found = choose(Choice([str(path)])).generators
    assert len({fingerprint(gan) for gan in found.values()}) == len(found) >= 2
    for gan in found.values():
        check_compatible(gan, schema, shape)


def test_a_file_and_a_recipe_are_compared_together(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: {latent_dim: 5}\ngenerators:\n  a:\n  b: {latent_dim: 7, batch: 8}\n")
    found = choose(Choice([str(path), "vac-mnist"], debug=True)).generators
    assert {n: (g.latent_dim, g.batch) for n, g in found.items()} == {
        "vac-mnist": (10, 16),
        "a": (5, GanConfig().batch),
        "b": (7, 8),
    }
    for text, message in (
        ("generators: {a: {latnt_dim: 3}, b: {}}", "did you mean 'latent_dim'"),
        ("base: {}", "generators"),
        ("generator: {a: {}}", "did you mean 'generators'"),
        ("generators: {vac-mnist: {}}", "each once"),
        ("generators: [a, b]", "of type"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=message):
            choose(Choice([str(path), "vac-mnist"]))
    with pytest.raises(UsageError, match="readable"):
        choose(Choice([str(tmp_path / "none.yaml")]))


def test_settings_reach_every_generator_and_the_measures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AUGMINT_QUIET", raising=False)
    words = ["compare", "vac-mnist", "acgan-mnist", "--debug", "--dry-run", "--out", str(tmp_path)]
    settings = ["generator.precision=bf16", "measures.per_class=31", "measures.task.steps=7"]
    assert main([*words, *(w for s in settings for w in ("--set", s))]) == 0
    plan = load_yaml(capsys.readouterr().out.partition("stages:\n")[2])
    assert {g["precision"] for g in plan["generators"].values()} == {"bf16"}
    assert (plan["measures"]["per_class"], plan["measures"]["task"]["steps"]) == (31, 7)
    for text, message in (
        ("generators.precision=bf16", "did you mean 'generator'"),
        ("generator.precison=bf16", "did you mean 'precision'"),
        ("measures.task.step=1", "did you mean 'steps'"),
    ):
        assert main([*words, "--set", text]) == 2
        assert message in capsys.readouterr().err


def test_a_dry_run_says_the_plan_and_does_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AUGMINT_QUIET", raising=False)
    words = ["compare", "vac-mnist", "acgan-mnist", "--debug", "--seeds", "2", "--dry-run"]
    assert main([*words, "--device", "cpu", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "15 stages" in told
    assert "images: 640" in told
    assert not list((tmp_path / "stages").glob("judge-*"))
    assert not (tmp_path / "compare.json").exists()


@pytest.mark.long
def test_the_debug_version_runs_to_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", "vac-mnist", "acgan-mnist", "--debug", "--images", "640", "--seeds", "2"]
    words += ["--workers", "1", "--device", "cpu", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    first = capsys.readouterr()
    assert "Conditional accuracy" in first.out
    assert "augmint compare vac-mnist" in read_json(tmp_path / "out" / "compare.json")["command"]
    assert main(words) == 0
    again = capsys.readouterr()
    assert "0 of 15 stages to do" in again.out
    assert again.out.splitlines()[1:] == first.out.splitlines()[1:]

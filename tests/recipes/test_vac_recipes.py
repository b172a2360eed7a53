"""VAC+GAN's recipes follow their tables, and methods that are compared differ in nothing else."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.conditioning.base import ConditioningContext
from augmint.core import streams
from augmint.core.config import to_plain
from augmint.core.errors import IncompatibleError
from augmint.core.registry import CONDITIONING, RECIPES
from augmint.recipes.base import Recipe, RecipeOptions, run_recipe
from augmint.recipes.vac_on_anything import ALONE
from augmint.training.compatibility import check_compatible
from augmint.training.config import GanConfig
from augmint.training.game import Game, build_game, choose

MNIST = ("vac-mnist", "acgan-mnist", "cdcgan-mnist", "cgan-mnist")
CIFAR = ("vac-cifar10", "acgan-cifar10")


def gan(name: str, variant: str) -> GanConfig:
    recipe: Recipe[Any] = RECIPES.create(name)
    found: GanConfig = recipe.configure(variant).gan
    return found


def schema(classes: int) -> Schema:
    return Schema((Category("label", tuple(str(c) for c in range(classes))),))


def game(config: GanConfig, classes: int, shape: tuple[int, int, int]) -> Game:
    check_compatible(config, schema(classes), shape)
    context = ConditioningContext(schema(classes), shape, config.latent_dim)
    return build_game(choose(config), context, config, 3, torch.device("cpu"))


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def weights(network: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(p.shape) for p in network.parameters() if p.ndim > 1]


@pytest.mark.parametrize("variant", ["text", "released"])
def test_methods_on_mnist_differ_in_their_conditioning_alone(variant: str) -> None:
    plain = {name: to_plain(gan(name, variant)) for name in MNIST}
    vac = plain["vac-mnist"]
    assert {p["batch"] * p["steps"] for p in plain.values()} == {55 * 60_000}
    for name in MNIST[1:]:
        differing = {key for key in vac if plain[name][key] != vac[key]}
        own = {"conditioning", "generator", "critic"} if name == "cgan-mnist" else {"conditioning"}
        assert differing == own, name
    measured = {str(RECIPES.create(n).configure(variant).measures) for n in MNIST}
    assert len(measured) == 1


def test_methods_on_mnist_start_from_the_same_networks() -> None:
    vac, acgan, cdcgan = (game(gan(n, "released"), 10, (1, 28, 28)) for n in MNIST[:3])
    for other in (acgan, cdcgan):
        for a, b in zip(vac.generator.parameters(), other.generator.parameters(), strict=True):
            assert torch.equal(a, b)
    for a, b in zip(vac.critic.parameters(), acgan.critic.parameters(), strict=True):
        assert torch.equal(a, b)
    # ten channels of the class more, and nothing else
    first, *rest = weights(vac.critic)
    assert weights(cdcgan.critic) == [(64, 11, 5, 5), *rest]
    assert first == (64, 1, 5, 5)
    assert (len(acgan.head_map), len(cdcgan.head_map), len(vac.head_map)) == (1, 0, 0)
    assert (len(acgan.auxiliary_map), len(cdcgan.auxiliary_map)) == (0, 0)


def test_all_three_draw_the_same_latents() -> None:
    context = ConditioningContext(schema(10), (1, 28, 28), 10)
    labels = {"label": torch.arange(10).repeat(5)}
    drawn: list[Tensor] = []
    for name in MNIST[:3]:
        conditioning = CONDITIONING.create(gan(name, "text").conditioning)
        numbers = streams.stream(0, "z", ids=50)
        drawn.append(conditioning.sample_latent(context, labels, numbers))
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])
    assert torch.equal(drawn[0].argmax(1), labels["label"])


def test_a_latent_of_signs_takes_one_category() -> None:
    two = Schema((*schema(3), Category("sex", ("f", "m"))))
    for name in ("concatenation", "acgan"):
        conditioning = CONDITIONING.create({"name": name, "latent": "sign"})
        with pytest.raises(IncompatibleError, match="exactly one category"):
            conditioning.check(ConditioningContext(two, (1, 8, 8), 4))


def test_the_networks_for_cifar_are_those_of_the_tables() -> None:
    built = game(gan("vac-cifar10", "released"), 10, (3, 32, 32))
    doubled = 384 * 192 * 25 + 192 * 96 * 25 + 96 * 3 * 25
    assert count(built.generator) == 10 * 6144 + 6144 + doubled + 2 * (192 + 96) + 3
    widths = (3, 16, 32, 64, 128, 256, 512)
    convolutions = sum(9 * a * b for a, b in pairwise(widths)) + 16
    flat = 512 * 4 * 4
    assert count(built.critic) == (
        convolutions + 2 * sum(widths[2:]) + flat * 50 * 30 + (flat + 50) + 1
    )
    classifier = built.auxiliary_map["classifier"]
    convolutions = 25 * (3 * 128 + 128 * 256 + 256 * 512)
    assert count(classifier) == (
        convolutions + 2 * (128 + 256) + 512 + 512 * 512 + 512 + 512 * 10 + 10
    )
    noise = [m.deviation for m in built.critic.modules() if hasattr(m, "deviation")]
    assert noise == [0.05]
    dropouts = [m.p for m in built.critic.modules() if isinstance(m, nn.Dropout)]
    assert dropouts == [0.5] * 6


@pytest.mark.parametrize("variant", ["released", "text", "narrow"])
def test_cifar_is_trained_as_in_the_sheet(variant: str) -> None:
    vac, acgan = (to_plain(gan(n, variant)) for n in CIFAR)
    assert {key for key in vac if vac[key] != acgan[key]} == {"conditioning"}
    shown = 300_000 if variant == "narrow" else 200 * 50_000
    assert vac["batch"] * vac["steps"] == shown
    assert (vac["generator_rate"], vac["critic_rate"], vac["betas"]) == (2e-4, 2e-4, [0.5, 0.999])
    assert (vac["auxiliary_optimiser"], vac["auxiliary_rate"]) == ("nesterov", 0.01)
    assert vac["conditioning"]["theta"] == 0.5
    # averaged over a real and a generated half, zeta 0.5 weighs 0.25 on the generated one
    assert vac["conditioning"]["zeta"] == (0.5 if variant == "text" else 0.25)
    for name in CIFAR:
        recipe: Recipe[Any] = RECIPES.create(name)
        told = " ".join(recipe.deviations(variant))
        assert ("300 000 images" in told and "a tenth" in told) == (variant == "narrow")


def test_narrow_is_a_tenth_of_all_widths() -> None:
    built = game(gan("vac-cifar10", "narrow"), 10, (3, 32, 32))
    assert [w[:2] for w in weights(built.generator)] == [(38 * 16, 10), (38, 19), (19, 10), (10, 3)]
    outputs = [m.out_channels for m in built.critic.modules() if isinstance(m, nn.Conv2d)]
    assert outputs == [2, 3, 6, 13, 26, 51]
    outputs = [
        m.out_channels
        for m in built.auxiliary_map["classifier"].modules()
        if isinstance(m, nn.Conv2d)
    ]
    assert outputs == [13, 26, 51]


def test_faces_are_trained_as_in_the_sheet() -> None:
    text, released = gan("vac-began-faces", "text"), gan("vac-began-faces", "released")
    for config in (text, released):
        assert (config.generator_rate, config.critic_rate) == (1e-4, 1e-4)
        assert (config.betas, config.latent_dim, config.batch) == ((0.5, 0.999), 64, 16)
        assert config.objective == {"name": "began", "gamma": 0.5}
        assert (config.auxiliary_optimiser, config.auxiliary_rate) == ("nesterov", 0.01)
    chosen = [(c.conditioning["theta"], c.conditioning["zeta"]) for c in (text, released)]
    assert chosen == [(0.997, 0.003), (0.991, 0.0045)]
    assert [RECIPES.create("vac-began-faces").configure(v).size for v in ("text", "released")] == [
        (48, 48),
        (128, 128),
    ]
    built = game(text, 2, (3, 48, 48))
    assert count(built.generator) == 446_915
    assert count(built.critic) == 2_887_296 + 446_915
    # two outputs of 1024 weights in place of one
    assert count(built.auxiliary_map["classifier"]) == 822_857 + 1025
    assert built.parts.conditioning.latent_width(built.context) == 64
    measures = RECIPES.create("vac-began-faces").configure("text").measures
    assert (measures.diverse_per_class, measures.pairs) == (80, 6400)


def test_the_conditional_began_has_the_same_networks_and_a_fair_variant() -> None:
    vac = to_plain(gan("vac-began-faces", "text"))
    for variant in ("literal", "critic"):
        plain = to_plain(gan("cbegan-faces", variant))
        assert {key for key in vac if plain[key] != vac[key]} == {"conditioning"}
    literal, fair = (game(gan("cbegan-faces", v), 2, (3, 48, 48)) for v in ("literal", "critic"))
    images, values = torch.zeros(2, 3, 48, 48), [{"label": torch.full((2,), c)} for c in (0, 1)]
    for built, heeds in ((literal, False), (fair, True)):
        said = [built.judge(images, v).value for v in values]
        assert torch.equal(*said) != heeds
    both = zip(literal.generator.parameters(), fair.generator.parameters(), strict=True)
    assert all(torch.equal(p, q) for p, q in both)


def test_vac_attaches_to_five_games_with_one_classifier() -> None:
    config = RECIPES.create("vac-on-anything").configure("text")
    attached = {n: g for n, g in config.gans.items() if n != ALONE}
    assert len(attached) == 5
    assert len({str((g.generator, g.critic, g.objective)) for g in attached.values()}) == 5
    assert len({str(g.conditioning["network"]) for g in attached.values()}) == 1
    assert {g.conditioning["name"] for g in attached.values()} == {"vac"}
    began, alone = to_plain(attached["began"]), to_plain(config.gans[ALONE])
    assert {key for key in began if began[key] != alone[key]} == {"conditioning"}
    for training in config.gans.values():
        check_compatible(training, schema(10), (1, 28, 28))


def test_the_own_classifier_is_scored_beside_its_control(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUGMINT_QUIET", "1")
    result = run_recipe(
        "acgan-cifar10", tmp_path / "run", RecipeOptions(debug=True, seed=2, device="cpu")
    )
    plan = result["config"]["gan"]
    shown = plan["steps"] * plan["batch"]
    for key in ("own_accuracy", "own_alone"):
        assert 0.0 <= result["metrics"][key] <= 1.0
    assert result["images_shown"] == shown
    judge = json.loads((tmp_path / "run" / "comparison" / "compare.json").read_text())["data"]
    assert judge["judge"] > 0
    assert judge["train"] + judge["judge"] + judge["test"] == judge["images"]

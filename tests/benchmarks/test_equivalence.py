"""Our phases against the plain loops of `benchmarks/reference`: the same losses and gradients."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.core.registry import AUGMENTERS
from augmint.networks.blocks import BatchNorm2d, UpsampleConv, channels_last
from augmint.networks.classifiers import Classifier
from augmint.tasks.config import TaskConfig
from augmint.tasks.phase import TaskPhase
from augmint.tasks.sampling import SamplingPlan
from augmint.training.batches import TrainingImages
from augmint.training.gan import GanConfig, GanTraining
from augmint.training.loop import run_phase
from augmint.training.phases import Group

LATENT, BATCH, STEPS = 12, 6, 20


def _load(name: str) -> ModuleType:
    return importlib.import_module(f"reference.{name}")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


SMALL_32: dict[str, Any] = {
    "generator": {"name": "dcgan-generator", "base": 8, "widths": (32, 32, 16)},
    "critic": {"name": "dcgan-critic", "channels": 8, "normalisation": "batch"},
}
SCHEMA = Schema((Category("label", tuple("abcde")),))


@dataclass(frozen=True)
class Case:
    """One plain loop and the configuration that is the same."""

    shape: tuple[int, int, int]
    plain: Mapping[str, Any]
    config: Mapping[str, Any]
    step: Callable[[Pair, int], Sequence[Tensor]]
    """Makes the plain loop's step from the very numbers that ours drew; returns its losses."""


def _plain_gan(pair: Pair, step: int) -> Sequence[Tensor]:
    latent, _ = pair.latent("generator", step)
    losses: Sequence[Tensor] = pair.plain.step(pair.real(step)[0], latent)
    return losses


def _plain_acgan(pair: Pair, step: int) -> Sequence[Tensor]:
    latent, wanted = pair.latent("generator", step)
    losses: Sequence[Tensor] = pair.plain.step(*pair.real(step), latent, wanted)
    return losses


def _plain_wgangp(pair: Pair, step: int) -> Sequence[Tensor]:
    share = pair.training.game.numbers("penalty.0", step).uniform(1).to(pair.dtype)
    critic_latent, _ = pair.latent("critic", step)
    losses = [pair.plain.critic_step(pair.real(step)[0], critic_latent, share)]
    if step % pair.reference.CRITIC_STEPS == 0:
        losses.append(pair.plain.generator_step(pair.latent("generator", step)[0]))
    return losses


GANS: dict[str, Case] = {
    "dcgan64": Case(
        (3, 64, 64),
        {"width": 8, "colours": 3},
        {
            "generator": {"name": "dcgan-generator", "channels": 8, "upsampling": "transposed"},
            "critic": {"name": "dcgan-critic", "channels": 8, "normalisation": "batch"},
        },
        _plain_gan,
    ),
    "dcgan32": Case((1, 32, 32), {"width": 16, "colours": 1}, SMALL_32, _plain_gan),
    "acgan32": Case(
        (1, 32, 32),
        {"width": 16, "classes": 5},
        SMALL_32 | {"conditioning": "acgan"},
        _plain_acgan,
    ),
    "began32": Case(
        (1, 32, 32),
        {"width": 8, "rate": 2e-4},
        {
            "generator": {"name": "began-generator", "channels": 8},
            "critic": {"name": "began-critic", "channels": 8, "code": LATENT},
            "objective": "began",
        },
        _plain_gan,
    ),
    "wgangp32": Case(
        (1, 32, 32),
        {"width": 16},
        SMALL_32
        | {
            "critic": {"name": "dcgan-critic", "channels": 8, "normalisation": "none"},
            "objective": "wasserstein",
            "penalties": ("gradient-penalty",),
            "generator_interval": 5,
            "fresh_latents": True,
        },
        _plain_wgangp,
    ),
}


class Pair:
    """augmint's training and the plain loop, with the same weights and fed the same numbers."""

    def __init__(self, name: str, dtype: torch.dtype, folded: bool) -> None:
        self.case, self.reference = GANS[name], _load(name)
        fields: dict[str, Any] = {
            "objective": "non-saturating",
            "conditioning": "none",
            "augment": None,
            "auxiliary_augment": None,
            "latent_dim": LATENT,
            "batch": BATCH,
            "generator_rate": 2e-4,
            "critic_rate": 2e-4,
            "betas": (0.5, 0.999),
            "ema": 0.999,
            "fresh_latents": False,
            **self.case.config,
        }
        rng = np.random.default_rng(4)
        pixels = rng.integers(0, 256, (40, *self.case.shape), dtype=np.uint8)
        labels = {"label": rng.integers(0, 5, 40)}
        data = TrainingImages(pixels, labels, np.arange(40))
        self.training = GanTraining(GanConfig(**fields), data, SCHEMA, seed=2)
        game = self.training.game
        self.plain = self.reference.Plain(latent=LATENT, **self.case.plain)
        self.theirs = {"critic": self.plain.critic, "generator": self.plain.generator}
        self.dtype = dtype
        for network in (game.critic, game.generator):
            network.to(dtype).register_forward_pre_hook(
                lambda _, given: tuple(g.to(dtype) for g in given)
            )
        game.heads.to(dtype)
        self.ours = {
            "critic": game.critic_parameters,
            "generator": list(game.generator.parameters()),
        }
        for player, network in self.theirs.items():
            network.to(dtype)
            _copy(self.layout(player, self.ours[player]), network)
        for module in [*game.generator.modules(), *game.critic.modules()]:
            if isinstance(module, UpsampleConv):
                module.folded = folded
        self.training.phases[-1].after.clear()  # the moving average keeps its own type

    def layout(self, player: str, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Parameters or gradients of ours in the plain network's shapes."""
        moved: list[Tensor] = getattr(self.reference, f"{player}_layout")(tensors)
        return moved

    def real(self, step: int) -> tuple[Tensor, Tensor]:
        """The images and labels of a step."""
        images, aspects = self.training.batches.real(step)
        return images.to(self.dtype), aspects["label"]

    def latent(self, purpose: str, step: int) -> tuple[Tensor, Tensor]:
        """The noise and the classes asked for."""
        wanted = self.training.batches.fake_aspects(purpose, step)["label"]
        latent = self.training.game.numbers(f"latent.{purpose}", step).normal(LATENT)
        return latent.to(self.dtype), wanted

    def step(self, step: int) -> tuple[list[Tensor], list[Tensor]]:
        """Make one step of both; return our losses and theirs, critic first."""
        due = [p for p in self.training.phases if step % p.interval == 0]
        ours = [run_phase(p, step)[f"loss/{p.name}"] for p in due]
        return ours, list(self.case.step(self, step))


def _copy(weights: Sequence[Tensor], network: nn.Module) -> None:
    with torch.no_grad():
        for target, source in zip(network.parameters(), weights, strict=True):
            target.copy_(source)


def _distance(ours: Tensor, theirs: Tensor) -> float:
    # some gradients are exactly zero: the last bias of a critic of score differences
    scale = theirs.detach().norm().clamp_min(1e-12)
    return float((ours - theirs).detach().norm() / scale)


FORMS = [(name, False) for name in GANS] + [("dcgan32", True), ("began32", True)]


@pytest.mark.parametrize(("name", "folded"), FORMS)
def test_first_losses_and_gradients_agree(
    name: str, folded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair(name, torch.float32, folded)
    plain = pair.plain
    kept: dict[str, list[Tensor]] = {}

    # both loops overwrite gradients within a step: keep them where the optimisers see them
    def keep(key: str, optimiser: torch.optim.Optimizer) -> None:
        def hook(this: torch.optim.Optimizer, *_: Any) -> None:
            grads = [p.grad for g in this.param_groups for p in g["params"]]
            kept[key] = [g.clone() for g in grads if g is not None]

        optimiser.register_step_pre_hook(hook)

    for group in pair.training.groups.values():
        keep(f"ours.{group.name}", group.optimiser)
    keep("plain.critic", plain.critic_optimiser)
    keep("plain.generator", plain.generator_optimiser)

    for ours, theirs in zip(*pair.step(1), strict=True):
        assert float(ours) == pytest.approx(float(theirs), rel=1e-4)
    for player in ("critic", "generator"):
        if f"plain.{player}" not in kept:
            continue  # a generator that has to wait for the critic
        gradients = pair.layout(player, kept[f"ours.{player}"])
        assert len(gradients) == len(kept[f"plain.{player}"]) > 0
        for ours, theirs in zip(gradients, kept[f"plain.{player}"], strict=True):
            assert ours.shape == theirs.shape
            assert _distance(ours, theirs) < 1e-4


@pytest.mark.parametrize(("name", "folded"), FORMS)
def test_twenty_steps_in_double_precision_agree(name: str, folded: bool) -> None:
    pair = Pair(name, torch.float64, folded)
    for step in range(1, STEPS + 1):
        for ours, theirs in zip(*pair.step(step), strict=True):
            assert float(ours) == pytest.approx(float(theirs), rel=1e-8)
    for player, parameters in pair.ours.items():
        weights = pair.layout(player, [p.detach() for p in parameters])
        for ours, theirs in zip(weights, pair.theirs[player].parameters(), strict=True):
            assert _distance(ours, theirs) < 1e-6


WIDTHS, CLASSES = (4, 8, 8, 16), 5


def _ours(layers: nn.Sequential) -> list[nn.Module]:
    norms = nn.BatchNorm2d
    return [BatchNorm2d(m.num_features) if isinstance(m, norms) else m for m in layers]


def _fer(dtype: torch.dtype) -> tuple[TaskPhase, Any]:
    """The phase with a narrow network of fer-simple's plan, and the plain loop.

    Dropout is off: its masks follow the memory format, so that no two layouts agree on them.
    """
    reference = _load("fer_simple")
    layers = _ours(reference.make_network(WIDTHS, CLASSES))
    network = channels_last(Classifier(nn.Sequential(*layers[:-1]), layers[-1])).to(dtype)
    plain = reference.Plain(WIDTHS, CLASSES)
    plain.network.to(dtype)
    _copy(list(network.parameters()), plain.network)
    for module in [*network.modules(), *plain.network.modules()]:
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    network.register_forward_pre_hook(lambda _, given: (given[0].to(dtype),))
    rng = np.random.default_rng(5)
    parameters = list(network.parameters())
    config = TaskConfig(network="fer-simple", steps=STEPS, batch=BATCH, learning_rate=1e-3)
    phase = TaskPhase(
        "task",
        [
            Group(
                "network",
                parameters,
                torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.0, fused=True),
            )
        ],
        network=network,
        images=torch.from_numpy(rng.integers(0, 256, (30, 1, 48, 48), dtype=np.uint8)),
        labels=torch.from_numpy(rng.integers(0, CLASSES, 30)),
        plan=SamplingPlan.make([30], [1.0], BATCH, STEPS, 0),
        augmenter=AUGMENTERS.create("none"),
        schema=Schema((Category("label", tuple("abcde")),)),
        config=config,
        seed=0,
    )
    return phase, plain


def _fer_step(phase: TaskPhase, plain: Any, dtype: torch.dtype, step: int) -> None:
    plain.optimiser.param_groups[0]["lr"] = phase.rate(step - 1)
    images, labels = phase.batch(step - 1)
    theirs = plain.step(images.contiguous().to(dtype), labels)
    ours = run_phase(phase, step)["loss/network"]
    rel = 1e-8 if dtype is torch.float64 else 1e-4
    assert float(ours) == pytest.approx(float(theirs), rel=rel)


def test_classifier_first_step_agrees() -> None:
    phase, plain = _fer(torch.float32)
    _fer_step(phase, plain, torch.float32, 1)
    for p, q in zip(phase.network.parameters(), plain.network.parameters(), strict=True):
        assert p.grad is not None
        assert _distance(p.grad, q.grad) < 1e-4


def test_classifier_twenty_steps_in_double_precision_agree() -> None:
    phase, plain = _fer(torch.float64)
    for step in range(1, STEPS + 1):
        _fer_step(phase, plain, torch.float64, step)


def test_the_classifier_has_the_plan_of_fer_simple() -> None:
    from augmint.networks.classifiers import FerSimple

    plain = _load("fer_simple").Plain()
    ours = [tuple(p.shape) for p in FerSimple().build((1, 48, 48), 7).parameters()]
    assert ours == [tuple(p.shape) for p in plain.network.parameters()]


def test_gan_steps_differ_when_latents_are_fresh() -> None:
    """Fresh latents are another training: the comparison above would notice."""
    make: Callable[[], Pair] = lambda: Pair("dcgan32", torch.float32, True)  # noqa: E731
    pair, other = make(), make()
    other.training.phases[0].shared = 0  # type: ignore[attr-defined]
    ours, _ = pair.step(1)
    fresh, _ = other.step(1)
    assert float(ours[0]) != float(fresh[0])

"""cBiGAN: its losses against the formulas, both readings of E's, and an exact resumption."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.aspects.landmarks import Landmarks
from augmint.aspects.vector import Vector
from augmint.core.errors import (
    IncompatibleError,
    InterruptedRunError,
    TrainingDivergedError,
    UsageError,
)
from augmint.core.registry import CONDITIONING
from augmint.core.runs import tensors_digest
from augmint.latent.bidirectional import (
    BidirectionalConfig,
    BidirectionalTraining,
    PairCritic,
    ValueEncoder,
    critic_loss,
    encoder_loss,
)
from augmint.minting.sampler import GanSampler
from augmint.training.batches import TrainingImages
from augmint.training.guard import GuardRules
from augmint.training.loop import run_phase

POINTS = Landmarks("points", ("a", "b"), (12, 12), pairs=())
AGE = Vector("age", ("years",))
SCHEMA = Schema((Category("label", ("x", "y")), POINTS, AGE))
TINY = BidirectionalConfig(
    generator={"name": "began-generator", "channels": 4}, channels=4, latent_dim=3, batch=4, steps=6
)


def data(n: int = 10) -> TrainingImages:
    rng = np.random.default_rng(2)
    points = np.concatenate((rng.uniform(0, 12, (n, 2, 2)), np.full((n, 2, 1), 2)), 2)
    points[:3, 1, 2] = 0
    values = {
        "label": np.arange(n) % 2,
        "points": points.astype(np.float32),
        "age": rng.uniform(20, 60, (n, 1)).astype(np.float32),
    }
    images = rng.integers(0, 256, (n, 3, 12, 12), dtype=np.uint8)
    return TrainingImages(images, values, np.arange(n))


def training(folder: Path | None = None, **changes: Any) -> BidirectionalTraining:
    return BidirectionalTraining(replace(TINY, **changes), data(), SCHEMA, 5, folder)


def test_losses_are_those_of_probabilities() -> None:
    r, i, s = (torch.linspace(-3, 3, 7, dtype=torch.float64).roll(k) for k in range(3))
    p_r, p_i, p_s = (1 / (1 + torch.exp(-x)) for x in (r, i, s))
    wanted = -(p_r.log() + (1 - p_i).log() + (1 - p_s).log()).mean()
    torch.testing.assert_close(critic_loss(r, i, s), wanted)
    distance = torch.arange(7.0, dtype=torch.float64)
    printed = (p_s.log() + 0.8 * distance).mean()
    torch.testing.assert_close(encoder_loss(s, distance, 0.8, "literal"), printed)
    sound = (-p_s.log() + 0.8 * distance).mean()
    torch.testing.assert_close(encoder_loss(s, distance, 0.8, "consistent"), sound)


def test_the_printed_sign_teaches_e_to_be_found_out() -> None:
    """Its gradient lowers the probability that D calls (E(x), x) real;
    the consistent one raises it."""
    slopes = {}
    for signs in ("literal", "consistent"):
        logit = torch.zeros(1, requires_grad=True)
        encoder_loss(logit, torch.zeros(1), 0.8, signs).backward()  # type: ignore[arg-type]
        slopes[signs] = float(logit.grad)  # type: ignore[arg-type]
    assert slopes["literal"] > 0 > slopes["consistent"]


def test_each_player_has_its_own_loss_and_all_move() -> None:
    run = training()
    before = {n: [p.clone() for p in g.parameters] for n, g in run.groups.items()}
    critic, players = run.phases
    run_phase(critic, 1)
    moved = {n: any((p != q).any() for p, q in zip(g.parameters, before[n], strict=True))
             for n, g in run.groups.items()}  # fmt: skip
    assert moved == {"critic": True, "generator": False, "encoder": False}
    kept = [p.clone() for p in run.groups["critic"].parameters]
    run_phase(players, 1)
    assert all(
        torch.equal(p, q) for p, q in zip(run.groups["critic"].parameters, kept, strict=True)
    )
    for name in ("generator", "encoder"):
        pairs = zip(run.groups[name].parameters, before[name], strict=True)
        assert any((p != q).any() for p, q in pairs), name


def test_points_without_a_label_do_not_pull_on_e() -> None:
    """With no point labelled the distance is that of the age alone, wherever the points lie."""
    values = {k: v.copy() for k, v in data().values.items()}
    values["points"][..., 2] = 0.0
    run = BidirectionalTraining(TINY, replace(data(), values=values), SCHEMA, 5)
    real, aspects = run.batches.real(1)
    with torch.no_grad():
        said = run.players.encoder(real)
    years = run.schema["age"].encode(aspects["age"])
    found = run.phases[1].losses(1)[1]["value_distance"]
    torch.testing.assert_close(found, (said[:, 4:] - years).square().mean())
    moved = {k: v.copy() for k, v in values.items()}
    moved["points"][..., :2] = 7.0
    other = BidirectionalTraining(TINY, replace(data(), values=moved), SCHEMA, 5)
    for a, b in zip(run.phases, other.phases, strict=True):
        first, second = a.losses(1)[0], b.losses(1)[0]
        assert all(torch.equal(first[k], second[k]) for k in first)


def test_encoded_values_keep_to_their_range() -> None:
    encoder = ValueEncoder([POINTS, AGE], 4, (3, 12, 12))
    images = 1e3 * torch.randn(8, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    said, raw = encoder(images).detach(), encoder.encoder(images).detach()
    assert torch.equal(said[:, :4], raw[:, :4].tanh())
    assert torch.equal(said[:, 4], raw[:, 4]), "an age has no bounds here"


def test_the_critic_of_pairs_sees_values_and_image() -> None:
    known = torch.ones(2, 5, dtype=torch.bool)
    values, images = torch.rand(2, 5) - 0.5, torch.randn(2, 3, 12, 12)
    for drawn in ([], [POINTS]):
        critic = PairCritic([POINTS, AGE], drawn, 4, (3, 12, 12))
        said = critic(values, known, images)
        assert said.shape == (2,)
        assert not torch.equal(said, critic(values.flip(0), known, images))
        assert not torch.equal(said, critic(values, known, images.flip(0)))


def test_the_critic_of_pairs_is_shown_points_as_maps_and_no_unknown_one() -> None:
    critic = PairCritic([POINTS], [POINTS], 4, (3, 12, 12))
    assert critic.plane is None
    seen: list[torch.Tensor] = []
    critic.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    values = torch.tensor([[[3.5, 4.5, 2.0], [9.0, 2.0, 0.0]]])
    encoded = POINTS.encode(values).requires_grad_()
    said = critic(encoded, POINTS.labelled(values), torch.zeros(1, 3, 12, 12))
    torch.testing.assert_close(seen[0][:, 3:], POINTS.to_planes(values))
    assert not seen[0][:, 4].any()
    said.sum().backward()
    slope = encoded.grad
    assert slope is not None
    assert slope[0, :2].abs().min() > 0, "E learns where D looks for its points"
    assert not slope[0, 2:].any()


def test_values_that_enter_as_maps_train_too() -> None:
    trained = training(enters="maps").run(progress=False)
    sampler = GanSampler(
        trained.generator, CONDITIONING.create(trained.config.conditioning), trained.context
    )
    points = torch.tensor([[[3.0, 4.0, 2.0], [8.0, 2.0, 2.0]]]).repeat(2, 1, 1)
    points[1, 0] = torch.tensor([9.0, 9.0, 2.0])
    asked = {"points": points, "age": torch.full((2, 1), 40.0)}
    one, other = sampler.sample(asked, np.zeros(2, np.int64), 0)
    assert not np.array_equal(one, other), "the same noise, another place"


STYLE = {"name": "stylegan2-generator", "channels": 4, "widest": 8, "style": 4, "mapping_layers": 2}


@pytest.mark.parametrize("generator", [TINY.generator, STYLE])
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path, generator: Any) -> None:
    """A StyleGAN2 draws noise beside its latent, which must not depend on what ran before."""
    straight = training(generator=generator)
    whole = straight.run(progress=False)
    asked = iter([False, False, True])
    with pytest.raises(InterruptedRunError):
        training(tmp_path, generator=generator).run(progress=False, stop=lambda: next(asked))
    torch.rand(5)
    second = training(tmp_path, generator=generator)
    again = second.run(progress=False)
    assert again.generator_digest == whole.generator_digest
    digests = [tensors_digest(t.encoder.state_dict()) for t in (straight, second)]
    assert digests[0] == digests[1]
    assert again.step == 6
    assert again.processor_seconds > 0
    with pytest.raises(UsageError, match="one configuration"):
        training(tmp_path, generator=generator, theta=0.1).run(progress=False)


def test_a_run_that_was_never_good_is_an_error() -> None:
    rules = GuardRules(fraction=1e6, strikes=1, warm_up=0)
    with pytest.raises(TrainingDivergedError, match="lower its rate"):
        BidirectionalTraining(TINY, data(), SCHEMA, 5, rules=rules).run(progress=False)


def test_its_generator_samples_as_any_other() -> None:
    trained = training().run(progress=False)
    sampler = GanSampler(
        trained.generator, CONDITIONING.create(trained.config.conditioning), trained.context
    )
    wanted = {k: torch.as_tensor(v[:4]) for k, v in data().values.items()}
    images = sampler.sample(wanted, np.arange(4), 1)
    assert images.shape == (4, 3, 12, 12)
    assert np.array_equal(images[2:], sampler.sample({k: v[2:] for k, v in wanted.items()},
                                                     np.arange(2, 4), 1))  # fmt: skip


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(IncompatibleError, match="vector"):
        BidirectionalTraining(TINY, data(), Schema((SCHEMA["label"],)), 1)
    with pytest.raises(UsageError, match="theta"):
        BidirectionalConfig(theta=-1.0)
    with pytest.raises(UsageError, match="steps"):
        BidirectionalConfig(steps=0)


def test_a_generator_that_takes_no_maps_is_refused() -> None:
    with pytest.raises(IncompatibleError, match="dcgan-generator"):
        training(enters="maps", generator="resnet-generator")

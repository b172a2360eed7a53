"""Generators that learn without a critic, trained: what is updated, what is minted, how well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.core.errors import IncompatibleError, UsageError
from augmint.core.registry import CONDITIONING
from augmint.minting.bundle import Bundle
from augmint.minting.sampler import GanSampler
from augmint.training.batches import TrainingImages
from augmint.training.config import GanConfig
from augmint.training.gan import GanTraining, train_gan

Make = Callable[..., GanConfig]
ALONE: dict[str, Any] = {
    "critic": None,
    "augment": None,
    "conditioning": {"name": "concatenation", "critic": False, "enters": "conditional-norm"},
}
FLOW: dict[str, Any] = {
    **ALONE,
    "objective": "flow-matching",
    "generator": {"name": "flow-unet", "channels": 4, "steps": 2},
    "latent_dim": 144,
}
VAE: dict[str, Any] = {
    **ALONE, "objective": "vae", "generator": {"name": "vae", "channels": 4}
}  # fmt: skip


@pytest.mark.parametrize("changes", [FLOW, VAE], ids=["flow", "vae"])
def test_all_weights_learn_and_nothing_else_is_there(
    changes: dict[str, Any], tiny: Make, data: TrainingImages, schema: Schema
) -> None:
    training = GanTraining(tiny(**changes), data, schema, 1)
    assert list(training.groups) == ["generator"]
    assert [phase.name for phase in training.phases] == ["generator"]
    assert not list(training.game.critic.parameters())
    before = [p.detach().clone() for p in training.game.generator.parameters()]
    trained = training.run(progress=False)
    after = list(training.game.generator.parameters())
    assert all(bool((a != b).any()) for a, b in zip(before, after, strict=True))
    assert "loss/generator" in trained.logs[-1]
    assert trained.images_shown == 12 * 6


@pytest.mark.parametrize("changes", [FLOW, VAE], ids=["flow", "vae"])
def test_the_loss_falls_on_two_images(changes: dict[str, Any], tiny: Make, schema: Schema) -> None:
    """Two flat images of two classes: each latent must come to be one of them, as it is told."""
    label = np.arange(40) % 2
    images = np.broadcast_to((label * 200)[:, None, None, None], (40, 1, 12, 12)).astype(np.uint8)
    data = TrainingImages(images, {"label": label}, np.arange(40))
    config = tiny(**changes, batch=20, steps=150, generator_rate=5e-3, betas=(0.9, 0.999), ema=0.9)
    training = GanTraining(config, data, schema, 1)
    training.recorder.interval = 50
    trained = training.run(progress=False)
    losses = [row["loss/generator"] for row in trained.logs]
    assert losses[-1] < losses[0]
    sampler = GanSampler(
        trained.generator, CONDITIONING.create(config.conditioning), trained.context
    )
    asked = torch.arange(40) % 2
    means = sampler.sample({"label": asked}, np.arange(40), 3).mean((1, 2, 3))
    assert abs(means[asked == 0].mean()) < 60
    assert abs(means[asked == 1].mean() - 200) < 60


def test_a_bundle_mints_and_refuses_truncation(
    tiny: Make, data: TrainingImages, schema: Schema, tmp_path: Path
) -> None:
    trained = train_gan(tiny(**FLOW, steps=2), data, schema, 1, progress=False)
    Bundle.from_training(trained).save(tmp_path / "bundle")
    bundle = Bundle.open(tmp_path / "bundle")
    asked, ids = {"label": torch.tensor([0, 1, 2])}, np.array([5, 6, 7])
    images = bundle.sampler().sample(asked, ids, 9)
    assert images.shape == (3, 1, 12, 12)
    direct = GanSampler(
        trained.generator, CONDITIONING.create(trained.config.conditioning), trained.context
    )
    assert np.array_equal(images, direct.sample(asked, ids, 9))
    with pytest.raises(IncompatibleError, match=r"truncation.*flow.*guidance"):
        bundle.sampler(truncation=0.7)


def test_a_game_has_a_critic(tiny: Make, data: TrainingImages, schema: Schema) -> None:
    alone = GanTraining(tiny(**FLOW), data, schema, 1).game
    with pytest.raises(UsageError, match="critic"):
        alone.judge(torch.zeros(1, 1, 12, 12), {})
    played = GanTraining(tiny(), data, schema, 1).game
    with pytest.raises(UsageError, match="direct"):
        played.learn(torch.zeros(6, 1, 12, 12), {}, 1)


@pytest.mark.long
def test_digits_are_those_asked_for() -> None:
    """600 steps on half of scikit-learn's digits; the judge learnt from the other half."""
    from sklearn.datasets import load_digits
    from sklearn.svm import SVC

    pixels, label = load_digits(return_X_y=True)
    images = (pixels * 15.9375).astype(np.uint8).reshape(-1, 1, 8, 8)
    here = np.arange(len(label)) % 2 == 0
    judge = SVC().fit(pixels[~here], label[~here])
    assert judge.score(pixels[here], label[here]) > 0.97
    schema = Schema((Category("label", tuple("0123456789")),))
    data = TrainingImages(images[here], {"label": label[here]}, np.arange(int(here.sum())))
    config = GanConfig(
        **{**FLOW, "generator": {"name": "flow-unet", "channels": 32}, "latent_dim": 64},
        steps=600,
        generator_rate=1e-3,
        betas=(0.9, 0.999),
        ema=0.99,
    )
    trained = train_gan(config, data, schema, 1, progress=False)
    sampler = GanSampler(
        trained.generator, CONDITIONING.create(config.conditioning), trained.context
    )
    asked = np.arange(300) % 10
    made = sampler.sample({"label": torch.from_numpy(asked)}, np.arange(300), 5)
    found = judge.predict(made.reshape(300, -1) / 15.9375)
    assert (found == asked).mean() > 0.85
    # as varied as the real ones, within a class
    spread = [
        np.mean([x[y == c].astype(float).std(0).mean() for c in range(10)])
        for x, y in ((made, asked), (images[here], label[here]))
    ]
    assert spread[0] == pytest.approx(spread[1], rel=0.25)

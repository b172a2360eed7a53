"""Each training trick has a switch on the command line, and the switch changes what is learnt."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.studies.single import TrainOptions, resolve
from augmint.training.batches import TrainingImages
from augmint.training.gan import train_gan

SMALL = (
    "generator.generator={name: dcgan-generator, channels: 4}",
    "generator.critic={name: dcgan-critic, channels: 4}",
    "generator.objective=non-saturating",
    "generator.conditioning=none",
    "generator.augment=null",
    "generator.auxiliary_augment=null",
    "generator.latent_dim=8",
    "generator.batch=6",
    "generator.steps=6",
)
TRICKS = {
    "one-sided label smoothing": ["objective={name: non-saturating, real_label: 0.9}"],
    "feature matching": ["penalties=[feature-matching]"],
    "two rates": ["critic_rate=1e-3"],
    "several critic steps": ["generator_interval=2"],
    "moving average": ["ema=0.0"],
    "falling rates": ["decay_from=0.0"],
    "clipped weights": ["critic_clip=0.01"],
    "no spectral norm": ["critic.normalisation=none"],
    "simultaneous updates": ["simultaneous=true"],
    "shared images": ["fresh_latents=false"],
    "top-k": ["top_k=0.5", "top_k_decay=0.5"],
    "DiffAugment": ["augment=diff-augment"],
    "ADA, fixed": ["augment={name: ada, p: 0.5}"],
    "ADA": ["augment={name: ada, kimg: 0.02, interval: 1, target: -1}"],
}


@cache
def learnt(*settings: str) -> str:
    """Return the digest of the generator that the settings, as `--set` takes them, give."""
    plan = resolve("digits", TrainOptions(settings=[*SMALL, *settings]))
    images = np.random.default_rng(1).integers(0, 256, (12, 1, 8, 8), dtype=np.uint8)
    data = TrainingImages(images, {"label": np.arange(12) % 2}, np.arange(12))
    schema = Schema((Category("label", ("a", "b")),))
    return train_gan(plan.generator, data, schema, 3, progress=False).generator_digest


@pytest.mark.parametrize("settings", TRICKS.values(), ids=TRICKS.keys())
def test_the_switch_is_there_and_changes_the_run(settings: list[str]) -> None:
    assert learnt(*(f"generator.{s}" for s in settings)) != learnt()


def test_what_is_off_by_default_can_be_said() -> None:
    off = ("top_k=1.0", "generator_interval=1", "critic_clip=0", "decay_from=1.0", "penalties=[]")
    assert learnt(*(f"generator.{s}" for s in off)) == learnt()

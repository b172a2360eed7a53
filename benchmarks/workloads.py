"""What is timed: the same training twice, by a plain loop and by augmint's.

A workload gives, for a variant ("plain", "augmint", "bf16" …), a function that trains n steps and
the images a step shows. Both sides see 512 synthetic uint8 images, held in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

IMAGES = 512
Train = Callable[[int], None]


@dataclass(frozen=True)
class Workload:
    """One training and the variants of it.

    Args:
        title: in the table.
        batch: images a step.
        shape: of an image.
        plain: builds the plain loop.
        ours: builds augmint's, given the overrides of a variant.
        variants: name to overrides; "augmint" is the one whose maths is the plain loop's, without
            anything folded.
        chunk: steps between two clock readings.
    """

    title: str
    batch: int
    shape: tuple[int, int, int]
    plain: Callable[[Workload], Train]
    ours: Callable[..., Train]
    variants: Mapping[str, Mapping[str, Any]]
    fields: Mapping[str, Any] = field(default_factory=dict)
    chunk: int = 2


def synthetic(shape: tuple[int, int, int], classes: int) -> tuple[Any, Any]:
    """Return uint8 images `(512, *shape)` and labels."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (IMAGES, *shape), dtype=np.uint8)
    return images, rng.integers(0, classes, IMAGES)


def plain_gan(work: Workload) -> Train:
    """The plain loop of `reference/dcgan64.py` or `reference/dcgan32.py`."""
    import torch

    if work.shape[1] == 64:
        from reference import dcgan64 as reference
    else:
        from reference import dcgan32 as reference
    torch.manual_seed(0)
    images = torch.from_numpy(synthetic(work.shape, 2)[0])
    loop = reference.Plain()

    def train(steps: int) -> None:
        for _ in range(steps):
            rows = torch.randint(IMAGES, (work.batch,))
            loop.step(images[rows].float() / 127.5 - 1.0, torch.randn(work.batch, 100))

    return train


def plain_fer(work: Workload) -> Train:
    """The plain loop of `reference/fer_simple.py`."""
    import torch
    from reference import fer_simple

    torch.manual_seed(0)
    pixels, classes = synthetic(work.shape, 7)
    images, labels = torch.from_numpy(pixels), torch.from_numpy(classes)
    loop = fer_simple.Plain()

    def train(steps: int) -> None:
        for _ in range(steps):
            rows = torch.randint(IMAGES, (work.batch,))
            loop.step(images[rows].float() / 127.5 - 1.0, labels[rows])

    return train


def our_gan(
    work: Workload, precision: str = "fp32", fresh_latents: bool = False, folded: bool = True
) -> Train:
    """`run_phases` over the critic's and the generator's phase, moving average included."""
    from augmint.aspects.base import Schema
    from augmint.networks.blocks import UpsampleConv
    from augmint.training.gan import GanConfig, GanTraining, TrainingImages
    from augmint.training.loop import run_phases

    config = GanConfig(
        **work.fields,
        objective="non-saturating",
        conditioning="none",
        augment=None,
        auxiliary_augment=None,
        latent_dim=100,
        batch=work.batch,
        generator_rate=2e-4,
        critic_rate=2e-4,
        betas=(0.5, 0.999),
        ema=0.999,
        precision=precision,
        fresh_latents=fresh_latents,
    )
    data = TrainingImages(synthetic(work.shape, 2)[0], {}, np.arange(IMAGES))
    training = GanTraining(config, data, Schema(()), seed=0)
    for module in training.game.generator.modules():
        if isinstance(module, UpsampleConv):
            module.folded = folded
    done = 0

    def train(steps: int) -> None:
        nonlocal done
        run_phases(training.phases, done + steps, start=done, recorder=training.recorder)
        done += steps

    return train


def our_fer(work: Workload, precision: str = "fp32") -> Train:
    """`run_phases` over the classification phase, no augmentation."""
    import torch

    from augmint.aspects.base import Schema
    from augmint.aspects.category import Category
    from augmint.core.registry import AUGMENTERS
    from augmint.tasks.base import TaskConfig
    from augmint.tasks.classification import ClassificationPhase
    from augmint.tasks.sampling import SamplingPlan
    from augmint.tasks.trained import build_network
    from augmint.training.loop import run_phases
    from augmint.training.phases import Group

    steps_planned = 10_000
    config = TaskConfig(
        network="fer-simple",
        steps=steps_planned,
        batch=work.batch,
        learning_rate=1e-3,
        precision=precision,
    )
    schema = Schema((Category("label", tuple("abcdefg")),))
    pixels, labels = synthetic(work.shape, 7)
    network = build_network(config, work.shape, 7, "cpu", 0).train()
    parameters = list(network.parameters())
    optimiser = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.0, fused=True)
    phase = ClassificationPhase(
        "task",
        [Group("network", parameters, optimiser)],
        network=network,
        images=torch.from_numpy(pixels),
        labels=torch.from_numpy(labels),
        plan=SamplingPlan.make([IMAGES], [1.0], work.batch, steps_planned, 0),
        augmenter=AUGMENTERS.create("none"),
        schema=schema,
        config=config,
        seed=0,
    )
    done = 0

    def train(steps: int) -> None:
        nonlocal done
        run_phases([phase], done + steps, start=done)
        done += steps

    return train


WORKLOADS: dict[str, Workload] = {
    "dcgan64": Workload(
        "DCGAN 64 px, batch 128",
        128,
        (3, 64, 64),
        plain_gan,
        our_gan,
        {"augmint": {}, "fresh": {"fresh_latents": True}, "bf16": {"precision": "bf16"}},
        {
            "generator": {
                "name": "dcgan-generator",
                "channels": 64,
                "upsampling": "transposed",
            },
            "critic": {"name": "dcgan-critic", "channels": 64, "normalisation": "batch"},
        },
        chunk=1,
    ),
    "dcgan32": Workload(
        "DCGAN 32 px, batch 64",
        64,
        (1, 32, 32),
        plain_gan,
        our_gan,
        {
            "augmint": {"folded": False},
            "folded": {},
            "fresh": {"fresh_latents": True},
            "bf16": {"folded": False, "precision": "bf16"},
            "bf16-folded": {"precision": "bf16"},
        },
        {
            "generator": {"name": "dcgan-generator", "base": 8, "widths": (128, 128, 64)},
            "critic": {"name": "dcgan-critic", "channels": 32, "normalisation": "batch"},
        },
        chunk=4,
    ),
    "fer": Workload(
        "FER simple classifier 48 px, batch 64",
        64,
        (1, 48, 48),
        plain_fer,
        our_fer,
        {"augmint": {}, "bf16": {"precision": "bf16"}},
        chunk=2,
    ),
}

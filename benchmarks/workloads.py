"""What is timed: the same training twice, by a plain loop and by augmint's.

A workload gives, for a variant ("plain", "augmint", "bf16" …), a function that trains n steps and
the images a step shows. Both sides see 512 synthetic uint8 images, held in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

IMAGES, CLASSES = 512, 10
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


def _batches(work: Workload, classes: int = 2) -> Callable[[], tuple[Any, Any]]:
    """Return a function that draws a batch as plain loops do: float images and labels."""
    import torch

    torch.manual_seed(0)
    pixels, known = synthetic(work.shape, classes)
    images, labels = torch.from_numpy(pixels), torch.from_numpy(known)

    def draw() -> tuple[Any, Any]:
        rows = torch.randint(IMAGES, (work.batch,))
        return images[rows].float() / 127.5 - 1.0, labels[rows]

    return draw


def plain_dcgan(work: Workload) -> Train:
    """The plain loop of `reference/dcgan64.py` or `reference/dcgan32.py`."""
    import torch

    if work.shape[1] == 64:
        from reference import dcgan64 as reference
    else:
        from reference import dcgan32 as reference
    draw, loop = _batches(work), reference.Plain()

    def train(steps: int) -> None:
        for _ in range(steps):
            loop.step(draw()[0], torch.randn(work.batch, 100))

    return train


def plain_acgan(work: Workload) -> Train:
    """The plain loop of `reference/acgan32.py`."""
    import torch
    from reference import acgan32

    draw, loop = _batches(work, CLASSES), acgan32.Plain()

    def train(steps: int) -> None:
        for _ in range(steps):
            wanted = torch.randint(CLASSES, (work.batch,))
            loop.step(*draw(), torch.randn(work.batch, 100), wanted)

    return train


def plain_began(work: Workload) -> Train:
    """The plain loop of `reference/began32.py`."""
    import torch
    from reference import began32

    draw, loop = _batches(work), began32.Plain()

    def train(steps: int) -> None:
        for _ in range(steps):
            loop.step(draw()[0], torch.randn(work.batch, 64))

    return train


def plain_wgangp(work: Workload) -> Train:
    """The plain loop of `reference/wgangp32.py`; a step is one of the critic."""
    import torch
    from reference import wgangp32

    draw, loop = _batches(work), wgangp32.Plain()
    done = 0

    def train(steps: int) -> None:
        nonlocal done
        for _ in range(steps):
            done += 1
            latent = torch.randn(work.batch, 100)
            loop.critic_step(draw()[0], latent, torch.rand(work.batch, 1))
            if done % wgangp32.CRITIC_STEPS == 0:
                loop.generator_step(latent)

    return train


def plain_modules(work: Workload) -> Train:
    """The loop of `reference/modules.py` over augmint's own networks, upsampling not folded."""
    import torch
    from reference import modules

    game = _training(work, precision="fp32").game
    networks = [game.generator, game.critic, *game.auxiliaries.values()]
    for network in networks:
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        _fold(network, False)
    loop = modules.Plain(*networks)
    draw = _batches(work, CLASSES)
    step = 0

    def train(steps: int) -> None:
        nonlocal step
        conditioning, context = game.parts.conditioning, game.context
        for _ in range(steps):
            step += 1
            wanted = torch.randint(CLASSES, (work.batch,))
            aspects = {"label": wanted}
            numbers = game.numbers("latent.critic", step)
            latent = conditioning.sample_latent(context, aspects, numbers)
            inputs = conditioning.generator_inputs(context, latent, aspects)
            loop.step(*draw(), tuple(i for i in inputs if i is not None), wanted)

    return train


def plain_direct(work: Workload) -> Train:
    """A loop of `reference/direct.py` over augmint's own network, upsampling not folded."""
    import torch
    from reference import direct

    network = _training(work, precision="fp32").game.generator
    network.to(memory_format=torch.contiguous_format)
    _fold(network, False)
    loop = {"flow-matching": direct.Flow, "vae": direct.Vae}[work.fields["objective"]](network)
    draw = _batches(work)

    def train(steps: int) -> None:
        for _ in range(steps):
            loop.step(draw()[0])

    return train


def plain_fer(work: Workload) -> Train:
    """The plain loop of `reference/fer_simple.py`."""
    from reference import fer_simple

    draw, loop = _batches(work, 7), fer_simple.Plain()

    def train(steps: int) -> None:
        for _ in range(steps):
            loop.step(*draw())

    return train


def our_gan(
    work: Workload, precision: str = "fp32", fresh_latents: bool = False, folded: bool = True
) -> Train:
    """`run_phases` over the critic's and the generator's phase, moving average included."""
    from augmint.training.loop import run_phases

    training = _training(work, precision=precision, fresh_latents=fresh_latents)
    for network in (training.game.generator, training.game.critic):
        if network is not None:
            _fold(network, folded)
    done = 0

    def train(steps: int) -> None:
        nonlocal done
        run_phases(training.phases, done + steps, start=done, recorder=training.recorder)
        done += steps

    return train


def _training(work: Workload, **given: Any) -> Any:
    from augmint.aspects.base import Schema
    from augmint.aspects.category import Category
    from augmint.training.gan import GanConfig, GanTraining, TrainingImages

    fields: dict[str, Any] = {
        "objective": "non-saturating",
        "conditioning": "none",
        "augment": None,
        "auxiliary_augment": None,
        "latent_dim": 100,
        "batch": work.batch,
        "generator_rate": 2e-4,
        "critic_rate": 2e-4,
        "betas": (0.5, 0.999),
        "ema": 0.999,
        **given,
        **work.fields,
    }
    images, labels = synthetic(work.shape, CLASSES)
    data = TrainingImages(images, {"label": labels}, np.arange(IMAGES))
    schema = Schema((Category("label", tuple("0123456789")),))
    return GanTraining(GanConfig(**fields), data, schema, seed=0)


def _fold(network: Any, folded: bool) -> None:
    from augmint.networks.blocks import UpsampleConv

    for module in network.modules():
        if isinstance(module, UpsampleConv):
            module.folded = folded


def our_fer(work: Workload, precision: str = "fp32") -> Train:
    """`run_phases` over the classification phase, no augmentation."""
    import torch

    from augmint.aspects.base import Schema
    from augmint.aspects.category import Category
    from augmint.core.registry import AUGMENTERS
    from augmint.tasks.config import TaskConfig
    from augmint.tasks.phase import TaskPhase
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
    phase = TaskPhase(
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


FOLDED: dict[str, dict[str, Any]] = {
    "augmint": {"folded": False},
    "folded": {},
    "bf16": {"folded": False, "precision": "bf16"},
    "bf16-folded": {"precision": "bf16"},
}
"""Variants of networks that repeat rows and columns before a convolution."""

PLAYERS_32: dict[str, Any] = {
    "generator": {"name": "dcgan-generator", "base": 8, "widths": (128, 128, 64)},
    "critic": {"name": "dcgan-critic", "channels": 32, "normalisation": "batch"},
}

WORKLOADS: dict[str, Workload] = {
    "dcgan64": Workload(
        "DCGAN 64 px, batch 128",
        128,
        (3, 64, 64),
        plain_dcgan,
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
        plain_dcgan,
        our_gan,
        FOLDED | {"fresh": {"fresh_latents": True}},
        PLAYERS_32,
        chunk=4,
    ),
    "acgan32": Workload(
        "ACGAN 32 px, batch 64",
        64,
        (1, 32, 32),
        plain_acgan,
        our_gan,
        FOLDED,
        PLAYERS_32 | {"conditioning": "acgan"},
        chunk=4,
    ),
    "began32": Workload(
        "BEGAN 32 px, batch 64",
        64,
        (1, 32, 32),
        plain_began,
        our_gan,
        FOLDED,
        {
            "generator": {"name": "began-generator", "channels": 32},
            "critic": {"name": "began-critic", "channels": 32},
            "objective": "began",
            "latent_dim": 64,
            "generator_rate": 1e-4,
            "critic_rate": 1e-4,
        },
        chunk=2,
    ),
    "wgangp32": Workload(
        "WGAN-GP 32 px, batch 64, a step of the critic",
        64,
        (1, 32, 32),
        plain_wgangp,
        our_gan,
        {"augmint": {"folded": False, "fresh_latents": True}, "folded": {"fresh_latents": True}},
        PLAYERS_32
        | {
            "critic": {"name": "dcgan-critic", "channels": 32, "normalisation": "none"},
            "objective": "wasserstein",
            "penalties": ("gradient-penalty",),
            "generator_interval": 5,
        },
        chunk=5,
    ),
    "vac28": Workload(
        "VAC+GAN, networks of the paper, 28 px, batch 64",
        64,
        (1, 28, 28),
        plain_modules,
        our_gan,
        {"augmint": {}, "bf16": {"precision": "bf16"}},
        {
            "generator": "vac-mnist-generator",
            "critic": {"name": "vac-mnist-critic", "dense_normalisation": False},
            "conditioning": {
                "name": "vac",
                "network": "vac-mnist-classifier",
                "latent": "sign",
                "zeta": 1.0,
            },
        },
        chunk=4,
    ),
    "resnet32": Workload(
        "residual networks 32 px, batch 64",
        64,
        (3, 32, 32),
        plain_modules,
        our_gan,
        FOLDED,
        {
            "generator": {"name": "resnet-generator", "channels": 32},
            "critic": {"name": "resnet-critic", "channels": 32},
        },
        chunk=1,
    ),
    "sagan32": Workload(
        "SAGAN 32 px, batch 64",
        64,
        (3, 32, 32),
        plain_modules,
        our_gan,
        FOLDED,
        {
            "generator": {"name": "resnet-generator", "channels": 32, "attention": True},
            "critic": {"name": "resnet-critic", "channels": 32, "attention": True},
        },
        chunk=1,
    ),
    "biggan32": Workload(
        "BigGAN 32 px, batch 64",
        64,
        (3, 32, 32),
        plain_modules,
        our_gan,
        FOLDED,
        {
            "generator": {"name": "biggan-generator", "channels": 32, "attention": 16},
            "critic": {"name": "resnet-critic", "channels": 32, "plan": "biggan"},
        },
        chunk=1,
    ),
    "stylegan32-wide": Workload(
        "StyleGAN2 32 px, 32 channels, batch 32",
        32,
        (3, 32, 32),
        plain_modules,
        our_gan,
        {"augmint": {}, "bf16": {"precision": "bf16"}},
        {
            "generator": {"name": "stylegan2-generator", "channels": 32, "widest": 256},
            "critic": {"name": "stylegan2-critic", "channels": 32, "widest": 256},
        },
        chunk=1,
    ),
    "vae32": Workload(
        "VAE 32 px, batch 64",
        64,
        (3, 32, 32),
        plain_direct,
        our_gan,
        FOLDED,
        {"generator": "vae", "critic": None, "objective": "vae", "fresh_latents": True},
        chunk=2,
    ),
    "flow32": Workload(
        "flow matching 32 px, batch 64",
        64,
        (3, 32, 32),
        plain_direct,
        our_gan,
        FOLDED,
        {
            "generator": "flow-unet",
            "critic": None,
            "objective": "flow-matching",
            "latent_dim": 3 * 32 * 32,
            "fresh_latents": True,
        },
        chunk=1,
    ),
    "stylegan32": Workload(
        "StyleGAN2 32 px, 8 channels, batch 32",
        32,
        (3, 32, 32),
        plain_modules,
        our_gan,
        {"augmint": {}, "bf16": {"precision": "bf16"}},
        {
            "generator": {"name": "stylegan2-generator", "channels": 8},
            "critic": {"name": "stylegan2-critic", "channels": 8},
        },
        chunk=1,
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

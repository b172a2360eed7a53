"""Sound inputs, made once, from which attacks start."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from arena import image_folder

SHAPE = (1, 8, 8)
NETWORK = {"name": "small-cnn", "channels": 4}
TRAINING = {
    "generator.steps": 2,
    "generator.batch": 8,
    "generator.generator": {"name": "dcgan-generator", "channels": 4},
    "generator.critic": {"name": "dcgan-critic", "channels": 4},
}


@dataclass(frozen=True)
class Bases:
    """Folders and plain configurations.

    Args:
        data: an image folder of two classes.
        bundle: an untrained generator and judge, with features.
        minted: what was minted from it, with the classes of `data`.
        training: the folder of a training that was stopped after two steps.
        training_words: what it was started with.
        training_plan, plan, study_plan: resolved configurations, plain.
        tables: the cached table of `data`.
    """

    data: Path
    bundle: Path
    minted: Path
    training: Path
    training_words: list[str]
    training_plan: dict[str, Any]
    plan: dict[str, Any]
    study_plan: dict[str, Any]
    tables: Path


def make_bases(root: Path) -> Bases:
    """Make everything below `root`."""
    import matplotlib.font_manager  # noqa: F401  (makes its own folders when first imported)

    from augmint.cli import main
    from augmint.core.config import to_plain
    from augmint.data.ingest import ingest
    from augmint.studies.study import ProveOptions, resolve

    data = image_folder(root / "data")
    bundle = _bundle(root / "bundle")
    minted = root / "minted"
    assert main(["mint", str(bundle), "--out", str(minted), "--per-class", "3"]) == 0
    words = [w for k, v in TRAINING.items() for w in ("--set", f"{k}={json.dumps(v)}")]
    training = root / "training"
    stopped(["train", str(data), "--out", str(training), *words])
    ingest(str(data), root / "tables")
    plan = to_plain(resolve(str(data), ProveOptions()))
    return Bases(
        data,
        bundle,
        minted,
        training,
        words,
        yaml.safe_load((training / "config.yaml").read_text()),
        {k: v for k, v in plan.items() if k != "data"},
        plan,
        root / "tables",
    )


def stopped(words: list[str]) -> None:
    """Run a command that ends where a judge would be trained."""
    from watching import BegunError

    from augmint.cli import main

    try:
        main(words)
    except BegunError:
        return
    raise AssertionError("it was not stopped")


def _bundle(folder: Path) -> Path:
    from augmint.aspects.base import Schema
    from augmint.aspects.category import Category
    from augmint.core.streams import scope
    from augmint.minting.bundle import Bundle
    from augmint.minting.curation import CurationConfig
    from augmint.minting.judge import StoredJudge, build_judge
    from augmint.training.config import GanConfig
    from augmint.training.gan import build_generator

    schema = Schema((Category("label", ("a", "b")),))
    gan = GanConfig(generator={"name": "dcgan-generator", "channels": 4}, latent_dim=5, steps=1)
    with scope(3, "hostile.bundle"):
        generator = build_generator(gan, schema, SHAPE)
        judge = StoredJudge(NETWORK, SHAPE, 2, build_judge(NETWORK, SHAPE, 2), {})
    images = np.random.default_rng(0).integers(0, 256, (20, *SHAPE)).astype(np.uint8)
    return Bundle(
        generator=generator.eval(),
        gan=gan,
        schema=schema,
        shape=SHAPE,
        judge=judge,
        features=judge(images),
        copy_distance=1e-4,
        curation=CurationConfig(threshold=0.0, agreement=False, duplicate_distance=0.0),
    ).save(folder)

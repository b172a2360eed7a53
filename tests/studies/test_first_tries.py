"""A command that was refused, or only planned, leaves its folder free for the next one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import augmint
from augmint.core.errors import AugmintError, DataCheckError, UsageError
from augmint.studies.pipeline import prove
from augmint.studies.study import ProveOptions

if TYPE_CHECKING:
    from tests.conftest import TinyStudy


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGMINT_QUIET", "1")


def photos(folder: Path) -> Path:
    """Two classes with a test part; one image of it stands among the training images."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("test", 6)):
        for name in ("a", "b"):
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                image = Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8))
                image.save(folder / part / name / f"{i}.png")
    shutil.copy(folder / "train" / "a" / "0.png", folder / "test" / "a" / "again.png")
    return folder


def test_every_refusal_is_about_its_own_try(tmp_path: Path) -> None:
    data, out = photos(tmp_path / "photos"), tmp_path / "study"
    with pytest.raises(AugmintError, match="does not exist"):
        augmint.prove(tmp_path / "fotos", out)
    with pytest.raises(DataCheckError, match="no image may be in two parts"):
        augmint.prove(data, out)
    (data / "test" / "a" / "again.png").unlink()  # the remedy: the data change, the folder stays
    with pytest.raises(UsageError, match="every class needs 500 images"):
        augmint.prove(data, out, per_class=500)
    with pytest.raises(UsageError, match="every class needs 400 images"):
        augmint.prove(data, out, per_class=400)
    for steps in (1, 2):
        with pytest.raises(AugmintError, match="does not exist"):
            augmint.train_generator(tmp_path / "fotos", tmp_path / "g", seed=steps)


def test_a_plan_claims_nothing_and_a_study_does(tiny_study: TinyStudy, tmp_path: Path) -> None:
    out = tiny_study.copy(tmp_path / "study", stages_only=True)
    fields = dict(tiny_study.settings)
    prove("digits", out, ProveOptions(seeds=2, workers=1, settings=fields, dry_run=True))
    with pytest.raises(UsageError, match="every class needs 900 images"):
        augmint.prove("digits", out, seeds=2, per_class=900, workers=1, settings=fields)
    done = tiny_study.copy(tmp_path / "done")
    with pytest.raises(UsageError, match="a folder holds one study"):
        augmint.prove("digits", done, seeds=2, per_class=900, workers=1, settings=fields)

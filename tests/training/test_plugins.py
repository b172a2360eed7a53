"""One file each adds an objective, a generator with its critic, and a conditioning: nothing else.

The package is copied, three files are laid into the folders of their axes, and the command line of
the copy lists, trains and mints from what they hold. No other file of the copy is touched.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import augmint

OBJECTIVE = '''
"""A plug-in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from augmint.core.registry import OBJECTIVES
from augmint.objectives.base import Objective


@OBJECTIVES.register("plugged-absolute")
@dataclass(frozen=True)
class Absolute(Objective):
    """Absolute distances of scores to 1 and -1.

    Args:
        target: what real images should score.
    """

    boundary: ClassVar[float | None] = 0.0
    target: float = 1.0

    def critic_loss(self, real, fake, state):
        loss = (real.value - self.target).abs().mean() + (fake.value + self.target).abs().mean()
        return loss, {"steps": state["steps"] + 1}, {"gap": loss.detach()}

    def generator_loss(self, real, fake, state):
        return (fake.value - self.target).abs().mean(), state, {}

    def init_state(self):
        return {"steps": 0}
'''

ARCHITECTURES = '''
"""A plug-in."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from augmint.core.registry import ARCHITECTURES
from augmint.core.types import CriticOutput
from augmint.networks.base import CriticArchitecture, GeneratorArchitecture


@ARCHITECTURES.register("plugged-generator")
@dataclass(frozen=True)
class Generator(GeneratorArchitecture):
    """One hidden layer."""

    hidden: int = 16

    def check_shape(self, shape):
        pass

    def build(self, latent_width, shape, condition_width=0):
        pixels = shape[0] * shape[1] * shape[2]
        return nn.Sequential(
            nn.Linear(latent_width, self.hidden), nn.ReLU(), nn.Linear(self.hidden, pixels),
            nn.Tanh(), nn.Unflatten(1, shape),
        )


@ARCHITECTURES.register("plugged-critic")
@dataclass(frozen=True)
class Critic(CriticArchitecture):
    """One hidden layer."""

    hidden: int = 16

    def check_shape(self, shape):
        pass

    def feature_width(self, shape):
        return self.hidden

    def build(self, shape, condition_width=0, condition_channels=0):
        return Scores(shape[0] * shape[1] * shape[2], self.hidden)


class Scores(nn.Module):
    def __init__(self, pixels, hidden):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(pixels, hidden), nn.LeakyReLU())
        self.score = nn.Linear(hidden, 1)

    def forward(self, images, condition=None):
        features = self.body(images)
        return CriticOutput(self.score(features)[:, 0], "score", features)
'''

CONDITIONING = '''
"""A plug-in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from augmint.conditioning.base import Conditioning
from augmint.core.registry import CONDITIONING


@CONDITIONING.register("plugged-places")
@dataclass(frozen=True)
class Places(Conditioning):
    """Class k moves the latent's dimension k by `step`."""

    kinds: ClassVar[frozenset[str]] = frozenset({"category"})
    step: float = 2.0

    def sample_latent(self, context, aspects, stream):
        latent = stream.normal(context.latent_dim)
        label = context.schema.of_kind("category")[0]
        latent[:, : label.width] += self.step * label.encode(aspects[label.name])
        return latent
'''

FILES = {
    "objectives/plugged.py": OBJECTIVE,
    "networks/plugged.py": ARCHITECTURES,
    "conditioning/plugged.py": CONDITIONING,
}
NAMES = {
    "objective": "plugged-absolute",
    "generator": "plugged-generator",
    "critic": "plugged-critic",
    "conditioning": "plugged-places",
}

SCRIPT = """
import dataclasses, json, sys
from pathlib import Path
import numpy as np
import torch
from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.core.errors import UsageError
from augmint.core.registry import ARCHITECTURES, CONDITIONING, OBJECTIVES
from augmint.minting.bundle import Bundle
from augmint.training.compatibility import check_compatible
from augmint.training.gan import GanConfig, TrainingImages, train_gan

torch.set_num_threads(1)
plugged = json.loads(sys.argv[1])
SMALL = {"channels": 4, "widest": 8, "style": 8, "mapping_layers": 1, "code": 8, "width": 0.02}
SCHEMA = Schema((Category("label", ("a", "b", "c")),))
data = TrainingImages(
    np.random.default_rng(0).integers(0, 256, (12, 1, 16, 16), dtype=np.uint8),
    {"label": np.arange(12) % 3},
    np.arange(12),
)
registries = {"objective": OBJECTIVES, "conditioning": CONDITIONING}

def spec(registry, name):
    known = {f.name for f in dataclasses.fields(registry.get(name))}
    found = {"name": name, **{k: v for k, v in SMALL.items() if k in known}}
    return {**found, "network": {"name": "small-cnn", "channels": 4}} if "network" in known else found

def role(name):
    return ARCHITECTURES.get(name).role

trained, refused = [], []
for axis in plugged:
    registry = registries.get(axis, ARCHITECTURES)
    for name in registry.names():
        if registry is ARCHITECTURES and role(name) not in ("generator", "critic"):
            continue
        parts = {**plugged, axis: spec(registry, name)}
        config = GanConfig(**parts, latent_dim=8, batch=4, steps=2)
        try:
            check_compatible(config, SCHEMA, data.shape)
        except UsageError as error:
            refused.append([axis, name, str(error)])
            continue
        result = train_gan(config, data, SCHEMA, 1, progress=False)
        finite = all(np.isfinite(v) for row in result.logs for v in row.values())
        trained.append([axis, name, result.step, finite])
        if name == plugged["objective"]:
            Bundle.from_training(result).save(Path("bundle"))
print(json.dumps({"trained": trained, "refused": refused}))
"""  # noqa: E501


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file, by its path."""
    files = (p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): digest(p.read_text("utf-8")) for p in files}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with three files more; running it writes no bytecode."""
    place = tmp_path_factory.mktemp("tree")
    original = Path(augmint.__file__).parent
    shutil.copytree(original, place / "augmint", ignore=shutil.ignore_patterns("__pycache__"))
    (place / "original.json").write_text(json.dumps(digests(place / "augmint")))
    for name, text in FILES.items():
        path = place / "augmint" / name
        assert not path.exists()
        path.write_text(text.lstrip(), encoding="utf-8")
    return place


def run(tree: Path, *words: str) -> str:
    environment = {
        **os.environ,
        "PYTHONPATH": str(tree),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, *words],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_command_line_lists_them(tree: Path) -> None:
    for axis, names in {
        "objectives": [NAMES["objective"]],
        "architectures": [NAMES["generator"], NAMES["critic"]],
        "conditioning": [NAMES["conditioning"]],
    }.items():
        listed = run(tree, "-m", "augmint", "list", axis)
        assert all(name in listed for name in names), listed
    assert "Absolute distances of scores to 1 and -1." in run(tree, "-m", "augmint", "list")


@pytest.fixture(scope="module")
def found(tree: Path) -> dict[str, Any]:
    """What the script says; it leaves the bundle of the run with all plug-ins."""
    said: dict[str, Any] = json.loads(run(tree, "-c", SCRIPT, json.dumps(NAMES)).splitlines()[-1])
    return said


def test_they_train_with_each_other_and_with_what_is_there(found: dict[str, Any]) -> None:
    trained = {(axis, name) for axis, name, step, finite in found["trained"] if finite and step}
    assert len(trained) == len(found["trained"]), found["trained"]
    assert trained >= set(NAMES.items())
    assert trained >= {
        *(("objective", n) for n in ("hinge", "minimax", "wasserstein", "relativistic")),
        *(("generator", n) for n in ("dcgan-generator", "stylegan2-generator")),
        *(("critic", n) for n in ("dcgan-critic", "stylegan2-critic")),
        *(("conditioning", n) for n in ("none", "vac", "acgan", "projection", "concatenation")),
    }
    for axis, name, told in found["refused"]:
        assert "\n" not in told
        assert name in told, (axis, name, told)
        assert any(n in told for n in NAMES.values()) or "set " in told, (axis, name, told)


def test_the_command_line_mints_from_them(tree: Path, found: dict[str, Any]) -> None:
    assert ["objective", NAMES["objective"], 2, True] in found["trained"]
    words = ["mint", "bundle", "--per-class", "2", "--raw", "--out", "minted"]
    run(tree, "-m", "augmint", *words)
    made = [p.parent.name for p in (tree / "minted").rglob("*.png")]
    assert sorted(n for n in made if n in "abc") == ["a", "a", "b", "b", "c", "c"]


def test_nothing_else_was_touched(tree: Path, found: dict[str, Any]) -> None:
    """After all that, the copy is the package and the three files."""
    original = json.loads((tree / "original.json").read_text())
    assert digests(tree / "augmint") == original | {n: digest(t.lstrip()) for n, t in FILES.items()}

"""The Python interface, the way in by the command line, and new variants from one file each."""

from __future__ import annotations

import doctest
import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import augmint
from augmint.core.registry import CONDITIONING, OBJECTIVES, PENALTIES, Registry

HERE = Path(__file__).resolve().parent


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_every_name_documents_itself() -> None:
    assert {"prove", "train_generator", "mint", "__version__"} <= set(augmint.__all__)
    for name in augmint.__all__:
        value = getattr(augmint, name)
        if not callable(value):
            continue
        text = inspect.getdoc(value) or ""
        for part in ("Args:", "Raises:", "Example:"):
            assert part in text, f"{name}: {part}"
        parameters = inspect.signature(value).parameters
        for parameter in parameters.values():
            assert f"{parameter.name}:" in text, f"{name} does not explain {parameter.name}"
            assert parameter.annotation is not inspect.Parameter.empty
        assert inspect.signature(value).return_annotation is not inspect.Signature.empty
        (example,) = doctest.DocTestFinder(recurse=False).find(value, name)
        assert example.examples


def test_the_version_is_said_once() -> None:
    done = python("-m", "augmint", "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[-1] == augmint.__version__


def test_importing_loads_no_numerical_library() -> None:
    heavy = ("torch", "numpy", "scipy", "sklearn", "PIL", "matplotlib", "jinja2", "joblib")
    code = f"import sys, augmint, augmint.cli; print([m for m in {heavy} if m in sys.modules])"
    assert python("-c", code).stdout.strip() == "[]"


def test_the_interface_refuses_what_the_command_line_refuses(tmp_path: Path) -> None:
    from augmint.core.errors import AugmintError

    for call in (
        lambda: augmint.prove("digits", tmp_path / "o", preset="fast"),
        lambda: augmint.prove("digits", tmp_path / "o", settings={"task.step": 1}),
        lambda: augmint.train_generator(
            "digits", tmp_path / "o", settings={"generator.objective": "hing"}
        ),
        lambda: augmint.mint(tmp_path / "none", tmp_path / "o"),
    ):
        with pytest.raises(AugmintError) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_train_and_mint_from_python(
    tiny_training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUGMINT_QUIET", "1")
    bundle = tiny_training / "bundle"
    counts = augmint.mint(bundle, tmp_path / "a", quotas={"7": 4, "1": 2}, seed=3, curate=False)
    assert (counts["accepted"], counts["drawn"]) == (6, 6)
    assert sorted(p.parent.name for p in (tmp_path / "a").rglob("*.png")) == ["1"] * 2 + ["7"] * 4
    augmint.mint(bundle, tmp_path / "b", quotas={"7": 4, "1": 2}, seed=3, curate=False)
    for path in (tmp_path / "a").rglob("*.png"):
        assert path.read_bytes() == (tmp_path / "b" / path.parent.name / path.name).read_bytes()
    augmint.mint(bundle, tmp_path / "c", per_class=1, curate=False, format="imagefolder")
    assert len(list((tmp_path / "c").rglob("*.png"))) == 10
    assert not (tmp_path / "c" / "metadata.jsonl").exists()


# one file, one variant ----------------------------------------------------------------------------

FILES: dict[str, tuple[Registry[Any], str]] = {
    "test-cubic": (
        OBJECTIVES,
        '''
from dataclasses import dataclass

from augmint.core.registry import OBJECTIVES
from augmint.objectives.base import Objective


@OBJECTIVES.register("test-cubic")
@dataclass(frozen=True)
class Cubic(Objective):
    """Pulls real scores to 1 and generated ones to 0, by the power of three."""

    power: float = 3.0

    def critic_loss(self, real, fake, state):
        loss = (real.value - 1).abs().pow(self.power).mean() + fake.value.abs().pow(3).mean()
        return loss, state, {"cubic": loss.detach()}

    def generator_loss(self, real, fake, state):
        return (fake.value - 1).abs().pow(self.power).mean(), state, {}
''',
    ),
    "test-drift": (
        PENALTIES,
        '''
from dataclasses import dataclass

from augmint.core.registry import PENALTIES
from augmint.penalties.base import Penalty


@PENALTIES.register("test-drift")
@dataclass(frozen=True)
class Drift(Penalty):
    """Keeps real scores near 0."""

    def __call__(self, context, state):
        value = context.network(context.real).value.square().mean()
        return self.weight * value, {"seen": state.get("seen", 0) + 1}, {"drift": value.detach()}
''',
    ),
    "test-add": (
        CONDITIONING,
        '''
from dataclasses import dataclass
from typing import ClassVar

from augmint.conditioning.base import Conditioning
from augmint.core.registry import CONDITIONING


@CONDITIONING.register("test-add")
@dataclass(frozen=True)
class Add(Conditioning):
    """The class moves the first latent dimension."""

    kinds: ClassVar[frozenset[str]] = frozenset({"category"})
    step: float = 0.5

    def sample_latent(self, context, aspects, stream):
        latent = stream.normal(context.latent_dim)
        latent[:, 0] += self.step * aspects["label"]
        return latent
''',
    ),
}


@pytest.fixture
def dropped(tmp_path: Path) -> Iterator[None]:
    """Three files, each in a further folder of the package of its axis."""
    undo: list[Callable[[], None]] = []
    for name, (registry, text) in FILES.items():
        folder = tmp_path / name
        folder.mkdir()
        module = name.replace("-", "_")
        (folder / f"{module}.py").write_text(text)
        package = sys.modules.get(registry.package) or __import__(registry.package, fromlist=["_"])
        package.__path__.append(str(folder))
        registry.__dict__.pop("entries", None)
        undo.append(lambda p=package, f=folder: p.__path__.remove(str(f)))  # type: ignore[misc]
    yield
    for back in undo:
        back()
    for name, (registry, _) in FILES.items():
        registry.__dict__.pop("entries", None)
        registry._members.pop(name, None)
        sys.modules.pop(f"{registry.package}.{name.replace('-', '_')}", None)


@pytest.mark.usefixtures("dropped")
def test_a_variant_is_one_file(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    from augmint.aspects.base import Schema
    from augmint.aspects.category import Category
    from augmint.cli import main
    from augmint.core.errors import UsageError
    from augmint.training.gan import GanConfig, TrainingImages, train_gan

    for axis, name in (
        ("objectives", "test-cubic"), ("penalties", "test-drift"), ("conditioning", "test-add"),
    ):  # fmt: skip
        assert main(["list", axis, "--json"]) == 0
        assert name in json.loads(capsys.readouterr().out)[axis]
    assert OBJECTIVES.create({"name": "test-cubic", "power": 2}).power == 2.0  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="test-cubic"):
        OBJECTIVES.create({"name": "test-cubic", "powr": 2})
    with pytest.raises(UsageError, match="did you mean 'test-drift'"):
        PENALTIES.create("test-drif")
    config = GanConfig(
        generator={"name": "dcgan-generator", "channels": 4},
        critic={"name": "dcgan-critic", "channels": 4},
        objective="test-cubic",
        penalties=({"name": "test-drift", "interval": 2},),
        conditioning={"name": "test-add", "step": 1.0},
        latent_dim=4,
        batch=4,
        steps=4,
    )
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 1, 8, 8), dtype=np.uint8)
    data = TrainingImages(images, {"label": np.arange(12) % 3}, np.arange(12))
    schema = Schema((Category("label", ("a", "b", "c")),))
    trained = train_gan(config, data, schema, 1, progress=False)
    assert (trained.step, trained.stopped) == (4, "done")
    assert all(np.isfinite(v) for row in trained.logs for v in row.values())
    logged = set().union(*trained.logs)
    assert any("cubic" in k for k in logged)
    assert any("drift" in k for k in logged)
    same = train_gan(config, data, schema, 1, progress=False)
    assert same.generator_digest == trained.generator_digest


def test_nothing_of_the_dropped_files_stays() -> None:
    for name, (registry, _) in FILES.items():
        assert name not in registry.names()

"""One tiny study and one tiny bundle, made once: every integration test looks at them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# before torch is imported, and for every process that a test starts: bits depend on the number of
# threads, and two test processes on two cores need one each
os.environ["OMP_NUM_THREADS"] = "1"


def _settings() -> dict[str, Any]:
    return {
        "generator.steps": 30,
        "generator.batch": 16,
        "generator.generator": {"name": "dcgan-generator", "channels": 8},
        "generator.critic": {"name": "dcgan-critic", "channels": 8},
        "task.steps": 15,
        "task.batch": 32,
        "task.network": {"name": "small-cnn", "channels": 8},
        "curation.threshold": 0,
        "curation.agreement": False,
        "minted_per_class": 8,
        "policy.candidates": ["none", "shift"],
    }


@dataclass(frozen=True)
class TinyStudy:
    """A finished study on `digits` with budgets of seconds."""

    folder: Path
    report: dict[str, Any]
    settings: dict[str, Any]

    def copy(self, where: Path, stages_only: bool = False) -> Path:
        """Copy the study, or only its finished stages, so that a test may go on from them."""
        if stages_only:
            shutil.copytree(self.folder / "stages", where / "stages")
        else:
            shutil.copytree(self.folder, where)
        return where

    @property
    def words(self) -> list[str]:
        """The settings as a command line says them."""
        return [w for k, v in self.settings.items() for w in ("--set", f"{k}={json.dumps(v)}")]


@pytest.fixture(scope="session")
def tiny_settings() -> Callable[[], dict[str, Any]]:
    return _settings


@pytest.fixture(scope="session")
def tiny_study(tmp_path_factory: pytest.TempPathFactory) -> TinyStudy:
    import augmint

    folder = tmp_path_factory.mktemp("tiny") / "study"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUGMINT_QUIET", "1")
        report = augmint.prove("digits", folder, seeds=2, workers=1, settings=_settings())
    return TinyStudy(folder, report, _settings())


@pytest.fixture(scope="session")
def train_words() -> list[str]:
    """What the tiny bundle is trained with, but for --out."""
    words = [
        "train",
        "digits",
        "--per-class",
        "10",
        "--steps",
        "40",
        "--device",
        "cpu",
        "--set",
        "generator.batch=16",
    ]
    for part in ("generator", "critic"):
        words += ["--set", f"generator.{part}={{name: dcgan-{part}, channels: 8}}"]
    return words


@pytest.fixture(scope="session")
def tiny_training(tmp_path_factory: pytest.TempPathFactory, train_words: list[str]) -> Path:
    """The folder of a finished `augmint train`."""
    from augmint.cli import main

    folder = tmp_path_factory.mktemp("tiny") / "training"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUGMINT_QUIET", "1")
        assert main([*train_words, "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def quiet_environment() -> dict[str, str]:
    """For a subprocess: one thread, nothing said."""
    return {**os.environ, "AUGMINT_QUIET": "1", "OMP_NUM_THREADS": "1"}


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print how the hostile cases ended; tests record a row a kind, from any worker."""
    reports = [r for found in terminalreporter.stats.values() for r in found]
    told = (p for r in reports for p in getattr(r, "user_properties", ()) if r.when == "call")
    rows = [row for name, row in told if name == "hostile"]
    if not rows:
        return
    states = [key for key in rows[0] if key != "kind"]
    terminalreporter.section("hostile input")
    terminalreporter.write_line(f"{'kind':<16}" + "".join(f"{s:>13}" for s in states))
    total = {"kind": "all", **{s: sum(row[s] for row in rows) for s in states}}
    for row in (*rows, total):
        terminalreporter.write_line(f"{row['kind']:<16}" + "".join(f"{row[s]:>13}" for s in states))

"""Trackers show what a run logs, and nothing that they do can end it."""

from __future__ import annotations

import importlib.util
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from augmint import cli
from augmint.core.errors import UsageError
from augmint.core.pictures import grid, png_bytes
from augmint.training.recorder import Recorder
from augmint.training.trackers import TRACKERS, Tracking, require_trackers

ROOT = Path(__file__).resolve().parents[2]
PNG = png_bytes(grid(np.full((2, 1, 8, 8), 90, np.uint8), 2))


class Breaking(ModuleType):
    """A module in which everything can be named, and nothing can be called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def fail(*_: object, **__: object) -> None:
            raise RuntimeError(f"{name}: no such luck\n\x1b[31m")

        return fail


class Recording:
    """Takes any call and remembers its name; raises at the n-th."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.calls: list[str] = []
        self.fails_at = fails_at

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.fails_at == len(self.calls):
            raise SystemExit("a tool that ends the process")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._call(f"scalars {step} {dict(values)}")

    def picture(self, step: int, name: str, png: bytes) -> None:
        self._call(f"picture {step} {name} {len(png)}")

    def close(self) -> None:
        self._call("close")


def use(tracking: Tracking) -> None:
    tracking.scalars(1, {"loss/critic": 0.5})
    tracking.picture(1, "samples", lambda: PNG)
    tracking.scalars(2, {"loss/critic": 0.25})


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("wandb", "mlflow", "mlflow.tracking", "torch.utils.tensorboard", "tensorboard"):
        monkeypatch.setitem(sys.modules, name, Breaking(name))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    return


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("name", sorted(TRACKERS))
def test_a_tracker_that_always_raises_costs_one_line(name: str, tmp_path: Path) -> None:
    require_trackers([name])
    said: list[str] = []
    with Tracking([name], tmp_path, "run", {"a": 1}, said.append) as tracking:
        use(tracking)
    assert len(said) == 1
    assert name in said[0]
    assert "switched off" in said[0]
    assert said[0].isprintable()


@pytest.mark.parametrize("moment", [1, 2, 3, 4])
def test_whenever_a_tracker_fails_the_others_go_on(
    moment: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from augmint.training import trackers

    bad, good = Recording(fails_at=moment), Recording()
    table = {
        "bad": trackers.Tracker("json", lambda *_: bad),
        "good": trackers.Tracker("json", lambda *_: good),
    }
    monkeypatch.setattr(trackers, "TRACKERS", table)
    said: list[str] = []
    with Tracking(("bad", "good", "bad"), tmp_path, "run", {}, said.append) as tracking:
        use(tracking)
    assert len(said) == 1
    assert len(bad.calls) == moment, "switched off at its first failure, and opened once"
    assert [c.split()[0] for c in good.calls] == ["scalars", "picture", "scalars", "close"]


def test_nothing_is_drawn_without_a_tracker(tmp_path: Path) -> None:
    with Tracking((), tmp_path, "run", {}) as tracking:
        tracking.picture(1, "samples", lambda: pytest.fail("drawn"))


def test_what_is_missing_is_said_before_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    for name, tracker in TRACKERS.items():
        monkeypatch.delitem(sys.modules, tracker.package, raising=False)
        with pytest.raises(UsageError, match=rf"augmint\[{name}\]"):
            require_trackers([name])
        for verb in ("train", "prove"):
            out = tmp_path / f"{verb}-{name}"
            assert cli.main([verb, "toy", "--track", name, "--out", str(out)]) == 2
            assert f"augmint[{name}]" in capsys.readouterr().err
            assert not out.exists(), "nothing was begun"
    with pytest.raises(UsageError, match="did you mean 'tensorboard'"):
        require_trackers(["tensorbord"])


def test_a_folder_of_the_packages_name_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    importlib.invalidate_caches()
    with pytest.raises(UsageError, match="optional extra"):
        require_trackers(["wandb"])


def test_every_tracker_has_its_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, tracker in TRACKERS.items():
        (wanted,) = project["optional-dependencies"][name]
        assert wanted.split(">")[0] == tracker.package


def test_a_recorder_tells_each_reading_once() -> None:
    told: list[tuple[int, dict[str, float]]] = []
    recorder = Recorder(interval=2)
    recorder.on_read = lambda step, values: told.append((step, dict(values)))
    for step in range(1, 5):
        recorder.add({"loss": torch.tensor(float(step))})
        if recorder.due(step):
            recorder.read(step)
    again = Recorder(interval=2)
    again.on_read = recorder.on_read
    again.load(*recorder.save())
    assert told == [(2, {"loss": 1.5}), (4, {"loss": 3.5})]


@pytest.mark.usefixtures("broken")
def test_training_goes_on_without_its_tracker(
    tiny_training: Path,
    train_words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The generator is the same, bit by bit, as that of the same training without trackers."""
    monkeypatch.setenv("AUGMINT_QUIET", "1")
    words = [*train_words, "--track", "wandb", "--track", "mlflow"]
    assert cli.main([*words, "--out", str(tmp_path / "t")]) == 0
    assert capsys.readouterr().err.count("switched off") == 2
    weights = "bundle/generator.safetensors"
    assert (tmp_path / "t" / weights).read_bytes() == (tiny_training / weights).read_bytes()


def test_tensorboard_reads_what_was_logged(tmp_path: Path) -> None:
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="tensorboard is not installed",
    )
    said: list[str] = []
    with Tracking(["tensorboard"], tmp_path, "run", {"steps": 3}, said.append) as tracking:
        use(tracking)
    assert said == []
    events = reader.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    values = [(e.step, e.value) for e in events.Scalars("loss/critic")]
    assert values == [(1, 0.5), (2, 0.25)]
    (image,) = events.Images("samples")
    assert (image.width, image.height) == (22, 12)

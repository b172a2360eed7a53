"""Runs that end, meet, or find something else than they left: one line, and nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.cli import main
from augmint.core.errors import DataError, UsageError
from augmint.core.runs import EventLog, lock_folder, read_json
from augmint.data.ingest import ingest
from augmint.studies import pipeline, single
from augmint.studies.unchanged import same_data
from augmint.training.config import GanConfig
from augmint.training.gan import TrainingImages, train_gan

LIMIT = 60.0
"""Seconds until a test gives up waiting."""

HERE = Path(__file__).parent


def wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    while not until():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


# workers that linger ------------------------------------------------------------------------------

SCRIPT = """
from pathlib import Path
import stage_functions as functions
from augmint.core.errors import AugmintError
from augmint.studies.runner import run_stages
from augmint.studies.stages import Stage
config = {{"calls": {calls!r}, "steps": 200, "pause": 0.05}}
stages = [Stage(f"steps-{{s}}", functions.steps, {{**config, "seed": s}}) for s in (1, 2)]
try:
    run_stages(stages, Path({root!r}), workers=2)
except AugmintError as error:
    raise SystemExit(error.exit_code)
"""


def living(session: int) -> set[int]:
    """Processes of a session, those aside that only wait to be buried."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, its, *_ = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(its) == session and state != "Z":
            found.add(int(stat.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads processes from /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_workers_do_not_linger(number: signal.Signals, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    code = SCRIPT.format(calls=str(calls), root=str(tmp_path / "study"))
    folders = [str(HERE), str(HERE.parent / "studies"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def both_run() -> bool:
        lines = calls.read_text().splitlines() if calls.exists() else []
        return process.poll() is not None or len({x for x in lines if x.startswith("step ")}) == 2

    wait(both_run)
    assert len(living(process.pid)) >= 3
    process.send_signal(number)
    code = process.wait(LIMIT)
    assert code == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    wait(lambda: living(process.pid) == set())


# checkpoints that were damaged --------------------------------------------------------------------


def tiny_run(folder: Path, steps: int) -> Any:
    images = np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8)).astype(np.uint8)
    labels = {"label": np.arange(12, dtype=np.int64) % 2}
    data = TrainingImages(images, labels, np.arange(12))
    config = GanConfig(
        steps=steps,
        batch=4,
        generator={"name": "dcgan-generator", "channels": 4},
        critic={"name": "dcgan-critic", "channels": 4},
    )
    schema = Schema((Category("label", ("ant", "bee")),))
    return train_gan(config, data, schema, 3, folder, "cpu", progress=False)


def test_a_damaged_checkpoint_is_told_and_the_one_before_it_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AUGMINT_QUIET", raising=False)
    for steps in (3, 6):
        known = tiny_run(tmp_path, steps)
    _, newest = sorted((tmp_path / "checkpoints").glob("step-*"))
    raw = bytearray(newest.read_bytes())
    raw[len(raw) // 2] ^= 1
    newest.write_bytes(raw)
    capsys.readouterr()
    again = tiny_run(tmp_path, 6)
    (line,) = capsys.readouterr().err.splitlines()
    assert f"damaged checkpoint {newest.name}" in line
    assert "goes on from step 3" in line
    assert again.generator_digest == known.generator_digest
    for path in (tmp_path / "checkpoints").glob("step-*"):
        path.write_bytes(b"cut")
    assert tiny_run(tmp_path, 6).generator_digest == known.generator_digest
    assert "goes on from the beginning" in capsys.readouterr().err


# data that changed --------------------------------------------------------------------------------


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 8, 8)).astype(np.uint8)
    for i, image in enumerate(pixels):
        path = tmp_path / "photographs" / "ab"[i % 2] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return tmp_path / "photographs"


def _add(folder: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "a" / "new.png")


def _repaint(folder: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "a" / "00.png")


def _move(folder: Path) -> None:
    (folder / "a" / "00.png").rename(folder / "b" / "00.png")


def _touch(folder: Path) -> None:
    os.utime(folder / "a" / "00.png", (1, 1))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_add, r"a/new\.png added"),
        (_repaint, r"a/00\.png changed"),
        (_move, r"b/00\.png added, a/00\.png removed"),
    ],
)
def test_changed_data_are_refused_by_hash(
    change: Callable[[Path], None], says: str, photographs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    same_data(out, "photographs", ingest(photographs, out / "tables"))
    first = read_json(out / "data.json")["digest"]
    change(photographs)
    table = ingest(photographs, out / "tables")
    assert table.digest != first
    with pytest.raises(DataError, match=rf"changed since the first run in .*{says}") as refusal:
        same_data(out, "photographs", table)
    assert first[:12] in str(refusal.value)
    assert "--out DIR" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_files_that_only_look_new_are_the_same_data(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    same_data(out, "photographs", ingest(photographs, out / "tables"))
    _touch(photographs)
    same_data(out, "photographs", ingest(photographs, out / "tables"))


class EnoughError(Exception):
    """Raised in place of work that would take long."""


@pytest.mark.parametrize("verb", ["prove", "train"])
def test_both_verbs_look_before_they_train(
    verb: str,
    photographs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def enough(*_: Any, **__: Any) -> None:
        raise EnoughError

    monkeypatch.setattr(pipeline, "check", enough)
    monkeypatch.setattr(single, "training_rows", enough)
    out = tmp_path / "out"
    words = [verb, str(photographs), "--device", "cpu", "--out", str(out)]
    with pytest.raises(EnoughError):
        main(words)
    # as after a run that computed something: a first try that did not may be followed by any other
    (out / "run").mkdir()
    EventLog(out / pipeline.LOOKS).write("opened", seeds=[0, 1, 2], why="scores of all arms")
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.json")}
    assert before
    _repaint(photographs)
    capsys.readouterr()
    assert main(words) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("augmint: ")]
    assert "a/00.png changed" in line
    assert before.items() <= {p: p.stat().st_mtime_ns for p in out.rglob("*.json")}.items()


# two at once --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [["prove", "toy"], ["train", "toy"], ["run", "vac-mnist", "--debug"]],
    ids=lambda words: words[0],
)
def test_the_second_of_two_runs_in_a_folder_is_refused(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with lock_folder(tmp_path / "out"):
        before = sorted((tmp_path / "out").iterdir())
        assert main([*words, "--out", str(tmp_path / "out")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"held by process {os.getpid()}" in line
        assert "wait for it to end, or choose another folder" in line
        assert sorted((tmp_path / "out").iterdir()) == before, "the first one's folder is as it was"


def test_a_lock_does_not_outlive_its_block(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(UsageError, match="stop"), lock_folder(tmp_path):
            raise UsageError("stop", "here", "now")

"""Killed at any moment, started again with the same words: the same numbers, nothing done twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from augmint.core.runs import EventLog, load_tensors, read_json

if TYPE_CHECKING:
    from tests.conftest import TinyStudy

LIMIT = 240.0
"""Seconds until a test gives up waiting for what a run should do."""


class Runs:
    """Starts one command line again and again, in a process group of its own."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        self.command = [sys.executable, "-m", "augmint", *words]
        self.environment = environment

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def end(self, number: int, when: Callable[[], bool], delay: float) -> tuple[int, str]:
        """Start, wait until something is so and a little longer, signal; return code and errors."""
        process = self.start()
        wait(lambda: when() or process.poll() is not None)
        time.sleep(delay)
        if process.poll() is None:
            to = os.killpg if number == signal.SIGKILL else os.kill
            to(process.pid, number)
        errors = process.communicate(timeout=LIMIT)[1]
        return process.returncode, errors

    def finish(self) -> None:
        process = self.start()
        errors = process.communicate(timeout=LIMIT)[1]
        assert process.returncode == 0, errors


def wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    while not until():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def committed(folder: Path) -> dict[str, int]:
    """Return when each stage of a study was committed."""
    results = (folder / "stages").glob("*/result.json")
    return {p.parent.name: p.stat().st_mtime_ns for p in results}


def leftovers(folder: Path) -> list[str]:
    """Return what a kill may have left half done."""
    found = [p for p in folder.rglob(".*") if p.name not in (".lock", ".work")]
    found += list((folder / "stages" / ".work").glob("*"))
    return [str(p) for p in found]


# prove --------------------------------------------------------------------------------------------


def prove_killed(
    study: TinyStudy, folder: Path, environment: dict[str, str], kills: int, seed: int, workers: int
) -> None:
    words = ["prove", "digits", "--seeds", "2", "--workers", str(workers), "--device", "cpu"]
    runs = Runs([*words, *study.words, "--out", str(folder)], environment)
    chance = random.Random(seed)
    total = len(committed(study.folder))
    done: dict[str, int] = {}
    killed = 0
    # the moments: after so many further stages (none, one, …) and a part of a second
    shares = sorted(chance.random() for _ in range(kills))
    for share in shares:
        goal = max(len(done), int(share * total))
        code, errors = runs.end(
            signal.SIGKILL, lambda n=goal: len(committed(folder)) >= n, chance.uniform(0, 1.5)
        )
        assert code in (-signal.SIGKILL, 0), errors
        killed += code != 0
        now = committed(folder)
        assert done.items() <= now.items(), "what was done stays as it was"
        done = now
    assert killed >= (kills + 1) // 2
    runs.finish()
    assert done.items() <= committed(folder).items(), "what was done was not done again"
    report, known = read_json(folder / "report.json"), study.report
    for part in ("arms", "uplift", "verdict", "sentence", "per_class", "distribution", "copying"):
        assert report[part] == known[part], part
    names = {p.name: p for p in (folder / "stages").glob("generator-*")}
    assert len(names) == 2
    for name, path in names.items():
        twin = study.folder / "stages" / name
        assert (
            read_json(path / "result.json")["stage"]["value"]["digest"]
            == (read_json(twin / "result.json")["stage"]["value"]["digest"])
        )
    for part in ("bundle/generator.safetensors", "bundle/judge.safetensors"):
        assert (folder / part).read_bytes() == (study.folder / part).read_bytes()
    assert leftovers(folder) == []


@pytest.mark.timeout(900)
def test_a_study_killed_twice_gives_the_same(
    tiny_study: TinyStudy, tmp_path: Path, quiet_environment: dict[str, str]
) -> None:
    prove_killed(tiny_study, tmp_path / "study", quiet_environment, kills=2, seed=5, workers=1)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_study_killed_twenty_times_gives_the_same(
    workers: int, tiny_study: TinyStudy, tmp_path: Path, quiet_environment: dict[str, str]
) -> None:
    folder = tmp_path / "study"
    prove_killed(tiny_study, folder, quiet_environment, kills=20, seed=6, workers=workers)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("number", "workers"),
    [
        (signal.SIGINT, 1),
        (signal.SIGTERM, 1),
        pytest.param(signal.SIGINT, 2, marks=pytest.mark.long),
        pytest.param(signal.SIGTERM, 2, marks=pytest.mark.long),
    ],
)
def test_a_study_that_is_asked_to_stop_says_how_to_go_on(
    number: int,
    workers: int,
    tiny_study: TinyStudy,
    tmp_path: Path,
    quiet_environment: dict[str, str],
) -> None:
    folder = tmp_path / "study"
    words = ["prove", "digits", "--seeds", "2", "--workers", str(workers), "--device", "cpu"]
    runs = Runs([*words, *tiny_study.words, "--out", str(folder)], quiet_environment)
    code, errors = runs.end(number, lambda: len(committed(folder)) >= 2, 0.2)
    assert code == 130, errors
    (line,) = errors.strip().splitlines()
    assert line.startswith("augmint: ")
    assert "the same command" in line
    assert "Traceback" not in errors


# train --------------------------------------------------------------------------------------------


def train_killed(
    straight: Path, words: list[str], folder: Path, environment: dict[str, str], kills: int
) -> None:
    runs = Runs([*words, "--out", str(folder)], environment)
    chance = random.Random(7)
    begun = (folder / "run" / "events.jsonl").is_file
    killed = 0
    for _ in range(kills):
        # from the imports to the judge, which is the longest part of so short a training
        after, delay = chance.choice([(folder.exists, 3.0), (begun, 1.0), (begun, 4.0)])
        code, errors = runs.end(signal.SIGKILL, after, chance.uniform(0, delay))
        assert code in (-signal.SIGKILL, 0), errors
        killed += code != 0
    assert killed >= 1
    runs.finish()
    assert_same_bundle(folder, straight)
    assert leftovers(folder) == []


def assert_same_bundle(folder: Path, straight: Path) -> None:
    for part in ("generator", "judge"):
        path = f"bundle/{part}.safetensors"
        tensors, known = load_tensors(folder / path)[0], load_tensors(straight / path)[0]
        assert tensors.keys() == known.keys()
        assert all(tensors[k].equal(known[k]) for k in known), part
    assert (folder / "samples.png").read_bytes() == (straight / "samples.png").read_bytes()


@pytest.mark.timeout(900)
def test_a_training_killed_twice_gives_the_same_weights(
    tiny_training: Path, train_words: list[str], tmp_path: Path, quiet_environment: dict[str, str]
) -> None:
    folder = tmp_path / "training"
    train_killed(tiny_training, train_words, folder, quiet_environment, kills=2)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_training_killed_twenty_times_gives_the_same_weights(
    train_words: list[str], tmp_path: Path, quiet_environment: dict[str, str]
) -> None:
    words = [*train_words, "--steps", "1500"]  # long enough to be killed between checkpoints
    Runs([*words, "--out", str(tmp_path / "straight")], quiet_environment).finish()
    folder = tmp_path / "training"
    train_killed(tmp_path / "straight", words, folder, quiet_environment, kills=20)


@pytest.mark.timeout(900)
def test_an_interrupted_training_keeps_a_checkpoint_and_goes_on(
    train_words: list[str], tmp_path: Path, quiet_environment: dict[str, str]
) -> None:
    folder = tmp_path / "training"
    steps = train_words.index("--steps") + 1
    words = [*train_words[:steps], "100000", *train_words[steps + 1 :]]
    runs = Runs([*words, "--out", str(folder)], quiet_environment)
    events = folder / "run" / "events.jsonl"
    reached: list[int] = []

    def begun_again() -> bool:
        started = [e for e in EventLog.read(events) if e["kind"] == "started"]
        return len(started) > len(reached)

    for _ in range(2):
        code, errors = runs.end(signal.SIGINT, begun_again, 0.7 + 2.0 * len(reached))
        assert code == 130, errors
        (line,) = errors.strip().splitlines()
        assert line.startswith("augmint: ")
        assert "same command" in line
        (newest, *_) = sorted((folder / "run" / "checkpoints").iterdir(), reverse=True)
        reached.append(int(newest.name.split("-")[1]))
    assert 0 < reached[0] < reached[1]

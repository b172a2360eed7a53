"""Stages that run for long say so, with a time left that rests on what was measured."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest
import stage_functions as functions

from augmint.core.progress import Note
from augmint.studies import runner
from augmint.studies.heartbeat import Teller, heartbeat, running, time_left
from augmint.studies.runner import run_stages
from augmint.studies.stages import Stage


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_keeps_one_line_below_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUGMINT_QUIET", raising=False)
    monkeypatch.setenv("COLUMNS", "20")
    stream = Terminal()
    teller = Teller(stream)
    teller.show("running: generator-0 40 %")
    teller.say("[1/2] done")
    teller.show("x\x1b[2J")
    teller.clear()
    start = "\r\x1b[K"
    assert stream.getvalue() == (
        f"{start}running: generator-{start}[1/2] done\n{start}x\\x1b[2J{start}"
    )


def test_elsewhere_it_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUGMINT_QUIET", raising=False)
    stream = io.StringIO()
    teller = Teller(stream)
    teller.show("running")
    teller.say("done")
    teller.clear()
    assert stream.getvalue() == "running\ndone\n"


def test_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGMINT_QUIET", "1")
    stream = Terminal()
    Teller(stream).show("running")
    Teller(stream).say("done")
    assert stream.getvalue() == ""


def test_it_beats_until_the_block_ends() -> None:
    beaten = threading.Event()
    shown: list[str] = []

    def show(line: str) -> None:
        shown.append(line)
        beaten.set()

    with heartbeat(lambda: "alive", show, 0.01):
        assert beaten.wait(10)
    before = len(shown)
    assert before
    assert not beaten.clear()
    assert not beaten.wait(0.05)


def test_nothing_is_told_of_stages_that_say_nothing() -> None:
    assert running({}, 10.0) == ""


def test_the_time_left_rests_on_a_share_of_the_cost() -> None:
    # a split of no cost says nothing of trainings
    assert time_left([(0.01, 0.0)], {"a": 10.0, "b": 10.0}, {}, 2) is None
    # one half-trained generator, at 60 s for its rest, says 120 s a stage
    notes = {"a": Note(0.5, 60.0)}
    assert time_left([(0.01, 0.0)], {"a": 10.0, "b": 10.0}, notes, 1) == pytest.approx(
        180, rel=0.01
    )
    assert time_left([(0.01, 0.0)], {"a": 10.0, "b": 10.0}, notes, 2) == pytest.approx(
        120, rel=0.01
    )
    # the first steps say nothing yet
    assert time_left([(0.01, 0.0)], {"a": 10.0}, {"a": Note(0.01, 900.0)}, 1) is None


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_tells_how_far_its_stages_are(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "REPEATED", 0.05)
    told: list[str] = []
    stage = Stage("noted", functions.noted, {"shown": str(tmp_path / "shown")})

    def progress(line: str) -> None:
        told.append(line)
        if line.startswith("running"):
            (tmp_path / "shown").touch()  # lets the stage end

    run_stages([stage], tmp_path / "study", workers, progress=progress)
    assert "noted 50 %" in told[0]
    assert "left" in told[0]
    assert told[-1].startswith("[1/1] noted took")
    assert not (tmp_path / "study" / ".work" / stage.label).exists()

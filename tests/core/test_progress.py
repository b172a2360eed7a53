from __future__ import annotations

import io
from pathlib import Path

import pytest

from augmint.core import progress
from augmint.core.progress import NOTE_SECONDS, Note, Progress, note, noting, read_note


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    monkeypatch.delenv("AUGMINT_QUIET", raising=False)
    return made


def test_quiet_lines_now_and_then_and_one_at_the_end(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress(6400, "generator", each=64, stream=stream) as shown:
        for i in range(100):
            clock.now += 0.25
            shown.step(**({"critic": 1.5} if i == 9 else {}))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3  # at 10 s, 20 s and the end
    assert lines[0] == "generator 2.56/6.4 kimg 256/s, 0:00:15 left critic 1.5"
    assert lines[-1] == "generator 6.4/6.4 kimg 256/s critic 1.5"


def test_work_done_before_does_not_count_for_the_rate(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress(100, "x", unit="images", stream=stream) as shown:
        shown.resume(50)
        clock.now += 12.5
        shown.advance(25)
    assert stream.getvalue().splitlines()[0] == "x 75/100 images 2/s, 0:00:12 left"


def test_silence(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGMINT_QUIET", "1")
    stream = io.StringIO()
    with Progress(10, "x", stream=stream) as shown:
        clock.now += 100
        shown.advance(10)
        assert shown.silent
    assert stream.getvalue() == ""


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("AUGMINT_QUIET", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    with Progress(2000, "generator", each=1000, stream=stream) as shown:
        shown.step(loss=0.25)
        shown.step()
    assert "generator" in stream.getvalue()
    assert "2/2 kimg" in stream.getvalue()


def test_a_share_is_written_for_whoever_waits(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    with noting(path):
        note(100, 400)  # a run that goes on where another one stopped
        assert read_note(path) is None
        for done in range(101, 201):
            clock.now += 0.1
            note(done, 400)
        found = read_note(path)
        assert found is not None
        assert found.share == pytest.approx(0.5, abs=0.06)
        assert found.left == pytest.approx(20.0, abs=2.1)  # at ten a second
        note(1, 50)  # another loop has a rate of its own
        clock.now += NOTE_SECONDS
        note(2, 50)
        assert read_note(path) == Note(2 / 50, 96.0)
    clock.now += 100
    note(3, 50)
    assert read_note(path) == Note(2 / 50, 96.0)


def test_bars_are_silent_where_shares_are_written(clock: Clock, tmp_path: Path) -> None:
    stream = io.StringIO()
    with noting(tmp_path / "progress.json"), Progress(10, "mint", stream=stream) as shown:
        shown.advance(1)
        clock.now += 10
        shown.advance(4)
    assert stream.getvalue() == ""
    assert read_note(tmp_path / "progress.json") == Note(0.5, 12.5)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"share": 2, "left": 1}', '{"share": 0.5}'])
def test_a_note_that_cannot_be_read_says_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "progress.json").write_text(text)
    assert read_note(tmp_path / "progress.json") is None

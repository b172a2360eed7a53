from __future__ import annotations

import io

import pytest

from augmint.core import progress
from augmint.core.progress import Progress


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

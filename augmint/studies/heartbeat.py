"""What stages do right now: a line that changes on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from augmint.core.errors import visible
from augmint.core.progress import Note, quiet, span

RENEWED, REPEATED = 2.0, 60.0
"""Seconds between two states of the line, on a terminal and elsewhere."""
KNOWN = 0.02
"""Share of a study's cost whose time must be known before the time left is told."""
STARTED = 0.05
"""Share of a loop that must be done before its rate is believed."""


@dataclass
class Teller:
    """Prints lines, and keeps one that changes below them where a terminal shows it.

    Args:
        stream: standard error if None.
    """

    stream: TextIO | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._out = self.stream or sys.stderr
        self.live = self._out.isatty()

    def say(self, line: str) -> None:
        """Print a line for good."""
        self._print(f"{visible(line)}\n")

    def show(self, line: str) -> None:
        """Show what holds now: in place of what was shown before, or as a line."""
        if self.live:
            self._print(visible(line)[: shutil.get_terminal_size().columns - 1])
        else:
            self.say(line)

    def clear(self) -> None:
        """Remove what `show` left on a terminal."""
        if self.live:
            self._print("")

    def _print(self, text: str) -> None:
        if quiet():
            return
        with self._lock:
            # to the line's start, and away with what stands there
            self._out.write(f"\r\x1b[K{text}" if self.live else text)
            self._out.flush()


@contextlib.contextmanager
def heartbeat(
    look: Callable[[], str], show: Callable[[str], None], seconds: float
) -> Iterator[None]:
    """Show every so many seconds what `look` returns, unless it is empty, during the block."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(seconds):
            if line := look():
                show(line)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def running(notes: Mapping[str, Note], left: float | None) -> str:
    """Return the line that names running stages and how far each is.

    Example:
        >>> running({"generator-0": Note(0.404, 95.0), "judge": Note(0.5, 3.0)}, 185.0)
        'running: generator-0 40 %, judge 50 %; about 3 min 5 s left'
    """
    if not notes:
        return ""
    told = ", ".join(f"{name} {note.share:.0%}".replace("%", " %") for name, note in notes.items())
    return f"running: {told}" + ("" if left is None else f"; about {span(left)} left")


def time_left(
    done: Sequence[tuple[float, float]],
    pending: Mapping[str, float],
    notes: Mapping[str, Note],
    workers: int,
) -> float | None:
    """Return the seconds until the last stage ends, or None while too little is known.

    A unit of cost takes the time that it took in what is done, and takes in the loops that run.

    Args:
        done: cost and seconds of each finished stage.
        pending: cost of each other stage, by name.
        notes: of stages that run, by name.
        workers: that share the stages.

    Example:
        >>> time_left([(1.0, 10.0)], {"a": 1.0, "b": 2.0}, {}, workers=1)
        30.0
        >>> time_left([(0.01, 0.2)], {"a": 9.0}, {}, workers=1) is None
        True
        >>> time_left([(0.01, 0.2)], {"a": 9.0}, {"a": Note(0.5, 60.0)}, workers=1)
        60.0
    """
    believed = {n: note for n, note in notes.items() if n in pending and note.share >= STARTED}
    cost, seconds = sum(c for c, _ in done), sum(s for _, s in done)
    whole = cost + sum(pending.values())
    for name, found in believed.items():
        if found.share < 1.0:
            cost += pending[name]
            seconds += found.left / (1.0 - found.share)
    if cost < KNOWN * whole or not pending:
        return None
    rate = seconds / max(cost, 1e-9)
    rest = [believed[n].left if n in believed else rate * c for n, c in pending.items()]
    return max(sum(rest) / workers, max(rest))

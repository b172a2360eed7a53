"""Long work shows itself: a bar on a terminal, a quiet line now and then elsewhere.

Work in a process that nobody looks at writes how far it is to a file (`noting`), and whoever waits
for it shows that (`read_note`).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from augmint.core.errors import visible

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

QUIET_SECONDS = 10.0
NOTE_SECONDS = 2.0
_SCALES = {"kimg": 1000.0}


class Progress:
    """Counts work done, with its rate and the time left.

    On a terminal a bar; elsewhere one line about every ten seconds and one at the end, on stderr.
    Nothing at all where the environment says AUGMINT_QUIET=1. Within `noting` its share goes to
    that file alone.

    Args:
        total: how much there is to do, in single items (images for the unit "kimg").
        label: what is being done ("generator").
        unit: shown behind the numbers; "kimg" shows thousands of items.
        each: how many items one call of `step` counts for (a batch).

    Example:
        >>> with Progress(128, "generator", each=64, stream=sys.stdout) as p:
        ...     p.step()
        ...     p.step(critic=0.5)  # doctest: +ELLIPSIS
        generator 0.128/0.128 kimg ... critic 0.5
    """

    def __init__(
        self,
        total: float,
        label: str,
        unit: str = "kimg",
        each: int = 1,
        stream: TextIO | None = None,
    ) -> None:
        self.total = total
        self.label = label
        self.unit = unit
        self.each = each
        self.done = 0.0
        self._first = 0.0
        self._numbers: dict[str, float] = {}
        self._stream = stream
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._start = self._last = time.monotonic()

    @property
    def silent(self) -> bool:
        """Whether AUGMINT_QUIET=1 is set, or shares go to a file."""
        return quiet() or _notes() is not None

    def __enter__(self) -> Progress:
        self._start = self._last = time.monotonic()
        stream = self._stream or sys.stderr
        if not self.silent and stream.isatty():
            self._bar = _bar(stream)
            self._task = self._bar.add_task(self.label, total=self.total, unit="", numbers="")
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._show()
            self._bar.stop()
        elif not self.silent:
            self._line()

    def resume(self, done: float) -> None:
        """Say that `done` items were done before; they do not count for the rate."""
        self.done = self._first = float(done)

    def advance(self, n: float = 1, **numbers: float) -> None:
        """Count `n` more items; `numbers` (losses, say) are shown until they are given anew."""
        self.done += n
        note(self.done, self.total)
        if numbers:
            self._numbers.update(numbers)
        now = time.monotonic()
        if self._bar is not None:
            if now - self._last >= 0.2:
                self._last = now
                self._show()
        elif now - self._last >= QUIET_SECONDS and not self.silent:
            self._last = now
            self._line()

    def step(self, **numbers: float) -> None:
        """Count one step: `each` items."""
        self.advance(self.each, **numbers)

    def _show(self) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(
                self._task, completed=self.done, unit=self._amount(), numbers=self._told()
            )

    def _line(self) -> None:
        rate = (self.done - self._first) / max(time.monotonic() - self._start, 1e-9)
        left = (self.total - self.done) / rate if rate > 0 else 0.0
        shown = f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"
        timing = f"{shown}/s" + (f", {_clock(left)} left" if left > 0.5 else "")
        text = " ".join(t for t in (self.label, self._amount(), timing, self._told()) if t)
        print(visible(text), file=self._stream or sys.stderr, flush=True)

    def _amount(self) -> str:
        scale = _SCALES.get(self.unit, 1.0)
        return f"{self.done / scale:.6g}/{self.total / scale:.6g} {self.unit}"

    def _told(self) -> str:
        return " ".join(f"{k} {v:.3g}" for k, v in self._numbers.items())


def quiet() -> bool:
    """Return whether the environment says AUGMINT_QUIET=1: nothing is printed."""
    return os.environ.get("AUGMINT_QUIET") == "1"


@dataclass(frozen=True)
class Note:
    """How far work is: its share, 0 to 1, and the seconds left at the rate so far."""

    share: float
    left: float


@dataclass
class _Notes:
    """Writes to a file how far the loop of the moment is."""

    path: Path
    done: float = 0.0
    total: float = 0.0
    first: float = 0.0
    start: float = 0.0
    last: float = 0.0

    def take(self, done: float, total: float) -> None:
        now = time.monotonic()
        if total != self.total or done < self.done:  # another loop
            self.first, self.start, self.last = done, now, now
        self.done, self.total = done, total
        if now - self.last >= NOTE_SECONDS and done > self.first:
            self.last = now
            left = (now - self.start) * (total - done) / (done - self.first)
            part = self.path.with_suffix(".part")
            with contextlib.suppress(OSError):  # a note that is lost costs nothing
                part.write_text(json.dumps({"share": done / total, "left": left}))
                part.replace(self.path)


_here = threading.local()


def _notes() -> _Notes | None:
    found: _Notes | None = getattr(_here, "notes", None)
    return found


@contextlib.contextmanager
def noting(path: Path) -> Iterator[None]:
    """Let loops that run in this thread within the block write to `path` how far they are.

    Bars and lines are left out meanwhile: whoever reads the file shows them.

    Example:
        >>> with noting(Path("stage.json")):
        ...     Progress(1, "generator").silent
        True
    """
    before = _notes()
    _here.notes = _Notes(path)
    try:
        yield
    finally:
        _here.notes = before


def note(done: float, total: float) -> None:
    """Say that `done` of `total` is done; written every two seconds, within `noting` only."""
    notes = _notes()
    if notes is not None:
        notes.take(done, total)


def read_note(path: Path) -> Note | None:
    """Return what a loop wrote to `path`, or None if it wrote nothing that can be read."""
    try:
        found = json.loads(path.read_text())
        read = Note(float(found["share"]), float(found["left"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return read if 0.0 <= read.share <= 1.0 and 0.0 <= read.left < float("inf") else None


def span(seconds: float) -> str:
    """Return a duration in the two units that fit.

    Example:
        >>> span(4.26), span(42), span(185.0), span(7260.0)
        ('4.3 s', '42 s', '3 min 5 s', '2 h 1 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _bar(stream: TextIO) -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[numbers]}"),
        console=Console(file=stream),
        auto_refresh=True,
        refresh_per_second=4,
    )


def _clock(seconds: float) -> str:
    """Seconds as h:mm:ss.

    Example:
        >>> _clock(3661)
        '1:01:01'
    """
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"

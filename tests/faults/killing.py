"""Kills a process at every boundary of what it writes, one after the other."""

from __future__ import annotations

import builtins
import contextlib
import io
import itertools
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

CALLS = ("fsync", "replace", "rename", "mkdir", "unlink", "rmdir", "chmod")
"""Functions of `os` before which a process is killed; opening a file to write is another."""

LIMIT = 60
"""Seconds until a child that hangs is ended."""


class Boundaries:
    """Counts boundaries, and kills this process at one of them."""

    def __init__(self, at: int) -> None:
        self.at, self.count = at, 0

    def reached(self, handle: int | None = None) -> None:
        self.count += 1
        if self.count <= self.at:
            return
        if handle is not None:  # what was written reached the disk by half
            with contextlib.suppress(OSError):
                path = os.readlink(f"/proc/self/fd/{handle}")
                if os.path.isfile(path):
                    os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        for name in CALLS:
            setattr(os, name, self._wrapped(getattr(os, name), name == "fsync"))
        opened: Callable[..., Any] = builtins.open

        def wrapped(file: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
            found = opened(file, mode, *rest, **options)
            if set(mode) & set("wax+"):
                self.reached()
            return found

        builtins.open = io.open = wrapped  # type: ignore[assignment]

    def _wrapped(self, call: Callable[..., Any], flushes: bool) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            self.reached(arguments[0] if flushes else None)
            return call(*arguments, **options)

        return wrapped


def killed(action: Callable[[], object], at: int) -> bool:
    """Run an action in a child that is killed at a boundary; False if it ended before."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(LIMIT)
            Boundaries(at).install()
            action()
            code = 0
        except BaseException:
            traceback.print_exc(file=sys.stderr)
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, "the child hung"
        return True
    assert os.WEXITSTATUS(status) == 0, "the child failed"
    return False


def survive(
    least: int,
    begin: Callable[[int], Any],
    action: Callable[[Any], object],
    check: Callable[[Any], object],
    finish: Callable[[Any], object],
) -> int:
    """Kill an action at each of its boundaries, in a fresh place each time.

    Args:
        least: boundaries that there must be, or the test would say nothing.
        begin: makes the place for a number.
        action: writes there.
        check: fails if anything half written can be read.
        finish: does it again, unhurt, and fails if the result is not whole.

    Returns:
        The number of kills.
    """
    for at in itertools.count():
        place = begin(at)
        dead = killed(lambda place=place: action(place), at)
        check(place)
        finish(place)
        if not dead:
            assert at >= least, f"only {at} boundaries were met"
            return at
        assert at < 500, "the action never ended"
    raise AssertionError

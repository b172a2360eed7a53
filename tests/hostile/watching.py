"""Runs one command of augmint in this process and watches what it touches.

What is watched, by Python's audit events: files opened for writing, made, renamed or removed
outside the folders that were granted, sockets, programs started, classes that a pickle names.
What is checked beside them: the exit code, the form of the message, and that nothing printed can
steer a terminal.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import resource
import site
import sys
import tempfile
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SPARE = 4 << 30
"""Bytes of address space that a case may claim beyond what the process holds already."""

_CHANGES = {  # event: which of its arguments are paths
    "os.mkdir": (0,),
    "os.rename": (0, 1),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.link": (1,),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.chmod": (0,),
    "os.chown": (0,),
    "shutil.rmtree": (0,),
    "shutil.move": (0, 1),
    "shutil.copyfile": (1,),
}
_NEVER = ("socket.", "os.exec", "os.system", "os.posix_spawn", "os.fork", "ctypes.dlopen")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class BegunError(BaseException):
    """Stands for work that would start now: everything hostile was read before it."""


@dataclass
class Watch:
    """What a case did that it may not do."""

    granted: tuple[str, ...] = ()
    listed: str = "-"
    faults: list[str] = field(default_factory=list)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take one audit event."""
        if event == "open":
            path, mode, flags = (*arguments, None, None)[:3]
            wanted = any(c in mode for c in "wxa+") if isinstance(mode, str) else False
            if wanted or (mode is None and isinstance(flags, int) and flags & _WRITES):
                self._change(event, path)
        elif event in _CHANGES:
            where = _relative_to(event, arguments)
            for i in _CHANGES[event]:
                self._change(event, arguments[i], where)
        elif event == "pickle.find_class":
            self.faults.append(f"a pickle was read: {arguments}")
        elif event == "subprocess.Popen":
            if os.path.basename(os.fsdecode(arguments[0])) != "uname":  # asked by `platform`
                self.faults.append(f"a program was started: {arguments[:2]}")
        elif event == "ctypes.dlopen" and _installed_library(arguments[0]):
            pass
        elif event.startswith(_NEVER):
            self.faults.append(f"{event} {arguments[:2]}")

    def _change(self, event: str, path: Any, where: str = "") -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        text = os.path.join(where, os.fsdecode(path))
        if "__pycache__" in text or text == os.devnull:
            return
        # a link is judged by where it leads, a thing that is removed or renamed by where it lies
        folder, name = os.path.split(os.path.abspath(text))
        true = os.path.realpath(text) if event == "open" else os.path.realpath(folder) + "/" + name
        if event == "open" and os.path.islink(text) and true.startswith(self.listed):
            return  # whether a link was followed shows in what it leads to, which is listed
        if not true.startswith(self.granted):
            self.faults.append(f"{event} {text!r} -> {true!r}")


def _installed_library(name: object) -> bool:
    """Whether a library is the process itself (its C library gives freed memory back), or one of an
    installed package (whose threads are counted): neither comes from what a case brings."""
    packages = tuple(str(Path(p)) + os.sep for p in site.getsitepackages())
    return name is None or str(name).startswith(packages)


def _relative_to(event: str, arguments: tuple[Any, ...]) -> str:
    """The folder that an open handle names, for events that say one."""
    last = arguments[-1]
    said = event in ("os.mkdir", "os.remove", "os.rmdir") and isinstance(last, int) and last >= 0
    return os.readlink(f"/proc/self/fd/{last}") if said else ""


_current: Watch | None = None
_installed = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _current is not None:
        _current(event, arguments)


@contextlib.contextmanager
def watched(*granted: Path, listed: Path | None = None) -> Iterator[Watch]:
    """Watch this process while the block runs; changes below `granted` are fine.

    Files below `listed` are compared by the caller, before and after.
    """
    global _current, _installed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    paths = tuple(str(g) + "/" for g in granted) + tuple(map(str, granted))
    watch = Watch(paths, "-" if listed is None else str(listed))
    _current = watch
    try:
        yield watch
    finally:
        _current = None


@dataclass(frozen=True)
class Outcome:
    """How a case ended, and what was wrong with that."""

    state: str  # survived, quarantined or refused
    faults: tuple[str, ...]
    code: int
    said: str


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + SPARE, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def run(act: Sequence[str] | Callable[[], object], place: Path) -> Outcome:
    """Run a command line, or a function that stands for one, and judge how it ended.

    Args:
        act: the words after `augmint`, or a function that raises what the command would raise.
        place: holds `in` (never written to), `out` and `scratch`, which may be written.
    """
    from augmint.cli import main

    out, err = io.StringIO(), io.StringIO()
    scratch = place / "scratch"
    scratch.mkdir()
    faults: list[str] = []
    before, kept = _listing(place), tempfile.tempdir
    tempfile.tempdir = str(scratch)
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            warnings.catch_warnings(record=True) as warned,
            watched(place / "out", scratch, listed=place) as watch,
            _bounded(),
        ):
            warnings.simplefilter("always")
            code = _ended(main, act)
    except BegunError:
        code = 0
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        code = -1
        faults.append(f"a traceback: {type(error).__name__}: {str(error)[:300]} ({_where(error)})")
    finally:
        tempfile.tempdir = kept
    faults += watch.faults
    faults += [f"a warning: {w.category.__name__}: {w.message}"[:200] for w in warned]
    faults += [f"changed: {n}" for n in before.items() ^ _listing(place).items()]
    faults += _said(code, out.getvalue(), err.getvalue())
    if code == 0:
        left_out = any(said in out.getvalue() for said in ("cannot be read", '"quarantined": [\n'))
        state = "quarantined" if left_out else "survived"
    else:
        state = "refused"
    return Outcome(state, tuple(faults[:6]), code, err.getvalue()[-600:])


def _ended(main: Callable[[Sequence[str]], int], act: Any) -> int:
    from augmint.core.errors import AugmintError

    if not callable(act):
        return main(list(act))
    try:
        act()
    except AugmintError as error:
        print(f"augmint: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _where(error: BaseException) -> str:
    trace, place = error.__traceback__, "?"
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if "augmint/" in name and "/tests/" not in name:
            place = f"{name[name.rindex('augmint/') :]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _listing(place: Path) -> dict[str, tuple[int, int]]:
    """What lies in a case's folder, but for what it may write."""
    found = {}
    for folder, inner, names in os.walk(place):
        if folder.count("/") > str(place).count("/") + 40:
            inner.clear()  # Python's own walk is recursive
        if folder == str(place):
            inner[:] = [i for i in inner if i not in ("out", "scratch")]
        for name in names:
            status = os.lstat(os.path.join(folder, name))
            found[os.path.join(folder, name)] = (status.st_size, status.st_mtime_ns)
    return found


def _said(code: int, out: str, err: str) -> list[str]:
    faults = [f"printed U+{ord(c):04X}" for c in sorted(set(out + err)) if c != "\n" and _steers(c)]
    if code not in (0, -1, 2, 3):
        faults.append(f"exit code {code}: {err[-200:]}")
    if code in (2, 3):
        lines = [line for line in err.splitlines() if line.startswith("augmint: ")]
        if len(lines) != 1 or lines[0] != err.splitlines()[-1]:
            faults.append(f"not one line: {err[-300:]!r}")
        elif not re.fullmatch(r"augmint: .+; got .+: .+", lines[0]) or len(lines[0]) > 700:
            faults.append(f"no rule, value and remedy: {lines[0]!r}")
    if "Traceback" in out + err:
        faults.append("a traceback was printed")
    return faults


def _steers(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")

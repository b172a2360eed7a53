"""What the process that runs a study and the workers of a cluster agree upon, by one small file.

The file `.work/run.json` in the study's folder names the run. A worker that does not see it, or
sees it with other code or another torch, refuses its stage; a worker whose run has ended, or was
followed by another one, stops its stage at the next step and writes a checkpoint.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import platform
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from augmint.core.errors import DataError, UsageError
from augmint.core.machine import set_allocator
from augmint.core.runs import lock_folder, read_json, write_json
from augmint.core.stopping import stoppable
from augmint.studies import stages
from augmint.studies.stages import Job
from augmint.studies.workers import Outcome, work

GRACE = 20.0
"""Seconds that the stages of an ended run have to write a checkpoint."""

_SEEN = 5.0  # seconds until a file that another machine wrote must be seen
_LOOK = 0.5  # seconds between two looks at it
_HEARD = 5.0  # seconds in which a training ends its step and begins to save

_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Pact:
    """One run of a study: its folder, its name, and the code that makes its results."""

    root: Path
    run: str
    code: str
    torch: str

    @property
    def file(self) -> Path:
        """The file that names the run."""
        return self.root / ".work" / "run.json"

    def stands(self) -> bool:
        """Whether the run is still the folder's."""
        with contextlib.suppress(DataError, KeyError, TypeError):
            return bool(read_json(self.file)["run"] == self.run)
        return False

    def refusal(self) -> UsageError | None:
        """Return why this process cannot work for the run, or None."""
        end = time.monotonic() + _SEEN
        while not self.stands():
            if time.monotonic() > end:
                return UsageError(
                    "workers of a cluster share a file system with the study",
                    f"{self.root}, which {platform.node()} does not see",
                    "choose a folder that all machines mount at the same path (--out DIR)",
                )
            time.sleep(_LOOK)
        here = (stages.code_digest()[:12], importlib.metadata.version("torch"))
        if here != (self.code[:12], self.torch):
            return UsageError(
                "all workers run the same augmint and the same torch",
                f"augmint {here[0]} with torch {here[1]} on {platform.node()}, "
                f"augmint {self.code[:12]} with torch {self.torch} here",
                "install the same versions on all machines, and start the workers again",
            )
        return None


@contextlib.contextmanager
def pact(root: Path) -> Iterator[Pact]:
    """Name a run of the study in `root`; on leaving, its stages are asked to stop and awaited."""
    made = Pact(root, uuid.uuid4().hex, stages.code_digest(), importlib.metadata.version("torch"))
    write_json(made.file, {"run": made.run})
    try:
        yield made
    finally:
        made.file.unlink(missing_ok=True)
        _await_stages(root)


def cluster_work(agreed: Pact, task: Job) -> Outcome:
    """Execute a stage in a cluster's worker, unless the worker cannot or the run has ended."""
    set_allocator()
    # threads and the global generator belong to a process: two stages at once would mix them
    with _one_at_a_time:
        if (refused := agreed.refusal()) is not None:
            return Outcome(task.name, refused=refused)
        return _while(agreed.stands, task)


def _while(stands: Callable[[], bool], task: Job) -> Outcome:
    """`work`, asked to stop once the run is over, and interrupted if it does not hear."""
    thread, asked, done = threading.get_ident(), threading.Event(), threading.Event()
    lock = threading.Lock()

    def watch() -> None:
        while stands():
            if done.wait(_LOOK):
                return
        asked.set()
        if done.wait(_HEARD):
            return
        while not done.wait(0.05):
            with lock:
                if not done.is_set() and not _importing(thread):
                    _raise_in(thread, KeyboardInterrupt)
                    return

    threading.Thread(target=watch, name="run-watch", daemon=True).start()
    try:
        with stoppable(asked):
            outcome = work(task)
    except KeyboardInterrupt:  # it came after the stage's last line
        outcome = Outcome(task.name, interrupted=True)
    with lock:
        done.set()
        _raise_in(thread, None)
    return outcome


def _importing(thread: int) -> bool:
    """Whether a thread imports a module; torch half imported would spoil the whole worker."""
    frame = sys._current_frames().get(thread)
    while frame is not None:
        if "importlib._bootstrap" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Raise an error in a thread of this process at its next line; None takes it back."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if error is None else ctypes.py_object(error)
    )


def _await_stages(root: Path) -> None:
    """Wait until no stage of the study is being made, a grace period at most."""
    end = time.monotonic() + GRACE
    for lock in sorted((root / ".work").glob("*/.lock")):
        while lock.exists() and time.monotonic() < end:
            with contextlib.suppress(UsageError, OSError), lock_folder(lock.parent):
                break
            time.sleep(0.1)

"""What a worker does with a stage, and the workers of this machine: this process, or loky's.

A worker executes one stage at a time on one thread and returns an `Outcome`; results travel by the
study's folder alone.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from augmint.core.errors import AugmintError, InterruptedRunError
from augmint.core.machine import set_allocator
from augmint.studies.stages import Job, execute


@dataclass(frozen=True)
class Outcome:
    """What became of a stage in a worker: seconds, or how it ended otherwise."""

    name: str
    seconds: float = 0.0
    refused: AugmintError | None = None
    failed: str = ""
    trace: str = ""
    interrupted: bool = False


@dataclass(frozen=True)
class Pool:
    """Where stages run: so many workers, or the cluster at an address.

    Args:
        workers: processes.
        address: of a cluster; None starts one here.
        root: the study's folder of results.
        say: takes a line for the user.
    """

    workers: int = 1
    address: str | None = None
    root: Path = Path()
    say: Callable[[str], None] = print


def work(task: Job) -> Outcome:
    """Execute a stage on one thread and return what became of it (called in workers)."""
    start = time.perf_counter()
    try:
        with _one_thread():
            execute(task)
    except (KeyboardInterrupt, InterruptedRunError):
        return Outcome(task.name, interrupted=True)
    except AugmintError as error:
        shown = error.value if isinstance(error.value, str) else repr(error.value)
        return Outcome(task.name, refused=type(error)(error.rule, shown, error.remedy))
    except Exception as error:
        failed = f"{type(error).__name__}: {error}"
        return Outcome(task.name, failed=failed, trace=traceback.format_exc())
    return Outcome(task.name, time.perf_counter() - start)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from augmint.core.machine import single_thread

    # torch's own count, and the pools of the libraries beside it (BLAS of numpy and scipy)
    with single_thread(), threadpool_limits(1):
        yield


@dataclass
class _Worker:
    """The state of a local worker process; a stopped run ends its workers."""

    busy: bool = False
    stopped: bool = False

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopped = True
        if self.busy:
            raise KeyboardInterrupt


_worker = _Worker()


def _start_worker() -> None:
    """Set up a local worker: the parent alone decides what Ctrl-C means; SIGTERM asks to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _worker.stop)
    _die_with_parent()
    set_allocator()


def _local_work(task: Job) -> Outcome:
    """`work` in a local worker, unless it was asked to stop."""
    outcome = Outcome(task.name, interrupted=True)
    with contextlib.suppress(KeyboardInterrupt):
        _worker.busy = True
        if not _worker.stopped:
            outcome = work(task)
        _worker.busy = False
    _worker.busy = False
    _worker.stopped |= outcome.interrupted
    return outcome


def _die_with_parent() -> None:
    """End this worker soon after its parent is gone, so that a new run finds its stages free."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def local_pids() -> list[int]:
    """Return the process ids of the local workers that live."""
    return [
        child.pid
        for child in multiprocessing.active_children()
        if child.pid is not None and type(child).__module__.startswith("joblib.externals.loky")
    ]


def end_local() -> None:
    """Kill the local workers of this process, idle or not."""
    from joblib.externals.loky import get_reusable_executor

    if local_pids():
        get_reusable_executor().shutdown(wait=True, kill_workers=True)


Wave = Callable[[list[Job]], Generator[Outcome, None, None]]
"""Runs jobs, in their order, and gives outcomes as they come out."""


@contextlib.contextmanager
def sequential(_: Pool) -> Iterator[Wave]:
    """This process, one stage after the other."""

    def in_turn(jobs: list[Job]) -> Generator[Outcome, None, None]:
        for task in jobs:
            outcome = work(task)
            yield outcome
            if outcome.interrupted:
                return

    yield in_turn


@contextlib.contextmanager
def loky(pool: Pool) -> Iterator[Wave]:
    """Processes of this machine; one that is killed ends its pool, and the next one goes on."""
    import joblib

    with warnings.catch_warnings():
        # a worker that has grown is replaced between two stages, as is meant
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given")
        with joblib.parallel_config("loky", inner_max_num_threads=1, initializer=_start_worker):
            yield functools.partial(parallel, workers=pool.workers, call=_local_work)


def parallel(
    jobs: list[Job], workers: int, call: Callable[[Job], Outcome], backend: Any = None
) -> Generator[Outcome, None, None]:
    """Run jobs through a joblib backend (None: of the moment), and give outcomes as they come."""
    from joblib import Parallel, delayed

    # one stage at a time to a worker, in the order given: costly stages must not queue up
    pool = Parallel(
        n_jobs=workers,
        backend=backend,
        batch_size=1,
        pre_dispatch="all",
        return_as="generator_unordered",
    )
    yield from pool(delayed(call)(task) for task in jobs)

"""Where stages run: this process, local workers (loky), a Dask or a Ray cluster; through joblib.

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
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

from augmint.core.errors import AugmintError, InterruptedRunError, UsageError
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
    """Where stages run: so many workers, or the cluster at an address."""

    workers: int = 1
    address: str | None = None

    @property
    def asked(self) -> int:
        """Workers as joblib counts them: all of them where they are another's."""
        return -1 if self.address else self.workers


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


def _cluster_work(task: Job) -> Outcome:
    set_allocator()
    return work(task)


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
def _sequential(_: Pool) -> Iterator[Wave]:
    def in_turn(jobs: list[Job]) -> Generator[Outcome, None, None]:
        for task in jobs:
            outcome = work(task)
            yield outcome
            if outcome.interrupted:
                return

    yield in_turn


@contextlib.contextmanager
def _loky(pool: Pool) -> Iterator[Wave]:
    import joblib

    with joblib.parallel_config(backend="loky", inner_max_num_threads=1, initializer=_start_worker):
        yield functools.partial(_parallel, workers=pool.workers, call=_local_work)


@contextlib.contextmanager
def _dask(pool: Pool) -> Iterator[Wave]:
    try:
        from dask.distributed import Client  # type: ignore[import-not-found]
    except ImportError as error:
        raise _missing("dask", error) from None
    import joblib

    here: dict[str, Any] = {"n_workers": pool.workers, "threads_per_worker": 1}
    with (
        Client(**({"address": pool.address} if pool.address else here)),
        joblib.parallel_config(backend="dask"),
    ):
        yield functools.partial(_parallel, workers=pool.asked, call=_cluster_work)


@contextlib.contextmanager
def _ray(pool: Pool) -> Iterator[Wave]:
    try:
        import ray  # type: ignore[import-not-found]
        from ray.util.joblib import register_ray  # type: ignore[import-not-found]
    except ImportError as error:
        raise _missing("ray", error) from None
    import joblib

    if not ray.is_initialized():
        ray.init(address=pool.address, num_cpus=None if pool.address else pool.workers)
    register_ray()
    with joblib.parallel_config(backend="ray"):
        # Ray's pool has no generator: outcomes come at the end of a wave
        yield functools.partial(_parallel, workers=pool.asked, call=_cluster_work, streaming=False)


@dataclass(frozen=True)
class Backend:
    """A way to run waves of jobs.

    Args:
        open: opens its pool, once for a whole study.
        local: its workers are processes that this one started and may signal.
        cluster: it takes an address.
    """

    open: Callable[[Pool], contextlib.AbstractContextManager[Wave]]
    local: bool = False
    cluster: bool = False


BACKENDS: Mapping[str, Backend] = {
    "sequential": Backend(_sequential),
    "loky": Backend(_loky, local=True),
    "dask": Backend(_dask, cluster=True),
    "ray": Backend(_ray, cluster=True),
}
"""Every backend by its name."""


def _parallel(
    jobs: list[Job], workers: int, call: Callable[[Job], Outcome], streaming: bool = True
) -> Generator[Outcome, None, None]:
    from joblib import Parallel, delayed

    # one stage at a time to a worker, in the order given: costly stages must not queue up
    pool = Parallel(
        n_jobs=workers,
        batch_size=1,
        pre_dispatch="all",
        return_as="generator_unordered" if streaming else "list",
    )
    yield from pool(delayed(call)(task) for task in jobs)


def _missing(extra: str, error: ImportError) -> UsageError:
    return UsageError(
        f"the backend {extra} needs the extra {extra}",
        str(error),
        f"pip install 'augmint[{extra}]', or pass backend='loky' (--backend loky)",
    )

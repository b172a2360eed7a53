"""Runs the stages that are missing, in waves of those whose inputs are ready, through joblib.

The same graph goes to this process, to local workers (loky), to a Dask or to a Ray cluster, with
the same results: stages are pure, single-threaded, and meet only through the folders they commit.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from augmint.core.errors import AugmintError, InterruptedRunError, UsageError, nearest
from augmint.core.machine import set_allocator
from augmint.studies.stages import Job, Stage, StageResult, execute, in_order, job, load

GRACE = 20.0
"""Seconds that workers have, once stopped, to write a checkpoint before they are killed."""

_LOST_IN_A_ROW = 3  # pools of workers lost without one stage finished in between


class StageFailedError(RuntimeError):
    """A stage raised what no user can cause: a defect; the stage is named, its traceback noted."""


@dataclass(frozen=True)
class Outcome:
    """What became of a stage in a worker: seconds, or how it ended otherwise."""

    name: str
    seconds: float = 0.0
    refused: AugmintError | None = None
    failed: str = ""
    trace: str = ""
    interrupted: bool = False


def run_stages(
    stages: Iterable[Stage],
    root: Path,
    workers: int = 1,
    backend: str = "loky",
    address: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, StageResult]:
    """Make the results of `stages` and of what they build on, where they are missing.

    A stage whose result is committed is not run again, nor is anything that only it needed. A
    killed worker costs what its stages did since their last checkpoints; they are tried again.

    Args:
        stages: the stages whose results are wanted.
        root: the study's folder of results; a cluster's workers must share it.
        workers: processes, each on one thread; 1 runs in this process.
        backend: "loky" (local processes), "dask", "ray" or "sequential".
        address: of a Dask scheduler or a Ray cluster; None starts a local one.
        progress: takes a line for each finished stage; standard error when None, unless
            AUGMINT_QUIET=1.

    Returns:
        Results by stage name: of `stages`, and of what they build on where that is committed.

    Raises:
        UsageError: for an unknown backend, fewer than 1 worker, stages that share a name, or
            workers that were killed again and again.
        InterruptedRunError: after Ctrl-C or SIGTERM; what is finished stays.
        AugmintError: the first that a stage raised.
        StageFailedError: if a stage raised anything else.
    """
    if workers < 1:
        raise UsageError("workers is at least 1", workers, "pass workers=1 (--workers 1)")
    if backend not in BACKENDS:
        raise UsageError("the backend must be a known one", backend, nearest(backend, BACKENDS))
    if address is not None and backend not in ("dask", "ray"):
        raise UsageError(
            "an address belongs to a cluster",
            f"{address} with {backend}",
            "add backend='dask' (--backend dask) or 'ray', or leave the address out",
        )
    root, wanted = Path(root).resolve(), list(stages)
    root.mkdir(parents=True, exist_ok=True)
    run = _Run(in_order(wanted), root, Pool(workers, address), progress or _print)
    run.plan(wanted)
    if run.pending:
        start = BACKENDS["sequential" if backend == "loky" and workers == 1 else backend]
        with _Stopper(asks_workers=start is _loky) as stopper:
            try:
                _finish(run, start, stopper)
            except KeyboardInterrupt:
                stopper.asked = True
            if stopper.asked and run.pending:
                raise run.interrupted()
    return run.results


@dataclass(frozen=True)
class Pool:
    """Where stages run: so many workers, or the cluster at an address."""

    workers: int = 1
    address: str | None = None


@dataclass
class _Run:
    """The state of one call of `run_stages`."""

    graph: list[Stage]
    root: Path
    pool: Pool
    say: Callable[[str], None]
    results: dict[str, StageResult] = field(default_factory=dict)
    pending: dict[str, Stage] = field(default_factory=dict)
    total: int = 0

    def plan(self, wanted: Sequence[Stage]) -> None:
        """Find what is committed, and what of the rest is needed."""
        for stage in self.graph:
            if (result := load(stage, self.root)) is not None:
                self.results[stage.name] = result
        missing = [s for s in wanted if s.name not in self.results]
        while missing:
            stage = missing.pop()
            self.pending[stage.name] = stage
            missing += [s for s in stage.inputs if s.name not in self.results]
        self.total = len(self.pending)

    def wave(self) -> list[Job]:
        """Jobs whose inputs are committed, the costly first."""
        ready = [
            s
            for s in self.graph
            if s.name in self.pending and all(i.name in self.results for i in s.inputs)
        ]
        return [job(s, self.root) for s in sorted(ready, key=lambda s: -s.cost)]

    def take(self, name: str) -> bool:
        """Take over a stage's result if it is committed; say so once."""
        stage = self.pending.get(name)
        result = load(stage, self.root) if stage is not None else None
        if result is None:
            return False
        del self.pending[name]
        self.results[name] = result
        done = self.total - len(self.pending)
        left = f", about {span(self.left())} left" if self.pending else ""
        self.say(f"[{done}/{self.total}] {name} took {span(result.seconds)}{left}")
        return True

    def left(self) -> float:
        """Seconds that the pending stages will take, from the cost and time of those done."""
        done = [s for s in self.graph if s.name in self.results]
        seconds = sum(self.results[s.name].seconds for s in done)
        rate = seconds / max(sum(s.cost for s in done), 1e-9)
        costs = [s.cost for s in self.pending.values()]
        return rate * max(sum(costs) / self.pool.workers, max(costs))

    def interrupted(self) -> InterruptedRunError:
        done = self.total - len(self.pending)
        return InterruptedRunError(
            "the study was interrupted; what is finished is kept",
            f"{done} of {self.total} stages done in {self.root}",
            "run the same command again to go on",
        )


Backend = Callable[[list[Job], Pool], Generator[Outcome, None, None]]


def _finish(run: _Run, start: Backend, stopper: _Stopper) -> None:
    lost = 0
    while run.pending and not stopper.asked:
        before = len(run.pending)
        outcomes = start(run.wave(), run.pool)
        try:
            for outcome in outcomes:
                _judge(run, outcome, stopper)
        except BrokenProcessPool:
            for name in list(run.pending):  # finished, but its outcome died with the pool
                run.take(name)
            lost = lost + 1 if len(run.pending) == before else 0
            if not stopper.asked:
                _after_loss(run, lost)
        finally:
            with warnings.catch_warnings():  # joblib warns of what is meant here
                warnings.simplefilter("ignore")
                outcomes.close()


def _judge(run: _Run, outcome: Outcome, stopper: _Stopper) -> None:
    if run.take(outcome.name):
        return
    if outcome.interrupted:
        stopper.asked = True  # the others still write their checkpoints
        return
    if outcome.refused is not None:
        raise outcome.refused
    error = StageFailedError(
        f"the stage {outcome.name} failed: {outcome.failed or 'its result is not there'}"
    )
    if outcome.trace:
        error.add_note(outcome.trace)
    raise error


def _after_loss(run: _Run, lost: int) -> None:
    if lost >= _LOST_IN_A_ROW:
        raise UsageError(
            "workers must live as long as their stages",
            f"killed {lost} times in a row during {', '.join(list(run.pending)[:3])}",
            "memory may be short: pass fewer workers (--workers 1) or a smaller batch",
        )
    run.say("a worker was killed; its stages are tried again")


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


def _sequential(jobs: list[Job], _: Pool) -> Generator[Outcome, None, None]:
    for task in jobs:
        outcome = work(task)
        yield outcome
        if outcome.interrupted:
            return


def _loky(jobs: list[Job], pool: Pool) -> Generator[Outcome, None, None]:
    import joblib

    with joblib.parallel_config(backend="loky", inner_max_num_threads=1, initializer=_start_worker):
        yield from _parallel(jobs, pool.workers, _local_work)


def _dask(jobs: list[Job], pool: Pool) -> Generator[Outcome, None, None]:
    try:
        from dask.distributed import Client  # type: ignore[import-not-found]
    except ImportError:
        raise _missing("dask") from None
    import joblib

    here: dict[str, Any] = {"n_workers": pool.workers, "threads_per_worker": 1}
    with (
        Client(**({"address": pool.address} if pool.address else here)),
        joblib.parallel_config(backend="dask"),
    ):
        yield from _parallel(jobs, -1 if pool.address else pool.workers, _cluster_work)


def _ray(jobs: list[Job], pool: Pool) -> Generator[Outcome, None, None]:
    try:
        import ray  # type: ignore[import-not-found]
        from ray.util.joblib import register_ray  # type: ignore[import-not-found]
    except ImportError:
        raise _missing("ray") from None
    import joblib

    if not ray.is_initialized():
        ray.init(address=pool.address, num_cpus=None if pool.address else pool.workers)
    register_ray()
    with joblib.parallel_config(backend="ray"):
        # Ray's pool has no generator: outcomes come at the end of a wave
        yield from _parallel(
            jobs, -1 if pool.address else pool.workers, _cluster_work, streaming=False
        )


def _cluster_work(task: Job) -> Outcome:
    set_allocator()
    return work(task)


def _missing(extra: str) -> UsageError:
    return UsageError(
        f"the backend {extra} needs the extra {extra}",
        "not installed",
        f"pip install 'augmint[{extra}]', or pass backend='loky' (--backend loky)",
    )


BACKENDS: Mapping[str, Backend] = {
    "sequential": _sequential,
    "loky": _loky,
    "dask": _dask,
    "ray": _ray,
}
"""Ways to run a wave: jobs and a pool in, outcomes as they come out."""


def _parallel(
    jobs: list[Job], workers: int, call: Callable[[Job], Outcome], streaming: bool = True
) -> Iterator[Outcome]:
    from joblib import Parallel, delayed

    # one stage at a time to a worker, in the order given: costly stages must not queue up
    pool = Parallel(
        n_jobs=workers,
        batch_size=1,
        pre_dispatch="all",
        return_as="generator_unordered" if streaming else "list",
    )
    yield from pool(delayed(call)(task) for task in jobs)


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


class _Stopper:
    """Turns the first Ctrl-C or SIGTERM into a request to all workers, a second into an end.

    In this process the first raises KeyboardInterrupt at once; where workers run, they are asked
    to stop (SIGTERM) and have a grace period to write their checkpoints.
    """

    def __init__(self, asks_workers: bool) -> None:
        self.asked = False
        self._asks_workers = asks_workers
        self._before: dict[int, Any] = {}
        self._timer: threading.Timer | None = None

    def __enter__(self) -> _Stopper:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.asked and self._asks_workers:
            _end_workers()

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        again, self.asked = self.asked, True
        children = _worker_pids() if self._asks_workers else []
        if again or not children:
            raise KeyboardInterrupt
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        self._timer = threading.Timer(GRACE, os.kill, (os.getpid(), signal.SIGTERM))
        self._timer.daemon = True
        self._timer.start()


def _worker_pids() -> list[int]:
    return [
        child.pid
        for child in multiprocessing.active_children()
        if child.pid is not None and type(child).__module__.startswith("joblib.externals.loky")
    ]


def _end_workers() -> None:
    from joblib.externals.loky import get_reusable_executor

    if _worker_pids():
        get_reusable_executor().shutdown(wait=True, kill_workers=True)


def span(seconds: float) -> str:
    """Return a duration as people say it.

    Example:
        >>> span(0.04), span(42), span(600), span(9000)
        ('0.0 s', '42 s', '10 min', '2.5 h')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _print(line: str) -> None:
    if os.environ.get("AUGMINT_QUIET") != "1":
        print(line, file=sys.stderr, flush=True)

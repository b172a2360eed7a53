"""Runs the stages that are missing, in waves of those whose inputs are ready, through joblib.

The same graph goes to this process, to local workers (loky), to a Dask or to a Ray cluster, with
the same results: stages are pure, single-threaded, and meet only through the folders they commit.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from augmint.core.errors import InterruptedRunError, UsageError, nearest
from augmint.core.progress import Note, read_note, span
from augmint.studies.backends import BACKENDS
from augmint.studies.heartbeat import RENEWED, REPEATED, Teller, heartbeat, running, time_left
from augmint.studies.pact import GRACE
from augmint.studies.stages import Job, Stage, StageResult, in_order, job, load
from augmint.studies.workers import Outcome, Pool, Wave, end_local, local_pids

_LOST_IN_A_ROW = 3  # pools of workers lost without one stage finished in between


class StageFailedError(RuntimeError):
    """A stage raised what no user can cause: a defect; the stage is named, its traceback noted."""


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
        progress: takes a line for each finished stage and, every minute, one of those that run;
            standard error when None, unless AUGMINT_QUIET=1.

    Returns:
        Results by stage name: of `stages`, and of what they build on where that is committed.

    Raises:
        UsageError: for an unknown backend, fewer than 1 worker, stages that share a name, workers
            that were killed again and again, a cluster that cannot be reached or whose workers
            do not see `root`, and a disk that is full or closed.
        InterruptedRunError: after Ctrl-C or SIGTERM; what is finished stays.
        AugmintError: the first that a stage raised.
        StageFailedError: if a stage raised anything else.

    Example:
        >>> import tempfile
        >>> def double(config, inputs, folder, work):
        ...     return 2 * config
        >>> stage = Stage("double", double, 21)
        >>> with tempfile.TemporaryDirectory() as root:
        ...     run_stages([stage], Path(root), progress=lambda line: None)["double"].value
        42
    """
    if workers < 1:
        raise UsageError("workers is at least 1", workers, "pass workers=1 (--workers 1)")
    if backend not in BACKENDS:
        raise UsageError("the backend must be a known one", backend, nearest(backend, BACKENDS))
    if address is not None and not BACKENDS[backend].cluster:
        raise UsageError(
            "an address belongs to a cluster",
            f"{address} with {backend}",
            "add backend='dask' (--backend dask) or 'ray', or leave the address out",
        )
    root, wanted = Path(root).resolve(), list(stages)
    root.mkdir(parents=True, exist_ok=True)
    teller = Teller()
    say = progress or teller.say
    run = _Run(in_order(wanted), root, Pool(workers, address, root, say), say)
    run.plan(wanted)
    if run.pending:
        chosen = BACKENDS[backend]
        if chosen.local and workers == 1:  # one worker is this process
            chosen = BACKENDS["sequential"]
        show = progress or teller.show
        every = RENEWED if progress is None and teller.live else REPEATED
        with _Stopper(asks_workers=chosen.local) as stopper:
            try:
                with heartbeat(run.now, show, every), chosen.open(run.pool) as start:
                    _finish(run, start, stopper)
            except KeyboardInterrupt:
                stopper.asked = True
            finally:
                teller.clear()
            if stopper.asked and run.pending:
                raise run.interrupted()
    return run.results


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
                # a kill between a stage's commit and its cleaning leaves its workplace
                shutil.rmtree(job(stage, self.root).workplace, ignore_errors=True)
            else:  # what a killed attempt said of itself holds no more
                job(stage, self.root).note.unlink(missing_ok=True)
        missing = [s for s in wanted if s.name not in self.results]
        while missing:
            stage = missing.pop()
            if stage.name not in self.pending:
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
        left = self.left()
        about = "" if left is None else f", about {span(left)} left"
        self.say(f"[{done}/{self.total}] {name} took {span(result.seconds)}{about}")
        return True

    def notes(self) -> dict[str, Note]:
        """What the pending stages that run say of themselves."""
        found = {s.name: read_note(job(s, self.root).note) for s in list(self.pending.values())}
        return {name: note for name, note in found.items() if note is not None}

    def left(self) -> float | None:
        """Seconds until the last pending stage ends; None while too little is known."""
        done = [
            (s.cost, self.results[s.name].seconds) for s in self.graph if s.name in self.results
        ]
        pending = {s.name: s.cost for s in list(self.pending.values())}
        return time_left(done, pending, self.notes(), self.pool.workers)

    def now(self) -> str:
        """The line that says what runs, empty where nothing says how far it is."""
        return running(self.notes(), self.left())

    def interrupted(self) -> InterruptedRunError:
        done = self.total - len(self.pending)
        return InterruptedRunError(
            "the study was interrupted; what is finished is kept",
            f"{done} of {self.total} stages done in {self.root}",
            "run the same command again to go on",
        )


def _finish(run: _Run, start: Wave, stopper: _Stopper) -> None:
    lost = 0
    while run.pending and not stopper.asked:
        before = len(run.pending)
        outcomes = start(run.wave())
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
            end_local()

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        again, self.asked = self.asked, True
        children = local_pids() if self._asks_workers else []
        if again or not children:
            raise KeyboardInterrupt
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        self._timer = threading.Timer(GRACE, os.kill, (os.getpid(), signal.SIGTERM))
        self._timer.daemon = True
        self._timer.start()

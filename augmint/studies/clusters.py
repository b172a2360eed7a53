"""Clusters on which stages run, through joblib: Dask and Ray, here or at an address.

Both redo the stage of a lost worker elsewhere, a bounded number of times, and leave the other
stages alone. Each is an optional extra, imported only when it is asked for.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import Any

from augmint.core.errors import UsageError
from augmint.studies.pact import Pact, cluster_work, pact
from augmint.studies.stages import Job
from augmint.studies.workers import Outcome, Pool, Wave, parallel

RETRIES = 3
"""How often a cluster redoes a stage whose worker was killed."""

PATIENCE = 60.0
"""Seconds that a study waits for a worker when a cluster has none left."""

_REACH = 10.0  # seconds to connect
_LOOK = 0.5  # seconds between two looks at the workers


@contextlib.contextmanager
def dask(pool: Pool) -> Iterator[Wave]:
    """Workers of the Dask scheduler at an address, or of one that is started here."""
    distributed = _extra("distributed", "dask")
    _reach("dask", pool.address)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is said by us
    here: dict[str, Any] = {"n_workers": pool.workers, "threads_per_worker": 1}
    here |= {"dashboard_address": None, "silence_logs": logging.CRITICAL}
    where = {"address": pool.address, "timeout": _REACH} if pool.address else here
    with contextlib.ExitStack() as held:
        try:
            client = held.enter_context(_soon(lambda: distributed.Client(**where)))
        except Exception as error:  # whatever may answer there
            raise _unreachable("dask", pool.address, error) from None
        agreed = held.enter_context(pact(pool.root))
        losses = (distributed.KilledWorker,)
        gone = (_NoWorkersError, TimeoutError, CancelledError, OSError)
        backend = _backend(functools.partial(_dask_send, client))
        held.enter_context(_watching(client, backend, pool.say))
        yield functools.partial(_wave, backend=backend, agreed=agreed, losses=losses, gone=gone)


def _soon(call: Callable[[], Any]) -> Any:
    """Return what a call returns; one that hangs is left behind in its thread."""
    found: Future[Any] = Future()

    def run() -> None:
        try:
            found.set_result(call())
        except BaseException as error:
            found.set_exception(error)

    threading.Thread(target=run, name="connect", daemon=True).start()
    try:
        return found.result(3 * _REACH)
    except TimeoutError as error:
        raise TimeoutError(str(error) or "no answer") from None


def _dask_send(client: Any, call: Callable[[], Any]) -> Future[Any]:
    there, here = client.submit(call, pure=False), _Kept()
    here.kept = there  # Dask forgets what nobody holds

    def pass_on(done: Any) -> None:
        with contextlib.suppress(InvalidStateError):  # given up before
            try:
                here.set_result(done.result())
            except BaseException as error:
                here.set_exception(error)

    there.add_done_callback(pass_on)
    return here


class _Kept(Future[Any]):
    """A future that holds what it stands for."""

    kept: Any = None


class _NoWorkersError(RuntimeError):
    """A cluster had no worker for too long."""


@contextlib.contextmanager
def _watching(client: Any, backend: Any, say: Callable[[str], None]) -> Iterator[None]:
    """Say when workers leave a Dask cluster, and give up when none is left for long."""
    over = threading.Event()

    def watch() -> None:
        known: set[str] = set()
        seen = time.monotonic()
        while not over.is_set():
            try:
                workers = client.ncores()
            except Exception:  # the scheduler is away; its client says so when it gives up
                workers = dict.fromkeys(known, 1)
            for name in sorted(set(workers) - known):
                if workers[name] > 1:
                    say(f"{name} has {workers[name]} threads, and runs one stage at a time")
            for name in sorted(known - set(workers)):
                say(f"the worker {name} left; its stage is tried again")
            known = set(workers)
            seen = time.monotonic() if workers else seen
            if time.monotonic() - seen > PATIENCE:
                backend.give_up(_NoWorkersError(f"no worker for {PATIENCE:.0f} s"))
            over.wait(_LOOK)

    thread = threading.Thread(target=watch, name="cluster-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_REACH)


@contextlib.contextmanager
def ray(pool: Pool) -> Iterator[Wave]:
    """Workers of the Ray cluster at an address, or of one that is started here."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    library = _extra("ray", "ray")
    _reach("ray", pool.address)
    errors = importlib.import_module("ray.exceptions")
    options: dict[str, Any] = {"logging_level": logging.CRITICAL, "log_to_driver": False}
    if not pool.address:
        options |= {"num_cpus": pool.workers, "include_dashboard": False}
        options |= {"_node_ip_address": "127.0.0.1"}
    with contextlib.ExitStack() as held:
        if not library.is_initialized():
            with _kept_signals():
                try:
                    library.init(pool.address or "local", **options)
                except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                    raise _unreachable("ray", pool.address, error) from None
            held.callback(library.shutdown)
        agreed = held.enter_context(pact(pool.root))
        losses = (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.NodeDiedError)
        gone = (errors.RayError, ConnectionError, CancelledError)
        task = library.remote(num_cpus=1, max_retries=RETRIES)(_call)
        backend = _backend(lambda call: task.remote(call).future())
        yield functools.partial(_wave, backend=backend, agreed=agreed, losses=losses, gone=gone)


@contextlib.contextmanager
def _kept_signals() -> Iterator[None]:
    """Keep what this process does upon Ctrl-C and SIGTERM: Ray would take SIGTERM for itself."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    if threading.current_thread() is threading.main_thread():
        for number, handler in before.items():
            signal.signal(number, handler)


def _call(call: Callable[[], Any]) -> Any:
    return call()


def _backend(send: Callable[[Callable[[], Any]], Future[Any]]) -> Any:
    """A joblib backend that sends each call away and gets a future.

    Unlike joblib's and Ray's own it leaves the other calls alone when a worker is lost, can give
    up waiting, and never takes a call into this process when one worker is left.
    """
    from joblib.parallel import ParallelBackendBase

    class FutureBackend(ParallelBackendBase):  # type: ignore[misc]
        supports_retrieve_callback = True

        def __init__(self) -> None:
            super().__init__()
            self._open: set[Future[Any]] = set()

        def effective_n_jobs(self, n_jobs: int) -> int:
            return 2  # at least: all calls are sent at once, and the cluster shares them out

        def submit(self, func: Callable[[], Any], callback: Any = None) -> Future[Any]:
            future = send(func)
            self._open.add(future)
            future.add_done_callback(self._open.discard)
            future.add_done_callback(callback)
            return future

        def retrieve_result_callback(self, out: Future[Any]) -> Any:
            return out.result()

        def abort_everything(self, ensure_ready: bool = True) -> None:
            for future in list(self._open):
                future.cancel()

        def give_up(self, error: Exception) -> None:
            for future in list(self._open):
                with contextlib.suppress(InvalidStateError):
                    future.set_exception(error)

    return FutureBackend()


def _wave(
    jobs: list[Job],
    backend: Any,
    agreed: Pact,
    losses: tuple[type[BaseException], ...],
    gone: tuple[type[BaseException], ...],
) -> Generator[Outcome, None, None]:
    """A wave on a cluster; what the cluster cannot mend becomes one line.

    Args:
        jobs: the wave.
        backend: joblib's way to the cluster.
        agreed: what binds its workers to this run.
        losses: the workers of one stage were killed again and again.
        gone: the cluster itself is no longer there.
    """
    left = [task.name for task in jobs]
    try:
        for outcome in parallel(jobs, 2, functools.partial(cluster_work, agreed), backend):
            left.remove(outcome.name)
            yield outcome
    except losses:
        raise UsageError(
            "workers must live as long as their stages",
            f"killed again after {RETRIES} further tries, at one of {', '.join(left[:3])}",
            "memory may be short: give workers more of it, or a smaller batch",
        ) from None
    except gone as error:
        raise UsageError(
            "a cluster stays reachable, with a worker, while a study runs",
            f"{type(error).__name__}: {error}" if str(error) else type(error).__name__,
            "start it again, then run the same command again to go on",
        ) from None


def _extra(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"the backend {extra} needs the extra {extra}",
            str(error),
            f"pip install 'augmint[{extra}]', or pass backend='loky' (--backend loky)",
        ) from None


def _reach(backend: str, address: str | None) -> None:
    """Connect to HOST:PORT once, because cluster libraries try for minutes."""
    place = (address or "").rpartition("//")[2].rstrip("/")
    host, _, port = place.rpartition(":")
    if not host or not port.isdecimal():
        return  # names such as "auto" are the library's own
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(backend, address, error) from None


_STARTS = {
    "dask": "dask scheduler, and dask worker ADDRESS --nthreads 1 --nworkers N",
    "ray": "ray start --head",
}


def _unreachable(backend: str, address: str | None, error: BaseException) -> UsageError:
    return UsageError(
        f"the {backend} cluster must be reachable",
        f"{address or 'a local one'} ({error})",
        f"start it ({_STARTS[backend]}) and give its address='HOST:PORT' (--address HOST:PORT)",
    )

"""One training run on several processes of a machine: slices of one batch, averaged gradients.

    g = 1/P Σ_r ∇ mean_{i in slice r} loss_i = ∇ mean_i loss_i

Every process draws the numbers of its own rows of the global batch (streams count by row, so they
are those of one process), and runs its slice forwards and backwards. Before each step one
all-reduce averages everything that a phase computed: gradients, logs, state of losses, running
statistics. All processes thus hold the same weights and come to the same decisions; process 0 alone
writes, shows progress and answers signals. Only runs on several processes import this module.

The others are plain child processes: their orders come as JSON on standard input, whose end tells
them that process 0 is gone, and the data as a nameless file that all map into memory.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
import torch.distributed as dist

from augmint.aspects.base import Schema
from augmint.core.config import build, to_plain
from augmint.core.errors import AugmintError, InterruptedRunError, UsageError, single_line
from augmint.core.machine import resolve_device
from augmint.training.batches import TrainingImages
from augmint.training.compatibility import check_processes
from augmint.training.config import GanConfig
from augmint.training.gan import GanTraining
from augmint.training.team import PeerLostError, Team, peers

TIMEOUT = timedelta(minutes=5)
"""How long a process waits for another that lives but does not answer."""


@dataclass(frozen=True)
class Work:
    """What is trained: the arguments of `GanTraining`, and the steps between two log readings."""

    config: GanConfig
    data: TrainingImages
    schema: Schema
    seed: int
    folder: Path | None = None
    device: str = "cpu"
    interval: int = 100

    def training(self, team: Team) -> GanTraining:
        """Return this process's side of the run."""
        training = GanTraining(
            self.config,
            self.data,
            self.schema,
            self.seed,
            self.folder,
            str(team.device),
            team=team,
        )
        training.recorder.interval = self.interval
        return training


@contextlib.contextmanager
def together(processes: int, work: Work) -> Iterator[GanTraining]:
    """Start the other processes and yield process 0's training; its `run` is that of all.

    The cores are shared out: each process has `cores // processes` threads. On GPUs each process
    has one of its own. When the block ends the others have ended, too.

    Args:
        processes: 2 or more; divides the batch.
        work: what is trained.

    Raises:
        UsageError: if the machine has too few cores or GPUs, or the batch cannot be shared out.
        InterruptedRunError: if another process was killed; the last checkpoint is whole.
        AugmintError: if another process failed.
    """
    device = check_together(processes, work.config, work.device)
    threads = torch.get_num_threads()
    with contextlib.ExitStack() as stack:
        stack.callback(torch.set_num_threads, threads)
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="augmint-"))
        team = Team(0, processes, _own(device, 0))
        others = stack.enter_context(_Others.start(processes, work, device, Path(place)))
        try:
            with _joined(team, Path(place), _threads(processes)):
                yield work.training(team)
                others.finish()
        except PeerLostError as error:
            raise others.cause(error, work.folder) from None


def check_together(processes: int, config: GanConfig, device: str = "auto") -> str:
    """Return "cpu" or "cuda", where so many processes would train.

    Raises:
        UsageError: if there is no core or GPU for each, or the batch cannot be shared out.
    """
    kind = resolve_device(device).type
    found = torch.cuda.device_count() if kind == "cuda" else _cores()
    if processes < 2 or processes > found:
        what = "GPU" if kind == "cuda" else "core"
        raise UsageError(
            f"several processes are 2 or more, with a {what} for each",
            f"{processes} processes and {found} {what}{'s' if found != 1 else ''}",
            f"pass processes={max(found, 1)} (--processes {max(found, 1)})",
        )
    check_processes(config, processes)
    return kind


def _own(kind: str, rank: int) -> torch.device:
    return torch.device("cuda", rank) if kind == "cuda" else torch.device("cpu")


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _threads(processes: int) -> int:
    return max(1, min(torch.get_num_threads(), _cores() // processes))


@contextlib.contextmanager
def _joined(team: Team, place: Path, threads: int) -> Iterator[None]:
    """Be a member of the team's process group, on so many threads, while the block runs."""
    torch.set_num_threads(threads)
    if team.device.type == "cuda":
        torch.cuda.set_device(team.device)
    hook = sys.excepthook  # torch puts a prefix before each line of a traceback
    names = {name for _, name in socket.if_nameindex()}
    loopback = next((name for name in ("lo", "lo0") if name in names), None)
    if loopback is not None:  # nobody outside the machine is listened to
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
    with peers():
        dist.init_process_group(
            "nccl" if team.device.type == "cuda" else "gloo",
            store=dist.FileStore(str(place / "meeting"), team.size),  # type: ignore[attr-defined]
            rank=team.rank,
            world_size=team.size,
            timeout=TIMEOUT,
        )
    try:
        yield
    finally:
        dist.destroy_process_group()
        sys.excepthook = hook


# process 0's side of the others ------------------------------------------------------------------

_COMMAND = (
    "from augmint.core.machine import set_allocator; set_allocator(); "
    "from augmint.training.parallel import member; member()"
)


@dataclass
class _Others:
    """The processes besides 0."""

    children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @classmethod
    @contextlib.contextmanager
    def start(cls, processes: int, work: Work, device: str, place: Path) -> Iterator[_Others]:
        """Start them, wait until they are ready; kill what still lives when the block ends."""
        others = cls()
        with tempfile.TemporaryFile() as file:
            orders = {
                "size": processes,
                "place": str(place),
                "device": device,
                "threads": _threads(processes),
                "config": to_plain(work.config),
                "schema": work.schema.to_plain(),
                "seed": work.seed,
                "folder": None if work.folder is None else str(work.folder.absolute()),
                "interval": work.interval,
                "data": _write(work.data, file),
            }
            try:
                for rank in range(1, processes):
                    others._start(rank, orders)
                for rank, child in enumerate(others.children, 1):
                    if (said := others._line(child, 120.0)) != "ready":
                        raise AugmintError(
                            "all processes of a run must start",
                            f"process {rank} of {processes}: {said or 'it ended without a word'}",
                            "train on one process (--processes 1)",
                        )
                yield others
            finally:
                others._end()

    def _start(self, rank: int, orders: dict[str, Any]) -> None:
        root = str(Path(__file__).parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        child = subprocess.Popen(
            [sys.executable, "-c", _COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(orders["data"]["file"],),
            start_new_session=True,  # Ctrl-C is process 0's alone
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        self.children.append(child)
        with contextlib.suppress(BrokenPipeError):
            _pipe(child.stdin).write(json.dumps({**orders, "rank": rank}).encode() + b"\n")
            _pipe(child.stdin).flush()

    @staticmethod
    def _line(child: subprocess.Popen[bytes], seconds: float) -> str:
        """The next line a child says, or nothing if it says none in time or has ended."""
        said = _pipe(child.stdout)
        if not select.select([said], [], [], seconds)[0]:
            return ""
        return said.readline().decode(errors="replace").strip()

    def finish(self) -> None:
        """Wait for the others, who have done the same steps."""
        for child in self.children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(30)

    def cause(self, error: PeerLostError, folder: Path | None) -> AugmintError:
        """Say why a process is gone: what it said itself, or the signal that ended it."""
        end = time.monotonic() + 3.0
        while time.monotonic() < end and all(c.poll() is None for c in self.children):
            time.sleep(0.01)
        time.sleep(0.1)  # whoever was lost because of another ends after it
        size = len(self.children) + 1
        again = "run the same command again to go on from the last checkpoint"
        for rank, child in enumerate(self.children, 1):
            if child.poll() is not None and (said := self._line(child, 0.0)):
                return AugmintError(
                    "all processes of a run must work", f"process {rank} of {size}: {said}", again
                )
        for rank, child in enumerate(self.children, 1):
            if (status := child.poll()) is not None and status < 0:
                name = signal.Signals(-status).name
                return InterruptedRunError(
                    "all processes of a run must live",
                    f"process {rank} of {size} killed by {name}",
                    again
                    if folder is not None
                    else "run the same command again: it was given no folder, so it starts anew",
                )
        return AugmintError("all processes of a run must answer", str(error), again)

    def _end(self) -> None:
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait()
            _pipe(child.stdout).close()
            with contextlib.suppress(BrokenPipeError):
                _pipe(child.stdin).close()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise RuntimeError("a child has pipes")
    return stream


def _write(data: TrainingImages, file: IO[bytes]) -> dict[str, Any]:
    """Write the arrays one after the other; say where they lie."""
    arrays: dict[str, np.ndarray[Any, Any]] = {"images": data.images, "ids": data.ids}
    arrays |= {f"values/{name}": values for name, values in data.values.items()}
    places = {}
    for name, array in arrays.items():
        file.seek(-file.tell() % 64, os.SEEK_CUR)
        places[name] = {"at": file.tell(), "shape": array.shape, "type": array.dtype.str}
        file.write(np.ascontiguousarray(array).data)
    file.flush()
    return {"file": file.fileno(), "arrays": places}


def _read(plan: dict[str, Any]) -> TrainingImages:
    """Map the arrays that `_write` wrote."""
    # by map, not by reading: all processes share one position in the file
    content = mmap.mmap(plan["file"], 0, access=mmap.ACCESS_READ)
    found = {}
    for name, place in plan["arrays"].items():
        count = int(np.prod(place["shape"], dtype=np.int64))
        array = np.frombuffer(content, np.dtype(place["type"]), count, place["at"])
        found[name] = array.reshape(place["shape"])
    values = {k.removeprefix("values/"): v for k, v in found.items() if k.startswith("values/")}
    return TrainingImages(found["images"], values, found["ids"])


# the others' own side ----------------------------------------------------------------------------


def member() -> None:
    """Train as process 1, 2 …: the whole life of a child process."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # process 0 decides, and saves first
    with open(0, "rb", buffering=0, closefd=False) as orders:
        plan = json.loads(orders.readline())
    threading.Thread(target=_watch, args=(plan["place"],), daemon=True).start()
    status, said = 1, ""
    try:
        _train(plan)
        status = 0
    except PeerLostError:
        shutil.rmtree(plan["place"], ignore_errors=True)  # if process 0 is gone, nobody else does
    except AugmintError as error:
        said = str(error)
    except BaseException as error:
        said = f"{type(error).__name__}: {single_line(str(error))}"
    if said:
        os.write(1, f"{said}\n".encode())
    os._exit(status)  # no farewell to processes that may be gone


def _watch(place: str) -> None:
    os.read(0, 1)  # returns when process 0 has ended
    shutil.rmtree(place, ignore_errors=True)
    os._exit(1)


def _train(plan: dict[str, Any]) -> None:
    folder = None if plan["folder"] is None else Path(plan["folder"])
    config = build(GanConfig, plan["config"], "generator")
    schema = Schema.from_plain(plan["schema"])
    work = Work(config, _read(plan["data"]), schema, plan["seed"], folder, "cpu", plan["interval"])
    team = Team(plan["rank"], plan["size"], _own(plan["device"], plan["rank"]))
    os.write(1, b"ready\n")
    with _joined(team, Path(plan["place"]), plan["threads"]):
        work.training(team).run(progress=False)

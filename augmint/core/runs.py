"""Run folders: atomic files, checked checkpoints, locks, provenance and event lines.

Everything is written to a temporary name, flushed to the disk, renamed, and the folder flushed:
a reader sees the old content or the new, never half of it. Tensors travel as safetensors with
JSON beside them; pickle is neither written nor read.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import glob
import hashlib
import json
import math
import os
import platform
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from augmint.core.errors import DataError, UsageError
from augmint.core.progress import quiet
from augmint.core.storage import storage

if TYPE_CHECKING:
    from torch import Tensor, nn

    class HoldsNetwork(Protocol):
        """Anything that wraps a network."""

        @property
        def network(self) -> nn.Module:
            """The network."""
            ...

    H = TypeVar("H", bound=HoldsNetwork)

_CHECKPOINT = re.compile(r"step-(\d{10})-([0-9a-f]{16})\.safetensors")
_METADATA = "augmint"


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a whole file so that a crash leaves the old content or the new, never a part.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_atomic(Path(folder) / "new" / "a.txt", "whole")
        ...     [(path.name, path.read_text()) for path in (Path(folder) / "new").iterdir()]
        [('a.txt', 'whole')]
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = data.encode("utf-8") if isinstance(data, str) else data
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())  # mkstemp makes files that only the owner can read
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    _flush_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write plain values as indented JSON, atomically.

    Raises:
        ValueError: if a number is not finite (JSON has no word for it).

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json(Path(folder) / "a.json", {"steps": 20})
        ...     read_json(Path(folder) / "a.json")
        {'steps': 20}
    """
    write_atomic(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _finite(written: str) -> float:
    """Return a number of a JSON file; Python would read NaN and 1e999 too,
    and fail to write them."""
    if not math.isfinite(number := float(written)):
        raise ValueError(f"{written} is not a finite number")
    return number


def read_json(path: Path) -> Any:
    """Read a JSON file, which holds finite numbers only.

    Raises:
        DataError: if it is missing or is not JSON.
    """
    try:
        return json.loads(_read_plain(path), parse_constant=_finite, parse_float=_finite)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            "a JSON file must be readable", f"{path} ({error})", "delete it and run again"
        ) from None


_FLUSHED_ALONE = 1000  # files of a folder, at most; more are flushed with all else


def commit_folder(temporary: Path, final: Path) -> bool:
    """Give a finished folder its final name by one rename, its content flushed first.

    Returns:
        True if this call made `final`; False if it was there already (it is kept, and
        `temporary` is removed: two workers that make the same result agree).

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     final = Path(folder) / "final"
        ...     for text in ("first", "second"):
        ...         write_atomic((made := part_folder(final)) / "a.txt", text)
        ...         commit_folder(made, final), (final / "a.txt").read_text()
        (True, 'first')
        (False, 'first')
    """
    count = sum(len(names) for *_, names in os.walk(temporary))
    if sys.platform == "linux" and count > _FLUSHED_ALONE:
        os.sync()  # waits for the disk, here; one call for each of a million files takes an hour
    else:
        for folder, _, names in os.walk(temporary):
            for name in names:
                with open(os.path.join(folder, name), "rb") as file:
                    os.fsync(file.fileno())
            _flush_folder(Path(folder))
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(temporary, final)
    except OSError:
        if not final.is_dir():
            raise
        shutil.rmtree(temporary)
        return False
    _flush_folder(final.parent)
    return True


def part_folder(final: Path) -> Path:
    """Make and return an empty folder beside `final`, to be filled and given to `commit_folder`.

    What processes that no longer live left of the same kind is removed.
    """
    for stale in final.parent.glob(f".{glob.escape(final.name)}.*.part"):
        number = stale.name.split(".")[-2]
        if not number.isdecimal() or int(number) == os.getpid() or not _alive(int(number)):
            shutil.rmtree(stale, ignore_errors=True)
    made = final.parent / f".{final.name}.{os.getpid()}.part"
    made.mkdir(parents=True)
    return made


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> str:
    """Write tensors as one safetensors file, atomically, and return its SHA-256 (64 hex digits).

    Equal tensors and metadata give equal bytes.

    Example:
        >>> import torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "a.safetensors"
        ...     digest = save_tensors(path, {"x": torch.tensor([1.0, 2.0])}, {"kind": "latent"})
        ...     digest == hashlib.sha256(path.read_bytes()).hexdigest(), load_tensors(path)
        (True, ({'x': tensor([1., 2.])}, {'kind': 'latent'}))
    """
    raw = _tensor_bytes(tensors, metadata or {})
    write_atomic(path, raw)
    return hashlib.sha256(raw).hexdigest()


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file: tensors by name, and its metadata.

    Raises:
        DataError: if the file is missing, cut short or not safetensors.
    """
    try:
        raw = _read_plain(path)
    except OSError as error:
        raise DataError(
            "a tensor file must be readable", f"{path} ({error})", "check the path"
        ) from None
    return _read_tensors(raw, path)


def save_network(path: Path, kind: str, network: nn.Module, description: Mapping[str, Any]) -> str:
    """Write a network's weights, and plain values that rebuild it, as one safetensors file.

    Returns:
        The file's SHA-256 (64 hex digits).
    """
    return save_tensors(path, network.state_dict(), {kind: json.dumps(description)})


def load_network(path: Path, kind: str, rebuild: Callable[[dict[str, Any]], H]) -> H:
    """Read what `save_network` wrote.

    Args:
        path: the file.
        kind: what it must hold.
        rebuild: a description to the object whose network gets the weights.

    Returns:
        That object, its network in evaluation mode.

    Raises:
        DataError: if the file is damaged, of another kind, or does not fit the network.

    Example:
        >>> from types import SimpleNamespace
        >>> from torch import nn
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "line.safetensors"
        ...     _ = save_network(path, "line", nn.Linear(3, 1), {"inputs": 3})
        ...     made = lambda told: SimpleNamespace(network=nn.Linear(told["inputs"], 1))
        ...     load_network(path, "line", made).network
        Linear(in_features=3, out_features=1, bias=True)
    """
    tensors, metadata = load_tensors(path)
    try:
        found = rebuild(json.loads(metadata[kind]))
        found.network.load_state_dict(tensors)
    except (LookupError, ValueError, TypeError, RuntimeError, StopIteration) as error:
        raise DataError(
            f"the file of a network ({kind}) holds its description and weights",
            f"{path} ({error})",
            "train it again",
        ) from None
    found.network.eval()
    return found


def _tensor_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    from safetensors.torch import save

    plain = {k: tensors[k].detach().cpu().contiguous() for k in sorted(tensors)}
    # one key, because the order of several is not fixed by the format's writer
    packed = {_METADATA: json.dumps(dict(metadata), sort_keys=True)} if metadata else None
    return bytes(save(plain, metadata=packed))


def _read_tensors(raw: bytes, path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(raw)
        size = int.from_bytes(raw[:8], "little")
        found: dict[str, str] = json.loads(raw[8 : 8 + size]).get("__metadata__") or {}
        metadata = json.loads(found[_METADATA]) if _METADATA in found else found
        if not isinstance(metadata, dict):
            raise ValueError("metadata that are no mapping")
    except (
        *(SafetensorError, ValueError, KeyError, TypeError, AttributeError),
        *(RuntimeError, RecursionError, OverflowError, MemoryError),
    ) as error:
        raise DataError(
            "a tensor file must be whole safetensors",
            f"{path} ({error})",
            "delete it; it is made again",
        ) from None
    return tensors, metadata


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of named tensors: names, types, shapes and values.

    Example:
        >>> import torch
        >>> a, b = torch.zeros(2), torch.ones(2)
        >>> tensors_digest({"a": a, "b": b}) == tensors_digest({"b": b, "a": a})
        True
        >>> tensors_digest({"a": a, "b": b}) == tensors_digest({"a": b, "b": a})
        False
    """
    return hashlib.sha256(_tensor_bytes(tensors, {})).hexdigest()


@dataclass(frozen=True)
class Checkpoint:
    """What a training run needs to go on: the step it reached, its tensors and its JSON state."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


def save_checkpoint(
    folder: Path,
    step: int,
    tensors: Mapping[str, Tensor],
    state: Mapping[str, Any],
    keep: int = 2,
) -> Path:
    """Write a checkpoint as `step-<step>-<sha>.safetensors` and remove all but the newest `keep`.

    Args:
        folder: made if missing.
        step: steps done, 0 to 10^10 - 1.
        tensors: by name.
        state: JSON values.
        keep: how many checkpoints stay, at least 1.

    Example:
        >>> import torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for step in (10, 20, 30):
        ...         _ = save_checkpoint(Path(folder), step, {"x": torch.ones(1)}, {})
        ...     sorted(path.name[:15] for path in Path(folder).iterdir())
        ['step-0000000020', 'step-0000000030']
    """
    raw = _tensor_bytes(tensors, {"step": str(step), "state": json.dumps(state, sort_keys=True)})
    path = folder / f"step-{step:010d}-{hashlib.sha256(raw).hexdigest()[:16]}.safetensors"
    write_atomic(path, raw)
    older = [p for s, p in _checkpoints(folder) if p != path and s <= step]
    same = [p for p in older if p.name[:15] == path.name[:15]]
    others = [p for p in older if p not in same]
    for old in [*same, *others[max(keep, 1) - 1 :]]:
        old.unlink(missing_ok=True)
    return path


def load_checkpoint(folder: Path, say: Callable[[str], None] | None = None) -> Checkpoint | None:
    """Return the newest checkpoint whose checksum holds, or None when there is none.

    A file that was cut short or altered is passed over in favour of the one before it, and a
    line says so.

    Args:
        folder: of `save_checkpoint`.
        say: takes that line; standard error when None, unless AUGMINT_QUIET=1.

    Example:
        >>> import torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tensors = {"x": torch.ones(1)}
        ...     whole, cut = (save_checkpoint(Path(folder), s, tensors, {}) for s in (10, 20))
        ...     _ = cut.write_bytes(whole.read_bytes()[:-1])
        ...     load_checkpoint(Path(folder), say=lambda line: None).step
        10
    """
    found, damaged = None, []
    for step, path in _checkpoints(folder):
        found = _read_checkpoint(step, path)
        if found is not None:
            break
        damaged.append(path.name)
    if damaged:
        goes_on = "the beginning" if found is None else f"step {found.step}"
        (say or _tell)(
            f"damaged checkpoint{'s' if len(damaged) > 1 else ''} {', '.join(damaged)} in "
            f"{folder} passed over; the run goes on from {goes_on}"
        )
    return found


def _read_checkpoint(step: int, path: Path) -> Checkpoint | None:
    try:
        raw = _read_plain(path)
        if hashlib.sha256(raw).hexdigest()[:16] != path.name[16:32]:
            return None
        tensors, metadata = _read_tensors(raw, path)
        state = json.loads(metadata["state"])
    except (OSError, DataError, KeyError, ValueError, TypeError, RecursionError):
        return None
    return Checkpoint(step, tensors, state) if isinstance(state, dict) else None


def _tell(line: str) -> None:
    if not quiet():
        print(line, file=sys.stderr, flush=True)


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Checkpoint files, newest first."""
    if not folder.is_dir():
        return []
    found = [(m, p) for p in folder.iterdir() if (m := _CHECKPOINT.fullmatch(p.name))]
    return sorted(((int(m[1]), p) for m, p in found), key=lambda f: (f[0], f[1].name), reverse=True)


@contextlib.contextmanager
def lock_folder(path: Path) -> Iterator[None]:
    """Hold a folder for this process alone while the block runs (the kernel frees it on a crash).

    Raises:
        UsageError: if another process works there, if the folder cannot be written, or if its
            disk is full, also within the block.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder, lock_folder(Path(folder)):
        ...     with lock_folder(Path(folder)):  # doctest: +ELLIPSIS
        ...         pass
        Traceback (most recent call last):
        augmint.core.errors.UsageError: one process works in a run folder; got ...
    """
    with storage(path):
        path.mkdir(parents=True, exist_ok=True)
        with _locked(path):
            yield


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl

    with open(path / ".lock", "a+", encoding="ascii", opener=own_file) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise UsageError(
                "one process works in a run folder",
                f"{path} (held by process {file.read().strip() or 'unknown'})",
                "wait for it to end, or choose another folder",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def own_file(path: str, flags: int) -> int:
    """Open a plain file for `open(opener=…)`, as itself: not through a link, no pipe, no device.

    Raises:
        OSError: if it is anything else.
    """
    return _plain_file(path, flags | os.O_NOFOLLOW)


def _read_plain(path: Path) -> bytes:
    with open(path, "rb", opener=_plain_file) as file:
        return file.read()


def _plain_file(path: str, flags: int) -> int:
    # without blocking: a pipe would wait for someone to write
    handle = os.open(path, flags | os.O_NONBLOCK, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a plain file", path)
    return handle


def sweep(folder: Path, *caches: Path) -> None:
    """Remove what a killed process left half written; the caller holds the folder's lock.

    Args:
        folder: where temporary files of `write_atomic` go, at any depth.
        caches: folders in which everything hidden is temporary (tables, decoded pixels).

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (Path(folder) / ".a.json-x1.tmp").touch()
        ...     (Path(folder) / "a.json").touch()
        ...     sweep(Path(folder))
        ...     [path.name for path in Path(folder).iterdir()]
        ['a.json']
    """
    for stale in list(folder.rglob(".*.tmp")):
        with contextlib.suppress(OSError):
            stale.unlink()
    root = os.path.realpath(folder)
    for cache in caches:
        if not Path(os.path.realpath(cache)).is_relative_to(root):
            continue  # a link out: what is hidden there is not ours
        for stale in list(cache.glob(".*")):
            if stale.is_dir():
                shutil.rmtree(stale, ignore_errors=True)


class EventLog:
    """Appends one JSON line an event: seconds since 1970, its kind, and its fields.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     log = EventLog(Path(folder) / "events.jsonl")
        ...     log.write("opened", split="test")
        ...     [e["split"] for e in EventLog.read(log.path)]
        ['test']
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, kind: str, **fields: Any) -> None:
        """Append an event; the line is with the operating system when this returns."""
        line = json.dumps({"time": round(time.time(), 3), "kind": kind, **fields}) + "\n"
        with open(self.path, "ab+", opener=own_file) as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                if file.read(1) != b"\n":  # a crash cut the last line short; it ends here
                    line = "\n" + line
            file.write(line.encode())

    @staticmethod
    def read(path: Path) -> list[dict[str, Any]]:
        """Return the events of a log; a last line that a crash cut short is left out."""
        text = _read_plain(path).decode("utf-8", "replace") if path.is_file() else ""
        events = []
        for line in text.splitlines():
            with contextlib.suppress(ValueError, RecursionError):
                events.append(json.loads(line))
        return [event for event in events if isinstance(event, dict)]


def provenance() -> dict[str, Any]:
    """Return the versions and the machine that made a result, for its manifest.

    Example:
        >>> sorted(provenance())
        ['augmint', 'cpu', 'numpy', 'platform', 'python', 'threads', 'torch']
    """
    import numpy
    import torch

    import augmint

    return {
        "augmint": getattr(augmint, "__version__", "unknown"),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "threads": torch.get_num_threads(),
    }


@functools.cache
def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@functools.cache
def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _flush_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Run folders: atomic files, checked checkpoints, locks, provenance and event lines.

Everything is written to a temporary name, flushed to the disk, renamed, and the folder flushed:
a reader sees the old content or the new, never half of it. Tensors travel as safetensors with
JSON beside them; pickle is neither written nor read.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augmint.core.errors import DataError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

_CHECKPOINT = re.compile(r"step-(\d{10})-([0-9a-f]{16})\.safetensors")
_METADATA = "augmint"


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a whole file so that a crash leaves the old content or the new, never a part."""
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
    """
    write_atomic(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: if it is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            "a JSON file must be readable", f"{path} ({error})", "delete it and run again"
        ) from None


def commit_folder(temporary: Path, final: Path) -> bool:
    """Give a finished folder its final name by one rename, its content flushed first.

    Returns:
        True if this call made `final`; False if it was there already (it is kept, and
        `temporary` is removed: two workers that make the same result agree).
    """
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


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> str:
    """Write tensors as one safetensors file, atomically, and return its SHA-256 (64 hex digits).

    Equal tensors and metadata give equal bytes.
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
        raw = Path(path).read_bytes()
    except OSError as error:
        raise DataError(
            "a tensor file must be readable", f"{path} ({error})", "check the path"
        ) from None
    return _read_tensors(raw, path)


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
        header = json.loads(raw[8 : 8 + size])
    except (SafetensorError, ValueError, KeyError) as error:
        raise DataError(
            "a tensor file must be whole safetensors",
            f"{path} ({error})",
            "delete it; it is made again",
        ) from None
    found: dict[str, str] = header.get("__metadata__") or {}
    metadata = json.loads(found[_METADATA]) if _METADATA in found else found
    return tensors, metadata


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of named tensors: names, types, shapes and values."""
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


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the newest checkpoint whose checksum holds, or None when there is none.

    A file that was cut short or altered is passed over in favour of the one before it.
    """
    for step, path in _checkpoints(folder):
        try:
            raw = path.read_bytes()
            if hashlib.sha256(raw).hexdigest()[:16] != path.name[16:32]:
                continue
            tensors, metadata = _read_tensors(raw, path)
            return Checkpoint(step, tensors, json.loads(metadata["state"]))
        except (OSError, DataError, KeyError, ValueError):
            continue
    return None


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
        UsageError: if another process works there.
    """
    import fcntl

    path.mkdir(parents=True, exist_ok=True)
    with open(path / ".lock", "a+", encoding="ascii") as file:
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


def sweep(folder: Path, *caches: Path) -> None:
    """Remove what a killed process left half written; the caller holds the folder's lock.

    Args:
        folder: where temporary files of `write_atomic` go, at any depth.
        caches: folders in which everything hidden is temporary (tables, decoded pixels).
    """
    for stale in list(folder.rglob(".*.tmp")):
        with contextlib.suppress(OSError):
            stale.unlink()
    for cache in caches:
        for stale in list(cache.glob(".*")):
            if stale.is_dir():
                shutil.rmtree(stale, ignore_errors=True)


def new_run(parent: Path) -> Path:
    """Make and return the next numbered folder of `parent`: 0001, 0002, …"""
    parent.mkdir(parents=True, exist_ok=True)
    number = max((int(p.name) for p in parent.iterdir() if p.name.isdecimal()), default=0)
    while True:
        number += 1
        with contextlib.suppress(FileExistsError):
            folder = parent / f"{number:04d}"
            folder.mkdir()
            return folder


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
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(line)

    @staticmethod
    def read(path: Path) -> list[dict[str, Any]]:
        """Return the events of a log; a last line that a crash cut short is left out."""
        events = []
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        for line in lines:
            with contextlib.suppress(ValueError):
                events.append(json.loads(line))
        return events


def provenance() -> dict[str, Any]:
    """Return the versions and the machine that made a result, for its manifest."""
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

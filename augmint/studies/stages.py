"""Stages: pure functions of a configuration, kept under a hash of everything they depend on.

A stage's function has four parameters and returns what JSON can hold:

    def train_arm(config, inputs: dict[str, Path], folder: Path, work: Path) -> dict: ...

`inputs` are the committed folders of the stages it builds on, by their names (`read_result` gives
their values); result files go into `folder`, which is committed by one rename; `work` outlives
kills and interruptions, for checkpoints, and is removed after the commit.

On disk, under a study's root:

    split-0f3a…/result.json  and the result files      one folder for each committed stage
    .work/split-0f3a…/       work/  result/  .lock  progress.json     while a stage is being made
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import inspect
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from augmint.core.config import fingerprint, to_plain
from augmint.core.errors import DataError, UsageError
from augmint.core.machine import give_back_memory
from augmint.core.progress import noting
from augmint.core.runs import commit_folder, lock_folder, read_json, write_json

StageFunction = Callable[[Any, dict[str, Path], Path, Path], Any]

RESULT = "result.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
_HASHED_IN_FULL = 4 << 20  # larger result files are checked by their size alone
# what only shows or calls: a change there must not make a study train again
_WITHOUT_EFFECT = ("studies/report/", "cli.py", "core/commands.py")


@dataclass(frozen=True, eq=False)
class Stage:
    """One node of a study: a function, its configuration and the stages it builds on.

    Args:
        name: unique within a study, as in "generator-seed3"; lower case, digits, `.`, `_`, `-`.
        function: importable, with the parameters `(config, inputs, folder, work)`.
        config: a frozen dataclass or plain values; everything the function reads but its inputs.
        inputs: stages that must be committed first.
        data: digest of the data set that the function reads, empty if it reads none.
        cost: relative to other stages; the costly start first and weigh in the time left.
        roles: what the function calls its inputs, in their order; their names where empty.
        places: further paths given to the function beside its inputs, such as where the data
            set lies. They are no part of the key: what they hold is named by `data`.

    Raises:
        UsageError: for a name that cannot name a folder, inputs that share a name, or a function
            that workers cannot import.

    Example:
        >>> def split(config, inputs, folder, work):
        ...     return {"train": config["n"]}
        >>> Stage("split", split, {"n": 3}).key == Stage("split", split, {"n": 4}).key
        False
    """

    name: str
    function: StageFunction
    config: Any
    inputs: tuple[Stage, ...] = ()
    data: str = ""
    cost: float = 1.0
    roles: tuple[str, ...] = ()
    places: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(
                "a stage's name is lower-case letters, digits, '.', '_' and '-'",
                self.name,
                "rename the stage",
            )
        names = [stage.name for stage in self.inputs]
        if len(set(names)) < len(names):
            raise UsageError(f"inputs of {self.name} have names of their own", names, "rename one")
        if self.roles and len(set(self.roles)) != len(self.inputs):
            raise UsageError(
                f"{self.name} has one role for each input", self.roles, "name each input once"
            )
        if not inspect.isfunction(self.function) or self.function.__name__ == "<lambda>":
            raise UsageError(
                f"the function of {self.name} is a plain function with a name",
                repr(self.function),
                "define it with def, and put what it needs into config",
            )

    @cached_property
    def key(self) -> str:
        """SHA-256 of the name, function, configuration, inputs, data, code and torch version."""
        return fingerprint(
            {
                "name": self.name,
                "function": _function_name(self.function),
                "config": to_plain(self.config),
                "inputs": [[stage.name, stage.key] for stage in self.inputs],
                "roles": list(self.roles),
                "data": self.data,
                "code": [code_digest(), _foreign_code(self.function)],
                "torch": importlib.metadata.version("torch"),
            }
        )

    @property
    def label(self) -> str:
        """The stage's folder: its name and the first 16 digits of its key."""
        return f"{self.name}-{self.key[:16]}"


@dataclass(frozen=True)
class StageResult:
    """A committed stage: its folder, what its function returned, and the seconds it took."""

    folder: Path
    value: Any
    seconds: float


@functools.cache
def code_digest() -> str:
    """Return the SHA-256 of augmint's sources that can change a result, once a process.

    Every .py file counts except those that only show or call: the report and the command line.

    Example:
        >>> len(code_digest()), code_digest() == code_digest()
        (64, True)
    """
    package = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package).as_posix()
        if not place.startswith(_WITHOUT_EFFECT):
            digest.update(f"{place}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _function_name(function: StageFunction) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def _foreign_code(function: StageFunction) -> str:
    """Digest of the file that holds a function from outside augmint; empty inside it."""
    if function.__module__.partition(".")[0] == "augmint":
        return ""
    try:
        source = Path(inspect.getsourcefile(function) or "").read_bytes()
    except (OSError, TypeError):
        source = function.__code__.co_code
    return hashlib.sha256(source).hexdigest()


def in_order(stages: Iterable[Stage]) -> list[Stage]:
    """Return the stages and everything they build on, inputs first, each key once.

    Raises:
        UsageError: if two stages share a name but not a key.

    Example:
        >>> def same(config, inputs, folder, work):
        ...     return config
        >>> split = Stage("split", same, 1)
        >>> [stage.name for stage in in_order([Stage("arm", same, 2, (split,)), split])]
        ['split', 'arm']
    """
    found: dict[str, Stage] = {}

    def visit(stage: Stage) -> None:
        known = found.get(stage.name)
        if known is not None:
            if known.key != stage.key:
                raise UsageError(
                    "stages of one study have names of their own", stage.name, "rename one"
                )
            return
        for needed in stage.inputs:
            visit(needed)
        found[stage.name] = stage

    for stage in stages:
        visit(stage)
    return list(found.values())


def load(stage: Stage, root: Path) -> StageResult | None:
    """Return the committed result of a stage, or None if it is missing or not whole.

    Example:
        >>> import tempfile
        >>> def double(config, inputs, folder, work):
        ...     return 2 * config
        >>> stage = Stage("double", double, 21)
        >>> with tempfile.TemporaryDirectory() as root:
        ...     before, _ = load(stage, Path(root)), execute(job(stage, Path(root)))
        ...     before, load(stage, Path(root)).value
        (None, 42)
    """
    try:
        return read_result(root / stage.label, stage.key)
    except DataError:
        return None


def read_result(folder: Path, key: str | None = None) -> StageResult:
    """Read a committed folder, checking that it is whole.

    `result.json` carries its own checksum and the size and SHA-256 of every result file; files
    over 4 MB are checked by size.

    Raises:
        DataError: if something is missing, altered or of another stage.
    """
    try:
        record = read_json(folder / RESULT)
        whole = fingerprint(record["stage"]) == record["sha256"]
        stage = record["stage"]
        whole = whole and key in (None, stage["key"]) and _listing_holds(folder, stage["files"])
        result = StageResult(folder, stage["value"], float(stage["seconds"]))
    except (KeyError, TypeError, OSError, ValueError, AttributeError):
        whole = False
    if not whole:
        raise DataError("a stage's result must be whole", str(folder), "run the study again")
    return result


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / RESULT)


def _listing_holds(folder: Path, files: dict[str, list[Any]]) -> bool:
    if {p.relative_to(folder).as_posix() for p in _files(folder)} != set(files):
        return False
    for name, (size, sha256) in files.items():
        path = folder / name
        if path.stat().st_size != size:
            return False
        if size <= _HASHED_IN_FULL and _sha256(path) != sha256:
            return False
    return True


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Job:
    """What a worker needs of a stage: no graph, only paths (sent to another process)."""

    name: str
    key: str
    function: StageFunction
    config: Any
    inputs: dict[str, Path]
    root: Path
    places: dict[str, Path] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """As `Stage.label`."""
        return f"{self.name}-{self.key[:16]}"

    @property
    def folder(self) -> Path:
        """Where the result will be."""
        return self.root / self.label

    @property
    def workplace(self) -> Path:
        """Where it is made; the stage's own checkpoints lie in its `work`."""
        return self.root / ".work" / self.label

    @property
    def note(self) -> Path:
        """Where its loops write how far they are."""
        return self.workplace / "progress.json"


def job(stage: Stage, root: Path) -> Job:
    """Return the job that makes a stage; its inputs must be committed before it is executed.

    Example:
        >>> def same(config, inputs, folder, work):
        ...     return config
        >>> arm = Stage("arm", same, 2, (Stage("split-seed0", same, 1),), roles=("split",))
        >>> job(arm, Path("stages")).inputs["split"].name.startswith("split-seed0-")
        True
    """
    roles = stage.roles or tuple(needed.name for needed in stage.inputs)
    inputs = {r: root / n.label for r, n in zip(roles, stage.inputs, strict=True)}
    places = dict(stage.places)
    return Job(stage.name, stage.key, stage.function, stage.config, inputs, root, places)


def execute(task: Job) -> StageResult:
    """Make a stage's result and commit it; do nothing if it is there.

    Raises:
        UsageError: if another process is making it, or it returned what JSON cannot hold.
        DataError: if an input is not whole.

    Example:
        >>> import tempfile
        >>> def write(config, inputs, folder, work):
        ...     (folder / "note.txt").write_text(config)
        >>> with tempfile.TemporaryDirectory() as root:
        ...     done = execute(job(Stage("note", write, "kept"), Path(root)))
        ...     done.value, (done.folder / "note.txt").read_text()
        (None, 'kept')
    """
    with _patient_lock(task.workplace):
        try:
            done = read_result(task.folder, task.key)
        except DataError:
            _make(task)
            give_back_memory()
            done = read_result(task.folder, task.key)
        shutil.rmtree(task.workplace, ignore_errors=True)
    return done


@contextlib.contextmanager
def _patient_lock(folder: Path, seconds: float = 10.0) -> Iterator[None]:
    # workers of a run that was just killed hold their locks until they notice
    end = time.monotonic() + seconds
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(lock_folder(folder))
                break
            except UsageError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
        yield


def _make(task: Job) -> None:
    for path in task.inputs.values():
        read_result(path)
    folder, work = task.workplace / "result", task.workplace / "work"
    # parts of an attempt that was killed, and a committed folder that was damaged since
    for stale in (folder, task.folder):
        if stale.exists():
            shutil.rmtree(stale)
    folder.mkdir(parents=True)
    work.mkdir(exist_ok=True)
    start = time.perf_counter()
    with noting(task.note):
        value = task.function(task.config, {**task.inputs, **task.places}, folder, work)
    value = to_plain(value)
    record = {
        "name": task.name,
        "key": task.key,
        "function": _function_name(task.function),
        "config": to_plain(task.config),
        "inputs": {name: path.name for name, path in task.inputs.items()},
        "value": value,
        "seconds": round(time.perf_counter() - start, 3),
        "files": {
            p.relative_to(folder).as_posix(): [p.stat().st_size, _sha256(p)] for p in _files(folder)
        },
    }
    try:
        write_json(folder / RESULT, {"stage": record, "sha256": fingerprint(record)})
    except (TypeError, ValueError) as error:
        raise UsageError(
            "a stage returns finite numbers, text, lists and mappings",
            f"{error} in the result of {task.name}",
            "look at what its function returns",
        ) from error
    commit_folder(folder, task.folder)

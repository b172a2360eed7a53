"""Full disks and folders that cannot be written: one line, nothing corrupted, the same command."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from augmint.cli import main
from augmint.core.errors import UsageError
from augmint.core.runs import load_checkpoint, load_tensors, lock_folder, read_json, save_checkpoint
from augmint.core.storage import storage, storage_error
from augmint.data.table import Table

if TYPE_CHECKING:
    from tests.conftest import TinyStudy


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGMINT_QUIET", "1")


class Disk:
    """A file system in memory, of a size that can be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def mount(self, *options: str) -> None:
        command = [
            "mount",
            "-t",
            "tmpfs",
            "-o",
            ",".join(options),
            "augmint-test",
            str(self.folder),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a file system in memory cannot be mounted here: {done.stderr.strip()}")

    def end(self) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], capture_output=True, check=False)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if shutil.which("mount") is None:
        pytest.skip("there is no mount command")
    made = Disk(tmp_path / "disk")
    made.folder.mkdir()
    yield made
    made.end()


def one_line(captured: str) -> str:
    (line,) = captured.strip().splitlines()
    assert line.startswith("augmint: ")
    assert "Traceback" not in line
    return line


# full ---------------------------------------------------------------------------------------------


def test_a_study_on_a_disk_that_fills_up_goes_on_when_there_is_room(
    disk: Disk, tiny_study: TinyStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = disk.folder / "study"
    words = ["prove", "digits", "--seeds", "2", "--workers", "1", "--device", "cpu"]
    words += [*tiny_study.words, "--out", str(folder)]
    disk.mount("size=64k")
    done: list[int] = []
    for size in ("64k", "256k", "512k", "1m"):  # the table, the first stages, a generator …
        disk.mount("remount", f"size={size}")
        capsys.readouterr()
        assert main(words) == 2, size
        line = one_line(capsys.readouterr().err)
        assert str(disk.folder) in line
        assert "No space left" in line
        assert "free some space there, then run the same command again" in line
        done.append(len(list((folder / "stages").glob("*/result.json"))))
    assert done == sorted(done)
    assert done[0] == 0 < done[-1]
    disk.mount("remount", "size=512m")
    assert main(words) == 0
    report = read_json(folder / "report.json")
    for part in ("arms", "uplift", "verdict", "per_class", "distribution", "copying"):
        assert report[part] == tiny_study.report[part], part
    left = [p for p in folder.rglob(".*") if p.name not in (".lock", ".work")]
    assert left == [], "nothing half written is left"


@pytest.mark.parametrize("to_the_end", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_training_that_may_write_no_more_keeps_what_it_has(
    to_the_end: bool,
    request: pytest.FixtureRequest,
    train_words: list[str],
    tmp_path: Path,
    quiet_environment: dict[str, str],
) -> None:
    folder = tmp_path / "training"
    command = [sys.executable, "-m", "augmint", *train_words, "--out", str(folder)]

    def limited() -> None:
        # a limit of the kernel stands for a full disk where none can be mounted
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    options: dict[str, Any] = {"env": quiet_environment, "capture_output": True, "text": True}
    stopped = subprocess.run(command, preexec_fn=limited, check=False, **options)
    assert stopped.returncode == 2, stopped.stderr
    line = one_line(stopped.stderr)
    assert str(folder) in line
    assert "File too large" in line
    assert not (folder / "bundle").exists()
    (table,) = (folder / "tables").glob("table-*")
    Table.open(table).verify()
    assert list((folder / "run" / "checkpoints").glob("step-*")) == []
    if not to_the_end:
        return
    tiny_training = request.getfixturevalue("tiny_training")
    assert subprocess.run(command, check=False, **options).returncode == 0
    for part in ("generator", "judge"):
        path = f"bundle/{part}.safetensors"
        made, known = load_tensors(folder / path)[0], load_tensors(tiny_training / path)[0]
        assert all(made[name].equal(known[name]) for name in known)


def test_a_checkpoint_that_finds_no_room_leaves_the_earlier_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    for step in (1, 2):
        save_checkpoint(tmp_path / "run", step, {"a": torch.ones(9) * step}, {})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def save() -> None:
        with lock_folder(tmp_path / "run"):
            save_checkpoint(tmp_path / "run", 3, {"a": torch.ones(9)}, {})

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UsageError, match="No space left") as found:
            save()
    assert str(tmp_path / "run") in str(found.value)
    kept = load_checkpoint(tmp_path / "run")
    assert kept is not None
    assert kept.step == 2
    assert len(list((tmp_path / "run").glob("*"))) == 3  # two checkpoints and the lock


# closed -------------------------------------------------------------------------------------------

VERBS = {
    "prove": ["prove", "toy"],
    "train": ["train", "toy", "--steps", "2"],
    "mint": ["mint", "{bundle}", "--per-class", "1", "--raw"],
    "run": ["run", "vac-mnist", "--debug"],
}


@pytest.mark.parametrize("verb", list(VERBS))
def test_a_read_only_folder_is_one_line(
    verb: str,
    disk: Disk,
    tiny_training: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if os.geteuid() == 0:
        disk.mount("size=1m")
        disk.mount("remount", "ro")
    else:
        disk.folder.chmod(0o555)
    words = [w.format(bundle=tiny_training / "bundle") for w in VERBS[verb]]
    assert main([*words, "--out", str(disk.folder / "out")]) == 2
    line = one_line(capsys.readouterr().err)
    assert str(disk.folder / "out") in line
    assert "--out DIR" in line


def test_a_study_whose_folder_became_read_only_says_so(
    disk: Disk, tiny_study: TinyStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    disk.mount("size=64m")
    folder = tiny_study.copy(disk.folder / "study")
    before = (folder / "report.html").read_bytes()
    disk.mount("remount", "ro")
    words = ["prove", "digits", "--seeds", "2", *tiny_study.words, "--out", str(folder)]
    assert main(words) == 2
    assert "Read-only file system" in one_line(capsys.readouterr().err)
    assert main(["report", str(folder)]) == 2
    assert str(folder) in one_line(capsys.readouterr().err)
    assert (folder / "report.html").read_bytes() == before


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "free some space there, then run the same command again"),
        (errno.EDQUOT, "free some space there"),
        (errno.EROFS, "choose another folder"),
        (errno.EACCES, "choose another folder"),
        (errno.EIO, "on a disk that works"),
    ],
)
def test_what_a_disk_refuses_names_folder_and_remedy(
    number: int, says: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=says) as found, storage(tmp_path):
        raise OSError(number, os.strerror(number))
    assert str(tmp_path) in str(found.value)
    assert os.strerror(number) in str(found.value)
    assert found.value.exit_code == 2


def test_what_is_no_matter_of_disks_stays_as_it_is(tmp_path: Path) -> None:
    assert storage_error(FileNotFoundError(errno.ENOENT, "no such file"), tmp_path) is None
    with pytest.raises(ConnectionResetError), storage(tmp_path):
        raise ConnectionResetError(errno.ECONNRESET, "reset")

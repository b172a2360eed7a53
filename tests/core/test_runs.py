from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from augmint.core import runs
from augmint.core.errors import DataError, UsageError


def test_atomic_writes_leave_old_or_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "a.txt"
    runs.write_atomic(path, "old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(runs.os, "replace", fail)
        with pytest.raises(OSError, match="disk full"):
            runs.write_atomic(path, b"new")
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]
    runs.write_atomic(path, b"new")
    assert path.read_bytes() == b"new"


def test_json(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    runs.write_json(path, {"b": [1, 2.5, None], "é": "ü"})
    assert runs.read_json(path) == {"b": [1, 2.5, None], "é": "ü"}
    with pytest.raises(ValueError):
        runs.write_json(path, float("nan"))
    path.write_text("{")
    for broken in (path, tmp_path / "none.json"):
        with pytest.raises(DataError, match="JSON"):
            runs.read_json(broken)


def test_folders_are_committed_once(tmp_path: Path) -> None:
    for content, first in (("a", True), ("b", False)):
        temporary = tmp_path / f"tmp-{content}"
        (temporary / "sub").mkdir(parents=True)
        (temporary / "sub" / "x").write_text(content)
        assert runs.commit_folder(temporary, tmp_path / "made" / "final") is first
        assert not temporary.exists()
    assert (tmp_path / "made" / "final" / "sub" / "x").read_text() == "a"


def test_tensors_round_trip_with_equal_bytes(tmp_path: Path) -> None:
    tensors = {
        "w": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "empty": torch.zeros(0, 5, dtype=torch.int64),
        "scalar": torch.tensor(2.0),
        "nan": torch.tensor([float("nan")]),
    }
    metadata = {k: str(i) for i, k in enumerate("fedcba")}
    first = runs.save_tensors(tmp_path / "a", tensors, metadata)
    second = runs.save_tensors(tmp_path / "b", dict(reversed(tensors.items())), metadata)
    assert first == second
    loaded, told = runs.load_tensors(tmp_path / "a")
    assert told == metadata
    assert all(torch.equal(loaded[k], v) for k, v in tensors.items() if k != "nan")
    assert {k: v.dtype for k, v in loaded.items()} == {k: v.dtype for k, v in tensors.items()}
    assert runs.tensors_digest(tensors) == runs.tensors_digest(loaded)
    assert runs.tensors_digest({"a": torch.ones(2)}) != runs.tensors_digest({"b": torch.ones(2)})


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "pickle"])
def test_broken_tensor_files_are_data_errors(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    runs.save_tensors(path, {"a": torch.ones(100)})
    raw = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "pickle":
        torch.save({"a": torch.ones(3)}, path)
    else:
        path.write_bytes(b"" if damage == "empty" else raw[:-10])
    with pytest.raises(DataError, match=r"t\.safetensors"):
        runs.load_tensors(path)


def _save(folder: Path, step: int) -> Path:
    return runs.save_checkpoint(folder, step, {"a": torch.full((50,), float(step))}, {"s": [step]})


def test_the_newest_valid_checkpoint_is_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    assert runs.load_checkpoint(folder) is None
    paths = [_save(folder, s) for s in (9, 10, 100)]
    assert [p.exists() for p in paths] == [False, True, True]
    found = runs.load_checkpoint(folder)
    assert found is not None
    assert (found.step, found.state, float(found.tensors["a"][0])) == (100, {"s": [100]}, 100.0)


@pytest.mark.parametrize("cut", [0, 4, 60, -1, "flip", "swap"])
def test_damaged_checkpoints_are_passed_over(cut: int | str, tmp_path: Path) -> None:
    older, newer = _save(tmp_path, 10), _save(tmp_path, 20)
    raw = bytearray(newer.read_bytes())
    if cut == "flip":
        raw[-3] ^= 1
    newer.write_bytes(
        older.read_bytes() if cut == "swap" else raw[: cut if cut != "flip" else None]
    )
    (tmp_path / ".step-x.tmp").write_bytes(b"rest of a crash")
    found = runs.load_checkpoint(tmp_path)
    assert found is not None
    assert found.step == 10
    older.write_bytes(b"")
    assert runs.load_checkpoint(tmp_path) is None


def test_one_step_has_one_checkpoint(tmp_path: Path) -> None:
    _save(tmp_path, 5)
    runs.save_checkpoint(tmp_path, 5, {"a": torch.zeros(1)}, {})
    assert len(list(tmp_path.iterdir())) == 1


def test_a_locked_folder_names_its_holder(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from augmint.core.runs import lock_folder\n"
        f"with lock_folder(Path({str(tmp_path)!r})):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with (
        pytest.raises(UsageError, match=f"held by process {other.pid}"),
        runs.lock_folder(tmp_path),
    ):
        pass
    other.kill()
    other.wait()
    with runs.lock_folder(tmp_path):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())


def test_events_survive_a_line_cut_short(tmp_path: Path) -> None:
    log = runs.EventLog(tmp_path / "deep" / "events.jsonl")
    log.write("a", n=1)
    log.write("b", text="two\nlines")
    with open(log.path, "a") as file:
        file.write('{"kind": "c", "n"')
    events = runs.EventLog.read(log.path)
    assert [e["kind"] for e in events] == ["a", "b"]
    assert events[1]["text"] == "two\nlines"
    assert runs.EventLog.read(tmp_path / "none") == []


def test_provenance_is_plain(tmp_path: Path) -> None:
    told = runs.provenance()
    runs.write_json(tmp_path / "p.json", told)
    assert told["torch"] == torch.__version__
    assert told["cpu"]

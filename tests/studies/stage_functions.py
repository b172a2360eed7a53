"""Tiny stages for the tests of stages and runner; workers import this module."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pinned  # noqa: F401

from augmint.core.errors import DataCheckError, InterruptedRunError
from augmint.core.progress import NOTE_SECONDS, note
from augmint.core.stopping import stop_event
from augmint.studies.stages import read_result


def _count(config: dict[str, Any], what: str) -> None:
    # one byte a call, appended: the count of calls over all processes
    with Path(config["calls"]).open("ab") as file:
        file.write(f"{what}\n".encode())


def number(config: dict[str, Any], inputs: dict[str, Path], folder: Path, work: Path) -> Any:
    _count(config, f"number {config['n']}")
    (folder / "number.txt").write_text(str(config["n"]))
    return {"n": config["n"]}


def total(config: dict[str, Any], inputs: dict[str, Path], folder: Path, work: Path) -> Any:
    _count(config, "total")
    texts = [(path / "number.txt").read_text() for _, path in sorted(inputs.items())]
    values = [read_result(path).value["n"] for _, path in sorted(inputs.items())]
    return {"sum": sum(values), "texts": texts}


def scores(config: dict[str, Any], inputs: dict[str, Path], folder: Path, work: Path) -> Any:
    """Trains a little; its sums depend on the thread count if it is not one."""
    import torch

    from augmint.core.streams import stream

    x = stream(config["seed"], "x", ids=512).normal(512)
    w = torch.eye(512)
    for _ in range(3):
        w = torch.tanh(x @ w / 8)
    return {"score": float(w.sum()), "threads": torch.get_num_threads()}


def steps(config: dict[str, Any], inputs: dict[str, Path], folder: Path, work: Path) -> Any:
    """A slow training with a checkpoint a step, which says that it lives."""
    _count(config, "steps")
    state = work / "state.txt"
    done, value = map(int, state.read_text().split()) if state.exists() else (0, 1)
    while done < config["steps"]:
        done, value = done + 1, (value * 31 + config["seed"]) % 1_000_003
        temporary = work / "state.tmp"
        temporary.write_text(f"{done} {value}")
        temporary.replace(state)
        _count(config, f"step {config['seed']}")
        if stop_event().is_set() and not config.get("deaf"):
            raise InterruptedRunError("a stage was interrupted", done, "run it again")
        time.sleep(config["pause"])
    return {"value": value}


def noted(config: dict[str, Any], inputs: dict[str, Path], folder: Path, work: Path) -> Any:
    """Is half done until somebody was told so."""
    end = time.monotonic() + 60
    note(1, 8)
    time.sleep(NOTE_SECONDS)
    while not Path(config["shown"]).exists() and time.monotonic() < end:
        note(4, 8)
        time.sleep(0.02)
    return {}


def dies_once(config: dict[str, Any], inputs: dict[str, Path], folder: Path, work: Path) -> Any:
    _count(config, "dies")
    if not (work / "died").exists() or config["always"]:
        (work / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"alive": True}


def refuses(config: dict[str, Any], inputs: dict[str, Path], folder: Path, work: Path) -> Any:
    raise DataCheckError("rows are unique", {"row": 3}, "drop it (--drop-duplicates)")


def breaks(config: dict[str, Any], inputs: dict[str, Path], folder: Path, work: Path) -> Any:
    raise ZeroDivisionError("half of nothing")


def seen(config: dict[str, Any], inputs: dict[str, Path], folder: Path, work: Path) -> Any:
    return {name: str(path) for name, path in inputs.items()}


def not_json(config: dict[str, Any], inputs: dict[str, Path], folder: Path, work: Path) -> Any:
    return {"loss": float("nan")}

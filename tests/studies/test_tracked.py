"""A study is shown in a tracker with its own numbers, and is over before that begins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from augmint.studies.tracked import show_study
from augmint.training import trackers

REPORT: dict[str, Any] = {
    "title": "digits",
    "arms": {"classic": {"scores": [90.0, 91.0]}, "minted": {"scores": [92.0, 93.5]}},
    "generator": {"losses": [{"step": 100, "loss/critic": 1.5}, {"step": 200, "loss/critic": 1.0}]},
    "uplift": {"mean": 2.25, "low": -1.0, "high": 5.5, "p": 0.1},
}


class Kept:
    def __init__(self) -> None:
        self.numbers: dict[str, list[tuple[int, float]]] = {}
        self.pictures: dict[str, bytes] = {}
        self.closed = False

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.numbers.setdefault(name, []).append((step, value))

    def picture(self, step: int, name: str, png: bytes) -> None:
        self.pictures[name] = png

    def close(self) -> None:
        self.closed = True


def test_a_study_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept()
    table = {"kept": trackers.Tracker("json", lambda *_: kept)}
    monkeypatch.setattr(trackers, "TRACKERS", table)
    show_study(("kept",), tmp_path, REPORT, {"real": b"a", "minted": b"b"})
    assert kept.numbers["arms/minted"] == [(0, 92.0), (1, 93.5)]
    assert kept.numbers["generator/loss/critic"] == [(100, 1.5), (200, 1.0)]
    assert kept.numbers["verdict/low"] == [(0, -1.0)]
    assert kept.pictures == {"real": b"a", "minted": b"b"}
    assert kept.closed


def test_nothing_is_asked_of_a_study_without_trackers(tmp_path: Path) -> None:
    show_study((), tmp_path, {}, {})
    assert list(tmp_path.iterdir()) == []

"""Hostile input ends as specified: it works, bad files are listed, or one line refuses it.

A thousand cases in the long suite, a sample of them in the short one. Every case runs a command of
the public interface (or the function that stands for one) and must end without a traceback, a
socket, a pickle that is read, a program that is started, a change outside its folders, or a
character that steers a terminal (see `watching`).
"""

from __future__ import annotations

import random
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attacks_annotations  # noqa: F401
import attacks_images  # noqa: F401
import attacks_results  # noqa: F401
import attacks_sets  # noqa: F401
import attacks_texts  # noqa: F401
import pytest
from arena import ATTACKS, Arena
from bases import Bases, make_bases
from watching import BegunError, Outcome, run, watched

SEED = 20
CASES = {
    "images": 150,
    "folders": 120,
    "archives": 120,
    "manifests": 110,
    "idx": 70,
    "annotations": 140,
    "configurations": 110,
    "assignments": 70,
    "words": 70,
    "bundles": 90,
    "checkpoints": 50,
    "studies": 50,
    "stages": 25,
    "reports": 70,
    "mints": 35,
}
SAMPLE = 4
STATES = ("survived", "quarantined", "refused")
_PLANNED_ONLY = ("configurations", "assignments", "words", "studies")


def _begin(*_: Any, **__: Any) -> Any:
    raise BegunError


@pytest.fixture(scope="module")
def patched() -> Iterator[pytest.MonkeyPatch]:
    """Stop every command where long work would start; what is hostile was read by then."""
    from augmint.studies import pipeline, single

    judge = single._judge

    def short_judge(table: Any, rows: Any, seed: int, device: str, steps: int = 1000) -> Any:
        return _begin() if steps >= 100 else judge(table, rows, seed, device, steps)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUGMINT_QUIET", "0")
        patch.setattr(pipeline._Runner, "__call__", _begin)
        patch.setattr(single, "_judge", short_judge)
        yield patch


@pytest.fixture(scope="module")
def bases(patched: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Bases:
    return make_bases(tmp_path_factory.mktemp("bases"))


def attempt(kind: str, number: int, place: Path, bases: Bases) -> tuple[str, Outcome]:
    """Set up and run one case; the same kind and number are the same case everywhere."""
    from augmint.studies.single import GanTraining

    attacks = ATTACKS[kind]
    make = attacks[number % len(attacks)]
    rng = random.Random(f"{SEED} {kind} {number}")
    place.mkdir()
    arena = Arena(place, rng, number // len(attacks), bases)
    act = make(arena)
    with pytest.MonkeyPatch.context() as patch:
        if kind in _PLANNED_ONLY:
            patch.setattr(GanTraining, "run", _begin)
        outcome = run(act, place)
    faults = outcome.faults
    if (place / "canary").exists():
        faults = (*faults, "the canary is there: a pickle ran")
    name = f"{kind} {number} {make.__name__}"
    return name, Outcome(outcome.state, faults, outcome.code, outcome.said)


def attempt_all(
    kind: str, numbers: range, place: Path, bases: Bases, record: Callable[[str, object], None]
) -> None:
    """Run some cases of a kind, count how they ended and fail with every fault."""
    counts: Counter[str] = Counter()
    wrong = []
    for number in numbers:
        folder = place / f"c{number}"
        name, outcome = attempt(kind, number, folder, bases)
        counts[outcome.state] += 1
        if outcome.faults:
            wrong.append(f"{name}: {'; '.join(outcome.faults)}")
        subprocess.run(["rm", "-rf", str(folder)], check=True)  # deeper than Python removes
    record("hostile", {"kind": kind, **{s: counts[s] for s in STATES}})
    assert not wrong, f"{len(wrong)} of {len(numbers)}:\n" + "\n".join(wrong)


def test_there_are_a_thousand() -> None:
    assert set(CASES) == set(ATTACKS)
    assert sum(CASES.values()) >= 1000


@pytest.mark.parametrize("kind", CASES)
def test_a_sample(
    kind: str, tmp_path: Path, bases: Bases, record_property: Callable[[str, object], None]
) -> None:
    # spread over all attacks of the kind, not its first few
    step = max(1, min(CASES[kind] // SAMPLE, 1 + 2 * len(ATTACKS[kind]) // SAMPLE))
    attempt_all(kind, range(0, step * SAMPLE, step), tmp_path, bases, record_property)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", CASES)
def test_all(
    kind: str, tmp_path: Path, bases: Bases, record_property: Callable[[str, object], None]
) -> None:
    attempt_all(kind, range(CASES[kind]), tmp_path, bases, record_property)


# the watch itself: a watch that sees nothing would let everything pass ---------------------------


def test_the_watch_sees(tmp_path: Path) -> None:
    import pickle
    import socket

    arena = Arena(tmp_path, random.Random(0), 0, None)
    (tmp_path / "out").mkdir()
    raw = arena.pickle()
    with watched(tmp_path / "out") as watch:
        (tmp_path / "out" / "fine").write_text("x")
        assert not watch.faults
        (tmp_path / "not fine").write_text("x")
        socket.socket().close()
        pickle.loads(raw)
    text = " ".join(watch.faults)
    for seen in ("not fine", "socket.", "a pickle was read", "os.mkdir"):
        assert seen in text
    assert (tmp_path / "canary").is_dir()


@pytest.mark.parametrize(
    ("fault", "act"),
    [
        ("a traceback: KeyError", lambda: {}["x"]),
        ("printed U+001B", lambda: print("\x1b[31m")),
        ("printed U+202E", lambda: print("\u202e")),
        ("printed U+200B", lambda: print("\u200b")),
        ("a warning", lambda: __import__("warnings").warn("x", stacklevel=1)),
    ],
)
def test_the_judgement_sees(fault: str, act: Callable[[], object], tmp_path: Path) -> None:
    outcome = run(act, tmp_path)
    assert fault in " ".join(outcome.faults)


def test_a_change_of_the_input_is_seen(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "x"
    path.write_text("1")
    assert any("changed" in f for f in run(lambda: path.write_text("12"), tmp_path).faults)

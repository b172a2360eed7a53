from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import stage_functions as functions

from augmint.core.errors import DataError, UsageError
from augmint.studies import stages
from augmint.studies.stages import Stage, execute, in_order, job, load, read_result


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    return tmp_path / "calls"


def number(calls: Path, n: int = 3, **fields: Any) -> Stage:
    return Stage("number", functions.number, {"n": n, "calls": str(calls)}, **fields)


def count(calls: Path) -> int:
    return len(calls.read_text().splitlines())


def test_a_result_is_committed_and_read_back(tmp_path: Path, calls: Path) -> None:
    stage = number(calls)
    assert load(stage, tmp_path) is None
    made = execute(job(stage, tmp_path))
    assert made == load(stage, tmp_path)
    assert made.value == {"n": 3}
    assert made.folder == tmp_path / stage.label
    assert (made.folder / "number.txt").read_text() == "3"
    assert not any((tmp_path / ".work").iterdir())


def test_nothing_is_done_twice(tmp_path: Path, calls: Path) -> None:
    for _ in range(3):
        execute(job(number(calls), tmp_path))
    assert count(calls) == 1


def test_the_key_holds_everything_that_matters(
    calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = number(calls)
    assert number(calls).key == base.key
    other = Stage("other", functions.number, {"n": 1, "calls": ""})
    changed = [
        number(calls, n=4),
        number(calls, data="abc"),
        number(calls, inputs=(other,)),
        dataclasses.replace(base, name="renamed"),
        dataclasses.replace(base, function=functions.total),
        number(calls, inputs=(dataclasses.replace(other, data="abc"),)),
    ]
    assert len({base.key, *(s.key for s in changed)}) == 7
    assert dataclasses.replace(base, cost=9.0).key == base.key
    monkeypatch.setattr(stages, "code_digest", lambda: "other code")
    assert number(calls).key != base.key
    monkeypatch.undo()
    monkeypatch.setattr(stages.importlib.metadata, "version", lambda _: "0.0")
    assert number(calls).key != base.key


def test_the_code_digest_covers_what_changes_results_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "augmint"
    for name in ("core/a.py", "studies/stages.py", "studies/report/page.py", "cli.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("x = 1\n")
    monkeypatch.setattr(stages, "__file__", str(package / "studies" / "stages.py"))
    digest = stages.code_digest.__wrapped__
    before = digest()
    (package / "cli.py").write_text("x = 2\n")
    (package / "studies/report/page.py").write_text("x = 2\n")
    assert digest() == before
    (package / "core/a.py").write_text("x = 2\n")
    assert digest() != before


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "number.txt").unlink(),
        lambda folder: (folder / "number.txt").write_text("4"),
        lambda folder: (folder / "number.txt").write_text("33"),
        lambda folder: (folder / "more.txt").write_text("33"),
        lambda folder: (folder / "result.json").unlink(),
        lambda folder: (folder / "result.json").write_text('{"stage": '),
        lambda folder: (folder / "result.json").write_text("[]"),
        lambda folder: (folder / "result.json").write_text(
            (folder / "result.json").read_text().replace('"n": 3', '"n": 4')
        ),
    ],
)
def test_a_damaged_result_is_never_trusted(tmp_path: Path, calls: Path, damage: Any) -> None:
    stage = number(calls)
    whole = execute(job(stage, tmp_path))
    damage(whole.folder)
    assert load(stage, tmp_path) is None
    with pytest.raises(DataError):
        read_result(whole.folder)
    assert execute(job(stage, tmp_path)).value == {"n": 3}
    assert count(calls) == 2
    assert load(stage, tmp_path) is not None


def test_leftovers_of_a_killed_attempt_do_not_enter_the_result(tmp_path: Path, calls: Path) -> None:
    stage = number(calls)
    stale = tmp_path / ".work" / stage.label / "result"
    stale.mkdir(parents=True)
    (stale / "half.bin").write_bytes(b"0")
    made = execute(job(stage, tmp_path))
    assert sorted(p.name for p in made.folder.iterdir()) == ["number.txt", "result.json"]


def test_checkpoints_outlive_a_failure_and_go_after_the_commit(tmp_path: Path, calls: Path) -> None:
    config = {"calls": str(calls), "steps": 4, "seed": 1, "pause": 0.0}
    stage = Stage("steps", functions.steps, config)
    work = tmp_path / ".work" / stage.label / "work"
    work.mkdir(parents=True)
    (work / "state.txt").write_text("3 7")  # as if killed after three steps
    assert execute(job(stage, tmp_path)).value == {"value": 7 * 31 + 1}
    assert not work.exists()


def test_an_input_must_be_whole(tmp_path: Path, calls: Path) -> None:
    first = number(calls)
    second = Stage("total", functions.total, {"calls": str(calls)}, (first,))
    with pytest.raises(DataError, match="whole"):
        execute(job(second, tmp_path))
    execute(job(first, tmp_path))
    assert execute(job(second, tmp_path)).value == {"sum": 3, "texts": ["3"]}


def test_what_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    stage = Stage("bad", functions.not_json, {})
    with pytest.raises(UsageError, match="finite numbers"):
        execute(job(stage, tmp_path))
    assert load(stage, tmp_path) is None


@pytest.mark.parametrize("name", ["", "Upper", "../up", "a/b", ".work", "a b"])
def test_names_can_name_folders(name: str) -> None:
    with pytest.raises(UsageError, match="name"):
        Stage(name, functions.number, {})


def test_functions_are_named_and_inputs_distinct(calls: Path) -> None:
    with pytest.raises(UsageError, match="plain function"):
        Stage("x", lambda *_: 1, {})
    with pytest.raises(UsageError, match="names of their own"):
        Stage("x", functions.total, {}, (number(calls), number(calls, n=4)))
    with pytest.raises(UsageError, match="one role for each input"):
        Stage("x", functions.total, {}, (number(calls),), roles=("a", "b"))


def test_a_function_sees_roles_and_places(tmp_path: Path, calls: Path) -> None:
    first = number(calls)
    stage = Stage("seen", functions.seen, {}, (first,), roles=("split",), places={"table": calls})
    execute(job(first, tmp_path))
    made = execute(job(stage, tmp_path))
    assert made.value == {"split": str(tmp_path / first.label), "table": str(calls)}
    assert dataclasses.replace(stage, places={"table": tmp_path}).key == stage.key
    assert dataclasses.replace(stage, roles=("other",)).key != stage.key


def test_order_is_inputs_first_and_each_once(calls: Path) -> None:
    a = number(calls)
    b = Stage("b", functions.total, {}, (a,))
    c = Stage("c", functions.total, {}, (b, a))
    assert [s.name for s in in_order([c, a, c, number(calls)])] == ["number", "b", "c"]
    with pytest.raises(UsageError, match="names of their own"):
        in_order([a, number(calls, n=5)])


def test_the_record_says_how_it_was_made(tmp_path: Path, calls: Path) -> None:
    made = execute(job(number(calls), tmp_path))
    record = json.loads((made.folder / "result.json").read_text())["stage"]
    assert record["config"]["n"] == 3
    assert record["function"].endswith("stage_functions.number")
    assert record["files"]["number.txt"][0] == 1

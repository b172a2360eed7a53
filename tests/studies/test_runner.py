from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
import stage_functions as functions

from augmint.core.errors import DataCheckError, InterruptedRunError, UsageError
from augmint.studies import stages
from augmint.studies.runner import StageFailedError, run_stages
from augmint.studies.stages import Stage
from augmint.studies.workers import Pool, loky

SCRIPT = """
import sys
sys.path.insert(0, {here!r})
from pathlib import Path
from augmint.core.errors import AugmintError
from augmint.studies import stages
from augmint.studies.runner import run_stages
from test_runner import training
stages.code_digest = lambda: "pinned"
try:
    run_stages(training(Path({calls!r})), Path({root!r}), workers={workers})
except AugmintError as error:
    print(error, flush=True)
    sys.exit(error.exit_code)
"""


@pytest.fixture(autouse=True)
def pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sources may be edited while the tests run; keys must agree between processes."""
    monkeypatch.setattr(stages, "code_digest", lambda: "pinned")


def silent(line: str) -> None:
    """Takes progress."""


def training(calls: Path, pause: float = 0.15) -> list[Stage]:
    """Two slow trainings and their sum."""
    config = {"calls": str(calls), "steps": 8, "pause": pause}
    return [Stage(f"steps-{s}", functions.steps, {**config, "seed": s}) for s in (1, 2)]


def graph(calls: Path, second: int = 2) -> Stage:
    numbers = tuple(
        Stage(f"number-{i}", functions.number, {"n": n, "calls": str(calls)})
        for i, n in enumerate((1, second, 3))
    )
    return Stage("total", functions.total, {"calls": str(calls)}, numbers)


def lines(calls: Path) -> list[str]:
    return calls.read_text().splitlines() if calls.exists() else []


def start(tmp_path: Path, calls: Path, workers: int) -> subprocess.Popen[str]:
    code = SCRIPT.format(
        here=str(Path(__file__).parent),
        calls=str(calls),
        root=str(tmp_path / "study"),
        workers=workers,
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    end = time.monotonic() + 60
    while len([x for x in lines(calls) if x.startswith("step ")]) < 3:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.05)
    return process


def test_a_graph_runs_once_and_a_change_only_what_depends_on_it(tmp_path: Path) -> None:
    calls, root = tmp_path / "calls", tmp_path / "study"
    told: list[str] = []
    found = run_stages([graph(calls)], root, progress=told.append)
    assert found["total"].value == {"sum": 6, "texts": ["1", "2", "3"]}
    assert set(found) == {"total", "number-0", "number-1", "number-2"}
    assert len(lines(calls)) == len(told) == 4
    assert told[0].startswith("[1/4] number-0 took")
    assert "left" in told[0]
    assert "left" not in told[-1]
    run_stages([graph(calls)], root, progress=told.append)
    assert len(lines(calls)) == len(told) == 4
    again = run_stages([graph(calls, second=20)], root, progress=silent)
    assert again["total"].value["sum"] == 24
    assert lines(calls)[4:] == ["number 20", "total"]


def test_what_nobody_needs_is_not_run(tmp_path: Path) -> None:
    calls, root = tmp_path / "calls", tmp_path / "study"
    found = run_stages([graph(calls)], root, progress=silent)
    (found["number-0"].folder / "number.txt").unlink()
    again = run_stages([graph(calls)], root, progress=silent)
    assert again["total"] == found["total"]
    assert len(lines(calls)) == 4


def test_one_and_two_workers_give_the_same_scores(tmp_path: Path) -> None:
    stages = [Stage(f"scores-{s}", functions.scores, {"seed": s}) for s in range(3)]
    one = run_stages(stages, tmp_path / "one", workers=1, progress=silent)
    two = run_stages(stages, tmp_path / "two", workers=2, progress=silent)
    assert {n: r.value for n, r in one.items()} == {n: r.value for n, r in two.items()}
    assert {r.value["threads"] for r in two.values()} == {1}


def test_costly_stages_start_first(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    stages = [
        Stage(f"number-{n}", functions.number, {"n": n, "calls": str(calls)}, cost=n)
        for n in (1, 3, 2)
    ]
    run_stages(stages, tmp_path / "study", progress=silent)
    assert lines(calls) == ["number 3", "number 2", "number 1"]


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_name_the_stage_or_stay_one_line(tmp_path: Path, workers: int) -> None:
    with pytest.raises(
        DataCheckError, match=r"rows are unique; got \{'row': 3\}: drop it"
    ) as refusal:
        run_stages([Stage("bad", functions.refuses, {})], tmp_path, workers, progress=silent)
    assert refusal.value.exit_code == 3
    with pytest.raises(
        StageFailedError, match=r"broken failed: ZeroDivisionError: half"
    ) as failure:
        run_stages([Stage("broken", functions.breaks, {})], tmp_path, workers, progress=silent)
    assert "stage_functions.py" in failure.value.__notes__[0]


def test_a_killed_worker_costs_its_stage_only(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    config: dict[str, Any] = {"calls": str(calls), "always": False}
    stages = [Stage("dies", functions.dies_once, config, cost=2.0), graph(calls)]
    found = run_stages(stages, tmp_path / "study", workers=2, progress=silent)
    assert found["dies"].value == {"alive": True}
    assert found["total"].value["sum"] == 6
    assert lines(calls).count("dies") == 2


def test_a_worker_killed_again_and_again_is_reported(tmp_path: Path) -> None:
    config = {"calls": str(tmp_path / "calls"), "always": True}
    with pytest.raises(UsageError, match="during dies: memory may be short"):
        run_stages([Stage("dies", functions.dies_once, config)], tmp_path, 2, progress=silent)


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.long), 2])
def test_kill_minus_nine_and_the_same_call_finishes_the_same(tmp_path: Path, workers: int) -> None:
    calls = tmp_path / "calls"
    process = start(tmp_path, calls, workers)
    process.kill()
    process.communicate()
    done = len([x for x in lines(calls) if x.startswith("step ")])
    found = run_stages(training(calls), tmp_path / "study", workers=2, progress=silent)
    other = run_stages(training(tmp_path / "o", 0.0), tmp_path / "other", progress=silent)
    for name in ("steps-1", "steps-2"):
        assert found[name].value == other[name].value
    # a step may repeat where the kill fell between the checkpoint and the line that tells of it
    assert done > 0
    assert 8 - 1 <= len([x for x in lines(calls) if x == "step 1"]) <= 8 + 1


@pytest.mark.parametrize(
    ("workers", "number", "group"),
    [
        (1, signal.SIGINT, False),
        (2, signal.SIGTERM, False),
        # Ctrl-C in a terminal reaches the workers too
        pytest.param(2, signal.SIGINT, True, marks=pytest.mark.long),
    ],
)
def test_an_interrupted_study_says_how_to_go_on(
    tmp_path: Path, workers: int, number: signal.Signals, group: bool
) -> None:
    calls = tmp_path / "calls"
    process = start(tmp_path, calls, workers)
    (os.killpg if group else os.kill)(process.pid, number)
    told, errors = process.communicate(timeout=60)
    assert process.returncode == InterruptedRunError.exit_code, errors
    assert "interrupted; what is finished is kept" in told
    assert "run the same command again" in told
    assert "Traceback" not in errors
    found = run_stages(training(calls), tmp_path / "study", progress=silent)
    assert found["steps-1"].value == {"value": _expected(1)}


def _expected(seed: int) -> int:
    value = 1
    for _ in range(8):
        value = (value * 31 + seed) % 1_000_003
    return value


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"workers": 0}, "--workers"),
        ({"backend": "lokky"}, "did you mean 'loky'"),
        ({"address": "tcp://a:1"}, "--backend dask"),
    ],
)
def test_bad_options_are_refused(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        run_stages([], tmp_path, **options)


def test_progress_is_quiet_when_asked(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage("number", functions.number, {"n": 1, "calls": str(tmp_path / "calls")})
    run_stages([stage], tmp_path / "loud")
    assert "[1/1] number took" in capfd.readouterr().err
    monkeypatch.setenv("AUGMINT_QUIET", "1")
    run_stages([stage], tmp_path / "quiet")
    assert capfd.readouterr().err == ""


def test_spans_read_as_people_say_them() -> None:
    from augmint.core.progress import span

    assert [span(s) for s in (0.0, 9.94, 59, 120, 7200)] == [
        "0.0 s",
        "9.9 s",
        "59 s",
        "2 min 0 s",
        "2 h 0 min",
    ]


def test_a_worker_that_is_replaced_for_its_size_alarms_nobody() -> None:
    said = "A worker stopped while some jobs were given to the executor. This can be caused by …"
    with warnings.catch_warnings(record=True) as seen, loky(Pool(2)):
        warnings.warn(said, UserWarning, stacklevel=1)
        warnings.warn("something else", UserWarning, stacklevel=1)
    assert [str(w.message) for w in seen] == ["something else"]

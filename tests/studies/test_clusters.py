"""Stages on Dask and Ray: the same results, and what is lost when workers or the caller die."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import stage_functions as functions

from augmint.cli import main
from augmint.core.errors import UsageError
from augmint.core.runs import read_json
from augmint.studies import clusters, pact
from augmint.studies.runner import run_stages
from augmint.studies.stages import Stage, code_digest, job

if TYPE_CHECKING:
    from tests.conftest import TinyStudy

HERE = Path(__file__).parent
LIMIT = 60.0
"""Seconds until a test gives up waiting."""


def environment() -> dict[str, str]:
    """For workers: the tests' modules, one thread, the digest of this process's sources."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
        "AUGMINT_TEST_DIGEST": code_digest(),
    }


def wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    while not until():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


@dataclass
class Cluster:
    """A Dask scheduler and workers, each a process of its own on the loopback address."""

    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def workers(self) -> list[subprocess.Popen[bytes]]:
        return self.processes[1:]

    @property
    def file(self) -> Path:
        return self.folder / "scheduler.json"

    @property
    def address(self) -> str:
        return str(json.loads(self.file.read_text())["address"])

    def start(self, what: str, *words: str) -> None:
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *words, "--no-dashboard"]
        command += ["--host", "127.0.0.1", "--scheduler-file", str(self.file)]
        with (self.folder / f"{what}-{len(self.processes)}.log").open("wb") as log:
            self.processes.append(
                subprocess.Popen(command, env=environment(), stdout=log, stderr=log)
            )

    def worker(self) -> None:
        words = ["--nthreads", "1", "--no-nanny", "--local-directory", str(self.folder)]
        self.start("worker", *words, "--preload", "pinned")

    def two(self) -> None:
        """Replace workers that were killed."""
        self.processes[1:] = [w for w in self.workers if w.poll() is None]
        while len(self.workers) < 2:
            self.worker()
        from distributed import Client

        with Client(self.address) as client:
            client.wait_for_workers(2, timeout=LIMIT)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    pytest.importorskip("distributed", reason="needs the extra dask")
    made = Cluster(tmp_path_factory.mktemp("dask"))
    try:
        made.start("scheduler", "--port", "0")
        wait(made.file.exists)
        yield made
    finally:
        for process in made.processes:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(running: Cluster) -> Cluster:
    running.two()
    return running


def scores(count: int = 4) -> list[Stage]:
    return [Stage(f"scores-{s}", functions.scores, {"seed": s}) for s in range(count)]


def training(calls: Path, count: int = 3, pause: float = 0.1) -> list[Stage]:
    config = {"calls": str(calls), "steps": 8, "pause": pause}
    return [Stage(f"steps-{s}", functions.steps, {**config, "seed": s}) for s in range(count)]


def values(found: dict[str, Any]) -> dict[str, Any]:
    return {name: result.value for name, result in found.items()}


def lines(calls: Path) -> list[str]:
    return calls.read_text().splitlines() if calls.exists() else []


def steps_done(calls: Path) -> int:
    return len([x for x in lines(calls) if x.startswith("step ")])


def silent(line: str) -> None:
    """Takes progress."""


# the same results ---------------------------------------------------------------------------------


def test_loky_and_dask_give_the_same_bits(cluster: Cluster, tmp_path: Path) -> None:
    ways: dict[str, dict[str, Any]] = {
        "one": {"workers": 1},
        "two": {"workers": 2},
        "dask": {"backend": "dask", "address": cluster.address},
    }
    found = {
        name: values(run_stages(scores(), tmp_path / name, progress=silent, **options))
        for name, options in ways.items()
    }
    assert found["one"] == found["two"] == found["dask"]
    assert len({v["score"] for v in found["one"].values()}) == 4
    assert {v["threads"] for v in found["dask"].values()} == {1}


def test_a_study_on_a_cluster_reports_the_same(
    cluster: Cluster,
    tiny_study: TinyStudy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    quiet_environment: dict[str, str],
) -> None:
    import shutil

    folder = tiny_study.copy(tmp_path / "study", stages_only=True)
    again = [p for p in (folder / "stages").glob("*") if p.name.startswith(("generator-1", "arm"))]
    assert len(again) >= 5
    for stage in again:
        shutil.rmtree(stage)
    monkeypatch.setenv("AUGMINT_QUIET", "1")
    words = ["prove", "digits", "--seeds", "2", "--device", "cpu", *tiny_study.words]
    words += ["--backend", "dask", "--address", cluster.address, "--out", str(folder)]
    assert main(words) == 0
    report = read_json(folder / "report.json")
    for part in ("arms", "uplift", "verdict", "per_class", "distribution", "copying"):
        assert report[part] == tiny_study.report[part], part
    for stage in again:
        made = read_json(stage / "result.json")["stage"]
        known = read_json(tiny_study.folder / "stages" / stage.name / "result.json")["stage"]
        assert made["key"] == known["key"]
        # what was learned, to the bit; a report of seconds is no result
        if "digest" in made["value"]:
            assert made["value"]["digest"] == known["value"]["digest"]
        if "correct.npy" in made["files"]:
            assert made["files"]["correct.npy"] == known["files"]["correct.npy"]
    assert not list((folder / "stages" / ".work").iterdir())


# workers that die ---------------------------------------------------------------------------------


def test_a_killed_worker_costs_its_stage_only(cluster: Cluster, tmp_path: Path) -> None:
    calls, root = tmp_path / "calls", tmp_path / "study"
    known = values(run_stages(training(tmp_path / "o", 3, 0.0), tmp_path / "o2", progress=silent))
    told: list[str] = []
    victim = cluster.workers[0]

    def kill() -> None:
        wait(lambda: steps_done(calls) >= 4)
        victim.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    options: dict[str, Any] = {"backend": "dask", "address": cluster.address}
    found = values(run_stages(training(calls), root, progress=told.append, **options))
    killer.join()
    assert victim.wait() == -signal.SIGKILL
    assert found == known
    # three stages and the one that was lost; it went on from its checkpoint
    assert lines(calls).count("steps") == 4
    assert steps_done(calls) <= 3 * 8 + 1
    assert len([x for x in told if "left; its stage is tried again" in x]) == 1
    before = lines(calls)
    run_stages(training(calls), root, progress=told.append, **options)
    assert lines(calls) == before, "what is committed is not done again"


def test_a_stage_that_kills_its_workers_is_given_up(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "PATIENCE", 1.0)
    config = {"calls": str(tmp_path / "calls"), "always": True}
    root, options = tmp_path / "s", {"backend": "dask", "address": cluster.address}
    with pytest.raises(
        UsageError, match=r"with a worker, while a study runs.*no worker"
    ) as refusal:
        run_stages([Stage("dies", functions.dies_once, config)], root, progress=silent, **options)
    assert "run the same command again" in str(refusal.value)
    assert lines(tmp_path / "calls").count("dies") == 2  # one a worker


# callers that die ---------------------------------------------------------------------------------

SCRIPT = """
import sys
from pathlib import Path
import pinned
from test_clusters import training
from augmint.core.errors import AugmintError
from augmint.studies.runner import run_stages
try:
    run_stages(training(Path({calls!r}), 2), Path({root!r}), {options})
except AugmintError as error:
    print(error, flush=True)
    sys.exit(error.exit_code)
"""


def start(calls: Path, root: Path, options: str) -> subprocess.Popen[str]:
    code = SCRIPT.format(calls=str(calls), root=str(root), options=options)
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment(), **pipes)
    wait(lambda: steps_done(calls) >= 4 or process.poll() is not None)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_study_that_ends_leaves_no_stage_running(
    cluster: Cluster, tmp_path: Path, number: signal.Signals
) -> None:
    calls, root = tmp_path / "calls", tmp_path / "study"
    process = start(calls, root, f"backend='dask', address={cluster.address!r}")
    process.send_signal(number)
    told, errors = process.communicate(timeout=LIMIT)
    if number != signal.SIGKILL:
        assert process.returncode == 130, errors
        assert "run the same command again" in told
        assert "Traceback" not in errors
        done = steps_done(calls)
        time.sleep(0.4)
        # a step that was under way may end; none begins
        assert steps_done(calls) <= min(done + 2, 15), "nothing goes on"
    assert all(w.poll() is None for w in cluster.workers), "the cluster is another's"
    options: dict[str, Any] = {"backend": "dask", "address": cluster.address}
    found = values(run_stages(training(calls, 2), root, progress=silent, **options))
    known = values(run_stages(training(tmp_path / "o", 2, 0.0), tmp_path / "p", progress=silent))
    assert found == known
    # a step may repeat where the end fell between a checkpoint and the line that tells of it
    assert 16 - 2 <= steps_done(calls) <= 16 + 2


def test_a_stage_that_does_not_listen_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pact, "_HEARD", 0.1)
    monkeypatch.setattr(pact, "_LOOK", 0.05)
    calls = tmp_path / "calls"
    config = {"calls": str(calls), "steps": 2000, "pause": 0.01, "seed": 1, "deaf": True}
    with pact.pact(tmp_path) as agreed:
        ender = threading.Timer(0.5, agreed.file.unlink)
        ender.start()
        outcome = pact.cluster_work(agreed, job(Stage("steps", functions.steps, config), tmp_path))
    assert outcome.interrupted
    assert 0 < steps_done(calls) < 2000


# what cannot work says so -------------------------------------------------------------------------


def closed_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_an_unreachable_cluster_is_one_line(
    backend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(
        {"dask": "distributed"}.get(backend, backend), reason=f"needs the extra {backend}"
    )
    address = f"127.0.0.1:{closed_port()}"
    words = ["prove", "toy", "--backend", backend, "--address", address, "--out", str(tmp_path)]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"the {backend} cluster must be reachable; got {address}" in line
    assert "--address HOST:PORT" in line


def test_something_else_at_the_address_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed", reason="needs the extra dask")
    monkeypatch.setattr(clusters, "_REACH", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UsageError, match="must be reachable"):
            run_stages(scores(1), tmp_path, backend="dask", address=address, progress=silent)


@pytest.mark.parametrize(("backend", "module"), [("dask", "distributed"), ("ray", "ray")])
def test_a_missing_extra_is_named(
    backend: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=rf"pip install 'augmint\[{backend}\]'"):
        run_stages(scores(1), tmp_path, backend=backend, progress=silent)


def test_a_worker_that_does_not_see_the_folder_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pact, "_SEEN", 0.0)
    elsewhere = pact.Pact(tmp_path / "elsewhere", "a run", code_digest(), "2.0")
    outcome = pact.cluster_work(elsewhere, job(scores(1)[0], elsewhere.root))
    assert isinstance(outcome.refused, UsageError)
    assert "share a file system" in str(outcome.refused)
    assert "--out DIR" in str(outcome.refused)
    assert not elsewhere.root.exists(), "nothing is made where the study does not lie"


def test_a_worker_with_other_code_refuses(tmp_path: Path) -> None:
    with pact.pact(tmp_path) as agreed:
        other = pact.Pact(tmp_path, agreed.run, "0" * 64, agreed.torch)
        outcome = pact.cluster_work(other, job(scores(1)[0], tmp_path))
        assert "the same augmint and the same torch; got" in str(outcome.refused)
        assert pact.cluster_work(agreed, job(scores(1)[0], tmp_path)).refused is None
    assert not agreed.file.exists()


# Ray ----------------------------------------------------------------------------------------------


@pytest.fixture
def ray_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    for name, value in environment().items():
        monkeypatch.setenv(name, value)


def test_ray_gives_the_same_and_redoes_a_lost_stage(ray_environment: None, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    stages = [
        Stage("dies", functions.dies_once, {"calls": str(calls), "always": False}, cost=2.0),
        *scores(2),
        *training(calls, 2, 0.02),
    ]
    told: list[str] = []
    options: dict[str, Any] = {"workers": 2, "backend": "ray"}
    found = values(run_stages(stages, tmp_path / "ray", progress=told.append, **options))
    known = values(run_stages(stages[1:], tmp_path / "here", progress=silent))
    assert found == known | {"dies": {"alive": True}}
    assert lines(calls).count("dies") == 2
    assert len(told) == len(stages)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_study_on_ray_stops_as_asked(
    number: signal.Signals, ray_environment: None, tmp_path: Path
) -> None:
    calls, root = tmp_path / "calls", tmp_path / "study"
    process = start(calls, root, "workers=2, backend='ray'")
    process.send_signal(number)
    told, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, errors
    assert "run the same command again" in told
    assert 4 <= steps_done(calls) < 16
    found = values(run_stages(training(calls, 2), root, progress=silent))
    assert (
        found["steps-0"]
        == values(run_stages(training(tmp_path / "o", 1), tmp_path / "p"))["steps-0"]
    )
    assert steps_done(calls) <= 16 + 2

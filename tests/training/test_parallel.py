"""One run on several processes: the numbers of one process, exact resumption, and clean ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from augmint.aspects.base import Schema
from augmint.core.errors import AugmintError, InterruptedRunError, UsageError
from augmint.core.registry import OBJECTIVES, PENALTIES
from augmint.core.runs import EventLog, load_checkpoint
from augmint.core.streams import stream
from augmint.core.types import CriticOutput
from augmint.objectives.base import DirectObjective
from augmint.penalties.base import PenaltyContext
from augmint.training import parallel
from augmint.training.batches import Batches, TrainingImages
from augmint.training.compatibility import check_processes, coupled_parts
from augmint.training.config import GanConfig
from augmint.training.gan import GanTraining
from augmint.training.parallel import Work, check_together, together
from augmint.training.state import DictPart, Parts
from augmint.training.team import PeerLostError, Team

Make = Callable[..., GanConfig]
needs_two_cores = pytest.mark.skipif(parallel._cores() < 2, reason="two processes need two cores")
CPU = torch.device("cpu")

APART: dict[str, Any] = {
    "generator": {"name": "dcgan-generator", "channels": 4, "normalisation": "none"},
    "conditioning": {
        "name": "vac",
        "network": {"name": "small-cnn", "channels": 4, "normalisation": "none", "dropout": 0.0},
    },
}
"""Parts that look at one image at a time."""
COUPLED: dict[str, Any] = {
    "critic": {"name": "dcgan-critic", "channels": 4, "normalisation": "batch"},
    "conditioning": {"name": "vac", "network": {"name": "small-cnn", "channels": 4}},
}
"""Batch normalisation in all three networks, and dropout."""

VARIANTS: dict[str, dict[str, Any]] = {
    "dcgan": {},
    "penalty, shared images, two critic steps": {
        "penalties": ("gradient-penalty",),
        "fresh_latents": False,
        "generator_interval": 2,
    },
    "simultaneous, as in the batch": {
        "penalties": ({"name": "r1", "interval": 2},),
        "simultaneous": True,
        "fake_aspects": "batch",
    },
    "adaptive augmentation": {"augment": {"name": "ada", "kimg": 0.2, "target": 0.0}},
    "without a critic": {
        "objective": "flow-matching",
        "generator": {"name": "flow-unet", "channels": 4, "steps": 2},
        "critic": None,
        "augment": None,
        "conditioning": {"name": "concatenation", "critic": False, "enters": "conditional-norm"},
        "latent_dim": 144,
    },
}


@needs_two_cores
@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_two_processes_compute_what_one_computes(
    changes: dict[str, Any], tiny: Make, data: TrainingImages, schema: Schema
) -> None:
    """Losses of 50 steps within 1e-4: rounding, in another order of addition,
    is all that differs."""
    config = tiny(**{**APART, "steps": 50, **changes})
    single = GanTraining(config, data, schema, 5)
    single.recorder.interval = 1
    one = single.run(progress=False)
    with together(2, Work(config, data, schema, 5, interval=1)) as training:
        assert coupled_parts(config, training.game) == []
        two = training.run(progress=False)
    assert len(one.logs) == len(two.logs) == 50
    for a, b in zip(one.logs, two.logs, strict=True):
        assert b == pytest.approx(a, abs=1e-4, rel=1e-4)
    assert one.logs[0] != one.logs[-1]
    for name, weight in single.average.module.state_dict().items():
        torch.testing.assert_close(
            training.average.module.state_dict()[name], weight, atol=1e-4, rtol=1e-3
        )


def test_shares_of_a_batch_make_the_batch(tiny: Make, data: TrainingImages, schema: Schema) -> None:
    for mode in ("balanced", "data", "batch"):
        config = tiny(fake_aspects=mode)
        whole = Batches(data, schema, config, 5, CPU)
        shares = [Batches(data, schema, config, 5, CPU, Team(r, 3, CPU).share(6)) for r in range(3)]
        for step in (1, 3, 7):
            images = torch.cat([s.real(step)[0] for s in shares])
            assert torch.equal(images, whole.real(step)[0])
            wanted = whole.fake_aspects("critic", step)["label"]
            drawn = [s.fake_aspects("critic", step)["label"] for s in shares]
            assert torch.equal(torch.cat(drawn), wanted)
            assert [len(d) for d in drawn] == [2, 2, 2]
            assert torch.equal(shares[1].fake_aspects("critic", step, whole=True)["label"], wanted)


def test_latents_and_noise_of_a_share(tiny: Make, data: TrainingImages, schema: Schema) -> None:
    config = tiny(**COUPLED)
    one = GanTraining(config, data, schema, 5).game
    sides = [GanTraining(config, data, schema, 5, team=Team(r, 2, CPU)).game for r in (0, 1)]
    halves = [side.numbers("latent.critic", 4).normal(8) for side in sides]
    assert torch.equal(torch.cat(halves), one.numbers("latent.critic", 4).normal(8))
    noise = []
    for side in sides:
        with side.chance("critic", 4):
            noise.append(torch.rand(5))
    assert not torch.equal(*noise)


def run(work: Work, **options: Any) -> tuple[dict[str, Tensor], GanTraining]:
    """Train on two processes and return every tensor of process 0."""
    with together(2, work) as training:
        training.run(**{"progress": False, **options})
    return training.guard.parts.save()[0], training


def pids() -> list[int]:
    """The living children of this process that train for it."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"import member" in (place / "cmdline").read_bytes():
                found.append(int(place.name))
    return found


@needs_two_cores
def test_stopped_killed_and_resumed_is_bit_identical(
    tiny: Make,
    data: TrainingImages,
    schema: Schema,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    config = tiny(**COUPLED, steps=14)
    expected, straight = run(Work(config, data, schema, 5, interval=4), progress=True)
    said = capfd.readouterr().err.splitlines()[0]
    assert "on 2 processes, 1 threads each" in said
    for part in (
        "generator dcgan-generator",
        "critic dcgan-critic",
        "auxiliary classifier",
        "dropout",
    ):
        assert part in said

    work = Work(config, data, schema, 5, tmp_path, interval=4)
    asked = iter([False] * 4 + [True])
    with pytest.raises(InterruptedRunError, match="step 5 of 14"):
        run(work, stop=lambda: next(asked))
    assert pids() == []

    def kill(step: int, _: object) -> None:
        os.kill(pids()[0], signal.SIGKILL)

    with pytest.raises(InterruptedRunError, match="process 1 of 2 killed by SIGKILL: run the same"):
        run(work, on_sample=kill, sample_interval=9)
    got, resumed = run(work)
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[k], expected[k]) for k in got)
    assert resumed.recorder.history == straight.recorder.history
    started = [e for e in EventLog.read(tmp_path / "events.jsonl") if e["kind"] == "started"]
    assert [(e["step"], e["processes"]) for e in started] == [(0, 2), (5, 2), (5, 2)]
    # statistics of batch normalisation are the means of the slices', alike on all (`agree` looked)
    assert "Traceback" not in capfd.readouterr().err


ORPHANS = """
import os, signal, subprocess, sys
import numpy as np
from augmint.aspects.base import Schema
from augmint.training.gan import GanConfig, GanTraining, TrainingImages
assert not {"augmint.training.parallel", "augmint.training.team"} & set(sys.modules)
from augmint.training.parallel import Work, together
small = {"channels": 4}
config = GanConfig(
    generator={"name": "dcgan-generator", **small}, critic={"name": "dcgan-critic", **small},
    conditioning="none", latent_dim=8, batch=6, steps=10**6,
)
data = TrainingImages(np.zeros((20, 1, 8, 8), np.uint8), {}, np.arange(20))
def die(step, images):
    if step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
children, start = [], subprocess.Popen
subprocess.Popen = lambda *a, **k: children.append(start(*a, **k)) or children[-1]
with together(2, Work(config, data, Schema(()), 5)) as training:
    print(children[0].pid, flush=True)
    training.run(progress=False, on_sample=die, sample_interval=1)
"""


@needs_two_cores
def test_when_the_leader_is_killed_the_others_end(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ORPHANS],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)},
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    child = int(done.stdout.split()[0])
    end = time.monotonic() + 10
    while time.monotonic() < end and _lives(child):
        time.sleep(0.05)
    assert not _lives(child)
    assert list(tmp_path.iterdir()) == []


def _lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.long
@needs_two_cores
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_command_line_stops_saves_and_resumes(ending: signal.Signals, tmp_path: Path) -> None:
    """A signal to the whole process group, as Ctrl-C sends it."""

    def start(out: Path) -> subprocess.Popen[str]:
        command = "train digits --per-class 10 --steps 150 --processes 2 --device cpu --out"
        return subprocess.Popen(
            [sys.executable, "-m", "augmint", *command.split(), str(out)],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    straight = start(tmp_path / "straight")
    assert straight.wait() == 0
    out = tmp_path / "stopped"
    stopped = start(out)
    while stopped.poll() is None and not list(out.glob("run/sample-*")):
        time.sleep(0.05)
    os.killpg(stopped.pid, ending)
    said = stopped.communicate()[1].splitlines()
    assert stopped.returncode == 130
    assert said[-1].startswith("augmint: the run was interrupted and saved; got step ")
    assert not any("Traceback" in line for line in said)
    resumed = start(out)
    assert resumed.wait() == 0
    ends = [load_checkpoint(tmp_path / n / "run" / "checkpoints") for n in ("straight", "stopped")]
    assert ends[0] is not None
    assert ends[1] is not None
    a, b = (end.tensors for end in ends)
    assert all(torch.equal(a[k], b[k]) for k in a)
    started = [e for e in EventLog.read(out / "run" / "events.jsonl") if e["kind"] == "started"]
    assert started[1]["step"] > 0


@needs_two_cores
@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "import os; os.write(1, b'MemoryError: all gone')",
            "process 1 of 2: MemoryError: all gone",
        ),
        ("raise SystemExit(3)", "it ended without a word"),
    ],
)
def test_a_process_that_fails_says_so_in_one_line(
    command: str,
    message: str,
    tiny: Make,
    data: TrainingImages,
    schema: Schema,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parallel, "_COMMAND", command)
    with (
        pytest.raises(AugmintError, match=message) as caught,
        together(2, Work(tiny(), data, schema, 5)),
    ):
        pytest.fail("a process is missing")
    assert "\n" not in str(caught.value)
    assert torch.get_num_threads() == 1
    assert not dist.is_initialized()


def test_what_cannot_be_shared_out_is_refused(tiny: Make) -> None:
    with pytest.raises(UsageError, match="batch 64 on 3 processes: set batch to 63"):
        check_processes(tiny(batch=64), 3)
    with pytest.raises(UsageError, match="set batch to 4 "):
        check_processes(tiny(batch=2), 4)
    check_processes(tiny(batch=64), 4)
    for wrong in (0, 1, 4096):
        with pytest.raises(UsageError, match="2 or more, with a core for each"):
            check_together(wrong, tiny(batch=4096), "cpu")


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Gives what the other process would send; fills `all_gather` with it."""
    sent: list[Tensor] = []

    def gather(found: list[Tensor], mine: Tensor) -> None:
        found[0].copy_(mine)
        found[1].copy_(sent[0] if sent else mine)

    monkeypatch.setattr(dist, "all_gather", gather)
    return sent


def test_processes_that_differ_are_found(others: list[Tensor]) -> None:
    team = Team(0, 2, CPU)
    parts = Parts(a=DictPart({"k": torch.tensor([1.0, float("nan")]), "n": 3}))
    team.agree(7, parts)
    others.append(torch.tensor([7, 0, 0]))
    with pytest.raises(AugmintError, match="the state outside tensors of process 1 at step 7"):
        team.agree(7, parts)


def test_a_lost_process_is_told_from_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Tensor) -> None:
        raise RuntimeError("Connection closed\nby peer")

    monkeypatch.setattr(dist, "all_reduce", broken)
    with pytest.raises(PeerLostError, match=r"^Connection closed by peer$"):
        Team(0, 2, CPU).average([torch.zeros(3)])


def test_averages_keep_layout_and_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "all_reduce", lambda flat: flat.mul_(3.0))  # the other has twice ours
    plain = torch.arange(24.0).view(1, 2, 3, 4)
    last = plain.clone(memory_format=torch.channels_last)
    double, counter = torch.tensor(4.0, dtype=torch.float64), torch.tensor(5)
    team = Team(0, 2, CPU, also=lambda: [double, counter])
    for factor in (1.5, 2.25):
        team.average([last])
        assert torch.equal(last, plain * factor)
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert (float(double), int(counter)) == (9.0, 5)


ROWS = (slice(0, 8), slice(0, 4), slice(4, 8))


def drawn(kind: str, scale: float) -> CriticOutput:
    generator = torch.Generator().manual_seed(1 + round(scale))
    value = torch.randn((8, 1, 3, 3) if kind == "map" else (8,), generator=generator)
    features, embedding = torch.randn(2, 8, 5, generator=generator)
    return CriticOutput(scale * value.abs(), kind, features, embedding)  # type: ignore[arg-type]


def of_parts_is_of_whole(found: list[tuple[Tensor, Any]]) -> bool:
    """Are loss and state of the whole batch the means of those of its halves?"""
    whole, first, second = (
        torch.stack([loss.double(), *(v for v in state.values() if isinstance(v, Tensor))])
        for loss, state in found
    )
    return bool(torch.allclose(whole, (first + second) / 2, atol=1e-6))


class _Simple:
    """Gives all that direct objectives need."""

    def velocity(self, x: Tensor, t: Tensor, *_: object) -> Tensor:
        return x * t[:, None, None, None]

    def posterior(self, images: Tensor, _: object) -> tuple[Tensor, Tensor]:
        return images.flatten(1), images.flatten(1) - 1.0

    def __call__(self, latent: Tensor) -> Tensor:
        return latent.tanh().view(-1, 1, 4, 4)


def test_objectives_say_whether_they_couple_a_batch() -> None:
    for name in OBJECTIVES.names():
        objective = OBJECTIVES.create(name)
        if isinstance(objective, DirectObjective):
            images, latent = torch.randn(2, 8, 1, 4, 4, generator=torch.Generator().manual_seed(1))
            told = [
                objective.loss(
                    _Simple(),
                    images[r],
                    latent[r].flatten(1),
                    None,
                    stream(1, "", 1, range(8)[r]),
                    {},
                )[:2]
                for r in ROWS
            ]
            assert of_parts_is_of_whole(told) == (not objective.batch_coupled), name
            continue
        apart = []
        for kind in sorted(objective.accepts):
            real, fake = drawn(kind, 1.0), drawn(kind, 2.0)
            for player in (objective.critic_loss, objective.generator_loss):
                for a, b in ((real, fake), (fake, real)):
                    made = [player(_rows(a, r), _rows(b, r), objective.init_state()) for r in ROWS]
                    apart.append(of_parts_is_of_whole([m[:2] for m in made]))
        assert all(apart) or objective.batch_coupled, name
        assert (
            not all(apart) or not objective.batch_coupled or name == "began"
        )  # only where k is clipped


def test_penalties_say_whether_they_couple_a_batch() -> None:
    images = torch.randn(2, 8, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    weight = torch.linspace(-1.0, 1.0, 36)

    def network(shown: Tensor) -> CriticOutput:
        return CriticOutput((shown.flatten(1) @ weight).tanh(), "score")

    for name in PENALTIES.names():
        penalty = PENALTIES.create(name)
        found = []
        for r in ROWS:
            styles = images[1][r].flatten(1)[:, None].requires_grad_()
            context = PenaltyContext(
                network,
                stream(1, "penalty", 1, range(8)[r]),
                real=images[0][r],
                fake=styles[:, 0].tanh().view(-1, 1, 6, 6),
                styles=styles,
                filters=[weight.view(6, 6)],
                latents=images[0][r].flatten(1),
                real_output=_rows(drawn("score", 1.0), r),
                fake_output=_rows(drawn("score", 2.0), r),
            )
            found.append(penalty(context, penalty.init_state())[:2])
        assert of_parts_is_of_whole(found) != penalty.batch_coupled, name


def _rows(output: CriticOutput, rows: slice) -> CriticOutput:
    features, embedding = output.features, output.embedding
    return CriticOutput(
        output.value[rows],
        output.kind,
        None if features is None else features[rows],
        None if embedding is None else embedding[rows],
    )

"""Time one training run on several processes against one process, one thread each.

Both sides take turns, some steps each, within one run; wall-clock time, because waiting counts. The
first step of a turn is not timed: while one side waits for its turn its other processes have
computed ahead up to the first exchange. Medians over rounds. The CPU column compares the CPU time
of process 0 alone with that of the one process: what the machine would give if nothing else ran on
it and no process had to wait.

python benchmarks/processes.py                     # 9 rounds of 12 steps, 2 processes
python benchmarks/processes.py --rounds 3 --only spectral
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from step_speed import load, processor
from workloads import IMAGES, synthetic

GENERATOR = {"name": "dcgan-generator", "base": 8, "widths": (128, 128, 64)}
WORKLOADS: dict[str, tuple[str, int, int, dict[str, Any]]] = {
    "spectral": (
        "DCGAN 32 px, batch 64, no batch-coupled part",
        32,
        64,
        {
            "generator": {**GENERATOR, "normalisation": "none"},
            "critic": {"name": "dcgan-critic", "channels": 32},
        },
    ),
    "batch": (
        "… with batch normalisation (each process its own)",
        32,
        64,
        {
            "generator": GENERATOR,
            "critic": {"name": "dcgan-critic", "channels": 32, "normalisation": "batch"},
        },
    ),
    "large": (
        "DCGAN 64 px, batch 128, no batch-coupled part",
        64,
        128,
        {
            "generator": {"name": "dcgan-generator", "channels": 32, "normalisation": "none"},
            "critic": {"name": "dcgan-critic", "channels": 32},
        },
    ),
}
"""Name to title, side in pixels, batch, and fields of the configuration."""


def work(name: str, processes: int) -> None:
    """Answer on standard output, for each line "n": what n steps took."""
    from augmint.core.machine import set_allocator

    set_allocator()
    import numpy as np
    import torch

    from augmint.aspects.base import Schema
    from augmint.core.errors import InterruptedRunError
    from augmint.training.gan import GanConfig, GanTraining, TrainingImages

    torch.set_num_threads(1)
    _, side, batch, fields = WORKLOADS[name]
    config = GanConfig(
        **fields,
        objective="non-saturating",
        conditioning="none",
        augment=None,
        auxiliary_augment=None,
        latent_dim=100,
        batch=batch,
        steps=10**6,
        generator_rate=2e-4,
        critic_rate=2e-4,
        betas=(0.5, 0.999),
    )
    data = TrainingImages(synthetic((1, side, side), 2)[0], {}, np.arange(IMAGES))
    with contextlib.ExitStack() as stack:
        if processes == 1:
            training = GanTraining(config, data, Schema(()), 0)
        else:
            from augmint.training.parallel import Work, together

            shared = Work(config, data, Schema(()), 0, interval=10**6)
            training = stack.enter_context(together(processes, shared))
        training.recorder.interval = 10**6
        with contextlib.suppress(InterruptedRunError):
            training.run(progress=False, stop=_Gate(training))


@dataclass
class _Gate:
    """Asked after every step: lets n steps run for each line "n" that is read."""

    training: Any
    left: int = 8  # the heap has grown by then
    asked: int = 0
    before: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __call__(self) -> bool:
        self.left -= 1
        if self.left == self.asked:  # the turn's first step is over
            self.before = self._now()
        if self.left > 0:
            return False
        took = [b - a for a, b in zip(self.before, self._now(), strict=True)]
        print(json.dumps([t / max(self.asked, 1) for t in took]), flush=True)
        line = sys.stdin.readline()
        self.asked = int(line or 0)
        self.left = self.asked + 1
        return not line

    def _now(self) -> tuple[float, float, float]:
        team = self.training.team
        exchanged = 0.0 if team is None else team.seconds
        return time.perf_counter(), time.process_time(), exchanged


@dataclass
class Side:
    """A run that trains when asked: seconds, CPU seconds and seconds of exchange a step."""

    name: str
    processes: int
    turns: list[list[float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", self.name, str(self.processes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "AUGMINT_QUIET": "1"},
        )
        self.answer()

    def answer(self) -> list[float]:
        """Return what the run says next."""
        if self.process.stdout is None:
            raise RuntimeError("a side has pipes")
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the run on {self.processes} processes ended")
        found: list[float] = json.loads(line)
        return found

    def turn(self, steps: int) -> None:
        """Let it train, and note what it took."""
        if self.process.stdin is None:
            raise RuntimeError("a side has pipes")
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        self.turns.append(self.answer())

    def close(self) -> None:
        """End it."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait()

    def median(self, which: int) -> float:
        """Return the median over turns of wall time (0), CPU time (1) or exchange (2)."""
        return statistics.median(t[which] for t in self.turns)


def measure(name: str, processes: int, rounds: int, steps: int) -> str:
    """Return the table's line of a workload."""
    one, several = sides = [Side(name, 1), Side(name, processes)]
    try:
        for turn in range(rounds):
            for side in sides if turn % 2 == 0 else reversed(sides):
                side.turn(steps)
        ratios = [a[0] / b[0] for a, b in zip(one.turns, several.turns, strict=True)]
        title, _, batch, _ = WORKLOADS[name]
        cells = [
            title,
            f"{batch / one.median(0):.0f}",
            f"{batch / several.median(0):.0f}",
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})",
            f"{one.median(1) / several.median(1):.2f}",
            f"{several.median(2) * 1e3:.1f} ms, {several.median(2) / several.median(0):.1%}",
        ]
        return f"| {' | '.join(cells)} |"
    finally:
        for side in sides:
            side.close()


def main() -> None:
    """Measure and print a markdown table."""
    parser = argparse.ArgumentParser(description="Several processes against one.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", choices=list(WORKLOADS), action="append")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.worker[0], int(given.worker[1]))
        return
    before = load()
    print(
        f"| workload | 1 process img/s | {given.processes} processes img/s | ratio (spread) "
        "| CPU ratio | exchange a step, waiting included |\n|---|---|---|---|---|---|"
    )
    for name in given.only or WORKLOADS:
        print(measure(name, given.processes, given.rounds, given.steps), flush=True)
    print(f"\n{processor()}, 1 thread a process; load {before} before, {load()} after")


if __name__ == "__main__":
    main()

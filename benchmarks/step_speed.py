"""Time one training step of augmint against the plain loops in `reference/`.

Each side runs in a process of its own, one thread each; the plain one with the C library's default
allocator, augmint's with the allocator it sets. The processes take turns (a few steps each, the
order reversed every round) and measure the CPU time of their own steps, so that other work on the
machine disturbs both alike. Medians over rounds.

python benchmarks/step_speed.py            # all workloads, 7 rounds
python benchmarks/step_speed.py --quick    # 3 rounds
python benchmarks/step_speed.py --only fer
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ceiling import ceilings
from workloads import WORKLOADS, Workload

PLAIN = "plain"
LABELS = {
    "augmint": "",
    "fresh": ", fresh latents for each player",
    "folded": ", upsampling folded",
    "bf16": "",
    "bf16-folded": ", upsampling folded",
}


def work(name: str, variant: str) -> None:
    """Answer on standard output, for each line "n": seconds a step of n steps; "flops": those."""
    if variant != PLAIN:
        from augmint.core.machine import set_allocator

        set_allocator()
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    torch.set_num_threads(1)
    workload = WORKLOADS[name]
    if variant == PLAIN:
        train = workload.plain(workload)
    else:
        train = workload.ours(workload, **workload.variants[variant])
    train(8)  # the heap has grown by then; page faults would count against the first steps
    for line in sys.stdin:
        if line.strip() == "flops":
            answer = 0.0
            # torch's counter cannot follow gradients of gradients
            with suppress(RuntimeError), FlopCounterMode(display=False) as counter:
                train(1)
                answer = float(counter.get_total_flops())
        else:
            steps = int(line)
            start = time.process_time()
            train(steps)
            answer = (time.process_time() - start) / steps
        print(json.dumps(answer), flush=True)


@dataclass
class Worker:
    """A process that trains one variant when asked."""

    name: str
    variant: str
    seconds: list[float] = field(default_factory=list)
    script: str = __file__

    def __post_init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "AUGMINT_QUIET": "1"}
        environment.pop("AUGMINT_ALLOCATOR", None)
        if self.variant == PLAIN:
            environment["AUGMINT_ALLOCATOR"] = "0"
        self.process = subprocess.Popen(
            [sys.executable, self.script, "--worker", self.name, self.variant],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, question: str | int) -> float:
        """Send one line and return the answer."""
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("a worker has pipes")
        self.process.stdin.write(f"{question}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the worker {self.name} {self.variant} ended")
        return float(json.loads(answer))

    def close(self) -> None:
        """End the process."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait()

    @property
    def median(self) -> float:
        """Seconds a step."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Row:
    """What was measured of one variant beside the plain loop."""

    title: str
    plain: float
    ours: float
    ratio: float
    low: float
    high: float
    share: float | None


def measure(name: str, workload: Workload, rounds: int, top: dict[str, float]) -> dict[str, Row]:
    """Return a row for each variant; images a second, ratios of medians and their spread."""
    workers = [Worker(name, variant) for variant in (PLAIN, *workload.variants)]
    try:
        for worker in workers:  # untimed: allocator and caches settle
            worker.ask(workload.chunk)
        for turn in range(rounds):
            for worker in workers if turn % 2 == 0 else reversed(workers):
                worker.seconds.append(worker.ask(workload.chunk))
        plain = workers[0]
        rows = {}
        for worker in workers[1:]:
            ratios = [p / o for p, o in zip(plain.seconds, worker.seconds, strict=True)]
            half = "bf16" in worker.variant
            best = top.get("bf16" if half else "fp32")
            flops = worker.ask("flops")
            rows[worker.variant] = Row(
                workload.title + LABELS[worker.variant],
                workload.batch / plain.median,
                workload.batch / worker.median,
                plain.median / worker.median,
                min(ratios),
                max(ratios),
                flops / worker.median / 1e9 / best if best and flops else None,
            )
        return rows
    finally:
        for worker in workers:
            worker.close()


def table(rows: dict[str, Row]) -> list[str]:
    """Return the lines of a workload: each fp32 variant with its bf16 twin, if it has one."""
    lines = []
    for variant, row in rows.items():
        if "bf16" in variant:
            continue
        twin = rows.get({"augmint": "bf16", "folded": "bf16-folded"}.get(variant, ""))
        cells = [row.title, f"{row.plain:.0f}", *_cells(row), *(_cells(twin) if twin else "---")]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _cells(row: Row) -> list[str]:
    share = "" if row.share is None else f"{row.share:.0%}"
    return [f"{row.ours:.0f}", f"{row.ratio:.2f} ({row.low:.2f}–{row.high:.2f})", share]


def processor() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def load() -> str:
    """Return the load average of the last minute, or a dash."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "-"


def main() -> None:
    """Measure and print a markdown table."""
    parser = argparse.ArgumentParser(description="Step speed against plain loops.")
    parser.add_argument("--quick", action="store_true", help="3 rounds")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", choices=list(WORKLOADS), action="append")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(*given.worker)
        return
    import torch

    top, how = ceilings()
    before = load()
    print(
        "| workload | plain img/s | augmint img/s | ratio (spread) | of ceiling "
        "| bf16 img/s | ratio (spread) | of ceiling |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in given.only or WORKLOADS:
        rows = measure(name, WORKLOADS[name], 3 if given.quick else given.rounds, top)
        print("\n".join(table(rows)), flush=True)
    rates = ", ".join(f"{k} {v:.0f} GFLOP/s" for k, v in top.items())
    print(
        f"\n{processor()}, 1 thread, torch {torch.__version__}, Python "
        f"{platform.python_version()}; ceiling {rates} ({how}); load {before} before, "
        f"{load()} after"
    )


if __name__ == "__main__":
    main()

"""Peak memory of a study and of a large mint, each in a process of its own.

    python benchmarks/memory.py mint BUNDLE --counts 20000 50000 100000 [--one-class] [--raw]
    python benchmarks/memory.py study DATA [--steps 200]

Prints one JSON line a measurement: images, seconds, images a CPU second, and the peak resident
memory of the process and of the children it waited for, in MiB. A mint is removed again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CHILD = """
import json, resource, sys, time
sys.argv = ["augmint", *json.loads(sys.argv[1])]
from augmint.cli import main
start = time.perf_counter()
code = main(sys.argv[1:])
seconds = time.perf_counter() - start
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
cpu = sum(u.ru_utime + u.ru_stime for u in used)
peak = [u.ru_maxrss for u in used]
found = {"code": code, "seconds": seconds, "cpu": cpu, "self": peak[0], "children": peak[1]}
print("\\n@" + json.dumps(found))
"""


def measured(words: list[str]) -> dict[str, Any]:
    """Run a command of the command line in a child; return seconds and peak MiB (Linux units)."""
    command = [sys.executable, "-c", CHILD, json.dumps(words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "\n@" not in done.stdout:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout.rpartition("\n@")[2])
    if found["code"]:
        raise SystemExit(f"{' '.join(words)} ended with {found['code']}:\n{done.stderr[-2000:]}")
    return {
        "seconds": round(found["seconds"], 1),
        "cpu_seconds": round(found["cpu"], 1),
        "peak_mib": round(found["self"] / 1024),
        "children_peak_mib": round(found["children"] / 1024),
    }


def mints(bundle: str, counts: list[int], raw: bool, one_class: bool) -> None:
    """Mint so many images, of all classes together or of the first alone, one run a count."""
    from augmint.minting.bundle import Bundle

    opened = Bundle.open(Path(bundle))
    names = getattr(opened.schema[opened.curation.aspect], "classes", ())
    for count in counts:
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / "minted"
            words = ["mint", bundle, "--out", str(out)]
            if one_class:
                words += ["--quota", f"{names[0]}={count}"]
            else:
                words += ["--per-class", str(count // len(names))]
            row = measured(words + (["--raw"] if raw else []))
            made = json.loads((out / "minted.json").read_text())
            start = time.perf_counter()
            shutil.rmtree(out)
        rate = round(made["accepted"] / row["cpu_seconds"])
        told = {"images": made["accepted"], "drawn": made["drawn"], "per_cpu_second": rate}
        removal = round(time.perf_counter() - start, 1)
        print(json.dumps({"mint": count, **told, **row, "removal_seconds": removal}), flush=True)


def study(data: str, steps: int, generator_steps: int) -> None:
    """Run a small-budget study on all images of a set."""
    with tempfile.TemporaryDirectory() as scratch:
        words = ["prove", data, "--out", str(Path(scratch) / "study"), "--seeds", "2"]
        words += ["--workers", "1", "--set", f"task.steps={steps}"]
        words += ["--set", f"generator.steps={generator_steps}", "--set", "arms=[classic,minted]"]
        words += ["--set", "policy.candidates=[none,shift]", "--set", "curation.threshold=0"]
        words += ["--set", "curation.agreement=false"]
        print(json.dumps({"study": data, **measured(words)}), flush=True)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["mint", "study"])
    parser.add_argument("source", help="bundle, or data set")
    parser.add_argument("--counts", type=int, nargs="+", default=[20_000, 50_000, 100_000])
    parser.add_argument("--one-class", action="store_true", help="mint the first class alone")
    parser.add_argument("--raw", action="store_true", help="mint without curation")
    parser.add_argument("--steps", type=int, default=100, help="of the task")
    parser.add_argument("--generator-steps", type=int, default=50)
    asked = parser.parse_args()
    if asked.what == "mint":
        mints(asked.source, asked.counts, asked.raw, asked.one_class)
    else:
        study(asked.source, asked.steps, asked.generator_steps)


if __name__ == "__main__":
    main()

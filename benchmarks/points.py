"""Print how well networks find landmarks when few images are labelled, and what they cost.

python benchmarks/points.py toy-faces
python benchmarks/points.py faces68.zip --drop-duplicates --images 50,200,1000 --seeds 3

Each network learns from the same images, with the augmenter of `prove`'s classic arm for faces, and
is scored on test images of other subjects. One row a network and number of images: the mean NME
over seeds with its standard deviation, and the processor time of a training on one thread.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from augmint.core.errors import AugmintError
from augmint.core.machine import set_allocator, single_thread
from augmint.core.streams import permutation
from augmint.recipes.annotated import annotated
from augmint.recipes.base import Surroundings
from augmint.tasks.base import task_of
from augmint.tasks.config import TaskConfig
from augmint.tasks.rows import RealRows, Source

if TYPE_CHECKING:
    from augmint.recipes.annotated import Annotated

NETWORKS = ("var-regressor", "small-cnn", "integral-regressor")


@dataclass(frozen=True)
class Parts:
    """How large the parts of a set are; see `recipes.annotated.Sizes`."""

    size: tuple[int, int]
    draws: int
    measured_on: int = 8
    test_share: float = 0.2


def measured(
    data: Annotated, network: str, images: int, args: argparse.Namespace, seed: int
) -> tuple[float, float]:
    """Return the NME on the test images, and processor seconds of the training."""
    aspect = data.schema.of_kind("landmarks")[0]
    task = task_of(TaskConfig(kind="landmarks"))
    config = task.configured(
        {
            "kind": "landmarks",
            "aspect": aspect.name,
            "network": network,
            "steps": args.steps,
            "learning_rate": args.rate,
            "precision": args.precision,
        }
    )
    rows = permutation(seed, "points.rows", len(data.train))[:images]
    values = {n: v[rows] for n, v in data.train.values.items()}
    source = Source(data.train.images[rows], values, rows)
    begun = time.process_time()
    shape = data.train.shape
    trained = task.train(config, data.schema, shape, [source], args.augmenter, seed)
    spent = time.process_time() - begun
    test = RealRows(data.test.images, data.test.values, np.arange(len(data.test)))
    return float(task.score(trained, test).plain()["nme"]), spent


def main() -> None:
    """Measure and print one row a network and number of images."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data")
    parser.add_argument("--images", default="50,200,1000", help="labelled, separated by commas")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--augmenter", default="flip-affine")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--drop-duplicates", action="store_true")
    args = parser.parse_args()
    counts = [int(n) for n in args.images.split(",")]
    print("| network | labelled images | NME, % | sd over seeds | processor s |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, single_thread():
        where = Surroundings(Path(folder), args.data, 0, drop_duplicates=args.drop_duplicates)
        parts = Parts((args.size, args.size), max(2 * max(counts), 5000))
        data = annotated(parts, where, {"landmarks"}, 3)
        for images in counts:
            if images > len(data.train):
                raise SystemExit(
                    f"{args.data} has {len(data.train)} images to train on, not {images}"
                )
            for network in args.networks.split(","):
                runs = [measured(data, network, images, args, s) for s in range(args.seeds)]
                errors, times = np.array(runs).T
                spread = errors.std(ddof=1) if len(errors) > 1 else float("nan")
                print(
                    f"| {network} | {images} | {100 * errors.mean():.2f} | {100 * spread:.2f} "
                    f"| {times.mean():.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    set_allocator()
    try:
        main()
    except AugmintError as error:
        raise SystemExit(f"points.py: {error}") from None

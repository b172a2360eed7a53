"""Time the inversion of a BEGAN generator at 64 px: in batches against one image after another.

As in `step_speed.py`, each side runs in a process of its own on one thread, they take turns, and
the CPU time of their own work counts. The plain side is `reference/inversion64.py` with the C
library's default allocator. A turn of ours goes over all images once; one of the plain side over a
few of them. The second part fits a small generator to drawn faces and an encoder to it, and counts
steps to the same error from random latents and from the encoder's.

python benchmarks/inversion.py                    # 1 000 images a turn, 3 turns, then the encoder
python benchmarks/inversion.py --images 128       # shorter turns
python benchmarks/inversion.py --only speed       # or: --only encoder
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from ceiling import ceilings
from step_speed import PLAIN, Worker, load, processor

if TYPE_CHECKING:
    from torch import Tensor, nn

    from augmint.core.types import ByteArray, FloatArray
    from augmint.latent.inversion import InversionConfig

SIZE, CODE, WIDTH = 64, 64, 64
PLAIN_IMAGES, PLAIN_STEPS = 8, 4
VARIANTS: dict[str, Literal["fp32", "bf16"]] = {"augmint": "fp32", "bf16": "bf16"}


def work(variant: str) -> None:
    """Answer, for each line "n" on standard input: seconds an image-step, over n images."""
    if variant != PLAIN:
        from augmint.core.machine import set_allocator

        set_allocator()
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    torch.set_num_threads(1)
    run = plain_side() if variant == PLAIN else our_side(VARIANTS[variant])
    run(64)  # the heap has grown by then
    for line in sys.stdin:
        if line.strip() == "flops":
            answer = 0.0
            with suppress(RuntimeError), FlopCounterMode(display=False) as counter:
                steps = run(64)
                answer = float(counter.get_total_flops()) / steps
        else:
            start = time.process_time()
            steps = run(int(line))
            answer = (time.process_time() - start) / steps
        print(json.dumps(answer), flush=True)


def pictures(count: int) -> ByteArray:
    """Return faces, uint8 `(count, 3, 64, 64)`."""
    from augmint.data.faces import draw_faces

    return draw_faces(count, SIZE, seed=0)["images"]


def plain_side() -> Callable[[int], int]:
    """Return what inverts a few images, one after another,
    and says how many image-steps it took."""
    import torch
    from reference.inversion64 import Generator, invert_one

    from augmint.core.types import to_float

    generator = Generator(CODE, WIDTH).eval()
    images = to_float(torch.from_numpy(pictures(PLAIN_IMAGES)))

    def run(_: int) -> int:
        for image in images:
            invert_one(generator, image[None], 2 * torch.rand(1, CODE) - 1, PLAIN_STEPS)
        return PLAIN_IMAGES * PLAIN_STEPS

    return run


def our_side(precision: Literal["fp32", "bf16"]) -> Callable[[int], int]:
    """Return what inverts all images for one look of 5 steps, and says how many image-steps."""
    from augmint.latent.inversion import InversionConfig
    from augmint.latent.slots import Slots
    from augmint.networks.began import BeganGenerator
    from augmint.training.game import frozen

    generator = BeganGenerator(WIDTH).build(CODE, (3, SIZE, SIZE)).eval()
    config = InversionConfig(
        latent_dim=CODE,
        steps=5,
        look=5,
        restarts=0,
        precision=precision,  # type: ignore[arg-type]
    )
    import torch

    images = pictures(1024)

    def run(count: int) -> int:
        device = torch.device("cpu")
        with frozen(list(generator.parameters())):
            slots = Slots(generator, images[:count], config, 0, None, (), device)
            while slots.live:
                slots.run()
        return int(slots.steps.sum())

    return run


def speed(images: int, turns: int) -> None:
    """Print the table of image-steps."""
    import torch

    top, how = ceilings()
    before = load()
    workers = [Worker("inversion", v, script=__file__) for v in (PLAIN, *VARIANTS)]
    try:
        for turn in range(turns):
            for worker in workers if turn % 2 == 0 else reversed(workers):
                worker.seconds.append(worker.ask(images))
        plain = workers[0]
        print("| | ms an image-step | ratio (spread) | of ceiling |\n|---|---|---|---|")
        print(f"| one after another, fp32 | {1e3 * plain.median:.2f} | 1 | |")
        for worker in workers[1:]:
            ratios = [p / o for p, o in zip(plain.seconds, worker.seconds, strict=True)]
            kind = VARIANTS[worker.variant]
            share = worker.ask("flops") / worker.median / 1e9 / top[kind] if kind in top else 0.0
            print(
                f"| batches of 64, {kind} | {1e3 * worker.median:.2f} "
                f"| {plain.median / worker.median:.2f} ({min(ratios):.2f}–{max(ratios):.2f}) "
                f"| {share:.0%} |"
            )
    finally:
        for worker in workers:
            worker.close()
    rates = ", ".join(f"{k} {v:.0f} GFLOP/s" for k, v in top.items())
    print(
        f"\n{images} images a turn, {turns} turns; {processor()}, 1 thread, torch "
        f"{torch.__version__}, Python {platform.python_version()}; ceiling {rates} ({how}); load "
        f"{before} before, {load()} after"
    )


def fitted(images: ByteArray, channels: int, steps: int) -> nn.Module:
    """Return a BEGAN generator that can draw images like these, fitted as an auto-encoder's half.

    It stands for a generator that is trained to the end, which takes an hour on one core. Codes
    pass through tanh, so that they lie where drawn latents lie.
    """
    import torch

    from augmint.core.streams import scope, stream
    from augmint.core.types import to_float
    from augmint.networks.began import BeganGenerator, Encoder
    from augmint.networks.blocks import channels_last, initialise_glorot

    shape = images.shape[1:]
    with scope(0, "benchmark"):
        generator = BeganGenerator(channels).build(CODE, shape)
        reader = channels_last(Encoder(CODE, channels, shape))
        initialise_glorot(reader)
    parameters = [*generator.parameters(), *reader.parameters()]
    optimiser = torch.optim.Adam(parameters, 1e-3, fused=True)
    for step in range(steps):
        rows = stream(0, "benchmark.rows", step, 32).integers(1, len(images))[:, 0].numpy()
        seen = to_float(torch.from_numpy(images[rows]))
        optimiser.zero_grad()
        (generator(reader(seen).tanh()) - seen).abs().mean().backward()
        optimiser.step()
    return generator.eval()


def curve(
    generator: nn.Module, images: ByteArray, config: InversionConfig, start: Tensor | None = None
) -> FloatArray:
    """Return the least loss of every image after each number of steps, `(steps, N)`."""
    import numpy as np
    import torch

    from augmint.latent.slots import Slots
    from augmint.training.game import frozen

    found = []
    with frozen(list(generator.parameters())):
        slots = Slots(generator, images, config, 0, start, (), torch.device("cpu"))
        for _ in range(config.steps - 1):
            slots.run()
            found.append(slots.losses)
    return np.stack(found)


def encoder(side: int, steps: int, images: int) -> None:
    """Fit a generator, train an encoder for it, and print steps to the same error."""
    import numpy as np

    from augmint.core.machine import set_allocator, single_thread
    from augmint.core.streams import stream
    from augmint.core.types import to_uint8
    from augmint.data.faces import draw_faces
    from augmint.latent.encoder import EncoderConfig, train_encoder
    from augmint.latent.inversion import InversionConfig
    from augmint.latent.slots import draw

    set_allocator()
    faces = draw_faces(4000 + images, side, seed=1)["images"]
    config = InversionConfig(CODE, steps=200, restarts=0, look=1, batch=images)
    learning = EncoderConfig(
        CODE, channels=16, steps=steps, batch=32, latent_weight=0.1, image_weight=1.0
    )
    # a first step of Adam moves every entry by the rate: near the goal 0.1 would lead away from it
    near = replace(config, rate=0.01)
    with single_thread():
        generator = fitted(faces[:4000], 16, steps)
        learned = train_encoder(
            generator, faces.shape[1:], learning, images=faces[:4000], progress=True
        )
        print(
            f"\n{images} images of {side} px, generator of 16 channels; the goal of each image is "
            "what it reaches from a random latent in 200 steps, within 2 %; rates 0.1 from random "
            "latents, 0.01 from the encoder's\n\n"
            "| images | start | L1 at first | L1 after 200 steps | steps to the goal (median) |"
            "\n|---|---|---|---|---|"
        )
        numbers = stream(0, "benchmark.own", 0, images)
        made = to_uint8(generator(draw(numbers, CODE, "uniform"))).numpy()
        for name, shown in (("held-out faces", faces[4000:]), ("its own", made)):
            cold = curve(generator, shown, config)
            warm = curve(generator, shown, near, learned(shown))
            goal = 1.02 * cold[-1]
            counted = []
            for start, losses in (("random", cold), ("encoder", warm)):
                reached = losses <= goal
                taken = np.where(reached.any(0), reached.argmax(0) + 1, config.steps)
                counted.append(float(np.median(taken)))
                print(f"| {name} | {start} | {losses[0].mean():.4f} | {losses[-1].mean():.4f} "
                      f"| {counted[-1]:.0f} |")  # fmt: skip
            print(f"| | | | | **{counted[0] / counted[1]:.1f} times fewer** |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Inversion in batches against a plain loop.")
    parser.add_argument("--images", type=int, default=1000, help="of a turn of ours, at most 1024")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--only", choices=["speed", "encoder"])
    parser.add_argument("--steps", type=int, default=2000, help="of fitting in the encoder part")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.worker[1])
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if given.only != "encoder":
        speed(min(given.images, 1024), given.turns)
    if given.only != "speed":
        encoder(32, given.steps, min(given.images, 100))


if __name__ == "__main__":
    main()

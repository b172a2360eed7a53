"""Print how many toy images a second one process draws.

python benchmarks/drawing.py --images 2000
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from augmint.data.eyes import draw_eyes
from augmint.data.faces import draw_faces


def rate(draw: Callable[[int], object], images: int, rounds: int = 3) -> float:
    """Return images a second, the best of some rounds."""
    draw(min(images, 64))
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        draw(images)
        best = min(best, time.perf_counter() - start)
    return images / best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Speed of drawing toy images.")
    parser.add_argument("--images", type=int, default=2000)
    given = parser.parse_args()
    cases: dict[str, Callable[[int], object]] = {}
    for side in (32, 64, 128):
        cases[f"faces {side} x {side}"] = lambda n, s=side: draw_faces(n, s, 0)
        cases[f"faces {side} x {side}, turned"] = lambda n, s=side: draw_faces(n, s, 0, yaw=45.0)
    for height, width in ((24, 32), (48, 64), (96, 128)):
        cases[f"eyes {height} x {width}"] = lambda n, h=height, w=width: draw_eyes(n, h, w, 0)
        cases[f"eyes {height} x {width}, colour"] = lambda n, h=height, w=width: draw_eyes(
            n, h, w, 0, 3
        )
    for name, draw in cases.items():
        print(f"{name:24s} {rate(draw, given.images):8.0f} images/s", flush=True)


if __name__ == "__main__":
    main()

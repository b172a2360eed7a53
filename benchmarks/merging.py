"""Time merging, and the merged module against modules written by hand.

Merging: eight parents of twenty layers, contraction to description, without torch; and with
drawings. Forward and training step: the released iris and depth networks, built from their
descriptions, against the same graphs written as plain modules. Both sides take turns in one
process, a few runs each, the order reversed every round; medians over rounds of the ratio.

python benchmarks/merging.py            # 15 rounds
python benchmarks/merging.py --quick    # 5 rounds
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augmint.merging.build import build
from augmint.merging.draw import draw_merge
from augmint.merging.merge import merge_networks
from augmint.merging.network import Network
from augmint.merging.notation import chain
from augmint.merging.published import released


def unit(a: int, b: int, k: int) -> nn.Sequential:
    """Return convolution, batch normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(a, b, k, padding=k // 2, bias=False), nn.BatchNorm2d(b), nn.ReLU()
    )


class Iris(nn.Module):
    """The released iris network."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Sequential(unit(1, 10, 3), unit(10, 10, 5), unit(10, 20, 7), unit(20, 20, 9))
        self.l5, self.l6 = unit(20, 30, 11), unit(30, 30, 13)
        self.top = nn.Sequential(unit(30, 40, 15), unit(40, 30, 13))
        self.l9, self.l10, self.l11 = unit(60, 30, 11), unit(60, 20, 9), unit(40, 20, 7)
        self.l12, self.out = unit(20, 10, 5), nn.Conv2d(10, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        l4 = self.up(x)
        l5 = self.l5(l4)
        l6 = self.l6(l5)
        l9 = self.l9(torch.cat([l6, self.top(l6)], 1))
        l10 = self.l10(torch.cat([l5, l9], 1))
        l11 = self.l11(torch.cat([l4, l10], 1))
        return torch.sigmoid(self.out(self.l12(l11)))


class Depth(nn.Module):
    """The released depth network."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.ModuleList(unit(1, 6, 3) for _ in range(4))
        self.rest = nn.ModuleList(
            nn.Sequential(unit(6, 6, 3), unit(6, 6, 3), unit(6, 6, 3)) for _ in range(4)
        )
        self.narrow = nn.Sequential(
            nn.Dropout(0.5), nn.Linear(7920, 30), nn.ReLU(),
            nn.Dropout(0.5), nn.Linear(30, 330), nn.ReLU(),
        )  # fmt: skip
        self.seven = unit(1, 2, 7)
        self.wide = nn.Sequential(unit(24, 6, 3), unit(6, 6, 3), unit(6, 6, 3), unit(6, 4, 3))
        self.out = nn.Conv2d(6, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        low, high = [], []
        for i, p in enumerate((1, 2, 4, 8)):
            y = self.first[i](x)
            y = self.rest[i](F.max_pool2d(y, p) if p > 1 else y)
            low.append(F.max_pool2d(y, 8 // p) if p < 8 else y)
            high.append(F.interpolate(y, scale_factor=p) if p > 1 else y)
        narrow = self.narrow(torch.cat(low, 1).flatten(1)).view(-1, 1, 10, 33)
        narrow = self.seven(F.interpolate(narrow, scale_factor=8))
        wide = self.wide(torch.cat(high, 1))
        return torch.sigmoid(self.out(torch.cat([narrow, wide], 1)))


@dataclass(frozen=True)
class Case:
    """A network built from a description and the same written by hand."""

    name: str
    merged: nn.Module
    hand: nn.Module
    shape: tuple[int, ...]


def cases() -> list[Case]:
    """Return the cases; both sides of each have as many parameters."""
    found = []
    for name, hand, shape, recipe in (
        ("iris", Iris(), (1, 48, 64), "spdnn-iris"),
        ("iris, 12x16", Iris(), (1, 12, 16), "spdnn-iris"),
        ("depth", Depth(), (1, 80, 264), "spdnn-depth-released"),
    ):
        merged = build(released(recipe, shape).network)
        counts = [sum(p.numel() for p in m.parameters()) for m in (merged, hand)]
        if counts[0] != counts[1]:
            raise SystemExit(f"{name}: {counts[0]} and {counts[1]} parameters")
        found.append(Case(name, merged, hand, shape))
    return found


def seconds(work: Callable[[], object], runs: int) -> float:
    """Return the CPU seconds of one run, over several."""
    start = time.process_time()
    for _ in range(runs):
        work()
    return (time.process_time() - start) / runs


def forward(module: nn.Module, x: Tensor) -> Callable[[], object]:
    """Return one forward pass in evaluation mode."""
    module.eval()

    def run() -> object:
        with torch.inference_mode():
            return module(x)

    return run


def step(module: nn.Module, x: Tensor) -> Callable[[], object]:
    """Return one forward and backward pass in training mode."""
    module.train()

    def run() -> object:
        module.zero_grad()
        return module(x).square().mean().backward()

    return run


def compare(case: Case, make: Callable[..., Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median ratio merged / hand, its quartiles, and the median time of the merged."""
    x = torch.randn(4, *case.shape)
    merged, hand = make(case.merged, x), make(case.hand, x)
    runs = max(1, round(0.1 / max(seconds(hand, 2), 1e-4)))
    ratios, times = [], []
    for i in range(rounds):
        order = (merged, hand) if i % 2 == 0 else (hand, merged)
        found = {id(w): seconds(w, runs) for w in order}
        ratios.append(found[id(merged)] / found[id(hand)])
        times.append(found[id(merged)])
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {"ratio": middle, "low": low, "high": high, "ms": 1000 * statistics.median(times)}


def twenty_layers(index: int) -> Network:
    """Return a parent of twenty layers; kernels and the place of the pooling differ."""
    words = [
        f"{(3, 5, 7)[(index * 7 + i * (index + 3)) % 3]}C:{16 + 4 * (i // 5)}" for i in range(19)
    ]
    words.insert(3 + index % 4, "2P")
    return chain(f"parent-{index}", (3, 32, 32), " ".join([*words, "10F"]))


def merging(rounds: int) -> dict[str, float]:
    """Return the median seconds of merging eight parents of twenty layers."""
    parents = [twenty_layers(i) for i in range(8)]
    alone = [seconds(lambda: merge_networks(parents, "1.0x"), 1) for _ in range(rounds)]
    merge = merge_networks(parents, "1.0x")
    drawn = [seconds(lambda: draw_merge(merge), 1) for _ in range(rounds)]
    return {
        "merge_s": statistics.median(alone),
        "draw_s": statistics.median(drawn),
        "layers": merge.contraction.counts[0],
        "merged": merge.contraction.counts[-1],
        "deviation": merge.allocation.deviation,
    }


def main() -> None:
    """Print everything as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="5 rounds")
    rounds = 5 if parser.parse_args().quick else 15
    torch.set_num_threads(1)
    result: dict[str, object] = {"torch": torch.__version__, "machine": platform.machine()}
    result["merging"] = merging(rounds)
    for case in cases():
        result[case.name] = {
            "forward": compare(case, forward, rounds),
            "forward and backward": compare(case, step, rounds),
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

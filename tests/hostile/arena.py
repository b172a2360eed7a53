"""Where an attack is set up, and the table of all attacks by the kind of what they attack."""

from __future__ import annotations

import io
import os
import pickle
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

T = TypeVar("T")

NAMES = (
    "<script>alert(1)</script>".replace("/", "∕"),
    '" onmouseover="alert(1)',
    "javascript:alert(1)",
    "=cmd|' ∕C calc'!A0",
    "+1+1",
    "@SUM(A1:A9)",
    "-2+3",
    "a\nb",
    "a\r\nb",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b[2J\x1b[H",
    "a\tb",
    "a\x08\x08b",
    "\x7f",
    "\x9b31m",
    "gpj\u202egnp",
    "a\u2066b\u2069",
    "zero\u200bwidth",
    "\ufeffbom",
    "a\u2028b\u2029c",
    "👩\u200d👩\u200d👧",
    "e\u0301\u0301\u0301",
    "{{ 7*7 }}{% raw %}",
    "$x^2$ \\frac{1}{",
    "%s%n%x",
    "-rf",
    "--help",
    "CON",
    "a ",
    " a",
    "..a",
    "a..",
    "~",
    "$HOME",
    "`id`",
    "; rm",
    "'",
    '"',
    "\\",
    "n" * 200,
    "ä" * 100,
    "NaN",
    "null",
    "true",
    "1e999",
)
"""Names that a file system takes
and that a page, a table or a terminal may not take as they are."""

NUMBERS: tuple[Any, ...] = (
    float("nan"),
    float("inf"),
    float("-inf"),
    -1,
    0,
    -0.5,
    1e308,
    10**30,
    2**31,
    2**63,
    2**64,
    True,
    None,
    "12",
    "",
    "\x1b[31m",
    [],
    [[[]]],
    {},
    {"name": "x"},
    [1, "a", None],
    "x" * 10_000,
)
"""Values of a wrong type or range."""

DEEP = 100_000
"""A nesting that no recursive reader takes."""

Act = Sequence[str] | Callable[[], object]
Attack = Callable[["Arena"], Act]
ATTACKS: dict[str, list[Attack]] = {}


@dataclass
class Arena:
    """One case's folder and its randomness.

    Args:
        place: the case's folder.
        rng: seeded by kind and number.
        turn: how often this attack was made before, so that it walks through its values.
        bases: sound inputs that attacks start from.
    """

    place: Path
    rng: random.Random
    turn: int
    bases: Any

    @property
    def inside(self) -> Path:
        """Where the input lies; nothing may be written there."""
        folder = self.place / "in"
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def out(self) -> Path:
        """What is given as --out."""
        return self.place / "out"

    def pick(self, values: Sequence[T]) -> T:
        """Return the next of some values."""
        return values[self.turn % len(values)]

    def pickle(self) -> bytes:
        """Return a pickle that makes a folder beside the case's input when it is read."""
        return pickle.dumps(_Canary(str(self.place / "canary")))


class _Canary:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def attack(kind: str) -> Callable[[Attack], Attack]:
    """Register an attack on one kind of input."""

    def add(make: Attack) -> Attack:
        ATTACKS.setdefault(kind, []).append(make)
        return make

    return add


def png(seed: int = 0, side: int = 8, mode: str = "L") -> bytes:
    """Return a sound PNG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


SOUND = [png(i) for i in range(120)]


def image_folder(
    folder: Path, classes: Sequence[str] = ("a", "b"), each: int = 60, shift: int = 0
) -> Path:
    """Write a sound image folder and return it."""
    number = shift
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(each):
            (folder / name / f"{i:03d}.png").write_bytes(SOUND[number % len(SOUND)])
            number += 1
    return folder


def damaged(raw: bytes, rng: random.Random) -> bytes:
    """Return bytes with one random damage: cut, grown, flipped, swapped, zeroed or repeated."""
    if not raw:
        return b"\0"
    data = bytearray(raw)
    a, b = sorted((rng.randrange(len(data)), rng.randrange(len(data))))
    match rng.randrange(7):
        case 0:
            del data[a:]
        case 1:
            data += rng.randbytes(rng.choice((1, 64, 4096)))
        case 2:
            for _ in range(rng.choice((1, 4, 32))):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case 3:
            data[a:b] = rng.randbytes(b - a)
        case 4:
            data[a:b] = bytes(b - a)
        case 5:
            data[a:b] = data[a:b] * 3
        case _:
            del data[a:b]
    return bytes(data)

"""Random tables with annotations of every kind, tiny images."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from augmint.aspects.base import Aspect, Schema
from augmint.aspects.category import Category
from augmint.aspects.landmarks import Landmarks
from augmint.aspects.map import Map
from augmint.aspects.mask import Mask
from augmint.aspects.vector import Vector
from augmint.data.table import Table, TableNotes

Rng = np.random.Generator
Size = tuple[int, int]
Made = tuple[Aspect, np.ndarray]

WORDS = ("left_eye", "right_eye", "nose", "left ear", "right ear", "mund", "Ähre", "7", "a,b", "x")


def label(rng: Rng, n: int, size: Size) -> Made:
    count = int(rng.integers(2, 5))
    classes = tuple(f"{w} or {i}" for i, w in enumerate(rng.permutation(WORDS)[:count]))
    return Category("label", classes), rng.integers(0, count, n)


def points(rng: Rng, n: int, size: Size) -> Made:
    names = tuple(str(w) for w in rng.permutation(WORDS)[: rng.integers(1, 8)])
    pairs = [None, (), ((names[0], names[-1]),) if len(names) > 1 else ()][rng.integers(3)]
    skeleton = tuple((a, b) for a, b in itertools.pairwise(names) if rng.random() < 0.5)
    reference = (names[0], names[-1]) if len(names) > 1 and rng.random() < 0.5 else None
    values = np.zeros((n, len(names), 3), np.float32)
    frame = np.array([size[1], size[0]])
    values[..., :2] = rng.uniform(-0.2, 1.2, (n, len(names), 2)) * frame
    whole = rng.random(n) < 0.3
    values[whole] = np.round(values[whole])
    values[..., 2] = rng.integers(0, 3, (n, len(names)))
    values[values[..., 2] == 0] = 0
    values += 0.0  # no -0, which files write as 0
    return Landmarks("landmarks", names, size, pairs, skeleton, reference), values


def points_within(rng: Rng, n: int, size: Size) -> Made:
    aspect, values = points(rng, n, size)
    values[..., :2] = values[..., :2].clip(0, [size[1], size[0]])
    return aspect, values


def boxes(rng: Rng, n: int, size: Size) -> Made:
    names = ("top_left", "top_right", "bottom_right", "bottom_left")
    pairs = (("top_left", "top_right"), ("bottom_left", "bottom_right"))
    x = np.sort(rng.uniform(0, size[1], (n, 2)).astype(np.float32))
    y = np.sort(rng.uniform(0, size[0], (n, 2)).astype(np.float32))
    x[0], y[0] = (0, size[1]), (0, size[0])
    two = np.full(n, 2)
    rows = [np.stack([x[:, i], y[:, j], two], 1) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))]
    return Landmarks("box", names, size, pairs), np.stack(rows, 1).astype(np.float32)


def mask(rng: Rng, n: int, size: Size, void: bool = True) -> Made:
    count = int(rng.integers(2, 6))
    classes = ("rest", *(f"{w} {i}" for i, w in enumerate(rng.permutation(WORDS)[: count - 1])))
    empty = int(rng.choice([count, 200, 255])) if void and rng.random() < 0.5 else None
    known = [*range(count), *([] if empty is None else [empty])]
    pairs = ((classes[1], classes[2]),) if count > 2 and rng.random() < 0.3 else ()
    values = rng.choice(np.array(known, np.uint8), (n, *size))
    values[rng.random((n, *size)) < rng.random((n, 1, 1))] = 0
    return Mask("mask", classes, empty, pairs), values


def plain_mask(rng: Rng, n: int, size: Size) -> Made:
    return mask(rng, n, size, void=False)


def vector(rng: Rng, n: int, size: Size) -> Made:
    names = tuple(str(w) for w in rng.permutation(WORDS)[: rng.integers(1, 6)])
    values = rng.normal(size=(n, len(names))) * 10.0 ** rng.integers(-30, 30, (n, len(names)))
    mirrored = [None, (), names[:1]][rng.integers(3)]
    units = tuple("°" for _ in names)
    return Vector("pose", names, units=units, mirrored=mirrored), values.astype(np.float32)


def field(rng: Rng, n: int, size: Size, any_number: bool = True) -> Made:
    match rng.integers(3 if any_number else 2):
        case 0:
            channels = int(rng.choice([1, 3]))
            values = rng.integers(0, 256, (n, channels, *size)).astype(np.float32)
            return Map("field", channels, 0.0, 255.0, "grey"), values
        case 1:
            values = rng.integers(1, 65535, (n, 1, *size)).astype(np.float32)
            values[rng.random(values.shape) < 0.2] = np.nan
            values[0, 0, 0, 0] = 300
            return Map("field", 1, 0.0, 70000.0, "mm"), values
        case _:
            values = rng.normal(size=(n, 2, *size)).astype(np.float32).clip(-3, 3)
            values[rng.random(values.shape) < 0.2] = np.nan
            return Map("field", 2, -3.0, 3.0), values


def whole_field(rng: Rng, n: int, size: Size) -> Made:
    return field(rng, n, size, any_number=False)


Maker = Callable[[Rng, int, Size], Made]


def random_table(
    rng: Rng, folder: Path, makers: Sequence[Maker], n: int, extras: bool = False
) -> Table:
    """A table of the given kinds of annotation, in one part or several."""
    size = (int(rng.integers(2, 13)), int(rng.integers(2, 13)))
    channels = int(rng.choice([1, 3]))
    images = rng.integers(0, 256, (n, channels, *size)).astype(np.uint8)
    images[0, 0, 0, 0], images[0, -1, 0, 0] = 7, 9  # grey images in colour would be read as grey
    made = [make(rng, n, size) for make in makers]
    rows = np.arange(n)
    cut = int(rng.integers(1, n))
    parts = {"train": rows[:cut], "test": rows[cut:]} if rng.random() < 0.5 else {"all": rows}
    notes: Any = None
    if extras and rng.random() < 0.5:
        groups = np.unique(rng.integers(0, 4, n), return_inverse=True)[1]
        notes = TableNotes(groups, {"real": rows[::2], "minted": rows[1::2]})
    return Table.write(
        folder,
        images,
        {a.name: v for a, v in made},
        Schema(tuple(a for a, _ in made)),
        [str(i) for i in rows],
        parts,
        notes,
    )

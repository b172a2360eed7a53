"""What an arm trains on: real rows of the table, and the material that the arm adds to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from augmint.aspects.category import LABEL
from augmint.core.runs import load_tensors, save_tensors
from augmint.core.streams import permutation
from augmint.metrics.planted import planted_copies
from augmint.minting.curation import Minted
from augmint.studies.arms import Arm
from augmint.studies.rows import Rows
from augmint.tasks.rows import Source

if TYPE_CHECKING:
    from augmint.core.types import IntArray
    from augmint.data.table import Table


@dataclass(frozen=True)
class Store:
    """What a repetition can draw on: the table, its rows, and the folder of its minted images."""

    table: Table
    rows: Rows
    mint: Path | None
    seed: int


def real_source(table: Table, rows: IntArray, share: float = 1.0) -> Source:
    """Return real rows as a training source."""
    values = {name: values[rows] for name, values in table.values.items()}
    return Source(np.ascontiguousarray(table.images[rows]), values, rows, share)


def sources_of(arm: Arm, store: Store, ratio: float, fill_up: bool = False) -> list[Source]:
    """Return the training sources of an arm.

    Args:
        arm: a row of `ARMS`.
        store: where they come from.
        ratio: the added images' share of each batch (unless the arm pools them).
        fill_up: added images fill up the rare classes (`evened`), whatever the ratio.
    """
    train = store.rows.train
    added = MATERIALS[arm.material](store)
    if arm.balanced or (fill_up and added is not None):
        real = [real_source(store.table, train)] if arm.real else []
        return evened([*real, *([] if added is None else [added])])
    if added is None:
        return [real_source(store.table, train)]
    if not arm.real:
        return [added]
    share = len(added) / (len(train) + len(added)) if arm.pooled else ratio
    return [real_source(store.table, train, 1.0 - share), replace(added, share=share)]


def evened(sources: list[Source]) -> list[Source]:
    """Return sources, one of each class and part, from which every class comes equally often.

    Of C classes each has the share 1 / C of every batch, and within a class every image, real or
    minted, comes equally often: the share of part p in class c is `n_pc / (C · n_c)`.

    Example:
        >>> images, labels = np.zeros((4, 1, 8, 8), np.uint8), np.array([0, 0, 0, 1])
        >>> parts = evened([Source(images, {"label": labels}, np.arange(4))])
        >>> [(len(part), part.share) for part in parts]
        [(3, 0.5), (1, 0.5)]
    """
    labels = [strata_of(s) for s in sources]
    classes, totals = np.unique(np.concatenate(labels), return_counts=True)
    parts = []
    for c, total in zip(classes, totals, strict=True):
        for source, of in zip(sources, labels, strict=True):
            rows = np.flatnonzero(of == c)
            if len(rows):
                share = len(rows) / (len(classes) * int(total))
                parts.append(_rows_of(source, rows, share))
    return parts


def _rows_of(source: Source, rows: IntArray, share: float) -> Source:
    values = {name: column[rows] for name, column in source.values.items()}
    return Source(
        np.ascontiguousarray(source.images[rows]), values, source.ids[rows], share, source.origin
    )


def evened_rows(labels: IntArray, rows: IntArray) -> IntArray:
    """Return rows with those of every class repeated in turn up to the largest class's number.

    Example:
        >>> evened_rows(np.array([0, 0, 0, 1, 1]), np.arange(5)).tolist()
        [0, 1, 2, 3, 4, 3]
    """
    most = int(np.unique(labels[rows], return_counts=True)[1].max())
    return np.concatenate(
        [np.resize(rows[labels[rows] == c], most) for c in np.unique(labels[rows])]
    )


def strata_of(rows: Source | Minted) -> IntArray:
    """Return the class of each row, as `Table.strata` has it: 0 for all where there is none.

    Example:
        >>> images = np.zeros((2, 1, 8, 8), np.uint8)
        >>> strata_of(Source(images, {"label": np.array([1, 0])}, np.arange(2))).tolist()
        [1, 0]
        >>> strata_of(Source(images, {}, np.arange(2))).tolist()
        [0, 0]
    """
    found = rows.values.get(LABEL)
    return np.zeros(len(rows), np.int64) if found is None else np.asarray(found, np.int64)


def describe(sources: list[Source], arm: Arm, even: bool = False) -> str:
    """Return what an arm trains on, in words.

    Example:
        >>> from augmint.studies.arms import BASELINE
        >>> source = Source(np.zeros((2, 1, 8, 8), np.uint8), {}, np.arange(2))
        >>> describe([source], BASELINE)
        '2 real images in 100% of each batch, classic policy'
    """
    parts = [(s.origin, len(s), s.share) for s in sources]
    if even:
        origins = dict.fromkeys(s.origin for s in sources)
        parts = [
            (o, sum(n for k, n, _ in parts if k == o), sum(p for k, _, p in parts if k == o))
            for o in origins
        ]
    words = " + ".join(f"{n} {o} images in {share:.0%} of each batch" for o, n, share in parts)
    equally = ", every class equally often" if even else ""
    return words + equally + (", classic policy" if arm.classic else ", no augmentation")


def save_minted(minted: Minted, folder: Path) -> None:
    """Write minted images with their values, ids and scores as arrays.

    Example:
        >>> import tempfile
        >>> images, ids, seeds = np.zeros((2, 1, 8, 8), np.uint8), np.arange(2), np.zeros(2, int)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_minted(Minted(images, {}, ids, seeds, {}, (), None), Path(folder, "curated"))
        ...     sorted(path.name for path in Path(folder, "curated").iterdir())
        ['images.npy', 'rows.safetensors']
    """
    folder.mkdir()
    np.save(folder / "images.npy", minted.images)
    columns: dict[str, np.ndarray] = {"ids": minted.ids, "seeds": minted.seeds}
    columns |= {f"value.{k}": v for k, v in minted.values.items()}
    columns |= {f"score.{k}": v for k, v in minted.scores.items()}
    tensors = {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in columns.items()}
    save_tensors(folder / "rows.safetensors", tensors, {})


def load_minted(folder: Path) -> Minted:
    """Read what `save_minted` wrote; the counts stay in the stage's value."""
    images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
    named = {k: v.numpy() for k, v in load_tensors(folder / "rows.safetensors")[0].items()}
    values = {k.removeprefix("value."): v for k, v in named.items() if k.startswith("value.")}
    scores = {k.removeprefix("score."): v for k, v in named.items() if k.startswith("score.")}
    return Minted(images, values, named["ids"], named["seeds"], scores, (), None)


def subset(minted: Minted, rows: IntArray) -> Minted:
    """Return some rows of minted images; the counts stay those of the whole.

    Example:
        >>> images, ids = np.zeros((3, 1, 8, 8), np.uint8), np.array([4, 6, 8])
        >>> minted = Minted(images, {}, ids, np.zeros(3, int), {}, (), None)
        >>> subset(minted, np.array([0, 2])).ids.tolist()
        [4, 8]
    """
    return replace(
        minted,
        images=minted.images[rows],
        values={k: v[rows] for k, v in minted.values.items()},
        ids=minted.ids[rows],
        seeds=minted.seeds[rows],
        scores={k: v[rows] for k, v in minted.scores.items()},
    )


def _nothing(_: Store) -> None:
    return None


def _minted(store: Store, kind: str) -> Minted:
    if store.mint is None:
        raise LookupError("this arm needs the stage that mints among its inputs")
    return load_minted(store.mint / kind)


def minted_source(minted: Minted) -> Source:
    """Return minted images as a training source.

    Example:
        >>> images, ids = np.zeros((2, 1, 8, 8), np.uint8), np.array([4, 6])
        >>> source = minted_source(Minted(images, {}, ids, np.zeros(2, int), {}, (), None))
        >>> source.origin, source.ids.tolist()
        ('minted', [4, 6])
    """
    return Source(minted.images, minted.values, minted.ids, origin="minted")


def _shuffled(store: Store) -> Source:
    minted = _minted(store, "curated")
    order = permutation(store.seed, "study.shuffled", len(minted))
    values = {name: column[order] for name, column in minted.values.items()}
    return Source(minted.images, values, minted.ids, origin="minted")


def _copies(store: Store) -> Source:
    train = store.rows.train
    planted = planted_copies(store.table.images[train], store.seed)
    images = np.concatenate(list(planted.values()))
    values = {
        name: np.concatenate([column[train]] * len(planted))
        for name, column in store.table.values.items()
    }
    return Source(images, values, np.arange(len(images), dtype=np.int64), origin="minted")


def _held_back(store: Store) -> Source:
    """As many held-back real images of each class as were minted, or all there are."""
    minted = _minted(store, "curated")
    wanted = np.bincount(strata_of(minted))
    pool = store.rows.pool[permutation(store.seed, "study.more-real", len(store.rows.pool))]
    labels = store.table.strata()[pool] if LABEL in minted.values else np.zeros_like(pool)
    chosen = [pool[labels == c][:n] for c, n in enumerate(wanted)]
    return real_source(store.table, np.sort(np.concatenate(chosen)))


MATERIALS: Mapping[str, Callable[[Store], Source | None]] = {
    "none": _nothing,
    "curated": lambda store: minted_source(_minted(store, "curated")),
    "raw": lambda store: minted_source(_minted(store, "raw")),
    "shuffled": _shuffled,
    "copies": _copies,
    "held-back": _held_back,
}
"""How the material that an arm names is found."""

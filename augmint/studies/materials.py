"""What an arm trains on: real rows of the table, and the material that the arm adds to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from augmint.core.runs import load_tensors, save_tensors
from augmint.core.streams import permutation
from augmint.data.splits import per_class
from augmint.metrics.planted import planted_copies
from augmint.minting.curation import Minted
from augmint.studies.arms import Arm
from augmint.studies.rows import Rows, labelled_per_class
from augmint.studies.stages import read_result
from augmint.tasks.base import Source

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


def sources_of(arm: Arm, store: Store, ratio: float, level: float = 1.0) -> list[Source]:
    """Return the training sources of an arm.

    Args:
        arm: a row of `ARMS`.
        store: where they come from.
        ratio: the added images' share of each batch (unless the arm pools them).
        level: share of the labelled images a class that is trained on.
    """
    train = level_rows(store, level)
    added = MATERIALS[arm.material](store)
    if added is None:
        return [real_source(store.table, train)]
    if not arm.real:
        return [added]
    share = len(added) / (len(train) + len(added)) if arm.pooled else ratio
    return [real_source(store.table, train, 1.0 - share), replace(added, share=share)]


def level_rows(store: Store, level: float) -> IntArray:
    """Return the training rows at a level; a smaller level is a subset of a larger one."""
    train, labels = store.rows.train, store.table.labels()
    if level >= 1.0:
        return train
    n = max(1, round(level * labelled_per_class(store.rows, labels)))
    return per_class(labels, train, n, store.seed, "study.level")[0]


def describe(sources: list[Source], arm: Arm) -> str:
    """Return what an arm trains on, in words."""
    parts = [f"{len(s)} {s.origin} images in {s.share:.0%} of each batch" for s in sources]
    return " + ".join(parts) + (", classic policy" if arm.classic else ", no augmentation")


def save_minted(minted: Minted, folder: Path) -> None:
    """Write minted images with their values, ids and scores as arrays."""
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
    """Return some rows of minted images; the counts stay those of the whole."""
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


def _as_source(minted: Minted) -> Source:
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
    """As many held-back real images as were minted, or all there are."""
    if store.mint is None:
        raise LookupError("this arm needs the stage that mints among its inputs")
    wanted = read_result(store.mint).value["curation"]["accepted"]
    order = permutation(store.seed, "study.more-real", len(store.rows.pool))
    return real_source(store.table, np.sort(store.rows.pool[order[:wanted]]))


MATERIALS: Mapping[str, Callable[[Store], Source | None]] = {
    "none": _nothing,
    "curated": lambda store: _as_source(_minted(store, "curated")),
    "raw": lambda store: _as_source(_minted(store, "raw")),
    "shuffled": _shuffled,
    "copies": _copies,
    "held-back": _held_back,
}
"""How the material that an arm names is found."""

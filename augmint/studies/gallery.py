"""The pictures of a study, and what it leaves behind for use: minted images and a bundle."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from augmint.core.config import build
from augmint.core.errors import UsageError
from augmint.core.pictures import grid, png_bytes, scale_of
from augmint.core.runs import write_atomic
from augmint.metrics.copying import false_flag_rule, nearest
from augmint.metrics.memorisation import nearest_rows
from augmint.minting.bundle import Bundle
from augmint.minting.curation import ClassCount, CurationConfig, class_names
from augmint.minting.judge import StoredJudge
from augmint.minting.writer import write_minted
from augmint.studies.checkpoints import bundle_at
from augmint.studies.materials import load_minted, strata_of
from augmint.tasks.trained import TrainedTask

if TYPE_CHECKING:
    from augmint.aspects.base import Aspect
    from augmint.core.types import ByteArray, IntArray
    from augmint.minting.curation import Minted
    from augmint.studies.graph import Graph, Plan
    from augmint.studies.rows import Rows
    from augmint.studies.stages import StageResult

ACROSS = 12
"""Images in a row of a grid."""

ROWS = 12
"""Classes shown, at most."""

SINGLE = 4
"""Rows of pictures of a set without classes."""


def publish(
    out: Path, plan: Plan, graph: Graph, results: Mapping[str, StageResult], rows: Rows
) -> dict[str, bytes]:
    """Write bundle, minted images and pictures of the first repetition; return the pictures."""
    table = plan.table
    aspect = table.schema[plan.config.task.aspect]
    mint, made = results[graph.mints[0].name], results[graph.generators[0].name]
    curation = build(CurationConfig, mint.value["curation"]["curation"], "curation")
    bundle = bundle_at(made.folder, mint.value["checkpoint"]["step"])
    bundle = finished_bundle(
        bundle,
        mint.folder / "judge.safetensors",
        np.ascontiguousarray(table.images[rows.train]),
        np.ascontiguousarray(table.images[rows.held_out]),
        mint.value["limit"],
    )
    bundle = replace(bundle, curation=curation)
    names = class_names(bundle.schema, curation.aspect)
    minted = counted(load_minted(mint.folder / "curated"), mint.value["curation"], names)
    anew(out / "bundle", bundle.save)
    provenance = {
        "generator": bundle.digest,
        "parents": {"data": table.digest, "training_rows": len(rows.train)},
        "config": plan.config,
    }
    anew(out / "minted", lambda to: write_minted(minted, to, bundle.schema, provenance))
    every = np.arange(len(minted))
    told = table.values[aspect.name]
    pictures = {
        "real": by_class(table.images, table.strata(), rows.train, aspect, told),
        "minted": by_class(
            minted.images, strata_of(minted), every, aspect, minted.values[aspect.name]
        ),
        "pairs": neighbours(minted.images, np.ascontiguousarray(table.images[rows.train])),
        "progress": (made.folder / "progress.png").read_bytes(),
    }
    for name, content in pictures.items():
        write_atomic(out / "pictures" / f"{name}.png", content)
    return pictures


def anew(folder: Path, write: Callable[[Path], Any]) -> None:
    """Write a folder of our own; what an earlier result or a kill left there makes way."""
    for stale in folder.parent.glob(f".{folder.name}.*.part"):
        shutil.rmtree(stale)
    try:
        write(folder)
    except UsageError:
        if not folder.is_dir():
            raise
        shutil.rmtree(folder)
        write(folder)


def counted(minted: Minted, curation: Mapping[str, Any], names: Sequence[str]) -> Minted:
    """Return minted images with the counts of their stage; removed copies count as rejected."""
    kept = np.bincount(strata_of(minted), minlength=len(names))
    counts = []
    for c in curation["classes"]:
        left = int(kept[names.index(c["name"])])
        copies = c["rejected"].get("copy", 0) + c["accepted"] - left
        rejected = {**c["rejected"], "copy": copies}
        counts.append(ClassCount(c["name"], c["quota"], c["drawn"], left, rejected))
    return replace(minted, counts=tuple(counts), curation=curation["curation"])


def finished_bundle(
    generator: Bundle,
    judge: Path,
    train: ByteArray,
    held_out: ByteArray,
    limit: float | None = None,
) -> Bundle:
    """Return a generator's bundle with all that curating needs without the data.

    That is the judge, its features of the training images, and the distance below which an image
    counts as a copy: that of the k-th nearest held-out image, as `false_flag_rule` has it.
    """
    kept = stored(TrainedTask.load(judge), limit)
    features = kept(train)
    alone = np.sort(nearest_rows(kept(held_out), features)[1])
    _, rank = false_flag_rule(len(held_out))
    return replace(
        generator,
        judge=kept,
        features=features,
        copy_distance=float(alone[rank - 1]),
        missing={},
    )


def stored(judge: TrainedTask, limit: float | None = None) -> StoredJudge:
    """Return a trained judge as it travels with a bundle; see `StoredJudge` for `limit`."""
    shape = judge.config.seen(judge.shape)
    outputs, aspect = judge.aspect.width, judge.aspect.name
    told = {"trained_on": "the generator's training images", "steps": judge.config.steps}
    network = judge.config.network
    return StoredJudge(network, shape, outputs, judge.network, told, aspect, limit)


def by_class(
    images: ByteArray,
    labels: IntArray,
    rows: IntArray,
    aspect: Aspect | None = None,
    values: np.ndarray | None = None,
) -> bytes:
    """Return a grid with one row a class, or some rows of a set without classes.

    Args:
        images: uint8 `(N, C, H, W)`.
        labels: the class of each image.
        rows: those that may be shown.
        aspect: is drawn over the images, with its `values`; None draws nothing.
        values: stored values, N rows.
    """
    chosen, found = [], np.unique(labels[rows])[:ROWS]
    for c in found:
        of_class = rows[labels[rows] == c][: ACROSS if len(found) > 1 else SINGLE * ACROSS]
        chosen.append(np.resize(of_class, ACROSS * max(1, len(of_class) // ACROSS)))
    order = np.concatenate(chosen)
    picked, scale = np.asarray(images[order]), scale_of(images.shape[-1])
    if aspect is not None and values is not None and aspect.kind != "category":
        large = picked.repeat(scale, axis=2).repeat(scale, axis=3)
        picked = np.stack([aspect.draw(i, v) for i, v in zip(large, values[order], strict=True)])
        scale = 1
    return png_bytes(grid(picked, ACROSS, scale=scale))


def neighbours(minted: ByteArray, train: ByteArray, count: int = ACROSS) -> bytes:
    """Return minted images, spread over their order, above their nearest training images."""
    count = min(count, len(minted))
    order = np.linspace(0, len(minted) - 1, count).astype(np.int64)
    images = np.ascontiguousarray(minted[order])
    found, apart = nearest(images, train)
    both = np.concatenate([images, train[found]])
    captions = ["minted"] * count + [f"{d:.2f}" for d in apart]
    return png_bytes(grid(both, count, scale=2 * scale_of(images.shape[-1]), captions=captions))

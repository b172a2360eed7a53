"""The data of recipes of annotated images: three parts that share no image and no subject."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from augmint.aspects.base import Schema
from augmint.core.errors import DataError, UsageError
from augmint.core.registry import DATASETS
from augmint.core.streams import derive
from augmint.training.batches import TrainingImages
from augmint.training.guard import GuardRules

if TYPE_CHECKING:
    from augmint.core.types import IntArray
    from augmint.data.table import Table
    from augmint.recipes.base import Surroundings

MEASURER_SHARE = 0.25
"""Of the training images of a set that is not drawn: they train the measurer and no generator."""


LONG_ALIKE = 4000
"""Steps for which images of these recipes' generators may be alike, at least."""


def patient(steps: int) -> GuardRules:
    """Return rules of the guard for slow trainings: strikes count from later on.

    A BEGAN at the papers' rates gives one grey face for some thousand steps before it draws.

    Example:
        >>> patient(600).warm_up, patient(30_000).warm_up
        (4000, 10000)
    """
    return GuardRules(warm_up=max(LONG_ALIKE, steps // 3))


class Sizes(Protocol):
    """Fields of a recipe's configuration that say how large the parts are."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width that images are scaled to."""
        ...

    @property
    def draws(self) -> int:
        """Training images, of a built-in set that is drawn."""
        ...

    @property
    def measured_on(self) -> int:
        """Drawn images that train the measurer."""
        ...

    @property
    def test_share(self) -> float:
        """Share that becomes the test part, of a set without one or of `draws`."""
        ...


@dataclass(frozen=True, eq=False)
class Annotated:
    """Images with the aspects of the kinds asked for.

    Args:
        schema: the aspects.
        train: what generators learn from.
        test: what nothing learns from.
        measured: what independent networks learn from, and no generator.
        text: what `measured` is, in words.
    """

    schema: Schema
    train: TrainingImages
    test: TrainingImages
    measured: TrainingImages
    text: str


def annotated(
    config: Sizes, surroundings: Surroundings, kinds: Collection[str], channels: int
) -> Annotated:
    """Return the parts of a set; subjects, and identical images, stand on one side.

    Raises:
        DataCheckError: if an image is in two parts, and duplicates are not to be dropped.
        DataError: if the set lacks an aspect of one of the kinds, or no test image carries it.
        UsageError: if it has parts, but not both training and test images.

    Example:
        >>> from pathlib import Path
        >>> from augmint.recipes.base import Surroundings
        >>> from augmint.recipes.var_faces import debug_config
        >>> where = Surroundings(Path("unused"), "toy-faces", seed=0)
        >>> found = annotated(debug_config(gans={}), where, {"landmarks"}, channels=3)
        >>> len(found.train), len(found.test), len(found.measured), found.schema.aspects[0].kind
        (40, 64, 40, 'landmarks')
    """
    from augmint.data.check import check, left_out
    from augmint.data.ingest import built_in_spec, ingest

    name, seed = surroundings.data, surroundings.seed
    drawn = built_in_spec(name)
    if drawn is not None and DATASETS.get(drawn["name"]).drawn:
        return _drawn(config, drawn, seed, kinds, channels)
    table = ingest(name, surroundings.out / "cache", size=config.size, channels=channels)
    schema = _asked(table.schema, kinds, name)
    whole, test = _parts(table, config.test_share, seed)
    whole = np.setdiff1d(
        whole, left_out(check(table, near=False), table, surroundings.drop_duplicates)
    )
    train, measured = _split(table, whole, MEASURER_SHARE, seed, "recipe.measured")
    text = f"the measurer learnt from {len(measured)} real images that no generator saw"
    for aspect in schema:
        test = test[aspect.told(np.asarray(table.values[aspect.name][test]))]
    if not len(test):
        raise DataError(
            "test images carry what is measured", f"{name}, none of whose do", "label some"
        )
    a, b, c = (_images(table.images, table.values, schema, r) for r in (train, test, measured))
    return Annotated(schema, a, b, c, text)


def _drawn(
    config: Sizes, spec: dict[str, Any], seed: int, kinds: Collection[str], channels: int
) -> Annotated:
    counts = {
        "recipe.draws": config.draws,
        "recipe.test": max(64, int(config.test_share * config.draws)),
        "recipe.measured": config.measured_on,
    }
    drawn = [
        DATASETS.create({**spec, "images": count, "seed": derive(seed, purpose) % 2**31}).build(
            config.size, channels
        )
        for purpose, count in counts.items()
    ]
    schema = _asked(drawn[0].schema, kinds, spec["name"])
    a, b, c = (_images(d.images, d.values, schema, np.arange(len(d.images))) for d in drawn)
    text = f"the measurer learnt from {config.measured_on} further drawn images"
    return Annotated(schema, a, b, c, text)


def _images(images: Any, values: Any, schema: Schema, rows: IntArray) -> TrainingImages:
    own = {a.name: np.asarray(values[a.name][rows]) for a in schema}
    return TrainingImages(np.ascontiguousarray(images[rows]), own, np.arange(len(rows)))


def _asked(schema: Schema, kinds: Collection[str], name: str) -> Schema:
    missing = sorted(k for k in kinds if not schema.of_kind(k))
    if missing:
        held = ", ".join(f"{a.name} ({a.kind})" for a in schema) or "none"
        raise DataError(
            f"this recipe needs {missing[0]}",
            f"{name}, which has {held}",
            "name a set that carries them (--data DIR)",
        )
    return Schema(tuple(a for a in schema if a.kind in kinds))


def _parts(table: Table, share: float, seed: int) -> tuple[IntArray, IntArray]:
    if "train" in table.parts and "test" in table.parts:
        return table.parts["train"], table.parts["test"]
    if "all" not in table.parts:
        raise UsageError(
            "a recipe needs training and test images",
            ", ".join(table.parts),
            "put images of both into the set, or of neither: then it is split",
        )
    return _split(table, table.parts["all"], share, seed, "recipe.test")


def _split(
    table: Table, rows: IntArray, share: float, seed: int, purpose: str
) -> tuple[IntArray, IntArray]:
    """Return (rest, taken) of some rows, subjects and identical images on one side."""
    from augmint.data.check import grouping
    from augmint.data.splits import stratified

    groups = grouping(table)[rows]
    alone = len(np.unique(groups)) == len(groups)
    rest, taken = stratified(table.strata()[rows], share, seed, purpose, None if alone else groups)
    return rows[rest], rows[taken]

"""Published sets, where AUGMINT_DATA names a folder that holds them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from augmint.core.errors import DataCheckError
from augmint.data.check import blocking, check, training_rows_without
from augmint.data.ingest import ingest

pytestmark = pytest.mark.realdata


def published(name: str) -> Path:
    """The set's path, or a skip that says what is missing."""
    root = os.environ.get("AUGMINT_DATA")
    if not root:
        pytest.skip("AUGMINT_DATA is not set")
    path = Path(root) / name
    if not path.exists():
        pytest.skip(f"{name} is not in AUGMINT_DATA")
    return path


def test_mnist(cache: Path) -> None:
    table = ingest(published("mnist"), cache)
    assert {p: len(r) for p, r in table.parts.items()} == {"train": 60000, "test": 10000}
    assert np.bincount(table.labels()[table.parts["test"]]).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    report = check(table)
    blocking(report)
    assert len(report.near_across) < 10


def test_fer2013_holds_duplicates_across_parts(cache: Path) -> None:
    table = ingest(published("fer2013.zip"), cache)
    assert {p: len(r) for p, r in table.parts.items()} == {
        "train": 28709,
        "validation": 3589,
        "test": 3589,
    }
    assert table.shape == (1, 48, 48)
    report = check(table)
    assert report.across_counts["train/test"] > 100
    with pytest.raises(DataCheckError, match="--drop-duplicates"):
        blocking(report)
    kept = training_rows_without(report, table)
    pixels = {i.tobytes() for i in np.asarray(table.images[kept])}
    for part in ("validation", "test"):
        assert not any(table.images[r].tobytes() in pixels for r in table.parts[part])

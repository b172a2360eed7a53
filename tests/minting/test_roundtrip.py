"""Minted folders are data sets: the manifest format reads back pixels, labels and origin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.core.errors import UsageError
from augmint.data.ingest import ingest
from augmint.minting.curation import CurationConfig, mint
from augmint.minting.writer import write_minted
from augmint.tasks.rows import RealRows


@pytest.mark.parametrize("classes", [("ant", "bee", "cat"), ("train", "test", "b/c: Ü")])
def test_a_minted_folder_is_read_as_minted(
    tmp_path: Path, truthful: Any, brightness: Any, classes: tuple[str, ...]
) -> None:
    schema = Schema((Category("label", classes),))
    quotas = {0: 5, 1: 4, 2: 3}
    minted = mint(truthful(3, wrong=4), brightness(3), schema, quotas, CurationConfig(), 7, False)
    folder = write_minted(minted, tmp_path / "mint", schema, {"generator": "ab"})
    table = ingest(str(folder), tmp_path / "cache")
    assert np.array_equal(table.images, minted.images)
    names = [table.classes()[i] for i in table.labels()]
    assert names == [classes[i] for i in minted.values["label"]]
    assert table.origins["minted"].tolist() == list(range(12))
    with pytest.raises(UsageError, match="minted rows"):
        RealRows.of(table, [0])

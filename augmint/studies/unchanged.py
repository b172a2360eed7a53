"""A folder's results come from one data set: it is remembered by its hash, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from augmint.core.errors import DataError
from augmint.core.runs import read_json, write_json
from augmint.data.table import Table

RECORD = "data.json"


def forget_first_try(out: Path) -> None:
    """Free a folder in which nothing that counts was computed, for another try.

    A command that was refused (a mistyped path, too many images a class, a leak) or that only
    planned must not stand in the way of the next one. Finished stages stay: their names hold all
    that they depend on.
    """
    for name in ("config.yaml", RECORD):
        (out / name).unlink(missing_ok=True)


def same_data(out: Path, source: str, table: Table) -> None:
    """Remember which data set the results in `out` come from, or refuse another one.

    Args:
        out: the folder of a study or of a training; the caller holds its lock.
        source: what the user calls the data set.
        table: the data set as it is now.

    Raises:
        DataError: if it changed since the first run in this folder; it says what changed.
    """
    path = out / RECORD
    if not path.exists():
        record = {"source": source, "digest": table.digest, "images": len(table)}
        write_json(path, {**record, "table": table.folder.name})
        return
    known = read_json(path)
    if not isinstance(known, dict) or known.get("digest") == table.digest:
        return
    raise DataError(
        "the results in a folder come from one data set",
        f"{source}, which changed since the first run in {out}: {_change(known, table)} "
        f"(SHA-256 {table.digest[:12]}, was {str(known.get('digest'))[:12]})",
        "restore the data, or choose another folder (--out DIR)",
    )


def _change(known: dict[str, object], table: Table) -> str:
    """Return in a few words what became of the images."""
    try:
        before = Table.open(table.folder.parent / Path(str(known.get("table"))).name)
    except DataError:
        return f"{known.get('images')} images then, {len(table)} now"
    if before.shape != table.shape:
        return f"images of {before.shape} then, of {table.shape} now"
    old, new = ({n: i for i, n in enumerate(t.names)} for t in (before, table))
    both = [n for n in new if n in old]
    parts = [
        _told([n for n in new if n not in old], "added"),
        _told([n for n in old if n not in new], "removed"),
        _told([n for n in both if not _same(before, old[n], table, new[n])], "changed"),
    ]
    return ", ".join(p for p in parts if p) or "what is known of the images"


def _same(before: Table, i: int, now: Table, j: int) -> bool:
    return np.array_equal(before.images[i], now.images[j]) and all(
        name in before.values and np.array_equal(before.values[name][i], column[j])
        for name, column in now.values.items()
    )


def _told(names: Sequence[str], how: str) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more} {how}"

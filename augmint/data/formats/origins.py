"""`origins.json`: subjects and origins of images, where a layout has no place for them.

    {"images/train/0000001.png": {"origin": "minted", "group": "3"}}

Names are relative to the file. Images that it does not name are real, of a subject of their own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from augmint.core.errors import single_line
from augmint.data.formats.annotation import bad, read_json, write_json
from augmint.data.formats.base import Sample

if TYPE_CHECKING:
    from augmint.data.archives import Files
    from augmint.data.table import Table

ORIGINS = "origins.json"


def write_origins(table: Table, folder: Path, names: Sequence[str]) -> None:
    """Write what is known of subjects and minted images; nothing where all are real and alone.

    Args:
        table: that is written.
        folder: where to.
        names: the image of each row, relative to the folder.
    """
    minted = set(table.origins.get("minted", ()))
    told: dict[str, dict[str, str]] = {}
    for row, name in enumerate(names):
        known = {"origin": "minted"} if row in minted else {}
        if table.groups is not None:
            known["group"] = str(table.groups[row])
        if known:
            told[name] = known
    if told:
        write_json(folder / ORIGINS, told)


def with_origins(samples: Sequence[Sample], files: Files, prefix: str) -> list[Sample]:
    """Return samples with the subjects and origins that a file beside them tells, if there is one.

    Args:
        samples: of a layout.
        files: of the set.
        prefix: the folder of `origins.json`, with `/`.

    Raises:
        DataError: for a file of another form, or an image that is not there.

    Example:
        >>> import tempfile
        >>> from augmint.data.archives import open_files
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json(Path(folder, ORIGINS), {"b.png": {"origin": "minted", "group": "3"}})
        ...     samples = [Sample("a.png", {}), Sample("b.png", {})]
        ...     told = with_origins(samples, open_files(Path(folder)), prefix="")
        >>> [(s.origin, s.group) for s in told]
        [('real', None), ('minted', '3')]
    """
    where = prefix + ORIGINS
    if where not in files.sizes:
        return list(samples)
    told, known = read_json(files, where), {s.name for s in samples}
    rule = "origins.json gives an image its origin (real or minted) and its group"
    for name, row in told.items() if isinstance(told, dict) else [("", told)]:
        fits = isinstance(row, dict) and set(row) <= {"origin", "group"}
        fits = fits and row.get("origin", "real") in ("real", "minted")
        if not fits or not isinstance(row.get("group", ""), str):
            raise bad(rule, f"{row!r}"[:80], where, "correct it, or remove the file")
        if prefix + name not in known:
            shown = f"{single_line(name, 80)}, which is no image of the set"
            raise bad(rule, shown, where, "remove its entry")
    return [
        dataclasses.replace(
            s,
            group=told.get(s.name.removeprefix(prefix), {}).get("group"),
            origin=told.get(s.name.removeprefix(prefix), {}).get("origin", "real"),
        )
        for s in samples
    ]

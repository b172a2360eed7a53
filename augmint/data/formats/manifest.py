"""`metadata.jsonl` beside images: one JSON object a line says what each image is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

from augmint.aspects.base import Schema
from augmint.core.errors import DataError, single_line
from augmint.core.registry import FORMATS
from augmint.data.formats.base import (
    SPLIT_NAMES,
    Format,
    Listing,
    Sample,
    category,
    empty_folder,
    wrapper,
    write_png,
)

if TYPE_CHECKING:
    from augmint.data.archives import Files
    from augmint.data.table import Table

MANIFEST = "metadata.jsonl"
_GROUPS = ("group", "subject")
_READ = {"file_name", "label", "split", "origin", *_GROUPS}
_ORIGINS = ("real", "minted")


@FORMATS.register("manifest")
@dataclass(frozen=True)
class Manifest(Format):
    """Images listed in `metadata.jsonl` with their labels.

    Keys: `file_name` (relative to the manifest), `label`; optional `split` (train, val, test …),
    `group` or `subject`, `origin` ("real", "minted"). Other keys are left out and listed. Classes
    are sorted; rows keep the order of the lines.
    """

    priority: ClassVar[int] = 20

    def detect(self, files: Files) -> str | None:
        name = wrapper(files.names) + MANIFEST
        return f"a manifest: {name}" if name in files.sizes else None

    def read(self, files: Files) -> Listing:
        prefix = wrapper(files.names)
        rows = _rows(files, prefix + MANIFEST)
        names = [prefix + _file_name(row, where) for where, row in rows]
        seen: set[str] = set()
        for (where, _), name in zip(rows, names, strict=True):
            if name in seen or name not in files.sizes:
                fault = "listed twice" if name in seen else "missing"
                raise _bad(where, f"{single_line(name, 80)}, {fault}", "correct the line")
            seen.add(name)
        parts, origins = _parts(rows), [_origin(row, where) for where, row in rows]
        label, indices = category([_label(row, where) for where, row in rows])
        samples = [
            Sample(names[i], {"label": int(indices[i])}, parts[i], _group(row), origins[i])
            for i, (_, row) in enumerate(rows)
        ]
        extra = sorted({key for _, row in rows for key in row} - _READ)
        notes = [f"columns not read: {', '.join(extra)}"] if extra else []
        ignored = [n for n in files.names if n not in seen and n != prefix + MANIFEST]
        return Listing(samples, Schema((label,)), ignored, notes=notes)

    def write(self, table: Table, folder: Path) -> None:
        empty_folder(folder)
        labels, parts, classes = table.labels(), table.part_of(), table.classes()
        minted = set(table.origins.get("minted", ()))
        lines = []
        for row in range(len(table)):
            name = f"images/{row:07d}.png"
            write_png(folder / name, table.images[row])
            line: dict[str, Any] = {"file_name": name, "label": classes[labels[row]]}
            if parts[row] != "all":
                line["split"] = str(parts[row])
            if table.groups is not None:
                line["group"] = str(table.groups[row])
            line["origin"] = "minted" if row in minted else "real"
            lines.append(json.dumps(line, ensure_ascii=False))
        (folder / MANIFEST).write_text("\n".join(lines) + "\n", encoding="utf-8")


Row = tuple[str, Mapping[str, Any]]


def _rows(files: Files, name: str) -> list[Row]:
    if name not in files.sizes:
        raise DataError("a manifest is called metadata.jsonl", str(files.location), "add it")
    try:
        # splitlines() would also cut at separators that JSON strings may hold
        lines = files.read(name).decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(name, str(error), "write it as UTF-8") from None
    rows: list[Row] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{name} line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _bad(where, f"{error}", "write one JSON object a line") from None
        if not isinstance(row, dict):
            raise _bad(where, single_line(line, 60), "write one JSON object a line")
        rows.append((where, row))
    if not rows:
        raise _bad(name, "no line", "list the images")
    return rows


def _bad(where: str, found: str, remedy: str) -> DataError:
    return DataError(
        "a manifest has one JSON object a line with file_name and label",
        f"{found} in {where}",
        remedy,
    )


def _file_name(row: Mapping[str, Any], where: str) -> str:
    name = row.get("file_name")
    if not isinstance(name, str) or not name:
        raise _bad(where, f"file_name {name!r}", "name the image, relative to the manifest")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise _bad(where, f"file_name {single_line(name, 80)}", "name a file below the manifest")
    return str(path)


def _label(row: Mapping[str, Any], where: str) -> str:
    label = row.get("label")
    if isinstance(label, bool) or not isinstance(label, str | int):
        raise _bad(
            where,
            f"label {label!r}",
            "give a class name, or read the folders with format='imagefolder' "
            "(--format imagefolder)",
        )
    return str(label)


def _parts(rows: list[Row]) -> list[str]:
    with_split = [row for _, row in rows if row.get("split") is not None]
    if not with_split:
        return ["all"] * len(rows)
    parts = []
    for where, row in rows:
        part = SPLIT_NAMES.get(str(row.get("split")).lower())
        if part is None:
            raise _bad(where, f"split {row.get('split')!r}", "write train, validation or test")
        parts.append(part)
    return parts


def _group(row: Mapping[str, Any]) -> str | None:
    for key in _GROUPS:
        if row.get(key) is not None:
            return str(row[key])
    return None


def _origin(row: Mapping[str, Any], where: str) -> str:
    origin = row.get("origin", "real")
    if origin not in _ORIGINS:
        raise _bad(where, f"origin {origin!r}", "write real or minted")
    return str(origin)

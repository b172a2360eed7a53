"""`metadata.jsonl` beside images: one JSON object a line says what each image is.

The one layout that holds everything. Beside it, `schema.json` lists the aspects
(`Schema.to_plain`); then every line has a value for each of them, under its name:

    category     the name of the class
    vector       a list of numbers, or a mapping from component to number
    landmarks    a list of [x, y, visibility] in the order of the points, or a mapping from point
                 to that; [x, y] is visible, and null is not labelled
    mask         a file: a grey or palette image whose numbers are the classes' indices
    map          a file: an image of 8 or 16 bits, or a float32 `.npy` of shape (channels, H, W)

Without `schema.json`, `label` is read, and `landmarks` (a mapping names its points, a list does
not) and `mask` (classes by the numbers found) if they are there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from augmint.aspects.base import Aspect, Schema
from augmint.aspects.landmarks import Landmarks
from augmint.aspects.sides import pairs_of, reference_of
from augmint.core.errors import DataError, nearest, single_line
from augmint.core.registry import FORMATS
from augmint.data.formats.annotation import (
    SCHEMA,
    MapFile,
    MaskFile,
    bad,
    decimal,
    inner_path,
    number,
    points_of,
    read_schema,
    read_text,
    write_schema,
)
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
from augmint.data.formats.mask_classes import found_mask

if TYPE_CHECKING:
    import numpy.typing as npt

    from augmint.data.archives import Files
    from augmint.data.table import Table

MANIFEST = "metadata.jsonl"
LINE_LIMIT = 1 << 32
_GROUPS = ("group", "subject")
_READ = {"file_name", "split", "origin", *_GROUPS}
_ORIGINS = ("real", "minted")
_POINTS, _MASK = "landmarks", "mask"
"""What is read beside the label where there is no schema."""


@FORMATS.register("manifest")
@dataclass(frozen=True)
class Manifest(Format):
    """Images listed in `metadata.jsonl` with their annotations.

    Keys: `file_name` (relative to the manifest) and one for each aspect of `schema.json`, or
    `label`; optional `split` (train, val, test …), `group` or `subject`, `origin` ("real",
    "minted"). Other keys are left out and listed. Rows keep the order of the lines.

    Example:
        >>> import tempfile
        >>> from augmint.data.archives import open_files
        >>> rows = {"file_name": "a.png", "label": "cat"}, {"file_name": "b.png", "label": "dog"}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, MANIFEST).write_text("\\n".join(map(json.dumps, rows)))
        ...     _ = [Path(folder, name).touch() for name in ("a.png", "b.png")]
        ...     listing = Manifest().read(open_files(Path(folder)))
        >>> [(s.name, s.aspects) for s in listing.samples]
        [('a.png', {'label': 0}), ('b.png', {'label': 1})]
    """

    priority: ClassVar[int] = 20

    def detect(self, files: Files) -> str | None:
        prefix = wrapper(files.names)
        if prefix + MANIFEST not in files.sizes:
            return None
        beside = f" with {SCHEMA}" if prefix + SCHEMA in files.sizes else ""
        return f"a manifest: {prefix}{MANIFEST}{beside}"

    def read(self, files: Files) -> Listing:
        prefix = wrapper(files.names)
        rows = _rows(files, prefix + MANIFEST)
        names = [prefix + inner_path(row.get("file_name"), where) for where, row in rows]
        seen: set[str] = set()
        for (where, _), name in zip(rows, names, strict=True):
            if name in seen or name not in files.sizes:
                fault = "listed twice" if name in seen else "missing"
                raise _bad(where, f"{single_line(name, 80)}, {fault}", "correct the line")
            seen.add(name)
        parts, origins = _parts(rows), [_origin(row, where) for where, row in rows]
        schema = read_schema(files, prefix)
        used: set[str] = set()
        if schema is None:
            schema, values = _undeclared(files, prefix, rows, used)
        else:
            values = [_declared(schema, files, prefix, row, where, used) for where, row in rows]
        samples = [
            Sample(names[i], values[i], parts[i], _group(row), origins[i], where)
            for i, (where, row) in enumerate(rows)
        ]
        read = _READ | {a.name for a in schema}
        extra = sorted({key for _, row in rows for key in row} - read)
        notes = [f"columns not read: {', '.join(extra)}"] if extra else []
        rest = {prefix + MANIFEST, prefix + SCHEMA} | seen | used
        return Listing(samples, schema, [n for n in files.names if n not in rest], notes=notes)

    def write(self, table: Table, folder: Path) -> None:
        empty_folder(folder)
        parts = table.part_of()
        minted = set(table.origins.get("minted", ()))
        write_schema(table.schema, folder)
        with (folder / MANIFEST).open("w", encoding="utf-8") as lines:
            for row in range(len(table)):
                name = f"images/{row:07d}.png"
                write_png(folder / name, table.images[row])
                line: dict[str, Any] = {"file_name": name}
                for aspect in table.schema:
                    value = table.values[aspect.name][row]
                    line[aspect.name] = write_value(
                        aspect, value, folder, f"{aspect.name}/{row:07d}"
                    )
                if parts[row] != "all":
                    line["split"] = str(parts[row])
                if table.groups is not None:
                    line["group"] = str(table.groups[row])
                line["origin"] = "minted" if row in minted else "real"
                lines.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")


def write_value(aspect: Aspect, value: Any, folder: Path, name: str) -> Any:
    """Return one stored value as a line of a manifest has it.

    Masks become files `.png` and maps `.npy`; a map whose numbers are those of an image of 8 bits
    becomes a `.png` too.

    Args:
        aspect: of the value.
        value: as it is stored.
        folder: of the manifest.
        name: of the file below it, without a suffix.

    Example:
        >>> from augmint.aspects.vector import Vector
        >>> pose = Vector("pose", ("yaw", "roll"))
        >>> write_value(pose, np.array([0.1, 3.0], np.float32), Path("."), "pose/0000000")
        [0.1, 3]
    """
    if aspect.flat:
        return aspect.show(value) if aspect.kind == "category" else _listed(np.asarray(value))
    return _FILE_WRITERS[aspect.kind](np.asarray(value), folder, name)


def _listed(value: npt.NDArray[Any]) -> Any:
    if value.ndim:
        return [_listed(v) for v in value]
    short = decimal(value)
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def _write_mask(value: npt.NDArray[Any], folder: Path, name: str) -> str:
    write_png(folder / f"{name}.png", value.astype(np.uint8)[None])
    return f"{name}.png"


def _write_map(value: npt.NDArray[Any], folder: Path, name: str) -> str:
    if value.shape[0] in (1, 3) and np.isin(value, np.arange(256)).all():
        write_png(folder / f"{name}.png", value.astype(np.uint8))
        return f"{name}.png"
    (folder / f"{name}.npy").parent.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{name}.npy", value.astype("<f4"), allow_pickle=False)
    return f"{name}.npy"


_FILE_WRITERS = {"mask": _write_mask, "map": _write_map}

Row = tuple[str, Mapping[str, Any]]


def _rows(files: Files, name: str) -> list[Row]:
    return list(_lines(files, name))


def _lines(files: Files, name: str) -> Iterator[Row]:
    if name not in files.sizes:
        raise DataError("a manifest is called metadata.jsonl", str(files.location), "add it")
    # splitlines() would also cut at separators that JSON strings may hold
    lines = read_text(files, name, LINE_LIMIT).split("\n")
    count = 0
    for at, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{name} line {at}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _bad(where, f"{error}", "write one JSON object a line") from None
        if not isinstance(row, dict):
            raise _bad(where, single_line(line, 60), "write one JSON object a line")
        count += 1
        yield where, row
    if not count:
        raise _bad(name, "no line", "list the images")


def _bad(where: str, found: str, remedy: str) -> DataError:
    rule = "a manifest has one JSON object a line with file_name and a value for each aspect"
    return bad(rule, found, where, remedy)


def _declared(
    schema: Schema,
    files: Files,
    prefix: str,
    row: Mapping[str, Any],
    where: str,
    used: set[str],
) -> dict[str, Any]:
    """The values of one line; `used` collects the files they lie in."""
    values = {}
    for aspect in schema:
        if aspect.name in _READ:
            raise _bad(f"{prefix}{SCHEMA}", f"an aspect called {aspect.name}", "rename it")
        if aspect.name not in row:
            raise _bad(where, f"no {single_line(aspect.name, 60)}", f"add it, or edit {SCHEMA}")
        value = _READERS[aspect.kind](aspect, row[aspect.name], where)
        if isinstance(value, MaskFile | MapFile):
            value = type(value)(**{**vars(value), "name": prefix + value.name})
            if value.name not in files.sizes:
                shown = f"{aspect.name} {single_line(value.name, 80)}, which is missing"
                raise _bad(where, shown, "add the file, or remove the line")
            used.add(value.name)
        values[aspect.name] = value
    return values


def _read_category(aspect: Any, found: Any, where: str) -> int:
    name = str(found) if isinstance(found, int) and not isinstance(found, bool) else found
    if not isinstance(name, str) or name not in aspect.classes:
        shown = single_line(f"{aspect.name} {found!r}", 80)
        raise _bad(where, shown, nearest(str(name)[:80], aspect.classes))
    return int(aspect.classes.index(name))


def _read_vector(aspect: Any, found: Any, where: str) -> Any:
    listed = _in_order(found, aspect.components, aspect.name, where)
    named = zip(listed, aspect.components, strict=True)
    return np.asarray([number(v, where, f"{aspect.name}.{c}") for v, c in named], np.float64)


def _read_landmarks(aspect: Any, found: Any, where: str) -> Any:
    rows = []
    for point, name in zip(
        _in_order(found, aspect.points, aspect.name, where), aspect.points, strict=True
    ):
        if point is None:
            rows.append((0, 0, 0))
        elif isinstance(point, list) and len(point) in (2, 3):
            rows.append((*point, 2)[:3])
        else:
            shown = single_line(f"{name} {point!r}", 80)
            raise _bad(where, shown, "write [x, y, visibility], or null where not labelled")
    return points_of(rows, where, aspect.points)


def _in_order(found: Any, names: Sequence[str], field: str, where: str) -> Sequence[Any]:
    """A list of values, or the values of a mapping in the order of `names`."""
    if isinstance(found, dict):
        if unknown := set(found) - set(names):
            shown = f"{field} of {single_line(sorted(unknown)[0], 60)}"
            raise _bad(where, shown, nearest(sorted(unknown)[0][:60], names))
        found = [found.get(name) for name in names]
    if not isinstance(found, list) or len(found) != len(names):
        shown = f"{len(found)} values" if isinstance(found, list) else f"{found!r}"[:60]
        raise _bad(where, f"{field} of {shown}", f"write {len(names)}, one for each name")
    return found


def _read_mask(aspect: Any, found: Any, where: str) -> MaskFile:
    return MaskFile(inner_path(found, where, aspect.name))


def _read_map(aspect: Any, found: Any, where: str) -> MapFile:
    return MapFile(inner_path(found, where, aspect.name), aspect.channels)


_READERS = {
    "category": _read_category,
    "vector": _read_vector,
    "landmarks": _read_landmarks,
    "mask": _read_mask,
    "map": _read_map,
}


def _undeclared(
    files: Files, prefix: str, rows: list[Row], used: set[str]
) -> tuple[Schema, list[dict[str, Any]]]:
    """What can be read without `schema.json`: a label, points without names, masks."""
    keys = {key for _, row in rows for key in row}
    aspects: list[Aspect] = []
    values: list[dict[str, Any]] = [{} for _ in rows]
    if "label" in keys or not keys & {_POINTS, _MASK}:
        label, indices = category([_label(row, where) for where, row in rows])
        aspects.append(label)
        for value, index in zip(values, indices, strict=True):
            value["label"] = int(index)
    if _POINTS in keys:
        names = _point_names([row.get(_POINTS) for _, row in rows])
        pairs, reference = pairs_of(names), reference_of(names)
        aspects.append(Landmarks(_POINTS, names, pairs=pairs, reference=reference))
    if _MASK in keys:
        named = [prefix + inner_path(row.get(_MASK), where, _MASK) for where, row in rows]
        for (where, _), name in zip(rows, named, strict=True):
            if name not in files.sizes:
                raise _bad(where, f"mask {single_line(name, 80)}, missing", "add the file")
        mask, lookup = found_mask(files, named, _MASK)
        aspects.append(mask)
        used.update(named)
        for value, name in zip(values, named, strict=True):
            value[_MASK] = MaskFile(name, lookup)
    for aspect in aspects:
        if isinstance(aspect, Landmarks):
            for value, (where, row) in zip(values, rows, strict=True):
                value[_POINTS] = _read_landmarks(aspect, row.get(_POINTS), where)
    return Schema(tuple(aspects)), values


def _point_names(found: Sequence[Any]) -> tuple[str, ...]:
    """The points that mappings name, in the order in which they come; p0, p1 … of lists."""
    named = dict.fromkeys(n for told in found if isinstance(told, dict) for n in told)
    count = len(found[0]) if isinstance(found[0], list) else 0
    return tuple(named) or tuple(f"p{i}" for i in range(max(1, count)))


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

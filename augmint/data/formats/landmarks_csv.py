"""A table of points: one line an image, x and y of each point in columns.

Columns are recognised by their names, in any case:

    image, file, file_name, filename, path or name      the image, relative to the table or to an
                                                        `images` folder beside it
    x0, y0, x1, y1, …  (or from 1), v0 … if they are there
    eye_x, eye_y, eye_v, …                              named points; the visibility may be missing
    split, part, subset                                 train, val, test …
    group, subject, person, patient, identity           rows of one never stand on two sides
    label, class, category                              the class of the image
    origin                                              real or minted

A column `split_<group>_disjoint`, as `split_person_disjoint`, goes before `split`. An empty x and y
is a point that is not labelled. 68 points without names are those of `face68`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from augmint.aspects.base import Aspect, Schema
from augmint.aspects.landmarks import Landmarks
from augmint.aspects.sides import pairs_of, reference_of
from augmint.aspects.vector import Vector
from augmint.core.errors import DataError, nearest, single_line
from augmint.core.registry import FORMATS
from augmint.data.formats import face68
from augmint.data.formats.annotation import (
    SCHEMA,
    agreed,
    bad,
    declared_classes,
    inner_path,
    only,
    points_of,
    read_schema,
    read_text,
    refusal,
    shifted,
    write_schema,
)
from augmint.data.formats.base import (
    SPLIT_NAMES,
    Format,
    Listing,
    Sample,
    category,
    empty_folder,
    is_image,
    is_junk,
    write_png,
)

if TYPE_CHECKING:
    from augmint.data.archives import Files
    from augmint.data.table import Table

TABLE = "landmarks.csv"
_IMAGES = ("image", "file", "file_name", "filename", "path", "name")
_SPLITS = ("split", "part", "subset")
_GROUPS = ("group", "subject", "person", "patient", "identity")
_LABELS = ("label", "class", "category")
_ORIGINS = ("real", "minted")
_SEEN = {"0": 0, "1": 1, "2": 2, "0.0": 0, "1.0": 1, "2.0": 2}
_HEAD = 1 << 16
_NUMBERED = "\0"
"""Begins the name of a point that has a number alone; no column's name holds it."""

_RULE = "a table of landmarks has a line of column names, then one line an image"


@FORMATS.register("csv")
@dataclass(frozen=True)
class LandmarksCsv(Format):
    """Images and a `.csv` that gives points of each (or numbers: `vector`, and a class).

    Args:
        file: the table, where there are several.
        split: the column that names the part.
        group: the column that names the subject.
        label: the column that names the class.
        vector: columns of numbers that become the aspect `vector`.
        mirrored: those of them whose sign a mirrored image turns round ([]: none); without, that is
            unknown, and flips are refused.
        offset: added to every x and y; 0.5 where the table counts from the centre of the first
            pixel, as this project counts from its corner.

    Example:
        >>> import tempfile
        >>> from augmint.data.archives import open_files
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, TABLE).write_text("image,nose_x,nose_y\\na.png,1,2\\nb.png,,\\n")
        ...     _ = [Path(folder, name).touch() for name in ("a.png", "b.png")]
        ...     listing = LandmarksCsv().read(open_files(Path(folder)))
        >>> [s.aspects["landmarks"].tolist() for s in listing.samples]
        [[[1.0, 2.0, 2.0]], [[0.0, 0.0, 0.0]]]
    """

    file: str = ""
    split: str = ""
    group: str = ""
    label: str = ""
    vector: tuple[str, ...] = ()
    mirrored: tuple[str, ...] | None = None
    offset: float = 0.0
    priority: ClassVar[int] = 16

    def detect(self, files: Files) -> str | None:
        found = [(n, c) for n in self._tables(files) if (c := self._columns(_head(files, n), n))]
        pointed = [(n, c) for n, c in found if c.points]
        if len(pointed) != 1 or not any(is_image(n) for n in files.names):
            return None
        name, columns = pointed[0]
        return f"a table of landmarks: {single_line(name, 80)}, {columns.told()}"

    def read(self, files: Files) -> Listing:
        name = self._table(files)
        lines = _lines(files, name)
        columns = self._columns(next(lines, (0, []))[1], name)
        if columns is None:
            raise bad(_RULE, "no column of images", name, f"name one {', '.join(_IMAGES)}")
        if not (columns.points or self.vector or columns.label is not None):
            raise bad(_RULE, "no points, no vector, no class", name, "name points as x0, y0, …")
        place = _places(files, name)
        names: list[str] = []
        rows: list[list[str]] = []
        wheres: list[str] = []
        seen: dict[str, int] = {}
        for at, cells in lines:
            where = f"{name} line {at}"
            if len(cells) != len(columns.names):
                found = f"{len(cells)} cells, {len(columns.names)} columns"
                raise bad(_RULE, found, where, "complete the line")
            image = place(inner_path(cells[columns.image], where, "image"), where)
            if image in seen:
                shown = f"{single_line(image, 80)}, also in line {seen[image]}"
                raise bad("an image has one line", shown, where, "remove one of them")
            seen[image] = at
            names.append(image)
            rows.append(cells)
            wheres.append(where)
        if not rows:
            raise bad(_RULE, "no line", name, "list the images")
        alone = columns.label is not None and len({r[columns.label] for r in rows}) < 2
        if alone and columns.points and not self.label:  # one class tells nothing
            columns = replace(columns, label=None)
        prefix = name[: len(name) - len(PurePosixPath(name).name)]
        declared = read_schema(files, prefix)
        classes = declared_classes(declared, "category")
        schema, values = self._aspects(columns, rows, wheres, classes)
        schema, called = agreed(schema, declared, prefix + SCHEMA)
        parts = _parts(columns.cells(rows, columns.split), wheres)
        groups = columns.cells(rows, columns.group)
        origins = columns.cells(rows, columns.origin)
        samples = []
        for i, image in enumerate(names):
            origin = origins[i] or "real"
            if origin not in _ORIGINS:
                raise bad("origin is real or minted", f"{origin!r}", wheres[i], "correct it")
            told = {called[n]: v for n, v in values[i].items()}
            samples.append(Sample(image, told, parts[i], groups[i], origin, wheres[i]))
        used = {name, prefix + SCHEMA, *names}
        ignored = [n for n in files.names if n not in used]
        return Listing(samples, schema, ignored, notes=columns.notes(self.vector))

    def write(self, table: Table, folder: Path) -> None:
        held = only(table, ("landmarks", "category"), "csv")
        aspect = held.get("landmarks")
        if not isinstance(aspect, Landmarks):
            raise refusal("csv", "landmarks", "none")
        odd = [n for n in aspect.points if not re.fullmatch(r"\S(.*\S)?", n)]
        if odd:
            raise refusal("csv", "points whose names have no space at an end", repr(odd[0]))
        empty_folder(folder)
        write_schema(table.schema, folder)
        values, parts = table.values[aspect.name], table.part_of()
        hidden = bool((values[..., 2] == 1).any())
        label = held.get("category")
        minted = set(table.origins.get("minted", ()))
        head = ["image", "split", "origin"]
        head += ["group"] if table.groups is not None else []
        head += ["label"] if label is not None else []
        ends = ("x", "y", "v") if hidden else ("x", "y")
        head += [f"{point}_{end}" for point in aspect.points for end in ends]
        with (folder / TABLE).open("w", encoding="utf-8", newline="") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(head)
            for row in range(len(table)):
                name = f"{row:07d}.png"
                write_png(folder / "images" / name, table.images[row])
                part = "" if parts[row] == "all" else str(parts[row])
                line = [name, part, "minted" if row in minted else "real"]
                line += [str(table.groups[row])] if table.groups is not None else []
                line += [label.show(table.values[label.name][row])] if label is not None else []
                out.writerow(line + self._cells(values[row], hidden))

    def _cells(self, points: Any, hidden: bool) -> list[str]:
        cells = []
        for x, y, v in points:
            cells += [repr(shifted(c, self.offset)) if v > 0 else "" for c in (x, y)]
            cells += [str(int(v))] if hidden else []
        return cells

    def _tables(self, files: Files) -> list[str]:
        found = [n for n in files.names if n.lower().endswith(".csv") and not is_junk(n)]
        return [n for n in found if not self.file or PurePosixPath(n).name == self.file]

    def _table(self, files: Files) -> str:
        found = [n for n in self._tables(files) if self._columns(_head(files, n), n)]
        if len(found) != 1:
            shown = ", ".join(single_line(n, 60) for n in found[:3]) or "none with images"
            raise DataError(
                "one .csv lists the images",
                f"{shown} in {files.location}",
                "name it: --format '{name: csv, file: landmarks.csv}'",
            )
        return found[0]

    def _columns(self, head: Sequence[str], name: str) -> _Columns | None:
        names = [cell.strip() for cell in head]
        small = [n.lower() for n in names]
        image = next((small.index(n) for n in _IMAGES if n in small), None)
        if image is None:
            return None
        if len(set(names)) != len(names):
            twice = next(n for n in names if names.count(n) > 1)
            raise bad(_RULE, f"two columns {single_line(twice, 60)!r}", name, "rename one")
        group = self._asked(self.group, names, small, _GROUPS, name)
        apart = f"split_{small[group]}_disjoint" if group is not None else ""
        split = self._asked(self.split, names, small, (apart, *_SPLITS), name)
        label = self._asked(self.label, names, small, _LABELS, name)
        origin = small.index("origin") if "origin" in small else None
        for column in self.vector:
            self._asked(column, names, small, (), name)
        points = _points(names)
        return _Columns(names, image, points, split, group, label, origin)

    @staticmethod
    def _asked(
        asked: str, names: Sequence[str], small: Sequence[str], known: Sequence[str], table: str
    ) -> int | None:
        if asked:
            if asked not in names:
                raise bad("a column is one of the table's", asked, table, nearest(asked, names))
            return names.index(asked)
        return next((small.index(n) for n in known if n in small), None)

    def _aspects(
        self,
        columns: _Columns,
        rows: list[list[str]],
        wheres: list[str],
        classes: Sequence[str] | None,
    ) -> tuple[Schema, list[dict[str, Any]]]:
        aspects: list[Aspect] = []
        values: list[dict[str, Any]] = [{} for _ in rows]
        if columns.label is not None:
            label, indices = category([row[columns.label] for row in rows], classes)
            aspects.append(label)
            for value, index in zip(values, indices, strict=True):
                value["label"] = int(index)
        if columns.points:
            aspect = columns.landmarks()
            aspects.append(aspect)
            for value, row, where in zip(values, rows, wheres, strict=True):
                value["landmarks"] = self._points(columns, aspect.points, row, where)
        if self.vector:
            aspects.append(Vector("vector", self.vector, mirrored=self.mirrored))
            at = [columns.names.index(n) for n in self.vector]
            for value, row, where in zip(values, rows, wheres, strict=True):
                cells = [_number(row[i], where, columns.names[i]) for i in at]
                value["vector"] = np.asarray(cells, np.float64)
        return Schema(tuple(aspects)), values

    def _points(
        self, columns: _Columns, names: Sequence[str], row: list[str], where: str
    ) -> np.ndarray[Any, Any]:
        points: list[tuple[float, float, int]] = []
        for name, (x, y, v) in zip(names, columns.points.values(), strict=True):
            seen = 2 if v is None else _SEEN.get(row[v].strip(), -1)
            if seen < 0:
                shown = f"{columns.names[v or 0]} {row[v or 0]!r}"
                raise bad("visibility is 0, 1 or 2", shown, where, "correct it")
            if row[x].strip() == "" and row[y].strip() == "" and (v is None or seen == 0):
                points.append((0.0, 0.0, 0))
                continue
            at = [_number(row[i], where, f"{columns.names[i]} of {name}") for i in (x, y)]
            points.append((at[0], at[1], seen))
        return points_of(points, where, names, self.offset)


@dataclass(frozen=True)
class _Columns:
    """Where the columns of a table stand; `points` maps a name to its x, y and visibility."""

    names: list[str]
    image: int
    points: dict[str, tuple[int, int, int | None]]
    split: int | None
    group: int | None
    label: int | None
    origin: int | None

    def told(self) -> str:
        """What was recognised, for people."""
        named = [f"{len(self.points)} points"]
        roles = (("parts", self.split), ("subjects", self.group), ("classes", self.label))
        named += [f"{what} by {self.names[at]}" for what, at in roles if at is not None]
        return single_line(", ".join(named), 120)

    def notes(self, vector: Sequence[str]) -> list[str]:
        """What was not read."""
        read = {self.image, self.split, self.group, self.label, self.origin}
        read |= {i for point in self.points.values() for i in point}
        rest = [n for i, n in enumerate(self.names) if i not in read and n not in vector]
        return [f"columns not read: {single_line(', '.join(rest), 200)}"] if rest else []

    def cells(self, rows: list[list[str]], column: int | None) -> list[str | None]:
        """The cells of a column; None where it is empty or there is none."""
        return [None if column is None else row[column].strip() or None for row in rows]

    def landmarks(self) -> Landmarks:
        """The aspect, its pairs and reference by names; 68 numbered points are those of a face."""
        names = tuple(self.points)
        numbered = all(n.startswith(_NUMBERED) for n in names)
        if (numbered and len(names) == len(face68.POINTS)) or names == face68.POINTS:
            points, reference = face68.POINTS, face68.REFERENCE
            return Landmarks(
                "landmarks", points, (1, 1), pairs_of(points), face68.SKELETON, reference
            )
        points = tuple(f"p{n[1:]}" for n in names) if numbered else names
        return Landmarks("landmarks", points, (1, 1), pairs_of(points), (), reference_of(points))


def _points(names: Sequence[str]) -> dict[str, tuple[int, int, int | None]]:
    """Point names in their order, each with the columns of x, y and visibility."""
    at = {n.lower() if re.fullmatch(r"[XYVxyv]\d+", n) else n: i for i, n in enumerate(names)}
    numbers = [int(m[1]) for n in at if (m := re.fullmatch(r"x(\d{1,6})", n)) and f"y{m[1]}" in at]
    numbers.sort()
    if numbers and numbers == list(range(numbers[0], numbers[0] + len(numbers))):
        return {f"{_NUMBERED}{n}": (at[f"x{n}"], at[f"y{n}"], at.get(f"v{n}")) for n in numbers}
    named = [n[:-2] for n in names if n[-2:].lower() == "_x" and len(n) > 2]
    found: dict[str, tuple[int, int, int | None]] = {}
    for name in named:
        x, y = at[next(n for n in (f"{name}_x", f"{name}_X") if n in at)], None
        y = next((at[n] for n in (f"{name}_y", f"{name}_Y") if n in at), None)
        if y is not None:
            v = next((at[n] for n in (f"{name}_v", f"{name}_V") if n in at), None)
            found[name] = (x, y, v)
    return found


def _head(files: Files, name: str) -> list[str]:
    """The column names of a table, or none where it cannot be read."""
    if files.sizes[name] > 1 << 28:
        return []
    try:
        text = files.read(name)[:_HEAD].decode("utf-8-sig", "replace")
        return next(csv.reader(io.StringIO(text.split("\n", 1)[0])), [])
    except (OSError, csv.Error):
        return []


def _lines(files: Files, name: str) -> Any:
    reader = csv.reader(io.StringIO(read_text(files, name), newline=""), strict=True)
    try:
        for cells in reader:
            if cells and any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        where = f"{name} line {reader.line_num}"
        raise bad(_RULE, str(error), where, "write it as comma-separated values") from None


def _places(files: Files, table: str) -> Callable[[str, str], str]:
    """A function from an image's name in the table to its name among the files."""
    prefix = table[: len(table) - len(PurePosixPath(table).name)]

    def find(name: str, where: str) -> str:
        for folder in (prefix, f"{prefix}images/"):
            if folder + name in files.sizes:
                return folder + name
        raise bad(
            "every image of the table is there",
            f"{single_line(name, 80)}, missing",
            where,
            "add the file, or remove the line",
        )

    return find


def _number(cell: str, where: str, column: str) -> float:
    try:
        found = float(cell) if len(cell) < 64 and "_" not in cell else float("nan")
    except ValueError:
        found = float("nan")
    if not np.isfinite(found):
        shown = single_line(f"{column} {cell!r}", 80)
        raise bad("a cell of numbers holds a finite number", shown, where, "correct the cell")
    return found


def _parts(cells: list[str | None], wheres: list[str]) -> list[str]:
    if not any(cells):
        return ["all"] * len(cells)
    parts = []
    for cell, where in zip(cells, wheres, strict=True):
        part = SPLIT_NAMES.get((cell or "").lower())
        if part is None:
            raise bad("a split is train, validation or test", f"{cell!r}", where, "correct it")
        parts.append(part)
    return parts

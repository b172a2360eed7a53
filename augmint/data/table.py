"""The memory-mapped uint8 table: every image of a set decoded once, every annotation beside it.

On disk a table is a folder, written elsewhere and renamed into place:

    images.npy           uint8 (N, C, H, W), mapped, never loaded as a whole
    values/<aspect>.npy  what is known of each image, in the aspect's stored form
    table.json           schema, names, parts, groups, origins, quarantined files, rules, digest

Arrays are read with `allow_pickle=False`; a damaged table is an error, never a guess.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from augmint.aspects.base import Schema
from augmint.aspects.category import LABEL
from augmint.core.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy.typing as npt

    from augmint.core.types import ByteArray, IntArray, Shape
    from augmint.data.batch import AnnotatedBatch

VERSION = 1
PARTS = ("train", "validation", "test", "all")
"""The names of parts, in their order; a set without split folders has the one part `all`."""

EVERYTHING = "all"
"""What a set without classes is called where sets with classes name one."""

_BLOCK = 16 << 20


class Sliceable(Protocol):
    """Images that are given block by block: an array, or anything that slices into arrays."""

    @property
    def shape(self) -> tuple[int, ...]:
        """`(N, C, H, W)`."""
        ...

    def __getitem__(self, rows: slice) -> ByteArray:
        """Return uint8 images `(rows, C, H, W)`."""
        ...


@dataclass(frozen=True)
class TableNotes:
    """What is known of a table beside images, values, names and parts.

    Args:
        groups: int64 `(N,)`, rows of one subject share a number, or None where unknown.
        origins: "real" or "minted" to the rows of that origin; empty means all real.
        quarantined: files left out, each with `name` and `reason`.
        rules: how it was read: layout, conversions, ignored files.
    """

    groups: IntArray | None = None
    origins: Mapping[str, IntArray] = field(default_factory=dict)
    quarantined: Sequence[Mapping[str, str]] = ()
    rules: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Table:
    """Images with their annotations; opened by `Table.open`, written by `Table.write`.

    Args:
        folder: where it lies.
        schema: its aspects.
        shape: (C, H, W).
        images: uint8 `(N, C, H, W)`, mapped read-only.
        values: aspect name to stored values, N rows each.
        names: the source file of each row.
        parts: part name to int64 rows; disjoint, together all rows.
        groups: int64 `(N,)` subject numbers, or None.
        origins: origin to int64 rows ("real", "minted").
        quarantined: files left out, each with `name` and `reason`.
        digest: SHA-256 of pixels, values and schema.
        rules: how it was read.

    Example:
        >>> from augmint.aspects.category import Category
        >>> black, label = np.zeros((3, 1, 4, 4), np.uint8), Category("label", ("cat", "dog"))
        >>> values, parts = {"label": np.array([0, 1, 1])}, {"train": [0, 1], "test": [2]}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     place = Path(folder, "table")
        ...     table = Table.write(place, black, values, Schema((label,)), ["a", "b", "c"], parts)
        ...     table.part_of().tolist(), table.batch([2]).aspects["label"].tolist()
        (['train', 'train', 'test'], [1])
    """

    folder: Path
    schema: Schema
    shape: Shape
    images: ByteArray
    values: dict[str, npt.NDArray[Any]]
    names: list[str]
    parts: dict[str, IntArray]
    groups: IntArray | None
    origins: dict[str, IntArray]
    quarantined: list[dict[str, str]]
    digest: str
    rules: dict[str, Any]

    def __len__(self) -> int:
        return int(self.images.shape[0])

    def batch(self, rows: npt.ArrayLike, device: str = "cpu") -> AnnotatedBatch:
        """Return the given rows as a batch on `device`; only these rows are read.

        Raises:
            UsageError: if a row is outside 0 … N-1.
        """
        import torch

        from augmint.data.batch import AnnotatedBatch

        chosen = np.asarray(rows, dtype=np.int64).reshape(-1)
        if len(chosen) and not (chosen.min() >= 0 and chosen.max() < len(self)):
            bad = chosen[(chosen < 0) | (chosen >= len(self))][0]
            raise UsageError(f"rows are 0 to {len(self) - 1}", int(bad), "pass rows of this table")
        images = torch.from_numpy(np.asarray(self.images[chosen])).to(device)
        aspects = {
            name: torch.from_numpy(np.asarray(v[chosen])).to(device)
            for name, v in self.values.items()
        }
        return AnnotatedBatch(images, aspects, torch.from_numpy(chosen).to(device))

    def labels(self, aspect: str = LABEL) -> IntArray:
        """Return the class index of every row, int64 `(N,)`.

        Raises:
            UsageError: if the schema has no such aspect or it is not a category.
        """
        if self.schema[aspect].kind != "category":
            raise UsageError(
                "labels are the values of a category",
                f"{aspect}, a {self.schema[aspect].kind}",
                f"name one of: {', '.join(a.name for a in self.schema.of_kind('category'))}",
            )
        return np.asarray(self.values[aspect], dtype=np.int64)

    def classes(self, aspect: str = LABEL) -> tuple[str, ...]:
        """Return the class names of a category."""
        return tuple(getattr(self.schema[aspect], "classes", ()))

    def strata(self) -> IntArray:
        """Return the group that rows are drawn evenly from: the class `label`, else 0 for all."""
        return self.labels() if LABEL in self.schema else np.zeros(len(self), dtype=np.int64)

    def strata_names(self) -> tuple[str, ...]:
        """Return the names of `strata`: the classes, or the one name "all"."""
        return self.classes() if LABEL in self.schema else (EVERYTHING,)

    def part_of(self) -> npt.NDArray[np.str_]:
        """Return the part of every row, `(N,)` strings."""
        names = np.empty(len(self), dtype="U10")
        for part, rows in self.parts.items():
            names[rows] = part
        return names

    def verify(self) -> None:
        """Raise `DataError` if pixels, values or schema no longer match the digest."""
        found = _digest(self.images, self.values, self.schema)
        if found != self.digest:
            raise _broken(self.folder, f"content {found[:12]}, expected {self.digest[:12]}")

    @staticmethod
    def write(
        folder: Path,
        images: Sliceable,
        values: Mapping[str, npt.NDArray[Any]],
        schema: Schema,
        names: Sequence[str],
        parts: Mapping[str, IntArray],
        notes: TableNotes | None = None,
    ) -> Table:
        """Write a table beside `folder`, rename it into place and open it.

        Raises:
            DataError: if rows do not agree in number or a value is out of its aspect's range.
            UsageError: if `folder` holds another table already.
        """
        from augmint.core.runs import commit_folder

        notes = notes or TableNotes()
        _check_rows(images.shape, values, schema, names, parts)
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            _write_images(temporary / "images.npy", images)
            (temporary / "values").mkdir()
            for name, column in values.items():
                np.save(temporary / "values" / f"{name}.npy", column, allow_pickle=False)
            stored = np.load(temporary / "images.npy", mmap_mode="r", allow_pickle=False)
            plain = _to_plain(stored, values, schema, names, parts, notes)
            (temporary / "table.json").write_text(plain, encoding="utf-8")
            del stored
            temporary.chmod(0o755)
            commit_folder(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        table = Table.open(folder)
        if table.digest != json.loads(plain)["digest"]:
            raise UsageError("a table is written once", str(folder), "choose another folder")
        return table

    @staticmethod
    def open(folder: Path) -> Table:
        """Open a table; its images are mapped, not read.

        Raises:
            DataError: if a file is missing, damaged or of another version.
        """
        try:
            plain = json.loads((folder / "table.json").read_text(encoding="utf-8"))
            if plain.get("version") != VERSION:
                raise _broken(folder, f"version {plain.get('version')}, not {VERSION}")
            schema = Schema.from_plain(plain["schema"])
            images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
            values = {
                a.name: np.load(folder / "values" / f"{a.name}.npy", allow_pickle=False)
                for a in schema
            }
            names = list(plain["names"])
            parts = {p: np.asarray(r, dtype=np.int64) for p, r in plain["parts"].items()}
            origins = {o: np.asarray(r, dtype=np.int64) for o, r in plain["origins"].items()}
            groups = plain["groups"]
            _check_rows(images.shape, values, schema, names, parts)
            return Table(
                folder=folder,
                schema=schema,
                shape=(images.shape[1], images.shape[2], images.shape[3]),
                images=images,
                values=values,
                names=names,
                parts=parts,
                groups=None if groups is None else np.asarray(groups, dtype=np.int64),
                origins=origins,
                quarantined=list(plain["quarantined"]),
                digest=str(plain["digest"]),
                rules=dict(plain["rules"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
            raise _broken(folder, f"{type(error).__name__}: {error}") from None


def _broken(folder: Path, reason: str) -> DataError:
    return DataError(
        "a table must be complete", f"{folder} ({reason})", "delete this folder and read again"
    )


def _check_rows(
    shape: tuple[int, ...],
    values: Mapping[str, npt.NDArray[Any]],
    schema: Schema,
    names: Sequence[str],
    parts: Mapping[str, IntArray],
) -> None:
    if len(shape) != 4 or not 1 <= shape[1] <= 4:
        raise DataError("images are (N, C, H, W) with C from 1 to 4", shape, "reshape them")
    n = shape[0]
    if len(names) != n:
        raise DataError(f"each of {n} images has a name", len(names), "give one name a row")
    for aspect in schema:
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", aspect.name):
            raise DataError(
                "aspect names are letters, digits, dot, dash, underscore", aspect.name, "rename it"
            )
        column = values.get(aspect.name)
        if column is None:
            raise DataError("every aspect has values", f"none for {aspect.name}", "add them")
        storage, dtype = aspect.storage((shape[1], shape[2], shape[3]))
        if column.shape != (n, *storage) or column.dtype != dtype:
            raise DataError(
                f"{aspect.name} is {dtype} of shape {(n, *storage)}",
                f"{column.dtype} of shape {column.shape}",
                "convert the values",
            )
        aspect.check(column)
    rows = np.concatenate([np.empty(0, np.int64), *(np.asarray(r) for r in parts.values())])
    if set(parts) - set(PARTS) or not np.array_equal(np.sort(rows), np.arange(n)):
        raise DataError(
            f"the parts ({', '.join(PARTS)}) hold every row once",
            {p: len(r) for p, r in parts.items()},
            "give every row one part",
        )


def _write_images(path: Path, images: Sliceable) -> None:
    # written, not mapped: a full disk raises an error, where a mapped page would kill the process
    shape = tuple(int(s) for s in images.shape)
    step = max(1, _BLOCK // max(1, int(np.prod(shape[1:]))))
    with path.open("wb") as file:
        head = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, head)
        for start in range(0, shape[0], step):
            block = np.asarray(images[slice(start, min(shape[0], start + step))], dtype=np.uint8)
            if block.shape[1:] != shape[1:]:
                raise DataError(f"images of one table have shape {shape[1:]}", block.shape, "pad")
            file.write(np.ascontiguousarray(block).data)


def _digest(images: ByteArray, values: Mapping[str, npt.NDArray[Any]], schema: Schema) -> str:
    digest = hashlib.sha256(f"{tuple(images.shape)}".encode())
    step = max(1, _BLOCK // max(1, int(np.prod(images.shape[1:]))))
    for start in range(0, len(images), step):
        digest.update(np.ascontiguousarray(images[start : start + step]).data)
    for name in sorted(values):
        column = np.ascontiguousarray(values[name])
        digest.update(f"{name} {column.dtype.str} {column.shape}".encode())
        digest.update(column.tobytes())
    digest.update(json.dumps(schema.to_plain(), sort_keys=True).encode())
    return digest.hexdigest()


def _to_plain(
    images: ByteArray,
    values: Mapping[str, npt.NDArray[Any]],
    schema: Schema,
    names: Sequence[str],
    parts: Mapping[str, IntArray],
    notes: TableNotes,
) -> str:
    origins = dict(notes.origins) or {"real": np.arange(len(names), dtype=np.int64)}
    plain = {
        "version": VERSION,
        "digest": _digest(images, values, schema),
        "shape": list(images.shape),
        "schema": schema.to_plain(),
        "rules": dict(notes.rules),
        "quarantined": [dict(q) for q in notes.quarantined],
        "parts": {p: np.asarray(parts[p]).tolist() for p in PARTS if p in parts},
        "origins": {o: np.asarray(r).tolist() for o, r in origins.items()},
        "groups": None if notes.groups is None else np.asarray(notes.groups).tolist(),
        "names": list(names),
    }
    return json.dumps(plain, ensure_ascii=False, allow_nan=False)

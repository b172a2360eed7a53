"""Writes minted images as an image folder whose manifest says where every image came from.

    FOLDER/<class>/<id>.png     one image; the class name is escaped where a file system needs it,
                                and an XMP packet inside says that it is synthetic
    FOLDER/<class>/001/<id>.png the 10 001st of a class to the 20 000th, and so on
    FOLDER/annotations/<aspect>/<class>/<id>-<aspect>.png   its mask or map
    FOLDER/metadata.jsonl       one line an image: file_name, aspects by name, origin, id, seed …
    FOLDER/schema.json          the aspects, where they are more than a class
    FOLDER/minted.json          counts, curation, schema, provenance, parents, digest
    FOLDER/croissant.json       the same for data catalogues (Croissant 1.1)

The folder appears complete, by one rename, or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from augmint.core.config import fingerprint, to_plain
from augmint.core.errors import DataError, UsageError
from augmint.core.pictures import stored_png
from augmint.core.runs import commit_folder, part_folder, read_json, write_json
from augmint.core.storage import storage_error
from augmint.data.formats.annotation import write_schema
from augmint.data.formats.manifest import write_value
from augmint.minting.curation import summary_of
from augmint.minting.naming import folder_names
from augmint.minting.provenance import (
    CROISSANT,
    XMP_KEYWORD,
    croissant,
    croissant_bytes,
    xmp_packet,
)

if TYPE_CHECKING:
    from augmint.aspects.base import Schema
    from augmint.minting.curation import ClassCount, Minted

MANIFEST = "metadata.jsonl"
SUMMARY = "minted.json"
VERSION = 2

FOLDER = 10_000
"""Images in one folder: the first of a class lie in its own, further ones in 001, 002 … of it."""


def write_minted(
    minted: Minted, folder: Path, schema: Schema, provenance: Mapping[str, Any]
) -> Path:
    """Write minted images, their manifest and their summary, and return the folder.

    Args:
        minted: what `mint` gave.
        folder: new or empty; one that holds this very mint already is left as it is.
        schema: the aspects of `minted.values`.
        provenance: plain values; "generator" (the SHA-256 of its weights) stands beside every
            image, and so does "truncation" (what it acts on and its value), if given; "parents"
            (digests of what the mint was made from) stand in the summary, and "license" (an
            address or an SPDX name), if given, in the Croissant metadata.

    Raises:
        UsageError: if the folder holds anything else, or cannot be written.
    """
    return write_parts([minted], folder, schema, provenance)


def write_parts(
    parts: Iterable[Minted], folder: Path, schema: Schema, provenance: Mapping[str, Any]
) -> Path:
    """Write minted images part by part (`mint_parts`), as `write_minted` writes one.

    Only one part is in memory at a time. The counts of a class stand in its last part.

    Raises:
        UsageError: as `write_minted`; a folder that holds other files is refused before the first
            part is asked for.
    """
    folder = Path(folder)
    _free(folder)
    with building(folder) as temporary:
        writing = _Writing(temporary, schema, provenance)
        with (temporary / MANIFEST).open("wb") as manifest:
            for part in parts:
                writing.add(part, manifest)
        summary = writing.summary(provenance)
        if _holds(folder, summary["digest"]):
            return folder
        write_json(temporary / SUMMARY, summary)
        if any(aspect.kind != "category" for aspect in schema):
            write_schema(schema, temporary)
        size = (temporary / MANIFEST).stat().st_size
        described = croissant(summary, schema, MANIFEST, size)
        (temporary / CROISSANT).write_bytes(croissant_bytes(described))
        commit_folder(temporary, folder)
    return folder


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """Yield a folder beside `folder` to build it in; what is left of it is removed.

    Raises:
        UsageError, or what `core.storage` says: if nothing can be written there.
    """
    temporary = None
    try:
        temporary = part_folder(folder)
        yield temporary
    except OSError as error:
        raise storage_error(error, folder) or UsageError(
            "minted images need a folder that can be written",
            f"{folder} ({error})",
            "choose another (--out DIR)",
        ) from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def read_summary(folder: Path) -> dict[str, Any]:
    """Return `minted.json` of a folder whose manifest is the one that was written.

    Raises:
        DataError: if either file is missing or was altered, or an image is missing.
    """
    summary = read_json(folder / SUMMARY)
    if not isinstance(summary, dict) or summary.get("format") != "augmint-minted":
        raise DataError("a summary of minted images", f"{folder / SUMMARY}", "mint again")
    path, digest = folder / MANIFEST, hashlib.sha256()
    missing = None
    if path.is_file():
        with path.open("rb") as lines:
            for line in lines:
                digest.update(line)
                missing = missing or _missing(folder, line)
    if digest.hexdigest() != summary.get("manifest_sha256"):
        raise DataError("the manifest is as it was written", str(path), "mint again")
    if missing is not None:
        raise DataError("every minted image is there", str(missing), "mint again")
    return summary


def _missing(folder: Path, line: bytes) -> Path | None:
    """The image that a line of the manifest names, unless it is there."""
    try:
        path = folder / json.loads(line)["file_name"]
        return None if path.is_file() else path
    except (ValueError, KeyError, TypeError, OSError, RecursionError):
        return None  # the checksum says so


def _free(folder: Path) -> None:
    """Refuse a folder that holds anything but a mint."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not folder.is_dir() or not (folder / SUMMARY).is_file():
        raise _refusal(folder, "other files")


def _holds(folder: Path, digest: str) -> bool:
    """Whether the folder holds this mint, complete; refuses one that holds anything else."""
    if not folder.exists() or not any(folder.iterdir()):
        return False
    found: Mapping[str, Any] = {}
    with contextlib.suppress(DataError):
        found = read_summary(folder)
    if found.get("digest") == digest:
        return True
    raise _refusal(folder, "other minted images" if found else "other files")


def _refusal(folder: Path, what: str) -> UsageError:
    return UsageError(
        "minted images go into a new or an empty folder",
        f"{folder}, which holds {what}",
        "choose another (--out DIR)",
    )


class _Writing:
    """A mint while it is written: what must be known of parts that are gone again."""

    def __init__(self, folder: Path, schema: Schema, provenance: Mapping[str, Any]) -> None:
        self.folder, self.schema = folder, schema
        self.generator = str(provenance.get("generator", ""))
        # what fixes an image beside its id and seed; absent where nothing was truncated
        self.truncation = {k: to_plain(v) for k, v in provenance.items() if k == "truncation"}
        self.categories = [a.name for a in schema if a.kind == "category"]
        first = schema.of_kind("category")
        self.folders = folder_names(getattr(first[0], "classes", ())) if first else ["images"]
        self.counts: list[ClassCount] = []
        self.written: dict[int, int] = {}
        self.manifest = hashlib.sha256()
        self.content: dict[str, Any] = {}
        self.shape: list[int] = []
        self.curation: Mapping[str, Any] | None = None

    def add(self, part: Minted, manifest: IO[bytes]) -> None:
        """Write the images of a part and their lines."""
        self.counts += part.counts
        self.curation, self.shape = part.curation, list(part.images.shape[1:])
        for name, column in self._columns(part):
            self.content.setdefault(name, hashlib.sha256()).update(
                np.ascontiguousarray(column).tobytes()
            )
        for row in range(len(part)):
            line = json.dumps(self._write(part, row), ensure_ascii=False) + "\n"
            self.manifest.update(line.encode())
            manifest.write(line.encode())

    def summary(self, provenance: Mapping[str, Any]) -> dict[str, Any]:
        """Return what `minted.json` holds."""
        rest = {k: v for k, v in provenance.items() if k != "parents"}
        return {
            "format": "augmint-minted",
            "version": VERSION,
            "digest": self._digest(provenance),
            **summary_of(self.counts, self.curation),
            "accepted": sum(self.written.values()),
            "shape": self.shape,
            "schema": self.schema.to_plain(),
            "provenance": to_plain(rest),
            "parents": to_plain(provenance.get("parents", {})),
            "manifest_sha256": self.manifest.hexdigest(),
        }

    def _columns(self, part: Minted) -> list[tuple[str, np.ndarray]]:
        values = sorted(part.values.items())
        return [("#images", part.images), ("#ids", part.ids), ("#seeds", part.seeds), *values]

    def _digest(self, provenance: Mapping[str, Any]) -> str:
        """SHA-256 of what was minted: pixels, aspects, ids, seeds, generator, curation."""
        made_by = {k: str(provenance.get(k, "")) for k in ("generator", "license")}
        told = {"schema": self.schema.to_plain(), **made_by, "version": VERSION, **self.truncation}
        told |= {"curation": self.curation, "counts": to_plain(self.counts), "shape": self.shape}
        content = {name: digest.hexdigest() for name, digest in self.content.items()}
        return fingerprint(told | {"content": content})

    def _place(self, index: int, id: int) -> str:
        """Name of the next image of a class; a large class has folders of `FOLDER` images."""
        count = self.written.get(index, 0)
        self.written[index] = count + 1
        place = self.folders[index]
        if count >= FOLDER:
            place += f"/{count // FOLDER:03d}"
        if count % FOLDER == 0:
            (self.folder / place).mkdir(exist_ok=True)  # a class may be called annotations
        return f"{place}/{id}.png"

    def _write(self, part: Minted, row: int) -> dict[str, Any]:
        """Write one image and return its line."""
        index = int(part.values[self.categories[0]][row]) if self.categories else 0
        name = self._place(index, int(part.ids[row]))
        told = {}
        for aspect in self.schema:
            # a bare name of its own: catalogues join images to records by bare names
            place = f"annotations/{aspect.name}/{name.removesuffix('.png')}-{aspect.name}"
            told[aspect.name] = write_value(
                aspect, part.values[aspect.name][row], self.folder, place
            )
        origin = {"origin": "minted", "id": int(part.ids[row]), "seed": int(part.seeds[row])}
        source = f"generator {self.generator}, image {origin['id']} of seed {origin['seed']}"
        for cut in self.truncation.values():
            source += f", {cut['of']} truncated at {cut['value']:g}"
        packet = xmp_packet(source, {n: str(told[n]) for n in self.categories})
        raw = stored_png(part.images[row], {XMP_KEYWORD: packet})
        (self.folder / name).write_bytes(raw)
        made = {"generator": self.generator, **self.truncation}
        made["sha256"] = hashlib.sha256(raw).hexdigest()
        scores = {n: _number(s[row]) for n, s in part.scores.items()}
        return {"file_name": name, **told, **origin, **made, "scores": scores}


def _number(value: Any) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None

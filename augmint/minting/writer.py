"""Writes minted images as an image folder whose manifest says where every image came from.

    FOLDER/<class>/<id>.png     one image; the class name is escaped where a file system needs it
    FOLDER/metadata.jsonl       one line an image: file_name, aspects by name, origin, id, seed …
    FOLDER/minted.json          counts, curation, schema, provenance, parents, digest

The folder appears complete, by one rename, or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from augmint.core.config import fingerprint, to_plain
from augmint.core.errors import DataError, UsageError
from augmint.core.pictures import stored_png
from augmint.core.runs import commit_folder, read_json, write_json
from augmint.minting.naming import folder_names

if TYPE_CHECKING:
    from augmint.aspects.base import Aspect, Schema
    from augmint.minting.curation import Minted

MANIFEST = "metadata.jsonl"
SUMMARY = "minted.json"
VERSION = 1


def write_minted(
    minted: Minted, folder: Path, schema: Schema, provenance: Mapping[str, Any]
) -> Path:
    """Write minted images, their manifest and their summary, and return the folder.

    Args:
        minted: what `mint` gave.
        folder: new or empty; one that holds this very mint already is left as it is.
        schema: the aspects of `minted.values`.
        provenance: plain values; "generator" (the SHA-256 of its weights) stands beside every
            image, and "parents" (digests of what the mint was made from) in the summary.

    Raises:
        UsageError: if the folder holds anything else, or cannot be written.
    """
    folder = Path(folder)
    digest = minted_digest(minted, schema, str(provenance.get("generator", "")))
    if _holds(folder, digest):
        return folder
    temporary = folder.parent / f".{folder.name}.{os.getpid()}.part"
    try:
        temporary.mkdir(parents=True)
        lines = _write_images(minted, temporary, schema, str(provenance.get("generator", "")))
        manifest = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (temporary / MANIFEST).write_bytes(manifest.encode())
        summary = _summary(minted, schema, provenance, digest)
        summary["manifest_sha256"] = hashlib.sha256(manifest.encode()).hexdigest()
        write_json(temporary / SUMMARY, summary)
        commit_folder(temporary, folder)
    except OSError as error:
        raise UsageError(
            "minted images need a folder that can be written",
            f"{folder} ({error})",
            "choose another (--out DIR)",
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def read_summary(folder: Path) -> dict[str, Any]:
    """Return `minted.json` of a folder whose manifest is the one that was written.

    Raises:
        DataError: if either file is missing or was altered, or an image is missing.
    """
    summary = read_json(folder / SUMMARY)
    if not isinstance(summary, dict) or summary.get("format") != "augmint-minted":
        raise DataError("a summary of minted images", f"{folder / SUMMARY}", "mint again")
    raw = (folder / MANIFEST).read_bytes() if (folder / MANIFEST).is_file() else b""
    if hashlib.sha256(raw).hexdigest() != summary.get("manifest_sha256"):
        raise DataError("the manifest is as it was written", str(folder / MANIFEST), "mint again")
    for line in raw.decode().splitlines():
        name = json.loads(line)["file_name"]
        if not (folder / name).is_file():
            raise DataError("every minted image is there", str(folder / name), "mint again")
    return summary


def minted_digest(minted: Minted, schema: Schema, generator: str) -> str:
    """Return the SHA-256 of what was minted: pixels, aspects, ids, seeds, generator, curation."""
    parts = [
        fingerprint({"schema": schema.to_plain(), "generator": generator, "version": VERSION}),
        fingerprint({"curation": minted.curation, "counts": minted.counts}),
        *(_bytes_digest(a) for a in (minted.images, minted.ids, minted.seeds)),
        *(name + _bytes_digest(v) for name, v in sorted(minted.values.items())),
    ]
    return hashlib.sha256("/".join(parts).encode()).hexdigest()


def _bytes_digest(array: np.ndarray) -> str:
    head = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


def _holds(folder: Path, digest: str) -> bool:
    """Whether the folder holds this mint, complete; refuses one that holds anything else."""
    if folder.is_dir() and not any(folder.iterdir()):
        return False
    if not folder.exists():
        return False
    found: Mapping[str, Any] = {}
    if folder.is_dir():
        with contextlib.suppress(DataError):
            found = read_summary(folder)
    if found.get("digest") == digest:
        return True
    what = "other minted images" if found else "other files"
    raise UsageError(
        "minted images go into a new or an empty folder",
        f"{folder}, which holds {what}",
        "choose another (--out DIR)",
    )


def _write_images(
    minted: Minted, folder: Path, schema: Schema, generator: str
) -> list[dict[str, Any]]:
    category = schema.of_kind("category")[0]
    indices = minted.values[category.name]
    folders = folder_names(getattr(category, "classes"))  # noqa: B009
    for index in np.unique(indices):
        (folder / folders[index]).mkdir()
    lines = []
    for row, image in enumerate(minted.images):
        name = f"{folders[indices[row]]}/{minted.ids[row]}.png"
        (folder / name).write_bytes(stored_png(image))
        told = {a.name: _plain(a, minted.values[a.name][row]) for a in schema}
        origin = {"origin": "minted", "id": int(minted.ids[row]), "seed": int(minted.seeds[row])}
        scores = {n: _number(s[row]) for n, s in minted.scores.items()}
        lines.append(
            {"file_name": name, **told, **origin, "generator": generator, "scores": scores}
        )
    return lines


def _plain(aspect: Aspect, value: Any) -> Any:
    return aspect.show(value) if aspect.kind == "category" else np.asarray(value).tolist()


def _number(value: Any) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None


def _summary(
    minted: Minted, schema: Schema, provenance: Mapping[str, Any], digest: str
) -> dict[str, Any]:
    rest = {k: v for k, v in provenance.items() if k != "parents"}
    return {
        "format": "augmint-minted",
        "version": VERSION,
        "digest": digest,
        **minted.summary(),
        "shape": list(minted.images.shape[1:]),
        "schema": schema.to_plain(),
        "provenance": to_plain(rest),
        "parents": to_plain(provenance.get("parents", {})),
    }

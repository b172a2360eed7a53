"""Minted images in the layout of another format, for programs that read no manifest."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augmint.core.errors import DataError, UsageError
from augmint.core.registry import FORMATS, Spec
from augmint.core.runs import commit_folder, read_json
from augmint.data.formats.annotation import write_schema
from augmint.data.ingest import ingest
from augmint.minting.provenance import XMP_KEYWORD, xmp_packet
from augmint.minting.writer import SUMMARY, building, write_parts

if TYPE_CHECKING:
    from augmint.aspects.base import Schema
    from augmint.minting.curation import Minted

_HEAD = 33
"""Bytes of a PNG up to the end of its header chunk."""


def write_as(
    format: Spec,
    parts: Iterable[Minted],
    folder: Path,
    schema: Schema,
    provenance: Mapping[str, Any],
) -> Path:
    """Write minted images as a format has them, `minted.json` beside them, and return the folder.

    Every PNG says that it is synthetic. What a format has no place for stays out: numbers, seeds
    and scores of single images; in `idx`, `cifar` and `celeba` that they are minted.

    Args:
        format: a name of the axis `formats`, or a mapping with its fields.
        parts: as for `write_parts`.
        folder: new or empty.
        schema: the aspects of the images.
        provenance: as for `write_parts`.

    Raises:
        UsageError: if the folder holds anything, or no image was accepted.
        DataError: if the format cannot hold the images.
    """
    member = FORMATS.create(format)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            "minted images go into a new or an empty folder",
            f"{folder}, which holds other files",
            "choose another (--out DIR)",
        )
    with building(folder) as temporary:
        made = write_parts(parts, temporary / "minted", schema, provenance)
        summary = read_json(made / SUMMARY)
        if not summary["accepted"]:
            shown = f"none of {summary['drawn']} that were drawn"
            raise UsageError("a set has images", shown, "mint more, or keep all (--raw)")
        write_schema(schema, made)  # a set of classes alone has none, and may lack some of them
        table = ingest(made, temporary / "tables", format="manifest", workers=os.cpu_count() or 1)
        for left_out in table.quarantined[:1]:
            raise DataError("every minted image is read", str(left_out), "mint as manifest")
        member.write(table, temporary / "set")
        packet = xmp_packet(f"generator {provenance.get('generator', '')}", {})
        for path in (temporary / "set").rglob("*.png"):
            path.write_bytes(_marked(path.read_bytes(), packet))
        shutil.copyfile(made / SUMMARY, temporary / "set" / SUMMARY)
        commit_folder(temporary / "set", folder)
    return folder


def _marked(raw: bytes, packet: str) -> bytes:
    """The same PNG with an XMP packet behind its header."""
    chunk = b"iTXt" + XMP_KEYWORD.encode() + bytes(5) + packet.encode()
    body = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return raw[:_HEAD] + body + raw[_HEAD:]

"""`check`: what is wrong with a data set, for people (grouped, with pictures) and for programs.

DIR/check.html   what was found, one file       DIR/pictures/   the images in question
DIR/check.json   the same, complete
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from augmint.core.errors import AugmintError, UsageError, single_line
from augmint.core.pictures import grid, png_bytes, scale_of
from augmint.core.runs import provenance
from augmint.data.check import CheckReport, blocking, check
from augmint.data.ingest import ingest
from augmint.studies.report.render import render_check, write_page
from augmint.studies.study import parse_size

if TYPE_CHECKING:
    from augmint.data.table import Table

SHOWN = 5
"""Examples of one finding on a terminal."""

DRAWN = 24
"""Images of one finding in a picture, at most."""

Line = tuple[str, str]
"""A style ("title", "good", "bad", "warn", "plain", "quiet")
and a text without control characters."""

_ANSI = {"title": "1", "good": "32", "bad": "1;31", "warn": "33", "quiet": "2"}


@dataclass(frozen=True)
class Inspection:
    """What `check` found.

    Args:
        plain: everything, as JSON values.
        lines: the same for people.
        failure: the error that would stop a study, or None.
    """

    plain: dict[str, Any]
    lines: list[Line]
    failure: AugmintError | None


def inspect(
    data: str, format: str | None, size: str | None, out: Path | None = None, command: str = ""
) -> Inspection:
    """Read and check a data set; write `check.html`, `check.json` and pictures to `out`.

    Raises:
        AugmintError: if the data cannot be read, or `out` cannot be written.
    """
    pair = parse_size(size)
    with tempfile.TemporaryDirectory(prefix="augmint-") as scratch:
        table = ingest(data, Path(scratch), format=format, size=pair, workers=os.cpu_count() or 1)
        found = check(table)
        pictures = {} if out is None else dict(_pictures(found, table))
        names = table.names
    failure: AugmintError | None = None
    try:
        blocking(found)
    except AugmintError as error:
        failure = error
    plain = {
        **found.to_plain(),
        "blocking": None if failure is None else str(failure),
        "remedy": None if failure is None else failure.remedy,
        "text": found.text(),
    }
    lines = list(told(found, names, failure))
    if out is not None:
        _write(out, plain | {"data": data, "command": command}, names, pictures)
    return Inspection(plain, lines, failure)


def told(found: CheckReport, names: Sequence[str], failure: AugmintError | None) -> Iterator[Line]:
    """Yield a report for people, group by group; every text is safe to print."""
    channels, height, width = found.shape
    yield "title", single_line(found.source, 120)
    yield "plain", f"  {found.images} images, {channels} x {height} x {width}"
    for sentence in found.recognised:
        yield "quiet", f"  {single_line(sentence, 300)}"
    yield "title", "classes"
    for part, counts in found.class_counts.items():
        yield "plain", f"  {part}: {found.parts[part]} images"
        yield "quiet", "    " + _counts(counts)
    yield "title", "identical images"
    if not (found.exact_across or found.exact_within or found.conflicts):
        yield "good", "  none"
    for pair, n in found.across_counts.items():
        yield "bad", f"  images in both {pair.replace('/', ' and ')}: {n}"
    yield from _pairs(found.examples)
    if found.exact_within:
        rest = sum(len(g) - 1 for g in found.exact_within)
        yield "warn", f"  repeats of another image of their part: {rest}"
        yield from _pairs([(names[g[0]], names[g[1]]) for g in found.exact_within])
    if found.conflicts:
        yield "warn", f"  images under different labels: {len(found.conflicts)}"
        yield from _pairs([(names[g[0]], names[g[1]]) for g in found.conflicts])
    yield "title", "nearly identical images across parts"
    if found.near.fence is not None:
        confirmed = len(found.near.pairs)
        style = "warn" if confirmed else "good"
        yield style, f"  {confirmed} confirmed of {found.near.flagged} suspected"
        for row, other, _, r in found.near.pairs[:SHOWN]:
            shown = f"{_name(names[row])} ~ {_name(names[other])}"
            yield "quiet", f"    {shown} (correlation {r:.4f})"
    for sentence in found.near.protocol:
        yield "quiet", f"    {single_line(sentence, 200)}"
    if found.quarantined:
        yield "title", "files that cannot be read"
        for q in found.quarantined[:SHOWN]:
            yield "warn", f"  {_name(q['name'])}: {single_line(q['reason'], 200)}"
        if len(found.quarantined) > SHOWN:
            yield "quiet", f"    and {len(found.quarantined) - SHOWN} more"
    if found.warnings:
        yield "title", "warnings"
        for warning in found.warnings:
            yield "warn", f"  {single_line(warning, 300)}"
    if failure is None:
        yield "good", "nothing here stops a study"
    else:
        yield "bad", "this stops a study: images are in two parts"


def coloured(lines: Sequence[Line], stream: TextIO) -> str:
    """Return lines as text, coloured only where `stream` is a terminal and NO_COLOR is not set.

    Example:
        >>> import io
        >>> coloured([("bad", "two copies")], io.StringIO())
        'two copies'
    """
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return "\n".join(text for _, text in lines)
    return "\n".join(
        f"\x1b[{_ANSI[style]}m{text}\x1b[0m" if style in _ANSI else text for style, text in lines
    )


def _counts(counts: Mapping[str, int]) -> str:
    shown = ", ".join(f"{_name(name)} {n}" for name, n in list(counts.items())[:12])
    return shown + (f", and {len(counts) - 12} more" if len(counts) > 12 else "")


def _pairs(pairs: Sequence[tuple[str, str]]) -> Iterator[Line]:
    for a, b in pairs[:SHOWN]:
        yield "quiet", f"    {_name(a)} = {_name(b)}"
    if len(pairs) > SHOWN:
        yield "quiet", f"    and {len(pairs) - SHOWN} more"


def _name(text: str) -> str:
    return single_line(str(text), 100)


def _pictures(found: CheckReport, table: Table) -> Iterator[tuple[str, bytes]]:
    """Draw what was found: pairs one above the other, captions below them."""
    near = [(row, other) for row, other, _, _ in found.near.pairs]
    groups = {
        "across": [(g[0], g[-1]) for g in found.exact_across],
        "near": near,
        "conflicts": [(g[0], g[-1]) for g in found.conflicts],
        "repeats": [(g[0], g[1]) for g in found.exact_within],
    }
    part_of, classes, labels = table.part_of(), table.classes(), table.labels()
    for name, pairs in groups.items():
        if pairs:
            rows = np.array(pairs[: DRAWN // 2], np.int64).T.reshape(-1)
            captions = [
                classes[labels[r]] if name == "conflicts" else str(part_of[r]) for r in rows
            ]
            yield name, _sheet(table, rows, len(rows) // 2, captions)
    if found.constant:
        rows = np.array(found.constant[: DRAWN // 2], np.int64)
        yield "constant", _sheet(table, rows, len(rows), [classes[labels[r]] for r in rows])


def _sheet(table: Table, rows: np.ndarray, columns: int, captions: Sequence[str]) -> bytes:
    images = np.ascontiguousarray(table.images[rows])
    scale = 2 * scale_of(images.shape[-1]) if images.shape[-1] <= 48 else 1
    return png_bytes(grid(images, columns, scale=scale, gap=4, captions=captions))


def _write(
    out: Path, plain: Mapping[str, Any], names: Sequence[str], pictures: Mapping[str, bytes]
) -> None:
    def named(groups: Sequence[Sequence[int]]) -> list[list[str]]:
        return [[names[row] for row in group] for group in groups]

    report = {
        **plain,
        "files": {k: named(plain[k]) for k in ("exact_across", "exact_within", "conflicts")},
        "near_files": [
            [names[int(row)], names[int(other)], distance, r]
            for row, other, distance, r in plain["near_across"]
        ],
        "machine": provenance(),
    }
    report["augmint"] = report["machine"]["augmint"]
    try:
        write_page(out, "check", render_check(report, pictures), report, pictures)
    except OSError as error:
        raise UsageError(
            "a check writes to a folder of its own",
            f"{out} ({error.strerror})",
            "choose another --out DIR",
        ) from None

"""What is wrong with a data set before anything is trained on it.

Identical images across parts make every score a lie, so they stop a study (`blocking`) until the
user drops them from training. Near duplicates, repeats, conflicting labels, small classes,
constant images and missing classes are counted and shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from augmint.core.errors import DataCheckError, single_line
from augmint.data.near import NearReport, find_near
from augmint.data.table import PARTS

if TYPE_CHECKING:
    from augmint.core.types import ByteArray, IntArray
    from augmint.data.table import Table

TINY_CLASS = 20
"""Images of a class, in one part, below which its figures mean little."""

_SHOWN = 5


@dataclass(frozen=True)
class CheckReport:
    """What `check` found; rows are those of the table.

    Args:
        source: what was read.
        images: how many.
        shape: (C, H, W).
        parts: part name to its number of images.
        class_counts: part name to class name to its number of images.
        exact_within: groups of identical rows of one part.
        exact_across: groups of identical rows of several parts.
        conflicts: groups of identical rows with different labels.
        near: near duplicates across parts.
        constant: rows whose pixels are all equal.
        quarantined: files that could not be read.
        warnings: sentences for people.
        examples: pairs of file names that are identical across parts.
        across_counts: "train/test" and the like to the number of rows of the later part that are
            also in the earlier one.
        recognised: sentences about the layout that was found and the annotations in it.
    """

    source: str
    images: int
    shape: tuple[int, int, int]
    parts: dict[str, int]
    class_counts: dict[str, dict[str, int]]
    exact_within: list[list[int]]
    exact_across: list[list[int]]
    conflicts: list[list[int]]
    near: NearReport
    constant: list[int]
    quarantined: list[dict[str, str]]
    warnings: list[str]
    examples: list[tuple[str, str]] = field(default_factory=list)
    across_counts: dict[str, int] = field(default_factory=dict)
    recognised: list[str] = field(default_factory=list)

    @property
    def near_across(self) -> list[tuple[int, int, float, float]]:
        """Confirmed near duplicates: (row, earlier row, distance, correlation)."""
        return self.near.pairs

    def to_plain(self) -> dict[str, Any]:
        """Return the report as plain mappings, lists, strings and numbers (for JSON)."""
        return {
            "source": self.source,
            "images": self.images,
            "shape": list(self.shape),
            "recognised": self.recognised,
            "parts": self.parts,
            "class_counts": self.class_counts,
            "exact_within": self.exact_within,
            "exact_across": self.exact_across,
            "across_counts": self.across_counts,
            "conflicts": self.conflicts,
            "near_across": [list(pair) for pair in self.near.pairs],
            "near_flagged": self.near.flagged,
            "near_fence": self.near.fence,
            "near_protocol": self.near.protocol,
            "constant": self.constant,
            "quarantined": self.quarantined,
            "warnings": self.warnings,
            "examples": [list(pair) for pair in self.examples],
        }

    def text(self) -> list[str]:
        """Return the report as lines for a terminal, control characters made visible."""
        channels, height, width = self.shape
        lines = [f"{self.source}: {self.images} images, {channels} x {height} x {width}"]
        lines += self.recognised
        for part, counts in self.class_counts.items():
            shown = ", ".join(f"{name} {n}" for name, n in list(counts.items())[:12])
            more = f", … {len(counts) - 12} more" if len(counts) > 12 else ""
            lines.append(f"{part}: {self.parts[part]} ({shown}{more})")
        lines.append(
            f"identical: {len(self.exact_across)} groups across parts, "
            f"{len(self.exact_within)} within a part, {len(self.conflicts)} with different labels"
        )
        lines += [f"  {pair}: {n} images are in both" for pair, n in self.across_counts.items()]
        lines += [f"  {a} = {b}" for a, b in self.examples[:_SHOWN]]
        if self.near.fence is not None:
            lines.append(
                f"nearly identical across parts: {len(self.near.pairs)} confirmed "
                f"of {self.near.flagged} flagged"
            )
        lines += [f"  {sentence}" for sentence in self.near.protocol]
        lines += [f"unreadable: {q['name']} ({q['reason']})" for q in self.quarantined[:_SHOWN]]
        if len(self.quarantined) > _SHOWN:
            lines.append(f"unreadable: {len(self.quarantined) - _SHOWN} more")
        lines += [f"warning: {w}" for w in self.warnings]
        return [_one_line(line) for line in lines]


def _one_line(line: str) -> str:
    indent = len(line) - len(line.lstrip(" "))
    return " " * indent + single_line(line, 400)


def check(
    table: Table, near: bool = True, parts: Mapping[str, IntArray] | None = None
) -> CheckReport:
    """Look for duplicates, conflicts and small classes.

    Args:
        table: to look at.
        near: look for near duplicates too (seconds to a minute).
        parts: parts to use instead of the table's own, for splits that were made afterwards;
            rows in none of them are left out.

    Returns:
        The report; it changes nothing.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from augmint.aspects.base import Schema
        >>> from augmint.data.table import Table
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     black, parts = np.zeros((2, 1, 8, 8), np.uint8), {"train": [0], "test": [1]}
        ...     table = Table.write(Path(folder, "table"), black, {}, Schema(()), ["a", "b"], parts)
        ...     check(table).across_counts
        {'train/test': 1}
    """
    own = {p: np.asarray(r, np.int64) for p, r in (parts or table.parts).items()}
    ordered = {p: own[p] for p in (*PARTS, *sorted(set(own) - set(PARTS))) if p in own}
    rows = np.concatenate(list(ordered.values()))
    codes = pixel_codes(table.images)
    labels = table.strata()
    part_of = np.full(len(table), -1, np.int64)
    for number, chosen in enumerate(ordered.values()):
        part_of[chosen] = number
    groups = _groups(codes, rows)
    across = [g for g in groups if len(set(part_of[g].tolist())) > 1]
    within = [
        same for g in groups for n in range(len(ordered)) if len(same := g[part_of[g] == n]) > 1
    ]
    conflicts = [g for g in groups if len(set(labels[g].tolist())) > 1]
    spread = _spreads(table.images)
    classes = table.strata_names()
    counts = {
        part: dict(
            zip(
                classes,
                np.bincount(labels[chosen], minlength=len(classes)).tolist(),
                strict=True,
            )
        )
        for part, chosen in ordered.items()
    }
    constant = rows[spread[rows] == 0]
    found = find_near(table.images, ordered, codes) if near else NearReport()
    return CheckReport(
        source=str(table.rules.get("source", table.folder.name)),
        images=len(rows),
        shape=table.shape,
        parts={part: len(chosen) for part, chosen in ordered.items()},
        class_counts=counts,
        exact_within=[g.tolist() for g in within],
        exact_across=[g.tolist() for g in across],
        conflicts=[g.tolist() for g in conflicts],
        near=found,
        constant=sorted(constant.tolist()),
        quarantined=table.quarantined,
        warnings=_warnings(table, ordered, counts, len(constant), len(conflicts)),
        examples=_examples(table, across, part_of),
        across_counts=_across_counts(across, part_of, list(ordered)),
        recognised=_recognised(table),
    )


def _recognised(table: Table) -> list[str]:
    told = ", ".join(a.words for a in table.schema)
    layout = str(table.rules.get("layout", ""))
    return [*([layout] if layout else []), f"annotations: {told}", *table.rules.get("notes", ())]


def blocking(report: CheckReport) -> None:
    """Raise `DataCheckError` if images are in more than one part.

    Raises:
        DataCheckError: saying how many, with an example and the remedy.
    """
    if not report.exact_across:
        return
    counted = ", ".join(f"{n} in both {pair}" for pair, n in report.across_counts.items())
    example = " = ".join(single_line(n, 120) for n in report.examples[0])
    remedy = "drop them from training with drop_duplicates=True (--drop-duplicates)"
    if not any(pair.startswith("train/") for pair in report.across_counts):
        remedy = "remove them from one of the two parts (dropping from training cannot help)"
    raise DataCheckError(
        "no image may be in two parts",
        f"{len(report.exact_across)} images that are ({counted}), for example {example}",
        remedy,
    )


def training_rows_without(
    report: CheckReport,
    table: Table,
    near: bool = False,
    parts: Mapping[str, IntArray] | None = None,
) -> IntArray:
    """Return the training rows that remain once duplicates are dropped.

    Dropped are images that are also in validation or test, all copies of an image whose labels
    disagree, and every repeat of an image but the first.

    Args:
        report: of the same table.
        table: with a part `train` (or `all`).
        near: drop confirmed near duplicates of validation and test images too.
        parts: the parts that were given to `check`, if any.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from augmint.aspects.base import Schema
        >>> from augmint.data.table import Table
        >>> images = np.array([5, 9, 5], np.uint8).reshape(3, 1, 1, 1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     place, parts = Path(folder, "table"), {"train": [0, 1], "test": [2]}
        ...     table = Table.write(place, images, {}, Schema(()), ["a", "b", "c"], parts)
        ...     training_rows_without(check(table), table).tolist()
        [1]
    """
    chosen = parts or table.parts
    train = np.asarray(chosen.get("train", chosen.get("all", [])), np.int64)
    drop = {row for group in (*report.exact_across, *report.conflicts) for row in group}
    for group in report.exact_within:
        drop.update(sorted(group)[1:])
    if near:
        drop.update(other for _, other, _, _ in report.near.pairs)
    return train[~np.isin(train, np.fromiter(drop, np.int64, len(drop)))]


def left_out(report: CheckReport, table: Table, drop: bool) -> tuple[int, ...]:
    """Return the rows of the part `train` to leave out; without `drop`, leaks stop everything.

    Args:
        report: of the same table.
        table: with parts.
        drop: leave out duplicates; see `training_rows_without`.

    Raises:
        DataCheckError: as `blocking`, without `drop`.
    """
    if not drop:
        blocking(report)
        return ()
    gone = np.setdiff1d(table.parts.get("train", []), training_rows_without(report, table))
    return tuple(int(row) for row in gone)


def grouping(table: Table) -> IntArray:
    """Return a group number for every row, equal for one subject and for identical images.

    Splitting by these groups (`splits.stratified(..., groups=grouping(table))`) cannot put an
    image, or a subject, on both sides.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from augmint.aspects.base import Schema
        >>> from augmint.data.table import Table
        >>> images = np.array([5, 9, 5], np.uint8).reshape(3, 1, 1, 1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     place, parts = Path(folder, "table"), {"all": range(3)}
        ...     group = grouping(Table.write(place, images, {}, Schema(()), ["a", "b", "c"], parts))
        >>> bool(group[0] == group[2]), bool(group[0] == group[1])
        (True, False)
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(table)
    columns = [pixel_codes(table.images)] + ([] if table.groups is None else [table.groups])
    starts, ends, offset = [], [], n
    for column in columns:
        index = np.unique(column, return_inverse=True)[1]
        starts.append(np.arange(n))
        ends.append(index + offset)
        offset += n
    start, end = np.concatenate(starts), np.concatenate(ends)
    graph = coo_array((np.ones(len(start), np.int8), (start, end)), shape=(offset, offset))
    component = connected_components(graph, directed=False)[1][:n]
    return np.unique(component, return_inverse=True)[1].astype(np.int64)


def pixel_codes(images: ByteArray) -> npt.NDArray[np.int64]:
    """Return a number for every image, `(N,)`, equal exactly where all pixels are equal.

    Images are compared by BLAKE2b digests of 128 bits.

    Example:
        >>> code = pixel_codes(np.array([5, 9, 5], np.uint8).reshape(3, 1, 1, 1))
        >>> bool(code[0] == code[2]), bool(code[0] == code[1])
        (True, False)
    """
    digests = bytearray()
    for start in range(0, len(images), 1024):
        block = np.ascontiguousarray(images[start : start + 1024])
        size = int(np.prod(block.shape[1:]))
        view = block.reshape(-1).data
        for i in range(0, len(view), size):
            digests += hashlib.blake2b(view[i : i + size], digest_size=16).digest()
    keys = np.frombuffer(bytes(digests), dtype="V16")
    return np.unique(keys, return_inverse=True)[1].astype(np.int64)


def _groups(codes: npt.NDArray[np.int64], rows: IntArray) -> list[IntArray]:
    ordered = np.sort(rows)
    order = ordered[np.argsort(codes[ordered], kind="stable")]
    cuts = np.flatnonzero(np.diff(codes[order])) + 1
    groups = [g for g in np.split(order, cuts) if len(g) > 1]
    return sorted(groups, key=lambda g: int(g[0]))


def _spreads(images: ByteArray) -> npt.NDArray[np.int64]:
    """Largest minus smallest pixel of every image."""
    out = np.empty(len(images), np.int64)
    for start in range(0, len(images), 1024):
        block = np.asarray(images[start : start + 1024]).reshape(-1, int(np.prod(images.shape[1:])))
        out[start : start + 1024] = block.max(1).astype(np.int64) - block.min(1)
    return out


def _across_counts(across: list[IntArray], part_of: IntArray, names: list[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for first, second in combinations(range(len(names)), 2):
        n = sum(int((part_of[g] == second).sum()) for g in across if (part_of[g] == first).any())
        if n:
            counts[f"{names[first]}/{names[second]}"] = n
    return counts


def _examples(table: Table, across: list[IntArray], part_of: IntArray) -> list[tuple[str, str]]:
    pairs = []
    for group in across[:_SHOWN]:
        first = int(group[0])
        other = next(int(r) for r in group if part_of[r] != part_of[first])
        pairs.append((table.names[first], table.names[other]))
    return pairs


def _warnings(
    table: Table,
    parts: Mapping[str, IntArray],
    counts: Mapping[str, Mapping[str, int]],
    constant: int,
    conflicts: int,
) -> list[str]:
    warnings = []
    for part, by_class in counts.items():
        missing = [c for c, n in by_class.items() if n == 0]
        tiny = [f"{c} ({n})" for c, n in by_class.items() if 0 < n < TINY_CLASS]
        if missing:
            warnings.append(f"{part} has no image of {', '.join(missing[:_SHOWN])}")
        if tiny:
            warnings.append(f"{part} has under {TINY_CLASS} images of {', '.join(tiny[:_SHOWN])}")
    if conflicts:
        many = _number(conflicts, "image carries", "images carry")
        warnings.append(f"{many} different labels in different places")
    if constant:
        warnings.append(f"{_number(constant, 'image has', 'images have')} one colour everywhere")
    if table.quarantined:
        bad = _number(len(table.quarantined), "file", "files")
        warnings.append(f"{bad} could not be read and stay out")
    minted = table.origins.get("minted", np.empty(0, np.int64))
    for part in ("validation", "test"):
        n = int(np.isin(parts.get(part, []), minted).sum())
        if n:
            warnings.append(f"{part} holds {n} minted images: no score may rest on them")
    if table.shape[0] >= 3 and len(table):
        sample = np.asarray(table.images[:: max(1, len(table) // 256)])
        if (sample[:, :1] == sample[:, 1:3]).all():
            warnings.append("all channels look equal: channels=1 (--channels 1) holds them in one")
    ignored = int(table.rules.get("ignored_count", 0))
    if ignored:
        named = [str(name) for name in table.rules.get("ignored", ())][:_SHOWN]
        shown = ", ".join(named) + (f" and {ignored - len(named)} more" * (ignored > len(named)))
        warnings.append(f"{ignored} files are no part of the data set and were left out: {shown}")
    return warnings


def _number(n: int, one: str, several: str) -> str:
    return f"{n} {one if n == 1 else several}"

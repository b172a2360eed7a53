"""From a name, a folder or a zip to a table: detected, decoded once, cached by content.

The cached table's name is a hash of the listing (names, sizes, times; for a zip its size, time
and checksums), the options, and the code that reads: changed files or options give another
table, the same ones are opened at once.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from augmint.core.config import fingerprint, load_yaml
from augmint.core.errors import DataError, UsageError, nearest, single_line
from augmint.core.registry import DATASETS, FORMATS, Spec, split_spec
from augmint.data.archives import Files, open_files
from augmint.data.decoding import (
    LIMIT_PIXELS,
    BadFilesError,
    DecodeOptions,
    common_channels,
    conversions,
    decode_all,
    probe,
    quiet_pillow,
    resize,
    to_channels,
)
from augmint.data.formats.base import Format, Listing, Sample, by_priority
from augmint.data.table import PARTS, Table, TableNotes
from augmint.data.values import Values

if TYPE_CHECKING:
    import numpy.typing as npt

    from augmint.aspects.base import Schema
    from augmint.core.types import ByteArray, IntArray

BAD_SHARE = 0.01
"""More bad files than this share of all stop the reading."""

_PROBED = 64
_LISTED = 50


def ingest(
    source: str | Path,
    cache: Path,
    *,
    format: Spec | None = None,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    workers: int = 1,
    limit_pixels: int = LIMIT_PIXELS,
) -> Table:
    """Read a data set into a table, or open the table if it was read before.

    Args:
        source: a built-in name ("digits", "toy"; write "./toy" for a folder of that name), perhaps
            with its fields (as text: "{name: toy-eyes, images: 9000}"), a folder, or a .zip.
        cache: folder that keeps tables.
        format: a name of the axis `formats`, or a mapping with `name` and its fields (as text:
            "{name: mask-folders, void: 255}"); None detects it.
        size: height and width to scale to; None keeps the stored size, which must be common.
        channels: 1, 3 or 4; None takes what the set needs.
        workers: threads that decode.
        limit_pixels: largest image that is decoded.

    Returns:
        The table; classes are its aspect "label", where there are any. Annotations move with
        images that are scaled. `table.rules` says what was detected, how pixels were converted
        and which files were left out.

    Raises:
        DataError: for a source that is missing, empty, of no known layout, of several image
            sizes, or with more than 1 % of unreadable files.
        UsageError: for options that cannot be used.

    Example:
        >>> with tempfile.TemporaryDirectory() as cache:
        ...     table = ingest("{name: toy, images: 10}", Path(cache), size=(24, 24))
        ...     len(table), table.shape, table.classes()[:2]
        (10, (3, 24, 24), ('neutral', 'happy'))
    """
    options = DecodeOptions(size=size, channels=channels, limit_pixels=limit_pixels)
    asked = format_spec(format)
    built_in = built_in_spec(source)
    if built_in is not None:
        return _built_in(built_in, cache, options)
    path = _existing(source)
    files = open_files(path)
    key = fingerprint(
        {
            "files": files.fingerprint(),
            "format": asked,
            "options": options,
            "code": code_version(),
        }
    )
    final = cache / f"table-{key[:32]}"
    if final.exists():
        return Table.open(final)
    name, member, sentence = _detect(files, asked)
    listing = member.read(files)
    rules: dict[str, Any] = {
        "source": path.name,
        "format": name,
        "layout": sentence,
        "ignored_count": len(listing.ignored),
        "ignored": [single_line(n, 120) for n in listing.ignored[:_LISTED]],
        "notes": list(listing.notes),
        "size": list(size) if size else None,
        "channels": channels,
    }
    cache.mkdir(parents=True, exist_ok=True)
    if listing.pixels is not None:
        return _write_arrays(final, listing, options, rules)
    return _decode_into(final, files, listing, options, rules, workers)


def built_in_spec(source: str | Path) -> dict[str, Any] | None:
    """Return the name and the fields of a built-in set, None for anything else.

    Raises:
        UsageError: for text that begins like a mapping and is none, or of no built-in name.

    Example:
        >>> built_in_spec("{name: toy-eyes, images: 9}")
        {'name': 'toy-eyes', 'images': 9}
    """
    text = str(source)
    if text in DATASETS.names():
        return {"name": text}
    if not text.lstrip().startswith("{") or not isinstance(source, str):
        return None
    spec = _mapping(text, "data set", "{name: toy-eyes, images: 9000}")
    split_spec(spec, "data set")
    return spec


def _existing(source: str | Path) -> Path:
    try:
        path = Path(source).expanduser()
        if path.exists():
            return path
    except (OSError, RuntimeError, ValueError):  # a name too long, an unknown ~user, a NUL
        pass
    raise DataError(
        "a data set is a folder, a .zip or a built-in name",
        f"{single_line(str(source), 200)!r}, which does not exist",
        f"check the path; {nearest(str(source)[:200], DATASETS.names())}",
    )


@functools.cache
def code_version() -> str:
    """Return a hash of the code that reads and of Pillow's version; part of every cache key."""
    import PIL

    room = Path(__file__).parent
    digest = hashlib.sha256(PIL.__version__.encode())
    for path in sorted([*room.rglob("*.py"), *room.with_name("aspects").rglob("*.py")]):
        if path.name not in ("check.py", "splits.py", "batch.py"):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def format_spec(format: Spec | None) -> Spec | None:
    """Return the format that is asked for, checked; a mapping may be given as text.

    Raises:
        UsageError: for an unknown name or field, or text that begins like a mapping and is none.

    Example:
        >>> format_spec("{name: coco, objects: largest}")
        {'name': 'coco', 'objects': 'largest'}
    """
    if isinstance(format, str) and format.lstrip().startswith("{"):
        format = _mapping(format, "format", "{name: mask-folders, void: 255}")
    if format is not None:
        FORMATS.create(format)
    return format


def _mapping(text: str, what: str, example: str) -> dict[str, Any]:
    """Return a mapping that is given as text."""
    import yaml

    try:
        found = load_yaml(text)
        if isinstance(found, dict):
            return found
        reason: object = "no mapping"
    except yaml.YAMLError as error:
        reason = error
    raise UsageError(
        f"a {what} is a name, or a mapping with its name and fields",
        single_line(f"{text!r} ({reason})", 200),
        f"write it as '{example}'",
    )


def _detect(files: Files, format: Spec | None) -> tuple[str, Format, str]:
    if format is not None:
        name, fields = split_spec(format, "format")
        told = ", ".join(f"{k} {v}" for k, v in fields.items())
        options = f" ({single_line(told, 120)})" if told else ""
        return name, FORMATS.create(format), f"read as {name}, as asked{options}"
    for name, member in by_priority():
        sentence = member.detect(files)
        if sentence:
            return name, member, sentence
    found = Counter(Path(n).suffix.lower() or "no suffix" for n in files.names)
    shown = ", ".join(f"{n} {s}" for s, n in found.most_common(4)) or "no file at all"
    raise DataError(
        "a data set is class folders, idx files, images with COCO, YOLO, a .csv or masks, or with "
        "a metadata.jsonl",
        f"{shown} in {files.location}",
        "pass the folder that holds one folder per class, or images with their annotations",
    )


def _built_in(spec: dict[str, Any], cache: Path, options: DecodeOptions) -> Table:
    name, member = spec["name"], DATASETS.create(spec)
    key = fingerprint({"name": name, "of": member, "options": options, "code": code_version()})
    final = cache / f"table-{key[:32]}"
    if final.exists():
        return Table.open(final)
    content = member.build(options.size, options.channels)
    images, schema, values = content.images, content.schema, dict(content.values)
    if options.size is not None and images.shape[2:] != options.size:
        height, width = images.shape[2:]
        schema, values = schema.resized(values, (height, width), options.size)
        images = resize(images, options.size)
    if options.channels is not None:
        images = to_channels(images, options.channels)
    rules = {"source": name, "format": "built-in", "layout": content.text, "ignored_count": 0}
    return Table.write(
        final,
        images,
        values,
        schema,
        content.names,
        content.parts,
        TableNotes(rules={**rules, "ignored": [], "notes": [], "conversions": []}),
    )


def _write_arrays(
    final: Path, listing: Listing, options: DecodeOptions, rules: dict[str, Any]
) -> Table:
    images = listing.pixels
    if images is None:
        raise DataError("a listing has pixels here", "none", "report this as a defect")
    if options.size is not None:
        images = resize(images, options.size)
    if options.channels is not None:
        images = to_channels(images, options.channels)
    rules["conversions"] = []
    values = {}
    for aspect in listing.schema:
        _, dtype = aspect.storage((images.shape[1], images.shape[2], images.shape[3]))
        column = [s.aspects[aspect.name] for s in listing.samples]
        values[aspect.name] = np.asarray(column, dtype=dtype)
    return _write(final, images, (listing.schema, values), listing.samples, rules, [])


def _decode_into(
    final: Path,
    files: Files,
    listing: Listing,
    options: DecodeOptions,
    rules: dict[str, Any],
    workers: int,
) -> Table:
    from augmint.core.progress import Progress

    samples = listing.samples
    if options.size is None:
        _probe_sizes(files, samples)
    with (
        tempfile.TemporaryDirectory(prefix=".decode-", dir=final.parent) as temporary,
        contextlib.closing(Spool(Path(temporary) / "pixels")) as spool,
        contextlib.closing(Values(listing.schema, Path(temporary))) as values,
    ):
        good: list[Sample] = []
        bad: list[dict[str, str]] = []
        modes: Counter[str] = Counter()
        peak = 0
        with Progress(len(samples), "reading images", unit="images") as progress:
            position = 0
            for chunk in decode_all(files, [s.name for s in samples], options, workers):
                for outcome in chunk:
                    sample = samples[position]
                    position += 1
                    row = values.of(files, sample, outcome, options.size)
                    if isinstance(outcome, str) or isinstance(row, str):
                        bad.append({"name": single_line(sample.name, 200), "reason": str(row)})
                        continue
                    values.append(sample, row, options.size or outcome.stored)
                    spool.append(outcome.pixels, outcome.opaque)
                    good.append(sample)
                    modes[outcome.mode] += 1
                    peak = max(peak, outcome.peak)
                _check_bad(bad, len(samples))
                progress.advance(len(chunk))
        _check_sizes(spool.sizes)
        images = spool.finish(options.channels)
        rules["modes"] = dict(modes)
        rules["conversions"] = conversions(dict(modes), peak, images.shape[1])
        rules["notes"] = [*rules["notes"], *values.notes()]
        told = values.finish((images.shape[2], images.shape[3]))
        return _write(final, images, told, good, rules, bad)


def _probe_sizes(files: Files, samples: Sequence[Sample]) -> None:
    """Say within milliseconds, not after an hour, that the sizes differ."""
    step = max(1, len(samples) // _PROBED)
    sizes: Counter[tuple[int, int]] = Counter()
    with quiet_pillow():
        for sample in samples[::step]:
            try:
                found = probe(files.read(sample.name))
            except Exception:  # a bad file is reported when it is decoded
                continue
            if found is not None:
                sizes[found] += 1
    _check_sizes(sizes)


def _check_sizes(sizes: Counter[tuple[int, int]]) -> None:
    if len(sizes) <= 1:
        return
    shown = ", ".join(f"{h}x{w} ({n})" for (h, w), n in sizes.most_common(4))
    more = f" and {len(sizes) - 4} more" if len(sizes) > 4 else ""
    side = 1 << max(3, int(np.log2(max(8, min(min(s) for s in sizes)))))
    raise DataError(
        "all images have one height x width",
        f"{shown}{more}",
        f"scale them: size=({side}, {side}) (--size {side})",
    )


def _check_bad(bad: Sequence[dict[str, str]], total: int) -> None:
    if len(bad) <= BAD_SHARE * total:
        return
    shown = "; ".join(f"{b['name']} ({b['reason']})" for b in bad[:3])
    raise BadFilesError(
        f"at most {BAD_SHARE:.0%} of {total} files may be unreadable",
        f"{len(bad)}, the first: {shown}",
        "repair or remove them",
    )


def _write(
    final: Path,
    images: Any,
    told: tuple[Schema, Mapping[str, npt.NDArray[Any]]],
    samples: Sequence[Sample],
    rules: dict[str, Any],
    bad: Sequence[dict[str, str]],
) -> Table:
    schema, values = told
    notes = TableNotes(
        groups=_numbered([s.group for s in samples]),
        origins=_rows_by([s.origin for s in samples]),
        quarantined=bad,
        rules=rules,
    )
    by_part = _rows_by([s.part for s in samples])
    parts = {p: by_part[p] for p in PARTS if p in by_part}
    return Table.write(final, images, values, schema, [s.name for s in samples], parts, notes)


def _rows_by(names: Sequence[str]) -> dict[str, IntArray]:
    column = np.asarray(names)
    return {str(n): np.flatnonzero(column == n) for n in np.unique(column)}


def _numbered(groups: Sequence[str | None]) -> IntArray | None:
    """Groups as numbers, in the order of their names; a row without one is its own group."""
    known = sorted({g for g in groups if g is not None}, key=lambda g: (len(g), g))
    if not known:
        return None
    number = {g: i for i, g in enumerate(known)}
    alone = iter(range(len(known), len(known) + len(groups)))
    return np.asarray([next(alone) if g is None else number[g] for g in groups], dtype=np.int64)


class Spool:
    """Decoded images on disk, one after the other, until their common shape is known.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     spool = Spool(Path(folder, "pixels"))
        ...     spool.append(np.full((1, 1, 1), 7, np.uint8), opaque=True)
        ...     spool.append(np.full((3, 1, 1), 9, np.uint8), opaque=True)
        ...     spool.finish(channels=None)[0:2].reshape(2, 3).tolist()
        [[7, 7, 7], [9, 9, 9]]
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb")
        self._channels: list[int] = []
        self._opaque: list[bool] = []
        self.sizes: Counter[tuple[int, int]] = Counter()

    def append(self, pixels: ByteArray, opaque: bool) -> None:
        """Add one image, uint8 `(C, H, W)`."""
        self._file.write(pixels.tobytes())
        self._channels.append(pixels.shape[0])
        self._opaque.append(opaque)
        self.sizes[(pixels.shape[1], pixels.shape[2])] += 1

    def close(self) -> None:
        """Close the file; what was added stays."""
        self._file.close()

    def finish(self, channels: int | None) -> SpooledImages:
        """Return the images with one number of channels (None: what the set needs)."""
        self.close()
        pairs = set(zip(self._channels, self._opaque, strict=True))
        common = channels or common_channels(list(pairs))
        (height, width), *_ = self.sizes
        return SpooledImages(self._path, self._channels, (common, height, width))


class SpooledImages:
    """Images of one shape, read block by block from a spool."""

    def __init__(self, path: Path, channels: Sequence[int], shape: tuple[int, int, int]) -> None:
        self.shape = (len(channels), *shape)
        self._channels = np.asarray(channels, dtype=np.int64)
        ends = np.cumsum(self._channels * shape[1] * shape[2])
        self._starts = np.concatenate(([0], ends))
        self._bytes = np.memmap(path, dtype=np.uint8, mode="r")

    def __getitem__(self, rows: slice) -> ByteArray:
        """Return uint8 images `(rows, C, H, W)`."""
        start, stop, _ = rows.indices(self.shape[0])
        _, channels, height, width = self.shape
        flat = self._bytes[self._starts[start] : self._starts[stop]]
        if (self._channels[start:stop] == channels).all():
            return flat.reshape(stop - start, channels, height, width)
        out = np.empty((stop - start, channels, height, width), np.uint8)
        for i, row in enumerate(range(start, stop)):
            stored = self._bytes[self._starts[row] : self._starts[row + 1]]
            out[i] = to_channels(stored.reshape(-1, height, width), channels)
        return out

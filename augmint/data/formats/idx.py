"""The idx files in which MNIST and its kin are published, plain or gzipped, strictly checked.

images: magic 0x00000803, count N, height H, width W (big-endian uint32), then N*H*W bytes
labels: magic 0x00000801, count N, then N bytes
"""

from __future__ import annotations

import gzip
import io
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from augmint.aspects.base import Schema
from augmint.core.errors import DataError
from augmint.core.registry import FORMATS
from augmint.data.formats.annotation import only
from augmint.data.formats.base import (
    SPLIT_NAMES,
    WRITE_FOLDERS,
    Format,
    Listing,
    Sample,
    category,
    empty_folder,
    is_junk,
    wrapper,
)
from augmint.data.table import PARTS

if TYPE_CHECKING:
    from augmint.core.types import ByteArray
    from augmint.data.archives import Files
    from augmint.data.table import Table

_IMAGES = re.compile(r"(?P<stem>[^/]+)[-_]images[-.]idx3-ubyte(?:\.gz)?")
_LABELS = re.compile(r"(?P<stem>[^/]+)[-_]labels[-.]idx1-ubyte(?:\.gz)?")
_STEMS = {**SPLIT_NAMES, "t10k": "test", "all": "all"}
_WRITTEN = {"train": "train", "validation": "validation", "test": "t10k", "all": "all"}
LIMIT_BYTES = 32 << 30
LIMIT_RATIO = 100
"""Bytes announced over bytes of the file, for more than 64 MiB: pixels do not pack that well."""

CLASSES = "classes.txt"


@FORMATS.register("idx")
@dataclass(frozen=True)
class Idx(Format):
    """`{train,t10k}-images-idx3-ubyte` with `-labels-idx1-ubyte`, plain or `.gz`.

    Other stems are read too: a split name becomes that part, a single pair of any other name the
    part `all`. Classes are named by their number, or by the lines of a `classes.txt` beside them.

    Args:
        compress: write `.gz` files.

    Example:
        >>> import tempfile
        >>> from augmint.data.archives import open_files
        >>> images = struct.pack(">IIII", 0x803, 2, 1, 1) + bytes([7, 9])
        >>> labels = struct.pack(">II", 0x801, 2) + bytes([0, 1])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "train-images-idx3-ubyte").write_bytes(images)
        ...     _ = Path(folder, "train-labels-idx1-ubyte").write_bytes(labels)
        ...     listing = Idx().read(open_files(Path(folder)))
        >>> listing.pixels.ravel().tolist(), [s.aspects["label"] for s in listing.samples]
        ([7, 9], [0, 1])
    """

    compress: bool = True
    priority: ClassVar[int] = 10

    def detect(self, files: Files) -> str | None:
        pairs = _pairs(files)
        if not pairs:
            return None
        return f"idx files: {', '.join(sorted(pairs))}"

    def read(self, files: Files) -> Listing:
        pairs = _pairs(files)
        if not pairs:
            raise DataError(
                "idx files are named <part>-images-idx3-ubyte[.gz]",
                f"none in {files.location}",
                "rename them, or pass the folder that holds them",
            )
        found = {_part(stem, len(pairs)): pair for stem, pair in pairs.items()}
        if len(found) < len(pairs):
            raise DataError("every part has one pair", ", ".join(sorted(pairs)), "remove one pair")
        images, labels, names, parts = [], [], [], []
        used = set()
        for part in (p for p in PARTS if p in found):
            image_name, label_name = found[part]
            block = read_array(files, image_name, dimensions=3)
            values = read_array(files, label_name, dimensions=1)
            if len(block) != len(values):
                raise DataError(
                    "images and labels agree in number",
                    f"{len(block)} in {image_name}, {len(values)} in {label_name}",
                    "fetch both files again",
                )
            images.append(block)
            labels += values.tolist()
            names += [f"{image_name}#{i}" for i in range(len(block))]
            parts += [part] * len(block)
            used |= {image_name, label_name}
        if len({b.shape[1:] for b in images}) > 1:
            raise DataError(
                "all images have one size", [b.shape[1:] for b in images], "read the parts alone"
            )
        prefix = wrapper(files.names)
        classes = _class_names(files, prefix + CLASSES)
        used |= {prefix + CLASSES} if classes else set()
        text = [classes[v] if classes and v < len(classes) else str(v) for v in labels]
        label, indices = category(text, classes)
        samples = [
            Sample(n, {"label": int(i)}, p) for n, i, p in zip(names, indices, parts, strict=True)
        ]
        ignored = [n for n in files.names if n not in used]
        return Listing(samples, Schema((label,)), ignored, np.concatenate(images)[:, None])

    def write(self, table: Table, folder: Path) -> None:
        only(table, ("category",), "idx")
        if table.shape[0] != 1 or len(table.classes()) > 256:
            raise DataError(
                "idx holds grey images of at most 256 classes",
                f"{table.shape[0]} channels, {len(table.classes())} classes",
                WRITE_FOLDERS,
            )
        empty_folder(folder)
        labels = table.labels().astype(np.uint8)
        for part, rows in table.parts.items():
            stem = folder / _WRITTEN[part]
            count, (_, height, width) = len(rows), table.shape
            header = struct.pack(">IIII", 0x803, count, height, width)
            self._write(f"{stem}-images-idx3-ubyte", header + table.images[rows].tobytes())
            header = struct.pack(">II", 0x801, count)
            self._write(f"{stem}-labels-idx1-ubyte", header + labels[rows].tobytes())
        classes = table.classes()
        if any("\n" in c or "\r" in c for c in classes):
            raise DataError("class names have one line", repr(classes), "write as manifest")
        (folder / CLASSES).write_text("".join(f"{c}\n" for c in classes), encoding="utf-8")

    def _write(self, path: str, content: bytes) -> None:
        if self.compress:
            Path(f"{path}.gz").write_bytes(gzip.compress(content, compresslevel=6, mtime=0))
        else:
            Path(path).write_bytes(content)


def read_array(files: Files, name: str, dimensions: int) -> ByteArray:
    """Return the uint8 array of one idx file.

    Raises:
        DataError: for a wrong magic number, a file that is cut short or has bytes left over, or
            damaged compression.
    """
    header_size = 4 + 4 * dimensions
    try:
        raw = files.read(name)
        stored = io.BytesIO(raw)
        source = gzip.GzipFile(fileobj=stored) if name.endswith(".gz") else stored
        header = source.read(header_size)
        if len(header) < header_size:
            raise _bad(name, f"a header of {len(header)} bytes, not {header_size}")
        magic, *shape = struct.unpack(f">{1 + dimensions}I", header)
        if magic != 0x800 + dimensions:
            raise _bad(name, f"magic number 0x{magic:08x}, not 0x{0x800 + dimensions:08x}")
        expected = int(np.prod([int(s) for s in shape], dtype=object))
        # before it is unpacked: a few bytes may unpack to gigabytes
        most = min(LIMIT_BYTES, max(64 << 20, LIMIT_RATIO * len(raw)))
        if not 0 < expected <= most:
            raise _bad(name, f"{' x '.join(map(str, shape))} bytes announced")
        content = source.read(expected + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _bad(name, f"{type(error).__name__}: {error}") from None
    if len(content) < expected:
        raise _bad(name, f"{len(content)} of {expected} bytes (cut short)")
    if len(content) > expected:
        raise _bad(name, f"more than the {expected} bytes announced")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _bad(name: str, found: str) -> DataError:
    return DataError(
        "an idx file is a header and exactly the bytes it announces",
        f"{found} in {name}",
        "fetch the file again",
    )


def _pairs(files: Files) -> dict[str, tuple[str, str]]:
    prefix = wrapper(files.names)
    images: dict[str, str] = {}
    labels: dict[str, str] = {}
    for name in files.names:
        if is_junk(name) or not name.startswith(prefix):
            continue
        for pattern, found in ((_IMAGES, images), (_LABELS, labels)):
            match = pattern.fullmatch(name[len(prefix) :])
            if match is None:
                continue
            if match["stem"] in found:
                raise DataError(
                    "an idx file is there once", f"{found[match['stem']]} and {name}", "remove one"
                )
            found[match["stem"]] = name
    for stem in sorted(set(images) ^ set(labels)):
        kind = "labels-idx1" if stem in images else "images-idx3"
        raise DataError(
            "idx images and labels come in pairs", f"no {stem}-{kind}-ubyte", "add the file"
        )
    return {stem: (images[stem], labels[stem]) for stem in images}


def _part(stem: str, pairs: int) -> str:
    part = _STEMS.get(stem.lower())
    if part is None and pairs == 1:
        return "all"
    if part is None or (part == "all" and pairs > 1):
        raise DataError(
            "several idx pairs are named by their split (train, validation, t10k)",
            stem,
            "rename the pair, or move it to a folder of its own",
        )
    return part


def _class_names(files: Files, name: str) -> list[str] | None:
    if name not in files.sizes:
        return None
    try:
        return files.read(name).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("classes.txt is UTF-8 text", f"{name} ({error})", "mend it") from None

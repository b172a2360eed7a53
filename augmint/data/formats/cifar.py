"""The binary version of CIFAR-10: one byte of label and 3072 of pixels an image.

data_batch_1.bin … data_batch_5.bin, test_batch.bin: N times (label, 1024 red, 1024 green,
1024 blue bytes, row by row); batches.meta.txt: one class name a line
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.core.errors import DataError, single_line
from augmint.core.registry import FORMATS
from augmint.data.formats.annotation import only
from augmint.data.formats.base import (
    WRITE_FOLDERS,
    Format,
    Listing,
    Sample,
    category,
    empty_folder,
    is_image,
    wrapper,
)

if TYPE_CHECKING:
    from augmint.core.types import ByteArray, IntArray
    from augmint.data.archives import Files
    from augmint.data.table import Table

SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32
CLASSES = "batches.meta.txt"

_BATCH = re.compile(r"(?:data_batch_(?P<number>[0-9]{1,4})|test_batch)(?P<suffix>\.bin)?")


@FORMATS.register("cifar")
@dataclass(frozen=True)
class Cifar(Format):
    """`data_batch_*.bin` as the part train and `test_batch.bin` as test.

    Classes are named by the lines of `batches.meta.txt`, or by their numbers where it is missing.
    The Python version of the set consists of pickles, which are never opened.

    Example:
        >>> import tempfile
        >>> from augmint.data.archives import open_files
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "data_batch_1.bin").write_bytes(bytes([3]) + bytes(3072))
        ...     _ = Path(folder, "test_batch.bin").write_bytes(bytes([5]) + bytes(3072))
        ...     listing = Cifar().read(open_files(Path(folder)))
        >>> listing.pixels.shape, [s.part for s in listing.samples], listing.schema["label"].classes
        ((2, 3, 32, 32), ['train', 'test'], ('3', '5'))
    """

    priority: ClassVar[int] = 10

    def detect(self, files: Files) -> str | None:
        found = _batches(files)
        if found:
            images = sum(files.sizes[n] for n in found) // RECORD
            return f"CIFAR-10's binary version: {len(found)} files, {images} images"
        prefix = wrapper(files.names)
        pickles = [n for n in files.names if _BATCH.fullmatch(n.removeprefix(prefix))]
        if pickles and not any(is_image(n) for n in files.names):
            raise DataError(
                "CIFAR-10 is read from its binary version",
                f"{single_line(pickles[0], 80)}, a Python pickle, which is never opened",
                "fetch the binary version, whose files end in .bin",
            )
        return None

    def read(self, files: Files) -> Listing:
        found = _batches(files)
        if not found:
            raise DataError(
                "CIFAR-10's files are named data_batch_1.bin … and test_batch.bin",
                f"none in {files.location}",
                "pass the folder that holds them",
            )
        images, labels, names, parts = [], [], [], []
        for name, part in found.items():
            records = _records(files, name)
            labels.append(records[:, 0])
            images.append(records[:, 1:].reshape(-1, *SHAPE))
            names += [f"{name}#{i}" for i in range(len(records))]
            parts += [part] * len(records)
        meta = wrapper(files.names) + CLASSES
        classes = _class_names(files, meta)
        label, indices = _label(np.concatenate(labels), classes)
        samples = [
            Sample(n, {"label": int(i)}, p) for n, i, p in zip(names, indices, parts, strict=True)
        ]
        used = {*found, meta}
        ignored = [n for n in files.names if n not in used]
        return Listing(samples, Schema((label,)), ignored, np.concatenate(images))

    def write(self, table: Table, folder: Path) -> None:
        only(table, ("category",), "cifar")
        places = {"train": "data_batch_1.bin", "test": "test_batch.bin"}
        classes = table.classes()
        fits = table.shape == SHAPE and set(table.parts) <= set(places) and len(classes) <= 256
        if not fits or any(c != c.strip() or "\n" in c or "\r" in c for c in classes):
            raise DataError(
                "CIFAR-10's layout holds 32x32 colour images, a train and a test part, and at "
                "most 256 classes with names of one line",
                f"{table.shape[1]}x{table.shape[2]}, {table.shape[0]} channels, "
                f"{', '.join(table.parts)}, {len(classes)} classes",
                WRITE_FOLDERS,
            )
        empty_folder(folder)
        labels = table.labels().astype(np.uint8)
        for part, rows in table.parts.items():
            pixels = np.asarray(table.images[rows]).reshape(len(rows), -1)
            records = np.concatenate((labels[rows][:, None], pixels), 1)
            (folder / places[part]).write_bytes(records.tobytes())
        (folder / CLASSES).write_text("".join(f"{c}\n" for c in classes), encoding="utf-8")


def _batches(files: Files) -> dict[str, str]:
    """Return the names of the batches with the parts that they are, in order."""
    prefix = wrapper(files.names)
    found: list[tuple[int, str]] = []
    for name in files.names:
        match = _BATCH.fullmatch(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if match is not None and match["suffix"]:
            number = match["number"]
            found.append((10_000 if number is None else int(number), name))
    return {n: "test" if order == 10_000 else "train" for order, n in sorted(found)}


def _records(files: Files, name: str) -> ByteArray:
    """Return `(N, 3073)`.

    Raises:
        DataError: for a file that is empty, cut short or cannot be read.
    """
    size = files.sizes[name]
    if size == 0 or size % RECORD:
        raise DataError(
            f"a batch of CIFAR-10 holds {RECORD} bytes an image",
            f"{size} bytes in {single_line(name, 80)}",
            "fetch the file again",
        )
    try:
        content = files.read(name)
    except OSError as error:
        raise DataError(
            "a batch must be readable", f"{single_line(name, 80)} ({error})", "fetch it again"
        ) from None
    if len(content) != size:
        raise DataError("a file keeps its size", single_line(name, 80), "read the set again")
    return np.frombuffer(content, np.uint8).reshape(-1, RECORD)


def _class_names(files: Files, name: str) -> list[str] | None:
    if name not in files.sizes:
        return None
    try:
        lines = files.read(name).decode("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{CLASSES} is UTF-8 text", f"{name} ({error})", "mend it") from None
    return [line.strip() for line in lines if line.strip()]


def _label(values: ByteArray, classes: Sequence[str] | None) -> tuple[Category, IntArray]:
    if classes is None:
        return category([str(v) for v in values.tolist()])
    highest = int(values.max())
    if highest >= len(classes):
        raise DataError(
            f"labels count the {len(classes)} lines of {CLASSES} from 0",
            highest,
            "fetch the files again",
        )
    return category([classes[v] for v in values.tolist()], classes)

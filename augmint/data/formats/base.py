"""What a format promises: to recognise a listing of files, to read it, and to write it."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.core.errors import DataError, single_line
from augmint.core.registry import FORMATS

if TYPE_CHECKING:
    import numpy.typing as npt

    from augmint.core.types import ByteArray, IntArray
    from augmint.data.archives import Files
    from augmint.data.table import Table

IMAGE_SUFFIXES = frozenset(
    [
        ".png",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".bmp",
        ".tif",
        ".tiff",
        ".webp",
        ".gif",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
    ]
)
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""Folder names (in small letters) that are splits, and the part they become."""

WRITE_MANIFEST = "write as manifest: FORMATS.create('manifest') (mint without --format)"
WRITE_FOLDERS = "write as imagefolder: FORMATS.create('imagefolder') (mint --format imagefolder)"
"""Remedies for what a format cannot hold."""

_IGNORED = re.compile(r"(readme|licen[cs]e|copying|thumbs\.db|desktop\.ini)", re.IGNORECASE)
CLASS_NAME_LIMIT = 255


@dataclass(frozen=True)
class Sample:
    """One image of a data set, before it is decoded.

    Args:
        name: its file, relative (for arrays: the file and the row).
        aspects: aspect name to stored value, in the frame of the image as it is stored, or to a
            `Deferred` value.
        part: "train", "validation", "test" or "all".
        group: the subject it shows, or None where unknown.
        origin: "real" or "minted".
        where: what says so ("landmarks.csv line 12"), for messages; the image's name if empty.
    """

    name: str
    aspects: Mapping[str, Any]
    part: str = "all"
    group: str | None = None
    origin: str = "real"
    where: str = ""


class Deferred(Protocol):
    """A stored value that is made when its image is decoded: a mask in a file of its own."""

    def load(self, files: Files, size: tuple[int, int]) -> npt.NDArray[Any]:
        """Return the stored value for an image of height and width `size`.

        Raises:
            Exception: if there is none; the image is then left out, with the reason.
        """
        ...


@dataclass(frozen=True)
class Listing:
    """Everything a format found.

    Args:
        samples: in the order of the table's rows.
        schema: their aspects; the frame of landmarks is replaced by that of the decoded images.
        ignored: files that are no part of the data set, listed for people.
        pixels: uint8 `(N, C, H, W)` where the files hold arrays; None where `Sample.name` is an
            encoded image to decode.
        notes: sentences about what was not read (extra columns).
    """

    samples: Sequence[Sample]
    schema: Schema
    ignored: Sequence[str] = ()
    pixels: ByteArray | None = None
    notes: Sequence[str] = field(default_factory=tuple)


class Format(ABC):
    """A layout of files. Members are frozen dataclasses registered on the axis `formats`."""

    priority: ClassVar[int] = 0
    """Formats are asked in falling order; the first that recognises the files reads them."""

    @abstractmethod
    def detect(self, files: Files) -> str | None:
        """Return a sentence that says what was recognised, or None.

        Raises:
            DataError: if the files are nearly of this format, naming what is wrong.
        """

    @abstractmethod
    def read(self, files: Files) -> Listing:
        """Return every sample.

        Raises:
            DataError: naming the file that breaks the layout.
        """

    @abstractmethod
    def write(self, table: Table, folder: Path) -> None:
        """Write a table so that `read` gives the same pixels, values and parts.

        Rows and classes keep their order, unless the layout has one of its own: class folders, or
        one file a part.

        Raises:
            DataError: if the format cannot hold the table; the remedy names one that can.
        """


def by_priority() -> list[tuple[str, Format]]:
    """Return every registered format, in the order in which they are asked.

    Example:
        >>> by_priority()[0][0]
        'manifest'
    """
    members = [(name, FORMATS.create(name)) for name in FORMATS.names()]
    return sorted(members, key=lambda m: (-m[1].priority, m[0]))


def is_junk(name: str) -> bool:
    """Return whether a file is a read-me, hidden, or left behind by an operating system.

    Example:
        >>> is_junk("README.md"), is_junk(".cache/a.png"), is_junk("cat/a.png")
        (True, True, False)
    """
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return hidden or _IGNORED.match(path.name) is not None


def is_image(name: str) -> bool:
    """Return whether a file is an image by its suffix, and no junk.

    Example:
        >>> is_image("cat/a.JPG"), is_image("__MACOSX/cat/._a.jpg"), is_image("notes.txt")
        (True, False, False)
    """
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES and not is_junk(name)


def wrapper(names: Sequence[str]) -> str:
    """Return the one top folder (with `/`) that wraps all names that are no junk, or "".

    Example:
        >>> wrapper(["set/a.png", "set/b.png", "README.md"]), wrapper(["a/b.png", "c/d.png"])
        ('set/', '')
    """
    kept = [n for n in names if not is_junk(n)]
    tops = {n.split("/", 1)[0] if "/" in n else "" for n in kept}
    return f"{tops.pop()}/" if len(tops) == 1 and "" not in tops else ""


def category(
    names: Sequence[str], classes: Sequence[str] | None = None
) -> tuple[Category, IntArray]:
    """Return the category `label` of a set and the class index of every sample.

    Classes are sorted, as numbers where all of them are numbers.

    Raises:
        DataError: for fewer than two classes, or names that are empty, too long or hold NUL.

    Example:
        >>> label, rows = category(["10", "9", "10"])
        >>> label.classes, rows.tolist()
        (('9', '10'), [1, 0, 1])
    """
    found = sorted(set(names))
    if all(n.isascii() and n.isdigit() and str(int(n)) == n for n in found):
        found.sort(key=int)
    known = tuple(classes) if classes is not None else tuple(found)
    for name in known:
        if not name or len(name) > CLASS_NAME_LIMIT or re.search("[\0\ud800-\udfff]", name):
            raise DataError(
                f"class names have 1 to {CLASS_NAME_LIMIT} characters, valid text without NUL",
                single_line(repr(name), 60),
                "rename the class",
            )
    if len(set(known)) != len(known):
        raise DataError("class names are unique", ", ".join(known), "rename one")
    if len(known) < 2:
        raise DataError(
            "a data set for classification has at least two classes",
            f"only {single_line(known[0], 80)!r}" if known else "none",
            "pass the folder that holds one folder per class",
        )
    index = {name: i for i, name in enumerate(known)}
    missing = set(names) - set(known)
    if missing:
        raise DataError("labels are among the classes", sorted(missing)[0], "add the class")
    return Category("label", known), np.asarray([index[n] for n in names], dtype=np.int64)


def folder_name(text: str, what: str) -> str:
    """Return `text` if it can name a folder everywhere.

    Raises:
        DataError: if it cannot.
    """
    if text in ("", ".", "..") or text.startswith(".") or re.search(r'[/\\\0:*?"<>|]', text):
        raise DataError(
            f"{what} must be usable as a folder name",
            single_line(repr(text), 80),
            WRITE_MANIFEST,
        )
    return text


def write_png(path: Path, image: ByteArray) -> None:
    """Write uint8 `(C, H, W)` with C in 1, 3, 4 as PNG.

    Raises:
        DataError: for another number of channels.

    Example:
        >>> import tempfile
        >>> from augmint.data.decoding import DecodeOptions, decode
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_png(Path(folder, "a.png"), np.array([[[7, 255]]], np.uint8))
        ...     decode(Path(folder, "a.png").read_bytes(), DecodeOptions()).pixels.tolist()
        [[[7, 255]]]
    """
    from PIL import Image

    if image.shape[0] not in (1, 3, 4):
        raise DataError("a PNG has 1, 3 or 4 channels", image.shape[0], "select channels first")
    whole = image[0] if image.shape[0] == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(whole)).save(path, format="PNG")


def empty_folder(folder: Path) -> None:
    """Make `folder`, which must not exist or be empty.

    Raises:
        DataError: if it holds anything.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise DataError("a set is written to an empty folder", str(folder), "choose another")

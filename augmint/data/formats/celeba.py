"""CelebA: aligned faces with a list of 40 attributes, one of which is the label.

list_attr_celeba.txt: the number of images; the attributes' names; then a line an image, its
name and 1 or -1 for each attribute
list_eval_partition.txt (optional): a line an image, its name and 0, 1 or 2 (train, validation,
test)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, ClassVar

from augmint.aspects.base import Schema
from augmint.core.errors import DataError, nearest, single_line
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
    is_junk,
    write_png,
)

if TYPE_CHECKING:
    from augmint.data.archives import Files
    from augmint.data.table import Table

ATTRIBUTES, PARTITION = "list_attr_celeba.txt", "list_eval_partition.txt"
_PARTS = {"0": "train", "1": "validation", "2": "test"}
_SIGNS = {"-1": 0, "1": 1}


@FORMATS.register("celeba")
@dataclass(frozen=True)
class CelebA(Format):
    """Images anywhere below the folder, `list_attr_celeba.txt` and `list_eval_partition.txt`.

    The label is one attribute: the classes are "not Male" and "Male". Rows keep the list's order;
    listed images that are missing are left out and counted.

    Args:
        attribute: which one is the label.

    Example:
        >>> import tempfile
        >>> from augmint.data.archives import open_files
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lines = "2", "Bald Male", "1.jpg 1 -1", "2.jpg -1 1"
        ...     _ = Path(folder, ATTRIBUTES).write_text("\\n".join(lines))
        ...     _ = [Path(folder, name).touch() for name in ("1.jpg", "2.jpg")]
        ...     listing = CelebA(attribute="Bald").read(open_files(Path(folder)))
        >>> listing.schema["label"].classes, [s.aspects["label"] for s in listing.samples]
        (('not Bald', 'Bald'), [1, 0])
    """

    attribute: str = "Male"
    priority: ClassVar[int] = 15

    def detect(self, files: Files) -> str | None:
        name = _list(files, ATTRIBUTES)
        return None if name is None else f"CelebA's lists, {self.attribute} as the label"

    def read(self, files: Files) -> Listing:
        name = _list(files, ATTRIBUTES)
        if name is None:
            raise _bad(f"no {ATTRIBUTES} in {files.location}")
        signs = self._signs(files, name)
        partition = _list(files, PARTITION)
        parts = {} if partition is None else _parts(files, partition)
        places = _places(files)
        kept = [image for image in signs if image in places]
        if not kept:
            raise _bad(f"none of the {len(signs)} images of {single_line(name, 80)}")
        unplaced = next((i for i in kept if parts and i not in parts), None)
        if unplaced is not None:
            raise _bad(f"{single_line(unplaced, 60)} without a part in {PARTITION}")
        names = self._classes()
        label, indices = category([names[signs[i]] for i in kept], names)
        samples = [
            Sample(places[i], {"label": int(v)}, parts.get(i, "all"))
            for i, v in zip(kept, indices, strict=True)
        ]
        missing = len(signs) - len(kept)
        notes = [f"{missing} listed images are missing"] if missing else []
        used = {name, partition, *(places[i] for i in kept)}
        ignored = [n for n in files.names if n not in used]
        return Listing(samples, Schema((label,)), ignored, notes=notes)

    def write(self, table: Table, folder: Path) -> None:
        only(table, ("category",), "celeba")
        if table.classes() != self._classes() or " " in self.attribute:
            raise DataError(
                f"the classes of CelebA's {self.attribute} are {' and '.join(self._classes())}",
                ", ".join(table.classes()),
                WRITE_FOLDERS,
            )
        empty_folder(folder)
        numbers = {part: number for number, part in _PARTS.items()}
        listed, parts = [], []
        for row, (label, part) in enumerate(zip(table.labels(), table.part_of(), strict=True)):
            name = f"{row + 1:06d}.png"
            write_png(folder / "img_align_celeba" / name, table.images[row])
            listed.append(f"{name} {' 1' if label else '-1'}\n")
            if part in numbers:
                parts.append(f"{name} {numbers[part]}\n")
        head = f"{len(listed)}\n{self.attribute}\n"
        (folder / ATTRIBUTES).write_text(head + "".join(listed), encoding="utf-8")
        if parts:
            (folder / PARTITION).write_text("".join(parts), encoding="utf-8")

    def _classes(self) -> tuple[str, str]:
        return f"not {self.attribute}", self.attribute

    def _signs(self, files: Files, name: str) -> dict[str, int]:
        """Return 0 or 1 for every listed image."""
        lines = _lines(files, name)
        if len(lines) < 3 or not lines[0].isdecimal() or len(lines[0]) > 9:
            raise _bad(f"no number of images in the first line of {single_line(name, 80)}")
        if int(lines[0]) != len(lines) - 2:
            raise _bad(f"{len(lines) - 2} of {lines[0]} images in {single_line(name, 80)}")
        attributes = lines[1].split()
        if self.attribute not in attributes:
            raise DataError(
                "the label is one of CelebA's attributes",
                self.attribute,
                nearest(self.attribute, attributes),
            )
        column, found = attributes.index(self.attribute) + 1, {}
        for number, line in enumerate(lines[2:], start=3):
            cells = line.split()
            whole = len(cells) == len(attributes) + 1 and cells[column] in _SIGNS
            if not whole or cells[0] in found:
                raise _bad(f"{single_line(line, 60)!r} in {single_line(name, 80)} line {number}")
            found[cells[0]] = _SIGNS[cells[column]]
        return found


def _list(files: Files, name: str) -> str | None:
    """Return where a list lies.

    Raises:
        DataError: if it is there twice.
    """
    found = [n for n in files.names if PurePosixPath(n).name == name and not is_junk(n)]
    if len(found) > 1:
        raise _bad(f"{' and '.join(single_line(n, 60) for n in found[:2])}")
    return found[0] if found else None


def _places(files: Files) -> dict[str, str]:
    """Return where images lie, by their bare names."""
    found: dict[str, str] = {}
    for name in files.names:
        if not is_image(name):
            continue
        bare = PurePosixPath(name).name
        if bare in found:
            raise _bad(f"{single_line(found[bare], 60)} and {single_line(name, 60)}")
        found[bare] = name
    return found


def _parts(files: Files, name: str) -> dict[str, str]:
    found = {}
    for number, line in enumerate(_lines(files, name), start=1):
        cells = line.split()
        if len(cells) != 2 or cells[1] not in _PARTS:
            raise _bad(f"{single_line(line, 60)!r} in {single_line(name, 80)} line {number}")
        found[cells[0]] = _PARTS[cells[1]]
    return found


def _lines(files: Files, name: str) -> list[str]:
    try:
        text = files.read(name).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(f"{single_line(name, 80)} ({error})") from None
    return [line.strip() for line in text.split("\n") if line.strip()]


def _bad(found: str) -> DataError:
    return DataError(
        "CelebA is one folder of images with list_attr_celeba.txt (a number, the attributes, "
        "then a name and 1 or -1 for each) and list_eval_partition.txt",
        found,
        "fetch the lists again, and keep one set of images",
    )

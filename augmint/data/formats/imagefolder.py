"""`class/image` or `split/class/image`, as most classification sets come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from augmint.aspects.base import Schema
from augmint.core.errors import DataError, single_line
from augmint.core.registry import FORMATS
from augmint.data.formats.annotation import only
from augmint.data.formats.base import (
    SPLIT_NAMES,
    Format,
    Listing,
    Sample,
    category,
    empty_folder,
    folder_name,
    is_image,
    wrapper,
    write_png,
)
from augmint.data.formats.origins import ORIGINS, with_origins, write_origins
from augmint.data.table import PARTS

if TYPE_CHECKING:
    from augmint.data.archives import Files
    from augmint.data.table import Table

_LAYOUT = "images lie as class/image or split/class/image, splits named train, val, test"


@dataclass(frozen=True)
class _Place:
    name: str
    split: str | None
    label: str


@FORMATS.register("imagefolder")
@dataclass(frozen=True)
class ImageFolder(Format):
    """One folder per class, below split folders or not; one folder may wrap the whole.

    Splits are named train, training, val, valid, validation, test or testing, in any case.
    Read-me files, hidden files and what is no image are left out and listed. Classes are
    sorted by name (as numbers where all are numbers), rows by part, class and file name.

    Example:
        >>> import tempfile
        >>> from augmint.data.archives import open_files
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for label in ("cat", "dog"):
        ...         Path(folder, label).mkdir()
        ...         Path(folder, label, "1.png").touch()
        ...     listing = ImageFolder().read(open_files(Path(folder)))
        >>> [(s.name, s.aspects) for s in listing.samples]
        [('cat/1.png', {'label': 0}), ('dog/1.png', {'label': 1})]
    """

    priority: ClassVar[int] = 0

    def detect(self, files: Files) -> str | None:
        images = [n for n in files.names if is_image(n)]
        if not images:
            return None
        places = _places(images)
        classes = len({p.label for p in places})
        splits = Counter(p.split for p in places if p.split)
        if not splits:
            return f"class folders: {len(images)} images, {classes} classes"
        counts = ", ".join(f"{s} {n}" for s, n in splits.items())
        return f"split folders with class folders: {counts} images, {classes} classes"

    def read(self, files: Files) -> Listing:
        images = [n for n in files.names if is_image(n)]
        if not images:
            raise DataError(_LAYOUT, f"no image in {files.location}", "pass the folder of images")
        places = _places(images)
        label, indices = category([p.label for p in places])
        parts = [SPLIT_NAMES[p.split.lower()] if p.split else "all" for p in places]
        order = sorted(
            range(len(places)), key=lambda i: (PARTS.index(parts[i]), indices[i], places[i].name)
        )
        samples = [Sample(places[i].name, {"label": int(indices[i])}, parts[i]) for i in order]
        prefix = wrapper(files.names)
        chosen = {*images, prefix + ORIGINS}
        ignored = [n for n in files.names if n not in chosen]
        return Listing(with_origins(samples, files, prefix), Schema((label,)), ignored)

    def write(self, table: Table, folder: Path) -> None:
        only(table, ("category",), "imagefolder")
        empty_folder(folder)
        names = [folder_name(c, "a class") for c in table.classes()]
        labels, parts = table.labels(), table.part_of()
        if set(table.parts) == {"all"} and all(n.lower() in SPLIT_NAMES for n in names):
            raise DataError(
                "classes are not all named like splits", ", ".join(names), "write as manifest"
            )
        places = [
            f"{'' if part == 'all' else f'{part}/'}{names[labels[row]]}/{row:07d}.png"
            for row, part in enumerate(parts)
        ]
        write_origins(table, folder, places)
        for row, place in enumerate(places):
            write_png(folder / place, table.images[row])


def _places(images: Sequence[str]) -> list[_Place]:
    split_names = [n.split("/") for n in images]
    depths = Counter(len(parts) for parts in split_names)
    if len(depths) > 1:
        examples = {len(p): "/".join(p) for p in reversed(split_names)}
        shown = ", ".join(single_line(examples[d], 60) for d in sorted(depths))
        raise DataError(
            _LAYOUT, f"images at different depths: {shown}", "move the odd ones, or remove them"
        )
    tops = {parts[0] for parts in split_names}
    # a wrapping folder is taken off only where what is below it still names a class
    if len(tops) == 1 and len(split_names[0]) > 2 and next(iter(tops)).lower() not in SPLIT_NAMES:
        split_names = [parts[1:] for parts in split_names]
        tops = {parts[0] for parts in split_names}
    depth = len(split_names[0])
    if depth == 2:
        return [_Place(n, None, p[0]) for n, p in zip(images, split_names, strict=True)]
    if depth != 3:
        raise DataError(
            _LAYOUT,
            f"{single_line(images[0], 80)}, {'no folder' if depth < 2 else 'too deep'}",
            "move the images into one folder per class, or add a metadata.jsonl with labels",
        )
    odd = sorted(t for t in tops if t.lower() not in SPLIT_NAMES)
    if odd:
        raise DataError(
            _LAYOUT,
            f"the folder {single_line(odd[0], 60)!r} above class folders",
            "rename it to a split, or pass the folder that holds one folder per class",
        )
    _check_twins(tops)
    return [_Place(n, p[0], p[1]) for n, p in zip(images, split_names, strict=True)]


def _check_twins(tops: set[str]) -> None:
    by_part: dict[str, list[str]] = {}
    for top in sorted(tops):
        by_part.setdefault(SPLIT_NAMES[top.lower()], []).append(top)
    for part, names in by_part.items():
        if len(names) > 1:
            raise DataError(
                f"one folder is the {part} split", " and ".join(names), "merge or rename one"
            )

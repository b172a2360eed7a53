"""The entries of COCO's annotation files, checked one by one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from augmint.core.errors import single_line
from augmint.data.formats.annotation import bad, inner_path, number, read_json
from augmint.data.formats.base import SPLIT_NAMES
from augmint.data.formats.regions import Region

if TYPE_CHECKING:
    from augmint.data.archives import Files

KEYS = ("images", "annotations", "categories")
Plain = Mapping[str, Any]


def is_coco(files: Files, name: str) -> bool:
    """Return whether a file holds the keys of COCO somewhere.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from augmint.data.archives import open_files
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.json").write_text('{"images": [], "annotations": []}')
        ...     is_coco(open_files(Path(folder)), "a.json")
        False
    """
    try:
        raw = files.read(name)
    except OSError:
        return False
    return all(f'"{key}"'.encode() in raw for key in KEYS)


def part_of(name: str) -> str:
    """Return the part that a file or its folder names, "all" where none is named.

    Example:
        >>> part_of("instances_val2017.json"), part_of("test/_annotations.json"), part_of("a.json")
        ('validation', 'test', 'all')
    """
    path = PurePosixPath(name)
    for text in (path.stem, path.parent.name):
        for word in re.split(r"[^a-z]+", text.lower()):
            if word in SPLIT_NAMES:
                return SPLIT_NAMES[word]
    return "all"


@dataclass(frozen=True)
class ImageEntry:
    """One entry of `images`."""

    place: str
    part: str
    where: str
    size: tuple[int, int]
    order: tuple[int, int]
    group: str | None
    origin: str


class Entries:
    """One annotation file, its entries checked one by one."""

    def __init__(self, files: Files, name: str, part: str) -> None:
        self.files, self.name, self.part = files, name, part
        content = read_json(files, name)
        if not isinstance(content, dict):
            raise bad("COCO is an object with images", type(content).__name__, name, "correct it")
        self.categories = self._entries(content, "categories")
        self.images: dict[int, ImageEntry] = {}
        taken: dict[str, int] = {}
        for position, (id, entry) in enumerate(self._entries(content, "images").items()):
            image = self._image(id, entry, position)
            if image.place in taken:
                also = f"{single_line(image.place, 80)}, also image {taken[image.place]}"
                raise bad("an image is listed once", also, image.where, "remove one of the two")
            taken[image.place] = id
            self.images[id] = image
        self.annotations = self._entries(content, "annotations")
        for id, entry in self.annotations.items():
            self._check(id, entry)

    def where(self, what: str, id: int) -> str:
        """Where an entry stands, for messages."""
        return f"{self.name} {what} {id}"

    def _entries(self, content: Plain, key: str) -> dict[int, Plain]:
        rows = content.get(key)
        if not isinstance(rows, list):
            shown = "none" if rows is None else type(rows).__name__
            raise bad(f"{key} is a list", shown, self.name, "write the file again")
        found: dict[int, Plain] = {}
        for at, row in enumerate(rows):
            id = row.get("id") if isinstance(row, dict) else None
            if isinstance(id, bool) or not isinstance(id, int) or abs(id) > 1 << 62:
                where = f"{self.name} {key}[{at}]"
                raise bad(f"an entry of {key} has a whole id", f"{id!r}"[:60], where, "number it")
            if id in found:
                rule = f"ids of {key} are different"
                raise bad(rule, "it again", self.where(key, id), "give each its own id")
            found[id] = row
        return found

    def _image(self, id: int, entry: Plain, position: int) -> ImageEntry:
        where = self.where("image", id)
        name = inner_path(entry.get("file_name"), where)
        size = tuple(int(number(entry.get(k), where, k)) for k in ("height", "width"))
        group = next(
            (str(entry[k]) for k in ("group", "subject") if entry.get(k) is not None), None
        )
        origin = entry.get("origin", "real")
        if origin not in ("real", "minted"):
            raise bad("origin is real or minted", f"{origin!r}"[:60], where, "correct it")
        return ImageEntry(
            self._place(name, where),
            self.part,
            where,
            (size[0], size[1]),
            (id, position),
            group,
            str(origin),
        )

    def _place(self, name: str, where: str) -> str:
        """Where an image lies: beside the file, in `images`, or in a folder named like the part."""
        path = PurePosixPath(self.name)
        word = path.stem.rsplit("_", 1)[-1]
        here, above = path.parent, path.parent.parent
        folders = [here, here / "images"]
        for base in (above, above / "images", here, here / "images"):
            folders += [base / word, base / self.part, base]
        for folder in folders:
            if str(folder / name) in self.files.sizes:
                return str(folder / name)
        raise bad(
            "every image of the file is there",
            f"file_name {single_line(name, 80)}, missing",
            where,
            "add the image, or remove its entry",
        )

    def _check(self, id: int, entry: Plain) -> None:
        where = self.where("annotation", id)
        for key, known in (("image_id", self.images), ("category_id", self.categories)):
            value = entry.get(key)
            if isinstance(value, bool) or not isinstance(value, int) or value not in known:
                shown = f"{key} {value!r}"[:80]
                raise bad(
                    f"{key} is an id of the file", shown, where, "correct it, or add the entry"
                )


def run_region(told: Plain, index: int, where: str) -> Region:
    """Return the region of run lengths.

    Raises:
        DataError: for a size or counts of another type.

    Example:
        >>> region = run_region({"size": [1, 3], "counts": [1, 2]}, 1, "annotation 1")
        >>> region.runs((1, 3), crossed=False).tolist()
        [1, 2]
    """
    size, counts = told.get("size"), told.get("counts")
    whole = isinstance(size, list) and len(size) == 2
    if not isinstance(size, list) or not whole or not all(type(v) is int for v in size):
        raise bad("run lengths have a size [height, width]", f"{size!r}"[:60], where, "add it")
    if isinstance(counts, str):
        return Region(index, where, counts=counts, size=(size[0], size[1]))
    listed = isinstance(counts, list) and all(type(c) is int for c in counts)
    if not isinstance(counts, list) or not listed:
        rule = "counts are a text or a list of whole numbers"
        raise bad(rule, f"{counts!r}"[:60], where, "write them again")
    if any(not 0 <= c < 1 << 32 for c in counts):
        raise bad("counts are 0 to the image's pixels", "another one", where, "write them again")
    return Region(index, where, counts=tuple(counts), size=(size[0], size[1]))


def bbox(entry: Plain, where: str) -> tuple[float, float, float, float]:
    """Return left, top, width and height of an annotation's box.

    Raises:
        DataError: if it has none, or one of negative size.

    Example:
        >>> bbox({"bbox": [1, 0, 2, 3]}, "annotation 1")
        (1.0, 0.0, 2.0, 3.0)
    """
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        raise bad("bbox is [x, y, width, height]", f"{box!r}"[:60], where, "add it")
    x, y, w, h = (number(v, where, "bbox") for v in box)
    if w < 0 or h < 0:
        raise bad("a box has a width and a height", f"{w:g} x {h:g}", where, "correct bbox")
    return x, y, w, h


def names_of(sets: Sequence[Entries]) -> dict[int, str]:
    """Return category names by id, the same in all files.

    Raises:
        DataError: if they are none, empty or not unique, or files do not agree.
    """
    names: dict[int, str] = {}
    for data in sets:
        for id, entry in data.categories.items():
            name, where = entry.get("name"), data.where("category", id)
            if not isinstance(name, str) or not name or len(name) > 255:
                raise bad("a category has a name", f"{name!r}"[:60], where, "name it")
            if names.get(id, name) != name:
                raise bad(
                    "files agree in categories", f"{name!r} and {names[id]!r}", where, "agree"
                )
            names[id] = name
    found = sorted(names)
    if len(set(names.values())) != len(names):
        twice = next(n for n in names.values() if list(names.values()).count(n) > 1)
        raise bad("categories have different names", repr(twice), sets[0].name, "rename one")
    if not found:
        raise bad("a file has categories", "none", sets[0].name, "add them")
    return {i: names[i] for i in found}


def keypoints(sets: Sequence[Entries]) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Return names and lines of the points, the same in all categories that have points.

    Raises:
        DataError: if categories do not agree, or a line leads nowhere.
    """
    points: tuple[str, ...] = ()
    skeleton: tuple[tuple[str, str], ...] = ()
    for data in sets:
        for id, entry in data.categories.items():
            told = entry.get("keypoints")
            if not told:
                continue
            where = data.where("category", id)
            if not isinstance(told, list) or not all(isinstance(n, str) and n for n in told):
                raise bad("keypoints are names", f"{told!r}"[:60], where, "name each point")
            if len(set(told)) != len(told) or (points and tuple(told) != points):
                rule = "all categories have the same points, of different names"
                raise bad(rule, f"{told!r}"[:80], where, "read them apart")
            points = tuple(told)
            skeleton = skeleton or _lines(entry.get("skeleton") or [], points, where)
    return points, skeleton


def _lines(told: Any, points: Sequence[str], where: str) -> tuple[tuple[str, str], ...]:
    """COCO's skeleton counts points from 1."""
    lines = []
    for line in told if isinstance(told, list) else [told]:
        pair = isinstance(line, list) and len(line) == 2 and all(type(n) is int for n in line)
        if not pair or not all(1 <= n <= len(points) for n in line):
            rule = f"a line of the skeleton is two numbers from 1 to {len(points)}"
            raise bad(rule, f"{line!r}"[:60], where, "correct it")
        lines.append((points[line[0] - 1], points[line[1] - 1]))
    return tuple(lines)

"""The parts of a YOLO set: as `data.yaml` declares them, else as folders are called.

`train`, `val` and `test` are each a path or a list of paths: folders, images, or `.txt` lists of
images. They are looked for from `path`, then from the yaml, and never outside the set; where the
only fault of one is that it leads up (`../train/images`), what is left of it is looked for too.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from augmint.core.errors import DataError, single_line
from augmint.data.formats.annotation import bad, read_text
from augmint.data.formats.base import SPLIT_NAMES

if TYPE_CHECKING:
    from augmint.data.archives import Files


class Parts:
    """Which part each image has.

    Args:
        files: of the set.
        told: what `data.yaml` says.
        where: its name.
        images: names of the images.

    Raises:
        DataError: for paths that are none, a list that names no image, an image in two parts,
            images of which some are in a part and others in none, or a declared split of which
            nothing is in the set.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from augmint.data.archives import open_files
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     told, images = {"train": "a", "val": "b"}, ["a/1.png", "b/2.png"]
        ...     parts = Parts(open_files(Path(folder)), told, "data.yaml", images)
        >>> parts.of("a/1.png"), parts.of("b/2.png")
        ('train', 'validation')
    """

    def __init__(
        self, files: Files, told: Mapping[str, Any], where: str, images: Sequence[str]
    ) -> None:
        self.files, self.where = files, where
        self.lists: list[str] = []
        self._lost: list[str] = []
        self._images = frozenset(images)
        self._folders = {f for n in images for f in _above(n)}
        here = str(PurePosixPath(where).parent)
        path = told.get("path")
        if path is not None and not isinstance(path, str):
            raise bad("path is a folder", f"{path!r}"[:60], where, "correct it")
        self._bases = list(dict.fromkeys(b for b in (_inside(here, path or "."), here) if b))
        declared: dict[str, set[str]] = {}
        for key, part in SPLIT_NAMES.items():
            for place in self._told(told, key):
                declared.setdefault(part, set()).update(self._found(key, place))
        of = _by_place(declared)
        said = {n: {p for place in (n, *_above(n)) for p in of.get(place, ())} for n in images}
        # one folder for all parts declares no split
        split = any(found != set(declared) for found in said.values())
        self._parts = {n: self._part(n, said[n] if split else set()) for n in images}
        self._check(declared)

    def of(self, name: str) -> str:
        """Return the part of an image."""
        return self._parts[name]

    def notes(self) -> list[str]:
        """What was declared and is not in the set."""
        if not self._lost:
            return []
        more = f" and {len(self._lost) - 3} more" if len(self._lost) > 3 else ""
        return [f"{self.where} names what the set does not hold: {', '.join(self._lost[:3])}{more}"]

    def _told(self, told: Mapping[str, Any], key: str) -> list[str]:
        value = told.get(key)
        listed = value if isinstance(value, list) else [] if value in (None, "") else [value]
        if not all(isinstance(v, str) and v and "\0" not in v for v in listed):
            raise bad(
                f"{key} is a path or a list of paths",
                single_line(f"{value!r}"[:200], 60),
                self.where,
                "correct it",
            )
        return listed

    def _found(self, key: str, place: str) -> set[str]:
        """The folders and images that a declared path names."""
        for base in self._bases:
            for name in (_inside(base, place), _inside(base, _below(place))):
                if name is None:
                    continue
                if name in self._folders or name in self._images:
                    return {name}
                if name.endswith(".txt") and name in self.files.sizes:
                    self.lists.append(name)
                    return set(self._listed(name))
        self._lost.append(f"{key} {single_line(place, 80)}")
        return {f"\0{place}"}

    def _listed(self, name: str) -> Iterator[str]:
        """The images of a list, each relative to it, to `path` or to the yaml."""
        bases = [str(PurePosixPath(name).parent), *self._bases]
        for at, line in enumerate(read_text(self.files, name).split("\n"), start=1):
            place = line.strip()
            if not place:
                continue
            tried = (_inside(base, place) for base in bases)
            found = next((n for n in tried if n in self._images), None)
            if found is None:
                raise bad(
                    "a list names images of the set",
                    single_line(place, 80),
                    f"{name} line {at}",
                    "write the path relative to the list, or add the image",
                )
            yield found

    def _part(self, name: str, said: set[str]) -> str:
        if len(said) > 1:
            raise DataError(
                "an image has one part",
                f"{single_line(name, 80)} in {' and '.join(sorted(said))} of {self.where}",
                "correct train, val and test",
            )
        return next(iter(said), "") or _by_folder(name)

    def _check(self, declared: Mapping[str, Iterable[str]]) -> None:
        found = set(self._parts.values())
        lost = [p for places in declared.values() for p in places if p.startswith("\0")]
        if "all" in found and (len(found) > 1 or (lost and len(declared) > 1)):
            odd = next(n for n, part in self._parts.items() if part == "all")
            raise DataError(
                "all images lie in a part, or none",
                f"{single_line(odd, 80)} in none",
                f"name its folder under train, val or test of {self.where}, relative to that file, "
                "or remove these lines",
            )


def _by_place(declared: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    of: dict[str, set[str]] = {}
    for part, places in declared.items():
        for place in places:
            of.setdefault(place, set()).add(part)
    return of


def _above(name: str) -> list[str]:
    """The folders of a file, up to the set itself."""
    return [str(folder) for folder in PurePosixPath(name).parents]


def _inside(base: str, place: str) -> str | None:
    """A path from a folder of the set, or None where it leaves the set."""
    path = posixpath.normpath(posixpath.join(base, place.replace("\\", "/")))
    return None if not place or path.startswith(("/", "../")) or path == ".." else path


def _below(place: str) -> str:
    """A path without the steps up that it begins with."""
    parts = PurePosixPath(place.replace("\\", "/")).parts
    up = next((i for i, part in enumerate(parts) if part != ".."), len(parts))
    return "/".join(parts[up:]) if up else ""


def _by_folder(name: str) -> str:
    """The part that the folder above `images`, or one below it, is called by."""
    parts = PurePosixPath(name).parts
    at = len(parts) - 2 - parts[:-1][::-1].index("images")
    around = [p.lower() for p in (*parts[max(0, at - 1) : at], *parts[at + 1 : -1])]
    return next((SPLIT_NAMES[p] for p in around if p in SPLIT_NAMES), "all")

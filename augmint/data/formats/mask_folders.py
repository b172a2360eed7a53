"""Images in one folder, and in another one for each of them an image that is its annotation.

    images/x.jpg  masks/x.png     (train/images/x.jpg  train/masks/x.png, images/train/x.jpg …)
    images/x.jpg  depth/x.png
    A/x.jpg       B/x.png

Stems agree. A and B might be classes too: they are recognised where B holds grey or palette images
of few numbers and A does not; otherwise name this format.

Folders called masks, labels or annotations hold the aspect `mask`: grey or palette images of 8
bits. Folders called depth or maps, and colour images in any of them, hold the map `depth` or `map`,
of 8 or 16 bits. The classes of a mask stand in `classes.txt` beside the folders,
one a line from the number 0 on, or follow from the numbers that are found (see `mask_classes`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from augmint.aspects.base import Aspect, Schema
from augmint.aspects.map import Map
from augmint.core.errors import DataError, UsageError, single_line
from augmint.core.registry import FORMATS
from augmint.data.formats.annotation import (
    SCHEMA,
    MapFile,
    MaskFile,
    agreed,
    bad,
    declared_classes,
    mask_numbers,
    only,
    raster,
    read_schema,
    read_text,
    refusal,
    with_gaps,
    write_schema,
)
from augmint.data.formats.base import (
    SPLIT_NAMES,
    Format,
    Listing,
    Sample,
    empty_folder,
    is_image,
    wrapper,
    write_png,
)
from augmint.data.formats.mask_classes import MOST_FOUND, found_mask
from augmint.data.formats.origins import ORIGINS, with_origins, write_origins

if TYPE_CHECKING:
    import numpy.typing as npt

    from augmint.data.archives import Files
    from augmint.data.table import Table

CLASSES = "classes.txt"
_IMAGES = ("images", "image", "imgs", "img")
_TARGETS = {
    **dict.fromkeys(("masks", "mask", "labels", "annotations", "segmentation"), "mask"),
    **dict.fromkeys(("depth", "depths"), "depth"),
    **dict.fromkeys(("maps", "map"), "map"),
}
"""Folder names, and the aspect that each becomes."""

_SIDES = ("a", "b")
_LOOKED_AT = 8


@FORMATS.register("mask-folders")
@dataclass(frozen=True)
class MaskFolders(Format):
    """Images with a mask or a map each, in folders side by side.

    Args:
        kind: what the annotations are; "auto" goes by the folder's name and by the pixels.
        classes: names of a mask's classes, in the order of their numbers.
        void: the number in a mask that means "no truth here".
        missing: the numbers in a map that mean "none"; by default 0 and 65535 of 16 bits.
        low: the smallest number of a map; by default the smallest one found.
        high: the largest.
        unit: of a map's numbers, for people ("mm").

    Example:
        >>> import tempfile
        >>> from augmint.data.archives import open_files
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("images/a.png", "images/b.png", "masks/a.png", "masks/b.png"):
        ...         write_png(Path(folder, name), np.array([[[0, 1, 2]]], np.uint8))
        ...     listing = MaskFolders().read(open_files(Path(folder)))
        >>> [s.name for s in listing.samples], listing.schema["mask"].classes
        (['images/a.png', 'images/b.png'], ('0', '1', '2'))
    """

    kind: Literal["auto", "mask", "map"] = "auto"
    classes: tuple[str, ...] = ()
    void: int | None = None
    missing: tuple[int, ...] | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    priority: ClassVar[int] = 12

    def __post_init__(self) -> None:
        if self.void is not None and not 0 <= self.void <= 255:
            raise UsageError("void is a number of a mask, 0 to 255", self.void, "correct it")

    def detect(self, files: Files) -> str | None:
        images, targets = _sides(files)
        if not images or not targets:
            return None
        shared = [len(set(images) & set(found)) for found in targets.values()]
        if not all(shared) or ("b" in targets and not _is_paired(files, images, targets["b"])):
            return None
        told = ", ".join(f"{n} in {folder}" for folder, n in zip(targets, shared, strict=True))
        return f"images with annotations beside them: {len(images)} images, {told}"

    def read(self, files: Files) -> Listing:
        images, targets = _sides(files)
        if not images or not targets:
            raise bad(
                "folders images and masks (or depth, or A and B) stand side by side",
                "no such folders",
                str(files.location),
                "rename them",
            )
        for folder, found in targets.items():
            _same_stems(images, found, folder)
        keys = sorted(images, key=lambda k: PurePosixPath(k).name)
        if len({PurePosixPath(k).name for k in keys}) < len(keys):
            keys.sort()
        prefix = wrapper(files.names)
        declared = read_schema(files, prefix)
        aspects: list[Aspect] = []
        values: dict[str, list[Any]] = {}
        for folder, found in targets.items():
            names = [found[key] for key in keys]
            aspect, column = self._aspect(files, prefix, folder, names, declared)
            if aspect.name in values:
                shown = f"several for {aspect.name}, one of them {folder}"
                raise bad("a folder is one aspect", shown, str(files.location), "keep one")
            aspects.append(aspect)
            values[aspect.name] = column
        schema, called = agreed(Schema(tuple(aspects)), declared, prefix + SCHEMA)
        parts = _parts([images[key] for key in keys], keys)
        samples = [
            Sample(images[key], {called[n]: column[i] for n, column in values.items()}, parts[i])
            for i, key in enumerate(keys)
        ]
        used = {*images.values(), *(n for found in targets.values() for n in found.values())}
        used |= {prefix + SCHEMA, prefix + CLASSES, prefix + ORIGINS}
        samples = with_origins(samples, files, prefix)
        notes = [f"{a.name}: {_told(a)}" for a in schema]
        return Listing(samples, schema, [n for n in files.names if n not in used], notes=notes)

    def write(self, table: Table, folder: Path) -> None:
        held = only(table, ("mask", "map"), "mask-folders")
        mask, field = held.get("mask"), held.get("map")
        numbers = None if field is None else _whole_numbers(table.values[field.name])
        empty_folder(folder)
        write_schema(table.schema, folder)
        classes: Sequence[str] = getattr(mask, "classes", ())
        if classes and all(c == c.strip() and "\n" not in c for c in classes):
            (folder / CLASSES).write_text("".join(f"{c}\n" for c in classes), encoding="utf-8")
        parts = [("" if part == "all" else f"{part}/") for part in table.part_of()]
        names = [f"{part}{row:07d}.png" for row, part in enumerate(parts)]
        write_origins(table, folder, [f"images/{name}" for name in names])
        for row, name in enumerate(names):
            write_png(folder / "images" / name, table.images[row])
            if mask is not None:
                value = table.values[mask.name][row]
                if len(classes) == 2 and getattr(mask, "void", None) is None:
                    value = value * np.uint8(255)  # black and white, for people
                write_png(folder / "masks" / name, value[None])
            if field is not None and numbers is not None:
                _write_numbers(folder / "maps" / name, numbers[row])

    def _aspect(
        self, files: Files, prefix: str, folder: str, names: Sequence[str], declared: Schema | None
    ) -> tuple[Aspect, list[Any]]:
        called = _TARGETS.get(folder, "")
        pixels = _pixels(files, names)
        colour = pixels is not None and (len(pixels) > 1 or pixels.dtype != np.uint8)
        if self.kind == "map" or (self.kind == "auto" and (called in ("depth", "map") or colour)):
            kept = called if called in ("depth", "map") else "map"
            channels = 1 if pixels is None else len(pixels)
            low, high = self._range(files, names, declared)
            aspect = Map(kept, channels, low, high, self.unit)
            return aspect, [MapFile(n, channels, self.missing) for n in names]
        classes = self.classes or declared_classes(declared, "mask") or ()
        void = self.void
        for other in () if declared is None else declared.of_kind("mask"):
            void = getattr(other, "void", None) if void is None else void
        if not classes and prefix + CLASSES in files.sizes:
            classes = _lines(files, prefix + CLASSES)
        mask, lookup = found_mask(files, names, "mask", classes, void)
        return mask, [MaskFile(n, lookup) for n in names]

    def _range(
        self, files: Files, names: Sequence[str], declared: Schema | None
    ) -> tuple[float, float]:
        """The bounds of a map: as asked, as `schema.json` says, or as found."""
        low, high = self.low, self.high
        for other in () if declared is None else declared.of_kind("map"):
            low = getattr(other, "low", None) if low is None else low
            high = getattr(other, "high", None) if high is None else high
        if low is None or high is None:
            found = [_bounds(files, name, self.missing) for name in names]
            known = [b for b in found if b is not None]
            low = min((b[0] for b in known), default=0.0) if low is None else low
            high = max((b[1] for b in known), default=1.0) if high is None else high
            high = high if high > low else low + 1.0
        return low, high


def _lines(files: Files, name: str) -> tuple[str, ...]:
    """The classes of a list, whose lines are numbered from 0: an empty one would move the rest."""
    lines = [line.strip() for line in read_text(files, name, 1 << 16).rstrip().split("\n")]
    if "" in lines:
        where = f"{name} line {lines.index('') + 1}"
        raise bad("every line names a class", "an empty one", where, "name the class of its number")
    return tuple(lines)


def _sides(files: Files) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Images, and annotations by their folder's name; each by its path without that folder.

    Raises:
        DataError: if two files of one folder have one stem.
    """
    images: dict[str, str] = {}
    targets: dict[str, dict[str, str]] = {}
    lettered: dict[str, dict[str, str]] = {}
    for name in files.names:
        path = PurePosixPath(name)
        if not is_image(name):
            continue
        for at in range(len(path.parts) - 2, -1, -1):
            folder = path.parts[at].lower()
            if folder not in (*_IMAGES, *_TARGETS, *_SIDES):
                continue
            key = str(PurePosixPath(*path.parts[:at], *path.parts[at + 1 : -1], path.stem))
            if folder in _SIDES:
                _put(lettered.setdefault(folder, {}), key, name)
            else:
                _put(images if folder in _IMAGES else targets.setdefault(folder, {}), key, name)
            break
    if (not images or not targets) and set(lettered) == set(_SIDES):
        return lettered["a"], {"b": lettered["b"]}
    return images, targets


def _put(found: dict[str, str], key: str, name: str) -> None:
    if key in found:
        raise DataError(
            "files of one folder have different stems",
            f"{single_line(found[key], 80)} and {single_line(name, 80)}",
            "rename one",
        )
    found[key] = name


def _is_paired(files: Files, images: Mapping[str, str], found: Mapping[str, str]) -> bool:
    """Whether folders A and B hold images and masks, and are not two classes."""
    if set(images) != set(found) or any(n.split("/")[-2] not in "AB" for n in images.values()):
        return False
    keys = sorted(images)[:_LOOKED_AT]
    plain = [_is_flat(files, found[key]) and not _is_flat(files, images[key]) for key in keys]
    return all(plain)


def _is_flat(files: Files, name: str) -> bool:
    """Whether an image is grey or a palette's, of few different numbers."""
    try:
        return np.unique(mask_numbers(files.read(name))).size <= MOST_FOUND
    except Exception:  # colours, or damaged
        return False


def _same_stems(images: Mapping[str, str], found: Mapping[str, str], folder: str) -> None:
    alone = sorted(set(images) - set(found))
    extra = sorted(set(found) - set(images))
    if not alone and not extra:
        return
    named = images[alone[0]] if alone else found[extra[0]]
    without = f"no annotation in {folder}" if alone else "no image"
    raise DataError(
        f"every image has one annotation of its stem in {folder}, and every annotation an image",
        f"{single_line(named, 80)} with {without} ({len(alone)} and {len(extra)} such files)",
        "add the file, or remove this one",
    )


def _parts(names: Sequence[str], keys: Sequence[str]) -> list[str]:
    found = [
        next(
            (
                SPLIT_NAMES[p.lower()]
                for p in PurePosixPath(k).parent.parts
                if p.lower() in SPLIT_NAMES
            ),
            "",
        )
        for k in keys
    ]
    if not any(found):
        return ["all"] * len(keys)
    if not all(found):
        raise DataError(
            "all images lie in split folders, or none",
            f"{single_line(names[found.index('')], 80)} in none",
            "move it into train, val or test",
        )
    return found


def _pixels(files: Files, names: Sequence[str]) -> npt.NDArray[Any] | None:
    """The numbers of the first annotation that can be read."""
    for name in names[:_LOOKED_AT]:
        try:
            return raster(files.read(name))
        except Exception:
            continue
    return None


def _bounds(files: Files, name: str, missing: tuple[int, ...] | None) -> tuple[float, float] | None:
    """The smallest and the largest number of a map's file, or None where there is none."""
    try:
        values = with_gaps(raster(files.read(name)), missing)
    except Exception:  # a damaged file is left out when it is decoded
        return None
    known = values[~np.isnan(values)]
    return (float(known.min()), float(known.max())) if known.size else None


def _told(aspect: Aspect) -> str:
    """What was recognised, for people."""
    if isinstance(aspect, Map):
        unit = f" {aspect.unit}" if aspect.unit else ""
        return f"{aspect.channels} channels, {aspect.low:g} to {aspect.high:g}{unit}"
    classes: Sequence[str] = getattr(aspect, "classes", ())
    void = getattr(aspect, "void", None)
    shown = ", ".join(classes[:12]) + (f", … {len(classes) - 12} more" if len(classes) > 12 else "")
    return single_line(f"{len(classes)} classes ({shown}), void {void}", 200)


def _whole_numbers(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A map's values as the numbers of 8 or 16 bits that read back as them.

    Raises:
        DataError: if there are none.
    """
    channels = values.shape[1]
    gaps = np.isnan(values)
    plain = np.where(gaps, 0, values)
    whole = bool((plain == np.rint(plain)).all())
    if whole and channels in (1, 3) and not gaps.any() and plain.min() >= 0 and plain.max() <= 255:
        return plain.astype(np.uint8)
    known = plain[~gaps]
    if whole and channels == 1 and known.size and known.min() > 0 and known.max() < 65535:
        return plain.astype(np.uint16)
    raise refusal(
        "mask-folders", "maps of whole numbers, 0 to 255 or (one channel) 1 to 65534", "other ones"
    )


def _write_numbers(path: Path, numbers: npt.NDArray[Any]) -> None:
    if numbers.dtype == np.uint8:
        write_png(path, numbers)
        return
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(numbers[0]).save(path, format="PNG")

"""COCO: one JSON file with images, annotations and categories.

    annotations/instances_train.json  images/train/…   as it is written here
    annotations/*.json  train2017/…                    as COCO publishes it
    train/_annotations.coco.json  train/…              as annotation services export it

What becomes of it:

    segmentation   the mask `mask`: a background, then the categories; polygons or run lengths. Of
                   objects that overlap, the smaller one wins; a category called "void" says that
                   there is no truth
    keypoints      the landmarks `landmarks` of an image's one object
    bbox           where there is neither: the landmarks `box`, the four corners of the one object
    category_id    the class `label` of the one object, where there are two categories of them

One image is one row of a table. An image with two objects that have points, or boxes, is therefore
refused, unless `objects: largest` takes the one with the largest box. Crowds are no such object.
What is not read is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from augmint.aspects.base import Aspect, Schema
from augmint.aspects.category import Category
from augmint.aspects.landmarks import Landmarks
from augmint.aspects.mask import Mask
from augmint.aspects.sides import pairs_of, reference_of
from augmint.core.errors import DataError, single_line
from augmint.core.registry import FORMATS
from augmint.data.formats.annotation import (
    SCHEMA,
    agreed,
    bad,
    points_of,
    read_schema,
    write_json,
    write_schema,
)
from augmint.data.formats.base import (
    Format,
    Listing,
    Sample,
    empty_folder,
    is_junk,
    wrapper,
    write_png,
)
from augmint.data.formats.coco_entries import (
    KEYS,
    Entries,
    ImageEntry,
    Plain,
    bbox,
    is_coco,
    keypoints,
    names_of,
    part_of,
    run_region,
)
from augmint.data.formats.coco_writer import BACKGROUND, VOID, CocoWriter
from augmint.data.formats.regions import (
    CORNER_PAIRS,
    CORNERS,
    Framed,
    Painted,
    Refused,
    Region,
    corners,
    polygon,
)

if TYPE_CHECKING:
    from augmint.data.archives import Files
    from augmint.data.table import Table

_MOST_FILES = 64
"""JSON files that are looked into; a set with one for each image is no COCO set."""


@FORMATS.register("coco")
@dataclass(frozen=True)
class Coco(Format):
    """Images with COCO's instances or keypoints, one JSON file a part.

    Args:
        file: a part of the names of the annotation files that are read, where there are several
            kinds ("instances").
        objects: "one" object an image that has points or a box, or the "largest" of several.
        crossed: whether polygons may cross themselves; they are filled where crossings are odd.
        packed: whether masks are written as packed run lengths (text) or as numbers.
        offset: added to x and y of keypoints; 0.5 where they are indices of pixels, as this project
            counts from the corner of the first pixel, and COCO's boxes and polygons do too.

    Example:
        >>> import tempfile
        >>> from augmint.data.archives import open_files
        >>> told = {
        ...     "images": [{"id": 1, "file_name": "a.png", "height": 4, "width": 4}],
        ...     "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 0, 2, 3]}],
        ...     "categories": [{"id": 7, "name": "cat"}],
        ... }
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "a.png").touch()
        ...     write_json(Path(folder, "instances.json"), told)
        ...     listing = Coco().read(open_files(Path(folder)))
        >>> listing.samples[0].aspects["box"].points[:, :2].tolist()
        [[1.0, 0.0], [3.0, 0.0], [3.0, 3.0], [1.0, 3.0]]
    """

    file: str = ""
    objects: Literal["one", "largest"] = "one"
    crossed: bool = False
    packed: bool = True
    offset: float = 0.0
    priority: ClassVar[int] = 18

    def detect(self, files: Files) -> str | None:
        found = self._files(files)
        if not found:
            return None
        parts = [f"{single_line(n, 60)} ({part_of(n)})" for n in found[:3]]
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        return f"COCO: {', '.join(parts)}{more}"

    def read(self, files: Files) -> Listing:
        found = self._files(files)
        if not found:
            raise bad(
                f"COCO is a .json with {', '.join(KEYS)}",
                "none",
                str(files.location),
                "pass the folder that holds it",
            )
        parts = [part_of(n) for n in found]
        for part in parts:
            if parts.count(part) > 1:
                names = [single_line(n, 60) for n, p in zip(found, parts, strict=True) if p == part]
                raise DataError(
                    "a part has one annotation file",
                    f"{' and '.join(names[:3])} for {part}",
                    "choose: --format '{name: coco, file: instances}'",
                )
        if "all" in parts and len(parts) > 1:
            raise DataError(
                "all images lie in a part, or none",
                f"{single_line(found[parts.index('all')], 80)}, of no part, beside others",
                "name it train, val or test (instances_test.json), or choose a file: "
                "--format '{name: coco, file: train}'",
            )
        sets = [Entries(files, n, part) for n, part in zip(found, parts, strict=True)]
        prefix = wrapper(files.names)
        declared = read_schema(files, prefix)
        reader = _Reader(self, sets, declared)
        schema, called = agreed(reader.schema(), declared, prefix + SCHEMA)
        samples = [
            Sample(
                image.place,
                {called[n]: v for n, v in values.items()},
                image.part,
                image.group,
                image.origin,
                image.where,
            )
            for image, values in reader.rows()
        ]
        if not samples:
            raise bad("a set has images", "none that is annotated", found[0], "annotate them")
        used = {s.name for s in samples} | {*found, prefix + SCHEMA}
        ignored = [n for n in files.names if n not in used]
        return Listing(samples, schema, ignored, notes=reader.notes())

    def write(self, table: Table, folder: Path) -> None:
        writer = CocoWriter(table, self.packed, self.offset)
        empty_folder(folder)
        write_schema(table.schema, folder)
        parts = table.part_of()
        for part in table.parts:
            rows = [r for r in range(len(table)) if parts[r] == part]
            if not rows:
                continue
            inside = "" if part == "all" else f"{part}/"
            for row in rows:
                write_png(folder / "images" / f"{inside}{row:07d}.png", table.images[row])
            name = "instances.json" if part == "all" else f"instances_{part}.json"
            write_json(folder / "annotations" / name, writer.content(rows))

    def _files(self, files: Files) -> list[str]:
        named = [n for n in files.names if n.lower().endswith(".json") and not is_junk(n)]
        named = [n for n in named if self.file in PurePosixPath(n).name]
        if len(named) > _MOST_FILES:
            return []
        return [n for n in named if is_coco(files, n)]


class _Reader:
    """Rows of a table from annotation files that agree in their categories."""

    def __init__(self, format: Coco, sets: Sequence[Entries], declared: Schema | None) -> None:
        self.format, self.sets = format, sets
        self.names = names_of(sets)
        entries = [e for s in sets for e in s.annotations.values()]
        self.points, self.skeleton = keypoints(sets)
        self.has_masks = any(e.get("segmentation") for e in entries)
        self.has_points = bool(self.points) and any(e.get("keypoints") for e in entries)
        if declared is not None:  # masks without an object, images without a point
            self.has_masks = bool(declared.of_kind("mask"))
            marks = declared.of_kind("landmarks")
            self.has_points = any(getattr(a, "points", ()) != CORNERS for a in marks)
        self.has_boxes = not self.has_masks and not self.has_points
        of_masks = {e["category_id"] for e in entries if e.get("segmentation")}
        pointed = {i for s in sets for i, c in s.categories.items() if c.get("keypoints")}
        self.masked = [i for i in self.names if i in of_masks or i not in pointed]
        known = [] if declared is None else declared.of_kind("mask")
        self.void = (getattr(known[0], "void", None) if known else None) or 255
        # the categories that the one object of an image may have
        self.objects = [i for i in self.names if self.has_boxes or i in pointed]
        self.left_out, self.dropped = 0, Counter[str]()

    def schema(self) -> Schema:
        """The aspects that the files hold."""
        aspects: list[Aspect] = []
        if self.has_masks:
            called = [self.names[i] for i in self.masked]
            classes = [BACKGROUND, *(n for n in called if n not in (BACKGROUND, VOID))]
            void = self.void if VOID in called else None
            aspects.append(Mask("mask", tuple(classes), void))
            self.index = {i: self._index(classes, self.names[i]) for i in self.masked}
        if self.has_points:
            told = pairs_of(self.points), self.skeleton, reference_of(self.points)
            aspects.append(Landmarks("landmarks", self.points, (1, 1), *told))
        if self.has_boxes:
            aspects.append(Landmarks("box", CORNERS, (1, 1), CORNER_PAIRS))
        if (self.has_points or self.has_boxes) and len(self.objects) > 1:
            aspects.append(Category("label", tuple(self.names[i] for i in self.objects)))
        return Schema(tuple(aspects))

    def _index(self, classes: Sequence[str], name: str) -> int:
        return self.void if name == VOID else classes.index(name)

    def rows(self) -> list[tuple[ImageEntry, dict[str, Any]]]:
        """Images in the order of their ids, or file by file where these are not unique."""
        found = []
        for data in self.sets:
            objects: dict[int, list[int]] = {i: [] for i in data.images}
            for id, entry in data.annotations.items():
                objects[entry["image_id"]].append(id)
            for i, image in data.images.items():
                values = self._values(data, image, objects[i])
                if values is None:
                    self.left_out += 1
                else:
                    found.append((image, values))
        ids = [image.order[0] for image, _ in found]
        if len(set(ids)) == len(ids):
            found.sort(key=lambda row: row[0].order)
        return found

    def notes(self) -> list[str]:
        """What was not read."""
        notes = []
        if self.left_out:
            notes.append(f"{self.left_out} images without an annotated object are left out")
        return [
            *notes,
            *(f"{n} {what} are left out" for what, n in sorted((+self.dropped).items())),
        ]

    def _values(
        self, data: Entries, image: ImageEntry, ids: Sequence[int]
    ) -> dict[str, Any] | None:
        values: dict[str, Any] = {}
        if self.has_masks:
            values["mask"] = self._mask(data, image, ids)
        if not (self.has_points or self.has_boxes):
            return values
        chosen = self._object(data, image, ids)
        if chosen is None:
            if not self.has_masks or len(self.objects) > 1:
                return None
            values["landmarks"] = Framed(np.zeros((len(self.points), 3)), image.size)
            return values
        entry, where = data.annotations[chosen], data.where("annotation", chosen)
        if self.has_points:
            values["landmarks"] = Framed(self._landmarks(entry, where), image.size)
        else:
            x, y, w, h = bbox(entry, where)
            values["box"] = Framed(corners(x, y, x + w, y + h), image.size, box=where)
        if len(self.objects) > 1:
            values["label"] = self.objects.index(entry["category_id"])
        return values

    def _object(self, data: Entries, image: ImageEntry, ids: Sequence[int]) -> int | None:
        """The annotation of the image's one object that has points or a box."""
        field = "keypoints" if self.has_points else "bbox"
        known = []
        for i in ids:
            entry = data.annotations[i]
            if entry.get(field) and not entry.get("iscrowd"):
                known.append(i)
            elif not (self.has_masks and entry["category_id"] in self.index):
                crowd = bool(entry.get("iscrowd"))
                self.dropped["crowds" if crowd else f"objects without {field}"] += 1
        if self.has_points and len(known) > 1:
            labelled = [i for i in known if any(_numbers(data.annotations[i][field]))]
            self.dropped["objects without a labelled point"] += len(known) - len(labelled or [0])
            known = labelled or known[:1]
        if len(known) > 1 and self.format.objects == "one":
            shown = f"{len(known)} objects (annotations {known[0]} and {known[1]})"
            raise bad(
                "an image has one object with points or a box, as a row of a table has",
                shown,
                image.where,
                "crop the objects, or take the largest: --format '{name: coco, objects: largest}'",
            )
        if len(known) > 1:
            self.dropped["objects beside the largest of their image"] += len(known) - 1
            where = [data.where("annotation", i) for i in known]
            sizes = [bbox(data.annotations[i], w)[2:] for i, w in zip(known, where, strict=True)]
            return known[max(range(len(known)), key=lambda k: sizes[k][0] * sizes[k][1])]
        return known[0] if known else None

    def _landmarks(self, entry: Plain, where: str) -> Any:
        flat = entry["keypoints"]
        if not isinstance(flat, list) or len(flat) != 3 * len(self.points):
            shown = f"{len(flat)} numbers" if isinstance(flat, list) else type(flat).__name__
            rule = f"keypoints are {len(self.points)} times x, y, visibility"
            raise bad(rule, shown, where, "complete them")
        rows = [flat[i : i + 3] for i in range(0, len(flat), 3)]
        return points_of(rows, where, self.points, self.format.offset)

    def _mask(self, data: Entries, image: ImageEntry, ids: Sequence[int]) -> Any:
        regions = []
        for id in ids:
            entry, where = data.annotations[id], data.where("annotation", id)
            told = entry.get("segmentation")
            if not told and entry["category_id"] not in self.index:
                continue  # an object with points alone
            if not told and not _is_empty(entry):
                return Refused(
                    f"{where}: an object of a set of masks has an outline; got no "
                    "segmentation beside a bbox or an area: draw it, or remove the object"
                )
            if not told:
                self.dropped["objects without segmentation, bbox and area"] += 1
                continue
            index = self.index[entry["category_id"]]
            if isinstance(told, dict):
                regions.append(run_region(told, index, where))
                continue
            if not isinstance(told, list):
                rule = "a segmentation is a list of polygons, or counts with their size"
                raise bad(rule, f"{told!r}"[:60], where, "correct it")
            shapes = tuple(polygon(numbers, where) for numbers in told)
            regions.append(Region(index, where, shapes))
        return _Checked(image.size, Painted(tuple(regions), self.format.crossed))


@dataclass(frozen=True)
class _Checked:
    """A mask whose image has the size that the file says."""

    size: tuple[int, int]
    painted: Painted

    def load(self, files: Files, size: tuple[int, int]) -> Any:
        """Return the mask, uint8 `(H, W)`."""
        Framed(np.zeros((1, 3)), self.size).load(files, size)
        return self.painted.load(files, size)


def _is_empty(entry: Plain) -> bool:
    """Whether neither box nor area says that an object covers anything."""
    return not (entry.get("area") or any(_numbers(entry.get("bbox") or 0)))


def _numbers(told: Any) -> list[Any]:
    return told if isinstance(told, list) else [told]

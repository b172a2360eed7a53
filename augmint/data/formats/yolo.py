"""YOLO: a `data.yaml`, and beside each image a text file with one object a line.

    images/train/x.png  labels/train/x.txt  (or train/images/x.png  train/labels/x.txt)

    detect    class cx cy w h                 the landmarks `box`, the four corners of one object
    segment   class x1 y1 x2 y2 x3 y3 …       the mask `mask`: a background, then the classes
    pose      class cx cy w h x1 y1 [v1] …    the landmarks `landmarks` of one object; the yaml has
              `kpt_shape: [K, 2 or 3]`, `flip_idx` (each point's counterpart) and `kpt_names`

All numbers but classes and visibilities are shares of the image's width and height. The class of
the one object is the aspect `label`, where there are two classes. Parts are those that the yaml's
`train`, `val` and `test` declare (`yolo_parts`), else those that folders are called by. As for
COCO, several objects in one image are refused for detect and pose unless `objects: largest`; of
overlapping segments the smaller one wins. An image without a text file shows no object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import yaml

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
    number,
    only,
    points_of,
    read_schema,
    read_text,
    refusal,
    write_schema,
)
from augmint.data.formats.base import (
    Format,
    Listing,
    Sample,
    empty_folder,
    is_image,
    is_junk,
    write_png,
)
from augmint.data.formats.origins import ORIGINS, with_origins, write_origins
from augmint.data.formats.polygons import outlines
from augmint.data.formats.regions import (
    CORNER_PAIRS,
    CORNERS,
    Framed,
    Painted,
    Refused,
    Region,
    box_of,
    corners,
    is_box,
    meets,
    polygon,
)
from augmint.data.formats.yolo_parts import Parts

if TYPE_CHECKING:
    from augmint.data.archives import Files
    from augmint.data.table import Table

SETTINGS = "data.yaml"
BACKGROUND = "background"
_YAML_LIMIT = 1 << 20
_LABEL_LIMIT = 1 << 24
_LARGEST = 1e6
_SLACK = 0.01
"""How far a share of width or height may lie outside 0 to 1: rounding, not another image."""


@FORMATS.register("yolo")
@dataclass(frozen=True)
class Yolo(Format):
    """Images with YOLO's text files: boxes, segments or poses.

    Args:
        objects: "one" object an image that has points or a box, or the "largest" of several.
        crossed: whether polygons may cross themselves; they are filled where crossings are odd.

    Example:
        >>> import tempfile
        >>> from augmint.data.archives import open_files
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = [Path(folder, name).mkdir() for name in ("images", "labels")]
        ...     _ = Path(folder, SETTINGS).write_text("names: [cat, dog]")
        ...     Path(folder, "images", "a.png").touch()
        ...     _ = Path(folder, "labels", "a.txt").write_text("1 0.5 0.5 1 0.5")
        ...     (sample,) = Yolo().read(open_files(Path(folder))).samples
        >>> sample.aspects["label"], sample.aspects["box"].load(None, (4, 8))[0].tolist()
        (1, [0.0, 1.0, 2.0])
    """

    objects: Literal["one", "largest"] = "one"
    crossed: bool = False
    priority: ClassVar[int] = 17

    def detect(self, files: Files) -> str | None:
        name = _settings_name(files)
        texts = sum(1 for n in files.names if _is_label(n))
        return f"YOLO: {single_line(name, 60)} and {texts} text files" if name and texts else None

    def read(self, files: Files) -> Listing:
        name = _settings_name(files)
        if name is None:
            raise bad("YOLO has a data.yaml", "none", str(files.location), "add it")
        told = _mapping(files, name)
        settings, places = _Settings(told, name), _places(files)
        parts = Parts(files, told, name, list(places))
        objects = {
            image: _objects(files, text, settings) if text else [] for image, text in places.items()
        }
        kind = _kind(objects, settings)
        prefix = name[: len(name) - len(PurePosixPath(name).name)]
        declared = read_schema(files, prefix)
        if declared is not None:  # masks without an object
            kind = "segment" if declared.of_kind("mask") else kind
        reader = _Reader(self, settings, kind)
        schema, called = agreed(reader.schema(), declared, prefix + SCHEMA)
        samples, left_out = [], 0
        for image, text in places.items():
            values = reader.values(objects[image], text or image)
            left_out += values is None
            if values is not None:
                named = {called[n]: v for n, v in values.items()}
                samples.append(Sample(image, named, parts.of(image), where=text or ""))
        if not samples:
            raise bad("a set has images with objects", "none", name, "annotate them")
        notes = [f"{left_out} images without an object are left out"] if left_out else []
        without = sum(1 for text in places.values() if text is None)
        notes += [f"{without} images have no text file: no object"] if without else []
        notes += [f"{reader.others} objects beside the largest of their image are left out"] * (
            reader.others > 0
        )
        notes += parts.notes()
        used = {s.name for s in samples} | {text for text in places.values() if text}
        used |= {name, prefix + SCHEMA, prefix + ORIGINS, *parts.lists}
        samples = with_origins(samples, files, prefix)
        return Listing(samples, schema, [n for n in files.names if n not in used], notes=notes)

    def write(self, table: Table, folder: Path) -> None:
        writer = _Writer(table)
        empty_folder(folder)
        write_schema(table.schema, folder)
        names = [
            ("" if p == "all" else f"{p}/") + f"{i:07d}" for i, p in enumerate(table.part_of())
        ]
        write_origins(table, folder, [f"images/{name}.png" for name in names])
        for row, name in enumerate(names):
            write_png(folder / "images" / f"{name}.png", table.images[row])
            path = folder / "labels" / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{line}\n" for line in writer.lines(row)), encoding="utf-8")
        text = yaml.safe_dump(writer.settings(), sort_keys=False, allow_unicode=True)
        (folder / SETTINGS).write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class _Object:
    """One line of a text file."""

    index: int
    numbers: tuple[float, ...]
    where: str


def _settings_name(files: Files) -> str | None:
    found = [n for n in files.names if PurePosixPath(n).name in (SETTINGS, "dataset.yaml")]
    found = [n for n in found if not is_junk(n)]
    return found[0] if len(found) == 1 else None


def _is_label(name: str) -> bool:
    return name.endswith(".txt") and "labels" in PurePosixPath(name).parent.parts


class _Loader(yaml.SafeLoader):
    """YAML as `data.yaml` is written, with whole numbers as keys; aliases unfold to any size."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not read", mark)
        return super().compose_node(parent, index)


def _mapping(files: Files, name: str) -> Mapping[str, Any]:
    rule = "data.yaml is a mapping with names"
    try:
        found = yaml.load(read_text(files, name, _YAML_LIMIT), Loader=_Loader)
    except (yaml.YAMLError, RecursionError, ValueError, LookupError) as error:
        raise bad(rule, str(error), name, "correct it") from None
    if not isinstance(found, dict):
        raise bad(rule, type(found).__name__, name, "correct it")
    return found


class _Settings:
    """What `data.yaml` says, checked."""

    def __init__(self, told: Mapping[str, Any], where: str) -> None:
        self.where = where
        self.names = _listed(told.get("names"), "names", where)
        count = told.get("nc", len(self.names))
        if count != len(self.names):
            raise bad("nc is the number of names", f"{count!r}"[:60], where, "correct nc")
        self.shape = _shape(told.get("kpt_shape"), where)
        self.points: tuple[str, ...] = ()
        self.pairs: tuple[tuple[str, str], ...] | None = None
        if self.shape is None:
            return
        named = told.get("kpt_names")
        if isinstance(named, dict):
            named = next(iter(named.values()), None)
        default = [f"p{i}" for i in range(self.shape[0])]
        self.points = _listed(default if named is None else named, "kpt_names", where)
        if len(self.points) != self.shape[0]:
            shown = f"{len(self.points)} names of {self.shape[0]} points"
            raise bad("kpt_names names each point", shown, where, "correct kpt_names")
        self.pairs = self._flipped(told.get("flip_idx"))

    def _flipped(self, told: Any) -> tuple[tuple[str, str], ...] | None:
        """Pairs of points; None where neither `flip_idx` nor names tell."""
        if told is None:
            return pairs_of(self.points)
        count = len(self.points)
        whole = isinstance(told, list) and all(type(i) is int and 0 <= i < count for i in told)
        if not whole or len(told) != count or any(told[told[i]] != i for i in range(count)):
            rule = "flip_idx gives each point's counterpart, and that one's is the point again"
            raise bad(rule, f"{told!r}"[:80], self.where, "correct flip_idx")
        return tuple((self.points[i], self.points[j]) for i, j in enumerate(told) if i < j)


def _listed(told: Any, field: str, where: str) -> tuple[str, ...]:
    """Names as a list, or as a mapping from 0, 1, 2 …"""
    found = told
    if isinstance(told, dict):
        found = [told.get(str(i), told.get(i)) for i in range(len(told))]
    known = isinstance(found, list) and all(isinstance(n, str | int) for n in found) and found
    names = tuple(str(n) for n in found) if known and isinstance(found, list) else ()
    if not names or len(set(names)) != len(names) or any(not 0 < len(n) < 256 for n in names):
        shown = single_line(f"{told!r}"[:200], 80)
        raise bad(f"{field} are different names, numbered from 0", shown, where, "correct them")
    return names


def _shape(told: Any, where: str) -> tuple[int, int] | None:
    if told is None:
        return None
    whole = isinstance(told, list) and len(told) == 2 and all(type(v) is int for v in told)
    if not whole or not 0 < told[0] < 10_000 or told[1] not in (2, 3):
        raise bad("kpt_shape is [points, 2 or 3]", f"{told!r}"[:60], where, "correct it")
    return told[0], told[1]


def _places(files: Files) -> dict[str, str | None]:
    """Images with their text files (None where there is none)."""
    texts = {n for n in files.names if _is_label(n)}
    found: dict[str, str | None] = {}
    taken: dict[str, str] = {}
    for name in files.names:
        parts = PurePosixPath(name).parts
        if not is_image(name) or "images" not in parts[:-1]:
            continue
        at = len(parts) - 2 - parts[:-1][::-1].index("images")
        path = PurePosixPath(*parts[:at], "labels", *parts[at + 1 :]).with_suffix(".txt")
        if str(path) in taken:
            also = f"{single_line(name, 60)} and {single_line(taken[str(path)], 60)}"
            raise bad("an image has its own text file", also, str(path), "rename one of the images")
        taken[str(path)] = name
        found[name] = str(path) if str(path) in texts else None
    alone = sorted(texts - set(taken))
    if alone:
        raise DataError(
            "every text file has its image",
            f"{single_line(alone[0], 80)} without one",
            "add the image below images, or remove the text file",
        )
    if not found:
        raise bad("images lie below a folder images", "none", str(files.location), "move them")
    order = sorted(found, key=lambda n: PurePosixPath(n).name)
    names = [PurePosixPath(n).name for n in order]
    return {n: found[n] for n in (order if len(set(names)) == len(names) else sorted(found))}


def _objects(files: Files, name: str, settings: _Settings) -> list[_Object]:
    found = []
    for at, line in enumerate(read_text(files, name, _LABEL_LIMIT).split("\n"), start=1):
        cells = line.split()
        if not cells:
            continue
        where = f"{name} line {at}"
        if not (cells[0].isascii() and cells[0].isdigit() and len(cells[0]) < 9):
            raise bad("a line begins with a class", f"{cells[0][:40]!r}", where, "correct it")
        index = int(cells[0])
        if index >= len(settings.names):
            rule = f"classes are 0 to {len(settings.names) - 1}, as data.yaml names them"
            raise bad(rule, f"class {index}", where, "correct it, or name the class")
        numbers = tuple(number(_float(c), where, "coordinate") for c in cells[1:])
        if any(abs(v) > _LARGEST for v in numbers):
            rule = "numbers are shares of the image's width and height"
            raise bad(rule, f"{max(numbers, key=abs):g}", where, "divide them by the size")
        wanted = None if settings.shape is None else 4 + settings.shape[0] * settings.shape[1]
        fits = len(numbers) == wanted if wanted else len(numbers) == 4 or len(numbers) >= 6
        if not fits or (not wanted and len(numbers) % 2):
            rule = (
                f"a pose has 4 and {wanted - 4} numbers"
                if wanted
                else "an object has 4 numbers (a box) or x, y of three points or more"
            )
            raise bad(rule, f"{len(numbers)} numbers", where, "complete the line")
        found.append(_Object(index, numbers, where))
    return found


def _float(cell: str) -> float | str:
    try:
        return float(cell) if len(cell) < 64 and "_" not in cell else cell[:60]
    except ValueError:
        return cell[:60]


def _kind(objects: Mapping[str, Sequence[_Object]], settings: _Settings) -> str:
    if settings.shape is not None:
        return "pose"
    every = [o for found in objects.values() for o in found]
    boxes = next((o for o in every if len(o.numbers) == 4), None)
    segments = next((o for o in every if len(o.numbers) > 4), None)
    if boxes is not None and segments is not None:
        raise bad(
            "a set has boxes or segments, not both",
            "a box, and a segment elsewhere",
            boxes.where,
            "write its outline, or remove it",
        )
    return "segment" if segments is not None else "detect"


def _no_share(numbers: Sequence[float]) -> float | None:
    """The first of some numbers that is no share of a width or height."""
    return next((v for v in numbers if not -_SLACK <= v <= 1 + _SLACK), None)


class _Reader:
    """Aspects and values of one kind of set."""

    def __init__(self, format: Yolo, settings: _Settings, kind: str) -> None:
        self.format, self.settings, self.kind, self.others = format, settings, kind, 0
        named = [n for n in settings.names if n != BACKGROUND]
        self.classes = (BACKGROUND, *named)

    def schema(self) -> Schema:
        """The aspects that the files hold."""
        aspects: list[Aspect] = []
        if self.kind == "segment":
            return Schema((Mask("mask", self.classes),))
        if self.kind == "pose":
            points = self.settings.points
            told = self.settings.pairs, (), reference_of(points)
            aspects.append(Landmarks("landmarks", points, (1, 1), *told))
        else:
            aspects.append(Landmarks("box", CORNERS, (1, 1), CORNER_PAIRS))
        if len(self.settings.names) > 1:
            aspects.append(Category("label", self.settings.names))
        return Schema(tuple(aspects))

    def values(self, objects: Sequence[_Object], where: str) -> dict[str, Any] | None:
        """The values of one image; None where it shows no object that a row needs."""
        if self.kind == "segment":
            regions = tuple(self._region(o) for o in objects)
            return {"mask": Painted(regions, self.format.crossed)}
        if not objects:
            return None
        if len(objects) > 1 and self.format.objects == "one":
            raise bad(
                "an image has one object with points or a box, as a row of a table has",
                f"{len(objects)} objects",
                where,
                "crop the objects, or take the largest: --format '{name: yolo, objects: largest}'",
            )
        self.others += len(objects) - 1
        chosen = max(objects, key=lambda o: o.numbers[2] * o.numbers[3])
        label = {"label": chosen.index} if len(self.settings.names) > 1 else {}
        return {"landmarks" if self.kind == "pose" else "box": self._object(chosen), **label}

    def _object(self, found: _Object) -> Framed | Refused:
        """The points or the box of an object, unless its numbers are no shares of the image."""
        cx, cy, w, h = shares = found.numbers[:4]
        if w < 0 or h < 0:
            raise bad("a box has a width and a height", f"{w:g} x {h:g}", found.where, "correct it")
        if self.kind == "pose":
            points = self._points(found)
            shares = (*shares, *points[points[:, 2] > 0, :2].ravel().tolist())
            read = Framed(points, shares=True)
        else:
            box = corners(cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
            read = Framed(box, shares=True, box=found.where)
        odd = _no_share(shares)
        if odd is None:
            return read
        return Refused(
            f"{found.where}: numbers are shares of the image's width and height, 0 to 1; got "
            f"{odd:g}: correct the number, or remove the object"
        )

    def _region(self, found: _Object) -> Region:
        shape = polygon(list(found.numbers), found.where)
        index = self.classes.index(self.settings.names[found.index])
        return Region(index, found.where, (shape,), shares=True)

    def _points(self, found: _Object) -> np.ndarray[Any, Any]:
        shape = self.settings.shape or (0, 2)
        rows = np.asarray(found.numbers[4:]).reshape(shape).tolist()
        if shape[1] == 2:  # below 0 is not labelled; that 0, 0 is not either is a rule of ours
            rows = [[x, y, 0 if x < 0 or y < 0 or x == y == 0 else 2] for x, y in rows]
        checked = points_of(rows, found.where, self.settings.points)
        # shares stay numbers of 64 bits until the frame is known
        return np.where(checked[:, 2:] > 0, np.asarray(rows, np.float64), 0.0)


class _Writer:
    """A table's annotations in YOLO's words."""

    def __init__(self, table: Table) -> None:
        held = only(table, ("mask", "landmarks", "category"), "YOLO")
        self.table = table
        self.mask, self.marks = held.get("mask"), held.get("landmarks")
        self.label = held.get("category")
        if (self.mask is None) == (self.marks is None) or (self.mask and self.label):
            found = ", ".join(a.kind for a in table.schema)
            raise refusal("YOLO", "a mask, or one object's points or box with its class", found)
        if self.label is not None and self.label.width < 2:
            raise refusal("YOLO", "classes of which there are two", "one class")
        names = list(getattr(self.label, "classes", ("object",)))
        if self.mask is not None:
            names = list(getattr(self.mask, "classes", ()))[1:]
            void = getattr(self.mask, "void", None)
            if BACKGROUND in names or (table.values[self.mask.name] == void).any():
                raise refusal("YOLO", "masks without void, the background first", self.mask.name)
        self.names = names
        points = getattr(self.marks, "points", ())
        self.boxed = points == CORNERS
        if self.boxed and not is_box(table.values[getattr(self.marks, "name", "")]):
            raise refusal("YOLO", "upright boxes", "corners that are none")
        beside = next((r for r in range(len(table)) if self.marks and not self._fits(r)), None)
        if beside is not None:
            found = f"row {beside}, where it lies beside its image"
            raise refusal("YOLO", "points and boxes in their image", found)

    def settings(self) -> dict[str, Any]:
        """What `data.yaml` holds."""
        told: dict[str, Any] = {"path": "."}
        keys = {"train": "train", "validation": "val", "test": "test"}
        for part in self.table.parts:
            told[keys.get(part, "train")] = "images" if part == "all" else f"images/{part}"
        told["names"] = dict(enumerate(self.names))
        if self.mask is not None or self.boxed:
            return told
        points = list(getattr(self.marks, "points", ()))
        told["kpt_shape"] = [len(points), 3]
        told["kpt_names"] = {0: points}
        pairs = getattr(self.marks, "pairs", None)
        if pairs is not None:
            order = list(range(len(points)))
            for a, b in pairs:
                i, j = points.index(a), points.index(b)
                order[i], order[j] = j, i
            told["flip_idx"] = order
        return told

    def lines(self, row: int) -> list[str]:
        """The text file of one image."""
        if self.mask is not None:
            _, height, width = self.table.shape
            frame = np.array([width, height], dtype=np.float64)
            mask, found = self.table.values[self.mask.name][row], []
            for index in range(len(self.names)):
                for outline in outlines(mask == index + 1):
                    found.append(_line(index, (outline / frame).ravel()))
            return found
        index = 0 if self.label is None else int(self.table.values[self.label.name][row])
        box, points = self._object(row)
        if self.boxed:
            return [_line(index, box)]
        return [_line(index, [*box, *(v for point in points for v in point)])]

    def _object(self, row: int) -> tuple[list[float], list[list[float]]]:
        """The box and the points of a row, as shares of the frame."""
        points = self.table.values[getattr(self.marks, "name", "")][row].astype(np.float64)
        _, height, width = self.table.shape
        frame = np.array([width, height], dtype=np.float64)
        x0, y0, x1, y1 = (np.array(box_of(points)) / np.tile(frame, 2)).tolist()
        box = [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]
        return box, [_shares(p, frame) for p in points]

    def _fits(self, row: int) -> bool:
        """Whether what is written of a row is read again."""
        box, points = self._object(row)
        if self.boxed:
            of = self.table.values[getattr(self.marks, "name", "")][row]
            return _no_share(box) is None and meets(of, self.table.shape[1:])
        return _no_share([*box, *(v for x, y, _ in points for v in (x, y))]) is None


def _shares(point: np.ndarray[Any, Any], frame: np.ndarray[Any, Any]) -> list[float]:
    if not point[2] > 0:
        return [0.0, 0.0, 0.0]
    x, y = (point[:2] / frame).tolist()
    return [x, y, float(point[2])]


def _line(index: int, numbers: Sequence[float] | np.ndarray[Any, Any]) -> str:
    """Whole numbers are written without a point; others so that they read back as they are."""
    written = [str(int(v)) if float(v).is_integer() else repr(float(v)) for v in numbers]
    return " ".join([str(index), *written])

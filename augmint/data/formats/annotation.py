"""What formats with annotations share: numbers, names, files beside the image, `schema.json`."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from augmint.aspects.base import Schema
from augmint.core.errors import AugmintError, DataError, single_line
from augmint.data.decoding import FORMATS_READ, LIMIT_PIXELS, orientation_of
from augmint.data.formats.base import WRITE_MANIFEST

if TYPE_CHECKING:
    from PIL import Image

    from augmint.aspects.base import Aspect
    from augmint.core.types import ByteArray
    from augmint.data.archives import Files
    from augmint.data.table import Table

SCHEMA = "schema.json"
JSON_LIMIT = 1 << 30
TEXT_LIMIT = 1 << 28
"""Most bytes of one annotation file: JSON, and text."""

_FAR = 1e30
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def bad(rule: str, found: str, where: str, remedy: str) -> DataError:
    """Return the error of a rule that an annotation breaks, with the place where it stands."""
    return DataError(rule, f"{single_line(found, 160)} in {single_line(where, 120)}", remedy)


def read_text(files: Files, name: str, limit: int = TEXT_LIMIT) -> str:
    """Return a text file.

    Raises:
        DataError: if it is over `limit` bytes, cannot be read, or is no UTF-8.
    """
    if files.sizes[name] > limit:
        raise bad(
            f"an annotation file has at most {limit >> 20} MiB",
            f"{files.sizes[name]} bytes",
            name,
            "split it",
        )
    try:
        return files.read(name).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise bad(
            "an annotation file is UTF-8 text", str(error), name, "write it as UTF-8"
        ) from None


def read_json(files: Files, name: str) -> Any:
    """Return the content of a JSON file.

    Raises:
        DataError: if it is none, too large or too deep.
    """
    text = read_text(files, name, JSON_LIMIT)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise bad("the file is JSON", str(error), name, "write it again") from None


def write_json(path: Path, content: Any) -> None:
    """Write JSON on one line; numbers must be finite."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def inner_path(name: Any, where: str, field: str = "file_name") -> str:
    """Return a name that stays below the folder of the file that gives it.

    Raises:
        DataError: if it is no text, absolute, or leads up.

    Example:
        >>> inner_path("images/./a.png", "landmarks.csv line 2")
        'images/a.png'
    """
    rule = f"{field} names a file below the folder of the annotations"
    if not isinstance(name, str) or not name:
        raise bad(rule, f"{field} {name!r}", where, "name the file, relative")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise bad(rule, f"{field} {single_line(name, 80)}", where, "name a file below it")
    return str(path)


def number(value: Any, where: str, field: str) -> float:
    """Return a finite number.

    Raises:
        DataError: if it is none.

    Example:
        >>> number(3, "landmarks.csv line 2", "x of nose")
        3.0
    """
    known = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        found = float(value) if known else math.nan
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise bad(
            f"{field} is a finite number", f"{field} {value!r}"[:200], where, "correct the number"
        )
    return found


def decimal(value: Any) -> float:
    """Return the number with the fewest digits that is this float32 again when it is read.

    Example:
        >>> decimal(np.float32(0.1))
        0.1
    """
    short = float(str(np.float32(value)))
    return short if np.float32(short) == np.float32(value) else float(value)


def shifted(value: Any, offset: float) -> float:
    """Return a coordinate as a file has it that counts from `offset`; reading adds it again.

    Example:
        >>> shifted(2.5, 0.5), shifted(np.float32(0.1), 0.0)
        (2.0, 0.1)
    """
    return float(value) - offset if offset else decimal(value)


def points_of(
    rows: Sequence[Sequence[Any]], where: str, names: Sequence[str], offset: float = 0.0
) -> npt.NDArray[np.float32]:
    """Return landmarks `(K, 3)` of rows x, y, visibility; points not labelled are 0, 0, 0.

    Args:
        rows: as they stand in a file.
        where: what says so, for messages.
        names: of the points.
        offset: added to x and y.

    Raises:
        DataError: naming the point that is not finite, or its visibility.

    Example:
        >>> points_of([[1, 2, 2], [9, 9, 0]], "line 2", ("nose", "chin"), offset=0.5).tolist()
        [[1.5, 2.5, 2.0], [0.0, 0.0, 0.0]]
    """
    out = np.zeros((len(rows), 3))
    for k, ((x, y, v), name) in enumerate(zip(rows, names, strict=True)):
        seen = number(v, where, f"visibility of {name}")
        if seen not in (0, 1, 2):
            raise bad(
                "visibility is 0 (not labelled), 1 (hidden) or 2 (visible)",
                f"{v!r} for {name}",
                where,
                "correct it",
            )
        if seen:
            at = number(x, where, f"x of {name}"), number(y, where, f"y of {name}")
            out[k] = at[0] + offset, at[1] + offset, seen
    wide = (np.abs(out) > _FAR).any(1)  # finite, and perhaps no float32
    if wide.any():
        name = names[int(wide.argmax())]
        raise bad(
            "points lie near the image", f"{name} beyond {_FAR:g}", where, "correct the number"
        )
    return out.astype(np.float32)


def read_schema(files: Files, prefix: str) -> Schema | None:
    """Return the schema that `schema.json` gives, or None where there is no such file.

    Raises:
        DataError: if it is no list of aspects.
    """
    name = prefix + SCHEMA
    if name not in files.sizes:
        return None
    plain = read_json(files, name)
    rule, remedy = "schema.json is a list of aspects, each with its kind and name", "write it again"
    if not isinstance(plain, list) or not all(isinstance(row, dict) for row in plain) or not plain:
        raise bad(rule, f"{str(plain)[:60]}", name, remedy)
    try:
        return Schema.from_plain(plain)
    except AugmintError as error:
        raise bad(rule, f"{error.rule} ({error.value})", name, error.remedy) from None
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise bad(rule, f"{error}", name, remedy) from None


def agreed(found: Schema, declared: Schema | None, where: str) -> tuple[Schema, dict[str, str]]:
    """Return the schema of a layout with what `schema.json` adds, and found names to its names.

    Raises:
        DataError: if `schema.json` lists other aspects, points, classes or components.

    Example:
        >>> from augmint.aspects.category import Category
        >>> found, declared = (Schema((Category(n, ("cat", "dog")),)) for n in ("label", "animal"))
        >>> agreed(found, declared, "schema.json")[1]
        {'label': 'animal'}
    """
    if declared is None:
        return found, {a.name: a.name for a in found}
    names = {}
    for aspect in declared:
        same = found.of_kind(aspect.kind)
        if len(same) != 1 or len(declared.of_kind(aspect.kind)) != 1 or len(found) != len(declared):
            kinds = [", ".join(a.kind for a in s) or "nothing" for s in (declared, found)]
            raise _apart(f"{kinds[0]}; the annotations hold {kinds[1]}", where)
        for field in ("points", "components", "classes", "channels"):
            says, holds = getattr(aspect, field, None), getattr(same[0], field, None)
            if aspect.kind == "mask" and field == "classes" and says and holds:
                says, holds = says[1:], holds[1:]  # a layout may not name the background
            if says != holds:
                raise _apart(f"{field} of {aspect.name} that the annotations do not have", where)
        names[same[0].name] = aspect.name
    return declared, names


def _apart(found: str, where: str) -> DataError:
    rule = "schema.json lists the aspects that the annotations hold"
    return bad(rule, found, where, "correct schema.json, or remove it")


def declared_classes(declared: Schema | None, kind: str) -> tuple[str, ...] | None:
    """Return the classes of the aspect of a kind, None where there is no such aspect.

    Example:
        >>> from augmint.aspects.category import Category
        >>> schema = Schema((Category("label", ("cat", "dog")),))
        >>> declared_classes(schema, "category"), declared_classes(schema, "mask")
        (('cat', 'dog'), None)
    """
    same = [] if declared is None else declared.of_kind(kind)
    return tuple(getattr(same[0], "classes", ())) if same else None


def write_schema(schema: Schema, folder: Path) -> None:
    """Write `schema.json`: what a layout cannot say of its aspects (reference, bounds, void)."""
    write_json(folder / SCHEMA, schema.to_plain())


def only(table: Table, kinds: Sequence[str], format: str) -> dict[str, Aspect]:
    """Return the aspects of a table by kind, for a format that holds one of each of `kinds`.

    Args:
        table: to be written.
        kinds: what the format holds.
        format: its name, for the message.

    Raises:
        DataError: if the table has an aspect of another kind, or two of one.
    """
    found: dict[str, Aspect] = {}
    odd = ""
    for aspect in table.schema:
        odd = odd or (f"{aspect.name}, a {aspect.kind}" if aspect.kind not in kinds else "")
        odd = odd or (f"two of kind {aspect.kind}" if aspect.kind in found else "")
        found[aspect.kind] = aspect
    if odd or not found:
        raise refusal(format, f"one aspect each of {' and '.join(kinds)}", odd or "no aspect")
    return found


def refusal(format: str, holds: str, found: str) -> DataError:
    """Return the error of a table that a format cannot hold."""
    return DataError(f"{format} holds {holds}", found, WRITE_MANIFEST)


def of_one_size(found: tuple[int, int], size: tuple[int, int], name: str) -> None:
    """Raise ValueError unless an annotation's frame is that of its image (heights and widths)."""
    if tuple(found) != tuple(size):
        shown = f"{found[0]} x {found[1]}, its image {size[0]} x {size[1]}"
        raise ValueError(f"{single_line(name, 120)} is {shown}: make them agree")


def raster(data: bytes) -> npt.NDArray[Any]:
    """Return the numbers of an image that is an annotation: indices of a palette, grey, colours.

    Returns:
        uint8 `(1, H, W)` or `(3, H, W)`, or uint16 for 16 bits a pixel.

    Raises:
        Exception: whatever Pillow raises for damaged data, ValueError for other kinds of pixels.

    Example:
        >>> raster(b"P5 2 1 255 \\x07\\xff").tolist()
        [[[7, 255]]]
    """
    from PIL import Image, UnidentifiedImageError

    try:
        file = Image.open(io.BytesIO(data), formats=FORMATS_READ)
    except UnidentifiedImageError:
        raise ValueError("no image of a known format") from None
    with file as image:
        if image.width * image.height > LIMIT_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels, more than {LIMIT_PIXELS}")
        orientation = orientation_of(image)
        if orientation != 1:
            raise ValueError(
                f"its numbers stand upright; got EXIF orientation {orientation}: turn them, and "
                "remove the tag"
            )
        image.load()
        return _numbers(image)


def _numbers(image: Image.Image) -> npt.NDArray[Any]:
    if image.mode == "1":
        return np.asarray(image.convert("L"))[None]
    if image.mode in ("L", "P"):
        return np.asarray(image)[None]
    if image.mode == "RGB":
        return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
    if image.mode in _SIXTEEN_BIT:
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"numbers from {values.min()} to {values.max()}, not 0 to 65535")
        return values.astype(np.uint16)[None]
    raise ValueError(f"pixels of mode {image.mode}")


def mask_numbers(data: bytes) -> ByteArray:
    """Return uint8 `(H, W)`: the numbers of a mask's file, as they stand in it.

    Raises:
        Exception: as `raster`; ValueError for colours and for 16 bits.

    Example:
        >>> mask_numbers(b"P5 2 1 255 \\x00\\x01").tolist()
        [[0, 1]]
    """
    found = raster(data)
    if len(found) != 1 or found.dtype != np.uint8:
        kind = "16 bits" if found.dtype != np.uint8 else "colours"
        raise ValueError(f"a mask is a grey or palette image of 8 bits, not of {kind}")
    return np.asarray(found[0])


@dataclass(frozen=True)
class MaskFile:
    """A mask in a file of its own.

    Args:
        name: the file.
        lookup: the class of each of 256 numbers, -1 for numbers that mean nothing; None: as it is.

    Example:
        >>> import tempfile
        >>> from augmint.data.archives import open_files
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.pgm").write_bytes(b"P5 2 1 255 \\x00\\xff")
        ...     named = MaskFile("a.pgm", lookup=(0, *[-1] * 254, 1))
        ...     named.load(open_files(Path(folder)), (1, 2)).tolist()
        [[0, 1]]
    """

    name: str
    lookup: tuple[int, ...] | None = None

    def load(self, files: Files, size: tuple[int, int]) -> npt.NDArray[Any]:
        """Return the mask, uint8 `(H, W)`."""
        found = _named(lambda: mask_numbers(files.read(self.name)), self.name)
        of_one_size(found.shape[-2:], size, self.name)
        if self.lookup is None:
            return found
        classes = np.asarray(self.lookup)[found]
        if (classes < 0).any():
            value = int(found[classes < 0][0])
            raise ValueError(f"{single_line(self.name, 120)} holds {value}, which is no class")
        return classes.astype(np.uint8)


@dataclass(frozen=True)
class MapFile:
    """A map in a file of its own: an image of 8 or 16 bits, or a float32 `.npy`.

    Args:
        name: the file.
        channels: numbers a pixel.
        missing: numbers that say that there is none; None: 0 and 65535 of 16 bits, else none.

    Example:
        >>> import tempfile
        >>> from augmint.data.archives import open_files
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.pgm").write_bytes(b"P5 2 1 255 \\x00\\x07")
        ...     depth = MapFile("a.pgm", channels=1, missing=(0,))
        ...     depth.load(open_files(Path(folder)), (1, 2)).tolist()
        [[[nan, 7.0]]]
    """

    name: str
    channels: int
    missing: tuple[int, ...] | None = None

    def load(self, files: Files, size: tuple[int, int]) -> npt.NDArray[Any]:
        """Return the map, float32 `(channels, H, W)`."""
        if self.name.endswith(".npy"):
            wanted = (self.channels, *size)
            return _named(lambda: array_of(files.read(self.name), wanted), self.name)
        found = _named(lambda: raster(files.read(self.name)), self.name)
        of_one_size(found.shape[-2:], size, self.name)
        if len(found) != self.channels:
            raise ValueError(f"{self.name} has {len(found)} channels, not {self.channels}")
        return with_gaps(found, self.missing)


def with_gaps(found: npt.NDArray[Any], missing: tuple[int, ...] | None) -> npt.NDArray[np.float32]:
    """Return the numbers of an image as a map, NaN where they say that there is none.

    Example:
        >>> with_gaps(np.array([[[0, 7, 65535]]], np.uint16), missing=None).tolist()
        [[[nan, 7.0, nan]]]
    """
    if missing is None:
        missing = (0, 65535) if found.dtype == np.uint16 else ()
    values = found.astype(np.float32)
    values[np.isin(found, missing)] = np.nan
    return values


def array_of(data: bytes, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return the float32 array of a `.npy` file, which must have this shape.

    Raises:
        ValueError: if it has not; nothing is allocated that the bytes do not hold.

    Example:
        >>> file = io.BytesIO()
        >>> np.save(file, np.array([[[0.5, 2.0]]], np.float32))
        >>> array_of(file.getvalue(), (1, 1, 2)).tolist()
        [[[0.5, 2.0]]]
    """
    buffer = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(buffer)
        if version != (1, 0):
            raise ValueError(f"version {version}")
        found, fortran, dtype = np.lib.format.read_array_header_1_0(buffer)
    except Exception:  # its message may hold a memory address
        raise ValueError("no .npy file of this kind") from None
    rest = data[buffer.tell() :]
    if tuple(found) != tuple(shape) or fortran or dtype != np.dtype("<f4"):
        raise ValueError(f"an array {dtype} of shape {found}, not float32 of {shape}")
    if len(rest) != 4 * math.prod(shape):
        raise ValueError(f"{len(rest)} bytes of {4 * math.prod(shape)}")
    return np.frombuffer(rest, "<f4").reshape(shape).astype(np.float32)


def _named(act: Callable[[], npt.NDArray[Any]], name: str) -> npt.NDArray[Any]:
    """Say in every error which file it is about."""
    try:
        return act()
    except Exception as error:
        raise ValueError(f"{single_line(name, 120)}: {single_line(str(error), 160)}") from None

"""Annotations on their way into a table: loaded beside their image, checked, scaled with it."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from augmint.aspects.base import Schema
from augmint.core.errors import DataError, single_line

if TYPE_CHECKING:
    from augmint.aspects.base import Aspect
    from augmint.data.archives import Files
    from augmint.data.decoding import Outcome
    from augmint.data.formats.base import Sample

Value = npt.NDArray[Any]
Size = tuple[int, int]


class Values:
    """The annotations of decoded images, row by row; what is as large as an image lies on disk.

    Args:
        schema: of the samples, landmarks in any frame.
        folder: for temporary files.
    """

    def __init__(self, schema: Schema, folder: Path) -> None:
        self._schema = schema
        self._folder = folder
        self._rows: dict[str, list[Value]] = {a.name: [] for a in schema if a.flat}
        self._files: dict[str, IO[bytes]] = {}
        self._framed: dict[tuple[str, Size], Aspect] = {}
        self._count = 0
        self._beside: list[str] = []

    def of(
        self, files: Files, sample: Sample, outcome: Outcome, size: Size | None
    ) -> dict[str, Value] | str:
        """Return the values of one sample, or the reason why they (or its image) cannot be used.

        Args:
            files: where values that have files of their own are read from.
            sample: its aspects are in the frame of its image as it is stored.
            outcome: its decoded image.
            size: height and width that images are scaled to; None: they are not.
        """
        if isinstance(outcome, str):
            return outcome
        stored = outcome.stored
        placed = next((a.name for a in self._schema if a.spatial), None)
        if placed is not None and outcome.orientation != 1:
            # whoever annotated it saw it turned, or not: nothing says which
            return (
                f"{placed} goes with an upright image; got EXIF orientation "
                f"{outcome.orientation}: turn pixels and annotations alike, and remove the tag"
            )
        try:
            return {
                a.name: self._value(a, files, sample, stored, size or stored) for a in self._schema
            }
        except Exception as error:  # whatever a damaged annotation raises is its reason
            said = str(error) or type(error).__name__
            # a region says for itself which annotation of the file it is
            file = sample.where.split(" ")[0]
            where = f"{sample.where}: " if file and not said.startswith(file) else ""
            return single_line(where + said, 300)

    def append(self, sample: Sample, row: dict[str, Value], final: Size) -> None:
        """Add the values of one row, which are in the frame `final`."""
        for name, value in row.items():
            if name in self._rows:
                self._rows[name].append(value)
                continue
            if name not in self._files:
                path = self._folder / f"values-{len(self._files)}"
                self._files[name] = path.open("wb")
            self._files[name].write(np.ascontiguousarray(value).tobytes())
        self._count += 1
        for aspect in self._schema.of_kind("landmarks"):
            if _beside(row[aspect.name], final):
                self._beside.append(sample.name)

    def finish(self, size: Size) -> tuple[Schema, dict[str, Value]]:
        """Return the schema in the frame `size` and the values of all rows."""
        schema = Schema(tuple(self._frame(a, size) for a in self._schema))
        columns: dict[str, Value] = {}
        for aspect in schema:
            shape, dtype = aspect.storage((1, *size))
            if aspect.flat:
                columns[aspect.name] = np.asarray(self._rows[aspect.name], dtype=dtype)
                continue
            file = self._files[aspect.name]
            file.close()
            columns[aspect.name] = np.memmap(
                Path(file.name), dtype=dtype, mode="r", shape=(self._count, *shape)
            )
        return schema, columns

    def notes(self) -> list[str]:
        """Return sentences about what was found."""
        if not self._beside:
            return []
        example = single_line(self._beside[0], 80)
        return [f"{len(self._beside)} images have points beside the frame, such as {example}"]

    def close(self) -> None:
        """Close the temporary files."""
        for file in self._files.values():
            file.close()

    def _value(
        self, aspect: Aspect, files: Files, sample: Sample, stored: Size, final: Size
    ) -> Value:
        found = sample.aspects[aspect.name]
        if hasattr(found, "load"):
            found = found.load(files, stored)
        framed = self._frame(aspect, stored)
        shape, dtype = framed.storage((1, *stored))
        value = np.asarray(found, dtype=dtype)[None]
        if value.shape[1:] != shape:
            raise ValueError(f"{aspect.name} of shape {value.shape[1:]}, not {shape}")
        try:
            framed.check(value)
        except DataError as error:
            got = str(error.value).removesuffix(" in row 0")
            raise ValueError(f"{error.rule}; got {got}: {error.remedy}") from None
        if stored != final:
            _, value = framed.resized(value, stored, final)
        return np.asarray(value[0])

    def _frame(self, aspect: Aspect, size: Size) -> Aspect:
        """The aspect in a frame; only landmarks know theirs."""
        key = (aspect.name, size)
        if key not in self._framed:
            self._framed[key] = aspect
            if aspect.flat:
                self._framed[key], _ = aspect.resized(np.zeros((0, 1, 3)), size, size)
        return self._framed[key]


def _beside(points: Value, size: Size) -> bool:
    """Whether a labelled point lies outside the frame."""
    x, y, seen = points.T
    outside = (x < 0) | (y < 0) | (x > size[1]) | (y > size[0])
    return bool((outside & (seen > 0)).any())

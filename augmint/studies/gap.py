"""A gap: a range of a number that labelled images hardly hold; it is minted, and tested.

Which poses, ages or angles were never photographed? A study with a gap takes them out of the
labelled images, asks the generator for them, and scores on the real test images that have them.
The generator has to go where its data are thin: inside its data's range for a gap in the middle,
beyond it for one at the edge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from augmint.core.errors import UsageError, nearest
from augmint.core.streams import stream
from augmint.studies.arms import BASELINE, TREATMENT
from augmint.studies.statistics import paired_t

if TYPE_CHECKING:
    from augmint.aspects.base import Schema
    from augmint.aspects.vector import Vector
    from augmint.data.table import Table

EXAMPLE = "pose.yaw=20..45"

Values = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Gap:
    """A range of one component of a vector.

    Args:
        aspect: the vector's name.
        low, high: the range, both ends in it, in the component's unit.
        component: its name; "" for the only one.
        keep: labelled images inside the range, beside those outside.

    Raises:
        UsageError: for an empty range, or a negative number of images.

    Example:
        >>> Gap.parse("pose.yaw=20..45")
        Gap(aspect='pose', low=20.0, high=45.0, component='yaw', keep=0)
    """

    aspect: str
    low: float
    high: float
    component: str = ""
    keep: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise UsageError(
                "a gap reaches from a number to a larger one",
                f"{self.low:g}..{self.high:g}",
                f"--gap {EXAMPLE}",
            )
        if self.keep < 0:
            raise UsageError("gap.keep is not negative", self.keep, "--set gap.keep=0")

    @classmethod
    def parse(cls, text: str) -> Gap:
        """Return the gap of "ASPECT[.COMPONENT]=LOW..HIGH".

        Raises:
            UsageError: for anything else.
        """
        name, _, ends = text.partition("=")
        aspect, _, component = name.partition(".")
        try:
            low, high = (float(end) for end in ends.split(".."))
        except ValueError:
            aspect = ""
        if not aspect:
            raise UsageError("a gap is ASPECT.COMPONENT=LOW..HIGH", text, f"--gap {EXAMPLE}")
        return cls(aspect, low, high, component)

    def vector(self, schema: Schema) -> Vector:
        """Return the vector of a schema that the gap is in.

        Raises:
            UsageError: if there is none of that name, no such component, or the range leaves its
                bounds.
        """
        vectors: dict[str, Any] = {a.name: a for a in schema.of_kind("vector")}
        if self.aspect not in vectors:
            raise UsageError(
                "a gap is one of a vector's numbers",
                f"{self.aspect}; vectors here: {', '.join(vectors) or 'none'}",
                nearest(self.aspect, vectors) if vectors else "leave the gap out",
            )
        found: Vector = vectors[self.aspect]
        if self.component not in found.components and (self.component or found.width > 1):
            raise UsageError(
                f"a gap names a component of {found.name}",
                self.component or "none",
                nearest(self.component, found.components),
            )
        place = self._place(found)
        if found.low is not None and found.high is not None:
            low, high = found.low[place], found.high[place]
            if self.low < low or self.high > high:
                raise UsageError(
                    f"a gap lies within the bounds of {found.name}, {low:g} to {high:g}",
                    f"{self.low:g}..{self.high:g}",
                    f"reach from {max(self.low, low):g} to {min(self.high, high):g} at most",
                )
        return found

    def _place(self, vector: Vector) -> int:
        return vector.components.index(self.component) if self.component else 0

    def inside(self, table: Table) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return which images of a table lie in the range, `(N,)`."""
        numbers = np.asarray(table.values[self.aspect])[:, self._place(self.vector(table.schema))]
        return np.asarray((numbers >= self.low) & (numbers <= self.high))

    def requests(
        self, bank: Mapping[str, np.ndarray[Any, Any]], schema: Schema, seed: int
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Return training values with the gap's number drawn uniformly from its range."""
        asked = np.array(bank[self.aspect])
        drawn = stream(seed, "gap.requests", 0, len(asked)).uniform(1)[:, 0].numpy()
        asked[:, self._place(self.vector(schema))] = self.low + (self.high - self.low) * drawn
        return {**bank, self.aspect: asked}

    def words(self, schema: Schema) -> str:
        """Return what the range is, in words ("pose.yaw from 20 to 45 degrees")."""
        found = self.vector(schema)
        unit = found.units[self._place(found)] if found.units else ""
        name = ".".join(w for w in (self.aspect, self.component) if w)
        return f"{name} from {self.low:g} to {self.high:g} {unit}".strip()


def gap_rows(arms: Mapping[str, Values], gap: Gap, words: str, outside: int) -> dict[str, Any]:
    """Return how every arm does inside and outside the gap.

    Args:
        arms: one value a seed, as `steps.arm` returns it, by arm.
        gap: the range.
        words: what it is.
        outside: test images outside it.
    """
    rows = []
    base = np.array([v["outside"] for v in arms[BASELINE.name]])
    for name, values in arms.items():
        beside = np.array([v["outside"] for v in values])
        row: dict[str, Any] = {
            "arm": name,
            "inside": 100.0 * float(np.mean([v["score"] for v in values])),
            "outside": 100.0 * float(beside.mean()),
        }
        if name != BASELINE.name:
            found = paired_t(beside - base)
            row |= {
                "difference": 100.0 * found.mean,
                "low": 100.0 * found.low,
                "high": 100.0 * found.high,
                "primary": name == TREATMENT.name,
            }
        rows.append(row)
    held = f"{gap.keep} of them have" if gap.keep else "none of them has"
    return {
        "rows": rows,
        "text": (
            f"the labelled images lack {words}: {held} it. Minted images are asked for values "
            f"drawn evenly from that range; the verdict rests on real test images inside it. "
            f"Beside it stand the {outside} test images outside"
        ),
    }

"""What an aspect is, the schema that orders them, and the one coordinate convention.

**Coordinates.** Pixel (row i, column j) is the unit square whose centre lies at (x, y) =
(j + 0.5, i + 0.5), in a frame from (0, 0) to (W, H). Normalised coordinates run from -1 to 1 over
the same frame (`align_corners=False` everywhere):

    x_norm = 2 x / W - 1,    y_norm = 2 y / H - 1

A `CoordinateMap` is a batch of affine maps in normalised coordinates, from *output* to *input*
positions (what `grid_sample` wants); points move by its inverse.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from augmint.core.errors import UsageError, nearest
from augmint.core.registry import ASPECTS, split_spec

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from augmint.core.types import Shape


@dataclass(frozen=True)
class CoordinateMap:
    """A batch of affine maps, output position to input position, in normalised coordinates.

    Args:
        matrix: `(N, 2, 3)`; input (x, y) = matrix @ (x_out, y_out, 1).
        size: height and width of the frame (the same before and after).
    """

    matrix: Tensor
    size: tuple[int, int]

    def forward_points(self, points: Tensor) -> Tensor:
        """Move points `(N, K, 2)` in pixel coordinates as the image content moves."""
        import torch

        scale = points.new_tensor([self.size[1] / 2.0, self.size[0] / 2.0])
        linear, shift = self.matrix[:, :, :2].double(), self.matrix[:, :, 2].double()
        normalised = points.double() / scale - 1.0 - shift[:, None]
        moved = torch.linalg.solve(linear, normalised.transpose(1, 2)).transpose(1, 2)
        return ((moved + 1.0) * scale).to(points.dtype)

    @property
    def mirrors(self) -> Tensor:
        """`(N,)` booleans: does the map reverse orientation (contain a flip)?"""
        linear = self.matrix[:, :, :2]
        return (linear[:, 0, 0] * linear[:, 1, 1] - linear[:, 0, 1] * linear[:, 1, 0]) < 0


@dataclass(frozen=True)
class Aspect(ABC):
    """Anything known about an image: how it is stored, fed to networks, warped, scored and drawn.

    Args:
        name: the column it is known by ("label").
    """

    name: str
    kind: ClassVar[str]

    @property
    @abstractmethod
    def width(self) -> int:
        """Length of the encoded vector, or channels of the encoded map."""

    @abstractmethod
    def storage(self, shape: Shape) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return shape and dtype of one stored value, for images of `shape`."""

    @abstractmethod
    def check(self, values: np.ndarray[Any, Any]) -> None:
        """Raise `DataError` naming the first row whose value is out of range."""

    @abstractmethod
    def encode(self, values: Tensor) -> Tensor:
        """Stored values `(N, …)` to what networks take, float32 `(N, width, …)`."""

    @abstractmethod
    def decode(self, encoded: Tensor) -> Tensor:
        """Network outputs to stored values: the inverse of `encode`."""

    @abstractmethod
    def warp(self, values: Tensor, coordinates: CoordinateMap) -> Tensor:
        """Return the values as they are after the image was warped."""

    @abstractmethod
    def loss(self, prediction: Tensor, values: Tensor) -> Tensor:
        """Loss of raw network outputs against stored values, `(N,)`."""

    @abstractmethod
    def error(self, prediction: Tensor, values: Tensor) -> Tensor:
        """Error of raw network outputs against stored values, `(N,)`, 0 is right."""

    @abstractmethod
    def show(self, value: Any) -> str:
        """Return one stored value as text for people ("seven")."""

    def to_plain(self) -> dict[str, Any]:
        """Return the aspect as a mapping that `Schema.from_plain` reads back."""
        from augmint.core.config import to_plain

        return {"kind": self.kind, **to_plain(self)}


@dataclass(frozen=True)
class Schema:
    """The ordered, named aspects of a data set."""

    aspects: tuple[Aspect, ...]

    def __post_init__(self) -> None:
        names = [a.name for a in self.aspects]
        if len(set(names)) != len(names):
            raise UsageError("aspect names are unique", ", ".join(names), "rename one")

    def __getitem__(self, name: str) -> Aspect:
        for aspect in self.aspects:
            if aspect.name == name:
                return aspect
        known = [a.name for a in self.aspects]
        raise UsageError("the schema has no aspect of this name", name, nearest(name, known))

    def __contains__(self, name: object) -> bool:
        return any(a.name == name for a in self.aspects)

    def __iter__(self) -> Iterator[Aspect]:
        return iter(self.aspects)

    def __len__(self) -> int:
        return len(self.aspects)

    def of_kind(self, kind: str) -> list[Aspect]:
        """Return the aspects of one kind, in order."""
        return [a for a in self.aspects if a.kind == kind]

    def to_plain(self) -> list[dict[str, Any]]:
        """Return the schema as plain lists and mappings."""
        return [a.to_plain() for a in self.aspects]

    @classmethod
    def from_plain(cls, rows: Sequence[Mapping[str, Any]]) -> Schema:
        """Read a schema back, checking every field."""
        aspects = []
        for row in rows:
            fields = dict(row)
            kind, _ = split_spec({"name": fields.pop("kind", None)}, "aspect")
            from augmint.core.config import build

            aspects.append(build(ASPECTS.get(kind), fields, where=f"aspect {kind}"))
        return cls(tuple(aspects))

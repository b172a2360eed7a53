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

from augmint.core.errors import IncompatibleError, UsageError, nearest
from augmint.core.registry import ASPECTS, split_spec

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from augmint.core.types import ByteArray, Shape


@dataclass(frozen=True)
class CoordinateMap:
    """A batch of affine maps, output position to input position, in normalised coordinates.

    Args:
        matrix: `(N, 2, 3)`; input (x, y) = matrix @ (x_out, y_out, 1).
        size: height and width of the frame (the same before and after).

    Example:
        >>> import torch
        >>> mirror = CoordinateMap(torch.tensor([[[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]), (4, 8))
        >>> mirror.forward_points(torch.tensor([[[1.0, 2.0]]])).tolist(), mirror.mirrors.tolist()
        ([[[7.0, 2.0]]], [True])
    """

    matrix: Tensor
    size: tuple[int, int]

    def at(self, size: Sequence[int]) -> CoordinateMap:
        """Return the same map for a frame of another height and width: it is normalised."""
        return CoordinateMap(self.matrix, (size[0], size[1]))

    def grid(self) -> Tensor:
        """Return `(N, H, W, 2)` input positions of every output pixel.

        The map is affine, so the grid is a sum of one row and one column vector an image: a fifth
        of the time of `affine_grid` (64 maps of 28 x 28 on one thread), which multiplies matrices.
        """
        import torch

        matrix = self.matrix
        height, width = self.size
        x = (torch.arange(width, dtype=matrix.dtype, device=matrix.device) * 2 + 1) / width - 1
        y = (torch.arange(height, dtype=matrix.dtype, device=matrix.device) * 2 + 1) / height - 1
        along_x = matrix[:, :, 0, None] * x
        along_y = torch.addcmul(matrix[:, :, 2, None], matrix[:, :, 1, None], y)
        return (along_x[:, :, None, :] + along_y[:, :, :, None]).permute(0, 2, 3, 1)

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
    flat: ClassVar[bool] = True
    """Encoded as a vector, not as an image."""
    bounded: ClassVar[bool] = False
    """Its encoding lies in [-1, 1]; an object may say so for itself."""
    one_hot: ClassVar[bool] = False
    """Encoded as shares in [0, 1], one a class; encodings of others lie around [-1, 1]."""
    spatial: ClassVar[bool] = False
    """Lies in the image plane: `to_planes` draws it as further channels of an image."""
    blends: ClassVar[bool] = False
    """`between` gives values between two others."""
    mirrors: ClassVar[bool] = True
    """Knows what a mirrored image does to it; an object may say otherwise for itself."""
    mirror_field: ClassVar[str] = "pairs"
    """Where it says so."""

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

    @property
    def unfitted(self) -> bool:
        """Whether `fitted` has something to learn that it has not learnt yet."""
        return False

    def fitted(self, values: np.ndarray[Any, Any]) -> Aspect:
        """Return the aspect with what it must learn from training values (a vector's scale)."""
        return self

    def resized(
        self, values: np.ndarray[Any, Any], old: tuple[int, int], new: tuple[int, int]
    ) -> tuple[Aspect, np.ndarray[Any, Any]]:
        """Return aspect and stored values after all images were scaled from `old` to `new`.

        Args:
            values: stored values of N rows.
            old: height and width before.
            new: height and width after.
        """
        return self, values

    def labelled(self, values: Tensor) -> Tensor:
        """Return `(N, width)` booleans: the entries of a flat encoding that say something."""
        import torch

        return torch.ones(len(values), self.width, dtype=torch.bool, device=values.device)

    def told(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return which rows of stored values say anything, `(N,)` booleans."""
        import numpy as np

        return np.ones(len(values), dtype=bool)

    @property
    def planes(self) -> int:
        """Channels that `to_planes` draws."""
        return self.width

    def to_planes(self, values: Tensor) -> Tensor:
        """Return stored values of a spatial aspect as images `(N, planes, H, W)` in [0, 1].

        What is not known can be told from what is, and `from_planes` does.
        """
        encoded = self.encode(values)
        return encoded if self.one_hot else (encoded + 1.0) / 2.0

    def from_planes(self, planes: Tensor) -> Tensor:
        """Return the stored values that images `(N, planes, H, W)` in [0, 1] show."""
        return self.decode(planes if self.one_hot else 2.0 * planes - 1.0)

    def between(self, first: Tensor, second: Tensor, share: Tensor) -> Tensor:
        """Return stored values `(1 - t) first + t second`, where the aspect `blends`.

        Args:
            first: of N rows.
            second: of N other rows.
            share: t, `(N,)`, 0 to 1.
        """
        return first

    def draw(self, image: ByteArray, value: Any) -> ByteArray:
        """Return uint8 `(3, H, W)`: the value drawn over the image `(C, H, W)`.

        The image may be an enlarged one. What is said in words (`show`) is not drawn.
        """
        from augmint.core.pictures import as_rgb

        return as_rgb(image)

    def refusal_to_mirror(self) -> IncompatibleError:
        """Return the error of a flip, where `mirrors` is false."""
        return IncompatibleError(
            f"a flip swaps left and right, which {self.name} does not say of its parts",
            f"a {self.kind} whose {self.mirror_field} are unknown",
            f'give "{self.mirror_field}" in schema.json ([] for none), or try policies without '
            "flips (--set 'policy.candidates=[none,shift,affine]')",
        )

    @property
    def words(self) -> str:
        """The aspect's name and what it is, for people."""
        return f"{self.name} ({self.kind})"

    def to_plain(self) -> dict[str, Any]:
        """Return the aspect as a mapping that `Schema.from_plain` reads back."""
        from augmint.core.config import to_plain

        return {"kind": self.kind, **to_plain(self)}


@dataclass(frozen=True)
class Schema:
    """The ordered, named aspects of a data set.

    Example:
        >>> from augmint.aspects.category import Category
        >>> schema = Schema((Category("label", ("cat", "dog")),))
        >>> schema.to_plain()
        [{'kind': 'category', 'name': 'label', 'classes': ['cat', 'dog']}]
        >>> Schema.from_plain(schema.to_plain()) == schema
        True
    """

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

    def fitted(self, values: Mapping[str, np.ndarray[Any, Any]]) -> Schema:
        """Return the schema with each aspect fitted to its training values."""
        return Schema(tuple(a.fitted(values[a.name]) for a in self.aspects))

    def resized(
        self,
        values: Mapping[str, np.ndarray[Any, Any]],
        old: tuple[int, int],
        new: tuple[int, int],
    ) -> tuple[Schema, dict[str, np.ndarray[Any, Any]]]:
        """Return schema and values after all images were scaled from `old` to `new`."""
        pairs = {a.name: a.resized(values[a.name], old, new) for a in self.aspects}
        schema = Schema(tuple(pairs[a.name][0] for a in self.aspects))
        return schema, {name: found for name, (_, found) in pairs.items()}

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

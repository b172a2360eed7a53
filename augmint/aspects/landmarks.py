"""Landmarks: named points of an image, each with its visibility."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from augmint.aspects.base import Aspect, CoordinateMap
from augmint.core.errors import DataError
from augmint.core.registry import ASPECTS

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from augmint.core.types import ByteArray, Shape


SPOT = 1.5
"""Standard deviation, in pixels, of the spot that a point is in its plane."""
FAINT = 0.25
"""A plane that is nowhere as bright shows no point; a spot 2.5 px beside the image is fainter."""


@ASPECTS.register("landmarks")
@dataclass(frozen=True)
class Landmarks(Aspect):
    """K named points, stored as float32 `(K, 3)`: x, y in pixels of the frame, and visibility.

    Visibility: 0 not labelled, 1 labelled but hidden, 2 visible. Encoded as `(N, 2 K)`, x and y of
    each point in turn, normalised over the frame (`aspects.base`): [-1, 1] inside it, 0 where not
    labelled. Loss: mean absolute difference of the encodings over labelled points. Error: the
    normalised mean error, `NME = mean_k |p_k - t_k| / d`, over labelled points, with d the distance
    of the two points of `reference` (inter-ocular). Without a reference, and in images where one of
    the two is not labelled or they lie within a pixel of each other, d is the diagonal of the
    labelled points' bounding box, and 1 px where that is no more. Decoded points are visible.

    Args:
        points: their names.
        size: height and width of the frame that x and y are measured in.
        pairs: names of left and right counterparts, which a mirrored image swaps; () says that
            there are none, None that they are unknown, and then a flip is refused.
        skeleton: pairs of names that are drawn as lines.
        reference: the two points whose distance is 1 in the error.

    Raises:
        DataError: for names that are not unique, or pairs, lines, a reference of unknown names.

    Example:
        >>> import torch
        >>> eyes = Landmarks("eyes", ("left", "right"), (4, 8), pairs=(("left", "right"),))
        >>> eyes.encode(torch.tensor([[[2.0, 2.0, 2.0], [6.0, 2.0, 2.0]]]))
        tensor([[-0.5000,  0.0000,  0.5000,  0.0000]])
    """

    points: tuple[str, ...] = ()
    size: tuple[int, int] = (1, 1)
    pairs: tuple[tuple[str, str], ...] | None = None
    skeleton: tuple[tuple[str, str], ...] = ()
    reference: tuple[str, str] | None = None
    kind: ClassVar[str] = "landmarks"
    spatial: ClassVar[bool] = True
    blends: ClassVar[bool] = True
    bounded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.points or len(set(self.points)) != len(self.points):
            raise DataError(
                f"{self.name} has points of different names",
                f"{len(self.points)} points, {len(set(self.points))} names",
                "name each point",
            )
        lines = [*(self.pairs or ()), *self.skeleton, *([self.reference] if self.reference else [])]
        if unknown := {n for line in lines for n in line} - set(self.points):
            raise DataError(
                f"pairs, skeleton and reference of {self.name} name its points",
                sorted(unknown)[0],
                "correct the name",
            )
        swapped = [n for pair in self.pairs or () for n in pair]
        if len(set(swapped)) != len(swapped):
            raise DataError(
                f"a point of {self.name} has one counterpart",
                next(n for n in swapped if swapped.count(n) > 1),
                "correct pairs",
            )

    @property
    def mirrors(self) -> bool:  # type: ignore[override]
        return self.pairs is not None

    @property
    def width(self) -> int:
        return 2 * len(self.points)

    def storage(self, shape: Shape) -> tuple[tuple[int, ...], np.dtype[Any]]:
        import numpy as np

        if tuple(shape[1:]) != tuple(self.size):
            raise DataError(
                f"points of {self.name} are measured in the frame of the images",
                f"frame {tuple(self.size)}, images {tuple(shape[1:])}",
                "scale them with `resized`",
            )
        return (len(self.points), 3), np.dtype(np.float32)

    def check(self, values: np.ndarray[Any, Any]) -> None:
        import numpy as np

        height, width = self.size
        labelled = values[..., 2] > 0
        frame = np.array([width, height], np.float32)
        # a point may lie beside the frame, as a chin below a tight crop, but not far from it
        off = (np.abs(values[..., :2] / frame - 0.5) > 1.5).any(-1) & labelled
        bad = ~np.isfinite(values).all(-1) | ~np.isin(values[..., 2], (0, 1, 2)) | off
        if bad.any():
            row, k = (int(i[0]) for i in np.nonzero(bad))
            raise DataError(
                f"{self.name}.{self.points[k]} is x, y within a frame's width of the image "
                f"({width} x {height} px) and visibility 0, 1 or 2",
                f"{values[row, k].tolist()} in row {row}",
                "correct the point, or mark it as not labelled (visibility 0)",
            )

    def resized(
        self, values: np.ndarray[Any, Any], old: tuple[int, int], new: tuple[int, int]
    ) -> tuple[Landmarks, np.ndarray[Any, Any]]:
        import numpy as np

        factor = np.array([new[1] / old[1], new[0] / old[0], 1.0], np.float32)
        return dataclasses.replace(self, size=(new[0], new[1])), values * factor

    def encode(self, values: Tensor) -> Tensor:
        normalised = values[..., :2].float() / self._half(values) - 1.0
        return (normalised * (values[..., 2:] > 0)).flatten(1)

    def decode(self, encoded: Tensor) -> Tensor:
        import torch

        points = (encoded.float().unflatten(1, (-1, 2)) + 1.0) * self._half(encoded)
        return torch.cat((points, torch.full_like(points[..., :1], 2.0)), -1)

    def warp(self, values: Tensor, coordinates: CoordinateMap) -> Tensor:
        import torch

        points = coordinates.at(self.size).forward_points(values[..., :2])
        moved = torch.cat((points, values[..., 2:]), -1)
        if self.pairs == ():
            return moved
        mirrored = coordinates.mirrors
        if self.pairs is None:
            if mirrored.any():
                raise self.refusal_to_mirror()
            return moved
        order = torch.tensor(self._counterparts, device=values.device)
        return torch.where(mirrored[:, None, None], moved[:, order], moved)

    def labelled(self, values: Tensor) -> Tensor:
        return (values[..., 2:] > 0).expand(-1, -1, 2).flatten(1)

    def told(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        import numpy as np

        return np.asarray((values[..., 2] > 0).any(1))

    @property
    def planes(self) -> int:
        return len(self.points)

    def to_planes(self, values: Tensor) -> Tensor:
        """Return one plane a point: exp(-|p - t_k|² / (2 SPOT²)), 0 where it is not labelled."""
        import torch

        height, width = self.size
        x = torch.arange(width, device=values.device) + 0.5
        y = torch.arange(height, device=values.device) + 0.5
        across = torch.exp(-((x - values[..., :1]) ** 2) / (2.0 * SPOT**2))
        down = torch.exp(-((y - values[..., 1:2]) ** 2) / (2.0 * SPOT**2))
        labelled = (values[..., 2] > 0)[..., None, None]
        return down[..., :, None] * across[..., None, :] * labelled

    def from_planes(self, planes: Tensor) -> Tensor:
        """Return the centre of each plane's brightest part, the mean position by what exceeds half
        of its maximum: exact for a spot that lies in the frame, up to the grid. A plane without a
        spot, nowhere above FAINT, is of a point that is not known."""
        import torch

        height, width = self.size
        top = planes.amax((2, 3), keepdim=True)
        weight = (planes - 0.5 * top).clamp_min(0.0) + 1e-9
        total = weight.sum((2, 3))
        x = torch.arange(width, device=planes.device) + 0.5
        y = torch.arange(height, device=planes.device) + 0.5
        across, down = (weight.sum(2) * x).sum(2) / total, (weight.sum(3) * y).sum(2) / total
        seen = 2.0 * (top.flatten(1) >= FAINT).to(across)
        return torch.stack((across, down, seen), -1) * (seen > 0)[..., None]

    def between(self, first: Tensor, second: Tensor, share: Tensor) -> Tensor:
        import torch

        places = torch.lerp(first[..., :2], second[..., :2], share[:, None, None])
        # a point lies between two only if both are known
        return torch.cat((places, torch.minimum(first[..., 2:], second[..., 2:])), -1)

    def loss(self, prediction: Tensor, values: Tensor) -> Tensor:
        labelled = self.labelled(values)
        difference = (prediction - self.encode(values)).abs() * labelled
        return difference.sum(1) / labelled.sum(1).clamp_min(1)

    def error(self, prediction: Tensor, values: Tensor) -> Tensor:
        distance = (self.decode(prediction)[..., :2] - values[..., :2]).norm(dim=-1)
        labelled = values[..., 2] > 0
        mean = (distance * labelled).sum(1) / labelled.sum(1).clamp_min(1)
        return mean / self.distances(values)

    def distances(self, values: Tensor) -> Tensor:
        """Return the distance, in pixels, that is 1 in the error of each row, `(N,)`.

        That of the reference, or the diagonal of the labelled points' box where it is not known.
        """
        import torch

        points, labelled = values[..., :2].float(), values[..., 2] > 0
        far = torch.full_like(points, float("inf"))
        low = points.where(labelled[..., None], far).amin(1)
        high = points.where(labelled[..., None], -far).amax(1)
        box = (high - low).norm(dim=1)  # infinite where no point is labelled
        box = box.where(torch.isfinite(box) & (box > 1), box.new_ones(()))
        if self.reference is None:
            return box
        a, b = (self.points.index(n) for n in self.reference)
        apart = (points[:, a] - points[:, b]).norm(dim=-1)
        return apart.where(labelled[:, a] & labelled[:, b] & (apart > 1), box)

    def draw(self, image: ByteArray, value: Any) -> ByteArray:
        import numpy as np
        from PIL import ImageDraw

        from augmint.core.pictures import MARKS, as_rgb, to_picture

        picture = to_picture(as_rgb(image))
        pen = ImageDraw.Draw(picture)
        values = np.asarray(value, dtype=np.float64)
        scale = np.array([picture.width / self.size[1], picture.height / self.size[0]])
        # pixel (0, 0) has its centre at (0.5, 0.5) here, at (0, 0) for the pen
        place = [tuple(p) for p in values[:, :2] * scale - 0.5]
        for a, b in self.skeleton:
            i, j = self.points.index(a), self.points.index(b)
            if values[i, 2] > 0 and values[j, 2] > 0:
                pen.line([place[i], place[j]], fill=MARKS[1])
        radius = max(0.5, picture.width / 100)
        for (x, y), seen in zip(place, values[:, 2], strict=True):
            if seen > 0:
                box = [x - radius, y - radius, x + radius, y + radius]
                pen.ellipse(box, fill=MARKS[3] if seen > 1 else MARKS[5])
        return as_rgb(np.asarray(picture).transpose(2, 0, 1))

    def show(self, value: Any) -> str:
        labelled = sum(1 for row in value if float(row[2]) > 0)
        total = len(self.points)
        return f"{total} points" if labelled == total else f"{labelled} of {total} points"

    @cached_property
    def _counterparts(self) -> list[int]:
        order = list(range(len(self.points)))
        for a, b in self.pairs or ():
            i, j = self.points.index(a), self.points.index(b)
            order[i], order[j] = j, i
        return order

    def _half(self, like: Tensor) -> Tensor:
        import torch

        height, width = self.size
        return torch.tensor([width / 2, height / 2], dtype=torch.float32, device=like.device)

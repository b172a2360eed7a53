"""Mask: the class of every pixel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from augmint.aspects.base import Aspect, CoordinateMap
from augmint.aspects.sides import class_pairs
from augmint.core.errors import DataError
from augmint.core.registry import ASPECTS

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from augmint.core.types import ByteArray, Shape


BY_NAMES = (("", ""),)
"""The pairs of a mask that says nothing of them: those that the names of its classes tell."""


@ASPECTS.register("mask")
@dataclass(frozen=True)
class Mask(Aspect):
    """One of `classes` for every pixel, stored as uint8 `(H, W)`; `void` where there is no truth.

    Encoded one-hot, `(N, classes, H, W)`, 0 in all channels at void. Loss: cross-entropy of logits
    `(N, classes, H, W)`, mean over pixels that are not void. Error: 1 - mean intersection over
    union, `IoU_c = |P_c ∩ T_c| / |P_c ∪ T_c|` over the classes that prediction or truth hold,
    without void pixels. A warp takes the nearest pixel; what comes in from outside is void where
    there is such a label, else the nearest pixel inside.

    Args:
        classes: their names, in the order of their indices; the first is the background.
        void: the stored number that says "no truth here", or None.
        pairs: classes that a mirrored image swaps ("left lung", "right lung"); (): none; None:
            unknown, and a flip is refused; not given: as the names tell (`sides.class_pairs`).

    Raises:
        DataError: for fewer than two classes, more than fit, or pairs of unknown names.

    Example:
        >>> import torch
        >>> cell = Mask("cell", ("outside", "inside"))
        >>> cell.encode(torch.tensor([[[0, 1]]], dtype=torch.uint8))
        tensor([[[[1., 0.]],
        <BLANKLINE>
                 [[0., 1.]]]])
    """

    classes: tuple[str, ...] = ()
    void: int | None = None
    pairs: tuple[tuple[str, str], ...] | None = BY_NAMES
    kind: ClassVar[str] = "mask"
    flat: ClassVar[bool] = False
    one_hot: ClassVar[bool] = True
    spatial: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 2 <= len(set(self.classes)) == len(self.classes) <= 256:
            raise DataError(
                f"{self.name} has 2 to 256 classes of different names",
                f"{len(self.classes)} classes, {len(set(self.classes))} names",
                "name each class, the background first",
            )
        if self.void is not None and not len(self.classes) <= self.void <= 255:
            raise DataError(
                f"{self.name}.void is no class and fits into a byte",
                self.void,
                "set void to 255",
            )
        if self.pairs == BY_NAMES:
            object.__setattr__(self, "pairs", class_pairs(self.classes))
        if unknown := {n for pair in self.pairs or () for n in pair} - set(self.classes):
            raise DataError(f"pairs of {self.name} name its classes", sorted(unknown)[0], "correct")

    @property
    def mirrors(self) -> bool:  # type: ignore[override]
        return self.pairs is not None

    @property
    def width(self) -> int:
        return len(self.classes)

    def storage(self, shape: Shape) -> tuple[tuple[int, ...], np.dtype[Any]]:
        import numpy as np

        return tuple(shape[1:]), np.dtype(np.uint8)

    def check(self, values: np.ndarray[Any, Any]) -> None:
        import numpy as np

        known = np.zeros(256, dtype=bool)
        known[: self.width] = True
        if self.void is not None:
            known[self.void] = True
        # in blocks: a set's masks may be as large as its images
        for start in range(0, len(values), 256):
            bad = ~known[values[start : start + 256]]
            if bad.any():
                row = int(bad.reshape(len(bad), -1).any(1).argmax())
                found = int(values[start + row][bad[row]][0])
                void = "" if self.void is None else f" or {self.void} (void)"
                raise DataError(
                    f"{self.name} must be 0 to {self.width - 1}{void}",
                    f"{found} in row {start + row}",
                    "correct the mask or add the class",
                )

    def resized(
        self, values: np.ndarray[Any, Any], old: tuple[int, int], new: tuple[int, int]
    ) -> tuple[Mask, np.ndarray[Any, Any]]:
        import numpy as np

        # the pixel in whose square the centre of the new pixel lies
        rows = ((np.arange(new[0]) + 0.5) * (old[0] / new[0])).astype(np.int64)
        columns = ((np.arange(new[1]) + 0.5) * (old[1] / new[1])).astype(np.int64)
        return self, np.ascontiguousarray(values[:, rows[:, None], columns])

    def encode(self, values: Tensor) -> Tensor:
        import torch

        known = torch.arange(self.width, device=values.device, dtype=values.dtype)
        return (values[:, None] == known[:, None, None]).float()

    def decode(self, encoded: Tensor) -> Tensor:
        import torch

        return encoded.argmax(1).to(torch.uint8)

    def told(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        import numpy as np

        if self.void is None:
            return np.ones(len(values), dtype=bool)
        # row by row: a set's masks may be as large as its images
        return np.array([bool((value != self.void).any()) for value in values], dtype=bool)

    def from_planes(self, planes: Tensor) -> Tensor:
        """Return the class of the brightest plane; void, if there is such, where all are dark."""
        found = self.decode(planes)
        if self.void is None:
            return found
        return found.masked_fill(planes.sum(1) < 0.5, self.void)

    def warp(self, values: Tensor, coordinates: CoordinateMap) -> Tensor:
        from torch.nn import functional

        grid = coordinates.at(values.shape[-2:]).grid().float()
        if self.void is None:
            moved = functional.grid_sample(
                values[:, None].float(), grid, "nearest", "border", align_corners=False
            )
        else:
            # zeros outside of `values - void` are void outside of the values
            moved = self.void + functional.grid_sample(
                values[:, None].float() - self.void, grid, "nearest", "zeros", align_corners=False
            )
        out = moved[:, 0].round().to(values.dtype)
        if self.pairs == ():
            return out
        mirrored = coordinates.mirrors
        if self.pairs is None:
            if mirrored.any():
                raise self.refusal_to_mirror()
            return out
        swap = values.new_tensor(self._counterparts)
        return swap[out.long()].where(mirrored[:, None, None], out)

    def loss(self, prediction: Tensor, values: Tensor) -> Tensor:
        from torch.nn import functional

        ignored = -1 if self.void is None else self.void
        each = functional.cross_entropy(
            prediction, values.long(), reduction="none", ignore_index=ignored
        )
        kept = (values != ignored).flatten(1).sum(1).clamp_min(1)
        return each.flatten(1).sum(1) / kept

    def error(self, prediction: Tensor, values: Tensor) -> Tensor:
        said = prediction.argmax(1)
        kept = values >= 0 if self.void is None else values != self.void
        shares = []
        for c in range(self.width):
            claimed, true = (said == c) & kept, (values == c) & kept
            both = (claimed & true).flatten(1).sum(1)
            either = (claimed | true).flatten(1).sum(1)
            # a class that neither holds is left out of the mean
            shares.append((both / either.clamp_min(1), either > 0))
        total = sum(share * there for share, there in shares)
        held = sum(there.float() for _, there in shares)
        return 1.0 - total / held.clamp_min(1)  # type: ignore[union-attr,operator]

    def draw(self, image: ByteArray, value: Any) -> ByteArray:
        import numpy as np

        from augmint.core.pictures import MARKS, as_rgb

        out = as_rgb(image).astype(np.float32)
        _, seen = self.resized(np.asarray(value)[None], np.shape(value), out.shape[1:])
        for c in range(1, self.width):
            colour = np.array(MARKS[(c - 1) % len(MARKS)], np.float32)
            where = seen[0] == c
            out[:, where] = 0.5 * out[:, where] + 0.5 * colour[:, None]
        return out.round().astype(np.uint8)

    def show(self, value: Any) -> str:
        import numpy as np

        counts = np.bincount(np.asarray(value).ravel(), minlength=self.width)
        shares = counts / max(1, counts.sum())
        return ", ".join(f"{n} {s:.0%}" for n, s in zip(self.classes, shares, strict=False) if s)

    @cached_property
    def _counterparts(self) -> list[int]:
        order = list(range(256))
        for a, b in self.pairs or ():
            i, j = self.classes.index(a), self.classes.index(b)
            order[i], order[j] = j, i
        return order

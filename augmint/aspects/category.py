"""Category: one of several named classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from augmint.aspects.base import Aspect, CoordinateMap
from augmint.core.errors import DataError
from augmint.core.registry import ASPECTS

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from augmint.core.types import Shape

LABEL = "label"
"""The category whose classes a study draws, mints and reports by."""


@ASPECTS.register("category")
@dataclass(frozen=True)
class Category(Aspect):
    """One of `classes`, stored as its int64 index, encoded one-hot.

    Loss: cross-entropy, `-log softmax(prediction)[value]`; encoded (soft) values `(N, classes)`,
    which mixing augmenters give, are taken too. Error: 1 where the arg max differs.

    Args:
        classes: their names, in the order of their indices.

    Example:
        >>> import torch
        >>> label = Category("label", ("cat", "dog"))
        >>> label.encode(torch.tensor([1]))
        tensor([[0., 1.]])
        >>> label.show(1)
        'dog'
    """

    classes: tuple[str, ...] = ()
    kind: ClassVar[str] = "category"
    one_hot: ClassVar[bool] = True
    blends: ClassVar[bool] = True  # there is nothing between classes: that of the first is taken

    def __post_init__(self) -> None:
        if not self.classes:
            raise DataError("a category has at least one class", "none", "name its classes")

    @property
    def width(self) -> int:
        return len(self.classes)

    def storage(self, shape: Shape) -> tuple[tuple[int, ...], np.dtype[Any]]:
        import numpy as np

        return (), np.dtype(np.int64)

    def check(self, values: np.ndarray[Any, Any]) -> None:
        bad = (values < 0) | (values >= self.width)
        if bad.any():
            row = int(bad.argmax())
            raise DataError(
                f"{self.name} must be 0 to {self.width - 1}",
                f"{values[row]} in row {row}",
                "correct the label or add the class",
            )

    def encode(self, values: Tensor) -> Tensor:
        import torch

        return torch.nn.functional.one_hot(values, self.width).float()

    def decode(self, encoded: Tensor) -> Tensor:
        return encoded.argmax(1)

    def warp(self, values: Tensor, coordinates: CoordinateMap) -> Tensor:
        return values

    def loss(self, prediction: Tensor, values: Tensor) -> Tensor:
        import torch

        return torch.nn.functional.cross_entropy(prediction, values, reduction="none")

    def error(self, prediction: Tensor, values: Tensor) -> Tensor:
        return (prediction.argmax(1) != values).float()

    def show(self, value: Any) -> str:
        return self.classes[int(value)]

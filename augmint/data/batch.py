"""A batch of images with everything known about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from augmint.core.types import AspectValues


@dataclass(frozen=True)
class AnnotatedBatch:
    """Images, their aspects and their ids, on one device.

    Args:
        images: uint8 `(N, C, H, W)`, or float in [-1, 1] once inside a loop.
        aspects: name to stored values, each with N rows.
        ids: int64 `(N,)`, the rows' stable ids (streams are keyed by them).
    """

    images: Tensor
    aspects: AspectValues
    ids: Tensor

    def __len__(self) -> int:
        return int(self.images.shape[0])

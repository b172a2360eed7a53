"""`toy`: drawn faces with five expressions, whose every truth is known (`augmint.data.faces`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.core.errors import UsageError
from augmint.core.registry import DATASETS
from augmint.data.base import BuiltIn, Content
from augmint.data.faces import EXPRESSIONS, draw_faces


@DATASETS.register("toy")
@dataclass(frozen=True)
class Toy(BuiltIn):
    """Drawn faces: neutral, happy, sad, surprised or angry, in random pose and colours.

    Args:
        images: how many; classes are equally frequent to within one.
        size: height and width in pixels, at least 24.
        channels: 3 (RGB) or 1 (grey).
        seed: of the drawing.

    Example:
        >>> content = Toy(images=10).build(None, None)
        >>> content.images.shape, np.bincount(content.values["label"]).tolist()
        ((10, 3, 32, 32), [2, 2, 2, 2, 2])
    """

    images: int = 3000
    size: int = 32
    channels: int = 3
    seed: int = 0
    drawn: ClassVar[bool] = True

    def build(self, size: tuple[int, int] | None, channels: int | None) -> Content:
        if self.images < len(EXPRESSIONS):
            raise UsageError("toy has at least one image a class", self.images, "images=3000")
        # a square is drawn at its size; ingest scales to anything else
        side = size[0] if size is not None and size[0] == size[1] >= 24 else self.size
        drawn = draw_faces(self.images, side, self.seed, 1 if channels == 1 else self.channels)
        rows = np.arange(self.images, dtype=np.int64)
        return Content(
            drawn["images"],
            {"label": drawn["expression"]},
            Schema((Category("label", EXPRESSIONS),)),
            [f"toy#{i}" for i in rows],
            {"all": rows},
            f"built-in drawn faces, {len(EXPRESSIONS)} expressions",
        )

"""`digits`: 1 797 handwritten digits of 8 x 8 pixels, shipped with scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.core.registry import DATASETS
from augmint.data.base import BuiltIn, Content


@DATASETS.register("digits")
@dataclass(frozen=True)
class Digits(BuiltIn):
    """1 797 handwritten digits, 8 x 8 grey, ten classes (UCI optical digits, test part).

    Pixels 0…16 become `round(v * 255 / 16)`. One part, `all`.

    Source: Alpaydin and Kaynak, 1998, UCI repository, "Optical Recognition of Handwritten Digits".

    Example:
        >>> content = Digits().build(None, None)
        >>> content.images.shape, np.unique(content.values["label"]).size
        ((1797, 1, 8, 8), 10)
    """

    def build(self, size: tuple[int, int] | None, channels: int | None) -> Content:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        images = np.rint(np.asarray(bunch.images) * (255 / 16)).astype(np.uint8)[:, None]
        labels = np.asarray(bunch.target, dtype=np.int64)
        rows = np.arange(len(images), dtype=np.int64)
        return Content(
            images,
            {"label": labels},
            Schema((Category("label", tuple("0123456789")),)),
            [f"digits#{i}" for i in rows],
            {"all": rows},
            "built-in handwritten digits, 8 x 8 grey",
        )

"""Feature maps that need no weights, and the adapter that gives a user's callable a name.

Every number stands beside the name and digest of the features that it was taken on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from augmint.core.config import fingerprint
from augmint.core.streams import stream
from augmint.metrics.base import check_images, extract

if TYPE_CHECKING:
    from augmint.core.types import ByteArray, FloatArray, Shape

CHUNK = 1024


@dataclass(frozen=True)
class PixelFeatures:
    """Pixels as features: box-averaged to at most `side` x `side`, scaled to [0, 1], flattened.

    Works on every image and needs no weights; it sees position and brightness, not meaning, so
    compare its numbers with each other only.

    Example:
        >>> PixelFeatures(side=4)(np.full((1, 1, 8, 8), 255, np.uint8)).shape
        (1, 16)
    """

    side: int = 16

    @property
    def name(self) -> str:
        """ "pixels-16"."""
        return f"pixels-{self.side}"

    @property
    def digest(self) -> str:
        """SHA-256 of what defines the map."""
        return fingerprint({"features": "pixels", "side": self.side, "version": 1})

    @property
    def resize(self) -> str:
        """The resize rule, for protocols."""
        return f"box average to at most {self.side} px"

    def __call__(self, images: ByteArray) -> FloatArray:
        """Return `(N, C h w)` float64 in [0, 1]; h = min(H, side)."""
        import torch

        check_images(images, "images")
        height, width = (min(s, self.side) for s in images.shape[2:])
        rows = []
        for start in range(0, len(images), CHUNK):
            chunk = torch.from_numpy(np.array(images[start : start + CHUNK])).double() / 255.0
            if (height, width) != tuple(images.shape[2:]):
                chunk = torch.nn.functional.adaptive_avg_pool2d(chunk, (height, width))
            rows.append(chunk.flatten(1).numpy())
        return np.concatenate(rows) if rows else np.zeros((0, images.shape[1] * height * width))


@dataclass(frozen=True)
class NamedFeatures:
    """A callable with the name and digest that stand beside its numbers; made by `named`."""

    name: str
    digest: str
    function: Callable[[ByteArray], FloatArray]
    resize: str = "by the feature map"

    def __call__(self, images: ByteArray) -> FloatArray:
        """Return features `(N, D)`, computed in chunks."""
        check_images(images, "images")
        parts = [
            np.asarray(self.function(images[i : i + CHUNK])) for i in range(0, len(images), CHUNK)
        ]
        return np.concatenate(parts) if parts else np.asarray(self.function(images))


def named(
    function: Callable[[ByteArray], FloatArray],
    name: str,
    shape: Shape,
    digest: str | None = None,
) -> NamedFeatures:
    """Adapt a callable, uint8 `(N, C, H, W)` to features `(N, D)`.

    Without a digest it is the SHA-256 of the features of eight fixed noise images of `shape`,
    rounded to 4 significant digits: two networks that answer alike share it.

    Raises:
        UsageError: if the callable does not give one finite vector for each image.

    Example:
        >>> f = named(lambda x: x.reshape(len(x), -1) / 255.0, "flat", (1, 2, 2))
        >>> f(np.zeros((3, 1, 2, 2), np.uint8)).shape
        (3, 4)
    """
    adapted = NamedFeatures(name, digest or "", function)
    if digest is None:
        count = int(np.prod(shape))
        words = stream(0, "metrics.feature-probe", ids=8).words(count) >> np.uint32(24)
        answer = extract(adapted, words.astype(np.uint8).reshape(8, *shape))
        text = ",".join(f"{v:.3e}" for v in (answer + 0.0).ravel())
        adapted = NamedFeatures(name, hashlib.sha256(text.encode()).hexdigest(), function)
    return adapted

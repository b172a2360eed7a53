"""A quick look at how far generated images are from real ones, for decisions during training.

Features of a small convolutional network with random weights, always the same ones, tell noise,
missing kinds and wrong strokes from real images at the cost of some hundred images. They carry no
meaning: distances compare states of one run, and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from augmint.core.streams import stream

if TYPE_CHECKING:
    from augmint.core.types import FloatArray, FloatImages

WIDTHS, SIDE, CHUNK = (16, 32), 32, 128


def sketch(images: FloatImages) -> FloatArray:
    """Return features `(N, 128)`, float64, of images in [-1, 1] `(N, C, H, W)`.

    Averaged to at most 32 px, twice convolved (3 x 3, weights from N(0, 2 / fan-in), ReLU, halved
    in between), averaged to 2 x 2.

    Example:
        >>> sketch(torch.zeros(3, 1, 8, 8)).shape
        (3, 128)
    """
    weights = [w.to(images.device) for w in _weights(images.shape[1])]
    rows = [_features(part.float(), weights) for part in images.split(CHUNK)]
    found: FloatArray = torch.cat(rows).double().cpu().numpy()
    return found


def _weights(channels: int) -> list[Tensor]:
    widths = (channels, *WIDTHS)
    found = []
    for i, outputs in enumerate(WIDTHS):
        fan_in = 9 * widths[i]
        drawn = stream(0, f"sketch.{i}", channels, outputs).normal(fan_in)
        found.append((drawn * (2.0 / fan_in) ** 0.5).view(outputs, widths[i], 3, 3))
    return found


@torch.no_grad()
def _features(images: Tensor, weights: list[Tensor]) -> Tensor:
    height, width = (min(s, SIDE) for s in images.shape[-2:])
    maps = functional.adaptive_avg_pool2d(images, (height, width))
    maps = functional.conv2d(maps, weights[0], padding=1).relu()
    maps = functional.avg_pool2d(maps, 2, ceil_mode=True)
    maps = functional.conv2d(maps, weights[1], padding=1).relu()
    return functional.adaptive_avg_pool2d(maps, 2).flatten(1)

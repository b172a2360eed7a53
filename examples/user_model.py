"""A network of your own for
`augmint prove digits --model examples/user_model.py:make_net --out study`.

augmint calls the function with those of these arguments that it names: `outputs` (or
`num_classes`), `channels`, `height`, `width`, `size`, `shape`. The network takes float images in
[-1, 1], `(N, channels, height, width)`, and returns one logit a class, `(N, outputs)`.
"""

from __future__ import annotations

from torch import nn


def make_net(num_classes: int, channels: int) -> nn.Module:
    """Return a small convolutional network for images of any size from 8 px."""
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 64, num_classes),
    )

"""A plain training loop for the eight-convolution FER network at 48 px.

Written as tutorials write it; see `dcgan64.py` for what that means.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn, optim


def make_network(widths: Sequence[int], outputs: int) -> nn.Sequential:
    """Grey images `(N, 1, 48, 48)` to logits `(N, outputs)`."""
    layers: list[nn.Module] = []
    inputs = 1
    for i, width in enumerate(widths):
        if i == 0:
            layers += [nn.Conv2d(inputs, width, 3), nn.ReLU()]
        else:
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(width)]
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(width)]
        layers += [nn.MaxPool2d(2), nn.Dropout(0.5)]
        inputs = width
    layers += [nn.Flatten(), nn.Linear(inputs * 2 * 2, 512), nn.ReLU(), nn.Dropout(0.4)]
    layers += [nn.Linear(512, 256), nn.ReLU(), nn.Dropout(0.4)]
    layers += [nn.Linear(256, 128), nn.ReLU(), nn.Dropout(0.5)]
    layers += [nn.Linear(128, outputs)]
    return nn.Sequential(*layers)


class Plain:
    """The network, its optimiser and the step."""

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 256, 512),
        outputs: int = 7,
        rate: float = 1e-3,
    ) -> None:
        self.network = make_network(widths, outputs)
        self.optimiser = optim.Adam(self.network.parameters(), lr=rate)

    def step(self, images: Tensor, labels: Tensor) -> Tensor:
        """Update the network; return its loss."""
        self.optimiser.zero_grad()
        loss = F.cross_entropy(self.network(images), labels)
        loss.backward()
        self.optimiser.step()
        return loss.detach()

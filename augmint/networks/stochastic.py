"""Parts of critics that add noise or compare the samples of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from augmint.core.types import Features


class GaussianNoise(nn.Module):
    """Adds noise from N(0, deviation²) in training mode; nothing in evaluation.

    Reads torch's global generator: training steps run inside `streams.scope`.
    """

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            return images
        return images + self.deviation * torch.randn_like(images)


class MinibatchDiscrimination(nn.Module):
    """Appends to each sample how close it lies to the others of its batch.

        M_i = f(x_i) T,   o(x_i)_b = Σ_j exp(-‖M_ib - M_jb‖₁)

    `(N, F)` to `(N, F + kernels)`. The sum runs over the whole batch, the sample itself included
    (which adds 1). Couples the samples of a batch (Salimans et al. 2016, 1606.03498, section 3.2).
    """

    def __init__(self, features: int, kernels: int = 50, dimensions: int = 30) -> None:
        super().__init__()
        self.kernels, self.dimensions = kernels, dimensions
        self.weight = nn.Parameter(torch.empty(features, kernels * dimensions))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, features: Features) -> Features:
        m = (features @ self.weight).view(-1, self.kernels, self.dimensions)
        distance = (m[:, None] - m[None]).abs().sum(3)
        return torch.cat((features, torch.exp(-distance).sum(1)), 1)

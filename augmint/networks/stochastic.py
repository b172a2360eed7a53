"""Parts of critics that add noise or compare the samples of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from augmint.core.errors import UsageError
from augmint.networks.base import CriticArchitecture

if TYPE_CHECKING:
    from augmint.core.types import Features, FloatImages


class GaussianNoise(nn.Module):
    """Adds noise from N(0, deviation²) in training mode; nothing in evaluation.

    Reads torch's global generator: training steps run inside `streams.scope`.

    Example:
        >>> layer, images = GaussianNoise(0.5), torch.zeros(100_000)
        >>> round(float(layer(images).std()), 1), float(layer.eval()(images).std())
        (0.5, 0.0)
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

    Example:
        >>> layer = MinibatchDiscrimination(3, kernels=2)
        >>> layer(torch.zeros(4, 3))[0].tolist()  # four samples alike
        [0.0, 0.0, 0.0, 4.0, 4.0]
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


class ComparingCritic(CriticArchitecture):
    """A critic that may compare the samples of a batch, as two of its fields say."""

    minibatch_discrimination: int
    minibatch_deviation: int

    @property
    def smallest_batch(self) -> int:  # type: ignore[override]
        return 2 if self.minibatch_discrimination + self.minibatch_deviation else 1

    @property
    def compared(self) -> int:  # type: ignore[override]
        return max(self.minibatch_deviation, 1)


def compares(features: int, kernels: int, dimensions: int) -> nn.Module:
    """Return what a critic's features pass through: `MinibatchDiscrimination`, or nothing for 0.

    Example:
        >>> compares(6, 0, 5), compares(6, 2, 5)(torch.zeros(4, 6)).shape
        (Identity(), torch.Size([4, 8]))
    """
    return MinibatchDiscrimination(features, kernels, dimensions) if kernels else nn.Identity()


class MinibatchDeviation(nn.Module):
    """Appends one map that says how much the samples of a group differ, the same number everywhere.

        s_g = mean_chw sqrt(var_{i in g} x_ichw + 1e-8)

    with the biased variance over the group (Karras et al. 2018, 1710.10196, section 3; groups as in
    Karras et al. 2020, 1912.04958). Sample i belongs to group i mod (N / group); where `group` does
    not divide N, the largest number below it that does is taken (training refuses such batches).
    `(N, C, H, W)` to `(N, C + 1, H, W)`. Couples the samples of a batch.

    Args:
        group: samples of a group, at least 1 (with 1 the map is constant).

    Example:
        >>> maps = torch.tensor([0.0, 5.0, 2.0, 9.0]).view(4, 1, 1, 1)
        >>> MinibatchDeviation(2)(maps)[:, 1].flatten()  # 0 and 2 are a group, 5 and 9
        tensor([1., 2., 1., 2.])
    """

    def __init__(self, group: int = 4) -> None:
        super().__init__()
        self.group = group

    def forward(self, maps: FloatImages) -> FloatImages:
        n, channels, height, width = maps.shape
        size = next(g for g in range(min(self.group, n), 0, -1) if n % g == 0)
        apart = maps.reshape(size, n // size, channels, height, width)
        spread = (apart.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3))
        map_ = spread.repeat(size)[:, None, None, None].expand(n, 1, height, width)
        return torch.cat((maps, map_), 1)


def check_minibatch(kernels: int, dimensions: int, group: int) -> None:
    """Raise `UsageError` for options of a critic's minibatch parts that are out of range.

    Args:
        kernels: of the minibatch discrimination; 0 for none.
        dimensions: of each kernel, at least 1.
        group: of the minibatch deviation, at least 2; 0 for none.
    """
    if kernels < 0 or dimensions < 1:
        raise UsageError(
            "minibatch discrimination has kernels of at least one dimension",
            f"minibatch_discrimination={kernels}, minibatch_dimensions={dimensions}",
            "set minibatch_discrimination: 50, minibatch_dimensions: 5, or 0 kernels for none",
        )
    if group < 0 or group == 1:
        raise UsageError(
            "a deviation is taken over groups of at least 2 samples",
            f"minibatch_deviation={group}",
            "set minibatch_deviation: 4, or 0 for none",
        )

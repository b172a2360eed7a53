"""Votes of trained networks, as one network."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Votes(nn.Module):
    """Gives `log(1/M sum_m softmax(f_m(x)))`, whose softmax is the members' mean probabilities.

    Means are taken in float64 over dimension 1: of images `(N, classes)`, or of each pixel
    `(N, classes, H, W)`.

    Args:
        members: networks that give logits of one shape.

    Example:
        >>> import torch
        >>> sure, unsure = nn.Linear(1, 2), nn.Linear(1, 2)
        >>> _ = sure.bias.data.copy_(torch.tensor([0.0, 3.0]))
        >>> _ = unsure.bias.data.copy_(torch.tensor([0.4, 0.0]))
        >>> Votes([sure, unsure, unsure])(torch.zeros(1, 1)).argmax(1)
        tensor([1])
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        total = sum(m(images).float().softmax(1).double() for m in self.members)
        return (total / len(self.members)).log()  # type: ignore[union-attr]

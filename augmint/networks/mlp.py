"""Dense networks: the generator and critic of the first conditional GAN.

Mirza and Osindero 2014, arXiv:1411.1784, section 4.1 (MNIST).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from augmint.core.errors import UsageError
from augmint.core.registry import ARCHITECTURES
from augmint.core.types import CriticOutput
from augmint.networks.base import CriticArchitecture, GeneratorArchitecture
from augmint.networks.blocks import initialise_glorot
from augmint.networks.sizes import check_size, refuse_condition

if TYPE_CHECKING:
    from augmint.core.types import Features, FloatImages, Latents, Shape


@ARCHITECTURES.register("mlp-generator")
@dataclass(frozen=True)
class MlpGenerator(GeneratorArchitecture):
    """Dense layers with ReLU from the latent to all pixels at once, tanh at the end.

    Glorot's uniform weights, biases 0. Sizes 8 to 256 px.

    Args:
        widths: of the hidden layers. The paper's first has 200 units for z and 1000 for the class,
            here all 1200 see both.

    Example:
        >>> network = MlpGenerator(widths=(16,)).build(10, (1, 8, 8))
        >>> network(torch.zeros(2, 10)).shape
        torch.Size([2, 1, 8, 8])
        >>> sum(p.numel() for p in network.parameters()) == (10 + 1) * 16 + (16 + 1) * 64
        True
    """

    widths: tuple[int, ...] = (1200, 1200)

    def check_shape(self, shape: Shape) -> None:
        _check_widths(self.widths)
        check_size(shape, "mlp-generator makes sizes from 8 to 256 px")

    def build(self, latent_width: int, shape: Shape, condition_width: int = 0) -> nn.Module:
        refuse_condition("mlp-generator", condition_width)
        self.check_shape(shape)
        layers: list[nn.Module] = []
        for a, b in pairwise((latent_width, *self.widths)):
            layers += [nn.Linear(a, b), nn.ReLU(inplace=True)]
        pixels = shape[0] * shape[1] * shape[2]
        layers += [nn.Linear(self.widths[-1], pixels), nn.Tanh(), nn.Unflatten(1, shape)]
        network = _Generator(nn.Sequential(*layers))
        initialise_glorot(network)
        return network


class _Generator(nn.Module):
    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, latent: Latents, condition: Tensor | None = None) -> FloatImages:
        images: Tensor = self.layers(latent)
        return images


@ARCHITECTURES.register("mlp-critic")
@dataclass(frozen=True)
class MlpCritic(CriticArchitecture):
    """Maxout layers: one for the image, one for what conditioning appends, a joint one, a score.

    A maxout unit is the largest of several affine functions (Goodfellow et al. 2013, 1302.4389).
    Appended channels, which are constant, enter by their means, so that the second layer sees the
    bare code. Features are the joint layer. Glorot's uniform weights, biases 0. Sizes 8 to 256 px.

    Args:
        image, code, joint: units of each layer; 240, 50 and 240 in the paper.
        pieces: affine functions a unit of the first two; 5 in the paper.
        joint_pieces: of the joint layer; 4 in the paper.

    Example:
        >>> plan = MlpCritic()
        >>> plan.build((1, 28, 28)).joint.affine.in_features
        240
        >>> plan.build((11, 28, 28), appended=10).joint.affine.in_features  # 240 + 50
        290
    """

    image: int = 240
    code: int = 50
    joint: int = 240
    pieces: int = 5
    joint_pieces: int = 4

    def check_shape(self, shape: Shape) -> None:
        _check_widths((self.image, self.code, self.joint, self.pieces, self.joint_pieces))
        check_size(shape, "mlp-critic takes sizes from 8 to 256 px")

    def feature_width(self, shape: Shape) -> int:
        return self.joint

    def build(self, shape: Shape, condition_width: int = 0, appended: int = 0) -> nn.Module:
        refuse_condition("mlp-critic", condition_width)
        self.check_shape(shape)
        network = _Critic(self, shape, appended)
        initialise_glorot(network)
        return network


class Maxout(nn.Module):
    """`(N, inputs)` to `(N, units)`: of each unit's affine functions the largest.

        h_i(x) = max_j (x · w_ij + b_ij)

    Args:
        inputs, units: widths.
        pieces: functions a unit.

    Example:
        >>> layer = Maxout(1, 1, 2)
        >>> layer.affine.weight.data = torch.tensor([[1.0], [-1.0]])
        >>> _ = nn.init.zeros_(layer.affine.bias)
        >>> layer(torch.tensor([[-3.0], [2.0]])).tolist()  # max(x, -x)
        [[3.0], [2.0]]
    """

    def __init__(self, inputs: int, units: int, pieces: int) -> None:
        super().__init__()
        self.units, self.pieces = units, pieces
        self.affine = nn.Linear(inputs, units * pieces)

    def forward(self, x: Features) -> Features:
        return self.affine(x).view(len(x), self.units, self.pieces).amax(2)


class _Critic(nn.Module):
    def __init__(self, plan: MlpCritic, shape: Shape, appended: int) -> None:
        super().__init__()
        self.own = shape[0] - appended
        pixels = self.own * shape[1] * shape[2]
        self.image = Maxout(pixels, plan.image, plan.pieces)
        self.code = Maxout(appended, plan.code, plan.pieces) if appended else None
        inputs = plan.image + (plan.code if appended else 0)
        self.joint = Maxout(inputs, plan.joint, plan.joint_pieces)
        self.score = nn.Linear(plan.joint, 1)

    def forward(self, images: FloatImages, condition: Tensor | None = None) -> CriticOutput:
        parts = [self.image(images[:, : self.own].flatten(1))]
        if self.code is not None:
            parts.append(self.code(images[:, self.own :].mean((2, 3))))
        features = self.joint(torch.cat(parts, 1))
        return CriticOutput(self.score(features).squeeze(1), "score", features)


def _check_widths(widths: tuple[int, ...]) -> None:
    if not widths or min(widths) < 1:
        raise UsageError("layers have at least one unit", list(widths), "set widths: [1200, 1200]")

"""Maxout against its formula, and the class's own way into the dense critic."""

from __future__ import annotations

import pytest
import torch

from augmint.core.errors import UsageError
from augmint.core.streams import scope
from augmint.networks.mlp import Maxout, MlpCritic, MlpGenerator


def test_a_maxout_unit_is_the_largest_of_its_functions() -> None:
    with scope(0, "maxout"):
        layer, x = Maxout(3, 4, 5).requires_grad_(False), torch.randn(6, 3)
    weight, bias = layer.affine.weight.view(4, 5, 3), layer.affine.bias.view(4, 5)
    for n in range(6):
        for unit in range(4):
            each = [float(weight[unit, j] @ x[n] + bias[unit, j]) for j in range(5)]
            assert float(layer(x)[n, unit]) == pytest.approx(max(each), abs=1e-6)


def test_the_published_sizes() -> None:
    critic = MlpCritic().build((11, 28, 28), 0, 10)
    image, code, joint = 785 * 240 * 5, 11 * 50 * 5, 291 * 240 * 4
    assert sum(p.numel() for p in critic.parameters()) == image + code + joint + 241
    generator = MlpGenerator().build(10, (1, 28, 28))
    assert sum(p.numel() for p in generator.parameters()) == 11 * 1200 + 1201 * 1200 + 1201 * 784


def test_the_critic_reads_appended_channels_apart_from_the_image() -> None:
    with scope(0, "critic"):
        critic = MlpCritic(8, 4, 8).build((3, 8, 8), 0, 2)
        images = torch.randn(5, 1, 8, 8)
    codes = [torch.tensor([a, 1 - a]).float().view(1, 2, 1, 1).expand(5, 2, 8, 8) for a in (0, 1)]
    said = [critic(torch.cat((images, code), 1)).value for code in codes]
    assert not torch.equal(said[0], said[1])
    assert critic.code is not None
    assert critic.code.affine.in_features == 2
    assert critic.image.affine.in_features == 64


@pytest.mark.parametrize("widths", [(), (0,), (4, -1)])
def test_layers_have_units(widths: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="at least one unit"):
        MlpGenerator(widths).check_shape((1, 8, 8))

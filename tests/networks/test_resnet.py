"""Residual blocks, conditional normalisation and self-attention against slow references."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augmint.core import streams
from augmint.networks.resnet import (
    ConditionalBatchNorm2d,
    DownBlock,
    ResnetCritic,
    ResnetGenerator,
    SelfAttention,
    UpBlock,
)


def images(channels: int, side: int, n: int = 3) -> Tensor:
    draws = streams.stream(0, "images", ids=n).normal(channels * side * side)
    return draws.reshape(n, channels, side, side)


def drawn(network: nn.Module) -> nn.Module:
    with streams.scope(1, "weights"):
        for parameter in network.parameters():
            nn.init.normal_(parameter, 0.0, 0.3)
    return network


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_a_class_has_its_own_scale_and_shift(memory: torch.memory_format) -> None:
    """With one-hot conditions it is batch norm, then the class's row of A and B."""
    layer = drawn(ConditionalBatchNorm2d(4, 3))
    x = images(4, 32, 6).contiguous(memory_format=memory).requires_grad_()
    labels = torch.tensor([0, 1, 2, 2, 1, 0])
    given = layer(x, F.one_hot(labels, 3).float())
    reference = x.detach().double().requires_grad_()
    mean = reference.mean((0, 2, 3), keepdim=True)
    variance = reference.var((0, 2, 3), correction=0, keepdim=True)
    gain = 1.0 + layer.gain.weight.T.double()[labels]
    shift = layer.shift.weight.T.double()[labels]
    expected = (reference - mean) / (variance + 1e-5).sqrt()
    expected = expected * gain[:, :, None, None] + shift[:, :, None, None]
    torch.testing.assert_close(given.double(), expected, atol=1e-5, rtol=1e-5)
    weights = torch.linspace(-1, 1, given.numel()).view(given.shape)
    (found,) = torch.autograd.grad((given * weights).sum(), x)
    (right,) = torch.autograd.grad((expected * weights.double()).sum(), reference)
    torch.testing.assert_close(found.double(), right, atol=1e-5, rtol=1e-4)


def test_classes_look_alike_until_training_parts_them() -> None:
    with streams.scope(0, "build"):
        network = ResnetGenerator(channels=4).build(6, (1, 16, 16), 3).eval()
    latent = streams.stream(0, "z", ids=3).normal(6)
    same = latent[:1].expand(3, -1)
    output = network(same, torch.eye(3))
    assert torch.equal(output[0], output[2])
    for module in network.modules():
        if isinstance(module, ConditionalBatchNorm2d) and module.shift is not None:
            nn.init.normal_(module.shift.weight)
    output = network(same, torch.eye(3))
    assert not torch.allclose(output[0], output[2])


def test_attention_is_the_written_sum() -> None:
    layer = drawn(SelfAttention(8, spectral=False))
    x = images(8, 4, 2)
    f, g, h = layer.query(x), layer.key(x), layer.value(x)
    g, h = F.max_pool2d(g, 2), F.max_pool2d(h, 2)
    expected = torch.empty(2, 4, 4, 4)
    for n in range(2):
        for i in range(16):
            scores = [torch.dot(f[n].flatten(1)[:, i], g[n].flatten(1)[:, j]) for j in range(4)]
            weights = torch.stack(scores).softmax(0)
            expected[n, :, i // 4, i % 4] = h[n].flatten(1) @ weights
    torch.testing.assert_close(layer(x), x + layer.gamma * layer.out(expected))
    layer.gamma.data.zero_()
    assert torch.equal(layer(x), x)


def test_side_branches_commute_with_resizing() -> None:
    """Cheaper orders of the 1x1 convolution and the resizing give what the paper's order gives."""
    up, x = drawn(UpBlock(4, 6, 0)).eval(), images(4, 4)
    main = up.conv1(F.relu(up.norm1(x)))
    main = up.conv2(F.relu(up.norm2(main)))
    doubled = F.interpolate(x, scale_factor=2.0, mode="nearest")
    torch.testing.assert_close(up(x), main + up.skip(doubled))
    down, x = drawn(DownBlock(4, 6, True, False, spectral=False)), images(4, 8)
    main = F.avg_pool2d(down.conv2(F.relu(down.conv1(F.relu(x)))), 2)
    torch.testing.assert_close(down(x), main + F.avg_pool2d(down.skip(x), 2))


def test_sngan_at_32_px_has_the_published_layers() -> None:
    """Miyato et al. 2018, appendix B.3, table 4: 256 wide up from 4x4, 128 wide down to 8x8."""
    generator = ResnetGenerator(channels=256).build(128, (3, 32, 32))
    assert generator.project.weight.shape == (4 * 4 * 256, 128)
    assert [b.conv1.weight.shape[:2] for b in generator.blocks] == [(256, 256)] * 3
    critic = ResnetCritic(channels=128).build((3, 32, 32))
    blocks = [(b.conv2.weight.shape[0], b.halves) for b in critic.blocks]
    assert blocks == [(128, True), (128, True), (128, False), (128, False)]
    assert critic.blocks(images(3, 32)).shape == (3, 128, 8, 8)

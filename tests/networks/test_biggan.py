"""BigGAN's generator: where the latent and the class enter, and its published size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augmint.core import streams
from augmint.core.errors import UsageError
from augmint.networks.biggan import BigGanGenerator
from augmint.networks.blocks import BatchNorm2d, SpectralLinear
from augmint.networks.resnet import (
    ConditionalBatchNorm2d,
    ResnetCritic,
    SelfAttention,
    map_sides,
)

LATENT, CLASSES = 13, 11


def built(shape: tuple[int, int, int] = (1, 32, 32), classes: int = 0, **fields: Any) -> nn.Module:
    plan = BigGanGenerator(channels=2, embedding=6, **fields)
    with streams.scope(0, "build"):
        return plan.build(LATENT, shape, classes).eval()


def latents(n: int = 3) -> Tensor:
    return streams.stream(0, "z", ids=n).normal(LATENT)


def activations(network: nn.Module, *inputs: Tensor) -> list[Tensor]:
    """Return the outputs of the dense layer and of each block."""
    seen: list[Tensor] = []
    layers = [network.project, *network.blocks]
    hooks = [m.register_forward_hook(lambda _, __, given: seen.append(given)) for m in layers]
    with torch.no_grad():
        network(*inputs)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("classes", [0, CLASSES])
def test_a_chunk_of_the_latent_acts_from_its_block_on(classes: int) -> None:
    network = built(classes=classes)
    condition = (F.one_hot(torch.arange(3), CLASSES).float(),) if classes else ()
    before = activations(network, latents(), *condition)
    assert len(before) == 4
    assert network.chunks == [4, 3, 3, 3]
    start = 0
    for place, width in enumerate(network.chunks):
        changed = latents()
        changed[:, start : start + width] *= -2.0
        after = activations(network, changed, *condition)
        same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
        assert same == [True] * place + [False] * (4 - place)
        start += width


def test_without_skips_all_of_the_latent_enters_at_once() -> None:
    network = built(skip_z=False)
    for column in range(LATENT):
        changed = latents()
        changed[:, column] += 1.0
        pairs = zip(activations(network, latents()), activations(network, changed), strict=True)
        assert not any(torch.equal(a, b) for a, b in pairs)
    assert all(block.norm1.gain is None for block in network.blocks)


def test_one_embedding_tells_all_blocks_the_class() -> None:
    network = built(classes=CLASSES)
    assert network.embedding.weight.shape == (6, CLASSES)
    readers = [n for n, p in network.named_parameters() if p.shape[1:] == (CLASSES,)]
    assert readers == ["embedding.weight"], "no other layer sees the one-hot class"
    for block, chunk in zip(network.blocks, network.chunks[1:], strict=True):
        for norm in (block.norm1, block.norm2):
            assert norm.gain.weight.shape[1] == norm.shift.weight.shape[1] == chunk + 6
            assert norm.gain.bias is norm.shift.bias is None
    one, two = (F.one_hot(torch.full((3,), c), CLASSES).float() for c in (0, 1))
    first, *blocks = zip(
        activations(network, latents(), one), activations(network, latents(), two), strict=True
    )
    assert torch.equal(*first), "the dense layer is not told"
    assert not any(torch.equal(a, b) for a, b in blocks)
    with torch.no_grad():
        network.embedding.weight[:, 1] = network.embedding.weight[:, 0]
    assert torch.equal(network(latents(), one), network(latents(), two))


@pytest.mark.parametrize("spectral", [False, True])
def test_conditional_normalisation_is_the_plain_one_with_gain_and_bias(spectral: bool) -> None:
    channels, width = 5, 7
    with streams.scope(0, "build"):
        layer = ConditionalBatchNorm2d(channels, width, spectral)
        for linear in (layer.gain, layer.shift):
            nn.init.normal_(linear.weight)
            if spectral:
                linear.settle(100)
    layer.eval()
    layer.norm.running_mean.normal_(generator=torch.Generator().manual_seed(0))
    layer.norm.running_var.uniform_(0.5, 2.0, generator=torch.Generator().manual_seed(1))
    told = streams.stream(0, "told", ids=2).normal(width)
    images = streams.stream(0, "x", ids=2).normal(channels * 9).reshape(2, channels, 3, 3)
    given = layer(images, told)
    for n in range(2):
        plain = BatchNorm2d(channels).eval()
        plain.running_mean, plain.running_var = layer.norm.running_mean, layer.norm.running_var
        with torch.no_grad():
            for linear, parameter, centre in (
                (layer.gain, plain.weight, 1.0), (layer.shift, plain.bias, 0.0),
            ):  # fmt: skip
                weight = linear.weight
                weight = weight / torch.linalg.matrix_norm(weight, 2) if spectral else weight
                parameter.copy_(centre + weight @ told[n])
        torch.testing.assert_close(given[n : n + 1], plain(images[n : n + 1]), atol=1e-5, rtol=1e-4)


def test_maps_of_a_spectral_normalisation_do_not_begin_at_zero() -> None:
    with streams.scope(0, "build"):
        layer, plain = ConditionalBatchNorm2d(4, 3, spectral=True), ConditionalBatchNorm2d(4, 3)
    for norm in (layer, plain):
        norm.settle()
    assert isinstance(layer.gain, SpectralLinear)
    assert layer.gain.weight.any()
    assert not plain.gain.weight.any()


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 48, 32), (2, 64, 64)])
@pytest.mark.parametrize("classes", [0, CLASSES])
def test_sizes_with_attention_on_each_map(shape: tuple[int, int, int], classes: int) -> None:
    condition = (torch.eye(CLASSES)[:2],) if classes else ()
    for side in (0, *map_sides(shape)):
        network = built(shape, classes, attention=side)
        looks = [m for m in network.modules() if isinstance(m, SelfAttention)]
        seen: list[Tensor] = []
        for module in looks:
            module.register_forward_hook(lambda _, __, given, seen=seen: seen.append(given))
        with torch.no_grad():
            images = network(latents(2), *condition)
        assert images.shape == (2, *shape)
        assert [min(maps.shape[2:]) for maps in seen] == ([side] if side else [])


def test_the_published_networks_at_128_px() -> None:
    """70 433 988 and 87 982 370 parameters (a reimplementation by the first author's group states
    them); attention has no biases there, and the projection's 1000 x 1536 table is not the critic's
    here.
    """
    with torch.device("meta"):
        plan = BigGanGenerator(channels=96, attention=64)
        generator = plan.build(120, (3, 128, 128), 1000)
        critic = ResnetCritic(96, attention=True, plan="biggan").build((3, 128, 128))
    biases = [24 + 24 + 96 + 192, 12 + 12 + 48 + 96]
    counts = [sum(p.numel() for p in n.parameters()) for n in (generator, critic)]
    assert counts == [70_433_988 + biases[0], 87_982_370 + biases[1] - 1000 * 1536]
    widths = [b.conv1.weight.shape[:2] for b in generator.blocks]
    assert widths == [(1536, 1536), (768, 1536), (384, 768), (192, 384), (96, 192)]
    assert generator.chunks == [20] * 6


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(UsageError, match="attention: 64"):
        BigGanGenerator(attention=64).check_shape((1, 32, 32))
    with pytest.raises(UsageError, match="skip_z"):
        BigGanGenerator().build(3, (1, 32, 32))
    with pytest.raises(UsageError, match="embedding"):
        BigGanGenerator(embedding=0).check_shape((1, 32, 32))
    BigGanGenerator(channels=1, skip_z=False).build(1, (1, 32, 32))

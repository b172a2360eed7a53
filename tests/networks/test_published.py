"""Networks of papers against the parameter counts and layer sizes that are known of them."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from augmint.core.errors import UsageError
from augmint.core.registry import ARCHITECTURES
from augmint.networks.began import BeganCritic, BeganGenerator
from augmint.networks.classifiers import FerSimple, FerSurreal, SmallCnn
from augmint.networks.dcgan import DcganCritic, DcganGenerator
from augmint.networks.vac import (
    VacBinaryClassifier,
    VacCifarClassifier,
    VacCifarCritic,
    VacCifarGenerator,
    VacMnistClassifier,
    VacMnistCritic,
    VacMnistGenerator,
)


def trained(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def running(network: nn.Module) -> int:
    return sum(b.numel() for n, b in network.named_buffers() if "running" in n)


def weights(network: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(p.shape) for n, p in network.named_parameters() if p.ndim > 1]


def test_fer_simple_has_the_published_count() -> None:
    network = FerSimple().build((1, 48, 48), 7)
    assert trained(network) == 5_902_151
    assert trained(network) + running(network) == 5_905_863


def test_fer_surreal_has_the_published_layers() -> None:
    assert weights(FerSurreal().build((1, 48, 48), 7)) == [
        (64, 1, 3, 3), (128, 64, 3, 3), (256, 128 * 12 * 12), (256, 256), (7, 256),
    ]  # fmt: skip


def test_vac_classifiers_have_the_published_counts() -> None:
    assert trained(VacMnistClassifier().build((1, 28, 28), 10)) == 217_394
    assert trained(VacBinaryClassifier().build((3, 48, 48), 1)) == 822_857
    assert trained(VacBinaryClassifier().build((3, 128, 128), 1)) == 1_388_105


@pytest.mark.parametrize(
    ("side", "code", "decoder", "encoder"),
    [(48, 64, 446_915, 2_887_296), (48, 128, 594_371, 3_477_184), (128, 64, 637_251, 5_534_272)],
)
def test_began_has_the_published_counts(side: int, code: int, decoder: int, encoder: int) -> None:
    assert trained(BeganGenerator().build(code, (3, side, side))) == decoder
    critic = BeganCritic(code=code).build((3, side, side))
    assert trained(critic) == decoder + encoder
    # conditioning's channels are read by the encoder and never rebuilt
    wide = BeganCritic(code=code).build((5, side, side), appended=2)
    assert trained(wide) == decoder + encoder + 2 * 64 * 9


def test_vac_mnist_players_follow_the_tables() -> None:
    assert weights(VacMnistGenerator().build(10, (1, 28, 28))) == [
        (1024, 10), (128 * 7 * 7, 1024), (128, 64, 5, 5), (64, 1, 5, 5),
    ]  # fmt: skip
    assert weights(VacMnistCritic().build((1, 28, 28))) == [
        (64, 1, 5, 5), (128, 64, 5, 5), (1024, 128 * 7 * 7), (1, 1024),
    ]  # fmt: skip


def test_vac_cifar_networks_follow_the_tables() -> None:
    assert weights(VacCifarGenerator().build(10, (3, 32, 32))) == [
        (384 * 4 * 4, 10), (384, 192, 5, 5), (192, 96, 5, 5), (96, 3, 5, 5),
    ]  # fmt: skip
    assert weights(VacCifarCritic().build((3, 32, 32))) == [
        (16, 3, 3, 3), (32, 16, 3, 3), (64, 32, 3, 3), (128, 64, 3, 3), (256, 128, 3, 3),
        (512, 256, 3, 3), (512 * 4 * 4, 50 * 30), (1, 512 * 4 * 4 + 50),
    ]  # fmt: skip
    assert weights(VacCifarClassifier().build((3, 32, 32), 10)) == [
        (128, 3, 5, 5), (256, 128, 5, 5), (512, 256, 5, 5), (512, 512), (10, 512),
    ]  # fmt: skip


def test_the_original_dcgan_is_expressible() -> None:
    """Radford's 64 px networks as commonly counted: 3 576 704 and 2 765 568 parameters.

    Both are known without biases in any convolution; ours has a bias in the image layer (3) and,
    for the critic, in its first (64) and last (1).
    """
    generator = DcganGenerator(64, upsampling="transposed").build(100, (3, 64, 64))
    assert trained(generator) == 3_576_704 + 3
    critic = DcganCritic(64, normalisation="batch").build((3, 64, 64))
    assert trained(critic) == 2_765_568 + 64 + 1


def test_the_tutorial_network_is_expressible() -> None:
    plan = DcganGenerator(base=8, widths=(128, 128, 64))
    assert weights(plan.build(100, (3, 32, 32))) == [
        (128 * 8 * 8, 100), (128, 128, 3, 3), (64, 128, 3, 3), (3, 64, 3, 3),
    ]  # fmt: skip
    with pytest.raises(UsageError, match="3 hidden maps"):
        DcganGenerator(base=8, widths=(64, 32)).build(100, (3, 32, 32))


@pytest.mark.parametrize("size", [8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128])
def test_dcgan_reaches_common_sizes(size: int) -> None:
    with torch.no_grad():
        for shape in [(1, size, size), (4, size, 2 * size)]:
            images = DcganGenerator(2).build(5, shape).eval()(torch.zeros(2, 5))
            assert images.shape == (2, *shape)
            assert DcganCritic(2).build(shape).eval()(images).value.shape == (2,)


def test_small_cnn_reaches_every_size_from_8_to_64() -> None:
    with torch.no_grad():
        for height, width in itertools.product((8, 9, 31, 47, 64), repeat=2):
            network = SmallCnn(4).build((3, height, width), 3).eval()
            assert network(torch.zeros(2, 3, height, width)).shape == (2, 3)


def test_sizes_of_fer_simple_end_where_nothing_is_left() -> None:
    network = FerSimple().build((1, 18, 18), 7).eval()
    assert network(torch.zeros(1, 1, 18, 18)).shape == (1, 7)


def test_fields_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="width"):
        ARCHITECTURES.create({"name": "small-cnn", "channels": 0})
    with pytest.raises(UsageError, match="dropout"):
        ARCHITECTURES.create({"name": "small-cnn", "dropout": 1.0})
    with pytest.raises(UsageError, match="width"):
        DcganCritic(0).build((1, 8, 8))

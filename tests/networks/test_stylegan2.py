"""StyleGAN2's parts against the paper's formulas, written out slowly."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augmint.core import streams
from augmint.core.types import CriticOutput
from augmint.networks.stylegan2 import (
    EqualConv2d,
    EqualLinear,
    ModulatedConv2d,
    StyleGan2Generator,
    blur,
    doubled,
)
from augmint.penalties.base import PenaltyContext
from augmint.penalties.path_length import PathLength


def draws(purpose: str, *shape: int) -> Tensor:
    n, *rest = shape
    return streams.stream(0, purpose, ids=n).normal(math.prod(rest)).reshape(shape).double()


def in_scope(build: object) -> nn.Module:
    with streams.scope(0, "build"):
        return build().double()  # type: ignore[operator, no-any-return]


def filtered(image: Tensor, kernel: Tensor, stride: int = 1) -> Tensor:
    """Correlate one `(C, H, W)` image, each channel alone."""
    return F.conv2d(image[:, None], kernel[None, None], stride=stride)[:, 0]


TAPS = torch.outer(*[torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 8.0] * 2)


@pytest.mark.parametrize("demodulates", [True, False])
def test_modulation_is_a_weight_for_each_sample(demodulates: bool) -> None:
    layer = in_scope(lambda: ModulatedConv2d(3, 5, 3, 4, demodulates=demodulates))
    images, style = draws("x", 2, 3, 6, 6), draws("w", 2, 4)
    scales = layer.affine(style)
    for n in range(2):
        weight = layer.weight / math.sqrt(3 * 9) * scales[n][None, :, None, None]
        if demodulates:
            weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        expected = F.conv2d(images[n : n + 1], weight, padding=1)
        torch.testing.assert_close(layer(images, style)[n : n + 1], expected)


def test_demodulation_gives_unit_variance_to_unit_noise() -> None:
    layer = in_scope(lambda: ModulatedConv2d(64, 32, 3, 8))
    output = layer(draws("noise", 4, 64, 24, 24), 3.0 * draws("style", 4, 8))
    inside = output[:, :, 1:-1, 1:-1]
    assert float(inside.detach().std()) == pytest.approx(1.0, abs=0.02)


def test_a_modulated_doubling_is_zeros_convolution_and_blur() -> None:
    layer = in_scope(lambda: ModulatedConv2d(2, 3, 3, 4, demodulates=False, doubles=True))
    images, style = draws("x", 1, 2, 5, 4), draws("w", 1, 4)
    spread = torch.zeros(1, 2, 10, 8).double()
    spread[:, :, ::2, ::2] = images * layer.affine(style)[:, :, None, None]
    weight = (layer.weight / math.sqrt(18)).flip(2, 3)
    full = F.conv2d(F.pad(spread, (2, 1, 2, 1)), weight)
    expected = filtered(F.pad(full[0], (1, 1, 1, 1)), 4.0 * TAPS)
    assert expected.shape == (3, 10, 8)
    torch.testing.assert_close(layer(images, style)[0], expected)


def test_doubling_keeps_a_constant_inside_and_the_mean_of_anything() -> None:
    flat = doubled(torch.ones(1, 1, 6, 6))
    assert flat.shape == (1, 1, 12, 12)
    torch.testing.assert_close(flat[:, :, 2:-2, 2:-2], torch.ones(1, 1, 8, 8))
    dot = torch.zeros(1, 1, 7, 7)
    dot[0, 0, 3, 3] = 1.0
    assert float(doubled(dot).sum()) == pytest.approx(4.0)
    image = draws("image", 1, 1, 4, 4)
    spread = torch.zeros(1, 8, 8).double()
    spread[:, ::2, ::2] = image[0]
    torch.testing.assert_close(doubled(image)[0], filtered(F.pad(spread, (2, 1, 2, 1)), 4 * TAPS))


@pytest.mark.parametrize(("kernel", "side"), [(3, 8), (1, 8), (3, 14), (1, 14)])
def test_halving_blurs_first_and_halves_exactly(kernel: int, side: int) -> None:
    layer = in_scope(lambda: EqualConv2d(2, 3, kernel, halves=True))
    output = layer(draws("x", 1, 2, side, side))
    assert output.shape == (1, 3, side // 2, side // 2)
    # far from the border a constant stays one: its sum of weights
    constant = layer(torch.ones(1, 2, 32, 32).double())[0, :, 8, 8]
    torch.testing.assert_close(constant, (layer.weight * layer.scale).sum((1, 2, 3)))
    assert blur(torch.ones(1, 1, 5, 5), 2, 1).shape == (1, 1, 5, 5)


def test_equalised_layers_see_unit_variance_at_any_rate() -> None:
    for rate in (1.0, 0.01):
        layer = in_scope(lambda rate=rate: EqualLinear(256, 128, rate))  # type: ignore[misc]
        output = layer(draws("x", 64, 256)).detach()
        assert float(output.std()) == pytest.approx(1.0, abs=0.05)
        assert float(layer.weight.detach().std()) == pytest.approx(1.0 / rate, rel=0.02)


def generator(mixing: float = 0.9) -> nn.Module:
    plan = StyleGan2Generator(channels=4, widest=8, style=6, mapping_layers=2, mixing=mixing)
    return in_scope(lambda: plan.build(5, (1, 16, 16)))


def test_mixing_changes_later_layers_alone_and_only_in_training() -> None:
    network, latent = generator(mixing=1.0), draws("z", 40, 5)
    with streams.scope(0, "chance"):
        styles = network.styles(latent)
    own = network.mapping(latent)[:, None]
    same = (styles == own).all(2)
    assert same.shape == (40, 6)
    assert bool(same[:, 0].all())
    assert bool((same[:, 1:].int().diff(dim=1) <= 0).all()), "once another's, always another's"
    assert not bool(same[:, -1].any())
    network.eval()
    assert bool((network.styles(latent) == own).all())
    assert torch.equal(network(latent), network.synthesise(network.styles(latent)))


def test_mixing_draws_noise_anew_and_keeps_what_was_asked() -> None:
    network, latent = generator(mixing=1.0), draws("z", 8, 5)
    network.redrawn = 3
    seen: list[Tensor] = []
    network.mapping.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with streams.scope(0, "chance"):
        network.styles(latent)
    own, other = seen
    assert torch.equal(own, latent)
    assert torch.equal(other[:, 3:], latent[:, 3:])
    assert not bool((other[:, :3] == latent[:, :3]).any())


def test_noise_is_new_in_training_and_fixed_in_evaluation() -> None:
    network, latent = generator(mixing=0.0), draws("z", 2, 5)
    for layer in network.layers:
        nn.init.ones_(layer.strength)
    with streams.scope(0, "chance"):
        assert not torch.equal(network(latent), network(latent))
    network.eval()
    both = network(latent)
    torch.testing.assert_close(both[1:], network(latent[1:]))


def test_path_length_is_the_norm_of_a_linear_generator() -> None:
    """For images = A w, J^T y = A^T y, whose mean square over y is |A|² / (H W)."""
    matrix = draws("A", 16, 3)
    styles = draws("w", 6, 2, 3).requires_grad_()
    images = (styles.sum(1) @ matrix.T).view(6, 1, 4, 4)
    numbers = streams.stream(0, "y", 0, 6)

    def said(_: Tensor) -> CriticOutput:
        raise AssertionError("the critic is not asked")

    context = PenaltyContext(said, numbers, fake=images, styles=styles)
    loss, state, _ = PathLength(weight=3.0)(context, {"length": torch.tensor(0.5).double()})
    noise = streams.stream(0, "y", 0, 6).normal(16).double()
    lengths = (noise @ matrix / 4.0).norm(dim=1)  # the same for both layers
    mean = 0.5 + 0.01 * (lengths.mean() - 0.5)
    torch.testing.assert_close(state["length"], mean)
    torch.testing.assert_close(loss, 3.0 * (lengths - mean).square().mean())

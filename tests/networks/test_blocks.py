"""Shared parts against plain compositions, closed forms and double precision."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augmint.core import streams
from augmint.core.errors import UsageError
from augmint.core.registry import ARCHITECTURES
from augmint.networks.base import GeneratorArchitecture
from augmint.networks.blocks import (
    BatchNorm2d,
    InstanceNorm,
    NormaliseBatch,
    SpectralConv2d,
    SpectralLinear,
    SpectralUpsampleConv,
    UpsampleConv,
    batch_statistics,
    filters,
    initialise,
    initialise_orthogonal,
    instance_norm,
)
from augmint.networks.dcgan import DcganCritic
from augmint.networks.resnet import ResnetCritic
from augmint.networks.stochastic import (
    GaussianNoise,
    MinibatchDeviation,
    MinibatchDiscrimination,
)

FORMATS = [torch.contiguous_format, torch.channels_last]


def normal(*shape: int, purpose: str = "x") -> Tensor:
    count = torch.Size(shape[1:]).numel()
    return streams.stream(3, purpose, ids=shape[0]).normal(count).reshape(shape)


@pytest.mark.parametrize("memory", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (7, 7)])
def test_folded_upsampling_equals_upsampling_then_convolution(
    size: tuple[int, int], memory: torch.memory_format
) -> None:
    with streams.scope(0, "weights"):
        layer = UpsampleConv(5, 6).to(memory_format=memory)
    nn.init.normal_(layer.bias)
    results = []
    for folded in (True, False):
        layer.folded = folded
        images = normal(3, 5, *size).contiguous(memory_format=memory).requires_grad_()
        output = layer(images)
        weights = normal(*output.shape, purpose="weights")
        gradients = torch.autograd.grad(
            (output * weights).sum(), [images, layer.weight, layer.bias]
        )
        results.append((output, *gradients))
    assert results[0][0].shape == (3, 6, 2 * size[0], 2 * size[1])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_folded_upsampling_is_exact_in_double_precision() -> None:
    layer = UpsampleConv(3, 2).double()
    images = normal(2, 3, 4, 6).double()
    folded = layer(images)
    layer.folded = False
    torch.testing.assert_close(folded, layer(images), atol=1e-13, rtol=1e-13)


def formula(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    mean = images.mean((2, 3), keepdim=True)
    variance = (images - mean).square().mean((2, 3), keepdim=True)
    unit = (images - mean) / (variance + 1e-5).sqrt()
    return unit * weight[:, None, None] + bias[:, None, None]


@pytest.mark.parametrize("memory", FORMATS)
@pytest.mark.parametrize("batch", [1, 4])
def test_instance_norm_and_its_gradients_match_the_formula(
    batch: int, memory: torch.memory_format
) -> None:
    arguments = [normal(batch, 8, 6, 5), normal(1, 8)[0], normal(1, 8, purpose="b")[0]]
    upstream = normal(batch, 8, 6, 5, purpose="upstream")
    exact = [a.double().requires_grad_() for a in arguments]
    expected = formula(*exact)
    expected_gradients = torch.autograd.grad(expected, exact, upstream.double())
    arguments[0] = arguments[0].contiguous(memory_format=memory)
    single = [a.requires_grad_() for a in arguments]
    output = instance_norm(*single)
    gradients = torch.autograd.grad(output, single, upstream.contiguous(memory_format=memory))
    torch.testing.assert_close(output.double(), expected, atol=1e-5, rtol=1e-5)
    for found, wanted in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(found.double(), wanted, atol=2e-5, rtol=1e-5)


def test_instance_norm_module_starts_as_plain_normalisation() -> None:
    images = normal(2, 3, 5, 5)
    torch.testing.assert_close(InstanceNorm(3)(images), F.instance_norm(images))


@pytest.mark.parametrize("kind", ["convolution", "linear"])
def test_spectral_layers_reach_norm_one(kind: str) -> None:
    layer = SpectralConv2d(3, 8, 4, 2, 1) if kind == "convolution" else SpectralLinear(20, 9)
    initialise(layer)
    layer.settle(500)
    layer.eval()
    with torch.no_grad():
        weight = layer.normalised_weight()
    largest = torch.linalg.matrix_norm(weight.flatten(1), 2)
    torch.testing.assert_close(largest, torch.tensor(1.0), atol=1e-4, rtol=0)


def test_spectral_gradient_matches_that_of_the_exact_norm() -> None:
    layer = SpectralLinear(6, 5).double()
    layer.settle(2000)
    layer.eval()
    upstream = normal(5, 6).double()
    (found,) = torch.autograd.grad((layer.normalised_weight() * upstream).sum(), layer.weight)
    exact = layer.weight / torch.linalg.matrix_norm(layer.weight, 2)
    (wanted,) = torch.autograd.grad((exact * upstream).sum(), layer.weight)
    torch.testing.assert_close(found, wanted, atol=1e-8, rtol=1e-8)


def test_spectral_state_is_saved_and_evaluation_leaves_it_alone() -> None:
    layer = SpectralConv2d(3, 4, 3)
    images = normal(2, 3, 6, 6)
    assert "u" in layer.state_dict()
    layer.eval()
    before = layer.u.clone()
    layer(images)
    assert torch.equal(before, layer.u)
    layer.train()
    twin = copy.deepcopy(layer)
    layer(images)
    assert not torch.equal(before, layer.u)
    saved = copy.deepcopy(layer.state_dict())
    first = layer(images)
    twin.load_state_dict(saved)
    assert torch.equal(first, twin(images))
    assert torch.equal(layer.u, twin.u)


def test_two_forwards_before_one_backward_work_with_spectral_norm() -> None:
    layer = SpectralConv2d(3, 4, 3)
    (layer(normal(2, 3, 6, 6)).sum() - layer(normal(2, 3, 6, 6, purpose="y")).sum()).backward()
    assert layer.weight.grad is not None


def test_initialise_draws_the_stated_normal() -> None:
    layer = nn.Linear(400, 400)
    with streams.scope(1, "init"):
        initialise(layer)
    # standard error of a deviation from n draws: sigma / sqrt(2 n) = 3.5e-5; 5 of them
    assert abs(float(layer.weight.detach().std()) - 0.02) < 1.8e-4
    assert not layer.bias.any()


def test_minibatch_discrimination_matches_the_double_loop() -> None:
    layer = MinibatchDiscrimination(6, kernels=3, dimensions=2).double().requires_grad_(False)
    features = normal(5, 6).double()
    expected = torch.zeros(5, 3).double()
    for b in range(3):
        m = features @ layer.weight[:, 2 * b : 2 * b + 2]
        for i in range(5):
            for j in range(5):
                expected[i, b] += math.exp(-sum(abs(float(m[i, c] - m[j, c])) for c in range(2)))
    torch.testing.assert_close(layer(features), torch.cat((features, expected), 1))


@pytest.mark.parametrize(("n", "group", "size"), [(6, 4, 3), (8, 4, 4), (6, 2, 2), (3, 9, 3)])
def test_minibatch_deviation_matches_the_loops(n: int, group: int, size: int) -> None:
    maps = normal(n, 2, 3, 2).double()
    given = MinibatchDeviation(group)(maps)
    assert torch.equal(given[:, :2], maps)
    for i in range(n):
        members = [j for j in range(n) if j % (n // size) == i % (n // size)]
        assert len(members) == size
        total = 0.0
        for c, y, x in itertools.product(range(2), range(3), range(2)):
            values = [float(maps[j, c, y, x]) for j in members]
            mean = sum(values) / size
            total += math.sqrt(sum((v - mean) ** 2 for v in values) / size + 1e-8)
        expected = torch.full((3, 2), total / 12).double()
        torch.testing.assert_close(given[i, 2], expected)
    same = MinibatchDeviation(4)(maps[:1].expand(4, -1, -1, -1))
    assert float(same[:, 2].max()) == pytest.approx(1e-4)


@pytest.mark.parametrize("plan", [DcganCritic(4), ResnetCritic(4), ResnetCritic(4, plan="biggan")])
def test_minibatch_parts_of_critics_stand_where_they_are_said_to(plan: Any) -> None:
    kernels, images = 3, normal(6, 2, 16, 16)
    told = dataclasses.replace(plan, minibatch_discrimination=kernels, minibatch_deviation=3)
    with streams.scope(0, "build"):
        critic = told.build((2, 16, 16)).eval()
    seen: dict[str, Tensor] = {}
    deviation = next(m for m in critic.modules() if isinstance(m, MinibatchDeviation))
    deviation.register_forward_hook(lambda _, __, given: seen.update(maps=given))
    with torch.no_grad():
        output = critic(images)
    width = plan.feature_width((2, 16, 16))
    assert output.features.shape == (6, width + kernels)
    assert seen["maps"].shape[1] == 1 + seen["maps"][:, :-1].shape[1]
    assert float(seen["maps"][:, -1].std((1, 2)).max()) == 0.0
    # the appended numbers are those of the features before them
    plain = output.features[:, :width]
    assert torch.equal(critic.compare(plain)[:, width:], output.features[:, width:])
    names = {n for n, _ in plan.build((2, 16, 16)).named_parameters()}
    assert not any("compare" in n for n in names), "what is off leaves no trace"
    for bad in ({"minibatch_discrimination": -1}, {"minibatch_deviation": 1}):
        with pytest.raises(UsageError, match="minibatch_"):
            dataclasses.replace(plan, **bad).check_shape((2, 16, 16))


def test_a_spectral_doubling_divides_by_the_largest_singular_value() -> None:
    with streams.scope(0, "weights"):
        layer, plain = SpectralUpsampleConv(4, 6), UpsampleConv(4, 6)
        nn.init.normal_(layer.weight)
        layer.settle(200)
    largest = float(torch.linalg.svdvals(layer.weight.detach().flatten(1)).max())
    assert largest > 1.5
    with torch.no_grad():
        plain.weight.copy_(layer.weight / largest)
        plain.bias.copy_(layer.bias)
    images = normal(2, 4, 5, 5)
    torch.testing.assert_close(layer.eval()(images), plain(images), atol=1e-5, rtol=1e-4)


def test_orthogonal_weights_have_singular_values_of_one() -> None:
    layers = nn.ModuleList([nn.Linear(7, 5), nn.Conv2d(3, 8, 3), UpsampleConv(4, 6)])
    with streams.scope(0, "weights"):
        initialise_orthogonal(layers)
    for layer in layers:
        values = torch.linalg.svdvals(layer.weight.detach().flatten(1))
        torch.testing.assert_close(values, torch.ones_like(values))
        assert not layer.bias.any()


def test_noise_is_silent_in_evaluation() -> None:
    layer = GaussianNoise(0.05)
    images = normal(64, 3, 8, 8)
    with streams.scope(0, "noise"):
        noise = layer(images) - images
    assert abs(float(noise.std()) - 0.05) < 0.002
    assert layer.eval()(images) is images


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("shape", [(32, 8, 48, 48), (6, 64, 23, 23), (9, 3, 31, 8), (50, 1, 8, 8)])
def test_batch_statistics_are_precise_in_channels_last(
    shape: tuple[int, ...], positive: bool
) -> None:
    images = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    images = images.relu() if positive else images
    exact = images.double()
    mean, variance = batch_statistics(images.contiguous(memory_format=torch.channels_last))
    spread = exact.var((0, 2, 3), correction=0)
    assert ((mean - exact.mean((0, 2, 3))) / spread.sqrt()).abs().max() < 1e-5
    assert (variance / spread - 1.0).abs().max() < 1e-5


@pytest.mark.parametrize("affine_seed", [0, 1])
def test_batch_norm_equals_double_precision(affine_seed: int) -> None:
    torch.manual_seed(affine_seed)
    ours, double = BatchNorm2d(6), nn.BatchNorm2d(6).double()
    for p in ours.parameters():
        nn.init.normal_(p, 1.0)
    double.load_state_dict(ours.state_dict())
    for _ in range(2):
        images = torch.randn(16, 6, 24, 24).relu().to(memory_format=torch.channels_last)
        given, exact = images.requires_grad_(), images.detach().double().requires_grad_()
        weight = torch.randn(16, 6, 24, 24)
        (ours(given).tanh() * weight).sum().backward()
        (double(exact).tanh() * weight).sum().backward()
        assert given.grad is not None
        assert given.grad.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(given.grad.double(), exact.grad, rtol=1e-4, atol=1e-5)
    for p, q in zip(ours.parameters(), double.parameters(), strict=True):
        torch.testing.assert_close(p.grad.double(), q.grad, rtol=1e-4, atol=1e-3)
    for name, value in double.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name].to(value), value, rtol=1e-5, atol=1e-6)
    after = ours.eval()(images).double()
    torch.testing.assert_close(after, double.eval()(images.double()), rtol=1e-5, atol=1e-5)


def test_batch_norm_has_second_derivatives() -> None:
    torch.manual_seed(0)
    images = torch.randn(4, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    affine = [torch.randn(2, dtype=torch.float64, requires_grad=True) for _ in range(2)]

    def normed(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        fixed = x.detach()
        mean, variance = fixed.mean((0, 2, 3)), fixed.var((0, 2, 3), correction=0)
        return NormaliseBatch.apply(x, w, b, mean, variance, 1e-5)

    assert torch.autograd.gradcheck(normed, (images, *affine))
    assert torch.autograd.gradgradcheck(normed, (images, *affine))


@pytest.mark.parametrize("name", ARCHITECTURES.names())
def test_filters_are_the_weights_of_layers_that_mix_inputs(name: str) -> None:
    """Fed to a linear map, a filter is what one output unit takes the product with."""
    architecture = ARCHITECTURES.create(name)
    if not isinstance(architecture, GeneratorArchitecture):
        return
    shape = (1, 16, 16)
    width = architecture.latent_needed(shape) or 24
    mode = bool(architecture.condition_modes & {"modulation", "conditional-norm"})
    network = architecture.build(width, shape, 3 if mode else 0)
    own = {id(p): n for n, p in network.named_parameters()}
    found = [own[id(w if w._base is None else w._base)] for w in filters(network)]
    assert len(set(found)) == len(found)
    assert all(n.endswith("weight") for n in found)
    assert not any("embedding" in n for n in found)
    # everything else of two or more dimensions is a bias, a constant or an embedding
    others = {n for n, p in network.named_parameters() if p.ndim > 1} - set(found)
    assert all("bias" in n or "constant" in n or "embedding" in n for n in others), others


def test_filters_of_a_transposed_convolution_are_its_outputs() -> None:
    layer = nn.ConvTranspose2d(3, 5, 4, bias=False)
    (rows,) = filters(layer)
    dot = torch.zeros(1, 3, 1, 1)
    dot[0, 1] = 1.0
    assert torch.equal(layer(dot)[0], rows[:, 1])

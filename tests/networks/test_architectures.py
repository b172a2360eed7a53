"""Every registered architecture keeps the promises of its role."""

from __future__ import annotations

import copy
import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from augmint.core import streams
from augmint.core.errors import IncompatibleError, UsageError
from augmint.core.registry import ARCHITECTURES
from augmint.core.types import CriticOutput
from augmint.networks.base import (
    Architecture,
    ClassifierArchitecture,
    CriticArchitecture,
    GeneratorArchitecture,
    MapperArchitecture,
)
from augmint.networks.resnet import SelfAttention

SPECS: list[dict[str, Any]] = [
    *({"name": name} for name in ARCHITECTURES.names()),
    {"name": "dcgan-generator", "upsampling": "transposed"},
    {"name": "dcgan-generator", "normalisation": "none"},
    {"name": "dcgan-critic", "normalisation": "batch"},
    {"name": "dcgan-critic", "normalisation": "none"},
    {"name": "small-cnn", "normalisation": "none"},
    {"name": "small-cnn", "normalisation": "group"},
    {"name": "vac-mnist-critic", "dense_normalisation": True},
    {"name": "began-critic", "energy": "squared"},
    {"name": "resnet-generator", "attention": True},
    {"name": "stylegan2-critic", "deviation": True},
    {"name": "resnet-critic", "attention": True, "normalisation": "none"},
    {"name": "resnet-generator", "spectral": True},
    {"name": "flow-unet", "blocks": 2, "attention": False, "patch": 1, "steps": 2},
    {"name": "biggan-generator", "skip_z": False, "spectral": False, "attention": 16},
    {"name": "dcgan-critic", "minibatch_discrimination": 3},
    {"name": "resnet-critic", "minibatch_deviation": 3, "initialisation": "orthogonal"},
    {"name": "unet", "normalisation": False, "depth": 1},
    {"name": "var-regressor", "released": True, "bounded": False},
]
SHAPES = [(1, 8, 8), (2, 16, 24), (3, 28, 28), (4, 32, 32), (1, 48, 48)]
LATENT, OUTPUTS = 12, 6


def narrow(spec: dict[str, Any]) -> dict[str, Any]:
    """Make wide networks narrow, to keep the tests fast."""
    return (
        {**spec, "channels": 8}
        if spec["name"].startswith(
            (
                "dcgan",
                "small",
                "began",
                "resnet",
                "stylegan2",
                "biggan",
                "flow",
                "vae",
                "unet",
                "segnet",
                "var-reg",
                "integral",
            )
        )
        else spec
    )


def name_of(spec: dict[str, Any]) -> str:
    return "-".join(str(v) for v in spec.values())


def create(spec: dict[str, Any]) -> Architecture:
    return ARCHITECTURES.create(narrow(spec))


def accepted(architecture: Architecture) -> list[tuple[int, int, int]]:
    found = []
    for shape in SHAPES:
        try:
            architecture.check_shape(shape)
        except UsageError:
            continue
        found.append(shape)
    return found


def latent_of(architecture: Architecture, shape: tuple[int, int, int]) -> int:
    assert isinstance(architecture, GeneratorArchitecture)
    return architecture.latent_needed(shape) or LATENT


def build(architecture: Architecture, shape: tuple[int, int, int], seed: int = 0) -> nn.Module:
    with streams.scope(seed, "build"):
        match architecture:
            case GeneratorArchitecture():
                return architecture.build(latent_of(architecture, shape), shape)
            case CriticArchitecture():
                return architecture.build(shape)
            case ClassifierArchitecture() | MapperArchitecture():
                return architecture.build(shape, OUTPUTS)
    raise AssertionError(architecture)


def inputs(architecture: Architecture, shape: tuple[int, int, int], n: int = 6) -> Tensor:
    draw = streams.stream(5, "input", ids=n)
    if architecture.role == "generator":
        return draw.normal(latent_of(architecture, shape))
    images = draw.uniform(shape[0] * shape[1] * shape[2], -1.0, 1.0).reshape(n, *shape)
    if architecture.channels_last:
        return images.contiguous(memory_format=torch.channels_last)
    return images


def run(network: nn.Module, x: Tensor) -> Tensor:
    with streams.scope(9, "forward"):
        output = network(x)
    return output.value if isinstance(output, CriticOutput) else output


@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_shapes_types_and_ranges(spec: dict[str, Any]) -> None:
    architecture = create(spec)
    shapes = accepted(architecture)
    assert shapes, "no size of the list is in reach"
    for shape in shapes:
        network = build(architecture, shape).eval()
        x = inputs(architecture, shape, 3)
        with torch.no_grad():
            output = network(x)
        if isinstance(architecture, GeneratorArchitecture):
            assert output.shape == (3, *shape)
            assert float(output.abs().max()) <= 1.0 or not architecture.bounded
        elif isinstance(architecture, CriticArchitecture):
            assert isinstance(output, CriticOutput)
            assert output.kind == architecture.output
            assert output.value.shape == (3,)
            assert output.features is not None
            assert output.features.shape == (3, architecture.feature_width(shape))
        else:
            size = () if isinstance(architecture, ClassifierArchitecture) else shape[1:]
            assert output.shape == (3, OUTPUTS, *size)
            assert float(output.abs().max()) <= 1.0 or not getattr(architecture, "bounded", False)
            assert network.features(x).ndim == 2  # type: ignore[operator]


@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_sizes_out_of_reach_name_sizes_that_fit(spec: dict[str, Any]) -> None:
    architecture = create(spec)
    for bad in [(1, 3, 3), (1, 7, 300), (3, 1001, 1001)]:
        with pytest.raises(UsageError, match="size") as caught:
            build(architecture, bad)
        named = re.findall(r"size=\((\d+), (\d+)\)", str(caught.value))
        for height, width in named:
            architecture.check_shape((bad[0], int(height), int(width)))
        assert named
    with pytest.raises(UsageError, match="channel"):
        architecture.check_shape((0, 32, 32))


@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_gradients_reach_all_parameters(spec: dict[str, Any]) -> None:
    architecture = create(spec)
    shape = accepted(architecture)[-1]
    network = build(architecture, shape)
    for module in network.modules():
        if isinstance(module, SelfAttention):  # its gate begins closed
            module.gamma.data.fill_(0.5)
    output = run(network, inputs(architecture, shape))
    if "posterior" in getattr(architecture, "gives", ()):  # the encoder is not on the way
        images = streams.stream(6, "images", ids=6).uniform(math.prod(shape), -1.0, 1.0)
        found = network.posterior(images.view(6, *shape))  # type: ignore[operator]
        output = torch.cat([output.flatten(), *(f.flatten() for f in found)])
    (output * torch.linspace(-1, 2, output.numel()).view_as(output)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_building_and_running_depend_on_the_seed_alone(spec: dict[str, Any]) -> None:
    architecture = create(spec)
    shape = accepted(architecture)[0]
    state = torch.get_rng_state()
    one, two, other = (build(architecture, shape, seed) for seed in (0, 0, 1))
    for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert any(
        not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True)
    )
    x = inputs(architecture, shape)
    assert torch.equal(run(one, x), run(two, x))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_batch_coupling_is_as_declared(spec: dict[str, Any]) -> None:
    architecture = create(spec)
    shape = accepted(architecture)[-1]
    network = build(architecture, shape).train()
    x = inputs(architecture, shape)
    changed = x.clone(memory_format=torch.preserve_format)
    changed[-1] = -3.0 * changed[-1] + 1.0
    saved = copy.deepcopy(network.state_dict())
    first = run(network, x)
    network.load_state_dict(saved)
    second = run(network, changed)
    others, after = first[:-1], second[:-1]  # a group may hold only some of them
    moved = bool((others - after).abs().max() > 1e-6 * others.abs().max())
    assert moved == architecture.batch_coupled


@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_the_smallest_batch_that_is_declared_trains(spec: dict[str, Any]) -> None:
    architecture = create(spec)
    for shape in accepted(architecture):
        network = build(architecture, shape).train()
        few = inputs(architecture, shape)[: architecture.smallest_batch]
        assert bool(run(network, few).isfinite().all())


@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_memory_formats_agree(spec: dict[str, Any]) -> None:
    architecture = create(spec)
    shape = accepted(architecture)[-1]
    network = build(architecture, shape).eval()
    plain = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    x = inputs(architecture, shape)
    with torch.no_grad():
        a, b = run(network, x), run(plain, x.contiguous())
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", [n for n in ARCHITECTURES.names() if "classifier" not in n])
def test_condition_vectors_are_refused_where_no_mode_is_declared(name: str) -> None:
    architecture = create({"name": name})
    shape = accepted(architecture)[-1]
    unasked = isinstance(architecture, ClassifierArchitecture | MapperArchitecture)
    if architecture.condition_modes or unasked:
        return
    arguments: tuple[Any, ...] = (shape, 3)
    if architecture.role == "generator":
        arguments = (latent_of(architecture, shape), *arguments)
    with pytest.raises(IncompatibleError, match="condition"):
        architecture.build(*arguments)  # type: ignore[attr-defined]

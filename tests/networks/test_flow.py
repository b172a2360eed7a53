"""The flow generator: its integrator against closed forms, its U-net, guidance."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from augmint.core import streams
from augmint.core.errors import UsageError
from augmint.networks.flow import FlowUnet, Method, group_norm, integrate

MEAN, SPREAD = 1.5, 0.25


def gaussian_velocity(x: Tensor, t: float) -> Tensor:
    """E[x_1 - x_0 | x_t = x] for x_0 ~ N(0, 1), x_1 ~ N(m, s²), independent.

    x_t and x_1 - x_0 are jointly normal, with Cov(x_1 - x_0, x_t) = t s² - (1 - t) and
    Var(x_t) = t² s² + (1 - t)².
    """
    slope = (t * SPREAD**2 - (1 - t)) / (t**2 * SPREAD**2 + (1 - t) ** 2)
    return MEAN + slope * (x - t * MEAN)


def orders(velocity: Callable[[Tensor, float], Tensor], end: Tensor, method: Method) -> list[float]:
    """How many times the error halves when steps do, from 64 to 128 and to 256 steps."""
    errors = [
        float((integrate(velocity, START, n, method) - end).abs().max()) for n in (64, 128, 256)
    ]
    return [math.log2(a / b) for a, b in pairwise(errors)]


START = torch.linspace(-2.0, 2.0, 9, dtype=torch.float64)
METHODS: list[tuple[Method, int]] = [("euler", 1), ("midpoint", 2), ("heun", 2)]


@pytest.mark.parametrize(("method", "order"), METHODS)
def test_the_order_is_as_documented(method: Method, order: int) -> None:
    # dx/dt = x + t ends at e x(0) + e - 2
    found = orders(lambda x, t: x + t, math.e * START + math.e - 2.0, method)
    assert found == pytest.approx([order, order], abs=0.1)


@pytest.mark.parametrize(("method", "order"), METHODS)
def test_a_gaussian_path_ends_where_its_closed_form_says(method: Method, order: int) -> None:
    # the flow of a line of normal distributions keeps each point's standard score
    end = MEAN + SPREAD * START
    error = (integrate(gaussian_velocity, START, 256, method) - end).abs().max()
    assert error < {1: 2e-2, 2: 1e-4}[order]
    # the midpoint rule gains an order on this path
    assert min(orders(gaussian_velocity, end, method)) > order - 0.1


def test_a_straight_path_is_exact_in_one_step() -> None:
    start = torch.tensor([0.0, 3.0])
    for method in ("euler", "midpoint", "heun"):
        end = integrate(lambda x, _: torch.full_like(x, -2.0), start, 1, method)  # type: ignore[arg-type]
        assert torch.equal(end, start - 2.0)


@pytest.mark.parametrize(("method", "calls"), [("euler", 5), ("midpoint", 10), ("heun", 10)])
def test_evaluations_are_as_documented(method: Method, calls: int) -> None:
    times: list[float] = []

    def velocity(x: Tensor, t: float) -> Tensor:
        times.append(t)
        return x

    integrate(velocity, torch.ones(1), 5, method)
    assert len(times) == calls
    assert 0.0 <= min(times) <= max(times) <= 1.0


def build(shape: tuple[int, int, int], condition: int = 0, **fields: object) -> torch.nn.Module:
    plan = FlowUnet(channels=8, **fields)  # type: ignore[arg-type]
    with streams.scope(0, "build"):
        return plan.build(math.prod(shape), shape, condition).eval()


def velocity_of(network: torch.nn.Module) -> Callable[..., Tensor]:
    return network.velocity  # type: ignore[return-value]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 24), (1, 28, 28), (2, 64, 64), (1, 12, 10)])
def test_forward_follows_the_velocity_from_the_latent(shape: tuple[int, int, int]) -> None:
    network = build(shape, method="euler", steps=1)
    z = streams.stream(1, "z", ids=2).normal(math.prod(shape))
    x = z.view(2, *shape)
    with torch.no_grad():
        moved = network(z) - x
        expected = velocity_of(network)(x, torch.zeros(2))
    torch.testing.assert_close(moved, expected, atol=1e-5, rtol=1e-5)
    assert moved.shape == (2, *shape)
    assert bool(moved.any())


def test_time_and_condition_matter_and_a_dropped_condition_does_not() -> None:
    network = build((1, 8, 8), condition=3)
    velocity = velocity_of(network)
    x = streams.stream(1, "x", ids=2).normal(64).view(2, 1, 8, 8)
    early, late, c = torch.zeros(2), torch.ones(2), torch.eye(3)[:2]
    with torch.no_grad():
        assert not torch.equal(velocity(x, early, c), velocity(x, late, c))
        assert not torch.equal(velocity(x, early, c), velocity(x, early, c.flip(0)))
        dropped = [velocity(x, early, d, torch.zeros(2)) for d in (c, c.flip(0))]
        half = velocity(x, early, c, torch.tensor([1.0, 0.0]))
    assert torch.equal(*dropped)
    torch.testing.assert_close(half[1], dropped[0][1], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(half[0], velocity(x, early, c)[0].detach(), atol=1e-6, rtol=1e-5)


def test_guidance_goes_on_from_the_free_velocity_through_the_conditional_one() -> None:
    z, c = streams.stream(1, "z", ids=2).normal(64), torch.eye(3)[:2]
    x, start = z.view(2, 1, 8, 8), torch.zeros(2)
    plain = velocity_of(build((1, 8, 8), 3))
    with torch.no_grad():
        told, free = plain(x, start, c), plain(x, start, c, torch.zeros(2))
        for weight in (0.0, 1.0, 3.0):
            network = build((1, 8, 8), 3, method="euler", steps=1, guidance=weight)
            expected = x + free + weight * (told - free)
            torch.testing.assert_close(network(z, c), expected, atol=1e-5, rtol=1e-5)


def test_images_do_not_depend_on_their_batch() -> None:
    network = build((1, 8, 8), 3)
    z, c = streams.stream(1, "z", ids=4).normal(64), torch.eye(3)[[0, 1, 2, 0]]
    with torch.no_grad():
        together, alone = network(z, c), network(z[2:3], c[2:3])
    torch.testing.assert_close(together[2:3], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"steps": 0}, "steps of flow-unet"),
        ({"blocks": 0}, "blocks of flow-unet"),
        ({"patch": 9}, "patch of flow-unet"),
        ({"guidance": -1.0}, "guidance"),
        ({"patch": 4}, "size=\\(32, 32\\)"),
    ],
)
def test_fields_out_of_range(fields: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        FlowUnet(**fields).check_shape((1, 28, 28))  # type: ignore[arg-type]


def test_the_latent_has_a_number_for_each_pixel() -> None:
    with pytest.raises(UsageError, match=r"2352 numbers.*3x28x28; got 64: set latent_dim=2352"):
        FlowUnet().build(64, (3, 28, 28))


@pytest.mark.parametrize("channels", [1, 4, 6, 16, 48, 96])
def test_groups_hold_four_channels_or_all(channels: int) -> None:
    groups = group_norm(channels).num_groups
    assert channels % groups == 0
    assert groups == 1 or channels // groups >= 4

"""Penalties on outputs and weights against closed forms."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from augmint.aspects.base import CoordinateMap
from augmint.aspects.mask import Mask
from augmint.core import streams
from augmint.core.errors import UsageError
from augmint.core.types import CriticOutput
from augmint.penalties.base import PenaltyContext
from augmint.penalties.gradient import R1, R2, Dragan, GradientPenalty
from augmint.penalties.outputs import Consistency, FeatureMatching, LeCam, shifted
from augmint.penalties.weights import Orthogonal, off_diagonal

SHAPE = (2, 8, 8)


def images(purpose: str, n: int = 6) -> Tensor:
    return streams.stream(1, purpose, ids=n).normal(128).double().reshape(n, *SHAPE)


def mean_critic(x: Tensor) -> CriticOutput:
    return CriticOutput(x.flatten(1).mean(1))


def corner_critic(x: Tensor) -> CriticOutput:
    return CriticOutput(x[:, 0, 0, 0])


def context(critic: object, **given: object) -> PenaltyContext:
    fields = {"real": images("real"), "fake": images("fake"), **given}
    return PenaltyContext(critic, streams.stream(3, "penalty", 0, 6), **fields)  # type: ignore[arg-type]


def numbers(n: int = 6) -> streams.Stream:
    return streams.stream(3, "penalty", 0, n)


# gradients ----------------------------------------------------------------------------------------


def test_r2_is_r1_on_generated_images_with_their_own_critic() -> None:
    def real_critic(x: Tensor) -> CriticOutput:
        return CriticOutput(0.0 * x.flatten(1).sum(1))

    def fake_critic(x: Tensor) -> CriticOutput:
        return CriticOutput(1.5 * x.square().flatten(1).sum(1))

    given = context(real_critic, fake_network=fake_critic)
    expected = 0.5 * 2.0 * (3.0 * images("fake")).square().flatten(1).sum(1).mean()
    torch.testing.assert_close(R2(weight=2.0)(given, {})[0], expected)
    alone = context(fake_critic, real=images("fake"))
    torch.testing.assert_close(R1(weight=2.0)(alone, {})[0].detach(), expected)


def test_dragan_looks_around_real_images() -> None:
    real = images("real")

    def critic(x: Tensor) -> CriticOutput:
        return CriticOutput(0.5 * x.square().flatten(1).sum(1))

    drawn = numbers()
    noise = drawn.uniform(128).double().view_as(real)
    share = drawn.uniform(1).double()[:, :, None, None]
    assert len(share.unique()) == len(real)
    slope = (real + share * 0.5 * real.std() * noise).flatten(1).norm(dim=1)
    expected = 10.0 * (slope - 1.0).square().mean()
    torch.testing.assert_close(Dragan()(context(critic), {})[0].detach(), expected)
    # with no spread it is the gradient penalty between two equal images
    equal = context(critic, fake=real)
    apart = Dragan(spread=0.0)(context(critic), {})[0]
    torch.testing.assert_close(apart, GradientPenalty()(equal, {})[0])


# outputs ------------------------------------------------------------------------------------------


def test_moved_images_are_whole_pixel_moves_with_repeated_edges() -> None:
    original = images("real")
    moved, _ = shifted(original, numbers(), 0.25, flip=True)
    padded = torch.nn.functional.pad(original, (2, 2, 2, 2), mode="replicate")
    for one, wide in zip(moved, padded, strict=True):
        crops = [wide[:, i : i + 8, j : j + 8] for i in range(5) for j in range(5)]
        assert any(torch.equal(one, c) or torch.equal(one, c.flip(2)) for c in crops)
    assert torch.equal(shifted(original, numbers(), 0.0, flip=False)[0], original)


@pytest.mark.parametrize("flip", [False, True])
def test_points_and_planes_move_with_the_image(flip: bool) -> None:
    """A dot, its coordinates and its mask are at one place after the move."""
    dots = torch.zeros(40, 1, 9, 12)
    dots[:, 0, 4, 7] = 1.0
    moved, maps = shifted(dots, streams.stream(3, "dots", 0, 40), 0.2, flip)
    coordinates = CoordinateMap(maps, (9, 12))
    points = coordinates.forward_points(torch.tensor([[[7.5, 4.5]]]).expand(40, 1, 2))
    row, column = moved[:, 0].flatten(1).argmax(1) // 12, moved[:, 0].flatten(1).argmax(1) % 12
    expected = torch.stack((column, row), 1) + 0.5
    torch.testing.assert_close(points[:, 0], expected)
    assert len(expected.unique(dim=0)) > 10
    mask = Mask("dot", ("ground", "dot")).warp(dots[:, 0].byte(), coordinates)
    assert torch.equal(mask, moved[:, 0].byte())
    assert bool(coordinates.mirrors.any()) == flip


def test_what_the_critic_is_told_moves_with_the_image() -> None:
    """A critic that finds the dot where it is told says the same of every copy."""
    dots = torch.zeros(6, 1, 8, 8)
    dots[:, 0, 4, 3] = 1.0
    where = torch.tensor([[[3.5, 4.5]]]).expand(6, 1, 2)

    def told(x: Tensor, points: Tensor) -> CriticOutput:
        column, row = points[:, 0].long().unbind(1)
        return CriticOutput(x[torch.arange(6), 0, row, column])

    def along(x: Tensor, maps: Tensor) -> CriticOutput:
        return told(x, CoordinateMap(maps, (8, 8)).forward_points(where) + 1e-3)

    penalty = Consistency(shift=0.25, flip=True)
    still = context(lambda x: told(x, where), real=dots, real_output=told(dots, where))
    assert penalty(still, {})[0] > 0
    assert penalty(dataclasses.replace(still, along=along), {})[0] == 0


def test_consistency_is_zero_for_what_moving_does_not_change() -> None:
    flat = torch.ones(6, *SHAPE).double() * torch.arange(6).double()[:, None, None, None]
    given = context(mean_critic, real=flat, real_output=mean_critic(flat))
    assert Consistency()(given, {})[0].item() == 0.0


def test_consistency_is_the_squared_gap() -> None:
    real, fake = images("real"), images("fake")
    given = context(corner_critic, real_output=corner_critic(real), fake_output=corner_critic(fake))
    moved, _ = shifted(real, numbers(), 0.125, flip=False)
    expected = 10.0 * (moved[:, 0, 0, 0] - real[:, 0, 0, 0]).square().mean()
    assert expected > 0
    torch.testing.assert_close(Consistency()(given, {})[0], expected)
    both = Consistency(fake_weight=3.0)(given, {})[0]
    assert both > expected


def test_lecam_compares_each_side_with_the_other_sides_past() -> None:
    penalty = LeCam(weight=2.0, decay=0.5)
    state = penalty.init_state()
    past_real = past_fake = 0.0
    for step in range(3):
        real = CriticOutput(torch.tensor([1.0, 3.0]) + step)
        fake = CriticOutput(torch.tensor([-1.0, 0.0]) - step)
        keep = 0.5 if step else 0.0
        past_real = keep * past_real + (1 - keep) * float(real.value.mean())
        past_fake = keep * past_fake + (1 - keep) * float(fake.value.mean())
        loss, state, _ = penalty(context(None, real_output=real, fake_output=fake), state)
        expected = (real.value - past_fake).square().mean()
        expected += (fake.value - past_real).square().mean()
        assert loss.item() == pytest.approx(2.0 * expected.item())


def test_feature_matching_compares_means_and_teaches_the_generated_side() -> None:
    real = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    fake = torch.tensor([[0.0, 1.0], [1.0, 1.0]], requires_grad=True)
    outputs = [CriticOutput(torch.zeros(2), "score", f) for f in (real, fake)]
    given = context(None, real_output=outputs[0], fake_output=outputs[1])
    loss = FeatureMatching(weight=2.0)(given, {})[0]
    assert loss.item() == pytest.approx(2.0 * (1.5**2 + 2.0**2))
    loss.backward()
    assert real.grad is None
    assert fake.grad is not None


@pytest.mark.parametrize("penalty", [Consistency(), LeCam(), FeatureMatching()])
def test_outputs_that_are_missing_are_named(penalty: Consistency | LeCam | FeatureMatching) -> None:
    with pytest.raises(UsageError, match=r"said|inputs|features"):
        penalty(context(mean_critic), penalty.init_state())


# weights ------------------------------------------------------------------------------------------


def test_orthogonal_filters_cost_nothing_at_any_length() -> None:
    basis = torch.linalg.qr(streams.stream(2, "basis", ids=5).normal(5).double())[0]
    lengths = torch.tensor([1.0, 2.0, 0.5, 3.0]).double()
    filters = (lengths[:, None] * basis[:4]).reshape(4, 5, 1, 1)
    assert off_diagonal(filters).item() == pytest.approx(0.0, abs=1e-12)
    free = Orthogonal(weight=1.0)(context(None, filters=[filters]), {})[0]
    assert free.item() == pytest.approx(0.0, abs=1e-12)
    held = Orthogonal(weight=1.0, diagonal=True)(context(None, filters=[filters]), {})[0]
    assert held.item() == pytest.approx(float((lengths.square() - 1).square().sum()))


def test_orthogonal_is_the_sum_of_squared_products() -> None:
    rows = streams.stream(2, "rows", ids=3).normal(8).double()
    expected = sum(
        float(torch.dot(rows[i], rows[j])) ** 2 for i in range(3) for j in range(3) if i != j
    )
    loss = Orthogonal(weight=0.1)(context(None, filters=[rows.view(3, 2, 2, 2)]), {})[0]
    assert loss.item() == pytest.approx(0.1 * expected)

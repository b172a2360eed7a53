"""Adaptive augmentation: each change by a closed form, and p by a simulation by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from augmint.aspects.base import CoordinateMap, Schema
from augmint.augmentation.ada import NAMES, Ada, Draws, Kind, colours, movement, recolour
from augmint.augmentation.geometric import warp_images
from augmint.core.errors import UsageError
from augmint.core.streams import stream
from augmint.objectives.adversarial import Hinge, LeastSquares, Wasserstein

EVERY: tuple[Kind, ...] = ("blit", "geometry", "colour")


def pictures(n: int, channels: int = 3, size: tuple[int, int] = (12, 12)) -> Tensor:
    height, width = size
    drawn = stream(9, "pictures", 0, n).uniform(channels * height * width, -1, 1)
    return drawn.view(n, channels, height, width)


def changed(images: Tensor, step: int = 0, **fields: object) -> Tensor:
    ada = Ada(**fields)  # type: ignore[arg-type]
    return ada(images, {}, Schema(()), stream(3, "ada", step, len(images)))[0]


def only(name: str, n: int, unit: Tensor | None = None, normal: Tensor | None = None) -> Draws:
    """Draws in which one change is on in every row."""
    on = torch.zeros(n, len(NAMES), dtype=torch.bool)
    on[:, NAMES[name]] = True
    return Draws(
        on,
        torch.full((n, 8), 0.7) if unit is None else unit,
        torch.ones(n, 7) if normal is None else normal,
    )


def seen(images: Tensor, draws: Draws) -> Tensor:
    size = (images.shape[-2], images.shape[-1])
    return warp_images(images, movement(draws, size, EVERY), "reflection")


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_p_of_zero_changes_no_bit_and_p_of_one_every_image(channels: int) -> None:
    images = pictures(32, channels, (11, 14))
    assert torch.equal(changed(images, p=0.0), images)
    for groups in (EVERY, ("geometry",), ("colour",)):
        moved = changed(images, p=1.0, groups=groups)
        assert ((moved - images).flatten(1).abs().amax(1) > 1e-3).all(), groups
    state = Ada().init_state()
    out, _ = Ada()(images, {}, Schema(()), stream(3, "ada", 0, 32), state)
    assert torch.equal(out, images), "adaptation begins at 0"


def test_every_change_comes_as_often_as_p_says() -> None:
    n, p = 20_000, 0.36
    on = Ada(p=p).draw(stream(1, "ada", 0, n), p).on.float().mean(0)
    expected = torch.full((len(NAMES),), p)
    expected[NAMES["turn"]] = expected[NAMES["turn_again"]] = 1.0 - 0.64**0.5
    assert (on - expected).abs().max() < 4 * (0.25 / n) ** 0.5
    one = Ada(p=p, groups=("colour",)).draw(stream(1, "ada", 0, n), torch.tensor(p)).on
    assert not one[:, :8].any()
    assert torch.equal(one[:, 8:], Ada(p=p).draw(stream(1, "ada", 0, n), p).on[:, 8:])


def test_blitting_is_flip_rot90_and_roll() -> None:
    images = pictures(4, 2)
    unit = torch.full((4, 8), 0.2)
    flipped = seen(images, only("mirror", 4, unit))
    torch.testing.assert_close(flipped, images.flip(3), atol=1e-5, rtol=0)
    kept = seen(images, only("mirror", 4, unit + 0.5))
    torch.testing.assert_close(kept, images, atol=1e-5, rtol=0)
    unit[:, 1] = torch.tensor([0.1, 0.3, 0.6, 0.9])
    turned = seen(images, only("quarter", 4, unit))
    expected = torch.stack([torch.rot90(x, k, (1, 2)) for k, x in enumerate(images)])
    torch.testing.assert_close(turned, expected, atol=1e-5, rtol=0)
    # 12 pixels x 1/8 x (2 u - 1): u = 0.9 moves by 1 to the right, u = 0.2 by 1 up
    unit[:, 2], unit[:, 3] = 0.9, 0.2
    shifted = seen(images, only("shift", 4, unit))
    torch.testing.assert_close(shifted[:, :, :-1, 1:], images[:, :, 1:, :-1], atol=1e-5, rtol=0)


def test_geometry_moves_points_as_the_paper_composes_them() -> None:
    """Forward matrices multiplied in the paper's order move points as the map does."""
    n, size = 6, (10, 10)
    unit = stream(2, "u", 0, n).uniform(8)
    normal = stream(2, "n", 0, n).normal(7)
    on = torch.ones(n, len(NAMES), dtype=torch.bool)
    points = stream(2, "p", 0, n).uniform(6, 1, 9).view(n, 3, 2)
    found = movement(Draws(on, unit, normal), size, EVERY).forward_points(points)

    def turn(degrees: float) -> np.ndarray:
        a = np.deg2rad(degrees)  # counter-clockwise as seen, y down
        return np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])

    for i in range(n):
        u, z = unit[i].double().numpy(), normal[i].double().numpy()
        at = points[i].double().numpy().T - 5.0
        at = np.diag([-1.0 if u[0] < 0.5 else 1.0, 1.0]) @ at
        at = turn(90 * np.floor(4 * u[1])) @ at
        at = at + np.round((2 * u[2:4] - 1) * 0.125 * 10)[:, None]
        at = 2 ** (0.2 * z[0]) * at
        at = turn(360 * u[4] - 180) @ at
        at = np.diag([2 ** (0.2 * z[1]), 2 ** (-0.2 * z[1])]) @ at
        at = turn(360 * u[5] - 180) @ at
        at = at + (0.125 * 10 * z[2:4])[:, None]
        np.testing.assert_allclose(found[i].T.double().numpy() - 5.0, at, atol=1e-4)


def test_colour_is_the_papers_matrices() -> None:
    n = 5
    unit, normal = stream(4, "u", 0, n).uniform(8), stream(4, "n", 0, n).normal(7)
    on = torch.ones(n, len(NAMES), dtype=torch.bool)
    images = pictures(n)
    found = recolour(images, *colours(Draws(on, unit, normal), 3))
    v = np.array([[1.0, 1.0, 1.0, 0.0]]).T / np.sqrt(3)
    for i in range(n):
        u, z = unit[i].double().numpy(), normal[i].double().numpy()
        c = np.eye(4)
        c[:3, 3] = 0.2 * z[4]
        c = np.diag([*[2 ** (0.5 * z[5])] * 3, 1.0]) @ c
        c = (np.eye(4) - 2 * v @ v.T * (u[6] < 0.5)) @ c
        a = (2 * u[7] - 1) * np.pi
        x = np.eye(3) / 1.0
        axis = v[:3, 0]
        cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
        turned = np.eye(4)
        turned[:3, :3] = x + np.sin(a) * cross + (1 - np.cos(a)) * cross @ cross
        c = turned @ c
        outer = v @ v.T
        c = (outer + (np.eye(4) - outer) * 2 ** (1.0 * z[6])) @ c
        pixels = images[i].flatten(1).double().numpy()
        expected = c[:3, :3] @ pixels + c[:3, 3:]
        np.testing.assert_allclose(found[i].flatten(1).double().numpy(), expected, atol=1e-5)
    grey = recolour(images[:, :1], *colours(Draws(on, unit, normal), 1))
    flips = torch.where(unit[:, 6] < 0.5, -1.0, 1.0)[:, None, None, None]
    plain = torch.exp2(0.5 * normal[:, 5]), 0.2 * normal[:, 4]
    k, b = (t[:, None, None, None] for t in plain)
    torch.testing.assert_close(grey, flips * k * (images[:, :1] + b))


@pytest.mark.parametrize("p", [0.3, 0.8])
def test_quarter_turns_below_one_have_an_invertible_mean(p: float) -> None:
    """E T = (1 - p) I + p/4 (I + R + R² + R³): nothing but p = 1 makes it singular."""
    side = 3
    frame = torch.eye(side * side).view(-1, 1, side, side)
    n = 4
    draws = only("quarter", n, torch.tensor([[0.0, q / 4 + 0.1, *[0.0] * 6] for q in range(4)]))
    maps = movement(draws, (side, side), ("blit",))
    turns = [
        warp_images(frame, CoordinateMap(m.expand(len(frame), -1, -1), (side, side))).flatten(1).T
        for m in maps.matrix[:, None]
    ]
    mean = (1 - p) * torch.eye(side * side) + p / 4 * sum(turns)
    smallest = float(torch.linalg.svdvals(mean).min())
    assert smallest == pytest.approx(1 - p, abs=1e-5)
    leaking = sum(turns) / 4
    assert float(torch.linalg.svdvals(leaking).min()) < 1e-5
    # and this mean is what is drawn
    image = pictures(1, 1, (side, side)).expand(40_000, -1, -1, -1)
    ada = Ada(p=p, groups=("blit",))
    drawn = ada.draw(stream(5, "ada", 0, 40_000), p)
    quarters = torch.zeros_like(drawn.on)
    quarters[:, NAMES["quarter"]] = drawn.on[:, NAMES["quarter"]]
    maps = movement(Draws(quarters, drawn.unit, drawn.normal), (side, side), ("blit",))
    found = warp_images(image, maps).mean(0).flatten()
    torch.testing.assert_close(found, mean @ image[0].flatten(), atol=0.02, rtol=0)


def test_p_follows_a_simulation_by_hand() -> None:
    ada = Ada(target=0.5, interval=3, kimg=0.1)
    state, p, signs = ada.init_state(), 0.0, []
    reals = stream(6, "reals", 0, 90).normal(8) + torch.linspace(1.5, -1.5, 90)[:, None]
    path = []
    for i, real in enumerate(reals):
        state, logs = ada.adapt(real, 8, state)
        if i and i % 3 == 0:
            p += np.sign(np.mean(signs[-3:]) - 0.5) * 3 * 8 / 100.0
            p = min(max(p, 0.0), 1.0)
        signs.append(np.sign(real.numpy()).mean())
        assert float(logs["augment_p"]) == pytest.approx(p, abs=1e-6)
        assert float(logs["real_sign"]) == pytest.approx(signs[-1])
        path.append(p)
    assert max(path) == 1.0, "it reaches the upper bound"
    assert path[-1] == 0.0, "and comes back to the lower"
    assert isinstance(state["seen"], int)


def test_halves_of_a_batch_agree_with_the_whole() -> None:
    """Two processes that average their states after each step have the state of one."""
    ada = Ada(interval=2, kimg=0.2)
    reals = stream(8, "reals", 0, 24).normal(8) + 1.2
    whole, halves = ada.init_state(), [ada.init_state(), ada.init_state()]
    for real in reals:
        whole, _ = ada.adapt(real, 8, whole)
        halves = [ada.adapt(r, 8, h)[0] for r, h in zip(real.split(4), halves, strict=True)]
        for name in ("p", "signs"):
            mean = (halves[0][name] + halves[1][name]) / 2
            halves = [{**h, name: mean} for h in halves]
        assert float(halves[0]["p"]) == pytest.approx(float(whole["p"]), abs=1e-6)
    assert 0.0 < float(whole["p"]) <= 1.0


def test_scores_maps_and_boundaries_count_alike() -> None:
    assert (Hinge().boundary, LeastSquares().boundary, Wasserstein().boundary) == (0.0, 0.5, None)
    assert LeastSquares(-1.0, 1.0, 0.0).boundary == 0.0
    ada = Ada()
    flat = torch.tensor([1.0, -1.0, 0.5, 2.0])
    one, _ = ada.adapt(flat, 4, ada.init_state())
    two, _ = ada.adapt(flat.view(1, 1, 2, 2), 4, ada.init_state())
    assert float(one["signs"]) == float(two["signs"]) == 0.5


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"p": 1.5}, "ada p lies in 0 to 1"),
        ({"groups": ()}, "at least one group"),
        ({"groups": ("blit", "blit")}, "each once"),
        ({"interval": 0}, "interval=0"),
        ({"kimg": 0.0}, "kimg=0"),
        ({"target": 2.0}, "ada target"),
    ],
)
def test_fields_out_of_range_are_refused(fields: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Ada(**fields)  # type: ignore[arg-type]


def test_outside_of_a_game_there_is_nothing_to_follow() -> None:
    with pytest.raises(UsageError, match=r"adapts to a critic.*fixed p"):
        changed(pictures(2))

"""What every kind of aspect keeps: round trips, warps in closed form, losses, pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from augmint.aspects.base import Aspect, Schema
from augmint.aspects.category import Category
from augmint.aspects.landmarks import Landmarks
from augmint.aspects.map import Map
from augmint.aspects.mask import Mask
from augmint.aspects.vector import Vector
from augmint.augmentation.geometric import affine_map
from augmint.core.errors import DataError, IncompatibleError
from augmint.core.registry import ASPECTS
from augmint.core.types import Shape

H, W = 6, 10
SHAPE: Shape = (3, H, W)
N = 7

MEMBERS: dict[str, Aspect] = {
    "category": Category("a", ("x", "y", "z")),
    "vector": Vector("a", ("yaw", "age"), (-90.0, 0.0), (90.0, 80.0), mirrored=("yaw",)),
    "landmarks": Landmarks("a", ("l", "r", "m"), (H, W), pairs=(("l", "r"),), reference=("l", "r")),
    "mask": Mask("a", ("ground", "left", "right"), void=255, pairs=(("left", "right"),)),
    "map": Map("a", 2, -3.0, 5.0),
}


def drawn(aspect: Aspect, n: int = N, seed: int = 0) -> np.ndarray:
    """Stored values of n rows, of every sort that the kind allows."""
    generator = np.random.default_rng(seed)
    tail, dtype = aspect.storage(SHAPE)
    if isinstance(aspect, Landmarks):
        place = generator.uniform(0, 1, (n, 3, 2)) * (W, H)
        seen = generator.integers(0, 3, (n, 3, 1))
        seen[0] = 2
        return np.concatenate((place, seen), -1).astype(dtype)
    if isinstance(aspect, Vector):
        unit = generator.uniform(0, 1, (n, *tail))
        return (unit * np.subtract(aspect.high, aspect.low) + aspect.low).astype(dtype)
    if isinstance(aspect, Map):
        values = generator.uniform(-3, 5, (n, *tail))
        values[generator.uniform(size=values.shape) < 0.1] = np.nan
        return values.astype(dtype)
    values = generator.integers(0, 3, (n, *tail))
    if isinstance(aspect, Mask):
        values[generator.uniform(size=values.shape) < 0.1] = 255
    return values.astype(dtype)


def test_every_kind_is_here() -> None:
    assert set(MEMBERS) == set(ASPECTS.names())


@pytest.fixture(params=sorted(MEMBERS))
def aspect(request: pytest.FixtureRequest) -> Aspect:
    return MEMBERS[request.param]


def test_the_schema_reads_back(aspect: Aspect) -> None:
    schema = Schema((aspect,))
    assert Schema.from_plain(schema.to_plain()) == schema


def test_drawn_values_pass_their_check_and_broken_ones_do_not(aspect: Aspect) -> None:
    values = drawn(aspect)
    aspect.check(values)
    broken = values.copy()
    broken[3] = 77 if aspect.kind in ("category", "mask") else 1e6
    with pytest.raises(DataError, match="row 3"):
        aspect.check(broken)


def test_decoding_undoes_encoding(aspect: Aspect) -> None:
    values = torch.from_numpy(drawn(aspect))
    encoded = aspect.encode(values)
    assert encoded.dtype == torch.float32
    assert encoded.shape[:2] == (N, aspect.width)
    assert (encoded.ndim == 2) == aspect.flat
    back = aspect.decode(encoded)
    assert back.dtype == values.dtype
    known = torch.ones_like(values, dtype=torch.bool)
    if isinstance(aspect, Landmarks):
        known = (values[..., 2:] > 0).expand_as(values).clone()
        known[..., 2] = False  # what is decoded is visible
    elif isinstance(aspect, Mask):
        known = values != 255
    elif isinstance(aspect, Map):
        known = ~values.isnan()
    torch.testing.assert_close(back[known], values[known], atol=1e-4, rtol=0)


def test_the_truth_has_no_error_and_the_least_loss(aspect: Aspect) -> None:
    values = torch.from_numpy(drawn(aspect))
    sure = aspect.encode(values) * (100.0 if aspect.kind in ("category", "mask") else 1.0)
    wrong = -sure
    assert torch.allclose(aspect.error(sure, values), torch.zeros(N), atol=1e-5)
    assert torch.allclose(aspect.loss(sure, values), torch.zeros(N), atol=1e-4)
    assert aspect.error(wrong, values).shape == aspect.loss(wrong, values).shape == (N,)
    assert aspect.error(wrong, values)[0] > 0
    assert aspect.loss(wrong, values)[0] > 0


def test_losses_have_gradients_and_forget_what_is_unknown(aspect: Aspect) -> None:
    values = torch.from_numpy(drawn(aspect))
    prediction = torch.randn_like(aspect.encode(values)).requires_grad_()
    (gradient,) = torch.autograd.grad(aspect.loss(prediction, values).sum(), prediction)
    assert gradient.isfinite().all()
    if isinstance(aspect, Mask):
        void = (values == 255)[:, None].expand_as(gradient)
        assert (gradient[void] == 0).all()
    if isinstance(aspect, Map):
        assert (gradient[values.isnan()] == 0).all()
    if isinstance(aspect, Landmarks):
        assert (gradient.unflatten(1, (-1, 2))[values[..., 2] == 0] == 0).all()


def test_a_mirror_twice_is_nothing_and_once_is_exact(aspect: Aspect) -> None:
    values = torch.from_numpy(drawn(aspect))
    mirror = affine_map((H, W), torch.zeros(N), mirror=-torch.ones(N))
    once = aspect.warp(values, mirror)
    twice = aspect.warp(once, mirror)
    torch.testing.assert_close(twice, values, atol=1e-4, rtol=0, equal_nan=True)
    # closed form: columns are reversed, x becomes W - x, left becomes right
    if isinstance(aspect, Landmarks):
        expected = values.clone()
        expected[..., 0] = W - expected[..., 0]
        expected = expected[:, [1, 0, 2]]
    elif isinstance(aspect, Mask):
        swapped = values.clone()
        swapped[values == 1], swapped[values == 2] = 2, 1
        expected = swapped.flip(-1)
    elif isinstance(aspect, Map):
        expected = values.flip(-1)
    elif isinstance(aspect, Vector):
        expected = values * torch.tensor([-1.0, 1.0])
    else:
        expected = values
    torch.testing.assert_close(once, expected, atol=1e-4, rtol=0, equal_nan=True)


def test_a_shift_by_whole_pixels_is_exact(aspect: Aspect) -> None:
    values = torch.from_numpy(drawn(aspect))
    shift = torch.tensor([[2.0, -1.0]]).expand(N, 2)
    found = aspect.warp(values, affine_map((H, W), torch.zeros(N), shift=shift))
    if isinstance(aspect, Landmarks):
        torch.testing.assert_close(found[..., :2], values[..., :2] + shift[0], atol=1e-4, rtol=0)
    elif not aspect.flat:
        # two to the right, one up
        inside = (..., slice(0, H - 1), slice(2, W))
        source = (..., slice(1, H), slice(0, W - 2))
        torch.testing.assert_close(found[inside], values[source], atol=1e-4, rtol=0, equal_nan=True)
        outside = found[..., H - 1, :]
        assert (outside == 255).all() if isinstance(aspect, Mask) else outside.isnan().all()
    else:
        assert torch.equal(found, values)


def test_unknown_pairs_refuse_a_flip_and_nothing_else() -> None:
    aspects = [
        Landmarks("a", ("l", "r", "m"), (H, W)),
        Mask("a", ("ground", "left", "right"), pairs=None),
        Mask("a", ("ground", "left lung")),
        Vector("a", ("yaw",)),
    ]
    for aspect in aspects:
        assert not aspect.mirrors
        values = torch.zeros(N, *aspect.storage(SHAPE)[0]).to(
            torch.from_numpy(np.zeros(0, aspect.storage(SHAPE)[1])).dtype
        )
        aspect.warp(values, affine_map((H, W), torch.full((N,), 20.0)))
        with pytest.raises(IncompatibleError, match="flip"):
            aspect.warp(values, affine_map((H, W), torch.zeros(N), mirror=-torch.ones(N)))


def test_what_a_schema_leaves_out_is_unknown_unless_names_tell() -> None:
    plain = [
        {"kind": "vector", "name": "pose", "components": ["yaw"]},
        {"kind": "mask", "name": "odd", "classes": ["ground", "left lung"]},
        {"kind": "mask", "name": "lungs", "classes": ["ground", "left lung", "right lung"]},
        {"kind": "mask", "name": "cell", "classes": ["ground", "cell"]},
        {"kind": "vector", "name": "age", "components": ["years"], "mirrored": []},
    ]
    schema = Schema.from_plain(plain)
    assert [a.name for a in schema if not a.mirrors] == ["pose", "odd"]
    assert getattr(schema["lungs"], "pairs", None) == (("left lung", "right lung"),)
    assert getattr(schema["cell"], "pairs", None) == ()
    assert Schema.from_plain(schema.to_plain()) == schema
    flip = affine_map((H, W), torch.zeros(N), mirror=-torch.ones(N))
    with pytest.raises(IncompatibleError, match=r'give "mirrored" in schema.json \(\[\] for none'):
        schema["pose"].warp(torch.zeros(N, 1), flip)


def test_resizing_keeps_what_is_said(aspect: Aspect) -> None:
    values = drawn(aspect)
    larger, scaled = aspect.resized(values, (H, W), (3 * H, 2 * W))
    larger.check(scaled)
    tail, dtype = larger.storage((3, 3 * H, 2 * W))
    assert scaled.shape == (N, *tail)
    assert scaled.dtype == dtype
    back_aspect, back = larger.resized(scaled, (3 * H, 2 * W), (H, W))
    assert back_aspect == aspect
    if aspect.kind != "map":  # interpolated: not the same numbers
        np.testing.assert_allclose(back, values, atol=1e-4)
    a = aspect.encode(torch.from_numpy(values))
    b = larger.encode(torch.from_numpy(scaled))
    if aspect.flat:
        torch.testing.assert_close(a, b)


def test_planes_say_what_they_were_drawn_from(aspect: Aspect) -> None:
    if not aspect.spatial:
        return
    large, scaled = aspect.resized(drawn(aspect, 40), (H, W), (4 * H, 4 * W))
    values = torch.from_numpy(scaled)
    planes = large.to_planes(values)
    assert planes.shape == (40, large.planes, 4 * H, 4 * W)
    assert planes.min() >= 0
    assert planes.max() <= 1
    back = large.from_planes(planes)
    assert back.dtype == values.dtype
    if isinstance(large, Landmarks):
        away = (values[..., :2] - torch.tensor([2.0 * W, 2.0 * H])).abs()
        inside = (values[..., 2] > 0) & (away < torch.tensor([2.0 * W - 4, 2.0 * H - 4])).all(-1)
        assert inside.sum() > 10
        assert (back - values)[inside][:, :2].abs().max() < 0.1
    else:
        if isinstance(large, Mask):
            wanted = values
        else:  # a pixel of which one number is missing is missing
            wanted = values.where(~values.isnan().any(1, keepdim=True), torch.nan)
        torch.testing.assert_close(back, wanted, atol=1e-4, rtol=0, equal_nan=True)


def test_between_two_is_between_them_where_there_is_such_a_thing(aspect: Aspect) -> None:
    if not aspect.blends:
        return
    first, second = (torch.from_numpy(drawn(aspect, seed=s)) for s in (1, 2))
    share = torch.linspace(0, 1, N)
    found = aspect.between(first, second, share)
    aspect.check(found.numpy())
    if isinstance(aspect, Vector):
        torch.testing.assert_close(found, first + share[:, None] * (second - first))
    elif isinstance(aspect, Landmarks):
        places = first[..., :2] + share[:, None, None] * (second - first)[..., :2]
        torch.testing.assert_close(found[..., :2], places)
        assert torch.equal(found[..., 2] > 0, (first[..., 2] > 0) & (second[..., 2] > 0))
    else:
        assert torch.equal(found, first)


def test_it_can_be_shown_and_drawn(aspect: Aspect) -> None:
    values = drawn(aspect)
    for channels in (1, 3):
        image = np.full((channels, 5 * H, 5 * W), 90, np.uint8)
        before = image.copy()
        seen = aspect.draw(image, values[0])
        assert seen.shape == (3, 5 * H, 5 * W)
        assert seen.dtype == np.uint8
        assert np.array_equal(image, before)
        assert (seen != 90).any() == (aspect.kind in ("landmarks", "mask", "map"))
    assert aspect.show(values[0])

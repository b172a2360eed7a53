"""What every registered augmenter keeps, found by itself."""

from __future__ import annotations

import pytest
import torch

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.augmentation.base import AdaptiveAugmenter
from augmint.augmentation.policies import CLASSIC_POLICIES
from augmint.core.registry import AUGMENTERS, Spec
from augmint.core.streams import stream

SCHEMA = Schema((Category("label", ("a", "b", "c")),))
SPECS: list[Spec] = [
    *(n for n in AUGMENTERS.names() if not AUGMENTERS.create(n).adapts),
    {"name": "ada", "p": 1.0},
    {"name": "ada", "p": 0.5, "groups": ["geometry"]},
    {"name": "chain", "steps": ["flip", {"name": "gamma", "strength": 0.5}, "mixup"]},
    {"name": "diff-augment", "policy": ["translation"]},
    {"name": "diff-augment", "policy": ["cutout"]},
    {"name": "erase", "probability": 1.0},
]
SHAPES = [(6, 1, 12, 12), (6, 3, 11, 14), (6, 4, 16, 9), (1, 3, 8, 8), (2, 2, 5, 5)]


def batch(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    n = shape[1] * shape[2] * shape[3]
    images = stream(0, "images", 0, shape[0]).uniform(n, -1, 1).view(shape)
    return images, torch.arange(shape[0]) % 3


def ident(spec: Spec) -> str:
    return spec if isinstance(spec, str) else "-".join(str(v) for v in spec.values())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("spec", SPECS, ids=ident)
def test_keeps_form_and_repeats(spec: Spec, shape: tuple[int, ...]) -> None:
    augmenter = AUGMENTERS.create(spec)
    images, labels = batch(shape)
    before = images.clone()
    out, aspects = augmenter(images, {"label": labels}, SCHEMA, stream(1, "a", 2, shape[0]))
    assert torch.equal(images, before), "the input is left as it was"
    assert out.shape == images.shape
    assert out.dtype == images.dtype
    assert out.device == images.device
    assert torch.isfinite(out).all()
    # colour on a critic's input is not clipped: (1 + 0.3) * 2 + 0.3 + 0.2 is its bound, where
    # factors are not drawn from a normal distribution
    normal = isinstance(augmenter, AdaptiveAugmenter)
    assert out.abs().max() <= (10.0 if normal else 3.2 if augmenter.differentiable else 1.0 + 1e-5)
    again, _ = augmenter(images, {"label": labels}, SCHEMA, stream(1, "a", 2, shape[0]))
    assert torch.equal(out, again)
    if augmenter.mixes:
        assert aspects["label"].shape == (shape[0], 3)
        torch.testing.assert_close(aspects["label"].sum(1), torch.ones(shape[0]))
    else:
        assert torch.equal(aspects["label"], labels)


@pytest.mark.parametrize("spec", [s for s in SPECS if not AUGMENTERS.create(s).mixes], ids=ident)
def test_rows_depend_on_their_own_id(spec: Spec) -> None:
    augmenter = AUGMENTERS.create(spec)
    ids = torch.tensor([11, 4, 250, 7, 93, 5, 6, 8])
    images, labels = batch((8, 3, 12, 12))
    whole, _ = augmenter(images, {"label": labels}, SCHEMA, stream(5, "a", 0, ids))
    order = torch.tensor([6, 2, 0])
    part, _ = augmenter(
        images[order], {"label": labels[order]}, SCHEMA, stream(5, "a", 0, ids[order])
    )
    torch.testing.assert_close(part, whole[order], atol=1e-6, rtol=0)


@pytest.mark.parametrize("spec", [s for s in SPECS if s not in ("none", "chain")], ids=ident)
def test_steps_differ(spec: Spec) -> None:
    augmenter = AUGMENTERS.create(spec)
    images, labels = batch((64, 3, 12, 12))
    first, _ = augmenter(images, {"label": labels}, SCHEMA, stream(5, "a", 0, 64))
    second, _ = augmenter(images, {"label": labels}, SCHEMA, stream(5, "a", 1, 64))
    assert not torch.equal(first, second)
    assert not torch.equal(first, images)


@pytest.mark.parametrize(
    "spec", [s for s in SPECS if AUGMENTERS.create(s).differentiable], ids=ident
)
def test_gradients_flow_where_declared(spec: Spec) -> None:
    augmenter = AUGMENTERS.create(spec)
    images, labels = batch((4, 3, 8, 8))
    images = images.double().requires_grad_()

    def run(x: torch.Tensor) -> torch.Tensor:
        return augmenter(x, {"label": labels}, SCHEMA, stream(2, "a", 0, 4))[0]

    (gradient,) = torch.autograd.grad(run(images).pow(2).sum(), images)
    assert (gradient.flatten(1).norm(dim=1) > 0).all()
    assert torch.autograd.gradcheck(run, (images,), fast_mode=True)


def test_classic_policies_are_registered_and_hold_none() -> None:
    assert "none" in CLASSIC_POLICIES
    assert set(CLASSIC_POLICIES) <= set(AUGMENTERS.names())
    assert not any(AUGMENTERS.create(n).differentiable for n in CLASSIC_POLICIES)

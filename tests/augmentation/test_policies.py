"""Mixing, drawn operations, the critic's augmentation: distributions and closed forms."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from scipy import stats

from augmint.aspects.base import Aspect, Schema
from augmint.aspects.category import Category
from augmint.augmentation.adaptive import DiffAugment, recolour
from augmint.augmentation.automatic import OPERATIONS, PIXEL, RandAugment, TrivialAugment
from augmint.augmentation.base import Chain
from augmint.augmentation.mixing import CutMix, MixUp, symmetric_beta
from augmint.augmentation.photometric import Erase, boxes
from augmint.core.config import load_yaml
from augmint.core.errors import IncompatibleError, UsageError
from augmint.core.registry import AUGMENTERS
from augmint.core.streams import stream

CLASSES = ("a", "b", "c", "d")
SCHEMA = Schema((Category("label", CLASSES),))


@pytest.mark.parametrize("concentration", [0.2, 1.0, 4.0])
def test_beta_draws_follow_beta(concentration: float) -> None:
    draws = symmetric_beta(stream(0, "beta", 0, 5000).uniform(1)[:, 0], concentration)
    # float32 holds no value between 1 - 6e-8 and 1, where Beta(0.2) has a share of 2 %
    inner = draws[(draws > 1e-3) & (draws < 1 - 1e-3)].numpy()
    law = stats.beta(concentration, concentration)
    low, high = law.cdf(1e-3), law.cdf(1 - 1e-3)
    test = stats.kstest(inner, lambda x: (law.cdf(x) - low) / (high - low))
    assert test.pvalue > 1e-3


def test_mixup_mixes_labels_as_it_mixes_images() -> None:
    """Constant images that show their own one-hot label come back showing their soft label."""
    labels = torch.arange(64) % 4
    images = SCHEMA["label"].encode(labels)[:, :, None, None].expand(-1, -1, 6, 6).contiguous()
    mixed, aspects = MixUp(1.0)(images, {"label": labels}, SCHEMA, stream(0, "m", 0, 64))
    torch.testing.assert_close(mixed[:, :, 2, 3], aspects["label"])
    assert (aspects["label"].max(1).values < 0.999).float().mean() > 0.5


def test_cutmix_labels_are_areas() -> None:
    labels = torch.arange(64) % 4
    images = SCHEMA["label"].encode(labels)[:, :, None, None].expand(-1, -1, 8, 9).contiguous()
    mixed, aspects = CutMix()(images, {"label": labels}, SCHEMA, stream(0, "m", 0, 64))
    torch.testing.assert_close(mixed.mean((2, 3)), aspects["label"])
    assert torch.isin(mixed, torch.tensor([0.0, 1.0])).all()


def test_soft_labels_have_the_loss_of_their_mean() -> None:
    aspect = SCHEMA["label"]
    prediction = stream(0, "p", 0, 5).normal(4)
    labels, others = torch.tensor([0, 1, 2, 3, 0]), torch.tensor([1, 1, 3, 0, 2])
    soft = torch.lerp(aspect.encode(labels), aspect.encode(others), 0.3)
    expected = 0.7 * aspect.loss(prediction, labels) + 0.3 * aspect.loss(prediction, others)
    torch.testing.assert_close(aspect.loss(prediction, soft), expected)


def test_chain_ends_with_its_mixer() -> None:
    assert Chain(("affine", "cutmix")).mixes
    assert not Chain(("affine", "colour")).mixes
    with pytest.raises(UsageError, match="last"):
        Chain(("cutmix", "affine"))


def test_mixers_refuse_what_has_no_middle() -> None:
    landmarks = Mock(spec=Aspect)
    landmarks.name, landmarks.kind = "eyes", "landmarks"
    with pytest.raises(IncompatibleError, match=r"categories only; got eyes \(landmarks\)"):
        MixUp()(
            torch.zeros(1, 1, 4, 4),
            {"eyes": torch.zeros(1, 2, 2)},
            Schema((landmarks,)),
            stream(0, "m"),
        )


def test_trivial_augment_draws_every_operation_equally_often() -> None:
    unit = stream(0, "t", 0, 14_000).uniform(2)[:, 0]
    counts = np.bincount((unit * len(OPERATIONS)).long().numpy(), minlength=len(OPERATIONS))
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("augmenter", [TrivialAugment(), RandAugment(2, 9)], ids=["ta", "ra"])
def test_grouped_rows_equal_rows_alone(augmenter: TrivialAugment | RandAugment) -> None:
    """Every operation drawn in a batch does to its row what it does to the row alone."""
    images = stream(0, "i", 0, 120).uniform(3 * 10 * 10, -1, 1).view(120, 3, 10, 10)
    together, _ = augmenter(images, {}, SCHEMA, stream(0, "t", 0, 120))
    for row in range(0, 120, 7):
        alone, _ = augmenter(images[row : row + 1], {}, SCHEMA, stream(0, "t", 0, [row]))
        torch.testing.assert_close(alone[0], together[row], atol=1e-6, rtol=0)


def test_operations_at_no_strength_change_nothing() -> None:
    images = stream(0, "i", 0, 3).uniform(3 * 64, -1, 1).view(3, 3, 8, 8)
    zero = torch.zeros(3)
    for name in ("brightness", "contrast", "saturation", "sharpness"):
        torch.testing.assert_close(PIXEL[name](images, zero), images, atol=1e-6, rtol=0)


def test_erase_covers_its_share() -> None:
    """Wide frames and small boxes: the mean covered area is the mean share drawn."""
    images = torch.ones(2000, 1, 64, 64)
    erased, _ = Erase(1.0, 0.02, 0.06, 0.5, fill=-1.0)(images, {}, SCHEMA, stream(0, "e", 0, 2000))
    share = (erased < 0).float().mean()
    # mean 0.04; the frame cuts off about 2 * 0.2 / 4 of the boxes' area
    assert 0.032 < share < 0.04
    whole = boxes(torch.tensor([[0.5, 0.5, 0.5, 0.25]]), (64, 64)).float().mean()
    assert abs(whole - 0.125) < 1e-6


def test_recolour_is_its_three_steps() -> None:
    """Fused form against brightness, saturation, contrast one after the other."""
    x = stream(0, "c", 0, 5).normal(3 * 8 * 8).view(5, 3, 8, 8)
    drawn = stream(0, "p", 0, 5).uniform(3)
    b, s, k = (v[:, None, None, None] for v in drawn.unbind(1))
    y = x + b
    y = (y - y.mean(1, keepdim=True)) * s + y.mean(1, keepdim=True)
    y = (y - y.mean((1, 2, 3), keepdim=True)) * k + y.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(recolour(x, drawn), y)


def test_diff_augment_parts_keep_their_draws() -> None:
    """Switching colour off leaves the geometry as it was."""
    images = torch.ones(8, 1, 10, 10)
    images[:, :, 4:6, 4:6] = -1
    both, _ = DiffAugment(brightness=0, contrast=0)(images, {}, SCHEMA, stream(0, "d", 0, 8))
    only, _ = DiffAugment(("translation", "affine"))(images, {}, SCHEMA, stream(0, "d", 0, 8))
    torch.testing.assert_close(both, only, atol=1e-6, rtol=0)


def test_the_papers_policy_of_differentiable_augmentation_can_be_set() -> None:
    """What comes in is zero, where the default repeats the edge."""
    ones = torch.ones(32, 1, 16, 16)
    page = (Path(__file__).resolve().parents[2] / "docs/reference/tricks.md").read_text("utf-8")
    (said,) = re.findall(r"generator.augment=(\{name: diff-augment, policy.*?\})", page)
    paper = AUGMENTERS.create(load_yaml(said))
    assert isinstance(paper, DiffAugment)
    assert (paper.brightness, paper.saturation, paper.contrast) == (0.5, 1.0, 0.5)
    assert (paper.translation, paper.cutout) == (0.125, 0.5)
    moves = dataclasses.replace(paper, policy=("translation",))
    moved, _ = moves(ones, {}, SCHEMA, stream(0, "d", 0, 32))
    assert float(moved.min()) == 0.0
    assert float(moved.max()) == 1.0
    kept, _ = DiffAugment(("translation",))(ones, {}, SCHEMA, stream(0, "d", 0, 32))
    torch.testing.assert_close(kept, ones)

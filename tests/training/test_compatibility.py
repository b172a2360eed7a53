"""Each way in which parts do not fit, told with both names and what would fit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from augmint.aspects.base import Schema
from augmint.core.errors import IncompatibleError, UsageError
from augmint.training.compatibility import check_compatible
from augmint.training.config import GanConfig

Make = Callable[..., GanConfig]
SHAPE = (1, 12, 12)


def test_the_defaults_fit(schema: Schema) -> None:
    check_compatible(GanConfig(), schema, (1, 28, 28))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"generator": "dcgan-critic"}, "generator.*dcgan-critic.*dcgan-generator"),
        ({"critic": "small-cnn"}, "critic.*small-cnn.*dcgan-critic"),
        ({"augment": "affine-colour"}, "gradients.*affine-colour.*diff-augment"),
        ({"auxiliary_augment": "mixup"}, "auxiliary_augment keeps images apart"),
        (
            {"critic": {"name": "dcgan-critic", "normalisation": "batch"}, "penalties": ("r1",)},
            "r1.*dcgan-critic.*couples.*normalisation",
        ),
    ],
)
def test_parts_that_do_not_fit(
    changes: dict[str, object], told: str, tiny: Make, schema: Schema
) -> None:
    with pytest.raises(IncompatibleError, match=told):
        check_compatible(tiny(**changes), schema, SHAPE)


def test_conditioning_without_its_aspect(tiny: Make) -> None:
    with pytest.raises(IncompatibleError, match=r"vac.*category.*no aspect.*none"):
        check_compatible(tiny(), Schema(()), SHAPE)
    check_compatible(tiny(conditioning="none"), Schema(()), SHAPE)


def test_sizes_out_of_reach(tiny: Make, schema: Schema) -> None:
    with pytest.raises(UsageError):
        check_compatible(tiny(), schema, (1, 31, 31))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"critic_rate": 0.0}, "critic_rate must be above 0"),
        ({"ema": 1.0}, "ema must be"),
        ({"betas": (0.0, 1.0)}, "betas must be"),
        ({"simultaneous": True, "generator_interval": 2}, "simultaneous.*generator_interval=2"),
        ({"augment": "diff-augmnt"}, "did you mean 'diff-augment'"),
    ],
)
def test_values_that_cannot_be_used(
    changes: dict[str, object], told: str, tiny: Make, schema: Schema
) -> None:
    with pytest.raises(UsageError, match=told):
        check_compatible(tiny(**changes), schema, SHAPE)

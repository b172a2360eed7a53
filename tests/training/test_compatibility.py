"""Each way in which parts do not fit, told with both names and what would fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from augmint.aspects.base import Schema
from augmint.aspects.landmarks import Landmarks
from augmint.core.errors import IncompatibleError, UsageError
from augmint.core.registry import OBJECTIVES
from augmint.training.compatibility import _fitting, check_compatible, check_processes
from augmint.training.config import GanConfig
from augmint.training.gan import build_generator

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


ALONE: dict[str, object] = {
    "objective": "flow-matching",
    "generator": "flow-unet",
    "critic": None,
    "augment": None,
    "conditioning": {"name": "concatenation", "critic": False, "enters": "conditional-norm"},
    "latent_dim": 144,
}
"""Parts that learn without a critic, for `SHAPE`."""


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"critic": "dcgan-critic"}, "flow-matching.*dcgan-critic.*generator.critic=null"),
        ({"generator": "dcgan-generator"}, "flow-matching.*velocity.*dcgan-gen.*generator=flow-un"),
        ({"generator": "vae"}, "flow-matching.*velocity.*vae, which gives posterior.*flow-unet"),
        ({"objective": "vae"}, "vae.*posterior.*flow-unet, which gives velocity.*generator=vae"),
        ({"objective": "hinge"}, "flow-unet learns without.*hinge.*objective=flow-matching"),
        (
            {"objective": "hinge", "generator": "dcgan-generator"},
            "hinge has a critic.*null.*critic=dcgan-critic",
        ),
        ({"conditioning": "vac"}, "flow-matching.*conditioning vac.*critic: false"),
        ({"conditioning": "acgan"}, "flow-matching.*conditioning acgan.*critic: false"),
        ({"conditioning": "infogan"}, "flow-matching.*conditioning infogan"),
        ({"conditioning": "concatenation"}, "flow-matching.*concatenation, which acts on one"),
        (
            {"conditioning": {"name": "concatenation", "critic": False}},
            "flow-matching.*noise.*concatenation.*conditioning.enters=conditional-norm",
        ),
        ({"penalties": ("r1",)}, r"flow-matching.*penalty r1.*generator.penalties=\[\]"),
        ({"augment": "diff-augment"}, "flow-matching.*diff-augment.*generator.augment=null"),
        ({"generator_interval": 2}, "flow-matching.*generator_interval=2.*_interval=1"),
        ({"top_k": 0.5}, "flow-matching.*top_k=0.5"),
        (
            {
                "generator": {"name": "flow-unet", "guidance": 2.0},
                "objective": {"name": "flow-matching", "drop": 0.0},
            },
            "flow-unet.*dropped conditions.*flow-matching.*drop=0.1",
        ),
        (
            {"generator": "vae", "objective": {"name": "vae", "beta": 0.0}},
            "vae must teach.*beta=1",
        ),
    ],
)
def test_what_does_not_fit_an_objective_without_a_critic(
    changes: dict[str, object], told: str, tiny: Make, schema: Schema
) -> None:
    check_compatible(tiny(**ALONE), schema, SHAPE)
    with pytest.raises(IncompatibleError, match=told):
        check_compatible(tiny(**{**ALONE, **changes}), schema, SHAPE)


def test_the_latent_of_a_flow_is_as_wide_as_its_images(tiny: Make, schema: Schema) -> None:
    with pytest.raises(UsageError, match=r"144 numbers.*got 64.*generator.latent_dim=144"):
        check_compatible(tiny(**{**ALONE, "latent_dim": 64}), schema, SHAPE)
    check_compatible(tiny(**{**ALONE, "conditioning": "none"}), schema, SHAPE)


MIXED = {"name": "stylegan2-generator", "channels": 4, "widest": 8, "style": 8}


@pytest.mark.parametrize("latent", ["uniform", "sign"])
def test_styles_are_mixed_of_latents_with_noise(latent: str, tiny: Make, schema: Schema) -> None:
    told = "stylegan2-generator.*mixes.*conditioning concatenation.*mixing=0"
    concatenation = {"name": "concatenation", "latent": latent}
    with pytest.raises(IncompatibleError, match=told):
        check_compatible(tiny(generator=MIXED, conditioning=concatenation), schema, SHAPE)
    plain = {**MIXED, "mixing": 0.0}
    check_compatible(tiny(generator=plain, conditioning=concatenation), schema, SHAPE)
    none = {"name": "none", "latent": "uniform"}
    with pytest.raises(IncompatibleError, match="stylegan2-generator"):
        check_compatible(tiny(generator=MIXED, conditioning=none), schema, SHAPE)


@pytest.mark.parametrize(
    ("conditioning", "noise"),
    [("concatenation", 8), ("infogan", 8), ({"name": "concatenation", "enters": "modulation"}, 8)],
)
def test_the_generator_is_told_which_columns_are_noise(
    conditioning: object, noise: int, tiny: Make, schema: Schema
) -> None:
    network: Any = build_generator(tiny(generator=MIXED, conditioning=conditioning), schema, SHAPE)
    assert network.redrawn == noise


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
        ({"critic": {"name": "stylegan2-critic", "widest": 0}}, "widest=0: set widest: 256"),
        ({"generator": {**MIXED, "widest": -1}}, "widest=-1: set widest: 256"),
        ({"conditioning": "var"}, r"var carries.*vector.*data with label \(category\)"),
        ({"augment": "diff-augmnt"}, "did you mean 'diff-augment'"),
        ({"penalties": ("r1", {"name": "r1"})}, "penalty is named once.*r1, r1"),
        (
            {"penalties": ({"name": "r1", "interval": 13},)},
            "r1.*interval=13 for 12 updates.*interval to 12",
        ),
        (
            {"penalties": ({"name": "orthogonal", "interval": 5},), "generator_interval": 3},
            "orthogonal.*interval=5 for 4 updates of the generator.*interval to 4",
        ),
        ({"penalties": ({"name": "lecam", "decay": 1.5},)}, "decay is 0 to below 1; got 1.5"),
        ({"penalties": ({"name": "consistency", "fake_weight": -3},)}, "negative.*fake_weight"),
        ({"penalties": ({"name": "consistency", "shift": -0.2},)}, "half of the side; got -0.2"),
        ({"penalties": ({"name": "consistency", "shift": 3},)}, "half of the side; got 3"),
        ({"penalties": ({"name": "dragan", "spread": -1},)}, "spread is not negative"),
        ({"penalties": ({"name": "path-length", "rate": 2},)}, "rate above 0 and at most 1"),
        ({"conditioning": {"name": "infogan", "weight": -1}}, "weight is not negative; got -1"),
        ({"objective": {"name": "least-squares", "real_label": 0}}, "different labels; got 0 for"),
    ],
)
def test_values_that_cannot_be_used(
    changes: dict[str, object], told: str, tiny: Make, schema: Schema
) -> None:
    with pytest.raises(UsageError, match=told):
        check_compatible(tiny(**changes), schema, SHAPE)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"generator": "vac-mnist-generator", "batch": 1}, "vac-mnist-generator.*batch to 2 "),
        (
            {"critic": {"name": "vac-mnist-critic", "dense_normalisation": True}, "batch": 1},
            "vac-mnist-critic trains on 2 images or more.*batch to 2 ",
        ),
        (
            {"critic": "began-critic", "objective": "ebgan", "conditioning": "none", "batch": 1},
            "objective ebgan.*batch 1.*batch to 2 ",
        ),
        (
            {"critic": {"name": "dcgan-critic", "minibatch_discrimination": 4}, "batch": 1},
            "dcgan-critic trains on 2.*batch to 2 ",
        ),
        (
            {"critic": {"name": "dcgan-critic", "minibatch_deviation": 4}, "batch": 5},
            "dcgan-critic compares groups of 4.*batch 5.*batch to 4 ",
        ),
        (
            {"critic": {"name": "stylegan2-critic", "deviation": True}, "batch": 7},
            "stylegan2-critic compares groups of 4.*batch 7.*batch to 8 ",
        ),
    ],
)
def test_batches_that_parts_cannot_train_on(
    changes: dict[str, object], told: str, tiny: Make, schema: Schema
) -> None:
    shape = (1, 32, 32)
    with pytest.raises(IncompatibleError, match=told):
        check_compatible(tiny(**changes), schema, shape)
    near = int(told.split()[-1])
    check_compatible(tiny(**{**changes, "batch": near}), schema, shape)


def test_a_process_has_images_enough_for_every_part(tiny: Make) -> None:
    critic = {"name": "dcgan-critic", "channels": 4, "minibatch_deviation": 4}
    check_processes(tiny(critic=critic, batch=8), 2)
    with pytest.raises(IncompatibleError, match=r"dcgan-critic.*batch 10 on 2 proc.*batch to 8 "):
        check_processes(tiny(critic=critic, batch=10), 2)
    generator = tiny(generator="vac-mnist-generator", batch=4)
    with pytest.raises(IncompatibleError, match=r"vac-mnist-gen.*batch 4 on 4 proc.*batch to 8 "):
        check_processes(generator, 4)


def test_a_declaration_that_is_misspelt_is_no_misfit() -> None:
    with pytest.raises(AttributeError, match="acepts"):
        _fitting(OBJECTIVES, lambda member: "score" in member.acepts)
    assert _fitting(OBJECTIVES, lambda member: "energy" in member.accepts) == "began, ebgan"


POINTS = Schema((Landmarks("points", ("a", "b"), (12, 12), pairs=None),))


@pytest.mark.parametrize(
    "changes", [{"augment": {"name": "ada", "p": 0.3}}, {"auxiliary_augment": "flip-affine"}]
)
def test_augmenters_that_mirror_ask_for_left_and_right(changes: dict[str, Any], tiny: Make) -> None:
    (field,) = changes
    conditioning = {"name": "var", "network": {"name": "small-cnn", "channels": 4}}
    config = tiny(**{"conditioning": conditioning, "augment": None, **changes})
    with pytest.raises(IncompatibleError, match=rf"mirror.*{field}=.*points.*generator\.{field}="):
        check_compatible(config, POINTS, SHAPE)


def test_mirrored_copies_ask_for_left_and_right(tiny: Make) -> None:
    config = tiny(conditioning="concatenation", penalties=("consistency",), augment=None)
    check_compatible(config, POINTS, SHAPE)
    flips = dataclasses.replace(config, penalties=({"name": "consistency", "flip": True},))
    with pytest.raises(IncompatibleError, match=r"consistency.*mirrors.*points.*flip: false"):
        check_compatible(flips, POINTS, SHAPE)
    known = Schema((Landmarks("points", ("a", "b"), (12, 12), pairs=(("a", "b"),)),))
    check_compatible(flips, known, SHAPE)

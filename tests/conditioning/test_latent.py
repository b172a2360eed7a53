"""No conditioning, and the conditional GAN's concatenation."""

from __future__ import annotations

import pytest
import torch

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.aspects.vector import Vector
from augmint.conditioning.base import ConditioningContext
from augmint.core.errors import IncompatibleError
from augmint.core.registry import CONDITIONING
from augmint.core.streams import stream

LABEL = Category("label", ("a", "b", "c"))
SEX = Category("sex", ("f", "m"))
CONTEXT = ConditioningContext(Schema((LABEL, SEX)), (2, 8, 12), latent_dim=5)
BARE = ConditioningContext(Schema(()), (2, 8, 12), latent_dim=5)
VALUES = {"label": torch.tensor([0, 2, 1, 2]), "sex": torch.tensor([1, 0, 0, 1])}
CODE = torch.tensor(
    [[1.0, 0, 0, 0, 1], [0, 0, 1, 1, 0], [0, 1, 0, 1, 0], [0, 0, 1, 0, 1]],
)


def test_none_is_neutral() -> None:
    none = CONDITIONING.create("none")
    none.check(BARE)
    assert not none.labels_generated
    assert none.latent_width(BARE) == 5
    z = none.sample_latent(BARE, {}, stream(0, "latent", ids=4))
    assert torch.equal(z, stream(0, "latent", ids=4).normal(5))
    assert none.auxiliaries(BARE) == {}
    assert none.critic_channels(BARE) == none.condition_width(BARE) == 0
    images = torch.zeros(4, 2, 8, 12)
    assert none.critic_inputs(BARE, images, {})[0] is images


def test_concatenation_appends_codes_to_latent_and_image() -> None:
    method = CONDITIONING.create("concatenation")
    method.check(CONTEXT)
    assert method.latent_width(CONTEXT) == 10
    assert method.critic_channels(CONTEXT) == 5
    latent = method.sample_latent(CONTEXT, VALUES, stream(0, "latent", ids=4))
    assert torch.equal(latent[:, 5:], CODE)
    assert torch.equal(latent[:, :5], stream(0, "latent", ids=4).normal(5))
    images = stream(0, "images", ids=4).normal(192).reshape(4, 2, 8, 12)
    for memory in (torch.contiguous_format, torch.channels_last):
        given = images.contiguous(memory_format=memory)
        joined, condition = method.critic_inputs(CONTEXT, given, VALUES)
        assert condition is None
        assert joined.is_contiguous(memory_format=memory)
        assert torch.equal(joined[:, :2], images)
        assert torch.equal(joined[:, 2:], CODE[:, :, None, None].expand(-1, -1, 8, 12))


def test_mixed_labels_pass_as_they_are() -> None:
    method = CONDITIONING.create("concatenation")
    soft = {"label": torch.full((4, 3), 1 / 3), "sex": VALUES["sex"]}
    joined, _ = method.critic_inputs(CONTEXT, torch.zeros(4, 2, 8, 12), soft)
    assert torch.equal(joined[:, 2:5, 0, 0], soft["label"])


@pytest.mark.parametrize("name", ["concatenation", "vac"])
def test_a_schema_without_labels_is_refused(name: str) -> None:
    with pytest.raises(IncompatibleError, match="no aspect"):
        CONDITIONING.create(name).check(BARE)


@pytest.mark.parametrize("name", CONDITIONING.names())
def test_latents_have_the_declared_width_and_depend_on_ids_alone(name: str) -> None:
    method = CONDITIONING.create(name)
    everything = Schema((LABEL, SEX, Vector("age", ("years",))))
    context = ConditioningContext(method.carried(everything), (2, 8, 12), latent_dim=5)
    method.check(context)
    values = {**VALUES, "age": torch.tensor([[1.0], [-1.0], [0.5], [2.0]])}
    whole = method.sample_latent(context, values, stream(1, "z", 3, [4, 5, 6, 7]))
    part = method.sample_latent(
        context, {k: v[2:] for k, v in values.items()}, stream(1, "z", 3, [6, 7])
    )
    assert whole.shape == (4, method.latent_width(context))
    assert torch.equal(whole[2:], part)

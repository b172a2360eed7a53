"""VAC: partitions of the latent, which images train the classifier,
and what the generator feels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.conditioning.base import ConditioningContext
from augmint.conditioning.vac import Vac
from augmint.core import streams
from augmint.core.errors import IncompatibleError, UsageError
from augmint.core.registry import CONDITIONING
from augmint.core.types import CriticOutput


def context(*widths: int, latent_dim: int = 64) -> ConditioningContext:
    names = ("label", "sex", "age")
    aspects = [
        Category(name, tuple(f"c{i}" for i in range(width)))
        for name, width in zip(names, widths, strict=False)
    ]
    return ConditioningContext(Schema(tuple(aspects)), (1, 12, 12), latent_dim)


def draw(purpose: str, n: int = 8) -> torch.Tensor:
    return streams.stream(2, purpose, ids=n).uniform(144, -1, 1).reshape(n, 1, 12, 12)


LABELS = {"label": torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])}
OTHERS = {"label": torch.tensor([3, 3, 1, 0, 2, 2, 1, 0])}
OUTPUT = CriticOutput(torch.zeros(8))


def networks(vac: Vac, where: ConditioningContext) -> Any:
    with streams.scope(0, "auxiliary"):
        return vac.auxiliaries(where)


def test_one_hot_latent() -> None:
    where = context(4, 2)
    values = {**LABELS, "sex": torch.tensor([0, 1] * 4)}
    latent = Vac().sample_latent(where, values, streams.stream(0, "z", ids=8))
    assert latent.shape == (8, Vac().latent_width(where)) == (8, 70)
    assert torch.equal(latent[:, 64:68].argmax(1), values["label"])
    assert torch.equal(latent[:, 68:].argmax(1), values["sex"])
    assert torch.equal(latent[:, :64], streams.stream(0, "z", ids=8).normal(64))


def test_sign_latent_of_many_classes_is_the_whole_code() -> None:
    where = context(10)
    vac = Vac(latent="sign")
    labels = torch.arange(10).repeat(200)
    latent = vac.sample_latent(where, {"label": labels}, streams.stream(0, "z", ids=2000))
    assert latent.shape == (2000, 10) == (2000, vac.latent_width(where))
    own = F.one_hot(labels, 10).bool()
    assert bool(((latent[own] >= 0) & (latent[own] < 1)).all())
    assert bool(((latent[~own] <= 0) & (latent[~own] > -1)).all())
    # the mean of 2000 uniform draws has standard error 0.0065; 5 of them
    assert abs(float(latent[own].mean()) - 0.5) < 0.033
    assert abs(float(latent[~own].mean()) + 0.5) < 0.033


def test_sign_latent_of_two_classes_is_the_first_dimension() -> None:
    where = context(2)
    vac = Vac(latent="sign")
    labels = torch.tensor([0, 1] * 500)
    latent = vac.sample_latent(where, {"label": labels}, streams.stream(0, "z", ids=1000))
    assert latent.shape == (1000, 64) == (1000, vac.latent_width(where))
    assert bool((latent[labels == 0, 0] >= 0).all())
    assert bool((latent[labels == 1, 0] <= 0).all())
    assert abs(float(latent[:, 1:].mean())) < 0.02
    assert float(latent[:, 1:].min()) >= -1
    assert float(latent[:, 1:].max()) < 1


def test_what_trains_the_classifier() -> None:
    where = context(4)
    real, fake = draw("real"), draw("fake")
    expected: dict[str, torch.Tensor] = {}
    for trains_on in ("real", "generated", "both"):
        vac = Vac(trains_on=trains_on)  # type: ignore[arg-type]
        auxiliaries = networks(vac, where)
        classifier = auxiliaries["classifier"]
        given = fake if vac.auxiliary_sees_fake() else None
        loss, _ = vac.auxiliary_loss(where, auxiliaries, real, given, LABELS, OTHERS)
        on_real = F.cross_entropy(classifier(real), LABELS["label"])
        on_fake = F.cross_entropy(classifier(fake), OTHERS["label"])
        expected = {
            "real": on_real,
            "generated": on_fake,
            "both": (on_real + on_fake) / 2,
        }
        torch.testing.assert_close(loss, expected[trains_on])
        loss.backward()
        assert all(p.grad is not None for p in classifier.parameters())
    assert not Vac().auxiliary_sees_fake()
    assert Vac(trains_on="both").auxiliary_sees_fake()
    with pytest.raises(UsageError, match="fake"):
        Vac(trains_on="both").auxiliary_loss(where, auxiliaries, real, None, LABELS, OTHERS)


def test_the_classifier_loss_never_reaches_the_generator() -> None:
    where = context(4)
    vac = Vac(trains_on="both")
    fake = draw("fake").requires_grad_()
    loss, _ = vac.auxiliary_loss(where, networks(vac, where), draw("real"), fake, LABELS, OTHERS)
    loss.backward()
    assert fake.grad is None


def test_generator_term_is_weighted_and_flows_through_a_frozen_classifier() -> None:
    where = context(4)
    vac = Vac(zeta=0.8, theta=0.2)
    auxiliaries = networks(vac, where)
    classifier = auxiliaries["classifier"].requires_grad_(False)
    fake = draw("fake").requires_grad_()
    term, logs = vac.generator_terms(
        where, auxiliaries, {}, fake, OUTPUT, LABELS, torch.zeros(8, 68)
    )
    expected = F.cross_entropy(classifier(fake), LABELS["label"])
    torch.testing.assert_close(term, 0.8 * expected)
    torch.testing.assert_close(logs["class_loss"], expected.detach())
    assert vac.adversarial_weight() == 0.2
    term.backward()
    assert fake.grad is not None
    assert fake.grad.any()


def test_several_categories_add_their_losses() -> None:
    where = context(4, 2)
    values = {**LABELS, "sex": torch.tensor([0, 1] * 4)}
    vac = Vac()
    auxiliaries = networks(vac, where)
    real = draw("real")
    loss, _ = vac.auxiliary_loss(where, auxiliaries, real, None, values, values)
    logits = auxiliaries["classifier"](real)
    assert logits.shape == (8, 6)
    expected = F.cross_entropy(logits[:, :4], values["label"])
    expected = expected + F.cross_entropy(logits[:, 4:], values["sex"])
    torch.testing.assert_close(loss, expected)


def test_mixed_labels_train_the_classifier() -> None:
    where = context(4)
    auxiliaries = networks(Vac(), where)
    soft = {"label": F.one_hot(LABELS["label"], 4).float() * 0.7 + 0.075}
    loss, _ = Vac().auxiliary_loss(where, auxiliaries, draw("real"), None, soft, soft)
    expected = F.cross_entropy(auxiliaries["classifier"](draw("real")), soft["label"])
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("name", ["small-cnn", "vac-mnist-classifier"])
def test_generated_images_leave_the_classifier_as_it_was(name: str) -> None:
    """Batch norm's statistics stay, dropout is silent, and the mode is given back."""
    where = context(4)
    vac = Vac(network=name)
    auxiliaries = networks(vac, where)
    classifier: nn.Module = auxiliaries["classifier"].train()
    frozen = next(m for m in classifier.modules() if isinstance(m, nn.Dropout)).eval()
    before = {k: v.clone() for k, v in classifier.state_dict().items()}
    terms = [
        vac.generator_terms(where, auxiliaries, {}, draw("fake"), OUTPUT, LABELS, torch.zeros(8))
        for _ in range(2)
    ]
    assert torch.equal(terms[0][0], terms[1][0])
    assert all(torch.equal(v, before[k]) for k, v in classifier.state_dict().items())
    assert classifier.training
    assert not frozen.training


def test_a_classifier_that_moves_before_the_backward_pass_changes_nothing() -> None:
    """Simultaneous updates: C's training forward comes between the generator's two passes."""
    where = context(4)
    vac = Vac(network="small-cnn")
    gradients = []
    for moved in (False, True):
        auxiliaries = networks(vac, where)
        fake = draw("fake").requires_grad_()
        term, _ = vac.generator_terms(
            where, auxiliaries, {}, fake, OUTPUT, LABELS, torch.zeros(8, 68)
        )
        if moved:
            vac.auxiliary_loss(where, auxiliaries, 9 * draw("real"), None, LABELS, LABELS)
        gradients += torch.autograd.grad(term, fake)
    assert torch.equal(*gradients)


def test_what_does_not_fit_is_refused() -> None:
    Vac().check(context(4, 2))
    with pytest.raises(IncompatibleError, match="exactly one"):
        Vac(latent="sign").check(context(4, 2))
    with pytest.raises(IncompatibleError, match="two classes"):
        Vac().check(context(1))
    with pytest.raises(IncompatibleError, match="is a classifier"):
        Vac(network="dcgan-critic").check(context(4))
    with pytest.raises(UsageError, match="18 to 256"):
        Vac(network="fer-simple").check(context(4))
    with pytest.raises(UsageError, match="zeta"):
        CONDITIONING.create({"name": "vac", "zeta": -0.1})
    with pytest.raises(UsageError, match="one-hot"):
        CONDITIONING.create({"name": "vac", "latent": "onehot"})

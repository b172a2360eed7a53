"""VAR: loss forms against their formulas, what counts, what trains R, and VAC beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.aspects.landmarks import Landmarks
from augmint.aspects.mask import Mask
from augmint.aspects.vector import Vector
from augmint.conditioning.auxiliary import BesideCritic
from augmint.conditioning.base import ConditioningContext
from augmint.conditioning.latent import Concatenation
from augmint.conditioning.vac import Vac
from augmint.conditioning.vac_var import Segmenter, VacVar
from augmint.conditioning.var import EPSILON, HUBER, LOSSES, Loss, Regressor, Var
from augmint.core import streams
from augmint.core.errors import IncompatibleError, UsageError
from augmint.core.registry import CONDITIONING
from augmint.core.types import CriticOutput

LABEL = Category("label", ("a", "b", "c"))
POINTS = Landmarks("points", ("p", "q"), (12, 12), pairs=())
POSE = Vector("pose", ("yaw", "pitch", "roll"), low=(-90.0,) * 3, high=(90.0,) * 3)
AGE = Vector("age", ("years",))
PARTS = Mask("parts", ("ground", "thing"), void=255)
N = 6
VALUES = {
    "label": torch.arange(N) % 3,
    "points": torch.cat(
        (streams.stream(1, "points", ids=N).uniform(4, 1.0, 11.0).view(N, 2, 2),
         torch.full((N, 2, 1), 2.0)), 2),
    "pose": streams.stream(1, "pose", ids=N).uniform(3, -80.0, 80.0),
    "age": streams.stream(1, "age", ids=N).uniform(1, -1.0, 1.0),
    "parts": (streams.stream(1, "parts", ids=N).uniform(144) > 0.5).byte().view(N, 12, 12),
}  # fmt: skip
OUTPUT = CriticOutput(torch.zeros(N))


def context(*aspects: Any, latent_dim: int = 5) -> ConditioningContext:
    return ConditioningContext(Schema(aspects), (1, 12, 12), latent_dim)


def images(purpose: str) -> torch.Tensor:
    return streams.stream(2, purpose, ids=N).uniform(144, -1, 1).reshape(N, 1, 12, 12)


def networks(method: BesideCritic, where: ConditioningContext) -> Any:
    with streams.scope(0, "auxiliary"):
        return method.auxiliaries(where)


PRINTED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "authors": lambda e: np.log(1 + np.abs(e) + EPSILON),
    "symmetric": lambda e: -np.log(1 - np.abs(e) / 2 + EPSILON),
    "clipped": lambda e: -np.log(np.maximum(1 - e, EPSILON)),
    "squared": lambda e: e**2,
    "l1": lambda e: np.abs(e),
    "huber": lambda e: np.where(
        np.abs(e) <= HUBER, e**2 / 2, HUBER * (np.abs(e) - HUBER / 2)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", get_args(Loss))
def test_losses_are_the_formulas_and_so_are_their_gradients(name: str) -> None:
    y, r = 0.3, np.linspace(-0.95, 0.95, 41)
    said = torch.tensor(r, requires_grad=True)
    loss = LOSSES[name](y - said)
    np.testing.assert_allclose(loss.detach().numpy(), PRINTED[name](y - r), atol=1e-12)
    loss.sum().backward()
    assert said.grad is not None
    step = 1e-6
    slope = (PRINTED[name](y - (r + step)) - PRINTED[name](y - (r - step))) / (2 * step)
    smooth = np.abs(r - y) > 1e-3  # |e| has a corner
    np.testing.assert_allclose(said.grad.numpy()[smooth], slope[smooth], atol=1e-6)


@pytest.mark.parametrize("name", get_args(Loss))
def test_only_the_printed_form_has_its_minimum_elsewhere(name: str) -> None:
    r = np.linspace(-1, 1, 2001)
    for y in (-0.7, 0.0, 0.45):
        losses = LOSSES[name](torch.tensor(y - r)).numpy()
        best = r[losses.argmin()]
        if name == "clipped":
            assert best == 1.0, "it falls until R ends"
            assert losses.min() < 0 < LOSSES[name](torch.tensor(0.5))
        else:
            assert best == pytest.approx(y, abs=1e-9)
            assert losses.min() == pytest.approx(0.0, abs=2 * EPSILON)


def test_the_printed_form_falls_without_end_and_breaks_at_an_error_of_one() -> None:
    said = torch.tensor([0.0, 1.0, 10.0, 1e4], dtype=torch.float64, requires_grad=True)
    printed = -torch.log(1 - (0.5 - said))
    printed.sum().backward()
    assert bool((printed.detach().diff() < 0).all())
    torch.testing.assert_close(said.grad, -1 / (1 - (0.5 - said.detach())))
    assert torch.isnan(-torch.log(1 - torch.tensor(1.5)))
    assert float(LOSSES["clipped"](torch.tensor(1.5))) == pytest.approx(-np.log(EPSILON), rel=1e-5)


def test_theorem_two_takes_the_logarithm_of_a_negative_number() -> None:
    """At the printed stationary point c1 + R and c2 + R have opposite signs."""
    p1, p2 = 0.7, 0.2
    for y1, y2 in ((0.5, -0.5), (-0.1, 0.9)):
        c1, c2 = 1 - y1, 1 - y2
        r = -(p1 * c2 + p2 * c1) / (p1 + p2)
        assert (c1 + r) * (c2 + r) < 0
        assert p1 / (c1 + r) + p2 / (c2 + r) == pytest.approx(0.0, abs=1e-12)


def test_the_loss_is_the_mean_of_what_is_labelled_summed_over_aspects() -> None:
    where = context(POINTS, POSE, AGE)
    values = {k: v.clone() for k, v in VALUES.items()}
    values["points"][0, 1, 2] = 0.0
    values["points"][1, :, 2] = 0.0
    member = Regressor(loss="l1")
    outputs = streams.stream(3, "outputs", ids=N).normal(4 + 3 + 1)
    found = member.losses(list(where.schema), outputs, values)
    said = torch.tanh(outputs[:, :7])
    points = (said[:, :4] - POINTS.encode(values["points"])).abs()
    parts = [points.mean(1), (said[:, 4:7] - POSE.encode(values["pose"])).abs().mean(1)]
    parts.append((outputs[:, 7:] - values["age"]).abs().mean(1))
    expected = torch.stack(parts).sum(0)
    torch.testing.assert_close(found[2:], expected[2:])
    half = points[0, :2].mean() + parts[1][0] + parts[2][0]
    torch.testing.assert_close(found[0], half)
    torch.testing.assert_close(found[1], parts[1][1] + parts[2][1])


def test_what_is_not_labelled_gives_no_gradient() -> None:
    values = {"points": VALUES["points"].clone()}
    values["points"][:, 1, 2] = 0.0
    outputs = torch.full((N, 4), 0.4, requires_grad=True)
    Regressor().losses([POINTS], outputs, values).sum().backward()
    assert outputs.grad is not None
    assert bool((outputs.grad[:, :2] != 0).all())
    assert bool((outputs.grad[:, 2:] == 0).all())


def test_latents_are_noise_and_values() -> None:
    where = context(LABEL, POINTS, POSE)
    for latent in ("one-hot", "uniform"):
        var = Var(latent=latent, gain=3.0)  # type: ignore[arg-type]
        drawn = var.sample_latent(where, VALUES, streams.stream(0, "z", ids=N))
        assert drawn.shape == (N, 5 + 4 + 3) == (N, var.latent_width(where))
        torch.testing.assert_close(drawn[:, 5:9], 3 * POINTS.encode(VALUES["points"]))
        torch.testing.assert_close(drawn[:, 9:], 3 * POSE.encode(VALUES["pose"]))
        numbers = streams.stream(0, "z", ids=N)
        noise = numbers.normal(5) if latent == "one-hot" else numbers.uniform(5, -1.0, 1.0)
        assert torch.equal(drawn[:, :5], noise)
        assert var.noise_width(where) == (5 if latent == "one-hot" else 0)


@pytest.mark.parametrize("trains_on", ["real", "generated", "both"])
def test_what_trains_the_regressor(trains_on: Any) -> None:
    where = context(POSE)
    var = Var(trains_on=trains_on, loss="squared")
    beside = networks(var, where)
    real, fake = images("real"), images("fake").requires_grad_()
    other = {"pose": VALUES["pose"].flip(0)}
    loss, logs = var.auxiliary_loss(where, beside, real, fake, VALUES, other)
    assert loss is not None
    network = beside["regressor"]
    on_real = F.mse_loss(network(real).tanh(), POSE.encode(VALUES["pose"]))
    on_fake = F.mse_loss(network(fake).tanh(), POSE.encode(other["pose"]))
    wanted = {"real": on_real, "generated": on_fake, "both": (on_real + on_fake) / 2}
    torch.testing.assert_close(loss, wanted[trains_on])
    torch.testing.assert_close(logs["regressor_loss"], wanted[trains_on].detach())
    loss.backward()
    assert fake.grad is None
    assert var.auxiliary_sees_fake() == (trains_on != "real")


def test_generator_term_is_weighted_and_flows_through_the_regressor() -> None:
    where = context(POSE)
    var = Var(zeta=0.03, theta=0.97, loss="squared")
    beside = networks(var, where)
    network = beside["regressor"].requires_grad_(False)
    fake = images("fake").requires_grad_()
    term, logs = var.generator_terms(where, beside, {}, fake, OUTPUT, VALUES, torch.zeros(N))
    assert term is not None
    expected = F.mse_loss(network(fake).tanh(), POSE.encode(VALUES["pose"]))
    torch.testing.assert_close(term, 0.03 * expected)
    torch.testing.assert_close(logs["value_loss"], expected.detach())
    assert var.adversarial_weight() == 0.97
    term.backward()
    assert fake.grad is not None
    assert bool(fake.grad.any())


def test_together_is_the_sum_of_each_alone() -> None:
    """Classes alone give VAC and values alone VAR, to the bit; both give the sum of the terms."""
    vac, var = Vac(zeta=0.3), Var(zeta=0.5)
    both = VacVar(regressor=Regressor(zeta=0.5))
    fake, real = images("fake"), images("real")
    terms = {}
    for method, where in (
        (vac, context(LABEL)), (both, context(LABEL)), (var, context(POINTS)),
        (both, context(POINTS)), (both, context(LABEL, POINTS)),
    ):  # fmt: skip
        beside = networks(method, where)
        if len(where.schema) == 2:
            beside["regressor"] = networks(var, context(POINTS))["regressor"]
        term, _ = method.generator_terms(where, beside, {}, fake, OUTPUT, VALUES, torch.zeros(N))
        loss, _ = method.auxiliary_loss(where, beside, real, None, VALUES, VALUES)
        assert term is not None
        assert loss is not None
        kinds = "+".join(a.kind for a in where.schema)
        terms.setdefault(kinds, []).append((term.detach(), loss.detach()))
        assert method.adversarial_weight() == 1.0
        assert sorted(beside) == [
            {"category": "classifier", "landmarks": "regressor"}[a.kind] for a in where.schema
        ]
    for kinds in ("category", "landmarks"):
        (a, b), (c, d) = terms[kinds]
        assert torch.equal(a, c)
        assert torch.equal(b, d)
    for i in (0, 1):
        alone = terms["category"][0][i] + terms["landmarks"][0][i]
        torch.testing.assert_close(terms["category+landmarks"][0][i], alone)


def test_masks_have_a_segmenter_and_enter_by_cells() -> None:
    where = context(LABEL, PARTS)
    method = VacVar(grid=3, segmenter=Segmenter(zeta=0.5))
    method.check(where)
    drawn = method.sample_latent(where, VALUES, streams.stream(0, "z", ids=N))
    assert drawn.shape == (N, 5 + 3 + 9) == (N, method.latent_width(where))
    cells = VALUES["parts"].float().view(N, 3, 4, 3, 4).mean((2, 4))
    torch.testing.assert_close(drawn[:, 8:], cells.flatten(1))
    beside = networks(method, where)
    fake = images("fake").requires_grad_()
    term, logs = method.generator_terms(where, beside, {}, fake, OUTPUT, VALUES, torch.zeros(N))
    assert term is not None
    expected = F.cross_entropy(beside["segmenter"](fake), VALUES["parts"].long())
    torch.testing.assert_close(logs["mask_loss"], expected.detach())
    torch.testing.assert_close(term.detach(), (0.3 * logs["class_loss"] + 0.5 * expected).detach())


def test_what_lies_in_the_image_plane_may_enter_as_maps() -> None:
    where = context(LABEL, POINTS, PARTS)
    method = VacVar(enters="maps")
    method.check(where)
    assert method.generator_mode == "maps"
    latent = method.sample_latent(where, VALUES, streams.stream(0, "z", ids=N))
    assert latent.shape == (N, 5 + 3) == (N, method.latent_width(where))
    assert torch.equal(latent[:, 5:], F.one_hot(VALUES["label"], 3).float())
    inputs, maps = method.generator_inputs(where, latent, VALUES)
    assert inputs is latent
    assert maps is not None
    assert maps.shape == (N, 2 + 2, 12, 12)
    assert method.condition_width(where) == 4
    # a spot is brightest where its point is; a mask's planes are its classes
    brightest = maps[:, :2].flatten(2).argmax(2)
    column, row = VALUES["points"][..., 0].floor().long(), VALUES["points"][..., 1].floor().long()
    assert torch.equal(brightest, 12 * row + column)
    assert torch.equal(maps[:, 3], VALUES["parts"].float())
    # nothing is left for the latent, and what has no place has none
    alone = context(POINTS)
    latent = Var(enters="maps").sample_latent(alone, VALUES, streams.stream(0, "z", ids=N))
    assert latent.shape == (N, 5) == (N, Var(enters="maps").latent_width(alone))
    with pytest.raises(IncompatibleError, match="enters by maps lies in the image plane"):
        Var(enters="maps").check(context(POSE))


def test_a_critic_sees_the_maps_that_the_generator_is_given() -> None:
    method = Concatenation(enters="maps")
    where = context(*method.carried(Schema((LABEL, POINTS, PARTS))))
    real = images("real")
    seen, nothing = method.critic_inputs(where, real, VALUES)
    assert nothing is None
    assert seen.shape == (N, 1 + method.critic_channels(where), 12, 12)
    assert method.critic_channels(where) == 3 + 2 + 2, "classes, points, and a mask's classes"
    _, maps = method.generator_inputs(where, torch.zeros(N, 8), VALUES)
    assert maps is not None
    assert torch.equal(seen[:, 4:], maps)
    assert torch.equal(seen[:, 7], VALUES["parts"].float())
    flat = Concatenation().carried(Schema((LABEL, POINTS, PARTS)))
    assert [a.name for a in flat] == ["label", "points"], "a mask has no place in a latent"


def test_a_bounded_network_is_not_bounded_twice() -> None:
    member = Regressor(network="var-regressor")
    outputs = torch.tensor([[0.5, -0.5, 0.9, 0.0]])
    assert torch.equal(member.said([POINTS], outputs)[0], outputs)
    assert torch.equal(Regressor().said([POINTS], outputs)[0], outputs.tanh())
    Var(network="var-regressor").check(context(POINTS))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(IncompatibleError, match="landmarks or vector"):
        Var().check(context(LABEL))
    with pytest.raises(IncompatibleError, match="age, which has none"):
        Var(loss="symmetric").check(context(AGE))
    Var(loss="symmetric").check(context(POSE))
    with pytest.raises(IncompatibleError, match="age, which has no bounds"):
        Var(network="var-regressor").check(context(AGE))
    with pytest.raises(IncompatibleError, match="logits"):
        Vac(network="var-regressor").check(context(LABEL))
    with pytest.raises(IncompatibleError, match="reads landmarks off images; got pose, a vector"):
        Var(network="integral-regressor").check(context(POSE))
    with pytest.raises(IncompatibleError, match="is a regressor"):
        Var(network="unet").check(context(POSE))
    with pytest.raises(IncompatibleError, match="is a segmenter"):
        VacVar(segmenter=Segmenter(network="small-cnn")).check(context(PARTS))
    with pytest.raises(UsageError, match="zeta"):
        CONDITIONING.create({"name": "var", "zeta": -0.1})
    with pytest.raises(UsageError, match="grid"):
        replace(VacVar(), grid=0)
    with pytest.raises(UsageError, match="zeta"):
        CONDITIONING.create({"name": "vac-var", "regressor": {"zeta": -1.0}})

"""Heads, projections and codes against what defines them."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.conditioning.base import ConditioningContext
from augmint.conditioning.critic_side import PROJECTION, Acgan, InfoGan, Projection
from augmint.conditioning.latent import Concatenation
from augmint.core import streams
from augmint.core.errors import UsageError
from augmint.core.registry import CONDITIONING
from augmint.core.types import CriticOutput
from augmint.training.config import GanConfig
from augmint.training.game import build_game, choose

SCHEMA = Schema((Category("label", ("a", "b", "c")), Category("sex", ("f", "m"))))
CONTEXT = ConditioningContext(SCHEMA, (1, 8, 8), latent_dim=4)
VALUES = {"label": torch.tensor([0, 2, 1, 2]), "sex": torch.tensor([1, 0, 0, 1])}
OTHERS = {"label": torch.tensor([1, 1, 0, 2]), "sex": torch.tensor([1, 1, 1, 0])}


def draw(purpose: str, width: int, n: int = 4) -> Tensor:
    return streams.stream(7, purpose, ids=n).normal(width)


def said(purpose: str) -> CriticOutput:
    return CriticOutput(draw(purpose, 1)[:, 0], "score", draw(purpose + ".features", 6))


def built(method: Acgan | Projection | InfoGan) -> dict[str, nn.Module]:
    with streams.scope(0, "heads"):
        return dict(method.heads(CONTEXT, 6))


@pytest.mark.parametrize("name", ["concatenation", "acgan", "projection", "vac"])
@pytest.mark.parametrize("enters", ["latent", "conditional-norm", "modulation"])
def test_the_code_enters_once(name: str, enters: str) -> None:
    method = CONDITIONING.create({"name": name, "enters": enters})
    latent = method.sample_latent(CONTEXT, VALUES, streams.stream(0, "z", ids=4))
    inputs, condition = method.generator_inputs(CONTEXT, latent, VALUES)
    code = torch.cat((F.one_hot(VALUES["label"], 3), F.one_hot(VALUES["sex"], 2)), 1).float()
    if enters == "latent":
        assert method.generator_mode is None
        assert condition is None
        assert method.condition_width(CONTEXT) == 0
        assert torch.equal(inputs[:, 4:], code)
    else:
        assert method.generator_mode == enters
        assert condition is not None
        assert torch.equal(condition, code)
        assert method.condition_width(CONTEXT) == 5
        assert inputs.shape == (4, 4) == (4, method.latent_width(CONTEXT))
    assert torch.equal(inputs[:, :4], streams.stream(0, "z", ids=4).normal(4))


def test_concatenation_may_leave_the_critic_alone() -> None:
    images = torch.zeros(4, 1, 8, 8)
    alone = Concatenation(critic=False)
    assert alone.critic_channels(CONTEXT) == 0
    assert alone.critic_inputs(CONTEXT, images, VALUES)[0] is images


def test_acgan_losses_are_cross_entropies_of_one_head() -> None:
    method = Acgan(real_weight=2.0, fake_weight=0.5, generator_weight=3.0)
    heads = built(method)
    real, fake = said("real"), said("fake")

    def entropy(output: CriticOutput, values: dict[str, Tensor]) -> Tensor:
        logits = heads["class_head"](output.features)
        return F.cross_entropy(logits[:, :3], values["label"]) + F.cross_entropy(
            logits[:, 3:], values["sex"]
        )

    loss, _ = method.critic_terms(CONTEXT, heads, real, fake, VALUES, OTHERS)
    expected = 2.0 * entropy(real, VALUES) + 0.5 * entropy(fake, OTHERS)
    torch.testing.assert_close(loss, expected)
    term, _ = method.generator_terms(CONTEXT, {}, heads, fake.value, fake, OTHERS, fake.value)
    torch.testing.assert_close(term, 3.0 * entropy(fake, OTHERS))
    assert method.generator_phase_critic(heads, nn.Identity()) == []


def test_projection_recovers_the_log_ratio_of_class_likelihoods() -> None:
    """Miyato and Koyama, section 3: with log-linear q(y|x) and p(y|x) the score is their ratio."""
    method = Projection()
    heads = built(method)
    output = said("x")
    assert output.features is not None
    matrix = heads["projection"].weight.T  # one row a class or value
    changed = method.critic_value(CONTEXT, heads, output, VALUES)
    for i in range(4):
        own = matrix[VALUES["label"][i]] + matrix[3 + VALUES["sex"][i]]
        expected = output.value[i] + torch.dot(own, output.features[i])
        assert changed.value[i].item() == pytest.approx(expected.item(), abs=1e-6)
    cells = CriticOutput(output.value.view(4, 1, 1, 1).expand(4, 1, 2, 2), "map", output.features)
    by_map = method.critic_value(CONTEXT, heads, cells, VALUES)
    torch.testing.assert_close(by_map.value[:, 0, 1, 1], changed.value)


@pytest.mark.parametrize("normalisation", ["spectral", "none"])
def test_projection_is_normalised_where_its_critic_is(normalisation: str) -> None:
    critic = {"name": "dcgan-critic", "channels": 4, "normalisation": normalisation}
    config = GanConfig(critic=critic, conditioning="projection", batch=4)
    game = build_game(choose(config), CONTEXT, config, 0, torch.device("cpu"))
    with torch.no_grad():
        game.heads[PROJECTION].weight *= 3.0
        if normalisation == "spectral":
            game.heads[PROJECTION].settle(200)
        matrix = game.heads[PROJECTION](torch.eye(5)).T
    largest = float(torch.linalg.matrix_norm(matrix, 2))
    assert (largest == pytest.approx(1.0, abs=1e-4)) == (normalisation == "spectral")


def test_infogan_bounds_the_information_of_its_codes() -> None:
    """E log Q(c|x) + H(c) is H(c) for a sure and right Q, and 0 for one that ignores the image."""
    method = InfoGan(categories=(4,), continuous=0)
    latent = method.sample_latent(CONTEXT, {}, streams.stream(0, "z", ids=4000))
    assert latent.shape == (4000, 8)
    codes = latent[:, 4:].argmax(1)
    assert torch.equal(latent[:, 4:].sum(1), torch.ones(4000))
    # 1000 expected of each, standard deviation 27; five of them
    assert (torch.bincount(codes, minlength=4) - 1000).abs().max() < 137
    head = nn.Linear(4, 4)
    nn.init.zeros_(head.bias)

    def bound(scale: float) -> float:
        nn.init.eye_(head.weight)
        head.weight.data *= scale
        features = F.one_hot(codes, 4).float()
        output = CriticOutput(torch.zeros(4000), "score", features)
        loss, _ = method.generator_terms(
            CONTEXT, {}, {"code_head": head}, features, output, {}, latent
        )
        assert loss is not None
        return math.log(4) - loss.item()

    assert bound(50.0) == pytest.approx(math.log(4), abs=1e-5)
    assert bound(0.0) == pytest.approx(0.0, abs=1e-6)


def test_infogan_trains_its_head_with_the_generator() -> None:
    method = InfoGan(categories=(3, 2), continuous=2, continuous_weight=0.5)
    heads = built(method)
    owned = method.generator_phase_critic(heads, nn.Identity())
    assert [p.shape for p in owned] == [(7, 6), (7,)]
    latent = method.sample_latent(CONTEXT, {}, streams.stream(0, "z", ids=4))
    assert float(latent[:, -2:].abs().max()) <= 1.0
    output = said("fake")
    loss, logs = method.generator_terms(CONTEXT, {}, heads, output.value, output, {}, latent)
    found = heads["code_head"](output.features)
    entropy = F.cross_entropy(found[:, :3], latent[:, 4:7].argmax(1))
    entropy = entropy + F.cross_entropy(found[:, 3:5], latent[:, 7:9].argmax(1))
    error = 0.5 * (found[:, 5:] - latent[:, 9:]).square().sum(1).mean()
    torch.testing.assert_close(loss, entropy + 0.5 * error)
    assert set(logs) == {"code_entropy", "code_error"}


@pytest.mark.parametrize("wrong", [{"categories": [1]}, {"categories": [], "continuous": 0}])
def test_infogan_without_a_code_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="code"):
        CONDITIONING.create({"name": "infogan", **wrong})


def test_a_critic_without_features_is_named() -> None:
    bare = CriticOutput(torch.zeros(4))
    heads = built(Acgan())
    with pytest.raises(UsageError, match="features"):
        Acgan().critic_terms(CONTEXT, heads, bare, bare, VALUES, VALUES)
    with pytest.raises(UsageError, match="features"):
        Projection().critic_value(CONTEXT, heads, bare, VALUES)

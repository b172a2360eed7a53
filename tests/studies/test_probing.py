"""The linear classifier against scikit-learn, the divergence's bound against exact distributions,
and what is read off the networks of a training run."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.preprocessing import StandardScaler

from augmint.core.errors import UsageError
from augmint.core.registry import CONDITIONING
from augmint.core.types import to_float
from augmint.data.ingest import ingest
from augmint.data.splits import stratified
from augmint.data.table import Table
from augmint.studies.critics import (
    Players,
    classifier_accuracy,
    classifier_refusal,
    has_classifier,
    save_players,
    train_classifier,
    trained_groups,
)
from augmint.studies.probing import STRENGTHS, divergence_bound, linear_probe, ridge
from augmint.studies.steps import training_images
from augmint.training.batches import Batches
from augmint.training.config import GanConfig


@pytest.mark.parametrize("width", [3, 12, 400])
def test_a_linear_probe_is_a_ridge_classifier_of_standardised_features(width: int) -> None:
    """Tall and wide; one feature never changes and one has another unit."""
    draws = np.random.default_rng(width)
    labels = draws.integers(0, 3, 260)
    means = draws.normal(size=(3, width)) * 2.0 / math.sqrt(width)
    x = draws.normal(size=(260, width)) + means[labels]
    x[:, 0] = 5.0
    x[:, 1] *= 1000.0
    train, test = np.arange(200), np.arange(200, 260)

    def peer(fit: np.ndarray, held: np.ndarray, strength: float) -> float:
        scaler = StandardScaler().fit(x[fit])
        ridge = RidgeClassifier(alpha=strength * len(fit))
        ridge.fit(scaler.transform(x[fit]), labels[fit])
        return float(ridge.score(scaler.transform(x[held]), labels[held]))

    fit, held = stratified(labels[train], 0.2, 1, "probe.strength")
    scores = {a: peer(train[fit], train[held], a) for a in STRENGTHS}
    best = max(STRENGTHS, key=lambda a: (scores[a], -a))
    found = linear_probe(x[train], labels[train], x[test], labels[test], seed=1)
    assert (found.strength, found.rows, found.width) == (best, 200, width)
    assert found.accuracy == peer(train, test, best)
    assert 0.4 < found.accuracy < 1.0


@pytest.mark.parametrize("width", [5, 80])
def test_ridge_solves_its_normal_equations(width: int) -> None:
    """The gradient of `|X W - Y|^2 + a |W|^2` vanishes, whichever of the two forms is solved."""
    draws = torch.Generator().manual_seed(width)
    x = torch.randn(40, width, generator=draws, dtype=torch.float64)
    y = torch.randn(40, 3, generator=draws, dtype=torch.float64)
    found = ridge(x, y, 2.5)
    torch.testing.assert_close(x.T @ (x @ found - y) + 2.5 * found, torch.zeros_like(found))


def test_a_probe_of_noise_is_at_chance_and_needs_two_classes() -> None:
    draws = np.random.default_rng(0)
    x, labels = draws.normal(size=(900, 20)), draws.integers(0, 3, 900)
    found = linear_probe(x[:500], labels[:500], x[500:], labels[500:])
    assert abs(found.accuracy - 1 / 3) < 4 * math.sqrt(2 / 9 / 400)
    with pytest.raises(UsageError, match="2 classes"):
        linear_probe(x, np.zeros(900, np.int64), x, labels)


COUNTS = np.array([[6, 3, 1, 0], [1, 7, 1, 1], [2, 2, 2, 4]])
"""Images of three classes over four symbols."""


def _entropy(p: np.ndarray) -> float:
    return float(-(p[p > 0] * np.log(p[p > 0])).sum())


def test_the_best_classifiers_bound_is_the_divergence() -> None:
    p = COUNTS / 10.0
    exact = _entropy(p.mean(0)) - float(np.mean([_entropy(row) for row in p]))
    labels = np.repeat(np.arange(3), 10)
    symbols = np.concatenate([np.repeat(np.arange(4), row) for row in COUNTS])
    best = (p / p.sum(0)).T[symbols]
    found = divergence_bound(best, labels)
    assert found.bound == pytest.approx(exact, abs=1e-12)
    assert found.most == math.log(3)
    # one class ten times as often: weights of classes stay equal
    repeats = np.where(labels == 0, 10, 1)
    often = divergence_bound(np.repeat(best, repeats, axis=0), np.repeat(labels, repeats))
    assert often.bound == pytest.approx(exact, abs=1e-12)
    draws = np.random.default_rng(0)
    for _ in range(20):
        other = draws.dirichlet(np.ones(3), 4)[symbols]
        assert divergence_bound(other, labels).bound < exact
    assert divergence_bound(np.full((30, 3), 1 / 3), labels).bound == pytest.approx(0.0)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return ingest("digits", tmp_path_factory.mktemp("tables"))


GAN = GanConfig(
    generator={"name": "dcgan-generator", "channels": 4},
    critic={"name": "dcgan-critic", "channels": 8},
    conditioning={"name": "vac", "network": {"name": "small-cnn", "channels": 8}},
    augment=None,
    auxiliary_augment=None,
    latent_dim=4,
    batch=32,
    steps=60,
    critic_rate=2e-3,
    betas=(0.5, 0.999),
    auxiliary_rate=5e-3,
)


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("conditioning", [GAN.conditioning, "acgan"])
def test_a_classifier_trained_alone_learns_and_leaves_the_rest(
    table: Table, conditioning: Any, tmp_path: Path
) -> None:
    gan = replace(GAN, conditioning=conditioning)
    data = training_images(table, np.arange(1200))
    start = Players.build(gan, table.schema, table.shape, 3)
    alone = train_classifier(gan, data, table.schema, 3)
    assert same(alone.game.generator, start.game.generator)
    assert same(alone.game.critic, start.game.critic) == (conditioning != "acgan")
    test, labels = np.array(table.images[1200:]), table.labels()[1200:]
    assert classifier_accuracy(alone, test, labels) > 0.6 > classifier_accuracy(start, test, labels)
    save_players(alone.game, tmp_path / "players.safetensors")
    again = start.load(tmp_path / "players.safetensors")
    np.testing.assert_array_equal(
        again.class_probabilities(test, "label"), alone.class_probabilities(test, "label")
    )


def test_a_classifier_alone_is_given_what_its_run_is_asked_for(tmp_path: Path) -> None:
    faces = ingest("{name: toy-faces, images: 64}", tmp_path, size=(16, 16))
    gan = replace(GAN, carries=("label",), auxiliary_augment="affine", steps=2)
    alone = train_classifier(gan, training_images(faces, np.arange(64)), faces.schema, 3)
    assert [a.name for a in alone.game.context.schema] == ["label"]


@pytest.mark.parametrize("conditioning", [GAN.conditioning, "acgan"])
def test_finding_what_a_class_loss_reaches_changes_nothing(table: Table, conditioning: Any) -> None:
    gan = replace(GAN, conditioning=conditioning)
    data = training_images(table, np.arange(200))
    tried, start = (Players.build(gan, table.schema, table.shape, 3) for _ in range(2))
    batches = Batches(data, table.schema, gan, 3, tried.game.device)
    names = {g.name for g in trained_groups(tried, batches, gan)}
    assert names == ({"critic", "heads"} if conditioning == "acgan" else {"auxiliaries"})
    for part in ("critic", "heads", "auxiliaries"):
        assert same(getattr(tried.game, part), getattr(start.game, part))
        assert all(p.grad is None for p in getattr(tried.game, part).parameters())


def test_a_critics_features_are_those_of_its_forward_pass(table: Table) -> None:
    players = Players.build(GAN, table.schema, table.shape, 0)
    images = np.array(table.images[:75])
    critic = players.game.critic
    before = critic.training
    with torch.no_grad():
        direct = critic.eval()(to_float(torch.from_numpy(images))).features
    critic.train(before)
    np.testing.assert_allclose(players.features(images), direct.numpy(), atol=1e-5)
    assert critic.training == before


def test_a_critic_that_is_given_the_class_has_no_features_of_an_image(table: Table) -> None:
    assert Players.build(GAN, table.schema, table.shape, 0).refusal() is None
    given = [
        name
        for name in CONDITIONING.names()
        if (member := CONDITIONING.create(name)).critic_mode is not None
        or member.critic_channels(Players.build(GAN, table.schema, table.shape, 0).game.context)
    ]
    for name in given:
        gan = replace(GAN, conditioning=name)
        if CONDITIONING.create(name).critic_mode is None:
            players = Players.build(gan, table.schema, table.shape, 0)
            assert "given the class" in str(players.refusal())
    alone = replace(GAN, critic=None)
    assert "without a critic" in str(classifier_refusal(alone, table.schema))
    own = {n for n in CONDITIONING.names() if has_classifier(CONDITIONING.create(n))}
    assert {"vac", "acgan"} <= own
    assert not {"none", "concatenation", "projection"} & own

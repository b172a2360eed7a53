"""The benchmark of ideas: nothing that scores was trained on, and each idea is what it says."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from augmint.minting.nearness import distances
from augmint.studies.rows import Rows

if TYPE_CHECKING:
    from tests.conftest import TinyStudy


@pytest.fixture(scope="module")
def ideas() -> ModuleType:
    return importlib.import_module("ideas")


@pytest.fixture(scope="module")
def repetition(ideas: ModuleType, tiny_study: TinyStudy) -> Any:
    return ideas.Repetition(ideas.Study(tiny_study.folder), 1)


def test_what_scores_was_never_trained_on_and_is_no_test_image(
    ideas: ModuleType, tiny_study: TinyStudy
) -> None:
    real = ideas.Study(tiny_study.folder).scored()
    splits = list((tiny_study.folder / "stages").glob("split-*/rows.npz"))
    assert len(splits) >= 4, "two repetitions and the pilots"
    assert len(real) > 10
    for path in splits:
        rows = Rows.load(path)
        for part in (rows.train, rows.held_out, rows.test):
            assert not np.intersect1d(real.ids, part).size


def test_the_annealed_share_falls_from_a_half_to_nothing(
    ideas: ModuleType, repetition: Any
) -> None:
    task, counts = repetition.study.task, ideas.anneal(repetition).counts
    assert counts.shape == (task.steps, 2)
    assert (counts.sum(1) == task.batch).all()
    assert (counts >= 0).all()
    assert counts[0, 1] == task.batch // 2
    assert counts[-1, 1] <= 1
    assert counts[:, 1].mean() == pytest.approx(task.batch / 4, abs=1)
    trained = repetition.fit(ideas.anneal(repetition), repetition.seed)
    seen = [v["views"] * v["images"] for v in trained.views]
    assert seen == pytest.approx(counts.sum(0).tolist())


def test_wider_latents_leave_the_class_alone(ideas: ModuleType, repetition: Any) -> None:
    same, wide = (repetition.mint("x", 3, raw=True, scale=s) for s in (1.0, 1.5))
    assert np.array_equal(same.ids, wide.ids)
    assert not np.array_equal(same.images, wide.images)
    sampler = ideas.Wide(torch.nn.Identity(), Latent(), Latent())
    sampler.scale = 1.5
    drawn = sampler.latents({}, np.arange(4), 0)
    assert drawn[:, :3].eq(1.5).all()
    assert drawn[:, 3:].eq(1.0).all()


class Latent:
    """Stands for a generator, its conditioning and its context: latents of ones, z the first 3."""

    latent_dim = 3

    def sample_latent(self, *_: Any) -> Any:
        return torch.ones(4, 5)


def test_spread_images_are_farther_apart_than_any_image_left_is_from_them(
    ideas: ModuleType, repetition: Any
) -> None:
    pool = repetition.mint("pool", 4 * repetition.wanted)
    kept = np.isin(pool.ids, ideas.spread(repetition).sources[-1].ids)
    features = repetition.judge.features(pool.images)
    real = repetition.judge.features(repetition.study.table.images[repetition.train])
    for label in range(10):
        here = pool.values["label"] == label
        centres = np.concatenate([real[repetition.labels == label], features[here & kept]])
        assert (here & kept).sum() == repetition.wanted
        apart = distances(features[here & kept], centres)
        apart[apart < 1e-6] = np.inf  # itself
        assert apart.min() >= distances(features[here & ~kept], centres).min(1).max()


class Accepting:
    """Gives each image of a pool its own class, but for every third one."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        said = np.where(np.arange(len(labels)) % 3 == 0, (labels + 1) % 10, labels)
        self.said = {i.tobytes(): label for i, label in zip(images, said, strict=True)}

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        return np.eye(10)[[self.said[i.tobytes()] for i in images]]


def test_hard_images_are_accepted_by_others_and_doubted_by_classic(
    ideas: ModuleType, repetition: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def claimed(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        p = repetition.classic.probabilities(images)
        return p[np.arange(len(p)), labels]

    pool = repetition.mint("rawpool", 4 * repetition.wanted, raw=True)
    labels = pool.values["label"]
    judge = Accepting(pool.images, labels)
    monkeypatch.setitem(repetition.__dict__, "others", [judge])
    kept = np.isin(pool.ids, ideas.hard(repetition).sources[-1].ids)
    accepted = judge.probabilities(pool.images).argmax(1) == labels
    p = claimed(pool.images, labels)
    for label in range(10):
        here = labels == label
        assert (kept & here).sum() == repetition.wanted
        assert accepted[kept & here].all()
        left = here & accepted & ~kept
        assert p[kept & here].max() <= p[left].min()


def test_images_between_classes_carry_probabilities(ideas: ModuleType, repetition: Any) -> None:
    real, made = ideas.between(repetition).sources
    assert made.values["label"].shape == (len(made), 10)
    assert np.allclose(made.values["label"].sum(1), 1, atol=1e-5)
    assert (real.values["label"].argmax(1) == repetition.labels).all()
    repetition.fit(ideas.between(repetition), 0)


def test_it_prints_a_line_an_idea(
    ideas: ModuleType,
    tiny_study: TinyStudy,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["ideas.py", str(tiny_study.folder), "--ideas", "minted,eighth", "--seeds", "2"]
    monkeypatch.setattr(sys, "argv", words)
    ideas.main()
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("seed ") for line in lines) == 4
    assert lines[-2].startswith("minted ")
    assert lines[-1].startswith("eighth ")
    assert "within-class MSE 0." in lines[-1]

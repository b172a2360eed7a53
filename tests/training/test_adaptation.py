"""Adaptive augmentation in a game: what it needs, and that its state is the run's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from augmint.aspects.base import Schema
from augmint.core.errors import IncompatibleError, InterruptedRunError
from augmint.training.batches import TrainingImages
from augmint.training.compatibility import check_compatible
from augmint.training.config import GanConfig
from augmint.training.gan import GanTraining

ENERGY = {"critic": {"name": "began-critic", "channels": 4}, "objective": "began"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (ENERGY, r"ada follows.*began-critic, which gives energy.*fixed p.*dcgan-critic"),
        ({"objective": "wasserstein"}, r"ada.*wasserstein.*fixed p.*hinge"),
        ({"objective": "relativistic"}, r"ada.*relativistic.*fixed p.*non-saturating"),
        ({"augment": None, "auxiliary_augment": "ada"}, "auxiliary_augment has no critic.*ada"),
    ],
)
def test_without_a_sign_to_follow_only_a_fixed_p_goes(
    changes: dict[str, object], told: str, tiny: Callable[..., GanConfig], schema: Schema
) -> None:
    shape = (1, 16, 16)
    with pytest.raises(IncompatibleError, match=told):
        check_compatible(tiny(**{"augment": "ada", **changes}), schema, shape)
    fixed = {"name": "ada", "p": 0.4}
    which = "auxiliary_augment" if "auxiliary_augment" in changes else "augment"
    check_compatible(tiny(**{**changes, which: fixed}), schema, shape)


OBJECTIVES = ("minimax", "non-saturating", {"name": "least-squares", "real_label": 0.9}, "hinge")


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_resumed_with_adaptation_equals_straight(
    objective: object,
    tiny: Callable[..., GanConfig],
    data: TrainingImages,
    schema: Schema,
    tmp_path: Path,
) -> None:
    config = tiny(
        objective=objective,
        augment={"name": "ada", "kimg": 0.03, "interval": 2, "target": -1.0},
        generator_interval=2 if objective == "hinge" else 1,
    )
    straight = GanTraining(config, data, schema, 5)
    expected = straight.run(progress=False)
    assert float(straight.game.state["augment"]["p"]) > 0.5
    asked = iter([False] * 4 + [True])
    with pytest.raises(InterruptedRunError):
        GanTraining(config, data, schema, 5, tmp_path).run(progress=False, stop=lambda: next(asked))
    second = GanTraining(config, data, schema, 5, tmp_path)
    got = second.run(progress=False)
    assert got.generator_digest == expected.generator_digest
    ours, theirs = (t.guard.parts.save()[0] for t in (straight, second))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)
    plain = GanTraining(tiny(objective=objective, augment=None), data, schema, 5)
    assert plain.run(progress=False).generator_digest != expected.generator_digest


def test_p_rises_where_the_critic_learns_a_few_images_by_heart(
    tiny: Callable[..., GanConfig], data: TrainingImages, schema: Schema
) -> None:
    config = tiny(
        augment={"name": "ada", "kimg": 0.6},
        conditioning="none",
        critic={"name": "dcgan-critic", "channels": 8, "normalisation": "none"},
        objective="non-saturating",
        critic_rate=2e-3,
        generator_rate=1e-5,
        batch=8,
        steps=120,
    )
    training = GanTraining(config, data, schema, 1)
    training.recorder.interval = 20
    logs = training.run(progress=False).logs
    assert logs[0]["augment_p"] < 0.1
    assert logs[-1]["augment_p"] > 0.3
    assert max(row["real_sign"] for row in logs) > 0.6

"""Falling rates, clipped weights and the auxiliaries' optimiser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.optim import SGD

from augmint.aspects.base import Schema
from augmint.core.errors import InterruptedRunError, UsageError
from augmint.training.batches import TrainingImages
from augmint.training.config import GanConfig
from augmint.training.gan import GanTraining
from augmint.training.rates import linear_factor

Tiny = Callable[..., GanConfig]


def rates(training: GanTraining) -> dict[str, float]:
    return {name: g.optimiser.param_groups[0]["lr"] for name, g in training.groups.items()}


def test_rates_fall_in_a_line_to_the_last_step(
    tiny: Tiny, data: TrainingImages, schema: Schema
) -> None:
    config = tiny(steps=8, decay_from=0.5, critic_rate=0.4, generator_rate=0.2, auxiliary_rate=0.1)
    training = GanTraining(config, data, schema, 1)
    seen: dict[int, dict[str, float]] = {}
    for phase in training.phases:  # first of all hooks: what the step was made with
        phase.after.insert(0, lambda step: seen.setdefault(step, rates(training)))
    training.run(progress=False)
    for step in range(1, 9):
        factor = {5: 1.0, 6: 0.75, 7: 0.5, 8: 0.25}.get(step, 1.0)
        assert linear_factor(step, 8, 0.5) == factor
        given = {"critic": 0.4, "generator": 0.2, "auxiliary.classifier": 0.1}
        assert seen[step] == pytest.approx({k: v * factor for k, v in given.items()})


def test_a_phase_with_an_interval_has_the_rate_of_its_own_steps(
    tiny: Tiny, data: TrainingImages, schema: Schema
) -> None:
    config = tiny(steps=12, decay_from=0.5, generator_interval=3, generator_rate=0.6)
    training = GanTraining(config, data, schema, 1)
    seen = {}
    generator = training.phases[-1]
    generator.after.insert(0, lambda step: seen.__setitem__(step, rates(training)["generator"]))
    training.run(progress=False)
    assert seen == pytest.approx({t: 0.6 * linear_factor(t, 12, 0.5) for t in (3, 6, 9, 12)})


def test_a_decaying_run_resumes_exactly(
    tiny: Tiny, data: TrainingImages, schema: Schema, tmp_path: Path
) -> None:
    config = tiny(steps=8, decay_from=0.25, auxiliary_optimiser="nesterov")
    whole = GanTraining(config, data, schema, 1).run(progress=False)
    asked = iter([False] * 4 + [True])
    with pytest.raises(InterruptedRunError):
        GanTraining(config, data, schema, 1, tmp_path).run(False, stop=lambda: next(asked))
    again = GanTraining(config, data, schema, 1, tmp_path).run(progress=False)
    assert again.generator_digest == whole.generator_digest


def test_the_critics_weights_stay_within_the_bound(
    tiny: Tiny, data: TrainingImages, schema: Schema
) -> None:
    critic = {"name": "dcgan-critic", "channels": 4, "normalisation": "none"}
    config = tiny(critic=critic, objective="wasserstein", critic_clip=0.01, steps=3)
    training = GanTraining(config, data, schema, 1)
    training.run(progress=False)
    largest = max(float(p.detach().abs().max()) for p in training.game.critic_parameters)
    assert largest == pytest.approx(0.01)
    assert max(float(p.detach().abs().max()) for p in training.game.generator.parameters()) > 0.01


def test_nesterov_is_the_look_ahead_step(tiny: Tiny, data: TrainingImages, schema: Schema) -> None:
    config = tiny(auxiliary_optimiser="nesterov", auxiliary_rate=0.1)
    optimiser = GanTraining(config, data, schema, 1).groups["auxiliary.classifier"].optimiser
    assert isinstance(optimiser, SGD)
    weight = torch.nn.Parameter(torch.tensor(1.0))
    optimiser.param_groups[0]["params"] = [weight]
    velocity, expected = 0.0, 1.0
    for _ in range(3):
        weight.grad = weight.detach().clone()  # of w² / 2
        velocity = 0.9 * velocity + expected
        expected -= 0.1 * (expected + 0.9 * velocity)
        optimiser.step()
        assert float(weight.detach()) == pytest.approx(expected)


@pytest.mark.parametrize("wrong", [{"critic_clip": -1.0}, {"decay_from": 1.5}])
def test_values_out_of_range_are_refused(tiny: Tiny, wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        tiny(**wrong)

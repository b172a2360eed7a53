from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from augmint.core.errors import TrainingDivergedError
from augmint.core.types import Logs
from augmint.training.guard import Guard, GuardRules, batch_diversity
from augmint.training.loop import run_phases
from augmint.training.phases import Group, Phase
from augmint.training.recorder import Recorder
from augmint.training.state import ModulePart, OptimiserPart, Parts


class Toy(Phase):
    """Pulls a weight to 0; turns to NaN at a step, as long as the rate is above a bound."""

    def __init__(self, nan_at: int = -1, bound: float = 0.0) -> None:
        self.module = nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.module.weight)
        self.optimiser = torch.optim.SGD(self.module.parameters(), 0.1)
        super().__init__("toy", [Group("toy", [self.module.weight], self.optimiser)])
        self.nan_at, self.bound = nan_at, bound
        self.parts = Parts(module=ModulePart(self.module), optimiser=OptimiserPart(self.optimiser))

    def losses(self, step: int) -> tuple[Mapping[str, Tensor], Logs]:
        loss = self.module.weight.square().sum()
        if step == self.nan_at and self.optimiser.param_groups[0]["lr"] > self.bound:
            loss = loss * float("nan")
        return {"toy": loss}, {}


def test_a_planted_nan_is_undone_at_half_the_rate() -> None:
    toy = Toy(nan_at=17, bound=0.06)
    guard = Guard(toy.parts, [toy.optimiser])
    result = run_phases([toy], 30, recorder=Recorder(10), guard=guard)
    # 10 steps of w <- 0.8 w (kept at 10), then 20 of w <- 0.9 w
    torch.testing.assert_close(toy.module.weight.detach(), torch.tensor([[0.8**10 * 0.9**20]]))
    assert toy.optimiser.param_groups[0]["lr"] == 0.05
    assert [e["event"] for e in result.events] == ["restored"]
    assert result.events[0]["kept"] == 10
    assert [h["step"] for h in result.history] == [10, 20, 30]
    json.dumps(result.history, allow_nan=False)


def test_a_nan_that_stays_stops_the_run_with_a_remedy() -> None:
    toy = Toy(nan_at=17)
    guard = Guard(toy.parts, [toy.optimiser], GuardRules(restores=2))
    with pytest.raises(TrainingDivergedError, match=r"restored 2 times.*critic_rate"):
        run_phases([toy], 30, recorder=Recorder(10), guard=guard)


def test_a_tensor_that_is_not_finite_is_found_and_named() -> None:
    toy = Toy()
    guard = Guard(toy.parts, [toy.optimiser], GuardRules(restores=0))
    guard.start(0)
    assert guard.look(1, {"loss": 1.0}) == "good"
    with torch.no_grad():
        toy.module.weight.fill_(float("inf"))
    with pytest.raises(TrainingDivergedError, match="module:weight"):
        guard.look(2, {"loss": 1.0})


def test_a_planted_collapse_stops_and_keeps_the_last_good_snapshot() -> None:
    toy = Toy()
    varied = {"value": 1.0}
    toy.after.append(lambda step: varied.update(value=1.0 if step <= 25 else 0.01))
    rules = GuardRules(fraction=0.2, strikes=3, warm_up=10)
    guard = Guard(toy.parts, [toy.optimiser], rules, lambda: varied["value"], real_diversity=1.0)
    result = run_phases([toy], 1000, recorder=Recorder(10), guard=guard)
    assert (result.stopped, result.step, result.kept) == ("collapsed", 50, 20)
    torch.testing.assert_close(toy.module.weight.detach(), torch.tensor([[0.8**20]]))


def test_one_doubtful_look_is_forgiven_and_warm_up_does_not_count() -> None:
    toy = Toy()
    values = iter([0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0])
    rules = GuardRules(strikes=2, warm_up=30)
    guard = Guard(toy.parts, [toy.optimiser], rules, lambda: next(values), real_diversity=1.0)
    result = run_phases([toy], 70, recorder=Recorder(10), guard=guard)
    assert (result.stopped, result.step, result.kept) == ("done", 70, 60)


def test_guard_state_travels_with_its_snapshot() -> None:
    toy = Toy()
    guard = Guard(toy.parts, [toy.optimiser], GuardRules(strikes=2, warm_up=0), lambda: 0.0, 1.0)
    guard.start(0)
    good = toy.module.weight.detach().clone()
    run = [toy]
    toy.after.append(lambda step: setattr(guard, "step", step))
    run_phases(run, 5)
    assert guard.look(5, {}) == "doubtful"
    tensors, plain = guard.save()
    other = Toy()
    copy = Guard(other.parts, [other.optimiser], GuardRules(strikes=2, warm_up=0), lambda: 0.0, 1.0)
    copy.load(tensors, json.loads(json.dumps(plain)))
    assert (copy.strikes, copy.good_step, copy.step) == (1, 0, 5)
    assert copy.look(6, {}) == "collapsed"
    assert copy.rewind() == 0
    assert torch.equal(other.module.weight, good)


def test_batch_diversity_against_numpy() -> None:
    images = torch.randn(16, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    assert batch_diversity(images) == pytest.approx(float(images.numpy().std(0).mean()), rel=1e-5)
    assert batch_diversity(images[:1].expand(5, -1, -1, -1)) == 0.0


def test_where_convergence_is_measured_the_best_state_is_kept() -> None:
    toy = Toy()
    guard = Guard(toy.parts, [toy.optimiser], converges="distance")
    guard.start(0)
    for step, distance in ((100, 3.0), (200, 1.0), (300, 2.0)):
        with torch.no_grad():
            toy.module.weight.fill_(step)
        assert guard.look(step, {"distance": distance}) == "good"
    resumed = Toy()
    copy = Guard(resumed.parts, [resumed.optimiser], converges="distance")
    resumed.parts.load(*toy.parts.save())
    copy.load(*guard.save())
    for each, watched in ((guard, toy), (copy, resumed)):
        assert each.look(400, {"distance": 1.5}) == "good"
        assert each.rewind() == 200
        assert float(watched.module.weight.flatten()[0].detach()) == 200.0

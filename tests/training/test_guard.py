from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from augmint.core.errors import TrainingDivergedError
from augmint.core.streams import stream
from augmint.core.types import Logs
from augmint.metrics.frechet import frechet
from augmint.training.guard import Guard, GuardRules, batch_diversity
from augmint.training.loop import run_phases
from augmint.training.phases import Group, Phase
from augmint.training.recorder import Recorder
from augmint.training.sketch import sketch
from augmint.training.state import DictPart, ModulePart, OptimiserPart, Parts


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


def test_parts_without_floating_tensors_are_finite() -> None:
    counter = Parts(counter=DictPart({"seen": torch.tensor(3), "none": torch.zeros(0)}))
    for parts in (Parts(), counter):
        guard = Guard(parts, ())
        guard.start(0)
        assert guard.look(1, {"loss": 1.0}) == "good"


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


def far(*distances: float, **rules: float) -> Guard:
    """A guard that has looked at these distances, one each 10 steps, a weight of that many."""
    toy = Toy()
    values = iter(distances)
    guard = Guard(
        toy.parts,
        [toy.optimiser],
        GuardRules(warm_up=0, **rules),  # type: ignore[arg-type]
        distance=lambda: next(values),
    )
    guard.start(0)
    for step in range(10, 10 * len(distances) + 1, 10):
        with torch.no_grad():
            toy.module.weight.fill_(step)
        if guard.look(step, {}) == "collapsed":
            break
    return guard


def test_a_state_is_kept_while_it_is_about_as_near_as_any_before() -> None:
    assert far(4.0, 2.0, 2.08, 2.2, 3.9, slack=0.05).good_step == 30
    assert far(4.0, 2.0, 2.08, 2.2, 3.9, slack=0.2).good_step == 40
    better = far(4.0, 2.0, 3.9, 1.0, slack=0.05)
    assert (better.good_step, better.strikes, better.least) == (40, 0, 1.0)
    assert better.rewind() == 40
    gone = far(4.0, 2.0, 3.0, slack=0.05)
    assert gone.rewind() == 20
    weight = gone.parts.save()[0]["module:weight"]
    assert float(weight) == 20.0
    assert far(0.0, 0.0, 0.0).good_step == 30


def test_a_run_that_leaves_the_real_images_for_good_is_stopped() -> None:
    lost = far(1.0, 2.5, 1.5, 2.1, 2.2, 9.0, 1.0, lost=2.0, strikes=3)
    assert lost.collapsed
    assert (lost.step, lost.good_step) == (60, 10)
    assert not far(1.0, 2.5, 2.5, 1.9, 2.5, 2.5, lost=2.0, strikes=3).collapsed


def test_in_the_warm_up_the_nearest_is_kept_and_nothing_strikes() -> None:
    toy = Toy()
    values = iter([5.0, 2.0, 50.0, 60.0, 70.0])
    rules = GuardRules(warm_up=40, strikes=2)
    guard = Guard(toy.parts, [], rules, distance=lambda: next(values))
    guard.start(0)
    looks = [guard.look(step, {}) for step in (10, 20, 30, 40, 50)]
    assert looks == ["good", "good", "good", "doubtful", "collapsed"]
    assert guard.good_step == 20


def test_images_that_are_alike_replace_no_varied_ones_even_in_the_warm_up() -> None:
    toy = Toy()
    values = iter([0.0, 0.1, 1.0, 0.0, 0.1])
    guard = Guard(toy.parts, [], GuardRules(warm_up=1000), lambda: next(values), 1.0)
    guard.start(0)
    kept = []
    for step in (10, 20, 30, 40, 50):
        guard.look(step, {})
        kept.append(guard.good_step)
    assert kept == [10, 20, 30, 30, 30]
    assert guard.varied


@pytest.mark.parametrize("converges", [None, "m"])
def test_the_first_varied_state_replaces_those_that_are_alike(converges: str | None) -> None:
    """However near, or converged, the images that were all the same seemed to be."""
    toy = Toy()
    varied, far = iter([0.0, 1.0, 0.0, 1.0]), iter([0.1, 4.0, 0.1, 3.9])
    guard = Guard(
        toy.parts,
        [],
        GuardRules(warm_up=1000),
        lambda: next(varied),
        1.0,
        converges,
        lambda: next(far),
    )
    guard.start(0)
    kept = []
    for step, m in ((10, 1.0), (20, 9.0), (30, 1.0), (40, 8.0)):
        guard.look(step, {"m": m})
        kept.append(guard.good_step)
    assert kept == [10, 20, 20, 40]


def test_the_least_distance_travels() -> None:
    guard = far(3.0, 2.0, 5.0)
    toy = Toy()
    toy.parts.load(*guard.parts.save())
    copy = Guard(toy.parts, [], GuardRules(warm_up=0), distance=lambda: 2.05)
    tensors, plain = guard.save()
    copy.load(tensors, json.loads(json.dumps(plain, allow_nan=False)))
    assert (copy.least, copy.strikes, copy.good_step) == (2.0, 1, 20)
    assert copy.look(40, {}) == "good"
    assert (copy.good_step, copy.strikes) == (40, 0)


def test_a_state_without_variety_is_known_as_such() -> None:
    toy = Toy()
    guard = Guard(toy.parts, [], GuardRules(strikes=2, warm_up=20), lambda: 0.0, 1.0)
    guard.start(0)
    assert [guard.look(step, {}) for step in (10, 20, 30)] == ["good", "doubtful", "collapsed"]
    assert (guard.rewind(), guard.varied) == (10, False)


def test_sketches_tell_noise_and_missing_kinds_from_a_second_sample() -> None:
    def bars(n: int, kinds: int, step: int) -> Tensor:
        images = -torch.ones(n, 1, 16, 16)
        drawn = stream(0, "bars", step, n).integers(1, kinds)[:, 0]
        for i, k in enumerate(drawn.tolist()):
            images[i, :, :, 3 * k : 3 * k + 3] = 1.0
        return images + 0.2 * stream(0, "bars.noise", step, n).normal(256).view(n, 1, 16, 16)

    real = sketch(bars(400, 5, 0))
    floor = frechet(real, sketch(bars(400, 5, 1)))
    missing = frechet(real, sketch(bars(400, 4, 2)))
    noise = frechet(real, sketch(stream(0, "n", 0, 400).normal(256).view(400, 1, 16, 16)))
    assert 5 * floor < missing < noise
    assert sketch(torch.zeros(2, 3, 5, 7)).shape == (2, 128)


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

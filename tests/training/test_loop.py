"""The loop against hand-written loops, and what it promises about order and intervals."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from augmint.core.errors import InterruptedRunError
from augmint.core.types import Logs
from augmint.training.checkpointer import Checkpointer
from augmint.training.loop import run_phase, run_phases
from augmint.training.phases import Group, Phase
from augmint.training.recorder import Recorder
from augmint.training.state import ModulePart, OptimiserPart, Parts


class FromFunction(Phase):
    def __init__(
        self,
        name: str,
        groups: list[Group],
        function: Callable[[int], Mapping[str, Tensor]],
        interval: int = 1,
    ) -> None:
        super().__init__(name, groups, interval)
        self.function = function

    def losses(self, step: int) -> tuple[Mapping[str, Tensor], Logs]:
        return self.function(step), {}


def players() -> tuple[Tensor, Tensor]:
    return torch.tensor([1.0, -2.0]).requires_grad_(), torch.tensor([0.5, 0.25]).requires_grad_()


def saddle(x: Tensor, y: Tensor) -> Tensor:
    """x descends and y ascends; neither alone determines the path."""
    return (x * y).sum() + 0.3 * x.square().sum() - 0.2 * y.square().sum()


def sgd(name: str, parameter: Tensor) -> Group:
    return Group(name, [parameter], torch.optim.SGD([parameter], 0.1))


def test_simultaneous_equals_the_hand_written_loop() -> None:
    x, y = players()
    both = FromFunction(
        "both", [sgd("x", x), sgd("y", y)], lambda _: {"x": saddle(x, y), "y": -saddle(x, y)}
    )
    run_phases([both], 25)
    p, q = (t.detach().clone() for t in players())
    for _ in range(25):
        dx, dy = q + 0.6 * p, p - 0.4 * q
        p, q = p - 0.1 * dx, q + 0.1 * dy
    torch.testing.assert_close(x.detach(), p)
    torch.testing.assert_close(y.detach(), q)


def test_alternating_equals_the_hand_written_loop() -> None:
    x, y = players()
    first = FromFunction("y", [sgd("y", y)], lambda _: {"y": -saddle(x, y)})
    second = FromFunction("x", [sgd("x", x)], lambda _: {"x": saddle(x, y)}, interval=2)
    run_phases([first, second], 25)
    p, q = (t.detach().clone() for t in players())
    for step in range(1, 26):
        q = q + 0.1 * (p - 0.4 * q)
        if step % 2 == 0:
            p = p - 0.1 * (q + 0.6 * p)
    torch.testing.assert_close(x.detach(), p)
    torch.testing.assert_close(y.detach(), q)


def test_a_shared_graph_gives_each_group_its_own_gradient() -> None:
    x, y = players()
    shared = (x * y).sum()
    seen = {}

    def losses(_: int) -> Mapping[str, Tensor]:
        return {"x": shared, "y": -2.0 * shared}

    groups = [sgd("x", x), sgd("y", y)]
    phase = FromFunction("both", groups, losses)
    before = x.detach().clone(), y.detach().clone()
    phase.after.append(lambda step: seen.update(x=x.grad, y=y.grad, step=step))
    run_phase(phase, 7)
    assert torch.equal(seen["x"], before[1])
    assert torch.equal(seen["y"], -2.0 * before[0])
    assert seen["step"] == 7


def test_all_gradients_are_taken_before_any_step() -> None:
    order: list[str] = []

    class Watched(torch.optim.SGD):
        def step(self, closure: object = None) -> None:  # type: ignore[override]
            order.append("step")
            super().step()

    x, y = players()
    for name, p in (("x", x), ("y", y)):
        p.register_post_accumulate_grad_hook(lambda _, n=name: order.append(f"gradient {n}"))
    groups = [Group("x", [x], Watched([x], 0.1)), Group("y", [y], Watched([y], 0.1))]
    run_phase(FromFunction("b", groups, lambda _: {"x": saddle(x, y), "y": -saddle(x, y)}), 1)
    assert order == ["gradient x", "gradient y", "step", "step"]


def test_groups_that_share_a_loss_share_its_backward_pass() -> None:
    x, y = players()
    loss = saddle(x, y)
    run_phase(FromFunction("b", [sgd("x", x), sgd("y", y)], lambda _: {"x": loss, "y": loss}), 1)
    assert x.grad is not None
    assert y.grad is not None


def test_a_group_without_a_loss_stays() -> None:
    x, y = players()
    before = y.detach().clone()
    phase = FromFunction("b", [sgd("x", x), sgd("y", y)], lambda _: {"x": x.square().sum()})
    run_phases([phase], 3)
    assert torch.equal(y.detach(), before)


def test_phases_run_in_order_on_multiples_of_their_interval() -> None:
    x, _ = players()
    ran: list[tuple[str, int]] = []

    def phase(name: str, interval: int) -> Phase:
        def losses(step: int) -> Mapping[str, Tensor]:
            ran.append((name, step))
            return {name: x.square().sum()}

        return FromFunction(name, [sgd(name, x)], losses, interval)

    result = run_phases([phase("a", 1), phase("b", 3)], 7, start=2)
    assert ran == [("a", 3), ("b", 3), ("a", 4), ("a", 5), ("a", 6), ("b", 6), ("a", 7)]
    assert (result.step, result.stopped) == (7, "done")


def test_logs_are_means_over_the_interval() -> None:
    x = torch.zeros(1, requires_grad=True)
    phase = FromFunction("p", [sgd("p", x)], lambda s: {"p": (x * 0).sum() + s})
    history = run_phases([phase], 7, recorder=Recorder(3)).history
    assert [h["step"] for h in history] == [3, 6, 7]
    assert [h["loss/p"] for h in history] == [2.0, 5.0, 7.0]


def _run(folder: Path, steps: int = 10) -> tuple[Tensor, Phase, Checkpointer]:
    module = torch.nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(1.0)
    optimiser = torch.optim.Adam(module.parameters(), 0.1)
    group = Group("m", list(module.parameters()), optimiser)
    phase = FromFunction("m", [group], lambda s: {"m": (module.weight * s).square().sum()})
    parts = Parts(module=ModulePart(module), adam=OptimiserPart(optimiser))
    return module.weight, phase, Checkpointer(folder, parts, "identity", steps=100)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_at_the_end_of_the_step_and_says_how_to_go_on(
    number: signal.Signals, tmp_path: Path
) -> None:
    straight, phase, _ = _run(tmp_path / "none")
    run_phases([phase], 10)
    _, phase, checkpoint = _run(tmp_path)
    phase.after.append(lambda s: os.kill(os.getpid(), number) if s == 4 else None)
    before = signal.getsignal(number)
    with pytest.raises(InterruptedRunError, match=r"step 4 of 10.*same command again"):
        run_phases([phase], 10, checkpoint=checkpoint)
    assert signal.getsignal(number) is before
    weight, phase, checkpoint = _run(tmp_path)
    start = checkpoint.resume()
    assert start == 4
    run_phases([phase], 10, start=start, checkpoint=checkpoint)
    assert torch.equal(weight, straight)
    assert _run(tmp_path)[2].resume() == 10


def test_stop_interrupts_without_a_folder_too() -> None:
    x, _ = players()
    phase = FromFunction("x", [sgd("x", x)], lambda _: {"x": x.square().sum()})
    with pytest.raises(InterruptedRunError, match=r"not saved; got step 1 of 5: .*again"):
        run_phases([phase], 5, stop=lambda: True)

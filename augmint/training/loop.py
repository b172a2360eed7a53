"""The one training loop: it runs phases, and knows none of them by name."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Literal

import torch
from torch import Tensor

from augmint.core.errors import InterruptedRunError
from augmint.core.progress import Progress, note
from augmint.core.stopping import stop_event
from augmint.core.types import Logs
from augmint.training.checkpointer import Checkpointer
from augmint.training.guard import Guard
from augmint.training.phases import Phase
from augmint.training.recorder import Recorder


@dataclass(frozen=True)
class LoopResult:
    """How a loop ended.

    Args:
        step: steps done.
        kept: the step whose state the parts now have: the last that the guard called good.
        stopped: "done", or "collapsed" where the guard ended it.
        history: readings of the logs, one mapping each interval.
        events: what the guard did.
    """

    step: int
    kept: int
    stopped: Literal["done", "collapsed"] = "done"
    history: list[dict[str, float]] = field(default_factory=list)
    events: list[dict[str, object]] = field(default_factory=list)


def run_phases(
    phases: Sequence[Phase],
    steps: int,
    *,
    start: int = 0,
    recorder: Recorder | None = None,
    checkpoint: Checkpointer | None = None,
    guard: Guard | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> LoopResult:
    """Run the steps `start + 1` to `steps`; each runs the phases whose interval divides it.

    In a phase all gradients are taken, then all its optimisers step, then its hooks run. Logs are
    read, and the guard looks, at the recorder's intervals only. What happens at a step depends on
    the step alone, so a resumed run repeats what an unbroken one does.

    Args:
        phases: run in this order within a step.
        steps: the last step.
        start: steps done before.
        recorder: keeps logs; one of 100 steps if None.
        checkpoint: saved when due, at the end, and on an interruption.
        guard: watches for losses that are not finite, and for collapse.
        progress: counts one step each.
        stop: asked after each step; True ends the run as Ctrl-C does.

    Raises:
        InterruptedRunError: after Ctrl-C, SIGTERM or `stop`, once the checkpoint is written.
        TrainingDivergedError: from the guard.

    Example:
        >>> from augmint.training.phases import Group
        >>> class Bowl(Phase):
        ...     def losses(self, step):
        ...         return {"w": self.groups[0].parameters[0].square().sum()}, {}
        >>> w = torch.nn.Parameter(torch.ones(1))
        >>> phase = Bowl("bowl", [Group("w", [w], torch.optim.SGD([w], lr=0.25))])
        >>> run_phases([phase], steps=2).step, w.item()
        (2, 0.25)
    """
    recorder = recorder or Recorder()
    step = start
    team = next((phase.team for phase in phases if phase.team is not None), None)
    if guard is not None:
        guard.start(step)
    with _interruptions(team is None or team.leads) as interrupted:
        while step < steps and not (guard is not None and guard.collapsed):
            step += 1
            for phase in phases:
                if step % phase.interval == 0:
                    recorder.add(run_phase(phase, step))
            numbers: dict[str, float] = {}
            if recorder.due(step) or step == steps:
                numbers = recorder.read(step)
                if team is not None and guard is not None:
                    team.agree(step, guard.parts)
                if guard is not None and guard.look(step, numbers) == "restored":
                    step = guard.good_step
                    recorder.forget(step)
            if guard is not None:
                guard.step = step
            if progress is not None:
                progress.step(**_shown(numbers))
            else:
                note(step, steps)
            if checkpoint is not None and checkpoint.due(step):
                checkpoint.save(step)
            if step < steps and (interrupted.is_set() or (stop is not None and stop())):
                _interrupt(step, steps, checkpoint)
    if checkpoint is not None:
        checkpoint.save(step)
    if guard is None:
        return LoopResult(step, step, "done", recorder.history)
    ending: Literal["done", "collapsed"] = "collapsed" if guard.collapsed else "done"
    return LoopResult(step, guard.rewind(), ending, recorder.history, list(guard.events))


def _shown(numbers: dict[str, float]) -> dict[str, float]:
    return {k.removeprefix("loss/"): v for k, v in numbers.items() if k.startswith("loss/")}


def run_phase(phase: Phase, step: int) -> Logs:
    """Update the groups of one phase: losses, all gradients, all steps, hooks.

    Where a team shares the phase, gradients and logs are means over its processes.

    Returns:
        The phase's logs and, under `loss/group`, the losses; detached, on their device.
    """
    losses, logs = phase.losses(step)
    shared: dict[int, tuple[Tensor, list[Tensor]]] = {}
    for group in phase.groups:
        group.optimiser.zero_grad(set_to_none=True)
        if group.name in losses:
            loss = losses[group.name]
            shared.setdefault(id(loss), (loss, []))[1].extend(group.parameters)
    last = len(shared) - 1
    for i, (loss, parameters) in enumerate(shared.values()):
        torch.autograd.backward(loss, inputs=parameters, retain_graph=i < last)
    kept = {**{f"loss/{name}": loss.detach() for name, loss in losses.items()}, **logs}
    if phase.team is not None:
        kept = {name: value.detach().clone() for name, value in kept.items()}
        moved = [p.grad for g in phase.groups if g.name in losses for p in g.parameters]
        phase.team.average([*(g for g in moved if g is not None), *kept.values()])
    for group in phase.groups:
        if group.name in losses:
            group.optimiser.step()
    for hook in phase.after:
        hook(step)
    return kept


def _interrupt(step: int, steps: int, checkpoint: Checkpointer | None) -> None:
    if checkpoint is None:
        raise InterruptedRunError(
            "the run was interrupted in a part that is not saved",
            f"step {step} of {steps}",
            "run the same command again: it goes on from what is saved and does this part anew",
        )
    checkpoint.save(step)
    raise InterruptedRunError(
        "the run was interrupted and saved",
        f"step {step} of {steps} in {checkpoint.folder}",
        "run the same command again to go on from there",
    )


@contextmanager
def _interruptions(heeded: bool = True) -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, if heeded; a second Ctrl-C ends at once."""
    event = stop_event()
    if not heeded or threading.current_thread() is not threading.main_thread():
        yield event  # signals reach the main thread only
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        if event.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        event.set()

    before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

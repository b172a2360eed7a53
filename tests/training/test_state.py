"""Parts, checkpoints and recorders give back exactly what they were given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from augmint.core.errors import DataError, UsageError
from augmint.training.checkpointer import Checkpointer
from augmint.training.recorder import Recorder
from augmint.training.state import DictPart, ModulePart, OptimiserPart, Parts


def test_explicit_state_nests_tensors_and_json() -> None:
    content = {
        "k": torch.tensor(0.25),
        "pool": [torch.arange(3), {"at": torch.zeros(0, 2), "n": 4}],
        "name": "x",
        "none": None,
    }
    tensors, plain = DictPart(dict(content)).save()
    back = DictPart({"old": 1})
    back.load(tensors, json.loads(json.dumps(plain)))
    assert torch.equal(back.content["k"], content["k"])
    assert torch.equal(back.content["pool"][0], torch.arange(3))
    assert back.content["pool"][1]["at"].shape == (0, 2)
    assert (back.content["name"], back.content["none"]) == ("x", None)
    assert "old" not in back.content


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.SGD])
def test_an_optimiser_goes_on_exactly_in_channels_last(
    kind: type[torch.optim.Optimizer], fused: bool
) -> None:
    def make() -> tuple[nn.Conv2d, torch.optim.Optimizer]:
        torch.manual_seed(0)
        net = nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return net, kind(net.parameters(), lr=0.1, fused=fused)

    def step(net: nn.Conv2d, optimiser: torch.optim.Optimizer, i: int) -> None:
        optimiser.zero_grad()
        (net(torch.full((1, 3, 4, 4), float(i))).square().sum()).backward()
        optimiser.step()

    net, optimiser = make()
    for i in range(3):
        step(net, optimiser, i)
    module, adam = ModulePart(net).save(), OptimiserPart(optimiser).save()
    other, resumed = make()
    copies = {k: v.clone(memory_format=torch.contiguous_format) for k, v in adam[0].items()}
    ModulePart(other).load(module[0], None)
    OptimiserPart(resumed).load(copies, json.loads(json.dumps(adam[1])))
    for i in range(3, 6):
        step(net, optimiser, i)
        step(other, resumed, i)
    assert torch.equal(net.weight, other.weight)


def test_foreign_checkpoints_are_refused(tmp_path: Path) -> None:
    def checkpointer(width: int, identity: str, **more: ModulePart) -> Checkpointer:
        return Checkpointer(tmp_path, Parts(net=ModulePart(nn.Linear(1, width)), **more), identity)

    checkpointer(2, "a").save(3)
    assert checkpointer(2, "a").resume() == 3
    with pytest.raises(UsageError, match="one configuration"):
        checkpointer(2, "b").resume()
    with pytest.raises(DataError, match="part net"):
        checkpointer(4, "a").resume()
    with pytest.raises(DataError, match="parts of this run"):
        checkpointer(2, "a", more=ModulePart(nn.Linear(1, 1))).resume()


def test_a_recorder_goes_on_in_the_middle_of_an_interval() -> None:
    def feed(recorder: Recorder, steps: range) -> None:
        for s in steps:
            recorder.add(
                {"x": torch.tensor(0.1 * s), **({"rare": torch.tensor(1.0)} if s == 3 else {})}
            )

    whole, first, second = Recorder(5), Recorder(5), Recorder(5)
    feed(whole, range(1, 6))
    feed(first, range(1, 4))
    tensors, plain = first.save()
    second.load(tensors, json.loads(json.dumps(plain)))
    feed(second, range(4, 6))
    assert whole.read(5) == second.read(5)
    assert whole.history == second.history
    assert whole.history[0]["rare"] == 1.0

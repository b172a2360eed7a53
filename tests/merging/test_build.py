"""Built networks against modules written by hand; weights of the parents; descriptions."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augmint.core.errors import DataError, UsageError
from augmint.merging.build import build, load
from augmint.merging.contraction import Rules
from augmint.merging.inheritance import inherit
from augmint.merging.merge import merge_networks, replace_widths
from augmint.merging.network import Layer, Network
from augmint.merging.notation import chain
from augmint.merging.published import released
from augmint.merging.read import read

SHAPE = (1, 24, 32)


class IrisByHand(nn.Module):
    """The released iris network, layer by layer, without any graph."""

    def __init__(self) -> None:
        super().__init__()
        kernels = (3, 5, 7, 9, 11, 13, 15, 13, 11, 9, 7, 5)
        outputs = (10, 10, 20, 20, 30, 30, 40, 30, 30, 20, 20, 10)
        inputs = (1, 10, 10, 20, 20, 30, 30, 40, 60, 60, 40, 20)
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, k, padding=k // 2, bias=False)
            for i, o, k in zip(inputs, outputs, kernels, strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(o) for o in outputs)
        self.out = nn.Conv2d(10, 1, 3, padding=1)

    def layer(self, i: int, x: Tensor) -> Tensor:
        return F.relu(self.norms[i - 1](self.convs[i - 1](x)))

    def forward(self, x: Tensor) -> Tensor:
        for i in range(1, 5):
            x = self.layer(i, x)
        l4 = x
        l5 = self.layer(5, l4)
        l6 = self.layer(6, l5)
        l8 = self.layer(8, self.layer(7, l6))
        l9 = self.layer(9, torch.cat([l6, l8], 1))
        l10 = self.layer(10, torch.cat([l5, l9], 1))
        l11 = self.layer(11, torch.cat([l4, l10], 1))
        return torch.sigmoid(self.out(self.layer(12, l11)))


def test_iris_against_a_module_written_by_hand() -> None:
    """Same weights, same output; order of concatenation as in the released program."""
    merge = released("spdnn-iris", SHAPE)
    module, hand = build(merge.network), IrisByHand()
    assert sum(p.numel() for p in hand.parameters()) == 1_102_121
    mine = [m for m in module.children() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    pairs = zip(hand.convs, hand.norms, strict=True)
    theirs: list[nn.Module] = [m for pair in pairs for m in pair]
    with torch.no_grad():
        for a, b in zip(mine, [*theirs, hand.out], strict=True):
            assert type(a) is type(b)
            for p, q in zip(a.parameters(), b.parameters(), strict=True):
                nn.init.normal_(q, 0.1, 0.1)
                p.copy_(q)
    x = torch.randn(2, *SHAPE)
    given, expected = module(x), hand(x)
    assert torch.equal(given, expected)


def test_depth_branches_against_functions_written_by_hand() -> None:
    """The bottleneck sees the maps pooled, the other path sees them repeated."""
    words = {"a": "3C:3 2P 3C:3 2U 5C:3 3C:1", "b": "3C:3 3C:3 5C:3 3C:1"}
    parents = [chain(n, (1, 8, 8), w, norm="none") for n, w in words.items()]
    merged = merge_networks(parents, None, Rules(output="node"))
    module = build(merged.network)
    first, low, high, joined, out = (
        module.get_submodule(merged.lowered.names[merged.contraction.place(*at)])
        for at in (("a", "1-C"), ("a", "3-C"), ("b", "2-C"), ("a", "5-C"), ("a", "6-C"))
    )
    x = torch.randn(2, 1, 8, 8)
    a = F.relu(first(x))
    b = F.relu(low(F.max_pool2d(a, 2))).repeat_interleave(2, 2).repeat_interleave(2, 3)
    c = F.relu(high(a))
    sources = [u for u, _ in merged.plan.sources(merged.contraction.place("a", "5-C"))]
    order = [b, c] if sources[0] == merged.contraction.place("a", "3-C") else [c, b]
    expected = out(F.relu(joined(torch.cat(order, 1))))
    assert torch.allclose(module(x), expected, atol=1e-6)


def test_several_ends_get_one_more_layer() -> None:
    a = chain("a", (1, 8, 8), "3C:4 3C:1", last="sigmoid")
    b = chain("b", (1, 8, 8), "5C:6 7C:1", last="sigmoid")
    merge = merge_networks([a, b])
    assert merge.plan.head is not None
    names = [y.name for y in merge.network]
    assert names[-3:] == ["head-concat", "head", "head-act"]
    # what ended a parent is a hidden layer now: width and ending of the layer before it
    widths = sorted(merge.allocation.widths.values())
    assert widths == [4, 4, 6, 6]
    assert sum(y.attributes.get("mode") == "sigmoid" for y in merge.network) == 1
    result = build(merge.network).eval()(torch.randn(2, 1, 8, 8))
    assert result.shape == (2, 1, 8, 8)
    assert 0 <= result.min() <= result.max() <= 1


def test_weights_are_inherited_block_by_block() -> None:
    """The blocks of a parent whose branches are there; those of the other parent beside them."""
    words = {"a": "3C:4 5C:6 3C:2", "b": "7C:4 5C:6 3C:2"}
    parents = {n: read(build(chain(n, (1, 8, 8), w)), (1, 8, 8), n) for n, w in words.items()}
    merge = merge_networks([p.network for p in parents.values()])
    module = build(merge.network)
    before = copy.deepcopy(module.state_dict())
    copied, total = inherit(
        module, merge.plan, merge.lowered, {n: p.state for n, p in parents.items()}
    )
    assert copied == total
    node = merge.contraction.place("a", "2-C")
    conv = module.get_submodule(merge.lowered.names[node])
    blocks = {"a": parents["a"].state["2-C.weight"], "b": parents["b"].state["2-C.weight"]}
    halves = conv.weight[:, :4], conv.weight[:, 4:]
    found = [next(n for n, w in blocks.items() if torch.equal(h, w)) for h in halves]
    assert sorted(found) == ["a", "b"]
    assert any(not torch.equal(v, before[k]) for k, v in module.state_dict().items())


def test_what_does_not_fit_is_not_inherited() -> None:
    parents = [chain("a", (1, 8, 8), "3C:4 3C:2"), chain("b", (1, 8, 8), "5C:4 3C:2")]
    merge = merge_networks(parents)
    wider = replace_widths(merge, {n: 7 for n, p in merge.plan.layers.items() if not p.fixed})
    module = build(wider.network)
    states = {n.name: build(n).state_dict() for n in parents}
    before = {k: v.clone() for k, v in module.state_dict().items()}
    copied, _ = inherit(module, wider.plan, wider.lowered, states)
    assert copied == 2  # the bias of the output layer alone
    changed = [k for k, v in module.state_dict().items() if not torch.equal(v, before[k])]
    assert len(changed) == 1


def test_description_on_disk(tmp_path: Path) -> None:
    network = released("spdnn-iris", SHAPE).network
    path = tmp_path / "network.json"
    path.write_text(json.dumps(network.to_json()))
    assert load(path).network == network
    assert load(str(path)).network == network


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, '"format": "augmint-network"'),
        ({"version": 99}, "descriptions of version 1"),
        ({"layers": [{"name": "x"}]}, "must be whole"),
        ({"layers": []}, "at least one layer"),
    ],
)
def test_broken_descriptions(change: dict[str, object], message: str) -> None:
    good = chain("n", (1, 8, 8), "3C:2").to_json()
    with pytest.raises(UsageError, match=message):
        load(good | change)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="JSON"):
        load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((Layer("x", "input"), Layer("y", "blur", ("x",))), "must be of a known kind; got blur"),
        ((Layer("x", "input"), Layer("y", "flatten", ("z",))), "takes layers that come before it"),
        ((Layer("x", "input"), Layer("x", "flatten", ("x",))), "names of layers are unique"),
        ((Layer("x", "flatten"), Layer("y", "flatten", ("x",))), "has one input"),
    ],
)
def test_networks_that_are_none(layers: tuple[Layer, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Network("n", (1, 8, 8), layers)


def test_values_are_dropped_when_nothing_needs_them() -> None:
    """A long chain holds two values at a time, not all of them."""
    module = build(chain("n", (1, 8, 8), " ".join(["3C:2"] * 20), norm="none"))
    forgotten = [i for step in module._steps for i in step[4]]
    assert len(forgotten) == len(module._steps)

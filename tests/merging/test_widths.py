"""Widths: the count is the built module's, the budget is met, impossible ones are refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from augmint.core.errors import UsageError
from augmint.merging.build import build
from augmint.merging.contraction import Rules
from augmint.merging.merge import merge_networks, resized
from augmint.merging.network import Network
from augmint.merging.notation import chain
from augmint.merging.published import published
from augmint.merging.shapes import totals
from augmint.merging.widths import parse_budget

SHAPE = (1, 16, 16)


def parents() -> list[Network]:
    return [
        chain("a", SHAPE, "3C:16 2P 3C:32 2P 3C:32 10F"),
        chain("b", SHAPE, "5C:16 2P 5C:32 2P 3C:16 20F 10F"),
        chain("c", SHAPE, "3C:16 3C:16 2P 3C:32 2P 10F"),
    ]


@pytest.mark.parametrize("budget", ["0.2x", "0.67x", "1.0x", "3x", 12_345, "50k"])
def test_budget_of_parameters(budget: str | int) -> None:
    merge = merge_networks(parents(), budget)
    count = sum(p.numel() for p in build(merge.network).parameters())
    asked = parse_budget(budget, parents())
    assert asked is not None
    assert merge.allocation.count == count
    assert abs(count - asked) <= 0.01 * asked
    assert merge.allocation.within


@pytest.mark.parametrize("budget", ["0.5x", "1.0x", 800_000])
def test_budget_of_multiplications(budget: str | int) -> None:
    merge = merge_networks(parents(), budget, measure="multiplications")
    module = build(merge.network).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(1, *SHAPE))
    asked = parse_budget(budget, parents(), "multiplications")
    assert asked is not None
    assert merge.allocation.count == counter.get_total_flops() // 2  # a multiplication and a sum
    assert abs(merge.allocation.count - asked) <= 0.01 * asked


def test_totals_are_those_of_modules() -> None:
    for network in parents():
        module = build(network).eval()
        found = totals(network)
        assert found["parameters"] == sum(p.numel() for p in module.parameters())
        kernels = [m.weight.numel() for m in module.modules() if isinstance(m, nn.Conv2d)]
        assert found["convolution_weights"] == sum(kernels)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module(torch.zeros(1, *SHAPE))
        assert found["multiplications"] == counter.get_total_flops() // 2


def test_relative_widths_are_kept() -> None:
    """No layer is further from s · w than a fifth, or a channel and the rounding."""
    merge = merge_networks(parents(), "5x")
    for n, planned in merge.plan.layers.items():
        if not planned.fixed:
            wanted = merge.allocation.scale * planned.relative
            assert abs(merge.allocation.widths[n] - wanted) <= max(0.2 * wanted + 0.5, 1.5)


@pytest.mark.parametrize("budget", [6_000, 20_000, 90_000])
def test_one_network_at_another_size(budget: int) -> None:
    """A baseline: every parent at the size of the merged network, its layers unchanged."""
    for parent in parents():
        found = resized(parent, budget)
        assert abs(totals(found)["parameters"] / budget - 1) <= 0.01
        assert [y.kind for y in found] == [y.kind for y in parent]
        kernels = [[y.attributes.get("kernel") for y in n] for n in (found, parent)]
        assert kernels[0] == kernels[1]


def test_no_budget_keeps_the_parents_widths() -> None:
    merge = merge_networks(parents())
    assert [merge.allocation.widths[n] for n in merge.plan.order] == [
        p.relative for p in merge.plan.layers.values()
    ]


def test_dense_layers_keep_their_neurons_where_asked() -> None:
    scaled, kept = (merge_networks(parents(), "0.3x", keep_dense=keep) for keep in (False, True))
    neurons = [
        [y.attributes["outputs"] for y in m.network if y.kind == "dense"] for m in (scaled, kept)
    ]
    assert 20 in neurons[1]
    assert 20 not in neurons[0]


def test_values_that_become_a_map_keep_their_number() -> None:
    case = published("spdnn-depth")
    merge = merge_networks(case.parents((1, 80, 264)), "0.5x", case.rules)
    assert merge.allocation.within
    assert 330 in [y.attributes["outputs"] for y in merge.network if y.kind == "dense"]


def test_groups_divide_widths() -> None:
    def grouped(name: str, kernel: int) -> Network:
        base = chain(name, SHAPE, f"{kernel}C:16 3C:32 3C:32 1C:2")
        rows = list(base.layers)
        at = next(i for i, y in enumerate(rows) if y.name == "3-C")
        attributes = {**rows[at].attributes, "groups": 8}
        rows[at] = type(rows[at])(rows[at].name, "conv", rows[at].inputs, attributes)
        return Network(name, SHAPE, tuple(rows))

    merge = merge_networks([grouped("a", 3), grouped("b", 5)], "0.7x")
    build(merge.network)(torch.zeros(2, *SHAPE))
    (found,) = [y for y in merge.network if y.attributes.get("groups") == 8]
    assert found.attributes["outputs"] % 8 == 0


@pytest.mark.parametrize("budget", ["0.001x", 20])
def test_impossible_budget_says_the_numbers(budget: str | int) -> None:
    with pytest.raises(
        UsageError, match=r"at least (\d+) parameters.*a budget of \d+.*--budget \d+"
    ):
        merge_networks(parents(), budget)


def test_the_smallest_budget_that_the_error_names_is_possible() -> None:
    with pytest.raises(UsageError) as caught:
        merge_networks(parents(), 20)
    least = int(str(caught.value.remedy).split("--budget ")[1].rstrip(")"))
    assert merge_networks(parents(), least).allocation.count == least


@pytest.mark.parametrize("text", ["", "x", "-3", "1.0y", "0x", "abc", "nan"])
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(UsageError, match="a budget is"):
        parse_budget(text, parents())


def test_a_budget_in_parents_is_the_mean() -> None:
    counts = [totals(n)["parameters"] for n in parents()]
    assert parse_budget("2x", parents()) == round(2 * sum(counts) / 3)


def test_rules_change_the_graph() -> None:
    """Pooling as a node counts in distances, so that other layers meet."""
    a = chain("a", SHAPE, "3C:4 2P 5C:4 2U 3C:1")
    b = chain("b", SHAPE, "3C:4 2P 3C:4 5C:4 2U 3C:1")
    mark, node = (
        merge_networks([a, b], None, Rules(pooling=p, output="layer")) for p in ("mark", "node")
    )
    assert mark.contraction.counts[0] == 7
    assert node.contraction.counts[0] == 11
    for merge in (mark, node):
        assert build(merge.network)(torch.zeros(2, *SHAPE)).shape == (2, 1, 16, 16)


def test_product_and_stack_of_pooling_factors() -> None:
    a = chain("a", SHAPE, "3C:4 4P 5C:4 10F", norm="none")
    b = chain("b", SHAPE, "3C:4 2P 2P 5C:4 10F", norm="none")
    product, stack = (
        merge_networks([a, b], None, Rules(resolution=r)) for r in ("product", "stack")
    )
    assert product.contraction.counts == [4, 2, 2]
    assert stack.contraction.counts == [4, 3, 3]
    structures = {label.structure for label in stack.contraction.steps[0].labels.values()}
    assert structures == {"3C", "5C4P", "5C2P2P"}

"""What holds for every merge, on random sets of parents."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from augmint.core.errors import UsageError
from augmint.merging.build import build
from augmint.merging.contraction import Contraction, Rules, contract, contract_randomly
from augmint.merging.graph import INPUT, OUTPUT, layer_graph
from augmint.merging.merge import Merge, finish, merge_networks
from augmint.merging.network import Network
from augmint.merging.notation import chain
from augmint.merging.shapes import infer, totals
from augmint.merging.widths import TOLERANCE, Cost

Parents = Callable[[int], list[Network]]
RULES = (
    Rules(),
    Rules(output="layer"),
    Rules(pooling="node"),
    Rules(resolution="stack", to_fixpoint=True),
    Rules(passes="forward", distance="largest"),
)


def assert_acyclic(found: Contraction) -> None:
    """Take nodes without predecessors away until none is left."""
    waiting = {n: found.graph.in_degree(n) for n in found.graph}
    ready = deque(n for n, count in waiting.items() if count == 0)
    gone = 0
    while ready:
        gone += 1
        for v in found.graph.successors(ready.popleft()):
            waiting[v] -= 1
            if waiting[v] == 0:
                ready.append(v)
    assert gone == len(waiting)


def assert_paths(found: Contraction) -> None:
    """Every layer of a parent has one place of its own structure, every connection is there."""
    places = {
        member.origin: (n, data["node"])
        for n, data in found.graph.nodes(data=True)
        for member in data.get("members", ())
    }
    for parent in found.parents:
        graph = layer_graph(parent, found.rules.pooling)
        place: dict[object, object] = {INPUT: INPUT, OUTPUT: OUTPUT}
        for n, data in graph.nodes(data=True):
            if data:
                place[n], node = places[data["node"].origin]
                mark = found.rules.resolution
                assert node.structure(mark) == data["node"].structure(mark)
        assert len(set(place.values())) == len(place), "two layers of one parent became one"
        for u, v in graph.edges:
            assert found.graph.has_edge(place[u], place[v])


def assert_budget(merge: Merge, budget: int) -> None:
    """Within 1 %, or no layer one step wider or narrower comes closer without leaving its slack."""
    count = totals(merge.network)["parameters"]
    assert count == merge.allocation.count
    if abs(count / budget - 1) <= TOLERANCE:
        return
    cost = Cost(merge.plan)
    groups = {
        p.group: merge.allocation.widths[n]
        for n, p in merge.plan.layers.items()
        if p.group is not None
    }
    free = {p.group for p in merge.plan.layers.values() if p.group is not None and not p.fixed}
    for group in free:
        for step in (merge.plan.steps[group], -merge.plan.steps[group]):
            if groups[group] + step < 1:
                continue
            nearer = abs(cost.count(groups | {group: groups[group] + step}) - budget)
            relative = max(p.relative for p in merge.plan.layers.values() if p.group == group)
            scaled = merge.allocation.scale * relative
            if nearer < abs(count - budget):
                limit = max(scaled / 5, merge.plan.steps[group])
                assert abs(groups[group] + step - scaled) >= limit - 1


def check(parents: list[Network], seed: int) -> Merge | None:
    rng = random.Random(seed)
    rules = RULES[seed % len(RULES)]
    factor = rng.choice((0.5, 1.0, 1.0, 2.0))
    refused: UsageError | None = None
    try:
        merge = merge_networks(parents, f"{factor}x", rules)
    except UsageError as error:
        refused = error
    if refused is not None:
        least = int(refused.rule.split("at least ")[1].split()[0])
        assert least > factor * sum(totals(n)["parameters"] for n in parents) / len(parents)
        return None
    assert_acyclic(merge.contraction)
    assert_paths(merge.contraction)
    budget = merge.allocation.budget
    assert budget is not None
    assert_budget(merge, budget)
    others = parents[:]
    rng.shuffle(others)
    again = merge_networks(others, f"{factor}x", rules)
    assert again.contraction.counts == merge.contraction.counts
    assert again.network.canonical() == merge.network.canonical()
    assert infer(merge.network)[merge.network.output] == infer(parents[0])[parents[0].output]
    return merge


def run(merge: Merge) -> None:
    """Build it, run it forward and backward: every parameter gets a finite gradient."""
    module = build(merge.network)
    assert sum(p.numel() for p in module.parameters()) == merge.allocation.count
    given = torch.randn(2, *merge.network.shape)
    result = module.train()(given)
    result.square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("block", range(4))
def test_hundreds_of_random_sets(random_parents: Parents, block: int) -> None:
    for seed in range(60 * block, 60 * block + 60):
        merge = check(random_parents(seed), seed)
        if merge is not None and seed % 6 == 0:
            run(merge)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("block", range(10))
def test_ten_thousand_random_sets(random_parents: Parents, block: int) -> None:
    missed = refused = 0
    for seed in range(1000 * block, 1000 * block + 1000):
        merge = check(random_parents(seed), seed)
        refused += merge is None
        if merge is not None:
            missed += not merge.allocation.within
            if seed % 40 == 0:
                run(merge)
    print(f"{missed} of 1000 at the nearest reachable size, {refused} below the smallest")


def test_a_network_merged_with_itself_is_itself(random_parents: Parents) -> None:
    same = 0
    for seed in range(60):
        parent = random_parents(seed)[0]
        merge = merge_networks([parent, replace(parent, name="twin")])
        layers = sum(layer.kind in ("conv", "dense") for layer in parent)
        found = sum(layer.kind in ("conv", "dense") for layer in merge.network)
        assert found == layers + (merge.plan.head is not None)
        # a sum that became a concatenation costs more, and is noted
        if not merge.plan.notes:
            same += 1
            assert totals(merge.network) == totals(parent)
    assert same > 30


def test_baselines_side_by_side_and_random(random_parents: Parents) -> None:
    """Without passes nothing is joined; random joins leave as many layers, and still a network."""
    for seed in range(12):
        parents = random_parents(seed)
        apart = merge_networks(parents, None, Rules(passes="none"))
        assert len(apart.contraction.counts) == 1
        merged = contract(parents)
        found = contract_randomly(parents, merged.counts[-1], random.Random(seed))
        assert_acyclic(found)
        assert merged.counts[-1] <= found.counts[-1] < max(found.counts[0], merged.counts[-1] + 1)
        for merge in (apart, finish(found, "1.0x")):
            run(merge)


ORDER_MATTERS = ("5C 3C 5C", "5C 5C 5C", "3C 5C 3C 5C", "5C 3C 5C 3C")


def joined(parents: list[Network]) -> set[frozenset[tuple[str, str]]]:
    """Return which layers became one."""
    graph = contract(parents, Rules(output="layer")).graph
    return {frozenset(m.origin for m in d["members"]) for _, d in graph.nodes(data=True) if d}


def test_the_order_of_parents_would_matter_without_the_canonical_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parents = [chain(f"p{i}", (1, 8, 8), w, "none") for i, w in enumerate(ORDER_MATTERS)]
    assert joined(parents) == joined(parents[::-1])
    monkeypatch.setattr("augmint.merging.contraction.canonical_order", tuple)
    assert joined(parents) != joined(parents[::-1])

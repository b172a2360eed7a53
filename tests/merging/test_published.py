"""The published merges:
node counts, edges, letters and parameters as the papers and programs say."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from augmint.core.errors import UsageError
from augmint.merging.build import build
from augmint.merging.contraction import Contraction, CycleError, contract
from augmint.merging.graph import INPUT, OUTPUT
from augmint.merging.merge import Merge, merge_networks, replace_widths
from augmint.merging.published import PUBLISHED, published, released
from augmint.merging.shapes import totals

IRIS_TABLE = [  # kernel, channels, inputs of the released network, layer by layer
    (3, 10, (0,)), (5, 10, (1,)), (7, 20, (2,)), (9, 20, (3,)), (11, 30, (4,)), (13, 30, (5,)),
    (15, 40, (6,)), (13, 30, (7,)), (11, 30, (6, 8)), (9, 20, (5, 9)), (7, 20, (4, 10)),
    (5, 10, (11,)), (3, 1, (12,)),
]  # fmt: skip


def contraction(name: str) -> Contraction:
    case = published(name)
    return contract(case.parents(), case.rules)


def by_letter(found: Contraction, step: int) -> dict[str, set[str]]:
    """Return letter to the letters of its inputs, the labels those of the first pass."""
    letters: dict[object, str] = {INPUT: "in", OUTPUT: "out", found.end: "out"}
    origins = {}
    for node, label in found.steps[0].labels.items():
        for member in found.steps[0].graph.nodes[node]["members"]:
            origins[member.origin] = label.letter
    graph = found.steps[step].graph
    for node, data in graph.nodes(data=True):
        if node not in letters:
            (letters[node],) = {origins[m.origin] for m in data["members"]}
    edges: dict[str, set[str]] = {}
    for u, v in graph.edges:
        if letters[u] != letters[v]:
            edges.setdefault(letters[v], set()).add(letters[u])
    return edges


@pytest.fixture(scope="module")
def iris() -> Merge:
    return released("spdnn-iris")


class TestIris:
    def test_nodes_at_every_step(self) -> None:
        assert contraction("spdnn-iris").counts == [40, 25, 13]

    def test_is_the_released_network(self, iris: Merge) -> None:
        number = {INPUT: 0} | {
            iris.lowered.names[node]: i for i, node in enumerate(iris.plan.order, 1)
        }
        edges = {(number[u], number.get(v, 14)) for u, v in iris.edges()}
        expected = {(u, v) for v, (_, _, given) in enumerate(IRIS_TABLE, 1) for u in given}
        assert edges == expected | {(13, 14)}
        for i, node in enumerate(iris.plan.order):
            kernel, channels, _ = IRIS_TABLE[i]
            assert iris.plan.layers[node].node.attributes["kernel"] == (kernel, kernel)
            assert iris.allocation.widths[node] == channels

    def test_weights(self, iris: Merge) -> None:
        parents = [totals(n)["convolution_weights"] for n in published("spdnn-iris").parents()]
        assert sorted(parents) == [69_480, 190_680, 451_680, 924_480]
        assert totals(iris.network)["convolution_weights"] == 1_101_580
        assert totals(iris.network)["parameters"] == 1_102_121
        assert round(100 * iris.report()["convolution_weights_saved"], 1) == 32.7

    def test_built_module_agrees(self, iris: Merge) -> None:
        module = build(iris.network)
        weights = sum(m.weight.numel() for m in module.modules() if hasattr(m, "kernel_size"))
        assert weights == 1_101_580
        assert sum(p.numel() for p in module.parameters()) == 1_102_121

    def test_guard_refuses_six(self) -> None:
        refused = contraction("spdnn-iris").refused
        assert [(r.step, r.rule) for r in refused] == [("backward", "ancestor")] * 6
        assert {r.label for r in refused} == {"(9C,4)", "(11C,5)", "(13C,6)"}

    def test_published_rule_gives_ten_nodes_and_a_cycle(self) -> None:
        case = published("spdnn-iris")
        with pytest.raises(CycleError, match=r"10 layers with the cycle 13C → 15C → 13C") as caught:
            contract(case.parents(), replace(case.rules, guard=False))
        assert caught.value.steps[-1].nodes == 10


class TestMagazine:
    def test_nodes_and_letters(self) -> None:
        found = contraction("spdnn-magazine")
        assert found.counts == [19, 17, 17]
        letters = {label.letter: str(label) for label in found.steps[0].labels.values()}
        assert letters["A"] == "(7C,1)"
        assert letters["C"] == "(7C,3)"
        assert letters["I"] == "(3C,1)"

    def test_edges(self) -> None:
        assert by_letter(contraction("spdnn-magazine"), 2) == {
            "A": {"in"}, "B": {"A"}, "C": {"B", "O"}, "D": {"C"}, "E": {"D"}, "F": {"E"},
            "G": {"F"}, "H": {"G"}, "I": {"in"}, "J": {"I"}, "K": {"J"}, "L": {"K"}, "M": {"L"},
            "N": {"M"}, "O": {"I"}, "P": {"C"}, "Q": {"P"}, "out": {"H", "N", "Q"},
        }  # fmt: skip

    def test_second_pass_adds_no_join(self) -> None:
        pairs = {frozenset(r.layers) for r in contraction("spdnn-magazine").refused}
        assert len(pairs) == 4  # C and F, B and E, A and D, I and J

    def test_uniform_widths(self) -> None:
        """Eleven channels everywhere: 81 654 parameters, as counted by hand from the edges."""
        case = published("spdnn-magazine")
        merge = merge_networks(case.parents(), None, case.rules)
        uniform = replace_widths(merge, dict.fromkeys(merge.plan.order, 11))
        assert totals(uniform.network)["parameters"] == 81_654

    def test_published_rule_has_a_cycle(self) -> None:
        case = published("spdnn-magazine")
        with pytest.raises(CycleError, match="7C → 7C → 7C"):
            contract(case.parents(), replace(case.rules, guard=False))


class TestDepth:
    def test_letters_and_edges(self) -> None:
        found = contraction("spdnn-depth")
        assert found.counts == [60, 20, 20]
        letters = {label.letter: str(label) for label in found.steps[0].labels.values()}
        front = ["(3C,{})", "(3C2P,{})", "(3C4P,{})", "(3C8P,{})"]
        assert [letters[x] for x in "ABCDEFGHIJKLM"] == ["(3C,1)"] + [
            text.format(distance) for distance in (2, 3, 4) for text in front
        ]
        assert letters["K"] == "(3C2P,4)"
        assert (letters["N"], letters["O"]) == ("(3C,5)", "(30F,5)")
        edges = by_letter(found, 2)
        assert edges["N"] == edges["O"] == set("JKLM")
        assert [edges[x] for x in "BCDE"] == [{"A"}] * 4
        assert edges["out"] == {"T", "S"}

    def test_pooling_is_recalled(self) -> None:
        """The bottleneck sees the branches pooled to the smallest, the other path un-pooled."""
        found = contraction("spdnn-depth")
        graph = found.graph
        narrow = found.place("depth-5", "7-F")
        wide = found.place("depth-1", "5-C")
        resampled = {}
        for target in (narrow, wide):
            for u in graph.predecessors(target):
                (chain,) = graph.edges[u, target]["chains"]
                mark = graph.nodes[u]["node"].structure()
                factors = [op.attributes for op in chain if op.kind in ("pool", "unpool")]
                resampled[target, mark] = [a.get("stride", a.get("factor"))[0] for a in factors]
        assert [resampled[narrow, m] for m in ("3C", "3C2P", "3C4P", "3C8P")] == [[8], [4], [2], []]
        assert [resampled[wide, m] for m in ("3C", "3C2P", "3C4P", "3C8P")] == [[], [2], [4], [8]]

    def test_released_parameters(self) -> None:
        merge = released("spdnn-depth-released")
        assert totals(merge.network)["parameters"] == 254_517
        assert sum(p.numel() for p in build(merge.network).parameters()) == 254_517

    def test_two_channels_in(self) -> None:
        """Image and segmentation as input: 216 weights more."""
        merge = released("spdnn-depth-released", (2, 80, 264))
        assert totals(merge.network)["parameters"] == 254_733

    def test_published_rule_has_a_cycle(self) -> None:
        case = published("spdnn-depth")
        with pytest.raises(CycleError, match=r"the cycle 3C"):
            contract(case.parents(), replace(case.rules, guard=False))

    def test_runs(self) -> None:
        module = build(released("spdnn-depth-released").network).eval()
        with torch.no_grad():
            result = module(torch.zeros(1, 1, 80, 264))
        assert result.shape == (1, 1, 80, 264)
        assert 0 <= result.min() <= result.max() <= 1


def test_forward_pass_alone_is_enough_for_two_of_them() -> None:
    for name in ("spdnn-magazine", "spdnn-depth"):
        case = published(name)
        once = contract(case.parents(), replace(case.rules, passes="forward"))
        assert once.counts == contraction(name).counts[:2]


def test_a_shared_output_layer_from_the_start_gives_the_same_iris_network() -> None:
    case = published("spdnn-iris")
    shared = merge_networks(case.parents(), None, replace(case.rules, output="node"))
    assert shared.contraction.counts == [36, 21, 12]
    assert shared.edges() == released("spdnn-iris").edges()


def test_unknown_names() -> None:
    with pytest.raises(UsageError, match="did you mean"):
        published("spdnn-irs")
    with pytest.raises(UsageError, match="widths of released"):
        released("spdnn-magazine")
    assert {"spdnn-iris", "spdnn-magazine", "spdnn-depth"} <= set(PUBLISHED)

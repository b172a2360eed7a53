"""The rules of labels and joins, each on the smallest case that shows it."""

from __future__ import annotations

import pytest

from augmint.core.errors import IncompatibleError, UsageError
from augmint.merging.contraction import Contraction, Rules, contract, distances, letter
from augmint.merging.graph import INPUT, OUTPUT, layer_graph
from augmint.merging.merge import distinct, merge_networks
from augmint.merging.network import Layer, Network
from augmint.merging.notation import chain

SHAPE = (1, 16, 16)


def nets(*words: str, norm: str = "none") -> list[Network]:
    return [chain(f"p{i}", SHAPE, w, norm=norm) for i, w in enumerate(words)]  # type: ignore[arg-type]


def structures(words: str) -> list[str]:
    graph = layer_graph(chain("n", SHAPE, words))
    return [d["node"].structure() for _, d in graph.nodes(data=True) if d]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("3C 2P 3C 3C", ["3C", "3C2P", "3C2P"]),  # pooling is sticky
        ("3C 2P 3C 2P 3C", ["3C", "3C2P", "3C4P"]),  # and multiplies
        ("3C 4P 3C 2U 3C 2U 3C", ["3C", "3C4P", "3C2P", "3C"]),  # un-pooling removes
        ("3C 2P 3C 16F R1x4x4 3C", ["3C", "3C2P", "16F", "3C"]),  # dense layers clear
        ("3C 16F R1x4x4 2U 3C 2U 3C", ["3C", "16F", "3C2U", "3C4U"]),  # nothing to remove: sticks
    ],
)
def test_sticky_pooling(words: str, expected: list[str]) -> None:
    assert structures(words) == expected


def test_labels_count_layers_and_not_pooling() -> None:
    a, b = nets("3C 2P 5C 2U 3C:1", "3C 5C 7C 3C:1")
    mark = contract([a, b], Rules(output="layer")).steps[0]
    assert {str(label) for label in mark.labels.values()} == {
        "(3C,1)", "(5C2P,2)", "(3C,3)", "(5C,2)", "(7C,3)", "(3C,4)",
    }  # fmt: skip


def test_pooling_as_a_node_counts() -> None:
    a = chain("a", SHAPE, "3C 2P 5C 2U 3C:1")
    b = chain("b", SHAPE, "3C 2P 7C 2U 3C:1")
    labels = {str(x) for x in contract([a, b], Rules(pooling="node")).steps[0].labels.values()}
    assert {"(3C,1)", "(2P,2)", "(5C2P,3)", "(2U,4)"} <= labels


def test_distance_to_the_output_is_the_smallest() -> None:
    """In a graph with a long and a short way the short one counts."""
    found = contract(nets("3C 5C 7C 9C:1", "3C 9C:1"), Rules(output="layer"))
    backward = found.steps[1]
    (first,) = [n for n, d in backward.graph.nodes(data=True) if len(d.get("members", ())) == 2]
    assert str(backward.labels[first]) == "(3C,2)"


@pytest.mark.parametrize(("distance", "expected"), [("smallest", 2), ("largest", 4)])
def test_distance_from_the_input_where_a_parent_has_a_skip(distance: str, expected: int) -> None:
    base = chain("a", SHAPE, "3C:2 3C:2 3C:2 5C:1", norm="none", activation="none")
    rows = list(base.layers)
    skip = Layer("join", "concat", (rows[1].name, rows[3].name))
    last = Layer("last", "conv", ("join",), rows[4].attributes)
    parent = Network("a", SHAPE, (*rows[:4], skip, last))
    found = contract([parent, *nets("7C:1")], Rules(output="layer", distance=distance))  # type: ignore[arg-type]
    labels = [x for x in found.steps[0].labels.values() if x.structure == "5C"]
    assert [x.distance for x in labels] == [expected]


def test_two_passes_by_definition_and_a_fixed_point_by_option() -> None:
    """A join of the second pass shortens ways,
    which makes another join of a first pass possible."""
    parents = nets("5C 7C 3C:1", "3C 3C 7C 3C:1", "7C 5C 3C 3C:1")
    once = contract(parents, Rules(output="layer"))
    assert [step.name for step in once.steps] == ["parallel", "forward", "backward"]
    assert once.counts == [11, 10, 7]
    often = contract(parents, Rules(output="layer", to_fixpoint=True))
    assert often.counts == [11, 10, 7, 6, 6, 6, 6]
    assert [step.name for step in often.steps][3:] == [
        "forward 2", "backward 2", "forward 3", "backward 3",
    ]  # fmt: skip


def test_side_branches_of_one_parent_stay_apart() -> None:
    a = chain("a", SHAPE, "3C:2 5C:2 5C:1", norm="none", activation="none").layers
    twin = Layer("twin", "conv", (a[1].name,), a[2].attributes)
    join = Layer("join", "concat", (a[2].name, "twin"))
    last = Layer("last", "conv", ("join",), a[3].attributes)
    parents = [Network(n, SHAPE, (*a[:3], twin, join, last)) for n in "ab"]
    found = contract(parents, Rules(output="layer"))
    assert found.counts == [8, 4, 4]
    assert {r.rule for r in found.refused} == {"sibling"}
    literal = contract(parents, Rules(output="layer", guard=False))
    assert literal.counts == [8, 3, 3]


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("stride", (2, 2)), ("dilation", (2, 2)), ("groups", 2), ("bias", True),
        ("padding_mode", "reflect"), ("tag", "mine"),
    ],
)  # fmt: skip
def test_operators_that_differ_are_not_joined(attribute: str, value: object) -> None:
    a, b = nets("3C:4 3C:4 5C:4 3C:1", "3C:4 3C:4 7C:4 3C:1", norm="batch")
    rows = list(b.layers)
    at = next(i for i, y in enumerate(rows) if y.name == "2-C")
    changed = {**rows[at].attributes, attribute: value}
    if attribute == "dilation":
        changed["padding"] = (2, 2)
    rows[at] = Layer("2-C", "conv", rows[at].inputs, changed)
    if attribute == "stride":
        rows.insert(at + 1, Layer("up", "unpool", ("2-C",), {"mode": "repeat", "factor": (2, 2)}))
        rows[at + 2] = Layer(rows[at + 2].name, "norm", ("up",), rows[at + 2].attributes)
    b = Network("p1", SHAPE, tuple(rows))
    plain = contract(nets("3C:4 3C:4 5C:4 3C:1", "3C:4 3C:4 7C:4 3C:1", norm="batch"))
    found = contract([a, b])
    assert found.counts[1] == plain.counts[1] + 1
    if attribute != "stride":  # a stride stands in the label itself
        reasons = [r.reason for r in found.refused if r.rule == "operator"]
        assert any(attribute.replace("_", " ") in reason for reason in reasons)


def test_published_key_holds_the_structure_alone() -> None:
    a, b = nets("3C:4 3C:4 5C:4 3C:1"), nets("3C:4 3C:4 7C:4 3C:1", norm="batch")
    other = Network("q", SHAPE, b[0].layers)
    operator, structure = (contract([*a, other], Rules(key=k)) for k in ("operator", "structure"))
    assert operator.counts[1] == 6
    assert structure.counts[1] == 4


def test_sums_are_joined_by_what_they_add() -> None:
    def residual(name: str, kernel: int) -> Network:
        rows = chain(name, SHAPE, f"3C:4 3C:4 {kernel}C:4 3C:1", "none", "none").layers
        total = Layer("sum", "add", (rows[1].name, rows[2].name))
        after = Layer("after", "conv", ("sum",), rows[3].attributes)
        last = Layer("last", "conv", ("after",), rows[4].attributes)
        return Network(name, SHAPE, (*rows[:3], total, after, last))

    merge = merge_networks([residual("a", 5), residual("b", 7)])
    sums = [y for y in merge.network if y.kind == "add"]
    assert len(sums) == 1
    assert (
        len(
            {
                merge.allocation.widths[n]
                for n in merge.plan.graph.predecessors(_sum(merge.contraction))
            }
        )
        == 1
    )


def _sum(found: Contraction) -> int:
    return next(n for n, d in found.graph.nodes(data=True) if d and d["node"].kind == "add")


def test_letters() -> None:
    assert [letter(i) for i in range(27)][-2:] == ["Z", "AA"]
    labels = contract(nets("3C 5C 3C:1", "3C 7C 3C:1"), Rules(output="layer")).steps[0].labels
    assert len({(x.letter, str(x)) for x in labels.values()}) == len(
        {x.letter for x in labels.values()}
    )


def test_distances_of_a_chain() -> None:
    graph = layer_graph(chain("n", SHAPE, "3C 5C 7C"))
    assert list(distances(graph, INPUT, min, None).values()) == [0, 1, 2, 3, 3]
    back = distances(graph.reverse(), OUTPUT, min, None)
    assert [back[n] for n in (1, 2, 3)] == [3, 2, 1]


def test_parents_that_do_not_fit_together() -> None:
    a, b = nets("3C 3C:1", "3C 3C:2")
    with pytest.raises(
        IncompatibleError, match=r"same output shape; got p0 \(1, 16, 16\), p1 \(2, 16, 16\)"
    ):
        contract([a, b])
    other = chain("q", (3, 16, 16), "3C 3C:1")
    with pytest.raises(
        IncompatibleError, match=r"same input shape; got p0 \(1, 16, 16\), q \(3, 16, 16\)"
    ):
        contract([a, other])
    with pytest.raises(IncompatibleError, match="at least two networks; got 1"):
        contract([a])
    with pytest.raises(IncompatibleError, match="different names"):
        contract([a, a])
    with pytest.raises(IncompatibleError, match="last layers are alike"):
        contract(nets("3C 3C:1", "3C 5C:1"), Rules(output="node"))


def test_numbered_names_leave_out_those_that_are_taken() -> None:
    given = [chain(name, SHAPE, "3C:1") for name in ("a", "a", "a-1", "b", "b-1", "b-1")]
    found = [n.name for n in distinct(given)]
    assert found == ["a-2", "a-3", "a-1", "b", "b-1-1", "b-1-2"]
    assert merge_networks(given[:3]).contraction.counts[-1] == 0


def test_shared_weights_are_not_merged() -> None:
    a = chain("a", SHAPE, "3C:1 3C:1", norm="none", activation="none").layers
    shared = Network("a", SHAPE, (*a[:2], Layer("2-C", "conv", ("1-C",), a[1].attributes, "1-C")))
    with pytest.raises(UsageError, match="layer '2-C' of a uses those of '1-C'"):
        contract([shared, *nets("3C:1")])


def test_words_that_are_none() -> None:
    with pytest.raises(UsageError, match="written in words"):
        chain("n", SHAPE, "3C 3Q")

"""Pictures: sound XML, every layer and label in it, boxes apart, names harmless."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from augmint.merging.draw import draw_merge, draw_parents
from augmint.merging.layout import arrange
from augmint.merging.merge import Merge, merge_networks
from augmint.merging.network import Network
from augmint.merging.notation import chain
from augmint.merging.published import PUBLISHED, published

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module", params=["spdnn-iris", "spdnn-magazine", "spdnn-depth"])
def merge(request: pytest.FixtureRequest) -> Merge:
    case = PUBLISHED[request.param]
    return merge_networks(case.parents(), "1.0x", case.rules, name=request.param)


def texts(svg: str) -> list[str]:
    return ["".join(t.itertext()) for t in ET.fromstring(svg).iter(f"{SVG}text")]


def test_every_step_is_drawn_with_every_label(merge: Merge) -> None:
    pictures = draw_merge(merge)
    assert list(pictures) == [
        "1-parents.svg", "2-parallel.svg", "3-forward.svg", "4-backward.svg", "5-merged.svg",
    ]  # fmt: skip
    for step, name in zip(merge.contraction.steps, list(pictures)[1:4], strict=True):
        found = texts(pictures[name])
        for label in step.labels.values():
            assert label.letter in found
            assert str(label) in found
        assert sum(bool(re.fullmatch(r"\(.+,\d+\)", t)) for t in found) == step.nodes


def test_merged_network_says_kernels_channels_and_pooling(merge: Merge) -> None:
    found = texts(draw_merge(merge)["5-merged.svg"])
    for n in merge.plan.order:
        node = merge.plan.layers[n].node
        assert (
            node.structure() if node.kind == "conv" else f"{merge.allocation.widths[n]}F"
        ) in found
    for chains in (d["chains"] for _, _, d in merge.plan.graph.edges(data=True)):
        for op in (op for chain_ in chains for op in chain_ if op.kind == "pool"):
            assert f"{op.attributes['stride'][0]}P" in found


def test_boxes_do_not_touch_and_stay_inside(merge: Merge) -> None:
    for svg in draw_merge(merge).values():
        root = ET.fromstring(svg)
        width, height = float(root.attrib["width"]), float(root.attrib["height"])
        for group in root.iter(f"{SVG}g"):
            down = float(re.findall(r",([\d.]+)\)", group.attrib["transform"])[0])
            boxes = [
                tuple(float(r.attrib[k]) for k in ("x", "y", "width", "height"))
                for r in group.iter(f"{SVG}rect")
                if r.attrib.get("rx") == "5"
            ]
            for i, (x, y, w, h) in enumerate(boxes):
                assert 0 <= x < x + w <= width
                assert 0 <= y + down < y + h + down <= height
                for u, v, a, b in boxes[i + 1 :]:
                    assert x + w <= u or u + a <= x or y + h <= v or v + b <= y


def test_names_are_escaped() -> None:
    evil = '<script>alert("1")</script>&'
    network = replace(chain("n", (1, 8, 8), "3C 3C"), name=evil)
    svg = draw_parents([network, chain("m", (1, 8, 8), "3C")])
    assert "<script>" not in svg
    assert evil in texts(svg)


def test_nothing_is_fetched_or_run(merge: Merge) -> None:
    for svg in draw_merge(merge).values():
        bare = svg.replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|<script|<image|<a |onload|@import", bare)


def test_same_merge_same_picture() -> None:
    case = published("spdnn-magazine")
    one, two = (draw_merge(merge_networks(case.parents(), None, case.rules)) for _ in range(2))
    assert one == two


def test_layout_of_a_diamond_with_a_long_edge() -> None:
    edges = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("a", "d"), ("d", "e")]
    found = arrange("abcde", edges)
    assert found.column == {"a": 0, "b": 1, "c": 1, "d": 2, "e": 3}
    held = found.routes["a", "d"]
    assert [c for c, _ in held] == [1.0]
    in_column = [found.height["b"], found.height["c"], held[0][1]]
    gaps = [abs(p - q) for i, p in enumerate(in_column) for q in in_column[i + 1 :]]
    assert min(gaps) >= 0.7 - 1e-9


def test_layout_finds_an_order_without_crossings() -> None:
    """Three chains whose layers are listed in a mixed order."""
    nodes = ["s", "b1", "a1", "c1", "c2", "b2", "a2", "t"]
    edges = [e for x in "abc" for e in (("s", f"{x}1"), (f"{x}1", f"{x}2"), (f"{x}2", "t"))]
    found = arrange(nodes, edges)
    for x, y in ("ab", "ac", "bc"):
        first = found.height[f"{x}1"] - found.height[f"{y}1"]
        second = found.height[f"{x}2"] - found.height[f"{y}2"]
        assert first * second > 0


def test_picture_of_a_network_with_everything() -> None:
    rows = chain("a", (1, 8, 8), "3C:4 3C:4 2P 3C:4 2U 5C:4 3C:1", last="sigmoid")
    other = chain("b", (1, 8, 8), "3C:4 7C:1", last="sigmoid")
    merge = merge_networks([rows, Network("b", other.shape, other.layers)], "1.0x")
    found = texts(draw_merge(merge)["5-merged.svg"])
    assert {"2P", "2U", "input", "output"} <= set(found)

"""The report: one safe, self-contained, well-formed page whose numbers are those of report.json."""

from __future__ import annotations

import copy
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_examples import fake_pictures, fake_report, noise

from augmint.studies.report.formats import decimals, span, visible
from augmint.studies.report.render import (
    SECTIONS,
    render,
    render_recipe,
    to_json,
    write_report,
)

HOSTILE = "<script>alert(1)</script>"
QUOTED = "\"><img src=x onerror=alert(2)> & 'q' {{ 7*7 }} {% raw %} $x^2$ \x1b[31m \u202e"
VOID = {"meta", "img", "br", "hr", "link", "input", "wbr"}


class Strict(HTMLParser):
    """Collects tags, ids, data values and text; fails on tags that do not balance."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.values: list[float] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, k, v or "") for k, v in attrs]
        names = [k for k, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice in <{tag}>"
        if tag == "data":
            self.values.append(float(dict(attrs)["value"] or "nan"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, k, v or "") for k, v in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parse(page: str) -> Strict:
    """Parse a page strictly and return what was found."""
    found = Strict()
    found.feed(page)
    found.close()
    assert found.open == []
    ids = [v for _, k, v in found.attributes if k == "id"]
    assert len(ids) == len(set(ids)), sorted(i for i in ids if ids.count(i) > 1)
    return found


def numbers_in(value: Any) -> set[float]:
    """Return every number inside JSON data."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return set()
    if isinstance(value, int | float):
        return {float(value)}
    items = value.values() if isinstance(value, dict) else value
    return set().union(*map(numbers_in, items)) if items else set()


def test_page_is_well_formed_and_has_every_section() -> None:
    found = parse(render(fake_report(), fake_pictures()))
    ids = {v for _, k, v in found.attributes if k == "id"}
    assert {name for name, _, _ in SECTIONS} <= ids
    links = {v[1:] for tag, k, v in found.attributes if tag == "a" and k == "href"}
    assert links <= ids
    assert {v[5:-1] for _, _, v in found.attributes if re.fullmatch(r"url\(#.*\)", v)} <= ids
    uses = {v[1:] for tag, k, v in found.attributes if tag == "use" and k == "href"}
    assert uses
    assert uses <= ids


@pytest.mark.parametrize("hostile", [HOSTILE, QUOTED])
def test_hostile_text_stays_text(hostile: str) -> None:
    clean = parse(render(fake_report(), fake_pictures()))
    page = render(fake_report(hostile), fake_pictures())
    found = parse(page)
    assert found.tags == clean.tags
    assert "script" not in found.tags
    assert not [k for _, k, _ in found.attributes if k.startswith("on")]
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert any("7*7" in t or "alert(1)" in t for t in found.text)


@pytest.mark.parametrize("hostile", ["", HOSTILE, "https://example.org/x.png"])
def test_page_asks_nothing_of_the_network(hostile: str) -> None:
    page = render(fake_report(hostile), fake_pictures())
    found = parse(page)
    allowed = {"a": "#", "use": "#", "img": "data:image/png;base64,"}
    for tag, key, value in found.attributes:
        if key in ("src", "href", "srcset", "action", "xlink:href", "data"):
            assert value.startswith(allowed[tag])
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    if not hostile.startswith("http"):
        assert not re.search(r"https?:", page)
    policy = [v for t, k, v in found.attributes if t == "meta" and k == "content"]
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in policy


def test_every_number_shown_is_in_report_json(tmp_path: Path) -> None:
    path = write_report(tmp_path / "out", fake_report(), fake_pictures())
    assert path.name == "report.html"
    written = json.loads((path.parent / "report.json").read_text(encoding="utf-8"))
    assert written == to_json(fake_report())
    shown = parse(path.read_text(encoding="utf-8")).values
    assert len(shown) > 150
    assert set(shown) <= numbers_in(written)
    uplift = written["uplift"]
    assert {uplift[k] for k in ("mean", "low", "high", "p", "sd", "delta")} <= set(shown)


@pytest.mark.parametrize("verdict", ["helps", "hurts", "no practical difference", "inconclusive"])
def test_minimal_report(verdict: str) -> None:
    found = parse(render({"verdict": verdict}, {}))
    assert verdict.capitalize() in "".join(found.text)
    assert not found.tags & {"svg", "img", "table"}


def test_empty_report() -> None:
    assert "No verdict" in "".join(parse(render({}, {})).text)


@pytest.mark.parametrize("missing", sorted(fake_report()))
@pytest.mark.parametrize("gone", [True, False])
def test_any_field_may_be_missing_or_none(missing: str, gone: bool, monkeypatch: Any) -> None:
    monkeypatch.setattr("augmint.studies.report.plots.charts", dict)
    report = fake_report()
    if gone:
        del report[missing]
    else:
        report[missing] = None
    parse(render(report, {}))


def test_nested_fields_may_be_none() -> None:
    def blank(value: Any, depth: int) -> Any:
        if isinstance(value, dict):
            return {k: blank(v, depth + 1) for k, v in value.items()}
        if isinstance(value, list):
            return [blank(v, depth + 1) for v in value]
        return None if depth > 1 else value

    page = render(blank(fake_report(), 0), fake_pictures())
    assert "None" not in "".join(parse(page).text)
    assert "nan" not in page.split("</style>")[1].lower().split("base64")[0]


def test_numbers_that_are_not_finite_are_dashes(tmp_path: Path) -> None:
    report = fake_report()
    report["uplift"].update(mean=float("nan"), low=float("-inf"), p=np.float64("nan"))
    path = write_report(tmp_path, report, {})
    assert json.loads((tmp_path / "report.json").read_text())["uplift"]["mean"] is None
    parse(path.read_text(encoding="utf-8"))


def test_same_report_same_bytes() -> None:
    report = fake_report()
    before = copy.deepcopy(report)
    assert render(report, fake_pictures()) == render(report, fake_pictures())
    assert report == before


def test_unassessed_copying_says_so() -> None:
    report = fake_report()
    report["copying"].update(assessed=False, recall=0.61, text=None)
    text = " ".join("".join(parse(render(report, {})).text).split())
    assert "Not assessed." in text
    assert "missed too many planted copies" in text
    assert "of 1 000 (" not in text.replace("\u202f", " ")


@pytest.mark.parametrize(("p", "told"), [(0.4, False), (0.002, True), (None, True)])
def test_flags_beyond_chance_are_told_beside_the_verdict(p: float | None, told: bool) -> None:
    report = fake_report()
    report["copying"]["p"] = p
    assert ("than chance explains" in render(report, {})) is told


def test_failed_control_is_told_beside_the_verdict() -> None:
    page = render(fake_report(), {})
    verdict = page[page.index('id="verdict"') : page.index('id="arms"')]
    assert "The control “copies” failed" in verdict


def test_picture_that_is_not_png_is_left_out() -> None:
    page = render({"verdict": "helps"}, {"real": b"GIF89a <script>", "minted": noise(8, 8, 1)})
    assert page.count("<img") == 1


def test_many_seeds_and_many_classes() -> None:
    report = fake_report()
    report["uplift"]["differences"] = [math.sin(i) for i in range(40)]
    report["per_class"] = report["per_class"] * 5
    parse(render(report, {}))


def test_recipe_page() -> None:
    result = {
        "title": "Letters" + HOSTILE,
        "source": "Someone 2018" + HOSTILE,
        "debug": True,
        "deviations": ["the rate is constant" + HOSTILE],
        "protocols": {"error": "on 100 images" + HOSTILE},
        "recipe": "letters" + HOSTILE,
        "variant": "debug",
        "seconds": 12.5,
        "augmint": "0.1.0",
        "metrics": {"error": 3.21, "note": "fine" + HOSTILE},
        "expected": {"error": 2.9, "other": None},
        "machine": {"torch": "2.13.0"},
        "command": "augmint run letters --debug",
        "warnings": [HOSTILE],
    }
    found = parse(render_recipe(result, {"samples" + HOSTILE: noise(64, 64, 3)}))
    assert "script" not in found.tags
    assert {3.21, 2.9, 12.5} <= set(found.values)
    assert set(found.values) <= numbers_in(result)
    parse(render_recipe({}, {}))


def test_what_minted_images_claim_is_written_as_a_number() -> None:
    report = {**fake_report(), "claims": {"aspect": "landmarks", "recognised": False}}
    found = parse(render(report, fake_pictures()))
    assert any("against their landmarks" in text for text in found.text)
    assert not any("<data" in text for text in found.text)


def test_number_forms() -> None:
    assert decimals(1234567, None) == "1\u202f234\u202f567"
    assert decimals(-0.0001, 2) == "−1.00e−04"
    assert decimals(0.0, 2) == "0.00"
    assert span(59.6) == "60 s" or span(59.6) == "1 min 0 s"
    assert visible({"a\x00": ["b\u202ec", 1]}) == {"a\ufffd": ["b\ufffdc", 1]}


def test_scores_of_parts_stand_in_tables_of_their_own() -> None:
    report = fake_report()
    report |= {"claims": {"recognised": False}, "units": {"mae.yaw": "degrees"}}
    for i, arm in enumerate(report["arms"].values()):
        scores = {"mae.yaw": 3.257 + i, "nine.iris.mcc": 0.5, "nine.pupil.mcc": None}
        arm["secondary"] = {"dice": 0.75, **scores}
    page = render(report, {})
    assert page.count("degrees</span>") == 1
    assert page.count('<data value="3.257">') == 1
    assert "Mean absolute error of each component" in page
    of_classes = page.partition("Pixels of each class")[2].partition("</table>")[0]
    assert of_classes.count("iris") == of_classes.count("pupil") == len(report["arms"])
    others = page.partition("Other scores")[2].partition("</table>")[0]
    assert "Dice" in others
    assert "iris" not in others

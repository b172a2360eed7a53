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

from augmint.core.pictures import png_bytes, to_picture
from augmint.studies.report.formats import decimals, seconds_text, visible
from augmint.studies.report.render import (
    SECTIONS,
    render,
    render_recipe,
    to_json,
    write_recipe_report,
    write_report,
)

HOSTILE = "<script>alert(1)</script>"
QUOTED = "\"><img src=x onerror=alert(2)> & 'q' {{ 7*7 }} {% raw %} $x^2$ \x1b[31m \u202e"
VOID = {"meta", "img", "br", "hr", "link", "input", "wbr"}


def noise(height: int, width: int, seed: int) -> bytes:
    """Return a PNG of smooth blobs: something to look at where a real grid would stand."""
    draw = np.random.default_rng(seed)
    pixels = draw.normal(size=(height, width))
    for axis in (0, 1):
        pixels = sum(np.roll(pixels, k, axis) for k in (-1, 0, 1))
    pixels = 255 * (pixels - pixels.min()) / (pixels.max() - pixels.min())
    return png_bytes(to_picture(pixels.astype(np.uint8)[None]))


def fake_pictures() -> dict[str, bytes]:
    """Return one picture for every name that a study may give."""
    names = ("real", "minted", "progress", "planted", "flagged")
    found = {name: noise(100, 120, i) for i, name in enumerate(names)}
    return {**found, "pairs": noise(120, 700, 9)}


def fake_report(hostile: str = "") -> dict[str, Any]:
    """Return a report with every field; `hostile` is put into every text of the user's."""
    arms = {}
    training = {
        "classic": "real images, classic augmentation",
        "minted": "as classic, and curated minted images as half of each batch",
        "shuffled": "as minted, with shuffled labels",
        "more-real": "as classic, and as many held-back real images",
        "copies": "as classic, and near-copies of real images",
    }
    shift = {"classic": 0.0, "minted": 1.4, "shuffled": -2.1, "more-real": 2.9, "copies": 0.1}
    base = [88.21, 87.4, 89.03, 88.7, 87.96]
    wobble = [0.31, -0.42, 0.12, 0.66, -0.35]
    for i, (name, text) in enumerate(training.items()):
        scores = [round(b + shift[name] + 0.6 * wobble[(j + i) % 5], 3) for j, b in enumerate(base)]
        arms[name + hostile] = {
            "mean": float(np.mean(scores)),
            "sd": float(np.std(scores, ddof=1)),
            "scores": scores,
            "training": text + hostile,
            "views_of_each_real_image": 160.0 if i % 2 else 320.0,
            "against_classic": None
            if name == "classic"
            else {
                "mean": shift[name] + 0.031,
                "low": shift[name] - 0.61,
                "high": shift[name] + 0.77,
                "p": 0.0123,
                "p_holm": 0.0004 if i == 1 else 0.2481,
            },
            "secondary": {
                "balanced_accuracy": 88.123,
                "macro_f1": 0.87654,
                "nll": 0.41234,
                "ece": 0.03456,
                "worst_class": 71.42,
            },
        }
    differences = [1.12, 1.98, 0.87, 1.55, 2.21]
    return {
        "title": "digits" + hostile,
        "created": "2025-03-04T10:11:12+00:00",
        "augmint": "0.1.0",
        "verdict": "helps",
        "sentence": "Minted images help small-cnn, trained from scratch at 8 × 8 on digits with 10 real "
        "images a class: +1.55 points of accuracy over classic augmentation, 95 % interval +0.86 "
        "to +2.23, on 5 paired seeds and the same 597 test images." + hostile,
        "by_more_than_delta": False,
        "metric": "accuracy",
        "unit": "points",
        "baseline": "classic" + hostile,
        "treatment": "minted" + hostile,
        "uplift": {
            "mean": 1.546,
            "low": 0.861,
            "high": 2.231,
            "p": 0.00331,
            "seeds": 5,
            "delta": 1.31,
            "sd": 0.5517,
            "method": "paired t, 4 degrees of freedom",
            "seeds_to_settle": 12,
            "differences": differences,
        },
        "arms": arms,
        "arms_left_out": {"translated" + hostile: "no translator was given" + hostile},
        "controls": [
            {
                "name": "shuffled" + hostile,
                "expectation": "must not help",
                "passed": True,
                "text": "−2.07 points, 95 % interval −2.71 to −1.33" + hostile,
            },
            {
                "name": "more-real",
                "expectation": "should help",
                "passed": True,
                "text": "+2.93 points",
            },
            {
                "name": "copies",
                "expectation": "must trip the copying alarm",
                "passed": False,
                "text": "The alarm did not ring.",
            },
            {
                "name": "repeat",
                "expectation": "must be about zero",
                "passed": None,
                "text": "not run",
            },
        ],
        "per_class": [
            {
                "class": f"{c}{hostile}",
                "test_images": 19 if c == 8 else 59 + c,
                "baseline": 85.1 + c,
                "treatment": 86.0 + c,
                "difference": round(math.sin(c) * 3, 3),
                "low": round(math.sin(c) * 3 - 1.6, 3),
                "high": round(math.sin(c) * 3 + 1.7, 3),
                "p_holm": 0.05 * (c + 1),
                "arrow": "none"
                if c in (0, 8) or abs(math.sin(c)) < 0.6
                else "up"
                if math.sin(c) > 0
                else "down",
                "note": "too few test images" if c == 8 else None,
            }
            for c in range(10)
        ],
        "equivalent": {
            "assessed": True,
            "images": 63.4,
            "low": 22.1,
            "high": 118.9,
            "reason": "",
            "curve": [
                {
                    "n": n,
                    "error_mean": 6 + 90 * n**-0.5,
                    "errors": [6 + 90 * n**-0.5 + w for w in wobble],
                }
                for n in (13, 25, 50, 100, 200)
            ],
            "fit": {"a": 6.0123, "b": 90.4321, "c": 0.5012},
        },
        "distribution": [
            {
                "metric": "frechet",
                "value": 3.21456,
                "floor": 0.98765,
                "refused": None,
                "seeds": [3.1, 3.3, 3.25],
                "protocol": {
                    "samples": 100,
                    "features": "small-cnn" + hostile,
                    "digest": "a1b2c3d4",
                    "split": "training, cross-fitted",
                    "resize": "none",
                    "dtype": "float64",
                },
            },
            {
                "metric": "kid",
                "value": 0.0000123,
                "floor": None,
                "refused": None,
                "seeds": [],
                "protocol": {"subsets": 100},
            },
            {
                "metric": "frechet-inception",
                "value": None,
                "floor": None,
                "refused": "100 samples are fewer than 2048 feature dimensions" + hostile,
                "seeds": [],
            },
        ],
        "label_truth": [
            {
                "judge": "cross-fitted on the training split" + hostile,
                "value": 0.9312,
                "judge_accuracy": 0.9588,
                "n": 1000,
            }
        ],
        "diversity": {
            "within": {
                "mse": {"minted": 0.0712, "real": 0.0833},
                "ssim": {"minted": 0.4111, "real": 0.3555},
            },
            "between": {
                "mse": {"minted": 0.1712, "real": 0.1833},
                "ssim": {"minted": 0.1111, "real": 0.0955},
            },
            "pairs": 2000,
            "seed": 7,
        },
        "copying": {
            "recall": 0.982,
            "recall_by_transform": {
                "exact": 1.0,
                "flipped": 1.0,
                "jpeg": 0.99,
                "crop": 0.95,
                "colour_jitter": 0.97,
            },
            "flagged": 3,
            "share": 0.003,
            "minted": 1000,
            "assessed": True,
            "alpha": 0.001,
            "threshold": 0.1234,
            "held_out": 997,
            "source": "the validation split" + hostile,
            "nearer_share": 0.5123,
            "authenticity": 0.8765,
            "c_t": -0.532,
            "p": 0.297,
            "text": "3 of 1 000 minted images are closer to a training image than real ones are."
            + hostile,
        },
        "curation": {
            "requested": 1000,
            "drawn": 1312,
            "accepted": 1000,
            "threshold": 0.8,
            "rejected": {"judge_disagrees" + hostile: 250, "too_close_to_training": 62},
        },
        "power": {
            "mde": 0.943,
            "pilot_sd": 0.551,
            "pilot_seeds": 3,
            "text": "Five seeds detect 0.94 points with 80 % power." + hostile,
        },
        "policy": {
            "chosen": "shift-rotate",
            "text": "Chosen by cross-validation on pilot seeds.",
            "candidates": [
                {"name": "none", "mean": 86.2, "sd": 0.7},
                {"name": "shift-rotate", "mean": 88.4, "sd": 0.5},
                {"name": "mixup" + hostile, "mean": 87.1, "sd": 0.6},
            ],
        },
        "check": {
            "exact_within": [[1, 2]],
            "near_across": [],
            "class_counts": {"zero" + hostile: 10},
            "warnings": ["one" + hostile],
        },
        "data": {
            "source": "digits" + hostile,
            "images": 1797,
            "shape": [1, 8, 8],
            "classes": [f"{c}{hostile}" for c in range(10)],
            "train_per_class": 10,
            "train": 100,
            "validation": 100,
            "pool": 1000,
            "test": 597,
            "digest": "9f86d081884c7d65",
        },
        "network": {
            "name": "small-cnn" + hostile,
            "parameters": 123456,
            "initialisation": "from scratch",
            "size": [8, 8],
        },
        "generator": {
            "text": "A generator of 210 000 parameters was trained 5 times." + hostile,
            "conditioning": "vac",
            "objective": "hinge",
            "steps": 2000,
            "parameters": 210000,
            "losses": [
                {
                    "step": s,
                    "critic": 1 + math.cos(s / 300) / 3,
                    "generator": math.sin(s / 200),
                    "auxiliary" + hostile: 2 * math.exp(-s / 700),
                }
                for s in range(0, 2001, 100)
            ],
        },
        "cost": [
            {"stage": "generator", "count": 5, "seconds": 412.3, "images_shown": 640000},
            {"stage": "arm" + hostile, "count": 25, "seconds": 301.9, "images_shown": 1600000},
            {"stage": "judge", "count": 5, "seconds": 33.2, "images_shown": None},
        ],
        "seconds": 747.4,
        "images_shown": 2240000,
        "machine": {
            "augmint": "0.1.0",
            "torch": "2.13.0",
            "cpu": "a processor" + hostile,
            "threads": 1,
        },
        "command": "augmint prove digits --preset quick" + hostile,
        "config_yaml": "data: digits\npreset: quick\n# " + hostile + "\n",
        "test_openings": [{"time": 1741083000.5, "why": "the study's only look" + hostile}],
        "warnings": ["A warning." + hostile],
    }


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


def test_recipe_page(tmp_path: Path) -> None:
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
    path = write_recipe_report(tmp_path, result, {"samples" + HOSTILE: noise(64, 64, 3)})
    found = parse(path.read_text(encoding="utf-8"))
    assert "script" not in found.tags
    assert {3.21, 2.9, 12.5} <= set(found.values)
    assert set(found.values) <= numbers_in(json.loads((tmp_path / "report.json").read_text()))
    parse(render_recipe({}, {}))


def test_number_forms() -> None:
    assert decimals(1234567, None) == "1\u202f234\u202f567"
    assert decimals(-0.0001, 2) == "−1.00e−04"
    assert decimals(0.0, 2) == "0.00"
    assert seconds_text(59.6) == "60 s" or seconds_text(59.6) == "1 min 0 s"
    assert visible({"a\x00": ["b\u202ec", 1]}) == {"a\ufffd": ["b\ufffdc", 1]}

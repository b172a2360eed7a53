"""The report in a real browser: silent, self-contained, fit for a phone,
readable without colour."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser as headless
import pytest
from report_examples import fake_pictures, fake_report

from augmint.studies.report.render import render_recipe, write_report

CHROMIUM = headless.found()
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason=f"no browser on the PATH ({', '.join(headless.NAMES)})"
)
ELSEWHERE = "leak.example"
PHONE, DESKTOP = (390, 844), (1280, 800)
HOSTILE = (
    "<script>window.hit=1</script>",
    '" onmouseover="window.hit=1" autofocus onfocus="window.hit=1" x="',
    "'><img src=x onerror=window.hit=1><svg onload=window.hit=1>",
    f"javascript:window.hit=1 </style><link rel=stylesheet href=http://{ELSEWHERE}/a.css>",
    f"</title></head><iframe src=http://{ELSEWHERE}></iframe><meta http-equiv=refresh content=0>",
    f"=cmd|' /C calc'!A0 @import url(http://{ELSEWHERE}/b.css); ]]><!-- --!> &#60;b&#62;",
    "x" * 300,
    "\u202egnp.exe \x1b[31m {{7*7}} $\\frac{1}{$ \ufeff\u200b",
)

CONTRASTS = """(() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  canvas.canvas.width = canvas.canvas.height = 1;
  const rgba = text => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
  };
  const light = c => {
    const [r, g, b] = c.map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const c = rgba(getComputedStyle(e).backgroundColor);
      if (c[3] > 0.99) return c;
    }
    return rgba('Canvas');
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), e = walker.currentNode.parentElement;
    if (!text || !e.getClientRects().length || e.closest('nav h2')) continue;
    const style = getComputedStyle(e);
    const ink = rgba(e.closest('svg') ? style.fill : style.color), paper = behind(e);
    const [a, b] = [light(ink.slice(0, 3)), light(paper.slice(0, 3))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), ink[3], text.slice(0, 40), e.tagName]);
  }
  return found;
})()"""

LAYOUT = """(() => {
  const wide = innerWidth, out = [];
  for (const e of document.querySelectorAll('main *, header *')) {
    const box = e.getBoundingClientRect();
    if (!box.width || e.closest('.scroll, pre, nav, .frame') && !e.matches('.scroll, pre, .frame'))
      continue;
    if (e.closest('svg') && e.tagName !== 'svg') continue;
    if (box.left < -1 || box.right > wide + 1) out.push([e.tagName, e.className, box.right]);
  }
  const seen = document.querySelector('h1').getBoundingClientRect();
  return {
    page: document.documentElement.scrollWidth, wide, out,
    verdict: seen.top >= 0 && seen.bottom <= innerHeight && seen.height > 20,
    sentence: document.querySelector('.sentence').getBoundingClientRect().bottom <= innerHeight,
    pictures: [...document.images].map(i => {
      const box = i.getBoundingClientRect();
      return [i.naturalWidth, box.width, box.height, i.alt.length];
    }),
    charts: [...document.querySelectorAll('.chart')].map(c =>
      [...c.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().width > 100).length),
  };
})()"""


@pytest.fixture(scope="module")
def browsed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[headless.Browser, Path]]:
    folder = tmp_path_factory.mktemp("browser")
    assert CHROMIUM is not None
    try:
        with headless.start(CHROMIUM, folder) as running:
            yield running
    except headless.BrowserError as error:
        pytest.skip(f"{CHROMIUM} does not run here ({error})")


@pytest.fixture
def page(browsed: tuple[headless.Browser, Path]) -> headless.Page:
    return browsed[0].page()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(tmp_path_factory.mktemp("report"), fake_report(), fake_pictures())


def silent(page: headless.Page, path: Path) -> None:
    """Nothing on the console, and nothing asked for but the file itself."""
    assert page.complaints() == []
    others = [url for url in page.asked() if not url.startswith("data:image/png;base64,")]
    assert others == [path.as_uri()]


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_it_is_silent_and_fits(page: headless.Page, report: Path, size: tuple[int, int]) -> None:
    page.size(*size)
    page.go(report.as_uri())
    silent(page, report)
    found = page.evaluate(LAYOUT)
    assert found["wide"] == size[0]
    assert found["page"] <= size[0]
    assert found["out"] == []
    assert found["verdict"]
    assert found["sentence"]
    assert len(found["pictures"]) == len(fake_pictures())
    assert all(min(picture) > 0 for picture in found["pictures"]), found["pictures"]
    # each chart is drawn for wide and for narrow pages, and one of the two is shown
    assert found["charts"]
    assert set(found["charts"]) == {1}


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize(
    "media",
    [
        {"prefers_color_scheme": "light"},
        {"prefers_color_scheme": "dark"},
        {"forced_colors": "active"},
    ],
    ids=["light", "dark", "forced"],
)
def test_every_text_stands_out(
    page: headless.Page, report: Path, size: tuple[int, int], media: dict[str, str]
) -> None:
    page.size(*size)
    page.media(**media)
    page.go(report.as_uri())
    found = page.evaluate(CONTRASTS)
    assert len(found) > 300
    assert [row for row in found if row[0] < 4.5 or row[1] < 0.99] == []


def test_nothing_is_told_by_colour_alone(page: headless.Page, report: Path) -> None:
    page.size(*DESKTOP)
    page.send("Emulation.setEmulatedVisionDeficiency", type="achromatopsia")
    page.go(report.as_uri())
    told = page.evaluate(
        """({
          verdict: document.querySelector('h1').innerText,
          states: [...document.querySelectorAll('.controls li')].map(
            e => [e.className, e.querySelector('.state').innerText]),
          arrows: [...document.querySelectorAll('td.arrow .good, td.arrow .bad')].map(
            e => [e.className, e.innerText]),
          named: [...document.querySelectorAll('#arms svg.wide, #arms .wide svg')].map(
            s => [...s.querySelectorAll('text')].map(t => t.textContent)).flat(),
          lines: [...document.querySelectorAll('#generator .wide svg path, #generator svg.wide path')].map(
            p => getComputedStyle(p)).filter(s => s.fill === 'none' && parseFloat(s.strokeWidth) > 1.2)
            .map(s => s.strokeDasharray),
        })"""  # noqa: E501
    )
    assert "Helps" in told["verdict"]
    assert "▲" in told["verdict"]
    # what a class colours, a word says: one word for each class, and no two the same
    words = {tuple(pair) for pair in (*told["states"], *told["arrows"])}
    assert {name for name, _ in words} == {"pass", "fail", "", "good", "bad"}
    assert len({text for _, text in words}) == len({name for name, _ in words})
    assert set(fake_report()["arms"]) <= set(told["named"])
    assert len(set(told["lines"])) >= 3


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_does_nothing(page: headless.Page, tmp_path: Path, text: str) -> None:
    path = write_report(tmp_path, fake_report(text), {"real" + text: b"x", **fake_pictures()})
    page.size(*PHONE)
    page.go(path.as_uri())
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        page.send("Input.dispatchMouseEvent", type=kind, x=200, y=400, button="left", clickCount=1)
    assert page.evaluate("typeof window.hit") == "undefined"
    assert page.evaluate("document.querySelectorAll('script, iframe, link, [onload]').length") == 0
    silent(page, path)
    found = page.evaluate(LAYOUT)
    assert found["page"] <= PHONE[0]
    assert found["out"] == []


def test_a_recipe_is_silent_and_fits(page: headless.Page, tmp_path: Path) -> None:
    result: dict[str, Any] = {
        "title": "Letters",
        "recipe": "letters " + HOSTILE[2],
        "source": "a paper of many words " * 4,
        "deviations": ["the rate is constant"],
        "metrics": {"error": 3.21, "a_measure_with_a_very_long_name": 1.0},
        "expected": {"error": 2.9},
        "protocols": {"error": "on 100 images " * 9},
        "seconds": 12.5,
        "command": "augmint run letters --debug --out " + "deep/" * 40,
        "machine": {"cpu": "a processor"},
    }
    path = tmp_path / "report.html"
    path.write_text(render_recipe(result, {"samples": fake_pictures()["pairs"]}), encoding="utf-8")
    for size in (PHONE, DESKTOP):
        page.size(*size)
        page.go(path.as_uri())
        silent(page, path)
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert [row for row in page.evaluate(CONTRASTS) if row[0] < 4.5] == []


def test_the_browser_would_tell(page: headless.Page, tmp_path: Path) -> None:
    """Checks that see nothing would let everything pass."""
    path = tmp_path / "bad.html"
    path.write_text(
        f"<img src='http://{ELSEWHERE}/watched.png'><script>throw Error('loud')</script>"
        "<p style='color:#999;background:#fff'>faint</p><div style='width:2000px'>wide</div>"
    )
    page.size(*PHONE)
    page.go(path.as_uri())
    assert any("loud" in text for text in page.complaints())
    assert any(ELSEWHERE in url for url in page.asked())
    assert min(row[0] for row in page.evaluate(CONTRASTS)) < 4.5
    assert page.evaluate("document.documentElement.scrollWidth") > PHONE[0]


def test_no_request_leaves_the_machine(report: Path, tmp_path: Path) -> None:
    """The browser's own log of its network, complete only once it has ended."""
    assert CHROMIUM is not None
    hostile = write_report(tmp_path / "hostile", fake_report(HOSTILE[3]), fake_pictures())
    try:
        with headless.start(CHROMIUM, tmp_path) as (browser, log):
            page = browser.page()
            for path in (report, hostile):
                page.go(path.as_uri())
                silent(page, path)
    except headless.BrowserError as error:
        pytest.skip(f"{CHROMIUM} does not run here ({error})")
    text = log.read_text(encoding="utf-8")
    shutil.rmtree(tmp_path / "profile", ignore_errors=True)
    assert ELSEWHERE not in text
    found = json.loads(text)
    names = {number: name for name, number in found["constants"]["logEventTypes"].items()}
    kinds = {names[event["type"]] for event in found["events"]}
    assert "TCP_CONNECT" in names.values()
    assert "REQUEST_ALIVE" in kinds or found["events"]
    # what a browser asks of its maker finds no address here: no connection is ever made
    assert not kinds & {"TCP_CONNECT", "TCP_CONNECT_ATTEMPT", "SSL_CONNECT"}

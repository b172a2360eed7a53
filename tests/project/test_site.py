"""The documentation builds without a warning, and no page of it asks anything of the network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOADS = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
ELSEWHERE = re.compile(r"^(?:\w+:)?//")


class Requests(HTMLParser):
    """Collects what a page makes a browser load from another machine."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        address = values.get(LOADS.get(tag, ""), "") or ""
        if ELSEWHERE.match(address):
            self.found.append(f"<{tag}> {address}")
        if "url(http" in (values.get("style") or ""):
            self.found.append(f"<{tag}> {values['style']}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    pytest.importorskip("mkdocs", reason="needs the extra docs: pip install 'augmint[docs]'")
    pytest.importorskip("material", reason="needs the extra docs: pip install 'augmint[docs]'")
    folder = tmp_path_factory.mktemp("site") / "site"
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr  # --quiet would hide them from --strict
    return folder


def test_every_page_is_built_and_filled_in(site: Path) -> None:
    for source in (ROOT / "docs").rglob("*.md"):
        page = site / source.relative_to(ROOT / "docs").with_suffix(".html")
        text = page.read_text(encoding="utf-8")
        assert "<!-- generated:" not in text, page
        article = text.split("<article")[1].split("</article>")[0]
        assert len(re.sub(r"<[^>]*>", "", article)) > 400, f"{page} is empty"
    assert not list(site.rglob("*.py")), "sources of the site are no part of it"


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    wrong = []
    for page in site.rglob("*.html"):
        parser = Requests()
        parser.feed(page.read_text(encoding="utf-8"))
        wrong += [f"{page.relative_to(site)}: {place}" for place in parser.found]
    for sheet in site.rglob("*.css"):
        said = re.findall(
            r"(?:@import\s+|url\()[\"']?((?:https?:)?//[^\"')]+)", sheet.read_text("utf-8")
        )
        wrong += [f"{sheet.relative_to(site)}: {place}" for place in said]
    assert not wrong, wrong


def test_a_page_that_did_would_be_found() -> None:
    parser = Requests()
    parser.feed('<link href="//a/b.css"><script src="https://a/b.js"></script><img src="x.png">')
    assert parser.found == ["<link> //a/b.css", "<script> https://a/b.js"]

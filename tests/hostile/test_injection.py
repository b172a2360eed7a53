"""Names that are markup, formulas or terminal codes stay text in everything that augmint writes."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest
from arena import NAMES, image_folder
from bases import SHAPE
from report_examples import fake_pictures, fake_report
from test_report import parse

from augmint.studies.report.render import render, write_report

PAYLOADS = (
    *NAMES,
    "</title></style></script><script>alert(1)</script>",
    "'><img src=x onerror=alert(1)><svg/onload=alert(1)>",
    "]]><!-- --!><![CDATA[ &#60;script&#62; &lt;b&gt;",
    '=HYPERLINK("http://leak.example";"x")',
    "=1+1\t|\r\n@SUM(1)",
)


def harmless(page: str, clean: str) -> None:
    """The same tags as without the payload, and nothing that runs or leads elsewhere."""
    found, sound = parse(page), parse(clean)
    assert found.tags == sound.tags
    assert not [k for _, k, _ in found.attributes if k.startswith("on")]
    targets = [v for _, k, v in found.attributes if k in ("href", "src", "action", "xlink:href")]
    assert all(v.startswith(("#", "data:image/png;base64,")) for v in targets)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page)


def test_the_report_page() -> None:
    clean = render(fake_report(), {})
    for payload in random.Random(1).sample(PAYLOADS, 6):
        harmless(render(fake_report(payload), {}), clean)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_report_page_with_every_name() -> None:
    clean = render(fake_report(), fake_pictures())
    for payload in PAYLOADS:
        harmless(render(fake_report(payload), fake_pictures()), clean)


@pytest.mark.parametrize("payload", ["=cmd|' /C calc'!A0", "\x1b[31m\u202e", "</script>\n,\"'"])
def test_report_json_keeps_the_text(payload: str, tmp_path: Path) -> None:
    write_report(tmp_path, fake_report(payload), {})
    raw = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert json.loads(raw)["treatment"] == "minted" + payload
    # JSON writes control characters as escapes: printing the file cannot steer a terminal
    assert not re.search("[\x00-\x09\x0b-\x1f]", raw)


@pytest.fixture(scope="module")
def minted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an untrained generator mints for classes with every one of these names."""
    from augmint.aspects.base import Schema
    from augmint.aspects.category import Category
    from augmint.cli import main
    from augmint.core.streams import scope
    from augmint.minting.bundle import Bundle
    from augmint.training.config import GanConfig
    from augmint.training.gan import build_generator

    schema = Schema((Category("label", PAYLOADS),))
    gan = GanConfig(generator={"name": "dcgan-generator", "channels": 4}, latent_dim=5, steps=1)
    with scope(3, "hostile.injection"):
        generator = build_generator(gan, schema, SHAPE).eval()
    folder = tmp_path_factory.mktemp("injection")
    bundle = Bundle(generator, gan, schema, SHAPE).save(folder / "bundle")
    words = ["mint", str(bundle), "--out", str(folder / "minted"), "--per-class", "1", "--raw"]
    assert main(words) == 0
    return folder / "minted"


def test_a_minted_set_keeps_its_names(minted: Path) -> None:
    lines = (minted / "metadata.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    rows = [json.loads(line) for line in lines]
    assert [row["label"] for row in rows] == list(PAYLOADS)
    for row in rows:
        # a file name that no shell, spreadsheet, file system or terminal reads as more than a name
        assert re.fullmatch(r"[\w%~+=,@ .-]+/\d+\.png", row["file_name"], re.ASCII)
        assert ".." not in row["file_name"]
        assert (minted / row["file_name"]).is_file()


def test_no_table_that_a_spreadsheet_opens_is_written(minted: Path) -> None:
    """CSV has no way to say that a cell is text; JSON lines have."""
    suffixes = {p.suffix for p in minted.rglob("*") if p.is_file()}
    assert not suffixes & {".csv", ".tsv", ".xls", ".xlsx", ".ods", ".html"}


def test_the_page_of_a_check(tmp_path: Path) -> None:
    from augmint.cli import main

    names = [n for n in PAYLOADS if "/" not in n and "\\" not in n and n.strip() == n][:20]
    folder = image_folder(tmp_path / "odd", names, each=8)
    (folder / names[0] / f"{names[1]}.png").write_bytes(b"broken")
    main(["check", str(folder), "--out", str(tmp_path / "odd-page")])
    page = (tmp_path / "odd-page" / "check.html").read_text(encoding="utf-8")
    found = parse(page)
    assert any("alert(1)" in text for text in found.text)
    assert not found.tags & {"script", "iframe", "object", "embed", "link", "form", "base"}
    assert not [k for _, k, _ in found.attributes if k.startswith("on")]
    targets = [v for _, k, v in found.attributes if k in ("href", "src", "action")]
    assert all(v.startswith(("#", "data:image/png;base64,")) for v in targets)

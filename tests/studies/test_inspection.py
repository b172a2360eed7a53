"""`check` and `doctor`: what they find, how they say it, and that nothing in a name escapes."""

from __future__ import annotations

import io
import json
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augmint.cli import main
from augmint.core.runs import read_json
from augmint.studies.doctor import EXTRAS, examine, installed, lines
from augmint.studies.inspection import coloured, inspect

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = "<script>alert(1)</script> \x1b[31m"


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGMINT_QUIET", "1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes in two parts; planted: a copy across, a near copy, a repeat,
    a conflict, a flat one."""
    noise = np.random.default_rng(5).integers(0, 256, (120, 24, 24)).astype(np.uint8)
    data = tmp_path / "data"

    def put(where: str, pixels: np.ndarray) -> None:
        path = data / where
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)

    for i, pixels in enumerate(noise):
        put(f"{'train' if i < 80 else 'test'}/{'ab'[i % 2]}/{i}.png", pixels)
    nearly = noise[3].copy()
    nearly[0, 0] ^= 8
    put("test/b/nearly.png", nearly)
    put("test/a/copy.png", noise[0])
    put("train/b/again.png", noise[1])
    put("train/b/wrong.png", noise[4])
    put("train/a/flat.png", np.full((24, 24), 9, np.uint8))
    (data / "train" / "a" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
    return data


def test_every_planted_fault_is_found_and_shown(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = inspect(str(folder), None, None, out, "augmint check data")
    assert found.failure is not None
    report = read_json(out / "check.json")
    files = report["files"]
    assert [sorted(g) for g in files["exact_across"]] == [["test/a/copy.png", "train/a/0.png"]]
    assert [sorted(g) for g in files["conflicts"]] == [["train/a/4.png", "train/b/wrong.png"]]
    assert ["train/b/1.png", "train/b/again.png"] in [sorted(g) for g in files["exact_within"]]
    ((near, other, _, correlation),) = report["near_files"]
    assert (near, other) == ("test/b/nearly.png", "train/b/3.png")
    assert correlation > 0.99
    pictures = {p.stem for p in (out / "pictures").glob("*.png")}
    assert pictures == {"across", "near", "conflicts", "repeats", "constant"}
    page = (out / "check.html").read_text(encoding="utf-8")
    for name in ("copy.png", "nearly.png", "wrong.png", "again.png", "broken.png"):
        assert name in page
    assert page.count("data:image/png;base64,") == len(pictures)
    text = "\n".join(line for _, line in found.lines)
    for name in ("copy.png", "nearly.png", "wrong.png", "again.png", "broken.png"):
        assert name in text


def test_the_exit_code_says_whether_a_study_stops(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(folder)]) == 3
    told = capsys.readouterr()
    assert "this stops a study" in told.out
    assert "\x1b" not in told.out, "no colour but on a terminal"
    (folder / "test" / "a" / "copy.png").unlink()
    assert main(["check", str(folder), "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["blocking"] is None
    assert plain["exact_across"] == []
    assert main(["check", str(folder / "nowhere")]) == 2


def test_names_are_text_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    for part in ("train", "test"):
        (folder / part / "a").rename(folder / part / HOSTILE.replace("/", "-"))
    found = inspect(str(folder), None, None, tmp_path / "out")
    assert all(text.isprintable() for _, text in found.lines)
    page = (tmp_path / "out" / "check.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "\x1b" not in page

    seen: set[str] = set()

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.add(tag)

    Tags().feed(page)
    assert "script" not in seen
    assert "alert(1)" in page, "the class is still named"


def test_colour_is_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    found = [("bad", "two copies"), ("plain", "fine")]
    assert coloured(found, Terminal()) == "\x1b[1;31mtwo copies\x1b[0m\nfine"
    assert coloured(found, io.StringIO()) == "two copies\nfine"
    monkeypatch.setenv("NO_COLOR", "1")
    assert coloured(found, Terminal()) == "two copies\nfine"


def test_the_doctor_knows_every_extra(capsys: pytest.CaptureFixture[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    offered = project["optional-dependencies"]
    assert set(EXTRAS) == set(offered) - {"test", "docs", "dev"}
    for name, extra in EXTRAS.items():
        assert any(entry.split(">")[0] == extra.package for entry in offered[name])
    assert main(["doctor", "--quick", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {e["name"] for e in found["extras"]} == set(EXTRAS)
    assert all(p["version"] and p["licence"] for p in found["packages"])
    assert "ceilings" not in found


def test_licences_are_those_of_the_packages() -> None:
    assert installed("pytest") == {"version": pytest.__version__, "licence": "MIT"}
    assert installed("numpy")["version"] == np.__version__
    assert "BSD-3-Clause" in str(installed("numpy")["licence"])


def test_the_doctor_measures(capsys: pytest.CaptureFixture[str]) -> None:
    found = examine()
    assert set(found["ceilings"]) == {"fp32_gflops", "bf16_gflops", "copy_gbytes"}
    assert all(v > 0 for v in found["ceilings"].values())
    text = "\n".join(lines(found))
    for word in ("allocator", "gpu", "optional extras", "GFLOP/s"):
        assert word in text

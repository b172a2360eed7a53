"""The user's own network, from one file, through a whole study."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from augmint.cli import main
from augmint.core.runs import read_json

if TYPE_CHECKING:
    from tests.conftest import TinyStudy

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "user_model.py"


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AUGMINT_QUIET", "1")
    return


def words(study: TinyStudy, out: Path, model: Path, *more: str) -> list[str]:
    settings = {"arms": ["classic", "minted"], "policy.candidates": ["none"], "pilot_seeds": 2}
    changed = [w for k, v in settings.items() for w in ("--set", f"{k}={json.dumps(v)}")]
    asked = ["prove", "digits", "--seeds", "2", "--workers", "1", "--device", "cpu"]
    asked += ["--model", f"{model}:make_net", "--out", str(out)]
    return [*asked, *study.words, *changed, *more]


def stages(folder: Path) -> dict[str, str]:
    """Return the full name of each committed stage by its plain name."""
    results = (folder / "stages").glob("*/result.json")
    return {p.parent.name.rpartition("-")[0]: p.parent.name for p in results}


def test_a_model_of_ones_own(
    tiny_study: TinyStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "net.py"
    shutil.copy(EXAMPLE, model)
    known = stages(tiny_study.folder)
    first = tiny_study.copy(tmp_path / "a", stages_only=True)
    assert main(words(tiny_study, first, model)) == 0
    report = read_json(first / "report.json")
    assert "net.py:make_net" in report["sentence"]
    assert report["network"]["name"] == "net.py:make_net"
    assert report["network"]["parameters"] > 1000
    assert list(report["arms"]) == ["classic", "minted"]
    assert "net.py:make_net" in capsys.readouterr().out
    made = {p.name for p in (first / "stages").iterdir()}
    for name in ("generator-0", "generator-1", "split-0"):
        assert [m for m in made if m.startswith(name)] == [known[name]], "they do not depend on it"

    # an edit of the file is another network, though the configuration is the same
    model.write_text(model.read_text().replace("64", "48"))
    before = read_json(first / "report.json")
    mine = {p: p.stat().st_mtime_ns for p in (first / "stages").glob("*/result.json")}
    assert main(words(tiny_study, first, model)) == 0
    after = read_json(first / "report.json")
    assert after["network"]["parameters"] != before["network"]["parameters"]
    assert after["arms"]["classic"]["scores"] != before["arms"]["classic"]["scores"]
    assert all(p.stat().st_mtime_ns == t for p, t in mine.items())
    new = {p.parent.name for p in (first / "stages").glob("*/result.json")} - made
    kinds = {n.split("-")[0] for n in new}
    assert "arm" in kinds
    assert not kinds & {"generator", "split"}

    # and the first file again is the first network: nothing is trained
    shutil.copy(EXAMPLE, model)
    assert main(words(tiny_study, first, model)) == 0
    assert read_json(first / "report.json")["arms"] == before["arms"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import torch\n\ndef make_net(outputs:\n    pass\n", ["net.py, line 3"]),
        (
            "def make_net(outputs):\n    x = 1\n    return x / 0\n",
            ["net.py, line 3", "ZeroDivision"],
        ),
        (
            "from torch import nn\nclass N(nn.Module):\n    def forward(self, x):\n"
            "        return x.reshape(7)\ndef make_net():\n    return N()\n",
            ["net.py, line 4"],
        ),
        ("def make_model(outputs):\n    return None\n", ["make_net", "make_model"]),
    ],
)
def test_errors_name_the_file_and_the_line(
    text: str,
    told: list[str],
    tiny_study: TinyStudy,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = tmp_path / "net.py"
    model.write_text(text)
    assert main(words(tiny_study, tmp_path / "o", model)) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert all(t in line for t in told), line
    names: list[Any] = list((tmp_path / "o" / "stages").glob("*/result.json"))
    assert not names, "nothing was trained"

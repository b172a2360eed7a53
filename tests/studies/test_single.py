"""Single jobs one after the other, by the command line:
train, mint, evaluate, check, and the rest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from augmint.cli import main
from augmint.core.runs import EventLog, load_tensors, read_json

if TYPE_CHECKING:
    from tests.conftest import TinyStudy

AXES = {
    "objectives", "penalties", "architectures", "conditioning", "aspects", "tasks", "metrics",
    "translators", "augmenters", "recipes",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AUGMINT_QUIET", "1")
    return


def test_train_leaves_a_bundle_a_picture_and_a_configuration(tiny_training: Path) -> None:
    names = {p.name for p in tiny_training.iterdir() if not p.name.startswith(".")}
    files = {"config.yaml", "data.json", "progress.png", "samples.png"}
    assert names == files | {"bundle", "run", "tables"}
    with Image.open(tiny_training / "samples.png") as picture:
        assert picture.width > 12 * 8
        assert picture.height > 10 * 8
    assert "steps: 40" in (tiny_training / "config.yaml").read_text()
    described = read_json(tiny_training / "bundle" / "bundle.json")
    assert "features" in json.dumps(described["missing"]), "what a bundle lacks is said"
    assert load_tensors(tiny_training / "bundle" / "generator.safetensors")[0]


def test_train_again_changes_nothing(tiny_training: Path, train_words: list[str]) -> None:
    kept = ("bundle/bundle.json", "bundle/generator.safetensors", "bundle/judge.safetensors")
    before = {p: (tiny_training / p).read_bytes() for p in (*kept, "samples.png")}
    assert main([*train_words, "--out", str(tiny_training)]) == 0
    assert {p: (tiny_training / p).read_bytes() for p in before} == before


def test_train_with_other_words_is_refused_and_leaves_the_folder(
    tiny_training: Path, train_words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = (tiny_training / "config.yaml").read_bytes()
    words = [*train_words, "--set", "generator.latent_dim=5", "--out", str(tiny_training)]
    assert main(words) == 2
    assert "one configuration" in capsys.readouterr().err
    assert (tiny_training / "config.yaml").read_bytes() == before


def test_train_longer_goes_on(tiny_training: Path, train_words: list[str], tmp_path: Path) -> None:
    shutil.copytree(tiny_training, tmp_path / "t")
    steps = train_words.index("--steps") + 1
    words = [*train_words[:steps], "45", *train_words[steps + 1 :]]
    assert main([*words, "--out", str(tmp_path / "t")]) == 0
    assert "steps: 45" in (tmp_path / "t" / "config.yaml").read_text()
    weights = "bundle/generator.safetensors"
    assert (tmp_path / "t" / weights).read_bytes() != (tiny_training / weights).read_bytes()
    events = EventLog.read(tmp_path / "t" / "run" / "events.jsonl")
    assert [e["step"] for e in events if e["kind"] == "started"][-1] == 40


def test_mint_evaluate_and_check_follow(
    tiny_training: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, minted = str(tiny_training / "bundle"), tmp_path / "minted"
    assert main(["mint", bundle, "--per-class", "6", "--raw", "--out", str(minted)]) == 0
    assert "60 images accepted of 60 drawn" in capsys.readouterr().out
    rows = [json.loads(t) for t in (minted / "metadata.jsonl").read_text().splitlines()]
    assert len(rows) == 60
    assert {row["origin"] for row in rows} == {"minted"}
    assert all((minted / row["file_name"]).is_file() for row in rows)
    # the same words again: nothing to do; other words: refused
    assert main(["mint", bundle, "--per-class", "6", "--raw", "--out", str(minted)]) == 0
    assert main(["mint", bundle, "--per-class", "7", "--raw", "--out", str(minted)]) == 2
    assert "other minted images" in capsys.readouterr().err

    out = tmp_path / "evaluation"
    words = ["evaluate", "digits", str(minted), "--steps", "30", "--device", "cpu"]
    assert main([*words, "--out", str(out)]) == 0
    text = capsys.readouterr().out
    found = read_json(out / "evaluate.json")
    truth = found["label_truth"][0]
    assert f"{truth['value']:.1%} carry their label" in text
    assert 0 <= truth["value"] <= 1
    assert {r["metric"] for r in found["distribution"]} >= {"kid", "precision", "coverage"}
    for row in found["distribution"]:
        assert (row["value"] is None) == (row["refused"] is not None)
        assert row["protocol"]["n"] > 0
    assert {"recall", "flagged", "assessed"} <= set(found["copying"])
    # the copy check was calibrated, so that the real images themselves are nothing like these
    assert found["copying"]["minted"] == 60

    assert main(["check", str(minted), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert isinstance(told, dict)
    assert main(["check", "digits"]) == 0
    assert "1797" in capsys.readouterr().out.replace(" ", "").replace(",", "")


def test_a_mint_in_another_format(
    tiny_training: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["mint", str(tiny_training / "bundle"), "--quota", "3=5", "--raw", "--format"]
    out = tmp_path / "folders"
    assert main([*words, "imagefolder", "--out", str(out)]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["3", "minted.json", "origins.json"]
    assert len(list((out / "3").glob("*.png"))) == 5
    assert set(read_json(out / "origins.json")) == {f"3/{i:07d}.png" for i in range(5)}
    assert main([*words, "imagefolder", "--out", str(out)]) == 2
    assert "a new or an empty folder" in capsys.readouterr().err
    assert main([*words, "mask-folders", "--out", str(tmp_path / "masks")]) == 2
    assert "mint without --format" in capsys.readouterr().err
    assert main([*words, "imagefoldr", "--out", str(tmp_path / "other")]) == 2
    assert not (tmp_path / "masks").exists()


def test_a_truncated_mint_is_another_mint(
    tiny_training: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, out = str(tiny_training / "bundle"), str(tmp_path / "a")
    words = ["mint", bundle, "--per-class", "2", "--raw", "--truncation"]
    assert main([*words, "0.5", "--out", out]) == 0
    summary = read_json(tmp_path / "a" / "minted.json")
    assert summary["provenance"]["truncation"] == {"of": "latents", "value": 0.5}
    assert main([*words, "0.5", "--out", out]) == 0, "the same mint is left as it is"
    for other in (words[:-1], [*words, "0.6"]):
        assert main([*other, "--out", out]) == 2
    assert "other minted images" in capsys.readouterr().err
    assert main([*words, "0", "--out", str(tmp_path / "b")]) == 2
    assert "positive bound" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_quotas_are_kept_class_by_class(tiny_training: Path, tmp_path: Path) -> None:
    words = ["mint", str(tiny_training / "bundle"), "--quota", "3=5", "--quota", "8=2", "--raw"]
    assert main([*words, "--seed", "4", "--out", str(tmp_path / "a")]) == 0
    assert {p.name: len(list(p.iterdir())) for p in (tmp_path / "a").iterdir() if p.is_dir()} == {
        "3": 5,
        "8": 2,
    }
    assert main([*words, "--seed", "5", "--out", str(tmp_path / "b")]) == 0
    images = []
    for folder in ("a", "b"):
        with Image.open(tmp_path / folder / "3" / "3.png") as picture:
            images.append(np.asarray(picture))
    assert not np.array_equal(*images), "another seed, another image"


def test_the_axes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert set(listed) >= AXES
    assert "hinge" in listed["objectives"]
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    for axis, members in listed.items():
        assert axis in text
        assert all(name in text for name in members)
        assert main(["list", axis, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {axis: members}


def test_doctor_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--quick"]) == 0
    text = capsys.readouterr().out
    for word in ("torch", "numpy", "allocator", "gpu", "licence", "python"):
        assert word in text
    assert "ceiling" not in text


def test_report_writes_the_same_page(
    tiny_study: TinyStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_study.copy(tmp_path / "study")
    before = {p: (folder / p).read_bytes() for p in ("report.html", "report.json")}
    (folder / "report.html").unlink()
    assert main(["report", str(folder)]) == 0
    assert "report.html" in capsys.readouterr().out
    assert {p: (folder / p).read_bytes() for p in before} == before


def test_a_recipe_runs_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(["run", "vac-mnist", "--debug", "--device", "cpu", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    shown = json.loads(text[text.index("{") : text.rindex("}") + 1])
    assert set(shown) == {"metrics", "expected"}
    command = f"augmint run vac-mnist --debug --device cpu --out {out}"
    assert json.loads((out / "result.json").read_text())["command"] == command
    assert command in (out / "report.html").read_text()

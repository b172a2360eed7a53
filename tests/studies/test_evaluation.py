"""`evaluate` against minted images whose faults are known, because they were made here."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from augmint.aspects.base import Schema
from augmint.cli import main
from augmint.core.errors import DataError
from augmint.core.registry import FORMATS
from augmint.core.runs import read_json
from augmint.data.ingest import ingest
from augmint.metrics.copying import assess
from augmint.studies.evaluation import EvaluateOptions, evaluate, lines, pooled

Writer = Callable[[str, np.ndarray, np.ndarray, str], Path]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGMINT_QUIET", "1")


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    found = load_digits()
    order = np.random.default_rng(1).permutation(len(found.target))
    return (found.images * 15.9).astype(np.uint8)[order], found.target[order]


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    def write(name: str, images: np.ndarray, labels: np.ndarray, origin: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        lines = []
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            Image.fromarray(image).save(folder / f"{i}.png")
            row = {"file_name": f"{i}.png", "label": str(label), "origin": origin}
            lines.append(json.dumps(row))
        (folder / "metadata.jsonl").write_text("\n".join(lines))
        return folder

    return write


OPTIONS = EvaluateOptions(steps=100, device="cpu")


def test_honest_images_look_honest(
    digits: tuple[np.ndarray, np.ndarray], write: Writer, tmp_path: Path
) -> None:
    """Other real images as the minted ones: at the floor, labelled truly, no copies."""
    images, labels = digits
    real = write("real", images[:500], labels[:500], "real")
    fresh = write("fresh", images[900:1000], labels[900:1000], "minted")
    out = tmp_path / "out"
    report = evaluate(str(real), str(fresh), out, OPTIONS)
    truth = report["label_truth"][0]
    assert truth["value"] > 0.8
    assert abs(truth["value"] - truth["judge_accuracy"]) < 0.1
    rows = {r["metric"]: r for r in report["distribution"]}
    assert abs(rows["coverage"]["value"] - rows["coverage"]["floor"]) < 0.15
    assert report["copying"]["assessed"]
    assert report["copying"]["p"] > 0.01
    assert report["copying"]["flagged"] <= 5
    assert report["warnings"] == []
    assert read_json(out / "evaluate.json") == json.loads(json.dumps(report))
    page = (out / "evaluate.html").read_text(encoding="utf-8")
    assert page.count("data:image/png") >= 3
    for words in ("Nearest real images", "Label truth", "KID", "Floor", "is a verdict"):
        assert words in page
    assert "http" not in page.split("</head>")[1]
    for line in lines(report):
        assert line.isprintable()


def test_copies_and_false_labels_are_seen(
    digits: tuple[np.ndarray, np.ndarray], write: Writer
) -> None:
    """Copies of any real image, whichever half it falls into, their labels moved on by one."""
    images, labels = digits
    real = write("real", images[:300], labels[:300], "real")
    taken = np.arange(0, 300, 6)
    copies = write("copies", images[taken], (labels[taken] + 1) % 10, "minted")
    found = evaluate(str(real), str(copies), None, OPTIONS)
    assert found["copying"]["flagged"] == len(taken)
    assert found["copying"]["p"] < 1e-6
    assert found["label_truth"][0]["value"] < 0.1


def test_what_cannot_be_compared_is_refused(
    digits: tuple[np.ndarray, np.ndarray], write: Writer
) -> None:
    images, labels = digits
    real = write("real", images[:60], labels[:60], "real")
    cases: list[tuple[Any, str]] = [
        (
            (write("big", np.kron(images[:20], np.ones((2, 2), np.uint8)), labels[:20], "minted")),
            "one shape.*--size 16",
        ),
        ((write("other", images[:20], labels[:20] + 5, "minted")), "one of the real classes"),
    ]
    for minted, message in cases:
        with pytest.raises(DataError, match=message):
            evaluate(str(real), str(minted), None, OPTIONS)
    marked = write("marked", images[:60], labels[:60], "minted")
    with pytest.raises(DataError, match="marked as minted"):
        evaluate(str(marked), str(real), None, OPTIONS)
    few = write("few", images[:15], labels[:15], "real")
    with pytest.raises(DataError, match="at least 4"):
        evaluate(str(few), str(few), None, OPTIONS)


def test_sets_that_share_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="classes or annotations that both sets hold"):
        evaluate("digits", "{name: toy-eyes, images: 40}", tmp_path, replace(OPTIONS, size="8"))
    compared = ["compare", "vac-mnist", "acgan-mnist", "--data", "toy-eyes", "--debug"]
    assert main([*compared, "--out", str(tmp_path / "c")]) == 2


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int, float], Path]:
    """Writes faces whose points lie `off` pixels beside their places, and which lack a class."""
    root = tmp_path_factory.mktemp("faces")

    def made(name: str, seed: int, off: float) -> Path:
        source = f"{{name: toy-faces, images: 240, seed: {seed}}}"
        table = ingest(source, root / "tables", size=(24, 24))
        points = np.array(table.values["landmarks"])
        points[..., 0] += off
        schema = Schema((table.schema["landmarks"],))
        parts = {"all": np.arange(len(table))}
        told = replace(table, schema=schema, values={"landmarks": points}, parts=parts)
        FORMATS.create("manifest").write(told, root / name)
        return root / name

    return made


def test_annotations_are_read_by_networks_blind_to_what_they_read(
    faces: Callable[[str, int, float], Path], tmp_path: Path
) -> None:
    """True points are as far off as those of real images, moved ones by how far they were moved."""
    real, true = faces("real", 1, 0.0), faces("true", 2, 0.0)
    options = replace(OPTIONS, steps=150)
    report = evaluate(str(real), str(true), tmp_path, options)
    (row,) = report["annotations"]
    assert (row["aspect"], row["n"], row["real"]) == ("landmarks", 240, 240)
    assert row["ratio"] == pytest.approx(1.0, abs=0.3)
    assert report["label_truth"] == []
    assert {r["metric"] for r in report["distribution"]} >= {"kid", "coverage"}
    page = (tmp_path / "evaluate.html").read_text()
    assert "Error on real images" in page
    assert "carry their label" not in page
    assert any(line.startswith("landmarks") for line in lines(report))
    moved = evaluate(str(real), str(faces("moved", 2, 4.0)), None, options)
    (wrong,) = moved["annotations"]
    assert wrong["own"] == pytest.approx(row["own"])
    assert wrong["error"] > 1.5 * row["error"]


def test_classes_and_annotations_stand_beside_each_other() -> None:
    few = "{name: toy-faces, images: 60}"
    report = evaluate(few, few, None, replace(OPTIONS, steps=3, size="16"))
    assert len(report["label_truth"]) == 1
    assert {r["aspect"] for r in report["annotations"]} == {"landmarks", "mask", "pose"}


def test_the_command_prints_json(
    digits: tuple[np.ndarray, np.ndarray], write: Writer, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = digits
    real = write("real", images[:200], labels[:200], "real")
    some = write("some", images[200:250], labels[200:250], "real")
    words = ["evaluate", str(real), str(some), "--steps", "20", "--device", "cpu"]
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert any("marked as minted" in w for w in report["warnings"])
    assert report["command"].startswith("augmint evaluate")
    assert main(words) == 0
    text = capsys.readouterr().out
    assert f"{report['label_truth'][0]['value']:.1%} carry their label" in text


def test_two_checks_are_pooled_as_one(digits: tuple[np.ndarray, np.ndarray]) -> None:
    images = digits[0][:, None]
    a, b, minted = images[:150], images[150:300], np.concatenate([images[:5], images[150:155]])
    checks = [assess(a, b, minted, seed=0), assess(b, a, minted, seed=0)]
    assert {len(c.flagged) >= 5 for c in checks} == {True}
    found = pooled(checks)
    assert found["flagged"] == len(set(checks[0].flagged) | set(checks[1].flagged)) == 10
    assert found["expected_flags"] == sum(c.expected_flags for c in checks)
    assert found["p"] == 2 * min(c.excess_p for c in checks)
    assert found["recall"] == min(c.overall_recall for c in checks)

"""What was recognised of the data is said by every command that reads them, and kept in reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augmint.core.errors import IncompatibleError
from augmint.data.ingest import ingest
from augmint.studies.pipeline import prove
from augmint.studies.study import ProveOptions
from augmint.studies.telling import lines_of, recognised, tell_recognised


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    """A YOLO set of poses in which one image has no object."""
    folder = tmp_path / "boxes"
    for name in ("images", "labels"):
        (folder / name / "train").mkdir(parents=True)
    (folder / "data.yaml").write_text("names: [face]\nkpt_shape: [2, 3]\ntrain: images/train\n")
    rng = np.random.default_rng(0)
    for i in range(6):
        pixels = rng.integers(0, 255, (16, 16), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / "train" / f"{i}.png")
        line = "0 0.5 0.5 0.5 0.5 0.3 0.3 2 0.6 0.6 2" if i else ""
        (folder / "labels" / "train" / f"{i}.txt").write_text(line)
    return folder


def test_annotated_sets_tell_layout_annotations_and_notes(
    boxes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = ingest(boxes, tmp_path / "cache")
    found = recognised(table)
    assert found["notes"]
    tell_recognised(str(boxes), table)
    first, *notes = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{found['layout']}; annotations: ")
    assert table.schema.of_kind("landmarks")[0].name in first
    assert [n.strip() for n in notes] == found["notes"]


def test_prove_tells_before_anything_can_fail(
    boxes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ProveOptions(task="segmentation", workers=1, device="cpu")
    with pytest.raises(IncompatibleError, match="kind mask"):
        prove(str(boxes), tmp_path / "out", options)
    assert "YOLO" in capsys.readouterr().out


def test_of_classes_one_line_at_most() -> None:
    found = {"layout": "class folders: 9 images", "annotations": [], "notes": ["a", "b"]}
    assert lines_of("photos", found) == ["class folders: 9 images"]
    assert lines_of("digits", found) == []
    assert lines_of("{name: toy, images: 9}", found) == []

"""A stranger's path: the built wheel, alone in a new environment, to a verdict on a folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.long
WITHOUT_NETWORK = ["--no-deps", "--no-index", "--disable-pip-version-check", "-q"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources."""
    pytest.importorskip("setuptools", minversion="77", reason="needs setuptools 77 to build")
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    shutil.copytree(ROOT / "augmint", sources / "augmint", ignore=skip)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources / name)
    words = ["wheel", *WITHOUT_NETWORK, "--no-build-isolation", "-w", str(folder), str(sources)]
    run(Path(sys.executable), "-m", "pip", *words, cwd=folder)
    (found,) = folder.glob("augmint-*.whl")
    return found


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new environment that holds the wheel, and sees the installed torch."""
    folder = tmp_path_factory.mktemp("environment")
    here = Path(sys.executable)
    run(here, "-m", "venv", "--without-pip", "v", cwd=folder)
    python = folder / "v" / "bin" / "python"
    run(here, "-m", "pip", "--python", str(python), "install", *WITHOUT_NETWORK, str(wheel))
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    inside = Path(run(python, "-c", where).strip())
    # after its own packages: an augmint that is installed here is never seen there
    (inside / "dependencies.pth").write_text(run(here, "-c", where), encoding="utf-8")
    return python.parent


def run(program: Path, *words: str, cwd: Path | None = None) -> str:
    """Run a program and return what it prints; a failure shows what it said."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"OMP_NUM_THREADS": "1", "AUGMINT_QUIET": "1"}
    done = subprocess.run(
        [str(program), *words], cwd=cwd, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def photos(folder: Path) -> Path:
    """Three classes of small pictures: bars of different directions in noise."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for name, turn in (("upright", 0), ("lying", 1), ("crossed", 2)):
        (folder / name).mkdir(parents=True)
        for i in range(60):
            image = rng.integers(0, 90, (12, 12), dtype=np.uint8)
            place = rng.integers(2, 10)
            if turn != 1:
                image[:, place] = 250
            if turn != 0:
                image[place, :] = 250
            Image.fromarray(image).save(folder / name / f"{i}.png")
    return folder


def test_the_wheel_holds_all_that_the_package_has(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {n for n in archive.namelist() if n.startswith("augmint/")}
    wanted = {
        p.relative_to(ROOT).as_posix()
        for p in (ROOT / "augmint").rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    assert held == wanted


def test_from_a_folder_to_a_verdict(programs: Path, tmp_path: Path) -> None:
    augmint = programs / "augmint"
    where = run(programs / "python", "-c", "import augmint; print(augmint.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(programs.parent)
    assert "hinge" in run(augmint, "list", "objectives", cwd=tmp_path)
    photos(tmp_path / "photos")
    assert "180 images" in run(augmint, "check", "photos", cwd=tmp_path)
    settings = {
        "generator.steps": 40,
        "generator.batch": 16,
        "task.steps": 20,
        "policy.candidates": "[none, shift]",
        "curation.threshold": 0,
        "curation.agreement": "false",
        "minted_per_class": 10,
    }
    words = [w for key, value in settings.items() for w in ("--set", f"{key}={value}")]
    words += ["--per-class", "10", "--seeds", "2", "--workers", "1", "--out", "study"]
    said = run(augmint, "prove", "photos", *words, cwd=tmp_path)
    report = json.loads((tmp_path / "study" / "report.json").read_text(encoding="utf-8"))
    assert report["verdict"].upper() in said
    assert (tmp_path / "study" / "report.html").stat().st_size > 10_000
    assert len(list((tmp_path / "study" / "minted" / "crossed").glob("*.png"))) == 10

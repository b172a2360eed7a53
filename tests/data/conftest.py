"""Small data sets made on the spot."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.data.table import Table, TableNotes


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No progress lines."""
    monkeypatch.setenv("AUGMINT_QUIET", "1")


def noise(n: int, channels: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Random uint8 images `(n, channels, height, width)`."""
    shape = (n, channels, height, width)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def encoded(pixels: np.ndarray, format: str = "PNG", **options: object) -> bytes:
    """Encode uint8 `(H, W)`, `(H, W, C)` or a uint16 `(H, W)` array."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=format, **options)
    return buffer.getvalue()


@pytest.fixture
def put(tmp_path: Path) -> Callable[[Mapping[str, bytes]], Path]:
    """Write files by relative name into a folder of their own and return it."""

    def write(files: Mapping[str, bytes], name: str = "set") -> Path:
        folder = tmp_path / name
        for place, content in files.items():
            path = folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return folder

    return write


@pytest.fixture
def zipped(tmp_path: Path) -> Callable[[Mapping[str, bytes]], Path]:
    """Write files by name into a zip and return it."""

    def write(files: Mapping[str, bytes], name: str = "set.zip") -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for place, content in files.items():
                archive.writestr(place, content)
        return path

    return write


@pytest.fixture
def make_table(tmp_path: Path) -> Callable[..., Table]:
    """Write a table of given images and labels."""

    def make(
        images: np.ndarray,
        labels: np.ndarray,
        parts: Mapping[str, np.ndarray] | None = None,
        classes: tuple[str, ...] = ("cat", "dog", "owl"),
        notes: TableNotes | None = None,
        name: str = "table",
    ) -> Table:
        rows = np.arange(len(images), dtype=np.int64)
        return Table.write(
            tmp_path / name,
            images,
            {"label": np.asarray(labels, np.int64)},
            Schema((Category("label", classes),)),
            [f"image-{i}" for i in rows],
            parts or {"all": rows},
            notes,
        )

    return make


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """An empty cache folder."""
    return tmp_path / "cache"


@pytest.fixture
def class_files() -> dict[str, bytes]:
    """Twelve PNGs as `class/name`."""
    images = noise(12, 1, 6, 7)
    return {
        f"{('cat', 'dog', 'owl')[i % 3]}/{i:02d}.png": encoded(image[0])
        for i, image in enumerate(images)
    }

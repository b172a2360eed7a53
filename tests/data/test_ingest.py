from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augmint.core.errors import DataError, UsageError
from augmint.data import ingest as module
from augmint.data.decoding import BadFilesError
from augmint.data.ingest import ingest

from .conftest import encoded, noise


def classes_of(images: list[bytes]) -> dict[str, bytes]:
    return {f"{'ab'[i % 2]}/{i:04d}.png": image for i, image in enumerate(images)}


def test_pixels_labels_and_names(put, cache: Path) -> None:
    images = noise(8, 3, 6, 5)
    folder = put(classes_of([encoded(i.transpose(1, 2, 0)) for i in images]))
    table = ingest(folder, cache)
    assert table.shape == (3, 6, 5)
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    assert np.array_equal(table.images, images[order])
    assert table.labels().tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert table.names[1] == "a/0002.png"
    assert table.groups is None
    assert table.origins["real"].tolist() == list(range(8))


def test_a_second_call_opens_the_first_table(
    put, cache: Path, class_files, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put(class_files)
    first = ingest(folder, cache)

    def never(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(module, "decode_all", never)
    again = ingest(str(folder), cache)
    assert again.folder == first.folder
    assert again.digest == first.digest


def test_other_files_or_options_are_another_table(put, cache: Path, class_files) -> None:
    folder = put(class_files)
    first = ingest(folder, cache)
    scaled = ingest(folder, cache, size=(8, 8))
    coloured = ingest(folder, cache, channels=3)
    os.utime(folder / "cat/00.png", ns=(1, 1))
    touched = ingest(folder, cache)
    (folder / "cat/00.png").write_bytes(encoded(np.full((6, 7), 9, np.uint8)))
    changed = ingest(folder, cache)
    folders = {t.folder for t in (first, scaled, coloured, touched, changed)}
    assert len(folders) == 5
    assert touched.digest == first.digest != changed.digest
    assert scaled.shape == (1, 8, 8)
    assert coloured.shape == (3, 6, 7)


def test_workers_change_nothing(put, cache: Path, tmp_path: Path, class_files) -> None:
    folder = put(class_files)
    assert ingest(folder, cache).digest == ingest(folder, tmp_path / "c2", workers=3).digest


def test_nothing_is_left_behind(put, cache: Path, class_files) -> None:
    table = ingest(put(class_files), cache)
    assert [p.name for p in cache.iterdir()] == [table.folder.name]


def test_grey_and_colour_mix(put, cache: Path) -> None:
    grey, colour = noise(1, 1, 4, 4)[0, 0], noise(1, 3, 4, 4)[0]
    files = {"a/1.png": encoded(grey), "b/2.png": encoded(colour.transpose(1, 2, 0))}
    table = ingest(put(files), cache)
    assert table.shape == (3, 4, 4)
    assert np.array_equal(table.images[0], np.repeat(grey[None], 3, 0))
    assert np.array_equal(table.images[1], colour)
    assert table.rules["modes"] == {"L": 1, "RGB": 1}


def test_alpha_is_kept_only_where_all_have_it(put, cache: Path) -> None:
    clear = noise(2, 4, 4, 4)
    files = classes_of([encoded(i.transpose(1, 2, 0)) for i in clear])
    assert np.array_equal(ingest(put(files), cache).images, clear)
    files["b/0009.png"] = encoded(noise(1, 3, 4, 4)[0].transpose(1, 2, 0))
    mixed = ingest(put(files, "mixed"), cache)
    assert mixed.shape == (3, 4, 4)
    exact = clear[0, :3].astype(float) * clear[0, 3] / 255
    assert np.abs(mixed.images[0] - exact).max() <= 0.5
    assert "alpha composited on black" in mixed.rules["conversions"]


def test_sizes_must_agree(put, cache: Path) -> None:
    files = classes_of([encoded(np.zeros((h, 40), np.uint8)) for h in (30, 30, 50)])
    with pytest.raises(DataError, match=r"30x40 \(2\), 50x40 \(1\).*--size 16"):
        ingest(put(files), cache)
    assert ingest(put(files), cache, size=(16, 24)).shape == (1, 16, 24)


def test_sizes_that_the_probe_missed(put, cache: Path) -> None:
    sizes = [4] * 130
    sizes[1] = 5
    files = classes_of([encoded(np.zeros((h, 4), np.uint8)) for h in sizes])
    with pytest.raises(DataError, match=r"4x4 \(129\), 5x4 \(1\)"):
        ingest(put(files), cache)


def test_turned_photographs_have_the_size_that_is_shown(put, cache: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("L", (6, 4)).save(buffer, "JPEG", exif=exif)
    files = {"a/1.jpg": buffer.getvalue(), "b/2.png": encoded(np.zeros((6, 4), np.uint8))}
    assert ingest(put(files), cache).shape == (1, 6, 4)


def images_with(n: int, bad: int) -> dict[str, bytes]:
    files = classes_of([encoded(i[0]) for i in noise(n, 1, 4, 4)])
    names = sorted(files)
    return files | {name: files[name][:35] for name in names[:bad]}


def test_a_bad_file_among_many_is_quarantined(put, cache: Path) -> None:
    table = ingest(put(images_with(200, 2)), cache)
    assert len(table) == 198
    assert [q["name"] for q in table.quarantined] == ["a/0000.png", "a/0002.png"]
    assert all(q["reason"] for q in table.quarantined)
    assert "a/0000.png" not in table.names
    assert np.array_equal(table.images[0], noise(200, 1, 4, 4)[4])


def test_more_than_one_percent_stops(put, cache: Path) -> None:
    with pytest.raises(BadFilesError) as caught:
        ingest(put(images_with(200, 3)), cache)
    text = str(caught.value)
    assert all(f"a/000{i}.png" in text for i in (0, 2, 4))
    assert caught.value.exit_code == 3
    assert isinstance(caught.value, DataError)
    assert not any(p.name.startswith("table-") for p in cache.iterdir())


def test_nothing_but_bad_files(put, cache: Path) -> None:
    with pytest.raises(BadFilesError):
        ingest(put({"a/1.png": b"x", "b/2.png": b"y"}), cache)


def test_a_bomb_is_quarantined(put, cache: Path) -> None:
    files = classes_of([encoded(i[0]) for i in noise(200, 1, 4, 4)])
    files["a/0000.png"] = encoded(np.zeros((400, 400), np.uint8))
    table = ingest(put(files), cache, limit_pixels=1000, size=(4, 4))
    assert table.quarantined[0]["reason"].endswith("more than 1000")


@pytest.mark.parametrize(
    ("source", "message"),
    [("digitz", "did you mean 'digits'"), ("no/such/folder", "does not exist")],
)
def test_sources_that_are_missing(cache: Path, source: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ingest(source, cache)


def test_a_file_is_no_source(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"x")
    with pytest.raises(DataError, match="pass the folder"):
        ingest(tmp_path / "cat.png", cache)


def test_an_unknown_format_has_nearest_names(put, cache: Path, class_files) -> None:
    with pytest.raises(UsageError, match="did you mean 'imagefolder'"):
        ingest(put(class_files), cache, format="imagefoldr")


def test_a_format_can_be_asked_for(put, cache: Path, class_files) -> None:
    files = class_files | {"metadata.jsonl": b"{}"}
    with pytest.raises(DataError, match="file_name"):
        ingest(put(files), cache)
    assert len(ingest(put(files), cache, format="imagefolder")) == 12


def test_an_unreadable_folder(put, cache: Path, class_files, monkeypatch) -> None:
    folder = put(class_files)

    def refuse(path: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match="Permission denied"):
        ingest(folder, cache)

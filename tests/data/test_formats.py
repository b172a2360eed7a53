from __future__ import annotations

import gzip
import json
import struct
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from augmint.core.errors import DataError
from augmint.core.registry import FORMATS
from augmint.data.archives import open_files
from augmint.data.formats.base import by_priority, category
from augmint.data.ingest import ingest
from augmint.data.table import Table, TableNotes

from .conftest import encoded, noise


def rows_of(table: Table) -> list[tuple[str, str, bytes]]:
    parts, labels, classes = table.part_of(), table.labels(), table.classes()
    return [
        (str(parts[i]), classes[labels[i]], table.images[i].tobytes()) for i in range(len(table))
    ]


def same(a: Table, b: Table) -> None:
    assert a.classes() == b.classes()
    assert a.shape == b.shape
    assert rows_of(a) == rows_of(b)


PARTED = {
    "train": np.arange(0, 14),
    "validation": np.arange(14, 18),
    "test": np.arange(18, 24),
}


@pytest.mark.parametrize("format", FORMATS.names())
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("parted", [False, True])
def test_write_then_read_is_identical(
    make_table, cache: Path, tmp_path: Path, format: str, channels: int, parted: bool
) -> None:
    # rows sorted by part and class, the order in which class folders are read
    labels = np.concatenate([np.arange(len(r)) * 3 // len(r) for r in PARTED.values()])
    labels = labels if parted else np.sort(labels)
    images = noise(24, channels, 5, 6)
    classes = ("0", "1", "2") if channels == 1 else ("cat", "dög", "sea owl")
    table = make_table(images, labels, PARTED if parted else None, classes)
    if format not in ("manifest", "imagefolder") and not (format == "idx" and channels == 1):
        with pytest.raises(DataError, match=r"imagefolder|manifest"):
            FORMATS.create(format).write(table, tmp_path / "out")
        return
    FORMATS.create(format).write(table, tmp_path / "out")
    again = ingest(tmp_path / "out", cache)
    assert again.rules["format"] == format
    same(table, again)
    assert again.digest == table.digest
    FORMATS.create(format).write(again, tmp_path / "twice")
    same(again, ingest(tmp_path / "twice", cache))


@pytest.mark.parametrize("compress", [True, False])
def test_idx_keeps_class_names(make_table, cache: Path, tmp_path: Path, compress: bool) -> None:
    table = make_table(noise(6, 1, 4, 4), np.arange(6) % 3, classes=("cat", "dog", "owl"))
    FORMATS.create({"name": "idx", "compress": compress}).write(table, tmp_path / "out")
    same(table, ingest(tmp_path / "out", cache))


def test_manifest_keeps_groups_and_origins(make_table, cache: Path, tmp_path: Path) -> None:
    notes = TableNotes(
        groups=np.array([0, 0, 11, 2, 2, 11]),
        origins={"real": np.arange(4), "minted": np.array([4, 5])},
    )
    table = make_table(noise(6, 1, 4, 4), np.array([2, 1, 0, 0, 1, 2]), notes=notes)
    FORMATS.create("manifest").write(table, tmp_path / "out")
    again = ingest(tmp_path / "out", cache)
    assert again.groups is not None
    assert again.groups.tolist() == [0, 0, 2, 1, 1, 2]
    assert again.origins["minted"].tolist() == [4, 5]


def test_folders_and_zips_are_the_same(put, zipped, cache: Path, class_files) -> None:
    wrapped = {f"my set/{n}": c for n, c in class_files.items()}
    wrapped |= {"my set/README.md": b"read", "__MACOSX/my set/cat/._00.png": b"junk"}
    plain, packed = ingest(put(class_files), cache), ingest(zipped(wrapped), cache)
    same(plain, packed)
    assert packed.rules["ignored_count"] == 2
    assert packed.rules["ignored"] == ["__MACOSX/my set/cat/._00.png", "my set/README.md"]
    assert plain.classes() == ("cat", "dog", "owl")
    assert plain.parts["all"].tolist() == list(range(12))


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (("train", "val", "test"), {"train", "validation", "test"}),
        (("Training", "VALID", "Testing"), {"train", "validation", "test"}),
        (("train", "validation"), {"train", "validation"}),
        (("train",), {"train"}),
    ],
)
@pytest.mark.parametrize("wrapped", ["", "set/"])
def test_split_folders(put, cache: Path, names, parts: set[str], wrapped: str) -> None:
    images = iter(noise(20, 1, 4, 4))
    files = {
        f"{wrapped}{n}/{c}/{i}.png": encoded(next(images)[0])
        for n in names
        for c in ("cat", "dog")
        for i in range(2)
    }
    table = ingest(put(files), cache)
    assert set(table.parts) == parts
    assert Counter(table.part_of().tolist()) == dict.fromkeys(parts, 4)
    for part, rows in table.parts.items():
        for row in rows:
            folder = table.names[row].removeprefix(wrapped).split("/")[0].lower()
            assert folder[:3] == part[:3]


IMAGE = encoded(np.zeros((4, 4), np.uint8))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cat/1.png", "dog/2.png", "odd.png"], "different depths"),
        (["train/cat/1.png", "extra/dog/2.png"], "'extra' above class folders"),
        (["train/cat/1.png", "Train/dog/2.png"], "merge or rename"),
        (["1.png", "2.png"], "no folder"),
        (["a/b/c/d/1.png"], "too deep"),
        (["cat/1.png", "cat/2.png"], "only 'cat'"),
        (["notes.txt", "cat.csv"], "1 .csv, 1 .txt|1 .txt, 1 .csv"),
        ([], "no file at all"),
    ],
)
def test_layouts_that_are_refused(put, cache: Path, names: list[str], message: str) -> None:
    folder = put(dict.fromkeys(names, IMAGE))
    folder.mkdir(exist_ok=True)
    with pytest.raises(DataError, match=message):
        ingest(folder, cache)


def test_numbers_sort_as_numbers() -> None:
    label, index = category(["2", "10", "1", "2"])
    assert label.classes == ("1", "2", "10")
    assert index.tolist() == [1, 2, 0, 1]
    assert category(["b10", "b2"])[0].classes == ("b10", "b2")


def test_strange_class_names_are_kept_and_shown_escaped(zipped, cache: Path) -> None:
    name = "<b>\x1b[31mcat"
    table = ingest(
        zipped({f"{name}/1.png": IMAGE, "dog/1.png": encoded(noise(1, 1, 4, 4)[0, 0])}), cache
    )
    assert name in table.classes()
    with pytest.raises(DataError) as caught:
        ingest(zipped({f"{name}/1.png": IMAGE}, "one.zip"), cache)
    assert "\x1b" not in str(caught.value)
    with pytest.raises(DataError, match="NUL"):
        category(["a\0b", "c"])


@pytest.mark.parametrize("names", [("a/b", "c"), ("..", "c"), ("", "c"), ("train", "test")])
def test_classes_that_cannot_be_folders(make_table, tmp_path: Path, names) -> None:
    if "" in names:
        names = (" /", "c")
    table = make_table(noise(2, 1, 4, 4), np.arange(2), classes=names)
    with pytest.raises(DataError, match="manifest"):
        FORMATS.create("imagefolder").write(table, tmp_path / "out")


def test_the_manifest_is_asked_first(put, cache: Path, class_files) -> None:
    lines = "".join(
        json.dumps({"file_name": n, "label": n[:3].upper(), "weather": "fine"}) + "\n"
        for n in list(class_files)[:6]
    )
    table = ingest(put(class_files | {"metadata.jsonl": lines.encode()}), cache)
    assert table.classes() == ("CAT", "DOG", "OWL")
    assert len(table) == 6
    assert table.rules["ignored_count"] == 6
    assert table.rules["notes"] == ["columns not read: weather"]
    asked = [name for name, _ in by_priority()]
    assert asked[0] == "manifest"
    assert asked[-1] == "imagefolder"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"file_name": "cat/00.png"}', "label None"),
        ('{"label": "cat"}', "file_name None"),
        ('{"file_name": "../cat/00.png", "label": "a"}', r"\.\./cat"),
        ('{"file_name": "/cat/00.png", "label": "a"}', "/cat/00.png"),
        ('{"file_name": "cat/99.png", "label": "a"}', "missing"),
        ('{"file_name": "cat/00.png", "label": "a", "split": "dev"}', "split 'dev'"),
        ('{"file_name": "cat/00.png", "label": "a", "origin": "found"}', "origin 'found'"),
        ('{"file_name": "cat/00.png", "label": true}', "label True"),
        ("[1]", r"\[1\]"),
        ("{", "line 1"),
        ("", "no line"),
    ],
)
def test_lines_that_are_refused(put, cache: Path, class_files, line: str, message: str) -> None:
    folder = put(class_files | {"metadata.jsonl": line.encode()})
    with pytest.raises(DataError, match=message):
        ingest(folder, cache)


def test_a_file_listed_twice(put, cache: Path, class_files) -> None:
    line = b'{"file_name": "cat/00.png", "label": "a"}\n'
    with pytest.raises(DataError, match="listed twice"):
        ingest(put(class_files | {"metadata.jsonl": line * 2}), cache)


def idx_files(n: int = 6) -> dict[str, bytes]:
    images = noise(n, 1, 3, 5)
    labels = (np.arange(n) % 2).astype(np.uint8)
    return {
        "train-images-idx3-ubyte": struct.pack(">IIII", 0x803, n, 3, 5) + images.tobytes(),
        "train-labels-idx1-ubyte": struct.pack(">II", 0x801, n) + labels.tobytes(),
    }


def test_idx_by_hand(put, cache: Path) -> None:
    files = idx_files()
    files = {f"{n}.gz": gzip.compress(c) for n, c in files.items()}
    table = ingest(put(files), cache)
    assert table.shape == (1, 3, 5)
    assert np.array_equal(table.images, noise(6, 1, 3, 5))
    assert table.labels().tolist() == [0, 1, 0, 1, 0, 1]
    assert list(table.parts) == ["train"]


def test_one_pair_of_any_name_is_the_whole(put, cache: Path) -> None:
    files = {n.replace("train-", "emnist-letters-"): c for n, c in idx_files().items()}
    assert list(ingest(put(files), cache).parts) == ["all"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b[:-1], "cut short"),
        (lambda b: b + b"x", "more than the 90 bytes"),
        (lambda b: b[:7], "a header of 7 bytes"),
        (lambda b: b"\0\0\x0d\x03" + b[4:], "magic number 0x00000d03"),
        (lambda b: b[:4] + struct.pack(">I", 5) + b[8:], "more than the 75 bytes"),
        (lambda b: b[:4] + struct.pack(">III", 2**31, 2**31, 2**31) + b[16:], "announced"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_broken_idx_images(put, cache: Path, change, message: str, packed: bool) -> None:
    files = idx_files()
    name = "train-images-idx3-ubyte"
    broken = change(files.pop(name))
    files[f"{name}.gz" if packed else name] = gzip.compress(broken) if packed else broken
    with pytest.raises(DataError, match=message):
        ingest(put(files), cache)


@pytest.mark.parametrize("cut", [5, 12, 30, -9, -1])
def test_truncated_gzip(put, cache: Path, cut: int) -> None:
    files = idx_files()
    name = "train-images-idx3-ubyte"
    files[f"{name}.gz"] = gzip.compress(files.pop(name))[:cut]
    with pytest.raises(DataError, match="fetch the file again"):
        ingest(put(files), cache)


def test_idx_pairs_that_do_not_match(put, cache: Path) -> None:
    files = idx_files()
    labels = files["train-labels-idx1-ubyte"]
    with pytest.raises(DataError, match="agree in number"):
        ingest(
            put(files | {"train-labels-idx1-ubyte": struct.pack(">II", 0x801, 5) + labels[8:13]}),
            cache,
        )
    with pytest.raises(DataError, match="come in pairs"):
        ingest(put({"train-labels-idx1-ubyte": labels}, "other"), cache)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_idx_prefix_is_an_error_or_the_whole(data: st.DataObject) -> None:
    files = idx_files()
    name = data.draw(st.sampled_from(sorted(files)))
    keep = data.draw(st.integers(0, len(files[name]) - 1))
    with tempfile.TemporaryDirectory() as folder:
        for n, content in files.items():
            (Path(folder) / n).write_bytes(content[:keep] if n == name else content)
        with pytest.raises(DataError):
            FORMATS.create("idx").read(open_files(Path(folder)))


def test_writing_needs_an_empty_folder(make_table, tmp_path: Path) -> None:
    table = make_table(noise(3, 1, 4, 4), np.arange(3))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("precious")
    for format in ("manifest", "imagefolder", "idx"):  # the others hold other tables
        with pytest.raises(DataError, match="empty folder"):
            FORMATS.create(format).write(table, tmp_path / "out")

"""CIFAR-10's binary version and CelebA's lists: read as published, written back, refused if bad."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from augmint.core.errors import DataError
from augmint.core.registry import FORMATS
from augmint.data.ingest import ingest

from .conftest import encoded, noise

NAMES = b"airplane\nautomobile\nbird\n\n"


def batch(labels: list[int], images: np.ndarray[Any, Any]) -> bytes:
    """One record an image, written by hand: a label, then the red, green and blue planes."""
    return b"".join(
        bytes([v]) + b"".join(p.tobytes() for p in i) for v, i in zip(labels, images, strict=True)
    )


IMAGES = noise(6, 3, 32, 32)
BATCHES = {
    "cifar-10-batches-bin/data_batch_1.bin": batch([0, 2], IMAGES[:2]),
    "cifar-10-batches-bin/data_batch_2.bin": batch([1, 2], IMAGES[2:4]),
    "cifar-10-batches-bin/test_batch.bin": batch([1, 0], IMAGES[4:]),
    "cifar-10-batches-bin/batches.meta.txt": NAMES,
    "cifar-10-batches-bin/readme.html": b"<html>",
}


def test_cifar_is_read_as_published(put, zipped, cache: Path, tmp_path: Path) -> None:
    for source in (put(BATCHES), zipped(BATCHES)):
        table = ingest(source, cache)
        assert table.rules["format"] == "cifar"
        assert table.classes() == ("airplane", "automobile", "bird")
        assert table.labels().tolist() == [0, 2, 1, 2, 1, 0]
        assert {p: r.tolist() for p, r in table.parts.items()} == {
            "train": [0, 1, 2, 3],
            "test": [4, 5],
        }
        assert np.array_equal(np.asarray(table.images[:]), IMAGES)
    FORMATS.create("cifar").write(table, tmp_path / "out")
    with pytest.raises(DataError, match="empty folder"):
        FORMATS.create("cifar").write(table, tmp_path / "out")
    again = ingest(tmp_path / "out", cache)
    assert np.array_equal(np.asarray(again.images[:]), IMAGES)
    assert again.labels().tolist() == table.labels().tolist()
    assert again.classes() == table.classes()


def test_cifar_batches_are_read_in_the_order_of_their_numbers(put, cache: Path) -> None:
    files = {f"data_batch_{n}.bin": batch([i], IMAGES[i : i + 1]) for i, n in enumerate((2, 10))}
    table = ingest(put(files), cache)
    assert [n.split("#")[0] for n in table.names] == ["data_batch_2.bin", "data_batch_10.bin"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data_batch_1.bin": b""}, "0 bytes in data_batch_1.bin"),
        ({"data_batch_1.bin": bytes(3072)}, "3072 bytes in data_batch_1.bin"),
        ({"batches.meta.txt": b"cat\ndog\n"}, "got 2"),
        ({"batches.meta.txt": b"\xff\xfe"}, "UTF-8"),
        ({"batches.meta.txt": b"cat\ncat\nowl"}, "unique"),
    ],
)
def test_damaged_cifar_is_refused(put, cache: Path, change: dict[str, bytes], message: str) -> None:
    whole = {n.split("/")[1]: c for n, c in BATCHES.items()}
    with pytest.raises(DataError, match=message):
        ingest(put(whole | change), cache)


def test_pickles_are_named_and_never_opened(put, cache: Path) -> None:
    # a pickle that would create a file when it is opened
    evil = b"cposix\nsystem\n(S'touch opened'\ntR."
    with pytest.raises(DataError, match="never opened"):
        ingest(put({"data_batch_1": evil, "test_batch": evil}), cache)


def test_cifar_holds_its_own_size_only(make_table, tmp_path: Path) -> None:
    table = make_table(noise(4, 1, 32, 32), np.arange(4) % 2)
    with pytest.raises(DataError, match="imagefolder"):
        FORMATS.create("cifar").write(table, tmp_path / "out")


FACES = noise(4, 3, 10, 8)
LIST = b"4\nSmiling Male Young \n" + b"".join(
    f"00000{i}.png {s}\n".encode()
    for i, s in enumerate(("-1  1 -1", " 1 -1  1", " 1  1  1", "-1 -1 -1"))
)
PARTITION = b"000000.png 0\n000001.png 0\n000002.png 1\n000003.png 2\n"
CELEBA = {
    **{
        f"celeba/Img/img_align_celeba/00000{i}.png": encoded(FACES[i].transpose(1, 2, 0))
        for i in range(4)
    },
    "celeba/Anno/list_attr_celeba.txt": LIST,
    "celeba/Eval/list_eval_partition.txt": PARTITION,
}


def test_celeba_is_read_by_its_lists(put, zipped, cache: Path) -> None:
    for source in (put(CELEBA), zipped(CELEBA)):
        table = ingest(source, cache)
        assert table.rules["format"] == "celeba"
        assert table.classes() == ("not Male", "Male")
        assert table.labels().tolist() == [1, 0, 1, 0]
        assert table.part_of().tolist() == ["train", "train", "validation", "test"]
        assert np.array_equal(np.asarray(table.images[:]), FACES)


def test_celeba_without_parts_or_with_missing_images(put, cache: Path) -> None:
    files = {n: c for n, c in CELEBA.items() if "partition" not in n and "000001" not in n}
    table = ingest(put(files), cache)
    assert list(table.parts) == ["all"]
    assert table.labels().tolist() == [1, 1, 0]
    assert table.rules["notes"] == ["1 listed images are missing"]


@pytest.mark.parametrize("parted", [False, True])
def test_what_celeba_writes_it_reads(make_table, cache: Path, tmp_path: Path, parted: bool) -> None:
    parts = {"train": np.array([0, 2]), "test": np.array([1, 3])} if parted else None
    table = make_table(FACES, np.array([1, 0, 1, 0]), parts, ("not Young", "Young"))
    with pytest.raises(DataError, match="imagefolder"):
        FORMATS.create("celeba").write(table, tmp_path / "other")
    member = FORMATS.create({"name": "celeba", "attribute": "Young"})
    member.write(table, tmp_path / "out")
    from augmint.data.archives import open_files

    listing = member.read(open_files(tmp_path / "out"))
    assert [s.aspects["label"] for s in listing.samples] == [1, 0, 1, 0]
    assert [s.part for s in listing.samples] == table.part_of().tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"list_attr_celeba.txt": b"many\nMale\n0.png 1\n"}, "no number"),
        ({"list_attr_celeba.txt": LIST[:-20]}, "3 of 4"),
        ({"list_attr_celeba.txt": b"1\nSmiling\n000000.png 1\n"}, "got Male"),
        ({"list_attr_celeba.txt": b"1\nMale\n000000.png 0\n"}, "line 3"),
        ({"list_attr_celeba.txt": b"1\nMale\n000000.png 1 1\n"}, "line 3"),
        ({"list_attr_celeba.txt": b"2\nMale\n000000.png 1\n000000.png -1\n"}, "line 4"),
        ({"list_attr_celeba.txt": b"2\nMale\nx.png 1\ny.png -1\n"}, "none of the 2"),
        ({"list_attr_celeba.txt": b"\xff"}, "utf-8"),
        ({"list_eval_partition.txt": b"000000.png 3\n"}, "line 1"),
        ({"list_eval_partition.txt": b"000000.png 1\n"}, "without a part"),
        ({"more/list_attr_celeba.txt": LIST}, " and "),
        ({"more/000000.png": encoded(FACES[0].transpose(1, 2, 0))}, " and "),
    ],
)
def test_damaged_celeba_is_refused(
    put, cache: Path, change: dict[str, bytes], message: str
) -> None:
    whole = {n.split("/")[-1]: c for n, c in CELEBA.items()}
    with pytest.raises(DataError, match=message):
        ingest(put(whole | change), cache)

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch

from augmint.core.errors import DataError, UsageError
from augmint.data.table import Table, TableNotes


def images_of(n: int, channels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(n)
    return rng.integers(0, 256, (n, channels, 5, 4)).astype(np.uint8)


def test_what_is_written_is_read(make_table) -> None:
    images, labels = images_of(9, 3), np.arange(9) % 3
    parts = {"test": np.arange(0, 9, 3), "train": np.setdiff1d(np.arange(9), np.arange(0, 9, 3))}
    notes = TableNotes(
        groups=np.arange(9) // 2,
        origins={"real": np.arange(8), "minted": np.array([8])},
        quarantined=[{"name": "x", "reason": "y"}],
        rules={"layout": "made"},
    )
    table = make_table(images, labels, parts, notes=notes)
    again = Table.open(table.folder)
    assert np.array_equal(again.images, images)
    assert again.shape == (3, 5, 4)
    assert np.array_equal(again.labels(), labels)
    assert {p: r.tolist() for p, r in again.parts.items()} == {
        p: r.tolist() for p, r in parts.items()
    }
    assert np.array_equal(again.groups, notes.groups)
    assert again.origins["minted"].tolist() == [8]
    assert again.quarantined == [{"name": "x", "reason": "y"}]
    assert again.rules == {"layout": "made"}
    assert again.names[3] == "image-3"
    assert isinstance(again.images, np.memmap)
    assert list(again.part_of()[:3]) == ["test", "train", "train"]
    again.verify()


def test_digest_is_of_pixels_values_and_schema(make_table) -> None:
    images, labels = images_of(6), np.arange(6) % 3
    digest = hashlib.sha256(str(images.shape).encode())
    digest.update(images.tobytes())
    digest.update(f"label <i8 {labels.shape}".encode() + labels.astype("<i8").tobytes())
    first = make_table(images, labels, name="a")
    digest.update(json.dumps(first.schema.to_plain(), sort_keys=True).encode())
    assert first.digest == digest.hexdigest()
    changed = images.copy()
    changed[5, 0, 0, 0] ^= 1
    others = [
        make_table(changed, labels, name="b"),
        make_table(images, labels[::-1], name="c"),
        make_table(images, labels, classes=("cat", "dog", "emu"), name="d"),
    ]
    assert len({first.digest, *(t.digest for t in others)}) == 4
    assert make_table(images, labels, name="e").digest == first.digest


def test_batch_gives_rows_in_the_order_asked(make_table) -> None:
    images, labels = images_of(7), np.arange(7) % 3
    batch = make_table(images, labels).batch([5, 0, 5])
    assert torch.equal(batch.images, torch.from_numpy(images[[5, 0, 5]]))
    assert batch.aspects["label"].tolist() == [2, 0, 2]
    assert batch.ids.tolist() == [5, 0, 5]
    batch.images.fill_(0)  # a copy: the table cannot be written through a batch


@pytest.mark.parametrize("row", [-1, 7])
def test_rows_outside_are_refused(make_table, row: int) -> None:
    with pytest.raises(UsageError, match="rows are 0 to 6"):
        make_table(images_of(7), np.arange(7) % 3).batch([row])


def test_a_label_out_of_range_is_named(make_table) -> None:
    with pytest.raises(DataError, match="3 in row 2"):
        make_table(images_of(3), np.array([0, 1, 3]))


@pytest.mark.parametrize(
    "parts", [{"train": np.array([0, 1])}, {"train": np.arange(3), "test": np.array([2])}]
)
def test_parts_hold_every_row_once(make_table, parts) -> None:
    with pytest.raises(DataError, match="every row once"):
        make_table(images_of(3), np.arange(3), parts)


def test_a_folder_holds_one_table(make_table) -> None:
    table = make_table(images_of(3), np.arange(3))
    assert make_table(images_of(3), np.arange(3)).digest == table.digest
    with pytest.raises(UsageError, match="written once"):
        make_table(images_of(4), np.arange(4) % 3)


@pytest.mark.parametrize("victim", ["images.npy", "table.json", "values/label.npy"])
@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_damaged_table_is_an_error(make_table, victim: str, damage: str) -> None:
    table = make_table(images_of(30), np.arange(30) % 3)
    path = table.folder / victim
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="must be complete"):
        Table.open(table.folder)


def test_changed_pixels_are_noticed(make_table) -> None:
    table = make_table(images_of(5), np.arange(5) % 3)
    path = table.folder / "images.npy"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DataError, match="content"):
        Table.open(table.folder).verify()


def test_pickled_arrays_are_never_read(make_table) -> None:
    table = make_table(images_of(3), np.arange(3))
    np.save(table.folder / "values" / "label.npy", np.array([{}, 1, 2], object), allow_pickle=True)
    with pytest.raises(DataError, match="must be complete"):
        Table.open(table.folder)

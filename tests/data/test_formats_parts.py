"""Declared splits of YOLO and COCO are kept, and never half of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from augmint.core.errors import DataError
from augmint.data.ingest import ingest

from .conftest import encoded, noise
from .test_formats_coco import coco_files, content


def yolo(told: dict[str, Any], *folders: str, **more: str) -> dict[str, bytes]:
    """One image with a box in each folder."""
    files = {n: text.encode() for n, text in more.items()}
    files["data.yaml"] = yaml.safe_dump({"names": ["a", "b"], **told}).encode()
    for i, folder in enumerate(folders):
        files[f"{folder}/{i}.png"] = encoded(noise(1, 1, 6, 8, i)[0, 0])
        place = f"/{folder}/".replace("/images/", "/labels/").strip("/")
        files[f"{place}/{i}.txt"] = b"0 0.5 0.5 0.5 0.5\n"
    return files


THREE = ("images/dev", "images/fit", "images/holdout")


@pytest.mark.parametrize(
    ("told", "folders"),
    [
        ({"train": "images/fit", "val": "images/dev", "test": "images/holdout"}, THREE),
        ({"train": ["images/fit"], "val": ["./images/dev/"], "test": "images/holdout"}, THREE),
        ({"path": "images", "train": "fit", "val": "dev", "test": "holdout"}, THREE),
        ({"path": "../elsewhere", "train": "images/fit", "val": "images/dev",
          "test": "images/holdout"}, THREE),
        ({"path": "/elsewhere", "train": "../fit/images", "val": "../dev/images",
          "test": "../../holdout/images"}, ("dev/images", "fit/images", "holdout/images")),
        ({"train": "images/fit", "val": "images/dev", "test": ["images/holdout", "images/more"]},
         (*THREE, "images/more")),
    ],
)  # fmt: skip
def test_yolo_parts_are_those_that_are_declared(
    put, zipped, cache: Path, told: dict[str, Any], folders: tuple[str, ...]
) -> None:
    files = yolo(told, *folders)
    for source in (put(files), zipped({f"set/{n}": c for n, c in files.items()})):
        found = ingest(source, cache).part_of().tolist()
        assert found == ["validation", "train", "test", *["test"] * (len(folders) - 3)]


def test_yolo_lists_of_images(put, cache: Path) -> None:
    lists = {"fit.txt": "./images/0.png\nimages/1.png\n\n", "lists/kept.txt": "../images/2.png\n"}
    told = {"train": "fit.txt", "test": "lists/kept.txt"}
    table = ingest(put(yolo(told, *["images"] * 3, **lists)), cache)
    assert table.part_of().tolist() == ["train", "train", "test"]
    assert table.rules["ignored_count"] == 0


@pytest.mark.parametrize("told", [{"train": "images"}, {"train": "images", "val": "images"}, {}])
def test_one_folder_for_all_declares_no_split(put, cache: Path, told: dict[str, Any]) -> None:
    assert list(ingest(put(yolo(told, "images", "images")), cache).parts) == ["all"]


def test_folders_tell_what_the_yaml_does_not(put, cache: Path) -> None:
    told = {"train": "/data/set/images/train", "val": "/data/set/images/val", "test": None}
    table = ingest(put(yolo(told, "images/train", "images/val")), cache)
    assert table.part_of().tolist() == ["train", "validation"]
    assert table.rules["notes"] == [
        "data.yaml names what the set does not hold: train /data/set/images/train, "
        "val /data/set/images/val"
    ]


@pytest.mark.parametrize(
    ("told", "folders", "message"),
    [
        ({}, ("images/train", "images/holdout"), "or none; got images/holdout/1.png in none"),
        ({"train": "images/a"}, ("images/a", "images/b"), "got images/b/1.png in none"),
        ({"train": "/x/a", "val": "/x/b"}, ("images/a", "images/b"), "images/a/0.png in none"),
        ({"train": "..", "val": "../../etc"}, ("images/a", "images/b"), "images/a/0.png in none"),
        ({"train": "images", "val": "images/b"}, ("images/a", "images/b"), "train and validation"),
        ({"train": 3}, ("images",), "train is a path or a list of paths; got 3 in data.yaml"),
        ({"train": ["a\0"]}, ("images",), "path or a list of paths"),
        ({"path": 3}, ("images",), "path is a folder"),
        ({"train": "l.txt"}, ("images",), r"\.\./\.\./etc/passwd in l.txt line 2"),
    ],
)
def test_half_of_a_split_is_refused(
    put, cache: Path, told: dict[str, Any], folders: tuple[str, ...], message: str
) -> None:
    lists = {"l.txt": "images/0.png\n../../etc/passwd\n"}
    with pytest.raises(DataError, match=message):
        ingest(put(yolo(told, *folders, **lists)), cache)


def test_coco_files_all_name_a_part_or_none(put, cache: Path) -> None:
    files = coco_files(content())
    told = files.pop("annotations.json")
    other = json.loads(told)
    other["images"] = other["images"][:1]
    other["annotations"] = other["annotations"][:1]
    files["instances_train.json"] = told
    files["instances_holdout.json"] = json.dumps(other).encode()
    with pytest.raises(DataError, match=r"instances_holdout.json, of no part, .*instances_test"):
        ingest(put(files), cache)
    table = ingest(put(files), cache, format="{name: coco, file: train}")
    assert list(table.parts) == ["train"]

"""Broken annotation files are refused with file, place, field and remedy;
nothing moves or drops."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from augmint.core.errors import DataError
from augmint.data.ingest import ingest

from .conftest import encoded, noise
from .test_formats_coco import YAML, coco_files, content, pointed, yolo_files

BOW = [1, 1, 5, 5, 5, 1, 1, 5]
Change = Callable[[dict[str, Any]], Any]


def entry(number: int, **fields: Any) -> Change:
    return lambda told: told["annotations"][number].update(fields)


def image(**fields: Any) -> Change:
    return lambda told: told["images"][1].update(fields)


def shape(told: Any) -> Change:
    return entry(0, segmentation=told)


MASKS: list[tuple[Change, str]] = [
    (image(file_name="9.png"), r"9.png, missing in annotations.json image 5: add the image"),
    (image(file_name="3.png"), r"3.png, also image 3 in annotations.json image 5"),
    (image(file_name="../3.png"), r"\.\./3.png in annotations.json image 5"),
    (image(file_name="/etc/passwd"), "/etc/passwd in annotations.json image 5"),
    (image(file_name=None), "file_name None"),
    (image(id=3), "ids of images are different; got it again in annotations.json images 3"),
    (image(id="5"), r"whole id; got '5' in annotations.json images\[1\]"),
    (image(height=7), "annotated frame is 7 x 8, its image 6 x 8"),
    (image(width=float("nan")), "width nan in annotations.json image 5"),
    (image(origin="found"), "origin is real or minted"),
    (entry(1, id=1), "annotations 1: give each its own id"),
    (entry(1, image_id=4), "image_id 4 in annotations.json annotation 2"),
    (entry(1, category_id=30), "category_id 30 in annotations.json annotation 2"),
    (entry(1, category_id=True), "category_id True"),
    (
        shape([[1, 1, 5, 1]]),
        "at least three points; got 4 numbers in annotations.json annotation 1",
    ),
    (shape([[1, 1, 5, 1, 5, 5, 3]]), "7 numbers"),
    (shape([[1, 1, float("nan"), 1, 5, 5]]), "nan in annotations.json annotation 1"),
    (shape([[1, 1, float("inf"), 1, 5, 5]]), "inf in annotations.json annotation 1"),
    (shape([[1, 1, "5", 1, 5, 5]]), "'5' in annotations.json annotation 1"),
    (shape([[1, 1, 10**400, 1, 5, 5]]), "finite number"),
    (shape([[1, 1, 1e12, 1, 5, 5]]), "1e"),
    (
        shape([[1, 1, 12, 1, 5, 5]]),
        "annotation 1: a polygon's points lie in the frame .* got 12, 1",
    ),
    (shape([BOW]), "annotation 1: a polygon's edges do not cross; .* points 1 and 3"),
    (shape("x"), "list of polygons, or counts"),
    (shape([7]), "got int"),
    (shape({"counts": [0, 48]}), r"size \[height, width\]; got None"),
    (shape({"size": [8, 6], "counts": [0, 48]}), "run lengths is 8 x 6, its image 6 x 8"),
    (shape({"size": [6, 8], "counts": [0, 47]}), "annotation 1: counts sum to 6 x 8 = 48"),
    (shape({"size": [6, 8], "counts": [0, 96, 0]}), "counts sum to"),
    (shape({"size": [6, 8], "counts": [49, -1]}), "counts are 0 to"),
    (shape({"size": [6, 8], "counts": [2**62, 2**62, 2**62, 2**62, 48]}), "counts are 0 to"),
    (shape({"size": [6, 8], "counts": [1.5]}), "whole numbers"),
    (shape({"size": [6, 8], "counts": "~~"}), "characters 0 to o"),
    (shape({"size": [6, 8], "counts": "o"}), "complete"),
    (shape({"size": [6, 8], "counts": "oooooooo0"}), "at most 7 characters"),
    (shape({"size": [1 << 40, 1 << 40], "counts": "0"}), "its image 6 x 8"),
    (lambda t: t.update(images={}), "images is a list; got dict"),
    (lambda t: t["categories"][1].update(name="cat"), "different names; got 'cat'"),
    (lambda t: t["categories"][1].update(name=""), "category has a name"),
    (lambda t: t.update(annotations=None), "annotations is a list; got none"),
]

POINTS: list[tuple[Change, str]] = [
    (entry(0, keypoints=[1, 2, 2]), "2 times x, y, visibility; got 3 numbers in .* annotation 3"),
    (entry(0, keypoints=[1, 2, 2, 3, float("nan"), 2]), "y of right_eye nan in .* annotation 3"),
    (entry(0, keypoints=[1, 2, 3, 3, 3, 2]), "visibility is 0 .* 3 for left_eye"),
    (entry(0, keypoints=[99, 2, 2, 3, 3, 2]), "landmarks.left_eye is x, y within a frame's width"),
    (entry(0, keypoints="x"), "got str"),
    (entry(0, keypoints=[1e39, 2, 2, 3, 3, 2]), "left_eye beyond 1e"),
    (lambda t: t["categories"][0].update(skeleton=[[0, 1]]), "numbers from 1 to 2"),
    (lambda t: t["categories"][0].update(keypoints=["a", "a"]), "of different names"),
    (lambda t: t["categories"][0].update(keypoints="ab"), "keypoints are names"),
]


@pytest.mark.parametrize(
    ("base", "change", "message"),
    [*((content, c, m) for c, m in MASKS), *((pointed, c, m) for c, m in POINTS)],
)
def test_broken_coco(put, cache: Path, base: Any, change: Change, message: str) -> None:
    told = base()
    change(told)
    with pytest.raises(DataError, match=message) as caught:
        ingest(put(coco_files(told)), cache)
    assert len(caught.value.remedy) > 5


@pytest.mark.parametrize("box", [[9, 1, 2, 2], [1, 6, 2, 2], [-3, 1, 3, 2], [1, -3, 2, 3]])
def test_boxes_beside_their_image_are_left_out(put, cache: Path, box: list[float]) -> None:
    told = content()
    for e in told["annotations"]:
        del e["segmentation"]
        e["bbox"] = [-1, -1, 3, 3]
    assert len(ingest(put(coco_files(told), "a"), cache)) == 2
    told["annotations"][0]["bbox"] = box
    with pytest.raises(DataError, match=r"annotation 1: a box meets the frame of 8 x 6; .* remove"):
        ingest(put(coco_files(told), "b"), cache)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"images": [], "annotations": [], "categories": ', "JSON"),
        (b'["images", "annotations", "categories"]', "got list"),
        (b'{"images": "annotations": "categories"' + b"[" * 100_000, "JSON"),
        (b'{"images": ' + b"[" * 100_000 + b'"annotations", "categories"', "JSON"),
        (b'"images" "annotations" "categories" \xff', "UTF-8"),
    ],
)
def test_files_that_are_no_json(put, cache: Path, text: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ingest(put({**coco_files({}), "annotations.json": text}), cache)


def test_crossing_polygons_may_be_asked_for(put, cache: Path) -> None:
    told = content()
    told["annotations"][0]["segmentation"] = [BOW]
    table = ingest(put(coco_files(told)), cache, format="{name: coco, crossed: true}")
    assert 0 < (table.values["mask"][0] == 1).sum() < 16


def test_two_files_for_one_part(put, cache: Path) -> None:
    files = coco_files(content())
    files["annotations/instances.json"] = files.pop("annotations.json")
    files["annotations/captions.json"] = files["annotations/instances.json"]
    folder = put(files)
    with pytest.raises(DataError, match="file: instances"):
        ingest(folder, cache)
    assert len(ingest(folder, cache, format="{name: coco, file: instances}")) == 2


POSE = "names: [face]\nkpt_shape: [2, 3]\n"


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        (b"2 0.5 0.5 1 1\n", YAML, "class 2 in labels/train/a.txt line 1"),
        (b"\n-1 0.5 0.5 1 1\n", YAML, "'-1' in labels/train/a.txt line 2"),
        (b"cat 0.5 0.5 1 1\n", YAML, "begins with a class"),
        (b"0 0.5 0.5 1\n", YAML, "3 numbers in labels/train/a.txt line 1"),
        (b"0 0.5 0.5 1 1 1 1 1\n", YAML, "7 numbers"),
        (b"0 0.5 nan 1 1\n", YAML, "nan in labels/train/a.txt line 1"),
        (b"0 0.5 x 1 1\n", YAML, "'x' in labels"),
        (b"0 0.5 0.5 -1 1\n", YAML, "width and a height"),
        (b"0 0.5 0.5 1 1\n1 0.5 0.5 1 1\n", YAML, "2 objects in labels/train/a.txt: crop"),
        (b"0 0 0 1 1 1 0 0 1\n", YAML, "line 1: a polygon's edges do not cross"),
        (b"0 0 0 1.5 0 1 1\n", YAML, "line 1: a polygon's points lie in the frame"),
        (b"0 0 0 1 0 1 1\n0 0.5 0.5 1 1\n", YAML, "boxes or segments, not both"),
        (b"\xff\n", YAML, "UTF-8"),
        (b"0 0.5 0.5 1 1\n", "names: []\n", "names are different names"),
        (b"0 0.5 0.5 1 1\n", "names: [a, a]\n", "names are different names"),
        (b"0 0.5 0.5 1 1\n", "names: {1: a, 2: b}\n", "numbered from 0"),
        (b"0 0.5 0.5 1 1\n", "names: [a, b]\nnc: 3\n", "nc is the number"),
        (b"0 0.5 0.5 1 1\n", "names: [a\n", "data.yaml is a mapping"),
        (b"0 0.5 0.5 1 1\n", "x: &x [a]\nnames: *x\n", "aliases"),
        (b"0 0.5 0.5 1 1\n", "names: !!python/object/apply:os.mkdir ['canary']\n", "mapping"),
        (b"0 0.5 0.5 1 1 0 0 1\n", POSE, "a pose has 4 and 6 numbers; got 7"),
        (b"0 0.5 0.5 1 1 0 0 3 0 0 1\n", POSE, "visibility is 0 .* 3.0 for p0"),
        (b"0 0.5 0.5 1 1 9 0 2 0 0 1\n", POSE, "line 1: numbers are shares .* got 9: correct"),
        (b"0 0.5 0.5 1 1 -0.02 0 2 0 0 1\n", POSE, "shares of the image's .* got -0.02"),
        (b"0 1.02 0.5 1 1 0.5 0 2 0 0 1\n", POSE, "shares of the image's .* got 1.02"),
        (b"0 320 240 64 32\n", YAML, "labels/.*/a.txt line 1: numbers are shares .* got 320"),
        (b"0 1.005 0.5 0.005 0.5\n", YAML, "line 1: a box meets the frame of 8 x 6; got 8.02, 1.5"),
        (b"", POSE + "flip_idx: [1, 1]\n", "flip_idx"),
        (b"", POSE + "flip_idx: [0]\n", "flip_idx"),
        (b"", POSE + "kpt_names: [a]\n", "kpt_names"),
        (b"", "names: [a]\nkpt_shape: [2, 4]\n", "kpt_shape"),
    ],
)
def test_broken_yolo(put, cache: Path, text: bytes, settings: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ingest(put(yolo_files(text, settings)), cache)


def test_yolo_files_that_do_not_match(put, cache: Path) -> None:
    files = yolo_files(b"0 0.5 0.5 1 1\n")
    with pytest.raises(DataError, match=r"labels/train/c.txt without one"):
        ingest(put({**files, "labels/train/c.txt": b""}), cache)
    twin = {"images/train/a.jpg": files["images/train/a.png"]}
    with pytest.raises(DataError, match="its own text file"):
        ingest(put({**files, **twin}, "twin"), cache)


HEAD = "image,x0,y0,v0,x1,y1,v1\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "9.png,1,2,2,3,4,2\n", "9.png, missing in points.csv line 2: add the file"),
        (HEAD + "../0.png,1,2,2,3,4,2\n", r"\.\./0.png in points.csv line 2"),
        (HEAD + "0.png,1,2,2,3,4\n", "6 cells, 7 columns in points.csv line 2: complete"),
        (HEAD + "0.png,1,2,2,3,x,2\n", "y1 of p1 'x' in points.csv line 2"),
        (HEAD + "0.png,1,nan,2,3,4,2\n", "y0 of p0 'nan'"),
        (HEAD + "0.png,1,inf,2,3,4,2\n", "y0 of p0 'inf'"),
        (HEAD + "0.png,1,1e39,2,3,4,2\n", "p0 beyond 1e"),
        (HEAD + "0.png,1,,2,3,4,2\n", "y0 of p0 ''"),
        (HEAD + "0.png,1,2,3,3,4,2\n", "v0 '3'"),
        (
            HEAD + "0.png,1,2,2,3,4,2\n\n0.png,1,2,2,3,4,2\n",
            "0.png, also in line 2 in points.csv line 4",
        ),
        (HEAD, "no line"),
        (HEAD + '"0.png,1,2\n', "points.csv line 2"),
        ("image,x0,y0,x0,y0\n0.png,1,2,3,4\n", "two columns 'x0'"),
        ("image,split,x0,y0\n0.png,dev,1,2\n", "'dev' in points.csv line 2"),
        ("image,origin,x0,y0\n0.png,found,1,2\n", "origin is real or minted"),
    ],
)
def test_broken_tables_of_points(put, cache: Path, text: str, message: str) -> None:
    files = {f"images/{i}.png": encoded(noise(1, 1, 6, 8, i)[0, 0]) for i in range(3)}
    with pytest.raises(DataError, match=message):
        ingest(put({**files, "points.csv": text.encode()}), cache, format="csv")


GREY = encoded(np.eye(6, 8, dtype=np.uint8))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masks/1.png": None}, "images/1.png with no annotation in masks"),
        ({"masks/9.png": GREY}, "masks/9.png with no image"),
        ({"images/1.jpg": GREY}, "different stems; got images/1.jpg and images/1.png"),
        ({"masks/1.png": b"broken"}, "masks/1.png: no image of a known format"),
        ({"masks/1.png": encoded(np.zeros((6, 8, 3), np.uint8))}, "8 bits, not of colours"),
        ({"masks/1.png": encoded(np.zeros((3, 8), np.uint8))}, "is 3 x 8, its image 6 x 8"),
        ({"classes.txt": b"a\nb\n\xff"}, "UTF-8"),
        ({"classes.txt": b"a\na\n"}, "different names"),
        ({"classes.txt": b"a\r\n \r\nb\r\n"}, "an empty one in classes.txt line 2: name"),
        ({"classes.txt": b"\na\nb\n"}, "an empty one in classes.txt line 1"),
        ({"classes.txt": b"\n\n"}, "an empty one in classes.txt line 1"),
        ({"classes.txt": "\n".join(map(str, range(300))).encode()}, "2 to 256 classes"),
        ({"schema.json": b"{}"}, "list of aspects"),
        ({"schema.json": b'[{"kind": "mask"}]'}, "needs the field name"),
        ({"schema.json": b'[{"kind": "mask", "name": "m", "classes": ["a"]}]'}, "256 classes"),
        ({"schema.json": b'[{"kind": "vector", "name": "m", "components": ["a"]}]'}, "hold mask"),
        ({"schema.json": b"[" * 100_000}, "JSON"),
    ],
)
def test_broken_mask_folders(put, cache: Path, change: dict[str, Any], message: str) -> None:
    files: dict[str, Any] = {f"images/{i}.png": GREY for i in range(3)}
    files |= {f"masks/{i}.png": GREY for i in range(3)} | change
    with pytest.raises(DataError, match=message):
        ingest(put({n: c for n, c in files.items() if c is not None}), cache)


def test_masks_with_losses_are_refused(put, cache: Path) -> None:
    files = {f"images/{i}.png": encoded(noise(1, 1, 9, 9, i)[0, 0]) for i in range(3)}
    files |= {n.replace("images", "masks"): c for n, c in files.items()}
    with pytest.raises(DataError, match=r"at most 64 different numbers .* without losses"):
        ingest(put(files), cache)


SCHEMA = [
    {"kind": "category", "name": "label", "classes": ["cat", "dog"]},
    {"kind": "vector", "name": "pose", "components": ["yaw", "pitch"], "low": [-1, -1],
     "high": [1, 1]},
    {"kind": "landmarks", "name": "eyes", "points": ["l", "r"], "size": [6, 8]},
    {"kind": "mask", "name": "skin", "classes": ["no", "yes"]},
    {"kind": "map", "name": "depth"},
]  # fmt: skip
LINE = {
    "file_name": "0.png", "label": "dog", "pose": [0, 0.5], "eyes": [[1, 2, 2], [3, 4, 0]],
    "skin": "m.png", "depth": "d.npy",
}  # fmt: skip


def array(values: np.ndarray) -> bytes:
    import io

    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=True)
    return buffer.getvalue()


def manifest(**fields: Any) -> dict[str, bytes]:
    files = {
        "0.png": GREY,
        "m.png": GREY,
        "d.npy": array(np.zeros((1, 6, 8), "<f4")),
        "schema.json": json.dumps(SCHEMA).encode(),
    }
    told = {k: v for k, v in {**LINE, **fields}.items() if v != "absent"}
    return {**files, "metadata.jsonl": json.dumps(told).encode()}


def test_the_manifest_as_it_should_be(put, cache: Path) -> None:
    assert ingest(put(manifest(depth="m.png"), "b"), cache).values["depth"].max() == 1
    table = ingest(put(manifest()), cache)
    assert table.labels().tolist() == [1]
    assert table.values["eyes"].tolist() == [[[1, 2, 2], [0, 0, 0]]]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"label": "owl"}, "label 'owl' in metadata.jsonl line 1: known: cat, dog"),
        ({"label": None}, "label None"),
        ({"label": "absent"}, "no label in metadata.jsonl line 1"),
        ({"pose": [0]}, "pose of 1 values in metadata.jsonl line 1: write 2"),
        ({"pose": [0, None]}, "pose.pitch None in metadata.jsonl line 1"),
        ({"pose": [0, float("nan")]}, "pose.pitch nan"),
        ({"pose": [0, 2]}, "pose.pitch must be -1 to 1; got 2.0: correct"),
        ({"pose": {"yaw": 0, "roll": 1}}, "pose of roll in metadata.jsonl line 1"),
        ({"pose": {"yaw": 0}}, "pose.pitch None"),
        ({"pose": 3}, "pose of 3 in"),
        ({"eyes": [[1, 2, 2]]}, "eyes of 1 values in metadata.jsonl line 1"),
        ({"eyes": [[1, 2, 2], [1]]}, r"r \[1\] in metadata.jsonl line 1"),
        ({"eyes": [[1, 2, 2], [1, 2, 7]]}, "7 for r in metadata.jsonl line 1"),
        ({"eyes": [[1, 2, 2], [1, float("inf"), 2]]}, "y of r inf"),
        ({"eyes": [[1, 2, 2], [1, 200, 2]]}, "line 1: eyes.r is x, y within a frame's width"),
        ({"skin": "../m.png"}, r"skin \.\./m.png in metadata.jsonl line 1"),
        ({"skin": "n.png"}, "skin n.png, which is missing in metadata.jsonl line 1"),
        ({"skin": 3}, "skin 3"),
        ({"skin": "d.npy"}, "d.npy: no image of a known format"),
        ({"depth": "/d.npy"}, "below the folder"),
    ],
)
def test_broken_manifests(put, cache: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ingest(put(manifest(**fields)), cache)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (array(np.zeros((1, 6, 7), "<f4")), r"d.npy: an array float32 of shape \(1, 6, 7\)"),
        (array(np.zeros((1, 6, 8), "<f8")), "an array float64"),
        (array(np.zeros((1, 6, 8), "<f4"))[:-1], "191 bytes of 192"),
        (array(np.array([{"a": 1}], dtype=object)), "an array object"),
        (b"x", "no .npy file of this kind"),
        (array(np.full((1, 6, 8), 7, "<f4")), "depth must be 0 to 1"),
    ],
)
def test_broken_arrays(put, cache: Path, raw: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ingest(put({**manifest(), "d.npy": raw}), cache)


def test_an_array_that_claims_much_allocates_nothing(put, cache: Path) -> None:
    raw = array(np.zeros((1, 6, 8), "<f4")).replace(b"(1, 6, 8)", b"(9999999, 9999999, 99)"[:22])
    with pytest.raises(DataError, match=r"d\.npy"):
        ingest(put({**manifest(), "d.npy": raw}), cache)

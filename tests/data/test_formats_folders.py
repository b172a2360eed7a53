"""Tables of points, folders of masks and maps, and manifests, read by hand-made files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from augmint.aspects.sides import class_pairs, pairs_of, reference_of
from augmint.core.errors import DataError, UsageError
from augmint.core.registry import FORMATS
from augmint.data.decoding import BadFilesError
from augmint.data.formats import face68
from augmint.data.ingest import ingest

from .conftest import encoded, noise

IMAGES = {f"images/{i}.png": encoded(noise(1, 1, 6, 8, i)[0, 0]) for i in range(4)}


def csv_files(text: str, name: str = "points.csv") -> dict[str, bytes]:
    return {**IMAGES, name: text.encode()}


NUMBERED = "image,x0,y0,x1,y1\n0.png,1,2,3,4.5\n1.png,0.1,0,,\n"


def test_numbered_points(put, cache: Path) -> None:
    table = ingest(put(csv_files(NUMBERED)), cache)
    assert table.rules["layout"] == "a table of landmarks: points.csv, 2 points"
    aspect: Any = table.schema["landmarks"]
    assert aspect.points == ("p0", "p1")
    assert aspect.pairs is None
    assert table.values["landmarks"].tolist() == [
        [[1, 2, 2], [3, 4.5, 2]],
        [[np.float32(0.1), 0, 2], [0, 0, 0]],
    ]


def test_named_points_with_visibility_parts_and_subjects(put, cache: Path) -> None:
    text = (
        "File,left eye_x,left eye_y,left eye_v,right eye_x,right eye_y,right eye_v,"
        "Split,split_person_disjoint,Person,label,blur\n"
        "images/0.png,1,2,1,3,4,2,train,test,bo,cat,0.5\n"
        "images/1.png,1,2,0,3,4,2,train,train,al,dog,0.5\n"
        '"images/2.png",1,2,0,3,4,2,test,train,al,cat,0.5\n'
    )
    table = ingest(put(csv_files(text)), cache)
    aspect: Any = table.schema["landmarks"]
    assert aspect.pairs == (("left eye", "right eye"),)
    assert table.values["landmarks"][:, 0].tolist() == [[1, 2, 1], [0, 0, 0], [0, 0, 0]]
    assert table.part_of().tolist() == ["test", "train", "train"]
    assert table.groups is not None
    assert table.groups.tolist() == [1, 0, 0]
    assert table.labels().tolist() == [0, 1, 0]
    assert table.rules["notes"] == ["columns not read: Split, blur"]


def test_columns_as_asked(put, cache: Path) -> None:
    text = "name,set,age,x1,y1\n0.png,train,30,1,1\n1.png,test,40.5,1,2\n"
    folder = put(csv_files(text))
    asked = "{name: csv, split: set, vector: [age], offset: 0.5, mirrored: []}"
    table = ingest(folder, cache, format=asked)
    assert table.values["vector"].tolist() == [[30], [40.5]]
    assert table.values["landmarks"].tolist() == [[[1.5, 1.5, 2]], [[1.5, 2.5, 2]]]
    assert table.part_of().tolist() == ["train", "test"]
    for asked in ("{name: csv, vector: [agee]}", "{name: csv, split: parts}"):
        with pytest.raises(DataError, match=r"'age'|set"):
            ingest(folder, cache, format=asked)


@pytest.mark.parametrize("asked", ["{name: csv, splat: x}", "{name: [", "{x: 1}", "csw"])
def test_formats_that_are_none(put, cache: Path, asked: str) -> None:
    with pytest.raises(UsageError):
        ingest(put(csv_files(NUMBERED)), cache, format=asked)


def test_offsets_read_back(put, cache: Path, tmp_path: Path) -> None:
    member = FORMATS.create({"name": "csv", "offset": 0.5})
    table = ingest(put(csv_files(NUMBERED)), cache, format={"name": "csv", "offset": 0.5})
    member.write(table, tmp_path / "out")
    again = ingest(tmp_path / "out", cache, format={"name": "csv", "offset": 0.5})
    assert np.array_equal(table.values["landmarks"], again.values["landmarks"])
    assert "1.0,2.0,3.0,4.5" in (tmp_path / "out" / "landmarks.csv").read_text()


# the pairs of the 68 points as their publishers number them, from 1
PAIRS68 = {
    1: 17, 2: 16, 3: 15, 4: 14, 5: 13, 6: 12, 7: 11, 8: 10, 18: 27, 19: 26, 20: 25, 21: 24, 22: 23,
    32: 36, 33: 35, 37: 46, 38: 45, 39: 44, 40: 43, 41: 48, 42: 47, 49: 55, 50: 54, 51: 53, 60: 56,
    59: 57, 61: 65, 62: 64, 68: 66,
}  # fmt: skip


def test_68_points_are_those_of_a_face(put, cache: Path) -> None:
    head = ",".join(f"x{i},y{i}" for i in range(68))
    row = ",".join(f"{i % 8},{i // 12}" for i in range(68))
    table = ingest(put(csv_files(f"image,{head}\n0.png,{row}\n")), cache)
    aspect: Any = table.schema["landmarks"]
    index = {n: i + 1 for i, n in enumerate(aspect.points)}
    found = {frozenset((index[a], index[b])) for a, b in aspect.pairs}
    assert found == {frozenset(pair) for pair in PAIRS68.items()}
    assert [index[n] for n in aspect.reference] == [37, 46]
    assert len(face68.SKELETON) == 16 + 4 + 4 + 3 + 4 + 6 + 6 + 12 + 8
    # the classes of left and right stand on the sides of an upright face
    assert aspect.points[36].startswith("right_eye")


def test_pairs_from_names() -> None:
    assert pairs_of(("eyeLeft", "eyeRight")) == (("eyeLeft", "eyeRight"),)
    assert pairs_of(("LEFT", "RIGHT", "x")) == (("LEFT", "RIGHT"),)
    assert pairs_of(("cleft", "bright")) is None
    assert pairs_of(("right_ear", "nose")) is None
    assert pairs_of(("left_a", "right_a", "right_b")) is None


def test_the_eyes_of_a_face_are_its_reference() -> None:
    from augmint.data import faces

    assert reference_of(faces.LANDMARKS) == faces.INTER_OCULAR
    assert set(reference_of(face68.POINTS) or ()) == set(face68.REFERENCE)
    assert reference_of(("eyeLeftInner", "eyeRightInner", "eyeLeft", "eyeRight")) == (
        "eyeLeft",
        "eyeRight",
    )
    assert reference_of(("left_eye_inner", "right_eye_inner")) is not None
    for names in (("left_eye", "nose"), ("left_eye_brow", "right_eye_brow"), ("left", "right")):
        assert reference_of(names) is None


@pytest.mark.parametrize("format", ["coco", "yolo", "csv", "manifest"])
def test_every_format_takes_the_eyes_as_reference(put, cache: Path, format: str) -> None:
    names = ["nose", "left_eye", "right_eye"]
    coco = {
        "images": [{"id": 1, "file_name": "0.png", "height": 6, "width": 8}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "keypoints": [1, 1, 2] * 3}],
        "categories": [{"id": 1, "name": "face", "keypoints": names}],
    }
    yolo = {"names": ["face"], "kpt_shape": [3, 2], "kpt_names": names}
    line = {"file_name": "images/0.png", "landmarks": {n: [1, 1] for n in names}}
    files = {
        "coco": {"a.json": json.dumps(coco)},
        "yolo": {"data.yaml": json.dumps(yolo), "labels/0.txt": "0 0.5 0.5 1 1" + " 0.5" * 6},
        "csv": {
            "p.csv": "image," + ",".join(f"{n}_x,{n}_y" for n in names) + "\n0.png,1,1,1,1,1,1"
        },
        "manifest": {"metadata.jsonl": json.dumps(line)},
    }
    told = {n: text.encode() for n, text in files[format].items()}
    aspect: Any = ingest(put({"images/0.png": IMAGES["images/0.png"], **told}), cache).schema[
        "landmarks"
    ]
    assert aspect.points == tuple(names)
    assert aspect.reference == ("left_eye", "right_eye")
    assert aspect.pairs == (("left_eye", "right_eye"),)


def test_classes_with_sides_but_without_partners_are_unknown() -> None:
    assert class_pairs(("ground", "bright", "cleft", "BRIGHT")) == ()
    assert class_pairs(("left lung", "right lung", "heart")) == (("left lung", "right lung"),)
    for odd in ("left_ventricle", "leftlung", "lungRight", "Rightlung", "lungLEFT", "LEFTLUNG"):
        assert class_pairs(("ground", "left_lung", "right_lung", odd)) is None


def test_empty_lines_behind_the_classes_name_none(put, cache: Path) -> None:
    files = {**IMAGES, **{n.replace("images", "masks"): encoded(GREY + 1) for n in IMAGES}}
    table = ingest(put({**files, "classes.txt": b"a\r\nb\nc\n \n\n"}), cache)
    assert getattr(table.schema["mask"], "classes", None) == ("a", "b", "c")


@pytest.mark.parametrize("format", ["coco", "yolo", "mask-folders"])
def test_masks_of_half_known_sides_refuse_flips(put, cache: Path, format: str) -> None:
    names = ["left_lung", "right_lung", "left_ventricle"]
    image = encoded(noise(1, 1, 6, 8)[0, 0])
    corners = [1, 1, 5, 1, 5, 5, 1, 5]
    coco = {
        "images": [{"id": 1, "file_name": "0.png", "height": 6, "width": 8}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [corners]}],
        "categories": [{"id": i, "name": n} for i, n in enumerate(names)],
    }
    files = {
        "coco": {"a.json": json.dumps(coco).encode()},
        "yolo": {"data.yaml": json.dumps({"names": names}).encode(),
                 "labels/0.txt": b"0 0 0 0 1 1 1\n"},
        "mask-folders": {"masks/0.png": encoded(GREY + 1),
                         "classes.txt": "\n".join(["ground", *names]).encode()},
    }  # fmt: skip
    table = ingest(put({"images/0.png": image, **files[format]}), cache)
    assert not table.schema["mask"].mirrors


GREY = np.zeros((6, 8), np.uint8)
GREY[:, 4:] = 255


def test_black_and_white_masks(put, cache: Path) -> None:
    files = {**IMAGES, **{n.replace("images", "masks"): encoded(GREY) for n in IMAGES}}
    table = ingest(put(files), cache)
    mask: Any = table.schema["mask"]
    assert (mask.classes, mask.void) == (("background", "foreground"), None)
    assert table.values["mask"][0].tolist() == (GREY // 255).tolist()
    named = ingest(put(files | {"classes.txt": b"dark\nlight\n"}, "named"), cache)
    assert getattr(named.schema["mask"], "classes", None) == ("dark", "light")
    assert np.array_equal(named.values["mask"], table.values["mask"])


def test_palette_masks_keep_their_indices(put, cache: Path) -> None:
    import io

    from PIL import Image

    picture = Image.fromarray((np.arange(48).reshape(6, 8) % 5).astype(np.uint8), mode="P")
    picture.putpalette([255, 0, 0] * 256)  # one colour for all: only indices tell
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    colour = encoded(noise(1, 3, 6, 8)[0].transpose(1, 2, 0))
    files = {f"{n[7:]}": colour for n in IMAGES}
    files = {f"train/A/{n}": c for n, c in files.items()} | {
        f"train/B/{n}": buffer.getvalue() for n in files
    }
    table = ingest(put(files), cache)
    assert table.values["mask"][0].tolist() == (np.arange(48).reshape(6, 8) % 5).tolist()
    assert list(table.parts) == ["train"]


@pytest.mark.parametrize(
    ("numbers", "void", "classes"),
    [
        ((0, 1, 3), None, ("0", "1", "2", "3")),
        ((0, 1, 255), 255, ("0", "1")),
        ((0, 50, 170, 255), 170, ("0", "50", "255")),
        ((0, 128, 255), None, ("0", "128", "255")),
    ],
)
def test_numbers_become_classes(put, cache: Path, numbers, void, classes) -> None:
    pixels = np.array(numbers, np.uint8)[np.arange(48).reshape(6, 8) % len(numbers)]
    files = {**IMAGES, **{n.replace("images", "masks"): encoded(pixels) for n in IMAGES}}
    asked = {"name": "mask-folders", "void": void} if void is not None else None
    table = ingest(put(files), cache, format=asked)
    mask: Any = table.schema["mask"]
    assert mask.classes == classes
    read = [
        [void if v == mask.void else int(classes[v]) for v in row]
        for row in table.values["mask"][0]
    ]
    assert read == pixels.tolist()


def test_depth_of_16_bits(put, cache: Path) -> None:
    depth = np.full((6, 8), 1500, np.uint16)
    depth[0, 0], depth[0, 1], depth[0, 2] = 0, 65535, 700
    files = {**IMAGES, **{n.replace("images", "depth"): encoded(depth) for n in IMAGES}}
    table = ingest(put(files), cache, format="{name: mask-folders, unit: mm}")
    aspect: Any = table.schema["depth"]
    assert (aspect.low, aspect.high, aspect.unit) == (700, 1500, "mm")
    assert np.isnan(table.values["depth"][0, 0, 0, :2]).all()
    assert table.values["depth"][0, 0, 0, 2:4].tolist() == [700, 1500]


def test_classes_called_a_and_b_are_classes(put, cache: Path) -> None:
    for names in ("ab", "AB"):
        files = {
            f"{c}/{i}.png": encoded(noise(1, 1, 9, 9, i + 7 * n)[0, 0] // (1 + 99 * binary))
            for n, c in enumerate(names)
            for i in range(3)
            for binary in [names == "AB"]
        }
        assert ingest(put(files, names), cache).rules["format"] == "imagefolder"


def test_paired_colour_images_are_a_map(put, cache: Path) -> None:
    colour = noise(1, 3, 6, 8)[0]
    files = {n.replace("images", "A"): c for n, c in IMAGES.items()}
    files |= {n.replace("images", "B"): encoded(colour.transpose(1, 2, 0)) for n in IMAGES}
    table = ingest(put(files), cache, format="mask-folders")
    assert np.array_equal(table.values["map"][0], colour)


def test_other_numbers_than_the_listed_classes_are_quarantined(put, cache: Path) -> None:
    images = {f"images/{i:03d}.png": encoded(noise(1, 1, 6, 8, i)[0, 0]) for i in range(120)}
    files = {**images, **{n.replace("images", "masks"): encoded(GREY // 255) for n in images}}
    files["masks/007.png"] = encoded(GREY // 255 * 9)
    files["classes.txt"] = b"a\nb\nc\n"
    table = ingest(put(files), cache)
    assert len(table) == 119
    assert table.quarantined == [
        {"name": "images/007.png", "reason": "masks/007.png holds 9, which is no class"}
    ]
    assert "images/007.png" not in table.names
    files["masks/008.png"] = encoded(GREY[:5] // 255)
    with pytest.raises(BadFilesError, match=r"masks/008.png is 5 x 8, its image 6 x 8"):
        ingest(put(files, "more"), cache)


def test_a_manifest_without_a_schema(put, cache: Path) -> None:
    lines = [
        {"file_name": f"images/{i}.png", "landmarks": [[1, 2], [3, 4, 1], None], "mask": "m.png"}
        for i in range(2)
    ]
    lines[1]["mask"] = "n.png"
    files = {**IMAGES, "m.png": encoded(GREY), "n.png": encoded(GREY)}
    files["metadata.jsonl"] = "\n".join(map(json.dumps, lines)).encode()
    table = ingest(put(files), cache)
    assert [a.name for a in table.schema] == ["landmarks", "mask"]
    assert table.values["landmarks"][0].tolist() == [[1, 2, 2], [3, 4, 1], [0, 0, 0]]
    assert table.values["mask"].max() == 1


def test_manifests_take_names_for_numbers(put, cache: Path) -> None:
    schema = [
        {"kind": "landmarks", "name": "eyes", "points": ["l", "r"], "size": [6, 8]},
        {"kind": "vector", "name": "pose", "components": ["yaw", "pitch"]},
    ]
    line = {
        "file_name": "images/0.png",
        "eyes": {"r": [1, 2, 1]},
        "pose": {"pitch": 2, "yaw": 1.5},
    }
    files = {**IMAGES, "metadata.jsonl": json.dumps(line).encode()}
    files["schema.json"] = json.dumps(schema).encode()
    table = ingest(put(files), cache)
    assert table.values["eyes"].tolist() == [[[0, 0, 0], [1, 2, 1]]]
    assert table.values["pose"].tolist() == [[1.5, 2]]


def test_points_beside_the_frame_are_told_and_far_ones_left_out(put, cache: Path) -> None:
    images = {f"images/{i:03d}.png": encoded(noise(1, 1, 6, 8, i)[0, 0]) for i in range(120)}
    rows = [f"{i:03d}.png,{9 if i == 5 else 4},3\n" for i in range(120)]
    table = ingest(put({**images, "p.csv": ("image,x0,y0\n" + "".join(rows)).encode()}), cache)
    assert table.rules["notes"] == ["1 images have points beside the frame, such as images/005.png"]
    rows[7] = "007.png,4,90\n"
    far = ingest(put({**images, "p.csv": ("image,x0,y0\n" + "".join(rows)).encode()}, "b"), cache)
    assert [q["name"] for q in far.quarantined] == ["images/007.png"]
    assert "p.csv line 9" in far.quarantined[0]["reason"]
    assert "landmarks.p0" in far.quarantined[0]["reason"]

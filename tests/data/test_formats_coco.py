"""COCO and YOLO against COCO's own tools and by hand; run lengths and polygons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from augmint.core.errors import DataError
from augmint.core.registry import FORMATS
from augmint.data.formats import polygons, rle
from augmint.data.ingest import ingest

from .conftest import encoded, noise
from .random_tables import mask, points, random_table

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def tools() -> Any:
    return pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")


def some_mask(rng: np.random.Generator, most: int = 24) -> np.ndarray:
    return rng.random(rng.integers(1, most, 2)) < rng.choice([0.0, 0.1, 0.5, 0.8, 1.0])


def test_run_lengths_are_those_of_pycocotools(tools: Any) -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        bits = some_mask(rng, 60)
        theirs = tools.encode(np.asfortranarray(bits.astype(np.uint8)))
        counts = rle.encode(bits)
        assert rle.pack(counts) == theirs["counts"].decode()
        assert rle.unpack(rle.pack(counts)).tolist() == counts.tolist()
        assert np.array_equal(rle.decode(counts, bits.shape), bits)


def test_polygons_are_filled_as_by_pycocotools(tools: Any) -> None:
    rng = np.random.default_rng(1)
    for case in range(500):
        height, width = (int(v) for v in rng.integers(1, 40, 2))
        shape = rng.uniform(-1, 1, (rng.integers(3, 12), 2)) * max(height, width) + [9, 9]
        if parts := case % 3:  # whole and half pixels too
            shape = np.round(shape * parts) / parts
        shape = shape.clip(-1, [width + 1, height + 1])
        flat = tools.frPyObjects([shape.ravel().tolist()], height, width)
        theirs = tools.decode(flat)[..., 0].astype(bool)
        assert np.array_equal(polygons.fill(shape, (height, width)), theirs)


def test_outlines_fill_to_the_same_mask_and_never_cross() -> None:
    rng = np.random.default_rng(2)
    for _ in range(500):
        bits = some_mask(rng, 16)
        found = np.zeros(bits.shape, int)
        for outline in polygons.outlines(bits):
            found += polygons.fill(outline, bits.shape)
            assert polygons.crossing(outline) is None
        assert np.array_equal(found, bits)


def test_a_ring_is_one_polygon() -> None:
    bits = np.ones((5, 5), bool)
    bits[2, 2] = False
    assert len(polygons.outlines(bits)) == 1


def crosses_slowly(shape: np.ndarray) -> bool:
    """Every pair of edges, by solving for the point where they meet."""
    n = len(shape)
    for i in range(n):
        for j in range(i + 1, n):
            a, b, c, d = shape[i], shape[(i + 1) % n], shape[j], shape[(j + 1) % n]
            system = np.stack([b - a, c - d], 1)
            if abs(np.linalg.det(system)) > 1e-12:
                s, t = np.linalg.solve(system, c - a)
                if 1e-9 < s < 1 - 1e-9 and 1e-9 < t < 1 - 1e-9:
                    return True
    return False


def test_crossings_are_found() -> None:
    rng = np.random.default_rng(3)
    seen = set()
    for _ in range(200):
        shape = rng.uniform(0, 9, (rng.integers(3, 7), 2))
        assert (polygons.crossing(shape) is not None) == crosses_slowly(shape)
        seen.add(crosses_slowly(shape))
    assert seen == {True, False}


@pytest.mark.parametrize("packed", [True, False])
def test_pycocotools_reads_what_is_written(tmp_path: Path, tools: Any, packed: bool) -> None:
    from pycocotools.coco import COCO

    rng = np.random.default_rng(4)
    table = random_table(rng, tmp_path / "t", (mask, points), 10)
    while set(table.parts) != {"all"}:
        table = random_table(rng, tmp_path / f"t{rng.integers(1 << 30)}", (mask, points), 10)
    FORMATS.create({"name": "coco", "packed": packed}).write(table, tmp_path / "out")
    theirs = COCO(tmp_path / "out" / "annotations" / "instances.json")
    for row, id in enumerate(sorted(theirs.getImgIds())):
        told = theirs.loadAnns(theirs.getAnnIds(id))
        found = np.zeros(table.shape[1:], np.uint8)
        classes: Any = getattr(table.schema["mask"], "classes", ())
        for entry in told:
            if "segmentation" not in entry:
                flat = np.array(entry["keypoints"], np.float32).reshape(-1, 3)
                assert np.array_equal(flat, table.values["landmarks"][row])
                continue
            name = theirs.loadCats(entry["category_id"])[0]["name"]
            void = getattr(table.schema["mask"], "void", None)
            value = void if name == "void" else classes.index(name)
            inside = theirs.annToMask(entry).astype(bool)
            assert inside.sum() == entry["area"]
            found[inside] = value
        assert np.array_equal(found, table.values["mask"][row])


def content(**more: Any) -> dict[str, Any]:
    """Two images of 6 x 8, a cat drawn as a polygon and a dog as run lengths."""
    images = [{"id": i, "file_name": f"{i}.png", "height": 6, "width": 8} for i in (3, 5)]
    square = [1, 1, 5, 1, 5, 5, 1, 5]
    dog = {"size": [6, 8], "counts": [0, 6, 42]}
    annotations = [
        {"id": 1, "image_id": 3, "category_id": 10, "segmentation": [square]},
        {"id": 2, "image_id": 5, "category_id": 20, "segmentation": dog},
    ]
    categories = [{"id": 10, "name": "cat"}, {"id": 20, "name": "dog"}]
    return {"images": images, "annotations": annotations, "categories": categories, **more}


def coco_files(told: Any) -> dict[str, bytes]:
    return {
        "annotations.json": json.dumps(told).encode(),
        "images/3.png": encoded(noise(1, 1, 6, 8, 3)[0, 0]),
        "images/5.png": encoded(noise(1, 1, 6, 8, 5)[0, 0]),
    }


def test_coco_by_hand(put, cache: Path) -> None:
    table = ingest(put(coco_files(content())), cache)
    assert table.rules["format"] == "coco"
    assert getattr(table.schema["mask"], "classes", None) == ("background", "cat", "dog")
    cat = np.zeros((6, 8), int)
    cat[1:5, 1:5] = 1
    dog = np.zeros((6, 8), int)
    dog[:, 0] = 2
    assert table.values["mask"].tolist() == [cat.tolist(), dog.tolist()]


def test_the_smaller_of_two_objects_lies_above(put, cache: Path) -> None:
    small = {"id": 9, "image_id": 3, "category_id": 20, "segmentation": [[1, 1, 3, 1, 3, 3, 1, 3]]}
    for turned in (False, True):
        told = content()
        told["annotations"] = (
            [small, *told["annotations"]] if turned else [*told["annotations"], small]
        )
        found = ingest(put(coco_files(told), f"set{turned}"), cache).values["mask"][0]
        assert found[1:3, 1:3].tolist() == [[2, 2], [2, 2]]
        assert (found == 1).sum() == 12


def test_several_polygons_are_one_object(put, cache: Path) -> None:
    told = content()
    told["annotations"][0]["segmentation"] += [[6, 0, 8, 0, 8, 2, 6, 2], [1, 1, 3, 1, 3, 3, 1, 3]]
    found = ingest(put(coco_files(told)), cache).values["mask"][0]
    assert (found == 1).sum() == 16 + 4, "what two of them cover is covered"


def pointed(**entry: Any) -> dict[str, Any]:
    """One person an image, two points."""
    told = content()
    told["categories"] = [
        {"id": 1, "name": "person", "keypoints": ["left_eye", "right_eye"], "skeleton": [[1, 2]]}
    ]
    told["annotations"] = [
        {"id": i, "image_id": i, "category_id": 1, "keypoints": [5, 2, 2, 2.5, 2, 1],
         "num_keypoints": 2, "bbox": [2, 2, 3, 0], **entry}
        for i in (3, 5)
    ]  # fmt: skip
    return told


def test_keypoints_by_hand(put, cache: Path) -> None:
    table = ingest(put(coco_files(pointed())), cache)
    aspect: Any = table.schema["landmarks"]
    assert aspect.pairs == aspect.skeleton == (("left_eye", "right_eye"),)
    assert table.values["landmarks"].tolist() == [[[5, 2, 2], [2.5, 2, 1]]] * 2
    assert len(table.schema) == 1


def test_keypoints_that_are_indices_of_pixels(put, cache: Path, tmp_path: Path) -> None:
    told = pointed(keypoints=[5, 2, 2, 0, 0, 0])
    asked = {"name": "coco", "offset": 0.5}
    table = ingest(put(coco_files(told)), cache, format=asked)
    assert table.values["landmarks"].tolist() == [[[5.5, 2.5, 2], [0, 0, 0]]] * 2
    FORMATS.create(asked).write(table, tmp_path / "out")
    written = json.loads((tmp_path / "out" / "annotations" / "instances.json").read_text())
    assert written["annotations"][0]["keypoints"] == [5, 2, 2, 0, 0, 0]
    again = ingest(tmp_path / "out", cache, format=asked)
    assert np.array_equal(again.values["landmarks"], table.values["landmarks"])


def test_several_objects_are_refused_or_the_largest_taken(put, cache: Path) -> None:
    told = pointed()
    more = {
        **told["annotations"][0],
        "id": 7,
        "keypoints": [1, 1, 2, 0, 0, 0],
        "bbox": [0, 0, 5, 5],
    }
    crowd = {**more, "id": 8, "keypoints": [0] * 6, "iscrowd": 1}
    told["annotations"] += [more, crowd]
    folder = put(coco_files(told))
    with pytest.raises(DataError, match="objects: largest"):
        ingest(folder, cache)
    table = ingest(folder, cache, format="{name: coco, objects: largest}")
    assert table.values["landmarks"][0].tolist() == [[1, 1, 2], [0, 0, 0]]
    assert table.rules["notes"] == [
        "1 crowds are left out",
        "1 objects beside the largest of their image are left out",
    ]


def test_objects_that_are_not_read_are_counted(put, cache: Path) -> None:
    told = pointed()
    first = told["annotations"][0]
    boxed = {k: v for k, v in first.items() if k != "keypoints"}
    told["annotations"] += [{**boxed, "id": 7}, {**first, "id": 8, "keypoints": [0] * 6}]
    table = ingest(put(coco_files(told)), cache)
    assert table.values["landmarks"].tolist() == [[[5, 2, 2], [2.5, 2, 1]]] * 2
    assert table.rules["notes"] == [
        "1 objects without a labelled point are left out",
        "1 objects without keypoints are left out",
    ]


def test_a_crowd_is_no_object_of_a_set_of_boxes(put, cache: Path) -> None:
    told = content()
    for entry in told["annotations"]:
        del entry["segmentation"]
        entry["bbox"] = [1, 2, 3.5, 4]
    told["annotations"].append({"id": 9, "image_id": 3, "category_id": 20, "iscrowd": 1,
                                "bbox": [0, 0, 8, 6]})  # fmt: skip
    for asked in (None, "{name: coco, objects: largest}"):
        table = ingest(put(coco_files(told)), cache, format=asked)
        assert table.labels().tolist() == [0, 1]
        assert table.rules["notes"] == ["1 crowds are left out"]


@pytest.mark.parametrize("extra", [{"bbox": [1, 1, 2, 2]}, {"area": 4.0}])
def test_an_object_without_an_outline_leaves_its_image_out(put, cache: Path, extra: Any) -> None:
    told = content()
    told["images"] = [
        {"id": i, "file_name": f"{i}.png", "height": 6, "width": 8} for i in range(120)
    ]
    whole = {"size": [6, 8], "counts": [0, 48]}
    told["annotations"] = [
        {"id": i, "image_id": i, "category_id": 10, "segmentation": whole} for i in range(120)
    ]
    told["annotations"][7]["segmentation"] = []
    told["annotations"][8] |= {"segmentation": [], "bbox": [0, 0, 0, 0], "area": 0}
    images = {f"images/{i}.png": encoded(noise(1, 1, 6, 8, i)[0, 0]) for i in range(120)}
    files = {**images, "annotations.json": json.dumps(told).encode()}
    assert ingest(put(files, "a"), cache).rules["notes"] == [
        "2 objects without segmentation, bbox and area are left out"
    ]
    told["annotations"][7] |= extra
    table = ingest(put({**images, "annotations.json": json.dumps(told).encode()}, "b"), cache)
    assert [q["name"] for q in table.quarantined] == ["images/7.png"]
    assert "annotations.json annotation 7: " in table.quarantined[0]["reason"]
    assert "draw it, or remove the object" in table.quarantined[0]["reason"]


def test_boxes_with_their_class(put, cache: Path) -> None:
    told = content()
    for entry in told["annotations"]:
        del entry["segmentation"]
        entry["bbox"] = [1, 2, 3.5, 4]
    table = ingest(put(coco_files(told)), cache)
    assert [a.name for a in table.schema] == ["box", "label"]
    assert table.classes() == ("cat", "dog")
    assert table.labels().tolist() == [0, 1]
    assert table.values["box"][0, :, :2].tolist() == [[1, 2], [4.5, 2], [4.5, 6], [1, 6]]


def test_published_folders_and_parts(put, cache: Path) -> None:
    files = {}
    for i, (year, part) in enumerate((("2017", "train"), ("2017", "val"))):
        told = content()
        for image, entry in zip(told["images"], told["annotations"], strict=True):
            image["id"] += 10 * i
            entry["image_id"] = image["id"]
        files[f"coco/annotations/instances_{part}{year}.json"] = json.dumps(told).encode()
        for name, pixels in coco_files(told).items():
            if name.startswith("images/"):
                files[f"coco/{part}{year}/{name[7:]}"] = pixels
    table = ingest(put(files), cache)
    assert table.part_of().tolist() == ["train", "train", "validation", "validation"]
    assert table.names[2] == "coco/val2017/3.png"


def test_images_without_an_object_are_left_out_and_counted(put, cache: Path) -> None:
    told = pointed()
    del told["annotations"][1]
    table = ingest(put(coco_files(told)), cache)
    assert len(table) == 1
    assert table.rules["notes"] == ["1 images without an annotated object are left out"]


YAML = "names: [cat, dog]\n"


def yolo_files(text: bytes, settings: str = YAML) -> dict[str, bytes]:
    image = encoded(noise(1, 1, 6, 8)[0, 0])
    return {
        "data.yaml": settings.encode(),
        "images/train/a.png": image,
        "images/val/b.png": image,
        "labels/train/a.txt": text,
        "labels/val/b.txt": text,
    }


def test_yolo_segments_by_hand(put, cache: Path) -> None:
    table = ingest(put(yolo_files(b"1 0.125 0 0.5 0 0.5 0.5 0.125 0.5\n")), cache)
    assert table.rules["format"] == "yolo"
    assert table.part_of().tolist() == ["train", "validation"]
    expected = np.zeros((6, 8), int)
    expected[:3, 1:4] = 2
    assert table.values["mask"][0].tolist() == expected.tolist()


def test_yolo_boxes_by_hand(put, zipped, cache: Path) -> None:
    files = yolo_files(b"1 0.5 0.5 0.25 0.5\n")
    moved = {
        f"my/{n.split('/')[1]}/{n.split('/')[0]}/{n.split('/')[2]}" if "/" in n else f"my/{n}": c
        for n, c in files.items()
    }
    for source in (put(files), zipped(moved)):
        table = ingest(source, cache)
        assert table.labels().tolist() == [1, 1]
        assert table.values["box"][0, :, :2].tolist() == [[3, 1.5], [5, 1.5], [5, 4.5], [3, 4.5]]
        assert table.part_of().tolist() == ["train", "validation"]


def test_yolo_poses_by_hand(put, cache: Path) -> None:
    settings = "names: {0: face}\nkpt_shape: [3, 2]\nflip_idx: [1, 0, 2]\n"
    table = ingest(put(yolo_files(b"0 0.5 0.5 1 1 0.25 0.5 0.75 0.5 0 0\n", settings)), cache)
    aspect: Any = table.schema["landmarks"]
    assert aspect.points == ("p0", "p1", "p2")
    assert aspect.pairs == (("p0", "p1"),)
    assert table.values["landmarks"][0].tolist() == [[2, 3, 2], [6, 3, 2], [0, 0, 0]]


def test_yolo_points_without_visibility(put, cache: Path) -> None:
    """Below 0 is not labelled, as Ultralytics has it; 0, 0 is not either."""
    settings = "names: {0: face}\nkpt_shape: [5, 2]\n"
    text = b"0 0.5 0.5 1 1 -1 -1 0.5 -0.5 0 0 0 0.5 0.5 0\n"
    table = ingest(put(yolo_files(text, settings)), cache)
    assert table.values["landmarks"][0].tolist() == [
        [0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 3, 2], [4, 0, 2]
    ]  # fmt: skip


def test_an_image_without_a_text_file_shows_no_object(put, cache: Path) -> None:
    files = yolo_files(b"1 0.125 0 0.5 0 0.5 0.5\n")
    del files["labels/val/b.txt"]
    table = ingest(put(files), cache)
    assert not table.values["mask"][1].any()
    assert table.rules["notes"] == ["1 images have no text file: no object"]

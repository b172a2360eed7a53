"""Attacks on annotation files: COCO, YOLO, tables of points, masks, schemas."""

from __future__ import annotations

import csv
import io
import json
import struct
import zlib
from typing import Any

from arena import DEEP, NAMES, NUMBERS, Act, Arena, attack, damaged, image_folder, png

N = 12


def _images(arena: Arena, place: str = "images") -> None:
    folder = arena.inside / place
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(N):
        (folder / f"{i}.png").write_bytes(png(i))


def _put(arena: Arena, name: str, content: str | bytes, *words: str) -> Act:
    path = arena.inside / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "replace"))
    return ["check", str(arena.inside), *words]


def _coco() -> dict[str, Any]:
    square = [1, 1, 6, 1, 6, 6, 1, 6]
    run = {"size": [8, 8], "counts": "P1P1"}
    return {
        "images": [
            {"id": i, "file_name": f"{i}.png", "width": 8, "height": 8} for i in range(N)
        ],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1 + i % 2, "bbox": [1, 1, 5, 5],
             "segmentation": [square] if i % 3 else run, "keypoints": [1, 1, 2, 5, 5, 1]}
            for i in range(N)
        ],
        "categories": [
            {"id": i, "name": n, "keypoints": ["left", "right"], "skeleton": [[1, 2]]}
            for i, n in ((1, "a"), (2, "b"))
        ],
    }  # fmt: skip


def _told(arena: Arena, content: Any) -> Act:
    _images(arena)
    return _put(arena, "annotations.json", json.dumps(content))


@attack("annotations")
def odd_coco_values(arena: Arena) -> Act:
    content = _coco()
    key = arena.rng.choice(tuple(content))
    row = content[key][3 % len(content[key])]
    row[arena.rng.choice(sorted(row))] = arena.pick((*NUMBERS, *NAMES[:4], "../../x.png", "/etc/x"))
    return _told(arena, content)


@attack("annotations")
def coco_shapes(arena: Arena) -> Act:
    content = _coco()
    shapes: tuple[Any, ...] = (
        [[0, 0, 8, 8, 8, 0, 0, 8]],
        [[i % 2 * 8, i / 2000] for i in range(16_000)],
        [[v for i in range(16_000) for v in (i % 2 * 8, i / 2000)]],
        [[v for i in range(4_000) for v in (i % 2 * 8, i / 500)]],
        [[1, 1, 6, 1, 6, 6]] * 3_000,
        [[1e300, 1, -1e300, 1, 0, 5]],
        [[]],
        [[1, 1] * 5_000],
        {"size": [2**31, 2**31], "counts": [2**62]},
        {"size": [8, 8], "counts": [64] * 100_000},
        {"size": [8, 8], "counts": "o" * 100_000 + "0"},
        {"size": [8, 8], "counts": "0" * 100_000},
        {"size": [8, 8], "counts": "\x00\x1b[31m"},
        {"size": [8, 8], "counts": [[64]]},
        {"size": [10**30, 1], "counts": "0"},
        {"size": [8], "counts": []},
    )
    content["annotations"][4]["segmentation"] = arena.pick(shapes)
    return _told(arena, content)


@attack("annotations")
def damaged_annotations(arena: Arena) -> Act:
    _images(arena)
    raw = damaged(json.dumps(_coco()).encode(), arena.rng)
    return _put(arena, "annotations.json", raw)


@attack("annotations")
def deep_annotations(arena: Arena) -> Act:
    keys = '"images" "annotations" "categories"'
    texts = (
        "[" * DEEP + keys,
        '{"images":' * DEEP + keys,
        '{"images": [], "annotations": [], "categories": []}',
        json.dumps(_coco())[:-1] + ', "info": ' + "[" * 900 + "]" * 900 + "}",
        '{"images": 9' + "9" * 5000 + ', "annotations": [], "categories": []}',
        "NaN" + keys,
    )
    _images(arena)
    return _put(arena, "annotations.json", arena.pick(texts))


@attack("annotations")
def yolo_lines(arena: Arena) -> Act:
    _images(arena)
    for i in range(N):
        _put(arena, f"labels/{i}.txt", f"{i % 2} 0.5 0.5 0.5 0.5\n")
    _put(arena, "data.yaml", "names: [a, b]\n")
    line = "0 " + " ".join(["0.5"] * 4)
    lines = (
        "99999999999 0.5 0.5 1 1", "0 " + "0.1 " * 200_000, "0 nan nan nan nan",
        "0 1e308 0 1e308 0", "0 0.5 0.5 1e999 1", "\x1b[31m 1 1 1 1", "0 0.5 0.5 0.5",
        f"{line}\n" * 2000, "\0", "0 ١ ١ ١ ١", "0 1_0 1 1 1", "../../x",
        *(str(n) for n in NUMBERS[:6]),
    )  # fmt: skip
    return _put(arena, "labels/3.txt", arena.pick(lines))


@attack("annotations")
def yolo_settings(arena: Arena) -> Act:
    _images(arena)
    for i in range(N):
        _put(arena, f"labels/{i}.txt", f"{i % 2} 0.5 0.5 0.5 0.5\n")
    texts = (
        "names: !!python/object/apply:os.mkdir ['canary']",
        "a: &a [x, x]\nb: &b [*a, *a]\nnames: [*b, *b]\n",
        "names: " + "[" * 5000,
        "names: {0: a, 1: b, 1: c}\nnc: 1e9\n",
        "names: [a, b]\nkpt_shape: [1000000000, 3]\n",
        "names: [a, b]\nkpt_shape: [2, 3]\nflip_idx: [9, 9]\n",
        f"names: [{json.dumps(arena.rng.choice(NAMES))}, b]\n",
        "names: [2020-01-01, 0x10]\n",
        "path: /etc\ntrain: ../../\nnames: [a, b]\n",
        "names: [a, b]\n---\nnames: [c, d]\n",
    )
    return _put(arena, "data.yaml", arena.pick(texts))


@attack("annotations")
def tables_of_points(arena: Arena) -> Act:
    _images(arena)
    rows = [["image", "x0", "y0", "group"], *([f"{i}.png", "1", "2", "g"] for i in range(N))]
    spot = arena.rng.choice(((0, 1), (0, 3), (3, 0), (3, 1), (3, 3)))
    values = ("nan", "1e999", "../0.png", "/etc/passwd", "", "1_0", "x" * 200_000, *NAMES)
    rows[spot[0]][spot[1]] = arena.pick(values)
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return _put(arena, "points.csv", buffer.getvalue())


@attack("annotations")
def masks(arena: Arena) -> Act:
    _images(arena)
    _images(arena, "masks")
    for i in range(N):
        _put(arena, f"masks/{i}.png", png(i, 8, "1"))
    bomb = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + bomb + struct.pack(">I", zlib.crc32(b"IHDR" + bomb))
    contents = (
        damaged(png(3, 8, "1"), arena.rng),
        b"\x89PNG\r\n\x1a\n" + chunk,
        png(3, 16),
        png(3, 8, "RGBA"),
        arena.pickle(),
        b"",
    )
    return _put(arena, "masks/3.png", arena.pick(contents))


@attack("annotations")
def schemas(arena: Arena) -> Act:
    _images(arena)
    lines = [{"file_name": f"images/{i}.png", "p": [1, 2], "m": "images/0.png"} for i in range(N)]
    _put(arena, "metadata.jsonl", "\n".join(map(json.dumps, lines)))
    vector = {"kind": "vector", "name": "p", "components": ["a", "b"]}
    schemas: tuple[Any, ...] = (
        [vector], [vector, vector], [{**vector, "kind": "x"}], [{**vector, "name": "../p"}], {},
        [[]], [{**vector, "name": "file_name"}], [{**vector, "components": ["a"] * 2}],
        [{"kind": "map", "name": "m", "channels": 10**9}],
        [{"kind": "mask", "name": "m", "classes": ["a", "b"]}],
        [{"kind": "landmarks", "name": "p", "points": ["a", "b"], "size": [10**9, 10**9]}],
        [{**vector, "low": [float("nan"), 0], "high": [1, 1]}],
        [{**vector, "name": arena.pick(NAMES)}],
        [{"kind": "category", "name": "p", "classes": list(NAMES)}], [arena.rng.choice(NUMBERS)],
    )  # fmt: skip
    return _put(arena, "schema.json", json.dumps(arena.pick(schemas)))


@attack("annotations")
def arrays(arena: Arena) -> Act:
    """Maps as `.npy`: headers that claim much, objects, another order."""
    _images(arena)
    heads = (
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 99999999, 99999999), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1, 8, 8), }",
        "{'descr': '<f4', 'fortran_order': True, 'shape': (1, 8, 8), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 8, 8), }",
        "__import__('os').mkdir('canary')",
        "{" * 60_000,
    )
    head = arena.pick(heads).encode()
    raw = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head) % 65536) + head + bytes(256)
    if arena.rng.random() < 0.3:
        raw = arena.pickle()
    (arena.inside / "d.npy").write_bytes(raw)
    schema = [{"kind": "map", "name": "d"}]
    _put(arena, "schema.json", json.dumps(schema))
    lines = [{"file_name": f"images/{i}.png", "d": "d.npy"} for i in range(N)]
    return _put(arena, "metadata.jsonl", "\n".join(map(json.dumps, lines)))


@attack("annotations")
def forced(arena: Arena) -> Act:
    """A folder read as a format that it has nothing of, with options."""
    image_folder(arena.inside)
    formats = (
        *("coco", "yolo", "csv", "mask-folders", "{name: coco}", "{name: csv, file: ../x.csv}"),
        *("{name: mask-folders, void: 999}", "{name: yolo, objects: all}", "{", "{a: &a 1, b: *a}"),
        "{name: csv, vector: ['\x1b[31m']}",
    )
    return ["check", str(arena.inside), "--format", arena.pick(formats)]

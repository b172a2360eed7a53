"""Attacks on archives, on manifests and on idx files."""

from __future__ import annotations

import gzip
import io
import json
import random
import stat
import struct
import zipfile
from typing import Any

from arena import DEEP, NAMES, NUMBERS, SOUND, Act, Arena, attack, damaged, image_folder

# archives -----------------------------------------------------------------------------------------


def _zipped(members: list[tuple[zipfile.ZipInfo | str, bytes]], method: int = 8) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for info, content in members:
            file.writestr(info, content, compress_type=method)
    return buffer.getvalue()


def _members(each: int = 55) -> list[tuple[zipfile.ZipInfo | str, bytes]]:
    return [(f"{c}/{i}.png", SOUND[i + 60 * (c == "b")]) for c in "ab" for i in range(each)]


def _archive(arena: Arena, raw: bytes, name: str = "set.zip") -> Act:
    (arena.inside / name).write_bytes(raw)
    return ["check", str(arena.inside / name)]


@attack("archives")
def damaged_archive(arena: Arena) -> Act:
    return _archive(arena, damaged(_zipped(_members(), arena.pick((0, 8, 12, 14))), arena.rng))


@attack("archives")
def cut_archive(arena: Arena) -> Act:
    raw = _zipped(_members())
    share = (arena.turn % 19 + 1) / 20
    return _archive(
        arena, raw[: int(len(raw) * share)] if arena.turn % 2 else raw[-int(len(raw) * share) :]
    )


@attack("archives")
def member_names(arena: Arena) -> Act:
    names = (
        *("/etc/cat.png", "../cat.png", "a/../../cat.png", "C:\\cat.png", "..\\..\\cat.png"),
        *(
            "a/./x.png",
            "./a/x.png",
            "a//x.png",
            "\\\\host\\share\\x.png",
            "a/" + "x" * 300 + ".png",
        ),
        *("a/con.png", "a/x.png/y.png", "a", "a/", "/", ".", "..", "a/x\0.png", "~/x.png"),
        *(f"a/{name}.png" for name in NAMES),
        *(f"{name}/x.png" for name in NAMES),
    )
    return _archive(arena, _zipped([*_members(), (zipfile.ZipInfo(arena.pick(names)), SOUND[3])]))


@attack("archives")
def special_members(arena: Arena) -> Act:
    kinds = (stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK, stat.S_IFDIR)
    info = zipfile.ZipInfo("a/link.png")
    info.external_attr = (arena.pick(kinds) | 0o777) << 16
    content = arena.rng.choice((b"/etc/passwd", b"../../secret.png", SOUND[0]))
    return _archive(arena, _zipped([*_members(), (info, content)]))


@attack("archives")
def unpacking_bombs(arena: Arena) -> Act:
    match arena.turn % 4:
        case 0:
            return _archive(arena, _zipped([("a/x.png", bytes(120 << 20)), *_members()]))
        case 1:  # many small ones
            bomb = [(f"a/z{i}.png", bytes(1 << 20)) for i in range(100)]
            return _archive(arena, _zipped([*bomb, *_members()]))
        case 2:  # an archive in an archive
            inner = _zipped([("x.png", bytes(50 << 20))])
            return _archive(arena, _zipped([("a/inner.zip", inner), *_members()]))
        case _:
            return _archive(arena, _zipped([("a/x.png", bytes(60 << 20)), *_members()], 12))


@attack("archives")
def lies_about_sizes(arena: Arena) -> Act:
    """A member whose header says a few bytes and whose data unpack to many."""
    method = arena.pick((8, 12, 14))
    raw = bytearray(_zipped([("a/x.png", bytes(300 << 20)), *_members()], method))
    lie = struct.pack("<I", arena.rng.choice((0, 64, 2**31 - 1, 2**32 - 2)))
    local, central = raw.index(b"PK\x03\x04"), raw.index(b"PK\x01\x02")
    raw[local + 22 : local + 26] = lie
    raw[central + 24 : central + 28] = lie
    return _archive(arena, bytes(raw))


@attack("archives")
def one_field_changed(arena: Arena) -> Act:
    """Flags, method, check sum, sizes, offsets of the first entry of the directory."""
    raw = bytearray(_zipped(_members()))
    central = raw.index(b"PK\x01\x02")
    spot = arena.pick((4, 6, 8, 10, 16, 20, 24, 28, 30, 32, 34, 36, 38, 42))
    raw[central + spot : central + spot + 2] = arena.rng.randbytes(2)
    return _archive(arena, bytes(raw))


@attack("archives")
def overlapping(arena: Arena) -> Act:
    raw = bytearray(_zipped(_members()))
    spot = raw.index(b"PK\x01\x02")
    while spot >= 0:  # every entry of the directory points at the first member
        raw[spot + 42 : spot + 46] = bytes(4)
        spot = raw.find(b"PK\x01\x02", spot + 4)
    return _archive(arena, bytes(raw))


@attack("archives")
def inner_files(arena: Arena) -> Act:
    """A manifest, idx files or class names in an archive, of which one is damaged."""
    lines = [json.dumps({"file_name": n, "label": str(n)[0]}) for n, _ in _members()]
    labels = struct.pack(">II", 0x801, 110) + bytes(i % 3 for i in range(110))
    pixels = struct.pack(">IIII", 0x803, 110, 8, 8) + b"\7" * 7040
    sets: tuple[list[tuple[zipfile.ZipInfo | str, bytes]], ...] = (
        [("metadata.jsonl", "\n".join(lines).encode()), *_members()],
        [("train-images-idx3-ubyte", pixels), ("train-labels-idx1-ubyte", labels)],
        [
            ("classes.txt", b"a\nb\nc\n"),
            ("train-images-idx3-ubyte", pixels),
            ("train-labels-idx1-ubyte", labels),
        ],
    )
    raw = bytearray(_zipped(arena.pick(sets), arena.rng.choice((0, 8))))
    central = raw.index(b"PK\x01\x02")
    spot, value = arena.rng.choice(
        ((16, b"\1\2\3\4"), (10, b"\x63\0"), (20, b"\1\0\0\0"), (42, b"\7"))
    )
    raw[central + spot : central + spot + len(value)] = value
    return _archive(arena, bytes(raw))


@attack("archives")
def other_containers(arena: Arena) -> Act:
    pickled = arena.pickle()
    contents = (
        (_zipped([("archive/data.pkl", pickled), ("archive/version", b"3\n")]), "model.pt"),
        (_zipped([("x.npy", pickled)]), "x.npz"),
        (pickled, "x.zip"),
        (gzip.compress(pickled), "x.tar.gz"),
        (b"Rar!\x1a\7\0" + bytes(90), "x.zip"),
        (b"", "x.zip"),
        (b"PK\5\6" + bytes(18), "x.zip"),
        (b"\0" * 100 + _zipped(_members()), "x.zip"),
        (_zipped([(f"a/{i}.txt", b"") for i in range(3000)]), "x.zip"),
        (b"PK\5\6" + b"\0" * 4 + b"\xff" * 12 + b"\0\0", "x.zip"),
    )
    return _archive(arena, *arena.pick(contents))


# manifests ----------------------------------------------------------------------------------------


def _manifest(arena: Arena, text: str | bytes, name: str = "metadata.jsonl") -> Act:
    folder = image_folder(arena.inside)
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return ["check", str(folder)]


def _rows() -> list[dict[str, Any]]:
    return [
        {"file_name": f"{c}/{i:03d}.png", "label": c, "split": "train" if i % 3 else "test"}
        for c in "ab"
        for i in range(60)
    ]


def _lines(rows: list[Any]) -> str:
    return "\n".join(json.dumps(r) for r in rows)


@attack("manifests")
def damaged_manifest(arena: Arena) -> Act:
    return _manifest(arena, damaged(_lines(_rows()).encode(), arena.rng))


@attack("manifests")
def hostile_labels(arena: Arena) -> Act:
    rows = _rows()
    name = arena.pick(
        (*NAMES, "a/../../b", "/etc/passwd", "\0", "", "\ud800", "x" * 256, "x\udfffy")
    )
    for row in rows[::2]:
        row["label"] = name
    return _manifest(arena, _lines(rows))


@attack("manifests")
def odd_values(arena: Arena) -> Act:
    rows = _rows()
    field = arena.rng.choice(("file_name", "label", "split", "group", "subject", "origin", "more"))
    rows[3][field] = arena.pick(NUMBERS)
    return _manifest(arena, _lines(rows))


@attack("manifests")
def paths(arena: Arena) -> Act:
    rows = _rows()
    names = (
        *(
            "/etc/passwd",
            "../../etc/passwd",
            "..\\x.png",
            "a/./000.png",
            "./a/000.png",
            "a//000.png",
        ),
        *(
            "a/000.png",
            "a",
            ".",
            "",
            "metadata.jsonl",
            "a/000.png\0",
            "\ud800",
            "file:///etc/passwd",
        ),
        *("http://localhost/x.png", "~/x.png", "C:\\x.png", "a/" * 3000 + "x.png", "A/000.PNG"),
        *NAMES,
    )
    rows[5]["file_name"] = arena.pick(names)
    return _manifest(arena, _lines(rows))


@attack("manifests")
def columns(arena: Arena) -> Act:
    rows = _rows()
    for row in rows:
        row[arena.pick(NAMES)] = arena.rng.choice(NUMBERS)
    return _manifest(arena, _lines(rows))


@attack("manifests")
def forms(arena: Arena) -> Act:
    sound = _lines(_rows())
    texts: tuple[str | bytes, ...] = (
        "",
        "\n\n \n",
        "[" * DEEP,
        '{"a":' * DEEP,
        "[]",
        "null",
        "1",
        '"x"',
        "NaN",
        '{"file_name": "a/000.png", "label": ' + "9" * 5000 + "}",
        '{"file_name": "a/000.png", "label": 1e999}',
        '{"file_name": "a/000.png", "label": "a", "label": "b"}',
        '{"file_name": "a/000.png", "file_name": "b/000.png", "label": "a"}',
        sound.encode("utf-16"),
        sound.encode("utf-8-sig"),
        sound.encode() + b"\xff\xfe",
        sound.replace("\n", "\r\n"),
        sound.replace("\n", "\r"),
        sound.replace("\n", ","),
        sound + "\n" + sound,
        "file_name,label\na/000.png,=cmd|' /C calc'!A0\n",
        "x" * 300_000,
        "{}",
        '{"file_name": ["a/000.png"], "label": {"a": "b"}}',
        '{"file_name": "a/000.png", "group": ' + "[" * 900 + "]" * 900 + ', "label": "a"}',
        "--- !!python/object/apply:os.mkdir ['canary']\n",
    )
    return _manifest(arena, arena.pick(texts))


@attack("manifests")
def pickled_manifest(arena: Arena) -> Act:
    return _manifest(arena, arena.pickle())


@attack("manifests")
def other_tables(arena: Arena) -> Act:
    name = arena.pick(("metadata.csv", "labels.csv", "metadata.json", "table.json", "classes.txt"))
    return _manifest(arena, arena.rng.choice(("=cmd|' /C calc'!A0,1\n", "\0\0", "[" * DEEP)), name)


# idx files ----------------------------------------------------------------------------------------


def _idx(arena: Arena, images: bytes, labels: bytes, suffix: str = "", **more: bytes) -> Act:
    files = {
        f"train-images-idx3-ubyte{suffix}": images,
        f"train-labels-idx1-ubyte{suffix}": labels,
        **{k.replace("_", "."): v for k, v in more.items()},
    }
    for name, content in files.items():
        (arena.inside / name).write_bytes(content)
    return ["check", str(arena.inside)]


def _pair(n: int = 60, side: int = 8) -> tuple[bytes, bytes]:
    pixels = random.Random(0).randbytes(n * side * side)
    labels = bytes(i % 3 for i in range(n))
    images = struct.pack(">IIII", 0x803, n, side, side) + pixels
    return images, struct.pack(">II", 0x801, n) + labels


@attack("idx")
def damaged_idx(arena: Arena) -> Act:
    images, labels = _pair()
    if arena.turn % 2:
        return _idx(arena, damaged(images, arena.rng), labels)
    return _idx(arena, images, damaged(labels, arena.rng))


@attack("idx")
def damaged_gzip(arena: Arena) -> Act:
    images, labels = _pair()
    bad = damaged(gzip.compress(images), arena.rng)
    return _idx(arena, bad, gzip.compress(labels), ".gz")


@attack("idx")
def announced(arena: Arena) -> Act:
    _, labels = _pair()
    shapes = (
        *((2**32 - 1, 2**32 - 1, 2**32 - 1), (2**31, 1, 1), (60, 0, 8), (0, 8, 8), (60, 8, 9)),
        *((30 << 20, 32, 32), (1, 1, 1), (60, 64, 1), (2**20, 2**10, 2**5), (60, 2**32 - 1, 0)),
    )
    head = struct.pack(">IIII", 0x803, *arena.pick(shapes))
    raw = head + bytes(60 * 64)
    return (
        _idx(arena, gzip.compress(raw), gzip.compress(labels), ".gz")
        if arena.rng.random() < 0.5
        else _idx(arena, raw, labels)
    )


@attack("idx")
def gzip_bomb(arena: Arena) -> Act:
    n = arena.pick((300_000, 150_000))
    head = struct.pack(">IIII", 0x803, n, 32, 32)
    bomb = gzip.compress(head + bytes(n * 1024), 6)
    return _idx(arena, bomb, gzip.compress(struct.pack(">II", 0x801, n) + bytes(n)), ".gz")


@attack("idx")
def magic(arena: Arena) -> Act:
    images, labels = _pair()
    numbers = (0, 0x801, 0x802, 0x804, 0x903, 0xD03, 0x08030000, 0x03080000, 0xFFFFFFFF, 0x1F8B0808)
    return _idx(arena, struct.pack(">I", arena.pick(numbers)) + images[4:], labels)


@attack("idx")
def class_lines(arena: Arena) -> Act:
    images, labels = _pair()
    name = arena.pick(NAMES).splitlines()[0]
    texts = (
        f"{name}\nb\nc\n".encode(),
        b"a\n",
        b"",
        b"\xff\xfe\0",
        b"a\na\na\n",
        b"\n\n\n",
        b"a\0\nb\nc",
        b"x" * 70_000,
        arena.pickle(),
        b"\xed\xa0\x80\nb\nc\n",
    )
    return _idx(
        arena, images, labels, classes_txt=texts[0] if arena.turn % 2 else arena.rng.choice(texts)
    )


@attack("idx")
def file_sets(arena: Arena) -> Act:
    images, labels = _pair()
    folder = arena.inside
    names = {
        0: ("train-images-idx3-ubyte",),
        1: ("train-images-idx3-ubyte", "test-labels-idx1-ubyte"),
        2: ("train-images-idx3-ubyte", "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte"),
        3: ("-images-idx3-ubyte", "-labels-idx1-ubyte"),
        4: ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
        5: tuple(f"{p}-{k}-ubyte" for p in ("x", "y") for k in ("images-idx3", "labels-idx1")),
        6: ("\x1b[31m-images-idx3-ubyte", "\x1b[31m-labels-idx1-ubyte"),
    }
    for name in names[arena.turn % len(names)]:
        (folder / name).write_bytes(images if "images" in name else labels)
    return ["check", str(folder), *(["--format", "idx"] if arena.rng.random() < 0.4 else [])]


@attack("idx")
def forced_format(arena: Arena) -> Act:
    folder = image_folder(arena.inside)
    (folder / "train-images-idx3-ubyte").write_bytes(arena.pickle())
    format = arena.pick(("idx", "manifest", "imagefolder", "table", "../idx", "\x1b[31m", ""))
    return ["check", str(folder), "--format", format]

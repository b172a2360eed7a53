"""Attacks on images and on the folders that hold them."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from arena import NAMES, SOUND, Act, Arena, attack, damaged, image_folder, png
from PIL import Image, PngImagePlugin


def _checked(arena: Arena, *extra: str) -> Act:
    return ["check", str(arena.inside), *extra]


def _with(arena: Arena, content: bytes, name: str = "bad.png", count: int = 1) -> Act:
    """A sound set with some more files in it."""
    folder = image_folder(arena.inside)
    for i in range(count):
        (folder / "a" / (name if i == 0 else f"{i}{name}")).write_bytes(content)
    return _checked(arena)


def _saved(format: str, image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def _png_of(width: int, height: int, data: bytes, more: bytes = b"", depth: int = 8) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0))
    end = _chunk(b"IDAT", data) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + more + end


# one file among 120 -------------------------------------------------------------------------------


@attack("images")
def damaged_image(arena: Arena) -> Act:
    format = arena.pick(("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM"))
    noise = np.random.default_rng(arena.turn).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    raw = _saved(format, Image.fromarray(noise))
    return _with(arena, damaged(raw, arena.rng), f"x.{format.lower()}")


@attack("images")
def renamed(arena: Arena) -> Act:
    format, suffix = arena.pick((("JPEG", "png"), ("PNG", "jpg"), ("GIF", "tif"), ("BMP", "webp")))
    return _with(arena, _saved(format, Image.new("L", (8, 8), 9)), f"x.{suffix}")


@attack("images")
def not_an_image(arena: Arena) -> Act:
    contents = (
        b"",
        b"\0" * 4096,
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"%PDF-1.4\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(/etc/passwd) (r) file\n",
        b"\x7fELF\x02\x01\x01",
        b"PK\x03\x04" + b"\0" * 60,
        b"MZ" + b"\0" * 60,
        b"#!/bin/sh\ntouch canary\n",
        b"\x00\x00\x01\x00\x01\x00\x08\x08",
        b"8BPS\x00\x01",
        b"/* XPM */ static char *x[] = {",
        b"\x93NUMPY\x01\x00",
        b"\x89HDF\r\n\x1a\n",
    )
    return _with(arena, arena.pick(contents), "x.png")


@attack("images")
def a_pickle(arena: Arena) -> Act:
    suffix = arena.pick(
        [
            "png",
            "jpg",
            "tif",
            "pkl",
            "pickle",
            "pt",
            "pth",
            "ckpt",
            "npy",
            "npz",
            "joblib",
            "safetensors",
            "json",
            "yaml",
            "h5",
            "bin",
        ]
    )
    return _with(arena, arena.pickle(), f"x.{suffix}")


@attack("images")
def announced_giant(arena: Arena) -> Act:
    side = arena.pick((20_000, 60_000, 2**31 - 1, 2**32 - 1, 10_000))
    small = zlib.compress(bytes(100))
    contents = (
        _png_of(side, side, small),
        _png_of(side, 1, small),
        f"P5 {side} {side} 255\n".encode(),
        f"P6 {side} -8 255\n".encode(),
        b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\0\0\0;",
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 60, 0, 0, 54, 40, 2**30, -(2**30), 1, 24, *[0] * 6),
    )
    return _with(arena, contents[arena.rng.randrange(len(contents))], "x.png")


@attack("images")
def real_bomb(arena: Arena) -> Act:
    side = arena.pick((9_000, 12_000, 14_000))  # 81, 144 and 196 million pixels in under 200 kB
    return _with(arena, _saved("PNG", Image.new("1", (side, side))), "x.png")


@attack("images")
def text_bomb(arena: Arena) -> Act:
    packed = zlib.compress(b"A" * (80 << 20), 9)
    kind, head = arena.pick(((b"zTXt", b"k\0\0"), (b"iTXt", b"k\0\1\0\0\0"), (b"iCCP", b"k\0\0")))
    rows = zlib.compress(bytes(8 * 9))
    return _with(arena, _png_of(8, 8, rows, _chunk(kind, head + packed)), "x.png")


@attack("images")
def data_bomb(arena: Arena) -> Act:
    return _with(arena, _png_of(8, 8, zlib.compress(bytes(100 << 20), 9)), "x.png")


@attack("images")
def rare_mode(arena: Arena) -> Act:
    grey = np.random.default_rng(arena.turn).integers(0, 256, (8, 8), dtype=np.uint8)
    base = Image.fromarray(grey)
    wide = Image.fromarray(grey.astype(np.uint16) * 257)
    floats = grey.astype(np.float32)
    floats[0, 0] = (np.nan, np.inf, -np.inf, 1e38)[arena.turn % 4]
    contents = (
        _saved("JPEG", base.convert("CMYK")),
        _saved("PNG", wide),
        _saved("TIFF", wide),
        _saved("PNG", base.convert("P")),
        _saved("PNG", base.convert("P"), transparency=3),
        _saved("PNG", base.convert("LA")),
        _saved("PNG", base.convert("RGBA")),
        _saved("PNG", base.convert("1")),
        _saved("TIFF", Image.fromarray(floats)),
        _saved("TIFF", base.convert("LAB")) if False else _saved("TIFF", base.convert("CMYK")),
        _saved("TIFF", Image.fromarray(grey.astype(np.int32) - 9)),
        _saved("TIFF", Image.fromarray(grey.astype(np.int32) * 2**20)),
        _saved("GIF", base, save_all=True, append_images=[base.rotate(90)] * 20),
        _saved("WEBP", base.convert("RGB"), save_all=True, append_images=[base.convert("RGB")] * 9),
        _saved("PNG", base, save_all=True, append_images=[base.rotate(90)] * 9),
        _saved("TIFF", base, save_all=True, append_images=[base] * 9),
    )
    return _with(arena, arena.pick(contents), "x.png")


@attack("images")
def metadata(arena: Arena) -> Act:
    base = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", arena.pick(NAMES), zip=True)
    exif = Image.Exif()
    exif[0x0112] = arena.pick((1, 6, 8, 0, 99, 65535))
    exif[0x010E] = arena.pick(NAMES)
    contents = (
        _saved("PNG", base, pnginfo=info),
        _saved("JPEG", base, exif=exif.tobytes()),
        _saved("JPEG", base, exif=b"Exif\0\0" + arena.rng.randbytes(200)),
        _saved("JPEG", base, icc_profile=arena.rng.randbytes(900)),
        _saved("PNG", base, exif=b"MM\0*\0\0\0\x08\xff\xff" + bytes(90)),
    )
    return _with(arena, contents[arena.rng.randrange(len(contents))], "x.png")


@attack("images")
def tiff_in_a_circle(arena: Arena) -> Act:
    # the first directory has no entry and names itself as the next
    raw = b"II*\0" + struct.pack("<IHI", 8, 0, 8)
    entries = [(256, 4, 1, 8), (257, 4, 1, 8), (273, 4, 2**31, 8), (279, 4, 2**31, 8)]
    table = b"".join(struct.pack("<HHII", *e) for e in entries)
    huge = b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + struct.pack("<I", 8)
    return _with(arena, arena.pick((raw, huge, huge[:30], raw + bytes(4096))), "x.tif")


@attack("images")
def another_size(arena: Arena) -> Act:
    width, height = arena.pick(((1, 1), (9, 8), (1, 4000), (4000, 1), (64, 64)))
    content = _saved("PNG", Image.new("L", (width, height)))
    words = _with(arena, content, "x.png")
    return (
        [*words, "--size", arena.pick(("8", "1", "3x200"))] if arena.rng.random() < 0.5 else words
    )


@attack("images")
def many_bad(arena: Arena) -> Act:
    return _with(arena, damaged(SOUND[0][:40], arena.rng), "x.png", count=arena.pick((2, 20, 90)))


# folders ------------------------------------------------------------------------------------------


@attack("folders")
def class_names(arena: Arena) -> Act:
    name = arena.pick(NAMES)
    image_folder(arena.inside, (name, "b", "third"), each=3)
    return _checked(arena, *(["--json"] if arena.rng.random() < 0.3 else []))


@attack("folders")
def file_names(arena: Arena) -> Act:
    folder = image_folder(arena.inside)
    name = arena.pick(NAMES)
    (folder / "a" / f"{name}.png").write_bytes(arena.rng.choice((b"broken", png(500))))
    (folder / "b" / f"{name}.pkl").write_bytes(arena.pickle())
    return _checked(arena)


@attack("folders")
def wrapping_names(arena: Arena) -> Act:
    folder = arena.inside / arena.pick(NAMES)
    image_folder(folder / arena.rng.choice(("train", "x")), each=4)
    image_folder(folder / "test", each=4, shift=60)
    return ["check", str(folder if arena.rng.random() < 0.5 else arena.inside)]


@attack("folders")
def names_that_are_no_text(arena: Arena) -> Act:
    folder = image_folder(arena.inside)
    raw = arena.pick((b"\xff\xfe.png", b"\xc0\xaf.png", b"a\xed\xa0\x80.png", b"\x80"))
    place = os.fsencode(folder / "a") + b"/" + raw
    if arena.rng.random() < 0.3:
        os.mkdir(place)
    else:
        Path(os.fsdecode(place)).write_bytes(SOUND[0])
    return _checked(arena)


@attack("folders")
def links(arena: Arena) -> Act:
    folder = image_folder(arena.inside)
    secret = arena.place / "secret.png"
    secret.write_bytes(png(900))
    target = arena.pick(
        (
            secret,
            Path("/etc"),
            Path("/etc/passwd"),
            folder,
            folder / "a",
            folder / "none",
            Path("/dev/zero"),
            Path("/proc/self/fd/0"),
            folder / "a" / "link",
            folder / "b" / "000.png",
            Path("../../secret.png"),
            Path("/dev/stdin"),
            Path("."),
            Path(".."),
        )
    )
    name = arena.rng.choice(("link", "link.png"))
    (folder / "a" / name).symlink_to(target)
    if target.name == "link":
        (folder / "b" / "link").symlink_to(folder / "a" / name)
    return _checked(arena)


@attack("folders")
def links_that_multiply(arena: Arena) -> Act:
    folder, depth = arena.inside, 24
    for i in range(depth):
        (folder / f"d{i}").mkdir()
        for side in "lr":
            if i + 1 < depth:
                (folder / f"d{i}" / side).symlink_to(folder / f"d{i + 1}")
    (folder / f"d{depth - 1}" / "x.png").write_bytes(SOUND[0])
    return _checked(arena)


@attack("folders")
def hard_links(arena: Arena) -> Act:
    folder = image_folder(arena.inside)
    for part in arena.pick((("a",), ("b",), ("a", "b"))):
        os.link(folder / "a" / "000.png", folder / part / "linked.png")
    return _checked(arena)


@attack("folders")
def pipes(arena: Arena) -> Act:
    folder = image_folder(arena.inside)
    spots = (
        folder / "a" / "x.png",
        folder / "metadata.jsonl",
        folder / "train-images-idx3-ubyte",
        folder / "classes.txt",
        folder / "pipe",
    )
    os.mkfifo(arena.pick(spots))
    return ["check", str(spots[-1] if arena.pick(spots) == spots[-1] else folder)]


@attack("folders")
def a_device(arena: Arena) -> Act:
    image_folder(arena.inside)
    return ["check", arena.pick(("/dev/zero", "/dev/null", "/dev/full", "/proc/self/mem"))]


@attack("folders")
def deep(arena: Arena) -> Act:
    depth = arena.pick((4, 40, 1200, 3000))
    here = os.getcwd()
    try:  # longer than a path may be, so by steps
        os.chdir(arena.inside)
        for _ in range(depth):
            os.mkdir("d")
            os.chdir("d")
        Path("x.png").write_bytes(SOUND[0])
    finally:
        os.chdir(here)
    return _checked(arena)


@attack("folders")
def shapes(arena: Arena) -> Act:
    folder = arena.inside
    match arena.turn % 9:
        case 0:
            pass
        case 1:
            (folder / "a").mkdir()
            (folder / "b").mkdir()
        case 2:
            image_folder(folder, ("only",))
        case 3:
            image_folder(folder)
            image_folder(folder / "train", shift=7)
        case 4:
            image_folder(folder / "train")
            image_folder(folder / "Train", shift=7)
        case 5:
            image_folder(folder / "train")
            image_folder(folder / "test")
        case 6:
            image_folder(folder / "train", ("a", "b"))
            image_folder(folder / "test", ("c", "d"), shift=60)
        case 7:
            image_folder(folder, [str(i) for i in range(300)], each=1)
        case _:
            image_folder(folder, ("١", "²", "01", "1", "9" * 120), each=3)
    return _checked(arena)


@attack("folders")
def unreadable_by_name(arena: Arena) -> Act:
    names = ("a" * 255, "x" * 300, "~nobody-of-this-name", "~/none", "a\0b", "", "\x1b[31m", "//..")
    name = arena.pick(names)
    if arena.rng.random() < 0.4:
        return ["evaluate", "digits", name, "--steps", "1"]
    return ["check", name]

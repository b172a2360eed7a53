from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

import pytest

from augmint.core.errors import DataError
from augmint.data.archives import ArchiveLimits, open_files


def archive(tmp_path: Path, *members: zipfile.ZipInfo | str, content: bytes = b"x") -> Path:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for member in members:
            file.writestr(member, content)
    return path


def test_members_are_read_in_place(zipped, tmp_path: Path) -> None:
    path = zipped({"b/2.png": b"two", "a/1.png": b"one", "a/": b""})
    before = sorted(p.name for p in tmp_path.rglob("*"))
    files = open_files(path)
    assert files.names == ["a/1.png", "b/2.png"]
    assert files.read("b/2.png") == b"two"
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("/etc/cat.png", "relative"),
        ("C:/cat.png", "relative"),
        ("..\\..\\cat.png", "stay inside"),
        ("a/../../cat.png", "stay inside"),
        ("a/" + "x" * 256 + ".png", "at most 255"),
    ],
)
def test_names_that_leave_are_refused(tmp_path: Path, name: str, rule: str) -> None:
    with pytest.raises(DataError, match=rule):
        open_files(archive(tmp_path, name))


def test_links_in_archives_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("a/1.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(DataError, match="not links"):
        open_files(archive(tmp_path, link, content=b"/etc/passwd"))


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, "a/1.png")
    raw = bytearray(path.read_bytes())
    central = raw.index(b"PK\x01\x02")
    raw[central + 8] |= 1
    raw[raw.index(b"PK\x03\x04") + 6] |= 1
    path.write_bytes(raw)
    with pytest.raises(DataError, match="not encrypted"):
        open_files(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_repeated_members_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="different names"):
        open_files(archive(tmp_path, "a/1.png", "a/1.png"))


def test_names_equal_after_cleaning_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="different names"):
        open_files(archive(tmp_path, "a/1.png", "a/./1.png"))


@pytest.mark.parametrize(
    ("limits", "rule"),
    [
        (ArchiveLimits(members=2), "at most 2 members"),
        (ArchiveLimits(total=2_000), "unpacks to at most 2000 bytes"),
        (ArchiveLimits(member=900), "a member unpacks"),
        (ArchiveLimits(total=3_000, ratio=20.0), ""),
    ],
)
def test_limits(tmp_path: Path, limits: ArchiveLimits, rule: str) -> None:
    path = archive(tmp_path, "a/1", "a/2", "a/3", content=bytes(1000))
    if not rule:
        assert len(open_files(path, limits).names) == 3
        return
    with pytest.raises(DataError, match=rule):
        open_files(path, limits)


def test_a_bomb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = archive(tmp_path, "a/1.png", content=bytes(80 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(DataError, match="100 times its size"):
        open_files(path)


def test_what_is_no_archive(tmp_path: Path) -> None:
    text = tmp_path / "set.zip"
    text.write_bytes(b"hello")
    with pytest.raises(DataError, match=r"a folder, a \.zip or a built-in name"):
        open_files(text)


def test_a_cut_archive(zipped) -> None:
    path = zipped({f"a/{i}": os.urandom(50) for i in range(20)})
    raw = path.read_bytes()
    path.write_bytes(raw[200:])
    try:
        files = open_files(path)
    except DataError:
        return
    with pytest.raises((OSError, zipfile.BadZipFile)):
        files.read(files.names[0])


def test_links_that_leave_a_folder_are_refused(put, tmp_path: Path) -> None:
    folder = put({"a/1.png": b"1"})
    (tmp_path / "secret.png").write_bytes(b"2")
    (folder / "a" / "2.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(DataError, match="stay inside"):
        open_files(folder)


def test_links_inside_a_folder_are_followed(put) -> None:
    folder = put({"a/1.png": b"1"})
    (folder / "b").symlink_to(folder / "a")
    files = open_files(folder)
    assert files.names == ["a/1.png", "b/1.png"]
    assert files.read("b/1.png") == b"1"


def test_links_in_a_circle_and_links_to_nothing(put) -> None:
    folder = put({"a/1.png": b"1"})
    (folder / "a" / "up").symlink_to(folder)
    with pytest.raises(DataError, match="circle"):
        open_files(folder)
    (folder / "a" / "up").unlink()
    (folder / "a" / "gone.png").symlink_to(folder / "missing")
    with pytest.raises(DataError, match="must name a file"):
        open_files(folder)


def test_names_that_are_no_text(put) -> None:
    folder = put({"a/1.png": b"1"})
    try:
        Path(os.fsdecode(os.fsencode(folder) + b"/a/\xff.png")).write_bytes(b"2")
    except OSError:
        pytest.skip("this file system takes valid UTF-8 only")
    with pytest.raises(DataError, match="valid UTF-8"):
        open_files(folder)


def test_fingerprint_follows_content(put, zipped) -> None:
    folder = put({"a/1.png": b"1", "a/2.png": b"2"})
    first = open_files(folder).fingerprint()
    assert open_files(folder).fingerprint() == first
    (folder / "a/2.png").write_bytes(b"22")
    second = open_files(folder).fingerprint()
    (folder / "a/2.png").rename(folder / "a/3.png")
    third = open_files(folder).fingerprint()
    one = open_files(zipped({"a/1": b"1"})).fingerprint()
    other = open_files(zipped({"a/1": b"2"})).fingerprint()
    assert len({first, second, third, one, other}) == 5

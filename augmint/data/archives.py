"""Where files are read from: a folder, or a zip that is read in place and never extracted.

Both answer the same questions (which files, how large, their bytes, a fingerprint of the whole),
so a format never knows which of the two it reads. Names are relative, with `/`. Nothing outside
the folder or the archive can be reached: links that leave, absolute names and `..` are refused.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from augmint.core.errors import DataError

NAME_LIMIT = 255
"""Longest name of one file or folder."""

DEPTH_LIMIT = 64
"""Folders in folders."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True)
class ArchiveLimits:
    """What an archive may hold before it is refused.

    Args:
        members: files and folders.
        total: bytes, uncompressed, of all members.
        member: bytes, uncompressed, of one member.
        ratio: uncompressed over compressed bytes of the whole archive (images do not compress;
            asked only of archives that unpack to more than 64 MiB).
    """

    members: int = 2_000_000
    total: int = 64 << 30
    member: int = 4 << 30
    ratio: float = 100.0


class Files(ABC):
    """The files of a data set.

    Args:
        location: the folder or the archive.
        sizes: name to size in bytes, sorted by name.
    """

    def __init__(self, location: Path, sizes: dict[str, int]) -> None:
        self.location = location
        self.sizes = dict(sorted(sizes.items()))

    @property
    def names(self) -> list[str]:
        """The relative names of all files, sorted."""
        return list(self.sizes)

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the bytes of one file; may be called from several threads.

        Raises:
            OSError: if they cannot be read, or fail their checksum.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a hash that changes when a file is added, removed, renamed or written."""


def open_files(path: Path, limits: ArchiveLimits | None = None) -> Files:
    """Open a folder or a zip.

    Raises:
        DataError: if it is neither, cannot be read, or holds what is refused.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.txt").write_bytes(b"hello")
        ...     open_files(Path(folder)).sizes
        {'a.txt': 5}
    """
    try:
        if path.is_dir():
            return FolderFiles(path)
        if path.is_file():  # a pipe or a device is not opened: it may never end
            with path.open("rb"):
                pass
            if zipfile.is_zipfile(path):
                return ZipFiles(path, limits or ArchiveLimits())
    except OSError as error:
        raise DataError(
            "a data set must be readable", f"{path} ({error.strerror})", "check the permissions"
        ) from None
    raise DataError(
        "a data set is a folder, a .zip or a built-in name",
        f"the file {path}",
        "pass the folder that holds the images, or a zip of it",
    )


class FolderFiles(Files):
    """The files below a folder.

    Raises:
        DataError: for a link that leaves the folder, leads in a circle or stands below another
            one, a name that is not valid text, a nesting over 64 folders, or a folder that cannot
            be listed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "cat").mkdir()
        ...     _ = Path(folder, "cat", "a.txt").write_bytes(b"hello")
        ...     FolderFiles(Path(folder)).read("cat/a.txt")
        b'hello'
    """

    def __init__(self, location: Path) -> None:
        self._stamps: dict[str, int] = {}
        super().__init__(location, {})
        root = location.resolve()
        self._walk(location, "", root, frozenset({root}), linked=False)
        self.sizes = dict(sorted(self.sizes.items()))

    def _walk(
        self, folder: Path, prefix: str, root: Path, seen: frozenset[Path], linked: bool
    ) -> None:
        if prefix.count("/") > DEPTH_LIMIT:
            raise DataError(
                f"folders are nested at most {DEPTH_LIMIT} deep",
                f"{prefix[:60]}…",
                "move the images up",
            )
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            raise DataError(
                "every folder of a data set must be readable",
                f"{folder} ({error.strerror})",
                "check the permissions",
            ) from None
        for entry in entries:
            name = prefix + entry.name
            _check_text(name)
            if entry.is_symlink():
                target = Path(entry.path).resolve()
                if not target.is_relative_to(root):
                    raise DataError(
                        "links must stay inside the data set",
                        f"{name} -> {target}",
                        "replace the link by the file it names",
                    )
                if not target.exists():
                    raise DataError("links must name a file", f"{name} -> {target}", "remove it")
                if target in seen:
                    raise DataError(
                        "links must not form a circle", name, "remove the link that leads back up"
                    )
                if (
                    linked and target.is_dir()
                ):  # a few such links reach a folder on millions of ways
                    raise DataError(
                        "a linked folder holds no links to folders", name, "remove the link"
                    )
            if entry.is_dir():
                inner = Path(entry.path)
                below = linked or entry.is_symlink()
                self._walk(inner, name + "/", root, seen | {inner.resolve()}, below)
            elif entry.is_file():
                status = entry.stat()
                self.sizes[name] = status.st_size
                self._stamps[name] = status.st_mtime_ns

    def read(self, name: str) -> bytes:
        return (self.location / name).read_bytes()

    def fingerprint(self) -> str:
        digest = hashlib.sha256(b"folder")
        for name, size in self.sizes.items():
            digest.update(f"{name}\0{size}\0{self._stamps[name]}\n".encode())
        return digest.hexdigest()


class ZipFiles(Files):
    """The members of a zip.

    Raises:
        DataError: for members that are absolute, contain `..`, are links, encrypted, repeated or
            packed by another method than deflate;
            for more members or bytes, or a higher compression ratio, than the limits allow; for
            an archive that is damaged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with zipfile.ZipFile(Path(folder, "set.zip"), "w") as archive:
        ...         archive.writestr("cat/a.txt", "hello")
        ...     files = ZipFiles(Path(folder, "set.zip"), ArchiveLimits())
        ...     files.names, files.read("cat/a.txt")
        (['cat/a.txt'], b'hello')
    """

    def __init__(self, location: Path, limits: ArchiveLimits) -> None:
        try:
            self._zip = zipfile.ZipFile(location)
        except (zipfile.BadZipFile, struct.error, RuntimeError, ValueError) as error:
            raise DataError(
                "a .zip must be an undamaged archive", f"{location} ({error})", "copy it again"
            ) from None
        self._infos: dict[str, zipfile.ZipInfo] = {}
        infos = self._zip.infolist()
        _check_totals(location, infos, limits)
        for info in infos:
            name = _safe_name(location, info)
            if info.is_dir():
                continue
            if name in self._infos:
                raise _refused(location, "members have different names", name)
            self._infos[name] = info
        super().__init__(location, {n: i.file_size for n, i in self._infos.items()})

    def read(self, name: str) -> bytes:
        info = self._infos[name]
        try:
            with self._zip.open(info) as file:
                # by size: without one, a member that lies about its size unpacks as a whole
                return file.read(info.file_size)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
            raise OSError(f"{error or 'cut short'}") from None

    def fingerprint(self) -> str:
        status = self.location.stat()
        digest = hashlib.sha256(f"zip {status.st_size} {status.st_mtime_ns}\n".encode())
        for name, size in self.sizes.items():
            digest.update(f"{name}\0{size}\0{self._infos[name].CRC}\n".encode())
        return digest.hexdigest()


def _check_totals(location: Path, infos: list[zipfile.ZipInfo], limits: ArchiveLimits) -> None:
    if len(infos) > limits.members:
        raise _refused(
            location, f"an archive has at most {limits.members} members", f"{len(infos)}"
        )
    total = sum(i.file_size for i in infos)
    packed = max(1, sum(i.compress_size for i in infos))
    if total > limits.total:
        raise _refused(location, f"an archive unpacks to at most {limits.total} bytes", f"{total}")
    if total > min(64 << 20, limits.total) and total / packed > limits.ratio:
        raise _refused(
            location,
            f"an archive unpacks to at most {limits.ratio:g} times its size",
            f"{total / packed:.0f} times",
        )
    largest = max(infos, key=lambda i: i.file_size, default=None)
    if largest is not None and largest.file_size > limits.member:
        raise _refused(
            location,
            f"a member unpacks to at most {limits.member} bytes",
            f"{largest.filename} ({largest.file_size})",
        )


def _safe_name(location: Path, info: zipfile.ZipInfo) -> str:
    name = info.filename.replace("\\", "/")
    if "\0" in info.orig_filename:
        raise _refused(location, "member names hold no NUL", info.orig_filename)
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        raise _refused(location, "member names are relative", name)
    if ".." in name.split("/"):
        raise _refused(location, "member names stay inside the archive", name)
    if stat.S_ISLNK(info.external_attr >> 16):
        raise _refused(location, "members are files, not links", name)
    if info.flag_bits & 0x1:
        raise _refused(location, "members are not encrypted", name)
    if info.compress_type not in _METHODS:
        raise _refused(location, "members are stored or deflated", name)
    _check_text(name)
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _check_text(name: str) -> None:
    shown = name.encode("utf-8", "backslashreplace").decode()
    if shown != name:
        raise DataError("file names must be valid UTF-8", shown, "rename the file")
    longest = max(name.split("/"), key=len)
    if len(longest) > NAME_LIMIT:
        raise DataError(
            f"names have at most {NAME_LIMIT} characters",
            f"{longest[:40]}… ({len(longest)})",
            "shorten the name",
        )


def _refused(location: Path, rule: str, value: str) -> DataError:
    remedy = "make the archive again from a plain folder of images, or pass the folder"
    return DataError(rule, f"{value} in {location.name}", remedy)

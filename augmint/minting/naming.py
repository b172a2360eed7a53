"""Class names as folder names that every file system can hold, and back again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from urllib.parse import unquote

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+=,@ ")
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(1, 10))]
)
_LONGEST = 120  # bytes; every file system takes 255, and the file's own name comes on top


def folder_name(name: str) -> str:
    """Return a class name as a folder name: ASCII letters, digits, `-_+=,@`, inner spaces and dots.

    Anything else becomes `%XX` for each byte of its UTF-8, so `original_name` gives the name back.
    A result over 120 characters is cut and closed by a hash, and then does not; the manifest
    holds the true name of every image in any case.

    Example:
        >>> folder_name("cats & dogs"), folder_name("../etc"), folder_name("con")
        ('cats %26 dogs', '%2E.%2Fetc', '%63on')
    """
    if not name:
        return "%"
    escaped = "".join(c if c in _PLAIN or c == "." else _escape(c) for c in name)
    stem = escaped.partition(".")[0]
    if escaped[0] in ". " or stem.lower() in _RESERVED:
        escaped = _escape(escaped[0]) + escaped[1:]
    if escaped[-1] in ". ":
        escaped = escaped[:-1] + _escape(escaped[-1])
    if len(escaped) > _LONGEST:
        escaped = escaped[: _LONGEST - 18] + "%~" + _hash(name)
    return escaped


def original_name(folder: str) -> str | None:
    """Return the class name of a folder name; None where it was cut.

    Example:
        >>> original_name(folder_name("Straße/Weg"))
        'Straße/Weg'
    """
    if "%~" in folder:
        return None
    return "" if folder == "%" else unquote(folder, errors="strict")


def folder_names(names: Sequence[str]) -> list[str]:
    """Return one folder name each, different even where letters of both cases are the same.

    Of names that differ in case alone, the later ones have their letters escaped.

    Example:
        >>> folder_names(["a", "A"])
        ['a', '%41']
    """
    taken: set[str] = set()
    folders = []
    for name in names:
        folder = folder_name(name)
        if folder.lower() in taken:
            folder = "".join(_escape(c) for c in name)
            if len(folder) > _LONGEST or folder.lower() in taken:
                folder = "%~" + _hash(name)
        taken.add(folder.lower())
        folders.append(folder)
    return folders


def _escape(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]

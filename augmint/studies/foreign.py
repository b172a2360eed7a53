"""The user's own files that a result depends on: a model's file and what it imports beside it."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path


def source_files(path: Path) -> list[Path]:
    """Return a Python file and every file of its folder that it imports, directly or not.

    Imports are read from the sources; nothing is executed. A module or package counts as of the
    folder if it lies there, whether or not an installed one has the same name.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     net, layers = Path(folder, "net.py"), Path(folder, "layers.py")
        ...     _ = net.write_text("import layers, torch"), layers.write_text("")
        ...     [path.name for path in source_files(net)]
        ['layers.py', 'net.py']
    """
    folder, waiting, found = path.parent, [path], dict[Path, None]()
    while waiting:
        current = waiting.pop()
        if current in found:
            continue
        found[current] = None
        for base, name in _imported(current, folder):
            waiting += _places(base, name)
    return sorted(found)


def digest_of(files: Sequence[Path], base: Path) -> str:
    """Return the SHA-256 of files' contents and of their places relative to a folder.

    Example:
        >>> import tempfile
        >>> def digest(text):
        ...     with tempfile.TemporaryDirectory() as folder:
        ...         Path(folder, "net.py").write_text(text)
        ...         return digest_of([Path(folder, "net.py")], Path(folder))
        >>> digest("a = 1") == digest("a = 1"), digest("a = 1") == digest("a = 2")
        (True, False)
    """
    digest = hashlib.sha256()
    for file in files:
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(base).as_posix()}\0{content}\0".encode())
    return digest.hexdigest()


def _imported(path: Path, folder: Path) -> Iterator[tuple[Path, str]]:
    """Where a file's imports begin, and their dotted names; of `from a import b` `a` and `a.b`."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return  # importing it says what is wrong
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((folder, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = path.parents[node.level - 1] if node.level else folder
            names = [f"{node.module or ''}.{alias.name}".strip(".") for alias in node.names]
            yield from ((base, name) for name in (node.module or "", *names))


def _places(folder: Path, name: str) -> list[Path]:
    """The files in the folder that importing a dotted name reads."""
    places, parts = [], [p for p in name.split(".") if p]
    for depth in range(1, len(parts) + 1):
        stem = folder.joinpath(*parts[:depth])
        places += [p for p in (stem.with_suffix(".py"), stem / "__init__.py") if p.is_file()]
    return places

"""A package's docstring is its map: it names every module, and no module that is not there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "augmint"
ROOMS = sorted(p.parent for p in PACKAGE.rglob("__init__.py") if p.parent != PACKAGE)


def map_of(room: Path) -> str:
    """Return the docstring of a package."""
    return ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8"))) or ""


def members(room: Path) -> set[str]:
    """Return the names of a package's modules and packages."""
    modules = {p.stem for p in room.glob("[!_]*.py")}
    return modules | {p.parent.name for p in room.glob("*/__init__.py")}


def definitions(room: Path, module: str) -> set[str]:
    """Return what a module defines at its top, or a package's members."""
    path = room / f"{module}.py"
    if not path.is_file():
        return members(room / module)
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
            case ast.ImportFrom(names=names):
                found |= {n.asname or n.name for n in names}
    return found


@pytest.mark.parametrize("room", ROOMS, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_a_map_names_every_module(room: Path) -> None:
    words = set(re.findall(r"[a-z0-9_]+", map_of(room)))
    assert members(room) <= words, sorted(members(room) - words)


@pytest.mark.parametrize("room", ROOMS, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_what_a_map_points_at_is_there(room: Path) -> None:
    for module, name in re.findall(r"`(\w+)\.(\w+)`", map_of(room)):
        if module in members(room) and name != "py":
            assert name in definitions(room, module), f"{module}.{name}"

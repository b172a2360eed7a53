"""Who may import whom: read from the source of every module, imports inside functions included."""

from __future__ import annotations

import ast
import graphlib
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "augmint"

_TRAINING = {
    "core", "aspects", "augmentation", "data", "metrics", "networks", "objectives", "penalties",
    "conditioning",
}  # fmt: skip
_ABOVE = _TRAINING | {"training"}
_APART = {"minting", "translators", "learned", "latent", "tasks"}
_STUDIES = _ABOVE | _APART | {"merging"}

MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "aspects": {"core"},
    "augmentation": {"core", "aspects"},
    "data": {"core", "aspects", "augmentation"},
    "metrics": {"core"},
    "networks": {"core"},
    "objectives": {"core"},
    "penalties": {"core"},
    "conditioning": {"core", "aspects", "networks", "objectives"},
    "training": _TRAINING,
    **dict.fromkeys(_APART, _ABOVE),
    "merging": {"core", "networks"},
    "studies": _STUDIES,
    "recipes": _STUDIES | {"studies"},
    "cli": _STUDIES | {"studies", "recipes"},
    "__main__": {"cli"},
    "__init__": _STUDIES | {"studies"},
}
"""Room to the rooms it may import; a room may always import itself and the package's version."""

REPORT_ONLY = {"matplotlib", "jinja2", "markupsafe"}
FORBIDDEN = {"pickle", "cPickle", "dill", "marshal", "shelve", "torchvision"}
IMPORT_NAMES = {
    "pillow": "PIL",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
    "scikit-image": "skimage",
}
INDIRECT = {"markupsafe": "jinja2", "threadpoolctl": "sklearn"}
"""A package that a declared dependency requires itself, and that dependency."""


@dataclass(frozen=True)
class Import:
    """One imported module: where, what, and whether it is loaded when the module is."""

    path: Path
    line: int
    module: str
    eager: bool
    types_only: bool

    @property
    def room(self) -> str:
        """The room of the importing module."""
        return self.path.relative_to(PACKAGE).with_suffix("").parts[0]

    @property
    def place(self) -> str:
        """File and line, for messages."""
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def imports(path: Path) -> Iterator[Import]:
    """Yield every import of a file."""

    def walk(node: ast.AST, eager: bool, types_only: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            inner_eager, inner_types = eager, types_only
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                inner_eager = False
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                inner_types = True
            for module in names(child):
                yield Import(path, getattr(child, "lineno", 0), module, eager, types_only)
            yield from walk(child, inner_eager, inner_types)

    def names(node: ast.AST) -> list[str]:
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            # `from augmint import data` names a room, `from augmint import __version__` does not
            return (
                [f"{node.module}.{a.name}" for a in node.names]
                if node.module == "augmint"
                else [str(node.module)]
            )
        return []

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), True, False)


def sources() -> list[Path]:
    """Return every module of the package."""
    return sorted(PACKAGE.rglob("*.py"))


ALL = [found for path in sources() for found in imports(path)]
OWN = [i for i in ALL if i.module.split(".")[0] == "augmint"]
OTHERS = [
    i
    for i in ALL
    if i.module.split(".")[0] not in {"augmint", "__future__", *sys.stdlib_module_names}
]


def dependencies(extra: str | None = None) -> set[str]:
    """Return the importable names of the declared dependencies, or of one extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    bare = {
        entry.split("[")[0].split(">")[0].split("=")[0].split("<")[0].strip() for entry in listed
    }
    return {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in bare}


def extras() -> set[str]:
    """Return the importable names of every extra that users may install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = set(project["optional-dependencies"]) - {"test", "dev"}
    return set().union(*(dependencies(name) for name in named))


def test_every_room_is_in_the_table() -> None:
    rooms = {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in sources()}
    assert rooms <= set(MAY_IMPORT), f"not in the table: {sorted(rooms - set(MAY_IMPORT))}"


def test_the_table_has_no_circle() -> None:
    order = list(graphlib.TopologicalSorter(MAY_IMPORT).static_order())  # raises on a circle
    assert order[0] == "core"


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_rooms_import_only_what_they_may(room: str) -> None:
    wrong = []
    for found in OWN:
        parts = found.module.split(".")
        target = parts[1] if len(parts) > 1 else ""
        if target not in MAY_IMPORT or found.room != room or target == room:
            continue
        if target not in MAY_IMPORT[room]:
            wrong.append(f"{found.place} imports {found.module}")
    assert not wrong, "\n".join(wrong)


def test_importing_the_package_imports_nothing_of_it() -> None:
    eager = [i for i in OWN if i.path == PACKAGE / "__init__.py" and i.eager and not i.types_only]
    assert not eager, eager[0].place


def test_charts_and_templates_only_in_the_report() -> None:
    report = PACKAGE / "studies" / "report"
    wrong = [
        f"{i.place} imports {i.module}"
        for i in OTHERS
        if i.module.split(".")[0] in REPORT_ONLY and report not in i.path.parents
    ]
    assert not wrong, "\n".join(wrong)


def test_no_pickle_and_no_torchvision() -> None:
    wrong = [f"{i.place} imports {i.module}" for i in ALL if i.module.split(".")[0] in FORBIDDEN]
    assert not wrong, "\n".join(wrong)
    for path in sources():
        text = path.read_text(encoding="utf-8")
        assert "allow_pickle=True" not in text, path
        assert "torch.load(" not in text, path


def test_what_is_imported_is_declared() -> None:
    """Core dependencies anywhere; an extra inside a function; a test tool for type names alone."""
    core = dependencies()
    core |= {name for name, carrier in INDIRECT.items() if carrier in core}
    optional, tools = extras(), dependencies("test")
    wrong = []
    for found in OTHERS:
        name = found.module.split(".")[0]
        if name in core or (name in optional and (not found.eager or found.types_only)):
            continue
        if not (name in tools and found.types_only):
            wrong.append(f"{found.place} imports {found.module}")
    assert not wrong, "\n".join(wrong)


def test_folders_are_maps() -> None:
    """A folder's `__init__` is a docstring and nothing else, the package's own excepted."""
    for path in sorted(PACKAGE.rglob("__init__.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), f"{path.relative_to(ROOT)} has no docstring"
        if path.parent != PACKAGE:
            assert len(tree.body) == 1, f"{path.relative_to(ROOT)} holds more than its docstring"

"""Sizes and documentation of the package's code, measured on its syntax trees.

| what | rule |
|---|---|
| file | at most 600 lines |
| function | at most 80 lines of body (docstring not counted); 90 % have at most 35 |
| parameters | at most 8 (`self` and `cls` not counted) |
| annotations | every parameter and every result; `self`, `cls` and lambdas excepted |
| docstrings | every module, public class, public function and public method |

Excepted from docstrings are methods that override a method or an attribute of one of the package's
own classes, `forward`, special methods, properties' setters, overloads, and what lies inside a
private class or a function.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "augmint"
MOST_LINES, MOST_BODY, MOST_BODY_P90, MOST_PARAMETERS = 600, 80, 35, 8
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Found:
    """A function, where it stands, and the classes and functions around it."""

    path: Path
    node: Function
    around: tuple[ast.AST, ...]

    @property
    def place(self) -> str:
        """File, line and name, for messages."""
        return f"{self.path.relative_to(ROOT)}:{self.node.lineno} {self.node.name}"

    @property
    def method_of(self) -> ast.ClassDef | None:
        """The class whose method it is."""
        last = self.around[-1] if self.around else None
        return last if isinstance(last, ast.ClassDef) else None


def trees() -> dict[Path, ast.Module]:
    """Return the syntax tree of every module."""
    return {p: ast.parse(p.read_text(encoding="utf-8")) for p in sorted(PACKAGE.rglob("*.py"))}


TREES = trees()


def functions(path: Path) -> Iterator[Found]:
    """Yield every function of a file, nested ones included."""

    def walk(node: ast.AST, around: tuple[ast.AST, ...]) -> Iterator[Found]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Function):
                yield Found(path, child, around)
            inside = isinstance(child, Function | ast.ClassDef)
            yield from walk(child, (*around, child) if inside else around)

    yield from walk(TREES[path], ())


FUNCTIONS = [found for path in TREES for found in functions(path)]
CLASSES = {
    n.name: n for tree in TREES.values() for n in ast.walk(tree) if isinstance(n, ast.ClassDef)
}


def body_lines(node: Function) -> int:
    """Return the lines of a function's body without its docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def parameters(found: Found) -> list[ast.arg]:
    """Return a function's parameters without `self` and `cls`."""
    a = found.node.args
    listed = [*a.posonlyargs, *a.args]
    static = any(_name(d) == "staticmethod" for d in found.node.decorator_list)
    if found.method_of is not None and not static:
        listed = listed[1:]
    return [
        *listed,
        *([a.vararg] if a.vararg else []),
        *a.kwonlyargs,
        *([a.kwarg] if a.kwarg else []),
    ]


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        return _name(node.func)
    if isinstance(node, ast.Subscript):
        return _name(node.value)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _defined(node: ast.stmt) -> set[str]:
    if isinstance(node, Function):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {t.id for t in targets if isinstance(t, ast.Name)}


def overrides(method: str, owner: ast.ClassDef) -> bool:
    """Return whether a base class within the package defines the name too."""
    for base in map(_name, owner.bases):
        known = CLASSES.get(base)
        if known is None or known is owner:
            continue
        if any(method in _defined(n) for n in known.body):
            return True
        if overrides(method, known):
            return True
    return False


def is_public(found: Found) -> bool:
    """Return whether the docstring rule holds for a function."""
    name, owner = found.node.name, found.method_of
    if name.startswith("_") or name == "forward":
        return False
    decorators = {_name(d) for d in found.node.decorator_list}
    if decorators & {"setter", "overload"}:
        return False
    for outer in found.around:
        if isinstance(outer, Function) or getattr(outer, "name", "").startswith("_"):
            return False
    return owner is None or not overrides(name, owner)


def test_files_are_short() -> None:
    lengths = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in TREES}
    wrong = [f"{p.relative_to(ROOT)}: {n}" for p, n in lengths.items() if n > MOST_LINES]
    assert not wrong, "\n".join(wrong)


def test_functions_are_short() -> None:
    lengths = sorted((body_lines(f.node), f.place) for f in FUNCTIONS)
    wrong = [f"{place}: {n} lines" for n, place in lengths if n > MOST_BODY]
    assert not wrong, "\n".join(wrong)
    ninetieth = lengths[int(0.9 * (len(lengths) - 1))][0]
    assert ninetieth <= MOST_BODY_P90, f"90 % of functions have up to {ninetieth} lines"


def test_parameters_are_few() -> None:
    wrong = [
        f"{f.place}: {len(parameters(f))}"
        for f in FUNCTIONS
        if len(parameters(f)) > MOST_PARAMETERS
    ]
    assert not wrong, "\n".join(wrong)


def test_everything_is_annotated() -> None:
    wrong = []
    for found in FUNCTIONS:
        bare = [a.arg for a in parameters(found) if a.annotation is None]
        bare += ["return"] if found.node.returns is None else []
        wrong += [f"{found.place}: {', '.join(bare)}"] if bare else []
    assert not wrong, "\n".join(wrong)


def test_everything_public_is_documented() -> None:
    wrong = [
        f"{p.relative_to(ROOT)}: the module" for p, t in TREES.items() if not ast.get_docstring(t)
    ]
    for path, tree in TREES.items():
        for node in ast.iter_child_nodes(tree):
            if (
                isinstance(node, ast.ClassDef)
                and not node.name.startswith("_")
                and not ast.get_docstring(node)
            ):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} class {node.name}")
    wrong += [f.place for f in FUNCTIONS if is_public(f) and not ast.get_docstring(f.node)]
    assert not wrong, "\n".join(wrong)

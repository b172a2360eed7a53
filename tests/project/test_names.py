"""No code asks which variant it was given: names are known to the registries alone.

A comparison of anything with the name of a registered variant (`==`, `!=`, `in`, a `case`, or the
keys of a table that is subscripted) is a second place that an added variant would have to be told.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from augmint.core.registry import AXES

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "augmint"
NAMES = {name for axis in AXES.values() for name in axis.names()} - {"none"}
"""All registered names but the word for nothing, which settings share."""
OTHERS = {
    ("merging/modules.py", "affine"): "a kind of operation in a traced network",
    ("merging/modules.py", "noise"): "a mode of dropout in a traced network",
    ("merging/graph.py", "dense"): "a kind of layer",
    ("merging/modules.py", "dense"): "a kind of layer",
    ("merging/notation.py", "dense"): "a kind of layer",
    ("merging/shapes.py", "dense"): "a kind of layer",
    ("training/compatibility.py", "map"): "what a critic gives",
    ("studies/evaluation.py", "kid"): "a sentence of the report about a number, where it is there",
}
"""Words that mean something else where they stand, or add words to what is listed anyway."""


def strings(node: ast.AST) -> Iterator[str]:
    """Yield the string constants that an operand of a comparison consists of."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Tuple | ast.List | ast.Set):
        for element in node.elts:
            yield from strings(element)
    elif isinstance(node, ast.Dict):
        for key in node.keys:
            if key is not None:
                yield from strings(key)


def choices(tree: ast.Module) -> set[str]:
    """Return the words of every `Literal[...]` of a module: settings of its own, not variants."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=ast.Name(id="Literal")):
                found.update(strings(node.slice))
    return found


def compared(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and word of every comparison with a constant."""
    for node in ast.walk(tree):
        operands: list[ast.AST] = []
        if isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
            if any(isinstance(o, ast.Attribute) and o.attr == "kind" for o in operands):
                continue  # what an aspect declares to be, whatever its class is registered as
        match node:
            case ast.MatchValue() | ast.Subscript(value=ast.Dict()):
                operands = [node.value]
        for operand in operands:
            for word in strings(operand):
                yield getattr(node, "lineno", 0), word


def asked(text: str) -> list[tuple[int, str]]:
    """Return line and name of every comparison with a registered name."""
    tree = ast.parse(text)
    own = choices(tree)
    return [(line, word) for line, word in compared(tree) if word in NAMES - own]


def test_no_comparison_names_a_variant() -> None:
    assert len(NAMES) > 80
    wrong, used = [], set()
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        for line, word in asked(path.read_text(encoding="utf-8")):
            if (place, word) in OTHERS:
                used.add((place, word))
            else:
                wrong.append(f"{place}:{line}: {word}")
    assert not wrong, "\n".join(wrong)
    assert used == set(OTHERS), "an exception that nothing needs"


@pytest.mark.parametrize(
    "text",
    [
        'if name == "vac": pass',
        'if "hinge" != spec["name"]: pass',
        'x = name in ("began", "anything")',
        'match name:\n    case "acgan" | "other": pass',
        'x = {"r1": 1, "r2": 2}[name]',
        'if spec == "category": pass',
    ],
)
def test_a_planted_comparison_is_found(text: str) -> None:
    assert asked(text)


def test_a_setting_of_the_same_word_is_no_variant() -> None:
    own = 'x: Literal["shift", "batch"]\nif x == "shift": pass'
    assert not asked(own)
    assert asked(own.partition("\n")[2])

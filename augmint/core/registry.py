"""One registry per axis of variation: names are known without importing what they name.

An axis is a package. A member registers itself with a decorator whose first argument is its
name, in any module of that package:

    @OBJECTIVES.register("hinge")
    @dataclass(frozen=True)
    class Hinge(Objective): ...

The registry reads the package's source files (never imports them) for these decorators, so the
command line lists and checks names in milliseconds; a module is imported when its member is
first used. Adding a variant is therefore one class in one file, and nothing else.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from augmint.core.config import build
from augmint.core.errors import UsageError, nearest

T = TypeVar("T")

Spec = str | Mapping[str, Any]
"""How a configuration names a variant: its name, or a mapping with `name` and its fields."""


@dataclass(frozen=True)
class Entry:
    """What is known of a registered member without importing it."""

    name: str
    module: str
    attribute: str
    summary: str


class Registry(Generic[T]):
    """The members of one axis, discovered from the source files of one package.

    Args:
        axis: what a member is called in messages ("objective").
        package: dotted name of the package whose modules hold the members.
        variable: name of the module-level variable that holds this registry; decorators are
            recognised by it.

    Example:
        >>> shapes = Registry("shape", "no_package_of_this_name", "SHAPES")
        >>> @shapes.register("square")
        ... @dataclass(frozen=True)
        ... class Square:
        ...     side: float = 1.0
        >>> shapes.create({"name": "square", "side": 2})
        Square(side=2.0)
    """

    def __init__(self, axis: str, package: str, variable: str) -> None:
        self.axis = axis
        self.package = package
        self.variable = variable
        self._members: dict[str, Any] = {}

    def register(self, name: str) -> Any:
        """Return a decorator that registers a class or function under `name`."""

        def add(member: Any) -> Any:
            known = self._members.get(name)
            if known is not None and known.__module__ != member.__module__:
                raise UsageError(
                    f"a name of the axis {self.axis} is given once",
                    name,
                    f"rename the one in {member.__module__} (taken by {known.__module__})",
                )
            self._members[name] = member
            return member

        return add

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """The static index, name to entry, read from source without importing it.

        Example:
            >>> OBJECTIVES.entries["hinge"].module
            'augmint.objectives.adversarial'
        """
        found: dict[str, Entry] = {}
        for folder in self._folders():
            for path in sorted(folder.rglob("*.py")):
                parts = path.relative_to(folder).with_suffix("").parts
                parts = parts[:-1] if parts[-1] == "__init__" else parts
                for entry in _scan(path, ".".join((self.package, *parts)), self.variable):
                    found[entry.name] = entry
        return dict(sorted(found.items()))

    def names(self) -> list[str]:
        """Return the names of all members, sorted.

        Example:
            >>> {"hinge", "minimax"} <= set(OBJECTIVES.names())
            True
        """
        return sorted({*self.entries, *self._members})

    def get(self, name: str) -> type[T]:
        """Import and return the member called `name`.

        Raises:
            UsageError: if no member has this name; the nearest names are given.

        Example:
            >>> OBJECTIVES.get("hinge").__name__
            'Hinge'
        """
        if name not in self._members:
            if name not in self.entries:
                raise UsageError(
                    f"the {self.axis} must be a registered name", name, nearest(name, self.names())
                )
            importlib.import_module(self.entries[name].module)
        return self._members[name]  # type: ignore[no-any-return]

    def create(self, spec: Spec) -> T:
        """Build a member from a name or a mapping `{name: ..., field: value}`.

        Raises:
            UsageError: for an unknown name or field, or a value of the wrong type.

        Example:
            >>> PENALTIES.create("r1").weight, PENALTIES.create({"name": "r1", "weight": 5}).weight
            (1.0, 5.0)
        """
        name, fields = split_spec(spec, self.axis)
        return build(self.get(name), fields, where=f"{self.axis} {name}")

    def name_of(self, member: object) -> str:
        """Return the name under which a member's class is registered, or else that of the class.

        Example:
            >>> OBJECTIVES.name_of(OBJECTIVES.create("hinge")), OBJECTIVES.name_of("text")
            ('hinge', 'str')
        """
        known = (name for name, cls in self._members.items() if cls is type(member))
        return next(known, type(member).__name__)

    def describe(self, spec: Spec) -> dict[str, Any]:
        """Return the complete mapping of `spec`: its name and every field with its value.

        Example:
            >>> OBJECTIVES.describe("hinge")
            {'name': 'hinge'}
            >>> PENALTIES.describe({"name": "r1", "weight": 5})["weight"]
            5.0
        """
        name, _ = split_spec(spec, self.axis)
        member = self.create(spec)
        if not dataclasses.is_dataclass(member) or isinstance(member, type):
            return {"name": name}
        return {"name": name, **dataclasses.asdict(member)}

    def _folders(self) -> list[Path]:
        loaded = sys.modules.get(self.package)
        if loaded is not None:
            return [Path(p) for p in loaded.__path__]
        try:
            spec = importlib.util.find_spec(self.package)
        except ModuleNotFoundError:
            return []
        return [Path(p) for p in spec.submodule_search_locations or ()] if spec else []


def split_spec(spec: Spec, axis: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the fields of a spec.

    Example:
        >>> split_spec({"name": "r1", "weight": 5.0}, "penalty")
        ('r1', {'weight': 5.0})
    """
    if isinstance(spec, str):
        return spec, {}
    fields = dict(spec)
    name = fields.pop("name", None)
    if not isinstance(name, str):
        raise UsageError(f"a {axis} is given by its name", dict(spec), "add the key 'name'")
    return name, fields


def _scan(path: Path, module: str, variable: str) -> list[Entry]:
    text = path.read_text(encoding="utf-8")
    if f"{variable}.register(" not in text:
        return []
    entries = []
    for node in ast.parse(text).body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            match decorator:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id=owner), attr="register"),
                    args=[ast.Constant(value=str(name))],
                ) if owner == variable:
                    summary = (ast.get_docstring(node) or "").split("\n\n")[0]
                    entries.append(Entry(name, module, node.name, " ".join(summary.split())))
    return entries


AXES: dict[str, Registry[Any]] = {}
"""Every axis by its plural name, in the order in which `augmint list` prints them."""


def axis(plural: str, singular: str, package: str, variable: str) -> Registry[Any]:
    """Declare an axis; called once for each, below."""
    AXES[plural] = Registry(singular, package, variable)
    return AXES[plural]


OBJECTIVES = axis("objectives", "objective", "augmint.objectives", "OBJECTIVES")
PENALTIES = axis("penalties", "penalty", "augmint.penalties", "PENALTIES")
ARCHITECTURES = axis("architectures", "architecture", "augmint.networks", "ARCHITECTURES")
CONDITIONING = axis("conditioning", "conditioning", "augmint.conditioning", "CONDITIONING")
ASPECTS = axis("aspects", "aspect", "augmint.aspects", "ASPECTS")
TASKS = axis("tasks", "task", "augmint.tasks", "TASKS")
METRICS = axis("metrics", "metric", "augmint.metrics", "METRICS")
TRANSLATORS = axis("translators", "translator", "augmint.translators", "TRANSLATORS")
AUGMENTERS = axis("augmenters", "augmenter", "augmint.augmentation", "AUGMENTERS")
RECIPES = axis("recipes", "recipe", "augmint.recipes", "RECIPES")
FORMATS = axis("formats", "format", "augmint.data.formats", "FORMATS")
DATASETS = axis("datasets", "built-in data set", "augmint.data", "DATASETS")

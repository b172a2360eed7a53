"""Configurations are frozen dataclasses; this module reads, checks, prints and hashes them.

A mapping becomes a dataclass only if every key is a field and every value has the field's type:
an unknown key is an error with the nearest names, and nothing is replaced in silence.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from augmint.core.errors import UsageError, nearest

T = TypeVar("T")
_EXPONENT = re.compile(r"[-+]?[0-9]+(?:[.][0-9]*)?[eE][-+]?[0-9]+")


def build(cls: type[T], fields: Mapping[str, Any], where: str) -> T:
    """Build a dataclass from a mapping, checking keys and types, nested dataclasses included.

    Raises:
        UsageError: unknown or missing key (with the nearest names), or a value of another type.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Optimiser:
        ...     rate: float = 1e-3
        >>> build(Optimiser, {"rate": 1}, where="optimiser")
        Optimiser(rate=1.0)
        >>> build(Optimiser, {"rat": 1}, where="optimiser")  # doctest: +NORMALIZE_WHITESPACE
        Traceback (most recent call last):
        augmint.core.errors.UsageError: optimiser has no field of this name; got rat: did you mean
        'rate'? known: rate
    """
    if not dataclasses.is_dataclass(cls):
        if fields:
            raise UsageError(f"{where} takes no fields", dict(fields), "remove them")
        return cls()
    known = {f.name: f for f in dataclasses.fields(cls) if f.init}
    for key in fields:
        if key not in known:
            raise UsageError(f"{where} has no field of this name", key, nearest(key, known))
    hints = _hints(cls)
    values = {k: coerce(v, hints[k], f"{where}.{k}") for k, v in fields.items()}
    for name, field in known.items():
        required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if required and name not in values:
            raise UsageError(f"{where} needs the field {name}", "nothing", f"add {name}: …")
    return cls(**values)


LARGEST = 2**63 - 1
"""Beyond it no library counts anything: sizes that are larger are refused with their name."""


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def coerce(value: Any, hint: Any, where: str) -> Any:
    """Return `value` as the type `hint`, converting only what loses nothing (1 to 1.0).

    Raises:
        UsageError: if the value is not of that type, or a float that is not finite.

    Example:
        >>> coerce(1, float, "weight"), coerce("1e-3", float, "rate")
        (1.0, 0.001)
        >>> coerce([24, 32], tuple[int, int], "size")
        (24, 32)
    """
    origin = get_origin(hint)
    if hint is Any:
        return value
    if origin is Literal:
        if value in get_args(hint):
            return value
        raise UsageError(
            f"{where} must be one of its choices",
            value,
            nearest(str(value), map(str, get_args(hint))),
        )
    if origin in (Union, types.UnionType):
        return _coerce_union(value, get_args(hint), where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, hint):
            return value
        if isinstance(value, Mapping):
            return build(hint, value, where)
    elif origin in (tuple, list, Sequence) or origin is Iterable:
        return _coerce_sequence(value, hint, where)
    elif origin in (dict, Mapping):
        if isinstance(value, Mapping):
            key, item = get_args(hint)
            return {
                coerce(k, key, where): coerce(v, item, f"{where}.{k}") for k, v in value.items()
            }
    elif hint is float:
        if isinstance(value, str) and _EXPONENT.fullmatch(value):
            value = float(value)  # to YAML 1.1 1e-3 and 1.5e3 are text
        if isinstance(value, int | float) and not isinstance(value, bool):
            if math.isfinite(value):
                return float(value)
            raise UsageError(f"{where} must be a finite number", value, "give a finite number")
    elif hint is int:
        if isinstance(value, int) and not isinstance(value, bool):
            if abs(value) <= LARGEST:
                return value
            raise UsageError(
                f"{where} must be at most {LARGEST}", f"{value:.3g}", "give a smaller number"
            )
    elif hint is Path:
        if isinstance(value, str | Path):
            return Path(value)
    elif isinstance(hint, type) and isinstance(value, hint):
        return value
    name = getattr(hint, "__name__", str(hint))
    raise UsageError(f"{where} must be of type {name}", value, f"give a value of type {name}")


def _coerce_union(value: Any, options: Sequence[Any], where: str) -> Any:
    if value is None and type(None) in options:
        return None
    error: UsageError | None = None
    for option in options:
        if option is type(None):
            continue
        try:
            return coerce(value, option, where)
        except UsageError as caught:
            error = error or caught
    raise error or UsageError(f"{where} must be empty", value, "remove it")


def _coerce_sequence(value: Any, hint: Any, where: str) -> Any:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise UsageError(f"{where} must be a list", value, "write it as [a, b]")
    arguments = get_args(hint)
    if get_origin(hint) is not tuple:
        return [coerce(v, arguments[0], f"{where}[{i}]") for i, v in enumerate(value)]
    if arguments[-1] is Ellipsis:
        return tuple(coerce(v, arguments[0], f"{where}[{i}]") for i, v in enumerate(value))
    if len(arguments) != len(value):
        raise UsageError(f"{where} must have {len(arguments)} items", value, "give as many")
    return tuple(
        coerce(v, a, f"{where}[{i}]") for i, (v, a) in enumerate(zip(value, arguments, strict=True))
    )


def to_plain(value: Any) -> Any:
    """Return dataclasses, paths and tuples as plain mappings, strings and lists (for YAML, JSON).

    Example:
        >>> to_plain({"size": (24, 32), "out": Path("runs")})
        {'size': [24, 32], 'out': 'runs'}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def fingerprint(value: Any) -> str:
    """Return the SHA-256 (64 hex digits) of a configuration's canonical JSON.

    Example:
        >>> fingerprint({"b": 1, "a": (2,)}) == fingerprint({"a": [2], "b": 1})
        True
    """
    text = json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping with the safe loader.

    Raises:
        UsageError: if the file is missing, is not YAML, or is not a mapping.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "config.yaml"
        ...     _ = path.write_text("task: {steps: 20}")
        ...     read_yaml(path)
        {'task': {'steps': 20}}
    """
    import yaml

    try:
        with open(path, "rb") as file:
            raw = file.read(_LARGEST_YAML + 1)
        if len(raw) > _LARGEST_YAML:
            raise ValueError(f"over {_LARGEST_YAML >> 10} KiB")
        text = raw.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise UsageError(
            "a configuration file must be readable text", f"{path} ({error})", "check the path"
        ) from None
    try:
        content = load_yaml(text)
    except yaml.YAMLError as error:
        raise UsageError(
            "a configuration file must be YAML", f"{path} ({error})", "mend the line named"
        ) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(
            "a configuration file must hold a mapping", str(path), "write key: value lines"
        )
    return content


_LARGEST_YAML = 1 << 20
_DEEPEST_YAML = 32


def load_yaml(text: str) -> Any:
    """Read YAML text as JSON has it: text, finite numbers, truth values, lists, mappings by text.

    Tags, dates, aliases, keys that stand twice and nesting over 32 levels are errors: aliases
    unfold to any size, and of two values for one key neither can be meant.

    Raises:
        yaml.YAMLError: if it is anything else.

    Example:
        >>> load_yaml("task: {steps: 20, day: 2020-01-02}")
        {'task': {'steps': 20, 'day': '2020-01-02'}}
    """
    import yaml

    try:
        return yaml.load(text, Loader=_plain_loader())
    except (ValueError, LookupError) as error:  # !!int of what is no number
        raise yaml.YAMLError(str(error)) from None


@functools.cache
def _plain_loader() -> Any:
    import yaml

    tags = {kind: f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str")}
    tags |= {kind: f"tag:yaml.org,2002:{kind}" for kind in ("seq", "map")}

    class PlainLoader(yaml.SafeLoader):
        """The safe loader, without what JSON lacks."""

        level = 0
        yaml_constructors = {  # noqa: RUF012
            **{tag: yaml.SafeLoader.yaml_constructors[tag] for tag in tags.values()},
            None: yaml.SafeLoader.yaml_constructors[None],
        }
        yaml_implicit_resolvers = {  # noqa: RUF012
            first: [(tag, pattern) for tag, pattern in found if tag in tags.values()]
            for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def compose_node(self, parent: Any, index: Any) -> Any:
            event: Any = self.peek_event()
            if isinstance(event, yaml.AliasEvent):
                raise yaml.composer.ComposerError(
                    None,
                    None,
                    "aliases (*name) are not read",
                    event.start_mark,  # type: ignore[arg-type]
                )
            if self.level > _DEEPEST_YAML:
                raise yaml.composer.ComposerError(
                    None, None, f"nested over {_DEEPEST_YAML} levels", event.start_mark
                )
            self.level += 1
            node = super().compose_node(parent, index)
            self.level -= 1
            return node

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key, _ in node.value:
                fault = "" if key.tag == tags["str"] else "is no text: quote it"
                fault = "stands twice" if key.value in seen and not fault else fault
                if fault:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {str(key.value)[:80]!r} {fault}", key.start_mark
                    )
                seen.add(key.value)
            return super().construct_mapping(node, deep)

        def construct_yaml_float(self, node: Any) -> Any:
            value = super().construct_yaml_float(node)
            if not math.isfinite(value):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the number {str(node.value)[:80]} is not finite", node.start_mark
                )
            return value

    PlainLoader.add_constructor(tags["float"], PlainLoader.construct_yaml_float)
    return PlainLoader


def write_yaml(value: Any) -> str:
    """Return a configuration as YAML text, in the order of its fields.

    Example:
        >>> print(write_yaml({"steps": 20, "size": (24, 32)}), end="")
        steps: 20
        size:
        - 24
        - 32
    """
    import yaml

    return str(yaml.safe_dump(to_plain(value), sort_keys=False, allow_unicode=True))


def with_overrides(fields: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return `fields` with `a.b=value` assignments applied; values are read as YAML.

    Raises:
        UsageError: if an assignment has no `=`.

    Example:
        >>> with_overrides({"task": {"steps": 10}}, ["task.steps=20"])
        {'task': {'steps': 20}}
    """
    import yaml

    result: dict[str, Any] = json.loads(json.dumps(to_plain(fields)))
    for text in overrides:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise UsageError(
                "--set takes key=value", text, "write for example --set task.steps=500"
            )
        place = result
        *parents, last = key.split(".")
        if len(parents) > _DEEPEST_YAML:
            raise UsageError("--set names a field of the configuration", key, "shorten the name")
        for parent in parents:
            child = place.setdefault(parent, {})
            if isinstance(child, str):  # a variant given by its name alone
                child = place[parent] = {"name": child}
            if not isinstance(child, dict):
                raise UsageError(
                    "--set reaches into mappings only", key, f"{parent} holds {child!r}"
                )
            place = child
        try:
            place[last] = load_yaml(value)
        except yaml.YAMLError as error:
            reason = getattr(error, "problem", None) or error
            raise UsageError(
                "--set takes a YAML value", f"{text} ({reason})", "quote the value"
            ) from None
    return result

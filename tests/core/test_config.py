from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from augmint.core.config import (
    build,
    fingerprint,
    read_yaml,
    to_plain,
    with_overrides,
    write_yaml,
)
from augmint.core.errors import UsageError, nearest, single_line


@dataclass(frozen=True)
class Inner:
    size: tuple[int, int] = (2, 3)
    folder: Path = Path("x")


@dataclass(frozen=True)
class Outer:
    rate: float
    kind: Literal["a", "b"] = "a"
    part: str | Mapping[str, Any] | None = None
    parts: tuple[str | Mapping[str, Any], ...] = ()
    inner: Inner = field(default_factory=Inner)


def test_a_mapping_becomes_a_dataclass_and_back() -> None:
    fields = {
        "rate": 1,
        "kind": "b",
        "part": {"name": "x"},
        "parts": ["y", {"name": "z"}],
        "inner": {"size": [4, 5], "folder": "f"},
    }
    made = build(Outer, fields, "outer")
    assert made.inner == Inner((4, 5), Path("f"))
    assert isinstance(made.rate, float)
    assert build(Outer, to_plain(made), "outer") == made


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"rat": 1.0}, "did you mean 'rate'"),
        ({}, "needs the field rate"),
        ({"rate": "1"}, "outer.rate must be of type float"),
        ({"rate": True}, "outer.rate must be of type float"),
        ({"rate": float("nan")}, "finite"),
        ({"rate": 1.0, "kind": "c"}, "one of its choices"),
        ({"rate": 1.0, "parts": "y"}, "must be a list"),
        ({"rate": 1.0, "inner": {"size": [1]}}, "outer.inner.size must have 2 items"),
        ({"rate": 1.0, "inner": {"size": [1, 2.5]}}, "of type int"),
    ],
)
def test_errors_name_field_and_remedy(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        build(Outer, fields, "outer")


def test_fingerprints_see_values_and_not_order() -> None:
    a, b = Outer(1.0), Outer(1.0, "b")
    assert fingerprint(a) == fingerprint(dict(reversed(to_plain(a).items())))
    assert fingerprint(a) != fingerprint(b)
    with pytest.raises(ValueError):
        fingerprint({"x": float("inf")})


def test_overrides_reach_into_names_and_mappings() -> None:
    got = with_overrides({"gan": {"critic": "dcgan"}}, ["gan.critic.channels=8", "seeds=[1, 2]"])
    assert got == {"gan": {"critic": {"name": "dcgan", "channels": 8}}, "seeds": [1, 2]}
    for text, told in (("x", "key=value"), ("gan.critic.a.b.c=[", "YAML")):
        with pytest.raises(UsageError, match=told):
            with_overrides({}, [text])


def test_an_exponent_without_a_point_is_a_number_where_one_is_wanted() -> None:
    for text, value in (("1e-3", 0.001), ("-2E+4", -20000.0), ("1.5e2", 150.0)):
        assert build(Outer, with_overrides({}, [f"rate={text}"]), "outer").rate == value
    assert build(Outer, with_overrides({}, ["rate=1", "part=1e5"]), "outer").part == "1e5"
    for text, told in (("1e999", "finite"), ("1e", "type float"), ("nan", "type float")):
        with pytest.raises(UsageError, match=told):
            build(Outer, with_overrides({}, [f"rate={text}"]), "outer")


def test_yaml_round_trip_and_errors(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(write_yaml(Outer(0.5)))
    assert build(Outer, read_yaml(path), "outer") == Outer(0.5)
    for content, told in (
        ("[1]", "mapping"),
        ("a: [", "YAML"),
        ("a: !!python/object:x {}", "YAML"),
    ):
        path.write_text(content)
        with pytest.raises(UsageError, match=told):
            read_yaml(path)
    with pytest.raises(UsageError, match="readable"):
        read_yaml(tmp_path / "none.yaml")


def test_errors_stay_on_one_line() -> None:
    error = UsageError("rule", "a\nb\x1b[2J", "remedy")
    assert str(error) == "rule; got a b\\x1b[2J: remedy"
    assert error.exit_code == 2
    assert len(single_line("x" * 10_000)) == 600
    assert nearest("zzz", []) == "none is known here"

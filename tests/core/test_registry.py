from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from augmint.core.errors import UsageError
from augmint.core.registry import AXES, OBJECTIVES, Registry, split_spec

MEMBER = '''
from dataclasses import dataclass
from axis_under_test import SHAPES

@SHAPES.register("square")
@dataclass(frozen=True)
class Square:
    """Has four equal sides.

    And more."""
    side: float = 1.0
'''


@pytest.fixture
def axis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    package = tmp_path / "axis_under_test"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from augmint.core.registry import Registry\n"
        'SHAPES = Registry("shape", "axis_under_test", "SHAPES")\n'
    )
    (package / "square.py").write_text(MEMBER)
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    for name in [n for n in sys.modules if n.startswith("axis_under_test")]:
        del sys.modules[name]


def _shapes() -> Registry[object]:
    from axis_under_test import SHAPES  # type: ignore[import-not-found]

    return SHAPES  # type: ignore[no-any-return]


def test_members_are_known_before_they_are_imported(axis: Path) -> None:
    shapes = _shapes()
    assert shapes.names() == ["square"]
    assert shapes.entries["square"].summary == "Has four equal sides."
    assert "axis_under_test.square" not in sys.modules
    assert shapes.create({"name": "square", "side": 2}).side == 2.0  # type: ignore[attr-defined]
    assert shapes.describe("square") == {"name": "square", "side": 1.0}


def test_a_file_in_a_further_folder_of_the_package_is_found(axis: Path, tmp_path: Path) -> None:
    shapes = _shapes()
    extra = tmp_path / "elsewhere"
    extra.mkdir()
    (extra / "disc.py").write_text(
        MEMBER.replace("square", "disc").replace("Square", "Disc").replace("side", "radius")
    )
    sys.modules["axis_under_test"].__path__.append(str(extra))
    assert shapes.names() == ["disc", "square"]
    assert shapes.create("disc").radius == 1.0  # type: ignore[attr-defined]


def test_a_name_is_given_once(axis: Path) -> None:
    shapes = _shapes()
    shapes.get("square")

    class Other:
        pass

    with pytest.raises(UsageError, match="given once"):
        shapes.register("square")(Other)


def test_unknown_names_and_fields_name_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'hinge'"):
        OBJECTIVES.get("hing")
    with pytest.raises(UsageError, match="no field of this name"):
        OBJECTIVES.create({"name": "hinge", "bogus": 1})
    with pytest.raises(UsageError, match="add the key 'name'"):
        split_spec({"weight": 1}, "penalty")


def test_names_come_without_torch() -> None:
    code = (
        "import sys; from augmint.core.registry import AXES;"
        "[a.names() for a in AXES.values()]; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("plural", list(AXES))
def test_every_member_says_what_it_is(plural: str) -> None:
    for name, entry in AXES[plural].entries.items():
        assert entry.summary, f"{plural}: {name} has no docstring"
        assert name == name.lower()
        assert " " not in name
        assert "_" not in name

"""`import augmint` and `augmint --help` load no numerical library."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "scipy", "sklearn", "kornia", "matplotlib", "PIL", "joblib")


def loaded_after(code: str) -> set[str]:
    """Return which heavy libraries a fresh interpreter holds after running `code`."""
    ending = f"\nimport sys\nprint('LOADED', *[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code + ending], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split("LOADED", 1)[1].split())


def test_import_is_light() -> None:
    assert loaded_after("import augmint") == set()


def test_names_of_variants_are_known_without_torch() -> None:
    code = "from augmint.core.registry import AXES\nassert AXES['objectives'].names()"
    assert loaded_after(code) == set()


@pytest.mark.parametrize("arguments", [["--help"], ["prove", "--help"], ["list", "objectives"]])
def test_help_is_light(arguments: list[str]) -> None:
    code = (
        "from augmint.cli import main\n"
        f"try:\n    main({arguments!r})\n"
        "except SystemExit as done:\n    assert not done.code, done.code"
    )
    assert loaded_after(code) == set()

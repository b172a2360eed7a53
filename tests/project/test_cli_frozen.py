"""The command line does not change by accident: axes, verbs and options are those of cli.json.

An intended change is one command away: `python tests/project/test_cli_frozen.py`.
Members of an axis are not frozen: adding one touches one file only.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).with_name("cli.json")
REGENERATE = "python tests/project/test_cli_frozen.py"


def output_of(*arguments: str) -> str:
    """Return what the command line prints."""
    from augmint.cli import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main(list(arguments))
    return printed.getvalue()


def option_names(text: str) -> list[str]:
    """Return the options that a help text describes, each at the start of its line."""
    found = re.findall(r"^\s+(?:-\w, )?(--[a-z][a-z-]*)", text, flags=re.MULTILINE)
    return sorted(set(found))


def command_line() -> dict[str, Any]:
    """Return the axes, and the options of every verb."""
    from augmint.cli import VERBS

    return {
        "axes": sorted(json.loads(output_of("list", "--json"))),
        "verbs": {verb: option_names(output_of(verb, "--help")) for verb in sorted(VERBS)},
    }


def test_command_line_is_frozen() -> None:
    assert GOLDEN.exists(), f"{GOLDEN.name} is missing; write it: {REGENERATE}"
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    now = command_line()
    assert now["axes"] == golden["axes"], f"if this is meant: {REGENERATE}"
    assert now["verbs"] == golden["verbs"], f"if this is meant: {REGENERATE}"


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(command_line(), indent=2) + "\n", encoding="utf-8")
    print(f"wrote {GOLDEN}")

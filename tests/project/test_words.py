"""No file of the project names a package index, a path of one machine, or a credential."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENDINGS = {
    ".py",
    ".md",
    ".toml",
    ".txt",
    ".yaml",
    ".yml",
    ".cff",
    ".j2",
    ".css",
    ".json",
    ".cfg",
    "",
}
SKIP = {".git", ".venv", "demo", "runs", "build", "dist", "__pycache__", ".cache"}
# written so that no pattern matches itself
FORBIDDEN = (
    r"pypi[.]org",
    r"download[.]pytorch",
    r"index[-]url",
    r"(?<![\w.])/(?:[w]ork|[r]oot|[t]mp/w)/",
    r"/[h]ome/\w",
    r"://[^/\s]*:[^/\s]*@",
    r"(?i)(?:api|access)[_-]?[t]oken\s*[:=]",
)


def files() -> list[Path]:
    """Return the text files that git knows or would add, or all of them where git is absent."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        found = [ROOT / line for line in done.stdout.splitlines()]
    except (OSError, subprocess.CalledProcessError):
        found = [p for p in ROOT.rglob("*") if not SKIP.intersection(p.relative_to(ROOT).parts)]
    return [p for p in found if p.is_file() and p.suffix in ENDINGS]


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_no_file_says(pattern: str) -> None:
    wrong = []
    for path in files():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.search(pattern, line):
                wrong.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not wrong, "\n".join(wrong)

"""What the documents say is so: commands exist with their options, links lead somewhere."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
ids = [str(p.relative_to(ROOT)) for p in DOCUMENTS]


def commands(text: str) -> list[list[str]]:
    """Return every `augmint VERB …` that stands in code, split into words."""
    code = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in code for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`(augmint [^`\n]+)`", text)
    found = [line.split("#")[0].strip() for line in lines]
    return [shlex.split(line)[1:] for line in found if line.startswith("augmint ")]


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_commands_exist(path: Path) -> None:
    from augmint.cli import VERBS

    for words in commands(path.read_text(encoding="utf-8")):
        verb = words[0]
        if verb in ("--help", "--version", "VERB"):
            continue
        assert verb in VERBS, f"augmint {' '.join(words)}"
        known = {option.flags for option in VERBS[verb].options} | {"--help"}
        used = {word.split("=")[0] for word in words if word.startswith("--")}
        assert used <= known, f"augmint {verb} has no {sorted(used - known)}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{target} is missing"


def test_targets_of_make_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    for path in DOCUMENTS:
        used = re.findall(r"`make ([a-z]+)", path.read_text(encoding="utf-8"))
        assert set(used) <= targets, path


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    pinned = {normal(pin.split("==")[0]) for pin in pins}
    extras = project["optional-dependencies"]
    for entry in [*project["dependencies"], *extras["test"], *extras["dev"]]:
        name = normal(re.split(r"[\[<>=]", entry)[0])
        assert name in pinned | {"augmint"}, f"{name} has no pin in constraints.txt"


def normal(name: str) -> str:
    """Return a package's name in the form in which names are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_versions_agree() -> None:
    from augmint import __version__

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__
    assert f"version: {__version__}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_example_network_is_accepted() -> None:
    from augmint.tasks.user_model import load_user_network

    example = ROOT / "examples" / "user_model.py"
    for shape in ((1, 8, 8), (3, 20, 33)):
        network = load_user_network(f"{example}:make_net", shape, outputs=7)
        assert sum(p.numel() for p in network.parameters()) > 0


def test_example_configuration_of_hooks_fetches_nothing() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"repo:\s*(\S+)", text) == ["local"]


def test_package_carries_what_it_needs() -> None:
    assert importlib.util.find_spec("augmint") is not None
    package = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "setuptools"
    ]
    carried = json.dumps(package["package-data"])
    for path in (ROOT / "augmint").rglob("*"):
        if path.is_file() and path.suffix not in {".py", ".pyc"}:
            assert path.suffix in carried or path.name in carried, path

"""What the documents say is so: commands exist with their options, links lead somewhere, code runs.

Code of the pages under `docs/adding` is executed, page by page; all other Python must compile, all
shell must parse. What `docs/hooks.py` generates is checked like what is written.
"""

from __future__ import annotations

import doctest
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from augmint.core.registry import RECIPES

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
ADDING = sorted((DOCS / "adding").glob("*.md"))
ids = [str(p.relative_to(ROOT)) for p in DOCUMENTS]


def hooks() -> ModuleType:
    """Return the module that generates parts of the site; mkdocs is not needed for that."""
    specification = importlib.util.spec_from_file_location("docs_hooks", DOCS / "hooks.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def texts() -> dict[Path, str]:
    """Every document as the reader sees it: what is generated filled in."""
    filled = hooks().filled
    return {p: filled(p.read_text(encoding="utf-8")) for p in DOCUMENTS}


def blocks(text: str, language: str) -> list[str]:
    """Return the blocks of code of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[list[str]]:
    """Return every `augmint VERB …` that stands in code, split into words."""
    code = re.findall(r"^```(?:sh|text)?\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in code for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`(augmint [^`\n]+)`", text)
    found = [line.split("#")[0].strip() for line in lines]
    return [shlex.split(line)[1:] for line in found if line.startswith("augmint ")]


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_commands_exist(path: Path, texts: dict[Path, str]) -> None:
    from augmint.cli import VERBS

    for words in commands(texts[path]):
        verb = words[0]
        if verb in ("--help", "--version", "VERB"):
            continue
        assert verb in VERBS, f"augmint {' '.join(words)}"
        known = {option.flags for option in VERBS[verb].options} | {"--help"}
        used = {word.split("=")[0] for word in words if word.startswith("--")}
        assert used <= known, f"augmint {verb} has no {sorted(used - known)}"
        given = dict(pairwise(words))
        for option in VERBS[verb].options:
            if option.choices and option.flags in given:
                assert given[option.flags] in option.choices, f"augmint {' '.join(words)}"
        if verb == "run" and words[1:] and words[1].islower():
            variants = RECIPES.get(words[1]).variants
            assert given.get("--variant", variants[0]) in variants, f"augmint {' '.join(words)}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_links_lead_somewhere(path: Path, texts: dict[Path, str]) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", texts[path]):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{target} is missing"


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_code_parses(path: Path, texts: dict[Path, str]) -> None:
    for block in blocks(texts[path], "python"):
        compile(block, str(path), "exec")
    shell = shutil.which("sh")
    for block in blocks(texts[path], "sh") if shell else []:
        done = subprocess.run([shell or "sh", "-n"], input=block, text=True, capture_output=True)
        assert done.returncode == 0, f"{done.stderr}\n{block}"
    known = {"python", "pycon", "sh", "text", "yaml", "html"}
    used = set(re.findall(r"^```(\S+)$", texts[path], flags=re.MULTILINE))
    assert used <= known, f"a block of {used - known} is checked by nothing"


@pytest.fixture
def module_of_a_page(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The names of a module that goes away again, and with it all that it registered."""
    from augmint.core.registry import AXES

    before = {axis: dict(registry._members) for axis, registry in AXES.items()}
    module = ModuleType("page_of_the_documents")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    yield vars(module)
    for axis, registry in AXES.items():
        for name in set(registry._members) - set(before[axis]):
            if registry._members[name].__module__ == module.__name__:
                del registry._members[name]


@pytest.mark.parametrize("path", ADDING, ids=[p.stem for p in ADDING])
def test_examples_run(
    path: Path,
    module_of_a_page: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUGMINT_QUIET", "1")
    text = path.read_text(encoding="utf-8")
    for block in blocks(text, "python"):
        exec(compile(block, str(path), "exec"), module_of_a_page)
    examples = doctest.DocTestParser().get_doctest(
        "\n".join(blocks(text, "pycon")), module_of_a_page, path.stem, str(path), 0
    )
    runner = doctest.DocTestRunner(verbose=False)
    said: list[str] = []
    result = runner.run(examples, out=said.append, clear_globs=False)
    assert not result.failed, "".join(said)
    assert path.stem == "index" or result.attempted, "no example"


def test_every_axis_verb_and_variant_is_documented(texts: dict[Path, str]) -> None:
    from augmint.cli import VERBS
    from augmint.core.registry import AXES

    assert {p.stem for p in ADDING} == {"index", *AXES}
    overview = texts[DOCS / "adding" / "index.md"]
    variants, commands_page = (
        texts[DOCS / "reference" / f"{name}.md"] for name in ("variants", "commands")
    )
    for axis, registry in AXES.items():
        assert f"({axis}.md)" in overview, axis
        for entry in registry.entries.values():
            assert f"{{ #{axis}-{entry.name} }}" in variants, (axis, entry.name)
            assert entry.summary, (axis, entry.name)
    for name, verb in VERBS.items():
        assert f"## augmint {name}\n" in commands_page
        section = commands_page.split(f"## augmint {name}\n")[1].split("\n## ")[0]
        for option in verb.options:
            assert f"`{option.flags}" in section, (name, option.flags)


def test_every_field_is_explained(texts: dict[Path, str]) -> None:
    for name in ("variants", "settings"):
        lines = texts[DOCS / "reference" / f"{name}.md"].splitlines()
        silent = [line for line in lines if line.startswith("| `") and line.endswith("| – |")]
        assert not silent, f"say what they mean under Args of the docstring: {silent}"


def test_help_is_for_people() -> None:
    from augmint.cli import VERBS, build_parser

    parser = build_parser()
    for action in parser._actions:
        for name, verb in (getattr(action, "choices", None) or {}).items():
            if name in VERBS:
                text = verb.format_help()
                assert "<" not in text.split("examples:")[0], f"{name} shows something of Python's"


def test_messages_explained_are_messages_printed() -> None:
    """The headings of the page on refusals are rules that stand in the source."""
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8").split("\n## The answer")[0]
    source = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "augmint").rglob("*.py"))
    whole = re.sub(r'"\n\s*f?"', "", source)  # sentences that go on in a second literal
    headings = re.findall(r"^### (.*)$", text, flags=re.MULTILINE)
    assert len(headings) > 10
    for heading in headings:
        assert heading in whole, heading


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
    for entry in [*project["dependencies"], *extras["test"], *extras["docs"], *extras["dev"]]:
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

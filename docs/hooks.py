"""What the site shows that is generated, so that it cannot go stale.

A page holds a line `<!-- generated: NAME -->` or `<!-- generated: NAME ARGUMENT -->`; building the
site puts in its place what the function NAME below returns. mkdocs calls `on_page_markdown`; all
other functions run without mkdocs, and the tests call them.
"""

from __future__ import annotations

import base64
import dataclasses
import html
import inspect
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MARK = re.compile(r"^<!-- generated: (\w+)(?: (\S+))? -->$", flags=re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page with its marks filled in (called by mkdocs for every page)."""
    return filled(markdown)


def filled(markdown: str) -> str:
    """Return Markdown with every mark replaced by what it names."""
    return MARK.sub(lambda m: GENERATED[m[1]](*([m[2]] if m[2] else [])), markdown)


# the command line -------------------------------------------------------------------------------


def commands() -> str:
    """Return a section for every verb: what it does, its options, examples."""
    from augmint.cli import OPTIONAL_OUT, REQUIRED, VERBS

    parts = []
    for name, verb in VERBS.items():
        rows = []
        for option in verb.options:
            word = option.flags
            needed = not word.startswith("--") and option.action != "optional"
            needed |= word in REQUIRED and name not in OPTIONAL_OUT
            value = "|".join(option.choices) if option.choices else option.metavar
            value = value if word.startswith("--") and option.action != "store_true" else None
            shown = f"`{word} {value}`" if value else f"`{word}`"
            default = "required" if needed else _shown(option.default or None)
            rows.append((shown, _cell(option.help), default))
        parts.append(
            f"## augmint {name}\n\n{verb.help[0].upper()}{verb.help[1:]}.\n\n"
            + _table(("option", "what it says", "default"), rows)
            + f"\n\n```sh\n{verb.examples}\n```\n"
            + (f"\n{_prose(verb.notes)}\n" if verb.notes else "")
        )
    return "\n".join(parts)


# variants and settings --------------------------------------------------------------------------


def variants() -> str:
    """Return a section for every axis: its members, their fields with defaults, their sources."""
    from augmint.core.registry import AXES

    parts = []
    for plural, registry in AXES.items():
        parts.append(f"## {plural}\n")
        place = f"Code: `{registry.package}`."
        parts.append(f"{place} How to add one: [here](../adding/{plural}.md).\n")
        if not registry.entries:
            parts.append("None yet.\n")
        for entry in registry.entries.values():
            member = registry.get(entry.name)
            text = inspect.getdoc(member) or ""
            title = f"### {entry.name} {{ #{plural}-{entry.name} }}"
            parts.append(f"{title}\n\n{_prose(entry.summary)}\n")
            rows = fields(member)
            if rows:
                parts.append(_table(("field", "default", "meaning"), rows) + "\n")
            source = sources(text)
            parts.append(f"Source: {source}\n" if source else "")
    return "\n".join(parts)


def settings() -> str:
    """Return the tables of every field that `--set` reaches, those of nested parts too."""
    from augmint.studies.study import StudyConfig

    parts = []
    for prefix, kind in _nested(StudyConfig, ""):
        text = inspect.getdoc(kind) or ""
        rows = [row for row in fields(kind, prefix) if row[1] != "its own table"]
        title = f"`{prefix}…`" if prefix else "The study"
        first = _prose(text.split("\n\n")[0])
        parts.append(f"## {title}\n\n{first}\n\n{_table(('field', 'default', 'meaning'), rows)}\n")
    return "\n".join(parts)


def _nested(kind: type, prefix: str) -> Iterator[tuple[str, type]]:
    """Yield a configuration and those that it holds, each with its dotted prefix."""
    yield prefix, kind
    for field in dataclasses.fields(kind):
        made = None if field.default_factory is dataclasses.MISSING else field.default_factory()
        if dataclasses.is_dataclass(made):
            yield from _nested(type(made), f"{prefix}{field.name}.")


def presets() -> str:
    """Return what each preset sets: seeds, arms and budgets."""
    from augmint.core.config import build
    from augmint.studies.study import PRESETS, StudyConfig

    rows = []
    for name, said in PRESETS.items():
        study = build(StudyConfig, {**said, "data": "photos/"}, "preset")
        arms = ", ".join(f"`{arm}`" for arm in study.arms)
        steps = f"{study.generator.steps:,}".replace(",", " ")
        rows.append((f"`{name}`", str(study.seeds), str(study.task.steps), steps, arms))
    head = ("preset", "seeds", "steps of the network", "of the generator", "arms")
    return _table(head, rows)


def fields(kind: type, prefix: str = "") -> list[tuple[str, str, str]]:
    """Return name, default and meaning of a dataclass's fields,
    from its and its bases' docstrings."""
    meanings: dict[str, str] = {}
    for base in reversed(getattr(kind, "__mro__", ())):
        meanings |= dict(described(inspect.cleandoc(base.__doc__ or ""), "Args"))
    if not dataclasses.is_dataclass(kind):
        return []
    rows = []
    for field in dataclasses.fields(kind):
        if not field.init:
            continue
        if field.default is not dataclasses.MISSING:
            default = _shown(field.default)
        elif field.default_factory is dataclasses.MISSING:
            default = "required"
        else:
            made = field.default_factory()
            default = "its own table" if dataclasses.is_dataclass(made) else _shown(made)
        rows.append((f"`{prefix}{field.name}`", default, _cell(meanings.get(field.name, ""))))
    return rows


def sources(text: str) -> str:
    """Return the sentences of a docstring that name a publication or where it comes from."""
    joined = " ".join(text.split("Example:")[0].split())
    if found := re.search(r"\bSource: (.*?)(?= (?:Args|Raises|Returns):|$)", joined):
        return _prose(found[1])
    cited = re.findall(r"\(([^()]*\b(?:19|20)\d\d\b[^()]*)\)", joined)
    return _prose("; ".join(dict.fromkeys(cited)))


# the Python interface ---------------------------------------------------------------------------


def interface(name: str) -> str:
    """Return the reference of the public functions and classes of one module."""
    module = __import__(name, fromlist=["_"])
    parts = []
    for public in getattr(module, "__all__", None) or _own(module):
        value = getattr(module, public)
        if not callable(value) or public.startswith("_"):
            continue
        parts.append(f"### {name}.{public}\n\n```text\n{_signature(value, public)}\n```\n")
        parts.append(docstring(inspect.getdoc(value) or ""))
    return "\n".join(parts)


def docstring(text: str) -> str:
    """Return a docstring's sections as Markdown."""
    parts = re.split(r"^(Args|Returns|Yields|Raises|Example):\n", text, flags=re.MULTILINE)
    shown = [_prose(parts[0].strip()) + "\n"]
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        if title == "Example":
            example = inspect.cleandoc(body).replace("  # doctest: +SKIP", "")
            shown.append(f"```pycon\n{example}\n```\n")
            continue
        rows = described(f"{title}:\n{body}", title)
        lines = [f"- `{name}`: {_prose(meaning)}" for name, meaning in rows]
        listed = "\n".join(lines) or _prose(inspect.cleandoc(body))
        shown.append(f"**{title}**\n\n{listed}\n")
    return "\n".join(shown)


def described(text: str, section: str) -> list[tuple[str, str]]:
    """Return the names and meanings that a docstring's section lists.

    Example:
        >>> text = "Says it.\\n\\nArgs:\\n    a: one,\\n        and more.\\n    b: two.\\n"
        >>> described(text, "Args")
        [('a', 'one, and more.'), ('b', 'two.')]
    """
    found = re.search(rf"^{section}:\n((?:[ \t]+.*\n?|\n)+)", text, flags=re.MULTILINE)
    rows: list[tuple[str, str]] = []
    named = 0  # names that the last entry explains at once
    for line in inspect.cleandoc(found[1]).splitlines() if found else []:
        match = re.match(r"([*\w]+(?:, \w+)*): (.*)", line)
        if match:
            rows += [(name, match[2]) for name in match[1].split(", ")]
            named = len(match[1].split(", "))
        elif rows and line.strip():
            for i in range(-named, 0):
                rows[i] = (rows[i][0], f"{rows[i][1]} {line.strip()}")
    return rows


# files --------------------------------------------------------------------------------------------


def page(path: str) -> str:
    """Return a Markdown file of the root, without its title (the page has its own)."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return re.sub(r"\A# .*\n", "", text)


def code(path: str) -> str:
    """Return a file as a block of code."""
    text = (ROOT / path).read_text(encoding="utf-8").rstrip()
    return f"```{Path(path).suffix[1:].replace('py', 'python')}\n{text}\n```"


def notebook(path: str) -> str:
    """Return a notebook as Markdown: prose, code, and the outputs that it keeps."""
    cells = json.loads((ROOT / path).read_text(encoding="utf-8"))["cells"]
    return "\n\n".join(part for cell in cells for part in _cell_parts(cell))


def _cell_parts(cell: dict[str, Any]) -> list[str]:
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [text]
    parts = [f"```python\n{text}\n```"]
    for output in cell["outputs"]:
        data = output.get("data", {})
        if "image/png" in data:
            picture = base64.b64encode(base64.b64decode("".join(data["image/png"]))).decode()
            parts.append(f'<img alt="output" src="data:image/png;base64,{picture}">')
        else:
            said = "".join(output.get("text") or data.get("text/plain", ""))
            parts.append(f"```text\n{said.rstrip()}\n```")
    return parts


# small things -------------------------------------------------------------------------------------


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _shown(value: Any) -> str:
    """Return a default as it is written in a configuration; a dash where there is none."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    plain = list(value) if isinstance(value, tuple) else value
    return "`" + (plain if isinstance(plain, str) else json.dumps(plain, default=str)) + "`"


def _prose(text: str) -> str:
    """Return a docstring's text with what Markdown would take for markup escaped, code excepted."""
    pieces = re.split(r"(`[^`]*`)", text)
    escaped = [
        p if p.startswith("`") else re.sub(r"([*_|\[\]])", r"\\\1", html.escape(p, quote=False))
        for p in pieces
    ]
    return "".join(escaped)


def _cell(text: str) -> str:
    return _prose(" ".join(text.split())) or "–"


def _own(module: Any) -> list[str]:
    members = vars(module).items()
    return [n for n, v in members if getattr(v, "__module__", "") == module.__name__]


def _signature(value: Any, name: str) -> str:
    signature = inspect.signature(value)
    shown = []
    for parameter in signature.parameters.values():
        kind = parameter.annotation
        text = parameter.name if kind is inspect.Parameter.empty else f"{parameter.name}: {kind}"
        given = parameter.default is not inspect.Parameter.empty
        shown.append(f"{text} = {parameter.default!r}" if given else text)
    result = signature.return_annotation
    arrow = "" if result is inspect.Signature.empty else f" -> {result}"
    inner = ",\n    ".join(shown)
    return f"{name}(\n    {inner},\n){arrow}" if inner else f"{name}(){arrow}"


GENERATED: dict[str, Callable[..., str]] = {
    "commands": commands,
    "variants": variants,
    "settings": settings,
    "presets": presets,
    "interface": interface,
    "page": page,
    "code": code,
    "notebook": notebook,
}
"""What a mark may name."""

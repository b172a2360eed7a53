"""Writes a study's report, or a recipe's result, as one HTML file that needs no network.

The page holds its style sheet, charts and pictures; its content security policy forbids anything
else. All text is escaped. Every section is optional: a missing number is an en dash, a missing
section is left out, and nothing that a report lacks can stop it from being written.
"""

from __future__ import annotations

import base64
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augmint.core.config import to_plain

if TYPE_CHECKING:
    from jinja2 import Environment

Report = Mapping[str, Any]
Pictures = Mapping[str, bytes]


@dataclass(frozen=True)
class Verdict:
    """How a verdict is shown: its word, a sign that needs no colour, the style's name."""

    word: str
    sign: str
    style: str


VERDICTS = {
    "helps": Verdict("Helps", "▲", "helps"),
    "hurts": Verdict("Hurts", "▼", "hurts"),
    "no practical difference": Verdict("No practical difference", "=", "even"),
    "inconclusive": Verdict("Inconclusive", "?", "inconclusive"),
}
ALARM = 0.01
"""Below this p more minted images are flagged as copies than chance explains."""

NO_VERDICT = Verdict("No verdict", "–", "even")


@dataclass(frozen=True)
class Picture:
    """A picture inside the page: data URI, size in CSS pixels, and whether pixels stay square."""

    uri: str
    width: int
    height: int
    style: str


@dataclass(frozen=True)
class Glance:
    """One line of the summary, and the section that it leads to."""

    id: str
    name: str
    text: str


@dataclass(frozen=True)
class Part:
    """A table of scores of parts of the answer, every row once for each arm.

    Args:
        name: what they have in common.
        columns: of the table, each to its unit or an empty text.
        rows: by class ("" where there is none), column to the name of the score.
    """

    name: str
    columns: dict[str, str]
    rows: dict[str, dict[str, str]]


def render(report: Report, pictures: Pictures) -> str:
    """Return a study's report as one self-contained HTML page.

    Args:
        report: the study's numbers and texts, JSON-able; every key is optional.
        pictures: PNG bytes by name: "real", "minted", "pairs", "progress", "flagged", "planted".

    Example:
        >>> page = render({"verdict": "helps", "sentence": "It helps."}, {})
        >>> "<h1>" in page and "http" not in page.split("</head>")[1]
        True
    """
    return _page("page.html.j2", report, pictures, {})


def render_evaluation(report: Report, pictures: Pictures) -> str:
    """Return a comparison of minted with real images as one self-contained HTML page.

    It has the sections of a study that explain, and none that decides.

    Args:
        report: as for `render`, with `sentence` and `facts` (name to words).
        pictures: PNG bytes by name: "real", "minted", "pairs", "flagged".
    """
    titles = {"verdict": "Summary", "pairs": "Nearest real images", "data": "Data"}
    return _page("evaluation.html.j2", report, pictures, titles)


def page(template: str, pictures: Pictures, **told: Any) -> str:
    """Return a page of its own: the style sheet and embedded pictures are added to what is told."""
    embedded = _embed(pictures)
    return _environment().get_template(template).render(css=_css(), pictures=embedded, **told)


def render_check(report: Report, pictures: Pictures) -> str:
    """Return what the check of a data set found as one self-contained HTML page.

    Args:
        report: what `check.json` holds.
        pictures: PNG bytes by the name of their section.
    """
    from augmint.studies.report.formats import visible

    shown = visible(to_json(report))
    there = {k for k, v in (shown | _as_mapping(shown.get("files"))).items() if v}
    contents = {id: title for id, title, key in CHECKED if key is None or key in there}
    return (
        _environment()
        .get_template("check.html.j2")
        .render(r=shown, css=_css(), contents=contents, pictures=_embed(pictures, 1))
    )


def _page(template: str, report: Report, pictures: Pictures, titles: Mapping[str, str]) -> str:
    from augmint.studies.report.formats import visible
    from augmint.studies.report.plots import charts

    shown = visible(to_json(report))
    embedded = _embed(pictures)
    found = _contents(shown, embedded)
    contents = found | {k: v for k, v in titles.items() if k in found}
    return (
        _environment()
        .get_template(template)
        .render(
            r=shown,
            css=_css(),
            contents=contents,
            verdict=VERDICTS.get(str(shown.get("verdict")), NO_VERDICT),
            cautions=_cautions(shown),
            alarm=_alarming(_as_mapping(shown.get("copying"))),
            glance=[g for g in _glance(shown) if g.id in contents],
            charts=charts(shown),
            places=_places(shown),
            secondary=[k for k in _secondary(shown) if "." not in k],
            parts=_parts(shown),
            recognised=_recognised(shown),
            diversity=_diversity(shown),
            cost_shares=_cost_shares(shown),
            pictures=embedded,
        )
    )


def render_recipe(
    result: Report, pictures: Pictures, files: Mapping[str, str] | None = None
) -> str:
    """Return a recipe's result as one self-contained HTML page.

    Args:
        result: `recipe`, `title`, `source`, `variant`, `debug`, `metrics` (name to value),
            `expected` (name to value or words), `protocols`, `deviations`, `warnings`, `seconds`,
            `command`, `config_yaml`, `machine`, `details`; every key is optional.
        pictures: PNG bytes by name, shown in their order.
        files: texts by file name; tables (.txt) and drawings (.svg) are shown.
    """
    from augmint.studies.report.formats import visible

    shown = visible(to_json(result))
    embedded = _embed(pictures)
    tables = {n: visible(text) for n, text in (files or {}).items() if n.endswith(".txt")}
    drawings = {
        name.removesuffix(".svg"): "data:image/svg+xml;base64,"
        + base64.b64encode(text.encode()).decode("ascii")
        for name, text in (files or {}).items()
        if name.endswith(".svg")
    }
    metrics, expected, protocols = (
        _as_mapping(shown.get(k)) for k in ("metrics", "expected", "protocols")
    )
    deviations = shown.get("deviations") or []
    names = list(dict.fromkeys([*metrics, *expected]))
    rows = [
        {
            "name": n,
            "value": metrics.get(n),
            "expected": expected.get(n),
            "protocol": protocols.get(n),
        }
        for n in names
    ]
    present = {
        "result": ("Result", True),
        "numbers": ("Numbers", bool(names)),
        "tables": ("Tables", bool(tables)),
        "drawings": ("Drawings", bool(drawings)),
        "pictures": ("Pictures", bool(embedded)),
        "deviations": ("Where it leaves its source", bool(shown.get("deviations"))),
        "repeat": ("To repeat it", _any(shown, "command", "config_yaml", "machine")),
    }
    return (
        _environment()
        .get_template("recipe.html.j2")
        .render(
            r=shown,
            css=_css(),
            contents={key: name for key, (name, there) in present.items() if there},
            rows=rows,
            warnings=[w for w in shown.get("warnings") or [] if w not in deviations],
            has_expected=bool(expected),
            tables=tables,
            drawings=drawings,
            told=_as_mapping(shown.get("details")).get("sentence"),
            pictures=embedded,
        )
    )


def write_report(folder: Path, report: Report, pictures: Pictures) -> Path:
    """Write `report.html` and `report.json`, with the same numbers, and return the page's path."""
    return write_page(Path(folder), "report", render(report, pictures), report)


def to_json(value: Any) -> Any:
    """Return `value` as JSON data: arrays as lists, numbers that are not finite as None.

    Example:
        >>> to_json({"a": (1, float("nan")), 2: Path("x")})
        {'a': [1, None], '2': 'x'}
    """
    value = to_plain(value)
    if isinstance(value, Mapping):
        return {to_json(str(k)): to_json(v) for k, v in value.items()}
    if isinstance(value, list):
        return [to_json(v) for v in value]
    if hasattr(value, "tolist"):  # NumPy arrays and scalars
        return to_json(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return value if isinstance(value, bool | int) or value is None else str(value)


def write_page(
    folder: Path, name: str, page: str, report: Report, pictures: Pictures | None = None
) -> Path:
    """Write a page beside its numbers: `NAME.html`, `NAME.json` and `pictures/`.

    Args:
        folder: made if missing.
        name: of both files.
        page: HTML.
        report: what the page shows, as `to_json` takes it.
        pictures: PNG bytes by name; None leaves the folder's own.

    Returns:
        The page's path.
    """
    from augmint.core.runs import write_atomic, write_json

    for picture, content in (pictures or {}).items():
        write_atomic(folder / "pictures" / f"{picture}.png", content)
    write_json(folder / f"{name}.json", to_json(report))
    write_atomic(folder / f"{name}.html", page)
    return folder / f"{name}.html"


@functools.cache
def _environment() -> Environment:
    from jinja2 import ChainableUndefined, Environment, FileSystemLoader

    from augmint.studies.report.formats import FILTERS, MISSING

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: (
            MISSING if value is None or isinstance(value, ChainableUndefined) else value
        ),
    )
    environment.filters.update(FILTERS)
    return environment


@functools.cache
def _css() -> Any:
    from markupsafe import Markup

    return Markup((Path(__file__).parent / "style.css").read_text(encoding="utf-8"))


def _any(report: Report, *keys: str) -> bool:
    return any(report.get(k) for k in keys)


def _as_mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


SECTIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("arms", "Arms", ("arms", "arms_left_out")),
    ("controls", "Controls", ("controls",)),
    ("classes", "Per class", ("per_class",)),
    ("tail", "Rare classes", ("long_tail",)),
    ("gap", "Inside and outside the gap", ("gap",)),
    ("grid", "Levels and ratios", ("grid",)),
    ("worth", "Worth in real images", ("equivalent",)),
    ("pictures", "Real and minted", ("@real", "@minted", "@progress")),
    ("pairs", "Nearest training images", ("@pairs",)),
    ("labels", "Label truth", ("label_truth",)),
    ("annotations", "Annotations", ("annotations",)),
    ("distribution", "Distribution and diversity", ("distribution", "diversity")),
    ("copying", "Copying", ("copying", "@flagged", "@planted")),
    ("curation", "Curation", ("curation",)),
    ("generator", "Generator", ("generator",)),
    ("cost", "Cost", ("cost", "seconds")),
    ("power", "Power", ("power",)),
    ("policy", "Choice of the classic policy", ("policy",)),
    ("tuning", "Tuning", ("tuning",)),
    ("data", "Data and network", ("data", "network", "check")),
    ("repeat", "To repeat it", ("command", "config_yaml", "machine", "test_openings")),
    ("warnings", "Warnings", ("warnings",)),
)
"""Sections in the page's order: id, title, and the keys (pictures with @) one of which it needs."""


CHECKED: tuple[tuple[str, str, str | None], ...] = (
    ("summary", "Summary", None),
    ("across", "In two parts", "exact_across"),
    ("near", "Nearly the same, across parts", "near_files"),
    ("conflicts", "Under different labels", "conflicts"),
    ("repeats", "Repeated within a part", "exact_within"),
    ("constant", "Of one colour", "constant"),
    ("unread", "Files not read", "quarantined"),
    ("classes", "Images of each class", None),
    ("repeat", "How it was done", None),
)
"""Sections of a check: id, title, and the key that it needs, if any."""


def _contents(report: Report, pictures: Mapping[str, Picture]) -> dict[str, str]:
    there = {k for k, v in report.items() if v} | {f"@{k}" for k in pictures}
    found = {id: title for id, title, keys in SECTIONS if there.intersection(keys)}
    return {"verdict": "Verdict", **found}


def _cautions(report: Report) -> list[str]:
    found = [
        f"The control “{c.get('name')}” failed: it {c.get('expectation') or 'surprised'}, "
        "and did not behave so. The verdict may rest on a fault of the study."
        for c in report.get("controls") or []
        if c.get("passed") is False
    ]
    copying = _as_mapping(report.get("copying"))
    if _alarming(copying):
        flagged = copying.get("flagged")
        found.append(
            f"More minted images ({flagged}) than chance explains lie close to training images."
        )
    elif copying and not copying.get("assessed"):
        found.append("Copying was not assessed: the detector missed too many planted copies.")
    return found


def _alarming(copying: Mapping[str, Any]) -> bool:
    # a few flags are expected by chance; where that was tested, the test says whether to warn
    chance = copying.get("p")
    return chance < ALARM if isinstance(chance, int | float) else bool(copying.get("flagged"))


def _glance(report: Report) -> list[Glance]:
    makers: Sequence[tuple[str, str, Callable[[Report], str | None]]] = (
        ("controls", "Controls", _controls_text),
        ("worth", "Worth", _worth_text),
        ("labels", "Label truth", _labels_text),
        ("copying", "Copying", _copying_text),
        ("power", "Power", _power_text),
        ("cost", "Cost", _cost_text),
        ("warnings", "Warnings", lambda r: f"{len(r['warnings'])}" if r.get("warnings") else None),
    )
    made = ((id, name, make(report)) for id, name, make in makers)
    return [Glance(id, name, text) for id, name, text in made if text]


def _controls_text(report: Report) -> str | None:
    controls = report.get("controls") or []
    judged = [c for c in controls if isinstance(c.get("passed"), bool)]
    if not controls:
        return None
    failed = [str(c.get("name")) for c in judged if not c["passed"]]
    if failed:
        return f"✕ failed: {', '.join(failed)}"
    return f"✓ {len(judged)} of {len(controls)} assessed, all as expected"


def _worth_text(report: Report) -> str | None:
    from augmint.studies.report.formats import number

    equivalent = _as_mapping(report.get("equivalent"))
    if not equivalent:
        return None
    if not equivalent.get("assessed"):
        return "not assessed"
    return number(equivalent.get("images"), 0) + " more real images a class"


def _labels_text(report: Report) -> str | None:
    from markupsafe import Markup

    from augmint.studies.report.formats import percent

    rows = report.get("label_truth") or []
    if not rows:
        return None
    if _recognised(report):
        return percent(rows[0].get("value")) + " of minted images carry their label"
    aspect = _as_mapping(report.get("claims")).get("aspect")
    share = percent(rows[0].get("value"))
    told = Markup("{} of minted images against their {}: {}")
    return told.format(report.get("metric"), aspect, share)


def _recognised(report: Report) -> bool:
    """Whether what images claim is a class, which a judge agrees with or not."""
    return bool(_as_mapping(report.get("claims")).get("recognised", True))


def _copying_text(report: Report) -> str | None:
    from augmint.studies.report.formats import count, percent

    copying = _as_mapping(report.get("copying"))
    if not copying:
        return None
    if not copying.get("assessed") and not _alarming(copying):
        return "not assessed; planted copies found: " + percent(copying.get("recall"))
    found = count(copying.get("flagged")) + " minted images flagged"
    return found + "; planted copies found: " + percent(copying.get("recall"))


def _power_text(report: Report) -> str | None:
    from augmint.studies.report.formats import is_number, number

    mde = _as_mapping(report.get("power")).get("mde")
    if not is_number(mde):
        return None
    return "could detect a difference of " + number(mde, 2) + f" {report.get('unit') or 'points'}"


def _cost_text(report: Report) -> str | None:
    from augmint.studies.report.formats import duration, is_number

    seconds = report.get("seconds")
    return duration(seconds) + " of computing" if is_number(seconds) else None


def _places(report: Report) -> int:
    # scores in points of 0…100 need two decimals, scores in 0…1 four
    arms = _as_mapping(report.get("arms")).values()
    means = [_as_mapping(a).get("mean") for a in arms]
    numbers = [abs(m) for m in means if isinstance(m, int | float)]
    return 4 if numbers and max(numbers) <= 1.5 else 2


def _secondary(report: Report) -> list[str]:
    arms = _as_mapping(report.get("arms")).values()
    return list(
        dict.fromkeys(k for a in arms for k in _as_mapping(_as_mapping(a).get("secondary")))
    )


def _parts(report: Report) -> list[Part]:
    """Return a table for each first word of dotted scores: `mae.yaw`, `nine.iris.mcc`."""
    units = _as_mapping(report.get("units"))
    found: dict[str, Part] = {}
    for key in _secondary(report):
        head, dot, rest = key.partition(".")
        row, _, column = rest.rpartition(".")
        if dot:
            table = found.setdefault(head, Part(head, {}, {}))
            table.columns[column] = units.get(key, "")
            table.rows.setdefault(row, {})[column] = key
    return list(found.values())


def _diversity(report: Report) -> list[str]:
    sides = _as_mapping(report.get("diversity"))
    found = (k for side in ("within", "between") for k in _as_mapping(sides.get(side)))
    return list(dict.fromkeys(found))


def _cost_shares(report: Report) -> list[float | None]:
    seconds = [_as_mapping(row).get("seconds") for row in report.get("cost") or []]
    total = sum(s for s in seconds if isinstance(s, int | float))
    return [s / total if isinstance(s, int | float) and total > 0 else None for s in seconds]


def _embed(pictures: Pictures, largest: int = 8) -> dict[str, Picture]:
    named = ((str(name), content) for name, content in pictures.items() if content)
    made = ((name, _picture(content, largest=largest)) for name, content in named)
    return {name: picture for name, picture in made if picture}


def _picture(content: bytes, target: int = 640, largest: int = 8) -> Picture | None:
    # the header of a PNG: signature (8), length (4), "IHDR" (4), width (4), height (4)
    if content[:8] != b"\x89PNG\r\n\x1a\n" or len(content) < 24:
        return None
    width, height = (int.from_bytes(content[i : i + 4], "big") for i in (16, 20))
    scale = max(1, min(largest, target // max(width, 1)))
    uri = "data:image/png;base64," + base64.b64encode(content).decode("ascii")
    return Picture(uri, width * scale, height * scale, "pixels" if scale > 1 else "photo")

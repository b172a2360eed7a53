"""How numbers, times and names are written in a report: the filters of its templates.

Every number is wrapped as `<data value="…">`, whose value is the exact number of `report.json`;
what a reader sees is rounded. A missing value (None, undefined, not finite) is an en dash.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeGuard

from markupsafe import Markup

from augmint.core.progress import span

MISSING = "–"
"""What stands where a value is missing."""

_NAMES = {
    "nll": "NLL",
    "ece": "ECE",
    "macro_f1": "Macro F1",
    "pck_05": "PCK at 0.05",
    "pck_10": "PCK at 0.1",
    "auc": "AUC",
    "nme": "NME",
    "mae": "MAE",
    "rmse": "RMSE",
    "npv": "NPV",
    "f1": "F1",
    "mcc": "MCC",
    "fpr": "FPR",
    "fnr": "FNR",
    "miou": "mIoU",
    "pooled_miou": "mIoU, pixels pooled",
    "kid": "KID",
    "frechet": "Fréchet distance",
    "jpeg": "JPEG",
    "n": "n",
    "mde": "Smallest detectable difference",
    "cpu": "CPU",
    "gpu": "GPU",
    "id": "ID",
}
_THIN = "\u202f"


def is_number(value: object) -> TypeGuard[float]:
    """Return whether `value` is a finite number and not a truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _data(value: float, text: str) -> Markup:
    # json.dumps writes the shortest text that reads back as the same number
    return Markup('<data value="{}">{}</data>').format(json.dumps(value), text)


def decimals(value: float, places: int | None) -> str:
    """Write a number with `places` decimals, or with as many as its size asks for.

    Example:
        >>> decimals(-93.4567, None), decimals(0.01234, None), decimals(0.00000123, None)
        ('−93.46', '0.0123', '1.23e−06')
    """
    size = abs(value)
    if places is None:
        places = 0 if isinstance(value, int) else 4 if size < 0.1 else 3 if size < 1.5 else 2
    if isinstance(value, int) and size >= 2**53:
        return f"{value}"  # a seed: no float holds it, and its digits are not read in thousands
    text = f"{value:.2e}" if 0 < size < 0.5 * 10.0**-places else f"{value:,.{places}f}"
    text = text.replace(",", _THIN).replace("-", "−")
    return text.removeprefix("−") if not any(c in "123456789" for c in text) else text


def number(value: Any, places: int | None = None) -> str:
    """Write a number; the default number of decimals follows its size."""
    return _data(value, decimals(value, places)) if is_number(value) else MISSING


def signed(value: Any, places: int = 2) -> str:
    """Write a difference with its sign, as `+1.20` or `−0.35`; what rounds to nothing is `0.00`.

    Example:
        >>> str(signed(0.0013)), str(signed(-1.5))
        ('<data value="0.0013">0.00</data>', '<data value="-1.5">−1.50</data>')
    """
    if not is_number(value):
        return MISSING
    shown = round(float(value), places)
    text = decimals(shown, places)
    return _data(value, f"+{text}" if shown > 0 else text)


def count(value: Any) -> str:
    """Write a count with thin spaces between thousands."""
    return _data(value, decimals(value, 0)) if is_number(value) else MISSING


def views(value: Any) -> str:
    """Write how often each image is seen: one decimal below 10, none above."""
    return number(value, 1 if is_number(value) and value < 10 else 0)


def percent(value: Any) -> str:
    """Write a share in 0…1 as a percentage with one decimal.

    Example:
        >>> str(percent(0.9412))
        '<data value="0.9412">94.1 %</data>'
    """
    return _data(value, f"{decimals(100.0 * value, 1)} %") if is_number(value) else MISSING


def p_value(value: Any) -> str:
    """Write a p value: three decimals, or `< 0.001`."""
    if not is_number(value):
        return MISSING
    return _data(value, "< 0.001" if value < 0.001 else f"{value:.3f}")


def duration(value: Any) -> str:
    """Write a duration given in seconds."""
    return _data(value, span(value)) if is_number(value) else MISSING


def bar(value: Any) -> str:
    """Draw a share in 0…1 as a horizontal bar."""
    if not is_number(value):
        return ""
    share = 100.0 * min(max(value, 0.0), 1.0)
    return Markup('<span class="bar" style="width:{}%"></span>').format(f"{share:.1f}")


def words(value: Any) -> str:
    """Write a key as words: underscores become spaces, known abbreviations their usual form.

    Example:
        >>> words("balanced_accuracy"), words("nll"), words("train_per_class"), words("miou_unet")
        ('Balanced accuracy', 'NLL', 'Train per class', 'mIoU unet')
    """
    if value is None:
        return MISSING
    text = str(value)
    if text in _NAMES:
        return _NAMES[text]
    first, _, rest = text.partition("_")
    if rest and len(first) > 1 and first in _NAMES:
        return f"{_NAMES[first]} {rest.replace('_', ' ').strip()}"
    text = text.replace("_", " ").strip()
    return text[:1].upper() + text[1:]


PARTS = {
    "nine": "Pixels of each class against the rest, mean over images",
    "mae": "Mean absolute error of each component, in its unit",
}
"""What tables of scores of parts are called, by the first word of their names."""


def part(value: Any) -> str:
    """Write the first word of dotted scores as the title of their table."""
    return PARTS.get(str(value)) or words(value)


def sentence(value: Any) -> str:
    """Write a phrase as a sentence: capital first, full stop last."""
    text = str(value or "").strip()
    if not text:
        return ""
    return f"{text[:1].upper()}{text[1:]}{'' if text[-1] in '.!?…' else '.'}"


def moment(value: Any) -> str:
    """Write a time, ISO text or seconds since 1970, as date and minute; other text as it is."""
    if is_number(value):
        text = datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M %Z")
        return _data(value, text)
    if not isinstance(value, str):
        return MISSING
    try:
        return datetime.fromisoformat(value).strftime("%Y-%m-%d %H:%M %Z").strip()
    except ValueError:
        return value


def plain(value: Any, depth: int = 0) -> str:
    """Write any JSON value on a line: mappings as `key value`, lists with commas."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if is_number(value):
        return _data(value, decimals(value, None))
    if isinstance(value, Mapping):
        parts = [
            Markup("{} {}").format(str(k).replace("_", " "), plain(v, depth + 1))
            for k, v in value.items()
        ]
        return Markup("; " if depth == 0 else ", ").join(parts) or Markup("none")
    if isinstance(value, Sequence) and not isinstance(value, str):
        shown = [plain(v, depth + 1) for v in value[:60]]
        more = [f"and {len(value) - 60} more"] if len(value) > 60 else []
        return Markup(", ").join([*shown, *more]) or Markup("none")
    return str(value) if isinstance(value, str) and value else MISSING


def any_value(value: Any, places: int | None = None) -> str:
    """Write a number with `number` (whole ones above 1 as they are), anything else with `plain`."""
    if not isinstance(value, float):
        return plain(value)
    return number(value, 0 if value.is_integer() and abs(value) > 1 else places)


def visible(value: Any) -> Any:
    """Return JSON data with every text safe to show: no control or direction-changing characters.

    Tabs and line breaks stay; what is taken out becomes the replacement character.
    """
    if isinstance(value, str):
        return "".join(c if c in "\n\t" or _harmless(c) else "\ufffd" for c in value)
    if isinstance(value, Mapping):
        return {visible(str(k)): visible(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [visible(v) for v in value]
    return value


def _harmless(character: str) -> bool:
    code = ord(character)
    return not (
        code < 0x20
        or 0x7F <= code < 0xA0
        or 0xD800 <= code < 0xE000
        or 0x202A <= code <= 0x202E
        or 0x2066 <= code <= 0x2069
        or code in (0xFFFE, 0xFFFF)
    )


FILTERS: dict[str, Callable[..., str]] = {
    "number": number,
    "signed": signed,
    "count": count,
    "views": views,
    "percent": percent,
    "p": p_value,
    "duration": duration,
    "bar": bar,
    "words": words,
    "part": part,
    "sentence": sentence,
    "moment": moment,
    "plain": plain,
    "value": any_value,
}
"""The filters by the names they have in templates."""

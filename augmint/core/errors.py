"""Errors that state the rule, the value that broke it and the remedy, on one line.

Every error a user can cause is an `AugmintError`; the command line prints it as one line and
leaves with its `exit_code`. Anything else that escapes is a defect of augmint.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AugmintError(Exception):
    """A rule that was broken, the value that broke it, and what to do about it.

    Args:
        rule: the rule, as a statement ("an image side must be 8 to 128 px").
        value: what was found instead; shown with `repr` unless it is already a string.
        remedy: what to do, with the Python argument and the command-line spelling.

    Example:
        >>> str(AugmintError("seeds must be at least 2", 1, "pass seeds=5 (--seeds 5)"))
        'seeds must be at least 2; got 1: pass seeds=5 (--seeds 5)'
    """

    exit_code = 2

    def __init__(self, rule: str, value: object, remedy: str) -> None:
        self.rule = rule
        self.value = value
        self.remedy = remedy
        super().__init__(rule, value, remedy)

    def __str__(self) -> str:
        # a long value is cut, so that the remedy is always there
        shown = single_line(_shown(self.value), 300)
        return single_line(f"{self.rule}; got {shown}: {self.remedy}", 900)


class UsageError(AugmintError):
    """An option, a name or a configuration that cannot be used."""


class IncompatibleError(UsageError):
    """Two parts that declare that they do not fit together."""


class DataError(AugmintError):
    """Data that cannot be read, or that does not follow the stated layout."""


class DataCheckError(AugmintError):
    """Data that were read but that would make a study dishonest (leakage, too many bad files)."""

    exit_code = 3


class TrainingDivergedError(AugmintError):
    """A training run that the guard stopped (not finite, collapsed) and could not restore."""


class InterruptedRunError(AugmintError):
    """Ctrl-C or SIGTERM: the checkpoint is written and `remedy` is the command that resumes."""

    exit_code = 130


LISTED = 16
"""Known names that a remedy lists at most."""

_KEPT = "\n\u00a0\u2009\u202f"


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value if value.strip() else repr(value)
    try:
        return repr(value)
    except ValueError:  # Python refuses to write integers of thousands of digits
        return f"a huge {type(value).__name__}"


def visible(text: str) -> str:
    """Return `text` with every character that could steer a terminal written as its escape.

    Line breaks stay, and spaces of every width.

    Example:
        >>> visible("a\\x1b[31m\\nb")
        'a\\\\x1b[31m\\nb'
    """
    return "".join(
        c if c.isprintable() or c in _KEPT else c.encode("unicode_escape").decode() for c in text
    )


def single_line(text: str, limit: int = 600) -> str:
    """Return `text` on one line, control characters made visible, cut at `limit` characters.

    Example:
        >>> single_line("a\\nb\\x1b[31m")
        'a b\\\\x1b[31m'
    """
    text = visible(" ".join(text[: 8 * limit].split()))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a remedy that names the closest of `known`, or lists them when none is close.

    Example:
        >>> nearest("hing", ["hinge", "minimax"])
        "did you mean 'hinge'? known: hinge, minimax"
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=2, cutoff=0.5)
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    listed = f"known: {', '.join(names[:LISTED])}{more}" if names else "none is known here"
    if not close:
        return listed
    return f"did you mean {' or '.join(repr(c) for c in close)}? {listed}"


def too_large(error: BaseException) -> bool:
    """Return whether an error says that memory was asked for that there is not.

    torch says it by a RuntimeError ("can't allocate memory"), or by sizes that overflow.

    Example:
        >>> too_large(RuntimeError("can't allocate memory: 8 TB")), too_large(RuntimeError("no"))
        (True, False)
    """
    words = (
        "can't allocate memory",
        "not enough memory",
        "Storage size calculation overflowed",
        "Overflow when unpacking long",
    )
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def memory_error(error: BaseException) -> UsageError:
    """Return what to say of an error that is `too_large`.

    Example:
        >>> str(memory_error(MemoryError("8 TB")))
        'the work must fit into memory; got 8 TB: make networks, images or batches smaller'
    """
    said = str(error).partition("\n")[0][:160] or "more"
    return UsageError(
        "the work must fit into memory", said, "make networks, images or batches smaller"
    )

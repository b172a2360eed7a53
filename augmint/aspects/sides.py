"""Left and right as names tell them: which parts of an image a mirrored one swaps."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LEFT = re.compile(r"(?<![A-Za-z])left(?![a-z])|Left(?![a-z])|LEFT(?![A-Z])")
_RIGHT = re.compile(r"(?<![A-Za-z])right(?![a-z])|Right(?![a-z])|RIGHT(?![A-Z])")
_OPPOSITE = {"left": "right", "Left": "Right", "LEFT": "RIGHT"}
_SIDED = re.compile(r"(?i:(?<![a-z])(?:left|right))|(?<=[a-z])(?:Left|LEFT|Right|RIGHT)")
"""Wider than `_LEFT` and `_RIGHT`: `leftlung` has a side, though no pair follows from it."""

_NO_EYE = re.compile(r"eye[ _.-]*(brow|lid|lash)")


def pairs_of(names: Sequence[str]) -> tuple[tuple[str, str], ...] | None:
    """Return the pairs of names that differ in left and right, or None where that is not known.

    Example:
        >>> pairs_of(("left_eye", "nose", "right_eye"))
        (('left_eye', 'right_eye'),)
        >>> pairs_of(("a", "b")) is None and pairs_of(("left_eye", "nose")) is None
        True
    """
    known, pairs = set(names), []
    for name in names:
        if _LEFT.search(name):
            partner = _partner(name)
            if partner not in known:
                return None
            pairs.append((name, partner))
    alone = sum(1 for n in names if _RIGHT.search(n) and not _LEFT.search(n)) - len(pairs)
    return tuple(pairs) if pairs and not alone else None


def class_pairs(names: Sequence[str]) -> tuple[tuple[str, str], ...] | None:
    """Return `pairs_of` of classes, and () where no name has a side: such classes mirror alone.

    Points without sides may be the two eyes all the same; a class of pixels without one is whole.

    Example:
        >>> class_pairs(("ground", "cat")), class_pairs(("ground", "left lung"))
        ((), None)
    """
    sided = {n for n in names if _SIDED.search(n)}
    pairs = pairs_of(names) if sided else ()
    return pairs if pairs is None or sided <= {n for pair in pairs for n in pair} else None


def reference_of(names: Sequence[str]) -> tuple[str, str] | None:
    """Return the left and the right point of the eyes whose distance is the inter-ocular one.

    The outer corners come first, then points without a place in the eye, others, inner corners;
    brows, lids and lashes are no eyes.

    Example:
        >>> reference_of(("left_eye_inner", "right_eye_inner", "left_eye_outer", "right_eye_outer"))
        ('left_eye_outer', 'right_eye_outer')
        >>> reference_of(("left_eyebrow", "right_eyebrow")) is None
        True
    """
    eyes = [n for n in names if _LEFT.search(n) and "eye" in _NO_EYE.sub("", n.lower())]
    pairs = [(n, _partner(n)) for n in eyes if _partner(n) in names]
    return min(pairs, key=lambda pair: (_place(pair[0].lower()), len(pair[0])), default=None)


def _place(name: str) -> int:
    return 0 if "outer" in name else 2 if "inner" in name else 1


def _partner(name: str) -> str:
    return _LEFT.sub(lambda m: _OPPOSITE[m.group()], name)

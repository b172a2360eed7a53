"""Which classes the numbers of mask files mean, where nothing says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from augmint.aspects.mask import Mask
from augmint.core.errors import single_line
from augmint.data.formats.annotation import bad, mask_numbers

if TYPE_CHECKING:
    from augmint.data.archives import Files

TWO = ("background", "foreground")
MOST_FOUND = 64
"""Different numbers that masks may hold where no list names their classes."""


def found_mask(
    files: Files,
    names: Sequence[str],
    aspect: str,
    classes: Sequence[str] = (),
    void: int | None = None,
) -> tuple[Mask, tuple[int, ...]]:
    """Return the mask aspect of some files, and the class of each of 256 numbers.

    Given classes, the numbers are their indices; two classes may also be 0 and 255. Without, 0 and
    255 alone are background and foreground; numbers below 64 are classes of these names, from 0 to
    the largest one found; other numbers are classes in their order.

    Args:
        files: to read from.
        names: the masks; a damaged one is passed over here, and left out when it is decoded.
        aspect: name of the aspect.
        classes: names in the order of their numbers.
        void: the number that means "no truth here".

    Raises:
        DataError: for more than 64 numbers without a list of classes, or no more than one.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from augmint.data.archives import open_files
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.pgm").write_bytes(b"P5 2 1 255 \\x00\\xff")
        ...     mask, lookup = found_mask(open_files(Path(folder)), ["a.pgm"], "mask")
        >>> mask.classes, lookup[255]
        (('background', 'foreground'), 1)
    """
    if classes and len(classes) != 2:
        return _listed(aspect, classes, range(len(classes)), void)
    found = np.zeros(256, dtype=bool)
    first = ""
    for name in names:
        try:
            held = np.bincount(mask_numbers(files.read(name)).ravel(), minlength=256) > 0
        except Exception:  # a damaged mask is quarantined when it is decoded
            continue
        new = held & ~found
        first = name if new.any() else first
        found |= held
        if void is not None:
            found[void] = False
        if not classes and found.sum() > MOST_FOUND:
            raise bad(
                f"masks hold at most {MOST_FOUND} different numbers unless classes.txt names them",
                f"{int(found.sum())}, the last of them new",
                single_line(first, 80),
                "save masks without losses (.png), or list the classes",
            )
    held_numbers = np.flatnonzero(found).tolist()
    if classes:
        wide = set(held_numbers) <= {0, 255} and 255 in held_numbers
        return _listed(aspect, classes, (0, 255) if wide else (0, 1), void)
    if set(held_numbers) <= {0, 255} and held_numbers:
        return _listed(aspect, TWO, (0, 255), void)
    if held_numbers and held_numbers[-1] < MOST_FOUND:
        held_numbers = list(range(max(2, held_numbers[-1] + 1)))
    if len(held_numbers) < 2:
        raise bad(
            "masks tell at least two classes apart",
            f"the number {held_numbers[0]} alone" if held_numbers else "no mask that can be read",
            str(files.location),
            "check the masks, or name the classes in classes.txt",
        )
    return _listed(aspect, [str(n) for n in held_numbers], held_numbers, void)


def _listed(
    aspect: str, classes: Sequence[str], numbers: Sequence[int], void: int | None
) -> tuple[Mask, tuple[int, ...]]:
    stored = void if void is None or void >= len(classes) else 255
    mask = Mask(aspect, tuple(classes), stored)
    lookup = [-1] * 256
    for index, value in enumerate(numbers):
        lookup[value] = index
    if void is not None and stored is not None:
        lookup[void] = stored
    return mask, tuple(lookup)

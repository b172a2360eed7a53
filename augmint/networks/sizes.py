"""Which image sizes a network can reach, and the error that names the nearest ones that fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from augmint.core.errors import IncompatibleError, UsageError

if TYPE_CHECKING:
    from augmint.core.types import Shape

SMALLEST, LARGEST = 8, 256


def check_size(
    shape: Shape,
    rule: str,
    fits: Callable[[int, int], bool] | None = None,
    smallest: int = SMALLEST,
    largest: int = LARGEST,
) -> None:
    """Refuse a shape with no channel, a side out of `smallest`…`largest`, or one not `fits`.

    Args:
        shape: channels, height, width.
        rule: the sizes that fit, as a statement.
        fits: whether a height and a width within the limits can be reached; None: all can.

    Raises:
        UsageError: naming the nearest sizes that fit.

    Example:
        >>> check_size(  # doctest: +NORMALIZE_WHITESPACE
        ...     (1, 30, 30), "sides are multiples of 4", lambda h, w: h % 4 == w % 4 == 0
        ... )
        Traceback (most recent call last):
        augmint.core.errors.UsageError: sides are multiples of 4; got 30x30: use the nearest size
        that fits, size=(28, 28) or size=(32, 32) (--size 28x28)
    """
    channels, height, width = shape
    if channels < 1:
        raise UsageError("an image has at least one channel", channels, "set channels=1 or more")

    def within(h: int, w: int) -> bool:
        inside = smallest <= min(h, w) and max(h, w) <= largest
        return inside and (fits is None or fits(h, w))

    if within(height, width):
        return
    near = nearest_sizes(height, width, within, smallest, largest)
    if not near:
        raise UsageError(rule, f"{height}x{width}", "no size close to it fits: change its aspect")
    listed = " or ".join(f"size={size}" for size in near)
    option = f"{near[0][0]}x{near[0][1]}"
    remedy = f"use the nearest size that fits, {listed} (--size {option})"
    raise UsageError(rule, f"{height}x{width}", remedy)


def nearest_sizes(
    height: int, width: int, fits: Callable[[int, int], bool], smallest: int, largest: int
) -> list[tuple[int, int]]:
    """Return up to two fitting sizes closest to `height` x `width`; square ones for a square.

    Example:
        >>> nearest_sizes(30, 40, lambda h, w: h % 8 == w % 8 == 0, 8, 256)
        [(32, 40), (24, 40)]
    """
    sides = range(smallest, largest + 1)
    if height == width:
        found = [(s, s) for s in sides if fits(s, s)]
    else:
        reach = 64
        rows = [h for h in sides if abs(h - min(max(height, smallest), largest)) <= reach]
        columns = [w for w in sides if abs(w - min(max(width, smallest), largest)) <= reach]
        found = [(h, w) for h in rows for w in columns if fits(h, w)]
    return sorted(found, key=lambda s: (s[0] - height) ** 2 + (s[1] - width) ** 2)[:2]


def refuse_condition(name: str, width: int) -> None:
    """Raise `IncompatibleError` where a network without condition modes is given a condition."""
    if width:
        raise IncompatibleError(
            f"{name} takes no separate condition vector",
            f"one of width {width}",
            "use a conditioning that acts on the latent or beside the critic, "
            "conditioning='vac' (--conditioning vac)",
        )

"""Run lengths of a mask, as COCO writes them: column by column, zeros first.

A mask of height H and width W is read down its columns, left to right. Its counts are the lengths
of the runs of 0, 1, 0, 1 … of this row of H W values; the first may be 0. Packed, every count from
the fourth on is the difference to the one two before, and each number is written in groups of five
bits, the lowest first, one character (48 to 111) a group: bit 5 says that another group follows,
and bit 4 of the last group is the sign.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from augmint.core.types import IntArray

Bits = npt.NDArray[np.bool_]
_LOWEST, _MORE, _SIGN, _FIVE = 48, 32, 16, 31
_MOST_GROUPS = 7
"""Groups of one number: 35 bits hold every count of an image that is decoded."""


def encode(mask: Bits) -> IntArray:
    """Return the counts of a mask `(H, W)`.

    Example:
        >>> encode(np.array([[False, True], [True, True]])).tolist()
        [1, 3]
    """
    flat = np.asarray(mask, dtype=bool).ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    ends = np.concatenate(([0], edges, [len(flat)]))
    counts = np.diff(ends)
    return np.concatenate(([0], counts)) if len(flat) and flat[0] else counts


def decode(counts: npt.ArrayLike, size: tuple[int, int]) -> Bits:
    """Return the mask `(H, W)` of its counts.

    Raises:
        ValueError: for counts that are negative or do not sum to H W.

    Example:
        >>> decode([1, 3], (2, 2)).astype(int).tolist()
        [[0, 1], [1, 1]]
    """
    found = np.asarray(counts)
    if found.ndim != 1 or found.dtype.kind not in "iu" or (found < 0).any():
        raise ValueError("counts are a list of whole numbers from 0 on")
    height, width = size
    # counts of at most H W each cannot overflow the sum; this is asked before anything is repeated
    if (found > height * width).any() or int(found.sum(dtype=np.int64)) != height * width:
        raise ValueError(f"counts sum to {height} x {width} = {height * width} pixels")
    ones = np.arange(len(found)) % 2 == 1
    return np.repeat(ones, found).reshape(width, height).T


def pack(counts: npt.ArrayLike) -> str:
    """Return counts as text.

    Example:
        >>> pack([1, 3]), pack([0, 4, 70, 2])
        ('13', '04V2N')
    """
    found = [int(c) for c in np.asarray(counts).tolist()]
    out = bytearray()
    for i, count in enumerate(found):
        rest = count - found[i - 2] if i > 2 else count
        while True:
            group = rest & _FIVE
            rest >>= 5
            more = rest != (-1 if group & _SIGN else 0)
            out.append(_LOWEST + group + (_MORE if more else 0))
            if not more:
                break
    return out.decode("ascii")


def unpack(text: str) -> IntArray:
    """Return the counts of a text.

    Raises:
        ValueError: for other characters, a number that is cut short or one over 35 bits.

    Example:
        >>> unpack("04V2N").tolist()
        [0, 4, 70, 2]
    """
    groups = np.frombuffer(text.encode("ascii", "replace"), np.uint8).astype(np.int64) - _LOWEST
    if ((groups < 0) | (groups > _MORE + _FIVE)).any():
        raise ValueError("packed counts consist of the characters 0 to o")
    last = groups < _MORE
    if len(groups) and not last[-1]:
        raise ValueError("packed counts are complete")
    ends = np.flatnonzero(last)
    starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
    lengths = ends - starts + 1
    if (lengths > _MOST_GROUPS).any():
        raise ValueError(f"one of packed counts has at most {_MOST_GROUPS} characters")
    place = np.arange(len(groups)) - np.repeat(starts, lengths)
    shifted = (groups & _FIVE) << (5 * place)
    numbers = np.add.reduceat(shifted, starts) if len(starts) else np.empty(0, np.int64)
    negative = (groups[ends] & _SIGN) != 0
    numbers = numbers - (negative.astype(np.int64) << (5 * lengths))
    for first in (1, 2):  # odd and even ones are sums of differences of their own
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers

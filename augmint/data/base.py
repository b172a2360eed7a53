"""What a built-in data set promises: its content as arrays, ready for a table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import numpy.typing as npt

    from augmint.aspects.base import Schema
    from augmint.core.types import ByteArray, IntArray


@dataclass(frozen=True)
class Content:
    """A whole data set in memory.

    Args:
        images: uint8 `(N, C, H, W)`.
        values: aspect name to stored values.
        schema: the aspects.
        names: one a row.
        parts: part name to rows.
        text: what it is, in one sentence.
    """

    images: ByteArray
    values: Mapping[str, npt.NDArray[Any]]
    schema: Schema
    names: Sequence[str]
    parts: Mapping[str, IntArray]
    text: str


class BuiltIn(ABC):
    """A data set that comes with augmint; members are frozen dataclasses, axis `datasets`."""

    drawn: ClassVar[bool] = False
    """Draws as many images as its fields `images` and `seed` say, each a new one."""

    @abstractmethod
    def build(self, size: tuple[int, int] | None, channels: int | None) -> Content:
        """Return the content; `size` and `channels` are honoured where drawing allows, otherwise
        `ingest` converts the images."""

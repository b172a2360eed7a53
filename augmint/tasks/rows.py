"""What a task trains on, and the real rows that it may be scored on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from augmint.core.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from augmint.aspects.base import Schema
    from augmint.core.types import ByteArray, IntArray, Shape
    from augmint.data.table import Table

Origin = Literal["real", "minted"]


@dataclass(frozen=True, eq=False)
class Source:
    """Some images to train on, and their share of every batch.

    Args:
        images: uint8 `(N, C, H, W)`, an array or a memory map.
        values: aspect name to stored values, N rows each.
        ids: int64 `(N,)`, the rows' stable ids.
        share: of each batch, above 0 to 1; the shares of all sources sum to 1.
        origin: where the images came from.

    Raises:
        UsageError: for an empty source, rows that do not agree in number, or a share out of range.

    Example:
        >>> import numpy as np
        >>> images, labels = np.zeros((2, 1, 8, 8), np.uint8), np.array([0, 1])
        >>> source = Source(images, {"label": labels}, np.arange(2), share=0.25)
        >>> len(source), source.origin
        (2, 'real')
    """

    images: ByteArray
    values: Mapping[str, npt.NDArray[Any]]
    ids: IntArray
    share: float = 1.0
    origin: Origin = "real"

    def __post_init__(self) -> None:
        check_rows("a training source", self.images, self.values, self.ids)
        if len(self.images) == 0:
            raise UsageError(
                "a training source holds at least one image", f"0 {self.origin}", "leave it out"
            )
        if not 0.0 < self.share <= 1.0:
            raise UsageError(
                "a source's share of the batch is above 0 and at most 1",
                self.share,
                "choose a share such as 0.5, or leave the source out",
            )

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class RealRows:
    """Real images with their aspects: the only thing that `score` takes.

    Args:
        images: uint8 `(N, C, H, W)`.
        values: aspect name to stored values, N rows each.
        ids: int64 `(N,)`, the rows' stable ids.
        origin: must be "real".

    Raises:
        UsageError: if the rows are not real, are none, or do not agree in number.

    Example:
        >>> import numpy as np
        >>> images, labels = np.zeros((2, 1, 8, 8), np.uint8), np.array([0, 1])
        >>> minted = {"ids": np.arange(2), "origin": "minted"}
        >>> RealRows(images, {"label": labels}, **minted)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        augmint.core.errors.UsageError: scores are of real images only; got rows of origin...
    """

    images: ByteArray
    values: Mapping[str, npt.NDArray[Any]]
    ids: IntArray
    origin: str = "real"

    def __post_init__(self) -> None:
        if self.origin != "real":
            raise UsageError(
                "scores are of real images only",
                f"rows of origin {self.origin!r}",
                "pass rows of a real part; diagnose() takes minted images",
            )
        check_rows("a part that is scored", self.images, self.values, self.ids)
        if len(self.images) == 0:
            raise UsageError("a part that is scored holds images", "0 images", "pass its rows")

    @classmethod
    def of(cls, table: Table, rows: npt.ArrayLike) -> RealRows:
        """Return the given rows of a table.

        Raises:
            UsageError: if one of them is known to be minted.
        """
        import numpy as np

        chosen: np.ndarray[Any, np.dtype[np.int64]] = np.asarray(rows, dtype=np.int64).reshape(-1)
        for origin, members in table.origins.items():
            foreign = chosen[np.isin(chosen, members)] if origin != "real" else chosen[:0]
            if len(foreign):
                raise UsageError(
                    "scores are of real images only",
                    f"{len(foreign)} {origin} rows, the first is {foreign[0]}",
                    "pass rows of a real part; diagnose() takes minted images",
                )
        images = np.asarray(table.images[chosen])
        return cls(images, {k: np.asarray(v[chosen]) for k, v in table.values.items()}, chosen)

    def __len__(self) -> int:
        return len(self.images)


def check_rows(
    what: str, images: ByteArray, values: Mapping[str, npt.NDArray[Any]], ids: IntArray
) -> None:
    """Raise `UsageError` unless images are uint8 `(N, C, H, W)` and all else has N rows."""
    if images.ndim != 4 or str(images.dtype) != "uint8":
        raise UsageError(
            f"{what} holds uint8 images (N, C, H, W)",
            f"{images.dtype} {tuple(images.shape)}",
            "convert with augmint.core.types.to_uint8",
        )
    for name, rows in {**values, "ids": ids}.items():
        if len(rows) != len(images):
            raise UsageError(
                f"{what} has one row of {name} for each image",
                f"{len(rows)} for {len(images)} images",
                "pass arrays of one length",
            )


def check_sources(sources: Sequence[Source], schema: Schema, shape: Shape, aspect: str) -> None:
    """Raise `UsageError` unless shares sum to 1, shapes agree and every source has the aspect."""
    total = sum(s.share for s in sources)
    if not sources or abs(total - 1.0) > 1e-6:
        raise UsageError(
            "the shares of the training sources sum to 1",
            [s.share for s in sources],
            "divide each share by their sum",
        )
    wanted = schema[aspect]
    for source in sources:
        if tuple(source.images.shape[1:]) != tuple(shape):
            raise UsageError(
                f"training images have the shape {tuple(shape)}",
                f"{tuple(source.images.shape[1:])} ({source.origin})",
                "resample them before",
            )
        if aspect not in source.values:
            raise UsageError(
                f"every training source has the aspect {aspect}",
                f"{', '.join(source.values) or 'none'} ({source.origin})",
                "add the column",
            )
        wanted.check(source.values[aspect])

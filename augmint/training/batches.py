"""What one step of a GAN sees: real rows, and the aspects that generated images shall carry."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from augmint.core.errors import DataError
from augmint.core.streams import Orders, permutation, stream
from augmint.core.types import Shape, to_float
from augmint.training.between import between

if TYPE_CHECKING:
    from augmint.aspects.base import Schema
    from augmint.core.streams import Stream
    from augmint.core.types import ByteArray, IntArray
    from augmint.training.config import GanConfig


@dataclass(frozen=True)
class TrainingImages:
    """The images a generator learns from, decoded, with their aspects.

    Args:
        images: uint8 `(N, C, H, W)`, in memory or memory-mapped.
        values: aspect name to stored values, N rows each.
        ids: int64 `(N,)`, stable ids of the rows.

    Raises:
        DataError: if types or lengths disagree, or there are no images.

    Example:
        >>> pixels, label = np.zeros((2, 1, 8, 6), np.uint8), np.array([0, 1])
        >>> data = TrainingImages(pixels, {"label": label}, np.arange(2))
        >>> len(data), data.shape
        (2, (1, 8, 6))
    """

    images: ByteArray
    values: Mapping[str, np.ndarray[Any, Any]]
    ids: IntArray

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or not len(self.images):
            raise DataError(
                "training images are uint8 (N, C, H, W) with N above 0",
                f"{self.images.dtype} {self.images.shape}",
                "ingest the data set first",
            )
        for name, values in {**self.values, "ids": self.ids}.items():
            if len(values) != len(self.images):
                raise DataError(
                    "every image has its aspects and its id",
                    f"{len(values)} rows of {name} for {len(self.images)} images",
                    "give as many rows as images",
                )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> Shape:
        """Channels, height, width."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def digest(self) -> str:
        """Return the SHA-256 of pixels, aspects and ids."""
        found = hashlib.sha256(np.ascontiguousarray(self.images).data)
        for name, values in sorted({**self.values, "#ids": self.ids}.items()):
            found.update(f"{name}{values.dtype}{values.shape}".encode())
            found.update(np.ascontiguousarray(values).data)
        return found.hexdigest()


class Batches:
    """Draws batches as pure functions of (seed, step).

    Real rows run through one random order after another, each a permutation of all rows; the
    rows of step s are positions s·batch to (s + 1)·batch - 1 of that endless sequence. With a
    `share` only those rows of each batch are taken, as one of several processes does.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.aspects.category import Category
        >>> from augmint.training.config import GanConfig
        >>> rare = {"label": np.array([0, 0, 0, 1])}
        >>> data = TrainingImages(np.zeros((4, 1, 8, 8), np.uint8), rare, np.arange(4))
        >>> schema, config = Schema((Category("label", ("a", "b")),)), GanConfig(batch=4)
        >>> batches = Batches(data, schema, config, seed=0, device=torch.device("cpu"))
        >>> batches.real(1)[1]["label"].sum(), batches.fake_aspects("generator", 1)["label"].sum()
        (tensor(1), tensor(2))
    """

    def __init__(
        self,
        data: TrainingImages,
        schema: Schema,
        config: GanConfig,
        seed: int,
        device: torch.device,
        share: slice | None = None,
    ) -> None:
        self.data = data
        self.schema = schema
        self.share = slice(None) if share is None else share
        self.batch = config.batch
        self.mode = config.fake_aspects
        self.seed = seed
        self.device = device
        self.values = {a.name: torch.as_tensor(np.array(data.values[a.name])) for a in schema}
        categories = schema.of_kind("category")
        self._classes = _ByClass(data.values[categories[0].name]) if categories else None
        # with one category a row's class is all there is to draw
        self._only_class = categories[0].name if len(schema) == 1 and categories else None
        self._orders = Orders(seed, "rows", len(data), self.batch)
        self._last: tuple[int, Tensor, dict[str, Tensor]] | None = None

    def rows(self, step: int) -> IntArray:
        """Return the rows of the step's real batch, int64 `(batch,)`."""
        return self._orders(step)

    def epoch(self, step: int) -> int:
        """Return how many whole passes over the real rows lie before the step."""
        return step * self.batch // len(self.data)

    def real(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the step's real images, float in [-1, 1], and their aspects, on the device."""
        if self._last is None or self._last[0] != step:
            rows = self.rows(step)[self.share]
            images = torch.from_numpy(np.ascontiguousarray(self.data.images[rows]))
            self._last = step, to_float(images.to(self.device)), self._aspects(rows)
        return self._last[1], self._last[2]

    def _aspects(self, rows: IntArray) -> dict[str, Tensor]:
        index = torch.from_numpy(rows)
        return {k: v[index].to(self.device) for k, v in self.values.items()}

    def fake_aspects(self, purpose: str, step: int, whole: bool = False) -> dict[str, Tensor]:
        """Return the aspects that the generated images of a phase shall carry.

        "balanced" asks for every class equally often (up to one, within a batch), "mixed" as well,
        with values between those of two rows of the class. `whole` gives the whole batch, whatever
        this process's share.
        """
        share = slice(None) if whole else self.share
        if not self.values:
            return {}
        if self.mode == "batch":
            return self._aspects(self.rows(step)) if whole else self.real(step)[1]
        classes = None if self.mode == "data" else self._classes
        which = np.zeros(0, np.int64)
        if classes is not None:
            order = permutation(self.seed, f"classes.{purpose}", self.batch, step)
            which = (order + step * self.batch) % len(classes.names)
            if self._only_class is not None:
                labels = torch.from_numpy(classes.names[which[share]])
                return {self._only_class: labels.to(self.device)}
        numbers = stream(self.seed, f"aspects.{purpose}", step, self.batch)
        found = self._drawn(which, numbers)[share]
        if self.mode != "mixed":
            return self._aspects(found)
        others = self._drawn(which, numbers)[share]
        parts = self._aspects(found), self._aspects(others)
        return between(self.schema, *parts, numbers.uniform(1)[share, 0])

    def _drawn(self, which: IntArray, numbers: Stream) -> IntArray:
        """Return one random row a sample, of the classes `which` where there are classes."""
        draws = numbers.uniform(1)[:, 0].numpy()
        if len(which) and self._classes is not None:
            return self._classes.rows(which, draws)
        return np.minimum((draws * len(self.data)).astype(np.int64), len(self.data) - 1)


class _ByClass:
    """Rows sorted by the class they carry."""

    def __init__(self, labels: np.ndarray[Any, Any]) -> None:
        labels = np.asarray(labels).astype(np.int64)
        self.names, self.counts = np.unique(labels, return_counts=True)
        self.order = np.argsort(labels, kind="stable")
        self.starts = np.cumsum(self.counts) - self.counts

    def rows(self, which: IntArray, draws: np.ndarray[Any, Any]) -> IntArray:
        """Return, for the classes `names[which]`, the rows at shares `draws` in [0, 1) of each."""
        counts = self.counts[which]
        places = np.minimum((draws * counts).astype(np.int64), counts - 1)
        found: IntArray = self.order[self.starts[which] + places]
        return found

"""What a task promises, what it trains on, and what it may be scored on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from augmint.core.errors import UsageError
from augmint.core.registry import Spec

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from augmint.aspects.base import Schema
    from augmint.core.types import ByteArray, IntArray, Shape
    from augmint.data.table import Table
    from augmint.tasks.scores import ClassificationScores, Diagnosis
    from augmint.tasks.trained import TrainedTask

Origin = Literal["real", "minted"]


@dataclass(frozen=True)
class TaskConfig:
    """The network that is measured and how it is trained; the same for every arm of a study.

    Args:
        network: one of our classifiers, by name or with fields; not read where `model` is given.
        model: the user's own network, "file.py:make_net".
        weights: a safetensors file of initial weights for the user's network.
        size: (height, width) that the network sees; images are resampled to it once, before
            training (antialiased bilinear). None: as they are.
        steps: optimiser steps.
        batch: images a step.
        learning_rate: AdamW's rate at the peak of one cycle.
        weight_decay: AdamW's decoupled decay.
        precision: "bf16" runs the forward pass under autocast.
        aspect: the aspect that is predicted.
    """

    network: Spec = "small-cnn"
    model: str | None = None
    weights: str | None = None
    size: tuple[int, int] | None = None
    steps: int = 1000
    batch: int = 64
    learning_rate: float = 5e-3
    weight_decay: float = 1e-2
    precision: Literal["fp32", "bf16"] = "fp32"
    aspect: str = "label"

    def __post_init__(self) -> None:
        for name, low in (("steps", 1), ("batch", 2)):
            if getattr(self, name) < low:
                raise UsageError(
                    f"task.{name} is at least {low}",
                    getattr(self, name),
                    f"set task.{name}={max(low, 64)} (--set task.{name}={max(low, 64)})",
                )
        if not self.learning_rate > 0:
            raise UsageError(
                "task.learning_rate is above 0",
                self.learning_rate,
                "set task.learning_rate=0.005 (--set task.learning_rate=0.005)",
            )
        if not self.weight_decay >= 0:
            raise UsageError(
                "task.weight_decay is not negative",
                self.weight_decay,
                "set task.weight_decay=0.01 (--set task.weight_decay=0.01)",
            )
        if self.size is not None and not all(4 <= side <= 1024 for side in self.size):
            raise UsageError(
                "task.size is a height and a width of 4 to 1024 px",
                list(self.size),
                "set task.size=[32,32] (--set task.size=[32,32])",
            )
        if self.weights is not None and self.model is None:
            raise UsageError(
                "initial weights belong to the user's own network",
                self.weights,
                "pass model='file.py:make_net' (--model) with them",
            )

    def seen(self, shape: Shape) -> Shape:
        """Return the shape that the network sees of images of `shape`."""
        return shape if self.size is None else (shape[0], *self.size)


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


@dataclass(frozen=True)
class Task(ABC):
    """A network, an aspect, a loss and scores."""

    kinds: ClassVar[frozenset[str]]
    """Kinds of aspect that it predicts."""

    @abstractmethod
    def train(
        self,
        config: TaskConfig,
        schema: Schema,
        shape: Shape,
        sources: Sequence[Source],
        augmenter: Spec,
        seed: int,
        device: str = "cpu",
        stream_name: str = "",
    ) -> TrainedTask:
        """Train a fresh network; a pure function of its arguments.

        Args:
            config: network, schedule, budget.
            schema: the aspects.
            shape: (C, H, W) of the stored images.
            sources: what each batch is composed of, by shares.
            augmenter: applied to every image of every batch.
            seed: of everything random.
            device: "cpu" or "cuda".
            stream_name: names other random streams for order, augmentation and dropout (the
                initialisation stays that of the seed), for an arm that must differ by chance only.

        Raises:
            UsageError: for sources, an aspect or a network that cannot be used.
        """

    @abstractmethod
    def score(self, trained: TrainedTask, real: RealRows) -> ClassificationScores:
        """Return the scores that may decide.

        Raises:
            UsageError: unless `real` is `RealRows`.
        """

    @abstractmethod
    def diagnose(self, trained: TrainedTask, images: ByteArray, labels: IntArray) -> Diagnosis:
        """Return what explains but never decides; minted images are welcome."""

"""What a task promises, what it trains on, and what it may be scored on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from augmint.aspects.category import LABEL
from augmint.core.config import build
from augmint.core.errors import IncompatibleError, UsageError
from augmint.core.registry import ARCHITECTURES, AUGMENTERS, TASKS, Spec
from augmint.networks.base import Role

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from augmint.aspects.base import Aspect, Schema
    from augmint.core.types import ByteArray, IntArray, Shape
    from augmint.data.table import Table
    from augmint.tasks.scores import Diagnosis, Errors, Scores
    from augmint.tasks.trained import TrainedTask

Origin = Literal["real", "minted"]
"""The name in a configuration that stands for a set's only aspect of the task's kind."""


@dataclass(frozen=True)
class Measure:
    """What a task's deciding score is called, and how it is read.

    A study compares *points*: higher is better, 100 is a perfect network.

    Args:
        name: of the score, in a sentence ("accuracy of small-cnn").
        key: of the raw number in `Scores.plain()`.
        unit: of the raw number ("of the reference distance").
        lower_is_better: of the raw number; never of points.
        points: how points follow from the raw number ("100 (1 - NME)").

    Example:
        >>> Measure("mIoU", "miou", "share of the union", False, "100 mIoU").error
        '1 - mIoU'
    """

    name: str
    key: str
    unit: str
    lower_is_better: bool
    points: str

    @property
    def error(self) -> str:
        """What `1 - points / 100` is called, of which 0 is right ("NME", "1 - mIoU")."""
        return self.name if self.lower_is_better else f"1 - {self.name}"


@dataclass(frozen=True)
class TaskConfig:
    """The network that is measured and how it is trained; the same for every arm of a study.

    Args:
        kind: of the task: what is predicted, and how it is scored.
        network: one of ours, by name or with fields; not read where `model` is given. Other tasks
            than classification have other defaults (`Task.configured`).
        model: the user's own network, "file.py:make_net".
        weights: a safetensors file of initial weights for the user's network.
        size: (height, width) that the network sees; images are resampled to it once, before
            training (antialiased bilinear). None: as they are. Maps that it answers with are
            resampled back (bilinear), losses and scores are taken at the stored size.
        steps: optimiser steps.
        batch: images a step.
        learning_rate: AdamW's rate at the peak of one cycle.
        weight_decay: AdamW's decoupled decay.
        precision: "bf16" runs the forward pass under autocast.
        aspect: the aspect that is predicted; "label" stands for the only one of the task's kind,
            where none of that kind has this name.

    Example:
        >>> TaskConfig(size=(32, 48)).seen((3, 128, 192))
        (3, 32, 48)
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
    aspect: str = LABEL
    kind: str = "classification"

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


@dataclass(frozen=True)
class Task(ABC):
    """A network, an aspect, a loss and scores.

    Members differ in what they declare and in how they score; training is one for all
    (`tasks.phase`), by the aspect's own loss.
    """

    kinds: ClassVar[frozenset[str]]
    """Kinds of aspect that it predicts."""
    role: ClassVar[Role] = "classifier"
    """What its network plays: a vector for each image (classifier),
    or maps of its size (mapper)."""
    measure: ClassVar[Measure]
    """The score that decides."""
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Fields of `TaskConfig` where the task's own default differs from classification's."""
    asks: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Fields of a study's generator by which it is asked for what the task predicts. Without any it
    is asked by the preset's conditioning, or draws with the image what lies in the image plane."""

    @classmethod
    def configured(cls, fields: Mapping[str, Any] = MappingProxyType({})) -> TaskConfig:
        """Return a configuration: the task's own defaults, the given fields laid over them.

        Raises:
            UsageError: for an unknown field, or a value that cannot be used.
        """
        return build(TaskConfig, {**cls.defaults, **fields}, where="task")

    def aspect(self, config: TaskConfig, schema: Schema) -> Aspect:
        """Return the aspect that a configuration means.

        Raises:
            IncompatibleError: if the one that it names is of another kind.
            UsageError: if there is none, or "label" could mean several.
        """
        fitting = [a for kind in sorted(self.kinds) for a in schema.of_kind(kind)]
        names = ", ".join(a.name for a in fitting) or "none"
        named = [a for a in fitting if a.name == config.aspect]
        if named or (config.aspect == LABEL and len(fitting) == 1):
            return (named or fitting)[0]
        kinds = " or ".join(sorted(self.kinds))
        if config.aspect == LABEL and fitting:
            raise UsageError(
                f"the set has several aspects that are a {kinds}",
                names,
                f"name one: set task.aspect={fitting[0].name} "
                f"(--set task.aspect={fitting[0].name})",
            )
        if not fitting:
            held = ", ".join(f"{a.name} ({a.kind})" for a in schema) or "nothing"
            raise IncompatibleError(
                f"this task predicts aspects of kind {kinds}, and the set has none",
                held,
                "choose the task that fits it (--task landmarks, segmentation …)",
            )
        aspect = schema[config.aspect]
        raise IncompatibleError(
            f"this task predicts a {kinds}",
            f"{aspect.name}, a {aspect.kind}",
            f"name one of: {names} (--set task.aspect=NAME)",
        )

    def check(self, config: TaskConfig, aspect: Aspect, augmenter: Spec) -> None:
        """Raise before anything is trained if network, aspect and augmenter do not fit.

        Raises:
            IncompatibleError: naming both parts, the reason and what would fit.
            UsageError: for an unknown name or field.
        """
        from augmint.augmentation.base import check_fits

        check_fits(AUGMENTERS.create(augmenter), aspect)
        if config.model is not None:
            return
        architecture = ARCHITECTURES.create(config.network)
        if config.precision == "bf16" and not architecture.bf16:
            raise IncompatibleError(
                f"{config.network} does not run in bf16",
                config.precision,
                "set task.precision=fp32 (--set task.precision=fp32)",
            )
        architecture.check_kind(str(config.network), aspect.name, aspect.kind)
        if getattr(architecture, "bounded", False) and not aspect.bounded:
            raise IncompatibleError(
                f"{config.network} answers within [-1, 1]",
                f"{aspect.name}, a {aspect.kind} that is not encoded so",
                "set its field bounded to false, or choose small-cnn "
                "(--set task.network=small-cnn)",
            )

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

        An aspect that learns its scale from training rows, and does not have one yet, learns it
        from the real sources (from all where none is real).

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
            IncompatibleError: for parts that do not fit, an augmenter that may mirror an aspect
                whose left and right are unknown among them.
        """
        from dataclasses import replace

        from augmint.tasks.phase import train_network
        from augmint.tasks.trained import build_network

        aspect = self.aspect(config, schema)
        config = replace(config, aspect=aspect.name)
        self.check(config, aspect, augmenter)
        check_sources(sources, schema, shape, config.aspect)
        schema = fitted_schema(schema, aspect, sources)
        network = build_network(config, shape, aspect.width, device, seed, flat=aspect.flat)
        return train_network(
            network.train(), config, schema, shape, sources, augmenter, seed, stream_name
        )

    def score(self, trained: TrainedTask, real: RealRows) -> Scores:
        """Return the scores that may decide.

        Raises:
            UsageError: unless `real` is `RealRows`, and each row holds some truth (`Aspect.told`).
        """
        return self._scores(trained, real.images, self.truth(trained, real))

    def truth(self, trained: TrainedTask, real: RealRows) -> npt.NDArray[Any]:
        """Return the stored values of the aspect that is scored; errors as `score`."""
        if not isinstance(real, RealRows):
            raise UsageError(
                "scores are of real rows only",
                type(real).__name__,
                "pass RealRows; diagnose() takes minted images",
            )
        aspect = trained.aspect
        values = stored(aspect, trained.shape, real.values[aspect.name])
        there = aspect.told(values)
        if not there.all():
            raise UsageError(
                f"every image that is scored has some of {aspect.name} labelled",
                f"{int((~there).sum())} of {len(there)} without, the first is row "
                f"{int(there.argmin())}",
                "leave these rows out (Aspect.told tells them)",
            )
        return values

    def diagnose(
        self, trained: TrainedTask, images: ByteArray, values: npt.NDArray[Any]
    ) -> Diagnosis | Errors:
        """Return what the network says of images that claim `values`; this never decides.

        Minted images are welcome. By default the distribution of the aspect's error.
        """
        from augmint.tasks.scores import error_distribution

        claimed = stored(trained.aspect, trained.shape, values)
        return error_distribution(trained.errors(images, claimed))

    def claim_errors(
        self,
        trained: TrainedTask,
        images: ByteArray,
        values: npt.NDArray[Any],
        real: npt.NDArray[Any],
    ) -> npt.NDArray[Any]:
        """Return how far images are from what they claim, in the deciding score's unit, `(N,)`.

        0 is right. Of real images with their own values it is `1 - Scores.per_image`. Minted images
        are welcome; it never decides.

        Args:
            trained: reads the images.
            images: uint8 `(N, C, H, W)`.
            values: what they claim, stored form; some truth in each row (`Aspect.told`).
            real: stored values of real images, whose spread is the unit where the score has one.
        """
        import numpy as np

        claimed = stored(trained.aspect, trained.shape, values)
        return np.asarray(trained.errors(images, claimed), np.float64)

    @abstractmethod
    def _scores(
        self, trained: TrainedTask, images: ByteArray, values: npt.NDArray[Any]
    ) -> Scores: ...


def task_for(aspect: Aspect) -> str | None:
    """Return the name of the task that predicts an aspect, or None if there is none.

    Example:
        >>> from augmint.aspects.vector import Vector
        >>> task_for(Vector("age", ("years",)))
        'regression'
    """
    fitting = (name for name in TASKS.names() if aspect.kind in TASKS.get(name).kinds)
    return next(fitting, None)


def task_of(config: TaskConfig) -> Task:
    """Return the task that a configuration names.

    Raises:
        UsageError: if there is none of this name.

    Example:
        >>> task_of(TaskConfig(kind="segmentation")).measure.name
        'mIoU'
    """
    task: Task = TASKS.create(config.kind)
    return task


def stored(aspect: Aspect, shape: Shape, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return values in the aspect's stored type, checked, for images of `shape`.

    Raises:
        UsageError: for values of another shape.
        DataError: for values out of range.

    Example:
        >>> from augmint.aspects.vector import Vector
        >>> stored(Vector("age", ("years",)), (1, 8, 8), [[20], [40]]).dtype
        dtype('float32')
    """
    import numpy as np

    wanted, dtype = aspect.storage(shape)
    given = np.asarray(values, dtype=dtype)
    if given.shape[1:] != wanted:
        raise UsageError(
            f"values of {aspect.name} have the shape {('N', *wanted)}",
            str(given.shape),
            "pass them in the aspect's stored form",
        )
    aspect.check(given)
    return given


def fitted_schema(schema: Schema, aspect: Aspect, sources: Sequence[Source]) -> Schema:
    """Return the schema whose `aspect` knows its scale, from the real sources' values.

    Example:
        >>> import numpy as np
        >>> from augmint.aspects.base import Schema
        >>> from augmint.aspects.vector import Vector
        >>> images, years = np.zeros((2, 1, 8, 8), np.uint8), np.array([[20.0], [40.0]])
        >>> real, age = Source(images, {"age": years}, np.arange(2)), Vector("age", ("years",))
        >>> fitted_schema(Schema((age,)), age, [real])["age"].mean
        (30.0,)
    """
    import numpy as np

    from augmint.aspects.base import Schema

    if not aspect.unfitted:  # a study that fitted it before all arms has the say
        return schema
    chosen = [s for s in sources if s.origin == "real"] or list(sources)
    values = np.concatenate([np.asarray(s.values[aspect.name]) for s in chosen])
    fitted = aspect.fitted(values)
    return Schema(tuple(fitted if a.name == aspect.name else a for a in schema))

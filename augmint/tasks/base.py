"""What a task is: an aspect that a network predicts, how it is trained, and how it is scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from augmint.aspects.category import LABEL
from augmint.core.config import build
from augmint.core.errors import IncompatibleError, UsageError
from augmint.core.registry import ARCHITECTURES, AUGMENTERS, TASKS, Spec
from augmint.networks.base import Role
from augmint.tasks.config import TaskConfig
from augmint.tasks.rows import RealRows, Source, check_sources
from augmint.tasks.scores import Diagnosis, Errors, Measure, Scores, error_distribution

if TYPE_CHECKING:
    import numpy.typing as npt

    from augmint.aspects.base import Aspect, Schema
    from augmint.core.types import ByteArray, Shape
    from augmint.tasks.trained import TrainedTask


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

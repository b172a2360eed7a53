"""Networks that read annotations: do generated images carry what they claim, and is it of use?

Of every aspect besides the class that a compared generator carries, asked for or drawn, one network
of its task learns from real images that no generator sees (`reader`) and measures what each
generator's images claim. Another learns from generated images alone and is scored on real ones,
beside the same network that learnt from the generators' real images (`learner`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from augmint.aspects.base import Schema
from augmint.aspects.category import LABEL
from augmint.core.registry import CONDITIONING, Spec, split_spec
from augmint.core.streams import derive
from augmint.data.table import Table
from augmint.metrics.aspects import AnnotationTruth, annotation_truth
from augmint.studies.materials import real_source
from augmint.studies.measured import Measures
from augmint.studies.rows import judge_rows, opened
from augmint.studies.showing import drawn, rows_of_classes
from augmint.studies.steps import Inputs, Value
from augmint.tasks.base import Task, task_for, task_of
from augmint.tasks.config import TaskConfig
from augmint.tasks.rows import RealRows, Source
from augmint.tasks.trained import TrainedTask, build_network
from augmint.training.joint import asked

if TYPE_CHECKING:
    from augmint.aspects.base import Aspect
    from augmint.core.types import FloatArray, IntArray
    from augmint.minting.curation import Minted
    from augmint.training.config import GanConfig

JUDGE = "judge.safetensors"
"""The file of a network that judges."""

ERRORS = "errors.npy"
"""The file of its errors on real test images."""

DRAWN = "drawn.npy"
"""The file of shown images with an annotation drawn over them."""

BUDGET = ("steps", "batch", "learning_rate", "weight_decay", "precision")
"""Fields that networks of every task take over from `Measures.task`."""


def readable(schema: Schema) -> Schema:
    """Return the aspects besides the class that some task predicts.

    Example:
        >>> from augmint.aspects.category import Category
        >>> from augmint.aspects.vector import Vector
        >>> schema = Schema((Category("label", ("cat", "dog")), Vector("age", ("years",))))
        >>> [aspect.name for aspect in readable(schema)]
        ['age']
    """
    told = (a for a in schema if a.name != LABEL and task_for(a) is not None)
    return Schema(tuple(told))


def claimed(gan: GanConfig, schema: Schema) -> tuple[str, ...]:
    """Return the names of the aspects that a generator's images are meant to carry.

    They are drawn with the image, or asked for by a conditioning that acts on it.

    Example:
        >>> from augmint.aspects.category import Category
        >>> from augmint.training.config import GanConfig
        >>> schema = Schema((Category("label", ("cat", "dog")),))
        >>> tuple(claimed(GanConfig(conditioning=name), schema) for name in ("vac", "none"))
        (('label',), ())
    """
    acts = CONDITIONING.create(gan.conditioning).labels_generated
    names = {*gan.joint, *((a.name for a in asked(gan, schema)) if acts else ())}
    return tuple(a.name for a in schema if a.name in names)


def read_aspects(gans: Iterable[GanConfig], schema: Schema) -> list[str]:
    """Return the names of the annotations that at least one generator carries.

    Example:
        >>> from augmint.aspects.vector import Vector
        >>> from augmint.training.config import GanConfig
        >>> schema = Schema((Vector("age", ("years",)), Vector("pose", ("yaw",))))
        >>> read_aspects([GanConfig(conditioning="vac-var", carries=("pose",))], schema)
        ['pose']
    """
    names = {name for gan in gans for name in claimed(gan, schema)}
    return [a.name for a in readable(schema) if a.name in names]


def judging_aspect(schema: Schema) -> str | None:
    """Return the aspect on whose network's features distances are taken, or None if none is known.

    It is the class, or else the first annotation, whatever the generators carry: so more may join.

    Example:
        >>> from augmint.aspects.category import Category
        >>> from augmint.aspects.vector import Vector
        >>> label, age = Category("label", ("cat", "dog")), Vector("age", ("years",))
        >>> judging_aspect(Schema((age, label))), judging_aspect(Schema((age,)))
        ('label', 'age')
    """
    return LABEL if LABEL in schema else next((a.name for a in readable(schema)), None)


def reader_role(schema: Schema, aspect: str) -> str:
    """Return what a stage calls its input that reads an annotation; it may be the judge itself.

    Example:
        >>> from augmint.aspects.vector import Vector
        >>> schema = Schema((Vector("age", ("years",)), Vector("pose", ("yaw",))))
        >>> reader_role(schema, "age"), reader_role(schema, "pose")
        ('judge', 'reads pose')
    """
    return "judge" if aspect == judging_aspect(schema) else f"reads {aspect}"


def labelled(table: Table, aspect: str, rows: IntArray) -> IntArray:
    """Return the rows that hold some truth about an annotation."""
    return rows[table.schema[aspect].told(np.asarray(table.values[aspect][rows]))]


@dataclass(frozen=True)
class ReadingConfig:
    """A network that learns to predict an annotation.

    Args:
        task: its aspect, network and budget.
        policy: augmentation of its training.
        seed: of the comparison, or of what was drawn.
        device: where it runs.
    """

    task: TaskConfig
    policy: Spec
    seed: int
    device: str = "cpu"

    @classmethod
    def of(cls, how: Measures, aspect: Aspect, seed: int, device: str = "cpu") -> ReadingConfig:
        """Return what a comparison's measures say of one annotation.

        Raises:
            UsageError: for a field that a task does not have.
        """
        fixed = {"kind": _kind(aspect), "aspect": aspect.name}
        shared = {name: getattr(how.task, name) for name in BUDGET}
        own = how.annotations.get(aspect.name, {})
        task = task_of(TaskConfig(kind=fixed["kind"]))
        return cls(task.configured({**shared, **own, **fixed}), how.policy, seed, device)

    def check(self, table: Table) -> None:
        """Raise `IncompatibleError` or `UsageError` where network, images and policy do not fit."""
        aspect = table.schema[self.task.aspect]
        task_of(self.task).check(self.task, aspect, self.policy)
        build_network(self.task, table.shape, aspect.width, flat=aspect.flat)

    def learn(self, table: Table, source: Source, purpose: str) -> Reading:
        """Return a network that learnt from some images alone."""
        task, name = task_of(self.task), self.task.aspect
        seed = derive(self.seed, f"compare.{purpose}.{name}")
        where = (table.schema, table.shape)
        trained = task.train(self.task, *where, [source], self.policy, seed, self.device)
        return Reading(trained, task)


@dataclass(frozen=True)
class Reading:
    """A trained network that reads an annotation, and the task by which it is scored."""

    trained: TrainedTask
    task: Task

    @classmethod
    def load(cls, folder: Path, device: str) -> Reading:
        """Read what the stage `reader` wrote."""
        trained = TrainedTask.load(folder / JUDGE, device)
        return cls(trained, task_of(trained.config))

    def errors(self, rows: RealRows) -> FloatArray:
        """Return the errors on real images, `(N,)`, in the unit of the task's score."""
        found: FloatArray = 1.0 - self.task.score(self.trained, rows).per_image
        return found

    def truth(self, minted: Minted, real: RealRows, own: FloatArray) -> AnnotationTruth | str:
        """Return how true the claims of generated images are, or why that cannot be said.

        Args:
            minted: generated images; those whose claim says nothing are left out.
            real: real images, for the unit of the error.
            own: the network's errors on them.
        """
        name, given = self.trained.aspect.name, minted.values[self.trained.aspect.name]
        told = np.flatnonzero(self.trained.aspect.told(given))
        if not len(told):
            return f"no image claims anything of {name}"
        errors = self.task.claim_errors(
            self.trained, minted.images[told], given[told], real.values[name]
        )
        return annotation_truth(errors, own)

    def words(self, images: int) -> str:
        """Return how so many generated images were measured."""
        config = self.trained.config
        return (
            f"{self.unit}; {images} generated images, none rejected; {network_of(config)}, "
            f"{config.steps} steps on real images that no generator saw, {self.trained.digest[:12]}"
        )

    @property
    def unit(self) -> str:
        """What its error is, in words."""
        measure = self.task.measure
        return ", ".join(w for w in (measure.error, measure.unit) if w)


def network_of(config: TaskConfig) -> str:
    """Return the name of a task's network.

    Example:
        >>> network_of(TaskConfig(network={"name": "small-cnn", "channels": 8}))
        'small-cnn'
    """
    return config.model or split_spec(config.network, "architecture")[0]


def _kind(aspect: Aspect) -> str:
    """Return the name of the task of an aspect that has one (`readable`)."""
    return task_for(aspect) or TaskConfig.kind


# stages ------------------------------------------------------------------------------------------


def reader(config: ReadingConfig, inputs: Inputs, folder: Path, work: Path) -> Value:
    """Train a network on real images that no generator sees, and score it on real test images."""
    table, rows = opened(inputs)
    own, name = judge_rows(rows), config.task.aspect
    found = config.learn(table, real_source(table, own), "judge")
    errors = found.errors(RealRows.of(table, labelled(table, name, rows.test)))
    found.trained.save(folder / JUDGE)
    np.save(folder / "rows.npy", own)
    np.save(folder / ERRORS, errors)
    return {
        "digest": found.trained.digest,
        "trained_on": len(own),
        "numbers": {
            f"error_{name}_real": float(errors.mean()),
            f"median_{name}_real": float(np.median(errors)),
        },
    }


def learner(config: ReadingConfig, inputs: Inputs, folder: Path, work: Path) -> Value:
    """Train a network on the generators' real images:
    what learning from generated ones is held to."""
    table, rows = opened(inputs)
    name = config.task.aspect
    found = config.learn(table, real_source(table, rows.train), "learner")
    errors = found.errors(RealRows.of(table, labelled(table, name, rows.test)))
    if table.schema[name].spatial:
        taken = rows.test[rows_of_classes(table.strata()[rows.test])]
        images = np.ascontiguousarray(table.images[taken])
        np.save(folder / DRAWN, drawn(table.schema[name], images, table.values[name][taken]))
    return {"numbers": {f"learnt_{name}": float(errors.mean())}, "images": len(rows.train)}

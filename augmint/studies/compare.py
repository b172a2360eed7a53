"""`compare`: several generators on the same data with the same budget, as a report.

DIR/compare.html   the report, one file       DIR/config.yaml   the resolved configuration
DIR/compare.json   the same numbers           DIR/stages/       every stage's results
DIR/pictures/      what the report shows

A part of the training images is kept from every generator: the judge learns from it, once, and so
do networks that read the annotations which generators carry. All generators learn from the rest and
are shown the same number of real images; a seed decides on initialisation, order and latents, and
is shared by them. Running again does only what is missing; more generators and more seeds may join.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from augmint.aspects.category import LABEL
from augmint.core.config import read_yaml, to_plain, write_yaml
from augmint.core.errors import AugmintError, DataError, UsageError, nearest, visible
from augmint.core.machine import resolve_device
from augmint.core.runs import lock_folder, provenance, sweep, write_atomic
from augmint.core.streams import derive
from augmint.data.check import check, left_out
from augmint.data.ingest import ingest
from augmint.studies import comparing, reading, steps
from augmint.studies.compared import assemble, pictures_of
from augmint.studies.critics import classifier_refusal
from augmint.studies.measured import Measures
from augmint.studies.reading import claimed, judging_aspect, read_aspects, reader_role
from augmint.studies.report.comparison import render_comparison
from augmint.studies.report.render import to_json, write_page
from augmint.studies.rows import SplitConfig, draw, judge_rows, seed_of
from augmint.studies.runner import run_stages
from augmint.studies.stages import Stage, load
from augmint.studies.study import differences, parse_size
from augmint.studies.telling import tell, tell_recognised
from augmint.studies.unchanged import forget_first_try, same_data
from augmint.training.compatibility import check_compatible
from augmint.training.config import GanConfig

if TYPE_CHECKING:
    from augmint.data.table import Table

FEWEST = 8
"""Real images of each class that a judge learns from, at least."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,47}")


@dataclass(frozen=True)
class CompareOptions:
    """What a caller may say of a comparison.

    Args:
        images: real images shown to every generator, repeats counted; None: the smallest budget
            among the generators' own.
        seeds: trainings of each generator.
        seed: of everything random.
        size: side to which images are resampled, "48" or "32x48".
        channels: of the images; None: as they are.
        per_class: training images a class that generators see; None: all but the judge's.
        baseline: the generator that the others are held against; None: the first.
        measures: how each is measured.
        workers, backend, address: where stages run, as for `prove`.
        device: "auto", "cpu" or "cuda".
        drop_duplicates: leave out training images that also stand in the test part.
        dry_run: only say what would be done.
        command: what the report says to repeat it.
    """

    images: int | None = None
    seeds: int = 3
    seed: int = 0
    size: str | None = None
    channels: int | None = None
    per_class: int | None = None
    baseline: str | None = None
    measures: Measures = field(default_factory=Measures)
    workers: int | None = None
    backend: str = "loky"
    address: str | None = None
    device: str = "auto"
    drop_duplicates: bool = False
    dry_run: bool = False
    command: str = ""


@dataclass(frozen=True)
class ComparisonConfig:
    """Everything that the numbers of a comparison depend on, besides the data and the code.

    Args:
        data: the data set.
        generators: by name, each with the steps that the budget gives it.
        images: real images shown to each, repeats counted; up to one batch more.
        baseline: the generator that the others are held against.
        seeds, seed, size, channels, per_class, measures, drop_duplicates: see `CompareOptions`.
        test_share: of a set without a test part.
        judge_share: of the training images; without `per_class`.
    """

    data: str
    generators: Mapping[str, GanConfig]
    images: int
    baseline: str
    seeds: int = 3
    seed: int = 0
    size: tuple[int, int] | None = None
    channels: int | None = None
    per_class: int | None = None
    test_share: float = 0.3
    judge_share: float = 0.25
    measures: Measures = field(default_factory=Measures)
    drop_duplicates: bool = False


def compare(
    generators: Mapping[str, GanConfig], data: str, out: Path, options: CompareOptions
) -> dict[str, Any]:
    """Train and measure every generator and return what `compare.json` holds.

    Args:
        generators: configurations by name (lower-case letters, digits, `.`, `_`, `-`); their own
            numbers of steps give way to the common budget.
        data: as the data of `prove`.
        out: the comparison's folder, which no other run holds.
        options: see there.

    Raises:
        UsageError, DataError, IncompatibleError: before anything is trained.
        InterruptedRunError: after Ctrl-C; the same call again goes on.
    """
    started = time.monotonic()
    config = resolve(generators, data, options)
    device = str(resolve_device(options.device))
    workers = options.workers or os.cpu_count() or 1
    with lock_folder(out):
        sweep(out, out / "stages" / "tables")
        _claim(out / "config.yaml", config)
        tables = out / "stages" / "tables"
        channels, size = config.channels, config.size
        table = ingest(data, tables, size=size, channels=channels, workers=workers)
        tell_recognised(data, table)
        same_data(out, data, table)
        plan = Plan.of(config, table, device)
        if options.dry_run:
            tell(f"the plan, {len(plan.stages)} stages:\n{write_yaml(config)}")
            return {"plan": to_plain(config), "stages": len(plan.stages)}
        missing = sum(load(s, out / "stages") is None for s in plan.stages)
        tell(_announced(config, plan, missing))
        where = (workers, options.backend, options.address)
        results = run_stages(plan.stages, out / "stages", *where)
        report = {
            **assemble(config, plan, results),
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "seconds": round(sum(r.seconds for r in results.values()), 3),
            "wall_seconds": round(time.monotonic() - started, 3),
            "machine": provenance(),
            "command": options.command,
            "config_yaml": write_yaml(config),
        }
        report = to_json({"augmint": report["machine"]["augmint"], **report})
        pictures = pictures_of(plan, results)
        write_page(out, "compare", render_comparison(report, pictures), report, pictures)
    return report


def resolve(
    generators: Mapping[str, GanConfig], data: str, options: CompareOptions
) -> ComparisonConfig:
    """Return the complete configuration, every generator with the common budget.

    Raises:
        UsageError: for no generator, a name, a budget or a number that cannot be used.
    """
    if not generators:
        raise UsageError("a comparison has generators", "none", "name one (augmint list recipes)")
    for name in generators:
        if not _NAME.fullmatch(name):
            raise UsageError(
                "a generator's name is lower-case letters, digits, '.', '_' and '-'",
                name,
                "rename it, in 48 characters at most",
            )
    if options.seeds < 1:
        raise UsageError("a comparison has at least 1 seed", options.seeds, "pass --seeds 3")
    baseline = options.baseline or next(iter(generators))
    if baseline not in generators:
        raise UsageError(
            "the baseline is one of the generators", baseline, nearest(baseline, generators)
        )
    own = {name: gan.steps * gan.batch for name, gan in generators.items()}
    images = min(own.values()) if options.images is None else options.images
    largest = max(gan.batch for gan in generators.values())
    if images < largest:
        raise UsageError(
            f"the budget is at least one batch ({largest} images)",
            images,
            f"pass images={100 * largest} (--images {100 * largest})",
        )
    budgeted = {n: replace(g, steps=-(-images // g.batch)) for n, g in generators.items()}
    return ComparisonConfig(
        data=data,
        generators=budgeted,
        images=images,
        baseline=baseline,
        seeds=options.seeds,
        seed=options.seed,
        size=parse_size(options.size),
        channels=options.channels,
        per_class=options.per_class,
        measures=options.measures,
        drop_duplicates=options.drop_duplicates,
    )


@dataclass(frozen=True)
class Plan:
    """The stages of a comparison, by what they are for; lists follow the seeds.

    Readers and learners are those of annotations that some generator carries, by their names.
    """

    table: Table
    judge: Stage
    reference: Stage
    split: Stage
    readers: Mapping[str, Stage]
    learners: Mapping[str, Stage]
    generators: Mapping[str, list[Stage]]
    classifiers: Mapping[str, list[Stage]]
    measures: Mapping[str, list[Stage]]

    @property
    def stages(self) -> list[Stage]:
        """Every stage whose result is wanted."""
        lists = [*self.generators.values(), *self.classifiers.values(), *self.measures.values()]
        real = [self.split, self.judge, self.reference]
        told = [*self.readers.values(), *self.learners.values()]
        # of a set without classes the judge may be a reader too
        return list(dict.fromkeys([*real, *told, *(s for line in lists for s in line)]))

    @classmethod
    def of(cls, config: ComparisonConfig, table: Table, device: str) -> Plan:
        """Return the graph, once everything that it needs is known to fit.

        Raises:
            DataError, UsageError, IncompatibleError: for data or parts that do not.
        """
        _validate(config, table)
        rows = SplitConfig(
            config.seed,
            0,
            config.per_class,
            config.test_share,
            config.judge_share,
            left_out(check(table, near=False), table, config.drop_duplicates),
        )
        _enough(config, table, rows)
        make = _Maker(config, table, device)
        split = make.stage("split", steps.split, rows, {}, 0.01)
        read = read_aspects(config.generators.values(), table.schema)
        readers = {name: make.reader(name, split) for name in read}
        learners = {name: make.learner(name, split) for name in read}
        judge = make.judge(readers, split)
        known = {"split": split, "judge": judge}
        own = comparing.JudgeConfig(config.measures, config.seed, device)
        reference = make.stage("reference", comparing.reference, own, known)
        trained = {n: [make.generator(n, i, split) for i in range(config.seeds)] for n in make.all}
        classifiers = {
            n: [make.classifier(n, i, split) for i in range(config.seeds)]
            for n, gan in config.generators.items()
            if classifier_refusal(gan, table.schema) is None
        }
        measures = {
            n: [
                make.measure(
                    n,
                    i,
                    known
                    | {"generator": trained[n][i]}
                    | ({"classifier": classifiers[n][i]} if n in classifiers else {}),
                    readers,
                )
                for i in range(config.seeds)
            ]
            for n in make.all
        }
        return cls(
            table, judge, reference, split, readers, learners, trained, classifiers, measures
        )


@dataclass(frozen=True)
class _Maker:
    """Makes the stages of one generator and seed."""

    config: ComparisonConfig
    table: Table
    device: str

    @property
    def all(self) -> Sequence[str]:
        return list(self.config.generators)

    def stage(
        self, name: str, function: Any, config: Any, inputs: Mapping[str, Stage], cost: float = 1.0
    ) -> Stage:
        places = {"table": Path(self.table.folder)}
        stages, roles = tuple(inputs.values()), tuple(inputs)
        return Stage(name, function, config, stages, self.table.digest, cost, roles, places)

    def judge(self, readers: Mapping[str, Stage], split: Stage) -> Stage:
        """Return the network on whose features distances are taken: that of classes, if any."""
        aspect = str(judging_aspect(self.table.schema))
        if aspect == LABEL:
            config = comparing.JudgeConfig(self.config.measures, self.config.seed, self.device)
            return self.stage("judge", comparing.judge, config, {"split": split})
        return readers.get(aspect) or self.reader(aspect, split)

    def reader(self, aspect: str, split: Stage) -> Stage:
        return self._reading("judge", reading.reader, aspect, split)

    def learner(self, aspect: str, split: Stage) -> Stage:
        return self._reading("reference", reading.learner, aspect, split)

    def _reading(self, what: str, function: Any, aspect: str, split: Stage) -> Stage:
        schema = self.table.schema
        place = [a.name for a in schema].index(aspect)  # names of aspects may be any text
        c = self.config
        own = reading.ReadingConfig.of(c.measures, schema[aspect], c.seed, self.device)
        return self.stage(f"{what}-{place}", function, own, {"split": split})

    def _seed(self, index: int) -> int:
        return derive(seed_of(self.config.seed, index), "generator")

    def generator(self, name: str, index: int, split: Stage) -> Stage:
        gan = self.config.generators[name]
        config = steps.GeneratorConfig(gan, self._seed(index), self.device, players=True)
        cost = 3.0 * gan.steps / 1000.0
        return self.stage(
            f"generator-{name}-{index}", comparing.generator, config, {"split": split}, cost
        )

    def classifier(self, name: str, index: int, split: Stage) -> Stage:
        gan = self.config.generators[name]
        config = comparing.ClassifierConfig(gan, self._seed(index), self.device)
        cost = 0.5 * gan.steps / 1000.0
        return self.stage(
            f"classifier-{name}-{index}", comparing.classifier, config, {"split": split}, cost
        )

    def measure(
        self, name: str, index: int, inputs: Mapping[str, Stage], readers: Mapping[str, Stage]
    ) -> Stage:
        c = self.config
        carries = claimed(c.generators[name], self.table.schema)
        schema = self.table.schema
        told = {reader_role(schema, a): s for a, s in readers.items() if a in carries}
        drawn = derive(seed_of(c.seed, index), "compare.drawn")
        config = comparing.GeneratedConfig(
            c.generators[name], c.measures, c.seed, self._seed(index), drawn, self.device
        )
        return self.stage(f"measure-{name}-{index}", comparing.measure, config, {**inputs, **told})


def _claim(path: Path, config: ComparisonConfig) -> None:
    """Write the configuration, unless the folder holds another comparison; it may grow."""
    if not any((path.parent / "stages").glob("judge-*")):
        forget_first_try(path.parent)
    known = read_yaml(path) if path.is_file() else {}
    changed = differences(known, to_plain(config)) if known else []
    free = ("generators", "seeds", "baseline")
    fixed = [name for name in changed if name.partition(".")[0] not in free]
    if fixed:
        raise UsageError(
            "a folder holds one comparison, which more generators and seeds may join",
            f"{path.parent}, where {', '.join(fixed[:4])} differ",
            "choose another folder (--out DIR), or repeat the first options",
        )
    write_atomic(path, write_yaml(config))


def _validate(config: ComparisonConfig, table: Table) -> None:
    minted = len(table.origins.get("minted", ()))
    if minted:
        raise DataError(
            "generators are compared on real images",
            f"{minted} images of {config.data} are marked as minted",
            "give the real data set",
        )
    _judgeable(config, table)
    for name, gan in config.generators.items():
        try:
            check_compatible(gan, table.schema, table.shape)
        except AugmintError as error:
            value = f"{visible(str(error.value))}, in {name}"
            raise type(error)(error.rule, value, error.remedy) from None
    for name in _needed(config, table):
        aspect = table.schema[name]
        reading.ReadingConfig.of(config.measures, aspect, config.seed).check(table)


def _judgeable(config: ComparisonConfig, table: Table) -> None:
    """Raise unless something is known of the images by which they can be judged."""
    schema = table.schema
    if judging_aspect(schema) is None:
        raise DataError(
            "a comparison judges by classes or annotations",
            f"none in {config.data}",
            "give a set with classes, landmarks, masks or values (augmint check says what it has)",
        )
    if LABEL in schema and schema[LABEL].width < 2:
        width = schema[LABEL].width
        raise UsageError("a comparison needs at least 2 classes", width, "add another class")
    known = [a.name for a in reading.readable(schema)]
    for name in config.measures.annotations:
        if name not in known:
            raise UsageError(
                "measures.annotations names annotations of the data", name, nearest(name, known)
            )


def _needed(config: ComparisonConfig, table: Table) -> list[str]:
    """Return the annotations that some network reads."""
    judging = judging_aspect(table.schema)
    read = read_aspects(config.generators.values(), table.schema)
    return [a.name for a in table.schema if a.name in read or a.name == judging != LABEL]


def _enough(config: ComparisonConfig, table: Table, split: SplitConfig) -> None:
    """Raise unless every class has images for the judge, and every annotation is known of some."""
    rows = draw(table, split)
    own = judge_rows(rows)
    counts = np.bincount(table.strata()[own], minlength=len(table.strata_names()))
    if counts.min() < FEWEST:
        name = table.strata_names()[int(counts.argmin())]
        raise DataError(
            f"the judge learns from at least {FEWEST} images of each class that no generator sees",
            f"{counts.min()} of {name}",
            "add images, or leave per_class out (--per-class)",
        )
    for name in _needed(config, table):
        for part, taken in (("the judge's", own), ("the test", rows.test)):
            there = len(reading.labelled(table, name, taken))
            if there < FEWEST:
                raise DataError(
                    f"at least {FEWEST} of {part} images have some of {name} labelled",
                    there,
                    "add images that have",
                )


def _announced(config: ComparisonConfig, plan: Plan, missing: int) -> str:
    shown = f"{config.images:,}".replace(",", " ")
    return (
        f"{config.data}: {', '.join(config.generators)}; {shown} real images shown to each, "
        f"{config.seeds} seed{'' if config.seeds == 1 else 's'}; {missing} of {len(plan.stages)} "
        "stages to do"
    )


__all__ = ["CompareOptions", "ComparisonConfig", "Measures", "Plan", "compare", "resolve"]

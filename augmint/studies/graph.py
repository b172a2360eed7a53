"""The graph of a study: which stages it has, and what each builds on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augmint.core.streams import derive
from augmint.studies import steps
from augmint.studies.arms import ARMS, BASELINE, REASONS, TREATMENT
from augmint.studies.assemble import StudyValues
from augmint.studies.foreign import digest_of, source_files
from augmint.studies.rows import (
    PILOT,
    SplitConfig,
    draw,
    labelled_per_class,
    seed_of,
    unlabelled_rows,
)
from augmint.studies.stages import Stage, StageResult
from augmint.studies.tuning import LAST, Combination
from augmint.tasks.base import task_of
from augmint.tasks.config import TaskConfig

if TYPE_CHECKING:
    from augmint.data.table import Table
    from augmint.studies.study import StudyConfig

ADDS = frozenset({"curated", "raw", "shuffled", "held-back"})
"""Materials whose arms wait for the minted images (held-back counts them)."""

MEASURED = frozenset({steps.policy, steps.pilot, steps.arm})
"""Stage functions that train the measured network, which may come from the user's file."""

PAIRS = 400
"""Image pairs for each mean of the diversity table."""


SNAPSHOTS = (0.25, 0.5, 0.75)
"""Shares of its steps after which a generator's weights are kept, where a rule compares them."""


def name_of(index: int) -> str:
    """Return how stages name a repetition.

    Example:
        >>> name_of(3), name_of(PILOT)
        ('3', 'pilot0')
    """
    return f"pilot{index - PILOT}" if index >= PILOT else str(index)


@dataclass(frozen=True)
class Draw:
    """Which labelled images a chain of stages works on.

    Args:
        index: of the repetition.
        level: share of its labelled images.
        validation: a part of them scores in place of the test images.
        grid: for the table of levels and ratios.

    Example:
        >>> Draw(2).called("mint"), Draw(2, level=0.5).called("arm", "minted")
        ('mint-2', 'grid-arm-minted-0.5-2')
    """

    index: int
    level: float = 1.0
    validation: bool = False
    grid: bool = False

    def called(self, kind: str, *more: str) -> str:
        """Return the name of a stage of a kind; what costs together begins alike."""
        part = "tuning" if self.validation else "grid" if self.grid or self.level < 1 else ""
        level = f"{self.level:g}" if self.level < 1 else ""
        words = (part, kind, *more, level, name_of(self.index))
        return "-".join(word for word in words if word)


@dataclass(frozen=True)
class Plan:
    """What a study's stages share.

    Args:
        config: the question.
        table: the data, opened.
        dropped: rows never trained on.
        device: where networks run.
        arms: the arms that can run here.
        left_out: the others, with the reason.
        unlabelled: rows that hold nothing of what the task predicts.
    """

    config: StudyConfig
    table: Table
    dropped: tuple[int, ...]
    device: str
    arms: tuple[str, ...]
    left_out: Mapping[str, str]
    unlabelled: tuple[int, ...] = ()

    @classmethod
    def of(cls, config: StudyConfig, table: Table, dropped: Sequence[int], device: str) -> Plan:
        """Return the plan; arms whose data do not exist are left out, with the reason."""
        absent = {"learned", "translator"} | (set() if config.per_class else {"pool"})
        if task_of(config.task).aspect(config.task, table.schema).kind != "category":
            absent.add("unmoved")
        if config.long_tail is not None:
            absent.add("every-class")
        elif config.per_class is not None:
            absent.add("imbalance")
        left_out = {a: REASONS[n] for a in config.arms if (n := ARMS[a].needs) in absent and n}
        arms = tuple(a for a in config.arms if a not in left_out)
        unlabelled = unlabelled_rows(table, config.task)
        gone = tuple(int(r) for r in dropped)
        return cls(config, table, gone, device, arms, left_out, unlabelled)

    def stage(
        self, name: str, function: Any, config: Any, inputs: Mapping[str, Stage], cost: float = 1.0
    ) -> Stage:
        """Return a stage that reads the table beside its inputs."""
        places = {"table": Path(self.table.folder)}
        stages, roles = tuple(inputs.values()), tuple(inputs)
        data = self.table.digest
        if function in MEASURED:
            data += self._foreign
        return Stage(name, function, config, stages, data, cost, roles, places)

    @cached_property
    def _foreign(self) -> str:
        """Digest of the user's own files that the measured network is made from."""
        task, found = self.config.task, ""
        if task.model is not None:
            path = Path(task.model.rpartition(":")[0])
            found = digest_of(source_files(path), path.parent)
        if task.weights is not None:
            found += digest_of([Path(task.weights)], Path(task.weights).parent)
        return found

    @cached_property
    def labelled(self) -> int:
        """Labelled images of the smallest class in a repetition."""
        return labelled_per_class(draw(self.table, self.split_config(0)), self.table.strata())

    def split_config(self, of: Draw | int) -> SplitConfig:
        """Return the rows of a repetition, or of a part of it."""
        c, part = self.config, _draw(of)
        validation = c.tuning.validation if part.validation else 0.0
        return SplitConfig(
            c.seed,
            part.index,
            c.per_class,
            c.test_share,
            c.held_out_share,
            self.dropped,
            c.scored_on,
            c.long_tail,
            part.level,
            validation,
            c.gap,
            self.unlabelled,
        )

    def split(self, of: Draw | int) -> Stage:
        """Return the stage that draws the rows of a repetition."""
        name = _draw(of).called("split")
        return self.stage(name, steps.split, self.split_config(of), {}, 0.01)

    def training(self, index: int, task: TaskConfig | None = None) -> steps.TrainingConfig:
        """Return how the task is trained in a repetition, under the chosen policy."""
        seed = seed_of(self.config.seed, index)
        tailed = self.config.long_tail is not None
        return steps.TrainingConfig(task or self.config.task, seed, None, self.device, tailed)

    def judge(self, index: int) -> steps.TrainingConfig:
        """Return how judges are trained: our own small network, whatever the user's is."""
        own, task = self.config.task, task_of(self.config.task)
        fields = {"steps": own.steps, "kind": own.kind, "aspect": own.aspect}
        return self.training(index, task.configured(fields))

    @cached_property
    def choice(self) -> Stage:
        """The stage that chooses the classic policy by cross-validation on pilot seeds."""
        search = self.config.policy
        inputs = []
        for pilot in range(search.pilot_seeds):
            index = PILOT + pilot
            for name in search.candidates:
                training = replace(self.training(index), policy=name)
                inputs.append(
                    self.stage(
                        f"policy-{name}-{name_of(index)}",
                        steps.policy,
                        steps.PolicyConfig(training, search.folds),
                        {"split": self.split(index)},
                        cost=search.folds * self.arm_cost,
                    )
                )
        choice = steps.ChoiceConfig(search.candidates)
        return Stage("policy", steps.choose, choice, tuple(inputs), self.table.digest, 0.01)

    def pilots(self) -> list[Stage]:
        """Return the stages that estimate spread and cost before anything is spent."""
        return [
            self.stage(
                f"pilot-{p}",
                steps.pilot,
                steps.ArmConfig(self.training(PILOT + p), BASELINE.name, self.config.ratio),
                {"split": self.split(PILOT + p), "policy": self.choice},
                cost=2 * self.arm_cost,
            )
            for p in range(self.config.pilot_seeds)
        ]

    @property
    def arm_cost(self) -> float:
        """Relative cost of training the task once; a step of a generator costs about three."""
        return self.config.task.steps / 1000.0

    def generator(self, of: Draw | int) -> Stage:
        """Return the stage that trains a repetition's generator."""
        c, part = self.config, _draw(of)
        seed = derive(seed_of(c.seed, part.index), "generator")
        # a rule that compares weights along the way needs them kept, wherever it might be chosen
        kept = () if {c.checkpoint, *c.tuning.checkpoints} == {LAST} else SNAPSHOTS
        even = c.long_tail is not None
        config = steps.GeneratorConfig(c.generator, seed, self.device, even, kept)
        cost = 3.0 * c.generator.steps / 1000.0
        inputs = {"split": self.split(of)}
        return self.stage(part.called("generator"), steps.generator, config, inputs, cost)

    def mint(self, of: Draw | int, per_class: int, trial: Combination | None = None) -> Stage:
        """Return the stage that mints a repetition's images; a trial has settings of its own."""
        c, part = self.config, _draw(of)
        raw = trial is None and any(ARMS[a].material == "raw" for a in self.arms)
        seed = derive(seed_of(c.seed, part.index), "mint")
        curation, checkpoint, name = c.curation, c.checkpoint, part.called("mint")
        if trial is not None:
            curation = replace(curation, threshold=trial.threshold)
            checkpoint = trial.checkpoint
            name = part.called("mint", f"{trial.threshold:g}", checkpoint)
        judge = self.judge(part.index)
        config = steps.MintConfig(curation, judge, per_class, raw, seed, checkpoint, c.gap)
        inputs = {
            "split": self.split(of),
            "policy": self.choice,
            "generator": self.generator(of),
            **({} if trial else self.settings),
        }
        return self.stage(name, steps.mint_images, config, inputs, 2 * self.arm_cost)

    @cached_property
    def settings(self) -> dict[str, Stage]:
        """The stage that tunes, as an input named "tuned"; nothing where none does."""
        tuning = self.config.tuning
        if not tuning.active:
            return {}
        trials = tuple(self.trials().values())
        every = tuple(tuning.combinations(self.config.ratio, self.config.curation.threshold))
        config = steps.TuneConfig(every, tuning.pilot_seeds)
        return {"tuned": Stage("tuning", steps.tune, config, trials, self.table.digest, 0.01)}

    def trials(self) -> dict[str, Stage]:
        """Return, by name, the trainings on pilot draws whose validation scores tune."""
        c, found = self.config, {}
        for p in range(c.tuning.pilot_seeds):
            chosen = Draw(PILOT + p, validation=True)
            for trial in c.tuning.combinations(c.ratio, c.curation.threshold):
                mint = self.mint(chosen, c.mint_count(self.labelled), trial)
                config = steps.ArmConfig(self.training(chosen.index), TREATMENT.name, trial.ratio)
                inputs = {"split": self.split(chosen), "policy": self.choice, "mint": mint}
                name = chosen.called("arm", trial.label)
                found[name] = self.stage(name, steps.arm, config, inputs, self.arm_cost)
        return found

    def diagnosis(self, index: int, mint: Stage) -> Stage:
        """Return the stage that explains a repetition."""
        seed = derive(seed_of(self.config.seed, index), "diagnosis")
        config = steps.DiagnosisConfig(self.judge(index), PAIRS, seed)
        inputs = {"split": self.split(index), "policy": self.choice, "mint": mint}
        return self.stage(f"diagnosis-{index}", steps.diagnosis, config, inputs, 3 * self.arm_cost)

    def arm(
        self, name: str, of: Draw | int, mint: Stage | None, ratio: float | None = None
    ) -> Stage:
        """Return the stage that trains and scores one arm; a ratio given is one of the grid."""
        part = _draw(of)
        given = self.config.ratio if ratio is None else ratio
        config = steps.ArmConfig(self.training(part.index), name, given)
        inputs = {"split": self.split(of), "policy": self.choice}
        added = ARMS[name].material
        if mint is not None and added in ADDS:
            inputs["mint"] = mint
        if ratio is None and added != "none":
            inputs |= self.settings
        label = part.called("arm", name)
        if ratio is not None:
            label = replace(part, grid=True).called("arm", name, f"{ratio:g}")
        return self.stage(label, steps.arm, config, inputs, self.arm_cost)

    def grid(
        self, indices: Sequence[int], labelled: int, arms: Mapping[str, list[Stage]]
    ) -> dict[tuple[float, float], list[Stage]]:
        """Return the treatment at every level and ratio, by (level, ratio)."""
        c, found = self.config, {}
        for level in (*self.levels(labelled), 1.0) if c.ratios else ():
            count = c.mint_count(round(level * labelled))
            for ratio in c.ratios:
                if (level, ratio) == (1.0, c.ratio) and not c.tuning.active:
                    found[level, ratio] = arms[TREATMENT.name]
                    continue
                draws = [Draw(i, level) for i in indices]
                found[level, ratio] = [
                    self.arm(TREATMENT.name, d, self.mint(d, count), ratio) for d in draws
                ]
        return found

    def levels(self, labelled: int) -> tuple[float, ...]:
        """Return the sub-levels that hold at least 2 images a class."""
        return tuple(x for x in sorted(self.config.levels) if round(x * labelled) >= 2)


@dataclass(frozen=True)
class Graph:
    """All stages of a study, by what they are for; lists follow the seeds."""

    splits: list[Stage]
    policy: Stage
    pilots: list[Stage]
    generators: list[Stage]
    mints: list[Stage]
    diagnoses: list[Stage]
    arms: Mapping[str, list[Stage]]
    levels: Mapping[float, list[Stage]]
    grid: Mapping[tuple[float, float], list[Stage]]
    tuning: Stage | None

    @classmethod
    def of(cls, plan: Plan, indices: Sequence[int], labelled: int) -> Graph:
        """Return the graph for the given repetitions."""
        per_class = plan.config.mint_count(labelled)
        mints = [plan.mint(i, per_class) for i in indices]
        pairs = list(zip(indices, mints, strict=True))
        arms = {name: [plan.arm(name, i, m) for i, m in pairs] for name in plan.arms}
        levels = {
            level: [plan.arm(BASELINE.name, Draw(i, level), None) for i in indices]
            for level in plan.levels(labelled)
        }
        return cls(
            [plan.split(i) for i in indices],
            plan.choice,
            plan.pilots(),
            [plan.generator(i) for i in indices],
            mints,
            [plan.diagnosis(i, m) for i, m in pairs],
            arms,
            levels,
            plan.grid(indices, labelled, arms),
            plan.settings.get("tuned"),
        )

    def stages(self) -> list[Stage]:
        """Return every stage."""
        lists = [self.splits, self.pilots, self.generators, self.mints, self.diagnoses]
        lists += [*self.arms.values(), *self.levels.values(), *self.grid.values()]
        lists += [] if self.tuning is None else [[self.tuning]]
        return [self.policy, *(stage for group in lists for stage in group)]

    def values(self, results: Mapping[str, StageResult], labelled: int) -> StudyValues:
        """Return what the stages returned, for `assemble`."""

        def of(group: Sequence[Stage]) -> list[Any]:
            return [results[stage.name].value for stage in group]

        def images(level: float) -> int:
            return max(1, round(level * labelled))

        return StudyValues(
            arms={name: of(group) for name, group in self.arms.items()},
            levels={images(level): of(group) for level, group in self.levels.items()},
            pilots=of(self.pilots),
            mints=of(self.mints),
            diagnoses=of(self.diagnoses),
            generators=of(self.generators),
            policy=results[self.policy.name].value,
            grid={(images(x), ratio): of(group) for (x, ratio), group in self.grid.items()},
            tuning=None if self.tuning is None else results[self.tuning.name].value,
            splits=of(self.splits),
        )


def _draw(of: Draw | int) -> Draw:
    return of if isinstance(of, Draw) else Draw(of)

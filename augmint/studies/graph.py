"""The graph of a study: which stages it has, and what each builds on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augmint.core.streams import derive
from augmint.studies import steps
from augmint.studies.arms import ARMS, BASELINE, REASONS
from augmint.studies.assemble import StudyValues
from augmint.studies.rows import PILOT, SplitConfig, seed_of
from augmint.studies.stages import Stage, StageResult
from augmint.tasks.base import TaskConfig

if TYPE_CHECKING:
    from augmint.data.table import Table
    from augmint.studies.study import StudyConfig

ADDS = frozenset({"curated", "raw", "shuffled", "held-back"})
"""Materials whose arms wait for the minted images (held-back counts them)."""

MEASURED = frozenset({steps.policy, steps.pilot, steps.arm})
"""Stage functions that train the measured network, which may come from the user's file."""

PAIRS = 400
"""Image pairs for each mean of the diversity table."""


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
    """

    config: StudyConfig
    table: Table
    dropped: tuple[int, ...]
    device: str
    arms: tuple[str, ...]
    left_out: Mapping[str, str]

    @classmethod
    def of(cls, config: StudyConfig, table: Table, dropped: Sequence[int], device: str) -> Plan:
        """Return the plan; arms whose data do not exist are left out, with the reason."""
        absent = {"learned", "translator"} | (set() if config.per_class else {"pool"})
        left_out = {a: REASONS[n] for a in config.arms if (n := ARMS[a].needs) in absent and n}
        arms = tuple(a for a in config.arms if a not in left_out)
        return cls(config, table, tuple(int(r) for r in dropped), device, arms, left_out)

    def stage(
        self, name: str, function: Any, config: Any, inputs: Mapping[str, Stage], cost: float = 1.0
    ) -> Stage:
        """Return a stage that reads the table beside its inputs."""
        places = {"table": Path(self.table.folder)}
        stages, roles = tuple(inputs.values()), tuple(inputs)
        data = self.table.digest
        if function in MEASURED:
            data += self.foreign
        return Stage(name, function, config, stages, data, cost, roles, places)

    @property
    def foreign(self) -> str:
        """Digest of the user's own files that the measured network is made from."""
        task = self.config.task
        files = [f for f in (task.model and task.model.rpartition(":")[0], task.weights) if f]
        return "".join(hashlib.sha256(Path(f).read_bytes()).hexdigest() for f in files)

    def split_config(self, index: int) -> SplitConfig:
        """Return the rows of a repetition."""
        c = self.config
        return SplitConfig(c.seed, index, c.per_class, c.test_share, c.held_out_share, self.dropped)

    def split(self, index: int) -> Stage:
        """Return the stage that draws the rows of a repetition."""
        return self.stage(f"split-{_name(index)}", steps.split, self.split_config(index), {}, 0.01)

    def training(self, index: int, task: TaskConfig | None = None) -> steps.TrainingConfig:
        """Return how the task is trained in a repetition, under the chosen policy."""
        seed = seed_of(self.config.seed, index)
        return steps.TrainingConfig(task or self.config.task, seed, None, self.device)

    def judge(self, index: int) -> steps.TrainingConfig:
        """Return how judges are trained: our own small network, whatever the user's is."""
        task = TaskConfig(steps=self.config.task.steps)
        return self.training(index, task)

    def choice(self) -> Stage:
        """Return the stage that chooses the classic policy by cross-validation on pilot seeds."""
        search = self.config.policy
        inputs = []
        for pilot in range(search.pilot_seeds):
            index = PILOT + pilot
            for name in search.candidates:
                training = replace(self.training(index), policy=name)
                inputs.append(
                    self.stage(
                        f"policy-{name}-{_name(index)}",
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
                {"split": self.split(PILOT + p), "policy": self.choice()},
                cost=2 * self.arm_cost,
            )
            for p in range(self.config.pilot_seeds)
        ]

    @property
    def arm_cost(self) -> float:
        """Relative cost of training the task once; a step of a generator costs about three."""
        return self.config.task.steps / 1000.0

    def generator(self, index: int) -> Stage:
        """Return the stage that trains a repetition's generator."""
        seed = derive(seed_of(self.config.seed, index), "generator")
        config = steps.GeneratorConfig(self.config.generator, seed, self.device)
        cost = 3.0 * self.config.generator.steps / 1000.0
        return self.stage(
            f"generator-{index}", steps.generator, config, {"split": self.split(index)}, cost
        )

    def mint(self, index: int, per_class: int) -> Stage:
        """Return the stage that mints a repetition's images."""
        raw = any(ARMS[a].material == "raw" for a in self.arms)
        seed = derive(seed_of(self.config.seed, index), "mint")
        config = steps.MintConfig(self.config.curation, self.judge(index), per_class, raw, seed)
        inputs = {
            "split": self.split(index),
            "policy": self.choice(),
            "generator": self.generator(index),
        }
        return self.stage(f"mint-{index}", steps.mint_images, config, inputs, 2 * self.arm_cost)

    def diagnosis(self, index: int, mint: Stage) -> Stage:
        """Return the stage that explains a repetition."""
        seed = derive(seed_of(self.config.seed, index), "diagnosis")
        config = steps.DiagnosisConfig(self.judge(index), PAIRS, seed)
        inputs = {"split": self.split(index), "policy": self.choice(), "mint": mint}
        return self.stage(f"diagnosis-{index}", steps.diagnosis, config, inputs, 3 * self.arm_cost)

    def arm(self, name: str, index: int, mint: Stage | None, level: float = 1.0) -> Stage:
        """Return the stage that trains and scores one arm of a repetition."""
        config = steps.ArmConfig(self.training(index), name, self.config.ratio, level)
        inputs = {"split": self.split(index), "policy": self.choice()}
        if mint is not None and ARMS[name].material in ADDS:
            inputs["mint"] = mint
        label = f"arm-{name}-{index}" if level == 1.0 else f"level-{level:g}-{index}"
        return self.stage(label, steps.arm, config, inputs, self.arm_cost)


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

    @classmethod
    def of(cls, plan: Plan, indices: Sequence[int], labelled: int) -> Graph:
        """Return the graph for the given repetitions."""
        per_class = plan.config.mint_count(labelled)
        mints = [plan.mint(i, per_class) for i in indices]
        pairs = list(zip(indices, mints, strict=True))
        return cls(
            [plan.split(i) for i in indices],
            plan.choice(),
            plan.pilots(),
            [plan.generator(i) for i in indices],
            mints,
            [plan.diagnosis(i, m) for i, m in pairs],
            {name: [plan.arm(name, i, m) for i, m in pairs] for name in plan.arms},
            {
                level: [plan.arm(BASELINE.name, i, None, level) for i in indices]
                for level in plan.config.levels
                if round(level * labelled) >= 2
            },
        )

    def stages(self) -> list[Stage]:
        """Return every stage."""
        lists = [self.splits, self.pilots, self.generators, self.mints, self.diagnoses]
        lists += [*self.arms.values(), *self.levels.values()]
        return [self.policy, *(stage for group in lists for stage in group)]

    def values(self, results: Mapping[str, StageResult], labelled: int) -> StudyValues:
        """Return what the stages returned, for `assemble`."""

        def of(group: Sequence[Stage]) -> list[Any]:
            return [results[stage.name].value for stage in group]

        return StudyValues(
            arms={name: of(group) for name, group in self.arms.items()},
            levels={
                max(1, round(level * labelled)): of(group) for level, group in self.levels.items()
            },
            pilots=of(self.pilots),
            mints=of(self.mints),
            diagnoses=of(self.diagnoses),
            generators=of(self.generators),
            policy=results[self.policy.name].value,
        )


def _name(index: int) -> str:
    return f"pilot{index - PILOT}" if index >= PILOT else str(index)

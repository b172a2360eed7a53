"""What recipes share that ask whether merging pays: every network of one size, trained alike."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from augmint.core.errors import UsageError
from augmint.core.machine import resolve_device
from augmint.core.registry import Spec, split_spec
from augmint.merging.contraction import Rules
from augmint.merging.draw import draw_merge
from augmint.recipes.base import Outcome, Recipe, Surroundings
from augmint.recipes.spdnn_candidates import Candidate, Ending, Operations, Scaled
from augmint.recipes.spdnn_networks import (
    VOTES,
    mean_size,
    networks_of,
    parents_of,
    random_names,
)
from augmint.recipes.spdnn_outcome import Trained, outcome
from augmint.recipes.spdnn_training import (
    Repetition,
    RunConfig,
    Training,
    VoteConfig,
    train_network,
    vote,
)
from augmint.studies.rows import SplitConfig
from augmint.studies.runner import run_stages
from augmint.studies.stages import Stage
from augmint.tasks.base import task_of
from augmint.tasks.config import TaskConfig

if TYPE_CHECKING:
    from augmint.aspects.base import Aspect
    from augmint.data.table import Table
    from augmint.merging.merge import Merge


@dataclass(frozen=True)
class EqualSizeConfig:
    """Everything that the numbers of such a recipe depend on, besides data and seed.

    Args:
        parents: words of each, without the last layer.
        rules: of the merge.
        training: of every network.
        budget: parameters of every network; None: those of the mean parent.
        architectures: further networks, of the axis of this name; their `channels` are chosen.
        per_class: training images of each class; of a set without the category `label`, of all.
        validation_per_class: further images of each class, which choose the best parent.
        test_share: of a set without a test part.
        seeds: repetitions, each with its own images, initialisation and order.
        random_merges: how many are drawn.
        window: steps that training losses are averaged over.
        size: height and width that images are scaled to; None: as they are.
        channels: 1 (grey) or 3; None: as the set has them.
    """

    parents: Mapping[str, str]
    rules: Rules = field(default_factory=Rules)
    training: Training = field(default_factory=Training)
    budget: int | None = None
    architectures: tuple[Spec, ...] = ()
    per_class: int = 300
    validation_per_class: int = 100
    test_share: float = 0.3
    seeds: int = 5
    random_merges: int = 2
    window: int = 25
    size: tuple[int, int] | None = None
    channels: int | None = None


@dataclass(frozen=True)
class EqualSizeRecipe(Recipe[EqualSizeConfig]):
    """Parents, their merge and its rivals at equal parameters; members say task and networks.

    Every network is trained in the same way on the same images. The merged network is judged by
    paired differences over seeds against the best parent, chosen on validation images.
    """

    task: ClassVar[str]
    """What the networks learn: a name of the axis `tasks`, one that predicts classes."""

    def run(self, config: EqualSizeConfig, surroundings: Surroundings) -> Outcome:
        """Train every network for every seed, as stages, and judge."""
        from augmint.data.check import check, left_out
        from augmint.data.ingest import ingest

        if config.seeds < 2:
            raise UsageError("differences need at least 2 seeds", config.seeds, "set seeds to 5")
        cache = surroundings.out / "cache"
        table = ingest(surroundings.data, cache, size=config.size, channels=config.channels)
        task, aspect = self.checked(config, table)
        gone = left_out(check(table, near=False), table, surroundings.drop_duplicates)
        merge, budget, candidates = candidates_of(config, table, aspect)
        splits = [split_of(config, surroundings.seed, i, gone) for i in range(config.seeds)]
        stages = stages_of(config, candidates, task, table, splits, surroundings.device)
        root, wanted = surroundings.out / "stages", [s for line in stages.values() for s in line]
        done = run_stages(wanted, root, surroundings.workers)
        random = random_names(config.random_merges)
        trained = Trained(
            candidates,
            list(config.parents),
            {name: [done[s.name] for s in line] for name, line in stages.items()},
            task_of(task).measure,
            budget,
            config.window,
            [n for n in candidates if n not in random],
        )
        shown = task.steps * task.batch * config.seeds * len(candidates)
        files = {
            "merge.json": json.dumps(merge.report(), indent=1) + "\n",
            "network.json": json.dumps(merge.network.to_json(), indent=1) + "\n",
            **draw_merge(merge),
        }
        return outcome(trained, shown, files)

    def checked(self, config: EqualSizeConfig, table: Table) -> tuple[TaskConfig, Aspect]:
        """Return the task on a set, and the aspect that it predicts.

        Raises:
            UsageError: if the set has several that it could be, or names or fields are unknown.
            IncompatibleError: if it has none, or augmentation or precision do not fit.
        """
        given = config.training.task(self.task)
        task = task_of(given)
        aspect = task.aspect(given, table.schema)
        given = replace(given, aspect=aspect.name)
        for network in (given.network, *config.architectures):
            task.check(replace(given, network=network), aspect, config.training.policy)
        return given, aspect


def split_of(
    config: EqualSizeConfig, seed: int, index: int, gone: tuple[int, ...] = ()
) -> SplitConfig:
    """Return which images a repetition has, of those that are not gone.

    Example:
        >>> config = EqualSizeConfig({}, per_class=300, validation_per_class=100)
        >>> split = split_of(config, seed=0, index=2)
        >>> split.index, split.validation
        (2, 0.25)
    """
    both = config.per_class + config.validation_per_class
    return SplitConfig(
        seed,
        index,
        both,
        config.test_share,
        held_out_share=0.0,
        dropped=gone,
        validation=config.validation_per_class / both,
    )


def candidates_of(
    config: EqualSizeConfig, table: Table, aspect: Aspect
) -> tuple[Merge, int, dict[str, Candidate]]:
    """Return the merge, the parameters that all networks are for, and the networks by name.

    Raises:
        UsageError: for a budget that cannot be met, or two networks of one name.
    """
    ending = Ending(aspect.width, aspect.flat)
    parents = parents_of(config.parents, table.shape, ending)
    budget = mean_size(parents) if config.budget is None else config.budget
    merge, networks = networks_of(parents, ending, budget, config.rules, config.random_merges)
    found: dict[str, Candidate] = {name: Operations.of(n) for name, n in networks.items()}
    for spec in config.architectures:
        name = split_spec(spec, "architecture")[0]
        if name in found:
            raise UsageError(
                "networks that are compared have names of their own", name, "leave one out"
            )
        found[name] = Scaled.of(spec, table.shape, ending, budget)
    return merge, budget, found


def stages_of(
    config: EqualSizeConfig,
    candidates: Mapping[str, Candidate],
    task: TaskConfig,
    table: Table,
    splits: Sequence[SplitConfig],
    device: str,
) -> dict[str, list[Stage]]:
    """Return one stage a network and split, votes last."""
    device, training = str(resolve_device(device)), config.training
    most = max(c.multiplications for c in candidates.values())
    places = {"table": table.folder}
    found: dict[str, list[Stage]] = {name: [] for name in (*candidates, VOTES)}
    for index, split in enumerate(splits):
        shared = Repetition(task, training.policy, training.readings, split, device)
        for name, candidate in candidates.items():
            found[name].append(
                Stage(
                    f"{name}-seed{index}",
                    train_network,
                    RunConfig(candidate, shared),
                    data=table.digest,
                    cost=candidate.multiplications / most,
                    places=places,
                )
            )
        found[VOTES].append(
            Stage(
                f"{VOTES}-seed{index}",
                vote,
                VoteConfig({p: candidates[p] for p in config.parents}, shared),
                tuple(found[p][index] for p in config.parents),
                table.digest,
                cost=0.01,
                roles=tuple(config.parents),
                places=places,
            )
        )
    return found

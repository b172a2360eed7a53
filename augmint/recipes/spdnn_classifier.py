"""SPDNN as a classifier: is a merged network better than its parents at equal size?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from augmint.core.errors import UsageError
from augmint.core.machine import resolve_device
from augmint.core.registry import RECIPES
from augmint.merging.contraction import Rules
from augmint.merging.draw import draw_merge
from augmint.merging.shapes import totals
from augmint.recipes.base import Outcome, Recipe, Surroundings
from augmint.recipes.spdnn_judging import (
    Judgement,
    best_on_validation,
    convergence,
    judge,
    vote,
    windows,
)
from augmint.recipes.spdnn_networks import INCEPTION, MERGED, PARALLEL, VOTES, networks_of
from augmint.recipes.spdnn_tables import accuracy_table, convergence_table
from augmint.recipes.spdnn_training import (
    RunConfig,
    Training,
    read_probabilities,
    rows_of,
    train_network,
)
from augmint.studies.rows import SplitConfig
from augmint.studies.runner import run_stages
from augmint.studies.stages import Stage, StageResult

if TYPE_CHECKING:
    from augmint.data.table import Table
    from augmint.merging.network import Network

PARENTS = {
    "deep": "3C:8 3C:12 2P 3C:20 3C:24 2P 3C:28 3C:32 2P",
    "wide": "5C:12 2P 5C:24 2P 5C:40 2P",
    "falling": "7C:8 2P 5C:24 2P 3C:64 2P",
    "rising": "3C:16 2P 5C:24 2P 7C:20 2P",
}
"""Four parents of about 30 000 parameters at 28 px: other kernels, other depths, one output."""


@dataclass(frozen=True)
class ClassifierConfig:
    """Everything that the recipe's numbers depend on, besides data and seed.

    Args:
        parents: words of each, without the last dense layer.
        rules: of the merge.
        training: of every network.
        per_class: training images of each class.
        validation_per_class: further images of each class, which choose the best parent.
        test_share: of a set without a test part.
        seeds: repetitions, each with its own images, initialisation and order.
        random_merges: how many are drawn.
        window: steps that training losses are averaged over.
        size: height and width that images are scaled to; None: as they are.
    """

    parents: Mapping[str, str] = field(default_factory=lambda: dict(PARENTS))
    rules: Rules = field(default_factory=Rules)
    training: Training = field(default_factory=Training)
    per_class: int = 300
    validation_per_class: int = 100
    test_share: float = 0.3
    seeds: int = 5
    random_merges: int = 2
    window: int = 25
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class _Trained:
    """All trainings by network, seeds in order."""

    networks: Mapping[str, Network]
    results: Mapping[str, list[StageResult]]

    def values(self, key: str) -> dict[str, list[Any]]:
        return {name: [r.value[key] for r in found] for name, found in self.results.items()}


@RECIPES.register("spdnn-classifier")
@dataclass(frozen=True)
class SpdnnClassifier(Recipe[ClassifierConfig]):
    """Four parents, their merge and five kinds of rival at equal parameters, on any labelled set.

    Every network is trained in the same way on the same images. The merged network is judged by
    paired differences over seeds against the best parent, chosen on validation images.
    """

    title: ClassVar[str] = "SPDNN, merged classifiers at equal parameters"
    source: ClassVar[str] = "the method of Bazrafkan and Corcoran 2018, arXiv:1711.01943"
    variants: ClassVar[tuple[str, ...]] = ("text",)
    expected: ClassVar[Mapping[str, float | str]] = {
        "merged_minus_best_parent": "above 0 (on irises: better in most measures)",
        "steps_merged": "fewer than the parents'",
        "validation_fluctuation_merged": "less than the parents'",
    }
    data_hint: ClassVar[str] = (
        "labelled images, such as Fashion-MNIST (a folder with its idx files)"
    )

    def configure(self, variant: str, debug: bool = False) -> ClassifierConfig:
        """Return the configuration; the debug version has two seeds and some dozen steps."""
        if debug:
            training = Training(steps=24, batch=32, readings=6)
            return ClassifierConfig(
                training=training, per_class=30, validation_per_class=20, seeds=2, window=4
            )
        return ClassifierConfig()

    def deviations(self, variant: str, debug: bool = False) -> Sequence[str]:
        """Return where the configuration leaves its source."""
        told = [
            "classification in place of segmentation; the parents are ours",
            "AdamW with one cycle of the rate, the same for all networks, and no augmentation",
            "the rate falls to zero at the end, which calms every network's loss",
        ]
        if debug:
            told.append("debug: other data, two seeds and far fewer steps; numbers mean nothing")
        return told

    def run(self, config: ClassifierConfig, surroundings: Surroundings) -> Outcome:
        """Train every network for every seed, as stages, and judge."""
        from augmint.data.ingest import ingest

        table = ingest(surroundings.data, surroundings.out / "cache", size=config.size)
        outputs = len(table.classes())
        merge, networks = networks_of(
            config.parents, table.shape, outputs, config.rules, config.random_merges
        )
        stages = stages_of(config, networks, table, surroundings)
        done = run_stages(
            [s for line in stages.values() for s in line],
            surroundings.out / "stages",
            surroundings.workers,
        )
        results = {name: [done[s.name] for s in line] for name, line in stages.items()}
        files = {
            "merge.json": json.dumps(merge.report(), indent=1) + "\n",
            "network.json": json.dumps(merge.network.to_json(), indent=1) + "\n",
            **draw_merge(merge),
        }
        return outcome(config, _Trained(networks, results), table, surroundings, files)


def split_of(config: ClassifierConfig, seed: int, index: int) -> SplitConfig:
    """Return which images a repetition has."""
    both = config.per_class + config.validation_per_class
    return SplitConfig(
        seed,
        index,
        both,
        config.test_share,
        held_out_share=0.0,
        validation=config.validation_per_class / both,
    )


def stages_of(
    config: ClassifierConfig,
    networks: Mapping[str, Network],
    table: Table,
    surroundings: Surroundings,
) -> dict[str, list[Stage]]:
    """Return one stage a network and seed."""
    if config.seeds < 2:
        raise UsageError("differences need at least 2 seeds", config.seeds, "set seeds to 5")
    device = str(resolve_device(surroundings.device))
    costs = {name: totals(n)["multiplications"] for name, n in networks.items()}

    def stage(name: str, index: int) -> Stage:
        split = split_of(config, surroundings.seed, index)
        run = RunConfig(networks[name].to_json(), config.training, split, device)
        return Stage(
            f"{name}-seed{index}",
            train_network,
            run,
            data=table.digest,
            cost=costs[name] / max(costs.values()),
            places={"table": table.folder},
        )

    return {name: [stage(name, i) for i in range(config.seeds)] for name in networks}


def outcome(
    config: ClassifierConfig,
    trained: _Trained,
    table: Table,
    surroundings: Surroundings,
    files: dict[str, str],
) -> Outcome:
    """Return the numbers, the table and the drawings of all trainings."""
    from augmint.studies.report.curves import intervals_svg, training_svg

    test, validation = trained.values("test"), trained.values("validation")
    best = best_on_validation(validation, list(config.parents))
    _, _, real = rows_of(table, split_of(config, surroundings.seed, 0))
    labels = np.asarray(real.values["label"])
    folders = [[trained.results[p][i].folder for p in config.parents] for i in range(config.seeds)]
    test[VOTES] = [
        float((vote([read_probabilities(f)["test"] for f in line]) == labels).mean())
        for line in folders
    ]
    found = judge(test, MERGED, best, len(labels))
    losses = trained.values("losses")
    trend = convergence(losses, trained.values("validation_losses"), best, config.window)
    rows = _rows(config, trained, test, validation)
    curves = {n: np.mean([windows(x, config.window) for x in v], 0) for n, v in losses.items()}
    drawn = {
        "table.txt": accuracy_table(rows, found),
        "convergence.txt": convergence_table(trend, found.best),
        "losses.svg": training_svg(
            {
                n: v.tolist()
                for n, v in curves.items()
                if n in (*config.parents, MERGED, PARALLEL, INCEPTION)
            },
            config.window,
            MERGED,
        ),
        "differences.svg": intervals_svg(found.rows, found.delta, best),
    }
    details = {
        "sentence": found.sentence,
        "verdict": found.verdict,
        "best_parent": best,
        "delta": found.delta,
        "networks": rows,
        "comparisons": found.rows,
        "convergence": trend,
    }
    shown = config.training.steps * config.training.batch * config.seeds * len(trained.networks)
    return Outcome(
        *_metrics(rows, found, trend, config),
        images_shown=shown,
        files=drawn | files,
        details=details,
    )


def _rows(
    config: ClassifierConfig,
    trained: _Trained,
    test: Mapping[str, list[float]],
    validation: Mapping[str, list[float]],
) -> list[dict[str, Any]]:
    """Return one row a network, votes last."""
    counts = {name: totals(n) for name, n in trained.networks.items()}
    seconds = trained.values("processor_seconds")
    rows: list[dict[str, Any]] = [
        {
            "network": name,
            "parent": name in config.parents,
            "parameters": counts[name]["parameters"],
            "multiplications": counts[name]["multiplications"],
            "accuracy": float(np.mean(test[name])),
            "sd": float(np.std(test[name], ddof=1)),
            "scores": test[name],
            "validation": float(np.mean(validation[name])),
            "processor_seconds": float(np.sum(seconds[name])),
        }
        for name in trained.networks
    ]
    members = [counts[p] for p in config.parents]
    rows.append(
        {
            "network": VOTES,
            "parent": False,
            "parameters": sum(m["parameters"] for m in members),
            "multiplications": sum(m["multiplications"] for m in members),
            "accuracy": float(np.mean(test[VOTES])),
            "sd": float(np.std(test[VOTES], ddof=1)),
            "scores": test[VOTES],
            "validation": None,
            "processor_seconds": None,
        }
    )
    return rows


def _metrics(
    rows: Sequence[Mapping[str, Any]],
    found: Judgement,
    trend: Sequence[Mapping[str, Any]],
    config: ClassifierConfig,
) -> tuple[dict[str, float | None], dict[str, str]]:
    primary = next(r for r in found.rows if r["role"] == "primary")
    counts = {r["network"]: r["parameters"] for r in rows}
    moved = {r["network"]: r for r in trend}
    metrics: dict[str, float | None] = {"merged_minus_best_parent": primary["mean"]}
    metrics |= {f"merged_minus_best_parent_{k}": primary[k] for k in ("low", "high", "p")}
    metrics |= {f"accuracy_{r['network']}": r["accuracy"] for r in rows}
    metrics |= {f"parameters_{n}": counts[n] for n in (MERGED, VOTES)}
    for key in ("steps", "fluctuation", "validation_fluctuation"):
        metrics |= {f"{key}_{MERGED}": moved[MERGED][key]}
        metrics |= {f"{key}_best_parent": moved[found.best][key]}
    protocols = {
        "merged_minus_best_parent": f"test accuracy, paired over {config.seeds} seeds, against "
        f"{found.best}, which validation images chose; {found.verdict}",
        f"accuracy_{VOTES}": "mean probabilities of the trained parents",
        f"parameters_{MERGED}": "all networks but votes are within 1 % of the mean parent",
        f"parameters_{VOTES}": f"of all {len(config.parents)} parents together",
        f"steps_{MERGED}": "until the mean training loss of a window is at or below the last of "
        f"the best parent, windows of {config.window} steps",
        f"fluctuation_{MERGED}": "standard deviation of the training loss around its straight "
        "trend, over the last fifth of the steps",
        f"validation_fluctuation_{MERGED}": "the same of the loss on validation images, over the "
        "last half of its readings",
    }
    return metrics, protocols

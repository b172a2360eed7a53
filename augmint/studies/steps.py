"""The stages of a study as pure functions `(config, inputs, folder, work) -> value`.

`inputs["table"]` is the data set; the other inputs are committed stage folders by name. Each
function reads only its configuration and its inputs, runs on one thread, and returns plain values;
arrays go into `folder`.
"""

from __future__ import annotations

import io
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from augmint.aspects.category import LABEL
from augmint.core.config import to_plain
from augmint.core.pictures import png_bytes, scale_of
from augmint.core.pictures import rows as rows_of_pictures
from augmint.core.registry import Spec
from augmint.core.runs import save_tensors, write_atomic
from augmint.core.streams import derive, permutation
from augmint.data.splits import folds
from augmint.data.table import Table
from augmint.metrics.copying import CopyingReport, assess
from augmint.metrics.image import pairwise_diversity
from augmint.minting.bundle import Bundle
from augmint.minting.curation import CurationConfig, Minted, class_names, mint
from augmint.minting.review import ByError, Review
from augmint.studies.arms import ARMS, BASELINE, NULL
from augmint.studies.checkpoints import bundle_at, checkpoint_of
from augmint.studies.critics import save_players
from augmint.studies.gap import Gap
from augmint.studies.judging import Judge, claims_score, cross_fitted
from augmint.studies.materials import (
    Store,
    describe,
    evened,
    evened_rows,
    load_minted,
    real_source,
    save_minted,
    sources_of,
    strata_of,
    subset,
)
from augmint.studies.rows import (
    Rows,
    SplitConfig,
    class_counts,
    draw,
    labelled_per_class,
    opened,
)
from augmint.studies.stages import read_result
from augmint.studies.tuning import CheckpointRule, Combination
from augmint.tasks.base import task_of
from augmint.tasks.config import TaskConfig
from augmint.tasks.rows import RealRows, Source
from augmint.training.config import GanConfig
from augmint.training.gan import GanTraining, TrainingImages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from augmint.core.types import IntArray
    from augmint.tasks.trained import TrainedTask

Inputs = dict[str, Path]
Value = dict[str, Any]

SAMPLES = 8
"""Pictures of the same latents over the training of a generator."""

AUDIT_LIMIT = 5000
"""Held-back images that the auditing judge trains on, at most."""


def split(config: SplitConfig, inputs: Inputs, folder: Path, work: Path) -> Value:
    """Draw the rows of one repetition."""
    table = Table.open(inputs["table"])
    rows = draw(table, config)
    rows.save(folder / "rows.npz")
    labels = table.strata()
    return {
        "train": len(rows.train),
        "held_out": len(rows.held_out),
        "pool": len(rows.pool),
        "test": len(rows.test),
        "train_per_class": labelled_per_class(rows, labels),
        "train_counts": class_counts(rows, labels, len(table.strata_names())).tolist(),
    }


@dataclass(frozen=True)
class TrainingConfig:
    """What every training of a task shares within one repetition.

    Args:
        task: network, schedule, budget.
        seed: of the repetition.
        policy: the classic policy; None: the one that the input "policy" chose.
        device: where it runs.
        long_tail: classes differ in number by design: what is added fills up the rare ones,
            judges see every class equally often, policies are compared by balanced accuracy.
    """

    task: TaskConfig
    seed: int
    policy: Spec | None = None
    device: str = "cpu"
    long_tail: bool = False


@dataclass(frozen=True)
class PolicyConfig:
    """Cross-validation of one classic policy."""

    training: TrainingConfig
    folds: int


def policy(config: PolicyConfig, inputs: Inputs, folder: Path, work: Path) -> Value:
    """Score a policy: each fold of the labelled images is predicted by a network blind to it."""
    table, rows = opened(inputs)
    scores = []
    for i, (fit, held) in enumerate(
        folds(table.strata(), rows.train, config.folds, config.training.seed)
    ):
        training = replace(config.training, seed=derive(config.training.seed, f"fold.{i}"))
        trained = _train(training, table, [real_source(table, fit)])
        found = task_of(training.task).score(trained, RealRows.of(table, held))
        even = getattr(found, "balanced_accuracy", None) if training.long_tail else None
        scores.append(float(found.per_image.mean()) if even is None else even)
    return {"policy": config.training.policy, "scores": scores}


@dataclass(frozen=True)
class ChoiceConfig:
    """The candidates of the classic policy, in the order in which ties are settled."""

    candidates: tuple[str, ...]


def choose(config: ChoiceConfig, inputs: Inputs, folder: Path, work: Path) -> Value:
    """Choose the candidate with the best mean over folds and pilot seeds; the first of equals."""
    scores: dict[str, list[float]] = {name: [] for name in config.candidates}
    for path in inputs.values():
        value = read_result(path).value
        scores[value["policy"]] += value["scores"]
    means = {name: float(np.mean(s)) for name, s in scores.items()}
    rows = [
        {"name": n, "mean": means[n], "sd": float(np.std(s, ddof=1)), "scores": s}
        for n, s in scores.items()
    ]
    return {"chosen": max(means, key=lambda n: means[n]), "candidates": rows}


@dataclass(frozen=True)
class ArmConfig:
    """One arm of one repetition.

    Args:
        training: what all arms share.
        arm: a name of `ARMS`.
        ratio: share of each batch that is minted, where the input "tuned" chose none.
    """

    training: TrainingConfig
    arm: str
    ratio: float


def arm(config: ArmConfig, inputs: Inputs, folder: Path, work: Path) -> Value:
    """Train the user's network on an arm's images and score it on the fixed test set."""
    store = _store(inputs, config.training.seed)
    ratio = tuned(inputs).get("ratio", config.ratio)
    row, fill_up = ARMS[config.arm], config.training.long_tail
    sources = sources_of(row, store, ratio, fill_up)
    config = replace(config, training=_chosen(config.training, inputs))
    test, outside = store.rows.test, store.rows.outside
    value = _train_and_score(config, store.table, test, sources, folder, outside)
    real = sum(len(s) for s in sources if s.origin == "real")
    even = row.balanced or (fill_up and row.material != "none")
    value["training"] = describe(sources, row, even)
    value["real_per_class"] = real / len(_classes(store.table, store.rows.train))
    return value


def pilot(config: ArmConfig, inputs: Inputs, folder: Path, work: Path) -> Value:
    """Train the baseline twice with different random numbers;
    score on held-out images, never the test set."""
    store = _store(inputs, config.training.seed)
    config = replace(config, training=_chosen(config.training, inputs))
    value: Value = {}
    for arm in (BASELINE, NULL):
        place = folder / arm.name
        place.mkdir()
        sources = sources_of(arm, store, config.ratio)
        held = store.rows.alike if len(store.rows.alike) else store.rows.held_out
        one = replace(config, arm=arm.name)
        value[arm.name] = _train_and_score(one, store.table, held, sources, place)
    value["difference"] = value[NULL.name]["score"] - value[BASELINE.name]["score"]
    return value


@dataclass(frozen=True)
class GeneratorConfig:
    """The generator of one repetition.

    Args:
        gan: what is trained.
        seed: of the training.
        device: where it runs.
        even: rare classes' images are repeated up to the largest class's number.
        snapshots: shares of the steps after which the averaged weights are kept as well.
        players: also keep what trained it: critic, heads and auxiliary networks.
    """

    gan: GanConfig
    seed: int
    device: str = "cpu"
    even: bool = False
    snapshots: tuple[float, ...] = ()
    players: bool = False


def generator(config: GeneratorConfig, inputs: Inputs, folder: Path, work: Path) -> Value:
    """Train the conditional generator on the training images and keep it as a bundle."""
    table, rows = opened(inputs)
    data = training_images(table, rows.train)
    shown = training_images(table, evened_rows(table.strata(), rows.train)) if config.even else data
    training = GanTraining(
        config.gan, shown, table.schema, config.seed, work / "gan", config.device
    )
    interval = -(-config.gan.steps // SAMPLES)

    def keep(step: int, images: Tensor) -> None:
        keep_sample(work, step, images)
        # a share of the steps is reached at the first sample at or after it
        if any(0 <= step - s * config.gan.steps < interval for s in config.snapshots):
            save_tensors(work / f"snapshot-{step:08d}.safetensors", _weights(training), {})

    trained = training.run(progress=False, on_sample=keep, sample_interval=interval)
    for path in sorted(work.glob("snapshot-*.safetensors")):
        if int(path.stem.partition("-")[2]) < trained.step:
            shutil.copyfile(path, folder / path.name)
    keep_sample(work, trained.step, training.sample())
    write_atomic(folder / "progress.png", progress_picture(work))
    missing = {"judge": "trained when images are minted", "features": "kept with the judge"}
    Bundle.from_training(trained, data, missing=missing).save(folder / "bundle")
    if config.players:
        save_players(training.game, folder / "players.safetensors")
    return {
        "digest": trained.generator_digest,
        "images_shown": trained.images_shown,
        "step": trained.step,
        "stopped": trained.stopped,
        "seconds": trained.seconds,
        "processor_seconds": trained.processor_seconds,
        "logs": trained.logs,
        "parameters": sum(p.numel() for p in trained.generator.parameters()),
    }


def _weights(training: GanTraining) -> dict[str, Tensor]:
    state = training.average.module.state_dict()
    return {name: value.detach().cpu().contiguous() for name, value in state.items()}


def training_images(table: Table, rows: IntArray) -> TrainingImages:
    """Return rows of a table as a generator's training images."""
    values = {name: column[rows] for name, column in table.values.items()}
    return TrainingImages(np.ascontiguousarray(table.images[rows]), values, rows)


def keep_sample(work: Path, step: int, images: Tensor, count: int = 16) -> None:
    """Keep some images of fixed latents; a run that is resumed has those it kept before."""
    kept = io.BytesIO()
    np.save(kept, images[:count].cpu().numpy())
    write_atomic(work / f"sample-{step:08d}.npy", kept.getvalue())


def progress_picture(work: Path) -> bytes:
    """Return the samples kept in a folder as one picture, a row a step, the earliest on top."""
    paths = sorted(work.glob("sample-*.npy"))
    groups = [np.load(path, allow_pickle=False) for path in paths]
    captions = [f"step {int(path.stem.partition('-')[2])}" for path in paths]
    scale = scale_of(groups[0].shape[-1])
    return png_bytes(rows_of_pictures(groups, captions, scale))


@dataclass(frozen=True)
class MintConfig:
    """Minted images of one repetition.

    Args:
        curation: what an image must pass; the input "tuned" may give another threshold.
        training: of the judge that curates.
        per_class: images wanted; in a long-tailed study each class gets what it lacks of the
            largest class's number.
        raw: also mint as many without curation.
        seed: of the draws.
        checkpoint: which weights mint, where the input "tuned" chose none.
        gap: the range that images are asked for; None: the values of training images.
    """

    curation: CurationConfig
    training: TrainingConfig
    per_class: int
    raw: bool
    seed: int
    checkpoint: CheckpointRule = "last"
    gap: Gap | None = None


def mint_images(config: MintConfig, inputs: Inputs, folder: Path, work: Path) -> Value:
    """Mint, curate by a judge trained on the training images, and look for copies."""
    table, rows = opened(inputs)
    found = tuned(inputs)
    curation = replace(config.curation, threshold=found.get("threshold", config.curation.threshold))
    training = _chosen(config.training, inputs)
    judge = _judge(training, table, rows.train)
    judge.save(folder / "judge.safetensors")
    rule = found.get("checkpoint", config.checkpoint)
    real = RealRows.of(table, rows.train)
    device = config.training.device
    step, kids = checkpoint_of(rule, inputs["generator"], judge, real, config.seed, device)
    bundle = bundle_at(inputs["generator"], step)
    if config.gap is not None:
        asked = config.gap.requests(bundle.bank, bundle.schema, config.seed)
        bundle = replace(bundle, bank=asked)
    sampler = bundle.sampler(device)
    if config.gap is not None:
        sampler = replace(sampler, mixed=False)  # drawn over the whole gap, its edges too
    schema = bundle.schema
    quotas = quotas_of(class_counts(rows, table.strata(), len(table.strata_names())), config)
    if LABEL not in schema:  # nothing is asked for a class: as many in all
        quotas = {0: sum(quotas.values())}
    width = len(class_names(schema, LABEL))
    told: Value = {"limit": None}
    review: TrainedTask | Review = judge
    if judge.aspect.kind != "category":
        review = bounded(judge, RealRows.of(table, rows.held_out), curation.quantile)
        told["limit"] = review.limit
    minted = mint(sampler, review, schema, quotas, curation, config.seed, False)
    report = assess(
        table.images[rows.train],
        table.images[rows.held_out],
        minted.images,
        seed=config.seed,
        held_out_source="real images held out of training",
    )
    kept = np.setdiff1d(np.arange(len(minted)), np.array(report.flagged, np.int64))
    save_minted(subset(minted, kept), folder / "curated")
    if config.raw:
        raw = mint(sampler, None, schema, quotas, curation, config.seed, False)
        save_minted(raw, folder / "raw")
    counts = minted.summary()
    counts["accepted"] = len(kept)
    counts["rejected"]["copy"] = len(report.flagged)
    counts["threshold"] = curation.threshold
    return {
        **told,
        "curation": counts,
        "copying": copying_row(report),
        "checkpoint": {"rule": rule, "step": step, "kid": kids},
        "accepted_by_class": np.bincount(strata_of(minted)[kept], minlength=width).tolist(),
    }


def bounded(judge: TrainedTask, real: RealRows, quantile: float) -> ByError:
    """Return a judge that lets pass what errs no more than on a share of labelled real images."""
    aspect, values = judge.aspect, real.values[judge.aspect.name]
    there = np.flatnonzero(aspect.told(values))  # of the others no error can be told
    errors = judge.errors(real.images[there], values[there])
    return ByError(judge, aspect, float(np.quantile(errors, quantile)))


def quotas_of(counts: IntArray, config: MintConfig) -> dict[int, int]:
    """Return the images wanted of each class that has training images."""
    present = [int(c) for c in np.flatnonzero(counts)]
    if config.training.long_tail:
        return {c: int(counts.max() - counts[c]) for c in present if counts[c] < counts.max()}
    return dict.fromkeys(present, config.per_class)


def copying_row(report: CopyingReport) -> Value:
    """Return a copy check as the report prints it."""
    return {
        "recall": report.overall_recall,
        "recall_by_transform": dict(report.recall),
        "flagged": len(report.flagged),
        "share": len(report.flagged) / report.counts["minted"],
        "minted": report.counts["minted"],
        "expected_flags": report.expected_flags,
        "assessed": report.assessed,
        "alpha": report.alpha,
        "threshold": report.threshold,
        "held_out": report.counts["held_out"],
        "source": report.held_out_source,
        "nearer_share": report.dcr_share,
        "authenticity": report.authenticity,
        "c_t": report.copying_statistic,
        "p": report.excess_p,
        "text": report.text(),
    }


@dataclass(frozen=True)
class TuneConfig:
    """The combinations that were tried, in the order in which ties are settled."""

    tried: tuple[Combination, ...]
    pilot_seeds: int


def tune(config: TuneConfig, inputs: Inputs, folder: Path, work: Path) -> Value:
    """Choose the combination with the best mean validation score; the first of equals."""
    rows = []
    for trial in config.tried:
        found = [
            read_result(inputs[f"tuning-arm-{trial.label}-pilot{p}"])
            for p in range(config.pilot_seeds)
        ]
        scores = [float(result.value["score"]) for result in found]
        rows.append({**to_plain(trial), "mean": float(np.mean(scores)), "scores": scores})
    best = max(rows, key=lambda row: row["mean"])
    images = int(found[0].value["n"])
    chosen = {name: best[name] for name in ("ratio", "threshold", "checkpoint")}
    return {"chosen": chosen, "candidates": rows, "validation_images": images}


@dataclass(frozen=True)
class DiagnosisConfig:
    """What explains a repetition: label truth, distances, diversity. It never decides.

    Args:
        training: of the judges that report, which never curated.
        pairs: image pairs drawn for each mean of the diversity table.
        seed: of halves, subsets and pairs.
    """

    training: TrainingConfig
    pairs: int
    seed: int


def diagnosis(config: DiagnosisConfig, inputs: Inputs, folder: Path, work: Path) -> Value:
    """Measure minted against real images with networks that did not curate."""
    table, rows = opened(inputs)
    config = replace(config, training=_chosen(config.training, inputs))
    minted = load_minted(inputs["mint"] / "curated")
    truth, found = _cross_fitted(config, table, rows, minted)
    audited = [_audited(config, table, rows, minted)] if len(rows.pool) else []
    diversity = {}
    for name, images, of in (
        ("minted", minted.images, strata_of(minted)),
        ("real", table.images[rows.train], table.strata()[rows.train]),
    ):
        diversity[name] = pairwise_diversity(np.asarray(images), of, config.pairs, config.seed)
    return {
        "label_truth": [*audited, truth],
        "distribution": found,
        "diversity": diversity,
        "pairs": config.pairs,
    }


def _cross_fitted(
    config: DiagnosisConfig, table: Table, rows: Rows, minted: Minted
) -> tuple[Value, list[Value]]:
    """Judges trained on one half of the training images each; each judges the other half."""
    tail, real = config.training.long_tail, "train, cross-fitted halves"
    if tail:
        real = "held out, classes as in the minted images"
    elif len(rows.alike):
        real = "held back, inside the gap"

    def judges() -> Iterator[Judge]:
        for i, (fit, held) in enumerate(folds(table.strata(), rows.train, 2, config.seed)):
            training = replace(config.training, seed=derive(config.seed, f"reporter.{i}"))
            scored = RealRows.of(table, held)
            # the halves have other shares of the classes than what was minted for rare ones
            alike = rows.alike if len(rows.alike) else held
            if tail:
                alike = _alike(table.strata(), rows.held_out, minted)
            yield Judge(_judge(training, table, fit), scored, RealRows.of(table, alike))

    truth, found = cross_fitted(judges(), minted.images, minted.values, real, config.seed)
    # they have seen what the generator has seen, and recognise what it has learnt by heart
    told = "cross-fitted on halves of the generator's training images (an upper bound)"
    return {"judge": told, **truth}, found


def _alike(labels: IntArray, rows: IntArray, minted: Minted) -> IntArray:
    """Return as many of the rows as can have the minted images' shares of the classes."""
    wanted = np.bincount(strata_of(minted), minlength=int(labels.max()) + 1)
    there = np.bincount(labels[rows], minlength=len(wanted))
    scale = min(1.0, float((there[wanted > 0] / wanted[wanted > 0]).min()))
    kept = [rows[labels[rows] == c][: round(scale * n)] for c, n in enumerate(wanted)]
    return np.sort(np.concatenate(kept))


def _audited(config: DiagnosisConfig, table: Table, rows: Rows, minted: Minted) -> Value:
    """A judge trained on real images that the study pretends not to have."""
    seed = derive(config.seed, "audit")
    fit = rows.pool[permutation(seed, "audit.rows", len(rows.pool))[:AUDIT_LIMIT]]
    judge = _train(replace(config.training, seed=seed), table, [real_source(table, np.sort(fit))])
    task = task_of(config.training.task)
    return {
        "judge": f"trained on {len(fit)} held-back real images",
        "value": claims_score(judge, minted.images, minted.values),
        "judge_accuracy": task.score(judge, RealRows.of(table, rows.held_out)).points / 100.0,
        "n": len(minted),
    }


def _store(inputs: Inputs, seed: int) -> Store:
    table, rows = opened(inputs)
    return Store(table, rows, inputs.get("mint"), seed)


def _classes(table: Table, rows: IntArray) -> list[int]:
    return [int(c) for c in np.unique(table.strata()[rows])]


def tuned(inputs: Inputs) -> Value:
    """Return what the stage that tunes has chosen, nothing where nothing is tuned."""
    return read_result(inputs["tuned"]).value["chosen"] if "tuned" in inputs else {}


def _judge(training: TrainingConfig, table: Table, rows: IntArray) -> TrainedTask:
    sources = [real_source(table, rows)]
    return _train(training, table, evened(sources) if training.long_tail else sources)


def _chosen(training: TrainingConfig, inputs: Inputs) -> TrainingConfig:
    """Return the training with the policy that was chosen on validation."""
    if training.policy is not None:
        return training
    return replace(training, policy=read_result(inputs["policy"]).value["chosen"])


def _train(
    config: TrainingConfig, table: Table, sources: list[Source], stream_name: str = ""
) -> TrainedTask:
    return task_of(config.task).train(
        config.task,
        table.schema,
        table.shape,
        sources,
        config.policy or "none",
        config.seed,
        config.device,
        stream_name,
    )


def _train_and_score(
    config: ArmConfig,
    table: Table,
    test: IntArray,
    sources: list[Source],
    folder: Path,
    outside: IntArray | None = None,
) -> Value:
    arm, training = ARMS[config.arm], config.training
    if not arm.classic:
        training = replace(training, policy="none")
    start = time.perf_counter()
    trained = _train(training, table, sources, arm.stream)
    seconds = time.perf_counter() - start
    task = task_of(training.task)
    scores, beside = task.score(trained, RealRows.of(table, test)), {}
    if outside is not None and len(outside):
        others = task.score(trained, RealRows.of(table, outside))
        beside["outside"] = float(others.per_image.mean())
    np.save(folder / "per_image.npy", scores.per_image)
    shown = training.task.steps * training.task.batch
    real = sum(len(s) for s in sources if s.origin == "real")
    real_share = sum(s.share for s in sources if s.origin == "real")
    return {
        **{k: v for k, v in scores.plain().items() if k not in ("correct", "classes")},
        "score": float(scores.per_image.mean()),
        **beside,
        "spread": float(scores.per_image.std()),
        "measure": to_plain(scores.measure),
        "parts": scores.parts(),
        "n": len(scores.per_image),
        "views": shown * real_share / real if real else 0.0,
        "images_shown": shown,
        "seconds": seconds,
        "parameters": sum(p.numel() for p in trained.network.parameters()),
    }

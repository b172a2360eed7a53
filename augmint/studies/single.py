"""Single jobs beside a study: check data, train a generator, mint from a bundle, evaluate, doctor."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from augmint.core.config import build, read_yaml, to_plain, with_overrides, write_yaml
from augmint.core.errors import AugmintError, DataError, UsageError, nearest
from augmint.core.machine import ceilings, resolve_device, set_allocator
from augmint.core.pictures import grid, png_bytes
from augmint.core.runs import lock_folder, provenance, sweep, write_atomic, write_json
from augmint.core.streams import derive
from augmint.data.check import blocking, check, training_rows_without
from augmint.data.ingest import ingest
from augmint.data.splits import folds, per_class
from augmint.metrics.base import Protocol
from augmint.metrics.copying import assess
from augmint.metrics.image import pairwise_diversity
from augmint.metrics.labels import label_truth
from augmint.minting.bundle import Bundle
from augmint.minting.writer import write_minted
from augmint.studies.gallery import anew, stored
from augmint.studies.materials import real_source
from augmint.studies.steps import (
    SAMPLES,
    TASK,
    copying_row,
    distances,
    flat,
    keep_sample,
    progress_picture,
    training_images,
)
from augmint.studies.study import as_overrides, differences, merge, parse_size
from augmint.tasks.base import RealRows, TaskConfig
from augmint.training.config import GanConfig
from augmint.training.gan import GanTraining

if TYPE_CHECKING:
    from augmint.core.types import IntArray
    from augmint.data.table import Table
    from augmint.tasks.trained import TrainedTask

EXTRAS: Mapping[str, tuple[str, str]] = {
    "dask": ("distributed", "BSD-3-Clause"),
    "ray": ("ray", "Apache-2.0"),
}
"""Optional extras: the package that shows one is installed, and its licence."""

CORE = (
    "torch",
    "numpy",
    "scipy",
    "scikit-learn",
    "pillow",
    "safetensors",
    "joblib",
    "matplotlib",
)


@dataclass(frozen=True)
class TrainOptions:
    """What a caller may say of a single training."""

    per_class: int | None = None
    steps: int | None = None
    seed: int = 0
    device: str = "auto"
    settings: Sequence[str] | Mapping[str, Any] = ()
    config: str | None = None
    size: str | None = None
    drop_duplicates: bool = False


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a trained generator depends on, besides the data and the code."""

    data: str
    per_class: int | None = None
    seed: int = 0
    size: tuple[int, int] | None = None
    drop_duplicates: bool = False
    generator: GanConfig = field(default_factory=GanConfig)


def resolve(data: str, options: TrainOptions) -> TrainConfig:
    """Return the complete configuration that `options` ask for, as `study.resolve` does."""
    fields: dict[str, Any] = {} if options.config is None else read_yaml(Path(options.config))
    said: dict[str, Any] = {
        "per_class": options.per_class,
        "seed": options.seed or None,
        "size": parse_size(options.size),
        "drop_duplicates": options.drop_duplicates or None,
        "generator": None if options.steps is None else {"steps": options.steps},
    }
    fields = merge(fields, {k: v for k, v in said.items() if v is not None}) | {"data": data}
    complete = to_plain(build(TrainConfig, fields, "train"))
    return build(TrainConfig, with_overrides(complete, as_overrides(options.settings)), "train")


def train(data: str, out: Path, options: TrainOptions) -> Path:
    """Train a generator and a judge on the training part, and return the bundle's folder."""
    plan = resolve(data, options)
    config, seed = plan.generator, plan.seed
    device = str(resolve_device(options.device))
    out.mkdir(parents=True, exist_ok=True)
    with lock_folder(out):
        sweep(out, out / "tables")
        _claim(out / "config.yaml", plan)
        table = ingest(plan.data, out / "tables", size=plan.size, workers=os.cpu_count() or 1)
        rows = training_rows(table, plan)
        images = training_images(table, rows)
        training = GanTraining(config, images, table.schema, seed, out / "run", device)
        trained = training.run(
            on_sample=lambda step, made: keep_sample(out / "run", step, made),
            sample_interval=-(-config.steps // SAMPLES),
        )
        keep_sample(out / "run", trained.step, training.sample())
        write_atomic(out / "progress.png", progress_picture(out / "run"))
        judge = _judge(table, rows, seed, device)
        bundle = Bundle.from_training(trained, images, stored(judge), missing=_UNCALIBRATED)
        folder = out / "bundle"
        anew(folder, bundle.save)
        write_atomic(out / "samples.png", _samples(bundle, seed, device))
    return folder


def _claim(path: Path, config: TrainConfig) -> None:
    """Write the configuration, unless the folder holds a run of another; more steps go on."""
    changed = differences(read_yaml(path), to_plain(config)) if path.exists() else []
    if set(changed) - {"generator.steps"}:
        raise UsageError(
            "a run folder belongs to one configuration, seed and data set",
            f"{path.parent}, where {', '.join(changed[:4])} differ",
            "repeat the first command unchanged, or choose another folder (--out)",
        )
    write_atomic(path, write_yaml(config))


_UNCALIBRATED = {"features": "no images were held out to calibrate the copy check"}


def training_rows(table: Table, options: TrainConfig) -> IntArray:
    """Return the rows a generator may see: the training part, less what leaks."""
    found = check(table, near=False)
    if options.drop_duplicates:
        rows = training_rows_without(found, table)
    else:
        blocking(found)
        rows = table.parts.get("train", table.parts.get("all", np.arange(len(table))))
    if options.per_class is not None:
        rows, _ = per_class(table.labels(), rows, options.per_class, options.seed, "study.train")
    return np.asarray(rows, dtype=np.int64)


def _judge(table: Table, rows: IntArray, seed: int, device: str, steps: int = 1000) -> TrainedTask:
    config = TaskConfig(steps=steps)
    sources = [real_source(table, rows)]
    return TASK.train(
        config, table.schema, table.shape, sources, "affine", derive(seed, "judge"), device
    )


def _samples(bundle: Bundle, seed: int, device: str, across: int = 12) -> bytes:
    classes = len(getattr(bundle.schema["label"], "classes", ()))
    labels = np.repeat(np.arange(min(classes, 12)), across)
    import torch

    images = bundle.sampler(device).sample(
        {"label": torch.from_numpy(labels)}, np.arange(len(labels)), seed
    )
    return png_bytes(grid(images, across, scale=max(1, round(48 / images.shape[-1]))))


@dataclass(frozen=True)
class MintOptions:
    """What a caller may say of a mint."""

    per_class: int = 100
    quotas: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0
    curate: bool = True


def mint_bundle(bundle: Path, out: Path, options: MintOptions) -> dict[str, Any]:
    """Mint images of a bundle into a new folder and return the counts."""
    opened = Bundle.open(bundle)
    classes = getattr(opened.schema[opened.curation.aspect], "classes", ())
    quotas = dict(options.quotas) or dict.fromkeys(classes, options.per_class)
    if not options.quotas and options.per_class < 1:
        raise UsageError(
            "mint makes at least 1 image", options.per_class, "pass per_class=100 (--per-class 100)"
        )
    minted = opened.mint(quotas, options.seed, options.curate)
    provenance_row = {"generator": opened.digest, "parents": dict(opened.provenance)}
    write_minted(minted, out, opened.schema, provenance_row)
    for line in minted.lines():
        print(line)
    return minted.summary()


def parse_quotas(texts: Sequence[str]) -> dict[str, int]:
    """Return `{"seven": 50}` of `["seven=50"]`.

    Example:
        >>> parse_quotas(["seven=50", "a=b=2"])
        {'seven': 50, 'a=b': 2}
    """
    quotas = {}
    for text in texts:
        name, separator, number = text.rpartition("=")
        if not separator or not number.isdigit() or int(number) < 1:
            raise UsageError("a quota is CLASS=N", text, "write for example --quota seven=50")
        quotas[name] = int(number)
    return quotas


@dataclass(frozen=True)
class EvaluateOptions:
    """What a caller may say of an evaluation."""

    steps: int = 600
    seed: int = 0
    size: str | None = None
    device: str = "auto"


def evaluate(real: str, minted: str, out: Path | None, options: EvaluateOptions) -> list[str]:
    """Compare minted with real images; return lines for people, write evaluation.json to `out`.

    The real images are halved: copies and distances are taken against one half by judges that
    were trained on the other. Nothing here is a verdict.
    """
    import tempfile

    size = parse_size(options.size)
    pair = None if size is None else (size[0], size[1])
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch)
        a = ingest(real, cache / "real", size=pair, workers=os.cpu_count() or 1)
        b = ingest(minted, cache / "minted", size=pair, workers=os.cpu_count() or 1)
        row = _evaluated(a, b, options)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "evaluation.json", row)
    lines = [
        f"label truth {row['label_truth']['value']:.1%} (judges right on {row['label_truth']['judge_accuracy']:.1%} of real images)"
    ]
    for found in row["distribution"]:
        shown = (
            f"{found['value']:.4g} (floor {found['floor']:.4g})"
            if found["value"] is not None
            else f"refused: {found['refused']}"
        )
        lines.append(f"{found['metric']} {shown} · {Protocol(**found['protocol']).text()}")
    return [*lines, f"copying: {row['copying']['text']}"]


def _evaluated(real: Table, minted: Table, options: EvaluateOptions) -> dict[str, Any]:
    if real.shape != minted.shape:
        raise DataError(
            "real and minted images have one shape",
            f"{real.shape} and {minted.shape}",
            "resample both with size='32' (--size 32)",
        )
    known = getattr(real.schema["label"], "classes", ())
    names = getattr(minted.schema["label"], "classes", ())
    for name in names:
        if name not in known:
            raise DataError("a minted class is one of the real classes", name, nearest(name, known))
    labels = np.array([known.index(n) for n in names])[minted.labels()]
    images = np.asarray(minted.images)
    device = str(resolve_device(options.device))
    rows = real.parts.get("train", np.arange(len(real)))
    probabilities, accuracies, per_fold = [], [], []
    pairs = folds(real.labels(), rows, 2, options.seed)
    for i, (fit, held) in enumerate(pairs):
        judge = _judge(real, fit, options.seed + i, device, options.steps)
        rest = RealRows.of(real, held)
        accuracies.append(TASK.score(judge, rest).accuracy)
        probabilities.append(judge.probabilities(images))
        split = "real, cross-fitted halves"
        per_fold.append(distances(judge, rest, images, split, options.seed))
    fit, held = pairs[0]
    copies = assess(
        real.images[fit],
        real.images[held],
        images,
        seed=options.seed,
        held_out_source="the other half of the real images",
    )
    return {
        "label_truth": {
            "value": label_truth(np.mean(probabilities, axis=0), labels).agreement,
            "judge_accuracy": float(np.mean(accuracies)),
        },
        "distribution": [row for pair in zip(*per_fold, strict=True) for row in flat(pair)],
        "copying": copying_row(copies),
        "diversity": {
            "minted": pairwise_diversity(images, labels, 400, options.seed),
            "real": pairwise_diversity(
                np.asarray(real.images[rows]), real.labels()[rows], 400, options.seed
            ),
        },
        "machine": provenance(),
    }


def check_data(
    data: str, format: str | None, size: str | None
) -> tuple[dict[str, Any], AugmintError | None]:
    """Return what `check` found, with the error that would stop a study (or None)."""
    import tempfile

    sides = parse_size(size)
    pair = None if sides is None else (sides[0], sides[1])
    with tempfile.TemporaryDirectory() as scratch:
        table = ingest(data, Path(scratch), format=format, size=pair, workers=os.cpu_count() or 1)
        found = check(table)
    failure: AugmintError | None = None
    try:
        blocking(found)
    except AugmintError as error:
        failure = error
    return {**found.to_plain(), "text": found.text()}, failure


def doctor(measure: bool = True) -> list[str]:
    """Return versions, extras with licences, the allocator, devices and measured ceilings."""
    import torch

    facts = provenance()
    lines = [f"{name}: {value}" for name, value in facts.items()]
    lines += [f"{name} {importlib.metadata.version(name)}" for name in CORE]
    for extra, (package, licence) in EXTRAS.items():
        try:
            state = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            state = f"not installed (pip install 'augmint[{extra}]')"
        lines.append(f"extra {extra}: {state}, licence {licence}")
    lines.append(f"allocator: {set_allocator()}")
    lines.append(f"gpu: {torch.cuda.get_device_name(0) if torch.cuda.is_available() else 'none'}")
    if measure:
        lines += [f"ceiling {name}: {value:.1f}" for name, value in ceilings().items()]
    return lines


__all__ = [
    "EvaluateOptions",
    "MintOptions",
    "TrainOptions",
    "check_data",
    "doctor",
    "evaluate",
    "mint_bundle",
    "parse_quotas",
    "train",
]

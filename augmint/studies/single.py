"""Single jobs beside a study: train a generator, and mint from a bundle."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from augmint.aspects.category import LABEL
from augmint.core.config import build, read_yaml, to_plain, with_overrides, write_yaml
from augmint.core.errors import UsageError, visible
from augmint.core.machine import resolve_device
from augmint.core.pictures import grid, png_bytes, scale_of
from augmint.core.runs import lock_folder, read_json, sweep, write_atomic
from augmint.core.streams import derive
from augmint.data.check import blocking, check, training_rows_without
from augmint.data.ingest import format_spec, ingest
from augmint.data.splits import per_class
from augmint.minting.bundle import Bundle
from augmint.minting.curation import class_names, lines_of, summary_of
from augmint.minting.writer import SUMMARY, write_parts
from augmint.studies.gallery import anew, by_class, stored
from augmint.studies.materials import real_source
from augmint.studies.minted_as import write_as
from augmint.studies.steps import (
    SAMPLES,
    keep_sample,
    progress_picture,
    training_images,
)
from augmint.studies.study import as_overrides, differences, merge, parse_size
from augmint.studies.telling import tell_recognised
from augmint.studies.unchanged import forget_first_try, same_data
from augmint.tasks.classification import ClassificationTask
from augmint.tasks.config import TaskConfig
from augmint.training.config import GanConfig
from augmint.training.gan import GanTraining
from augmint.training.trackers import Tracking, require_trackers

if TYPE_CHECKING:
    from torch import Tensor

    from augmint.core.types import ByteArray, IntArray
    from augmint.data.table import Table
    from augmint.tasks.trained import TrainedTask


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
    processes: int = 1
    track: Sequence[str] = ()
    format: str | None = None


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a trained generator depends on, besides the data and the code."""

    data: str
    format: str | None = None
    per_class: int | None = None
    seed: int = 0
    size: tuple[int, int] | None = None
    drop_duplicates: bool = False
    generator: GanConfig = field(default_factory=GanConfig)


def resolve(data: str, options: TrainOptions) -> TrainConfig:
    """Return the complete configuration that `options` ask for, as `study.resolve` does.

    Example:
        >>> found = resolve("digits", TrainOptions(steps=50, size="32x48"))
        >>> found.generator.steps, found.size
        (50, (32, 48))
    """
    fields: dict[str, Any] = {} if options.config is None else read_yaml(Path(options.config))
    said: dict[str, Any] = {
        "per_class": options.per_class,
        "format": options.format,
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
    require_trackers(options.track)
    if options.processes != 1:
        from augmint.training.parallel import check_together

        check_together(options.processes, config, device)
    with lock_folder(out):
        sweep(out, out / "tables")
        _claim(out / "config.yaml", plan)
        table = ingest(
            plan.data,
            out / "tables",
            format=plan.format,
            size=plan.size,
            workers=os.cpu_count() or 1,
        )
        tell_recognised(plan.data, table)
        same_data(out, plan.data, table)
        rows = training_rows(table, plan)
        images = training_images(table, rows)
        arguments = (config, images, table.schema, seed, out / "run", device)
        with (
            _on(options.processes, *arguments) as training,
            Tracking(options.track, out / "tracking", out.name, to_plain(plan)) as tracking,
        ):
            training.recorder.on_read = tracking.scalars

            def show(step: int, made: Tensor) -> None:
                keep_sample(out / "run", step, made)
                tracking.picture(step, "samples", lambda: _grid(made.cpu().numpy()))

            interval = -(-config.steps // SAMPLES)
            trained = training.run(on_sample=show, sample_interval=interval)
        keep_sample(out / "run", trained.step, training.sample())
        write_atomic(out / "progress.png", progress_picture(out / "run"))
        judge = stored(_judge(table, rows, seed, device)) if LABEL in table.schema else None
        missing = _UNCALIBRATED if judge else _UNCALIBRATED | _NO_CLASSES
        bundle = Bundle.from_training(trained, images, judge, missing=missing)
        folder = out / "bundle"
        anew(folder, bundle.save)
        write_atomic(out / "samples.png", _samples(bundle, seed, device))
    return folder


def mint_command(bundle: Path, out: Path) -> str:
    """Return the command that mints from a bundle; one without a judge cannot curate."""
    raw = " --raw" if Bundle.open(bundle).judge is None else ""
    return f"augmint mint {bundle} --out {out}{raw}"


def _on(processes: int, *arguments: Any) -> contextlib.AbstractContextManager[GanTraining]:
    """The training of these arguments of `GanTraining`, on this process or on several."""
    if processes == 1:
        return contextlib.nullcontext(GanTraining(*arguments))
    from augmint.training.parallel import Work, together

    return together(processes, Work(*arguments))


def _claim(path: Path, config: TrainConfig) -> None:
    """Write the configuration, unless the folder holds a run of another; more steps go on."""
    if not (path.parent / "run").exists():
        forget_first_try(path.parent)
    changed = differences(read_yaml(path), to_plain(config)) if path.is_file() else []
    if set(changed) - {"generator.steps"}:
        raise UsageError(
            "a run folder belongs to one configuration, seed and data set",
            f"{path.parent}, where {', '.join(changed[:4])} differ",
            "repeat the first command unchanged, or choose another folder (--out)",
        )
    write_atomic(path, write_yaml(config))


_UNCALIBRATED = {"features": "no images were held out to calibrate the copy check"}


_NO_CLASSES = {"judge": "the data have no classes that a judge could see"}


def training_rows(table: Table, options: TrainConfig) -> IntArray:
    """Return the rows a generator may see: the training part, less what leaks."""
    found = check(table, near=False)
    if options.drop_duplicates:
        rows = training_rows_without(found, table)
    else:
        blocking(found)
        rows = table.parts.get("train", table.parts.get("all", np.arange(len(table))))
    if options.per_class is not None:
        rows, _ = per_class(table.strata(), rows, options.per_class, options.seed, "study.train")
    return np.asarray(rows, dtype=np.int64)


def _judge(table: Table, rows: IntArray, seed: int, device: str, steps: int = 1000) -> TrainedTask:
    config = TaskConfig(steps=steps)
    sources = [real_source(table, rows)]
    return ClassificationTask().train(
        config, table.schema, table.shape, sources, "affine", derive(seed, "judge"), device
    )


def _samples(bundle: Bundle, seed: int, device: str, across: int = 12) -> bytes:
    """Return a picture of generated images, one row a class, with what they carry drawn on it."""
    import torch

    classes = len(class_names(bundle.schema, bundle.curation.aspect))
    labels = np.repeat(np.arange(min(classes, 12) if classes > 1 else 4), across)
    ids, sampler = np.arange(len(labels)), bundle.sampler(device)
    asked = {LABEL: torch.from_numpy(labels)} if LABEL in bundle.schema else {}
    images, values = sampler.pairs(asked, ids, seed)
    aspect = next((a for a in bundle.schema if a.kind != "category"), None)
    told = None if aspect is None else values[aspect.name]
    every = np.zeros(len(ids), np.int64) if classes == 1 else labels
    return by_class(images, every, ids, aspect, told)


def _grid(images: ByteArray, across: int = 8) -> bytes:
    return png_bytes(grid(images, across, scale=scale_of(images.shape[-1])))


@dataclass(frozen=True)
class MintOptions:
    """What a caller may say of a mint."""

    per_class: int = 100
    quotas: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0
    curate: bool = True
    license: str | None = None
    truncation: float | None = None
    format: str | None = None


def mint_bundle(bundle: Path, out: Path, options: MintOptions) -> dict[str, Any]:
    """Mint images of a bundle into a new folder and return the counts."""
    format = format_spec(options.format)
    opened = Bundle.open(bundle)
    classes = class_names(opened.schema, opened.curation.aspect)
    quotas = dict(options.quotas) or dict.fromkeys(classes, options.per_class)
    if not options.quotas and options.per_class < 1:
        raise UsageError(
            "mint makes at least 1 image", options.per_class, "pass per_class=100 (--per-class 100)"
        )
    truncation = options.truncation
    parts = opened.mint_parts(quotas, options.seed, options.curate, truncation=truncation)
    provenance_row = {"generator": opened.digest, "parents": dict(opened.provenance)}
    if truncation is not None:
        provenance_row["truncation"] = {"of": opened.truncates, "value": float(truncation)}
    if options.license:
        provenance_row["license"] = options.license
    if format is None:
        write_parts(parts, out, opened.schema, provenance_row)
    else:
        write_as(format, parts, out, opened.schema, provenance_row)
    summary = read_json(out / SUMMARY)
    counts = {k: summary[k] for k in summary_of((), None)}
    for line in lines_of(counts):
        print(visible(line))
    return counts


def parse_quotas(texts: Sequence[str]) -> dict[str, int]:
    """Return `{"seven": 50}` of `["seven=50"]`.

    Example:
        >>> parse_quotas(["seven=50", "a=b=2"])
        {'seven': 50, 'a=b': 2}
    """
    quotas = {}
    for text in texts:
        name, separator, number = text.rpartition("=")
        if not separator or not re.fullmatch("0*[1-9][0-9]{0,8}", number):
            raise UsageError("a quota is CLASS=N", text, "write for example --quota seven=50")
        quotas[name] = int(number)
    return quotas


__all__ = [
    "MintOptions",
    "TrainOptions",
    "mint_bundle",
    "mint_command",
    "parse_quotas",
    "train",
]

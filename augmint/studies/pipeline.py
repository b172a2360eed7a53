"""`prove`, from real images to a verdict: checks first, then stages, then the report.

DIR/config.yaml   the resolved configuration        DIR/stages/    every stage's results
DIR/report.html   the report, one file              DIR/minted/    minted images and manifest
DIR/report.json   the same numbers                  DIR/bundle/    mints more without the data
DIR/looks.jsonl   every opening of the test set     DIR/pictures/  what the report shows
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augmint.aspects.category import LABEL
from augmint.augmentation.base import check_fits
from augmint.core.config import fingerprint, read_yaml, to_plain, write_yaml
from augmint.core.errors import AugmintError, DataError, IncompatibleError, UsageError
from augmint.core.machine import resolve_device, single_thread
from augmint.core.progress import span
from augmint.core.registry import AUGMENTERS, CONDITIONING, split_spec
from augmint.core.runs import EventLog, lock_folder, provenance, read_json, sweep, write_atomic
from augmint.data.check import CheckReport, check, left_out
from augmint.data.ingest import ingest
from augmint.studies import assemble, gallery, steps
from augmint.studies.gap import gap_rows
from augmint.studies.graph import Graph, Plan
from augmint.studies.report.render import write_report
from augmint.studies.rows import Rows, draw, labelled_per_class
from augmint.studies.runner import run_stages
from augmint.studies.stages import Stage, StageResult, in_order, load
from augmint.studies.steps import training_images
from augmint.studies.study import (
    ProveOptions,
    StudyConfig,
    differences,
    resolve,
)
from augmint.studies.tail import tail_rows
from augmint.studies.telling import recognised, tell, tell_recognised
from augmint.studies.tracked import show_study
from augmint.studies.unchanged import forget_first_try, same_data
from augmint.studies.verdict import Setting
from augmint.tasks.base import task_of
from augmint.tasks.trained import build_network
from augmint.training.compatibility import check_compatible
from augmint.training.gan import train_gan
from augmint.training.joint import asked, carried
from augmint.training.trackers import require_trackers

if TYPE_CHECKING:
    from augmint.aspects.base import Aspect, Schema
    from augmint.data.table import Table
    from augmint.studies.assemble import StudyValues
    from augmint.studies.gap import Gap
    from augmint.training.config import GanConfig

LOOKS = "looks.jsonl"


def prove(data: str, out: Path, options: ProveOptions) -> dict[str, Any]:
    """Run or resume a study and return what `report.json` holds; see `augmint.prove`."""
    started = time.time()
    config = resolve(data, options)
    device = str(resolve_device(options.device))
    require_trackers(options.track)
    workers = options.workers or os.cpu_count() or 1
    with lock_folder(out):
        sweep(out, out / "stages" / "tables")
        earlier = _claim(out, config)
        table = ingest(
            config.data,
            out / "stages" / "tables",
            format=config.format,
            size=config.size,
            workers=workers,
        )
        tell_recognised(config.data, table)
        config = fitted_to(config, table)
        _validate(config, table)
        same_data(out, config.data, table)
        found = check(table)
        dropped = _dropped(found, table, config)
        plan = Plan.of(config, table, dropped, device)
        if plan.unlabelled:
            tell(
                f"{len(plan.unlabelled)} of {len(table)} images have nothing of "
                f"{config.task.aspect} labelled and are left out"
            )
        rows = draw(table, plan.split_config(0))
        labelled = labelled_per_class(rows, table.strata())
        indices = _deciding(earlier, config.seeds)
        graph = Graph.of(plan, indices, labelled)
        run = _Runner(out / "stages", workers, options)
        tell(
            f"{config.data}: {len(rows.train)} labelled images for training, "
            f"{len(rows.test)} to test"
            + ("" if config.scored_on == "test" else ", held back: the test set stays closed")
        )
        results = run(graph.pilots)
        if options.dry_run or not run.finished(graph.stages()):
            _announce(plan, graph, results, workers)
        if options.dry_run:
            tell(f"the plan, {len(graph.stages())} stages:\n{write_yaml(config)}")
            return {"plan": to_plain(config), "stages": len(graph.stages())}
        _log_look(out, config, indices, earlier)
        results = run(graph.stages())
        values = graph.values(results, labelled)
        report = _report(plan, values, rows, labelled, found)
        report |= _story(out, config, options, results, started, indices, earlier)
        if report["tuning"]:
            spent = [row["seconds"] for row in report["cost"] if row["stage"] == "tuning"]
            report["tuning"]["seconds"] = sum(spent)
        shown = draw(table, plan.split_config(indices[0]))
        pictures = gallery.publish(out, plan, graph, results, shown)
        write_report(out, report, pictures)
        show_study(options.track, out, report, pictures)
    return report


def rewrite_report(folder: Path) -> Path:
    """Write `report.html` again from `report.json` and the saved pictures.

    Raises:
        UsageError: if the folder holds no finished study.
        DataError: if its report.json is not as a study writes it.
    """
    source = folder / "report.json"
    if not source.is_file():
        raise UsageError(
            "report takes the folder of a finished study", str(folder), "run augmint prove first"
        )
    found = sorted(p for p in (folder / "pictures").glob("*.png") if p.is_file())
    pictures = {p.stem: p.read_bytes() for p in found}
    report = read_json(source)
    try:
        return write_report(folder, report, pictures)
    except (AugmintError, OSError):
        raise
    except Exception as error:  # a number where a list should be fails in as many ways as it can
        raise DataError(
            "report.json is as the study wrote it",
            f"{source} ({type(error).__name__}: {error})",
            "run augmint prove again: what is finished is not repeated",
        ) from error


# before anything is spent -------------------------------------------------------------------------


def _claim(out: Path, config: StudyConfig) -> list[dict[str, Any]]:
    """Write the configuration, or check that the folder holds this study; return earlier looks.

    Raises:
        UsageError: if the folder holds another study, or one with more seeds.
    """
    path = out / "config.yaml"
    looks = _looks(out / LOOKS)
    if not looks:
        forget_first_try(out)
    if path.is_file():
        known = read_yaml(path)
        changed = differences(known, to_plain(config))
        fewer = not isinstance(known.get("seeds"), int) or config.seeds < known["seeds"]
        if changed and (changed != ["seeds"] or fewer):
            raise UsageError(
                "a folder holds one study; the same command resumes it",
                f"{out}, where {', '.join(changed[:4])} differ",
                "choose another --out DIR, or only add seeds",
            )
    _deciding(looks, config.seeds)
    write_atomic(path, write_yaml(config))
    return looks


def _looks(path: Path) -> list[dict[str, Any]]:
    """Return the looks that were logged; verdicts rest on them, so none is guessed at."""
    looks = EventLog.read(path)
    for look in looks:
        seeds = look.get("seeds")
        if not isinstance(seeds, list) or not seeds or not all(type(s) is int for s in seeds):
            raise DataError(
                "every look at the test set has its seeds",
                f"{look} in {path}",
                "choose another --out DIR",
            )
    return looks


def _validate(config: StudyConfig, table: Table) -> None:
    """Build every part once, so that what cannot work fails before anything is trained."""
    minted = len(table.origins.get("minted", ()))
    if minted:
        raise DataError(
            "a verdict rests on real images alone",
            f"{minted} images of {config.data} are marked as minted",
            "give the real data set (augmint evaluate compares real with minted images)",
        )
    for name in config.policy.candidates:
        if AUGMENTERS.create(name).adapts:
            raise UsageError(
                "an augmenter of the measured network's images has no critic to follow",
                name,
                "take it out of policy.candidates (trivial-augment changes as much)",
            )
    aspect = table.schema[config.task.aspect]
    if aspect.kind == "category" and aspect.width < 2:
        raise UsageError(
            "a study needs at least 2 classes", aspect.width, "add images of another class"
        )
    if config.long_tail is not None and LABEL not in table.schema:
        raise UsageError(
            "a long tail is one of classes", f"none in {config.data}", "leave long_tail out"
        )
    if config.gap is not None:
        _check_asked(config.gap, config.generator, table.schema)
    task = task_of(config.task)
    for name in config.policy.candidates:
        task.check(config.task, aspect, name)
    build_network(config.task, table.shape, aspect.width, flat=aspect.flat)
    check_compatible(config.generator, table.schema, table.shape)
    if aspect.name not in (told := carried(config.generator, table.schema)):
        raise IncompatibleError(
            f"minted images must carry {aspect.name}, which the task predicts",
            f"{', '.join(a.name for a in told) or 'nothing'} is carried",
            f"set generator.joint=[{aspect.name}], or generator.conditioning=vac-var",
        )


def _check_asked(gap: Gap, generator: GanConfig, schema: Schema) -> None:
    """Check that a generator is asked for the gap's number, and for nothing that contradicts it."""
    gap.vector(schema)
    names = {a.name for a in asked(generator, schema)}
    if gap.aspect not in names or names - {gap.aspect, LABEL}:
        raise IncompatibleError(
            f"a study with a gap asks its generator for {gap.aspect}, and for a class if there is "
            "one",
            ", ".join(sorted(names)) or "nothing is asked for",
            "leave generator.conditioning, generator.carries and generator.joint as they are",
        )


def fitted_to(config: StudyConfig, table: Table) -> StudyConfig:
    """Return the study with the aspect it predicts named, and only policies that can move it.

    Raises:
        IncompatibleError, UsageError: if the set holds nothing that the task predicts.
    """
    task = task_of(config.task)
    aspect = task.aspect(config.task, table.schema)
    fitting, refused = [], []
    for name in config.policy.candidates:
        try:
            check_fits(AUGMENTERS.create(name), aspect)
            fitting.append(name)
        except IncompatibleError as error:
            refused.append(f"{name} ({error.rule})")
    if refused:
        tell(f"policies left out: {', '.join(refused)}")
    search = dataclasses.replace(config.policy, candidates=tuple(fitting))
    own = dataclasses.replace(config.task, aspect=aspect.name)
    generator = _carrying(config.generator, aspect, table.schema, config.gap)
    return dataclasses.replace(config, task=own, policy=search, generator=generator)


def _carrying(config: GanConfig, aspect: Aspect, schema: Schema, gap: Gap | None) -> GanConfig:
    """Return a generator whose images carry an aspect: drawn where it can be, else asked for.

    What nobody predicts is not asked for, besides the class, by which images are counted, and the
    number that a gap is in. In a study with a gap what can be drawn is not asked for, or it would
    have to be known of the images that are lacking.
    """
    able = CONDITIONING.create(config.conditioning).carried(schema)
    if not len(able):
        config = dataclasses.replace(config, conditioning="none")
        tell("generator.conditioning=none: the set has nothing to ask for")
    if aspect.spatial and not config.joint and (gap is not None or aspect.name not in able):
        config = dataclasses.replace(config, joint=(aspect.name,))
        tell(f"generator.joint=[{aspect.name}]: images are drawn together with it")
    if config.carries is None and len(schema) > 1:
        names = {LABEL, aspect.name} | (set() if gap is None else {gap.aspect})
        wanted = tuple(a.name for a in able if a.name in names - set(config.joint))
        config = dataclasses.replace(config, carries=wanted)
    return config


def _dropped(found: CheckReport, table: Table, config: StudyConfig) -> tuple[int, ...]:
    """Return the training rows to leave out; without the option, leaks stop the study."""
    for warning in found.warnings:
        tell(f"warning: {warning}")
    dropped = left_out(found, table, config.drop_duplicates)
    if config.drop_duplicates and "train" in table.parts:
        tell(f"{len(dropped)} training images dropped as duplicates (--drop-duplicates)")
    return dropped


def _deciding(earlier: Sequence[Mapping[str, Any]], seeds: int) -> list[int]:
    """Return the repetitions that decide: those that no earlier look has seen.

    Looking again at the same repetitions is no new look. Seeds added later decide on themselves
    alone, so that stopping when the result pleases is impossible.
    """
    seen = max((max(look["seeds"]) + 1 for look in earlier), default=0)
    if seen == 0 or seeds <= seen:
        last = earlier[-1]["seeds"] if earlier else range(seeds)
        return [int(i) for i in last]
    if seeds - seen < 2:
        raise UsageError(
            "seeds added to a study decide on themselves alone, so at least 2 are added",
            f"{seeds - seen} after {seen}",
            f"pass seeds={seen + 2} (--seeds {seen + 2})",
        )
    return list(range(seen, seeds))


@dataclass(frozen=True)
class _Runner:
    root: Path
    workers: int
    options: ProveOptions

    def finished(self, stages: Sequence[Stage]) -> bool:
        return all(load(stage, self.root) is not None for stage in stages)

    def __call__(self, stages: Sequence[Stage]) -> dict[str, StageResult]:
        return run_stages(
            stages, self.root, self.workers, self.options.backend, self.options.address
        )


def _announce(plan: Plan, graph: Graph, results: Mapping[str, StageResult], workers: int) -> None:
    """Print the plan, its cost and the smallest effect that it could detect."""
    config = plan.config
    pilots = [results[s.name] for s in graph.pilots]
    policy = _policy_of(graph, results)
    found = assemble.power([p.value for p in pilots], len(graph.mints))
    training = sum(p.seconds for p in pilots) / (2 * len(pilots))
    per_step = generator_step_seconds(plan, graph)
    costs = _costs(graph, config.generator.steps * per_step, training)
    tell(f"classic policy chosen on validation: {policy}")
    for name, reason in plan.left_out.items():
        tell(f"arm {name} left out: {reason}")
    parts = ", ".join(f"{name} {span(seconds)}" for name, seconds in costs.items())
    total = span(sum(costs.values()) / workers)
    tell(f"cost: about {total} on {workers} cores, from a pilot ({parts} of one core)")
    tell(found["text"])


def _costs(graph: Graph, generator: float, training: float) -> dict[str, float]:
    """Return seconds by what they are spent on: stages counted, at a pilot's price."""
    weights = {steps.generator: generator, steps.mint_images: 2 * training}
    weights |= {steps.diagnosis: 3 * training, steps.arm: training}
    names = {"generator": "generators", "mint": "minting and diagnosis", "arm": "arms"}
    names |= {"diagnosis": "minting and diagnosis", "grid": "levels and ratios", "tuning": "tuning"}
    costs: dict[str, float] = {}
    for stage in in_order(graph.stages()):
        name = names.get(stage.name.partition("-")[0])
        if name is not None:
            costs[name] = costs.get(name, 0.0) + weights.get(stage.function, 0.0)
    return costs


def generator_step_seconds(plan: Plan, graph: Graph, count: int = 8) -> float:
    """Measure one step of the study's generator, in seconds on one thread, after a warm-up."""
    config, table = graph.generators[0].config, plan.table
    rows = draw(table, plan.split_config(0)).train
    data = training_images(table, rows)

    def run(n: int) -> float:
        start = time.perf_counter()
        short = dataclasses.replace(config.gan, steps=n)
        train_gan(short, data, table.schema, config.seed, None, config.device, progress=False)
        return time.perf_counter() - start

    with single_thread():
        return max(run(2 + count) - run(2), 0.0) / count


def _policy_of(graph: Graph, results: Mapping[str, StageResult]) -> str:
    known = results.get(graph.policy.name)
    if known is None:
        root = next(iter(results.values())).folder.parent
        known = load(graph.policy, root)
    return "unknown" if known is None else str(known.value["chosen"])


# what the report says -----------------------------------------------------------------------------


def _report(
    plan: Plan, values: StudyValues, rows: Rows, labelled: int, found: CheckReport
) -> dict[str, Any]:
    config, table = plan.config, plan.table
    n_test, classes = len(rows.test), table.strata_names()
    decision = assemble.primary(values, config.delta, n_test)
    size, counts = config.task.seen(table.shape), values.splits[0]["train_counts"]
    closed = config.scored_on == "held-back"
    own_test = "its own test part" if "test" in table.parts else "a fixed share held for testing"
    name, gap = Path(config.data).name, config.gap
    words = "" if gap is None else gap.words(table.schema)
    setting = Setting(
        network=network_name(config),
        initialisation=f"weights {Path(config.task.weights).name}"
        if config.task.weights
        else "random initialisation",
        size=(size[1], size[2]),
        data=(name if closed else f"{name} ({own_test})") + (f" with {words}" if words else ""),
        test_images=n_test,
        test_closed=closed,
        per_class=labelled if config.long_tail is None else max(counts),
        rarest=None if config.long_tail is None else labelled,
        classes=LABEL in table.schema,
    )
    arms, controls = assemble.arm_table(values, decision.delta, config.long_tail is not None)
    seeds = len(values.mints)
    chosen = {} if values.tuning is None else values.tuning["chosen"]
    return {
        **assemble.headline(values, decision, setting),
        "title": Path(config.data).name,
        "arms": arms,
        "units": assemble.units(values),
        "arms_left_out": dict(plan.left_out),
        "controls": controls,
        "per_class": assemble.per_class(values, classes),
        "long_tail": _tail(config, values, classes, decision.delta),
        "gap": None if gap is None else gap_rows(values.arms, gap, words, len(rows.outside)),
        "grid": assemble.grid(values, labelled, chosen.get("ratio", config.ratio)),
        "tuning": assemble.tuning(values, config),
        "equivalent": assemble.equivalent(values, labelled),
        "distribution": assemble.distribution(values),
        "label_truth": [
            assemble.mean_of(group)
            for group in zip(*(d["label_truth"] for d in values.diagnoses), strict=True)
        ],
        "claims": {
            "aspect": config.task.aspect,
            "recognised": table.schema[config.task.aspect].kind == "category",
        },
        "diversity": assemble.diversity(values),
        "copying": assemble.copying(values),
        "curation": assemble.curation(values),
        "power": assemble.power(values.pilots, seeds),
        "policy": {
            **values.policy,
            "text": (
                f"{values.policy['chosen']}, by {config.policy.folds}-fold cross-validation over "
                f"{config.policy.pilot_seeds} pilot draws of the labelled images"
            ),
        },
        "check": found.to_plain(),
        "data": _data(plan, rows, labelled),
        "network": {
            "name": setting.network,
            "parameters": values.arms["classic"][0]["parameters"],
            "initialisation": setting.initialisation,
            "size": list(setting.size),
        },
        "generator": assemble.generator_row(config, values),
    }


def _data(plan: Plan, rows: Rows, labelled: int) -> dict[str, Any]:
    config, table, scored = plan.config, plan.table, len(rows.test)
    return {
        "source": config.data,
        **recognised(table),
        "images": len(table),
        "shape": list(table.shape),
        "classes": list(table.strata_names()),
        "train_per_class": labelled,
        "train": len(rows.train),
        "validation": len(rows.held_out),
        "pool": len(rows.pool),
        "test": scored if config.scored_on == "test" else 0,
        "scored_on": config.scored_on,
        "scored": scored,
        "dropped": len(plan.dropped),
        "unlabelled": len(plan.unlabelled),
        "digest": table.digest,
    }


def _tail(
    config: StudyConfig, values: StudyValues, classes: Sequence[str], delta: float
) -> dict[str, Any] | None:
    if config.long_tail is None:
        return None
    kept = [m["accepted_by_class"] for m in values.mints]
    minted = [sum(row) / len(kept) for row in zip(*kept, strict=True)]
    counts = values.splits[0]["train_counts"]
    return tail_rows(values.arms, counts, minted, classes, config.long_tail, delta)


def _story(
    out: Path,
    config: StudyConfig,
    options: ProveOptions,
    results: Mapping[str, StageResult],
    started: float,
    indices: Sequence[int],
    earlier: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return cost, machine and everything needed to repeat the study."""
    cost: dict[str, dict[str, Any]] = {}
    for name, result in results.items():
        kind = name.split("-")[0]
        row = cost.setdefault(kind, {"stage": kind, "count": 0, "seconds": 0.0, "images_shown": 0})
        row["count"] += 1
        row["seconds"] += result.seconds
        shown = result.value.get("images_shown", 0) if isinstance(result.value, dict) else 0
        row["images_shown"] += shown
    rows = [{**row, "seconds": round(row["seconds"], 3)} for row in cost.values()]
    machine = provenance()
    warnings = []
    if any(list(look["seeds"]) != list(indices) for look in earlier):
        warnings.append(
            f"this study was looked at before; repetitions {indices[0]} to {indices[-1]} were "
            "added and decide on themselves alone"
        )
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "augmint": machine["augmint"],
        "cost": sorted(rows, key=lambda r: -r["seconds"]),
        "seconds": round(sum(r["seconds"] for r in rows), 3),
        "wall_seconds": time.time() - started,
        "images_shown": sum(r["images_shown"] for r in cost.values()),
        "machine": machine,
        "command": options.command or _call(config, out, options),
        "config_yaml": write_yaml(config),
        "config_digest": fingerprint(config),
        "test_openings": [e for e in EventLog.read(out / LOOKS) if e["kind"] == "opened"],
        "warnings": warnings,
    }


def _call(config: StudyConfig, out: Path, options: ProveOptions) -> str:
    """Return the call of the Python interface that asked for this study."""
    said = {"preset": options.preset, "per_class": options.per_class, "seeds": options.seeds}
    said |= {"model": options.model, "settings": to_plain(options.settings)}
    words = "".join(f", {name}={value!r}" for name, value in said.items() if value)
    return f"augmint.prove({config.data!r}, {str(out)!r}{words})"


def network_name(config: StudyConfig) -> str:
    """Return how the report names the network that is measured.

    Example:
        >>> network_name(StudyConfig("digits"))
        'small-cnn'
    """
    if config.task.model is not None:
        path, _, name = config.task.model.rpartition(":")
        return f"{Path(path).name}:{name}"
    return split_spec(config.task.network, "architecture")[0]


def _log_look(
    out: Path, config: StudyConfig, indices: Sequence[int], earlier: Sequence[Mapping[str, Any]]
) -> None:
    """Log that the test set is opened, or stays closed, once for each set of repetitions."""
    if earlier and list(earlier[-1]["seeds"]) == list(indices):
        return
    log = EventLog(out / LOOKS)
    if config.scored_on == "test":
        log.write("opened", seeds=list(indices), why="scores of all arms")
    else:
        log.write("closed", seeds=list(indices), why="arms are scored on held-back images")

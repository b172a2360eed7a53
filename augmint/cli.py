"""The command line: `augmint VERB INPUT --out DIR --options`.

Each verb is one row of `VERBS`: its help, its options, its examples and the function that does the
work (imported only when the verb runs, so that `augmint --help` loads no numerical library).
Exit codes: 0 done (whatever the verdict), 2 bad input or option, 3 the data check failed,
130 interrupted (the message says how to resume).
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augmint.core.commands import Option, Verb, parser_of, read
from augmint.core.errors import AugmintError, UsageError, memory_error, nearest, too_large, visible
from augmint.core.storage import storage_error

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

PRESETS = ("quick", "standard", "full")
BACKENDS = ("loky", "dask", "ray", "sequential")
DEVICES = ("auto", "cpu", "cuda")
MEASURES = ("parameters", "multiplications")
SCORED_ON = ("test", "held-back")


def _say(text: str) -> None:
    """Print text that may hold names of the user's: nothing in it can steer the terminal."""
    print(visible(text))


# what each verb does ---------------------------------------------------------------------------


def _prove(a: Namespace) -> None:
    from augmint.studies.pipeline import prove
    from augmint.studies.study import ProveOptions

    names = {f.name for f in dataclasses.fields(ProveOptions)} - {"settings"}
    options = ProveOptions(**{name: getattr(a, name) for name in names}, settings=list(a.set))
    report = prove(a.data, Path(a.out), options)
    if a.dry_run:
        return
    _say(f"\n{report['verdict'].upper()}: {report['sentence']}")
    for control in report["controls"]:
        _say(f"  control {control['name']}: {control['text']}")
    _say(f"report: {Path(a.out) / 'report.html'}\nminted images: {Path(a.out) / 'minted'}")


def _train(a: Namespace) -> None:
    from augmint.studies.single import TrainOptions, mint_command, train

    options = TrainOptions(
        a.per_class, a.steps, a.seed, a.device, list(a.set), a.config, a.size, a.drop_duplicates,
        a.processes, tuple(a.track), a.format,
    )  # fmt: skip
    bundle = train(a.data, Path(a.out), options)
    _say(f"bundle: {bundle}\nmint from it: {mint_command(bundle, Path(a.out) / 'minted')}")


def _mint(a: Namespace) -> None:
    from augmint.studies.single import MintOptions, mint_bundle, parse_quotas

    quotas = parse_quotas(a.quota)
    options = MintOptions(a.per_class, quotas, a.seed, not a.raw, a.license, a.truncation, a.format)
    counts = mint_bundle(Path(a.bundle), Path(a.out), options)
    _say(f"{counts['accepted']} images accepted of {counts['drawn']} drawn: {a.out}")


def _evaluate(a: Namespace) -> None:
    from augmint.studies.evaluation import EvaluateOptions, evaluate, lines

    options = EvaluateOptions(a.steps, a.seed, a.size, a.device, a.command)
    report = evaluate(a.real, a.minted, Path(a.out) if a.out else None, options)
    _say(json.dumps(report, indent=2) if a.json else "\n".join(lines(report)))
    if a.out and not a.json:
        _say(f"report: {Path(a.out) / 'evaluate.html'}")


def _check(a: Namespace) -> None:
    from augmint.studies.inspection import coloured, inspect

    out = Path(a.out) if a.out else None
    found = inspect(a.data, a.format, a.size, out, a.command)
    print(json.dumps(found.plain, indent=2) if a.json else coloured(found.lines, sys.stdout))
    if out and not a.json:
        _say(f"report: {out / 'check.html'}")
    if found.failure is not None:
        raise found.failure


def _run(a: Namespace) -> None:
    from augmint.recipes.base import RecipeOptions, run_recipe

    where = (a.data, a.seed, a.device, a.workers)
    options = RecipeOptions(a.debug, a.variant, *where, list(a.set), a.drop_duplicates, a.command)
    result = run_recipe(a.recipe, Path(a.out), options)
    print(json.dumps({"metrics": result["metrics"], "expected": result["expected"]}, indent=2))
    if "sentence" in result["details"]:
        _say(result["details"]["sentence"])
    _say(f"result: {Path(a.out) / 'result.json'}")


def _compare(a: Namespace) -> None:
    from augmint.recipes.comparing import Choice, compare_recipes
    from augmint.recipes.conditional import measures
    from augmint.studies.compare import CompareOptions
    from augmint.studies.compared import lines

    options = CompareOptions(
        images=a.images,
        seeds=a.seeds,
        seed=a.seed,
        size=a.size,
        per_class=a.per_class,
        baseline=a.baseline,
        measures=measures(a.steps, a.debug),
        workers=a.workers,
        backend=a.backend,
        address=a.address,
        device=a.device,
        drop_duplicates=a.drop_duplicates,
        dry_run=a.dry_run,
        command=a.command,
    )
    choice = Choice(a.generators, a.variant, a.debug, list(a.set))
    report = compare_recipes(choice, a.data, Path(a.out), options)
    if not a.dry_run:
        _say("\n".join(lines(report)))
        _say(f"report: {Path(a.out) / 'compare.html'}")


def _report(a: Namespace) -> None:
    from augmint.studies.pipeline import rewrite_report

    _say(f"report: {rewrite_report(Path(a.study))}")


def _list(a: Namespace) -> None:
    from augmint.core.registry import AXES

    if a.fits is not None:
        _fits(a)
        return
    chosen = list(AXES) if a.axis is None else [a.axis]
    for name in chosen:
        if name not in AXES:
            raise UsageError("list takes the name of an axis", name, nearest(name, AXES))
    if a.json:
        table = {n: {e.name: e.summary for e in AXES[n].entries.values()} for n in chosen}
        print(json.dumps(table, indent=2))
        return
    for name in chosen:
        print(name)
        for entry in AXES[name].entries.values():
            _say(f"  {entry.name:<28} {entry.summary}")
        if not AXES[name].entries:
            print("  (none yet)")


def _fits(a: Namespace) -> None:
    from augmint.training.fits import fits

    if a.axis is not None:
        raise UsageError("list takes an axis or --fits NAME", f"{a.axis} and {a.fits}", "give one")
    found = fits(a.fits)
    if a.json:
        print(json.dumps([vars(fit) for fit in found], indent=2))
        return
    place = ""
    for fit in found:
        if fit.place != place:
            place = fit.place
            print(place)
        told = "; ".join(
            f"{name} with " + ", ".join(f"{key}: {json.dumps(v)}" for key, v in settings.items())
            for name, settings in fit.settings.items()
        )
        _say(f"  {'no ' if fit.reason else 'yes'} {fit.name:<24} {fit.reason or told}".rstrip())


def _merge(a: Namespace) -> None:
    from augmint.studies.merging import merge_files

    names = ("budget", "measure", "shape", "outputs", "inherit", "keep_dense", "seed")
    rules = [*a.set, "to_fixpoint=true"] if a.to_fixpoint else list(a.set)
    _say("\n".join(merge_files(a.networks, Path(a.out), {n: a[n] for n in names}, rules)))


def _doctor(a: Namespace) -> None:
    from augmint.studies.doctor import examine, lines

    found = examine(measure=not a.quick)
    print(json.dumps(found, indent=2) if a.json else "\n".join(lines(found)))


# the table --------------------------------------------------------------------------------------


def _switch(flags: str, text: str) -> Option:
    return Option(flags, text, bool, False, None, "store_true")


_DATA = Option(
    "data", "image folder, zip, folder of idx files, or a built-in name (augmint list datasets)"
)
_OUT = Option("--out", "folder to write to; the same command again resumes", metavar="DIR")
_SEED = Option("--seed", "of everything random", int, 0)
_DEVICE = Option("--device", "where networks run", str, "auto", DEVICES)
_SIZE = Option("--size", "resample images to this side (N, or HxW)", metavar="N")
_SET = Option(
    "--set",
    "any field of the configuration, repeatable: --set task.steps=500",
    str,
    [],
    None,
    "append",
    "KEY=VALUE",
)
_CONFIG = Option(
    "--config", "YAML file of the configuration (config.yaml of an earlier run)", metavar="FILE"
)
_PER_CLASS = Option(
    "--per-class",
    "labelled images a class to use (in all, where there are no classes); the rest is held back",
    int,
    metavar="N",
)
_FORMAT = Option("--format", "read as this format in place of the one detected", metavar="NAME")
_JSON = _switch("--json", "print everything as JSON")
_TRACK = Option(
    "--track",
    "also show it in tensorboard, wandb or mlflow (their extras), repeatable",
    str,
    [],
    None,
    "append",
    "NAME",
)
_VARIANT = Option("--variant", "of the recipe: its text, released program …", metavar="NAME")
_WHERE = (
    Option("--workers", "stages at once, one core each (default: all cores)", int, metavar="W"),
    Option("--backend", "where stages run", str, "loky", BACKENDS),
    Option("--address", "scheduler of a dask or ray cluster", metavar="HOST:PORT"),
)
_DROP = _switch("--drop-duplicates", "drop training images that also stand in the test part")

VERBS: dict[str, Verb] = {
    "prove": Verb(
        "measure whether minted images help your model: verdict, report, minted images",
        (
            _DATA,
            _OUT,
            Option("--preset", "arms, seeds and budgets", str, "quick", PRESETS),
            Option("--task", "what your model predicts (augmint list tasks)", metavar="NAME"),
            _PER_CLASS,
            Option("--seeds", "independent repetitions (at least 2)", int, metavar="J"),
            Option("--delta", "smallest effect of interest, in points", float, metavar="D"),
            Option(
                "--long-tail",
                "images of the first class over the last's: minted images fill up the rare ones",
                float,
                metavar="FACTOR",
            ),
            Option(
                "--gap",
                "range that labelled images lack, that is minted and that is tested",
                metavar="ASPECT.COMPONENT=LOW..HIGH",
            ),
            Option(
                "--scored-on",
                "held-back: score on training images held back, and leave the test set closed",
                str,
                None,
                SCORED_ON,
            ),
            Option(
                "--model",
                "your network: FILE.py:FUNCTION, called as FUNCTION(outputs, channels, height, "
                "width)",
                metavar="FILE.py:NAME",
            ),
            Option("--weights", "initial weights of --model, .safetensors", metavar="FILE"),
            _SIZE,
            *_WHERE,
            _DEVICE,
            _TRACK,
            _DROP,
            _FORMAT,
            _CONFIG,
            _SET,
            _switch(
                "--dry-run", "print the plan, its cost and the smallest effect it could detect"
            ),
        ),
        "augmint prove digits --out demo\n"
        "augmint prove photos/ --preset standard --model mynet.py:make_net --size 48 --out study\n"
        "augmint prove mnist/ --per-class 20 --preset standard --out study --dry-run\n"
        "augmint prove faces.zip --task landmarks --per-class 100 --out study\n"
        "augmint prove toy-faces --task landmarks --per-class 100 --gap pose.yaw=20..45 "
        "--out study",
        _prove,
    ),
    "train": Verb(
        "train a conditional generator and write its bundle",
        (
            _DATA,
            _OUT,
            _PER_CLASS,
            Option("--steps", "optimiser steps", int, metavar="N"),
            _SEED,
            _SIZE,
            _DEVICE,
            Option(
                "--processes",
                "share each batch among N processes, a core or GPU each",
                int,
                1,
                metavar="N",
            ),
            _TRACK,
            _DROP,
            _FORMAT,
            _CONFIG,
            _SET,
        ),
        "augmint train digits --out runs/g\n"
        "augmint train photos.zip --per-class 100 --steps 4000 "
        "--set generator.conditioning=concatenation --out runs/g\n"
        "augmint train digits --processes 2 --track tensorboard --out runs/g",
        _train,
    ),
    "mint": Verb(
        "mint annotated images from a bundle, without its data",
        (
            Option("bundle", "folder written by train or prove (DIR/bundle)"),
            _OUT,
            Option("--per-class", "images for each class", int, 100, metavar="N"),
            Option(
                "--quota",
                "images of one class, repeatable: --quota seven=50",
                str,
                [],
                None,
                "append",
                "CLASS=N",
            ),
            _SEED,
            _switch("--raw", "keep every image: no curation by the bundle's judge"),
            Option(
                "--truncation",
                "less varied, more typical images: bound of the latents, or share of the styles "
                "kept",
                float,
                metavar="T",
            ),
            Option(
                "--license",
                "of the minted images, for their metadata: an address or an SPDX name",
                metavar="TEXT",
            ),
            Option(
                "--format",
                "what to write instead of a manifest (augmint list formats), '{name: …}' with "
                "options",
                metavar="NAME",
            ),
        ),
        "augmint mint runs/g/bundle --per-class 200 --out more\n"
        "augmint mint runs/g/bundle --quota 7=500 --quota 1=20 --out more\n"
        "augmint mint runs/g/bundle --truncation 0.7 --out typical\n"
        "augmint mint runs/g/bundle --format coco --out for-others",
        _mint,
    ),
    "evaluate": Verb(
        "compare minted with real images: label truth, distances with floors, diversity, copies",
        (
            Option("real", "real images: as the data of prove"),
            Option("minted", "minted images: a folder written by mint, or any image folder"),
            Option("--out", "write evaluate.html and evaluate.json here", metavar="DIR"),
            Option("--steps", "optimiser steps of each judge", int, 600, metavar="N"),
            _SEED,
            _SIZE,
            _DEVICE,
            _JSON,
        ),
        "augmint evaluate digits demo/minted\n"
        "augmint evaluate photos/ more/ --out evaluation\n"
        "augmint evaluate photos/ made-elsewhere/ --size 48 --json",
        _evaluate,
    ),
    "check": Verb(
        "look for leaks, duplicates, broken files and tiny classes before anything is trained",
        (
            _DATA,
            _FORMAT,
            _SIZE,
            Option("--out", "write check.html with pictures, and check.json, here", metavar="DIR"),
            _JSON,
        ),
        "augmint check photos.zip\naugmint check photos/ --out check\naugmint check mnist/ --json",
        _check,
        "exit codes: 0 nothing stops a study, 2 the data cannot be read, 3 images are in two parts",
    ),
    "run": Verb(
        "reproduce a published experiment",
        (
            Option("recipe", "a name from `augmint list recipes`"),
            _OUT,
            _switch("--debug", "a version that ends in seconds on a CPU"),
            _VARIANT,
            Option("--data", "path of the data set, where the recipe needs one", metavar="PATH"),
            Option("--workers", "stages at once, for recipes of several stages", int, metavar="W"),
            _SEED,
            _DEVICE,
            _DROP,
            _SET,
        ),
        "augmint run vac-mnist --debug --out runs/vac\n"
        "augmint run vac-mnist --data mnist/ --variant released --out runs/vac\n"
        "augmint run spdnn-iris --out runs/iris\n"
        "augmint run spdnn-classifier --data fashion-mnist/ --workers 2 --out runs/spdnn\n"
        "augmint run vac-on-anything --data mnist/ --set images=20000 --set seeds=2 "
        "--out runs/short",
        _run,
    ),
    "compare": Verb(
        "compare generators on the same data with the same budget, as a report with intervals",
        (
            Option(
                "generators",
                "recipes of one generator (`augmint list recipes`), or FILE.yaml of configurations",
                action="several",
            ),
            Option("--data", "as the data of prove (--debug: digits)", metavar="PATH"),
            _OUT,
            Option(
                "--images",
                "real images shown to each generator (default: the smallest of their own budgets)",
                int,
                metavar="N",
            ),
            Option("--seeds", "trainings of each generator", int, 3, metavar="J"),
            Option(
                "--baseline",
                "which the others are held against (default: the first)",
                metavar="NAME",
            ),
            _VARIANT,
            Option("--per-class", "training images a class that generators see", int, metavar="N"),
            Option(
                "--steps",
                "optimiser steps of the judge, and of what learns from generated images",
                int,
                metavar="N",
            ),
            _SIZE,
            _switch("--debug", "a version that ends in seconds on a CPU; its numbers mean nothing"),
            *_WHERE,
            _SEED,
            _DEVICE,
            _DROP,
            _SET,
            _switch("--dry-run", "print the plan"),
        ),
        "augmint compare vac-mnist acgan-mnist --debug --out runs/compare\n"
        "augmint compare vac-mnist acgan-mnist cgan-mnist --variant released --data mnist/ "
        "--images 600000 --seeds 3 --out runs/compare\n"
        "augmint compare vac-mnist acgan-mnist --variant released --data faces/ --size 28 "
        "--per-class 200 --out runs/faces\n"
        "augmint compare examples/comparisons/annotations.yaml --data toy-eyes --size 48x64 "
        "--images 300000 --out runs/eyes\n"
        "augmint compare vac-mnist acgan-mnist --variant released --data mnist/ "
        "--set generator.precision=bf16 --out runs/bf16",
        _compare,
        "the same command again does only what is missing; generators and seeds may be added",
    ),
    "merge": Verb(
        "merge several networks into one of a chosen size, with drawings of every step",
        (
            Option("networks", "two or more: FILE.py:FUNCTION", action="several"),
            _OUT,
            Option("--budget", "1.0x of the mean parent, or a number: 80000, 80k", str, "1.0x"),
            Option("--measure", "what is counted", str, "parameters", MEASURES),
            Option("--shape", "of one input (default: a size that fits)", metavar="CxHxW"),
            Option("--outputs", "for functions that ask for it", int, metavar="N"),
            _switch("--to-fixpoint", "repeat the passes until nothing more can be joined"),
            _switch("--inherit", "copy the parents' weights where the shapes allow it"),
            _switch("--keep-dense", "dense layers keep their neurons"),
            _SEED,
            _SET,
        ),
        "augmint merge a.py:make_net b.py:make_net --budget 1.0x --out merged",
        _merge,
    ),
    "report": Verb(
        "write report.html again from a finished study",
        (Option("study", "folder of a finished prove"),),
        "augmint report study/",
        _report,
    ),
    "list": Verb(
        "list every variant of every axis, or what fits one of them",
        (
            Option("axis", "one axis alone", default="", action="optional"),
            Option(
                "--fits",
                "a part of a generator's training: which others go with it, and why not",
                metavar="NAME",
            ),
            _switch("--json", "print as JSON"),
        ),
        "augmint list\naugmint list objectives --json\naugmint list --fits began",
        _list,
    ),
    "doctor": Verb(
        "show versions, extras, the allocator and this machine's ceilings",
        (_switch("--quick", "without the measurements"), _JSON),
        "augmint doctor\naugmint doctor --quick --json",
        _doctor,
    ),
}

REQUIRED = frozenset({"--out"})
OPTIONAL_OUT = frozenset({"evaluate", "check"})


def build_parser() -> ArgumentParser:
    """Return the parser of all verbs."""
    from augmint import __version__

    return parser_of(VERBS, lambda verb: () if verb in OPTIONAL_OUT else REQUIRED, __version__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Example:
        >>> main(["no-such-verb"])  # a line on standard error says which verbs there are
        2
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options: Any = None
    try:
        verb, options = _parse(arguments)
        if verb is None:
            return 0
        from augmint.core.machine import set_allocator

        set_allocator()
        options.command = shlex.join(["augmint", *arguments])  # what a report says to repeat it
        VERBS[verb].run(options)
        return 0
    except AugmintError as error:
        return _told(error)
    except KeyboardInterrupt:
        print("augmint: interrupted; the same command resumes", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # whoever read our output has gone; Python would complain again on exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename or 'a file'} ({error.strerror or error})"
        remedy = "check the path, its permissions and the space that is left"
        plain = UsageError("files and folders must be readable and writable", where, remedy)
        return _told(storage_error(error, Path(getattr(options, "out", None) or ".")) or plain)
    except (MemoryError, RuntimeError, TypeError) as error:
        if not too_large(error):
            raise
        return _told(memory_error(error))


def _told(error: AugmintError) -> int:
    print(f"augmint: {error}", file=sys.stderr)
    return error.exit_code


def _parse(arguments: list[str]) -> tuple[str | None, Any]:
    parser = build_parser()
    if not arguments:
        parser.print_help()
        return None, None
    if arguments[0] not in VERBS and arguments[0] not in ("-h", "--help", "--version"):
        raise UsageError("the first word is a verb", arguments[0], nearest(arguments[0], VERBS))
    return read(parser, VERBS, arguments)


if __name__ == "__main__":
    raise SystemExit(main())

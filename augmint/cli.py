"""The command line: `augmint VERB INPUT --out DIR --options`.

Each verb is one row of `VERBS`: its help, its options, its examples and the function that does the
work (imported only when the verb runs, so that `augmint --help` loads no numerical library).
Exit codes: 0 done (whatever the verdict), 2 bad input or option, 3 the data check failed,
130 interrupted (the message says how to resume).
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from argparse import Action, ArgumentError, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augmint.core.errors import AugmintError, UsageError, nearest, single_line, visible
from augmint.core.storage import storage_error

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

PRESETS = ("quick", "standard", "full")
BACKENDS = ("loky", "dask", "ray", "sequential")
DEVICES = ("auto", "cpu", "cuda")
MEASURES = ("parameters", "multiplications")
SCORED_ON = ("test", "held-back")


@dataclass(frozen=True)
class Option:
    """One argument of a verb; `flags` without dashes make it positional."""

    flags: str
    help: str
    type: Any = str
    default: Any = None
    choices: tuple[str, ...] | None = None
    action: str | None = None
    metavar: str | None = None


@dataclass(frozen=True)
class Verb:
    """One sub-command."""

    help: str
    options: tuple[Option, ...]
    examples: str
    run: Callable[[Namespace], None]
    notes: str = ""


def _say(text: str) -> None:
    """Print text that may hold names of the user's: nothing in it can steer the terminal."""
    print(visible(text))


# what each verb does ---------------------------------------------------------------------------


def _prove(a: Namespace) -> None:
    from augmint.studies.pipeline import prove
    from augmint.studies.study import ProveOptions

    options = ProveOptions(
        preset=a.preset,
        per_class=a.per_class,
        seeds=a.seeds,
        delta=a.delta,
        scored_on=a.scored_on,
        long_tail=a.long_tail,
        model=a.model,
        weights=a.weights,
        size=a.size,
        workers=a.workers,
        backend=a.backend,
        address=a.address,
        device=a.device,
        drop_duplicates=a.drop_duplicates,
        config=a.config,
        settings=list(a.set),
        dry_run=a.dry_run,
        command=a.command,
        track=tuple(a.track),
    )
    report = prove(a.data, Path(a.out), options)
    if a.dry_run:
        return
    _say(f"\n{report['verdict'].upper()}: {report['sentence']}")
    for control in report["controls"]:
        _say(f"  control {control['name']}: {control['text']}")
    _say(f"report: {Path(a.out) / 'report.html'}\nminted images: {Path(a.out) / 'minted'}")


def _train(a: Namespace) -> None:
    from augmint.studies.single import TrainOptions, train

    options = TrainOptions(
        a.per_class,
        a.steps,
        a.seed,
        a.device,
        list(a.set),
        a.config,
        a.size,
        a.drop_duplicates,
        a.processes,
        tuple(a.track),
    )
    bundle = train(a.data, Path(a.out), options)
    _say(f"bundle: {bundle}\nmint from it: augmint mint {bundle} --out {Path(a.out) / 'minted'}")


def _mint(a: Namespace) -> None:
    from augmint.studies.single import MintOptions, mint_bundle, parse_quotas

    options = MintOptions(a.per_class, parse_quotas(a.quota), a.seed, not a.raw, a.license)
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
    from augmint.recipes.base import run_recipe

    where = (a.data, a.seed, a.device, a.workers)
    result = run_recipe(a.recipe, Path(a.out), a.debug, a.variant, *where)
    print(json.dumps({"metrics": result["metrics"], "expected": result["expected"]}, indent=2))
    if "sentence" in result["details"]:
        _say(result["details"]["sentence"])
    _say(f"result: {Path(a.out) / 'result.json'}")


def _report(a: Namespace) -> None:
    from augmint.studies.pipeline import rewrite_report

    _say(f"report: {rewrite_report(Path(a.study))}")


def _list(a: Namespace) -> None:
    from augmint.core.registry import AXES

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


_DATA = Option("data", "image folder, zip, folder of idx files, or a built-in name (digits, toy)")
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
    "--per-class", "labelled images a class to use; the rest is held back", int, metavar="N"
)
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
_DROP = _switch("--drop-duplicates", "drop training images that also stand in the test part")

VERBS: dict[str, Verb] = {
    "prove": Verb(
        "measure whether minted images help your model: verdict, report, minted images",
        (
            _DATA,
            _OUT,
            Option("--preset", "arms, seeds and budgets", str, "quick", PRESETS),
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
                "--scored-on",
                "held-back: score on training images held back, and leave the test set closed",
                str,
                None,
                SCORED_ON,
            ),
            Option(
                "--model",
                "your network: FILE.py:FUNCTION, called as FUNCTION(outputs, channels, height, width)",
                metavar="FILE.py:NAME",
            ),
            Option("--weights", "initial weights of --model, .safetensors", metavar="FILE"),
            _SIZE,
            Option(
                "--workers", "stages at once, one core each (default: all cores)", int, metavar="W"
            ),
            Option("--backend", "where stages run", str, "loky", BACKENDS),
            Option("--address", "scheduler of a dask or ray cluster", metavar="HOST:PORT"),
            _DEVICE,
            _TRACK,
            _DROP,
            _CONFIG,
            _SET,
            _switch(
                "--dry-run", "print the plan, its cost and the smallest effect it could detect"
            ),
        ),
        "augmint prove digits --out demo\n"
        "augmint prove photos/ --preset standard --model mynet.py:make_net --size 48 --out study\n"
        "augmint prove mnist/ --per-class 20 --preset standard --out study --dry-run",
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
            _CONFIG,
            _SET,
        ),
        "augmint train digits --out runs/g\n"
        "augmint train photos.zip --per-class 100 --steps 4000 --set generator.conditioning=concatenation --out runs/g\n"
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
                "--license",
                "of the minted images, for their metadata: an address or an SPDX name",
                metavar="TEXT",
            ),
        ),
        "augmint mint runs/g/bundle --per-class 200 --out more\n"
        "augmint mint runs/g/bundle --quota 7=500 --quota 1=20 --out more",
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
            Option("--format", "read as this format in place of the one detected", metavar="NAME"),
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
            Option(
                "--variant",
                "follow the paper's text or its released code",
                str,
                None,
                ("text", "released"),
            ),
            Option("--data", "path of the data set, where the recipe needs one", metavar="PATH"),
            Option("--workers", "stages at once, for recipes of several stages", int, metavar="W"),
            _SEED,
            _DEVICE,
        ),
        "augmint run vac-mnist --debug --out runs/vac\n"
        "augmint run vac-mnist --data mnist/ --variant released --out runs/vac\n"
        "augmint run spdnn-iris --out runs/iris\n"
        "augmint run spdnn-classifier --data fashion-mnist/ --workers 2 --out runs/spdnn",
        _run,
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
        "list every variant of every axis",
        (
            Option("axis", "one axis alone", default="", action="optional"),
            _switch("--json", "print as JSON"),
        ),
        "augmint list\naugmint list objectives --json",
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
    from jsonargparse import ArgumentParser, DefaultHelpFormatter

    from augmint import __version__

    class Formatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
        """Keeps the examples as they are written; choices say more than the type of a choice."""

        def _get_type_str(self, action: Action) -> str | None:
            kind = None if action.choices else super()._get_type_str(action)
            return None if kind is None or "<" in kind else str(kind)

    parser = ArgumentParser(
        prog="augmint",
        description="Mints annotated training images and proves whether they help your model.",
        epilog="start here:\n  augmint prove digits --out demo\n\naugmint VERB --help shows a verb's options and examples",
        exit_on_error=False,
        formatter_class=Formatter,
        version=__version__,
        allow_abbrev=False,
    )
    verbs = parser.add_subcommands(required=False, dest="verb", metavar="VERB")
    for name, verb in VERBS.items():
        examples = "\n".join(f"  {line}" for line in verb.examples.split("\n"))
        sub = ArgumentParser(
            description=verb.help[0].upper() + verb.help[1:] + ".",
            epilog=f"examples:\n{examples}" + (f"\n\n{verb.notes}" if verb.notes else ""),
            exit_on_error=False,
            formatter_class=Formatter,
            allow_abbrev=False,
        )
        for option in verb.options:
            _add(sub, option, required=option.flags in REQUIRED and name not in OPTIONAL_OUT)
        verbs.add_subcommand(name, sub, help=verb.help)
    return parser


def _add(parser: ArgumentParser, option: Option, required: bool) -> None:
    fields: dict[str, Any] = {"help": option.help}
    if option.action == "optional":
        fields |= {"nargs": "?", "type": str, "default": None}
    elif option.action == "several":
        fields |= {"nargs": "+", "type": str}
    elif option.action == "store_true":
        fields |= {"action": "store_true"}
    elif option.action == "append":
        fields |= {"action": "append", "default": list(option.default)}
    else:
        fields |= {"type": option.type}
        if option.choices:
            fields |= {"choices": option.choices}
    if option.flags.startswith("--"):
        if option.action is None:
            fields |= {"default": option.default, "required": required}
        if option.metavar:
            fields["metavar"] = option.metavar
    parser.add_argument(option.flags, **fields)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
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
    except MemoryError as error:
        remedy = "make networks, images or batches smaller"
        return _told(UsageError("the work must fit into memory", str(error) or "more", remedy))


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
    try:
        parsed = parser.parse_args(arguments)
    except ArgumentError as error:
        raise _plain(error, arguments) from None
    except SystemExit as leaving:
        if leaving.code in (0, None):
            return None, None
        raise
    return parsed.verb, parsed[parsed.verb]


def _plain(error: ArgumentError, arguments: list[str]) -> UsageError:
    """Turn a parser's message into rule, value and remedy."""
    verb = arguments[0]
    text = single_line(str(error).replace("prove.", ""))
    help_hint = f"see augmint {verb} --help"
    if match := re.search(r"[Uu]nrecognized arguments: (.*)", text):
        unknown = match[1].split()[0]
        known = [o.flags for o in VERBS[verb].options if o.flags.startswith("--")]
        if unknown.startswith("-"):
            return UsageError(f"{verb} has no such option", unknown, nearest(unknown, known))
        return UsageError(f"{verb} takes no further words", match[1], help_hint)
    if match := re.search(r"arguments? (?:is|are) required: (.*)", text):
        missing = ", ".join(m.strip().split(".")[-1] for m in match[1].split(","))
        return UsageError(f"{verb} needs {missing}", "nothing", help_hint)
    if match := re.search(r'"([\w.]+)":.*?Expected an? <class \'(\w+)\'>.*?Got value: (.*)', text):
        flag = "--" + match[1].split(".")[-1].replace("_", "-")
        return UsageError(f"{flag} must be of type {match[2]}", match[3], help_hint)
    if match := re.search(
        r"argument (--?[\w-]+).*invalid choice: '?(.*?)'? \(choose from (.*)\)", text
    ):
        return UsageError(f"{match[1]} must be one of {match[3]}", match[2], help_hint)
    return UsageError(f"{verb} could not read its options", text, help_hint)


if __name__ == "__main__":
    raise SystemExit(main())

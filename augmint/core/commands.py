"""A command line as a table of verbs and options: its parser, and its errors in plain words."""

from __future__ import annotations

import re
from argparse import Action, ArgumentError, RawDescriptionHelpFormatter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from augmint.core.errors import UsageError, nearest, single_line

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace


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


def parser_of(
    verbs: Mapping[str, Verb], required: Callable[[str], Collection[str]], version: str
) -> ArgumentParser:
    """Return the parser of all verbs.

    Args:
        verbs: by name, in the order in which they are shown.
        required: the options that a verb cannot do without.
        version: of the program.
    """
    from jsonargparse import ArgumentParser, DefaultHelpFormatter

    class Formatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
        """Keeps the examples as they are written; choices say more than the type of a choice."""

        def _get_type_str(self, action: Action) -> str | None:
            kind = None if action.choices else super()._get_type_str(action)
            return None if kind is None or "<" in kind else str(kind)

    parser = ArgumentParser(
        prog="augmint",
        description="Mints annotated training images and proves whether they help your model.",
        epilog=(
            "start here:\n  augmint prove digits --out demo\n\n"
            "augmint VERB --help shows a verb's options and examples"
        ),
        exit_on_error=False,
        formatter_class=Formatter,
        version=version,
        allow_abbrev=False,
    )
    added = parser.add_subcommands(required=False, dest="verb", metavar="VERB")
    for name, verb in verbs.items():
        examples = "\n".join(f"  {line}" for line in verb.examples.split("\n"))
        sub = ArgumentParser(
            description=verb.help[0].upper() + verb.help[1:] + ".",
            epilog=f"examples:\n{examples}" + (f"\n\n{verb.notes}" if verb.notes else ""),
            exit_on_error=False,
            formatter_class=Formatter,
            allow_abbrev=False,
        )
        for option in verb.options:
            _add(sub, option, required=option.flags in required(name))
        added.add_subcommand(name, sub, help=verb.help)
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


def read(
    parser: ArgumentParser, verbs: Mapping[str, Verb], arguments: list[str]
) -> tuple[str | None, Any]:
    """Return the verb and its options; None where help was all that was asked for.

    Raises:
        UsageError: for words that cannot be read.

    Example:
        >>> options = (Option("word", "what to say"), Option("--times", "how often", int, 1))
        >>> verbs = {"say": Verb("say a word", options, "program say hi", print)}
        >>> parser = parser_of(verbs, lambda verb: (), "1.0")
        >>> verb, given = read(parser, verbs, ["say", "hi", "--times", "2"])
        >>> verb, given.word, given.times
        ('say', 'hi', 2)
    """
    try:
        parsed = parser.parse_args(arguments)
    except ArgumentError as error:
        raise _plain(error, verbs, arguments) from None
    except SystemExit as leaving:
        if leaving.code in (0, None):
            return None, None
        raise
    return parsed.verb, parsed[parsed.verb]


def _plain(error: ArgumentError, verbs: Mapping[str, Verb], arguments: list[str]) -> UsageError:
    """Turn a parser's message into rule, value and remedy."""
    verb = arguments[0]
    text = single_line(str(error).replace("prove.", ""))
    help_hint = f"see augmint {verb} --help"
    if match := re.search(r"[Uu]nrecognized arguments: (.*)", text):
        unknown = match[1].split()[0]
        known = [o.flags for o in verbs[verb].options if o.flags.startswith("--")]
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

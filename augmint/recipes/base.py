"""What a recipe promises: a complete configuration of a published experiment, and its result."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from augmint.core.config import build, fingerprint, to_plain, with_overrides, write_yaml
from augmint.core.errors import DataCheckError, DataError, UsageError, nearest
from augmint.core.registry import RECIPES
from augmint.core.runs import lock_folder, provenance, read_json, write_atomic, write_json

if TYPE_CHECKING:
    from PIL.Image import Image

ConfigT = TypeVar("ConfigT")
T = TypeVar("T")

RESULT = "result.json"


@dataclass(frozen=True)
class Surroundings:
    """Where a recipe runs.

    Args:
        out: its folder; what it writes there lets the same command go on.
        data: the data set, as `ingest` takes it; empty for a recipe without data.
        seed: of everything random.
        device: "auto", "cpu" or "cuda".
        workers: processes that stages run in, one core each.
        drop_duplicates: leave out training images that also stand in the test part.
        identity: of recipe, configuration, data and seed.

    Example:
        >>> Surroundings(Path("out"), "digits", seed=0, identity="0123456789abcdef").kept.name
        '0123456789ab'
    """

    out: Path
    data: str
    seed: int
    device: str = "cpu"
    workers: int = 1
    drop_duplicates: bool = False
    identity: str = ""

    @property
    def kept(self) -> Path:
        """Where trained parts lie; those of a refused run with other settings lie elsewhere."""
        return self.out / "kept" / self.identity[:12]


@dataclass(frozen=True)
class Outcome:
    """What a recipe measured.

    Args:
        metrics: numbers by name; None where a measure was refused.
        protocols: how each was taken, or why it was refused, by name.
        pictures: by name, in the order in which they are shown.
        images_shown: real images shown to the generator's critic, repeats counted.
        warnings: what a reader must know, besides the recipe's own deviations.
        files: texts to write beside the result, by file name; the report shows drawings (.svg) and
            tables (.txt).
        details: more for `result.json`, plain values; the report shows its `sentence`.
    """

    metrics: Mapping[str, float | None]
    protocols: Mapping[str, str] = field(default_factory=dict)
    pictures: Mapping[str, Image] = field(default_factory=dict)
    images_shown: int = 0
    warnings: Sequence[str] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe(ABC, Generic[ConfigT]):
    """One published experiment. Members are frozen dataclasses registered on the axis `recipes`.

    `configure` is a pure function that returns everything the numbers depend on; its debug
    version runs every part and ends in seconds on a CPU.
    """

    title: ClassVar[str]
    source: ClassVar[str]
    """Author, year, where."""
    variants: ClassVar[tuple[str, ...]] = ("text", "released")
    """What is followed; the first is the default: the paper's text, or its released program."""
    expected: ClassVar[Mapping[str, float | str]] = {}
    """What the paper reports, by the names of `Outcome.metrics`, or in words."""
    needs_data: ClassVar[bool] = True
    debug_data: ClassVar[str] = "digits"
    """What the debug version runs on where no data are given."""
    data_hint: ClassVar[str] = ""
    """What data the full version needs, in words."""

    @abstractmethod
    def configure(self, variant: str, debug: bool = False) -> ConfigT:
        """Return the complete configuration, a frozen dataclass."""

    @abstractmethod
    def deviations(self, variant: str, debug: bool = False) -> Sequence[str]:
        """Return sentences that say where the configuration leaves its source."""

    @abstractmethod
    def run(self, config: ConfigT, surroundings: Surroundings) -> Outcome:
        """Train and measure."""


@dataclass(frozen=True)
class RecipeOptions:
    """What a caller may say of a recipe's run.

    Args:
        debug: the version that ends in seconds.
        variant: one of the recipe's; None: its first.
        data: the data set; the debug version has one of its own.
        seed: of everything random.
        device: "auto", "cpu" or "cuda".
        workers: processes, for recipes of several stages; None: the machine's cores, or this
            process alone in the debug version.
        settings: fields of the configuration that differ, "key=value"; the result tells them
            among its deviations.
        drop_duplicates: leave out training images that also stand in the test part, which
            otherwise stop the run.
        command: what the report says to repeat it.
    """

    debug: bool = False
    variant: str | None = None
    data: str | None = None
    seed: int = 0
    device: str = "auto"
    workers: int | None = None
    settings: Sequence[str] = ()
    drop_duplicates: bool = False
    command: str = ""


def run_recipe(name: str, out: Path, options: RecipeOptions) -> dict[str, Any]:
    """Run a recipe and write `result.json`, `config.yaml`, `pictures/` and `report.html`.

    The same call again returns the result it wrote, or goes on where it was interrupted.

    Args:
        name: of a registered recipe.
        out: its folder.
        options: see there.

    Returns:
        What `result.json` holds: `recipe`, `variant`, `debug`, `metrics`, `expected`,
        `deviations`, `protocols`, `seconds`, `config`, `machine` …

    Raises:
        UsageError: an unknown name, variant or setting, no data, or a folder that holds
            another run.
    """
    debug, data = options.debug, options.data
    recipe: Recipe[Any] = RECIPES.create(name)
    chosen = chosen_variant(recipe, name, options.variant)
    source = data or (recipe.debug_data if debug and recipe.needs_data else None)
    if source is not None and not recipe.needs_data:
        raise UsageError(f"{name} takes no data", source, "leave data out (--data)")
    if source is None and recipe.needs_data:
        raise UsageError(
            f"{name} runs on {recipe.data_hint}",
            "no data",
            "pass data='DIR' (--data DIR), or debug=True (--debug) for built-in images",
        )
    config = configured(recipe, chosen, debug, options.settings)
    asked: dict[str, Any] = {
        "recipe": name,
        "variant": chosen,
        "debug": debug,
        "data": source,
        "seed": options.seed,
        "drop_duplicates": options.drop_duplicates,
        "config": to_plain(config),
    }
    identity = fingerprint(asked | {"augmint": provenance()["augmint"]})
    with lock_folder(out):
        earlier = _earlier(out, identity)
        if earlier is not None:
            return earlier
        first = not (out / "asked.json").is_file()
        write_json(out / "asked.json", {"identity": identity, **asked})
        start = time.monotonic()
        processes = options.workers or (1 if debug else os.cpu_count() or 1)
        where = Surroundings(
            out,
            source or "",
            options.seed,
            options.device,
            processes,
            options.drop_duplicates,
            identity,
        )
        try:
            outcome = recipe.run(config, where)
        except (UsageError, DataError, DataCheckError):
            if first:  # what was refused must not stand in the way of the next try
                (out / "asked.json").unlink()
            raise
        result = {
            **asked,
            "identity": identity,
            "title": recipe.title,
            "source": recipe.source,
            "metrics": dict(outcome.metrics),
            "expected": dict(recipe.expected),
            "protocols": dict(outcome.protocols),
            "deviations": [
                *recipe.deviations(chosen, debug),
                *(f"set: {text}" for text in options.settings),
            ],
            "warnings": list(outcome.warnings),
            "images_shown": outcome.images_shown,
            "details": dict(outcome.details),
            "seconds": round(time.monotonic() - start, 2),
            "machine": provenance(),
            "command": options.command,
        }
        _write(out, result, outcome, config)
    return result


def configured(recipe: Recipe[Any], variant: str, debug: bool, settings: Sequence[str]) -> Any:
    """Return a recipe's configuration with some fields set.

    Raises:
        UsageError: for a field that it does not have, or a value of another type.

    Example:
        >>> recipe = RECIPES.create("spdnn-classifier")
        >>> configured(recipe, "text", False, ["training.steps=9"]).training.steps
        9
    """
    return with_settings(recipe.configure(variant, debug), settings, "recipe")


def chosen_variant(recipe: Recipe[Any], name: str, variant: str | None) -> str:
    """Return the variant that is asked for, the first if none is.

    Raises:
        UsageError: for one that the recipe does not have.

    Example:
        >>> recipe = RECIPES.create("cbigan-faces")
        >>> chosen_variant(recipe, "cbigan-faces", None), chosen_variant(recipe, "", "literal")
        ('consistent', 'literal')
    """
    if variant is not None and variant not in recipe.variants:
        raise UsageError(
            f"{name} has the variants {', '.join(recipe.variants)}",
            variant,
            nearest(variant, recipe.variants),
        )
    return variant or recipe.variants[0]


def with_settings(config: T, settings: Sequence[str], where: str) -> T:
    """Return a configuration with some fields set, each by a text such as "gan.steps=9".

    Raises:
        UsageError: for a field that it does not have, or a value of another type.

    Example:
        >>> with_settings(RecipeOptions(), ["seed=3", "debug=true"], "options").seed
        3
    """
    if not settings:
        return config
    return build(type(config), with_overrides(to_plain(config), settings), where)


def _earlier(out: Path, identity: str) -> dict[str, Any] | None:
    """Return the finished result of this very run, None to start or go on; refuses another run."""
    for name in (RESULT, "asked.json"):
        if (out / name).is_file():
            found = read_json(out / name)
            if not isinstance(found, dict) or "identity" not in found:
                raise DataError(
                    "a recipe's folder holds its own files",
                    str(out / name),
                    "move that file, or choose another folder (--out DIR)",
                )
            if found["identity"] != identity:
                raise UsageError(
                    "a folder holds one run of one recipe",
                    f"{out}, which holds {found.get('recipe')} ({found.get('variant')})",
                    "choose another folder (--out DIR)",
                )
            return found if name == RESULT else None
    return None


def _write(out: Path, result: dict[str, Any], outcome: Outcome, config: Any) -> None:
    from augmint.core.pictures import png_bytes
    from augmint.studies.report.render import render_recipe

    pictures = {name: png_bytes(picture) for name, picture in outcome.pictures.items()}
    for name, png in pictures.items():
        write_atomic(out / "pictures" / f"{name}.png", png)
    for name, text in outcome.files.items():
        write_atomic(out / name, text)
    write_atomic(out / "config.yaml", write_yaml(config))
    told = [*result["deviations"], *result["warnings"]]
    shown = {
        **result,
        "augmint": result["machine"]["augmint"],
        "text": result["title"] + (" (debug version)" if result["debug"] else ""),
        "config_yaml": write_yaml(config),
        "warnings": told,
    }
    write_atomic(out / "report.html", render_recipe(shown, pictures, outcome.files))
    write_json(out / RESULT, result)  # last: a result says that everything is there

"""From names of recipes, and files of configurations, to a comparison of their generators.

A file is YAML: `generators`, by name the fields in which each differs from `base`:

    base: {conditioning: vac, latent_dim: 32}
    generators:
      plain: {}
      larger: {latent_dim: 128}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augmint.core.config import build, read_yaml
from augmint.core.errors import UsageError, nearest
from augmint.core.registry import RECIPES
from augmint.recipes.base import chosen_variant, with_settings
from augmint.recipes.conditional import ConditionalConfig, ConditionalRecipe
from augmint.training.config import GanConfig

if TYPE_CHECKING:
    from augmint.studies.compare import CompareOptions


SETTABLE = ("generator", "measures")
"""What `--set` reaches: every generator's configuration, and how all are measured."""

DEBUG_SIZE = "16"
"""Side of the debug version's images, where no recipe says another."""

DEBUG_IMAGES = 640
"""Real images shown to each generator of a debug version."""


@dataclass(frozen=True)
class Chosen:
    """The generators that names of recipes and files stand for.

    Args:
        generators: by name.
        size: to which recipes scale images, where they agree; None: as they are.
        channels: likewise.
    """

    generators: dict[str, GanConfig]
    size: tuple[int, int] | None
    channels: int | None


@dataclass(frozen=True)
class GeneratorsFile:
    """What a file of configurations holds.

    Args:
        generators: fields of each, by name.
        base: fields that all share where they do not say their own.

    Example:
        >>> build(GeneratorsFile, {"generators": {"plain": {}, "wide": {"batch": 128}}}, "file")
        GeneratorsFile(generators={'plain': {}, 'wide': {'batch': 128}}, base={})
    """

    generators: Mapping[str, Mapping[str, Any] | None]
    base: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """What a caller asks to be compared.

    Args:
        names: of recipes, or files of generators (names that end in .yaml or .yml).
        variant: of every recipe; None: the first of each.
        debug: a version that ends in seconds.
        settings: "generator.KEY=VALUE" for every generator, "measures.KEY=VALUE".
    """

    names: Sequence[str]
    variant: str | None = None
    debug: bool = False
    settings: Sequence[str] = ()

    def of(self, part: str) -> list[str]:
        """Return the settings of a part, without its name.

        Example:
            >>> choice = Choice(["a", "b"], settings=["generator.steps=9", "measures.pairs=50"])
            >>> choice.of("generator"), choice.of("measures")
            (['steps=9'], ['pairs=50'])
        """
        return [s.removeprefix(f"{part}.") for s in self.settings if s.startswith(f"{part}.")]


def choose(choice: Choice) -> Chosen:
    """Return the generators that a caller asks for.

    Raises:
        UsageError: for an unknown name, a recipe of no conditional generator, a generator named
            twice, fewer than two, a variant that a recipe does not have, a setting that a
            generator does not have, or a file that holds something else.

    Example:
        >>> chosen = choose(Choice(["vac-mnist", "acgan-mnist"], settings=["generator.steps=9"]))
        >>> {name: gan.steps for name, gan in chosen.generators.items()}, chosen.channels
        ({'vac-mnist': 9, 'acgan-mnist': 9}, 1)
    """
    names = choice.names
    files = [n for n in names if Path(n).suffix.lower() in (".yaml", ".yml")]
    recipes = {n: _config(n, choice.variant, choice.debug) for n in names if n not in files}
    told = [n for n in names if n not in files]
    found = {name: config.gan for name, config in recipes.items()}
    for path in files:
        read = from_file(Path(path))
        told += list(read)
        found |= read
    if len(told) < 2 or len(set(told)) < len(told):
        raise UsageError(
            "a comparison names at least 2 generators, each once",
            " ".join(told) or "none",
            "name another recipe (augmint list recipes)",
        )
    return Chosen(
        {name: with_settings(gan, choice.of("generator"), name) for name, gan in found.items()},
        _common(c.size for c in recipes.values()),
        _common(c.channels for c in recipes.values()),
    )


def _common(values: Iterable[Any]) -> Any:
    every = set(values)
    return every.pop() if len(every) == 1 else None


def from_file(path: Path) -> dict[str, GanConfig]:
    """Return the generators that a file holds, by name; see above.

    Raises:
        UsageError: if it cannot be read, or a field is unknown or of another type.

    Example:
        >>> import tempfile
        >>> text = "{base: {latent_dim: 32}, generators: {plain: {}, larger: {latent_dim: 128}}}"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "two.yaml").write_text(text)
        ...     {n: gan.latent_dim for n, gan in from_file(Path(folder) / "two.yaml").items()}
        {'plain': 32, 'larger': 128}
    """
    read = build(GeneratorsFile, read_yaml(path), path.name)
    return {
        name: build(GanConfig, {**read.base, **(fields or {})}, name)
        for name, fields in read.generators.items()
    }


def _config(name: str, variant: str | None, debug: bool) -> ConditionalConfig:
    member = RECIPES.get(name)
    if not issubclass(member, ConditionalRecipe):
        raise UsageError(
            "a comparison is of recipes that train one conditional generator",
            name,
            nearest(name, comparable()),
        )
    recipe = RECIPES.create(name)
    config: ConditionalConfig = recipe.configure(chosen_variant(recipe, name, variant), debug)
    return config


def comparable() -> list[str]:
    """Return the names of the recipes that can be compared.

    Example:
        >>> "vac-mnist" in comparable(), "spdnn-iris" in comparable()
        (True, False)
    """
    return [n for n in RECIPES.names() if issubclass(RECIPES.get(n), ConditionalRecipe)]


def compare_recipes(
    choice: Choice, data: str | None, out: Path, options: CompareOptions
) -> dict[str, Any]:
    """Compare the generators of recipes and files and return what `compare.json` holds.

    Args:
        choice: at least two generators.
        data: the data set; the debug version has one of its own.
        out: the comparison's folder.
        options: see there; size, channels and the debug version's budget are the recipes' own
            where they are left open.

    Raises:
        UsageError: as `choose`, without data, or for a setting of neither part.
    """
    from augmint.studies.compare import compare

    for text in choice.settings:
        part = text.partition("=")[0].partition(".")[0]
        if part not in SETTABLE:
            raise UsageError(
                "--set of a comparison begins with generator. or measures.",
                text,
                nearest(part, SETTABLE),
            )
    chosen = choose(choice)
    if data is None and not choice.debug:
        raise UsageError(
            "a comparison runs on a data set", "no data", "pass --data DIR, or --debug for digits"
        )
    measures = with_settings(options.measures, choice.of("measures"), "measures")
    options = replace(options, measures=measures)
    if options.size is None and chosen.size is not None:
        options = replace(options, size="x".join(str(side) for side in chosen.size))
    if options.channels is None:
        options = replace(options, channels=chosen.channels)
    if choice.debug:
        images = DEBUG_IMAGES if options.images is None else options.images
        options = replace(options, images=images, size=options.size or DEBUG_SIZE)
    return compare(chosen.generators, data or "digits", out, options)

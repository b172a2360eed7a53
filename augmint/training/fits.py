"""Which parts of a generator's training fit a given one, and why the others do not.

`check_compatible` judges whole configurations. Two parts fit where it lets a configuration pass
that holds both, whatever the rest; else the reason is what it says of them.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.aspects.vector import Vector
from augmint.core.errors import UsageError, nearest
from augmint.core.registry import (
    ARCHITECTURES,
    AUGMENTERS,
    CONDITIONING,
    OBJECTIVES,
    PENALTIES,
    Registry,
)
from augmint.core.types import Shape
from augmint.networks.base import GeneratorArchitecture
from augmint.training.compatibility import check_compatible
from augmint.training.config import GanConfig

PLACES: dict[str, Registry[Any]] = {
    "objective": OBJECTIVES,
    "generator": ARCHITECTURES,
    "critic": ARCHITECTURES,
    "conditioning": CONDITIONING,
    "penalties": PENALTIES,
    "augment": AUGMENTERS,
}
"""The fields of a configuration that name a part, with the registry that holds it."""

PLAYERS = ("objective", "generator", "critic", "conditioning")
"""Places that are never empty; without a critic an objective trains the generator alone."""

SHAPE: Shape = (3, 32, 32)
_SCHEMA = Schema(
    (
        Category("label", ("a", "b", "c")),
        Vector("pose", ("yaw",), (-1.0,), (1.0,), mirrored=("yaw",)),
    )
)
_FIRST = {"objective": "hinge", "conditioning": "vac"}

Part = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Fit:
    """Whether a part goes with the one asked about.

    Args:
        place: field of the configuration that names it.
        name: of the part.
        reason: why it does not fit; empty where it does.
        settings: fields that either needs for it, other than their defaults, by part.
    """

    place: str
    name: str
    reason: str = ""
    settings: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)


def fits(name: str, shape: Shape = SHAPE) -> list[Fit]:
    """Return how every part in the other places goes with one.

    Args:
        name: of an objective, a generator, a critic, a conditioning, a penalty or an augmenter;
            "objective:vae" where the name alone could be several.
        shape: of the images.

    Raises:
        UsageError: for an unknown name, or one that stands in several places.
    """
    members = {place: members_of(place) for place in PLACES}
    place, name = _placed(name, members)
    return [
        _fit({place: name, other: member}, other, shape)
        for other, names in members.items()
        if other != place
        for member in names
    ]


def _placed(name: str, members: Mapping[str, list[str]]) -> tuple[str, str]:
    """Return the place and the name of what is asked about."""
    given, _, alone = name.rpartition(":")
    own = [place for place, names in members.items() if alone in names and given in ("", place)]
    if len(own) == 1:
        return own[0], alone
    known = sorted({n for names in members.values() for n in names})
    raise UsageError(
        "list --fits takes the name of one part of a generator's training",
        name,
        f"say which: {', '.join(f'{place}:{alone}' for place in own)}"
        if own
        else nearest(alone, known),
    )


def members_of(place: str) -> list[str]:
    """Return the names that can stand in a place: architectures by their role.

    Example:
        >>> [place for place in PLACES if "dcgan-critic" in members_of(place)]
        ['critic']
    """
    registry = PLACES[place]
    if place in ("generator", "critic"):
        return [n for n in registry.names() if registry.get(n).role == place]
    if place == "augment":
        return [n for n in registry.names() if registry.get(n).differentiable]
    return registry.names()


def _fit(pair: Mapping[str, str], place: str, shape: Shape) -> Fit:
    """Look for a configuration that holds both, the parts as they are by default first."""
    told: list[tuple[str, dict[str, Any]]] = []
    forms = {at: list(variations(PLACES[at], name)) for at, name in pair.items()}
    combined = sorted(itertools.product(*forms.values()), key=lambda f: sum(len(p) for p in f))
    for parts in combined:
        chosen = dict(zip(forms, parts, strict=True))
        for rest in _completions(chosen):
            reason = _refusal({**rest, **chosen}, shape)
            if reason is None:
                changed = {p["name"]: {k: v for k, v in p.items() if k != "name"} for p in parts}
                return Fit(place, pair[place], "", {n: s for n, s in changed.items() if s})
            told.append((reason, rest))
    return Fit(place, pair[place], _of_the_pair(told, pair, place, shape))


def _of_the_pair(
    told: Sequence[tuple[str, dict[str, Any]]], pair: Mapping[str, str], place: str, shape: Shape
) -> str:
    """Return the reason that speaks of a pair; the others are of what was tried beside it.

    That is the one that names both. Else one that names the part in `place`, said of players with
    which the other part alone would do.
    """
    both = (reason for reason, _ in told if all(_names(reason, n) for n in pair.values()))
    if found := next(both, None):
        return found
    others = {at: {"name": name} for at, name in pair.items() if at != place}
    # without a part where that may be, with any other one where not
    instead: list[dict[str, Any]] = [{}]
    if place in PLAYERS:
        instead = [{place: n} for n in members_of(place)]
    if place == "critic":
        instead.append({place: None})
    seen: set[tuple[Any, ...]] = set()
    for reason, rest in sorted(told, key=lambda t: not _names(t[0], pair[place])):
        players = tuple(rest.values())
        if players in seen:
            continue
        seen.add(players)
        if any(_refusal({**rest, **others, **other}, shape) is None for other in instead):
            return reason
    return told[0][0]


def _names(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None


def variations(registry: Registry[Any], name: str) -> Iterator[Part]:
    """Yield a part as it is by default, then with its choices and switches set otherwise.

    Example:
        >>> list(variations(OBJECTIVES, "began"))
        [{'name': 'began'}, {'name': 'began', 'clip': False}]
    """
    member = registry.get(name)
    hints = typing.get_type_hints(member)
    options: dict[str, list[Any]] = {}
    for field in dataclasses.fields(member):
        hint = hints[field.name]
        values = (True, False) if hint is bool else typing.get_args(hint)
        if hint is bool or typing.get_origin(hint) is typing.Literal:
            options[field.name] = [v for v in values if v != field.default]
    for count in range(3):
        for fields in itertools.combinations(options, count):
            for chosen in itertools.product(*(options[f] for f in fields)):
                yield {"name": name, **dict(zip(fields, chosen, strict=True))}


def _completions(chosen: Mapping[str, Part]) -> Iterator[dict[str, Any]]:
    """Yield the players that are not chosen, the usual ones first; other places stay empty."""
    free = [place for place in PLAYERS if place not in chosen]
    values: list[list[Any]] = []
    for place in free:
        names: list[Any] = members_of(place)
        names.sort(key=lambda n, p=place: n != _FIRST.get(p, f"dcgan-{p}"))  # type: ignore[misc]
        values.append([*names, None] if place == "critic" else names)
    for parts in itertools.product(*values):
        yield dict(zip(free, parts, strict=True))


def _refusal(parts: Mapping[str, Any], shape: Shape) -> str | None:
    generator: GeneratorArchitecture = ARCHITECTURES.create(parts["generator"])
    needed = generator.latent_needed(shape)
    given = dict(parts)
    penalty = given.pop("penalties", None)
    config = GanConfig(
        **{"augment": None, **given},
        penalties=() if penalty is None else (penalty,),
        latent_dim=needed or GanConfig().latent_dim,
    )
    try:
        check_compatible(config, _SCHEMA, shape)
    except UsageError as error:
        return str(error)
    return None

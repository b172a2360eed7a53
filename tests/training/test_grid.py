"""The grid: every cell of the axes is judged, a covering array of them trains, errors name parts.

A cell is (objective, generator, critic or none, conditioning, penalty). Variants are read from the
registries, at tiny widths where they have a width; some are there twice, in the forms that
declare different things.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.aspects.landmarks import Landmarks
from augmint.aspects.mask import Mask
from augmint.aspects.vector import Vector
from augmint.core.errors import UsageError
from augmint.core.registry import ARCHITECTURES, CONDITIONING, OBJECTIVES, PENALTIES, Registry
from augmint.networks.base import GeneratorArchitecture
from augmint.objectives.base import DirectObjective
from augmint.training.compatibility import check_compatible
from augmint.training.gan import GanConfig, GanTraining, TrainingImages

Cell = tuple[Any, ...]
AXES = ("objective", "generator", "critic", "conditioning", "penalty")
SHAPE = (1, 16, 16)
SCHEMA = Schema(
    (
        Category("label", ("a", "b", "c")),
        Vector("pose", ("yaw", "pitch"), low=(-1.0, -1.0), high=(1.0, 1.0), mirrored=("yaw",)),
        Landmarks("points", ("a", "b"), SHAPE[1:], pairs=()),
        Mask("parts", ("ground", "thing"), void=255),
    )
)
NARROW = {"embedding": 8, "channels": 4, "widest": 8, "style": 8, "mapping_layers": 1, "code": 8}
NARROW |= {"steps": 2}
FORMS: dict[str, list[dict[str, Any]]] = {
    "dcgan-generator": [{"upsampling": "transposed"}, {"normalisation": "none"}],
    "dcgan-critic": [{"normalisation": "batch"}, {"normalisation": "none"}],
    "resnet-critic": [
        {"plan": "biggan", "minibatch_deviation": 2, "minibatch_discrimination": 3},
    ],
    "stylegan2-critic": [{"deviation": True}],
    "acgan": [{"enters": "conditional-norm"}],
    "vac": [{"enters": "modulation"}],
    "var": [{"latent": "uniform", "trains_on": "both"}, {"enters": "maps"}],
    "vac-var": [
        {"enters": "conditional-norm", "regressor": {"loss": "symmetric"}},
        {"enters": "maps"},
    ],
    "concatenation": [{"critic": False, "enters": "conditional-norm"}, {"enters": "maps"}],
}
"""Further forms of a variant that declare or do other things than its default."""


def spec(registry: Registry[Any], name: str, **fields: Any) -> dict[str, Any]:
    """Return a narrow spec of a variant."""
    known = {f.name for f in dataclasses.fields(registry.get(name))}
    narrow = {k: v for k, v in NARROW.items() if k in known}
    if registry is PENALTIES:
        narrow["interval"] = 1
    if "network" in known:
        narrow["network"] = spec(ARCHITECTURES, "small-cnn")
    return {"name": name, **narrow, **fields}


def forms(registry: Registry[Any], name: str) -> list[dict[str, Any]]:
    return [spec(registry, name, **fields) for fields in ({}, *FORMS.get(name, []))]


@cache
def axes() -> dict[str, list[Any]]:
    """Every variant of every axis; architectures by the role they play."""
    of_role: dict[str, list[Any]] = {"generator": [], "critic": [], "classifier": []}
    for name in ARCHITECTURES.names():
        role = ARCHITECTURES.get(name).role  # type: ignore[attr-defined]
        of_role.setdefault(role, []).extend(forms(ARCHITECTURES, name))
    return {
        "objective": [spec(OBJECTIVES, n) for n in OBJECTIVES.names()],
        "generator": of_role["generator"],
        "critic": [None, *of_role["critic"]],
        "conditioning": [f for n in CONDITIONING.names() for f in forms(CONDITIONING, n)],
        "penalty": [None, *(spec(PENALTIES, n) for n in PENALTIES.names())],
        "misfit": [*of_role["classifier"], *of_role.get("other", [])],
    }


def config_of(cell: Cell, **changes: Any) -> GanConfig:
    objective, generator, critic, conditioning, penalty = cell
    fields: dict[str, Any] = {
        "objective": objective,
        "generator": generator,
        "critic": critic,
        "conditioning": conditioning,
        "penalties": () if penalty is None else (penalty,),
        "latent_dim": latent_of(generator["name"]),
        "batch": 4,
        "steps": 2,
    }
    if critic is None:
        fields["augment"] = None
    return GanConfig(**{**fields, **changes})


@cache
def latent_of(generator: str) -> int:
    architecture = ARCHITECTURES.create(generator)
    needed = isinstance(architecture, GeneratorArchitecture) and architecture.latent_needed(SHAPE)
    return needed or 8


def names_of(cell: Cell) -> list[str]:
    return ["none" if part is None else part["name"] for part in cell]


def refusal(cell: Cell, **changes: Any) -> str | None:
    """Return why a cell cannot be trained, or None; anything but a usage error is a defect."""
    try:
        check_compatible(config_of(cell, **changes), SCHEMA, SHAPE)
    except UsageError as error:
        return str(error) if error.value and error.remedy else "says too little"
    return None


def cells() -> Iterator[Cell]:
    return itertools.product(*(axes()[a] for a in AXES))


@cache
def judged() -> dict[tuple[int, ...], str | None]:
    """Why each cell is refused, or None, by its places on the axes."""
    places = itertools.product(*(range(len(axes()[a])) for a in AXES))
    return {place: refusal(cell) for place, cell in zip(places, cells(), strict=True)}


def every() -> Iterator[tuple[Cell, str | None]]:
    """Each cell with the reason for which it is refused, or None."""
    return zip(cells(), judged().values(), strict=True)


def pairwise(values: Sequence[Sequence[Any]], fits: Any) -> list[tuple[int, ...]]:
    """Return rows of indices in which every pair of values that can stand together does.

    Greedy: a row begins with a pair that is not covered yet; the other columns are filled with
    what covers most, depth first, so that a row is found whenever there is one.
    """
    columns = range(len(values))
    left = {
        (a, i, b, j)
        for a, b in itertools.combinations(columns, 2)
        for i in range(len(values[a]))
        for j in range(len(values[b]))
    }
    rows: list[tuple[int, ...]] = []

    def gain(row: dict[int, int]) -> int:
        pairs = itertools.combinations(sorted(row.items()), 2)
        return sum((a, i, b, j) in left for (a, i), (b, j) in pairs)

    def fill(row: dict[int, int]) -> dict[int, int] | None:
        if len(row) == len(values):
            return row if fits(tuple(row[c] for c in columns)) else None
        c = next(c for c in columns if c not in row)
        tried = sorted(range(len(values[c])), key=lambda v: -gain({**row, c: v}))
        found = (fill({**row, c: v}) for v in tried)
        return next((f for f in found if f is not None), None)

    for pair in sorted(left):
        if pair not in left:
            continue
        a, i, b, j = pair
        row = fill({a: i, b: j})
        if row is None:
            left.discard(pair)  # no cell with these two can be trained
            continue
        rows.append(tuple(row[c] for c in columns))
        covered = itertools.combinations(sorted(row.items()), 2)
        left -= {(a, i, b, j) for (a, i), (b, j) in covered}
    return rows


@cache
def covering() -> list[Cell]:
    values = [axes()[a] for a in AXES]

    def cell(row: tuple[int, ...]) -> Cell:
        return tuple(v[i] for v, i in zip(values, row, strict=True))

    return [cell(row) for row in pairwise(values, lambda row: judged()[row] is None)]


@cache
def data() -> TrainingImages:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, *SHAPE), dtype=np.uint8)
    values = {
        "label": np.arange(12) % 3,
        "pose": rng.uniform(-1, 1, (12, 2)).astype(np.float32),
        "points": rng.integers(0, 3, (12, 2, 3)).astype(np.float32),
        "parts": rng.choice(np.array([0, 1, 255], np.uint8), (12, *SHAPE[1:])),
    }
    return TrainingImages(images, values, np.arange(12))


def train(cell: Cell, **changes: Any) -> None:
    """Train two steps; losses and all weights stay finite, all players move."""
    training = GanTraining(config_of(cell, **changes), data(), SCHEMA, 1)
    before = {
        name: [p.detach().clone() for p in network.parameters()]
        for name, network in (
            ("generator", training.game.generator), ("critic", training.game.critic),
        )
    }  # fmt: skip
    trained = training.run(progress=False)
    assert trained.step == 2
    assert all(np.isfinite(v) for row in trained.logs for v in row.values()), trained.logs
    for name, old in before.items():
        new = list(getattr(training.game, name).parameters())
        assert all(bool(p.isfinite().all()) for p in new), name
        moved = any(bool((p != q).any()) for p, q in zip(old, new, strict=True))
        assert moved or (name == "critic" and cell[2] is None), name


def test_every_cell_is_judged() -> None:
    told: dict[str, Cell] = {}
    trainable = 0
    for cell, reason in every():
        if reason is None:
            trainable += 1
            continue
        assert "\n" not in reason
        named = [n for n in set(names_of(cell)) - {"none"} if re.search(rf"\b{n}\b", reason)]
        assert len(named) >= 2 or "px" in reason, f"{names_of(cell)}: {reason}"
        told.setdefault(reason.partition(";")[0], cell)
    assert trainable > len(told)
    assert covering(), "some cells can be trained"


def test_cells_without_a_critic_are_those_of_direct_objectives() -> None:
    """Every direct objective trains some cell, conditional and not, and no other one does."""
    trained = {
        (cell[0]["name"], cell[3]["name"])
        for cell, reason in every()
        if reason is None and cell[2] is None
    }
    direct = [n for n in OBJECTIVES.names() if issubclass(OBJECTIVES.get(n), DirectObjective)]
    assert direct
    assert trained == set(itertools.product(direct, ("none", "concatenation")))


def test_parts_in_the_wrong_role_are_refused() -> None:
    good = covering()[0]
    a = axes()
    wrong = {1: [*filter(None, a["critic"]), *a["misfit"]], 2: [*a["generator"], *a["misfit"]]}
    for place, parts in wrong.items():
        for part in parts:
            cell = (*good[:place], part, *good[place + 1 :])
            reason = refusal(cell)
            assert reason is not None, names_of(cell)
            assert part["name"] in reason
            assert AXES[place] in reason


def test_unknown_names_are_refused() -> None:
    good = covering()[0]
    for place, axis in enumerate(AXES):
        reason = refusal((*good[:place], {"name": "no-such-part"}, *good[place + 1 :]))
        assert reason is not None
        assert "no-such-part" in reason
        assert axis in reason or "architecture" in reason


def test_the_array_covers_every_pair_that_any_cell_can_train() -> None:
    def pairs(rows: Iterable[Cell]) -> set[tuple[int, str, int, str]]:
        return {
            (a, repr(x), b, repr(y))
            for row in rows
            for (a, x), (b, y) in itertools.combinations(enumerate(row), 2)
        }

    assert pairs(covering()) == pairs(cell for cell, reason in every() if reason is None)
    sizes = sorted(len(axes()[a]) for a in AXES)
    assert sizes[-1] * sizes[-2] <= 4 * len(covering()), "an array, not a line"
    assert len(covering()) <= 400


def test_pairwise_on_a_grid_that_is_known() -> None:
    rows = pairwise([range(3)] * 4, lambda row: row[0] != 2 or row[1] != 2)
    assert 9 <= len(rows) <= 14
    found = {(a, r[a], b, r[b]) for r in rows for a, b in itertools.combinations(range(4), 2)}
    assert len(found) == 6 * 9 - 1
    assert (0, 2, 1, 2) not in found


def _name(cell: Cell) -> str:
    texts = []
    for part in cell:
        told = "" if part is None else part.get("normalisation") or part.get("upsampling") or ""
        texts.append(f"{'none' if part is None else part['name']}{told and ':' + told}")
    return " ".join(texts)


@pytest.mark.parametrize("cell", covering(), ids=_name)
def test_two_steps_of_the_covering_array(cell: Cell) -> None:
    train(cell)


@pytest.mark.parametrize("both", [True, False])
def test_two_steps_of_each_way_to_update(both: bool) -> None:
    for conditioning in axes()["conditioning"]:
        players = next(c[:3] for c in covering() if c[2] is not None)
        cell = (*players, conditioning, None)
        if refusal(cell) is None:
            changes = {"simultaneous": True} if both else {"generator_interval": 2}
            train(cell, **changes)


def test_every_part_trains_under_adaptive_augmentation_and_top_k() -> None:
    """Adapted where a sign can be followed; elsewhere refused by name, and trained at a fixed p."""
    seen: set[str] = set()
    adapted = 0
    for cell in covering():
        fresh = {_name((part,)) for part in cell if part is not None}
        if cell[2] is None or fresh <= seen:
            continue
        seen |= fresh
        changes: dict[str, Any] = {"augment": {"name": "ada", "kimg": 0.01}, "top_k": 0.5}
        told = refusal(cell, **changes)
        adapted += told is None
        if told is not None:
            assert re.search(r"\bada\b", told)
            assert any(n in told for n in names_of(cell))
            changes["augment"] = {"name": "ada", "p": 0.5}
        train(cell, **changes)
    assert adapted


def test_a_refused_cell_trains_nothing() -> None:
    """One cell for each kind of refusal: the same error comes before a network is built."""
    kinds: dict[str, Cell] = {}
    for cell, reason in every():
        if reason is not None:
            words = "|".join(re.escape(n) for n in names_of(cell))
            kinds.setdefault(re.sub(words, "PART", reason.partition(";")[0]), cell)
    assert kinds
    for cell in kinds.values():
        with pytest.raises(UsageError) as caught:
            GanTraining(config_of(cell), data(), SCHEMA, 1)
        assert str(caught.value) == refusal(cell)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_two_steps_of_two_thousand_further_cells() -> None:
    """All would take six hours; the covering array above has every pair of choices."""
    cells = [cell for cell, reason in every() if reason is None]
    failed = []
    for cell in random.Random(0).sample(cells, 2000):
        try:
            train(cell)
        except Exception as error:
            failed.append(f"{_name(cell)}: {type(error).__name__}: {error}")
    assert not failed, "\n".join(failed[:20])

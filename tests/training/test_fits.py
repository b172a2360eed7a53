"""What is said to fit trains, and what is said not to fit is refused in every form."""

from __future__ import annotations

import itertools
import random
import re

import pytest

from augmint.core.errors import UsageError
from augmint.training.fits import PLACES, Fit, fits, members_of, variations

NAMES = [(place, name) for place in PLACES for name in members_of(place)]


def by_place(found: list[Fit]) -> dict[tuple[str, str], Fit]:
    return {(f.place, f.name): f for f in found}


def test_fitting_is_mutual() -> None:
    """Asked from either side, two parts fit or do not."""
    random.Random(0).shuffle(NAMES)
    chosen = NAMES[:3]
    found = {(p, n): by_place(fits(f"{p}:{n}")) for p, n in chosen}
    for one, other in itertools.combinations(chosen, 2):
        if one[0] != other[0]:
            assert (not found[one][other].reason) == (not found[other][one].reason), (one, other)


def test_known_fits() -> None:
    began = by_place(fits("objective:began"))
    assert not began["critic", "began-critic"].reason
    refused = began["critic", "dcgan-critic"].reason
    assert "began" in refused
    assert "dcgan-critic" in refused
    assert not began["conditioning", "vac"].reason
    assert began["conditioning", "projection"].reason


@pytest.mark.parametrize("name", ["objective:began", "generator:flow-unet", "augment:ada"])
def test_a_reason_speaks_of_the_part_it_is_told_of(name: str) -> None:
    """And not of what happened to be tried beside it."""
    refused = [f for f in fits(name) if f.reason]
    assert refused
    for fit in refused:
        assert re.search(rf"(?<![\w-]){fit.name}(?![\w-])", fit.reason), fit


def test_settings_that_a_fit_needs_are_named() -> None:
    flow = by_place(fits("objective:flow-matching"))
    needed = flow["conditioning", "concatenation"].settings["concatenation"]
    assert needed["critic"] is False
    coupled = by_place(fits("penalties:gradient-penalty"))
    assert not coupled["critic", "dcgan-critic"].reason


def test_every_part_of_the_other_places_is_told() -> None:
    told = {(f.place, f.name) for f in fits("conditioning:vac")}
    assert told == {(p, n) for p, n in NAMES if p != "conditioning"}


def test_variations_begin_with_the_default() -> None:
    forms = list(variations(PLACES["conditioning"], "concatenation"))
    assert forms[0] == {"name": "concatenation"}
    assert {"name": "concatenation", "critic": False} in forms


@pytest.mark.parametrize("name", ["no-such-part", "objective:dcgan-critic"])
def test_unknown_parts_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="part of a generator's training"):
        fits(name)


def test_a_name_in_two_places_is_asked_back() -> None:
    with pytest.raises(UsageError, match="objective:vae") as caught:
        fits("vae")
    assert "generator:vae" in str(caught.value)

"""Every setting that the page of training tricks names exists, is accepted,
and changes something."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from augmint.core.config import to_plain
from augmint.core.registry import (
    ARCHITECTURES,
    AUGMENTERS,
    CONDITIONING,
    OBJECTIVES,
    PENALTIES,
)
from augmint.studies.single import TrainOptions, resolve
from augmint.training.config import GanConfig

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "tricks.md"
HEAD = "| trick | source | setting | default | room |"
ALREADY = {"Spectral normalisation of the critic", "Augmentation of all that the critic sees"}
"""Tricks whose setting is the default."""


def rows() -> list[list[str]]:
    """Return the cells of every row of the page's tables."""
    text = PAGE.read_text(encoding="utf-8")
    assert text.count(HEAD) == 2
    lines = [line for line in text.splitlines() if line.startswith("| ") and line != HEAD]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def described(config: GanConfig) -> dict[str, Any]:
    """Return all fields, those of every part too; building them checks their values."""
    parts = {
        "generator": ARCHITECTURES.describe(config.generator),
        "critic": ARCHITECTURES.describe(config.critic or "dcgan-critic"),
        "objective": OBJECTIVES.describe(config.objective),
        "conditioning": CONDITIONING.describe(config.conditioning),
        "augment": AUGMENTERS.describe(config.augment or "none"),
        "penalties": [PENALTIES.describe(penalty) for penalty in config.penalties],
    }
    return {**to_plain(config), **parts}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0].lstrip("| "))
def test_a_setting_is_accepted_and_changes_something(row: list[str]) -> None:
    trick, source, setting, default, room = (cell.strip("| ") for cell in row)
    assert source
    assert default
    for folder in room.split(", "):
        assert (ROOT / "augmint" / folder).is_dir(), room
    settings = re.findall(r"`(generator\.[^`]+)`", setting)
    if not settings:
        assert setting == "–" or "`augmint mint" in setting
        return
    before, after = (
        described(resolve("digits", TrainOptions(settings=said)).generator)
        for said in ([], settings)
    )
    assert (before == after) == (trick in ALREADY)

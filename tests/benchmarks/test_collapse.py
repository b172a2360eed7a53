"""Runs made to collapse: the guard stops them, and keeps what is about the best they had."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest

from augmint.core.machine import single_thread
from augmint.training.config import GanConfig


@pytest.fixture(scope="module")
def collapse() -> ModuleType:
    return importlib.import_module("collapse")


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["unbounded critic", "ACGAN on BEGAN"])
def test_what_is_kept_is_within_a_twentieth_of_the_best(collapse: ModuleType, name: str) -> None:
    with single_thread():
        data = collapse.digits()
        config = GanConfig(**{**collapse.SMALL, **collapse.RECIPES[name]})
        found = collapse.watch(config, data, collapse.judge(data))
    assert found.varied
    assert found.at(found.kept) <= 1.05 * found.best


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_run_that_never_gave_two_images_is_stopped_and_keeps_none(collapse: ModuleType) -> None:
    with single_thread():
        data = collapse.digits()
        config = GanConfig(**{**collapse.SMALL, **collapse.RECIPES["small batches"]})
        found = collapse.watch(config, data, collapse.judge(data))
    assert found.stopped is not None
    assert not found.varied

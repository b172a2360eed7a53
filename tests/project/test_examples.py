"""Whoever reads about a variant sees it at work: its docstring ends in an example, which runs.

`make test` runs them (`--doctest-modules`); this test says that they are there.
"""

from __future__ import annotations

import doctest
import inspect

import pytest

from augmint.core.registry import AXES

VARIANTS = [(plural, name) for plural, axis in AXES.items() for name in axis.names()]


@pytest.mark.parametrize(("plural", "name"), VARIANTS)
def test_every_variant_shows_an_example_that_runs(plural: str, name: str) -> None:
    text = inspect.getdoc(AXES[plural].get(name)) or ""
    examples = doctest.DocTestParser().get_examples(text)
    assert examples, f"{name} ({plural}) has no example in its docstring"
    skipped = [e.source for e in examples if e.options.get(doctest.SKIP)]
    assert not skipped, f"{name} ({plural}) shows {skipped[0]!r} without running it"

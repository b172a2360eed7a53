"""Every test of a network starts from the same weights and leaves torch's generator as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from augmint.core import streams


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """Seed torch's global generator for one test."""
    with streams.scope(0, "test"):
        yield

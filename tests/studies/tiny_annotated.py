"""A study of annotated images that ends in seconds."""

from __future__ import annotations

from typing import Any

import pytest

from augmint.minting.review import ByError

TINY: dict[str, Any] = {
    "task.steps": 6,
    "task.batch": 16,
    "generator.steps": 6,
    "generator.batch": 16,
    "generator.latent_dim": 8,
    "generator.generator": {"name": "dcgan-generator", "channels": 4},
    "generator.critic": {"name": "dcgan-critic", "channels": 4},
    "generator.auxiliary_augment": None,
    "policy.candidates": ["none", "affine"],
    "minted_per_class": 20,
    "curation.max_draws": 2,
    "curation.duplicate_distance": 0.0,
    "size": [24, 32],
}


def lenient(patch: pytest.MonkeyPatch) -> None:
    """Let every image pass: a generator of six steps draws nothing that would."""
    patch.setattr("augmint.studies.steps.bounded", lambda j, _, __: ByError(j, j.aspect, 1e9))

"""Top-k: the images left to the generator's loss are those that sorting by hand gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from augmint.aspects.base import Schema
from augmint.core.errors import IncompatibleError, InterruptedRunError, UsageError
from augmint.core.registry import OBJECTIVES
from augmint.core.types import CriticOutput
from augmint.training.batches import TrainingImages
from augmint.training.compatibility import check_compatible, coupled_parts
from augmint.training.config import GanConfig
from augmint.training.gan import GanTraining, train_gan
from augmint.training.selection import TopK, best

Make = Callable[..., GanConfig]
SCORES = [0.3, -2.0, 1.7, 0.9, -0.4, 5.0]


def said(kind: str, scores: list[float]) -> CriticOutput:
    value = torch.tensor(scores, requires_grad=True)
    if kind == "map":
        # cells differ, their mean is the score
        value = value[:, None, None, None] + torch.tensor([[-3.0, 3.0]])
    rows = torch.arange(float(len(scores)))[:, None]
    return CriticOutput(value, kind, rows, rows + 10.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["score", "map", "energy"])
@pytest.mark.parametrize("k", [1, 3, 6])
def test_rows_are_those_that_sorting_gives(kind: str, k: int) -> None:
    order = sorted(range(6), key=lambda i: SCORES[i], reverse=kind != "energy")
    assert best(said(kind, SCORES), k).tolist() == order[:k]


def test_the_share_falls_by_the_pass_to_its_end() -> None:
    shrinking = TopK(0.5, 0.9)
    found = [shrinking.count(64, epoch) for epoch in range(12)]
    by_hand = [64.0]
    while len(by_hand) < 12:
        by_hand.append(max(by_hand[-1] * 0.9, 32.0))
    assert all(a <= f < a + 1 + 1e-6 for a, f in zip(by_hand, found, strict=True))
    assert (found[0], found[-1]) == (64, 32)
    assert TopK(0.01, 0.5).count(8, 100) == 1, "one is always left"
    assert TopK(1.0, 0.5).count(8, 100) == TopK(0.5, 1.0).count(8, 100) == 8


@pytest.mark.parametrize(
    ("objective", "kind"),
    [
        *((o, k) for o in ("hinge", "non-saturating", "minimax") for k in ("score", "map")),
        *((o, "score") for o in ("least-squares", "wasserstein")),
        *((o, "energy") for o in ("began", {"name": "ebgan", "pulling": 0.0})),
    ],
)
def test_loss_and_gradient_are_of_the_sorted_half(objective: object, kind: str) -> None:
    rules = OBJECTIVES.create(objective)  # type: ignore[arg-type]
    output = said(kind, SCORES)
    real, taken = TopK(0.5)(None, output, epoch=500)
    assert real is None
    loss = rules.generator_loss(None, taken, rules.init_state())[0]
    order = sorted(SCORES, reverse=kind != "energy")[:3]
    expected = rules.generator_loss(None, said(kind, order), rules.init_state())[0]
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, output.value)
    moved = gradient.flatten(1).abs().sum(1) if kind == "map" else gradient.abs()
    assert [SCORES[i] for i in moved.nonzero().flatten()] == [s for s in SCORES if s in order]


def test_pairs_and_codes_of_the_same_rows_are_left() -> None:
    real = CriticOutput(torch.tensor([10.0, 20.0, 30.0, 40.0, 50.0, 60.0]))
    left, taken = TopK(0.5)(real, said("score", SCORES), epoch=500)
    assert left is not None
    assert left.value.tolist() == [60.0, 30.0, 40.0]
    assert taken.features is not None
    assert taken.features.flatten().tolist() == [5.0, 2.0, 3.0]
    assert taken.embedding is not None
    assert taken.embedding.flatten().tolist() == [15.0, 12.0, 13.0]


def test_switched_off_nothing_is_copied() -> None:
    real, output = said("score", SCORES), said("score", SCORES)
    for off in (TopK(), TopK(0.5, 1.0)):
        kept_real, kept = off(real, output, epoch=1000)
        assert kept is output
        assert kept_real is real
    assert TopK(0.5)(real, output, epoch=0)[1] is output, "the first pass takes all"


WAYS = {
    "alternating": {},
    "simultaneous": {"simultaneous": True},
    "pairs": {"objective": "relativistic"},
    "energies": {
        "critic": {"name": "began-critic", "channels": 4},
        "objective": "ebgan",
    },
}


@pytest.mark.parametrize("changes", WAYS.values(), ids=WAYS.keys())
def test_training_takes_it_up_after_the_first_pass_and_resumes(
    changes: dict[str, object], tiny: Make, schema: Schema, tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (20, 1, 16, 16), dtype=np.uint8)
    data = TrainingImages(images, {"label": np.arange(20) % 3}, np.arange(20))

    def digest(**more: object) -> str:
        config = tiny(**{**changes, "top_k_decay": 0.6, **more})
        return train_gan(config, data, schema, 2, progress=False).generator_digest

    # 20 images, batches of 6: the second pass begins within step 3
    assert digest(steps=3) == digest(steps=3, top_k=0.5)
    straight = digest(steps=9, top_k=0.5)
    assert straight != digest(steps=9)
    config = tiny(**{**changes, "top_k_decay": 0.6, "top_k": 0.5, "steps": 9})
    asked = iter([False] * 4 + [True])
    with pytest.raises(InterruptedRunError):
        GanTraining(config, data, schema, 2, tmp_path).run(progress=False, stop=lambda: next(asked))
    resumed = GanTraining(config, data, schema, 2, tmp_path)
    assert resumed.run(progress=False).generator_digest == straight
    assert "top_k" in coupled_parts(config, resumed.game)


def test_shares_out_of_range_and_single_codes_are_refused(tiny: Make, schema: Schema) -> None:
    for changes in ({"top_k": 0.0}, {"top_k": 1.1}, {"top_k_decay": 0.0}):
        with pytest.raises(UsageError, match=r"top_k.*above 0 and at most 1"):
            tiny(**changes)
    energies = {**WAYS["energies"], "batch": 8}
    with pytest.raises(IncompatibleError, match=r"ebgan compares images.*leaves 1.*top_k"):
        check_compatible(tiny(top_k=0.1, **energies), schema, (1, 16, 16))
    check_compatible(tiny(top_k=0.25, **energies), schema, (1, 16, 16))

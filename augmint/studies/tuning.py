"""Tuning what are otherwise fixed defaults: ratio, curation threshold and checkpoint rule.

Validation images count as labelled images: they come out of the N a class of pilot draws, a
generator is trained on the rest, and every combination of candidates is trained on that rest and
scored on them. No deciding repetition takes part, and the test set stays closed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from augmint.core.errors import UsageError

CheckpointRule = Literal["last", "best-kid"]
"""Which generator mints: the last averaged weights, or of those kept along the way the ones whose
images have the smallest kernel distance to the training images, on the curating
judge's features."""

LAST: CheckpointRule = "last"
"""The rule that compares nothing, and so needs no weights kept along the way."""


@dataclass(frozen=True)
class Combination:
    """One value of each of the three.

    Example:
        >>> Combination(ratio=0.25, threshold=0.5, checkpoint="last").label
        '0.25-0.5-last'
    """

    ratio: float
    threshold: float
    checkpoint: CheckpointRule

    @property
    def label(self) -> str:
        """As stages are named."""
        return f"{self.ratio:g}-{self.threshold:g}-{self.checkpoint}"


@dataclass(frozen=True)
class TuningConfig:
    """What is tried; an axis without candidates keeps its fixed default.

    Args:
        ratios: minted shares of each batch.
        thresholds: least probabilities of the claimed class.
        checkpoints: rules that choose the generator's weights.
        validation: share of the labelled images that scores.
        pilot_seeds: independent draws of the labelled images.

    Example:
        >>> tuning = TuningConfig(ratios=(0.1, 0.25))
        >>> tuning.active, [c.label for c in tuning.combinations(ratio=0.5, threshold=0.8)]
        (True, ['0.1-0.8-last', '0.25-0.8-last'])
    """

    ratios: tuple[float, ...] = ()
    thresholds: tuple[float, ...] = ()
    checkpoints: tuple[CheckpointRule, ...] = ()
    validation: float = 0.25
    pilot_seeds: int = 1

    def __post_init__(self) -> None:
        inside = all(0.0 < r < 1.0 for r in (*self.ratios, self.validation))
        if not inside or not all(0.0 <= t <= 1.0 for t in self.thresholds):
            raise UsageError(
                "ratios and the validation share lie between 0 and 1, thresholds from 0 to 1",
                [*self.ratios, self.validation, *self.thresholds],
                "--set tuning.ratios=[0.25,0.5]",
            )
        if self.pilot_seeds < 1:
            raise UsageError(
                "tuning has at least 1 pilot seed", self.pilot_seeds, "--set tuning.pilot_seeds=1"
            )

    @property
    def active(self) -> bool:
        """Whether there is anything to choose from."""
        return max(len(self.ratios), len(self.thresholds), len(self.checkpoints)) > 1

    def combinations(self, ratio: float, threshold: float) -> Iterator[Combination]:
        """Return every combination; the arguments stand in for axes without candidates."""
        axes = (
            self.ratios or (ratio,),
            self.thresholds or (threshold,),
            self.checkpoints or (LAST,),
        )
        for r, t, c in itertools.product(*axes):
            yield Combination(r, t, c)

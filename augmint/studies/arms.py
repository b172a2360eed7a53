"""The arms of a study: what each one trains on, and what it answers.

An arm is one row of `ARMS`. It names where its images come from and in which shares of each
batch; everything else (network, optimiser, schedule, batch size, number of steps, test set) is
the same for all. Adding an arm is adding a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Material = Literal["none", "curated", "raw", "shuffled", "copies", "held-back"]
"""What is added to the real images: minted (curated or not), minted with shuffled labels,
near-copies of the real ones, or real images that the study held back."""

ScoredOn = Literal["test", "held-back"]
"""What arms are scored on: the test set, or training images held back while it stays closed."""

Role = Literal["arm", "negative control", "positive control"]

Need = Literal["pool", "translator", "learned", "imbalance", "every-class", "unmoved"]


@dataclass(frozen=True)
class Arm:
    """One way of training the user's network.

    Args:
        name: as in the report.
        answers: the question it answers.
        material: what is added to the real images.
        real: whether the real images are trained on.
        classic: whether the classic policy is applied.
        stream: suffix of its random streams; arms that share it share their random numbers.
        role: what it is for in the decision.
        needs: what must exist for it.
        pooled: the added images join the real ones, one share each by number, in place of the
            fixed share of each batch.
        balanced: every class comes equally often, its images too. In a long-tailed study this
            holds for every arm that adds images.

    Example:
        >>> [name for name, arm in ARMS.items() if arm.role == "negative control"]
        ['shuffled', 'copies']
    """

    name: str
    answers: str
    material: Material = "none"
    real: bool = True
    classic: bool = True
    stream: str = ""
    role: Role = "arm"
    needs: Need | None = None
    pooled: bool = False
    balanced: bool = False


_ROWS = (
    Arm("real", "the floor", classic=False),
    Arm("classic", "the baseline of every claim"),
    Arm(
        "balanced",
        "is it the classes or the images: classic with every class equally often",
        needs="imbalance",
        balanced=True,
    ),
    Arm("repeat", "the null: classic with other random numbers", stream="repeat"),
    Arm("minted", "the treatment", "curated"),
    Arm("minted-raw", "does curation matter", "raw"),
    Arm(
        "minted-only",
        "coverage: classification accuracy score",
        "curated",
        real=False,
        needs="every-class",
    ),
    Arm("shuffled", "negative control: must not help", "shuffled", role="negative control"),
    Arm(
        "copies",
        "about zero, and must trip the copying alarm",
        "copies",
        role="negative control",
        needs="unmoved",
    ),
    Arm(
        "more-real",
        "positive control: must help",
        "held-back",
        role="positive control",
        needs="pool",
        pooled=True,
    ),
    Arm("smart", "Smart Augmentation", needs="learned"),
    Arm("translated", "translated images", needs="translator"),
)

ARMS: dict[str, Arm] = {arm.name: arm for arm in _ROWS}

REASONS: dict[str, str] = {
    "pool": "no real images are held back (name a number with --per-class)",
    "imbalance": "every class has as many images (a long tail, or all images, may differ)",
    "every-class": "minted images only fill up the rare classes of a long tail",
    "unmoved": "planted copies move pixels, and points and masks do not move with them",
    "learned": "Smart Augmentation is not part of this version",
    "translator": "no translator is part of this version",
}

BASELINE = ARMS["classic"]
TREATMENT = ARMS["minted"]
NULL = ARMS["repeat"]
BALANCED = ARMS["balanced"]
POSITIVE_CONTROL = ARMS["more-real"]

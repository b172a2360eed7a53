"""Are minted images near copies of training images, and would this detector have seen it?

The score of an image says how near its nearest training image is, over crops, mirroring, contrast
and small shifts (`registration`). Its threshold comes from held-out real images, which went
through the very same procedure: an image as independent of the training images as they are scores
below the k-th smallest of H of them with probability at most k / (H + 1). Known copies of training
images are planted on every run: a detector that misses them has assessed nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from augmint.core.config import to_plain
from augmint.core.errors import UsageError
from augmint.core.registry import METRICS
from augmint.core.streams import permutation
from augmint.metrics.base import Inputs, Metric, Values, extract
from augmint.metrics.features import PixelFeatures
from augmint.metrics.memorisation import authenticity, copying_statistic, dcr_share
from augmint.metrics.planted import planted_copies

if TYPE_CHECKING:
    from augmint.core.types import ByteArray, FloatArray, IntArray
    from augmint.metrics.base import FeatureMap
    from augmint.metrics.registration import CopySearch, Matches

__all__ = ["CopyingReport", "assess", "false_flag_rule", "nearest", "planted_copies"]

SMALLEST_ALPHA = 0.001
NEEDED_RECALL = 0.95
SIGNIFICANCE = 0.01


@dataclass(frozen=True)
class CopyingReport:
    """What the copy check found, and what it can find.

    Args:
        counts: images: train, held_out (used for calibration), held_out_duplicates (left out of
            it: the same pixels are in the training images), minted, planted.
        held_out_source: where the held-out images come from, in words.
        alpha: the expected share of false flags is at most this.
        threshold: images with scores below it are flagged.
        flagged: rows of the minted images that are flagged, by score.
        expected_flags: how many an honest generator would have at most, on average.
        excess_p: probability that an honest generator has as many flags or more.
        recall: share of planted copies found, by transform.
        overall_recall: the same over all transforms.
        dcr_share, authenticity, copying_statistic: see `memorisation`; on `features`.
        features, digest: the feature map of these three.
        rows, distances, scores: nearest training row, 1 - correlation and score of each minted
            image, `(M,)`.
        closest_held_out: the (held-out row, training row, distance) that bound the threshold; where
            nothing could be assessed, look here for duplicates first.
        seed: chose the planted images, halves and cells.
    """

    counts: Mapping[str, int]
    held_out_source: str
    alpha: float
    threshold: float
    flagged: tuple[int, ...]
    expected_flags: float
    excess_p: float
    recall: Mapping[str, float]
    overall_recall: float
    dcr_share: float
    authenticity: float
    copying_statistic: float | None
    features: str
    digest: str
    rows: IntArray
    distances: FloatArray
    scores: FloatArray
    closest_held_out: tuple[tuple[int, int, float], ...]
    seed: int

    @property
    def assessed(self) -> bool:
        """Whether at least 95 % of the planted copies were found."""
        return self.overall_recall >= NEEDED_RECALL

    @property
    def excess(self) -> bool:
        """Whether more images are flagged than chance explains (p < 0.01)."""
        return self.excess_p < SIGNIFICANCE

    @property
    def outcome(self) -> str:
        """ "near copies found", "no excess of near copies" or "not assessed"."""
        if self.excess:
            return "near copies found"
        return "no excess of near copies" if self.assessed else "not assessed"

    def text(self) -> str:
        """Return the outcome and the numbers behind it in one sentence."""
        return (
            f"{self.outcome}: {len(self.flagged)} of {self.counts['minted']} flagged, at most "
            f"{self.expected_flags:.1f} expected by chance (p = {self.excess_p:.2g}); the detector "
            f"found {100 * self.overall_recall:.0f} % of planted copies, calibrated on "
            f"{self.counts['held_out']} images ({self.held_out_source})"
        )

    def pairs(self, count: int) -> list[tuple[int, int, float]]:
        """Return the `count` most suspicious (minted row, training row, distance)."""
        every = np.arange(len(self.scores))
        return _closest(every, self.rows, self.distances, self.scores, count)

    def to_plain(self, pairs: int = 24) -> dict[str, Any]:
        """Return JSON values: all but the arrays, with the outcome and the nearest pairs."""
        arrays = ("rows", "distances", "scores")
        plain = {k: to_plain(v) for k, v in vars(self).items() if k not in arrays}
        return {
            **plain,
            "assessed": self.assessed,
            "outcome": self.outcome,
            "text": self.text(),
            "pairs": [list(p) for p in self.pairs(pairs)],
        }


def assess(
    train: ByteArray,
    held_out: ByteArray,
    minted: ByteArray,
    *,
    seed: int,
    features: FeatureMap | None = None,
    alpha: float | None = None,
    planted: int = 100,
    held_out_source: str = "held-out real images",
) -> CopyingReport:
    """Look for near copies of training images among minted ones.

    Args:
        train: uint8 `(n, C, H, W)`, what the generator was trained on, n >= 2.
        held_out: uint8, real images that it was not trained on; they calibrate the threshold.
        minted: uint8, the images in question.
        seed: of the planted copies, of halves and of cells.
        features: for DCR share, authenticity and C_T; None takes pixels.
        alpha: bound on the false flags; None takes max(0.001, 1 / (H + 1)).
        planted: training images that are copied in each of the five ways (fewer if there are).
        held_out_source: printed in the report.

    Raises:
        UsageError: if a set is empty, shapes differ, or alpha needs more held-out images.

    Source: threshold after Carlini et al. 2023 (arXiv 2301.13188) and the conformal rank rule
    (Vovk et al. 2005); planted copies are ours.

    Example:
        >>> noise = np.random.default_rng(0).integers(0, 256, (24, 1, 8, 8), dtype=np.uint8)
        >>> train, held_out = noise[:12], noise[12:]
        >>> report = assess(train, held_out, train[:3, ..., ::-1], seed=0, planted=1)
        >>> report.outcome, sorted(report.flagged)
        ('near copies found', [0, 1, 2])
    """
    from augmint.metrics.registration import CopySearch

    search = CopySearch(train)
    for what, images in (("held-out", held_out), ("minted", minted)):
        search.check(images, f"{what} images")
        if not len(images):
            raise UsageError(f"the copy check needs {what} images", 0, f"give {what} images")
    if planted < 1:
        raise UsageError("the copy check plants at least 1 image", planted, "set planted=100")
    known = {image.tobytes() for image in train}
    fresh = np.array([image.tobytes() not in known for image in held_out])
    used = held_out[fresh]
    if not len(used):
        raise UsageError(
            "held-out images must differ from training images",
            f"{len(held_out)} exact duplicates",
            "split the data again with drop_duplicates=True (--drop-duplicates)",
        )
    alpha, rank = false_flag_rule(len(used), alpha)
    chosen = permutation(seed, "metrics.planted-rows", len(train))[:planted]
    copies = planted_copies(train[chosen], seed)
    # one search: each goes through the variants of every training image, which cost the most
    real, found, *answers = _searched(search, [used, minted, *copies.values()])
    threshold = float(np.sort(real.scores)[rank - 1])
    closest = _closest(np.flatnonzero(fresh), real.rows, real.distances, real.scores, rank + 4)
    flagged = np.flatnonzero(found.scores < threshold)
    recall = {
        name: float(np.mean(of.scores < threshold))
        for name, of in zip(copies, answers, strict=True)
    }
    net: FeatureMap = PixelFeatures() if features is None else features
    t, h, g = (extract(net, images) for images in (train, used, minted))
    return CopyingReport(
        counts={
            "train": len(train),
            "held_out": len(used),
            "held_out_duplicates": int((~fresh).sum()),
            "minted": len(minted),
            "planted": len(chosen) * len(copies),
        },
        held_out_source=held_out_source,
        alpha=alpha,
        threshold=threshold,
        flagged=tuple(int(i) for i in flagged[np.argsort(found.scores[flagged], kind="stable")]),
        expected_flags=len(minted) * rank / (len(used) + 1),
        excess_p=excess_probability(len(flagged), len(minted), rank, len(used)),
        recall=recall,
        overall_recall=float(np.mean(list(recall.values()))),
        dcr_share=dcr_share(t, h, g, seed),
        authenticity=authenticity(t, g),
        copying_statistic=copying_statistic(t, h, g, seed),
        features=net.name,
        digest=net.digest,
        rows=found.rows,
        distances=found.distances,
        scores=found.scores,
        closest_held_out=tuple(closest),
        seed=seed,
    )


def false_flag_rule(held_out: int, alpha: float | None = None) -> tuple[float, int]:
    """Return alpha and the rank k = floor(alpha (H + 1)) of the held-out score used as threshold.

    Raises:
        UsageError: if alpha is not in (0, 1), or below 1 / (H + 1): then k would be 0.

    Example:
        >>> false_flag_rule(99)
        (0.01, 1)
        >>> false_flag_rule(4999)
        (0.001, 5)
    """
    if alpha is None:
        alpha = max(SMALLEST_ALPHA, 1.0 / (held_out + 1))
    if not 0.0 < alpha < 1.0:
        raise UsageError("alpha must be between 0 and 1", alpha, "give for example alpha=0.01")
    # 1e-9: 0.01 * 100 must not fall to 0
    rank = math.floor(alpha * (held_out + 1) + 1e-9)
    if rank < 1:
        raise UsageError(
            f"alpha needs at least {math.ceil(1 / alpha) - 1} held-out images",
            f"alpha {alpha} with {held_out}",
            f"give alpha >= {1 / (held_out + 1):.4g} or more held-out images",
        )
    return alpha, rank


def excess_probability(flagged: int, minted: int, rank: int, held_out: int) -> float:
    """Return P(at least `flagged` of `minted` lie below the k-th of H), all exchangeable.

    The threshold is itself random, so the count is beta-binomial(minted, k, H + 1 - k); a binomial
    test at the rate k / (H + 1) would call chance an excess far too often.

    Example:
        >>> excess_probability(0, 100, 1, 99)
        1.0
    """
    from scipy.stats import betabinom

    if flagged == 0:
        return 1.0
    return float(betabinom.sf(flagged - 1, minted, rank, held_out + 1 - rank))


def nearest(images: ByteArray, train: ByteArray) -> tuple[IntArray, FloatArray]:
    """Return the nearest training row of each image and its distance, as the copy check sees it.

    Args:
        images, train: uint8 `(N, C, H, W)` and `(n, C, H, W)`.

    Returns:
        rows int64 `(N,)`, and `1 - correlation` after registration `(N,)`: 0 for a copy.

    Example:
        >>> train = np.random.default_rng(0).integers(0, 256, (5, 1, 8, 8), dtype=np.uint8)
        >>> rows, distances = nearest(train[[3, 1]] // 2, train)
        >>> rows.tolist(), distances.round(2).tolist()
        ([3, 1], [0.0, 0.0])
    """
    from augmint.metrics.registration import CopySearch

    found = CopySearch(train)(images)
    return found.rows, found.distances


def _closest(
    own: IntArray, rows: IntArray, distances: FloatArray, scores: FloatArray, count: int
) -> list[tuple[int, int, float]]:
    order = np.argsort(scores, kind="stable")[:count]
    return [(int(own[i]), int(rows[i]), float(distances[i])) for i in order]


def _searched(search: CopySearch, sets: Sequence[ByteArray]) -> list[Matches]:
    """Return the matches of each set of images."""
    from augmint.metrics.registration import Matches

    every = search(np.concatenate(sets))
    ends = np.cumsum([len(images) for images in sets])[:-1]
    arrays = (np.split(a, ends) for a in (every.rows, every.distances, every.scores))
    return [Matches(*of) for of in zip(*arrays, strict=True)]


@METRICS.register("copying")
@dataclass(frozen=True)
class Copying(Metric):
    """Near copies of training images among minted ones, with the detector's measured recall.

    Args:
        alpha: bound on the share of false flags; None: max(0.001, 1 / (H + 1)) with H images held
            out.
        planted: copies of each kind that are planted to measure recall.

    Example:
        >>> noise = np.random.default_rng(0).integers(0, 256, (13, 1, 8, 8), dtype=np.uint8)
        >>> found = Copying(planted=1)(noise[:4], noise[4:], noise[:2])
        >>> found["flagged_share"], found["expected_share"]
        (1.0, 0.1)
    """

    alpha: float | None = None
    planted: int = 100
    inputs: ClassVar[Inputs] = "copies"
    title: ClassVar[str] = "copying"

    def __call__(
        self, train: ByteArray, held_out: ByteArray, minted: ByteArray, seed: int = 0
    ) -> Values:
        """Return flagged and expected shares, p of the excess, and recall; see `assess`."""
        report = assess(train, held_out, minted, seed=seed, alpha=self.alpha, planted=self.planted)
        return {
            "flagged_share": len(report.flagged) / len(minted),
            "expected_share": report.expected_flags / len(minted),
            "excess_p": report.excess_p,
            "recall": report.overall_recall,
            "dcr_share": report.dcr_share,
            "authenticity": report.authenticity,
        }

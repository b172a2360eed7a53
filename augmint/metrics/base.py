"""What a metric promises: a value, the floor beside it,
and the protocol that both were taken under.

**The one rule of sizes.** A distance between samples is biased by their size, so the value and its
floor are taken at the same n:

    n = min(len(real) // 2, len(fake));   value = m(A, F),   floor = m(A, B)

where A and B are disjoint random halves of the real rows (n each) and F is a random n of the fake
rows. The floor is what a perfect generator would score.
"""

from __future__ import annotations

import typing
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from augmint.core.config import to_plain
from augmint.core.errors import UsageError
from augmint.core.streams import permutation

if TYPE_CHECKING:
    from augmint.core.types import ByteArray, FloatArray, IntArray

Inputs = Literal["features", "images", "probabilities", "copies"]
Values = Mapping[str, float]
"""Named numbers; a metric with one number names it after itself."""


class FeatureMap(typing.Protocol):
    """A `core.types.FeatureNet` whose name and digest may be read-only."""

    @property
    def name(self) -> str:
        """What the features are called."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of what defines them."""
        ...

    def __call__(self, images: ByteArray) -> FloatArray:
        """Return features `(N, D)` of uint8 images `(N, C, H, W)`."""
        ...


@dataclass(frozen=True)
class Protocol:
    """How a number was taken; printed beside it, and equal for numbers that may be compared.

    Args:
        metric: the metric's registered name.
        n: images on each side of the comparison.
        split: where the real images come from ("test", "validation", "train, cross-fitted").
        features: name of the feature map; "-" where none is used.
        digest: the feature map's digest; "-" where none is used.
        resize: the rule by which images were brought to the feature map's size.
        dtype: the precision of the arithmetic.
        seed: chooses halves, subsets and pairs.
        settings: the metric's own constants.
    """

    metric: str
    n: int
    split: str = "unstated"
    features: str = "-"
    digest: str = "-"
    resize: str = "none"
    dtype: str = "float64"
    seed: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """Return the protocol on one line, for tables and captions.

        Example:
            >>> Protocol("kid", n=100, split="test", features="pixels-16", seed=1).text()
            'kid, n = 100 a side, split test, features pixels-16 (-), resize none, float64, seed 1'
        """
        constants = "".join(f", {k} {v}" for k, v in self.settings.items())
        return (
            f"{self.metric}, n = {self.n} a side, split {self.split}, features {self.features} "
            f"({self.digest[:12]}), resize {self.resize}, {self.dtype}, seed {self.seed}{constants}"
        )


@dataclass(frozen=True)
class Measurement:
    """A metric's named values, the floor (or real counterpart) beside them, and their protocol.

    Args:
        value: the numbers; None where the metric was refused.
        floor: the same numbers for real against real, or of real images alone; None if unknown.
        protocol: how both were taken.
        refused: why there is no value; None where there is one.
    """

    value: Values | None
    floor: Values | None
    protocol: Protocol
    refused: str | None = None

    def to_plain(self) -> dict[str, Any]:
        """Return the measurement as JSON values."""
        plain: dict[str, Any] = to_plain(self)
        return plain


@dataclass(frozen=True)
class Metric(ABC):
    """A registered metric; its fields are its constants, its call returns named numbers.

    `inputs` says what the call takes: "features" (reference, sample, seed), "images" (images,
    labels, seed), "probabilities" (probabilities, labels), "copies" (train, held out, minted,
    seed).
    """

    inputs: ClassVar[Inputs]
    title: ClassVar[str]
    """The registered name, repeated in protocols."""

    def settings(self) -> dict[str, Any]:
        """Return the constants as a plain mapping."""
        plain: dict[str, Any] = to_plain(self)
        return plain


@dataclass(frozen=True)
class FeatureMetric(Metric):
    """A metric of two sets of feature vectors."""

    inputs: ClassVar[Inputs] = "features"

    def refusal(self, n: int, width: int) -> str | None:
        """Return why n samples of `width` features are not enough, or None if they are."""
        return None if n >= 2 else f"needs at least 2 images a side, has {n}"

    @abstractmethod
    def __call__(self, reference: FloatArray, sample: FloatArray, seed: int = 0) -> Values:
        """Return the numbers of `sample` `(m, D)` against `reference` `(n, D)`."""


def measure(
    metric: FeatureMetric,
    real: ByteArray,
    fake: ByteArray,
    features: FeatureMap,
    *,
    split: str,
    seed: int,
) -> Measurement:
    """Return value and floor of a feature metric at the same n (rule above).

    Args:
        real: uint8 images `(N, C, H, W)` that the generator never saw, or as `split` says.
        fake: uint8 images `(M, C, H, W)`.
        features: the feature map; its name and digest go into the protocol.
        split: where the real images come from, in words.
        seed: chooses halves and subsets.

    Raises:
        UsageError: if the feature map does not give one finite row for each image.

    Example:
        >>> from augmint.core.registry import METRICS
        >>> from augmint.metrics.features import PixelFeatures
        >>> images = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), dtype=np.uint8)
        >>> kid = METRICS.create("kid")
        >>> found = measure(kid, images, images // 4, PixelFeatures(4), split="test", seed=0)
        >>> found.protocol.n, found.value["kid"] > found.floor["kid"]
        (10, True)
    """
    return measure_features(
        metric,
        extract(features, real),
        extract(features, fake),
        features=features,
        split=split,
        seed=seed,
    )


def measure_features(
    metric: FeatureMetric,
    real: FloatArray,
    fake: FloatArray,
    *,
    features: FeatureMap,
    split: str,
    seed: int,
) -> Measurement:
    """Return `measure` for features that are already computed, `(N, D)` and `(M, D)`.

    Example:
        >>> from augmint.core.registry import METRICS
        >>> from augmint.metrics.features import PixelFeatures
        >>> x, how = np.eye(16), {"features": PixelFeatures(4), "split": "test", "seed": 0}
        >>> measure_features(METRICS.create("frechet"), x, x, **how).refused
        'n = 8 images a side do not determine a 16 x 16 covariance; needs more than 16, see kid'
    """
    n = min(len(real) // 2, len(fake))
    protocol = Protocol(
        metric=metric.title,
        n=n,
        split=split,
        features=features.name,
        digest=features.digest,
        resize=str(getattr(features, "resize", "by the feature map")),
        seed=seed,
        settings=metric.settings(),
    )
    refused = metric.refusal(n, real.shape[1])
    if refused is not None:
        return Measurement(None, None, protocol, refused)
    halves = permutation(seed, "metrics.real-halves", len(real))
    rows = permutation(seed, "metrics.fake-rows", len(fake))[:n]
    first, second = real[halves[:n]], real[halves[n : 2 * n]]
    value = metric(first, fake[rows], seed)
    return Measurement(value, metric(first, second, seed), protocol)


def extract(features: FeatureMap, images: ByteArray) -> FloatArray:
    """Return features as finite numbers `(N, D)`, in the precision that the map gives.

    Metrics compute in float64: they convert the rows they take, not all that there are.

    Raises:
        UsageError: if rows are missing, not vectors, or not finite.

    Example:
        >>> from augmint.metrics.features import named
        >>> brightness = named(lambda x: x.mean((1, 2, 3))[:, None], "brightness", (1, 2, 2))
        >>> extract(brightness, np.full((2, 1, 2, 2), 7, np.uint8)).tolist()
        [[7.0], [7.0]]
    """
    rows = np.asarray(features(images))
    if not np.issubdtype(rows.dtype, np.floating):
        rows = rows.astype(np.float64)
    if rows.ndim != 2 or len(rows) != len(images):
        raise UsageError(
            f"the feature map {features.name} must give one vector for each image",
            f"shape {rows.shape} for {len(images)} images",
            "return an array (N, D)",
        )
    if not np.isfinite(rows).all():
        row = int((~np.isfinite(rows)).any(1).argmax())
        raise UsageError(
            f"the feature map {features.name} must give finite numbers",
            f"row {row}",
            "mend the feature map or drop the image",
        )
    return rows


def check_images(images: ByteArray, what: str) -> None:
    """Raise `UsageError` unless `images` is uint8 `(N, C, H, W)`."""
    if images.ndim != 4 or images.dtype != np.uint8:
        raise UsageError(
            f"{what} must be uint8 images (N, C, H, W)",
            f"{images.dtype} {images.shape}",
            "convert with augmint.core.types.to_uint8",
        )


def check_labels(labels: IntArray, n: int) -> None:
    """Raise `UsageError` unless `labels` is one integer for each of n rows."""
    if labels.shape != (n,) or not np.issubdtype(labels.dtype, np.integer):
        raise UsageError(
            "labels must be one integer for each row",
            f"{labels.dtype} {labels.shape} for {n} rows",
            "pass int64 (N,)",
        )


def check_pair(first: FloatArray, second: FloatArray) -> None:
    """Raise `UsageError` unless both are `(n, D)` with the same D."""
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise UsageError(
            "both sets must be (n, D) with the same D",
            f"{first.shape} and {second.shape}",
            "use one feature map for both",
        )

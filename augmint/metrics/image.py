"""Image similarity over many pairs at once, and the diversity within and between classes.

For images f and g of grey levels in [0, 1], over windows w with means m, variances v, covariance c:

    MSE = mean (f - g)^2      RMSE = sqrt(MSE)      MAE = mean |f - g|
    UQI  = mean_w 4 c m_f m_g / ((v_f + v_g) (m_f^2 + m_g^2))                  windows 8 x 8
    SSIM = mean_w (2 m_f m_g + C1)(2 c + C2) / ((m_f^2 + m_g^2 + C1)(v_f + v_g + C2))

with C1 = 0.01^2, C2 = 0.03^2; windows lie wholly inside; channels are averaged. UQI is Wang and
Bovik 2002 (equal blank windows: 1; v_f + v_g = 0 otherwise: 2 m_f m_g / (m_f^2 + m_g^2)); SSIM is
Wang et al. 2004 (uniform 7 x 7 windows with sample covariances, or Gaussian with sd 1.5, 11 x 11,
population covariances). The VAC+GAN paper (eq. 16) prints "MSE" as the mean of ||f - g||, norm not
squared, which is the MAE; here MSE has the square.

Moments are computed once for each image; only the products f g are computed for each pair.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from torch.nn import functional as F

from augmint.core.errors import UsageError
from augmint.core.registry import METRICS
from augmint.core.streams import stream
from augmint.metrics.base import Inputs, Metric, Values, check_images, check_labels

if TYPE_CHECKING:
    from torch import Tensor

    from augmint.core.types import ByteArray, FloatArray, IntArray

MEASURES = ("mse", "rmse", "mae", "uqi", "ssim")
Window = Literal["uniform", "gaussian"]
C1, C2 = 0.01**2, 0.03**2
UQI_SIDE, UNIFORM_SIDE, GAUSSIAN_SIDE, GAUSSIAN_SD = 8, 7, 11, 1.5
ELEMENTS = 1 << 22
"""Values of one intermediate array: bounds memory at some hundred MB."""


@dataclass(frozen=True)
class _Moments:
    """Window means and variances `(N, C, h, w)` of images, and how windows are weighed."""

    taps: Tensor
    sample: bool
    mean: Tensor
    variance: Tensor

    @property
    def correction(self) -> float:
        count = len(self.taps) ** 2
        return count / (count - 1.0) if self.sample else 1.0


def all_pairs(
    first: ByteArray, second: ByteArray, window: Window = "uniform"
) -> Mapping[str, FloatArray]:
    """Return every measure for every pair, `(N, M)` each.

    Args:
        first, second: uint8 `(N, C, H, W)` and `(M, C, H, W)`, sides at least 8
            (11 for the Gaussian window).
        window: SSIM's window.

    Raises:
        UsageError: for smaller images or other shapes.
    """
    _check(first, window)
    _check(second, window)
    if first.shape[1:] != second.shape[1:]:
        raise UsageError(
            "both sets must hold images of one shape",
            f"{first.shape[1:]} and {second.shape[1:]}",
            "resize one of them",
        )
    n, m = len(first), len(second)
    index = np.arange(n * m, dtype=np.int64)
    found = _compare(first, second, index // max(m, 1), index % max(m, 1), window)
    return {name: values.reshape(n, m) for name, values in found.items()}


def compare_pairs(
    images: ByteArray, pairs: IntArray, window: Window = "uniform"
) -> Mapping[str, FloatArray]:
    """Return every measure for the pairs of rows `(P, 2)`, `(P,)` each.

    Raises:
        UsageError: for images that are too small, or rows out of range.

    Example:
        >>> x = np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8)
        >>> {k: float(v[0]) for k, v in compare_pairs(x, np.array([[0, 0]])).items()}
        {'mse': 0.0, 'rmse': 0.0, 'mae': 0.0, 'uqi': 1.0, 'ssim': 1.0}
    """
    _check(images, window)
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise UsageError("pairs must be rows (P, 2)", str(pairs.shape), "pass two columns")
    if len(pairs) and (pairs.min() < 0 or pairs.max() >= len(images)):
        raise UsageError(
            f"pairs must name rows 0 to {len(images) - 1}",
            f"{pairs.min()} to {pairs.max()}",
            "pass rows of these images",
        )
    return _compare(images, images, pairs[:, 0], pairs[:, 1], window)


def sample_pairs(labels: IntArray, pairs: int, seed: int) -> tuple[IntArray, IntArray]:
    """Return random pairs of different rows within and between classes, `(pairs, 2)` each.

    The first of a pair is uniform over rows that have a partner, the second over its partners.
    Either is empty where no row has a partner. Row order matters, so shuffling changes the draw.
    """
    check_labels(labels, len(labels))
    draws = stream(seed, "metrics.diversity-pairs", ids=pairs).uniform(4).double().numpy()
    order = np.argsort(labels, kind="stable")
    classes, start, size = np.unique(labels[order], return_index=True, return_counts=True)
    code = np.searchsorted(classes, labels)
    position = np.empty(len(labels), dtype=np.int64)
    position[order] = np.arange(len(labels))
    empty = np.zeros((0, 2), dtype=np.int64)
    with_partner = np.flatnonzero(size[code] > 1)
    within = between = empty
    if len(with_partner):
        a = with_partner[(draws[:, 0] * len(with_partner)).astype(np.int64)]
        low, count = start[code[a]], size[code[a]]
        # skip over the row itself: a uniform step of 1 to count - 1 around the class
        step = 1 + (draws[:, 1] * (count - 1)).astype(np.int64)
        within = np.stack([a, order[low + (position[a] - low + step) % count]], 1)
    if len(classes) > 1:
        a = (draws[:, 2] * len(labels)).astype(np.int64)
        low, count = start[code[a]], size[code[a]]
        place = (draws[:, 3] * (len(labels) - count)).astype(np.int64)
        between = np.stack([a, order[np.where(place < low, place, place + count)]], 1)
    return within, between


def pairwise_diversity(
    images: ByteArray,
    labels: IntArray,
    pairs: int = 1000,
    seed: int = 0,
    window: Window = "uniform",
) -> Mapping[str, Mapping[str, float]]:
    """Return the mean of each measure over sampled pairs, within and between classes.

    Higher MSE, RMSE and MAE and lower UQI and SSIM mean more diversity; noise is diverse too, so
    read them beside the same numbers of real images and beside label truth.

    Args:
        images: uint8 `(N, C, H, W)`.
        labels: int `(N,)`.
        pairs: pairs of each kind.
        seed: chooses the pairs.
        window: SSIM's window.

    Returns:
        {"within": {measure: mean}, "between": {...}}; a kind that has no pairs is absent.

    Raises:
        UsageError: for images that are too small, or pairs below 1.
    """
    check_labels(labels, len(images))
    if pairs < 1:
        raise UsageError("diversity needs at least one pair", pairs, "set pairs >= 1")
    kinds = zip(("within", "between"), sample_pairs(labels, pairs, seed), strict=True)
    return {
        kind: {k: float(v.mean()) for k, v in compare_pairs(images, rows, window).items()}
        for kind, rows in kinds
        if len(rows)
    }


def _compare(
    first: ByteArray, second: ByteArray, left: IntArray, right: IntArray, window: Window
) -> dict[str, FloatArray]:
    # grey levels stay integers: window sums are exact, so blank windows are recognised exactly
    a = torch.from_numpy(np.array(first)).double()
    b = a if second is first else torch.from_numpy(np.array(second)).double()
    taps, sample = _window(window)
    box = torch.ones(UQI_SIDE, dtype=torch.float64)
    moments = [(_moments(x, box, False), _moments(x, taps, sample)) for x in (a, b)]
    found: dict[str, list[Tensor]] = {name: [] for name in MEASURES}
    for part in _chunks(len(left), a[0].numel() if len(a) else 1):
        i, j = torch.from_numpy(left[part].copy()), torch.from_numpy(right[part].copy())
        f, g = a[i], b[j]
        difference = (f - g) / 255.0
        mse = difference.square().flatten(1).mean(1)
        found["mse"].append(mse)
        found["rmse"].append(mse.sqrt())
        found["mae"].append(difference.abs().flatten(1).mean(1))
        product = f * g
        found["uqi"].append(_uqi(product, moments[0][0], moments[1][0], i, j))
        found["ssim"].append(_ssim(product, moments[0][1], moments[1][1], i, j))
    return {
        name: torch.cat(parts).numpy() if parts else np.zeros(0) for name, parts in found.items()
    }


def _uqi(product: Tensor, of_f: _Moments, of_g: _Moments, i: Tensor, j: Tensor) -> Tensor:
    mean_f, mean_g = of_f.mean[i], of_g.mean[j]
    means = mean_f * mean_g
    covariance = _filter(product, of_f.taps) - means
    variances = of_f.variance[i] + of_g.variance[j]
    squares = mean_f.square() + mean_g.square()
    one = torch.ones_like(means)
    light = torch.where(squares > 0, 2.0 * means / squares.where(squares > 0, one), one)
    shape = torch.where(variances > 0, 2.0 * covariance / variances.where(variances > 0, one), one)
    return (light * shape).flatten(1).mean(1)


def _ssim(product: Tensor, of_f: _Moments, of_g: _Moments, i: Tensor, j: Tensor) -> Tensor:
    mean_f, mean_g = of_f.mean[i], of_g.mean[j]
    means = mean_f * mean_g
    covariance = (_filter(product, of_f.taps) - means) * of_f.correction
    c1, c2 = C1 * 255.0**2, C2 * 255.0**2
    above = (2.0 * means + c1) * (2.0 * covariance + c2)
    squares = mean_f.square() + mean_g.square()
    below = (squares + c1) * (of_f.variance[i] + of_g.variance[j] + c2)
    return (above / below).flatten(1).mean(1)


def _window(window: Window) -> tuple[Tensor, bool]:
    if window == "uniform":
        return torch.ones(UNIFORM_SIDE, dtype=torch.float64), True
    reach = GAUSSIAN_SIDE // 2
    steps = torch.arange(-reach, reach + 1, dtype=torch.float64)
    return torch.exp(-steps.square() / (2.0 * GAUSSIAN_SD**2)), False


def _moments(images: Tensor, taps: Tensor, sample: bool) -> _Moments:
    means, variances = [], []
    for part in _chunks(len(images), images[0].numel() if len(images) else 1):
        mean = _filter(images[part], taps)
        means.append(mean)
        variances.append((_filter(images[part].square(), taps) - mean.square()).clamp_min(0.0))
    plain = _Moments(taps, sample, torch.cat(means), torch.cat(variances))
    return _Moments(taps, sample, plain.mean, plain.variance * plain.correction)


def _filter(images: Tensor, taps: Tensor) -> Tensor:
    """Return the weighted window means, windows wholly inside, `(N, C, H - s + 1, W - s + 1)`."""
    channels = images.shape[1]
    summed = images
    for shape in ((1, 1, -1, 1), (1, 1, 1, -1)):
        kernel = taps.view(shape).repeat(channels, 1, 1, 1)
        summed = F.conv2d(summed, kernel, groups=channels)
    return summed / float(taps.sum()) ** 2


def _chunks(count: int, size: int) -> Iterator[slice]:
    step = max(1, math.ceil(ELEMENTS / size) // 8)
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def _check(images: ByteArray, window: Window) -> None:
    check_images(images, "images")
    least = max(UQI_SIDE, GAUSSIAN_SIDE if window == "gaussian" else UNIFORM_SIDE)
    if min(images.shape[2:]) < least:
        raise UsageError(
            f"image sides must be at least {least} px for UQI and {window} SSIM windows",
            f"{images.shape[2]} x {images.shape[3]}",
            "enlarge the images",
        )
    if not len(images):
        raise UsageError("image measures need at least one image", 0, "give images")


@METRICS.register("pairwise-diversity")
@dataclass(frozen=True)
class PairwiseDiversity(Metric):
    """MSE, RMSE, MAE, UQI and SSIM averaged over pairs within and between classes."""

    pairs: int = 1000
    window: Window = "uniform"
    inputs: ClassVar[Inputs] = "images"
    title: ClassVar[str] = "pairwise-diversity"

    def __call__(self, images: ByteArray, labels: IntArray, seed: int = 0) -> Values:
        """Return the means by name ("within/mse")."""
        found = pairwise_diversity(images, labels, self.pairs, seed, self.window)
        return {f"{kind}/{k}": v for kind, values in found.items() for k, v in values.items()}

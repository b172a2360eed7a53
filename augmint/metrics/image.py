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

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch

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
ELEMENTS = 1 << 17
"""Values of one intermediate array: bounds memory, and keeps it in the processor's cache."""


@dataclass(frozen=True)
class _Taps:
    """A separable window: its weights along one axis, whether all are 1, which covariance."""

    line: Tensor
    box: bool
    sample: bool

    @property
    def correction(self) -> float:
        count = len(self.line) ** 2
        return count / (count - 1.0) if self.sample else 1.0


Measure = Callable[["Tensor", "Tensor", "Tensor", "Tensor"], "Tensor"]
"""Means of f and of g, sum of variances, covariance; window by window."""


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
    return _compare(images, pairs, window)


def sample_pairs(labels: IntArray, pairs: int, seed: int) -> tuple[IntArray, IntArray]:
    """Return random pairs of different rows within and between classes, `(pairs, 2)` each.

    The first of a pair is uniform over rows that have a partner, the second over its partners.
    Either is empty where no row has a partner. Row order matters, so shuffling changes the draw.

    Example:
        >>> labels = np.array([0, 0, 1, 1])
        >>> within, between = sample_pairs(labels, pairs=5, seed=0)
        >>> bool((labels[within[:, 0]] == labels[within[:, 1]]).all())
        True
        >>> bool((labels[between[:, 0]] == labels[between[:, 1]]).any())
        False
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

    Example:
        >>> images = np.zeros((4, 1, 8, 8), np.uint8)
        >>> images[2:] = 255
        >>> found = pairwise_diversity(images, np.array([0, 0, 1, 1]), pairs=10)
        >>> found["within"]["mse"], found["between"]["mse"]
        (0.0, 1.0)
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


def _compare(images: ByteArray, pairs: IntArray, window: Window) -> dict[str, FloatArray]:
    used, where = np.unique(pairs, return_inverse=True)
    # grey levels stay integers: box sums are exact, so blank windows are recognised exactly
    grey = torch.from_numpy(np.array(images[used])).double()
    index = torch.from_numpy(where.reshape(pairs.shape))
    kinds = ((_box(), _uqi), (_window(window), _ssim))
    moments = [_moments(grey, taps) for taps, _ in kinds]
    found: dict[str, list[Tensor]] = {name: [] for name in MEASURES}
    for part in _chunks(len(pairs), grey[0].numel() if len(grey) else 1):
        i, j = index[part, 0], index[part, 1]
        f, g = grey[i], grey[j]
        difference = (f - g) / 255.0
        mse = difference.square().flatten(1).mean(1)
        found["mse"].append(mse)
        found["rmse"].append(mse.sqrt())
        found["mae"].append(difference.abs().flatten(1).mean(1))
        product = f * g
        for name, (taps, measure), (mean, variance) in zip(
            ("uqi", "ssim"), kinds, moments, strict=True
        ):
            covariance = (_filter(product, taps.line) - mean[i] * mean[j]) * taps.correction
            value = measure(mean[i], mean[j], variance[i] + variance[j], covariance)
            found[name].append(value.flatten(1).mean(1))
    return {
        name: torch.cat(parts).numpy() if parts else np.zeros(0) for name, parts in found.items()
    }


def _uqi(mean_f: Tensor, mean_g: Tensor, variances: Tensor, covariance: Tensor) -> Tensor:
    squares = mean_f.square() + mean_g.square()
    light = (2.0 * mean_f * mean_g).div_(squares.where(squares > 0, 1.0)).where(squares > 0, 1.0)
    spread = variances > 0
    shape = (2.0 * covariance).div_(variances.where(spread, 1.0)).where(spread, 1.0)
    return light.mul_(shape)


def _ssim(mean_f: Tensor, mean_g: Tensor, variances: Tensor, covariance: Tensor) -> Tensor:
    c1, c2 = C1 * 255.0**2, C2 * 255.0**2
    above = (2.0 * mean_f * mean_g).add_(c1).mul_((2.0 * covariance).add_(c2))
    below = (mean_f.square() + mean_g.square()).add_(c1).mul_(variances + c2)
    return above.div_(below)


def _box() -> _Taps:
    return _Taps(torch.ones(UQI_SIDE, dtype=torch.float64), box=True, sample=False)


def _window(window: Window) -> _Taps:
    if window == "uniform":
        return _Taps(torch.ones(UNIFORM_SIDE, dtype=torch.float64), box=True, sample=True)
    reach = GAUSSIAN_SIDE // 2
    steps = torch.arange(-reach, reach + 1, dtype=torch.float64)
    line = torch.exp(-steps.square() / (2.0 * GAUSSIAN_SD**2))
    return _Taps(line, box=False, sample=False)


def _moments(images: Tensor, taps: _Taps) -> tuple[Tensor, Tensor]:
    """Return window means and variances `(N, C, h, w)`."""
    means, variances = [], []
    for part in _chunks(len(images), images[0].numel()):
        mean = _filter(images[part], taps.line)
        means.append(mean)
        variances.append((_filter(images[part].square(), taps.line) - mean.square()).clamp_min(0))
    return torch.cat(means), torch.cat(variances) * taps.correction


def _filter(images: Tensor, line: Tensor) -> Tensor:
    """Return the weighted window means, windows wholly inside, `(N, C, H - s + 1, W - s + 1)`."""
    # shifted sums: convolution in float64 has no fast kernel on a CPU
    for dim in (2, 3):
        length = images.shape[dim] - len(line) + 1
        summed = images.narrow(dim, 0, length) * line[0]
        for k in range(1, len(line)):
            summed.add_(images.narrow(dim, k, length), alpha=float(line[k]))
        images = summed
    return images / float(line.sum()) ** 2


def _chunks(count: int, size: int) -> Iterator[slice]:
    step = max(1, ELEMENTS // size)
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
    """MSE, RMSE, MAE, UQI and SSIM averaged over pairs within and between classes.

    Args:
        pairs: drawn within and between classes each.
        window: of SSIM.

    Example:
        >>> images = np.zeros((2, 1, 8, 8), np.uint8)
        >>> images[1] = 255
        >>> found = PairwiseDiversity(pairs=10)(images, labels=np.array([0, 0]))
        >>> found["within/rmse"], "between/rmse" in found
        (1.0, False)
    """

    pairs: int = 1000
    window: Window = "uniform"
    inputs: ClassVar[Inputs] = "images"
    title: ClassVar[str] = "pairwise-diversity"

    def __call__(self, images: ByteArray, labels: IntArray, seed: int = 0) -> Values:
        """Return the means by name ("within/mse")."""
        found = pairwise_diversity(images, labels, self.pairs, seed, self.window)
        return {f"{kind}/{k}": v for kind, values in found.items() for k, v in values.items()}

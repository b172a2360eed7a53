"""Near duplicates across parts: flagged by a robust fence, confirmed by pixel correlation.

Every image becomes a descriptor: grey, averaged to at most 16 x 16, mean removed, unit length; the
distance of two is `sqrt(2 - 2 a.b)`. A pair across parts is *flagged* where it is closer than

    fence = max(alpha quantile of d, exp(median(log d) - 3 * 1.4826 MAD(log d)), 0.045)

of nearest-neighbour distances d *within* training, alpha = max(0.001, 1 / (H + 1)) for H of them.
The median and MAD keep the fence up where training itself is full of copies (there the quantile
is zero); the constant is a correlation of 0.999, for sets that hold every image several times. A
flagged pair is *confirmed* where the correlation of all pixels is at least 0.99: what
is alike by nature (the ones of MNIST) is flagged often and confirmed hardly ever.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from augmint.core.progress import Progress
from augmint.core.streams import permutation

if TYPE_CHECKING:
    from augmint.core.types import ByteArray, IntArray

Float32 = npt.NDArray[np.float32]

SIDE = 16
CORRELATION = 0.99
LIMIT_PRODUCTS = 1_200_000_000
"""Distances computed at most; more rows are sampled, and the report says so."""

SLOW_PRODUCTS = 100_000_000
"""From so many distances on, the search shows its progress."""

REFERENCES = 1_000_000
WITHIN = 3000
_FEWEST = 20
_ALWAYS = 0.045
_CHUNK = 256


@dataclass(frozen=True)
class NearReport:
    """What the search found.

    Args:
        pairs: (row, row of an earlier part, distance, correlation), confirmed, closest first.
        flagged: pairs below the fence, confirmed or not.
        fence: distance below which pairs are flagged; None where nothing was assessed.
        protocol: sentences about sampling and sizes.
    """

    pairs: list[tuple[int, int, float, float]] = field(default_factory=list)
    flagged: int = 0
    fence: float | None = None
    protocol: list[str] = field(default_factory=list)


def find_near(
    images: ByteArray, parts: dict[str, IntArray], codes: npt.NDArray[Any], seed: int = 0
) -> NearReport:
    """Return near duplicates of validation and test images in the parts before them.

    Args:
        images: uint8 `(N, C, H, W)`.
        parts: part name to rows.
        codes: `(N,)`, equal for identical images; those are left to the exact check.
        seed: of the samples drawn where there are too many rows.

    Example:
        >>> images = np.random.default_rng(0).integers(0, 256, (41, 1, 8, 8), dtype=np.uint8)
        >>> images[40] = images[7]
        >>> images[40, 0, 0, 0] ^= 1
        >>> parts = {"train": np.arange(40), "test": np.array([40])}
        >>> [pair[:2] for pair in find_near(images, parts, codes=np.arange(41)).pairs]
        [(40, 7)]
    """
    train = parts.get("train", np.empty(0, np.int64))
    queries = [p for p in ("validation", "test") if len(parts.get(p, ()))]
    if len(train) < _FEWEST or not queries:
        return NearReport(protocol=["near duplicates not assessed: no training part beside others"])
    protocol = []
    train, said = _sample(train, REFERENCES, seed, "training images")
    protocol += said
    reference = describe(images, train)
    fence, count = _fence(reference, codes[train], seed)
    protocol.append(f"fence {fence:.3f} from {count} nearest distances within training")
    flagged: list[tuple[int, int, float]] = []
    earlier_rows, earlier = train, reference
    for part in queries:
        rows, said = _sample(
            parts[part], max(1, LIMIT_PRODUCTS // len(earlier)), seed, f"{part} images"
        )
        protocol += said
        described = describe(images, rows)
        with _shown(len(described), len(earlier)) as progress:
            distance, where = _nearest(
                described, earlier, codes[rows], codes[earlier_rows], progress
            )
        close = np.flatnonzero(distance < fence)
        flagged += [(int(rows[i]), int(earlier_rows[where[i]]), float(distance[i])) for i in close]
        if part != queries[-1]:
            earlier_rows = np.concatenate((earlier_rows, rows))
            earlier = np.concatenate((earlier, described))
    confirmed = []
    for row, other, distance_ in flagged:
        r = correlation(images[row], images[other])
        if r >= CORRELATION:
            confirmed.append((row, other, distance_, r))
    confirmed.sort(key=lambda pair: (pair[2], pair[0]))
    return NearReport(confirmed, len(flagged), fence, protocol)


def describe(images: ByteArray, rows: IntArray) -> Float32:
    """Return descriptors `(rows, side^2)`, float32, unit length (zero for constant images).

    Example:
        >>> images = np.array([[[[5, 5]]], [[[0, 200]]]], np.uint8)
        >>> np.linalg.norm(describe(images, np.arange(2)), axis=1).round(4).tolist()
        [0.0, 1.0]
    """
    height, width = images.shape[2:]
    down, across = _averaging(height), _averaging(width)
    out = np.empty((len(rows), len(down) * len(across)), np.float32)
    for start in range(0, len(rows), 1024):
        chosen = rows[start : start + 1024]
        grey = np.asarray(images[chosen]).mean(axis=1, dtype=np.float32)
        small = (down @ grey @ across.T).reshape(len(chosen), -1)
        small -= small.mean(axis=1, keepdims=True)
        length = np.linalg.norm(small, axis=1, keepdims=True)
        out[start : start + 1024] = np.where(length > 1e-2, small / np.maximum(length, 1e-2), 0)
    return out


def correlation(a: ByteArray, b: ByteArray) -> float:
    """Return Pearson's correlation of all pixels of two images; 0 if one is constant.

    Example:
        >>> ramp = np.arange(4, dtype=np.uint8)
        >>> round(correlation(ramp, 2 * ramp), 6), round(correlation(ramp, 255 - ramp), 6)
        (1.0, -1.0)
    """
    x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale > 0 else 0.0


def _averaging(n: int) -> Float32:
    """The matrix `(min(n, 16), n)` of area means."""
    side = min(n, SIDE)
    edges = np.arange(side + 1) * (n / side)
    low = np.maximum(edges[:-1, None], np.arange(n)[None])
    high = np.minimum(edges[1:, None], np.arange(n)[None] + 1)
    return (np.maximum(0, high - low) * (side / n)).astype(np.float32)


def _sample(rows: IntArray, limit: int, seed: int, what: str) -> tuple[IntArray, list[str]]:
    if len(rows) <= limit:
        return rows, []
    chosen = np.sort(rows[permutation(seed, f"near/{what}", len(rows))[:limit]])
    return chosen, [f"{limit} of {len(rows)} {what} sampled"]


def _fence(reference: Float32, codes: npt.NDArray[Any], seed: int) -> tuple[float, int]:
    limit = max(_FEWEST, min(WITHIN, LIMIT_PRODUCTS // len(reference)))
    chosen = permutation(seed, "near/within", len(reference))[:limit]
    distance, _ = _nearest(reference[chosen], reference, codes[chosen], codes)
    distance = np.maximum(distance[np.isfinite(distance)], 1e-6).astype(np.float64)
    if not len(distance):
        return _ALWAYS, 0
    alpha = max(0.001, 1 / (len(distance) + 1))
    logs = np.log(distance)
    middle = np.median(logs)
    spread = 1.4826 * np.median(np.abs(logs - middle))
    fence = max(np.quantile(distance, alpha), np.exp(middle - 3 * spread), _ALWAYS)
    return float(fence), len(distance)


def _nearest(
    queries: Float32,
    references: Float32,
    codes: npt.NDArray[Any],
    others: npt.NDArray[Any],
    progress: Progress | None = None,
) -> tuple[Float32, IntArray]:
    """Distance and index of the nearest reference that is no identical image."""
    best = np.full(len(queries), -1.0, np.float32)
    where = np.zeros(len(queries), np.int64)
    by_code = np.argsort(others, kind="stable")
    low = np.searchsorted(others[by_code], codes, "left")
    high = np.searchsorted(others[by_code], codes, "right")
    scores = np.empty((_CHUNK, len(references)), np.float32)
    for start in range(0, len(queries), _CHUNK):
        block = queries[start : start + _CHUNK]
        view = np.matmul(block, references.T, out=scores[: len(block)])
        for i in range(len(block)):
            same = by_code[low[start + i] : high[start + i]]
            if len(same):
                view[i, same] = -np.inf
        where[start : start + len(block)] = view.argmax(axis=1)
        best[start : start + len(block)] = view[
            np.arange(len(block)), where[start : start + len(block)]
        ]
        if progress is not None:
            progress.advance(len(block))
    return np.sqrt(np.maximum(0, 2 - 2 * best)), where


def _shown(queries: int, references: int) -> contextlib.AbstractContextManager[Progress | None]:
    """Progress over the queries, where they take more than about a second."""
    if queries * references < SLOW_PRODUCTS:
        return contextlib.nullcontext()
    return Progress(queries, "near duplicates", unit="images")

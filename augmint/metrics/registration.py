"""Find the training image that an image may be a copy of, whatever was done to the copy.

Three steps, the same for every image that is asked about:

1. a *bank*: each training image, mirrored or not, cropped to 95 and 90 % at 25 places;
   the distance of two images is `1 - correlation` (free of brightness and contrast) of low-pass
   pixels; the best variant of each training image stands for it;
2. the nearest few training images are *registered*: scale and shift are refined by Gauss-Newton
   steps on the correlation itself (Lucas and Kanade 1981; Evangelidis and Psarakis 2008);
3. the distance is set in proportion to the mean distance of the nearest others, so that a plain
   image in a crowd of its like (every "1" is near another "1") is not taken for a copy
   (Carlini et al. 2023, arXiv 2301.13188).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from augmint.core.errors import UsageError
from augmint.metrics.base import check_images

if TYPE_CHECKING:
    from torch import Tensor

    from augmint.core.types import ByteArray, FloatArray, IntArray

SIDE, COARSE_SIDE = 48, 16
"""Images are box-averaged to these sides at most, for registration and for the bank."""
FINE_SIDE = 32
"""Smaller images are enlarged up to this side by a whole factor: linear sampling loses less."""
BLUR = 0.6
"""Standard deviation in px of the image (box-averaged): takes off what JPEG adds."""
CROPS = ((0.95, 5), (0.9, 5))
"""Side of the crop and places along each axis."""
NEIGHBOURS = 50
"""The nearest others whose mean distance sets the scale."""
FIRST, KEPT, STEPS = 8, 3, 3
"""Candidates registered with one step, candidates kept, steps for these."""
QUERY_CHUNK, TRAIN_CHUNK = 256, 128
SMALLEST_SCALE, LARGEST_SCALE, SLACK = 0.82, 1.03, 0.02


@dataclass(frozen=True)
class Matches:
    """The nearest training image of each image asked about.

    Args:
        rows: its row in the training images, int64 `(N,)`.
        distances: `1 - correlation` after registration, `(N,)`, 0 for a copy, at most 2.
        scores: distance over the mean distance of the nearest others, `(N,)`; small for a copy.
    """

    rows: IntArray
    distances: FloatArray
    scores: FloatArray


class CopySearch:
    """Answers which training image is nearest; made once for a training set.

    Args:
        train: uint8 `(n, C, H, W)`, at least 2 images.

    Raises:
        UsageError: for fewer than 2 images, or not uint8.

    Example:
        >>> train = np.random.default_rng(0).integers(0, 256, (4, 1, 8, 8), dtype=np.uint8)
        >>> found = CopySearch(train)(train[[2], ..., ::-1])
        >>> found.rows.tolist(), found.distances.round(3).tolist()
        ([2], [0.0])
    """

    def __init__(self, train: ByteArray) -> None:
        check_images(train, "training images")
        if len(train) < 2:
            raise UsageError(
                "the copy search needs at least 2 training images", len(train), "give more"
            )
        self._shape = train.shape[1:]
        self._train = train
        self._variants = _variants()

    def check(self, images: ByteArray, what: str = "images") -> None:
        """Refuse what cannot be searched for.

        Raises:
            UsageError: for another shape than the training images', or not uint8.
        """
        check_images(images, what)
        if images.shape[1:] != self._shape:
            raise UsageError(
                f"{what} must have the training images' shape {self._shape}",
                str(images.shape[1:]),
                "resize them first",
            )

    def __call__(self, images: ByteArray) -> Matches:
        """Return the matches of uint8 images `(N, C, H, W)` of the training images' shape.

        Raises:
            UsageError: for another shape or dtype.
        """
        self.check(images)
        if not len(images):
            none = np.zeros(0)
            return Matches(np.zeros(0, dtype=np.int64), none, none)
        with torch.inference_mode():
            near, rows, variants = self._coarse(images)
            found = [
                self._refine(_prepare(images[low : low + QUERY_CHUNK]), *candidates)
                for low, *candidates in zip(
                    range(0, len(images), QUERY_CHUNK),
                    rows.split(QUERY_CHUNK),
                    variants.split(QUERY_CHUNK),
                    strict=True,
                )
            ]
            distances = torch.cat([d for d, _ in found]).double()
            # the first is the candidate itself; 1e-6 is what is left of float32 at zero distance
            scale = near[:, 1:].double().mean(1).clamp_min(1e-6)
            return Matches(
                torch.cat([r for _, r in found]).numpy(),
                distances.numpy(),
                (distances / scale).numpy(),
            )

    def _coarse(self, images: ByteArray) -> tuple[Tensor, Tensor, Tensor]:
        """Return distances, rows and variants `(N, k)` of the k nearest, over the bank."""
        n, total = len(images), len(self._train)
        k = min(total, max(FIRST, min(NEIGHBOURS, total // 2) + 1))
        small = torch.cat(
            [
                _unit(_box(_prepare(images[low : low + QUERY_CHUNK]), COARSE_SIDE))
                for low in range(0, n, QUERY_CHUNK)
            ]
        )
        best = torch.full((n, k), torch.inf)
        rows = torch.zeros((n, k), dtype=torch.int64)
        variants = torch.zeros((n, k), dtype=torch.int64)
        for start in range(0, total, TRAIN_CHUNK):
            bank = self._bank(_prepare(self._train[start : start + TRAIN_CHUNK]))
            count = len(bank) // len(self._variants)
            own = torch.arange(start, start + count)
            for low in range(0, n, QUERY_CHUNK):
                part = slice(low, low + QUERY_CHUNK)
                likeness = (small[part] @ bank.T).view(-1, len(self._variants), count)
                top = likeness.amax(1)
                distances = torch.cat((best[part], 1.0 - top), 1)
                best[part], order = distances.topk(k, dim=1, largest=False)
                every = torch.cat((rows[part], own.expand(len(top), -1)), 1)
                rows[part] = every.gather(1, order)
                kept = variants[part].gather(1, order.clamp_max(k - 1))
                # which variant it was is asked of the few that are new among the nearest
                query, place = (order >= k).nonzero(as_tuple=True)
                found = likeness[query, :, order[query, place] - k].argmax(1)
                variants[part] = kept.index_put((query, place), found)
        return best.clamp_min(0.0), rows, variants

    def _bank(self, train: Tensor) -> Tensor:
        """Return unit vectors of every variant, `(variants * n, d)`, variant by variant."""
        parts = []
        for mirrored, scale, x, y in self._variants.tolist():
            source = train.flip(3) if mirrored else train
            placed = torch.tensor([[scale, x, y]]).expand(len(train), 3)
            parts.append(_unit(_box(_warp(source, placed), COARSE_SIDE)))
        return torch.cat(parts)

    def _refine(self, queries: Tensor, rows: Tensor, variants: Tensor) -> tuple[Tensor, Tensor]:
        """Return distance and row `(n,)` of the best candidate after registration."""
        rows, variants = rows[:, :FIRST], variants[:, :FIRST]
        placed = self._variants[variants]
        distances, placed = self._register(queries, rows, placed, steps=1)
        kept = distances.topk(min(KEPT, rows.shape[1]), dim=1, largest=False).indices
        rows = rows.gather(1, kept)
        placed = placed.gather(1, kept[..., None].expand(-1, -1, 4))
        distances, _ = self._register(queries, rows, placed, steps=STEPS)
        best = distances.min(1)
        return best.values, rows.gather(1, best.indices[:, None])[:, 0]

    def _register(
        self, queries: Tensor, rows: Tensor, placed: Tensor, steps: int
    ) -> tuple[Tensor, Tensor]:
        """Return the smallest distance met and where, for candidates `(n, k)`."""
        n, k = rows.shape
        source = _prepare(self._train[rows.flatten().numpy()])
        mirrored, start = placed.view(-1, 4)[:, 0], placed.view(-1, 4)[:, 1:]
        source = torch.where(mirrored[:, None, None, None] > 0, source.flip(3), source)
        target = _unit(queries).repeat_interleave(k, 0)
        distances, found = _gauss_newton(target, source, start, steps)
        return distances.view(n, k), torch.cat((mirrored[:, None], found), 1).view(n, k, 4)


def _gauss_newton(
    target: Tensor, source: Tensor, start: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """Minimise `1 - target · unit(source warped by p)` over p = (scale, shift x, shift y)."""
    height, width = source.shape[2:]
    y = (torch.arange(height) + 0.5) * (2.0 / height) - 1.0
    x = (torch.arange(width) + 0.5) * (2.0 / width) - 1.0
    here = start
    best = torch.full((len(start),), torch.inf)
    where = start
    for step in range(steps + 1):
        warped = _warp(source, here)
        unit = _unit(warped)
        distance = (1.0 - (unit * target).sum(1)).clamp_min(0.0)
        better = distance < best
        best, where = torch.where(better, distance, best), torch.where(better[:, None], here, where)
        if step == steps:
            break
        scale = here[:, 0, None, None, None]
        by_y, by_x = torch.gradient(warped, dim=(2, 3))
        by_x, by_y = by_x * (width / 2.0) / scale, by_y * (height / 2.0) / scale
        by_scale = by_x * x + by_y * y[:, None]
        jacobian = torch.stack([_centred(d) for d in (by_scale, by_x, by_y)], 2)
        # the derivative of the unit vector: across it only, over the length that was divided out
        jacobian = jacobian - unit[:, :, None] * (unit[:, None] @ jacobian)
        jacobian = jacobian / _centred(warped).norm(dim=1).clamp_min(1e-3)[:, None, None]
        normal = jacobian.transpose(1, 2) @ jacobian
        damping = normal.diagonal(dim1=1, dim2=2).mean(1) * 1e-3 + 1e-6
        normal = normal + torch.eye(3) * damping[:, None, None]
        slope = jacobian.transpose(1, 2) @ (target - unit)[:, :, None]
        move = torch.linalg.solve(normal, slope)[:, :, 0].clamp(-0.1, 0.1)
        here = _inside(here + move)
    return best, where


def _inside(placed: Tensor) -> Tensor:
    """Keep the crop within the image, give or take `SLACK`."""
    scale = placed[:, :1].clamp(SMALLEST_SCALE, LARGEST_SCALE)
    room = (1.0 - scale).clamp_min(0.0) + SLACK
    return torch.cat((scale, torch.minimum(torch.maximum(placed[:, 1:], -room), room)), 1)


def _variants() -> Tensor:
    """Return `(variants, 4)`: mirrored, scale, shift x, shift y (normalised coordinates)."""
    rows = []
    for mirrored in (0.0, 1.0):
        rows.append((mirrored, 1.0, 0.0, 0.0))
        for scale, places in CROPS:
            shifts = torch.linspace(-(1.0 - scale), 1.0 - scale, places).tolist()
            rows += [(mirrored, scale, x, y) for y in shifts for x in shifts]
    return torch.tensor(rows)


def _warp(images: Tensor, placed: Tensor) -> Tensor:
    matrix = torch.zeros(len(images), 2, 3)
    matrix[:, 0, 0] = matrix[:, 1, 1] = placed[:, 0]
    matrix[:, :, 2] = placed[:, 1:]
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _prepare(images: ByteArray) -> Tensor:
    prepared = _box(torch.from_numpy(np.array(images)).float(), SIDE)
    factor = max(1, FINE_SIDE // max(prepared.shape[2:]))
    if factor > 1:
        prepared = F.interpolate(prepared, scale_factor=factor, mode="bicubic", align_corners=False)
    return _blur(prepared, BLUR * factor)


def _box(images: Tensor, side: int) -> Tensor:
    height, width = (min(s, side) for s in images.shape[2:])
    if (height, width) == tuple(images.shape[2:]):
        return images
    return F.adaptive_avg_pool2d(images, (height, width))


def _blur(images: Tensor, sd: float) -> Tensor:
    reach = math.ceil(3.0 * sd)
    taps = torch.exp(-torch.arange(-reach, reach + 1.0).square() / (2.0 * sd**2))
    taps = taps / taps.sum()
    channels = images.shape[1]
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    for shape in ((1, 1, -1, 1), (1, 1, 1, -1)):
        padded = F.conv2d(padded, taps.view(shape).repeat(channels, 1, 1, 1), groups=channels)
    return padded


def _centred(images: Tensor) -> Tensor:
    """Return `(N, C H W)` with each channel's mean taken off."""
    return (images - images.mean((2, 3), keepdim=True)).flatten(1)


def _unit(images: Tensor) -> Tensor:
    """Return `_centred` at length 1; a blank image stays zero, at distance 1 from all."""
    flat = _centred(images)
    return flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-3)

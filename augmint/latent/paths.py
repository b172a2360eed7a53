"""Walks through the latent space: what images and aspects do between one latent and another."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from augmint.aspects.base import Aspect, CoordinateMap
from augmint.core.errors import UsageError
from augmint.core.types import to_uint8
from augmint.metrics.aspects import smoothness

if TYPE_CHECKING:
    from PIL.Image import Image

    from augmint.core.types import ByteArray
    from augmint.latent.aspect_map import AspectMap
    from augmint.latent.inversion import Inversion

MIRROR_STEPS = 14
"""Latents between an image and its mirror image in Bazrafkan, Javidnia and Corcoran 2018."""


def linear(first: Tensor, last: Tensor, inner: int = MIRROR_STEPS) -> Tensor:
    """Return `z_i = (1 - i / (n + 1)) z_0 + i / (n + 1) z_{n+1}`,
    `(…, inner + 2, d)`, ends included.

    Args:
        first, last: `(…, d)`.
        inner: n, latents between them, at least 0.

    Example:
        >>> linear(torch.tensor([0.0]), torch.tensor([4.0]), 3).flatten().tolist()
        [0.0, 1.0, 2.0, 3.0, 4.0]
    """
    share = _shares(inner)
    return (1.0 - share) * first.unsqueeze(-2) + share * last.unsqueeze(-2)


def spherical(first: Tensor, last: Tensor, inner: int = MIRROR_STEPS) -> Tensor:
    """Return the path along the great circle, `(…, inner + 2, d)`, ends included.

        z_i = r_i (sin((1 - t) a) u_0 + sin(t a) u_1) / sin(a),   t = i / (n + 1)

    with u the directions of the ends, a the angle between them and r_i their lengths, interpolated.
    For Gaussian latents, whose lengths hardly vary, every point is as likely as the ends (Shoemake
    1985; White 2016, 1609.04468). Ends of one or of opposite directions are joined in a line.

    Args:
        first, last: `(…, d)`.
        inner: n, latents between them, at least 0.

    Example:
        >>> spherical(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0]), 1)[1]
        tensor([1.4142, 1.4142])
    """
    share = _shares(inner)
    a, b = first.unsqueeze(-2), last.unsqueeze(-2)
    length_a, length_b = (v.norm(dim=-1, keepdim=True) for v in (a, b))
    u, v = a / length_a.clamp_min(1e-12), b / length_b.clamp_min(1e-12)
    angle = (u * v).sum(-1, keepdim=True).clamp(-1.0, 1.0).acos()
    sine = angle.sin()
    turned = (((1.0 - share) * angle).sin() * u + (share * angle).sin() * v) / sine
    length = (1.0 - share) * length_a + share * length_b
    return torch.where(sine.abs() > 1e-6, length * turned, linear(first, last, inner))


def arithmetic(latents: Tensor, without: Tensor, with_it: Tensor, weight: float = 1.0) -> Tensor:
    """Return `z + weight · (mean of with_it - mean of without)`: a quality added to latents.

    (Radford, Metz and Chintala 2015, 1511.06434.)

    Args:
        latents: `(N, d)`.
        without, with_it: latents `(M, d)` of images that lack the quality, and that have it.
        weight: how much of it.

    Example:
        >>> plain, smiling = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0], [4.0, 0.0]])
        >>> arithmetic(torch.tensor([[5.0, 5.0]]), plain, smiling)
        tensor([[7., 5.]])
    """
    return latents + weight * (with_it.mean(0) - without.mean(0))


def truncation(latent: Tensor, levels: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0)) -> Tensor:
    """Return `psi · z` for each level psi, `(len(levels), d)`: from the typical image outwards.

    Example:
        >>> truncation(torch.tensor([4.0, 8.0]), (0.0, 0.5, 1.0)).tolist()
        [[0.0, 0.0], [2.0, 4.0], [4.0, 8.0]]
    """
    return torch.tensor(levels, dtype=latent.dtype)[:, None] * latent


def _shares(inner: int) -> Tensor:
    if inner < 0:
        raise UsageError("a path has no fewer than 0 inner points", inner, f"inner={MIRROR_STEPS}")
    return torch.linspace(0.0, 1.0, inner + 2)[:, None]


@dataclass(frozen=True, eq=False)
class Walk:
    """What stands along a path.

    Args:
        latents: `(n, d)`.
        images: uint8 `(n, C, H, W)`.
        encoded: aspect name to what its map says, encoded, `(n, width, …)`.
        values: the same as stored values.
        aspects: by name.
    """

    latents: Tensor
    images: ByteArray
    encoded: Mapping[str, Tensor] = field(default_factory=dict)
    values: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    aspects: Mapping[str, Aspect] = field(default_factory=dict)


def walk(
    generator: nn.Module,
    latents: Tensor,
    maps: Sequence[AspectMap] = (),
    given: Sequence[Tensor] = (),
) -> Walk:
    """Return images and aspects along a path.

    Args:
        generator: G(z, *given), images in [-1, 1].
        latents: `(n, d)`.
        maps: of the aspects.
        given: further inputs of G, n rows each.

    Example:
        >>> path = linear(torch.tensor([-1.0]), torch.tensor([1.0]), 4)
        >>> walk(nn.Unflatten(1, (1, 1, 1)), path).images.flatten().tolist()
        [0, 51, 102, 153, 204, 255]
    """
    generator.eval()
    where = next((p.device for p in generator.parameters()), torch.device("cpu"))
    with torch.no_grad():
        made = generator(latents.to(where), *(g.to(where) for g in given))
    images = to_uint8(made.float()).cpu().numpy()
    encoded = {m.aspect.name: m(latents) for m in maps}
    values = {m.aspect.name: m.aspect.decode(encoded[m.aspect.name]).numpy() for m in maps}
    return Walk(latents, images, encoded, values, {m.aspect.name: m.aspect for m in maps})


def with_mirrors(images: ByteArray) -> ByteArray:
    """Return images and, behind them, their mirror images: what the mirror experiment inverts.

    Example:
        >>> with_mirrors(np.array([[[[1, 2, 3]]]], np.uint8)).tolist()
        [[[[1, 2, 3]]], [[[3, 2, 1]]]]
    """
    return np.concatenate((images, images[..., ::-1]))


def mirror_walks(
    generator: nn.Module,
    inverted: Inversion,
    maps: Sequence[AspectMap] = (),
    inner: int = MIRROR_STEPS,
    given: Sequence[Tensor] = (),
) -> tuple[list[Walk], dict[str, float]]:
    """Walk from each image's latent to that of its mirror image, in a line, and measure.

    Args:
        generator: G(z, *given), images in [-1, 1].
        inverted: of `with_mirrors(images)`.
        maps: of aspects.
        inner: latents between the ends.
        given: further inputs of G, rows beside the images.

    Returns:
        The walks, and means over them: of images and of each aspect's encoding `NAME_largest_step`,
        `NAME_bend` and `NAME_detour` (`metrics.aspects.smoothness`); `midpoint_asymmetry`, mean
        |x - x'| of the image half way and its mirror image x' (in [-1, 1]), beside `end_asymmetry`,
        that of the ends; `mirrored_frames`, the same of frame i and the mirror image of frame
        n + 1 - i; and for each aspect that a mirror image can be told of,
        `NAME_midpoint_asymmetry`, its error against its own mirror image half way.

    Raises:
        UsageError: if there is no pair, or nothing moves along any path.

    Example:
        >>> from augmint.latent.inversion import Inversion
        >>> exact = [np.zeros(2)] * 4
        >>> inverted = Inversion(torch.tensor([[-1.0, 1.0], [1.0, -1.0]]), *exact)
        >>> walks, numbers = mirror_walks(nn.Unflatten(1, (1, 1, 2)), inverted, inner=1)
        >>> walks[0].images.reshape(3, 2).tolist()
        [[0, 255], [128, 128], [255, 0]]
        >>> numbers["end_asymmetry"], numbers["midpoint_asymmetry"]
        (2.0, 0.0)
    """
    count = len(inverted) // 2
    if not count or len(inverted) % 2 or inner < 1:
        raise UsageError(
            "the mirror experiment takes images and as many mirror images, and inner points",
            f"{len(inverted)} latents, {inner} inner points",
            "invert with_mirrors(images)",
        )
    told: list[dict[str, float]] = []
    walks: list[Walk] = []
    for i in range(count):
        ends = inverted.latents[i], inverted.latents[count + i]
        path = torch.cat((linear(*ends, inner), linear(*ends, 1)[1:2]))
        held = tuple(g[i : i + 1].expand(len(path), *g.shape[1:]) for g in given)
        whole = walk(generator, path, maps, held)
        walks.append(_part(whole, slice(0, inner + 2)))
        told.append(_asymmetries(whole, inner + 2))
    numbers = {k: float(np.mean([t[k] for t in told])) for k in told[0]}
    return walks, evenness(walks) | numbers


def evenness(walks: Sequence[Walk]) -> dict[str, float]:
    """Return `metrics.aspects.smoothness` of the images and of each aspect's encoding, by name.

    Example:
        >>> images = np.array([0, 1, 2], np.uint8).reshape(3, 1, 1, 1)
        >>> evenness([Walk(torch.zeros(3, 1), images)])
        {'image_largest_step': 1.0, 'image_bend': 0.0, 'image_detour': 1.0}
    """
    paths = {"image": np.stack([w.images for w in walks]).astype(np.float64)}
    for name in walks[0].encoded:
        paths[name] = np.stack([w.encoded[name].numpy() for w in walks])
    return {
        f"{name}_{what}": value
        for name, path in paths.items()
        for what, value in dataclasses.asdict(smoothness(path)).items()
    }


def _part(whole: Walk, rows: slice) -> Walk:
    encoded = {n: v[rows] for n, v in whole.encoded.items()}
    values = {n: v[rows] for n, v in whole.values.items()}
    return Walk(whole.latents[rows], whole.images[rows], encoded, values, whole.aspects)


def _asymmetries(whole: Walk, count: int) -> dict[str, float]:
    """Numbers of a walk whose last entry, behind `count` frames, is the point half way."""
    images = whole.images.astype(np.float64) / 127.5 - 1.0
    gaps = np.abs(images - images[..., ::-1]).mean((1, 2, 3))
    frames = np.abs(images[:count] - images[:count][::-1, ..., ::-1]).mean()
    found = {
        "midpoint_asymmetry": float(gaps[-1]),
        "end_asymmetry": float(gaps[[0, count - 1]].mean()),
        "mirrored_frames": float(frames),
    }
    size = (whole.images.shape[2], whole.images.shape[3])
    flip = CoordinateMap(torch.tensor([[[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]), size)
    for name, aspect in whole.aspects.items():
        if aspect.mirrors:
            value = torch.from_numpy(np.array(whole.values[name][-1:]))
            error = aspect.error(whole.encoded[name][-1:], aspect.warp(value, flip))
            found[f"{name}_midpoint_asymmetry"] = float(error[0])
    return found


def frames(of: Walk, name: str | None = None, scale: int = 4) -> ByteArray:
    """Return the images of a walk, enlarged, uint8 `(n, 3, scale H, scale W)`.

    Args:
        of: the walk.
        name: an aspect that is drawn over them; None: none.
        scale: whole factor.

    Example:
        >>> frames(Walk(torch.zeros(3, 1), np.zeros((3, 1, 8, 6), np.uint8)), scale=2).shape
        (3, 3, 16, 12)
    """
    from augmint.core.pictures import as_rgb

    large = of.images.repeat(scale, 2).repeat(scale, 3)
    if name is None:
        return np.stack([as_rgb(image) for image in large])
    aspect, values = of.aspects[name], of.values[name]
    return np.stack([aspect.draw(i, v) for i, v in zip(large, values, strict=True)])


def strip(of: Walk, scale: int = 4, captions: Sequence[str] = ()) -> Image:
    """Return a picture of a walk: the images in a row, below them each aspect drawn over them.

    Args:
        of: the walk.
        scale: whole factor of enlargement.
        captions: one text a row; default: "images" and the aspects' names.
    """
    from augmint.core.pictures import rows

    shown = [None, *of.aspects]
    texts = list(captions) or ["images", *of.aspects]
    return rows([frames(of, name, scale) for name in shown], texts)


def gif(images: ByteArray, milliseconds: int = 120, back: bool = True) -> bytes:
    """Return an animation of uint8 RGB images `(n, 3, H, W)`, n of at least 2, that repeats.

    Args:
        images: the frames, as `frames` gives them.
        milliseconds: each is shown for, at least 20.
        back: play them backwards too.

    Raises:
        UsageError: for a single frame, or another shape.

    Example:
        >>> from PIL import Image
        >>> images = np.arange(3, dtype=np.uint8)[:, None, None, None].repeat(3, 1) * 100
        >>> Image.open(io.BytesIO(gif(images))).n_frames  # 0, 1, 2, and 1 on the way back
        4
    """
    from PIL import Image as Pillow

    if images.ndim != 4 or images.shape[1] != 3 or len(images) < 2 or milliseconds < 20:
        raise UsageError(
            "an animation has at least 2 RGB frames of at least 20 ms",
            f"{tuple(images.shape)}, {milliseconds} ms",
            "give what frames() returns",
        )
    order = [*range(len(images)), *(range(len(images) - 2, 0, -1) if back else ())]
    pictures = [
        Pillow.fromarray(np.ascontiguousarray(images[i].transpose(1, 2, 0))).quantize(
            256, dither=Pillow.Dither.NONE
        )
        for i in order
    ]
    buffer = io.BytesIO()
    pictures[0].save(
        buffer, "GIF", save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0
    )
    return buffer.getvalue()

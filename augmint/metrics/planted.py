"""Known copies of known images: they test the copy detector on every run,
and fill the arm `copies`."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from augmint.core.errors import UsageError
from augmint.core.streams import stream
from augmint.metrics.base import check_images

if TYPE_CHECKING:
    from PIL.Image import Image

    from augmint.core.types import ByteArray

JPEG_QUALITY = 50
CROP_SIDE = 0.9
JITTER = 0.2

Draws = tuple[float, ...]
"""Five numbers in [0, 1) for one image."""


def planted_copies(images: ByteArray, seed: int) -> Mapping[str, ByteArray]:
    """Return near-copies of images by transform: exact, flip, jpeg, crop, jitter.

    jpeg: quality 50 by Pillow. crop: a window of 90 % of each side at a random place, resized back
    (bicubic). jitter: brightness, contrast and (in colour) saturation, each times U(0.8, 1.2).

    Args:
        images: uint8 `(N, C, H, W)`, C in 1 to 4 (other than 1 and 3 channels: one by one).
        seed: of the places and factors; row i depends on the seed and i alone.

    Raises:
        UsageError: if the images are not uint8 `(N, C, H, W)`.

    Example:
        >>> copies = planted_copies(np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8), seed=1)
        >>> {name: c.shape for name, c in copies.items()}["crop"]
        (1, 1, 8, 8)
    """
    check_images(images, "images")
    if not len(images):
        raise UsageError("planted copies need at least one image", 0, "give training images")
    draws = stream(seed, "metrics.planted", ids=len(images)).uniform(5).double().numpy()
    return {
        "exact": images.copy(),
        "flip": np.ascontiguousarray(images[..., ::-1]),
        "jpeg": _each(images, draws, _jpeg),
        "crop": _each(images, draws, _crop),
        "jitter": _each(images, draws, _jitter),
    }


def _each(
    images: ByteArray, draws: np.ndarray, transform: Callable[[Image, Draws], Image]
) -> ByteArray:
    from PIL import Image

    def picture(planes: np.ndarray, row: Draws) -> np.ndarray:
        plain = planes[0] if len(planes) == 1 else np.ascontiguousarray(planes.transpose(1, 2, 0))
        done = np.asarray(transform(Image.fromarray(plain), row))
        return done[None] if done.ndim == 2 else done.transpose(2, 0, 1)

    result = np.empty_like(images)
    for i, image in enumerate(images):
        row = tuple(float(v) for v in draws[i])
        if len(image) in (1, 3):
            result[i] = picture(image, row)
        else:
            result[i] = np.concatenate([picture(plane[None], row) for plane in image])
    return result


def _jpeg(picture: Image, _: Draws) -> Image:
    from PIL import Image

    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return Image.open(io.BytesIO(buffer.getvalue()))


def _crop(picture: Image, draws: Draws) -> Image:
    from PIL import Image

    width, height = picture.size
    left, top = draws[0] * (1.0 - CROP_SIDE) * width, draws[1] * (1.0 - CROP_SIDE) * height
    box = (left, top, left + CROP_SIDE * width, top + CROP_SIDE * height)
    return picture.resize(picture.size, Image.Resampling.BICUBIC, box=box)


def _jitter(picture: Image, draws: Draws) -> Image:
    from PIL import ImageEnhance

    brightness, contrast, saturation = (1.0 + JITTER * (2.0 * d - 1.0) for d in draws[2:5])
    picture = ImageEnhance.Brightness(picture).enhance(brightness)
    picture = ImageEnhance.Contrast(picture).enhance(contrast)
    return ImageEnhance.Color(picture).enhance(saturation) if picture.mode == "RGB" else picture

"""Pictures of images: grids, captions and PNG bytes, drawn with Pillow alone.

How channels are shown: 1 is grey; 2 are red and cyan, so that equal channels look grey; 3 are
red, green, blue; 4 are red, green, blue and opacity, laid on white inside a grid. Images are
enlarged by whole factors, each pixel becoming a square, so nothing is smoothed over.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from augmint.core.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import ImageFont

    from augmint.core.types import ByteArray

STORED_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""Pillow's mode for each channel count, where images are kept rather than shown."""

MARKS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (120, 94, 240),
)
"""Colours that people of any colour vision tell apart (Okabe and Ito 2008, and one violet)."""

_PAPER = (255, 255, 255)
_INK = (40, 40, 40)
_LINE = 11  # height of a line of the bitmap font, pixels
_WIDEST = 16  # characters a caption may widen its column to


def to_picture(image: ByteArray) -> Image:
    """Return an image `(C, H, W)`, uint8, as a Pillow picture of mode L, RGB or RGBA.

    Raises:
        UsageError: if it is not uint8 with 1 to 4 channels.

    Example:
        >>> import numpy as np
        >>> to_picture(np.zeros((2, 4, 6), np.uint8)).mode
        'RGB'
    """
    import numpy as np
    from PIL import Image as Pillow

    channels = _channels(image, 3)
    if channels == 2:
        image = np.stack((image[0], image[1], image[1]))
    pixels = image[0] if channels == 1 else image.transpose(1, 2, 0)
    return Pillow.fromarray(np.ascontiguousarray(pixels))


def as_rgb(image: ByteArray) -> ByteArray:
    """Return an image `(C, H, W)` as a new uint8 array `(3, H, W)`, as `to_picture` shows it.

    Example:
        >>> import numpy as np
        >>> as_rgb(np.array([[[7]], [[9]]], np.uint8)).ravel().tolist()
        [7, 9, 9]
    """
    import numpy as np

    return np.asarray(to_picture(image).convert("RGB")).transpose(2, 0, 1).copy()


def stored_png(image: ByteArray, texts: Mapping[str, str] | None = None) -> bytes:
    """Return the PNG bytes of an image `(C, H, W)` that read back as the same channels.

    Unlike `to_picture`, two channels are kept as they are (mode LA).

    Args:
        image: uint8.
        texts: text chunks by keyword, written as they are (iTXt, UTF-8, not compressed).

    Raises:
        UsageError: if it is not uint8 with 1 to 4 channels.

    Example:
        >>> import numpy as np
        >>> from PIL import Image
        >>> png = stored_png(np.array([[[7]], [[9]]], np.uint8))
        >>> Image.open(io.BytesIO(png)).getpixel((0, 0))
        (7, 9)
    """
    import numpy as np
    from PIL import Image as Pillow

    channels = _channels(image, 3)
    pixels = image[0] if channels == 1 else image.transpose(1, 2, 0)
    mode, size = STORED_MODES[channels], (image.shape[2], image.shape[1])
    picture = Pillow.frombytes(mode, size, np.ascontiguousarray(pixels).tobytes())
    return png_bytes(picture, texts)


def grid(
    images: ByteArray,
    columns: int,
    scale: int = 1,
    gap: int = 2,
    captions: Sequence[str] | None = None,
) -> Image:
    """Return images `(N, C, H, W)`, uint8, row by row on white, each above its caption.

    Args:
        images: N >= 1 images of one size.
        columns: images a row.
        scale: pixels a side for each image pixel, at least 1.
        gap: white pixels between images and around them.
        captions: one text an image; longer than its column (which it may widen to 16
            characters), it ends in dots; characters outside Latin-1 are shown as "?".

    Raises:
        UsageError: for images that are not uint8, no images, or sizes below their least value.

    Example:
        >>> import numpy as np
        >>> grid(np.zeros((3, 1, 8, 8), np.uint8), columns=2, scale=2, gap=1).size
        (35, 35)
    """
    from PIL import Image as Pillow
    from PIL import ImageDraw

    _channels(images, 4)
    _at_least("columns", columns, 1)
    _at_least("scale", scale, 1)
    _at_least("gap", gap, 0)
    if captions is not None and len(captions) != len(images):
        raise UsageError("every image has one caption", len(captions), f"give {len(images)}")
    height, width = images.shape[2] * scale, images.shape[3] * scale
    texts = [_latin(c) for c in captions or ()]
    cell_width = max([width, *(_text_width(t[:_WIDEST]) for t in texts)])
    cell_height = height + (_LINE + 1 if texts else 0)
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    size = (gap + columns * (cell_width + gap), gap + rows * (cell_height + gap))
    canvas = Pillow.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(canvas)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        left, top = gap + column * (cell_width + gap), gap + row * (cell_height + gap)
        picture = to_picture(image).resize((width, height), Pillow.Resampling.NEAREST)
        mask = picture if picture.mode == "RGBA" else None
        canvas.paste(picture, (left + (cell_width - width) // 2, top), mask)
        if texts:
            text = _fitted(texts[index], cell_width)
            place = (left + (cell_width - _text_width(text)) // 2, top + height + 1)
            draw.text(place, text, fill=_INK, font=_font())
    return canvas


def rows(
    groups: Sequence[ByteArray], captions: Sequence[str], scale: int = 1, gap: int = 2
) -> Image:
    """Return groups of images, one group a row, each row's caption above it.

    Args:
        groups: at least one array `(N, C, H, W)`, uint8; groups may differ in N and in size.
        captions: one text a group.
        scale, gap: as for `grid`.

    Raises:
        UsageError: as for `grid`, or if captions and groups differ in number.

    Example:
        >>> import numpy as np
        >>> two, one = np.zeros((2, 1, 8, 8), np.uint8), np.zeros((1, 3, 4, 4), np.uint8)
        >>> rows([two, one], ["", ""], gap=2).size
        (22, 46)
    """
    from PIL import Image as Pillow
    from PIL import ImageDraw

    if not groups or len(captions) != len(groups):
        raise UsageError("every row has one caption", len(captions), f"give {len(groups)}")
    texts = [_latin(c) for c in captions]
    strips = [grid(g, columns=max(1, len(g)), scale=scale, gap=gap) for g in groups]
    width = max([*(s.width for s in strips), *(_text_width(t) + 2 * gap for t in texts)])
    canvas = Pillow.new("RGB", (width, sum(s.height + _LINE + gap for s in strips)), _PAPER)
    draw = ImageDraw.Draw(canvas)
    top = 0
    for strip, text in zip(strips, texts, strict=True):
        draw.text((gap, top + gap), text, fill=_INK, font=_font())
        canvas.paste(strip, (0, top + gap + _LINE))
        top += strip.height + _LINE + gap
    return canvas


def png_bytes(picture: Image, texts: Mapping[str, str] | None = None) -> bytes:
    """Return a picture as PNG: the same picture always gives the same bytes (one Pillow, one zlib).

    Example:
        >>> from PIL import Image
        >>> red = Image.new("RGB", (2, 2), (255, 0, 0))
        >>> png_bytes(red) == png_bytes(red.copy())
        True
        >>> Image.open(io.BytesIO(png_bytes(red, {"Title": "red"}))).text
        {'Title': 'red'}
    """
    from PIL.PngImagePlugin import PngInfo

    buffer, info = io.BytesIO(), PngInfo()
    for keyword, text in (texts or {}).items():
        info.add_itxt(keyword, text)
    plain = picture.copy()
    plain.info = {}  # no dates, comments or profiles
    plain.save(buffer, format="PNG", compress_level=6, pnginfo=info)
    return buffer.getvalue()


def scale_of(side: int) -> int:
    """Return the whole factor that shows an image of a side at about 48 px.

    Example:
        >>> scale_of(28), scale_of(16), scale_of(128)
        (2, 3, 1)
    """
    return max(1, round(48 / side))


@functools.cache
def _font() -> ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default_imagefont()


def _text_width(text: str) -> int:
    return int(_font().getbbox(text)[2]) if text else 0


def _latin(text: str) -> str:
    return " ".join(text.split()).encode("latin-1", "replace").decode("latin-1")


def _fitted(text: str, width: int) -> str:
    if _text_width(text) <= width:
        return text
    while text and _text_width(text + "..") > width:
        text = text[:-1]
    return text + ".." if text else ""


def _channels(images: ByteArray, dimensions: int) -> int:
    import numpy as np

    shape = tuple(images.shape)
    if images.dtype != np.uint8 or len(shape) != dimensions or 0 in shape:
        rule = f"pictures are drawn of uint8 images with {dimensions} axes, none of them empty"
        raise UsageError(rule, f"{images.dtype} {shape}", "convert with core.types.to_uint8")
    channels = int(shape[-3])
    if channels not in STORED_MODES:
        raise UsageError("an image has 1 to 4 channels", channels, "choose channels=3")
    return channels


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise UsageError(f"{name} is at least {least}", value, f"pass {name}={least}")

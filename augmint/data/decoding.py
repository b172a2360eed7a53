"""From encoded files to uint8 pixels, by stated rules.

| stored as | becomes |
|---|---|
| 8-bit grey | 1 channel, unchanged |
| 1-bit | 1 channel, 0 or 255 |
| 16-bit grey, 32-bit integer with values 0…65535 | 1 channel, `round(v * 255 / 65535)` |
| 16-bit RGB (PNG) | 3 channels, the high byte (what Pillow decodes) |
| palette | RGB; grey where every pixel is grey; RGBA where it has a transparent colour |
| RGB | 3 channels, unchanged |
| grey or RGB with alpha, if every image has alpha and one is not opaque | RGBA, kept |
| grey or RGB with alpha otherwise | composited on black: `round(rgb * a / 255)` |
| CMYK, YCbCr | RGB |
| floating point, Lab, HSV | refused |
| EXIF orientation | applied; where points, masks or maps go with the image, it is left out |
| animation, several pages | the first frame |

A set has as many channels as its richest image needs (grey 1, colour 3, alpha 4); grey images of a
colour set are repeated. `channels=` overrides: to grey by Rec. 601 luma
`(19595 R + 38470 G + 7471 B + 32768) >> 16`, to RGBA with opaque alpha. `size=` scales every image
to that height and width (Lanczos, antialiased, aspect ratio not kept).
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from augmint.core.errors import DataError, UsageError, single_line

if TYPE_CHECKING:
    from PIL import Image

    from augmint.core.types import ByteArray
    from augmint.data.archives import Files

FORMATS_READ = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
LIMIT_PIXELS = 1 << 26
"""Largest image that is decoded, in pixels (67 million)."""

CHUNK = 128
_ORIENTATION = 0x0112
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_TO_RGBA = ("LA", "PA", "La", "RGBa")
_TO_RGB = ("CMYK", "YCbCr", "RGBX")
ALLOWED_CHANNELS = (1, 3, 4)


class BadFilesError(DataError):
    """More than 1 % of the files, or all of them, could not be decoded."""

    exit_code = 3


@dataclass(frozen=True)
class DecodeOptions:
    """How images are decoded.

    Args:
        size: height and width to scale to, or None to keep the stored size.
        channels: 1, 3 or 4, or None for what the set needs.
        limit_pixels: largest image that is decoded.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    limit_pixels: int = LIMIT_PIXELS

    def __post_init__(self) -> None:
        if self.channels is not None and self.channels not in ALLOWED_CHANNELS:
            raise UsageError(
                "channels must be 1 (grey), 3 (RGB) or 4 (RGBA)",
                self.channels,
                "pass channels=3 (--channels 3)",
            )
        if self.size is not None and not (len(self.size) == 2 and min(self.size) >= 1):
            raise UsageError(
                "size is a height and a width of at least 1",
                self.size,
                "pass size=(32, 32) (--size 32)",
            )
        if self.limit_pixels < 1:
            raise UsageError(
                "limit_pixels must be at least 1", self.limit_pixels, "remove limit_pixels"
            )


@dataclass(frozen=True)
class Decoded:
    """One decoded image.

    Args:
        pixels: uint8 `(C, H, W)`, C in 1, 3, 4.
        mode: how it was stored, in Pillow's words ("L", "RGB", "I;16" …).
        opaque: whether its alpha, if any, is 255 everywhere.
        peak: largest 16-bit value, 0 for others.
        stored: height and width before it was scaled, upright.
        orientation: the EXIF orientation that was applied; 1: nothing was turned.
    """

    pixels: ByteArray
    mode: str
    opaque: bool = True
    peak: int = 0
    stored: tuple[int, int] = (0, 0)
    orientation: int = 1


def decode(data: bytes, options: DecodeOptions) -> Decoded:
    """Decode one image by the rules of this module.

    Raises:
        Exception: whatever Pillow raises for damaged data, ValueError for what is refused.

    Example:
        >>> decode(b"P5 2 1 255 \\x07\\xff", DecodeOptions()).pixels.tolist()
        [[[7, 255]]]
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        file = Image.open(io.BytesIO(data), formats=FORMATS_READ)
    except UnidentifiedImageError:  # its own message holds a memory address
        raise ValueError(f"no image of a known format ({', '.join(FORMATS_READ)})") from None
    with file as opened:
        if opened.width * opened.height > options.limit_pixels:
            raise ValueError(
                f"{opened.width} x {opened.height} pixels, more than {options.limit_pixels}"
            )
        # reading an absent EXIF block costs as much as decoding a small JPEG
        plainly = opened.format == "JPEG" and "exif" not in opened.info
        orientation = 1 if plainly else orientation_of(opened)
        opened.load()
        mode = opened.mode
        plain, peak = _plain(opened if plainly else ImageOps.exif_transpose(opened))
        stored = (plain.height, plain.width)
        if options.size is not None and plain.size != (options.size[1], options.size[0]):
            plain = plain.resize((options.size[1], options.size[0]), Image.Resampling.LANCZOS)
        pixels = _chw(plain)
    opaque = pixels.shape[0] != 4 or bool((pixels[3] == 255).all())
    if options.channels is not None:
        pixels = to_channels(pixels, options.channels)
    return Decoded(pixels, mode, opaque, peak, stored, orientation)


def orientation_of(opened: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8, of an image whose pixels are not loaded yet.

    A TIFF is turned, and its tag gone, once they are.

    Example:
        >>> from PIL import Image
        >>> image = Image.new("L", (2, 1))
        >>> image.getexif()[0x0112] = 6
        >>> orientation_of(image), orientation_of(Image.new("L", (2, 1)))
        (6, 1)
    """
    told = opened.getexif().get(_ORIENTATION, 1)
    return told if told in range(1, 9) else 1


def _plain(image: Image.Image) -> tuple[Image.Image, int]:
    from PIL import Image

    mode = image.mode
    if mode in ("L", "RGB", "RGBA"):
        if "transparency" in image.info and mode != "RGBA":
            return image.convert("RGBA"), 0
        return image, 0
    if mode == "1":
        return image.convert("L"), 0
    if mode == "P":
        return _expanded(image), 0
    if mode in _TO_RGBA:
        return image.convert("LA" if mode == "La" else "RGBA").convert("RGBA"), 0
    if mode in _TO_RGB:
        return image.convert("RGB"), 0
    if mode in _SIXTEEN_BIT:
        values = np.asarray(image).astype(np.int64)
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 65535:
            raise ValueError(f"integer pixels from {low} to {high}, not within 0 to 65535")
        return Image.fromarray(np.rint(values * (255 / 65535)).astype(np.uint8)), high
    raise ValueError(f"pixels of mode {mode} (floating point or another colour space) are refused")


def _expanded(image: Image.Image) -> Image.Image:
    if "transparency" in image.info:
        return image.convert("RGBA")
    colour = image.convert("RGB")
    pixels = np.asarray(colour)
    grey = bool((pixels[..., :1] == pixels[..., 1:]).all())
    return colour.getchannel(0) if grey else colour


def _chw(image: Image.Image) -> ByteArray:
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def to_channels(pixels: ByteArray, channels: int) -> ByteArray:
    """Return uint8 pixels `(..., C, H, W)` with another number of channels, by the rules above.

    Example:
        >>> to_channels(np.array([[[255]], [[0]], [[0]], [[128]]], np.uint8), 3).ravel().tolist()
        [128, 0, 0]
    """
    have = pixels.shape[-3]
    if have == channels:
        return pixels
    if have == 4:
        colour = pixels[..., :3, :, :].astype(np.uint16)
        alpha = pixels[..., 3:, :, :].astype(np.uint16)
        return to_channels(((colour * alpha + 127) // 255).astype(np.uint8), channels)
    if have == 1:
        return to_channels(np.repeat(pixels, 3, axis=-3), channels) if channels > 1 else pixels
    if channels == 4:
        return np.concatenate((pixels, np.full_like(pixels[..., :1, :, :], 255)), axis=-3)
    red, green, blue = (pixels[..., i : i + 1, :, :].astype(np.uint32) for i in range(3))
    return ((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16).astype(np.uint8)


def resize(images: ByteArray, size: tuple[int, int]) -> ByteArray:
    """Return uint8 images `(N, C, H, W)` scaled to `size` (height, width), as decoding does.

    Example:
        >>> scaled = resize(np.full((1, 3, 8, 8), 7, np.uint8), (4, 2))
        >>> scaled.shape, np.unique(scaled).tolist()
        ((1, 3, 4, 2), [7])
    """
    from PIL import Image

    if images.shape[2:] == size:
        return images
    out = np.empty((*images.shape[:2], *size), np.uint8)
    for row, image in enumerate(images):
        whole = image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
        scaled = Image.fromarray(whole).resize((size[1], size[0]), Image.Resampling.LANCZOS)
        out[row] = _chw(scaled)
    return out


def probe(data: bytes) -> tuple[int, int] | None:
    """Return height and width as stored, from the header alone; None if it cannot be read.

    Example:
        >>> probe(b"P5 2 1 255 \\x07\\xff"), probe(b"no image")
        ((1, 2), None)
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS_READ) as image:
            turned = image.getexif().get(_ORIENTATION, 1) >= 5
            return image.size if turned else (image.height, image.width)
    except Exception:  # a bad file is reported when it is decoded
        return None


@contextlib.contextmanager
def quiet_pillow() -> Iterator[None]:
    """Silence what Pillow says of damaged files while the block runs; bombs become errors."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


Outcome = Decoded | str
"""A decoded image, or the reason why there is none."""


def decode_all(
    files: Files, names: Sequence[str], options: DecodeOptions, workers: int
) -> Iterator[list[Outcome]]:
    """Yield outcomes in the order of `names`, in chunks, decoded by `workers` threads.

    Pillow releases the interpreter lock while it decodes, so threads share the work of large
    images; the results never depend on their number.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from augmint.data.archives import open_files
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.pgm").write_bytes(b"P5 1 1 255 \\x07")
        ...     _ = Path(folder, "b.pgm").write_bytes(b"P5 1 1")
        ...     files = open_files(Path(folder))
        ...     ((good, bad),) = decode_all(files, files.names, DecodeOptions(), workers=1)
        >>> good.pixels.tolist(), isinstance(bad, str)
        ([[[7]]], True)
    """
    from PIL import Image

    Image.init()
    chunks = [names[i : i + CHUNK] for i in range(0, len(names), CHUNK)]
    with quiet_pillow():
        if workers <= 1:
            for chunk in chunks:
                yield _decode_chunk(files, chunk, options)
            return
        with ThreadPoolExecutor(workers) as pool:
            pending: list[Future[list[Outcome]]] = []
            for chunk in chunks:
                pending.append(pool.submit(_decode_chunk, files, chunk, options))
                if len(pending) > 2 * workers:
                    yield pending.pop(0).result()
            for future in pending:
                yield future.result()


def _decode_chunk(files: Files, names: Sequence[str], options: DecodeOptions) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for name in names:
        try:
            outcomes.append(decode(files.read(name), options))
        except Exception as error:  # whatever a damaged file raises is its reason
            outcomes.append(single_line(f"{type(error).__name__}: {error}", 200))
    return outcomes


def common_channels(seen: Sequence[tuple[int, bool]]) -> int:
    """Return the channels of a set from the (channels, opaque) pairs of its images.

    Example:
        >>> common_channels([(1, True), (3, True)]), common_channels([(4, False), (4, True)])
        (3, 4)
    """
    channels = {c for c, _ in seen}
    if channels == {4} and not all(opaque for _, opaque in seen):
        return 4
    return 1 if channels == {1} else 3


def conversions(modes: dict[str, int], peak: int, channels: int) -> list[str]:
    """Return the rules that were applied to a set, as sentences.

    Example:
        >>> conversions({"L": 3, "1": 2}, peak=0, channels=1)
        ['3 of mode L: 8-bit grey kept', '2 of mode 1: 1-bit to 0 or 255']
    """
    kinds = {"L": "8-bit grey kept", "RGB": "RGB kept", "1": "1-bit to 0 or 255"}
    kinds |= dict.fromkeys(_SIXTEEN_BIT, f"16-bit scaled by 255/65535 (largest value {peak})")
    kinds |= dict.fromkeys((*_TO_RGB,), "converted to RGB")
    kinds |= dict.fromkeys((*_TO_RGBA, "RGBA"), "alpha read")
    kinds["P"] = "palette expanded"
    sentences = [f"{count} of mode {m}: {kinds.get(m, 'kept')}" for m, count in modes.items()]
    alpha = any(m in (*_TO_RGBA, "RGBA") for m in modes)
    if alpha and channels != 4:
        sentences.append("alpha composited on black")
    return sentences

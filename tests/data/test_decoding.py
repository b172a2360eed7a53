from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from augmint.core.errors import UsageError
from augmint.data.decoding import (
    DecodeOptions,
    common_channels,
    decode,
    decode_all,
    resize,
    to_channels,
)

PLAIN = DecodeOptions()


def stored(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


def random(*shape: int, high: int = 256, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "GIF", "PPM"])
def test_grey_is_kept_bit_for_bit(format: str) -> None:
    pixels = random(5, 7)
    found = decode(stored(Image.fromarray(pixels), format), PLAIN)
    assert np.array_equal(found.pixels, pixels[None])


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_rgb_is_kept_bit_for_bit(format: str) -> None:
    pixels = random(5, 7, 3)
    options = {"lossless": True} if format == "WEBP" else {}
    found = decode(stored(Image.fromarray(pixels), format, **options), PLAIN)
    assert np.array_equal(found.pixels, pixels.transpose(2, 0, 1))


def test_one_bit_is_0_or_255() -> None:
    bits = random(5, 9, high=2).astype(bool)
    found = decode(stored(Image.fromarray(bits)), PLAIN)
    assert np.array_equal(found.pixels, bits[None] * np.uint8(255))


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bit_is_scaled_and_rounded(format: str) -> None:
    values = np.array([[0, 128, 129, 256, 257], [385, 386, 32768, 65406, 65535]], np.uint16)
    found = decode(stored(Image.fromarray(values), format), PLAIN)
    # nearest k to v / 257 in whole numbers: (2 v + 257) // 514
    expected = [[(2 * int(v) + 257) // 514 for v in row] for row in values]
    assert found.pixels.tolist() == [expected]
    assert found.peak == 65535


def test_every_sixteen_bit_value() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    found = decode(stored(Image.fromarray(values)), PLAIN).pixels[0]
    wide = values.astype(np.int64)
    assert np.array_equal(found, (2 * wide + 257) // 514)


def test_32_bit_integers_must_fit_16_bits() -> None:
    fits = Image.fromarray(np.array([[0, 65535]], np.int32))
    assert decode(stored(fits, "TIFF"), PLAIN).pixels.tolist() == [[[0, 255]]]
    for bad in (-1, 65536):
        with pytest.raises(ValueError, match="not within 0 to 65535"):
            decode(stored(Image.fromarray(np.array([[0, bad]], np.int32)), "TIFF"), PLAIN)


def test_floating_point_is_refused() -> None:
    image = Image.fromarray(np.zeros((2, 2), np.float32))
    with pytest.raises(ValueError, match="mode F"):
        decode(stored(image, "TIFF"), PLAIN)


def test_palette_is_expanded() -> None:
    indices = random(4, 6, high=3)
    palette = [[255, 0, 0], [10, 20, 30], [0, 0, 255]]
    image = Image.new("P", (6, 4))
    image.putdata(indices.ravel().tolist())
    image.putpalette([value for colour in palette for value in colour])
    found = decode(stored(image), PLAIN)
    assert np.array_equal(found.pixels, np.array(palette, np.uint8)[indices].transpose(2, 0, 1))


def test_transparent_palette_has_alpha() -> None:
    image = Image.new("P", (2, 1))
    image.putdata([0, 1])
    image.putpalette([9, 8, 7, 1, 2, 3])
    found = decode(stored(image, transparency=1), PLAIN)
    assert found.pixels[:, 0].T.tolist() == [[9, 8, 7, 255], [1, 2, 3, 0]]
    assert not found.opaque


def test_grey_with_alpha_becomes_rgba() -> None:
    pixels = random(3, 4, 2)
    found = decode(stored(Image.fromarray(pixels, "LA")), PLAIN).pixels
    assert np.array_equal(found[:3], np.repeat(pixels[None, ..., 0], 3, 0))
    assert np.array_equal(found[3], pixels[..., 1])


def test_alpha_is_composited_on_black() -> None:
    pixels = random(8, 9, 4)
    found = decode(stored(Image.fromarray(pixels)), DecodeOptions(channels=3)).pixels
    exact = pixels[..., :3].astype(np.float64) * pixels[..., 3:] / 255
    assert np.abs(found.transpose(1, 2, 0) - exact).max() <= 0.5


def test_cmyk_becomes_rgb() -> None:
    image = Image.fromarray(np.full((2, 3, 4), [255, 0, 0, 0], np.uint8), "CMYK")
    found = decode(stored(image, "TIFF"), PLAIN).pixels
    assert found[:, 0, 0].tolist() == [0, 255, 255]


def test_grey_by_channels_is_pillows_luma() -> None:
    pixels = random(32, 32, 3)
    found = to_channels(pixels.transpose(2, 0, 1), 1)
    assert np.array_equal(found[0], np.asarray(Image.fromarray(pixels).convert("L")))


def test_channels_up() -> None:
    grey = random(1, 3, 3)
    assert np.array_equal(to_channels(grey, 3), np.repeat(grey, 3, 0))
    four = to_channels(grey, 4)
    assert np.array_equal(four[:3], np.repeat(grey, 3, 0))
    assert (four[3] == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_exif_orientation(orientation: int, format: str) -> None:
    shown = np.zeros((16, 24), np.uint8)
    shown[:8, :8] = 255  # bright at the top left once it is turned upright
    # how the sensor stored it, by the definition of each orientation: undo, by hand
    back = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: a[::-1, ::-1],
        4: np.flipud,
        5: np.transpose,
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].T,
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(back[orientation](shown)))
    decoded = decode(stored(image, format, exif=exif), PLAIN)
    assert decoded.orientation == orientation
    found = decoded.pixels[0]
    assert found.shape == shown.shape
    assert np.abs(found.astype(int) - shown).max() <= 8


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("L", (4, 4), v) for v in (10, 200)]
    data = stored(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode(data, PLAIN).pixels == 10).all()


def test_resize_is_antialiased() -> None:
    checker = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    found = decode(stored(Image.fromarray(checker)), DecodeOptions(size=(8, 16))).pixels
    assert found.shape == (1, 8, 16)
    assert np.abs(found.astype(int) - 127).max() <= 25
    assert np.array_equal(found[None], resize(checker[None, None], (8, 16)))


def test_too_many_pixels_are_refused() -> None:
    data = stored(Image.new("L", (100, 101)))
    assert decode(data, DecodeOptions(limit_pixels=10100)).pixels.shape == (1, 101, 100)
    with pytest.raises(ValueError, match="more than 10099"):
        decode(data, DecodeOptions(limit_pixels=10099))


def test_unlisted_formats_are_refused() -> None:
    with pytest.raises(ValueError, match="no image of a known format"):
        decode(stored(Image.new("L", (4, 4)), "PCX"), PLAIN)


@pytest.mark.parametrize(
    ("seen", "channels"),
    [
        ([(1, True)], 1),
        ([(1, True), (3, True)], 3),
        ([(4, False), (4, True)], 4),
        ([(4, True)], 3),
        ([(4, False), (3, True)], 3),
        ([(4, False), (1, True)], 3),
    ],
)
def test_channels_of_a_set(seen: list[tuple[int, bool]], channels: int) -> None:
    assert common_channels(seen) == channels


@pytest.mark.parametrize("options", [{"channels": 2}, {"size": (0, 4)}, {"limit_pixels": 0}])
def test_options_that_cannot_be(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        DecodeOptions(**options)  # type: ignore[arg-type]


class Memory:
    """Files in memory, some of them damaged."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def read(self, name: str) -> bytes:
        return self.files[name]


def test_threads_change_nothing_and_bad_files_have_reasons() -> None:
    good = {f"{i}": stored(Image.fromarray(random(6, 6) ^ np.uint8(i % 256))) for i in range(300)}
    files = Memory({**good, "cut": good["0"][:40], "empty": b"", "text": b"hello"})
    names = list(files.files)
    runs = []
    for workers in (1, 3):
        chunks = decode_all(files, names, PLAIN, workers)  # type: ignore[arg-type]
        runs.append([o for chunk in chunks for o in chunk])
    for one, other in zip(*runs, strict=True):
        same = one == other if isinstance(one, str) else np.array_equal(one.pixels, other.pixels)
        assert same
    assert all(isinstance(o, str) for o in runs[0][300:])
    assert not any(isinstance(o, str) for o in runs[0][:300])

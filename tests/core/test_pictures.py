"""Pictures show every pixel where the rule says, and the same bytes every time."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from augmint.core.errors import UsageError
from augmint.core.pictures import grid, png_bytes, rows, stored_png, to_picture


def images(n: int, channels: int, height: int = 5, width: int = 7) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 256, (n, channels, height, width))
    return values.astype(np.uint8)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "RGB"), (3, "RGB"), (4, "RGBA")])
def test_each_channel_count_is_shown_by_its_rule(channels: int, mode: str) -> None:
    image = images(1, channels)[0]
    picture = to_picture(image)
    assert (picture.mode, picture.size) == (mode, (7, 5))
    shown = np.asarray(picture).reshape(5, 7, -1)
    expected = image[[0, 1, 1]] if channels == 2 else image
    assert np.array_equal(shown.transpose(2, 0, 1), expected)


def test_two_equal_channels_look_grey() -> None:
    plane = images(1, 1)[0]
    shown = np.asarray(to_picture(np.concatenate((plane, plane))))
    assert np.array_equal(shown[..., 0], shown[..., 1])
    assert np.array_equal(shown[..., 1], shown[..., 2])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_stored_png_reads_back_as_the_same_channels(channels: int) -> None:
    image = images(1, channels)[0]
    with Image.open(io.BytesIO(stored_png(image))) as picture:
        back = np.asarray(picture).reshape(5, 7, -1).transpose(2, 0, 1)
    assert np.array_equal(back, image)


def test_grid_places_each_image_and_enlarges_by_repetition() -> None:
    batch = images(5, 3)
    canvas = np.asarray(grid(batch, columns=2, scale=3, gap=4))
    for index, image in enumerate(batch):
        row, column = divmod(index, 2)
        top, left = 4 + row * (15 + 4), 4 + column * (21 + 4)
        slow = np.kron(image, np.ones((1, 3, 3), np.uint8)).transpose(1, 2, 0)
        assert np.array_equal(canvas[top : top + 15, left : left + 21], slow)
    assert (canvas[:4] == 255).all()
    assert (canvas[-19:-4, -25:-4] == 255).all(), "the sixth place is empty"


def test_opacity_is_laid_on_white() -> None:
    image = np.zeros((1, 4, 5, 7), np.uint8)
    assert (np.asarray(grid(image, 1)) == 255).all()


def test_captions_are_drawn_fit_their_column_and_change_nothing_else() -> None:
    batch = images(2, 1, 8, 8)
    texts = ["cat", "an unreasonably long class name"]
    with_text = np.asarray(grid(batch, 2, scale=2, captions=texts))
    again = np.asarray(grid(batch, 2, scale=2, captions=["", ""]))
    assert with_text.shape[0] == again.shape[0]
    assert (with_text[20:] < 128).any()
    assert not (again[20:] < 128).any()
    assert (with_text[:, -2:] == 255).all(), "nothing is drawn in the margin"
    assert with_text.shape[1] <= 3 * 2 + 2 * 16 * 6, "a caption widens to 16 characters at most"


@pytest.mark.parametrize("text", ["七", "Straße", "a\nb\x00c", "é" * 50])
def test_any_caption_can_be_drawn(text: str) -> None:
    grid(images(1, 1), 1, captions=[text])
    rows([images(2, 1)], [text])


def test_rows_hold_groups_of_different_sizes() -> None:
    picture = rows([images(4, 1), images(2, 3, 9, 9)], ["real", "minted"], scale=2)
    assert picture.mode == "RGB"
    assert picture.width >= 4 * 14


def test_png_is_deterministic() -> None:
    picture = grid(images(6, 3), 3, captions=list("abcdef"))
    picture.info["comment"] = "never written"
    first = png_bytes(picture)
    assert first == png_bytes(grid(images(6, 3), 3, captions=list("abcdef")))
    assert b"never written" not in first


@pytest.mark.parametrize(
    "batch",
    [np.zeros((1, 5, 4, 4), np.uint8), np.zeros((0, 1, 4, 4), np.uint8), np.zeros((1, 1, 4, 4))],
)
def test_what_cannot_be_drawn_is_refused(batch: np.ndarray) -> None:
    with pytest.raises(UsageError):
        grid(batch, 2)


@pytest.mark.parametrize(
    "option", [{"columns": 0}, {"columns": 1, "scale": 0}, {"columns": 1, "gap": -1}]
)
def test_options_out_of_range_are_refused(option: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="at least"):
        grid(images(1, 1), **option)
    with pytest.raises(UsageError, match="caption"):
        grid(images(2, 1), 2, captions=["one"])

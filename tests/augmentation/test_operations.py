"""Pixel operations against Pillow, the implementation that their papers used."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from augmint.augmentation import operations
from augmint.core.streams import stream
from augmint.core.types import to_float, to_uint8


def picture(channels: int, seed: int = 0) -> torch.Tensor:
    """A smooth picture with a narrow histogram, uint8 `(1, C, 20, 24)`."""
    coarse = stream(seed, "picture").uniform(channels * 20).view(1, channels, 4, 5)
    smooth = torch.nn.functional.interpolate(coarse, (20, 24), mode="bilinear")
    return (smooth * 150 + 40).round().to(torch.uint8)


def pillow(image: torch.Tensor) -> Image.Image:
    array = image[0].permute(1, 2, 0).numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def from_pillow(image: Image.Image) -> np.ndarray:
    array = np.asarray(image)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def ours(image: torch.Tensor) -> np.ndarray:
    return to_uint8(image.clamp(-1, 1))[0].numpy()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("factor", [0.4, 1.0, 1.7])
@pytest.mark.parametrize(
    ("function", "enhancer"),
    [
        (operations.brightness, ImageEnhance.Brightness),
        (operations.contrast, ImageEnhance.Contrast),
        (operations.saturation, ImageEnhance.Color),
        (operations.sharpness, ImageEnhance.Sharpness),
    ],
)
def test_enhancements(function: object, enhancer: type, factor: float, channels: int) -> None:
    image = picture(channels)
    expected = from_pillow(enhancer(pillow(image)).enhance(factor)).astype(int)
    got = ours(function(to_float(image), torch.tensor([factor]))).astype(int)  # type: ignore[operator]
    # Pillow rounds its grey and its mean to whole levels before it blends, and truncates
    assert np.abs(expected - got).max() <= 2


@pytest.mark.parametrize("channels", [1, 3])
def test_level_operations_are_exact(channels: int) -> None:
    image = picture(channels, seed=1)
    x = to_float(image)
    for bits in (3, 5, 8):
        got = ours(operations.posterise(x, torch.tensor([float(bits)])))
        assert np.array_equal(got, from_pillow(ImageOps.posterize(pillow(image), bits)))
    for threshold in (0, 100, 255):
        got = ours(operations.solarise(x, torch.tensor([threshold / 127.5 - 1 - 1e-4])))
        assert np.array_equal(got, from_pillow(ImageOps.solarize(pillow(image), threshold)))
    got = ours(operations.equalise(x))
    assert np.array_equal(got, from_pillow(ImageOps.equalize(pillow(image))))
    stretched = ours(operations.auto_contrast(x)).astype(int)
    expected = from_pillow(ImageOps.autocontrast(pillow(image))).astype(int)
    assert np.abs(stretched - expected).max() <= 1  # Pillow truncates


def test_gamma_is_a_power() -> None:
    unit = torch.linspace(0, 1, 16).view(1, 1, 4, 4)
    bent = operations.gamma(unit * 2 - 1, torch.tensor([2.2]))
    torch.testing.assert_close((bent + 1) / 2, unit**2.2)


def test_constant_images_stay() -> None:
    flat = torch.full((2, 3, 6, 6), 0.2)
    torch.testing.assert_close(operations.auto_contrast(flat), flat)
    torch.testing.assert_close(operations.equalise(flat), flat, atol=1 / 255, rtol=0)
    torch.testing.assert_close(operations.contrast(flat, torch.tensor([0.1, 1.9])), flat)
    torch.testing.assert_close(operations.sharpness(flat, torch.tensor([0.1, 1.9])), flat)


@pytest.mark.parametrize("name", ["auto_contrast", "equalise"])
def test_any_memory_format(name: str) -> None:
    x = to_float(picture(3))
    operation = getattr(operations, name)
    last = x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(operation(last), operation(x))

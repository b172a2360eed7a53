"""Pixel operations on float images in [-1, 1], each row with its own parameter; nothing is drawn.

Images are `(N, C, H, W)`, parameters `(N,)`. Grey means the luma of ITU-R 601,
`0.299 R + 0.587 G + 0.114 B`, for 3 channels and the mean of the channels otherwise. None clips:
the caller does, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

LUMA = (0.299, 0.587, 0.114)


def column(parameter: Tensor) -> Tensor:
    """Return `(N,)` as `(N, 1, 1, 1)`.

    Example:
        >>> column(torch.ones(2)).shape
        torch.Size([2, 1, 1, 1])
    """
    return parameter[:, None, None, None]


def grey(images: Tensor) -> Tensor:
    """Return `(N, 1, H, W)`: luma of RGB, the mean of the channels otherwise.

    Example:
        >>> red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
        >>> round(grey(red).item(), 3), round(grey(red[:, :2]).item(), 3)
        (0.299, 0.5)
    """
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    weights = images.new_tensor(LUMA)[None, :, None, None]
    return (images * weights).sum(1, keepdim=True)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Scale the light: `u' = f u` with `u = (x + 1) / 2`, so black stays black.

    Example:
        >>> brightness(torch.tensor([[[[-1.0, 0.0]]]]), torch.tensor([0.5])).flatten().tolist()
        [-1.0, -0.5]
    """
    return (images + 1.0) * column(factor) - 1.0


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Stretch about the image's mean grey: `x' = m + f (x - m)`.

    Example:
        >>> contrast(torch.tensor([[[[0.0, 0.5]]]]), torch.tensor([2.0])).flatten().tolist()
        [-0.25, 0.75]
    """
    middle = grey(images).mean((2, 3), keepdim=True)
    return middle + (images - middle) * column(factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Stretch about each pixel's grey: `x' = g + f (x - g)`; only RGB changes.

    Example:
        >>> red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
        >>> torch.allclose(saturation(red, torch.zeros(1)), grey(red))
        True
    """
    if images.shape[1] != 3:
        return images
    return torch.lerp(grey(images).expand_as(images), images, column(factor))


def gamma(images: Tensor, exponent: Tensor) -> Tensor:
    """Bend the tone curve: `u' = u^g`.

    Example:
        >>> round(gamma(torch.zeros(1, 1, 1, 1), torch.tensor([2.0])).item(), 6)
        -0.5
    """
    unit = (images + 1.0).mul(0.5).clamp(min=0.0)
    return unit.pow(column(exponent)) * 2.0 - 1.0


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with a smoothed copy, `x' = s + f (x - s)`; below 1 blurs, above 1 sharpens.

    s is the mean of 3 x 3 pixels with the centre counted five times; the outermost pixels stay.

    Example:
        >>> spot = torch.zeros(1, 1, 3, 3)
        >>> spot[..., 1, 1] = 1.0
        >>> round(13 * sharpness(spot, torch.zeros(1))[0, 0, 1, 1].item(), 4)
        5.0
    """
    channels, height, width = images.shape[1:]
    if min(height, width) < 3:
        return images
    kernel = images.new_ones(3, 3)
    kernel[1, 1] = 5.0
    kernel = (kernel / kernel.sum()).expand(channels, 1, 3, 3)
    smooth = images.clone()
    smooth[:, :, 1:-1, 1:-1] = functional.conv2d(images, kernel, groups=channels)
    return torch.lerp(smooth, images, column(factor))


def posterise(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest `bits` (1 to 8) of each 8-bit value.

    Example:
        >>> images = torch.tensor([[[[-0.5, 0.5]]]])
        >>> levels(images).flatten().tolist()
        [64.0, 191.0]
        >>> levels(posterise(images, torch.tensor([1.0]))).flatten().tolist()
        [0.0, 128.0]
    """
    step = torch.pow(2.0, 8.0 - column(bits))
    return (levels(images) / step).floor() * step / 127.5 - 1.0


def solarise(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert values at or above a threshold in [-1, 1]: `x' = -x where x >= t`.

    Example:
        >>> solarise(torch.tensor([[[[-0.5, 0.25, 0.75]]]]), torch.tensor([0.5])).flatten().tolist()
        [-0.5, 0.25, -0.75]
    """
    return torch.where(images >= column(threshold), -images, images)


def auto_contrast(images: Tensor) -> Tensor:
    """Stretch each channel to the full range; a constant channel stays.

    Example:
        >>> auto_contrast(torch.tensor([[[[0.0, 0.25, 0.5]]]])).flatten().tolist()
        [-1.0, 0.0, 1.0]
    """
    low = images.amin((2, 3), keepdim=True)
    high = images.amax((2, 3), keepdim=True)
    extent = high - low
    stretched = (images - low) / extent.clamp(min=1e-6) * 2.0 - 1.0
    return torch.where(extent > 1e-6, stretched, images)


def equalise(images: Tensor) -> Tensor:
    """Flatten each channel's histogram of 256 levels; a channel of one level stays.

    With h the histogram and n its last occupied level, levels map through
    `(step // 2 + sum_{j < i} h_j) // step`, `step = (sum h - h_n) // 255`; no change at step 0.

    Example:
        >>> dull = torch.tensor([-0.1, 0.1]).repeat(1, 1, 256, 1)
        >>> equalise(dull).unique().tolist()
        [-1.0, 1.0]
    """
    count, channels, height, width = images.shape
    level = levels(images).long().reshape(count * channels, height * width)
    histogram = torch.zeros(count * channels, 256, dtype=torch.long, device=images.device)
    histogram.scatter_add_(1, level, torch.ones_like(level))
    last = level.amax(1, keepdim=True)
    step = (height * width - histogram.gather(1, last)) // 255
    before = histogram.cumsum(1) - histogram
    table = ((before + step // 2) // step.clamp(min=1)).clamp(max=255)
    mapped = torch.where(step > 0, table.gather(1, level), level)
    return (mapped.to(images.dtype) / 127.5 - 1.0).view_as(images)


def levels(images: Tensor) -> Tensor:
    """Return the 8-bit levels 0 … 255 as floats.

    Example:
        >>> levels(torch.tensor([-1.0, 0.2, 1.0])).tolist()
        [0.0, 153.0, 255.0]
    """
    return images.add(1.0).mul(127.5).round().clamp(0, 255)

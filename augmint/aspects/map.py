"""Map: numbers for every pixel, such as a depth, a transmission or a paired image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from augmint.aspects.base import Aspect, CoordinateMap
from augmint.core.errors import DataError
from augmint.core.registry import ASPECTS

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from augmint.core.types import ByteArray, Shape


@ASPECTS.register("map")
@dataclass(frozen=True)
class Map(Aspect):
    """`channels` numbers for every pixel, stored as float32 `(channels, H, W)`, NaN where missing.

    Encoded to [-1, 1], `2 (v - low) / (high - low) - 1`, missing as 0. Loss: mean absolute
    difference of the encodings over what is not missing. Error: half of it, hence the mean absolute
    difference as a share of the range. A warp interpolates between neighbours that are there; what
    comes in from outside is missing.

    Args:
        channels: numbers a pixel.
        low: the smallest value.
        high: the largest value.
        unit: for people ("m").

    Raises:
        DataError: for fewer than one channel, or a lower bound that is not below the upper.

    Example:
        >>> import torch
        >>> Map("depth", high=10.0, unit="m").encode(torch.tensor([[[[5.0, float("nan")]]]]))
        tensor([[[[0., 0.]]]])
    """

    channels: int = 1
    low: float = 0.0
    high: float = 1.0
    unit: str = ""
    kind: ClassVar[str] = "map"
    flat: ClassVar[bool] = False
    spatial: ClassVar[bool] = True
    bounded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise DataError(f"{self.name} has at least one channel", self.channels, "channels=1")
        if not self.low < self.high:
            raise DataError(
                f"{self.name}.low is below high", f"{self.low:g} and {self.high:g}", "correct them"
            )

    @property
    def width(self) -> int:
        return self.channels

    def storage(self, shape: Shape) -> tuple[tuple[int, ...], np.dtype[Any]]:
        import numpy as np

        return (self.channels, *shape[1:]), np.dtype(np.float32)

    def check(self, values: np.ndarray[Any, Any]) -> None:
        import numpy as np

        slack = 1e-6 * (self.high - self.low)
        for start in range(0, len(values), 256):
            part = values[start : start + 256]
            bad = np.isinf(part) | (part < self.low - slack) | (part > self.high + slack)
            if bad.any():
                row = int(bad.reshape(len(bad), -1).any(1).argmax())
                raise DataError(
                    f"{self.name} must be {self.low:g} to {self.high:g}, or NaN where missing",
                    f"{part[row][bad[row]][0]:g} in row {start + row}",
                    "correct the map or its bounds",
                )

    def resized(
        self, values: np.ndarray[Any, Any], old: tuple[int, int], new: tuple[int, int]
    ) -> tuple[Map, np.ndarray[Any, Any]]:
        import numpy as np
        import torch
        from torch.nn import functional

        def scaled(part: Tensor) -> Tensor:
            return functional.interpolate(
                part, tuple(new), mode="bilinear", align_corners=False, antialias=True
            )

        out = np.empty((len(values), self.channels, *new), np.float32)
        for start in range(0, len(values), 64):
            part = torch.from_numpy(np.array(values[start : start + 64]))
            there = (~part.isnan()).float()
            out[start : start + 64] = _over(scaled(part.nan_to_num()), scaled(there)).numpy()
        return self, np.clip(out, self.low, self.high)

    def encode(self, values: Tensor) -> Tensor:
        scaled = (values.float() - self.low) * (2.0 / (self.high - self.low)) - 1.0
        return scaled.nan_to_num(0.0)

    def decode(self, encoded: Tensor) -> Tensor:
        return (encoded.float() + 1.0) * ((self.high - self.low) / 2.0) + self.low

    def told(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        import numpy as np

        # row by row: a set's maps may be as large as its images
        return np.array([bool((~np.isnan(value)).any()) for value in values], dtype=bool)

    @property
    def planes(self) -> int:
        return self.channels + 1

    def to_planes(self, values: Tensor) -> Tensor:
        """Return the channels in [0, 1], and a last plane: 1 where none of them is missing."""
        import torch

        known = ~values.isnan().any(1, keepdim=True)
        return torch.cat(((self.encode(values) + 1.0) / 2.0, known.float()), 1)

    def from_planes(self, planes: Tensor) -> Tensor:
        """Return the numbers, missing where the last plane is below one half."""
        numbers, known = self.decode(2.0 * planes[:, :-1] - 1.0), planes[:, -1:]
        return numbers.masked_fill(known < 0.5, float("nan"))

    def warp(self, values: Tensor, coordinates: CoordinateMap) -> Tensor:
        from torch.nn import functional

        grid = coordinates.at(values.shape[-2:]).grid().float()

        def sampled(part: Tensor) -> Tensor:
            return functional.grid_sample(part, grid, "bilinear", "zeros", align_corners=False)

        return _over(sampled(values.nan_to_num()), sampled((~values.isnan()).float()))

    def loss(self, prediction: Tensor, values: Tensor) -> Tensor:
        there = ~values.isnan()
        difference = (prediction - self.encode(values)).abs() * there
        return difference.flatten(1).sum(1) / there.flatten(1).sum(1).clamp_min(1)

    def error(self, prediction: Tensor, values: Tensor) -> Tensor:
        return self.loss(prediction, values) / 2.0

    def draw(self, image: ByteArray, value: Any) -> ByteArray:
        import numpy as np
        from PIL import Image

        from augmint.core.pictures import as_rgb, to_picture

        shares = (np.asarray(value, np.float32) - self.low) / (self.high - self.low)
        grey = (np.nan_to_num(shares).clip(0, 1) * 255).round().astype(np.uint8)
        picture = to_picture(grey[:3] if self.channels >= 3 else grey[:1])
        size = (image.shape[2], image.shape[1])
        shown = np.asarray(picture.resize(size, Image.Resampling.NEAREST).convert("RGB"))
        return as_rgb(np.ascontiguousarray(shown.transpose(2, 0, 1)))

    def show(self, value: Any) -> str:
        import numpy as np

        values = np.asarray(value)
        if np.isnan(values).all():
            return "missing"
        unit = f" {self.unit}" if self.unit else ""
        return f"{np.nanmin(values):.3g} to {np.nanmax(values):.3g}{unit}"


def _over(weighted: Tensor, weight: Tensor) -> Tensor:
    """Return the mean of what is there; NaN where it has less than half of the weight."""
    there = weight >= 0.5
    return (weighted / weight.clamp_min(0.5)).where(there, weighted.new_full((), float("nan")))

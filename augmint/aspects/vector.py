"""Vector: named numbers, such as a pose, an age or a set of attributes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from augmint.aspects.base import Aspect, CoordinateMap
from augmint.core.errors import LISTED, DataError
from augmint.core.registry import ASPECTS

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from augmint.core.types import Shape


@ASPECTS.register("vector")
@dataclass(frozen=True)
class Vector(Aspect):
    """K named numbers, stored as float32 `(K,)`.

    Encoded with bounds l and h to [-1, 1], `2 (v - l) / (h - l) - 1`; without, standardised by the
    mean m and deviation s of the training rows (`fitted`), `(v - m) / s`; before that, as it is.
    Loss: mean over the components of the squared difference of encodings. Error: of the absolute
    difference. A warp leaves numbers alone that are named neither in `mirrored` nor in `turned`.

    Args:
        components: their names.
        low: the smallest value of each; given together with `high`, or neither.
        high: the largest value of each.
        units: of each, for people ("degrees"); empty: none.
        mean: of the training rows; set by `fitted`.
        deviation: of the training rows; set by `fitted`, 1 where all rows are alike.
        mirrored: components whose sign a mirrored image turns round (yaw); (): none (an age);
            None: unknown, and a flip is refused.
        turned: components that are angles in the image plane, of an axis without a head, in degrees
            from the x axis towards the y axis (roll); they turn, and mirror, with the image.

    Raises:
        DataError: for fields of unequal length, or a lower bound that is not below the upper.

    Example:
        >>> import torch
        >>> age = Vector("age", ("years",), low=(0.0,), high=(100.0,))
        >>> age.encode(torch.tensor([[25.0]]))
        tensor([[-0.5000]])
    """

    components: tuple[str, ...] = ()
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    units: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = None
    deviation: tuple[float, ...] | None = None
    mirrored: tuple[str, ...] | None = None
    turned: tuple[str, ...] = ()
    kind: ClassVar[str] = "vector"
    blends: ClassVar[bool] = True
    mirror_field: ClassVar[str] = "mirrored"

    def __post_init__(self) -> None:
        if not self.components or len(set(self.components)) != len(self.components):
            raise DataError(
                "a vector has components of different names",
                ", ".join(self.components) or "none",
                "name each component",
            )
        for name in ("low", "high", "mean", "deviation"):
            given = getattr(self, name)
            if given is not None and len(given) != self.width:
                raise DataError(
                    f"{self.name}.{name} has one number a component",
                    f"{len(given)} for {self.width}",
                    "give one for each",
                )
        if (self.low is None) != (self.high is None):
            raise DataError(f"{self.name} has both bounds or none", "one", "give low and high")
        for a, b in zip(self.low or (), self.high or (), strict=True):
            if not a < b:
                raise DataError(f"{self.name}.low is below high", f"{a:g} and {b:g}", "swap them")
        if unknown := {*(self.mirrored or ()), *self.turned} - set(self.components):
            raise DataError(
                f"{self.name}.mirrored and turned name components",
                sorted(unknown)[0],
                "correct the name",
            )
        if both := set(self.mirrored or ()) & set(self.turned):
            raise DataError(
                f"a component of {self.name} is mirrored or turned, which mirrors it too",
                sorted(both)[0],
                "name it in turned alone",
            )

    @property
    def bounded(self) -> bool:  # type: ignore[override]
        return self.low is not None

    @property
    def mirrors(self) -> bool:  # type: ignore[override]
        return self.mirrored is not None

    @property
    def width(self) -> int:
        return len(self.components)

    @property
    def words(self) -> str:
        more = f" and {self.width - LISTED} more" if self.width > LISTED else ""
        return f"{self.name} ({self.kind} of {', '.join(self.components[:LISTED])}{more})"

    def storage(self, shape: Shape) -> tuple[tuple[int, ...], np.dtype[Any]]:
        import numpy as np

        return (self.width,), np.dtype(np.float32)

    def check(self, values: np.ndarray[Any, Any]) -> None:
        import numpy as np

        bad = ~np.isfinite(values)
        if self.low is not None and self.high is not None:
            # float32 values of bounds written in decimals may miss them by rounding
            low, high = np.asarray(self.low), np.asarray(self.high)
            slack = 1e-6 * (high - low)
            bad |= (values < low - slack) | (values > high + slack)
        if bad.any():
            row, k = (int(i[0]) for i in np.nonzero(bad))
            rule = "finite" if self.low is None else f"{self.low[k]:g} to {self.high[k]:g}"  # type: ignore[index]
            raise DataError(
                f"{self.name}.{self.components[k]} must be {rule}",
                f"{values[row, k]} in row {row}",
                "correct the value or the bounds",
            )

    @property
    def unfitted(self) -> bool:
        return self.low is None and self.deviation is None

    def fitted(self, values: np.ndarray[Any, Any]) -> Vector:
        if self.low is not None or not len(values):
            return self
        mean, deviation = values.mean(0, dtype="float64"), values.std(0, dtype="float64")
        deviation[deviation == 0] = 1.0
        return dataclasses.replace(
            self, mean=tuple(mean.tolist()), deviation=tuple(deviation.tolist())
        )

    def encode(self, values: Tensor) -> Tensor:
        centre, half = self._scale(values)
        return (values.float() - centre) / half

    def decode(self, encoded: Tensor) -> Tensor:
        centre, half = self._scale(encoded)
        return encoded.float() * half + centre

    def warp(self, values: Tensor, coordinates: CoordinateMap) -> Tensor:
        import torch

        if self.mirrored is None and coordinates.mirrors.any():
            raise self.refusal_to_mirror()
        out = values
        if self.mirrored:
            sign = values.new_tensor([-1.0 if c in self.mirrored else 1.0 for c in self.components])
            out = values * sign.where(coordinates.mirrors[:, None], sign.new_ones(()))
        if not self.turned:
            return out
        return torch.stack(
            [
                _turned(column, coordinates) if name in self.turned else column
                for name, column in zip(self.components, out.unbind(1), strict=True)
            ],
            1,
        )

    def between(self, first: Tensor, second: Tensor, share: Tensor) -> Tensor:
        import torch

        return torch.lerp(first, second, share[:, None])

    def loss(self, prediction: Tensor, values: Tensor) -> Tensor:
        return (prediction - self.encode(values)).square().mean(1)

    def error(self, prediction: Tensor, values: Tensor) -> Tensor:
        return (prediction - self.encode(values)).abs().mean(1)

    def show(self, value: Any) -> str:
        units = self.units or ("",) * self.width
        named = zip(self.components, value, units, strict=True)
        return ", ".join(f"{n} {float(v):.3g}{f' {u}' if u else ''}" for n, v, u in named)

    def _scale(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return centre and half range (or mean and deviation), float32 on the device of `like`."""
        import torch

        if self.low is not None and self.high is not None:
            pairs = list(zip(self.low, self.high, strict=True))
            centre, half = [(a + b) / 2 for a, b in pairs], [(b - a) / 2 for a, b in pairs]
        else:
            centre = list(self.mean or (0.0,) * self.width)
            half = list(self.deviation or (1.0,) * self.width)
        return (
            torch.tensor(centre, dtype=torch.float32, device=like.device),
            torch.tensor(half, dtype=torch.float32, device=like.device),
        )


def _turned(degrees: Tensor, coordinates: CoordinateMap) -> Tensor:
    """Return the angles `(N,)` of axes, in (-90, 90], after the image was warped."""
    import torch

    radians = torch.deg2rad(degrees.double())
    height, width = coordinates.size
    centre = radians.new_tensor([width / 2, height / 2]).expand(len(degrees), 1, 2)
    along = torch.stack((radians.cos(), radians.sin()), 1)[:, None]
    ends = coordinates.forward_points(torch.cat((centre, centre + along), 1))
    x, y = (ends[:, 1] - ends[:, 0]).unbind(1)
    found = torch.rad2deg(torch.atan2(y, x))
    found = 90.0 - (90.0 - found).remainder(180.0)
    return found.to(degrees.dtype)

"""Names for tensor shapes, and the Protocols through which rooms that never import each other meet.

Images are `(N, C, H, W)`: uint8 in 0…255 where they are stored, float32 in [-1, 1] inside
networks (`to_float`, `to_uint8`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from jaxtyping import Float, Int64, UInt8
    from torch import Tensor

    FloatImages = Float[Tensor, "batch channels height width"]
    ByteImages = UInt8[Tensor, "batch channels height width"]
    Features = Float[Tensor, "batch features"]
    Latents = Float[Tensor, "batch latent"]
    Labels = Int64[Tensor, "batch"]
    ByteArray = npt.NDArray[np.uint8]
    FloatArray = npt.NDArray[np.floating[Any]]
    IntArray = npt.NDArray[np.int64]

Shape = tuple[int, int, int]
"""Channels, height, width of one image."""

AspectValues = Mapping[str, "Tensor"]
"""Aspect name to its values for a batch, in the aspect's stored form (category: int64 `(N,)`)."""

State = dict[str, Any]
"""Explicit, checkpointed state of a part: tensors and JSON values only."""

Logs = dict[str, "Tensor"]
"""Scalars to log, detached, still on their device (read back only at log intervals)."""


OutputKind = Literal["score", "map", "energy"]


@dataclass(frozen=True)
class CriticOutput:
    """What a critic says of a batch.

    Args:
        value: `(N,)` for a score (logit) or an energy, `(N, 1, h, w)` for a score map.
        kind: which of the three it is.
        features: `(N, F)`, the layer before the last, for feature matching and projection.
        embedding: `(N, E)`, an auto-encoder critic's code, for the pulling-away term.
    """

    value: Tensor
    kind: OutputKind = "score"
    features: Tensor | None = None
    embedding: Tensor | None = None

    def per_sample(self) -> Tensor:
        """`(N,)`: the value, averaged over the map where there is one.

        Example:
            >>> import torch
            >>> CriticOutput(torch.tensor([[[[1.0, 3.0]]]]), kind="map").per_sample()
            tensor([2.])
        """
        return self.value if self.value.ndim == 1 else self.value.flatten(1).mean(1)

    def map(self, function: Callable[[Tensor], Tensor]) -> CriticOutput:
        """Return what a function makes of the value, and of features and embedding where there are.

        Example:
            >>> import torch
            >>> CriticOutput(torch.tensor([1.0, 2.0])).map(lambda t: t[1:]).value
            tensor([2.])
        """
        features, embedding = self.features, self.embedding
        return CriticOutput(
            function(self.value),
            self.kind,
            None if features is None else function(features),
            None if embedding is None else function(embedding),
        )


def to_float(images: ByteImages) -> FloatImages:
    """Map uint8 0…255 to float32 in [-1, 1]: `x / 127.5 - 1`.

    Example:
        >>> import torch
        >>> to_float(torch.tensor([0, 51, 255], dtype=torch.uint8)).round(decimals=4)
        tensor([-1.0000, -0.6000,  1.0000])
    """
    return images.float().mul_(1.0 / 127.5).sub_(1.0)


def to_uint8(images: FloatImages) -> ByteImages:
    """Map [-1, 1] to uint8 0…255, rounding to nearest and clipping: the inverse of `to_float`.

    Example:
        >>> import torch
        >>> to_uint8(torch.tensor([-2.0, -1.0, 0.99, 1.0, 2.0]))
        tensor([  0,   0, 254, 255, 255], dtype=torch.uint8)
        >>> every = torch.arange(256, dtype=torch.uint8)
        >>> torch.equal(to_uint8(to_float(every)), every)
        True
    """
    import torch

    return images.detach().add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def resampled(images: Tensor, size: tuple[int, int] | None) -> Tensor:
    """Return uint8 images at another size: antialiased bilinear, rounded to nearest.

    Args:
        images: uint8 `(N, C, H, W)`.
        size: height and width, or None for no change.

    Example:
        >>> import torch
        >>> resampled(torch.full((1, 1, 8, 8), 7, dtype=torch.uint8), (4, 4)).unique().tolist()
        [7]
    """
    import torch
    from torch.nn import functional

    if size is None or tuple(images.shape[-2:]) == tuple(size):
        return images
    parts = [
        functional.interpolate(
            part.float(), size, mode="bilinear", align_corners=False, antialias=True
        )
        .round_()
        .clamp_(0, 255)
        .to(torch.uint8)
        for part in images.split(1024)
    ]
    return torch.cat(parts) if parts else images.new_zeros(0, images.shape[1], *size)


@runtime_checkable
class Sampler(Protocol):
    """Draws images for given aspect values; the same ids and seed give the same images."""

    def sample(self, aspects: AspectValues, ids: IntArray, seed: int) -> ByteArray:
        """Return uint8 images `(N, C, H, W)`, one for each id."""
        ...


@runtime_checkable
class Judge(Protocol):
    """A network trained on real images that says what an image carries."""

    def probabilities(self, images: ByteArray) -> FloatArray:
        """Return class probabilities `(N, classes)`; rows sum to 1."""
        ...


@runtime_checkable
class FeatureNet(Protocol):
    """Maps uint8 images to feature vectors; `name` and `digest` stand beside every number."""

    name: str
    digest: str

    def __call__(self, images: ByteArray) -> FloatArray:
        """Return features `(N, D)`."""
        ...

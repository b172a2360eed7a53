"""A judge that travels with a bundle: a registered network, its weights and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from augmint.aspects.category import LABEL
from augmint.core.errors import UsageError
from augmint.core.registry import ARCHITECTURES, Spec
from augmint.core.runs import tensors_digest
from augmint.core.types import Shape, resampled, to_float
from augmint.minting.review import ByError, Review
from augmint.networks.base import ClassifierArchitecture, MapperArchitecture

if TYPE_CHECKING:
    from augmint.aspects.base import Aspect
    from augmint.core.types import ByteArray, FloatArray

_CHUNK = 256


def build_judge(network: Spec, shape: Shape, outputs: int) -> nn.Module:
    """Build a registered network that can judge images of `shape`.

    Raises:
        UsageError: if the network is not registered, answers nothing about an image, or cannot take
            the shape.

    Example:
        >>> build_judge("small-cnn", (1, 8, 8), outputs=3)(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 3])
    """
    architecture = ARCHITECTURES.create(network)
    if not isinstance(architecture, ClassifierArchitecture | MapperArchitecture):
        raise UsageError(
            "a judge is a registered classifier or mapper",
            f"{network} ({architecture.role})",
            "use small-cnn",
        )
    architecture.check_shape(shape)
    return architecture.build(shape, outputs)


@dataclass(frozen=True)
class StoredJudge:
    """A network as `core.types.Judge` (and `FeatureNet`), rebuilt from its description.

    Images of another size are first resampled to the network's as tasks do it: antialiased
    bilinear, rounded to whole levels.

    Args:
        network: the registered architecture.
        shape: what it takes.
        outputs: number of classes, or of what it measures.
        module: the network; set to evaluation mode.
        told: plain facts ("trained_on", "accuracy"), kept in the bundle.
        aspect: what it tells.
        limit: largest error of a kept image; None for a judge of classes.

    Example:
        >>> network = build_judge("small-cnn", (1, 8, 8), outputs=3)
        >>> judge = StoredJudge("small-cnn", (1, 8, 8), 3, network)
        >>> judge.probabilities(np.zeros((2, 1, 20, 20), np.uint8)).sum(1).round(9).tolist()
        [1.0, 1.0]
    """

    network: Spec
    shape: Shape
    outputs: int
    module: nn.Module
    told: Mapping[str, Any] = field(default_factory=dict)
    aspect: str = LABEL
    limit: float | None = None
    name: str = "bundle-judge"

    def __post_init__(self) -> None:
        self.module.eval()

    @property
    def digest(self) -> str:
        """SHA-256 of the weights."""
        return tensors_digest(self.module.state_dict())

    def probabilities(self, images: ByteArray) -> FloatArray:
        """Return class probabilities `(N, outputs)`, float64; rows sum to 1."""
        return self._run(images, lambda x: torch.softmax(self.module(x).double(), 1))

    def review(self, aspect: Aspect) -> Review | StoredJudge:
        """Return what curates by this judge: itself of classes, else its errors' bound."""
        return self if self.limit is None else ByError(_Measuring(self, aspect), aspect, self.limit)

    def outputs_of(self, images: ByteArray) -> FloatArray:
        """Return raw outputs, float32: the encoded form of what it tells."""
        return self._run(images, lambda x: self.module(x).float())

    def __call__(self, images: ByteArray) -> FloatArray:
        """Return features `(N, F)`, float32, of the layer before the last."""
        return self._run(images, self.module.features)  # type: ignore[arg-type]

    @torch.no_grad()
    def _run(self, images: ByteArray, function: Any) -> FloatArray:
        if images.shape[1] != self.shape[0]:
            raise UsageError(
                f"the judge takes images of {self.shape[0]} channels",
                images.shape[1],
                "give images as the bundle makes them",
            )
        parts = []
        for start in range(0, len(images), _CHUNK):
            part = torch.from_numpy(np.ascontiguousarray(images[start : start + _CHUNK]))
            parts.append(function(to_float(resampled(part, self.shape[1:]))).numpy())
        return np.concatenate(parts)


@dataclass(frozen=True)
class _Measuring:
    """A `Measurer` made of a judge and the aspect that it tells."""

    judge: StoredJudge
    aspect: Aspect

    def errors(self, images: ByteArray, values: np.ndarray) -> FloatArray:
        parts = []
        for start in range(0, len(images), _CHUNK):
            rows = slice(start, start + _CHUNK)
            said = torch.from_numpy(self.judge.outputs_of(images[rows]))
            claimed = torch.from_numpy(np.ascontiguousarray(values[rows]))
            parts.append(self.aspect.error(said, claimed).numpy())
        return np.concatenate(parts)

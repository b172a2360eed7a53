"""What an expert augmenter promises, and the chain of several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from augmint.core.errors import IncompatibleError, UsageError
from augmint.core.registry import AUGMENTERS, Spec

if TYPE_CHECKING:
    from torch import Tensor

    from augmint.aspects.base import Aspect, CoordinateMap, Schema
    from augmint.core.streams import Stream
    from augmint.core.types import AspectValues, Logs, State


@dataclass(frozen=True)
class ExpertAugmenter(ABC):
    """Changes a batch of images together with its aspects; its fields are its configuration.

    Parameters are drawn first (`draw`, one row of the stream an image), then applied without any
    further chance, so that image and aspects get the same treatment and a row's result depends on
    its own id alone (mixing augmenters excepted).
    """

    mixes: ClassVar[bool] = False
    """Joins several rows; category values come back soft, float `(N, classes)`."""
    mirrors: ClassVar[bool] = False
    """May mirror an image: an aspect whose left and right are unknown refuses it."""
    kinds: ClassVar[frozenset[str] | None] = None
    """Kinds of aspect that it can change along; None: all."""
    differentiable: ClassVar[bool] = False
    """Gradients flow through to the images, as a critic's input needs."""
    adapts: ClassVar[bool] = False
    """Follows a critic: it is an `AdaptiveAugmenter`, and needs that one's state."""

    @abstractmethod
    def __call__(
        self, images: Tensor, aspects: AspectValues, schema: Schema, stream: Stream
    ) -> tuple[Tensor, AspectValues]:
        """Return augmented images and aspects.

        Args:
            images: float `(N, C, H, W)` in [-1, 1].
            aspects: name to stored values with N rows, on the images' device.
            schema: says how each aspect moves with the image.
            stream: N rows of random numbers.

        Raises:
            UsageError: an aspect that the schema does not hold, or that refuses the change.
        """


@dataclass(frozen=True)
class GeometricAugmenter(ExpertAugmenter):
    """Moves pixels by a drawn `CoordinateMap`; every aspect warps itself by the same map."""

    @abstractmethod
    def draw(self, stream: Stream, size: tuple[int, int]) -> CoordinateMap:
        """Return the map of each row, on the CPU, for frames of `size` (height, width)."""

    @abstractmethod
    def resample(self, images: Tensor, coordinates: CoordinateMap) -> Tensor:
        """Return the images as seen through the map."""

    def __call__(
        self, images: Tensor, aspects: AspectValues, schema: Schema, stream: Stream
    ) -> tuple[Tensor, AspectValues]:
        height, width = images.shape[-2:]
        coordinates = on_device(self.draw(stream, (height, width)), images)
        return self.resample(images, coordinates), moved(aspects, schema, coordinates)


@dataclass(frozen=True)
class PhotometricAugmenter(ExpertAugmenter):
    """Changes values in place; no aspect moves. Results are clipped to [-1, 1]."""

    @abstractmethod
    def draw(self, stream: Stream, images: Tensor) -> Tensor:
        """Return the parameters of each row, `(N, …)`, on the CPU."""

    @abstractmethod
    def change(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Return changed images; clipping follows."""

    def __call__(
        self, images: Tensor, aspects: AspectValues, schema: Schema, stream: Stream
    ) -> tuple[Tensor, AspectValues]:
        parameters = self.draw(stream, images).to(images.device, non_blocking=True)
        return self.change(images, parameters).clamp(-1.0, 1.0), aspects


@dataclass(frozen=True)
class AdaptiveAugmenter(ExpertAugmenter):
    """Changes with explicit state that follows what the critic says of real images."""

    adapts: ClassVar[bool] = True

    @abstractmethod
    def init_state(self) -> State:
        """Return the state before the first step; tensors and JSON values."""

    @abstractmethod
    def adapt(self, real: Tensor, shown: int, state: State) -> tuple[State, Logs]:
        """Return the state after one critic step, and logs; never waits for the device.

        Processes that share a batch each call it with their part, and then average the state's
        tensors: what a call adds to them is a mean over the batch.

        Args:
            real: scores of real images, above 0 where the critic takes them for real.
            shown: images of the step, over all processes.
            state: of the step before.
        """

    @abstractmethod
    def __call__(
        self,
        images: Tensor,
        aspects: AspectValues,
        schema: Schema,
        stream: Stream,
        state: State | None = None,
    ) -> tuple[Tensor, AspectValues]:
        """Return augmented images and aspects; `state` is needed where `adapts` is true."""


def check_fits(augmenter: ExpertAugmenter, aspect: Aspect) -> None:
    """Raise unless an augmenter can change images together with an aspect; no image is needed.

    Raises:
        IncompatibleError: for a kind that it cannot change along, or one that may mirror images
            whose left and right the aspect does not know.
    """
    if augmenter.kinds is not None and aspect.kind not in augmenter.kinds:
        raise IncompatibleError(
            f"{type(augmenter).__name__} takes aspects of the kind "
            f"{' or '.join(sorted(augmenter.kinds))} only",
            f"{aspect.name}, a {aspect.kind}",
            "choose another policy, such as affine or colour",
        )
    if augmenter.mirrors and not aspect.mirrors:
        raise IncompatibleError(
            f"{type(augmenter).__name__} may mirror images, and {aspect.name} must then say what "
            f'is left and right: "{aspect.mirror_field}" in schema.json, [] for nothing',
            f"{aspect.name}, a {aspect.kind} that does not",
            f'give "{aspect.mirror_field}", or choose a policy without flips, such as affine',
        )


def on_device(coordinates: CoordinateMap, images: Tensor) -> CoordinateMap:
    """Return the map on the images' device."""
    from augmint.aspects.base import CoordinateMap

    matrix = coordinates.matrix.to(images.device, non_blocking=True)
    return CoordinateMap(matrix, coordinates.size)


def moved(aspects: AspectValues, schema: Schema, coordinates: CoordinateMap) -> AspectValues:
    """Return every aspect warped by the map.

    Example:
        >>> import torch
        >>> from augmint.aspects.base import CoordinateMap, Schema
        >>> from augmint.aspects.vector import Vector
        >>> mirror = CoordinateMap(torch.tensor([[[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]), (8, 8))
        >>> schema = Schema((Vector("pose", ("yaw",), mirrored=("yaw",)),))
        >>> moved({"pose": torch.tensor([[10.0]])}, schema, mirror)["pose"].tolist()
        [[-10.0]]
    """
    return {name: schema[name].warp(values, coordinates) for name, values in aspects.items()}


@AUGMENTERS.register("chain")
@dataclass(frozen=True)
class Chain(ExpertAugmenter):
    """Applies several augmenters in order, each with its own draws from the one stream.

    Args:
        steps: their names, or mappings with `name` and fields.

    Raises:
        UsageError: for an unknown name or field, or a mixing augmenter that is not the last.

    Example:
        >>> Chain(("flip", {"name": "gamma", "strength": 0.2})).steps[0]
        'flip'
    """

    steps: tuple[Spec, ...] = ()

    def __post_init__(self) -> None:
        early = [m for m in self.members[:-1] if m.mixes]
        if early:
            raise UsageError(
                "an augmenter that mixes images stands last in a chain",
                ", ".join(str(s) for s in self.steps),
                "move it to the end of steps",
            )
        # per object, where other members say it of the class: a chain mixes if its end does
        object.__setattr__(self, "mixes", any(m.mixes for m in self.members))
        object.__setattr__(self, "mirrors", any(m.mirrors for m in self.members))
        limits = [m.kinds for m in self.members if m.kinds is not None]
        object.__setattr__(self, "kinds", frozenset.intersection(*limits) if limits else None)

    @cached_property
    def members(self) -> tuple[ExpertAugmenter, ...]:
        """The augmenters that `steps` names."""
        return tuple(AUGMENTERS.create(step) for step in self.steps)

    def __call__(
        self, images: Tensor, aspects: AspectValues, schema: Schema, stream: Stream
    ) -> tuple[Tensor, AspectValues]:
        for member in self.members:
            images, aspects = member(images, aspects, schema, stream)
        return images, aspects

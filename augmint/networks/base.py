"""What networks promise: generators, critics, classifiers, mappers: frozen dataclasses.

An *architecture* is a frozen dataclass of sizes, registered on the axis `architectures`; its
`build` returns an `nn.Module`. It says which role it plays, which image sizes it can reach, which
memory format and precision suit it, and whether it couples the samples of a batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from augmint.core.errors import IncompatibleError, UsageError
from augmint.core.types import OutputKind

if TYPE_CHECKING:
    from torch import nn

    from augmint.core.types import Shape

Role = Literal["generator", "critic", "classifier", "mapper"]


@dataclass(frozen=True)
class Architecture(ABC):
    """A description from which a network is built. Subclasses add their sizes as fields."""

    role: ClassVar[Role]
    channels_last: ClassVar[bool] = False
    """Faster in channels_last memory format (batch-normalised convolution stacks)."""
    bf16: ClassVar[bool] = True
    """May run under bf16 autocast."""
    batch_coupled: ClassVar[bool] = False
    """One sample's output depends on the others in training mode (batch norm and the like)."""
    smallest_batch: ClassVar[int] = 1
    """Images of a batch below which it cannot train: one alone has no spread to divide by."""
    output: ClassVar[OutputKind] = "score"
    """What a critic gives; meaningless for other roles."""
    condition_modes: ClassVar[frozenset[str]] = frozenset()
    """How a network takes a separate condition: a vector ("modulation", "conditional-norm"), or
    images of its own images' size ("maps")."""
    kinds: ClassVar[frozenset[str] | None] = None
    """Kinds of aspect that it can read off images; None: all that its role can."""

    @abstractmethod
    def check_shape(self, shape: Shape) -> None:
        """Raise `UsageError`, with the nearest sizes that fit,
        if images of `shape` are out of reach."""

    def check_kind(self, name: str, aspect: str, kind: str) -> None:
        """Raise `IncompatibleError` if it reads no aspects of a kind;
        `name` is the architecture's."""
        if self.kinds is not None and kind not in self.kinds:
            raise IncompatibleError(
                f"{name} reads {' and '.join(sorted(self.kinds))} off images",
                f"{aspect}, a {kind}",
                "choose small-cnn or var-regressor",
            )


@dataclass(frozen=True)
class GeneratorArchitecture(Architecture):
    """Builds `G(latent, condition=None) -> images in [-1, 1]`."""

    role: ClassVar[Role] = "generator"
    bounded: ClassVar[bool] = True
    """Images cannot leave [-1, 1]; False where only training keeps them there."""
    adversarial: ClassVar[bool] = True
    """A critic can train it: gradients of its images reach all of its weights, at their cost."""
    gives: ClassVar[frozenset[str]] = frozenset()
    """What its module has besides forward:

    | member | methods |
    |---|---|
    | styles | `styles(latent, condition)` and `synthesise(styles)`, whose chain is G |
    | velocity | `velocity(images, times, condition, kept)`, of the images' shape |
    | posterior | `posterior(images, condition)`: mean and log variance of the latent |
    """
    truncates: ClassVar[bool] = True
    """Latents nearer to 0 give more typical images; not where a latent is an image's very noise."""
    redraws: ClassVar[bool] = False
    """Draws noise of a latent anew while it trains: its module has `redrawn`, how many of a
    latent's first entries are N(0, I), which is set after `build`; the others are what was asked
    for."""
    asks: ClassVar[frozenset[str]] = frozenset()
    """What a direct objective must give it ("dropped conditions")."""

    def latent_needed(self, shape: Shape) -> int | None:
        """Return the only width of latents that it takes for a shape; None: any."""
        return None

    def check_latent(self, name: str, latent_width: int, shape: Shape) -> None:
        """Raise `UsageError` if latents of this width do not suit; `name` is the architecture's."""
        needed = self.latent_needed(shape)
        if needed is not None and latent_width != needed:
            size = "x".join(map(str, shape))
            raise UsageError(
                f"{name} takes {needed} numbers as its latent for images of {size}",
                latent_width,
                f"set latent_dim={needed} (--set generator.latent_dim={needed})",
            )

    @abstractmethod
    def build(self, latent_width: int, shape: Shape, condition_width: int = 0) -> nn.Module:
        """Return G, whose forward takes `(N, latent_width)` and gives `(N, *shape)`.

        Args:
            latent_width: of the latents.
            shape: of the images.
            condition_width: of a condition vector, or the number of planes of "maps"; 0: none.
        """


@dataclass(frozen=True)
class CriticArchitecture(Architecture):
    """Builds `D(images, condition=None) -> CriticOutput`."""

    role: ClassVar[Role] = "critic"
    spectral: ClassVar[bool] = False
    """Its weights are divided by their spectral norm;
    what conditioning adds to its score then is."""
    compared: ClassVar[int] = 1
    """Samples of a group that it compares, of which a batch holds whole ones
    (or is a smaller one)."""

    @abstractmethod
    def build(self, shape: Shape, condition_width: int = 0, appended: int = 0) -> nn.Module:
        """Return D; the last `appended` channels of `shape` are conditioning's, not the image's."""

    @abstractmethod
    def feature_width(self, shape: Shape) -> int:
        """Return F, the width of `CriticOutput.features`."""


@dataclass(frozen=True)
class ClassifierArchitecture(Architecture):
    """Builds `C(images) -> logits`; the module also has `features(images) -> (N, F)`.

    The numbers may be logits of classes, or the encoded form of any other aspect that is a vector
    (coordinates of landmarks, a pose): a classifier is a regressor with another loss.
    """

    role: ClassVar[Role] = "classifier"
    bounded: ClassVar[bool] = False
    """Its numbers lie in [-1, 1], as encoded landmarks and bounded vectors do; never logits."""

    @abstractmethod
    def build(self, shape: Shape, outputs: int) -> nn.Module:
        """Return C, whose forward gives `(N, outputs)` logits or values."""


@dataclass(frozen=True)
class MapperArchitecture(Architecture):
    """Builds `M(images) -> maps` of the images' height and width; also `features(images)`.

    The channels may be logits of a mask's classes or the encoded form of a map.
    """

    role: ClassVar[Role] = "mapper"
    bounded: ClassVar[bool] = False
    """As of a classifier."""

    @abstractmethod
    def build(self, shape: Shape, outputs: int) -> nn.Module:
        """Return M, whose forward gives `(N, outputs, H, W)`; `features` gives `(N, F)`."""

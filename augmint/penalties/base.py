"""What a penalty promises: a regulariser of one player, with its own weight and interval."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from augmint.core.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from augmint.core.streams import Stream
    from augmint.core.types import CriticOutput, Logs, State

Player = Literal["critic", "generator"]
Need = Literal["inputs", "filters", "latents", "styles", "outputs"]


@dataclass(frozen=True)
class PenaltyContext:
    """What a penalty may look at; only what it declares in `needs` is filled in.

    Args:
        network: the critic as a function of its input images, the real images' aspects bound.
        stream: random numbers, one row a sample.
        real, fake: the critic's inputs `(N, C, H, W)`, detached, of equal N ("inputs").
        filters: the weights `(out, in, …)` of the player's convolutions and dense layers
            ("filters").
        latents, styles: the generator's inputs and intermediate styles.
        real_output, fake_output: the critic's outputs of this very step ("outputs").
        fake_network: the critic with the generated images' aspects bound; None: as `network`.
        along, fake_along: the same critics as functions of moved images and of the maps `(N, 2, 3)`
            that moved them, output to input in normalised coordinates: the aspects that they are
            told of move along. None: as `network` and `fake_network`.
    """

    network: Callable[[Tensor], CriticOutput]
    stream: Stream
    real: Tensor | None = None
    fake: Tensor | None = None
    filters: Sequence[Tensor] = field(default=())
    latents: Tensor | None = None
    styles: Tensor | None = None
    real_output: CriticOutput | None = None
    fake_output: CriticOutput | None = None
    fake_network: Callable[[Tensor], CriticOutput] | None = None
    along: Callable[[Tensor, Tensor], CriticOutput] | None = None
    fake_along: Callable[[Tensor, Tensor], CriticOutput] | None = None


@dataclass(frozen=True)
class Penalty(ABC):
    """A term added to one player's loss at every `interval`-th of its updates, times `interval`.

    It is added to the loss of that update: n updates are n steps of the optimiser. With an interval
    n > 1 the player's rate and betas are rescaled by c = n / (n + 1) all the same, with the largest
    n of its penalties. Karras et al. 2020, appendix B, whose rule this is, take a further step for
    the penalty, which c makes up for; here it lowers the rate a little (r1: 6 %,
    path length: 11 %).

    Args:
        weight: factor of the term.
        interval: updates of the player from one evaluation to the next.
    """

    weight: float = 1.0
    interval: int = 1
    player: ClassVar[Player] = "critic"
    needs: ClassVar[frozenset[Need]] = frozenset({"inputs"})
    per_sample: ClassVar[bool] = False
    """Takes gradients of one sample's score by its own input: undefined beside batch coupling."""
    needs_features: ClassVar[bool] = False
    """Reads the critic's features."""
    double_backward: ClassVar[bool] = False
    """Differentiates a gradient."""
    batch_coupled: ClassVar[bool] = False
    """The penalty of a batch, or its state, is not the mean of those of its parts."""
    mirrors: ClassVar[bool] = False
    """May show the critic mirrored images:
    an aspect whose left and right are unknown refuses it."""
    real_in_generator: ClassVar[bool] = False
    """A generator's penalty that needs the critic's output on real images; under no_grad."""

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise UsageError("a penalty's weight is not negative", self.weight, "set weight >= 0")
        if self.interval < 1:
            raise UsageError("a penalty's interval is at least 1", self.interval, "set interval: 1")

    def init_state(self) -> State:
        """Return the state before the first step; empty for most."""
        return {}

    @abstractmethod
    def __call__(self, context: PenaltyContext, state: State) -> tuple[Tensor, State, Logs]:
        """Return the weighted penalty (without the interval's factor), new state and logs."""

"""Penalties on what the critic says: that it stays the same, and that it stays put."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from augmint.core.errors import UsageError
from augmint.core.registry import PENALTIES
from augmint.penalties.base import Need, Penalty, PenaltyContext, Player

if TYPE_CHECKING:
    from augmint.core.streams import Stream
    from augmint.core.types import CriticOutput, FloatImages, Logs, State


def shifted(
    images: FloatImages, stream: Stream, share: float, flip: bool
) -> tuple[FloatImages, Tensor]:
    """Return images moved by whole pixels, at random a sample, mirrored or not, and the maps.

    Each is moved by up to `share` of its height and width, edges repeated, and mirrored left to
    right with probability 1/2 where `flip` is set. The maps `(N, 2, 3)` lead from output to input
    positions in coordinates from -1 to 1 over the frame.

    Example:
        >>> from augmint.core.streams import stream
        >>> images = torch.arange(3.0).expand(8, 1, 1, 3)
        >>> moved, maps = shifted(images, stream(0, "shift", ids=8), 0.0, flip=True)
        >>> mirrored = maps[:, 0, 0, None, None, None] < 0
        >>> torch.equal(moved, torch.where(mirrored, images.flip(3), images))
        True
    """
    n, _, height, width = images.shape
    draws = stream.uniform(3).to(images)
    top, left = round(share * height), round(share * width)
    rows = torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device)
    down = torch.floor(draws[:, 0] * (2 * top + 1)).long() - top
    right = torch.floor(draws[:, 1] * (2 * left + 1)).long() - left
    at_row = (rows - down[:, None]).clamp(0, height - 1)
    at_column = (columns - right[:, None]).clamp(0, width - 1)
    side = torch.ones_like(draws[:, 2])
    if flip:
        mirrored = draws[:, 2] < 0.5
        at_column = torch.where(mirrored[:, None], width - 1 - at_column, at_column)
        side = torch.where(mirrored, -side, side)
    sample = torch.arange(n, device=images.device)[:, None, None]
    picked = images.permute(0, 2, 3, 1)[sample, at_row[:, :, None], at_column[:, None, :]]
    zero = torch.zeros_like(side)
    across = torch.stack((side, zero, -2.0 * side * right / width), 1)
    along = torch.stack((zero, side.abs(), -2.0 * down / height), 1)
    return picked.permute(0, 3, 1, 2), torch.stack((across, along), 1)


def _said(output: CriticOutput | None, whose: str) -> CriticOutput:
    if output is None:
        raise UsageError(
            f"the penalty needs what the critic said of {whose} images", "none", "pass it"
        )
    return output


@PENALTIES.register("consistency")
@dataclass(frozen=True)
class Consistency(Penalty):
    """Asks the critic to say the same of an image and of its shifted, mirrored copy.

        weight · E (D(x) - D(T(x)))²  [ + fake_weight · E (D(G(z)) - D(T(G(z))))² ]

    T moves by whole pixels and may mirror (Zhang et al. 2020, 1910.12027, eq. 5; with generated
    images too, balanced consistency: Zhao et al. 2021, 2002.04724). Aspects that the critic is told
    of (points, masks, angles) move with the image. Set `flip` only where mirrored images are real.

    Args:
        weight: lambda, 10 in the paper.
        fake_weight: lambda of generated images; 0 leaves them out, 10 is the balanced form.
        shift: largest move, as a share of the side, 0 to 0.5.
        flip: mirror half of the copies.

    Raises:
        UsageError: for a value out of range.

    Example:
        >>> from augmint.core.streams import stream
        >>> from augmint.core.types import CriticOutput
        >>> brightest = lambda x: CriticOutput(x.amax((1, 2, 3)))
        >>> images, said = torch.eye(8).expand(2, 1, 8, 8), CriticOutput(torch.ones(2))
        >>> numbers = stream(0, "shift", ids=2)
        >>> context = PenaltyContext(brightest, numbers, images, images, real_output=said)
        >>> Consistency()(context, {})[0].item()
        0.0
    """

    weight: float = 10.0
    fake_weight: float = 0.0
    shift: float = 0.125
    flip: bool = False
    needs: ClassVar[frozenset[Need]] = frozenset({"inputs", "outputs"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fake_weight < 0:
            raise UsageError(
                "a penalty's weight is not negative", self.fake_weight, "set fake_weight >= 0"
            )
        if not 0.0 <= self.shift <= 0.5:
            raise UsageError(
                "consistency moves by up to half of the side", self.shift, "set shift: 0.125"
            )

    @property
    def mirrors(self) -> bool:  # type: ignore[override]
        return self.flip

    def __call__(self, context: PenaltyContext, state: State) -> tuple[Tensor, State, Logs]:
        if context.real is None or context.fake is None:
            raise UsageError(
                "consistency needs the critic's inputs", "none", "pass real=images, fake=images"
            )
        said = _said(context.real_output, "real").per_sample()
        moved = self._said_of_moved(context, context.real, context.network, context.along)
        gap = F.mse_loss(moved, said)
        loss = self.weight * gap
        logs = {"inconsistency": gap.detach()}
        if self.fake_weight:
            said = _said(context.fake_output, "generated").per_sample()
            network = context.fake_network or context.network
            along = context.fake_along or context.along
            moved = self._said_of_moved(context, context.fake, network, along)
            loss = loss + self.fake_weight * F.mse_loss(moved, said)
        return loss, state, logs

    def _said_of_moved(
        self,
        context: PenaltyContext,
        images: FloatImages,
        network: Callable[[Tensor], CriticOutput],
        along: Callable[[Tensor, Tensor], CriticOutput] | None,
    ) -> Tensor:
        moved, maps = shifted(images, context.stream, self.shift, self.flip)
        return (network(moved) if along is None else along(moved, maps)).per_sample()


@PENALTIES.register("lecam")
@dataclass(frozen=True)
class LeCam(Penalty):
    """Holds the critic's scores of one side near the running mean of the other.

        weight · ( E (D(x) - a_F)² + E (D(G(z)) - a_R)² )

    a_R and a_F are moving averages of the scores of real and generated images, the present batch
    included. With the hinge or Wasserstein losses it bounds a LeCam divergence, and keeps a critic
    that has few images from running away (Tseng et al. 2021, 2104.03310, eq. 4; the paper's
    program cuts each difference at zero, this is its text).

    Args:
        weight: lambda, 0.3 on small data in the paper.
        decay: of the moving averages, 0 to below 1; 0.99.

    Raises:
        UsageError: for a value out of range.

    Example:
        >>> from augmint.core.streams import stream
        >>> from augmint.core.types import CriticOutput
        >>> real, fake = CriticOutput(torch.tensor([3.0])), CriticOutput(torch.tensor([1.0]))
        >>> numbers, rule = stream(0, "penalty"), LeCam(weight=1.0)
        >>> context = PenaltyContext(CriticOutput, numbers, real_output=real, fake_output=fake)
        >>> rule(context, rule.init_state())[0].item()
        8.0
    """

    weight: float = 0.3
    decay: float = 0.99
    needs: ClassVar[frozenset[Need]] = frozenset({"outputs"})
    batch_coupled: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.decay < 1.0:
            raise UsageError("lecam's decay is 0 to below 1", self.decay, "set decay: 0.99")

    def init_state(self) -> State:
        return {"real": torch.zeros(()), "fake": torch.zeros(()), "seen": 0}

    def __call__(self, context: PenaltyContext, state: State) -> tuple[Tensor, State, Logs]:
        real = _said(context.real_output, "real").per_sample()
        fake = _said(context.fake_output, "generated").per_sample()
        keep = self.decay if state["seen"] else 0.0
        mean_real = keep * state["real"] + (1.0 - keep) * real.detach().mean()
        mean_fake = keep * state["fake"] + (1.0 - keep) * fake.detach().mean()
        loss = (real - mean_fake).square().mean() + (fake - mean_real).square().mean()
        new = {"real": mean_real, "fake": mean_fake, "seen": 1}
        return self.weight * loss, new, {"lecam": loss.detach()}


@PENALTIES.register("feature-matching")
@dataclass(frozen=True)
class FeatureMatching(Penalty):
    """Asks generated images to have the mean features of real ones.

        weight · ‖E f(x) - E f(G(z))‖²

    with f the critic's features, averaged over the batch on both sides (Salimans et al. 2016,
    1606.03498, section 3.1). Beside the adversarial loss; alone (`theta` 0 in vac) it is the
    paper's objective.

    Example:
        >>> from augmint.core.streams import stream
        >>> from augmint.core.types import CriticOutput
        >>> real = CriticOutput(torch.zeros(2), features=torch.tensor([[1.0], [3.0]]))
        >>> fake = CriticOutput(torch.zeros(2), features=torch.tensor([[5.0], [5.0]]))
        >>> numbers = stream(0, "penalty", ids=2)
        >>> context = PenaltyContext(CriticOutput, numbers, real_output=real, fake_output=fake)
        >>> FeatureMatching()(context, {})[0].item()
        9.0
    """

    player: ClassVar[Player] = "generator"
    needs: ClassVar[frozenset[Need]] = frozenset({"outputs"})
    needs_features: ClassVar[bool] = True
    batch_coupled: ClassVar[bool] = True
    real_in_generator: ClassVar[bool] = True

    def __call__(self, context: PenaltyContext, state: State) -> tuple[Tensor, State, Logs]:
        real = _said(context.real_output, "real").features
        fake = _said(context.fake_output, "generated").features
        if real is None or fake is None:
            raise UsageError("feature matching reads features", "none", "take a critic with some")
        gap = (real.detach().mean(0) - fake.mean(0)).square().sum()
        return self.weight * gap, state, {"feature_gap": gap.detach()}

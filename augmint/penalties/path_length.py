"""The penalty on how far an image moves when its style does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from augmint.core.errors import UsageError
from augmint.core.registry import PENALTIES
from augmint.penalties.base import Need, Penalty, PenaltyContext, Player

if TYPE_CHECKING:
    from augmint.core.types import Logs, State


@PENALTIES.register("path-length")
@dataclass(frozen=True)
class PathLength(Penalty):
    """Asks that a step of any style moves the image by the same length.

        weight · E (‖J_wᵀ y‖₂ - a)²,   y ~ N(0, I) / sqrt(H W),   a <- a + rate (E ‖J_wᵀ y‖₂ - a)

    J_w is the generator's Jacobian by its styles; with a style for each layer the squared length is
    the mean over layers. a follows the lengths (Karras et al. 2020, 1912.04958, eq. 4 and appendix
    B: weight 2, rate 0.01; every 8th step there, with a batch half as large).

    Args:
        weight: gamma_pl.
        interval: updates of the generator from one evaluation to the next.
        rate: of the moving mean, above 0 and at most 1.

    Raises:
        UsageError: for a value out of range.

    Example:
        >>> from augmint.core.streams import stream
        >>> from augmint.core.types import CriticOutput
        >>> def length(slope):
        ...     styles = torch.zeros(1, 1, 4, requires_grad=True)
        ...     images, numbers = slope * styles.view(1, 1, 2, 2), stream(0, "penalty")
        ...     context = PenaltyContext(CriticOutput, numbers, fake=images, styles=styles)
        ...     return PathLength(rate=1.0)(context, PathLength().init_state())[2]["path_length"]
        >>> bool(length(4.0) == 4.0 * length(1.0))
        True
    """

    weight: float = 2.0
    interval: int = 8
    rate: float = 0.01
    player: ClassVar[Player] = "generator"
    needs: ClassVar[frozenset[Need]] = frozenset({"styles"})
    double_backward: ClassVar[bool] = True
    batch_coupled: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.rate <= 1.0:
            raise UsageError(
                "path-length follows the mean at a rate above 0 and at most 1",
                self.rate,
                "set rate: 0.01",
            )

    def init_state(self) -> State:
        return {"length": torch.zeros(())}

    def __call__(self, context: PenaltyContext, state: State) -> tuple[Tensor, State, Logs]:
        images, styles = context.fake, context.styles
        if images is None or styles is None:
            raise UsageError(
                "path length needs generated images and the styles that made them",
                "none",
                "take a generator with styles (stylegan2-generator)",
            )
        height, width = images.shape[2:]
        noise = context.stream.normal(images[0].numel()).to(images).view_as(images)
        moved = (images * noise).sum() / (height * width) ** 0.5
        (gradient,) = torch.autograd.grad(moved, styles, create_graph=True)
        lengths = gradient.square().sum(2).mean(1).sqrt()
        mean = state["length"] + self.rate * (lengths.detach().mean() - state["length"])
        loss = (lengths - mean).square().mean()
        return self.weight * loss, {"length": mean}, {"path_length": mean}

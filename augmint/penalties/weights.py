"""Penalties on weights alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from augmint.core.registry import PENALTIES
from augmint.penalties.base import Need, Penalty, PenaltyContext, Player

if TYPE_CHECKING:
    from augmint.core.types import Logs, State


def off_diagonal(weight: Tensor) -> Tensor:
    """Return `‖W Wᵀ ⊙ (1 - I)‖_F²` of a weight whose rows, flattened, are its filters.

    Example:
        >>> off_diagonal(2.0 * torch.eye(2)).item(), off_diagonal(torch.ones(2, 2)).item()
        (0.0, 8.0)
    """
    rows = weight.flatten(1)
    gram = rows @ rows.T
    return gram.square().sum() - gram.diagonal().square().sum()


@PENALTIES.register("orthogonal")
@dataclass(frozen=True)
class Orthogonal(Penalty):
    """Pulls the filters of each layer of the generator towards right angles.

        weight · Σ_layers ‖W Wᵀ ⊙ (1 - I)‖_F²          (`diagonal=True`: ‖W Wᵀ - I‖_F²)

    Rows of W are the filters of a convolution or a dense layer; biases, learned constants and the
    embedding of a class are left alone. Without the diagonal their lengths are free, and a
    generator then stands truncation of its latents better (Brock et al. 2019, 1809.11096, eq. 3;
    the form with the diagonal is Brock et al. 2017, 1609.07093).

    Args:
        weight: beta, 1e-4 in the paper.
        diagonal: also ask for unit length.

    Example:
        >>> from augmint.core.streams import stream
        >>> from augmint.core.types import CriticOutput
        >>> long = 2.0 * torch.eye(2)
        >>> context = PenaltyContext(CriticOutput, stream(0, "penalty"), filters=[long])
        >>> [Orthogonal(1.0, diagonal=d)(context, {})[0].item() for d in (False, True)]
        [0.0, 18.0]
    """

    weight: float = 1e-4
    diagonal: bool = False
    player: ClassVar[Player] = "generator"
    needs: ClassVar[frozenset[Need]] = frozenset({"filters"})

    def __call__(self, context: PenaltyContext, state: State) -> tuple[Tensor, State, Logs]:
        terms = []
        for weight in context.filters:
            term = off_diagonal(weight)
            if self.diagonal:
                lengths = weight.flatten(1).square().sum(1)
                term = term + (lengths - 1.0).square().sum()
            terms.append(term)
        loss = torch.stack(terms).sum()
        return self.weight * loss, state, {"non_orthogonality": loss.detach()}

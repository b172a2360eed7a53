"""Objectives for critics that give an energy: how badly an auto-encoder rebuilds an image.

With L(v) >= 0 the energy of an image, low for real ones:

    name    critic minimises                 generator minimises   source
    ebgan   E L(x) + E max(0, m - L(G(z)))   E L(G(z)) + w · PT    Zhao 2016, 1609.03126 eq. 1-2
    began   E L(x) - k · E L(G(z))           E L(G(z))             Berthelot 2017, 1703.10717 eq. 4
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from augmint.core.errors import UsageError
from augmint.core.registry import OBJECTIVES
from augmint.core.types import CriticOutput, Logs, State
from augmint.objectives.base import Objective


def pulling_away(codes: Tensor) -> Tensor:
    """Return the mean squared cosine between the codes of different samples, in [0, 1].

        PT = 1 / (n (n - 1)) · Σ_i Σ_{j≠i} (s_i · s_j / (|s_i| |s_j|))²

    Zero where all codes are orthogonal, one where all point along one line. Couples the samples
    of a batch (Zhao et al. 2016, 1609.03126, eq. 4; the paper prints 1/(n (n - 1)) for the sum
    over ordered pairs, as here).

    Args:
        codes: `(N, E)`, N at least 2.

    Example:
        >>> pulling_away(torch.eye(3)).item(), pulling_away(torch.tensor([[1.0, 0], [2, 0]])).item()
        (0.0, 1.0)
    """
    n = len(codes)
    unit = F.normalize(codes, dim=1)
    squares = (unit @ unit.T).square()
    return (squares.sum() - squares.diagonal().sum()) / (n * (n - 1))


@OBJECTIVES.register("ebgan")
@dataclass(frozen=True)
class Ebgan(Objective):
    """A margin on the energy of generated images, and codes of a batch that point apart.

    Critic `E L(x) + E max(0, margin - L(G(z)))`; generator `E L(G(z)) + pulling · PT(codes)`
    (Zhao et al. 2016, 1609.03126). The margin is in the units of the energy, whose mean over the
    pixels of images in [-1, 1] is a few tenths at most.

    Args:
        margin: m; generated images with more energy are left alone by the critic.
        pulling: weight of the pulling-away term, 0.1 in the paper's EBGAN-PT; 0 is plain EBGAN.

    Example:
        >>> real = CriticOutput(torch.tensor([0.0, 0.0]), "energy")
        >>> fake = CriticOutput(torch.tensor([0.5, 2.0]), "energy")
        >>> Ebgan(margin=1.0).critic_loss(real, fake, {})[0].item()
        0.25
    """

    margin: float = 0.2
    pulling: float = 0.1
    accepts: ClassVar[frozenset[str]] = frozenset({"energy"})

    def __post_init__(self) -> None:
        if self.margin <= 0 or self.pulling < 0:
            raise UsageError(
                "the margin is above 0 and the pulling-away weight not below",
                f"margin={self.margin}, pulling={self.pulling}",
                "set margin: 0.2 and pulling: 0.1",
            )

    @property
    def needs_features(self) -> bool:  # type: ignore[override]
        return self.pulling > 0

    @property
    def batch_coupled(self) -> bool:  # type: ignore[override]
        return self.pulling > 0

    @property
    def smallest_batch(self) -> int:  # type: ignore[override]
        return 2 if self.pulling > 0 else 1

    def critic_loss(
        self, real: CriticOutput, fake: CriticOutput, state: State
    ) -> tuple[Tensor, State, Logs]:
        inside, outside = real.value.mean(), fake.value
        logs = {"real_energy": inside.detach(), "fake_energy": outside.detach().mean()}
        return inside + F.relu(self.margin - outside).mean(), state, logs

    def generator_loss(
        self, real: CriticOutput | None, fake: CriticOutput, state: State
    ) -> tuple[Tensor, State, Logs]:
        loss = fake.value.mean()
        if not self.pulling:
            return loss, state, {}
        if fake.embedding is None or len(fake.embedding) < 2:
            raise UsageError(
                "the pulling-away term compares the codes of at least 2 images",
                "none" if fake.embedding is None else len(fake.embedding),
                "set batch=2 or more (--set generator.batch=64), or pulling: 0",
            )
        apart = pulling_away(fake.embedding)
        return loss + self.pulling * apart, state, {"pulling_away": apart.detach()}


@OBJECTIVES.register("began")
@dataclass(frozen=True)
class Began(Objective):
    """Keeps the energies of generated and real images at the ratio gamma, by a controller k.

        L_D = L(x) - k_t L(G(z)),   L_G = L(G(z)),   k_0 = 0
        k_{t+1} = clip(k_t + rate · (gamma L(x) - L(G(z))), 0, 1)
        M = L(x) + |gamma L(x) - L(G(z))|        (logged as `convergence`; less is better)

    (Berthelot et al. 2017, 1703.10717, section 3.3-3.4.) `clip=False` leaves k as the papers'
    text has it, where it may leave [0, 1] and turn the critic's game around. M decides which
    state of the run is kept.

    Args:
        gamma: diversity ratio E L(G(z)) / E L(x), 0 to 1: low values favour clean images, high
            ones variety.
        rate: lambda_k, 0.001 in the paper.
        clip: keep k in [0, 1].

    Example:
        >>> real = CriticOutput(torch.tensor([4.0]), "energy")
        >>> fake = CriticOutput(torch.tensor([1.0]), "energy")
        >>> rules = Began(gamma=0.5, rate=0.25)
        >>> loss, state, logs = rules.critic_loss(real, fake, rules.init_state())
        >>> loss.item(), state["k"].item(), logs["convergence"].item()
        (4.0, 0.25, 5.0)
    """

    gamma: float = 0.5
    rate: float = 1e-3
    clip: bool = True
    accepts: ClassVar[frozenset[str]] = frozenset({"energy"})
    batch_coupled: ClassVar[bool] = True  # by the clipping of k, and by M
    converges: ClassVar[str] = "convergence"

    def __post_init__(self) -> None:
        if not 0.0 < self.gamma <= 1.0 or self.rate <= 0:
            raise UsageError(
                "gamma lies above 0 and up to 1, and k moves at a rate above 0",
                f"gamma={self.gamma}, rate={self.rate}",
                "set gamma: 0.5 and rate: 0.001",
            )

    def init_state(self) -> State:
        return {"k": torch.zeros(())}

    def critic_loss(
        self, real: CriticOutput, fake: CriticOutput, state: State
    ) -> tuple[Tensor, State, Logs]:
        inside, outside = real.value.mean(), fake.value.mean()
        k: Tensor = state["k"]
        balance = self.gamma * inside.detach() - outside.detach()
        moved = k + self.rate * balance
        new = moved.clamp(0.0, 1.0) if self.clip else moved
        logs = {
            "real_energy": inside.detach(),
            "fake_energy": outside.detach(),
            "k": new,
            self.converges: inside.detach() + balance.abs(),
        }
        return inside - k.detach() * outside, {**state, "k": new}, logs

    def generator_loss(
        self, real: CriticOutput | None, fake: CriticOutput, state: State
    ) -> tuple[Tensor, State, Logs]:
        return fake.value.mean(), state, {}

"""The classic adversarial objectives, side by side.

With r = D(x) and f = D(G(z)) raw scores (logits), sp(a) = log(1 + e^a) = -log sigmoid(-a):

    name            critic minimises                   generator   source
    minimax         E sp(-r) + E sp(f)                 -E sp(f)    Goodfellow 2014, 1406.2661 eq. 1
    non-saturating  E sp(-r) + E sp(f)                 E sp(-f)    Goodfellow 2014, section 3
    least-squares   E (r - b)² + E (f - a)²            E (f - c)²  Mao 2017, 1611.04076 eq. 2
    wasserstein     E f - E r                          -E f        Arjovsky 2017, 1701.07875
    hinge           E max(0, 1 - r) + E max(0, 1 + f)  -E f        Lim and Ye 2017, 1705.02894;
                                                                   Miyato 2018, 1802.05957 eq. 16-17

E is the mean over the batch and, for a score map, over its cells. None of them keeps state.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from augmint.core.errors import UsageError
from augmint.core.registry import OBJECTIVES
from augmint.core.types import CriticOutput, Logs, State
from augmint.objectives.base import Objective


@dataclass(frozen=True)
class _Adversarial(Objective):
    """Losses of the raw scores alone; subclasses give the two formulas."""

    @abstractmethod
    def _critic(self, real: Tensor, fake: Tensor) -> Tensor: ...

    @abstractmethod
    def _generator(self, fake: Tensor) -> Tensor: ...

    def critic_loss(
        self, real: CriticOutput, fake: CriticOutput, state: State
    ) -> tuple[Tensor, State, Logs]:
        r, f = real.value, fake.value
        logs = {"real_score": r.detach().mean(), "fake_score": f.detach().mean()}
        return self._critic(r, f), state, logs

    def generator_loss(
        self, real: CriticOutput | None, fake: CriticOutput, state: State
    ) -> tuple[Tensor, State, Logs]:
        return self._generator(fake.value), state, {}


@dataclass(frozen=True)
class _LogLikelihood(_Adversarial):
    """The critic of minimax and non-saturating: binary cross-entropy of real against fake."""

    boundary: ClassVar[float | None] = 0.0
    real_label: float = 1.0

    def __post_init__(self) -> None:
        if not 0.5 < self.real_label <= 1.0:
            raise UsageError(
                "the real label is above 0.5 and at most 1",
                self.real_label,
                "set real_label: 0.9 for one-sided smoothing, 1.0 for none",
            )

    def _critic(self, real: Tensor, fake: Tensor) -> Tensor:
        loss = F.softplus(-real).mean() + F.softplus(fake).mean()
        if self.real_label < 1.0:
            # s sp(-r) + (1 - s) sp(r) = sp(-r) + (1 - s) r
            loss = loss + (1.0 - self.real_label) * real.mean()
        return loss


@OBJECTIVES.register("minimax")
@dataclass(frozen=True)
class Minimax(_LogLikelihood):
    """The original zero-sum game, min_G max_D E log D(x) + E log(1 - D(G(z))).

    Critic `E sp(-r) + E sp(f)` >= 0, generator `-E sp(f)` <= 0. At the equilibrium D = 1/2 the
    critic's loss is 2 log 2 and, for the best D, its value is log 4 - 2 JSD(p_data, p_G). The
    generator's gradient, -sigmoid(f) for each score, vanishes when the critic is sure
    (Goodfellow et al. 2014, 1406.2661).

    Args:
        real_label: target for real images; 0.9 smooths one side (Salimans et al. 2016).

    Example:
        >>> import torch
        >>> unsure = CriticOutput(torch.zeros(2))
        >>> loss, _, _ = Minimax().critic_loss(unsure, unsure, {})
        >>> round(loss.item(), 4)
        1.3863
    """

    def _generator(self, fake: Tensor) -> Tensor:
        return -F.softplus(fake).mean()


@OBJECTIVES.register("non-saturating")
@dataclass(frozen=True)
class NonSaturating(_LogLikelihood):
    """The critic of minimax; the generator maximises E log D(G(z)), whose gradient does not vanish.

    Critic `E sp(-r) + E sp(f)`, generator `E sp(-f)`
    (Goodfellow et al. 2014, 1406.2661, section 3).

    Args:
        real_label: target for real images; 0.9 smooths one side (Salimans et al. 2016).

    Example:
        >>> import torch
        >>> score = torch.tensor([-30.0], requires_grad=True)
        >>> loss, _, _ = NonSaturating().generator_loss(None, CriticOutput(score), {})
        >>> loss.backward()
        >>> loss.item(), score.grad.item()
        (30.0, -1.0)
    """

    def _generator(self, fake: Tensor) -> Tensor:
        return F.softplus(-fake).mean()


@OBJECTIVES.register("least-squares")
@dataclass(frozen=True)
class LeastSquares(_Adversarial):
    """Squared distance of raw scores to labels.

    Critic `E (r - b)² + E (f - a)²`, generator `E (f - c)²`, without the factor 1/2 of the paper
    (Mao et al. 2017, 1611.04076). Labels (a, b, c) = (0, 1, 1) by default; (-1, 1, 0) minimises
    Pearson's chi-squared divergence.

    Args:
        fake_label: a.
        real_label: b; 0.9 smooths one side.
        generator_label: c.

    Raises:
        UsageError: for real and generated images of one label.

    Example:
        >>> import torch
        >>> real, fake = CriticOutput(torch.tensor([1.0])), CriticOutput(torch.tensor([3.0]))
        >>> rules = LeastSquares()
        >>> [loss(real, fake, {})[0].item() for loss in (rules.critic_loss, rules.generator_loss)]
        [9.0, 4.0]
    """

    fake_label: float = 0.0
    real_label: float = 1.0
    generator_label: float = 1.0

    def __post_init__(self) -> None:
        if self.real_label == self.fake_label:
            raise UsageError(
                "least-squares gives real and generated images different labels",
                f"{self.real_label:g} for both",
                "set real_label: 1.0 and fake_label: 0.0",
            )

    @property
    def boundary(self) -> float:  # type: ignore[override]
        return (self.fake_label + self.real_label) / 2.0

    def _critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return (real - self.real_label).square().mean() + (fake - self.fake_label).square().mean()

    def _generator(self, fake: Tensor) -> Tensor:
        return (fake - self.generator_label).square().mean()


@OBJECTIVES.register("wasserstein")
@dataclass(frozen=True)
class Wasserstein(_Adversarial):
    """The dual form of the earth mover's distance, for a critic that is 1-Lipschitz.

    Critic `E f - E r` (minus the estimated distance), generator `-E f` (Arjovsky et al. 2017,
    1701.07875). What keeps the critic Lipschitz is not part of it: clip its weights in the loop,
    add the gradient penalty, or use spectral normalisation.

    Example:
        >>> import torch
        >>> real, fake = CriticOutput(torch.tensor([5.0])), CriticOutput(torch.tensor([2.0]))
        >>> rules = Wasserstein()
        >>> [loss(real, fake, {})[0].item() for loss in (rules.critic_loss, rules.generator_loss)]
        [-3.0, -2.0]
    """

    def _critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake.mean() - real.mean()

    def _generator(self, fake: Tensor) -> Tensor:
        return -fake.mean()


@OBJECTIVES.register("hinge")
@dataclass(frozen=True)
class Hinge(_Adversarial):
    """A margin for the critic, a linear loss for the generator.

    Critic `E max(0, 1 - r) + E max(0, 1 + f)`: scores beyond the margin give no gradient;
    generator `-E f` (Lim and Ye 2017, 1705.02894; Miyato et al. 2018, 1802.05957).

    Example:
        >>> import torch
        >>> real, fake = CriticOutput(torch.tensor([2.0])), CriticOutput(torch.tensor([-2.0]))
        >>> rules = Hinge()
        >>> [loss(real, fake, {})[0].item() for loss in (rules.critic_loss, rules.generator_loss)]
        [0.0, 2.0]
    """

    boundary: ClassVar[float | None] = 0.0

    def _critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean()

    def _generator(self, fake: Tensor) -> Tensor:
        return -fake.mean()

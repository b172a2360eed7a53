"""VAR: a versatile auxiliary regressor beside the critic.

The regressor R has its own optimiser and the critic is left alone. With V the adversarial game, l a
loss of one component, y the K values asked for (encoded) and e = y - R,

    critic: V,    R: mean_k l(y_k, R(x)_k),
    generator: theta · V + zeta · mean_k l(y_k, R(G(z, y))_k)

**The theorem, and what is left of it.** The paper (Bazrafkan and Corcoran 2018, arXiv:1805.10864)
prints l = -log(1 - e) and argues that a generator that lowers it lowers the entropy of its images
for a target, and raises the divergence between those of two targets. The loss as printed is no
distance, so that both are claims to be measured (`benchmarks/var_theorem.py`):

1. it is undefined for e >= 1, where values in (-1, 1) give e in (-2, 2);
2. its derivative by R is -1 / (1 - e) < 0 throughout: it falls without end as R grows, and is
   negative beyond y, so that its least value is at R → ∞ (R → 1 behind a tanh), not at R = y;
3. proposition 1 sets an integral to 0, which has no solution; with the integrand p / (R - y + 1)
   set to a constant c it is R* = p / c + y - 1, which is stationary but no minimum;
4. theorem 2's stationary point R = -(p1 c2 + p2 c1) / (p1 + p2), c_i = 1 - y_i, makes c1 + R and
   c2 + R of opposite sign, so that one of its two logarithms is of a negative number whenever
   y1 != y2: the final formula holds both log(c1 - c2) and log(c2 - c1);
5. equations 12 to 14 have a plus for a minus before the second integral, 13 lost its factors p1 and
   p2, and the constant is + log 4, not - log 4: formally
   L_R = -log(c1 - c2) - log(c2 - c1) + log 4 - 2 JSD(p1 ‖ p2);
6. theorem 1, L_R = H(p) + log c, is right, given that R*;
7. equation 3.3 of the thesis is the same loss.

What holds for any loss whose only minimum is e = 0: the generator's best answer to R is a set of
images on which R says y, and such sets for two targets are disjoint.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from augmint.aspects.base import Aspect
from augmint.conditioning.auxiliary import (
    Auxiliary,
    BesideCritic,
    TrainsOn,
    check_weights,
    narrow_network,
)
from augmint.conditioning.base import ConditioningContext
from augmint.conditioning.encoding import beside, encode
from augmint.core.errors import IncompatibleError
from augmint.core.registry import CONDITIONING, Spec
from augmint.core.types import AspectValues, Shape

EPSILON = 1e-6
HUBER = 0.1

Loss = Literal["authors", "symmetric", "clipped", "squared", "l1", "huber"]

LOSSES: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "authors": lambda e: torch.log(1.0 + e.abs() + EPSILON),
        "symmetric": lambda e: -torch.log(1.0 - 0.5 * e.abs() + EPSILON),
        "clipped": lambda e: -torch.log((1.0 - e).clamp_min(EPSILON)),
        "squared": torch.square,
        "l1": torch.abs,
        "huber": lambda e: F.huber_loss(e, torch.zeros_like(e), reduction="none", delta=HUBER),
    }
)
"""Losses of one component by name, of e = y - R.

| name | l(e) | remark |
|---|---|---|
| authors | log(1 + abs(e) + ε) | the program's: finite, least at 0, its gradient at most 1 |
| symmetric | -log(1 - abs(e) / 2 + ε) | the printed one made a distance: a barrier at abs(e) = 2 |
| clipped | -log(max(1 - e, ε)) | the printed one made finite: pulls R above y, for comparison |
| squared | e² | |
| l1 | abs(e) | |
| huber | e² / 2 up to 0.1, then 0.1 (abs(e) - 0.05) | |
"""


@dataclass(frozen=True)
class Regressor(Auxiliary):
    """Says values: one output a component of each vector, two a landmark.

    The loss of a sample is the mean over its components, summed over the aspects. Coordinates that
    are not labelled do not count; a sample without any has a loss of 0. Outputs for encodings that
    lie in [-1, 1] (landmarks, vectors with bounds) pass through tanh, others do not.

    Args:
        network, zeta, trains_on: see `Auxiliary`.
        loss: of one component; see `LOSSES`.

    Example:
        >>> from augmint.aspects.vector import Vector
        >>> age = Vector("age", ("years",), low=(0.0,), high=(100.0,))
        >>> Regressor(loss="l1").losses([age], torch.zeros(1, 1), {"age": torch.tensor([[75.0]])})
        tensor([0.5000])
    """

    network: Spec = field(default_factory=narrow_network)
    zeta: float = 1.0
    trains_on: TrainsOn = "real"
    loss: Loss = "authors"
    kinds: ClassVar[frozenset[str]] = frozenset({"vector", "landmarks"})
    key: ClassVar[str] = "regressor"
    taught: ClassVar[str] = "value_loss"

    def __post_init__(self) -> None:
        check_weights(zeta=self.zeta)

    def check(self, owner: str, aspects: Collection[Aspect], shape: Shape) -> None:
        super().check(owner, aspects, shape)
        for aspect in (a for a in aspects if not a.bounded):
            if self.loss == "symmetric":
                raise IncompatibleError(
                    f"the loss 'symmetric' of {owner} takes values between two bounds",
                    f"{aspect.name}, which has none",
                    "give the vector low and high, or set loss: authors",
                )
            if self._ends_in_bounds():
                raise IncompatibleError(
                    f"the regressor of {owner} reaches all values that it is to say",
                    f"{aspect.name}, which has no bounds, and {self.network}, whose outputs have",
                    "give the vector low and high, or set network: small-cnn",
                )

    def losses(self, aspects: Sequence[Aspect], outputs: Tensor, values: AspectValues) -> Tensor:
        pieces = self.said(aspects, outputs)
        found = []
        for aspect, said in zip(aspects, pieces, strict=True):
            wanted = encode(aspect, values[aspect.name])
            if aspect.bounded:
                wanted = wanted.clamp(-1.0, 1.0)  # points beside the frame: tanh cannot reach them
            known = aspect.labelled(values[aspect.name])
            each = LOSSES[self.loss](wanted - said) * known
            found.append(each.sum(1) / known.sum(1).clamp_min(1))
        return torch.stack(found).sum(0)

    def said(self, aspects: Sequence[Aspect], outputs: Tensor) -> list[Tensor]:
        """Return what the network's outputs say of each aspect, encoded, `(N, width)` each."""
        pieces = outputs.split([a.width for a in aspects], 1)
        if self._ends_in_bounds():
            return list(pieces)
        return [p.tanh() if a.bounded else p for a, p in zip(aspects, pieces, strict=True)]

    def _ends_in_bounds(self) -> bool:
        return self.architecture(self.key).bounded


@dataclass(frozen=True)
class CodesValues(BesideCritic):
    """Gives the generator the code of its aspects, values times a gain.

    Args:
        gain: factor on the encodings of vectors and landmarks in the generator's input. A face's
            landmarks move by about a tenth of the frame, which is little beside noise of
            deviation 1. What enters as maps is left as it is.
    """

    gain: float = 4.0

    def code(self, context: ConditioningContext, aspects: AspectValues) -> Tensor:
        codes = [self.code_of(a, aspects[a.name]) for a in self.as_code(context)]
        return beside(codes, aspects)

    def code_of(self, aspect: Aspect, values: Tensor) -> Tensor:
        """Return the part of the code that one aspect has, `(N, its width)`."""
        encoded = encode(aspect, values)
        return self.gain * encoded if aspect.kind in Regressor.kinds else encoded


@CONDITIONING.register("var")
@dataclass(frozen=True)
class Var(CodesValues):
    """An auxiliary regressor in parallel with the critic (Bazrafkan and Corcoran 2018).

    Conditions any generator on vectors and landmarks: `theta · adversarial + zeta · L_R`, with
    `L_R = mean_k l(y_k - R(G(z, y))_k)`; R trains on `L_R` of real images, of generated ones, or of
    both in one batch. R's weights are frozen by the loop in the generator's phase, in which it is
    in evaluation mode.

    **Latent.** Noise, then the encoded values times `gain`. The paper's is 98 landmark coordinates
    and 30 uniform numbers: `latent="uniform"` and a latent_dim of 30.

    Args:
        network: architecture of R, a classifier or regressor.
        zeta: weight of the regression loss on the generator; 0.03 in the paper, with a BEGAN.
        theta: weight of the adversarial loss on the generator; 0.97 in the paper.
        loss: of one component; see `LOSSES`. The default is what the authors' program trains.
        trains_on: what trains R; "both" is the authors' program.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.aspects.vector import Vector
        >>> age = Vector("age", ("years",), low=(0.0,), high=(100.0,))
        >>> context = ConditioningContext(Schema((age,)), (1, 8, 8), latent_dim=4)
        >>> code = Var(gain=4.0).code(context, {"age": torch.tensor([[75.0]])})
        >>> code, Var().latent_width(context)
        (tensor([[2.]]), 5)
    """

    network: Spec = field(default_factory=narrow_network)
    zeta: float = 1.0
    theta: float = 1.0
    loss: Loss = "authors"
    trains_on: TrainsOn = "real"
    kinds: ClassVar[frozenset[str]] = Regressor.kinds
    title: ClassVar[str] = "var"

    def __post_init__(self) -> None:
        check_weights(zeta=self.zeta, theta=self.theta, gain=self.gain)

    def members(self) -> Sequence[Auxiliary]:
        return (Regressor(self.network, self.zeta, self.trains_on, self.loss),)

    def adversarial_weight(self) -> float:
        return self.theta

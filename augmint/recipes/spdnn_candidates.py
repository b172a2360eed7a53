"""What comparisons at equal size train: a network of operations, or an architecture scaled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from augmint.core.registry import Spec, split_spec
from augmint.core.streams import scope
from augmint.merging.network import Network
from augmint.merging.shapes import totals

if TYPE_CHECKING:
    from torch import nn

    from augmint.core.types import Shape

KERNEL = 3
"""Side of the convolution that gives the maps of a network whose output is no vector."""


@dataclass(frozen=True)
class Ending:
    """What every network gives for an image.

    Args:
        outputs: numbers, or maps.
        flat: numbers `(N, outputs)`; otherwise maps `(N, outputs, H, W)` of the image's size.

    Example:
        >>> Ending(10, True).word, Ending(4, False).word
        ('10F', '3C:4')
    """

    outputs: int
    flat: bool

    @property
    def word(self) -> str:
        """The last layer in the notation of `augmint.merging.notation`."""
        return f"{self.outputs}F" if self.flat else f"{KERNEL}C:{self.outputs}"


@dataclass(frozen=True)
class Candidate(ABC):
    """A network that is trained beside others of its size.

    Args:
        parameters: that are trained.
        multiplications: of convolutions and dense layers for one image.
    """

    parameters: int
    multiplications: int

    @abstractmethod
    def build(self, seed: int) -> nn.Module:
        """Return the network, initialised by the seed."""


@dataclass(frozen=True)
class Operations(Candidate):
    """A network as merges write it.

    Args:
        network: its operations.

    Example:
        >>> from augmint.merging.notation import chain
        >>> found = Operations.of(chain("n", (1, 8, 8), "3C:4 10F", norm="none"))
        >>> found.parameters == (9 * 4 + 4) + (256 * 10 + 10), found.multiplications
        (True, 4864)
    """

    network: Network

    @classmethod
    def of(cls, network: Network) -> Operations:
        """Return a network with its counts."""
        counts = totals(network)
        return cls(counts["parameters"], counts["multiplications"], network)

    def build(self, seed: int) -> nn.Module:
        from augmint.merging.build import build

        with scope(seed, "task.init"):
            return build(self.network)


@dataclass(frozen=True)
class Scaled(Candidate):
    """An architecture of the axis `architectures`, its `channels` chosen for a budget.

    torch.fx cannot read networks that ask for the size of a map while they run, as those with
    skips and recalled maxima do; so their width is searched as a whole.

    Args:
        spec: the architecture with its width.
        shape: of one image.
        ending: what it gives.
    """

    spec: Mapping[str, Any]
    shape: Shape
    ending: Ending

    @classmethod
    def of(cls, spec: Spec, shape: Shape, ending: Ending, budget: int) -> Scaled:
        """Return an architecture at the width whose parameters are nearest to a budget.

        Parameters grow with `channels`: these are doubled until they reach the budget, then
        bisected. Of two widths that are as near the smaller is taken.

        Raises:
            UsageError: for an unknown architecture, one without `channels`, of another role, or
                that cannot be built for such images.
        """
        name, fields = split_spec(spec, "architecture")

        def made(channels: int) -> Scaled:
            wide = cls(0, 0, {**fields, "name": name, "channels": channels}, shape, ending)
            parameters, multiplications = counted(wide.build(0), shape)
            return cls(parameters, multiplications, wide.spec, shape, ending)

        found = [made(1)]
        while found[-1].parameters < budget:
            found.append(made(2 * found[-1].spec["channels"]))
        low, high = (found[-2] if len(found) > 1 else found[0]), found[-1]
        while high.spec["channels"] - low.spec["channels"] > 1:
            middle = made((low.spec["channels"] + high.spec["channels"]) // 2)
            low, high = (middle, high) if middle.parameters < budget else (low, middle)
        return min((low, high), key=lambda c: abs(c.parameters - budget))

    def build(self, seed: int) -> nn.Module:
        from augmint.tasks.config import TaskConfig
        from augmint.tasks.trained import build_network

        config = TaskConfig(network=self.spec)
        ending = self.ending
        return build_network(config, self.shape, ending.outputs, seed=seed, flat=ending.flat)


def counted(network: nn.Module, shape: Shape) -> tuple[int, int]:
    """Return a module's parameters, and its multiplications for one image of `shape`.

    A multiplication is counted as torch counts two operations, for convolutions and dense layers.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network.eval()(torch.zeros(1, *shape))
    return sum(p.numel() for p in network.parameters()), counter.get_total_flops() // 2

"""What a task trains, and for how long: readable without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from augmint.aspects.category import LABEL
from augmint.core.errors import UsageError
from augmint.core.registry import Spec

if TYPE_CHECKING:
    from augmint.core.types import Shape


@dataclass(frozen=True)
class TaskConfig:
    """The network that is measured and how it is trained; the same for every arm of a study.

    Args:
        kind: of the task: what is predicted, and how it is scored.
        network: one of ours, by name or with fields; not read where `model` is given. Other tasks
            than classification have other defaults (`Task.configured`).
        model: the user's own network, "file.py:make_net".
        weights: a safetensors file of initial weights for the user's network.
        size: (height, width) that the network sees; images are resampled to it once, before
            training (antialiased bilinear). None: as they are. Maps that it answers with are
            resampled back (bilinear), losses and scores are taken at the stored size.
        steps: optimiser steps.
        batch: images a step.
        learning_rate: AdamW's rate at the peak of one cycle.
        weight_decay: AdamW's decoupled decay.
        precision: "bf16" runs the forward pass under autocast.
        aspect: the aspect that is predicted; "label" stands for the only one of the task's kind,
            where none of that kind has this name.

    Example:
        >>> TaskConfig(size=(32, 48)).seen((3, 128, 192))
        (3, 32, 48)
    """

    network: Spec = "small-cnn"
    model: str | None = None
    weights: str | None = None
    size: tuple[int, int] | None = None
    steps: int = 1000
    batch: int = 64
    learning_rate: float = 5e-3
    weight_decay: float = 1e-2
    precision: Literal["fp32", "bf16"] = "fp32"
    aspect: str = LABEL
    kind: str = "classification"

    def __post_init__(self) -> None:
        for name, low in (("steps", 1), ("batch", 2)):
            if getattr(self, name) < low:
                raise UsageError(
                    f"task.{name} is at least {low}",
                    getattr(self, name),
                    f"set task.{name}={max(low, 64)} (--set task.{name}={max(low, 64)})",
                )
        if not self.learning_rate > 0:
            raise UsageError(
                "task.learning_rate is above 0",
                self.learning_rate,
                "set task.learning_rate=0.005 (--set task.learning_rate=0.005)",
            )
        if not self.weight_decay >= 0:
            raise UsageError(
                "task.weight_decay is not negative",
                self.weight_decay,
                "set task.weight_decay=0.01 (--set task.weight_decay=0.01)",
            )
        if self.size is not None and not all(4 <= side <= 1024 for side in self.size):
            raise UsageError(
                "task.size is a height and a width of 4 to 1024 px",
                list(self.size),
                "set task.size=[32,32] (--set task.size=[32,32])",
            )
        if self.weights is not None and self.model is None:
            raise UsageError(
                "initial weights belong to the user's own network",
                self.weights,
                "pass model='file.py:make_net' (--model) with them",
            )

    def seen(self, shape: Shape) -> Shape:
        """Return the shape that the network sees of images of `shape`."""
        return shape if self.size is None else (shape[0], *self.size)

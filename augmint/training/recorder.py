"""Logs without waiting: sums stay on the device and are read at intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from augmint.core.types import Logs
from augmint.training.state import Saved


class Recorder:
    """Means of scalars over intervals of steps.

    Args:
        interval: steps between two readings; only a reading waits for the device.

    Attributes:
        history: one mapping a reading: `step` and the mean of each scalar since the last one.
        on_read: given the step and the means of each reading; of no reading before a resumption.

    Example:
        >>> recorder = Recorder(interval=2)
        >>> for loss in (1.0, 3.0):
        ...     recorder.add({"loss": torch.tensor(loss)})
        >>> recorder.due(2), recorder.read(2), recorder.history
        (True, {'loss': 2.0}, [{'step': 2, 'loss': 2.0}])
    """

    def __init__(self, interval: int = 100) -> None:
        self.interval = interval
        self.history: list[dict[str, float]] = []
        self.on_read: Callable[[int, Mapping[str, float]], None] | None = None
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, logs: Logs) -> None:
        """Count scalars in."""
        for name, value in logs.items():
            if name in self._sums:
                self._sums[name] += value.detach()
                self._counts[name] += 1
            else:
                self._sums[name] = value.detach().clone()
                self._counts[name] = 1

    def due(self, step: int) -> bool:
        """Whether this step ends an interval."""
        return step % self.interval == 0

    def read(self, step: int) -> dict[str, float]:
        """Return the means since the last reading, and begin anew."""
        names = sorted(self._sums)
        values: list[float] = []
        if names:
            counts = torch.tensor([self._counts[n] for n in names], dtype=torch.float64)
            sums = torch.stack([self._sums[n].double() for n in names])
            values = (sums.cpu() / counts).tolist()
        numbers = dict(zip(names, values, strict=True))
        self.history.append({"step": step, **numbers})
        self._sums, self._counts = {}, {}
        if self.on_read is not None:
            self.on_read(step, numbers)
        return numbers

    def forget(self, step: int) -> None:
        """Drop what was read after a step that the run goes back to."""
        self.history = [h for h in self.history if h["step"] <= step]

    def save(self) -> Saved:
        """Return the history and the open sums."""
        return dict(self._sums), {"history": list(self.history), "counts": dict(self._counts)}

    def load(self, tensors: Mapping[str, Tensor], plain: Any) -> None:
        """Take history and sums back."""
        self._sums = {k: v.clone() for k, v in tensors.items()}
        self._counts = dict(plain["counts"])
        self.history = list(plain["history"])

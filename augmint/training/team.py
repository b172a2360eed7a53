"""What the processes of one training run do together: shares of a batch, means, agreement.

A phase knows its team, and the loop asks it; `parallel` starts and ends the processes.
"""

from __future__ import annotations

import contextlib
import json
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor

from augmint.core.errors import AugmintError, single_line
from augmint.training.state import Parts


class PeerLostError(RuntimeError):
    """Another process of the team is gone, or answers no more."""


@dataclass
class Team:
    """What one process knows of all: its rank, their number, and how to talk to them.

    Args:
        rank: 0 leads.
        size: number of processes.
        device: where tensors are exchanged.
        also: gives the tensors, besides gradients and logs, that a phase changes from its slice.

    Attributes:
        seconds: spent in `average`, waiting for slower processes included (on a GPU: queueing).
    """

    rank: int
    size: int
    device: torch.device
    also: Callable[[], Iterable[Tensor]] = tuple
    seconds: float = 0.0
    _buffers: dict[tuple[torch.dtype, int], Tensor] = field(default_factory=dict)

    @property
    def leads(self) -> bool:
        """Whether this process writes, shows progress and answers signals."""
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """Return this process's rows of a batch; `size` divides `batch`.

        Example:
            >>> Team(1, 2, torch.device("cpu")).share(64)
            slice(32, 64, None)
        """
        rows = batch // self.size
        return slice(self.rank * rows, (self.rank + 1) * rows)

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace the values of the tensors, and of `also`, by their means over all processes.

        One all-reduce of one flat buffer for each type of floating number (there is mostly one).

        Raises:
            PeerLostError: if a process is gone.
        """
        start = time.perf_counter()
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for tensor in (*tensors, *self.also()):
            if tensor.is_floating_point():
                # .data: backward passes to come may hold these, and none reads what changes here
                by_type.setdefault(tensor.dtype, []).append(tensor.data)
        for dtype, group in by_type.items():
            sizes = [t.numel() for t in group]
            flat = self._buffers.get((dtype, sum(sizes)))
            if flat is None:
                flat = torch.empty(sum(sizes), dtype=dtype, device=self.device)
                self._buffers[dtype, sum(sizes)] = flat
            pieces = [p.view_as(t) for p, t in zip(flat.split(sizes), group, strict=True)]
            torch._foreach_copy_(pieces, group)
            with peers():
                dist.all_reduce(flat)
            flat.div_(self.size)
            torch._foreach_copy_(group, pieces)
        self.seconds += time.perf_counter() - start

    def mean(self, value: float) -> float:
        """Return the mean of a number over all processes, the same on each."""
        number = torch.tensor([value], dtype=torch.float64, device=self.device)
        with peers():
            dist.all_reduce(number)
        return float(number) / self.size

    def agree(self, step: int, parts: Parts) -> None:
        """Compare step and state with those of the other processes.

        Raises:
            AugmintError: if they are not the same to the last bit; all processes raise it.
            PeerLostError: if a process is gone.
        """
        tensors, plain = parts.save()
        order = sorted(tensors)  # a loaded checkpoint has an order of its own
        names = ["the step", "the state outside tensors", *order]
        text = json.dumps(plain, sort_keys=True).encode()
        # bits as integers: exact in any order of addition, and equal where nothing is finite
        sums = [_bits(tensors[k]).sum(dtype=torch.int64).reshape(1).to(self.device) for k in order]
        numbers = torch.tensor([step, zlib.crc32(text)], device=self.device)
        mine = torch.cat([numbers, *sums])
        all_of_them = [torch.empty_like(mine) for _ in range(self.size)]
        with peers():
            dist.all_gather(all_of_them, mine)
        for rank, theirs in enumerate(all_of_them):
            wrong = torch.nonzero(theirs != all_of_them[0]).flatten()
            if len(wrong):
                raise AugmintError(
                    "all processes of a run hold the same weights and state",
                    f"{names[int(wrong[0])]} of process {rank} at step {step}",
                    "train on one process (--processes 1)",
                )


def _bits(tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    sizes = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.detach().view(sizes[tensor.element_size()])


@contextlib.contextmanager
def peers() -> Iterator[None]:
    """Let what torch says of processes that are gone be a `PeerLostError`."""
    try:
        yield
    except RuntimeError as error:
        raise PeerLostError(single_line(str(error))) from None

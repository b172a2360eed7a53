"""What the machine offers and how it is set up: allocator, threads, device, measured ceilings."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from augmint.core.errors import UsageError

if TYPE_CHECKING:
    import torch

# <malloc.h> of the GNU C library
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


@functools.cache
def set_allocator() -> str:
    """Let freed memory stay with the process, so that large tensors cost no page faults.

    Large blocks come from the heap (no mmap), the heap is never trimmed and grows by 64 MB, and
    torch asks for huge pages. Training of batch-normalised networks gains a factor of 1.2 to 1.4
    on a CPU. Call it before torch makes its first tensor; a second call does nothing.
    AUGMINT_ALLOCATOR=0 turns it off.

    Returns:
        What was done, in words, for `augmint doctor`.
    """
    if os.environ.get("AUGMINT_ALLOCATOR") == "0":
        return "default allocator (AUGMINT_ALLOCATOR=0)"
    if platform.libc_ver()[0] != "glibc":
        return f"default allocator ({sys.platform} without the GNU C library)"
    early = "torch" not in sys.modules
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 << 20))
    if not all(mallopt(option, value) for option, value in settings):
        return "default allocator (the C library refused the settings)"
    return "freed memory kept (no mmap, no trim), " + (
        "huge pages asked for" if early else "huge pages not asked for (torch was imported before)"
    )


def give_back_memory() -> None:
    """Return freed memory to the system, as between stages, whose sizes differ; else do nothing."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def single_thread() -> Iterator[None]:
    """Run the block on one thread: one process a core, and results that do not depend on cores.

    Example:
        >>> import torch
        >>> before = torch.get_num_threads()
        >>> with single_thread():
        ...     torch.get_num_threads()
        1
        >>> torch.get_num_threads() == before
        True
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def resolve_device(name: str = "auto") -> torch.device:
    """Return the device called "auto", "cpu" or "cuda" ("auto": cuda where there is one).

    Raises:
        UsageError: if the name is none of them, or cuda is asked for and absent.

    Example:
        >>> resolve_device("cpu")
        device(type='cpu')
    """
    import torch

    kind, _, index = name.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (index and not index.isdecimal()):
        raise UsageError(
            "the device is auto, cpu or cuda", name, "pass device='auto' (--device auto)"
        )
    present = torch.cuda.is_available()
    if kind == "auto":
        return torch.device("cuda" if present else "cpu")
    if kind == "cuda" and (not present or int(index or 0) >= torch.cuda.device_count()):
        raise UsageError(
            "the device cuda needs a GPU that torch can use",
            f"{name} ({torch.cuda.device_count()} found)",
            "pass device='cpu' (--device cpu), or install a build of torch with CUDA",
        )
    return torch.device(name)


def ceilings() -> dict[str, float]:
    """Measure, in about a second and on one thread, what this CPU can do.

    Returns:
        `fp32_gflops` and `bf16_gflops` of a 3x3 convolution (64 to 64 channels, 32 px, batch 16,
        channels last), and `copy_gbytes` a second of a 64 MB copy (read plus write).
    """
    import torch

    found = {}
    with single_thread(), torch.inference_mode():
        for label, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            net = torch.nn.Conv2d(64, 64, 3, padding=1, bias=False)
            net = net.to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            x = torch.zeros(16, 64, 32, 32, dtype=dtype).to(memory_format=torch.channels_last)
            work = 2.0 * 16 * 32 * 32 * 64 * 64 * 9
            found[f"{label}_gflops"] = work / _best(functools.partial(net, x)) / 1e9
        source = torch.zeros(16 << 20)
        target = torch.zeros_like(source)
        copied = 2.0 * source.numel() * source.element_size()
        found["copy_gbytes"] = copied / _best(lambda: target.copy_(source)) / 1e9
    return found


def _best(call: Callable[[], object], seconds: float = 0.25) -> float:
    """The shortest time of a call, in seconds, over a quarter of a second of calls."""
    call()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best

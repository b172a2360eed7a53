"""How long work in a thread is asked to stop: by an event that its loops look at.

Signals reach the main thread alone; work in another thread, or in a process that is not ours to
signal, is asked by an event. A loop that keeps checkpoints saves one and ends, as after Ctrl-C.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_asked = threading.local()


@contextmanager
def stoppable(event: threading.Event) -> Iterator[None]:
    """Let loops that run in this thread within the block look at `event`.

    Example:
        >>> asked = threading.Event()
        >>> with stoppable(asked):
        ...     asked.set()
        ...     stop_event().is_set()
        True
        >>> stop_event().is_set()
        False
    """
    before = getattr(_asked, "event", None)
    _asked.event = event
    try:
        yield
    finally:
        _asked.event = before


def stop_event() -> threading.Event:
    """Return the event that asks this thread to stop, or a new one where there is none."""
    return getattr(_asked, "event", None) or threading.Event()

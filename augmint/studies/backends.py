"""Every backend of a study by its name: what `backend=` and `--backend` take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from augmint.studies.clusters import dask, ray
from augmint.studies.workers import Pool, Wave, loky, sequential


@dataclass(frozen=True)
class Backend:
    """A way to run waves of jobs.

    Args:
        open: opens its pool, once for a whole study.
        local: its workers are processes that this one started and may signal.
        cluster: it takes an address.

    Example:
        >>> [name for name, backend in BACKENDS.items() if backend.cluster]
        ['dask', 'ray']
    """

    open: Callable[[Pool], AbstractContextManager[Wave]]
    local: bool = False
    cluster: bool = False


BACKENDS: Mapping[str, Backend] = {
    "sequential": Backend(sequential),
    "loky": Backend(loky, local=True),
    "dask": Backend(dask, cluster=True),
    "ray": Backend(ray, cluster=True),
}
"""Every backend by its name."""

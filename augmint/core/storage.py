"""Full disks, read-only folders and missing rights as errors of one line."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from augmint.core.errors import UsageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG}
_BROKEN = {errno.EIO, errno.ENODEV, errno.ESTALE}


@contextlib.contextmanager
def storage(folder: Path) -> Iterator[None]:
    """Turn what a disk refuses within the block into a `UsageError` that names the folder.

    Args:
        folder: where the block writes.

    Raises:
        UsageError: for a full disk, a folder that cannot be written, a disk that fails.

    Example:
        >>> with storage(Path("out")):  # doctest: +ELLIPSIS
        ...     raise OSError(errno.ENOSPC, "No space left on device")
        Traceback (most recent call last):
        augmint.core.errors.UsageError: there is room on the disk for what is written; got ...
    """
    try:
        yield
    except OSError as error:
        found = storage_error(error, folder)
        if found is None:
            raise
        raise found from None


def storage_error(error: OSError, folder: Path) -> UsageError | None:
    """Return an operating system's error as a user's, or None where it is no disk's.

    Example:
        >>> storage_error(OSError(errno.EROFS, "Read-only file system"), Path("out")).value
        'out (Read-only file system)'
        >>> storage_error(OSError(errno.EPIPE, "Broken pipe"), Path("out")) is None
        True
    """
    place = folder if error.filename is None else Path(os.fsdecode(error.filename))
    # names of our own, that nobody knows
    if any(p.startswith(".") and p.endswith(".part") for p in place.parts):
        place = folder
    elif place.name.startswith(".") and place.name.endswith(".tmp"):
        place = place.parent
    said = f"{place} ({error.strerror or error})"
    # numpy says how much was written, and not why it was too little
    if error.errno in _FULL or (error.errno is None and "requested and" in str(error)):
        return UsageError(
            "there is room on the disk for what is written",
            f"{place} ({error.strerror or 'cut short'}, {_free(place)} free)",
            "free some space there, then run the same command again to go on",
        )
    if error.errno in _CLOSED:
        return UsageError(
            "results go into a folder that can be written",
            said,
            "change its rights, or choose another folder (--out DIR)",
        )
    if error.errno in _BROKEN:
        return UsageError(
            "results go into a folder on a disk that works",
            said,
            "choose another folder (--out DIR)",
        )
    return None


def _free(place: Path) -> str:
    for folder in (place, *place.absolute().parents):
        with contextlib.suppress(OSError):
            return f"{shutil.disk_usage(folder).free / 1e6:.1f} MB"
    return "unknown"

"""When a run is saved, and how it goes on: the newest valid checkpoint, part by part."""

from __future__ import annotations

import time
from pathlib import Path

from augmint.core.errors import UsageError
from augmint.core.runs import load_checkpoint, save_checkpoint
from augmint.training.state import Parts


class Checkpointer:
    """Saves the parts of a run now and then, and loads them once.

    Args:
        folder: where the checkpoints lie.
        parts: what is saved.
        identity: a fingerprint of configuration and data; a checkpoint of another is refused.
        steps: a checkpoint may be due every so many steps …
        seconds: … if at least so many seconds have passed (this changes no result).
        writes: False reads only: one of several processes writes.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Checkpointer(Path(folder), Parts(), "this run").save(step=7)
        ...     Checkpointer(Path(folder), Parts(), "this run").resume()
        7
    """

    def __init__(
        self,
        folder: Path,
        parts: Parts,
        identity: str,
        steps: int = 250,
        seconds: float = 30.0,
        writes: bool = True,
    ) -> None:
        self.folder = folder
        self.parts = parts
        self.identity = identity
        self.steps = steps
        self.seconds = seconds
        self.writes = writes
        self._saved: int | None = None
        self._last = time.monotonic()

    def resume(self) -> int:
        """Load the newest valid checkpoint and return its step, or 0 where there is none.

        Raises:
            UsageError: if the checkpoint is another run's.
            DataError: if it does not fit the networks.
        """
        found = load_checkpoint(self.folder)
        if found is None:
            return 0
        if found.state.get("identity") != self.identity:
            raise UsageError(
                "a run folder belongs to one configuration, seed and data set",
                str(self.folder),
                "repeat the first command unchanged, or choose another folder (--out)",
            )
        self.parts.load(found.tensors, found.state.get("parts"))
        self._saved = found.step
        return found.step

    def due(self, step: int) -> bool:
        """Whether a checkpoint should be written after this step."""
        return step % self.steps == 0 and time.monotonic() - self._last >= self.seconds

    def save(self, step: int) -> None:
        """Write a checkpoint, unless this step is saved already."""
        if step == self._saved or not self.writes:
            return
        tensors, plain = self.parts.save()
        save_checkpoint(self.folder, step, tensors, {"identity": self.identity, "parts": plain})
        self._saved, self._last = step, time.monotonic()

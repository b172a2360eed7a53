"""Trackers: what a run logs, also shown in a tool of the user's choice; they can never fail it.

`events.jsonl` and the run's own pictures are written always. A tracker is an optional extra beside
them: if its package is missing, that is said before anything starts; whatever goes wrong later
costs one line of warning, the tracker is switched off, and the run goes on.

Members: `tensorboard`, `wandb`, `mlflow`. To add one, write a class with `open`, and name it in
`TRACKERS`. Nothing leaves the machine unless the tool's own environment variable asks for it.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from augmint.core.errors import UsageError, nearest, single_line


class Log(Protocol):
    """An open log of one run."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers of a step."""

    def picture(self, step: int, name: str, png: bytes) -> None:
        """Log a picture of a step."""

    def close(self) -> None:
        """Write what is left."""


@dataclass(frozen=True)
class Tracker:
    """A tool that shows runs.

    Args:
        package: the import name that must be there; the extra has the tracker's name.
        open: starts a log from (folder, name of the run, plain configuration).
    """

    package: str
    open: Callable[[Path, str, Mapping[str, Any]], Log]


class TensorBoardLog:
    """Event files in `FOLDER/tensorboard`; look at them with `tensorboard --logdir FOLDER`."""

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"))
        lines = (f"    {key}: {value}" for key, value in flat(config).items())
        self._writer.add_text("configuration", "\n".join(lines), 0)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers of a step."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def picture(self, step: int, name: str, png: bytes) -> None:
        """Log a picture of a step."""
        self._writer.add_image(name, pixels(png), step, dataformats="HWC")

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class WandbLog:
    """A Weights & Biases run, offline in `FOLDER/wandb` unless WANDB_MODE says otherwise."""

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # read when it is imported
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        mode = os.environ.get("WANDB_MODE", "offline")
        self._image = wandb.Image
        settings = wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "augmint"),
            name=name,
            dir=str(folder),
            config=dict(config),
            mode=mode,
            settings=settings,
        )
        self._run.define_metric("*", step_metric="step")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers of a step."""
        self._run.log({**values, "step": step})

    def picture(self, step: int, name: str, png: bytes) -> None:
        """Log a picture of a step."""
        self._run.log({name: self._image(pixels(png)), "step": step})

    def close(self) -> None:
        """Write what is left."""
        self._run.finish()


class MlflowLog:
    """An MLflow run in `FOLDER/mlflow.db` unless MLFLOW_TRACKING_URI says otherwise."""

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when it is imported
        from mlflow.tracking import MlflowClient

        folder.mkdir(parents=True, exist_ok=True)
        local = f"sqlite:///{(folder / 'mlflow.db').resolve()}"
        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", local))
        known = self._client.get_experiment_by_name("augmint")
        place = (folder / "mlflow").resolve().as_uri()
        experiment = (
            known.experiment_id
            if known
            else self._client.create_experiment(
                "augmint", artifact_location=None if "MLFLOW_TRACKING_URI" in os.environ else place
            )
        )
        self._run: str = self._client.create_run(experiment, run_name=name).info.run_id
        for key, value in flat(config).items():
            self._client.log_param(self._run, key, value[:500])

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers of a step."""
        for name, value in values.items():
            self._client.log_metric(self._run, name, value, step=step)

    def picture(self, step: int, name: str, png: bytes) -> None:
        """Log a picture of a step."""
        self._client.log_image(self._run, pixels(png), f"{name}-{step:08d}.png")

    def close(self) -> None:
        """Write what is left."""
        self._client.set_terminated(self._run)


TRACKERS: Mapping[str, Tracker] = {
    "tensorboard": Tracker("tensorboard", TensorBoardLog),
    "wandb": Tracker("wandb", WandbLog),
    "mlflow": Tracker("mlflow", MlflowLog),
}
"""Trackers by name."""


def require_trackers(names: Sequence[str]) -> None:
    """Check trackers before anything starts.

    Raises:
        UsageError: for an unknown name, or a package that is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise UsageError("a tracker is one that augmint knows", name, nearest(name, TRACKERS))
        package = TRACKERS[name].package
        if not _installed(package):
            raise UsageError(
                f"the tracker {name} needs its optional extra",
                f"no package {package}",
                f"install it (pip install 'augmint[{name}]'), or leave out track=('{name}',) "
                f"(--track {name})",
            )


def _installed(package: str) -> bool:
    if package in sys.modules:
        return True
    found = importlib.util.find_spec(package)
    # a folder of that name beside the user's data would pass for a package without any file
    return found is not None and found.origin is not None


class Tracking:
    """The open logs of one run: every call reaches each, and none can fail the caller.

    Args:
        names: of `TRACKERS`, checked before by `require_trackers`.
        folder: where their files go.
        run: name of the run.
        config: plain values that the run depends on.
        say: takes a warning; standard error if None.

    Example:
        >>> with Tracking((), Path("."), "nothing", {}) as tracking:
        ...     tracking.scalars(1, {"loss": 0.5})
    """

    def __init__(
        self,
        names: Sequence[str],
        folder: Path,
        run: str,
        config: Mapping[str, Any],
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._say = say or _warn
        self._logs: dict[str, Log] = {}
        for name in dict.fromkeys(names):
            tracker = TRACKERS[name]

            def start(name: str = name, tracker: Tracker = tracker) -> None:
                self._logs[name] = tracker.open(folder, run, config)

            self._guarded(name, start)

    def __enter__(self) -> Tracking:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._each(lambda log: log.close())
        self._logs.clear()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers of a step."""
        self._each(lambda log: log.scalars(step, values))

    def picture(self, step: int, name: str, png: Callable[[], bytes]) -> None:
        """Log a picture of a step; it is drawn only if a tracker is on."""
        if self._logs:
            drawn = png()
            self._each(lambda log: log.picture(step, name, drawn))

    def _each(self, call: Callable[[Log], None]) -> None:
        for name, log in list(self._logs.items()):
            self._guarded(name, lambda log=log: call(log))  # type: ignore[misc]

    def _guarded(self, name: str, call: Callable[[], None]) -> None:
        try:
            call()
        except (Exception, SystemExit) as error:
            # a tool of others must not cost a training run, whatever it raises
            self._logs.pop(name, None)
            told = single_line(f"{type(error).__name__}: {error}", 200)
            self._say(f"warning: the tracker {name} failed and is switched off ({told})")


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested plain values by dotted name, as text.

    Example:
        >>> flat({"a": {"b": 1}, "c": [2, 3]})
        {'a.b': '1', 'c': '[2, 3]'}
    """
    found: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = str(value)
    return found


def pixels(png: bytes) -> Any:
    """Return a PNG as uint8 `(H, W, 3)`.

    Example:
        >>> import numpy as np
        >>> from augmint.core.pictures import png_bytes, to_picture
        >>> png = png_bytes(to_picture(np.full((1, 4, 6), 7, np.uint8)))
        >>> pixels(png).shape, pixels(png)[0, 0].tolist()
        ((4, 6, 3), [7, 7, 7])
    """
    import io

    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
        return np.asarray(picture.convert("RGB"))


def _warn(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

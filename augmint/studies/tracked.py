"""Shows a finished study in the trackers that were asked for, beside its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from augmint.training.trackers import Tracking


def show_study(
    names: Sequence[str], out: Path, report: Mapping[str, Any], pictures: Mapping[str, bytes]
) -> None:
    """Log the verdict's numbers, each arm's scores by repetition, losses and pictures.

    The stages of a study run in processes and on machines of their own, so a study is shown when
    it ends; `train` shows a generator as it learns.

    Args:
        names: of trackers; none does nothing.
        out: the study's folder; files of the trackers go to `tracking` below it.
        report: what `report.json` holds.
        pictures: PNG bytes by name.
    """
    if not names:
        return
    config = {k: report.get(k) for k in ("title", "verdict", "sentence", "command", "config_yaml")}
    with Tracking(names, out / "tracking", str(report.get("title")), config) as tracking:
        for reading in report.get("generator", {}).get("losses") or []:
            values = {f"generator/{k}": float(v) for k, v in reading.items() if k != "step"}
            tracking.scalars(int(reading["step"]), values)
        for name, arm in report.get("arms", {}).items():
            for index, score in enumerate(arm["scores"]):
                tracking.scalars(index, {f"arms/{name}": float(score)})
        uplift = report.get("uplift", {})
        tracking.scalars(
            0, {f"verdict/{k}": float(uplift[k]) for k in ("mean", "low", "high") if k in uplift}
        )
        for name, content in pictures.items():
            tracking.picture(0, name, lambda content=content: content)  # type: ignore[misc]

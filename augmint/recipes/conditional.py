"""What recipes of conditional generators share: each is a comparison,
of one training or of many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from augmint.recipes.base import Outcome, Recipe, Surroundings
from augmint.studies.compare import CompareOptions, Measures, compare
from augmint.studies.compared import lines
from augmint.tasks.config import TaskConfig
from augmint.training.config import GanConfig

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image


@dataclass(frozen=True)
class ConditionalConfig:
    """Everything that the numbers depend on, besides data and seed.

    Args:
        gan: the generator's training.
        measures: how it is measured.
        size: height and width that images are scaled to; None: as they are.
        channels: 1 for grey, 3 for colour.
    """

    gan: GanConfig
    measures: Measures = field(default_factory=Measures)
    size: tuple[int, int] | None = None
    channels: int = 1


@dataclass(frozen=True)
class ConditionalRecipe(Recipe[ConditionalConfig]):
    """Trains one conditional generator and measures it; members give the configuration."""

    def run(self, config: ConditionalConfig, surroundings: Surroundings) -> Outcome:
        """Train the generator and a judge on different real images; measure on the test images."""
        options = CompareOptions(
            seeds=1,
            seed=surroundings.seed,
            size=None if config.size is None else "x".join(str(side) for side in config.size),
            channels=config.channels,
            measures=config.measures,
            workers=surroundings.workers,
            device=surroundings.device,
            drop_duplicates=surroundings.drop_duplicates,
        )
        report = compared({"generator": config.gan}, surroundings, options)
        rows = [(m["key"], m, m["rows"][0]) for m in report["measures"]]
        return outcome(report, rows, surroundings)


def measures(steps: int | None = None, debug: bool = False) -> Measures:
    """Return how generators are measured; the debug version ends in seconds.

    Args:
        steps: of the judge, and of what learns from generated images.
        debug: numbers mean nothing.

    Example:
        >>> measures(steps=9).task.steps, measures(debug=True).task.steps
        (9, 100)
    """
    if not debug:
        return Measures() if steps is None else Measures(TaskConfig(steps=steps))
    task = TaskConfig(network={"name": "small-cnn", "channels": 8}, steps=steps or 100)
    return Measures(task, "none", per_class=30, diverse_per_class=20, pairs=100, probe_rows=500)


def compared(
    gans: Mapping[str, GanConfig], surroundings: Surroundings, options: CompareOptions
) -> dict[str, Any]:
    """Return what `compare.json` holds of the trainings, in the folder `comparison`."""
    return compare(gans, surroundings.data, surroundings.out / "comparison", options)


def outcome(
    report: Mapping[str, Any],
    rows: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]],
    surroundings: Surroundings,
) -> Outcome:
    """Return numbers of a comparison as a recipe's.

    Args:
        report: what `compare.json` holds.
        rows: a name, the measure and its row of one generator, for each number.
        surroundings: where the comparison ran.
    """
    pictures = sorted((surroundings.out / "comparison" / "pictures").glob("*.png"))
    told = [(n, m, r) for n, m, r in rows if r["mean"] is not None or r["refused"]]
    return Outcome(
        {name: row["mean"] for name, _, row in told},
        {
            name: measure["protocol"] if row["mean"] is not None else f"refused: {row['refused']}"
            for name, measure, row in told
        },
        {path.stem: _picture(path) for path in pictures},
        sum(row["images_shown"] for row in report["trained"]),
        report["warnings"],
        {"table.txt": "\n".join(lines(report)) + "\n"},
    )


def _picture(path: Path) -> Image:
    from PIL import Image

    with Image.open(path, formats=("PNG",)) as picture:
        return picture.convert("RGB")

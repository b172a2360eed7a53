"""From the trainings of a comparison at equal size to numbers, tables and drawings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from augmint.recipes.base import Outcome
from augmint.recipes.spdnn_judging import (
    Judgement,
    Scale,
    best_on_validation,
    convergence,
    judge,
    windows,
)
from augmint.recipes.spdnn_networks import MERGED, VOTES
from augmint.recipes.spdnn_tables import convergence_table, measure_table, score_table

if TYPE_CHECKING:
    from augmint.recipes.spdnn_candidates import Candidate
    from augmint.studies.stages import StageResult
    from augmint.tasks.scores import Measure


@dataclass(frozen=True)
class Trained:
    """All trainings of a comparison.

    Args:
        candidates: the networks that were trained, by name.
        parents: the names of those that were merged.
        results: by network, votes among them; seeds in order.
        measure: the score that decides.
        budget: parameters that every network was to have.
        window: steps that training losses are averaged over.
        drawn: the networks whose losses are drawn.
    """

    candidates: Mapping[str, Candidate]
    parents: Sequence[str]
    results: Mapping[str, Sequence[StageResult]]
    measure: Measure
    budget: int
    window: int
    drawn: Sequence[str]

    def values(self, key: str, names: Sequence[str] | None = None) -> dict[str, list[Any]]:
        """Return what the stages returned under a key, by network;
        all networks if none is named."""
        chosen = self.results if names is None else names
        return {name: [r.value[key] for r in self.results[name]] for name in chosen}

    @property
    def seeds(self) -> int:
        """The number of repetitions."""
        return len(self.results[MERGED])


def outcome(trained: Trained, images_shown: int, files: Mapping[str, str]) -> Outcome:
    """Return the numbers, the tables and the drawings of all trainings.

    Args:
        trained: their results.
        images_shown: to all networks together.
        files: more texts to write.
    """
    from augmint.studies.report.curves import intervals_svg, training_svg

    measure, own = trained.measure.name, list(trained.candidates)
    best = best_on_validation(trained.values("validation"), list(trained.parents))
    spreads = trained.values("spread", [best])[best]
    images = trained.values("n", [best])[best][0]
    spread = float(np.sqrt(np.mean(np.square(spreads))))
    found = judge(trained.values("test"), MERGED, best, Scale(measure, images, spread))
    losses = trained.values("losses", own)
    held = trained.values("validation_losses", own)
    trend = convergence(losses, held, best, trained.window)
    rows = _rows(trained)
    lines = {
        name: np.mean([windows(x, trained.window) for x in losses[name]], 0).tolist()
        for name in trained.drawn
    }
    drawn = {
        "table.txt": score_table(rows, found, measure),
        "measures.txt": measure_table(rows),
        "convergence.txt": convergence_table(trend, found.best),
        "losses.svg": training_svg(lines, trained.window, MERGED),
        "differences.svg": intervals_svg(found.rows, found.delta, best, measure),
    }
    details = {
        "sentence": found.sentence,
        "verdict": found.verdict,
        "best_parent": best,
        "delta": found.delta,
        "budget": trained.budget,
        "networks": rows,
        "comparisons": found.rows,
        "convergence": trend,
    }
    metrics = _metrics(trained, rows, found, trend)
    protocols = _protocols(trained, rows, found)
    return Outcome(
        metrics, protocols, images_shown=images_shown, files=drawn | dict(files), details=details
    )


def _rows(trained: Trained) -> list[dict[str, Any]]:
    """Return one row a network, votes last."""
    test, validation = trained.values("test"), trained.values("validation")
    seconds = trained.values("processor_seconds", list(trained.candidates))
    members = [trained.candidates[p] for p in trained.parents]
    counts = {n: (c.parameters, c.multiplications) for n, c in trained.candidates.items()}
    counts[VOTES] = (sum(m.parameters for m in members), sum(m.multiplications for m in members))
    return [
        {
            "network": name,
            "parent": name in trained.parents,
            "parameters": counts[name][0],
            "multiplications": counts[name][1],
            "score": float(np.mean(test[name])),
            "sd": float(np.std(test[name], ddof=1)),
            "scores": test[name],
            "validation": float(np.mean(validation[name])),
            "measures": _means([r.value["measures"] for r in trained.results[name]]),
            "processor_seconds": float(np.sum(seconds[name])) if name in seconds else None,
        }
        for name in counts
    ]


def _means(measures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return each measure's mean over the seeds that define it."""
    names = dict.fromkeys(name for found in measures for name in found)
    return {n: float(np.mean([found[n] for found in measures if n in found])) for n in names}


def _metrics(
    trained: Trained,
    rows: Sequence[Mapping[str, Any]],
    found: Judgement,
    trend: Sequence[Mapping[str, Any]],
) -> dict[str, float | None]:
    primary = next(r for r in found.rows if r["role"] == "primary")
    counts = {r["network"]: r["parameters"] for r in rows}
    moved = {r["network"]: r for r in trend}
    metrics: dict[str, float | None] = {"merged_minus_best_parent": primary["mean"]}
    metrics |= {f"merged_minus_best_parent_{k}": primary[k] for k in ("low", "high", "p")}
    metrics |= {f"{trained.measure.key}_{r['network']}": r["score"] for r in rows}
    metrics |= {f"parameters_{n}": counts[n] for n in (MERGED, VOTES)}
    for key in ("steps", "fluctuation", "validation_fluctuation"):
        metrics |= {f"{key}_{MERGED}": moved[MERGED][key]}
        metrics |= {f"{key}_best_parent": moved[found.best][key]}
    return metrics


def _protocols(
    trained: Trained, rows: Sequence[Mapping[str, Any]], found: Judgement
) -> dict[str, str]:
    sizes = {r["network"]: r["parameters"] for r in rows if r["network"] in trained.candidates}
    far = max(sizes, key=lambda n: abs(sizes[n] - trained.budget))
    off = 100 * (sizes[far] / trained.budget - 1)
    return {
        "merged_minus_best_parent": f"test {trained.measure.name}, paired over {trained.seeds} "
        f"seeds, against {found.best}, which validation images chose; {found.verdict}",
        f"{trained.measure.key}_{VOTES}": "mean probabilities of the trained parents",
        f"parameters_{MERGED}": f"all networks but votes are for {trained.budget} parameters; the "
        f"farthest from them is {far}, {off:+.2f} %",
        f"parameters_{VOTES}": f"of all {len(trained.parents)} parents together",
        f"steps_{MERGED}": "until the mean training loss of a window is at or below the last of "
        f"the best parent, windows of {trained.window} steps",
        f"fluctuation_{MERGED}": "standard deviation of the training loss around its straight "
        "trend, over the last fifth of the steps",
        f"validation_fluctuation_{MERGED}": "the same of the loss on validation images, over the "
        "last half of its readings",
    }

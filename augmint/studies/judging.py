"""What judges that are blind to some real images say of minted ones: label truth and distances."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from augmint.core.config import to_plain
from augmint.core.errors import DataError
from augmint.core.machine import give_back_memory
from augmint.core.registry import METRICS
from augmint.core.streams import permutation
from augmint.metrics.base import Measurement, extract, measure_features
from augmint.metrics.labels import label_truth
from augmint.tasks.rows import RealRows

if TYPE_CHECKING:
    import numpy.typing as npt

    from augmint.core.types import ByteArray, IntArray
    from augmint.tasks.trained import TrainedTask

Value = dict[str, Any]

DISTANCES = ("kid", "frechet", "precision-recall-density-coverage")
"""The metrics of features that a diagnosis takes, by their registered names."""


@dataclass(frozen=True)
class Judge:
    """A trained network and the real images that it has not seen.

    Args:
        network: the judge.
        scored: its accuracy is that on these.
        compared: minted images are held against these in its features.
    """

    network: TrainedTask
    scored: RealRows
    compared: RealRows


def claims_score(
    network: TrainedTask, images: ByteArray, values: Mapping[str, npt.NDArray[Any]]
) -> float:
    """Return how far images carry what they claim, by a network; 1 is fully.

    Of classes the share in which the claim is the network's first choice; of what is measured
    1 - the mean error of the aspect, over images that claim anything of it.

    Raises:
        DataError: if none does.
    """
    claimed = values[network.aspect.name]
    if network.aspect.kind == "category":
        return label_truth(network.probabilities(images), claimed).agreement
    there = told(network, claimed)
    return 1.0 - float(network.errors(images[there], claimed[there]).mean())


def told(network: TrainedTask, claimed: npt.NDArray[Any]) -> IntArray:
    """Return the rows that claim anything of what a network tells.

    Raises:
        DataError: if there is none.
    """
    there = np.flatnonzero(network.aspect.told(claimed))
    if not len(there):
        raise DataError(
            f"images that are judged claim something of {network.aspect.name}",
            f"nothing in {len(claimed)} images",
            "give images that are labelled",
        )
    return there


def cross_fitted(
    judges: Iterable[Judge],
    images: ByteArray,
    values: Mapping[str, npt.NDArray[Any]],
    split: str,
    seed: int,
) -> tuple[Value, list[Value]]:
    """Return label truth over all judges, and distances averaged over judges.

    Of classes, truth is what the judges' mean probabilities say; of what is measured, the mean over
    judges of `claims_score`.

    Args:
        judges: taken one by one, so that a generator may train them in turn.
        images: uint8 `(N, C, H, W)`, minted.
        values: what they claim to carry, aspect name to stored values.
        split: what the compared images are, as protocols state it.
        seed: of subsets.
    """
    said, own, per_judge = [], [], []
    for judge in judges:
        network, real = judge.network, judge.scored
        claimed, rows = values[network.aspect.name], np.arange(len(images))
        own.append(claims_score(network, real.images, real.values))
        classes = network.aspect.kind == "category"
        if classes:
            said.append(network.probabilities(images))
        else:
            rows = told(network, claimed)
            said.append(network.errors(images[rows], claimed[rows]))
        per_judge.append(_distances(network, judge.compared, images, split, seed))
    mean = np.mean(said, axis=0)
    truth = {
        "value": label_truth(mean, claimed).agreement if classes else 1.0 - float(mean.mean()),
        "judge_accuracy": float(np.mean(own)),
        "n": len(rows),
    }
    return truth, _averaged(per_judge)


def distances(judges: Iterable[Judge], images: ByteArray, split: str, seed: int) -> list[Value]:
    """Return distances averaged over judges, as `cross_fitted` does;
    what images claim is not read."""
    found = [_distances(j.network, j.compared, images, split, seed) for j in judges]
    return _averaged(found)


def _averaged(per_judge: Sequence[Sequence[Measurement]]) -> list[Value]:
    return [row for group in zip(*per_judge, strict=True) for row in _flat(group)]


def _distances(
    judge: TrainedTask, real: RealRows, minted: ByteArray, split: str, seed: int
) -> list[Measurement]:
    """Return every metric of `DISTANCES` on a judge's features; `real` is new to the judge."""
    features = judge.feature_net("cross-fitted judge")
    # half of the real images is the floor's other side: no more minted ones are looked at
    rows = permutation(seed, "judging.minted", len(minted))[: max(len(real) // 2, 1)]
    inner, outer = extract(features, real.images), extract(features, minted[rows])
    found = []
    for name in DISTANCES:
        metric = METRICS.create(name)
        found.append(
            measure_features(metric, inner, outer, features=features, split=split, seed=seed)
        )
        give_back_memory()  # each sorts its copies in other sizes
    return found


def _flat(measurements: tuple[Measurement, ...]) -> list[Value]:
    """Return one row a named number, averaged over the folds that gave it.

    Numbers named after their metric (its spread, its subset size) are details of the protocol.
    """
    first = measurements[0].protocol
    given = [m for m in measurements if m.value is not None and m.floor is not None]
    detail = f"{first.metric}_"
    settings = dict(first.settings)
    if given and given[0].value:
        details = {k: v for k, v in given[0].value.items() if k.startswith(detail)}
        settings |= {k.removeprefix(detail): v for k, v in details.items()}
    protocol = {**to_plain(first), "digest": first.digest[:12], "settings": settings}
    if not given:
        refused = measurements[0].refused
        nothing = {"metric": first.metric, "value": None, "floor": None}
        return [{**nothing, "protocol": protocol, "refused": refused}]
    return [
        {
            "metric": name,
            "value": float(np.mean([m.value[name] for m in given if m.value])),
            "floor": float(np.mean([m.floor[name] for m in given if m.floor])),
            "protocol": protocol,
            "refused": None,
        }
        for name in given[0].value or {}
        if not name.startswith(detail)
    ]

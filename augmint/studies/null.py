"""The decision's own false-positive rate, measured on thousands of studies without an effect.

Each null study trains two arms on the same images with the same policy; the arms differ in nothing
but the names of their random streams, so every "helps" and every "hurts" is false. The network is
a softmax regression on real 8x8 digits, cheap enough that all models train at once as one batch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from augmint.core.errors import UsageError
from augmint.core.streams import permutation, stream
from augmint.studies.statistics import accuracy_error, paired_t
from augmint.studies.verdict import decide, default_delta

if TYPE_CHECKING:
    from torch import Tensor

    from augmint.core.types import FloatArray

ARMS = ("classic", "repeat")
_CLASSES, _PIXELS = 10, 64
_POLICY = (*range(9), *(4,) * 27)  # of 36 views, 27 more stay where they are
_STUDIES_AT_ONCE = 100  # bounds the memory; no number depends on it


@dataclass(frozen=True)
class NullConfig:
    """The size of the measurement.

    Args:
        studies: how many null studies.
        seeds: J of each study; a seed redraws subset, initialisation, order and augmentation.
        train: training images of a seed, drawn from the pool.
        test: test images, the same for all.
        steps: of stochastic gradient descent.
        batch: images a step, some of them shifted by one pixel.
        rate: learning rate, falling to 0 linearly.
        seed: of everything.
    """

    studies: int = 4000
    seeds: int = 5
    train: int = 100
    test: int = 500
    steps: int = 40
    batch: int = 16
    rate: float = 0.5
    seed: int = 0


def measure_null(config: NullConfig | None = None) -> dict[str, Any]:
    """Run null studies through the decision as it is used and count its false verdicts.

    Returns:
        `false_share` (helps or hurts) with its Clopper-Pearson interval `false_low`, `false_high`,
        the count of each verdict, the same share were a percentile bootstrap over seeds to decide
        (`bootstrap_share`, for contrast), mean `accuracy`, `sd` of the differences within a study,
        and `seconds`.

    Raises:
        UsageError: with fewer than 1 study or 2 seeds.
    """
    config = config or NullConfig()
    if config.studies < 1 or config.seeds < 2:
        raise UsageError(
            "a null measurement has at least 1 study of at least 2 seeds",
            f"{config.studies} of {config.seeds}",
            "pass studies=2000 and seeds=5 (--studies 2000 --seeds 5)",
        )
    start = time.perf_counter()
    accuracies = np.concatenate(list(_accuracies(config)))
    counts = dict.fromkeys(("helps", "hurts", "no practical difference", "inconclusive"), 0)
    differences = accuracies[:, :, 1] - accuracies[:, :, 0]
    for study, row in zip(accuracies, differences, strict=True):
        delta = default_delta(accuracy_error(float(study[:, 0].mean()), config.test))
        counts[decide(paired_t(row), delta).verdict] += 1
    false = counts["helps"] + counts["hurts"]
    low, high = clopper_pearson(false, config.studies)
    return {
        "studies": config.studies,
        "seeds": config.seeds,
        "false_share": false / config.studies,
        "false_low": low,
        "false_high": high,
        "verdicts": counts,
        "bootstrap_share": _bootstrap_share(differences, config.seed),
        "accuracy": float(accuracies.mean()),
        "sd": float(np.sqrt(differences.var(axis=1, ddof=1).mean())),
        "seconds": round(time.perf_counter() - start, 1),
    }


def clopper_pearson(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a binomial share.

    Source: Clopper and Pearson, Biometrika 26, 1934.

    Example:
        >>> [round(end, 4) for end in clopper_pearson(100, 2000)]
        [0.0409, 0.0605]
    """
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, n - hits + 1, tail))
    high = 1.0 if hits == n else float(betaincinv(hits + 1, n - hits, 1 - tail))
    return low, high


def _accuracies(config: NullConfig) -> Iterator[FloatArray]:
    """Yield `(studies, seeds, arms)` test accuracies, some studies at a time."""
    import torch

    pool, labels, test, truth = _digits(config)
    per_study = config.seeds
    for first in range(0, config.studies, _STUDIES_AT_ONCE):
        studies = min(_STUDIES_AT_ONCE, config.studies - first)
        # one id for each seed of each study; both arms share the subset that it draws
        ids = np.arange(first * per_study, (first + studies) * per_study)
        words = stream(config.seed, "null.subset", ids=ids).words(len(labels))
        subset = torch.from_numpy(np.argpartition(words, config.train, axis=1)[:, : config.train])
        found = []
        for arm in ARMS:
            weight = _train(config, arm, ids, subset, (pool, labels))
            scores = torch.einsum("np,mpc->nmc", test, weight[:, :_PIXELS]) + weight[:, _PIXELS]
            found.append((scores.argmax(2) == truth[:, None]).double().mean(0))
        yield torch.stack(found, 1).reshape(studies, per_study, len(ARMS)).numpy()


def _train(
    config: NullConfig, arm: str, ids: Any, subset: Tensor, data: tuple[Tensor, Tensor]
) -> Tensor:
    """Train one model for each id at once; weights `(models, pixels + 1, classes)`."""
    import torch

    pool, labels = data
    models, policy = len(ids), torch.tensor(_POLICY)
    weight = stream(config.seed, f"null.{arm}.start", ids=ids).normal((_PIXELS + 1) * _CLASSES)
    weight = weight.reshape(models, _PIXELS + 1, _CLASSES) * 0.1
    for step in range(config.steps):
        draws = stream(config.seed, f"null.{arm}.batch", step, ids)
        rows = subset.gather(1, draws.integers(config.batch, config.train))
        images = pool[policy[draws.integers(config.batch, len(policy))], rows]
        error = torch.softmax(torch.bmm(images, weight), 2)
        error -= torch.nn.functional.one_hot(labels[rows], _CLASSES)
        rate = config.rate * (1 - step / config.steps) / config.batch
        weight.baddbmm_(images.transpose(1, 2), error, alpha=-rate)
    return weight


def _digits(config: NullConfig) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The pool in all nine shifts `(9, pool, pixels + 1)`, its labels, the test set and its own."""
    import torch
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).float() / 8 - 1
    labels = torch.from_numpy(digits.target).long()
    order = torch.from_numpy(permutation(config.seed, "null.split", len(labels)))
    test, pool = order[: config.test], order[config.test :]
    padded = torch.nn.functional.pad(images[pool], (1, 1, 1, 1), value=-1.0)
    shifted = torch.stack(
        [padded[:, y : y + 8, x : x + 8].flatten(1) for y in range(3) for x in range(3)]
    )
    with_bias = torch.cat((shifted, torch.ones(*shifted.shape[:2], 1)), 2)
    return with_bias, labels[pool], images[test].flatten(1), labels[test]


def _bootstrap_share(differences: FloatArray, seed: int, resamples: int = 1000) -> float:
    """Share of studies whose percentile interval over resampled seeds leaves zero out."""
    seeds = differences.shape[1]
    draws = stream(seed, "null.bootstrap", ids=resamples).integers(seeds, seeds).numpy()
    weights = np.stack([(draws == s).mean(1) for s in range(seeds)])
    low, high = np.quantile(differences @ weights, [0.025, 0.975], axis=1)
    return float(((low > 0) | (high < 0)).mean())

"""Numbers of a comparison that need no network of their own: a linear classifier, a divergence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from augmint.core.errors import UsageError
from augmint.data.splits import stratified

if TYPE_CHECKING:
    from torch import Tensor

    from augmint.core.types import FloatArray, IntArray

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Ridge strengths, each times the number of training rows,
that a linear classifier chooses from."""


@dataclass(frozen=True)
class Probe:
    """A linear classifier's score.

    Args:
        accuracy: on test rows, in [0, 1].
        strength: of the ridge, chosen on a fifth of the training rows.
        rows: trained on.
        width: of the features.
    """

    accuracy: float
    strength: float
    rows: int
    width: int


def linear_probe(
    train: FloatArray, labels: IntArray, test: FloatArray, test_labels: IntArray, seed: int = 0
) -> Probe:
    """Return how well classes can be read off features by a linear map.

    Features are standardised by the training rows; the map is least squares on targets of +1 for
    the class and -1 for the others, with ridge `a` and a free intercept:

        min_W,b ‖X W + b - Y‖² + a ‖W‖²,    class = argmax (x W + b)

    `a` is `n` times one of `STRENGTHS`, the best on a stratified fifth of the training rows (the
    smaller of equals), and the map is fitted again on all of them.

    Args:
        train, test: `(n, D)` and `(m, D)`.
        labels, test_labels: int `(n,)` and `(m,)`.
        seed: of the fifth.

    Raises:
        UsageError: with fewer than two classes in `labels`.

    Source: the linear classifier on a critic's features of Radford et al. 2016, arXiv:1511.06434,
    section 5.1, with least squares in place of a support vector machine, and the last layer's
    features in place of all layers'.

    Example:
        >>> x, y = np.array([[0.0], [0.2], [0.9], [1.1]] * 5), np.array([0, 0, 1, 1] * 5)
        >>> linear_probe(x, y, np.array([[0.1], [1.0]]), np.array([0, 1])).accuracy
        1.0
    """
    labels, test_labels = np.asarray(labels), np.asarray(test_labels)
    if len(np.unique(labels)) < 2:
        raise UsageError(
            "a linear classifier needs rows of 2 classes", np.unique(labels).tolist(), "add rows"
        )
    fit, held = stratified(labels, 0.2, seed, "probe.strength")
    found = {a: _accuracy(train[fit], labels[fit], train[held], labels[held], a) for a in STRENGTHS}
    best = max(STRENGTHS, key=lambda a: (found[a], -a))
    accuracy = _accuracy(train, labels, test, test_labels, best)
    return Probe(accuracy, best, len(train), train.shape[1])


def _accuracy(
    train: FloatArray, labels: IntArray, test: FloatArray, test_labels: IntArray, strength: float
) -> float:
    x = torch.from_numpy(np.asarray(train, np.float64))
    mean, sd = x.mean(0), x.std(0, correction=0)
    scale = torch.where(sd > 1e-12 * (1.0 + mean.abs()), sd, torch.inf)
    classes, index = np.unique(labels, return_inverse=True)
    targets = 2.0 * torch.nn.functional.one_hot(torch.from_numpy(index)).double() - 1.0
    centre = targets.mean(0)
    weights = ridge((x - mean) / scale, targets - centre, strength * len(x))
    y = (torch.from_numpy(np.asarray(test, np.float64)) - mean) / scale
    answers = classes[(y @ weights + centre).argmax(1).numpy()]
    return float((answers == test_labels).mean())


def ridge(x: Tensor, y: Tensor, strength: float) -> Tensor:
    """Return W `(D, K)` that minimises `‖X W - Y‖² + a ‖W‖²`, by the smaller normal equations.

    Example:
        >>> targets = torch.tensor([[2.0], [4.0]]).double()
        >>> ridge(torch.eye(2).double(), targets, strength=1.0).round(decimals=9).tolist()
        [[1.0], [2.0]]
    """
    n, width = x.shape
    if width <= n:
        gram = x.T @ x
        gram.diagonal().add_(strength)
        return torch.cholesky_solve(x.T @ y, torch.linalg.cholesky(gram))
    gram = x @ x.T
    gram.diagonal().add_(strength)
    return x.T @ torch.cholesky_solve(y, torch.linalg.cholesky(gram))


@dataclass(frozen=True)
class Divergence:
    """A lower bound of the Jensen-Shannon divergence among classes, in nats.

    Args:
        bound: log N minus the cross-entropy; below 0 it says nothing.
        cross_entropy: of the classifier, the mean over classes of the mean over their images.
        most: log N, what classes without any overlap have.
    """

    bound: float
    cross_entropy: float
    most: float


def divergence_bound(probabilities: FloatArray, labels: IntArray) -> Divergence:
    """Return a lower bound of the Jensen-Shannon divergence among the classes of some images.

    With equal weights, p_i the images of class i of N, and C any classifier whose rows sum to 1,

        JSD(p_1, …, p_N) = log N - min_C CE(C) >= log N - CE(C),
        CE(C) = -(1/N) Σ_i E_{x~p_i} log C_i(x)

    with equality for C_i = p_i / Σ_j p_j. On finitely many images that C was not trained on, the
    bound is met on average, up to sampling error. It lies below log N.

    Args:
        probabilities: `(n, N)`, rows sum to 1; held above the smallest normal float32.
        labels: int `(n,)`; classes without an image are left out of N.

    Raises:
        UsageError: for fewer than two classes.

    Source: theorem 2 of the multi-class paper, Bazrafkan and Corcoran 2018, arXiv:1806.07751.

    Example:
        >>> found = divergence_bound(np.eye(2)[[0, 1]], np.array([0, 1]))
        >>> round(found.bound - math.log(2), 12)
        0.0
    """
    classes = np.unique(labels)
    if len(classes) < 2:
        raise UsageError("a divergence among classes needs 2 of them", len(classes), "add one")
    chosen = np.asarray(probabilities)[np.arange(len(labels)), labels].astype(np.float64)
    losses = -np.log(np.maximum(chosen, np.finfo(np.float32).tiny))
    entropy = float(np.mean([losses[labels == c].mean() for c in classes]))
    most = math.log(len(classes))
    return Divergence(most - entropy, entropy, most)

"""The theorems of VAC+GAN, on discrete images, with the loss that training uses.

An image is one pixel that holds a symbol x = 0 … K-1, and p_i(x) = counts[i, x] / M, so that a
batch with each symbol as often as counted makes the batch mean an exact expectation. The code's
loss is the mean over classes; times N it is the papers' L_cce.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.conditioning.base import ConditioningContext
from augmint.conditioning.vac import Vac
from augmint.core.types import CriticOutput

OVERLAPPING = [
    [[5, 3, 2], [1, 3, 6]],
    [[4, 4, 1, 1], [1, 7, 1, 1], [2, 2, 3, 3]],
    [[9, 1, 0, 0, 0], [0, 5, 5, 0, 0], [1, 1, 1, 1, 6], [2, 2, 2, 2, 2]],
]
EQUAL = [[1, 2, 3], [1, 2, 3], [1, 2, 3]]
DISJOINT = [[4, 6, 0, 0, 0], [0, 0, 10, 0, 0], [0, 0, 0, 3, 7]]


class Table(nn.Module):
    """A classifier with free logits for each symbol."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits[images.flatten().long()]


def loss_of(counts: list[list[int]], classifier: nn.Module) -> Tensor:
    """Return L_cce(C) = N x the classifier's loss as the training loop asks for it."""
    c = torch.tensor(counts)
    n, k = c.shape
    cells = c.flatten()
    labels = torch.arange(n).repeat_interleave(k).repeat_interleave(cells)
    symbols = torch.arange(k).repeat(n).repeat_interleave(cells).double().view(-1, 1, 1, 1)
    schema = Schema((Category("label", tuple(str(i) for i in range(n))),))
    context = ConditioningContext(schema, (1, 1, 1), 1)
    values = {"label": labels}
    loss, _ = Vac().auxiliary_loss(
        context, {"classifier": classifier}, symbols, None, values, values
    )
    assert loss is not None
    felt, _ = Vac(zeta=1.0).generator_terms(
        context, {"classifier": classifier}, {}, symbols, CriticOutput(symbols), values, symbols
    )
    torch.testing.assert_close(felt, loss)  # the generator feels the same loss
    return n * loss


def value_of(counts: list[list[int]], classifier: nn.Module) -> float:
    return loss_of(counts, classifier).item()


def best_by_descent(counts: list[list[int]]) -> Table:
    n, k = len(counts), len(counts[0])
    classifier = Table(torch.zeros(k, n, dtype=torch.float64))
    optimiser = torch.optim.LBFGS(
        classifier.parameters(), max_iter=2000, tolerance_grad=1e-12, tolerance_change=1e-16,
        history_size=20, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = loss_of(counts, classifier)
        loss.backward()
        return loss

    optimiser.step(closure)
    return classifier


def distributions(counts: list[list[int]]) -> Tensor:
    c = torch.tensor(counts, dtype=torch.float64)
    return c / c.sum(1, keepdim=True)


def entropy(p: Tensor) -> Tensor:
    return -torch.xlogy(p, p).sum(-1)


def jensen_shannon(p: Tensor) -> float:
    return float(entropy(p.mean(0)) - entropy(p).mean())


def summed_divergence(p: Tensor) -> float:
    mean = p.mean(0)
    return float((torch.xlogy(p, p) - torch.xlogy(p, mean)).sum())


@pytest.mark.parametrize("counts", OVERLAPPING)
def test_the_best_classifier_is_the_share_of_each_class(counts: list[list[int]]) -> None:
    p = distributions(counts)
    found = best_by_descent(counts).logits.detach().softmax(1)
    # a probability of 0 is approached, not reached: 1e-4 in C, 1e-6 in the loss
    torch.testing.assert_close(found, (p / p.sum(0)).T, atol=1e-4, rtol=0)


@pytest.mark.parametrize("counts", [*OVERLAPPING, EQUAL, DISJOINT])
def test_the_value_at_the_best_classifier(counts: list[list[int]]) -> None:
    p = distributions(counts)
    n = len(p)
    value = value_of(counts, best_by_descent(counts))
    assert value == pytest.approx(n * math.log(n) - summed_divergence(p), abs=1e-6)
    assert value == pytest.approx(n * math.log(n) - n * jensen_shannon(p), abs=1e-6)
    assert value / n == pytest.approx(math.log(n) - jensen_shannon(p), abs=1e-6)
    closed_form = Table((p / p.sum(0)).clamp_min(1e-300).log().T)
    assert value == pytest.approx(value_of(counts, closed_form), abs=1e-6)


def test_limits() -> None:
    n = len(EQUAL)
    assert value_of(EQUAL, best_by_descent(EQUAL)) == pytest.approx(n * math.log(n))
    assert value_of(DISJOINT, best_by_descent(DISJOINT)) == pytest.approx(0.0, abs=1e-6)
    for counts in OVERLAPPING:
        best = value_of(counts, best_by_descent(counts))
        assert 0 < best < len(counts) * math.log(len(counts))


def test_two_classes_give_the_binary_theorem() -> None:
    """Binary cross-entropy, written apart: log 4 - 2 JSD, with C* = p_1 / (p_1 + p_2)."""
    counts = OVERLAPPING[0]
    p = distributions(counts)
    share = p[0] / p.sum(0)
    binary = -(p[0] * share.log()).sum() - (p[1] * (1 - share).log()).sum()
    value = value_of(counts, best_by_descent(counts))
    assert value == pytest.approx(float(binary), abs=1e-6)
    assert value == pytest.approx(math.log(4) - 2 * jensen_shannon(p), abs=1e-6)


@pytest.mark.parametrize("counts", OVERLAPPING)
def test_any_other_classifier_is_worse(counts: list[list[int]]) -> None:
    best = best_by_descent(counts)
    least = value_of(counts, best)
    draws = torch.Generator().manual_seed(0)
    for _ in range(20):
        noise = torch.randn(best.logits.shape, generator=draws, dtype=torch.float64)
        other = Table(best.logits.detach() + noise)
        assert value_of(counts, other) > least

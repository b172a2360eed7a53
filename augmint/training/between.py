"""Values between those of two rows, so that more is asked for than the training rows show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from augmint.core.errors import IncompatibleError

if TYPE_CHECKING:
    from augmint.aspects.base import Schema
    from augmint.core.types import AspectValues


def _numbers(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    return torch.lerp(first, second, share[:, None])


def _points(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    places = torch.lerp(first[..., :2], second[..., :2], share[:, None, None])
    # a point lies between two only if both are known
    seen = torch.minimum(first[..., 2:], second[..., 2:])
    return torch.cat((places, seen), -1)


_WAYS: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = MappingProxyType(
    {"vector": _numbers, "landmarks": _points}
)
_CHOSEN = frozenset({"category"})
"""Kinds of which one of the two is taken: there is nothing between classes."""


def check_between(schema: Schema) -> None:
    """Raise `IncompatibleError` for an aspect that has no values between two others."""
    for aspect in schema:
        if aspect.kind not in {*_WAYS, *_CHOSEN}:
            raise IncompatibleError(
                "fake_aspects 'mixed' asks for values between those of two rows",
                f"{aspect.name}, a {aspect.kind}, which has none",
                "set fake_aspects: balanced (--set generator.fake_aspects=balanced)",
            )


def between(
    schema: Schema, first: AspectValues, second: AspectValues, share: Tensor
) -> dict[str, Tensor]:
    """Return values `(1 - t) first + t second` of vectors and landmarks.

    Landmarks that either row lacks are not labelled, and are as little visible as the less visible
    of the two; categories are those of `first`.

    Args:
        schema: of vectors, landmarks and categories.
        first: stored values of N rows.
        second: of N other rows, of the same categories where these matter.
        share: t, `(N,)`, 0 to 1.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.aspects.vector import Vector
        >>> age = Schema((Vector("age", ("years",)),))
        >>> pair = {"age": torch.tensor([[10.0]])}, {"age": torch.tensor([[20.0]])}
        >>> between(age, *pair, torch.tensor([0.25]))
        {'age': tensor([[12.5000]])}
    """
    found = {a.name: first[a.name] for a in schema}
    for aspect in schema:
        if aspect.kind in _WAYS:
            a, b = first[aspect.name], second[aspect.name]
            found[aspect.name] = _WAYS[aspect.kind](a, b, share.to(a.device))
    return found

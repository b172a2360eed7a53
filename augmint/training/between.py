"""Values between those of two rows, so that more is asked for than the training rows show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from augmint.core.errors import IncompatibleError

if TYPE_CHECKING:
    from torch import Tensor

    from augmint.aspects.base import Schema
    from augmint.core.types import AspectValues


def check_between(schema: Schema) -> None:
    """Raise `IncompatibleError` for an aspect that has no values between two others."""
    for aspect in schema:
        if not aspect.blends:
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
        >>> import torch
        >>> from augmint.aspects.base import Schema
        >>> from augmint.aspects.vector import Vector
        >>> age = Schema((Vector("age", ("years",)),))
        >>> pair = {"age": torch.tensor([[10.0]])}, {"age": torch.tensor([[20.0]])}
        >>> between(age, *pair, torch.tensor([0.25]))
        {'age': tensor([[12.5000]])}
    """
    return {
        a.name: a.between(first[a.name], second[a.name], share.to(first[a.name].device))
        for a in schema
    }

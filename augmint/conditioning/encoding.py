"""Aspect values as one vector a sample, for methods that append them to something."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import torch

from augmint.core.errors import IncompatibleError

if TYPE_CHECKING:
    from torch import Tensor

    from augmint.aspects.base import Aspect, Schema
    from augmint.core.types import AspectValues


def carried(schema: Schema, kinds: Collection[str]) -> list[Aspect]:
    """Return the aspects of the given kinds, in the order of the schema.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.aspects.category import Category
        >>> from augmint.aspects.vector import Vector
        >>> schema = Schema((Category("label", ("cat", "dog")), Vector("age", ("years",))))
        >>> [aspect.name for aspect in carried(schema, {"vector"})]
        ['age']
    """
    return [aspect for aspect in schema if aspect.kind in kinds]


def require(schema: Schema, kinds: Collection[str], name: str) -> list[Aspect]:
    """Return `carried(schema, kinds)`.

    Raises:
        IncompatibleError: if there is none.
    """
    found = carried(schema, kinds)
    if not found:
        held = ", ".join(f"{a.name} ({a.kind})" for a in schema) or "no aspect"
        raise IncompatibleError(
            f"conditioning {name} needs an aspect of kind {' or '.join(sorted(kinds))}",
            held,
            "add labels to the data or use conditioning='none' (--set generator.conditioning=none)",
        )
    return found


def by_category(categories: Collection[Aspect], logits: Tensor) -> dict[str, Tensor]:
    """Return the logits `(N, Σ width)` of several categories by their names.

    Example:
        >>> from augmint.aspects.category import Category
        >>> label, sex = Category("label", ("a", "b", "c")), Category("sex", ("f", "m"))
        >>> logits = by_category([label, sex], torch.arange(5).view(1, 5))
        >>> {name: piece.tolist() for name, piece in logits.items()}
        {'label': [[0, 1, 2]], 'sex': [[3, 4]]}
    """
    pieces = logits.split([c.width for c in categories], 1)
    return {c.name: p for c, p in zip(categories, pieces, strict=True)}


def encode(aspect: Aspect, values: Tensor) -> Tensor:
    """Return `(N, width)` float32; values that are encoded already (mixed labels) pass through.

    Example:
        >>> from augmint.aspects.category import Category
        >>> label = Category("label", ("cat", "dog"))
        >>> encode(label, torch.tensor([1])), encode(label, torch.tensor([[0.5, 0.5]]))
        (tensor([[0., 1.]]), tensor([[0.5000, 0.5000]]))
    """
    soft = values.is_floating_point() and values.shape[1:] == (aspect.width,)
    return values.float() if soft and aspect.kind == "category" else aspect.encode(values)


def vector(aspects: Collection[Aspect], values: AspectValues) -> Tensor:
    """Return `(N, Σ width)`: the encodings of several aspects side by side.

    Example:
        >>> from augmint.aspects.category import Category
        >>> from augmint.aspects.vector import Vector
        >>> aspects = Category("label", ("cat", "dog")), Vector("age", ("years",), (0.0,), (100.0,))
        >>> vector(aspects, {"label": torch.tensor([1]), "age": torch.tensor([[75.0]])})
        tensor([[0.0000, 1.0000, 0.5000]])
    """
    return beside([encode(aspect, values[aspect.name]) for aspect in aspects], values)


def beside(codes: Sequence[Tensor], values: AspectValues) -> Tensor:
    """Return codes `(N, …)` side by side; of none, `(N, 0)`, N being that of the values.

    Example:
        >>> beside([torch.zeros(1, 1), torch.ones(1, 2)], {})
        tensor([[0., 1., 1.]])
        >>> beside([], {"label": torch.ones(3)}).shape
        torch.Size([3, 0])
    """
    if codes:
        return torch.cat(list(codes), 1)
    some = next(iter(values.values()))
    return torch.zeros(len(some), 0, device=some.device)

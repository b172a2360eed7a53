"""The parents of the published merges, as data, and the widths of the released networks.

| name | source (arXiv) | parents |
|---|---|---|
| `spdnn-iris` | Bazrafkan et al. 2018, 1712.02877 | 4; inferred from the released network |
| `spdnn-magazine` | Bazrafkan and Corcoran 2018, 1711.01943 | 3; kernels published, widths ours |
| `spdnn-depth` | Bazrafkan et al. 2017, 1703.03867 | 8; labels published, widths ours |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from augmint.core.errors import UsageError, nearest
from augmint.merging.contraction import Rules
from augmint.merging.merge import Merge, merge_networks, replace_widths
from augmint.merging.network import Network
from augmint.merging.notation import chain


@dataclass(frozen=True)
class Published:
    """One published merge.

    Args:
        shape: of its images.
        words: of each parent, by name, in the notation of `augmint.merging.notation`.
        rules: that reproduce it.
        keep_dense: dense layers keep their neurons.
        last: activation of the output.
        tags: of the layers of each parent, in order; keeps layers apart.
    """

    shape: tuple[int, ...]
    words: Mapping[str, str]
    rules: Rules
    keep_dense: bool = False
    last: str = "sigmoid"
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def parents(self, shape: tuple[int, ...] | None = None) -> list[Network]:
        """Return the parents, for images of another shape where one is given.

        Example:
            >>> parents = published("spdnn-magazine").parents()
            >>> [sum(layer.kind == "conv" for layer in parent) for parent in parents]
            [8, 6, 5]
        """
        return [
            chain(name, shape or self.shape, words, last=self.last, tags=self.tags.get(name, ()))
            for name, words in self.words.items()
        ]


def _hour_glass(kernels: tuple[int, ...]) -> str:
    width = {3: 10, 5: 10, 7: 20, 9: 20, 11: 30, 13: 30, 15: 40}
    both = (*kernels, *kernels[-2::-1])
    return " ".join(f"{k}C:{width[k]}" for k in both[:-1]) + f" {both[-1]}C:1"


_IRIS = {
    f"iris-{i + 1}": _hour_glass((3, 5, 7, 9, 11, 13, 15)[: i + 4]) for i in reversed(range(4))
}
_MAGAZINE = {
    "magazine-1": " ".join(["7C:16"] * 7 + ["7C:1"]),
    "magazine-2": " ".join(["3C:47"] * 5 + ["3C:1"]),
    "magazine-3": "3C:22 5C:22 7C:22 9C:22 11C:1",
}


def _depth(index: int) -> str:
    p = 2 ** (index % 4)
    width = 64 if index < 4 else 24
    pool, unpool = (f"{p}P ", f"{p}U ") if p > 1 else ("", "")
    left = f"3C:{width} {pool}3C:{width} 3C:{width} 3C:{width}"
    if index < 4:
        return f"{left} {unpool}" + " ".join([f"3C:{width}"] * 4) + " 3C:1"
    down = f"{8 // p}P " if p < 8 else ""
    return f"{left} {down}D0.5 30F D0.5 330F R1x10x33 8U 7C:2 3C:1"


_DEPTH = {f"depth-{i + 1}": _depth(i) for i in range(8)}
_BRANCHES = {f"depth-{i + 1}": (f"branch-{2 ** (i % 4)}",) for i in range(8)}

PUBLISHED: dict[str, Published] = {
    "spdnn-iris": Published((1, 96, 128), _IRIS, Rules(output="layer")),
    "spdnn-magazine": Published((1, 96, 128), _MAGAZINE, Rules(output="layer", letters="parent")),
    "spdnn-depth": Published((1, 80, 264), _DEPTH, Rules(output="node"), True),
    # the released program has a first convolution of its own in each of the four branches
    "spdnn-depth-released": Published(
        (1, 80, 264), _DEPTH, Rules(output="node"), True, tags=_BRANCHES
    ),
}

RELEASED_WIDTHS: dict[str, tuple[int | None, dict[str, int]]] = {
    "spdnn-iris": (None, {}),
    "spdnn-depth-released": (6, {"depth-1:8-C": 4, "depth-5:12-C": 2}),
}
"""Channels of the released networks: of every convolution (None: as the parents), and of single
ones by a parent's layer. Dense layers keep their neurons."""


def published(name: str) -> Published:
    """Return a published merge by name.

    Raises:
        UsageError: for an unknown name.

    Example:
        >>> published("spdnn-magazine").words["magazine-3"]
        '3C:22 5C:22 7C:22 9C:22 11C:1'
    """
    if name not in PUBLISHED:
        raise UsageError("published merges have names", name, nearest(name, PUBLISHED))
    return PUBLISHED[name]


def released(name: str, shape: tuple[int, ...] | None = None) -> Merge:
    """Return a merge with the widths of the released network, for images of another shape if given.

    Raises:
        UsageError: if no network was released, or its widths are not known.

    Example:
        >>> released("spdnn-iris").allocation.count
        1102121
    """
    if name not in RELEASED_WIDTHS:
        raise UsageError(
            "widths of released networks are known", name, nearest(name, RELEASED_WIDTHS)
        )
    case = published(name)
    merge = merge_networks(case.parents(shape), None, case.rules, name=name)
    every, single = RELEASED_WIDTHS[name]
    convolutions = [n for n, p in merge.plan.layers.items() if p.node.kind == "conv"]
    widths = {} if every is None else dict.fromkeys(convolutions, every)
    widths |= {merge.contraction.place(*layer.split(":")): n for layer, n in single.items()}
    if merge.contraction.end is not None:
        widths.pop(merge.contraction.end, None)
    return replace_widths(merge, widths, name)

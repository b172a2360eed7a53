"""SPDNN for depth from one image, eight parents (Bazrafkan et al. 2017): the merge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from augmint.core.registry import RECIPES
from augmint.recipes.spdnn_structure import StructureConfig, StructureRecipe, structure


@RECIPES.register("spdnn-depth")
@dataclass(frozen=True)
class SpdnnDepth(StructureRecipe):
    """The merge of eight networks with pooling by 1, 2, 4 and 8.

    `text` has one first convolution that all branches share, and as many parameters as the mean
    parent; `released` has one in each branch, and the widths of the authors' program.

    Example:
        >>> text, released = (SpdnnDepth().configure(v) for v in ("text", "released"))
        >>> len(text.case.words), text.budget, released.widths
        (8, '1.0x', 'released')
        >>> SpdnnDepth().configure("text", debug=True) == text
        True
    """

    title: ClassVar[str] = "SPDNN, eight networks for depth"
    source: ClassVar[str] = "Bazrafkan, Javidnia, Lemley and Corcoran 2017, arXiv:1703.03867"
    expected: ClassVar[Mapping[str, float | str]] = {
        "parameters_merged": "254 517 in the released program; as many as each parent, in the text",
        "parameters_saved": "0.75 in the thesis, which eight equal parents do not allow",
    }

    def configure(self, variant: str, debug: bool = False) -> StructureConfig:
        """Return the configuration, which the debug version shares: nothing is trained."""
        if variant == "released":
            return structure("spdnn-depth-released", "released")
        return structure("spdnn-depth", "budget", "1.0x")

    def deviations(self, variant: str, debug: bool = False) -> Sequence[str]:
        """Return where the configuration leaves the paper or its program."""
        told = [
            "the parents' widths were not published: 64 channels without a bottleneck, 24 with one",
            "both passes are made; the paper describes the first",
            "nothing is trained",
        ]
        if variant == "released":
            told.append("the four first convolutions are kept apart by tags, as in the program")
        return told

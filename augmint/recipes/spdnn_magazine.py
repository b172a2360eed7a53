"""SPDNN on irises, three parents (Bazrafkan and Corcoran 2018): the merge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from augmint.core.registry import RECIPES
from augmint.recipes.spdnn_structure import StructureConfig, StructureRecipe, structure


@RECIPES.register("spdnn-magazine")
@dataclass(frozen=True)
class SpdnnMagazine(StructureRecipe):
    """The merge of three networks of 8, 6 and 5 convolutions, with as many parameters as each.

    Example:
        >>> config = SpdnnMagazine().configure("text")
        >>> [len(words.split()) for words in config.case.words.values()], config.budget
        ([8, 6, 5], '1.0x')
        >>> SpdnnMagazine().configure("text", debug=True).case.shape
        (1, 24, 32)
    """

    title: ClassVar[str] = "SPDNN, three networks for irises"
    source: ClassVar[str] = "Bazrafkan and Corcoran 2018, arXiv:1711.01943"
    variants: ClassVar[tuple[str, ...]] = ("text",)
    expected: ClassVar[Mapping[str, float | str]] = {
        "nodes_parallel": 19.0,
        "nodes_forward": 17.0,
        "nodes_backward": "not published: one pass only",
        "parameters_merged": "almost those of each parent",
    }

    def configure(self, variant: str, debug: bool = False) -> StructureConfig:
        """Return the configuration; the debug version takes smaller images."""
        return structure("spdnn-magazine", "budget", "1.0x", (1, 24, 32) if debug else None)

    def deviations(self, variant: str, debug: bool = False) -> Sequence[str]:
        """Return where the configuration leaves the article."""
        told = [
            "widths were not published: 16, 47 and 22 channels, about 80 000 parameters each",
            "both passes are made, as in the thesis' main chapter; the second joins nothing here",
            "nothing is trained",
        ]
        return [*told, "debug: images of 24x32 px"] if debug else told

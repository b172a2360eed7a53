"""SPDNN on irises, four parents (Bazrafkan, Thavalengal and Corcoran 2018): the merge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from augmint.core.registry import RECIPES
from augmint.recipes.spdnn_structure import StructureConfig, StructureRecipe, structure


@RECIPES.register("spdnn-iris")
@dataclass(frozen=True)
class SpdnnIris(StructureRecipe):
    """The merge of four hour-glass networks into the released one of 13 convolutions.

    Example:
        >>> config = SpdnnIris().configure("released")
        >>> config.case.shape, [len(words.split()) for words in config.case.words.values()]
        ((1, 96, 128), [13, 11, 9, 7])
        >>> SpdnnIris().configure("released", debug=True).case.shape
        (1, 24, 32)
    """

    title: ClassVar[str] = "SPDNN, four networks for irises"
    source: ClassVar[str] = "Bazrafkan, Thavalengal and Corcoran 2018, arXiv:1712.02877"
    variants: ClassVar[tuple[str, ...]] = ("released",)
    expected: ClassVar[Mapping[str, float | str]] = {
        "nodes_backward": 13.0,
        "parameters_merged": 1_102_121.0,
        "convolution_weights_merged": 1_101_580.0,
        "convolution_weights_saved": 0.33,
    }

    def configure(self, variant: str, debug: bool = False) -> StructureConfig:
        """Return the configuration; the debug version takes smaller images."""
        return structure("spdnn-iris", "released", None, (1, 24, 32) if debug else None)

    def deviations(self, variant: str, debug: bool = False) -> Sequence[str]:
        """Return where the configuration leaves the paper or its program."""
        told = [
            "the parents' tables are lost; theirs are inferred from the released network, which "
            "they give exactly",
            "nothing is trained",
        ]
        return [*told, "debug: images of 24x32 px"] if debug else told

"""SPDNN as a classifier: is a merged network better than its parents at equal size?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from augmint.core.registry import RECIPES
from augmint.recipes.spdnn_equal_size import EqualSizeConfig, EqualSizeRecipe
from augmint.recipes.spdnn_training import Training

PARENTS = {
    "deep": "3C:8 3C:12 2P 3C:20 3C:24 2P 3C:28 3C:32 2P",
    "wide": "5C:12 2P 5C:24 2P 5C:40 2P",
    "falling": "7C:8 2P 5C:24 2P 3C:64 2P",
    "rising": "3C:16 2P 5C:24 2P 7C:20 2P",
}
"""Four parents of about 30 000 parameters at 28 px: other kernels, other depths, one output."""


@RECIPES.register("spdnn-classifier")
@dataclass(frozen=True)
class SpdnnClassifier(EqualSizeRecipe):
    """Four parents, their merge and five kinds of rival at equal parameters, on any labelled set.

    Every network is trained in the same way on the same images. The merged network is judged by
    paired differences over seeds against the best parent, chosen on validation images.

    Example:
        >>> config = SpdnnClassifier().configure("text")
        >>> list(config.parents), config.training.steps, config.seeds
        (['deep', 'wide', 'falling', 'rising'], 1500, 5)
        >>> SpdnnClassifier().configure("text", debug=True).seeds
        2
    """

    title: ClassVar[str] = "SPDNN, merged classifiers at equal parameters"
    source: ClassVar[str] = "the method of Bazrafkan and Corcoran 2018, arXiv:1711.01943"
    variants: ClassVar[tuple[str, ...]] = ("text",)
    expected: ClassVar[Mapping[str, float | str]] = {
        "merged_minus_best_parent": "above 0 (on irises: better in most measures)",
        "steps_merged": "fewer than the parents'",
        "validation_fluctuation_merged": "less than the parents'",
    }
    data_hint: ClassVar[str] = (
        "labelled images, such as Fashion-MNIST (a folder with its idx files)"
    )
    task: ClassVar[str] = "classification"

    def configure(self, variant: str, debug: bool = False) -> EqualSizeConfig:
        """Return the configuration; the debug version has two seeds and some dozen steps."""
        if debug:
            return EqualSizeConfig(
                PARENTS,
                training=Training(steps=24, batch=32, readings=6),
                per_class=30,
                validation_per_class=20,
                seeds=2,
                window=4,
            )
        return EqualSizeConfig(PARENTS)

    def deviations(self, variant: str, debug: bool = False) -> Sequence[str]:
        """Return where the configuration leaves its source."""
        told = [
            "classification in place of segmentation; the parents are ours",
            "AdamW with one cycle of the rate, the same for all networks, and no augmentation",
            "the rate falls to zero at the end, which calms every network's loss",
        ]
        if debug:
            told.append("debug: other data, two seeds and far fewer steps; numbers mean nothing")
        return told

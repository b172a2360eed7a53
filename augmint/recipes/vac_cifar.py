"""VAC+GAN and ACGAN on CIFAR-10: whose classifier is right more often on real images?"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from augmint.core.registry import RECIPES, Spec
from augmint.recipes.conditional import ConditionalConfig, ConditionalRecipe, measures
from augmint.recipes.vac_family import (
    ACGAN,
    CIFAR_STEPS,
    DEBUG,
    NARROW,
    NARROW_STEPS,
    OWN_JUDGE,
    SAME_LATENT,
    SAME_TRAINING,
    training,
    vac,
)

_PAPER = "Bazrafkan and Corcoran 2018, arXiv:1806.07751, experiment on CIFAR-10"


@dataclass(frozen=True)
class CifarRecipe(ConditionalRecipe):
    """One method with the paper's networks for CIFAR-10.

    `narrow` is what a CPU can do: a tenth of all widths and 300 000 images.
    """

    data_hint: ClassVar[str] = (
        "CIFAR-10 (a folder with the .bin files of its binary version, or of class folders)"
    )
    debug_data: ClassVar[str] = "toy"

    @abstractmethod
    def conditioning(self, variant: str, width: Mapping[str, Any]) -> Spec:
        """Return how the class enters; `width` is the networks' factor."""

    def configure(self, variant: str, debug: bool = False) -> ConditionalConfig:
        """Return the configuration; the debug version takes narrow networks and a few steps."""
        narrow = variant == "narrow"
        factor = NARROW if narrow else 2 * NARROW if debug else 1.0
        width = {} if factor == 1.0 else {"width": factor}
        steps = 10 if debug else NARROW_STEPS if narrow else CIFAR_STEPS
        gan = training(
            {"name": "vac-cifar-generator", **width},
            {"name": "vac-cifar-critic", **width},
            self.conditioning(variant, width),
            steps,
            released=variant != "text",
        )
        if debug:
            return ConditionalConfig(gan, measures(debug=True), (32, 32), channels=3)
        return ConditionalConfig(gan, measures(4000), channels=3)

    def _told(self, own: Sequence[str], variant: str, debug: bool) -> list[str]:
        told = [
            *own,
            OWN_JUDGE,
            "rates are constant over the 200 epochs; the program lowers them after epoch 500",
            "the classifier's third convolution is neither normalised nor pooled, as in "
            "the program",
        ]
        if variant == "narrow":
            told.append(
                "narrow: all widths (and the kernels of the minibatch discrimination) are a tenth, "
                "and 300 000 images are shown, not 10 000 000; not the paper's experiment"
            )
        return [*told, DEBUG] if debug else told


@RECIPES.register("vac-cifar10")
@dataclass(frozen=True)
class VacCifar(CifarRecipe):
    """VAC+GAN on CIFAR-10: the accuracy of its classifier on real test images.

    `own_accuracy` is the paper's number; `own_alone` that of the same
    classifier trained on as many real images and nothing else, which the paper lacks. `released`
    trains it on real and generated images; `text` on generated images alone, as the text reads,
    where nothing ties its classes to those of the data.

    Example:
        >>> released, narrow = (VacCifar().configure(v).gan for v in ("released", "narrow"))
        >>> released.conditioning["theta"], released.steps == 200 * 50_000 / 16, narrow.generator
        (0.5, True, {'name': 'vac-cifar-generator', 'width': 0.1})
        >>> VacCifar().configure("released", debug=True).gan.steps
        10
    """

    title: ClassVar[str] = "VAC+GAN, ten classes of CIFAR-10"
    source: ClassVar[str] = _PAPER
    variants: ClassVar[tuple[str, ...]] = ("released", "text", "narrow")
    expected: ClassVar[Mapping[str, float | str]] = {"own_accuracy": 0.7449}

    def conditioning(self, variant: str, width: Mapping[str, Any]) -> Spec:
        classifier = {"name": "vac-cifar-classifier", **width}
        trains_on = "generated" if variant == "text" else "both"
        return vac(classifier, theta=0.5, zeta=0.5, trains_on=trains_on)

    def deviations(self, variant: str, debug: bool = False) -> Sequence[str]:
        """Return where the configuration leaves the paper or its program."""
        own = ["the classifier has dropout off where it teaches the generator"]
        if variant == "text":
            own.append("nothing ties the classes to the data's: the classifier sees no real image")
        return self._told(own, variant, debug)


@RECIPES.register("acgan-cifar10")
@dataclass(frozen=True)
class AcganCifar(CifarRecipe):
    """ACGAN with the generator, critic and images of `vac-cifar10`: a head on the critic.

    `own_accuracy` is that of the head on real test images; `own_alone`
    that of critic and head trained as a classifier alone.

    Example:
        >>> from dataclasses import replace
        >>> other, acgan = (r().configure("released").gan for r in (VacCifar, AcganCifar))
        >>> replace(other, conditioning=acgan.conditioning) == acgan
        True
        >>> AcganCifar().configure("released", debug=True).gan.steps
        10
    """

    title: ClassVar[str] = "ACGAN, ten classes of CIFAR-10, with the networks of VAC+GAN"
    source: ClassVar[str] = f"{_PAPER}; Odena et al. 2017, arXiv:1610.09585"
    variants: ClassVar[tuple[str, ...]] = ("released", "text", "narrow")
    expected: ClassVar[Mapping[str, float | str]] = {"own_accuracy": 0.7189}

    def conditioning(self, variant: str, width: Mapping[str, Any]) -> Spec:
        return ACGAN

    def deviations(self, variant: str, debug: bool = False) -> Sequence[str]:
        """Return where the configuration leaves the paper or its program."""
        own = [
            SAME_LATENT,
            f"{SAME_TRAINING}: that has batches of 100, three critic updates for each of the "
            "generator, soft and sometimes flipped labels, and no class loss on generated images",
        ]
        return self._told(own, variant, debug)

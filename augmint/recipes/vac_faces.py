"""VAC+GAN on faces: a BEGAN that draws women and men, and the conditional BEGAN beside it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from augmint.core.registry import RECIPES, Spec
from augmint.recipes.conditional import ConditionalConfig, ConditionalRecipe, measures
from augmint.recipes.vac_family import CONCATENATION, DEBUG, OWN_JUDGE, vac
from augmint.training.config import GanConfig

_PAPER = "Bazrafkan, Javidnia and Corcoran 2018, arXiv:1805.00316"
_STEPS = 50 * 2400  # the released samples are those of epoch 50, an epoch being 2400 batches

_SHARED = (
    OWN_JUDGE,
    "faces are taken as the data set has them; the paper detects and crops those of CelebA",
    "images lie in [-1, 1]; the program has [0, 1]",
    "latents are drawn over their whole range; the program's samples have |z_0| of 0.7 and more",
)


@dataclass(frozen=True)
class FacesRecipe(ConditionalRecipe):
    """BEGAN on faces of two classes;
    the first of 64 latent dimensions says the class by its sign."""

    data_hint: ClassVar[str] = (
        "faces of women and men: CelebA's folder, or folders named by class, such as UTKFace's"
    )
    debug_data: ClassVar[str] = "toy"

    @abstractmethod
    def conditioning(self, variant: str) -> Spec:
        """Return how the class enters."""

    def size(self, variant: str) -> int:
        """Return the side of the images."""
        return 48

    def configure(self, variant: str, debug: bool = False) -> ConditionalConfig:
        """Return the configuration; the debug version has few channels and a few steps."""
        released = variant == "released"
        channels = {"channels": 4} if debug else {}
        energy = "l1" if released else "squared"
        gan = GanConfig(
            generator={"name": "began-generator", **channels},
            critic={"name": "began-critic", "code": 64, "energy": energy, **channels},
            objective={"name": "began", "gamma": 0.5},
            conditioning=self.conditioning(variant),
            augment=None,
            auxiliary_augment=None,
            latent_dim=64,
            batch=16,
            steps=10 if debug else _STEPS,
            generator_rate=1e-4,
            critic_rate=1e-4,
            auxiliary_rate=1e-2,
            auxiliary_optimiser="nesterov",
            betas=(0.5, 0.999),
            ema=0.0,
            simultaneous=released,
            fake_aspects="batch" if released else "balanced",
        )
        if debug:
            return ConditionalConfig(gan, measures(debug=True), (32, 32), channels=3)
        side = self.size(variant)
        # 80 + 80 images give 2 · 3160 pairs within the classes and 6400 between them
        how = replace(measures(4000), pairs=6400)
        return ConditionalConfig(gan, how, (side, side), channels=3)


@RECIPES.register("vac-began-faces")
@dataclass(frozen=True)
class VacBeganFaces(FacesRecipe):
    """VAC on a BEGAN: women and men, by a classifier beside an auto-encoder as critic.

    `text`: 48 px, squared energies, theta 0.997, zeta 0.003. `released`: 128 px, absolute energies,
    0.991 and 0.009, both players at once. The classifier trains on real and generated images in
    both: on generated images alone nothing would tie the classes to women and men.

    Example:
        >>> text, released = (VacBeganFaces().configure(v) for v in ("text", "released"))
        >>> [(c.size, c.gan.conditioning["theta"]) for c in (text, released)]
        [((48, 48), 0.997), ((128, 128), 0.991)]
        >>> text.gan.critic["energy"], released.gan.critic["energy"]
        ('squared', 'l1')
        >>> VacBeganFaces().configure("text", debug=True).size
        (32, 32)
    """

    title: ClassVar[str] = "VAC+GAN, women and men, on a BEGAN"
    source: ClassVar[str] = _PAPER
    expected: ClassVar[Mapping[str, float | str]] = {
        "conditional_accuracy": "not published; women and men are told apart, by eye",
        "within_mse": "above that of cbegan-faces (bars lost)",
        "between_mse": "above that of cbegan-faces (bars lost)",
        "within_ssim": "below that of cbegan-faces (bars lost)",
        "between_ssim": "below that of cbegan-faces (bars lost)",
    }

    def conditioning(self, variant: str) -> Spec:
        if variant == "released":
            return vac("vac-binary-classifier", theta=0.991, zeta=0.009, trains_on="both")
        text = vac("vac-binary-classifier", theta=0.997, zeta=0.003, trains_on="both")
        return {**text, "zeta": 0.003}  # the text's loss is that of generated images alone

    def size(self, variant: str) -> int:
        return 128 if variant == "released" else 48

    def deviations(self, variant: str, debug: bool = False) -> Sequence[str]:
        """Return where the configuration leaves the paper or its program."""
        told = [
            *_SHARED,
            "the classifier has two outputs and a soft-max in place of one and a sigmoid: the "
            "same function",
            "the classifier has dropout off where it teaches the generator",
        ]
        if variant == "text":
            told += [
                "the classifier also sees real images, as in the program",
                "k stays in [0, 1], and moves by 0.001: the text names neither",
                "batch size and number of steps are the program's",
            ]
        return [*told, DEBUG] if debug else told


@RECIPES.register("cbegan-faces")
@dataclass(frozen=True)
class CbeganFaces(FacesRecipe):
    """The conditional BEGAN, the baseline of `vac-began-faces` with the same networks.

    `literal` is as printed: the class enters the generator's latent and no loss knows of it, so
    that it cannot work. `critic` gives the class to the critic too, as two further channels: the
    fair baseline.

    Example:
        >>> [CbeganFaces().configure(v).gan.conditioning["critic"] for v in ("literal", "critic")]
        [False, True]
        >>> CbeganFaces().configure("literal", debug=True).gan.generator["channels"]
        4
    """

    title: ClassVar[str] = "CBEGAN, women and men"
    source: ClassVar[str] = f"{_PAPER}, its baseline"
    variants: ClassVar[tuple[str, ...]] = ("literal", "critic")
    expected: ClassVar[Mapping[str, float | str]] = {
        "conditional_accuracy": "not published; women and men are not told apart, by eye"
    }

    def conditioning(self, variant: str) -> Spec:
        return {**CONCATENATION, "critic": variant == "critic"}

    def deviations(self, variant: str, debug: bool = False) -> Sequence[str]:
        """Return where the configuration leaves the paper or its program."""
        told = [*_SHARED, "k stays in [0, 1], and moves by 0.001: the text names neither"]
        if variant == "critic":
            told.append("the critic is given the class, which the printed losses leave out")
        return [*told, DEBUG] if debug else told

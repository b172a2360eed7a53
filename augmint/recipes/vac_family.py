"""What VAC+GAN's experiments on MNIST and CIFAR-10 and their baselines share.

A comparison of methods holds everything else equal: latent, generator, critic, optimisers, batch,
order and number of images. It stands here once, and a recipe says its conditioning.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from augmint.core.registry import Spec
from augmint.recipes.conditional import ConditionalConfig, ConditionalRecipe, measures
from augmint.training.config import GanConfig

BATCH = 16
MNIST_STEPS = 55 * 60_000 // BATCH  # the released samples are those of epoch 55
CIFAR_STEPS = 200 * 50_000 // BATCH
NARROW, NARROW_STEPS = 0.1, 300_000 // BATCH

ACGAN: dict[str, Any] = {"name": "acgan", "latent": "sign"}
CONCATENATION: dict[str, Any] = {"name": "concatenation", "latent": "sign"}

OWN_JUDGE = (
    "the judge learns from a quarter of the training images, which the generator therefore does "
    "not see; published generators see all"
)
DEBUG = "debug: other data, other sizes and far fewer steps; numbers mean nothing"
SAME_LATENT = (
    "generator and latent are those of the VAC recipe: one dimension a class, whose signs say the "
    "class; the original has some 100 dimensions and a code of the class beside them"
)
SAME_TRAINING = (
    "optimiser, batch size and number of images are those of the VAC recipe, not the original's"
)


def vac(classifier: Spec, theta: float, zeta: float, trains_on: str) -> dict[str, Any]:
    """Return VAC with the paper's latent.

    Args:
        classifier: C.
        theta, zeta: weights of the adversarial and the class loss, as the paper prints them.
        trains_on: what trains C. With "both" zeta is halved: the program averages the loss of
            real images into it, which gives the generator no gradient.

    Example:
        >>> [vac("small-cnn", 0.2, 0.8, trains_on)["zeta"] for trains_on in ("generated", "both")]
        [0.8, 0.4]
    """
    weight = zeta / 2 if trains_on == "both" else zeta
    return {
        "name": "vac",
        "network": classifier,
        "theta": theta,
        "zeta": weight,
        "latent": "sign",
        "trains_on": trains_on,
    }


def training(
    generator: Spec, critic: Spec, conditioning: Spec, steps: int, released: bool
) -> GanConfig:
    """Return the training of one method: Adam 2e-4, batches of 16, Nesterov 0.01 for C.

    Args:
        generator, critic, conditioning: parts.
        steps: of 16 images.
        released: both players move at once, and generated images carry the labels of the real
            batch; else in turn, with classes equally often.

    Example:
        >>> turns, at_once = (training("g", "c", ACGAN, 9, released) for released in (False, True))
        >>> turns.fake_aspects, at_once.fake_aspects, turns.generator_rate, turns.auxiliary_rate
        ('balanced', 'batch', 0.0002, 0.01)
    """
    return GanConfig(
        generator=generator,
        critic=critic,
        objective="non-saturating",
        conditioning=conditioning,
        augment=None,
        auxiliary_augment=None,
        latent_dim=10,
        batch=BATCH,
        steps=steps,
        generator_rate=2e-4,
        critic_rate=2e-4,
        auxiliary_rate=1e-2,
        auxiliary_optimiser="nesterov",
        betas=(0.5, 0.999),
        ema=0.0,
        simultaneous=released,
        fake_aspects="batch" if released else "balanced",
    )


@dataclass(frozen=True)
class MnistRecipe(ConditionalRecipe):
    """One method on MNIST; `text` updates players in turn, `released` at once, as the program."""

    data_hint: ClassVar[str] = "MNIST (a folder with its four idx files)"
    generator: ClassVar[Spec] = "vac-mnist-generator"

    @abstractmethod
    def conditioning(self, variant: str) -> Spec:
        """Return how the class enters: all that differs between methods."""

    def critic(self, released: bool) -> Spec:
        """Return the critic, which the program normalises once more than the text."""
        return {"name": "vac-mnist-critic", "dense_normalisation": released}

    def configure(self, variant: str, debug: bool = False) -> ConditionalConfig:
        """Return the configuration; the debug version takes 16 px digits and a few steps."""
        released = variant == "released"
        steps = 40 if debug else MNIST_STEPS
        parts = (self.generator, self.critic(released), self.conditioning(variant))
        gan = training(*parts, steps, released)
        if debug:
            return ConditionalConfig(gan, measures(debug=True), size=(16, 16))
        return ConditionalConfig(gan, measures(4000))

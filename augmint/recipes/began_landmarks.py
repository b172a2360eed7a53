"""Faces with their landmarks from one latent: a BEGAN, its inverse, and the aspect generator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from augmint.core.registry import RECIPES
from augmint.latent.aspect_map import AspectMapConfig
from augmint.latent.encoder import EncoderConfig
from augmint.latent.inversion import InversionConfig
from augmint.recipes.latent_pairs import PairsConfig, PairsRecipe
from augmint.recipes.var_faces import measurer
from augmint.training.config import GanConfig

PAPER = "Bazrafkan, Javidnia and Corcoran 2018, Pattern Recognition Letters 116"
DEBUG = "the debug version is narrow and short: its numbers mean nothing"
SHARED = (
    "k stays in [0, 1] and moves by 0.001 a step, as in the program: the text names neither",
    "the weights that are kept are a moving average of the generator's",
    "baselines and all numbers are ours: the paper shows pictures alone",
)


def began(channels: int, steps: int, rate: float = 1e-4, latent_dim: int = 64) -> GanConfig:
    """Return the training of a BEGAN on images alone, latents uniform in [-1, 1).

    Example:
        >>> config = began(64, 200_000)
        >>> config.objective, config.critic["code"] == config.latent_dim == 64
        ({'name': 'began', 'gamma': 0.5}, True)
    """
    width = {"channels": channels}
    return GanConfig(
        generator={"name": "began-generator", **width},
        critic={"name": "began-critic", "code": latent_dim, **width},
        objective={"name": "began", "gamma": 0.5},
        conditioning={"name": "none", "latent": "uniform"},
        augment=None,
        auxiliary_augment=None,
        latent_dim=latent_dim,
        batch=16,
        steps=steps,
        generator_rate=rate,
        critic_rate=rate,
        betas=(0.5, 0.999),
        ema=0.999,
        simultaneous=True,
        fake_aspects="data",
    )


def inversion(variant: str) -> InversionConfig:
    """Return the search of the text, of the program, or of the small version.

    Example:
        >>> text, released = inversion("text"), inversion("released")
        >>> text.restarts, released.loss, released.restart_above
        (0, 'l2', 0.1)
    """
    if variant == "released":
        return InversionConfig(loss="l2", restart_above=0.1, keep="last")
    if variant == "small":
        return InversionConfig(steps=60, rate=0.01, bound=0.1, restarts=0)
    return InversionConfig(restarts=0)


def small_encoder() -> EncoderConfig:
    """Return an encoder that starts the search so near that small steps suffice."""
    return EncoderConfig(channels=16, latent_weight=0.1, image_weight=1.0)


@RECIPES.register("began-faces-landmarks")
@dataclass(frozen=True)
class BeganFacesLandmarks(PairsRecipe):
    """Landmarks as a function of a BEGAN's latent,
    beside a distilled teacher and a joint generator.

    `text` and `released`: 128 px, 64 channels. `small`: 32 px, a quarter of the channels, a soft
    bound on latents, and an encoder that starts the search: for a CPU.

    Example:
        >>> text, small = (BeganFacesLandmarks().configure(v) for v in ("text", "small"))
        >>> text.size, text.gan.generator["channels"], small.size, small.gan.generator["channels"]
        ((128, 128), 64, (32, 32), 16)
        >>> BeganFacesLandmarks().configure("text", debug=True).gan.steps
        6
    """

    title: ClassVar[str] = "Faces and landmarks from one latent"
    source: ClassVar[str] = PAPER
    variants: ClassVar[tuple[str, ...]] = ("text", "released", "small")
    expected: ClassVar[Mapping[str, float | str]] = {
        "minted_nme": "not published; landmarks lie on the faces, by eye"
    }
    data_hint: ClassVar[str] = "images with landmarks (CelebA's faces with 49 points in the paper)"
    debug_data: ClassVar[str] = "toy-faces"
    kind: ClassVar[str] = "landmarks"
    score: ClassVar[str] = "nme"
    score_words: ClassVar[str] = "normalised mean error"

    def configure(self, variant: str, debug: bool = False) -> PairsConfig:
        """Return networks, training and measures of a variant."""
        if debug:
            how = InversionConfig(steps=4, restarts=0, loss=inversion(variant).loss, look=2)
            return PairsConfig(
                gan=began(4, 6, latent_dim=8),
                inversion=how if variant != "small" else InversionConfig(steps=3, bound=0.1),
                encoder=EncoderConfig(channels=4, steps=2, batch=8),
                map=AspectMapConfig(steps=20),
                measurer=measurer(4, 8),
                size=(32, 32), draws=40, measured_on=40, test_share=0.25, minted=16, walks=1,
            )  # fmt: skip
        small = variant == "small"
        return PairsConfig(
            gan=began(16, 20_000, 2e-4) if small else began(64, 200_000),
            inversion=inversion(variant),
            encoder=small_encoder() if small else None,
            map=AspectMapConfig(
                steps=20_000 if small else 200_000, batch=100 if variant == "released" else 16
            ),
            measurer=measurer(),
            size=(32, 32) if small else (128, 128),
        )

    def deviations(self, variant: str, debug: bool = False) -> Sequence[str]:
        """Return where the configuration leaves the paper or its program."""
        told = [
            *SHARED,
            "200 000 steps for the generator and for the map in place of up to 10 000 and of 1000 "
            "passes over 156 190 images",
            "an encoding in [-1, 1] with 2 sigmoid - 1 in place of [0, 1] with a sigmoid: the same "
            "network and minimum",
        ]
        if variant != "released":
            told.append("500 steps for each inversion, from the program: the text names no number")
        if variant == "small":
            told += [
                "32 px, 16 channels, 20 000 steps at a rate of 0.0002",
                "inversion: 60 steps at a rate of 0.01 from an encoder's latents, which a soft "
                "bound keeps near [-1, 1]",
            ]
        return [*told, DEBUG] if debug else told

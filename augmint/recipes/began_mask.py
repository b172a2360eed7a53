"""Images with their masks from one latent: a BEGAN, its inverse,
and a decoder as aspect generator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from augmint.core.registry import RECIPES
from augmint.latent.aspect_map import AspectMapConfig
from augmint.latent.encoder import EncoderConfig
from augmint.latent.inversion import InversionConfig
from augmint.recipes.began_landmarks import DEBUG, PAPER, SHARED, began, inversion, small_encoder
from augmint.recipes.latent_pairs import PairsConfig, PairsRecipe
from augmint.tasks.config import TaskConfig


@RECIPES.register("began-mask")
@dataclass(frozen=True)
class BeganMask(PairsRecipe):
    """A mask as a function of a BEGAN's latent, beside a distilled teacher and a joint generator.

    `text`: 96 x 128 px, 64 channels. `small`: 48 x 64 px and a quarter of the channels.

    Example:
        >>> config = BeganMask().configure("text")
        >>> config.size, config.channels, config.map.decoder
        ((96, 128), 1, {'name': 'began-generator', 'channels': 64})
        >>> BeganMask().configure("text", debug=True).size
        (24, 32)
    """

    title: ClassVar[str] = "Eyes and their segmentation from one latent"
    source: ClassVar[str] = PAPER
    variants: ClassVar[tuple[str, ...]] = ("text", "small")
    expected: ClassVar[Mapping[str, float | str]] = {
        "minted_iou": "not published; masks fit the irises, by eye"
    }
    data_hint: ClassVar[str] = "images with masks (degraded irises of Bath800 and CASIA1000)"
    debug_data: ClassVar[str] = "toy-eyes"
    kind: ClassVar[str] = "mask"
    score: ClassVar[str] = "iou"
    score_words: ClassVar[str] = "mean intersection over union"
    complement: ClassVar[bool] = True

    def configure(self, variant: str, debug: bool = False) -> PairsConfig:
        """Return networks, training and measures of a variant."""
        if debug:
            return PairsConfig(
                gan=began(4, 5, latent_dim=8),
                inversion=InversionConfig(steps=3 if variant == "text" else 4, restarts=0),
                encoder=EncoderConfig(channels=4, steps=2, batch=8),
                map=_map(4, 4),
                measurer=measurer(4, 6),
                size=(24, 32), channels=1, draws=32, measured_on=32, test_share=0.25, minted=12,
                walks=1,
            )  # fmt: skip
        small = variant == "small"
        return PairsConfig(
            gan=began(16, 20_000, 2e-4) if small else began(64, 200_000),
            inversion=inversion(variant),
            encoder=small_encoder() if small else None,
            map=_map(16 if small else 64, 10_000 if small else 200_000),
            measurer=measurer(16 if small else 32, 4000),
            size=(48, 64) if small else (96, 128),
            channels=1,
        )

    def deviations(self, variant: str, debug: bool = False) -> Sequence[str]:
        """Return where the configuration leaves the paper or its program."""
        told = [
            *SHARED,
            "200 000 steps for the generator and for the map: the text has 1000 passes over "
            "262 000 images for the map",
            "one output channel a class in place of one for the iris",
            "500 steps for each inversion, as the program has for faces: the text names no number",
        ]
        if variant == "small":
            told.append("48 x 64 px, 16 channels, and an encoder that starts the inversion")
        return [*told, DEBUG] if debug else told


def _map(channels: int, steps: int) -> AspectMapConfig:
    decoder = {"name": "began-generator", "channels": channels}
    return AspectMapConfig(decoder=decoder, steps=steps)


def measurer(base: int, steps: int) -> TaskConfig:
    """Return the network that reads masks off images, independent of all generators."""
    network = {"name": "unet", "channels": base}
    return TaskConfig(kind="segmentation", network=network, steps=steps, batch=32)

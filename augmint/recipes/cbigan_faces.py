"""cBiGAN on faces, the baseline of VAR with the same generator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

from augmint.core.registry import RECIPES
from augmint.latent.bidirectional import BidirectionalConfig, Signs
from augmint.recipes.requested import RequestedConfig, RequestedRecipe
from augmint.recipes.vac_family import DEBUG
from augmint.recipes.var_faces import PAPER, SHARED, STEPS, debug_config, measurer


@RECIPES.register("cbigan-faces")
@dataclass(frozen=True)
class CbiganFaces(RequestedRecipe):
    """cBiGAN: generator, encoder and a critic of (landmarks, image) pairs, with 64 channels, 48 px.

    `consistent`: the encoder deceives the critic. `literal`: it lowers the sum as printed, and so
    helps it.

    Example:
        >>> config = CbiganFaces().configure("consistent")
        >>> config.size, config.pairs["cbigan"].signs, config.pairs["cbigan"].steps
        ((48, 48), 'consistent', 200000)
        >>> CbiganFaces().configure("literal", debug=True).pairs["cbigan"].steps
        4
    """

    title: ClassVar[str] = "cBiGAN, faces with given landmarks"
    source: ClassVar[str] = f"{PAPER}, its baseline"
    variants: ClassVar[tuple[str, ...]] = ("consistent", "literal")
    expected: ClassVar[Mapping[str, float | str]] = {
        "error_landmarks_cbigan": "not published; faces follow the landmarks, by eye",
        "diversity_cbigan": "not published; below that of var-began-faces, by eye",
    }

    def configure(self, variant: str, debug: bool = False) -> RequestedConfig:
        """Return networks, training and measures of a variant."""
        signs = cast("Signs", variant)
        if debug:
            small = {"name": "began-generator", "channels": 4}
            pair = BidirectionalConfig(small, channels=4, signs=signs, steps=4)
            return debug_config(gans={}, pairs={"cbigan": pair})
        pairs = {"cbigan": BidirectionalConfig(signs=signs, steps=STEPS)}
        return RequestedConfig({}, pairs, measurer(), size=(48, 48))

    def deviations(self, variant: str, debug: bool = False) -> Sequence[str]:
        """Return where the configuration leaves the paper."""
        told = [
            *SHARED,
            "landmarks enter the critic as one further channel, a dense layer of them: the paper "
            "does not say how",
            "the distance of encoded landmarks is a mean over coordinates",
            "generator and encoder move at once, after the critic",
        ]
        return [*told, DEBUG] if debug else told

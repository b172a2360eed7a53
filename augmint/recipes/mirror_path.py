"""The continuity test: from the latent of a face to that of its mirror image in 14 steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from augmint.core.registry import RECIPES
from augmint.recipes.base import Outcome, Recipe, Surroundings
from augmint.recipes.began_landmarks import PAPER, BeganFacesLandmarks
from augmint.recipes.latent_pairs import (
    PairsConfig,
    bench,
    drawn_latents,
    generator,
    images_of,
    inverter,
    mapped,
)

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from augmint.latent.paths import Walk
    from augmint.recipes.latent_pairs import Bench, Inverter

SCALE = 3


@RECIPES.register("mirror-path")
@dataclass(frozen=True)
class MirrorPath(Recipe[PairsConfig]):
    """Walks between the inverses of images and of their mirror images;
    images and points along them.

    z_i = (1 - i / 15) z_0 + (i / 15) z_15. Each walk is drawn as a strip and as an animation,
    `mirror-N.gif`; numbers say how evenly images and points move, how symmetric the middle is, and
    whether the points still fit the images, by an independent network. Strips of a straight path
    and a great circle between drawn latents, and of a truncation, stand beside them.

    Example:
        >>> config = MirrorPath().configure("text")
        >>> config == replace(BeganFacesLandmarks().configure("text"), baselines=())
        True
        >>> MirrorPath().configure("text", debug=True).walks
        1
    """

    title: ClassVar[str] = "From a face to its mirror image"
    source: ClassVar[str] = PAPER
    variants: ClassVar[tuple[str, ...]] = ("text", "released", "small")
    expected: ClassVar[Mapping[str, float | str]] = {
        "landmarks_largest_step": "not published; landmarks move smoothly, by eye"
    }
    data_hint: ClassVar[str] = BeganFacesLandmarks.data_hint
    debug_data: ClassVar[str] = "toy-faces"

    def configure(self, variant: str, debug: bool = False) -> PairsConfig:
        """Return the configuration of `began-faces-landmarks`, without its baselines."""
        return replace(BeganFacesLandmarks().configure(variant, debug), baselines=())

    def deviations(self, variant: str, debug: bool = False) -> Sequence[str]:
        """Return where the configuration leaves the paper or its program."""
        told = [t for t in BeganFacesLandmarks().deviations(variant, debug) if "baselines" not in t]
        return [*told, "the numbers are ours: the paper shows pictures and a film"]

    def run(self, config: PairsConfig, surroundings: Surroundings) -> Outcome:
        """Train generator, inverse and aspect map; invert test images and their mirror images."""
        from augmint.core.runs import write_atomic
        from augmint.latent.paths import frames, gif, mirror_walks, strip, with_mirrors
        from augmint.latent.paths import walk as walk_along

        place = bench(config, surroundings, "landmarks")
        data = place.material
        trained = generator(place, "gan", config.gan)
        inverse = inverter(place, trained)
        network, train = inverse.network, inverse(data.train.images, "train")
        told = mapped(place, train.latents, data.train.values, trained.shape, "inverted")
        count = min(len(data.test.images), max(1, config.walks))
        images = with_mirrors(data.test.images[:count])
        ends = inverse(images, "mirrors")
        walks, numbers = mirror_walks(network, ends, [told])
        name = data.aspect.name
        found: dict[str, float | None] = {
            k.replace(f"{name}_", "landmarks_"): v for k, v in numbers.items()
        }
        found |= {"l1": float(ends.l1.mean()), "psnr": float(ends.psnr.mean())}
        found |= _fit(place, walks)
        pictures: dict[str, Image] = {}
        for i, walk in enumerate(walks[: config.walks]):
            pictures[f"mirror-{i}"] = strip(walk, SCALE)
            animation = gif(frames(walk, name, 2 * SCALE))
            write_atomic(surroundings.out / "pictures" / f"mirror-{i}.gif", animation)
        for title, path in _others(inverse).items():
            pictures[title] = strip(walk_along(network, path, [told]), SCALE)
        pictures["ends"] = _ends(images, images_of(network, ends))
        shown = f"{count} test images and their mirror images, 14 latents between each two"
        protocols = dict.fromkeys(found, shown)
        warnings = [] if trained.stopped == "done" else [f"training stopped: {trained.stopped}"]
        return Outcome(found, protocols, pictures, trained.images_shown, warnings)


def _others(inverse: Inverter) -> dict[str, torch.Tensor]:
    """Return paths between drawn latents, and from the middle of all latents to one of them."""
    from augmint.latent.paths import linear, spherical, truncation

    first, last = drawn_latents(1, inverse)
    return {
        "straight": linear(first, last),
        "great-circle": spherical(first, last),
        "truncation": truncation(first, [i / 15 for i in range(16)]),
    }


def _fit(place: Bench, walks: Sequence[Walk]) -> dict[str, float]:
    """Whether the points fit the images: the measurer's error along the walks, beside its own."""
    name = place.material.aspect.name
    along = np.concatenate([place.errors(w.images, w.values[name]) for w in walks])
    test = place.material.test
    own = float(place.errors(test.images, test.values).mean())
    return {"landmarks_nme_along": float(along.mean()), "measurer_nme": own}


def _ends(images: np.ndarray, rebuilt: np.ndarray) -> Image:
    from augmint.core.pictures import rows

    return rows([images, rebuilt], ["images and mirror images", "their inverses"], scale=SCALE)

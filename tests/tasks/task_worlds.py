"""Small sets with every kind of aspect, whose truth a small network learns in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.aspects.landmarks import Landmarks
from augmint.aspects.map import Map
from augmint.aspects.mask import Mask
from augmint.aspects.vector import Vector
from augmint.data.faces import LANDMARKS, MASK_CLASSES, draw_faces
from augmint.tasks.rows import RealRows, Source

SIZE = 32
SHAPE = (3, SIZE, SIZE)
VOID = 255


@dataclass(frozen=True)
class World:
    """Drawn faces, their schema and their values."""

    images: np.ndarray
    values: dict[str, np.ndarray]
    schema: Schema

    def source(self, rows: slice, **changes: Any) -> Source:
        """Rows to train on."""
        images = self.images[rows]
        own = {k: v[rows] for k, v in self.values.items()}
        fields = {"images": images, "values": own, "ids": np.arange(len(images))}
        return Source(**{**fields, **changes})

    def real(self, rows: slice) -> RealRows:
        """Rows to score on."""
        images = self.images[rows]
        own = {k: v[rows] for k, v in self.values.items()}
        return RealRows(images, own, np.arange(len(images)))


def schema(pairs: tuple[tuple[str, str], ...] | None = None) -> Schema:
    """An aspect of each kind, and their fields."""
    return Schema(
        (
            Category("expression", ("neutral", "happy", "sad", "surprised", "angry")),
            Landmarks(
                "points",
                LANDMARKS,
                (SIZE, SIZE),
                pairs=pairs,
                reference=("left_eye_center", "right_eye_center"),
            ),
            Vector("place", ("x", "y", "size"), units=("px", "px", "px")),
            Mask("parts", MASK_CLASSES, void=VOID),
            Map("light", 1, 0.0, 255.0, "levels"),
        )
    )


@cache
def faces(n: int = 300) -> World:
    """Drawn faces with a category, landmarks, a vector, a mask with void pixels and a map."""
    drawn = draw_faces(n, SIZE, seed=4)
    spots = drawn["landmarks"][..., :2].astype(np.float32)
    seen = np.full((*spots.shape[:2], 1), 2, np.float32)
    seen[::7, 3] = 0  # some points are not labelled
    masks = drawn["masks"].copy()
    masks[:, :2] = VOID
    light = drawn["images"].mean(1, keepdims=True, dtype=np.float32)
    light[:, :, -1] = np.nan
    left, right = (LANDMARKS.index(f"{side}_eye_center") for side in ("left", "right"))
    apart = np.linalg.norm(spots[:, left] - spots[:, right], axis=1)
    nose = spots[:, LANDMARKS.index("nose_tip")]
    values = {
        "expression": drawn["expression"],
        "points": np.concatenate((spots, seen), 2),
        "place": np.concatenate((nose, apart[:, None]), 1).astype(np.float32),
        "parts": masks,
        "light": light,
    }
    return World(drawn["images"], values, schema())

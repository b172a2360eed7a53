"""`toy-faces` and `toy-eyes`: drawn images with points, masks and numbers, all known exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.aspects.landmarks import Landmarks
from augmint.aspects.mask import Mask
from augmint.aspects.vector import Vector
from augmint.core.errors import UsageError
from augmint.core.registry import DATASETS
from augmint.data import eye_geometry, eyes, faces
from augmint.data.base import BuiltIn, Content

if TYPE_CHECKING:
    import numpy.typing as npt

Frame = tuple[int, int]


@DATASETS.register("toy-faces")
@dataclass(frozen=True)
class ToyFaces(BuiltIn):
    """Drawn faces that turn and lean, with expression, pose, 15 points and a mask.

    Aspects: `label` (five expressions), `pose` (yaw and roll in degrees), `landmarks`
    (visibility 1 where the turned head hides the point), `mask` (background, face, eyes, mouth).

    Args:
        images: how many; expressions are equally frequent to within one.
        size: height and width in pixels.
        channels: 3 (RGB) or 1 (grey).
        seed: of the drawing.
        yaw: largest turn to either side in degrees, above 0, at most 60.

    Example:
        >>> content = ToyFaces(images=5).build((24, 32), None)
        >>> {name: values.shape for name, values in content.values.items()}
        {'label': (5,), 'pose': (5, 2), 'landmarks': (5, 15, 3), 'mask': (5, 24, 32)}
    """

    images: int = 3000
    size: int = 32
    channels: int = 3
    seed: int = 0
    yaw: float = 45.0
    drawn: ClassVar[bool] = True

    def build(self, size: Frame | None, channels: int | None) -> Content:
        if self.images < len(faces.EXPRESSIONS):
            raise UsageError("toy-faces has at least one image a class", self.images, "images=3000")
        if not 0 < self.yaw <= faces.LARGEST_YAW:
            raise UsageError(
                f"yaw of toy-faces is above 0, at most {faces.LARGEST_YAW:g}", self.yaw, "yaw=45"
            )
        wanted = size or (self.size, self.size)
        frame = _drawn_at(wanted, (faces.SMALLEST, faces.SMALLEST))
        planes = 1 if channels == 1 else self.channels
        drawn = faces.draw_faces(self.images, frame, self.seed, planes, yaw=self.yaw)
        roll = math.degrees(faces.LARGEST_ROLL)
        schema = Schema(
            (
                Category("label", faces.EXPRESSIONS),
                Vector(
                    "pose",
                    ("yaw", "roll"),
                    low=(-self.yaw, -roll),
                    high=(self.yaw, roll),
                    units=("degrees", "degrees"),
                    mirrored=("yaw",),
                    turned=("roll",),
                ),
                Landmarks(
                    "landmarks",
                    faces.LANDMARKS,
                    frame,
                    pairs=faces.LANDMARK_PAIRS,
                    skeleton=faces.SKELETON,
                    reference=faces.INTER_OCULAR,
                ),
                Mask("mask", faces.MASK_CLASSES),
            )
        )
        values = {
            "label": drawn["expression"],
            "pose": drawn["pose"],
            "landmarks": _with_visibility(drawn),
            "mask": drawn["masks"],
        }
        text = f"built-in drawn faces, turned by up to {self.yaw:g} degrees, with points and masks"
        return _content("toy-faces", drawn["images"], values, schema, wanted, text)


@DATASETS.register("toy-eyes")
@dataclass(frozen=True)
class ToyEyes(BuiltIn):
    """Drawn close-ups of eyes with gaze, 10 points and a mask of sclera, iris and pupil.

    Aspects: `gaze` (yaw and pitch in degrees, dilation), `landmarks` (visibility 1 where a lid
    covers the point), `mask` (`augmint.data.eyes` says what lids, lashes and reflections cut).
    One channel is near-infrared light, three are visible light.

    Args:
        images: how many.
        size: height and width in pixels.
        channels: 1 or 3.
        seed: of the drawing.

    Example:
        >>> content = ToyEyes(images=2).build(None, None)
        >>> {name: values.shape for name, values in content.values.items()}
        {'gaze': (2, 3), 'landmarks': (2, 10, 3), 'mask': (2, 48, 64)}
    """

    images: int = 3000
    size: tuple[int, int] = (48, 64)
    channels: int = 1
    seed: int = 0
    drawn: ClassVar[bool] = True

    def build(self, size: Frame | None, channels: int | None) -> Content:
        if self.images < 1:
            raise UsageError("toy-eyes has at least one image", self.images, "images=3000")
        wanted = size or self.size
        frame = _drawn_at(wanted, eyes.SMALLEST_EYE)
        planes = self.channels if channels is None else min(channels, 3)
        drawn = eyes.draw_eyes(self.images, *frame, self.seed, planes)
        schema = Schema(
            (
                Vector(
                    "gaze",
                    eye_geometry.GAZE,
                    low=eye_geometry.GAZE_LOW,
                    high=eye_geometry.GAZE_HIGH,
                    units=("degrees", "degrees", ""),
                    mirrored=("yaw",),
                ),
                Landmarks(
                    "landmarks",
                    eyes.EYE_LANDMARKS,
                    frame,
                    pairs=eyes.EYE_PAIRS,
                    skeleton=eyes.EYE_SKELETON,
                    reference=eyes.EYE_REFERENCE,
                ),
                Mask("mask", eyes.EYE_CLASSES),
            )
        )
        values = {
            "gaze": drawn["gaze"],
            "landmarks": _with_visibility(drawn),
            "mask": drawn["masks"],
        }
        light = "near-infrared" if planes == 1 else "visible"
        text = f"built-in drawn eyes in {light} light, with gaze, points and masks"
        return _content("toy-eyes", drawn["images"], values, schema, wanted, text)


def _drawn_at(wanted: Frame, smallest: Frame) -> Frame:
    """The frame itself, or its smallest multiple that can be drawn."""
    factor = max(math.ceil(s / w) for s, w in zip(smallest, wanted, strict=True))
    return wanted[0] * factor, wanted[1] * factor


def _with_visibility(drawn: dict[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
    """Points `(N, K, 3)`: x, y, and 2 where they are seen, 1 where they are hidden."""
    seen = np.where(drawn["visible"], np.float32(2), np.float32(1))
    return np.concatenate((drawn["landmarks"], seen[..., None]), axis=-1)


def _content(
    name: str,
    images: npt.NDArray[np.uint8],
    values: dict[str, npt.NDArray[Any]],
    schema: Schema,
    wanted: Frame,
    text: str,
) -> Content:
    from augmint.data.decoding import resize

    frame = (images.shape[2], images.shape[3])
    if frame != wanted:
        schema, values = schema.resized(values, frame, wanted)
        images = resize(images, wanted)
    rows = np.arange(len(images), dtype=np.int64)
    names = [f"{name}#{i}" for i in rows]
    return Content(images, values, schema, names, {"all": rows}, text)

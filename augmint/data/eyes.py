"""Draws close-ups of eyes whose gaze, landmarks and masks are known exactly.

An eye is drawn in its own frame: u to the right, v down, the corners at u = -1 (beside the nose)
and u = 1. The eyeball is a sphere around (0, 0); the iris, a disc of radius r whose plane lies d in
front of the ball's centre, looks along g = (sin y cos p, -sin p, cos y cos p) for yaw y and pitch
p, and is seen from infinitely far. In the picture, in pixels,

    iris centre = eyeball centre + s d (g_x, g_y)

and its outline is the ellipse with half axes s r across g and s r g_z along it; the pupil is a disc
of the same plane, a little off the middle. The lids are two arcs from corner to corner

    v = -+h B (1.4 - 0.4 B),  B = (1 - u^2) (1 + k) / (2 + 2 m u),  k = sqrt(1 - m^2)

with the summit, of height h, at u = -m / (1 + k).

**What the mask holds.** The lids cut: `iris` is the ellipse between the lids, `pupil` likewise.
Lashes and reflections do not cut, as in ground truths made of ellipses and lid curves: at these
sizes a lash is thinner than a pixel. Pixels that they cover to a half or more are `veiled`, for
those who leave them out, as ground truths made pixel by pixel do.

Coordinates are those of `augmint.aspects.base`; left and right are those of the picture.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from augmint.core.errors import UsageError
from augmint.data.eye_geometry import GAZE, draw_parameters, landmarks
from augmint.data.eye_painting import paint

EYE_CLASSES = ("background", "sclera", "iris", "pupil")
EYE_LANDMARKS = (
    "left_corner",
    "right_corner",
    "upper_lid",
    "lower_lid",
    "iris_center",
    "pupil_center",
    "iris_left",
    "iris_right",
    "iris_top",
    "iris_bottom",
)
EYE_PAIRS = (("left_corner", "right_corner"), ("iris_left", "iris_right"))
"""Landmarks that a mirrored picture swaps."""
EYE_SKELETON = (
    ("left_corner", "upper_lid"),
    ("upper_lid", "right_corner"),
    ("right_corner", "lower_lid"),
    ("lower_lid", "left_corner"),
    ("iris_left", "iris_right"),
    ("iris_top", "iris_bottom"),
)
EYE_REFERENCE = ("left_corner", "right_corner")
"""The two points whose distance is 1 in errors of landmarks: the corners of the eye."""
SMALLEST_EYE = (24, 32)
"""Smallest height and width at which every pupil still covers pixels."""

_BLOCK_PIXELS = 1 << 16


def draw_eyes(
    n: int,
    height: int,
    width: int,
    seed: int,
    channels: int = 1,
    first: int = 0,
    infrared: bool | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """Draw `n` close-ups of an eye; image i depends on (seed, first + i) alone.

    The same eye is drawn at every size and in both kinds of light: only the frame differs.

    Args:
        n: how many.
        height: at least 24.
        width: at least 32.
        seed: of the stream.
        channels: 1 or 3.
        first: id of the first eye.
        infrared: near-infrared light (grey: pale skin and sclera, lit iris, dark pupil) instead of
            visible light; None: where there is one channel.

    Returns:
        images: uint8 `(n, channels, height, width)`;
        gaze: float32 `(n, 3)`: yaw in degrees, positive to the picture's right; pitch in degrees,
            positive upwards; dilation, the radius of the pupil over that of the iris;
        landmarks: float32 `(n, K, 2)`, (x, y) in pixels, in the order of `EYE_LANDMARKS`;
        visible: bool `(n, K)`, false where a lid covers the point;
        masks: uint8 `(n, height, width)`, index into `EYE_CLASSES`;
        whole_iris: bool `(n, height, width)`, iris and pupil with what lids cover of them;
        veiled: bool `(n, height, width)`, lash or reflection covers half of the pixel.

    Raises:
        UsageError: for a frame under 24 x 32, or channels other than 1 and 3.

    Example:
        >>> eyes = draw_eyes(4, 48, 64, seed=0)
        >>> eyes["images"].shape, eyes["masks"].shape, eyes["gaze"].shape
        ((4, 1, 48, 64), (4, 48, 64), (4, 3))
    """
    if height < SMALLEST_EYE[0] or width < SMALLEST_EYE[1]:
        raise UsageError(
            "drawn eyes are at least 24 px high and 32 px wide",
            f"{height} x {width}",
            "pass size=(48, 64) (--size 48x64)",
        )
    if channels not in (1, 3):
        raise UsageError("drawn eyes have 1 or 3 channels", channels, "pass channels=3")
    from augmint.data.decoding import to_channels

    infrared = channels == 1 if infrared is None else infrared
    points = len(EYE_LANDMARKS)
    out: dict[str, npt.NDArray[Any]] = {
        "images": np.empty((n, channels, height, width), np.uint8),
        "gaze": np.empty((n, len(GAZE)), np.float32),
        "landmarks": np.empty((n, points, 2), np.float32),
        "visible": np.empty((n, points), np.bool_),
        "masks": np.empty((n, height, width), np.uint8),
        "whole_iris": np.empty((n, height, width), np.bool_),
        "veiled": np.empty((n, height, width), np.bool_),
    }
    step = max(1, _BLOCK_PIXELS // (height * width))
    degrees = np.array([180 / np.pi, 180 / np.pi, 1], np.float32)
    for start in range(0, n, step):
        ids = np.arange(start, min(n, start + step), dtype=np.int64)
        eyes = draw_parameters(ids + first, (height, width), seed, infrared)
        painted = paint(eyes, (height, width))
        out["images"][ids] = to_channels(painted[0], channels)
        for name, plane in zip(("masks", "whole_iris", "veiled"), painted[1:], strict=True):
            out[name][ids] = plane
        out["gaze"][ids] = eyes.gaze * degrees
        out["landmarks"][ids], out["visible"][ids] = landmarks(eyes)
    return out

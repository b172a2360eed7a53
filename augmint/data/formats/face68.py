"""The 68 points of a face, as most sets of facial landmarks number them (iBUG 300-W).

0 to 16 the outline of the jaw from the subject's right ear to the left, 17 to 26 the brows, 27 to
35 the nose, 36 to 47 the eyes, 48 to 67 the mouth. Left and right are the subject's, so the right
eye stands at the left of an image.
"""

from __future__ import annotations

POINTS: tuple[str, ...] = (
    *(f"right_jaw_{i}" for i in range(8)),
    "chin",
    *(f"left_jaw_{i}" for i in range(7, -1, -1)),
    *(f"right_brow_{i}" for i in range(5)),
    *(f"left_brow_{i}" for i in range(4, -1, -1)),
    *(f"nose_bridge_{i}" for i in range(4)),
    "right_nostril_outer",
    "right_nostril_inner",
    "nose_base",
    "left_nostril_inner",
    "left_nostril_outer",
    "right_eye_outer",
    "right_eye_top_outer",
    "right_eye_top_inner",
    "right_eye_inner",
    "right_eye_bottom_inner",
    "right_eye_bottom_outer",
    "left_eye_inner",
    "left_eye_top_inner",
    "left_eye_top_outer",
    "left_eye_outer",
    "left_eye_bottom_outer",
    "left_eye_bottom_inner",
    "right_mouth_corner",
    "right_lip_top_outer",
    "right_lip_top_inner",
    "lip_top",
    "left_lip_top_inner",
    "left_lip_top_outer",
    "left_mouth_corner",
    "left_lip_bottom_outer",
    "left_lip_bottom_inner",
    "lip_bottom",
    "right_lip_bottom_inner",
    "right_lip_bottom_outer",
    "right_mouth_inside",
    "right_mouth_inside_top",
    "mouth_inside_top",
    "left_mouth_inside_top",
    "left_mouth_inside",
    "left_mouth_inside_bottom",
    "mouth_inside_bottom",
    "right_mouth_inside_bottom",
)

REFERENCE = ("right_eye_outer", "left_eye_outer")
"""The outer corners of the eyes, points 36 and 45."""

_OPEN = ((0, 17), (17, 22), (22, 27), (27, 31), (31, 36))
_CLOSED = ((36, 42), (42, 48), (48, 60), (60, 68))

SKELETON: tuple[tuple[str, str], ...] = (
    *((POINTS[i], POINTS[i + 1]) for a, b in _OPEN for i in range(a, b - 1)),
    *((POINTS[i], POINTS[i + 1 if i + 1 < b else a]) for a, b in _CLOSED for i in range(a, b)),
)

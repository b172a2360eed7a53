"""Faces that turn: against a sampled ellipsoid, against mirroring,
and the frontal ones unchanged."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from augmint.core.errors import UsageError
from augmint.data import faces as module
from augmint.data.faces import (
    INTER_OCULAR,
    LANDMARK_PAIRS,
    LANDMARKS,
    MASK_CLASSES,
    SKELETON,
    draw_faces,
)


def parameters(n: int, size: int, yaw: float, seed: int = 0) -> module._Faces:
    return module._draw_parameters(np.arange(n), (size, size), seed, yaw)[0]


def test_frontal_faces_are_what_they_were() -> None:
    """Sums and weighted sums of the first version's pictures, and its masks and points."""
    drawn = draw_faces(200, 32, seed=5, first=3)
    images = drawn["images"].astype(np.int64)
    weights = np.arange(32)
    # a rounding of another processor may move single pixels by one level
    assert images.sum() == pytest.approx(77825204, abs=20)
    assert (images * weights).sum() == pytest.approx(1205486122, abs=400)
    assert (images * weights[:, None]).sum() == pytest.approx(1279558996, abs=400)
    counts = np.bincount(drawn["masks"].ravel(), minlength=4)
    assert np.abs(counts - [131519, 66121, 3851, 3309]).max() <= 2
    points = drawn["landmarks"].sum((0, 1), dtype=np.float64)
    assert points == pytest.approx([47965.1297, 49480.0303], rel=1e-6)
    assert not drawn["pose"][:, 0].any()
    assert drawn["visible"].all()


def test_a_turn_changes_nothing_else() -> None:
    front, turned = (draw_faces(30, 32, seed=1, yaw=yaw) for yaw in (0.0, 45.0))
    assert np.array_equal(front["expression"], turned["expression"])
    assert np.array_equal(front["intensity"], turned["intensity"])
    assert np.array_equal(front["pose"][:, 1], turned["pose"][:, 1])
    assert np.abs(turned["pose"][:, 0]).max() <= 45.001
    assert np.abs(turned["pose"][:, 0]).mean() == pytest.approx(22.5, abs=6)
    # the whole range is one draw: twice the largest yaw turns twice as far
    wider = draw_faces(30, 32, seed=1, yaw=60.0)["pose"][:, 0]
    assert np.allclose(wider * 0.75, turned["pose"][:, 0], atol=1e-3)


def test_a_small_turn_is_nearly_none() -> None:
    """The turned path and the frontal one are two formulas; they meet at yaw 0."""
    front, turned = (draw_faces(20, 64, seed=1, yaw=yaw) for yaw in (0.0, 0.01))
    assert np.abs(front["landmarks"] - turned["landmarks"]).max() < 0.02
    difference = np.abs(front["images"].astype(int) - turned["images"].astype(int))
    assert (difference > 12).mean() < 0.002
    assert (front["masks"] != turned["masks"]).mean() < 0.001


def test_turned_points_and_masks_are_those_of_a_rotated_ellipsoid() -> None:
    """Points of the solid head, sampled densely, turned by a rotation matrix and projected.

    Pixels whose centre shows a point inside an eye are eye in the mask, those that show a point
    beside it are not, and the outline of all points is the outline of the mask.
    """
    size, n = 96, 6
    f = parameters(n, size, 50.0, seed=2)
    drawn = draw_faces(n, size, seed=2, yaw=50.0)
    t = np.linspace(0, 2 * np.pi, 2000)
    for i in range(n):
        a, b = (float(x) for x in f.head[i])
        c, yaw = (a + b) / 2, float(f.yaw[i, 0])
        rotation = np.array(
            [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
        )
        similarity = float(f.scale[i, 0]) * np.array(
            [[f.turn[i, 0], -f.turn[i, 1]], [f.turn[i, 1], f.turn[i, 0]]]
        )

        def place(u, v, lift=0.0, a=a, b=b, c=c, rotation=rotation, similarity=similarity, i=i):
            w = c * np.sqrt(np.maximum(0, 1 - (u / a) ** 2 - (v / b) ** 2))
            turned = rotation @ np.stack((u, v, w + lift))
            normal = rotation @ np.stack((u / a**2, v / b**2, w / c**2))
            return (similarity @ turned[:2]).T + f.centre[i], normal[2] > 0

        for side, name in ((-1, "left"), (1, "right")):
            for low, high in ((0.0, 0.97), (1.03, 1.3)):
                share, angle = np.meshgrid(np.linspace(low, high, 400), t[::5])
                u = side * f.eye_x[i, 0] + share * f.eye_width[i, 0] * np.cos(angle)
                v = f.eye_y[i, 0] + share * f.eye_height[i, 0] * np.sin(angle)
                points, facing = place(u.ravel(), v.ravel())
                # pixels whose centre is one of the sampled points
                column, row = np.floor(points).astype(int).T
                middle = np.abs(points - np.floor(points) - 0.5).max(1) < 0.05
                found = drawn["masks"][i, row, column] == MASK_CLASSES.index("eyes")
                assert (middle & facing).any()
                assert (found[middle & facing] == (high < 1)).all()
            points, facing = place(*(np.array([x]) for x in (side * f.eye_x[i, 0], f.eye_y[i, 0])))
            k = LANDMARKS.index(f"{name}_eye_center")
            assert np.allclose(drawn["landmarks"][i, k], points[0], atol=1e-3)
            assert drawn["visible"][i, k] == facing[0]
        # the outline, by support: the farthest point of the whole ellipsoid to the right and left
        polar, around = np.meshgrid(np.linspace(0, np.pi, 200), t[::10])
        solid = np.stack(
            (
                a * np.sin(polar) * np.cos(around),
                b * np.cos(polar),
                c * np.sin(polar) * np.sin(around),
            )
        )
        outline = (similarity @ (rotation @ solid.reshape(3, -1))[:2]).T + f.centre[i]
        rows, columns = np.nonzero(drawn["masks"][i])
        assert columns.min() + 0.5 == pytest.approx(outline[:, 0].min(), abs=1.0)
        assert columns.max() + 0.5 == pytest.approx(outline[:, 0].max(), abs=1.0)
        assert rows.max() + 0.5 == pytest.approx(min(outline[:, 1].max(), size), abs=1.0)


def test_the_nose_points_where_the_head_turns() -> None:
    drawn = draw_faces(200, 32, seed=4, yaw=45.0)
    points = drawn["landmarks"]
    left, right = (points[:, LANDMARKS.index(n)] for n in INTER_OCULAR)
    along = (right - left) / np.linalg.norm(right - left, axis=1, keepdims=True)
    off = ((points[:, LANDMARKS.index("nose_tip")] - (left + right) / 2) * along).sum(1)
    yaw = drawn["pose"][:, 0]
    assert (np.sign(off) == np.sign(yaw))[np.abs(yaw) > 3].all()
    assert np.corrcoef(off, np.sin(np.radians(yaw)))[0, 1] > 0.95


def test_the_far_eye_is_narrower() -> None:
    drawn = draw_faces(200, 32, seed=4, yaw=45.0)

    def width(side: str) -> np.ndarray:
        outer, inner = (
            drawn["landmarks"][:, LANDMARKS.index(f"{side}_eye_{p}")] for p in ("outer", "inner")
        )
        return np.linalg.norm(outer - inner, axis=1)

    yaw = drawn["pose"][:, 0]
    right_is_far = width("right") < width("left")
    assert (right_is_far == (yaw > 0))[np.abs(yaw) > 1].all()


def test_hidden_points_are_on_the_far_side() -> None:
    drawn = draw_faces(400, 32, seed=4, yaw=60.0)
    hidden = ~drawn["visible"]
    assert hidden.any()
    yaw = drawn["pose"][:, 0]
    for k, name in enumerate(LANDMARKS):
        if hidden[:, k].any():
            assert (yaw[hidden[:, k]] > 0).all() if "right" in name else True
            assert (yaw[hidden[:, k]] < 0).all() if "left" in name else True


def test_mirrored_parameters_draw_the_mirrored_face() -> None:
    size = 64
    f = parameters(12, size, 50.0)
    sign = np.float32([[-1, 1]])
    mirrored = dataclasses.replace(
        f,
        centre=np.float32([[size, 0]]) + f.centre * sign,
        turn=f.turn * np.float32([[1, -1]]),
        yaw=-f.yaw,
        gaze=f.gaze * sign,
        light=f.light * sign,
    )
    images, masks = module._paint(f, (size, size))
    other, other_masks = module._paint(mirrored, (size, size))
    difference = np.abs(images[..., ::-1].astype(int) - other.astype(int))
    assert (difference > 2).mean() < 0.01
    assert (masks[..., ::-1] != other_masks).mean() < 1e-3
    points, visible = module._landmarks(f)
    others, others_visible = module._landmarks(mirrored)
    swap = dict(LANDMARK_PAIRS) | {b: a for a, b in LANDMARK_PAIRS}
    order = [LANDMARKS.index(swap.get(name, name)) for name in LANDMARKS]
    assert np.allclose(points * sign + np.float32([size, 0]), others[:, order], atol=1e-3)
    assert np.array_equal(visible, others_visible[:, order])


def test_every_turned_face_is_whole() -> None:
    drawn = draw_faces(500, 32, seed=7, yaw=45.0)
    assert (drawn["landmarks"] > 0).all()
    assert (drawn["landmarks"] < 32).all()
    for value in range(len(MASK_CLASSES)):
        assert (drawn["masks"] == value).any((1, 2)).all()


def test_turned_faces_depend_on_their_own_id_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = draw_faces(40, (40, 56), seed=1, yaw=45.0)
    part = draw_faces(5, (40, 56), seed=1, first=20, yaw=45.0)
    monkeypatch.setattr(module, "_BLOCK_PIXELS", 3 * 40 * 56)
    blocks = draw_faces(40, (40, 56), seed=1, yaw=45.0)
    assert whole["images"].shape == (40, 3, 40, 56)
    for name in whole:
        assert np.array_equal(whole[name][20:25], part[name]), name
        assert np.array_equal(whole[name], blocks[name]), name


def test_points_are_named_once_and_pairs_are_opposite() -> None:
    named = [n for pair in LANDMARK_PAIRS for n in pair]
    assert len(set(named)) == len(named)
    assert {n for n in LANDMARKS if "left" in n or "right" in n} == set(named)
    assert all(a.replace("left", "right") == b for a, b in LANDMARK_PAIRS)
    assert {n for line in (*SKELETON, INTER_OCULAR) for n in line} <= set(LANDMARKS)


@pytest.mark.parametrize("yaw", [-1.0, 61.0, float("nan")])
def test_turns_that_cannot_be(yaw: float) -> None:
    with pytest.raises(UsageError, match="0 to 60 degrees"):
        draw_faces(5, 32, seed=0, yaw=yaw)

"""Drawn eyes: closed forms, a dense sampling of the eyeball, mirroring, sizes, determinism."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from augmint.core.errors import UsageError
from augmint.data import eye_geometry, eye_painting
from augmint.data import eyes as module
from augmint.data.eyes import (
    EYE_CLASSES,
    EYE_LANDMARKS,
    EYE_PAIRS,
    EYE_REFERENCE,
    EYE_SKELETON,
    draw_eyes,
)

H, W = 96, 128
SCLERA, IRIS, PUPIL = (EYE_CLASSES.index(name) for name in ("sclera", "iris", "pupil"))


def parameters(n: int, seed: int = 3, frame: tuple[int, int] = (H, W)) -> eye_geometry.Eyes:
    return eye_geometry.draw_parameters(np.arange(n), frame, seed, True)


def opened(e: eye_geometry.Eyes) -> eye_geometry.Eyes:
    """The same eyes with lids so wide that they cover nothing of the iris."""
    return dataclasses.replace(
        e, upper=np.full_like(e.upper, 1.2), lower=np.full_like(e.lower, 1.2)
    )


def half_axes(e: eye_geometry.Eyes) -> tuple[np.ndarray, np.ndarray]:
    """Of the iris in pixels: across and along the way it is turned."""
    yaw, pitch = e.gaze[:, 0].astype(float), e.gaze[:, 1].astype(float)
    radius = 0.39 * e.scale[:, 0].astype(float)
    return radius, radius * np.cos(yaw) * np.cos(pitch)


def centroid(chosen: np.ndarray) -> np.ndarray:
    mass = chosen.sum((1, 2))
    x = (chosen * (np.arange(chosen.shape[2]) + 0.5)).sum((1, 2)) / mass
    y = (chosen * (np.arange(chosen.shape[1]) + 0.5)[:, None]).sum((1, 2)) / mass
    return np.stack((x, y), axis=1)


def test_areas_of_uncovered_irises_and_pupils_are_those_of_ellipses() -> None:
    e = opened(parameters(80))
    _, masks, whole, _ = eye_painting.paint(e, (H, W))
    a, b = half_axes(e)
    iris, pupil = (masks >= IRIS).sum((1, 2)), (masks == PUPIL).sum((1, 2))
    assert np.array_equal(iris, whole.sum((1, 2)))
    assert np.abs(iris / (np.pi * a * b) - 1).max() < 0.03
    share = e.gaze[:, 2].astype(float) ** 2
    assert np.abs(pupil / (np.pi * a * b * share) - 1).max() < 0.12
    assert abs((pupil / (np.pi * a * b * share)).mean() - 1) < 0.005


def test_centroids_of_uncovered_irises_and_pupils_are_their_landmarks() -> None:
    e = opened(parameters(80))
    _, masks, _, _ = eye_painting.paint(e, (H, W))
    points, _ = eye_geometry.landmarks(e)
    iris, pupil = (points[:, EYE_LANDMARKS.index(f"{p}_center")] for p in ("iris", "pupil"))
    assert np.abs(centroid(masks >= IRIS) - iris).max() < 0.15
    assert np.abs(centroid(masks == PUPIL) - pupil).max() < 0.25
    assert np.linalg.norm(iris - pupil, axis=1).max() > 0.5


def test_iris_and_pupil_are_a_disc_on_a_rotated_ball() -> None:
    """The disc's points, turned by two rotation matrices, land where masks and landmarks say."""
    e = opened(parameters(40))
    _, masks, _, _ = eye_painting.paint(e, (H, W))
    points, _ = eye_geometry.landmarks(e)
    t = np.linspace(0, 2 * np.pi, 1440, endpoint=False)
    for i in range(40):
        yaw, pitch = (float(x) for x in e.gaze[i, :2])
        up = np.array(
            [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
        )
        aside = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])

        def place(share: float, aside=aside, up=up, i=i) -> np.ndarray:
            ring = 0.39 * share * np.stack((np.cos(t), np.sin(t), 0 * t))
            ring[2] = 0.7
            turned = aside @ (up @ ring)
            return (e.centre[i, :, None] + e.scale[i] * turned[:2]).T

        edge = place(1.0)
        for name, found in (
            ("iris_left", edge[edge[:, 0].argmin()]),
            ("iris_right", edge[edge[:, 0].argmax()]),
            ("iris_top", edge[edge[:, 1].argmin()]),
            ("iris_bottom", edge[edge[:, 1].argmax()]),
            ("iris_center", edge.mean(0)),
        ):
            assert np.allclose(points[i, EYE_LANDMARKS.index(name)], found, atol=0.1), name
        for share, inside in ((0.93, True), (1.07, False)):
            column, row = np.floor(place(share)).astype(int).T
            assert ((masks[i, row, column] >= IRIS) == inside).mean() > 0.98


def test_the_pupil_is_off_the_middle_in_the_plane_of_the_iris() -> None:
    """Rodrigues' rotation from the viewer to the gaze, without twist, of (offset, depth)."""
    e = parameters(60)
    points, _ = eye_geometry.landmarks(e)
    found = points[:, EYE_LANDMARKS.index("pupil_center")]
    for i in range(60):
        yaw, pitch = (float(x) for x in e.gaze[i, :2])
        g = np.array([np.sin(yaw) * np.cos(pitch), -np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
        k = np.cross([0, 0, 1], g)
        cross = np.array([[0, -k[2], k[1]], [k[2], 0, -k[0]], [-k[1], k[0], 0]])
        rotation = np.eye(3) + cross + cross @ cross / (1 + g[2])
        turned = rotation @ np.array([*e.offset[i], 0.7])
        assert np.allclose(found[i], e.centre[i] + e.scale[i] * turned[:2], atol=1e-3)


def test_lids_follow_the_gaze() -> None:
    """Above and below the middle of the iris, the lids stand as far off as they were drawn."""
    e = parameters(400)
    u, v = eye_geometry._iris_centre(e).T[..., None]
    above = (e.upper * eye_geometry.arc(u, e.skew[:, :1])[0] + v) / 0.39
    below = (e.lower * eye_geometry.arc(u, e.skew[:, 1:])[0] - v) / 0.39
    free = (e.upper > 0.2) & (e.upper < 0.62)
    assert free.mean() > 0.6
    assert above[free].min() == pytest.approx(0.5, abs=0.02)
    assert above[free].max() == pytest.approx(1.25, abs=0.05)
    free = (e.lower > 0.16) & (e.lower < 0.46)
    assert below[free].min() == pytest.approx(0.85, abs=0.02)
    assert below[free].max() == pytest.approx(1.15, abs=0.02)


def test_left_and_right_eyes_are_drawn() -> None:
    """The upper lid's summit lies towards the nose: to the left of the middle, or to the right."""
    points = draw_eyes(200, 48, 64, seed=1)["landmarks"]
    left, right, top = (
        points[:, EYE_LANDMARKS.index(n)] for n in ("left_corner", "right_corner", "upper_lid")
    )
    nearer = np.linalg.norm(top - left, axis=1) < np.linalg.norm(top - right, axis=1)
    assert 0.35 < nearer.mean() < 0.65


def test_gaze_moves_the_iris_as_it_says() -> None:
    """Right is right and up is up: from the iris against the middle of the corners, by size."""
    drawn = draw_eyes(300, 48, 64, seed=1)
    points = drawn["landmarks"]
    corners = [points[:, EYE_LANDMARKS.index(n)] for n in EYE_REFERENCE]
    half = np.linalg.norm(corners[1] - corners[0], axis=1, keepdims=True) / 2
    off = (points[:, EYE_LANDMARKS.index("iris_center")] - sum(corners) / 2) / half
    yaw, pitch = np.radians(drawn["gaze"][:, 0]), np.radians(drawn["gaze"][:, 1])
    assert np.allclose(off[:, 0], 0.7 * np.sin(yaw) * np.cos(pitch), atol=1e-4)
    assert np.allclose(off[:, 1], -0.7 * np.sin(pitch), atol=1e-4)
    low, high = np.array(eye_geometry.GAZE_LOW), np.array(eye_geometry.GAZE_HIGH)
    assert (drawn["gaze"] >= low - 1e-4).all()
    assert (drawn["gaze"] <= high + 1e-4).all()
    assert (np.ptp(drawn["gaze"], axis=0) > 0.9 * (high - low)).all()


@pytest.fixture(scope="module", params=[(24, 32), (48, 64), (64, 64)])
def drawn(request) -> dict[str, np.ndarray]:
    return draw_eyes(300, *request.param, seed=7)


def test_every_eye_is_whole(drawn) -> None:
    height, width = drawn["masks"].shape[1:]
    for value in range(len(EYE_CLASSES)):
        assert (drawn["masks"] == value).any((1, 2)).all()
    assert (drawn["landmarks"] > 0).all()
    assert (drawn["landmarks"] < [width, height]).all()
    assert drawn["visible"][:, : EYE_LANDMARKS.index("pupil_center") + 1].all()


def test_lids_cut_and_nothing_else_does(drawn) -> None:
    """Covered irises exist, and no pixel is iris or pupil that is not in the whole disc."""
    seen = drawn["masks"] >= IRIS
    assert not (seen & ~drawn["whole_iris"]).any()
    lost = 1 - seen.sum((1, 2)) / drawn["whole_iris"].sum((1, 2))
    assert lost.max() > 0.1
    assert (lost == 0).any()
    # inside the lids, the whole disc is iris or pupil, lashes and reflections or not
    inside = drawn["masks"] >= SCLERA
    assert np.array_equal(seen, inside & drawn["whole_iris"])
    assert (drawn["veiled"] & seen).any()


def test_hidden_points_lie_on_the_skin() -> None:
    points = draw_eyes(300, H, W, seed=2)
    for k, name in enumerate(EYE_LANDMARKS):
        if not name.startswith("iris_"):
            continue
        column, row = np.floor(points["landmarks"][:, k]).astype(int).T
        around = np.stack(
            [
                points["masks"][np.arange(300), row + i, column + j] >= SCLERA
                for i in (-1, 0, 1)
                for j in (-1, 0, 1)
            ]
        )
        # where a lid's edge is a pixel or more away
        assert points["visible"][around.all(0), k].all(), name
        assert not points["visible"][~around.any(0), k].any(), name
    assert not points["visible"][:, EYE_LANDMARKS.index("iris_top")].all()


def test_lid_points_lie_on_the_edge_of_the_opening() -> None:
    points = draw_eyes(60, H, W, seed=2)
    grid = np.arange(W) + 0.5, np.arange(H) + 0.5
    for name in ("left_corner", "right_corner", "upper_lid", "lower_lid"):
        at = points["landmarks"][:, EYE_LANDMARKS.index(name)]
        distance = np.hypot(
            grid[0][None, None, :] - at[:, 0, None, None],
            grid[1][None, :, None] - at[:, 1, None, None],
        )
        for inside in (points["masks"] >= SCLERA, points["masks"] < SCLERA):
            # a corner is thinner than a pixel for some pixels
            assert np.where(inside, distance, np.inf).min((1, 2)).max() < 5.0, name
    highest = points["landmarks"][:, EYE_LANDMARKS.index("upper_lid"), 1]
    lowest = points["landmarks"][:, EYE_LANDMARKS.index("lower_lid"), 1]
    rows = (points["masks"] >= SCLERA).any(2)
    assert (highest > rows.argmax(1) - 1.0).all()
    assert (lowest < H - rows[:, ::-1].argmax(1) + 1.0).all()


def test_the_lids_summit_is_the_highest_point_of_the_arc() -> None:
    skew = np.linspace(-0.35, 0.3, 14, dtype=np.float32)[:, None]
    u = np.linspace(-1, 1, 200001, dtype=np.float64)[None]
    height, slope = eye_geometry.arc(u, skew.astype(np.float64))
    assert np.allclose(height.max(1), 1, atol=1e-8)
    assert np.allclose(height[:, [0, -1]], 0, atol=1e-8)
    top = u[0, height.argmax(1)]
    assert np.allclose(top, eye_geometry._summit(skew)[:, 0], atol=1e-4)
    assert np.allclose(np.gradient(height, u[0], axis=1)[:, 1:-1], slope[:, 1:-1], atol=1e-4)


def test_mirrored_parameters_draw_the_mirrored_eye() -> None:
    e = parameters(20)
    sign = np.float32([[-1, 1]])
    mirrored = dataclasses.replace(
        e,
        side=-e.side,
        centre=np.float32([[W, 0]]) + e.centre * sign,
        turn=e.turn * np.float32([[1, -1]]),
        gaze=e.gaze * np.float32([[-1, 1, 1]]),
        offset=e.offset * sign,
    )
    _, masks, whole, _ = eye_painting.paint(e, (H, W))
    _, other_masks, other_whole, _ = eye_painting.paint(mirrored, (H, W))
    assert (masks[..., ::-1] != other_masks).mean() < 1e-3
    assert (whole[..., ::-1] != other_whole).mean() < 1e-3
    points, visible = eye_geometry.landmarks(e)
    others, others_visible = eye_geometry.landmarks(mirrored)
    swap = dict(EYE_PAIRS) | {b: a for a, b in EYE_PAIRS}
    order = [EYE_LANDMARKS.index(swap.get(name, name)) for name in EYE_LANDMARKS]
    assert np.allclose(points * sign + np.float32([W, 0]), others[:, order], atol=1e-3)
    assert np.array_equal(visible, others_visible[:, order])


def test_a_larger_drawing_is_the_same_eye() -> None:
    """Four pixels of 96 x 128 in one are 48 x 64: images, masks and points."""
    for channels in (1, 3):
        small, large = (draw_eyes(30, *hw, seed=5, channels=channels) for hw in ((48, 64), (H, W)))
        reduced = large["images"].reshape(30, channels, 48, 2, 64, 2).mean((3, 5))
        difference = np.abs(reduced - small["images"])
        assert difference.mean() < 2.5
        assert np.allclose(large["landmarks"], 2 * small["landmarks"], atol=1e-3)
        assert np.array_equal(large["gaze"], small["gaze"])
        enlarged = small["masks"].repeat(2, 1).repeat(2, 2)
        assert (enlarged == large["masks"]).mean() > 0.98


def test_light_changes_the_image_and_nothing_else() -> None:
    grey = draw_eyes(20, 48, 64, seed=5)
    colour = draw_eyes(20, 48, 64, seed=5, channels=3)
    for name in grey:
        assert np.array_equal(grey[name], colour[name]) == (name != "images"), name
    lit = draw_eyes(20, 48, 64, seed=5, channels=3, infrared=True)["images"]
    assert np.array_equal(lit, grey["images"].repeat(3, 1))
    assert np.ptp(colour["images"].astype(int), axis=1).mean() > 10


@pytest.mark.parametrize("channels", [1, 3])
def test_parts_look_as_they_should(channels: int) -> None:
    """Where nothing veils them: pupil darker than iris, iris than sclera; reflections brightest."""
    drawn = draw_eyes(100, H, W, seed=5, channels=channels)
    image = drawn["images"].mean(1)

    def level(value: int) -> np.ndarray:
        chosen = (drawn["masks"] == value) & ~drawn["veiled"]
        return (image * chosen).sum((1, 2)) / chosen.sum((1, 2))

    assert (level(PUPIL) < level(IRIS)).all()
    assert (level(IRIS) < level(SCLERA)).all()
    bright = image * drawn["whole_iris"] > 215
    assert bright.any((1, 2)).mean() > 0.9
    assert (bright & drawn["veiled"]).sum() > 0.5 * bright.sum()


def test_irises_have_texture_and_eyes_differ() -> None:
    drawn = draw_eyes(40, H, W, seed=5)
    chosen = (drawn["masks"] == IRIS) & ~drawn["veiled"]
    spread = [drawn["images"][i, 0][chosen[i]].std() for i in range(40)]
    assert min(spread) > 8
    flat = drawn["images"].reshape(40, -1).astype(float)
    apart = np.abs(flat[:, None] - flat[None]).mean(2) + 1e9 * np.eye(40)
    assert apart.min() > 3


def test_an_eye_depends_on_its_own_id_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = draw_eyes(40, 48, 64, seed=1, channels=3)
    part = draw_eyes(5, 48, 64, seed=1, channels=3, first=20)
    monkeypatch.setattr(module, "_BLOCK_PIXELS", 3 * 48 * 64)
    blocks = draw_eyes(40, 48, 64, seed=1, channels=3)
    for name in whole:
        assert np.array_equal(whole[name][20:25], part[name]), name
        assert np.array_equal(whole[name], blocks[name]), name
    assert not np.array_equal(whole["images"], draw_eyes(40, 48, 64, 2, 3)["images"])


def test_points_are_named_once() -> None:
    named = [n for pair in EYE_PAIRS for n in pair]
    assert {n for n in EYE_LANDMARKS if "left" in n or "right" in n} == set(named)
    assert {n for line in (*EYE_SKELETON, EYE_REFERENCE) for n in line} <= set(EYE_LANDMARKS)


def test_eyes_that_cannot_be() -> None:
    for height, width in ((23, 64), (48, 31)):
        with pytest.raises(UsageError, match="at least 24 px high and 32 px wide"):
            draw_eyes(5, height, width, seed=0)
    with pytest.raises(UsageError, match="1 or 3"):
        draw_eyes(5, 48, 64, seed=0, channels=4)

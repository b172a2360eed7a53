from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from augmint.core.errors import UsageError
from augmint.core.registry import DATASETS
from augmint.data.faces import EXPRESSIONS, LANDMARKS, MASK_CLASSES, draw_faces
from augmint.data.ingest import ingest


def test_digits_are_scikit_learns(cache: Path) -> None:
    table = ingest("digits", cache)
    bunch = load_digits()
    assert table.shape == (1, 8, 8)
    assert len(table) == 1797
    assert table.classes() == tuple("0123456789")
    assert np.array_equal(table.labels(), bunch.target)
    # round(v * 255 / 16) in whole numbers
    values = bunch.images.astype(np.int64)
    scaled = (values * 255 * 2 + 16) // 32
    scaled[values == 8] = 128  # 127.5, to even
    assert np.array_equal(table.images[:, 0], scaled)
    assert list(table.parts) == ["all"]
    assert ingest("digits", cache).folder == table.folder
    assert ingest("digits", cache, size=(16, 16)).shape == (1, 16, 16)


def test_toy_table(cache: Path) -> None:
    table = ingest("toy", cache)
    assert table.shape == (3, 32, 32)
    assert len(table) == 3000
    assert table.classes() == EXPRESSIONS
    assert np.bincount(table.labels()).tolist() == [600] * 5
    assert ingest("toy", cache, channels=1, size=(48, 48)).shape == (1, 48, 48)


def test_fields_go_with_the_name(cache: Path) -> None:
    table = ingest("{name: toy, images: 11, seed: 3}", cache, size=(24, 24))
    content = DATASETS.create({"name": "toy", "images": 11, "seed": 3}).build((24, 24), None)
    assert np.array_equal(table.images, content.images)
    assert ingest("toy", cache).digest != table.digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{name: toi}", "did you mean 'toy'"),
        ("{name: toy, imags: 9}", "did you mean 'images'"),
        ("{images: 9}", "add the key 'name'"),
        ("{name: toy", "write it as '{name: toy-eyes, images: 9000}'"),
        ("{toy}", "did you mean|add the key 'name'"),
    ],
)
def test_fields_that_do_not_fit_are_told(text: str, message: str, cache: Path) -> None:
    with pytest.raises(UsageError, match=message):
        ingest(text, cache)


def test_toy_fields() -> None:
    content = DATASETS.create({"name": "toy", "images": 11, "size": 24, "seed": 3}).build(
        None, None
    )
    assert content.images.shape == (11, 3, 24, 24)
    with pytest.raises(UsageError, match="at least one image a class"):
        DATASETS.create({"name": "toy", "images": 4}).build(None, None)


@pytest.fixture(scope="module", params=[32, 64])
def faces(request) -> dict[str, np.ndarray]:
    """Faces of two sizes, drawn once."""
    return draw_faces(500, request.param, seed=7)


def place(faces: dict[str, np.ndarray], name: str) -> np.ndarray:
    return faces["landmarks"][:, LANDMARKS.index(name)]


def mask_at(faces: dict[str, np.ndarray], points: np.ndarray) -> np.ndarray:
    """Mask value of the pixel that holds each point: pixel (i, j) spans [j, j+1) x [i, i+1)."""
    column, row = np.floor(points).astype(int).T
    return faces["masks"][np.arange(len(points)), row, column]


def test_every_face_is_whole(faces) -> None:
    size = faces["masks"].shape[1]
    assert faces["images"].dtype == np.uint8
    assert faces["landmarks"].shape == (500, len(LANDMARKS), 2)
    assert (faces["landmarks"] > 0).all()
    assert (faces["landmarks"] < size).all()
    for value in range(1, len(MASK_CLASSES)):
        assert (faces["masks"] == value).any((1, 2)).all()


def test_eye_centres_lie_in_the_eye_mask(faces) -> None:
    for name in ("left_eye_center", "right_eye_center"):
        assert (mask_at(faces, place(faces, name)) == MASK_CLASSES.index("eyes")).all()


def test_the_eye_masks_centre_is_the_eye_landmark(faces) -> None:
    """Centre of mass of each eye's mask against its landmark: within a pixel."""
    size = faces["masks"].shape[1]
    grid = np.arange(size) + 0.5
    left, right = place(faces, "left_eye_center"), place(faces, "right_eye_center")
    axis = right - left
    middle = (left + right) / 2
    side = (grid[None, None, :] - middle[:, 0, None, None]) * axis[:, 0, None, None] + (
        grid[None, :, None] - middle[:, 1, None, None]
    ) * axis[:, 1, None, None]
    eyes = faces["masks"] == MASK_CLASSES.index("eyes")
    for chosen, point in ((eyes & (side < 0), left), (eyes & (side > 0), right)):
        mass = chosen.sum((1, 2))
        x = (chosen * grid[None, None, :]).sum((1, 2)) / mass
        y = (chosen * grid[None, :, None]).sum((1, 2)) / mass
        assert np.hypot(x - point[:, 0], y - point[:, 1]).max() < 1.0


def test_mouth_landmarks_touch_the_mouth_mask(faces) -> None:
    size = faces["masks"].shape[1]
    grid = np.arange(size) + 0.5
    mouth = faces["masks"] == MASK_CLASSES.index("mouth")
    for name in ("mouth_left", "mouth_right", "mouth_top", "mouth_bottom"):
        point = place(faces, name)
        distance = np.hypot(
            grid[None, None, :] - point[:, 0, None, None],
            grid[None, :, None] - point[:, 1, None, None],
        )
        assert np.where(mouth, distance, np.inf).min((1, 2)).max() < 1.5


def test_left_is_left_and_up_is_up(faces) -> None:
    for part in ("eye_center", "eye_outer", "brow_outer"):
        assert (place(faces, f"left_{part}")[:, 0] < place(faces, f"right_{part}")[:, 0]).all()
    assert (place(faces, "mouth_left")[:, 0] < place(faces, "mouth_right")[:, 0]).all()
    assert (place(faces, "nose_tip")[:, 1] < place(faces, "mouth_bottom")[:, 1]).all()


def test_expressions_shape_the_mouth(faces) -> None:
    """Upright height of the opening over the width, and which way the corners point."""
    left, right = place(faces, "mouth_left"), place(faces, "mouth_right")
    top, bottom = place(faces, "mouth_top"), place(faces, "mouth_bottom")
    width = np.linalg.norm(right - left, axis=1)
    opening = np.linalg.norm(bottom - top, axis=1) / width
    down = np.stack((-(right - left)[:, 1], (right - left)[:, 0]), axis=1) / width[:, None]
    droop = ((((top + bottom) - (left + right)) / 2) * down).sum(1) / width
    mean = {e: faces["expression"] == i for i, e in enumerate(EXPRESSIONS)}
    assert opening[mean["surprised"]].mean() > 2 * opening[mean["neutral"]].mean()
    assert droop[mean["happy"]].min() > droop[mean["sad"]].max()
    assert faces["intensity"].min() >= 0.35


def test_turning_moves_eyes_rigidly(faces) -> None:
    """Inner and outer corners are as far from the centre: landmarks are a similarity's image."""
    for side in ("left", "right"):
        outer, centre, inner = (
            place(faces, f"{side}_eye_{p}") for p in ("outer", "center", "inner")
        )
        assert np.allclose((outer + inner) / 2, centre, atol=1e-3)


def test_a_face_depends_on_its_own_id_alone() -> None:
    whole = draw_faces(40, 32, seed=1)
    part = draw_faces(5, 32, seed=1, first=20)
    for name in whole:
        assert np.array_equal(whole[name][20:25], part[name]), name
    assert not np.array_equal(whole["images"], draw_faces(40, 32, seed=2)["images"])


def test_grey_faces_are_the_luma_of_coloured_ones() -> None:
    colour = draw_faces(4, 32, seed=1)["images"].astype(float)
    grey = draw_faces(4, 32, seed=1, channels=1)["images"]
    luma = 0.299 * colour[:, 0] + 0.587 * colour[:, 1] + 0.114 * colour[:, 2]
    assert grey.shape == (4, 1, 32, 32)
    assert np.abs(grey[:, 0] - luma).max() <= 0.51


def test_edges_are_antialiased_like_a_supersampled_drawing() -> None:
    """The head's share of each pixel equals that of the same ellipse counted on a fine grid."""
    from augmint.data.raster import cover, ellipse

    size, fine, scale = 32, 16, np.float32([[12.0]])
    half = np.float32([[0.7]]), np.float32([[0.9]])
    grid = ((np.arange(size) + 0.5 - 16) / 12).astype(np.float32)
    u, v = np.tile(grid, size)[None], np.repeat(grid, size)[None]
    drawn = cover(ellipse(u, v, *half), scale).reshape(size, size)
    dense = ((np.arange(size * fine) + 0.5) / fine - 16) / 12
    inside = (dense[None] / 0.7) ** 2 + (dense[:, None] / 0.9) ** 2 <= 1
    share = inside.reshape(size, fine, size, fine).mean((1, 3))
    assert np.abs(drawn - share).max() < 0.12
    assert abs(drawn.sum() - share.sum()) < 0.01 * share.sum()


def test_sizes_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="at least 24"):
        draw_faces(5, 16, seed=0)
    with pytest.raises(UsageError, match="1 or 3"):
        draw_faces(5, 32, seed=0, channels=2)

"""A bundle mints the same images without its data, and one that was tampered with never opens."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.core.errors import DataError, UsageError
from augmint.core.streams import scope
from augmint.minting.bundle import Bundle
from augmint.minting.curation import CurationConfig
from augmint.minting.judge import StoredJudge, build_judge
from augmint.training.config import GanConfig
from augmint.training.gan import build_generator

SHAPE = (1, 8, 8)
SPEC = {"name": "small-cnn", "channels": 4}


def make(judge: bool = True, features: bool = True) -> Bundle:
    schema = Schema((Category("label", ("ant", "bee", "the cat")),))
    gan = GanConfig(generator={"name": "dcgan-generator"}, latent_dim=5, steps=1)
    with scope(3, "test.bundle"):
        generator = build_generator(gan, schema, SHAPE)
        stored = StoredJudge(SPEC, SHAPE, 3, build_judge(SPEC, SHAPE, 3), {"accuracy": 0.5})
    train = np.random.default_rng(0).integers(0, 256, (20, *SHAPE)).astype(np.uint8)
    return Bundle(
        generator=generator.eval(),
        gan=gan,
        schema=schema,
        shape=SHAPE,
        judge=stored if judge else None,
        features=stored(train) if features else None,
        copy_distance=1e-4 if features else None,
        curation=CurationConfig(threshold=0.0, agreement=False, duplicate_distance=0.0),
        missing={} if features else {"features": "declined"},
        provenance={"data": "none"},
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make().save(tmp_path_factory.mktemp("bundles") / "bundle")


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "bundle"))


def change(folder: Path, **fields: Any) -> None:
    path = folder / "bundle.json"
    plain = json.loads(path.read_text())
    path.write_text(json.dumps(plain | fields))


def test_it_mints_the_same_images_after_it_was_opened(saved: Path) -> None:
    before, after = make(), Bundle.open(saved)
    assert (after.gan, after.schema, after.shape) == (before.gan, before.schema, before.shape)
    assert after.curation == before.curation
    quotas = {"the cat": 5, "ant": 3}
    one, two = before.mint(quotas, 7, progress=False), after.mint(quotas, 7, progress=False)
    assert np.array_equal(one.images, two.images)
    assert np.bincount(two.values["label"], minlength=3).tolist() == [3, 0, 5]
    assert np.array_equal(one.scores["probability"], two.scores["probability"])
    assert after.digest == before.digest
    plain = json.loads((saved / "bundle.json").read_text())
    assert plain["files"]["generator.safetensors"]["sha256"] == after.digest
    assert plain["missing"] == {}
    assert sorted(p.name for p in saved.iterdir()) == [
        "bundle.json",
        "features.safetensors",
        "generator.safetensors",
        "judge.safetensors",
    ]


def test_the_stored_judge_is_the_same_function_at_any_size(saved: Path) -> None:
    before, after = make().judge, Bundle.open(saved).judge
    assert before is not None
    assert after is not None
    images = np.random.default_rng(1).integers(0, 256, (6, 1, 16, 16)).astype(np.uint8)
    assert np.array_equal(before.probabilities(images), after.probabilities(images))
    assert np.allclose(after.probabilities(images).sum(1), 1)
    assert after(images).shape[0] == 6
    assert after.told == {"accuracy": 0.5}
    assert after.digest == before.digest


def test_copies_of_training_images_are_told(saved: Path) -> None:
    is_copy = Bundle.open(saved).is_copy()
    assert is_copy is not None
    train = np.random.default_rng(0).integers(0, 256, (20, *SHAPE)).astype(np.uint8)
    other = np.random.default_rng(9).integers(0, 256, (20, *SHAPE)).astype(np.uint8)
    assert is_copy(train).all()
    assert not is_copy(other).any()


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    folder = make(judge=False, features=False).save(tmp_path / "bare")
    bundle = Bundle.open(folder)
    assert bundle.missing == {"judge": "not given", "features": "declined"}
    assert bundle.is_copy() is None
    with pytest.raises(UsageError, match="not given"):
        bundle.mint({"ant": 1}, 1)
    assert len(bundle.mint({"ant": 2}, 1, curate=False, progress=False)) == 2
    with pytest.raises(UsageError, match="did you mean 'ant'"):
        bundle.mint({"ants": 1}, 1, curate=False)


def test_saving_twice_is_saving_once_and_nothing_is_overwritten(
    saved: Path, tmp_path: Path
) -> None:
    before = {p.name: p.stat().st_mtime_ns for p in saved.iterdir()}
    assert make().save(saved) == saved
    assert before == {p.name: p.stat().st_mtime_ns for p in saved.iterdir()}
    with pytest.raises(UsageError, match="something else"):
        make(judge=False, features=False).save(saved)
    assert [p.name for p in saved.parent.iterdir()] == ["bundle"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(UsageError, match="something else"):
        make().save(tmp_path / "mine")


@pytest.mark.parametrize("name", ["generator", "judge", "features"])
def test_an_altered_file_is_refused(copy: Path, name: str) -> None:
    path = copy / f"{name}.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DataError, match="SHA-256"):
        Bundle.open(copy)
    path.write_bytes(raw[:-1])
    with pytest.raises(DataError, match="bytes instead of"):
        Bundle.open(copy)
    path.unlink()
    with pytest.raises(DataError, match="missing or a link"):
        Bundle.open(copy)
    path.symlink_to("/etc/passwd")
    with pytest.raises(DataError, match="missing or a link"):
        Bundle.open(copy)


@pytest.mark.parametrize(
    "fields",
    [
        {"version": 2},
        {"version": None},
        {"format": "other"},
        {"unknown": 1},
        {"files": {}},
        {"files": {"../../etc/passwd": {"sha256": "00", "bytes": 1}}},
        {"files": {"/etc/passwd": {"sha256": "00", "bytes": 1}}},
        {"files": {"generator.pkl": {"sha256": "00", "bytes": 1}}},
        {"shape": [1, 8]},
        {"shape": [1, 0, 8]},
        {"shape": [1, 10**9, 10**9]},
        {"shape": [1, 16, 16]},
        {"shape": [3, 8, 8]},
        {"schema": []},
        {"schema": [{"kind": "category", "name": "label", "classes": ["a", "b"]}]},
        {"schema": [{"kind": "os.system", "name": "label"}]},
        {"schema": [{"kind": "category", "name": "label", "classes": ["a", "b"], "x": 1}]},
        {"gan": {"generator": "no-such"}},
        {"gan": {"latent_dim": 10**9}},
        {"gan": {"generator": "sn-critic"}},
        {"gan": "x"},
        {"judge": None},
        {"judge": {"network": {"name": "sn-critic"}, "shape": [1, 8, 8], "outputs": 3, "told": {}}},
        {"judge": {"network": SPEC, "shape": [1, 8, 8], "outputs": 10**9, "told": {}}},
        {"judge": {"network": SPEC, "shape": [1, 8, 8], "outputs": -3, "told": {}}},
        {"curation": {"threshold": 7}},
        {"copy_distance": "near"},
    ],
    ids=str,
)
def test_a_false_description_is_refused_before_memory_is_claimed(
    copy: Path, fields: dict[str, Any]
) -> None:
    change(copy, **fields)
    with pytest.raises(DataError):
        Bundle.open(copy)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 100000, '{"version": NaN}'])
def test_broken_json_is_refused(copy: Path, text: str) -> None:
    (copy / "bundle.json").write_text(text)
    with pytest.raises(DataError):
        Bundle.open(copy)


def test_a_pickle_in_place_of_tensors_is_refused_unread(copy: Path) -> None:
    import hashlib
    import pickle

    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (copy / "exploded",))

    raw = pickle.dumps(Bomb())
    (copy / "generator.safetensors").write_bytes(raw)
    plain = json.loads((copy / "bundle.json").read_text())
    plain["files"]["generator.safetensors"] = {
        "sha256": hashlib.sha256(raw).hexdigest(),
        "bytes": len(raw),
    }
    (copy / "bundle.json").write_text(json.dumps(plain))
    with pytest.raises(DataError, match="safetensors"):
        Bundle.open(copy)
    assert not (copy / "exploded").exists()


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    bundle = make(judge=False, features=False)
    with torch.no_grad():
        next(bundle.generator.parameters()).fill_(float("nan"))
    folder = bundle.save(tmp_path / "nan")
    with pytest.raises(DataError, match="not finite"):
        Bundle.open(folder)


def test_no_bundle_at_all(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DataError, match=r"bundle\.json"):
            Bundle.open(path)


def test_values_of_further_aspects_travel(tmp_path: Path) -> None:
    schema = Schema((Category("label", ("a", "b")), Category("age", ("old", "young"))))
    gan = GanConfig(latent_dim=5, steps=1)
    with scope(0, "test.bundle"):
        generator = build_generator(gan, schema, SHAPE).eval()
    bank = {"label": np.array([0, 1, 1]), "age": np.array([1, 0, 1])}
    folder = Bundle(generator, gan, schema, SHAPE, bank=bank).save(tmp_path / "b")
    minted = Bundle.open(folder).mint({"a": 4}, 1, curate=False, progress=False)
    assert minted.values["age"].tolist() == [1, 1, 1, 1]
    bare = Bundle(generator, gan, schema, SHAPE).save(tmp_path / "c")
    assert "aspects" in Bundle.open(bare).missing


def test_a_training_becomes_a_bundle_that_mints_without_its_data(tmp_path: Path) -> None:
    from augmint.training.gan import TrainingImages, train_gan

    schema = Schema((Category("label", ("ant", "bee")),))
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (12, *SHAPE)).astype(np.uint8)
    data = TrainingImages(images, {"label": np.arange(12) % 2}, np.arange(12))
    gan = GanConfig(steps=2, batch=4, latent_dim=3)
    trained = train_gan(gan, data, schema, seed=1, progress=False)
    with scope(0, "test.judge"):
        judge = StoredJudge(SPEC, SHAPE, 2, build_judge(SPEC, SHAPE, 2))
    bundle = Bundle.from_training(trained, data, judge, copy_distance=0.5)
    opened = Bundle.open(bundle.save(tmp_path / "bundle"))
    assert opened.digest == trained.generator_digest
    assert opened.features is not None
    assert opened.features.shape[0] == 12
    assert opened.provenance["training_images"] == 12
    one = bundle.mint({"bee": 3}, 5, curate=False, progress=False)
    two = opened.mint({"bee": 3}, 5, curate=False, progress=False)
    assert np.array_equal(one.images, two.images)


def test_a_quota_by_another_thing_than_a_name_is_refused(saved: Path) -> None:
    with pytest.raises(UsageError, match=r"a quota names a class; got 99: known: ant"):
        Bundle.open(saved).mint({99: 1}, 1, progress=False)  # type: ignore[dict-item]

"""Training: it learns, repeats bit for bit, differs by name only in what it should."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.core.errors import IncompatibleError, UsageError
from augmint.core.registry import TASKS
from augmint.core.types import FeatureNet, Judge
from augmint.tasks.classification import ClassificationTask
from augmint.tasks.config import TaskConfig
from augmint.tasks.phase import OneCycle
from augmint.tasks.rows import RealRows, Source
from augmint.tasks.trained import TrainedTask, build_network, resampled

SCHEMA = Schema((Category("label", ("left", "right")),))
SHAPE = (1, 8, 8)
NET = """\
import torch.nn as nn

def make_net(num_classes, channels, height, width):
    return nn.Sequential(
        nn.Conv2d(channels, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2),
        nn.Linear(6 * height * width, 5), nn.ReLU(), nn.Linear(5, num_classes))
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TaskConfig:
    path = tmp_path_factory.mktemp("user") / "net.py"
    path.write_text(NET)
    return TaskConfig(model=f"{path}:make_net", steps=40, batch=16)


def sides(n: int, seed: int = 0, turned: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Images whose left or right half is brighter, and which half it is."""
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    images = generator.integers(0, 120, (n, *SHAPE))
    for i, label in enumerate(labels):
        images[i, :, :, 4 * label : 4 * label + 4] += 100
    return images.astype(np.uint8), (1 - labels if turned else labels)


def source(n: int = 30, share: float = 1.0, **changes: object) -> Source:
    images, labels = sides(n)
    made = Source(images, {"label": labels}, np.arange(n), share)
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def real(n: int = 60) -> RealRows:
    images, labels = sides(n, seed=9)
    return RealRows(images, {"label": labels}, np.arange(n))


def train(
    config: TaskConfig, sources: list[Source], policy: str = "none", seed: int = 0, name: str = ""
) -> TrainedTask:
    task = TASKS.create("classification")
    return task.train(config, SCHEMA, SHAPE, sources, policy, seed, "cpu", name)


def weights(trained: TrainedTask) -> torch.Tensor:
    return torch.cat([v.flatten() for v in trained.network.state_dict().values()])


@pytest.mark.parametrize("policy", ["none", "shift", "mixup"])
def test_learns(config: TaskConfig, policy: str) -> None:
    trained = train(config, [source()], policy)
    scores = ClassificationTask().score(trained, real())
    assert scores.accuracy > 0.95
    assert scores.classes == ("left", "right")
    assert trained.views == [{"origin": "real", "images": 30, "views": 40 * 16 / 30}]


def test_repeats_bit_for_bit_and_leaves_global_chance_alone(config: TaskConfig) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one = train(config, [source()], "affine")
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(17)
    two = train(config, [source()], "affine")
    assert torch.equal(weights(one), weights(two))
    assert one.digest == two.digest
    for other in (
        train(config, [source()], "affine", 1),
        train(config, [source()], "affine", 0, "x"),
    ):
        assert not torch.equal(weights(one), weights(other))


def test_stream_name_keeps_the_initialisation(config: TaskConfig) -> None:
    brief = dataclasses.replace(config, steps=1, learning_rate=1e-12, weight_decay=0.0)
    one, two = train(brief, [source()]), train(brief, [source()], name="repeat")
    torch.testing.assert_close(weights(one), weights(two), atol=1e-9, rtol=0)
    assert not torch.equal(weights(one), weights(train(brief, [source()], seed=3)))


def test_shares_decide_what_is_learned(config: TaskConfig) -> None:
    """A large share of turned labels turns the answers."""
    images, labels = sides(30, turned=True)
    wrong = source(share=0.9, values={"label": labels}, images=images, origin="minted")
    trained = train(config, [source(share=0.1), wrong])
    assert ClassificationTask().score(trained, real()).accuracy < 0.2
    assert [v["origin"] for v in trained.views] == ["real", "minted"]


def test_only_real_rows_are_scored(config: TaskConfig) -> None:
    trained = train(dataclasses.replace(config, steps=1), [source()])
    task = ClassificationTask()
    with pytest.raises(UsageError, match="real rows only"):
        task.score(trained, source(origin="minted"))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="'minted'"):
        RealRows(*sides(2)[:1], {"label": np.zeros(2, np.int64)}, np.arange(2), "minted")
    images, labels = sides(20)
    assert 0 <= task.diagnose(trained, images, labels).agreement <= 1


def test_trained_is_judge_and_features(config: TaskConfig) -> None:
    trained = train(config, [source()])
    images, _ = sides(300, seed=4)
    p = trained.probabilities(images)
    assert isinstance(trained, Judge)
    np.testing.assert_allclose(p.sum(1), 1.0, atol=1e-6)
    np.testing.assert_allclose(trained.logits(images[:3]), trained.logits(images)[:3], atol=1e-5)
    features = trained.feature_net("judge")
    assert isinstance(features, FeatureNet)
    assert features(images).shape == (300, 5)  # the input of the last linear layer
    last = trained.network[-1]
    with torch.inference_mode():
        again = last(torch.from_numpy(features(images))).numpy()
    np.testing.assert_allclose(again, trained.logits(images), atol=1e-5)
    assert not any(m._forward_pre_hooks for m in trained.network.modules())
    with pytest.raises(UsageError, match="images of shape"):
        trained.logits(np.zeros((1, 1, 9, 9), np.uint8))


def test_saved_and_loaded(config: TaskConfig, tmp_path: Path) -> None:
    trained = train(config, [source()])
    trained.save(tmp_path / "task.safetensors")
    loaded = TrainedTask.load(tmp_path / "task.safetensors")
    images, _ = sides(10)
    assert np.array_equal(loaded.probabilities(images), trained.probabilities(images))
    assert loaded.digest == trained.digest
    assert loaded.config == trained.config


def test_resampled_size(config: TaskConfig) -> None:
    trained = train(dataclasses.replace(config, size=(12, 6)), [source()])
    assert trained.network[4].in_features == 6 * 12 * 6
    assert ClassificationTask().score(trained, real()).accuracy > 0.9


@pytest.mark.parametrize("size", [(5, 7), (16, 24)])
def test_resampling_is_antialiased_bilinear(size: tuple[int, int]) -> None:
    """Against Pillow, whose bilinear filter widens when it shrinks."""
    image = np.random.default_rng(0).integers(0, 255, (14, 15), dtype=np.uint8)
    got = resampled(torch.from_numpy(image)[None, None], size)[0, 0].numpy()
    wanted = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
    assert np.abs(got.astype(int) - wanted).max() <= 1  # Pillow rounds between its two passes


def test_one_cycle_is_torchs() -> None:
    for steps, peak in ((10, 0.1), (100, 2e-3), (1000, 1.0)):
        optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, peak, total_steps=steps)
        cycle = OneCycle(peak, steps)
        for step in range(steps):
            assert cycle(step) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-9)
            optimiser.step()
            if step < steps - 1:
                schedule.step()
    assert all(0 < OneCycle(1.0, 1 + s)(s) <= 1 for s in range(3))


def test_our_networks_build() -> None:
    one = build_network(TaskConfig(), (3, 28, 28), 4, seed=3)
    assert one(torch.zeros(2, 3, 28, 28)).shape == (2, 4)
    two = build_network(TaskConfig(), (3, 28, 28), 4, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    with pytest.raises(UsageError, match="classifier"):
        build_network(TaskConfig(network="dcgan-generator"), (1, 32, 32), 4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 0}, "at least 1"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"size": (2, 8)}, "4 to 1024"),
        ({"weights": "w.safetensors"}, "user's own"),
    ],
)
def test_bad_configurations(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        TaskConfig(**changes)  # type: ignore[arg-type]


def test_bad_sources(config: TaskConfig) -> None:
    with pytest.raises(UsageError, match="sum to 1"):
        train(config, [source(share=0.4), source(share=0.4)])
    with pytest.raises(UsageError, match="shape"):
        train(config, [source(images=np.zeros((30, 1, 9, 9), np.uint8))])
    with pytest.raises(UsageError, match="aspect label"):
        train(config, [source(values={})])
    with pytest.raises(UsageError, match="29 for 30"):
        source(ids=np.arange(29))
    with pytest.raises(UsageError, match="uint8"):
        source(images=np.zeros((30, *SHAPE)))


def test_configurations_are_read_without_torch() -> None:
    code = (
        "import sys, augmint.tasks.base, augmint.augmentation.base\n"
        "from augmint.core.registry import AUGMENTERS, TASKS\n"
        "AUGMENTERS.names(), TASKS.names()\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_bf16_is_refused_where_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    from augmint.networks.classifiers import SmallCnn

    monkeypatch.setattr(SmallCnn, "bf16", False)
    with pytest.raises(IncompatibleError, match="bf16"):
        train(TaskConfig(precision="bf16"), [source()])

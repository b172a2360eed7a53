"""VAR in training: images carry the value asked for, and the class; runs resume exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.aspects.landmarks import Landmarks
from augmint.aspects.mask import Mask
from augmint.aspects.vector import Vector
from augmint.core.errors import IncompatibleError, InterruptedRunError
from augmint.core.registry import CONDITIONING
from augmint.core.streams import stream
from augmint.training.batches import Batches, TrainingImages
from augmint.training.between import between, check_between
from augmint.training.gan import GanConfig, GanTraining, TrainedGan

SIDE, N = 8, 400
LIGHT = Vector("light", ("grey",), low=(-0.7,), high=(0.7,))
SLOPE = Category("slope", ("left", "right"))
SCHEMA = Schema((SLOPE, LIGHT))
RAMP = torch.linspace(-0.3, 0.3, SIDE)


def ramps() -> TrainingImages:
    """Grey images of a given mean, brighter on the left or on the right."""
    rng = np.random.default_rng(4)
    light = rng.uniform(-0.6, 0.6, (N, 1)).astype(np.float32)
    slope = np.arange(N) % 2
    images = light[:, :, None] + (2 * slope - 1)[:, None, None] * RAMP.numpy()
    images = images + rng.normal(0, 0.02, (N, SIDE, SIDE))
    pixels = np.round(127.5 + 127.5 * images).clip(0, 255).astype(np.uint8)
    return TrainingImages(pixels[:, None], {"slope": slope, "light": light}, np.arange(N))


def config(conditioning: Any, **changes: Any) -> GanConfig:
    fields: dict[str, Any] = {
        "generator": {"name": "mlp-generator", "widths": (64, 64)},
        "critic": {"name": "mlp-critic", "image": 32, "joint": 32, "pieces": 2, "joint_pieces": 2},
        "objective": "non-saturating",
        "conditioning": conditioning,
        "augment": None,
        "auxiliary_augment": None,
        "auxiliary_rate": 3e-3,
        "latent_dim": 4,
        "batch": 32,
        "steps": 300,
        "ema": 0.9,
        "generator_rate": 1e-3,
        "critic_rate": 1e-3,
        "betas": (0.5, 0.9),
    }
    return GanConfig(**{**fields, **changes})


NARROW = {"name": "small-cnn", "channels": 8, "normalisation": "none", "dropout": 0.0}


def errors(trained: TrainedGan) -> tuple[float, float]:
    """Return the mean error of the light asked for,
    and the share of wrong slopes: nothing learnt."""
    data = ramps()
    wanted = {k: torch.as_tensor(v[:200]) for k, v in data.values.items() if k in trained.schema}
    method = CONDITIONING.create(trained.config.conditioning)
    latent = method.sample_latent(trained.context, wanted, stream(9, "test", ids=200))
    with torch.no_grad():
        images = trained.generator(latent)[:, 0]
    apart = (images.mean((1, 2)) - torch.as_tensor(data.values["light"][:200, 0])).abs()
    right = (images * RAMP).sum((1, 2)) > 0
    wrong = right != torch.as_tensor(data.values["slope"][:200]).bool()
    return float(apart.mean()), float(wrong.float().mean())


def trained(conditioning: Any, **changes: Any) -> TrainedGan:
    return GanTraining(config(conditioning, **changes), ramps(), SCHEMA, 1).run(progress=False)


def test_the_regressor_makes_images_carry_the_value_asked_for() -> None:
    found = {
        zeta: errors(trained({"name": "var", "network": NARROW, "zeta": zeta}))[0]
        for zeta in (0.0, 3.0)
    }
    assert found[0.0] > 0.25  # two draws of U(-0.6, 0.6) are 0.4 apart on average
    assert found[3.0] < 0.1


def test_class_and_value_are_kept_together() -> None:
    method = {
        "name": "vac-var",
        "classifier": {"network": NARROW, "zeta": 1.0},
        "regressor": {"network": NARROW, "zeta": 3.0},
    }
    apart, wrong = errors(trained(method, fake_aspects="mixed"))
    assert apart < 0.1
    assert wrong < 0.05


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    method = {
        "name": "vac-var",
        "classifier": {"network": NARROW},
        "regressor": {"network": NARROW},
    }
    chosen = config(method, steps=8, batch=8, fake_aspects="mixed")
    whole = GanTraining(chosen, ramps(), SCHEMA, 1).run(progress=False)
    asked = iter([False, False, False, True])
    with pytest.raises(InterruptedRunError):
        GanTraining(chosen, ramps(), SCHEMA, 1, tmp_path).run(
            progress=False, stop=lambda: next(asked)
        )
    again = GanTraining(chosen, ramps(), SCHEMA, 1, tmp_path).run(progress=False)
    assert again.generator_digest == whole.generator_digest


def test_mixed_asks_for_values_between_two_of_the_class() -> None:
    data = ramps()
    values = {k: v.copy() for k, v in data.values.items()}
    right = values["slope"] == 1
    values["light"][right, 0] = np.where(np.arange(right.sum()) % 2, 0.1, 0.5)
    values["light"][~right] = -0.5
    data = TrainingImages(data.images, values, data.ids)
    made = Batches(data, SCHEMA, config("var", fake_aspects="mixed"), 3, torch.device("cpu"))
    drawn = [made.fake_aspects("generator", s) for s in range(20)]
    slope = torch.cat([d["slope"] for d in drawn]).bool()
    light = torch.cat([d["light"] for d in drawn])[:, 0]
    assert int(slope.sum()) == 320
    torch.testing.assert_close(light[~slope], torch.full((320,), -0.5))
    assert bool(((light[slope] > 0.1 - 1e-5) & (light[slope] < 0.5 + 1e-5)).all())
    # half of the pairs are of two values, and then t is uniform: 320 draws, 5 deviations
    inside = ((light[slope] > 0.1001) & (light[slope] < 0.4999)).float().mean()
    assert abs(float(inside) - 0.5) < 5 * 0.028


def test_between_keeps_only_what_both_rows_label() -> None:
    schema = Schema((SLOPE, Landmarks("spot", ("centre",), (SIDE, SIDE), pairs=())))
    first = {"slope": torch.tensor([1, 0]), "spot": torch.tensor([[[2.0, 4, 2]], [[3, 3, 2]]])}
    second = {"slope": torch.tensor([1, 1]), "spot": torch.tensor([[[6.0, 8, 1]], [[0, 0, 0]]])}
    found = between(schema, first, second, torch.tensor([0.25, 0.5]))
    assert found["slope"].tolist() == [1, 0]
    assert found["spot"][0, 0].tolist() == [3.0, 5.0, 1.0]
    assert found["spot"][1, 0, 2] == 0.0


def test_masks_have_nothing_between_them() -> None:
    with pytest.raises(IncompatibleError, match="parts, a mask"):
        check_between(Schema((Mask("parts", ("a", "b")),)))

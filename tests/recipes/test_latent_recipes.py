"""The recipes of aspect maps follow their sheet, and refuse data that they cannot learn from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from augmint.aspects.base import Schema
from augmint.aspects.landmarks import Landmarks
from augmint.aspects.mask import Mask
from augmint.core.errors import DataError, UsageError
from augmint.core.registry import ARCHITECTURES, CONDITIONING, FORMATS
from augmint.core.streams import stream
from augmint.data.ingest import ingest
from augmint.data.table import Table, TableNotes
from augmint.latent.aspect_map import train_aspect_map
from augmint.latent.paths import MIRROR_STEPS
from augmint.recipes import latent_pairs
from augmint.recipes.annotated import annotated
from augmint.recipes.base import RecipeOptions, Surroundings, run_recipe
from augmint.recipes.began_landmarks import BeganFacesLandmarks
from augmint.recipes.began_mask import BeganMask
from augmint.recipes.latent_pairs import material
from augmint.recipes.mirror_path import MirrorPath


@pytest.mark.parametrize("recipe", [BeganFacesLandmarks(), BeganMask(), MirrorPath()])
def test_the_generator_is_the_sheets(recipe: BeganFacesLandmarks) -> None:
    config = recipe.configure("text")
    gan = config.gan
    assert (gan.generator_rate, gan.critic_rate, gan.betas) == (1e-4, 1e-4, (0.5, 0.999))
    assert (gan.batch, gan.latent_dim, gan.simultaneous) == (16, 64, True)
    assert gan.objective == {"name": "began", "gamma": 0.5}
    numbers = stream(0, "test", 0, 500)
    context = type("Context", (), {"latent_dim": 64})
    z = CONDITIONING.create(gan.conditioning).sample_latent(context, {}, numbers)
    assert z.shape == (500, 64)
    assert -1 <= float(z.min()) < -0.99 < 0.99 < float(z.max()) < 1
    assert abs(float(z.var()) - 1 / 3) < 0.01
    generator = ARCHITECTURES.create(gan.generator).build(64, (3, 128, 128))
    assert sum(p.numel() for p in generator.parameters()) == 637_251


def test_the_search_is_that_of_text_and_program() -> None:
    recipe = BeganFacesLandmarks()
    text, released = (recipe.configure(v).inversion for v in ("text", "released"))
    for how in (text, released):
        assert (how.rate, how.betas, how.steps, how.bound) == (0.1, (0.9, 0.999), 500, 0.0)
        assert how.prior == "uniform"
    assert (text.loss, text.restarts) == ("l1", 0)
    assert (released.loss, released.keep) == ("l2", "last")
    assert (released.restarts, released.restart_after, released.restart_above) == (3, 20, 0.1)
    assert MIRROR_STEPS == 14


def test_the_maps_are_the_sheets() -> None:
    points = Landmarks("points", tuple(map(str, range(49))), (128, 128), pairs=())
    z = torch.zeros(2, 64)
    values = np.full((2, 49, 3), 2, np.float32)
    config = BeganFacesLandmarks().configure("text").map
    assert (config.output, config.loss, config.rate, config.batch) == (
        "sigmoid",
        "squared",
        3e-4,
        16,
    )
    short = BeganFacesLandmarks().configure("text", debug=True).map
    found = train_aspect_map(z, values, points, (3, 128, 128), short)
    wanted = 64 * 128 + 128 + 2 * (128 * 128 + 128) + 128 * 98 + 98
    assert sum(p.numel() for p in found.network.parameters()) == wanted
    mask = BeganMask().configure("text")
    assert mask.size == (96, 128)
    assert mask.map.decoder == {"name": "began-generator", "channels": 64}
    decoder = ARCHITECTURES.create(mask.map.decoder).build(64, (1, 96, 128))
    assert sum(p.numel() for p in decoder.parameters()) == 569_537
    assert Schema((Mask("iris", ("ground", "iris")),)).of_kind(BeganMask.kind)


def test_the_three_parts_of_drawn_sets_share_no_image(tmp_path: Path) -> None:
    config = BeganFacesLandmarks().configure("text", debug=True)
    found = material(config, Surroundings(tmp_path, "toy-faces", seed=3), "landmarks")
    parts = [found.train, found.test, found.measured]
    assert [len(p.images) for p in parts] == [config.draws, 64, config.measured_on]
    everything = [image.tobytes() for p in parts for image in p.images]
    assert len(set(everything)) == len(everything)
    with pytest.raises(DataError, match="needs mask"):
        material(config, Surroundings(tmp_path, "digits", seed=3), "mask")


def test_the_three_parts_of_a_set_of_files_share_no_subject(tmp_path: Path) -> None:
    drawn = ingest("toy-faces", tmp_path / "cache", size=(24, 24))
    rows = np.arange(60)
    points = next(a.name for a in drawn.schema.of_kind("landmarks"))
    values = {name: np.array(v[rows]) for name, v in drawn.values.items()}
    values[points][::4] = 0.0  # nothing to be measured against
    few = Table.write(
        tmp_path / "table",
        drawn.images[rows],
        values,
        drawn.schema,
        [f"{i}.png" for i in rows],
        {"all": rows},
        TableNotes(groups=rows // 3),
    )
    FORMATS.create("manifest").write(few, tmp_path / "faces")
    config = replace(BeganFacesLandmarks().configure("text", debug=True), size=(24, 24))
    where = Surroundings(tmp_path, str(tmp_path / "faces"), seed=3)
    found = annotated(config, where, {"landmarks"}, 3)
    known = {image.tobytes(): row // 3 for row, image in enumerate(few.images)}
    parts = [found.train, found.test, found.measured]
    subjects = [{known[i.tobytes()] for i in part.images} for part in parts]
    assert sum(len(s) for s in subjects) == len(set.union(*subjects)) <= 20
    assert sum(len(part) for part in parts) < 60
    assert (found.test.values[points][..., 2] > 0).any(1).all()
    assert len(found.train) + len(found.measured) > 40
    with pytest.raises(DataError, match="needs map"):
        annotated(config, where, {"map"}, 3)


def test_parts_of_a_refused_run_are_not_taken_for_those_of_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise UsageError("a rule", "something else", "a remedy")

    name, out = "began-faces-landmarks", tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(latent_pairs, "inverter", refuse)
        with pytest.raises(UsageError, match="a rule"):
            run_recipe(name, out, RecipeOptions(debug=True, seed=1))
    run_recipe(name, out, RecipeOptions(debug=True, seed=2))
    first, second = (p.read_bytes() for p in sorted(out.glob("kept/*/measurer.safetensors")))
    assert first != second

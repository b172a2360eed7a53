"""Truncated draws have the truncated law; what says the aspects stays;
styles are pulled to means."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.aspects.vector import Vector
from augmint.conditioning.base import Conditioning, ConditioningContext
from augmint.core.errors import IncompatibleError, UsageError
from augmint.core.registry import CONDITIONING
from augmint.core.streams import Stream, scope, stream, within
from augmint.core.types import AspectValues
from augmint.minting.bundle import Bundle
from augmint.minting.curation import CurationConfig
from augmint.minting.sampler import GanSampler
from augmint.minting.truncation import PulledStyles
from augmint.minting.writer import read_summary, write_parts
from augmint.training.config import GanConfig
from augmint.training.gan import build_generator

SCHEMA = Schema((Category("label", ("ant", "bee", "cat")),))
CONTEXT = ConditioningContext(SCHEMA, (1, 8, 8), 6)
IDS = np.arange(3000)
LABELS = {"label": torch.from_numpy(IDS % 3)}


def sampler(name: Any, truncation: float | None = None, **fields: Any) -> GanSampler:
    return GanSampler(
        torch.nn.Identity(), CONDITIONING.create(name), CONTEXT, truncation=truncation, **fields
    )


@pytest.mark.parametrize("tau", [0.04, 0.25, 1.0, 2.5])
def test_bounded_draws_have_the_truncated_law(tau: float) -> None:
    latent = sampler("concatenation", tau).latents(LABELS, IDS, 5)
    z = latent[:, :6].flatten().numpy().astype(np.float64)
    assert np.abs(z).max() <= tau
    # p-value of a correct sampler is uniform; the seed is fixed
    assert stats.kstest(z, stats.truncnorm(-tau, tau).cdf).pvalue > 1e-3
    assert torch.equal(latent[:, 6:], SCHEMA["label"].encode(LABELS["label"]))
    free = sampler("concatenation").latents(LABELS, IDS, 5)[:, :6].flatten()
    # the same draws, moved: in the same order
    order = free.argsort()
    assert bool((latent[:, :6].flatten()[order].diff() >= 0).all())


def test_the_bound_is_the_inverse_of_the_distribution_function() -> None:
    z = torch.linspace(-6, 6, 4001)
    for bound in (0.1, 0.7, 3.0):
        low, high = stats.norm.cdf([-bound, bound])
        expected = stats.norm.ppf(low + stats.norm.cdf(z.double().numpy()) * (high - low))
        np.testing.assert_allclose(within(z, bound).numpy(), expected, atol=2e-6, rtol=2e-6)
    assert float(within(torch.tensor([1e9]), 0.1)[0]) <= 0.1, "in float32 0.1 lies above 0.1"


def test_none_leaves_latents_as_they_are() -> None:
    latent = sampler("none").latents(LABELS, IDS, 5)
    assert torch.equal(latent, stream(5, "mint.latent", 0, IDS).normal(6))
    wide = sampler("none", 30.0).latents(LABELS, IDS, 5)
    torch.testing.assert_close(wide, latent, atol=2e-6, rtol=2e-6)


def test_codes_of_infogan_stay_as_they_are() -> None:
    free, bounded = (sampler("infogan", tau).latents(LABELS, IDS, 5) for tau in (None, 0.3))
    width = CONDITIONING.create("infogan").latent_width(CONTEXT)
    assert width > 6
    assert torch.equal(free[:, 6:], bounded[:, 6:])
    assert float(bounded[:, :6].abs().max()) <= 0.3


class Counting(Stream):
    """Counts what is drawn from N(0, 1)."""

    drawn = 0

    def normal(self, n: int) -> torch.Tensor:
        self.drawn += n
        return super().normal(n)


SIGNED = {"name": "vac", "latent": "sign"}
UNIFORM = {"name": "concatenation", "latent": "uniform"}


@pytest.mark.parametrize("name", [*CONDITIONING.names(), SIGNED, UNIFORM], ids=str)
def test_every_conditioning_says_how_much_of_its_latent_is_noise(name: Any) -> None:
    conditioning = CONDITIONING.create(name)
    counting = Counting((1, 2), 0, IDS.astype(np.uint64))
    ages = Vector("age", ("years",))
    context = CONTEXT if name == SIGNED else replace(CONTEXT, schema=Schema((*SCHEMA, ages)))
    values = {**LABELS, "age": torch.ones(len(IDS), 1)}
    latent = conditioning.sample_latent(context, values, counting)
    assert conditioning.noise_width(context) == counting.drawn
    assert latent.shape[1] == conditioning.latent_width(context) >= counting.drawn


def test_a_latent_without_noise_refuses_a_bound_in_one_line() -> None:
    with pytest.raises(IncompatibleError, match=r"conditioning vac.*signs say the class") as caught:
        sampler(SIGNED, 0.7)
    assert "\n" not in str(caught.value)
    assert sampler(SIGNED).latents(LABELS, IDS, 5).shape == (3000, 3)


@pytest.mark.parametrize(
    ("of", "value"),
    [("latents", v) for v in (0.0, -1.0, float("nan"), float("inf"))]
    + [("styles", v) for v in (-0.1, 1.01, float("nan"))],
)
def test_values_out_of_range_are_refused(of: Any, value: float) -> None:
    with pytest.raises(UsageError, match="truncation"):
        sampler("none", value, truncates=of)


def bundle(architecture: str, conditioning: Any) -> Bundle:
    widths = {"channels": 4, "widest": 8, "style": 8, "mapping_layers": 2}
    known = widths if architecture.startswith("stylegan2") else {"channels": 4}
    gan = GanConfig(
        generator={"name": architecture, **known}, conditioning=conditioning, latent_dim=6
    )
    with scope(3, "test.bundle"):
        generator = build_generator(gan, SCHEMA, (1, 16, 16))
        for parameter in generator.parameters():  # styles and noise that make a difference
            if parameter.ndim == 2:
                parameter.data.mul_(2.0)
    plain = CurationConfig(threshold=0.0, agreement=False, duplicate_distance=0.0)
    return Bundle(generator.eval(), gan, SCHEMA, (1, 16, 16), curation=plain)


STYLED = ["concatenation", {"name": "vac", "enters": "modulation"}, SIGNED, "infogan"]


@pytest.mark.parametrize("conditioning", STYLED, ids=str)
def test_styles_are_pulled_to_the_mean_of_their_own_class(conditioning: Any) -> None:
    made, ids = bundle("stylegan2-generator", conditioning), np.arange(12)
    labels = {"label": torch.from_numpy(ids % 3)}
    assert made.truncates == "styles"
    free = made.sampler().sample(labels, ids, 1)
    assert np.array_equal(made.sampler(truncation=1.0).sample(labels, ids, 1), free)
    centre = made.sampler(truncation=0.0)
    images = centre.sample(labels, ids, 1)
    again = centre.sample(labels, ids + 50, 2)
    assert np.array_equal(images, again), "neither seed nor id is left"
    assert all(np.array_equal(images[i], images[i % 3]) for i in range(12))
    assert free.std(0).max() > 0
    told = conditioning != "infogan"
    assert told == (not np.array_equal(images[0], images[1])), "a class keeps an image of its own"
    half = made.sampler(truncation=0.5).sample(labels, ids, 1)
    spread = [float(x.astype(float).std(0).mean()) for x in (images[::3], half[::3], free[::3])]
    assert spread[0] == 0.0 < spread[1] < spread[2]
    alone = made.sampler(truncation=0.5).sample({"label": labels["label"][7:8]}, ids[7:8], 1)
    assert np.array_equal(alone[0], half[7])


def test_the_mean_is_that_of_many_other_styles() -> None:
    made = bundle("stylegan2-generator", "concatenation")
    psi = made.sampler(truncation=0.5)
    assert isinstance(psi._pulled, PulledStyles)
    with torch.no_grad():
        given = psi._pulled.means({"label": torch.tensor([1, 1, 2])})
        ids = np.arange(20_000)
        latent = psi.latents({"label": torch.ones(20_000, dtype=torch.int64)}, ids, 77)
        styles = made.generator.styles(latent)[:, 0]
    assert torch.equal(given[0], given[1])
    assert not torch.equal(given[0], given[2])
    # standard error of a mean over 1024; 5 of them, and those of the reference
    error = styles.std(0) / 1024**0.5
    assert bool(((given[0, 0] - styles.mean(0)).abs() < 5.5 * error).all())


def test_a_mint_says_how_it_was_truncated(tmp_path: Path) -> None:
    made, quotas = bundle("dcgan-generator", "concatenation"), {"ant": 3, "cat": 2}
    assert made.truncates == "latents"
    folders = {}
    for name, tau in (("free", None), ("cut", 0.4), ("more", 0.2)):
        told: dict[str, Any] = {"generator": made.digest}
        told |= {"truncation": {"of": made.truncates, "value": tau}} if tau else {}
        parts = made.mint_parts(quotas, 7, False, progress=False, truncation=tau)
        folders[name] = write_parts(parts, tmp_path / name, SCHEMA, told)
    told = {"generator": made.digest, "truncation": {"of": "latents", "value": 0.4}}
    parts = made.mint_parts(quotas, 7, False, progress=False)
    folders["same images"] = write_parts(parts, tmp_path / "same", SCHEMA, told)
    summaries = {name: read_summary(folder) for name, folder in folders.items()}
    assert len({s["digest"] for s in summaries.values()}) == 4, "even where images are the same"
    assert summaries["cut"]["provenance"]["truncation"] == {"of": "latents", "value": 0.4}
    assert "truncation" not in summaries["free"]["provenance"]
    first = {n: (f / "metadata.jsonl").read_text().splitlines()[0] for n, f in folders.items()}
    assert json.loads(first["cut"])["truncation"] == {"of": "latents", "value": 0.4}
    assert "truncation" not in json.loads(first["free"])
    image = folders["cut"] / json.loads(first["cut"])["file_name"]
    assert b"latents truncated at 0.4" in image.read_bytes()
    assert "latents truncated at 0.4" in (folders["cut"] / "croissant.json").read_text()


def test_a_conditioning_of_ones_own_has_noise_unless_it_says_otherwise() -> None:
    class Flat(Conditioning):
        def noise_width(self, context: ConditioningContext) -> int:
            return 0

        def sample_latent(
            self, context: ConditioningContext, aspects: AspectValues, stream: Stream
        ) -> torch.Tensor:
            return stream.uniform(context.latent_dim)

    assert Conditioning().noise_width(CONTEXT) == 6
    with pytest.raises(IncompatibleError, match="Flat"):
        GanSampler(torch.nn.Identity(), Flat(), CONTEXT, truncation=1.0)


def test_a_refused_conditioning_is_named_as_it_is_registered() -> None:
    with pytest.raises(IncompatibleError, match="the conditioning none, whose"):
        sampler({"name": "none", "latent": "uniform"}, 1.0)

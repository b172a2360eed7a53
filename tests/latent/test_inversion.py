"""Inversion against closed forms: linear generators,
whose best latent is a least-squares solution."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.conditioning.base import ConditioningContext
from augmint.core.errors import DataError, IncompatibleError, TrainingDivergedError, UsageError
from augmint.core.registry import ARCHITECTURES, CONDITIONING
from augmint.core.streams import scope
from augmint.core.types import to_uint8
from augmint.latent.conditioned import Conditioned, of_gan
from augmint.latent.encoder import EncoderConfig, LatentEncoder, train_encoder
from augmint.latent.inversion import Inversion, InversionConfig, invert
from augmint.latent.slots import draw, outside
from augmint.training.config import GanConfig
from augmint.training.gan import TrainedGan

SHAPE = (3, 8, 8)


class Linear(nn.Module):
    """G(z) = z W, in double precision: rounding is then far below what the tests compare."""

    def __init__(self, width: int, scale: float = 0.3) -> None:
        super().__init__()
        numbers = torch.randn(
            width, 192, generator=torch.Generator().manual_seed(3), dtype=torch.float64
        )
        self.weight = nn.Parameter(scale * numbers)
        self.calls = 0

    def forward(self, latent: Tensor, shift: Tensor | None = None) -> Tensor:
        self.calls += 1
        made = (latent @ self.weight).unflatten(1, SHAPE)
        return made if shift is None else made + shift[:, :, None, None]


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (11, *SHAPE), dtype=np.uint8)


def _scaled(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).double() / 127.5 - 1.0


def test_a_linear_generators_inverse_is_the_least_squares_solution(images: np.ndarray) -> None:
    generator = Linear(6)
    config = InversionConfig(latent_dim=6, steps=400, loss="l2", rate=0.05, batch=4, restarts=0)
    found = invert(generator, images, config)
    wanted = torch.linalg.lstsq(generator.weight.T, _scaled(images).flatten(1).T).solution.T
    # Adam at a constant rate ends in a ball far smaller than this
    assert torch.allclose(found.latents.double(), wanted.detach(), atol=1e-4)
    made = generator(wanted).clamp(-1, 1)
    gap = (made - _scaled(images)).flatten(1)
    assert np.allclose(found.l1, gap.abs().mean(1).detach(), atol=1e-5)
    assert np.allclose(found.psnr, 10 * torch.log10(4 / gap.square().mean(1)).detach(), atol=1e-3)
    assert (found.steps == 400).all()
    assert not found.restarts.any()


def test_absolute_errors_are_minimised_too(images: np.ndarray) -> None:
    from scipy.optimize import linprog

    generator = Linear(3)
    config = InversionConfig(latent_dim=3, steps=1500, rate=0.01, restarts=0)
    found = invert(generator, images[:2], config)
    w = generator.weight.detach().numpy().T
    for i, x in enumerate(_scaled(images[:2]).flatten(1).numpy()):
        # min sum t, t >= |x - W z|
        eye = np.eye(len(x))
        best = linprog(
            np.r_[np.zeros(3), np.ones(len(x))],
            np.block([[w, -eye], [-w, -eye]]),
            np.r_[x, -x],
            bounds=[(None, None)] * 3 + [(0, None)] * len(x),
        )
        own = np.abs(x - w @ found.latents[i].double().numpy()).mean()
        assert own == pytest.approx(best.fun / len(x), rel=1e-3)


def test_one_to_one_generators_give_the_latent_back() -> None:
    generator = Linear(5, scale=0.15)
    z = draw(_numbers(7), 5, "uniform").double()
    made = to_uint8(generator(z)).numpy()
    inside = ((made > 0) & (made < 255)).all((1, 2, 3))  # not clipped
    assert inside.sum() >= 3
    config = InversionConfig(latent_dim=5, steps=300, loss="l2", rate=0.05)
    found = invert(generator, made[inside], config)
    # images are rounded to 1/255 of their range: the latent moves by less than that over the scale
    assert torch.allclose(found.latents, z[torch.from_numpy(inside)].float(), atol=5e-3)
    assert (found.psnr > 45).all()


def _numbers(count: int) -> object:
    from augmint.core.streams import stream

    return stream(1, "test", 0, count)


@pytest.mark.parametrize(("loss", "above"), [("l1", 0.5), ("l2", 0.34)])
def test_an_image_does_not_know_its_batch(images: np.ndarray, loss: str, above: float) -> None:
    generator = Linear(6)
    config = InversionConfig(
        latent_dim=6, steps=90, loss=loss, rate=0.05, restart_above=above, patience=15, look=10
    )
    together = invert(generator, images, config)
    assert len(set(together.steps)) > 1
    assert together.restarts.any()
    for batch in (1, 3, 8):
        apart = invert(generator, images, dataclasses.replace(config, batch=batch))
        assert torch.allclose(apart.latents, together.latents, atol=1e-6)
        assert (apart.steps == together.steps).all()
        assert (apart.restarts == together.restarts).all()


def test_images_that_end_make_room_and_cost_no_more(images: np.ndarray) -> None:
    generator = Linear(6)
    config = InversionConfig(latent_dim=6, steps=200, loss="l2", batch=4, stop_below=10.0)
    found = invert(generator, images, config)
    assert (found.steps == config.look).all()
    # 11 images in batches of 4: 3 rounds of one look, and the last errors
    assert generator.calls == 3 * config.look + 3


def test_weights_have_no_gradients_and_stay(images: np.ndarray) -> None:
    generator = Linear(6).train()
    before = generator.weight.detach().clone()
    invert(generator, images[:2], InversionConfig(latent_dim=6, steps=5))
    assert generator.weight.grad is None
    assert generator.weight.requires_grad
    assert torch.equal(before, generator.weight)
    assert generator.training


def test_the_bound_keeps_latents_near_their_prior(images: np.ndarray) -> None:
    generator = Linear(6, scale=0.02)
    free = InversionConfig(latent_dim=6, steps=150, loss="l2", restarts=0)
    for prior in ("uniform", "normal"):
        loose = invert(generator, images, dataclasses.replace(free, prior=prior))
        tight = invert(generator, images, dataclasses.replace(free, prior=prior, bound=100.0))
        assert float(outside(loose.latents, prior).min()) > 0.5
        assert float(outside(tight.latents, prior).max()) < 0.05


def test_outside_is_zero_inside_and_matches_its_equation() -> None:
    z = torch.tensor([[0.9, -1.0], [2.0, -3.0]])
    assert torch.allclose(outside(z, "uniform"), torch.tensor([0.0, (1.0 + 4.0) / 2]))
    assert torch.allclose(outside(z, "normal"), torch.tensor([0.0, (13.0 / 2 - 1) ** 2]))


def test_the_best_latent_is_kept_unless_the_last_is_asked_for(images: np.ndarray) -> None:
    # a rate that overshoots: the last latent is worse than the best
    config = InversionConfig(latent_dim=6, steps=20, rate=2.0, restarts=0, loss="l2", look=7)
    generator, losses = Linear(6), {}
    for keep in ("best", "last"):
        found = invert(generator, images, dataclasses.replace(config, keep=keep))
        gap = generator(found.latents.double()) - _scaled(images)
        losses[keep] = float(gap.detach().square().mean())
    assert losses["best"] < 0.95 * losses["last"]


def test_restarts_draw_another_latent_and_are_counted(images: np.ndarray) -> None:
    config = InversionConfig(
        latent_dim=6, steps=40, restart_after=10, restart_above=-1.0, restarts=2
    )
    found = invert(Linear(6), images[:3], config)
    assert (found.restarts == 2).all()
    assert (found.steps == 10 + 10 + 40).all()


def test_given_inputs_stay_with_their_image(images: np.ndarray) -> None:
    generator = Linear(6)
    z, shift = draw(_numbers(9), 6, "uniform").double(), torch.rand(9, 3).double() - 0.5
    made = to_uint8(0.3 * generator(z) + shift[:, :, None, None]).numpy()
    generator.weight.data.mul_(0.3)
    config = InversionConfig(latent_dim=6, steps=300, loss="l2", batch=4, rate=0.05)
    right = invert(generator, made, config, given=(shift,))
    wrong = invert(generator, made, config, given=(shift.roll(1, 0),))
    assert right.psnr.min() > 40 > wrong.psnr.max()


def test_a_start_near_the_answer_needs_few_steps(images: np.ndarray) -> None:
    generator = Linear(6)
    wanted = torch.linalg.lstsq(generator.weight.T, _scaled(images).flatten(1).T).solution.T
    config = InversionConfig(latent_dim=6, steps=1, loss="l2", rate=1e-6)
    near = invert(generator, images, config, start=wanted.detach().float())
    assert torch.allclose(near.latents, wanted.detach().float(), atol=1e-4)


def test_inversions_are_saved_and_read_back(images: np.ndarray, tmp_path: Path) -> None:
    found = invert(Linear(6), images, InversionConfig(latent_dim=6, steps=3))
    found.save(tmp_path / "z.safetensors")
    back = Inversion.load(tmp_path / "z.safetensors")
    assert torch.equal(back.latents, found.latents)
    for name in ("l1", "psnr", "steps", "restarts"):
        assert np.array_equal(getattr(back, name), getattr(found, name))
    with pytest.raises(DataError, match=r"\(encoder\) holds its description"):
        LatentEncoder.load(tmp_path / "z.safetensors")


def test_wrong_uses_are_refused(images: np.ndarray) -> None:
    config = InversionConfig(latent_dim=6, steps=2)
    with pytest.raises(UsageError, match="uint8"):
        invert(Linear(6), images.astype(np.float32), config)
    with pytest.raises(UsageError, match="row of start"):
        invert(Linear(6), images, config, start=torch.zeros(3, 6))
    with pytest.raises(UsageError, match="6 entries"):
        invert(Linear(6), images, config, start=torch.zeros(11, 5))
    with pytest.raises(UsageError, match="rate is above 0"):
        InversionConfig(rate=0.0)
    broken = Linear(6)
    broken.weight.data[0, 0] = float("nan")
    with pytest.raises(TrainingDivergedError, match="11 images"):
        invert(broken, images, config)


@pytest.fixture(scope="module")
def began() -> nn.Module:
    """A narrow decoder with weights large enough that its images differ."""
    with scope(0, "test"):
        generator = ARCHITECTURES.create({"name": "began-generator", "channels": 8}).build(6, SHAPE)
        for weight in generator.parameters():
            weight.data.mul_(1.3)
    return generator.eval().requires_grad_(False)


def test_an_encoder_start_reaches_an_error_in_fewer_steps(began: nn.Module) -> None:
    config = EncoderConfig(latent_dim=6, channels=8, steps=400, batch=64, rate=3e-3)
    encoder = train_encoder(began, SHAPE, config)
    z = draw(_numbers(24), 6, "uniform")
    made = to_uint8(began(z)).numpy()
    start = encoder(made)
    assert float((start - z).square().mean()) < 0.1 * float(z.square().mean())
    replaced = encoder.invert(began, made)
    assert (replaced.steps == 0).all()
    goal = float(np.median(replaced.l1)) * 0.8
    how = InversionConfig(latent_dim=6, steps=200, stop_below=goal, look=1, restarts=0, rate=0.03)
    cold, warm = invert(began, made, how), invert(began, made, how, start=start)
    assert np.median(warm.steps) * 3 < np.median(cold.steps)


def test_the_encoders_image_loss_trains_it_on_given_images(began: nn.Module) -> None:
    z = draw(_numbers(64), 6, "uniform")
    made = to_uint8(began(z)).numpy()
    config = EncoderConfig(
        latent_dim=6, channels=8, steps=60, latent_weight=0.0, image_weight=1.0, batch=32
    )
    encoder = train_encoder(began, SHAPE, config, images=made)
    short = train_encoder(began, SHAPE, dataclasses.replace(config, steps=1), images=made)
    assert encoder.invert(began, made).l1.mean() < 0.7 * short.invert(began, made).l1.mean()


def test_encoders_are_saved_and_read_back(began: nn.Module, tmp_path: Path) -> None:
    encoder = train_encoder(began, SHAPE, EncoderConfig(latent_dim=6, channels=8, steps=2))
    encoder.save(tmp_path / "e.safetensors")
    back = LatentEncoder.load(tmp_path / "e.safetensors")
    images = np.random.default_rng(1).integers(0, 256, (5, *SHAPE), dtype=np.uint8)
    assert torch.equal(encoder(images), back(images))
    assert back.config == encoder.config
    with pytest.raises(UsageError, match="shape"):
        back(images[:, :1])
    with pytest.raises(UsageError, match="not both 0"):
        EncoderConfig(latent_weight=0.0)


def test_half_precision_comes_near(began: nn.Module) -> None:
    made = to_uint8(began(draw(_numbers(8), 6, "uniform"))).numpy()
    full = InversionConfig(latent_dim=6, steps=60, restarts=0, rate=0.03)
    half = dataclasses.replace(full, precision="bf16")
    assert invert(began, made, half).l1.mean() < 1.5 * invert(began, made, full).l1.mean() + 0.01


def _trained(conditioning: object, latent_dim: int = 4) -> TrainedGan:
    schema = Schema((Category("label", ("a", "b", "c")),))
    config = GanConfig(
        generator={"name": "dcgan-generator", "channels": 4},
        conditioning=conditioning,  # type: ignore[arg-type]
        latent_dim=latent_dim,
    )
    context = ConditioningContext(schema, SHAPE, latent_dim)
    with scope(0, "test"):
        from augmint.training.gan import build_generator

        generator = build_generator(config, schema, SHAPE)
    return TrainedGan(generator, "", config, schema, SHAPE, context)


@pytest.mark.parametrize("spec", ["concatenation", "vac", {"name": "none", "latent": "uniform"}])
def test_a_generators_conditioning_is_given_and_only_noise_is_searched_for(spec: object) -> None:
    from augmint.latent.conditioned import invert_gan

    trained = _trained(spec)
    network, config = of_gan(trained, InversionConfig(steps=3, batch=4))
    conditioning = CONDITIONING.create(spec)  # type: ignore[arg-type]
    assert config.latent_dim == (
        conditioning.noise_width(trained.context) or conditioning.latent_width(trained.context)
    )
    images = np.random.default_rng(1).integers(0, 256, (6, *SHAPE), dtype=np.uint8)
    labels = {"label": np.arange(6) % 3}
    found = invert_gan(trained, images, config, labels)
    assert found.latents.shape == (6, config.latent_dim)
    assert (found.l1 > 0).all()
    if network.names:
        with pytest.raises(UsageError, match="label"):
            invert_gan(trained, images, config)
        other = invert_gan(trained, images, config, {"label": (np.arange(6) + 1) % 3})
        assert not np.allclose(other.l1, found.l1)
    with pytest.raises(IncompatibleError, match="shape"):
        invert_gan(trained, images[:, :1], config, labels)


def test_a_code_behind_the_noise_is_that_of_the_asked_aspects() -> None:
    trained = _trained("concatenation")
    context = trained.context
    conditioning = CONDITIONING.create("concatenation")
    network = Conditioned(trained.generator, conditioning, context)
    labels = np.array([2, 0])
    given = network.given({"label": labels}, 2)
    z = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    code = context.schema["label"].encode(torch.from_numpy(labels))
    network.eval()
    assert torch.equal(network(z, *given), trained.generator(torch.cat((z, code), 1)))

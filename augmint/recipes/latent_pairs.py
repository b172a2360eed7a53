"""What recipes of aspect maps share: a generator, its inverse,
maps of its latent, and the measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from augmint.aspects.base import Schema
from augmint.core.machine import resolve_device
from augmint.core.streams import derive
from augmint.latent.aspect_map import AspectMapConfig
from augmint.latent.encoder import EncoderConfig
from augmint.latent.inversion import InversionConfig
from augmint.recipes.annotated import annotated, patient
from augmint.recipes.base import Outcome, Recipe, Surroundings
from augmint.tasks.config import TaskConfig
from augmint.training.config import GanConfig

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from PIL.Image import Image

    from augmint.aspects.base import Aspect
    from augmint.core.types import ByteArray, FloatArray
    from augmint.latent.aspect_map import AspectMap
    from augmint.latent.conditioned import Conditioned
    from augmint.latent.encoder import LatentEncoder
    from augmint.latent.inversion import Inversion
    from augmint.tasks.trained import TrainedTask
    from augmint.training.gan import TrainedGan

Baseline = Literal["distilled", "joint"]


@dataclass(frozen=True)
class PairsConfig:
    """Everything that the numbers depend on, besides data and seed.

    Args:
        gan: the generator's training, without conditioning.
        inversion: how images are inverted.
        encoder: the network that starts the inversion; None: random latents.
        map: the aspect map.
        measurer: the independent network that says what a minted image carries.
        size: height and width that images are scaled to.
        channels: 1 for grey, 3 for colour.
        draws: training images, of a built-in set that is drawn; other sets are taken whole.
        measured_on: drawn images that train the measurer, likewise; of other sets it has a quarter
            of the training images for itself.
        test_share: of a set without a test part.
        minted: pairs that are measured.
        baselines: what stands beside the aspect map.
        walks: mirror paths that are drawn and measured.
    """

    gan: GanConfig
    inversion: InversionConfig
    encoder: EncoderConfig | None
    map: AspectMapConfig
    measurer: TaskConfig
    size: tuple[int, int]
    channels: int = 3
    draws: int = 20_000
    measured_on: int = 50_000
    test_share: float = 0.1
    minted: int = 2000
    baselines: tuple[Baseline, ...] = ("distilled", "joint")
    walks: int = 4


@dataclass(frozen=True, eq=False)
class Part:
    """Images with stored values of one aspect."""

    images: ByteArray
    values: np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Material:
    """The data of a run: three parts that share no image."""

    aspect: Aspect
    train: Part
    test: Part
    measured: Part
    text: str


def material(config: PairsConfig, surroundings: Surroundings, kind: str) -> Material:
    """Return training images, test images and the measurer's, with the first aspect of a kind.

    Raises:
        DataError: if the set has no aspect of this kind.
    """
    found = annotated(config, surroundings, {kind}, config.channels)
    aspect = found.schema.aspects[0]
    name = aspect.name
    train, test, measured = (
        Part(part.images, np.asarray(part.values[name]))
        for part in (found.train, found.test, found.measured)
    )
    return Material(aspect, train, test, measured, found.text)


@dataclass(frozen=True, eq=False)
class Bench:
    """What all methods are measured with.

    Args:
        config: of the run.
        material: its data.
        measurer: trained on real images.
        surroundings: where it runs.
        device: resolved.
    """

    config: PairsConfig
    material: Material
    measurer: TrainedTask
    surroundings: Surroundings
    device: str

    @property
    def seed(self) -> int:
        """Of everything random."""
        return self.surroundings.seed

    @property
    def kept(self) -> Path:
        """Where the run's trained parts lie."""
        return self.surroundings.kept

    def errors(self, images: ByteArray, values: np.ndarray[Any, Any]) -> FloatArray:
        """Return the error of the measurer's prediction against claimed values, `(N,)`."""
        return self.measurer.errors(images, values)


def bench(config: PairsConfig, surroundings: Surroundings, kind: str) -> Bench:
    """Return data and the trained measurer."""
    device = str(resolve_device(surroundings.device))
    data = material(config, surroundings, kind)
    seed = derive(surroundings.seed, "recipe.measurer")
    measurer = told_by(surroundings.kept / "measurer.safetensors", config, data, True, seed, device)
    return Bench(config, data, measurer, surroundings, device)


def told_by(
    path: Path, config: PairsConfig, data: Material, measures: bool, seed: int, device: str
) -> TrainedTask:
    """Return the measurer or the teacher, kept in a file of the run's folder."""
    from augmint.tasks.trained import TrainedTask

    part = data.measured if measures else data.train
    return kept(  # type: ignore[no-any-return]
        path,
        lambda where: TrainedTask.load(where, device),
        lambda: network(config.measurer, data.aspect, part, seed, device),
    )


def network(config: TaskConfig, aspect: Aspect, part: Part, seed: int, device: str) -> TrainedTask:
    """Return a network that tells the aspect, trained on real images alone."""
    from augmint.tasks.base import task_of
    from augmint.tasks.rows import Source

    task = task_of(config)
    source = Source(part.images, {aspect.name: part.values}, np.arange(len(part.images)))
    shape = part.images.shape[1], part.images.shape[2], part.images.shape[3]
    settled = replace(config, aspect=aspect.name)
    return task.train(settled, Schema((aspect,)), shape, [source], "none", seed, device)


def generator(bench: Bench, folder: str, config: GanConfig) -> TrainedGan:
    """Return a generator of the training images,
    trained in a folder of the run, or read from it."""
    from augmint.training.gan import GanTraining, TrainingImages

    train, aspect = bench.material.train, bench.material.aspect
    data = TrainingImages(train.images, {aspect.name: train.values}, np.arange(len(train.images)))
    rules, where = patient(config.steps), bench.kept / folder
    return GanTraining(
        config, data, Schema((aspect,)), bench.seed, where, bench.device, rules
    ).run()


@dataclass(frozen=True, eq=False)
class Inverter:
    """A generator with what inverts it.

    Args:
        bench: of the run.
        network: the generator, z in.
        config: how it is searched.
        encoder: gives the first latents; None: random ones.
    """

    bench: Bench
    network: Conditioned
    config: InversionConfig
    encoder: LatentEncoder | None = None

    def __call__(self, images: ByteArray, name: str) -> Inversion:
        """Return the inversion of images, kept in the run's folder under a name."""
        from augmint.latent.inversion import Inversion, invert

        place = self.bench
        return kept(  # type: ignore[no-any-return]
            place.kept / f"inverted-{name}.safetensors",
            Inversion.load,
            lambda: invert(
                self.network,
                images,
                self.config,
                derive(place.seed, name),
                None if self.encoder is None else self.encoder(images),
                device=place.device,
                progress=True,
            ),
        )


def inverter(bench: Bench, trained: TrainedGan) -> Inverter:
    """Return what inverts a generator, its encoder trained or read back."""
    from augmint.latent.conditioned import of_gan
    from augmint.latent.encoder import LatentEncoder, train_encoder

    config = bench.config
    network, settled = of_gan(trained, config.inversion)
    if config.encoder is None:
        return Inverter(bench, network, settled)
    wanted = replace(config.encoder, latent_dim=network.free, prior=settled.prior)
    learned = kept(
        bench.kept / "encoder.safetensors",
        lambda path: LatentEncoder.load(path, bench.device),
        lambda: train_encoder(
            network, trained.shape, wanted, bench.seed, bench.material.train.images,
            device=bench.device, progress=True,
        ),
    )  # fmt: skip
    return Inverter(bench, network, settled, learned)


def kept(path: Path, load: Callable[[Path], Any], make: Callable[[], Any]) -> Any:
    """Return what a file holds, made and saved first if it is not there.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from types import SimpleNamespace
        >>> made = SimpleNamespace(save=lambda path: path.write_text("made once"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [kept(Path(folder) / "file", Path.read_text, lambda: made) for _ in range(2)][1]
        'made once'
    """
    if path.is_file():
        return load(path)
    made = make()
    made.save(path)
    return made


def mapped(bench: Bench, latents: torch.Tensor, values: Any, shape: Any, name: str) -> AspectMap:
    """Return the aspect map of latents and stored values, kept in the run's folder."""
    from augmint.latent.aspect_map import AspectMap, train_aspect_map

    return kept(  # type: ignore[no-any-return]
        bench.kept / f"map-{name}.safetensors",
        lambda path: AspectMap.load(path, bench.device),
        lambda: train_aspect_map(
            latents, values, bench.material.aspect, shape, bench.config.map,
            derive(bench.seed, f"map.{name}"), bench.device, progress=True,
        ),
    )  # fmt: skip


def minted(bench: Bench, trained: TrainedGan, told: AspectMap) -> Part:
    """Return minted pairs: drawn latents, the generator's images and the map's values."""
    from augmint.core.registry import CONDITIONING
    from augmint.latent.pairs import PairSampler
    from augmint.minting.sampler import GanSampler

    conditioning = CONDITIONING.create(trained.config.conditioning)
    sampler = GanSampler(trained.generator, conditioning, trained.context, bench.device)
    images, values = PairSampler(sampler, [told]).pairs(
        {}, np.arange(bench.config.minted), derive(bench.seed, "recipe.mint")
    )
    return Part(images, values[told.aspect.name])


def distilled(bench: Bench, trained: TrainedGan) -> AspectMap:
    """Return the map that a teacher taught on generated images; the measurer is not the teacher."""
    from augmint.latent.conditioned import of_gan
    from augmint.latent.distilled import drawn_pairs

    data, config = bench.material, bench.config
    seed = derive(bench.seed, "recipe.teacher")
    path = bench.kept / "teacher.safetensors"
    teacher = told_by(path, config, data, False, seed, bench.device)
    network_, settled = of_gan(trained, config.inversion)
    latents, values = drawn_pairs(
        network_, teacher.predictions, len(data.train.images), network_.free, settled.prior,
        seed, device=bench.device,
    )  # fmt: skip
    return mapped(bench, latents, values, trained.shape, "distilled")


def joint(bench: Bench) -> Part:
    """Return pairs of a generator that draws the aspect as further channels of its images."""
    from augmint.core.registry import CONDITIONING
    from augmint.minting.sampler import GanSampler
    from augmint.training.joint import Joint

    aspect, gan = bench.material.aspect, bench.config.gan
    trained = generator(bench, "joint", replace(gan, joint=(aspect.name,)))
    how = Joint.of(trained.config, trained.schema, trained.shape[0])
    conditioning = CONDITIONING.create(gan.conditioning)
    sampler = GanSampler(trained.generator, conditioning, trained.context, bench.device, joint=how)
    ids = np.arange(bench.config.minted)
    images, told = sampler.pairs({}, ids, derive(bench.seed, "recipe.mint"))
    return Part(images, told[aspect.name])


def shown(aspect: Aspect, part: Part, count: int = 16, scale: int = 3) -> Image:
    """Return a picture of the first pairs: images, and below them the aspect drawn over them."""
    from augmint.core.pictures import as_rgb, rows

    large = [i.repeat(scale, 1).repeat(scale, 2) for i in part.images[:count]]
    drawn = [aspect.draw(i, v) for i, v in zip(large, part.values, strict=False)]
    return rows([np.stack([as_rgb(i) for i in large]), np.stack(drawn)], ["images", aspect.name])


@dataclass(frozen=True)
class PairsRecipe(Recipe[PairsConfig]):
    """Learns an aspect as a function of a generator's latent, and measures minted pairs."""

    kind: ClassVar[str]
    """Of the aspect."""
    score: ClassVar[str]
    """What the error, or its complement, is called in metrics."""
    score_words: ClassVar[str]
    complement: ClassVar[bool] = False
    """The metrics hold 1 - error."""

    def run(self, config: PairsConfig, surroundings: Surroundings) -> Outcome:
        """Train generator, inverse, maps and baselines; measure pairs by an independent network."""
        from augmint.metrics.aspects import annotation_truth, latent_gap

        place = bench(config, surroundings, self.kind)
        data = place.material
        trained = generator(place, "gan", config.gan)
        inverse = inverter(place, trained)
        network = inverse.network
        train, test = inverse(data.train.images, "train"), inverse(data.test.images, "test")
        told = mapped(place, train.latents, data.train.values, trained.shape, "inverted")
        own = place.errors(data.test.images, data.test.values)
        pairs = {"minted": minted(place, trained, told)}
        if "distilled" in config.baselines:
            pairs["distilled"] = minted(place, trained, distilled(place, trained))
        if "joint" in config.baselines:
            pairs["joint"] = joint(place)
        rebuilt = images_of(network, test)
        pairs["inverted"] = Part(rebuilt, told.values(test.latents))
        numbers: dict[str, float | None] = {"measurer": float(own.mean())}
        numbers["measurer_median"] = float(np.median(own))
        numbers["told_of_test"] = float(told.errors(test.latents, data.test.values).mean())
        for name, part in pairs.items():
            claims = data.aspect.told(part.values)
            if not claims.any():  # a joint generator may draw no point, or void alone
                numbers |= {name: None, f"{name}_ratio": None, f"{name}_median": None}
                continue
            errors = place.errors(part.images[claims], part.values[claims])
            found = annotation_truth(errors, own)
            numbers[name], numbers[f"{name}_ratio"] = found.error, found.ratio
            numbers[f"{name}_median"] = found.median
        numbers = {self._name(k): self._value(k, v) for k, v in numbers.items()}
        drawn = drawn_latents(len(test), inverse)
        gap = latent_gap(test.latents.numpy(), drawn.numpy(), place.seed)
        numbers |= {"latent_gap": gap.distance, "latent_gap_floor": gap.floor}
        for name, found_there in (("train", train), ("test", test)):
            numbers |= {f"l1_{name}": float(found_there.l1.mean())}
            numbers |= {f"psnr_{name}": float(found_there.psnr.mean())}
        pictures = {name: shown(data.aspect, part) for name, part in pairs.items()}
        pictures["real"] = shown(data.aspect, data.test)
        warnings = [] if trained.stopped == "done" else [f"training stopped: {trained.stopped}"]
        return Outcome(
            numbers, self._protocols(place, len(own)), pictures, trained.images_shown, warnings
        )

    def _name(self, name: str) -> str:
        return name if name.endswith("_ratio") else f"{name}_{self.score}"

    def _value(self, name: str, value: float | None) -> float | None:
        if value is None or not self.complement or name.endswith("_ratio"):
            return value
        return 1.0 - value

    def _protocols(self, place: Bench, tests: int) -> dict[str, str]:
        network = f"{place.measurer.digest[:12]}, {place.material.text}"
        pairs = (
            f"{self.score_words} of a network's predictions against the claims of "
            f"{place.config.minted} pairs"
        )
        told = {
            "measurer": (
                f"{self.score_words} of the measuring network {network}, on {tests} test images"
            ),
            "told_of_test": (
                f"{self.score_words} of the aspect map at the inverted latents of {tests} "
                "test images"
            ),
            "minted": f"{pairs}; drawn latents, the aspect map learnt on inverted ones",
            "distilled": (
                f"{pairs}; drawn latents, a map taught by another network on generated images"
            ),
            "joint": f"{pairs}; one generator for image and aspect",
            "inverted": (
                f"{pairs.replace(str(place.config.minted), str(tests))}; latents of test images"
            ),
        }
        return {self._name(name): text for name, text in told.items()}


def images_of(network: Conditioned, inverse: Inversion) -> ByteArray:
    """Return the images of inverted latents, uint8."""
    import torch

    from augmint.core.types import to_uint8

    device = next(network.parameters()).device
    with torch.no_grad():
        made = [to_uint8(network(z.to(device))).cpu() for z in inverse.latents.split(256)]
    return torch.cat(made).numpy()


def drawn_latents(count: int, inverse: Inverter) -> torch.Tensor:
    """Return twice as many latents of the generator's prior, for the distance and its floor."""
    from augmint.core.streams import stream
    from augmint.latent.slots import draw

    numbers = stream(inverse.bench.seed, "recipe.gap", 0, 2 * count)
    return draw(numbers, inverse.network.free, inverse.config.prior)

"""What recipes of generators that are asked for values share: trainings, measurers, the curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from augmint.core.errors import UsageError
from augmint.core.machine import resolve_device
from augmint.core.registry import CONDITIONING
from augmint.core.streams import derive, permutation
from augmint.latent.bidirectional import BidirectionalConfig
from augmint.recipes.annotated import Annotated, annotated, patient
from augmint.recipes.base import Outcome, Recipe, Surroundings
from augmint.recipes.latent_pairs import Part, network
from augmint.tasks.config import TaskConfig
from augmint.training.config import GanConfig

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from augmint.core.types import AspectValues, ByteArray, FloatArray, Sampler
    from augmint.tasks.trained import TrainedTask
    from augmint.training.gan import TrainedGan

SHOWN = 6
"""Targets in the pictures, as in the paper's figures."""


@dataclass(frozen=True)
class RequestedConfig:
    """Everything that the numbers depend on, besides data and seed.

    Args:
        gans: trainings by name; one curve where there are several.
        pairs: trainings of cBiGAN by name, likewise.
        measurer: the network that reads landmarks off images; it trains on images that no
            generator sees.
        judge: the network that tells classes; None where no class is asked for.
        steps: of every training; None: as each says.
        size: height and width that images are scaled to.
        draws: training images, of a built-in set that is drawn.
        measured_on: drawn images that train the measurer.
        test_share: of a set without a test part, or of `draws`.
        targets: test rows whose values are asked for.
        each: images a target.
    """

    gans: Mapping[str, GanConfig]
    pairs: Mapping[str, BidirectionalConfig] = field(default_factory=dict)
    measurer: TaskConfig = field(default_factory=TaskConfig)
    judge: TaskConfig | None = None
    steps: int | None = None
    size: tuple[int, int] = (32, 32)
    draws: int = 20_000
    measured_on: int = 50_000
    test_share: float = 0.1
    targets: int = 40
    each: int = 80

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise UsageError("steps must be at least 1", self.steps, "--set steps=20000")


@dataclass(frozen=True)
class RequestedRecipe(Recipe[RequestedConfig]):
    """Trains generators, asks each for the landmarks of test images, and measures what comes."""

    kinds: ClassVar[frozenset[str]] = frozenset({"landmarks"})
    """Of the aspects that are asked for."""
    debug_data: ClassVar[str] = "toy-faces"
    data_hint: ClassVar[str] = "faces with landmarks (CelebA's with 49 points in the paper)"

    def run(self, config: RequestedConfig, surroundings: Surroundings) -> Outcome:
        """Train and measure."""
        from augmint.latent.bidirectional import BidirectionalTraining
        from augmint.training.gan import GanTraining

        data = annotated(config, surroundings, self.kinds, 3)
        measuring = _Measuring.build(config, data, surroundings)
        seed, device = surroundings.seed, measuring.device
        kinds: tuple[tuple[Mapping[str, Any], Any], ...] = (
            (config.gans, GanTraining),
            (config.pairs, BidirectionalTraining),
        )
        for chosen, training in kinds:
            for name, one in chosen.items():
                one = replace(one, steps=config.steps or one.steps)
                where = surroundings.kept / "generators" / name
                rules = patient(one.steps)
                run = training(one, data.train, data.schema, seed, where, device, rules)
                measuring.add(name, run.run())
        return measuring.outcome()


class _Measuring:
    """The independent networks, and what they found of each generator."""

    def __init__(
        self,
        config: RequestedConfig,
        data: Annotated,
        networks: Mapping[str, TrainedTask],
        seed: int,
        device: str,
    ) -> None:
        self.config, self.data, self.networks = config, data, networks
        self.seed, self.device = seed, device
        self.numbers: dict[str, float | None] = {}
        self.pictures: dict[str, Image] = {}
        self.curves: dict[str, dict[str, tuple[float, float]]] = {"gans": {}, "pairs": {}}
        self.shown = 0
        for name, measurer in networks.items():
            own = measurer.errors(data.test.images, data.test.values[name])
            self.numbers[f"error_{name}_real"] = float(own.mean())

    @classmethod
    def build(
        cls, config: RequestedConfig, data: Annotated, surroundings: Surroundings
    ) -> _Measuring:
        """Train the independent networks."""
        device = str(resolve_device(surroundings.device))
        seed = derive(surroundings.seed, "recipe.measurer")
        given = {"landmarks": config.measurer, "category": config.judge}
        networks = {}
        for aspect in data.schema:
            task = given.get(aspect.kind)
            if task is not None:
                part = Part(data.measured.images, data.measured.values[aspect.name])
                networks[aspect.name] = network(task, aspect, part, seed, device)
        return cls(config, data, networks, surroundings.seed, device)

    def add(self, name: str, trained: TrainedGan) -> None:
        """Measure a generator: each aspect's error, and its diversity under one request."""
        from augmint.metrics.requests import requested
        from augmint.minting.sampler import GanSampler

        method = CONDITIONING.create(trained.config.conditioning)
        bank = {a.name: self.data.train.values[a.name] for a in trained.schema}
        sampler: Sampler = GanSampler(
            trained.generator, method, trained.context, self.device, bank=bank
        )
        seed = derive(self.seed, "recipe.requests")
        targets = self._targets(trained)
        asked = {n: m for n, m in self.networks.items() if n in targets}
        for aspect, measurer in asked.items():
            found = requested(sampler, targets, _errors(measurer, aspect), self.config.each, seed)
            self.numbers[f"error_{aspect}_{name}"] = found.error
            self.numbers[f"diversity_{name}"] = found.spread
            if trained.schema[aspect].kind == "landmarks":
                kind = "gans" if name in self.config.gans else "pairs"
                weight = name.rpartition("-")[2]
                self.curves[kind][weight] = (found.error, found.spread)
        self.shown += trained.images_shown
        self.pictures[name] = self._picture(sampler, targets, seed)

    def _targets(self, trained: TrainedGan) -> dict[str, torch.Tensor]:
        import torch

        chosen = permutation(self.seed, "recipe.targets", len(self.data.test))
        rows = chosen[: self.config.targets]
        return {
            a.name: torch.as_tensor(self.data.test.values[a.name][rows]) for a in trained.schema
        }

    def _picture(self, sampler: Sampler, targets: AspectValues, seed: int) -> Image:
        """Six targets: the test image, the same with its points, and images asked for."""
        from augmint.core.pictures import as_rgb, rows

        chosen = permutation(self.seed, "recipe.targets", len(self.data.test))[:SHOWN]
        points = self.data.schema.of_kind("landmarks")[0]
        groups = []
        for place, row in enumerate(chosen):
            many = min(12, self.config.each)
            wanted = {
                n: v[place : place + 1].expand(many, *v.shape[1:]) for n, v in targets.items()
            }
            ids = np.arange(place * self.config.each, place * self.config.each + many)
            made = sampler.sample(wanted, ids, seed)
            value = self.data.test.values[points.name][row]
            images = [self.data.test.images[row], *made]
            drawn = [points.draw(i.repeat(2, 1).repeat(2, 2), value) for i in images]
            groups.append(np.stack([as_rgb(i.repeat(2, 1).repeat(2, 2)) for i in images]))
            groups.append(np.stack(drawn))
        captions = [
            f"target {i // 2 + 1}: test image, then generated"
            if i % 2 == 0
            else "with the points asked for"
            for i in range(len(groups))
        ]
        return rows(groups, captions)

    def outcome(self) -> Outcome:
        """Return all numbers, and the comparison of the two curves where there are two."""
        from augmint.metrics.requests import above
        from augmint.studies.report.curves import trade_svg

        files = {}
        if all(len(curve) > 1 for curve in self.curves.values()):
            gans, pairs = (np.array(list(self.curves[k].values())).T for k in ("gans", "pairs"))
            found = above((gans[0], gans[1]), (pairs[0], pairs[1]))
            self.numbers["diversity_above_cbigan"] = None if np.isnan(found) else found
            methods = {"VAR": self.curves["gans"], "cBiGAN": self.curves["pairs"]}
            files["curve.svg"] = trade_svg(methods, "error of the points asked for (NME)")
        text = (
            f"{min(self.config.targets, len(self.data.test))} targets of test images, "
            f"{self.config.each} images each; errors by a network trained on real images"
        )
        protocols = {
            name: text if value is not None else "refused: the curves share no error"
            for name, value in self.numbers.items()
        }
        return Outcome(self.numbers, protocols, self.pictures, self.shown, files=files)


def _errors(measurer: TrainedTask, aspect: str) -> Callable[[ByteArray, AspectValues], FloatArray]:
    def errors(images: ByteArray, wanted: AspectValues) -> FloatArray:
        return measurer.errors(images, np.asarray(wanted[aspect]))

    return errors

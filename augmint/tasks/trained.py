"""A trained network as the rest sees it: uint8 images in;
predictions, probabilities, features out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from augmint.aspects.base import Schema
from augmint.core.config import build, to_plain
from augmint.core.errors import IncompatibleError, UsageError
from augmint.core.registry import ARCHITECTURES, Spec
from augmint.core.runs import tensors_digest
from augmint.core.streams import scope
from augmint.core.types import resampled, to_float
from augmint.networks.base import ClassifierArchitecture, MapperArchitecture
from augmint.tasks.config import TaskConfig
from augmint.tasks.user_model import load_user_network

if TYPE_CHECKING:
    import numpy.typing as npt

    from augmint.aspects.base import Aspect
    from augmint.core.types import ByteArray, FloatArray, Shape

_BATCH = 256
_KIND = "task"


@dataclass(frozen=True, eq=False)
class TrainedTask:
    """A trained network; of classes it is a `Judge`, and `feature_net` makes a `FeatureNet` of it.

    Args:
        network: in evaluation mode.
        config: how it was trained.
        schema: the aspects.
        shape: (C, H, W) of the images it takes; it resamples them to `config.size` itself.
        device: where it lies.
        history: readings of the loss.
        views: how often each image of each source was seen, source by source, with its origin.

    Example:
        >>> from augmint.aspects.category import Category
        >>> schema = Schema((Category("label", ("left", "right")),))
        >>> trained = TrainedTask(nn.Flatten(), TaskConfig(), schema, (1, 1, 2))
        >>> trained.predictions(np.array([[[[255, 0]]], [[[0, 255]]]], np.uint8)).tolist()
        [0, 1]
    """

    network: nn.Module
    config: TaskConfig
    schema: Schema
    shape: Shape
    device: str = "cpu"
    history: list[dict[str, float]] = field(default_factory=list)
    views: list[dict[str, Any]] = field(default_factory=list)

    @property
    def aspect(self) -> Aspect:
        """The aspect that it predicts."""
        return self.schema[self.config.aspect]

    def logits(self, images: ByteArray) -> FloatArray:
        """Return the raw outputs for uint8 images `(N, C, H, W)`, float32.

        They are in the aspect's encoded form: `(N, width)`, or `(N, width, H, W)` at the images'
        own size.

        Raises:
            UsageError: for images of another shape or type.
        """
        return self._run(images, self._outputs)

    def predictions(self, images: ByteArray) -> npt.NDArray[Any]:
        """Return what it predicts, in the aspect's stored form with N rows (errors as `logits`)."""
        return self._run(images, lambda batch: self.aspect.decode(self._outputs(batch)))

    def probabilities(self, images: ByteArray) -> FloatArray:
        """Return class probabilities, float32: the softmax of the logits over dimension 1.

        `(N, classes)`, rows summing to 1; for a mask `(N, classes, H, W)`, pixels summing to 1.

        Raises:
            IncompatibleError: if the aspect has no classes.
        """
        if not hasattr(self.aspect, "classes"):
            raise IncompatibleError(
                "probabilities are those of classes",
                f"{self.aspect.name}, a {self.aspect.kind}",
                "take predictions() instead",
            )
        return self._run(images, lambda batch: self._outputs(batch).float().softmax(1))

    def errors(self, images: ByteArray, values: npt.NDArray[Any]) -> FloatArray:
        """Return the aspect's error of each image's prediction, float32 `(N,)`; 0 is right.

        Args:
            images: uint8 `(N, C, H, W)`.
            values: what they are said to carry, stored form, N rows.
        """
        if not len(images):
            return np.zeros(0, np.float32)
        starts = iter(range(0, len(images), _BATCH))

        def compared(batch: Tensor) -> Tensor:
            start = next(starts)
            claimed = torch.from_numpy(np.array(values[start : start + _BATCH]))
            return self.aspect.error(self._outputs(batch).float(), claimed.to(batch.device))

        return self._run(images, compared)

    def features(self, images: ByteArray) -> FloatArray:
        """Return `(N, F)` float32: the network's own features, or the input of its last linear
        layer, or its logits where it has none."""
        with extractor(self.network) as extract:
            return self._run(images, extract)

    def feature_net(self, name: str = "task") -> TaskFeatures:
        """Return the features as a `FeatureNet`, with the digest of the weights beside them."""
        return TaskFeatures(self, name, self.digest)

    @property
    def digest(self) -> str:
        """SHA-256 (64 hex digits) of the weights, by name."""
        return tensors_digest(self.network.state_dict())

    def save(self, path: Path) -> str:
        """Write weights and description to one safetensors file; return its SHA-256."""
        from augmint.core.runs import save_network

        plain = {
            "config": to_plain(self.config),
            "schema": self.schema.to_plain(),
            "shape": list(self.shape),
            "history": self.history,
            "views": self.views,
        }
        return save_network(path, _KIND, self.network, plain)

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> TrainedTask:
        """Read what `save` wrote; a user's own network is made by its file again.

        Raises:
            DataError: if the file is damaged or does not fit the network.
        """
        from augmint.core.runs import load_network

        def rebuilt(plain: dict[str, Any]) -> TrainedTask:
            schema = Schema.from_plain(plain["schema"])
            config = build(TaskConfig, {**plain["config"], "weights": None}, where="task")
            channels, height, width = plain["shape"]
            shape = (channels, height, width)
            aspect = schema[config.aspect]
            network = build_network(config, shape, aspect.width, device, flat=aspect.flat)
            return cls(network, config, schema, shape, device, plain["history"], plain["views"])

        return load_network(path, _KIND, rebuilt)

    def _outputs(self, batch: Tensor) -> Tensor:
        """Return raw outputs; maps at the stored size, whatever size the network saw."""
        found: Tensor = self.network(batch)
        return found if self.aspect.flat else at_size(found, self.shape[1:])

    def _run(self, images: ByteArray, call: Callable[[Tensor], Tensor]) -> npt.NDArray[Any]:
        if images.ndim != 4 or tuple(images.shape[1:]) != tuple(self.shape):
            raise UsageError(
                f"this network takes images of shape {tuple(self.shape)}",
                str(tuple(images.shape[1:])),
                "resample them before",
            )
        self.network.eval()
        layout = memory_format(self.config)
        results = []
        # no rows have the form of a blank image's answer
        given = images if len(images) else np.zeros((1, *self.shape), np.uint8)
        with torch.inference_mode():
            for start in range(0, len(given), _BATCH):
                part = torch.from_numpy(np.array(given[start : start + _BATCH]))
                seen = resampled(part.to(self.device), self.config.size)
                batch = to_float(seen).contiguous(memory_format=layout)
                found = call(batch)
                whole = found if not found.is_floating_point() else found.float()
                results.append(whole.cpu().numpy())
        return np.concatenate(results)[: len(images)]


@dataclass(frozen=True, eq=False)
class TaskFeatures:
    """A `FeatureNet`: features of a trained network, named by its weights."""

    trained: TrainedTask
    name: str
    digest: str

    def __call__(self, images: ByteArray) -> FloatArray:
        """Return features `(N, D)`."""
        return self.trained.features(images)


def build_network(
    config: TaskConfig,
    shape: Shape,
    outputs: int,
    device: str = "cpu",
    seed: int = 0,
    flat: bool = True,
) -> nn.Module:
    """Return the network of a configuration, initialised by the seed, for images of `shape`.

    Args:
        config: names it.
        shape: (C, H, W) of the stored images.
        outputs: numbers that it gives for an image, or channels.
        device: where it is put.
        seed: of its initialisation.
        flat: it gives `(N, outputs)`; otherwise maps `(N, outputs, h, w)` of the size it sees.

    Raises:
        UsageError: if the name, the file or the image size cannot be used.

    Example:
        >>> network = build_network(TaskConfig(), (1, 8, 8), outputs=3)
        >>> network(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 3])
    """
    seen = config.seen(shape)
    with scope(seed, "task.init"):
        if config.model is not None:
            network = load_user_network(config.model, seen, outputs, config.weights, flat)
        else:
            network = _registered(config.network, flat, seen, outputs)
    return network.to(device).to(memory_format=memory_format(config))  # type: ignore[call-overload,no-any-return]


def _registered(spec: Spec, flat: bool, seen: Shape, outputs: int) -> nn.Module:
    architecture = ARCHITECTURES.create(spec)
    wanted = ClassifierArchitecture if flat else MapperArchitecture
    if not isinstance(architecture, wanted):
        given, usual = ("vector", "small-cnn") if flat else ("map", "unet")
        raise UsageError(
            f"a task's network that gives a {given} for each image is a {wanted.role}",
            f"{spec} ({architecture.role})",
            f"choose one such as {usual} (--set task.network={usual})",
        )
    architecture.check_shape(seen)
    return architecture.build(seen, outputs)


def memory_format(config: TaskConfig) -> torch.memory_format:
    """Return the layout that the network declares; a user's network keeps the plain one.

    Example:
        >>> memory_format(TaskConfig(network="small-cnn"))
        torch.channels_last
    """
    declared = config.model is None and ARCHITECTURES.create(config.network).channels_last
    return torch.channels_last if declared else torch.contiguous_format


def at_size(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return float maps `(N, C, h, w)` at another size: bilinear, pixel centres.

    Example:
        >>> at_size(torch.ones(1, 2, 4, 4), (8, 6)).shape
        torch.Size([1, 2, 8, 6])
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return functional.interpolate(maps, size, mode="bilinear", align_corners=False)


@contextmanager
def extractor(network: nn.Module) -> Iterator[Callable[[Tensor], Tensor]]:
    """Give a function from images to features `(N, F)`; hooks are removed at the end.

    A method `features` is used where there is one. Otherwise the input of the last `nn.Linear`
    that the forward pass reaches, otherwise the output. More than two dimensions are flattened.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> with extractor(network) as features:
        ...     features(torch.zeros(5, 1, 2, 2)).shape
        torch.Size([5, 3])
    """
    own = getattr(network, "features", None)
    if callable(own) and not isinstance(own, nn.Module):
        yield lambda images: own(images).flatten(1)
        return
    caught: dict[str, Tensor] = {}

    def catch(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        caught["input"] = given[0]

    linear = [m for m in network.modules() if isinstance(m, nn.Linear)]
    handles = [m.register_forward_pre_hook(catch) for m in linear]

    def run(images: Tensor) -> Tensor:
        caught.clear()
        output: Tensor = network(images)
        features = caught.get("input", output)
        return features if features.shape[0] == len(images) else output

    try:
        yield lambda images: run(images).flatten(1)
    finally:
        for handle in handles:
            handle.remove()


def joined(arrays: list[ByteArray], size: tuple[int, int] | None, device: str) -> Tensor:
    """Return all images in one uint8 tensor on the device, at the size the network sees.

    Example:
        >>> arrays = [np.zeros((n, 1, 8, 8), np.uint8) for n in (2, 3)]
        >>> joined(arrays, (4, 4), "cpu").shape
        torch.Size([5, 1, 4, 4])
    """
    parts = [resampled(torch.from_numpy(np.array(a)), size) for a in arrays]
    return (parts[0] if len(parts) == 1 else torch.cat(parts)).to(device)


def gathered(columns: list[Mapping[str, Any]], name: str, device: str) -> Tensor:
    """Return one aspect of all sources in one tensor on the device.

    Example:
        >>> gathered([{"label": [0]}, {"label": [1, 2]}], "label", "cpu").tolist()
        [0, 1, 2]
    """
    return torch.from_numpy(np.concatenate([np.asarray(c[name]) for c in columns])).to(device)

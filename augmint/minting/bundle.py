"""A bundle is a folder that holds what minting needs without the data it was learnt from.

    bundle.json                description: format, configuration, schema, checksums, what is
                               missing
    generator.safetensors      averaged weights of the generator
    judge.safetensors          a judge trained on real images (optional)
    features.safetensors       the judge's features of the training images, for the copy check
                               (optional)
    aspects.safetensors        training values of the aspects that a class does not fix (optional)

Opening one trusts nothing: file names are fixed, links are refused, every file must match its
checksum, every tensor the shape that the description implies, and nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from augmint.aspects.base import Schema
from augmint.aspects.category import LABEL
from augmint.conditioning.base import ConditioningContext
from augmint.core.config import build, to_plain
from augmint.core.errors import AugmintError, DataError, IncompatibleError, UsageError, nearest
from augmint.core.registry import ARCHITECTURES, CONDITIONING
from augmint.core.runs import (
    commit_folder,
    load_tensors,
    part_folder,
    provenance,
    read_json,
    save_tensors,
    tensors_digest,
    write_json,
)
from augmint.core.streams import scope
from augmint.minting.curation import CurationConfig, Minted, class_names, mint, mint_parts
from augmint.minting.judge import StoredJudge, build_judge
from augmint.minting.nearness import distances
from augmint.minting.review import Review
from augmint.minting.sampler import GanSampler
from augmint.minting.truncation import Of
from augmint.training.config import GanConfig
from augmint.training.gan import build_generator
from augmint.training.joint import Joint, context_of

if TYPE_CHECKING:
    from augmint.core.types import ByteArray, FloatArray, Shape
    from augmint.training.gan import TrainedGan, TrainingImages

VERSION = 1
DESCRIPTION = "bundle.json"
GENERATOR, JUDGE, FEATURES, ASPECTS = "generator", "judge", "features", "aspects"
FILES = (GENERATOR, JUDGE, FEATURES, ASPECTS)
_LARGEST_DESCRIPTION = 16 * 2**20  # bytes
_LARGEST_SIDE = 4096
_BLOCK = 256
_ANSWER = "make the bundle again (augmint train)"


@dataclass(frozen=True)
class StoredFile:
    """Checksum and length of one file."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class JudgeDescription:
    """How the judge's network is rebuilt, and what is known of it."""

    network: dict[str, Any]
    shape: tuple[int, int, int]
    outputs: int
    told: dict[str, Any]
    aspect: str = LABEL
    limit: float | None = None


@dataclass(frozen=True)
class Description:
    """What `bundle.json` holds."""

    format: Literal["augmint-bundle"]
    version: int
    augmint: str
    gan: GanConfig
    schema: list[dict[str, Any]]
    shape: tuple[int, int, int]
    files: dict[str, StoredFile]
    missing: dict[str, str]
    curation: CurationConfig
    judge: JudgeDescription | None
    copy_distance: float | None
    provenance: dict[str, Any]


@dataclass(frozen=True)
class Bundle:
    """A generator with everything needed to mint from it.

    Args:
        generator: averaged weights, evaluation mode.
        gan: the configuration it was trained with.
        schema: the aspects that its images carry, with class names.
        shape: channels, height, width of its images.
        judge: trained on real images, or None.
        features: `(N, F)`, the judge's features of the training images, or None.
        copy_distance: an image nearer than this to a training image, in those features, counts
            as a copy.
        bank: training values of all aspects, rows aligned, where a class does not fix them.
        curation: the thresholds that minting uses by default.
        missing: why each absent part is absent.
        provenance: plain facts on how it was made.

    Example:
        >>> from augmint.aspects.category import Category
        >>> gan = GanConfig(generator={"name": "dcgan-generator", "channels": 2})
        >>> schema, shape = Schema((Category("label", ("cat", "dog")),)), (1, 16, 16)
        >>> bundle = Bundle(build_generator(gan, schema, shape), gan, schema, shape)
        >>> minted = bundle.mint({"dog": 3}, seed=0, curate=False, progress=False)
        >>> minted.images.shape, minted.values["label"].tolist()
        ((3, 1, 16, 16), [1, 1, 1])
    """

    generator: nn.Module
    gan: GanConfig
    schema: Schema
    shape: Shape
    judge: StoredJudge | None = None
    features: FloatArray | None = None
    copy_distance: float | None = None
    bank: Mapping[str, np.ndarray] = field(default_factory=dict)
    curation: CurationConfig = field(default_factory=CurationConfig)
    missing: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_training(
        cls,
        trained: TrainedGan,
        data: TrainingImages | None = None,
        judge: StoredJudge | None = None,
        copy_distance: float | None = None,
        curation: CurationConfig | None = None,
        missing: Mapping[str, str] | None = None,
    ) -> Bundle:
        """Return the bundle of a finished training.

        Args:
            trained: what `train_gan` gave.
            data: its training images; with a judge and a `copy_distance` their features are kept
                for the copy check, and with several aspects their values.
            judge: trained on real images.
            copy_distance: see the class.
            curation: default thresholds.
            missing: reasons for parts left out, by part ("judge", "features", "aspects").
        """
        several = _left_open(trained.context.schema)
        keep = judge is not None and data is not None and copy_distance is not None
        facts = {
            "generator": trained.generator_digest,
            "images_shown": trained.images_shown,
            "seconds": trained.seconds,
            "training_images": None if data is None else len(data.images),
        }
        return cls(
            trained.generator,
            trained.config,
            trained.schema,
            trained.shape,
            judge,
            judge(data.images) if judge and data and keep else None,
            copy_distance if keep else None,
            {a.name: np.asarray(data.values[a.name]) for a in trained.context.schema}
            if data and several
            else {},
            curation or CurationConfig(),
            missing or {},
            facts,
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the generator's file, which stands beside every image minted from it."""
        return tensors_digest(self.generator.state_dict())

    @property
    def context(self) -> ConditioningContext:
        """What conditioning is told."""
        return context_of(self.gan, self.schema, self.shape)

    @property
    def truncates(self) -> Of:
        """What truncation acts on: styles where the generator gives them, latents elsewhere."""
        architecture = ARCHITECTURES.create(self.gan.generator)
        return "styles" if "styles" in architecture.gives else "latents"

    def sampler(self, device: str = "cpu", truncation: float | None = None) -> GanSampler:
        """Return a sampler of the generator's images.

        Args:
            device: "cpu" or "cuda".
            truncation: None, or less variety for more typical images (`minting.truncation`): a
                bound of latents, or the share of styles that is kept, as `truncates` says.

        Raises:
            UsageError: if truncation is out of range or has nothing to act on.
        """
        if truncation is not None and not ARCHITECTURES.create(self.gan.generator).truncates:
            raise IncompatibleError(
                "truncation takes latents nearer to their mean for more typical images",
                "a flow, whose latent is the noise that an image is made of",
                "mint without (drop --truncation), or train with guidance "
                "(--set generator.generator.guidance=1.5)",
            )
        conditioning = CONDITIONING.create(self.gan.conditioning)
        return GanSampler(
            self.generator,
            conditioning,
            self.context,
            device,
            truncation=truncation,
            bank=self.bank,
            truncates=self.truncates,
            joint=Joint.of(self.gan, self.schema, self.shape[0]),
            mixed=self.gan.fake_aspects == "mixed",
        )

    def is_copy(self) -> Callable[[ByteArray], np.ndarray] | None:
        """Return what tells copies of training images, or None where the features are missing.

        An image is a copy if its judge's features lie nearer than `copy_distance` to those of a
        training image.
        """
        judge, features, bound = self.judge, self.features, self.copy_distance
        if judge is None or features is None or bound is None:
            return None

        def tell(images: ByteArray) -> np.ndarray:
            rows = judge(images)
            blocks = [rows[i : i + _BLOCK] for i in range(0, len(rows), _BLOCK)]
            return np.concatenate([distances(b, features).min(1) for b in blocks]) < bound

        return tell

    def mint(
        self,
        quotas: Mapping[str, int],
        seed: int,
        curate: bool = True,
        device: str = "cpu",
        progress: bool = True,
        truncation: float | None = None,
    ) -> Minted:
        """Mint images by class name, as many of each as asked for.

        Args:
            quotas: images by class name; classes left out are not minted.
            seed: the same bundle, seed and id always give the same image.
            curate: keep what the bundle's judge recognises and its copy check lets pass.
            truncation: as for `sampler`.

        Raises:
            UsageError: for an unknown class, to curate without a judge, or for `truncation`.
        """
        by_index, judge, copies = self._asked(quotas, curate)
        sampler = self.sampler(device, truncation)
        return mint(sampler, judge, self.schema, by_index, self.curation, seed, progress, copies)

    def mint_parts(
        self,
        quotas: Mapping[str, int],
        seed: int,
        curate: bool = True,
        device: str = "cpu",
        progress: bool = True,
        truncation: float | None = None,
    ) -> Iterator[Minted]:
        """Mint as `mint` does, in parts of about 20 000 images:
        memory does not grow with quotas."""
        by_index, judge, copies = self._asked(quotas, curate)
        rest = (by_index, self.curation, seed, progress, copies)
        return mint_parts(self.sampler(device, truncation), judge, self.schema, *rest)

    def _asked(
        self, quotas: Mapping[str, int], curate: bool
    ) -> tuple[
        dict[int, int], StoredJudge | Review | None, Callable[[ByteArray], np.ndarray] | None
    ]:
        """Return quotas by index, the judge and the copy check that minting is asked for."""
        classes = class_names(self.schema, self.curation.aspect)
        for name in quotas:
            if name not in classes:
                raise UsageError("a quota names a class", name, nearest(str(name), classes))
        if not curate:
            return {classes.index(name): n for name, n in quotas.items()}, None, None
        if self.judge is None:
            raise UsageError(
                "curation needs the bundle's judge",
                f"none ({self.missing.get(JUDGE, 'not given')})",
                "pass curate=False (--raw)",
            )
        by_index = {classes.index(name): n for name, n in quotas.items()}
        return by_index, self.judge.review(self.schema[self.judge.aspect]), self.is_copy()

    def save(self, folder: Path) -> Path:
        """Write the bundle as a new folder, whole or not at all, and return the folder.

        Raises:
            UsageError: if the folder exists and does not hold this very bundle.
        """
        folder = Path(folder)
        temporary = part_folder(folder)
        try:
            description = self._describe(temporary)
            if folder.is_dir() and any(folder.iterdir()):
                if _same(folder, description):
                    return folder
                raise UsageError(
                    "a bundle goes into a new or an empty folder",
                    f"{folder}, which holds something else",
                    "choose another (--out DIR)",
                )
            write_json(temporary / DESCRIPTION, to_plain(description))
            commit_folder(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return folder

    def _describe(self, folder: Path) -> Description:
        """Write the tensor files and return their description."""
        tensors: dict[str, dict[str, Tensor]] = {GENERATOR: self.generator.state_dict()}
        missing = {p: self.missing.get(p, "not given") for p in (JUDGE, FEATURES)}
        if self.judge is not None:
            tensors[JUDGE] = self.judge.module.state_dict()
            del missing[JUDGE]
        if self.features is not None and self.judge is not None:
            tensors[FEATURES] = {"features": torch.from_numpy(np.ascontiguousarray(self.features))}
            del missing[FEATURES]
        if self.bank:
            tensors[ASPECTS] = {n: torch.from_numpy(v.copy()) for n, v in self.bank.items()}
        elif _left_open(self.context.schema):
            missing[ASPECTS] = self.missing.get(ASPECTS, "not given")
        files = {}
        for part, content in tensors.items():
            path = folder / f"{part}.safetensors"
            files[path.name] = StoredFile(save_tensors(path, content), path.stat().st_size)
        made_by = provenance()
        return Description(
            format="augmint-bundle",
            version=VERSION,
            augmint=str(made_by["augmint"]),
            gan=self.gan,
            schema=self.schema.to_plain(),
            shape=self.shape,
            files=files,
            missing=missing,
            curation=self.curation,
            judge=None if self.judge is None else _judge_description(self.judge),
            copy_distance=self.copy_distance if FEATURES in tensors else None,
            provenance={"machine": made_by, **self.provenance},
        )

    @classmethod
    def open(cls, folder: Path) -> Bundle:
        """Read a bundle, checking everything.

        Raises:
            DataError: if anything is missing, altered, of an unknown version, or does not fit.
        """
        folder = Path(folder)
        description = _read_description(folder)
        tensors = {part: _read_tensors(folder, description, part) for part in FILES}
        try:
            schema = Schema.from_plain(description.schema)
            return _assemble(description, schema, tensors)
        except DataError:
            raise
        except (AugmintError, RuntimeError, ValueError, TypeError, OverflowError) as error:
            raise _broken(f"{folder / DESCRIPTION} ({error})") from None


def _left_open(schema: Schema) -> bool:
    """Whether a class does not say all that an image carries."""
    return len(schema) > 1 or any(aspect.kind != "category" for aspect in schema)


def _judge_description(judge: StoredJudge) -> JudgeDescription:
    full = ARCHITECTURES.describe(judge.network)
    told = to_plain(judge.told)
    return JudgeDescription(full, judge.shape, judge.outputs, told, judge.aspect, judge.limit)


def _same(folder: Path, description: Description) -> bool:
    """Whether a folder holds this bundle; how and where it was made does not count."""
    try:
        found = to_plain(_read_description(folder))
    except AugmintError:
        return False
    wanted = to_plain(description)
    rest = set(wanted) - {"provenance", "augmint", "missing"}
    return all(found[key] == wanted[key] for key in rest)


def _broken(found: str) -> DataError:
    return DataError("a bundle must be whole and sound", found, _ANSWER)


def _read_description(folder: Path) -> Description:
    path = folder / DESCRIPTION
    if not path.is_file():
        raise DataError("a bundle is a folder with bundle.json", str(folder), "check the path")
    if path.is_symlink() or path.stat().st_size > _LARGEST_DESCRIPTION:
        raise _broken(f"{path}, a link or over 16 MiB")
    try:
        plain = read_json(path)
    except RecursionError:
        raise _broken(f"{path}, nested too deeply") from None
    if not isinstance(plain, dict):
        raise _broken(f"{path}, not a mapping")
    version = plain.get("version")
    if version != VERSION:
        raise DataError(
            f"this augmint reads bundles of version {VERSION}",
            f"version {version!r} in {path}",
            "use the augmint that wrote it, or make the bundle again",
        )
    try:
        description = build(Description, plain, where="bundle.json")
    except AugmintError as error:
        raise _broken(f"{path} ({error})") from None
    allowed = {f"{part}.safetensors" for part in FILES}
    for name in description.files:
        if name not in allowed:
            raise _broken(f"{path}, which names the file {name}")
    if f"{GENERATOR}.safetensors" not in description.files:
        raise _broken(f"{path}, without a generator")
    if not all(1 <= side <= _LARGEST_SIDE for side in description.shape):
        raise _broken(f"{path}, images of shape {description.shape}")
    return description


def _read_tensors(folder: Path, description: Description, part: str) -> dict[str, Tensor]:
    """Return the tensors of a part, empty where it is not listed."""
    name = f"{part}.safetensors"  # fixed names alone reach the file system
    listed = description.files.get(name)
    if listed is None:
        return {}
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise _broken(f"{path}, missing or a link")
    if path.stat().st_size != listed.bytes:
        raise _broken(f"{path}, {path.stat().st_size} bytes instead of {listed.bytes}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != listed.sha256:
        raise _broken(f"{path}, whose SHA-256 is {found[:16]}…")
    tensors, _ = load_tensors(path)
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise _broken(f"{path}, where {key} is not finite")
    return tensors


def _assemble(
    description: Description, schema: Schema, tensors: Mapping[str, dict[str, Tensor]]
) -> Bundle:
    gan, shape = description.gan, description.shape
    generator = _filled(
        lambda: build_generator(gan, schema, shape), tensors[GENERATOR], f"{GENERATOR}.safetensors"
    )
    judge, told = None, description.judge
    if bool(tensors[JUDGE]) != (told is not None):
        raise _broken("a judge without its description, or the reverse")
    if told is not None:
        module = _filled(
            lambda: build_judge(told.network, told.shape, told.outputs),
            tensors[JUDGE],
            f"{JUDGE}.safetensors",
        )
        rest = (told.told, told.aspect, told.limit)
        judge = StoredJudge(told.network, told.shape, told.outputs, module, *rest)
        _check_judge(judge, schema)
    features = tensors[FEATURES].get("features")
    if features is not None and (features.ndim != 2 or judge is None or not len(features)):
        raise _broken(f"training features of shape {tuple(features.shape)}")
    bank = {name: value.numpy() for name, value in tensors[ASPECTS].items()}
    _check_bank(bank, schema)
    if description.copy_distance is not None and not math.isfinite(description.copy_distance):
        raise _broken(f"copy_distance {description.copy_distance}")
    return Bundle(
        generator=generator,
        gan=gan,
        schema=schema,
        shape=shape,
        judge=judge,
        features=None if features is None else features.numpy(),
        copy_distance=description.copy_distance,
        bank=bank,
        curation=description.curation,
        missing=description.missing,
        provenance=description.provenance,
    )


def _check_judge(judge: StoredJudge, schema: Schema) -> None:
    """Raise `DataError` unless a judge can tell the aspect that it is said to tell."""
    if judge.aspect not in schema:
        raise _broken(f"a judge of {judge.aspect}, which the schema does not have")
    classes = schema[judge.aspect].kind == "category"
    bound = judge.limit is not None and math.isfinite(judge.limit) and judge.limit >= 0
    if judge.outputs != schema[judge.aspect].width or classes == bound:
        raise _broken(
            f"a judge of {judge.aspect} with {judge.outputs} outputs, limit {judge.limit}"
        )


def _filled(make: Callable[[], nn.Module], tensors: dict[str, Tensor], name: str) -> nn.Module:
    """Build a network whose parameters are exactly `tensors`."""
    # shapes first: a false description must not claim memory
    with scope(0, "bundle.build"), torch.device("meta"):
        expected = {key: value.shape for key, value in make().state_dict().items()}
    found = {key: value.shape for key, value in tensors.items()}
    for key in expected.keys() | found.keys():
        if expected.get(key) != found.get(key):
            raise _broken(f"{name}, where {key} has another shape than the description implies")
    with scope(0, "bundle.build"):
        network = make()
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False)


def _check_bank(bank: Mapping[str, np.ndarray], schema: Schema) -> None:
    if len({len(v) for v in bank.values()}) > 1:
        raise _broken("aspects of different numbers of rows")
    for name, values in bank.items():
        if name not in schema:
            raise _broken(f"values for {name}, which the schema does not have")
        schema[name].check(values)

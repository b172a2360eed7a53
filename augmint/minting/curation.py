"""Minting: draw images class by class and keep those that pass the judge, with every count kept.

Ids are `counter · classes + class`, and candidates are looked at in the order of their ids, so the
result depends on seed, quotas and configuration alone: minting more keeps what was minted before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from augmint.aspects.category import LABEL
from augmint.core.config import to_plain
from augmint.core.errors import LISTED, DataError, UsageError
from augmint.core.progress import Progress
from augmint.minting.review import ByClass, Review

if TYPE_CHECKING:
    from augmint.aspects.base import Schema
    from augmint.aspects.category import Category
    from augmint.core.types import (
        AspectValues,
        ByteArray,
        FloatArray,
        IntArray,
        Judge,
        Sampler,
    )
    from augmint.minting.nearness import Kept

REASONS = ("disagrees", "unsure", "copy", "duplicate")
"""Why an image is rejected, in the order in which it is asked; the first that holds is counted."""

_ROUND = 2048  # images drawn at once, all classes together

EVERYTHING = "all"
"""What one quota is for, where there are no classes."""

TOGETHER = 20_000
"""Images minted as one part, at most: small classes together, a larger one in several parts."""


@dataclass(frozen=True)
class CurationConfig:
    """What a minted image must pass to be kept.

    Args:
        threshold: least probability that the judge gives to the claimed class, 0 to 1.
        agreement: the claimed class must also be the judge's first choice.
        duplicate_distance: least root mean square difference, as a share of the full range, from
            every image already kept of the class (seen at no more than 32 px a side); 0 drops
            nothing, not even equal images.
        max_draws: images drawn for a class, at most, as a multiple of its quota; what is then
            missing is stated as its shortfall.
        aspect: the category whose classes have quotas; in a set without it, one quota is for all.
        quantile: of an aspect that is measured rather than recognised (landmarks, a mask): an image
            passes if the judge's error against its claim is at most this quantile of the judge's
            errors on real images that it has not seen, above 0 to 1.

    Raises:
        UsageError: for a value out of range.
    """

    threshold: float = 0.5
    agreement: bool = True
    duplicate_distance: float = 0.01
    max_draws: float = 20.0
    aspect: str = LABEL
    quantile: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise UsageError(
                "curation.threshold is a probability, 0 to 1",
                self.threshold,
                "set curation.threshold=0.5 (--set curation.threshold=0.5)",
            )
        if not 0 <= self.duplicate_distance <= 1:
            raise UsageError(
                "curation.duplicate_distance is a share of the range, 0 to 1",
                self.duplicate_distance,
                "set curation.duplicate_distance=0.01 (--set curation.duplicate_distance=0.01)",
            )
        if not 0 < self.quantile <= 1:
            raise UsageError(
                "curation.quantile is above 0 and at most 1",
                self.quantile,
                "set curation.quantile=0.9 (--set curation.quantile=0.9)",
            )
        if not self.max_draws >= 1:
            raise UsageError(
                "curation.max_draws is at least 1",
                self.max_draws,
                "set curation.max_draws=20 (--set curation.max_draws=20)",
            )


@dataclass(frozen=True)
class ClassCount:
    """What happened to one class; `drawn = accepted + sum of rejected`.

    Example:
        >>> ClassCount("dog", quota=5, drawn=9, accepted=3, rejected={"unsure": 6}).shortfall
        2
    """

    name: str
    quota: int
    drawn: int
    accepted: int
    rejected: Mapping[str, int]

    @property
    def shortfall(self) -> int:
        """Images asked for and not found within `max_draws`."""
        return self.quota - self.accepted


@dataclass(frozen=True)
class Minted:
    """Minted images with what they claim, where each came from, and what was rejected.

    Args:
        images: uint8 `(N, C, H, W)`, by class, then by id.
        values: aspect name to stored values, N rows each.
        ids, seeds: int64 `(N,)`; `sampler.sample(values, ids, seed)` gives the image again.
        scores: `(N,)` arrays: "probability" of the claimed class and "margin" over the next, or
            the "error" of what is claimed (absent without a judge), "nearest": distance to the
            nearest other of its class (infinite where there is no other; absent in classes of more
            than 20 000 images).
        counts: by class.
        curation: the configuration, plain, or None for raw images.
    """

    images: ByteArray
    values: Mapping[str, np.ndarray]
    ids: IntArray
    seeds: IntArray
    scores: Mapping[str, FloatArray]
    counts: tuple[ClassCount, ...]
    curation: Mapping[str, Any] | None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def rejected(self) -> dict[str, int]:
        """Rejected images by reason, all classes together."""
        return {r: sum(c.rejected.get(r, 0) for c in self.counts) for r in REASONS}

    def summary(self) -> dict[str, Any]:
        """Return counts of requested, drawn, accepted and rejected images, in all and by class."""
        return summary_of(self.counts, self.curation) | {"accepted": len(self)}

    def lines(self) -> list[str]:
        """Return the summary as lines for people; a shortfall always has its own line."""
        return lines_of(self.summary())


def summary_of(counts: Sequence[ClassCount], curation: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return counts of requested, drawn, accepted and rejected images, in all and by class.

    Example:
        >>> cats = ClassCount("cat", quota=5, drawn=7, accepted=5, rejected={"unsure": 2})
        >>> dogs = ClassCount("dog", quota=5, drawn=9, accepted=3, rejected={"unsure": 6})
        >>> found = summary_of([cats, dogs], None)
        >>> found["drawn"], found["shortfall"]
        (16, {'dog': 2})
    """
    return {
        "requested": sum(c.quota for c in counts),
        "drawn": sum(c.drawn for c in counts),
        "accepted": sum(c.accepted for c in counts),
        "rejected": {r: sum(c.rejected.get(r, 0) for c in counts) for r in REASONS},
        "shortfall": {c.name: c.shortfall for c in counts if c.shortfall},
        "classes": [to_plain(c) | {"shortfall": c.shortfall} for c in counts],
        "curation": None if curation is None else dict(curation),
    }


def lines_of(summary: Mapping[str, Any]) -> list[str]:
    """Return a summary as lines for people; a shortfall always has its own line.

    Example:
        >>> count = ClassCount("dog", quota=5, drawn=9, accepted=3, rejected={"unsure": 6})
        >>> for line in lines_of(summary_of([count], None)):
        ...     print(line)
        minted 3 of 5 (9 drawn; rejected: 6 unsure)
        short of 2 of 5 images of dog: 9 drawn, 3 kept
    """
    reasons = ", ".join(f"{n} {r}" for r, n in summary["rejected"].items() if n) or "none"
    lines = [
        f"minted {summary['accepted']} of {summary['requested']} "
        f"({summary['drawn']} drawn; rejected: {reasons})"
    ]
    for count in summary["classes"]:
        if count["shortfall"]:
            lines.append(
                f"short of {count['shortfall']} of {count['quota']} images of {count['name']}: "
                f"{count['drawn']} drawn, {count['accepted']} kept"
            )
    return lines


@dataclass(frozen=True)
class _Round:
    """Candidates of one round, all classes together, with what was said of each."""

    images: ByteArray
    ids: IntArray
    labels: IntArray
    values: Mapping[str, np.ndarray]
    reason: np.ndarray  # (N,) str, "" where nothing speaks against it
    scores: Mapping[str, FloatArray]
    views: FloatArray

    def rows(self, rows: IntArray) -> _Round:
        """Return some rows alone; what is left out can be freed."""
        scores, values = ({k: v[rows] for k, v in d.items()} for d in (self.scores, self.values))
        parts = (self.images[rows], self.ids[rows], self.labels[rows], values, self.reason[rows])
        return _Round(*parts, scores, self.views[rows])


@dataclass
class _Filling:
    """One class while it is being filled; `kept` is in the order of ids."""

    index: int
    name: str
    quota: int
    budget: int
    least: float  # distance below which two are duplicates
    known: Kept | None = None
    accepted: int = 0
    drawn: int = 0  # candidates looked at
    requested: int = 0  # candidates sampled
    kept: list[_Round] = field(default_factory=list)
    rejected: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))

    @property
    def whole(self) -> bool:
        """Whether the class is one part, and not several."""
        return self.quota <= TOGETHER

    @property
    def done(self) -> bool:
        return self.accepted >= self.quota or self.requested >= self.budget

    def next_ids(self, classes: int, most: int) -> IntArray:
        """Return ids for the next round: what the acceptance so far suggests, and no more."""
        need = self.quota - self.accepted
        rate = max((self.accepted + 1) / (self.drawn + 1), 0.05)
        n = min(math.ceil(need / rate * 1.1), self.budget - self.requested, most)
        counters = np.arange(self.requested, self.requested + n, dtype=np.int64)
        self.requested += n
        return counters * classes + self.index

    def look(self, candidates: _Round) -> None:
        """Take candidates in the order of their ids until the quota is full."""
        from augmint.minting.nearness import Kept

        if self.known is None:
            channels, height, width = candidates.images.shape[1:]
            self.known = Kept((channels, height, width), self.least, on_disk=not self.whole)
        rows = np.flatnonzero(candidates.labels == self.index)
        fit = rows[candidates.reason[rows] == ""]
        new = self.known.new(candidates.views[fit])
        reason = candidates.reason.copy()
        reason[fit[~new]] = "duplicate"
        taken = fit[new][: self.quota - self.accepted]
        full = self.accepted + len(taken) == self.quota
        seen = rows[rows <= taken[-1]] if full else rows  # none beyond the last one needed
        for name in REASONS:
            self.rejected[name] += int((reason[seen] == name).sum())
        self.drawn += len(seen)
        self.accepted += len(taken)
        self.known.add(candidates.views[taken])
        part = candidates.rows(taken)
        # a large class is not compared within a part, and its descriptors lie on disk
        self.kept.append(part if self.whole else replace(part, views=part.views[:0]))


def mint(
    sampler: Sampler,
    judge: Judge | Review | None,
    schema: Schema,
    quotas: Mapping[int, int],
    config: CurationConfig,
    seed: int,
    progress: bool = True,
    is_copy: Callable[[ByteArray], np.ndarray] | None = None,
) -> Minted:
    """Draw images for each class until its quota is filled or its budget of draws is spent.

    Args:
        sampler: draws images for aspects; one that gives `pairs` chooses or draws those left open.
        judge: trained on real images (of another aspect than the class: a `Review`), or None: then
            nothing is rejected (raw).
        schema: the aspects; classes are those of the category `config.aspect`.
        quotas: images wanted by class index; without such a category 0 stands for all.
        config: what an image must pass.
        seed: of every random number; ids do the rest.
        progress: show a bar or quiet lines.
        is_copy: tells which of uint8 images `(N, C, H, W)` are copies of training images.

    Raises:
        UsageError: if a class or a quota is out of range, or the judge knows other classes.

    Example:
        >>> from types import SimpleNamespace
        >>> from augmint.aspects.base import Schema
        >>> from augmint.aspects.category import Category
        >>> blank, label = np.zeros((9, 1, 8, 8), np.uint8), Category("label", ("cat", "dog"))
        >>> sampler = SimpleNamespace(sample=lambda wanted, ids, seed: blank[ids])
        >>> mint(sampler, None, Schema((label,)), {1: 3}, CurationConfig(), 0, progress=False).ids
        array([1, 3, 5])
    """
    parts = list(mint_parts(sampler, judge, schema, quotas, config, seed, progress, is_copy))
    counts = tuple(c for part in parts for c in part.counts)
    full = [part for part in parts if len(part)]
    if not full:
        tried = ", ".join(f"{c.drawn} of {c.name}" for c in counts) or "no class"
        raise DataError(
            "minting keeps at least one image",
            f"none of what was drawn ({tried})",
            "in a new folder, train longer (--set generator.steps=10000) or ask for less "
            "(--set curation.threshold=0.3; of points, masks and values --set curation.quantile=1)",
        )
    shared = [n for n in full[0].scores if all(n in part.scores for part in full)]
    return Minted(
        images=np.concatenate([part.images for part in full]),
        values={n: np.concatenate([p.values[n] for p in full]) for n in full[0].values},
        ids=np.concatenate([part.ids for part in full]),
        seeds=np.concatenate([part.seeds for part in full]),
        scores={n: np.concatenate([p.scores[n] for p in full]) for n in shared},
        counts=counts,
        curation=full[0].curation,
    )


def mint_parts(
    sampler: Sampler,
    judge: Judge | Review | None,
    schema: Schema,
    quotas: Mapping[int, int],
    config: CurationConfig,
    seed: int,
    progress: bool = True,
    is_copy: Callable[[ByteArray], np.ndarray] | None = None,
) -> Iterator[Minted]:
    """Mint as `mint` does and yield the images in parts of about 20 000,
    so that memory stays small.

    Parts are in the order of classes and ids; together they are what `mint` returns. The counts of
    a class stand in its last part. What is remembered of all images of a class, to tell
    duplicates, is some 200 bytes an image.

    Raises:
        UsageError: as `mint`, when the first part is asked for.
    """
    names = class_names(schema, config.aspect)
    wanted = sorted(_checked(quotas, names).items())
    least = 0.0 if judge is None else config.duplicate_distance
    total = sum(quota for _, quota in wanted)
    review = _review(judge, schema, config)
    asked = config.aspect if config.aspect in schema else None
    source = _Source(sampler, review, asked, len(names), config, seed, is_copy)
    with Progress(total, "mint", unit="image") if progress else nullcontext() as bar:
        for group in _groups(wanted):
            classes = [
                _Filling(c, names[c], n, math.floor(n * config.max_draws), least) for c, n in group
            ]
            while waiting := [c for c in classes if not c.done]:
                before = sum(c.accepted for c in waiting)
                source.fill(waiting)
                if bar is not None:
                    bar.advance(sum(c.accepted for c in waiting) - before)
                held = sum(len(part.ids) for c in classes for part in c.kept)
                if held >= TOGETHER and not classes[0].whole and not classes[0].done:
                    yield source.part(classes, last=False)
                    classes[0].kept.clear()
            yield source.part(classes, last=True)


def _groups(wanted: Sequence[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Split (class, quota) pairs into runs of `TOGETHER` images at most, larger classes alone."""
    group: list[tuple[int, int]] = []
    for pair in wanted:
        if group and sum(n for _, n in group) + pair[1] > TOGETHER:
            yield group
            group = []
        group.append(pair)
    if group:
        yield group


@dataclass(frozen=True)
class _Source:
    """Where candidates come from, and what is asked of each."""

    sampler: Sampler
    review: Review | None
    asked: str | None  # the category whose classes have quotas
    classes: int
    config: CurationConfig
    seed: int
    is_copy: Callable[[ByteArray], np.ndarray] | None

    def fill(self, waiting: Sequence[_Filling]) -> None:
        """Draw one round of candidates for the classes and let each take what it can use."""
        import torch

        from augmint.minting.nearness import descriptors

        most = max(1, _ROUND // len(waiting))
        ids = np.concatenate([c.next_ids(self.classes, most) for c in waiting])
        labels = ids % self.classes
        asked = {} if self.asked is None else {self.asked: torch.from_numpy(labels)}
        images, values = _pairs(self.sampler, asked, ids, self.seed)
        reason: np.ndarray = np.full(len(ids), "", "U9")
        scores: dict[str, FloatArray] = {}
        if self.review is not None:
            reason, scores = self.review(images, values)
        if self.is_copy is not None and self.review is not None:
            fit = np.flatnonzero(reason == "")
            if len(fit):
                reason[fit[np.asarray(self.is_copy(images[fit]), bool)]] = "copy"
        candidates = _Round(images, ids, labels, values, reason, scores, descriptors(images))
        for c in waiting:
            c.look(candidates)

    def part(self, classes: Sequence[_Filling], last: bool) -> Minted:
        """Return what the classes hold."""
        from augmint.minting.nearness import nearest_other

        rounds = [part for c in classes for part in c.kept]
        ids = np.concatenate([part.ids for part in rounds])
        scores = {n: np.concatenate([p.scores[n] for p in rounds]) for n in rounds[0].scores}
        if all(c.whole for c in classes):
            views = [np.concatenate([p.views for p in c.kept]) for c in classes]
            scores["nearest"] = np.concatenate([nearest_other(v) for v in views])
        counts = [
            ClassCount(c.name, c.quota, c.drawn, c.accepted, dict(c.rejected)) for c in classes
        ]
        return Minted(
            images=np.concatenate([part.images for part in rounds]),
            values={n: np.concatenate([p.values[n] for p in rounds]) for n in rounds[0].values},
            ids=ids,
            seeds=np.full(len(ids), self.seed, np.int64),
            scores=scores,
            counts=tuple(counts) if last else (),
            curation=None if self.review is None else to_plain(self.config),
        )


def class_names(schema: Schema, name: str) -> tuple[str, ...]:
    """Return the names that quotas are for: the classes of a category, or one for everything.

    Raises:
        UsageError: if the aspect of this name is no category.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.aspects.category import Category
        >>> class_names(Schema((Category("label", ("cat", "dog")),)), "label")
        ('cat', 'dog')
        >>> class_names(Schema(()), "label")
        ('all',)
    """
    if name not in schema and not schema.of_kind("category"):
        return (EVERYTHING,)
    if schema[name].kind != "category":
        raise UsageError(
            "images are minted by class",
            f"{name}, a {schema[name].kind}",
            "set curation.aspect to a category (--set curation.aspect=label)",
        )
    return cast("Category", schema[name]).classes


def _checked(quotas: Mapping[int, int], names: Sequence[str]) -> dict[int, int]:
    for index, quota in quotas.items():
        if not 0 <= index < len(names):
            raise UsageError(
                f"a quota is for a class, 0 to {len(names) - 1}",
                index,
                f"ask for one of {', '.join(names[:LISTED])} by its index",
            )
        if quota < 0:
            raise UsageError(
                "a quota is not negative",
                quota,
                f"ask for 0 or more of {names[index]} (--quota {names[index]}=50)",
            )
    return {int(c): int(n) for c, n in quotas.items() if n}


def _review(judge: Judge | Review | None, schema: Schema, config: CurationConfig) -> Review | None:
    if judge is None or isinstance(judge, Review):
        return judge
    if not schema.of_kind("category"):
        raise UsageError(
            "a judge of classes needs classes",
            f"no {config.aspect} in the schema",
            "mint without curation (--raw)",
        )
    category = cast("Category", schema[config.aspect])
    return ByClass(judge, category, config.threshold, config.agreement)


def _pairs(
    sampler: Sampler, asked: AspectValues, ids: IntArray, seed: int
) -> tuple[ByteArray, dict[str, np.ndarray]]:
    """Return images and all that they claim to carry."""
    from augmint.minting.sampler import PairingSampler

    if isinstance(sampler, PairingSampler):
        return sampler.pairs(asked, ids, seed)
    images = sampler.sample(asked, ids, seed)
    return images, {name: value.numpy() for name, value in asked.items()}

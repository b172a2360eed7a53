"""`evaluate`: minted images beside real ones, with the protocols of a study and no verdict.

DIR/evaluate.html   the comparison, one file    DIR/pictures/   what it shows
DIR/evaluate.json   the same numbers
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from augmint.aspects.category import LABEL
from augmint.core.errors import DataError, nearest
from augmint.core.machine import resolve_device
from augmint.core.progress import Progress
from augmint.core.runs import provenance
from augmint.core.storage import storage
from augmint.data.ingest import ingest
from augmint.data.splits import folds
from augmint.metrics.base import Protocol
from augmint.metrics.copying import CopyingReport, assess
from augmint.metrics.image import pairwise_diversity
from augmint.studies.assemble import side_by_side
from augmint.studies.claims import claims_row, halves, plan_of, shared_annotations
from augmint.studies.gallery import by_class, neighbours
from augmint.studies.graph import PAIRS
from augmint.studies.judging import Judge, cross_fitted, distances
from augmint.studies.materials import real_source
from augmint.studies.report.render import render_evaluation, to_json, write_page
from augmint.studies.rows import HELD_OUT
from augmint.studies.steps import copying_row
from augmint.studies.study import parse_size
from augmint.studies.telling import lines_of, recognised
from augmint.tasks.classification import ClassificationTask
from augmint.tasks.config import TaskConfig
from augmint.tasks.rows import RealRows

if TYPE_CHECKING:
    from augmint.core.types import ByteArray, IntArray
    from augmint.data.table import Table

FEWEST = 4
"""Images a class that judges on halves need at least."""

SPLIT = "real, cross-fitted halves"
"""What real images distances are taken to, as protocols state it."""

FALSE_FLAGS = 0.005
"""Share of honest images that the copy check may flag; a lower one misses weaker copies."""


@dataclass(frozen=True)
class EvaluateOptions:
    """What a caller may say of an evaluation.

    Args:
        steps: optimiser steps of each of the two judges.
        seed: of judges, halves and pairs.
        size: side to which both sets are resampled.
        device: where judges are trained.
        command: what the report says to repeat it.
    """

    steps: int = 600
    seed: int = 0
    size: str | None = None
    device: str = "auto"
    command: str = ""


def evaluate(real: str, minted: str, out: Path | None, options: EvaluateOptions) -> dict[str, Any]:
    """Compare minted with real images and return what `evaluate.json` holds.

    Two judges learn from one half of the real training images each and report on the other half;
    their answers and features give label truth and distances. The copy check is calibrated on real
    images apart: the data set's own test or validation part, or else each half against the other.
    Annotations that both sets hold are read by networks cross-fitted likewise (`claims`); without
    classes distances are taken in the features of those that read the first annotation.

    Args:
        real: as the data of `prove`; images marked as minted are refused.
        minted: a folder that `mint` wrote, or any data set with the same classes or annotations.
        out: where `evaluate.html` and `evaluate.json` go; None writes nothing.
        options: see there.

    Raises:
        DataError, UsageError: before anything is trained.
    """
    started = time.monotonic()
    size = parse_size(options.size)
    if out is not None:
        with storage(out):
            out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="augmint-") as scratch:
        tables = [
            ingest(data, Path(scratch) / name, size=size, workers=os.cpu_count() or 1)
            for name, data in (("real", real), ("minted", minted))
        ]
        compared = _Pair.of(*tables)
        found, pictures = _compared(compared, options)
    report = {
        **_headline(compared, found, Path(minted).name or minted),
        **found,
        "data": compared.described(real, minted),
        "warnings": compared.warnings(),
        "seconds": round(time.monotonic() - started, 3),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": options.command or f"augmint evaluate {real} {minted}",
        "machine": provenance(),
    }
    report = to_json({"augmint": report["machine"]["augmint"], **report})
    if out is not None:
        write_page(out, "evaluate", render_evaluation(report, pictures), report, pictures)
    return report


def lines(report: Mapping[str, Any]) -> list[str]:
    """Return an evaluation as lines for a terminal."""
    data = report["data"]
    told = [
        report["headline"],
        *(
            f"{kind:<13} {line}"
            for kind in ("real", "minted")
            for line in lines_of(data[kind], data[f"{kind}_recognised"])
        ),
    ]
    for truth in report["label_truth"]:
        told.append(
            f"label truth   {truth['value']:.1%} carry their label "
            f"(the judges are right on {truth['judge_accuracy']:.1%} of real images)"
        )
    told += [f"{row['aspect']:<13} {_words(row)}" for row in report["annotations"]]
    for row in report["distribution"]:
        value = "refused: " + row["refused"] if row["refused"] else f"{row['value']:.4g}"
        floor = "" if row["refused"] else f"  floor {row['floor']:.4g}"
        told.append(f"{row['metric']:<13} {value}{floor}")
    if report["distribution"]:
        protocol = {**report["distribution"][0]["protocol"], "settings": {}}
        told.append(f"              {Protocol(**protocol).text()}")
    for kind in ("within", "between"):
        for measure, pair in report["diversity"].get(kind, {}).items():
            if measure == "ssim":
                shown = f"minted {pair['minted']:.3f}, real {pair['real']:.3f}"
                told.append(f"diversity     SSIM {kind} classes: {shown}")
    told.append(f"copying       {report['copying']['text']}")
    return [*told, *(f"warning       {w}" for w in report["warnings"])]


def _words(row: Mapping[str, Any]) -> str:
    """Return what was found of one annotation, in words."""
    if not row["n"]:
        return str(row["protocol"])
    return (
        f"error {row['error']:.3g} against what {row['n']} minted images claim, {row['own']:.3g} "
        f"on real images ({row['unit']})"
    )


@dataclass(frozen=True)
class _Pair:
    """Real and minted images that can be compared.

    Args:
        real, minted: the images.
        annotations: names of those that both hold.
    """

    real: Table
    minted: Table
    annotations: tuple[str, ...] = ()

    @classmethod
    def of(cls, real: Table, minted: Table) -> _Pair:
        """Return two tables with what both hold."""
        return cls(real, minted, tuple(shared_annotations(real, minted)))

    @property
    def classes(self) -> bool:
        """Whether both sets have classes."""
        return LABEL in self.real.schema and LABEL in self.minted.schema

    def __post_init__(self) -> None:
        if self.real.shape != self.minted.shape:
            channels, height, width = self.minted.shape
            size = f"{height}" if height == width else f"{height}x{width}"
            raise DataError(
                "real and minted images have one shape (channels, height, width)",
                f"{self.real.shape} and {self.minted.shape}",
                f"bring both to one size with size='{size}' (--size {size})"
                if self.real.shape[0] == channels
                else "save both with the same number of channels",
            )
        inside = len(self.real.origins.get("minted", ()))
        if inside:
            raise DataError(
                "minted images are compared with real images alone",
                f"{inside} of the real images are marked as minted",
                "give the real data set first, the minted one second",
            )
        if self.classes:
            self._check_classes()
        elif not self.annotations:
            held = (", ".join(a.name for a in t.schema) or "nothing" for t in self.tables)
            raise DataError(
                "an evaluation judges by classes or annotations that both sets hold",
                " and ".join(held),
                "give minted images with annotations of the real ones (augmint check tells them)",
            )

    def _check_classes(self) -> None:
        known = self.real.classes()
        for name in self.minted.classes():
            if name not in known:
                raise DataError(
                    "a minted class is one of the real classes", name, nearest(name, known)
                )
        counts = np.bincount(self.real.labels()[self.rows])
        if len(counts) < 2 or counts[counts > 0].min() < FEWEST:
            raise DataError(
                f"an evaluation needs 2 classes of at least {FEWEST} real images",
                f"{counts.tolist()} images a class",
                "add real images",
            )

    @property
    def tables(self) -> tuple[Table, Table]:
        """Both, the real one first."""
        return self.real, self.minted

    @property
    def rows(self) -> IntArray:
        """The real rows that judges may learn from."""
        parts = self.real.parts
        found = parts.get("train", parts.get("all", np.arange(len(self.real))))
        return np.asarray(found, np.int64)

    @property
    def labels(self) -> IntArray:
        """The minted images' labels, as indices of the real classes; 0 without classes."""
        if not self.classes:
            return np.zeros(len(self.minted), np.int64)
        known = self.real.classes()
        indices = np.array([known.index(n) for n in self.minted.classes()], np.int64)
        return np.asarray(indices[self.minted.labels()], np.int64)

    @property
    def strata(self) -> IntArray:
        """The real images' labels; 0 without classes."""
        return self.real.strata() if self.classes else np.zeros(len(self.real), np.int64)

    def apart(self) -> list[tuple[IntArray, IntArray, str]]:
        """(searched rows, rows to calibrate with, what the latter are) of each copy check."""
        for part in ("test", "validation"):
            held = np.asarray(self.real.parts.get(part, ()), np.int64)
            if "train" in self.real.parts and len(held):
                chosen = held[np.linspace(0, len(held) - 1, min(HELD_OUT, len(held))).astype(int)]
                return [(self.rows, np.unique(chosen), f"the real set's {part} part")]
        parts = folds(self.strata, self.rows, 2, 0)
        return [(fit, held, "the other half of the real images") for fit, held in parts]

    def described(self, real: str, minted: str) -> dict[str, Any]:
        """Return what was compared."""
        return {
            "real": real,
            "real_recognised": recognised(self.real),
            "real_images": len(self.rows),
            "minted": minted,
            "minted_recognised": recognised(self.minted),
            "minted_images": len(self.minted),
            "shape": list(self.real.shape),
            "classes": list(self.real.classes()) if self.classes else [],
            "real_digest": self.real.digest,
            "minted_digest": self.minted.digest,
        }

    def warnings(self) -> list[str]:
        """Return what a reader should know before he compares numbers."""
        told = []
        if self.classes:
            present = {self.minted.classes()[i] for i in np.unique(self.minted.labels())}
            missing = [name for name in self.real.classes() if name not in present]
            if missing:
                told.append(
                    f"no minted image of {', '.join(missing[:5])}: distances count that too"
                )
        elif LABEL in self.real.schema or LABEL in self.minted.schema:
            told.append("classes are not compared: one of the sets has none")
        if len(self.minted.origins.get("minted", ())) < len(self.minted):
            told.append("not every minted image is marked as minted (origin in metadata.jsonl)")
        bad = len(self.real.quarantined) + len(self.minted.quarantined)
        if bad:
            told.append(f"{bad} files could not be read and are left out")
        return told


def _compared(pair: _Pair, options: EvaluateOptions) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return every measured section of the report, and the pictures."""
    real, labels = pair.real, pair.labels
    images = np.ascontiguousarray(pair.minted.images)
    checks = pair.apart()
    plans = {
        name: plan_of(real, pair.rows, name, options.steps, options.seed)
        for name in pair.annotations
    }
    device = str(resolve_device(options.device))
    total = 1 + 2 * (pair.classes + len(plans)) + len(checks)
    with _parts(total) as done:
        truth: list[dict[str, Any]] = []
        if pair.classes:
            of_classes, distribution = _judged(pair, images, options, done)
            truth = [of_classes]
        annotations = []
        for name, plan in plans.items():
            read = halves(replace(plan, device=device), real, pair.rows, partial(next, done))
            annotations.append(claims_row(read, pair.minted))
            if not pair.classes and name == pair.annotations[0]:
                blind = (Judge(half.reading.trained, half.held, half.held) for half in read)
                distribution = distances(blind, images, SPLIT, options.seed)
        copies = []
        for fit, held, source in checks:
            train, other = (np.ascontiguousarray(real.images[r]) for r in (fit, held))
            alpha = max(FALSE_FLAGS, 1.0 / (len(other) + 1))
            copies.append(
                assess(train, other, images, seed=options.seed, alpha=alpha, held_out_source=source)
            )
            next(done)
        origins = (("minted", images, labels), ("real", real.images[pair.rows], None))
        diversity = {
            name: pairwise_diversity(
                np.asarray(of),
                pair.strata[pair.rows] if given is None else given,
                PAIRS,
                options.seed,
            )
            for name, of, given in origins
        }
        pictures = _pictures(pair, images, copies)
        next(done)
    found = {
        "label_truth": truth,
        "annotations": annotations,
        "distribution": distribution,
        "diversity": side_by_side(diversity, PAIRS),
        "copying": pooled(copies),
    }
    return found, pictures


def _judged(
    pair: _Pair, images: ByteArray, options: EvaluateOptions, done: Iterator[None]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return label truth and distances, by judges trained on one half of the real images each."""
    device = str(resolve_device(options.device))
    real, config = pair.real, TaskConfig(steps=options.steps)

    def judges() -> Iterator[Judge]:
        for i, (fit, held) in enumerate(folds(real.labels(), pair.rows, 2, options.seed)):
            sources = [real_source(real, fit)]
            network = ClassificationTask().train(
                config, real.schema, real.shape, sources, "affine", options.seed + i, device
            )
            rest = RealRows.of(real, held)
            yield Judge(network, rest, rest)
            next(done)

    truth, distribution = cross_fitted(judges(), images, {LABEL: pair.labels}, SPLIT, options.seed)
    return {"judge": "cross-fitted on halves of the real images", **truth}, distribution


def pooled(checks: Sequence[CopyingReport]) -> dict[str, Any]:
    """Return copy checks of the same images against disjoint real ones as one.

    An image is flagged where any check flags it; expectations add up; p is Bonferroni's; recall is
    that of the worst check.
    """
    rows = [copying_row(c) for c in checks]
    worst = min(rows, key=lambda r: r["recall"])
    flagged = len({i for c in checks for i in c.flagged})
    expected = sum(r["expected_flags"] for r in rows)
    p, minted = min(1.0, min(r["p"] for r in rows) * len(rows)), rows[0]["minted"]
    assessed = all(r["assessed"] for r in rows)
    where = worst["source"] + (", both ways" if len(rows) > 1 else "")
    return {
        **worst,
        "flagged": flagged,
        "share": flagged / minted,
        "expected_flags": expected,
        "assessed": assessed,
        "p": p,
        "source": where,
        "text": (
            f"{flagged} of {minted} minted images lie suspiciously near a real one; chance alone "
            f"would flag at most {expected:.1f} (p = {p:.2g}). The detector found "
            f"{worst['recall']:.0%} of planted copies"
            + ("." if assessed else ", under 95 %: copying is not assessed.")
        ),
    }


def _pictures(pair: _Pair, images: ByteArray, copies: Sequence[CopyingReport]) -> dict[str, bytes]:
    real, every = pair.real, np.arange(len(images))
    known = np.ascontiguousarray(real.images[pair.rows])
    name = next((n for n in pair.annotations if real.schema[n].spatial), None)
    shown = None if name is None else real.schema[name]
    of_real, of_minted = (None if name is None else t.values[name] for t in pair.tables)
    pictures = {
        "real": by_class(real.images, pair.strata, pair.rows, shown, of_real),
        "minted": by_class(images, pair.labels, every, shown, of_minted),
        "pairs": neighbours(images, known),
    }
    flagged = list(dict.fromkeys(i for c in copies for i in c.flagged))
    if flagged:
        pictures["flagged"] = neighbours(images[flagged[:12]], known)
    return pictures


def _headline(pair: _Pair, found: Mapping[str, Any], title: str) -> dict[str, Any]:
    """Return the summary: a title, a sentence, and the numbers to look at first."""
    copying = found["copying"]
    by_name = {r["metric"]: r for r in found["distribution"] if r["value"] is not None}
    facts, said = _told(found)
    for name, shown in (("kid", "KID (floor)"), ("coverage", "Coverage (floor)")):
        if name in by_name:
            facts[shown] = f"{by_name[name]['value']:.3g} ({by_name[name]['floor']:.3g})"
    facts["Flagged as copies"] = (
        f"{copying['flagged']} of {copying['minted']}" if copying["assessed"] else "not assessed"
    )
    if "kid" in by_name:
        said.append(
            f"In their features the kernel distance (KID) to real images is "
            f"{by_name['kid']['value']:.3g}, where one half of the real images is "
            f"{by_name['kid']['floor']:.3g} from the other."
        )
    headline = f"{len(pair.minted)} minted images beside {len(pair.rows)} real ones"
    return {"title": title, "headline": headline, "sentence": " ".join(said), "facts": facts}


def _told(found: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """Return facts and sentences on whether minted images are what they claim to be."""
    facts: dict[str, str] = {}
    said: list[str] = []
    for truth in found["label_truth"]:
        value, accuracy = (f"{100.0 * truth[k]:.1f} %" for k in ("value", "judge_accuracy"))
        facts |= {"Label truth": value, "Judges on real images": accuracy}
        said.append(
            f"Judges trained on real images recognise {value} of the minted images as what they "
            f"claim to be; of real images they recognise {accuracy}."
        )
    for row in (r for r in found["annotations"] if r["n"]):
        error, own = (f"{row[k]:.3g}" for k in ("error", "own"))
        facts[f"Error of {row['aspect']} (on real images)"] = f"{error} ({own})"
        said.append(
            f"Networks trained on real images find an error of {error} ({row['unit']}) in the "
            f"{row['aspect']} that minted images claim, and of {own} on real images."
        )
    return facts, said


@contextmanager
def _parts(total: int) -> Iterator[Iterator[None]]:
    """Progress over the parts of an evaluation; `next` counts one as done."""
    with Progress(total, "evaluate", unit="parts") as progress:

        def count() -> Iterator[None]:
            while True:
                progress.advance()
                yield

        yield count()

"""The question a study asks: its configuration, its presets, and how options become one.

Later sources win: the preset, then the YAML file, then named options, then `--set`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from augmint.augmentation.policies import CLASSIC_POLICIES
from augmint.core.config import build, read_yaml, to_plain, with_overrides
from augmint.core.errors import UsageError, nearest
from augmint.core.registry import ASPECTS, CONDITIONING, TASKS
from augmint.data.ingest import built_in_spec
from augmint.minting.curation import CurationConfig
from augmint.studies.arms import ARMS, BALANCED, BASELINE, TREATMENT, ScoredOn
from augmint.studies.gap import Gap
from augmint.studies.tuning import CheckpointRule, TuningConfig
from augmint.tasks.config import TaskConfig
from augmint.training.config import GanConfig

_DEFAULT_ARMS = ("classic", "minted", "shuffled", "more-real")


@dataclass(frozen=True)
class PolicySearch:
    """How the classic policy is chosen: by cross-validation on pilot seeds, once a study.

    Args:
        candidates: registered augmenters, "none" among them.
        folds: parts of the labelled images; each is predicted by a network trained on the rest.
        pilot_seeds: independent draws of the labelled images.
    """

    candidates: tuple[str, ...] = ("none", "shift", "affine", "flip-affine", "affine-colour")
    folds: int = 2
    pilot_seeds: int = 1

    def __post_init__(self) -> None:
        if "none" not in self.candidates:
            raise UsageError(
                "the policies tried include none",
                list(self.candidates),
                "add none to policy.candidates, or the baseline may be weaker than real images "
                "alone",
            )
        if self.folds < 2:
            raise UsageError(
                "cross-validation has at least 2 folds", self.folds, "set policy.folds=2"
            )


@dataclass(frozen=True)
class StudyConfig:
    """Everything that a study's numbers depend on, besides the data and the code.

    Args:
        data: where the images are.
        format: how they are read, a name or `{name: …}` with its fields; None: as recognised.
        arms: names of `ARMS`; `classic` and `minted` always among them.
        seeds: J repetitions; each redraws training subset, initialisation, order, augmentation,
            generator training and sampling together.
        per_class: N labelled images a class; None: the whole training part.
        delta: smallest effect of interest in points; None: the protocol's default.
        ratio: share of each batch that is minted.
        minted_per_class: minted images a class; None: 5 N within 50 … 1 000.
        test_share: share of a set without a test part that becomes the fixed test set.
        held_out_share: share of the training images kept to calibrate the copy detector, where
            nothing else is held back.
        levels: shares of N at which the baseline is also trained, for the learning curve.
        ratios: minted shares at which the treatment is also tried, at N and at every level.
        checkpoint: which of a generator's weights mint, "last" or "best-kid".
        tuning: candidates of ratio, threshold and checkpoint, chosen on validation images.
        long_tail: labelled images of the first class over those of the last; the first has N,
            the others fall exponentially in the order of the classes. None: N of each.
        gap: a range of a number that labelled images lack, that is minted and that scores (N a
            class are labelled outside it); None: none.
        scored_on: "test", or "held-back": a fixed sample of the training images scores and the
            test set stays closed, for trying ideas.
        size: side (height, width) to which all images are resampled; None: as they are.
        drop_duplicates: leave out training images that also stand in another part.
        seed: of the whole study.
        pilot_seeds: repetitions that measure the spread before anything costly is trained.

    Example:
        >>> study = StudyConfig("digits")
        >>> study.mint_count(10), study.mint_count(40), study.mint_count(300)
        (50, 200, 1000)
    """

    data: str
    format: str | None = None
    arms: tuple[str, ...] = _DEFAULT_ARMS
    seeds: int = 3
    per_class: int | None = None
    delta: float | None = None
    ratio: float = 0.25
    minted_per_class: int | None = None
    test_share: float = 0.5
    held_out_share: float = 0.15
    levels: tuple[float, ...] = ()
    ratios: tuple[float, ...] = ()
    checkpoint: CheckpointRule = "last"
    long_tail: float | None = None
    gap: Gap | None = None
    scored_on: ScoredOn = "test"
    size: tuple[int, int] | None = None
    drop_duplicates: bool = False
    seed: int = 0
    pilot_seeds: int = 2
    task: TaskConfig = field(default_factory=TaskConfig)
    generator: GanConfig = field(default_factory=GanConfig)
    curation: CurationConfig = field(default_factory=CurationConfig)
    policy: PolicySearch = field(default_factory=PolicySearch)
    tuning: TuningConfig = field(default_factory=TuningConfig)

    def __post_init__(self) -> None:
        for arm in self.arms:
            if arm not in ARMS:
                raise UsageError("an arm is a name of the protocol", arm, nearest(arm, ARMS))
        for arm in (BASELINE.name, TREATMENT.name):
            if arm not in self.arms:
                raise UsageError(
                    f"every study has the arm {arm}", list(self.arms), f"add {arm} to arms"
                )
        if self.seeds < 2:
            raise UsageError("a study has at least 2 seeds", self.seeds, "pass seeds=3 (--seeds 3)")
        if self.pilot_seeds < 2:
            raise UsageError(
                "a pilot has at least 2 seeds", self.pilot_seeds, "--set pilot_seeds=2"
            )
        if self.per_class is not None and self.per_class < 4:
            raise UsageError(
                "a study has at least 4 labelled images a class",
                self.per_class,
                "pass per_class=10 (--per-class 10) or more",
            )
        shares = {n: getattr(self, n) for n in ("ratio", "test_share", "held_out_share")}
        for name in ("levels", "ratios"):
            shares |= {f"{name}[{i}]": v for i, v in enumerate(getattr(self, name))}
        for name, value in shares.items():
            if not 0.0 < value < 1.0:
                raise UsageError(f"{name} lies between 0 and 1", value, f"--set {name}=0.25")
        if self.long_tail is not None:
            self._check_tail(self.long_tail)
        if self.gap is not None:
            self._check_gap()
        if self.delta is not None and self.delta <= 0:
            raise UsageError(
                "the smallest effect of interest is above 0 points",
                self.delta,
                "pass delta=0.5 (--delta 0.5)",
            )

    def _check_tail(self, factor: float) -> None:
        if self.per_class is None:
            raise UsageError(
                "a long tail falls from a number of images of the first class",
                "none",
                "pass per_class=100 (--per-class 100)",
            )
        if not factor > 1 or round(self.per_class / factor) >= self.per_class:
            raise UsageError(
                "the last class of a long tail has fewer images than the first",
                f"factor {factor:g} of {self.per_class}",
                "pass long_tail=50 (--long-tail 50)",
            )
        if BALANCED.name not in self.arms:
            raise UsageError(
                f"a long-tailed study has the arm {BALANCED.name}, or it credits minting with "
                "what balancing the classes does",
                list(self.arms),
                f"add {BALANCED.name} to arms",
            )
        self._check_one_level("in a long-tailed study minted images fill up the rare classes")

    def _check_gap(self) -> None:
        if self.per_class is None or self.long_tail is not None:
            raise UsageError(
                "a gap is in a number of labelled images, the same of each class",
                "none" if self.per_class is None else "a long tail",
                "pass per_class=100 (--per-class 100), and no long tail",
            )
        self._check_one_level("in a study with a gap images are minted for it alone")
        if self.tuning.active:
            raise UsageError(
                "settings are tuned on labelled images, which lack the gap",
                "tuning",
                "--set tuning.thresholds=[] --set tuning.checkpoints=[]",
            )

    def _check_one_level(self, rule: str) -> None:
        for name, given in (
            ("levels", self.levels),
            ("ratios", self.ratios),
            ("tuning.ratios", self.tuning.ratios),
        ):
            if given:
                raise UsageError(
                    f"{rule}, at one level", f"{name}={list(given)}", f"--set {name}=[]"
                )

    def mint_count(self, labelled_per_class: int) -> int:
        """Return the minted images a class, for `labelled_per_class` real ones."""
        return self.minted_per_class or max(50, min(1000, 5 * labelled_per_class))


PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "task": {"steps": 300},
        "generator": {"steps": 1500},
    },
    "standard": {
        "arms": ["real", "classic", "repeat", "minted", "minted-only", "shuffled", "more-real"],
        "seeds": 5,
        "levels": [0.125, 0.25, 0.5],
        "pilot_seeds": 3,
        "task": {"steps": 1000},
        "generator": {"steps": 5000},
        "policy": {"candidates": list(CLASSIC_POLICIES), "folds": 3},
    },
    "full": {
        "arms": list(ARMS),
        "seeds": 10,
        "levels": [0.125, 0.25, 0.5],
        "ratios": [0.1, 0.25, 0.5],
        "pilot_seeds": 4,
        "task": {"steps": 2000},
        "generator": {"steps": 10000},
        "policy": {"candidates": list(CLASSIC_POLICIES), "folds": 4, "pilot_seeds": 2},
        "tuning": {
            "ratios": [0.1, 0.25, 0.5],
            "thresholds": [0.5, 0.8],
            "checkpoints": ["last", "best-kid"],
        },
    },
}

BUILT_IN: dict[str, dict[str, Any]] = {
    "digits": {"per_class": 10},
    "toy": {"per_class": 40},
    "toy-faces": {"per_class": 40},
    "toy-eyes": {"per_class": 200},
}
"""What a built-in set adds to a preset: few labels, which is the case augmint is for."""


ASKED: dict[str, Any] = {"conditioning": "vac-var", "fake_aspects": "mixed"}
"""What a task changes in a preset's generator where images are asked for numbers."""

LONG_TAIL: dict[str, Any] = {"levels": [], "ratios": [], "tuning": {"ratios": []}}
"""What a long tail changes in a preset, besides adding the arm that balances the classes."""

GAP: dict[str, Any] = {
    "levels": [],
    "ratios": [],
    "tuning": {"ratios": [], "thresholds": [], "checkpoints": []},
    "generator": ASKED,
}
"""What a gap changes in a preset: its number is asked for."""


@dataclass(frozen=True)
class ProveOptions:
    """What a caller may say; everything not said comes from the preset."""

    preset: str = "quick"
    task: str | None = None
    per_class: int | None = None
    seeds: int | None = None
    format: str | None = None
    delta: float | None = None
    scored_on: str | None = None
    long_tail: float | None = None
    gap: str | None = None
    model: str | None = None
    weights: str | None = None
    size: str | None = None
    workers: int | None = None
    backend: str = "loky"
    address: str | None = None
    device: str = "auto"
    drop_duplicates: bool = False
    config: str | None = None
    settings: Sequence[str] | Mapping[str, Any] = ()
    dry_run: bool = False
    command: str = ""
    track: Sequence[str] = ()


def resolve(data: str, options: ProveOptions) -> StudyConfig:
    """Return the complete configuration that `options` ask for.

    Raises:
        UsageError: an unknown preset, field or value.

    Example:
        >>> study = resolve("digits", ProveOptions(seeds=4, settings=["task.steps=50"]))
        >>> study.seeds, study.task.steps, study.per_class
        (4, 50, 10)
    """
    if options.preset not in PRESETS:
        raise UsageError(
            "the preset is a known one", options.preset, nearest(options.preset, PRESETS)
        )
    named = built_in_spec(data)
    own = {} if named is None else BUILT_IN.get(named["name"], {})
    fields = merge(PRESETS[options.preset], own)
    from_file = {} if options.config is None else read_yaml(Path(options.config))
    asked = options.task or _setting(options, "task.kind")
    gap = _asked_for("gap", options, from_file)
    fields = merge(fields, _of_task(asked, from_file, gap))
    if _asked_for("long_tail", options, from_file):
        arms = [a for a in fields.get("arms", _DEFAULT_ARMS) if a != BALANCED.name]
        fields = merge(fields, LONG_TAIL)
        fields["arms"] = [BASELINE.name, BALANCED.name, *(a for a in arms if a != BASELINE.name)]
    if gap:
        fields = merge(fields, GAP)
    fields = merge(fields, from_file)
    said: dict[str, Any] = {
        "per_class": options.per_class,
        "seeds": options.seeds,
        "format": options.format,
        "delta": options.delta,
        "scored_on": options.scored_on,
        "long_tail": options.long_tail,
        "gap": None if options.gap is None else to_plain(Gap.parse(options.gap)),
        "drop_duplicates": options.drop_duplicates or None,
        "size": parse_size(options.size),
        "task": {
            k: v
            for k, v in (("model", _absolute(options.model)), ("weights", options.weights))
            if v
        },
    }
    fields = merge(fields, {k: v for k, v in said.items() if v is not None})
    fields["data"] = data
    complete = build(StudyConfig, fields, where="study")
    # over the complete fields, so that one field of a variant given by name can be set alone
    rest = [s for s in as_overrides(options.settings) if not s.startswith("task.kind=")]
    overridden = with_overrides(to_plain(complete), rest)
    config = build(StudyConfig, overridden, where="study")
    model, weights = _absolute(config.task.model), _absolute(config.task.weights)
    task = dataclasses.replace(config.task, model=model, weights=weights)
    return dataclasses.replace(config, task=task)


def _of_task(name: str | None, from_file: Mapping[str, Any], gap: bool) -> dict[str, Any]:
    """Return what a task adds to a preset: its network, and a generator that carries its aspect.

    Args:
        name: of a task or the beginning of one ("segment"), or None.
        from_file: a file's fields, which may name it.
        gap: what the task predicts is unknown in a gap, so that a generator cannot be asked for it.
    """
    task = from_file.get("task")
    found = name or (task.get("kind") if isinstance(task, Mapping) else None)
    if found is None:
        return {}
    if not isinstance(found, str):
        raise UsageError(
            "task.kind is a task's name", found, f"set one of {', '.join(TASKS.names())}"
        )
    known = [n for n in TASKS.names() if n.startswith(found)]
    if found not in known and len(known) != 1:
        raise UsageError("a task is a registered one", found, nearest(found, TASKS.names()))
    kind = found if found in known else known[0]
    task = TASKS.get(kind)
    own: dict[str, Any] = {"task": {**task.defaults, "kind": kind}}
    if task.asks and not gap:
        return own | {"generator": dict(task.asks)}
    if task.kinds & CONDITIONING.create(GanConfig().conditioning).kinds:
        return own  # the preset's generator carries it
    if all(ASPECTS.get(k).spatial for k in task.kinds):
        return own  # drawn with the image: `pipeline.fitted_to` says so
    return own | {"generator": ASKED}


def _asked_for(name: str, options: ProveOptions, from_file: Mapping[str, Any]) -> bool:
    """Whether a field that is None by default is given, anywhere."""
    said, option = _setting(options, name), getattr(options, name)
    if said is None:
        return option is not None or from_file.get(name) is not None
    return option is not None or said not in ("null", "None", "none", "")


def _setting(options: ProveOptions, name: str) -> str | None:
    """Return what the last setting of a field says, as it is written; None where there is none."""
    found = None
    for setting in as_overrides(options.settings):
        field_name, _, value = setting.partition("=")
        if field_name == name:
            found = value.strip('"')
    return found


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `over` laid on top, mappings merged key by key.

    Example:
        >>> merge({"task": {"steps": 1, "batch": 2}}, {"task": {"steps": 3}})
        {'task': {'steps': 3, 'batch': 2}}
    """
    result = dict(base)
    for key, value in over.items():
        known = result.get(key)
        if isinstance(known, Mapping) and isinstance(value, Mapping) and "name" not in value:
            result[key] = merge(known, value)
        else:
            result[key] = value
    return result


def as_overrides(settings: Sequence[str] | Mapping[str, Any]) -> list[str]:
    """Return settings, a mapping by dotted name or `key=value` texts, as `key=value` texts.

    Example:
        >>> as_overrides({"task.steps": 50, "levels": (0.25, 0.5)})
        ['task.steps=50', 'levels=[0.25, 0.5]']
    """
    if not isinstance(settings, Mapping):
        return list(settings)
    import json

    return [f"{k}={json.dumps(to_plain(v))}" for k, v in settings.items()]


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Return (height, width) of "48" or "32x48".

    Example:
        >>> parse_size("32x48"), parse_size("8")
        ((32, 48), (8, 8))
    """
    if text is None:
        return None
    sides = str(text).lower().split("x")
    if not all(re.fullmatch("0*[1-9][0-9]{0,5}", s) for s in sides) or len(sides) > 2:
        raise UsageError("a size is N or HxW in pixels", text, "pass size='48' (--size 48)")
    return int(sides[0]), int(sides[-1])


def _absolute(place: str | None) -> str | None:
    """Return "FILE:NAME" or "FILE" with an absolute path: a study may be resumed from elsewhere."""
    if place is None:
        return None
    path, colon, name = place.rpartition(":")
    return f"{Path(path).resolve()}{colon}{name}" if colon else str(Path(place).resolve())


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the dotted names of fields in which two plain configurations differ.

    Example:
        >>> differences({"seed": 0, "task": {"steps": 1}}, {"seed": 0, "task": {"steps": 2}})
        ['task.steps']
    """
    found = []
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}")
    return found

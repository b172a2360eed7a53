"""Do the chosen parts fit? Declarations are compared; no network is built."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch.nn.modules.batchnorm import _BatchNorm

from augmint.augmentation.base import check_fits
from augmint.conditioning.base import ConditioningContext
from augmint.core.errors import IncompatibleError, UsageError
from augmint.core.registry import (
    ARCHITECTURES,
    AUGMENTERS,
    CONDITIONING,
    OBJECTIVES,
    Registry,
    Spec,
    split_spec,
)
from augmint.networks.base import Architecture
from augmint.objectives.base import AnyObjective, DirectObjective
from augmint.training.between import check_between
from augmint.training.game import Chosen, Game, choose
from augmint.training.joint import context_of

if TYPE_CHECKING:
    from augmint.aspects.base import Schema
    from augmint.augmentation.base import ExpertAugmenter
    from augmint.core.types import Shape
    from augmint.penalties.base import Penalty
    from augmint.training.config import GanConfig


def check_compatible(config: GanConfig, schema: Schema, shape: Shape) -> None:
    """Raise if parts of a configuration declare that they do not fit each other or the data.

    Compared are: roles; image sizes in reach; the batch; what the critic gives and the objective
    accepts; features; the aspects that conditioning carries; the ways condition vectors enter;
    penalties a sample at a time beside a critic that couples samples; what penalties need;
    augmenters; and for an objective without a critic, what it needs of the generator and what needs
    a critic.

    Args:
        config: names the parts.
        schema: aspects of the data.
        shape: channels, height, width.

    Raises:
        IncompatibleError: naming both parts, the reason, and what would fit.
        UsageError: for an unknown name, or a size out of a network's reach.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.training.config import GanConfig
        >>> config = GanConfig(conditioning="none", objective="began")
        >>> try:
        ...     check_compatible(config, Schema(()), (1, 32, 32))
        ... except IncompatibleError as error:
        ...     print(error.rule)
        the objective began takes a critic that gives energy
    """
    parts = choose(config)
    context = context_of(config, schema, shape)
    held, schema, shape = schema, context.schema, context.shape
    direct = isinstance(parts.objective, DirectObjective)
    _check_roles(config, parts)
    _check_players(config, parts)
    _check_conditioning(config, parts, context, held)
    _check_batch(config, parts)
    if config.fake_aspects == "mixed":
        check_between(schema)
    parts.generator.check_shape(shape)
    width = parts.conditioning.latent_width(context)
    if direct:
        _check_direct(config, parts, width == parts.conditioning.noise_width(context))
    parts.generator.check_latent(_name(config.generator), width, shape)
    if parts.generator.redraws and not parts.conditioning.noise_width(context):
        raise IncompatibleError(
            f"the generator {_name(config.generator)} as set mixes images of two latents, whose "
            "noise it draws from N(0, 1)",
            f"the conditioning {_name(config.conditioning)}, which draws its latent otherwise",
            "set mixing: 0 (stylegan2-generator: --set generator.generator.mixing=0), or give the "
            "conditioning another latent: one-hot (none: normal)",
        )
    if direct:
        return
    seen = (shape[0] + parts.conditioning.critic_channels(context), *shape[1:])
    critic = parts.adversaries[1]
    critic.check_shape(seen)
    _check_objective(config, parts, critic.feature_width(seen))
    _check_top_k(config, parts)
    _check_penalties(config, parts, schema)
    _check_augmenters(config, parts, schema)


def check_processes(config: GanConfig, processes: int) -> None:
    """Raise `UsageError` unless every process gets the same number of a batch's images.

    Those must do for every part. Parts that do not fit otherwise are
    `check_compatible`'s to refuse.

    Args:
        config: names the parts and the batch.
        processes: how many share each batch.

    Example:
        >>> from augmint.training.config import GanConfig
        >>> try:
        ...     check_processes(GanConfig(batch=63), processes=4)
        ... except UsageError as error:
        ...     print(error.remedy)
        set batch to 64 (--set generator.batch=64)
    """
    if config.batch % processes:
        below = max(config.batch // processes, 1) * processes
        near = min((below, below + processes), key=lambda b: abs(b - config.batch))
        raise UsageError(
            "the images of a batch are shared out evenly to the processes",
            f"batch {config.batch} on {processes} processes",
            f"set batch to {near} (--set generator.batch={near})",
        )
    _check_batch(config, choose(config), processes)


def _check_batch(config: GanConfig, parts: Chosen, processes: int = 1) -> None:
    """Every part can train on the images that a process has of a batch."""
    asked = [
        (f"the generator {_name(config.generator)}", parts.generator.smallest_batch, 1),
        (f"the objective {_name(config.objective)}", parts.objective.smallest_batch, 1),
        (f"the conditioning {_name(config.conditioning)}", parts.conditioning.smallest_batch, 1),
    ]
    if config.critic is not None and parts.critic is not None:
        critic = parts.critic
        asked += [(f"the critic {_name(config.critic)}", critic.smallest_batch, critic.compared)]

    def does(images: int, smallest: int, group: int) -> bool:
        return images >= smallest and images % min(group, images) == 0

    share = config.batch // processes
    for who, smallest, group in asked:
        if does(share, smallest, group):
            continue
        enough = range(1, share + max(smallest + group for _, smallest, group in asked))
        fitting = [n for n in enough if all(does(n, *demand) for _, *demand in asked)]
        near = processes * min(fitting, key=lambda n: abs(n - share))
        raise IncompatibleError(
            f"{who} trains on {smallest} images or more"
            if share < smallest
            else f"{who} compares groups of {group} images, of which a batch holds whole ones",
            f"batch {config.batch}" + (f" on {processes} processes" if processes > 1 else ""),
            f"set batch to {near} (--set generator.batch={near})",
        )


def coupled_parts(config: GanConfig, game: Game) -> list[str]:
    """Name the parts whose result for one image depends on its batch, or on drawn noise.

    With these, several processes that share a batch do not compute what one computes.
    """
    parts = game.parts
    named: list[tuple[str, Spec, Architecture | AnyObjective | Penalty]] = [
        ("generator", config.generator, parts.generator),
        *((("critic", config.critic, parts.critic),) if config.critic is not None else ()),
        ("objective", config.objective, parts.objective),
        *(("penalty", s, p) for s, p in zip(config.penalties, parts.penalties, strict=True)),
    ]
    found = [f"{what} {_name(s)}" for what, s, p in named if p.batch_coupled]
    for what, networks in (("head", game.head_map), ("auxiliary", game.auxiliary_map)):
        for name, network in networks.items():
            if any(isinstance(m, _BatchNorm) for m in network.modules()):
                found.append(f"{what} {name}")
    found += ["top_k"] if config.top_k < 1.0 else []
    return [*found, *(["dropout or noise inside networks"] if game.stochastic else [])]


def _check_roles(config: GanConfig, parts: Chosen) -> None:
    _check_role("generator", config.generator, parts.generator)
    if config.critic is not None and parts.critic is not None:
        _check_role("critic", config.critic, parts.critic)


def _check_players(config: GanConfig, parts: Chosen) -> None:
    """A critic plays where the objective is adversarial, and the generator suits the objective."""
    objective, generator = _name(config.objective), _name(config.generator)
    direct = isinstance(parts.objective, DirectObjective)
    if direct and config.critic is not None:
        raise IncompatibleError(
            f"the objective {objective} trains the generator without a critic",
            f"the critic {_name(config.critic)}",
            "set critic to null (--set generator.critic=null)",
        )
    if isinstance(parts.objective, DirectObjective):
        needed = parts.objective.needs
        if needed not in parts.generator.gives:
            raise IncompatibleError(
                f"the objective {objective} trains a generator that gives a {needed}",
                f"the generator {generator}, which gives "
                f"{', '.join(sorted(parts.generator.gives)) or 'images only'}",
                _choose("generator", ARCHITECTURES, lambda m: needed in _given(m)),
            )
        return
    if not parts.generator.adversarial:
        given = parts.generator.gives
        raise IncompatibleError(
            f"the generator {generator} learns without a critic",
            f"the objective {objective}, which has one",
            _choose("objective", OBJECTIVES, lambda m: m.needs in given)
            + " and critic to null (--set generator.critic=null)",
        )
    if parts.critic is None:
        raise IncompatibleError(
            f"the objective {objective} has a critic",
            f"critic null, beside the generator {generator}",
            _choose("critic", ARCHITECTURES, lambda m: _gives(m, parts.objective.accepts)),
        )


def _check_role(role: str, spec: Spec, part: Architecture) -> None:
    if part.role != role:
        raise IncompatibleError(
            f"the {role} must be an architecture that plays the {role}",
            f"{_name(spec)} ({part.role})",
            f"set {role} to one of: {_fitting(ARCHITECTURES, lambda m: bool(m.role == role))}",
        )


WITH_CRITIC = (
    *("critic_clip", "generator_interval", "simultaneous", "fresh_latents"),
    *("top_k", "top_k_decay"),
)
"""Settings that say nothing where no critic plays, and must then be as they are by default."""


def _check_direct(config: GanConfig, parts: Chosen, noise: bool) -> None:
    """Refuse what needs a critic; `noise`: the latent is nothing else."""
    objective, conditioning = parts.objective, parts.conditioning
    name = f"the objective {_name(config.objective)}"
    alone = f"{name} learns without a critic"
    if isinstance(objective, DirectObjective) and not objective.generates:
        raise IncompatibleError(
            f"{name} must teach the generator to make images of latents that are drawn",
            "settings with which it only learns to code images",
            "let it model its latents (vae: --set generator.objective.beta=1)",
        )
    missing = sorted(parts.generator.asks - objective.gives)
    if missing:
        raise IncompatibleError(
            f"the generator {_name(config.generator)} as set asks for {missing[0]}",
            f"{name} without them",
            "let the objective give them (flow-matching: --set generator.objective.drop=0.1), or "
            "do without (flow-unet: --set generator.generator.guidance=1)",
        )
    if not conditioning.generator_alone:
        raise IncompatibleError(
            alone,
            f"the conditioning {_name(config.conditioning)}, which acts on one or beside one",
            "tell the generator alone (--set generator.conditioning='{name: concatenation, "
            "critic: false, enters: conditional-norm}'), or set conditioning to none",
        )
    if not noise:
        raise IncompatibleError(
            f"{name} takes latents that are noise and nothing else",
            f"the conditioning {_name(config.conditioning)}, which puts aspects in the latent or "
            "draws it otherwise",
            "let them enter elsewhere (--set generator.conditioning.enters=conditional-norm), "
            "beside the latent 'one-hot'",
        )
    if config.penalties:
        raise IncompatibleError(
            alone,
            f"the penalty {_name(config.penalties[0])}, which is a part of the game with one",
            "drop the penalties (--set generator.penalties=[])",
        )
    if config.augment is not None:
        raise IncompatibleError(
            alone,
            f"augment {_name(config.augment)}, which changes what one sees",
            "set augment to null (--set generator.augment=null)",
        )
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in WITH_CRITIC and value != field.default:
            shown = str(field.default).lower()
            raise IncompatibleError(
                alone,
                f"{field.name}={value}, which is about one",
                f"leave {field.name} as it is (--set generator.{field.name}={shown})",
            )


def _check_objective(config: GanConfig, parts: Chosen, features: int) -> None:
    rules, player = parts.adversaries
    objective, critic = _name(config.objective), _name(config.critic or "null")
    given = player.output
    if given not in rules.accepts:
        accepted = rules.accepts
        raise IncompatibleError(
            f"the objective {objective} takes a critic that gives {' or '.join(sorted(accepted))}",
            f"{critic}, which gives {given}",
            f"set objective to one of: {_fitting(OBJECTIVES, lambda m: given in m.accepts)}; or "
            f"critic to one of: {_fitting(ARCHITECTURES, lambda m: _gives(m, accepted))}",
        )
    if given not in parts.conditioning.accepts:
        raise IncompatibleError(
            f"the conditioning {_name(config.conditioning)} changes a critic's "
            f"{' or '.join(sorted(parts.conditioning.accepts))}",
            f"{critic}, which gives {given}",
            f"set conditioning to one of: {_fitting(CONDITIONING, lambda m: given in m.accepts)}",
        )
    reader = ""
    if rules.needs_features:
        reader = f"the objective {objective}"
    elif parts.conditioning.needs_features:
        reader = f"the conditioning {_name(config.conditioning)}"
    for spec, penalty in zip(config.penalties, parts.penalties, strict=True):
        if penalty.needs_features and not reader:
            reader = f"the penalty {_name(spec)}"
    if reader and features < 1:
        raise IncompatibleError(
            f"{reader} reads the critic's features",
            f"{critic}, which has none",
            "take a critic with features",
        )


def _check_top_k(config: GanConfig, parts: Chosen) -> None:
    kept = math.ceil(config.top_k * config.batch)
    if parts.objective.batch_coupled and kept < 2 <= config.batch:
        raise IncompatibleError(
            f"the objective {_name(config.objective)} compares images of a batch",
            f"top_k {config.top_k:g} of batch {config.batch}, which leaves {kept}",
            f"set top_k to {2 / config.batch:g} or more (--set generator.top_k=0.5)",
        )


def _check_conditioning(
    config: GanConfig, parts: Chosen, context: ConditioningContext, held: Schema
) -> None:
    conditioning, name = parts.conditioning, _name(config.conditioning)
    kinds = conditioning.kinds
    if kinds and not any(a.kind in kinds for a in context.schema):
        present = ", ".join(f"{a.name} ({a.kind})" for a in held) or "no aspect"
        raise IncompatibleError(
            f"the conditioning {name} carries an aspect of kind {' or '.join(sorted(kinds))}",
            f"data with {present}",
            "set conditioning to none (--set generator.conditioning=none), or give such an aspect",
        )
    check_mode(name, "generator", config.generator, parts.generator, conditioning.generator_mode)
    if config.critic is not None and parts.critic is not None:
        check_mode(name, "critic", config.critic, parts.critic, conditioning.critic_mode)
    conditioning.check(context)


def check_mode(
    conditioning: str, role: str, spec: Spec, part: Architecture, mode: str | None
) -> None:
    """Raise `IncompatibleError`, naming those that fit, if a network has no such condition mode."""
    if mode is None or mode in part.condition_modes:
        return

    def fits(member: Any) -> bool:
        return bool(member.role == role and mode in member.condition_modes)

    raise IncompatibleError(
        f"the conditioning {conditioning} enters the {role} by {mode}",
        f"{_name(spec)}, which takes {', '.join(sorted(part.condition_modes)) or 'none'}",
        f"set {role} to one of: {_fitting(ARCHITECTURES, fits)}",
    )


def _check_penalties(config: GanConfig, parts: Chosen, schema: Schema) -> None:
    names = [_name(spec) for spec in config.penalties]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(
            "a penalty is named once",
            ", ".join(names),
            f"give {twice[0]} the sum of the weights (--set 'generator.penalties=[{{name: "
            f"{twice[0]}, weight: 1}}]')",
        )
    for spec, penalty in zip(config.penalties, parts.penalties, strict=True):
        updates = config.steps
        if penalty.player == "generator":
            updates //= config.generator_interval
        # one by default may exceed a run that is only tried out
        given = isinstance(spec, Mapping) and "interval" in spec
        if given and penalty.interval > updates:
            raise UsageError(
                f"the penalty {_name(spec)} comes at least once in a run",
                f"interval={penalty.interval} for {updates} updates of the {penalty.player}",
                f"set its interval to {max(min(16, updates), 1)}, or steps to more",
            )
        unknown = next((a for a in schema if penalty.mirrors and not a.mirrors), None)
        if unknown is not None:
            raise IncompatibleError(
                f"the penalty {_name(spec)} as set mirrors images",
                f"{unknown.name}, a {unknown.kind} that does not know its left and right",
                "set flip: false (consistency: --set generator.penalties=[consistency]), or name "
                "its pairs in the data's schema",
            )
        coupled = penalty.per_sample and parts.adversaries[1].batch_coupled
        if penalty.player == "critic" and coupled:
            raise IncompatibleError(
                f"the penalty {_name(spec)} takes one sample's gradient at a time",
                f"the critic {_name(config.critic or 'null')}, which couples the samples of a "
                "batch",
                "take a critic without batch normalisation (normalisation: spectral or none) or "
                "minibatch parts (minibatch_discrimination: 0, minibatch_deviation: 0), or r1 or "
                "r2 with coupled: true, the gradient of the batch's sum",
            )
        if "styles" in penalty.needs and "styles" not in parts.generator.gives:
            raise IncompatibleError(
                f"the penalty {_name(spec)} needs the generator's styles",
                f"the generator {_name(config.generator)}, which has none",
                "drop the penalty, or take a generator with styles",
            )


WITHOUT_FLIPS = {"augment": "diff-augment", "auxiliary_augment": "affine"}
"""Augmenters that every aspect can follow."""


def _check_augmenters(config: GanConfig, parts: Chosen, schema: Schema) -> None:
    augment = parts.augment
    if augment is not None and not augment.differentiable:
        raise IncompatibleError(
            "what the critic sees passes through an augmenter with gradients",
            f"augment={_name(config.augment or 'none')}",
            f"set augment to one of: {_fitting(AUGMENTERS, lambda m: bool(m.differentiable))}; or "
            "none (--set generator.augment=none)",
        )
    if augment is not None and augment.adapts:
        _check_follows(config, parts)
    for field, part in (("augment", augment), ("auxiliary_augment", parts.auxiliary_augment)):
        if part is not None and part.adapts and field != "augment":
            raise IncompatibleError(
                f"{field} has no critic to follow",
                f"{_name(config.auxiliary_augment or 'none')}, which adapts to one",
                f"give it a fixed p, or set {field} to affine",
            )
        if part is not None and part.mixes:
            raise IncompatibleError(
                f"{field} keeps images apart",
                "an augmenter that mixes several",
                f"set {field}: none",
            )
        if part is not None:
            _check_moves(field, _name(getattr(config, field)), part, schema)


def _check_moves(field: str, name: str, augmenter: ExpertAugmenter, schema: Schema) -> None:
    """Every aspect can follow what an augmenter does to the image."""
    for aspect in schema:
        try:
            check_fits(augmenter, aspect)
        except IncompatibleError as error:
            other = WITHOUT_FLIPS[field]
            raise IncompatibleError(
                error.rule,
                f"{field}={name} beside {error.value}",
                f"set {field} to {other} (--set generator.{field}={other}), or name what is left "
                "and right in the data's schema",
            ) from None


def _check_follows(config: GanConfig, parts: Chosen) -> None:
    name = _name(config.augment or "none")
    rule = f"the augmenter {name} follows the sign of real scores"
    fixed = f"give {name} a fixed p (--set 'generator.augment={{name: {name}, p: 0.3}}')"
    objective, critic = parts.adversaries
    given = critic.output
    if given not in ("score", "map"):
        raise IncompatibleError(
            rule,
            f"{_name(config.critic or 'null')}, which gives {given}",
            f"{fixed}, or set critic to one of: "
            f"{_fitting(ARCHITECTURES, lambda m: _gives(m, frozenset({'score', 'map'})))}",
        )
    if objective.boundary is None:
        raise IncompatibleError(
            rule,
            f"{_name(config.objective)}, whose scores have no place between real and generated",
            f"{fixed}, or set objective to one of: "
            f"{_fitting(OBJECTIVES, lambda m: m.boundary is not None)}",
        )


def _name(spec: Spec) -> str:
    return split_spec(spec, "part")[0]


def _gives(member: Any, accepted: frozenset[str]) -> bool:
    return bool(member.role == "critic" and member.output in accepted)


def _given(member: Any) -> frozenset[str]:
    return member.gives if member.role == "generator" else frozenset()


def _choose(field: str, registry: Registry[Any], fits: Callable[[Any], bool]) -> str:
    """A remedy: one of the members that fit, and how to say so."""
    found = _fitting(registry, fits)
    return f"set {field} to one of: {found} (--set generator.{field}={found.partition(',')[0]})"


def _fitting(registry: Registry[Any], fits: Callable[[Any], bool]) -> str:
    """Names of members whose class declares that they fit."""
    found = []
    for name in registry.names():
        try:
            member = registry.get(name)
        except ImportError:  # of an extra that is not there
            continue
        if fits(member):
            found.append(name)
    return ", ".join(found) or "none is registered"

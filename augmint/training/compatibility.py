"""Do the chosen parts fit? Declarations are compared; no network is built."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch.nn.modules.batchnorm import _BatchNorm

from augmint.conditioning.base import ConditioningContext
from augmint.core.errors import IncompatibleError, UsageError
from augmint.core.registry import (
    ARCHITECTURES,
    CONDITIONING,
    OBJECTIVES,
    Registry,
    Spec,
    split_spec,
)
from augmint.networks.base import Architecture
from augmint.training.game import Chosen, Game, choose

if TYPE_CHECKING:
    from augmint.aspects.base import Schema
    from augmint.core.types import Shape
    from augmint.training.config import GanConfig


def check_compatible(config: GanConfig, schema: Schema, shape: Shape) -> None:
    """Raise if parts of a configuration declare that they do not fit each other or the data.

    Compared are: roles; image sizes in reach; what the critic gives and the objective accepts;
    features; the aspects that conditioning carries; the ways condition vectors enter; penalties
    a sample at a time beside a critic that couples samples; what penalties need; augmenters.

    Args:
        config: names the parts.
        schema: aspects of the data.
        shape: channels, height, width.

    Raises:
        IncompatibleError: naming both parts, the reason, and what would fit.
        UsageError: for an unknown name, or a size out of a network's reach.
    """
    parts = choose(config)
    _check_roles(config, parts)
    context = ConditioningContext(schema, shape, config.latent_dim)
    _check_conditioning(config, parts, context)
    seen = (shape[0] + parts.conditioning.critic_channels(context), *shape[1:])
    parts.generator.check_shape(shape)
    parts.critic.check_shape(seen)
    _check_objective(config, parts, parts.critic.feature_width(seen))
    _check_penalties(config, parts)
    _check_augmenters(config, parts)


def check_processes(config: GanConfig, processes: int) -> None:
    """Raise `UsageError` unless every process gets the same number of a batch's images."""
    if config.batch % processes:
        below = max(config.batch // processes, 1) * processes
        near = min((below, below + processes), key=lambda b: abs(b - config.batch))
        raise UsageError(
            "the images of a batch are shared out evenly to the processes",
            f"batch {config.batch} on {processes} processes",
            f"set batch to {near} (--set generator.batch={near})",
        )


def coupled_parts(config: GanConfig, game: Game) -> list[str]:
    """Name the parts whose result for one image depends on its batch, or on drawn noise.

    With these, several processes that share a batch do not compute what one computes.
    """
    parts = game.parts
    named: list[tuple[str, Spec, object]] = [
        ("generator", config.generator, parts.generator),
        ("critic", config.critic, parts.critic),
        ("objective", config.objective, parts.objective),
        *(("penalty", s, p) for s, p in zip(config.penalties, parts.penalties, strict=True)),
    ]
    found = [f"{what} {_name(s)}" for what, s, p in named if getattr(p, "batch_coupled", False)]
    for what, networks in (("head", game.head_map), ("auxiliary", game.auxiliary_map)):
        for name, network in networks.items():
            if any(isinstance(m, _BatchNorm) for m in network.modules()):
                found.append(f"{what} {name}")
    return [*found, *(["dropout or noise inside networks"] if game.stochastic else [])]


def _check_roles(config: GanConfig, parts: Chosen) -> None:
    _check_role("generator", config.generator, parts.generator)
    _check_role("critic", config.critic, parts.critic)


def _check_role(role: str, spec: Spec, part: Architecture) -> None:
    if part.role != role:
        raise IncompatibleError(
            f"the {role} must be an architecture that plays the {role}",
            f"{_name(spec)} ({part.role})",
            f"set {role} to one of: {_fitting(ARCHITECTURES, lambda m: bool(m.role == role))}",
        )


def _check_objective(config: GanConfig, parts: Chosen, features: int) -> None:
    objective, critic = _name(config.objective), _name(config.critic)
    given = parts.critic.output
    if given not in parts.objective.accepts:
        accepted = parts.objective.accepts
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
    if parts.objective.needs_features:
        reader = f"the objective {objective}"
    elif parts.conditioning.needs_features:
        reader = f"the conditioning {_name(config.conditioning)}"
    if reader and features < 1:
        raise IncompatibleError(
            f"{reader} reads the critic's features",
            f"{critic}, which has none",
            "take a critic with features",
        )


def _check_conditioning(config: GanConfig, parts: Chosen, context: ConditioningContext) -> None:
    conditioning, name = parts.conditioning, _name(config.conditioning)
    kinds = conditioning.kinds
    if kinds and not any(a.kind in kinds for a in context.schema):
        present = ", ".join(sorted({a.kind for a in context.schema})) or "no aspect"
        raise IncompatibleError(
            f"the conditioning {name} carries an aspect of kind {' or '.join(sorted(kinds))}",
            f"data with {present}",
            "set conditioning to none (--set generator.conditioning=none), or give such an aspect",
        )
    _check_mode(name, "generator", config.generator, parts.generator, conditioning.generator_mode)
    _check_mode(name, "critic", config.critic, parts.critic, conditioning.critic_mode)
    conditioning.check(context)


def _check_mode(
    conditioning: str, role: str, spec: Spec, part: Architecture, mode: str | None
) -> None:
    if mode is None or mode in part.condition_modes:
        return

    def fits(member: Any) -> bool:
        return bool(member.role == role and mode in _modes(member))

    raise IncompatibleError(
        f"the conditioning {conditioning} enters the {role} by {mode}",
        f"{_name(spec)}, which takes {', '.join(sorted(part.condition_modes)) or 'none'}",
        f"set {role} to one of: {_fitting(ARCHITECTURES, fits)}",
    )


def _check_penalties(config: GanConfig, parts: Chosen) -> None:
    for spec, penalty in zip(config.penalties, parts.penalties, strict=True):
        if penalty.player == "critic" and penalty.per_sample and parts.critic.batch_coupled:
            raise IncompatibleError(
                f"the penalty {_name(spec)} takes one sample's gradient at a time",
                f"the critic {_name(config.critic)}, which couples the samples of a batch",
                "take a critic without batch normalisation (normalisation: spectral or none)",
            )
        if "styles" in penalty.needs and not parts.generator.gives_styles:
            raise IncompatibleError(
                f"the penalty {_name(spec)} needs the generator's styles",
                f"the generator {_name(config.generator)}, which has none",
                "drop the penalty, or take a generator with styles",
            )


def _check_augmenters(config: GanConfig, parts: Chosen) -> None:
    augment = parts.augment
    if augment is not None and not augment.differentiable:
        raise IncompatibleError(
            "what the critic sees passes through an augmenter with gradients",
            f"augment={_name(config.augment or 'none')}",
            "set augment to diff-augment or none (--set generator.augment=none)",
        )
    for field, part in (("augment", augment), ("auxiliary_augment", parts.auxiliary_augment)):
        if part is not None and part.mixes:
            raise IncompatibleError(
                f"{field} keeps images apart",
                "an augmenter that mixes several",
                f"set {field}: none",
            )


def _name(spec: Spec) -> str:
    return split_spec(spec, "part")[0]


def _gives(member: Any, accepted: frozenset[str]) -> bool:
    return bool(member.role == "critic" and member.output in accepted)


def _modes(member: Any) -> frozenset[str]:
    modes = member.condition_modes
    return modes if isinstance(modes, frozenset) else frozenset()


def _fitting(registry: Registry[Any], fits: Callable[[Any], bool]) -> str:
    """Names of members whose class declares that they fit."""
    found = []
    for name in registry.names():
        try:
            if fits(registry.get(name)):
                found.append(name)
        except (UsageError, ImportError, TypeError):
            continue
    return ", ".join(found) or "none is registered"

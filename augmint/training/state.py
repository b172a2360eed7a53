"""What a run must remember, as named parts: each gives tensors and JSON, and takes them back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from augmint.core.errors import DataError, single_line

Saved = tuple[dict[str, Tensor], Any]
"""Tensors by name, and a JSON value."""


class Part(Protocol):
    """Something with state."""

    def save(self) -> Saved:
        """Return the state; tensors may be views that later steps overwrite."""
        ...

    def load(self, tensors: Mapping[str, Tensor], plain: Any) -> None:
        """Take a saved state back, in place."""
        ...


class ModulePart:
    """A network's parameters and buffers.

    Example:
        >>> one, other = nn.Linear(2, 1), nn.Linear(2, 1)
        >>> ModulePart(other).load(*ModulePart(one).save())
        >>> torch.equal(one.weight, other.weight)
        True
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def save(self) -> Saved:
        """Return the module's state."""
        return dict(self.module.state_dict()), None

    def load(self, tensors: Mapping[str, Tensor], plain: Any) -> None:
        """Copy the tensors in; memory formats stay as they are."""
        self.module.load_state_dict(dict(tensors))


class OptimiserPart:
    """An optimiser's moments and its (possibly lowered) rates.

    Example:
        >>> weight = nn.Parameter(torch.ones(1))
        >>> weight.grad = torch.full((1,), 2.0)
        >>> optimiser = torch.optim.SGD([weight], lr=0.5, momentum=0.9)
        >>> optimiser.step()
        >>> OptimiserPart(optimiser).save()
        ({'0.momentum_buffer': tensor([2.])}, [0.5])
    """

    def __init__(self, optimiser: Optimizer) -> None:
        self.optimiser = optimiser

    def _parameters(self) -> list[Tensor]:
        return [p for g in self.optimiser.param_groups for p in g["params"]]

    def save(self) -> Saved:
        """Return moments by parameter index, and the rate of every parameter group."""
        tensors = {}
        for i, parameter in enumerate(self._parameters()):
            for key, value in self.optimiser.state.get(parameter, {}).items():
                tensors[f"{i}.{key}"] = value if isinstance(value, Tensor) else torch.tensor(value)
        return tensors, [g["lr"] for g in self.optimiser.param_groups]

    def load(self, tensors: Mapping[str, Tensor], plain: Any) -> None:
        """Take moments and rates back."""
        self.optimiser.state.clear()
        parameters = self._parameters()
        for name, value in tensors.items():
            index, _, key = name.partition(".")
            parameter = parameters[int(index)]
            # fused kernels walk memory: moments must lie as their parameter lies
            place = torch.empty_like(parameter) if value.shape == parameter.shape else value.clone()
            self.optimiser.state[parameter][key] = place.copy_(value).detach()
        for group, rate in zip(self.optimiser.param_groups, plain, strict=True):
            group["lr"] = rate


class DictPart:
    """Explicit state of objectives, penalties and the like: tensors and JSON, nested as wanted.

    Example:
        >>> DictPart({"k": torch.zeros(()), "seen": 2}).save()
        ({'/k': tensor(0.)}, {'k': {'__tensor__': '/k'}, 'seen': 2})
    """

    def __init__(self, content: dict[str, Any], device: torch.device | str = "cpu") -> None:
        self.content = content
        self.device = device

    def save(self) -> Saved:
        """Return the content with its tensors taken out."""
        tensors: dict[str, Tensor] = {}
        return tensors, _pack(self.content, "", tensors)

    def load(self, tensors: Mapping[str, Tensor], plain: Any) -> None:
        """Replace the content."""
        self.content.clear()
        self.content.update(_unpack(plain, tensors, self.device))


_MARK = "__tensor__"


def _pack(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[path] = value.detach()
        return {_MARK: path}
    if isinstance(value, Mapping):
        return {k: _pack(v, f"{path}/{k}", tensors) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_pack(v, f"{path}/{i}", tensors) for i, v in enumerate(value)]
    return value


def _unpack(value: Any, tensors: Mapping[str, Tensor], device: torch.device | str) -> Any:
    if isinstance(value, dict):
        if set(value) == {_MARK}:
            return tensors[value[_MARK]].to(device, copy=True)
        return {k: _unpack(v, tensors, device) for k, v in value.items()}
    if isinstance(value, list):
        return [_unpack(v, tensors, device) for v in value]
    return value


def _alike(known: Any, found: Any) -> bool:
    """Whether a saved JSON value is of the kind that a part itself would save."""
    if known is None:
        return True
    if isinstance(known, Mapping):
        return isinstance(found, Mapping) and all(
            k in found and _alike(v, found[k]) for k, v in known.items()
        )
    number = (int, float)
    if isinstance(known, number) and not isinstance(known, bool):
        return isinstance(found, number) and not isinstance(found, bool)
    return isinstance(found, list if isinstance(known, list | tuple) else type(known))


class Parts:
    """Named parts, saved and loaded together; a name holds no colon.

    Example:
        >>> parts = Parts(network=ModulePart(nn.Linear(2, 1)), penalties=DictPart({"seen": 2}))
        >>> tensors, plain = parts.save()
        >>> sorted(tensors), plain
        (['network:bias', 'network:weight'], {'network': None, 'penalties': {'seen': 2}})
    """

    def __init__(self, **parts: Part) -> None:
        self.parts: dict[str, Part] = dict(parts)

    def save(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all tensors as `part:name`, and each part's JSON."""
        tensors: dict[str, Tensor] = {}
        plain = {}
        for name, part in self.parts.items():
            own, plain[name] = part.save()
            tensors.update({f"{name}:{k}": v for k, v in own.items()})
        return tensors, plain

    def load(self, tensors: Mapping[str, Tensor], plain: Any) -> None:
        """Give every part its state back.

        Raises:
            DataError: if the saved parts are not these.
        """
        if not isinstance(plain, Mapping) or set(plain) != set(self.parts):
            found = sorted(map(str, plain)) if isinstance(plain, Mapping) else plain
            raise DataError(
                "a checkpoint must hold the parts of this run",
                f"{found} instead of {sorted(self.parts)}",
                "train in a new folder",
            )
        sorted_out: dict[str, dict[str, Tensor]] = {name: {} for name in self.parts}
        for key, tensor in tensors.items():
            name, _, rest = key.partition(":")
            if name in sorted_out:
                sorted_out[name][rest] = tensor
        for name, part in self.parts.items():
            try:
                _, known = part.save()
                if not _alike(known, plain[name]):
                    raise ValueError(f"{single_line(repr(plain[name]), 80)} is of another kind")
                part.load(sorted_out[name], plain[name])
            except (
                *(RuntimeError, LookupError, ValueError, TypeError),
                *(AttributeError, ArithmeticError),
            ) as error:
                raise DataError(
                    "a checkpoint must fit the networks of this run",
                    f"part {name} ({error})",
                    "train in a new folder",
                ) from None

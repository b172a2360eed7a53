"""The user's own network: `file.py:make_net`, with weights from safetensors.

The file is run as a module of its own. Whatever goes wrong in it is one line that names the file
and the line, never a traceback of ours. Pickled weights are not read: they can run code.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from augmint.core.errors import UsageError, nearest

if TYPE_CHECKING:
    from types import ModuleType

    from augmint.core.types import Shape

SAFETENSORS = ".safetensors"


def load_user_network(
    model: str,
    shape: Shape,
    outputs: int,
    weights: str | Path | None = None,
    flat: bool = True,
) -> nn.Module:
    """Return the network that a user's function makes, checked by a forward pass of two images.

    The function is called with those of these that its signature names, `num_classes` (or
    `outputs`, `classes`), `channels` (or `in_channels`), `height`, `width`, `size` (or
    `image_size`: a side where both are equal, else (height, width)), `shape`; parameters of other
    names must have defaults.

    Args:
        model: "file.py:function".
        shape: (C, H, W) of what the network will see, float in [-1, 1].
        outputs: columns, or channels, that its forward must give.
        weights: a safetensors file of a state dict, or None.
        flat: its forward gives `(N, outputs)`; otherwise `(N, outputs, H, W)`.

    Raises:
        UsageError: for a missing file or function, any error in it (with file and line), a
            result that is no `nn.Module`, an output of another shape, or weights that do not fit.

    Example:
        >>> import tempfile
        >>> code = "from torch import nn; net = lambda outputs: nn.Conv2d(1, outputs, 1)"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "net.py").write_text(code)
        ...     load_user_network(f"{folder}/net.py:net", (1, 8, 8), outputs=5, flat=False)
        Conv2d(1, 5, kernel_size=(1, 1), stride=(1, 1))
    """
    path, function = _split(model)
    network = make_user_network(model, shape, outputs)
    wanted = (2, outputs) if flat else (2, outputs, *shape[1:])
    _probe(network, path, function, shape, wanted)  # first: lazy layers get their shapes by it
    if weights is not None:
        load_weights(network, Path(weights))
    return network


def make_user_network(model: str, shape: Shape | None, outputs: int | None) -> nn.Module:
    """Return the network that a user's function makes, not run yet.

    Args:
        model: "file.py:function".
        shape, outputs: what the function may ask for; None where they are not known, which is an
            error only if it does ask.

    Raises:
        UsageError: as `load_user_network`, what a forward pass shows excepted.
    """
    path, function = _split(model)
    make = _function(_module(path), path, function)
    arguments = _arguments(make, path, function, shape, outputs)
    network = _guarded(lambda: make(**arguments), path, f"{function}() must return a network")
    if not isinstance(network, nn.Module):
        raise UsageError(
            f"{function}() in {path} must return a torch.nn.Module",
            type(network).__name__,
            "return the network",
        )
    return network


def load_weights(network: nn.Module, path: Path) -> None:
    """Load a state dict from a safetensors file into the network.

    Raises:
        UsageError: for another kind of file, a damaged one, or entries that do not fit.

    Example:
        >>> import tempfile
        >>> from safetensors.torch import save_file
        >>> first, second = nn.Linear(2, 1), nn.Linear(2, 1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_file(first.state_dict(), Path(folder, "net.safetensors"))
        ...     load_weights(second, Path(folder, "net.safetensors"))
        >>> torch.equal(first.weight, second.weight)
        True
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.suffix != SAFETENSORS:
        raise UsageError(
            "weights are read from .safetensors files only; pickle is never read (it can run code)",
            str(path),
            "save them with safetensors.torch.save_file(net.state_dict(), 'net.safetensors')",
        )
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UsageError(
            "a weights file must be readable safetensors",
            f"{path} ({error})",
            "check the path (--weights)",
        ) from None
    own = network.state_dict()
    misfits = [f"missing {k}" for k in own if k not in state]
    misfits += [f"unexpected {k}" for k in state if k not in own]
    misfits += [
        f"{k} is {tuple(state[k].shape)}, the network's {tuple(own[k].shape)}"
        for k in own
        if k in state and own[k].shape != state[k].shape
    ]
    if misfits:
        more = f" and {len(misfits) - 5} more" if len(misfits) > 5 else ""
        raise UsageError(
            "weights must fit the network",
            f"{path}: {', '.join(misfits[:5])}{more}",
            "save the state dict of the network that make_net returns",
        )
    network.load_state_dict(state)


def _split(model: str) -> tuple[Path, str]:
    file, _, function = model.rpartition(":")
    if not file or not function.isidentifier():
        raise UsageError(
            "a model is given as file.py:function",
            model,
            "pass model='net.py:make_net' (--model net.py:make_net)",
        )
    path = Path(file).expanduser()
    if not path.is_file():
        raise UsageError("the file of a model must exist", str(path), "check the path (--model)")
    return path, function


def _module(path: Path) -> ModuleType:
    """Run the file as a module whose name no other module has."""
    from augmint.core.config import fingerprint

    name = f"_augmint_user_{path.stem}_{fingerprint(str(path.resolve()))[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError("a model is a Python file", str(path), "give it the ending .py")
    module, loader = importlib.util.module_from_spec(spec), spec.loader
    sys.modules[name] = module  # dataclasses and the like look their module up by name
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)  # as for `python file.py`: its neighbours can be imported
    try:
        _guarded(lambda: loader.exec_module(module), path, "the file must run")
    except UsageError:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(folder)
    return module


def _function(module: ModuleType, path: Path, name: str) -> Callable[..., Any]:
    function = getattr(module, name, None)
    if callable(function):
        return function
    own = [
        k
        for k, v in vars(module).items()
        if inspect.isfunction(v) and v.__module__ == module.__name__
    ]
    raise UsageError(f"{path} must define the function named", name, nearest(name, own))


def _arguments(
    make: Callable[..., Any],
    path: Path,
    function: str,
    shape: Shape | None,
    outputs: int | None,
) -> dict[str, Any]:
    known = _known(shape, outputs)
    try:
        parameters = inspect.signature(make).parameters
    except (TypeError, ValueError):  # a callable without a signature takes nothing
        return {}
    arguments = {}
    for name, parameter in parameters.items():
        named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if named and name in known:
            arguments[name] = known[name]
        elif parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            raise UsageError(
                f"{function}() in {path} takes arguments of known names",
                name,
                _asked(name) or f"give it a default, or {nearest(name, known)}",
            )
    return arguments


def _known(shape: Shape | None, outputs: int | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if outputs is not None:
        found |= dict.fromkeys(("num_classes", "outputs", "classes"), outputs)
    if shape is not None:
        channels, height, width = shape
        size = height if height == width else (height, width)
        found |= dict.fromkeys(("channels", "in_channels"), channels)
        found |= dict.fromkeys(("size", "image_size"), size)
        found |= {"height": height, "width": width, "shape": shape}
    return found


def _asked(name: str) -> str:
    """Return how to say what a function asks for, if it is one of the known names."""
    if name in _known(None, 1):
        return "say how many outputs it has: outputs=10 (--outputs 10)"
    return (
        "say what it will see: shape=(3, 32, 32) (--shape 3x32x32)"
        if name in _known((1, 1, 1), None)
        else ""
    )


def _guarded(call: Callable[[], Any], path: Path, rule: str) -> Any:
    """Run the user's code; any error becomes one line with the file and the line in it."""
    try:
        return call()
    except SyntaxError as error:
        where = f"{error.filename or path}, line {error.lineno}"
        raise UsageError(rule, f"{where}: SyntaxError: {error.msg}", "mend the line") from None
    except (Exception, SystemExit) as error:
        where = _where(error, path)
        text = f"{where}: {type(error).__name__}: {error}"
        raise UsageError(rule, text, "mend the line") from None


def _where(error: BaseException, path: Path) -> str:
    """Name the deepest line in the user's file."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(f.filename).resolve() == path.resolve()]
    return f"{path}, line {own[-1].lineno}" if own else str(path)


def _probe(
    network: nn.Module, path: Path, function: str, shape: Shape, wanted: tuple[int, ...]
) -> None:
    training = network.training
    network.eval()
    with torch.inference_mode():
        given = _guarded(
            lambda: network(torch.zeros(2, *shape)),
            path,
            f"the network of {function}() must take images of shape {(2, *shape)}",
        )
    network.train(training)
    found = tuple(given.shape) if isinstance(given, torch.Tensor) else type(given).__name__
    if found != wanted:
        raise UsageError(
            f"the network of {function}() in {path} must give a tensor of shape {wanted} "
            f"for images of shape {(2, *shape)}",
            str(found),
            "return one column for each class or number"
            if len(wanted) == 2
            else "return one channel for each class or number, at the images' size",
        )

"""Any feed-forward `nn.Module` as a network description, through torch.fx.

The module is traced symbolically; each call becomes one operation, with every attribute. What
cannot be described is an error that names the layer. Rebuilding gives the same outputs.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from augmint.core.errors import AugmintError, UsageError
from augmint.merging import modules
from augmint.merging.build import Built, build, child
from augmint.merging.modules import READERS, Described, UnsupportedError
from augmint.merging.network import Layer, Network, freeze
from augmint.merging.shapes import ShapeError, infer
from augmint.networks import blocks

REMEDY = (
    "write it with supported layers, or leave it out (the kinds are listed in "
    "augmint.merging.modules)"
)


@dataclass(frozen=True)
class Read:
    """A network and the weights of the module it was read from.

    Args:
        network: the description.
        state: state dict of the module that `build` makes of it.

    Example:
        >>> net, ones = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.ones(1, 1, 2, 2)
        >>> torch.equal(read(net, (1, 2, 2)).rebuild()(ones), net(ones))
        True
    """

    network: Network
    state: dict[str, Tensor]

    def rebuild(self) -> Built:
        """Return a module that computes what the one that was read computes."""
        return build(self.network, self.state)


class _Tracer(fx.Tracer):
    def __init__(self) -> None:
        # its hook on the gradient cannot be traced, and is no part of what is computed
        super().__init__(autowrap_functions=(blocks.flattened,))

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) in READERS or type(m) in SPECIAL or super().is_leaf_module(m, "")


def read(module: nn.Module, shape: Sequence[int], name: str = "network") -> Read:
    """Read a module whose forward takes one batch of shape `(N, *shape)` and gives one tensor.

    Args:
        module: feed-forward; its forward may not branch on values.
        shape: of one input, `(C, H, W)` or `(F,)`.
        name: of the description, for messages and drawings.

    Raises:
        UsageError: naming the layer that cannot be described, or the shapes that do not fit.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> [layer.kind for layer in read(net, (1, 8, 8)).network]
        ['input', 'conv', 'activation', 'flatten', 'dense']
    """
    if isinstance(module, Built):
        return _built(module, tuple(shape), name)
    tracer = _Tracer()
    try:
        graph = tracer.trace(module)
    except AugmintError:
        raise
    except Exception as error:
        raise UsageError(
            f"the forward of {name} must be traceable by torch.fx (no branches on values)",
            f"{type(error).__name__}: {str(error).split('. ')[0]}",
            "write it without conditions on tensors",
        ) from None
    reader = _Reader(module, name, tuple(shape))
    for node in graph.nodes:
        reader.take(node)
    network = reader.finish()
    reader.check(network)
    return Read(network, reader.state())


def _built(module: Built, shape: tuple[int, ...], name: str) -> Read:
    """A network that was built from a description has one already."""
    if module.network.shape != shape:
        raise ShapeError(
            f"{name} was made for inputs of shape {module.network.shape}",
            str(shape),
            "merge it at its own shape (--shape CxHxW)",
        )
    state = {key: value.detach().clone() for key, value in module.state_dict().items()}
    return Read(replace(module.network, name=name), state)


@dataclass
class _Reader:
    """Turns traced calls into layers, one after the other."""

    module: nn.Module
    name: str
    shape: tuple[int, ...]
    layers: list[Layer] = field(default_factory=list)
    values: dict[fx.Node, str] = field(default_factory=dict)
    indices: dict[fx.Node, str] = field(default_factory=dict)
    modules: dict[str, nn.Module] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)
    output: str = ""

    def take(self, node: fx.Node) -> None:
        try:
            getattr(self, f"_{node.op}")(node)
        except UnsupportedError as error:
            raise UsageError(
                f"every layer of {self.name} must be of a supported kind",
                f"layer {self._where(node)}: {error}",
                REMEDY,
            ) from None

    def finish(self) -> Network:
        """Return the network; operations that the output does not need are left out."""
        by_name = {layer.name: layer for layer in self.layers}
        needed, todo = {self.layers[0].name}, [self.output]
        while todo:
            found = todo.pop()
            if found not in needed:
                needed.add(found)
                layer = by_name[found]
                todo += [*layer.inputs, *filter(None, [layer.attributes.get("of")])]
        kept = [y for y in self.layers if y.name in needed and y.name != self.output]
        kept += [by_name[self.output]]
        return Network(self.name, self.shape, tuple(kept))

    def check(self, network: Network) -> None:
        """Raise `UsageError` where a layer was made for another number of channels than it gets."""
        shapes = infer(network)
        for layer in network:
            module = self.modules.get(layer.name)
            if module is None:
                continue
            given = shapes[layer.inputs[0]]
            for attribute in ("in_channels", "in_features", "num_features", "num_channels"):
                made_for = getattr(module, attribute, None)
                found = given[-1] if attribute == "in_features" else given[0]
                if made_for is not None and made_for != found:
                    raise ShapeError(
                        f"layer {layer.name!r} ({layer.kind}) of {self.name} takes {made_for} "
                        "channels",
                        f"{given} from {layer.inputs[0]!r}",
                        "check the input's shape (--shape CxHxW)",
                    )
            if isinstance(module, nn.LayerNorm) and tuple(module.normalized_shape) != given:
                raise UsageError(
                    f"layer {layer.name!r} of {self.name} must normalise whole values",
                    f"{tuple(module.normalized_shape)} of {given}",
                    REMEDY,
                )

    def state(self) -> dict[str, Tensor]:
        """Return the weights under the names that the built module has."""
        used = {layer.name for layer in self.layers}
        found = {}
        for name, module in self.modules.items():
            if name in used:
                for key, value in module.state_dict().items():
                    found[f"{child(name)}.{key}"] = value.detach().clone()
        return found

    def _where(self, node: fx.Node) -> str:
        if node.op == "call_module":
            kind = type(self.module.get_submodule(str(node.target))).__name__
            return f"{node.target} ({kind})"
        target = getattr(node.target, "__name__", str(node.target))
        scopes = list((node.meta.get("nn_module_stack") or {}).values())
        inside = scopes[-1][0] if scopes and isinstance(scopes[-1], tuple) else ""
        return f"{node.name} ({target}{f' in {inside}' if inside else ''})"

    def _add(self, node: fx.Node, described: Described, inputs: Sequence[fx.Node]) -> str:
        kind, attributes = described
        name = str(node.target) if node.op == "call_module" else node.name
        base, count = name, 2
        while any(layer.name == name for layer in self.layers):
            name, count = f"{base}:{count}", count + 1
        taken = tuple(self._value(n) for n in inputs)
        self.layers.append(Layer(name, kind, taken, freeze(attributes)))
        self.values[node] = name
        return name

    def _value(self, node: Any) -> str:
        if isinstance(node, fx.Node) and node in self.values:
            return self.values[node]
        raise UnsupportedError(f"it takes {node}, which is no value of a layer")

    # what torch.fx calls its calls

    def _placeholder(self, node: fx.Node) -> None:
        if self.layers:
            if node.args:  # a default: the argument is left out
                return
            raise UnsupportedError("a second input")
        self.layers.append(Layer("input", "input"))
        self.values[node] = "input"

    def _get_attr(self, node: fx.Node) -> None:
        raise UnsupportedError("a parameter or buffer used outside a layer")

    def _output(self, node: fx.Node) -> None:
        result = node.args[0]
        if not isinstance(result, fx.Node):
            raise UnsupportedError("an output that is not one tensor")
        if self._value(result) == "input":
            raise UnsupportedError("no layer between input and output")
        self.output = self._value(result)

    def _call_module(self, node: fx.Node) -> None:
        module = self.module.get_submodule(str(node.target))
        if type(module) is nn.Identity:
            self.values[node] = self._value(node.args[0])
            return
        special = SPECIAL.get(type(module))
        if special is not None:
            special(self, node, module)
            return
        reader = READERS.get(type(module))
        if reader is None:
            raise UnsupportedError("this kind of layer is not supported")
        name = self._add(node, reader(module), [_first(node)])
        target = str(node.target)
        if target in self.first:  # called again: the same weights
            last = self.layers.pop()
            self.layers.append(
                Layer(name, last.kind, last.inputs, last.attributes, self.first[target])
            )
            return
        self.first[target] = name
        self.modules[name] = module

    def _call_function(self, node: fx.Node) -> None:
        reader = FUNCTIONS.get(node.target)
        if reader is None:
            raise UnsupportedError("this function is not supported")
        reader(self, node)

    def _call_method(self, node: fx.Node) -> None:
        reader = METHODS.get(str(node.target))
        if reader is None:
            raise UnsupportedError("this method is not supported")
        reader(self, node)


Taker = Callable[[_Reader, fx.Node], None]


def _first(node: fx.Node) -> fx.Node:
    found = node.args[0] if node.args else node.kwargs.get("input")
    if not isinstance(found, fx.Node):
        raise UnsupportedError("a call without a tensor first")
    return found


def _argument(node: fx.Node, position: int, name: str, default: Any = None) -> Any:
    return node.args[position] if len(node.args) > position else node.kwargs.get(name, default)


def _plain(describe: Callable[[fx.Node], Described]) -> Taker:
    """Return a reader of calls with one tensor."""

    def take(reader: _Reader, node: fx.Node) -> None:
        reader._add(node, describe(node), [_first(node)])

    return take


def _mode(mode: str) -> Taker:
    return _constant("activation", {"mode": mode})


def _constant(kind: str, attributes: dict[str, Any]) -> Taker:
    """Return a reader of calls that have nothing to say but their name."""

    def take(reader: _Reader, node: fx.Node) -> None:
        reader._add(node, (kind, attributes), [_first(node)])

    return take


def _binary(reader: _Reader, node: fx.Node, scale: float, other_scale: float) -> None:
    """`a + b` of two values, or of a value and a number."""
    a, b = node.args[0], node.args[1]
    if isinstance(a, fx.Node) and isinstance(b, fx.Node):
        if scale != 1 or other_scale != 1 or node.kwargs.get("alpha", 1) != 1:
            raise UnsupportedError("a difference or weighted sum of two values")
        reader._add(node, ("add", {}), [a, b])
        return
    value, number, first = (a, b, True) if isinstance(a, fx.Node) else (b, a, False)
    if not isinstance(value, fx.Node) or not isinstance(number, int | float):
        raise UnsupportedError("a sum with something that is no number")
    factor, shift = (scale, other_scale * number) if first else (other_scale, scale * number)
    affine = {"mode": "affine", "scale": float(factor), "shift": float(shift)}
    reader._add(node, ("activation", affine), [value])


def _plus(reader: _Reader, node: fx.Node) -> None:
    _binary(reader, node, 1.0, 1.0)


def _minus(reader: _Reader, node: fx.Node) -> None:
    _binary(reader, node, 1.0, -1.0)


def _times(reader: _Reader, node: fx.Node) -> None:
    numbers = [x for x in node.args if isinstance(x, int | float)]
    values = [x for x in node.args if isinstance(x, fx.Node)]
    if len(numbers) != 1 or len(values) != 1:
        raise UnsupportedError("a product of two values")
    affine = {"mode": "affine", "scale": float(numbers[0]), "shift": 0.0}
    reader._add(node, ("activation", affine), values)


def _over(reader: _Reader, node: fx.Node) -> None:
    value, number = node.args[0], node.args[1]
    if not isinstance(value, fx.Node) or not isinstance(number, int | float):
        raise UnsupportedError("a quotient of two values")
    affine = {"mode": "affine", "scale": 1.0, "shift": 0.0, "divide": float(number)}
    reader._add(node, ("activation", affine), [value])


def _cat(reader: _Reader, node: fx.Node) -> None:
    values, axis = node.args[0], _argument(node, 1, "dim", 0)
    if axis not in (1, -3) or not isinstance(values, list | tuple):
        raise UnsupportedError(f"concatenation along axis {axis}")
    reader._add(node, ("concat", {}), [v for v in values if isinstance(v, fx.Node)])


def _flatten(node: fx.Node) -> Described:
    if _argument(node, 1, "start_dim", 0) != 1 or _argument(node, 2, "end_dim", -1) != -1:
        raise UnsupportedError("flattening that is not from axis 1 to the end")
    return "flatten", {}


def _view(reader: _Reader, node: fx.Node) -> None:
    sizes = node.args[1:]
    if len(sizes) == 1 and isinstance(sizes[0], list | tuple):
        sizes = tuple(sizes[0])
    rest = sizes[1:]
    batch = sizes[0] if sizes else None
    if isinstance(batch, int) and batch != -1:
        raise UnsupportedError(f"a view with a batch of {batch}")
    if len(rest) == 1 and (rest[0] == -1 or isinstance(rest[0], int)):
        reader._add(node, ("flatten", {}), [_first(node)])
    elif len(rest) == 3 and all(isinstance(n, int) and n > 0 for n in rest):
        reader._add(node, ("reshape", {"shape": rest}), [_first(node)])
    else:
        raise UnsupportedError(f"a view of shape {sizes}")


def _size(reader: _Reader, node: fx.Node) -> None:
    """A batch size, for a view: no value of a layer."""


def _getitem(reader: _Reader, node: fx.Node) -> None:
    source, which = node.args
    if isinstance(source, fx.Node) and source in reader.indices:
        if which == 0:
            reader.values[node] = reader.values[source]
        else:
            reader.indices[node] = reader.indices[source]
        return
    if isinstance(source, fx.Node) and source not in reader.values:
        return  # an entry of a shape
    raise UnsupportedError("a part of a value")


def _attribute(_: _Reader, node: fx.Node) -> None:
    if node.args[1] != "shape":
        raise UnsupportedError(f"the attribute {node.args[1]}")


def _mean(node: fx.Node) -> Described:
    axes = _argument(node, 1, "dim")
    if axes not in ((2, 3), [2, 3], (-2, -1), [-2, -1], (-1, -2), [-1, -2]):
        raise UnsupportedError(f"a mean over axes {axes}")
    return modules.adaptive_pool("average", 1)


def _global_mean(reader: _Reader, node: fx.Node) -> None:
    reader._add(node, _mean(node), [_first(node)])
    if not _argument(node, 2, "keepdim", False):
        pooled = reader.layers[-1].name
        reader.layers.append(Layer(f"{pooled}-flat", "flatten", (pooled,)))
        reader.values[node] = f"{pooled}-flat"


def _dropout(mode: str) -> Taker:
    def take(reader: _Reader, node: fx.Node) -> None:
        training = _argument(node, 2, "training", True)
        if not isinstance(training, bool):
            raise UnsupportedError("dropout whose switch is computed")
        if not training:
            reader.values[node] = reader._value(_first(node))
            return
        p = float(_argument(node, 1, "p", 0.5))
        reader._add(node, ("dropout", {"mode": mode, "p": p}), [_first(node)])

    return take


def _max_pool(reader: _Reader, node: fx.Node) -> None:
    described = modules.max_pool(
        _argument(node, 1, "kernel_size"),
        _argument(node, 2, "stride"),
        _argument(node, 3, "padding", 0),
        _argument(node, 4, "dilation", 1),
        _argument(node, 5, "ceil_mode", False),
    )
    reader._add(node, described, [_first(node)])


def _max_pool_with_indices(reader: _Reader, node: fx.Node) -> None:
    _max_pool(reader, node)
    reader.indices[node] = reader.values[node]


def _average_pool(node: fx.Node) -> Described:
    return modules.average_pool(
        _argument(node, 1, "kernel_size"),
        _argument(node, 2, "stride"),
        _argument(node, 3, "padding", 0),
        _argument(node, 4, "ceil_mode", False),
        _argument(node, 5, "count_include_pad", True),
    )


def _interpolate(node: fx.Node) -> Described:
    return modules.resize(
        _argument(node, 2, "scale_factor"),
        _argument(node, 1, "size"),
        _argument(node, 3, "mode", "nearest"),
        _argument(node, 4, "align_corners"),
    )


def _pad(node: fx.Node) -> Described:
    sizes = tuple(_argument(node, 1, "pad"))
    mode = _argument(node, 2, "mode", "constant")
    if mode not in ("constant", "reflect", "replicate") or len(sizes) not in (2, 4):
        raise UnsupportedError(f"padding {sizes} of mode {mode!r}")
    value = float(_argument(node, 3, "value", 0.0) or 0.0)
    return "pad", {"mode": mode, "sizes": (*sizes, 0, 0)[:4], "value": value}


def _softmax(mode: str) -> Taker:
    return _plain(lambda n: ("activation", {"mode": mode, "axis": _argument(n, 1, "dim", -1)}))


_GLOBAL = _plain(lambda n: modules.adaptive_pool("average", _argument(n, 1, "output_size")))
_LEAKY = _plain(
    lambda n: (
        "activation",
        {"mode": "leaky-relu", "slope": _argument(n, 1, "negative_slope", 0.01)},
    )
)
_ELU = _plain(lambda n: ("activation", {"mode": "elu", "alpha": _argument(n, 1, "alpha", 1.0)}))
_GELU = _plain(
    lambda n: ("activation", {"mode": "gelu", "approximate": n.kwargs.get("approximate", "none")})
)

FUNCTIONS: dict[Any, Taker] = {
    F.relu: _mode("relu"), torch.relu: _mode("relu"), torch.relu_: _mode("relu"),
    F.relu_: _mode("relu"), F.relu6: _mode("relu6"), F.silu: _mode("silu"),
    F.mish: _mode("mish"), F.selu: _mode("selu"), F.hardswish: _mode("hard-swish"),
    F.hardsigmoid: _mode("hard-sigmoid"), torch.sigmoid: _mode("sigmoid"),
    F.sigmoid: _mode("sigmoid"), torch.tanh: _mode("tanh"), F.tanh: _mode("tanh"),
    F.leaky_relu: _LEAKY, F.elu: _ELU, F.gelu: _GELU,
    F.softmax: _softmax("softmax"), torch.softmax: _softmax("softmax"),
    F.log_softmax: _softmax("log-softmax"), torch.log_softmax: _softmax("log-softmax"),
    operator.add: _plus, operator.iadd: _plus, torch.add: _plus,
    operator.sub: _minus, torch.sub: _minus,
    operator.mul: _times, operator.imul: _times, torch.mul: _times, operator.truediv: _over,
    torch.cat: _cat, torch.concat: _cat,
    torch.flatten: _plain(_flatten), blocks.flattened: _constant("flatten", {}),
    F.max_pool2d: _max_pool, torch.max_pool2d: _max_pool,
    F.max_pool2d_with_indices: _max_pool_with_indices, F.avg_pool2d: _plain(_average_pool),
    F.adaptive_avg_pool2d: _GLOBAL, torch.mean: _global_mean,
    F.adaptive_max_pool2d: _plain(
        lambda n: modules.adaptive_pool("max", _argument(n, 1, "output_size"))
    ),
    F.interpolate: _plain(_interpolate), F.pad: _plain(_pad),
    F.dropout: _dropout("elements"), F.dropout2d: _dropout("channels"),
    operator.getitem: _getitem, getattr: _attribute,
}  # fmt: skip
"""Functions that can be read."""

METHODS: dict[str, Taker] = {
    "relu": _mode("relu"), "relu_": _mode("relu"), "sigmoid": _mode("sigmoid"),
    "tanh": _mode("tanh"), "add": _plus, "add_": _plus, "mul": _times, "mul_": _times,
    "sub": _minus, "div": _over, "flatten": _plain(_flatten), "view": _view, "reshape": _view,
    "mean": _global_mean, "size": _size, "softmax": _softmax("softmax"),
    "log_softmax": _softmax("log-softmax"),
}  # fmt: skip
"""Methods of tensors that can be read."""


def _upsample_conv(reader: _Reader, node: fx.Node, module: Any) -> None:
    """Doubling and a 3x3 convolution, written as the two operations that they are."""
    doubled = reader._add(node, ("unpool", {"mode": "repeat", "factor": (2, 2)}), [_first(node)])
    name = f"{doubled}:conv"
    a = {
        "outputs": module.weight.shape[0], "kernel": (3, 3), "stride": (1, 1), "padding": (1, 1),
        "dilation": (1, 1), "groups": 1, "bias": module.bias is not None,
        "padding_mode": "zeros", "transposed": False,
    }  # fmt: skip
    reader.layers.append(Layer(name, "conv", (doubled,), a, reader.first.get(str(node.target), "")))
    reader.values[node] = name
    if str(node.target) not in reader.first:
        reader.first[str(node.target)] = name
        reader.modules[name] = module


def _pool_module(reader: _Reader, node: fx.Node, module: Any) -> None:
    reader._add(node, READERS[nn.MaxPool2d](module), [_first(node)])
    if module.return_indices:
        reader.indices[node] = reader.values[node]


def _unpool_module(reader: _Reader, node: fx.Node, module: Any) -> None:
    indices = node.args[1] if len(node.args) > 1 else node.kwargs.get("indices")
    if not isinstance(indices, fx.Node) or indices not in reader.indices:
        raise UnsupportedError("un-pooling by indices that come from no pooling")
    pool = reader.indices[indices]
    so_far = Network("so far", reader.shape, tuple(reader.layers))
    by_name = {layer.name: layer for layer in reader.layers}
    size = infer(so_far)[by_name[pool].inputs[0]][1:]
    a = {
        "mode": "indices", "size": size, "of": pool, "kernel": modules.pair(module.kernel_size),
        "stride": modules.pair(module.stride), "padding": modules.pair(module.padding),
    }  # fmt: skip
    reader._add(node, ("unpool", a), [_first(node)])


SPECIAL: dict[type[nn.Module], Callable[[_Reader, fx.Node, Any], None]] = {
    blocks.UpsampleConv: _upsample_conv,
    nn.MaxPool2d: _pool_module,
    nn.MaxUnpool2d: _unpool_module,
}
"""Modules that are read as more than one operation, or give more than one value."""

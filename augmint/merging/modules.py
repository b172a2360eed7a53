"""Each kind of operation and the torch module that does it, in both directions.

`READERS` maps a module's class to the operation that describes it; `make` makes the module that an
operation describes. Attributes are complete: what is made from what was read computes the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augmint.core.errors import UsageError
from augmint.merging.network import Layer
from augmint.merging.shapes import Shape
from augmint.networks.blocks import BatchNorm2d, InstanceNorm, SpectralConv2d
from augmint.networks.stochastic import GaussianNoise

Described = tuple[str, dict[str, Any]]


class UnsupportedError(Exception):
    """What this version cannot describe, in words."""


def pair(value: Any) -> tuple[int, int]:
    """Return `value` for both sides.

    Raises:
        UnsupportedError: if it is no number and no pair.

    Example:
        >>> pair(3), pair([1, 2]), pair((5,))
        ((3, 3), (1, 2), (5, 5))
    """
    if isinstance(value, int):
        return value, value
    if isinstance(value, tuple | list) and len(value) == 2:
        return int(value[0]), int(value[1])
    if isinstance(value, tuple | list) and len(value) == 1:
        return int(value[0]), int(value[0])
    raise UnsupportedError(f"a size of {value!r}")


# activations ------------------------------------------------------------------------------------

PLAIN: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU, "relu6": nn.ReLU6, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "selu": nn.SELU,
    "silu": nn.SiLU, "mish": nn.Mish, "hard-swish": nn.Hardswish, "hard-sigmoid": nn.Hardsigmoid,
    "soft-sign": nn.Softsign, "log-sigmoid": nn.LogSigmoid,
}  # fmt: skip
_MODES = {cls: mode for mode, cls in PLAIN.items()}


class Affine(nn.Module):
    """`scale · x + shift`, or `x / divide`, constants.

    Example:
        >>> Affine(2.0, 1.0)(torch.tensor([3.0])), Affine(1.0, 0.0, divide=4.0)(torch.tensor([3.0]))
        (tensor([7.]), tensor([0.7500]))
    """

    def __init__(self, scale: float, shift: float, divide: float | None = None) -> None:
        super().__init__()
        self.scale, self.shift, self.divide = scale, shift, divide

    def forward(self, values: Tensor) -> Tensor:
        if self.divide is not None:
            return values / self.divide
        return self.scale * values + self.shift


def activation(attributes: dict[str, Any]) -> nn.Module:
    """Return the module of an activation's attributes.

    Example:
        >>> activation({"mode": "leaky-relu", "slope": 0.2})
        LeakyReLU(negative_slope=0.2)
    """
    a = attributes
    match a["mode"]:
        case "leaky-relu":
            return nn.LeakyReLU(a["slope"])
        case "elu":
            return nn.ELU(a["alpha"])
        case "celu":
            return nn.CELU(a["alpha"])
        case "gelu":
            return nn.GELU(approximate=a["approximate"])
        case "softplus":
            return nn.Softplus(a["beta"], a["threshold"])
        case "hard-tanh":
            return nn.Hardtanh(a["low"], a["high"])
        case "softmax":
            return nn.Softmax(a["axis"])
        case "log-softmax":
            return nn.LogSoftmax(a["axis"])
        case "affine":
            return Affine(a["scale"], a["shift"], a.get("divide"))
        case mode if mode in PLAIN:
            return PLAIN[mode]()
    raise UsageError("activations have known modes", a["mode"], f"one of {', '.join(PLAIN)}")


def _activation(m: Any) -> Described:
    match m:
        case nn.LeakyReLU():
            a: dict[str, Any] = {"mode": "leaky-relu", "slope": m.negative_slope}
        case nn.ELU():
            a = {"mode": "elu", "alpha": m.alpha}
        case nn.CELU():
            a = {"mode": "celu", "alpha": m.alpha}
        case nn.GELU():
            a = {"mode": "gelu", "approximate": m.approximate}
        case nn.Softplus():
            a = {"mode": "softplus", "beta": m.beta, "threshold": m.threshold}
        case nn.Hardtanh() if not isinstance(m, nn.ReLU6):
            a = {"mode": "hard-tanh", "low": m.min_val, "high": m.max_val}
        case nn.Softmax():
            a = {"mode": "softmax", "axis": m.dim}
        case nn.LogSoftmax():
            a = {"mode": "log-softmax", "axis": m.dim}
        case nn.PReLU():
            many = m.num_parameters > 1
            a = {"mode": "prelu", "channelwise": many}
        case _:
            a = {"mode": _MODES[type(m)]}
    return "activation", a


# reading ----------------------------------------------------------------------------------------


def _conv(m: Any) -> Described:
    padding = m.padding if isinstance(m.padding, str) else pair(m.padding)
    kernel, dilation = pair(m.kernel_size), pair(m.dilation)
    if padding == "valid":
        padding = (0, 0)
    if padding == "same" and all(
        d * (k - 1) % 2 == 0 for d, k in zip(dilation, kernel, strict=True)
    ):
        padding = (dilation[0] * (kernel[0] - 1) // 2, dilation[1] * (kernel[1] - 1) // 2)
    a = {
        "outputs": m.out_channels,
        "kernel": kernel,
        "stride": pair(m.stride),
        "padding": padding,
        "dilation": dilation,
        "groups": m.groups,
        "bias": m.bias is not None,
        "padding_mode": m.padding_mode,
        "transposed": isinstance(m, nn.ConvTranspose2d),
    }
    if a["transposed"]:
        a["output_padding"] = pair(m.output_padding)
    if isinstance(m, SpectralConv2d):
        a["spectral"] = True
    return "conv", a


def _dense(m: Any) -> Described:
    return "dense", {"outputs": m.out_features, "bias": m.bias is not None}


def max_pool(
    kernel: Any, stride: Any, padding: Any, dilation: Any = 1, ceil: bool = False
) -> Described:
    """Describe max-pooling from torch's arguments.

    Example:
        >>> kind, attributes = max_pool(3, 2, 1)
        >>> make(Layer("p", kind, ("x",), attributes), (4, 8, 8))(torch.zeros(1, 4, 8, 8)).shape
        torch.Size([1, 4, 4, 4])
    """
    return "pool", {
        "mode": "max",
        "kernel": pair(kernel),
        "stride": pair(kernel if stride in (None, ()) else stride),
        "padding": pair(padding),
        "dilation": pair(dilation),
        "ceil": bool(ceil),
    }


def average_pool(
    kernel: Any, stride: Any, padding: Any, ceil: bool = False, count: bool = True
) -> Described:
    """Describe average-pooling from torch's arguments.

    Example:
        >>> kind, attributes = average_pool(2, None, 0)
        >>> maps = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
        >>> make(Layer("p", kind, ("x",), attributes), (1, 2, 2))(maps)
        tensor([[[[3.]]]])
    """
    return "pool", {
        "mode": "average",
        "kernel": pair(kernel),
        "stride": pair(kernel if stride in (None, ()) else stride),
        "padding": pair(padding),
        "ceil": bool(ceil),
        "count_padding": bool(count),
    }


def adaptive_pool(mode: str, size: Any) -> Described:
    """Describe adaptive pooling; a side of None is kept.

    Example:
        >>> adaptive_pool("average", (None, 1))
        ('pool', {'mode': 'average', 'size': (0, 1)})
    """
    sides = (size, size) if size is None or isinstance(size, int) else tuple(size)
    return "pool", {"mode": mode, "size": tuple(0 if s is None else int(s) for s in sides)}


def resize(factor: Any, size: Any, mode: str, corners: bool | None) -> Described:
    """Describe interpolation that enlarges.

    Raises:
        UnsupportedError: for a mode other than nearest and bilinear.

    Example:
        >>> resize(2.0, None, "nearest", None)
        ('unpool', {'mode': 'repeat', 'factor': (2, 2)})
    """
    names = {"nearest": "repeat", "bilinear": "bilinear"}
    if mode not in names:
        raise UnsupportedError(f"interpolation mode {mode!r}")
    a: dict[str, Any] = {"mode": names[mode]}
    if size is not None:
        a["size"] = pair(size)
    else:
        both = factor if isinstance(factor, tuple | list) else (factor, factor)
        a["factor"] = tuple(int(f) if float(f).is_integer() else float(f) for f in both)
    if mode == "bilinear":
        a["corners"] = bool(corners)
    return "unpool", a


def _batch(m: Any) -> Described:
    if m.num_batches_tracked is None and m.track_running_stats:
        raise UnsupportedError("batch normalisation without its counter")
    a = {
        "mode": "batch",
        "eps": m.eps,
        "momentum": m.momentum,
        "affine": m.affine,
        "track": m.track_running_stats,
    }
    return "norm", a | ({"exact": True} if isinstance(m, BatchNorm2d) else {})


def _layer_norm(m: Any) -> Described:
    if m.elementwise_affine and m.bias is None:
        raise UnsupportedError("layer normalisation with a scale and no shift")
    return "norm", {
        "mode": "layer",
        "eps": m.eps,
        "affine": m.elementwise_affine,
        "axes": len(m.normalized_shape),
    }


def _instance(m: Any) -> Described:
    a = {"mode": "instance", "eps": m.eps, "affine": m.affine, "momentum": m.momentum}
    return "norm", a | {"track": m.track_running_stats}


def _pad(mode: str) -> Callable[[Any], Described]:
    def read(m: Any) -> Described:
        sizes = (m.padding,) * 4 if isinstance(m.padding, int) else tuple(m.padding)
        value = float(getattr(m, "value", 0.0)) if mode == "constant" else 0.0
        return "pad", {"mode": mode, "sizes": sizes, "value": value}

    return read


def _flatten(m: Any) -> Described:
    if m.start_dim != 1 or m.end_dim != -1:
        raise UnsupportedError(f"flattening from axis {m.start_dim} to {m.end_dim}")
    return "flatten", {}


def _unflatten(m: Any) -> Described:
    if m.dim != 1 or len(m.unflattened_size) != 3:
        raise UnsupportedError("unflattening to anything but (C, H, W)")
    return "reshape", {"shape": tuple(int(n) for n in m.unflattened_size)}


def _dropout(mode: str) -> Callable[[Any], Described]:
    return lambda m: ("dropout", {"mode": mode, "p": float(m.p)})


READERS: dict[type[nn.Module], Callable[[Any], Described]] = {
    nn.Conv2d: _conv,
    nn.ConvTranspose2d: _conv,
    SpectralConv2d: _conv,
    nn.Linear: _dense,
    nn.MaxPool2d: lambda m: max_pool(m.kernel_size, m.stride, m.padding, m.dilation, m.ceil_mode),
    nn.AvgPool2d: lambda m: average_pool(
        m.kernel_size, m.stride, m.padding, m.ceil_mode, m.count_include_pad
    ),
    nn.AdaptiveAvgPool2d: lambda m: adaptive_pool("average", m.output_size),
    nn.AdaptiveMaxPool2d: lambda m: adaptive_pool("max", m.output_size),
    nn.Upsample: lambda m: resize(m.scale_factor, m.size, m.mode, m.align_corners),
    nn.UpsamplingNearest2d: lambda m: resize(m.scale_factor, m.size, "nearest", None),
    nn.UpsamplingBilinear2d: lambda m: resize(m.scale_factor, m.size, "bilinear", True),
    nn.BatchNorm2d: _batch,
    nn.BatchNorm1d: _batch,
    BatchNorm2d: _batch,
    nn.InstanceNorm2d: _instance,
    InstanceNorm: lambda m: ("norm", {"mode": "instance-group", "eps": m.epsilon, "affine": True}),
    nn.GroupNorm: lambda m: (
        "norm",
        {"mode": "group", "groups": m.num_groups, "eps": m.eps, "affine": m.affine},
    ),
    nn.LayerNorm: _layer_norm,
    nn.LocalResponseNorm: lambda m: (
        "norm",
        {"mode": "local", "size": m.size, "alpha": m.alpha, "beta": m.beta, "k": m.k},
    ),
    nn.Dropout: _dropout("elements"),
    nn.Dropout2d: _dropout("channels"),
    nn.AlphaDropout: _dropout("alpha"),
    GaussianNoise: lambda m: ("dropout", {"mode": "noise", "p": float(m.deviation)}),
    nn.ZeroPad2d: _pad("constant"),
    nn.ConstantPad2d: _pad("constant"),
    nn.ReflectionPad2d: _pad("reflect"),
    nn.ReplicationPad2d: _pad("replicate"),
    nn.Flatten: _flatten,
    nn.Unflatten: _unflatten,
    **dict.fromkeys(PLAIN.values(), _activation),  # type: ignore[arg-type]
    **dict.fromkeys(
        (
            nn.LeakyReLU, nn.ELU, nn.CELU, nn.GELU, nn.Softplus, nn.Hardtanh, nn.Softmax,
            nn.LogSoftmax, nn.PReLU,
        ),
        _activation,
    ),
}  # fmt: skip
"""Module classes that can be read, exactly these (a subclass may compute something else)."""


# making -----------------------------------------------------------------------------------------


class Pad(nn.Module):
    """Pads left, right, top, bottom.

    Example:
        >>> Pad((1, 0, 0, 0), "constant", 9.0)(torch.zeros(1, 1, 1, 1))
        tensor([[[[9., 0.]]]])
    """

    def __init__(self, sizes: tuple[int, ...], mode: str, value: float) -> None:
        super().__init__()
        self.sizes, self.mode, self.value = list(sizes), mode, value

    def forward(self, maps: Tensor) -> Tensor:
        if self.mode == "constant":
            return F.pad(maps, self.sizes, value=self.value)
        return F.pad(maps, self.sizes, mode=self.mode)


class Repeat(nn.Module):
    """Un-pooling by repetition of values, or bilinear between them.

    Example:
        >>> Repeat({"mode": "repeat", "factor": (1, 2)})(torch.tensor([[[[1.0, 2.0]]]]))
        tensor([[[[1., 1., 2., 2.]]]])
    """

    def __init__(self, a: dict[str, Any]) -> None:
        super().__init__()
        self.size = a.get("size")
        self.factor = None if self.size else tuple(float(f) for f in a["factor"])
        self.mode = "bilinear" if a["mode"] == "bilinear" else "nearest"
        self.corners = a.get("corners") if self.mode == "bilinear" else None

    def forward(self, maps: Tensor) -> Tensor:
        return F.interpolate(maps, self.size, self.factor, self.mode, self.corners)


class Reshape(nn.Module):
    """`(N, C·H·W)` to `(N, C, H, W)`.

    Example:
        >>> Reshape((1, 2, 2))(torch.arange(4).reshape(1, 4)).tolist()
        [[[[0, 1], [2, 3]]]]
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, values: Tensor) -> Tensor:
        return values.reshape(values.shape[0], *self.shape)


class Flat(nn.Module):
    """`(N, C, H, W)` to `(N, C·H·W)`.

    Example:
        >>> Flat()(torch.arange(4).reshape(1, 1, 2, 2)).tolist()
        [[0, 1, 2, 3]]
    """

    def forward(self, maps: Tensor) -> Tensor:
        return torch.flatten(maps, 1)


def make(layer: Layer, given: Shape, indices: bool = False) -> nn.Module | None:
    """Return the module of an operation on one input of shape `given` (no batch axis).

    Args:
        layer: what to make; None is returned for input, add, concat and un-pooling by indices.
        given: shape of its input.
        indices: whether a max-pooling also gives the indices of its maxima.

    Example:
        >>> make(Layer("y", "dense", ("x",), {"outputs": 2, "bias": False}), (3,))
        Linear(in_features=3, out_features=2, bias=False)
    """
    a = dict(layer.attributes)
    match layer.kind:
        case "conv":
            return _make_conv(a, given[0])
        case "dense":
            return nn.Linear(given[-1], a["outputs"], a["bias"])
        case "pool":
            return _make_pool(a, indices)
        case "unpool" if a["mode"] != "indices":
            return Repeat(a)
        case "norm":
            return _make_norm(a, given)
        case "activation" if a["mode"] == "prelu":
            return nn.PReLU(given[0] if a["channelwise"] else 1)
        case "activation":
            return activation(a)
        case "dropout":
            kinds = {"elements": nn.Dropout, "channels": nn.Dropout2d, "alpha": nn.AlphaDropout}
            return GaussianNoise(a["p"]) if a["mode"] == "noise" else kinds[a["mode"]](a["p"])
        case "pad":
            return Pad(a["sizes"], a["mode"], a["value"])
        case "reshape":
            return Reshape(a["shape"])
        case "flatten":
            return Flat()
    return None


def _make_conv(a: dict[str, Any], inputs: int) -> nn.Module:
    kernel, stride, padding = a["kernel"], a["stride"], a["padding"]
    if a.get("spectral"):
        return SpectralConv2d(inputs, a["outputs"], kernel[0], stride[0], padding[0])
    if a["transposed"]:
        return nn.ConvTranspose2d(
            inputs, a["outputs"], kernel, stride, padding, a["output_padding"], a["groups"],
            a["bias"], a["dilation"], a["padding_mode"],
        )  # fmt: skip
    return nn.Conv2d(
        inputs, a["outputs"], kernel, stride, padding, a["dilation"], a["groups"], a["bias"],
        a["padding_mode"],
    )  # fmt: skip


def _make_pool(a: dict[str, Any], indices: bool) -> nn.Module:
    if "size" in a:
        size = tuple(s or None for s in a["size"])
        return (nn.AdaptiveMaxPool2d if a["mode"] == "max" else nn.AdaptiveAvgPool2d)(size)
    if a["mode"] == "average":
        ceil, count = a["ceil"], a["count_padding"]
        return nn.AvgPool2d(a["kernel"], a["stride"], a["padding"], ceil, count)
    return nn.MaxPool2d(a["kernel"], a["stride"], a["padding"], a["dilation"], indices, a["ceil"])


def _make_norm(a: dict[str, Any], given: Shape) -> nn.Module:
    channels = given[0]
    match a["mode"]:
        case "batch" if len(given) == 1:
            return nn.BatchNorm1d(channels, a["eps"], a["momentum"], a["affine"], a["track"])
        case "batch":
            cls = BatchNorm2d if a.get("exact") else nn.BatchNorm2d
            return cls(channels, a["eps"], a["momentum"], a["affine"], a["track"])
        case "instance":
            return nn.InstanceNorm2d(channels, a["eps"], a["momentum"], a["affine"], a["track"])
        case "instance-group":
            return InstanceNorm(channels, a["eps"])
        case "group":
            return nn.GroupNorm(a["groups"], channels, a["eps"], a["affine"])
        case "layer":
            return nn.LayerNorm(given, a["eps"], a["affine"])
        case "local":
            return nn.LocalResponseNorm(a["size"], a["alpha"], a["beta"], a["k"])
    raise UsageError("normalisations have known modes", a["mode"], "write the description again")

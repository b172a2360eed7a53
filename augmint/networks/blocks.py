"""Parts that networks share: upsampling, normalisation, initialisation.

Everything here is plain torch with one twist each: an exact and faster form of a common pair of
layers (`UpsampleConv`), a form that avoids a defect (`instance_norm`, `BatchNorm2d`), or state that
is explicit and therefore checkpointed (`SpectralConv2d`, `SpectralLinear`).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from augmint.core.types import FloatImages

NetworkT = TypeVar("NetworkT", bound=nn.Module)


def fold_upsampling(weight: Tensor) -> Tensor:
    """Return the 4x4 kernel that does nearest x2 upsampling and a 3x3 convolution at once.

    Each output pixel of a doubled image sees only 2x2 different input pixels, so that the nine
    weights act as four sums; in each direction

        w4 = A w3,   A = [[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]]

    and `conv_transpose2d(x, w4, stride=2, padding=1)` equals
    `conv2d(interpolate(x, scale_factor=2), w3, padding=1)`, borders included, with 4/9 of the
    multiplications.

    Args:
        weight: `(out, in, 3, 3)`.

    Returns:
        `(in, out, 4, 4)`, as `conv_transpose2d` wants it; gradients flow to `weight`.

    Example:
        >>> x, w = torch.ones(1, 1, 3, 2), torch.arange(9.0).view(1, 1, 3, 3)
        >>> at_once = F.conv_transpose2d(x, fold_upsampling(w), stride=2, padding=1)
        >>> torch.equal(at_once, F.conv2d(F.interpolate(x, scale_factor=2), w, padding=1))
        True
    """
    w = weight.transpose(0, 1)
    top, middle, bottom = w.unbind(2)
    w = torch.stack((bottom, middle + bottom, top + middle, top), 2)
    left, centre, right = w.unbind(3)
    return torch.stack((right, centre + right, left + centre, left), 3)


class Filtering:
    """Marks a layer of our own whose `weight` is `(out, in, …)`;
    torch's are known by their type."""

    weight: Tensor


class Embeds:
    """Marks a dense layer whose weight holds a vector for each class or value of a code."""


class Embedding(Embeds, nn.Linear):
    """A dense layer of a code, without bias.

    Example:
        >>> layer = Embedding(3, 2)
        >>> torch.equal(layer(torch.eye(3)), layer.weight.T)
        True
        >>> filters(layer)
        []
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)


def filters(network: nn.Module) -> list[Tensor]:
    """Return the weights of convolutions and dense layers as `(out, in, …)`: a filter a row.

    Biases, constants and embeddings are none. What is transposed is turned round.

    Example:
        >>> network = nn.Sequential(nn.ConvTranspose2d(2, 5, 4), nn.Linear(3, 7))
        >>> [w.shape[0] for w in filters(network)]
        [5, 7]
    """
    found = []
    for module in network.modules():
        if isinstance(module, Embeds):
            continue
        if isinstance(module, nn.ConvTranspose2d):
            found.append(module.weight.transpose(0, 1))
        elif isinstance(module, nn.Conv2d | nn.Linear | Filtering):
            found.append(module.weight)
    return found


class UpsampleConv(Filtering, nn.Module):
    """Nearest x2 upsampling followed by a 3x3 convolution, `(N, in, H, W)` to `(N, out, 2H, 2W)`.

    The parameter is the 3x3 weight in both forms; `folded` may be changed at any time and only
    trades rounding (1e-6) for speed (`fold_upsampling`).

    Args:
        inputs, outputs: channels.
        bias: whether to add a bias.
        folded: run as one transposed convolution; False runs the two layers as written.

    Example:
        >>> layer, images = UpsampleConv(2, 3), torch.ones(1, 2, 4, 5)
        >>> at_once = layer(images)
        >>> layer.folded = False
        >>> torch.allclose(at_once, layer(images), atol=1e-4), at_once.shape
        (True, torch.Size([1, 3, 8, 10]))
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True, folded: bool = True) -> None:
        super().__init__()
        self.folded = folded
        self.out_channels = outputs
        self.weight: Tensor = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, images: FloatImages) -> FloatImages:
        weight = self.used_weight()
        if self.folded:
            kernel = fold_upsampling(weight)
            return F.conv_transpose2d(images, kernel, self.bias, stride=2, padding=1)
        doubled = F.interpolate(images, scale_factor=2, mode="nearest")
        return F.conv2d(doubled, weight, self.bias, padding=1)

    def used_weight(self) -> Tensor:
        """Return the 3x3 weight that the images meet."""
        return self.weight


def instance_norm(
    images: FloatImages,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    epsilon: float = 1e-5,
) -> FloatImages:
    """Normalise each channel of each image over its pixels (Ulyanov et al. 2016, 1607.08022).

        y = (x - mean_hw x) / sqrt(var_hw x + epsilon) * weight + bias

    Computed as group normalisation with one group a channel. `torch.nn.functional.instance_norm`
    must not be used in its place: with a batch of one in channels_last format it returns wrong
    gradients on the CPU (torch 2.13), and it is 2 to 3 times slower in the contiguous format.

    Args:
        images: `(N, C, H, W)`, H·W > 1.
        weight, bias: `(C,)`.

    Example:
        >>> instance_norm(torch.tensor([[[[1.0, 3.0]], [[5.0, 25.0]]]])).flatten()
        tensor([-1.0000,  1.0000, -1.0000,  1.0000])
    """
    return F.group_norm(images, images.shape[1], weight, bias, epsilon)


class InstanceNorm(nn.Module):
    """`instance_norm` with a learned weight and bias a channel; contiguous format is fastest.

    Example:
        >>> images = torch.tensor([[[[1.0, 3.0, 8.0]]]])
        >>> layer = InstanceNorm(1)
        >>> torch.allclose(layer(images), layer(4.0 * images - 7.0), atol=1e-4)
        True
    """

    def __init__(self, channels: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, images: FloatImages) -> FloatImages:
        return instance_norm(images, self.weight, self.bias, self.epsilon)


SEQUENTIAL = 2048
"""Positions over which torch's channels_last statistics may add up in order."""


@torch.no_grad()
def batch_statistics(images: FloatImages) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance of each channel of channels_last images, both `(C,)`.

    torch 2.13 adds up all N·H·W positions one after the other in float32 here: with 131 072
    positive values the variance is off by 8e-4 (1e-7 in the contiguous format), enough to turn
    gradients by several per cent. Runs are therefore added apart, as if they were more channels,
    and joined by

        mean = mean_k m_k,   variance = mean_k v_k + mean_k (m_k - mean)²

    (Chan, Golub and LeVeque 1983), at the same speed; the error falls to 2e-6.

    Args:
        images: `(N, C, H, W)` in channels_last format, N·H·W even.

    Example:
        >>> images = torch.arange(8.0).view(2, 1, 2, 2).to(memory_format=torch.channels_last)
        >>> batch_statistics(images)  # 0 … 7
        (tensor([3.5000]), tensor([5.2500]))
    """
    n, channels, height, width = images.shape
    runs = _runs(n * height * width, channels)
    # two rows a "pixel": with one the layout would count as contiguous, whose kernel is slow here
    apart = images.permute(0, 2, 3, 1).reshape(-1, 2, runs * channels).permute(0, 2, 1)
    means, variances = torch.batch_norm_update_stats(apart[..., None], None, None, 0.0)
    means, variances = means.view(runs, channels), variances.view(runs, channels)
    mean = means.mean(0)
    return mean, variances.mean(0).add_((means - mean).square_().mean(0))


@functools.cache
def _runs(positions: int, channels: int) -> int:
    """Return the most runs that divide the positions evenly and whose sums stay in cache."""
    pairs = positions // 2
    most = max(min(4096 // channels, pairs), 1)
    return next(runs for runs in range(most, 0, -1) if pairs % runs == 0)


class NormaliseBatch(torch.autograd.Function):
    """Batch normalisation by the batch's own statistics, given; gradients know they are its own.

    Example:
        >>> x = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1).requires_grad_()
        >>> y = NormaliseBatch.apply(x, None, None, torch.tensor([2.0]), torch.tensor([1.0]), 0.0)
        >>> y.flatten().tolist()
        [-1.0, 1.0]
        >>> torch.autograd.grad(y.sum(), x)[0].abs().max()  # the mean moves with the images
        tensor(0.)
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        images: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        epsilon: float,
    ) -> Tensor:
        """Return `(images - mean) / sqrt(variance + epsilon) · weight + bias`."""
        ctx.epsilon = epsilon
        ctx.save_for_backward(images, weight, mean, (variance + epsilon).rsqrt())
        args = (images, weight, bias, mean, variance, False, 0.0, epsilon)
        normed: Tensor = torch.native_batch_norm(*args)[0]
        return normed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # type: ignore[override]
        """Return the gradients of images, weight and bias; mean and variance move with images."""
        images, weight, mean, scale = ctx.saved_tensors
        wanted = [True, weight is not None, weight is not None]
        found = torch.ops.aten.native_batch_norm_backward(
            gradient, images, weight, None, None, mean, scale, True, ctx.epsilon, wanted
        )
        return (*(f if w else None for f, w in zip(found, wanted, strict=True)), None, None, None)


class BatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d`, with exact statistics in channels_last format too (`batch_statistics`).

    Example:
        >>> images = torch.rand(8, 2, 128, 128).add(1.0).to(memory_format=torch.channels_last)
        >>> exact = nn.BatchNorm2d(2).double()(images.double())
        >>> torch.allclose(BatchNorm2d(2)(images).double(), exact, atol=1e-4)
        True
    """

    def forward(self, input: Tensor) -> Tensor:
        n, _, height, width = input.shape
        positions = n * height * width
        imprecise = (
            self.training
            and positions > SEQUENTIAL
            and positions % 2 == 0
            and input.dtype == torch.float32
            and input.device.type == "cpu"
            and not input.is_contiguous()
            and input.is_contiguous(memory_format=torch.channels_last)
        )
        means, variances, count = self.running_mean, self.running_var, self.num_batches_tracked
        if not imprecise or means is None or variances is None or self.momentum is None:
            return super().forward(input)
        mean, variance = batch_statistics(input)
        with torch.no_grad():
            means.lerp_(mean, self.momentum)
            variances.lerp_(variance * (positions / (positions - 1)), self.momentum)
            if count is not None:
                count += 1
        normed: Tensor = NormaliseBatch.apply(
            input, self.weight, self.bias, mean, variance, self.eps
        )
        return normed


def _flat(weight: Tensor) -> Tensor:
    # free of a copy in channels_last; the order of columns does not change the norm
    return weight.flatten(1) if weight.ndim == 2 else weight.permute(0, 2, 3, 1).flatten(1)


class _Spectral(nn.Module):
    """Divides a weight by its largest singular value, found by power iteration.

        v = W^T u / |W^T u|,   u = W v / |W v|,   sigma = u^T W v,   weight / sigma

    (Miyato et al. 2018, 1802.05957, algorithm 1). `u` is a buffer: it is saved and restored with
    the weights. One iteration is made in each training forward; none in evaluation.
    """

    u: Tensor
    weight: Tensor

    def _add_state(self) -> None:
        self.register_buffer("u", F.normalize(torch.randn(self.weight.shape[0]), dim=0))

    @torch.no_grad()
    def settle(self, iterations: int = 15) -> None:
        """Iterate until `u` has settled; called once after the weights are drawn."""
        matrix = _flat(self.weight)
        for _ in range(iterations):
            v = F.normalize(matrix.T @ self.u, dim=0)
            self.u.copy_(F.normalize(matrix @ v, dim=0))

    def normalised_weight(self) -> Tensor:
        """Return `weight / sigma`; gradients flow through the weight and sigma, not u and v."""
        with torch.autocast(self.weight.device.type, enabled=False):
            matrix = _flat(self.weight)
            with torch.no_grad():
                u = self.u.clone()
                v = F.normalize(matrix.T @ u, dim=0)
                if self.training:
                    u = F.normalize(matrix @ v, dim=0)
                    self.u.copy_(u)
            sigma = torch.dot(u, matrix @ v)
            return self.weight / sigma


class SpectralConv2d(nn.Conv2d, _Spectral):
    """A convolution whose weight, as an `(out, in·k·k)` matrix, has spectral norm 1.

    Example:
        >>> layer = SpectralConv2d(1, 1, 2)
        >>> _ = nn.init.ones_(layer.weight)  # as a row (1, 1, 1, 1), of norm 2
        >>> [round(w, 4) for w in layer.normalised_weight().flatten().tolist()]
        [0.5, 0.5, 0.5, 0.5]
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding)
        self._add_state()

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.normalised_weight(), self.bias)


class SpectralLinear(nn.Linear, _Spectral):
    """A linear layer whose weight has spectral norm 1.

    Example:
        >>> layer = SpectralLinear(2, 2, bias=False)
        >>> layer.weight.data = torch.tensor([[4.0, 0.0], [0.0, 1.0]])
        >>> layer.settle(100)
        >>> layer(torch.ones(1, 2)).tolist()
        [[1.0, 0.25]]
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias)
        self._add_state()

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.normalised_weight(), self.bias)


class SpectralUpsampleConv(UpsampleConv, _Spectral):
    """`UpsampleConv` whose 3x3 weight, as an `(out, in·9)` matrix, has spectral norm 1.

    Example:
        >>> layer = SpectralUpsampleConv(1, 1)
        >>> _ = nn.init.constant_(layer.weight, 5.0)  # nine fives, of norm 15
        >>> [round(w, 4) for w in layer.used_weight()[0, 0, 0].tolist()]
        [0.3333, 0.3333, 0.3333]
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self._add_state()

    def used_weight(self) -> Tensor:
        return self.normalised_weight()


def flattened(maps: FloatImages) -> Tensor:
    """Return `(N, C·H·W)`, channel by channel, with the gradient in the maps' own layout.

    `flatten` hands a contiguous gradient back; behind channels_last maps the next elementwise
    backward pass then walks memory in two orders, ten times slower than one copy here.

    Example:
        >>> flattened(torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]]))
        tensor([[1., 2., 3., 4.]])
    """
    if maps.requires_grad and maps.is_contiguous(memory_format=torch.channels_last):
        maps.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
    return maps.flatten(1)


def channels_last(network: NetworkT) -> NetworkT:
    """Return the network with its convolution weights in channels_last memory format.

    Example:
        >>> channels_last(nn.Conv2d(3, 8, 5)).weight.stride()  # of neighbours in a channel: 3
        (75, 1, 15, 3)
    """
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def initialise(network: nn.Module, deviation: float = 0.02) -> None:
    """Draw all weights from N(0, deviation²),
    scales of batch norms from N(1, deviation²), biases 0.

    (Radford et al. 2015, 1511.06434, section 4.) Reads torch's global generator: call inside
    `streams.scope`. Spectral state is settled on the new weights.

    Example:
        >>> layer = nn.Linear(300, 300)
        >>> initialise(layer)
        >>> round(layer.weight.std().item(), 3), bool(layer.bias.any())
        (0.02, False)
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | UpsampleConv):
            nn.init.normal_(module.weight, 0.0, deviation)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, deviation)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, _Spectral):
            module.settle()


def initialise_glorot(network: nn.Module) -> None:
    """Draw weights uniformly in ±sqrt(6 / (fan_in + fan_out)), biases 0 (Glorot and Bengio 2010).

    Example:
        >>> layer = nn.Linear(300, 300)
        >>> initialise_glorot(layer)
        >>> round(layer.weight.abs().max().item(), 2)  # sqrt(6 / 600)
        0.1
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def initialise_orthogonal(network: nn.Module) -> None:
    """Draw weights as matrices `(out, rest)` with orthonormal rows or columns, biases 0.

    (Saxe et al. 2014, 1312.6120; as in Brock et al. 2018, 1809.11096, appendix C.) Spectral state
    is settled on the new weights.

    Example:
        >>> layer = nn.Linear(5, 3)
        >>> initialise_orthogonal(layer)
        >>> torch.allclose(layer.weight @ layer.weight.T, torch.eye(3), atol=1e-5)
        True
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | UpsampleConv):
            nn.init.orthogonal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
            if isinstance(module, _Spectral):
                module.settle()


def initialise_he(network: nn.Module) -> None:
    """Draw weights from N(0, 2 / fan_in), biases 0: keeps variance through ReLUs (He et al. 2015).

    Of convolutions and dense layers; transposed convolutions stay as torch drew them.

    Example:
        >>> layer = nn.Linear(200, 400)
        >>> initialise_he(layer)
        >>> round(layer.weight.std().item(), 2)  # sqrt(2 / 200)
        0.1
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)

"""Randomness from named, counter-based streams, whole batches at a time.

A draw is a pure function of (seed, purpose, step, id, position): nothing depends on the worker
count, on the batch a sample travels in, or on what else ran. The generator is Philox 4x32-10
(Salmon, Moraes, Dror and Shaw, 2011), vectorised over ids:

    key = first 64 bits of SHA-256(seed, purpose);  counter = (block, step, id_low, id_high)

What can only read torch's global generator (dropout, some initialisers) runs inside `scope`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

UInt32 = npt.NDArray[np.uint32]
_MULTIPLIERS = np.array([0xD2511F53, 0xCD9E8D57], np.uint64)[:, None, None]
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_HIGH_WORD = 1 if sys.byteorder == "little" else 0


def philox(counter: tuple[UInt32, UInt32, UInt32, UInt32], key: tuple[int, int]) -> list[UInt32]:
    """Return the four output words of Philox 4x32-10 for arrays of counters.

    Example:
        >>> zero = np.zeros(1, np.uint32)
        >>> [hex(int(w[0])) for w in philox((zero, zero, zero, zero), (0, 0))]
        ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    even = np.stack((counter[0], counter[2])).astype(np.uint32).reshape(2, 1, -1)
    odd = np.stack((counter[1], counter[3])).astype(np.uint32).reshape(2, 1, -1)
    even, odd = _rounds(even, odd, key)
    return [w.reshape(counter[0].shape) for w in (even[0], odd[0], even[1], odd[1])]


def _rounds(even: UInt32, odd: UInt32, key: tuple[int, int]) -> tuple[UInt32, UInt32]:
    """Ten rounds on words 0 and 2 (`even`, overwritten) and 1 and 3 (`odd`), each `(2, A, B)`.

    Three calls a round on whole arrays: small batches cost what numpy's calls cost.
    """
    products = [np.empty(even.shape, np.uint64) for _ in range(2)]
    halves = [p.view(np.uint32).reshape(*even.shape, 2)[::-1] for p in products]
    highs = [h[..., _HIGH_WORD] for h in halves]
    lows = [h[..., 1 - _HIGH_WORD] for h in halves]
    for i, round_key in enumerate(_schedule(key)):
        turn = i & 1  # the product of the last round is still read as `odd`
        np.multiply(even, _MULTIPLIERS, out=products[turn])
        np.bitwise_xor(highs[turn], odd, out=even)
        np.bitwise_xor(even, round_key, out=even)
        odd = lows[turn]
    return even, odd


@functools.lru_cache(maxsize=256)
def _schedule(key: tuple[int, int]) -> list[UInt32]:
    """The keys of the ten rounds, `(2, 1, 1)` each."""
    words = [[(k + i * w) & 0xFFFFFFFF for k, w in zip(key, _WEYL, strict=True)] for i in range(10)]
    return list(np.array(words, np.uint32)[:, :, None, None])


class Stream:
    """Successive draws for a batch of ids; rows depend on their own id alone.

    Made by `stream`; each call moves on, so two calls on one stream never share numbers.

    Example:
        >>> numbers = stream(0, "latent", ids=2)
        >>> first, second = numbers.uniform(3), numbers.uniform(3)
        >>> first.shape, bool((first == second).any())
        (torch.Size([2, 3]), False)
    """

    def __init__(
        self,
        key: tuple[int, int],
        step: int,
        ids: npt.NDArray[np.uint64],
        bound: float | None = None,
    ) -> None:
        self._key = key
        self._bound = bound
        self._step = np.uint32(step & 0xFFFFFFFF)
        self._ids = ids
        self._block = 0

    def words(self, n: int) -> UInt32:
        """Return `(ids, n)` uniform 32-bit words."""
        blocks = -(-n // 4)
        rows = len(self._ids)
        even = np.empty((2, rows, blocks), np.uint32)
        odd = np.empty((2, rows, blocks), np.uint32)
        even[0] = np.arange(self._block, self._block + blocks, dtype=np.uint32)
        even[1] = (self._ids & _LOW)[:, None]
        odd[0] = self._step
        odd[1] = (self._ids >> _SHIFT)[:, None]
        self._block += blocks
        even, odd = _rounds(even, odd, self._key)
        out = np.empty((rows, blocks, 2, 2), np.uint32)
        out[..., 0] = even.transpose(1, 2, 0)
        out[..., 1] = odd.transpose(1, 2, 0)
        return out.reshape(rows, 4 * blocks)[:, :n]

    def uniform(self, n: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Return `(ids, n)` float32 values, uniform in [low, high).

        Example:
            >>> drawn = stream(0, "noise", ids=100).uniform(100, -1.0, 3.0)
            >>> bool((drawn >= -1.0).all() and (drawn < 3.0).all()), round(drawn.mean().item(), 1)
            (True, 1.0)
        """
        import torch

        unit = (self.words(n) >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)
        values = torch.from_numpy(unit)
        return values if (low, high) == (0.0, 1.0) else values * (high - low) + low

    def normal(self, n: int) -> Tensor:
        """Return `(ids, n)` float32 values from N(0, 1), by Box and Muller's transform.

        A stream with a bound gives the same numbers, moved within it (`within`).

        Example:
            >>> stream(0, "latent", ids=100).normal(100).std().round(decimals=1)
            tensor(1.)
            >>> bool((stream(0, "latent", ids=100, bound=2.0).normal(100).abs() <= 2.0).all())
            True
        """
        import torch

        pairs = -(-n // 2)
        words = self.words(2 * pairs).reshape(len(self._ids), pairs, 2)
        # +0.5 keeps the logarithm's argument inside (0, 1)
        u = (words[..., 0].astype(np.float64) + 0.5) * 2.0**-32
        angle = words[..., 1].astype(np.float64) * (2.0 * math.pi * 2.0**-32)
        radius = np.sqrt(-2.0 * np.log(u))
        both = np.empty((len(self._ids), pairs, 2), np.float32)
        np.multiply(radius, np.cos(angle), out=both[..., 0], casting="same_kind")
        np.multiply(radius, np.sin(angle), out=both[..., 1], casting="same_kind")
        values = both.reshape(len(self._ids), 2 * pairs)[:, :n]
        drawn = torch.from_numpy(np.ascontiguousarray(values))
        return drawn if self._bound is None else within(drawn, self._bound)

    def integers(self, n: int, high: int) -> Tensor:
        """Return `(ids, n)` int64 values, uniform in 0 … high-1 (bias below 2^-32 · high).

        Example:
            >>> stream(0, "dice", ids=100).integers(1, 6).unique()
            tensor([0, 1, 2, 3, 4, 5])
        """
        import torch

        scaled = (self.words(n).astype(np.uint64) * np.uint64(high)) >> _SHIFT
        return torch.from_numpy(scaled.astype(np.int64))


def within(values: Tensor, bound: float) -> Tensor:
    """Turn draws from N(0, 1) into draws from N(0, 1) given that they lie within ±bound.

        z' = Φ⁻¹(Φ(-b) + Φ(z) (Φ(b) - Φ(-b))) = √2 erf⁻¹(erf(z / √2) · erf(b / √2))

    the inverse of the distribution function at u = Φ(z): exact, in order, one draw each.

    Args:
        values: any shape, float32.
        bound: above 0.

    Example:
        >>> import torch
        >>> within(torch.tensor([-4.0, 0.0, 1.0]), 0.5)
        tensor([-0.5000,  0.0000,  0.3337])
    """
    import torch

    root = math.sqrt(2.0)
    share = torch.erf(values.double() / root) * math.erf(bound / root)
    largest = np.float32(bound)
    if float(largest) > bound:
        largest = np.nextafter(largest, np.float32(0.0))
    limit = float(largest)
    return (torch.erfinv(share) * root).float().clamp(-limit, limit)


def stream(
    seed: int,
    purpose: str,
    step: int = 0,
    ids: int | npt.ArrayLike | Tensor = 1,
    bound: float | None = None,
) -> Stream:
    """Return the stream of a seed, a purpose, a step and a batch of ids.

    Args:
        seed: any integer.
        purpose: names what the numbers are for ("latent", "augment.real"); streams of two
            purposes are independent.
        step: the training step, or any counter below 2^32.
        ids: the ids of the rows, or their count (then the ids are 0 … count-1).
        bound: normal draws lie within ±bound; None: anywhere.

    Example:
        >>> a = stream(1, "latent", step=3, ids=[7, 9]).normal(2)
        >>> b = stream(1, "latent", step=3, ids=[9]).normal(2)
        >>> bool((a[1] == b[0]).all())
        True
    """
    if isinstance(ids, int | np.integer):
        rows = np.arange(int(ids), dtype=np.uint64)
    else:
        rows = np.asarray(ids).astype(np.int64).astype(np.uint64).reshape(-1)
    return Stream(_key(seed, purpose), step, rows, bound)


def permutation(seed: int, purpose: str, n: int, step: int = 0) -> npt.NDArray[np.int64]:
    """Return a random order of 0 … n-1, a pure function of its arguments.

    Example:
        >>> sorted(permutation(0, "rows", 5).tolist())
        [0, 1, 2, 3, 4]
        >>> bool((permutation(0, "rows", 99) == permutation(0, "rows", 99, step=1)).all())
        False
    """
    words = stream(seed, purpose, step, n).words(2).astype(np.uint64)
    keys = (words[:, 0] << _SHIFT) | words[:, 1]
    return np.argsort(keys, kind="stable").astype(np.int64)


class Orders:
    """The rows of each step's batch: all rows in one random order after another, endlessly.

    Step s has positions s·batch to (s + 1)·batch - 1 of that sequence, whatever was asked before.

    Args:
        seed, purpose: name the random stream.
        n: rows.
        batch: of a step.

    Example:
        >>> orders = Orders(0, "rows", 4, 2)
        >>> sorted([*orders(0), *orders(1)]) == [0, 1, 2, 3]
        True
    """

    def __init__(self, seed: int, purpose: str, n: int, batch: int) -> None:
        self.seed, self.purpose, self.n, self.batch = seed, purpose, n, batch
        self._kept: dict[int, npt.NDArray[np.int64]] = {}

    def __call__(self, step: int) -> npt.NDArray[np.int64]:
        """Return the rows of a step, int64 `(batch,)`."""
        places = np.arange(step * self.batch, (step + 1) * self.batch)
        wanted = range(int(places[0]) // self.n, int(places[-1]) // self.n + 1)
        if list(self._kept) != list(wanted):
            kept = self._kept
            self._kept = {
                e: kept[e] if e in kept else permutation(self.seed, self.purpose, self.n, e)
                for e in wanted
            }
        # one order holds nearly every step: it is not copied
        orders = list(self._kept.values())
        whole = orders[0] if len(orders) == 1 else np.concatenate(orders)
        return whole[places - wanted[0] * self.n]


def derive(seed: int, purpose: str) -> int:
    """Return a 63-bit seed for a purpose, for libraries that take an integer seed.

    Example:
        >>> derive(0, "judge") == derive(0, "judge"), derive(0, "judge") == derive(0, "critic")
        (True, False)
    """
    k0, k1 = _key(seed, purpose)
    return ((k0 << 32) | k1) >> 1


@contextlib.contextmanager
def scope(seed: int, purpose: str, step: int = 0) -> Iterator[None]:
    """Seed torch's global generators inside the block and restore them after it.

    Example:
        >>> import torch
        >>> with scope(0, "init"):
        ...     drawn = torch.rand(4)
        >>> with scope(0, "init"):
        ...     torch.equal(torch.rand(4), drawn)
        True
    """
    import torch

    with torch.random.fork_rng(devices=_cuda_devices()):
        torch.manual_seed(derive(seed, f"{purpose}/{step}"))
        yield


def _cuda_devices() -> list[int]:
    import torch

    return list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []


@functools.lru_cache(maxsize=1024)
def _key(seed: int, purpose: str) -> tuple[int, int]:
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")

"""Randomness that belongs to the sample: counter-based numbers from (seed, path, sample id, draw).

The generator is the finaliser of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number
generators") applied to a hashed sample id plus a counter, in torch integer arithmetic, which wraps in the same way on
every device. Integers and uniforms have the same bits on CPU and GPU; normals agree to rounding.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import special
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_FIRST = -4658895280553007687  # 0xBF58476D1CE4E5B9
_SECOND = -7723592293110705685  # 0x94D049BB133111EB


@dataclass(frozen=True)
class Stream:
    """An independent source of numbers for every sample.

    All draws take `ids` [n] int64 and return [n, *shape] on the device of `ids`; `draw`, a number or one number per
    sample, separates repeated draws of one stream.
    """

    key: int

    @classmethod
    def seeded(cls, seed: int) -> "Stream":
        """The root stream of a run."""
        return cls(0).stream("seed", seed)

    def stream(self, *path: str | int) -> "Stream":
        """The stream at `path` below this one, independent of every other path."""
        digest = hashlib.blake2b(repr((self.key, path)).encode(), digest_size=8).digest()
        return Stream(int.from_bytes(digest, "little", signed=True))

    def words(self, ids: Tensor, count: int, draw: int | Tensor = 0) -> Tensor:
        """Raw 64-bit words, [n, count] int64."""
        start = _mixed(_mixed(ids.to(torch.int64) * _GOLDEN + _FIRST) ^ self.key)
        # As a tensor, so that the product wraps: Python's integers would grow beyond 64 bits.
        start = _mixed(start + (torch.as_tensor(draw, device=ids.device) + 1) * _SECOND)
        counter = torch.arange(1, count + 1, dtype=torch.int64, device=ids.device) * _GOLDEN
        return _mixed(start[:, None] + counter)

    def uniform(
        self, ids: Tensor, shape: Sequence[int] = (), draw: int | Tensor = 0, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Uniform numbers in [0, 1): multiples of 2^-24 in float32, of 2^-53 in float64."""
        bits = 53 if dtype == torch.float64 else 24
        words = self.words(ids, math.prod(shape), draw)
        return (_shifted(words, 64 - bits).to(dtype) * 2.0**-bits).reshape(len(ids), *shape)

    def normal(self, ids: Tensor, shape: Sequence[int] = (), draw: int | Tensor = 0) -> Tensor:
        """Standard normal numbers in float32 (Box and Muller 1958, worked in float64)."""
        count = math.prod(shape)
        words = self.words(ids, (count + 1) // 2, draw)
        radius = ((_shifted(words, 32) + 1).to(torch.float64) * 2.0**-32).log_().mul_(-2).sqrt_()
        angle = (words & 0xFFFFFFFF).to(torch.float64) * (math.tau * 2.0**-32)
        pair = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)
        return pair[:, :count].to(torch.float32).reshape(len(ids), *shape)

    def integers(self, ids: Tensor, shape: Sequence[int], low: int, high: int, draw: int | Tensor = 0) -> Tensor:
        """Integers in [low, high), int64."""
        words = self.words(ids, math.prod(shape), draw)
        return (_shifted(words, 1) % (high - low) + low).reshape(len(ids), *shape)

    def permutation(self, ids: Tensor, count: int, draw: int | Tensor = 0) -> Tensor:
        """A permutation of 0..count-1 for each sample, [n, count] int64."""
        return torch.argsort(self.words(ids, count, draw), dim=1, stable=True)

    def poisson(self, ids: Tensor, shape: Sequence[int] = (), rate: float = 1.0, draw: int | Tensor = 0) -> Tensor:
        """Poisson numbers of one rate, int64, by inversion of the distribution function."""
        largest = int(rate + 12 * math.sqrt(rate) + 24)
        steps = torch.from_numpy(special.pdtr(np.arange(largest), rate)).to(ids.device)
        return torch.searchsorted(steps, self.uniform(ids, shape, draw, torch.float64), right=True)

    def beta(self, ids: Tensor, shape: Sequence[int], a: float, b: float, draw: int | Tensor = 0) -> Tensor:
        """Beta(a, b) numbers in float64, by inversion of the distribution function."""
        uniform = self.uniform(ids, shape, draw, torch.float64)
        values = special.betaincinv(a, b, uniform.cpu().numpy())
        return torch.as_tensor(np.asarray(values)).to(ids.device)


def _shifted(words: Tensor, bits: int) -> Tensor:
    """Shift right without the sign: torch's shift of int64 copies the sign bit."""
    return (words >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _mixed(words: Tensor) -> Tensor:
    words = _shifted(words, 30).bitwise_xor_(words).mul_(_FIRST)
    words = _shifted(words, 27).bitwise_xor_(words).mul_(_SECOND)
    return _shifted(words, 31).bitwise_xor_(words)

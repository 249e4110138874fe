"""Noise of a given spectrum and random phases, as CIFAR-10-C-bar makes it (Mintun et al. 2021, arXiv:2102.11273)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from robusteval.core.rng import Stream


def fourier_noise(
    strength: Callable[[Tensor], Tensor], channels: int, size: tuple[int, int], ids: Tensor, rng: Stream
) -> Tensor:
    """Noise maps [n, channels, h, w] float64 of standard deviation 1 over the square that holds the image.

    The phases of a frequency k and of its mirror image -k should be opposite. The original gives equal ones to k and
    -1 - k and takes the real part, and so does this: the spectrum is as meant only on average.

    Args:
        strength: the size of a wave by its frequency, in cycles over the square.
        channels: how many independent maps an image gets.
        size: height and width; the noise is made on the larger side squared and cut to the upper left corner.
        ids: [n] sample ids.
        rng: numbers for each sample.
    """
    side = max(size)
    steps = torch.arange(side, dtype=torch.float64, device=ids.device) - side / 2
    waves = strength((steps.square()[:, None] + steps.square()).sqrt())
    spectrum = torch.polar(waves.expand(len(ids), channels, side, side).contiguous(), _phases(channels, side, ids, rng))
    noise: Tensor = torch.fft.ifft2(spectrum.roll((side // 2, side // 2), dims=(2, 3))).real
    deviation = _mean((noise - _mean(noise)).square()).sqrt()
    return (noise / deviation)[..., : size[0], : size[1]]


def _phases(channels: int, side: int, ids: Tensor, rng: Stream) -> Tensor:
    """Random phases [n, channels, side, side], the same at two places that mirror each other about the middle."""
    half, odd = side // 2, side % 2
    left = rng.uniform(ids, (channels, side, half), dtype=torch.float64)
    upper = rng.stream("middle").uniform(ids, (channels, half, odd), dtype=torch.float64)
    middle = torch.cat([upper, upper.new_zeros(len(ids), channels, odd, odd), upper.flip(2)], dim=2)
    if not odd:
        return torch.cat([left, left.flip(2, 3)], dim=3).mul_(math.tau)
    return torch.cat([left, middle, left.flip(2, 3)], dim=3).mul_(math.tau)


def _mean(noise: Tensor) -> Tensor:
    # Summed in one order for any batch: the order of torch's mean depends on the shape.
    return noise.flatten(2).cumsum(dim=2)[:, :, -1, None, None] / noise[0, 0].numel()

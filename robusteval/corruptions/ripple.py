"""Ripple, of CIFAR-10-C-bar (Mintun et al. 2021, arXiv:2102.11273).

Constants: cifar10_c_bar.csv and corrupt.py of github.com/facebookresearch/augmentation-corruption.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.bilinear import bordered, taps
from robusteval.corruptions.corruption import Category, Corruption, Families


@dataclass(frozen=True)
class Ripple(Corruption):
    """Rows and columns each fetched from a place that a sine wave moves, by 0.0025 of the side times the constant.

    The waves are 0.1 to 0.3 of the side long. What is fetched from outside the image is black.
    """

    name: ClassVar[str] = "ripple"
    category: ClassVar[Category] = "cifar10-c-bar"
    families: ClassVar[Families] = {"cifar10-c-bar": (5.5, 6.0, 6.5, 7.5, 8.0)}

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Fetch columns, then rows, in levels."""
        (level,) = self.constants(x, severity)
        side = max(x.shape[-2:])
        image = bordered((x * 255).round_())
        for axis in (3, 2):
            size = x.shape[axis]
            place = _places(size, side, level * 0.025 / 10 * side, ids, rng.stream(axis))
            shape = [len(x), 1, 1, 1]
            shape[axis] = size
            whole = [*image.shape]
            whole[axis] = size
            parts = [
                image.gather(axis, index.view(shape).expand(whole)) * weight.view(shape)
                for index, weight in taps(place, size)
            ]
            image = parts[0] + parts[1]
        return image.floor() / 255


def _places(size: int, side: int, amplitude: float, ids: Tensor, rng: Stream) -> Tensor:
    """Where each row or column is fetched from, [n, size]."""
    length = side * (0.1 + 0.2 * rng.stream("length").uniform(ids, (1,), dtype=torch.float64))
    phase = math.tau * rng.stream("phase").uniform(ids, (1,), dtype=torch.float64)
    point = torch.arange(size, dtype=torch.float64, device=ids.device)
    return point + amplitude * (math.tau * point / length + phase).sin()

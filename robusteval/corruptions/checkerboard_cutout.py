"""Checkerboard cutout, of CIFAR-10-C-bar (Mintun et al. 2021, arXiv:2102.11273).

Constants: cifar10_c_bar.csv and corrupt.py of github.com/facebookresearch/augmentation-corruption.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families

MOST_FIELDS = 40
"""Fields in a line of the board, at most: four sides of the image, each field a tenth of a side or more."""


@dataclass(frozen=True)
class CheckerboardCutout(Corruption):
    """Every other field of a turned checkerboard is grey with a probability of a tenth of the constant.

    The board turns by any angle about the upper left pixel; its fields are 0.1 to 0.25 of the image wide. As in the
    original, which rounds coordinates towards zero, the fields on both sides of an axis are drawn together.
    """

    name: ClassVar[str] = "checkerboard-cutout"
    category: ClassVar[Category] = "cifar10-c-bar"
    families: ClassVar[Families] = {"cifar10-c-bar": (1.0, 2.0, 3.0, 4.0, 5.0)}

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Make fields grey."""
        (level,) = self.constants(x, severity)
        side = max(x.shape[-2:])
        angle, width = rng.stream("board").uniform(ids, (2, 1, 1), dtype=torch.float64).unbind(1)
        scale = ((0.1 + 0.15 * width) * side).clamp(min=1)
        column, row = _board(x, math.tau * angle, scale)
        number = (4 * side / scale).floor().to(torch.int64)
        drawn = rng.stream("fields").uniform(ids, (MOST_FIELDS * MOST_FIELDS,), dtype=torch.float64) < level / 10
        # A coordinate below zero counts from the far end of the board.
        field = column.trunc().to(torch.int64) % number * MOST_FIELDS + row.trunc().to(torch.int64) % number
        grey = drawn.gather(1, field.flatten(1)).view_as(field)
        grey &= column.remainder(2).trunc() == row.remainder(2).trunc()
        return torch.where(grey[:, None], 128 / 255, x)


def _board(x: Tensor, angle: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """The place of each pixel on the board, in fields, [n, h, w] twice."""
    down = torch.arange(x.shape[2], dtype=x.dtype, device=x.device)[:, None]
    right = torch.arange(x.shape[3], dtype=x.dtype, device=x.device)
    cos, sin = angle.cos(), angle.sin()
    return (cos * down + sin * right) / scale, (cos * right - sin * down) / scale

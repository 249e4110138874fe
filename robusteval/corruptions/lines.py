"""Lines, of CIFAR-10-C-bar (Mintun et al. 2021, arXiv:2102.11273).

Constants: cifar10_c_bar.csv and corrupt.py of github.com/facebookresearch/augmentation-corruption.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families


@dataclass(frozen=True)
class Lines(Corruption):
    """Grey lines twice as long as the image and one pixel wide: a tenth of the side times the constant, rounded down.

    The lines of an image go in directions about one angle, spread over 0.1 to 1 of a full turn. After each line the
    image is cut to levels.
    """

    name: ClassVar[str] = "lines"
    category: ClassVar[Category] = "cifar10-c-bar"
    families: ClassVar[Families] = {"cifar10-c-bar": (0.5, 1.0, 1.5, 2.0, 2.5)}

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Draw lines one by one."""
        (level,) = self.constants(x, severity)
        height, width = x.shape[-2:]
        side = max(height, width)
        angle, spread = rng.stream("angle").uniform(ids, (2,), dtype=torch.float64).unbind(1)
        spread = 0.1 + 0.9 * spread
        levels = (x * 255).round_()
        for line in range(int(level / 10 * side)):
            row, column, turn = rng.stream("line", line).uniform(ids, (3,), dtype=torch.float64).unbind(1)
            direction = math.tau * (angle + spread * (turn - 0.5))
            down, right = side * direction.cos(), side * direction.sin()
            start = (side * row - down).trunc(), (side * column - right).trunc()
            end = (side * row + down).trunc(), (side * column + right).trunc()
            ink = _ink(start, end, (height, width))[:, None]
            levels = ((1 - ink) * levels + ink * 128).floor()
        return levels / 255


def _ink(start: tuple[Tensor, Tensor], end: tuple[Tensor, Tensor], size: tuple[int, int]) -> Tensor:
    """What a line covers of each pixel, [n, h, w] float64: 1 less the distance from the line, if positive.

    Only pixels in the rectangle between the two ends have any. This is all that Zingl's algorithm ("A rasterizing
    algorithm for drawing curves", 2012) in skimage.draw.line_aa marks; the quotient has the precision of float32 there.
    """
    (r0, c0), (r1, c1) = ((row[:, None, None], column[:, None, None]) for row, column in (start, end))
    row = torch.arange(size[0], dtype=r0.dtype, device=r0.device)[:, None]
    column = torch.arange(size[1], dtype=r0.dtype, device=r0.device)
    length = ((r1 - r0).square() + (c1 - c0).square()).sqrt().clamp(min=1).to(torch.float32)
    area = ((c1 - c0) * (row - r0) - (r1 - r0) * (column - c0)).abs()
    inside = (row >= torch.minimum(r0, r1)) & (row <= torch.maximum(r0, r1))
    inside = inside & (column >= torch.minimum(c0, c1)) & (column <= torch.maximum(c0, c1))
    return (1 - (area.to(torch.float32) / length).to(r0.dtype)).clamp(min=0) * inside

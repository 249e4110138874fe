"""Zigzag of MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337).

Constants: corruptions.py of github.com/google-research/mnist-c.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families
from robusteval.corruptions.strokes import stroke

MARGIN, RISE = 2, 5
"""Columns left free on either side, and the greatest change of row between the ends, in pixels."""


@dataclass(frozen=True)
class Zigzag(Corruption):
    """A white zigzag line across the image; constants: reach of the stroke, quarter period and height, in pixels.

    As in the original it starts in any row but the last, and its last point lies off the middle line by the height
    divided by twice the length that is left after the last whole period.
    """

    name: ClassVar[str] = "zigzag"
    category: ClassVar[Category] = "mnist-c"
    families: ClassVar[Families] = {"mnist-c": ((2.3, 2.0, 2.0),)}

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Draw the line."""
        reach, quarter, peak = self.constants(x, severity)
        height, width = x.shape[-2:]
        first = rng.stream("row").integers(ids, (), 0, height - 1).to(x.dtype)
        rise = rng.stream("rise").integers(ids, (), -RISE, RISE).to(x.dtype)
        span = max(width - 1 - 2 * MARGIN, 1)
        length = (rise * rise + span * span).sqrt()
        along, across = _corners(length, math.hypot(span, RISE), quarter, peak)
        cosine, sine = (span / length)[:, None], (rise / length)[:, None]
        column = cosine * along - sine * across + MARGIN
        row = sine * along + cosine * across + first[:, None]
        points = list(zip(column.unbind(1), row.unbind(1), strict=True))
        for start, end in pairwise(points):
            x = (x + stroke(start, end, (height, width), reach)[:, None]).clamp(max=1)
        return x


def _corners(length: Tensor, longest: float, quarter: float, peak: float) -> tuple[Tensor, Tensor]:
    """The corners of zigzags of the given lengths [n] before they are turned: places along and off the middle line.

    A zigzag with fewer corners than the longest one has its last but one repeated.
    """
    period = 2 * quarter
    count = torch.floor((length - quarter) / period)
    along, across = [torch.zeros_like(length)], [torch.zeros_like(length)]
    for corner in range(int((longest - quarter) // period) + 1):
        there = count >= corner
        along.append(torch.where(there, (2 * corner + 1) * quarter, along[-1]))
        across.append(torch.where(there, (-1) ** corner * peak, across[-1]))
    left = length - period * torch.floor(length / period)
    along.append(torch.where(left > 0, length, along[-1]))
    across.append(torch.where(left > 0, across[-1] / (2 * left.masked_fill(left == 0, 1)), across[-1]))
    return torch.stack(along, dim=1), torch.stack(across, dim=1)

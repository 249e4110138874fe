"""Dotted line of MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337).

Constants: corruptions.py of github.com/google-research/mnist-c.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families
from robusteval.corruptions.strokes import stroke


@dataclass(frozen=True)
class DottedLine(Corruption):
    """A white dotted line from side to side; constants: reach of the stroke, length of gaps and dots, in pixels.

    As in the original the ends lie in any row but the last, the first dot follows a gap, and the last column is free.
    """

    name: ClassVar[str] = "dotted-line"
    category: ClassVar[Category] = "mnist-c"
    families: ClassVar[Families] = {"mnist-c": ((2.3, 2.0),)}

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Draw the line."""
        reach, dot = self.constants(x, severity)
        height, width = x.shape[-2:]
        row = rng.integers(ids, (2,), 0, height - 1).to(x.dtype)
        left = torch.zeros_like(row[:, 0])
        line = stroke((left, row[:, 0]), (left + (width - 1), row[:, 1]), (height, width), reach)
        seen = torch.arange(width, device=x.device).div(dot, rounding_mode="floor") % 2 == 1
        return x + (line * seen)[:, None]

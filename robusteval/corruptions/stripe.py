"""Stripe of MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337; corruptions.py of github.com/google-research/mnist-c)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families


@dataclass(frozen=True)
class Stripe(Corruption):
    """Both sides of the image inverted, which leaves a stripe; the constant is the part of the width on each side.

    The original names columns: the first 7 and the last 7 of 28.
    """

    name: ClassVar[str] = "stripe"
    category: ClassVar[Category] = "mnist-c"
    families: ClassVar[Families] = {"mnist-c": (0.25,)}

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Invert the sides."""
        (part,) = self.constants(x, severity)
        width = x.shape[-1]
        side = round(part * width)
        column = torch.arange(width, device=x.device)
        return torch.where((column < side) | (column >= width - side), 1 - x, x)

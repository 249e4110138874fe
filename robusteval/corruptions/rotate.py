"""Rotation of MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337; corruptions.py of github.com/google-research/mnist-c)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.affine import about_centre, signs, warped
from robusteval.corruptions.corruption import Category, Corruption, Families


@dataclass(frozen=True)
class Rotate(Corruption):
    """The image turned about its centre in a random direction; the constant is the angle in radians."""

    name: ClassVar[str] = "rotate"
    category: ClassVar[Category] = "mnist-c"
    families: ClassVar[Families] = {"mnist-c": (0.4,)}

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Rotate."""
        (angle,) = self.constants(x, severity)
        sine = math.sin(angle) * signs(ids, 1, rng)[:, 0]
        cosine = torch.full_like(sine, math.cos(angle))
        linear = torch.stack([cosine, -sine, sine, cosine], dim=1).reshape(-1, 2, 2)
        return warped(x, about_centre(linear, *x.shape[-2:]))

"""Shear of MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337; corruptions.py of github.com/google-research/mnist-c)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.affine import about_centre, signs, warped
from robusteval.corruptions.corruption import Category, Corruption, Families


@dataclass(frozen=True)
class Shear(Corruption):
    """The image sheared to a random side about its centre; the constant is the angle in radians.

    The matrix is that of scikit-image before 0.19, the one at the time of MNIST-C: it also stretches by 1 / cos(angle)
    down the image, where later versions take the tangent and keep the height.
    """

    name: ClassVar[str] = "shear"
    category: ClassVar[Category] = "mnist-c"
    families: ClassVar[Families] = {"mnist-c": (0.4,)}

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Shear."""
        (angle,) = self.constants(x, severity)
        sign = signs(ids, 1, rng)[:, 0]
        one, zero = torch.ones_like(sign), torch.zeros_like(sign)
        linear = torch.stack([one, -math.sin(angle) * sign, zero, math.cos(angle) * one], dim=1).reshape(-1, 2, 2)
        return warped(x, about_centre(linear, *x.shape[-2:]))

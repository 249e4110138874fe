"""Scale of MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337; corruptions.py of github.com/google-research/mnist-c)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.affine import about_centre, warped
from robusteval.corruptions.corruption import Category, Corruption, Families


@dataclass(frozen=True)
class Scale(Corruption):
    """The image shrunk about its centre, without smoothing first; the constant is the new size as a fraction."""

    name: ClassVar[str] = "scale"
    category: ClassVar[Category] = "mnist-c"
    families: ClassVar[Families] = {"mnist-c": (0.7,)}

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Shrink."""
        (size,) = self.constants(x, severity)
        linear = torch.eye(2, dtype=x.dtype, device=x.device)[None] * (1 / size)
        return warped(x, about_centre(linear, *x.shape[-2:]))

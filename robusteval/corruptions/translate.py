"""Translation of MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337; corruptions.py of google-research/mnist-c)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.affine import signs, warped
from robusteval.corruptions.corruption import Category, Corruption, Families


@dataclass(frozen=True)
class Translate(Corruption):
    """The image moved diagonally to a random one of the four sides; the constant is the distance along each axis."""

    name: ClassVar[str] = "translate"
    category: ClassVar[Category] = "mnist-c"
    families: ClassVar[Families] = {"mnist-c": (3.0,)}

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Move."""
        (pixels,) = self.constants(x, severity)
        still = torch.eye(2, dtype=x.dtype, device=x.device).expand(len(x), 2, 2)
        return warped(x, torch.cat([still, pixels * signs(ids, 2, rng)[..., None]], dim=2))

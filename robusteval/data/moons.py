"""Moons: two half circles that reach into each other, a toy of GenLabel (Sohn et al., 2022, arXiv:2201.02354)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.data.toy import Toy, laplace, shares


@dataclass(frozen=True)
class Moons(Toy):
    """Half circles of radius 1 as in scikit-learn's make_moons, with Laplace noise.

    The angles are random, not evenly spaced. One unit is 0.25 in pixel units.

    Attributes:
        noise: scale of the Laplace distribution.
    """

    name: ClassVar[str] = "moons"
    low: ClassVar[float] = -1.5
    high: ClassVar[float] = 2.5
    classes: ClassVar[tuple[str, ...]] = ("upper", "lower")

    noise: float = 0.1

    def points(self, labels: Tensor, ids: Tensor, rng: Stream) -> Tensor:
        """The upper moon stands round (0, 0), the lower one hangs round (1, 0.5)."""
        angle = math.pi * shares(ids, rng)
        upper = torch.stack([angle.cos(), angle.sin()], dim=1)
        lower = torch.tensor([1.0, 0.5]) - upper
        return torch.where(labels[:, None] == 0, upper, lower) + self.noise * laplace(ids, rng)

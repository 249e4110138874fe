"""Circles: one class inside the other, a toy of GenLabel (Sohn et al., 2022, arXiv:2201.02354)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.data.toy import Toy, laplace, shares


@dataclass(frozen=True)
class Circles(Toy):
    """Circles of radius 1 and 0.5 as in scikit-learn's make_circles, with Laplace noise.

    The angles are random, not evenly spaced; the ratio of the radii is a choice of this project. One unit is 0.25 in
    pixel units.

    Attributes:
        noise: scale of the Laplace distribution.
    """

    name: ClassVar[str] = "circles"
    low: ClassVar[float] = -2.0
    high: ClassVar[float] = 2.0
    classes: ClassVar[tuple[str, ...]] = ("outer", "inner")

    noise: float = 0.02

    def points(self, labels: Tensor, ids: Tensor, rng: Stream) -> Tensor:
        """Both circles stand round the origin."""
        angle, radius = 2 * math.pi * shares(ids, rng), 1 - 0.5 * labels
        circle = radius[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
        return circle + self.noise * laplace(ids, rng)
